//! The output of one connection: one FIFO of bytes, each reply behind its gate (T4), and what
//! becomes of replies whose write did not happen (T6).
//!
//! Owns the bytes until the socket has taken them. Never knows what a reply means or when a gate
//! opens. Invariants: bytes leave in the order in which they were sealed; a reply leaves only when
//! its own gate and those of all before it are released; the gates in the queue never fall; a
//! reply is written whole, replaced whole or, with the connection, dropped.
//!
//! Two gates per reply: the running maximum decides when it leaves, its own decides whether it
//! fails (a PING behind a failed SET is still answered by itself).

use base::ids::{BatchSeq, ReadId};
use base::mutation::{self, Mutation};
use state::Gate;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::ops::RangeInclusive;

/// Capacity kept between turns; a burst's excess goes back as soon as it has been written, the rest
/// when the connection falls idle ([`Output::trim`]).
const KEPT_BYTES: usize = 16 * 1024;
const KEPT_SEGMENTS: usize = 16;
const KEPT_SLOTS: usize = 1024;

/// How much written prefix is worth moving the rest to the front.
const COMPACT_BYTES: usize = 64 * 1024;

/// No slot: a value that no slot has.
const NO_SLOT: u16 = u16::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Answers a command: replaced when its batch fails.
    Reply,
    /// Nobody waits for it (a message, an invalidation): dropped when its batch fails.
    Push,
}

/// Neighbours that wait for the same things.
#[derive(Clone, Debug)]
struct Segment {
    /// The position after its last byte, counted from the connection's first.
    end: u64,
    /// The running maximum: when it may leave.
    gate: Gate,
    /// What its replies themselves still waited for when they were sealed: what fails them.
    own: Gate,
    count: u32,
    kind: Kind,
}

impl Segment {
    /// Whether its replies' slots are in the queue of slots.
    fn has_slots(&self) -> bool {
        self.kind == Kind::Reply && self.own != Gate::OPEN
    }
}

/// What [`Output::write_to`] left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flushed {
    /// All released bytes are written.
    All,
    /// The socket is full.
    Short,
}

/// See the module. Indexes (`written <= open <= sealed <= buf.len()`) are places in `buf`.
#[derive(Debug, Default)]
pub struct Output {
    buf: Vec<u8>,
    /// The position of `buf[0]` in the connection's output.
    base: u64,
    written: usize,
    /// Everything before is released.
    open: usize,
    /// The end of the last reply.
    sealed: usize,
    /// From `open` to `sealed`, in order; the first is not released.
    segments: VecDeque<Segment>,
    /// Per reply of the segments that can fail.
    slots: VecDeque<u16>,
    /// The running maximum.
    gate: Gate,
    released: Gate,
    closing: bool,
}

impl Output {
    pub fn new() -> Output {
        Output::default()
    }

    /// Where replies are written. What is there already must not be touched.
    #[inline]
    pub fn buf(&mut self) -> &mut Vec<u8> {
        &mut self.buf
    }

    /// Ends a reply: what was written since the last seal waits for `gate` and all before it.
    /// `slot` is handed to `moved` if the reply fails. Without bytes (CLIENT REPLY OFF) only the
    /// running maximum rises.
    #[inline]
    pub fn seal(&mut self, gate: Gate, slot: Option<u16>) {
        self.seal_as(Kind::Reply, gate, slot.unwrap_or(NO_SLOT));
    }

    /// Ends a push: like a reply, but dropped if its batch fails.
    pub fn seal_push(&mut self, gate: Gate) {
        self.seal_as(Kind::Push, gate, NO_SLOT);
    }

