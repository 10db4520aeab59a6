//! One turn of a shard: keyspace, group and log around each other, sans-I/O.
//!
//! Owns the order of a turn (T1), the tail (T6), the gates that replies wait for (T3, T5), what is
//! written when (D1, D4, D5). Never: a clock, a socket, a thread, or a reply's bytes. The node's
//! loop and the simulator drive the same code:
//!
//! ```text
//! (1) step* · job_done* · begin        peers, finished syncs, timers; Ready; apply; release
//! (2) serving · execute on data        only a leader with its lease and room in the log
//! (3) finish                           one proposal, then the clock, then the lease
//! (4) take_output                      jobs to run, messages to send, gates that opened
//!     walk_snapshot                    when the replies have left
//! ```
//!
//! Invariants:
//! - Between the first execution of a turn and its proposal nothing is stepped, ticked or applied.
//! - A batch gets its number before execution and its index and term after the proposal; a gate
//!   names the number, so no index is ever predicted (T2).
//! - A batch is one entry, or all parts of one large unit: nothing of which a part may commit and
//!   another be lost (T6). A turn makes one, or several when there are large units.
//! - The tail is decided by what *commits* at its indexes, by nothing else (T6).

mod apply;
mod check;
mod cut;
mod health;
mod import;
mod install;
mod loading;
mod log_end;
mod make;
mod members;
mod open;
mod persist;
mod quorum;
mod removal;
mod replay;
mod space;
mod state_file;
mod transfer;
mod turn;
pub use check::OfferedCheck;
pub use import::{without_import, ImportFile, Imported, NotImported};
pub use loading::{Cause, LoadProgress};
pub use make::{CopyTo, NoSnapshot, SnapshotOrder, SnapshotProgress};
pub use members::LEAVE_TIMEOUTS;
pub use space::Shortage;
pub use turn::Admission;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;

use base::clock::{Mono, Now};
use base::ids::{BatchSeq, RaftId, ReadId};
use base::mutation::{self, Mutation};
use effect::{CodecError, Stager, PART_BYTES};
use keyspace::{Keyspace, Layout, Limits};
use raft::eraftpb::Entry;
use raft_group::{Envelope, Group, StepError, Wanted};
use state::Gate;
use state::StateMachine;
use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;
use storage::base::MemberKind;
use storage::{
    Base, Disk, Job, Log, LogConfig, MemberIdentity, Position, SnapshotMeta, StorageError,
};
use topology::Record;

pub use open::{bootstrap, Opening};

/// When appended bytes count as persisted (D4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncPolicy {
    /// After an fdatasync: always so in a group of more than one member.
    Always,
    /// Once written; synced every second. Only a group without any second member may.
    EverySecond,
    /// Once written; synced when the kernel likes. Only a group without any second member may.
    No,
}

/// Where work is cut; less than by default only for small values to cross it.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// T8: a unit above so many bytes is logged in parts.
    pub part: usize,
    /// T9: bytes of entries applied before the loop looks at its sockets again.
    pub apply_slice: usize,
    /// A snapshot's walk stops while so many bytes that it came to wait for the thread.
    pub walked: usize,
    /// F5: while so many bytes wait of what was to change, nothing is changed. To give the snapshot up instead
    /// would throw away what is written, and without a snapshot the log only grows.
    pub touched: usize,
}

impl Default for Sizes {
    fn default() -> Sizes {
        Sizes {
            part: PART_BYTES,
            apply_slice: 1 << 20,
            walked: 8 << 20,
            touched: 32 << 20,
        }
    }
}

/// What a shard is opened with.
#[derive(Clone, Debug)]
pub struct ShardConfig {
    pub layout: Layout,
    /// How large containers get before they take another form.
    pub limits: Limits,
    /// Keys the keyspace's hash and the campaign timer's jitter.
    pub seed: u64,
    pub sync: SyncPolicy,
    /// T6: after this long without news the outcome of an open batch is unknown.
    pub outcome_timeout: Duration,
    /// T2: bytes of effects that may be executed and not committed.
    pub tail_limit: usize,
    /// Bytes of applied entries that stay in memory for followers.
    pub keep_bytes: usize,
    pub sizes: Sizes,
    pub log: LogConfig,
    /// Whether this member was the master before the restart (E2).
    pub first: bool,
}

