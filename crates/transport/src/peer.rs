//! Raft links: two to every peer for what we send, two from it for what it sends. Against their
//! direction only answers travel: there they prove their sender.
//!
//! Without a password a link that was made to here proves nothing ([`Vouch`]): the node of that name
//! is asked, over a link of our own to its address, whether it has made a link with this nonce
//! ([`ASK`]), and says so ([`VOUCH`]).
//!
//! Owns their lives: the lines out, made when there is something to send and made again when they
//! broke; the links in, which belong to a handshake. Invariants: what waited for an attempt that
//! failed, or on a connection that broke, is dropped (Raft repeats, and late messages help nobody);
//! of two links in of the same peer and class the newer counts, the older is closed.

use super::event::Counters;
use super::frame::{Assembler, Kind};
use super::guests::Guest;
use super::handshake::{
    self, Answer, Class, Hello, HelloError, Side, ANSWER, HELLO_REST, NONCE, PROOF,
};
use super::inlet::{hand_over, End, MadeHere};
use super::links::Transport;
use super::message::Event;
use super::outbox::Outbox;
use super::routes::Route;
use super::seldom::kind_of;
use super::socket::{self, ReadError};
use super::vouch::{Vouch, HELD_FOR};
use cluster_bus::NodeId;
use rand::Rng;
use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{timeout, timeout_at, Instant};

/// The lines to one peer. Dropping it ends them.
pub(super) struct Peer {
    pub urgent: Rc<Line>,
    pub bulk: Rc<Line>,
}

impl Peer {
    pub fn start(transport: &Rc<Transport>, node: NodeId, route: &Route) -> Peer {
        let line = |class, outbox: &Arc<Outbox>| {
            Line::start(transport, node, route.addr, class, Arc::clone(outbox))
        };
        Peer {
            urgent: line(Class::Urgent, &route.urgent),
            bulk: line(Class::Bulk, &route.bulk),
        }
    }

    /// Whether its lines are those of this route.
    pub fn goes(&self, route: &Route) -> bool {
        Arc::ptr_eq(&self.urgent.outbox, &route.urgent)
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
    outbox: Arc<Outbox>,
    stop: Notify,
    /// [`Event::RaftUp`] has been given.
    up: Cell<bool>,
    /// Of the connection that stands, or is being made.
    nonce: Cell<Option<[u8; NONCE]>>,
}

/// The first byte of a frame between the links themselves: has the receiver made a link to the sender
/// with the nonce that follows?
const ASK: u8 = 255;
/// It has.
const VOUCH: u8 = 254;

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

impl LineError {
    fn kind(&self) -> String {
        match self {
            LineError::Io(e) | LineError::Read(ReadError::Io(e)) => kind_of(&e.kind()),
            LineError::Hello(e) => kind_of(e),
            LineError::Read(ReadError::Frame(e)) => kind_of(e),
            LineError::Nameless | LineError::Late(_) | LineError::Read(_) => kind_of(self),
        }
    }
}

impl Line {
    fn start(
        transport: &Rc<Transport>,
        node: NodeId,
        addr: SocketAddr,
        class: Class,
        outbox: Arc<Outbox>,
    ) -> Rc<Line> {
        let line = Rc::new(Line {
            node,
            addr,
            class,
            outbox,
            stop: Notify::new(),
            up: Cell::new(false),
            nonce: Cell::new(None),
        });
        let (transport, given) = (Rc::clone(transport), Rc::clone(&line));
        tokio::task::spawn_local(async move {
            tokio::select! {
                () = line.stop.notified() => {}
                () = line.keep(&transport) => {}
            }
            line.set_up(&transport, false);
        });
        given
    }

    /// Connects when there is something to send, again and again.
    async fn keep(&self, transport: &Transport) {
        let mut pause = Pause::new(transport.config.retry);
        let mut complaint = String::new();
        loop {
            self.outbox.filled().await;
            let error = match self.connect(transport).await {
                Ok(stream) => {
                    pause.reset();
                    complaint.clear();
                    self.set_up(transport, true);
                    // What comes back is proved: the handshake has named this node, at the address
                    // that the loop has given for it.
                    let (node, outbox) = (self.node, &*self.outbox);
                    let assembler = Assembler::new(Kind::Raft);
                    let error = run_proved(transport, stream, assembler, node, outbox, None).await;
                    self.set_up(transport, false);
                    error.into()
                }
                Err(e) => e,
            };
            self.outbox.clear();
            self.nonce.set(None);
            let (node, addr, class) = (self.node, self.addr, self.class);
            let text =
                format!("the Raft link ({class:?}) to node {node} at {addr} failed: {error}");
            // Once, until it stands again or fails for another reason.
            if text != complaint {
                complaint.clone_from(&text);
                transport.event_queue.say(node, error.kind(), || text);
            }
            tokio::time::sleep(pause.next()).await;
        }
    }

