//! Commands: one table of rows, one file for each family, and the one way through them.
//!
//! Reading order: [`spec`] (what a row says), [`table`], [`env`] (what a command runs in and what
//! comes of it), [`dispatch`] (admission in Redis's order), then the families: `string`, `generic`, `expiry`, `keys`, `transaction`, `pubsub`,
//! `cluster`, `server`.
//! What a command changes it changes through [`crate::state`]. Nothing here knows sockets or Raft. A family file holds its rows (`SPECS`) and its handlers,
//! whose signature is [`spec::Run`].

mod cluster;
pub mod dispatch;
pub mod env;
pub mod error;
mod expiry;
mod generic;
pub mod host;
mod keys;
pub mod latency;
mod markdown;
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

pub use dispatch::execute;
pub use env::{Block, BlockKind, Done, Env, Flow, Outcome, Serving, DONE};
pub use error::Error;
pub use host::{ClusterHost, Host};
pub use markdown::markdown;
pub use session::Session;
pub use stats::Stats;
pub use table::{table, Command};
