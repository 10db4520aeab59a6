//! What the shard's record says of slots in motion (rules M): marks, lends, hand-overs, titles.
//!
//! Owns the fields and their codec. A key is *lent* before it is sent, the target's commit decides, and
//! the records of both ends tell every later leader. Never: decides a change ([`state`] carries out
//! what the shard's leader decided). Invariants: an id is used once; a slot has at most one mark of
//! each side and at most one hand-over.
//!
//! [`state`]: ../../state/index.html

use super::bytes::{Reader, Writer};
use super::outside::Outside;
use base::ids::Incarnation;
use base::mutation::{self, Mutation};
use base::ShardId;
use cluster_bus::slot::SLOT_COUNT;
use cluster_bus::{NodeId, SlotSet};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Names a mark, a lend or a hand-over for ever (M2, M6): the shard whose leader made it, then a number
/// that grows with every one of that shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MoveId {
    pub shard: ShardId,
    pub number: MoveNumber,
}

/// Incarnation, term and a counter of the term: ordered as they were given out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MoveNumber {
    pub incarnation: Incarnation,
    pub term: u64,
    pub n: u64,
}

impl MoveId {
    /// Bytes of an encoded id.
    pub const LEN: usize = 20 + 8 + 8 + 8;

    pub fn encode(self) -> [u8; MoveId::LEN] {
        let mut out = Writer::default();
        put_id(&mut out, self);
        out.0.try_into().expect("an id has one length")
    }

    pub fn decode(bytes: &[u8]) -> Option<MoveId> {
        let mut reader = Reader(bytes);
        let id = take_id(&mut reader)?;
        reader.end()?;
        Some(id)
    }
}

/// What the owner of a slot asks another shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkQuestion {
    /// M8: the mark under which it imports the slot.
    Which,
    /// M18: the same, of an empty slot that is given away: it sets a mark where it has none, unless it has keys of
    /// the slot.
    Wanted,
}

/// M6: this shard sends the keys of a slot to another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migrating {
    pub shard: ShardId,
    /// As SETSLOT named it: it stands for its shard.
    pub node: NodeId,
    /// The target's mark; none: not bound yet.
    pub mark: Option<MoveId>,
    /// M11: the move runs backwards.
    pub closing: bool,
    /// M9: the node is a real Redis: nothing is agreed with it.
    pub redis: bool,
}

/// M6: this shard receives the keys of a slot from another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Importing {
    pub shard: ShardId,
    pub node: NodeId,
    pub mark: MoveId,
    /// The slot had no key here when the mark was set.
    pub clean: bool,
    /// M11: its keys go back.
    pub returning: bool,
    /// M9: the node is a real Redis: nothing is agreed with it.
    pub redis: bool,
}

/// M1: keys that are on their way to another shard, and frozen here until it has decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lend {
    pub slot: u16,
    pub to: ShardId,
    pub mark: Option<MoveId>,
    /// The database that the keys are in; 0 in a cluster.
    pub db: u32,
    pub keys: Vec<Box<[u8]>>,
    /// M26: they go to this server, and to no shard.
    pub outside: Option<Outside>,
}

/// M18: a slot that this shard has given up for another one, which has not taken it for all this shard
/// knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Departed {
    pub id: MoveId,
    pub to: ShardId,
    pub node: NodeId,
    pub mark: Option<MoveId>,
    /// The slot's title here.
    pub title: u32,
}

/// A value on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parcel {
    pub key: Box<[u8]>,
    /// Unix milliseconds.
    pub expiry: Option<i64>,
    /// As DUMP shows it: type, value, version, checksum.
    pub payload: Vec<u8>,
}

/// What a client of MIGRATE has given for the target (M24).
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Credentials {
    /// Neither AUTH nor AUTH2.
    #[default]
    None,
    Password(Vec<u8>),
    User(Vec<u8>, Vec<u8>),
    /// No client asks: a shard gives back what it has taken (M11).
    Shard,
}

