//! The service manager that started the process and waits to hear that it is ready.

use config::Supervised;
use std::env;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The service manager to tell; `none` for most.
pub struct Supervisor {
    systemd: Option<SocketAddr>,
    upstart: bool,
}

impl Supervisor {
    #[cfg(test)]
    pub fn none() -> Supervisor {
        Supervisor {
            systemd: None,
            upstart: false,
        }
    }

    /// Looks at the environment as far as the directive allows.
    pub fn detect(mode: Supervised) -> Supervisor {
        let asks = |wanted| mode == wanted || mode == Supervised::Auto;
        let socket = env::var_os("NOTIFY_SOCKET").filter(|_| asks(Supervised::Systemd));
        let systemd = socket.and_then(|path| address(path.as_bytes()));
        let upstart = asks(Supervised::Upstart) && env::var_os("UPSTART_JOB").is_some();
        Supervisor { systemd, upstart }
    }

    #[cfg(test)]
    pub(super) fn systemd_at(path: &str) -> Supervisor {
        Supervisor {
            systemd: address(path.as_bytes()),
            upstart: false,
        }
    }

    /// Its name in INFO.
    pub fn kind(&self) -> &'static str {
        match self {
            Supervisor { upstart: true, .. } => "upstart",
            Supervisor {
                systemd: Some(_), ..
            } => "systemd",
            Supervisor { systemd: None, .. } => "no",
        }
    }

    /// A supervised process stays in the foreground.
    pub fn is_present(&self) -> bool {
        self.systemd.is_some() || self.upstart
    }

    /// Clients can connect.
    pub fn ready(&self) -> io::Result<()> {
        if self.upstart {
            // Upstart waits for the process to stop itself, then continues it.
            // SAFETY: raise has no memory effects.
            unsafe { libc::raise(libc::SIGSTOP) };
        }
        self.notify("STATUS=Ready to accept connections\nREADY=1\n")
    }

    pub fn stopping(&self) -> io::Result<()> {
        self.notify("STOPPING=1\n")
    }

    fn notify(&self, message: &str) -> io::Result<()> {
        let Some(address) = &self.systemd else {
            return Ok(());
        };
        UnixDatagram::unbound()?
            .send_to_addr(message.as_bytes(), address)
            .map(|_| ())
    }
}

/// A path, or a name in the abstract namespace after `@`.
fn address(text: &[u8]) -> Option<SocketAddr> {
    match text {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name).ok(),
        path => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(path)).ok(),
    }
}
