//! Readings of the operating system and the allocator, for INFO.
//!
//! Owns: no state but what a caller keeps in [`MemoryWatch`]. Never: is called by a command (a
//! simulated host has no process of its own to read).

use command::api::{CpuView, MemoryView};
use std::mem::MaybeUninit;
use std::time::Duration;

/// Remembers the start and the peak.
#[derive(Debug)]
pub struct MemoryWatch {
    startup: u64,
    peak: u64,
}

impl MemoryWatch {
    /// What is in use now counts as what the start took.
    pub fn start() -> MemoryWatch {
        let used = allocated();
        MemoryWatch {
            startup: used,
            peak: used,
        }
    }

    /// Called now and then (each tick), so that a peak between two INFOs is seen.
    pub fn sample(&mut self) {
        self.peak = self.peak.max(allocated());
    }

    pub fn view(&mut self) -> MemoryView {
        use tikv_jemalloc_ctl::stats;
        self.sample();
        let bytes = |reading: tikv_jemalloc_ctl::Result<usize>| reading.map_or(0, |n| n as u64);
        MemoryView {
            used: allocated(),
            peak: self.peak,
            startup: self.startup,
            rss: resident_set(),
            active: bytes(stats::active::read()),
            resident: bytes(stats::resident::read()),
            system: physical(),
        }
    }
}

/// Bytes that the program has asked for and not given back; 0 without jemalloc's statistics.
fn allocated() -> u64 {
    // The statistics are those of the last epoch.
    if tikv_jemalloc_ctl::epoch::advance().is_err() {
        return 0;
    }
    tikv_jemalloc_ctl::stats::allocated::read().map_or(0, |n| n as u64)
}

/// What the allocator says of itself.
pub fn allocator_report() -> String {
    let mut report = Vec::new();
    match tikv_jemalloc_ctl::stats_print::stats_print(&mut report, Default::default()) {
        Ok(()) => String::from_utf8_lossy(&report).into_owned(),
        Err(why) => format!("there are no statistics: {why}\n"),
    }
}

/// Gives pages that are kept for later back to the system: for a moment no arena may keep any. False: it can't
/// be told so.
pub fn purge() -> bool {
    let Ok(arenas) = tikv_jemalloc_ctl::arenas::narenas::read() else {
        return false;
    };
    let mut all = true;
    for arena in 0..arenas {
        let name = format!("arena.{arena}.dirty_decay_ms\0");
        // SAFETY: the name ends with a zero, and its value is one of `ssize_t`.
        let kept = unsafe { tikv_jemalloc_ctl::raw::update(name.as_bytes(), 0isize) };
        // An arena that was never used has no such value.
        let Ok(before) = kept else {
            continue;
        };
        // SAFETY: the same.
        all &= unsafe { tikv_jemalloc_ctl::raw::write(name.as_bytes(), before) }.is_ok();
    }
    all
}

fn page_size() -> u64 {
    // SAFETY: sysconf has no preconditions.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(size).unwrap_or(4096)
}

fn resident_set() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split_ascii_whitespace().nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * page_size()
}

fn physical() -> u64 {
    // SAFETY: sysconf has no preconditions.
    let pages = unsafe { libc::sysconf(libc::_SC_PHYS_PAGES) };
    u64::try_from(pages).unwrap_or(0) * page_size()
}

/// The CPU time of the process, and of the calling thread as that of the loop.
pub fn cpu() -> CpuView {
    let (user_us, system_us) = times(libc::RUSAGE_SELF);
    let (loop_user_us, loop_system_us) = times(libc::RUSAGE_THREAD);
    CpuView {
        user_us,
        system_us,
        loop_user_us,
        loop_system_us,
    }
}

/// The CPU time of the calling thread.
pub fn thread_cpu() -> Duration {
    let mut time = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: `time` is a place for a timespec; zeroed, it holds a valid one even if the call fails.
    let time = unsafe {
        libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, time.as_mut_ptr());
        time.assume_init()
    };
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or(0))
}

/// Microseconds in user code and in the kernel.
fn times(who: libc::c_int) -> (u64, u64) {
    let mut usage = MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: `usage` is a place for a rusage, which getrusage fills when it returns 0.
    let usage = unsafe {
        if libc::getrusage(who, usage.as_mut_ptr()) != 0 {
            return (0, 0);
        }
        usage.assume_init()
    };
    let micros = |t: libc::timeval| {
        let micros = t.tv_sec * 1_000_000 + t.tv_usec;
        u64::try_from(micros).unwrap_or(0)
    };
    (micros(usage.ru_utime), micros(usage.ru_stime))
}

/// `Linux 6.1.0 x86_64`
pub fn os() -> String {
    let mut names = MaybeUninit::<libc::utsname>::zeroed();
    // SAFETY: `names` is a place for a utsname; zeroed, it holds valid empty strings even if the
    // call fails.
    let names = unsafe {
        libc::uname(names.as_mut_ptr());
        names.assume_init()
    };
    let text = |field: &[libc::c_char]| -> String {
        let bytes = field.iter().map(|c| *c as u8).take_while(|byte| *byte != 0);
        bytes.map(char::from).collect()
    };
    format!(
        "{} {} {}",
        text(&names.sysname),
        text(&names.release),
        text(&names.machine)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_are_plausible() {
        let memory = MemoryWatch::start().view();
        assert!(memory.rss > 0 && memory.system > memory.rss);
        assert!(memory.peak >= memory.startup);
        let cpu = cpu();
        assert!(cpu.user_us + cpu.system_us >= cpu.loop_user_us);
        let busy = thread_cpu();
        while thread_cpu() == busy {}
        assert_eq!(os().split(' ').count(), 3);
    }
}
