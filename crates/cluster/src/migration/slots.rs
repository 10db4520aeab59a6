//! Marks, hand-overs, and moves that run backwards: what the leaders of both ends do about a slot
//! (M7, M8, M11, M18, M19).
//!
//! Owns what this reign has heard of the other ends, and when it says what again. Never: sets a mark
//! (SETSLOT does). Invariants: a slot leaves by one entry, when no key of it is left here; the other shard
//! takes it by one entry, and only under a mark of its own, which is its consent.

use super::word::Word;
use super::{Desk, Source, AGAIN};
use base::clock::Mono;
use base::mutation::{self, Mutation};
use base::ShardId;
use std::collections::{BTreeMap, BTreeSet};
use storage::Disk;
use topology::moves::{Cargo, Credentials, Decision, Importing, KeyState, Lend, Moves, Parcel};
use topology::{Finished, MoveId};

/// M11: what goes back in one lend.
const RETURN_BYTES: usize = 256 << 10;
const RETURN_KEYS: usize = 128;

/// A client's SETSLOT NODE that waits for the slot.
#[derive(Debug)]
struct Wanted {
    from: ShardId,
    mark: MoveId,
    until: Mono,
    again: Mono,
}

#[derive(Debug, Default)]
pub(super) struct Slots {
    wanted: BTreeMap<u16, Wanted>,
    /// When an open hand-over, a closing or a returning mark is spoken of again.
    again: BTreeMap<MoveId, Mono>,
    /// M11, amendment 1: the source has said that it closes and that none of its lends is open.
    settled: BTreeSet<MoveId>,
    /// Slots that were asked for while lends of them were open.
    asked_for: BTreeMap<u16, (ShardId, MoveId, Mono)>,
    /// M8: marks of this reign of which the other shard is to hear when they have committed.
    announce: BTreeMap<u16, MoveId>,
    /// M13: moves with this shard, or with any, are turned back until then.
    ending: Option<(Option<ShardId>, Mono)>,
}

/// How a move is turned back at this end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TurnBack {
    /// It never began.
    End,
    Close,
    Return,
}

/// Each step is an entry with a record of its own: thousands of them in one turn would stand the loop.
const TURNS_BACK: usize = 64;

/// The next steps of M13, for moves with that shard or with any.
fn turns_back(moves: &Moves, with: Option<ShardId>) -> Vec<(u16, TurnBack)> {
    let is_it = |shard: ShardId| with.is_none_or(|with| with == shard);
    let leaving = moves.migrating.iter().filter(|(_, m)| is_it(m.shard));
    let leaving = leaving.filter_map(|(slot, m)| match m.mark {
        None => Some((*slot, TurnBack::End)),
        Some(_) if m.closing => None,
        Some(_) => Some((*slot, TurnBack::Close)),
    });
    let coming = moves.importing.iter().filter(|(_, m)| is_it(m.shard));
    let coming = coming.filter(|(_, m)| !m.returning);
    let coming = coming.map(|(slot, _)| (*slot, TurnBack::Return));
    leaving.chain(coming).take(TURNS_BACK).collect()
}

impl Slots {
    /// SETSLOT NODE of this shard: the slot is asked for until then.
    pub fn want(&mut self, slot: u16, from: ShardId, mark: MoveId, until: Mono) {
        let wanted = Wanted {
            from,
            mark,
            until,
            again: Mono(0),
        };
        self.wanted.insert(slot, wanted);
    }

    /// M8: the other shard hears of this mark, which was set in this turn: its first MIGRATE need not ask.
    pub fn announce(&mut self, slot: u16, mark: MoveId) {
        self.announce.insert(slot, mark);
    }

