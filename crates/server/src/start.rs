//! From a configuration and a disk to a server that is ready for its first turn.
//!
//! Owns the order in which identity, members and log come to be, or are found, on the disk (S4, G1,
//! D2). Never: a path, a socket or a thread; those are the driver's.

use super::alone::Alone;
use super::blocking::Blocking;
use super::clustered::{bus_options, cluster_options, link_passwords, Clustered};
use super::downloads::Downloads;
use super::error::ServerError;
use super::import::Import;
use super::platform::{ClusterPlatform, Platform};
use super::pubsub::PubSub;
use super::snapshots::Snapshots;
use super::state::{About, ServerState};
use super::turn::Server;
use base::build::Build;
use base::clock::{Clock, Now};
use base::ids::{GroupId, Incarnation, RaftId};
use cluster::folders::{announce, decide, Begin, Found};
use cluster::identity::{self, NodeIdentity};
use cluster::{self, Cluster, ClusterConfig};
use cluster_bus::bus::{self, Bus};
use cluster_bus::nodes_conf::{self, NodesConf};
use cluster_bus::{NodeId, ShardId};
use command::{table, Stats};
use config::{AppendFsync, Config};
use keyspace::{Layout, Limits};
use net::Slab;
use raft::eraftpb::ConfState;
use raft_group::DEFAULT_KEEP_BYTES;
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use shard::{bootstrap, Opening, Shard, ShardConfig, ShardError, Sizes, SyncPolicy};
use slog::Logger;
use std::time::Duration;
use storage::base::FILE as BASE;
use storage::{Base, Disk, Folders, Log, LogConfig, MemberIdentity, SnapshotMeta};
use topology::Record;
use transport::Command;

/// What a server is started with.
pub struct Setup<P: Platform> {
    pub config: Config,
    pub platform: P,
    pub clock: P::Clock,
    /// The folder of the log, or of the logs of a node in a cluster.
    pub folders: P::Folders,
    /// With `cluster-enabled yes`.
    pub cluster: Option<ClusterSetup<P>>,
    pub seed: u64,
    /// Of the machine or its control group.
    pub memory_bytes: usize,
    pub about: Machine,
    pub tuning: Tuning,
    pub logger: Logger,
    /// What raft-rs writes to.
    pub raft_logger: Logger,
}

/// Sizes that no directive sets; the simulator makes them small, so that small values cross them.
#[derive(Clone, Debug)]
pub struct Tuning {
    /// The segment size of it is the configuration's.
    pub log: LogConfig,
    /// Bytes of applied entries that stay in memory for followers.
    pub keep_bytes: usize,
    pub sizes: Sizes,
}

impl Default for Tuning {
    fn default() -> Tuning {
        Tuning {
            log: LogConfig::default(),
            keep_bytes: DEFAULT_KEEP_BYTES,
            sizes: Sizes::default(),
        }
    }
}

pub struct ClusterSetup<P: Platform> {
    pub io: P::Cluster,
    /// What nodes.conf holds; nothing: there is no such file.
    pub conf: Vec<u8>,
}

/// What INFO tells of the machine, and of the program and its place on it.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    pub build: Build,
    /// `no`, `systemd` or `upstart`.
    pub supervised: &'static str,
    pub os: String,
    pub executable: String,
}

/// What a member is opened with beside the configuration.
pub(super) struct MemberSetup<'a> {
    pub config: &'a Config,
    pub tuning: &'a Tuning,
    pub seed: u64,
    pub raft_logger: &'a Logger,
    /// Whether this member was the master before the restart (E2).
    pub first: bool,
}

impl<'a> MemberSetup<'a> {
    /// For the member that the node's start finds, or founds.
    fn first(
        config: &'a Config,
        tuning: &'a Tuning,
        raft_logger: &'a Logger,
        rng: &mut StdRng,
    ) -> MemberSetup<'a> {
        MemberSetup {
            config,
            tuning,
            seed: rng.next_u64(),
            raft_logger,
            first: true,
        }
    }

    fn log_config(&self) -> LogConfig {
        LogConfig {
            segment_size: self.config.log_segment_size,
            ..self.tuning.log.clone()
        }
    }

    fn shard_config(&self) -> ShardConfig {
        let config = self.config;
        ShardConfig {
            layout: if config.cluster_enabled {
                Layout::Cluster
            } else {
                Layout::Single {
                    databases: config.databases,
                }
            },
            limits: limits(config),
            seed: self.seed,
            sync: sync_policy(config),
            outcome_timeout: outcome_timeout(config),
            tail_limit: config.uncommitted_tail_limit,
            keep_bytes: self.tuning.keep_bytes,
            sizes: self.tuning.sizes,
            log: self.log_config(),
            first: self.first,
        }
    }
}

