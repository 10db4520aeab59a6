//! C1, G2: where this node is on its way between shards, as a pure machine.
//!
//! Owns the phase, the seat that follows from it, which RESET is under way, and when the next question is
//! due. Never: a shard, a disk, a clock, a random number, or which nodes to ask. Events and [`Facts`] go
//! in, [`Output`]s come out, and the agent carries them out in order.
//!
//! ```text
//!          REPLICATE            it has left           base given          on disk
//! Member ------------> Leaving ------------> Joining ------------> Beginning ----+
//!   ^  ^                 |  ^    then Join   AskBase     Joined                  |
//!   |  |  RESET          |  +-- REPLICATE, RESET, at any time but Beginning      v
//!   |  +---------------- | <- too late, or last with data                  Joining HaveBase
//!   |                    | it has left, then Reset                               |
//!   +-- Beginning <------+   (removed by others: Alone)        added, applied    |
//!   +----------------------------------------------------------------------------+
//! ```
//!
//! Invariants: the mark that the seat has on disk is the phase's mark, or one step older (a crash takes
//! that step again); nothing is asked while the next member is being made; an id that was added and
//! removed is never used again (G2).

use super::Refusal;
use crate::agent::seat::{Joining as Mark, Seat};
use crate::clock::Mono;
use crate::mutation::{self, Mutation};
use cluster_bus::NodeId;
use std::time::Duration;

/// How often what was not answered is asked again.
pub(super) const RESEND: Duration = Duration::from_millis(200);
/// C1: how long RESET waits for the leader's answer; and for the removal beyond [`LEAVE_TIMEOUTS`].
pub(super) const LEAVE_PATIENCE: Duration = Duration::from_secs(1);
/// G3: how many T a member that leaves keeps its vote while a host for a witness is looked for.
const LEAVE_TIMEOUTS: u32 = crate::shard::LEAVE_TIMEOUTS;
/// A joiner that has a base and is not added within so many T asks for another one: the group that
/// it came from may be no more.
const READY_PATIENCE: u32 = 20;

/// Where this node is on its way between shards.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Phase {
    /// It belongs to its shard, alone or with others.
    Member,
    /// C1: it asks to be removed from its group. The removal commits before anything else happens.
    Leaving(Then),
    /// C1: there is nothing to leave any more; it wants to be a member of its target's shard.
    Joining { mark: Mark, step: Step },
    /// The member that takes the present one's place is being made, or waits for room on the disk (D5).
    Beginning(Beginning),
}

/// What follows a leave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Then {
    /// REPLICATE of a node of another shard.
    Join(Mark),
    /// RESET; `mark`: of a join that it has interrupted, and that goes on should the reset fail.
    Reset { reset: Reset, mark: Option<Mark> },
}

/// How far a join is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Step {
    /// It asks the shard's leader for the group's base.
    AskBase,
    /// The member is on disk and open, and asks to be added. `since`: without a leader's word.
    HaveBase { since: Option<Mono> },
}

/// What takes the place of the present member.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Beginning {
    /// A member of the group that this node joins.
    Joined(Mark),
    /// A group of its own under the same name: the node was removed from its shard.
    Alone,
    /// The same after a RESET, under another name if it is a hard one.
    Reset { name: Option<NodeId> },
}

/// RESET under way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Reset {
    pub number: u64,
    pub hard: bool,
    pub begun: Mono,
    /// C1: the leader has answered, so the removal may begin; until then nothing has changed.
    pub answered: bool,
    /// The witnesses that this node hosts were told to find others.
    pub told_witnesses: bool,
    /// It was asked of a master (without keys): its slots are given up, as in Redis.
    pub of_master: bool,
}

/// CLUSTER RESET, as a client asks for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct ResetWish {
    pub hard: bool,
    /// The number of the reset that the client waits for.
    pub waits_for: Option<u64>,
    /// There is nothing to reset.
    pub fresh: bool,
    pub of_master: bool,
}

