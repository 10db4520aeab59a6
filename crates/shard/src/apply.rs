//! What commits: the tail's outcome, followers' apply (T6, T8).

use super::members::is_change;
use super::turn::Breath;
use super::{AppliedBatch, Shard, ShardError, TailBatch};
use base::mutation::{self, Mutation};
use effect::{parse_entry, CodecError, Staged, Stager, Unit, Units};
use keyspace::{Keyspace, PREFETCH};
use raft::eraftpb::Entry;
use raft_group::Group;
use state::{apply_record, apply_unit, check_unit, ApplyError, Pacer, StateMachine};
use std::cell::Cell;
use storage::base::MemberKind;
use storage::Disk;

/// T9: entries applied before the loop looks at its sockets again.
const APPLY_ENTRIES: usize = 2_000;

/// Committed batches whose index is remembered for WAIT.
const RECENT: usize = 1024;

/// Applies one committed entry that this member has not executed itself.
pub(super) fn apply_entry(
    data: &mut StateMachine,
    stager: &mut Stager,
    entry: &Entry,
    pacer: &mut Pacer,
    breathe: &mut dyn FnMut(),
) -> Result<(), ShardError> {
    carry_out(data, stager, entry, &mut Carry::All(pacer, breathe))
}

/// What one committed entry makes of the record, where the keyspace is made later.
pub(super) fn scan_entry(
    data: &mut StateMachine,
    stager: &mut Stager,
    entry: &Entry,
) -> Result<(), ShardError> {
    carry_out(data, stager, entry, &mut Carry::Record)
}

/// What of a unit is carried out.
enum Carry<'b> {
    All(&'b mut Pacer, &'b mut dyn FnMut()),
    Record,
}

impl Carry<'_> {
    fn unit(&mut self, data: &mut StateMachine, unit: Unit<'_>) -> Result<(), ApplyError> {
        match self {
            Carry::All(pacer, breathe) => apply_unit(data, unit, pacer, breathe),
            Carry::Record => apply_record(data, unit),
        }
    }

    /// The memory of the keys that come next is on its way while the first of them is changed: most of
    /// the time of a load is waiting for it.
    fn look_ahead(&self, data: &StateMachine, ahead: &mut Units<'_>) {
        let keys = ahead.take(PREFETCH).flatten();
        if let Carry::All(..) = self {
            data.prefetch(0, keys.filter_map(|unit| unit.first_argument()));
        }
    }
}

/// Hands over the units of an entry that are whole with it.
fn carry_out(
    data: &mut StateMachine,
    stager: &mut Stager,
    entry: &Entry,
    carry: &mut Carry<'_>,
) -> Result<(), ShardError> {
    let index = entry.index;
    let effect_error = |source| ShardError::Effect { index, source };
    let apply_error = |e: &dyn std::fmt::Display| ShardError::Apply {
        index,
        reason: e.to_string(),
    };
    if is_change(entry) {
        return Ok(()); // the group's business: see members.rs
    }
    let body = parse_entry(&entry.data).map_err(effect_error)?;
    let staged = match stager.take(entry.term, body) {
        // T8: a part that does not follow the one before it is void, for every member alike.
        Err(CodecError::PartOutOfOrder { .. }) => return Ok(()),
        staged => staged.map_err(effect_error)?,
    };
    match staged {
        Staged::Nothing => {}
        Staged::Units(units) => {
            let mut ahead = units.clone();
            for (n, unit) in units.enumerate() {
                if n % PREFETCH == 0 {
                    carry.look_ahead(data, &mut ahead);
                }
                let unit = unit.map_err(effect_error)?;
                carry.unit(data, unit).map_err(|e| apply_error(&e))?;
            }
        }
        Staged::Whole(body) => {
            if is_void(&body, data.keyspace()) {
                return Ok(());
            }
            carry
                .unit(data, Unit::new(&body))
                .map_err(|e| apply_error(&e))?;
        }
    }
    Ok(())
}

/// T8, D6: the door sees parts, not the unit that they make. One that no version can read, or that
/// names a database that no member of a cluster has, is void, whole, for every member alike. An effect
/// that only this version does not know is not, nor is one that does not fit what this member has:
/// both can be an acknowledged write, and a member that skipped it would lose it.
fn is_void(body: &[u8], keyspace: &Keyspace) -> bool {
    match check_unit(Unit::new(body), keyspace.databases()) {
        Err(ApplyError::Codec(CodecError::Truncated | CodecError::Overflow)) => true,
        Err(ApplyError::Database(_)) => keyspace.is_cluster(),
        _ => false,
    }
}

