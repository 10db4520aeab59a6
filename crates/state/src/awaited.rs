//! Keys that blocked clients wait for.
//!
//! Owns: for each such key its waiters in the order in which they came, and the keys that have changed since they
//! were last looked at. Never: knows a client (a waiter is a number) or what a waiter does with a value.
//! Invariants: a key is here exactly while somebody waits for it, so the cost for everybody else is one comparison
//! with zero; a key that changes is looked at before it counts as unchanged, so no value is made without its waiters
//! being asked.

use super::core::StateMachine;
use keyspace::Kind;
use std::collections::{BTreeMap, HashMap, VecDeque};

/// T9: a command may name millions of keys.
const KEYS_PER_BREATH: usize = 4096;

/// A blocked client's number.
pub type Waiter = u64;

/// A key that has changed, and its waiters: the one that has waited for longest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadyKey {
    pub db: u32,
    pub key: Box<[u8]>,
    pub waiters: Vec<(Waiter, Kind)>,
}

/// What one waiter waits for: the first of these keys that has a value of this kind.
struct Wants {
    db: u32,
    keys: Vec<Box<[u8]>>,
    kind: Kind,
    /// Its place in the queue of each key.
    place: u64,
}

#[derive(Default)]
struct Queue {
    waiters: BTreeMap<u64, Waiter>,
    /// It stands among the keys that have changed.
    ready: bool,
}

#[derive(Default)]
pub(super) struct Awaited {
    by_db: HashMap<u32, HashMap<Box<[u8]>, Queue>>,
    keys: usize,
    wants: BTreeMap<Waiter, Wants>,
    next_place: u64,
    ready: VecDeque<(u32, Box<[u8]>)>,
}

impl Awaited {
    /// How many keys somebody waits for.
    pub fn len(&self) -> usize {
        self.keys
    }

    /// A waiter takes its place behind all others. A key that is named twice counts once.
    pub fn add(
        &mut self,
        waiter: Waiter,
        db: u32,
        (keys, kind): (&[&[u8]], Kind),
        breathe: &mut dyn FnMut(),
    ) {
        let place = self.next_place;
        self.next_place += 1;
        let table = self.by_db.entry(db).or_default();
        let mut named: Vec<Box<[u8]>> = Vec::with_capacity(keys.len());
        for (at, key) in keys.iter().enumerate() {
            if at % KEYS_PER_BREATH == KEYS_PER_BREATH - 1 {
                breathe();
            }
            let queue = match table.get_mut(*key) {
                Some(queue) => queue,
                None => {
                    self.keys += 1;
                    table.entry((*key).into()).or_default()
                }
            };
            if queue.waiters.insert(place, waiter).is_none() {
                named.push((*key).into());
            }
        }
        let wants = Wants {
            db,
            keys: named,
            kind,
            place,
        };
        let before = self.wants.insert(waiter, wants);
        assert!(before.is_none(), "a blocked client's commands don't run");
    }

    /// It waits no longer; nothing if it did not.
    pub fn remove(&mut self, waiter: Waiter) {
        let Some(wants) = self.wants.remove(&waiter) else {
            return;
        };
        let table = self.by_db.entry(wants.db).or_default();
        for key in &wants.keys {
            let queue = table.get_mut(key).expect("a waiter stands in each queue");
            queue.waiters.remove(&wants.place);
            if queue.waiters.is_empty() {
                table.remove(key);
                self.keys -= 1;
            }
        }
    }

    /// The key has changed.
    #[inline]
    pub fn touch(&mut self, db: u32, key: &[u8]) {
        if self.keys != 0 {
            self.note(db, key);
        }
    }

    #[cold]
    fn note(&mut self, db: u32, key: &[u8]) {
        let queue = self.by_db.get_mut(&db).and_then(|table| table.get_mut(key));
        if let Some(queue) = queue.filter(|queue| !queue.ready) {
            queue.ready = true;
            self.ready.push_back((db, key.into()));
        }
    }

    /// All keys of these databases have changed, as far as anybody waits for them; in the order in which the first
    /// waiters came.
    pub fn touch_databases(&mut self, dbs: &[u32]) {
        let mut keys: Vec<(u64, u32, Box<[u8]>)> = Vec::new();
        for db in dbs {
            for (key, queue) in self.by_db.get(db).into_iter().flatten() {
                let first = queue.waiters.keys().next();
                keys.push((first.copied().unwrap_or(u64::MAX), *db, key.clone()));
            }
        }
        keys.sort_unstable();
        for (_, db, key) in keys {
            self.note(db, &key);
        }
    }

    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The key that changed first of those that have not been looked at.
    pub fn take_ready(&mut self) -> Option<ReadyKey> {
        while let Some((db, key)) = self.ready.pop_front() {
            let queue = self
                .by_db
                .get_mut(&db)
                .and_then(|table| table.get_mut(&key));
            let Some(queue) = queue else { continue };
            // Another queue may stand here since, which has a place of its own among the ready ones.
            if !std::mem::take(&mut queue.ready) {
                continue;
            }
            let waiters = queue.waiters.values().map(|of| (*of, self.wants[of].kind));
            return Some(ReadyKey {
                db,
                waiters: waiters.collect(),
                key,
            });
        }
        None
    }

