//! One process of the cluster: the real shard, sessions, parser and gated output, driven turn by
//! turn in the order that the node's loop has (T1).
//!
//! Owns: the clients' connections on the server's side. Never does: pass time, touch the network
//! or the disk by itself. What a turn wants to be sent or run comes out as [`TurnResult`].

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast::clock::{Clock, Mono, Now};
use holdfast::command::{Serving, Stats};
use holdfast::config::Config;
use holdfast::mutation::{self, Mutation};
use holdfast::pubsub::Registry;
use holdfast::raft::Envelope;
use holdfast::shard::{Admission, Shard, ShardError, TurnOutput};
use holdfast::storage::{Done, Job};

use crate::clock::TurnClock;
use crate::conn::{leading, ServerConn, PER_CONN};
use crate::disk::SimDisk;
use crate::host::SimHost;
use crate::net::Conn;

/// What has come since the last turn, in order.
pub enum Input {
    Raft(Vec<u8>),
    Done(Done<SimDisk>),
    Open {
        conn: Conn,
        client: usize,
    },
    Bytes {
        conn: Conn,
        bytes: Vec<u8>,
    },
    Close {
        conn: Conn,
    },
    /// The operator wants another member to lead.
    Transfer {
        to: u64,
    },
}

/// What a turn wants to happen.
#[derive(Default)]
pub struct TurnResult {
    pub raft: Vec<Envelope>,
    pub jobs: Vec<Job<SimDisk>>,
    /// Bytes for clients: (connection, client's endpoint, bytes).
    pub replies: Vec<(Conn, usize, Vec<u8>)>,
    /// Connections that were closed, after their bytes.
    pub closed: Vec<(Conn, usize)>,
    /// When the next turn is due if nothing happens.
    pub wake: Mono,
    pub executed: u64,
}

/// A turn that has taken in its messages and has not executed anything yet.
struct Begun {
    now: Now,
    admission: Admission,
    /// A message that is stepped in the wrong place (a mutation).
    between: Option<Vec<u8>>,
}

/// A held command is looked at again this often.
const HOLD_LOOK: Duration = Duration::from_millis(5);

pub struct Process {
    pub shard: Shard<SimDisk>,
    conns: BTreeMap<Conn, ServerConn>,
    config: Config,
    stats: Stats,
    election_timeout: Duration,
    /// Raft id -> member, to name a leader's port.
    ids: Vec<u64>,
    begun: Option<Begun>,
}

impl Process {
    pub fn new(shard: Shard<SimDisk>, ids: Vec<u64>, election_timeout: Duration) -> Process {
        Process {
            shard,
            conns: BTreeMap::new(),
            config: Config::default(),
            stats: Stats::new(),
            election_timeout,
            ids,
            begun: None,
        }
    }

    /// The first part of a turn: the clock, the messages, and whether commands may run.
    /// An error ends the process.
    pub fn begin_turn(
        &mut self,
        clock: &TurnClock<'_>,
        inbox: Vec<Input>,
        result: &mut TurnResult,
    ) -> Result<(), ShardError> {
        // (1) The clock is read after the messages have been read: a promise made to a message
        // must not begin before the message was sent.
        let now = clock.now();
        let mut between = None;
        for input in inbox {
            let input = match input {
                Input::Raft(bytes) if mutation::is(Mutation::StepBeforeProposal) => {
                    // The last one, of which it is most likely that it changes something.
                    match between.replace(bytes) {
                        Some(earlier) => Input::Raft(earlier),
                        None => continue,
                    }
                }
                input => input,
            };
            self.take(now, input, result)?;
        }
        self.shard.begin(now)?;
        let admission = self.shard.admission();
        self.begun = Some(Begun {
            now,
            admission,
            between,
        });
        Ok(())
    }

    /// The rest of a turn: what clients have sent until now is executed, proposed, answered.
    pub fn rest_of_turn(
        &mut self,
        clock: &TurnClock<'_>,
        late: Vec<Input>,
        mut result: TurnResult,
    ) -> Result<TurnResult, ShardError> {
        let begun = self.begun.take().expect("the turn has begun");
        let Begun {
            now,
            admission,
            between,
        } = begun;
        // (2) Clients' sockets are read when the client is visited, maybe long after `now`.
        for input in late {
            self.take(now, input, &mut result)?;
        }
        self.execute_clients(clock, now, admission, &mut result);
        if matches!(admission, Admission::Lead { writable: true }) {
            self.shard.data_mut().expire_due(now.unix_ms, 20);
        }
        if let Some(bytes) = between {
            self.take(now, Input::Raft(bytes), &mut result)?;
        }
        // (3)
        self.shard.finish(clock)?;
        // (4)
        let output = self.shard.take_output();
        self.settle_replies(output, &mut result);
        result.wake = self.shard.deadline();
        if self.conns.values().any(ServerConn::is_held) {
            result.wake = result.wake.min(clock.now().mono + HOLD_LOOK);
        }
        Ok(result)
    }

