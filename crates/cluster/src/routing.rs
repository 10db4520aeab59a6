//! Where slots are, for the admission of commands and for redirects.
//!
//! Owns the table, and how soon events of the bus reach it. Never: decides which node owns a slot: the own shard's
//! are the record's, all others the bus's (S2).

use base::clock::Mono;
use base::ids::RaftId;
use base::mutation::{self, Mutation};
use base::ShardId;
use cluster_bus::bus::{Bus, Node, NodeRole};
use cluster_bus::wire::Flags;
use cluster_bus::SlotSet;
use shard::Shard;
use state::StateMachine;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use storage::base::MemberKind;
use storage::Disk;
use topology::{PreferredEndpoint, Routing};

/// How soon events of the bus reach the table of slots.
const REFRESH_EVERY: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(super) struct RoutingTable {
    routing: Arc<Routing>,
    refresh_at: Mono,
    /// There is events.
    stale: bool,
    /// The leader of `routing.leader`'s address, and how many members there were then.
    led_by: Option<(RaftId, usize)>,
}

/// What the table is made from, besides the shard.
#[derive(Clone, Copy)]
pub(super) struct Sources<'a> {
    pub bus: &'a Bus,
    /// This node is on its way into a shard: the slots of its record are not its own.
    pub joining: bool,
    pub require_full_coverage: bool,
    pub preferred: PreferredEndpoint,
}

impl RoutingTable {
    pub fn new(now: Mono) -> RoutingTable {
        RoutingTable {
            routing: Arc::default(),
            refresh_at: now,
            stale: true,
            led_by: None,
        }
    }

    pub fn routing(&self) -> &Arc<Routing> {
        &self.routing
    }

    /// Something has changed that the table is made from.
    pub fn touch(&mut self) {
        self.stale = true;
    }

    /// The same, and clients must not see the old table any more.
    pub fn touch_now(&mut self, now: Mono) {
        self.stale = true;
        self.refresh_at = now;
    }

    /// Makes the table anew where that is due; what links there are to be follows it.
    pub fn refresh<D: Disk>(
        &mut self,
        now: Mono,
        sources: Sources,
        shard: &Shard<D>,
        refresh_peers: impl FnOnce(),
    ) {
        let was_stale = self.stale;
        if self.stale && now >= self.refresh_at {
            self.stale = false;
            self.refresh_at = now + REFRESH_EVERY;
            refresh_peers();
            self.make(sources, shard.data());
        }
        let members = shard.group().membership().list.len();
        let led_by = shard.group().leader().map(|id| (id, members));
        if was_stale || led_by != self.led_by {
            self.led_by = led_by;
            let leader = leader_endpoint(sources, shard);
            if self.routing.leader != leader {
                Arc::make_mut(&mut self.routing).leader = leader;
            }
        }
    }

    fn make(&mut self, sources: Sources, data: &StateMachine) {
        let bus = sources.bus;
        let own = &data.committed_record().slots;
        let (me, shard) = (bus.myself(), data.committed_record().shard);
        let mut covered: SlotSet = own.clone();
        let mut routing = Routing::default();
        routing.leader.clone_from(&self.routing.leader);
        let mut epochs: BTreeMap<ShardId, u64> = BTreeMap::new();
        for node in bus.nodes() {
            if is_master(node) {
                // M9: a Redis that does not say which its shard is stands for itself.
                let of = bus.shard_of(node.id).unwrap_or(ShardId(node.id.0));
                // S2: one that is down, or still loads its keys, has not heard of its successor.
                let newest = epochs.entry(of).or_default();
                if node.config_epoch >= *newest {
                    *newest = node.config_epoch;
                    let addr = endpoint(node, sources.preferred);
                    routing.masters.insert(of, addr);
                }
            }
            let mine = node.id == me || bus.shard_of(node.id) == Some(shard);
            if node.slot_count == 0 || (mine && !sources.joining) {
                continue;
            }
            if !node.flags.has(Flags::FAIL) {
                covered.unite(&node.slots);
            }
            routing.add(endpoint(node, sources.preferred), &node.slots);
        }
        if let (true, NodeRole::Slave(master)) = (sources.joining, bus.self_state().role) {
            let master = bus.node(master);
            routing.follows = master.map(|node| endpoint(node, sources.preferred));
        }
        let all = covered.len() == usize::from(cluster_bus::slot::SLOT_COUNT);
        let ignored = mutation::is(Mutation::CoverageIsIgnored);
        routing.covered = all || !sources.require_full_coverage || ignored;
        routing.majority = bus.state_ok() || !routing.covered;
        self.routing = Arc::new(routing);
    }
}

fn is_master(node: &Node) -> bool {
    node.flags.has(Flags::MASTER) && !node.in_handshake()
}

fn leader_endpoint<D: Disk>(sources: Sources, shard: &Shard<D>) -> Option<String> {
    let leader = shard.group().leader()?;
    let member = shard.group().membership().member(leader)?;
    if member.kind == MemberKind::Witness || member.node == sources.bus.myself() {
        return None; // W1: no client is ever sent there
    }
    let node = sources.bus.node(member.node)?;
    Some(endpoint(node, sources.preferred))
}

/// `host:port` for redirects: with an empty host clients stay with the one that they know.
fn endpoint(node: &Node, preferred: PreferredEndpoint) -> String {
    let host = preferred.host(&node.ip, &node.hostname);
    format!("{}:{}", host.unwrap_or_default(), node.port)
}

/// Where clients, and members, reach a node: `ip:port`.
pub(super) fn client_addr(node: &Node) -> String {
    format!("{}:{}", node.ip, node.port)
}
