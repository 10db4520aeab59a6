//! The group itself: proposals, Readies and what leaves when.
//!
//! Invariants:
//! - Between `RawNode::ready` and `advance_append_async` nothing else touches the node.
//! - What must wait for a sync is held here, in the order of the Readies, until
//!   [`Group::persisted`] names them (E6); only heartbeat and pre-vote answers, which need no more
//!   than the durable term, leave at once.
//! - `applied` moves only by what a Ready delivered (T5).

use super::envelope::{Envelope, LeaseEpoch};
use super::flow::{Flow, FIRST_WINDOW};
use super::lease::{Lease, Promise};
use super::members::Membership;
use super::timer::{CampaignTimer, Rank};
use super::window::{Wanted, Window};
use super::TICKS_PER_TIMEOUT;
use base::clock::{Mono, Now};
use base::ids::{EntryId, GroupId, Incarnation, RaftId};
use base::mutation::{self, Mutation};
use raft::eraftpb::{ConfState, Entry, HardState, Message, MessageType};
use raft::{Config, ProgressState, RawNode, SnapshotStatus, StateRole};
use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::time::Duration;
use storage::base::MemberKind;

/// What a member is at this moment, as raft-rs sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Follower,
    PreCandidate,
    Candidate,
    Leader,
}

/// What a group is made with.
#[derive(Clone, Debug)]
pub struct GroupConfig {
    pub group: GroupId,
    pub incarnation: Incarnation,
    /// This member's raft id.
    pub id: RaftId,
    pub kind: MemberKind,
    /// As of `applied` (D2).
    pub membership: Membership,
    /// T, fixed for the life of the group.
    pub election_timeout: Duration,
    /// Seed of the campaign timer's jitter.
    pub seed: u64,
    /// After a restart this member campaigns before the others (it was the master).
    pub first: bool,
    /// Log index up to which recovery has applied.
    pub applied: u64,
    /// Bytes of applied entries kept in memory for slow followers.
    pub keep_bytes: usize,
}

/// What one Ready asks to be written, and what it delivers.
#[derive(Debug)]
pub struct Persist {
    /// Name of the Ready: to be given to [`Group::persisted`] when it is on disk.
    pub number: u64,
    /// The hard state, whenever it changed (D1); its commit included.
    pub hard_state: Option<HardState>,
    /// Whether only the commit changed: it may ride in the next record (D1).
    pub commit_only: bool,
    pub entries: Vec<Entry>,
    /// Committed entries, to be applied in order.
    pub committed: Vec<Entry>,
}

struct OpenReady {
    number: u64,
    term: Option<u64>,
    messages: Vec<Envelope>,
}

pub(super) struct Transfer {
    pub to: RaftId,
    pub since: Mono,
}

/// A member as its leader sees it, for status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberView {
    pub id: RaftId,
    pub voter: bool,
    pub matched: u64,
    pub applied: u64,
    /// Send time of the newest message that it has answered.
    pub heard: Option<Mono>,
    /// When it last acknowledged entries that it had not acknowledged before: its disk does syncs.
    pub acked: Option<Mono>,
    /// D5: whether its log has room for writes, as its last answer says.
    pub has_room: bool,
    /// P20: whether its keyspace is that of its applied index, as its last answer says.
    pub loaded: bool,
    /// E4: when a transfer to it came to nothing.
    pub failed: Option<Mono>,
}

/// What a leader remembers of a member, in its lease epoch.
#[derive(Clone, Copy, Default)]
pub(super) struct Told {
    id: RaftId,
    applied: u64,
    acked: Option<Mono>,
    pub(super) lacks_room: bool,
    loads: bool,
    failed: Option<Mono>,
}

/// What a member says of itself in every answer.
#[derive(Clone, Copy)]
pub(super) struct Answer {
    pub applied: u64,
    pub has_room: bool,
    pub loaded: bool,
}

impl Answer {
    pub fn of(envelope: &Envelope) -> Answer {
        Answer {
            applied: envelope.applied,
            has_room: envelope.has_room,
            loaded: envelope.loaded,
        }
    }
}

fn is_only_voter(membership: &Membership, me: RaftId) -> bool {
    membership.conf.voters == [me.0] && !membership.is_joint()
}

