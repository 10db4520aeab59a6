//! Links: opening and closing them, and sending over them.
//!
//! Owns which link belongs to which node. Never looks into a packet. Invariants: a node has at most
//! one outgoing link; nothing is sent on a link that is not up.

use super::ping::MESSAGE_IS_OURS;
use super::*;
use crate::wire::{Body, Header, Message, PingKind, FRAME_BYTES_MAX};
use std::sync::Arc;

impl Bus {
    /// The other side has opened a link.
    pub fn accepted(&mut self, now: Now, link: LinkId, peer_ip: IpAddr, local_ip: IpAddr) {
        self.now = now;
        debug_assert!(link & INCOMING != 0, "the driver's ids have the top bit");
        let opened = Link {
            id: link | INCOMING,
            node: None,
            peer: peer_ip.to_canonical().to_string(),
            local: local_ip.to_canonical().to_string(),
            created_ms: now.mono_ms,
            up: true,
        };
        self.links.insert(opened.id, opened);
    }

    /// A link that was asked for with `Connect` is up: the first thing on it is a ping.
    pub fn connected(&mut self, now: Now, link: LinkId, local_ip: IpAddr) {
        self.now = now;
        let Some(opened) = self.links.get_mut(&link) else {
            return;
        };
        opened.up = true;
        opened.local = local_ip.to_canonical().to_string();
        let Some(node) = opened.node.and_then(|id| self.table.get_mut(id)) else {
            return;
        };
        node.connected = true;
        // A new link is no sign of life: an unanswered ping stays unanswered since then.
        let waiting = node.ping_sent;
        let id = node.id;
        let meet = node.flags.has(Flags::MEET);
        self.send_ping(link, if meet { PingKind::Meet } else { PingKind::Ping });
        if let (Some(node), Some(_)) = (self.table.get_mut(id), waiting) {
            node.ping_sent = waiting;
        }
        self.settle();
    }

    /// A link is gone or could not be opened.
    pub fn closed(&mut self, now: Now, link: LinkId) {
        self.now = now;
        let was_up = self.links.get(&link).is_some_and(|link| link.up);
        let node = self.drop_link(link);
        if let (false, Some(node)) = (was_up, node.and_then(|id| self.table.get_mut(id))) {
            // Without a link no ping goes out, and without a ping nothing is ever late.
            node.ping_sent.get_or_insert(now.mono_ms);
        }
    }

    /// Opens the link to a node that has none.
    pub(super) fn connect(&mut self, id: NodeId) {
        let now = self.now.mono_ms;
        let Some(node) = self.table.get_mut(id) else {
            return;
        };
        let Ok(ip) = node.ip.parse::<IpAddr>() else {
            node.ping_sent.get_or_insert(now);
            return;
        };
        let link = self.next_link;
        self.next_link += 1;
        node.link = Some(link);
        node.connected = false;
        let port = node.cport;
        let opened = Link {
            id: link,
            node: Some(id),
            peer: node.ip.clone(),
            local: String::new(),
            created_ms: now,
            up: false,
        };
        self.links.insert(link, opened);
        self.out.push(Action::Connect { link, ip, port });
    }

    /// Closes a link from our side.
    pub(super) fn close(&mut self, link: LinkId) {
        if self.links.contains_key(&link) {
            self.drop_link(link);
            self.out.push(Action::Close { link });
        }
    }

    /// Closes the outgoing link of a node; the next tick opens another.
    pub(super) fn close_outgoing(&mut self, id: NodeId) {
        if let Some(link) = self.table.get(id).and_then(|node| node.link) {
            self.close(link);
        }
    }

    fn drop_link(&mut self, link: LinkId) -> Option<NodeId> {
        let id = self.links.remove(&link)?.node?;
        if let Some(node) = self.table.get_mut(id) {
            if node.link == Some(link) {
                node.link = None;
                node.connected = false;
            }
            if node.inbound == Some(link) {
                node.inbound = None;
            }
        }
        Some(id)
    }

