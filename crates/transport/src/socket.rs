//! Sockets as the links want them: listeners, options, reading in whole pieces.
//!
//! Owns no connection. Invariant: a stream prepared here has TCP_NODELAY and keepalive.

use super::frame::{Assembler, FrameError};
use super::guests::Guest;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;
use tokio::net::TcpStream;

/// When a silent peer is probed, how often, and how many probes may be lost.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(5), Duration::from_secs(2), 3);

/// Bytes read by one call; the buffer is one for all links, since they share a thread.
const READ_BYTES: usize = 256 << 10;

pub(super) fn listen(address: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // 0.0.0.0 has a listener of its own.
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

pub(super) fn prepare(stream: &TcpStream) -> io::Result<()> {
    let (idle, interval, probes) = KEEPALIVE;
    let keepalive = TcpKeepalive::new()
        .with_time(idle)
        .with_interval(interval)
        .with_retries(probes);
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

pub(super) async fn connect(address: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
    let stream = tokio::time::timeout(limit, TcpStream::connect(address)).await??;
    prepare(&stream)?;
    Ok(stream)
}

/// Why a link was not read any further.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("the peer has closed it")]
    Closed,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Frame(#[from] FrameError),
}

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// Waits for bytes and gives the pieces that they complete. `guest`: the other node, if
/// it has made the connection.
pub(super) async fn read(
    stream: &TcpStream,
    assembler: &mut Assembler,
    guest: Option<&Guest>,
    mut give: impl FnMut(Vec<u8>),
) -> Result<(), ReadError> {
    loop {
        stream.readable().await?;
        // No `await` while the buffer is borrowed.
        let n = BUFFER.with_borrow_mut(|buffer| match stream.try_read(buffer) {
            Ok(0) => Err(ReadError::Closed),
            Ok(n) => {
                let mut input = &buffer[..n];
                while let Some(piece) = assembler.next(&mut input)? {
                    give(piece);
                    guest.inspect(|guest| guest.has_spoken());
                }
                let memory = assembler.memory();
                if guest.is_some_and(|guest| !guest.keeps(memory)) {
                    return Err(FrameError::Unfinished(memory).into());
                }
                Ok(n)
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(0),
            Err(e) => Err(e.into()),
        })?;
        if n >= READ_BYTES / 2 {
            // Somebody else may have something urgent.
            tokio::task::yield_now().await;
        }
        if n > 0 {
            return Ok(());
        }
    }
}
