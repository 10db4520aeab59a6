//! What a command may ask of the process around it.
//!
//! Owns: the trait [`ServerApi`] and the plain values it hands over. Never: knows what implements it (the
//! node's loop, the simulator, the tests). The trait stays object-safe: a command holds
//! `&mut dyn ServerApi`.

use super::error::Error;
use super::session::Session;
use super::stats::Stats;
use base::build::Build;
use base::clock::{Mono, Now};
use base::ids::BatchSeq;
use base::ids::{GroupId, Incarnation, RaftId};
use base::ShardId;
use cluster_bus::{NodeId, SlotSet};
use config::{Config, ConfigError};
use pubsub::{Registry, Subscriber};
use resp::Proto;
use std::time::Duration;
use topology::moves::{Cargo, KeyState, MarkQuestion, Owners};
use topology::outside::{Place, Server, Unreached};
use topology::ClusterView;
use topology::MoveId;

/// Buffer sizes of a connection, for CLIENT LIST.
#[derive(Clone, Copy, Debug, Default)]
pub struct IoView {
    /// Bytes read and not yet parsed, and what is free in that buffer.
    pub query_buffer: usize,
    pub query_buffer_free: usize,
    /// Bytes of replies that have not left (held or waiting for the socket).
    pub output_bytes: usize,
    pub total_memory: usize,
    pub total_net_in: u64,
    pub total_net_out: u64,
    /// Waits for something (WAIT).
    pub blocked: bool,
    /// Will be closed when its replies have left.
    pub closing: bool,
}

/// Another client, as CLIENT LIST and CLIENT KILL see it.
pub struct ClientView<'a> {
    pub session: &'a Session,
    pub io: IoView,
}

/// Redis's kinds of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientKind {
    Normal,
    Pubsub,
    /// It has said SYNC or PSYNC.
    Replica,
    /// Such connections don't exist here.
    Master,
}

impl ClientKind {
    pub fn of(session: &Session) -> ClientKind {
        if session.downloads() {
            ClientKind::Replica
        } else if session.subscriptions.any() {
            ClientKind::Pubsub
        } else {
            ClientKind::Normal
        }
    }
}

/// Which clients CLIENT KILL means; all conditions that are set must hold.
#[derive(Clone, Debug, Default)]
pub struct KillFilter {
    pub id: Option<u64>,
    pub addr: Option<String>,
    pub laddr: Option<String>,
    pub user: Option<String>,
    pub kind: Option<ClientKind>,
    pub min_age_secs: Option<u64>,
}

