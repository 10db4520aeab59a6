//! How this member itself does, and what follows from it (T5, E4, D5).
//!
//! Owns: since when a sync is under way, since when there is no room, what the reserve is for. Never:
//! decides which member takes over (that is [`raft_group::relief`]).

use super::members::is_change;
use super::persist::SMALL_RECORD;
use super::Shard;
use base::clock::{Mono, Now};
use base::ids::BatchSeq;
use base::ids::RaftId;
use base::mutation::{self, Mutation};
use raft::eraftpb::{Entry, Message, MessageType};
use raft_group::{self, Condition};
use state::only_frees;
use std::time::Duration;
use storage::Disk;

/// Of the reserve so much is for votes and terms alone: no entry may use it.
const FOR_VOTES: u64 = 16 << 10;
/// E4: how many T pass before a member is asked again that has not taken over.
const FAILED_PAUSE: u32 = 10;

/// D5: what this member's disk, or those of the others, lack.
#[derive(Default)]
pub(super) struct Lack {
    /// A leader's entries behind this commit have no room elsewhere, since then.
    stuck: Option<(u64, Mono)>,
    /// So many entries had none when this member stepped down for that.
    abdication: Option<u64>,
    /// The term in which room was asked for.
    wanted_in: u64,
    /// No file can be opened for the log.
    pub files: bool,
    /// No file could be opened for the last read.
    pub read_failure: Option<String>,
}

/// D5: entries that may use the reserve, also at followers: what a new leader begins with, and
/// changes of members.
fn may_use_reserve(entry: &Entry) -> bool {
    entry.data.is_empty() || is_change(entry)
}

impl<D: Disk> Shard<D> {
    /// D5: whether the log has room for this append and for all that was stepped before it.
    pub(super) fn fits(&self, append: &Message, bytes: u64) -> bool {
        let of_reserve =
            |entry: &Entry| may_use_reserve(entry) && !mutation::is(Mutation::ReserveForNothing);
        if append.entries.iter().all(of_reserve) {
            return self.log.has_reserve(bytes + FOR_VOTES);
        }
        let frees = |entry: &Entry| of_reserve(entry) || only_frees(&entry.data);
        let freeing = || self.log.has_room_to_free(bytes) && append.entries.iter().all(frees);
        self.log.has_room(bytes) || freeing()
    }

    /// D5: whether a new term or vote can be written. What would make one is not stepped else, and no
    /// candidacy begun: an entry or a hard state can't be given back.
    pub(super) fn can_write_term(&self) -> bool {
        self.log.has_reserve(self.stepped + SMALL_RECORD)
    }

    /// Whether stepping this writes nothing: it is of the own term, or raises none.
    pub(super) fn writes_nothing(&self, m: &Message) -> bool {
        match m.get_msg_type() {
            MessageType::MsgRequestPreVote => true,
            MessageType::MsgHeartbeat
            | MessageType::MsgHeartbeatResponse
            | MessageType::MsgAppendResponse => m.term <= self.group.term(),
            MessageType::MsgAppend => m.term <= self.group.term() && m.entries.is_empty(),
            _ => false,
        }
    }

    /// Looks how the own disk does. A leader that it fails, or whose keyspace is being loaded, hands over.
    pub(super) fn look_at_disk(&mut self, now: Now) {
        // What another leader sent, and had no room, may never be sent again.
        let term = self.group.term();
        if std::mem::replace(&mut self.lack.wanted_in, term) != term {
            self.log.forget_wanted();
        }
        let has_room = self.has_room();
        self.group.set_room(has_room);
        self.full_since = match has_room {
            true => None,
            false => self.full_since.or(Some(now.mono)),
        };
        if !self.group.is_leader() || self.group.is_transferring() {
            return;
        }
        let lasts = |since: Option<Mono>| since.map(|at| now.mono.since(at));
        let own = Condition {
            sync_for: lasts(self.sync_since),
            full_for: lasts(self.full_since),
            loads: self.is_loading(),
        };
        let of = |id: RaftId| {
            let mut progress = self.progress(now.mono).into_iter();
            progress.find(|(other, _)| *other == id).map(|p| p.1)
        };
        let (me, t) = (self.group.id(), self.group.election_timeout());
        if let Some(to) = raft_group::relief(me, t, own, self.group.membership(), &of) {
            self.group.transfer(now, to);
        }
        self.abdicate_if_stuck(now);
    }

    /// D5: what was logged before the others said that they have no room, and is more than they have, commits nowhere,
    /// and deletions wait behind it: a full disk without a way out. Another log than this one may do without it (T6).
    fn abdicate_if_stuck(&mut self, now: Now) {
        let (commit, last) = (self.group.commit(), self.group.last_index());
        let waits = commit < last && self.is_outvoted_by_full_disks();
        if !waits || mutation::is(Mutation::StuckLeaderStays) {
            self.lack.stuck = None;
            return;
        }
        let since = match self.lack.stuck {
            Some((at, since)) if at == commit => since,
            _ => now.mono,
        };
        self.lack.stuck = Some((commit, since));
        let lasts = now.mono.since(since) >= self.config.outcome_timeout;
        if lasts && self.group.can_be_replaced(now.mono) {
            self.lack.stuck = None;
            self.lack.abdication = Some(last - commit);
            self.group.abdicate(now);
        }
    }

    /// This member has just stepped down for the sake of the others' disks: so many entries may be lost.
    pub fn take_abdication(&mut self) -> Option<u64> {
        self.lack.abdication.take()
    }

    /// T5: what a quorum has on disk has happened, though this member's own disk has not got there:
    /// replies leave. It is applied when the own disk has it.
    pub(super) fn release_committed(&mut self) {
        if mutation::is(Mutation::WaitForTheOwnDisk) {
            return;
        }
        let commit = self.group.commit();
        let told = self.released.batch;
        let open = self.tail.partition_point(|batch| batch.seq <= told);
        for batch in self.tail.range_mut(open..) {
            if batch.last > commit || self.group.term_at(batch.last) != Some(batch.term) {
                break;
            }
            self.released.batch = batch.seq;
            if let Some(record) = batch.record.take() {
                self.data.set_committed_record(record); // S1
            }
        }
    }

    /// Batches of the tail up to here have been answered, or told to be unknown.
    pub(super) fn answered(&self) -> BatchSeq {
        self.unknown_told.max(self.released.batch)
    }

    /// E4: whether a transfer to a member failed lately.
    pub(super) fn failed_lately(&self, failed: Option<Mono>, now: Mono) -> bool {
        let pause: Duration = self.group.election_timeout() * FAILED_PAUSE;
        failed.is_some_and(|at| now.since(at) < pause)
    }
}
