//! Threads that make room for the loop.
//!
//! Owns how a thread steps back behind the loop, and how it rests. Never knows what such a thread does. Invariant: it still
//! gets its share of a core that is never idle, since clients' writes wait for a snapshot, and memory for being freed.
//!
//! Hazard: a thread that is only nice keeps its core until the next tick, for 4 ms, while the loop, which has just been woken,
//! waits for it, and each client feels that: where its work has pieces it rests between them. Hazard: a thread that runs only where nothing else wants the core
//! (`SCHED_IDLE`) gets nothing on a busy one, nor do all that wait for it, and only root can let it come forward again. And
//! within the kernel no priority matters: so it makes no long calls.

use std::time::Duration;

/// Above the nice value of the process. One busy thread beside it on its core has three quarters of that.
const NICE: i32 = 5;
const NICEST: i32 = 19;

/// A sleeping thread gives its core up at once.
const REST: Duration = Duration::from_micros(100);

/// The calling thread steps back; where that is not allowed it is like any other.
pub(super) fn step_back() {
    let nice = (own_nice() + NICE).min(NICEST);
    // SAFETY: no memory is passed. On Linux it concerns the calling thread only.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) };
}

/// Between two pieces of work that take a fraction of a millisecond each.
pub(super) fn rest() {
    std::thread::sleep(REST);
}

/// Of the calling thread.
fn own_nice() -> i32 {
    // SAFETY: no memory is passed.
    unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc::channel;
    use std::sync::Arc;
    use std::time::Instant;

    const SOON: Duration = Duration::from_secs(20);
    /// Of a core: `SCHED_IDLE` takes a minute for it.
    const WORK: Duration = Duration::from_millis(200);

    /// The calling thread has this core alone.
    fn stay_on(core: usize) {
        // SAFETY: the set is a plain value, and is only read; it concerns the calling thread only.
        unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            libc::CPU_SET(core, &mut set);
            libc::sched_setaffinity(0, size_of_val(&set), &raw const set);
        }
    }

    fn cpu_time() -> Duration {
        // SAFETY: the structure is written by the call.
        let time = unsafe {
            let mut time: libc::timespec = std::mem::zeroed();
            libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time);
            time
        };
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }

    #[test]
    fn beside_a_busy_thread_work_gets_on() {
        // SAFETY: no memory is passed.
        let core = usize::try_from(unsafe { libc::sched_getcpu() }).unwrap();
        let ends = Arc::new(AtomicBool::new(false));
        let ended = ends.clone();
        let busy = std::thread::spawn(move || {
            stay_on(core);
            while !ended.load(Ordering::Relaxed) {}
        });
        let (done, result) = channel();
        std::thread::spawn(move || {
            stay_on(core);
            step_back();
            let began = Instant::now();
            while cpu_time() < WORK && began.elapsed() < 2 * SOON {}
            let _ = done.send(());
        });
        let got_on = result.recv_timeout(SOON);
        ends.store(true, Ordering::Relaxed);
        busy.join().unwrap();
        assert_eq!(got_on, Ok(()));
    }

    #[test]
    fn a_thread_that_steps_back_is_nice_alone() {
        let before = own_nice();
        let stepped = std::thread::spawn(|| {
            step_back();
            own_nice()
        });
        assert_eq!(stepped.join().unwrap(), (before + NICE).min(NICEST));
        assert_eq!(own_nice(), before);
    }
}