/// What the machine is told of the shard that is open, and of the world.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Facts {
    pub now: Mono,
    /// T of the group.
    pub t: Duration,
    /// G2: its removal is proved.
    pub removed: bool,
    /// G2: it has applied its own removal, and no member that stays has confirmed it.
    pub unconfirmed: bool,
    /// The applied configuration names it.
    pub listed: bool,
    /// It has not seen itself added, and may have been all the same.
    pub perhaps_added: bool,
    /// There are other members; other data members.
    pub others: bool,
    pub other_data: bool,
    /// What its shard has.
    pub keys: bool,
    pub slots: bool,
    pub leads: bool,
    /// A leader was heard within its promise.
    pub led: bool,
    /// The leader's node is known.
    pub leader_known: bool,
    /// This node hosts witnesses of other shards.
    pub hosts_witnesses: bool,
}

impl Facts {
    /// C1: whether this member is the last of its shard that has the shard's data: keys, or slots that
    /// it was not asked to give up.
    fn is_last_with_data(&self, gives_up_slots: bool) -> bool {
        let data = self.keys || (self.slots && !gives_up_slots);
        !self.removed && self.listed && !self.other_data && data
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Event {
    /// A turn has passed: what is due?
    Turn,
    /// REPLICATE: this mark is on disk.
    Replicate(Mark),
    /// C1: the leader asks whether this member means to leave.
    AskedIfLeaving,
    /// A node that does not lead says which one does.
    Told(Option<NodeId>),
    /// The leader of the target's shard has given the base of the group, for this id.
    Accepted { raft_id: u64 },
    /// The id that [`Output::Mint`] has asked for.
    Minted { raft_id: u64 },
    /// The group that [`Output::Found`] has asked for: its member, and the node's new name.
    Founded { raft_id: u64, name: Option<NodeId> },
    /// The member is on disk and open.
    Begun,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Output {
    /// Another id for the join (G2).
    Mint,
    /// A group of its own, under a new name if `renamed`.
    Found { renamed: bool },
    /// Replace the seat on disk.
    Save(Seat),
    /// Make the member, then replace the seat, then open it.
    Begin(Seat),
    /// What others see of this node has changed.
    Changed,
    /// C1: ask all that may lead the group to let this member go.
    AskToLeave { hint: Option<NodeId> },
    /// C1: ask all that may lead the target's shard for the group's base.
    AskForBase { mark: Mark, hint: Option<NodeId> },
    /// C1: ask the leader to be added, or all that may be it.
    AskToBeAdded { mark: Mark, hint: Option<NodeId> },
    /// G4: a leader hands over before it goes.
    HandOver,
    /// The mutation that G4 forbids.
    ProposeOwnRemoval,
    /// RESET: the witnesses of other shards on this node go, too.
    LetWitnessesGo,
    /// RESET: the bus forgets the other nodes, and the old name.
    Renew { name: Option<NodeId> },
}

#[derive(Debug)]
pub(super) struct Machine {
    phase: Phase,
    /// The raft id whose folder holds the node's shard, or will.
    member: u64,
    /// S4: see [`Seat::spare`].
    spare: Option<u64>,
    /// The leader of the shard that this node joins or leaves, as far as it was told.
    hint: Option<NodeId>,
    resend_at: Mono,
    /// Resets that were begun: the number of the last one.
    resets: u64,
    /// What became of a reset that has failed.
    reset_failed: Option<(u64, Refusal)>,
}

impl Machine {
    /// A node that starts with this seat on disk.
    pub fn new(seat: Seat, now: Mono) -> Machine {
        let phase = match seat.joining {
            None => Phase::Member,
            // It has begun there already, and has nothing to leave.
            Some(mark) if mark.raft_id == seat.member => Phase::joining(mark, seat.member),
            Some(mark) => Phase::Leaving(Then::Join(mark)),
        };
        Machine {
            phase,
            member: seat.member,
            spare: seat.spare,
            hint: None,
            resend_at: now,
            resets: 0,
            reset_failed: None,
        }
    }

    #[cfg(test)]
    pub fn in_phase(phase: Phase, member: u64, hint: Option<NodeId>) -> Machine {
        Machine {
            phase,
            member,
            spare: None,
            hint,
            resend_at: Mono(0),
            resets: 1,
            reset_failed: None,
        }
    }

    #[cfg(test)]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The seat as it should be on disk.
    pub fn seat(&self) -> Seat {
        Seat {
            member: self.member,
            joining: self.mark(),
            spare: self.spare,
        }
    }

    /// The mark of a join that is under way, or interrupted.
    pub fn mark(&self) -> Option<Mark> {
        match self.phase {
            Phase::Leaving(Then::Join(mark)) | Phase::Joining { mark, .. } => Some(mark),
            Phase::Beginning(Beginning::Joined(mark)) => Some(mark),
            Phase::Leaving(Then::Reset { mark, .. }) => mark,
            Phase::Member | Phase::Beginning(_) => None,
        }
    }

    /// The mark of a join that waits for a base.
    pub fn awaits_base(&self) -> Option<Mark> {
        match self.phase {
            Phase::Joining {
                mark,
                step: Step::AskBase,
            } => Some(mark),
            _ => None,
        }
    }

    pub fn is_leaving(&self) -> bool {
        matches!(self.phase, Phase::Leaving(_))
    }

    pub fn is_beginning(&self) -> bool {
        matches!(self.phase, Phase::Beginning(_))
    }

    /// Whether [`Event::Turn`] leads to nothing.
    pub fn rests(&self, removed: bool, unconfirmed: bool) -> bool {
        self.phase == Phase::Member && !removed && !unconfirmed
    }

    /// When the next question is due; none while nothing is asked.
    pub fn deadline(&self, unconfirmed: bool) -> Option<Mono> {
        let joins = self.mark().is_some();
        (joins || self.is_leaving() || unconfirmed).then_some(self.resend_at)
    }

    /// CLUSTER RESET: the number of the reset to wait for, nothing once it has happened. A client that
    /// waits asks again with that number: what becomes of another reset is no answer to it.
    pub fn reset(&mut self, now: Mono, wish: ResetWish) -> Result<Option<u64>, Refusal> {
        let failed = self.reset_failed;
        if let Some((_, why)) = failed.filter(|(of, _)| wish.waits_for == Some(*of)) {
            return Err(why);
        }
        if self.is_beginning() {
            return Err(Refusal::Begins);
        }
        if let Some(reset) = self.reset_mut() {
            if wish.waits_for.is_none_or(|of| of == reset.number) {
                reset.hard |= wish.hard;
                return Ok(Some(reset.number));
            }
        }
        if wish.fresh && self.mark().is_none() {
            return Ok(None);
        }
        if wish.waits_for.is_some() {
            return Err(Refusal::Replaced);
        }
        self.resets += 1;
        let reset = Reset {
            number: self.resets,
            hard: wish.hard,
            begun: now,
            answered: false,
            told_witnesses: false,
            of_master: wish.of_master,
        };
        let mark = self.mark();
        self.phase = Phase::Leaving(Then::Reset { reset, mark });
        self.ask_soon(now);
        Ok(Some(self.resets))
    }

    fn reset_mut(&mut self) -> Option<&mut Reset> {
        match &mut self.phase {
            Phase::Leaving(Then::Reset { reset, .. }) => Some(reset),
            _ => None,
        }
    }

    /// Takes a step.
    pub fn step(&mut self, event: Event, facts: &Facts) -> Vec<Output> {
        let mut out = Vec::new();
        match event {
            Event::Turn => self.turn(facts, &mut out),
            Event::Replicate(mark) => {
                self.phase = Phase::Leaving(Then::Join(mark));
                self.ask_soon(facts.now);
                out.push(Output::Changed);
            }
            Event::AskedIfLeaving => {
                if let Some(reset) = self.reset_mut() {
                    reset.answered = true;
                }
            }
            Event::Told(leader) => self.hint = leader,
            Event::Accepted { raft_id } => self.accepted(raft_id, facts, &mut out),
            Event::Minted { raft_id } => self.minted(raft_id, facts, &mut out),
            Event::Founded { raft_id, name } => self.founded(raft_id, name, &mut out),
            Event::Begun => self.begun(facts, &mut out),
        }
        out
    }

    fn turn(&mut self, facts: &Facts, out: &mut Vec<Output>) {
        self.expire_reset(facts);
        match self.phase {
            Phase::Beginning(_) => {}
            // G2: FORGET, or a leader that took this member for lost.
            Phase::Member if facts.removed => out.push(Output::Found { renamed: false }),
            Phase::Leaving(_) => self.leave(facts, out),
            // G2: added and removed before it knew: that id is spent.
            Phase::Joining {
                step: Step::HaveBase { .. },
                ..
            } if facts.removed => out.push(Output::Mint),
            // G2: its vote counts until a member that stays has confirmed the removal.
            Phase::Member | Phase::Joining { .. } if facts.unconfirmed => {
                self.ask_to_leave(facts, out);
            }
            Phase::Member => {}
            Phase::Joining { mark, step } => self.join(mark, step, facts, out),
        }
    }

    /// C1: the leader's answer comes within a second, the removal within a second more than a
    /// member keeps its vote (G3).
    fn expire_reset(&mut self, facts: &Facts) {
        let Phase::Leaving(Then::Reset { reset, mark }) = self.phase else {
            return;
        };
        let (patience, why) = match reset.answered {
            true => (
                facts.t * LEAVE_TIMEOUTS + LEAVE_PATIENCE,
                Refusal::NotRemoved,
            ),
            false => (LEAVE_PATIENCE, Refusal::NoAnswer),
        };
        if facts.now.since(reset.begun) >= patience {
            self.reset_failed = Some((reset.number, why));
            self.phase = match mark {
                Some(mark) => Phase::Leaving(Then::Join(mark)),
                None => Phase::Member,
            };
        }
    }

    fn leave(&mut self, facts: &Facts, out: &mut Vec<Output>) {
        let in_group = facts.listed || facts.perhaps_added || facts.unconfirmed;
        let left = facts.removed || !in_group || !facts.others;
        let gives_up_slots = self.reset_mut().is_some_and(|r| r.of_master);
        let last = facts.is_last_with_data(gives_up_slots);
        if left && last && !mutation::is(Mutation::LastDataLeaves) {
            return self.stay(out);
        }
        let mut hosts = false;
        if let Some(reset) = self.reset_mut() {
            reset.answered |= left;
            // From when it is sure that something changes.
            if reset.answered && !std::mem::replace(&mut reset.told_witnesses, true) {
                out.push(Output::LetWitnessesGo);
            }
            hosts = facts.hosts_witnesses;
        }
        if !left {
            return self.ask_to_leave(facts, out);
        }
        if hosts {
            return; // RESET waits until they have been replaced
        }
        self.ask_soon(facts.now);
        match self.phase {
            Phase::Leaving(Then::Join(mark)) => self.phase = Phase::joining(mark, self.member),
            Phase::Leaving(Then::Reset { reset, .. }) => {
                let renamed = reset.hard;
                out.push(Output::Found { renamed });
            }
            _ => {}
        }
    }

    /// C1: a master that is alone with slots or keys stays. The members with which this one would
    /// have left its data have gone while it was waiting for its turn.
    fn stay(&mut self, out: &mut Vec<Output>) {
        self.hint = None;
        if let Some(number) = self.reset_mut().map(|r| r.number) {
            self.reset_failed = Some((number, Refusal::LastWithData));
        }
        let marked = self.mark().is_some();
        self.phase = Phase::Member;
        if marked {
            out.extend([Output::Save(self.seat()), Output::Changed]);
        }
    }

    fn ask_to_leave(&mut self, facts: &Facts, out: &mut Vec<Output>) {
        if !facts.others || !self.is_due(facts.now) {
            return;
        }
        if !facts.leads {
            let hint = self.hint.take();
            return out.push(Output::AskToLeave { hint });
        }
        if let Some(reset) = self.reset_mut() {
            reset.answered = true; // by itself
        }
        out.push(match mutation::is(Mutation::OwnRemovalAsLeader) {
            true => Output::ProposeOwnRemoval,
            false => Output::HandOver,
        });
    }

    fn join(&mut self, mark: Mark, step: Step, facts: &Facts, out: &mut Vec<Output>) {
        let opened = matches!(step, Step::HaveBase { .. });
        if opened && facts.listed {
            self.phase = Phase::Member;
            return out.extend([Output::Save(self.seat()), Output::Changed]);
        }
        if !self.is_due(facts.now) {
            return;
        }
        let Step::HaveBase { since } = step else {
            let hint = self.hint.take();
            return out.push(Output::AskForBase { mark, hint });
        };
        // A leader writes to members only: a joiner that hears one was added, and sees that when it has
        // applied the log up to there, however long that takes.
        let since = since.filter(|_| !facts.led).unwrap_or(facts.now);
        let step = Step::HaveBase { since: Some(since) };
        self.phase = Phase::Joining { mark, step };
        if facts.now.since(since) > facts.t * READY_PATIENCE {
            return out.push(Output::Mint);
        }
        let hint = match facts.leader_known {
            true => None,
            false => self.hint.take(),
        };
        out.push(Output::AskToBeAdded { mark, hint });
    }

    /// G2: the join goes on under another id. Should the old one be added after all, it is GONE.
    fn minted(&mut self, raft_id: u64, facts: &Facts, out: &mut Vec<Output>) {
        let Phase::Joining { mark, .. } = self.phase else {
            return;
        };
        let (mark, step) = (Mark { raft_id, ..mark }, Step::AskBase);
        self.phase = Phase::Joining { mark, step };
        out.push(Output::Save(self.seat()));
        self.join(mark, step, facts, out);
    }

    fn accepted(&mut self, raft_id: u64, facts: &Facts, out: &mut Vec<Output>) {
        let Some(mark) = self.awaits_base().filter(|m| m.raft_id == raft_id) else {
            return;
        };
        // G2: the seat is the old member's tombstone: it was asked to leave, and has left.
        self.spare = Some(self.member);
        self.member = raft_id;
        self.resend_at = facts.now;
        self.phase = Phase::Beginning(Beginning::Joined(mark));
        out.push(Output::Begin(self.seat()));
    }

    fn founded(&mut self, raft_id: u64, name: Option<NodeId>, out: &mut Vec<Output>) {
        let beginning = match self.phase {
            Phase::Leaving(Then::Reset { .. }) => {
                // It was asked to leave; the folder of a member that was not is kept (S4).
                self.spare = Some(self.member);
                Beginning::Reset { name }
            }
            _ => {
                self.spare = None;
                Beginning::Alone
            }
        };
        self.member = raft_id;
        self.phase = Phase::Beginning(beginning);
        out.extend([Output::Begin(self.seat()), Output::Changed]);
    }

    fn begun(&mut self, facts: &Facts, out: &mut Vec<Output>) {
        self.resend_at = facts.now;
        let Phase::Beginning(beginning) = self.phase else {
            return;
        };
        self.phase = Phase::Member;
        match beginning {
            Beginning::Joined(mark) => self.phase = Phase::joining(mark, self.member),
            Beginning::Alone => {}
            Beginning::Reset { name } => out.push(Output::Renew { name }),
        }
    }

    /// The next question goes out in this turn, to nodes that are known anew.
    fn ask_soon(&mut self, now: Mono) {
        self.hint = None;
        self.resend_at = now;
    }

    /// Whether a question is due; the next one is, after a while.
    fn is_due(&mut self, now: Mono) -> bool {
        let due = now >= self.resend_at;
        if due {
            self.resend_at = now + RESEND;
        }
        due
    }
}

impl Phase {
    fn joining(mark: Mark, member: u64) -> Phase {
        let step = match mark.raft_id == member {
            true => Step::HaveBase { since: None },
            false => Step::AskBase,
        };
        Phase::Joining { mark, step }
    }
}
