//! Another shard under the same clients: a join, a leave, a reset (C1).
//!
//! Owns the order in which the disk, the clients' replies and the shard change. Never decides when.

use super::{Clustered, PutOff};
use crate::agent::seat::{self, Seat};
use crate::clock::Now;
use crate::raft::StepError;
use crate::server::error::ServerError;
use crate::server::platform::Platform;
use crate::server::start::{self, MemberSetup};
use crate::server::turn::Server;
use crate::shard::ShardError;
use crate::storage::{Base, Disk, Folders, Job};
use rand::RngCore;
use std::time::Duration;

/// D5: how long a full disk is left alone.
const RETRY: Duration = Duration::from_secs(1);

impl<P: Platform> Clustered<P> {
    /// Writes the seat. One that waited for room says less, so it is not written any more.
    pub(super) fn save_seat(&mut self, seat: &Seat) -> Result<(), ServerError> {
        seat.save(&self.folders.own())?;
        self.put_off = None;
        Ok(())
    }
}

impl<P: Platform> Server<P> {
    /// D6: a member that has lost log never comes back under its raft id: without a seat the next
    /// start joins the shard anew (S4). What is left of the log is kept for an operator to look at.
    pub fn give_up_seat(&self, error: &ServerError) {
        let lost = matches!(
            error,
            ServerError::Shard(ShardError::Step(StepError::LostLog { .. }))
        );
        let Some(cluster) = self.state.cluster.as_ref().filter(|_| lost) else {
            return;
        };
        let raft_id = self.shard.base().raft_id;
        let folders = &cluster.folders;
        let own = folders.own();
        let kept = seat::lost(raft_id);
        // The folder first (S4): one that no seat names would keep the node from starting, and a
        // seat whose folder lies set aside is given up.
        let given_up = folders
            .rename(&seat::folder(raft_id), &kept)
            .and_then(|()| own.remove(seat::FILE))
            .and_then(|()| own.sync_dir());
        match given_up {
            Ok(()) => slog::crit!(
                self.logger,
                "At its next start this node joins its shard as a new member; the old log is kept in {}",
                folders.place(&kept)
            ),
            Err(error) => slog::crit!(self.logger, "Can't give up the seat: {}", error),
        }
    }

    /// The seat as the agent has it now. Where the disk is full it is tried again (D5): a seat that is
    /// not on disk is one step behind, and after a crash the agent takes that step again. What a client
    /// has been told is done is no such step: see `ClusterHost::replicate`.
    pub(super) fn take_seat(
        &self,
        now: Now,
        cluster: &mut Clustered<P>,
        seat: Seat,
    ) -> Result<(), ServerError> {
        match cluster.save_seat(&seat) {
            Err(error) if error.is_full() => {
                slog::warn!(self.logger, "Can't write the seat yet: {}", error);
                cluster.put_off = Some((now.mono + RETRY, PutOff::Seat(seat)));
                Ok(())
            }
            saved => saved,
        }
    }

    /// Another shard in place of the present one; false where the disk is full: it is tried again (D5).
    pub(super) fn begin_member(
        &mut self,
        now: Now,
        cluster: &mut Clustered<P>,
        base: Box<Base>,
        seat: Seat,
    ) -> Result<bool, ServerError> {
        match self.replace_shard(now, cluster, &base, &seat) {
            Ok(()) => Ok(true),
            Err(error) if error.is_full() => {
                slog::warn!(self.logger, "Can't begin in another shard yet: {}", error);
                cluster.put_off = Some((now.mono + RETRY, PutOff::Member(base, seat)));
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Puts the member of `base` on disk, takes the seat, and opens it in place of the present
    /// shard. Replies that wait for the old one are never sent: their clients are closed (T6).
    pub(super) fn replace_shard(
        &mut self,
        now: Now,
        cluster: &mut Clustered<P>,
        base: &Base,
        seat: &Seat,
    ) -> Result<(), ServerError> {
        let setup = MemberSetup {
            config: &self.state.config,
            tuning: &self.state.tuning,
            seed: self.state.rng.next_u64(),
            first: false,
        };
        start::make_member(&cluster.folders, &setup, base)?;
        cluster.save_seat(seat)?;
        let disk = cluster.folders.folder(&seat::folder(base.raft_id))?;
        let mut shard = start::open_member(disk, setup, now, &self.logger)?;
        let last = self.shard.last_gate();
        self.forget_gates(last);
        shard.succeed(&mut self.shard);
        let old = std::mem::replace(&mut self.shard, shard);
        self.released = last;
        // The old shard's jobs end with their thread; their results are nobody's.
        self.state.platform.replace_storage()?;
        let old_id = old.base().raft_id;
        let left = seat.spare == Some(old_id);
        // T9: what the old keyspace held is freed elsewhere.
        self.state.platform.submit(Job::Garbage(Box::new(old)));
        let (folders, logger) = (cluster.folders.clone(), self.logger.clone());
        self.state.platform.submit(Job::Call(Box::new(move || {
            // G2: the seat says that it has left, or it is kept (S4). What remains of the one or the
            // other is for the next start.
            let folder = seat::folder(old_id);
            let gone = match left {
                true => folders.remove(&folder),
                false => folders.rename(&folder, &seat::lost(old_id)),
            };
            if let Err(error) = gone {
                let place = folders.place(&folder);
                slog::warn!(logger, "Can't remove {}: {}", place, error);
            }
        })));
        cluster.agent.begun(&self.shard);
        slog::info!(
            self.logger,
            "This node is now member {:016x} of group {:016x}",
            base.raft_id,
            base.group
        );
        Ok(())
    }
}
