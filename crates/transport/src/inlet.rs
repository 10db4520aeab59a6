//! Raft links whose frames the loop reads itself, once it is proved who sends them.
//!
//! Waking the links' thread for each frame, and then the loop, costs two switches of threads for what is one
//! read. Owns the reading of these links on the side of the loop ([`Inlets`]) and what both sides know of one
//! ([`Inlet`], [`End`]); the thread keeps the rest of a link's life and writes what a socket does not take at
//! once. Invariants: what has been read and not been taken is one buffer's worth of frames, and of each link
//! one frame that is not whole; no link keeps the others waiting for more than one read; a link that the
//! thread has let go brings nothing more.

use super::event::EventQueue;
use super::frame::Assembler;
use super::guests::Seat;
use super::message::Event;
use super::outbox::{Outbox, Sink};
use super::peer::{of_the_links, NonceFrame};
use super::socket::ReadError;
use cluster_bus::NodeId;
use mio::unix::SourceFd;
use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::io::Interest;
use tokio::sync::Notify;

/// Read by one call.
const READ_BYTES: usize = 64 << 10;
/// Links looked at by one call.
const EVENTS: usize = 64;
/// After so much that was read the loop's turn goes on, and another one follows.
const PATIENCE: usize = 4 << 20;
/// So much more may be read after each event that the loop has taken, of which it takes a bounded number in a turn.
const PATIENCE_AN_EVENT: usize = 4 << 10;
/// Frames of the links' own of one link that wait for the thread, which may be slower than the loop.
const MOST_QUESTIONS: usize = 16;
/// As so many bytes counts a frame of the links' own: they are short, and none ends the loop's turn.
const OWN_FRAME: usize = 256;

/// Why a link's reading has ended, and whether the link has.
#[derive(Default)]
pub(super) struct End {
    error: Mutex<Option<ReadError>>,
    told: Notify,
    /// The thread has let go of the link.
    over: AtomicBool,
}

impl End {
    /// The loop gives nothing more of the link.
    pub fn let_go(&self) {
        self.over.store(true, Ordering::SeqCst);
    }

    fn tell(&self, error: ReadError) {
        let mut place = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        *place = Some(error);
        self.told.notify_one();
    }

    /// Waits until the loop can't read any more.
    pub async fn told(&self) -> ReadError {
        loop {
            self.told.notified().await;
            let mut place = self.error.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(error) = place.take() {
                return error;
            }
        }
    }
}

/// A link that the loop is to read.
pub(super) struct Inlet {
    from: NodeId,
    stream: Arc<TcpStream>,
    assembler: Assembler,
    end: Arc<End>,
    made_here: Option<MadeHere>,
    /// One more for each frame of the links' own that the thread has not taken.
    questions: Arc<()>,
}

/// What a link has that was made to here.
pub(super) struct MadeHere {
    /// Where what answers goes.
    pub answers: Arc<Outbox>,
    /// The thread may end the link long before the loop lets go of its file.
    pub _seat: Arc<Seat>,
    pub end: Arc<End>,
}

/// A frame of the links' own, for the thread.
pub(super) struct OwnFrame {
    pub from: NodeId,
    /// Of a link that was made to here.
    pub answers: Option<Arc<Outbox>>,
    pub frame: NonceFrame,
    _waits: Arc<()>,
}

impl Inlet {
    /// None: as many wait already as one that means them can have sent. It asks again.
    fn own(&self, frame: NonceFrame) -> Option<OwnFrame> {
        let waits = (Arc::strong_count(&self.questions) <= MOST_QUESTIONS)
            .then(|| Arc::clone(&self.questions))?;
        Some(OwnFrame {
            from: self.from,
            answers: self.made_here.as_ref().map(|m| Arc::clone(&m.answers)),
            frame,
            _waits: waits,
        })
    }
}

