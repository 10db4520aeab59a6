//! What a server runs on: sockets, a disk, threads, links to other nodes, the process.
//!
//! Owns the two traits between the server, which decides, and its driver, which does. The node
//! implements them with mio, tokio, threads and files; the simulator with queues, a simulated disk
//! and a virtual clock. Never: an order of calls; that is the server's.
//!
//! What the server relies on:
//! - no call waits, but for [`Platform::rest`], [`ClusterPlatform::save_conf`] and the folders;
//! - results, events and arrivals come in the order in which they happened;
//! - a clock never goes back.

use base::clock::{Clock, Mono};
use cluster::ForWitnesses;
use command::api::{CpuView, MemoryView};
use config::{Config, ConfigError, LogLevel};
use net::{Accepted, BindFailure, ConnId, Socket};
use std::io;
use std::time::Duration;
use storage::{Disk, Done, Folders, Job};
use transport::{Command, Event};

/// A signal that asks the process to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndSignal {
    Term,
    Int,
}

/// The clients' sockets, the storage thread, the process.
pub trait Platform {
    type Disk: Disk;
    type Folders: Folders<D = Self::Disk>;
    type Socket: Socket;
    type Clock: Clock + Clone;
    type Cluster: ClusterPlatform<Disk = Self::Disk>;

    // ---- clients --------------------------------------------------------------------------

    /// Whether a client may be at the door.
    fn has_arrivals(&self, now: Mono) -> bool;
    /// When to look for arrivals again although nothing happens.
    fn next_arrival(&self) -> Option<Mono>;
    /// Takes in clients, a bounded number. The error says why one could not be taken in; the rest
    /// is tried again later.
    fn accept(
        &mut self,
        now: Mono,
        keepalive: Duration,
        take: &mut dyn FnMut(Accepted<Self::Socket>),
    ) -> io::Result<()>;
    /// From now on the driver reports what happens on this socket under `key`.
    fn watch(&mut self, socket: &mut Self::Socket, key: ConnId) -> io::Result<()>;
    /// A client's file is free again.
    fn file_freed(&mut self);
    /// Listens as the configuration says, at these addresses only; the Unix socket stays.
    fn listen(&mut self, config: &Config) -> Result<(), BindFailure>;
    /// Makes room for `maxclients` as configured; for how many there is room, if for fewer.
    fn make_room(&mut self, config: &Config) -> Option<u32>;

    // ---- the storage thread ---------------------------------------------------------------

    fn submit(&mut self, job: Job<Self::Disk>);
    fn next_done(&mut self) -> Option<Done<Self::Disk>>;
    /// The shard is replaced: results of the log's jobs that were submitted until now never come.
    /// Calls are still made.
    fn replace_storage(&mut self) -> io::Result<()>;
    /// A job hangs and the process ends all the same: nothing waits for it any more.
    fn abandon_storage(&mut self);

    // ---- connections to other servers, outside a cluster ----------------------------------

    /// What has happened to one, in order.
    fn next_outgoing(&mut self) -> Option<Event>;
    /// Orders are carried out in their order.
    fn order_outgoing(&mut self, order: Command);

    // ---- the process ----------------------------------------------------------------------

    /// The folder `dir`.
    fn dir(&self, config: &Config) -> Self::Disk;
    /// The signal that has asked the process to end, if one did.
    fn asked_to_end(&self) -> Option<EndSignal>;
    /// It can't end: a signal may ask once more.
    fn end_failed(&mut self);
    /// Stands still, for a few milliseconds at most (DEBUG SLEEP).
    fn rest(&mut self, time: Duration);
    fn set_log_level(&mut self, level: LogLevel);
    fn rewrite_config(&mut self, config: &Config) -> Result<(), ConfigError>;
    fn memory(&self) -> MemoryView;
    fn allocator_report(&self) -> String;
    /// Gives memory that is not used back to the system; false if it can't.
    fn purge_memory(&mut self) -> bool;
    /// Once a second: a peak of memory between two INFOs is seen.
    fn sample_memory(&mut self);
    fn cpu(&self) -> CpuView;
    /// CPU time of the calling thread, the loop's. A system call: not for every turn.
    fn loop_cpu(&self) -> Duration;
}

/// The links to other nodes, the file nodes.conf, the thread of the hosted witnesses.
pub trait ClusterPlatform {
    type Disk: Disk;

    /// What has come on the links, in order.
    fn next_event(&mut self) -> Option<Event>;
    /// Orders are carried out in their order.
    fn order(&mut self, order: Command);
    fn tell_witnesses(&mut self, order: ForWitnesses);
    /// How many witnesses this node hosts.
    fn hosted_witnesses(&self) -> usize;

    /// The job that replaces nodes.conf; `vote` is the vote epoch in `text`.
    fn conf_job(&mut self, text: String, vote: u64) -> Job<Self::Disk>;
    /// What became of a conf job: its vote epoch, or why the file was not replaced.
    fn next_conf_saved(&mut self) -> Option<io::Result<u64>>;
    /// Replaces nodes.conf; durable when this returns (SAVECONFIG).
    fn save_conf(&mut self, text: &str) -> io::Result<()>;
    /// The file's name, for a line in the log.
    fn conf_name(&self) -> String;
}
