//! A node's part in the cluster, sans-I/O: the bus, the membership of its shard, and what follows
//! from both for clients.
//!
//! Owns the bus's state machine, the identity, what is under way (a join, a leave, an invitation), and
//! the tables that redirects and CLUSTER replies are made from. Never: a socket, a clock, a thread
//! or a file; [`Act`]s say what the driver does, in order. The node's loop and the simulator drive
//! the same code:
//!
//! ```text
//! (1) frame* · bus packets* · bus.tick      before Shard::begin
//! (2) follow                                after it: roles, peers, joins, invitations
//! (3) write_record                          when the shard admits writes: epoch, losses
//! (4) take_acts
//! ```
//!
//! Invariants: role, slots and epoch of this node on the bus are those of the last applied record
//! (S2); a raft id is minted once and is on disk before anybody hears of it (G2).

pub mod control;
pub mod folders;
mod follow;
mod frames;
pub mod identity;
mod joining;
mod leading;
mod proof;
mod stranded;
#[cfg(test)]
mod tests;
mod view;
pub mod witnesses;

pub use joining::Refusal;

use crate::clock::{Mono, Now};
use crate::cluster::{ClusterView, Record, Routing};
use crate::ids::{GroupId, Incarnation, RaftId};
use crate::raft::Envelope;
use crate::storage::base::{Base, Member, MemberIdentity, MemberKind, SnapshotMeta};
use cluster_bus::bus::{self, Action, Bus, IpAddr};
use cluster_bus::nodes_conf::NodesConf;
use cluster_bus::{NodeId, SlotSet};
use control::Control;
use identity::{Joining, NodeIdentity};
use proof::Doubts;
use raft::eraftpb::ConfState;
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use stranded::Stranded;

/// How often what was not answered is asked again.
const RESEND: Duration = Duration::from_millis(200);
/// C1: how long RESET waits for the leader's answer; and for the removal beyond [`LEAVE_TIMEOUTS`].
const LEAVE_PATIENCE: Duration = Duration::from_secs(1);
/// G3: how many T a member that leaves keeps its vote while a host for a witness is looked for.
const LEAVE_TIMEOUTS: u32 = crate::shard::LEAVE_TIMEOUTS;

/// What the driver does. The order matters: nothing behind an `Identity` or a `Begin` may happen before
/// it is on disk, and what the bus has behind a `Save` waits for that.
#[derive(Debug)]
pub enum Act {
    Bus(Action),
    /// A frame for a node's Raft link.
    Frame {
        to: NodeId,
        urgent: bool,
        /// On the connection that `to` has made: an answer, which proves there that this node has sent it.
        back: bool,
        bytes: Vec<u8>,
    },
    /// Where a Raft peer is; none: it is no peer any more.
    Peer {
        node: NodeId,
        addr: Option<(IpAddr, u16)>,
    },
    /// This node's name has changed (RESET HARD).
    Myself(NodeId),
    /// Replace the file `identity`.
    Identity(NodeIdentity),
    /// Make the folder of the member of this base, then replace the identity, then open the member in
    /// place of the present shard.
    Begin {
        base: Box<Base>,
        identity: NodeIdentity,
    },
    /// For the witnesses that this node hosts.
    Witness(ForWitnesses),
}

/// What the driver hands to the witness host.
#[derive(Debug)]
pub enum ForWitnesses {
    Frame {
        from: NodeId,
        proved: bool,
        frame: control::Frame,
    },
    /// RESET: all witnesses of this node are to be replaced by others.
    LeaveAll,
    /// W3: more witnesses than `share` are declined. `nodes`: all others that this node knows.
    Cluster { share: usize, nodes: Vec<NodeId> },
}

impl ForWitnesses {
    /// Bytes of a frame that it keeps in memory; 0 for what must never be dropped.
    pub fn weight(&self) -> usize {
        match self {
            ForWitnesses::Frame {
                frame: control::Frame::Raft(envelope),
                ..
            } => {
                let entries = envelope.message.entries.iter();
                size_of::<Envelope>() + entries.map(|e| e.data.len()).sum::<usize>()
            }
            ForWitnesses::Frame { .. } => size_of::<Control>(),
            ForWitnesses::LeaveAll | ForWitnesses::Cluster { .. } => 0,
        }
    }
}

/// How an agent begins.
pub struct AgentConfig {
    pub bus: bus::Options,
    pub seed: u64,
    /// T of the groups that this node founds.
    pub election_timeout_ms: u64,
    /// `cluster-raft-witness`.
    pub witness: bool,
}

