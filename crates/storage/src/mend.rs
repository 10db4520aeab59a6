//! Cutting a log by hand that recovery refuses.
//!
//! Owns what may be cut, in which order, and what is lost with it. A plan is made on a disk that only tries
//! things; then its steps are taken on the real one. Never decides that something may be lost: its caller asks a
//! person. Never removes a byte: what is cut stays in a file beside it.
//!
//! Invariants: what is cut lies behind all that recovery believes, so no entry before it is touched; a base and
//! a state are never changed, and a log that does not reach the state can't be mended here.

use super::base::Base;
use super::disk::{Disk, DiskFile};
use super::error::{Result, StorageError};
use super::position::{Position, SECTOR};
use super::record::MIN_TAIL;
use super::recover::MISSING;
use super::segment::{is_name_of_segment, is_segment, SegmentMeta, SHORT};
use super::survey::{look_at_any, read_from, Survey, Tally, KEPT_SUFFIX};

/// A chain of faults that is longer is none of damage.
const STEPS_MAX: usize = 10_000;

/// No segment is longer: `log-segment-size` takes less.
const LENGTH_MAX: u64 = 4 << 30;

/// One change of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The file is not looked at any more.
    Aside { file: String },
    /// Bytes of it become zeros; they are kept.
    Erase { file: String, from: u64, to: u64 },
    /// Its missing end becomes zeros.
    Lengthen { file: String, from: u64, to: u64 },
}

/// What is to be done so that recovery takes the log, and what is lost with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub steps: Vec<Step>,
    /// The last entry that stays.
    pub last: u64,
    /// What can be read in what is cut.
    pub lost: Tally,
    /// The highest index that is known to be committed.
    pub commit: u64,
    /// Records are cut that were known durable.
    pub durable: bool,
    /// Whether records stood in what is missing can't be told.
    pub unknown: bool,
    /// A record was not whole where something is missing.
    torn: bool,
}

/// Why nothing can be cut.
#[derive(Debug, thiserror::Error)]
pub enum CantMend {
    #[error("recovery takes the log as it is")]
    Sound,
    #[error("{0}")]
    Other(StorageError),
}

impl From<StorageError> for CantMend {
    fn from(error: StorageError) -> CantMend {
        CantMend::Other(error)
    }
}

impl Plan {
    /// Whether an entry, a vote or a promise may be lost that others count on.
    pub fn loses_committed(&self) -> bool {
        self.durable || self.unknown || self.commit > self.last
    }

    /// What has to be done in this folder. `trial` is left as it would be then.
    pub fn make<D: Disk>(trial: &D) -> Result<Plan, CantMend> {
        let base = Base::load(trial)?;
        let base = base.ok_or_else(|| StorageError::NoBase(super::base::FILE.into()))?;
        let mut plan = Plan::default();
        for _ in 0..STEPS_MAX {
            let steps = match Survey::new(trial, &base) {
                Ok(survey) if plan.is_done(&survey) => return plan.end(&survey),
                Ok(survey) => plan.cut(survey)?,
                Err(StorageError::BadFile { file, what }) if is_segment(&file) => {
                    plan.drop_file(trial, &base, &file, what)?
                }
                Err(error) => return Err(error.into()),
            };
            for step in steps {
                step.take(trial)?;
                plan.steps.push(step);
            }
        }
        Err(CantMend::Other(StorageError::NoLog(
            super::base::FILE.into(),
        )))
    }

    /// A torn end that recovery would cut by itself is cut here once there is more to do: so its bytes are kept.
    fn is_done<D: Disk>(&self, survey: &Survey<D>) -> bool {
        let is_torn = survey.segments.iter().any(|s| s.behind.is_some());
        survey.refused.is_none() && (self.steps.is_empty() || !is_torn)
    }

    fn end<D: Disk>(mut self, survey: &Survey<D>) -> Result<Plan, CantMend> {
        if self.steps.is_empty() {
            return Err(CantMend::Sound);
        }
        self.last = survey.last();
        self.commit = self
            .commit
            .max(survey.hard_state.commit)
            .max(self.lost.commit);
        self.unknown = self.unknown && (self.torn || !is_end_seen(survey, &self.steps));
        Ok(self)
    }

    /// Everything behind the last record that counts, later segments newest first: whatever a crash leaves, there is no gap.
    fn cut<D: Disk>(&mut self, survey: Survey<D>) -> Result<Vec<Step>, CantMend> {
        let end = survey.end;
        let home = survey.segments.iter().rposition(|s| s.meta.start <= end);
        let home = home.unwrap_or(0);
        let used = |s: &super::survey::SegmentSurvey| s.behind.is_some();
        let later = survey.segments.iter().enumerate().skip(home + 1);
        let first_used = later.clone().find(|(_, s)| used(s)).map(|(i, _)| i);
        // The bytes are kept before anything that bears witness of them is set aside.
        let mut steps = Vec::new();
        if let Some((from, to)) = survey.segments.get(home).and_then(|s| s.behind) {
            let file = survey.segments[home].meta.name();
            steps.push(Step::Erase { file, from, to });
        }
        let to_go = later.filter(|(i, _)| first_used.is_some_and(|first| *i >= first));
        steps.extend(to_go.rev().map(|(_, s)| Step::Aside {
            file: s.meta.name(),
        }));
        // What is refused was on disk: it can be read, or was known to be there.
        let was_on_disk = survey.refused.is_some() || survey.durable > end;
        if let (Some(error), true) = (survey.refused, steps.is_empty()) {
            return Err(error.into()); // nothing is behind: it is the base that the log contradicts
        }
        self.torn |= self.unknown;
        for segment in &survey.segments {
            self.lost.add(&segment.stray);
        }
        self.durable |= was_on_disk;
        Ok(steps)
    }

