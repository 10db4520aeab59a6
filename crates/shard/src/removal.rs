//! Files that the base names no more, and that could not be removed (P8).
//!
//! Owns what of them is left, and when it is tried again. Never: decides which files go. A disk that fills with such files looks
//! to an operator like one that others fill, and a restart, which removes them, would be the only cure: so it is told.

use super::persist::RETRY;
use super::Shard;
use base::clock::{Mono, Now};
use storage::{Disk, Job, NotRemoved, TrimJob};

/// What is to be removed.
pub(super) struct Removal<D: Disk> {
    /// Jobs that are under way.
    open: usize,
    /// What is to be tried again, and when.
    left: Option<(TrimJob<D>, Mono)>,
    /// What the system said to the last try.
    failure: Option<String>,
}

impl<D: Disk> Default for Removal<D> {
    fn default() -> Removal<D> {
        Removal {
            open: 0,
            left: None,
            failure: None,
        }
    }
}

impl<D: Disk> Removal<D> {
    /// How long nothing is tried again.
    pub fn due(&self) -> Option<Mono> {
        self.left.as_ref().map(|(_, at)| *at)
    }
}

impl<D: Disk> Shard<D> {
    pub(super) fn remove_files(&mut self, job: TrimJob<D>) {
        self.removal.open += 1;
        self.jobs.push(Job::Trim(job));
    }

    /// What came of such a job.
    pub(super) fn removed(&mut self, now: Now, not_removed: Option<Box<NotRemoved<D>>>) {
        let removal = &mut self.removal;
        removal.open = removal.open.saturating_sub(1);
        match not_removed {
            Some(not_removed) => {
                let NotRemoved { mut job, error } = *not_removed;
                if let Some((before, _)) = removal.left.take() {
                    job.join(before);
                }
                removal.left = Some((job, now.mono + RETRY));
                removal.failure = Some(error.to_string());
            }
            None if removal.open == 0 && removal.left.is_none() => removal.failure = None,
            None => {}
        }
    }

    pub(super) fn remove_again(&mut self, now: Now) {
        let due = self.removal.due().is_some_and(|at| now.mono >= at);
        let left = self.removal.left.take_if(|_| due);
        if let Some((job, _)) = left {
            self.remove_files(job);
        }
    }

    /// Why files that are of no use are still on the disk; none as soon as they are not.
    pub fn removal_failure(&self) -> Option<&str> {
        self.removal.failure.as_deref()
    }
}
