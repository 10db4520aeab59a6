//! One client connection: its socket, its input, its output, and what is known about the socket's
//! readiness.
//!
//! Never decides what happens to a connection: it reports, the caller closes (by dropping it).
//! A visit is: [`Conn::fill`] if [`Conn::wants_fill`], [`crate::Input::next`] until starved or out
//! of budget, [`crate::Input::settle`]; then, once per turn, [`Conn::flush`]. Afterwards a
//! connection with [`Conn::has_work`] goes (back) into the ready list.

use crate::input::{Input, ReadBuffer};
use crate::output::{Flushed, Output};
use crate::ready::Readiness;
use crate::socket::Socket;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;

/// What [`Conn::fill`] got.
#[derive(Debug)]
pub enum Filled {
    /// This many fresh bytes.
    Bytes(usize),
    /// Nothing there for now.
    Blocked,
    /// The client sends no more. It may still be reading: pending replies can be written, see
    /// [`Output::close_after`].
    Eof,
    /// More unconsumed bytes than allowed (`client-query-buffer-limit`): to be closed.
    OverLimit,
    /// The connection is broken.
    Failed(io::Error),
}

pub struct Conn<S> {
    socket: S,
    pub input: Input,
    pub output: Output,
    readable: bool,
    read_closed: bool,
    writable: bool,
    reading: bool,
    eof: bool,
    pub(crate) listed: bool,
}

impl<S: Socket> Conn<S> {
    pub fn new(socket: S) -> Conn<S> {
        Conn {
            socket,
            input: Input::new(),
            output: Output::new(),
            readable: false,
            read_closed: false,
            writable: true,
            reading: true,
            eof: false,
            listed: false,
        }
    }

    /// For the poller's registration.
    pub fn socket_mut(&mut self) -> &mut S {
        &mut self.socket
    }

    pub fn local(&self) -> io::Result<SocketAddr> {
        self.socket.local()
    }

    /// The descriptor's number, for CLIENT LIST.
    pub fn fd(&self) -> i32 {
        self.socket.fd()
    }

    /// Remembers what the poller said.
    #[inline]
    pub fn note(&mut self, readiness: Readiness) {
        self.readable |= readiness.readable | readiness.read_closed;
        self.read_closed |= readiness.read_closed;
        self.writable |= readiness.writable;
    }

    /// Turns reading off and on again: backpressure (T4: above the limit of held output), a blocked
    /// client, a held command. What arrives meanwhile stays in the kernel and then makes the
    /// sender wait.
    pub fn set_reading(&mut self, reading: bool) {
        self.reading = reading;
    }

    pub fn is_reading(&self) -> bool {
        self.reading && !self.output.is_closing()
    }

    /// A read may bring something, and is allowed and needed.
    #[inline]
    pub fn wants_fill(&self) -> bool {
        self.readable && !self.eof && self.is_reading() && self.input.is_starved()
    }

    /// A visit now would get further: commands at hand, or bytes to read.
    #[inline]
    pub fn has_work(&self) -> bool {
        self.is_reading() && (!self.input.is_starved() || (self.readable && !self.eof))
    }

    /// Taken from the ready list.
    #[inline]
    pub fn unlisted(&mut self) {
        self.listed = false;
    }

    /// One read. `limit` bounds the unconsumed bytes.
    pub fn fill(&mut self, shared: &mut ReadBuffer, limit: usize) -> Filled {
        let (n, full) = match self.input.read(&mut self.socket, shared) {
            Ok(read) => read,
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                self.readable = false;
                return Filled::Blocked;
            }
            Err(e) => return Filled::Failed(e),
        };
        if n == 0 {
            self.eof = true;
            return Filled::Eof;
        }
        // A read that left room has emptied the socket, and what comes next is a new edge; but the
        // end of the stream may have been part of the last one.
        self.readable = full || self.read_closed;
        if self.input.len() > limit {
            return Filled::OverLimit;
        }
        Filled::Bytes(n)
    }

    /// Whether the client sends no more; what it has sent before may be left to be read.
    pub fn has_hung_up(&self) -> bool {
        self.eof || self.read_closed
    }

    /// Looks whether the client has gone while it is not read (a paused client): true when the poller has seen the end
    /// and no byte is left before it.
    pub fn peer_has_gone(&self) -> bool {
        if self.eof {
            return true;
        }
        self.read_closed && self.socket.is_at_end()
    }

    /// One write of what is released, if the socket takes it. `Short`: the poller will say when.
    #[inline]
    pub fn flush(&mut self) -> io::Result<Flushed> {
        if !self.output.wants_write() {
            return Ok(Flushed::All);
        }
        if !self.writable {
            return Ok(Flushed::Short);
        }
        let flushed = self.output.write_to(&mut self.socket)?;
        self.writable = flushed == Flushed::All;
        Ok(flushed)
    }

    pub fn memory_bytes(&self) -> usize {
        self.input.memory_bytes() + self.output.memory_bytes()
    }
}
