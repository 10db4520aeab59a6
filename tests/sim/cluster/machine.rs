//! One machine: its clocks, its disk, and the process on it, if one runs.
//!
//! Owns: what survives of a node when its process or its power is gone. Never does: decide when
//! that happens.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use cluster_bus::bus::{LinkId, INCOMING};
use cluster_bus::NodeId;

use super::node::{Input, Node, Setup};
use crate::clock::{MemberClock, True};
use crate::disk::{Loss, SimDisk};
use crate::member::{guarded, Ended, Running, CAPACITY};
use crate::net::Conn;
use crate::rng::Rng;

/// A connection of the bus at this end.
#[derive(Clone, Copy, Debug)]
pub struct BusEnd {
    pub link: LinkId,
    pub peer: usize,
}

pub struct Machine {
    pub clock: MemberClock,
    pub disk: SimDisk,
    pub node: Option<Node>,
    /// Counts starts of the process.
    pub boot: u64,
    pub inbox: Vec<Input>,
    pub next_turn: Option<True>,
    pub next_witness_turn: Option<True>,
    pub busy_until: True,
    /// Stop in the turn to come: after so many clock readings, for so long.
    pub stop_next: Option<(u32, u64)>,
    pub slow_until: True,
    pub power_on_crash: bool,
    pub down_for: u64,
    /// A sync was made to fail: the process, or a witness on it, may end itself.
    pub excused: bool,
    pub disk_free_at: True,
    pub jobs: BTreeMap<u64, (u64, Running)>,
    /// Clients' connections, the bus's.
    pub conns: BTreeMap<Conn, usize>,
    pub bus: BTreeMap<Conn, BusEnd>,
    next_incoming: u64,
    /// What witnesses that stopped have said.
    pub said: Arc<Mutex<Vec<String>>>,
    /// The node's name when it was last seen.
    pub name: Option<NodeId>,
    /// It is not part of the cluster yet.
    pub spare: bool,
    /// A TimeoutNow of its shard is held back for so long (a scene).
    pub hold_timeout_now: Option<u64>,
    /// TimeoutNows are lost until then (a scene).
    pub lose_timeout_now: True,
    pub seen_applied: (u64, u64),
    /// How often it was told to meet another one.
    pub meets: u64,
}

impl Machine {
    pub fn new(drifting: bool, rng: &mut Rng) -> Machine {
        Machine {
            clock: MemberClock::new(rng, drifting),
            disk: SimDisk::new(CAPACITY),
            node: None,
            boot: 0,
            inbox: Vec::new(),
            next_turn: None,
            next_witness_turn: None,
            busy_until: 0,
            stop_next: None,
            slow_until: 0,
            power_on_crash: false,
            down_for: 0,
            excused: false,
            disk_free_at: 0,
            jobs: BTreeMap::new(),
            conns: BTreeMap::new(),
            bus: BTreeMap::new(),
            next_incoming: 0,
            said: Arc::default(),
            name: None,
            spare: false,
            hold_timeout_now: None,
            lose_timeout_now: 0,
            seen_applied: (0, 0),
            meets: 0,
        }
    }

    pub fn start(&mut self, now: True, setup: Setup, rng: &mut Rng) -> Ended<()> {
        assert!(self.node.is_none(), "one process for each machine");
        self.boot += 1;
        // A fault that was ordered for the process before may meet this one in its recovery.
        self.excused = self.disk.will_fail();
        self.seen_applied = (0, 0);
        let (disk, time, said) = (
            self.disk.clone(),
            self.clock.read(now),
            Arc::clone(&self.said),
        );
        let ended = guarded(|| Node::start(disk, setup, time, &said, rng));
        self.as_crash(ended).map(|node| {
            self.name = Some(node.name());
            self.node = Some(node);
        })
    }

    /// Whatever a process says whose disk has died under it: it was killed.
    pub fn as_crash<R>(&self, ended: Ended<R>) -> Ended<R> {
        if self.disk.has_crashed() {
            return Ended::Crashed;
        }
        ended
    }

    /// Whether the process may end itself: its disk is full, or has failed.
    pub fn may_end(&self) -> bool {
        self.excused || self.disk.is_full()
    }

    /// A fresh id for a bus link that somebody has opened to this node.
    pub fn incoming(&mut self) -> LinkId {
        self.next_incoming += 1;
        INCOMING | (self.boot << 32) | self.next_incoming
    }

    /// The process is gone, and with `power` the page cache too.
    pub fn die(&mut self, now: True, power: bool, loss: Loss, rng: &mut Rng) {
        // Destructors must not be able to write: the handle dies first.
        self.disk = if power {
            self.disk.power_loss(loss, rng)
        } else {
            self.disk.process_crash()
        };
        self.node = None;
        self.inbox.clear();
        self.jobs.clear();
        self.next_turn = None;
        self.next_witness_turn = None;
        self.stop_next = None;
        self.disk_free_at = now;
        self.busy_until = now;
        self.said.lock().expect("nobody panics with it").clear();
        if power {
            self.clock.reboot(now, rng);
        }
    }
}
