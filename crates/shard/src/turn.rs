//! The phases of a turn (T1) and the gates of its replies (T3, T5).

use super::members::is_change;
use super::{Shard, ShardError, SyncPolicy, TailBatch, TurnOutput};
use base::clock::{Clock, Mono, Now};
use base::ids::{BatchSeq, RaftId};
use base::mutation::{self, Mutation};
use effect::{begins_batch, parse_entry, Body, Unit};
use raft::eraftpb::{Message, MessageType};
use raft_group::{Envelope, Fault, Group, Refusal, StepError};
use state::Gate;
use state::{check_entry, check_unit, room, Access, Footprint, GateKind, StateMachine};
use storage::base::MemberKind;
use storage::record::entry_len;
use storage::Disk;

/// T9: what is done while something is applied that may take long; whether the last breath was long ago, so that one was due.
pub type Breath<'a> = dyn FnMut(&mut Group) -> bool + 'a;

/// How many that are not members are told so in one turn.
const STRANGERS_PER_TURN: usize = 64;

/// Log room that must be there before a turn may write: its budget of effects and a margin. A
/// command that needs more is held until there is more (D5).
pub const TURN_ROOM: u64 = 256 << 10;
/// Bytes that a batch's records may need beyond the effects themselves.
pub const RECORD_OVERHEAD: u64 = 8 << 10;
/// Bytes that an entry may need beyond its body, with its share of the hard state.
const ENTRY_ROOM: u64 = 64;

/// D5: how many bytes of effects fit a log with so much room: it needs some for entries, records,
/// pieces and the unused ends of segments.
pub(super) fn grant(room: u64) -> usize {
    let bytes = room.saturating_sub(room / 16 + 2 * RECORD_OVERHEAD);
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// The log room with which [`grant`] is at least `bytes`.
pub(super) fn room_to_want(bytes: usize) -> u64 {
    let bytes = bytes as u64;
    bytes.saturating_add(bytes / 15 + 3 * RECORD_OVERHEAD)
}

/// Whether clients' commands on data can be executed in this turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// This member leads and holds its lease; whether anything may be written is said apart.
    Lead { writable: bool },
    /// Nobody is known to lead, or this member is not ready to: commands wait.
    Hold,
    /// P20: the keyspace is being loaded. `leader`: another member leads.
    Loading { leader: Option<RaftId> },
    /// Another member leads. `own_copy`: what this one has is all committed (T7).
    Redirect { leader: RaftId, own_copy: bool },
}

/// D6: what can't be carried out is refused at the door. Once it is committed, every member would
/// end on it, at every start; a witness looks too, or the leader and it would commit it alone. Of a
/// large unit the door sees the parts; only one that comes whole can be looked into.
fn check_bodies(append: &Message, databases: u32) -> Result<(), Refusal> {
    let mut unit: Vec<&[u8]> = Vec::new();
    for entry in append.entries.iter().filter(|entry| !is_change(entry)) {
        let mut checked = check_entry(&entry.data, databases);
        if let Ok(Body::Part(part)) = parse_entry(&entry.data) {
            if part.k == 0 {
                unit.clear();
            }
            unit.push(part.bytes);
            let is_whole = part.k + 1 == part.n && unit.len() as u64 == u64::from(part.n);
            if checked.is_ok() && is_whole {
                checked = check_unit(Unit::new(&unit.concat()), databases);
            }
        }
        if let Err(error) = checked {
            if mutation::is(Mutation::BodiesAreTrusted) {
                continue;
            }
            let (from, index) = (RaftId(append.from), entry.index);
            let reason = error.to_string();
            let why = Fault::Unreadable { index, reason };
            return Err(Refusal { from, why });
        }
    }
    Ok(())
}

impl<D: Disk> Shard<D> {
    // ---- (1) ------------------------------------------------------------------------------