/// One member's part in its group.
pub struct Group {
    pub(super) node: RawNode<Window>,
    pub(super) config: GroupConfig,
    pub(super) promise: Promise,
    pub(super) lease: Lease,
    pub(super) timer: CampaignTimer,
    pub(super) transfer: Option<Transfer>,
    /// The lease epoch whose TimeoutNow this member obeys, carried by the votes it asks for (E4).
    pub(super) under_transfer: LeaseEpoch,
    /// A TimeoutNow that waits for everything to be persisted (E2).
    pub(super) postponed: Option<Box<Envelope>>,
    /// What members have told, or shown.
    pub(super) told: Vec<Told>,
    pub(super) flow: Flow,
    pub(super) role: StateRole,
    pub(super) term: u64,
    pub(super) membership: Membership,
    open: VecDeque<OpenReady>,
    pub(super) durable_term: u64,
    hard_state: HardState,
    pub(super) applied: u64,
    pub(super) next_tick: Mono,
    /// D5: whether this member's log has room for writes.
    pub(super) has_room: bool,
    /// P20: whether this member's keyspace is that of the applied index.
    pub(super) loaded: bool,
    pub(super) out: Vec<Envelope>,
}

impl Group {
    /// A group over a recovered window. Everything in it must be durable already (D2).
    pub fn new(
        config: GroupConfig,
        window: Window,
        now: Now,
        logger: &slog::Logger,
    ) -> raft::Result<Group> {
        let raft_config = Config {
            id: config.id.0,
            election_tick: TICKS_PER_TIMEOUT as usize,
            heartbeat_tick: 1,
            applied: config.applied,
            max_size_per_msg: 1 << 20,
            max_inflight_msgs: FIRST_WINDOW,
            // Followers hear of a commit with the next entries, or by `tell_commit`.
            skip_bcast_commit: true,
            check_quorum: true,
            pre_vote: true,
            // E2: raft-rs's own election timer never fires.
            min_election_tick: 1 << 40,
            max_election_tick: (1 << 40) + 1,
            batch_append: true,
            // T2: the limit on the tail is ours, before execution.
            max_uncommitted_size: u64::MAX,
            max_committed_size_per_ready: 16 << 20,
            ..Config::default()
        };
        let node = RawNode::new(&raft_config, window, logger)?;
        let membership = config.membership.clone();
        let alone = is_only_voter(&membership, config.id);
        let t = config.election_timeout;
        let promise_now = if mutation::is(Mutation::VoteAfterRestart) {
            now.mono - t
        } else {
            now.mono
        };
        let hard_state = node.raft.hard_state();
        Ok(Group {
            promise: Promise::at_start(promise_now, t),
            lease: Lease::new(t),
            timer: CampaignTimer::at_start(now.mono, t, config.seed, Rank::of(&config, alone)),
            transfer: None,
            under_transfer: LeaseEpoch::default(),
            postponed: None,
            told: Vec::new(),
            flow: Flow::default(),
            role: node.raft.state,
            term: node.raft.term,
            membership,
            open: VecDeque::new(),
            durable_term: hard_state.term,
            hard_state,
            applied: config.applied,
            next_tick: now.mono,
            has_room: true,
            loaded: true,
            out: Vec::new(),
            node,
            config,
        })
    }

    // ---- what it is -----------------------------------------------------------------------

    pub fn id(&self) -> RaftId {
        self.config.id
    }

    pub fn role(&self) -> Role {
        match self.node.raft.state {
            StateRole::Follower => Role::Follower,
            StateRole::PreCandidate => Role::PreCandidate,
            StateRole::Candidate => Role::Candidate,
            StateRole::Leader => Role::Leader,
        }
    }

    pub fn is_leader(&self) -> bool {
        self.node.raft.state == StateRole::Leader
    }

    /// The leader that this member knows of, in its own term.
    pub fn leader(&self) -> Option<RaftId> {
        let id = self.node.raft.leader_id;
        (id != raft::INVALID_ID).then_some(RaftId(id))
    }

    pub fn term(&self) -> u64 {
        self.node.raft.term
    }

    pub fn commit(&self) -> u64 {
        self.node.raft.raft_log.committed
    }

    pub fn applied(&self) -> u64 {
        self.applied
    }

