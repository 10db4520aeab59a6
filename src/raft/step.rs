//! Everything that is checked before a message reaches raft-rs.
//!
//! No peer's message can reach a `fatal!` of raft-rs (D6), make a member help a candidate against
//! its promise (E1), or depose a leader by a transfer that was given up (E4).

use super::envelope::Envelope;
use super::group::Group;
use crate::clock::{Mono, Now};
use crate::mutation::{self, Mutation};
use raft::eraftpb::{Message, MessageType};
use raft::StateRole;

/// The context that raft-rs gives to votes of a transfer.
const CAMPAIGN_TRANSFER: &[u8] = b"CampaignTransfer";

/// D6: what a message can prove about this member that ends it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    #[error(
        "member {from} says that index {index} of this log is committed or stored, but the log \
         ends at {last}: this member has lost log and must not vote again under its raft id"
    )]
    LostLog { from: u64, index: u64, last: u64 },
    #[error(
        "leader {from} of term {term} sends an entry {index} that differs from a committed one"
    )]
    ConflictBelowCommit { from: u64, term: u64, index: u64 },
}

impl Group {
    /// Takes in a message of another member. Messages that are late, doubled, foreign or not
    /// allowed from the network are dropped.
    pub fn step(&mut self, now: Now, envelope: Envelope) -> Result<(), StepError> {
        let Envelope {
            reign,
            sent_ns,
            from,
            applied,
            message,
            ..
        } = &envelope;
        if !self.is_addressed(&envelope) || !self.passes(now, &envelope)? {
            return Ok(());
        }
        let (kind, term) = (message.get_msg_type(), message.term);
        let (reign, sent_ns, from, applied) = (*reign, *sent_ns, *from, *applied);
        if kind == MessageType::MsgTimeoutNow {
            if !self.may_campaign() {
                // E2: not before everything is persisted, which is a matter of a moment.
                self.postponed = Some(Box::new(envelope));
                return Ok(());
            }
            self.under_transfer = reign;
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
                if raft.leader_id == from && raft.term == term {
                    self.promise.take(now.mono, reign, sent_ns);
                    self.timer.promised(self.promise.until());
                }
            }
            MessageType::MsgAppendResponse | MessageType::MsgHeartbeatResponse
                if self.is_leader() =>
            {
                self.lease.echo(from, reign, sent_ns);
                self.note_applied(from, applied);
                if kind == MessageType::MsgAppendResponse && sent_ns > 0 && reign == self.reign() {
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
        if !self.may_campaign() {
            self.postponed = Some(envelope);
            return;
        }
        self.under_transfer = envelope.reign;
        // A local refusal is no error: the leader asks again.
        let _ = self.node.step(envelope.message);
        self.note_role(now);
    }

    /// T9: whether this message may be stepped while a command runs: an answer of the own term, which
    /// can't change the leader's role.
    pub fn takes_meanwhile(&self, e: &Envelope) -> bool {
        let answer = matches!(
            e.message.get_msg_type(),
            MessageType::MsgAppendResponse | MessageType::MsgHeartbeatResponse
        );
        answer && self.is_leader() && e.message.term == self.term()
    }

    /// T9: steps an answer while a command runs.
    pub(crate) fn step_answer(&mut self, now: Now, e: Envelope) {
        assert!(self.takes_meanwhile(&e), "T9: only answers of the own term");
        // Nothing may stop the command half-way: an answer beyond the log is not stepped, and comes
        // again if it is true (the leader takes it for what it is when no command runs).
        let _ = self.step(now, e);
    }

    fn is_addressed(&self, e: &Envelope) -> bool {
        (e.group, e.incarnation, e.to) == (self.config.group, self.config.incarnation, self.id())
            && e.message.from == e.from
            && e.message.to == e.to
            && e.from != self.id()
            && e.message.term > 0
    }

    fn passes(&self, now: Now, e: &Envelope) -> Result<bool, StepError> {
        let m = &e.message;
        Ok(match m.get_msg_type() {
            // G2: an only voter has no other leader, whatever is said.
            MessageType::MsgAppend | MessageType::MsgHeartbeat if self.leads_alone() => false,
            // D6: a term has one leader; what another sends in its name proves nothing about us.
            MessageType::MsgAppend | MessageType::MsgHeartbeat if self.is_usurped(m) => false,
            MessageType::MsgAppend => self.check_append(m)?,
            MessageType::MsgHeartbeat => {
                let last = self.last_index();
                let goes_on = mutation::is(Mutation::LostLogGoesOn);
                if m.term >= self.term() && m.commit > last && !goes_on {
                    return Err(StepError::LostLog {
                        from: m.from,
                        index: m.commit,
                        last,
                    });
                }
                true
            }
            MessageType::MsgAppendResponse => self.check_append_answer(m)?,
            MessageType::MsgRequestVote | MessageType::MsgRequestPreVote => self.may_help(now, e),
            MessageType::MsgTimeoutNow => self.obeys(e),
            MessageType::MsgHeartbeatResponse
            | MessageType::MsgRequestVoteResponse
            | MessageType::MsgRequestPreVoteResponse => true,
            // MsgPropose (T2), MsgTransferLeader (E4), MsgReadIndex and all else are not for the
            // network; MsgSnapshot comes with snapshots.
            _ => false,
        })
    }

    /// An append's entries must be consecutive and must not contradict what is committed.
    fn check_append(&self, m: &Message) -> Result<bool, StepError> {
        let mut previous = (m.index, m.log_term);
        for entry in m.entries.iter() {
            if entry.index != previous.0 + 1 || entry.term < previous.1 || entry.term > m.term {
                return Ok(false);
            }
            previous = (entry.index, entry.term);
        }
        if m.term < self.term() || self.term_at(m.index) != Some(m.log_term) {
            return Ok(true);
        }
        let commit = self.commit();
        for entry in m.entries.iter().take_while(|e| e.index <= commit) {
            if self.term_at(entry.index) != Some(entry.term) {
                let (from, term) = (m.from, m.term);
                return Err(StepError::ConflictBelowCommit {
                    from,
                    term,
                    index: entry.index,
                });
            }
        }
        Ok(true)
    }

    /// Whether it is the only voter, outside a joint state.
    fn leads_alone(&self) -> bool {
        let membership = self.membership();
        let alone = membership.conf.voters == [self.id()] && !membership.is_joint();
        alone && !mutation::is(Mutation::OnlyVoterYields)
    }

    /// Whether another member is known to lead the term of this message of a leader.
    fn is_usurped(&self, m: &Message) -> bool {
        let leader = self.node.raft.leader_id;
        m.term == self.term() && leader != raft::INVALID_ID && leader != m.from
    }

    fn check_append_answer(&self, m: &Message) -> Result<bool, StepError> {
        // D6: nothing was sent to who is no member, so its answer is about another log.
        if !self.membership().contains(m.from) {
            return Ok(false);
        }
        let last = self.last_index();
        if self.is_leader() && m.term == self.term() && !m.reject && m.index > last {
            return Err(StepError::LostLog {
                from: m.from,
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
                && (e.reign == self.reign() && self.is_transferring()
                    || mutation::is(Mutation::StaleTransferVote));
        }
        let exempt = transfer
            && (self.promise.heard() == Some(e.reign) || mutation::is(Mutation::StaleTransferVote));
        exempt || !self.promise.binds(now.mono)
    }

    /// E4: whether this member stands because its leader, and nobody in its name, asked for it.
    fn obeys(&self, e: &Envelope) -> bool {
        self.node.raft.state == StateRole::Follower
            && !self.is_usurped(&e.message)
            && e.message.term == self.term()
            && (self.promise.heard() == Some(e.reign) || mutation::is(Mutation::StaleTimeoutNow))
    }

    fn note_applied(&mut self, from: u64, applied: u64) {
        match self.told_applied.iter_mut().find(|(id, _)| *id == from) {
            Some((_, told)) => *told = (*told).max(applied),
            None => self.told_applied.push((from, applied)),
        }
    }
}