/// A password is never printed.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials")
    }
}

/// What a lend brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cargo {
    pub slot: u16,
    pub mark: Option<MoveId>,
    /// Keys of the same names are replaced.
    pub replace: bool,
    pub credentials: Credentials,
    pub parcels: Vec<Parcel>,
}

/// How a key stands at the shard that was asked for it (M15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// Not there, and never again under the mark that was asked for.
    Absent,
    Present,
    Lent(MoveId),
    /// No such mark, or it is about to end.
    NoMark,
}

/// M2: what this shard has decided about the lends and hand-overs of another one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// At or below it nothing is begun or decided again.
    pub floor: MoveNumber,
    /// Received; of a lend the positions of the keys that were refused.
    pub done: BTreeMap<MoveNumber, Vec<u32>>,
    /// Refused for ever.
    pub void: BTreeSet<MoveNumber>,
}

/// How a lend or a hand-over of another shard stands here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Below the floor: its shard has ended it.
    Closed,
    Done(Vec<u32>),
    Void,
    Open,
}

impl Ledger {
    pub fn decision(&self, number: MoveNumber) -> Decision {
        if let Some(refused) = self.done.get(&number) {
            return Decision::Done(refused.clone());
        }
        if self.void.contains(&number) {
            return Decision::Void;
        }
        match number <= self.floor && !mutation::is(Mutation::FloorForgotten) {
            true => Decision::Closed,
            false => Decision::Open,
        }
    }

    /// The other shard has ended all that lies at or below.
    pub fn raise_floor(&mut self, floor: MoveNumber) {
        if floor > self.floor {
            self.floor = floor;
            self.done.retain(|number, _| *number > floor);
            self.void.retain(|number| *number > floor);
        }
    }
}

/// How often each slot has changed shards, as far as this shard had to do with it (M21).
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Titles(Option<Arc<[u32]>>);

impl std::fmt::Debug for Titles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.runs()).finish()
    }
}

impl Titles {
    pub fn of(&self, slot: u16) -> u32 {
        self.0.as_ref().map_or(0, |all| all[usize::from(slot)])
    }

    pub fn set(&mut self, slot: u16, title: u32) {
        if self.of(slot) == title {
            return;
        }
        let all = self
            .0
            .get_or_insert_with(|| vec![0; usize::from(SLOT_COUNT)].into());
        Arc::make_mut(all)[usize::from(slot)] = title;
    }

    fn is_empty(&self) -> bool {
        self.0
            .as_ref()
            .is_none_or(|all| all.iter().all(|t| *t == 0))
    }

    /// Runs of slots with one title: first, last, title; those of title 0 are left out.
    pub fn runs(&self) -> Vec<(u16, u16, u32)> {
        let mut runs: Vec<(u16, u16, u32)> = Vec::new();
        for slot in 0..SLOT_COUNT {
            match (self.of(slot), runs.last_mut()) {
                (0, _) => {}
                (title, Some(run)) if run.2 == title && run.1 + 1 == slot => run.1 = slot,
                (title, _) => runs.push((slot, slot, title)),
            }
        }
        runs
    }
}

/// What other shards say of slots that this one is to gain (M12).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owners {
    /// Those that were asked for.
    pub asked: SlotSet,
    /// Those that another shard has.
    pub owned: SlotSet,
    /// Those that another shard gives to a third one, or may get.
    pub reserved: SlotSet,
    /// The highest title of each that another shard knows.
    pub titles: Titles,
    /// How many shards have answered, and how many could not be asked: all their nodes have failed.
    pub answered: usize,
    pub failed: usize,
}

