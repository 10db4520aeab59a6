//! The process proof: the real binary with kill -9, signals, damaged files, a full disk, many
//! clients and hostile bytes.
//!
//! `HOLDFAST_BIN` names another binary; tests that make no sense for a `redis-server` say so and
//! are skipped then. Nothing waits for a time to pass, only for a condition with a deadline, but
//! where the passing of time is what is tested.

mod blocking;
mod checks;
mod clients;
#[path = "../common/mod.rs"]
mod common;
mod config;
mod crash;
mod disk;
mod events;
mod hostile;
mod import;
mod lifecycle;
mod listening;
mod load;
mod migrate;
mod pubsub;
mod reload;
mod saving;
mod sync;
mod waiting;

use common::server::is_holdfast;
use common::skipped;

/// False, said loudly, when the binary under test is not ours.
fn ours_only(test: &str) -> bool {
    let ours = is_holdfast();
    if !ours {
        skipped(test, "the binary under test is not holdfast-server");
    }
    ours
}
