//! Keys that clients WATCH.
//!
//! Owns: a version for each watched key, counted up by every change of it. Never: knows which client
//! watches. Invariant: a key is here exactly while somebody watches it, so the cost for everybody
//! else is one comparison with zero.

use std::collections::BTreeMap;

/// One key as a client saw it at WATCH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    pub db: u32,
    pub key: Box<[u8]>,
    version: u64,
    epoch: u64,
}

#[derive(Default)]
struct Watched {
    watchers: usize,
    version: u64,
}

pub(super) struct Watches {
    by_db: Vec<BTreeMap<Box<[u8]>, Watched>>,
    keys: usize,
    /// Counted up when all watches fail at once (T7).
    epoch: u64,
    /// Versions are never used again, also when a key stops and starts being watched.
    next_version: u64,
}

impl Watches {
    pub fn new(databases: u32) -> Watches {
        let by_db = (0..databases).map(|_| BTreeMap::new()).collect();
        Watches {
            by_db,
            keys: 0,
            epoch: 0,
            next_version: 1,
        }
    }

    /// How many keys are watched.
    pub fn len(&self) -> usize {
        self.keys
    }

    fn table(&mut self, db: u32) -> &mut BTreeMap<Box<[u8]>, Watched> {
        let db = usize::try_from(db).expect("a database number is small");
        &mut self.by_db[db]
    }

    pub fn watch(&mut self, db: u32, key: &[u8]) -> Watch {
        let (epoch, next) = (self.epoch, self.next_version);
        let table = self.table(db);
        let new = !table.contains_key(key);
        let watched = table.entry(key.into()).or_default();
        watched.watchers += 1;
        if new {
            watched.version = next;
        }
        let version = watched.version;
        if new {
            self.keys += 1;
            self.next_version += 1;
        }
        Watch {
            db,
            key: key.into(),
            version,
            epoch,
        }
    }

    pub fn unwatch(&mut self, watch: &Watch) {
        let table = self.table(watch.db);
        let watched = table
            .get_mut(&watch.key)
            .expect("a watch is registered until unwatched");
        watched.watchers -= 1;
        if watched.watchers == 0 {
            table.remove(&watch.key);
            self.keys -= 1;
        }
    }

    /// The key has changed.
    pub fn touch(&mut self, db: u32, key: &[u8]) {
        if self.keys == 0 {
            return;
        }
        let next = self.next_version;
        if let Some(watched) = self.table(db).get_mut(key) {
            watched.version = next;
            self.next_version += 1;
        }
    }

    /// All keys of one database, or of all, for which `gone(db, key)` holds, have changed.
    pub fn touch_where(&mut self, db: Option<u32>, gone: &dyn Fn(u32, &[u8]) -> bool) {
        if self.keys == 0 {
            return;
        }
        for (of, table) in (0u32..).zip(&mut self.by_db) {
            if db.is_some_and(|db| db != of) {
                continue;
            }
            for (key, watched) in table.iter_mut() {
                if gone(of, key) {
                    watched.version = self.next_version;
                    self.next_version += 1;
                }
            }
        }
    }

    /// The watched keys of these databases.
    pub fn keys_of(&self, dbs: &[u32]) -> Vec<Box<[u8]>> {
        let tables = dbs.iter().filter_map(|db| {
            let db = usize::try_from(*db).expect("a database number is small");
            self.by_db.get(db)
        });
        tables.flat_map(|table| table.keys().cloned()).collect()
    }

    pub fn fail_all(&mut self) {
        self.epoch += 1;
    }

    pub fn is_unchanged(&self, watch: &Watch) -> bool {
        let db = usize::try_from(watch.db).expect("a database number is small");
        let watched = &self.by_db[db][&watch.key];
        watch.epoch == self.epoch && watched.version == watch.version
    }
}
