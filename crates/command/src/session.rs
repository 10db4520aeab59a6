//! One client as commands see it: identity, protocol, database, transaction.
//!
//! Owns: what a connection's commands remember from one to the next. Never: knows a socket, a
//! buffer or a gate. Invariant: every entry of `watches` is registered in the [`StateMachine`] it was made
//! with; a session that ends must be handed to [`Session::end`], or its watches leak.

use super::registry::CommandId;
use base::clock::Mono;
use base::ids::BatchSeq;
use pubsub::Counts;
use resp::encode::Proto;
use state::{StateMachine, Watch};
use topology::moves::Owners;

/// CLIENT REPLY.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReplyMode {
    #[default]
    On,
    Off,
    /// The next command's reply is dropped, then [`ReplyMode::SkipThis`] falls back to `On`.
    SkipNext,
    SkipThis,
}

/// A command waiting in MULTI.
#[derive(Clone, Debug)]
pub struct Queued {
    pub command: CommandId,
    pub args: Vec<Vec<u8>>,
}

/// MULTI's state.
#[derive(Clone, Debug, Default)]
pub struct Transaction {
    /// Between MULTI and EXEC.
    pub open: bool,
    /// A command could not be queued: EXEC will be refused.
    pub aborted: bool,
    pub queue: Vec<Queued>,
    pub queued_bytes: usize,
}

/// Where a client comes from and where it arrived: texts, for CLIENT LIST.
#[derive(Clone, Debug, Default)]
pub struct Endpoint {
    pub addr: String,
    pub laddr: String,
    pub fd: i64,
    /// Same machine (protected mode asks).
    pub loopback: bool,
    /// It has come through the Unix socket.
    pub unix: bool,
}

/// What a client has said of itself as a replica (REPLCONF).
#[derive(Clone, Debug, Default)]
pub struct ReplicaClaims {
    /// Its own port for clients: a replica tells it, a program that wants the file alone does not.
    pub listening_port: Option<i64>,
    pub ip: Vec<u8>,
    /// It knows a file's end by a mark.
    pub takes_eof: bool,
    /// It wants the file and no stream of commands.
    pub rdb_only: bool,
    /// The file is to be without keys.
    pub without_keys: bool,
    /// It has said SYNC or PSYNC: it gets the file, and no command of it runs any more.
    pub downloads: bool,
}

#[derive(Clone, Debug)]
pub struct Session {
    pub id: u64,
    pub endpoint: Endpoint,
    pub created: Mono,
    pub last_command_at: Mono,
    pub last_command: Option<CommandId>,
    pub commands: u64,

    pub proto: Proto,
    pub db: u32,
    pub name: Vec<u8>,
    pub lib_name: Vec<u8>,
    pub lib_ver: Vec<u8>,
    pub user: String,
    /// Whether commands without the NO_AUTH flag may run.
    pub authenticated: bool,

    pub reply_mode: ReplyMode,
    /// Pushes that the running command has written though replies are off: they are sent all the
    /// same.
    pub unmuted: Vec<u8>,
    pub transaction: Transaction,
    pub watches: Vec<Watch>,
    /// What is running must not block (EXEC).
    pub deny_blocking: bool,
    /// The command runs again that has waited for keys for as long as it may.
    pub time_is_over: bool,
    /// READONLY: this client may read from a replica, which may be stale.
    pub readonly: bool,
    /// ASKING: the next command may use a slot that is being imported.
    pub asking: bool,
    /// ASKING is what has just run, so that it still holds for the next command.
    pub just_asked: bool,
    pub no_evict: bool,
    pub no_touch: bool,
    /// What the registry has of this client, kept here for questions in passing.
    pub subscriptions: Counts,
    /// The batch of this client's last write: what WAIT waits for.
    pub last_write: BatchSeq,
    /// The CLUSTER RESET that this client's command waits for.
    pub waits_for_reset: Option<u64>,
    /// The reset that this client's EXEC begins with has happened; the rest waits for the shard that it made.
    pub has_reset: bool,
    /// What this client's command has asked another shard, and waits for (M8, M15).
    pub question: Option<u64>,
    /// What other shards have said of the slots that the running EXEC gains (M12).
    pub gains: Option<Owners>,
    /// None: it has said nothing.
    pub replica: Option<Box<ReplicaClaims>>,
}

impl Session {
    pub fn new(id: u64, endpoint: Endpoint, now: Mono, authenticated: bool) -> Session {
        Session {
            id,
            endpoint,
            created: now,
            last_command_at: now,
            last_command: None,
            commands: 0,
            proto: Proto::Resp2,
            db: 0,
            name: Vec::new(),
            lib_name: Vec::new(),
            lib_ver: Vec::new(),
            user: "default".to_owned(),
            authenticated,
            reply_mode: ReplyMode::On,
            unmuted: Vec::new(),
            transaction: Transaction::default(),
            watches: Vec::new(),
            deny_blocking: false,
            time_is_over: false,
            readonly: false,
            asking: false,
            just_asked: false,
            no_evict: false,
            no_touch: false,
            subscriptions: Counts::default(),
            last_write: BatchSeq::NONE,
            waits_for_reset: None,
            has_reset: false,
            question: None,
            gains: None,
            replica: None,
        }
    }

    /// The client is gone: its watches are taken out of the data.
    pub fn end(&mut self, data: &mut StateMachine) {
        self.discard(data);
    }

    /// Leaves MULTI without executing, and forgets the watches (DISCARD, RESET).
    pub fn discard(&mut self, data: &mut StateMachine) {
        self.transaction = Transaction::default();
        self.waits_for_reset = None;
        self.has_reset = false;
        self.unwatch(data);
    }

    /// A command was refused: an EXEC takes its queue along, and behind one that was to be queued nothing will run.
    pub fn refuse(&mut self, runs_queue: bool, data: &mut StateMachine) {
        match runs_queue {
            true => self.discard(data),
            false => self.transaction.aborted |= self.transaction.open,
        }
    }

    pub fn unwatch(&mut self, data: &mut StateMachine) {
        for watch in self.watches.drain(..) {
            data.unwatch(&watch);
        }
    }

    /// What the client says of itself as a replica, to be added to.
    pub fn claims(&mut self) -> &mut ReplicaClaims {
        self.replica.get_or_insert_default()
    }

    /// It has said SYNC or PSYNC.
    pub fn downloads(&self) -> bool {
        self.replica.as_ref().is_some_and(|claims| claims.downloads)
    }

    /// Subscribed in RESP2, where replies and messages can't be told apart: most commands are refused.
    #[inline]
    pub fn only_listens(&self) -> bool {
        self.subscriptions.any() && self.proto == Proto::Resp2
    }

    /// RESET: everything a command can have set on this client, except its authentication, which
    /// depends on the configuration, and its subscriptions, which are the host's: both are the
    /// caller's to reset.
    pub fn reset(&mut self, data: &mut StateMachine) {
        self.discard(data);
        self.proto = Proto::Resp2;
        self.db = 0;
        self.name.clear();
        self.user = "default".to_owned();
        self.reply_mode = ReplyMode::On;
        self.readonly = false;
        self.asking = false;
        self.just_asked = false;
        self.no_evict = false;
        self.no_touch = false;
    }
}
