//! Everything that is checked before a message reaches raft-rs.
//!
//! No peer's message can reach a `fatal!` of raft-rs (D6), make a member help a candidate against
//! its promise (E1), or depose a leader by a transfer that was given up (E4).

use super::envelope::Envelope;
use super::group::{Answer, Group};
use super::members;
use base::clock::{Mono, Now};
use base::ids::RaftId;
use base::mutation::{self, Mutation};
use raft::eraftpb::{Message, MessageType};
use raft::StateRole;

/// The context that raft-rs gives to votes of a transfer.
const CAMPAIGN_TRANSFER: &[u8] = b"CampaignTransfer";

/// D6: a message raises the own term by no more than this: nobody can use the terms up.
const TERM_LEAP: u64 = 1 << 32;
/// D6: no log gets here, and arithmetic around it does not overflow.
const INDEX_END: u64 = 1 << 62;

/// D6: what became of a message that was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// The one proof that ends a member.
    #[error(
        "member {from:016x} says that index {index} of this log is committed or stored, but the log \
         ends at {last}: this member has lost log and must not vote again under its raft id"
    )]
    LostLog { from: RaftId, index: u64, last: u64 },
    /// A message that no sound member sends: it is dropped, and the server's log says so. It never
    /// ends a process, for the same one could come again after every start.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// D6: why a message was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("member {from:016x} is faulty: {why}")]
pub struct Refusal {
    pub from: RaftId,
    pub why: Fault,
}

/// What is wrong with a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("its {kind:?} has {what}")]
    Malformed {
        kind: MessageType,
        what: &'static str,
    },
    #[error("it speaks of term {term}, far above this member's term {own}")]
    TermTooFar { term: u64, own: u64 },
    #[error(
        "as leader of term {term} it sends an entry {index} that differs from a committed one"
    )]
    ConflictBelowCommit { term: u64, index: u64 },
    #[error("it sends an entry {index} that can't be read: {reason}")]
    Unreadable { index: u64, reason: String },
    #[error("it claims to lead, or to know more than, the only voter of this group")]
    LeadsOnlyVoter,
}

