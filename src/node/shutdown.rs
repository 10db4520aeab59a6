//! The end: SHUTDOWN, SIGTERM and SIGINT take the same road.
//!
//! Nothing executes any more; what was executed is waited for (its clients get their replies), then
//! the log is synced and the process ends.

use super::start::NodeError;
use super::turn::Node;
use crate::clock::{Mono, Now};
use crate::storage::Done;
use std::time::Duration;

/// An end in progress.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    /// After this the open tail is not waited for any longer.
    pub until: Mono,
}

impl Node {
    /// Begins to end if it was asked for; true once everything is done.
    pub(super) fn has_ended(&mut self, now: Now) -> Result<bool, NodeError> {
        self.apply_settings()?;
        if self.ending.is_none() {
            let asked = match (self.host.shutdown.take(), self.signals.asked()) {
                (Some(_), _) => "SHUTDOWN",
                // The thread that took it has logged which.
                (None, Some(_)) => "a signal",
                (None, None) => return Ok(false),
            };
            slog::warn!(self.logger, "User requested shutdown ({})...", asked);
            let patience = Duration::from_secs(self.host.config.shutdown_timeout);
            self.ending = Some(Ending {
                until: now.mono + patience,
            });
        }
        let ending = self.ending.expect("it was just set");
        if self.shard.tail_len() > 0 && now.mono < ending.until {
            return Ok(false);
        }
        self.finish_log(now)?;
        self.flush();
        Ok(true)
    }

    /// Writes what is not written and waits for its sync.
    fn finish_log(&mut self, now: Now) -> Result<(), NodeError> {
        if let Some(job) = self.shard.close()? {
            self.storage.submit(job);
        }
        while !self.shard.is_all_durable() {
            let done: Done<_> = self.results.recv().map_err(|_| {
                std::io::Error::other("the storage thread ended before the last sync")
            })?;
            self.shard.job_done(now, done)?;
        }
        self.shard.begin(now)?;
        self.release()
    }
}
