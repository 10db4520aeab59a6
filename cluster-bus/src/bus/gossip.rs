//! Gossip: what we say of others in our pings, and what others say of others.
//!
//! Owns the choice of entries, the extensions and how nodes are learned. Never believes a sender that
//! the table lacks. Invariant: nodes in handshake are neither told nor learned.

use super::table::{suspect, Address};
use super::*;
use crate::wire::{Extension, Gossip};

/// The flags that may come from another's mouth.
const LEARNED: u16 = Flags::MASTER.0
    | Flags::SLAVE.0
    | Flags::PFAIL.0
    | Flags::FAIL.0
    | Flags::NOFAILOVER.0
    | Flags::EXTENSIONS.0;
/// Clocks of other nodes may be ahead of ours by this much.
const CLOCK_TOLERANCE_MS: i64 = 500;

impl Bus {
    /// Entries for a packet to `to`: a tenth of the nodes, at least three, and all that seem down.
    pub(super) fn gossip_for(&mut self, to: Option<NodeId>) -> Vec<Gossip> {
        let me = self.table.me;
        let mut fresh = self.table.len().saturating_sub(2);
        let wanted = (self.table.len() / 10).max(3).min(fresh);
        let mut chosen: Vec<NodeId> = Vec::with_capacity(wanted);
        for _ in 0..wanted * 3 {
            if fresh == 0 || chosen.len() == wanted {
                break;
            }
            let id = self.table.pick(self.random.next());
            let Some(node) = self.table.get(id) else {
                continue;
            };
            if id == me || Some(id) == to || node.flags.has(Flags::PFAIL) {
                continue;
            }
            let unfit = node.in_handshake() || node.flags.has(Flags::NOADDR);
            if unfit || (node.link.is_none() && node.slot_count == 0) {
                fresh -= 1;
            } else if !chosen.contains(&id) {
                chosen.push(id);
                fresh -= 1;
            }
        }
        let down = self.table.iter().filter(|node| {
            let hidden = node.in_handshake() || node.flags.has(Flags::NOADDR);
            node.flags.has(Flags::PFAIL) && !hidden
        });
        let random = chosen.iter().filter_map(|id| self.table.get(*id));
        random.chain(down).map(|node| self.entry(node)).collect()
    }

    fn entry(&self, node: &Node) -> Gossip {
        let seconds = |at| u32::try_from(self.unix_ms(at) / 1000).unwrap_or(0);
        Gossip {
            node: node.id,
            ping_sent: seconds(node.ping_sent),
            pong_received: seconds(node.pong_received),
            ip: node.ip.clone(),
            port: node.port,
            cport: node.cport,
            flags: node.flags,
            pport: node.pport,
        }
    }

    /// What we say of ourselves to nodes that know extensions.
    pub(super) fn extensions(&self) -> Vec<Extension> {
        let mut list = Vec::new();
        if !self.options.hostname.is_empty() {
            list.push(Extension::Hostname(self.options.hostname.clone()));
        }
        if !self.options.human_nodename.is_empty() {
            let name = self.options.human_nodename.clone();
            list.push(Extension::HumanNodename(name));
        }
        for (node, until) in &self.blacklist {
            let ttl_seconds = until.saturating_sub(self.now.mono_ms) / 1000;
            let node = *node;
            list.push(Extension::ForgottenNode { node, ttl_seconds });
        }
        list.push(Extension::ShardId(self.me.shard));
        list
    }

    pub(super) fn receive_gossip(&mut self, sender: NodeId, entries: &[Gossip]) {
        let votes = self.table.get(sender).is_some_and(Node::votes);
        for entry in entries {
            if entry.node == self.table.me {
                continue;
            }
            if self.table.get(entry.node).is_none() {
                self.learn(entry);
                continue;
            }
            if votes {
                self.report(sender, entry.node, suspect(entry.flags));
            }
            if !suspect(entry.flags) {
                self.believe_pong(entry);
                if self.proved == Some(sender) {
                    self.believe_address(entry);
                }
            }
        }
    }

