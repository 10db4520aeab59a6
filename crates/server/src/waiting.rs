//! Clients that wait for keys (BLPOP and its like): when they are served, when their time is over, when they are sent on.
//!
//! Owns: in which order their commands run again. Never: executes one in another way than any command: the command
//! still stands in its client's input, and what it comes to (an element, nothing, MOVED, an error) is decided by
//! admission and its handler, as if it had just come. So it has the gate of what it really did.
//!
//! Invariants: after each command, and before the next one of any client, the clients that wait for what it has made
//! are served, the one that has waited for longest first; what can't be served in this turn is served first in
//! the next one; nothing is taken for a client that is known to be gone; a client's time is over when it was from the first.

use super::blocking::{Blocked, WaitsFor};
use super::clients::{Client, Wait};
use super::execute::{Extent, Step};
use super::platform::Platform;
use super::turn::Server;
use base::clock::{Clock as _, Mono, Now};
use base::mutation::{self, Mutation};
use net::ConnId;
use shard::Admission;
use state::{Ownership, ReadyKey};
use std::time::Duration;

/// A command that must be held when its time is over is looked at again after so long.
const POSTPONED: Duration = Duration::from_millis(10);

/// T1: the time of a turn that ends of waits may take. It is theirs alone: the commands of others may have taken all of the turn's.
const ENDS_TIME: Duration = Duration::from_micros(250);

/// Why a waiting client's command runs again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// A key has changed, or the slot is not this shard's any more.
    Changed,
    TimeIsOver,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rerun {
    /// The client waits no longer, or there is none.
    Ended,
    /// It goes on waiting.
    Waits,
    /// Its command can't run now.
    Held,
}

/// How far the waiters of a key were served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Served {
    All,
    /// The turn's time is over.
    Some,
    /// The command of the next one can't run now.
    Held,
}

impl<P: Platform> Server<P> {
    /// Whether the last command has made something that clients may wait for.
    #[inline]
    pub(super) fn has_waiting_work(&self) -> bool {
        self.shard.data().has_ready() || !self.state.blocking.over.is_empty()
    }

    /// Serves the clients that wait for what has changed.
    // Apart from the turn, which is one function with the driver's loop.
    #[inline(never)]
    pub(super) fn serve_waiting(&mut self, admission: Admission) {
        if !matches!(admission, Admission::Lead { .. }) || self.ending.is_some() {
            return;
        }
        let now = self.state.clock.now();
        self.shard.data_mut().note_time(now.unix_ms);
        for key in std::mem::take(&mut self.state.blocking.over) {
            self.end_time(key, admission, now);
        }
        while let Some(ready) = self.shard.data_mut().take_ready() {
            self.unlooked += 1; // the look at a key takes time, whomever it serves
            if self.is_spent() {
                self.shard.data_mut().put_back(&ready);
                self.state.blocking.more = true;
                return;
            }
            match self.serve_key(&ready, admission, now) {
                Served::All => {}
                // The waiters of other keys don't wait for that one.
                Served::Held => self.state.blocking.held.push(ready),
                Served::Some => {
                    self.shard.data_mut().put_back(&ready);
                    self.state.blocking.more = true;
                    return;
                }
            }
        }
    }

    /// What was held in the last turn is looked at once more, before all else.
    pub(super) fn look_at_held_keys(&mut self) {
        for ready in std::mem::take(&mut self.state.blocking.held).iter().rev() {
            self.shard.data_mut().put_back(ready);
        }
    }

    /// Serves the clients that wait for one key.
    fn serve_key(&mut self, ready: &ReadyKey, admission: Admission, now: Now) -> Served {
        let mut there = self.shard.data().kind_of(ready.db, &ready.key);
        for (waiter, wanted) in &ready.waiters {
            if there != Some(*wanted) {
                continue;
            }
            if self.is_spent() {
                return Served::Some;
            }
            let Some(key) = self.state.blocking.client(*waiter) else {
                continue;
            };
            if self.run_again(key, admission, now, Why::Changed) == Rerun::Held {
                return Served::Held;
            }
            there = self.shard.data().kind_of(ready.db, &ready.key);
        }
        Served::All
    }

