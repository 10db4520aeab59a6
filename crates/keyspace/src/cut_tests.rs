//! Cuts of a keyspace that changes, against the copy that a model makes at the cut.

use std::collections::{BTreeMap, HashSet};
use std::convert::Infallible;

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::{Key, Layout, Ttl};
use crate::{Scratch, StringRef};

const LAYOUTS: [Layout; 2] = [Layout::Single { databases: 4 }, Layout::Cluster];

/// So many changes of a keyspace prove something.
const CHANGES: usize = 300;

type Keys = BTreeMap<Vec<u8>, (Vec<u8>, Option<i64>)>;

/// A cut that is under way: how the keys were, and those that have been read.
struct Cut {
    reader: CutReader,
    at_cut: Vec<Keys>,
    seen: Vec<Keys>,
}

/// A keyspace, what should be in it, and chance.
struct Bed {
    ks: Keyspace,
    model: Vec<Keys>,
    cut: Option<Cut>,
    rng: StdRng,
    whole_cuts: usize,
}

impl Bed {
    fn new(layout: Layout, seed: u64) -> Bed {
        let ks = Keyspace::new(layout, seed);
        let model = vec![Keys::new(); ks.databases() as usize];
        Bed {
            ks,
            model,
            cut: None,
            rng: StdRng::seed_from_u64(seed),
            whole_cuts: 0,
        }
    }

    /// A name; few of them, so that most are there.
    fn name(&mut self) -> Vec<u8> {
        let n: u32 = self.rng.gen_range(0..200);
        match n % 3 {
            0 => format!("{{tag}}{n}").into_bytes(),
            1 => format!("key:{n:0>300}").into_bytes(),
            _ => format!("key:{n}").into_bytes(),
        }
    }

    fn value(&mut self) -> Vec<u8> {
        let n: u32 = self.rng.gen_range(0..1 << 30);
        let len = match n % 16 {
            0 => self.rng.gen_range(1000..200_000),
            1..=4 => return n.to_string().into_bytes(),
            _ => self.rng.gen_range(0..80),
        };
        vec![n as u8; len]
    }

    fn expiry(&mut self) -> Option<i64> {
        let at = self.rng.gen_range(1..100);
        self.rng.gen_bool(0.5).then_some(at)
    }

    fn change(&mut self) {
        let db = self.rng.gen_range(0..self.ks.databases());
        let at = db as usize;
        match self.rng.gen_range(0..100) {
            0..=24 => {
                let (name, value, expiry) = (self.name(), self.value(), self.expiry());
                let ttl = expiry.map_or(Ttl::Clear, Ttl::At);
                self.ks.set_string(db, &self.ks.key(&name), &value, ttl);
                self.model[at].insert(name, (value, expiry));
            }
            25..=34 => {
                let name = self.name();
                let removed = self.ks.remove(db, &self.ks.key(&name));
                assert_eq!(removed, self.model[at].remove(&name).is_some());
            }
            35..=49 => {
                let (name, expiry) = (self.name(), self.expiry());
                let there = self.ks.set_expiry(db, &self.ks.key(&name), expiry);
                let entry = self.model[at].get_mut(&name);
                assert_eq!(there, entry.is_some());
                entry.into_iter().for_each(|entry| entry.1 = expiry);
            }
            50..=64 => self.write_into(db),
            65..=74 => self.rename(db),
            75..=79 => self.fill(db),
            80..=84 => self.drain(db),
            85..=87 => {
                let now = self.rng.gen_range(0..100);
                while let Some((db, name)) = self.ks.next_expired(now) {
                    assert!(self.ks.remove(db, &self.ks.key(&name)));
                    self.model[db as usize].remove(&name[..]);
                }
            }
            88..=91 => drop(self.ks.maintain(self.rng.gen_range(0..20))),
            92..=94 => {
                let other = self.rng.gen_range(0..self.ks.databases());
                self.ks.swap(db, other);
                self.model.swap(at, other as usize);
            }
            95..=96 => {
                let slot = self.ks.key(b"{tag}").slot;
                let keys = self.ks.flush_slot(slot);
                let before = self.model[0].len();
                if self.ks.is_cluster() {
                    self.model[0].retain(|name, _| !name.starts_with(b"{tag}"));
                }
                assert_eq!(keys, (before - self.model[0].len()) as u64);
            }
            97 => {
                self.ks.flush(Some(db));
                self.model[at].clear();
            }
            98 => drop(self.ks.take_garbage()),
            _ if self.rng.gen_bool(0.3) => {
                self.ks.flush(None);
                self.model.iter_mut().for_each(Keys::clear);
            }
            _ => {}
        }
    }

