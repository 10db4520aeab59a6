//! What a seed means: the topology, its settings, how busy clients are, which faults it meets, what
//! operators do.
//!
//! Profiles lean on different rules, so that each rule is under stress in some seed of any dozen.

use ::config::AppendFsync;
use shard::Sizes;
use std::ops::Range;

use crate::client::Manner;
use crate::clock::{MS, SEC, US};
use crate::net::Weather;
use crate::rng::Rng;
use crate::workload::Taste;

/// What runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topology {
    /// One node that has all slots.
    Alone,
    /// One shard of three or five members, written to the disks as if it had been formed.
    Shard,
    /// Six nodes that form three shards, and one that may come later.
    Cluster,
    /// The same, whose slots move from shard to shard.
    Moves,
}

impl Topology {
    pub const ALL: [Topology; 4] = [
        Topology::Alone,
        Topology::Shard,
        Topology::Cluster,
        Topology::Moves,
    ];

    /// Its name on a command line.
    pub fn name(self) -> &'static str {
        match self {
            Topology::Alone => "alone",
            Topology::Shard => "shard",
            Topology::Cluster => "cluster",
            Topology::Moves => "moves",
        }
    }

    /// Of seeds that are for all topologies those that this one runs: fewer where a run takes longer.
    pub fn part_of(self, seeds: &Range<u64>) -> Range<u64> {
        let percent = match self {
            Topology::Alone => 100,
            Topology::Shard => 60,
            Topology::Cluster => 30,
            Topology::Moves => 20,
        };
        let count = seeds.end.saturating_sub(seeds.start);
        seeds.start..seeds.start + (count * percent).div_ceil(100)
    }
}

/// One thing that goes wrong, or that an operator asks for.
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
    /// SIGTERM: the process ends by itself, and comes back.
    Shutdown,
    /// The process stands still.
    Stop,
    /// The process stands still in the middle of a turn.
    StopInTurn,
    OneWay,
    /// A node loses all others, and some clients.
    Isolate,
    /// A node keeps the others and loses the clients.
    IsolateClients,
    /// A leader loses the other members of its shard, and keeps all other nodes.
    CutFromShard,
    /// Two nodes lose each other.
    Part,
    /// Connections break and are made anew.
    Break,
    SlowDisk,
    /// Nothing on the disk ends for very long.
    HungDisk,
    FullDisk,
    /// All disks of a shard are full, for longer than an election takes.
    FullDisks,
    /// A sync fails, once.
    SyncError,
    /// The clock's rate and the wall time change.
    Clock,
    /// A replica goes to another shard.
    Replicate,
    Failover,
    ResetSoft,
    ResetHard,
    Forget,
    /// A replica is forgotten by all others while it is down, and no operator resets it.
    ForgetAway,
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
    /// See [`crate::scenes`].
    LateTransfer,
    LaggingJoiner,
    ForgetfulFollower,
    PowerWhileCatchingUp,
}

#[derive(Clone, Debug)]
pub struct Plan {
    pub topology: Topology,
    pub name: &'static str,
    /// Machines that are there from the beginning.
    pub machines: usize,
    /// Machines that may come later.
    pub spare_machines: usize,
    pub shards: usize,
    pub t_ms: u64,
    pub node_timeout_ms: u64,
    pub outcome_timeout_ms: u64,
    pub full_coverage: bool,
    /// `appendfsync`, if not always.
    pub appendfsync: Option<AppendFsync>,
    pub safety: u64,
    pub clients: u32,
    pub manner: Manner,
    pub taste: Taste,
    pub weather: Weather,
    pub drifting: bool,
    pub faults_while_forming: bool,
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
    pub sizes: Sizes,
    /// Whether shards look for witnesses.
    pub witness: bool,
    /// The nodes know a password: then every link proves who is at its other end.
    pub password: bool,
    /// This machine lies to the others: all that is asked is that no process ends by that (D6).
    pub liar: Option<usize>,
    /// How often operators look for nodes that belong nowhere.
    pub operator_every: u64,
    /// How often an operator takes a step of moving a slot.
    pub moves_every: u64,
    /// A shard has keys of another one's slot from the beginning.
    pub leftovers_p: f64,
    /// How many FLUSHALLs operators ask for.
    pub flushes: u32,
    /// M28: the nodes of a shard that has handed over its last slot become replicas elsewhere.
    pub follows: bool,
}

