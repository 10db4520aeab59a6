//! A new state for the base, and the log's end (D7, P8, P10).
//!
//! Owns the way from a snapshot that is whole on the disk to a base that names it, and to a log that
//! begins later; and what of the log other members need. Never makes a snapshot. Invariant: Raft is shown no
//! first index above the next one that it has not applied, since raft-rs passes over committed entries below
//! the first index and says nothing.

use super::persist::RETRY;
use super::Shard;
use base::clock::{Mono, Now};
use base::ids::RaftId;
use base::mutation::{self, Mutation};
use storage::base::MemberKind;
use storage::{Base, Disk, Job, LogStart, Needed, SnapshotMeta, Switched};

/// P11: a state that is given for this many times is kept as long as the disk has room.
const MOST_AGAIN: u32 = 20;

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

impl NewState {
    fn of(snapshot: SnapshotMeta) -> NewState {
        NewState {
            snapshot,
            ordered: false,
            again_at: None,
            failure: None,
        }
    }
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
    /// the own disk has the entry at its index. The file of one that is of no use goes.
    pub(super) fn on_snapshot(&mut self, snapshot: SnapshotMeta) {
        let at = snapshot.entry();
        let waiting = self.new_state.as_ref().filter(|new| !new.ordered);
        let newest = waiting.map_or(self.base.snapshot.index, |new| new.snapshot.index);
        let is_free = self.new_state.is_none() || waiting.is_some();
        let is_ours =
            at.index <= self.group.applied() && self.group.term_at(at.index) == Some(at.term);
        if !is_free || !is_ours || at.index <= newest || !self.may_trim() {
            return self.drop_file_of(&snapshot);
        }
        if let Some(old) = self.new_state.replace(NewState::of(snapshot)) {
            self.drop_file_of(&old.snapshot);
        }
    }

    /// P8: a snapshot that nothing names, nor ever will.
    fn drop_file_of(&mut self, snapshot: &SnapshotMeta) {
        let waiting = self.new_state.as_ref().map(|new| &new.snapshot);
        let mut named = waiting.into_iter().chain([&self.base.snapshot]);
        let is_named = named.any(|other| other.file_name() == snapshot.file_name());
        drop(named);
        if !is_named {
            self.remove_files(self.log.drop_state(snapshot));
        }
    }

    /// D7: whether a snapshot becomes the base's, and the log loses what that covers: no other member lacks it, or
    /// all of them can be given a state.
    pub fn may_trim(&self) -> bool {
        self.is_surely_alone()
            || self.needed.is_some()
            || mutation::is(Mutation::SnapshotMovesAnyBase)
    }

    pub(super) fn is_surely_alone(&self) -> bool {
        self.group.is_alone() && self.joiners().next().is_none()
    }

    /// P11: the most of the log that is kept for members which could be given this state.
    fn cap(&self, state: &SnapshotMeta) -> u64 {
        self.log.cap(state.file.map_or(0, |file| file.bytes))
    }

    /// F10: nothing is kept that need not be.
    fn is_short(&self) -> bool {
        self.is_disk_full() && !mutation::is(Mutation::ShortageKeepsAll)
    }

    /// The same, on the disk as it is: one that is full keeps no more than is always kept (F10).
    fn cap_now(&self, state: &SnapshotMeta) -> u64 {
        match self.is_short() {
            true => self.log.cap(0),
            false => self.cap(state),
        }
    }

    /// P11: what of the log the other members need. A witness keeps what it was not told to be of no use.
    pub(super) fn needed(&self, state: &SnapshotMeta) -> Needed {
        match self.needed {
            _ if self.is_surely_alone() => Needed {
                lean: self.is_short(),
                ..Needed::NOTHING
            },
            behind => Needed {
                lean: false,
                behind: behind.unwrap_or(0),
                cap: (self.group.kind() == MemberKind::Data).then(|| self.cap_now(state)),
            },
        }
    }

    /// P11, P12: a leader looks what its members have of the log. `states_travel`: all of them, and those that
    /// are about to be, can be given a state. What comes back is to be told to them: up to there all members have
    /// the log which are not better given a state.
    pub fn look_at_log_end(&mut self, states_travel: bool) -> Option<u64> {
        if !self.group.is_leader() || self.group.kind() == MemberKind::Witness {
            return None;
        }
        let commit = self.group.commit();
        let cap = self.cap(&self.base.snapshot);
        let matched = || {
            let members = self.group.members().into_iter();
            members.map(|member| member.matched.min(commit))
        };
        let lowest = matched().min().filter(|_| states_travel);
        // F9: what a member has that has not answered a new leader is not known.
        let leads_anew = self.leads_anew();
        let is_near =
            |index: &u64| leads_anew && *index == 0 || self.log.bytes_after(*index) <= cap;
        let near = matched().filter(is_near);
        let near = near.min().filter(|_| states_travel);
        self.needed = lowest;
        near
    }

    /// P12: the leader of this member's term says up to where the log is of use to no other one. A member that was
    /// told so keeps to it: what is committed, and others have, they have for ever.
    pub fn trim_to(&mut self, index: u64) {
        let told = index.min(self.group.commit());
        self.needed = self.needed.max(Some(told));
        if self.group.kind() == MemberKind::Witness {
            self.trim_witness();
        }
    }

