//! What waits to be written on one connection.
//!
//! Owns the queue and the writing. Invariants: the bytes that wait are counted; a piece of which a
//! part has been written is never dropped while its connection lives.

use super::event::{Counters, EventQueue};
use super::message::TransportConfig;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// Pieces and bytes of one write: beyond, a system call costs nothing next to the copying.
const WRITE_PIECES: usize = 128;
const WRITE_BYTES: usize = 256 << 10;

pub(super) enum Bytes {
    Own(Vec<u8>),
    Shared(Arc<[u8]>),
}

impl Bytes {
    fn get(&self) -> &[u8] {
        match self {
            Bytes::Own(bytes) => bytes,
            Bytes::Shared(bytes) => bytes,
        }
    }
}

struct Piece {
    head: Option<[u8; 8]>,
    bytes: Bytes,
}

impl Piece {
    fn parts(&self) -> [&[u8]; 2] {
        [self.head.as_ref().map_or(&[], |h| &h[..]), self.bytes.get()]
    }

    fn len(&self) -> usize {
        self.parts().iter().map(|part| part.len()).sum()
    }
}

pub(super) struct Outbox {
    queue: RefCell<VecDeque<Piece>>,
    bytes: Cell<usize>,
    /// Bytes of the first piece that have been written.
    written: Cell<usize>,
    filled: Notify,
    stall: Duration,
    event_queue: Arc<EventQueue>,
}

impl Outbox {
    pub fn new(event_queue: &Arc<EventQueue>, config: &TransportConfig) -> Outbox {
        Outbox {
            queue: RefCell::default(),
            bytes: Cell::new(0),
            written: Cell::new(0),
            filled: Notify::new(),
            stall: config.stall,
            event_queue: Arc::clone(event_queue),
        }
    }

    pub fn push(&self, head: Option<[u8; 8]>, bytes: Bytes) {
        let piece = Piece { head, bytes };
        let len = piece.len();
        if len == 0 {
            return; // A write of nothing looks like an end.
        }
        self.bytes.set(self.bytes.get() + len);
        Counters::add(&self.event_queue.counters.queued_bytes, len as u64);
        self.queue.borrow_mut().push_back(piece);
        self.filled.notify_one();
    }

    /// Drops the oldest pieces that can be dropped, but not the newest, until no more than `limit`
    /// bytes wait.
    pub fn drop_oldest(&self, limit: usize) {
        let mut queue = self.queue.borrow_mut();
        let first = usize::from(self.written.get() > 0);
        while self.bytes.get() > limit && queue.len() > first + 1 {
            if let Some(piece) = queue.remove(first) {
                self.forget(piece.len());
                Counters::add(&self.event_queue.counters.dropped_frames, 1);
            }
        }
    }

    /// Drops everything: the connection is gone, and what waited for it too late to be of use.
    pub fn clear(&self) {
        let pieces = std::mem::take(&mut *self.queue.borrow_mut());
        Counters::add(
            &self.event_queue.counters.dropped_frames,
            pieces.len() as u64,
        );
        self.forget(self.bytes.get());
        self.written.set(0);
    }

    pub fn bytes(&self) -> usize {
        self.bytes.get()
    }

    pub fn is_empty(&self) -> bool {
        self.queue.borrow().is_empty()
    }

    /// Waits until something waits.
    pub async fn filled(&self) {
        while self.is_empty() {
            self.filled.notified().await;
        }
    }

    /// Writes what comes, for as long as the connection takes it.
    pub async fn write(&self, stream: &TcpStream) -> io::Error {
        loop {
            self.filled().await;
            match self.write_some(stream) {
                Ok(0) => return ErrorKind::WriteZero.into(),
                Ok(n) => {
                    self.advance(n);
                    if !self.is_empty() {
                        // Somebody else may have something urgent.
                        tokio::task::yield_now().await;
                    }
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    match tokio::time::timeout(self.stall, stream.writable()).await {
                        Ok(Ok(())) => {}
                        Ok(Err(e)) => return e,
                        Err(_) => return ErrorKind::TimedOut.into(),
                    }
                }
                Err(e) => return e,
            }
        }
    }

    /// One write of as many pieces as make sense.
    fn write_some(&self, stream: &TcpStream) -> io::Result<usize> {
        let queue = self.queue.borrow();
        let mut slices = [IoSlice::new(&[]); 2 * WRITE_PIECES];
        let (mut count, mut total, mut skip) = (0, 0, self.written.get());
        for piece in queue.iter().take(WRITE_PIECES) {
            for part in piece.parts() {
                let skipped = skip.min(part.len());
                skip -= skipped;
                if part.len() > skipped {
                    slices[count] = IoSlice::new(&part[skipped..]);
                    (count, total) = (count + 1, total + part.len() - skipped);
                }
            }
            if total >= WRITE_BYTES {
                break;
            }
        }
        stream.try_write_vectored(&slices[..count])
    }

    fn advance(&self, n: usize) {
        let mut queue = self.queue.borrow_mut();
        let mut written = self.written.get() + n;
        while let Some(len) = queue.front().map(Piece::len).filter(|&len| len <= written) {
            written -= len;
            queue.pop_front();
            self.forget(len);
        }
        self.written.set(written);
    }

    fn forget(&self, len: usize) {
        self.bytes.set(self.bytes.get() - len);
        Counters::sub(&self.event_queue.counters.queued_bytes, len as u64);
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.clear();
    }
}
