//! A turn of the server, in the order of rule T1.
//!
//! Owns the order of everything that happens in a turn, and which clients are served in it. Never waits, and
//! never touches a socket, a file or a thread but through its platform. The driver calls
//! [`Server::note`] for what the sockets report and [`Server::step`] until the turn is done; the node
//! and the simulator do just that, so there is one order and it is here.
//!
//! Invariants: between a turn's first command and [`Shard::finish`] nothing but commands runs;
//! replies leave only after `finish`; a client's commands run in the order in which they came,
//! whatever they have to wait for.

use super::clustered::Clustered;
use super::error::ServerError;
use super::longest::LongestTurn;
use super::platform::Platform;
use super::shutdown::Ending;
use super::state::ServerState;
use base::clock::{Clock, Mono, Now};
use base::mutation::{self, Mutation};
use net::{ConnId, ReadBuffer, Readiness, ReadyList};
use raft_group::Group;
use resp::Argv;
use shard::{Admission, Cause, LoadProgress, Shard};
use slog::Logger;
use state::Gate;
use std::sync::Arc;
use std::time::Duration;
use storage::Done;
use topology::Routing;

/// T1: how long clients' commands may run before their effects are proposed.
const TURN_TIME: Duration = Duration::from_millis(1);
/// T1: bytes of effects after which they are proposed.
const TURN_EFFECTS: usize = 64 << 10;
/// Commands between two looks at the clock.
const COMMANDS_PER_LOOK: u32 = 64;

/// What comes next in the turn. Time may pass between any two of them, and does when the process is
/// stopped there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Results of the storage thread.
    Results,
    /// What other nodes have sent.
    Receive,
    /// Timers, Readies, apply; what became ready leaves.
    Settle,
    /// Clients' commands, expiry, timers of clients.
    Serve,
    /// The proposal, the clock, the lease.
    Finish,
    /// Bytes for sockets.
    Leave,
}

/// How far the turn has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There is more of it; this is done.
    More(Phase),
    /// The turn is done.
    Done(Pause),
    /// It was the last.
    Ended,
}

/// What the server knows of the next turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pause {
    /// Nothing needs to be done for so long unless something comes.
    pub patience: Duration,
    /// Clients that have been answered ask again at once: more will come within microseconds.
    pub eager: bool,
}

pub struct Server<P: Platform> {
    pub(super) shard: Shard<P::Disk>,
    pub(super) state: ServerState<P>,
    pub(super) logger: Logger,
    phase: Phase,
    /// Clients with something to read or to parse.
    pub(super) ready: ReadyList,
    pub(super) shared: ReadBuffer,
    pub(super) argv: Argv,
    /// Clients with output to flush in this turn.
    pub(super) dirty: Vec<ConnId>,
    /// Clients with output behind a gate.
    pub(super) gated: Vec<ConnId>,
    /// Clients whose next command can't run yet.
    pub(super) held: Vec<ConnId>,
    pub(super) released: Gate,
    pub(super) next_client_id: u64,
    pub(super) next_cron: Mono,
    pub(super) cron_runs: u64,
    /// The turn's reading of the clock: of before its messages are stepped.
    pub(super) turn_started: Now,
    /// The turn's last reading of the clock.
    pub(super) turn_ended: Now,
    pub(super) commands: u32,
    commands_before: u32,
    /// Commands since the last look at the clock; a long one counts for several.
    pub(super) unlooked: u32,
    longest_turn: LongestTurn,
    /// T4: bytes behind gates, of all clients.
    pub(super) held_bytes: usize,
    /// Of the machine or its control group.
    pub(super) memory_bytes: usize,
    pub(super) ending: Option<Ending>,
    disk_full_told: bool,
    /// Of the base, of files, of reads.
    troubles_told: [bool; 3],
    /// Since when the keyspace has been loaded, as far as the log says.
    pub(super) loading_told: Option<LoadProgress>,
    /// Where slots are, as of this turn; none outside a cluster.
    pub(super) routing: Option<Arc<Routing>>,
}

/// T9: a follower that applies for long answers its leader's heartbeats. Whether a breath was due.
pub(super) fn breathe<P: Platform>(
    cluster: &mut Option<Box<Clustered<P>>>,
    group: &mut Group,
) -> bool {
    let cluster = cluster.as_mut();
    cluster.is_some_and(|cluster| cluster.breathe_applying(group))
}

