//! Questions of clients' commands to other shards: which mark, how a key stands (M8, M15, M11).
//!
//! Owns the questions that are open and the answers that nobody has fetched. A command that asks is held
//! and runs again; its session keeps the question's number. Never: keeps an answer for a second command.
//! Invariants: an answer counts for the question, the shard and the reign that asked; a question that no
//! command comes back to is forgotten.

use super::word::Word;
use super::{Desk, AGAIN};
use base::clock::Mono;
use base::mutation::{self, Mutation};
use base::ShardId;
use std::collections::BTreeMap;
use std::time::Duration;
use storage::Disk;
use topology::moves::KeyState;
use topology::MoveId;

/// How long a question is kept that no command comes back to.
const KEPT_FOR: Duration = Duration::from_secs(5);
/// Questions at a time; more wait.
const MOST: usize = 65_536;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Asked {
    Mark {
        slot: u16,
    },
    Key {
        slot: u16,
        mark: MoveId,
        key: Box<[u8]>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    Mark(Option<MoveId>),
    Key(KeyState),
}

#[derive(Debug)]
struct Question {
    to: ShardId,
    asked: Asked,
    answer: Option<Answer>,
    /// When a command came back to it last.
    seen: Mono,
    again: Mono,
}

#[derive(Debug, Default)]
pub(super) struct Questions {
    open: BTreeMap<u64, Question>,
    next: u64,
}

impl Questions {
    /// Numbers go on behind this one: an answer to another reign's question finds nothing.
    pub(super) fn numbered_from(next: u64) -> Questions {
        Questions {
            next,
            ..Questions::default()
        }
    }

    pub(super) fn are_open(&self) -> bool {
        !self.open.is_empty()
    }

    fn ask(
        &mut self,
        now: Mono,
        number: &mut Option<u64>,
        to: ShardId,
        asked: Asked,
    ) -> Option<Answer> {
        if let Some(of) = *number {
            match self.open.get_mut(&of) {
                Some(question)
                    if question.to == to && question.asked == asked
                        || mutation::is(Mutation::AnswerForOtherMark) =>
                {
                    question.seen = now;
                    question.answer.as_ref()?;
                    *number = None;
                    return self.open.remove(&of)?.answer;
                }
                _ => *number = None, // of another reign, or of another command
            }
        }
        if self.open.len() < MOST {
            self.next += 1;
            *number = Some(self.next);
            let question = Question {
                to,
                asked,
                answer: None,
                seen: now,
                again: Mono(0),
            };
            self.open.insert(self.next, question);
        }
        None
    }

    /// How a key stands at the other shard under a mark. `number`: the session's question.
    pub fn key(
        &mut self,
        now: Mono,
        number: &mut Option<u64>,
        to: ShardId,
        (slot, mark): (u16, MoveId),
        key: &[u8],
    ) -> Option<KeyState> {
        let key = key.into();
        match self.ask(now, number, to, Asked::Key { slot, mark, key }) {
            Some(Answer::Key(state)) => Some(state),
            _ => None,
        }
    }

    /// The mark under which another shard imports a slot from this one; the outer none: not known yet.
    pub fn mark(
        &mut self,
        now: Mono,
        number: &mut Option<u64>,
        to: ShardId,
        slot: u16,
    ) -> Option<Option<MoveId>> {
        match self.ask(now, number, to, Asked::Mark { slot }) {
            Some(Answer::Mark(mark)) => Some(mark),
            _ => None,
        }
    }

    /// An answer of a shard.
    pub(super) fn hear(&mut self, now: Mono, from: ShardId, word: Word) {
        match word {
            Word::KeyIs { question, state } => {
                if let Some(question) = self.open.get_mut(&question) {
                    let asked = matches!(question.asked, Asked::Key { .. });
                    if question.to == from && asked {
                        question.answer = Some(Answer::Key(state));
                        question.seen = now;
                    }
                }
            }
            Word::MarkIs { slot, mark } => {
                let of = self.open.values_mut();
                let of = of.filter(|q| q.to == from && q.asked == Asked::Mark { slot });
                of.for_each(|question| question.answer = Some(Answer::Mark(mark)));
            }
            _ => {}
        }
    }

    /// Asks what is open.
    pub(super) fn proceed<D: Disk>(&mut self, desk: &mut Desk<'_, D>) {
        let now = desk.now.mono;
        self.open.retain(|_, q| now.since(q.seen) < KEPT_FOR);
        for (number, question) in &mut self.open {
            if question.answer.is_some() || now < question.again {
                continue;
            }
            // M8: an ask binds the other shard's mark to ours, which must be there for good.
            if let Asked::Key { slot, mark, .. } = &question.asked {
                let moves = &desk.shard.record().moves;
                let mine = moves.importing.get(slot).is_some_and(|m| m.mark == *mark);
                let theirs = moves
                    .migrating
                    .get(slot)
                    .is_some_and(|m| m.mark == Some(*mark));
                if !mine && !theirs {
                    continue;
                }
            }
            question.again = now + AGAIN;
            let word = match &question.asked {
                Asked::Mark { slot } => Word::AskMark { slot: *slot },
                Asked::Key { slot, mark, key } => Word::AskKey {
                    question: *number,
                    slot: *slot,
                    mark: *mark,
                    key: key.clone(),
                },
            };
            desk.ask(question.to, word);
        }
    }
}