    pub fn last_index(&self) -> u64 {
        self.node.raft.raft_log.last_index()
    }

    /// P14: none below the entry before the log's first one, where raft-rs says 0.
    pub fn term_at(&self, index: u64) -> Option<u64> {
        let known = index >= self.node.store().before().index;
        known.then(|| self.node.raft.raft_log.term(index).ok())?
    }

    /// D4: whether this is the group's only member.
    pub fn is_alone(&self) -> bool {
        self.is_only_voter() && self.membership.conf.learners.is_empty()
    }

    pub(super) fn is_only_voter(&self) -> bool {
        is_only_voter(&self.membership, self.config.id)
    }

    pub fn election_timeout(&self) -> Duration {
        self.config.election_timeout
    }

    pub fn is_transferring(&self) -> bool {
        self.transfer.is_some()
    }

    /// The lease epoch under which this member leads, or the default.
    pub fn lease_epoch(&self) -> LeaseEpoch {
        self.lease.lease_epoch()
    }

    /// Every member as the leader sees it; empty on others.
    pub fn members(&self) -> Vec<MemberView> {
        if !self.is_leader() {
            return Vec::new();
        }
        let mut members: Vec<MemberView> = self
            .node
            .raft
            .prs()
            .iter()
            .map(|(&id, progress)| {
                let id = RaftId(id);
                let told = self.told_by(id);
                let is_me = id == self.config.id;
                MemberView {
                    id,
                    voter: self.membership.is_voter(id),
                    matched: progress.matched,
                    applied: if is_me { self.applied } else { told.applied },
                    heard: self.lease.heard(id.0),
                    acked: told.acked,
                    has_room: if is_me {
                        self.has_room
                    } else {
                        !told.lacks_room
                    },
                    loaded: if is_me { self.loaded } else { !told.loads },
                    failed: told.failed,
                }
            })
            .collect();
        members.sort_unstable_by_key(|m| m.id);
        members
    }

    pub(super) fn told_by(&self, id: RaftId) -> Told {
        let told = self.told.iter().find(|told| told.id == id);
        told.copied().unwrap_or_default()
    }

    fn told_mut(&mut self, id: RaftId) -> &mut Told {
        let at = self.told.iter().position(|told| told.id == id);
        let at = at.unwrap_or_else(|| {
            let new = Told {
                id,
                ..Told::default()
            };
            self.told.push(new);
            self.told.len() - 1
        });
        &mut self.told[at]
    }

    /// A member's answer, and whether it acknowledges entries that it had not acknowledged before.
    pub(super) fn note_told(&mut self, now: Now, from: RaftId, answer: &Answer, acks: bool) {
        let told = self.told_mut(from);
        told.applied = told.applied.max(answer.applied);
        told.lacks_room = !answer.has_room;
        told.loads = !answer.loaded;
        if acks {
            told.acked = Some(now.mono);
        }
    }

    /// Entries that a member has acknowledged to this leader.
    pub(super) fn matched(&self, id: RaftId) -> u64 {
        self.node.raft.prs().get(id.0).map_or(0, |p| p.matched)
    }

    /// P20: whether this member's keyspace is that of the applied index; every message says so, and it
    /// campaigns behind all others until it is.
    pub fn set_loaded(&mut self, loaded: bool) {
        self.loaded = loaded;
        self.timer.set_loaded(loaded);
    }

    /// D2: Raft has waited for the keyspace until now; the order in which members campaign counts from here.
    pub fn wake(&mut self, now: Now) {
        self.set_loaded(true);
        self.timer.woken(now.mono);
    }

    // ---- leading --------------------------------------------------------------------------

    /// E5: whether this leader's own term has been applied, and so everything before it.
    pub fn own_term_applied(&self) -> bool {
        self.is_leader()
            && (self.term_at(self.applied) == Some(self.term())
                || mutation::is(Mutation::ServeBeforeOwnTerm))
    }

    /// E3: whether no other member can be leading at `now`, a reading taken after execution. The one
    /// place that says so.
    pub fn holds_lease(&self, now: Now) -> bool {
        if !self.is_leader() {
            return false;
        }
        if self.transfer.is_some() && !mutation::is(Mutation::TransferKeepsLease) {
            return false;
        }
        if self.is_only_voter() {
            return true;
        }
        if self.lease.has_slept(&now) && !mutation::is(Mutation::LeaseOfASleeper) {
            return false;
        }
        self.quorum_ack_time(now.mono)
            .is_some_and(|at| at + self.lease.length() > now.mono)
    }

