//! One machine: its clocks, its disk, and the process on it, if one runs.
//!
//! Owns: what survives of a node when its process or its power is gone, and the process around the
//! server: the loop's and the witness thread's clocks, an operator's connection. Never does: decide
//! when anything happens.

use base::ids::RaftId;
use std::any::Any;
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use ::config::{AppendFsync, Config};
use base::clock::Clock;
use cluster::witnesses::Witnesses;
use cluster::Cluster;
use cluster_bus::bus::{LinkId, INCOMING};
use cluster_bus::NodeId;
use server::{ClusterSetup, Machine as About, Server, Setup, Tuning};
use shard::Shard;
use storage::{Done, Job, LogConfig};

use crate::clock::{MemberClock, True};
use crate::disk::{Crash, Loss, SimDisk, Ticket};
use crate::links::RaftEnd;
use crate::net::Conn;
use crate::ops::Op;
use crate::plan::Plan;
use crate::platform::{load_conf, Kernel, SimClock, SimCluster, SimFolders, SimPlatform, Wires};
use crate::rng::Rng;
use crate::wires::LANES;

/// Room enough for every run.
pub const CAPACITY: u64 = 1 << 30;
/// The endpoint of an operator: it sits at the machine.
pub const OPERATOR: usize = usize::MAX;

/// A job on the storage thread.
pub enum Running {
    /// Synced as far as it was when the job began; durable when it ends.
    Sync(Done<SimDisk>, Ticket),
    Other(Job<SimDisk>),
}

/// How a piece of the process's work ended.
pub enum Ended<R> {
    Fine(R),
    /// The fuse burnt down.
    Crashed,
    /// The process ended itself: the text says why.
    Stopped(String),
    /// An invariant of the code broke.
    Panicked(String),
}

thread_local! {
    static LAST_PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
    static IN_PROCESS: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Panics inside simulated processes are kept, not printed.
pub fn install_panic_hook() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if IN_PROCESS.with(std::cell::Cell::get) {
                LAST_PANIC.with(|p| *p.borrow_mut() = Some(info.to_string()));
            } else {
                before(info);
            }
        }));
    });
}

/// Runs a piece of the process's work.
pub fn guarded<R, E: std::fmt::Display>(work: impl FnOnce() -> Result<R, E>) -> Ended<R> {
    IN_PROCESS.with(|p| p.set(true));
    let result = catch_unwind(AssertUnwindSafe(work));
    IN_PROCESS.with(|p| p.set(false));
    match result {
        Ok(Ok(value)) => Ended::Fine(value),
        Ok(Err(error)) => Ended::Stopped(error.to_string()),
        Err(payload) => why(payload),
    }
}

fn why<R>(payload: Box<dyn Any + Send>) -> Ended<R> {
    if payload.is::<Crash>() {
        return Ended::Crashed;
    }
    let text = LAST_PANIC.with(|p| p.borrow_mut().take());
    Ended::Panicked(text.unwrap_or_else(|| "a panic without a text".to_string()))
}

/// A connection of the bus at this end.
#[derive(Clone, Copy, Debug)]
pub struct BusEnd {
    pub link: LinkId,
    pub peer: usize,
}

/// A running process.
pub struct Node {
    pub server: Server<SimPlatform>,
    pub witnesses: Witnesses<SimFolders>,
    pub clock: SimClock,
    pub witness_clock: SimClock,
    /// The last step of the server was not the end of a turn.
    pub in_turn: bool,
    /// The turn stops after so many more steps, for so long.
    pub stop_after: Option<(u32, u64)>,
}

impl Node {
    pub fn shard(&self) -> &Shard<SimDisk> {
        self.server.shard()
    }

    pub fn cluster(&self) -> &Cluster {
        self.server
            .cluster()
            .expect("the worlds have clusters only")
    }

    pub fn name(&self) -> NodeId {
        self.cluster().myself()
    }
}

/// What an operator has asked for and not been told of.
#[derive(Default)]
pub struct Operator {
    pub conn: Option<Conn>,
    pub pending: VecDeque<Op>,
    /// What was sent and not answered.
    pub sent: Option<Op>,
    pub inbuf: Vec<u8>,
}

impl Operator {
    pub fn is_idle(&self) -> bool {
        self.pending.is_empty() && self.sent.is_none()
    }
}

