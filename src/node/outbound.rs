//! Messages for other nodes that wait for their gates.
//!
//! Owns: the queue. Never: knows the bus. Invariants: a message leaves only when everything its
//! publisher's connection depends on is committed (T4), and never if that did not happen (T6);
//! messages of one connection keep their order, since its gates never fall.

use super::pubsub::Message;
use crate::net::Gate;
use std::collections::VecDeque;
use std::ops::RangeInclusive;

#[derive(Default)]
pub struct Outbound {
    waiting: VecDeque<(Gate, Message)>,
    bytes: usize,
    /// Something was added since [`Self::release`] last looked, and up to where it looked.
    fresh: bool,
    released: Gate,
}

fn size(message: &Message) -> usize {
    std::mem::size_of::<(Gate, Message)>() + message.channel.len() + message.message.len()
}

impl Outbound {
    /// False: more than `limit` bytes wait; the message is dropped, as messages may be.
    pub fn push(&mut self, gate: Gate, message: Message, limit: usize) -> bool {
        if self.bytes > limit {
            return false;
        }
        self.bytes += size(&message);
        self.waiting.push_back((gate, message));
        self.fresh = true;
        true
    }

    /// What may leave now, in order.
    pub fn release(&mut self, released: Gate) -> Vec<Message> {
        if !std::mem::take(&mut self.fresh) && self.released == released {
            return Vec::new();
        }
        self.released = released;
        self.take(|gate| gate.is_released_by(released))
    }

    /// The batches did not happen, or nobody knows whether they did (T6): what depends on them is
    /// never said.
    pub fn fail(&mut self, batches: RangeInclusive<u64>) {
        self.take(|gate| batches.contains(&gate.batch));
    }

    /// The same for reads that can't be confirmed any more.
    pub fn fail_reads(&mut self, reads: RangeInclusive<u64>) {
        self.take(|gate| reads.contains(&gate.read));
    }

    fn take(&mut self, mut wanted: impl FnMut(Gate) -> bool) -> Vec<Message> {
        let mut taken = Vec::new();
        if self.waiting.is_empty() {
            return taken;
        }
        for (gate, message) in std::mem::take(&mut self.waiting) {
            if wanted(gate) {
                self.bytes -= size(&message);
                taken.push(message);
            } else {
                self.waiting.push_back((gate, message));
            }
        }
        taken
    }
}