    /// The send time that a majority has acknowledged: at that moment this member was the leader, and
    /// everything executed before it saw all that was committed (our ReadIndex).
    pub fn quorum_ack_time(&self, now: Mono) -> Option<Mono> {
        if !self.is_leader() {
            return None;
        }
        let (me, conf) = (self.config.id.0, &self.membership.conf);
        let incoming = self.lease.quorum_ack_time(now, me, &conf.voters)?;
        if conf.voters_outgoing.is_empty() {
            return Some(incoming);
        }
        // E3: while joint, both halves.
        let outgoing = self.lease.quorum_ack_time(now, me, &conf.voters_outgoing)?;
        Some(incoming.min(outgoing))
    }

    /// How long a lease lasts beyond an acknowledgement; for checks, which work it out on their own.
    pub fn lease_length(&self) -> Duration {
        self.lease.length()
    }

    /// Asks all members for an acknowledgement now, outside the rhythm of the ticks.
    pub fn ping(&mut self) {
        self.node.ping();
    }

    /// Proposes entries with these bodies, adjacent, and says at which indexes they stand. Only a leader that
    /// has not stepped anything since it executed may call this (T1).
    pub fn propose(&mut self, bodies: Vec<Vec<u8>>) -> RangeInclusive<u64> {
        assert!(self.is_leader(), "T1: only a leader proposes");
        assert!(!bodies.is_empty(), "a proposal has entries");
        let before = self.last_index();
        let count = bodies.len() as u64;
        let entries: Vec<Entry> = bodies
            .into_iter()
            .map(|body| Entry {
                data: body.into(),
                ..Entry::default()
            })
            .collect();
        let mut message = Message {
            from: self.config.id.0,
            ..Message::default()
        };
        message.set_msg_type(MessageType::MsgPropose);
        message.set_entries(entries.into());
        self.node
            .step(message)
            .expect("T2: a leader's proposal is never dropped");
        // T2: index and term are read after the proposal, never predicted.
        assert_eq!(
            self.last_index(),
            before + count,
            "every entry was appended"
        );
        before + 1..=before + count
    }

    /// E4: begins to hand leadership to `to`; from now on nothing executes until it has ended.
    pub fn transfer(&mut self, now: Now, to: RaftId) {
        assert!(
            self.is_leader() && to != self.config.id,
            "a leader transfers to another"
        );
        if !mutation::is(Mutation::TransferKeepsLease) {
            let lease_epoch = self.lease.lease_epoch();
            self.lease.begin(now.mono, lease_epoch);
        }
        self.transfer = Some(Transfer {
            to,
            since: now.mono,
        });
        self.push_transfer(now);
    }

    pub(super) fn push_transfer(&mut self, now: Now) {
        let Some(transfer) = &self.transfer else {
            return;
        };
        let (to, since) = (transfer.to, transfer.since);
        let caught_up = self.matched(to) == self.last_index();
        if now.mono >= since + self.config.election_timeout {
            // No successor came: a new count, so that late votes of this try are void.
            let lease_epoch = self.lease.lease_epoch();
            let next = LeaseEpoch {
                transfers: lease_epoch.transfers + 1,
                ..lease_epoch
            };
            self.lease.begin(now.mono, next);
            self.transfer = None;
            self.told_mut(to).failed = Some(now.mono);
            self.ping();
        } else if caught_up {
            self.node.raft.send_timeout_now(to.0);
        }
    }

    // ---- time -----------------------------------------------------------------------------

    /// Whether somebody leads, and was heard lately; a learner never forgets its leader of itself.
    pub fn is_led(&self, now: Now) -> bool {
        self.is_leader() || (self.leader().is_some() && self.promise.binds(now.mono))
    }

    /// How long ago this follower heard its leader.
    pub fn leader_silent_for(&self, now: Now) -> Option<Duration> {
        let at = self.promise.heard_at().filter(|_| !self.is_leader())?;
        Some(now.mono.since(at))
    }

