//! What a packet makes of the table: its sender, the handshake, addresses and roles of others.
//!
//! Owns the way of a packet through the machine. Never believes a packet of ourselves or of a
//! stranger, but for a MEET, which starts a handshake. Invariant: no bytes of a peer end the process.

use super::links::kind_index;
use super::ping::{MESSAGE_HAS_EXTENSIONS, MESSAGE_IS_OURS};
use super::*;
use crate::wire::{self, Body, Extension, Gossip, Header, Message, PingKind, WireError};

impl Bus {
    /// A whole packet has come in over a link.
    pub fn received(&mut self, now: Now, link: LinkId, packet: &[u8]) {
        self.now = now;
        if !self.links.contains_key(&link) {
            return;
        }
        match wire::decode(packet) {
            Ok(message) => self.message(link, &message),
            Err(error) => {
                self.complain(|| format!("Dropped a packet of the cluster bus: {error}"));
                if matches!(error, WireError::Signature | WireError::FrameLength(_)) {
                    self.close(link);
                }
            }
        }
        self.settle();
    }

    /// For tests: packets of this type, as Redis numbers them, are dropped from now on; none: no packet.
    pub fn drop_packets(&mut self, kind: Option<usize>) {
        self.dropped_type = kind;
    }

    fn message(&mut self, link: LinkId, message: &Message) {
        let header = &message.header;
        let kind = kind_index(&message.body);
        self.stats.received[kind] += 1;
        if self.dropped_type == Some(kind) {
            self.complain(|| "Packet that matches debug drop filter".to_owned());
            return;
        }
        if header.sender == self.table.me {
            self.own_voice(link, &message.body);
            return;
        }
        if self.is_of_no_epoch(message) {
            let sender = header.sender;
            self.complain(|| format!("Dropped a packet of {sender}: its epoch is absurd"));
            return;
        }
        let known = |node: &Node| !node.in_handshake();
        let sender = self.table.get(header.sender).is_some_and(known);
        let sender = sender.then_some(header.sender);
        if let Some(id) = sender {
            self.if_it_knows_us(link, id);
            self.associate(link, id);
            self.heard(id, header);
        }
        let ours = |id: &NodeId| self.table.get(*id).is_some_and(|n| n.link == Some(link));
        self.proved = sender.filter(ours);
        match (&message.body, sender) {
            (
                Body::Ping {
                    kind,
                    gossip,
                    extensions,
                },
                sender,
            ) => self.ping_received(link, header, *kind, sender, gossip, extensions),
            (Body::Fail(about), Some(id)) => self.receive_fail(id, *about),
            (Body::Fail(about), None) => {
                let sender = header.sender;
                self.complain(|| {
                    format!("Ignoring FAIL message from unknown node {sender} about {about}")
                });
            }
            (
                Body::Publish {
                    sharded,
                    channel,
                    message,
                },
                Some(_),
            ) => self.out.push(Action::Publish {
                sharded: *sharded,
                channel: channel.clone(),
                message: message.clone(),
            }),
            (Body::AuthRequest, Some(id)) => self.receive_auth_request(id, header),
            (
                Body::Update {
                    config_epoch,
                    node,
                    slots,
                },
                Some(_),
            ) => self.receive_update(*node, *config_epoch, slots),
            // Failovers of our shards are Raft's: no vote of the bus is asked for and no master is
            // asked to pause. There are no modules.
            (Body::AuthAck | Body::MfStart | Body::Module { .. }, _) | (_, None) => (),
        }
    }

    /// We have met ourselves, or another node runs under our id.
    fn own_voice(&mut self, link: LinkId, body: &Body) {
        let Body::Ping { kind, .. } = body else {
            return;
        };
        if *kind != PingKind::Pong {
            self.send_ping(link, PingKind::Pong);
            return;
        }
        let node = self.links.get(&link).and_then(|link| link.node);
        let node = node.and_then(|id| self.table.get(id));
        match node.map(|node| (node.id, node.in_handshake())) {
            Some((id, true)) => self.remove_node(id),
            Some((id, false)) => self.lose_address(id),
            None => (),
        }
    }

