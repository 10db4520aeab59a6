//! The kernel's sockets behind the seam of [`net::Socket`].
//!
//! Owns the system calls on a client's socket. Never decides when to read or to write.

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use net::Socket;
use socket2::SockRef;
use std::io::{self, ErrorKind, Write};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// A client's socket as the kernel has it.
#[derive(Debug)]
pub enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl From<TcpStream> for Stream {
    fn from(socket: TcpStream) -> Stream {
        Stream::Tcp(socket)
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Tcp(socket) => socket.as_fd(),
            Stream::Unix(socket) => socket.as_fd(),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(socket) => socket.write(bytes),
            Stream::Unix(socket) => socket.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Source for Stream {
    fn register(&mut self, to: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        match self {
            Stream::Tcp(socket) => socket.register(to, token, interest),
            Stream::Unix(socket) => socket.register(to, token, interest),
        }
    }

    fn reregister(&mut self, at: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        match self {
            Stream::Tcp(socket) => socket.reregister(at, token, interest),
            Stream::Unix(socket) => socket.reregister(at, token, interest),
        }
    }

    fn deregister(&mut self, from: &Registry) -> io::Result<()> {
        match self {
            Stream::Tcp(socket) => socket.deregister(from),
            Stream::Unix(socket) => socket.deregister(from),
        }
    }
}

impl Socket for Stream {
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
        match self {
            Stream::Tcp(socket) => socket.local_addr(),
            Stream::Unix(_) => Err(ErrorKind::AddrNotAvailable.into()),
        }
    }

    fn fd(&self) -> i32 {
        self.as_fd().as_raw_fd()
    }
}
