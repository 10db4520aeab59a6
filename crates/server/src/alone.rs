//! Keys that a server in no cluster sends to other servers (M26).
//!
//! Owns what the cluster core owns in a cluster: the reign's ids, copies that wait for their gates, and the
//! lends and connections of [`outside`]. Never: a socket (the platform has them), or a rule of its own about
//! what is sent or when a lend ends. Invariant: in a cluster it stays empty.

use super::outgoing;
use super::platform::Platform;
use super::turn::Server;
use base::clock::{Mono, Now};
use base::ids::BatchSeq;
use base::ShardId;
use command::api::OutsideApi;
use outside::pool::Order;
use outside::{Desk, Outside};
use shard::{Admission, Shard};
use state::Gate;
use std::ops::RangeInclusive;
use std::time::Duration;
use storage::Disk;
use topology::moves::Cargo;
use topology::outside::{Place, Server as Reached, Unreached};
use topology::{Finished, MoveId, MoveNumber};
use transport::Event;

/// How soon what takes time is looked at again.
const AGAIN: Duration = Duration::from_millis(50);

#[derive(Debug, Default)]
pub struct Alone {
    outside: Outside,
    /// The last id of this reign; its term is 0 before the first one.
    last: MoveNumber,
    /// Copies that leave when their gates have opened.
    waiting: Vec<(Gate, u64)>,
    finished: Vec<Finished>,
    warnings: Vec<String>,
    now: Now,
}

impl Alone {
    /// Another reign knows no connection, and asks the servers of lends that are open what they have.
    fn follow<D: Disk>(&mut self, now: Now, shard: &mut Shard<D>) {
        self.now = now;
        let (term, incarnation) = (shard.group().term(), shard.identity().incarnation);
        if self.last.term != term || self.last.incarnation != incarnation {
            self.outside = Outside::anew(std::mem::take(&mut self.outside));
            self.waiting.clear();
            self.last = MoveNumber {
                incarnation,
                term,
                n: 0,
            };
            shard.data_mut().hide_all_lent();
        }
    }

    fn is_idle<D: Disk>(&self, shard: &Shard<D>) -> bool {
        let rests = self.outside.is_empty() && self.waiting.is_empty();
        rests && !has_lends(shard)
    }

    fn act<D: Disk, R>(
        &mut self,
        shard: &mut Shard<D>,
        patience: Duration,
        act: impl FnOnce(&mut Outside, &mut Desk<'_, D>) -> R,
    ) -> R {
        let mut desk = Desk {
            shard,
            now: self.now,
            patience,
            finished: &mut self.finished,
            warnings: &mut self.warnings,
        };
        act(&mut self.outside, &mut desk)
    }

    /// T6: what rests on batches that did not happen is never sent.
    pub(super) fn fail(&mut self, batches: &RangeInclusive<BatchSeq>) {
        self.waiting
            .retain(|(gate, _)| !batches.contains(&gate.batch));
    }

    /// Copies leave when what they have seen is committed.
    pub(super) fn send_copies(&mut self, released: Gate) {
        let now = self.now;
        for (gate, number) in std::mem::take(&mut self.waiting) {
            match gate.is_released_by(released) {
                true => self.outside.send_copy(now, number),
                false => self.waiting.push((gate, number)),
            }
        }
    }

    fn take_orders(&mut self, now: Mono) -> Vec<Order> {
        self.outside.pool.proceed(now);
        self.outside.pool.take_orders()
    }

    pub(super) fn connections(&self) -> usize {
        self.outside.pool.len()
    }

    /// When to look again although nothing happens.
    pub(super) fn deadline(&self) -> Option<Mono> {
        (!self.outside.is_empty()).then(|| self.now.mono + AGAIN)
    }
}

fn has_lends<D: Disk>(shard: &Shard<D>) -> bool {
    let (tail, committed) = (shard.data().record(), shard.record());
    !(tail.moves.lends.is_empty() && committed.moves.lends.is_empty())
}

impl OutsideApi for Alone {
    fn mint(&mut self) -> MoveId {
        self.last.n += 1;
        MoveId {
            shard: ShardId::default(),
            number: self.last,
        }
    }

    fn reach(
        &mut self,
        question: &mut Option<u64>,
        place: &Place,
        patience: Duration,
    ) -> Option<Result<(u64, Reached), Unreached>> {
        let pool = &mut self.outside.pool;
        pool.reach(self.now.mono, question, place, patience)
    }

    fn leave(&mut self, link: u64) {
        self.outside.pool.release(self.now.mono, link);
    }

    fn begin_outside(&mut self, id: MoveId, to: (u64, bool), cargo: Cargo, patience: Duration) {
        let now = self.now.mono;
        self.outside.begin(now, (id, patience), to, cargo);
    }

    fn copy_outside(&mut self, to: (u64, bool), cargo: Cargo, patience: Duration) -> u64 {
        let until = self.now.mono + patience;
        self.outside.begin_copy(until, to, cargo)
    }
}

impl<P: Platform> Server<P> {
    /// How long a server is asked what has become of a lend.
    fn patience_with_others(&self) -> Duration {
        Duration::from_millis(self.state.config.cluster_node_timeout)
    }

    /// Before clients are served: what has happened to connections, and what that has brought. A leader's
    /// part waits for room in the log.
    pub(super) fn hear_outside(&mut self, admission: Admission) {
        let now = self.turn_started;
        while let Some(event) = self.state.platform.next_outgoing() {
            match outgoing::event_of(event) {
                Ok((link, event)) => self.state.alone.outside.pool.hear(now.mono, link, event),
                Err(Event::Failed(what)) => slog::warn!(self.logger, "Connections: {}", what),
                Err(_) => {}
            }
        }
        let Admission::Lead { writable } = admission else {
            return;
        };
        let patience = self.patience_with_others();
        let alone = &mut self.state.alone;
        alone.follow(now, &mut self.shard);
        if !writable || self.ending.is_some() || alone.is_idle(&self.shard) {
            return;
        }
        alone.act(&mut self.shard, patience, |outside, desk| {
            outside.hear(desk);
        });
        for warning in std::mem::take(&mut alone.warnings) {
            slog::warn!(self.logger, "{}", warning);
        }
        for finished in std::mem::take(&mut alone.finished) {
            self.state.end_move(&finished);
        }
    }

    /// After the turn's commands, before the proposal.
    pub(super) fn gate_copies_outside(&mut self) {
        let alone = &mut self.state.alone;
        if alone.outside.has_copies() {
            let gates = alone.act(&mut self.shard, Duration::ZERO, |outside, desk| {
                outside.gate_copies(desk)
            });
            alone.waiting.extend(gates);
        }
    }

    /// After the proposal: what committed lends let leave, and what is to be done with connections.
    pub(super) fn speak_outside(&mut self) {
        let alone = &mut self.state.alone;
        if alone.outside.is_empty() {
            return;
        }
        if self.shard.group().is_leader() {
            alone.act(&mut self.shard, Duration::ZERO, |outside, desk| {
                outside.speak(desk);
            });
        }
        for order in alone.take_orders(self.turn_started.mono) {
            self.state
                .platform
                .order_outgoing(outgoing::command_of(order));
        }
    }
}
