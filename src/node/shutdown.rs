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
    /// Since when this member no longer leads.
    pub handed_over: Option<Mono>,
    /// It led when it was asked to end: its clients have to hear who leads now.
    led: bool,
    /// Commands that came in until now, and when the last one did.
    heard: (u32, Mono),
}

/// A former leader ends when no client has asked for so long: all that were busy know where to go,
/// and the other nodes' tables name the new master. Some clients give up a command at once if they
/// are sent to a node that is gone.
const QUIET: Duration = Duration::from_millis(100);

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
                handed_over: None,
                led: self.shard.group().is_leader(),
                heard: (self.commands, now.mono),
            });
        }
        let ending = self.ending.expect("it was just set");
        if now.mono < ending.until && self.hands_over(now) {
            return Ok(false);
        }
        if self.shard.tail_len() > 0 && now.mono < ending.until {
            return Ok(false);
        }
        self.finish_log(now)?;
        self.flush();
        Ok(true)
    }

    /// E4: whether leadership is still being handed to another member; with none that could take it
    /// nothing is waited for. Held commands are answered with its address.
    fn hands_over(&mut self, now: Now) -> bool {
        if self.host.cluster.is_none() {
            return false;
        }
        if self.shard.group().is_leader() {
            return self.shard.hand_over_to_voter(now);
        }
        // The successor has to be known, or clients would be told that the cluster is down.
        let known = self.routing.as_ref().is_some_and(|r| r.leader.is_some());
        let ending = self.ending.as_mut().expect("the node is ending");
        if ending.handed_over.is_none() {
            ending.handed_over = Some(now.mono);
        }
        if ending.heard.0 != self.commands || ending.handed_over == Some(now.mono) {
            ending.heard = (self.commands, now.mono);
        }
        let quiet = !ending.led || now.mono.since(ending.heard.1) >= QUIET;
        let waited = ending.handed_over.map(|at| now.mono.since(at));
        let patience = self.shard.group().election_timeout();
        let settled = known && self.held.is_empty() && quiet;
        !settled && waited.is_some_and(|waited| waited < patience)
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
