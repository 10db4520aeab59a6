//! What the shards have committed, carried out once more, and what must hold between them at every moment
//! while slots move (I1 to I4, I7, the floors of M2).
//!
//! Owns a copy of each shard, which is brought forward by the logs of its members, and what has
//! become of every lend. Never: looks at what a leader has executed and not committed, or changes a member.
//! Why it sees enough: what one shard tells another rests on entries that its leader knows committed, and each
//! member is followed after every step of a turn, before what that step says is carried away; so what is seen of all shards together is
//! a state that they may have been in, and a rule that holds at every moment holds for it.

use base::ids::GroupId;
use base::ShardId;
use cluster_bus::SlotSet;
use effect::{parse_entry, Effect, Staged, Stager, Unit};
use keyspace::{Keyspace, Layout};
use raft::eraftpb::{Entry, EntryType};
use shard::Shard;
use state::{apply_unit, op, Pacer, StateMachine, PART_BYTES};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use storage::StorageError;
use topology::moves::{Decision, Lend};
use topology::{MoveId, MoveNumber, Record};

use crate::disk::SimDisk;
use crate::machine::{guarded, Ended};

/// A shard as far as it is known to have committed.
struct Copy {
    data: StateMachine,
    stager: Stager,
    /// The index that is carried out next.
    next: u64,
    /// The record from this index on.
    records: BTreeMap<u64, Arc<Record>>,
}

/// What the target of a lend has decided, ever.
#[derive(Default)]
struct Fate {
    /// It has come, but for the keys at these positions.
    done: Option<Vec<u32>>,
    void: bool,
}

#[derive(Default)]
pub struct Committed {
    copies: BTreeMap<GroupId, Copy>,
    fates: BTreeMap<MoveId, Fate>,
    /// Slots that have an owner from now on.
    owned: SlotSet,
    /// What the FLUSHALLs of shards have deleted.
    pub flushed: Vec<(GroupId, Vec<Vec<u8>>)>,
}

/// How a key stands at one shard.
struct Held<'a> {
    shard: ShardId,
    lent: Option<(MoveId, &'a Lend, u32)>,
}

impl Committed {
    /// From now on every slot of the cluster has an owner.
    pub fn formed(&mut self, slots: SlotSet) {
        self.owned = slots;
    }

    /// The record of a group, as of the last entry that was seen committed.
    pub fn record(&self, group: GroupId) -> Option<&Arc<Record>> {
        self.copies.get(&group).map(|copy| copy.data.record())
    }

    /// I9: what of these groups' moves waits for a word of that group's shard, which no member can say any more.
    pub fn waits_for(
        &self,
        group: GroupId,
        others: impl Iterator<Item = GroupId>,
    ) -> Option<String> {
        let ended = self.record(group)?.shard;
        let mut waits = others.filter_map(|other| {
            let copy = self.copies.get(&other)?;
            let moves = &copy.data.record().moves;
            let has_keys = |slot: u16| copy.data.keyspace().count_in_slot(slot) > 0;
            let closing = moves.migrating.iter();
            let closing = closing.filter(|(_, m)| m.shard == ended && m.mark.is_some());
            let closing = closing.map(|(slot, m)| format!("slot {slot}: {m:?}"));
            let departed = moves.departed.iter().filter(|(_, d)| d.to == ended);
            let departed = departed.map(|(slot, d)| format!("slot {slot}: {d:?}"));
            let lends = moves.lends.values().filter(|lend| lend.to == ended);
            let lends = lends.map(|lend| format!("{lend:?}"));
            let coming = moves.importing.iter();
            let coming = coming.filter(|(slot, m)| m.shard == ended && m.clean && has_keys(**slot));
            let coming = coming.map(|(slot, m)| format!("slot {slot} with keys: {m:?}"));
            let mut all = closing.chain(departed).chain(lends).chain(coming);
            all.next()
                .map(|what| format!("{:04x} has {what}", other.0 & 0xffff))
        });
        waits.next()
    }

    #[cfg(test)]
    pub fn seen(&self, group: GroupId) -> u64 {
        self.copies.get(&group).map_or(0, |copy| copy.next - 1)
    }

