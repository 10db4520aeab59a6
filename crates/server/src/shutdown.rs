//! The end: SHUTDOWN, SIGTERM and SIGINT take the same road.
//!
//! Owns the steps of an end and how long each may take. Nothing executes any more; leadership is
//! handed over, what was executed is waited for (its clients get their replies), a snapshot is made if one
//! is wanted, then the log is synced and the process ends. A snapshot that can't be made stops the end, as in
//! Redis. Never waits itself: every step is looked at once a turn.

use super::error::ServerError;
use super::platform::{EndSignal, Platform};
use super::turn::{Pause, Progress, Server};
use base::clock::{Clock, Mono, Now};
use command::api::{Shutdown, SnapshotKind};
use command::Error;
use net::ConnId;
use std::time::Duration;

/// A former leader ends when no client has asked for so long: all that were busy know where to go,
/// and the other nodes' tables name the new master. Some clients give up a command at once if they
/// are sent to a node that is gone.
const QUIET: Duration = Duration::from_millis(100);

/// A disk that hangs would keep the process for ever: the last sync is waited for so long. What it
/// would have made durable was acknowledged to nobody, or is on a majority of disks (D4).
const LAST_SYNC: Duration = Duration::from_secs(10);

/// What has asked for the end.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    pub options: Shutdown,
    /// None: a signal.
    pub client: Option<ConnId>,
}

/// An end in progress.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ending {
    /// Leadership is being handed over, replies are waited for.
    HandingOver(HandOver),
    /// The snapshot with this number is being made.
    Saving { number: u64, asked: Asked },
    /// The log is being synced; not waited for after this.
    Closing { until: Mono },
}

#[derive(Clone, Copy, Debug)]
pub(super) struct HandOver {
    asked: Asked,
    /// After this the open tail is not waited for any longer.
    until: Mono,
    /// Since when this member no longer leads.
    since: Option<Mono>,
    /// It led when it was asked to end: its clients have to hear which node leads now.
    led: bool,
    /// Commands that came in until now, and when the last one did.
    heard: (u32, Mono),
}

impl Ending {
    /// When the step is over whatever happens.
    pub fn deadline(&self) -> Option<Mono> {
        match self {
            Ending::HandingOver(_) | Ending::Saving { .. } => None,
            Ending::Closing { until } => Some(*until),
        }
    }
}

impl<P: Platform> Server<P> {
    /// Begins to end if it was asked for, and sees how far the end has come.
    pub(super) fn advance_ending(&mut self, now: Now) -> Result<(), ServerError> {
        if self.ending.is_none() {
            let Some(asked) = self.asked_to_end() else {
                return Ok(());
            };
            let by = match asked.client {
                Some(_) => "SHUTDOWN",
                // The thread that took it has logged which.
                None => "a signal",
            };
            slog::warn!(self.logger, "User requested shutdown ({})...", by);
            let patience = Duration::from_secs(self.state.config.shutdown_timeout);
            self.ending = Some(Ending::HandingOver(HandOver {
                asked,
                until: now.mono + patience,
                since: None,
                led: self.shard.group().is_leader(),
                heard: (self.commands, now.mono),
            }));
        }
        let mut ending = match self.ending {
            Some(Ending::HandingOver(ending)) => ending,
            Some(Ending::Saving { number, asked }) => {
                return self.advance_last_save(now, number, asked)
            }
            _ => return Ok(()),
        };
        let in_time = now.mono < ending.until;
        if in_time && self.hands_over(now, &mut ending) {
            self.ending = Some(Ending::HandingOver(ending));
            return Ok(());
        }
        if in_time && self.shard.tail_len() > 0 {
            return Ok(());
        }
        let asked = ending.asked;
        if asked.options.saves(&self.state.config) && !self.shard.is_loading() {
            self.begin_last_save(asked);
            return Ok(());
        }
        self.begin_closing(now)
    }