    /// What is due: heartbeats, transfers, a campaign. One tick at most, however late (E6).
    pub fn tick(&mut self, now: Now) {
        self.lease.observe_clock(&now);
        if self.is_leader() {
            if now.mono >= self.next_tick {
                self.next_tick = now.mono + self.config.election_timeout / TICKS_PER_TIMEOUT;
                self.node.tick();
                self.push_transfer(now);
            }
            self.tell_commit(now);
        } else if self.timer.due(now.mono) {
            self.campaign(now);
        }
        self.note_role(now);
    }

    /// When [`Group::tick`] wants to be called next.
    pub fn deadline(&self) -> Mono {
        if !self.is_leader() {
            return self.timer.at();
        }
        self.flow
            .due()
            .map_or(self.next_tick, |at| at.min(self.next_tick))
    }

    /// E2: nothing of this member's log or term may be in flight, and no committed entry unapplied.
    pub(super) fn may_campaign(&self) -> bool {
        (self.node.raft.promotable() || mutation::is(Mutation::LearnerCampaigns))
            && self.open.is_empty()
            && !self.node.has_ready()
            && self.applied == self.commit()
    }

    /// P20: a leader that hands over wants to be followed by one that can serve.
    pub(super) fn may_take_over(&self) -> bool {
        self.may_campaign() && self.loaded
    }

    fn campaign(&mut self, now: Now) {
        if !self.is_only_voter() && self.promise.binds(now.mono) {
            self.timer.promised(self.promise.until());
            return;
        }
        if !self.node.raft.promotable() && !mutation::is(Mutation::LearnerCampaigns) {
            self.probe(now);
            self.timer.probed(now.mono);
            return;
        }
        if !self.may_campaign() {
            self.timer.not_ready(now.mono);
            return;
        }
        self.under_transfer = LeaseEpoch::default();
        self.node
            .campaign()
            .expect("a local message is always taken");
        self.timer.asked(now.mono);
    }

    /// G2: a learner sends nothing of its own, and so would never learn that it was removed
    /// while it was away. A heartbeat's answer changes nothing, and a member that is asked says so.
    fn probe(&mut self, now: Now) {
        if !self.open.is_empty() || self.term() == 0 {
            return; // E6: the term has to be durable
        }
        let others = self.membership.list.iter().map(|m| m.raft_id);
        let others: Vec<RaftId> = others.filter(|id| *id != self.config.id).collect();
        for to in others {
            let mut message = Message {
                from: self.config.id.0,
                to: to.0,
                term: self.term(),
                ..Message::default()
            };
            message.set_msg_type(MessageType::MsgHeartbeatResponse);
            let envelope = self.seal(now, message);
            self.out.push(envelope);
        }
    }

    /// Follows raft-rs's changes of role and term.
    pub(super) fn note_role(&mut self, now: Now) {
        let (role, term) = (self.node.raft.state, self.node.raft.term);
        if (role, term) == (self.role, self.term) {
            return;
        }
        let was_leader = self.role == StateRole::Leader;
        if role == StateRole::Leader {
            self.lease
                .begin(now.mono, LeaseEpoch { term, transfers: 0 });
            self.told.clear();
            self.flow.begin();
            self.next_tick = now.mono;
        } else if was_leader {
            self.lease.begin(now.mono, LeaseEpoch::default());
            self.timer.leaderless(now.mono);
        }
        if was_leader || role == StateRole::Leader {
            self.transfer = None;
        }
        if role == StateRole::Candidate {
            self.timer.stood(now.mono);
        }
        (self.role, self.term) = (role, term);
    }

    // ---- Readies --------------------------------------------------------------------------