/// The thread's side of a link that the loop reads: dropping it ends the link.
pub(super) struct Kept {
    pub sink: Arc<dyn Sink>,
    pub end: Arc<End>,
    stream: Arc<TcpStream>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.end.let_go();
        // The loop then finds its end. One that is gone already can't be shut down.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// Lets the loop read a link from now on; `assembler` has what has been read of a frame that is not whole.
pub(super) fn hand_over(
    event_queue: &EventQueue,
    stream: tokio::net::TcpStream,
    assembler: Assembler,
    from: NodeId,
    made_here: Option<MadeHere>,
) -> io::Result<Kept> {
    let stream = Arc::new(stream.into_std()?);
    // Only for writing: what arrives is not to wake the thread.
    // SAFETY: the Arc keeps the one open file until the AsyncFd that owns it is dropped.
    let sink = unsafe { AsyncFd::register_with_interest(Arc::clone(&stream), Interest::WRITABLE)? };
    let of_link = made_here.as_ref().map(|m| Arc::clone(&m.end));
    let kept = Kept {
        sink: Arc::new(sink),
        end: of_link.unwrap_or_default(),
        stream: Arc::clone(&stream),
    };
    event_queue.hand_over(Inlet {
        from,
        stream,
        assembler: assembler.of_proved(),
        end: Arc::clone(&kept.end),
        made_here,
        questions: Arc::default(),
    });
    Ok(kept)
}

impl Sink for AsyncFd<Arc<TcpStream>> {
    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.try_io(Interest::WRITABLE, |stream| {
            (&**stream).write_vectored(slices)
        })
    }

    fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_write_ready(context).map_ok(drop)
    }
}

/// A link of the table.
struct Open {
    inlet: Inlet,
    /// It stands in [`Inlets::ready`].
    is_ready: bool,
    /// The other side has closed it: a short read does not say that nothing is left.
    is_closing: bool,
}

/// All the links that the loop reads.
pub(super) struct Inlets {
    poll: mio::Poll,
    events: mio::Events,
    table: HashMap<usize, Open>,
    taken: usize,
    ready: VecDeque<usize>,
    /// Frames that were read and not taken.
    whole: VecDeque<Event>,
    buffer: Vec<u8>,
    /// The poller has been asked since there was last nothing.
    looked: bool,
    /// Bytes read in this turn of the loop, nearly. Whole frames do not begin it anew: between two of them there may
    /// be megabytes of what is none.
    read: usize,
    waker: Arc<mio::Waker>,
}