impl KillFilter {
    pub fn matches(&self, session: &Session, now: Now) -> bool {
        let age_secs = now.mono.since(session.created).as_secs();
        self.id.is_none_or(|id| id == session.id)
            && self
                .addr
                .as_ref()
                .is_none_or(|a| *a == session.endpoint.addr)
            && self
                .laddr
                .as_ref()
                .is_none_or(|a| *a == session.endpoint.laddr)
            && self.user.as_ref().is_none_or(|u| *u == session.user)
            && self.kind.is_none_or(|kind| kind == ClientKind::of(session))
            && self.min_age_secs.is_none_or(|min| age_secs >= min)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RaftRole {
    Leader,
    #[default]
    Follower,
    Candidate,
    Learner,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MemberKind {
    #[default]
    Data,
    Witness,
}

#[derive(Clone, Debug, Default)]
pub struct MemberStatus {
    pub raft_id: RaftId,
    pub node: NodeId,
    pub kind: MemberKind,
    pub voter: bool,
    /// `host:port` where clients reach it, if known.
    pub addr: Option<String>,
    /// Known only to the leader.
    pub matched: u64,
    pub applied: u64,
    /// Milliseconds since it was last heard.
    pub heard_ms: Option<u64>,
    /// It has answered this leader, and the link to it was not lost since.
    pub connected: bool,
}

/// How far a load of the keyspace is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadingView {
    pub started_unix_s: u64,
    /// What there is to read; 0: not known.
    pub total_bytes: u64,
    pub loaded_bytes: u64,
    pub elapsed: Duration,
    /// The memory that the keyspace took when it was saved; 0: not known.
    pub rdb_used_mem: u64,
}

/// The group as this member sees it: INFO `# Raft`, ROLE, WAIT.
#[derive(Clone, Debug, Default)]
pub struct RaftStatus {
    pub group: GroupId,
    pub incarnation: Incarnation,
    pub raft_id: RaftId,
    pub role: RaftRole,
    /// Whether this node is the shard's master by its record (S2); none outside a cluster.
    pub master: Option<bool>,
    pub leader: Option<RaftId>,
    pub leader_addr: Option<String>,
    /// The address of the record's master, whether it leads or not; none outside a cluster.
    pub master_addr: Option<String>,
    /// Milliseconds since a follower heard its leader.
    pub leader_heard_ms: Option<u64>,
    /// If the leader were lost, the others could elect this member.
    pub electable: bool,
    /// This node is on its way into the shard of the node at this address.
    pub syncing_from: Option<String>,
    pub term: u64,
    pub commit: u64,
    pub applied: u64,
    pub last: u64,
    pub lease_valid: bool,
    /// The shard has a leader with a quorum, as far as this member knows.
    pub quorum: bool,
    /// D5: writes are refused for lack of room.
    pub disk_full: bool,
    /// D5: bytes of the disk that are kept free of log.
    pub disk_kept: u64,
    /// Entries executed here that are not committed yet.
    pub tail_entries: u64,
    pub tail_bytes: u64,
    pub members: Vec<MemberStatus>,
    /// G3: three or more voters, each heard within T and within 1 MiB.
    pub ha: bool,
    /// Commands whose outcome nobody could learn (T6).
    pub unknown_outcomes: u64,
    pub log_bytes: u64,
    /// Some of the log is written and not yet synced.
    pub log_unsynced: bool,
    pub log_segments: u64,
    /// The first index of the log, and that of the state that the base names.
    pub log_first: u64,
    pub snapshot: u64,
    /// Bytes that have come of the state that this member is given, and how many it has (P16).
    pub pulled: Option<(u64, u64)>,
    /// The keyspace is being loaded.
    pub loading: Option<LoadingView>,
}

/// Bytes, from the allocator and the system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryView {
    /// What the program has asked the allocator for.
    pub used: u64,
    pub peak: u64,
    pub startup: u64,
    /// Pages of the process in memory.
    pub rss: u64,
    /// What the allocator keeps in use, and what of it is in memory.
    pub active: u64,
    pub resident: u64,
    /// The machine's memory.
    pub system: u64,
}

/// CPU time in microseconds: the process's, and of it the loop's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuView {
    pub user_us: u64,
    pub system_us: u64,
    pub loop_user_us: u64,
    pub loop_system_us: u64,
}

/// What happened lately, each second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    pub commands: u64,
    pub input_bytes: u64,
    pub output_bytes: u64,
}

/// The process, for INFO. `node::system` takes the readings for a real one.
#[derive(Clone, Debug, Default)]
pub struct ProcessView {
    /// 40 hex digits, new at every start.
    pub run_id: String,
    pub started: Mono,
    /// The same moment in Unix seconds.
    pub started_unix: i64,
    pub build: Build,
    /// Whether a service manager waits to hear of it, and which.
    pub supervised: &'static str,
    /// Kernel's name, release and machine.
    pub os: String,
    pub executable: String,
    pub memory: MemoryView,
    pub cpu: CpuView,
    pub rates: Rates,
}

/// What a snapshot is in Redis's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotKind {
    /// A save: it is copied to `dbfilename`.
    Save,
    /// A rewrite of the append-only file: the log is trimmed.
    Rewrite,
    /// For clients that have said SYNC or PSYNC: nothing but its file is wanted.
    Download,
}

