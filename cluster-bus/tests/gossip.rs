//! A hundred nodes on a virtual network, with virtual time: how fast they all know the same.
//!
//! Everything is derived from seeds, so a run that fails fails again. It prints rounds (ticks of
//! 100 ms) and bytes.

mod network;

use cluster_bus::bus::NodeRole;
use cluster_bus::slot::SLOT_COUNT;
use cluster_bus::wire::Flags;
use network::{Network, NODE_TIMEOUT_MS};

const NODES: usize = 100;
/// Every fourth node has slots.
const MASTERS: usize = 25;

fn slots_of(master: usize) -> impl Iterator<Item = u16> {
    let share = usize::from(SLOT_COUNT) / MASTERS + 1;
    let (from, to) = (master * share, (master + 1) * share);
    (from..to.min(usize::from(SLOT_COUNT))).map(|slot| slot as u16)
}

/// Masters 0..25 with slots, the rest replicas of them, joined by a chain of MEETs.
fn cluster(seed: u64) -> Network {
    let mut net = Network::new(NODES, seed);
    for node in 0..NODES {
        let master = node % MASTERS;
        let role = (node != master).then(|| NodeRole::Slave(net.id(master)));
        let shard = net.shard(master);
        net.become_(node, |me| {
            me.role = role.unwrap_or(NodeRole::Master);
            me.shard = shard;
            me.slots = slots_of(master).collect();
            me.config_epoch = master as u64 + 1;
        });
    }
    for node in 1..NODES {
        net.meet(node - 1, node);
    }
    net
}

#[test]
fn a_chain_of_meets_makes_one_cluster() {
    let mut net = cluster(1);
    let rounds = net.until(600, "everybody knows everybody", |net| {
        net.live()
            .all(|bus| bus.nodes().count() == NODES && !bus.nodes().any(|n| n.in_handshake()))
    });
    net.report("joined", rounds);
    let rounds = net.until(600, "all agree on all slots", |net| {
        let same = (0..SLOT_COUNT).all(|slot| {
            let owner = net.bus(0).owner(slot);
            owner.is_some() && net.live().all(|bus| bus.owner(slot) == owner)
        });
        same && net.live().all(|bus| bus.state_ok())
    });
    net.report("slots agreed", rounds);
    for bus in net.live() {
        assert_eq!(bus.size(), MASTERS);
        assert_eq!(bus.current_epoch(), MASTERS as u64);
    }
    let rounds = net.until(600, "roles and shards are known", |net| {
        net.live().all(|bus| {
            bus.nodes().all(|node| {
                let number = net.number(node.id);
                let master = number % MASTERS;
                let wanted = (number != master).then(|| net.id(master));
                node.master == wanted && bus.shard_of(node.id) == Some(net.shard(master))
            })
        })
    });
    net.report("roles and shards", rounds);
    assert_eq!(net.warnings(), 0);
}

#[test]
fn the_dead_are_seen_by_all_and_come_back() {
    let mut net = cluster(2);
    join(&mut net);
    for node in [3, 40, 41, 99] {
        net.kill(node);
    }
    let timeout = NODE_TIMEOUT_MS / 100;
    let rounds = net.until(4 * timeout, "FAIL is seen by all", |net| {
        net.live().all(|bus| {
            [3, 40, 41, 99].iter().all(|dead| {
                let node = bus.node(net.id(*dead));
                node.is_some_and(|node| node.flags.has(Flags::FAIL))
            })
        })
    });
    net.report("four dead seen by all", rounds);
    assert!(rounds >= timeout, "nobody is down before the timeout");
    let healthy = |net: &Network| {
        net.live()
            .all(|bus| bus.nodes().filter(|node| node.suspect()).count() == 4)
    };
    net.until(timeout, "nobody else is suspected", healthy);
    // Node 3 has slots and no successor here.
    assert!(net.live().all(|bus| !bus.state_ok()));

    for node in [3, 40, 41, 99] {
        net.restart(node);
    }
    let rounds = net.until(6 * timeout, "all are back", |net| {
        net.live()
            .all(|bus| bus.state_ok() && !bus.nodes().any(|node| node.suspect()))
    });
    net.report("four back", rounds);
}

