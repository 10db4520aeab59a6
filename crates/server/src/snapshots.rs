//! Snapshots from the order to its answer.
//!
//! Owns what was asked for and waits, the one that is under way, what came of the last ones, and the readers of that:
//! clients in SAVE, the log, INFO. Never: decides that one is due (`saving`), or makes one (the shard does, on a
//! thread of its own). Invariants: one at a time; a save holds all that was executed before it was asked for, as
//! far as that happened; what is counted as saved is in its file.

use super::import::origin;
use super::platform::Platform;
use super::saving::{due, Due, Facts};
use super::state::ServerState;
use super::turn::Server;
use base::clock::{Clock, Mono, Now};
use base::ids::BatchSeq;
use base::mutation::{self, Mutation};
use command::api::{SavingView, SnapshotKind, SnapshotUnderWay};
use shard::{CopyTo, NoSnapshot, SnapshotOrder, SnapshotProgress};
use std::sync::Arc;
use std::time::Duration;
use storage::{MadeSnapshot, SnapshotError, SnapshotResult};

/// How far the one is that is under way.
#[derive(Debug)]
enum Step {
    /// The turn in which it was asked for is not over.
    New,
    /// It waits for what was executed before: this batch is the last.
    Behind(BatchSeq),
    Ordered(Arc<SnapshotProgress>),
}

#[derive(Debug)]
struct UnderWay {
    number: u64,
    kind: SnapshotKind,
    by: String,
    since: Mono,
    /// The count of changes that it holds.
    changes: u64,
    step: Step,
}

/// One that is to begin when nothing is under way.
#[derive(Clone, Copy, Debug)]
struct Scheduled {
    number: u64,
    by: &'static str,
}

/// What is known of the one that is under way.
#[derive(Clone, Copy, Debug)]
pub struct Making {
    pub number: u64,
    pub kind: SnapshotKind,
    /// Its moment has come: what is executed from now on is not in it.
    pub ordered: bool,
}

/// How the last one of a kind went.
#[derive(Clone, Copy, Debug, Default)]
struct Last {
    took: Option<Duration>,
    began: Option<Mono>,
    failures: u64,
}

impl Last {
    fn has_failed(&self) -> bool {
        self.failures > 0
    }
}

#[derive(Debug)]
pub struct Snapshots {
    under_way: Option<UnderWay>,
    save: Option<Scheduled>,
    rewrite: Option<Scheduled>,
    download: Option<Scheduled>,
    newest: u64,
    /// The number of the last one that has ended, and whether it is whole.
    ended: (u64, bool),
    last_save: Last,
    last_rewrite: Last,
    last_download: Last,
    /// When the last good save was done, and the count of changes that it holds.
    saved_at: Now,
    saved_changes: u64,
    last_automatic: Option<Mono>,
    /// The next turn is to begin at once.
    pub(super) eager: bool,
}

impl Snapshots {
    pub fn new(now: Now) -> Snapshots {
        Snapshots {
            under_way: None,
            save: None,
            rewrite: None,
            download: None,
            newest: 0,
            ended: (0, true),
            last_save: Last::default(),
            last_rewrite: Last::default(),
            last_download: Last::default(),
            saved_at: now,
            saved_changes: 0,
            last_automatic: None,
            eager: false,
        }
    }

    /// The shard is replaced: its changes are counted from nothing.
    pub(super) fn count_anew(&mut self) {
        self.saved_changes = 0;
    }

    fn is_idle(&self) -> bool {
        let scheduled = [self.save, self.rewrite, self.download];
        self.under_way.is_none() && scheduled.iter().all(Option::is_none) && !self.eager
    }

    fn slot(&mut self, kind: SnapshotKind) -> &mut Option<Scheduled> {
        match kind {
            SnapshotKind::Save => &mut self.save,
            SnapshotKind::Rewrite => &mut self.rewrite,
            SnapshotKind::Download => &mut self.download,
        }
    }

    pub(super) fn making(&self) -> Option<Making> {
        let making = self.under_way.as_ref()?;
        Some(Making {
            number: making.number,
            kind: making.kind,
            ordered: matches!(making.step, Step::Ordered(_)),
        })
    }

    /// The shard has been told of the one that is under way.
    #[cfg(test)]
    pub(super) fn order_now(&mut self) {
        if let Some(making) = &mut self.under_way {
            making.step = Step::Ordered(Arc::default());
        }
    }

