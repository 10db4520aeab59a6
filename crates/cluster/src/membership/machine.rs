//! C1, G2: where this node is on its way between shards, as a pure machine.
//!
//! Owns the phase, the identity that follows from it, which RESET is under way, and when the next question is
//! due. Never: a shard, a disk, a clock, a random number, or which nodes to ask. Events and [`Facts`] go
//! in, [`Output`]s come out, and the cluster core carries them out in order.
//!
//! ```text
//! Member             REPLICATE                      Leaving(Join)
//! Leaving(Join)      it has left                    Joining AskBase
//! Joining AskBase    the base is given              Beginning(Joined)
//! Beginning(Joined)  on disk and open               Joining HaveBase
//! Joining HaveBase   added, and has applied it      Member
//! Joining HaveBase   removed, or never added        Joining AskBase, under another id
//! Joining            forgotten                      Beginning(Alone), then Member
//! Member             RESET                          Leaving(Reset)
//! Leaving(Reset)     it has left                    Beginning(Reset), then Member
//! Leaving(Reset)     it takes too long              Member, or Leaving(Join) that it has interrupted
//! Leaving            it is the last with data       Member
//! Member             its slots have gone (M28)      Leaving(Join)
//! Joining AskBase    its old shard has slots again  Leaving(Join), which it has done
//! Member             removed by others              Beginning(Alone), then Member
//! ```
//!
//! REPLICATE and RESET are taken in every phase but `Beginning`, and the newest word counts.
//!
//! Invariants: the mark that the identity has on disk is the phase's mark, or one step older (a crash takes
//! that step again); nothing is asked while the next member is being made; an id that was added and
//! removed is never used again (G2).

use super::phase::{Beginning, Event, Facts, Output, Phase, Reset, ResetWish, Step, Then, Unknown};
use super::OperatorRefusal;
use crate::identity::{Joining as Mark, NodeIdentity};
use base::clock::Mono;
use base::ids::RaftId;
use base::mutation::{self, Mutation};
use cluster_bus::NodeId;
use std::time::Duration;

/// How often what was not answered is asked again.
pub(super) const RESEND: Duration = Duration::from_millis(200);
/// C1: how long RESET waits for the leader's answer; and for the removal beyond [`LEAVE_TIMEOUTS`].
pub(super) const LEAVE_PATIENCE: Duration = Duration::from_secs(1);
/// G3: how many T a member that leaves keeps its vote while a host for a witness is looked for.
const LEAVE_TIMEOUTS: u32 = shard::LEAVE_TIMEOUTS;
/// A joiner that has a base and is not added within so many T asks for another one: the group that
/// it came from may be no more.
const READY_PATIENCE: u32 = 20;
/// C1: a joiner whose node the leader's bus has not known for so long was forgotten. Gossip needs a few
/// seconds to tell of a new node, and a minute if it was forgotten before and met again, whatever T is.
pub(super) const UNKNOWN_PATIENCE: Duration = Duration::from_secs(90);
/// A silence of so long between two such answers: it begins anew.
pub(super) const UNKNOWN_SILENCE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Machine {
    phase: Phase,
    /// The raft id whose folder holds the node's shard, or will.
    member: RaftId,
    /// S4: see [`NodeIdentity::spare`].
    spare: Option<RaftId>,
    /// The leader of the shard that this node joins or leaves, as far as it was told.
    hint: Option<NodeId>,
    resend_at: Mono,
    /// Resets that were begun: the number of the last one.
    resets: u64,
    /// What became of a reset that has failed.
    reset_failed: Option<(u64, OperatorRefusal)>,
    /// M28: the join under way is no operator's; a restart forgets it.
    by_itself: bool,
    /// M28: an operator's, or no other shard waits for a word of this one; a restart forgets it.
    heard: bool,
}

