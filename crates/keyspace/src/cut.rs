//! Owns the cut: how all keys, as they are at one instant, leave a keyspace that goes on changing (P3-P5). Never
//! knows files, clocks or threads; how much is done at a time is the caller's to say.
//!
//! A cut turns the keyspace's mark over. An entry with another mark than the keyspace's is not saved yet: a walk
//! saves one after the other, and whatever changes, removes or detaches one before that saves it first. What
//! is new is born with the keyspace's mark. To save is to copy the entry's block, and to take a count of an
//! object: an object is never copied for a snapshot, but by the first that edits it while both have it, and one in parts part by
//! part.
//!
//! Invariants:
//! - without a cut, and without the rest of one that was given up, all entries have the keyspace's mark;
//! - each key that was there at the cut leaves exactly once; [`CutReader::finish`] counts them.

use std::collections::VecDeque;
use std::mem;
use std::ops::ControlFlow;
use std::sync::Arc;

use base::mutation::{self, Mutation};

use super::db::Db;
use super::object::Object;
use super::raw::{Copied, EntryPtr, Mark, PayloadRef};
use super::table::Table;
use super::{Keyspace, Value};

/// A batch is handed over when it holds so much.
const BATCH_BYTES: usize = 64 << 10;

/// A batch grows beyond that by its last entry, which rarely takes more.
const BATCH_ROOM: usize = BATCH_BYTES + (4 << 10);

/// How much a walk may do before it comes back, whichever is reached first.
#[derive(Clone, Copy, Debug)]
pub struct CutBudget {
    /// Of entries and of objects, which are not copied: they stay when the keyspace lets go of them. A single
    /// chain may go beyond.
    pub bytes: usize,
    /// Chains of entries looked at: about five entries each.
    pub chains: usize,
}

impl CutBudget {
    pub(super) fn is_spent(&self) -> bool {
        self.bytes == 0 || self.chains == 0
    }
}

/// What led to the save of an entry.
#[derive(Clone, Copy)]
enum By {
    Walk,
    Touch,
}

/// The keyspace's mark, and what is saved.
#[derive(Default)]
pub(super) struct Saver {
    /// That of all that is saved, or new.
    pub mark: Mark,
    phase: Phase,
    /// What is to leave.
    parts: VecDeque<CutPart>,
}

#[derive(Default)]
enum Phase {
    #[default]
    Idle,
    /// There are entries that are not saved.
    Saving(Batch),
    /// P3: the cut was given up, and there are entries without the keyspace's mark.
    Sweeping,
}

impl Saver {
    /// An entry that is not saved is about to change or to go.
    #[cold]
    pub fn save_touched(&mut self, db: u32, entry: &mut EntryPtr) {
        self.save(db, entry, By::Touch);
    }

    /// How many bytes are held for it.
    pub fn save_walked(&mut self, db: u32, entry: &mut EntryPtr) -> usize {
        self.save(db, entry, By::Walk)
    }

    fn save(&mut self, db: u32, entry: &mut EntryPtr, by: By) -> usize {
        entry.set_mark(self.mark);
        let Phase::Saving(batch) = &mut self.phase else {
            return 0;
        };
        let bytes = batch.add(db, entry, by);
        if batch.held.walked + batch.held.touched >= BATCH_BYTES {
            let batch = mem::take(batch);
            self.parts.push_back(CutPart(Part::Batch(batch)));
        }
        bytes
    }

    /// Whether what is detached now goes to the cut, as far as it is not saved.
    pub fn wants_detached(&self) -> bool {
        matches!(self.phase, Phase::Saving(_)) && !mutation::is(Mutation::FlushDropsUnsaved)
    }

    /// P5: what has left the keyspace with entries that are not saved.
    pub fn detach(&mut self, db: u32, what: Detached) {
        let unsaved = Unsaved {
            db,
            saved: self.mark,
            what,
        };
        self.parts.push_back(CutPart(Part::Unsaved(unsaved)));
    }

    fn end(&mut self) {
        if let Phase::Saving(batch) = mem::take(&mut self.phase) {
            if batch.entries > 0 {
                self.parts.push_back(CutPart(Part::Batch(batch)));
            }
        }
    }
}

