//! The seam between a connection and its socket: one trait, and the kernel's TCP socket behind it.
//!
//! Owns the system calls on a client's socket but for its registration with a poller. Never decides
//! when to read or to write. The simulator puts queues of bytes behind the same trait.

use mio::net::TcpStream;
use socket2::SockRef;
use std::io::{self, ErrorKind, Write};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

/// A client's socket; no call blocks (`WouldBlock` instead). Writing is [`Write::write`].
pub trait Socket: Write {
    /// Reads into `room`; the first bytes of it are initialised, as many as are returned. 0: the
    /// client sends no more.
    fn recv(&mut self, room: &mut [MaybeUninit<u8>]) -> io::Result<usize>;

    /// Whether the client has gone and no byte is left before the end.
    fn is_at_end(&self) -> bool;

    fn local(&self) -> io::Result<SocketAddr>;

    /// The descriptor's number, for CLIENT LIST.
    fn fd(&self) -> i32;
}

impl Socket for TcpStream {
    fn recv(&mut self, room: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
        loop {
            match SockRef::from(&*self).recv(room) {
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    fn is_at_end(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        match SockRef::from(self).peek(&mut byte) {
            Ok(n) => n == 0,
            Err(e) => e.kind() != ErrorKind::WouldBlock,
        }
    }

    fn local(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }

    fn fd(&self) -> i32 {
        self.as_raw_fd()
    }
}
