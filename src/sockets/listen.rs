//! The listening sockets: bound as Redis's `bind` and `unixsocket` say, accepting in batches.
//!
//! Never keeps a client: it hands sockets over, non-blocking and with TCP_NODELAY and keepalive
//! set. Invariants: a listener that may have more to accept is remembered (edges come once); when
//! files run out nothing spins: it is tried again after a pause; the Unix socket keeps its place, and
//! with it its name for the poller, when the addresses change.

use super::poll::Registrar;
use super::stream::Stream;
use super::unix::UnixDoor;
use super::Accepted;
use base::clock::Mono;
use mio::net::{TcpListener, TcpStream};
use net::{BindFailure, Peer};
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, TcpKeepalive, Type};
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

/// Clients taken in by one call from one listener. The caller turns those away that are too many: until it
/// does they hold files, which the log needs as well (D5).
const MAX_ACCEPTS: usize = 16;
/// How long to leave a listener alone when the system has no file or memory for a client.
const PAUSE: Duration = Duration::from_millis(100);

/// Listeners, and the addresses that were passed over because the system lacks them and they were
/// optional, or a protocol that it lacks: worth a warning each.
pub struct Bound {
    pub listeners: Listeners,
    pub skipped: Vec<BindFailure>,
}

enum Door {
    Tcp(TcpListener),
    Unix(UnixDoor),
}

impl Door {
    fn accept(&self, keepalive: Duration) -> io::Result<Accepted> {
        match self {
            Door::Tcp(listener) => {
                let (socket, peer) = listener.accept()?;
                // A client that is gone already fails here; reading will tell.
                let _ = prepare(&socket, keepalive);
                Ok(Accepted {
                    socket: Stream::Tcp(socket),
                    peer: Peer::Net(peer),
                })
            }
            Door::Unix(door) => Ok(Accepted {
                socket: Stream::Unix(door.accept()?),
                peer: Peer::Unix,
            }),
        }
    }
}

struct Listener {
    door: Door,
    ready: bool,
}

/// The place of the Unix socket, if there is one; the addresses follow.
const UNIX_PLACE: usize = 0;

#[derive(Default)]
pub struct Listeners {
    unix: Option<Listener>,
    listeners: Vec<Listener>,
    /// Nothing is accepted before.
    paused_until: Option<Mono>,
}

impl Listeners {
    /// Listens on `port` at every address of a `bind` directive: `-` before an address makes it
    /// optional, `*` and `::*` stand for all of IPv4 and IPv6. The first failure that can't be
    /// passed over closes them all.
    pub fn bind(addresses: &[String], port: u16, backlog: i32) -> Result<Bound, BindFailure> {
        let mut bound = Bound {
            listeners: Listeners::default(),
            skipped: Vec::new(),
        };
        for text in addresses {
            let (optional, address) = match text.strip_prefix('-') {
                Some(address) => (true, address),
                None => (false, text.as_str()),
            };
            match listen(address, port, backlog) {
                Ok(socket) => {
                    bound.listeners.listeners.push(Listener {
                        door: Door::Tcp(socket),
                        ready: false,
                    });
                }
                Err((step, error)) => {
                    let pass = may_be_skipped(&error, optional);
                    let address = address.to_string();
                    let failure = BindFailure {
                        address,
                        port,
                        step,
                        error,
                    };
                    if !pass {
                        return Err(failure);
                    }
                    bound.skipped.push(failure);
                }
            }
        }
        Ok(bound)
    }

    /// Listens on a Unix socket as well; see [`UnixDoor::open`].
    pub fn open_unix(
        &mut self,
        path: &Path,
        mode: u32,
        backlog: i32,
    ) -> Result<(), (&'static str, io::Error)> {
        self.unix = Some(Listener {
            door: Door::Unix(UnixDoor::open(path, mode, backlog)?),
            ready: false,
        });
        Ok(())
    }

    /// The path of the Unix socket.
    pub fn unix_path(&self) -> Option<&Path> {
        match &self.unix.as_ref()?.door {
            Door::Unix(door) => Some(door.path()),
            Door::Tcp(_) => None,
        }
    }

    /// Removes the Unix socket's file, unless another server has put its own there.
    pub fn remove_unix_file(&mut self) -> io::Result<()> {
        match self.unix.take().map(|listener| listener.door) {
            Some(Door::Unix(door)) => door.remove_file(),
            _ => Ok(()),
        }
    }

    /// Closes the listeners at addresses; the Unix socket stays.
    pub fn close_addresses(&mut self) {
        self.listeners.clear();
    }

    /// Takes over the addresses of others, which are not registered yet, and registers them.
    pub fn take_addresses(&mut self, others: Listeners, registrar: &Registrar) -> io::Result<()> {
        self.listeners = others.listeners;
        self.register_addresses(registrar)
    }

    pub fn len(&self) -> usize {
        self.listeners.len() + usize::from(self.unix.is_some())
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The addresses in fact listened on (a port of 0 has become a real one).
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners
            .iter()
            .filter_map(|l| match &l.door {
                Door::Tcp(socket) => socket.local_addr().ok(),
                Door::Unix(_) => None,
            })
            .collect()
    }

    pub fn register(&mut self, registrar: &Registrar) -> io::Result<()> {
        if let Some(listener) = &mut self.unix {
            listener.register(registrar, UNIX_PLACE)?;
        }
        self.register_addresses(registrar)
    }

    fn register_addresses(&mut self, registrar: &Registrar) -> io::Result<()> {
        for (n, listener) in self.listeners.iter_mut().enumerate() {
            listener.register(registrar, UNIX_PLACE + 1 + n)?;
        }
        Ok(())
    }