impl Plan {
    pub fn t(&self) -> u64 {
        self.t_ms * MS
    }

    pub fn for_seed(topology: Topology, seed: u64, rng: &mut Rng) -> Plan {
        match topology {
            Topology::Alone => Plan::alone(seed, rng),
            Topology::Shard => Plan::shard(seed, rng),
            Topology::Cluster => Plan::cluster(seed, rng),
            Topology::Moves => Plan::moves(seed, rng),
        }
    }

    fn alone(seed: u64, rng: &mut Rng) -> Plan {
        let mut plan = Plan {
            topology: Topology::Alone,
            machines: 1,
            ..Plan::common_of_shard(rng)
        };
        plan.taste.expiry = 0.2;
        match seed % 6 {
            0 => plan.crashes(),
            1 => plan.power(rng),
            2 => plan.shard_disks(),
            3 => plan.relaxed(rng),
            4 => plan.shutdowns(),
            _ => plan.expiry(),
        }
        let alone = |fault: &Fault| {
            let of_others = [Fault::OneWay, Fault::Isolate, Fault::Break, Fault::Failover];
            !of_others.contains(fault)
        };
        plan.faults.retain(|(fault, _)| alone(fault));
        plan
    }

    fn shard(seed: u64, rng: &mut Rng) -> Plan {
        let mut plan = Plan {
            machines: if rng.chance(0.2) { 5 } else { 3 },
            ..Plan::common_of_shard(rng)
        };
        match seed % 15 {
            0 => plan.shard_mixed(),
            1 => plan.shard_partitions(),
            2 => plan.stops(),
            3 => plan.crashes(),
            4 => plan.power(rng),
            5 => plan.shard_disks(),
            6 => plan.shard_transfers(),
            7 => plan.network(),
            8 => plan.expiry(),
            9 => plan.promises(rng),
            10 => plan.catching_up(),
            11 => plan.hung_disks(),
            12 => plan.shutdowns(),
            13 => plan.liars(),
            _ => plan.calm(),
        }
        plan
    }

    fn cluster(seed: u64, rng: &mut Rng) -> Plan {
        let mut plan = Plan::common_of_cluster(rng);
        match seed % 9 {
            0 => plan.mixed(),
            1 => plan.members(),
            2 => plan.crashes_in_changes(),
            3 => plan.partitions(),
            4 => plan.disks(),
            5 => plan.transfers(),
            6 => plan.forming(),
            7 => plan.hung_disks_of_all(),
            _ => plan.lagging(),
        }
        plan
    }

