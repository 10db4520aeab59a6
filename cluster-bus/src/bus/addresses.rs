//! Where this node is, and where nodes are that are not where they were.
//!
//! Owns the own address where none is announced, and what becomes of an address at which another node
//! was found. Never opens a link: the next tick does. Invariant: the own address is not exchanged for
//! another while other nodes use it.

use super::table::Address;
use super::*;
use crate::wire::{Gossip, PingKind};

/// So long no gossip is believed that a node is where another one was found: the node that has that
/// address for it finds out as soon as it connects, and until then would say it again and again.
const NOT_THERE_MS: u64 = 60_000;

impl Bus {
    /// Other nodes reach us under our address: that is how we learn it. A node whose address has
    /// changed would show its old one for ever, so it is learned again when nobody uses that any more.
    /// Of strangers only a MEET counts.
    pub(super) fn learn_own_address(
        &mut self,
        link: LinkId,
        kind: PingKind,
        sender: Option<NodeId>,
    ) {
        let Some(link) = self.links.get(&link).filter(|link| link.incoming()) else {
            return;
        };
        let own = &self.myself_node().ip;
        let counts = own.is_empty() || kind == PingKind::Meet || sender.is_some();
        let announced = self.options.announce_ip.is_some();
        if announced || !counts || link.local.is_empty() || *own == link.local {
            return;
        }
        if own.is_empty() || !self.addresses_in_use().contains_key(own.as_str()) {
            let local = link.local.clone();
            self.set_own_address(local);
        }
    }

    /// No address is announced any more: it is the one that most nodes use, or none until one does.
    pub(super) fn find_own_address(&mut self) {
        let used = self.addresses_in_use().into_iter();
        let most = used.max_by_key(|(_, nodes)| *nodes);
        let found = most.map_or_else(String::new, |(ip, _)| ip.to_string());
        self.set_own_address(found);
    }

    fn set_own_address(&mut self, ip: String) {
        let me = self.table.me;
        let node = self.table.get_mut(me).expect("the own node never leaves");
        let text = match ip.as_str() {
            "" => "IP address for this node unknown until another node connects".to_string(),
            ip => format!("IP address for this node updated to {ip}"),
        };
        node.ip = ip;
        self.unsaved = true;
        self.log(Level::Notice, text);
    }

    /// The addresses of ours under which nodes that are well have reached us, and how many each.
    fn addresses_in_use(&self) -> BTreeMap<&str, usize> {
        let mut used = BTreeMap::new();
        for node in self.table.iter().filter(|node| !node.suspect()) {
            let link = node.inbound.and_then(|link| self.links.get(&link));
            if let Some(link) = link.filter(|_| !node.in_handshake()) {
                *used.entry(link.local.as_str()).or_insert(0) += 1;
            }
        }
        used
    }

    /// Another node is at a node's address.
    pub(super) fn lose_address(&mut self, id: NodeId) {
        self.close_outgoing(id);
        let now = self.now.mono_ms;
        if let Some(node) = self.table.get_mut(id) {
            node.not_at = Some((node.address(), now));
            node.flags.set(Flags::NOADDR, true);
            node.ip.clear();
            (node.port, node.pport, node.cport) = (0, 0, 0);
            self.unsaved = true;
        }
    }

    /// We can't reach a node, or have lost its address; another can, at another address. Two nodes that
    /// have exchanged addresses both find themselves where the other one was, so neither would ever
    /// connect to the other one if this were not believed. The caller has seen that the entry came on our
    /// own link to a known node: anybody can speak in a node's name, and would move others to itself.
    pub(super) fn believe_address(&mut self, entry: &Gossip) {
        let Some(node) = self.table.get(entry.node) else {
            return;
        };
        let Ok(ip) = entry.ip.parse::<IpAddr>() else {
            return;
        };
        let ip = ip.to_canonical().to_string();
        let told: Address = (ip, entry.port, entry.pport, entry.cport);
        let lost = node.suspect() || node.flags.has(Flags::NOADDR);
        let away = lost && !node.connected;
        let fits = !entry.flags.has(Flags::NOADDR) && told != node.address();
        let was_not_there =
            |(at, when): &(Address, u64)| *at == told && self.since(*when) < NOT_THERE_MS;
        if away && fits && !node.not_at.as_ref().is_some_and(was_not_there) {
            self.move_node(entry.node, told);
        }
    }
}
