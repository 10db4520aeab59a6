//! The writing side: a turn's units, encoded as they are made.
//!
//! A batch is built during one turn and becomes the bodies of the entries of one proposal. The
//! buffer in which it is built stays for the next turn and a body is copied out of it, once and at
//! its exact size: growing a new buffer every turn copies more often, and giving it away would keep
//! its unused end in memory for as long as the entry.

use super::{Op, KIND_BATCH, KIND_PART};

/// A unit whose body is larger than this is logged as consecutive parts (T8).
pub const PART_BYTES: usize = 1 << 20;

/// What the buffer may keep between turns: the budget of a turn's effects and a large command.
const KEPT_BYTES: usize = 192 << 10;

/// Bytes before a unit's body: its length.
const UNIT_HEADER: usize = 4;

/// The effects of one turn of the leader.
#[derive(Default)]
pub struct Batch {
    /// Bodies of entries that are complete (a large unit closes the open body before it).
    done: Vec<Vec<u8>>,
    /// The body under construction: kind byte, then units.
    open: Vec<u8>,
    /// Where the open unit's length field stands in `open`; none outside a unit.
    unit_at: Option<usize>,
    /// Database of the last effect of the open unit.
    unit_db: u32,
    /// Large units so far in this batch, to number their parts.
    large_units: u32,
    done_bytes: usize,
}

impl Batch {
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Opens a unit. Units do not nest.
    pub fn begin_unit(&mut self) {
        assert!(self.unit_at.is_none(), "a unit is open already");
        if self.open.is_empty() {
            self.open.push(KIND_BATCH);
        }
        self.unit_at = Some(self.open.len());
        self.unit_db = 0;
        self.open.extend_from_slice(&[0; UNIT_HEADER]);
    }

    /// Adds an effect on database `db` to the open unit.
    pub fn push(&mut self, db: u32, op: Op, args: &[&[u8]]) {
        assert!(self.unit_at.is_some(), "an effect outside a unit");
        if db != self.unit_db {
            self.unit_db = db;
            let mut text = itoa::Buffer::new();
            self.put(Op::Select, &[text.format(db).as_bytes()]);
        }
        self.put(op, args);
    }

    fn put(&mut self, op: Op, args: &[&[u8]]) {
        self.open.push(op.number());
        put_varint(&mut self.open, args.len() as u64);
        for arg in args {
            put_varint(&mut self.open, arg.len() as u64);
            self.open.extend_from_slice(arg);
        }
    }

    /// Whether the open unit has no effect yet.
    pub fn unit_is_empty(&self) -> bool {
        let at = self.unit_at.expect("asked about the open unit");
        self.open.len() == at + UNIT_HEADER
    }

    /// Closes the open unit and says whether it holds anything; an empty one leaves no trace.
    pub fn end_unit(&mut self) -> bool {
        let at = self.unit_at.take().expect("a unit is open");
        let body = self.open.len() - at - UNIT_HEADER;
        if body == 0 {
            self.open.truncate(at);
            return false;
        }
        if body > PART_BYTES {
            self.split_large(at);
            return true;
        }
        let length = u32::try_from(body).expect("at most PART_BYTES");
        self.open[at..at + UNIT_HEADER].copy_from_slice(&length.to_le_bytes());
        true
    }

    /// T8: the unit at the end of the open body becomes entries of its own, one a part.
    fn split_large(&mut self, at: usize) {
        let body = self.open.split_off(at + UNIT_HEADER);
        self.open.truncate(at);
        self.close_open();
        let unit = self.large_units;
        self.large_units += 1;
        let parts = u32::try_from(body.chunks(PART_BYTES).len()).expect("a unit fits memory");
        for (k, chunk) in body.chunks(PART_BYTES).enumerate() {
            let k = u32::try_from(k).expect("fewer than `parts`");
            let mut entry = Vec::with_capacity(13 + chunk.len());
            entry.push(KIND_PART);
            entry.extend_from_slice(&unit.to_le_bytes());
            entry.extend_from_slice(&k.to_le_bytes());
            entry.extend_from_slice(&parts.to_le_bytes());
            entry.extend_from_slice(chunk);
            self.done_bytes += entry.len();
            self.done.push(entry);
        }
    }

    fn close_open(&mut self) {
        if self.open.len() > 1 {
            self.done_bytes += self.open.len();
            self.done.push(self.open.as_slice().to_vec());
        }
        self.open.clear();
        self.open.shrink_to(KEPT_BYTES);
    }

    /// Whether nothing is to be proposed.
    pub fn is_empty(&self) -> bool {
        self.done.is_empty() && self.open.len() <= 1
    }

    /// Bytes that the proposal would carry.
    pub fn len(&self) -> usize {
        self.done_bytes + self.open.len()
    }

    /// The bodies of the entries to propose, in order; the batch is empty afterwards.
    pub fn take(&mut self) -> Vec<Vec<u8>> {
        assert!(self.unit_at.is_none(), "a unit is still open");
        self.close_open();
        self.done_bytes = 0;
        self.large_units = 0;
        std::mem::take(&mut self.done)
    }
}

/// LEB128, as protobuf has it.
pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