    /// The time of these clients is over: at least one is told in each turn, however full it was; the time of the others
    /// is over in the next one as well.
    pub(super) fn end_times(&mut self, clients: &[ConnId], admission: Admission, now: Now) {
        if clients.is_empty() {
            return;
        }
        let began = self.state.clock.now().mono;
        for key in clients {
            self.end_time(*key, admission, now);
            if self.state.clock.now().mono.since(began) >= ENDS_TIME {
                return;
            }
        }
    }

    /// A waiting client's time is over; one whose command is held then is asked again soon.
    pub(super) fn end_time(&mut self, key: ConnId, admission: Admission, now: Now) {
        if mutation::is(Mutation::NilWithoutLook) {
            self.state.end_block(key, |_, reply| reply.null_array());
        } else if self.run_again(key, admission, now, Why::TimeIsOver) == Rerun::Ended {
            return;
        }
        let client = self.state.clients.get_mut(key).and_then(Option::as_mut);
        let Some(client) = client else { return };
        if let Some(blocked) = client.wait.blocked() {
            let until = Some(now.mono + POSTPONED);
            let blocking = &mut self.state.blocking;
            blocking.postpone(client.session.id, key, blocked.until, until);
            let on = match blocked.on {
                WaitsFor::Keys { bytes, over } => WaitsFor::Keys {
                    bytes,
                    over: over.or(Some(now.mono)),
                },
                other => other,
            };
            client.wait = Wait::Blocked(Blocked { on, until });
        }
    }

    /// Clients whose slot is not served here any more are told where it is, or why not.
    pub(super) fn send_waiting_on(&mut self, admission: Admission, now: Now) {
        let Some(routing) = self.routing.clone() else {
            return;
        };
        if self.shard.data().awaited_keys() == 0 {
            return;
        }
        let data = self.shard.data();
        let served = |asks: bool, slot| match data.ownership(slot) {
            Ownership::Owned => routing.covered,
            Ownership::Gaining | Ownership::Foreign => asks && data.imports(slot),
        };
        let mut sent_on = Vec::new();
        for (waiter, slot) in data.waiters() {
            let Some(key) = self.state.blocking.client(waiter) else {
                continue;
            };
            let client = self.state.clients.get(key).and_then(Option::as_ref);
            let asks = client.is_some_and(|client| client.session.asking);
            if !served(asks, slot) {
                sent_on.push(key);
            }
        }
        for key in sent_on {
            self.run_again(key, admission, now, Why::Changed);
        }
    }

    fn run_again(&mut self, key: ConnId, admission: Admission, now: Now, why: Why) -> Rerun {
        let place = self.state.clients.get_mut(key);
        let Some(mut client) = place.and_then(Option::take) else {
            return Rerun::Ended;
        };
        let rerun = match client.wait.blocked() {
            Some(Blocked {
                on: WaitsFor::Keys { .. },
                until,
            }) if !is_gone(&client) => self.rerun(key, &mut client, until, (admission, now, why)),
            _ => Rerun::Ended,
        };
        *self.state.clients.get_mut(key).expect("its place was kept") = Some(client);
        rerun
    }

    fn rerun(
        &mut self,
        key: ConnId,
        client: &mut Client<P::Socket>,
        until: Option<Mono>,
        (admission, now, why): (Admission, Now, Why),
    ) -> Rerun {
        client.session.time_is_over = why == Why::TimeIsOver;
        let step = self.run_commands(key, client, (admission, now), Extent::First);
        client.session.time_is_over = false;
        match step {
            Step::Again => return Rerun::Held,
            Step::Block(..) => return Rerun::Waits,
            _ => {}
        }
        client.wait = Wait::No;
        self.state.blocking.remove(client.session.id, until);
        self.shard.data_mut().leave(client.session.id);
        client.conn.input.settle(&self.shared);
        client.mark_dirty(&mut self.dirty, key);
        if !client.must_wait() && client.conn.has_work() {
            self.ready.add(key, &mut client.conn);
        }
        Rerun::Ended
    }
}

/// Nobody would get what is taken for it.
fn is_gone<S: net::Socket>(client: &Client<S>) -> bool {
    client.doomed || client.conn.output.is_closing() || client.is_gone()
}