impl<D: Disk> Shard<D> {
    /// Applies delivered entries, a slice of them; more may be left. An entry of a few bytes can take long: a slice ends behind one
    /// in which a breath was due.
    pub(super) fn apply_slice(&mut self, breath: &mut Breath<'_>) -> Result<(), ShardError> {
        let (mut bytes, mut count, long) = (0, 0, Cell::new(false));
        let all = mutation::is(Mutation::ApplyAllAtOnce);
        let mut breath = |group: &mut Group| {
            long.set(long.get() | breath(group));
            long.get()
        };
        let mut pacer = Pacer::default();
        while self.loading.is_none()
            && (all || bytes < self.config.sizes.apply_slice && count < APPLY_ENTRIES)
        {
            if self.waits_for_snapshot() {
                break;
            }
            let Some(entry) = self.to_apply.pop_front() else {
                break;
            };
            // T6: with the tail lost the load applies this entry; a change can't be applied twice.
            let lost = self.tail.front();
            let lost = lost.is_some_and(|b| b.first <= entry.index && b.term != entry.term);
            if !lost && is_change(&entry) && !self.apply_members(&entry)? {
                self.to_apply.push_front(entry);
                break;
            }
            bytes += entry.data.len();
            count += 1;
            let confirmed = self.confirm(&entry, &mut pacer, &mut breath)?;
            if !confirmed {
                break;
            }
            self.group.advance_applied(entry.index);
            if long.get() && !all {
                break;
            }
        }
        Ok(())
    }

    /// Whether applied entries wait for the next slice.
    pub(super) fn has_unapplied(&self) -> bool {
        let ready = !self.awaits_sync() && !self.waits_for_snapshot();
        self.loading.is_none() && !self.to_apply.is_empty() && ready
    }

    /// F5: whether the next entry is to be carried out, and the snapshot's thread has to come on first.
    fn waits_for_snapshot(&self) -> bool {
        let executed = |entry: &Entry| self.tail.front().is_some_and(|b| b.first <= entry.index);
        self.is_pressed() && self.to_apply.front().is_some_and(|entry| !executed(entry))
    }

    /// One committed entry: the outcome of a batch of the tail, or new. False: the tail was lost.
    fn confirm(
        &mut self,
        entry: &Entry,
        pacer: &mut Pacer,
        breath: &mut Breath<'_>,
    ) -> Result<bool, ShardError> {
        let Some(batch) = self.tail.front().filter(|b| b.first <= entry.index) else {
            if self.group.kind() == MemberKind::Witness {
                return Ok(true); // W1
            }
            let group = &mut self.group;
            let mut breathe = || {
                breath(group);
            };
            apply_entry(&mut self.data, &mut self.stager, entry, pacer, &mut breathe)?;
            if self.tail.is_empty() {
                // S1: else the record shows the tail, which is not committed by this entry.
                self.data.commit_record();
            }
            return Ok(true);
        };
        if batch.term != entry.term {
            self.lose_tail();
            return Ok(false);
        }
        if batch.last == entry.index {
            let batch = self.tail.pop_front().expect("it was just seen");
            self.tail_bytes -= batch.bytes;
            if let Some(record) = batch.record {
                self.data.set_committed_record(record);
            }
            self.released.batch = self.released.batch.max(batch.seq);
            if self.recent.len() == RECENT {
                self.recent.pop_front();
            }
            self.recent.push_back(AppliedBatch {
                seq: batch.seq,
                index: batch.last,
            });
        }
        Ok(true)
    }

    /// T6: another entry committed where the tail's first open batch stood, so none of the tail
    /// happened: the replies become MOVED, the keyspace is made anew from the log.
    fn lose_tail(&mut self) {
        self.fail_tail();
        self.to_apply.clear();
        self.load_without_tail(self.turn_now);
    }

    pub(super) fn fail_tail(&mut self) {
        let (Some(first), Some(last)) = (self.tail.front(), self.tail.back()) else {
            return;
        };
        self.failed.push(first.seq..=last.seq);
        self.released.batch = last.seq;
        self.tail.clear();
        self.tail_bytes = 0;
    }

    /// The mutation that T6 forbids: to take a truncation for the outcome.
    pub(super) fn note_truncation(&mut self, entries: &[Entry]) {
        if !mutation::is(Mutation::DecideAtTruncation) || self.group.is_leader() {
            return;
        }
        let truncated = |b: &TailBatch| entries.first().is_some_and(|e| e.index <= b.last);
        if self.tail.iter().any(truncated) {
            self.lose_tail();
        }
    }
}