/// Memory that a part of a cut holds until it is dropped, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CutBytes {
    /// Of entries that the walk came to. Objects count, though the keyspace has them too.
    pub walked: usize,
    /// Of entries that would have changed or gone. Of a value in parts only its entry counts.
    pub touched: usize,
}

/// Entries, in the order in which they were saved.
#[derive(Default)]
struct Batch {
    /// For each entry the database's number at the cut, and the block.
    bytes: Vec<u8>,
    /// Those of the entries that are objects.
    objects: Vec<Arc<Object>>,
    entries: usize,
    held: CutBytes,
}

impl Batch {
    fn add(&mut self, db: u32, entry: &EntryPtr, by: By) -> usize {
        if self.bytes.capacity() == 0 {
            self.bytes.reserve_exact(BATCH_ROOM);
        }
        let before = self.bytes.len();
        self.bytes.extend_from_slice(&db.to_ne_bytes());
        entry.copy_to(&mut self.bytes);
        let copied = self.bytes.len() - before;
        let object = entry.share_object();
        let of_object = object.as_ref().map_or(0, |object| match by {
            By::Walk => object.bytes(),
            // A change copies the part that it meets: what is changed of a large value is not all of it.
            By::Touch if object.has_parts() => 0,
            By::Touch => object.bytes(),
        });
        let bytes = copied + of_object;
        self.objects.extend(object);
        self.entries += 1;
        match by {
            By::Walk => self.held.walked += bytes,
            By::Touch => self.held.touched += bytes,
        }
        bytes
    }

    fn try_for_each<B>(
        &self,
        visit: &mut impl FnMut(CutEntry<'_>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let (mut rest, mut objects) = (&self.bytes[..], self.objects.iter());
        while let Some((db, blocks)) = rest.split_first_chunk() {
            rest = blocks;
            let copied = Copied::read(&mut rest);
            let payload = copied.payload.unwrap_or_else(|| {
                let object = objects.next();
                PayloadRef::Object(object.expect("an object is kept for each that was met"))
            });
            visit(CutEntry {
                db: u32::from_ne_bytes(*db),
                key: copied.key,
                expiry: copied.expiry,
                value: Value::of(payload),
            })?;
        }
        ControlFlow::Continue(())
    }
}

/// What was detached whole.
pub(super) enum Detached {
    Db(Db),
    Table(Table),
}

/// What was detached, with entries that are not saved.
struct Unsaved {
    /// The number at the cut.
    db: u32,
    /// The mark of the others.
    saved: Mark,
    what: Detached,
}

impl Unsaved {
    fn try_for_each<B>(
        &self,
        visit: &mut impl FnMut(CutEntry<'_>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let mut visit = |entry: &EntryPtr| {
            if entry.mark() == self.saved {
                return ControlFlow::Continue(());
            }
            visit(CutEntry {
                db: self.db,
                key: entry.key(),
                expiry: entry.expiry(),
                value: Value::of(entry.payload()),
            })
        };
        match &self.what {
            Detached::Db(db) => db.try_for_each(&mut visit),
            Detached::Table(table) => table.try_for_each(&mut visit),
        }
    }
}

/// Some of a cut's keys, on their way to a file. To drop it may take long, as it may hold whole databases.
pub struct CutPart(Part);

enum Part {
    Batch(Batch),
    Unsaved(Unsaved),
}

impl CutPart {
    /// None for what was flushed: that is at most all that there was, once.
    pub fn bytes(&self) -> CutBytes {
        match &self.0 {
            Part::Batch(batch) => batch.held,
            Part::Unsaved(_) => CutBytes::default(),
        }
    }
}

/// A key as of the cut.
#[derive(Clone, Copy)]
pub struct CutEntry<'a> {
    /// The number that the database had.
    pub db: u32,
    pub key: &'a [u8],
    pub expiry: Option<i64>,
    pub value: Value<'a>,
}

/// How many keys a database had at the cut, and how many of them with an expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DbSize {
    pub db: u32,
    pub keys: u64,
    pub expires: u64,
}

/// The other end of a cut: reads its parts, on any thread.
pub struct CutReader {
    sizes: Vec<DbSize>,
    fields_expire: bool,
    read: u64,
}