/// Everything of the record that is about slots in motion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moves {
    pub migrating: BTreeMap<u16, Migrating>,
    pub importing: BTreeMap<u16, Importing>,
    pub lends: BTreeMap<MoveId, Lend>,
    pub departed: BTreeMap<u16, Departed>,
    pub ledgers: BTreeMap<ShardId, Ledger>,
    pub titles: Titles,
    /// M28: the shard that took this one's last slot.
    pub follows: Option<ShardId>,
    /// M9: what the builds of all members can do, and of all that will ever be members: [`crate::features`].
    pub features: u32,
}

impl Moves {
    pub fn is_empty(&self) -> bool {
        *self == Moves::default() || (self.has_no_map() && self.titles.is_empty())
    }

    fn has_no_map(&self) -> bool {
        self.migrating.is_empty()
            && self.importing.is_empty()
            && self.lends.is_empty()
            && self.departed.is_empty()
            && self.ledgers.is_empty()
            && self.follows.is_none()
            && self.features == 0
    }

    /// Slots about which a command needs to know more than which shard owns them.
    pub fn slots(&self) -> SlotSet {
        let marked = self.migrating.keys().chain(self.importing.keys());
        let lent = self.lends.values().map(|lend| lend.slot);
        marked
            .chain(self.departed.keys())
            .copied()
            .chain(lent)
            .collect()
    }

    /// Whether the slot is one of [`Moves::slots`].
    pub fn holds(&self, slot: u16) -> bool {
        self.is_open(slot) || self.lends.values().any(|lend| lend.slot == slot)
    }

    /// How a lend or hand-over of another shard stands here.
    pub fn decision(&self, id: MoveId) -> Decision {
        let ledger = self.ledgers.get(&id.shard);
        ledger.map_or(Decision::Open, |ledger| ledger.decision(id.number))
    }

    /// Whether the slot has a mark of either side.
    pub fn has_mark(&self, slot: u16) -> bool {
        self.migrating.contains_key(&slot) || self.importing.contains_key(&slot)
    }

    /// Whether a move of the slot is not at its end: a mark, or a hand-over that was not taken.
    pub fn is_open(&self, slot: u16) -> bool {
        self.has_mark(slot) || self.departed.contains_key(&slot)
    }

    /// The shards that a mark, a lend or an open hand-over names (M13).
    pub fn others(&self) -> BTreeSet<ShardId> {
        let marks = self.migrating.values().map(|mark| mark.shard);
        let marks = marks.chain(self.importing.values().map(|mark| mark.shard));
        let lends = self.lends.values().filter(|lend| lend.outside.is_none());
        let lends = lends.map(|lend| lend.to);
        let departed = self.departed.values().map(|departed| departed.to);
        marks.chain(lends).chain(departed).collect()
    }

    /// A node of that shard, or of any that a move names, as the operator has named it.
    pub fn node_of(&self, shard: Option<ShardId>) -> Option<NodeId> {
        let marks = self.migrating.values().map(|m| (m.shard, m.node));
        let marks = marks.chain(self.importing.values().map(|m| (m.shard, m.node)));
        let mut all = marks.chain(self.departed.values().map(|d| (d.to, d.node)));
        all.find(|(of, _)| shard.is_none_or(|shard| shard == *of))
            .map(|(_, node)| node)
    }

    /// Whether this shard owes another one an answer, or waits for one of it (M13, I9).
    pub fn owes(&self) -> bool {
        !(self.migrating.is_empty()
            && self.importing.is_empty()
            && self.lends.is_empty()
            && self.departed.is_empty())
    }

    /// M28: whether anything here goes on only by a word of that shard. An unbound mark does not, nor one under
    /// which no key has come: STABLE ends them here alone (M11).
    pub fn waits_for(&self, shard: ShardId, has_keys: impl Fn(u16) -> bool) -> bool {
        let mut leaving = self.migrating.values();
        let mut coming = self.importing.iter();
        let mut departed = self.departed.values();
        let mut lends = self.lends.values();
        leaving.any(|m| m.shard == shard && m.mark.is_some() && !m.redis)
            || coming.any(|(slot, m)| {
                m.shard == shard && m.clean && !m.redis && (m.returning || has_keys(*slot))
            })
            || departed.any(|d| d.to == shard)
            || lends.any(|lend| lend.outside.is_none() && lend.to == shard)
    }

