//! DEBUG RELOAD and LOADAOF: the keyspace is made anew from what is on the disk, under the clients.
//!
//! Owns the order that a client has given, and how far it is: a snapshot, a moment in which nothing is open, the load.
//! Never: loads or compares (the shard does), or decides that a snapshot counts. Invariants: one at a time; what ends
//! it without an answer to its client ends the order, but for a load, which can't be left half-way.

use super::blocking::WaitsFor;
use super::platform::Platform;
use super::state::ServerState;
use super::turn::{breathe, Server};
use command::api::SnapshotKind;
use command::Error;
use shard::{Cause, LoadProgress};

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The snapshot with this number is made; everybody is served.
    Saving(u64),
    /// What is executed has to commit, the base to name the snapshot.
    Settling,
    Loading,
}

/// An order that a client waits for.
#[derive(Debug)]
pub struct Reload(Step);

/// What follows from how the shard stands while it loads.
#[derive(Debug, PartialEq, Eq)]
enum Load {
    GoesOn,
    Ended,
    /// Another load has taken its place: that of a shard that was replaced.
    Lost,
}

fn look(progress: Option<LoadProgress>) -> Load {
    match progress.map(|progress| progress.cause) {
        None => Load::Ended,
        Some(Cause::Reload) => Load::GoesOn,
        Some(Cause::Start | Cause::LostTail) => Load::Lost,
    }
}

impl<P: Platform> ServerState<P> {
    /// A command asks for it. False: it is under way.
    pub(super) fn order_reload(&mut self, save: bool) -> bool {
        if self.reload.is_some() {
            return false;
        }
        self.reload = Some(Reload(match save {
            true => Step::Saving(self.order_snapshot(SnapshotKind::Save, "DEBUG RELOAD", true)),
            false => Step::Settling,
        }));
        true
    }
}

impl<P: Platform> Server<P> {
    /// T7: under a stream of writes there would always be one that is not committed.
    pub(super) fn reload_holds_commands(&self) -> bool {
        match &self.state.reload {
            Some(Reload(Step::Settling)) => {
                self.shard.group().is_leader() && !self.shard.base_moves()
            }
            _ => false,
        }
    }

    /// After the turn's proposal, and behind the snapshots.
    #[inline]
    pub(super) fn advance_reload(&mut self) {
        if self.state.reload.is_some() {
            self.take_reload_step();
        }
    }

    #[inline(never)]
    fn take_reload_step(&mut self) {
        let Some(Reload(step)) = self.state.reload else {
            return;
        };
        if step != Step::Loading && !self.state.is_awaited(WaitsFor::Reload) {
            // The client has gone, and commands may be held for it.
            self.state.reload = None;
            return;
        }
        let step = match step {
            Step::Saving(number) => match self.state.snapshots.outcome(number) {
                None => return,
                Some(false) => return self.end_reload(Some(&Error::NOT_SAVED)),
                Some(true) => Step::Settling,
            },
            step => step,
        };
        let step = match step {
            Step::Settling => self.begin_load(),
            step => step,
        };
        self.state.reload = Some(Reload(step));
        if step == Step::Loading {
            match look(self.shard.load_progress()) {
                Load::GoesOn => {}
                Load::Ended => self.end_reload(None),
                Load::Lost => self.end_reload(Some(&Error::NOT_RELOADED)),
            }
        }
    }

    /// Begins as soon as it can.
    fn begin_load(&mut self) -> Step {
        let now = self.turn_started;
        let (shard, cluster) = (&mut self.shard, &mut self.state.cluster);
        if !shard.reload(now, &mut |group| breathe(cluster, group)) {
            return Step::Settling;
        }
        // Its first read is ordered in the next turn.
        self.state.snapshots.eager = true;
        Step::Loading
    }

    fn end_reload(&mut self, failed: Option<&Error>) {
        self.state.reload = None;
        self.state.end_reload(failed);
        self.resume_unblocked();
    }

    /// The shard is replaced.
    pub(super) fn give_up_reload(&mut self) {
        if self.state.reload.is_some() {
            self.end_reload(Some(&Error::NOT_RELOADED));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use base::clock::Now;

    fn loads(cause: Cause) -> Option<LoadProgress> {
        Some(LoadProgress {
            cause,
            since: Now::default(),
            total_bytes: 2,
            loaded_bytes: 1,
            file_bytes: 0,
        })
    }

    #[test]
    fn only_its_own_load_is_waited_for() {
        for (progress, want) in [
            (None, Load::Ended),
            (loads(Cause::Reload), Load::GoesOn),
            (loads(Cause::Start), Load::Lost),
            (loads(Cause::LostTail), Load::Lost),
        ] {
            assert_eq!(look(progress), want, "{progress:?}");
        }
    }

    #[test]
    fn a_second_order_is_refused() {
        let mut state = testing::state();
        assert!(state.order_reload(true));
        assert_eq!(
            state.snapshots.making().map(|m| m.kind),
            Some(SnapshotKind::Save)
        );
        assert!(!state.order_reload(false));
    }
}
