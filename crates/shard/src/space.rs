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
        let margin = || {
            let cap = self.log.cap(self.next_state_bytes());
            self.log.kept().saturating_add(cap)
        };
        let is_near = |free: u64| free < u64::MAX && free < margin();
        self.is_nearly_full = self.is_disk_full() || self.log.seen_free().is_some_and(is_near);
    }

    /// D5: bytes of the disk that are to stay free of log.
    fn room_to_keep(&self) -> u64 {
        let (Some(most), Some(progress)) = (self.making_at_most(), self.snapshot_progress()) else {
            return self.next_state_bytes();
        };
        // What it has written is not free any more.
        most.saturating_sub(progress.bytes()).max(self.base_room())
    }

    /// D5: whether a snapshot is to be made for the room that it gives back.
    pub fn shortage(&self) -> Option<Shortage> {
        // A state that waits for the base to name it gives back what can be given back.
        let makes_none = self.group.kind() == MemberKind::Witness || self.is_loading();
        if makes_none || self.new_state.is_some() {
            return None;
        }
        if !self.is_nearly_full {
            return None;
        }
        let (full, costs) = (self.is_disk_full(), self.next_state_bytes());
        let (newest, applied) = (self.newest_state(), self.group.applied());
        let begins = self.log.start_for(applied, applied, self.needed(newest));
        let old = self.base.start.map_or(0, |start| start.position.0);
        let frees = begins.map_or(0, |start| start.position.0 - old);
        // What was deleted since is not in it.
        let may_shrink =
            newest.index < applied && newest.file.is_some_and(|f| f.bytes > self.base_room());
        match () {
            () if frees >= costs => Some(Shortage::Pays),
            () if full && (frees > 0 || may_shrink) => Some(Shortage::Full),
            () => None,
        }
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

    /// D5: whether there is room for what a turn may write, and for what was asked for and could not be had.
    pub(super) fn has_room(&self) -> bool {
        let wanted = match self.is_disk_full() {
            true => self.log.wanted_room(),
            false => 0,
        };
        self.log.has_room(wanted.max(TURN_ROOM))
    }

    /// D5: bytes of effects that may enter this turn's batch where no write may, since they only free memory.
    pub(super) fn freeing_grant(&self) -> Option<usize> {
        if !self.is_disk_full() || mutation::is(Mutation::FreeingIsRefused) {
            return None;
        }
        let room = self.log.room_to_free().min(FREEING_TURN);
        let bytes = grant(room);
        let in_tail = self.tail_bytes < self.config.tail_limit;
        (in_tail && room > 4 * RECORD_OVERHEAD && bytes > 0)
            .then_some(bytes.min(self.config.sizes.part))
    }
}
