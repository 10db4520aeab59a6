//! One client's commands in a turn: from its bytes to replies behind gates.
//!
//! Owns the road of a command through the server: limits, admission, execution, its gate. Never
//! decides what a command does, nor whether its reply may leave.

use super::clients::{Client, Wait};
use super::platform::Platform;
use super::shutdown::Asked;
use super::state::{ServerState, TurnApi};
use super::turn::Server;
use base::clock::{Mono, Now};
use command::api::IoView;
use command::{execute, Block, BlockKind, Env, Error, Flow, Outcome, ServerApi, Serving, Session};
use keyspace::PREFETCH;
use net::{ConnId, Filled, Next, Output};
use resp::{Args, Limits, Skim};
use shard::{Admission, Shard};
use state::{Gate, GateKind};
use std::time::Duration;
use topology::Routing;

/// T9: copying so much takes long, however simple the command is.
const LONG_COMMAND: usize = 1 << 20;

/// T1: how long a turn has lasted is looked at after so many commands; one of more bytes than this counts for several.
const BYTES_PER_COMMAND: usize = 1 << 10;

/// What becomes of the client's input after a command.
enum After {
    /// On to its next command.
    Next,
    /// This command runs again later.
    Again,
    /// The client waits.
    Block(Block),
    /// The client is to be closed, or the process is to end.
    Stop,
}

/// What came of the next command in a client's input.
pub(super) enum NextStep {
    /// There is none yet.
    Starved,
    /// It was none: the client is told so, and closed.
    Refused,
    /// It ran, and has so many bytes.
    Done { bytes: usize },
    /// The same, and the client is to be closed, or the process to end.
    Stop { bytes: usize },
    /// The client waits for its end.
    Block { block: Block, bytes: usize },
    /// It runs again later.
    Again,
}

/// D5: for so long a write waits for a snapshot that is to give room back.
const ROOM_PATIENCE: Duration = Duration::from_secs(2);

/// D5: the same where the disk has room that is kept for a snapshot: how much that is follows what the keys take,
/// which is looked at ten times a second, and is little as soon as they are deleted.
const LOOK_PATIENCE: Duration = Duration::from_millis(500);

/// What one execution takes place on.
struct Execution<'a, P: Platform> {
    shard: &'a mut Shard<P::Disk>,
    state: &'a mut ServerState<P>,
    now: Now,
    admission: Admission,
    /// The client whose command runs.
    key: ConnId,
    routing: Option<&'a Routing>,
    /// The command was held for so long that it is no longer (S2).
    overdue: bool,
    /// Since when it has been held.
    held_since: Option<Mono>,
}

