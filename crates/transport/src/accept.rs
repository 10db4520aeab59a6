//! Taking in connections and finding out what they are.
//!
//! Owns nobody for long: a connection that has said its magic goes to [`bus`] or [`peer`].
//! Invariants: each has a place among the [`guests`](super::guests) while it lives; one that says
//! nothing, or nonsense, is closed.

use super::event::Counters;
use super::frame::BUS_MAGIC;
use super::guests::Guest;
use super::handshake;
use super::links::Transport;
use super::seldom::kind_of;
use super::{bus, peer, socket};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

/// How long to leave a listener alone when the system has no file or memory for a connection.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) async fn accept(transport: Rc<Transport>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => match transport.guests.seat() {
                Some(guest) => {
                    tokio::task::spawn_local(live(Rc::clone(&transport), guest, stream, peer));
                }
                None => {
                    Counters::add(&transport.event_queue.counters.refused_full, 1);
                    transport.event_queue.say(peer.ip(), "too many", || {
                        format!("a connection from {peer} was closed: there are too many")
                    });
                }
            },
            Err(e) if is_passing(&e) => {}
            Err(e) => {
                transport.event_queue.say("bus", kind_of(&e.kind()), || {
                    format!("the bus can't take in connections: {e}")
                });
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

/// The life of a connection that somebody has made, until another needs its place.
async fn live(transport: Rc<Transport>, guest: Rc<Guest>, stream: TcpStream, from: SocketAddr) {
    tokio::select! {
        biased;
        () = guest.displaced() => transport.event_queue.say(from.ip(), "displaced", || {
            format!("a connection from {from} was closed: it was silent, and others need its place")
        }),
        () = greet(&transport, &guest, stream, from) => {}
    }
}

async fn greet(transport: &Transport, guest: &Rc<Guest>, mut stream: TcpStream, from: SocketAddr) {
    // One that is gone already fails here; reading will tell.
    let _ = socket::prepare(&stream);
    let deadline = Instant::now() + transport.config.greeting;
    let mut magic = [0; 4];
    let read = tokio::time::timeout_at(deadline, stream.read_exact(&mut magic)).await;
    match (read, magic) {
        (Ok(Ok(_)), BUS_MAGIC) => bus::accepted(transport, guest, stream, from).await,
        (Ok(Ok(_)), handshake::MAGIC) => {
            peer::accepted(transport, guest, stream, from, deadline).await;
        }
        _ => Counters::add(&transport.event_queue.counters.refused_garbage, 1),
    }
}
