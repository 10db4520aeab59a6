//! The server in a cluster: what [`cluster`] asks for is carried out, in order.
//!
//! Owns the file nodes.conf's text to come, what waits for it, what came on the links and was not
//! taken yet. Decides nothing about membership or the bus: frames and packets go in, outputs come out.
//!
//! Reading order: `drive` (what a turn adds), `replace` (another shard under the same clients),
//! `api` (CLUSTER's requests), `failover` (what the log tells of one), `conf` (nodes.conf).

mod api;
mod conf;
mod drive;
mod failover;
mod replace;

pub(super) use conf::{Conf, Spoken};
pub use conf::{Version, Versions};

use super::error::ServerError;
use super::platform::Platform;
use base::clock::Mono;
use base::ids::RaftId;
use cluster::identity::NodeIdentity;
use cluster::{Cluster, ClusterOptions};
use cluster_bus::bus::Options;
use cluster_bus::NodeId;
use config::{Config, EndpointType};
use rand::rngs::StdRng;
use rand::RngCore;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use storage::Base;
use topology::{PreferredEndpoint, Record};
use transport::{Event, Password, Passwords, Seldom};

/// A step that a full disk delays. Each identity contains the earlier ones: the newest counts.
enum PutOff {
    /// The identity is written.
    Identity(NodeIdentity),
    /// The member is made, and the identity names it.
    Member(Box<Base>, NodeIdentity),
}

/// What a node has besides its shard when it is part of a cluster.
pub struct Clustered<P: Platform> {
    pub core: Cluster,
    pub(super) io: P::Cluster,
    clock: P::Clock,
    /// The folder of the identity and of all members.
    folders: P::Folders,
    conf: Conf,
    /// T9: events that came while a command was running and may not be taken then.
    backlog: VecDeque<Event>,
    backlog_bytes: usize,
    /// When it breathed last.
    breathed: Mono,
    /// The last drain of the links stopped at its bound.
    more: bool,
    /// Bus actions that wait for a vote, or a node that was met, to be on disk.
    held: VecDeque<cluster_bus::bus::Action>,
    /// D5: what waits for room on the disk, and until when it is left alone.
    put_off: Option<(Mono, PutOff)>,
    /// D5: the identity could not be written, nor is it known what the disk has of it: the process ends.
    identity_lost: Option<ServerError>,
    /// Term and leader, as the log was told.
    led: (u64, Option<RaftId>),
    /// The log was told that the shard has no quorum.
    told_no_quorum: bool,
    /// Nodes whose Raft link was lost and does not stand again.
    cut_off: BTreeSet<NodeId>,
    /// When the second began in which so many lines were said about frames that can't be read.
    unread: (Mono, u32),
    said: Seldom,
    /// The record that [`Self::tell_master`] has seen.
    seen: Option<Arc<Record>>,
}

impl<P: Platform> Clustered<P> {
    pub(super) fn new(
        core: Cluster,
        io: P::Cluster,
        clock: P::Clock,
        folders: P::Folders,
        saved_vote: u64,
    ) -> Clustered<P> {
        Clustered {
            core,
            io,
            clock,
            folders,
            conf: Conf::new(saved_vote),
            backlog: VecDeque::new(),
            backlog_bytes: 0,
            breathed: Mono::default(),
            more: false,
            held: VecDeque::new(),
            put_off: None,
            identity_lost: None,
            led: (0, None),
            told_no_quorum: false,
            cut_off: BTreeSet::new(),
            unread: (Mono::default(), 0),
            said: Seldom::default(),
            seen: None,
        }
    }

    /// Whether the Raft link to a node was lost and does not stand again.
    pub(super) fn is_cut_off(&self, node: NodeId) -> bool {
        self.cut_off.contains(&node)
    }
}

/// What the Raft links ask and prove. Where only `requirepass` is set it is proved as well: the nodes
/// of a cluster have the same.
pub(super) fn link_passwords(config: &Config) -> Passwords {
    let own = match config.masterauth.as_str() {
        "" => &config.requirepass,
        masterauth => masterauth,
    };
    Passwords {
        asked: Password::new(config.requirepass.as_str()),
        own: Password::new(own),
    }
}

/// The cluster core's view of the configuration.
pub(super) fn cluster_options(config: &Config, rng: &mut StdRng) -> ClusterOptions {
    ClusterOptions {
        bus: bus_options(config, rng),
        witness: config.cluster_raft_witness,
        features: config.cluster_feature_bits,
        follows_slots: config.cluster_allow_replica_migration,
        preferred: match config.cluster_preferred_endpoint_type {
            EndpointType::Ip => PreferredEndpoint::Ip,
            EndpointType::Hostname => PreferredEndpoint::Hostname,
            EndpointType::Unknown => PreferredEndpoint::Unknown,
        },
        snapshot_rate: config.repl_snapshot_rate,
        requirepass: config.requirepass.clone(),
    }
}

/// The bus's view of the configuration.
pub(super) fn bus_options(config: &Config, rng: &mut StdRng) -> Options {
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
        seed: rng.next_u64(),
    }
}
