//! Commands: one table of rows, one file for each family, and the one way through them.
//!
//! Reading order: [`spec`] and [`key_spec`] (what a row says), [`registry`] (from a name to a row),
//! [`env`] (what a command runs in and what comes of it), [`dispatch`] (admission in Redis's order)
//! and `call`, what handlers share (`rows`, `args`, `words`, `values`, `blocking`, `help`, [`digest`]), then the families:
//! `string`, `list`, `bitmap`, `hyperloglog`, `generic`, `sort`, `databases`, `dump`, `expiry`, `keys`, `transaction`,
//! `function`, `pubsub`, `cluster`, `server`, which [`table`] collects.
//!
//! What a command changes it changes through [`state`]. Nothing here knows sockets or Raft. A
//! family file holds its rows (`ROWS`) and its handlers, whose signature is [`env::Run`]. Families
//! know the core, never each other; of the core only [`table`] knows them. `tests/tidy.rs` checks
//! it, and that no two files here need each other.

pub mod api;
mod args;
mod arguments;
mod bitmap;
mod blocking;
mod call;
mod cluster;
mod condition;
mod databases;
pub mod digest;
pub mod dispatch;
mod dump;
pub mod env;
pub mod error;
mod expiry;
mod function;
mod gains;
mod generic;
mod geo;
mod hash;
mod help;
mod hyperloglog;
pub mod key_spec;
mod keys;
pub mod latency;
mod list;
mod loading;
mod long_double;
mod markdown;
mod members;
mod migrate;
mod motion;
mod pace;
mod pubsub;
pub mod registry;
pub mod room;
mod rows;
mod sample;
mod scan;
mod server;
pub mod session;
mod set;
mod sort;
pub mod spec;
pub mod stats;
mod string;
pub mod table;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod transaction;
mod upgrade;
mod values;
mod words;
mod zset;

pub use api::{ClusterApi, ServerApi};
pub use dispatch::execute;
pub use env::{Block, BlockKind, Command, Commands, Done, Env, Flow, Outcome, Serving, DONE};
pub use error::Error;
pub use markdown::markdown;
pub use session::Session;
pub use stats::Stats;
pub use table::table;
