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

/// How much of a client's input runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// All of it, for as long as the turn lasts.
    Pipeline,
    /// Its first command, however long the turn has lasted: the one that the client waits with.
    First,
}

/// Why no more of a client's input runs; [`Step::Next`]: it may.
pub(super) enum Step {
    /// The command ran.
    Next,
    /// The same, and the client is to be closed, or the process to end.
    Stop,
    /// The command runs again later.
    Again,
    /// The client waits for the end of its command of so many bytes.
    Block(Block, usize),
    /// There is no whole command yet.
    Starved,
    /// It was no command: the client is told so, and closed.
    Refused,
    /// The client has more replies to read than it may have.
    Over,
    /// The turn has lasted for long enough.
    Spent,
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
    bytes: usize,
}

impl<P: Platform> Execution<'_, P> {
    /// Runs one command and puts its reply behind its gate.
    fn run(
        &mut self,
        session: &mut Session,
        output: &mut Output,
        own_io: IoView,
        args: Args<'_>,
    ) -> Step {
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
            let long = leads && self.bytes + session.transaction.queued_bytes > LONG_COMMAND;
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
    ) -> Step {
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
            return Step::Again;
        }
        let held_for = self.held_since.map(|at| self.now.mono.since(at));
        let patience = match self.shard.gives_room_back() {
            true => ROOM_PATIENCE,
            false if self.shard.has_disk_left() => LOOK_PATIENCE,
            false => Duration::ZERO,
        };
        if held_for.unwrap_or_default() < patience {
            return Step::Again;
        }
        let runs_queue = args.at(0).eq_ignore_ascii_case(b"exec");
        session.refuse(runs_queue, self.shard.data_mut()); // the watches of any other command stand
        Error::DISK_FULL.write(output.buf());
        output.seal(Gate::OPEN, None);
        Step::Next
    }

    fn conclude(
        &mut self,
        session: &mut Session,
        output: &mut Output,
        outcome: Outcome,
        args: Args<'_>,
    ) -> Step {
        if outcome.flow.is_held() {
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
            Flow::Done | Flow::Hold => Step::Next,
            Flow::Close => {
                output.close_after();
                Step::Stop
            }
            Flow::Shutdown(options) => {
                let client = Some(self.key);
                self.state.shutdown = Some(Asked { options, client });
                match options.saves(&self.state.config) {
                    // It may fail, and then this client hears of it.
                    true => {
                        let (kind, timeout) = (BlockKind::End, None);
                        Step::Block(Block { kind, timeout }, self.bytes)
                    }
                    false => Step::Stop,
                }
            }
            Flow::Block(block) => Step::Block(block, self.bytes),
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
            let now = self.turn_started;
            let step = self.run_commands(key, &mut client, (admission, now), Extent::Pipeline);
            going = !matches!(step, Step::Spent);
            self.leave_off(key, &mut client, step);
            if self.has_waiting_work() {
                self.serve_waiting(admission);
            }
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

    /// The client's commands, one after the other, until one does not come to its end.
    // Apart from the turn, which is one function with the driver's loop: in there its variables would
    // not stay in registers. And the only place where commands run, so all of their road is inlined here.
    #[inline(never)]
    pub(super) fn run_commands(
        &mut self,
        key: ConnId,
        client: &mut Client<P::Socket>,
        (admission, now): (Admission, Now),
        extent: Extent,
    ) -> Step {
        let mut ahead = 0;
        loop {
            if extent == Extent::Pipeline {
                if self.is_spent() {
                    return Step::Spent;
                }
                if self.is_over(client) {
                    return Step::Over;
                }
            }
            let step = self.run_command(key, client, (admission, now), &mut ahead);
            if !matches!(step, Step::Next) || extent == Extent::First {
                return step;
            }
            if self.has_waiting_work() {
                self.serve_waiting(admission);
            }
        }
    }

    /// The next command in the client's input, which stays there unless it comes to its end. `ahead`: how many of
    /// the next commands have their keys fetched already.
    #[inline(always)]
    fn run_command(
        &mut self,
        key: ConnId,
        client: &mut Client<P::Socket>,
        (admission, now): (Admission, Now),
        ahead: &mut usize,
    ) -> Step {
        let limits = self.limits(client);
        let own_io = client.io();
        let held_since = client.wait.held_since();
        let overdue = held_since.is_some_and(|since| self.is_overdue(since));
        let Client { conn, session, .. } = client;
        let next = conn.input.next(&self.shared, &limits, &mut self.argv);
        let (args, bytes, rest) = match next {
            Ok(Next::Command {
                args,
                consumed,
                rest,
            }) => (args, consumed, rest),
            Ok(Next::Starved) => return Step::Starved,
            Err(error) => {
                self.refuse(client, &error.text());
                return Step::Refused;
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
            bytes,
        };
        let step = execution.run(session, &mut conn.output, own_io, args);
        self.unlooked += 1 + u32::try_from(bytes / BYTES_PER_COMMAND).unwrap_or(u32::MAX >> 1);
        if matches!(step, Step::Next | Step::Stop) {
            client.wait = Wait::No;
            client.conn.input.consume(bytes);
        }
        step
    }

    /// What a client does until its next visit.
    fn leave_off(&mut self, key: ConnId, client: &mut Client<P::Socket>, step: Step) {
        match step {
            Step::Next | Step::Stop | Step::Starved | Step::Refused | Step::Spent => {}
            // T4: a pipeline stops where the limit is; the flush lets it go on.
            Step::Over => client.conn.set_reading(false),
            Step::Again => self.hold(key, client),
            Step::Block(block, bytes) => {
                client.wait = Wait::No;
                self.block(key, client, block, bytes);
            }
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

    /// S2: whether a command that was held since then was so for as long as one may be.
    fn is_overdue(&self, since: Mono) -> bool {
        let limit = self.hold_limit();
        limit.is_some_and(|limit| self.turn_started.mono.since(since) >= limit)
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