    /// On a link to a node in handshake only the first ping is sent. A second packet on a link that a node
    /// has made shows that its handshake with us is done.
    fn if_it_knows_us(&mut self, link: LinkId, id: NodeId) {
        let open = self.links.get(&link);
        let spoke_before = open.is_some_and(|link| link.incoming() && link.node == Some(id));
        let node = self.table.get_mut(id).filter(|_| spoke_before);
        if node.is_some_and(|node| node.meet_at.take().is_some()) {
            self.show_that_we_know(id);
        }
    }

    /// Until it has seen a second packet of ours the other node would meet us again, though we may be told to
    /// forget it in that time.
    fn show_that_we_know(&mut self, id: NodeId) {
        if let Some(link) = self.table.get(id).and_then(|node| node.link) {
            self.send_ping(link, PingKind::Pong);
        }
    }

    /// Any packet of a known node: its epochs, its offset, that it lives.
    fn heard(&mut self, id: NodeId, header: &Header) {
        let now = self.now.mono_ms;
        self.see_epoch(header.current_epoch);
        let Some(node) = self.table.get_mut(id) else {
            return;
        };
        let has_extensions = header.message_flags[0] & MESSAGE_HAS_EXTENSIONS != 0;
        if has_extensions || header.flags.has(Flags::EXTENSIONS) {
            node.flags.set(Flags::EXTENSIONS, true);
        }
        node.ours = header.message_flags[2] & MESSAGE_IS_OURS != 0;
        node.data_received = Some(now);
        node.offset = header.offset;
        if header.master.is_none() && header.config_epoch > node.config_epoch {
            node.config_epoch = header.config_epoch;
            self.slots_unsaved = true;
        }
    }

    fn ping_received(
        &mut self,
        link: LinkId,
        header: &Header,
        kind: PingKind,
        mut sender: Option<NodeId>,
        gossip: &[Gossip],
        extensions: &[Extension],
    ) {
        if kind != PingKind::Pong {
            self.learn_own_address(link, kind, sender);
            if sender.is_none() && kind == PingKind::Meet {
                self.met_by(link, header);
            }
            // Strangers are answered too: that is how a handshake finds out our id.
            self.send_ping(link, PingKind::Pong);
        }
        let Some(open) = self.links.get(&link) else {
            return;
        };
        if let (false, Some(node)) = (open.incoming(), open.node) {
            match self.expected(node, sender, header, link) {
                Some(id) => sender = Some(id),
                None => return,
            }
            if kind == PingKind::Pong {
                // The node that a handshake has just given its name, or the one that had it before.
                self.pong_received(sender.unwrap_or(node));
            }
        }
        let Some(id) = sender else { return };
        if let Some(node) = self.table.get_mut(id) {
            let no_failover = header.flags.has(Flags::NOFAILOVER);
            node.flags.set(Flags::NOFAILOVER, no_failover);
            // It has answered a MEET, or sends pings of its own: it knows us.
            node.flags.set(Flags::MEET, false);
        }
        self.update_address(id, link, header);
        self.update_role(id, header);
        self.compare_slots(id, header);
        self.check_collision(id, header);
        self.receive_gossip(id, gossip);
        self.receive_extensions(id, extensions);
    }

    /// Is this, on a link that we opened, the node that we wanted to talk to? Ends a handshake.
    fn expected(
        &mut self,
        node: NodeId,
        sender: Option<NodeId>,
        header: &Header,
        link: LinkId,
    ) -> Option<NodeId> {
        let in_handshake = self.table.get(node).is_some_and(Node::in_handshake);
        match (in_handshake, sender) {
            (true, Some(known)) => {
                self.update_address(known, link, header);
                self.remove_node(node);
                self.has_met(known);
                None
            }
            (true, None) => {
                self.handshake_done(node, header);
                Some(header.sender)
            }
            (false, _) if node == header.sender => Some(node),
            (false, _) => {
                let other = header.sender;
                self.complain(|| format!("At the address of node {node} there is node {other}."));
                if sender.is_some() {
                    // All may have exchanged their addresses: then it can be found here alone.
                    self.update_address(other, link, header);
                }
                self.lose_address(node);
                None
            }
        }
    }

