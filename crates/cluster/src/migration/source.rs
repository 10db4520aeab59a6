//! Lends that go out: from the entry that freezes the keys to the one that ends the lend (M1-M5).
//!
//! Owns the values of this reign's lends, and how far each is. Never: decides a lend (the target's commit
//! does). Invariants: GO leaves only when the lend is committed and on disk, and from then on the keys
//! are not read here; a lend of an earlier reign is only ever asked to be decided.

use super::word::{encode_cargo, Word};
use super::{Desk, AGAIN};
use base::clock::Mono;
use base::mutation::{self, Mutation};
use base::ShardId;
use std::collections::{BTreeMap, BTreeSet};
use storage::Disk;
use topology::moves::Cargo;
use topology::{Finished, MoveId};

/// M25: bytes of one piece, and how many are on their way unanswered.
const PIECE: usize = 256 << 10;
const WINDOW: usize = 4 << 20;
/// So few bytes leave with GO, when the entry has committed: alone they would cost both ends more than the
/// way of the bytes takes.
const TOGETHER: usize = 16 << 10;

/// How far a lend is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    /// Its values are on their way, its entry is not committed, or not all of them are there.
    Begun,
    /// The target may take it.
    Going,
    /// Its values are not sent any more: the target has to decide.
    Deciding,
}

#[derive(Debug)]
struct Lending {
    course: Course,
    named: usize,
    /// What it brings, as bytes; how much of it has left, and how much is there.
    cargo: Vec<u8>,
    sent: usize,
    there: usize,
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
    /// `named`: of so many of its keys, the first ones, the client is told.
    pub fn begin(&mut self, id: MoveId, (cargo, named): (&Cargo, usize), until: Option<Mono>) {
        let lending = Lending {
            course: Course::Begun,
            named,
            cargo: encode_cargo(cargo),
            until,
            ..Lending::deciding()
        };
        self.lends.insert(id, lending);
    }

    /// What the target says of a lend.
    pub fn hear<D: Disk>(&mut self, desk: &mut Desk<'_, D>, from: ShardId, word: Word) {
        let (Word::Done { id, .. }
        | Word::Void { id, .. }
        | Word::Closed { id }
        | Word::Have { id, .. }
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
                let ended = desk.act_unsaid(|data| data.end_lend(id, &refused));
                let named = self.lends.get(&id).map_or(usize::MAX, |l| l.named);
                let busy = refused.iter().any(|at| (*at as usize) < named);
                ended.map(|_| busy.then(|| BUSY.to_vec()))
            }
            Word::Void { text, .. } => {
                let slot = lend.slot;
                let ended = desk.act_unsaid(|data| data.return_lend(id));
                // Maybe the mark that it went under has ended, and there is another one.
                desk.ask(from, Word::AskMark { slot });
                ended.map(|_| Some(text))
            }
            Word::Again { .. } => {
                if let Some(lending) = self.lends.get_mut(&id) {
                    (lending.sent, lending.there, lending.again) = (0, 0, Mono(0));
                }
                return;
            }
            Word::Have { bytes, .. } => {
                if let Some(lending) = self.lends.get_mut(&id) {
                    let there = usize::try_from(bytes).unwrap_or(0);
                    lending.there = there.min(lending.cargo.len()).max(lending.there);
                    lending.sent = lending.sent.max(lending.there);
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

    /// M4, broken: what takes too long is taken back, whatever the target has decided.
    pub fn give_up<D: Disk>(&mut self, desk: &mut Desk<'_, D>) {
        let now = desk.now.mono;
        let overdue = |of: &&Lending| of.until.is_some_and(|until| now >= until);
        let overdue = self.lends.iter().filter(|(_, of)| overdue(of));
        let committed = &desk.shard.record().moves.lends;
        let overdue = overdue.filter(|(id, _)| committed.contains_key(id));
        let overdue: Vec<MoveId> = overdue.map(|(id, _)| *id).collect();
        for id in overdue {
            desk.act(|data| data.return_lend(id));
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
            .filter(|(_, lend)| lend.outside.is_none())
            .map(|(id, lend)| (*id, lend.to, committed.contains_key(id)))
            .collect();
        self.lends
            .retain(|id, _| open.iter().any(|(of, ..)| of == id));
        for (id, to, committed) in open {
            let lending = self.lends.entry(id).or_insert(Lending::deciding());
            let committed = committed || mutation::is(Mutation::GoBeforeLendCommits);
            lending.proceed(desk, id, to, committed, now);
        }
    }
}

/// As a client is told, behind "ERR Target instance replied with error: ".
const BUSY: &[u8] = b"BUSYKEY Target key name already exists.";

impl Lending {
    /// One of an earlier reign.
    fn deciding() -> Lending {
        Lending {
            course: Course::Deciding,
            named: usize::MAX,
            cargo: Vec::new(),
            sent: 0,
            there: 0,
            again: Mono(0),
            until: None,
        }
    }

    fn proceed<D: Disk>(
        &mut self,
        desk: &mut Desk<'_, D>,
        id: MoveId,
        to: ShardId,
        committed: bool,
        now: Mono,
    ) {
        let overdue = self.until.is_some_and(|until| now >= until);
        if overdue && self.course != Course::Deciding {
            *self = Lending {
                named: self.named,
                ..Lending::deciding()
            };
        }
        let due = now >= self.again;
        if due {
            self.again = now + AGAIN;
        }
        match self.course {
            Course::Deciding => {
                // M4: a lend that is not committed is not known to the target, and need not be.
                if !committed {
                    self.again = Mono(0);
                } else if due {
                    let floor = desk.floor(to);
                    desk.ask(to, Word::Decide { id, floor });
                }
            }
            Course::Begun | Course::Going => {
                if due {
                    self.sent = self.there; // what was not answered is sent again
                }
                if committed || self.cargo.len() > TOGETHER {
                    self.send_pieces(desk, id, to);
                }
                let whole = self.there == self.cargo.len()
                    || self.cargo.len() <= PIECE && self.sent == self.cargo.len();
                let first = self.course == Course::Begun && committed && whole;
                if first || due && self.course == Course::Going {
                    // M5: from here on the target may have the keys.
                    if !mutation::is(Mutation::ReadAfterGo) {
                        desk.shard.data_mut().hide_lent(id);
                    }
                    self.course = Course::Going;
                    self.again = now + AGAIN;
                    let floor = desk.floor(to);
                    desk.ask(to, Word::Go { id, floor });
                }
            }
        }
    }

    /// M25: as many pieces as may be on their way.
    fn send_pieces<D: Disk>(&mut self, desk: &mut Desk<'_, D>, id: MoveId, to: ShardId) {
        let floor = desk.floor(to);
        while self.sent < self.cargo.len() && self.sent - self.there < WINDOW {
            let end = self.cargo.len().min(self.sent + PIECE);
            let word = Word::Begin {
                id,
                floor,
                total: self.cargo.len() as u64,
                at: self.sent as u64,
                bytes: self.cargo[self.sent..end].to_vec(),
            };
            desk.ask(to, word);
            self.sent = end;
        }
    }
}