    /// The next Ready, if there is one. The entries are in the window when this returns.
    pub fn ready(&mut self, now: Now) -> Option<Persist> {
        self.note_role(now);
        if self.postponed.is_some() {
            self.retry_postponed(now);
        }
        if !self.node.has_ready() {
            self.note_commit(now);
            return None;
        }
        let mut ready = self.node.ready();
        let number = ready.number();
        let entries = ready.take_entries();
        let committed = ready.take_committed_entries();
        let hard_state = ready.hs().cloned();
        let (at_once, persisted) = (ready.take_messages(), ready.take_persisted_messages());
        assert!(ready.snapshot().is_empty(), "no snapshot was stepped");
        self.node.mut_store().append(&entries);
        self.node.advance_append_async(ready);

        let term = hard_state.as_ref().map(|hs| hs.term);
        let commit_only = entries.is_empty()
            && hard_state.as_ref().is_some_and(|hs| {
                hs.term == self.hard_state.term && hs.vote == self.hard_state.vote
            });
        if let Some(hs) = &hard_state {
            self.hard_state = hs.clone();
        }
        self.post(now, at_once);
        let messages = self.hold_back(now, persisted);
        self.open.push_back(OpenReady {
            number,
            term,
            messages,
        });
        Some(Persist {
            number,
            hard_state,
            commit_only,
            entries,
            committed,
        })
    }

    /// All Readies up to `number` are on disk: their messages may leave.
    pub fn persisted(&mut self, number: u64) {
        let mut any = false;
        while self.open.front().is_some_and(|open| open.number <= number) {
            let open = self.open.pop_front().expect("it was just seen");
            self.durable_term = open.term.unwrap_or(self.durable_term);
            self.out.extend(open.messages);
            any = true;
        }
        if any {
            self.node.on_persist_ready(number);
        }
    }

    /// Everything up to `index` has been applied.
    pub fn advance_applied(&mut self, index: u64) {
        assert!(index >= self.applied, "applied never goes back");
        if index == self.applied {
            return;
        }
        self.applied = index;
        self.node.advance_apply_to(index);
        // A group without any second member has no follower that could be slow.
        let keep = if self.is_alone() {
            0
        } else {
            self.config.keep_bytes
        };
        self.node.mut_store().shrink(index, keep);
    }

    /// P15: the state that members are given which need more than the log has.
    pub fn set_state(&mut self, at: EntryId, conf_state: ConfState) {
        self.node.mut_store().set_state(at, conf_state);
    }

    /// P15: whether this leader has a member that needs a state, and none to give.
    pub fn lacks_state(&self) -> bool {
        self.is_leader() && self.node.store().lacks_state()
    }

    /// P15: the members that this leader can bring up by a state alone, and the index as of which they are to
    /// have one.
    pub fn behind_the_log(&self) -> Vec<(RaftId, u64)> {
        if !self.is_leader() {
            return Vec::new();
        }
        let progress = self.node.raft.prs().iter();
        let behind = progress.filter(|(_, p)| p.state == ProgressState::Snapshot);
        let mut behind: Vec<(RaftId, u64)> = behind
            .map(|(&id, p)| (RaftId(id), p.pending_snapshot))
            .collect();
        behind.sort_unstable();
        behind
    }

    /// P15: a member has the state that it was offered, or what it has makes that one useless; or there is no
    /// state for it any more. The next append finds out where its log goes on.
    pub fn report_state(&mut self, to: RaftId, has_it: bool) {
        let status = match has_it {
            true => SnapshotStatus::Finish,
            false => SnapshotStatus::Failure,
        };
        if self.is_leader() && self.node.raft.prs().get(to.0).is_some() {
            self.node.report_snapshot(to.0, status);
        }
    }

    /// P10: the log has lost what lies up to `before`.
    pub fn compact(&mut self, before: EntryId) {
        assert!(
            before.index <= self.applied,
            "P10: raft-rs passes over committed entries that the log does not have"
        );
        self.node.mut_store().compact(before);
    }

    /// The hard state as of the newest Ready.
    pub fn hard_state(&self) -> &HardState {
        &self.hard_state
    }

    /// Reads of old entries that followers wait for.
    pub fn take_wanted(&mut self) -> Vec<Wanted> {
        self.node.mut_store().take_wanted()
    }

    /// Gives raft-rs the entries of a [`Wanted`] read.
    pub fn fetched(&mut self, wanted: Wanted, entries: Vec<Entry>) {
        self.node.mut_store().end_read(wanted.low);
        self.node.mut_store().lend(entries);
        self.node.on_entries_fetched(wanted.context);
        self.node.mut_store().end_lend();
    }

    /// A [`Wanted`] read that is not made: the follower asks again.
    pub fn not_fetched(&mut self, wanted: &Wanted) {
        self.node.mut_store().end_read(wanted.low);
    }
}
