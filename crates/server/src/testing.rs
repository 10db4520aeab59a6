//! A platform in memory, for unit tests of the server's parts: nothing ever comes, nothing leaves.

use super::alone::Alone;
use super::blocking::Blocking;
use super::downloads::Downloads;
use super::platform::{ClusterPlatform, EndSignal, Platform};
use super::pubsub::PubSub;
use super::snapshots::Snapshots;
use super::start::{Machine, Tuning};
use super::state::{About, ServerState};
use base::clock::{Clock, Mono, Now};
use cluster::ForWitnesses;
use command::api::{CpuView, MemoryView};
use command::{table, Stats};
use config::{Config, ConfigError, LogLevel};
use net::{Accepted, BindFailure, ConnId, Slab, Socket};
use rand::rngs::StdRng;
use rand::SeedableRng;
use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use storage::{Done, Job, RealDisk, RealFolders};
use transport::{Command, Event};

/// A clock that stands still.
#[derive(Clone)]
pub struct Still;

impl Clock for Still {
    fn now(&self) -> Now {
        Now::default()
    }
}

/// A socket to which nobody writes, and which takes all that is written.
pub struct Nowhere;

impl Write for Nowhere {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Socket for Nowhere {
    fn recv(&mut self, _: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn is_at_end(&self) -> bool {
        false
    }

    fn local(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)))
    }

    fn fd(&self) -> i32 {
        0
    }
}

pub struct TestPlatform;

impl Platform for TestPlatform {
    type Disk = RealDisk;
    type Folders = RealFolders;
    type Socket = Nowhere;
    type Clock = Still;
    type Cluster = NoCluster;

    fn has_arrivals(&self, _: Mono) -> bool {
        false
    }

    fn next_arrival(&self) -> Option<Mono> {
        None
    }

    fn accept(
        &mut self,
        _: Mono,
        _: Duration,
        _: &mut dyn FnMut(Accepted<Nowhere>),
    ) -> io::Result<()> {
        Ok(())
    }

    fn watch(&mut self, _: &mut Nowhere, _: ConnId) -> io::Result<()> {
        Ok(())
    }

    fn file_freed(&mut self) {}

    fn listen(&mut self, _: &Config) -> Result<(), BindFailure> {
        Ok(())
    }

    fn make_room(&mut self, _: &Config) -> Option<u32> {
        None
    }

    fn submit(&mut self, _: Job<RealDisk>) {}

    fn next_done(&mut self) -> Option<Done<RealDisk>> {
        None
    }

    fn next_outgoing(&mut self) -> Option<Event> {
        None
    }

    fn order_outgoing(&mut self, _: Command) {}

    fn replace_storage(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn abandon_storage(&mut self) {}

    fn dir(&self, config: &Config) -> RealDisk {
        RealDisk::new(&config.dir)
    }

    fn asked_to_end(&self) -> Option<EndSignal> {
        None
    }

    fn end_failed(&mut self) {}

    fn rest(&mut self, _: Duration) {}

    fn set_log_level(&mut self, _: LogLevel) {}

    fn rewrite_config(&mut self, _: &Config) -> Result<(), ConfigError> {
        Ok(())
    }

    fn allocator_report(&self) -> String {
        String::new()
    }

    fn purge_memory(&mut self) -> bool {
        true
    }

    fn memory(&self) -> MemoryView {
        MemoryView::default()
    }

    fn sample_memory(&mut self) {}

    fn cpu(&self) -> CpuView {
        CpuView::default()
    }

    fn loop_cpu(&self) -> Duration {
        Duration::ZERO
    }
}

/// Nothing is told by, and nothing is told to, other nodes.
pub struct NoCluster;

impl ClusterPlatform for NoCluster {
    type Disk = RealDisk;

    fn next_event(&mut self) -> Option<Event> {
        None
    }

    fn order(&mut self, _: Command) {}

    fn tell_witnesses(&mut self, _: ForWitnesses) {}

    fn hosted_witnesses(&self) -> usize {
        0
    }

    fn conf_job(&mut self, _: String, _: u64) -> Job<RealDisk> {
        Job::Call(Box::new(|| {}))
    }

    fn next_conf_saved(&mut self) -> Option<io::Result<u64>> {
        None
    }

    fn save_conf(&mut self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn conf_name(&self) -> String {
        "nodes.conf".to_owned()
    }
}

/// The state of a server without clients and without a cluster.
pub fn state() -> ServerState<TestPlatform> {
    let mut rng = StdRng::seed_from_u64(1);
    ServerState {
        platform: TestPlatform,
        clock: Still,
        config: Config::default(),
        tuning: Tuning::default(),
        commands: table(),
        stats: Stats::new(table().all().len()),
        about: About::new(&mut rng, Now::default(), Machine::default()),
        logger: slog::Logger::root(slog::Discard, slog::o!()),
        raft_logger: slog::Logger::root(slog::Discard, slog::o!()),
        rng,
        active_expire: true,
        cron_paused: false,
        clients: Slab::new(),
        killed: Vec::new(),
        shutdown: None,
        changed: Vec::new(),
        pubsub: PubSub::default(),
        blocking: Blocking::default(),
        snapshots: Snapshots::new(Now::default()),
        downloads: Downloads::default(),
        reload: None,
        cluster: None,
        alone: Alone::default(),
    }
}
