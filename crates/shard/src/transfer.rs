//! Files of states that travel: the shard's part is the disk of its folder, and what its Raft learns (P15).
//!
//! Owns the works that are under way there. Never decides what travels (the cluster core does).

use super::Shard;
use base::ids::{EntryId, RaftId};
use storage::{Disk, Job, TransferDone, TransferFile, TransferJob, TransferWork};

/// The works of transfers in this folder.
#[derive(Default)]
pub(super) struct Transfers {
    under_way: usize,
    done: Vec<TransferDone>,
}

impl<D: Disk> Shard<D> {
    /// Works come in the order in which they are handed over; the ticket comes back.
    pub fn order_transfer(&mut self, ticket: u64, of: TransferFile, work: TransferWork) {
        self.transfers.under_way += 1;
        self.jobs.push(Job::Transfer(TransferJob {
            disk: self.log.disk().clone(),
            ticket,
            of,
            work,
        }));
    }

    pub(super) fn on_transferred(&mut self, done: TransferDone) {
        self.transfers.under_way = self.transfers.under_way.saturating_sub(1);
        self.transfers.done.push(done);
    }

    /// What has ended since the last call.
    pub fn take_transferred(&mut self) -> Vec<TransferDone> {
        std::mem::take(&mut self.transfers.done)
    }

    /// Works of which nothing has come back. What a folder that was opened anew had under way never does.
    pub fn transfers_under_way(&self) -> usize {
        self.transfers.under_way
    }

    /// P15: see [`raft_group::Group::report_state`].
    pub fn report_state(&mut self, to: RaftId, has_it: bool) {
        self.group.report_state(to, has_it);
    }

    /// The last entry that is committed here, as far as its term is known.
    pub fn committed(&self) -> EntryId {
        let index = self.group.commit();
        EntryId {
            index,
            term: self.group.term_at(index).unwrap_or_default(),
        }
    }
}
