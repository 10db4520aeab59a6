//! Another member's state in the place of this one's (P17, P18).
//!
//! Owns the way from a file that has come whole to a folder that begins with it. Never: gets the file, or opens
//! the folder again (the server does, under the same clients, as after a start). Invariants: what the own log
//! has is never thrown away; from the order to the end nothing is stepped, ticked, appended or said, so that
//! no vote and no entry is in the old log alone.

use super::persist::RETRY;
use super::Shard;
use base::clock::{Mono, Now};
use base::ids::EntryId;
use base::mutation::{self, Mutation};
use storage::{Disk, Installed, Job, SnapshotMeta};

/// A state on its way into the place of the log.
pub(super) enum Install {
    /// What was begun has to end first; or, until then, the disk is left alone.
    Waits(Box<SnapshotMeta>, Option<Mono>),
    Ordered(Box<SnapshotMeta>),
    /// The folder begins with it, and is to be opened anew; or not before, where that came to nothing.
    Done(Option<Mono>),
}

impl<D: Disk> Shard<D> {
    /// P15: whether the state as of this entry would bring this member on. What its own log has, or has
    /// committed, the log brings.
    pub fn lacks_state(&self, at: EntryId) -> bool {
        let has = self.group.term_at(at.index) == Some(at.term)
            && !mutation::is(Mutation::InstallDropsMatchingLog);
        !self.group.is_leader() && at.index > self.group.commit() && !has
    }

    /// P17: the state, whose file is in the folder, whole and durable, takes the place of log and keyspace.
    /// False: it would bring nothing. When [`Shard::is_installed`] says so, the folder is to be opened anew.
    pub fn install(&mut self, snapshot: SnapshotMeta) -> bool {
        if self.install.is_some() || !self.lacks_state(snapshot.entry()) {
            return false;
        }
        self.give_up_snapshot();
        self.install = Some(Install::Waits(Box::new(snapshot), None));
        true
    }

    /// Whether a state is taking the place of the log: nothing is stepped and nothing said.
    pub fn is_installing(&self) -> bool {
        self.install.is_some() && !mutation::is(Mutation::CampaignDuringSwitch)
    }

    /// Whether the log may be another one at any moment, or is.
    pub(super) fn is_switching(&self) -> bool {
        let ordered = matches!(self.install, Some(Install::Ordered(_) | Install::Done(_)));
        ordered && !mutation::is(Mutation::CampaignDuringSwitch)
    }

    /// P18: this folder is to be opened anew, and now.
    pub fn is_installed(&self, now: Now) -> bool {
        let Some(Install::Done(again_at)) = &self.install else {
            return false;
        };
        again_at.is_none_or(|at| now.mono >= at)
    }

    /// D5: no file could be opened, or the disk had no room: the folder is as it was, and nothing is said meanwhile.
    pub fn open_later(&mut self, now: Now) {
        assert!(
            matches!(self.install, Some(Install::Done(_))),
            "P18: only what was installed is opened anew"
        );
        self.install = Some(Install::Done(Some(now.mono + RETRY)));
    }

    /// When the disk is tried again.
    pub(super) fn install_due(&self) -> Option<Mono> {
        match self.install {
            Some(Install::Waits(_, again_at) | Install::Done(again_at)) => again_at,
            Some(Install::Ordered(_)) | None => None,
        }
    }

    /// Orders the switch when all that was under way to the old log is on disk. False: nothing else may be
    /// ordered any more.
    pub(super) fn order_install(&mut self, now: Now) -> bool {
        let Some(Install::Waits(snapshot, again_at)) = &self.install else {
            return self.install.is_none();
        };
        let rests = self.readies.is_empty()
            && self.sync_since.is_none()
            && self.is_all_durable()
            && !self.log.is_allocating();
        if !rests || again_at.is_some_and(|at| now.mono < at) {
            return true;
        }
        let snapshot = snapshot.clone();
        if !self.lacks_state(snapshot.entry()) {
            // It was committed here meanwhile.
            self.install = None;
            return true;
        }
        let mut hard_state = self.group.hard_state().clone();
        if hard_state.term < snapshot.term {
            (hard_state.term, hard_state.vote) = (snapshot.term, 0);
        }
        hard_state.commit = snapshot.index;
        let job = self.log.install_job(&snapshot, &hard_state);
        self.jobs.push(Job::Install(job));
        self.install = Some(Install::Ordered(snapshot));
        false
    }

    pub(super) fn installed(&mut self, now: Now, installed: Installed) {
        let Some(Install::Ordered(snapshot)) = self.install.take() else {
            unreachable!("one install at a time, and it was ordered");
        };
        self.install = Some(match installed {
            Installed::Done => Install::Done(None),
            // D5: nothing has changed, so a full disk ends nothing.
            Installed::NotYet(_) => Install::Waits(snapshot, Some(now.mono + RETRY)),
        });
    }
}
