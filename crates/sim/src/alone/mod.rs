//! One member, or one node, alone: for what chance hardly ever shows.
//!
//! Each file has a function that plays a scene with the real code and says whether a rule held, a
//! test of it, and the mutation that breaks the rule is listed here.

mod bed;
pub mod breath;
pub mod follower;
pub mod full;
#[cfg(test)]
mod import;
pub mod leader;
pub mod learner;
pub mod log_end;
pub mod node;
pub mod outgoing;
pub mod voter;
pub mod waiting;
pub mod witnesses;

use ::base::clock::{Mono, Now};
use ::base::ids::{GroupId, Incarnation, RaftId};
use raft::eraftpb::{ConfState, Entry, Message, MessageType};
use raft_group::{Envelope, LeaseEpoch};
use shard::{Shard, ShardConfig, Sizes, SyncPolicy};
use std::time::Duration;
use storage::{base, Base, Log, LogConfig, MemberIdentity, SnapshotMeta};

use crate::disk::SimDisk;

/// T of all groups here.
const T_MS: u64 = 1000;

fn at(ms: u64) -> Now {
    Now {
        mono: Mono((ms + 1) * 1_000_000),
        unix_ms: ms as i64,
        ..Now::default()
    }
}

fn quiet() -> slog::Logger {
    slog::Logger::root(slog::Discard, slog::o!())
}

fn log_config() -> LogConfig {
    LogConfig {
        segment_size: 4 << 20,
        ..LogConfig::default()
    }
}

/// The data member 5 of the voters 1, 5 and 6, before anything was written.
fn base() -> Base {
    Base {
        identity: MemberIdentity {
            group: GroupId(1),
            incarnation: Incarnation(1),
            raft_id: RaftId(5),
            kind: base::MemberKind::Data,
            election_timeout_ms: T_MS,
        },
        snapshot: SnapshotMeta {
            index: 1,
            term: 1,
            conf_state: ConfState::from((vec![1, 5, 6], vec![])),
            ..SnapshotMeta::default()
        },
        start: None,
    }
}

/// A member that was born of `base`, on a disk of its own.
fn shard(base: &Base, now: Now) -> Shard<SimDisk> {
    let disk = SimDisk::new(1 << 30);
    Log::create(disk.clone(), log_config(), base).expect("an empty disk");
    let config = ShardConfig {
        layout: keyspace::Layout::Cluster,
        limits: keyspace::Limits::default(),
        seed: 7,
        sync: SyncPolicy::Always,
        outcome_timeout: Duration::from_secs(5),
        tail_limit: 1 << 20,
        keep_bytes: 1 << 20,
        sizes: Sizes::default(),
        log: log_config(),
        first: true,
    };
    Shard::open(disk, config, now, &quiet()).expect("a sound log")
}

/// Does a turn's jobs on the spot; gives its messages.
fn settle(shard: &mut Shard<SimDisk>, now: Now) -> Vec<Envelope> {
    let output = shard.take_output();
    for job in output.jobs {
        if let Some(done) = job.run() {
            shard.job_done(now, done).expect("a sound disk");
        }
    }
    output.messages
}

/// What carries `message` of a term without transfers.
fn envelope(group: u64, message: Message) -> Envelope {
    Envelope {
        group: GroupId(group),
        incarnation: Incarnation(1),
        from: RaftId(message.from),
        to: RaftId(message.to),
        lease_epoch: LeaseEpoch {
            term: message.term,
            transfers: 0,
        },
        sent_ns: 1,
        applied: 1,
        has_room: true,
        loaded: true,
        message,
    }
}

/// The leader 1's append of `entries`, all of its own term, behind the entry `(index, log_term)`.
fn append(to: u64, (index, log_term): (u64, u64), entries: Vec<Entry>, commit: u64) -> Message {
    Message {
        msg_type: MessageType::MsgAppend,
        from: 1,
        to,
        term: entries.last().expect("it is no probe").term,
        index,
        log_term,
        commit,
        entries: entries.into(),
        ..Message::default()
    }
}
