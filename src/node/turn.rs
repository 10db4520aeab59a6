//! The loop: one turn after another, in the order of rule T1.
//!
//! Everything here happens on one thread. Invariants: between a turn's first command and
//! [`Shard::finish`] nothing but commands runs; replies leave only after `finish`; a client's
//! commands run in the order in which they came, whatever they have to wait for.

use super::client::Client;
use super::host::HostState;
use super::shutdown::Ending;
use super::start::NodeError;
use crate::clock::{Clock, Mono, Now};
use crate::cluster::Routing;
use crate::command::session::Endpoint;
use crate::command::{Error, Session};
use crate::log::Log;
use crate::net::{Accepted, Conn, Event, Gate, Key, Poll, ReadBuffer, ReadyList};
use crate::process::{Lock, Shutdown};
use crate::resp::Argv;
use crate::shard::{Admission, Shard};
use crate::storage::{Done, RealDisk, StorageThread};
use slog::Logger;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::sync::mpsc::Receiver;
use std::sync::Arc;
use std::time::Duration;

/// T1: how long clients' commands may run before their effects are proposed.
const TURN_TIME: Duration = Duration::from_millis(1);
/// T1: bytes of effects after which they are proposed.
pub(super) const TURN_EFFECTS: usize = 64 << 10;
/// Commands between two looks at the clock.
pub(super) const COMMANDS_PER_LOOK: u32 = 64;

pub struct Node {
    pub(super) poll: Poll,
    pub(super) shard: Shard<RealDisk>,
    pub(super) storage: StorageThread<RealDisk>,
    pub(super) results: Receiver<Done<RealDisk>>,
    pub(super) host: HostState,
    pub(super) logger: Logger,
    pub(super) log: Log,
    pub(super) signals: Shutdown,
    pub(super) _locks: (Lock, Option<Lock>),
    /// Clients with something to read or to parse.
    pub(super) ready: ReadyList,
    pub(super) shared: ReadBuffer,
    pub(super) argv: Argv,
    /// Clients with output to flush in this turn.
    pub(super) dirty: Vec<Key>,
    /// Clients with output behind a gate.
    pub(super) gated: Vec<Key>,
    /// Clients whose next command can't run yet.
    pub(super) held: Vec<Key>,
    /// Clients in WAIT.
    pub(super) waiting: Vec<Key>,
    pub(super) released: Gate,
    pub(super) next_client_id: u64,
    pub(super) next_cron: Mono,
    pub(super) cron_runs: u64,
    pub(super) turn_started: Now,
    pub(super) commands: u32,
    /// T4: bytes behind gates, of all clients.
    pub(super) held_bytes: usize,
    /// Of the machine or its control group.
    pub(super) memory_bytes: usize,
    pub(super) ending: Option<Ending>,
    pub(super) disk_full_told: bool,
    /// Where slots are, as of this turn; none outside a cluster.
    pub(super) routing: Option<Arc<Routing>>,
}

impl Node {
    /// Turns until the process is to end.
    pub(super) fn turns(&mut self) -> Result<(), NodeError> {
        let mut ended = self.turn_started;
        let mut commands = self.commands;
        loop {
            // Clients that have been answered ask again at once; who waits for a disk or for other
            // members leaves the processor to them.
            let eager = self.commands != commands && self.gated.is_empty();
            commands = self.commands;
            self.poll.wait(Some(self.patience(ended)), eager)?;
            let now = self.host.clock.now();
            self.turn_started = now;
            self.take_events();
            self.take_results(now)?;
            self.take_news(now)?;
            self.shard.begin(now)?;
            self.follow_cluster(now)?;
            self.release()?;
            self.accept(now);
            let admission = self.admission();
            self.routing = self
                .host
                .cluster
                .as_ref()
                .map(|c| Arc::clone(c.agent.routing()));
            self.visit_clients(admission);
            self.cron(now, admission);
            let clock = self.host.clock;
            ended = self.shard.finish(&clock)?;
            self.release()?;
            self.act(now)?;
            self.flush();
            if self.has_ended(now)? {
                return Ok(());
            }
        }
    }

    /// How long nothing needs to be done unless something comes. `ended`: the turn's last look at
    /// the clock; one more would only take account of the time that the writes to sockets took.
    fn patience(&self, ended: Now) -> Duration {
        if !self.ready.is_empty() || self.host.listeners.has_work(self.turn_started.mono) {
            return Duration::ZERO;
        }
        let mut next = self.shard.deadline().min(self.next_cron);
        if let Some(cluster) = &self.host.cluster {
            next = next.min(cluster.agent.deadline());
        }
        if let (Some(limit), false) = (self.hold_limit(), self.held.is_empty()) {
            next = next.min(self.turn_started.mono + limit / 10);
        }
        if let Some(at) = self.host.listeners.next_deadline() {
            next = next.min(at);
        }
        next.since(ended.mono)
    }

    fn take_events(&mut self) {
        for event in self.poll.events() {
            match event {
                // Results and signals are looked for in every turn.
                Event::Wake => {}
                Event::Listener(n) => self.host.listeners.note(n),
                Event::Conn(key, readiness) => {
                    let Some(Some(client)) = self.host.clients.get_mut(key) else {
                        continue;
                    };
                    client.conn.note(readiness);
                    if readiness.writable && client.conn.output.wants_write() && !client.dirty {
                        client.dirty = true;
                        self.dirty.push(key);
                    }
                    if client.must_wait() {
                        if client.conn.peer_has_gone() && !client.doomed {
                            client.doomed = true;
                            self.host.killed.push(key);
                        }
                    } else if client.conn.has_work() {
                        self.ready.add(key, &mut client.conn);
                    }
                }
            }
        }
    }

