//! The thread of the witnesses that this node hosts (W2).

use crate::agent::witnesses::{Shelf, Witnesses};
use crate::agent::ForWitnesses;
use crate::clock::Clock;
use crate::links::{Order, Orders};
use crate::node::SystemClock;
use crate::storage::{LogConfig, RealDisk};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError, Sender};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// With no witness here there is nothing to do until somebody asks.
const IDLE: Duration = Duration::from_secs(3600);

/// Folders of witnesses in one folder.
pub struct RealShelf {
    root: PathBuf,
}

impl RealShelf {
    pub fn new(root: &Path) -> RealShelf {
        RealShelf {
            root: root.to_owned(),
        }
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.root)?.sync_all()
    }
}

impl Shelf for RealShelf {
    type D = RealDisk;

    fn folders(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                // A name that is not UTF-8 is none of ours.
                names.extend(entry.file_name().into_string());
            }
        }
        Ok(names)
    }

    fn folder(&self, name: &str) -> io::Result<RealDisk> {
        let path = self.root.join(name);
        match fs::create_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            created => created?,
        }
        self.sync()?;
        Ok(RealDisk::new(path))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let path = self.root.join(name);
        // Without its base it is nobody's, whatever a crash leaves of the rest.
        for file in [crate::storage::base::FILE] {
            match fs::remove_file(path.join(file)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed?,
            }
        }
        File::open(&path)?.sync_all()?;
        fs::remove_dir_all(&path)?;
        self.sync()
    }
}

/// The handle: dropping it ends the thread.
pub struct Thread {
    orders: Option<Sender<ForWitnesses>>,
    thread: Option<JoinHandle<()>>,
}

impl Thread {
    /// Opens the witnesses of `root` and starts the thread.
    pub fn start(
        root: &Path,
        links: Orders,
        hosted: Arc<AtomicUsize>,
        clock: SystemClock,
        seed: u64,
        logger: slog::Logger,
    ) -> io::Result<Thread> {
        let log = LogConfig {
            segment_size: 4 << 20,
            ..LogConfig::default()
        };
        let shelf = RealShelf::new(root);
        let (orders, queue) = channel();
        let thread = Builder::new()
            .name(crate::process::WITNESS_THREAD.to_owned())
            .spawn(move || {
                let opened = Witnesses::open(shelf, log, seed, clock.now(), logger.clone());
                match opened {
                    Ok(witnesses) => run(witnesses, &queue, &links, &hosted, clock),
                    Err(error) => slog::crit!(logger, "No witness can be hosted: {}", error),
                }
            })?;
        Ok(Thread {
            orders: Some(orders),
            thread: Some(thread),
        })
    }

    pub fn send(&self, order: ForWitnesses) {
        // A thread that could not start has said so.
        let _ = self.orders.as_ref().map(|orders| orders.send(order));
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // Only a panic makes this fail, and it has been printed.
            let _ = thread.join();
        }
    }
}

fn run(
    mut witnesses: Witnesses<RealShelf>,
    queue: &Receiver<ForWitnesses>,
    links: &Orders,
    hosted: &AtomicUsize,
    clock: SystemClock,
) {
    loop {
        let now = clock.now();
        let wait = witnesses.deadline();
        let wait = wait.map_or(IDLE, |at| at.since(now.mono));
        match queue.recv_timeout(wait) {
            Ok(order) => {
                let now = clock.now();
                witnesses.take(now, order);
                while let Ok(order) = queue.try_recv() {
                    witnesses.take(now, order);
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        witnesses.turn(clock.now());
        hosted.store(witnesses.len(), Ordering::Relaxed);
        for frame in witnesses.take_outgoing() {
            links.send(Order::frame(
                frame.to,
                frame.urgent,
                frame.back,
                frame.bytes,
            ));
        }
    }
}