impl<P: Platform> Server<P> {
    /// A server before its first turn.
    pub(super) fn assemble(
        shard: Shard<P::Disk>,
        state: ServerState<P>,
        memory_bytes: usize,
    ) -> Server<P> {
        let now = state.clock.now();
        Server {
            shard,
            logger: state.logger.clone(),
            phase: Phase::Results,
            ready: ReadyList::new(),
            shared: ReadBuffer::new(),
            argv: Argv::new(),
            dirty: Vec::new(),
            gated: Vec::new(),
            held: Vec::new(),
            released: Gate::OPEN,
            next_client_id: 1,
            next_cron: now.mono,
            cron_runs: 0,
            turn_started: now,
            turn_ended: now,
            commands: 0,
            commands_before: 0,
            unlooked: 0,
            longest_turn: LongestTurn::new(now.mono, state.platform.loop_cpu()),
            held_bytes: 0,
            memory_bytes,
            ending: None,
            disk_full_told: false,
            troubles_told: [false; 3],
            loading_told: None,
            routing: None,
            state,
        }
    }

    /// The next phase of the turn. An error ends the process: what was not acknowledged may be lost,
    /// nothing else; the log decides at the restart.
    // Called in one place, the driver's loop, which matches the result at once: a call and a result on
    // the stack for each phase are 300 instructions a turn (`scripts/bench.sh instructions`).
    #[inline(always)]
    pub fn step(&mut self) -> Result<Progress, ServerError> {
        let done = self.phase;
        self.phase = match done {
            Phase::Results => {
                self.take_results()?;
                if self.is_closing() {
                    return self.close();
                }
                Phase::Receive
            }
            Phase::Receive => {
                if !mutation::is(Mutation::StepBeforeProposal) {
                    self.receive()?;
                }
                Phase::Settle
            }
            Phase::Settle => {
                self.settle()?;
                Phase::Serve
            }
            Phase::Serve => {
                self.serve();
                Phase::Finish
            }
            Phase::Finish => {
                self.finish()?;
                Phase::Leave
            }
            Phase::Leave => {
                self.advance_snapshots();
                self.advance_reload();
                self.flush();
                self.shard.walk_snapshot(&self.state.clock);
                self.advance_downloads();
                self.apply_settings();
                self.advance_ending(self.turn_started)?;
                self.phase = Phase::Results;
                return Ok(Progress::Done(self.pause()));
            }
        };
        Ok(Progress::More(done))
    }

    /// What the driver has seen of a client's socket since the last turn.
    pub fn note(&mut self, key: ConnId, readiness: Readiness) {
        let Some(Some(client)) = self.state.clients.get_mut(key) else {
            return;
        };
        client.conn.note(readiness);
        if readiness.writable && client.conn.output.wants_write() {
            client.mark_dirty(&mut self.dirty, key);
        }
        if client.must_wait() {
            if client.is_gone() && !client.doomed {
                client.doomed = true;
                self.state.killed.push(key);
            }
        } else if client.conn.has_work() {
            self.ready.add(key, &mut client.conn);
        }
    }

    // ---- the phases -----------------------------------------------------------------------

    fn take_results(&mut self) -> Result<(), ServerError> {
        if mutation::is(Mutation::PromiseBeforeMessage) {
            // The mutation that E1 forbids: messages that come from here on are dated too early.
            self.turn_started = self.state.clock.now();
        }
        while let Some(done) = self.state.platform.next_done() {
            match done {
                Done::Download(done) => self.downloaded(done),
                done => {
                    let (now, cluster) = (self.turn_started, &mut self.state.cluster);
                    let breath = &mut |group: &mut Group| breathe(cluster, group);
                    self.shard.job_done_with(now, done, breath)?;
                }
            }
        }
        let now = self.turn_started;
        self.open_installed(now)?;
        self.tell_loaded();
        self.tell_troubles();
        self.tell_room();
        Ok(())
    }

    /// D5: writes are refused; what helps depends on what is missing.
    fn tell_room(&mut self) {
        if let Some(entries) = self.shard.take_abdication() {
            slog::warn!(
                self.logger,
                "The disks of a majority of the shard's members have no room for the newest {} entries of the log: this node \
                 leads no more, and they may be lost. Their writes were not acknowledged",
                entries
            );
        }
        if self.shard.lacks_room() == self.disk_full_told {
            return;
        }
        self.disk_full_told = !self.disk_full_told;
        if !self.disk_full_told {
            slog::warn!(
                self.logger,
                "There is room on the disk again: writes are taken"
            );
            return;
        }
        let why = self.shard.no_space();
        let why = why.unwrap_or("there is room on this one");
        if self.shard.lacks_files() {
            slog::warn!(
                self.logger,
                "No file can be opened for the log: writes are refused until one can ({why}). What helps: a higher limit of \
                 open files, or fewer clients"
            );
            return;
        }
        let whose = match self.shard.is_disk_full() {
            true => "disk is full",
            false => "disks of a majority of the shard's members are full",
        };
        slog::warn!(
            self.logger,
            "The {whose}: writes are refused until there is room ({why}). What helps: room on the disk of `dir`, \
             or fewer keys: DEL, UNLINK, FLUSHDB and FLUSHALL are taken, keys expire, and a snapshot gives back \
             what they leave"
        );
    }