pub struct Machine {
    pub index: usize,
    pub clock: Rc<RefCell<MemberClock>>,
    pub disk: SimDisk,
    pub node: Option<Node>,
    pub kernel: Rc<RefCell<Kernel>>,
    pub wires: Rc<RefCell<Wires>>,
    /// The name that this node's links give in their handshakes, and where they find others.
    pub name: Option<NodeId>,
    pub peers: BTreeMap<NodeId, usize>,
    /// Counts starts of the process.
    pub boot: u64,
    pub next_turn: Option<True>,
    pub next_witness_turn: Option<True>,
    pub busy_until: True,
    /// Stop in the turn to come, for so long.
    pub stop_next: Option<(Stop, u64)>,
    pub slow_until: True,
    /// The jobs of the rest, as they were handed over: they end in that order.
    pub in_order: VecDeque<u64>,
    pub snapshots_in_order: VecDeque<u64>,
    pub power_on_crash: bool,
    pub down_for: u64,
    /// A sync was made to fail: the process, or a witness on it, may end itself.
    pub excused: bool,
    /// When the storage thread is done with its syncs, its allocations, the rest; and the other one with
    /// its snapshots.
    pub lanes: [True; LANES],
    pub jobs: BTreeMap<u64, (u64, Running)>,
    pub bus: BTreeMap<Conn, BusEnd>,
    /// Raft links that bring something.
    pub links: BTreeMap<Conn, RaftEnd>,
    next_incoming: u64,
    /// What witnesses that stopped have said.
    pub said: Arc<Mutex<Vec<String>>>,
    pub operator: Operator,
    /// It is not part of the cluster yet.
    pub spare: bool,
    /// A TimeoutNow of its shard is held back for so long (a scene).
    pub hold_timeout_now: Option<u64>,
    /// TimeoutNows are lost until then (a scene).
    pub lose_timeout_now: True,
    pub seen_applied: (RaftId, u64),
    /// The commit index that its disk must know of at the next start (D1).
    pub must_know: u64,
    /// How often it was told to meet another one.
    pub meets: u64,
    pub ordered: crate::snapshots::Ordered,
}

/// Where a turn is stopped.
#[derive(Clone, Copy, Debug)]
pub enum Stop {
    /// Between two of its phases, after so many.
    Phases(u32),
    /// Within one, at a clock reading, after so many; in a turn with commands.
    Readings(u32),
}

impl Machine {
    pub fn new(index: usize, drifting: bool, rng: &mut Rng) -> Machine {
        Machine {
            index,
            clock: Rc::new(RefCell::new(MemberClock::new(rng, drifting))),
            disk: SimDisk::new(CAPACITY),
            node: None,
            kernel: Rc::default(),
            wires: Rc::default(),
            name: None,
            peers: BTreeMap::new(),
            boot: 0,
            next_turn: None,
            next_witness_turn: None,
            busy_until: 0,
            stop_next: None,
            slow_until: 0,
            in_order: VecDeque::new(),
            snapshots_in_order: VecDeque::new(),
            power_on_crash: false,
            down_for: 0,
            excused: false,
            lanes: [0; LANES],
            jobs: BTreeMap::new(),
            bus: BTreeMap::new(),
            links: BTreeMap::new(),
            next_incoming: 0,
            said: Arc::default(),
            operator: Operator::default(),
            spare: false,
            hold_timeout_now: None,
            lose_timeout_now: 0,
            seen_applied: (RaftId(0), 0),
            must_know: 0,
            meets: 0,
            ordered: None,
        }
    }

    pub fn start(&mut self, now: True, plan: &Plan, rng: &mut Rng) -> Ended<()> {
        assert!(self.node.is_none(), "one process for each machine");
        self.boot += 1;
        // A fault that was ordered for the process before may meet this one in its recovery.
        self.excused = self.disk.will_fail();
        self.seen_applied = (RaftId(0), 0);
        (self.kernel, self.wires) = (Rc::default(), Rc::default());
        self.links.clear();
        let clock = SimClock::new(Rc::clone(&self.clock), self.disk.clone(), now, rng.fork());
        let witness_clock =
            SimClock::new(Rc::clone(&self.clock), self.disk.clone(), now, rng.fork());
        let seeds = (rng.next(), rng.next());
        let ended = guarded(|| self.open(plan, clock, witness_clock, seeds));
        match self.as_crash(ended) {
            Ended::Fine(node) => {
                self.node = Some(node);
                Ended::Fine(())
            }
            Ended::Crashed => Ended::Crashed,
            Ended::Stopped(text) => Ended::Stopped(text),
            Ended::Panicked(text) => Ended::Panicked(text),
        }
    }

