//! Which outbox a frame for a node goes into: known to every thread that sends frames.
//!
//! Waking the links' thread for each frame costs two switches of threads, so the sender itself puts a frame
//! into the outbox, and as a rule into the socket too ([`Outbox::send`]); the thread makes the connections
//! and writes what a socket does not take at once. Owns the table. Invariants: a change of the table comes
//! before the frames that are sent after it; no frame travels under a name that this node had before.

use super::event::{Counters, EventQueue};
use super::frame;
use super::handshake::Class;
use super::message::{Event, TransportConfig};
use super::outbox::{Bytes, Outbox};
use cluster_bus::NodeId;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// To a peer, over the connections that this node makes.
#[derive(Clone)]
pub(super) struct Route {
    pub addr: SocketAddr,
    pub urgent: Arc<Outbox>,
    pub bulk: Arc<Outbox>,
}

struct Table {
    myself: Option<NodeId>,
    peers: HashMap<NodeId, Route>,
    /// Back over the connections that others have made: the newest of each.
    answers: HashMap<(NodeId, Class), Arc<Outbox>>,
}

pub(super) struct Routes {
    table: Mutex<Table>,
    event_queue: Arc<EventQueue>,
    config: TransportConfig,
}

impl Routes {
    pub fn new(event_queue: &Arc<EventQueue>, config: &TransportConfig) -> Routes {
        Routes {
            table: Mutex::new(Table {
                myself: config.myself,
                peers: HashMap::new(),
                answers: HashMap::new(),
            }),
            event_queue: Arc::clone(event_queue),
            config: config.clone(),
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn outbox(&self) -> Arc<Outbox> {
        Arc::new(Outbox::new(&self.event_queue, &self.config))
    }

    fn route(&self, addr: SocketAddr) -> Route {
        Route {
            addr,
            urgent: self.outbox(),
            bulk: self.outbox(),
        }
    }

    // ---- changes --------------------------------------------------------------------------

    /// Another name drops what waits under the old one. Whether it is another.
    pub fn set_myself(&self, node: NodeId) -> bool {
        let mut table = self.table();
        if table.myself.replace(node) == Some(node) {
            return false;
        }
        table.answers.clear();
        for route in table.peers.values_mut() {
            *route = self.route(route.addr);
        }
        true
    }

    /// Another address drops what waits for the old one. Whether anything changed.
    pub fn set_peer(&self, node: NodeId, addr: Option<SocketAddr>) -> bool {
        let mut table = self.table();
        match addr {
            None => table.peers.remove(&node).is_some(),
            Some(addr) if table.peers.get(&node).is_some_and(|r| r.addr == addr) => false,
            Some(addr) => {
                table.peers.insert(node, self.route(addr));
                true
            }
        }
    }

    /// Answers for `to` go on this link from now on, if it was made to the name that this node has.
    pub fn set_answer(&self, to: NodeId, class: Class, myself: NodeId, outbox: &Arc<Outbox>) {
        let mut table = self.table();
        if table.myself == Some(myself) {
            table.answers.insert((to, class), Arc::clone(outbox));
        }
    }

    /// No answers go on this link any more.
    pub fn end_answer(&self, to: NodeId, class: Class, outbox: &Arc<Outbox>) {
        let mut table = self.table();
        let found = table.answers.get(&(to, class));
        if found.is_some_and(|found| Arc::ptr_eq(found, outbox)) {
            table.answers.remove(&(to, class));
        }
    }

    // ---- questions ------------------------------------------------------------------------

    pub fn peer(&self, node: NodeId) -> Option<Route> {
        self.table().peers.get(&node).cloned()
    }

    pub fn peers(&self) -> Vec<NodeId> {
        self.table().peers.keys().copied().collect()
    }

    /// Whether it has that peer's address.
    pub fn knows(&self, node: NodeId) -> bool {
        self.table().peers.contains_key(&node)
    }

    // ---- frames ---------------------------------------------------------------------------

    pub fn send_raft(&self, to: NodeId, urgent: bool, bytes: Vec<u8>) {
        let table = self.table();
        if table.myself == Some(to) {
            drop(table);
            return self.tell_myself(to, bytes);
        }
        let route = table.myself.and(table.peers.get(&to));
        let (outbox, limit) = match urgent {
            true => (route.map(|r| &r.urgent), self.config.urgent_bytes),
            false => (route.map(|r| &r.bulk), self.config.bulk_bytes),
        };
        let outbox = outbox.cloned();
        drop(table);
        self.send(outbox, to, bytes, limit);
    }

    /// Back on the connection that `to` has made.
    pub fn send_answer(&self, to: NodeId, bytes: Vec<u8>) {
        let table = self.table();
        if table.myself == Some(to) {
            drop(table);
            return self.tell_myself(to, bytes);
        }
        let link = [Class::Urgent, Class::Bulk].map(|class| table.answers.get(&(to, class)));
        let outbox = link.into_iter().flatten().next().cloned();
        drop(table);
        self.send(outbox, to, bytes, self.config.urgent_bytes);
    }

    /// A short frame of the links' own on one of them.
    pub fn send_own(&self, outbox: &Outbox, bytes: &[u8]) {
        if let Some(head) = frame::header(bytes) {
            let bytes = Bytes::Own(bytes.to_vec());
            outbox.send(Some(head), bytes, self.config.urgent_bytes);
        }
    }

    fn send(&self, outbox: Option<Arc<Outbox>>, to: NodeId, bytes: Vec<u8>, limit: usize) {
        let dropped = &self.event_queue.counters.dropped_frames;
        let Some(outbox) = outbox else {
            return Counters::add(dropped, 1);
        };
        match frame::header(&bytes) {
            Some(head) => outbox.send(Some(head), Bytes::Own(bytes), limit),
            None => {
                Counters::add(dropped, 1);
                let length = bytes.len();
                self.event_queue.say(to, "too long", || {
                    format!("a frame of {length} bytes for node {to} is too long to be sent")
                });
            }
        }
    }

    /// A shard may have moved onto the host of its witness (W3): they talk here.
    fn tell_myself(&self, from: NodeId, bytes: Vec<u8>) {
        self.event_queue.tell(Event::Raft {
            from,
            proved: true,
            bytes,
        });
    }
}
