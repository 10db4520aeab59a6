//! Questions to other shards: which mark, how a key stands, which slots are theirs, whether they wait for a word
//! of this one (M8, M11, M12, M15, M21, M28).
//!
//! Owns the questions that are open and the answers that nobody has fetched. A command that asks is held
//! and runs again; its session keeps the question's number. Beside them the marks that were announced, which
//! the first command to each slot need not ask for. Never: keeps an answer for a second command.
//! Invariants: an answer counts for the question, the shard and the reign that asked; a question that no
//! command comes back to is forgotten; while this shard asks for slots it tells others that they are not free.

use super::word::Word;
use super::{Desk, AGAIN};
use base::clock::Mono;
use base::mutation::{self, Mutation};
use base::{ShardId, SlotSet};
use std::collections::BTreeMap;
use std::time::Duration;
use storage::Disk;
use topology::moves::{KeyState, MarkQuestion, Owners, Titles};
use topology::MoveId;

/// How long a question is kept that no command comes back to.
const KEPT_FOR: Duration = Duration::from_secs(5);
/// Questions at a time; more wait.
const MOST: usize = 65_536;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Asked {
    Mark {
        slot: u16,
        asks: MarkQuestion,
    },
    Key {
        slot: u16,
        mark: MoveId,
        key: Box<[u8]>,
    },
    Own {
        slots: SlotSet,
    },
    Waits,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    Mark(Option<MoveId>),
    Key(KeyState),
    Own {
        owned: SlotSet,
        reserved: SlotSet,
        titles: Titles,
    },
    Waits(bool),
}

#[derive(Debug)]
struct Question {
    asked: Asked,
    /// The shards that are asked, and what each has answered.
    of: BTreeMap<ShardId, Option<Answer>>,
    /// What they answered when they were asked for the same before (M12).
    before: Option<Vec<Answer>>,
    /// When a command came back to it last.
    seen: Mono,
    again: Mono,
}

impl Question {
    /// M12: one shard has such a slot: what the others say changes nothing.
    fn is_refused(&self) -> bool {
        let owns =
            |answer: &Answer| matches!(answer, Answer::Own { owned, .. } if !owned.is_empty());
        self.of.values().flatten().any(owns)
    }
}

#[derive(Debug)]
pub(super) struct Questions {
    open: BTreeMap<u64, Question>,
    next: u64,
    /// M8: marks that other shards have told of by themselves, and when.
    announced: BTreeMap<u16, (ShardId, MoveId, Mono)>,
}

impl Questions {
    /// Of a reign. An answer that was on its way when this member led before must not count for a question
    /// of this reign, so the numbers go on from the term.
    pub fn of_term(term: u64) -> Questions {
        Questions {
            open: BTreeMap::new(),
            next: term << 32,
            announced: BTreeMap::new(),
        }
    }

    pub(super) fn are_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// The question with its answers, when all are there.
    fn ask(
        &mut self,
        now: Mono,
        number: &mut Option<u64>,
        to: &[ShardId],
        asked: Asked,
    ) -> Option<(Vec<Answer>, Option<Vec<Answer>>)> {
        if let Some(of) = *number {
            let is_it = |q: &Question| q.asked == asked && q.of.keys().eq(to);
            match self.open.get_mut(&of) {
                Some(question) if is_it(question) || mutation::is(Mutation::AnswerForOtherMark) => {
                    question.seen = now;
                    if question.of.values().any(Option::is_none) && !question.is_refused() {
                        return None;
                    }
                    *number = None;
                    let question = self.open.remove(&of)?;
                    let answers = question.of.into_values().flatten().collect();
                    return Some((answers, question.before));
                }
                _ => self.withdraw(number), // of another reign, or of another command
            }
        }
        self.begin(now, number, to, asked, Mono(0));
        None
    }

    /// A new question, which is said at that time.
    fn begin(
        &mut self,
        now: Mono,
        number: &mut Option<u64>,
        to: &[ShardId],
        asked: Asked,
        again: Mono,
    ) {
        if self.open.len() < MOST {
            self.next += 1;
            *number = Some(self.next);
            let question = Question {
                asked,
                of: to.iter().map(|shard| (*shard, None)).collect(),
                before: None,
                seen: now,
                again,
            };
            self.open.insert(self.next, question);
        }
    }