    fn open(
        &self,
        plan: &Plan,
        clock: SimClock,
        witness_clock: SimClock,
        seeds: (u64, u64),
    ) -> Result<Node, String> {
        let disk = self.disk.clone();
        let folders = SimFolders(disk.clone());
        let conf = load_conf(&disk).map_err(|e| e.to_string())?;
        let io = SimCluster::new(Rc::clone(&self.wires), disk.clone());
        let tuning = tuning(plan);
        let log = LogConfig {
            segment_size: 64 << 10,
            spare_segments: 2,
            ..tuning.log.clone()
        };
        let server = Server::start(Setup {
            config: self.config(plan),
            platform: SimPlatform {
                kernel: Rc::clone(&self.kernel),
                clock: clock.clone(),
                disk: disk.clone(),
            },
            clock: clock.clone(),
            folders: folders.clone(),
            cluster: Some(ClusterSetup { io, conf }),
            seed: seeds.0,
            memory_bytes: 1 << 30,
            about: About::default(),
            tuning,
            logger: loud(&self.said),
            raft_logger: slog::Logger::root(slog::Discard, slog::o!()),
        });
        let server = server.map_err(|e| e.to_string())?;
        let now = witness_clock.now();
        let witnesses = Witnesses::open(folders, log, seeds.1, now, loud(&self.said));
        let witnesses = witnesses.map_err(|e| e.to_string())?;
        self.wires.borrow().hosted.set(witnesses.len());
        Ok(Node {
            server,
            witnesses,
            clock,
            witness_clock,
            in_turn: false,
            stop_after: None,
        })
    }

    fn config(&self, plan: &Plan) -> Config {
        let mut config = Config::default();
        config.port = 7000 + self.index as u16;
        config.cluster_enabled = true;
        config.cluster_announce_ip = ip_of(self.index).to_string();
        config.cluster_node_timeout = plan.node_timeout_ms;
        config.cluster_raft_election_timeout = plan.t_ms;
        config.cluster_require_full_coverage = plan.full_coverage;
        config.cluster_raft_witness = plan.witness;
        config.cluster_allow_replica_migration = plan.follows;
        config.cluster_outcome_timeout = plan.outcome_timeout_ms;
        config.log_segment_size = plan.segment;
        config.protected_mode = false;
        config.appendfsync = plan.appendfsync.unwrap_or(AppendFsync::Always);
        config
    }

    /// What a process says whose disk has died under it does not matter: it was killed.
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

    /// A fresh id for a bus link that another node has opened to this one.
    pub fn incoming(&mut self) -> LinkId {
        self.next_incoming += 1;
        INCOMING | (self.boot << 32) | self.next_incoming
    }

    /// The process is gone, and with `power` the page cache too. Gives its clients' connections.
    pub fn die(&mut self, now: True, power: bool, loss: Loss, rng: &mut Rng) -> Vec<(Conn, usize)> {
        // Destructors must not be able to write: the handle dies first.
        self.disk = if power {
            self.disk.power_loss(loss, rng)
        } else {
            self.disk.process_crash()
        };
        self.node = None;
        let conns = std::mem::take(&mut self.kernel.borrow_mut().conns);
        (self.kernel, self.wires) = (Rc::default(), Rc::default());
        self.operator = Operator::default();
        self.peers.clear();
        self.jobs.clear();
        self.in_order.clear();
        self.snapshots_in_order.clear();
        self.next_turn = None;
        self.next_witness_turn = None;
        self.stop_next = None;
        self.hold_timeout_now = None;
        self.lanes = [now; LANES];
        self.busy_until = now;
        self.said.lock().expect("nobody panics with it").clear();
        if power {
            self.clock.borrow_mut().reboot(now, rng);
        }
        conns
            .into_iter()
            .map(|(conn, of)| (conn, of.peer))
            .collect()
    }
}

fn tuning(plan: &Plan) -> Tuning {
    Tuning {
        log: LogConfig {
            segment_size: plan.segment,
            spare_segments: plan.spares,
            reserve: 8 << 10,
            freeing: 8 << 10,
            kept: Default::default(),
            floor: 0,
        },
        keep_bytes: 4 << 10,
        sizes: plan.sizes,
    }
}

pub fn ip_of(machine: usize) -> IpAddr {
    IpAddr::from([10, 0, 0, machine as u8 + 1])
}

/// The machine whose bus port this is.
pub fn machine_at(port: u16) -> usize {
    usize::from(port).wrapping_sub(17_000)
}

/// The logger of a process: what it says loudly, or of members that are all sound, is looked at.
fn loud(said: &Arc<Mutex<Vec<String>>>) -> slog::Logger {
    struct Ear(Arc<Mutex<Vec<String>>>);
    impl slog::Drain for Ear {
        type Ok = ();
        type Err = slog::Never;
        fn log(&self, r: &slog::Record<'_>, _: &slog::OwnedKVList) -> Result<(), slog::Never> {
            let of_frames = r.level() == slog::Level::Warning
                && ["A frame of node", "Not proved", "The witness"]
                    .iter()
                    .any(|begin| r.msg().to_string().starts_with(begin));
            // S4: after a crash between a new identity and the end of the old folder the start does the rest.
            let text = r.msg().to_string();
            let set_aside = text.starts_with("The folder shard-");
            if r.level() == slog::Level::Critical && !set_aside || of_frames {
                let mut said = self.0.lock().expect("nobody panics with it");
                said.push(text);
            }
            Ok(())
        }
    }
    slog::Logger::root(Ear(Arc::clone(said)), slog::o!())
}
