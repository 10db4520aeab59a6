//! Another shard under the same clients: a join, a leave, a reset (C1).

use super::start::{make_member, member_disk, ClusterError};
use super::Clustered;
use crate::agent::folders;
use crate::agent::seat::{self, Seat};
use crate::clock::Now;
use crate::node::start::{log_config, NodeError};
use crate::node::turn::Node;
use crate::raft::StepError;
use crate::shard::ShardError;
use crate::storage::{Base, Disk, Job, StorageThread};

impl Clustered {
    pub(super) fn save_seat(&self, seat: &Seat) -> Result<(), NodeError> {
        seat.save(&self.root).map_err(ClusterError::from)?;
        Ok(())
    }
}

impl Node {
    /// D6: a member that has lost log never comes back under its raft id: without a seat the next
    /// start joins the shard anew (S4). What is left of the log is kept, for whoever wants to look.
    pub(in crate::node) fn give_up_seat(&self, error: &NodeError) {
        let lost = matches!(
            error,
            NodeError::Shard(ShardError::Step(StepError::LostLog { .. }))
        );
        let Some(cluster) = self.host.cluster.as_ref().filter(|_| lost) else {
            return;
        };
        let raft_id = self.shard.base().raft_id;
        let root = &cluster.root;
        let kept = seat::lost(raft_id);
        // The folder first (S4): one that no seat names would keep the node from starting, and a
        // seat whose folder lies set aside is given up.
        let given_up = folders::set_aside(root, raft_id)
            .and_then(|()| root.remove(seat::FILE))
            .and_then(|()| root.sync_dir());
        match given_up {
            Ok(()) => slog::crit!(
                self.logger,
                "At its next start this node joins its shard as a new member; the old log is kept in {}",
                root.folder().join(kept).display()
            ),
            Err(error) => slog::crit!(self.logger, "Can't give up the seat: {}", error),
        }
    }

    /// Puts the member of `base` on disk, takes the seat, and opens it in place of the present
    /// shard. Replies that wait for the old one are never sent: their clients are closed (T6).
    pub(super) fn replace_shard(
        &mut self,
        now: Now,
        cluster: &mut Clustered,
        base: &Base,
        seat: &Seat,
    ) -> Result<(), NodeError> {
        let log = log_config(&self.host.config);
        folders::announce(&cluster.root, base.raft_id).map_err(ClusterError::from)?;
        make_member(&cluster.root, &log, base).map_err(ShardError::from)?;
        cluster.save_seat(seat)?;
        let disk = member_disk(&cluster.root, base.raft_id);
        let mut shard =
            crate::node::start::open_member(disk, &self.host.config, false, now, &self.logger)?;
        let last = self.shard.last_gate();
        self.forget_gates(last);
        shard.succeed(&mut self.shard);
        let old = std::mem::replace(&mut self.shard, shard);
        self.released = last;
        // The old shard's jobs end with their thread; their results are nobody's.
        let waker = self.poll.waker();
        let (storage, results) = StorageThread::start(move || {
            let _ = waker.wake();
        })?;
        (self.storage, self.results) = (storage, results);
        let old_id = old.base().raft_id;
        let path = cluster.root.folder().join(seat::folder(old_id));
        let (root, left) = (cluster.root.clone(), seat.spare == Some(old_id));
        // T9: what the old keyspace held is freed elsewhere.
        self.storage.submit(Job::Garbage(Box::new(old)));
        let logger = self.logger.clone();
        self.storage.submit(Job::Call(Box::new(move || {
            // G2: the seat says that it has left, or it is kept (S4). What remains of the one or the
            // other is for the next start.
            let gone = match left {
                true => std::fs::remove_dir_all(&path),
                false => folders::set_aside(&root, old_id),
            };
            if let Err(error) = gone {
                slog::warn!(logger, "Can't remove {}: {}", path.display(), error);
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