    /// W1: a witness has no state; its log begins later, behind a base of its own making, when that gives back
    /// as much as is always kept.
    fn trim_witness(&mut self) {
        let applied = self.group.applied();
        if self.new_state.is_some() || applied <= self.base.snapshot.index {
            return;
        }
        let Some(snapshot) = self.state_now() else {
            return;
        };
        let start = self.start_of(&snapshot);
        let old = self.base.start.map_or(0, |start| start.position.0);
        if start.is_some_and(|new| new.position.0 - old >= self.log.cap(0)) {
            self.new_state = Some(NewState::of(snapshot));
        }
    }

    /// P12: the first index of the log, or the one that it is about to have.
    pub fn begins_soon(&self) -> u64 {
        let coming = self.new_state.as_ref();
        let coming = coming.and_then(|new| self.start_of(&new.snapshot));
        let coming = coming.map_or(0, |start| start.before.index + 1);
        self.log.first_index().max(coming)
    }

    fn start_of(&self, state: &SnapshotMeta) -> Option<LogStart> {
        let (applied, needed) = (self.group.applied(), self.needed(state));
        self.log.start_for(state.index, applied, needed)
    }

    /// P11: up to where a member has the log, if it lacks so much that it soon lacks more than is kept for one.
    pub fn matched_far_behind(&self, raft_id: RaftId) -> Option<u64> {
        let cap = self.cap(&self.base.snapshot);
        let members = self.group.members();
        let matched = members.iter().find(|m| m.id == raft_id)?.matched;
        (self.log.bytes_after(matched) > cap / 2).then_some(matched)
    }

    /// P11: a member is being given the state that the base names, or the log behind it: it stays, for as long as the log does not
    /// become much longer than a state costs; twice as long for each time that another one was given in vain, or
    /// the member would never be brought up.
    pub fn hold_base(&mut self, given: Option<u32>) {
        self.base_given = given;
    }

    pub(super) fn is_base_held(&self) -> bool {
        let state = &self.base.snapshot;
        let most = |again: u32| (2 * self.cap(state)).saturating_mul(1 << again.min(MOST_AGAIN));
        let is_short = |again| self.log.bytes_after(state.index) < most(again);
        self.base_given.is_some_and(is_short)
            && self.no_space.is_none()
            && !mutation::is(Mutation::TrimPastPin)
    }

    /// F10: on a full disk the log loses at once what the present state covers and nobody needs.
    fn shed_log(&mut self) {
        let state = &self.base.snapshot;
        let sheds = self.is_disk_full() && self.new_state.is_none() && self.may_trim();
        if sheds && self.start_of(state).is_some() {
            self.new_state = Some(NewState::of(state.clone()));
        }
    }

    pub(super) fn order_switch(&mut self, now: Now) {
        self.shed_log();
        if self.new_state.as_ref().is_none_or(|new| new.ordered) {
            return;
        }
        // P1: a job that reads base and log goes first.
        if self.is_loading() || self.is_making_snapshot() {
            return;
        }
        if !self.may_trim() {
            // A member has come meanwhile that could not be given a state.
            if let Some(new) = self.new_state.take() {
                self.drop_file_of(&new.snapshot);
            }
            return;
        }
        let held = self.is_base_held();
        let Some(new) = self.new_state.as_ref().filter(|_| !held) else {
            return;
        };
        if new.again_at.is_some_and(|at| now.mono < at) {
            return;
        }
        let needed = self.needed(&new.snapshot);
        let job = self
            .log
            .switch_job(&new.snapshot, self.group.applied(), needed);
        match (job, &mut self.new_state) {
            (Some(job), Some(new)) => {
                (new.ordered, new.again_at) = (true, None);
                self.jobs.push(Job::Switch(job));
            }
            // D4: no policy may order the sync that it waits for.
            _ => self.sync_wanted = true,
        }
    }

    /// P8: after a switch that was durable memory follows, and only then files go.
    pub(super) fn switched(&mut self, now: Now, switched: Switched<D>) {
        match switched {
            Switched::Done(base, trim) => {
                self.new_state = None;
                self.shed_at = Some(now.mono);
                let trim = self.log.switched(Base::clone(&base), trim);
                self.base = *base;
                self.group.compact(self.base.log_before());
                self.offer_state();
                self.remove_files(trim);
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
    /// and so may a member that is given the present state: nobody waits for that.
    pub fn base_moves(&self) -> bool {
        let soon = |new: &NewState| new.failure.is_none() && !self.is_base_held();
        let new = self.new_state.as_ref();
        new.is_some_and(|new| new.ordered || soon(new))
    }

    /// P8: whether the disk may have another base already than memory.
    pub(super) fn is_switch_ordered(&self) -> bool {
        self.new_state.as_ref().is_some_and(|new| new.ordered)
    }

    /// The newest state that is whole on the disk, with its file: the base's, or the one that it can't be made to name.
    pub(super) fn newest_state(&self) -> &SnapshotMeta {
        let new = self.new_state.as_ref();
        new.map_or(&self.base.snapshot, |new| &new.snapshot)
    }

    /// When a switch, or a removal, is to be tried again.
    pub(super) fn switch_due(&self) -> Option<Mono> {
        let new = self.new_state.as_ref().and_then(|new| new.again_at);
        new.into_iter().chain(self.removal.due()).min()
    }
}
