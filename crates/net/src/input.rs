//! The input of one connection: from the socket to commands, with as little copying as can be.
//!
//! A read goes into one buffer that all connections of the thread share, and commands are parsed in
//! place there; only what is left when the visit ends is copied into memory of the connection. An
//! idle connection therefore owns no input memory. A command too big for that grows in the
//! connection's own buffer, which is read into directly. Invariants: bytes are copied a bounded
//! number of times, whatever their cut; memory follows what has arrived (at most eight times that),
//! not what was announced; the order of bytes is that of the socket.

use crate::socket::Socket;
use resp::{Args, Argv, Limits, Parsed, Parser, ProtocolError};
use std::io;
use std::mem::MaybeUninit;

/// One read at most.
const READ_BYTES: usize = 64 * 1024;
/// A rest this small is put before the fresh bytes in the shared buffer instead of growing.
const CARRY_BYTES: usize = 4 * 1024;
/// One read into a big command's own buffer at most.
const BIG_READ_BYTES: usize = 1024 * 1024;
/// Less room than this is not worth a read when more bytes are known to be needed.
const MIN_ROOM_BYTES: usize = 16 * 1024;
/// How far the room for an announced argument may run ahead of its bytes.
const GROWTH: usize = 8;

/// The shared buffer of a thread.
pub struct ReadBuffer {
    bytes: Box<[u8]>,
}

impl Default for ReadBuffer {
    fn default() -> ReadBuffer {
        ReadBuffer::new()
    }
}

impl ReadBuffer {
    pub fn new() -> ReadBuffer {
        ReadBuffer {
            bytes: vec![0; CARRY_BYTES + READ_BYTES].into_boxed_slice(),
        }
    }
}

/// What [`Input::next`] found.
#[derive(Debug)]
pub enum Next<'a> {
    /// Call [`Input::consume`] when it has been executed or refused. A command that must be run
    /// again later is not consumed: it comes again.
    /// `rest`: the bytes behind it.
    Command {
        args: Args<'a>,
        consumed: usize,
        rest: &'a [u8],
    },
    /// All complete commands have been taken.
    Starved,
}

/// See the module.
#[derive(Debug)]
pub struct Input {
    parser: Parser,
    /// The unconsumed bytes of earlier visits.
    own: Vec<u8>,
    /// Consumed bytes at the front of the current ones.
    start: usize,
    /// Where the current bytes end in the shared buffer; 0: they are in `own`.
    shared_end: usize,
    /// What the parser wants to have from the first unconsumed byte on.
    need: usize,
    /// Nothing can be got out of the bytes that are there.
    starved: bool,
}

impl Default for Input {
    fn default() -> Input {
        Input::new()
    }
}

impl Input {
    pub fn new() -> Input {
        Input {
            parser: Parser::new(),
            own: Vec::new(),
            start: 0,
            shared_end: 0,
            need: 1,
            starved: true,
        }
    }

    /// Only more bytes can give another command.
    #[inline]
    pub fn is_starved(&self) -> bool {
        self.starved
    }

    /// Unconsumed bytes.
    pub fn len(&self) -> usize {
        let end = if self.shared_end > 0 {
            self.shared_end
        } else {
            self.own.len()
        };
        end - self.start
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn memory_bytes(&self) -> usize {
        self.own.capacity()
    }

    /// The unconsumed bytes (for a log line about a client that is thrown out).
    pub fn bytes<'a>(&'a self, shared: &'a ReadBuffer) -> &'a [u8] {
        if self.shared_end > 0 {
            &shared.bytes[self.start..self.shared_end]
        } else {
            &self.own[self.start..]
        }
    }

    /// The next command of the bytes at hand. After an error the connection gets its text and is
    /// closed; nothing more is parsed.
    #[inline]
    pub fn next<'a>(
        &'a mut self,
        shared: &'a ReadBuffer,
        limits: &Limits,
        argv: &'a mut Argv,
    ) -> Result<Next<'a>, ProtocolError> {
        loop {
            let bytes = if self.shared_end > 0 {
                &shared.bytes[self.start..self.shared_end]
            } else {
                &self.own[self.start..]
            };
            match self.parser.parse(bytes, limits, argv)? {
                Parsed::Command { consumed } => {
                    return Ok(Next::Command {
                        args: argv.bind(bytes),
                        consumed,
                        rest: &bytes[consumed..],
                    });
                }
                Parsed::Skip { consumed } => self.start += consumed,
                Parsed::Incomplete { need } => {
                    self.need = need;
                    self.starved = true;
                    return Ok(Next::Starved);
                }
            }
        }
    }

    #[inline]
    pub fn consume(&mut self, consumed: usize) {
        self.start += consumed;
    }

    /// Ends a visit: the shared buffer is free for the next connection.
    #[inline]
    pub fn settle(&mut self, shared: &ReadBuffer) {
        if self.shared_end > 0 {
            let rest = &shared.bytes[self.start..self.shared_end];
            if rest.is_empty() {
                self.own = Vec::new();
            } else {
                self.own.clear();
                if self.starved && self.need > READ_BYTES {
                    self.own.reserve_exact(self.need.min(rest.len() * GROWTH));
                }
                self.own.extend_from_slice(rest);
            }
            self.shared_end = 0;
            self.start = 0;
        } else if self.start > 0 && (self.start == self.own.len() || self.starved) {
            self.own.drain(..self.start);
            self.start = 0;
            if self.own.is_empty() {
                self.own = Vec::new();
            }
        }
    }

    /// One read. Returns the bytes read (0: end of input) and whether the socket filled all the
    /// room it was offered, so that there may be more.
    pub(super) fn read(
        &mut self,
        socket: &mut impl Socket,
        shared: &mut ReadBuffer,
    ) -> io::Result<(usize, bool)> {
        assert!(self.shared_end == 0, "a visit was not settled");
        if self.own.len() <= CARRY_BYTES && self.start == 0 && self.need <= READ_BYTES {
            let carried = self.own.len();
            shared.bytes[..carried].copy_from_slice(&self.own);
            let room = &mut shared.bytes[carried..carried + READ_BYTES];
            let n = socket.recv(as_uninit(room))?;
            if n > 0 {
                self.shared_end = carried + n;
                self.starved = false;
            }
            return Ok((n, n == READ_BYTES));
        }
        self.make_room();
        let len = self.own.len();
        let room = self.own.spare_capacity_mut();
        let offered = room.len().min(BIG_READ_BYTES);
        let n = socket.recv(&mut room[..offered])?;
        assert!(n <= offered);
        // SAFETY: the socket has written `n` bytes, no more than the room offered, behind `len`.
        unsafe { self.own.set_len(len + n) };
        if n > 0 {
            self.starved = false;
        }
        Ok((n, n == offered))
    }

    fn make_room(&mut self) {
        if self.start > 0 {
            self.own.drain(..self.start);
            self.start = 0;
        }
        let len = self.own.len();
        let wanted = self.need.saturating_sub(len).max(1);
        if self.own.capacity() - len >= wanted.min(MIN_ROOM_BYTES) {
            return;
        }
        let capacity = if wanted > READ_BYTES {
            self.need.min((len * GROWTH).max(len + READ_BYTES))
        } else {
            (len * 2).max(len + READ_BYTES)
        };
        self.own.reserve_exact(capacity - len);
    }
}

fn as_uninit(bytes: &mut [u8]) -> &mut [MaybeUninit<u8>] {
    // SAFETY: the same layout; a socket only ever writes initialised bytes there, so the bytes stay
    // initialised.
    unsafe { &mut *(std::ptr::from_mut(bytes) as *mut [MaybeUninit<u8>]) }
}