    fn say_marks<D: Disk>(&mut self, desk: &mut Desk<'_, D>) {
        let mut committed = Vec::new();
        self.announce.retain(|slot, mark| {
            let stands = |record: &topology::Record| {
                let here = record.moves.importing.get(slot);
                here.filter(|here| here.mark == *mark)
                    .map(|here| here.shard)
            };
            committed.extend(stands(desk.shard.record()).map(|shard| (*slot, shard)));
            stands(desk.shard.record()).is_none() && stands(desk.shard.data().record()).is_some()
        });
        for (slot, shard) in committed {
            asked_mark(desk, shard, slot);
        }
    }

    pub fn end_moves(&mut self, with: Option<ShardId>, until: Mono) {
        self.ending = Some((with, until));
    }

    /// M13: as STABLE of each slot.
    fn turn_back<D: Disk>(&mut self, desk: &mut Desk<'_, D>) {
        let now = desk.now.mono;
        self.ending = self.ending.filter(|(_, until)| now < *until);
        let Some((with, _)) = self.ending else { return };
        for (slot, turn) in turns_back(&desk.shard.data().record().moves, with) {
            match turn {
                TurnBack::End => desk.act(|data| data.end_migrating(slot)),
                TurnBack::Close => desk.act(|data| data.close_migrating(slot)),
                TurnBack::Return => desk.act(|data| data.return_importing(slot)),
            };
        }
    }

    pub fn hear<D: Disk>(&mut self, desk: &mut Desk<'_, D>, from: ShardId, word: Word) {
        match word {
            Word::AskMark { slot } => asked_mark(desk, from, slot),
            Word::WantMark { slot } => {
                consent(desk, from, slot);
                asked_mark(desk, from, slot);
            }
            // M8: the mark that ours is bound to has ended, and there is a later one.
            Word::MarkIs {
                slot,
                mark: Some(mark),
            } => {
                let leaving = desk.shard.data().record().moves.migrating.get(&slot);
                let later =
                    |m: &topology::moves::Migrating| m.mark.is_some() && m.mark < Some(mark);
                if leaving.is_some_and(|m| m.shard == from && later(m)) {
                    desk.act(|data| data.bind(slot, mark));
                }
            }
            Word::AskKey {
                question,
                slot,
                mark,
                key,
            } => asked_key(desk, from, question, (slot, mark), &key),
            Word::HandOver { slot, mark } => {
                let patience = desk.now.mono + 8 * AGAIN;
                self.asked_for.insert(slot, (from, mark, patience));
            }
            Word::Kept { slot, mark, text } => {
                let is_it = |w: &Wanted| w.from == from && w.mark == mark;
                if self.wanted.get(&slot).is_some_and(is_it) {
                    self.wanted.remove(&slot);
                    desk.finish(Finished::HandOver { slot, error: text });
                }
            }
            Word::Gone { .. } => self.gone(desk, from, word),
            Word::Taken { slot, id } => {
                let open = desk.shard.data().record().moves.departed.get(&slot);
                if open.is_some_and(|d| d.to == from && d.id == id) {
                    desk.act(|data| data.forget_hand_off(slot, id));
                }
            }
            word => self.hear_closing(desk, from, word),
        }
    }

    /// M19: the slot has left the other shard for this one.
    fn gone<D: Disk>(&mut self, desk: &mut Desk<'_, D>, from: ShardId, word: Word) {
        let Word::Gone {
            slot,
            id,
            floor,
            title,
            epoch,
        } = word
        else {
            return;
        };
        if id.shard != from || floor >= id.number {
            return;
        }
        let record = desk.shard.data().record();
        match record.moves.decision(id) {
            Decision::Open => {}
            Decision::Done(_) if mutation::is(Mutation::TakeTwice) => {}
            Decision::Done(_) => {
                if let Some(((), gate)) = desk.act(state::StateMachine::depends_on_all) {
                    desk.say(gate, from, Word::Taken { slot, id });
                }
                return;
            }
            Decision::Void | Decision::Closed => return,
        }
        if !record.slots.contains(slot) && !consents(desk, from, slot) {
            return;
        }
        let (before, master) = (record.epoch, record.master);
        // One that can't be is a forgery, or damage: it would leave none to go up to.
        let epoch = match desk.bus.is_absurd(epoch) {
            true => before,
            false => epoch,
        };
        let highest = desk.bus.max_epoch().max(epoch).max(before);
        let raised =
            (before <= epoch || before < highest) && !mutation::is(Mutation::EpochNotRaised);
        let taken = desk.act(|data| {
            if !data.room_for(2 * state::room::RECORD) {
                return;
            }
            data.take(slot, id, title, floor);
            if raised {
                data.set_epoch(highest + 1, master);
            }
        });
        if let Some(((), gate)) = taken {
            self.wanted.remove(&slot);
            desk.say(gate, from, Word::Taken { slot, id });
        }
    }