impl<P: Platform> Server<P> {
    /// Opens what is on the disk, or founds it.
    pub fn start(setup: Setup<P>) -> Result<Server<P>, ServerError> {
        let Setup {
            config,
            platform,
            clock,
            folders,
            cluster,
            seed,
            memory_bytes,
            about,
            tuning,
            logger,
            raft_logger,
        } = setup;
        let member = |rng: &mut StdRng| MemberSetup::first(&config, &tuning, &raft_logger, rng);
        let mut rng = StdRng::seed_from_u64(seed);
        let now = clock.now();
        let import = Import::look(&config, &platform, now, &logger)?;
        let (shard, cluster) = match cluster {
            None => {
                let setup = member(&mut rng);
                (alone(&folders, setup, import, now, &mut rng)?, None)
            }
            Some(cluster) => {
                let setup = member(&mut rng);
                let opened = open_identity(&setup, &folders, cluster, &mut rng, &logger)?;
                let (shard, cluster) = join_up(setup, opened, import, &clock, &mut rng)?;
                (shard, Some(Box::new(cluster)))
            }
        };
        let took = clock.now().mono.since(now.mono);
        slog::info!(
            logger,
            "Log recovered: {} entries in {:.3} seconds",
            shard.log().last_index() - shard.snapshot_meta().index,
            took.as_secs_f64()
        );
        let state = ServerState {
            platform,
            clock,
            commands: table(),
            stats: Stats::new(table().all().len()),
            about: About::new(&mut rng, now, about),
            logger,
            raft_logger,
            rng,
            active_expire: true,
            cron_paused: false,
            clients: Slab::new(),
            killed: Vec::new(),
            shutdown: None,
            changed: Vec::new(),
            pubsub: PubSub::default(),
            blocking: Blocking::default(),
            snapshots: Snapshots::new(now),
            downloads: Downloads::default(),
            reload: None,
            cluster,
            alone: Alone::default(),
            config,
            tuning,
        };
        Ok(Server::assemble(shard, state, memory_bytes))
    }
}

/// The shard of a node with `cluster-enabled no`: its log lies in the folder itself.
fn alone<F: Folders>(
    folders: &F,
    setup: MemberSetup<'_>,
    import: Import<'_, F::D>,
    now: Now,
    rng: &mut StdRng,
) -> Result<Shard<F::D>, ServerError> {
    let disk = folders.own();
    identity::refuse_older(&disk)?;
    if disk.list()?.iter().any(|name| name == identity::FILE) {
        return Err(ServerError::OtherMode(folders.place("."), "yes"));
    }
    bootstrap(
        disk.clone(),
        setup.log_config(),
        &bootstrap_base(setup.config, rng),
    )?;
    let opening = import.into_member(Opening::open(disk, setup.shard_config())?)?;
    Ok(Shard::of(opening, now, setup.raft_logger)?)
}

// ---- a node of a cluster ----------------------------------------------------------------------

/// What is known before the shard is opened.
struct Opened<P: Platform> {
    identity: NodeIdentity,
    myself: NodeId,
    conf: Option<NodesConf>,
    folders: P::Folders,
    io: P::Cluster,
}

