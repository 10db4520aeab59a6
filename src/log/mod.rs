//! The log: slog records written as Redis's lines by a thread of their own.
//!
//! The caller formats its line and puts it into a bounded queue; it never waits for the disk. When
//! the queue is full lines are dropped, counted, and the count is logged as soon as there is room.
//! [`Log`] is the handle: level and role at run time, flushing at the end, last words of a panic.
//!
//! Owns the output file, and opens it anew when it was moved away (log rotation). Never rotates itself.

mod line;
mod output;
mod quiet;

#[cfg(test)]
mod tests;

pub use output::Output;
pub use quiet::for_raft;

use config::LogLevel;
use slog::{b, o, Drain, Level, Logger, Never, OwnedKVList, Record, RecordStatic};
use slog_async::{AsyncCore, AsyncError, AsyncGuard};
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Lines that may wait for the disk.
const QUEUE: usize = 8192;

/// The letter after the process id: what this process is at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Master,
    Replica,
}

impl Role {
    fn letter(self) -> u8 {
        match self {
            Role::Master => b'M',
            Role::Replica => b'S',
        }
    }
}

/// The handle of a running log. Clones are the same log.
#[derive(Clone)]
pub struct Log {
    shared: Arc<Shared>,
}

struct Shared {
    pid: u32,
    role: AtomicU8,
    /// Records with a greater level number are not logged.
    threshold: AtomicUsize,
    dropped: AtomicU64,
    reported: AtomicU64,
    output: Mutex<Output>,
    writer: Mutex<Option<AsyncGuard>>,
}

impl Log {
    /// Starts the writing thread: after the fork of a daemon, not before.
    pub fn start(output: Output, level: LogLevel) -> (Logger, Log) {
        Log::with_queue(output, level, QUEUE)
    }

    fn with_queue(output: Output, level: LogLevel, queue: usize) -> (Logger, Log) {
        let shared = Arc::new(Shared {
            pid: std::process::id(),
            role: AtomicU8::new(Role::Master.letter()),
            threshold: AtomicUsize::new(threshold(level)),
            dropped: AtomicU64::new(0),
            reported: AtomicU64::new(0),
            output: Mutex::new(output),
            writer: Mutex::new(None),
        });
        let (queue, guard) = AsyncCore::custom(Writer {
            shared: shared.clone(),
        })
        .chan_size(queue)
        .thread_name("log".to_owned())
        .build_with_guard();
        *lock(&shared.writer) = Some(guard);
        let logger = Logger::root(
            Front {
                shared: shared.clone(),
                queue,
            },
            o!(),
        );
        (logger, Log { shared })
    }

    pub fn set_level(&self, level: LogLevel) {
        self.shared
            .threshold
            .store(threshold(level), Ordering::Relaxed);
    }

    pub fn set_role(&self, role: Role) {
        self.shared.role.store(role.letter(), Ordering::Relaxed);
    }

    /// Lines that were lost because the disk was too slow for them.
    #[cfg(test)]
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Writes everything that waits and ends the writing thread; later lines are lost.
    pub fn finish(&self) {
        let guard = lock(&self.shared.writer).take();
        // Dropping the guard waits for the thread, which is why no lock may be held here.
        drop(guard);
        self.shared.report_drops();
    }

    /// Writes a line at once, from whatever thread: for the last words of a dying process.
    pub fn write_now(&self, level: Level, message: &str) {
        let line = self.shared.line(level, message);
        self.shared.write(&line);
    }
}

impl Shared {
    fn line(&self, level: Level, message: &str) -> String {
        let role = char::from(self.role.load(Ordering::Relaxed));
        line::render(self.pid, role, std::time::SystemTime::now(), level, message)
    }

    fn write(&self, line: &str) {
        // A log that can't be written has nowhere to say so; the server goes on, as Redis does.
        let _ = lock(&self.output).write(line);
    }

    fn report_drops(&self) {
        let total = self.dropped.load(Ordering::Relaxed);
        let before = self.reported.swap(total, Ordering::Relaxed);
        if total > before {
            let lost = total - before;
            let text = format!("{lost} log messages were dropped: the log could not keep up");
            let line = self.line(Level::Warning, &text);
            self.write(&line);
        }
    }
}

/// A log must stay usable after a panic elsewhere: what it guards is valid at every step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Redis's four levels are slog's upper ones: debug is trace, verbose is debug, notice is info.
fn threshold(level: LogLevel) -> usize {
    match level {
        LogLevel::Debug => Level::Trace.as_usize(),
        LogLevel::Verbose => Level::Debug.as_usize(),
        LogLevel::Notice => Level::Info.as_usize(),
        LogLevel::Warning => Level::Warning.as_usize(),
        LogLevel::Nothing => 0,
    }
}

/// The side of the caller: filters, formats, enqueues.
struct Front {
    shared: Arc<Shared>,
    queue: AsyncCore,
}

impl Drain for Front {
    type Ok = ();
    type Err = Never;

    fn is_enabled(&self, level: Level) -> bool {
        level.as_usize() <= self.shared.threshold.load(Ordering::Relaxed)
    }

    fn log(&self, record: &Record, values: &OwnedKVList) -> Result<(), Never> {
        if !self.is_enabled(record.level()) {
            return Ok(());
        }
        let line = self
            .shared
            .line(record.level(), &line::message(record, values));
        let enqueued = with_message(record, record.level(), format_args!("{line}"), |record| {
            self.queue.log(record, &o!().into())
        });
        if let Err(AsyncError::Full) = enqueued {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Calls `then` with a record like `record` but with this level and text and no key-values.
fn with_message<R>(
    record: &Record,
    level: Level,
    text: fmt::Arguments<'_>,
    then: impl FnOnce(&Record) -> R,
) -> R {
    let fixed = RecordStatic {
        location: record.location(),
        tag: record.tag(),
        level,
    };
    then(&Record::new(&fixed, &text, b!()))
}

/// The side of the writing thread: the message is the whole line.
struct Writer {
    shared: Arc<Shared>,
}

impl Drain for Writer {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record, _: &OwnedKVList) -> Result<(), Never> {
        self.shared.write(&record.msg().to_string());
        self.shared.report_drops();
        Ok(())
    }
}
