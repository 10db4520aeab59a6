//! What is due, in order of true time: the events of a world and the packets of its network.
//!
//! Of what is due at one time a packet comes first, and of two events that which was put first.

use std::collections::BTreeMap;

use crate::clock::True;
use crate::net::{Net, Packet};

pub struct Agenda<E> {
    events: BTreeMap<(True, u64), E>,
    seq: u64,
}

pub enum Due<E> {
    Event(E),
    /// None: the network has lost it on its way.
    Packet(Option<Packet>),
}

impl<E> Agenda<E> {
    pub fn new() -> Agenda<E> {
        Agenda {
            events: BTreeMap::new(),
            seq: 0,
        }
    }

    pub fn put(&mut self, at: True, event: E) {
        self.seq += 1;
        self.events.insert((at, self.seq), event);
    }

    /// What is due next, and when, if that is before `end`.
    pub fn next(&mut self, net: &mut Net, end: True) -> Option<(True, Due<E>)> {
        let event = self.events.keys().next().map(|(at, _)| *at);
        let packet = net.next_at();
        let at = event.into_iter().chain(packet).min()?;
        if at >= end {
            return None;
        }
        if packet == Some(at) {
            return Some((at, Due::Packet(net.arrive(at))));
        }
        let (_, event) = self.events.pop_first()?;
        Some((at, Due::Event(event)))
    }
}