    async fn connect(&self, transport: &Transport) -> Result<TcpStream, LineError> {
        let from = transport.myself.get().ok_or(LineError::Nameless)?;
        let mut stream = socket::connect(self.addr, transport.config.raft_connect).await?;
        let hello = Hello {
            class: self.class,
            from,
            to: self.node,
            nonce: rand::thread_rng().gen(),
        };
        self.nonce.set(Some(hello.nonce));
        timeout(
            transport.config.greeting,
            call(transport, &mut stream, &hello),
        )
        .await??;
        Ok(stream)
    }

    /// Whether this is the nonce of its connection.
    pub fn has_made(&self, nonce: [u8; NONCE]) -> bool {
        self.nonce.get() == Some(nonce)
    }

    fn set_up(&self, transport: &Transport, up: bool) {
        if self.class != Class::Urgent || self.up.replace(up) == up {
            return;
        }
        let node = self.node;
        transport.event_queue.tell(match up {
            true => Event::RaftUp { node },
            false => Event::RaftDown { node },
        });
    }
}

/// The caller's part of the handshake.
async fn call(
    transport: &Transport,
    stream: &mut TcpStream,
    hello: &Hello,
) -> Result<(), LineError> {
    stream.write_all(&hello.encode()).await?;
    let mut answer = [0; ANSWER];
    stream.read_exact(&mut answer).await?;
    let answer = Answer::decode(&answer, hello.to)?;
    let password = transport.passwords.borrow().own.clone();
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

/// A link of which all is proved: the loop reads it, here is written what a socket does not take at once.
async fn run_proved(
    transport: &Transport,
    stream: TcpStream,
    assembler: Assembler,
    from: NodeId,
    outbox: &Outbox,
    made_here: Option<MadeHere>,
) -> ReadError {
    let kept = match hand_over(&transport.event_queue, stream, assembler, from, made_here) {
        Ok(kept) => kept,
        Err(error) => return error.into(),
    };
    tokio::select! {
        e = outbox.write(Arc::clone(&kept.sink)) => e.into(),
        e = kept.end.told() => e,
    }
}

// ---- links in -----------------------------------------------------------------------------

/// A link that somebody else has made.
pub(super) struct Incoming {
    stop: Notify,
    end: Arc<End>,
    /// Its node has said that it is its own.
    vouched: Notify,
    /// Answers.
    pub outbox: Arc<Outbox>,
    hello: Hello,
    made: Instant,
    guest: Rc<Guest>,
    vouch: RefCell<Vouch>,
}

impl Incoming {
    /// From now on it brings nothing: what comes on a newer link must not be overtaken by what is left of this one.
    pub fn stop(&self) {
        self.end.let_go();
        self.stop.notify_one();
    }

    fn is_proved(&self) -> bool {
        self.vouch.borrow().is_proved()
    }

    /// Asks the node that the link names, if it is time to.
    fn ask(&self, transport: &Transport) {
        if self.vouch.borrow_mut().asks(self.made.elapsed()) {
            transport.say_to_peer(self.hello.from, &between_links(ASK, self.hello.nonce));
        }
    }

    /// Gives a frame to the loop, or keeps it while it is not known whether it is proved.
    fn bring(&self, transport: &Transport, bytes: Vec<u8>) {
        self.ask(transport);
        self.vouch
            .borrow_mut()
            .bring(bytes, self.to_loop(transport));
    }

    /// Lets go in any case after a while; never ends.
    async fn let_go_later(&self, transport: &Transport) -> ReadError {
        tokio::time::sleep(HELD_FOR).await;
        self.vouch.borrow_mut().let_go(self.to_loop(transport));
        std::future::pending().await
    }

    fn to_loop<'a>(&self, transport: &'a Transport) -> impl FnMut(bool, Vec<u8>) + 'a {
        let from = self.hello.from;
        move |proved, bytes| tell(transport, from, proved, bytes)
    }
}

