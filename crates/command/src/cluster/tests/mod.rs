//! CLUSTER on views made by hand. Replies that are marked as recorded come from redis-server 7.0.15 in
//! cluster mode.

mod admin;
mod gains;
mod lends;
mod recorded;
mod slots;
mod topology;

use crate::testing::{FakeCluster, Fixture};
use ::topology::{ClusterView, Health, NodeView};
use cluster_bus::wire::Flags;
use cluster_bus::{NodeId, ShardId, SlotSet};
use keyspace::Layout;

/// An id of one digit, repeated.
pub fn id(digit: u8) -> NodeId {
    NodeId([digit << 4 | digit; 20])
}

pub fn set(ranges: &[(u16, u16)]) -> SlotSet {
    ranges.iter().flat_map(|(a, b)| *a..=*b).collect()
}

/// A master at 127.0.0.1:700`digit` in a shard of its own.
pub fn master(digit: u8, slots: &[(u16, u16)]) -> NodeView {
    NodeView {
        id: id(digit),
        ip: "127.0.0.1".to_owned(),
        port: 7000 + u16::from(digit),
        cport: 17000 + u16::from(digit),
        flags: Flags::MASTER,
        shard: Some(ShardId(id(digit + 8).0)),
        connected: true,
        config_epoch: digit.into(),
        slots: set(slots),
        ..NodeView::default()
    }
}

/// A replica of the master with the digit `of`.
pub fn replica(digit: u8, of: u8) -> NodeView {
    NodeView {
        flags: Flags::SLAVE,
        master: Some(id(of)),
        shard: Some(ShardId(id(of + 8).0)),
        config_epoch: 0,
        offset: 10,
        health: Health::Online,
        ..master(digit, &[])
    }
}

/// A view of the first of these nodes.
pub fn view(mut nodes: Vec<NodeView>) -> ClusterView {
    nodes[0].flags.0 |= Flags::MYSELF.0;
    ClusterView {
        myself: nodes[0].id,
        ok: true,
        size: nodes.iter().filter(|n| !n.slots.is_empty()).count(),
        current_epoch: nodes.iter().map(|n| n.config_epoch).max().unwrap_or(0),
        nodes,
        ..ClusterView::default()
    }
}

pub fn fixture(view: ClusterView) -> Fixture {
    let mut fixture = Fixture::new(Layout::Cluster);
    fixture.host.cluster = Some(FakeCluster {
        view,
        ..FakeCluster::default()
    });
    fixture
}

/// What the host was asked for since the last time.
pub fn calls(fixture: &mut Fixture) -> Vec<String> {
    let cluster = fixture.host.cluster.as_mut();
    std::mem::take(&mut cluster.expect("a cluster").calls)
}