    /// As APPEND and SETRANGE.
    fn write_into(&mut self, db: u32) {
        let (name, bytes) = (self.name(), self.value());
        let key = self.ks.key(&name);
        let len = self.ks.string_len(db, &key).unwrap_or(0);
        let offset = match self.rng.gen_bool(0.5) {
            true => len,
            false => self.rng.gen_range(0..=len),
        };
        self.ks.write_string(db, &key, offset, &bytes);
        if !bytes.is_empty() {
            let (text, _) = self.model[db as usize].entry(name).or_default();
            text.resize(text.len().max(offset + bytes.len()), 0);
            text[offset..offset + bytes.len()].copy_from_slice(&bytes);
        }
    }

    fn rename(&mut self, db: u32) {
        let (from, to) = (self.name(), self.name());
        let keys = &mut self.model[db as usize];
        let done = {
            let (from, to) = (self.ks.key(&from), self.ks.key(&to));
            self.ks.rename(db, &from, &to)
        };
        let value = keys.remove(&from);
        assert_eq!(done, value.is_some());
        value
            .into_iter()
            .for_each(|value| drop(keys.insert(to.clone(), value)));
    }

    /// So many keys that tables grow.
    fn fill(&mut self, db: u32) {
        let tag = if self.rng.gen_bool(0.5) { "{tag}" } else { "" };
        for n in 0..self.rng.gen_range(0..1500) {
            let name = format!("{tag}fill{n}").into_bytes();
            self.ks
                .set_int(db, &self.ks.key(&name), n.into(), Ttl::Clear);
            self.model[db as usize].insert(name, (n.to_string().into_bytes(), None));
        }
    }

    /// So many go that tables shrink.
    fn drain(&mut self, db: u32) {
        let keys = &mut self.model[db as usize];
        let names: Vec<Vec<u8>> = keys.keys().cloned().collect();
        let first = self.rng.gen_range(0..=names.len());
        for name in &names[first..] {
            assert!(self.ks.remove(db, &self.ks.key(name)));
            keys.remove(name);
        }
    }

    fn begin(&mut self) {
        let reader = self.ks.begin_cut();
        let sizes = (0..).zip(&self.model).filter(|(_, keys)| !keys.is_empty());
        let sizes: Vec<DbSize> = sizes
            .map(|(db, keys)| DbSize {
                db,
                keys: keys.len() as u64,
                expires: keys.values().filter(|(_, at)| at.is_some()).count() as u64,
            })
            .collect();
        assert_eq!(reader.sizes(), sizes);
        self.cut = Some(Cut {
            reader,
            at_cut: self.model.clone(),
            seen: vec![Keys::new(); self.model.len()],
        });
    }

    /// Reads what has left; what is wrong with it.
    fn read(&mut self) -> Result<(), &'static str> {
        while let Some(part) = self.ks.take_cut_part() {
            let cut = self.cut.as_mut().ok_or("a part of no cut")?;
            let seen = &mut cut.seen;
            cut.reader.read_part(&part, &mut |entry| {
                let value = entry.value.string().unwrap();
                let value = value.text(&mut Scratch::default()).to_vec();
                let (at_cut, seen) = (&cut.at_cut[entry.db as usize], &mut seen[entry.db as usize]);
                let value = (value, entry.expiry);
                match at_cut.get(entry.key) {
                    None => return Err("a key that was not there"),
                    Some(before) if *before != value => return Err("a key as it was not"),
                    Some(_) => {}
                }
                match seen.insert(entry.key.to_vec(), value) {
                    None => Ok(()),
                    Some(_) => Err("a key twice"),
                }
            })?;
        }
        Ok(())
    }

    /// One step of what is under way, or a new cut.
    fn step(&mut self) -> Result<(), &'static str> {
        if self.ks.may_cut() && self.cut.is_none() {
            self.begin();
            return Ok(());
        }
        let may_fail = self.rng.gen_range(0..60) == 0;
        if may_fail && self.cut.take().is_some() {
            self.ks.give_up_cut();
            return Ok(());
        }
        let budget = CutBudget {
            bytes: self.rng.gen_range(1..4000),
            chains: self.rng.gen_range(1..30),
        };
        let more = self.ks.walk(budget);
        if self.rng.gen_bool(0.5) || !more {
            self.read()?;
        }
        match self.cut.take() {
            Some(cut) if more => self.cut = Some(cut),
            Some(cut) => {
                cut.reader.finish().map_err(|_| "keys are missing")?;
                assert!(cut.seen == cut.at_cut);
                self.whole_cuts += 1;
            }
            None => {}
        }
        Ok(())
    }

    /// Changes with cuts between them, then the rest of the last cut.
    fn run(&mut self, changes: usize) -> Result<(), &'static str> {
        for _ in 0..changes {
            self.change();
            if self.rng.gen_bool(0.5) {
                self.step()?;
            }
        }
        while self.cut.is_some() {
            self.step()?;
        }
        for (db, keys) in (0..).zip(&self.model) {
            let mut count = 0;
            self.ks.for_each(db, &mut |entry| {
                count += usize::from(keys.contains_key(entry.key()));
                ControlFlow::Continue(())
            });
            assert_eq!((count, self.ks.len(db)), (keys.len(), keys.len() as u64));
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn every_key_leaves_once_as_it_was(cluster: bool, seed: u64) {
        let mut bed = Bed::new(LAYOUTS[usize::from(cluster)], seed);
        prop_assert_eq!(bed.run(CHANGES), Ok(()));
    }
}

