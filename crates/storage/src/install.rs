//! A state of another member in place of the own log (P17).
//!
//! Owns the one job that does it, and its order: a fresh segment, in it the hard state, and only then a base
//! that begins with the state and with that segment. What the old log held is gone with that rename, and
//! not before; a crash between any two steps leaves the old log, whole, or the new one. Never: decides
//! whether the state may be taken (its caller has asked the own log, which lacks it).
//!
//! The hard state's record is chained to nothing of the old log and claims nothing to be durable, so a
//! start from the old base takes it for what a crash has left, and cuts it off.

use super::base::{Base, LogStart, SnapshotMeta};
use super::disk::{Disk, DiskFile};
use super::encode::{Encoder, Place};
use super::error::{Result, StorageError};
use super::log::Log;
use super::position::Position;
use super::segment::{AllocJob, SegmentMeta};
use ::base::mutation::{self, Mutation};
use raft::eraftpb::HardState;

/// Puts a state, whose file is there, whole and durable, in the place of the log. Blocks.
pub struct InstallJob<D: Disk> {
    disk: D,
    base: Box<Base>,
    segment: SegmentMeta,
    /// The record of the hard state.
    record: Vec<u8>,
}

/// What came of it.
pub enum Installed {
    /// The folder is to be opened anew.
    Done,
    /// Nothing has changed: it may be tried again.
    NotYet(StorageError),
}

impl<D: Disk> Log<D> {
    /// P17: the job for a state that this log does not reach. The hard state's commit is its index. From now
    /// on nothing is appended here: the log is opened anew when the job is done.
    pub fn install_job(
        &mut self,
        snapshot: &SnapshotMeta,
        hard_state: &HardState,
    ) -> InstallJob<D> {
        let at = snapshot.entry();
        assert!(
            at.index > self.hard_state().commit && self.term(at.index) != Some(at.term),
            "P17: what the own log has is not thrown away"
        );
        assert!(
            hard_state.commit == at.index && hard_state.term >= at.term.max(self.hard_state().term),
            "P17: a term never goes back, nor below that of the last entry"
        );
        assert!(
            self.durable() == self.end,
            "P17: nothing is under way to the log that goes"
        );
        let (start, segment) = (self.last_position(), self.fresh_segment());
        let chain = !self.crc;
        let place = Place {
            start: segment.start,
            end: segment.end,
            generation: segment.generation,
        };
        let mut record = Vec::new();
        let places = [place];
        let encoder = Encoder::new(&mut record, &places, (start, chain), start, Position(0));
        let encoded = encoder.encode(Some(hard_state), &[], at.index + 1);
        encoded.expect("a hard state fits a segment");
        InstallJob {
            disk: self.disk.clone(),
            base: Box::new(Base {
                identity: self.base.identity,
                snapshot: snapshot.clone(),
                start: Some(LogStart {
                    position: start,
                    chain,
                    before: at,
                }),
            }),
            segment,
            record,
        }
    }

    fn last_position(&self) -> Position {
        self.segments.last().map_or(self.end, |s| s.meta.end)
    }
}

impl<D: Disk> InstallJob<D> {
    /// The base that is to be.
    pub fn base(&self) -> &Base {
        &self.base
    }

    /// D5: an error before the rename changes nothing; after one behind it the process must end, since
    /// nobody knows which base stands.
    pub fn run(self) -> Result<Installed> {
        if let Err(error) = self.prepare() {
            // It is in nobody's way: an allocation of that name replaces it.
            let _ = self.disk.remove(&self.segment.name());
            return Ok(Installed::NotYet(error));
        }
        Base::replace(&self.disk)?;
        Ok(Installed::Done)
    }

    fn prepare(&self) -> Result<()> {
        let InstallJob {
            disk,
            base,
            segment,
            record,
        } = self;
        let name = segment.name();
        let made = AllocJob::new(disk.clone(), base.identity, segment.clone()).run()?;
        if !mutation::is(Mutation::InstallForgetsVote) {
            let written = made.file.write_at(record, segment.offset(segment.start));
            written.map_err(StorageError::io("write", &name))?;
        }
        let synced = made.file.sync_data();
        synced.map_err(StorageError::io("sync", &name))?;
        base.write(disk)
    }
}