    /// Remembers which node speaks on an incoming link; an older one from the same node is closed.
    pub(super) fn associate(&mut self, link: LinkId, id: NodeId) {
        let Some(open) = self.links.get_mut(&link) else {
            return;
        };
        if !open.incoming() || open.node == Some(id) {
            return;
        }
        let before = open.node.replace(id);
        if let Some(node) = before.and_then(|id| self.table.get_mut(id)) {
            if node.inbound == Some(link) {
                node.inbound = None;
            }
        }
        let older = self
            .table
            .get_mut(id)
            .and_then(|node| node.inbound.replace(link));
        if let Some(older) = older.filter(|older| *older != link) {
            self.close(older);
        }
    }

    /// Takes a node out of the table; its outgoing link is closed, an incoming one is a stranger's.
    pub(super) fn remove_node(&mut self, id: NodeId) {
        self.close_outgoing(id);
        self.table.remove(id);
        for link in self.links.values_mut() {
            if link.node == Some(id) {
                link.node = None;
            }
        }
        self.state_stale = true;
    }

    /// The header of all our packets.
    pub(super) fn header(&self) -> Header {
        let myself = self.myself_node();
        Header {
            sender: myself.id,
            master: myself.master,
            // On a replica these are the shard's too: a real Redis sends its master's.
            slots: self.me.slots.clone(),
            ip: self.options.announce_ip.clone().unwrap_or_default(),
            port: myself.port,
            pport: 0,
            cport: myself.cport,
            flags: myself.flags,
            state: u8::from(!self.state_ok),
            message_flags: [0, 0, MESSAGE_IS_OURS],
            current_epoch: self.current_epoch,
            config_epoch: self.me.config_epoch,
            offset: self.me.offset,
        }
    }

    pub(super) fn send(&mut self, link: LinkId, message: &Message) {
        let bytes = encode(message);
        self.send_bytes(link, kind_index(&message.body), &bytes);
    }

    /// Sends one packet to many.
    pub(super) fn send_all(&mut self, to: &[LinkId], message: &Message) {
        let bytes = encode(message);
        let kind = kind_index(&message.body);
        to.iter()
            .for_each(|link| self.send_bytes(*link, kind, &bytes));
    }

    fn send_bytes(&mut self, link: LinkId, kind: usize, bytes: &Arc<[u8]>) {
        if self.links.get(&link).is_some_and(|link| link.up) {
            self.stats.sent[kind] += 1;
            let bytes = Arc::clone(bytes);
            self.out.push(Action::Send { link, bytes });
        }
    }

    /// The outgoing links that are up of the nodes that are asked for and not in handshake.
    pub(super) fn outgoing(&self, wanted: impl Fn(&Node) -> bool) -> Vec<LinkId> {
        self.table
            .iter()
            .filter(|node| node.connected && !node.in_handshake() && wanted(node))
            .filter_map(|node| node.link)
            .collect()
    }

    /// PUBLISH and SPUBLISH to the other nodes; the latter only within the shard.
    pub fn publish(&mut self, now: Now, sharded: bool, channel: Vec<u8>, message: Vec<u8>) {
        self.now = now;
        let shard = Some(self.me.shard);
        let to = self.outgoing(|node| !sharded || self.table.shard_of(node.id) == shard);
        if to.is_empty() {
            return;
        }
        let body = Body::Publish {
            sharded,
            channel,
            message,
        };
        let header = self.header();
        let packet = Message { header, body };
        if packet.encoded_len() > FRAME_BYTES_MAX {
            self.complain(|| "A message is too long for the cluster bus.".to_string());
            return;
        }
        self.send_all(&to, &packet);
    }
}

fn encode(message: &Message) -> Arc<[u8]> {
    let mut bytes = Vec::with_capacity(4096);
    message.encode(&mut bytes);
    bytes.into()
}

/// The number of a kind of message, which is its place in `MESSAGE_NAMES`.
pub(super) fn kind_index(body: &Body) -> usize {
    match body {
        Body::Ping { kind, .. } => match kind {
            PingKind::Ping => 0,
            PingKind::Pong => 1,
            PingKind::Meet => 2,
        },
        Body::Fail(_) => 3,
        Body::Publish { sharded: false, .. } => 4,
        Body::AuthRequest => 5,
        Body::AuthAck => 6,
        Body::Update { .. } => 7,
        Body::MfStart => 8,
        Body::Module { .. } => 9,
        Body::Publish { sharded: true, .. } => 10,
    }
}
