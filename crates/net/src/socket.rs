//! The seam between a connection and its socket: one trait, and what is known of a client at the door.
//!
//! Owns no system call: the kernel's sockets are the node's, queues of bytes the simulator's.

use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::net::SocketAddr;

/// A client's socket; no call blocks (`WouldBlock` instead). Writing is [`Write::write`].
pub trait Socket: Write {
    /// Reads into `room`; the first bytes of it are initialised, as many as are returned. 0: the
    /// client sends no more.
    fn recv(&mut self, room: &mut [MaybeUninit<u8>]) -> io::Result<usize>;

    /// Whether the client has gone and no byte is left before the end.
    fn is_at_end(&self) -> bool;

    /// The address that the client reached; an error for a socket that has none.
    fn local(&self) -> io::Result<SocketAddr>;

    /// The descriptor's number, for CLIENT LIST.
    fn fd(&self) -> i32;
}

/// Where a client comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Net(SocketAddr),
    /// The Unix socket: a program on this machine.
    Unix,
}

/// A client at the door.
#[derive(Debug)]
pub struct Accepted<S> {
    pub socket: S,
    pub peer: Peer,
}

/// An address that could not be listened on.
#[derive(Debug, thiserror::Error)]
#[error("{address}:{port}: {step}: {error}")]
pub struct BindFailure {
    pub address: String,
    pub port: u16,
    /// Which call failed: `bind`, `listen`, ...
    pub step: &'static str,
    pub error: io::Error,
}
