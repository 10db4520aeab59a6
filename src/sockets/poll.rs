//! The poller: what the kernel has to say, as events of ours.
//!
//! Readiness is edge-triggered: a socket says once that it became readable or writable. So
//! [`net::Conn`] remembers it until a read or write proves the contrary, and which connection still has work
//! stands in the [`net::ReadyList`]; while that list is not empty, wait with a timeout of zero.
//! A connection is registered once, for both directions: under edge triggering the writable side
//! wakes nobody until a write was short, so no further system call is ever needed.

use super::stream::Stream;
use mio::event::Source;
use mio::{Events, Interest, Registry, Token, Waker};
use net::{ConnId, Readiness};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

/// Events fetched by one wait; more stay in the kernel for the next turn.
const EVENTS_PER_WAIT: usize = 1024;

/// How often an eager wait looks before it sleeps: 3 to 5 us in all.
const EAGER_LOOKS: u32 = 10;

/// epoll's timeouts are multiples of this.
const EPOLL_UNIT: Duration = Duration::from_millis(1);

const WAKE: Token = Token(0);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PollEvent {
    /// Another thread called the waker.
    Wake,
    /// Someone knocks at this listener.
    Listener(usize),
    /// The key may be dead by now.
    Conn(ConnId, Readiness),
}

pub struct Poll {
    poll: mio::Poll,
    events: Events,
    waker: Arc<Waker>,
}

impl Poll {
    pub fn new() -> io::Result<Poll> {
        let poll = mio::Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        Ok(Poll {
            poll,
            events: Events::with_capacity(EVENTS_PER_WAIT),
            waker,
        })
    }

    /// For other threads: `wake()` ends a wait, or the next one.
    pub fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// Waits for events, at most `timeout` (`None`: for ever). A signal ends it without events.
    ///
    /// `eager`: more is likely to come within microseconds. Then it looks some times before it
    /// sleeps, which costs less than to fall asleep and be woken, and spares the sender the wake-up.
    pub fn wait(&mut self, timeout: Option<Duration>, eager: bool) -> io::Result<()> {
        if eager && timeout != Some(Duration::ZERO) {
            for _ in 0..EAGER_LOOKS {
                self.look(Some(Duration::ZERO))?;
                if !self.events.is_empty() {
                    return Ok(());
                }
            }
        }
        self.look(timeout)
    }

    fn look(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let brief = timeout.filter(|t| !t.is_zero() && *t < EPOLL_UNIT);
        if let Some(timeout) = brief {
            self.rest(timeout)?;
        }
        let timeout = brief.map_or(timeout, |_| Some(Duration::ZERO));
        match self.poll.poll(&mut self.events, timeout) {
            Err(e) if e.kind() == ErrorKind::Interrupted => {
                self.events.clear();
                Ok(())
            }
            other => other,
        }
    }

    /// Waits until there is an event, for less than a millisecond: epoll's own timeout would make a
    /// whole one of it.
    fn rest(&self, timeout: Duration) -> io::Result<()> {
        let mut poller = libc::pollfd {
            fd: self.poll.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        let timeout = libc::timespec {
            tv_sec: 0,
            tv_nsec: timeout.subsec_nanos().into(),
        };
        // SAFETY: one pollfd and a timespec, both alive during the call; no signal mask is set.
        let rc = unsafe { libc::ppoll(&mut poller, 1, &timeout, std::ptr::null()) };
        let error =
            || Some(io::Error::last_os_error()).filter(|e| e.kind() != ErrorKind::Interrupted);
        match (rc < 0).then(error).flatten() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// What the last wait found.
    pub fn events(&self) -> impl Iterator<Item = PollEvent> + '_ {
        self.events.iter().map(|event| {
            let token = event.token().0 as u64;
            if let Some(key) = ConnId::of_bits(token) {
                return PollEvent::Conn(
                    key,
                    Readiness {
                        readable: event.is_readable() || event.is_error(),
                        writable: event.is_writable() || event.is_error(),
                        read_closed: event.is_read_closed() || event.is_error(),
                    },
                );
            }
            match token {
                0 => PollEvent::Wake,
                n => PollEvent::Listener(n as usize - 1),
            }
        })
    }

    /// The registering side.
    pub fn registrar(&self) -> io::Result<Registrar> {
        Ok(Registrar {
            registry: self.poll.registry().try_clone()?,
            waker: self.waker(),
        })
    }
}

fn register(registry: &Registry, socket: &mut Stream, key: ConnId) -> io::Result<()> {
    let both = Interest::READABLE | Interest::WRITABLE;
    registry.register(socket, Token(key.bits() as usize), both)
}

/// Registers sockets with a poller that the loop waits on, and has its waker.
pub struct Registrar {
    registry: Registry,
    waker: Arc<Waker>,
}

impl Registrar {
    /// As [`Poll::waker`].
    pub fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    pub fn register(&self, socket: &mut Stream, key: ConnId) -> io::Result<()> {
        register(&self.registry, socket, key)
    }

    /// What comes on the links ends a wait, as the waker does.
    pub fn register_links(&self, links: &transport::Links) -> io::Result<()> {
        links.watch(&self.registry, WAKE)
    }

    pub(super) fn register_listener(&self, source: &mut impl Source, n: usize) -> io::Result<()> {
        self.registry
            .register(source, Token(n + 1), Interest::READABLE)
    }
}
