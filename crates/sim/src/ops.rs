//! What operators ask of a node: the CLUSTER commands that change something, sent to the real server
//! over a connection of its own, one after the other.

use cluster_bus::{NodeId, SlotSet};

use crate::machine::{ip_of, OPERATOR};
use crate::resp::{request, take_reply};
use crate::world::World;

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
    Importing(u16, NodeId),
    Migrating(u16, NodeId),
    Stable(u16),
    SlotNode(u16, NodeId),
    /// What `redis-cli --cluster fix` does to make a node the owner of a slot: DELSLOTS and ADDSLOTS in one
    /// EXEC. Its four replies count as one and three of nobody.
    Grab(u16),
    /// To another machine.
    MigrateKeys {
        to: usize,
        keys: Vec<Vec<u8>>,
        timeout_ms: u64,
        replace: bool,
    },
}

impl Op {
    fn requests(&self) -> Vec<Vec<String>> {
        let Op::Grab(slot) = self else {
            return vec![self.args()];
        };
        let slots: SlotSet = [*slot].into_iter().collect();
        let word = |word: &str| vec![word.to_string()];
        let (give_up, gain) = (Op::DelSlots(slots.clone()), Op::AddSlots(slots));
        vec![word("MULTI"), give_up.args(), gain.args(), word("EXEC")]
    }

    fn args(&self) -> Vec<String> {
        let mut args = vec!["CLUSTER".to_string()];
        let mut push = |words: &[&str]| args.extend(words.iter().map(ToString::to_string));
        match self {
            Op::AddSlots(slots) | Op::DelSlots(slots) => {
                push(&[match self {
                    Op::AddSlots(_) => "ADDSLOTSRANGE",
                    _ => "DELSLOTSRANGE",
                }]);
                for (first, last) in slots.ranges() {
                    push(&[&first.to_string(), &last.to_string()]);
                }
            }
            Op::SetEpoch(epoch) => push(&["SET-CONFIG-EPOCH", &epoch.to_string()]),
            Op::Meet(machine) => {
                let port = 7000 + machine;
                push(&["MEET", &ip_of(*machine).to_string(), &port.to_string()]);
            }
            Op::Replicate(master) => push(&["REPLICATE", &master.to_string()]),
            Op::Failover => push(&["FAILOVER"]),
            Op::Forget(node) => push(&["FORGET", &node.to_string()]),
            Op::Reset { hard } => push(&["RESET", if *hard { "HARD" } else { "SOFT" }]),
            Op::Importing(slot, node) => {
                push(&["SETSLOT", &slot.to_string(), "IMPORTING", &node.to_string()]);
            }
            Op::Migrating(slot, node) => {
                push(&["SETSLOT", &slot.to_string(), "MIGRATING", &node.to_string()]);
            }
            Op::Grab(_) => {}
            Op::Stable(slot) => push(&["SETSLOT", &slot.to_string(), "STABLE"]),
            Op::SlotNode(slot, node) => {
                push(&["SETSLOT", &slot.to_string(), "NODE", &node.to_string()]);
            }
            Op::MigrateKeys {
                to,
                keys,
                timeout_ms,
                replace,
            } => {
                let (host, port) = (ip_of(*to).to_string(), (7000 + to).to_string());
                let mut words = vec!["MIGRATE".to_string(), host, port, String::new()];
                words.extend(["0".to_string(), timeout_ms.to_string()]);
                if *replace {
                    words.push("REPLACE".to_string());
                }
                words.push("KEYS".to_string());
                words.extend(keys.iter().map(|k| String::from_utf8_lossy(k).into_owned()));
                return words;
            }
        }
        args
    }
}

impl World {
    /// An operator asks this of the machine's node, when all before it has been answered.
    pub fn op(&mut self, m: usize, op: Op) {
        if self.machines[m].node.is_none() {
            return;
        }
        self.trace
            .say(self.now, || format!("m{m} is asked {op:.120?}"));
        self.machines[m].operator.pending.push_back(op);
        self.ask_next(m);
    }

    /// Sends the next operation, if none is under way.
    fn ask_next(&mut self, m: usize) {
        let conn = match self.machines[m].operator.conn {
            Some(conn) => conn,
            None => self.net.new_conn(),
        };
        let machine = &mut self.machines[m];
        let operator = &mut machine.operator;
        if operator.sent.is_some() {
            return;
        }
        let Some(op) = operator.pending.pop_front() else {
            return;
        };
        let mut kernel = machine.kernel.borrow_mut();
        if operator.conn.replace(conn).is_none() {
            kernel.open(conn, OPERATOR);
        }
        let mut bytes = Vec::new();
        for args in op.requests() {
            let args: Vec<&[u8]> = args.iter().map(String::as_bytes).collect();
            request(&mut bytes, &args);
        }
        kernel.receive(conn, &bytes, false);
        operator.sent = Some(op);
        drop(kernel);
        self.want_turn(m, self.now);
    }

    /// The server has answered an operator, or closed its connection.
    pub fn told(&mut self, m: usize, bytes: &[u8], closed: bool) {
        let operator = &mut self.machines[m].operator;
        operator.inbuf.extend_from_slice(bytes);
        loop {
            let operator = &mut self.machines[m].operator;
            let reply = match take_reply(&mut operator.inbuf) {
                Ok(Some(reply)) => reply,
                Ok(None) => break,
                Err(why) => return self.fail(format!("m{m} answers an operator: {why}")),
            };
            let op = operator.sent.take();
            self.trace
                .say(self.now, || format!("m{m}: {op:.100?}: {reply:?}"));
            self.ask_next(m);
        }
        if closed {
            let operator = &mut self.machines[m].operator;
            (operator.conn, operator.sent) = (None, None);
            operator.inbuf.clear();
            self.ask_next(m);
        }
    }
}