/// What ends the process: a broken invariant, a lost disk, a log that lost what it promised.
#[derive(Debug, thiserror::Error)]
pub enum ShardError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(
        "the state that base names is in {file}, and that file can't be used: {why}. Nothing has been \
         changed here: mend what it says, put the file back from a copy, or give this node an empty folder"
    )]
    State { file: String, why: String },
    #[error(
        "{file} can't be imported: {why}. Nothing has been changed here: put a sound file in its place, or move it \
         away to begin without its keys"
    )]
    Import { file: String, why: String },
    #[error("entry {index}: {source}")]
    Effect { index: u64, source: CodecError },
    #[error("entry {index} can't be applied: {reason}")]
    Apply { index: u64, reason: String },
    #[error(
        "the {what} that base and log have as of entry {index} are not those that were in memory. Nothing has \
         been changed on the disk: compare with another member before this one is started again"
    )]
    Reload { index: u64, what: &'static str },
    #[error("raft: {0}")]
    Raft(#[from] raft::Error),
    #[error(transparent)]
    Step(#[from] StepError),
}

/// What asked for a read of old entries; reads are answered in the order in which they were asked.
enum ReadFor {
    Loading,
    Follower(Wanted),
}

/// What a turn asks of its driver, and what became of replies.
pub struct TurnOutput<D: Disk> {
    pub messages: Vec<Envelope>,
    /// Work for another thread; results come back through [`Shard::job_done`].
    pub jobs: Vec<Job<D>>,
    /// Batches that did not happen: their replies become MOVED. To be handled before `released`.
    pub failed: Vec<RangeInclusive<BatchSeq>>,
    /// Reads whose leader can't be shown to have led: they changed nothing and become MOVED too.
    pub failed_reads: Option<RangeInclusive<ReadId>>,
    /// Batches of which nobody can say (T6): their connections are closed without a reply.
    pub unknown: Option<RangeInclusive<BatchSeq>>,
    /// Everything up to here may leave.
    pub released: Gate,
    /// This member has just stopped leading (C4).
    pub stepped_down: bool,
    /// G2: raft ids that sent something and are not members as far as has been applied here.
    pub strangers: Vec<RaftId>,
}

/// A committed batch, and the index of its last entry.
#[derive(Clone, Copy, Debug)]
struct AppliedBatch {
    seq: BatchSeq,
    index: u64,
}

/// What stands beside the data while a command runs.
pub struct GroupHandle<'a, D: Disk> {
    pub group: &'a mut Group,
    pub log: &'a Log<D>,
    tail: &'a VecDeque<TailBatch>,
    recent: &'a VecDeque<AppliedBatch>,
    next_batch: BatchSeq,
    /// D4: what counts as persisted is on disk.
    synced: bool,
    pub tail_bytes: usize,
    pub unknown_outcomes: u64,
    pub has_quorum: bool,
    pub is_disk_full: bool,
    /// P20: how far the keyspace is, while it is being loaded.
    pub loading: Option<LoadProgress>,
    /// Keys that were loaded from a snapshot.
    pub loaded_keys: u64,
    /// A snapshot is whole, and the base can't be made to name it.
    pub can_not_switch: bool,
}

impl<D: Disk> GroupHandle<'_, D> {
    /// C2: what the members have of what `batch` became.
    pub fn acks(&self, batch: BatchSeq) -> Acks {
        let end = end_of(self.group, self.tail, self.recent, self.next_batch, batch);
        acks(self.group, end, self.synced)
    }

    /// C2: how many other data members have applied what `batch` became.
    pub fn replica_acks(&self, batch: BatchSeq) -> u64 {
        self.acks(batch).applied
    }

    /// E3: whether this member leads and holds its lease at `now`.
    pub fn lease_valid(&self, now: Now) -> bool {
        self.group.holds_lease(now)
    }

    /// Entries that are executed and not known to be committed.
    pub fn tail_entries(&self) -> u64 {
        self.tail.iter().map(|b| b.last - b.first + 1).sum()
    }
}

/// A batch that is executed and not known to be committed.
struct TailBatch {
    seq: BatchSeq,
    first: u64,
    last: u64,
    term: u64,
    bytes: usize,
    /// The shard's record after it, if it has changed that (S1).
    record: Option<Arc<Record>>,
}

/// One member's shard.
pub struct Shard<D: Disk> {
    config: ShardConfig,
    base: Base,
    data: StateMachine,
    group: Group,
    log: Log<D>,

