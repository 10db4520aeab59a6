//! What waits to be written on one connection.
//!
//! Owns the queue and the writing, for any thread. Invariants: the bytes that wait are counted; a piece of
//! which a part has been written is never dropped while its connection lives; pieces are written in the order
//! in which they came, whichever thread writes them.

use super::event::{Counters, EventQueue};
use super::message::TransportConfig;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// Pieces and bytes of one write: beyond, a system call costs nothing next to the copying, and a thread that sends
/// on the same link, or needs the core, waits for the copying.
const WRITE_PIECES: usize = 128;
const WRITE_BYTES: usize = 64 << 10;

/// A longer piece is left to the links' thread: copying it would hold up the thread that sends it.
const WRITE_AT_ONCE: usize = 16 << 10;

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

#[derive(Default)]
struct Queue {
    pieces: VecDeque<Piece>,
    /// Bytes of all pieces.
    bytes: usize,
    /// Bytes of the first piece that have been written.
    written: usize,
    /// The connection, while it stands.
    stream: Option<Arc<dyn Sink>>,
}

/// A connection as far as it is written to, by any thread; one of them waits.
pub(super) trait Sink: Send + Sync {
    /// Never waits.
    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize>;
    /// Ready when it may take more.
    fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>>;
}

impl Sink for TcpStream {
    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.try_write_vectored(slices)
    }

    fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_write_ready(context)
    }
}

pub(super) struct Outbox {
    queue: Mutex<Queue>,
    filled: Notify,
    stall: Duration,
    event_queue: Arc<EventQueue>,
}

impl Outbox {
    pub fn new(event_queue: &Arc<EventQueue>, config: &TransportConfig) -> Outbox {
        Outbox {
            queue: Mutex::default(),
            filled: Notify::new(),
            stall: config.stall,
            event_queue: Arc::clone(event_queue),
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For the links' thread to write.
    pub fn push(&self, head: Option<[u8; 8]>, bytes: Bytes) {
        if self.add(&mut self.queue(), head, bytes) {
            self.filled.notify_one();
        }
    }

    /// Writes a short piece at once, if nothing waits and the connection takes it; what is left waits for the
    /// links' thread. Of more than `limit` bytes that wait the oldest pieces are dropped, but not the newest.
    pub fn send(&self, head: Option<[u8; 8]>, bytes: Bytes, limit: usize) {
        let mut queue = self.queue();
        let first = queue.pieces.is_empty();
        if !self.add(&mut queue, head, bytes) {
            return;
        }
        if first && queue.bytes <= WRITE_AT_ONCE {
            self.write_at_once(&mut queue);
        }
        self.drop_oldest(&mut queue, limit);
        if !queue.pieces.is_empty() {
            self.filled.notify_one();
        }
    }

    /// What fails here fails again for the links' thread, which then ends the connection.
    fn write_at_once(&self, queue: &mut Queue) {
        let Some(stream) = queue.stream.clone() else {
            return;
        };
        if let Ok(n) = queue.write_some(&*stream) {
            self.advance(queue, n);
        }
    }

    /// Whether there was anything to add.
    fn add(&self, queue: &mut Queue, head: Option<[u8; 8]>, bytes: Bytes) -> bool {
        let piece = Piece { head, bytes };
        let len = piece.len();
        if len == 0 {
            return false; // A write of nothing looks like an end.
        }
        queue.bytes += len;
        Counters::add(&self.event_queue.counters.queued_bytes, len as u64);
        queue.pieces.push_back(piece);
        true
    }

    /// Drops the oldest pieces that can be dropped, but not the newest, until no more than `limit`
    /// bytes wait.
    fn drop_oldest(&self, queue: &mut Queue, limit: usize) {
        let first = usize::from(queue.written > 0);
        while queue.bytes > limit && queue.pieces.len() > first + 1 {
            if let Some(piece) = queue.pieces.remove(first) {
                self.forget(queue, piece.len());
                Counters::add(&self.event_queue.counters.dropped_frames, 1);
            }
        }
    }

    /// Drops everything: the connection is gone, and what waited for it too late to be of use.
    pub fn clear(&self) {
        let mut queue = self.queue();
        let pieces = std::mem::take(&mut queue.pieces);
        Counters::add(
            &self.event_queue.counters.dropped_frames,
            pieces.len() as u64,
        );
        let bytes = queue.bytes;
        self.forget(&mut queue, bytes);
        queue.written = 0;
    }

    pub fn bytes(&self) -> usize {
        self.queue().bytes
    }

    pub fn is_empty(&self) -> bool {
        self.queue().pieces.is_empty()
    }

    /// Waits until something waits.
    pub async fn filled(&self) {
        while self.is_empty() {
            self.filled.notified().await;
        }
    }

    /// Writes what comes, for as long as the connection takes it.
    pub async fn write(&self, stream: Arc<dyn Sink>) -> io::Error {
        let _stands = Stands::begin(self, &stream);
        loop {
            self.filled().await;
            match self.write_what_waits(&*stream) {
                Ok(0) => return ErrorKind::WriteZero.into(),
                // Somebody else may have something urgent.
                Ok(_) if !self.is_empty() => tokio::task::yield_now().await,
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    let writable = poll_fn(|context| stream.poll_writable(context));
                    match tokio::time::timeout(self.stall, writable).await {
                        Ok(Ok(())) => {}
                        Ok(Err(e)) => return e,
                        Err(_) => return ErrorKind::TimedOut.into(),
                    }
                }
                Err(e) => return e,
            }
        }
    }

    fn write_what_waits(&self, stream: &dyn Sink) -> io::Result<usize> {
        let mut queue = self.queue();
        let n = queue.write_some(stream)?;
        self.advance(&mut queue, n);
        Ok(n)
    }

    fn advance(&self, queue: &mut Queue, n: usize) {
        let mut written = queue.written + n;
        while let Some(len) = queue
            .pieces
            .front()
            .map(Piece::len)
            .filter(|&len| len <= written)
        {
            written -= len;
            queue.pieces.pop_front();
            self.forget(queue, len);
        }
        queue.written = written;
    }

    fn forget(&self, queue: &mut Queue, len: usize) {
        queue.bytes -= len;
        Counters::sub(&self.event_queue.counters.queued_bytes, len as u64);
    }
}

impl Queue {
    /// One write of as many pieces as make sense.
    fn write_some(&self, stream: &dyn Sink) -> io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); 2 * WRITE_PIECES];
        let (mut count, mut room, mut skip) = (0, WRITE_BYTES, self.written);
        for piece in self.pieces.iter().take(WRITE_PIECES) {
            for part in piece.parts() {
                let skipped = skip.min(part.len());
                skip -= skipped;
                let part = &part[skipped..];
                let part = &part[..part.len().min(room)];
                if !part.is_empty() {
                    slices[count] = IoSlice::new(part);
                    (count, room) = (count + 1, room - part.len());
                }
            }
            if room == 0 {
                break;
            }
        }
        stream.try_write(&slices[..count])
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.clear();
    }
}