    /// A message of a peer. Appends for which the log has no room are dropped (D5). What is given
    /// back is a message that was refused, for the server's log.
    pub fn step(&mut self, now: Now, envelope: Envelope) -> Result<Option<Refusal>, ShardError> {
        if self.is_starting() || self.is_installing() {
            return Ok(None); // D2, P17
        }
        let message = &envelope.message;
        if message.get_msg_type() == MessageType::MsgAppend && !message.entries.is_empty() {
            if let Err(refusal) = check_bodies(message, self.data.keyspace().databases()) {
                return Ok(Some(refusal));
            }
            let own = message.entries.iter().map(entry_len).sum::<u64>() + RECORD_OVERHEAD;
            // What was stepped before it in this turn needs its room too.
            let bytes = self.stepped + own;
            if !self.fits(message, bytes) && !mutation::is(Mutation::AppendWithoutRoom) {
                self.log.want_room(bytes);
                return Ok(None);
            }
            self.stepped = bytes;
        } else if !self.can_write_term() && !self.writes_nothing(message) {
            return Ok(None); // D5
        }
        self.note_sender(envelope.from);
        self.quorum.hear(now.mono, envelope.from);
        match self.group.step(now, envelope) {
            Ok(()) => Ok(None),
            Err(StepError::Refused(refusal)) => Ok(Some(refusal)),
            Err(error @ StepError::LostLog { .. }) => Err(error.into()),
        }
    }

    /// G2: a sender that is no member is told so. One that is not told this time asks again.
    pub fn note_sender(&mut self, from: RaftId) {
        let strangers = &mut self.members.strangers;
        let room = strangers.len() < STRANGERS_PER_TURN;
        if room && !self.group.membership().contains(from) && !strangers.contains(&from) {
            strangers.push(from);
        }
    }

    /// Timers, Readies, apply, release: everything before the clients.
    pub fn begin(&mut self, now: Now) -> Result<(), ShardError> {
        self.begin_with(now, &mut |_| false)
    }

    /// The same; `breath` is drawn now and then while entries are applied (T9).
    pub fn begin_with(&mut self, now: Now, breath: &mut Breath<'_>) -> Result<(), ShardError> {
        self.turn_now = now;
        self.look_at_disk(now);
        let may_tick = self.group.is_leader() || self.can_write_term();
        if may_tick && !self.is_starting() && !self.is_installing() {
            self.group.tick(now);
        }
        self.manage_members(now);
        self.settle(now, breath)?;
        self.look_at_quorum(now);
        self.begin_data();
        Ok(())
    }

    /// The turn's number, time and room for the data.
    pub(super) fn begin_data(&mut self) {
        let writable = self.may_write();
        let grant = if writable { grant(self.log.room()) } else { 0 };
        let now_ms = self.turn_now.unix_ms;
        self.data
            .begin_turn(self.next_batch, now_ms, writable, grant);
        if let Some(bytes) = self.freeing_grant().filter(|_| !writable) {
            self.data.grant_freeing(bytes);
        }
    }

    /// Handles Readies until there are none, applies a slice, and sees which gates have opened.
    fn settle(&mut self, now: Now, breath: &mut Breath<'_>) -> Result<(), ShardError> {
        if self.is_switching() {
            return Ok(()); // P17: also a TimeoutNow that was put off would be a step
        }
        loop {
            self.mark_persisted();
            let Some(ready) = self.group.ready(now) else {
                break;
            };
            self.persist(now, ready)?;
            self.mark_persisted();
            self.apply_slice(breath)?;
        }
        self.stepped = 0; // It is in the log.
        self.apply_slice(breath)?;
        self.release_committed();
        self.follow_role(now);
        self.release_reads(now);
        self.give_up_waiting(now);
        self.check_reload(now, breath)?;
        self.order_jobs(now)
    }

    fn follow_role(&mut self, now: Now) {
        let leads = self.group.is_leader();
        if self.was_leader && !leads {
            self.stepped_down = true;
            self.stepped_down_at = Some(now.mono);
            self.void_cut_of_tail();
            // T7, C4: every client that watched a key has lost.
            if !mutation::is(Mutation::WatchOutlivesEpoch) {
                self.data.fail_all_watches();
            }
            self.lose_read_indexes();
        }
        self.was_leader = leads;
        if self.tail.is_empty() {
            self.stepped_down_at = None;
        }
    }

