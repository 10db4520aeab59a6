//! What a seed means for a cluster: settings, clients, faults, and what operators do.

use crate::client::Manner;
use crate::clock::{MS, SEC, US};
use crate::net::Weather;
use crate::rng::Rng;
use crate::workload::Taste;

/// One thing that goes wrong, or that somebody asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Kill,
    Power,
    PowerAll,
    /// The process dies in the middle of some write to come.
    Fuse,
    Stop,
    StopInTurn,
    OneWay,
    Isolate,
    /// Two nodes lose each other.
    Part,
    Break,
    SlowDisk,
    FullDisk,
    /// A sync fails, once.
    SyncError,
    Clock,
    /// A replica goes to another shard.
    Replicate,
    Failover,
    ResetSoft,
    ResetHard,
    Forget,
    /// The disk of a replica, or of the host of a witness, is replaced by an empty one.
    Wipe,
    /// The log is lost and nodes.conf is not.
    WipeLog,
    /// A node that was never there before.
    AddNode,
    /// A slot is given up and taken again.
    Regain,
    /// A change of members, and a crash at one of its steps.
    CrashInChange,
    /// See [`super::faults`].
    LateTransfer,
    LaggingJoiner,
}

#[derive(Clone, Debug)]
pub struct Plan {
    pub name: &'static str,
    pub t_ms: u64,
    pub node_timeout_ms: u64,
    pub full_coverage: bool,
    pub safety: u64,
    pub clients: u32,
    pub manner: Manner,
    pub taste: Taste,
    pub weather: Weather,
    pub drifting: bool,
    pub faults_while_forming: bool,
    pub fault_every: u64,
    pub faults: Vec<(Fault, u32)>,
    pub sync_us: u64,
    pub dies_again_p: f64,
    pub segment: u64,
    /// Whether shards look for witnesses.
    pub witness: bool,
    /// How often operators look for nodes that belong nowhere.
    pub operator_every: u64,
}

impl Plan {
    pub fn t(&self) -> u64 {
        self.t_ms * MS
    }

    pub fn for_seed(seed: u64, rng: &mut Rng) -> Plan {
        let mut plan = Plan::common(rng);
        match seed % 8 {
            0 => plan.mixed(),
            1 => plan.members(),
            2 => plan.crashes_in_changes(),
            3 => plan.partitions(),
            4 => plan.disks(),
            5 => plan.transfers(),
            6 => plan.forming(),
            _ => plan.lagging(),
        }
        plan
    }

    fn common(rng: &mut Rng) -> Plan {
        let t_ms = *rng.pick(&[200, 300, 400]);
        Plan {
            name: "",
            t_ms,
            node_timeout_ms: 4 * t_ms,
            full_coverage: rng.chance(0.2),
            safety: 16 * t_ms * MS,
            clients: rng.range(3, 5) as u32,
            manner: Manner {
                think_us: *rng.pick(&[20_000, 50_000, 100_000]),
                depth: *rng.pick(&[1, 3]),
                patience: rng.range(2, 6) * t_ms * MS,
            },
            taste: Taste {
                groups: rng.range(3, 5) as u8,
                reads: 0.5,
                transactions: 0.1,
                expiry: 0.05,
                ttl_ms: t_ms,
                padding: *rng.pick(&[0, 200]),
            },
            weather: Weather::FAIR,
            drifting: true,
            faults_while_forming: false,
            fault_every: t_ms * MS,
            faults: Vec::new(),
            sync_us: *rng.pick(&[50, 200, 1000]),
            dies_again_p: 0.1,
            segment: 128 << 10,
            witness: !rng.chance(0.1),
            operator_every: 2 * t_ms * MS,
        }
    }

    fn rough(&mut self) {
        self.weather = Weather {
            drop_p: 0.01,
            double_p: 0.01,
            slow_p: 0.01,
            slow_us: 20_000,
            ..Weather::FAIR
        };
    }

    fn mixed(&mut self) {
        self.name = "mixed";
        self.rough();
        self.fault_every = self.t() / 2;
        self.faults = vec![
            (Fault::Kill, 2),
            (Fault::Power, 2),
            (Fault::PowerAll, 1),
            (Fault::Fuse, 2),
            (Fault::Stop, 2),
            (Fault::StopInTurn, 1),
            (Fault::OneWay, 2),
            (Fault::Isolate, 2),
            (Fault::Part, 2),
            (Fault::Break, 1),
            (Fault::SlowDisk, 1),
            (Fault::FullDisk, 1),
            (Fault::SyncError, 1),
            (Fault::Clock, 1),
            (Fault::Replicate, 3),
            (Fault::Failover, 3),
            (Fault::ResetSoft, 1),
            (Fault::ResetHard, 1),
            (Fault::Forget, 1),
            (Fault::Wipe, 1),
            (Fault::WipeLog, 1),
            (Fault::AddNode, 1),
            (Fault::Regain, 1),
        ];
    }