    // the turn
    turn_now: Now,
    next_batch: BatchSeq,
    next_read: ReadId,
    read_index_used: bool,
    /// The last turn's effects were as many as belong in one: something may go on at once.
    turn_was_full: bool,
    released: Gate,
    /// Read read indexes that wait for a majority's acknowledgement: (read index, clock after execution).
    read_indexes: VecDeque<(ReadId, Mono)>,
    tail: VecDeque<TailBatch>,
    tail_bytes: usize,
    /// The newest committed batches, for WAIT.
    recent: VecDeque<AppliedBatch>,
    was_leader: bool,
    stepped_down_at: Option<Mono>,
    unknown_told: BatchSeq,

    // writing
    /// D5: bytes of appends that were stepped and are not in the log yet.
    stepped: u64,
    readies: VecDeque<(u64, Position)>,
    /// When the sync began that is under way.
    sync_since: Option<Mono>,
    /// The last sync was over soon.
    disk_is_quick: bool,
    /// M7: a sync is to begin though the policy would not order one.
    sync_wanted: bool,
    /// M1: nobody waits for what is appended beyond, and until then it waits for company.
    patient_until: Option<Mono>,
    /// The newest batch that a reply or a word waits for.
    awaited: BatchSeq,
    /// So many entries that nobody waits for were proposed, and are not appended yet.
    patient_entries: usize,
    /// D5: since when there has been no room for writes.
    full_since: Option<Mono>,
    lack: health::Lack,
    retry_alloc_at: Option<Mono>,
    /// D5: the log could not get the space that it wants, and has not got it since; what the system said.
    no_space: Option<String>,
    /// When the base was last replaced, and files went.
    shed_at: Option<Mono>,
    /// Whether the log soon gets no more of the disk, or gets none now.
    is_nearly_full: bool,
    /// D5: bytes that the process has for data; more than any has, until that is told.
    memory: u64,
    reads: VecDeque<ReadFor>,
    commit_pending: Option<Mono>,
    next_relaxed_sync: Mono,

    // applying
    stager: Stager,
    to_apply: VecDeque<Entry>,
    delivered: u64,
    loading: Option<loading::Loading>,
    /// Keys of the state's file, when it was last loaded.
    loaded_keys: u64,
    members: members::Members,
    quorum: quorum::Quorum,
    new_state: Option<log_end::NewState>,
    removal: removal::Removal<D>,
    /// D7, P12: up to where all members have the log that need not be given a state; none: nobody has said so.
    needed: Option<u64>,
    /// P11: a member is being given the state that the base names; how often another one was in vain.
    base_given: Option<u32>,
    install: Option<install::Install>,
    transfers: transfer::Transfers,
    snapshots: make::Snapshots<D>,

    // output
    jobs: Vec<Job<D>>,
    failed: Vec<RangeInclusive<BatchSeq>>,
    failed_reads: Option<RangeInclusive<ReadId>>,
    unknown: Option<RangeInclusive<BatchSeq>>,
    stepped_down: bool,
    unknown_outcomes: u64,
}

impl<D: Disk> Shard<D> {
    pub fn data(&self) -> &StateMachine {
        &self.data
    }

    /// For executing commands in phase (2), and for housekeeping that changes no key.
    pub fn data_mut(&mut self) -> &mut StateMachine {
        &mut self.data
    }

    /// The data, and beside it what a running command may ask about or do meanwhile (T9).
    pub fn split(&mut self) -> (&mut StateMachine, GroupHandle<'_, D>) {
        let loading = self.load_progress();
        let can_not_switch = self.switch_failure().is_some();
        let is_disk_full = self.lacks_room();
        let synced = self.counts_as_synced();
        let handle = GroupHandle {
            synced,
            loading,
            loaded_keys: self.loaded_keys,
            group: &mut self.group,
            log: &self.log,
            tail: &self.tail,
            recent: &self.recent,
            next_batch: self.next_batch,
            tail_bytes: self.tail_bytes,
            unknown_outcomes: self.unknown_outcomes,
            has_quorum: !self.quorum.lost,
            is_disk_full,
            can_not_switch,
        };
        (&mut self.data, handle)
    }

    pub fn group(&self) -> &Group {
        &self.group
    }

    pub fn log(&self) -> &Log<D> {
        &self.log
    }

    pub fn base(&self) -> &Base {
        &self.base
    }

    /// This member's identity.
    pub fn identity(&self) -> &MemberIdentity {
        &self.base.identity
    }

    /// The snapshot from which this member begins.
    pub fn snapshot_meta(&self) -> &SnapshotMeta {
        &self.base.snapshot
    }

    /// Batches that are executed and not decided.
    pub fn tail_len(&self) -> usize {
        self.tail.len()
    }

    /// Bytes of effects in the open tail.
    pub fn tail_bytes(&self) -> usize {
        self.tail_bytes
    }