    // T4: one queue; the gate of a segment is the maximum of all before it. The slot comes as one
    // number: an option's two halves, just written, would be read as one word, and that waits.
    #[inline]
    fn seal_as(&mut self, kind: Kind, gate: Gate, slot: u16) {
        if self.closing {
            self.buf.truncate(self.sealed);
            return;
        }
        self.gate = self.gate.join(gate);
        let end = self.buf.len();
        if end == self.sealed {
            return;
        }
        self.sealed = end;
        if self.segments.is_empty() && self.gate.is_released_by(self.released) {
            self.open = end;
            return;
        }
        if mutation::is(Mutation::OvertakeHeldOutput) && gate.is_released_by(self.released) {
            self.segments.clear();
            self.slots.clear();
            self.open = end;
            return;
        }
        let own = gate.beyond(self.released);
        let end = self.base + end as u64;
        match self.segments.back_mut() {
            Some(s) if s.gate == self.gate && s.own == own && s.kind == kind => {
                s.end = end;
                s.count += 1;
            }
            _ => self.segments.push_back(Segment {
                end,
                gate: self.gate,
                own,
                count: 1,
                kind,
            }),
        }
        if kind == Kind::Reply && own != Gate::OPEN {
            self.slots.push_back(slot);
        }
    }

    /// Drops what was written since the last seal.
    pub fn discard_unsealed(&mut self) {
        self.buf.truncate(self.sealed);
    }

    /// Opens all gates up to `released` (T5 is the caller's to know).
    pub fn release(&mut self, released: Gate) {
        self.released = self.released.join(released);
        while let Some(front) = self.segments.front() {
            if !front.gate.is_released_by(self.released) {
                return;
            }
            self.open = usize::try_from(front.end - self.base).expect("a place in buf");
            if front.has_slots() {
                self.slots.drain(..front.count as usize);
            }
            self.segments.pop_front();
        }
        self.segments.shrink_to(KEPT_SEGMENTS);
        self.slots.shrink_to(KEPT_SLOTS);
    }

    /// The batches did not happen (T6): each reply that needs one of them is replaced by what
    /// `moved` writes for its slot (at least a byte), each push that does is dropped. Nothing
    /// waits for these batches any more.
    pub fn fail(
        &mut self,
        batches: RangeInclusive<BatchSeq>,
        moved: &mut dyn FnMut(Option<u16>, &mut Vec<u8>),
    ) {
        let released = self.released.batch;
        self.fail_where(
            |own| own.batch > released && batches.contains(&own.batch),
            moved,
        );
    }

    /// The reads can't be confirmed any more (the lease is lost for good): as [`Self::fail`].
    pub fn fail_reads(
        &mut self,
        reads: RangeInclusive<ReadId>,
        moved: &mut dyn FnMut(Option<u16>, &mut Vec<u8>),
    ) {
        let released = self.released.read;
        self.fail_where(
            |own| own.read > released && reads.contains(&own.read),
            moved,
        );
    }

    fn fail_where(
        &mut self,
        fails: impl Fn(Gate) -> bool,
        moved: &mut dyn FnMut(Option<u16>, &mut Vec<u8>),
    ) {
        // A reply may also wait for a batch whose own replies were suppressed.
        if !self.segments.iter().any(|s| fails(s.own) || fails(s.gate)) {
            self.gate = self
                .gate
                .join(self.segments.back().map_or(Gate::OPEN, |s| s.gate));
            return;
        }
        let old = self.buf.split_off(self.open);
        let old_base = self.base + self.open as u64;
        let unsealed = self.sealed - self.open;
        let segments = std::mem::take(&mut self.segments);
        let mut slots = std::mem::take(&mut self.slots).into_iter();
        let mut start = 0;
        let mut running = Gate::OPEN;
        for mut segment in segments {
            let end = usize::try_from(segment.end - old_base).expect("a place in buf");
            let count = if segment.has_slots() {
                segment.count as usize
            } else {
                0
            };
            if !fails(segment.own) {
                self.buf.extend_from_slice(&old[start..end]);
                self.slots.extend(slots.by_ref().take(count));
            } else if segment.kind == Kind::Reply {
                for slot in slots.by_ref().take(count) {
                    let before = self.buf.len();
                    moved((slot != NO_SLOT).then_some(slot), &mut self.buf);
                    assert!(self.buf.len() > before, "a reply is replaced, not lost");
                }
                segment.own = Gate::OPEN;
            }
            start = end;
            if segment.kind == Kind::Push && fails(segment.own) {
                continue;
            }
            running = running.join(segment.own);
            segment.gate = running;
            segment.end = self.base + self.buf.len() as u64;
            self.segments.push_back(segment);
        }
        self.gate = running;
        self.sealed = self.buf.len();
        self.buf.extend_from_slice(&old[unsealed..]);
        self.release(self.released);
    }