/// A connection that every thread may write to, until this is dropped.
struct Stands<'a>(&'a Outbox);

impl Stands<'_> {
    fn begin<'a>(outbox: &'a Outbox, stream: &Arc<dyn Sink>) -> Stands<'a> {
        outbox.queue().stream = Some(Arc::clone(stream));
        Stands(outbox)
    }
}

impl Drop for Stands<'_> {
    fn drop(&mut self) {
        self.0.queue().stream = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// The most bytes that one write has offered.
    #[derive(Default)]
    struct Offered(AtomicUsize);

    impl Sink for Offered {
        fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            let bytes = slices.iter().map(|slice| slice.len()).sum();
            self.0.fetch_max(bytes, Ordering::SeqCst);
            Ok(bytes)
        }

        fn poll_writable(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// While the thread writes, one that sends waits for it.
    #[test]
    fn a_long_piece_is_written_in_parts() {
        let poll = mio::Poll::new().unwrap();
        let waker = Arc::new(mio::Waker::new(poll.registry(), mio::Token(0)).unwrap());
        let (event_queue, _events) = EventQueue::new(waker);
        let outbox = Outbox::new(&event_queue, &TransportConfig::default());
        let long = (0..3 * WRITE_BYTES).map(|n| n as u8).collect();
        outbox.push(Some([7; 8]), Bytes::Own(long));
        outbox.push(None, Bytes::Own(b"short".to_vec()));
        let (sink, mut all) = (Offered::default(), 0);
        while !outbox.is_empty() {
            all += outbox.write_what_waits(&sink).unwrap();
        }
        assert_eq!(all, 8 + 3 * WRITE_BYTES + 5);
        let most = sink.0.load(Ordering::SeqCst);
        assert!(most <= WRITE_BYTES, "one write of {most} bytes");
    }
}
