//! One line of the log in Redis's format: `pid:role DD Mon YYYY HH:MM:SS.mmm <level> message`.

use slog::{Key, Level, OwnedKVList, Record, Serializer, KV};
use std::fmt::{self, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// The line, with its newline. Line breaks in the message stay: banners and traces have several.
pub(super) fn render(pid: u32, role: char, at: SystemTime, level: Level, message: &str) -> String {
    let mark = match level {
        Level::Critical | Level::Error | Level::Warning => '#',
        Level::Info => '*',
        Level::Debug => '-',
        Level::Trace => '.',
    };
    format!("{pid}:{role} {} {mark} {message}\n", local(at))
}

/// Local time, in the C locale's English.
fn local(at: SystemTime) -> String {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let seconds = libc::time_t::try_from(since.as_secs()).unwrap_or(0);
    // SAFETY: localtime_r writes only into the struct that it is given and reads the time; an
    // all-zero tm is a valid value to start from.
    let tm = unsafe {
        let mut tm: libc::tm = std::mem::zeroed();
        libc::localtime_r(&seconds, &mut tm);
        tm
    };
    let month = usize::try_from(tm.tm_mon)
        .ok()
        .and_then(|m| MONTHS.get(m))
        .unwrap_or(&"???");
    format!(
        "{:02} {month} {} {:02}:{:02}:{:02}.{:03}",
        tm.tm_mday,
        1900 + tm.tm_year,
        tm.tm_hour,
        tm.tm_min,
        tm.tm_sec,
        since.subsec_millis()
    )
}

/// The record's text followed by its key-values, in the order in which they were written.
pub(super) fn message(record: &Record, values: &OwnedKVList) -> String {
    let mut text = record.msg().to_string();
    let mut pairs = Pairs(Vec::new());
    // Collecting into memory does not fail.
    let _ = record.kv().serialize(record, &mut pairs);
    let _ = values.serialize(record, &mut pairs);
    for (key, value) in pairs.0.iter().rev() {
        write!(text, " {key}={value}").expect("writing to a string");
    }
    text
}

/// slog hands out the newest pair first.
struct Pairs(Vec<(String, String)>);

impl Serializer for Pairs {
    fn emit_arguments(&mut self, key: Key, value: &fmt::Arguments) -> slog::Result {
        self.0.push((key.to_string(), value.to_string()));
        Ok(())
    }
}
