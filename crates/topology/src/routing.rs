//! Where slots are served, as far as the bus's table says.
//!
//! Owns the table that redirects are read from; it is made anew when the bus's view changes. Never:
//! decides about the own shard's slots, which follow its record (S1).

use base::ShardId;
use cluster_bus::slot::SLOT_COUNT;
use cluster_bus::SlotSet;
use std::collections::BTreeMap;

const NOBODY: u16 = u16::MAX;

/// Which node serves a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route<'a> {
    /// A master of another shard, by `host:port`.
    Elsewhere(&'a str),
    /// No other shard that this node knows of.
    Nobody,
}

/// What a node needs to know of the cluster to admit a command.
#[derive(Clone, Debug)]
pub struct Routing {
    /// All slots that must be served are served, by masters that are not FAIL (C3).
    pub covered: bool,
    /// A majority of the masters is reachable (C3).
    pub majority: bool,
    /// `host:port` of the node that leads the own shard, if it is another one.
    pub leader: Option<String>,
    /// On the way into a shard: `host:port` of its master.
    pub follows: Option<String>,
    /// `host:port` of the master of every shard that this node knows.
    pub masters: BTreeMap<ShardId, String>,
    owners: Box<[u16]>,
    addrs: Vec<String>,
}

impl Default for Routing {
    fn default() -> Routing {
        Routing {
            covered: false,
            majority: false,
            leader: None,
            follows: None,
            masters: BTreeMap::new(),
            owners: vec![NOBODY; usize::from(SLOT_COUNT)].into(),
            addrs: Vec::new(),
        }
    }
}

impl Routing {
    /// Slots that the master at `addr` serves.
    pub fn add(&mut self, addr: String, slots: &SlotSet) {
        let at = self.addrs.len() as u16;
        self.addrs.push(addr);
        for (first, last) in slots.ranges() {
            self.owners[usize::from(first)..=usize::from(last)].fill(at);
        }
    }

    pub fn route(&self, slot: u16) -> Route<'_> {
        let owner = self.owners[usize::from(slot)];
        match self.addrs.get(usize::from(owner)) {
            Some(addr) => Route::Elsewhere(addr),
            None => Route::Nobody,
        }
    }

    /// Whether this node is on its way into the shard that has the slot.
    pub fn is_followed(&self, slot: u16) -> bool {
        let follows = self.follows.as_deref();
        follows.is_some_and(|addr| self.route(slot) == Route::Elsewhere(addr))
    }

    /// C3: `cluster_state`.
    pub fn is_ok(&self) -> bool {
        self.covered && self.majority
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_lead_to_their_master() {
        let mut routing = Routing::default();
        let slots = [0, 1, 5].into_iter().collect();
        routing.add("127.0.0.1:7001".to_owned(), &slots);
        assert_eq!(routing.route(5), Route::Elsewhere("127.0.0.1:7001"));
        assert_eq!(routing.route(2), Route::Nobody);
    }
}
