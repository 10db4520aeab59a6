//! Raft links: two to every peer for what we send, two from it for what it sends. Against their
//! direction only answers travel: there they prove who has sent them.
//!
//! Owns their lives: the lines out, made when there is something to send and made again when they
//! broke; the links in, which belong to a handshake. Invariants: what waited for an attempt that
//! failed, or on a connection that broke, is dropped (Raft repeats, and late messages help nobody);
//! of two links in of the same peer and class the newer counts, the older is closed.

use super::frame::{Assembler, Kind};
use super::handshake::{self, Answer, Class, Hello, HelloError, Side, ANSWER, HELLO_REST, PROOF};
use super::hub::Hub;
use super::message::News;
use super::news::Counters;
use super::outbox::Outbox;
use super::socket::{self, ReadError};
use cluster_bus::NodeId;
use rand::Rng;
use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{timeout, timeout_at, Instant};

/// The lines to one peer. Dropping it ends them.
pub(super) struct Peer {
    pub addr: SocketAddr,
    pub urgent: Rc<Line>,
    pub bulk: Rc<Line>,
}

impl Peer {
    pub fn start(hub: &Rc<Hub>, node: NodeId, addr: SocketAddr) -> Peer {
        Peer {
            addr,
            urgent: Line::start(hub, node, addr, Class::Urgent),
            bulk: Line::start(hub, node, addr, Class::Bulk),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.urgent.stop.notify_one();
        self.bulk.stop.notify_one();
    }
}

/// One connection out, whether it stands or not.
pub(super) struct Line {
    node: NodeId,
    addr: SocketAddr,
    class: Class,
    pub outbox: Outbox,
    stop: Notify,
    /// [`News::RaftUp`] has been given.
    up: Cell<bool>,
}

#[derive(Debug, thiserror::Error)]
enum LineError {
    #[error("this node has no name yet")]
    Nameless,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("no answer in time")]
    Late(#[from] tokio::time::error::Elapsed),
    #[error("{0}")]
    Hello(#[from] HelloError),
    #[error("{0}")]
    Read(#[from] ReadError),
}

impl Line {
    fn start(hub: &Rc<Hub>, node: NodeId, addr: SocketAddr, class: Class) -> Rc<Line> {
        let line = Rc::new(Line {
            node,
            addr,
            class,
            outbox: Outbox::new(&hub.desk, &hub.config),
            stop: Notify::new(),
            up: Cell::new(false),
        });
        let (hub, given) = (Rc::clone(hub), Rc::clone(&line));
        tokio::task::spawn_local(async move {
            tokio::select! {
                () = line.stop.notified() => {}
                () = line.keep(&hub) => {}
            }
            line.set_up(&hub, false);
        });
        given
    }

    /// Connects when there is something to send, again and again.
    async fn keep(&self, hub: &Hub) {
        let mut pause = Pause::new(hub.config.retry);
        let mut complaint = String::new();
        loop {
            self.outbox.filled().await;
            let error = match self.connect(hub).await {
                Ok(stream) => {
                    pause.reset();
                    complaint.clear();
                    self.set_up(hub, true);
                    // What comes back is proved: the handshake has named this node, at the address
                    // that the loop has given for it.
                    let error = tokio::select! {
                        e = self.outbox.write(&stream) => e.into(),
                        e = carry(hub, &stream, self.class, self.node, true) => e.into(),
                    };
                    self.set_up(hub, false);
                    error
                }
                Err(e) => e,
            };
            self.outbox.clear();
            let (node, addr, class) = (self.node, self.addr, self.class);
            let text =
                format!("the Raft link ({class:?}) to node {node} at {addr} failed: {error}");
            // Once, until it stands again or fails for another reason.
            if text != complaint {
                complaint.clone_from(&text);
                hub.desk.say(|| text);
            }
            tokio::time::sleep(pause.next()).await;
        }
    }

    async fn connect(&self, hub: &Hub) -> Result<TcpStream, LineError> {
        let from = hub.myself.get().ok_or(LineError::Nameless)?;
        let mut stream = socket::connect(self.addr, hub.config.raft_connect).await?;
        let hello = Hello {
            class: self.class,
            from,
            to: self.node,
            nonce: rand::thread_rng().gen(),
        };
        timeout(hub.config.greeting, call(hub, &mut stream, &hello)).await??;
        Ok(stream)
    }

    fn set_up(&self, hub: &Hub, up: bool) {
        if self.class != Class::Urgent || self.up.replace(up) == up {
            return;
        }
        let node = self.node;
        hub.desk.tell(match up {
            true => News::RaftUp { node },
            false => News::RaftDown { node },
        });
    }
}

/// The caller's part of the handshake.
async fn call(hub: &Hub, stream: &mut TcpStream, hello: &Hello) -> Result<(), LineError> {
    stream.write_all(&hello.encode()).await?;
    let mut answer = [0; ANSWER];
    stream.read_exact(&mut answer).await?;
    let answer = Answer::decode(&answer, hello.to)?;
    let password = hub.passwords.borrow().own.clone();
    let proof = handshake::prove(&password, Side::Caller, hello, &answer);
    stream.write_all(&proof).await?;
    let mut proof = [0; PROOF];
    match stream.read_exact(&mut proof).await {
        // It has not liked our proof.
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Err(HelloError::Closed)?,
        read => drop(read?),
    }
    handshake::check(&password, Side::Called, hello, &answer, &proof)?;
    Ok(())
}

/// How long to wait before the next attempt: longer each time, and never two nodes in step.
struct Pause {
    shortest: Duration,
    longest: Duration,
    upper: Duration,
}

impl Pause {
    fn new((shortest, longest): (Duration, Duration)) -> Pause {
        let longest = longest.max(shortest);
        let mut pause = Pause {
            shortest,
            longest,
            upper: longest,
        };
        pause.reset();
        pause
    }

    fn reset(&mut self) {
        self.upper = (2 * self.shortest).min(self.longest);
    }

    fn next(&mut self) -> Duration {
        let chosen = rand::thread_rng().gen_range(self.shortest..=self.upper);
        self.upper = (2 * self.upper).min(self.longest);
        chosen
    }
}

// ---- links in -----------------------------------------------------------------------------

/// A link that somebody else has made.
pub(super) struct Incoming {
    pub stop: Notify,
    /// Answers.
    pub outbox: Outbox,
}

/// The life of a link of which the magic has been read.
pub(super) async fn accepted(
    hub: &Hub,
    mut stream: TcpStream,
    peer: SocketAddr,
    deadline: Instant,
) {
    let (hello, proved) = match timeout_at(deadline, greet(hub, &mut stream, peer)).await {
        Ok(Some(greeted)) => greeted,
        _ => {
            Counters::add(&hub.desk.counters.refused_handshakes, 1);
            return;
        }
    };
    let key = (hello.from, hello.class);
    let link = Rc::new(Incoming {
        stop: Notify::new(),
        outbox: Outbox::new(&hub.desk, &hub.config),
    });
    let before = hub.incoming.borrow_mut().insert(key, Rc::clone(&link));
    if let Some(before) = before {
        before.stop.notify_one();
    }
    let end = tokio::select! {
        biased;
        () = link.stop.notified() => return,
        e = link.outbox.write(&stream) => e.into(),
        end = carry(hub, &stream, hello.class, hello.from, proved) => end,
    };
    if let ReadError::Frame(e) = end {
        Counters::add(&hub.desk.counters.broken_frames, 1);
        let from = hello.from;
        hub.desk
            .say(|| format!("the Raft link from node {from} at {peer} was closed: {e}"));
    }
    let mut incoming = hub.incoming.borrow_mut();
    if incoming.get(&key).is_some_and(|l| Rc::ptr_eq(l, &link)) {
        incoming.remove(&key);
    }
}

/// The rest of the handshake, and whether it proves who has made the link; `None` when the link
/// can't be.
async fn greet(hub: &Hub, stream: &mut TcpStream, peer: SocketAddr) -> Option<(Hello, bool)> {
    let mut rest = [0; HELLO_REST];
    let version = stream.read_u8().await.ok()?;
    let hello = match handshake::check_version(version) {
        Ok(()) => {
            stream.read_exact(&mut rest).await.ok()?;
            Hello::decode(&rest)
        }
        Err(e) => Err(e),
    };
    let hello = match hello {
        Ok(hello) => hello,
        Err(e) => {
            hub.desk.say(|| format!("a Raft link from {peer}: {e}"));
            return None;
        }
    };
    let answer = Answer {
        node: hub.myself.get()?,
        nonce: rand::thread_rng().gen(),
    };
    let Hello { from, to, .. } = hello;
    // Also to one that wanted another: it can say in its log who lives here.
    stream.write_all(&answer.encode()).await.ok()?;
    if to != answer.node {
        hub.desk
            .say(|| format!("node {from} at {peer} looks here for node {to}"));
        return None;
    }
    let mut proof = [0; PROOF];
    stream.read_exact(&mut proof).await.ok()?;
    let password = hub.passwords.borrow().asked.clone();
    if let Err(e) = handshake::check(&password, Side::Caller, &hello, &answer, &proof) {
        hub.desk
            .say(|| format!("the Raft link from node {from} at {peer} was refused: {e}"));
        return None;
    }
    let proof = handshake::prove(&password, Side::Called, &hello, &answer);
    stream.write_all(&proof).await.ok()?;
    // Read again: nothing may have changed while all that was said.
    let proved = !password.as_bytes().is_empty();
    (hub.myself.get() == Some(to)).then_some((hello, proved))
}

/// Reads what a link brings, for as long as it can.
async fn carry(
    hub: &Hub,
    stream: &TcpStream,
    class: Class,
    from: NodeId,
    proved: bool,
) -> ReadError {
    let mut assembler = Assembler::new(Kind::Raft);
    loop {
        hub.desk.room(class == Class::Urgent).await;
        let give = |bytes| {
            hub.desk.tell(News::Raft {
                from,
                proved,
                bytes,
            });
        };
        if let Err(e) = socket::read(stream, &mut assembler, give).await {
            return e;
        }
    }
}