impl Inlets {
    pub fn new(waker: Arc<mio::Waker>) -> io::Result<Inlets> {
        Ok(Inlets {
            poll: mio::Poll::new()?,
            events: mio::Events::with_capacity(EVENTS),
            table: HashMap::new(),
            taken: 0,
            ready: VecDeque::new(),
            whole: VecDeque::new(),
            buffer: vec![0; READ_BYTES],
            looked: false,
            read: 0,
            waker,
        })
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Of the link of which most questions wait for the thread, how many.
    #[cfg(test)]
    pub fn questions(&self) -> usize {
        let of = |open: &Open| Arc::strong_count(&open.inlet.questions) - 1;
        self.table.values().map(of).max().unwrap_or(0)
    }

    /// Bytes that have arrived and were not read.
    #[cfg(test)]
    pub fn unread(&self) -> usize {
        let of = |open: &Open| {
            let mut bytes: libc::c_int = 0;
            // SAFETY: the file is open, and the call writes one int.
            let rc =
                unsafe { libc::ioctl(open.inlet.stream.as_raw_fd(), libc::FIONREAD, &mut bytes) };
            assert_eq!(rc, 0);
            bytes as usize
        };
        self.table.values().map(of).sum()
    }

    /// Readable when a link is.
    pub fn fd(&self) -> RawFd {
        self.poll.as_raw_fd()
    }

    pub fn add(&mut self, inlet: Inlet) {
        let token = mio::Token(self.taken);
        let fd = inlet.stream.as_raw_fd();
        let registry = self.poll.registry();
        if let Err(error) = registry.register(&mut SourceFd(&fd), token, mio::Interest::READABLE) {
            return inlet.end.tell(error.into());
        }
        self.taken += 1;
        let open = Open {
            inlet,
            is_ready: false,
            is_closing: false,
        };
        self.table.insert(token.0, open);
        // What had arrived before is found as well.
        self.looked = false;
    }

    /// The loop has taken an event, and asks on: under a flood of them it never finds nothing.
    pub fn go_on(&mut self) {
        self.read = self.read.saturating_sub(PATIENCE_AN_EVENT);
    }

    /// The loop has found nothing more in this turn, and goes on; what is left it comes back for.
    pub fn rest(&mut self) {
        if std::mem::take(&mut self.read) > PATIENCE {
            // It fails only when the loop's poller is gone.
            let _ = self.waker.wake();
        }
    }

    /// The next frame. `between` takes those of the links themselves. `None`: the poller says when there is
    /// more, or enough was read in this turn ([`Inlets::rest`]).
    pub fn next(&mut self, between: &mut impl FnMut(OwnFrame)) -> Option<Event> {
        loop {
            if let Some(event) = self.whole.pop_front() {
                return Some(event);
            }
            if self.read > PATIENCE {
                return None;
            }
            match self.ready.pop_front() {
                Some(token) => self.read(token, between),
                None if self.looked => {
                    self.looked = false;
                    return None;
                }
                None => self.look(),
            }
        }
    }

    /// Asks the poller once.
    fn look(&mut self) {
        // An interrupted look is repeated; no other error is known for a poller that is open.
        while let Err(error) = self.poll.poll(&mut self.events, Some(Duration::ZERO)) {
            assert!(
                error.kind() == ErrorKind::Interrupted,
                "the links' poller: {error}"
            );
        }
        // A full answer says that there may be more.
        self.looked = self.events.iter().count() < EVENTS;
        for event in &self.events {
            let token = event.token().0;
            if let Some(open) = self.table.get_mut(&token) {
                open.is_closing |= event.is_read_closed() || event.is_error();
                if !std::mem::replace(&mut open.is_ready, true) {
                    self.ready.push_back(token);
                }
            }
        }
    }

    /// One read of one link.
    fn read(&mut self, token: usize, between: &mut impl FnMut(OwnFrame)) {
        let Some(open) = self.table.get_mut(&token) else {
            return;
        };
        match read_once(open, &mut self.buffer, &mut self.whole, between) {
            Ok((n, own)) => {
                self.read += n + own * OWN_FRAME;
                open.is_ready = n == self.buffer.len() || (n > 0 && open.is_closing);
                if open.is_ready {
                    self.ready.push_back(token);
                }
            }
            Err(error) => {
                open.inlet.end.tell(error);
                let fd = open.inlet.stream.as_raw_fd();
                // It fails only for one that the poller does not know.
                let _ = self.poll.registry().deregister(&mut SourceFd(&fd));
                self.table.remove(&token);
            }
        }
    }
}

/// How many bytes there were, 0: none for now; and how many frames of the links' own.
fn read_once(
    open: &mut Open,
    buffer: &mut [u8],
    whole: &mut VecDeque<Event>,
    between: &mut impl FnMut(OwnFrame),
) -> Result<(usize, usize), ReadError> {
    let inlet = &mut open.inlet;
    if inlet.end.over.load(Ordering::SeqCst) {
        return Err(ReadError::Closed);
    }
    let n = loop {
        match (&*inlet.stream).read(buffer) {
            Ok(0) => return Err(ReadError::Closed),
            Ok(n) => break n,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok((0, 0)),
            Err(e) => return Err(e.into()),
        }
    };
    let (mut input, mut own) = (&buffer[..n], 0);
    while let Some(bytes) = inlet.assembler.next(&mut input)? {
        match of_the_links(&bytes) {
            Some(frame) => {
                own += 1;
                inlet.own(frame).into_iter().for_each(&mut *between);
            }
            None => whole.push_back(Event::Raft {
                from: inlet.from,
                proved: true,
                bytes,
            }),
        }
    }
    Ok((n, own))
}