    /// Reads that wait for proof of leadership will not get it in this lease epoch: nobody may see them.
    fn lose_read_indexes(&mut self) {
        let (Some(&(first, _)), Some(&(last, _))) =
            (self.read_indexes.front(), self.read_indexes.back())
        else {
            return;
        };
        self.read_indexes.clear();
        let first = self
            .failed_reads
            .take()
            .map_or(first, |earlier| *earlier.start());
        self.failed_reads = Some(first..=last);
        self.released.read = last;
    }

    /// T6: nothing was heard of the tail for too long after stepping down.
    fn give_up_waiting(&mut self, now: Now) {
        let Some(since) = self.stepped_down_at else {
            return;
        };
        let Some(last) = self.tail.back().map(|b| b.seq) else {
            return;
        };
        let told = self.answered();
        if now.mono >= since + self.config.outcome_timeout && told < last {
            let undecided = self.tail.iter().filter(|b| b.seq > told).count();
            self.unknown_outcomes += undecided as u64;
            let first = self.unknown.take().map_or(told.next(), |e| *e.start());
            self.unknown = Some(first..=last);
            self.unknown_told = last;
        }
    }

    // ---- (2) ------------------------------------------------------------------------------

    /// Whether commands on data may be executed now.
    pub fn admission(&mut self) -> Admission {
        if self.group.is_leader() && self.group.kind() == MemberKind::Witness {
            return Admission::Hold; // W1: it never serves
        }
        if self.is_loading() && !mutation::is(Mutation::ServeWhileLoading) {
            let leader = self.group.leader();
            let leader = leader.filter(|id| *id != self.group.id());
            return Admission::Loading { leader };
        }
        if self.group.is_leader() {
            let ready = self.group.own_term_applied()
                && (!self.group.is_transferring() || mutation::is(Mutation::TransferKeepsLease))
                && self.group.holds_lease(self.turn_now);
            return if ready {
                // The thread of snapshots writes meanwhile (F5): what the turn did not begin with is not admitted.
                Admission::Lead {
                    writable: self.data.writable() && self.may_write(),
                }
            } else {
                Admission::Hold
            };
        }
        match self.group.leader() {
            Some(leader) => Admission::Redirect {
                leader,
                own_copy: self.is_own_copy(),
            },
            None => Admission::Hold,
        }
    }

    /// T7: whether all that this member's keyspace has is committed.
    pub fn is_own_copy(&self) -> bool {
        let tail_open = !self.tail.is_empty() && !mutation::is(Mutation::OpenTailIsShown);
        let loading = self.is_loading() && !mutation::is(Mutation::ServeWhileLoading);
        !tail_open && !loading
    }

    /// T2, D5, F5: room in the tail, in the log and before the thread of snapshots.
    pub(super) fn may_write(&mut self) -> bool {
        let in_tail = self.tail_bytes < self.config.tail_limit;
        let room = in_tail && self.log.has_room(TURN_ROOM) && !self.is_outvoted_by_full_disks();
        room && !self.is_pressed()
    }

    /// What a reply of this turn waits for; `depends`: the newest batch that it may show.
    pub fn gate(&mut self, kind: GateKind, depends: BatchSeq) -> Gate {
        let shows = if mutation::is(Mutation::ReadIgnoresDirty) {
            BatchSeq::NONE
        } else {
            depends
        };
        if depends > self.released.batch {
            // Somebody waits for it, whether it is appended already or comes at the end of this turn.
            self.awaited = self.awaited.max(depends);
            self.patient_until = None;
        }
        match kind {
            GateKind::Free => Gate::OPEN,
            GateKind::Write => Gate::of_batch(depends),
            GateKind::Read if mutation::is(Mutation::NoLeaseForNoWrite) => Gate::of_batch(shows),
            GateKind::Read => {
                self.read_index_used = true;
                Gate {
                    batch: shows,
                    read: self.next_read,
                }
            }
        }
    }