    pub(super) fn encode(&self, out: &mut Writer) {
        out.count(self.migrating.len());
        for (slot, mark) in &self.migrating {
            out.u16(*slot);
            out.raw(&mark.shard.0);
            out.raw(&mark.node.0);
            put_option(out, mark.mark);
            out.u8(u8::from(mark.closing) | u8::from(mark.redis) << 1);
        }
        out.count(self.importing.len());
        for (slot, mark) in &self.importing {
            out.u16(*slot);
            out.raw(&mark.shard.0);
            out.raw(&mark.node.0);
            put_id(out, mark.mark);
            let (clean, returning) = (u8::from(mark.clean), u8::from(mark.returning));
            out.u8(clean | returning << 1 | u8::from(mark.redis) << 2);
        }
        out.count(self.lends.len());
        for (id, lend) in &self.lends {
            put_id(out, *id);
            lend.encode(out);
        }
        out.count(self.departed.len());
        for (slot, departed) in &self.departed {
            out.u16(*slot);
            put_id(out, departed.id);
            out.raw(&departed.to.0);
            out.raw(&departed.node.0);
            put_option(out, departed.mark);
            out.u32(departed.title);
        }
        out.count(self.ledgers.len());
        for (shard, ledger) in &self.ledgers {
            out.raw(&shard.0);
            ledger.encode(out);
        }
        let runs = self.titles.runs();
        out.count(runs.len());
        for (first, last, title) in runs {
            out.u16(first);
            out.u16(last);
            out.u32(title);
        }
        match self.follows {
            None => out.u8(0),
            Some(shard) => {
                out.u8(1);
                out.raw(&shard.0);
            }
        }
        out.u32(self.features);
    }

    pub(super) fn decode(from: &mut Reader<'_>) -> Option<Moves> {
        let migrating = from.many(|from| {
            let slot = take_slot(from)?;
            let (shard, node, mark) = (take_shard(from)?, take_node(from)?, take_option(from)?);
            let flags = take_flags(from, 3)?;
            let mark = Migrating {
                shard,
                node,
                mark,
                closing: flags & 1 != 0,
                redis: flags & 2 != 0,
            };
            Some((slot, mark))
        })?;
        let importing = from.many(|from| {
            let slot = take_slot(from)?;
            let (shard, node, mark) = (take_shard(from)?, take_node(from)?, take_id(from)?);
            let flags = take_flags(from, 7)?;
            let mark = Importing {
                shard,
                node,
                mark,
                clean: flags & 1 != 0,
                returning: flags & 2 != 0,
                redis: flags & 4 != 0,
            };
            Some((slot, mark))
        })?;
        let lends = from.many(|from| Some((take_id(from)?, Lend::take(from)?)))?;
        let departed = from.many(|from| {
            Some((
                take_slot(from)?,
                Departed {
                    id: take_id(from)?,
                    to: take_shard(from)?,
                    node: take_node(from)?,
                    mark: take_option(from)?,
                    title: from.u32()?,
                },
            ))
        })?;
        let ledgers = from.many(|from| Some((take_shard(from)?, Ledger::take(from)?)))?;
        let mut titles = Titles::default();
        for (first, last, title) in
            from.many(|from| Some((take_slot(from)?, take_slot(from)?, from.u32()?)))?
        {
            (first..=last).for_each(|slot| titles.set(slot, title));
        }
        let follows = match from.u8()? {
            0 => None,
            1 => Some(take_shard(from)?),
            _ => return None,
        };
        Some(Moves {
            migrating: migrating.into_iter().collect(),
            importing: importing.into_iter().collect(),
            lends: lends.into_iter().collect(),
            departed: departed.into_iter().collect(),
            ledgers: ledgers.into_iter().collect(),
            titles,
            follows,
            features: from.u32()?,
        })
    }
}

