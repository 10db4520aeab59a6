//! The writing side: a turn's units, encoded as they are made.
//!
//! A batch is built during one turn and becomes the bodies of the entries of one proposal. The
//! buffer in which it is built stays for the next turn and a body is copied out of it, once and at
//! its exact size: growing a new buffer every turn copies more often, and giving it away would keep
//! its unused end in memory for as long as the entry.

use super::{Op, KIND_BATCH, KIND_PART};

/// A unit whose body is larger than this is logged as consecutive parts (T8).
pub const PART_BYTES: usize = 1 << 20;

/// D5: parts are not shorter, so that their headers are few beside what they carry.
const SHORTEST_PART: usize = 4 << 10;

/// What the buffer may keep between turns: the budget of a turn's effects and a large command.
const KEPT_BYTES: usize = 192 << 10;

/// Bytes before a unit's body: its length.
const UNIT_HEADER: usize = 4;

/// Bytes before a part's share of the unit: kind, unit, k, n.
const PART_HEADER: usize = 13;

/// Where a part's k stands.
const K_AT: usize = 5;

/// A varint of 64 bits is not longer.
const MAX_VARINT: usize = 10;

/// The arguments of an effect: these, then those. A command's own words need not be copied behind the key.
pub type Runs<'r, 'a> = (&'r [&'a [u8]], &'r [&'a [u8]]);

/// The effects of one turn of the leader: whole batches and the one under construction. What one
/// gate names is one entry, or all parts of one large unit, and nothing else besides (T6).
pub struct Batch {
    /// [`PART_BYTES`], or less, so that small values cross it.
    part_bytes: usize,
    /// Bodies of entries that are complete (a large unit closes the open body before it).
    done: Vec<Vec<u8>>,
    /// How many batches `done` holds.
    whole: u32,
    /// The body under construction: kind byte, then units.
    open: Vec<u8>,
    /// Where the open unit's length field stands in `open` (of a large one: stood); none outside a
    /// unit.
    unit_at: Option<usize>,
    /// The parts of the open unit, once it is a large one; it is cut while it is made, so that its
    /// bytes are copied once (T9).
    parts: Vec<Vec<u8>>,
    /// Database of the last effect of the open unit.
    unit_db: u32,
    /// Large units so far in this batch, to number their parts.
    large_units: u32,
    done_bytes: usize,
}

