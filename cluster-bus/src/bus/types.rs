//! What goes into the bus and what comes out of it, as plain data. No behaviour.

use crate::{NodeId, ShardId, SlotSet};
/// Addresses only: the sockets of the standard library stay out of this crate.
pub use core::net::IpAddr;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A connection. The bus chooses the ids of outgoing ones (`Action::Connect`); the driver those of
/// incoming ones, which have the bit `INCOMING` set.
pub type LinkId = u64;

/// The bit that marks a link that the other side opened.
pub const INCOMING: LinkId = 1 << 63;

/// The time of a call. Timers run on `mono_ms`; `unix_ms` is for what others read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    pub mono_ms: u64,
    pub unix_ms: i64,
}

/// The configuration; it may be replaced at run time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    pub node_timeout_ms: u64,
    pub port: u16,
    pub cport: u16,
    pub announce_ip: Option<String>,
    pub announce_port: Option<u16>,
    pub announce_cport: Option<u16>,
    pub hostname: String,
    pub human_nodename: String,
    pub require_full_coverage: bool,
    /// `cluster-replica-no-failover`: only a flag that others see.
    pub no_failover: bool,
    /// Of the generator that picks nodes to ping and nodes to gossip about.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            node_timeout_ms: 15_000,
            port: 6379,
            cport: 16_379,
            announce_ip: None,
            announce_port: None,
            announce_cport: None,
            hostname: String::new(),
            human_nodename: String::new(),
            require_full_coverage: true,
            no_failover: false,
            seed: 0,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NodeRole {
    #[default]
    Master,
    Slave(NodeId),
}

/// This node as its shard's record has it. The bus spreads it and never decides it (S2, S4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SelfState {
    pub role: NodeRole,
    pub shard: ShardId,
    /// The shard's slots, also on a replica.
    pub slots: SlotSet,
    /// The shard's epoch, also on a replica.
    pub config_epoch: u64,
    pub offset: u64,
    pub migrating: Vec<(u16, NodeId)>,
    pub importing: Vec<(u16, NodeId)>,
    /// Slots that this node has given up for another one, which has not claimed them yet.
    pub given: BTreeMap<u16, NodeId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Debug,
    Verbose,
    Notice,
    Warning,
}

/// What the driver is to do. The order matters: what follows a `Save` may only be done when the
/// text is on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Connect {
        link: LinkId,
        ip: IpAddr,
        port: u16,
    },
    Send {
        link: LinkId,
        bytes: Arc<[u8]>,
    },
    Close {
        link: LinkId,
    },
    /// The new text of nodes.conf.
    Save(String),
    Publish {
        sharded: bool,
        channel: Vec<u8>,
        message: Vec<u8>,
    },
    /// Another shard claims slots of ours under a higher epoch (S3). Said again now and then until
    /// `set_self` comes without them or under a higher epoch.
    SlotsClaimed {
        by: NodeId,
        epoch: u64,
        slots: SlotSet,
    },
    /// Another master has our config epoch and this node must take a new one.
    EpochCollision {
        with: NodeId,
        epoch: u64,
    },
    /// The cluster's current epoch has risen to this.
    EpochSeen(u64),
    Log(Level, String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForgetError {
    #[error("Unknown node")]
    Unknown,
    #[error("I tried hard but I can't forget myself...")]
    Myself,
    #[error("Can't forget my master!")]
    MyMaster,
}

/// The kinds of messages in the order of their numbers, as CLUSTER INFO names them.
pub const MESSAGE_NAMES: [&str; 11] = [
    "ping",
    "pong",
    "meet",
    "fail",
    "publish",
    "auth-req",
    "auth-ack",
    "update",
    "mfstart",
    "module",
    "publishshard",
];

/// Messages by kind, indexed as `MESSAGE_NAMES`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub sent: [u64; MESSAGE_NAMES.len()],
    pub received: [u64; MESSAGE_NAMES.len()],
}

/// A connection of the bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub id: LinkId,
    /// The node that it leads to, if that is known; the temporary id while a handshake is under way.
    pub node: Option<NodeId>,
    /// The other end's address.
    pub peer: String,
    /// Our end's address; empty until the link is up.
    pub local: String,
    pub created_ms: u64,
    pub up: bool,
}

impl Link {
    pub fn incoming(&self) -> bool {
        self.id & INCOMING != 0
    }
}
