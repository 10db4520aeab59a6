//! A node by itself: another shard's claim on its slots (S3), slots that nobody has (C3), a log that
//! is gone while nodes.conf is not (S4). In the cluster world slots never change their shard, and an
//! operator sends nodes without a shard back to where they were.

use base::ids::RaftId;
use cluster::identity::{Joining, NodeIdentity};
use cluster_bus::bus::NodeRole;
use cluster_bus::wire::{Body, Flags, Header, Message, PingKind};
use cluster_bus::{NodeId, SlotSet};
use std::net::{Ipv4Addr, SocketAddr};
use transport::{Event as LinkEvent, Probed};

use super::bed::{disk, node, record, silence, Bed, ME};
use crate::disk::SimDisk;
use crate::platform::SimFolders;
use storage::Folders;

const SLOTS: u16 = cluster_bus::slot::SLOT_COUNT;
const OTHER: NodeId = NodeId([2; 20]);
const CLAIMED: u16 = 100;
/// A key of that slot.
const KEY: &str = "k2136";

/// The node 5, which knows the node 2.
struct Lone {
    bed: Bed,
}

impl Lone {
    /// It is master of `slots`; the other one is a master without any.
    fn new(slots: SlotSet) -> Lone {
        let disk = disk(&[ME], &record(slots, 5));
        Lone::with(disk, "connected", "master - 0 0 1 connected")
    }

    /// On this disk; `mine` and `other` are what nodes.conf says.
    fn with(disk: SimDisk, mine: &str, other: &str) -> Lone {
        let me = node(ME);
        let text = format!(
            "{me} 127.0.0.1:7000@17000 myself,master - 0 0 5 {mine}\n\
             {OTHER} 127.0.0.1:7001@17001 {other}\n\
             vars currentEpoch 5 lastVoteEpoch 0\n"
        );
        Lone {
            bed: Bed::start(disk, &text, silence),
        }
    }

    fn turns(&mut self, n: usize) {
        self.bed.turns(n);
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
            kind: PingKind::Pong,
            gossip: Vec::new(),
            extensions: Vec::new(),
        };
        let mut bytes = Vec::new();
        Message { header, body }.encode(&mut bytes);
        // On the link that this node has opened: on others anybody can say so.
        let bus = self.bed.cluster().bus();
        let link = bus.links().find(|l| l.node == Some(OTHER)).map(|l| l.id);
        let link = link.expect("it calls the nodes that it knows");
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 17_000));
        self.bed.hears(LinkEvent::BusConnected { link, local });
        // M21: of a node that could be asked no claim is believed.
        let answer = Probed::Refused;
        let node = OTHER;
        self.bed.hears(LinkEvent::Probed { node, answer });
        self.bed.hears(LinkEvent::BusPacket { link, bytes });
    }
}

/// S3: a claim under a higher epoch takes the slot out of the record, one under a lower does not.
pub fn a_higher_claim_is_a_loss_in_the_log() -> bool {
    let mut lone = Lone::new((0..SLOTS).collect());
    lone.turns(20);
    lone.hear_claim(4);
    lone.turns(20);
    let set = lone.bed.answers(&format!("SET {KEY} v\r\n"));
    let kept = lone.bed.shard().record().slots.contains(CLAIMED);
    lone.hear_claim(9);
    lone.turns(20);
    let lost = !lone.bed.shard().record().slots.contains(CLAIMED);
    let others = lone.bed.shard().record().slots.len() == usize::from(SLOTS) - 1;
    let keys = lone.bed.shard().data().keyspace().count_in_slot(CLAIMED);
    assert_eq!(
        (set.as_str(), keys),
        ("+OK\r\n", 1),
        "S3: no key is deleted"
    );
    kept && lost && others && lone.bed.cluster().bus().owner(CLAIMED) == Some(OTHER)
}

/// C3: with cluster-require-full-coverage one slot that no node has stops all.
pub fn a_missing_slot_stops_the_cluster() -> bool {
    let mut whole = Lone::new((0..SLOTS).collect());
    let mut short = Lone::new((1..SLOTS).collect());
    let serves = |lone: &mut Lone| {
        lone.turns(50);
        let info = lone.bed.answers("CLUSTER INFO\r\n");
        let reply = lone.bed.answers("GET k\r\n");
        let ok = info.contains("cluster_state:ok");
        assert_eq!(ok, info.contains("cluster_state:ok") && reply == "$-1\r\n");
        (lone.bed.cluster().routing().covered, ok)
    };
    serves(&mut whole) == (true, true) && serves(&mut short) == (false, false)
}

/// S4: nodes.conf says that this node has slots and a replica; its log is gone. It claims none of
/// them and is on its way into the shard that the other one still has.
pub fn without_its_log_a_node_claims_nothing() -> bool {
    let empty = SimFolders(SimDisk::new(1 << 30)).own();
    let other = format!("slave {} 0 0 5 connected", node(ME));
    let mut lone = Lone::with(empty, "connected 0-99", &other);
    lone.turns(20);
    let core = lone.bed.cluster();
    let state = core.bus().self_state();
    let none = state.slots.is_empty() && core.bus().owner(0) != Some(node(ME));
    none && state.role == NodeRole::Slave(OTHER) && core.is_joining()
}

/// C1: the node was told to go to another shard, and before it went it became the only member that has
/// its shard's data: it stays.
pub fn the_last_data_member_stays() -> bool {
    let (mut lone, _) = on_its_way();
    lone.turns(50);
    !lone.bed.cluster().is_joining()
}

/// The only member that has its shard's data, told before to go to another one.
fn on_its_way() -> (Lone, SimDisk) {
    let disk = disk(&[ME], &record((0..SLOTS).collect(), 5));
    let identity = NodeIdentity {
        member: RaftId(ME),
        joining: Some(Joining {
            target: OTHER,
            raft_id: RaftId(78),
        }),
        ..NodeIdentity::default()
    };
    identity.save(&disk).expect("a sound disk");
    let master = "master - 0 0 1 connected";
    (Lone::with(disk.clone(), "connected 0-16383", master), disk)
}

/// D5: the identity that says so waits for room on the disk; the node goes on meanwhile.
#[test]
fn an_identity_waits_for_room_on_a_full_disk() {
    let (mut lone, disk) = on_its_way();
    let written = || {
        NodeIdentity::load(&disk)
            .expect("sound")
            .expect("there")
            .joining
    };
    disk.set_capacity(0);
    lone.turns(50);
    assert!(!lone.bed.cluster().is_joining() && written().is_some());
    disk.set_capacity(1 << 30);
    lone.turns(1500);
    assert_eq!(written(), None);
    assert_eq!(lone.bed.answers("GET k\r\n"), "$-1\r\n");
}

#[test]
fn the_last_member_with_data_stays_in_its_shard() {
    assert!(the_last_data_member_stays());
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