impl Batch {
    /// A unit above `part_bytes` is cut into parts of so many bytes.
    pub fn new(part_bytes: usize) -> Batch {
        assert!((SHORTEST_PART..=PART_BYTES).contains(&part_bytes));
        Batch {
            part_bytes,
            done: Vec::new(),
            whole: 0,
            open: Vec::new(),
            unit_at: None,
            parts: Vec::new(),
            unit_db: 0,
            large_units: 0,
            done_bytes: 0,
        }
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

    /// What these arguments take at most, with their lengths.
    #[inline]
    pub fn size(args: &[&[u8]]) -> usize {
        args.iter().map(|a| a.len() + MAX_VARINT).sum()
    }

    /// Adds an effect on database `db` to the open unit.
    pub fn push(&mut self, db: u32, op: Op, args: &[&[u8]]) {
        self.push_sized(db, op, (args, &[]), Batch::size(args));
    }

    /// The same for arguments in two runs, whose [`Batch::size`] together is known.
    pub fn push_sized(&mut self, db: u32, op: Op, args: Runs<'_, '_>, size: usize) {
        assert!(self.unit_at.is_some(), "an effect outside a unit");
        if db != self.unit_db {
            self.unit_db = db;
            let mut text = itoa::Buffer::new();
            let args: [&[u8]; 1] = [text.format(db).as_bytes()];
            self.put(Op::SELECT, (&args, &[]), Batch::size(&args));
        }
        self.put(op, args, size);
    }

    fn put(&mut self, op: Op, args: Runs<'_, '_>, size: usize) {
        if !self.parts.is_empty() || self.unit_len() + size + 1 + MAX_VARINT > self.part_bytes {
            return self.put_large(op, args);
        }
        self.open.push(op.number());
        put_varint(&mut self.open, (args.0.len() + args.1.len()) as u64);
        for arg in args.0.iter().chain(args.1) {
            put_varint(&mut self.open, arg.len() as u64);
            self.open.extend_from_slice(arg);
        }
    }

    /// The same for what may not fit the open body.
    fn put_large(&mut self, op: Op, args: Runs<'_, '_>) {
        let mut head = vec![op.number()];
        put_varint(&mut head, (args.0.len() + args.1.len()) as u64);
        self.stream(&head);
        for arg in args.0.iter().chain(args.1) {
            head.clear();
            put_varint(&mut head, arg.len() as u64);
            self.stream(&head);
            self.stream(arg);
        }
    }

    /// T8: bytes of the open unit. Those that make it a large one move it into parts.
    fn stream(&mut self, mut bytes: &[u8]) {
        if self.parts.is_empty() {
            if self.unit_len() + bytes.len() <= self.part_bytes {
                return self.open.extend_from_slice(bytes);
            }
            self.move_to_parts();
        }
        while !bytes.is_empty() {
            let part = self.parts.last_mut().expect("a large unit has a part");
            let room = PART_HEADER + self.part_bytes - part.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            part.extend_from_slice(now);
            self.done_bytes += now.len();
            bytes = later;
            if !bytes.is_empty() {
                self.open_part();
            }
        }
    }

    /// T6: the units before a large one are an entry of their own, so a batch of their own: it may
    /// commit without the parts.
    fn move_to_parts(&mut self) {
        let at = self.unit_at.expect("a unit is open");
        self.open_part();
        let body = at + UNIT_HEADER;
        self.parts[0].extend_from_slice(&self.open[body..]);
        self.done_bytes += self.open.len() - body;
        self.open.truncate(at);
        self.close_open();
    }

    fn open_part(&mut self) {
        let k = u32::try_from(self.parts.len()).expect("a unit fits memory");
        let mut part = Vec::with_capacity(PART_HEADER + self.part_bytes);
        part.push(KIND_PART);
        part.extend_from_slice(&self.large_units.to_le_bytes());
        part.extend_from_slice(&k.to_le_bytes());
        part.extend_from_slice(&[0; 4]); // n, known at the end
        self.done_bytes += part.len();
        self.parts.push(part);
    }

    /// Bytes of the open unit, as long as it has no parts.
    fn unit_len(&self) -> usize {
        self.open.len() - self.unit_at.expect("asked about the open unit") - UNIT_HEADER
    }

    /// Whether the open unit has no effect yet.
    pub fn unit_is_empty(&self) -> bool {
        self.parts.is_empty() && self.unit_len() == 0
    }

    /// Closes the open unit and says whether it holds anything; an empty one leaves no trace.
    pub fn end_unit(&mut self) -> bool {
        if !self.parts.is_empty() {
            self.end_large();
            return true;
        }
        let body = self.unit_len();
        let at = self.unit_at.take().expect("a unit is open");
        if body == 0 {
            self.open.truncate(at);
            return false;
        }
        let length = u32::try_from(body).expect("at most PART_BYTES");
        self.open[at..at + UNIT_HEADER].copy_from_slice(&length.to_le_bytes());
        true
    }

    /// T8: the parts of the open unit become entries of their own, and a batch of their own.
    fn end_large(&mut self) {
        self.unit_at = None;
        self.whole += 1;
        self.large_units += 1;
        let n = u32::try_from(self.parts.len()).expect("each has its number");
        for part in &mut self.parts {
            part[PART_HEADER - 4..PART_HEADER].copy_from_slice(&n.to_le_bytes());
            part.shrink_to_fit();
        }
        self.done.append(&mut self.parts);
    }

    fn close_open(&mut self) {
        if self.open.len() > 1 {
            self.done_bytes += self.open.len();
            self.done.push(self.open.as_slice().to_vec());
            self.whole += 1;
        }
        self.open.clear();
        self.open.shrink_to(KEPT_BYTES);
    }

    /// Whether nothing is to be proposed.
    pub fn is_empty(&self) -> bool {
        self.done.is_empty() && self.parts.is_empty() && self.open.len() <= 1
    }

    /// The turn's batches before the one that the open unit is in, or the next one will be. A unit
    /// that becomes a large one while it is open moves on to the next.
    pub fn number(&self) -> u32 {
        self.whole
    }

    /// Bytes that the proposal would carry.
    pub fn len(&self) -> usize {
        self.done_bytes + self.open.len()
    }

    /// The bodies of the entries to propose, in order; [`begins_batch`] tells their batches apart.
    /// The batch is empty afterwards.
    pub fn take(&mut self) -> Vec<Vec<u8>> {
        assert!(self.unit_at.is_none(), "a unit is still open");
        self.close_open();
        self.done_bytes = 0;
        self.large_units = 0;
        self.whole = 0;
        std::mem::take(&mut self.done)
    }
}

/// Whether a batch begins with the entry of this body: all do but the parts of a large unit that
/// follow its first one.
pub fn begins_batch(body: &[u8]) -> bool {
    let k = body.get(K_AT..K_AT + 4);
    body.first() != Some(&KIND_PART) || k == Some(&[0; 4])
}

/// LEB128, as protobuf has it.
pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{parse_entry, Body};

