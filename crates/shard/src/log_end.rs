//! A new state for the base, and the log's end (D7, P8, P10).
//!
//! Owns the way from a snapshot that is whole on the disk to a base that names it, and to a log that
//! begins later. Never makes a snapshot. Invariant: Raft is shown no first index above the next one
//! that it has not applied, since raft-rs passes over committed entries below the first index and says nothing.

use super::persist::RETRY;
use super::Shard;
use base::clock::{Mono, Now};
use base::mutation::{self, Mutation};
use storage::{Base, Disk, Job, SnapshotMeta, Switched};

/// A snapshot on its way into the base.
pub(super) struct NewState {
    snapshot: SnapshotMeta,
    /// The job for it is under way.
    ordered: bool,
    /// After a try that came to nothing.
    again_at: Option<Mono>,
    /// What the system said to the last try.
    failure: Option<String>,
}

impl<D: Disk> Shard<D> {
    /// P1: what a snapshot says that holds the keyspace as it is now, without the file; none while that
    /// is not the state as of an index: what is executed and not committed, or not even proposed, is in
    /// it, or half a unit is not.
    pub fn state_now(&self) -> Option<SnapshotMeta> {
        let (group, membership) = (&self.group, self.group.membership());
        let executed = self.data.batch_bytes() > 0 || !self.tail.is_empty();
        let settled = !executed && !self.stager.is_open() && self.loading.is_none();
        settled.then(|| SnapshotMeta {
            index: group.applied(),
            term: group
                .term_at(group.applied())
                .expect("the log reaches back to what is applied"),
            conf_state: membership.conf.clone(),
            members: membership.list.clone(),
            record: self.record().encode(),
            file: None,
        })
    }

    /// P8: a snapshot becomes the base's, and the log loses what need not be kept; soon, and not before
    /// the own disk has the entry at its index. One that is of no use is left: its file goes at the next
    /// start.
    pub(super) fn on_snapshot(&mut self, snapshot: SnapshotMeta) {
        let at = snapshot.entry();
        let is_newer = at.index > self.base.snapshot.index && self.new_state.is_none();
        let is_ours =
            at.index <= self.group.applied() && self.group.term_at(at.index) == Some(at.term);
        if is_newer && is_ours && self.may_trim() {
            self.new_state = Some(NewState {
                snapshot,
                ordered: false,
                again_at: None,
                failure: None,
            });
        }
    }

    /// D7: whether a snapshot lets the log be trimmed. Other members may lack what this one would drop, and nothing else can bring them up yet.
    pub fn may_trim(&self) -> bool {
        self.moves_base() && self.group.is_alone()
    }

    /// D7: no member may come that lacks what this one drops.
    pub(super) fn moves_base(&self) -> bool {
        self.config.moves_base || mutation::is(Mutation::SnapshotMovesAnyBase)
    }

    pub(super) fn order_switch(&mut self, now: Now) {
        if self.new_state.as_ref().is_some_and(|new| !new.ordered) && !self.may_trim() {
            self.new_state = None; // a member has come meanwhile
        }
        // P1: a job that reads base and log goes first.
        let is_read = self.is_loading() || self.is_making_snapshot();
        let Some(new) = &mut self.new_state else {
            return;
        };
        let waits = new.again_at.is_some_and(|at| now.mono < at);
        if new.ordered || waits || is_read {
            return;
        }
        match self.log.switch_job(&new.snapshot, self.group.applied()) {
            Some(job) => {
                (new.ordered, new.again_at) = (true, None);
                self.jobs.push(Job::Switch(job));
            }
            // D4: no policy may order the sync that it waits for.
            None => self.sync_wanted = true,
        }
    }

    /// P8: after a switch that was durable memory follows, and only then files go.
    pub(super) fn switched(&mut self, now: Now, switched: Switched<D>) {
        match switched {
            Switched::Done(base, trim) => {
                self.new_state = None;
                let trim = self.log.switched(Base::clone(&base), trim);
                self.base = *base;
                self.group.compact(self.base.log_before());
                self.offer_state();
                self.jobs.push(Job::Trim(trim));
            }
            // D5: nothing has changed, so a full disk, or one that fails here, ends nothing.
            Switched::NotYet(error) => {
                if let Some(new) = &mut self.new_state {
                    (new.ordered, new.again_at) = (false, Some(now.mono + RETRY));
                    new.failure = Some(error.to_string());
                }
            }
        }
    }

    /// P15: what members are given that need more than the log has. A witness has no state.
    pub(super) fn offer_state(&mut self) {
        let snapshot = &self.base.snapshot;
        if snapshot.file.is_some() {
            let (at, conf_state) = (snapshot.entry(), snapshot.conf_state.clone());
            self.group.set_state(at, conf_state);
        }
    }

    /// Why the base could not be replaced when that was last tried; none as soon as it has been.
    pub fn switch_failure(&self) -> Option<&str> {
        self.new_state.as_ref()?.failure.as_deref()
    }

    /// Whether the base is about to be replaced. A try that came to nothing may do so for as long as it likes,
    /// and nobody waits for that.
    pub(super) fn base_moves(&self) -> bool {
        let new = self.new_state.as_ref();
        new.is_some_and(|new| new.ordered || new.failure.is_none())
    }

    /// The newest state that is whole on the disk, with its file: the base's, or the one that it can't be made to name.
    pub(super) fn newest_state(&self) -> &SnapshotMeta {
        let new = self.new_state.as_ref();
        new.map_or(&self.base.snapshot, |new| &new.snapshot)
    }

    /// When a switch is to be tried again.
    pub(super) fn switch_due(&self) -> Option<Mono> {
        self.new_state.as_ref().and_then(|new| new.again_at)
    }
}
