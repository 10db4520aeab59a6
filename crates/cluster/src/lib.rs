//! A node's part in the cluster, sans-I/O: the bus, the membership of its shard, and what follows
//! from both for clients.
//!
//! Owns the bus's state machine and one struct for each room: [`membership`] (this node's way between
//! shards), [`leading`] (members that come and go), [`witness`] (where the shard's witness is),
//! [`record`], [`health`], [`log_end`] (what of the log is kept), [`transfer`] (states for members behind the log), [`peers`], [`routing`], [`view`], [`proof`]. A room's fields are its own: the
//! cluster core only hands it what it needs. Never: a socket, a clock, a thread or a file; [`ClusterOutput`]s say what the
//! driver does, in order. The node's loop and the simulator drive the same code:
//!
//! ```text
//! (1) frame* · bus packets* · bus.tick      before Shard::begin
//! (2) follow                                after it: roles, peers, joins, invitations
//! (3) write_record                          when the shard admits writes: epoch, losses
//! (4) take_acts
//! ```
//!
//! Invariants: role, slots and epoch of this node on the bus are those of the last applied record
//! (S2); a raft id is minted once and is on disk before any other node hears of it (G2).

pub mod control;
pub mod folders;
mod follow;
mod frames;
mod health;
pub mod identity;
mod ids;
mod introduction;
mod kinds;
mod leading;
mod log_end;
mod membership;
pub mod migration;
mod outbox;
mod peers;
mod proof;
mod record;
mod routing;
#[cfg(test)]
mod tests;
mod transfer;
mod view;
mod witness;
pub mod witnesses;

pub use introduction::Introduction;
pub use membership::OperatorRefusal;

use base::clock::{Mono, Now};
use base::ids::{GroupId, Incarnation, RaftId};
use cluster_bus::bus::{self, Action, Bus, IpAddr};
use cluster_bus::nodes_conf::NodesConf;
use cluster_bus::NodeId;
use control::Control;
use follow::{Looks, Shown};
use health::Health;
use identity::NodeIdentity;
use ids::Ids;
use introduction::Introductions;
use kinds::Kinds;
use leading::Removals;
use membership::Membership;
use migration::Migration;
use outbox::Outbox;
use peers::Peers;
use proof::Doubts;
use raft::eraftpb::ConfState;
use raft_group::Envelope;
use record::RecordWriter;
use routing::{client_addr, RoutingTable};
use shard::Shard;
use state::{room, Access, StateMachine};
use std::sync::Arc;
use std::time::Duration;
use storage::base::{Base, Member, MemberIdentity, MemberKind, SnapshotMeta};
use storage::Disk;
use topology::{ClusterView, PreferredEndpoint, Record, Routing};
use transfer::Transfers;
use view::View;
use witness::{Around, WitnessPlacement};

/// G3: how many T a member that leaves keeps its vote while a host for a witness is looked for.
const LEAVE_TIMEOUTS: u32 = shard::LEAVE_TIMEOUTS;

/// What the driver does. The order matters: nothing behind an `Identity` or a `Begin` may happen before
/// it is on disk, and what the bus has behind a `Save` waits for that.
#[derive(Debug)]
pub enum ClusterOutput {
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
    /// Find out whether this node is a real Redis (M9).
    Probe {
        node: NodeId,
        addr: (IpAddr, u16),
    },
    /// A connection to a server outside (M26).
    Outgoing(outside::pool::Order),
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
    /// G4: the members of this node's own group, up to an index of its log. A witness that left that group while nobody
    /// told it so asks all other nodes, and the group may have none on them.
    Own {
        group: GroupId,
        members: Vec<RaftId>,
        applied: u64,
    },
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
            ForWitnesses::LeaveAll | ForWitnesses::Cluster { .. } | ForWitnesses::Own { .. } => 0,
        }
    }
}

/// How an cluster core begins.
pub struct ClusterConfig {
    pub options: ClusterOptions,
    pub seed: u64,
    /// T of the groups that this node founds.
    pub election_timeout_ms: u64,
}

/// What CONFIG SET may change.
#[derive(Clone)]
pub struct ClusterOptions {
    pub bus: bus::Options,
    /// `cluster-raft-witness`.
    pub witness: bool,
    /// `cluster-allow-replica-migration` (M28).
    pub follows_slots: bool,
    /// `cluster-feature-bits` (M9).
    pub features: u32,
    pub preferred: PreferredEndpoint,
    /// P16: bytes a second of states that are given to other members; 0: no limit.
    pub snapshot_rate: u64,
    /// M24: what MIGRATE has to show for this node.
    pub requirepass: String,
}