    /// D5: what fails here ends nothing and is tried again, so somebody has to hear of it: the log grows meanwhile (F23),
    /// what is of no use fills the disk as what is of use does, and a load seems to stand.
    fn tell_troubles(&mut self) {
        let troubles = [
            (
                self.shard.switch_failure(),
                "The log can't be trimmed, and this is tried again every second",
                "The log can be trimmed again",
            ),
            (
                self.shard.removal_failure(),
                "Files that are of no use any more can't be removed, and this is tried again every second",
                "The files that were of no use are removed",
            ),
            (
                self.shard.read_failure(),
                "The disk can't be read, and this is tried again every second",
                "The disk can be read again",
            ),
        ];
        for ((why, begins, ends), told) in troubles.into_iter().zip(&mut self.troubles_told) {
            if why.is_some() == *told {
                continue;
            }
            *told = why.is_some();
            match why {
                Some(why) => slog::warn!(self.logger, "{}: {}", begins, why),
                None => slog::info!(self.logger, "{}", ends),
            }
        }
    }

    /// Says in the log that the keyspace is being loaded, and that it has been.
    fn tell_loaded(&mut self) {
        let before = self.loading_told;
        self.loading_told = self.shard.load_progress();
        let whole = match (before, self.loading_told) {
            (Some(before), None) => before,
            (None, Some(begins)) if begins.cause == Cause::LostTail => {
                let bytes = begins.total_bytes;
                slog::warn!(
                    self.logger,
                    "What was executed did not happen: the keyspace is made anew from {} bytes",
                    bytes
                );
                return;
            }
            (None, Some(begins)) if begins.cause == Cause::Reload => {
                let bytes = begins.total_bytes;
                slog::info!(
                    self.logger,
                    "DEBUG RELOAD: the keyspace is made anew from {} bytes",
                    bytes
                );
                return;
            }
            _ => return,
        };
        let took = self.state.clock.now().mono.since(whole.since.mono);
        let from = match whole.file_bytes {
            0 => "the log",
            _ => "a snapshot and the log",
        };
        slog::info!(
            self.logger,
            "DB loaded from {}: {} bytes in {:.3} seconds",
            from,
            whole.total_bytes,
            took.as_secs_f64()
        );
    }

    /// E1: the clock is read after the turn's messages were taken off their queue, so that no promise
    /// begins before the message was sent that it answers.
    fn receive(&mut self) -> Result<(), ServerError> {
        let batch = match &mut self.state.cluster {
            Some(cluster) => cluster.take_batch(),
            None => Vec::new(),
        };
        if !mutation::is(Mutation::PromiseBeforeMessage) {
            self.turn_started = self.state.clock.now();
        }
        match &mut self.state.cluster {
            Some(cluster) => {
                cluster.receive(self.turn_started, batch, &mut self.shard, &self.logger)
            }
            None => Ok(()),
        }
    }

    /// What a finished sync or a heartbeat has made ready leaves before clients are served.
    fn settle(&mut self) -> Result<(), ServerError> {
        let now = self.turn_started;
        let (shard, cluster) = (&mut self.shard, &mut self.state.cluster);
        shard.begin_with(now, &mut |group| breathe(cluster, group))?;
        self.follow_cluster(now);
        self.end_lost_shard_channels();
        self.release();
        if self.execute_outputs(now)? {
            // S2: what others see is the new shard's.
            self.follow_cluster(now);
            self.end_lost_shard_channels();
        }
        self.flush();
        Ok(())
    }

    fn serve(&mut self) {
        let now = self.turn_started;
        self.accept(now);
        let admission = match self.reload_holds_commands() {
            true => Admission::Hold,
            false => self.admission(),
        };
        self.routing = self
            .state
            .cluster
            .as_ref()
            .map(|c| Arc::clone(c.core.routing()));
        self.tell_events();
        self.state.blocking.more = false;
        self.serve_clients(admission);
        self.cron(now, admission);
        if self.has_waiting_work() {
            // C6: BLMOVE, run once more as its time is over, may have moved what others wait for.
            self.serve_waiting(admission);
        }
        self.mark_delivered_dirty();
        self.resume_unblocked();
        self.close_killed();
        self.tell_events();
        if let Some(cluster) = &mut self.state.cluster {
            cluster.core.send_copies(now, &mut self.shard);
        }
        self.gate_copies_outside();
    }

    fn finish(&mut self) -> Result<(), ServerError> {
        if mutation::is(Mutation::StepBeforeProposal) {
            self.receive()?; // the mutation that T1 forbids
        }
        let (shard, cluster) = (&mut self.shard, &mut self.state.cluster);
        let clock = &self.state.clock;
        self.turn_ended = shard.finish_with(clock, &mut |group| breathe(cluster, group))?;
        self.time_turn();
        self.end_lost_shard_channels();
        self.speak();
        self.speak_outside();
        self.release();
        self.execute_outputs(self.turn_started)?;
        Ok(())
    }

