//! One machine: its clocks, its disk, and the process on it, if one runs.
//!
//! Owns: what survives of a member when its process or its power is gone. Never does: decide when
//! that happens.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::time::Duration;

use holdfast::cluster::Record;
use holdfast::keyspace::Layout;
use holdfast::shard::{found, Shard, ShardConfig, SyncPolicy};
use holdfast::storage::base::MemberKind;
use holdfast::storage::{Base, Done, Job, LogConfig};
use raft::eraftpb::ConfState;

use crate::clock::{MemberClock, True, TurnClock};
use crate::disk::{Crash, SimDisk, Ticket};
use crate::net::Conn;
use crate::plan::Plan;
use crate::process::{Input, Process, TurnResult};
use crate::rng::Rng;

pub const MEMBERS: usize = 3;
/// Room enough for every run.
pub const CAPACITY: u64 = 1 << 30;

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

impl<R> Ended<R> {
    pub fn map<S>(self, change: impl FnOnce(R) -> S) -> Ended<S> {
        match self {
            Ended::Fine(value) => Ended::Fine(change(value)),
            Ended::Crashed => Ended::Crashed,
            Ended::Stopped(text) => Ended::Stopped(text),
            Ended::Panicked(text) => Ended::Panicked(text),
        }
    }
}

/// How far a turn has come.
pub enum Turned {
    Whole(TurnResult),
    /// Stopped for so long before its commands.
    Half(TurnResult, u64),
}

pub struct Member {
    pub raft_id: u64,
    pub clock: MemberClock,
    pub disk: SimDisk,
    pub process: Option<Process>,
    /// Counts starts of the process.
    pub boot: u64,
    pub inbox: Vec<Input>,
    pub next_turn: Option<True>,
    /// In a turn, or stopped, until then.
    pub busy_until: True,
    /// In the middle of a turn until then: it can't be killed there.
    pub in_turn_until: True,
    /// Stop in the turn to come: after so many clock readings, for so long.
    pub stop_next: Option<(u32, u64)>,
    /// What the first half of a turn has brought so far.
    pub half: Option<TurnResult>,
    /// Who gets its next TimeoutNow is not heard by the third member for so long.
    pub hold_timeout_now: Option<u64>,
    /// Syncs are slow until then.
    pub slow_until: True,
    /// A failing disk was injected: the process may end by itself.
    pub excused: bool,
    /// What the process's death will do to the disk.
    pub power_on_crash: bool,
    pub down_for: u64,
    pub was_leader: bool,
    pub disk_free_at: True,
    pub jobs: BTreeMap<u64, Running>,
    pub conns: BTreeMap<Conn, usize>,
    /// The commit index that its disk must know of at the next start.
    pub must_know: u64,
    /// Applied index at the last look.
    pub seen_applied: u64,
}