/// Reads nodes.conf and the identity; a node that has no group on disk founds one, or comes up
/// joining the shard that nodes.conf names (S4).
fn open_identity<P: Platform>(
    setup: &MemberSetup<'_>,
    folders: &P::Folders,
    cluster: ClusterSetup<P>,
    rng: &mut StdRng,
    logger: &Logger,
) -> Result<Opened<P>, ServerError> {
    let ClusterSetup { mut io, conf } = cluster;
    let config = setup.config;
    let root = folders.own();
    refuse_other_versions(folders)?;
    let conf = parse_conf(&io.conf_name(), &conf)?;
    if root.list()?.iter().any(|name| name == BASE) {
        return Err(ServerError::OtherMode(folders.place("."), "no"));
    }
    let mine = conf.as_ref().and_then(NodesConf::myself);
    let myself = mine.map_or_else(|| NodeId(random_name(rng)), |line| line.id);
    if mine.is_none() {
        // G5: the name is on disk before anything is born under it; after a crash between the two
        // the group would name a node that is nobody.
        let bus = Bus::new(bus_options(config, rng), myself, None, bus::Now::default());
        io.save_conf(&bus.conf().render())
            .map_err(|source| ServerError::Conf {
                name: io.conf_name(),
                source,
            })?;
    }
    let identity = match settle_folders(folders, logger)? {
        Some(identity) => identity,
        None => first_identity(setup, folders, myself, conf.as_ref(), rng)?,
    };
    Ok(Opened {
        identity,
        myself,
        conf,
        folders: folders.clone(),
        io,
    })
}

/// What another build wrote is refused before anything is changed.
fn refuse_other_versions<F: Folders>(folders: &F) -> Result<(), ServerError> {
    let root = folders.own();
    identity::refuse_older(&root)?;
    let Some(identity) = NodeIdentity::load(&root)? else {
        return Ok(());
    };
    let name = identity::folder(identity.member);
    if root.list()?.contains(&name) {
        let member = folders.folder(&name)?;
        Base::load(&member).map_err(|why| ServerError::Member(folders.place(&name), why))?;
    }
    Ok(())
}

fn parse_conf(name: &str, bytes: &[u8]) -> Result<Option<NodesConf>, ServerError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(bytes);
    let parsed = nodes_conf::parse(&text).map_err(|source| ServerError::DamagedConf {
        name: name.to_owned(),
        source,
    })?;
    Ok(Some(parsed))
}

fn first_identity<F: Folders>(
    setup: &MemberSetup<'_>,
    folders: &F,
    myself: NodeId,
    conf: Option<&NodesConf>,
    rng: &mut StdRng,
) -> Result<NodeIdentity, ServerError> {
    let mut record = Record::founded(ShardId(random_name(rng)), myself);
    record.moves.features = setup.config.cluster_feature_bits; // M9
    let base = cluster::bootstrap_base(
        GroupId(random_nonzero(rng)),
        RaftId(random_nonzero(rng)),
        record,
        setup.config.cluster_raft_election_timeout,
    );
    make_member(folders, setup, &base)?;
    let identity = NodeIdentity::first(base.identity.raft_id, conf, || RaftId(random_nonzero(rng)));
    identity.save(&folders.own())?;
    Ok(identity)
}

/// A member's folder with its base; durable when this returns. Its id must be new.
pub(super) fn make_member<F: Folders>(
    folders: &F,
    setup: &MemberSetup<'_>,
    base: &Base,
) -> Result<(), ServerError> {
    let root = folders.own();
    // S4: the identity has room for one folder that may go, and the last one may not have gone yet.
    if let Some(spare) = NodeIdentity::load(&root)?.and_then(|identity| identity.spare) {
        folders.remove(&identity::folder(spare))?;
    }
    announce(&root, base.identity.raft_id)?;
    let folder = folders.folder(&identity::folder(base.identity.raft_id))?;
    Log::create(folder, setup.log_config(), base)?;
    Ok(())
}

/// S4: removes, sets aside, or refuses the folders of members as they are found. Returns the
/// identity that is to be opened; none: the node founds a group.
fn settle_folders<F: Folders>(
    folders: &F,
    logger: &Logger,
) -> Result<Option<NodeIdentity>, ServerError> {
    let root = folders.own();
    let identity = NodeIdentity::load(&root)?;
    let found = Found::look(&root, |name| folders.folder(name))?;
    let refused = |why| ServerError::Folders(folders.place("."), why);
    let plan = decide(&found, identity.as_ref()).map_err(refused)?;
    for raft_id in plan.remove {
        folders.remove(&identity::folder(raft_id))?;
    }
    for raft_id in plan.set_aside {
        let (from, to) = (identity::folder(raft_id), identity::lost(raft_id));
        folders.rename(&from, &to)?;
        slog::crit!(
            logger,
            "The folder {} is none that this node's identity names: it is now {}",
            from,
            to
        );
    }
    Ok(identity.filter(|_| plan.begin == Begin::Open))
}

