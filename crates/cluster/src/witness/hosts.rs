//! W3: which nodes may host a witness of this node's shard, best first.
//!
//! Owns the order. Never: asks one.

use base::mutation::{self, Mutation};
use cluster_bus::bus::{Bus, Node};
use cluster_bus::wire::Flags;
use cluster_bus::{NodeId, ShardId};
use storage::base::{Member, MemberKind};
use topology::Record;

/// A node that could host a witness.
struct Host {
    id: NodeId,
    /// On a machine of a data member of the shard.
    beside_data: bool,
    is_master: bool,
    /// A master with slots, or a replica of one that has heard it.
    is_settled: bool,
    weight: u64,
}

/// W3: replicas before masters, and on no machine of the shard's if there are others. `patient`:
/// no host rather than a master, while a node may yet settle.
fn best_first(mut hosts: Vec<Host>, patient: bool) -> Vec<NodeId> {
    let is_fit = |host: &Host| host.is_settled && !host.is_master;
    if patient && !hosts.iter().any(is_fit) && hosts.iter().any(|host| !host.is_settled) {
        return Vec::new();
    }
    hosts.retain(|host| host.is_settled);
    hosts.sort_by_key(|host| (host.beside_data, host.is_master, host.weight));
    hosts.into_iter().map(|host| host.id).collect()
}

/// The nodes outside this shard, best first. `patient`: no host rather than a master, while a replica may
/// still settle.
pub(super) fn hosts(bus: &Bus, record: &Record, list: &[Member], patient: bool) -> Vec<NodeId> {
    if !bus.state_ok() {
        return Vec::new(); // gossip has not settled
    }
    let is_data_host = |node: &Node| {
        let ids = list.iter().filter(|m| m.kind == MemberKind::Data);
        ids.filter_map(|m| bus.node(m.node))
            .any(|other| other.ip == node.ip)
    };
    let fits = |node: &&Node| {
        let anywhere = mutation::is(Mutation::WitnessBesideData);
        let busy = list.iter().any(|m| m.node == node.id) && !anywhere;
        let elsewhere = bus.shard_of(node.id) != Some(record.shard) || anywhere;
        !busy && elsewhere && node.connected && !node.suspect() && !node.ip.is_empty()
    };
    let hosts = bus.nodes().filter(fits).map(|node| Host {
        id: node.id,
        beside_data: is_data_host(node),
        is_master: node.is_master(),
        is_settled: node.slot_count > 0
            || (node.flags.has(Flags::SLAVE) && node.offset > 0 && node.master.is_some()),
        weight: rendezvous(record.shard, node.id),
    });
    best_first(hosts.collect(), patient)
}

/// Whether there is any node that is none of this shard's, so that it may host a witness.
pub(super) fn knows_strangers(bus: &Bus, list: &[Member]) -> bool {
    let stays = |node: &Node| list.iter().any(|m| m.node == node.id);
    let mut others = bus.nodes().filter(|n| n.id != bus.myself());
    others.any(|n| !n.in_handshake() && !stays(n))
}

/// Rendezvous hashing: a stable order of hosts that differs from shard to shard (FNV-1a).
fn rendezvous(shard: ShardId, node: NodeId) -> u64 {
    let bytes = shard.0.iter().chain(&node.0);
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(n: u8, is_master: bool, is_settled: bool) -> Host {
        Host {
            id: NodeId([n; 20]),
            beside_data: false,
            is_master,
            is_settled,
            weight: u64::from(n),
        }
    }

    fn order(hosts: Vec<Host>, patient: bool) -> Vec<u8> {
        let ids = best_first(hosts, patient).into_iter();
        ids.map(|id| id.0[0]).collect()
    }

    #[test]
    fn witnesses_go_to_replicas_before_masters() {
        let all = || {
            vec![
                host(1, true, true),
                host(3, false, true),
                host(2, false, true),
            ]
        };
        assert_eq!(order(all(), false), [2, 3, 1]);
        let mut beside = all();
        beside[2].beside_data = true;
        assert_eq!(order(beside, false), [3, 1, 2]);
    }

    #[test]
    fn a_leader_waits_for_those_that_may_yet_be_replicas() {
        let master = || host(1, true, true);
        for young in [host(2, false, false), host(2, true, false)] {
            assert_eq!(order(vec![master(), young], true), [0; 0]);
        }
        assert_eq!(order(vec![master(), host(2, false, false)], false), [1]);
        // There is no node to wait for, or no need to.
        assert_eq!(order(vec![master()], true), [1]);
        let settled = vec![master(), host(2, false, false), host(3, false, true)];
        assert_eq!(order(settled, true), [3, 1]);
    }
}