    /// One unit of the log, or a look at the data, that no client has asked for. None: it has no room, or meets
    /// what must wait; nothing has happened.
    pub fn act<R>(&mut self, act: impl FnOnce(&mut StateMachine) -> R) -> Option<(R, Gate)> {
        let (result, footprint) = self.act_unsaid(act)?;
        let kind = match footprint.logged() {
            true => GateKind::Write,
            false => GateKind::Read,
        };
        Some((result, self.gate(kind, footprint.depends)))
    }

    /// The same, where nothing is said of it: nobody waits for its commit.
    pub fn act_unsaid<R>(
        &mut self,
        act: impl FnOnce(&mut StateMachine) -> R,
    ) -> Option<(R, Footprint)> {
        if self.is_loading() {
            return None; // P20
        }
        self.data.begin_command(0, Access::Lead);
        let result = act(&mut self.data);
        let footprint = self.data.end_command();
        if footprint.hold {
            assert!(!footprint.wrote, "D5: what was held has changed something");
            return None;
        }
        Some((result, footprint))
    }

    // ---- (3) ------------------------------------------------------------------------------

    /// Proposes what the turn wrote, then reads the clock, then tests the lease; then the Ready.
    /// Returns what it read.
    pub fn finish(&mut self, clock: &dyn Clock) -> Result<Now, ShardError> {
        self.finish_with(clock, &mut |_| false)
    }

    /// The same, with breaths as in [`Self::begin_with`].
    pub fn finish_with(
        &mut self,
        clock: &dyn Clock,
        breath: &mut Breath<'_>,
    ) -> Result<Now, ShardError> {
        self.turn_was_full = self.data.batch_bytes() >= room::SLICE;
        if let Some(bytes) = self.data.take_wanted() {
            self.log.want_room(room_to_want(bytes));
        }
        self.propose();
        let now = clock.now();
        self.confirm_read_index(now);
        self.settle(now, breath)?;
        Ok(now)
    }

    fn propose(&mut self) {
        let patient = self.data.is_patient() && self.awaited < self.next_batch;
        let Some(bodies) = self.data.take_batch() else {
            return;
        };
        let entries = bodies.iter().map(|body| body.len() as u64 + ENTRY_ROOM);
        let bytes = entries.sum();
        let fits = match self.data.writable() {
            true => self.log.has_room(bytes),
            false => self.log.has_room_to_free(bytes),
        };
        assert!(
            fits,
            "D5: a turn's effects fit the room that it was granted"
        );
        self.patient_entries = if patient { bodies.len() } else { 0 };
        let open = self.tail.len();
        self.cut_into_batches(&bodies);
        let first = *self.group.propose(bodies).start();
        let term = self.group.term();
        for batch in self.tail.range_mut(open..) {
            (batch.first, batch.last) = (first + batch.first, first + batch.last);
            batch.term = term;
        }
    }

    /// T6: a batch is one entry, or all parts of one unit, since of several entries some may commit
    /// and the others be lost. Where they stand is counted from the first of them, for now.
    fn cut_into_batches(&mut self, bodies: &[Vec<u8>]) {
        let by_turn = mutation::is(Mutation::TailLostByTurn);
        for (at, body) in bodies.iter().enumerate() {
            let at = at as u64;
            if at == 0 || (begins_batch(body) && !by_turn) {
                self.tail.push_back(TailBatch {
                    seq: self.next_batch,
                    first: at,
                    last: at,
                    term: 0,
                    bytes: 0,
                    record: self.data.record_after(self.next_batch),
                });
                self.next_batch = self.next_batch.next();
            }
            let batch = self.tail.back_mut().expect("the first body begins one");
            batch.last = at;
            batch.bytes += body.len();
            self.tail_bytes += body.len();
        }
        if mutation::is(Mutation::ReleaseUncommitted) {
            self.released.batch = self.next_batch.previous();
        }
    }