impl Machine {
    /// A node that starts with this identity on disk.
    pub fn new(identity: NodeIdentity, now: Mono) -> Machine {
        let phase = match identity.joining {
            None => Phase::Member,
            // It has begun there already, and has nothing to leave.
            Some(mark) if mark.raft_id == identity.member => Phase::joining(mark, identity.member),
            Some(mark) => Phase::Leaving(Then::Join(mark)),
        };
        Machine {
            phase,
            member: identity.member,
            spare: identity.spare,
            hint: None,
            resend_at: now,
            resets: 0,
            reset_failed: None,
            by_itself: false,
            heard: false,
        }
    }

    #[cfg(test)]
    pub fn in_phase(phase: Phase, member: RaftId, hint: Option<NodeId>) -> Machine {
        Machine {
            phase,
            member,
            spare: None,
            hint,
            resend_at: Mono(0),
            resets: 1,
            reset_failed: None,
            by_itself: false,
            heard: false,
        }
    }

    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The identity as it should be on disk.
    pub fn identity(&self) -> NodeIdentity {
        NodeIdentity {
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
                ..
            } => Some(mark),
            _ => None,
        }
    }

    /// M28: whether the join under way is no operator's, as far as is known.
    pub fn goes_by_itself(&self) -> bool {
        self.by_itself
    }

    pub fn is_leaving(&self) -> bool {
        matches!(self.phase, Phase::Leaving(_))
    }

    /// Whether a RESET is under way: from when it was asked for until its group is on disk.
    pub fn is_reset(&self) -> bool {
        matches!(
            self.phase,
            Phase::Leaving(Then::Reset { .. }) | Phase::Beginning(Beginning::Reset { .. })
        )
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
        let asks = self.phase != Phase::Member && !self.is_beginning();
        (asks || unconfirmed).then_some(self.resend_at)
    }

    /// CLUSTER RESET: the number of the reset to wait for, nothing once it has happened. A client that
    /// waits asks again with that number: what becomes of another reset is no answer to it.
    pub fn reset(&mut self, now: Mono, request: ResetWish) -> Result<Option<u64>, OperatorRefusal> {
        let failed = self.reset_failed;
        if let Some((_, why)) = failed.filter(|(of, _)| request.waits_for == Some(*of)) {
            return Err(why);
        }
        if self.is_beginning() {
            return Err(OperatorRefusal::Begins);
        }
        if let Some(reset) = self.reset_mut() {
            if request.waits_for.is_none_or(|of| of == reset.number) {
                reset.hard |= request.hard;
                return Ok(Some(reset.number));
            }
        }
        if request.fresh && self.mark().is_none() {
            return Ok(None);
        }
        if request.waits_for.is_some() {
            return Err(OperatorRefusal::Replaced);
        }
        self.resets += 1;
        let reset = Reset {
            number: self.resets,
            hard: request.hard,
            begun: now,
            answered: false,
            told_witnesses: false,
            of_master: request.of_master,
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

    /// What this node waits for can't come meanwhile, and is waited for no shorter.
    pub fn wait(&mut self, now: Mono) {
        if let Phase::Joining {
            step: Step::HaveBase { since: Some(since) },
            ..
        } = &mut self.phase
        {
            *since = now;
        }
    }

    /// Takes a step.
    pub fn step(&mut self, event: Event, facts: &Facts) -> Vec<Output> {
        let mut out = Vec::new();
        match event {
            Event::Turn => self.turn(facts, &mut out),
            Event::Replicate(mark) => {
                (self.by_itself, self.heard) = (false, true);
                self.phase = Phase::Leaving(Then::Join(mark));
                self.ask_soon(facts.now);
                out.push(Output::Changed);
            }
            Event::Follow { mark, heard } => {
                (self.by_itself, self.heard) = (true, heard);
                self.phase = Phase::Leaving(Then::Join(mark));
                self.ask_soon(facts.now);
                out.extend([Output::Save(self.identity()), Output::Changed]);
            }
            Event::AskedIfLeaving => {
                if let Some(reset) = self.reset_mut() {
                    reset.answered = true;
                }
            }
            Event::Told(leader) => self.hint = leader,
            Event::Unknown => self.unknown(facts),
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
            // C1: it has no cluster to join any more.
            Phase::Joining { step, unknown, .. } if is_forgotten(step, unknown, facts) => {
                out.push(Output::Found { renamed: false });
            }
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
            Phase::Joining { mark, step, .. } => self.join(mark, step, facts, out),
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
                OperatorRefusal::NotRemoved,
            ),
            false => (LEAVE_PATIENCE, OperatorRefusal::NoAnswer),
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
        let data = facts.keys || facts.slots || facts.owes;
        let abandoned = facts.abandoned && !data;
        let left = facts.removed || !in_group || !facts.others || abandoned;
        let gives_up_slots = self.reset_mut().is_some_and(|r| r.of_master);
        let last = facts.is_last_with_data(gives_up_slots);
        if left && last && !mutation::is(Mutation::LastDataLeaves) {
            return self.stay(out);
        }
        // M28: all of its nodes may have decided to follow while another one led, and none of these asks.
        let joins = matches!(self.phase, Phase::Leaving(Then::Join(_)));
        let last = facts.is_last() && !facts.abandoned;
        let unheard = joins && facts.follows && !self.heard && last;
        if left && unheard && !mutation::is(Mutation::EndsUnheard) {
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
            self.is_due(facts.now); // RESET waits until they have been replaced, and sleeps meanwhile
            return;
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
            self.reset_failed = Some((number, OperatorRefusal::LastWithData));
        }
        let marked = self.mark().is_some();
        self.phase = Phase::Member;
        if marked {
            out.extend([Output::Save(self.identity()), Output::Changed]);
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
            return out.extend([Output::Save(self.identity()), Output::Changed]);
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
        if let Phase::Joining { step, .. } = &mut self.phase {
            *step = Step::HaveBase { since: Some(since) };
        }
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
    fn minted(&mut self, raft_id: RaftId, facts: &Facts, out: &mut Vec<Output>) {
        let Phase::Joining { mark, step, .. } = &mut self.phase else {
            return;
        };
        (mark.raft_id, *step) = (raft_id, Step::AskBase);
        let (mark, step) = (*mark, *step);
        out.push(Output::Save(self.identity()));
        self.join(mark, step, facts, out);
    }

    fn unknown(&mut self, facts: &Facts) {
        if let Phase::Joining { unknown, .. } = &mut self.phase {
            let now = facts.now;
            let lately = unknown.filter(|u| now.since(u.last) <= UNKNOWN_SILENCE);
            let since = lately.map_or(now, |u| u.since);
            *unknown = Some(Unknown { since, last: now });
        }
    }

    fn accepted(&mut self, raft_id: RaftId, facts: &Facts, out: &mut Vec<Output>) {
        let Some(mark) = self.awaits_base().filter(|m| m.raft_id == raft_id) else {
            return;
        };
        // G2: the identity is the old member's tombstone: it was asked to leave, and has left.
        self.spare = Some(self.member);
        self.member = raft_id;
        self.resend_at = facts.now;
        self.phase = Phase::Beginning(Beginning::Joined(mark));
        out.push(Output::Begin(self.identity()));
    }

    fn founded(&mut self, raft_id: RaftId, name: Option<NodeId>, out: &mut Vec<Output>) {
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
        out.extend([Output::Begin(self.identity()), Output::Changed]);
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

/// C1: whether the leader's bus has not known this node for long, and does not now. A joiner that a leader
/// writes to was added, and its vote may be needed.
fn is_forgotten(step: Step, unknown: Option<Unknown>, facts: &Facts) -> bool {
    let added = step != Step::AskBase && facts.led;
    unknown.filter(|_| !added).is_some_and(|u| {
        let now = facts.now.since(u.last) <= UNKNOWN_SILENCE;
        now && u.last.since(u.since) >= UNKNOWN_PATIENCE
    })
}
