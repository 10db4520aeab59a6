//! The thread's state and the carrying out of orders.
//!
//! Owns the tables of links. Invariants: one thread, so no borrow of a table lives across an
//! `await`; orders are carried out in their order, and no flood of them keeps the sockets waiting.

use super::accept;
use super::bus::{self, BusLink};
use super::event::{Counters, EventQueue};
use super::frame;
use super::guests::Guests;
use super::handshake::{Class, NONCE};
use super::message::{Command, Event, LinkId, Passwords, TransportConfig, INCOMING};
use super::outbox::Bytes;
use super::outgoing::{self, Outgoing};
use super::peer::{Incoming, Peer};
use super::probe;
use cluster_bus::NodeId;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::mpsc::UnboundedReceiver;

/// Orders carried out before the sockets get their turn.
const BATCH: usize = 256;

pub(super) struct Transport {
    pub event_queue: Arc<EventQueue>,
    pub config: TransportConfig,
    pub guests: Rc<Guests>,
    pub myself: Cell<Option<NodeId>>,
    pub passwords: RefCell<Passwords>,
    /// Bus links, both ways.
    pub bus: RefCell<HashMap<LinkId, Rc<BusLink>>>,
    /// Connections to servers outside.
    pub outgoing: RefCell<HashMap<LinkId, Rc<Outgoing>>>,
    /// Raft links that others have made: the newest of each.
    pub incoming: RefCell<HashMap<(NodeId, Class), Rc<Incoming>>>,
    /// All that others have made, while they live.
    pub made_here: RefCell<Vec<Rc<Incoming>>>,
    peers: RefCell<HashMap<NodeId, Peer>>,
    links_taken: Cell<u64>,
}

impl Transport {
    pub fn new(event_queue: Arc<EventQueue>, config: TransportConfig) -> Transport {
        Transport {
            guests: Guests::new(&event_queue, &config),
            event_queue,
            myself: Cell::new(config.myself),
            passwords: RefCell::new(config.passwords.clone()),
            config,
            bus: RefCell::default(),
            outgoing: RefCell::default(),
            incoming: RefCell::default(),
            made_here: RefCell::default(),
            peers: RefCell::default(),
            links_taken: Cell::new(0),
        }
    }

    /// The thread's life: until [`Command::Stop`], or until the loop has let go of its end.
    pub async fn run(self, mut orders: UnboundedReceiver<Command>, listeners: Vec<TcpListener>) {
        let transport = Rc::new(self);
        for listener in listeners {
            transport.serve_listener(listener);
        }
        let mut batch = Vec::with_capacity(BATCH);
        while orders.recv_many(&mut batch, BATCH).await > 0 {
            let full = batch.len() == BATCH;
            for order in batch.drain(..) {
                if matches!(order, Command::Stop) {
                    return;
                }
                transport.carry_out(order);
            }
            if full {
                tokio::task::yield_now().await;
            }
        }
    }

    fn carry_out(self: &Rc<Self>, order: Command) {
        match order {
            Command::Raft { to, urgent, bytes } => self.send_raft(to, urgent, bytes),
            Command::Answer { to, bytes } => self.send_answer(to, bytes),
            Command::BusSend { link, bytes } => self.send_bus(link, bytes),
            Command::BusConnect { link, addr } => bus::connect(self, link, addr),
            Command::BusClose { link } => {
                self.close_bus(link);
            }
            Command::Myself(node) => self.set_myself(node),
            Command::Passwords(passwords) => drop(self.passwords.replace(passwords)),
            Command::Peer { node, addr } => self.set_peer(node, addr),
            Command::Probe { node, addr } => probe::begin(self, node, addr),
            Command::OutgoingConnect {
                link,
                host,
                port,
                limit,
            } => outgoing::connect(self, link, host, port, limit),
            Command::OutgoingSend { link, bytes } => outgoing::send(self, link, bytes),
            Command::OutgoingClose { link } => outgoing::close(self, link),
            Command::Stop => {}
        }
    }

    fn send_raft(&self, to: NodeId, urgent: bool, bytes: Vec<u8>) {
        if self.myself.get() == Some(to) {
            // A shard may have moved onto the host of its witness (W3): they talk here.
            return self.tell_myself(to, bytes);
        }
        let peers = self.peers.borrow();
        let dropped = &self.event_queue.counters.dropped_frames;
        let (Some(peer), Some(_)) = (peers.get(&to), self.myself.get()) else {
            Counters::add(dropped, 1);
            return;
        };
        let Some(head) = self.header(to, &bytes) else {
            return;
        };
        let (line, limit) = match urgent {
            true => (&peer.urgent, self.config.urgent_bytes),
            false => (&peer.bulk, self.config.bulk_bytes),
        };
        line.outbox.push(Some(head), Bytes::Own(bytes));
        line.outbox.drop_oldest(limit);
    }

