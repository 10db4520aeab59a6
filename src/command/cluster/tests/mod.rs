//! CLUSTER on views made by hand, and a host that notes what it is asked for. Replies that are
//! marked as recorded come from redis-server 7.0.15 in cluster mode.

mod admin;
mod recorded;
mod slots;
mod topology;

use crate::command::api::{ClusterApi, Failover, Progress};
use crate::command::testing::Fixture;
use crate::command::Error;
use crate::keyspace::Layout;
use crate::topology::{ClusterView, Health, NodeView};
use cluster_bus::wire::Flags;
use cluster_bus::{NodeId, SlotSet};
use std::net::IpAddr;

/// A cluster that changes nothing but what DELSLOTS asks for.
#[derive(Default)]
pub struct FakeCluster {
    pub view: ClusterView,
    pub calls: Vec<String>,
    pub refusal: Option<Error>,
    /// Nodes that the bus has forgotten already.
    pub forgotten: Vec<NodeId>,
    /// RESET is under way.
    pub later: bool,
}

impl FakeCluster {
    fn call(&mut self, what: String) -> Result<(), Error> {
        self.calls.push(what);
        self.refusal.clone().map_or(Ok(()), Err)
    }
}

impl ClusterApi for FakeCluster {
    fn view(&mut self) -> &ClusterView {
        &self.view
    }
    fn meet(&mut self, ip: &str, port: u16, cport: u16) -> bool {
        self.calls.push(format!("meet {ip} {port} {cport}"));
        ip.parse::<IpAddr>().is_ok()
    }
    fn forget(&mut self, node: NodeId) -> Result<(), Error> {
        if self.view.node(node).is_none() && !self.forgotten.contains(&node) {
            return Err(Error::unknown_node(node.to_string().as_bytes()));
        }
        self.call(format!("forget {node}"))
    }
    fn replicate(&mut self, master: NodeId) -> Result<(), Error> {
        self.call(format!("replicate {master}"))
    }
    fn failover(&mut self, mode: Failover) -> Result<(), Error> {
        self.call(format!("failover {mode:?}"))
    }
    fn reset(&mut self, hard: bool, waits_for: Option<u64>) -> Result<Progress, Error> {
        self.call(format!("reset {hard} {waits_for:?}"))?;
        Ok(if self.later {
            Progress::Later(3)
        } else {
            Progress::Done
        })
    }
    fn save_config(&mut self) -> Result<(), Error> {
        self.call("save".to_owned())
    }
    fn unassign(&mut self, slots: &SlotSet) {
        self.calls.push(format!("unassign {slots:?}"));
        for node in &mut self.view.nodes {
            slots.iter().for_each(|slot| {
                node.slots.remove(slot);
            });
        }
    }
}

/// The id whose digits are all `digit`.
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
        shard: Some(id(digit + 8)),
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
        shard: Some(id(of + 8)),
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
