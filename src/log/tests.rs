//! Tests of the log: format, levels, drops, rotation, raft's logger.

use super::*;
use config::LogLevel;
use slog::{debug, info, trace, warn};
use std::io::{self, Write};
use std::sync::{Condvar, Mutex};

/// A sink whose content can be looked at, and that can be held shut.
#[derive(Clone, Default)]
struct Sink(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    text: String,
    shut: bool,
    waiting: bool,
}

impl Sink {
    fn text(&self) -> String {
        self.0 .0.lock().unwrap().text.clone()
    }

    fn shut(&self, shut: bool) {
        self.0 .0.lock().unwrap().shut = shut;
        self.0 .1.notify_all();
    }

    fn wait_until_stuck(&self) {
        let mut state = self.0 .0.lock().unwrap();
        while !state.waiting {
            state = self.0 .1.wait(state).unwrap();
        }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.0 .0.lock().unwrap();
        while state.shut {
            state.waiting = true;
            self.0 .1.notify_all();
            state = self.0 .1.wait(state).unwrap();
        }
        state.text.push_str(std::str::from_utf8(bytes).unwrap());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn started(level: LogLevel) -> (Sink, Logger, Log) {
    let sink = Sink::default();
    let (logger, log) = Log::start(Output::other(sink.clone()), level);
    (sink, logger, log)
}

/// What follows the time stamp of each line.
fn tails(text: &str) -> Vec<String> {
    text.lines()
        .map(|l| l.splitn(6, ' ').nth(5).unwrap_or("").to_owned())
        .collect()
}

#[test]
fn a_line_has_redis_s_format() {
    let (sink, logger, log) = started(LogLevel::Notice);
    info!(logger, "hello {}", "you"; "a" => 1, "b" => "x");
    log.set_role(Role::Replica);
    warn!(logger, "bad");
    log.finish();
    let text = sink.text();
    let lines: Vec<&str> = text.lines().collect();
    let words: Vec<&str> = lines[0].split(' ').collect();
    assert_eq!(words[0], format!("{}:M", std::process::id()));
    assert_eq!(words[1].len(), 2, "day: {text}");
    assert!(
        words[2].chars().all(char::is_alphabetic) && words[2].len() == 3,
        "month: {text}"
    );
    assert_eq!(words[3].len(), 4, "year: {text}");
    let clock: Vec<usize> = words[4].split([':', '.']).map(str::len).collect();
    assert_eq!(clock, [2, 2, 2, 3]);
    assert_eq!(tails(&text), ["* hello you a=1 b=x", "# bad"]);
    assert!(lines[1].starts_with(&format!("{}:S ", std::process::id())));
}

#[test]
fn levels_filter_and_change_while_it_runs() {
    let (sink, logger, log) = started(LogLevel::Warning);
    info!(logger, "no");
    log.set_level(LogLevel::Debug);
    trace!(logger, "t");
    debug!(logger, "d");
    info!(logger, "i");
    log.set_level(LogLevel::Nothing);
    slog::crit!(logger, "no");
    log.finish();
    assert_eq!(tails(&sink.text()), [". t", "- d", "* i"]);
}

#[test]
fn a_stuck_disk_drops_lines_and_says_how_many() {
    let sink = Sink::default();
    let (logger, log) = Log::with_queue(Output::other(sink.clone()), LogLevel::Notice, 4);
    sink.shut(true);
    info!(logger, "first");
    sink.wait_until_stuck();
    for i in 0..10 {
        info!(logger, "line {}", i);
    }
    let dropped = log.dropped();
    assert!((5..=6).contains(&dropped), "{dropped}");
    sink.shut(false);
    log.finish();
    let tails = tails(&sink.text());
    assert_eq!(tails[0], "* first");
    let report = format!("# {dropped} log messages were dropped: the log could not keep up");
    assert_eq!(
        tails.iter().filter(|t| **t == report).count(),
        1,
        "{tails:?}"
    );
}

#[test]
fn last_words_are_written_after_the_end() {
    let (sink, logger, log) = started(LogLevel::Notice);
    info!(logger, "before");
    log.finish();
    log.write_now(Level::Critical, "last");
    log.finish();
    assert_eq!(tails(&sink.text()), ["* before", "# last"]);
}

#[test]
fn raft_is_quiet_and_keeps_its_values() {
    let (sink, logger, log) = started(LogLevel::Verbose);
    let raft = for_raft(&logger).new(o!("raft_id" => 7));
    for i in 0..25 {
        info!(raft, "became follower"; "term" => i);
    }
    debug!(raft, "not at this level");
    warn!(raft, "loud");
    log.finish();
    let tails = tails(&sink.text());
    assert_eq!(tails[0], "- raft: became follower raft_id=7 term=0");
    assert!(tails.len() < 25, "limited: {}", tails.len());
    assert_eq!(tails.last().unwrap(), "# raft: loud raft_id=7");
    assert!(!tails.iter().any(|t| t.contains("not at this level")));
}

#[test]
fn ids_of_members_are_hexadecimal() {
    for (text, want) in [
        (
            "from=11529215046068469760 term=7",
            "from=a000000000000000 term=7",
        ),
        (
            "voters: {1234567890123456789, 5}",
            "voters: {112210f47de98115, 5}",
        ),
        ("file9999999999999999.log", "file9999999999999999.log"),
        ("99999999999999999999999", "99999999999999999999999"),
        ("", ""),
    ] {
        assert_eq!(quiet::hex_ids(text), want);
    }
}

#[test]
fn what_was_left_out_is_counted() {
    let place = ("file.rs", 1);
    let quiet = for_tests();
    let start = std::time::Instant::now();
    let admitted = (0..30)
        .filter(|_| quiet.admit(place, start).is_some())
        .count();
    assert_eq!(admitted, 10);
    let later = start + std::time::Duration::from_secs(2);
    assert_eq!(quiet.admit(place, later), Some(20));
    assert_eq!(quiet.admit(place, later), Some(0));
    assert_eq!(quiet.admit(("file.rs", 2), start), Some(0));
}

fn for_tests() -> quiet::Quiet {
    quiet::Quiet::new(&Logger::root(slog::Discard, o!()))
}

#[test]
fn a_file_that_was_moved_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    std::fs::write(&path, "kept\n").unwrap();
    let mut output = Output::file(&path).unwrap();
    output.write("one\n").unwrap();
    std::fs::rename(&path, dir.path().join("old")).unwrap();
    output.write("two\n").unwrap();
    assert_eq!(
        std::fs::read_to_string(dir.path().join("old")).unwrap(),
        "kept\none\n"
    );
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "two\n");
    // Another file under the name, as logrotate's `create` makes it; then none, and no folder for one.
    std::fs::write(dir.path().join("made"), "made\n").unwrap();
    std::fs::rename(dir.path().join("made"), &path).unwrap();
    output.write("three\n").unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "made\nthree\n");
    std::fs::remove_dir_all(dir.path()).unwrap();
    output.write("four\n").unwrap();
}