    fn hear_closing<D: Disk>(&mut self, desk: &mut Desk<'_, D>, from: ShardId, word: Word) {
        match word {
            Word::Return { slot, mark } => self.asked_to_return(desk, from, slot, mark),
            Word::Returning { slot, mark } => asked_to_close(desk, from, slot, mark),
            Word::Settled { slot, mark } => {
                let here = desk.shard.data().record().moves.importing.get(&slot);
                if here.is_some_and(|m| m.shard == from && m.mark == mark && m.returning) {
                    self.settled.insert(mark);
                }
            }
            Word::NoMark { slot, mark } => {
                // M11: the other end takes nothing back: what is left here is a leftover.
                let here = desk.shard.data().record().moves.importing.get(&slot);
                let is_it = here.is_some_and(|m| m.shard == from && m.mark == mark && m.returning);
                if is_it && !desk.lends_of(slot) {
                    desk.act(|data| data.end_importing(slot));
                }
            }
            Word::MarkClosed { slot, mark } => {
                let here = desk.shard.data().record().moves.migrating.get(&slot);
                let is_it = here.is_some_and(|m| m.shard == from && m.mark == Some(mark));
                if is_it && !desk.lends_of(slot) {
                    desk.act(|data| data.end_migrating(slot));
                }
            }
            _ => {}
        }
    }

    /// M11: the source wants its keys back.
    fn asked_to_return<D: Disk>(
        &mut self,
        desk: &mut Desk<'_, D>,
        from: ShardId,
        slot: u16,
        mark: MoveId,
    ) {
        let here = &desk.shard.data().record().moves.importing;
        let here = here.get(&slot).cloned();
        if let Some(m) = here.filter(|m| m.shard == from && m.mark == mark) {
            // That it does is said again and again until it has ended.
            if !m.returning {
                desk.act(|data| data.return_importing(slot));
            }
            return;
        }
        // M7: it has ended, if this shard has ever given it out.
        if mark.shard == desk.own && mark.number <= desk.ids.last() {
            if let Some(gate) = desk.look(slot) {
                desk.say(gate, from, Word::MarkClosed { slot, mark });
            }
        }
    }

    /// Slots that were asked for; what is remembered of marks that have ended is forgotten.
    pub fn proceed<D: Disk>(&mut self, desk: &mut Desk<'_, D>) {
        let now = desk.now.mono;
        self.turn_back(desk);
        for (slot, (from, mark, patience)) in std::mem::take(&mut self.asked_for) {
            if !asked_to_hand_over(desk, from, slot, mark) && now < patience {
                self.asked_for.insert(slot, (from, mark, patience));
            }
        }
        let moves = &desk.shard.data().record().moves;
        let live = |id: &MoveId| {
            let marks = moves.importing.values().map(|m| m.mark);
            let bound = moves.migrating.values().filter_map(|m| m.mark);
            let departed = moves.departed.values().map(|d| d.id);
            marks.chain(bound).chain(departed).any(|of| of == *id)
        };
        self.again.retain(|id, _| live(id));
        self.settled.retain(live);
    }