    fn all(&self) -> impl Iterator<Item = &Listener> {
        self.unix.iter().chain(&self.listeners)
    }

    /// Remembers an [`super::PollEvent::Listener`].
    pub fn note(&mut self, n: usize) {
        let listener = match n.checked_sub(UNIX_PLACE + 1) {
            None => self.unix.as_mut(),
            Some(n) => self.listeners.get_mut(n),
        };
        if let Some(listener) = listener {
            listener.ready = true;
        }
    }

    /// There may be clients to accept now.
    pub fn has_work(&self, now: Mono) -> bool {
        self.paused_until.is_none_or(|until| until <= now) && self.all().any(|l| l.ready)
    }

    /// When to call [`Self::accept`] again although no event comes.
    pub fn next_deadline(&self) -> Option<Mono> {
        self.paused_until.filter(|_| self.all().any(|l| l.ready))
    }

    /// A file has become free: a pause for want of files may end.
    pub fn file_freed(&mut self) {
        self.paused_until = None;
    }

    /// Takes in clients, a bounded number. `keepalive` is the idle time after which a silent
    /// client is probed (zero: never). The error is why one could not be taken in (worth a
    /// warning); the rest is tried again later.
    pub fn accept(
        &mut self,
        now: Mono,
        keepalive: Duration,
        take: &mut dyn FnMut(Accepted),
    ) -> io::Result<()> {
        if !self.has_work(now) {
            return Ok(());
        }
        self.paused_until = None;
        let all = self.unix.iter_mut().chain(&mut self.listeners);
        for listener in all.filter(|l| l.ready) {
            let mut left = MAX_ACCEPTS;
            while left > 0 {
                match listener.door.accept(keepalive) {
                    Ok(accepted) => {
                        left -= 1;
                        take(accepted);
                    }
                    Err(e) if e.kind() == ErrorKind::WouldBlock => {
                        listener.ready = false;
                        break;
                    }
                    Err(e) if is_passing(&e) => left -= 1,
                    Err(e) => {
                        self.paused_until = Some(now + PAUSE);
                        return Err(e);
                    }
                }
            }
        }
        Ok(())
    }
}

impl Listener {
    fn register(&mut self, registrar: &Registrar, n: usize) -> io::Result<()> {
        match &mut self.door {
            Door::Tcp(listener) => registrar.register_listener(listener, n),
            Door::Unix(door) => registrar.register_listener(door.source(), n),
        }
    }
}

/// Errors of the one client, which has gone again, not of the listener.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Interrupted | ErrorKind::ConnectionAborted
    ) || error.raw_os_error() == Some(libc::EPROTO)
}

fn may_be_skipped(error: &io::Error, optional: bool) -> bool {
    match error.raw_os_error() {
        Some(libc::EADDRNOTAVAIL) => optional,
        Some(
            libc::ENOPROTOOPT
            | libc::EPROTONOSUPPORT
            | libc::ESOCKTNOSUPPORT
            | libc::EPFNOSUPPORT
            | libc::EAFNOSUPPORT,
        ) => true,
        _ => false,
    }
}

type Step = (&'static str, io::Error);

fn resolve(address: &str, port: u16) -> Result<Vec<SocketAddr>, Step> {
    match address {
        "*" => return Ok(vec![(Ipv4Addr::UNSPECIFIED, port).into()]),
        "::*" => return Ok(vec![(Ipv6Addr::UNSPECIFIED, port).into()]),
        _ => {}
    }
    let v6 = address.contains(':');
    let all = (address, port)
        .to_socket_addrs()
        .map_err(|e| ("getaddrinfo", e))?;
    let found: Vec<SocketAddr> = all.filter(|a| a.is_ipv6() == v6).collect();
    if found.is_empty() {
        return Err(("getaddrinfo", ErrorKind::AddrNotAvailable.into()));
    }
    Ok(found)
}

/// A listener at the first of the address's meanings for which there is a kind of socket.
fn listen(address: &str, port: u16, backlog: i32) -> Result<TcpListener, Step> {
    let mut last = None;
    for address in resolve(address, port)? {
        let domain = Domain::for_address(address);
        let kind = Type::STREAM.nonblocking().cloexec();
        let socket = match Socket::new(domain, kind, Some(Protocol::TCP)) {
            Ok(socket) => socket,
            Err(e) => {
                last = Some(("socket", e));
                continue;
            }
        };
        if address.is_ipv6() {
            // IPv4 has a listener of its own.
            socket.set_only_v6(true).map_err(|e| ("setsockopt", e))?;
        }
        socket
            .set_reuse_address(true)
            .map_err(|e| ("setsockopt SO_REUSEADDR", e))?;
        socket
            .bind(&SockAddr::from(address))
            .map_err(|e| ("bind", e))?;
        socket.listen(backlog).map_err(|e| ("listen", e))?;
        return Ok(TcpListener::from_std(socket.into()));
    }
    Err(last.expect("an address resolves to at least one meaning"))
}

/// TCP_NODELAY, and keepalive as Redis sets it: probed after `keepalive`, then three times within
/// as long again.
fn prepare(socket: &TcpStream, keepalive: Duration) -> io::Result<()> {
    let socket = SockRef::from(socket);
    socket.set_nodelay(true)?;
    if keepalive.is_zero() {
        return Ok(());
    }
    let interval = (keepalive / 3).max(Duration::from_secs(1));
    socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(keepalive)
            .with_interval(interval)
            .with_retries(3),
    )
}
