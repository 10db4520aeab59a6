//! From a configuration to a node that is part of a cluster: nodes.conf, the seat, the threads.

use super::conf::{self, Conf, ConfFileError};
use super::witness::Thread;
use super::Clustered;
use crate::agent::folders::{self, Begin, Found};
use crate::agent::seat::{self, Seat, SeatError};
use crate::agent::{self, Agent, AgentConfig};
use crate::clock::{Clock, Mono};
use crate::cluster::Record;
use crate::config::Config;
use crate::links::{self, Links, Password, Passwords};
use crate::node::start::{log_config, NodeError};
use crate::node::SystemClock;
use crate::process::{create_dir_durably, lock_file, Lock, LockError};
use crate::shard::Shard;
use crate::storage::base::FILE as BASE;
use crate::storage::{Base, Log, LogConfig, RealDisk, StorageError};
use cluster_bus::bus::{self, Bus, Options};
use cluster_bus::nodes_conf::NodesConf;
use cluster_bus::NodeId;
use rand::rngs::OsRng;
use rand::RngCore;
use std::collections::VecDeque;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;
use std::sync::Arc;

/// Why a node can't be part of a cluster.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    #[error(transparent)]
    Conf(#[from] ConfFileError),
    #[error(transparent)]
    Seat(#[from] SeatError),
    #[error("Can't start in {0}: {1}")]
    Folders(String, folders::Refused),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("Sorry, the cluster configuration file is already used by a different Redis Cluster node. Please make sure that different nodes use different cluster configuration files. ({0})")]
    Lock(#[from] LockError),
    #[error("The log in {0} was made with cluster-enabled {1}; give this node another folder")]
    OtherMode(String, &'static str),
    #[error("Could not listen on the cluster bus port {0}: {1}")]
    Listen(u16, io::Error),
}

/// What is known before the shard is opened.
pub struct Opened {
    pub seat: Seat,
    pub myself: NodeId,
    conf: Option<NodesConf>,
    root: RealDisk,
    lock: Lock,
    /// For the log.
    set_aside: Vec<u64>,
}

impl Opened {
    /// The folder of the node's shard.
    pub fn shard_disk(&self) -> RealDisk {
        member_disk(&self.root, self.seat.member)
    }

    /// S4: the name by which the group knows this node is the one that the others reach it by. A
    /// crash between the seat and nodes.conf (the first start, RESET HARD) leaves another there.
    pub fn take_name(&mut self, shard: &Shard<RealDisk>) {
        let member = shard.group().membership().member(self.seat.member);
        if let Some(name) = member.map(|m| m.node).filter(|name| *name != self.myself) {
            self.myself = name;
            self.conf = None;
        }
    }
}

pub(super) fn member_disk(root: &RealDisk, raft_id: u64) -> RealDisk {
    RealDisk::new(root.folder().join(seat::folder(raft_id)))
}

fn conf_path(config: &Config) -> PathBuf {
    config.dir.join(&config.cluster_config_file)
}

fn random_id() -> NodeId {
    let mut id = [0; 20];
    OsRng.fill_bytes(&mut id);
    NodeId(id)
}

fn random_nonzero() -> u64 {
    loop {
        let id = OsRng.next_u64();
        if id != 0 {
            return id;
        }
    }
}

/// Reads nodes.conf and the seat; a node that has no group on disk founds one, or comes up joining
/// the shard that nodes.conf names (S4).
pub(in crate::node) fn open_seat(config: &Config) -> Result<Opened, ClusterError> {
    let path = conf_path(config);
    let mut lock_name = path.as_os_str().to_owned();
    lock_name.push(".lock");
    let lock = lock_file(&PathBuf::from(lock_name))?;
    let conf = conf::load(&path)?;
    let root = RealDisk::new(config.log_dir());
    if root.folder().join(BASE).exists() {
        let folder = root.folder().display().to_string();
        return Err(ClusterError::OtherMode(folder, "no"));
    }
    let mine = conf.as_ref().and_then(NodesConf::myself);
    let myself = mine.map_or_else(random_id, |line| line.id);
    if mine.is_none() {
        // G5: the name is on disk before anything is born under it; after a crash between the two
        // the group would name a node that is nobody.
        let bus = Bus::new(bus_options(config), myself, None, bus::Now::default());
        conf::save(&path, &bus.conf().render()).map_err(|source| ConfFileError::Io {
            path: path.display().to_string(),
            source,
        })?;
    }
    let seat = Seat::load(&root)?;
    let open = |name: &str| RealDisk::new(root.folder().join(name));
    let plan = folders::decide(&Found::look(&root, open)?, seat.as_ref());
    let plan = plan.map_err(|e| ClusterError::Folders(root.folder().display().to_string(), e))?;
    for raft_id in &plan.remove {
        fs::remove_dir_all(root.folder().join(seat::folder(*raft_id))).map_err(SeatError::from)?;
    }
    for raft_id in &plan.set_aside {
        folders::set_aside(&root, *raft_id).map_err(SeatError::from)?;
    }
    let seat = match (plan.begin, seat) {
        (Begin::Open, Some(seat)) => seat,
        _ => first_seat(config, &root, myself, conf.as_ref())?,
    };
    Ok(Opened {
        seat,
        myself,
        conf,
        root,
        lock,
        set_aside: plan.set_aside,
    })
}

fn first_seat(
    config: &Config,
    root: &RealDisk,
    myself: NodeId,
    conf: Option<&NodesConf>,
) -> Result<Seat, ClusterError> {
    let base = agent::birth(
        random_nonzero(),
        random_nonzero(),
        Record::founded(random_id(), myself),
        config.cluster_raft_election_timeout,
    );
    let log = log_config(config);
    folders::announce(root, base.raft_id)?;
    make_member(root, &log, &base)?;
    let seat = Seat::first(base.raft_id, conf, random_nonzero);
    seat.save(root)?;
    Ok(seat)
}

/// A member's folder with its base; durable when this returns. Its id must be new, and announced.
pub(super) fn make_member(
    root: &RealDisk,
    log: &LogConfig,
    base: &Base,
) -> Result<(), StorageError> {
    let path = root.folder().join(seat::folder(base.raft_id));
    let io = |source| StorageError::Io {
        action: "make the folder of",
        file: path.display().to_string(),
        source,
    };
    create_dir_durably(&path).map_err(io)?;
    Log::create(RealDisk::new(path), log.clone(), base)?;
    Ok(())
}

/// Starts the links and the witness thread; the shard is open already.
pub(in crate::node) fn start(
    config: &Config,
    opened: Opened,
    addresses: &[SocketAddr],
    waker: Arc<mio::Waker>,
    clock: SystemClock,
    logger: &slog::Logger,
) -> Result<(Box<Clustered>, Lock), NodeError> {
    let Opened {
        seat,
        myself,
        conf,
        root,
        lock,
        set_aside,
    } = opened;
    for raft_id in set_aside {
        let (from, to) = (seat::folder(raft_id), seat::lost(raft_id));
        slog::crit!(
            logger,
            "The folder {} is none that this node's seat names: it is now {}",
            from,
            to
        );
    }
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
    let listen = addresses
        .iter()
        .map(|address| SocketAddr::new(address.ip(), port));
    let links_config = links::Config {
        listen: listen.collect(),
        myself: Some(myself),
        passwords: link_passwords(config),
        ..links::Config::default()
    };
    let wake = Arc::clone(&waker);
    let links: Links =
        links::start(waker, links_config).map_err(|error| ClusterError::Listen(port, error))?;
    let hosted = Arc::new(AtomicUsize::new(0));
    let witness = Thread::start(
        root.folder(),
        links.orders(),
        Arc::clone(&hosted),
        clock,
        OsRng.next_u64(),
        logger.clone(),
    )?;
    let agent_config = AgentConfig {
        bus: bus_options(config),
        seed: OsRng.next_u64(),
        election_timeout_ms: config.cluster_raft_election_timeout,
        witness: config.cluster_raft_witness,
    };
    let vote = conf.as_ref().map_or(0, |c| c.last_vote_epoch);
    let agent = Agent::new(agent_config, seat, myself, conf.as_ref(), clock.now());
    let wake_up = move || {
        // It fails only if the loop's end is closed, and then nobody waits.
        let _ = wake.wake();
    };
    let clustered = Clustered {
        agent,
        links,
        root,
        conf: Conf::new(conf_path(config), vote, Arc::new(wake_up)),
        witness,
        hosted,
        backlog: VecDeque::new(),
        held: VecDeque::new(),
        led: (0, None),
        clock,
        unread: (Mono::default(), 0),
    };
    slog::info!(logger, "Node configuration loaded, I'm {}", myself);
    Ok((Box::new(clustered), lock))
}

/// What the Raft links ask and prove. Where only `requirepass` is set it is proved as well: the nodes
/// of a cluster have the same.
pub(in crate::node) fn link_passwords(config: &Config) -> Passwords {
    let own = match config.masterauth.as_str() {
        "" => &config.requirepass,
        masterauth => masterauth,
    };
    Passwords {
        asked: Password::new(config.requirepass.as_str()),
        own: Password::new(own),
    }
}

/// The bus's view of the configuration.
pub(in crate::node) fn bus_options(config: &Config) -> Options {
    let given = |port: u16| (port != 0).then_some(port);
    Options {
        node_timeout_ms: config.cluster_node_timeout,
        port: config.port,
        cport: config.bus_port(),
        announce_ip: (!config.cluster_announce_ip.is_empty())
            .then(|| config.cluster_announce_ip.clone()),
        announce_port: given(config.cluster_announce_port),
        announce_cport: given(config.cluster_announce_bus_port),
        hostname: config.cluster_announce_hostname.clone(),
        human_nodename: config.cluster_announce_human_nodename.clone(),
        require_full_coverage: config.cluster_require_full_coverage,
        no_failover: false,
        seed: OsRng.next_u64(),
    }
}
