//! Holdfast: a Redis Cluster in which an `OK` is a promise.
//!
//! Reading order (a request travels through the folders in this order):
//! [`net`] bytes in and gated bytes out, [`resp`] the protocol, [`command`] the table and the
//! families, [`state`] the replicated state machine: [`keyspace`] the data, [`effect`] what a write
//! becomes; [`shard`] one turn around all of it, [`raft`] the group, [`storage`] the log;
//! [`topology`] the shard among others, [`cluster`] this node's part among them, [`transport`] the
//! connections to other nodes, [`pubsub`] which client listens to what; [`config`], [`log`] and
//! [`process`] serve everybody; [`server`] has the turn around it all, and [`node`] drives it with sockets,
//! threads and files. `docs/ARCHITECTURE.md` has the picture.
//!
//! Knowledge goes one way: `resp`, `keyspace`, `effect`, `state`, `raft`, `storage` know nobody above them.

pub mod cluster;
pub mod command;
pub mod log;
pub mod net;
pub mod node;
pub mod process;
pub mod pubsub;
pub mod server;
pub mod shard;
pub mod version;

pub use base::{clock, glob, ids, mutation};
pub use {config, effect, keyspace, raft_group as raft, resp, state, storage, topology, transport};
