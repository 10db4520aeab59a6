//! SIGTERM and SIGINT become a flag and a wake-up; SIGHUP, SIGPIPE and SIGXFSZ become nothing.
//!
//! Signals are taken by a thread of their own, so that what happens then is ordinary code. A
//! second SIGINT ends the process at once, as in Redis.

use crate::log::Log;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use slog::{warn, Level, Logger};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Which signal asked for the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    Term,
    Int,
}

/// Whether the process was asked to end. Clones are the same.
#[derive(Clone, Default)]
pub struct Shutdown {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    asked: Option<Signal>,
    wake: Option<Box<dyn Fn() + Send>>,
}

impl Shutdown {
    /// Starts the thread that takes the signals.
    pub fn watch(logger: Logger, log: Log) -> io::Result<Shutdown> {
        let shutdown = Shutdown::default();
        let mut signals = Signals::new([SIGTERM, SIGINT])?;
        let asked = shutdown.clone();
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                for signal in signals.forever() {
                    asked.take_signal(signal, &logger, &log);
                }
            })?;
        Ok(shutdown)
    }

    /// The signal that asked for the end, if one did.
    pub fn asked(&self) -> Option<Signal> {
        self.state().asked
    }

    /// The process goes on; it may be asked once more.
    pub fn forget(&self) {
        self.state().asked = None;
    }

    /// Calls `wake` at every signal from now on, and now if one came before.
    pub fn on_signal(&self, wake: impl Fn() + Send + 'static) {
        let mut state = self.state();
        if state.asked.is_some() {
            wake();
        }
        state.wake = Some(Box::new(wake));
    }

    fn take_signal(&self, signal: i32, logger: &Logger, log: &Log) {
        let insists = signal == SIGINT && self.asked().is_some();
        if insists {
            super::panic::end_soon();
            log.write_now(Level::Warning, "You insist... exiting now.");
            // SAFETY: ends the process without destructors; what is promised is on disk already.
            unsafe { libc::_exit(1) };
        }
        let name = if signal == SIGINT {
            "SIGINT"
        } else {
            "SIGTERM"
        };
        warn!(logger, "Received {} scheduling shutdown...", name);
        self.ask(if signal == SIGINT {
            Signal::Int
        } else {
            Signal::Term
        });
    }

    pub(super) fn ask(&self, signal: Signal) {
        let mut state = self.state();
        state.asked = Some(signal);
        if let Some(wake) = &state.wake {
            wake();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A lost terminal is no reason to end; a lost connection, and a file that may not grow (D5), are
/// errors of their write.
pub fn ignore_hangup_and_failed_writes() {
    // SAFETY: SIG_IGN installs no code.
    unsafe {
        libc::signal(libc::SIGHUP, libc::SIG_IGN);
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
    }
}