/// What takes the place of this shard.
#[derive(Clone, Copy, Debug)]
enum Beginning {
    /// The shard that this node joins.
    Joined,
    /// A fresh group under the same name, for a member that was removed.
    Alone,
    /// The same after a RESET, under another name if it is a hard one.
    Reset { name: Option<NodeId> },
}

/// RESET under way.
#[derive(Clone, Copy, Debug)]
struct Resetting {
    number: u64,
    hard: bool,
    begun: Mono,
    /// C1: the leader has answered, so the removal may begin; until then nothing has changed.
    answered: bool,
    /// The witnesses that this node hosts were told to find others.
    told_witnesses: bool,
    /// It was asked of a master (without keys): its slots are given up, as in Redis.
    of_master: bool,
}

/// An invitation that is out, or the pause after all hosts were asked (W3).
#[derive(Clone, Debug)]
struct Invitation {
    host: Option<NodeId>,
    until: Mono,
    /// Who was asked before: they declined, or were silent.
    tried: Vec<NodeId>,
}

/// A claim of another shard on slots of this one.
#[derive(Debug)]
struct Claimed {
    by: NodeId,
    epoch: u64,
    slots: SlotSet,
    /// When the bus told it last.
    at: Mono,
}

/// A node's part in the cluster.
pub struct Agent {
    config: AgentConfig,
    bus: Bus,
    identity: NodeIdentity,
    rng: StdRng,
    acts: Vec<Act>,
    now: Now,

    // whom to reach, and where
    /// Nodes behind raft ids, as messages and member lists have told.
    nodes: BTreeMap<RaftId, NodeId>,
    peers: BTreeMap<NodeId, (IpAddr, u16)>,

    // membership
    /// The member that is to leave its group, before a join or a reset.
    leaving: bool,
    /// Who leads the shard that this node joins or leaves, as far as it was told.
    hint: Option<NodeId>,
    /// What the host of witnesses was told of the cluster.
    told_witnesses: Option<(usize, Vec<NodeId>)>,
    stranded: Option<Stranded>,
    doubts: Doubts,
    /// Since when this joiner waits, with its base on disk, for being added.
    ready_since: Option<Mono>,
    resend_at: Mono,
    resetting: Option<Resetting>,
    /// Another shard is to take the place of this one, and has not: it is being made, or waits for
    /// room on the disk (D5).
    beginning: Option<Beginning>,
    /// Resets that were begun: the number of the last one.
    resets: u64,
    /// What became of a reset that has failed.
    reset_failed: Option<(u64, Refusal)>,
    facts: joining::Facts,
    /// The record whose slots `facts` has counted.
    counted: Option<Arc<Record>>,
    /// When the members are looked at next.
    look_at_members: Mono,
    /// Whose address `routing.leader` is, and how many members there were then.
    led_by: Option<(RaftId, usize)>,
    wants_lead: bool,
    /// When it was last asked for (CLUSTER FAILOVER).
    asked_to_lead: Option<Mono>,
    forgotten: Vec<NodeId>,
    /// Raft ids of forgotten nodes that are still members of the shard.
    expelled: BTreeSet<RaftId>,
    /// Groups whose witnesses this node hosts: RESET waits for them to be replaced.
    hosted_witnesses: usize,
    invitation: Option<Invitation>,
    /// Since when this leader has looked for a host.
    hosts_wanted: Option<Mono>,
    /// Witnesses that wanted to go, and until when a successor for them is looked for.
    leaving_witness: Option<(RaftId, Mono)>,
    /// Members that asked to be let go and are not known here, and when: they are answered once it is sure
    /// that this member still leads (C1).
    unknown_leavers: Vec<(NodeId, RaftId, Mono)>,
    /// Witnesses of the shard that this node leads: when each was heard last, or first seen.
    watched: BTreeMap<RaftId, Mono>,
    /// G3: what the leader said last, and when.
    health: Option<(bool, Mono)>,
    tell_health_at: Mono,

    // the record
    /// S3: slots that another shard has, to be lost in the log.
    claims: Vec<Claimed>,
    collision: bool,

    // what clients see
    routing: Arc<Routing>,
    routing_at: Mono,
    stale: bool,
    shown: Option<(Arc<Record>, bool)>,
    view: ClusterView,
    view_stale: bool,
}