    /// C2: how many other data members have applied what `batch` became.
    pub fn replica_acks(&self, batch: BatchSeq) -> u64 {
        self.acks(batch).applied
    }

    /// What the members have of what `batch` became.
    pub fn acks(&self, batch: BatchSeq) -> Acks {
        let end = end_of(
            &self.group,
            &self.tail,
            &self.recent,
            self.next_batch,
            batch,
        );
        acks(&self.group, end, self.counts_as_synced())
    }

    /// D4: what counts as persisted is on disk.
    fn counts_as_synced(&self) -> bool {
        !self.relaxed() || self.is_all_durable()
    }

    /// This shard takes the place of another one under the same clients: its batches are numbered
    /// on from there, and every client that watched a key there has lost. The replies that wait for the other
    /// one must have been dealt with.
    pub fn succeed(&mut self, old: &mut Shard<D>) {
        self.next_batch = old.next_batch;
        self.next_read = old.next_read;
        self.released = old.last_gate();
        self.data.take_watches(&mut old.data);
        // The turn goes on under the new numbers.
        self.begin_data();
    }

    /// The highest gate that any reply may wait for.
    pub fn last_gate(&self) -> Gate {
        Gate {
            batch: self.next_batch.previous(),
            read: self.next_read.previous(),
        }
    }

    /// Batches and reads whose outcome nobody could learn (T6).
    pub fn unknown_outcomes(&self) -> u64 {
        self.unknown_outcomes
    }

    /// The record as of the last entry that is known to be committed (S1, S2).
    pub fn record(&self) -> &Arc<Record> {
        self.data.committed_record()
    }

    /// The record as of the base; empty outside a cluster.
    fn bootstrap_record(base: &Base) -> Record {
        Record::decode(&base.snapshot.record).unwrap_or_default()
    }

    /// How large containers may get from here on before they take another form.
    pub fn set_limits(&mut self, limits: Limits) {
        self.config.limits = limits;
        self.data.keyspace_mut().set_limits(limits);
    }

    /// An empty keyspace as this shard lays it out.
    fn empty_keyspace(config: &ShardConfig) -> Keyspace {
        let mut keyspace = Keyspace::new(config.layout, config.seed);
        keyspace.set_limits(config.limits);
        keyspace
    }

    /// D4: a group without any second member may answer before its sync.
    fn relaxed(&self) -> bool {
        self.config.sync != SyncPolicy::Always && self.group.is_alone() && !self.members.strict
    }
}

/// What the members have of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Acks {
    /// C2: how many other data members have applied it.
    pub applied: u64,
    /// How many of those have it on disk.
    pub synced: u64,
    /// Whether the own disk has it.
    pub own: bool,
}

/// The entry with which `batch` ends, at a leader. A batch of the turn
/// that executes it (from `next_batch` on) is not even proposed, and of a deposed leader's tail nobody
/// can say which entries the others have. In the tail of one that leads a batch may be committed: its
/// own disk is the last to have it (T5).
fn end_of(
    group: &Group,
    tail: &VecDeque<TailBatch>,
    recent: &VecDeque<AppliedBatch>,
    next_batch: BatchSeq,
    batch: BatchSeq,
) -> Option<u64> {
    let running = batch >= next_batch && !mutation::is(Mutation::WaitBeforeProposal);
    let open = tail.iter().rev().find(|open| open.seq <= batch);
    if running || open.is_some_and(|open| !group.is_leader() || open.term != group.term()) {
        return None;
    }
    // A batch that is no longer remembered lies below all that are.
    let at = recent.partition_point(|applied| applied.seq < batch);
    let applied = || recent.get(at).map_or(0, |applied| applied.index);
    Some(open.map_or_else(applied, |open| open.last))
}

/// C2: what the members with data say they have of the entry `end`. `synced`: the own log counts as on disk
/// when it is (D4).
fn acks(group: &Group, end: Option<u64>, synced: bool) -> Acks {
    let Some(index) = end else {
        return Acks::default();
    };
    let members = group.membership();
    let is_data = |id: RaftId| {
        let kind = members.member(id).map(|m| m.kind);
        kind != Some(MemberKind::Witness) || mutation::is(Mutation::WitnessCountsForWait)
    };
    let mut acks = Acks::default();
    for member in group.members() {
        if member.id == group.id() {
            acks.own = synced && member.matched >= index;
        } else if is_data(member.id) {
            acks.applied += u64::from(member.applied >= index);
            acks.synced += u64::from(member.matched >= index);
        }
    }
    acks
}
