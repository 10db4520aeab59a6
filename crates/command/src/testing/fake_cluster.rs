//! A cluster that notes what it is asked for, and shows the view that a test has made.

use crate::api::{ClusterApi, Failover, OutsideApi, ResetProgress};
use crate::error::Error;
use base::ShardId;
use cluster_bus::{NodeId, SlotSet};
use std::net::IpAddr;
use std::time::Duration;
use topology::moves::{Cargo, KeyState, MarkQuestion, Owners};
use topology::outside::{Place, Server, Unreached};
use topology::{ClusterView, MoveId};

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
    /// What is outside.
    pub reached: Option<Result<(u64, Server), Unreached>>,
    /// A node that is a real Redis.
    pub redis: Option<NodeId>,
    pub minted: u64,
    /// What another shard answers about any key and any slot; none: nothing yet.
    pub key_state: Option<KeyState>,
    pub mark: Option<Option<MoveId>>,
    /// Not all nodes of the two shards can move slots.
    pub not_upgraded: bool,
    /// What other shards say of slots; none: that they have none of them.
    pub owners: Option<Owners>,
    /// They say nothing.
    pub silent: bool,
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
    fn drop_packets(&mut self, kind: Option<usize>) {
        self.calls.push(format!("drop {kind:?}"));
    }
    fn set_owner(&mut self, slot: u16, node: NodeId) {
        self.calls.push(format!("owner {slot} {node}"));
    }
    fn end_moves(&mut self, with: Option<ShardId>) {
        self.calls.push(format!("end moves {with:?}"));
    }
    fn nobody_waits(&mut self, _: &mut Option<u64>) -> bool {
        self.calls.push("who waits".to_owned());
        !self.silent
    }
    fn can_move(&mut self, _: Option<ShardId>) -> bool {
        !self.not_upgraded
    }
    fn is_redis(&mut self, node: NodeId) -> Option<bool> {
        Some(self.redis == Some(node))
    }
    fn key_elsewhere(
        &mut self,
        _: &mut Option<u64>,
        _: ShardId,
        _: u16,
        _: MoveId,
        key: &[u8],
    ) -> Option<KeyState> {
        let key = String::from_utf8_lossy(key);
        self.calls.push(format!("key {key}"));
        self.key_state
    }
    fn mark_elsewhere(
        &mut self,
        _: &mut Option<u64>,
        _: ShardId,
        slot: u16,
        asks: MarkQuestion,
    ) -> Option<Option<MoveId>> {
        self.calls.push(match asks {
            MarkQuestion::Which => format!("mark {slot}"),
            MarkQuestion::Wanted => format!("want mark {slot}"),
        });
        self.mark
    }
    fn owners_elsewhere(&mut self, question: &mut Option<u64>, slots: &SlotSet) -> Option<Owners> {
        let owners = self.owners.clone().unwrap_or_default();
        *question = self.silent.then_some(1);
        (!self.silent).then(|| Owners {
            asked: slots.clone(),
            ..owners
        })
    }
    fn withdraw_question(&mut self, question: &mut Option<u64>) {
        *question = None;
    }
    fn begin_lend(&mut self, _: MoveId, (cargo, _): (Cargo, usize), _: Duration) {
        self.calls.push(format!("lend {}", cargo.parcels.len()));
    }
    fn begin_copy(&mut self, _: ShardId, cargo: Cargo, _: Duration) -> u64 {
        self.calls.push(format!("copy {}", cargo.parcels.len()));
        7
    }
    fn want_slot(&mut self, slot: u16, _: ShardId, _: MoveId, _: Duration) {
        self.calls.push(format!("want {slot}"));
    }
    fn announce_mark(&mut self, slot: u16, _: MoveId) {
        self.calls.push(format!("announce {slot}"));
    }
}

impl OutsideApi for FakeCluster {
    fn mint(&mut self) -> MoveId {
        self.minted += 1;
        let mut id = MoveId::default();
        id.number.n = self.minted;
        id
    }
    fn reach(
        &mut self,
        _: &mut Option<u64>,
        place: &Place,
        _: Duration,
    ) -> Option<Result<(u64, Server), Unreached>> {
        self.calls
            .push(format!("reach {}:{}", place.host, place.port));
        self.reached.clone()
    }
    fn leave(&mut self, link: u64) {
        self.calls.push(format!("leave {link}"));
    }
    fn begin_outside(&mut self, _: MoveId, to: (u64, bool), cargo: Cargo, _: Duration) {
        let count = cargo.parcels.len();
        self.calls.push(format!("lend {count} on {to:?}"));
    }
    fn copy_outside(&mut self, to: (u64, bool), cargo: Cargo, _: Duration) -> u64 {
        let count = cargo.parcels.len();
        self.calls.push(format!("copy {count} on {to:?}"));
        8
    }
}