impl Agent {
    /// An agent for a node that has `identity` on disk.
    pub fn new(
        config: AgentConfig,
        identity: NodeIdentity,
        myself: NodeId,
        conf: Option<&NodesConf>,
        now: Now,
    ) -> Agent {
        let bus = Bus::new(config.bus.clone(), myself, conf, bus_now(now));
        Agent {
            rng: StdRng::seed_from_u64(config.seed),
            // Whoever has begun there already has nothing to leave.
            leaving: identity
                .joining
                .is_some_and(|j| j.raft_id != identity.member),
            config,
            bus,
            identity,
            acts: Vec::new(),
            now,
            nodes: BTreeMap::new(),
            peers: BTreeMap::new(),
            hint: None,
            told_witnesses: None,
            stranded: None,
            doubts: Doubts::default(),
            ready_since: None,
            resend_at: now.mono,
            resetting: None,
            beginning: None,
            resets: 0,
            reset_failed: None,
            facts: joining::Facts::default(),
            counted: None,
            look_at_members: now.mono,
            led_by: None,
            wants_lead: false,
            asked_to_lead: None,
            forgotten: Vec::new(),
            expelled: BTreeSet::new(),
            hosted_witnesses: 0,
            invitation: None,
            hosts_wanted: None,
            leaving_witness: None,
            unknown_leavers: Vec::new(),
            watched: BTreeMap::new(),
            health: None,
            tell_health_at: now.mono,
            claims: Vec::new(),
            collision: false,
            routing: Arc::default(),
            routing_at: now.mono,
            stale: true,
            shown: None,
            view: ClusterView::default(),
            view_stale: true,
        }
    }

    pub fn myself(&self) -> NodeId {
        self.bus.myself()
    }

    /// The bus, for what only it knows.
    pub fn bus(&self) -> &Bus {
        &self.bus
    }

    /// The bus, to hand it what came from its links.
    pub fn bus_mut(&mut self) -> &mut Bus {
        self.stale = true;
        self.view_stale = true;
        &mut self.bus
    }

    pub fn identity(&self) -> &NodeIdentity {
        &self.identity
    }

    /// Where slots are, for the admission of commands.
    pub fn routing(&self) -> &Arc<Routing> {
        &self.routing
    }

    /// S2: whether this node is its shard's master.
    pub fn is_master(&self) -> bool {
        !self.is_joining() && self.bus.self_state().role == bus::Role::Master
    }

    /// G3: `raft_ha`, as the leader knows it or has told lately.
    pub fn is_ha(&self) -> bool {
        let limit = Duration::from_millis(3 * self.config.election_timeout_ms);
        self.health
            .is_some_and(|(ha, at)| ha && self.now.mono.since(at) <= limit)
    }

    /// Where clients reach the node of a member.
    pub fn client_addr_of(&self, raft_id: RaftId) -> Option<String> {
        let node = self.bus.node(*self.nodes.get(&raft_id)?)?;
        Some(follow::client_addr(node))
    }

    /// Where clients reach the master of this replica's shard, whether it leads or not.
    pub fn master_addr(&self) -> Option<String> {
        match self.bus.self_state().role {
            bus::Role::Master => None,
            bus::Role::Slave(master) => self.bus.node(master).map(follow::client_addr),
        }
    }

    /// The address of the node whose shard this node is on its way into.
    pub fn joins_at(&self) -> Option<String> {
        let target = self.identity.joining?.target;
        Some(
            self.bus
                .node(target)
                .map_or_else(String::new, follow::client_addr),
        )
    }

    /// Whether this node is on its way into a shard: it answers as a replica without data.
    pub fn is_joining(&self) -> bool {
        self.identity.joining.is_some()
    }

    /// Whether another shard is to take the place of this one, and has not: its log waits for room on
    /// the disk (D5).
    pub fn is_beginning(&self) -> bool {
        self.beginning.is_some()
    }

    pub fn set_options(&mut self, now: Now, options: bus::Options, witness: bool) {
        self.config.bus = options.clone();
        self.config.witness = witness;
        self.bus.set_options(bus_now(now), options);
        self.stale = true;
    }

    /// How many witnesses this node hosts, as the witness host says.
    pub fn set_hosted_witnesses(&mut self, count: usize) {
        self.hosted_witnesses = count;
    }

    /// What is to be done, in order.
    pub fn take_acts(&mut self) -> Vec<Act> {
        self.take_bus_actions();
        std::mem::take(&mut self.acts)
    }

