//! The thread's state and the carrying out of orders.
//!
//! Owns the tables of links. Invariants: one thread, so no borrow of a table lives across an
//! `await`; orders are carried out in their order, and no flood of them keeps the sockets waiting.

use super::accept;
use super::bus::{self, BusLink};
use super::event::EventQueue;
use super::guests::Guests;
use super::handshake::{Class, NONCE};
use super::inlet::OwnFrame;
use super::message::{Command, Event, LinkId, Passwords, TransportConfig, INCOMING};
use super::outbox::Bytes;
use super::outgoing::{self, Outgoing};
use super::peer::{self, Incoming, Peer};
use super::probe;
use super::routes::Routes;
use cluster_bus::NodeId;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::mpsc::UnboundedReceiver;

/// Orders carried out before the sockets get their turn.
const BATCH: usize = 256;

/// What the thread is to do.
pub(super) enum Order {
    Command(Command),
    /// The loop has read a frame of the links' own.
    Between(OwnFrame),
}

pub(super) struct Transport {
    pub event_queue: Arc<EventQueue>,
    pub routes: Arc<Routes>,
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
    pub fn new(
        event_queue: Arc<EventQueue>,
        routes: Arc<Routes>,
        config: TransportConfig,
    ) -> Transport {
        Transport {
            routes,
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
    pub async fn run(self, mut orders: UnboundedReceiver<Order>, listeners: Vec<TcpListener>) {
        let transport = Rc::new(self);
        for listener in listeners {
            transport.serve_listener(listener);
        }
        let mut batch = Vec::with_capacity(BATCH);
        while orders.recv_many(&mut batch, BATCH).await > 0 {
            let full = batch.len() == BATCH;
            for order in batch.drain(..) {
                match order {
                    Order::Command(Command::Stop) => return,
                    Order::Command(command) => transport.carry_out(command),
                    Order::Between(own) => {
                        let answers = own.answers.as_deref();
                        peer::between(&transport, own.from, answers, own.frame);
                    }
                }
            }
            if full {
                tokio::task::yield_now().await;
            }
        }
    }

    fn carry_out(self: &Rc<Self>, order: Command) {
        match order {
            Command::BusSend { link, bytes } => self.send_bus(link, bytes),
            Command::BusConnect { link, addr } => bus::connect(self, link, addr),
            Command::BusClose { link } => {
                self.close_bus(link);
            }
            Command::Myself(node) => self.set_myself(node),
            Command::Passwords(passwords) => drop(self.passwords.replace(passwords)),
            Command::Peer { node, .. } => self.follow(node),
            Command::Probe { node, addr } => probe::begin(self, node, addr),
            Command::OutgoingConnect {
                link,
                host,
                port,
                limit,
            } => outgoing::connect(self, link, host, port, limit),
            Command::OutgoingSend { link, bytes } => outgoing::send(self, link, bytes),
            Command::OutgoingClose { link } => outgoing::close(self, link),
            // Carried out before they came here ([`super::Orders`]).
            Command::Raft { .. } | Command::Answer { .. } | Command::Stop => {}
        }
    }

    /// A short frame of the links' own for a peer.
    pub fn say_to_peer(&self, to: NodeId, bytes: &[u8]) {
        if let Some(route) = self.routes.peer(to) {
            self.routes.send_own(&route.urgent, bytes);
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
        self.myself.set(Some(node));
        self.incoming.borrow_mut().clear();
        for link in self.made_here.borrow().iter() {
            link.stop();
        }
        for node in self.routes.peers() {
            self.follow(node);
        }
    }

    /// Lets the lines to a peer be those of its route.
    fn follow(self: &Rc<Self>, node: NodeId) {
        let mut peers = self.peers.borrow_mut();
        match self.routes.peer(node) {
            None => drop(peers.remove(&node)),
            Some(route) if peers.get(&node).is_some_and(|p| p.goes(&route)) => {}
            Some(route) => drop(peers.insert(node, Peer::start(self, node, &route))),
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