    fn asked_to_end(&mut self) -> Option<Asked> {
        if let Some(asked) = self.state.shutdown.take() {
            return Some(asked);
        }
        let config = &self.state.config;
        let flags = match self.state.platform.asked_to_end()? {
            EndSignal::Term => &config.shutdown_on_sigterm,
            EndSignal::Int => &config.shutdown_on_sigint,
        };
        let options = Shutdown {
            save: flags.save(),
            now: flags.now(),
            force: flags.force(),
        };
        Some(Asked {
            options,
            client: None,
        })
    }

    /// Nothing is executed any more, so the snapshot holds all that clients were told of. It is waited for as long
    /// as it takes, as in Redis.
    fn begin_last_save(&mut self, asked: Asked) {
        slog::info!(self.logger, "Saving the final RDB snapshot before exiting.");
        self.shard.give_up_snapshot();
        let snapshots = &mut self.state.snapshots;
        let number = snapshots.schedule(SnapshotKind::Save, "SHUTDOWN");
        self.ending = Some(Ending::Saving { number, asked });
    }

    fn advance_last_save(
        &mut self,
        now: Now,
        number: u64,
        asked: Asked,
    ) -> Result<(), ServerError> {
        match self.state.snapshots.outcome(number) {
            None => return Ok(()),
            Some(true) => {}
            Some(false) if asked.options.force => {
                slog::warn!(self.logger, "Error trying to save the DB. Exit anyway.")
            }
            Some(false) => {
                self.give_up_ending(asked);
                return Ok(());
            }
        }
        self.begin_closing(now)
    }

    /// The process goes on.
    fn give_up_ending(&mut self, asked: Asked) {
        slog::warn!(self.logger, "Error trying to save the DB, can't exit.");
        self.ending = None;
        self.state.platform.end_failed();
        if let Some(client) = asked.client {
            self.state.fail_block(client, Error::SHUTDOWN_FAILED);
            self.resume_unblocked();
            self.flush();
        }
    }

    fn begin_closing(&mut self, now: Now) -> Result<(), ServerError> {
        if let Some(job) = self.shard.close()? {
            self.state.platform.submit(job);
        }
        let until = now.mono + LAST_SYNC;
        self.ending = Some(Ending::Closing { until });
        Ok(())
    }

    pub(super) fn is_closing(&self) -> bool {
        matches!(self.ending, Some(Ending::Closing { .. }))
    }

    /// E4: whether leadership is still being handed to another member; with none that could take it
    /// nothing is waited for. Held commands are answered with its address.
    fn hands_over(&mut self, now: Now, ending: &mut HandOver) -> bool {
        if self.state.cluster.is_none() || self.shard.is_starting() {
            return false;
        }
        if self.shard.group().is_leader() {
            return self.shard.hand_over_to_voter(now);
        }
        // The successor has to be known, or clients would be told that the cluster is down.
        let known = self.routing.as_ref().is_some_and(|r| r.leader.is_some());
        let since = *ending.since.get_or_insert(now.mono);
        if ending.heard.0 != self.commands || since == now.mono {
            ending.heard = (self.commands, now.mono);
        }
        let quiet = !ending.led || now.mono.since(ending.heard.1) >= QUIET;
        let settled = known && self.held.is_empty() && quiet;
        !settled && now.mono.since(since) < self.shard.group().election_timeout()
    }

    /// The last turns: nothing but the last syncs is looked at.
    pub(super) fn close(&mut self) -> Result<Progress, ServerError> {
        let now = self.state.clock.now();
        let until = match self.ending {
            Some(Ending::Closing { until }) => until,
            _ => now.mono,
        };
        if !self.shard.is_all_durable() {
            if now.mono < until {
                return Ok(Progress::Done(Pause {
                    patience: until.since(now.mono),
                    eager: false,
                }));
            }
            slog::crit!(
                self.logger,
                "The disk does not finish the last sync: ending without it"
            );
            self.state.platform.abandon_storage();
            return Ok(Progress::Ended);
        }
        self.shard.begin(now)?;
        self.release();
        self.flush();
        if self.shard.is_loading() || self.shard.snapshot_progress().is_some() {
            // A disk that takes long would be waited for, and nothing rests on it.
            self.state.platform.abandon_storage();
        }
        Ok(Progress::Ended)
    }
}
