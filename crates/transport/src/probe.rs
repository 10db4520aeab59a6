//! Whether a node is of this program: what its bus port answers to the magic of Raft links (M9).
//!
//! Owns the questions that are under way. A real Redis closes a connection whose first bytes are not those of
//! its bus; a node of this program answers a hello whatever it names. Never: takes a port that can't be
//! reached, or that closes a connection before it has heard anything (it has no place), for one that
//! refuses.

use super::handshake::{Class, Hello, ANSWER, MAGIC};
use super::links::Transport;
use super::message::{Event, Probed};
use super::socket;
use cluster_bus::NodeId;
use rand::Rng;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a port without a place for us is given to close the connection.
const QUIET: Duration = Duration::from_millis(50);
/// How long an answer may take.
const ANSWERED: Duration = Duration::from_millis(400);

pub(super) fn begin(transport: &Rc<Transport>, node: NodeId, addr: SocketAddr) {
    let transport = Rc::clone(transport);
    tokio::task::spawn_local(async move {
        let mut answer = ask(&transport, node, addr).await;
        if answer == Probed::Refused {
            answer = ask(&transport, node, addr).await;
        }
        transport.event_queue.tell(Event::Probed { node, answer });
    });
}

async fn ask(transport: &Transport, to: NodeId, addr: SocketAddr) -> Probed {
    let Some(from) = transport.myself.get() else {
        return Probed::Unknown;
    };
    let Ok(mut stream) = socket::connect(addr, ANSWERED).await else {
        return Probed::Unknown;
    };
    let mut answer = [0; ANSWER];
    if timeout(QUIET, stream.read(&mut answer)).await.is_ok() {
        return Probed::Unknown; // it closes, or speaks, unasked
    }
    let hello = Hello {
        class: Class::Urgent,
        from,
        to,
        nonce: rand::thread_rng().gen(),
    };
    if stream.write_all(&hello.encode()).await.is_err() {
        return Probed::Unknown;
    }
    match timeout(ANSWERED, first_bytes(&mut stream)).await {
        Ok(Some(bytes)) if bytes == MAGIC => Probed::Known,
        Ok(None) => Probed::Refused,
        _ => Probed::Unknown,
    }
}

/// The first bytes of an answer; none: it was closed without any.
async fn first_bytes(stream: &mut TcpStream) -> Option<[u8; 4]> {
    let mut bytes = [0; 4];
    match stream.read_exact(&mut bytes).await {
        Ok(_) => Some(bytes),
        Err(e) if e.kind() == ErrorKind::UnexpectedEof => None,
        Err(e) if e.kind() == ErrorKind::ConnectionReset => None,
        Err(_) => Some(bytes),
    }
}