/// Keys are missing, or are there twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CutMismatch {
    pub read: u64,
    pub at_cut: u64,
}

impl CutReader {
    /// Of the databases that had keys, in their order.
    pub fn sizes(&self) -> &[DbSize] {
        &self.sizes
    }

    /// Whether there is a hash of which fields expire.
    pub fn fields_expire(&self) -> bool {
        self.fields_expire
    }

    /// Keys that have been read.
    pub fn read(&self) -> u64 {
        self.read
    }

    /// All keys.
    pub fn keys(&self) -> u64 {
        self.sizes.iter().map(|size| size.keys).sum()
    }

    /// The keys of a part, each once.
    pub fn read_part<E>(
        &mut self,
        part: &CutPart,
        visit: &mut impl FnMut(CutEntry<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut visit = |entry: CutEntry<'_>| {
            self.read += 1;
            match visit(entry) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => ControlFlow::Break(error),
            }
        };
        let flow = match &part.0 {
            Part::Batch(batch) => batch.try_for_each(&mut visit),
            Part::Unsaved(unsaved) => unsaved.try_for_each(&mut visit),
        };
        match flow {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(error) => Err(error),
        }
    }

    /// After the last part: how many keys there were. A mistake of the cut costs a snapshot, never keys.
    pub fn finish(self) -> Result<u64, CutMismatch> {
        let (read, at_cut) = (self.read, self.keys());
        match read == at_cut {
            true => Ok(read),
            false => Err(CutMismatch { read, at_cut }),
        }
    }
}

impl Keyspace {
    /// Begins to save all keys as they are now. Takes no longer for more keys. To be called only when
    /// [`Keyspace::may_cut`].
    pub fn begin_cut(&mut self) -> CutReader {
        assert!(
            self.may_cut(),
            "P3: a cut begins when all entries have one mark"
        );
        let saver = &mut self.upkeep.saver;
        saver.mark = saver.mark.other();
        saver.phase = Phase::Saving(Batch::default());
        let mut sizes = Vec::new();
        for (number, db) in (0..).zip(&mut self.dbs) {
            db.begin_walk(number);
            if db.len() > 0 {
                sizes.push(DbSize {
                    db: number,
                    keys: db.len(),
                    expires: db.expiries().len(),
                });
            }
        }
        CutReader {
            sizes,
            fields_expire: self.fields_expire(),
            read: 0,
        }
    }

    /// Whether a cut may begin: no other one is in the keyspace, nor its parts.
    pub fn may_cut(&self) -> bool {
        let saver = &self.upkeep.saver;
        matches!(saver.phase, Phase::Idle) && saver.parts.is_empty()
    }

    /// Whether entries are to be saved, or swept after a cut that was given up.
    #[inline]
    pub fn has_walk(&self) -> bool {
        !matches!(self.upkeep.saver.phase, Phase::Idle)
    }

    /// Saves what comes next. True if there is more; with the end of the walk the last part is there.
    pub fn walk(&mut self, mut budget: CutBudget) -> bool {
        if !self.has_walk() {
            return false;
        }
        for db in &mut self.dbs {
            if !db.walk(&mut budget, &mut self.upkeep.saver) {
                return true;
            }
        }
        self.upkeep.saver.end();
        false
    }

    /// Nobody wants the cut any more: what is saved becomes garbage, and what is not is swept by the walk.
    pub fn give_up_cut(&mut self) {
        let saver = &mut self.upkeep.saver;
        self.upkeep.garbage.cut(saver.parts.drain(..));
        if matches!(saver.phase, Phase::Saving(_)) {
            saver.phase = match mutation::is(Mutation::EpochFlipWithoutSweep) {
                true => Phase::Idle,
                false => Phase::Sweeping,
            };
        }
    }

    /// What is saved and not taken yet, in no order that matters.
    pub fn take_cut_part(&mut self) -> Option<CutPart> {
        self.upkeep.saver.parts.pop_front()
    }
}

const _: fn() = || {
    fn is_send<T: Send>() {}
    is_send::<CutPart>();
    is_send::<CutReader>();
};

#[cfg(test)]
#[path = "cut_tests.rs"]
mod tests;