    fn members(&mut self) {
        self.name = "members";
        self.fault_every = self.t();
        self.operator_every = self.t();
        self.safety = 24 * self.t();
        self.faults = vec![
            (Fault::Replicate, 6),
            (Fault::Failover, 3),
            (Fault::ResetSoft, 2),
            (Fault::ResetHard, 2),
            (Fault::Forget, 2),
            (Fault::AddNode, 2),
            (Fault::Regain, 3),
            (Fault::FullDisk, 1),
            (Fault::Kill, 1),
        ];
    }

    fn crashes_in_changes(&mut self) {
        self.name = "crashes in changes";
        self.fault_every = self.t();
        self.operator_every = self.t();
        self.safety = 24 * self.t();
        self.dies_again_p = 0.3;
        self.faults = vec![
            (Fault::CrashInChange, 8),
            (Fault::Replicate, 2),
            (Fault::Failover, 1),
            (Fault::AddNode, 1),
            (Fault::ResetHard, 1),
            (Fault::PowerAll, 1),
        ];
    }

    fn partitions(&mut self) {
        self.name = "partitions";
        self.faults = vec![
            (Fault::Isolate, 4),
            (Fault::OneWay, 4),
            (Fault::Part, 4),
            (Fault::Break, 2),
            (Fault::Failover, 2),
            (Fault::Replicate, 3),
        ];
    }

    fn disks(&mut self) {
        self.name = "disks";
        self.safety = 24 * self.t();
        self.fault_every = 3 * self.t() / 2;
        self.operator_every = self.t();
        self.faults = vec![
            (Fault::Wipe, 4),
            (Fault::WipeLog, 4),
            (Fault::SlowDisk, 2),
            (Fault::FullDisk, 4),
            (Fault::SyncError, 2),
            (Fault::Replicate, 2),
            (Fault::Failover, 1),
            (Fault::Power, 2),
            (Fault::Kill, 2),
            (Fault::Isolate, 1),
        ];
    }

    fn transfers(&mut self) {
        self.name = "transfers";
        self.fault_every = self.t();
        self.safety = 24 * self.t();
        self.faults = vec![
            (Fault::LateTransfer, 6),
            (Fault::Failover, 4),
            (Fault::StopInTurn, 1),
            (Fault::Regain, 2),
            (Fault::ResetSoft, 1),
            (Fault::Replicate, 1),
        ];
    }

    fn forming(&mut self) {
        self.name = "forming";
        self.rough();
        self.faults_while_forming = true;
        self.fault_every = self.t() / 2;
        self.operator_every = self.t();
        self.faults = vec![
            (Fault::Kill, 3),
            (Fault::Fuse, 4),
            (Fault::Power, 2),
            (Fault::Part, 2),
            (Fault::Isolate, 1),
            (Fault::Break, 1),
        ];
    }

    fn lagging(&mut self) {
        self.name = "lagging";
        self.fault_every = 2 * self.t();
        self.operator_every = self.t();
        self.safety = 24 * self.t();
        self.manner.think_us = 20_000;
        self.faults = vec![
            (Fault::LaggingJoiner, 6),
            (Fault::Replicate, 3),
            (Fault::ResetSoft, 1),
            (Fault::Kill, 1),
        ];
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
        Fault::OneWay | Fault::Isolate | Fault::Part => rng.range(t / 10, 4 * t),
        Fault::SlowDisk => rng.range(t / 4, 3 * t),
        Fault::FullDisk => rng.range(t / 2, 6 * t),
        Fault::Kill
        | Fault::Power
        | Fault::PowerAll
        | Fault::Fuse
        | Fault::SyncError
        | Fault::Wipe
        | Fault::WipeLog
        | Fault::CrashInChange => {
            if rng.chance(0.5) {
                rng.range(5 * MS, t / 4)
            } else {
                rng.range(t / 4, 3 * t)
            }
        }
        _ => 10 * US,
    }
}

/// Longest time for a healed cluster to be as it should be. A node that was forgotten stays away
/// for a minute, as in Redis.
pub fn bound(plan: &Plan) -> u64 {
    40 * plan.t() + 4 * plan.node_timeout_ms * MS + 70 * SEC
}