    /// Looks at a member after its turn. `keys`: those that clients use.
    pub fn look(&mut self, shard: &Shard<SimDisk>, keys: &[Vec<u8>]) -> Result<(), String> {
        self.follow(shard, keys)?;
        look_at_record(&self.copies[&shard.identity().group], shard)?;
        self.look_at_frozen(shard)
    }

    /// Carries out what a member knows committed; in the middle of a turn, too: it may tell others.
    pub fn follow(&mut self, shard: &Shard<SimDisk>, keys: &[Vec<u8>]) -> Result<(), String> {
        let (group, commit) = (shard.identity().group, shard.group().commit());
        let mut copy = self.copies.remove(&group).unwrap_or_else(|| copy_of(shard));
        let read = read(shard, copy.next, commit);
        for entry in read {
            let checked = self.carry_out(group, &mut copy, &entry);
            self.copies.insert(group, copy);
            checked?;
            self.look_at_owners()?;
            self.look_at_floors()?;
            keys.iter().try_for_each(|key| self.look_at_key(key))?;
            copy = self.copies.remove(&group).expect("it was just put there");
        }
        self.copies.insert(group, copy);
        Ok(())
    }

    /// M5: at every member what its record says is lent is frozen, and none shows what has come to another shard.
    fn look_at_frozen(&self, shard: &Shard<SimDisk>) -> Result<(), String> {
        let data = shard.data();
        for (id, lend) in &data.record().moves.lends {
            let come = self.fates.get(id).is_some_and(|fate| fate.done.is_some());
            for bytes in &lend.keys {
                let name = String::from_utf8_lossy(bytes);
                match data.frozen_in(lend.db, bytes) {
                    None => return Err(format!("M5: {name} is lent, and not frozen")),
                    Some(frozen) if come && frozen.readable => {
                        return Err(format!("M5: {name} is shown, and has come elsewhere"));
                    }
                    Some(_) => {}
                }
            }
        }
        Ok(())
    }

    fn carry_out(&mut self, group: GroupId, copy: &mut Copy, entry: &Entry) -> Result<(), String> {
        copy.next = entry.index + 1;
        if entry.get_entry_type() != EntryType::EntryNormal {
            return Ok(());
        }
        let body = parse_entry(&entry.data).map_err(|e| e.to_string())?;
        // A part that does not follow the one before it is void for every member (T8).
        match copy.stager.take(entry.term, body) {
            Err(_) | Ok(Staged::Nothing) => {}
            Ok(Staged::Units(units)) => {
                for unit in units {
                    self.unit(group, copy, unit.map_err(|e| e.to_string())?)?;
                }
            }
            Ok(Staged::Whole(body)) => self.unit(group, copy, Unit::new(&body))?,
        }
        let last = copy.records.last_key_value().map(|(_, record)| record);
        if last.is_none_or(|last| !Arc::ptr_eq(last, copy.data.record())) {
            let record = Arc::clone(copy.data.record());
            copy.records.insert(entry.index, record);
        }
        Ok(())
    }

    /// I3, I4: what a unit does to lends is what may become of them.
    fn unit(&mut self, group: GroupId, copy: &mut Copy, unit: Unit<'_>) -> Result<(), String> {
        let mut effects = unit.clone();
        let mut effect = Effect::default();
        let mut come = Vec::new();
        while effects.next_into(&mut effect).map_err(|e| e.to_string())? {
            if effect.op == op::FLUSHALL {
                self.flushed.push((group, keys_of(copy)));
            }
            let id = effect.args.first().and_then(|bytes| MoveId::decode(bytes));
            let Some(id) = id.filter(|_| OF_LENDS.contains(&effect.op)) else {
                continue;
            };
            let fate = self.fates.entry(id).or_default();
            let name = show(id);
            match effect.op {
                op::LEND_RECEIVED => {
                    if fate.void || fate.done.is_some() {
                        return Err(format!("I3: the lend {name} comes, and was decided before"));
                    }
                    let refused = effect.args.get(2).copied().unwrap_or_default();
                    let refused: Vec<u32> = refused
                        .chunks_exact(4)
                        .map(|at| u32::from_le_bytes(at.try_into().expect("four bytes")))
                        .collect();
                    fate.done = Some(refused.clone());
                    come.push((id, refused));
                }
                op::LEND_VOID if fate.done.is_some() => {
                    return Err(format!(
                        "I3: the lend {name} is refused, and has come before"
                    ));
                }
                op::LEND_VOID => fate.void = true,
                op::LEND_DONE if fate.done.is_none() => {
                    return Err(format!("I3: the lend {name} ends, and has not come"));
                }
                op::LEND_RETURN if fate.done.is_some() => {
                    return Err(format!("I2: the lend {name} is returned, and has come"));
                }
                op::LEND_RETURN if !fate.void => {
                    return Err(format!(
                        "I3: the lend {name} is returned, and was not refused"
                    ));
                }
                _ => {}
            }
        }
        let applied =
            guarded(|| apply_unit(&mut copy.data, unit, &mut Pacer::default(), &mut || {}));
        match applied {
            Ended::Fine(()) => {}
            Ended::Stopped(why) | Ended::Panicked(why) => {
                return Err(format!("what has committed can't be carried out: {why}"));
            }
            Ended::Crashed => unreachable!("a copy has no disk"),
        }
        come.iter()
            .try_for_each(|(id, refused)| self.look_at_come(copy, *id, refused))
    }

