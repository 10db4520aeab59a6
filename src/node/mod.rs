//! The node: one thread that drives a shard and its clients, and the threads that serve it.
//!
//! Owns sockets, the clock, the storage thread, and the order in which they are looked at. Decides
//! nothing about data, elections or what may be answered: that is `command`, `raft`, `shard`.
//!
//! Reading order: [`turn`] (the loop), `visit` (one client's commands), `flush` (what leaves),
//! `cron` (what is due without anybody asking), `host` (what commands may ask), `pubsub` and
//! `outbound` (messages on their way), `settings` (what
//! CONFIG SET changes), `shutdown`.

mod client;
mod clock;
mod clustered;
mod cron;
mod flush;
mod host;
mod outbound;
mod pubsub;
mod settings;
mod shutdown;
mod start;
mod turn;
mod visit;

pub use clock::SystemClock;

use crate::process::Launch;
use std::process::ExitCode;

/// Runs until the process is asked to end.
pub fn run(launch: Launch) -> ExitCode {
    let logger = launch.logger.clone();
    let mut node = match start::start(launch) {
        Ok(node) => node,
        Err(error) => {
            slog::crit!(logger, "{}", error);
            return ExitCode::FAILURE;
        }
    };
    match node.turns() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // What was not acknowledged may be lost, nothing else: the log decides at the restart.
            slog::crit!(logger, "Fatal: {}", error);
            node.give_up_seat(&error);
            ExitCode::FAILURE
        }
    }
}