    /// It was looked at, and has to be once more before all others.
    pub fn put_back(&mut self, db: u32, key: &[u8]) {
        let queue = self.by_db.get_mut(&db).and_then(|table| table.get_mut(key));
        if let Some(queue) = queue.filter(|queue| !queue.ready) {
            queue.ready = true;
            self.ready.push_front((db, key.into()));
        }
    }

    /// Every waiter with its first key.
    pub fn waiters(&self) -> impl Iterator<Item = (Waiter, &[u8])> {
        let all = self.wants.iter();
        all.filter_map(|(of, wants)| Some((*of, &**wants.keys.first()?)))
    }
}

impl StateMachine {
    /// A client waits until one of these keys of its database has a value of this kind.
    pub fn wait_for(
        &mut self,
        waiter: Waiter,
        db: u32,
        wanted: (&[&[u8]], Kind),
        breathe: &mut dyn FnMut(),
    ) {
        self.awaited.add(waiter, db, wanted, breathe);
    }

    /// It waits no longer; nothing if it did not.
    pub fn leave(&mut self, waiter: Waiter) {
        self.awaited.remove(waiter);
    }

    /// How many keys clients wait for.
    pub fn awaited_keys(&self) -> usize {
        self.awaited.len()
    }

    /// Whether a key that clients wait for has changed.
    #[inline]
    pub fn has_ready(&self) -> bool {
        self.awaited.has_ready()
    }

    /// The first of them, with those who wait for it; it counts as looked at.
    pub fn take_ready(&mut self) -> Option<ReadyKey> {
        self.awaited.take_ready()
    }

    /// It is to be looked at once more, before all others.
    pub fn put_back(&mut self, ready: &ReadyKey) {
        self.awaited.put_back(ready.db, &ready.key);
    }

    /// Every waiter with the slot of its first key.
    pub fn waiters(&self) -> impl Iterator<Item = (Waiter, u16)> + '_ {
        let all = self.awaited.waiters();
        all.map(|(waiter, key)| (waiter, self.keyspace.key(key).slot))
    }

    /// What kind of value a key has, expired or not.
    pub fn kind_of(&self, db: u32, key: &[u8]) -> Option<Kind> {
        let entry = self.keyspace.get(db, &self.keyspace.key(key));
        entry.map(|entry| entry.kind())
    }

    /// F12: a command has taken long; what follows in this turn must not see what has expired meanwhile.
    pub fn note_time(&mut self, now_ms: i64) {
        self.now_ms = self.now_ms.max(now_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(awaited: &mut Awaited) -> Option<(u32, Vec<u8>, Vec<Waiter>)> {
        let ready = awaited.take_ready()?;
        let waiters = ready.waiters.iter().map(|(of, _)| *of).collect();
        Some((ready.db, ready.key.into_vec(), waiters))
    }

    #[test]
    fn waiters_are_told_in_their_order() {
        let mut awaited = Awaited::default();
        awaited.add(9, 0, (&[b"a", b"b", b"a"], Kind::List), &mut || {});
        awaited.add(3, 0, (&[b"b"], Kind::List), &mut || {});
        awaited.add(5, 1, (&[b"b"], Kind::SortedSet), &mut || {});
        assert_eq!(awaited.len(), 3);
        awaited.touch(0, b"b");
        awaited.touch(0, b"b");
        awaited.touch(0, b"c");
        awaited.touch(1, b"b");
        assert_eq!(taken(&mut awaited), Some((0, b"b".to_vec(), vec![9, 3])));
        assert_eq!(taken(&mut awaited), Some((1, b"b".to_vec(), vec![5])));
        assert_eq!(taken(&mut awaited), None);
        awaited.remove(9);
        awaited.remove(9);
        assert_eq!(awaited.len(), 2);
        awaited.touch(0, b"a");
        assert!(!awaited.has_ready());
    }

    #[test]
    fn a_key_put_back_comes_first() {
        let mut awaited = Awaited::default();
        awaited.add(1, 0, (&[b"a"], Kind::List), &mut || {});
        awaited.add(2, 0, (&[b"b"], Kind::List), &mut || {});
        awaited.touch(0, b"a");
        awaited.touch(0, b"b");
        let first = awaited.take_ready().unwrap();
        awaited.put_back(first.db, &first.key);
        assert_eq!(awaited.take_ready(), Some(first));
    }

    #[test]
    fn a_new_waiter_finds_no_old_news() {
        let mut awaited = Awaited::default();
        awaited.add(1, 0, (&[b"a"], Kind::List), &mut || {});
        awaited.touch(0, b"a");
        awaited.remove(1);
        awaited.add(2, 0, (&[b"a"], Kind::List), &mut || {});
        assert_eq!(taken(&mut awaited), None);
        awaited.touch(0, b"a");
        assert_eq!(taken(&mut awaited), Some((0, b"a".to_vec(), vec![2])));
    }

    #[test]
    fn swapped_databases_touch_their_keys() {
        let mut awaited = Awaited::default();
        awaited.add(1, 2, (&[b"z"], Kind::List), &mut || {});
        awaited.add(2, 0, (&[b"a"], Kind::List), &mut || {});
        awaited.add(3, 1, (&[b"a"], Kind::List), &mut || {});
        awaited.touch_databases(&[0, 2]);
        assert_eq!(taken(&mut awaited), Some((2, b"z".to_vec(), vec![1])));
        assert_eq!(taken(&mut awaited), Some((0, b"a".to_vec(), vec![2])));
        assert_eq!(taken(&mut awaited), None);
    }
}