    /// I4: what has come is what was lent.
    fn look_at_come(&self, copy: &Copy, id: MoveId, refused: &[u32]) -> Result<(), String> {
        let source = self
            .copies
            .values()
            .find(|c| c.data.record().shard == id.shard);
        let lend = source.and_then(|c| Some((c, c.data.record().moves.lends.get(&id)?)));
        let Some((source, lend)) = lend.filter(|(_, lend)| lend.to == copy.data.record().shard)
        else {
            return Err(format!(
                "I2: the lend {} comes, and is not committed",
                show(id)
            ));
        };
        for (at, bytes) in (0u32..).zip(&lend.keys) {
            let digest = |of: &Copy| {
                let key = of.data.keyspace().key(bytes);
                of.data.keyspace().digest_key(0, &key)
            };
            let sent = source.data.keyspace().key(bytes);
            let sent = source.data.keyspace().get(0, &sent);
            let mortal = sent.is_some_and(|entry| entry.expiry().is_some());
            let (theirs, mine) = (digest(source), digest(copy));
            // M23: what has expired on its way arrives as absent.
            let same = theirs == mine || mortal && mine.is_none();
            if !refused.contains(&at) && !same {
                let key = String::from_utf8_lossy(bytes).into_owned();
                return Err(format!(
                    "I4: {key} of the lend {} is another value",
                    show(id)
                ));
            }
        }
        Ok(())
    }

    /// I1: every slot that ever had an owner is in the slots of one shard, or departed from one to another
    /// that has not taken it.
    fn look_at_owners(&self) -> Result<(), String> {
        let records = || self.copies.values().map(|copy| copy.data.record());
        for slot in self.owned.iter() {
            let owners = records().filter(|record| record.slots.contains(slot));
            let under_way = records().filter(|record| {
                let departed = record.moves.departed.get(&slot);
                departed.is_some_and(|departed| {
                    let target = records().find(|r| r.shard == departed.to);
                    target.is_none_or(|r| r.moves.decision(departed.id) == Decision::Open)
                })
            });
            let (owners, under_way) = (owners.count(), under_way.count());
            if owners + under_way != 1 {
                return Err(format!(
                    "I1: slot {slot} is owned by {owners} shards and on its way from {under_way}"
                ));
            }
        }
        Ok(())
    }

    /// M2: what a shard takes for ended is not open at the one that has lent it, or handed it over.
    fn look_at_floors(&self) -> Result<(), String> {
        for copy in self.copies.values() {
            let record = copy.data.record();
            let lends = record.moves.lends.iter().map(|(id, lend)| (*id, lend.to));
            let departed = record.moves.departed.values().map(|d| (d.id, d.to));
            for (id, to) in lends.chain(departed) {
                let mut others = self.copies.values().map(|c| c.data.record());
                let ledger = others.find(|r| r.shard == to);
                let ledger = ledger.and_then(|r| r.moves.ledgers.get(&record.shard));
                if ledger.is_some_and(|ledger| ledger.floor >= id.number) {
                    return Err(format!("M2: {} is open and below the floor", show(id)));
                }
            }
        }
        Ok(())
    }

