//! What operators ask of a node: the CLUSTER commands that change something, with the checks that
//! `src/command/cluster/admin.rs` makes first.

use cluster_bus::bus::Role;
use cluster_bus::{NodeId, SlotSet};
use holdfast::clock::Now;
use holdfast::command::Access;
use holdfast::shard::Admission;

use super::node::{bus_now, ip_of, Node};

#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    AddSlots(SlotSet),
    /// DELSLOTS of own slots.
    DelSlots(SlotSet),
    SetEpoch(u64),
    /// Another machine.
    Meet(usize),
    Replicate(NodeId),
    Failover,
    Forget(NodeId),
    Reset {
        hard: bool,
    },
}

/// Whether an operation is over.
enum Told {
    Done(&'static str),
    Later,
}

impl Node {
    pub(super) fn carry_out_ops(&mut self, now: Now, admission: Admission) {
        for op in std::mem::take(&mut self.ops) {
            match self.carry_out(now, admission, &op) {
                Told::Done(how) => self.done_ops.push(format!("{op:.100?}: {how}")),
                Told::Later => self.ops.push(op),
            }
        }
    }

    fn carry_out(&mut self, now: Now, admission: Admission, op: &Op) -> Told {
        match op {
            Op::AddSlots(_) | Op::DelSlots(_) | Op::SetEpoch(_) => self.record_op(admission, op),
            Op::Meet(machine) => {
                let (port, cport) = (7000 + *machine as u16, 17_000 + *machine as u16);
                let bus = self.agent.bus_mut();
                bus.meet(bus_now(now), ip_of(*machine), port, cport);
                Told::Done("ok")
            }
            Op::Replicate(master) => self.replicate(*master),
            Op::Failover if self.agent.is_master() => Told::Done("a master"),
            Op::Failover => match self.agent.ask_to_lead() {
                Ok(()) => Told::Done("ok"),
                Err(_) => Told::Done("refused"),
            },
            Op::Forget(node) => match self.agent.forget(now, *node) {
                Ok(()) => Told::Done("ok"),
                Err(_) => Told::Done("refused"),
            },
            Op::Reset { hard } => {
                if self.agent.is_master() && self.shard.data().keyspace().len(0) > 0 {
                    return Told::Done("refused: it holds keys");
                }
                match self.agent.reset(now, *hard) {
                    Ok(true) => Told::Done("ok"),
                    Ok(false) => Told::Later,
                    Err(_) => Told::Done("refused"),
                }
            }
        }
    }

    fn replicate(&mut self, master: NodeId) -> Told {
        let Some(node) = self.agent.bus().node(master) else {
            return Told::Done("unknown node");
        };
        if master == self.agent.myself() || !node.is_master() {
            return Told::Done("refused");
        }
        let me = self.agent.bus().self_state();
        let busy = !me.slots.is_empty() || !self.shard.data().record().slots.is_empty();
        let keys = self.shard.data().keyspace().len(0) > 0;
        if me.role == Role::Master && (busy || keys) {
            return Told::Done("refused: not empty");
        }
        match self.agent.replicate(master) {
            Ok(()) => Told::Done("ok"),
            Err(_) => Told::Done("refused"),
        }
    }

    fn record_op(&mut self, admission: Admission, op: &Op) -> Told {
        match admission {
            Admission::Lead { writable: true } => {}
            Admission::Lead { .. } | Admission::Hold => return Told::Later,
            Admission::Redirect { .. } => return Told::Done("moved"),
        }
        let me = self.agent.myself();
        let data = self.shard.data_mut();
        data.begin_command(0, Access::Lead);
        match op {
            Op::AddSlots(slots) => data.add_slots(slots),
            Op::DelSlots(slots) => data.del_slots(slots),
            Op::SetEpoch(epoch) => data.set_epoch(*epoch, me),
            _ => unreachable!("the others do not change the record"),
        }
        data.end_command();
        Told::Done("ok")
    }
}