fn tell(transport: &Transport, from: NodeId, proved: bool, bytes: Vec<u8>) {
    transport.event_queue.tell(Event::Raft {
        from,
        proved,
        bytes,
    });
}

fn between_links(kind: u8, nonce: [u8; NONCE]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend_from_slice(&nonce);
    bytes
}

/// A frame of the links' own: its kind and a nonce.
pub(super) type NonceFrame = (u8, [u8; NONCE]);

/// A frame of the links' own: no envelope begins so (its first byte is its version).
pub(super) fn of_the_links(bytes: &[u8]) -> Option<NonceFrame> {
    match bytes.split_first()? {
        (&kind @ (ASK | VOUCH), nonce) => Some((kind, nonce.try_into().ok()?)),
        _ => None,
    }
}

/// The life of a link of which the magic has been read. It may be dropped at any time.
pub(super) async fn accepted(
    transport: &Transport,
    guest: &Rc<Guest>,
    mut stream: TcpStream,
    peer: SocketAddr,
    deadline: Instant,
) {
    let (hello, proved) = match timeout_at(deadline, greet(transport, &mut stream, peer)).await {
        Ok(Some(greeted)) => greeted,
        _ => {
            Counters::add(&transport.event_queue.counters.refused_handshakes, 1);
            return;
        }
    };
    let link = Rc::new(Incoming {
        stop: Notify::new(),
        end: Arc::default(),
        vouched: Notify::new(),
        outbox: Arc::new(Outbox::new(&transport.event_queue, &transport.config)),
        hello,
        made: Instant::now(),
        guest: Rc::clone(guest),
        vouch: RefCell::new(Vouch::new(proved, transport.routes.knows(hello.from))),
    });
    if proved {
        guest.prove();
    }
    take_place(transport, &link);
    transport.made_here.borrow_mut().push(Rc::clone(&link));
    let _place = Placed {
        transport,
        link: &link,
    };
    link.ask(transport);
    let end = tokio::select! {
        biased;
        () = link.stop.notified() => None,
        end = run_accepted(transport, stream, &link) => Some(end),
    };
    if let Some(ReadError::Frame(e)) = end {
        Counters::add(&transport.event_queue.counters.broken_frames, 1);
        let from = hello.from;
        transport.event_queue.say(peer.ip(), kind_of(&e), || {
            format!("the Raft link from node {from} at {peer} was closed: {e}")
        });
    }
}

/// Reads the link here until it is proved; what was not proved in time is given as such.
async fn run_accepted(transport: &Transport, stream: TcpStream, link: &Incoming) -> ReadError {
    let Hello { from, class, .. } = link.hello;
    let mut assembler = Assembler::new(Kind::Raft);
    let stream = Arc::new(stream);
    if !link.is_proved() {
        let proved = tokio::select! {
            biased;
            () = link.vouched.notified() => Ok(()),
            e = link.outbox.write(stream.clone()) => Err(e.into()),
            e = carry(transport, &stream, class, link, &mut assembler) => Err(e),
            e = link.let_go_later(transport) => Err(e),
        };
        if let Err(error) = proved {
            return error;
        }
    }
    let stream = Arc::into_inner(stream).expect("the outbox lets go when its writing ends");
    let made_here = MadeHere {
        answers: Arc::clone(&link.outbox),
        _seat: link.guest.seat(),
        end: Arc::clone(&link.end),
    };
    let outbox = &link.outbox;
    run_proved(transport, stream, assembler, from, outbox, Some(made_here)).await
}

/// The newest link of a node and class counts, but none that is not proved displaces one that is: a
/// stranger's call in a node's name would cut that node off.
fn take_place(transport: &Transport, link: &Rc<Incoming>) {
    let key = (link.hello.from, link.hello.class);
    let mut incoming = transport.incoming.borrow_mut();
    let stays = |before: &Rc<Incoming>| before.is_proved() && !link.is_proved();
    if incoming.get(&key).is_some_and(stays) {
        return;
    }
    if let Some(before) = incoming.insert(key, Rc::clone(link)) {
        if !Rc::ptr_eq(&before, link) {
            before.stop();
        }
    }
    let Hello {
        from, to, class, ..
    } = link.hello;
    transport.routes.set_answer(from, class, to, &link.outbox);
}

