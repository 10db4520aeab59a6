//! What a real server runs on: the kernel's sockets, the storage thread, this process.
//!
//! Owns them. Decides nothing: it does what the server asks for, and hands over what came.

use super::clock::SystemClock;
use super::cluster::RealCluster;
use super::system::{self, MemoryWatch};
use crate::log::Log;
use crate::process::{self, Shutdown};
use crate::sockets::{raise_open_files, Accepted, Listeners, OpenFiles, Registrar, Stream};
use base::clock::Mono;
use command::api::{CpuView, MemoryView};
use config::{Config, ConfigError, LogLevel};
use net::{BindFailure, ConnId};
use server::{EndSignal, Platform};
use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc::Receiver;
use std::sync::Arc;
use std::time::Duration;
use storage::{Done, Job, RealDisk, RealFolders, StorageThread};
use transport::{Command, Event, LinkId, Links, TransportConfig};

/// Connections to other servers that what every server keeps beside clients has files for.
const FEW_OUTGOING: u32 = 8;

pub struct RealPlatform {
    listeners: Listeners,
    /// Connections that there may be on the bus port; outside a cluster, to other servers.
    places: u32,
    registrar: Registrar,
    /// Connections to other servers, outside a cluster; their thread begins with the first one.
    outgoing: Option<Links>,
    outgoing_open: BTreeSet<LinkId>,
    /// Those that could not even be tried.
    outgoing_failed: VecDeque<Event>,
    storage: Option<StorageThread<RealDisk>>,
    results: Receiver<Done<RealDisk>>,
    signals: Shutdown,
    log: Log,
    logger: slog::Logger,
    memory: RefCell<MemoryWatch>,
}

impl RealPlatform {
    pub fn start(
        listeners: Listeners,
        places: u32,
        registrar: Registrar,
        signals: Shutdown,
        log: Log,
        logger: slog::Logger,
    ) -> io::Result<RealPlatform> {
        let (storage, results) = start_storage(registrar.waker())?;
        Ok(RealPlatform {
            listeners,
            places,
            registrar,
            outgoing: None,
            outgoing_open: BTreeSet::new(),
            outgoing_failed: VecDeque::new(),
            storage: Some(storage),
            results,
            signals,
            log,
            logger,
            memory: RefCell::new(MemoryWatch::start()),
        })
    }

    /// A client is at the door of this listener.
    pub fn note_listener(&mut self, n: usize) {
        self.listeners.note(n);
    }

    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.addresses()
    }

    pub fn unix_path(&self) -> Option<&Path> {
        self.listeners.unix_path()
    }

    fn outgoing(&mut self) -> io::Result<&Links> {
        let links = match self.outgoing.take() {
            Some(links) => links,
            None => transport::start(self.registrar.waker(), TransportConfig::default())?,
        };
        Ok(self.outgoing.insert(links))
    }

    /// Nobody is to find the Unix socket of a process that ends.
    pub fn remove_unix_file(&mut self) {
        if self.listeners.unix_path().is_none() {
            return;
        }
        slog::info!(self.logger, "Removing the unix socket file.");
        if let Err(error) = self.listeners.remove_unix_file() {
            slog::warn!(
                self.logger,
                "Error removing the unix socket file: {}",
                error
            );
        }
    }
}

fn start_storage(
    waker: Arc<mio::Waker>,
) -> io::Result<(StorageThread<RealDisk>, Receiver<Done<RealDisk>>)> {
    StorageThread::start(move || {
        // It fails only if the loop's end is closed, and then nobody waits.
        let _ = waker.wake();
    })
}

pub fn backlog(config: &Config) -> i32 {
    i32::try_from(config.tcp_backlog).unwrap_or(i32::MAX)
}

/// Listens as the configuration says; addresses that may be missing are logged.
pub fn bind(config: &Config, logger: &slog::Logger) -> Result<Listeners, BindFailure> {
    if config.port == 0 {
        return Ok(Listeners::default());
    }
    let bound = Listeners::bind(&config.bind, config.port, backlog(config))?;
    for skipped in &bound.skipped {
        slog::warn!(logger, "Not listening on {}", skipped);
    }
    Ok(bound.listeners)
}

impl Platform for RealPlatform {
    type Disk = RealDisk;
    type Folders = RealFolders;
    type Socket = Stream;
    type Clock = SystemClock;
    type Cluster = RealCluster;

    fn has_arrivals(&self, now: Mono) -> bool {
        self.listeners.has_work(now)
    }

    fn next_arrival(&self) -> Option<Mono> {
        self.listeners.next_deadline()
    }