    /// Back on the connection that `to` has made.
    fn send_answer(&self, to: NodeId, bytes: Vec<u8>) {
        if self.myself.get() == Some(to) {
            return self.tell_myself(to, bytes);
        }
        let incoming = self.incoming.borrow();
        let link = [Class::Urgent, Class::Bulk].map(|class| incoming.get(&(to, class)));
        let Some(link) = link.into_iter().flatten().next() else {
            Counters::add(&self.event_queue.counters.dropped_frames, 1);
            return;
        };
        if let Some(head) = self.header(to, &bytes) {
            link.outbox.push(Some(head), Bytes::Own(bytes));
            link.outbox.drop_oldest(self.config.urgent_bytes);
        }
    }

    /// Whether it has that peer's address.
    pub fn knows(&self, node: NodeId) -> bool {
        self.peers.borrow().contains_key(&node)
    }

    /// A short frame of the links' own for a peer.
    pub fn say_to_peer(&self, to: NodeId, bytes: &[u8]) {
        let peers = self.peers.borrow();
        if let (Some(peer), Some(head)) = (peers.get(&to), frame::header(bytes)) {
            let outbox = &peer.urgent.outbox;
            outbox.push(Some(head), Bytes::Own(bytes.to_vec()));
            outbox.drop_oldest(self.config.urgent_bytes);
        }
    }

    /// The same against the direction of a link that was made to here.
    pub fn say_back(&self, link: &Incoming, bytes: &[u8]) {
        if let Some(head) = frame::header(bytes) {
            link.outbox.push(Some(head), Bytes::Own(bytes.to_vec()));
            link.outbox.drop_oldest(self.config.urgent_bytes);
        }
    }

    /// Whether this node has made a link to a peer with this nonce.
    pub fn has_made_link(&self, to: NodeId, nonce: [u8; NONCE]) -> bool {
        let peers = self.peers.borrow();
        let Some(peer) = peers.get(&to) else {
            return false;
        };
        peer.urgent.has_made(nonce) || peer.bulk.has_made(nonce)
    }

    fn tell_myself(&self, from: NodeId, bytes: Vec<u8>) {
        self.event_queue.tell(Event::Raft {
            from,
            proved: true,
            bytes,
        });
    }

    fn header(&self, to: NodeId, bytes: &[u8]) -> Option<[u8; 8]> {
        let head = frame::header(bytes);
        if head.is_none() {
            Counters::add(&self.event_queue.counters.dropped_frames, 1);
            let length = bytes.len();
            self.event_queue.say(to, "too long", || {
                format!("a frame of {length} bytes for node {to} is too long to be sent")
            });
        }
        head
    }

    fn send_bus(&self, link: LinkId, bytes: Arc<[u8]>) {
        let waiting = match self.bus.borrow().get(&link) {
            None => return,
            Some(found) => {
                found.outbox.push(None, Bytes::Shared(bytes));
                found.outbox.bytes()
            }
        };
        if waiting > self.config.bus_bytes {
            self.close_bus(link);
            self.event_queue.say("bus", "slow", || {
                format!("a bus link was closed: {waiting} bytes waited for a slow node")
            });
            self.event_queue.tell(Event::BusClosed { link });
        }
    }

    fn close_bus(&self, link: LinkId) {
        if let Some(found) = self.bus.borrow_mut().remove(&link) {
            found.stop.notify_one();
        }
    }

    fn set_myself(self: &Rc<Self>, node: NodeId) {
        if self.myself.replace(Some(node)) == Some(node) {
            return;
        }
        self.incoming.borrow_mut().clear();
        for link in self.made_here.borrow().iter() {
            link.stop.notify_one();
        }
        for (node, peer) in self.peers.borrow_mut().iter_mut() {
            *peer = Peer::start(self, *node, peer.addr);
        }
    }

    fn set_peer(self: &Rc<Self>, node: NodeId, addr: Option<SocketAddr>) {
        let mut peers = self.peers.borrow_mut();
        match addr {
            None => drop(peers.remove(&node)),
            Some(addr) if peers.get(&node).is_some_and(|p| p.addr == addr) => {}
            Some(addr) => drop(peers.insert(node, Peer::start(self, node, addr))),
        }
    }

    fn serve_listener(self: &Rc<Self>, listener: TcpListener) {
        match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => {
                tokio::task::spawn_local(accept::accept(Rc::clone(self), listener));
            }
            Err(e) => self
                .event_queue
                .say("bus", "listening", || format!("the bus can't listen: {e}")),
        }
    }

    /// A name for a link that somebody has made.
    pub fn incoming_link(&self) -> LinkId {
        let taken = self.links_taken.get() + 1;
        self.links_taken.set(taken);
        INCOMING | taken
    }
}
