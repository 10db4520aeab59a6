//! The table of nodes, and the owner of each slot.
//!
//! Owns `Node` and `Table`. Never decides anything: the caller has judged what it was told. Invariant: a
//! node's slots and the owners of the slots say the same (only `bind` writes them).

use super::types::LinkId;
use crate::slot::SLOT_COUNT;
use crate::wire::Flags;
use crate::{NodeId, ShardId, SlotSet};
use std::collections::BTreeMap;

/// What is known of a node. Times are monotonic milliseconds; `Bus::unix_ms` converts them.
#[derive(Clone, Debug, Default)]
pub struct Node {
    pub id: NodeId,
    /// Empty if unknown (the flag NOADDR).
    pub ip: String,
    pub port: u16,
    pub pport: u16,
    pub cport: u16,
    pub flags: Flags,
    /// The master that it replicates, which may be a node that the table lacks.
    pub master: Option<NodeId>,
    pub shard: Option<ShardId>,
    pub slots: SlotSet,
    pub slot_count: usize,
    pub config_epoch: u64,
    pub created: u64,
    /// The tick at which its handshake began: a process that is stopped has no ticks.
    pub(super) first_tick: u64,
    /// We have met, and it has not shown yet that it knows us: when it is met again.
    pub(super) meet_at: Option<u64>,
    /// When the ping went out that has no answer yet.
    pub ping_sent: Option<u64>,
    pub pong_received: Option<u64>,
    pub data_received: Option<u64>,
    /// When FAIL was set.
    pub fail_time: Option<u64>,
    pub hostname: String,
    pub human_nodename: String,
    pub offset: u64,
    /// Its packets say that it is this program, not a Redis.
    pub ours: bool,
    /// The outgoing link is up.
    pub connected: bool,
    /// The outgoing link, which may still be connecting.
    pub link: Option<LinkId>,
    /// The link that this node opened to us.
    pub inbound: Option<LinkId>,
    /// Masters that say that it is down, and when they last did.
    pub(super) reports: BTreeMap<NodeId, u64>,
    /// When we last voted for a replica of it.
    pub(super) voted: Option<u64>,
    /// Slots of ours that it claims, its epoch, and when the driver was last told.
    pub(super) claimed: Option<Claim>,
    /// Where another node was found in its place, and when.
    pub(super) not_at: Option<(Address, u64)>,
}

/// Where a node listens: ip, port, TLS port, bus port.
pub(super) type Address = (String, u16, u16, u16);

#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub epoch: u64,
    pub slots: SlotSet,
    pub told: u64,
}

impl Node {
    pub fn is_master(&self) -> bool {
        self.flags.has(Flags::MASTER)
    }

    pub fn in_handshake(&self) -> bool {
        self.flags.has(Flags::HANDSHAKE)
    }

    /// A master with slots: the ones that count in majorities.
    pub fn votes(&self) -> bool {
        self.is_master() && self.slot_count > 0
    }

    pub(super) fn address(&self) -> Address {
        (self.ip.clone(), self.port, self.pport, self.cport)
    }

    /// PFAIL or FAIL.
    pub fn suspect(&self) -> bool {
        suspect(self.flags)
    }

    /// Makes a master of it. False if it was one.
    pub(super) fn promote(&mut self) -> bool {
        let was = self.is_master() && self.master.is_none();
        if self.master.take().is_some() {
            self.flags.set(Flags::MIGRATE_TO, true);
        }
        self.flags.set(Flags::SLAVE, false);
        self.flags.set(Flags::MASTER, true);
        !was
    }
}

pub(super) fn suspect(flags: Flags) -> bool {
    flags.0 & (Flags::PFAIL.0 | Flags::FAIL.0) != 0
}

/// All nodes, the own one among them.
#[derive(Debug)]
pub(super) struct Table {
    pub me: NodeId,
    nodes: BTreeMap<NodeId, Node>,
    /// The ids in some order, for random picks.
    order: Vec<NodeId>,
    owner: Vec<Option<NodeId>>,
    /// Slots whose owner has stopped to claim them: they stay bound to it, so that nothing goes
    /// down for it, but no UPDATE names them.
    pub unclaimed: SlotSet,
}

impl Table {
    pub fn new(me: Node) -> Table {
        let mut table = Table {
            me: me.id,
            nodes: BTreeMap::new(),
            order: Vec::new(),
            owner: vec![None; usize::from(SLOT_COUNT)],
            unclaimed: SlotSet::default(),
        };
        table.add(me);
        table
    }

    /// Adds a node without slots.
    pub fn add(&mut self, mut node: Node) {
        node.slots = SlotSet::default();
        node.slot_count = 0;
        let id = node.id;
        if self.nodes.insert(id, node).is_none() {
            self.order.push(id);
        }
    }

    /// Takes a node out, with its slots and what it reported of others.
    pub fn remove(&mut self, id: NodeId) -> Option<Node> {
        for slot in self.slots_of(id) {
            self.bind(slot, None);
        }
        let node = self.nodes.remove(&id)?;
        self.order.retain(|other| *other != id);
        for other in self.nodes.values_mut() {
            other.reports.remove(&id);
        }
        Some(node)
    }

    /// Gives a node its real name, which must be new to the table.
    pub fn rename(&mut self, from: NodeId, to: NodeId) {
        let slots = self.slots_of(from);
        let Some(mut node) = self.remove(from) else {
            return;
        };
        node.id = to;
        if self.me == from {
            self.me = to;
        }
        self.add(node);
        for slot in slots {
            self.bind(slot, Some(to));
        }
    }

    pub fn get(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(&id)
    }

    pub fn get_mut(&mut self, id: NodeId) -> Option<&mut Node> {
        self.nodes.get_mut(&id)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    pub fn ids(&self) -> Vec<NodeId> {
        self.nodes.keys().copied().collect()
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The node at a random number; there is always one, the own.
    pub fn pick(&self, random: u64) -> NodeId {
        self.order[(random % self.order.len() as u64) as usize]
    }

    pub fn owner(&self, slot: u16) -> Option<NodeId> {
        self.owner.get(usize::from(slot)).copied().flatten()
    }

    /// Gives a slot to a node that the table has, or to nobody.
    pub fn bind(&mut self, slot: u16, to: Option<NodeId>) {
        let Some(owner) = self.owner.get_mut(usize::from(slot)) else {
            return;
        };
        if let Some(node) = owner.take().and_then(|old| self.nodes.get_mut(&old)) {
            if node.slots.remove(slot) {
                node.slot_count -= 1;
            }
        }
        self.unclaimed.remove(slot);
        let Some(id) = to else { return };
        if let Some(node) = self.nodes.get_mut(&id) {
            *owner = Some(id);
            if node.slots.insert(slot) {
                node.slot_count += 1;
            }
        }
    }

    /// An owner claims these slots of its own again.
    pub fn reclaim(&mut self, slots: &SlotSet) {
        for slot in slots.iter() {
            self.unclaimed.remove(slot);
        }
    }

    pub fn slots_of(&self, id: NodeId) -> Vec<u16> {
        match self.nodes.get(&id) {
            Some(node) if node.slot_count > 0 => node.slots.iter().collect(),
            _ => Vec::new(),
        }
    }

    /// How many masters have slots.
    pub fn size(&self) -> usize {
        self.nodes.values().filter(|node| node.votes()).count()
    }

    /// The shard of a node; of a replica that has not said it, its master's.
    pub fn shard_of(&self, id: NodeId) -> Option<ShardId> {
        let node = self.get(id)?;
        node.shard
            .or_else(|| self.get(node.master?).and_then(|master| master.shard))
    }
}
