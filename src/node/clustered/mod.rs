//! The node in a cluster: thin drivers around [`crate::agent`].
//!
//! Owns the links to other nodes, the file nodes.conf, the witness thread. Decides nothing: frames
//! and packets go in, acts come out and are carried out in order.
//!
//! Reading order: `start` (files and threads), `drive` (what a turn adds), `replace` (another shard
//! under the same clients), `host` (CLUSTER's wishes), `conf` (nodes.conf), `witness` (the thread).

mod conf;
mod drive;
mod host;
mod replace;
mod start;
mod witness;

pub use start::ClusterError;
pub(super) use start::{bus_options, link_passwords, open_seat, start, Opened};

use crate::agent::Agent;
use crate::clock::Mono;
use crate::links::{Links, News};
use crate::node::SystemClock;
use crate::storage::RealDisk;
use conf::Conf;
use std::collections::VecDeque;
use std::sync::atomic::AtomicUsize;
use std::sync::Arc;

/// What a node has besides its shard when it is part of a cluster.
pub struct Clustered {
    pub agent: Agent,
    links: Links,
    /// The folder of the seat and of all members.
    root: RealDisk,
    conf: Conf,
    witness: witness::Thread,
    hosted: Arc<AtomicUsize>,
    /// T9: news that came while a command was running and may not be taken then.
    backlog: VecDeque<News>,
    /// Bus actions that wait for a vote to be on disk.
    held: VecDeque<cluster_bus::bus::Action>,
    /// Term and leader, as the log was told.
    led: (u64, Option<u64>),
    clock: SystemClock,
    /// When the second began in which so many lines were said about frames that can't be read.
    unread: (Mono, u32),
}
