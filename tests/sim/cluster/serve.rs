//! A node's clients: sessions, gated output, and the execution of their commands.
//!
//! Owns: connections on the server's side, as `src/node/visit.rs` and `flush.rs` treat them.

use std::sync::Arc;
use std::time::Duration;

use holdfast::clock::{Mono, Now};
use holdfast::cluster::Routing;
use holdfast::command::session::Endpoint;
use holdfast::command::{execute, Access, Env, Error, Flow, Serving, Session};
use holdfast::net::{Flushed, Gate, Output};
use holdfast::pubsub::Registry;
use holdfast::resp::{Argv, Limits, Parsed, Parser};
use holdfast::shard::Admission;

use super::node::{Node, TurnResult};
use crate::clock::TurnClock;
use crate::host::SimHost;
use crate::net::Conn;

/// Commands executed for one connection in one turn.
const PER_CONN: usize = 64;
/// T1: the budget of effects of a turn.
const TURN_BYTES: usize = 64 << 10;

pub struct ServerConn {
    pub client: usize,
    pub session: Session,
    pub output: Output,
    parser: Parser,
    argv: Argv,
    pub inbuf: Vec<u8>,
    pub held_since: Option<Mono>,
}

impl Node {
    pub(super) fn open_client(&mut self, now: Now, conn: Conn, client: usize) {
        let endpoint = Endpoint {
            addr: format!("client {client}"),
            ..Endpoint::default()
        };
        let server = ServerConn {
            client,
            session: Session::new(conn, endpoint, now.mono, true),
            output: Output::new(),
            parser: Parser::new(),
            argv: Argv::default(),
            inbuf: Vec::new(),
            held_since: None,
        };
        self.conns.insert(conn, server);
    }

    pub(super) fn close_client(&mut self, conn: Conn, result: &mut TurnResult) {
        if let Some(mut c) = self.conns.remove(&conn) {
            c.session.end(self.shard.data_mut());
            result.closed.push((conn, c.client));
        }
    }

    pub(super) fn execute_clients(
        &mut self,
        clock: &TurnClock<'_>,
        now: Now,
        admission: Admission,
        _result: &mut TurnResult,
    ) {
        let routing = Arc::clone(self.agent.routing());
        let mut conns = std::mem::take(&mut self.conns);
        for c in conns.values_mut() {
            self.execute_client(clock, now, admission, &routing, c);
        }
        self.conns = conns;
    }

    fn execute_client(
        &mut self,
        clock: &TurnClock<'_>,
        now: Now,
        admission: Admission,
        routing: &Routing,
        c: &mut ServerConn,
    ) {
        for _ in 0..PER_CONN {
            if c.inbuf.is_empty() || c.output.is_closing() {
                break;
            }
            let serving = self.serving(now, admission, routing, c);
            let limits = Limits::default();
            let parsed = c
                .parser
                .parse(&c.inbuf, &limits, &mut c.argv)
                .expect("clients speak RESP");
            let consumed = match parsed {
                Parsed::Command { consumed } => consumed,
                Parsed::Skip { consumed } => {
                    c.inbuf.drain(..consumed);
                    continue;
                }
                Parsed::Incomplete { .. } => break,
            };
            let mut host = SimHost {
                config: &self.config,
                stats: &mut self.stats,
                clock,
                pubsub: Registry::new(),
            };
            let mut env = Env {
                data: self.shard.data_mut(),
                session: &mut c.session,
                host: &mut host,
                out: c.output.buf(),
                serving,
                routing: Some(routing),
                now,
            };
            let outcome = execute(&mut env, c.argv.bind(&c.inbuf));
            if outcome.flow == Flow::Hold {
                c.held_since.get_or_insert(now.mono);
                break;
            }
            let leads = self.shard.data().access() == Access::Lead;
            let touched = outcome.footprint.read || outcome.footprint.wrote;
            if let (true, true, Some(slot)) = (leads, touched, outcome.slot) {
                self.served.push((slot, outcome.footprint.wrote));
                let committed = self.shard.record().slots.contains(slot);
                if !committed {
                    self.seen.push(format!(
                        "S1: slot {slot} is served before its gain committed"
                    ));
                }
            }
            c.held_since = None;
            c.inbuf.drain(..consumed);
            let gate = self.shard.gate(&outcome);
            c.output.seal(gate, outcome.slot);
        }
    }

    fn serving<'a>(
        &mut self,
        now: Now,
        admission: Admission,
        routing: &'a Routing,
        c: &ServerConn,
    ) -> Serving<'a> {
        let limit = Duration::from_millis(self.setup.t_ms) * 3 / 2;
        let overdue = c.held_since.is_some_and(|at| now.mono.since(at) >= limit);
        match admission {
            Admission::Lead { writable } => {
                let data = self.shard.data_mut();
                let writable = writable && data.batch_bytes() < TURN_BYTES;
                data.set_writable(writable);
                Serving::Lead { writable }
            }
            Admission::Hold if overdue => Serving::Down,
            Admission::Hold => Serving::Hold,
            Admission::Redirect { own_copy, .. } => match routing.leader.as_deref() {
                None if overdue => Serving::Down,
                addr => Serving::Redirect { addr, own_copy },
            },
        }
    }

    // ---- what leaves --------------------------------------------------------------------------

    /// Takes what the shard has decided: jobs, messages, verdicts on gates.
    pub(super) fn release(&mut self, result: &mut TurnResult) {
        let output = self.shard.take_output();
        let no = self.shard_no;
        result
            .jobs
            .extend(output.jobs.into_iter().map(|job| (no, job)));
        self.agent.send(output.messages);
        self.agent.tell_strangers(output.strangers, &self.shard);
        let addr = self.agent.routing().leader.clone();
        let mut moved = |slot: Option<u16>, out: &mut Vec<u8>| {
            Error::not_done(slot, addr.as_deref()).write(out);
        };
        for c in self.conns.values_mut() {
            for range in &output.failed {
                c.output.fail(range.clone(), &mut moved);
            }
            if let Some(reads) = &output.failed_reads {
                c.output.fail_reads(reads.clone(), &mut moved);
            }
            if let Some(batches) = &output.unknown {
                c.output.poison(batches.clone());
            }
        }
        self.released = output.released;
    }

    /// The shard is replaced: what waits for it is never answered.
    pub(super) fn forget_gates(&mut self, last: Gate) {
        let addr = self.agent.routing().leader.clone();
        let mut moved = |slot: Option<u16>, out: &mut Vec<u8>| {
            Error::not_done(slot, addr.as_deref()).write(out);
        };
        for c in self.conns.values_mut() {
            if last.read > 0 {
                c.output.fail_reads(1..=last.read, &mut moved);
            }
            if last.batch > self.released.batch {
                c.output.poison(self.released.batch + 1..=last.batch);
            }
        }
    }

    pub(super) fn flush(&mut self, result: &mut TurnResult) {
        let mut finished = Vec::new();
        for (conn, c) in &mut self.conns {
            c.output.release(self.released);
            let mut bytes = Vec::new();
            while c.output.wants_write() {
                let flushed = c.output.write_to(&mut bytes).expect("memory takes it");
                assert_eq!(flushed, Flushed::All, "memory takes it all");
            }
            if !bytes.is_empty() {
                result.replies.push((*conn, c.client, bytes));
            }
            if c.output.is_finished() {
                finished.push(*conn);
            }
        }
        for conn in finished {
            self.close_client(conn, result);
        }
    }
}
