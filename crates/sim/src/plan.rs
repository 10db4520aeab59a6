//! What a seed means: the topology, its settings, how busy clients are, which faults it meets, what
//! operators do.
//!
//! Profiles lean on different rules, so that each rule is under stress in some seed of any dozen.

use ::config::AppendFsync;
use ::shard::Sizes;

use crate::client::Manner;
use crate::clock::{MS, SEC, US};
use crate::net::Weather;
use crate::rng::Rng;
use crate::workload::Taste;

mod cluster;
mod shard;

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
    /// How often a data member makes a snapshot; never, if 0.
    pub snapshot_every: u64,
    /// How often an operator takes a step of moving a slot.
    pub moves_every: u64,
    /// A shard has keys of another one's slot from the beginning.
    pub leftovers_p: f64,
    /// How many FLUSHALLs operators ask for.
    pub flushes: u32,
    /// M28: the nodes of a shard that has handed over its last slot become replicas elsewhere.
    pub follows: bool,
    /// Where they do: whether one that goes is not heard by another shard meanwhile.
    pub farewell: bool,
}

/// Where slices are small, what waits of a snapshot crosses its limits too.
fn sizes(part: usize, apply_slice: usize) -> Sizes {
    let default = Sizes::default();
    let (walked, touched) = match apply_slice < default.apply_slice {
        true => (8 << 10, 32 << 10),
        false => (default.walked, default.touched),
    };
    Sizes {
        part,
        apply_slice,
        walked,
        touched,
    }
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
        // Often segments so small that four of them are soon full.
        if rng.chance(0.7) {
            plan.snapshot_every = plan.t() / *rng.pick(&[2, 8, 30]);
            (plan.segment, plan.spares) = *rng.pick(&[(32 << 10, 16), (64 << 10, 8)]);
        }
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
        plan.snapshots_beside(rng);
        plan
    }

    /// In some seeds members make snapshots, and segments are so small that logs lose their beginning.
    fn snapshots_beside(&mut self, rng: &mut Rng) {
        if rng.chance(0.25) {
            self.snapshot_every = self.t() * *rng.pick(&[1, 2, 4]);
            (self.segment, self.spares) = (16 << 10, 32);
            self.taste.padding = *rng.pick(&[200, 600, 2000]);
        }
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
        plan.snapshots_beside(rng);
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
        plan.farewell = seed % 16 >= 12;
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
        plan.snapshots_beside(rng);
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
            sizes: sizes(
                *rng.pick(&[4 << 10, Sizes::default().part]),
                *rng.pick(&[4 << 10, Sizes::default().apply_slice]),
            ),
            outcome_timeout_ms: 5 * t_ms,
            witness: true,
            password: rng.chance(0.2),
            liar: None,
            operator_every: 10 * t_ms * MS,
            snapshot_every: 0,
            moves_every: 0,
            leftovers_p: 0.0,
            flushes: 0,
            follows: false,
            farewell: false,
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
            sizes: sizes(
                Sizes::default().part,
                *rng.pick(&[4 << 10, Sizes::default().apply_slice]),
            ),
            outcome_timeout_ms: 5 * t_ms,
            witness: !rng.chance(0.1),
            password: rng.chance(0.2),
            liar: None,
            operator_every: 2 * t_ms * MS,
            snapshot_every: 0,
            moves_every: 0,
            leftovers_p: 0.0,
            flushes: 0,
            follows: false,
            farewell: false,
        }
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
