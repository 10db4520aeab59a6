//! The limit of open files: raised to what `maxclients` needs, or `maxclients` lowered to what can
//! be had, as Redis does. Tells what happened; the caller logs it.

use std::io;

/// Files beside those of clients, as many as Redis reserves: log, listeners, what libraries open. A
/// node of a cluster needs more.
pub const RESERVED_FILES: u32 = 32;

/// What `maxclients` may be, and why.
#[derive(Debug)]
pub enum OpenFiles {
    /// The limit is high enough as it is.
    Enough,
    Raised {
        from: u64,
        to: u64,
    },
    /// `maxclients` clients are all that `limit` allows; `error` is what the system said.
    Lowered {
        limit: u64,
        wanted: u64,
        maxclients: u64,
        error: io::Error,
    },
    /// Not even one client: the server can't start.
    TooFew {
        limit: u64,
        wanted: u64,
    },
    /// The limit can't be read: the usual 1024 is assumed.
    Unknown {
        maxclients: u64,
        error: io::Error,
    },
}

/// Makes room for `maxclients` beside `reserved` other files.
pub fn raise_open_files(maxclients: u64, reserved: u64) -> OpenFiles {
    let wanted = maxclients.saturating_add(reserved);
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: getrlimit writes the struct that it is given.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        let error = io::Error::last_os_error();
        return OpenFiles::Unknown {
            maxclients: 1024 - reserved,
            error,
        };
    }
    let from = limit.rlim_cur;
    if from >= wanted {
        return OpenFiles::Enough;
    }
    // The hard limit goes up only for the privileged; below it everybody may move.
    let error = match set_limit(wanted, wanted.max(limit.rlim_max)) {
        Ok(()) => return OpenFiles::Raised { from, to: wanted },
        Err(error) => error,
    };
    let best = wanted.min(limit.rlim_max);
    if best > from && set_limit(best, limit.rlim_max).is_ok() {
        if best == wanted {
            return OpenFiles::Raised { from, to: best };
        }
        return lowered(best, wanted, reserved, error);
    }
    lowered(from, wanted, reserved, error)
}

fn lowered(limit: u64, wanted: u64, reserved: u64, error: io::Error) -> OpenFiles {
    if limit <= reserved {
        return OpenFiles::TooFew { limit, wanted };
    }
    OpenFiles::Lowered {
        limit,
        wanted,
        maxclients: limit - reserved,
        error,
    }
}

fn set_limit(soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit {
        rlim_cur: soft,
        rlim_max: hard,
    };
    // SAFETY: setrlimit reads the struct that it is given.
    match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