impl Lend {
    fn encode(&self, out: &mut Writer) {
        out.u16(self.slot);
        out.raw(&self.to.0);
        put_option(out, self.mark);
        out.count(self.keys.len());
        self.keys.iter().for_each(|key| out.bytes(key));
        // A cluster's lends keep the form that every build since the first can read.
        match (&self.outside, self.db) {
            (None, _) => out.u8(0),
            (Some(outside), 0) => {
                out.u8(1);
                outside.encode(out);
            }
            (Some(outside), db) => {
                out.u8(2);
                outside.encode(out);
                out.u32(db);
            }
        }
    }

    fn take(from: &mut Reader<'_>) -> Option<Lend> {
        let (slot, to, mark) = (take_slot(from)?, take_shard(from)?, take_option(from)?);
        let keys = from.many(|from| from.bytes().map(Box::from))?;
        let (outside, db) = match from.u8()? {
            0 => (None, 0),
            1 => (Some(Outside::take(from)?), 0),
            2 => (Some(Outside::take(from)?), from.u32()?),
            _ => return None,
        };
        Some(Lend {
            slot,
            to,
            mark,
            db,
            keys,
            outside,
        })
    }

    /// The bytes as an effect has them.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::default();
        self.encode(&mut out);
        out.0
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<Lend> {
        let mut reader = Reader(bytes);
        let lend = Lend::take(&mut reader)?;
        reader.end()?;
        Some(lend)
    }
}

impl Ledger {
    fn encode(&self, out: &mut Writer) {
        put_number(out, self.floor);
        out.count(self.done.len());
        for (number, refused) in &self.done {
            put_number(out, *number);
            out.count(refused.len());
            refused.iter().for_each(|at| out.u32(*at));
        }
        out.count(self.void.len());
        self.void.iter().for_each(|number| put_number(out, *number));
    }

    fn take(from: &mut Reader<'_>) -> Option<Ledger> {
        let floor = take_number(from)?;
        let done = from.many(|from| Some((take_number(from)?, from.many(Reader::u32)?)))?;
        let void = from.many(take_number)?;
        Some(Ledger {
            floor,
            done: done.into_iter().collect(),
            void: void.into_iter().collect(),
        })
    }
}

fn put_number(out: &mut Writer, number: MoveNumber) {
    out.u64(number.incarnation.0);
    out.u64(number.term);
    out.u64(number.n);
}

fn put_id(out: &mut Writer, id: MoveId) {
    out.raw(&id.shard.0);
    put_number(out, id.number);
}

fn put_option(out: &mut Writer, id: Option<MoveId>) {
    match id {
        None => out.u8(0),
        Some(id) => {
            out.u8(1);
            put_id(out, id);
        }
    }
}

fn take_number(from: &mut Reader<'_>) -> Option<MoveNumber> {
    Some(MoveNumber {
        incarnation: Incarnation(from.u64()?),
        term: from.u64()?,
        n: from.u64()?,
    })
}

fn take_id(from: &mut Reader<'_>) -> Option<MoveId> {
    Some(MoveId {
        shard: take_shard(from)?,
        number: take_number(from)?,
    })
}

fn take_option(from: &mut Reader<'_>) -> Option<Option<MoveId>> {
    match from.u8()? {
        0 => Some(None),
        1 => take_id(from).map(Some),
        _ => None,
    }
}

fn take_slot(from: &mut Reader<'_>) -> Option<u16> {
    from.u16().filter(|slot| *slot < SLOT_COUNT)
}

fn take_shard(from: &mut Reader<'_>) -> Option<ShardId> {
    from.array().map(ShardId)
}

fn take_node(from: &mut Reader<'_>) -> Option<NodeId> {
    from.array().map(NodeId)
}

