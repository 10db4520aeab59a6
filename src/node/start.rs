//! From a configuration to a node that is ready for its first turn: locks, sockets, threads.
//!
//! Owns the order in which they are had: nothing in the folder is read before its lock is held.
//! Never decides what is on the disk; that is the server's start.

use super::clock::SystemClock;
use super::cluster::RealCluster;
use super::conf;
use super::platform::{backlog, bind, RealPlatform};
use super::system;
use super::witness;
use super::Node;
use crate::process::{self, lock_file, Launch, Lock, LockError, Supervisor};
use crate::sockets::{Listeners, Poll, Registrar};
use config::Config;
use rand::rngs::OsRng;
use rand::RngCore;
use server::{ClusterSetup, Machine, Server, ServerError, Setup, Tuning};
use slog::Logger;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::Arc;
use storage::RealFolders;

/// Connections that MIGRATE makes, and what their thread waits with.
const OUTGOING: u32 = 64 + 8;

/// Why a node can't start, or go on.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    #[error(transparent)]
    Server(#[from] ServerError),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("Failed listening on port {port}, aborting: {reason}")]
    Listen { port: u16, reason: String },
    #[error("Failed opening Unix socket: {0}: {1}")]
    UnixSocket(&'static str, io::Error),
    #[error("Configured to not listen anywhere, exiting.")]
    Nowhere,
    #[error("can't read the cluster configuration {path}: {source}")]
    Conf { path: String, source: io::Error },
    #[error("Sorry, the cluster configuration file is already used by a different Redis Cluster node. Please make sure that different nodes use different cluster configuration files. ({0})")]
    Lock(#[from] LockError),
    #[error("Could not listen on the cluster bus port {0}: {1}")]
    BusPort(u16, io::Error),
}

pub(super) fn start(launch: Launch) -> Result<Node, NodeError> {
    let Launch {
        config,
        logger,
        log,
        shutdown,
        supervisor,
        lock,
    } = launch;
    let clock = SystemClock::new();
    let poll = Poll::new()?;
    let registrar = poll.registrar()?;
    let waker = poll.waker();
    let mut listeners = listen(&config, &logger)?;
    listeners.register(&registrar)?;
    let folders = RealFolders::new(&config.log_dir());
    let tuning = Tuning::default();
    let (cluster, conf_lock) = if config.cluster_enabled {
        let addresses = bus_addresses(&config, &listeners)?;
        let kept = Arc::clone(&tuning.log.kept);
        let disk = (&folders, kept);
        let (cluster, lock) = begin_cluster(&config, disk, &addresses, &registrar, clock, &logger)?;
        (Some(cluster), Some(lock))
    } else {
        (None, None)
    };
    let signals = shutdown.clone();
    let platform = RealPlatform::start(
        listeners,
        places(&config),
        registrar,
        signals,
        log.clone(),
        logger.clone(),
    )?;
    let server = Server::start(Setup {
        config,
        platform,
        clock,
        folders,
        cluster,
        seed: OsRng.next_u64(),
        memory_bytes: memory_bytes(),
        about: about(&supervisor),
        tuning,
        logger: logger.clone(),
        raft_logger: crate::log::for_raft(&logger),
    })?;
    shutdown.on_signal(move || {
        // It fails only if the loop's end is closed, and then nobody waits.
        let _ = waker.wake();
    });
    slog::info!(logger, "Server initialized");
    Ok(Node {
        poll,
        server,
        log,
        supervisor: Some(supervisor),
        announced: false,
        _locks: (lock, conf_lock),
    })
}

fn listen(config: &Config, logger: &Logger) -> Result<Listeners, NodeError> {
    let mut listeners = bind(config, logger).map_err(|failure| {
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
    if !config.unixsocket.is_empty() {
        let (path, mode) = (Path::new(&config.unixsocket), config.unixsocketperm);
        let opened = listeners.open_unix(path, mode, backlog(config));
        opened.map_err(|(step, error)| NodeError::UnixSocket(step, error))?;
    }
    if listeners.is_empty() {
        return Err(NodeError::Nowhere);
    }
    Ok(listeners)
}

/// The bus listens beside the clients' listeners; where they are none (port 0), at those addresses of
/// `bind` at which it can. Whether it can is tried: the sockets are closed again.
fn bus_addresses(config: &Config, listeners: &Listeners) -> Result<Vec<SocketAddr>, NodeError> {
    if config.port != 0 {
        return Ok(listeners.addresses());
    }
    let port = config.bus_port();
    let bound = Listeners::bind(&config.bind, port, backlog(config));
    let bound = bound.map_err(|failure| NodeError::BusPort(port, failure.error))?;
    Ok(bound.listeners.addresses())
}

/// What INFO says of the process.
fn about(supervisor: &Supervisor) -> Machine {
    let executable = std::env::current_exe().unwrap_or_default();
    Machine {
        build: crate::version::BUILD,
        supervised: supervisor.kind(),
        os: system::os(),
        executable: executable.to_string_lossy().into_owned(),
    }
}

/// `kept`: bytes of the disk of `folders` that are kept free of log (D5).
fn begin_cluster(
    config: &Config,
    (folders, kept): (&RealFolders, Arc<AtomicU64>),
    addresses: &[SocketAddr],
    registrar: &Registrar,
    clock: SystemClock,
    logger: &Logger,
) -> Result<(ClusterSetup<RealPlatform>, Lock), NodeError> {
    let path = config.dir.join(&config.cluster_config_file);
    let mut lock_name = path.as_os_str().to_owned();
    lock_name.push(".lock");
    let lock = lock_file(&PathBuf::from(lock_name))?;
    let conf = conf::load(&path).map_err(|source| NodeError::Conf {
        path: path.display().to_string(),
        source,
    })?;
    let open = addresses
        .iter()
        .any(|a| !a.ip().to_canonical().is_loopback());
    if open && config.requirepass.is_empty() {
        slog::warn!(
            logger,
            "The cluster bus listens beyond this machine and no password guards the Raft links: \
             whoever reaches the port can disturb this node's shard. Set requirepass and masterauth"
        );
    }
    let port = config.bus_port();
    let io = RealCluster::start(
        config_of_links(config, addresses),
        path,
        registrar,
        witness::Setup {
            folders: folders.clone(),
            kept,
            clock,
            seed: OsRng.next_u64(),
            logger: logger.clone(),
        },
    );
    let io = io.map_err(|error| NodeError::BusPort(port, error))?;
    Ok((ClusterSetup { io, conf }, lock))
}

/// Listens beside the clients' listeners, and takes as many connections as there are files for.
fn config_of_links(config: &Config, addresses: &[SocketAddr]) -> transport::TransportConfig {
    let port = config.bus_port();
    let listen = addresses.iter().map(|a| SocketAddr::new(a.ip(), port));
    let mut links = transport::TransportConfig {
        listen: listen.collect(),
        ..transport::TransportConfig::default()
    };
    links.max_accepted = places(config) as usize;
    links
}

/// How many connections there may be on the bus port; outside a cluster, to other servers.
fn places(config: &Config) -> u32 {
    if !config.cluster_enabled {
        return process::raise_for_outgoing(config.maxclients, OUTGOING);
    }
    let wanted = transport::TransportConfig::default().max_accepted;
    process::raise_for_bus(config.maxclients, u32::try_from(wanted).unwrap_or(u32::MAX))
}

/// Says in the log, and to the supervisor of the process if there is one, that clients are welcome.
pub(super) fn announce(platform: &RealPlatform, supervisor: &Supervisor, logger: &Logger) {
    for address in platform.addresses() {
        slog::info!(logger, "Ready to accept connections tcp on {}", address);
    }
    if let Some(path) = platform.unix_path() {
        slog::info!(
            logger,
            "Ready to accept connections unix on {}",
            path.display()
        );
    }
    if let Err(error) = supervisor.ready() {
        slog::warn!(
            logger,
            "Can't tell the supervisor that the server is ready: {}",
            error
        );
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