    /// A known node spoke of one that we lack.
    fn learn(&mut self, entry: &Gossip) {
        let hidden = entry.flags.has(Flags::NOADDR) || entry.flags.has(Flags::HANDSHAKE);
        if hidden || self.blacklist.contains_key(&entry.node) {
            return;
        }
        let Ok(ip) = entry.ip.parse::<IpAddr>() else {
            return;
        };
        let flags = Flags(entry.flags.0 & LEARNED);
        self.table.add(Node {
            id: entry.node,
            ip: ip.to_canonical().to_string(),
            port: entry.port,
            pport: entry.pport,
            cport: entry.cport,
            flags,
            created: self.now.mono_ms,
            fail_time: flags.has(Flags::FAIL).then_some(self.now.mono_ms),
            ..Node::default()
        });
        self.unsaved = true;
    }

    /// Another has had a younger pong of a node that nobody finds down: that saves us a ping.
    fn believe_pong(&mut self, entry: &Gossip) {
        let quiet = |node: &Node| node.ping_sent.is_none();
        if !self.table.get(entry.node).is_some_and(quiet) || self.count_reports(entry.node) > 0 {
            return;
        }
        let age = self.now.unix_ms - i64::from(entry.pong_received) * 1000;
        if age < -CLOCK_TOLERANCE_MS {
            return;
        }
        let Some(at) = self.now.mono_ms.checked_sub(age.max(0) as u64) else {
            return;
        };
        if let Some(node) = self.table.get_mut(entry.node) {
            if node.pong_received < Some(at) {
                node.pong_received = Some(at);
            }
        }
    }

    /// Gives a node another address; the link to the old one is closed.
    pub(super) fn move_node(&mut self, id: NodeId, address: Address) {
        self.close_outgoing(id);
        if let Some(node) = self.table.get_mut(id) {
            (node.ip, node.port, node.pport, node.cport) = address;
            node.flags.set(Flags::NOADDR, false);
            let text = format!(
                "Address updated for node {id}, now {}:{}",
                node.ip, node.port
            );
            self.log(Level::Notice, text);
            self.unsaved = true;
        }
    }

    /// What a known node says of itself, and which nodes it has forgotten.
    pub(super) fn receive_extensions(&mut self, sender: NodeId, extensions: &[Extension]) {
        if extensions.is_empty() {
            // The sender can't know yet that we read them: it takes nothing back.
            return;
        }
        let (mut hostname, mut name, mut shard) = ("", "", None);
        for extension in extensions {
            match extension {
                Extension::Hostname(text) => hostname = text,
                Extension::HumanNodename(text) => name = text,
                // A stranger could have us forget a node, and tell us of it anew at its own address.
                Extension::ForgottenNode { node, ttl_seconds } => {
                    if self.proved == Some(sender) {
                        self.forgotten(*node, *ttl_seconds);
                    }
                }
                Extension::ShardId(id) => shard = Some(*id),
            }
        }
        let Some(node) = self.table.get(sender) else {
            return;
        };
        let shard = shard.or_else(|| self.table.get(node.master?)?.shard);
        let node = self.table.get_mut(sender).expect("seen just now");
        let shard = shard.or(node.shard);
        let same = node.hostname == hostname && node.human_nodename == name && node.shard == shard;
        if !same {
            node.hostname = hostname.to_string();
            node.human_nodename = name.to_string();
            node.shard = shard;
            self.unsaved = true;
        }
    }

    /// Whether it is the last node of a shard that the own one has still to hear of.
    fn is_needed(&self, id: NodeId) -> bool {
        let of = self
            .table
            .shard_of(id)
            .filter(|of| self.needed.contains(of));
        of.is_some_and(|shard| {
            let mut nodes = self.table.iter().filter(|node| node.id != id);
            !nodes.any(|node| self.table.shard_of(node.id) == Some(shard))
        })
    }

    /// Somebody ran CLUSTER FORGET elsewhere.
    fn forgotten(&mut self, id: NodeId, ttl_seconds: u64) {
        let mine = id == self.table.me || self.me.role == NodeRole::Slave(id);
        if mine || self.table.get(id).is_none() || self.is_needed(id) {
            return;
        }
        let ttl_ms = ttl_seconds.saturating_mul(1000).min(10 * BLACKLIST_MS);
        self.blacklist.insert(id, self.now.mono_ms + ttl_ms);
        self.remove_node(id);
        self.unsaved = true;
    }
}
