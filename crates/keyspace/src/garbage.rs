//! Owns memory that has left the keyspace and takes long to free. Knows nothing of where it came
//! from. Invariant: it is `Send`; dropping it frees it, whatever thread that is on.

use std::sync::Arc;

use super::cut::CutPart;
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
    cut: Vec<CutPart>,
}

impl Garbage {
    /// One that a snapshot has too is left to that.
    pub(super) fn object(&mut self, object: Arc<Object>) {
        self.objects
            .extend(Arc::into_inner(object).filter(Object::slow_to_free));
    }

    /// What a cut had saved, when nobody wants it any more.
    pub(super) fn cut(&mut self, parts: impl Iterator<Item = CutPart>) {
        self.cut.extend(parts);
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
            && self.cut.is_empty()
    }
}

const _: fn() = || {
    fn is_send<T: Send>() {}
    is_send::<Garbage>();
    is_send::<super::Keyspace>();
};