impl Group {
    /// Takes in a message of another member. Messages that are late, doubled, foreign or not
    /// allowed from the network are dropped.
    pub fn step(&mut self, now: Now, envelope: Envelope) -> Result<(), StepError> {
        let Envelope {
            lease_epoch,
            sent_ns,
            from,
            message,
            ..
        } = &envelope;
        if !self.is_addressed(&envelope) {
            return Ok(());
        }
        if !mutation::is(Mutation::NothingIsChecked) {
            self.check_form(message)?;
            if !self.passes(now, &envelope)? {
                return Ok(());
            }
        }
        let (kind, term) = (message.get_msg_type(), message.term);
        let (lease_epoch, sent_ns, from) = (*lease_epoch, *sent_ns, *from);
        let told = Answer::of(&envelope);
        let matched = self.matched(from);
        if kind == MessageType::MsgTimeoutNow {
            if !self.may_take_over() {
                // E2: not before everything is persisted, which is a matter of a moment.
                self.postponed = Some(Box::new(envelope));
                return Ok(());
            }
            self.under_transfer = lease_epoch;
        }
        let asks = matches!(
            kind,
            MessageType::MsgRequestVote | MessageType::MsgRequestPreVote
        );
        if asks && !self.is_leader() {
            // E1: a request that passed must not meet raft-rs's own, tick-counted lease.
            self.node.raft.election_elapsed = self.node.raft.election_timeout();
        }
        // The only possible error is an answer of a member that is gone.
        let _ = self.node.step(envelope.message);
        self.note_role(now);
        match kind {
            MessageType::MsgAppend | MessageType::MsgHeartbeat => {
                let raft = &self.node.raft;
                if raft.leader_id == from.0 && raft.term == term {
                    self.promise.take(now.mono, lease_epoch, sent_ns);
                    self.timer.promised(self.promise.until());
                }
            }
            MessageType::MsgAppendResponse | MessageType::MsgHeartbeatResponse
                if self.is_leader() =>
            {
                let counts = self
                    .lease
                    .ack_of_send_time(now, from.0, lease_epoch, sent_ns);
                self.note_told(now, from, &told, self.matched(from) > matched);
                if kind == MessageType::MsgAppendResponse && counts {
                    self.note_answer(now, from, Mono(sent_ns));
                }
                if self.transfer.as_ref().is_some_and(|t| t.to == from) {
                    self.push_transfer(now);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Steps a TimeoutNow that came before everything was persisted, if it is still to be obeyed
    /// (E4).
    pub(super) fn retry_postponed(&mut self, now: Now) {
        let Some(envelope) = self.postponed.take().filter(|e| self.obeys(e)) else {
            return;
        };
        if !self.may_take_over() {
            self.postponed = Some(envelope);
            return;
        }
        self.under_transfer = envelope.lease_epoch;
        // A local refusal is no error: the leader asks again.
        let _ = self.node.step(envelope.message);
        self.note_role(now);
    }

    /// T9: whether this message may be stepped while a command runs, or a large unit is applied: a
    /// leader takes answers of its own term, a follower its leader's heartbeats. Neither can change a
    /// role, and what proves something about this member (D6) waits for the turn to end.
    pub fn takes_meanwhile(&self, e: &Envelope) -> bool {
        let m = &e.message;
        if m.term != self.term() || e.lease_epoch.term != m.term && !self.is_leader() {
            return false;
        }
        match m.get_msg_type() {
            MessageType::MsgAppendResponse | MessageType::MsgHeartbeatResponse => {
                self.is_leader() && (m.reject || m.index <= self.last_index())
            }
            MessageType::MsgHeartbeat => {
                !self.is_leader()
                    && self.leader() == Some(RaftId(m.from))
                    && m.commit <= self.last_index()
            }
            _ => false,
        }
    }

    /// T9: steps one of those.
    pub fn step_meanwhile(&mut self, now: Now, e: Envelope) {
        assert!(
            self.takes_meanwhile(&e),
            "T9: only what changes no role is stepped meanwhile"
        );
        // What is refused here says so when it comes again; nothing may stop the work half-way.
        let _ = self.step(now, e);
    }

    fn is_addressed(&self, e: &Envelope) -> bool {
        (e.group, e.incarnation, e.to) == (self.config.group, self.config.incarnation, self.id())
            && e.message.from == e.from.0
            && e.message.to == e.to.0
            && e.from != self.id()
            && e.from.0 != raft::INVALID_ID
            && e.message.term > 0
    }

    /// D6: what no sound member of whatever state sends, whichever state this one is in.
    fn check_form(&self, m: &Message) -> Result<(), Refusal> {
        let (from, kind) = (RaftId(m.from), m.get_msg_type());
        let own = self.term();
        if m.term > own.saturating_add(TERM_LEAP) {
            let why = Fault::TermTooFar { term: m.term, own };
            return Err(Refusal { from, why });
        }
        let malformed = |what| {
            let why = Fault::Malformed { kind, what };
            Err(Refusal { from, why })
        };
        let indexes = [m.index, m.commit, m.reject_hint];
        if indexes.into_iter().any(|index| index >= INDEX_END) {
            return malformed("an index that no log has");
        }
        if m.log_term > m.term || m.commit_term > m.term {
            return malformed("a log of a later term than its own");
        }
        if m.request_snapshot != raft::INVALID_INDEX {
            return malformed("a request for a snapshot");
        }
        match kind {
            MessageType::MsgAppend => check_entries(m).or_else(malformed),
            _ => Ok(()),
        }
    }

    /// D6: the only voter of a group leads it: every other leader's messages, and every proof that
    /// its log is another one's, are forged or of a foreign group (G2).
    fn check_only_voter(&self, m: &Message) -> Result<(), Refusal> {
        if !self.is_only_voter() || mutation::is(Mutation::OnlyVoterYields) {
            return Ok(());
        }
        let (from, why) = (RaftId(m.from), Fault::LeadsOnlyVoter);
        Err(Refusal { from, why })
    }

    fn passes(&self, now: Now, e: &Envelope) -> Result<bool, StepError> {
        let m = &e.message;
        Ok(match m.get_msg_type() {
            // A message of a leader that is not of its own lease epoch was made before it stepped down.
            MessageType::MsgAppend | MessageType::MsgHeartbeat if e.lease_epoch.term != m.term => {
                false
            }
            // D6: a term has one leader; what another sends in its name proves nothing about us.
            MessageType::MsgAppend | MessageType::MsgHeartbeat if self.is_usurped(m) => false,
            MessageType::MsgAppend | MessageType::MsgHeartbeat if m.term >= self.term() => {
                self.check_only_voter(m)?;
                self.check_leader(m)?
            }
            // raft-rs tells a leader of the past which term it is.
            MessageType::MsgAppend | MessageType::MsgHeartbeat => true,
            MessageType::MsgAppendResponse => self.check_append_answer(m)?,
            MessageType::MsgRequestVote | MessageType::MsgRequestPreVote => self.may_help(now, e),
            MessageType::MsgTimeoutNow => self.obeys(e),
            // Nothing was asked of a node that is no member.
            MessageType::MsgHeartbeatResponse => self.membership().contains(RaftId(m.from)),
            MessageType::MsgRequestVoteResponse | MessageType::MsgRequestPreVoteResponse => true,
            // MsgPropose (T2), MsgTransferLeader (E4), MsgReadIndex and all else are not for the
            // network; MsgSnapshot comes with snapshots.
            _ => false,
        })
    }

    /// What the leader of this term, or of a later one, says of the log.
    fn check_leader(&self, m: &Message) -> Result<bool, StepError> {
        let (from, last) = (RaftId(m.from), self.last_index());
        if m.get_msg_type() == MessageType::MsgHeartbeat {
            let goes_on = mutation::is(Mutation::LostLogGoesOn);
            if m.commit > last && !goes_on {
                let index = m.commit;
                return Err(StepError::LostLog { from, index, last });
            }
            return Ok(true);
        }
        if self.term_at(m.index) != Some(m.log_term) {
            return Ok(true); // it is answered with a rejection
        }
        let commit = self.commit();
        for entry in m.entries.iter().take_while(|e| e.index <= commit) {
            if self.term_at(entry.index) != Some(entry.term) {
                let (term, index) = (m.term, entry.index);
                let why = Fault::ConflictBelowCommit { term, index };
                return Err(Refusal { from, why }.into());
            }
        }
        Ok(true)
    }

    /// Whether another member is known to lead the term of this message of a leader.
    fn is_usurped(&self, m: &Message) -> bool {
        let leader = self.node.raft.leader_id;
        m.term == self.term() && leader != raft::INVALID_ID && leader != m.from
    }

    fn check_append_answer(&self, m: &Message) -> Result<bool, StepError> {
        // D6: nothing was sent to a node that is no member, so its answer is about another log.
        if !self.membership().contains(RaftId(m.from)) {
            return Ok(false);
        }
        let last = self.last_index();
        if self.is_leader() && m.term == self.term() && !m.reject && m.index > last {
            self.check_only_voter(m)?;
            return Err(StepError::LostLog {
                from: RaftId(m.from),
                index: m.index,
                last,
            });
        }
        Ok(true)
    }

    /// E1: a promise binds against every candidate but one that its own leader asked to stand (E4).
    fn may_help(&self, now: Now, e: &Envelope) -> bool {
        let m = &e.message;
        let transfer = m.get_msg_type() == MessageType::MsgRequestVote
            && m.context.as_ref() == CAMPAIGN_TRANSFER;
        if self.is_leader() {
            // raft-rs drops all others: a leader is always in its own lease.
            return transfer
                && (e.lease_epoch == self.lease_epoch() && self.is_transferring()
                    || mutation::is(Mutation::StaleTransferVote));
        }
        let exempt = transfer
            && (self.promise.heard() == Some(e.lease_epoch)
                || mutation::is(Mutation::StaleTransferVote));
        exempt || !self.promise.binds(now.mono)
    }

    /// E4: whether this member stands because its leader, and nobody in its name, asked for it.
    fn obeys(&self, e: &Envelope) -> bool {
        self.node.raft.state == StateRole::Follower
            && !self.is_usurped(&e.message)
            && e.message.term == self.term()
            && (self.promise.heard() == Some(e.lease_epoch)
                || mutation::is(Mutation::StaleTimeoutNow))
    }
}

/// D6: an append's entries follow each other, their terms never fall, and those that change members
/// can be read. What normal entries hold is not known here.
fn check_entries(m: &Message) -> Result<(), &'static str> {
    // raft-rs finds no term beyond the end of a log and calls it 0: such an append would fit there.
    if m.log_term == 0 {
        return Err("no entry that it follows");
    }
    let mut previous = (m.index, m.log_term);
    for entry in m.entries.iter() {
        let follows = entry.index == previous.0 + 1 && entry.index < INDEX_END;
        if !follows || entry.term < previous.1 || entry.term > m.term {
            return Err("entries that do not follow each other");
        }
        if !members::is_readable(entry) {
            return Err("a change of members that can't be read");
        }
        previous = (entry.index, entry.term);
    }
    Ok(())
}
