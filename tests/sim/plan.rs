//! What a seed means: the cluster's settings, how busy its clients are, which faults it meets.
//!
//! Profiles lean on different rules, so that each rule is under stress in some seed of any twelve.

use crate::client::Manner;
use crate::clock::{MS, SEC, US};
use crate::net::Weather;
use crate::rng::Rng;
use crate::workload::Taste;

/// One thing that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process is killed; the page cache stays.
    Kill,
    /// The machine loses power.
    Power,
    /// All machines lose power at once.
    PowerAll,
    /// The process dies in the middle of some write to come.
    Fuse,
    /// The process is stopped between two turns.
    Stop,
    /// The process is stopped in the middle of its next turn that executes commands.
    StopInTurn,
    /// One direction between two members is cut for a while.
    OneWay,
    /// A member is cut off from the others, in both directions.
    Isolate,
    /// Clients are cut off from a member.
    IsolateClients,
    /// A connection between two members breaks.
    Break,
    /// A member's syncs take very long.
    SlowDisk,
    FullDisk,
    /// A sync fails: the process must end.
    SyncError,
    /// The operator moves leadership.
    Transfer,
    /// A member's clocks change their pace, its wall clock is set.
    Clock,
    /// See [`crate::scenes`].
    ForgetfulFollower,
    LateTransfer,
    PowerWhileCatchingUp,
}

#[derive(Clone, Debug)]
pub struct Plan {
    pub name: &'static str,
    /// T in milliseconds.
    pub t_ms: u64,
    /// Length of the safety phase.
    pub safety: u64,
    pub clients: u32,
    pub manner: Manner,
    pub taste: Taste,
    pub weather: Weather,
    pub drifting: bool,
    /// Mean time between faults.
    pub fault_every: u64,
    pub faults: Vec<(Fault, u32)>,
    pub sync_us: u64,
    /// A turn is stopped in the middle by chance.
    pub stop_p: f64,
    /// A process that has just started dies again, in its recovery or soon after.
    pub dies_again_p: f64,
    pub segment: u64,
    pub spares: usize,
    pub outcome_timeout_ms: u64,
}

impl Plan {
    pub fn t(&self) -> u64 {
        self.t_ms * MS
    }

    pub fn for_seed(seed: u64, rng: &mut Rng) -> Plan {
        let mut plan = Plan::common(rng);
        match seed % 12 {
            0 => plan.mixed(),
            1 => plan.partitions(),
            2 => plan.stops(),
            3 => plan.crashes(),
            4 => plan.power(rng),
            5 => plan.disks(),
            6 => plan.transfers(),
            7 => plan.network(),
            8 => plan.expiry(),
            9 => plan.promises(rng),
            10 => plan.catching_up(),
            _ => plan.calm(),
        }
        plan
    }

    fn common(rng: &mut Rng) -> Plan {
        let t_ms = *rng.pick(&[200, 300, 500]);
        let (segment, spares) = *rng.pick(&[(128 << 10, 5), (256 << 10, 3), (1 << 20, 1)]);
        Plan {
            name: "",
            t_ms,
            safety: 12 * t_ms * MS,
            clients: rng.range(3, 6) as u32,
            manner: Manner {
                think_us: *rng.pick(&[2_000, 5_000, 10_000]),
                depth: *rng.pick(&[1, 2, 6]),
                patience: rng.range(1, 6) * t_ms * MS,
            },
            taste: Taste {
                groups: rng.range(2, 8) as u8,
                reads: *rng.pick(&[0.3, 0.5, 0.7]),
                transactions: 0.2,
                expiry: 0.1,
                ttl_ms: t_ms,
                padding: *rng.pick(&[0, 600, 6000]),
            },
            weather: Weather::FAIR,
            drifting: true,
            fault_every: t_ms * MS,
            faults: Vec::new(),
            sync_us: *rng.pick(&[50, 200, 1000]),
            stop_p: 0.0,
            dies_again_p: 0.1,
            segment,
            spares,
            outcome_timeout_ms: 5 * t_ms,
        }
    }

    fn mixed(&mut self) {
        self.name = "mixed";
        self.stop_p = 0.001;
        self.fault_every = self.t() / 2;
        self.weather = Weather {
            drop_p: 0.01,
            double_p: 0.01,
            slow_p: 0.02,
            slow_us: 20_000,
            ..Weather::FAIR
        };
        self.faults = vec![
            (Fault::Kill, 2),
            (Fault::Power, 2),
            (Fault::PowerAll, 1),
            (Fault::Fuse, 2),
            (Fault::Stop, 2),
            (Fault::StopInTurn, 2),
            (Fault::OneWay, 2),
            (Fault::Isolate, 3),
            (Fault::IsolateClients, 1),
            (Fault::Break, 2),
            (Fault::SlowDisk, 2),
            (Fault::FullDisk, 1),
            (Fault::SyncError, 1),
            (Fault::Transfer, 2),
            (Fault::Clock, 1),
        ];
    }

    fn partitions(&mut self) {
        self.name = "partitions";
        self.faults = vec![
            (Fault::Isolate, 5),
            (Fault::OneWay, 4),
            (Fault::IsolateClients, 1),
            (Fault::Break, 2),
            (Fault::Transfer, 1),
        ];
    }

