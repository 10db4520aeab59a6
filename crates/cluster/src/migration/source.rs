//! Lends that go out: from the entry that freezes the keys to the one that ends the lend (M1-M5).
//!
//! Owns the values of this reign's lends, and how far each is. Never: decides a lend (the target's commit
//! does). Invariants: GO leaves only when the lend is committed and on disk, and from then on the keys
//! are not read here; a lend of an earlier reign is only ever asked to be decided.

use super::word::Word;
use super::{Desk, Finished, AGAIN};
use base::clock::Mono;
use base::mutation::{self, Mutation};
use base::ShardId;
use std::collections::{BTreeMap, BTreeSet};
use storage::Disk;
use topology::moves::Cargo;
use topology::MoveId;

/// How far a lend is.
#[derive(Debug)]
enum Course {
    /// Its values have left, its entry is not committed.
    Begun { cargo: Cargo },
    /// The target may take it.
    Going { cargo: Cargo },
    /// Its values are not sent any more: the target has to decide.
    Deciding,
}

#[derive(Debug)]
struct Lending {
    course: Course,
    /// When it is said again.
    again: Mono,
    /// When the command that began it gives up.
    until: Option<Mono>,
}

#[derive(Debug, Default)]
pub(super) struct Source {
    lends: BTreeMap<MoveId, Lending>,
    /// M11: keys that were refused on their way back, since the owner has one of that name: leftovers.
    pub left: BTreeSet<Box<[u8]>>,
}

impl Source {
    /// A lend that was executed in this turn.
    pub fn begin(&mut self, id: MoveId, cargo: Cargo, until: Option<Mono>) {
        let lending = Lending {
            course: Course::Begun { cargo },
            again: Mono(0),
            until,
        };
        self.lends.insert(id, lending);
    }

    /// What the target says of a lend.
    pub fn hear<D: Disk>(&mut self, desk: &mut Desk<'_, D>, from: ShardId, word: Word) {
        let (Word::Done { id, .. }
        | Word::Void { id, .. }
        | Word::Closed { id }
        | Word::Again { id }) = &word
        else {
            return;
        };
        let (id, record) = (*id, desk.shard.data().record());
        let Some(lend) = record.moves.lends.get(&id).filter(|l| l.to == from) else {
            return; // it has ended
        };
        let keys = lend.keys.len();
        let ended = match word {
            Word::Done { refused, .. } => {
                if refused.iter().any(|at| *at as usize >= keys) {
                    return;
                }
                if !record.slots.contains(lend.slot) {
                    let keys = refused.iter().map(|at| lend.keys[*at as usize].clone());
                    self.left.extend(keys);
                }
                let ended = desk.act(|data| data.end_lend(id, &refused));
                let busy = !refused.is_empty();
                ended.map(|_| busy.then(|| BUSY.to_vec()))
            }
            Word::Void { text, .. } => {
                let slot = lend.slot;
                let ended = desk.act(|data| data.return_lend(id));
                // Maybe the mark that it went under has ended, and there is another one.
                desk.ask(from, Word::AskMark { slot });
                ended.map(|_| Some(text))
            }
            Word::Again { .. } => {
                if let Some(lending) = self.lends.get_mut(&id) {
                    lending.again = Mono(0);
                }
                return;
            }
            // What is closed was ended here: the target's floor is this shard's own word.
            _ => return,
        };
        if let Some(error) = ended {
            self.lends.remove(&id);
            desk.finish(Finished::Lend { id, error });
        }
    }

    /// Says what is to be said of every open lend.
    pub fn proceed<D: Disk>(&mut self, desk: &mut Desk<'_, D>) {
        let now = desk.now.mono;
        let tail = desk.shard.data().record();
        let committed = &desk.shard.record().moves.lends;
        let open: Vec<(MoveId, ShardId, bool)> = tail
            .moves
            .lends
            .iter()
            .map(|(id, lend)| (*id, lend.to, committed.contains_key(id)))
            .collect();
        self.lends
            .retain(|id, _| open.iter().any(|(of, ..)| of == id));
        for (id, to, committed) in open {
            let lending = self.lends.entry(id).or_insert(Lending {
                course: Course::Deciding,
                again: Mono(0),
                until: None,
            });
            let committed = committed || mutation::is(Mutation::GoBeforeLendCommits);
            lending.proceed(desk, id, to, committed, now);
        }
    }
}

/// As a client is told, behind "ERR Target instance replied with error: ".
const BUSY: &[u8] = b"BUSYKEY Target key name already exists.";

impl Lending {
    fn proceed<D: Disk>(
        &mut self,
        desk: &mut Desk<'_, D>,
        id: MoveId,
        to: ShardId,
        committed: bool,
        now: Mono,
    ) {
        let overdue = self.until.is_some_and(|until| now >= until);
        if overdue && committed && mutation::is(Mutation::ReturnOnTimeout) {
            desk.act(|data| data.return_lend(id));
            return;
        }
        if overdue && !matches!(self.course, Course::Deciding) {
            self.course = Course::Deciding;
            self.again = Mono(0);
        }
        let floor = desk.floor(to);
        if matches!(self.course, Course::Begun { .. }) && committed {
            let Course::Begun { cargo } = std::mem::replace(&mut self.course, Course::Deciding)
            else {
                unreachable!("it was just seen");
            };
            let unsent = self.again == Mono(0);
            if unsent {
                let cargo = cargo.clone();
                desk.ask(to, Word::Begin { id, floor, cargo });
            }
            // M5: from here on the target may have the keys.
            if !mutation::is(Mutation::ReadAfterGo) {
                desk.shard.data_mut().hide_lent(id);
            }
            desk.ask(to, Word::Go { id, floor });
            self.course = Course::Going { cargo };
            self.again = now + AGAIN;
            return;
        }
        if now < self.again {
            return;
        }
        self.again = now + AGAIN;
        match &self.course {
            Course::Begun { cargo } => {
                let cargo = cargo.clone();
                desk.ask(to, Word::Begin { id, floor, cargo });
            }
            Course::Going { cargo } => {
                let cargo = cargo.clone();
                desk.ask(to, Word::Begin { id, floor, cargo });
                desk.ask(to, Word::Go { id, floor });
            }
            // M4: a lend that is not committed is not known to the target, and need not be.
            Course::Deciding if committed => desk.ask(to, Word::Decide { id, floor }),
            Course::Deciding => self.again = Mono(0),
        }
    }
}
