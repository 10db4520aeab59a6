//! What a member does about a disk that fills up (D5).
//!
//! Owns: how much of the disk is kept free of log, whether a snapshot would give room back, and what is still taken
//! when there is no room for writes. Never: makes a snapshot, or drops log by itself. Invariant: the log never takes the
//! room of the snapshot that would let it be trimmed, or a full disk would be full for ever.

use super::turn::{grant, RECORD_OVERHEAD, TURN_ROOM};
use super::Shard;
use base::clock::Mono;
use base::mutation::{self, Mutation};
use std::time::Duration;
use storage::base::MemberKind;
use storage::Disk;

/// What a base takes, with the counts of slots and the like that stand in a state beside its keys.
const BASE_ROOM: u64 = 1 << 20;
/// The effects of one turn that use the room of those that free memory; one unit of so much is no large one (T8).
const FREEING_TURN: u64 = 1 << 20;

/// What may be on its way to a member until its leader hears that it has no room.
const ON_THE_WAY: u64 = 4 << 20;

/// Files that the base names no more are gone after so long.
const SHED: Duration = Duration::from_secs(1);

/// Why a snapshot is to be made for the room that it gives back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortage {
    /// The disk is about to be full, and it gives back more than it takes.
    Pays,
    /// There is no room for writes, and it gives something back, or may.
    Full,
}

impl<D: Disk> Shard<D> {
    /// The most that a snapshot may take which is made now: no more than memory, nor than the newest has with all
    /// that was written since.
    pub(super) fn next_state_bytes(&self) -> u64 {
        let newest = self.newest_state();
        let had = newest.file.map_or(0, |file| file.bytes);
        let grown = had + had / 16 + self.log.bytes_after(newest.index);
        grown.min(self.memory) + self.base_room()
    }

    /// Segments are small where disks are.
    fn base_room(&self) -> u64 {
        BASE_ROOM.min(self.log.segment_room())
    }

    /// Bytes that the process has for data, and what else it needs: in its file a state takes less. To be told now
    /// and then.
    pub fn note_memory(&mut self, bytes: u64) {
        self.memory = bytes;
        self.look_at_space();
    }

    /// How much is kept follows what there is; whether that is little follows how much is kept.
    pub(super) fn look_at_space(&mut self) {
        if self.group.kind() == MemberKind::Witness {
            return;
        }
        self.log.keep(self.room_to_keep());
        self.log.keep_to_free(self.next_state_bytes());
        let margin = || {
            let cap = self.log.cap(self.next_state_bytes());
            self.log.kept().saturating_add(cap)
        };
        let is_near = |free: u64| free < u64::MAX && free < margin();
        self.is_nearly_full = self.is_disk_full() || self.log.seen_free().is_some_and(is_near);
    }

    /// D5: bytes of the disk that are to stay free of log, beside the segment to come. What is written into the room
    /// that the log has and is about to have may be in the next state, and no segment can be given back then. The
    /// state after that needs room too: what the next one does not give back is kept as well.
    fn room_to_keep(&self) -> u64 {
        let now = self.next_state_bytes();
        // A small state is overwritten rather than twice as large soon.
        let grows = (self.log.room() + self.log.segment_room()).min(now);
        let next = now.saturating_add(grows);
        let old = self.base.snapshot.file.map_or(0, |file| file.bytes);
        let (Some(most), Some(progress)) = (self.making_at_most(), self.snapshot_progress()) else {
            // That of a lone member loses its log as well (P11).
            let back = match self.is_surely_alone() {
                true => u64::MAX,
                false => old.saturating_add(self.log_given_back()),
            };
            return next.saturating_add(next.saturating_sub(back));
        };
        // What it has written is not free any more; behind it the state goes that the base names now.
        let rest = most.saturating_sub(progress.bytes()).max(self.base_room());
        rest.saturating_add(next.saturating_sub(old))
    }

    /// Bytes of log that a snapshot made now would let go.
    fn log_given_back(&self) -> u64 {
        let applied = self.group.applied();
        let needed = self.needed(self.newest_state());
        let begins = self.log.start_for(applied, applied, needed);
        let old = self.base.start.map_or(0, |start| start.position.0);
        begins.map_or(0, |start| start.position.0 - old)
    }

    /// D5: whether a snapshot is to be made for the room that it gives back.
    pub fn shortage(&self) -> Option<Shortage> {
        // A state that waits for the base to name it gives back what can be given back.
        let makes_none = self.group.kind() == MemberKind::Witness || self.is_loading();
        if makes_none || self.new_state.is_some() || !self.is_nearly_full {
            return None;
        }
        let (full, costs) = (self.is_disk_full(), self.next_state_bytes());
        let (newest, applied) = (self.newest_state(), self.group.applied());
        let frees = self.log_given_back();
        // What was deleted since is not in it.
        let may_shrink =
            newest.index < applied && newest.file.is_some_and(|f| f.bytes > self.base_room());
        if frees >= costs {
            return Some(Shortage::Pays);
        }
        (full && (frees > 0 || may_shrink)).then_some(Shortage::Full)
    }

    /// Whether log is about to go: a snapshot is being made or waits for the base to name it, or is about to be made; or
    /// what the new base does not name is being removed.
    pub fn gives_room_back(&self) -> bool {
        let was_shed = |at: Mono| self.turn_now.mono.since(at) < SHED;
        if self.shed_at.is_some_and(was_shed) {
            return true;
        }
        let is_named_soon = self.new_state.is_some() && self.switch_failure().is_none();
        let is_made = self.snapshot_progress().is_some();
        let is_due = || self.shortage() == Some(Shortage::Pays);
        self.may_trim() && (is_made || is_named_soon || is_due())
    }

    /// D5: whether the disk would have taken another segment, if nothing were kept for the next snapshot.
    pub fn has_disk_left(&self) -> bool {
        let free = self.log.seen_free();
        free.is_some_and(|free| free >= self.log.segment_room())
    }

    /// D5: whether there is room for what a turn may write, and for what was asked for and could not be had. A member
    /// says so early: what is on its way to it meanwhile must fit, or nothing behind that is ever committed.
    pub(super) fn has_room(&self) -> bool {
        let wanted = match self.is_disk_full() {
            true => self
                .log
                .wanted_room()
                .max(ON_THE_WAY.min(self.log.segment_room() / 2)),
            false => 0,
        };
        self.log.has_room(wanted.max(TURN_ROOM))
    }

    /// D5: whether writes are refused for lack of room: here, or on the disks of so many others that what a leader
    /// writes would not be committed.
    pub fn lacks_room(&self) -> bool {
        self.is_disk_full() || self.is_outvoted_by_full_disks()
    }

    /// D5: whether too few voters have room for writes to commit one.
    pub(super) fn is_outvoted_by_full_disks(&self) -> bool {
        self.group.is_leader() && !self.group.has_room_to_commit(self.turn_now.mono)
    }

    /// D5: bytes of effects that may enter this turn's batch where no write may, since they only free memory.
    pub(super) fn freeing_grant(&self) -> Option<usize> {
        if !self.lacks_room() || mutation::is(Mutation::FreeingIsRefused) {
            return None;
        }
        let room = self.log.room_to_free().min(FREEING_TURN);
        let bytes = grant(room);
        let in_tail = self.tail_bytes < self.config.tail_limit;
        (in_tail && room > 4 * RECORD_OVERHEAD && bytes > 0)
            .then_some(bytes.min(self.config.sizes.part))
    }
}
