//! The clients: how they come and go, and for each its connection, its session, and why it waits.
//!
//! Owns what is known of a client beside its bytes. Never decides what a command does.

use super::blocking::{Blocked, WaitsFor};
use super::downloads::Download;
use super::platform::Platform;
use super::turn::Server;
use base::clock::{Mono, Now};
use base::mutation::{self, Mutation};
use command::api::IoView;
use command::session::Endpoint;
use command::{Error, Session};
use net::{Accepted, Conn, ConnId, Peer, Socket};
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Whether the client's next command may run, and if not why.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Wait {
    #[default]
    No,
    /// Its next command can't run yet (S2); it stands in the server's list of held clients.
    Held { since: Mono },
    /// The same command is tried once more: its time goes on.
    Retries { since: Mono },
    /// It stands in the registry of blocked clients.
    Blocked(Blocked),
}

impl Wait {
    /// Since when the next command, or the end of the one that waits for keys, could not come.
    pub fn held_since(self) -> Option<Mono> {
        match self {
            Wait::Held { since } | Wait::Retries { since } => Some(since),
            Wait::Blocked(Blocked {
                on: WaitsFor::Keys { over, .. },
                ..
            }) => over,
            Wait::No | Wait::Blocked(_) => None,
        }
    }

    pub fn blocked(self) -> Option<Blocked> {
        match self {
            Wait::Blocked(blocked) => Some(blocked),
            _ => None,
        }
    }
}

pub struct Client<S> {
    pub conn: Conn<S>,
    pub session: Session,
    pub wait: Wait,
    /// The file that it gets (P26).
    pub download: Option<Box<Download>>,
    /// It has output that this turn must flush.
    pub dirty: bool,
    /// It has output behind a gate and stands in the node's list.
    pub gated: bool,
    /// The running command has put messages into its output that are not sealed yet.
    pub offered: bool,
    /// It is to be closed at the end of the turn, without another byte.
    pub doomed: bool,
    /// Since when it has left more unread than the soft limit of its class.
    pub unread_since: Option<Mono>,
    /// T4: what this client adds to the node's sum of held bytes.
    pub counted_held: usize,
    pub net_in: u64,
    pub net_out: u64,
}

impl<S: Socket> Client<S> {
    pub fn new(conn: Conn<S>, session: Session) -> Client<S> {
        Client {
            conn,
            session,
            wait: Wait::No,
            download: None,
            dirty: false,
            gated: false,
            offered: false,
            doomed: false,
            unread_since: None,
            counted_held: 0,
            net_in: 0,
            net_out: 0,
        }
    }

    /// A client that waits for an answer is not read: what it has sent behind its command must not hide its end.
    pub fn is_gone(&self) -> bool {
        match self.wait {
            Wait::Blocked(_) if mutation::is(Mutation::ServeTheGone) => false,
            Wait::Blocked(_) => self.conn.has_hung_up(),
            _ => self.conn.peer_has_gone(),
        }
    }

    /// Nothing of this client may be executed now.
    pub fn must_wait(&self) -> bool {
        let waits = matches!(self.wait, Wait::Held { .. } | Wait::Blocked(_));
        waits || self.doomed || self.conn.output.is_closing()
    }

    /// Its next command can't run yet.
    pub fn hold(&mut self, now: Mono) {
        let since = self.wait.held_since().unwrap_or(now);
        self.wait = Wait::Held { since };
    }

    /// A held command is tried once more.
    pub fn retry(&mut self) {
        if let Wait::Held { since } = self.wait {
            self.wait = Wait::Retries { since };
        }
    }

    /// Its output is flushed in this turn.
    #[inline]
    pub fn mark_dirty(&mut self, dirty: &mut Vec<ConnId>, key: ConnId) {
        if !self.dirty {
            self.dirty = true;
            dirty.push(key);
        }
    }

    pub fn io(&self) -> IoView {
        IoView {
            query_buffer: self.conn.input.len(),
            query_buffer_free: self
                .conn
                .input
                .memory_bytes()
                .saturating_sub(self.conn.input.len()),
            output_bytes: self.conn.output.pending_bytes(),
            total_memory: self.conn.memory_bytes() + std::mem::size_of::<Client<S>>(),
            total_net_in: self.net_in,
            total_net_out: self.net_out,
            // A replica is not: it is a kind of client of its own.
            blocked: self
                .wait
                .blocked()
                .is_some_and(|b| b.on != WaitsFor::Download),
            closing: self.doomed || self.conn.output.is_closing(),
        }
    }
}

