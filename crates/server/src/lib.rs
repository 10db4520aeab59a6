//! The server: clients, turns, execution, admission, messages, shutdown, and the node's part in the
//! cluster, sans-I/O.
//!
//! Owns every decision of the process and the order in which they are taken. Never: mio, tokio,
//! `std::fs`, `std::time`'s clocks, a thread. It is generic over what it runs on ([`Platform`]): the
//! node gives it real sockets, disks and threads, the simulator queues and a virtual clock, and both
//! do nothing but call [`Server::note`] and [`Server::step`].
//!
//! Reading order: [`platform`] the seam, `start` (from a disk to a server), [`turn`] (the order),
//! `execute` (one client's commands), `flush` (what leaves), `cron` (what is due without a command),
//! `longest` (how long a turn took), `clients` (how they come and go), `blocking` (commands that wait), `waiting` (those that wait for keys), `unread` (which clients are closed
//! for what they don't read), `state` (what commands may ask), `pubsub` (messages on their
//! way), `alone` (what it sends to other servers without a cluster), `clustered` (what a turn adds in one), `settings` (what CONFIG SET changes),
//! `saving` (when a snapshot is due), `snapshots` (what becomes of it), `reload` (DEBUG RELOAD), `downloads` (files for SYNC), `shutdown`.

mod alone;
mod blocking;
mod clients;
mod clustered;
mod cron;
mod downloads;
mod error;
mod execute;
mod flush;
mod import;
mod longest;
mod outgoing;
pub mod platform;
mod pubsub;
mod reload;
mod saving;
mod settings;
mod shutdown;
mod snapshots;
mod start;
mod state;
#[cfg(test)]
mod testing;
pub mod turn;
mod unread;
mod waiting;

pub use clustered::{Version, Versions};
pub use error::ServerError;
pub use platform::{ClusterPlatform, EndSignal, Platform};
pub use start::{ClusterSetup, Machine, Setup, Tuning};
pub use turn::{Pause, Phase, Progress, Server};
