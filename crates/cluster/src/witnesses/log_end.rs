//! Hosted witnesses that get another beginning of their logs (P12, P13).
//!
//! Owns what is believed of a leader about that, and the way to a witness that begins anew. Never: decides what is
//! dropped (the witness's shard does).

use super::{name, Hosted, Outgoing, Witnesses};
use crate::control::Control;
use crate::transfer::message::Message;
use base::clock::Now;
use base::ids::{GroupId, RaftId};
use base::mutation::{self, Mutation};
use cluster_bus::NodeId;
use storage::base::{Base, SnapshotMeta};
use storage::Folders;

impl<S: Folders> Witnesses<S> {
    /// Whether the node leads a witness's group, in the term that is the witness's own.
    pub(super) fn leads(&self, raft_id: RaftId, from: NodeId, term: u64) -> bool {
        let Some(hosted) = self.hosted.get(&raft_id) else {
            return false;
        };
        let group = hosted.shard.group();
        let leader = group.leader().filter(|_| group.term() == term);
        let node_of = |id: RaftId| match group.membership().member(id) {
            Some(member) => Some(member.node),
            None => self.nodes.get(&id).copied(),
        };
        let leads = leader.and_then(node_of) == Some(from);
        leads || mutation::is(Mutation::TrimToOfDeposed)
    }

    /// P12: up to there the log is of use to no other member; the leader hears in return where this one begins.
    pub(super) fn told_log_end(
        &mut self,
        from: NodeId,
        (group, raft_id): (GroupId, RaftId),
        (term, index): (u64, u64),
    ) {
        if !self.leads(raft_id, from, term) {
            return;
        }
        let mut begins = None;
        self.guarded(raft_id, |hosted| {
            if hosted.is_of(group) {
                hosted.shard.trim_to(index);
                begins = Some(hosted.shard.begins_soon());
            }
            Ok(())
        });
        if let Some(first) = begins {
            let control = Control::Begins {
                group,
                raft_id,
                first,
            };
            self.answer(from, &control);
        }
    }

    /// P13: the leader's log does not go on where this witness's ends. What it lacks is committed, and the data
    /// members have it: it begins anew behind the leader's state, of which it takes the members and no file.
    pub(super) fn offered(&mut self, from: NodeId, term: u64, first: u64, base: Base) {
        let Base {
            identity, snapshot, ..
        } = base;
        let (group, raft_id) = (identity.group, identity.raft_id);
        if !self.leads(raft_id, from, term) {
            return;
        }
        let mut has = None;
        self.guarded(raft_id, |hosted| {
            if !hosted.is_of(group) || hosted.shard.is_installing() {
                return Ok(());
            }
            let shard = &mut hosted.shard;
            let (at, committed) = (snapshot.entry(), shard.committed());
            if committed.index + 1 >= first {
                has = Some(committed);
            } else if !shard.lacks_state(at) {
                has = Some(at);
            } else {
                shard.install(SnapshotMeta {
                    file: None,
                    ..snapshot
                });
            }
            Ok(())
        });
        if let Some(at) = has {
            let message = Message::HasState { group, raft_id, at };
            self.out.push(Outgoing {
                to: from,
                urgent: !message.is_bulk(),
                back: false,
                bytes: message.encode(),
            });
        }
    }

    /// P17: where a state has taken the place of its log, a witness is opened anew, as after a start.
    pub(super) fn reopen_installed(&mut self, now: Now, raft_id: RaftId) {
        let is_installed = |h: &Hosted<S::D>| h.shard.is_installed(now);
        if !self.hosted.get(&raft_id).is_some_and(is_installed) {
            return;
        }
        let Some(old) = self.hosted.remove(&raft_id) else {
            return;
        };
        match self.folders.folder(&name(raft_id)) {
            Ok(disk) => self.start(raft_id, disk, now),
            Err(error) => self.stop(raft_id, &error.to_string(), true),
        }
        if let Some(hosted) = self.hosted.get_mut(&raft_id) {
            (hosted.leaves, hosted.log_is_kept) = (old.leaves, old.log_is_kept);
            slog::info!(
                self.logger,
                "The witness {:016x} begins anew behind entry {}",
                raft_id,
                hosted.shard.snapshot_meta().index
            );
        }
    }
}
