//! A panic in any thread ends the process: a broken invariant must not go on serving.

use crate::log::Log;
use slog::Level;
use std::backtrace::Backtrace;
use std::panic::PanicHookInfo;

/// A log on a stuck disk must not keep a broken process alive longer than this.
const LAST_WORDS_SECONDS: u32 = 3;

/// W2: a broken invariant of a witness stops its group, which the thread itself sees to.
pub const WITNESS_THREAD: &str = "hf-witness";

/// From now on a panic is logged and aborts the process, unless it is a witness's.
pub fn die_on_panic(log: Log) {
    std::panic::set_hook(Box::new(move |info| {
        if std::thread::current().name() == Some(WITNESS_THREAD) {
            log.write_now(Level::Critical, &report(info));
            return;
        }
        end_soon();
        let text = report(info);
        eprint!("{text}");
        // First what was said before, then the last words, in order.
        log.finish();
        log.write_now(Level::Critical, &text);
        std::process::abort();
    }));
}

/// The process ends after a moment, whatever its threads wait for.
pub(super) fn end_soon() {
    // SAFETY: alarm only arms a timer; SIGALRM is not handled, so it ends the process.
    unsafe { libc::alarm(LAST_WORDS_SECONDS) };
}

/// Redis's test suite looks for the marker in the log of a server that went away.
fn report(info: &PanicHookInfo<'_>) -> String {
    let thread = std::thread::current();
    format!(
        "=== REDIS BUG REPORT START (Holdfast {}) ===\nthread '{}' {info}\n{}\
         === REDIS BUG REPORT END ===\n",
        env!("CARGO_PKG_VERSION"),
        thread.name().unwrap_or("unnamed"),
        Backtrace::force_capture()
    )
}
