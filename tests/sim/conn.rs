//! A client's connection on the server's side: session, input and gated output, as
//! `src/node/visit.rs` and `flush.rs` treat them.

use std::time::Duration;

use holdfast::clock::{Mono, Now};
use holdfast::cluster::Routing;
use holdfast::command::session::Endpoint;
use holdfast::command::{execute, Data, Env, Flow, Outcome, Serving, Session};
use holdfast::net::{Flushed, Output};
use holdfast::resp::{Argv, Limits, Parsed, Parser};
use holdfast::shard::TurnOutput;

use crate::disk::SimDisk;
use crate::host::SimHost;
use crate::net::Conn;

/// Commands executed for one connection in one turn.
pub const PER_CONN: usize = 64;
/// T1: the budget of effects of a turn.
const TURN_BYTES: usize = 64 << 10;

pub struct ServerConn {
    pub client: usize,
    pub session: Session,
    pub output: Output,
    parser: Parser,
    argv: Argv,
    inbuf: Vec<u8>,
    held_since: Option<Mono>,
}

/// What a leader does for clients. The budget ends writing, not reading.
pub fn leading<'a>(data: &mut Data, writable: bool) -> Serving<'a> {
    let writable = writable && data.batch_bytes() < TURN_BYTES;
    data.set_writable(writable);
    Serving::Lead { writable }
}

impl ServerConn {
    pub fn open(now: Now, conn: Conn, client: usize) -> ServerConn {
        let endpoint = Endpoint {
            addr: format!("client {client}"),
            ..Endpoint::default()
        };
        ServerConn {
            client,
            session: Session::new(conn, endpoint, now.mono, true),
            output: Output::new(),
            parser: Parser::new(),
            argv: Argv::default(),
            inbuf: Vec::new(),
            held_since: None,
        }
    }

    pub fn receive(&mut self, bytes: &[u8]) {
        self.inbuf.extend_from_slice(bytes);
    }

    /// Whether there may be a command that can be answered.
    pub fn is_ready(&self) -> bool {
        !self.inbuf.is_empty() && !self.output.is_closing()
    }

    pub fn is_held(&self) -> bool {
        self.held_since.is_some()
    }

    /// S2: its command is held for 1.5 T.
    pub fn is_overdue(&self, now: Now, t: Duration) -> bool {
        let waited = self.held_since.map(|since| now.mono.since(since));
        waited.is_some_and(|waited| waited >= t * 3 / 2)
    }

    /// Executes the next command; none if there is no whole one, or if it is held.
    pub fn execute(
        &mut self,
        data: &mut Data,
        host: &mut SimHost<'_>,
        serving: Serving<'_>,
        routing: Option<&Routing>,
        now: Now,
    ) -> Option<Outcome> {
        let consumed = self.parse()?;
        let mut env = Env {
            data,
            session: &mut self.session,
            host,
            out: self.output.buf(),
            serving,
            routing,
            now,
        };
        let outcome = execute(&mut env, self.argv.bind(&self.inbuf));
        if outcome.flow == Flow::Hold {
            self.held_since.get_or_insert(now.mono);
            return None;
        }
        self.held_since = None;
        self.inbuf.drain(..consumed);
        Some(outcome)
    }

    /// Length of the next command, which is in `argv` then.
    fn parse(&mut self) -> Option<usize> {
        let limits = Limits::default();
        loop {
            let parsed = self.parser.parse(&self.inbuf, &limits, &mut self.argv);
            match parsed.expect("clients speak RESP") {
                Parsed::Command { consumed } => return Some(consumed),
                Parsed::Skip { consumed } => drop(self.inbuf.drain(..consumed)),
                Parsed::Incomplete { .. } => return None,
            }
        }
    }

    /// T6: what did not happen is answered by `moved`; of what nobody knows there is no answer.
    pub fn learn(
        &mut self,
        output: &TurnOutput<SimDisk>,
        moved: &mut impl FnMut(Option<u16>, &mut Vec<u8>),
    ) {
        for range in &output.failed {
            self.output.fail(range.clone(), moved);
        }
        if let Some(reads) = &output.failed_reads {
            self.output.fail_reads(reads.clone(), moved);
        }
        if let Some(batches) = &output.unknown {
            self.output.poison(batches.clone());
        }
    }

    /// The bytes that may leave.
    pub fn flush(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.output.wants_write() {
            let flushed = self.output.write_to(&mut bytes).expect("memory takes it");
            assert_eq!(flushed, Flushed::All, "memory takes it all");
        }
        bytes
    }
}