    pub(super) fn scheduled_download(&self) -> Option<u64> {
        self.download.map(|scheduled| scheduled.number)
    }

    /// Nobody waits for it any more.
    pub(super) fn forget_download(&mut self) {
        self.download = None;
    }

    /// Nobody waits any more for the one that is under way, and the shard knows nothing of it.
    pub(super) fn forget_new(&mut self) {
        self.under_way = None;
    }

    fn number(&mut self) -> u64 {
        self.newest += 1;
        self.newest
    }

    /// One is to begin when nothing is under way; two of a kind are one.
    pub(super) fn schedule(&mut self, kind: SnapshotKind, by: &'static str) -> u64 {
        self.eager = true;
        if let Some(scheduled) = self.slot(kind) {
            return scheduled.number;
        }
        let number = self.number();
        *self.slot(kind) = Some(Scheduled { number, by });
        number
    }

    /// Whether it is whole; none: it has not ended. To be asked in the turn in which it ends.
    pub(super) fn outcome(&self, number: u64) -> Option<bool> {
        (self.ended.0 == number).then_some(self.ended.1)
    }

    pub(super) fn view(&self, now: Mono) -> SavingView {
        let under_way = self.under_way.as_ref().map(|making| {
            let (keys, all_keys) = match &making.step {
                Step::Ordered(progress) => progress.keys(),
                Step::New | Step::Behind(_) => (0, 0),
            };
            SnapshotUnderWay {
                kind: making.kind,
                elapsed: now.since(making.since),
                keys,
                all_keys,
            }
        });
        SavingView {
            under_way,
            rewrite_scheduled: self.rewrite.is_some(),
            last_save_unix_s: self.saved_at.unix_ms / 1000,
            saved_changes: self.saved_changes,
            save_failed: self.last_save.has_failed(),
            save_took: self.last_save.took,
            rewrite_failed: self.last_rewrite.has_failed(),
            rewrite_took: self.last_rewrite.took,
            rewrite_failures: self.last_rewrite.failures,
            ..SavingView::default()
        }
    }
}

impl<P: Platform> ServerState<P> {
    /// A command asks for a snapshot; its number.
    pub(super) fn order_snapshot(
        &mut self,
        kind: SnapshotKind,
        by: &'static str,
        at_once: bool,
    ) -> u64 {
        if !at_once || self.snapshots.under_way.is_some() {
            return self.snapshots.schedule(kind, by);
        }
        let number = self.snapshots.number();
        self.begin_snapshot(number, kind, by.to_owned());
        number
    }

    /// P26: clients that come before its moment share one.
    pub(super) fn order_download_snapshot(&mut self) -> u64 {
        let kind = SnapshotKind::Download;
        let shared = self.snapshots.making();
        let earlier = mutation::is(Mutation::DownloadOfEarlier);
        let fits = |making: &Making| making.kind == kind && (!making.ordered || earlier);
        match shared.filter(fits) {
            Some(making) => making.number,
            None => self.order_snapshot(kind, "SYNC", true),
        }
    }

    fn begin_snapshot(&mut self, number: u64, kind: SnapshotKind, by: String) {
        let since = self.clock.now().mono;
        match kind {
            SnapshotKind::Save | SnapshotKind::Download => {
                self.stats.saves += 1;
                slog::info!(self.logger, "Background saving started by {}", by);
            }
            SnapshotKind::Rewrite => {
                self.stats.rewrites += 1;
                slog::info!(
                    self.logger,
                    "Background append only file rewriting started by {}",
                    by
                );
            }
        }
        self.snapshots.under_way = Some(UnderWay {
            number,
            kind,
            by,
            since,
            changes: 0,
            step: Step::New,
        });
    }
}

/// Why the snapshot is no good, if it is not.
fn failure(result: &SnapshotResult) -> Option<String> {
    let made: &MadeSnapshot = match result {
        Ok(made) => made,
        Err(error) => return Some(error.to_string()),
    };
    let copied = made
        .copied
        .as_ref()
        .and_then(|copied| copied.as_ref().err());
    let opened = made
        .opened
        .as_ref()
        .and_then(|opened| opened.as_ref().err());
    copied.or(opened).map(ToString::to_string)
}