/// Opens the member, and makes the node's part in the cluster around it.
fn join_up<P: Platform>(
    setup: MemberSetup<'_>,
    opened: Opened<P>,
    mut import: Import<'_, P::Disk>,
    clock: &P::Clock,
    rng: &mut StdRng,
) -> Result<(Shard<P::Disk>, Clustered<P>), ServerError> {
    let Opened {
        identity,
        mut myself,
        mut conf,
        folders,
        mut io,
    } = opened;
    let (config, logger) = (setup.config, import.logger);
    let disk = folders.folder(&identity::folder(identity.member))?;
    let others = conf.as_ref().map_or(0, |conf| {
        conf.nodes.iter().filter(|n| n.id != myself).count()
    });
    import.in_cluster(config, others > 0 || identity.joining.is_some());
    let opening = import.into_member(Opening::open(disk, setup.shard_config())?)?;
    let shard = Shard::of(opening, clock.now(), setup.raft_logger)?;
    // S4: the name by which the group knows this node is the one that the others reach it by. A
    // crash between the identity and nodes.conf (the first start, RESET HARD) leaves another there.
    let member = shard.group().membership().member(identity.member);
    if let Some(name) = member.map(|m| m.node).filter(|name| *name != myself) {
        myself = name;
        conf = None;
    }
    io.order(Command::Passwords(link_passwords(config)));
    io.order(Command::Myself(myself));
    let cluster_config = ClusterConfig {
        options: cluster_options(config, rng),
        seed: rng.next_u64(),
        election_timeout_ms: config.cluster_raft_election_timeout,
    };
    let vote = conf.as_ref().map_or(0, |c| c.last_vote_epoch);
    let mut core = Cluster::new(cluster_config, identity, myself, conf.as_ref(), clock.now());
    core.show_first(&shard);
    slog::info!(logger, "Node configuration loaded, I'm {}", myself);
    Ok((
        shard,
        Clustered::new(core, io, clock.clone(), folders, vote),
    ))
}

// ---- members ----------------------------------------------------------------------------------

/// Opens the member whose folder this is.
pub(super) fn open_member<D: Disk>(
    disk: D,
    setup: MemberSetup<'_>,
    now: Now,
) -> Result<Shard<D>, ServerError> {
    let opened = Shard::open(disk, setup.shard_config(), now, setup.raft_logger);
    opened.map_err(|error: ShardError| error.into())
}

/// How large containers get before they take another form.
pub(super) fn limits(config: &Config) -> Limits {
    Limits {
        hash_entries: config.containers.hash_entries,
        hash_value: config.containers.hash_value,
        set_ints: config.containers.set_ints,
        set_entries: config.containers.set_entries,
        set_value: config.containers.set_value,
        zset_entries: config.containers.zset_entries,
        zset_value: config.containers.zset_value,
        list_size: config.containers.list_size,
        ..Limits::default()
    }
}

pub(super) fn sync_policy(config: &Config) -> SyncPolicy {
    match config.appendfsync {
        AppendFsync::Always => SyncPolicy::Always,
        AppendFsync::Everysec => SyncPolicy::EverySecond,
        AppendFsync::No => SyncPolicy::No,
    }
}

pub(super) fn outcome_timeout(config: &Config) -> Duration {
    Duration::from_millis(config.cluster_outcome_timeout)
}

/// The bootstrap record of a group of one outside a cluster (G1); ids are random and never zero (G2).
fn bootstrap_base(config: &Config, rng: &mut StdRng) -> Base {
    let raft_id = RaftId(random_nonzero(rng));
    Base {
        identity: MemberIdentity {
            group: GroupId(random_nonzero(rng)),
            incarnation: Incarnation(1),
            raft_id,
            election_timeout_ms: config.cluster_raft_election_timeout,
            ..MemberIdentity::default()
        },
        snapshot: SnapshotMeta {
            index: 1,
            term: 1,
            conf_state: ConfState {
                voters: vec![raft_id.0],
                ..ConfState::default()
            },
            members: Vec::new(),
            ..SnapshotMeta::default()
        },
        start: None,
    }
}

fn random_name(rng: &mut StdRng) -> [u8; 20] {
    let mut name = [0; 20];
    rng.fill_bytes(&mut name);
    name
}

fn random_nonzero(rng: &mut StdRng) -> u64 {
    loop {
        let id = rng.next_u64();
        if id != 0 {
            return id;
        }
    }
}