    /// E3: the lease is tested against a clock that was read after the execution. Without it the
    /// turn's reads wait for an acknowledgement of a message that is sent now (a ReadIndex of their own).
    fn confirm_read_index(&mut self, now: Now) {
        if !std::mem::take(&mut self.read_index_used) {
            return;
        }
        let read = self.next_read;
        self.next_read = read.next();
        let tested = if mutation::is(Mutation::LeaseBeforeExecution) {
            self.turn_now
        } else {
            now
        };
        if self.group.holds_lease(tested) {
            // Older read indexes of this lease epoch are good as well: nobody else has led since.
            self.released.read = read;
            self.read_indexes.clear();
        } else {
            self.read_indexes.push_back((read, now.mono));
            self.group.ping();
            if !self.group.is_leader() {
                self.lose_read_indexes();
            }
        }
    }

    fn release_reads(&mut self, now: Now) {
        if self.read_indexes.is_empty() {
            return;
        }
        let Some(ack_of_send_time) = self.group.quorum_ack_time(now.mono) else {
            return;
        };
        while self
            .read_indexes
            .front()
            .is_some_and(|&(_, at)| at <= ack_of_send_time)
        {
            let (read, _) = self.read_indexes.pop_front().expect("it was just seen");
            self.released.read = read;
        }
    }

    // ---- (4) ------------------------------------------------------------------------------

    /// What the driver has to do, and which replies may leave.
    pub fn take_output(&mut self) -> TurnOutput<D> {
        self.snapshots.jobs_wait = false;
        TurnOutput {
            messages: self.group.take_messages(),
            jobs: std::mem::take(&mut self.jobs),
            failed: std::mem::take(&mut self.failed),
            failed_reads: self.failed_reads.take(),
            unknown: self.unknown.take(),
            released: self.released,
            stepped_down: std::mem::take(&mut self.stepped_down),
            strangers: std::mem::take(&mut self.members.strangers),
        }
    }

    /// When [`Shard::begin`] wants to be called next, if nothing else happens.
    pub fn deadline(&self) -> Mono {
        // T2: a command that goes on in slices is held until the next turn.
        let more = self.walk_is_due() || self.snapshots.jobs_wait;
        if self.has_unapplied() || self.turn_was_full || more {
            return self.turn_now.mono;
        }
        let mut at = match self.is_starting() || self.is_installing() {
            true => self.turn_now.mono + self.group.election_timeout(),
            false => self.group.deadline(),
        };
        if let Some(flush) = self.commit_pending {
            at = at.min(flush);
        }
        if let Some(until) = self.patient_until {
            at = at.min(until);
        }
        if let Some(retry) = self.retry_alloc_at {
            at = at.min(retry);
        }
        if let Some(again) = self.switch_due() {
            at = at.min(again);
        }
        if let Some(again) = self.install_due() {
            at = at.min(again);
        }
        if let Some(again) = self.load_due() {
            at = at.min(again);
        }
        let by_the_second = self.relaxed() && self.config.sync == SyncPolicy::EverySecond;
        if by_the_second && self.log.end() > self.log.durable() && self.sync_since.is_none() {
            at = at.min(self.next_relaxed_sync);
        }
        if let Some(since) = self.stepped_down_at {
            if self.tail.back().is_some_and(|b| b.seq > self.answered()) {
                at = at.min(since + self.config.outcome_timeout);
            }
        }
        at
    }

    // ---- beside the turn ------------------------------------------------------------------

    /// T9: what a command that runs long lets happen meanwhile: heartbeats out, and the answers to
    /// them and to appends in ([`raft_group::Group::takes_meanwhile`]); the driver queues all else.
    pub fn breathe(&mut self, now: Now, answers: Vec<Envelope>) -> Vec<Envelope> {
        for envelope in answers {
            self.group.step_meanwhile(now, envelope);
        }
        self.group.breathe(now);
        self.group.take_messages()
    }
}