impl<P: Platform> Server<P> {
    /// Begins what is due. Called now and then, and when something is scheduled.
    pub(super) fn begin_due_snapshot(&mut self) {
        let Some(due) = due(&self.saving_facts()) else {
            return;
        };
        let kind = due.kind();
        let snapshots = &mut self.state.snapshots;
        let (number, by) = match due {
            Due::Scheduled(_) => {
                let scheduled = snapshots.slot(kind).take();
                let scheduled = scheduled.expect("what is due stands there");
                (scheduled.number, scheduled.by.to_owned())
            }
            Due::Rule(rule) => {
                let (changes, seconds) = (rule.changes, rule.seconds);
                let by = format!("{changes} changes in {seconds} seconds");
                (snapshots.number(), by)
            }
            Due::Needed => {
                let by = "a member that needs a state".to_owned();
                (snapshots.number(), by)
            }
            Due::Room => {
                let kept = self.shard.log().kept();
                let by =
                    format!("a disk that is short of room ({kept} bytes are kept for a snapshot)");
                (snapshots.number(), by)
            }
            Due::Growth => {
                let bytes = self.log_behind_snapshot();
                let by = format!("{bytes} bytes of log behind the last snapshot");
                (self.state.snapshots.number(), by)
            }
        };
        if !matches!(due, Due::Scheduled(_)) {
            self.state.snapshots.last_automatic = Some(self.state.clock.now().mono);
        }
        self.state.begin_snapshot(number, kind, by);
    }

    fn log_behind_snapshot(&self) -> u64 {
        let shard = &self.shard;
        shard.log().bytes_after(shard.snapshot_meta().index)
    }