    /// How long the loop has worked since this was asked in the last turn.
    fn time_turn(&mut self) {
        let ServerState {
            platform, stats, ..
        } = &mut self.state;
        let ended = self.turn_ended.mono;
        let took = self.longest_turn.turn_ended(ended, || platform.loop_cpu());
        if let Some(took) = took {
            let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            stats.turn_max_usec = stats.turn_max_usec.max(took);
        }
    }

    // ---- beside them ----------------------------------------------------------------------

    /// How long nothing needs to be done unless something comes. It counts from the turn's last look
    /// at the clock; one more would only take account of the time that the writes to sockets took.
    fn pause(&mut self) -> Pause {
        // Clients that have been answered ask again at once; a client that waits for a disk or for
        // other members leaves the processor to them.
        let eager = self.commands != self.commands_before && self.gated.is_empty();
        self.commands_before = self.commands;
        Pause {
            patience: self.patience(),
            eager,
        }
    }

    fn patience(&self) -> Duration {
        let platform = &self.state.platform;
        let more = !self.ready.is_empty() || self.state.snapshots.eager || self.state.blocking.more;
        if more || platform.has_arrivals(self.turn_started.mono) {
            return Duration::ZERO;
        }
        let mut next = self.shard.deadline().min(self.next_cron);
        if let Some(cluster) = &self.state.cluster {
            if cluster.has_more() {
                return Duration::ZERO;
            }
            next = next.min(cluster.core.deadline());
        }
        if let Some(at) = self.state.alone.deadline() {
            next = next.min(at);
        }
        if let (Some(limit), false) = (self.hold_limit(), self.held.is_empty()) {
            next = next.min(self.turn_started.mono + limit / 10);
        }
        if let Some(at) = platform.next_arrival() {
            next = next.min(at);
        }
        if let Some(at) = self.state.blocking.next_deadline() {
            next = next.min(at);
        }
        if let Some(at) = self.ending.and_then(|ending| ending.deadline()) {
            next = next.min(at);
        }
        next.since(self.turn_ended.mono)
    }

    /// Whether this turn's time or effects are used up.
    pub(super) fn is_spent(&mut self) -> bool {
        if self.shard.data().batch_bytes() >= TURN_EFFECTS {
            return true;
        }
        self.commands += 1;
        if self.unlooked < COMMANDS_PER_LOOK {
            return false;
        }
        self.unlooked = 0;
        self.state.clock.now().mono.since(self.turn_started.mono) >= TURN_TIME
    }

    /// Moves held clients back to the ready ones when what they waited for may have come, or will
    /// not come in time (S2).
    pub(super) fn retry_held(&mut self, admission: Admission) {
        let now = self.turn_started.mono;
        let limit = self.hold_limit();
        let waits = match admission {
            Admission::Lead { .. } | Admission::Loading { .. } => false,
            Admission::Hold => true,
            // Where to is not known yet.
            Admission::Redirect { own_copy, .. } => {
                !own_copy && self.routing.as_ref().is_some_and(|r| r.leader.is_none())
            }
        };
        for key in std::mem::take(&mut self.held) {
            let Some(Some(client)) = self.state.clients.get_mut(key) else {
                continue;
            };
            let overdue = |at: Mono| limit.is_some_and(|limit| now.since(at) >= limit);
            if !waits || client.wait.held_since().is_some_and(overdue) {
                client.retry();
                self.ready.add(key, &mut client.conn);
            } else {
                self.held.push(key);
            }
        }
    }

    /// How long a command may wait for a leader; for ever outside a cluster.
    pub(super) fn hold_limit(&self) -> Option<Duration> {
        let t = self.shard.group().election_timeout();
        self.routing.is_some().then(|| t * 3 / 2)
    }

    // ---- for drivers and checks -----------------------------------------------------------

    pub fn shard(&self) -> &Shard<P::Disk> {
        &self.shard
    }

    /// For a driver that orders a snapshot.
    pub fn shard_mut(&mut self) -> &mut Shard<P::Disk> {
        &mut self.shard
    }

    /// The clients' connections, for the driver to close when all else has ended.
    pub fn take_clients(&mut self) -> impl Sized {
        std::mem::take(&mut self.state.clients)
    }

    /// SHUTDOWN or a signal is being carried out.
    pub fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    pub fn logger(&self) -> &slog::Logger {
        &self.logger
    }

    pub fn platform(&self) -> &P {
        &self.state.platform
    }

    pub fn platform_mut(&mut self) -> &mut P {
        &mut self.state.platform
    }

    pub fn cluster(&self) -> Option<&cluster::Cluster> {
        self.state.cluster.as_ref().map(|c| &c.core)
    }
}
