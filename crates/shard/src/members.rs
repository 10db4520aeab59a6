//! Changes of the group's members: when they are proposed, applied and made durable (G3-G5, D1, D4).
//!
//! Owns: what nodes have asked, which members have caught up once, which commit index is on disk. Never:
//! decides by itself which change is next (that is [`raft_group::plan`]), or sends anything.

use super::{Shard, ShardError};
use base::clock::{Mono, Now};
use base::ids::RaftId;
use base::mutation::{self, Mutation};
use cluster_bus::NodeId;
use raft::eraftpb::{ConfChangeType, Entry, EntryType};
use raft_group::{
    self, Change, MembershipRequests, Plan, Progress, StepError, TransferKind, NEAR_BYTES,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;
use storage::base::{Base, Member, MemberIdentity, MemberKind, SnapshotMeta};
use storage::{Disk, Position};

/// How long CLUSTER FAILOVER waits for a learner to catch up, as Redis's waits for a replica.
const TRANSFEREE_PATIENCE: Duration = Duration::from_secs(5);
/// G3: how many T the id of a member that leaves, or is lost, stays while a host for a witness is
/// looked for.
pub const LEAVE_TIMEOUTS: u32 = 10;
/// How often a leader looks whether the members are as they should be, in parts of T.
const LOOKS_PER_TIMEOUT: u32 = 10;

/// The part of a shard's state that is about members.
pub(super) struct Members {
    requests: MembershipRequests,
    /// Members that have been near the end of this leader's log once (G3).
    caught_up: BTreeSet<RaftId>,
    next_look: Mono,
    /// Commit indexes that have been written, and where their records end.
    written: VecDeque<(u64, Position)>,
    /// A change waits for this commit index to be durable (D1).
    awaits: Option<u64>,
    /// D4: a second member was wanted once; from then on everything is synced.
    pub strict: bool,
    /// What was appended before that, and may have been answered without a sync, ends here.
    relaxed_end: Position,
    /// An even number of data members has caught up and no witness is known.
    pub wants_witness: bool,
    /// G3: votes are kept while a witness, or a new member, is waited for; until then at most.
    search_until: Option<Mono>,
    /// G3: the voters have become fewer, since the search has come to nothing.
    pub fell: bool,
    /// A witness that is to go as soon as another one has been found.
    replaces: Option<RaftId>,
    /// When the host of the witness that was offered last had its base on disk.
    offered: Mono,
    /// Since when this member leads.
    leads_since: Option<Mono>,
    /// P12: where the logs of witnesses begin, as they have said in this lease epoch.
    begins: BTreeMap<RaftId, u64>,
    /// The highest index that a witness was told to start from.
    base_given: u64,
    /// When the request for an transferee is over.
    transferee_until: Mono,
    /// A member that stays has said that this member was removed: it may write its tombstone (G2, G4).
    pub removed: bool,
    /// Ids of members that are no more where they were.
    gone: BTreeSet<RaftId>,
    /// The senders of messages that are not in this member's applied ConfState.
    pub strangers: Vec<RaftId>,
}

impl Members {
    pub fn new(commit: u64) -> Members {
        Members {
            requests: MembershipRequests::default(),
            caught_up: BTreeSet::new(),
            next_look: Mono(0),
            written: VecDeque::from([(commit, Position(0))]),
            awaits: None,
            strict: false,
            relaxed_end: Position(0),
            wants_witness: false,
            search_until: None,
            fell: false,
            replaces: None,
            offered: Mono(0),
            leads_since: None,
            begins: BTreeMap::new(),
            base_given: 0,
            transferee_until: Mono(0),
            removed: false,
            gone: BTreeSet::new(),
            strangers: Vec::new(),
        }
    }

    /// A hard state with this commit index ends at `end`.
    pub fn note_written(&mut self, commit: u64, end: Position) {
        self.written.push_back((commit, end));
    }

    /// The highest commit index that is known to be on disk.
    fn durable_commit(&mut self, durable: Position) -> u64 {
        while self.written.get(1).is_some_and(|&(_, end)| end <= durable) {
            self.written.pop_front();
        }
        let on_disk = self.written.front().filter(|(_, end)| *end <= durable);
        on_disk.map_or(0, |&(commit, _)| commit)
    }
}

/// Whether an entry changes members.
pub(super) fn is_change(entry: &Entry) -> bool {
    entry.get_entry_type() == EntryType::EntryConfChangeV2
}

impl<D: Disk> Shard<D> {
    // ---- what nodes request ------------------------------------------------------------------

    /// C1: a node that has the group's base on disk wants to be a member.
    pub fn request_join(&mut self, member: Member) {
        let joins = &mut self.members.requests.joins;
        joins.retain(|m| m.node != member.node || m.kind != member.kind);
        joins.push(member);
        self.members.next_look = Mono(0);
    }

    /// C1: these nodes are not wanted any more, or say that they do not want it.
    pub fn withdraw_joins(&mut self, of: impl Fn(&Member) -> bool) {
        self.members.requests.joins.retain(|m| !of(m));
    }

    /// Nodes that are about to be members, as far as this leader was asked.
    pub fn joiners(&self) -> impl Iterator<Item = &Member> {
        let requests = &self.members.requests;
        requests.joins.iter().chain(&requests.witnesses)
    }

    /// C1: a member is to go.
    pub fn request_leave(&mut self, raft_id: RaftId) {
        let leaves = &mut self.members.requests.leaves;
        if !leaves.contains(&raft_id) {
            leaves.push(raft_id);
            self.members.next_look = Mono(0);
        }
    }

    /// G2: a member has lost its disk, or has left: its id stays for a while (G3).
    pub fn note_lost(&mut self, raft_id: RaftId) {
        let requests = &mut self.members.requests;
        if !requests.lost.contains(&raft_id) && !requests.leaves.contains(&raft_id) {
            requests.lost.push(raft_id);
            self.members.next_look = Mono(0);
        }
    }

    /// G3: whether no node at all could ever host a witness.
    pub fn set_no_hosts(&mut self, none: bool) {
        self.members.requests.no_hosts = none;
    }

    /// G3: a witness goes without a successor: the search has failed.
    pub fn let_witness_go(&mut self, raft_id: RaftId) {
        if !self.members.requests.leaves.contains(&raft_id) {
            self.request_leave(raft_id);
            self.members.search_until = Some(self.turn_now.mono);
        }
    }

    /// G3: whether the voters have become fewer for want of a witness since this was asked last.
    pub fn take_fell(&mut self) -> bool {
        std::mem::take(&mut self.members.fell)
    }

    /// G2: a host has accepted to be witness and has its base on disk.
    pub fn offer_witness(&mut self, member: Member) {
        assert_eq!(member.kind, MemberKind::Witness, "a witness was invited");
        if let Some(old) = self.members.replaces.take() {
            self.request_leave(old);
        }
        self.members.requests.witnesses.clear();
        self.members.requests.witnesses.push(member);
        self.members.offered = self.turn_now.mono;
        self.members.wants_witness = false;
        self.members.next_look = Mono(0);
    }

    /// Whether this leader looks for a host for a witness (W3).
    pub fn wants_witness(&self) -> bool {
        let members = &self.members;
        // One that has been offered is used first: a host forgets it when it is invited once more.
        let offered = !members.requests.witnesses.is_empty();
        self.group.is_leader() && !offered && (members.wants_witness || members.replaces.is_some())
    }

    /// W3: a witness is to go, but not before another one has been found: one joint change swaps
    /// them.
    pub fn replace_witness(&mut self, raft_id: RaftId) {
        let member = self.group.membership().member(raft_id);
        let goes = self.members.requests.leaves.contains(&raft_id);
        if member.is_none_or(|m| m.kind != MemberKind::Witness) || goes {
            return;
        }
        if self.members.requests.witnesses.is_empty() {
            self.members.replaces = Some(raft_id);
        } else {
            self.request_leave(raft_id); // another one has been offered already
        }
    }

    /// G6: what a new witness may start from: a point that every data voter has in its log and
    /// behind which no change of members lies; none while there is no such point.
    pub fn witness_base(&mut self) -> Option<Base> {
        let membership = self.group.membership();
        let is_data = |id: RaftId| membership.member(id).map(|m| m.kind) == Some(MemberKind::Data);
        let members = self.group.members();
        // A learner that is slow, or dead, must not keep the group without a witness.
        let voters = members.iter().filter(|m| m.voter && is_data(m.id));
        let lowest = voters.map(|m| m.matched);
        let highest = members.iter().map(|m| m.matched).max();
        let lowest = if mutation::is(Mutation::WitnessBaseTooHigh) {
            highest
        } else {
            lowest.min()
        };
        let index = lowest?.min(self.group.applied());
        let fits = index >= membership.changed_at && !membership.is_joint();
        let term = self.group.term_at(index).filter(|_| fits)?;
        let base = Base {
            identity: MemberIdentity {
                raft_id: RaftId(0), // the host mints it
                kind: MemberKind::Witness,
                ..self.base.identity
            },
            snapshot: SnapshotMeta {
                index,
                term,
                conf_state: membership.conf.clone(),
                members: membership.list.clone(),
                record: self.record().encode(),
                file: None,
            },
            start: None,
        };
        self.members.base_given = self.members.base_given.max(index);
        Some(base)
    }

    /// G3: whether this leader's group survives the loss of any member: not joint, three or more
    /// voters, each heard within T, near the end of the log, and with all keys loaded (P20).
    pub fn is_ha(&self, now: Now) -> bool {
        let (me, t) = (self.group.id(), self.group.election_timeout());
        let membership = self.group.membership();
        let near = |(id, p): &(RaftId, Progress)| {
            let near = *id == me || p.heard.is_some_and(|ago| ago <= t) && p.behind <= NEAR_BYTES;
            near && (p.loaded || mutation::is(Mutation::LoadingCountsAsCaughtUp))
        };
        let voters = membership.conf.voters.len();
        let progress = self.progress(now.mono);
        let mut of_voters = progress.iter().filter(|(id, _)| membership.is_voter(*id));
        let known = self.knows_witness_logs();
        let whole = !membership.is_joint() && voters >= 3;
        self.group.is_leader() && known && whole && of_voters.all(near)
    }

    /// P12: a witness says where its log begins now: members that lack more it could not bring up.
    pub fn witness_begins(&mut self, raft_id: RaftId, first: u64) {
        if self.group.is_leader() && !self.group.membership().is_data(raft_id) {
            // A log loses its beginning only: what is lower is an answer of before.
            let begins = self.members.begins.entry(raft_id).or_default();
            *begins = first.max(*begins);
        }
    }

    /// F9: whether a member from which nothing has come yet may be one that just had no time to answer.
    pub(super) fn leads_anew(&self) -> bool {
        let patience = self.group.election_timeout() * LEAVE_TIMEOUTS;
        let since = self.members.leads_since;
        since.is_none_or(|at| self.turn_now.mono.since(at) <= patience)
    }

    /// F9: what a witness's log has is unknown to a new leader, once logs are trimmed at all.
    fn knows_witness_logs(&self) -> bool {
        let membership = self.group.membership();
        let mut list = membership.list.iter();
        let trims = self.needed.is_some();
        !trims
            || list.all(|m| {
                let is_voter = membership.is_voter(m.raft_id) && m.kind == MemberKind::Witness;
                !is_voter || self.members.begins.contains_key(&m.raft_id)
            })
    }

    /// E4: hands leadership over (nothing executes until that has ended) to the data voter that can
    /// take over soonest; false if there is none.
    pub fn hand_over_to_voter(&mut self, now: Now) -> bool {
        if self.group.is_transferring() {
            return true; // its acknowledgements are dropped: nobody looks near now
        }
        let successor = self.successor(now);
        if let Some(to) = successor {
            self.group.transfer(now, to);
        }
        successor.is_some()
    }

    /// E4: a leader that leaves hands over to a data voter that stays, or to the learner beside the only
    /// voter, which has to become one first. Not for a member that ends: until the joint state has ended
    /// the learner needs its vote. Where all others leave as well it goes on leading, until they are gone:
    /// two that leave would hand over to each other for ever, and none could remove the other.
    pub fn hand_over(&mut self, now: Now) {
        if self.group.is_transferring() {
            return;
        }
        if let Some(to) = self.successor_of(now, &|id| self.members.requests.goes(id)) {
            return self.group.transfer(now, to);
        }
        if self.group.membership().is_joint() {
            return;
        }
        let progress = self.caught_up_progress(now.mono);
        let of = |id: RaftId| progress.iter().find(|(other, _)| *other == id).map(|p| p.1);
        if let Some(transferee) =
            raft_group::transferees(self.group.id(), self.group.membership(), &of).pop()
        {
            self.request_transferee(now, transferee, self.group.election_timeout());
        }
    }

    /// E4: the same, to a member of its own choice, if that can take over.
    pub fn hand_over_to(&mut self, now: Now, raft_id: RaftId) {
        if self.group.is_transferring() {
            return;
        }
        match raft_group::transfer_kind(self.group.id(), raft_id, self.group.membership()) {
            TransferKind::Transfer => self.group.transfer(now, raft_id),
            TransferKind::Swap => self.request_transferee(now, raft_id, TRANSFEREE_PATIENCE),
            TransferKind::None => {}
        }
    }

    fn request_transferee(&mut self, now: Now, raft_id: RaftId, patience: Duration) {
        if self.members.requests.transferee != Some(raft_id) {
            self.members.requests.transferee = Some(raft_id);
            self.members.next_look = Mono(0);
        }
        self.members.transferee_until = now.mono + patience;
    }

    /// E4: the data voter that can take over at once, if there is one.
    pub fn successor(&self, now: Now) -> Option<RaftId> {
        self.successor_of(now, &|_| false)
    }

    /// The same, but for those that go.
    fn successor_of(&self, now: Now, goes: &dyn Fn(RaftId) -> bool) -> Option<RaftId> {
        let progress = self.progress(now.mono);
        let membership = self.group.membership();
        let of = |id: RaftId| progress.iter().find(|(other, _)| *other == id).map(|p| p.1);
        let data: Vec<Member> = membership
            .list
            .iter()
            .filter(|m| m.kind == MemberKind::Data && !goes(m.raft_id))
            .copied()
            .collect();
        // One that is asked to leave never becomes the record's master: of several that leave none
        // may hand over to the other, for ever, while one that stays could lead.
        let node = self.record().master;
        let master: Vec<Member> = data.iter().filter(|m| m.node == node).copied().collect();
        let to =
            |wanted: &[Member]| raft_group::successor(self.group.id(), membership, wanted, &of);
        to(&master).or_else(|| to(&data))
    }

    /// C1: the leader has said that this member's removal is committed. False: it can't be.
    pub fn note_removal(&mut self) -> bool {
        if self.is_only_voter() {
            return false;
        }
        self.members.removed = true;
        true
    }

    /// G2: whether nobody but this member can have committed anything, its removal least of all.
    pub fn is_only_voter(&self) -> bool {
        let membership = self.group.membership();
        let alone = membership.conf.voters == [self.group.id().0] && !membership.is_joint();
        alone && !mutation::is(Mutation::OnlyVoterYields)
    }

    /// D6: what this leader knows to be in a member's log, and committed.
    pub fn stored_by(&self, raft_id: RaftId) -> Option<u64> {
        let members = self.group.members();
        let member = members.iter().find(|m| m.id == raft_id)?;
        Some(member.matched.min(self.group.commit()))
    }

    /// D6: the leader says, proved, that this member has acknowledged the log up to `index`.
    pub fn check_stored(&self, index: u64) -> Result<(), ShardError> {
        let (from, last) = (
            self.group.leader().unwrap_or_default(),
            self.group.last_index(),
        );
        if index <= last || self.is_only_voter() {
            return Ok(());
        }
        Err(StepError::LostLog { from, index, last }.into())
    }

    /// Whether this member was removed from the group, and a member that stays has said so: those that stay
    /// know then, durably (D1), that the change is committed. Until then its vote may be the one
    /// without which they can't leave the joint state.
    pub fn is_removed(&self) -> bool {
        self.members.removed
    }

    /// G2: this member has applied its own removal, and no member that stays has confirmed it yet.
    pub fn awaits_confirmation(&self) -> bool {
        self.group.membership().left && !self.members.removed
    }

    /// G2: no such member is left where it was. Where none of the members that stayed is left, no member is there
    /// that could confirm this member's removal, or that would need its vote.
    pub fn note_gone(&mut self, raft_id: RaftId, from: NodeId) {
        let member = self.group.membership().member(raft_id);
        if member.is_none_or(|m| m.node != from) {
            return; // only its own node can tell
        }
        self.members.gone.insert(raft_id);
        let list = &self.group.membership().list;
        let all = list.iter().all(|m| self.members.gone.contains(&m.raft_id));
        if self.awaits_confirmation() && all {
            self.members.removed = true;
        }
    }

    /// Whether the nodes of all other data members have said that those are there no more: no data of the group
    /// is anywhere else.
    pub fn has_no_data_left(&self) -> bool {
        let me = self.group.id();
        let list = self.group.membership().list.iter();
        let mut data = list.filter(|m| m.kind == MemberKind::Data && m.raft_id != me);
        data.all(|m| self.members.gone.contains(&m.raft_id))
    }

    /// G2: another member says that this one is not a member as of its applied index. Whether that
    /// proves its removal.
    pub fn not_a_member(&mut self, applied: u64) -> bool {
        let membership = self.group.membership();
        if self.is_only_voter() {
            return false;
        }
        if membership.contains(self.group.id()) && self.group.applied() >= applied {
            return false; // what is applied here says otherwise, up to a later index of the same log
        }
        let known = match membership.joined_at {
            None => membership.left.then_some(membership.changed_at),
            joined => joined,
        };
        let removed = known.is_some_and(|at| at <= applied);
        self.members.removed |= removed;
        removed
    }

    // ---- leading --------------------------------------------------------------------------

    /// Looks at the members now and then, and takes the next step towards those that are wanted.
    pub(super) fn manage_members(&mut self, now: Now) {
        if !self.group.is_leader() {
            self.members.leads_since = None;
            self.members.caught_up.clear();
            self.members.begins.clear();
            self.members.wants_witness = false;
            self.members.replaces = None;
            self.members.search_until = None;
            self.members.requests = MembershipRequests::default();
            return;
        }
        self.members.leads_since.get_or_insert(now.mono);
        let idle = self.group.own_term_applied()
            && !self.group.has_pending_change()
            && !self.group.is_transferring()
            && !self.is_loading();
        if !idle || now.mono < self.members.next_look {
            return;
        }
        self.members.next_look = now.mono + self.group.election_timeout() / LOOKS_PER_TIMEOUT;
        self.forget_fulfilled(now);
        for (id, p) in self.progress(now.mono) {
            if p.behind <= NEAR_BYTES {
                self.members.caught_up.insert(id);
            }
        }
        let progress = self.caught_up_progress(now.mono);
        let of = |id: RaftId| progress.iter().find(|(other, _)| *other == id).map(|p| p.1);
        let until = self.members.search_until;
        self.members.requests.overdue = until.is_some_and(|at| now.mono >= at);
        let (me, list) = (self.group.id(), self.group.membership());
        let plan = raft_group::plan(me, self.group.kind(), list, &self.members.requests, &of);
        self.members.wants_witness = matches!(plan, Plan::Invite | Plan::Hold { invite: true });
        self.members.search_until = match plan {
            Plan::Hold { .. } => {
                let patience = self.group.election_timeout() * LEAVE_TIMEOUTS;
                until.or(Some(now.mono + patience))
            }
            Plan::Rest | Plan::Invite => None,
            Plan::Propose(_) | Plan::Transfer(_) => until,
        };
        match plan {
            Plan::Rest | Plan::Invite | Plan::Hold { .. } => {}
            Plan::Transfer(to) => self.group.transfer(now, to),
            Plan::Propose(change) => self.propose_change(&change),
        }
    }

    fn propose_change(&mut self, change: &Change) {
        // D4: what was answered before its sync must be safe before a second member can count.
        if !self.members.strict {
            self.members.strict = true;
            self.members.relaxed_end = self.log.end();
        }
        let unsafe_yet = self.log.durable() < self.members.relaxed_end;
        // D5: the reserve is for this, too.
        if unsafe_yet || !self.log.has_reserve(super::turn::RECORD_OVERHEAD) {
            return;
        }
        let demotes = |step: &(ConfChangeType, RaftId)| step.0 == ConfChangeType::AddLearnerNode;
        let requests = &self.members.requests;
        let falls =
            requests.overdue || requests.transferee.is_none() && change.steps.iter().any(demotes);
        self.members.fell |= change.joint && !change.steps.is_empty() && falls;
        self.group.propose_change(change);
    }

    fn forget_fulfilled(&mut self, now: Now) {
        let (list, requests) = (self.group.membership(), &mut self.members.requests);
        requests.joins.retain(|m| !list.contains(m.raft_id));
        let is_data = |m: &&Member| m.kind == MemberKind::Data;
        let handle = |w: &Member| {
            let mut data = list.list.iter().filter(is_data);
            data.any(|m| m.node == w.node) && !mutation::is(Mutation::WitnessBesideData)
        };
        // G3: a host lets a witness go that was not added. Made a voter after that it would never answer.
        let stale = now.mono.since(self.members.offered) > raft_group::ANSWERED;
        let stale = stale && !mutation::is(Mutation::StaleWitness);
        requests
            .witnesses
            .retain(|m| !list.contains(m.raft_id) && !handle(m) && !stale);
        requests.leaves.retain(|id| list.contains(*id));
        requests.lost.retain(|id| list.contains(*id));
        let late = now.mono >= self.members.transferee_until;
        requests.transferee = requests.transferee.filter(|_| !late);
    }

    /// G6, D7: a new voter needs nothing that the witness's log does not have.
    fn caught_up_progress(&self, now: Mono) -> Vec<(RaftId, Progress)> {
        let changed_at = self.group.membership().changed_at;
        let floor = changed_at.max(self.members.base_given);
        let mut progress = self.progress(now);
        for (id, p) in &mut progress {
            let loaded = p.loaded || mutation::is(Mutation::LoadingCountsAsCaughtUp);
            p.caught_up = self.members.caught_up.contains(id) && p.matched >= floor && loaded;
        }
        progress
    }

    pub(super) fn progress(&self, now: Mono) -> Vec<(RaftId, Progress)> {
        let (me, t) = (self.group.id(), self.group.election_timeout());
        let last = self.group.last_index();
        let list = self.group.membership().list.iter();
        let begins = list.filter_map(|m| self.members.begins.get(&m.raft_id));
        let begins = begins.max().copied().unwrap_or(0);
        let view = |m: raft_group::MemberView| {
            // P12: the witness could not bring it up.
            let short = m.matched + 1 < begins && self.group.membership().is_data(m.id);
            let progress = Progress {
                matched: m.matched,
                behind: match short && !mutation::is(Mutation::WitnessFloorIgnored) {
                    true => u64::MAX,
                    false => self.log.bytes_after(m.matched),
                },
                heard: m.heard.map(|at| now.since(at)),
                caught_up: m.id == me,
                syncs: m.matched == last || m.acked.is_some_and(|at| now.since(at) <= t),
                has_room: m.has_room,
                loaded: m.loaded,
                failed: self.failed_lately(m.failed, now),
            };
            (m.id, progress)
        };
        self.group.members().into_iter().map(view).collect()
    }

    // ---- applying -------------------------------------------------------------------------

    /// Applies a committed change; false if the commit index that covers it is not on disk yet: it
    /// is written if need be, and the change is tried again after the sync (D1).
    pub(super) fn apply_members(&mut self, entry: &Entry) -> Result<bool, ShardError> {
        if self.members.durable_commit(self.log.durable()) < entry.index {
            let newest = self.members.written.back().map_or(0, |&(commit, _)| commit);
            if newest < entry.index && self.log.has_reserve(super::persist::SMALL_RECORD) {
                let hard_state = self.group.hard_state().clone();
                self.append(Some(&hard_state), &[])?;
            }
            self.members.awaits = Some(entry.index);
            return Ok(false);
        }
        self.members.awaits = None;
        self.group
            .apply_change(self.turn_now, entry)
            .map_err(|source| ShardError::Apply {
                index: entry.index,
                reason: source.to_string(),
            })?;
        if self.group.membership().joined_at == Some(entry.index) {
            self.members.removed = false; // it asked again, and was added again
        }
        self.members.next_look = Mono(0);
        Ok(true)
    }

    /// Whether a committed change waits for a sync (D1).
    pub(super) fn awaits_sync(&self) -> bool {
        self.members.awaits.is_some()
    }

    /// D1, D4: whether a change of members waits for a sync that the policy would not order.
    pub(super) fn must_sync(&self) -> bool {
        self.members.awaits.is_some() || self.members.strict
    }
}