impl<P: Platform> Execution<'_, P> {
    /// Runs one command of `bytes` bytes and puts its reply behind its gate.
    fn run(
        &mut self,
        session: &mut Session,
        output: &mut Output,
        own_io: IoView,
        args: Args<'_>,
        bytes: usize,
    ) -> After {
        let serving = match self.admission {
            Admission::Lead { writable } => Serving::Lead { writable },
            Admission::Hold if self.overdue => Serving::Down,
            Admission::Hold => Serving::Hold,
            Admission::Loading { leader } => {
                let addr = leader.and(self.routing).and_then(|r| r.leader.as_deref());
                Serving::Loading { addr }
            }
            Admission::Redirect { own_copy, .. } => {
                let addr = self.routing.and_then(|r| r.leader.as_deref());
                match addr {
                    None if self.routing.is_some() && self.overdue => Serving::Down,
                    _ => Serving::Redirect { addr, own_copy },
                }
            }
        };
        let outcome = {
            let (data, handle) = self.shard.split();
            data.set_interest(self.state.config.notify_keyspace_events.heard());
            let commands = self.state.commands;
            let mut host = TurnApi {
                state: self.state,
                handle,
                own_io,
                own_key: self.key,
            };
            let leads = matches!(serving, Serving::Lead { .. });
            let long = leads && bytes + session.transaction.queued_bytes > LONG_COMMAND;
            if long {
                host.breathe();
            }
            let out = output.buf();
            let mut env = Env {
                data,
                session,
                server: &mut host,
                out,
                serving,
                routing: self.routing,
                commands,
                now: self.now,
                overdue: self.overdue,
            };
            let outcome = execute(&mut env, args);
            if long {
                host.breathe();
            }
            outcome
        };
        self.conclude(session, output, outcome, args)
    }

    /// The command did nothing and runs again later; on a full disk, where "later" may be never, it
    /// is refused (D5). Behind a snapshot that gives room back it is only slowed down (F5).
    fn put_off(
        &mut self,
        session: &mut Session,
        output: &mut Output,
        outcome: &Outcome,
        args: Args<'_>,
    ) -> After {
        output.discard_unsealed();
        self.state.drop_fanout();
        if self.shard.data().has_events() {
            // What has expired is deleted, whatever becomes of the command.
            let events = self.shard.data_mut().take_events(true);
            self.state
                .offer_events(&events, Some((self.key, session.proto)));
            let gate = self.shard.gate(GateKind::Write, outcome.footprint.depends);
            self.state.seal_fanout(output, gate, None);
        }
        let leads = matches!(self.admission, Admission::Lead { .. });
        if !leads || !self.shard.lacks_room() {
            return After::Again;
        }
        let held_for = self.held_since.map(|at| self.now.mono.since(at));
        let patience = match self.shard.gives_room_back() {
            true => ROOM_PATIENCE,
            false if self.shard.has_disk_left() => LOOK_PATIENCE,
            false => Duration::ZERO,
        };
        if held_for.unwrap_or_default() < patience {
            return After::Again;
        }
        let runs_queue = args.at(0).eq_ignore_ascii_case(b"exec");
        session.refuse(runs_queue, self.shard.data_mut()); // the watches of any other command stand
        Error::DISK_FULL.write(output.buf());
        output.seal(Gate::OPEN, None);
        After::Next
    }

    fn conclude(
        &mut self,
        session: &mut Session,
        output: &mut Output,
        outcome: Outcome,
        args: Args<'_>,
    ) -> After {
        if outcome.flow == Flow::Hold {
            return self.put_off(session, output, &outcome, args);
        }
        if self.shard.data().has_events() {
            let events = self.shard.data_mut().take_events(false);
            self.state
                .offer_events(&events, Some((self.key, session.proto)));
        }
        let gate = self.shard.gate(outcome.gate, outcome.footprint.depends);
        if self.state.pubsub.fanout.is_pending() {
            self.state.seal_fanout(output, gate, outcome.slot);
        } else {
            output.seal(gate, outcome.slot);
        }
        match outcome.flow {
            Flow::Done | Flow::Hold => After::Next,
            Flow::Close => {
                output.close_after();
                After::Stop
            }
            Flow::Shutdown(options) => {
                let client = Some(self.key);
                self.state.shutdown = Some(Asked { options, client });
                match options.saves(&self.state.config) {
                    // It may fail, and then this client hears of it.
                    true => After::Block(Block {
                        kind: BlockKind::End,
                        timeout: None,
                    }),
                    false => After::Stop,
                }
            }
            Flow::Block(block) => After::Block(block),
        }
    }
}

impl<P: Platform> Server<P> {
    /// Visits every ready client once, within the turn's budget.
    pub(super) fn serve_clients(&mut self, admission: Admission) {
        // E4: at the end nobody is served any more, but sent to the new leader.
        if self.ending.is_some() && !matches!(admission, Admission::Redirect { .. }) {
            return;
        }
        self.close_killed();
        self.look_at_held_keys();
        if self.has_waiting_work() {
            self.serve_waiting(admission);
        }
        self.retry_held(admission);
        for _ in 0..self.ready.len() {
            let Some(key) = self.ready.take() else { break };
            if !self.serve_client(key, admission) {
                break;
            }
        }
    }

    /// One visit; false when the turn is spent.
    fn serve_client(&mut self, key: ConnId, admission: Admission) -> bool {
        let Some(mut client) = self.state.clients.get_mut(key).and_then(Option::take) else {
            return true;
        };
        client.conn.unlisted();
        let mut going = true;
        if !client.must_wait() && self.fill(&mut client) {
            going = self.run_commands(key, &mut client, admission);
        }
        client.conn.input.settle(&self.shared);
        client.mark_dirty(&mut self.dirty, key);
        if !client.must_wait() && client.conn.has_work() {
            self.ready.add(key, &mut client.conn);
        }
        *self.state.clients.get_mut(key).expect("its place was kept") = Some(client);
        going
    }

    /// Reads if there is nothing left to parse; whether there is something to parse now.
    fn fill(&mut self, client: &mut Client<P::Socket>) -> bool {
        if !client.conn.wants_fill() {
            return !client.conn.input.is_starved();
        }
        match client.conn.fill(
            &mut self.shared,
            self.state.config.client_query_buffer_limit,
        ) {
            Filled::Bytes(n) => {
                client.net_in += n as u64;
                self.state.stats.net_input_bytes += n as u64;
                true
            }
            Filled::Blocked => false,
            Filled::Eof => {
                client.conn.output.close_after();
                false
            }
            Filled::OverLimit => {
                slog::warn!(
                    self.logger,
                    "Closing client that reached max query buffer length: id={} addr={}",
                    client.session.id,
                    client.session.endpoint.addr
                );
                client.conn.output.close_after();
                false
            }
            Filled::Failed(error) => {
                slog::debug!(self.logger, "Reading from client: {}", error);
                client.conn.output.close_after();
                client.doomed = true;
                false
            }
        }
    }