    /// What is said again and again, and what has just become sayable.
    pub fn speak<D: Disk>(&mut self, desk: &mut Desk<'_, D>) {
        self.say_marks(desk);
        self.say_gone(desk);
        self.ask_for_slots(desk);
        self.say_closing(desk);
    }

    fn is_due(&mut self, now: Mono, id: MoveId) -> bool {
        let due = self.again.get(&id).is_none_or(|at| now >= *at);
        if due {
            self.again.insert(id, now + AGAIN);
        }
        due
    }

    /// M18: a committed hand-over is told until it was taken.
    fn say_gone<D: Disk>(&mut self, desk: &mut Desk<'_, D>) {
        let record = match mutation::is(Mutation::GoneFromTail) {
            true => desk.shard.data().record().clone(),
            false => desk.shard.record().clone(),
        };
        for (slot, departed) in &record.moves.departed {
            if !self.is_due(desk.now.mono, departed.id) {
                continue;
            }
            let word = Word::Gone {
                slot: *slot,
                id: departed.id,
                floor: desk.floor(departed.to),
                title: departed.title,
                epoch: record.epoch,
            };
            desk.ask(departed.to, word);
        }
    }

    fn ask_for_slots<D: Disk>(&mut self, desk: &mut Desk<'_, D>) {
        let now = desk.now.mono;
        self.wanted.retain(|_, wanted| now < wanted.until);
        let committed = &desk.shard.record().moves.importing;
        let stands = |slot: u16, id: MoveId| committed.get(&slot).is_some_and(|m| m.mark == id);
        let due: Vec<u16> = self
            .wanted
            .iter()
            .filter(|(slot, wanted)| stands(**slot, wanted.mark))
            .map(|(slot, _)| *slot)
            .collect();
        for (slot, wanted) in self
            .wanted
            .iter_mut()
            .filter(|(slot, _)| due.contains(slot))
        {
            if now >= wanted.again {
                wanted.again = now + AGAIN;
                let (slot, mark) = (*slot, wanted.mark);
                desk.ask(wanted.from, Word::HandOver { slot, mark });
            }
        }
    }

    /// M11: both ends of a move that runs backwards.
    fn say_closing<D: Disk>(&mut self, desk: &mut Desk<'_, D>) {
        let now = desk.now.mono;
        let record = desk.shard.record().clone();
        for (slot, mark) in &record.moves.migrating {
            let (true, Some(id)) = (mark.closing, mark.mark) else {
                continue;
            };
            if self.is_due(now, id) {
                let slot = *slot;
                desk.ask(mark.shard, Word::Return { slot, mark: id });
                // Amendment 1: in the tail, and in what is committed, none of its lends is open.
                if !desk.lends_of(slot) {
                    desk.ask(mark.shard, Word::Settled { slot, mark: id });
                }
            }
        }
        for (slot, mark) in &record.moves.importing {
            if mark.returning && self.is_due(now, mark.mark) {
                let (slot, mark, to) = (*slot, mark.mark, mark.shard);
                desk.ask(to, Word::Returning { slot, mark });
            }
        }
    }

