//! How far a check is, for somebody who waits.
//!
//! Owns one line on stderr, which is there only if that is a terminal and the work takes longer than a second.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(1);
const EVERY: Duration = Duration::from_millis(200);

/// Counts bytes that were read.
#[derive(Clone)]
pub struct Progress(Arc<Inner>);

struct Inner {
    begun: Instant,
    is_terminal: bool,
    read: AtomicU64,
    /// When the line was written last.
    shown: Mutex<Option<Instant>>,
}

impl Progress {
    pub fn new() -> Progress {
        Progress(Arc::new(Inner {
            begun: Instant::now(),
            is_terminal: std::io::stderr().is_terminal(),
            read: AtomicU64::new(0),
            shown: Mutex::new(None),
        }))
    }

    pub fn add(&self, bytes: u64) {
        let read = self.0.read.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if !self.0.is_terminal || self.0.begun.elapsed() < PATIENCE {
            return;
        }
        let Ok(mut shown) = self.0.shown.lock() else {
            return;
        };
        if shown.is_none_or(|at| at.elapsed() >= EVERY) {
            *shown = Some(Instant::now());
            let _ = write!(std::io::stderr(), "\r{} MiB read ", read >> 20);
        }
    }

    /// Takes the line away, so that what is said next stands alone.
    pub fn clear(&self) {
        if self
            .0
            .shown
            .lock()
            .is_ok_and(|mut shown| shown.take().is_some())
        {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