#[test]
fn many_cuts_follow_each_other() {
    for layout in LAYOUTS {
        let mut bed = Bed::new(layout, 7);
        assert_eq!(bed.run(10 * CHANGES), Ok(()));
        assert!(bed.whole_cuts > 10, "{}", bed.whole_cuts);
    }
}

fn full(keys: u64) -> Keyspace {
    let mut ks = Keyspace::new(LAYOUTS[0], 3);
    for n in 0..keys {
        set(&mut ks, 0, &n.to_string(), b"a value");
    }
    ks
}

fn set(ks: &mut Keyspace, db: u32, name: &str, value: &[u8]) {
    let key = ks.key(name.as_bytes());
    ks.set_string(db, &key, value, Ttl::Clear);
}

fn count(reader: &mut CutReader, part: &CutPart) {
    match reader.read_part(part, &mut |_| Ok::<(), Infallible>(())) {
        Ok(()) => {}
        Err(never) => match never {},
    }
}

const ALL: CutBudget = CutBudget {
    bytes: usize::MAX,
    chains: usize::MAX,
};

#[test]
fn a_walk_stops_at_its_budget() {
    let mut ks = full(20_000);
    let mut reader = ks.begin_cut();
    let budget = CutBudget {
        bytes: 3000,
        chains: 10,
    };
    let (mut steps, mut most) = (0, 0);
    let waiting = |ks: &Keyspace| match &ks.upkeep.saver.phase {
        Phase::Saving(batch) => batch.bytes.len() + BATCH_BYTES * ks.upkeep.saver.parts.len(),
        _ => 0,
    };
    loop {
        let before = waiting(&ks);
        let more = ks.walk(budget);
        most = most.max(waiting(&ks).saturating_sub(before));
        while let Some(part) = ks.take_cut_part() {
            assert!(part.bytes().walked < 2 * BATCH_BYTES);
            count(&mut reader, &part);
        }
        if !more {
            break;
        }
        steps += 1;
    }
    assert!(steps > 100 && most < 5000, "{steps} {most}");
    assert_eq!(reader.finish(), Ok(20_000));
}

#[test]
fn flushed_keys_are_read_on_another_thread() {
    let mut ks = full(5000);
    let mut reader = ks.begin_cut();
    assert!(ks.walk(CutBudget {
        bytes: 1000,
        chains: 100
    }));
    ks.flush(None);
    assert!(ks.take_garbage().is_none(), "the cut has it");
    assert!(!ks.walk(ALL));
    let parts: Vec<CutPart> = std::iter::from_fn(|| ks.take_cut_part()).collect();
    let read = move || {
        parts.iter().for_each(|part| count(&mut reader, part));
        reader.finish()
    };
    let read = std::thread::scope(|scope| scope.spawn(read).join());
    assert_eq!(read.unwrap(), Ok(5000));
    // Now what is flushed is nobody's.
    set(&mut ks, 0, "k", b"v");
    ks.flush(None);
    assert!(ks.take_garbage().is_some());
}