    fn saving_facts(&self) -> Facts<'_> {
        let (state, shard) = (&self.state, &self.shard);
        let (snapshots, group) = (&state.snapshots, shard.group());
        // At the end only what the end has ordered is made.
        let goes_on = self.ending.is_none();
        let changes = shard.data().counters().changes;
        let last_save = &snapshots.last_save;
        let file = &shard.snapshot_meta().file;
        Facts {
            now: state.clock.now().mono,
            busy: snapshots.under_way.is_some() || shard.is_loading(),
            save_scheduled: snapshots.save.is_some(),
            download_scheduled: goes_on && snapshots.download.is_some(),
            rewrite_scheduled: snapshots.rewrite.is_some(),
            rules: match goes_on {
                true => &state.config.save,
                false => &[],
            },
            changes: changes.saturating_sub(snapshots.saved_changes),
            last_save: snapshots.saved_at.mono,
            failed_save: last_save.began.filter(|_| last_save.has_failed()),
            trims: goes_on && shard.may_trim(),
            needed: group.lacks_state(),
            shortage: shard.shortage(),
            leads_others: group.is_leader() && !group.is_alone(),
            min_size: state.config.auto_aof_rewrite_min_size,
            percentage: state.config.auto_aof_rewrite_percentage,
            log_bytes: self.log_behind_snapshot(),
            snapshot_bytes: file.as_ref().map_or(0, |file| file.bytes),
            failures: snapshots.last_rewrite.failures,
            last_rewrite: snapshots.last_rewrite.began,
            last_automatic: snapshots.last_automatic,
        }
    }

    /// After the turn's proposal: what was executed until now has its batch.
    pub(super) fn advance_snapshots(&mut self) {
        if !self.state.snapshots.is_idle() {
            self.advance_snapshot();
        }
    }

    #[inline(never)]
    fn advance_snapshot(&mut self) {
        self.state.snapshots.eager = false;
        self.end_snapshot_if_made();
        if self.state.snapshots.under_way.is_none() {
            self.begin_due_snapshot();
        }
        let Some(making) = &mut self.state.snapshots.under_way else {
            return;
        };
        if let Step::New = making.step {
            making.step = Step::Behind(self.shard.last_gate().batch);
            making.changes = self.shard.data().counters().changes;
        }
        let Step::Behind(last) = making.step else {
            return;
        };
        // A rewrite gives room back: it waits for nothing. What a former leader has executed may never happen.
        let open = self.released.batch < last && self.shard.tail_len() > 0;
        let waits = making.kind != SnapshotKind::Rewrite && self.shard.group().is_leader();
        if !(open && waits) {
            self.order_under_way();
        }
    }

    fn order_under_way(&mut self) {
        let Some(making) = &mut self.state.snapshots.under_way else {
            return;
        };
        let (platform, config) = (&self.state.platform, &self.state.config);
        let now = self.state.clock.now();
        let copy = (making.kind == SnapshotKind::Save).then(|| CopyTo {
            folder: platform.dir(config),
            name: config.dbfilename.clone(),
        });
        let order = SnapshotOrder {
            origin: origin(platform, now),
            compress: config.rdbcompression,
            copy,
            open: making.kind == SnapshotKind::Download,
        };
        match self.shard.order_snapshot(order) {
            Ok(progress) => {
                making.step = Step::Ordered(progress);
                // Its job is given out in the next turn, or it has failed already.
                self.state.snapshots.eager = true;
            }
            // The last one was given up, and its thread has not seen that yet.
            Err(NoSnapshot::UnderWay) => {}
            Err(NoSnapshot::Witness) => self.snapshot_ended(&Err(SnapshotError::GivenUp)),
        }
    }

    fn end_snapshot_if_made(&mut self) {
        let making = &self.state.snapshots.under_way;
        if !making
            .as_ref()
            .is_some_and(|m| matches!(m.step, Step::Ordered(_)))
        {
            return;
        }
        if let Some(result) = self.shard.take_snapshot() {
            self.snapshot_ended(&result);
        } else if self.shard.snapshot_progress().is_none() {
            // The shard was replaced.
            self.snapshot_ended(&Err(SnapshotError::GivenUp));
        }
    }

    fn snapshot_ended(&mut self, result: &SnapshotResult) {
        let Some(making) = self.state.snapshots.under_way.take() else {
            return;
        };
        let now = self.state.clock.now();
        let took = now.mono.since(making.since);
        let failed = failure(result);
        let snapshots = &mut self.state.snapshots;
        snapshots.ended = (making.number, failed.is_none());
        let last = match making.kind {
            SnapshotKind::Save => &mut snapshots.last_save,
            SnapshotKind::Rewrite => &mut snapshots.last_rewrite,
            SnapshotKind::Download => &mut snapshots.last_download,
        };
        *last = Last {
            took: Some(took),
            began: Some(making.since),
            failures: match failed {
                Some(_) => last.failures + 1,
                None => 0,
            },
        };
        if failed.is_none() && making.kind == SnapshotKind::Save {
            snapshots.saved_at = now;
            snapshots.saved_changes = making.changes;
        }
        self.tell_snapshot(&making, result, failed.as_deref(), took);
        self.state.end_saves(making.number, failed.is_none());
        let made = result.as_ref().ok();
        let file =
            made.and_then(|m| Some((m.meta.index, m.opened.as_ref()?.as_ref().ok()?.clone())));
        self.end_downloads(making.number, file);
        self.resume_unblocked();
    }

    fn tell_snapshot(
        &self,
        making: &UnderWay,
        result: &SnapshotResult,
        failed: Option<&str>,
        took: Duration,
    ) {
        let what = match (making.kind, failed, making.by.as_str()) {
            (SnapshotKind::Save, None, "SAVE" | "SHUTDOWN") => "DB saved on disk",
            (SnapshotKind::Save | SnapshotKind::Download, None, _) => {
                "Background saving terminated with success"
            }
            (SnapshotKind::Save | SnapshotKind::Download, Some(_), _) => "Background saving error",
            (SnapshotKind::Rewrite, None, _) => "Background AOF rewrite terminated with success",
            (SnapshotKind::Rewrite, Some(_), _) => "Background AOF rewrite terminated with error",
        };
        if let (Ok(made), None) = (result, failed) {
            let bytes = made.meta.file.as_ref().map_or(0, |file| file.bytes);
            slog::info!(
                self.logger,
                "{}: {} keys in {} bytes, {:.3} seconds",
                what,
                made.keys,
                bytes,
                took.as_secs_f64()
            );
        } else if let (SnapshotKind::Download, Err(SnapshotError::GivenUp)) = (making.kind, result)
        {
            slog::info!(self.logger, "Background saving for SYNC was given up");
        } else {
            let why = failed.unwrap_or_default();
            slog::warn!(self.logger, "{}: {}", what, why);
        }
    }
}