    fn take(&mut self, now: Now, input: Input, result: &mut TurnResult) -> Result<(), ShardError> {
        match input {
            Input::Raft(bytes) => {
                let envelope = Envelope::decode(&bytes).expect("members send envelopes");
                self.shard.step(now, envelope)?;
            }
            Input::Done(done) => self.shard.job_done(now, done)?,
            Input::Transfer { to } => {
                if self.shard.group().is_leader() {
                    self.shard.hand_over_to(now, to);
                }
            }
            Input::Open { conn, client } => {
                self.conns.insert(conn, ServerConn::open(now, conn, client));
            }
            Input::Bytes { conn, bytes } => {
                if let Some(c) = self.conns.get_mut(&conn) {
                    c.receive(&bytes);
                }
            }
            Input::Close { conn } => self.close(conn, result),
        }
        Ok(())
    }

    fn close(&mut self, conn: Conn, result: &mut TurnResult) {
        if let Some(mut c) = self.conns.remove(&conn) {
            c.session.end(self.shard.data_mut());
            result.closed.push((conn, c.client));
        }
    }

    fn execute_clients(
        &mut self,
        clock: &TurnClock<'_>,
        now: Now,
        admission: Admission,
        result: &mut TurnResult,
    ) {
        let addr = match admission {
            Admission::Redirect { leader, .. } => {
                let member = self.ids.iter().position(|id| *id == leader);
                member.map(|m| format!("10.0.0.{m}:{}", 7000 + m))
            }
            _ => None,
        };
        let mut conns = std::mem::take(&mut self.conns);
        for c in conns.values_mut() {
            result.executed += self.execute_client(clock, now, admission, addr.as_deref(), c);
        }
        self.conns = conns;
    }

    fn execute_client(
        &mut self,
        clock: &TurnClock<'_>,
        now: Now,
        admission: Admission,
        addr: Option<&str>,
        c: &mut ServerConn,
    ) -> u64 {
        let mut count = 0;
        for _ in 0..PER_CONN {
            if !c.is_ready() {
                break;
            }
            let serving = self.serving(now, admission, addr, c);
            let mut host = SimHost {
                config: &self.config,
                stats: &mut self.stats,
                clock,
                pubsub: Registry::new(),
            };
            let data = self.shard.data_mut();
            let Some(outcome) = c.execute(data, &mut host, serving, None, now) else {
                break;
            };
            count += 1;
            let gate = self.shard.gate(&outcome);
            c.output.seal(gate, outcome.slot);
        }
        count
    }

    /// Whether this connection's next command may run.
    fn serving<'a>(
        &mut self,
        now: Now,
        admission: Admission,
        addr: Option<&'a str>,
        c: &ServerConn,
    ) -> Serving<'a> {
        match admission {
            Admission::Lead { writable } => leading(self.shard.data_mut(), writable),
            // S2: long enough.
            _ if c.is_overdue(now, self.election_timeout) => Serving::Redirect {
                addr: None,
                own_copy: false,
            },
            Admission::Redirect { own_copy, .. } => Serving::Redirect { addr, own_copy },
            Admission::Hold => Serving::Hold,
        }
    }

    fn settle_replies(&mut self, output: TurnOutput<SimDisk>, result: &mut TurnResult) {
        let leader = self.shard.group().leader();
        let leader = leader.and_then(|id| self.ids.iter().position(|i| *i == id));
        // T6: it did not happen; whoever leads now will do it.
        let mut moved = |slot: Option<u16>, out: &mut Vec<u8>| {
            let (slot, to) = (slot.unwrap_or(0), leader.unwrap_or(0));
            out.extend_from_slice(
                format!("-MOVED {slot} 10.0.0.{to}:{}\r\n", 7000 + to).as_bytes(),
            );
        };
        for c in self.conns.values_mut() {
            c.learn(&output, &mut moved);
            c.output.release(output.released);
        }
        result.raft = output.messages;
        result.jobs = output.jobs;
        let mut finished = Vec::new();
        for (conn, c) in &mut self.conns {
            let bytes = c.flush();
            if !bytes.is_empty() {
                result.replies.push((*conn, c.client, bytes));
            }
            if c.output.is_finished() {
                finished.push(*conn);
            }
        }
        for conn in finished {
            self.close(conn, result);
        }
    }
}
