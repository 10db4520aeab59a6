//! One member of a group, played by hand: its log in memory, and how it answers.
//!
//! Owns the answers of a follower as Raft has them, unless its [`Manner`] says otherwise, and the
//! envelopes of a leader or candidate that a test makes up. Never: a timer, or a will of its own.

use crate::played::mono_ns;
use base::ids::{GroupId, Incarnation, RaftId};
use raft::eraftpb::{Entry, Message, MessageType};
use raft_group::{Envelope, LeaseEpoch};
use storage::Base;

/// Which entries are taken and answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appends {
    All,
    /// Nothing above this index is taken.
    UpTo(u64),
    /// No append is answered, or taken.
    None,
}

/// How a member answers by itself.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    pub heartbeats: bool,
    pub appends: Appends,
    /// Votes and pre-votes are granted to whoever asks.
    pub votes: bool,
}

impl Manner {
    pub const GOOD: Manner = Manner {
        heartbeats: true,
        appends: Appends::All,
        votes: true,
    };
    pub const SILENT: Manner = Manner {
        heartbeats: false,
        appends: Appends::None,
        votes: false,
    };
}

pub struct Member {
    pub group: u64,
    pub incarnation: u64,
    pub raft_id: u64,
    pub term: u64,
    pub commit: u64,
    pub manner: Manner,
    /// Where the log begins: index and term.
    base: (u64, u64),
    log: Vec<Entry>,
}

/// A message of Raft that its sender fills in.
pub fn message(kind: MessageType, term: u64) -> Message {
    let mut message = Message {
        term,
        ..Message::default()
    };
    message.set_msg_type(kind);
    message
}

impl Member {
    /// As this base says, with an empty log.
    pub fn new(base: &Base, raft_id: u64) -> Member {
        Member {
            group: base.identity.group.0,
            incarnation: base.identity.incarnation.0,
            raft_id,
            term: base.snapshot.term,
            commit: base.snapshot.index,
            manner: Manner::GOOD,
            base: (base.snapshot.index, base.snapshot.term),
            log: Vec::new(),
        }
    }

    pub fn last(&self) -> (u64, u64) {
        self.log.last().map_or(self.base, |e| (e.index, e.term))
    }

    pub fn entries(&self) -> &[Entry] {
        &self.log
    }

    fn term_at(&self, index: u64) -> Option<u64> {
        if index == self.base.0 {
            return Some(self.base.1);
        }
        let at = index.checked_sub(self.base.0 + 1)?;
        self.log.get(at as usize).map(|e| e.term)
    }

    /// An envelope of this member; a leader's has its term as lease epoch and the present as send time.
    pub fn envelope(&self, to: u64, mut message: Message) -> Envelope {
        (message.from, message.to) = (self.raft_id, to);
        Envelope {
            group: GroupId(self.group),
            incarnation: Incarnation(self.incarnation),
            from: RaftId(self.raft_id),
            to: RaftId(to),
            lease_epoch: LeaseEpoch {
                term: message.term,
                transfers: 0,
            },
            sent_ns: mono_ns(),
            applied: self.commit,
            has_room: true,
            loaded: true,
            message,
        }
    }

    /// Appends entries of the own term to the own log: their bodies.
    pub fn write(&mut self, bodies: Vec<Vec<u8>>) {
        for body in bodies {
            let entry = Entry {
                index: self.last().0 + 1,
                term: self.term,
                data: body.into(),
                ..Entry::default()
            };
            self.log.push(entry);
        }
    }

    /// Forgets what lies above an index.
    pub fn cut(&mut self, last: u64) {
        self.log.truncate((last - self.base.0) as usize);
    }

    /// The append that brings a follower from `after` to the end of this log.
    pub fn append(&self, after: u64) -> Message {
        let mut m = message(MessageType::MsgAppend, self.term);
        m.index = after;
        m.log_term = self.term_at(after).expect("the log has it");
        m.commit = self.commit;
        let from = (after - self.base.0) as usize;
        m.entries = self.log[from..].to_vec().into();
        m
    }

    /// A request for this member's election, its log as it is.
    pub fn candidacy(&self, kind: MessageType, term: u64) -> Message {
        let mut m = message(kind, term);
        (m.index, m.log_term) = self.last();
        m
    }

    /// What a follower answers, if it does.
    pub fn answer(&mut self, e: &Envelope) -> Option<Envelope> {
        let m = &e.message;
        let kind = m.get_msg_type();
        let mut answer = match kind {
            MessageType::MsgHeartbeat if self.manner.heartbeats && m.term >= self.term => {
                self.term = m.term;
                self.commit = self.commit.max(m.commit.min(self.last().0));
                let mut a = message(MessageType::MsgHeartbeatResponse, m.term);
                (a.commit, a.context) = (self.commit, m.context.clone());
                a
            }
            MessageType::MsgAppend if m.term >= self.term => self.take(m)?,
            MessageType::MsgRequestPreVote if self.manner.votes => {
                message(MessageType::MsgRequestPreVoteResponse, m.term)
            }
            MessageType::MsgRequestVote if self.manner.votes && m.term >= self.term => {
                self.term = m.term;
                message(MessageType::MsgRequestVoteResponse, m.term)
            }
            _ => return None,
        };
        (answer.from, answer.to) = (self.raft_id, e.from.0);
        Some(Envelope {
            from: RaftId(self.raft_id),
            to: e.from,
            applied: self.commit,
            has_room: true,
            loaded: true,
            message: answer,
            ..e.clone()
        })
    }

    fn take(&mut self, m: &Message) -> Option<Message> {
        let most = match self.manner.appends {
            Appends::None => return None,
            Appends::UpTo(index) => index,
            Appends::All => u64::MAX,
        };
        self.term = m.term;
        let mut answer = message(MessageType::MsgAppendResponse, m.term);
        if self.term_at(m.index) != Some(m.log_term) {
            (answer.index, answer.reject) = (m.index, true);
            let (index, term) = self.last();
            answer.reject_hint = index.min(m.index);
            answer.log_term = self.term_at(answer.reject_hint).unwrap_or(term);
            return Some(answer);
        }
        for entry in m.entries.iter().filter(|e| e.index <= most) {
            if self.term_at(entry.index) != Some(entry.term) {
                self.log.truncate((entry.index - self.base.0 - 1) as usize);
                self.log.push(entry.clone());
            }
        }
        let end = m.index + m.entries.len() as u64;
        answer.index = end.min(most.max(m.index));
        self.commit = self.commit.max(m.commit.min(answer.index));
        answer.commit = self.commit;
        Some(answer)
    }
}
