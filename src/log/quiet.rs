//! What raft-rs says, one level less important, at a bounded rate per place in its code, and with
//! members' ids as CLUSTER RAFT shows them.
//!
//! A group that changes leaders says much at info; users want to hear our own words at that level.

use super::{line, with_message};
use slog::{o, Drain, Level, Logger, Never, OwnedKVList, Record};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Messages that one place may log within a window.
const BURST: u32 = 10;
const WINDOW: Duration = Duration::from_secs(1);

/// The logger to give to raft-rs: its info becomes verbose, its debug becomes debug.
pub fn for_raft(logger: &Logger) -> Logger {
    Logger::root(Quiet::new(logger), o!())
}

/// Raft ids are random numbers of 64 bits; indexes and terms never get so long.
const ID_DIGITS: usize = 13;

/// Writes the numbers that are members' ids in the form that users see elsewhere.
pub(super) fn hex_ids(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, from) = rest.split_at(at);
        let end = from
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(from.len());
        let (digits, after) = from.split_at(end);
        out.push_str(before);
        let part_of_word = before.ends_with(|c: char| c.is_alphanumeric() || c == '_')
            || after.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        match digits.parse::<u64>() {
            Ok(id) if digits.len() >= ID_DIGITS && !part_of_word => {
                out.push_str(&format!("{id:016x}"));
            }
            _ => out.push_str(digits),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

pub(super) struct Quiet {
    inner: Logger,
    places: Mutex<HashMap<(&'static str, u32), Bucket>>,
}

struct Bucket {
    since: Instant,
    logged: u32,
    suppressed: u64,
}

fn demoted(level: Level) -> Level {
    match level {
        Level::Info => Level::Debug,
        Level::Debug | Level::Trace => Level::Trace,
        loud => loud,
    }
}

impl Quiet {
    pub(super) fn new(logger: &Logger) -> Quiet {
        Quiet {
            inner: logger.clone(),
            places: Mutex::default(),
        }
    }

    /// Whether this place may log now, and how many of its messages were left out before.
    pub(super) fn admit(&self, place: (&'static str, u32), now: Instant) -> Option<u64> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = places.entry(place).or_insert(Bucket {
            since: now,
            logged: 0,
            suppressed: 0,
        });
        if now.duration_since(bucket.since) >= WINDOW {
            bucket.since = now;
            bucket.logged = 0;
        }
        if bucket.logged == BURST {
            bucket.suppressed += 1;
            return None;
        }
        bucket.logged += 1;
        Some(std::mem::take(&mut bucket.suppressed))
    }
}

impl Drain for Quiet {
    type Ok = ();
    type Err = Never;

    fn is_enabled(&self, level: Level) -> bool {
        self.inner.is_enabled(demoted(level))
    }

    fn log(&self, record: &Record, values: &OwnedKVList) -> Result<(), Never> {
        let level = demoted(record.level());
        if !self.inner.is_enabled(level) {
            return Ok(());
        }
        let Some(suppressed) = self.admit((record.file(), record.line()), Instant::now()) else {
            return Ok(());
        };
        let text = hex_ids(&line::message(record, values));
        let left_out = match suppressed {
            0 => String::new(),
            n => format!(" ({n} like this left out)"),
        };
        with_message(
            record,
            level,
            format_args!("raft: {text}{left_out}"),
            |record| {
                self.inner.log(record);
            },
        );
        Ok(())
    }
}