    fn handshake_done(&mut self, temporary: NodeId, header: &Header) {
        let id = header.sender;
        self.table.rename(temporary, id);
        for link in self.links.values_mut() {
            if link.node == Some(temporary) {
                link.node = Some(id);
            }
        }
        if let Some(node) = self.table.get_mut(id) {
            node.flags.set(Flags::HANDSHAKE, false);
            node.flags.set(Flags::MEET, false);
            let role = header.flags.0 & (Flags::MASTER.0 | Flags::SLAVE.0);
            node.flags.0 |= role;
        }
        self.has_met(id);
        self.heard(id, header);
        self.state_stale = true;
        // Told that we know it, it does not meet us again: that must be so after a kill, too.
        self.meetings += 1;
        self.save_now();
        self.show_that_we_know(id);
        self.log(Level::Debug, format!("Handshake with node {id} completed."));
    }

    fn pong_received(&mut self, id: NodeId) {
        let now = self.now.mono_ms;
        if let Some(node) = self.table.get_mut(id) {
            node.pong_received = Some(now);
            node.ping_sent = None;
            self.alive(id);
        }
    }

    /// A stranger wants us in its cluster: the same handshake the other way round.
    fn met_by(&mut self, link: LinkId, header: &Header) {
        let Some(ip) = self.address_of(link, header) else {
            return;
        };
        let flags = match header.message_flags[0] & MESSAGE_HAS_EXTENSIONS {
            0 => Flags::default(),
            _ => Flags::EXTENSIONS,
        };
        if let Some(id) = self.start_handshake(ip, header.port, header.cport, flags) {
            if let Some(node) = self.table.get_mut(id) {
                node.pport = header.pport;
            }
            self.associate(link, id);
        }
    }

    /// Adds a node under a random id; `None` if one with that address is in handshake already.
    pub(super) fn start_handshake(
        &mut self,
        ip: String,
        port: u16,
        cport: u16,
        flags: Flags,
    ) -> Option<NodeId> {
        let mut open = 0;
        for node in self.table.iter().filter(|node| node.in_handshake()) {
            open += 1;
            if node.ip == ip && node.port == port && node.cport == cport {
                return None;
            }
        }
        if open >= HANDSHAKES_MAX {
            self.complain(|| "Too many handshakes at once.".to_string());
            return None;
        }
        let id = self.random.id();
        self.table.add(Node {
            id,
            ip,
            port,
            cport,
            flags: Flags(flags.0 | Flags::HANDSHAKE.0),
            created: self.now.mono_ms,
            first_tick: self.ticks,
            ..Node::default()
        });
        Some(id)
    }

    /// The address that a sender announces, else the one that it speaks from.
    fn address_of(&self, link: LinkId, header: &Header) -> Option<String> {
        match header.ip.parse::<IpAddr>() {
            Ok(ip) => Some(ip.to_canonical().to_string()),
            Err(_) => self.links.get(&link).map(|link| link.peer.clone()),
        }
    }

    /// A known node speaks from, or announces, another address than the one that we have. While it
    /// answers there it is believed only on the link that goes there: on any other one somebody
    /// else may speak in its name, and would have our words for it from then on.
    fn update_address(&mut self, id: NodeId, link: LinkId, header: &Header) {
        let Some(ip) = self.address_of(link, header) else {
            return;
        };
        let Some(node) = self.table.get(id) else {
            return;
        };
        let new = (ip, header.port, header.pport, header.cport);
        let same = (&node.ip, node.port, node.pport, node.cport) == (&new.0, new.1, new.2, new.3);
        let is_there = node.connected && node.link != Some(link);
        if !same && !is_there {
            self.move_node(id, new);
        }
    }
}
