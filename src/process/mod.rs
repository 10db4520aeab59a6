//! The shell around the server: background, folder, locks, pidfile, signals, last words.
//!
//! Owns what is done once per process before and after [`crate::node::run`]. Knows no socket, no
//! data and no Raft. Order matters and is in `main`: fork before the first thread, lock before
//! anything in the folder is read.

mod about;
mod daemon;
mod lock;
mod panic;
mod signals;
mod supervisor;

#[cfg(test)]
mod tests;

pub use about::{banner, usage, version};
pub use daemon::{
    daemonize, detach_stdin, harden_umask, raise_for_bus, raise_for_outgoing, reserved_beside,
    reserved_files, PidFile,
};
pub use lock::{lock_dir, lock_file, Lock, LockError};
pub use panic::{die_on_panic, WITNESS_THREAD};
pub use signals::{ignore_hangup_and_failed_writes, Shutdown, Signal};
pub use supervisor::Supervisor;

use crate::log::Log;
use config::Config;

/// What the process hands to the node that it runs.
pub struct Launch {
    pub config: Config,
    pub logger: slog::Logger,
    pub log: Log,
    /// Says when the process was asked to end.
    pub shutdown: Shutdown,
    /// Is to be told when clients can connect, and when the server begins to end.
    pub supervisor: Supervisor,
    /// Held as long as the log's folder is in use.
    pub lock: Lock,
}