    fn stops(&mut self) {
        self.name = "stops";
        self.stop_p = 0.003;
        self.taste.reads = 0.7;
        self.fault_every = self.t() / 3;
        self.faults = vec![
            (Fault::Stop, 4),
            (Fault::StopInTurn, 10),
            (Fault::Isolate, 1),
            (Fault::Clock, 1),
        ];
    }

    fn crashes(&mut self) {
        self.name = "crashes";
        self.fault_every = self.t() / 2;
        self.faults = vec![
            (Fault::Kill, 6),
            (Fault::Fuse, 6),
            (Fault::Isolate, 1),
            (Fault::Break, 1),
        ];
    }

    fn power(&mut self, rng: &mut Rng) {
        self.name = "power";
        self.sync_us = 2000;
        if rng.chance(0.5) {
            // Records of one size, and power that fails again soon: what was written after a cut
            // then ends where an old record begins.
            self.taste.padding = 0;
            self.taste.transactions = 0.0;
            self.taste.expiry = 0.0;
            self.taste.reads = 0.1;
            self.dies_again_p = 0.6;
            self.fault_every = self.t() / 2;
        }
        self.faults = vec![
            (Fault::Power, 5),
            (Fault::PowerAll, 4),
            (Fault::Fuse, 3),
            (Fault::Isolate, 1),
        ];
    }

    fn disks(&mut self) {
        self.name = "disks";
        self.faults = vec![
            (Fault::SlowDisk, 5),
            (Fault::FullDisk, 3),
            (Fault::SyncError, 2),
            (Fault::Power, 2),
            (Fault::Fuse, 2),
        ];
    }

    fn transfers(&mut self) {
        self.name = "transfers";
        self.fault_every = self.t() / 3;
        self.faults = vec![
            (Fault::Transfer, 10),
            (Fault::OneWay, 2),
            (Fault::Break, 3),
            (Fault::Stop, 2),
            (Fault::StopInTurn, 2),
            (Fault::SlowDisk, 1),
        ];
        self.weather = Weather {
            double_p: 0.02,
            slow_p: 0.05,
            slow_us: 50_000,
            ..Weather::FAIR
        };
    }

    fn network(&mut self) {
        self.name = "network";
        self.fault_every = self.t() / 2;
        self.weather = Weather {
            delay_us: 1000,
            drop_p: 0.05,
            double_p: 0.05,
            slow_p: 0.1,
            slow_us: 40_000,
        };
        self.faults = vec![
            (Fault::Break, 6),
            (Fault::OneWay, 3),
            (Fault::Isolate, 1),
            (Fault::Transfer, 1),
        ];
    }

    fn expiry(&mut self) {
        self.name = "expiry";
        self.taste.expiry = 0.6;
        self.taste.ttl_ms = self.t_ms / 2;
        self.faults = vec![
            (Fault::Stop, 1),
            (Fault::Isolate, 2),
            (Fault::Kill, 1),
            (Fault::FullDisk, 1),
            (Fault::Clock, 2),
        ];
    }

    fn promises(&mut self, rng: &mut Rng) {
        self.name = "promises";
        if rng.chance(0.6) {
            // Hardly any writes: a member that missed one is not elected, whoever votes for it.
            self.taste.reads = 0.98;
            self.taste.transactions = 0.0;
            self.taste.expiry = 0.0;
            self.manner.think_us = 20_000;
        }
        self.safety = 24 * self.t();
        self.fault_every = 3 * self.t();
        self.faults = vec![(Fault::ForgetfulFollower, 2), (Fault::LateTransfer, 3)];
    }

    fn catching_up(&mut self) {
        self.name = "catching up";
        self.taste.padding = 6000;
        self.taste.reads = 0.2;
        self.sync_us = 2000;
        self.fault_every = 3 * self.t();
        self.faults = vec![(Fault::PowerWhileCatchingUp, 4), (Fault::Power, 1)];
    }

    fn calm(&mut self) {
        self.name = "calm";
        self.safety = 6 * self.t();
        self.fault_every = 2 * self.t();
        self.faults = vec![(Fault::Isolate, 1), (Fault::Kill, 1), (Fault::Power, 1)];
    }
}

/// How long a fault lasts.
pub fn length(fault: Fault, t: u64, rng: &mut Rng) -> u64 {
    match fault {
        Fault::Stop | Fault::StopInTurn => match rng.below(3) {
            0 => rng.range(MS, t / 2),
            1 => rng.range(t / 2, 3 * t / 2),
            _ => rng.range(t, 4 * t),
        },
        Fault::OneWay | Fault::Isolate | Fault::IsolateClients => rng.range(t / 10, 4 * t),
        Fault::SlowDisk => rng.range(t / 4, 3 * t),
        Fault::FullDisk => rng.range(t / 2, 4 * t),
        Fault::Kill | Fault::Power | Fault::PowerAll | Fault::Fuse | Fault::SyncError => {
            if rng.chance(0.5) {
                rng.range(5 * MS, t / 4)
            } else {
                rng.range(t / 4, 3 * t)
            }
        }
        Fault::Break
        | Fault::Transfer
        | Fault::Clock
        | Fault::ForgetfulFollower
        | Fault::LateTransfer
        | Fault::PowerWhileCatchingUp => 10 * US,
    }
}

/// Longest time for a healed cluster to do what is asked of it.
pub fn liveness_bound(t: u64) -> u64 {
    20 * t + 2 * SEC
}
