//! Commands: one table of rows, one file for each family, and the one way through them.
//!
//! Reading order: [`spec`] (what a row says), [`table`], [`env`] (what a command runs in and what
//! comes of it), [`dispatch`] (admission in Redis's order), [`data`] (the one door to the
//! keyspace), then the families: `string`, `generic`, `expiry`, `keys`, `transaction`, `pubsub`,
//! `cluster`, `server`.
//! [`apply`] is how followers carry out effects.
//!
//! Nothing here knows sockets or Raft. A family file holds its rows (`SPECS`) and its handlers,
//! whose signature is [`spec::Run`].

pub mod apply;
mod cluster;
pub mod data;
pub mod dispatch;
pub mod env;
pub mod error;
mod expiry;
mod generic;
pub mod glob;
pub mod host;
mod keys;
mod pubsub;
pub mod room;
pub mod server;
pub mod session;
pub mod spec;
pub mod stats;
mod string;
pub mod table;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
mod transaction;
mod watch;

pub use apply::{apply_unit, check_entry, check_unit, ApplyError};
pub use data::{Access, Data};
pub use dispatch::execute;
pub use env::{Block, Done, Env, Flow, Footprint, GateKind, Outcome, Serving, DONE};
pub use error::Error;
pub use host::{ClusterHost, Host};
pub use session::Session;
pub use stats::Stats;
pub use table::{table, Command};
