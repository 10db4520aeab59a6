//! What leaves this member, when, and under which header.
//!
//! Owns the order between a message and the sync that it needs (E6), and our header around raft-rs's
//! messages. Never: sends, decides what is said. Invariant: of a follower's messages only those leave
//! early that need no more than the durable term.

use super::envelope::{Envelope, LeaseEpoch};
use super::group::Group;
use super::TICKS_PER_TIMEOUT;
use base::clock::Now;
use base::ids::RaftId;
use base::mutation::{self, Mutation};
use raft::eraftpb::{Message, MessageType};

impl Group {
    /// E6: of a follower's messages, those that need only the durable term leave now. What it said as a
    /// leader, and had not sent when it stepped down, is of no lease epoch any more: nobody is to step it, and
    /// raft-rs may have joined to it what it does not follow (D6).
    pub(super) fn hold_back(&mut self, now: Now, messages: Vec<Message>) -> Vec<Envelope> {
        let mut held = Vec::new();
        for message in messages {
            let kind = message.get_msg_type();
            if is_of_leader(kind) {
                continue;
            }
            if kind == MessageType::MsgRequestVoteResponse && !message.reject {
                self.timer.granted(now.mono);
            }
            let light = matches!(
                kind,
                MessageType::MsgHeartbeatResponse | MessageType::MsgRequestPreVoteResponse
            );
            let early = (light && self.durable_term == self.node.raft.term)
                || (kind == MessageType::MsgAppendResponse
                    && mutation::is(Mutation::AckBeforeSync));
            let envelope = self.seal(now, message);
            if early {
                self.out.push(envelope);
            } else {
                held.push(envelope);
            }
        }
        held
    }

    /// Messages that may leave now.
    pub fn take_messages(&mut self) -> Vec<Envelope> {
        let mut messages = std::mem::take(&mut self.out);
        for envelope in &mut messages {
            // C2: more may have been applied since the message was made.
            envelope.applied = self.applied;
            envelope.has_room = self.has_room;
            envelope.loaded = self.loaded;
        }
        messages
    }

    /// T9: what a long command may do meanwhile: keep the lease and the followers awake, without a
    /// tick, without a Ready.
    pub fn breathe(&mut self, now: Now) {
        if !self.is_leader() {
            return self.answer_heartbeats(now);
        }
        // No oftener than ticks would: a member that lacks entries is sent some, or the same, for each
        // answer.
        if now.mono >= self.next_tick {
            self.next_tick = now.mono + self.config.election_timeout / TICKS_PER_TIMEOUT;
            self.node.ping();
        }
        let messages = std::mem::take(&mut self.node.raft.msgs);
        self.post(now, messages);
    }

    /// E6: a heartbeat's answer needs only the durable term, and leaves at once.
    fn answer_heartbeats(&mut self, now: Now) {
        if self.durable_term != self.node.raft.term {
            return;
        }
        let light = |m: &Message| m.get_msg_type() == MessageType::MsgHeartbeatResponse;
        let messages = std::mem::take(&mut self.node.raft.msgs);
        let (answers, others) = messages.into_iter().partition::<Vec<_>, _>(light);
        self.node.raft.msgs = others;
        self.post(now, answers);
    }

    /// Messages that need not wait.
    pub(super) fn post(&mut self, now: Now, messages: Vec<Message>) {
        for mut message in messages {
            if message.get_msg_type() == MessageType::MsgSnapshot {
                continue; // P15: an offer takes its place (`behind_the_log`)
            }
            if message.get_msg_type() == MessageType::MsgAppend {
                self.mend_batch(&mut message);
                self.flow.told(RaftId(message.to), message.commit);
                if !message.entries.is_empty() {
                    self.flow.entries_leave(now.mono);
                }
            }
            let envelope = self.seal(now, message);
            self.out.push(envelope);
        }
    }

    /// raft-rs batches entries into an append without any that is still waiting to leave, also if they
    /// begin elsewhere: then the message says that they follow what they do not follow (D6).
    fn mend_batch(&self, append: &mut Message) {
        let Some(before) = append.entries.first().map(|e| e.index - 1) else {
            return;
        };
        if let Some(term) = self.term_at(before).filter(|_| before != append.index) {
            (append.index, append.log_term) = (before, term);
        }
    }

    /// Puts our header around a message that this member sends.
    pub(super) fn seal(&self, now: Now, message: Message) -> Envelope {
        let (lease_epoch, sent_ns) = match message.get_msg_type() {
            kind if is_of_leader(kind) => (self.lease.lease_epoch(), now.mono.0),
            MessageType::MsgAppendResponse | MessageType::MsgHeartbeatResponse => {
                self.promise.ack_of_send_time(message.term)
            }
            MessageType::MsgRequestVote => (self.under_transfer, 0),
            _ => (LeaseEpoch::default(), 0),
        };
        Envelope {
            group: self.config.group,
            incarnation: self.config.incarnation,
            from: self.config.id,
            to: RaftId(message.to),
            lease_epoch,
            sent_ns,
            applied: self.applied,
            has_room: self.has_room,
            loaded: self.loaded,
            message,
        }
    }
}

/// What only a leader says.
fn is_of_leader(kind: MessageType) -> bool {
    use MessageType::{MsgAppend, MsgHeartbeat, MsgSnapshot, MsgTimeoutNow};
    matches!(kind, MsgAppend | MsgHeartbeat | MsgSnapshot | MsgTimeoutNow)
}