    /// The outcome of the batches is unknown (T6): from the first reply or push that needs one of
    /// them on nothing is written; what is before it still is, then the connection is to be
    /// closed. Returns whether there was such a reply.
    pub fn poison(&mut self, batches: RangeInclusive<BatchSeq>) -> bool {
        let released = self.released.batch;
        let unknown = |s: &Segment| s.own.batch > released && batches.contains(&s.own.batch);
        let Some(first) = self.segments.iter().position(unknown) else {
            return false;
        };
        let end = match first.checked_sub(1) {
            Some(last) => {
                usize::try_from(self.segments[last].end - self.base).expect("a place in buf")
            }
            None => self.open,
        };
        let kept = self.segments.iter().take(first).filter(|s| s.has_slots());
        self.slots.truncate(kept.map(|s| s.count as usize).sum());
        self.segments.truncate(first);
        self.buf.truncate(end);
        self.sealed = end;
        self.closing = true;
        true
    }

    /// What is sealed is the last that the client gets; see [`Self::is_finished`].
    pub fn close_after(&mut self) {
        self.discard_unsealed();
        self.closing = true;
    }

    /// Nothing may be added any more.
    pub fn is_closing(&self) -> bool {
        self.closing
    }

    /// The connection has got all that it may get and is to be closed.
    pub fn is_finished(&self) -> bool {
        self.closing && self.written == self.sealed
    }

    /// Bytes that wait for a gate.
    #[inline]
    pub fn held_bytes(&self) -> usize {
        self.buf.len() - self.open
    }

    /// Bytes that may leave and that the socket has not taken: its client does not read.
    #[inline]
    pub fn unread_bytes(&self) -> usize {
        self.open - self.written
    }

    /// Bytes that the socket has not taken, held or not.
    pub fn pending_bytes(&self) -> usize {
        self.buf.len() - self.written
    }

    /// What the first held reply waits for.
    pub fn pending_gate(&self) -> Option<Gate> {
        self.segments.front().map(|s| s.gate)
    }

    /// The running maximum: what anything sent now on behalf of this connection depends on.
    pub fn gate(&self) -> Gate {
        self.gate.beyond(self.released)
    }

    /// There are released bytes to write.
    #[inline]
    pub fn wants_write(&self) -> bool {
        self.written < self.open
    }

    /// Heap memory, for CLIENT LIST and the limits.
    pub fn memory_bytes(&self) -> usize {
        self.buf.capacity()
            + self.segments.capacity() * std::mem::size_of::<Segment>()
            + self.slots.capacity() * std::mem::size_of::<u16>()
    }

    /// Writes what is released, with one call.
    pub fn write_to(&mut self, socket: &mut impl Write) -> io::Result<Flushed> {
        while self.wants_write() {
            match socket.write(&self.buf[self.written..self.open]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(n) => {
                    self.written += n;
                    break;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(Flushed::Short),
                Err(e) => return Err(e),
            }
        }
        let flushed = if self.wants_write() {
            Flushed::Short
        } else {
            Flushed::All
        };
        self.compact();
        Ok(flushed)
    }

    /// Gives up the written prefix: for nothing when all is written, else when moving the rest is
    /// paid for by the bytes written since the last time.
    fn compact(&mut self) {
        let moved = self.written;
        if moved == self.buf.len() {
            self.buf.clear();
            if self.buf.capacity() > KEPT_BYTES {
                self.buf = Vec::new();
            }
        } else if moved >= COMPACT_BYTES && moved >= self.buf.len() - moved {
            self.buf.drain(..moved);
            self.buf
                .shrink_to(self.buf.len().saturating_mul(4).max(KEPT_BYTES));
        } else {
            return;
        }
        self.base += moved as u64;
        self.written = 0;
        self.open -= moved;
        self.sealed -= moved;
    }

    /// Gives back what an idle connection does not need; for a timer.
    pub fn trim(&mut self) {
        if self.buf.is_empty() {
            self.buf = Vec::new();
        }
        if self.segments.is_empty() {
            self.segments = VecDeque::new();
            self.slots = VecDeque::new();
        }
    }
}
