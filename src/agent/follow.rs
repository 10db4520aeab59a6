//! After every turn of the shard: what others see of this node, whom it reaches, where slots are.

use super::control::Control;
use super::stranded::Stranded;
use super::{Act, Agent, Beginning};
use crate::clock::Now;
use crate::cluster::Routing;
use crate::mutation::{self, Mutation};
use crate::shard::Shard;
use crate::state::StateMachine;
use crate::storage::base::MemberKind;
use crate::storage::Disk;
use cluster_bus::bus::{IpAddr, Node, Role, SelfState};
use cluster_bus::wire::Flags;
use cluster_bus::{NodeId, SlotSet};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How soon news of the bus reach the table of slots.
const ROUTING_EVERY: Duration = Duration::from_millis(20);
/// How often a leader looks how its members are: they are heard in every tenth of T.
const MEMBERS_EVERY: Duration = Duration::from_millis(10);

impl Agent {
    /// Follows what the shard has become in this turn.
    pub fn follow<D: Disk>(&mut self, now: Now, shard: &mut Shard<D>) {
        self.now = now;
        self.learn_members(shard);
        self.carry_out(now, shard);
        self.proceed(now, shard);
        let looks = now.mono >= self.look_at_members;
        if looks {
            self.look_at_members = now.mono + MEMBERS_EVERY;
        }
        self.look_after_witness(now, shard, looks);
        if looks {
            self.tell_health(now, shard);
            self.ask_if_stranded(now, shard);
        }
        self.take_bus_actions();
        self.forget_old_claims();
        self.show_record(now, shard);
        let was_stale = self.stale;
        if self.stale && now.mono >= self.routing_at {
            self.stale = false;
            self.routing_at = now.mono + ROUTING_EVERY;
            self.refresh_peers(shard);
            self.refresh_routing(shard.data());
        }
        let members = shard.group().membership().list.len();
        let led_by = shard.group().leader().map(|id| (id, members));
        if was_stale || led_by != self.led_by {
            self.led_by = led_by;
            let leader = self.leader_addr(shard);
            if self.routing.leader != leader {
                Arc::make_mut(&mut self.routing).leader = leader;
            }
        }
        self.look_at(shard);
    }

    /// The shard was replaced (a join, a reset): everything about it is looked at anew.
    pub fn begun<D: Disk>(&mut self, shard: &Shard<D>) {
        if let Some(Beginning::Reset { name }) = self.beginning.take() {
            self.bus.reset(super::bus_now(self.now), name);
            self.take_bus_actions();
            self.acts.extend(name.map(Act::Myself));
        }
        self.look_at(shard);
        self.shown = None;
        self.stale = true;
        self.routing_at = self.now.mono;
        self.invitation = None;
        self.stranded = None;
        self.claims.clear();
        self.collision = false;
        self.resend_at = self.now.mono;
    }

    /// G2: asks whether this node is still a member where nobody leads it.
    fn ask_if_stranded<D: Disk>(&mut self, now: Now, shard: &Shard<D>) {
        let (led, t) = (shard.group().is_led(now), shard.group().election_timeout());
        let stranded = self
            .stranded
            .get_or_insert_with(|| Stranded::new(now.mono, t));
        if !stranded.asks(now.mono, led, t) {
            return;
        }
        let (group, raft_id) = (shard.identity().group, shard.identity().raft_id);
        for node in self.peers.keys().copied().collect::<Vec<_>>() {
            self.tell(node, &Control::Belongs { group, raft_id });
        }
    }

    fn learn_members<D: Disk>(&mut self, shard: &Shard<D>) {
        for member in &shard.group().membership().list {
            if self.nodes.get(&member.raft_id) != Some(&member.node) {
                self.nodes.insert(member.raft_id, member.node);
                self.stale = true;
            }
        }
    }

    /// S2: role, slots and epoch on the bus are those of the last applied record.
    fn show_record<D: Disk>(&mut self, now: Now, shard: &Shard<D>) {
        let mut record = Arc::clone(shard.record());
        if mutation::is(Mutation::AnnounceBeforeEpoch) {
            record = Arc::clone(shard.data().record());
        }
        let joining = self.joining();
        self.bus.set_offset(match joining {
            Some(_) => 0,
            None => shard.group().applied(),
        });
        let shown = (record, joining.is_some());
        let same = |old: &(Arc<_>, bool)| Arc::ptr_eq(&old.0, &shown.0) && old.1 == shown.1;
        if self.shown.as_ref().is_some_and(same) {
            return;
        }
        let record = &shown.0;
        let state = match joining {
            Some(joining) => SelfState {
                role: Role::Slave(joining.target),
                shard: self.bus.shard_of(joining.target).unwrap_or(record.shard),
                ..SelfState::default()
            },
            None => SelfState {
                role: match record.master {
                    master if master == self.myself() => Role::Master,
                    master => Role::Slave(master),
                },
                shard: record.shard,
                slots: record.slots.clone(),
                config_epoch: record.epoch,
                offset: shard.group().applied(),
                ..SelfState::default()
            },
        };
        self.bus.set_self(super::bus_now(now), state);
        self.shown = Some(shown);
        self.stale = true;
        self.view_stale = true;
        self.routing_at = now.mono;
    }

