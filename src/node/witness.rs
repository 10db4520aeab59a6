//! The thread of the witnesses that this node hosts (W2).
//!
//! Owns the thread and its queue, which has a limit in bytes: what is above it is dropped, since Raft
//! repeats. Decides nothing: `cluster::witnesses` does.

use crate::node::SystemClock;
use base::clock::Clock;
use cluster::witnesses::Witnesses;
use cluster::ForWitnesses;
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError, Sender};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};
use storage::{LogConfig, RealFolders};
use transport::{Command, Orders};

/// With no witness here there is nothing to do until somebody asks.
const IDLE: Duration = Duration::from_secs(3600);
/// Bytes of frames that the thread may have before it.
const QUEUE_BYTES: usize = 64 << 20;

/// A disk that hangs would keep the process for ever: the thread's last sync is waited for so long.
/// What it would have made durable was acknowledged to nobody.
const LAST_SYNC: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// What the thread begins with.
pub struct Setup {
    pub folders: RealFolders,
    /// D5: bytes of the disk that are kept free of log.
    pub kept: Arc<AtomicU64>,
    pub clock: SystemClock,
    pub seed: u64,
    pub logger: slog::Logger,
}

/// The handle: dropping it ends the thread.
pub struct Thread {
    orders: Option<Sender<ForWitnesses>>,
    /// Bytes of frames in the queue.
    queued: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Thread {
    /// Opens the witnesses in the folders and starts the thread.
    pub fn start(setup: Setup, links: Orders, hosted: Arc<AtomicUsize>) -> io::Result<Thread> {
        let Setup {
            folders,
            kept,
            clock,
            seed,
            logger,
        } = setup;
        let log = LogConfig {
            segment_size: 4 << 20,
            kept,
            ..LogConfig::default()
        };
        let (orders, queue) = channel();
        let queued = Arc::new(AtomicUsize::new(0));
        let taken = Arc::clone(&queued);
        let thread = Builder::new()
            .name(crate::process::WITNESS_THREAD.to_owned())
            .spawn(move || {
                let opened = Witnesses::open(folders, log, seed, clock.now(), logger.clone());
                match opened {
                    Ok(witnesses) => {
                        run(witnesses, &Queue { queue, taken }, &links, &hosted, clock)
                    }
                    Err(error) => slog::crit!(logger, "No witness can be hosted: {}", error),
                }
            })?;
        Ok(Thread {
            orders: Some(orders),
            queued,
            thread: Some(thread),
        })
    }

    /// Never waits.
    pub fn send(&self, order: ForWitnesses) {
        let bytes = order.weight();
        if bytes > 0 && self.queued.load(Ordering::SeqCst) > QUEUE_BYTES {
            return;
        }
        self.queued.fetch_add(bytes, Ordering::SeqCst);
        // A thread that could not start has said so.
        let _ = self.orders.as_ref().map(|orders| orders.send(order));
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.orders = None;
        let Some(thread) = self.thread.take() else {
            return;
        };
        let end = Instant::now() + LAST_SYNC;
        while !thread.is_finished() {
            if Instant::now() >= end {
                return; // its disk hangs: it ends with the process
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        // Only a panic makes this fail, and it has been printed.
        let _ = thread.join();
    }
}

/// The thread's end of the queue.
struct Queue {
    queue: Receiver<ForWitnesses>,
    taken: Arc<AtomicUsize>,
}

impl Queue {
    fn note(&self, order: ForWitnesses) -> ForWitnesses {
        self.taken.fetch_sub(order.weight(), Ordering::SeqCst);
        order
    }

    fn wait(&self, time: Duration) -> Result<ForWitnesses, RecvTimeoutError> {
        self.queue.recv_timeout(time).map(|order| self.note(order))
    }

    fn next(&self) -> Option<ForWitnesses> {
        self.queue.try_recv().ok().map(|order| self.note(order))
    }
}

fn run(
    mut witnesses: Witnesses<RealFolders>,
    queue: &Queue,
    links: &Orders,
    hosted: &AtomicUsize,
    clock: SystemClock,
) {
    loop {
        let wait = witnesses.deadline();
        let wait = wait.map_or(IDLE, |at| at.since(clock.now().mono));
        let mut first = match queue.wait(wait) {
            Ok(order) => Some(order),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        while witnesses.step(&clock, &mut || first.take().or_else(|| queue.next())) {}
        hosted.store(witnesses.len(), Ordering::Relaxed);
        for frame in witnesses.take_outgoing() {
            let order = Command::frame(frame.to, frame.urgent, frame.back, frame.bytes);
            links.send(order);
        }
    }
}
