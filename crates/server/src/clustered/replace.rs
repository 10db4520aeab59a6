//! Another shard under the same clients: a join, a leave, a reset (C1).
//!
//! Owns the order in which the disk, the clients' replies and the shard change. Never decides when.

use super::{Clustered, PutOff};
use crate::error::ServerError;
use crate::platform::Platform;
use crate::start::{self, MemberSetup};
use crate::turn::Server;
use base::clock::Now;
use base::ids::RaftId;
use cluster::identity::{self, NodeIdentity};
use raft_group::StepError;
use rand::RngCore;
use shard::ShardError;
use std::time::Duration;
use storage::{Base, Disk, Folders, Job};

/// D5: how long a full disk is left alone.
const RETRY: Duration = Duration::from_secs(1);

impl<P: Platform> Clustered<P> {
    /// Writes the identity. An earlier one that waits for room says less: it is dropped.
    pub(super) fn save_identity(&mut self, identity: &NodeIdentity) -> Result<(), ServerError> {
        identity.save(&self.folders.own())?;
        self.put_off = None;
        Ok(())
    }
}

impl<P: Platform> Server<P> {
    /// D6: a member that has lost log never comes back under its raft id: without an identity the next
    /// start joins the shard anew (S4). What is left of the log is kept for an operator to look at.
    pub fn give_up_identity(&self, error: &ServerError) {
        let lost = matches!(
            error,
            ServerError::Shard(ShardError::Step(StepError::LostLog { .. }))
        );
        let Some(cluster) = self.state.cluster.as_ref().filter(|_| lost) else {
            return;
        };
        let raft_id = self.shard.identity().raft_id;
        let folders = &cluster.folders;
        let own = folders.own();
        let kept = identity::lost(raft_id);
        // The folder first (S4): one that no identity names would keep the node from starting, and
        // an identity whose folder lies set aside is given up.
        let given_up = folders
            .rename(&identity::folder(raft_id), &kept)
            .and_then(|()| own.remove(identity::FILE))
            .and_then(|()| own.sync_dir());
        match given_up {
            Ok(()) => slog::crit!(
                self.logger,
                "At its next start this node joins its shard as a new member; the old log is kept in {}",
                folders.place(&kept)
            ),
            Err(error) => slog::crit!(self.logger, "Can't give up the file identity: {}", error),
        }
    }

    /// Writes the identity as the cluster core has it now. On a full disk this is tried again (D5): a file
    /// that is one step behind is no harm, for after a crash the cluster core takes that step again. A step
    /// that a client was told of is written before the answer: see `ClusterApi::replicate`.
    pub(super) fn write_identity(
        &self,
        now: Now,
        cluster: &mut Clustered<P>,
        identity: NodeIdentity,
    ) -> Result<(), ServerError> {
        match cluster.save_identity(&identity) {
            Err(error) if error.is_full() => {
                slog::warn!(self.logger, "Can't write the file identity yet: {}", error);
                cluster.put_off = Some((now.mono + RETRY, PutOff::Identity(identity)));
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
        identity: NodeIdentity,
    ) -> Result<bool, ServerError> {
        match self.replace_shard(now, cluster, &base, &identity) {
            Ok(()) => Ok(true),
            Err(error) if error.is_full() => {
                slog::warn!(self.logger, "Can't begin in another shard yet: {}", error);
                cluster.put_off = Some((now.mono + RETRY, PutOff::Member(base, identity)));
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// What a member is opened with that takes the place of another one.
    fn next_member(&mut self) -> MemberSetup<'_> {
        MemberSetup {
            config: &self.state.config,
            tuning: &self.state.tuning,
            seed: self.state.rng.next_u64(),
            raft_logger: &self.state.raft_logger,
            first: false,
        }
    }

    /// Opens this member under the same clients, in place of the present shard. Replies that wait for that are
    /// never sent: their clients are closed (T6).
    fn open_instead(
        &mut self,
        now: Now,
        folders: &P::Folders,
        raft_id: RaftId,
    ) -> Result<(), ServerError> {
        let disk = folders.folder(&identity::folder(raft_id))?;
        let mut shard = start::open_member(disk, self.next_member(), now)?;
        let last = self.shard.last_gate();
        self.forget_gates(last);
        shard.succeed(&mut self.shard);
        let old = std::mem::replace(&mut self.shard, shard);
        self.released = last;
        // What the old one was loading has not been loaded.
        self.loading_told = None;
        // The old shard's jobs end with their thread; their results are nobody's.
        self.state.platform.replace_storage()?;
        // T9: what the old keyspace held is freed elsewhere.
        self.state.platform.submit(Job::Garbage(Box::new(old)));
        Ok(())
    }

    /// P18: a state has taken the place of this member's log: its folder is opened anew.
    pub(crate) fn open_installed(&mut self, now: Now) -> Result<(), ServerError> {
        let Some(cluster) = self
            .state
            .cluster
            .as_ref()
            .filter(|_| self.shard.is_installed(now))
        else {
            return Ok(());
        };
        let (folders, raft_id) = (cluster.folders.clone(), self.shard.identity().raft_id);
        match self.open_instead(now, &folders, raft_id) {
            Err(error) if error.is_full() => {
                slog::warn!(
                    self.logger,
                    "Can't open the log yet that has come: {}",
                    error
                );
                self.shard.open_later(now);
                return Ok(());
            }
            opened => opened?,
        }
        slog::info!(
            self.logger,
            "The log now begins with the state of entry {}",
            self.shard.snapshot_meta().index
        );
        Ok(())
    }

    /// Puts the member of `base` on disk, names it in the identity, and opens it in place of the present
    /// shard.
    pub(super) fn replace_shard(
        &mut self,
        now: Now,
        cluster: &mut Clustered<P>,
        base: &Base,
        identity: &NodeIdentity,
    ) -> Result<(), ServerError> {
        start::make_member(&cluster.folders, &self.next_member(), base)?;
        cluster.save_identity(identity)?;
        let old_id = self.shard.identity().raft_id;
        let left = identity.spare == Some(old_id);
        self.open_instead(now, &cluster.folders, base.identity.raft_id)?;
        let (folders, logger) = (cluster.folders.clone(), self.logger.clone());
        self.state.platform.submit(Job::Call(Box::new(move || {
            // G2: the identity says that it has left, or it is kept (S4). What remains of the one or the
            // other is for the next start.
            let folder = identity::folder(old_id);
            let gone = match left {
                true => folders.remove(&folder),
                false => folders.rename(&folder, &identity::lost(old_id)),
            };
            if let Err(error) = gone {
                let place = folders.place(&folder);
                slog::warn!(logger, "Can't remove {}: {}", place, error);
            }
        })));
        cluster.core.begun(&self.shard);
        slog::info!(
            self.logger,
            "This node is now member {:016x} of group {:016x}",
            base.identity.raft_id,
            base.identity.group
        );
        Ok(())
    }
}
