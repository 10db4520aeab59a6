//! What a command runs in, and what running it comes to.
//!
//! Owns: [`Env`] (the borrowed surroundings of one execution), [`Outcome`] and its parts. Never:
//! holds anything between two commands.

use super::api::{ServerApi, Shutdown};
use super::error::Error;
use super::registry;
use super::session::Session;
use super::spec::Role;
use base::clock::Now;
use keyspace::Kind;
use resp::args::Args;
use resp::encode::Reply;
use state::{Footprint, GateKind, StateMachine};
use std::time::Duration;
use topology::{MoveId, Routing};

/// Executes a command whose arity has been checked. A returned error is written by the dispatcher.
pub type Run = fn(&mut Env<'_>, Args<'_>) -> Done;

/// The command table, and what is in it.
pub type Commands = registry::Registry<Run>;
pub type Command = registry::Command<Run>;
pub type Row = registry::Row<Run>;

/// Whether this process executes keyed commands at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serving<'a> {
    /// The leader, with its lease; `writable` says whether anything may enter the batch (T2).
    Lead { writable: bool },
    /// No leader is known yet, or a transfer is under way: keyed commands wait (S2, E4).
    Hold,
    /// Another member leads; without an address the cluster is down. `own_copy`: reads that need not
    /// be fresh may be answered from here (T7).
    Redirect {
        addr: Option<&'a str>,
        own_copy: bool,
    },
    /// Nobody has led for so long that commands are no longer held (S2).
    Down,
    /// The keyspace is being loaded, or made anew: only commands with the flag LOADING run. `addr`: another
    /// member that is known to lead, where keyed commands go in a cluster.
    Loading { addr: Option<&'a str> },
}

/// The surroundings of one execution. Fields are public so that a command can borrow several at
/// once.
pub struct Env<'a> {
    pub data: &'a mut StateMachine,
    pub session: &'a mut Session,
    pub server: &'a mut dyn ServerApi,
    /// Where the reply goes.
    pub out: &'a mut Vec<u8>,
    pub serving: Serving<'a>,
    /// Where slots are; none outside a cluster.
    pub routing: Option<&'a Routing>,
    /// The command table.
    pub commands: &'static Commands,
    pub now: Now,
    /// The command was held for as long as a command may be.
    pub overdue: bool,
}

impl Env<'_> {
    /// A writer for the reply in the client's protocol.
    pub fn reply(&mut self) -> Reply<'_> {
        Reply::new(self.out, self.session.proto)
    }

    /// The data, and a writer for the reply beside it.
    #[inline]
    pub fn parts(&mut self) -> (&mut StateMachine, Reply<'_>) {
        (self.data, Reply::new(self.out, self.session.proto))
    }

    /// C1: whether CLUSTER RESET is what is queued first. What follows it is for the node that it makes,
    /// whatever this one is now. Not with watches: whether those hold is this node's to know.
    pub fn begins_anew(&self) -> bool {
        let first = self.session.transaction.queue.first();
        let role = first.map(|queued| self.commands.command(queued.command).spec.role);
        role == Some(Role::ClusterReset) && self.session.watches.is_empty()
    }
}

/// What the connection does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flow {
    Done,
    /// Close the connection when the reply is out.
    Close,
    /// Nothing happened (but that expired keys may have been deleted) and nothing was written: run
    /// the same command again later.
    Hold,
    /// No reply yet: the client waits.
    Block(Block),
    /// End the process (no reply on success).
    Shutdown(Shutdown),
}

impl Flow {
    /// The command runs again later.
    pub fn is_held(&self) -> bool {
        matches!(self, Flow::Hold)
    }

    /// The command has not come to its end: it runs again when a key has changed.
    pub fn waits_for_keys(&self) -> bool {
        matches!(self, Flow::Block(block) if matches!(block.kind, BlockKind::Keys { .. }))
    }
}

/// What a client waits for, and for how long at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    pub kind: BlockKind,
    pub timeout: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlockKind {
    /// WAIT: until this many data replicas have applied all that this client wrote (C2). The reply is
    /// an integer: how many have.
    Wait { replicas: u64 },
    /// WAITAOF: until the own disk, if that is asked for, and so many data replicas' have all that this client wrote.
    /// The reply is whether the own one has, and how many of the others.
    WaitAof { own: bool, replicas: u64 },
    /// MIGRATE: until the lend has ended (M1).
    Lend { id: MoveId },
    /// MIGRATE COPY: until the target has answered (M24).
    Copy { number: u64 },
    /// SETSLOT NODE: until the slot is this shard's (M18).
    HandOver { slot: u16 },
    /// SETSLOT STABLE: until the slot has no mark any more (M11).
    MarkEnd { slot: u16 },
    /// BLPOP and its like: until one of these keys has a value of this kind; then, and when its time is over, the
    /// command runs again.
    Keys { keys: Vec<Box<[u8]>>, kind: Kind },
    /// SAVE: until the snapshot with this number is there, or is not.
    Saved { number: u64 },
    /// DEBUG RELOAD, LOADAOF: until the keyspace has been made anew.
    Reload,
    /// SYNC, PSYNC: until the client has got the file, and then its connection ends.
    Download(Download),
    /// SHUTDOWN SAVE: until the process ends, or can't.
    End,
}

/// What a client gets that has said SYNC or PSYNC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Download {
    /// The snapshot that it waits for; none: it wants no keys.
    pub number: Option<u64>,
    /// PSYNC: the history that the file belongs to; it is told before, with the place in it where the file ends.
    pub history: Option<String>,
    /// The replica that it is for.
    pub replica: Option<String>,
}

/// The result of [`super::execute`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub flow: Flow,
    pub footprint: Footprint,
    pub gate: GateKind,
    /// The slot of the first key, for the MOVED that replaces this reply if its batch is lost.
    pub slot: Option<u16>,
}

/// What handlers return.
pub type Done = Result<Flow, Error>;

/// The usual end of a handler.
pub const DONE: Done = Ok(Flow::Done);