/// A link that is in the hub's tables, until it is dropped.
struct Placed<'a> {
    transport: &'a Transport,
    link: &'a Rc<Incoming>,
}

impl Drop for Placed<'_> {
    fn drop(&mut self) {
        let Placed { transport, link } = self;
        let key = (link.hello.from, link.hello.class);
        let mut incoming = transport.incoming.borrow_mut();
        if incoming.get(&key).is_some_and(|l| Rc::ptr_eq(l, link)) {
            incoming.remove(&key);
        }
        let (from, class) = key;
        transport.routes.end_answer(from, class, &link.outbox);
        let mut made_here = transport.made_here.borrow_mut();
        made_here.retain(|l| !Rc::ptr_eq(l, link));
    }
}

/// The node says, on a link of ours, that it has made the link with this nonce.
fn vouched(transport: &Transport, node: NodeId, nonce: [u8; NONCE]) {
    let links = transport.made_here.borrow();
    let is_it = |l: &&Rc<Incoming>| l.hello.from == node && l.hello.nonce == nonce;
    let Some(link) = links.iter().find(is_it).cloned() else {
        return;
    };
    drop(links);
    link.vouch.borrow_mut().vouched(link.to_loop(transport));
    link.vouched.notify_one();
    link.guest.prove();
    take_place(transport, &link);
}

/// The rest of the handshake, and whether it proves the node that made the link; `None` when the link
/// can't be.
async fn greet(
    transport: &Transport,
    stream: &mut TcpStream,
    peer: SocketAddr,
) -> Option<(Hello, bool)> {
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
            transport.event_queue.say(peer.ip(), kind_of(&e), || {
                format!("a Raft link from {peer}: {e}")
            });
            return None;
        }
    };
    let answer = Answer {
        node: transport.myself.get()?,
        nonce: rand::thread_rng().gen(),
    };
    let Hello { from, to, .. } = hello;
    // Also to one that wanted another: it can say in its log which node lives here.
    stream.write_all(&answer.encode()).await.ok()?;
    if to != answer.node {
        transport
            .event_queue
            .say(peer.ip(), "looks for another node", || {
                format!("node {from} at {peer} looks here for node {to}")
            });
        return None;
    }
    let mut proof = [0; PROOF];
    stream.read_exact(&mut proof).await.ok()?;
    let password = transport.passwords.borrow().asked.clone();
    if let Err(e) = handshake::check(&password, Side::Caller, &hello, &answer, &proof) {
        transport.event_queue.say(peer.ip(), kind_of(&e), || {
            format!("the Raft link from node {from} at {peer} was refused: {e}")
        });
        return None;
    }
    let proof = handshake::prove(&password, Side::Called, &hello, &answer);
    stream.write_all(&proof).await.ok()?;
    // Read again: nothing may have changed while all that was said.
    let proved = !password.as_bytes().is_empty();
    (transport.myself.get() == Some(to)).then_some((hello, proved))
}

/// Reads what a link brings that is not proved, for as long as it can.
async fn carry(
    transport: &Transport,
    stream: &TcpStream,
    class: Class,
    link: &Incoming,
    assembler: &mut Assembler,
) -> ReadError {
    loop {
        transport.event_queue.room(class == Class::Urgent).await;
        let give = |bytes: Vec<u8>| match of_the_links(&bytes) {
            Some(frame) => between(transport, link.hello.from, Some(&link.outbox), frame),
            None => link.bring(transport, bytes),
        };
        if let Err(e) = socket::read(stream, assembler, Some(&link.guest), give).await {
            return e;
        }
    }
}

/// A frame between the links: a question comes on a link that was made to here, an answer on one of
/// ours.
pub(super) fn between(
    transport: &Transport,
    from: NodeId,
    answers: Option<&Outbox>,
    (kind, nonce): NonceFrame,
) {
    match (kind, answers) {
        (ASK, Some(answers)) if transport.has_made_link(from, nonce) => {
            let answer = between_links(VOUCH, nonce);
            transport.routes.send_own(answers, &answer);
        }
        (VOUCH, None) => vouched(transport, from, nonce),
        _ => {}
    }
}
