//! Owns memory that has left the keyspace and takes long to free. Knows nothing of where it came
//! from. Invariant: it is `Send`; dropping it frees it, whatever thread that is on.

use super::db::Db;
use super::object::Object;
use super::raw::Bucket;
use super::table::Table;

/// Detached memory: drop it where a pause does no harm.
#[derive(Default)]
pub struct Garbage {
    objects: Vec<Object>,
    buckets: Vec<Box<[Bucket]>>,
    dbs: Vec<Db>,
    tables: Vec<Table>,
}

impl Garbage {
    pub(super) fn object(&mut self, object: Object) {
        if object.slow_to_free() {
            self.objects.push(object);
        }
    }

    pub(super) fn buckets(&mut self, buckets: Box<[Bucket]>) {
        self.buckets.push(buckets);
    }

    pub(super) fn db(&mut self, db: Db) {
        self.dbs.push(db);
    }

    pub(super) fn table(&mut self, table: Table) {
        self.tables.push(table);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.objects.is_empty()
            && self.buckets.is_empty()
            && self.dbs.is_empty()
            && self.tables.is_empty()
    }
}

const _: fn() = || {
    fn is_send<T: Send>() {}
    is_send::<Garbage>();
    is_send::<super::Keyspace>();
};
