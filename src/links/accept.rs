//! Taking in connections and finding out what they are.
//!
//! Owns nobody for long: a connection that has said its magic goes to [`bus`] or [`peer`].
//! Invariants: at most so many at one time; one that says nothing, or nonsense, is closed.

use super::frame::BUS_MAGIC;
use super::handshake;
use super::hub::Hub;
use super::news::{Counters, Desk};
use super::{bus, peer, socket};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

/// How long to leave a listener alone when the system has no file or memory for a connection.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) async fn accept(hub: Rc<Hub>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => match Seat::take(&hub) {
                Some(seat) => drop(tokio::task::spawn_local(greet(
                    Rc::clone(&hub),
                    seat,
                    stream,
                    peer,
                ))),
                None => {
                    Counters::add(&hub.desk.counters.refused_full, 1);
                    hub.desk
                        .say(|| format!("a connection from {peer} was closed: there are too many"));
                }
            },
            Err(e) if is_passing(&e) => {}
            Err(e) => {
                hub.desk
                    .say(|| format!("the bus can't take in connections: {e}"));
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Errors of the one connection, which has gone again, not of the listener.
fn is_passing(error: &io::Error) -> bool {
    let gone = [ErrorKind::ConnectionAborted, ErrorKind::Interrupted];
    gone.contains(&error.kind()) || error.raw_os_error() == Some(libc::EPROTO)
}

/// A connection's place among those that are allowed.
struct Seat(Arc<Desk>);

impl Seat {
    fn take(hub: &Hub) -> Option<Seat> {
        let taken = &hub.desk.counters.accepted_now;
        if taken.load(Ordering::Relaxed) >= hub.config.max_accepted as u64 {
            return None;
        }
        Counters::add(taken, 1);
        Some(Seat(Arc::clone(&hub.desk)))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        Counters::sub(&self.0.counters.accepted_now, 1);
    }
}

/// The life of a connection that somebody has made.
async fn greet(hub: Rc<Hub>, _seat: Seat, mut stream: TcpStream, from: SocketAddr) {
    // One that is gone already fails here; reading will tell.
    let _ = socket::prepare(&stream);
    let deadline = Instant::now() + hub.config.greeting;
    let mut magic = [0; 4];
    let read = tokio::time::timeout_at(deadline, stream.read_exact(&mut magic)).await;
    match (read, magic) {
        (Ok(Ok(_)), BUS_MAGIC) => bus::accepted(&hub, stream, from).await,
        (Ok(Ok(_)), handshake::MAGIC) => peer::accepted(&hub, stream, from, deadline).await,
        _ => Counters::add(&hub.desk.counters.refused_garbage, 1),
    }
}
