//! A node's clients: what is executed for them, and what leaves.

use std::sync::Arc;
use std::time::Duration;

use holdfast::clock::Now;
use holdfast::cluster::Routing;
use holdfast::command::{Access, Error, Serving};
use holdfast::net::Gate;
use holdfast::pubsub::Registry;
use holdfast::shard::Admission;

use super::node::{Node, TurnResult};
use crate::clock::TurnClock;
use crate::conn::{leading, ServerConn, PER_CONN};
use crate::host::SimHost;
use crate::net::Conn;

impl Node {
    pub(super) fn open_client(&mut self, now: Now, conn: Conn, client: usize) {
        self.conns.insert(conn, ServerConn::open(now, conn, client));
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
            if !c.is_ready() {
                break;
            }
            let serving = self.serving(now, admission, routing, c);
            let mut host = SimHost {
                config: &self.config,
                stats: &mut self.stats,
                clock,
                pubsub: Registry::new(),
            };
            let data = self.shard.data_mut();
            let Some(outcome) = c.execute(data, &mut host, serving, Some(routing), now) else {
                break;
            };
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
        let overdue = c.is_overdue(now, Duration::from_millis(self.setup.t_ms));
        match admission {
            Admission::Lead { writable } => leading(self.shard.data_mut(), writable),
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
        let addr = self.agent.routing().leader.clone();
        let mut moved = |slot: Option<u16>, out: &mut Vec<u8>| {
            Error::not_done(slot, addr.as_deref()).write(out);
        };
        for c in self.conns.values_mut() {
            c.learn(&output, &mut moved);
        }
        let no = self.shard_no;
        result
            .jobs
            .extend(output.jobs.into_iter().map(|job| (no, job)));
        self.agent.send(output.messages);
        self.agent.tell_strangers(output.strangers, &self.shard);
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
            let bytes = c.flush();
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