thread_local! {
    static LAST_PANIC: std::cell::RefCell<Option<String>> = const { std::cell::RefCell::new(None) };
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

thread_local! {
    static IN_PROCESS: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
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

impl Member {
    pub fn new(id: usize, drifting: bool, rng: &mut Rng) -> Member {
        Member {
            raft_id: 1000 + rng.below(1 << 40) * 10 + id as u64,
            clock: MemberClock::new(rng, drifting),
            disk: SimDisk::new(CAPACITY),
            process: None,
            boot: 0,
            inbox: Vec::new(),
            next_turn: None,
            busy_until: 0,
            in_turn_until: 0,
            stop_next: None,
            half: None,
            hold_timeout_now: None,
            slow_until: 0,
            excused: false,
            power_on_crash: false,
            down_for: 0,
            was_leader: false,
            disk_free_at: 0,
            jobs: BTreeMap::new(),
            conns: BTreeMap::new(),
            must_know: 0,
            seen_applied: 0,
        }
    }

    fn log_config(plan: &Plan) -> LogConfig {
        LogConfig {
            segment_size: plan.segment,
            spare_segments: plan.spares,
            ..LogConfig::default()
        }
    }

    /// Founds the group on this machine.
    pub fn found(&self, plan: &Plan, voters: &[u64]) {
        let base = Base {
            group: 77,
            incarnation: 0,
            raft_id: self.raft_id,
            kind: MemberKind::Data,
            index: 1,
            term: 1,
            conf_state: ConfState {
                voters: voters.to_vec(),
                ..ConfState::default()
            },
            members: Vec::new(),
            election_timeout_ms: plan.t_ms,
            record: all_slots().encode(),
        };
        found(self.disk.clone(), Member::log_config(plan), &base).expect("an empty disk with room");
    }

    /// Starts the process: recovery, then the group.
    pub fn start(&mut self, now: True, plan: &Plan, voters: &[u64], rng: &mut Rng) -> Ended<()> {
        assert!(self.process.is_none(), "one process for each machine");
        self.boot += 1;
        // A fault that was ordered for the process before may meet this one in its recovery.
        self.excused = self.disk.will_fail();
        let config = ShardConfig {
            layout: Layout::Cluster,
            seed: rng.next(),
            sync: SyncPolicy::Always,
            outcome_timeout: Duration::from_millis(plan.outcome_timeout_ms),
            tail_limit: 64 << 20,
            keep_bytes: 4 << 10,
            log: Member::log_config(plan),
            first: self.was_leader,
        };
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let (disk, time) = (self.disk.clone(), self.clock.read(now));
        guarded(|| Shard::open(disk, config, time, &logger)).map(|shard| {
            let t = Duration::from_millis(plan.t_ms);
            self.process = Some(Process::new(shard, voters.to_vec(), t));
            self.seen_applied = 0;
        })
    }

    /// One turn, or what comes of it before a stop between its messages and its commands; gives
    /// the true time of its end.
    pub fn turn(&mut self, now: True, rng: &mut Rng) -> (Ended<Turned>, True) {
        let has_commands = self.inbox.iter().any(|i| matches!(i, Input::Bytes { .. }));
        let stop = match self.stop_next {
            Some((0, _)) => self.stop_next.take(),
            Some(_) if has_commands => self.stop_next.take(),
            _ => None,
        };
        let inbox = std::mem::take(&mut self.inbox);
        let process = self
            .process
            .as_mut()
            .expect("a running process takes turns");
        let mut result = TurnResult::default();
        if let Some((0, length)) = stop {
            let clock = TurnClock::new(&self.clock, now, None, rng.fork());
            let ended = guarded(|| process.begin_turn(&clock, inbox, &mut result));
            let end = clock.true_now();
            return (ended.map(|()| Turned::Half(result, length)), end);
        }
        let clock = TurnClock::new(&self.clock, now, stop, rng.fork());
        let ended = guarded(|| {
            process.begin_turn(&clock, inbox, &mut result)?;
            process.rest_of_turn(&clock, Vec::new(), result)
        });
        (ended.map(Turned::Whole), clock.true_now())
    }

    /// The second half of a turn; what clients have sent meanwhile is part of it.
    pub fn rest_of_turn(&mut self, now: True, rng: &mut Rng) -> (Ended<Turned>, True) {
        let result = self.half.take().expect("a turn was begun");
        let of_clients = |i: &Input| {
            matches!(
                i,
                Input::Open { .. } | Input::Bytes { .. } | Input::Close { .. }
            )
        };
        let (late, later) = std::mem::take(&mut self.inbox)
            .into_iter()
            .partition(of_clients);
        self.inbox = later;
        let process = self
            .process
            .as_mut()
            .expect("it does not die in the middle of a turn");
        let clock = TurnClock::new(&self.clock, now, None, rng.fork());
        let ended = guarded(|| process.rest_of_turn(&clock, late, result));
        (ended.map(Turned::Whole), clock.true_now())
    }

    /// Runs a job as far as it goes before its end.
    pub fn begin_job(&mut self, job: Job<SimDisk>) -> Ended<Running> {
        match job {
            Job::Sync(job) => {
                let disk = self.disk.clone();
                guarded(|| -> Result<Running, String> {
                    let (result, ticket) = disk.deferred(|| job.run());
                    Ok(Running::Sync(Done::Synced(result), ticket))
                })
            }
            other => Ended::Fine(Running::Other(other)),
        }
    }

    /// The end of a job.
    pub fn end_job(&mut self, job: Running) -> Ended<Option<Done<SimDisk>>> {
        match job {
            Running::Sync(done, ticket) => {
                self.disk.complete(ticket);
                Ended::Fine(Some(done))
            }
            Running::Other(job) => guarded(|| -> Result<_, String> { Ok(job.run()) }),
        }
    }

    /// The process is gone, and with `power` the page cache too.
    pub fn die(&mut self, now: True, power: bool, loss: crate::disk::Loss, rng: &mut Rng) {
        let leads = self
            .process
            .as_ref()
            .is_some_and(|p| p.shard.group().is_leader());
        self.was_leader = leads;
        // Destructors must not be able to write: the handle dies first.
        let disk = if power {
            self.disk.power_loss(loss, rng)
        } else {
            self.disk.process_crash()
        };
        self.disk = disk;
        self.process = None;
        self.inbox.clear();
        self.jobs.clear();
        self.next_turn = None;
        self.stop_next = None;
        self.hold_timeout_now = None;
        self.half = None;
        self.disk_free_at = now;
        self.busy_until = now;
        self.in_turn_until = now;
        if power {
            self.clock.reboot(now, rng);
        }
    }
}

/// The record of a shard that has every slot.
fn all_slots() -> Record {
    Record {
        slots: (0..16384).collect(),
        ..Record::default()
    }
}