    fn accept(
        &mut self,
        now: Mono,
        keepalive: Duration,
        take: &mut dyn FnMut(Accepted),
    ) -> io::Result<()> {
        self.listeners.accept(now, keepalive, take)
    }

    fn watch(&mut self, socket: &mut Stream, key: ConnId) -> io::Result<()> {
        self.registrar.register(socket, key)
    }

    fn file_freed(&mut self) {
        self.listeners.file_freed();
    }

    fn listen(&mut self, config: &Config) -> Result<(), BindFailure> {
        // The old sockets go first: old and new addresses may overlap.
        self.listeners.close_addresses();
        let bound = bind(config, &self.logger)?;
        let taken = self.listeners.take_addresses(bound, &self.registrar);
        taken.map_err(|error| BindFailure {
            address: config.bind.join(" "),
            port: config.port,
            step: "epoll_ctl",
            error,
        })
    }

    fn make_room(&mut self, config: &Config) -> Option<u32> {
        // The places of links were given out at the start.
        let reserved = process::reserved_beside(config, self.places);
        match raise_open_files(config.maxclients.into(), reserved.into()) {
            OpenFiles::Lowered { maxclients, .. } => u32::try_from(maxclients).ok(),
            OpenFiles::TooFew { .. } => Some(1),
            OpenFiles::Enough | OpenFiles::Raised { .. } | OpenFiles::Unknown { .. } => None,
        }
    }

    fn submit(&mut self, job: Job<RealDisk>) {
        if let Some(storage) = &self.storage {
            storage.submit(job);
        }
    }

    fn next_done(&mut self) -> Option<Done<RealDisk>> {
        self.results.try_recv().ok()
    }

    fn next_outgoing(&mut self) -> Option<Event> {
        let failed = self.outgoing_failed.pop_front();
        let event = failed.or_else(|| self.outgoing.as_mut()?.try_recv())?;
        if let Event::OutgoingClosed { link } = &event {
            self.outgoing_open.remove(link);
        }
        Some(event)
    }

    fn order_outgoing(&mut self, order: Command) {
        match &order {
            Command::OutgoingConnect { link, .. } => {
                let most = self.places.max(FEW_OUTGOING) as usize;
                if self.outgoing_open.len() >= most {
                    let event = Event::OutgoingClosed { link: *link };
                    return self.outgoing_failed.push_back(event);
                }
                self.outgoing_open.insert(*link);
            }
            Command::OutgoingClose { link } => {
                self.outgoing_open.remove(link);
            }
            _ => {}
        }
        match (self.outgoing(), order) {
            (Ok(links), order) => links.send(order),
            (Err(error), Command::OutgoingConnect { link, .. }) => {
                slog::warn!(self.logger, "Can't make connections: {}", error);
                self.outgoing_failed
                    .push_back(Event::OutgoingClosed { link });
            }
            (Err(_), _) => {}
        }
    }

    fn replace_storage(&mut self) -> io::Result<()> {
        let (storage, results) = start_storage(self.registrar.waker())?;
        self.results = results;
        let old = self.storage.replace(storage);
        // A disk that hangs must not stop the loop: the old thread ends by itself.
        std::thread::Builder::new()
            .name("hf-storage-end".to_owned())
            .spawn(move || drop(old))?;
        Ok(())
    }

    fn abandon_storage(&mut self) {
        // Its end would wait for the job that hangs.
        std::mem::forget(self.storage.take());
    }

    fn dir(&self, config: &Config) -> RealDisk {
        RealDisk::new(&config.dir)
    }

    fn asked_to_end(&self) -> Option<EndSignal> {
        self.signals.asked().map(|signal| match signal {
            process::Signal::Term => EndSignal::Term,
            process::Signal::Int => EndSignal::Int,
        })
    }

    fn end_failed(&mut self) {
        self.signals.forget();
    }

    fn rest(&mut self, time: Duration) {
        std::thread::sleep(time);
    }

    fn set_log_level(&mut self, level: LogLevel) {
        self.log.set_level(level);
    }

    fn rewrite_config(&mut self, config: &Config) -> Result<(), ConfigError> {
        config::rewrite::rewrite(config)
    }

    fn memory(&self) -> MemoryView {
        self.memory.borrow_mut().view()
    }

    fn allocator_report(&self) -> String {
        system::allocator_report()
    }

    fn purge_memory(&mut self) -> bool {
        system::purge()
    }

    fn sample_memory(&mut self) {
        self.memory.get_mut().sample();
    }

    fn cpu(&self) -> CpuView {
        system::cpu()
    }

    fn loop_cpu(&self) -> Duration {
        system::thread_cpu()
    }
}
