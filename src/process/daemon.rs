//! Going to the background, the pidfile, limits and masks of the process.

use crate::sockets::RESERVED_FILES;
use config::Config;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// Descriptors of a node that are not clients: listeners, log segments, links, the log.
const RESERVED_DESCRIPTORS: u32 = 128;
/// Connections on the bus port that there may be even where clients want all the files; where the limit is
/// low, a quarter of what the node itself does not need.
const FEWEST_BUS_CONNECTIONS: u32 = 256;

/// Continues in a child process in a session of its own; the parent ends with success.
///
/// Must be called before the process has a second thread: a fork takes only the calling one along.
pub fn daemonize() -> io::Result<()> {
    // SAFETY: the caller has no other thread, so the child's memory is consistent; the parent
    // ends without running destructors that the child still needs.
    match unsafe { libc::fork() } {
        -1 => return Err(io::Error::last_os_error()),
        0 => {}
        _ => unsafe { libc::_exit(0) },
    }
    // SAFETY: setsid has no memory effects; it can't fail in a process that was just forked.
    unsafe { libc::setsid() };
    for descriptor in [libc::STDIN_FILENO, libc::STDOUT_FILENO, libc::STDERR_FILENO] {
        redirect_to_null(descriptor)?;
    }
    Ok(())
}

/// Nothing in a server reads from the terminal.
pub fn detach_stdin() -> io::Result<()> {
    redirect_to_null(libc::STDIN_FILENO)
}

fn redirect_to_null(descriptor: libc::c_int) -> io::Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    // SAFETY: both descriptors are open; dup2 closes the target, which nobody here owns.
    match unsafe { libc::dup2(null.as_raw_fd(), descriptor) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// What the server creates is never writable for others, whatever mask it was started with.
pub fn harden_umask() {
    // SAFETY: umask only swaps a number of the process; no other thread creates files yet.
    unsafe {
        let given = libc::umask(0o077);
        libc::umask(given | 0o022);
    }
}

/// How many files are kept for other uses than clients, after the limit was raised as far as it goes.
pub fn reserved_files(config: &Config) -> u32 {
    if !config.cluster_enabled {
        return RESERVED_FILES;
    }
    let wanted = config.maxclients.saturating_add(RESERVED_DESCRIPTORS);
    let wanted = wanted.saturating_add(FEWEST_BUS_CONNECTIONS);
    reserved_beside(config, fewest_for_bus(raise(wanted).unwrap_or(0)))
}

/// The same, where so many places have been given out: on the bus, or for connections to other servers.
pub fn reserved_beside(config: &Config, places: u32) -> u32 {
    if config.cluster_enabled {
        RESERVED_DESCRIPTORS.saturating_add(places)
    } else {
        RESERVED_FILES.saturating_add(places)
    }
}

/// Raises the limit of open files for connections to other servers, beside `maxclients` and what a Redis
/// keeps, which has room for a few. Returns how many more there may be.
pub fn raise_for_outgoing(maxclients: u32, wanted: u32) -> u32 {
    let others = maxclients.saturating_add(RESERVED_FILES);
    let reached = raise(others.saturating_add(wanted)).unwrap_or(0);
    reached.saturating_sub(others).min(wanted)
}

/// Raises the limit of open files for connections of other nodes, beside `maxclients`: strangers that
/// take every file keep members and clients out, and the log from growing. Returns how many there may
/// be: some in any case, which [`reserved_files`] has kept from clients.
pub fn raise_for_bus(maxclients: u32, wanted: u32) -> u32 {
    let others = maxclients.saturating_add(RESERVED_DESCRIPTORS);
    // A limit that can't be read may be any.
    let reached = raise(others.saturating_add(wanted)).unwrap_or(0);
    for_bus(reached, others, wanted)
}

pub(super) fn for_bus(limit: u32, others: u32, wanted: u32) -> u32 {
    let fewest = fewest_for_bus(limit).min(wanted);
    limit.saturating_sub(others).clamp(fewest, wanted)
}

pub(super) fn fewest_for_bus(limit: u32) -> u32 {
    let quarter = limit.saturating_sub(RESERVED_DESCRIPTORS) / 4;
    quarter.clamp(1, FEWEST_BUS_CONNECTIONS)
}

/// Raises the limit of open files to `wanted`, or as far as it can be. Returns what it is.
fn raise(wanted: u32) -> io::Result<u32> {
    let wanted = libc::rlim_t::from(wanted);
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: getrlimit writes one rlimit into the one it is given.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } == -1 {
        return Err(io::Error::last_os_error());
    }
    let mut reached = limit.rlim_cur;
    // Above the hard limit only a privileged process may go: try, then take what is allowed.
    for (current, max) in [
        (wanted, wanted.max(limit.rlim_max)),
        (wanted.min(limit.rlim_max), limit.rlim_max),
    ] {
        if reached >= wanted {
            break;
        }
        let raised = libc::rlimit {
            rlim_cur: current,
            rlim_max: max,
        };
        // SAFETY: setrlimit reads the struct that it is given.
        if current > reached && unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raised) } == 0 {
            reached = current;
        }
    }
    Ok(u32::try_from(reached).unwrap_or(u32::MAX))
}

/// The file that holds the process id. Removed when dropped.
pub struct PidFile {
    path: PathBuf,
}

impl PidFile {
    pub fn create(path: &Path) -> io::Result<PidFile> {
        std::fs::write(path, format!("{}\n", std::process::id()))?;
        Ok(PidFile {
            path: std::path::absolute(path)?,
        })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Somebody may have removed it already; there is nothing to do about it.
        let _ = std::fs::remove_file(&self.path);
    }
}
