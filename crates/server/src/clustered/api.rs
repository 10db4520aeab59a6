//! What CLUSTER's commands may ask of the cluster around this node.
//!
//! Owns the texts of refusals. Never decides: the cluster core does.

use super::Clustered;
use crate::platform::{ClusterPlatform, Platform};
use base::clock::Clock;
use base::ShardId;
use cluster::{bus_now, OperatorRefusal};
use cluster_bus::bus::ForgetError;
use cluster_bus::{NodeId, SlotSet};
use command::api::{ClusterApi, Failover, OutsideApi, ResetProgress};
use command::Error;
use std::time::Duration;
use topology::moves::{Cargo, KeyState, MarkQuestion, Owners};
use topology::outside::{Place, Server, Unreached};
use topology::{ClusterView, MoveId};

fn refused(refusal: OperatorRefusal) -> Error {
    Error::text(format!("ERR {refusal}"))
}

impl<P: Platform> ClusterApi for Clustered<P> {
    fn view(&mut self) -> &ClusterView {
        self.core.view()
    }

    fn meet(&mut self, ip: &str, port: u16, cport: u16) -> bool {
        let Ok(ip) = ip.parse() else {
            return false;
        };
        let now = bus_now(self.clock.now());
        // A handshake that is under way already is no error.
        self.core.bus_mut().meet(now, ip, port, cport);
        true
    }

    fn forget(&mut self, node: NodeId) -> Result<(), Error> {
        let now = self.clock.now();
        match self.core.forget(now, node) {
            Ok(()) => Ok(()),
            Err(ForgetError::Unknown) => Err(Error::unknown_node(node.to_string().as_bytes())),
            Err(ForgetError::Myself) => Err(Error::FORGET_MYSELF),
            Err(ForgetError::MyMaster) => Err(Error::FORGET_MASTER),
        }
    }

    fn replicate(&mut self, master: NodeId) -> Result<(), Error> {
        let Some(identity) = self.core.identity_to_replicate(master).map_err(refused)? else {
            return Ok(());
        };
        // C1: the mark outlives a crash, and so must the address of the node that it names, or what
        // was answered OK is never done.
        self.save_config()?;
        if let Err(error) = self.save_identity(&identity) {
            let refused = Error::save_config(&error.to_string());
            self.identity_lost = Some(error).filter(|error| !error.is_full());
            return Err(refused);
        }
        self.core.replicate(identity);
        self.core.touch_view();
        Ok(())
    }

    fn failover(&mut self, mode: Failover) -> Result<(), Error> {
        match mode {
            Failover::Planned | Failover::Force => self.core.ask_to_lead().map_err(refused),
            Failover::Takeover => Err(Error::text(
                "ERR CLUSTER FAILOVER TAKEOVER is not supported".to_owned(),
            )),
        }
    }

    fn reset(&mut self, hard: bool, waits_for: Option<u64>) -> Result<ResetProgress, Error> {
        let now = self.clock.now();
        let number = self.core.reset(now, hard, waits_for).map_err(refused)?;
        Ok(number.map_or(ResetProgress::Done, ResetProgress::Later))
    }

    fn save_config(&mut self) -> Result<(), Error> {
        let text = self.core.bus().conf().render();
        let saved = self.io.save_conf(&text);
        saved.map_err(|error| Error::save_config(&error.to_string()))?;
        self.conf.saved(self.spoken());
        Ok(())
    }

    fn unassign(&mut self, slots: &SlotSet) {
        self.core.unassign(slots);
    }

    fn set_owner(&mut self, slot: u16, node: NodeId) {
        self.core.set_owner(slot, node);
    }

    fn drop_packets(&mut self, kind: Option<usize>) {
        self.core.bus_mut().drop_packets(kind);
    }

    fn end_moves(&mut self, with: Option<ShardId>) {
        self.core.end_moves(with);
    }

    fn nobody_waits(&mut self, question: &mut Option<u64>) -> bool {
        self.core.nobody_alive_waits(question)
    }

    fn can_move(&mut self, with: Option<ShardId>) -> bool {
        self.core.can_move(with)
    }

    fn is_redis(&mut self, node: NodeId) -> Option<bool> {
        self.core.is_redis(node)
    }

    fn key_elsewhere(
        &mut self,
        question: &mut Option<u64>,
        shard: ShardId,
        slot: u16,
        mark: MoveId,
        key: &[u8],
    ) -> Option<KeyState> {
        self.core.key_elsewhere(question, shard, (slot, mark), key)
    }

    fn mark_elsewhere(
        &mut self,
        question: &mut Option<u64>,
        shard: ShardId,
        slot: u16,
        asks: MarkQuestion,
    ) -> Option<Option<MoveId>> {
        self.core.mark_elsewhere(question, shard, slot, asks)
    }

    fn owners_elsewhere(&mut self, question: &mut Option<u64>, slots: &SlotSet) -> Option<Owners> {
        self.core.owners_elsewhere(question, slots)
    }

    fn withdraw_question(&mut self, question: &mut Option<u64>) {
        self.core.withdraw_question(question);
    }

    fn begin_lend(&mut self, id: MoveId, cargo: (Cargo, usize), patience: Duration) {
        self.core.begin_lend(id, cargo, patience);
    }

    fn begin_copy(&mut self, to: ShardId, cargo: Cargo, patience: Duration) -> u64 {
        self.core.begin_copy(to, &cargo, patience)
    }

    fn want_slot(&mut self, slot: u16, from: ShardId, mark: MoveId, patience: Duration) {
        self.core.want_slot(slot, from, mark, patience);
    }

    fn announce_mark(&mut self, slot: u16, mark: MoveId) {
        self.core.announce_mark(slot, mark);
    }
}

impl<P: Platform> OutsideApi for Clustered<P> {
    fn mint(&mut self) -> MoveId {
        self.core.mint()
    }

    fn reach(
        &mut self,
        question: &mut Option<u64>,
        place: &Place,
        patience: Duration,
    ) -> Option<Result<(u64, Server), Unreached>> {
        self.core.reach(question, place, patience)
    }

    fn leave(&mut self, link: u64) {
        self.core.leave(link);
    }

    fn begin_outside(&mut self, id: MoveId, to: (u64, bool), cargo: Cargo, patience: Duration) {
        self.core.begin_outside(id, to, cargo, patience);
    }

    fn copy_outside(&mut self, to: (u64, bool), cargo: Cargo, patience: Duration) -> u64 {
        self.core.copy_outside(to, cargo, patience)
    }
}