/// A snapshot that is ordered or being made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotUnderWay {
    pub kind: SnapshotKind,
    pub elapsed: Duration,
    /// In its file so far, and in all; 0 as long as that is not known.
    pub keys: u64,
    pub all_keys: u64,
}

/// Snapshots, for INFO and LASTSAVE.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SavingView {
    pub under_way: Option<SnapshotUnderWay>,
    pub rewrite_scheduled: bool,
    /// When the last save was done; when the server started, if none was.
    pub last_save_unix_s: i64,
    /// The count of changes that the last save holds.
    pub saved_changes: u64,
    pub save_failed: bool,
    pub save_took: Option<Duration>,
    pub rewrite_failed: bool,
    pub rewrite_took: Option<Duration>,
    /// Rewrites in a row that have failed.
    pub rewrite_failures: u64,
    /// Bytes of the snapshot with which the log begins.
    pub base_bytes: u64,
    /// Keys that the last start has read from a snapshot.
    pub loaded_keys: u64,
}

/// How CLIENT UNBLOCK ends a blocking command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unblock {
    /// As if its time were over.
    Timeout,
    Error,
}

/// How CLUSTER FAILOVER was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failover {
    Planned,
    Force,
    Takeover,
}

/// Whether what was asked for has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetProgress {
    Done,
    /// Under way, as what has this number: the command runs again later.
    Later(u64),
}

/// SHUTDOWN's options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shutdown {
    /// None: if there are `save` rules.
    pub save: Option<bool>,
    pub now: bool,
    /// A snapshot that can't be made stops no end.
    pub force: bool,
}

impl Shutdown {
    /// Whether a snapshot comes first.
    pub fn saves(&self, config: &Config) -> bool {
        self.save.unwrap_or(!config.save.is_empty())
    }
}

/// Servers that are no nodes of this cluster, or of none, as far as MIGRATE needs them (M26).
pub trait OutsideApi {
    /// An id for a mark or a lend of this leader's reign.
    fn mint(&mut self) -> MoveId;

    /// A server, for one use; none: not reached yet, the command is held. `question`: the session's.
    fn reach(
        &mut self,
        question: &mut Option<u64>,
        place: &Place,
        patience: Duration,
    ) -> Option<Result<(u64, Server), Unreached>>;

    /// What was reached is not used.
    fn leave(&mut self, link: u64);

    /// MIGRATE has lent to a server that was reached; whether that one is in cluster mode.
    fn begin_outside(&mut self, id: MoveId, to: (u64, bool), cargo: Cargo, patience: Duration);

    /// MIGRATE COPY to such a server; the copy's number.
    fn copy_outside(&mut self, to: (u64, bool), cargo: Cargo, patience: Duration) -> u64;
}

/// The cluster around this node, as far as CLUSTER needs it. What a method refuses with an error
/// has not happened. The checks that Redis makes come before the calls.
pub trait ClusterApi: OutsideApi {
    /// As of now: what the methods below have changed is in it.
    fn view(&mut self) -> &ClusterView;

    /// MEET: starts a handshake, or does nothing if one is under way. False: not an IP address.
    fn meet(&mut self, ip: &str, port: u16, cport: u16) -> bool;

    /// FORGET of a known node, neither this one nor its master.
    fn forget(&mut self, node: NodeId) -> Result<(), Error>;

    /// REPLICATE of a known master by a replica, or by a master without keys and slots (C1).
    fn replicate(&mut self, master: NodeId) -> Result<(), Error>;

    /// FAILOVER on a replica (E4).
    fn failover(&mut self, mode: Failover) -> Result<(), Error>;

    /// RESET of a replica, or of a master without keys (C1). `waits_for`: the number that this command
    /// was given when it ran before.
    fn reset(&mut self, hard: bool, waits_for: Option<u64>) -> Result<ResetProgress, Error>;