    /// I2: a key is at one shard; at two only while it is lent by the one and has come to the other.
    fn look_at_key(&self, bytes: &[u8]) -> Result<(), String> {
        let mut held = self.copies.values().filter_map(|copy| held(copy, bytes));
        let (Some(one), Some(other)) = (held.next(), held.next()) else {
            return Ok(());
        };
        let come = |from: &Held<'_>, to: &Held<'_>| {
            from.lent.is_some_and(|(id, lend, at)| {
                let done = self.fates.get(&id).and_then(|fate| fate.done.as_ref());
                lend.to == to.shard && done.is_some_and(|refused| !refused.contains(&at))
            })
        };
        let alone = held.next().is_none();
        let may = match (one.lent.is_some(), other.lent.is_some()) {
            (true, false) => come(&one, &other),
            (false, true) => come(&other, &one),
            (true, true) | (false, false) => false,
        };
        if alone && may {
            return Ok(());
        }
        let key = String::from_utf8_lossy(bytes);
        Err(format!("I2: {key} is at two shards"))
    }
}

const OF_LENDS: [op::Op; 4] = [
    op::LEND_RECEIVED,
    op::LEND_VOID,
    op::LEND_DONE,
    op::LEND_RETURN,
];

fn copy_of(shard: &Shard<SimDisk>) -> Copy {
    let base = &shard.base().snapshot;
    let mut data = StateMachine::new(Keyspace::new(Layout::Cluster, 7), PART_BYTES);
    data.begin_record(Record::decode(&base.record).unwrap_or_default());
    Copy {
        records: BTreeMap::from([(base.index, Arc::clone(data.record()))]),
        data,
        stager: Stager::default(),
        next: base.index + 1,
    }
}

fn keys_of(copy: &Copy) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    copy.data.keyspace().for_each(0, &mut |entry| {
        keys.push(entry.key().to_vec());
        ControlFlow::Continue(())
    });
    keys
}

/// The entries of a member's log from this one on that have committed, as far as they are written: what rests
/// on them may leave before this member has applied them (T5).
fn read(shard: &Shard<SimDisk>, from: u64, commit: u64) -> Vec<Entry> {
    let mut entries = Vec::new();
    let last = commit.min(shard.log().last_index());
    if from < shard.log().first_index() || from > last {
        return entries;
    }
    let read = shard.log().replay(from, last, |entry| {
        entries.push(entry);
        Ok::<(), StorageError>(())
    });
    read.expect("a running member's log can be read");
    entries
}

/// The key at a shard that may show it: it has the slot, or imports it.
fn held<'a>(copy: &'a Copy, bytes: &[u8]) -> Option<Held<'a>> {
    let (keyspace, record) = (copy.data.keyspace(), copy.data.record());
    let key = keyspace.key(bytes);
    keyspace.get(0, &key)?;
    let comes = record.moves.importing.get(&key.slot);
    if !record.slots.contains(key.slot) && comes.is_none_or(|mark| !mark.clean) {
        return None; // a leftover
    }
    let place = |(id, lend): (&MoveId, &'a Lend)| {
        let at = lend.keys.iter().position(|of| **of == *bytes)?;
        Some((*id, lend, at as u32))
    };
    Some(Held {
        shard: record.shard,
        lent: record.moves.lends.iter().find_map(place),
    })
}

/// I7: a member's record is the one that the log makes.
fn look_at_record(copy: &Copy, shard: &Shard<SimDisk>) -> Result<(), String> {
    let applied = shard.group().applied();
    // A joiner that begins before any entry has the record of the state that it is to be given.
    if applied == 0 || applied >= copy.next || !shard.is_own_copy() {
        return Ok(());
    }
    let made = copy.records.range(..=applied).next_back();
    match made {
        Some((_, made)) if **made != **shard.record() => {
            Err(format!("I7: records differ at applied index {applied}"))
        }
        _ => Ok(()),
    }
}

fn show(id: MoveId) -> String {
    let MoveNumber { term, n, .. } = id.number;
    format!("{term}.{n} of {:02x}", id.shard.0[0])
}
