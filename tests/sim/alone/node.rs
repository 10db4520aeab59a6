//! A node by itself: another shard's claim on its slots (S3), slots that nobody has (C3), a log that
//! is gone while nodes.conf is not (S4). In the cluster world slots never change their shard, and an
//! operator sends nodes without a shard back to where they were.

use cluster_bus::bus::{self, IpAddr, INCOMING};
use cluster_bus::nodes_conf::{self, NodesConf};
use cluster_bus::wire::{Body, Flags, Header, Message, PingKind};
use cluster_bus::{NodeId, SlotSet};
use holdfast::agent::seat::Seat;
use holdfast::agent::{self, Agent, AgentConfig};
use holdfast::clock::{Clock, Now};
use holdfast::cluster::Record;
use holdfast::shard::{Admission, Shard};
use std::cell::Cell;

use super::{at, settle, shard, T_MS};
use crate::disk::SimDisk;

const SLOTS: u16 = cluster_bus::slot::SLOT_COUNT;
const ME: NodeId = NodeId([5; 20]);
const OTHER: NodeId = NodeId([2; 20]);
const CLAIMED: u16 = 100;
/// The raft id of node 5.
const MEMBER: u64 = 77;

/// A clock that goes on by a millisecond with every look.
#[derive(Default)]
struct Ticking(Cell<u64>);

impl Clock for Ticking {
    fn now(&self) -> Now {
        self.0.set(self.0.get() + 1);
        at(self.0.get())
    }
}

/// The node 5, which knows the node 2.
struct Lone {
    agent: Agent,
    shard: Shard<SimDisk>,
    clock: Ticking,
}

impl Lone {
    /// It is master of `slots`; the other one is a master without any.
    fn new(slots: SlotSet) -> Lone {
        let record = Record {
            slots,
            epoch: 5,
            ..Record::founded(NodeId([9; 20]), ME)
        };
        Lone::with(record, "connected", "master - 0 0 1 connected", |_| Seat {
            member: MEMBER,
            ..Seat::default()
        })
    }

    /// With a group whose record is this; `mine` and `other` are what nodes.conf says.
    fn with(
        record: Record,
        mine: &str,
        other: &str,
        seat: impl FnOnce(&NodesConf) -> Seat,
    ) -> Lone {
        let text = format!(
            "{ME} 127.0.0.1:7000@17000 myself,master - 0 0 5 {mine}\n\
             {OTHER} 127.0.0.1:7001@17001 {other}\n\
             vars currentEpoch 5 lastVoteEpoch 0\n"
        );
        let conf = nodes_conf::parse(&text).expect("a sound nodes.conf");
        let clock = Ticking::default();
        let config = AgentConfig {
            bus: bus::Options {
                require_full_coverage: true,
                ..bus::Options::default()
            },
            seed: 1,
            election_timeout_ms: T_MS,
            witness: false,
        };
        Lone {
            agent: Agent::new(config, seat(&conf), ME, Some(&conf), clock.now()),
            shard: shard(&agent::birth(1, MEMBER, record, T_MS), at(0)),
            clock,
        }
    }

    /// A turn as the node's loop makes it, its jobs done on the spot.
    fn turn(&mut self) {
        let now = self.clock.now();
        self.agent.tick(now);
        self.shard.begin(now).expect("a turn begins");
        self.agent.follow(now, &mut self.shard);
        let leads = matches!(self.shard.admission(), Admission::Lead { writable: true });
        if leads && self.agent.has_record_to_write(self.shard.data()) {
            self.agent.write_record(self.shard.data_mut());
        }
        self.shard.finish(&self.clock).expect("a turn ends");
        settle(&mut self.shard, self.clock.now());
        self.agent.take_acts();
    }

    fn turns(&mut self, n: usize) {
        (0..n).for_each(|_| self.turn());
    }

    /// The other master says that the slot is its own, under this epoch.
    fn hear_claim(&mut self, epoch: u64) {
        let header = Header {
            sender: OTHER,
            master: None,
            slots: [CLAIMED].into_iter().collect(),
            ip: String::new(),
            port: 7001,
            pport: 0,
            cport: 17_001,
            flags: Flags::MASTER,
            state: 0,
            message_flags: [4, 0, 0],
            current_epoch: epoch,
            config_epoch: epoch,
            offset: 0,
        };
        let body = Body::Ping {
            kind: PingKind::Ping,
            gossip: Vec::new(),
            extensions: Vec::new(),
        };
        let mut bytes = Vec::new();
        Message { header, body }.encode(&mut bytes);
        let now = agent::bus_now(self.clock.now());
        let ip = IpAddr::from([127, 0, 0, 1]);
        let bus = self.agent.bus_mut();
        bus.accepted(now, INCOMING | 1, ip, ip);
        bus.received(now, INCOMING | 1, &bytes);
    }
}

/// S3: a claim under a higher epoch takes the slot out of the record, one under a lower does not.
pub fn a_higher_claim_is_a_loss_in_the_log() -> bool {
    let mut lone = Lone::new((0..SLOTS).collect());
    lone.turns(20);
    lone.hear_claim(4);
    lone.turns(20);
    let kept = lone.shard.record().slots.contains(CLAIMED);
    lone.hear_claim(9);
    lone.turns(20);
    let lost = !lone.shard.record().slots.contains(CLAIMED);
    let others = lone.shard.record().slots.len() == usize::from(SLOTS) - 1;
    kept && lost && others && lone.agent.bus().owner(CLAIMED) == Some(OTHER)
}

/// C3: with cluster-require-full-coverage one slot that nobody has stops all.
pub fn a_missing_slot_stops_the_cluster() -> bool {
    let mut whole = Lone::new((0..SLOTS).collect());
    let mut short = Lone::new((1..SLOTS).collect());
    whole.turns(50);
    short.turns(50);
    let serves = |lone: &mut Lone| (lone.agent.routing().covered, lone.agent.view().ok);
    serves(&mut whole) == (true, true) && serves(&mut short) == (false, false)
}

/// S4: nodes.conf says that this node has slots and a replica; its log is gone. It claims none of
/// them and is on its way into the shard that the other one still has.
pub fn without_its_log_a_node_claims_nothing() -> bool {
    let founded = Record::founded(NodeId([9; 20]), ME);
    let other = format!("slave {ME} 0 0 5 connected");
    let mint = || 78;
    let mut lone = Lone::with(founded, "connected 0-99", &other, |conf| {
        Seat::first(MEMBER, Some(conf), mint)
    });
    lone.turns(20);
    let state = lone.agent.bus().self_state();
    let none = state.slots.is_empty() && lone.agent.bus().owner(0) != Some(ME);
    none && state.role == bus::Role::Slave(OTHER) && lone.agent.is_joining()
}

#[test]
fn a_node_without_its_log_joins_the_shard_of_nodes_conf() {
    assert!(without_its_log_a_node_claims_nothing());
}

#[test]
fn a_claim_under_a_higher_epoch_takes_a_slot_out_of_the_record() {
    assert!(a_higher_claim_is_a_loss_in_the_log());
}

#[test]
fn a_slot_that_nobody_has_stops_a_cluster_that_wants_all() {
    assert!(a_missing_slot_stops_the_cluster());
}