    /// M11: keys go back, one lend at a time for a slot; without any left the mark ends. `known`: whether a shard
    /// has a node that can be spoken to.
    pub fn send_back<D: Disk>(
        &mut self,
        desk: &mut Desk<'_, D>,
        source: &mut Source,
        known: impl Fn(ShardId) -> bool,
    ) {
        let record = desk.shard.data().record().clone();
        for (slot, mark) in &record.moves.importing {
            let (slot, id) = (*slot, mark.mark);
            let settled = self.settled.contains(&id) || mutation::is(Mutation::BackBeforeSettled);
            // Of a shard that has ended nobody says SETTLED. It lent nothing under the mark that is not decided, and
            // what would come yet is refused; with no key of it here nothing has to go back.
            let empty = !mark.clean || desk.shard.data().keyspace().count_in_slot(slot) == 0;
            let settled = settled || empty && !known(mark.shard);
            if !(mark.returning && settled) || desk.lends_of(slot) {
                continue;
            }
            // M22: under an unclean mark nothing has come: what is here is not the other end's.
            let parcels = match mark.clean {
                true => desk.parcels_of(slot, &source.left),
                false => Vec::new(),
            };
            if parcels.is_empty() || mutation::is(Mutation::CloseWithKeys) {
                let ended = desk.act(|data| data.end_importing(slot));
                if let Some((true, gate)) = ended {
                    desk.say(gate, mark.shard, Word::MarkClosed { slot, mark: id });
                }
                continue;
            }
            let lend = desk.mint();
            let cargo = Cargo {
                slot,
                mark: Some(id),
                replace: false,
                credentials: Credentials::Shard,
                parcels,
            };
            let keys = cargo.parcels.iter().map(|p| p.key.clone()).collect();
            let entry = Lend {
                slot,
                to: mark.shard,
                mark: Some(id),
                keys,
                db: 0,
                outside: None,
            };
            if desk.act(|data| data.lend(lend, entry)).is_some() {
                source.begin(lend, (&cargo, cargo.parcels.len()), None);
            }
        }
    }
}

impl<D: Disk> Desk<'_, D> {
    /// Whether lends of the slot are open, in the tail or in what is committed.
    pub fn lends_of(&self, slot: u16) -> bool {
        let records = [self.shard.data().record(), self.shard.record()];
        let mut lends = records.iter().flat_map(|r| r.moves.lends.values());
        lends.any(|lend| lend.slot == slot)
    }

    /// The gate of an answer that follows from how the slot stands.
    pub fn look(&mut self, slot: u16) -> Option<state::Gate> {
        let looked = self.act(|data| {
            data.motion_of(slot);
        });
        looked.map(|((), gate)| gate)
    }

    /// Values of the slot, as many as go back at a time. Keys that have expired go as what they are: the
    /// other end sees it.
    fn parcels_of(&mut self, slot: u16, left: &BTreeSet<Box<[u8]>>) -> Vec<Parcel> {
        let (mut parcels, mut bytes) = (Vec::new(), 0);
        let keyspace = self.shard.data().keyspace();
        keyspace.keys_in_slot(slot, RETURN_KEYS + left.len(), &mut |entry| {
            let goes = !left.contains(entry.key());
            if goes && (parcels.is_empty() || bytes < RETURN_BYTES) {
                let parcel = state::parcel_of(&entry, state::Reader::Newest, &mut || {});
                bytes += parcel.key.len() + parcel.payload.len();
                parcels.push(parcel);
            }
        });
        parcels
    }
}

/// M19: whether this shard takes a slot that another one has given up: it has a mark for it, or, where the
/// mark has ended meanwhile, no third shard can have the slot.
fn consents<D: Disk>(desk: &Desk<'_, D>, from: ShardId, slot: u16) -> bool {
    let data = desk.shard.data();
    match data.record().moves.importing.get(&slot) {
        Some(mark) => mark.shard == from && mark.clean,
        None => {
            let owner = desk.bus.owner(slot);
            let of = owner.and_then(|node| desk.bus.shard_of(node));
            let theirs = of.is_none_or(|shard| shard == from || shard == desk.own);
            theirs && data.keyspace().count_in_slot(slot) == 0
        }
    }
}

/// M7: a hint: a mark that is dead makes its lends void, nothing worse.
fn asked_mark<D: Disk>(desk: &mut Desk<'_, D>, from: ShardId, slot: u16) {
    let here = desk.shard.data().record().moves.importing.get(&slot);
    let mark = here.filter(|m| m.shard == from && m.clean).map(|m| m.mark);
    if let Some(gate) = desk.look(slot) {
        desk.say(gate, from, Word::MarkIs { slot, mark });
    }
}