#[test]
fn large_values_are_shared_until_they_are_edited() {
    let mut ks = full(0);
    let names = ["walked", "touched", "removed", "overwritten", "renamed"];
    for name in names {
        set(&mut ks, 0, name, &[1; 100_000]);
    }
    let place = |ks: &Keyspace, key: &Key<'_>| match ks.get(0, key).unwrap().string().unwrap() {
        StringRef::Bytes(bytes) => bytes.as_ptr().addr(),
        _ => panic!("bytes that lie together were written"),
    };
    let [walked, touched, removed, overwritten, renamed] =
        names.map(|name| ks.key(name.as_bytes()));
    let (at, of_touched) = (place(&ks, &walked), place(&ks, &touched));
    let mut places: HashSet<usize> = [walked, touched, removed, overwritten, renamed]
        .iter()
        .map(|key| place(&ks, key))
        .collect();
    let mut reader = ks.begin_cut();
    assert!(ks.remove(0, &removed) && ks.take_garbage().is_none());
    ks.set_string(0, &overwritten, &[2; 100_000], Ttl::Clear);
    assert_eq!(ks.write_string(0, &touched, 100_000, b"more"), 100_004);
    let to = ks.key(b"another name");
    assert!(ks.rename(0, &renamed, &to));
    assert!(!ks.walk(ALL));
    assert_eq!((place(&ks, &walked), ks.len(0)), (at, 4));
    assert!(place(&ks, &touched) != of_touched && places.contains(&place(&ks, &to)));
    let parts: Vec<CutPart> = std::iter::from_fn(|| ks.take_cut_part()).collect();
    for part in &parts {
        let read = reader.read_part(part, &mut |entry| match entry.value.string().unwrap() {
            StringRef::Bytes(bytes) if bytes == vec![1; 100_000] => {
                places.remove(&bytes.as_ptr().addr());
                Ok(())
            }
            _ => Err(()),
        });
        assert_eq!(read, Ok(()));
    }
    assert!(places.is_empty(), "none was copied for the snapshot");
    assert_eq!(reader.finish(), Ok(5));
    // While the snapshot has it, an edit copies it; then it is changed in place.
    ks.write_string(0, &walked, 0, b"x");
    assert_ne!(place(&ks, &walked), at);
    drop(parts);
    let at = place(&ks, &to);
    ks.write_string(0, &to, 0, b"x");
    assert_eq!(place(&ks, &to), at);
}

#[test]
fn a_cut_given_up_is_swept_first() {
    let mut ks = full(1000);
    let mut reader = ks.begin_cut();
    assert!(ks.walk(CutBudget {
        bytes: 1000,
        chains: 10
    }));
    ks.flush_slot(0);
    set(&mut ks, 0, "5", b"touched");
    ks.give_up_cut();
    assert!(!ks.may_cut() && ks.take_cut_part().is_none());
    set(&mut ks, 0, "6", b"while it is swept");
    assert!(!ks.walk(ALL) && ks.take_cut_part().is_none() && ks.may_cut());
    let given_up = std::mem::replace(&mut reader, ks.begin_cut());
    assert!(!ks.walk(ALL) && !ks.may_cut());
    while let Some(part) = ks.take_cut_part() {
        count(&mut reader, &part);
    }
    assert_eq!(reader.finish(), Ok(1000));
    let missing = CutMismatch {
        read: 0,
        at_cut: 1000,
    };
    assert_eq!(given_up.finish(), Err(missing));
}

#[test]
#[should_panic(expected = "P3")]
fn no_cut_begins_within_another() {
    let mut ks = full(10);
    drop(ks.begin_cut());
    drop(ks.begin_cut());
}

#[cfg(feature = "mutations")]
#[test]
fn each_broken_rule_of_the_cut_is_noticed() {
    let expected = [
        (Mutation::TouchForgotten, "a key as it was not"),
        (Mutation::NewEntryUnmarked, "a key that was not there"),
        (Mutation::EpochFlipWithoutSweep, "keys are missing"),
        (Mutation::FlushDropsUnsaved, "keys are missing"),
        (Mutation::SwapdbByIndex, "a key that was not there"),
    ];
    for (mutation, wrong) in expected {
        let notices = |seed| {
            let mut bed = Bed::new(LAYOUTS[0], seed);
            mutation::set(Some(mutation));
            let run = bed.run(CHANGES);
            mutation::set(None);
            run == Err(wrong)
        };
        assert!((0..100).any(notices), "{mutation:?}");
    }
}