    /// Where the members of this node's groups are, and the nodes that it talks to besides.
    fn refresh_peers<D: Disk>(&mut self, shard: &Shard<D>) {
        let me = self.myself();
        let members = shard.group().membership().list.iter().map(|m| m.node);
        let others = self.bus.nodes().filter(|n| !n.in_handshake()).map(|n| n.id);
        let wanted: Vec<NodeId> = members.chain(others).filter(|id| *id != me).collect();
        let mut peers: BTreeMap<NodeId, (IpAddr, u16)> = BTreeMap::new();
        for id in wanted {
            // FORGET removes a member from the table before it has left the group.
            let known = self.peers.get(&id).copied();
            if let Some(addr) = self.bus.node(id).and_then(bus_addr).or(known) {
                peers.insert(id, addr);
            }
        }
        for (node, addr) in &peers {
            if self.peers.get(node) != Some(addr) {
                self.acts.push(Act::Peer {
                    node: *node,
                    addr: Some(*addr),
                });
            }
        }
        for node in self.peers.keys().filter(|node| !peers.contains_key(node)) {
            self.acts.push(Act::Peer {
                node: *node,
                addr: None,
            });
        }
        self.peers = peers;
        self.tell_witnesses();
    }

    /// W3: a node's share of all witnesses, rounded up, and one for the time of a replacement.
    fn tell_witnesses(&mut self) {
        let nodes = self
            .bus
            .nodes()
            .filter(|n| !n.in_handshake())
            .count()
            .max(1);
        let share = self.bus.size().div_ceil(nodes) + 1;
        let told = Some((share, self.peers.keys().copied().collect()));
        if self.told_witnesses == told {
            return;
        }
        self.told_witnesses = told;
        let nodes = self.peers.keys().copied().collect();
        self.acts
            .push(Act::Witness(super::ForWitnesses::Cluster { share, nodes }));
    }

    fn refresh_routing(&mut self, data: &StateMachine) {
        let own = &data.committed_record().slots;
        let (me, shard) = (self.myself(), data.committed_record().shard);
        let mut covered: SlotSet = own.clone();
        let mut routing = Routing::default();
        routing.leader.clone_from(&self.routing.leader);
        for node in self.bus.nodes() {
            let mine = node.id == me || self.bus.shard_of(node.id) == Some(shard);
            if node.slot_count == 0 || (mine && !self.is_joining()) {
                continue;
            }
            if !node.flags.has(Flags::FAIL) {
                node.slots.iter().for_each(|slot| {
                    covered.insert(slot);
                });
            }
            routing.add(client_addr(node), &node.slots);
        }
        let all = covered.len() == usize::from(cluster_bus::slot::SLOT_COUNT);
        let ignored = mutation::is(Mutation::CoverageIsIgnored);
        routing.covered = all || !self.config.bus.require_full_coverage || ignored;
        routing.majority = self.bus.state_ok() || !routing.covered;
        self.routing = Arc::new(routing);
    }

    fn leader_addr<D: Disk>(&self, shard: &Shard<D>) -> Option<String> {
        let leader = shard.group().leader()?;
        let member = shard.group().membership().member(leader)?;
        if member.kind == MemberKind::Witness || member.node == self.myself() {
            return None; // W1: no client is ever sent there
        }
        self.bus.node(member.node).map(client_addr)
    }

    /// DELSLOTS of other shards' slots: nobody's, until their owners say otherwise.
    pub fn unassign(&mut self, slots: &SlotSet) {
        slots.iter().for_each(|slot| {
            self.bus.set_owner(super::bus_now(self.now), slot, None);
        });
        self.stale = true;
        self.view_stale = true;
    }
}

fn bus_addr(node: &Node) -> Option<(IpAddr, u16)> {
    Some((node.ip.parse().ok()?, node.cport))
}

/// `host:port` for redirects.
pub(super) fn client_addr(node: &Node) -> String {
    format!("{}:{}", node.ip, node.port)
}