    /// SAVECONFIG.
    fn save_config(&mut self) -> Result<(), Error>;

    /// DELSLOTS of other shards' slots: to this node they are nobody's until their owners claim
    /// them again.
    fn unassign(&mut self, slots: &SlotSet);

    /// SETSLOT NODE about slots of other shards: to this node they are that node's until their owners say
    /// otherwise.
    fn set_owner(&mut self, slot: u16, node: NodeId);

    /// DEBUG: packets of the bus of this type are dropped as they come; none: no packet.
    fn drop_packets(&mut self, kind: Option<usize>);

    // ---- slots in motion (rules M) --------------------------------------------------------

    /// Whether a node is a real Redis (M9); none: not known yet, the command is held.
    fn is_redis(&mut self, node: NodeId) -> Option<bool>;

    /// M13: moves with this shard, or with any, are turned back. To be asked again until they have ended.
    fn end_moves(&mut self, with: Option<ShardId>);

    /// M28: whether each other shard that can be asked has said that it waits for no word of this one. False also
    /// while that is not known, and the command is held. `question`: the session's.
    fn nobody_waits(&mut self, question: &mut Option<u64>) -> bool;

    /// M9: whether all nodes of this shard can move slots, and those of the other one, as far as is known.
    /// `with`: none, it is a real Redis.
    fn can_move(&mut self, with: Option<ShardId>) -> bool;

    /// How a key stands at another shard under a mark (M11, M15); none: not known yet, the command is held.
    /// `question`: the session's.
    fn key_elsewhere(
        &mut self,
        question: &mut Option<u64>,
        shard: ShardId,
        slot: u16,
        mark: MoveId,
        key: &[u8],
    ) -> Option<KeyState>;

    /// The mark under which another shard imports a slot from this one (M8); the outer none: not known yet.
    fn mark_elsewhere(
        &mut self,
        question: &mut Option<u64>,
        shard: ShardId,
        slot: u16,
        asks: MarkQuestion,
    ) -> Option<Option<MoveId>>;

    /// Which of these slots another shard has or may get (M12); none: not known yet.
    fn owners_elsewhere(&mut self, question: &mut Option<u64>, slots: &SlotSet) -> Option<Owners>;

    /// The command waits for the answer no longer.
    fn withdraw_question(&mut self, question: &mut Option<u64>);

    /// MIGRATE has lent: the values are on their way (M1). Of so many keys the client has asked.
    fn begin_lend(&mut self, id: MoveId, cargo: (Cargo, usize), patience: Duration);

    /// MIGRATE COPY: the other shard restores these keys once what this command has seen is committed; the
    /// copy's number (M24).
    fn begin_copy(&mut self, to: ShardId, cargo: Cargo, patience: Duration) -> u64;

    /// SETSLOT NODE of this shard asks another one for a slot (M18).
    fn want_slot(&mut self, slot: u16, from: ShardId, mark: MoveId, patience: Duration);

    /// SETSLOT IMPORTING has set a mark in this turn: the other shard hears of it when it has committed (M8).
    fn announce_mark(&mut self, slot: u16, mark: MoveId);
}

/// The process, as far as commands need it.
pub trait ServerApi {
    fn config(&self) -> &Config;

    /// CONFIG SET: sets and applies all pairs, or none. `local`: the client is on this machine.
    fn config_set(&mut self, pairs: &[(&[u8], &[u8])], local: bool) -> Result<(), ConfigError>;

    /// CONFIG REWRITE.
    fn config_rewrite(&mut self) -> Result<(), ConfigError>;

    fn stats(&self) -> &Stats;
    fn stats_mut(&mut self) -> &mut Stats;

