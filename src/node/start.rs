//! From a configuration to a node that is ready for its first turn.

use super::clock::SystemClock;
use super::clustered::{self, open_seat, ClusterError, Opened};
use super::host::{About, HostState};
use super::pubsub::PubSub;
use super::turn::Node;
use crate::agent::seat;
use crate::clock::{Clock, Now};
use crate::command::Stats;
use crate::config::{AppendFsync, Config};
use crate::keyspace::Layout;
use crate::net::{Listeners, Poll, ReadBuffer, ReadyList, Slab};
use crate::process::{Launch, Supervisor};
use crate::raft::DEFAULT_KEEP_BYTES;
use crate::resp::Argv;
use crate::shard::{found, Shard, ShardConfig, ShardError, SyncPolicy};
use crate::storage::{Base, LogConfig, RealDisk, StorageThread};
use raft::eraftpb::ConfState;
use rand::RngCore;
use slog::Logger;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Why a node can't start, or go on.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    #[error(transparent)]
    Shard(#[from] ShardError),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error("Failed listening on port {port}, aborting: {reason}")]
    Listen { port: u16, reason: String },
}

pub(super) fn start(launch: Launch) -> Result<Node, NodeError> {
    let Launch {
        config,
        logger,
        log,
        shutdown,
        supervisor,
        lock,
        ..
    } = launch;
    let clock = SystemClock::new();
    let poll = Poll::new()?;
    let listeners = listen(&config, &poll, &logger)?;
    let mut seat = match config.cluster_enabled {
        true => Some(open_seat(&config)?),
        false => None,
    };
    let shard = open_shard(&config, seat.as_ref(), &clock, &logger)?;
    if let Some(seat) = &mut seat {
        seat.take_name(&shard);
    }
    let waker = poll.waker();
    let addresses = listeners.addresses();
    let begin = |seat| {
        let waker = Arc::clone(&waker);
        clustered::start(&config, seat, &addresses, waker, clock, &logger)
    };
    let (cluster, conf_lock) = seat.map(begin).transpose()?.unzip();
    let wake = Arc::clone(&waker);
    let (storage, results) = StorageThread::start(move || {
        // It fails only if the loop's end is closed, and then nobody waits.
        let _ = wake.wake();
    })?;
    shutdown.on_signal(move || {
        let _ = waker.wake();
    });
    announce(&listeners, &supervisor, &logger);
    let now = clock.now();
    Ok(Node {
        poll,
        shard,
        storage,
        results,
        host: HostState {
            cluster,
            ..host_state(config, clock, listeners, now, logger.clone())
        },
        logger,
        log,
        signals: shutdown,
        _locks: (lock, conf_lock),
        ready: ReadyList::new(),
        shared: ReadBuffer::new(),
        argv: Argv::new(),
        dirty: Vec::new(),
        gated: Vec::new(),
        held: Vec::new(),
        waiting: Vec::new(),
        released: Default::default(),
        next_client_id: 1,
        next_cron: now.mono,
        cron_runs: 0,
        turn_started: now,
        commands: 0,
        held_bytes: 0,
        memory_bytes: memory_bytes(),
        ending: None,
        disk_full_told: false,
        routing: None,
    })
}

fn listen(config: &Config, poll: &Poll, logger: &Logger) -> Result<Listeners, NodeError> {
    let mut listeners = super::settings::bind(config, logger).map_err(|failure| {
        slog::warn!(
            logger,
            "Could not create server TCP listening socket {}",
            failure
        );
        NodeError::Listen {
            port: config.port,
            reason: failure.error.to_string(),
        }
    })?;
    listeners.register(poll)?;
    Ok(listeners)
}

/// Says in the log, and to whoever supervises the process, that clients are welcome.
fn announce(listeners: &Listeners, supervisor: &Supervisor, logger: &Logger) {
    slog::info!(logger, "Server initialized");
    for address in listeners.addresses() {
        slog::info!(logger, "Ready to accept connections tcp on {}", address);
    }
    if let Err(error) = supervisor.ready() {
        slog::warn!(
            logger,
            "Can't tell the supervisor that the server is ready: {}",
            error
        );
    }
}