/// M18: the owner gives a slot away, and this shard has no mark that would be its consent: it sets one, as
/// IMPORTING does. Over keys of an earlier ownership it would not be clean, and in place of another mark it would
/// make what came under that one nobody's. Neither is done, and no mark is the answer.
fn consent<D: Disk>(desk: &mut Desk<'_, D>, from: ShardId, slot: u16) {
    let (bus, data) = (desk.bus, desk.shard.data());
    let record = data.record();
    let owner = bus
        .owner(slot)
        .filter(|node| bus.shard_of(*node) == Some(from));
    let empty = data.keyspace().count_in_slot(slot) == 0;
    let empty = empty || mutation::is(Mutation::UncleanCountsAsClean);
    let rests = !record.slots.contains(slot) && !record.moves.holds(slot);
    let (Some(node), true, true) = (owner, empty, rests) else {
        return;
    };
    let mark = Importing {
        shard: from,
        node,
        mark: desk.mint(),
        clean: true,
        returning: false,
        redis: false,
    };
    desk.act(|data| {
        if data.room_for(2 * state::room::RECORD) {
            data.mark_importing(slot, mark);
        }
    });
}

/// M15, M11: how a key stands here under a mark. That it is absent is final: this shard makes no missing
/// key under that mark.
fn asked_key<D: Disk>(
    desk: &mut Desk<'_, D>,
    from: ShardId,
    question: u64,
    (slot, mark): (u16, MoveId),
    key: &[u8],
) {
    if desk.shard.data().keyspace().key(key).slot != slot {
        return;
    }
    let answer = desk.act(|data| {
        data.motion_of(slot);
        // The binding and the deletion of an expired key, or nothing.
        if data.writable() && !data.room_for(key.len() + 2 * state::room::RECORD) {
            return KeyState::NoMark;
        }
        let moves = &data.record().moves;
        let leaving = moves.migrating.get(&slot);
        let leaves = leaving.is_some_and(|m| m.shard == from && !m.closing);
        let departed = moves.departed.get(&slot);
        let left = departed.is_some_and(|d| d.to == from && d.mark == Some(mark));
        let importing = moves.importing.get(&slot);
        let returns = importing.is_some_and(|m| m.shard == from && m.mark == mark && m.returning);
        if left {
            return KeyState::Absent;
        }
        if !leaves && !returns {
            return KeyState::NoMark;
        }
        if leaves && !data.bind(slot, mark) {
            return KeyState::NoMark;
        }
        if let Some(frozen) = data.frozen(key) {
            return KeyState::Lent(frozen.lend);
        }
        if mutation::is(Mutation::AbsentForUnloggedExpiry) {
            let entry = data.keyspace().get(0, &data.keyspace().key(key));
            let living = entry.filter(|e| !data.is_due(e));
            return living.map_or(KeyState::Absent, |_| KeyState::Present);
        }
        match data.exists(&data.key(key)) {
            true => KeyState::Present,
            false => KeyState::Absent,
        }
    });
    if let Some((state, gate)) = answer {
        let gate = match mutation::is(Mutation::AbsentFromTail) {
            true => state::Gate::OPEN,
            false => gate,
        };
        desk.say(gate, from, Word::KeyIs { question, state });
    }
}

/// M18: another shard asks for a slot. False: lends of it are open: later.
fn asked_to_hand_over<D: Disk>(
    desk: &mut Desk<'_, D>,
    from: ShardId,
    slot: u16,
    mark: MoveId,
) -> bool {
    let record = desk.shard.data().record().clone();
    if record
        .moves
        .departed
        .get(&slot)
        .is_some_and(|d| d.to == from)
    {
        return true; // that it has gone is said again and again
    }
    let leaving = record.moves.migrating.get(&slot);
    let may = leaving.is_some_and(|m| m.shard == from && !m.closing && m.mark <= Some(mark));
    // The tail decides: the hand-over's entry comes behind the ends of those that have ended in it.
    let lent = record.moves.lends.values().any(|lend| lend.slot == slot);
    let refused = if !may || !record.slots.contains(slot) {
        Some(format!("ERR slot {slot} is not migrating to that node"))
    } else if lent {
        return false;
    } else if desk.shard.data().keyspace().count_in_slot(slot) > 0
        && !mutation::is(Mutation::HandOffWithKeysOrLent)
    {
        Some(format!(
            "ERR Can't assign hashslot {slot} to a different node while I still hold keys for this \
             hash slot."
        ))
    } else {
        None
    };
    match refused {
        Some(text) => {
            if let Some(gate) = desk.look(slot) {
                let text = text.into_bytes();
                desk.say(gate, from, Word::Kept { slot, mark, text });
            }
        }
        None => {
            let id = desk.mint();
            desk.act(|data| {
                if data.room_for(2 * state::room::RECORD) && data.bind(slot, mark) {
                    data.hand_off(slot, id);
                }
            });
        }
    }
    true
}