    fn take_results(&mut self, now: Now) -> Result<(), NodeError> {
        while let Ok(done) = self.results.try_recv() {
            self.shard.job_done(now, done)?;
        }
        if self.shard.is_disk_full() != self.disk_full_told {
            self.disk_full_told = !self.disk_full_told;
            if self.disk_full_told {
                slog::warn!(
                    self.logger,
                    "The disk is full: writes wait until there is room again"
                );
            } else {
                slog::warn!(self.logger, "There is room on the disk again: writes go on");
            }
        }
        Ok(())
    }

    /// Whether this turn's time or effects are used up.
    pub(super) fn is_spent(&mut self) -> bool {
        if self.shard.data().batch_bytes() >= TURN_EFFECTS {
            return true;
        }
        self.commands += 1;
        self.commands % COMMANDS_PER_LOOK == 0
            && self.host.clock.now().mono.since(self.turn_started.mono) >= TURN_TIME
    }

    // ---- clients come and go --------------------------------------------------------------

    fn accept(&mut self, now: Now) {
        if self.ending.is_some() || !self.host.listeners.has_work(now.mono) {
            return;
        }
        let keepalive = Duration::from_secs(self.host.config.tcp_keepalive.into());
        let mut accepted = Vec::new();
        let errors = self
            .host
            .listeners
            .accept(now.mono, keepalive, &mut |a| accepted.push(a));
        if let Err(error) = errors {
            slog::warn!(self.logger, "Accepting client connection: {}", error);
        }
        for client in accepted {
            self.welcome(client, now);
        }
    }

    fn welcome(&mut self, accepted: Accepted, now: Now) {
        self.host.stats.connections_received += 1;
        let Accepted { mut socket, peer } = accepted;
        let loopback = peer.ip().to_canonical().is_loopback();
        let config = &self.host.config;
        let refusal = if self.host.clients.len() >= config.maxclients as usize {
            Some(Error::MAX_CLIENTS)
        } else if config.protected_mode && config.requirepass.is_empty() && !loopback {
            Some(Error::PROTECTED_MODE)
        } else {
            None
        };
        if let Some(text) = refusal {
            self.host.stats.connections_rejected += 1;
            let mut line = Vec::new();
            text.write(&mut line);
            // The client is turned away; whether it hears why is its own affair.
            let _ = socket.write(&line);
            self.host.listeners.file_freed();
            return;
        }
        let conn = Conn::new(socket, peer);
        let endpoint = Endpoint {
            addr: address(peer),
            laddr: conn.local().map(address).unwrap_or_default(),
            fd: conn.fd().into(),
            loopback,
        };
        let id = self.next_client_id;
        self.next_client_id += 1;
        let session = Session::new(
            id,
            endpoint,
            now.mono,
            self.host.config.requirepass.is_empty(),
        );
        let key = self
            .host
            .clients
            .insert(Some(Box::new(Client::new(conn, session))));
        let client = self.host.clients.get_mut(key).and_then(Option::as_mut);
        let client = client.expect("it was just inserted");
        if let Err(error) = self.poll.register(&mut client.conn, key) {
            slog::warn!(self.logger, "Can't watch a client's socket: {}", error);
            self.close(key);
        }
    }

    /// Ends a client: its socket, its watches, its places in the lists (which find no client under
    /// its key any more).
    pub(super) fn close(&mut self, key: Key) {
        if let Some(Some(mut client)) = self.host.clients.remove(key) {
            client.session.end(self.shard.data_mut());
            self.forget_subscriber(key);
            self.held_bytes -= client.counted_held;
            self.host.listeners.file_freed();
        }
    }
}

fn address(address: SocketAddr) -> String {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => format!("{ip}:{}", address.port()),
        IpAddr::V6(ip) => format!("[{ip}]:{}", address.port()),
    }
}

impl Node {
    /// Moves held clients back to the ready ones when what they waited for may have come, or will
    /// not come in time (S2).
    pub(super) fn retry_held(&mut self, admission: Admission) {
        let now = self.turn_started.mono;
        let limit = self.hold_limit();
        let waits = match admission {
            Admission::Lead { .. } => false,
            Admission::Hold => true,
            // Where to is not known yet.
            Admission::Redirect { own_copy, .. } => {
                !own_copy && self.routing.as_ref().is_some_and(|r| r.leader.is_none())
            }
        };
        for key in std::mem::take(&mut self.held) {
            let Some(Some(client)) = self.host.clients.get_mut(key) else {
                continue;
            };
            let overdue = |at: Mono| limit.is_some_and(|limit| now.since(at) >= limit);
            if !waits || client.held_since.is_some_and(overdue) {
                client.held = false;
                self.ready.add(key, &mut client.conn);
            } else {
                self.held.push(key);
            }
        }
    }

    /// How long a command may wait for a leader; for ever outside a cluster.
    pub(super) fn hold_limit(&self) -> Option<Duration> {
        let t = self.shard.group().election_timeout();
        self.routing.is_some().then(|| t * 3 / 2)
    }
}
