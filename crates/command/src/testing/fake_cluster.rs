//! A cluster that notes what it is asked for, and shows the view that a test has made.

use crate::api::{ClusterApi, Failover, ResetProgress};
use crate::error::Error;
use cluster_bus::{NodeId, SlotSet};
use std::net::IpAddr;
use topology::ClusterView;

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
    fn reset(&mut self, hard: bool, waits_for: Option<u64>) -> Result<ResetProgress, Error> {
        self.call(format!("reset {hard} {waits_for:?}"))?;
        Ok(if self.later {
            ResetProgress::Later(3)
        } else {
            ResetProgress::Done
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
