//! Messages for other nodes that wait for their gates.
//!
//! Owns: the queue. Never: knows the bus. Invariants: a message leaves only when everything its
//! publisher's connection depends on is committed (T4), and never if that did not happen (T6);
//! messages of one connection keep their order, since its gates never fall.

use super::Message;
use base::ids::{BatchSeq, ReadId};
use state::Gate;
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
    pub fn fail(&mut self, batches: RangeInclusive<BatchSeq>) {
        self.take(|gate| batches.contains(&gate.batch));
    }

    /// The same for reads that can't be confirmed any more.
    pub fn fail_reads(&mut self, reads: RangeInclusive<ReadId>) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn message(n: u8) -> Message {
        Message {
            sharded: false,
            channel: vec![n],
            message: vec![0; 100],
        }
    }

    fn numbers(messages: Vec<Message>) -> Vec<u8> {
        messages.iter().map(|m| m.channel[0]).collect()
    }

    fn gate(batch: u64, read: u64) -> Gate {
        Gate {
            batch: BatchSeq(batch),
            read: ReadId(read),
        }
    }

    #[test]
    fn messages_leave_in_order_when_their_gates_open() {
        let mut queue = Outbound::default();
        for (n, gate) in [gate(2, 0), gate(0, 0), gate(2, 7), gate(3, 0)]
            .iter()
            .enumerate()
        {
            assert!(queue.push(*gate, message(n as u8), 10_000));
        }
        assert_eq!(numbers(queue.release(gate(1, 0))), [1]);
        assert_eq!(numbers(queue.release(gate(2, 0))), [0]);
        queue.fail_reads(ReadId(7)..=ReadId(9));
        assert_eq!(numbers(queue.release(gate(2, 9))), []);
        queue.fail(BatchSeq(3)..=BatchSeq(4));
        assert_eq!(numbers(queue.release(gate(9, 9))), []);
        assert!(queue.push(gate(9, 9), message(5), 10_000));
        assert_eq!(numbers(queue.release(gate(9, 9))), [5]);
        assert_eq!(queue.bytes, 0);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut queue = Outbound::default();
        let pushed = (0..100)
            .filter(|n| queue.push(gate(1, 0), message(*n), 1000))
            .count();
        assert!((5..20).contains(&pushed), "{pushed}");
        queue.release(gate(1, 0));
        assert!(queue.push(gate(1, 0), message(0), 1000));
    }
}