    /// Slots move all the while; each profile leans on one way in which a move is disturbed.
    fn moves(seed: u64, rng: &mut Rng) -> Plan {
        let mut plan = Plan {
            topology: Topology::Moves,
            machines: *rng.pick(&[3, 6]),
            spare_machines: 0,
            full_coverage: false,
            ..Plan::common_of_cluster(rng)
        };
        // Several clients for every key: what one of them has done another one sees elsewhere.
        plan.taste.groups = 3;
        plan.clients = rng.range(5, 7) as u32;
        plan.taste.expiry = *rng.pick(&[0.05, 0.3]);
        plan.manner.think_us = *rng.pick(&[5_000, 20_000]);
        plan.moves_every = plan.t() / *rng.pick(&[2, 6, 20]);
        plan.safety = 20 * plan.t();
        plan.follows = seed % 16 >= 8;
        if plan.follows {
            plan.taste.groups = 6;
        }
        // Where power fails a node alone would lose what it has answered.
        if matches!(seed % 8, 0 | 2 | 3 | 4) && rng.chance(0.3) {
            plan.appendfsync = Some(AppendFsync::Everysec);
        }
        plan.leftovers_p = 0.2;
        plan.flushes = rng.below(3) as u32;
        plan.faults = match seed % 8 {
            6 | 7 => {
                plan.name = "moves, split";
                plan.machines = 6;
                plan.moves_every = plan.t() / 20;
                plan.fault_every = 2 * plan.t();
                plan.weather.double_p = 0.05;
                vec![
                    (Fault::CutFromShard, 6),
                    (Fault::SlowDisk, 3),
                    (Fault::Failover, 1),
                    (Fault::Part, 1),
                ]
            }
            0 => {
                plan.name = "moves";
                plan.fault_every = plan.t();
                vec![(Fault::Break, 1), (Fault::SlowDisk, 4)]
            }
            1 => {
                plan.name = "moves, crashes";
                vec![(Fault::Kill, 4), (Fault::Fuse, 4), (Fault::Power, 3)]
            }
            2 => {
                plan.name = "moves, partitions";
                vec![(Fault::Isolate, 3), (Fault::Part, 4), (Fault::OneWay, 3)]
            }
            3 => {
                plan.name = "moves, transfers";
                vec![(Fault::Failover, 6), (Fault::Kill, 1), (Fault::Break, 2)]
            }
            4 => {
                plan.name = "moves, stops";
                plan.stop_p = 0.001;
                vec![(Fault::Stop, 4), (Fault::StopInTurn, 4), (Fault::Clock, 1)]
            }
            _ => {
                plan.name = "moves, mixed";
                plan.rough();
                vec![
                    (Fault::Kill, 2),
                    (Fault::Power, 1),
                    (Fault::Fuse, 1),
                    (Fault::Isolate, 2),
                    (Fault::Part, 1),
                    (Fault::Failover, 2),
                    (Fault::Stop, 1),
                    (Fault::Break, 1),
                    (Fault::SlowDisk, 1),
                ]
            }
        };
        plan
    }

    fn common_of_shard(rng: &mut Rng) -> Plan {
        let t_ms = *rng.pick(&[200, 300, 500]);
        let (segment, spares) = *rng.pick(&[(128 << 10, 5), (256 << 10, 3), (1 << 20, 1)]);
        Plan {
            topology: Topology::Shard,
            name: "",
            machines: 3,
            spare_machines: 0,
            shards: 1,
            t_ms,
            node_timeout_ms: 4 * t_ms,
            full_coverage: true,
            appendfsync: None,
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
            faults_while_forming: false,
            fault_every: t_ms * MS,
            faults: Vec::new(),
            sync_us: *rng.pick(&[50, 200, 1000]),
            stop_p: 0.0,
            dies_again_p: 0.1,
            segment,
            spares,
            sizes: Sizes {
                part: *rng.pick(&[4 << 10, Sizes::default().part]),
                apply_slice: *rng.pick(&[4 << 10, Sizes::default().apply_slice]),
            },
            outcome_timeout_ms: 5 * t_ms,
            witness: true,
            password: rng.chance(0.2),
            liar: None,
            operator_every: 10 * t_ms * MS,
            moves_every: 0,
            leftovers_p: 0.0,
            flushes: 0,
            follows: false,
        }
    }

    fn common_of_cluster(rng: &mut Rng) -> Plan {
        let t_ms = *rng.pick(&[200, 300, 400]);
        Plan {
            topology: Topology::Cluster,
            name: "",
            machines: 6,
            spare_machines: 1,
            shards: 3,
            t_ms,
            node_timeout_ms: 4 * t_ms,
            full_coverage: rng.chance(0.2),
            appendfsync: None,
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
            stop_p: 0.0,
            dies_again_p: 0.1,
            segment: 128 << 10,
            spares: 4,
            sizes: Sizes {
                part: Sizes::default().part,
                apply_slice: *rng.pick(&[4 << 10, Sizes::default().apply_slice]),
            },
            outcome_timeout_ms: 5 * t_ms,
            witness: !rng.chance(0.1),
            password: rng.chance(0.2),
            liar: None,
            operator_every: 2 * t_ms * MS,
            moves_every: 0,
            leftovers_p: 0.0,
            flushes: 0,
            follows: false,
        }
    }
}

