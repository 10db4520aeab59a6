//! Helpers of the tests that run real servers: a small RESP client and a server in a folder of its
//! own.
//!
//! Nothing here uses the crate's own code: a parser bug must not be able to hide behind the same
//! bug in the test. Waiting is always for a condition with a deadline.
#![allow(dead_code)] // every test target uses another part of it

pub mod resp;
pub mod server;

use std::io::Write;
use std::time::{Duration, Instant};

/// Polls `condition` until it is true; panics with `what` after `deadline`.
pub fn wait_until(what: &str, deadline: Duration, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + deadline;
    while !condition() {
        assert!(
            Instant::now() < end,
            "gave up after {deadline:?} waiting for: {what}"
        );
        std::thread::sleep(Duration::from_millis(10)); // the pause between two polls
    }
}

/// Raises the soft limit of open files to the hard one and returns it.
pub fn raise_open_files() -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: both calls only read and write the struct that is passed.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit), 0);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
    }
    limit.rlim_cur
}

/// Says loudly that a test did not run and why: it must not look like a pass. `scripts/test.sh`
/// names a file in `HOLDFAST_SKIPPED` and repeats its lines at the end.
pub fn skipped(test: &str, why: &str) {
    eprintln!("\n*** SKIPPED {test}: {why}\n");
    if let Some(path) = std::env::var_os("HOLDFAST_SKIPPED") {
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path);
        let written = file.and_then(|mut f| writeln!(f, "{test}: {why}"));
        written.expect("the list of skipped tests is writable");
    }
}