impl ClusterConfig {
    fn node_timeout(&self) -> Duration {
        Duration::from_millis(self.options.bus.node_timeout_ms)
    }
}

/// A node's part in the cluster.
pub struct Cluster {
    config: ClusterConfig,
    bus: Bus,
    ids: Ids,
    out: Outbox,
    now: Now,
    started_at: Mono,
    membership: Membership,
    removals: Removals,
    placement: WitnessPlacement,
    health: Health,
    record: RecordWriter,
    migration: Migration,
    transfers: Transfers,
    kinds: Kinds,
    peers: Peers,
    introductions: Introductions,
    /// M9: all members can move slots.
    upgraded: bool,
    /// D7: all members can be given a state.
    states_travel: bool,
    /// The same of the effects of all types of values.
    types_are_read: bool,
    /// When the members are told next what of the log is of no use to any (P12).
    tell_log_end_at: Mono,
    doubts: Doubts,
    looks: Looks,
    shown: Shown,
    table: RoutingTable,
    view: View,
    /// Groups whose witnesses this node hosts: RESET waits for them to be replaced.
    hosted_witnesses: usize,
    /// The group, the change of its members, and the number of hosted witnesses of which these have heard last.
    told_own: Option<(GroupId, u64, usize)>,
}

impl Cluster {
    /// An cluster core for a node that has `identity` on disk.
    pub fn new(
        config: ClusterConfig,
        identity: NodeIdentity,
        myself: NodeId,
        conf: Option<&NodesConf>,
        now: Now,
    ) -> Cluster {
        Cluster {
            ids: Ids::new(config.seed),
            bus: Bus::new(config.options.bus.clone(), myself, conf, bus_now(now)),
            config,
            out: Outbox::default(),
            now,
            started_at: now.mono,
            membership: Membership::new(identity, now.mono),
            removals: Removals::default(),
            placement: WitnessPlacement::default(),
            health: Health::default(),
            record: RecordWriter::default(),
            migration: Migration::default(),
            transfers: Transfers::default(),
            kinds: Kinds::default(),
            peers: Peers::default(),
            introductions: Introductions::default(),
            upgraded: false,
            states_travel: false,
            types_are_read: false,
            tell_log_end_at: now.mono,
            doubts: Doubts::default(),
            looks: Looks::new(now.mono),
            shown: Shown::default(),
            table: RoutingTable::new(now.mono),
            view: View::default(),
            hosted_witnesses: 0,
            told_own: None,
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
        self.table.touch();
        self.view.touch();
        &mut self.bus
    }

    /// The identity as it should be on disk.
    pub fn identity(&self) -> NodeIdentity {
        self.membership.identity()
    }

    /// Where slots are, for the admission of commands.
    pub fn routing(&self) -> &Arc<Routing> {
        self.table.routing()
    }

    /// S2: whether this node is its shard's master.
    pub fn is_master(&self) -> bool {
        !self.is_joining() && self.bus.self_state().role == bus::NodeRole::Master
    }

    /// G3: `raft_ha`, as the leader knows it or has told lately.
    pub fn is_ha(&self) -> bool {
        let limit = Duration::from_millis(3 * self.config.election_timeout_ms);
        self.health.is_ha(self.now.mono, limit)
    }

    /// Where clients reach the node of a member.
    pub fn client_addr_of(&self, raft_id: RaftId) -> Option<String> {
        self.bus.node(self.peers.node_of(raft_id)?).map(client_addr)
    }

    /// Where clients reach the master of this replica's shard, whether it leads or not.
    pub fn master_addr(&self) -> Option<String> {
        match self.bus.self_state().role {
            bus::NodeRole::Master => None,
            bus::NodeRole::Slave(master) => self.bus.node(master).map(client_addr),
        }
    }

    /// The address of the node whose shard this node is on its way into.
    pub fn joins_at(&self) -> Option<String> {
        let target = self.membership.mark()?.target;
        Some(self.bus.node(target).map_or_else(String::new, client_addr))
    }

    /// Whether this node is on its way into a shard: it answers as a replica without data.
    pub fn is_joining(&self) -> bool {
        self.membership.mark().is_some()
    }

    /// Whether another shard is to take the place of this one, and has not: its log waits for room on
    /// the disk (D5).
    pub fn is_beginning(&self) -> bool {
        self.membership.is_beginning()
    }

    pub fn set_options(&mut self, now: Now, options: ClusterOptions) {
        self.bus.set_options(bus_now(now), options.bus.clone());
        self.config.options = options;
        // A client that was answered OK must not be redirected as before.
        self.table.touch_now(now.mono);
        self.view.touch();
    }

    /// M24: what MIGRATE has to show for this node from now on.
    pub fn set_requirepass(&mut self, password: String) {
        self.config.options.requirepass = password;
    }

    /// How many witnesses this node hosts, as the witness host says.
    pub fn set_hosted_witnesses(&mut self, count: usize) {
        self.hosted_witnesses = count;
    }

    /// What is to be done, in order.
    pub fn take_outputs(&mut self) -> Vec<ClusterOutput> {
        self.take_bus_actions();
        self.follow_outgoing(self.now.mono);
        self.out.take()
    }

    /// An act that can't be carried out now: it comes first the next time.
    pub fn put_back(&mut self, output: ClusterOutput) {
        self.out.push(output);
    }

    /// The bus's actions join the cluster core's own; those that are for the shard stay here.
    fn take_bus_actions(&mut self) {
        for action in self.bus.actions() {
            match action {
                Action::SlotsClaimed { by, epoch, slots } => {
                    self.slots_claimed(by, epoch, slots);
                }
                Action::EpochCollision { .. } => self.record.collided(),
                Action::EpochSeen(_) => {}
                other => self.out.push(ClusterOutput::Bus(other)),
            }
        }
    }

    /// When [`Cluster::follow`] wants to be called next.
    pub fn deadline(&self) -> Mono {
        let bus = Mono(self.bus.deadline().saturating_mul(1_000_000));
        let asks = [
            self.membership.deadline(),
            self.words_deadline(),
            self.transfers.deadline(),
        ];
        asks.into_iter().flatten().fold(bus, Mono::min)
    }

    /// Steps the timers of the bus.
    pub fn tick(&mut self, now: Now) {
        self.now = now;
        let at = bus_now(now);
        if at.mono_ms >= self.bus.deadline() {
            self.bus.tick(at);
            self.table.touch();
        }
        self.view.touch();
    }

    /// Sends what the shard's group has to say.
    pub fn send(&mut self, messages: Vec<Envelope>) {
        self.peers.send(messages, &mut self.out);
    }

    /// The cluster as it is now.
    pub fn view(&mut self) -> &ClusterView {
        let (preferred, quorum) = (self.config.options.preferred, self.membership.has_quorum());
        self.view
            .of(&self.bus, &self.introductions, quorum, preferred)
    }

    /// Something has changed that the view shows.
    pub fn touch_view(&mut self) {
        self.view.touch();
    }

    /// This node is something else than before, in the same record.
    fn show_anew(&mut self) {
        self.shown.forget();
        self.table.touch();
    }

    // ---- the record -----------------------------------------------------------------------

    /// Whether this leader has to write its epoch entry before it serves (S2).
    pub fn must_announce<D: Disk>(&self, shard: &Shard<D>) -> bool {
        shard.record().master != self.myself()
    }

    /// What the shard's log has to say of epoch and slots, as effects of this turn: to be called
    /// when the shard admits writes. What it gives is a warning for the log.
    pub fn write_record(&mut self, data: &mut StateMachine) -> Option<String> {
        if self.is_joining() {
            return None;
        }
        if let Some(features) = self.news_of_builds(data.record()) {
            data.begin_command(0, Access::Lead);
            if data.room_for(room::RECORD) {
                data.set_features(features);
            }
            data.end_command();
        }
        self.record.write(data, &self.bus)
    }

    /// Whether [`Cluster::write_record`] has anything to write.
    pub fn has_record_to_write(&self, data: &StateMachine) -> bool {
        let news = || {
            self.record.has_news(data, self.myself())
                || self.news_of_builds(data.record()).is_some()
        };
        !self.is_joining() && news()
    }

    /// The base of a new group whose only member is this node (G1).
    fn bootstrap_base(&mut self, name: NodeId) -> Base {
        let (group, raft_id) = (self.ids.mint_group(), self.ids.mint_member());
        let mut record = Record::founded(self.ids.mint_shard(), name);
        record.moves.features = self.own_features();
        bootstrap_base(group, raft_id, record, self.config.election_timeout_ms)
    }
}

/// What the placement of the witness is told of the world.
fn around<'a>(
    now: Mono,
    bus: &'a Bus,
    introductions: &'a Introductions,
    config: &ClusterConfig,
) -> Around<'a> {
    Around {
        now,
        bus,
        introductions,
        enabled: config.options.witness,
        node_timeout: config.node_timeout(),
    }
}

/// G1: a group is born from a synthetic snapshot at index 1, term 1.
pub fn bootstrap_base(
    group: GroupId,
    raft_id: RaftId,
    record: Record,
    election_timeout_ms: u64,
) -> Base {
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
            file: None,
        },
        start: None,
    }
}

/// Votes, heartbeats and the like never queue behind bulk data.
pub(crate) fn is_urgent(envelope: &Envelope) -> bool {
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