    /// A segment that can't be used: with its end back it may be; else it is dropped with all that follows.
    fn drop_file<D: Disk>(
        &mut self,
        trial: &D,
        base: &Base,
        file: &str,
        what: &'static str,
    ) -> Result<Vec<Step>, CantMend> {
        let bad = || StorageError::BadFile {
            file: file.to_owned(),
            what,
        };
        let names = trial
            .list()
            .map_err(StorageError::io("list the folder of", file))?;
        let alone = || {
            let file = file.to_owned();
            Ok(vec![Step::Aside { file }])
        };
        // A name that is none of a segment, or a segment below the log's start: nothing follows it.
        if !is_name_of_segment(file) || is_below_start(trial, base, &names, file) {
            return alone();
        }
        if what == SHORT {
            let header = read_from(trial, file, 0)?;
            let to = super::segment::length_in(&header).filter(|to| *to <= LENGTH_MAX);
            let to = to.ok_or_else(bad)?;
            self.unknown = true;
            return Ok(vec![Step::Lengthen {
                file: file.to_owned(),
                from: header.len() as u64,
                to,
            }]);
        }
        let (mut from_it, before): (Vec<String>, Vec<String>) = names
            .into_iter()
            .filter(|name| is_name_of_segment(name))
            .partition(|name| name.as_str() >= file);
        if before.is_empty() {
            return Err(bad().into());
        }
        self.unknown |= what == MISSING;
        from_it.sort();
        from_it.reverse();
        for name in &from_it {
            let (tally, written) = look_at_any(trial, name)?;
            self.lost.add(&tally);
            self.durable |= written;
        }
        let aside = |file| Step::Aside { file };
        Ok(from_it.into_iter().map(aside).collect())
    }
}

/// Whether a later segment holds the log's start.
fn is_below_start<D: Disk>(trial: &D, base: &Base, names: &[String], file: &str) -> bool {
    let start = base.start.map_or(Position(0), |start| start.position);
    let mut later = names
        .iter()
        .filter(|name| is_name_of_segment(name) && name.as_str() > file);
    later.any(|name| {
        let meta = trial.open(name).ok();
        let meta = meta.and_then(|open| SegmentMeta::read(&open, name, &base.identity).ok());
        meta.is_some_and(|meta| meta.start <= start)
    })
}

/// Whether the log ends where it can be seen. A record begins where the one before ended or at the next sector, as long as
/// there is room: no record is lost with a segment behind if there is, and with a file's end only if that sector was in it.
fn is_end_seen<D: Disk>(survey: &Survey<D>, steps: &[Step]) -> bool {
    let home = survey.segments.iter().rfind(|s| s.meta.start <= survey.end);
    let Some(home) = home.filter(|s| survey.end.aligned().0 + MIN_TAIL <= s.meta.end.0) else {
        return false;
    };
    let seen_to = home.meta.offset(survey.end.aligned()) + SECTOR;
    steps.iter().all(|step| match step {
        Step::Lengthen { file, from, .. } => *file != home.meta.name() || seen_to <= *from,
        _ => true,
    })
}

impl Step {
    /// Takes it; durable when this returns.
    pub fn take<D: Disk>(&self, disk: &D) -> Result<()> {
        match self {
            Step::Aside { file } => {
                let kept = free_name(disk, file)?;
                disk.rename(file, &kept)
                    .map_err(StorageError::io("rename", file))?;
            }
            Step::Erase { file, from, to } => {
                let bytes = read_from(disk, file, *from)?;
                let cut = &bytes[..bytes.len().min((to - from) as usize)];
                keep(disk, &format!("{file}.{from}"), cut)?;
                let target = disk.open(file).map_err(StorageError::io("open", file))?;
                let zeroed = target.write_at(&vec![0; cut.len()], *from);
                zeroed.map_err(StorageError::io("write", file))?;
                let synced = target.sync_data();
                synced.map_err(StorageError::io("sync", file))?;
            }
            Step::Lengthen { file, from, to } => {
                let target = disk.open(file).map_err(StorageError::io("open", file))?;
                let filled = target
                    .allocate(*from, *to)
                    .and_then(|()| target.sync_data());
                filled.map_err(StorageError::io("allocate", file))?;
            }
        }
        disk.sync_dir()
            .map_err(StorageError::io("sync the folder of", super::base::FILE))
    }
}

/// Writes what is cut into a file of its own.
fn keep<D: Disk>(disk: &D, name: &str, bytes: &[u8]) -> Result<()> {
    let kept = free_name(disk, name)?;
    let file = disk
        .create(&kept)
        .map_err(StorageError::io("create", &kept))?;
    let written = file.write_at(bytes, 0).and_then(|()| file.sync_data());
    written.map_err(StorageError::io("write", &kept))?;
    disk.sync_dir()
        .map_err(StorageError::io("sync the folder of", &kept))
}

/// A name for what is kept of a file, that nothing has.
fn free_name<D: Disk>(disk: &D, of: &str) -> Result<String> {
    let names = disk
        .list()
        .map_err(StorageError::io("list the folder of", of))?;
    let numbered = |n: u32| match n {
        1 => format!("{of}{KEPT_SUFFIX}"),
        n => format!("{of}.{n}{KEPT_SUFFIX}"),
    };
    let mut tried = (1..).map(numbered);
    let free = tried.find(|name| !names.contains(name));
    Ok(free.expect("a folder has fewer files than there are numbers"))
}