/// Bits of which only those of `known` may be set.
fn take_flags(from: &mut Reader<'_>, known: u8) -> Option<u8> {
    from.u8().filter(|flags| flags & !known == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Record;
    use proptest::prelude::*;

    fn id(n: u64) -> MoveId {
        MoveId {
            shard: ShardId([n as u8; 20]),
            number: number(n),
        }
    }

    fn number(n: u64) -> MoveNumber {
        MoveNumber {
            incarnation: Incarnation(1),
            term: n,
            n,
        }
    }

    fn moves() -> Moves {
        let (shard, node) = (ShardId([7; 20]), NodeId([8; 20]));
        let mut moves = Moves::default();
        let mark = Migrating {
            shard,
            node,
            mark: Some(id(3)),
            closing: true,
            redis: true,
        };
        moves.migrating.insert(5, mark);
        let mark = Importing {
            shard,
            node,
            mark: id(4),
            clean: true,
            returning: true,
            redis: true,
        };
        moves.importing.insert(6, mark);
        let lend = Lend {
            slot: 5,
            to: shard,
            mark: None,
            db: 0,
            keys: vec![b"a".as_slice().into(), b"".as_slice().into()],
            outside: None,
        };
        moves.lends.insert(id(9), lend.clone());
        let outside = Outside {
            host: b"example".as_slice().into(),
            port: 6379,
            db: 3,
            client: Some(17),
            run: b"abc".as_slice().into(),
        };
        let lend = Lend {
            outside: Some(outside),
            ..lend
        };
        moves.lends.insert(id(10), lend.clone());
        moves.lends.insert(id(11), Lend { db: 7, ..lend });
        let departed = Departed {
            id: id(2),
            to: shard,
            node,
            mark: Some(id(1)),
            title: 77,
        };
        moves.departed.insert(16383, departed);
        let mut ledger = Ledger::default();
        ledger.done.insert(number(5), vec![0, 3]);
        ledger.void.insert(number(6));
        ledger.raise_floor(number(4));
        moves.ledgers.insert(shard, ledger);
        (100..200).for_each(|slot| moves.titles.set(slot, 3));
        moves.follows = Some(shard);
        moves.features = 5;
        moves
    }

    #[test]
    fn a_record_with_moves_round_trips() {
        let record = Record {
            moves: moves(),
            ..Record::founded(ShardId([1; 20]), NodeId([2; 20]))
        };
        let bytes = record.encode();
        assert_eq!(bytes[0], 2);
        assert_eq!(Record::decode(&bytes), Some(record));
        for cut in 1..bytes.len() - Record::LEN {
            assert_eq!(Record::decode(&bytes[..bytes.len() - cut]), None, "{cut}");
        }
    }

    #[test]
    fn a_plain_record_keeps_the_first_version() {
        let mut record = Record::founded(ShardId([1; 20]), NodeId([2; 20]));
        record.moves.titles.set(3, 1);
        record.moves.titles.set(3, 0);
        assert_eq!(record.encode().len(), Record::LEN);
    }

    #[test]
    fn below_the_floor_all_is_closed() {
        let ledger = &moves().ledgers[&ShardId([7; 20])];
        let table = [
            (4, Decision::Closed),
            (5, Decision::Done(vec![0, 3])),
            (6, Decision::Void),
            (7, Decision::Open),
        ];
        for (n, decision) in table {
            assert_eq!(ledger.decision(number(n)), decision, "{n}");
        }
        let mut ledger = ledger.clone();
        ledger.raise_floor(number(6));
        ledger.raise_floor(number(2));
        for n in [5, 6] {
            assert_eq!(ledger.decision(number(n)), Decision::Closed);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_record_or_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut record = vec![0u8; Record::LEN];
            record[0] = 2;
            record.extend(bytes);
            let _ = Record::decode(&record);
            let _ = Lend::from_bytes(&record[Record::LEN..]);
        }
    }
}