/// M11: the other end sends the keys back: this end closes too.
fn asked_to_close<D: Disk>(desk: &mut Desk<'_, D>, from: ShardId, slot: u16, mark: MoveId) {
    let record = desk.shard.data().record().clone();
    let here = record.moves.migrating.get(&slot);
    let is_it = |m: &topology::moves::Migrating| {
        let bindable =
            m.mark.is_none() || m.mark == Some(mark) || !m.closing && m.mark < Some(mark);
        m.shard == from && bindable && mark.shard == from
    };
    match here {
        Some(m) if is_it(m) => {
            if !m.closing {
                desk.act(|data| {
                    if data.room_for(2 * state::room::RECORD) && data.bind(slot, mark) {
                        data.close_migrating(slot);
                    }
                });
            }
        }
        // It has gone to that shard: it hears of that, and takes it.
        _ if record
            .moves
            .departed
            .get(&slot)
            .is_some_and(|d| d.to == from) => {}
        _ => {
            if let Some(gate) = desk.look(slot) {
                desk.say(gate, from, Word::NoMark { slot, mark });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use topology::moves::Migrating;

    const B: ShardId = ShardId([2; 20]);
    const C: ShardId = ShardId([3; 20]);

    fn leaves(shard: ShardId, bound: bool, closing: bool) -> Migrating {
        Migrating {
            shard,
            node: base::NodeId(shard.0),
            mark: bound.then(MoveId::default),
            closing,
            redis: false,
        }
    }

    #[test]
    fn moves_turn_back_by_their_state() {
        let mut moves = Moves::default();
        moves.migrating.insert(1, leaves(B, false, false));
        moves.migrating.insert(2, leaves(B, true, false));
        moves.migrating.insert(3, leaves(B, true, true));
        moves.migrating.insert(4, leaves(C, true, false));
        for (slot, returning) in [(5, false), (6, true)] {
            let mark = Importing {
                shard: B,
                node: base::NodeId(B.0),
                mark: MoveId::default(),
                clean: true,
                returning,
                redis: false,
            };
            moves.importing.insert(slot, mark);
        }
        let of_b = [
            (1, TurnBack::End),
            (2, TurnBack::Close),
            (5, TurnBack::Return),
        ];
        assert_eq!(turns_back(&moves, Some(B)), of_b);
        assert_eq!(turns_back(&moves, Some(C)), [(4, TurnBack::Close)]);
        assert_eq!(turns_back(&moves, None).len(), 4);
    }

    #[test]
    fn thousands_turn_back_some_at_once() {
        let mut moves = Moves::default();
        for slot in 0..4096 {
            moves.migrating.insert(slot, leaves(B, true, false));
        }
        let mut turns = 0;
        loop {
            let steps = turns_back(&moves, Some(B));
            if steps.is_empty() {
                break;
            }
            assert!(steps.len() <= TURNS_BACK);
            for (slot, _) in steps {
                moves.migrating.insert(slot, leaves(B, true, true));
            }
            turns += 1;
        }
        assert_eq!(turns, 4096 / TURNS_BACK);
    }
}