    /// The client's commands, one after the other; false when the turn is spent.
    // Apart from the turn, which is one function with the driver's loop: in there its variables would
    // not stay in registers.
    #[inline(never)]
    fn run_commands(
        &mut self,
        key: ConnId,
        client: &mut Client<P::Socket>,
        admission: Admission,
    ) -> bool {
        let mut ahead = 0;
        loop {
            if self.is_spent() {
                return false;
            }
            // T4: a pipeline stops where the limit is; the flush lets it go on.
            if self.is_over(client) {
                client.conn.set_reading(false);
                return true;
            }
            let goes_on =
                match self.run_command(key, client, (admission, self.turn_started), &mut ahead) {
                    NextStep::Starved | NextStep::Refused => return true,
                    NextStep::Again => {
                        self.hold(key, client);
                        return true;
                    }
                    NextStep::Done { bytes } => {
                        client.wait = Wait::No;
                        client.conn.input.consume(bytes);
                        true
                    }
                    NextStep::Stop { bytes } => {
                        client.wait = Wait::No;
                        client.conn.input.consume(bytes);
                        false
                    }
                    NextStep::Block { block, bytes } => {
                        client.wait = Wait::No;
                        self.block(key, client, block, bytes);
                        false
                    }
                };
            if self.has_waiting_work() {
                self.serve_waiting(admission);
            }
            if !goes_on {
                return true;
            }
        }
    }

    /// The next command in the client's input, which stays there. `ahead`: commands to come whose keys have been
    /// fetched.
    #[inline(always)]
    pub(super) fn run_command(
        &mut self,
        key: ConnId,
        client: &mut Client<P::Socket>,
        (admission, now): (Admission, Now),
        ahead: &mut usize,
    ) -> NextStep {
        let limits = self.limits(client);
        let own_io = client.io();
        let (overdue, held_since) = (self.is_overdue(client), client.wait.held_since());
        let Client { conn, session, .. } = client;
        let next = conn.input.next(&self.shared, &limits, &mut self.argv);
        let (args, bytes, rest) = match next {
            Ok(Next::Command {
                args,
                consumed,
                rest,
            }) => (args, consumed, rest),
            Ok(Next::Starved) => return NextStep::Starved,
            Err(error) => {
                self.refuse(client, &error.text());
                return NextStep::Refused;
            }
        };
        // A pipeline: while this command runs the memory of the next ones is on its way.
        if *ahead == 0 && !rest.is_empty() {
            *ahead = PREFETCH;
            self.shard.data().prefetch(session.db, Skim::new(rest));
        }
        *ahead = ahead.saturating_sub(1);
        let mut execution = Execution {
            shard: &mut self.shard,
            state: &mut self.state,
            now,
            admission,
            key,
            routing: self.routing.as_deref(),
            overdue,
            held_since,
        };
        let after = execution.run(session, &mut conn.output, own_io, args, bytes);
        self.unlooked += 1 + u32::try_from(bytes / BYTES_PER_COMMAND).unwrap_or(u32::MAX >> 1);
        match after {
            After::Next => NextStep::Done { bytes },
            After::Again => NextStep::Again,
            After::Block(block) => NextStep::Block { block, bytes },
            After::Stop => NextStep::Stop { bytes },
        }
    }

    /// The client's next command can't run yet.
    fn hold(&mut self, key: ConnId, client: &mut Client<P::Socket>) {
        client.hold(self.turn_started.mono);
        self.held.push(key);
    }

    fn limits(&self, client: &Client<P::Socket>) -> Limits {
        let max_bulk = self.state.config.proto_max_bulk_len;
        Limits {
            max_bulk_bytes: i64::try_from(max_bulk).unwrap_or(i64::MAX),
            unauthenticated: !client.session.authenticated,
        }
    }

    /// S2: whether the client's command was held for as long as a command may be.
    fn is_overdue(&self, client: &Client<P::Socket>) -> bool {
        let (since, limit) = (client.wait.held_since(), self.hold_limit());
        since
            .zip(limit)
            .is_some_and(|(since, limit)| self.turn_started.mono.since(since) >= limit)
    }

    /// The client broke the protocol: it is told so and closed.
    fn refuse(&mut self, client: &mut Client<P::Socket>, text: &[u8]) {
        slog::debug!(
            self.logger,
            "Protocol error ({}) from client: id={} addr={}",
            String::from_utf8_lossy(text),
            client.session.id,
            client.session.endpoint.addr
        );
        let output = &mut client.conn.output;
        output.buf().extend_from_slice(b"-");
        output.buf().extend_from_slice(text);
        output.buf().extend_from_slice(b"\r\n");
        output.seal(Gate::OPEN, None);
        output.close_after();
    }
}