/// Calls for arrivals in one turn.
const ACCEPTS_PER_TURN: usize = 64;

impl<P: Platform> Server<P> {
    pub(super) fn accept(&mut self, now: Now) {
        for _ in 0..ACCEPTS_PER_TURN {
            if self.ending.is_some() || !self.state.platform.has_arrivals(now.mono) {
                return;
            }
            self.accept_some(now);
        }
    }

    // Apart from the turn, which is one function with the driver's loop.
    #[inline(never)]
    fn accept_some(&mut self, now: Now) {
        let keepalive = Duration::from_secs(self.state.config.tcp_keepalive.into());
        let mut accepted = Vec::new();
        let errors = self
            .state
            .platform
            .accept(now.mono, keepalive, &mut |a| accepted.push(a));
        if let Err(error) = errors {
            slog::warn!(self.logger, "Accepting client connection: {}", error);
        }
        for client in accepted {
            self.accept_client(client, now);
        }
    }

    fn accept_client(&mut self, accepted: Accepted<P::Socket>, now: Now) {
        self.state.stats.connections_received += 1;
        let Accepted { mut socket, peer } = accepted;
        let loopback = match peer {
            Peer::Net(address) => address.ip().to_canonical().is_loopback(),
            Peer::Unix => true,
        };
        let config = &self.state.config;
        let refusal = if self.state.clients.len() >= config.maxclients as usize {
            Some(Error::MAX_CLIENTS)
        } else if config.protected_mode && config.requirepass.is_empty() && !loopback {
            Some(Error::PROTECTED_MODE)
        } else {
            None
        };
        if let Some(text) = refusal {
            self.state.stats.connections_rejected += 1;
            let mut line = Vec::new();
            text.write(&mut line);
            // The client is turned away; whether it hears why is its own affair.
            let _ = socket.write(&line);
            self.state.platform.file_freed();
            return;
        }
        let mut conn = Conn::new(socket);
        let (addr, laddr) = match peer {
            Peer::Net(peer) => (address(peer), conn.local().map(address).unwrap_or_default()),
            Peer::Unix => {
                let both = format!("{}:0", config.unixsocket);
                (both.clone(), both)
            }
        };
        let endpoint = Endpoint {
            addr,
            laddr,
            fd: conn.fd().into(),
            loopback,
            unix: peer == Peer::Unix,
        };
        let id = self.next_client_id;
        self.next_client_id += 1;
        let open = self.state.config.requirepass.is_empty();
        let session = Session::new(id, endpoint, now.mono, open);
        let key = self.state.clients.insert(None);
        if let Err(error) = self.state.platform.watch(conn.socket_mut(), key) {
            slog::warn!(self.logger, "Can't watch a client's socket: {}", error);
            self.state.clients.remove(key);
            self.state.platform.file_freed();
            return;
        }
        let place = self.state.clients.get_mut(key);
        let place = place.expect("it was just inserted");
        *place = Some(Box::new(Client::new(conn, session)));
    }

    /// Ends a client: its socket, its watches, its wait, its places in the lists (which find no client under
    /// its key any more).
    pub(super) fn close_client(&mut self, key: ConnId) {
        if let Some(Some(mut client)) = self.state.clients.remove(key) {
            if let Some(blocked) = client.wait.blocked() {
                self.state.blocking.remove(client.session.id, blocked.until);
                self.shard.data_mut().leave(client.session.id);
            }
            client.session.end(self.shard.data_mut());
            self.forget_subscriber(key);
            self.held_bytes -= client.counted_held;
            self.state.platform.file_freed();
        }
    }

    /// Clients that a command or a closed peer has named.
    pub(super) fn close_killed(&mut self) {
        for key in std::mem::take(&mut self.state.killed) {
            self.close_client(key);
        }
    }
}

fn address(address: SocketAddr) -> String {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => format!("{ip}:{}", address.port()),
        IpAddr::V6(ip) => format!("[{ip}]:{}", address.port()),
    }
}