    const LARGE: usize = PART_BYTES + 1;

    /// Makes a unit of effects of these sizes; the number that it ends with.
    fn unit(batch: &mut Batch, sizes: &[usize]) -> u32 {
        batch.begin_unit();
        let mut number = 0;
        for size in sizes {
            batch.push(0, Op::numbered(99), &[b"k", &vec![b'x'; *size]]);
            number = batch.number();
        }
        batch.end_unit();
        number
    }

    /// How many units each batch of a proposal holds.
    fn batches(bodies: &[Vec<u8>]) -> Vec<usize> {
        let mut batches = Vec::new();
        for body in bodies {
            let units = match parse_entry(body).expect("a body") {
                Body::Units(units) => units.filter(Result::is_ok).count(),
                Body::Part(part) => usize::from(part.k + 1 == part.n),
                Body::Empty => panic!("nothing is proposed empty"),
            };
            if begins_batch(body) {
                batches.push(0);
            }
            *batches.last_mut().expect("the first body begins one") += units;
        }
        batches
    }

    #[test]
    fn a_large_unit_is_a_batch_of_its_own() {
        for (units, numbers, whole) in [
            (vec![vec![1], vec![1]], vec![0, 0], vec![2]),
            (vec![vec![LARGE]], vec![0], vec![1]),
            (
                vec![vec![LARGE], vec![1], vec![1]],
                vec![0, 1, 1],
                vec![1, 2],
            ),
            (vec![vec![1], vec![LARGE]], vec![0, 1], vec![1, 1]),
            // The second unit grows large.
            (
                vec![vec![1], vec![1, LARGE], vec![1]],
                vec![0, 1, 2],
                vec![1, 1, 1],
            ),
            (vec![vec![3 * LARGE], vec![LARGE]], vec![0, 1], vec![1, 1]),
            (
                vec![vec![LARGE, 1], vec![], vec![1]],
                vec![0, 0, 1],
                vec![1, 1],
            ),
        ] {
            let mut batch = Batch::new(PART_BYTES);
            let given: Vec<u32> = units.iter().map(|u| unit(&mut batch, u)).collect();
            let bytes = batch.len();
            let bodies = batch.take();
            assert_eq!(batches(&bodies), whole, "T6: {units:?}");
            assert_eq!(given, numbers, "{units:?}");
            assert_eq!(bodies.iter().map(Vec::len).sum::<usize>(), bytes);
            assert!(batch.is_empty() && batch.number() == 0);
        }
    }
}