    /// The command does not wait for it any more.
    pub fn withdraw(&mut self, number: &mut Option<u64>) {
        if let Some(number) = number.take() {
            self.open.remove(&number);
        }
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
        let asked = Asked::Key {
            slot,
            mark,
            key: key.into(),
        };
        match self.ask(now, number, &[to], asked)?.0.pop() {
            Some(Answer::Key(state)) => {
                // The command is held and comes back at once: without a pause both leaders would do
                // nothing else until the lend is decided.
                if matches!(state, KeyState::Lent(_)) {
                    let key = key.into();
                    let asked = Asked::Key { slot, mark, key };
                    self.begin(now, number, &[to], asked, now + AGAIN / 4);
                }
                Some(state)
            }
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
        asks: MarkQuestion,
    ) -> Option<Option<MoveId>> {
        let announced = self.announced.remove(&slot);
        if let (None, Some((from, mark, at))) = (*number, announced) {
            if from == to && now.since(at) < KEPT_FOR {
                return Some(Some(mark));
            }
        }
        let (mut answers, _) = self.ask(now, number, &[to], Asked::Mark { slot, asks })?;
        match answers.pop() {
            Some(Answer::Mark(mark)) => Some(mark),
            _ => None,
        }
    }

    /// Which of the slots these shards have, or may get (M12). `to`: in order, each once. Between the answers
    /// of two shards a slot may have gone from one that was not asked yet to one that was: that all are free
    /// counts when all have said the same, titles too, twice in a row.
    pub fn owners(
        &mut self,
        now: Mono,
        number: &mut Option<u64>,
        to: &[ShardId],
        slots: &SlotSet,
    ) -> Option<Owners> {
        let asked = Asked::Own {
            slots: slots.clone(),
        };
        let (answers, before) = self.ask(now, number, to, asked.clone())?;
        let owners = sum_of(&answers, slots);
        let free = owners.owned.is_empty() && owners.reserved.is_empty();
        if free && before.as_ref() != Some(&answers) && !mutation::is(Mutation::AskedOnce) {
            self.begin(now, number, to, asked, Mono(0));
            if let Some(again) = number.and_then(|number| self.open.get_mut(&number)) {
                again.before = Some(answers);
            }
            return None;
        }
        Some(owners)
    }

    /// M28: whether none of these shards waits for a word of this one; false also while it is not known. What was
    /// asked for before it is asked again while any of them does.
    pub fn nobody_waits(&mut self, now: Mono, number: &mut Option<u64>, to: &[ShardId]) -> bool {
        if to.is_empty() {
            self.withdraw(number);
            return true;
        }
        let Some((answers, _)) = self.ask(now, number, to, Asked::Waits) else {
            return false;
        };
        let free = answers.iter().all(|a| *a == Answer::Waits(false));
        if !free {
            self.begin(now, number, to, Asked::Waits, now + AGAIN);
        }
        free
    }

    /// M28: that shard has no mark any more, and is about to end: a mark of it that is still to be used here would
    /// bind one of this shard's to nothing.
    pub fn forget_marks_of(&mut self, shard: ShardId) {
        self.announced.retain(|_, (of, ..)| *of != shard);
        for question in self.open.values_mut() {
            if let (Asked::Mark { .. }, Some(answer)) =
                (&question.asked, question.of.get_mut(&shard))
            {
                *answer = None;
                question.again = Mono(0);
            }
        }
    }

    /// M12: two shards that want a slot ask each other: none of them gets it if both have asked before
    /// either was answered, and it may be that only one does.
    pub(super) fn want(&self, slot: u16) -> bool {
        let mut asked = self.open.values();
        asked.any(|q| matches!(&q.asked, Asked::Own { slots } if slots.contains(slot)))
    }

    /// An answer of a shard.
    pub(super) fn hear(&mut self, now: Mono, from: ShardId, word: Word) {
        let answered = |question: &mut Question, answer: Answer| {
            if let Some(of) = question.of.get_mut(&from) {
                of.get_or_insert(answer);
                question.seen = now;
            }
        };
        match word {
            Word::KeyIs { question, state } => {
                let of = self.open.get_mut(&question);
                if let Some(q) = of.filter(|q| matches!(q.asked, Asked::Key { .. })) {
                    answered(q, Answer::Key(state));
                }
            }
            Word::OwnIs {
                question,
                owned,
                reserved,
                titles,
            } => {
                let of = self.open.get_mut(&question);
                if let Some(q) = of.filter(|q| matches!(q.asked, Asked::Own { .. })) {
                    let answer = Answer::Own {
                        owned,
                        reserved,
                        titles,
                    };
                    answered(q, answer);
                }
            }
            Word::WaitsIs { question, waits } => {
                let of = self.open.get_mut(&question);
                if let Some(q) = of.filter(|q| q.asked == Asked::Waits) {
                    answered(q, Answer::Waits(waits));
                }
            }
            Word::MarkIs { slot, mark } => {
                let of = self.open.values_mut();
                let of =
                    of.filter(|q| matches!(q.asked, Asked::Mark { slot: of, .. } if of == slot));
                let mut asked = 0;
                of.for_each(|q| {
                    answered(q, Answer::Mark(mark));
                    asked += 1;
                });
                match mark {
                    Some(mark) if asked == 0 => {
                        self.announced.insert(slot, (from, mark, now));
                    }
                    Some(_) => {}
                    None => drop(self.announced.remove(&slot)),
                }
            }
            // M8: the mark ends soon or has ended: under a dead one the first lend would be void.
            Word::Returning { slot, .. }
            | Word::MarkClosed { slot, .. }
            | Word::HandOver { slot, .. } => {
                self.announced.remove(&slot);
            }
            _ => {}
        }
    }

    /// Asks what is open.
    pub(super) fn proceed<D: Disk>(&mut self, desk: &mut Desk<'_, D>) {
        let now = desk.now.mono;
        self.open.retain(|_, q| now.since(q.seen) < KEPT_FOR);
        for (number, question) in &mut self.open {
            if now < question.again || !question.may_be_said(desk) {
                continue;
            }
            question.again = now + AGAIN;
            for (to, _) in question.of.iter().filter(|(_, answer)| answer.is_none()) {
                desk.ask(*to, question.asked.word(*number));
            }
        }
    }
}

/// What all of them say.
fn sum_of(answers: &[Answer], slots: &SlotSet) -> Owners {
    let mut owners = Owners {
        asked: slots.clone(),
        ..Owners::default()
    };
    for answer in answers {
        let Answer::Own {
            owned,
            reserved,
            titles,
        } = answer
        else {
            continue;
        };
        owners.answered += 1;
        owned.iter().for_each(|slot| {
            owners.owned.insert(slot);
        });
        reserved.iter().for_each(|slot| {
            owners.reserved.insert(slot);
        });
        for (first, last, title) in titles.runs() {
            for slot in first..=last {
                let highest = owners.titles.of(slot).max(title);
                owners.titles.set(slot, highest);
            }
        }
    }
    owners
}

impl Question {
    /// M8: an ask binds the other shard's mark to ours, which must be there for good.
    fn may_be_said<D: Disk>(&self, desk: &Desk<'_, D>) -> bool {
        let Asked::Key { slot, mark, .. } = &self.asked else {
            return true;
        };
        let moves = &desk.shard.record().moves;
        let mine = moves.importing.get(slot).is_some_and(|m| m.mark == *mark);
        let bound = |m: &topology::moves::Migrating| m.mark == Some(*mark);
        mine || moves.migrating.get(slot).is_some_and(bound)
    }
}

impl Asked {
    fn word(&self, question: u64) -> Word {
        match self {
            Asked::Mark { slot, asks } => match asks {
                MarkQuestion::Which => Word::AskMark { slot: *slot },
                MarkQuestion::Wanted => Word::WantMark { slot: *slot },
            },
            Asked::Key { slot, mark, key } => Word::AskKey {
                question,
                slot: *slot,
                mark: *mark,
                key: key.clone(),
            },
            Asked::Own { slots } => Word::AskOwn {
                question,
                slots: slots.clone(),
            },
            Asked::Waits => Word::AskWaits { question },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARDS: [ShardId; 2] = [ShardId([1; 20]), ShardId([2; 20])];
    const NOW: Mono = Mono(1_000_000_000);
    const WHICH: MarkQuestion = MarkQuestion::Which;

    fn answer(questions: &mut Questions, number: u64, from: ShardId, owned: bool, title: u32) {
        let slots: SlotSet = [5].into_iter().collect();
        let mut titles = Titles::default();
        titles.set(5, title);
        let word = Word::OwnIs {
            question: number,
            owned: if owned { slots } else { SlotSet::default() },
            reserved: SlotSet::default(),
            titles,
        };
        questions.hear(NOW, from, word);
    }

    /// The titles that the two shards say, and whether the second one has the slot.
    type Round = (u32, u32, bool);

    /// What comes of rounds in which the two shards answer with these titles; the last one of the second
    /// shard, whether it has the slot.
    fn rounds(of: &[Round]) -> Option<(bool, u32)> {
        let mut questions = Questions::of_term(1);
        let (slots, mut number): (SlotSet, _) = ([5].into_iter().collect(), None);
        let mut owners = questions.owners(NOW, &mut number, &SHARDS, &slots);
        for (first, second, owned) in of {
            assert_eq!(owners, None);
            let open = number.expect("it is asked");
            answer(&mut questions, open, SHARDS[0], false, *first);
            answer(&mut questions, open, SHARDS[1], *owned, *second);
            owners = questions.owners(NOW, &mut number, &SHARDS, &slots);
        }
        owners.map(|owners| (owners.owned.contains(5), owners.titles.of(5)))
    }

    /// What comes of answers of the two shards, one round after the other.
    fn heard(rounds: &[[Option<bool>; 2]]) -> bool {
        let (mut questions, mut number) = (Questions::of_term(1), None);
        let mut heard = questions.nobody_waits(NOW, &mut number, &SHARDS);
        for round in rounds {
            assert!(!heard);
            let question = number.expect("it is asked");
            for (from, waits) in SHARDS.iter().zip(round) {
                if let Some(waits) = *waits {
                    questions.hear(NOW, *from, Word::WaitsIs { question, waits });
                }
            }
            heard = questions.nobody_waits(NOW, &mut number, &SHARDS);
        }
        heard
    }

    #[test]
    fn a_shard_ends_when_nobody_waits_for_it() {
        let (free, waits, silent) = (Some(false), Some(true), None);
        let table = [
            (vec![], false),
            (vec![[free, silent]], false),
            (vec![[free, waits]], false),
            (vec![[free, waits], [silent, free]], false),
            (vec![[free, waits], [free, free]], true),
            (vec![[silent, free], [free, silent]], true),
        ];
        for (rounds, end) in table {
            assert_eq!(heard(&rounds), end, "{rounds:?}");
        }
        let mut questions = Questions::of_term(1);
        assert!(questions.nobody_waits(NOW, &mut None, &[]), "alone");
    }

    #[test]
    fn marks_of_a_shard_that_ends_are_forgotten() {
        let mark = Some(MoveId::default());
        let told = |questions: &mut Questions, slot| {
            questions.hear(NOW, SHARDS[0], Word::MarkIs { slot, mark });
        };
        let (mut questions, mut asked) = (Questions::of_term(1), None);
        assert_eq!(questions.mark(NOW, &mut asked, SHARDS[0], 5, WHICH), None);
        told(&mut questions, 5);
        told(&mut questions, 6);
        questions.forget_marks_of(SHARDS[1]);
        assert_eq!(questions.announced.len(), 1);
        questions.forget_marks_of(SHARDS[0]);
        assert_eq!(questions.mark(NOW, &mut asked, SHARDS[0], 5, WHICH), None);
        assert_eq!(questions.mark(NOW, &mut None, SHARDS[0], 6, WHICH), None);
    }

    #[test]
    fn a_slot_is_free_when_said_twice() {
        let (same, later, owned) = ((1, 2, false), (1, 3, false), (1, 2, true));
        let table = [
            (vec![same], None),
            (vec![same, same], Some((false, 2))),
            (vec![same, later], None),
            (vec![same, later, later], Some((false, 3))),
            (vec![owned], Some((true, 2))),
        ];
        for (of, outcome) in table {
            assert_eq!(rounds(&of), outcome, "{of:?}");
        }
    }

    /// M12: others may have no answer, for they show the slot where it is.
    #[test]
    fn one_owner_is_answer_enough() {
        for owned in [false, true] {
            let mut questions = Questions::of_term(1);
            let (slots, mut number): (SlotSet, _) = ([5].into_iter().collect(), None);
            questions.owners(NOW, &mut number, &SHARDS, &slots);
            let open = number.expect("it is asked");
            answer(&mut questions, open, SHARDS[1], owned, 1);
            let owners = questions.owners(NOW, &mut number, &SHARDS, &slots);
            assert_eq!(owners.is_some_and(|o| o.owned.contains(5)), owned);
        }
    }

    #[test]
    fn an_answer_of_the_first_round_counts_once() {
        let mut questions = Questions::of_term(1);
        let (slots, mut number): (SlotSet, _) = ([5].into_iter().collect(), None);
        questions.owners(NOW, &mut number, &SHARDS, &slots);
        let first = number.expect("it is asked");
        for _ in 0..2 {
            for shard in SHARDS {
                answer(&mut questions, first, shard, false, 1);
            }
            assert_eq!(questions.owners(NOW, &mut number, &SHARDS, &slots), None);
        }
        assert_ne!(number, Some(first));
    }

    #[cfg(feature = "mutations")]
    #[test]
    fn asked_once_a_passing_slot_counts_as_free() {
        mutation::set(Some(Mutation::AskedOnce));
        let once = rounds(&[(1, 2, false)]);
        mutation::set(None);
        assert_eq!(once, Some((false, 2)));
    }
}