#[test]
fn a_partition_heals() {
    let mut net = cluster(3);
    join(&mut net);
    // 10 of 25 masters (and their replicas) on the other side.
    let far = |node: usize| node % MASTERS < 10;
    net.partition(far);
    let timeout = NODE_TIMEOUT_MS / 100;
    let rounds = net.until(6 * timeout, "each side sees the other down", |net| {
        (0..NODES).all(|node| {
            let bus = net.bus(node);
            let others = (0..NODES).filter(|other| far(*other) != far(node));
            let mut flags = others.filter_map(|other| bus.node(net.id(other)).map(|n| n.flags));
            let wanted = match far(node) {
                true => Flags::PFAIL,
                false => Flags::FAIL,
            };
            flags.all(|flags| flags.has(wanted)) && !bus.state_ok()
        })
    });
    net.report("partition seen", rounds);

    // On the far side a replica has taken over master 0's shard by the log; nobody here knows.
    let (old, new) = (0, 25);
    let (old_id, new_id) = (net.id(old), net.id(new));
    net.become_(new, |me| {
        me.role = NodeRole::Master;
        me.config_epoch = 1000;
    });
    net.become_(old, |me| {
        me.role = NodeRole::Slave(new_id);
        me.config_epoch = 1000;
    });
    net.heal();
    let rounds = net.until(8 * timeout, "one view again", |net| {
        net.live().all(|bus| {
            let moved = slots_of(0).all(|slot| bus.owner(slot) == Some(new_id));
            let role = bus
                .node(old_id)
                .is_some_and(|old| old.master == Some(new_id));
            moved && role && bus.state_ok() && !bus.nodes().any(|node| node.suspect())
        })
    });
    net.report("partition healed", rounds);
}

/// All are stopped and come back, `moved` under the address of the node beside it in the list.
fn all_back_with(moved: &[(usize, usize)], seed: u64) {
    let mut net = Network::new(6, seed);
    for node in 0..6 {
        let shard = net.shard(node);
        net.become_(node, |me| {
            me.shard = shard;
            me.slots = (0..SLOT_COUNT)
                .filter(|slot| usize::from(slot % 6) == node)
                .collect();
            me.config_epoch = node as u64 + 1;
        });
    }
    for node in 1..6 {
        net.meet(0, node);
    }
    let whole = |net: &Network| {
        (0..6).all(|node| {
            let bus = net.bus(node);
            let is_right = |other: usize| {
                let known = bus.node(net.id(other));
                known.is_some_and(|n| {
                    let linked = n.connected || other == node;
                    linked && n.ip == net.address(other) && !n.flags.has(Flags::NOADDR)
                })
            };
            bus.state_ok() && bus.nodes().count() == 6 && (0..6).all(is_right)
        })
    };
    net.until(600, "one cluster", whole);
    (0..6).for_each(|node| net.kill(node));
    moved.iter().for_each(|&(node, to)| net.move_to(node, to));
    (0..6).for_each(|node| net.restart(node));
    let rounds = net.until(300, "all are found at their new addresses", whole);
    net.report("addresses exchanged", rounds);
}

#[test]
fn two_that_exchanged_addresses_find_each_other() {
    for seed in 0..20 {
        all_back_with(&[(2, 3), (3, 2)], seed);
    }
}

#[test]
fn nodes_whose_addresses_were_shuffled_find_all() {
    for seed in 0..20 {
        all_back_with(&[(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 0)], seed);
        all_back_with(&[(0, 1), (1, 0), (2, 3), (3, 2), (4, 5), (5, 4)], seed);
    }
}

fn join(net: &mut Network) {
    net.until(1200, "one cluster", |net| {
        net.live()
            .all(|bus| bus.state_ok() && bus.nodes().count() == NODES)
    });
    net.report("joined", 0);
}