pub(super) fn host_state(
    config: Config,
    clock: SystemClock,
    listeners: Listeners,
    now: Now,
    logger: Logger,
) -> HostState {
    HostState {
        config,
        stats: Stats::new(),
        about: About::new(now),
        logger,
        listeners,
        listeners_fresh: false,
        active_expire: true,
        clients: Slab::new(),
        clock,
        killed: Vec::new(),
        shutdown: None,
        changed: Vec::new(),
        cluster: None,
        pubsub: PubSub::default(),
    }
}

fn open_shard(
    config: &Config,
    seat: Option<&Opened>,
    clock: &SystemClock,
    logger: &Logger,
) -> Result<Shard<RealDisk>, NodeError> {
    let disk = match seat {
        Some(seat) => seat.shard_disk(),
        None => {
            let folder = config.log_dir();
            if folder.join(seat::FILE).exists() {
                let folder = folder.display().to_string();
                return Err(ClusterError::OtherMode(folder, "yes").into());
            }
            let disk = RealDisk::new(folder);
            found(disk.clone(), log_config(config), &birth(config))?;
            disk
        }
    };
    let begun = Instant::now();
    let shard = open_member(disk, config, true, clock.now(), logger)?;
    slog::info!(
        logger,
        "DB loaded from the log: {} entries replayed in {:.3} seconds",
        shard.group().applied() - shard.base().index,
        begun.elapsed().as_secs_f64()
    );
    Ok(shard)
}

pub(super) fn log_config(config: &Config) -> LogConfig {
    LogConfig {
        segment_size: config.log_segment_size,
        ..LogConfig::default()
    }
}

/// Opens the member whose folder this is.
pub(super) fn open_member(
    disk: RealDisk,
    config: &Config,
    first: bool,
    now: Now,
    logger: &Logger,
) -> Result<Shard<RealDisk>, NodeError> {
    let shard_config = ShardConfig {
        layout: if config.cluster_enabled {
            Layout::Cluster
        } else {
            Layout::Single {
                databases: config.databases,
            }
        },
        seed: rand::rngs::OsRng.next_u64(),
        sync: sync_policy(config),
        outcome_timeout: Duration::from_millis(config.cluster_outcome_timeout),
        tail_limit: config.uncommitted_tail_limit,
        keep_bytes: DEFAULT_KEEP_BYTES,
        log: log_config(config),
        first,
    };
    let quiet = crate::log::for_raft(logger);
    Ok(Shard::open(disk, shard_config, now, &quiet)?)
}

pub(super) fn sync_policy(config: &Config) -> SyncPolicy {
    match config.appendfsync {
        AppendFsync::Always => SyncPolicy::Always,
        AppendFsync::Everysec => SyncPolicy::EverySecond,
        AppendFsync::No => SyncPolicy::No,
    }
}

/// The birth record of a group of one (G1); ids are random and never zero (G2).
fn birth(config: &Config) -> Base {
    let mut random = rand::rngs::OsRng;
    let mut id = || loop {
        let id = random.next_u64();
        if id != 0 {
            return id;
        }
    };
    let raft_id = id();
    Base {
        group: id(),
        incarnation: 1,
        raft_id,
        index: 1,
        term: 1,
        conf_state: ConfState {
            voters: vec![raft_id],
            ..ConfState::default()
        },
        members: Vec::new(),
        election_timeout_ms: config.cluster_raft_election_timeout,
        ..Base::default()
    }
}

/// The memory of the machine, or of the control group if that is less.
fn memory_bytes() -> usize {
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.trim().strip_suffix("kB"))
        .and_then(|kib| kib.trim().parse::<usize>().ok())
        .map_or(1 << 30, |kib| kib << 10);
    let group = std::fs::read_to_string("/sys/fs/cgroup/memory.max").unwrap_or_default();
    group
        .trim()
        .parse::<usize>()
        .map_or(total, |limit| limit.min(total))
}