    /// An act that can't be carried out now: it comes first the next time.
    pub fn put_back(&mut self, act: Act) {
        self.acts.push(act);
    }

    /// The bus's actions join the agent's own; those that are for the shard stay here.
    fn take_bus_actions(&mut self) {
        for action in self.bus.actions() {
            match action {
                Action::SlotsClaimed { by, epoch, slots } => {
                    self.claims.retain(|claim| claim.by != by);
                    let at = self.now.mono;
                    self.claims.push(Claimed {
                        by,
                        epoch,
                        slots,
                        at,
                    });
                }
                Action::EpochCollision { .. } => self.collision = true,
                Action::EpochSeen(_) => {}
                other => self.acts.push(Act::Bus(other)),
            }
        }
    }

    /// When [`Agent::follow`] wants to be called next.
    pub fn deadline(&self) -> Mono {
        let bus = Mono(self.bus.deadline().saturating_mul(1_000_000));
        if self.is_joining() || self.leaving || self.facts.unconfirmed || self.resetting.is_some() {
            return bus.min(self.resend_at);
        }
        bus
    }

    /// Steps the timers of the bus.
    pub fn tick(&mut self, now: Now) {
        self.now = now;
        let at = bus_now(now);
        if at.mono_ms >= self.bus.deadline() {
            self.bus.tick(at);
            self.stale = true;
        }
        self.view_stale = true;
    }

    /// Sends a control message.
    fn tell(&mut self, to: NodeId, control: &Control) {
        self.acts.push(Act::Frame {
            to,
            urgent: true,
            back: false,
            bytes: control.encode(),
        });
    }

    /// Answers a node that has called: there it proves that this node has said it.
    fn answer(&mut self, to: NodeId, control: &Control) {
        self.acts.push(Act::Frame {
            to,
            urgent: true,
            back: true,
            bytes: control.encode(),
        });
    }

    /// Sends what the shard's group has to say.
    pub fn send(&mut self, messages: Vec<Envelope>) {
        for envelope in messages {
            let Some(&to) = self.nodes.get(&envelope.to) else {
                continue; // nobody knows yet where it is; Raft repeats
            };
            self.acts.push(Act::Frame {
                to,
                urgent: is_urgent(&envelope),
                back: false,
                bytes: control::encode_envelope(&envelope),
            });
        }
    }

    /// G2: random, never zero.
    fn mint(&mut self) -> u64 {
        loop {
            let id = self.rng.next_u64();
            if id != 0 {
                return id;
            }
        }
    }

    fn mint_shard(&mut self) -> NodeId {
        let mut id = [0; 20];
        self.rng.fill_bytes(&mut id);
        NodeId(id)
    }

    /// The base of a new group whose only member is this node (G1).
    fn birth(&mut self, name: NodeId) -> Base {
        let (group, raft_id) = (GroupId(self.mint()), RaftId(self.mint()));
        let shard = self.mint_shard();
        birth(
            group,
            raft_id,
            Record::founded(shard, name),
            self.config.election_timeout_ms,
        )
    }
}

/// G1: a group is born from a synthetic snapshot at index 1, term 1.
pub fn birth(group: GroupId, raft_id: RaftId, record: Record, election_timeout_ms: u64) -> Base {
    Base {
        identity: MemberIdentity {
            group,
            incarnation: Incarnation(1),
            raft_id,
            kind: MemberKind::Data,
            election_timeout_ms,
        },
        snapshot: SnapshotMeta {
            index: 1,
            term: 1,
            conf_state: ConfState {
                voters: vec![raft_id.0],
                ..ConfState::default()
            },
            members: vec![Member {
                raft_id,
                node: record.master,
                kind: MemberKind::Data,
            }],
            record: record.encode(),
        },
    }
}

/// Votes, heartbeats and the like never queue behind bulk data.
pub(super) fn is_urgent(envelope: &Envelope) -> bool {
    use raft::eraftpb::MessageType::{MsgAppend, MsgSnapshot};
    let kind = envelope.message.get_msg_type();
    let bulk = matches!(kind, MsgAppend | MsgSnapshot);
    !bulk
}

/// The bus's form of a time.
pub fn bus_now(now: Now) -> bus::Now {
    bus::Now {
        mono_ms: now.mono.0 / 1_000_000,
        unix_ms: now.unix_ms,
    }
}

impl Agent {
    /// The mark of a join that is under way.
    fn joining(&self) -> Option<Joining> {
        self.identity.joining
    }
}