    /// Visits every client but the one whose command is running.
    fn for_each_client(&self, visit: &mut dyn FnMut(&ClientView<'_>));

    /// The buffers of the client whose command is running.
    fn own_io(&self) -> IoView;

    /// Closes the matching clients other than the running one; how many.
    fn kill_clients(&mut self, filter: &KillFilter) -> usize;

    /// CLIENT UNBLOCK: ends the blocking command of the client with this id; false: there is none.
    fn unblock(&mut self, client: u64, how: Unblock) -> bool;

    /// The subscriptions.
    fn pubsub(&self) -> &Registry;
    fn pubsub_mut(&mut self) -> &mut Registry;

    /// The client whose command is running, as the registry knows it.
    fn own_subscriber(&self) -> Subscriber;

    /// PUBLISH, SPUBLISH: how many listeners this process has for the message. They get it when
    /// everything is certain that the running client's connection depends on (T4); what the running
    /// client itself gets (in `own`) follows the reply of its command.
    fn publish(&mut self, sharded: bool, channel: &[u8], message: &[u8], own: Proto) -> usize;

    fn raft_status(&self) -> RaftStatus;

    /// The cluster; none without `cluster-enabled`.
    fn cluster(&mut self) -> Option<&mut dyn ClusterApi> {
        None
    }

    /// Servers outside.
    fn outside(&mut self) -> &mut dyn OutsideApi;

    /// Connections to them that are open.
    fn outside_connections(&self) -> usize {
        0
    }

    /// How many data replicas have applied what batch `batch` became, or 0 (WAIT; C2).
    fn replica_acks(&self, batch: BatchSeq) -> u64;

    /// Whether what `batch` became is on the own disk, and how many other data members have it on theirs.
    fn synced_acks(&self, batch: BatchSeq) -> (bool, u64);

    /// How snapshots stand.
    fn saving(&self) -> SavingView;

    /// A snapshot is to be made, as soon as none is under way; its number. `by`: for the log. `at_once`: else
    /// it is scheduled in any case.
    fn order_snapshot(&mut self, kind: SnapshotKind, by: &'static str, at_once: bool) -> u64;

    /// A snapshot for clients that said SYNC, which begins after now; its number.
    fn order_download(&mut self) -> u64;

    /// Whether this replica, which streams no commands from here and so comes again and again, may have another
    /// file now; if so it is noted.
    fn admit_replica(&mut self, replica: &str) -> bool;

    /// SHUTDOWN and SIGTERM take the same road; an error is the whole text after `ERR `.
    fn request_shutdown(&mut self, options: Shutdown) -> Result<(), String>;

    /// SHUTDOWN ABORT; false: none was under way.
    fn abort_shutdown(&mut self) -> bool {
        false
    }

    fn process(&self) -> ProcessView;

    /// DEBUG RELOAD, LOADAOF: the keyspace is to be made anew from what is on the disk; `save`: a snapshot comes
    /// first. False: that is under way.
    fn order_reload(&mut self, save: bool) -> bool;

    /// DEBUG SET-ACTIVE-EXPIRE.
    fn set_active_expire(&mut self, on: bool);

    /// DEBUG PAUSE-CRON.
    fn pause_cron(&mut self, paused: bool);

    /// DEBUG LOG: a warning in the server's log.
    fn log(&mut self, text: &str);

    /// Stands still for that long, a few milliseconds at most (DEBUG SLEEP).
    fn rest(&mut self, time: std::time::Duration);

    /// What the memory's allocator says of itself (MEMORY MALLOC-STATS).
    fn allocator_report(&self) -> String;

    /// Gives memory that is not used back to the system (MEMORY PURGE). False: it failed.
    fn purge_memory(&mut self) -> bool;

    /// Unix time in microseconds (TIME), as precise as the host's clock.
    fn unix_micros(&self) -> i64 {
        self.now().unix_ms * 1000
    }

    /// T9: called every few milliseconds by a command that runs long. Answers heartbeats, no more.
    fn breathe(&mut self);

    /// A fresh reading of the clocks.
    fn now(&self) -> Now;
}