/// One shard, or one node.
impl Plan {
    fn shard_mixed(&mut self) {
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
            (Fault::Failover, 2),
            (Fault::Clock, 1),
        ];
    }

    fn liars(&mut self) {
        self.name = "liars";
        self.liar = Some(0);
        self.fault_every = self.t() / 2;
        self.faults = vec![
            (Fault::Kill, 2),
            (Fault::Isolate, 2),
            (Fault::Break, 1),
            (Fault::Failover, 3),
            (Fault::SlowDisk, 1),
        ];
    }

    fn shard_partitions(&mut self) {
        self.name = "partitions";
        self.faults = vec![
            (Fault::Isolate, 5),
            (Fault::OneWay, 4),
            (Fault::IsolateClients, 1),
            (Fault::Break, 2),
            (Fault::Failover, 1),
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
            // Most writes here are of unknown outcome: among more keys an order of them can be found.
            self.taste.groups = 8;
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

    fn shard_disks(&mut self) {
        self.name = "disks";
        self.faults = vec![
            (Fault::SlowDisk, 5),
            (Fault::FullDisk, 3),
            (Fault::SyncError, 2),
            (Fault::Power, 2),
            (Fault::Fuse, 2),
        ];
    }

    fn shard_transfers(&mut self) {
        self.name = "transfers";
        self.fault_every = self.t() / 3;
        self.faults = vec![
            (Fault::Failover, 10),
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
            (Fault::Failover, 1),
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

    /// Disks that end nothing for longer than an election takes.
    fn hung_disks(&mut self) {
        self.name = "hung disks";
        self.safety = 24 * self.t();
        self.fault_every = 2 * self.t();
        self.faults = vec![
            (Fault::HungDisk, 6),
            (Fault::SlowDisk, 2),
            (Fault::FullDisk, 3),
            (Fault::FullDisks, 1),
            (Fault::Kill, 1),
            (Fault::Failover, 2),
            (Fault::Isolate, 1),
        ];
    }

    /// Acknowledged before the sync: what a killed process has acknowledged is there all the same.
    fn relaxed(&mut self, rng: &mut Rng) {
        self.name = "relaxed sync";
        self.appendfsync = Some(*rng.pick(&[AppendFsync::Everysec, AppendFsync::No]));
        self.fault_every = self.t() / 2;
        self.faults = vec![
            (Fault::Kill, 6),
            (Fault::SlowDisk, 3),
            (Fault::HungDisk, 1),
            (Fault::FullDisk, 1),
            (Fault::Stop, 1),
            (Fault::Shutdown, 2),
        ];
    }

    fn shutdowns(&mut self) {
        self.name = "shutdowns";
        self.faults = vec![
            (Fault::Shutdown, 6),
            (Fault::Kill, 1),
            (Fault::SlowDisk, 2),
            (Fault::Isolate, 1),
            (Fault::Failover, 1),
        ];
    }
}

/// A whole cluster.
impl Plan {
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
            (Fault::ForgetAway, 1),
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
            (Fault::ForgetAway, 2),
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

    fn hung_disks_of_all(&mut self) {
        self.name = "hung disks of all";
        self.safety = 24 * self.t();
        self.fault_every = 2 * self.t();
        self.faults = vec![
            (Fault::HungDisk, 6),
            (Fault::FullDisks, 2),
            (Fault::FullDisk, 2),
            (Fault::Replicate, 2),
            (Fault::Failover, 2),
            (Fault::Shutdown, 2),
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
        Fault::OneWay | Fault::Isolate | Fault::IsolateClients | Fault::Part => {
            rng.range(t / 10, 4 * t)
        }
        Fault::SlowDisk => rng.range(t / 4, 3 * t),
        Fault::HungDisk => rng.range(3 * t, 10 * t),
        Fault::FullDisk | Fault::FullDisks => rng.range(t / 2, 6 * t),
        Fault::Kill
        | Fault::Power
        | Fault::PowerAll
        | Fault::Fuse
        | Fault::Shutdown
        | Fault::SyncError
        | Fault::Wipe
        | Fault::WipeLog
        | Fault::ForgetAway
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

/// Longest time for all that is healed to be as it should be. A node that was forgotten stays away
/// for a minute, as in Redis.
pub fn bound(plan: &Plan) -> u64 {
    let forgotten = match plan.topology {
        Topology::Cluster | Topology::Moves => 70 * SEC,
        Topology::Alone | Topology::Shard => 2 * SEC,
    };
    40 * plan.t() + 4 * plan.node_timeout_ms * MS + forgotten
}
