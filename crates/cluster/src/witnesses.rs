//! The witnesses that this node hosts for other shards (W1, W2, G2, G6), sans-I/O but for the disk.
//!
//! Owns their shards, which keep only a log, and what they say. Runs on a thread of its own: jobs
//! are done on the spot, so a slow disk delays witnesses and nothing else. Never: serves a client.
//!
//! Invariants: a witness exists only by an invitation that this host accepted with a fresh id and a
//! base on disk; an unknown id is answered GONE; a broken invariant stops one group, loudly.

mod log_end;
mod own;

use super::control::{encode_envelope, Control, Frame, Said};
use super::identity::lost;
use super::membership::StaleCheck;
use super::peers::remember;
use super::proof::Doubts;
use super::transfer::message::Message;
use super::ForWitnesses;
use base::clock::{Clock, Mono, Now};
use base::ids::{GroupId, RaftId};
use base::mutation::{self, Mutation};
use cluster_bus::NodeId;
use keyspace::Layout;
use raft_group::{Envelope, Refusal, StepError};
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use shard::{Shard, ShardConfig, ShardError, Sizes, SyncPolicy};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::time::Duration;
use storage::base::{Base, MemberIdentity, MemberKind, SnapshotMeta};
use storage::{Disk, Folders, Log, LogConfig, StorageError};

/// What is taken off the queue in one turn.
const COMMANDS_PER_TURN: usize = 1024;
const PREFIX: &str = "witness-";
/// How often a witness that is to go asks for it.
const LEAVE_EVERY: Duration = Duration::from_millis(200);
/// W2: when a witness is opened again that was stopped by an error of its disk.
const REOPEN: Duration = Duration::from_secs(10);
/// Every so many times all nodes are asked: the group may have no member left that this one knows.
const ASK_ALL_EVERY: u32 = 10;
/// How often refused messages are told of.
const COMPLAIN_EVERY: Duration = Duration::from_secs(1);
/// No group has a longer one.
const LONGEST_TIMEOUT_MS: u64 = 3_600_000;
/// A witness that was not added within so many T of its group is let go: the leader has taken
/// another one, or leads no more. Should it be added all the same, it is GONE and replaced (G2).
const UNINITIALIZED_PATIENCE: u32 = 20;

/// A frame to send.
pub struct Outgoing {
    pub to: NodeId,
    pub urgent: bool,
    /// An answer, on the connection that `to` has made.
    pub back: bool,
    pub bytes: Vec<u8>,
}

struct Hosted<D: Disk> {
    shard: Shard<D>,
    /// Asks to be replaced: RESET of this host.
    leaves: bool,
    ask_at: Mono,
    /// How often it has asked.
    asked: u32,
    /// When an invitation that has come to nothing is over.
    uninitialized_until: Mono,
    stale_check: StaleCheck,
    /// Its folder is set aside when it ends.
    log_is_kept: bool,
}

impl<D: Disk> Hosted<D> {
    fn is_of(&self, group: GroupId) -> bool {
        self.shard.identity().group == group
    }

    /// G2: whether a node can say, when it is proved, what this witness is: the list names it, or
    /// nobody of the list has led for so long that all nodes were asked.
    fn believes(&self, node: NodeId) -> bool {
        let joined_at = self.shard.group().membership().joined_at;
        self.lists(node) || self.stale_check.is_stale() || self.leaves || joined_at.is_none()
    }

    fn lists(&self, node: NodeId) -> bool {
        let (list, me) = (
            &self.shard.group().membership().list,
            self.shard.identity().raft_id,
        );
        list.iter().any(|m| m.raft_id != me && m.node == node)
    }

    /// `node` has ended it. Where the list does not name that one, and nobody has asked for it, the
    /// log is kept.
    fn ended_by(&mut self, node: NodeId) {
        self.log_is_kept |= !self.lists(node) && !self.leaves && !self.is_empty();
    }

    fn wants_to_go(&self) -> bool {
        self.leaves || self.shard.awaits_confirmation()
    }

    /// Whether it does not know that it was added to its group.
    fn is_uninitialized(&self) -> bool {
        let membership = self.shard.group().membership();
        membership.joined_at.is_none() && !membership.left
    }

    /// Whether there is nothing in its log: it has acknowledged nothing since it was invited, or has begun anew.
    fn is_empty(&self) -> bool {
        self.shard.group().last_index() == self.shard.base().log_before().index
    }
}

pub struct Witnesses<S: Folders> {
    folders: S,
    log: LogConfig,
    rng: StdRng,
    logger: slog::Logger,
    hosted: BTreeMap<RaftId, Hosted<S::D>>,
    /// Those that were stopped because of an error, and when they are opened again; a broken
    /// invariant: never. Their messages are dropped.
    stopped: BTreeMap<RaftId, Option<Mono>>,
    now: Mono,
    nodes: BTreeMap<RaftId, NodeId>,
    doubts: Doubts,
    share: usize,
    /// Orders taken in this turn, and the mutation's reading of the clock at its begin.
    taken: usize,
    begun: Option<Now>,
    /// All other nodes of the cluster.
    others: Vec<NodeId>,
    /// This node's own group, its members, and up to which index of its log that is known.
    own: Option<(GroupId, Vec<RaftId>, u64)>,
    out: Vec<Outgoing>,
    /// When a refused message is told of again.
    complain_at: Mono,
}

/// Whether another try may go better.
fn is_of_the_disk(error: &ShardError) -> bool {
    matches!(error, ShardError::Storage(StorageError::Io { .. }))
}

fn name(raft_id: RaftId) -> String {
    format!("{PREFIX}{raft_id:016x}")
}

impl<S: Folders> Witnesses<S> {
    /// Opens every witness that has a folder. One that can't be opened is stopped; the others go on.
    pub fn open(
        folders: S,
        log: LogConfig,
        seed: u64,
        now: Now,
        logger: slog::Logger,
    ) -> io::Result<Witnesses<S>> {
        let mut host = Witnesses {
            rng: StdRng::seed_from_u64(seed),
            folders,
            log,
            logger,
            hosted: BTreeMap::new(),
            stopped: BTreeMap::new(),
            now: now.mono,
            nodes: BTreeMap::new(),
            doubts: Doubts::default(),
            share: 1,
            taken: 0,
            begun: None,
            others: Vec::new(),
            own: None,
            out: Vec::new(),
            complain_at: Mono(0),
        };
        for folder in host.folders.folders()? {
            let Some(id) = folder.strip_prefix(PREFIX) else {
                continue;
            };
            let Ok(id) = u64::from_str_radix(id, 16) else {
                continue;
            };
            let raft_id = RaftId(id);
            let disk = host.folders.folder(&folder)?;
            match Base::load(&disk) {
                // A crash came between the folder and its base: nobody has heard of it.
                Ok(None) => host.folders.remove(&folder)?,
                _ => host.start(raft_id, disk, now),
            }
        }
        Ok(host)
    }

    /// How many witnesses are here.
    pub fn len(&self) -> usize {
        self.hosted.len()
    }

    pub fn is_empty(&self) -> bool {
        self.hosted.is_empty()
    }

    /// The shards, for checks.
    pub fn shards(&self) -> impl Iterator<Item = &Shard<S::D>> {
        self.hosted.values().map(|h| &h.shard)
    }

    fn start(&mut self, raft_id: RaftId, disk: S::D, now: Now) {
        let config = ShardConfig {
            layout: Layout::Cluster,
            limits: keyspace::Limits::default(),
            seed: self.rng.next_u64(),
            sync: SyncPolicy::Always,
            outcome_timeout: Duration::from_secs(5),
            tail_limit: 0,
            keep_bytes: 1 << 20,
            sizes: Sizes::default(),
            log: self.log.clone(),
            first: false,
        };
        let quiet = slog::Logger::root(slog::Discard, slog::o!());
        let opened = catch_unwind(AssertUnwindSafe(|| Shard::open(disk, config, now, &quiet)));
        match opened {
            Ok(Ok(shard)) => {
                self.learn(&shard);
                let t = shard.group().election_timeout();
                let hosted = Hosted {
                    shard,
                    leaves: false,
                    ask_at: now.mono,
                    asked: 0,
                    uninitialized_until: now.mono + t * UNINITIALIZED_PATIENCE,
                    stale_check: StaleCheck::new(now.mono, t),
                    log_is_kept: false,
                };
                self.hosted.insert(raft_id, hosted);
            }
            Ok(Err(error)) => self.stop(raft_id, &error.to_string(), is_of_the_disk(&error)),
            Err(_) => self.stop(raft_id, "a broken invariant", false),
        }
    }

    /// W2: one group stops, the others and the process go on.
    fn stop(&mut self, raft_id: RaftId, why: &str, again: bool) {
        slog::crit!(
            self.logger,
            "The witness {:016x} has stopped: {}",
            raft_id,
            why
        );
        self.hosted.remove(&raft_id);
        self.stopped
            .insert(raft_id, again.then_some(self.now + REOPEN));
    }

    /// W2: recovers what was stopped, as a restart of the process would.
    fn reopen(&mut self, now: Now) {
        let is_due = |at: &Option<Mono>| at.is_some_and(|at| now.mono >= at);
        let due = self.stopped.iter().filter(|(_, at)| is_due(at));
        for raft_id in due.map(|(id, _)| *id).collect::<Vec<_>>() {
            match self.folders.folder(&name(raft_id)) {
                Ok(disk) => {
                    self.stopped.remove(&raft_id);
                    match Base::load(&disk) {
                        Ok(None) => {} // it was being removed
                        _ => self.start(raft_id, disk, now),
                    }
                }
                Err(error) => self.stop(raft_id, &error.to_string(), true),
            }
        }
    }

    fn learn(&mut self, shard: &Shard<S::D>) {
        for member in &shard.group().membership().list {
            self.nodes.insert(member.raft_id, member.node);
        }
    }

    // ---- what comes in --------------------------------------------------------------------

    /// Takes in what the node's loop hands over. W2: what breaks on the way breaks one group.
    fn take(&mut self, now: Now, order: ForWitnesses) {
        let about = match &order {
            ForWitnesses::Frame { frame, .. } => frame.to_member(),
            ForWitnesses::LeaveAll | ForWitnesses::Cluster { .. } | ForWitnesses::Own { .. } => {
                None
            }
        };
        self.guarded_host(about, |host| host.take_in(now, order));
    }

    fn take_in(&mut self, now: Now, order: ForWitnesses) {
        match order {
            ForWitnesses::Cluster { share, nodes } => {
                (self.share, self.others) = (share, nodes);
            }
            ForWitnesses::Own {
                group,
                members,
                applied,
            } => self.own = Some((group, members, applied)),
            ForWitnesses::LeaveAll => {
                for hosted in self.hosted.values_mut() {
                    hosted.leaves = true;
                    hosted.ask_at = now.mono;
                }
            }
            ForWitnesses::Frame {
                from,
                proved,
                frame: Frame::Raft(envelope),
            } => self.step_envelope(now, from, proved, *envelope),
            ForWitnesses::Frame {
                from,
                proved,
                frame: Frame::Control(control),
            } => self.control(now, from, proved, control),
            ForWitnesses::Frame {
                from,
                proved,
                frame: Frame::Transfer(Message::Offer { term, first, base }),
            } => {
                if proved {
                    self.offered(from, term, first, *base);
                }
            }
            // A witness has neither slots nor a state.
            ForWitnesses::Frame {
                frame: Frame::Words(_) | Frame::Transfer(_),
                ..
            } => {}
        }
    }

    /// G2: what ends a witness, or makes one, counts only when its sender is proved.
    fn control(&mut self, now: Now, from: NodeId, proved: bool, control: Control) {
        match control {
            Control::Really {
                said: Said::Leave,
                group,
                raft_id,
            } => {
                let of = |h: &&Hosted<S::D>| h.shard.identity().group == group && h.wants_to_go();
                if self.hosted.get(&raft_id).filter(of).is_some() {
                    let said = Said::Leave;
                    let control = Control::Confirm {
                        said,
                        group,
                        raft_id,
                    };
                    self.answer(from, &control);
                }
            }
            _ if !proved => {}
            Control::Invite { base } => self.invited(now, from, *base),
            Control::NotAMember {
                group,
                raft_id,
                applied,
            } => self.guarded(raft_id, |hosted| {
                let heard = hosted.is_of(group) && hosted.believes(from);
                if heard && hosted.shard.not_a_member(applied) {
                    hosted.ended_by(from);
                }
                Ok(())
            }),
            Control::Left { group, raft_id } => self.guarded(raft_id, |hosted| {
                let heard = hosted.is_of(group) && hosted.wants_to_go() && hosted.believes(from);
                if heard && hosted.shard.note_removal() {
                    hosted.ended_by(from);
                }
                Ok(())
            }),
            Control::Stored {
                group,
                raft_id,
                index,
            } => self.guarded(raft_id, |hosted| {
                if hosted.is_of(group) && hosted.believes(from) {
                    hosted.shard.check_stored(index)?; // D6
                }
                Ok(())
            }),
            Control::TrimTo {
                group,
                raft_id,
                term,
                index,
            } => {
                self.told_log_end(from, (group, raft_id), (term, index));
            }
            Control::Gone { group, raft_id } => {
                for id in self.hosted.keys().copied().collect::<Vec<_>>() {
                    self.guarded(id, |hosted| {
                        if hosted.is_of(group) {
                            hosted.shard.note_gone(raft_id, from);
                        }
                        Ok(())
                    });
                }
            }
            _ => {}
        }
    }

    fn step_envelope(&mut self, now: Now, from: NodeId, proved: bool, envelope: Envelope) {
        let (group, raft_id, sender) = (envelope.group, envelope.to, envelope.from);
        if self.stopped.contains_key(&raft_id) {
            return;
        }
        if !self.hosted.contains_key(&raft_id) {
            if mutation::is(Mutation::ConjuredByMessage) {
                self.conjure(now, &envelope);
            } else {
                // G2: nothing is conjured by a message.
                return self.answer(from, &Control::Gone { group, raft_id });
            }
        }
        remember(&mut self.nodes, sender, from);
        let mut refused = None;
        let mut doubts = false;
        self.guarded(raft_id, |hosted| {
            let member = hosted.shard.group().membership().member(sender);
            let speaks_for_itself = member.is_none_or(|m| m.node == from);
            if !proved || !speaks_for_itself {
                // Anybody can have said it in a member's name. The links ask; Raft repeats.
                hosted.shard.note_sender(sender);
                return Ok(());
            }
            match hosted.shard.step(now, envelope) {
                Err(ShardError::Step(_)) if !hosted.believes(from) => {
                    doubts = true; // D6: it is asked over a link of our own
                    Ok(())
                }
                stepped => {
                    refused = stepped?;
                    Ok(())
                }
            }
        });
        if let Some(refusal) = refused {
            self.complain(now, raft_id, &refusal);
        }
        if doubts && self.doubts.may_ask(now.mono, from, None) {
            self.tell(from, &Control::CheckStalePeer { group, raft_id });
        }
    }

    /// D6: says what was refused, at a bounded rate.
    fn complain(&mut self, now: Now, raft_id: RaftId, refusal: &Refusal) {
        if now.mono < self.complain_at {
            return;
        }
        self.complain_at = now.mono + COMPLAIN_EVERY;
        slog::warn!(self.logger, "The witness {:016x}: {}", raft_id, refusal);
    }

    /// The mutation that G2 forbids.
    fn conjure(&mut self, now: Now, envelope: &Envelope) {
        let base = Base {
            identity: MemberIdentity {
                group: envelope.group,
                incarnation: envelope.incarnation,
                raft_id: envelope.to,
                kind: MemberKind::Witness,
                election_timeout_ms: 1000,
            },
            snapshot: SnapshotMeta {
                index: 1,
                term: 1,
                conf_state: raft::eraftpb::ConfState {
                    voters: vec![envelope.from.0],
                    ..Default::default()
                },
                ..SnapshotMeta::default()
            },
            start: None,
        };
        let _ = self.found(now, &base);
    }

    /// G2: mints an id, puts the base on disk, answers.
    fn invited(&mut self, now: Now, from: NodeId, mut base: Base) {
        let group = base.identity.group;
        // An earlier invitation that led to nothing: its id is never used again.
        let of_group = |h: &Hosted<S::D>| h.shard.identity().group == group;
        let stale: Vec<RaftId> = self
            .hosted
            .iter()
            .filter(|(_, h)| of_group(h) && h.is_uninitialized() && h.is_empty())
            .map(|(id, _)| *id)
            .collect();
        for raft_id in stale {
            self.destroy(raft_id);
        }
        // A leader that invites may have been deposed: one that has acknowledged something may be a member.
        let acknowledged = self
            .hosted
            .values()
            .any(|h| of_group(h) && h.is_uninitialized());
        if acknowledged || self.hosted.len() >= self.share.max(1) {
            return self.answer(from, &Control::Declined { group });
        }
        base.identity.raft_id = loop {
            let id = self.rng.next_u64();
            if id != 0 {
                break RaftId(id);
            }
        };
        base.identity.kind = MemberKind::Witness;
        let raft_id = base.identity.raft_id;
        match self.found(now, &base) {
            Ok(()) => self.answer(from, &Control::Invited { group, raft_id }),
            Err(error) => {
                slog::warn!(self.logger, "Can't host a witness: {}", error);
                self.answer(from, &Control::Declined { group });
            }
        }
    }

    /// Makes a witness; where that fails nothing is left of it, on the disk or here.
    fn found(&mut self, now: Now, base: &Base) -> Result<(), ShardError> {
        let folder = name(base.identity.raft_id);
        let made = catch_unwind(AssertUnwindSafe(|| self.try_found(now, base, &folder)));
        let error = match made {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error,
            Err(_) => StorageError::Io {
                action: "found a group in",
                file: folder.clone(),
                source: io::Error::other("a broken invariant"),
            }
            .into(),
        };
        self.hosted.remove(&base.identity.raft_id);
        self.stopped.remove(&base.identity.raft_id);
        if let Err(source) = self.folders.remove(&folder) {
            slog::warn!(self.logger, "Can't remove {}: {}", folder, source);
        }
        Err(error)
    }

    fn try_found(&mut self, now: Now, base: &Base, folder: &str) -> Result<(), ShardError> {
        let io = |source| StorageError::Io {
            action: "make the folder of",
            file: folder.to_owned(),
            source,
        };
        if base.identity.election_timeout_ms > LONGEST_TIMEOUT_MS {
            return Err(io(io::Error::other("its election timeout is absurd")).into());
        }
        let disk = self.folders.folder(folder).map_err(io)?;
        Log::create(disk.clone(), self.log.clone(), base)?;
        self.start(base.identity.raft_id, disk, now);
        if !self.hosted.contains_key(&base.identity.raft_id) {
            return Err(io(io::Error::other("it does not open")).into());
        }
        slog::info!(
            self.logger,
            "This node hosts the witness {:016x} of group {:016x}",
            base.identity.raft_id,
            base.identity.group
        );
        Ok(())
    }

    /// G2: the folder goes, and with it the id: a member that writes to it is answered GONE.
    fn destroy(&mut self, raft_id: RaftId) {
        slog::info!(self.logger, "The witness {:016x} has left", raft_id);
        let hosted = self.hosted.remove(&raft_id);
        let gone = match hosted.is_some_and(|h| h.log_is_kept) {
            true => self.folders.rename(&name(raft_id), &lost(raft_id)),
            false => self.folders.remove(&name(raft_id)),
        };
        if let Err(error) = gone {
            // It may have lost log (D6): only a restart of the host looks at it again.
            let why = format!("its folder can't be removed: {error}");
            self.stop(raft_id, &why, false);
        }
    }

    // ---- a turn ---------------------------------------------------------------------------

    /// The next step of a turn of the thread: one order from its queue or, when none is left, timers,
    /// Readies, syncs and messages of all witnesses. True: the turn goes on.
    ///
    /// E1: the clock is read after each message was taken off the queue. An invitation syncs between
    /// two messages, and a promise must not begin before the message was sent that it answers.
    pub fn step(
        &mut self,
        clock: &dyn Clock,
        next: &mut dyn FnMut() -> Option<ForWitnesses>,
    ) -> bool {
        if self.taken < COMMANDS_PER_TURN {
            let early = mutation::is(Mutation::PromiseBeforeMessage).then(|| clock.now());
            if let Some(order) = next() {
                self.taken += 1;
                if self.taken == 1 {
                    self.begun = early;
                }
                self.take(self.begun.unwrap_or_else(|| clock.now()), order);
                return true;
            }
        }
        (self.taken, self.begun) = (0, None);
        let now = clock.now();
        self.now = now.mono;
        self.reopen(now);
        let ids: Vec<RaftId> = self.hosted.keys().copied().collect();
        for raft_id in ids {
            let now = clock.now();
            let mut messages = Vec::new();
            let mut strangers = Vec::new();
            self.guarded(raft_id, |hosted| loop {
                hosted.shard.begin(now)?;
                let output = hosted.shard.take_output();
                messages.extend(output.messages);
                strangers.extend(output.strangers);
                if output.jobs.is_empty() {
                    return Ok(());
                }
                for job in output.jobs {
                    if let Some(done) = job.run() {
                        hosted.shard.job_done(now, done)?;
                    }
                }
            });
            self.guarded_host(Some(raft_id), |host| {
                host.say(messages);
                host.reopen_installed(now, raft_id);
                host.after_turn(now, raft_id, strangers);
            });
        }
        false
    }

    /// W2: the same for what concerns more than the group itself: it must not silence the others.
    fn guarded_host(&mut self, about: Option<RaftId>, run: impl FnOnce(&mut Self)) {
        let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(self))) else {
            return;
        };
        if mutation::is(Mutation::OneWitnessEndsAll) {
            resume_unwind(panic);
        }
        match about.filter(|id| self.hosted.contains_key(id)) {
            Some(raft_id) => self.stop(raft_id, "a broken invariant", false),
            None => slog::crit!(self.logger, "A witness host has met a broken invariant"),
        }
    }

    fn after_turn(&mut self, now: Now, raft_id: RaftId, strangers: Vec<RaftId>) {
        let Some(hosted) = self.hosted.get_mut(&raft_id) else {
            return;
        };
        for member in &hosted.shard.group().membership().list {
            self.nodes.insert(member.raft_id, member.node);
        }
        // M28: its group has ended while it was away, and nobody is left to tell it so.
        if hosted.stale_check.is_stale() && hosted.shard.has_no_data_left() {
            hosted.log_is_kept |= !hosted.is_empty();
            return self.destroy(raft_id);
        }
        let uninitialized = hosted.is_uninitialized();
        // One that is to leave waits as well: its promotion may be on its way, and would be committed by others.
        let late = uninitialized && now.mono >= hosted.uninitialized_until;
        if hosted.shard.is_removed() || (late && hosted.is_empty()) {
            return self.destroy(raft_id);
        }
        // What it has acknowledged may be committed by that alone: the group has to let it go.
        hosted.leaves |= late;
        let (group, applied) = (
            hosted.shard.identity().group,
            hosted.shard.group().applied(),
        );
        let led = uninitialized || hosted.shard.group().is_led(now);
        let t = hosted.shard.group().election_timeout();
        let asks = hosted.stale_check.asks(now.mono, led, t);
        if asks && hosted.stale_check.is_stale() {
            hosted.hear_of_own_node(self.own.as_ref());
        }
        // They may have been added since their messages came, up to the very index that is told.
        let membership = hosted.shard.group().membership();
        let strangers: Vec<RaftId> = strangers
            .into_iter()
            .filter(|id| !membership.contains(*id))
            .collect();
        let leave = hosted.wants_to_go() && now.mono >= hosted.ask_at;
        if leave {
            hosted.ask_at = now.mono + LEAVE_EVERY;
            hosted.asked += 1;
            // All are asked: the last leader may be gone, and nobody may write to this member.
            let list = hosted.shard.group().membership().list.iter();
            let mut asked: BTreeSet<NodeId> = list.map(|m| m.node).collect();
            if hosted.asked % ASK_ALL_EVERY == 0 {
                asked.extend(&self.others);
            }
            for node in asked {
                self.tell(node, &Control::Leave { group, raft_id });
            }
        }
        if asks {
            for node in self.others.clone() {
                self.tell(node, &Control::CheckStalePeer { group, raft_id });
            }
        }
        for raft_id in strangers {
            if let Some(&node) = self.nodes.get(&raft_id) {
                let control = Control::NotAMember {
                    group,
                    raft_id,
                    applied,
                };
                self.answer(node, &control);
            }
        }
    }

    /// When [`Witnesses::turn`] wants to be called next.
    pub fn deadline(&self) -> Option<Mono> {
        let of = |h: &Hosted<S::D>| {
            // W2: one that can't even say when is looked at, and stopped, by its next turn.
            let at = catch_unwind(AssertUnwindSafe(|| h.shard.deadline()));
            let mut at = at.unwrap_or(self.now + LEAVE_EVERY);
            if h.wants_to_go() {
                at = at.min(h.ask_at);
            }
            if h.is_uninitialized() {
                at = at.min(h.uninitialized_until);
            }
            at
        };
        let again = self.stopped.values().flatten().copied();
        self.hosted.values().map(of).chain(again).min()
    }

    /// What is to be sent.
    pub fn take_outgoing(&mut self) -> Vec<Outgoing> {
        std::mem::take(&mut self.out)
    }

    /// W2: what goes wrong in one group stops that group. D6: one that has lost log never comes back
    /// under its raft id: it is answered GONE, and replaced.
    fn guarded(
        &mut self,
        raft_id: RaftId,
        run: impl FnOnce(&mut Hosted<S::D>) -> Result<(), ShardError>,
    ) {
        let Some(hosted) = self.hosted.get_mut(&raft_id) else {
            return;
        };
        match catch_unwind(AssertUnwindSafe(|| run(hosted))) {
            Ok(Ok(())) => {}
            Ok(Err(error)) if mutation::is(Mutation::OneWitnessEndsAll) => panic!("{error}"),
            Ok(Err(ShardError::Step(error @ StepError::LostLog { .. }))) => {
                slog::crit!(self.logger, "The witness {:016x}: {}", raft_id, error);
                // G2: the node that says so may lie; what is left of the log is kept.
                if let Some(hosted) = self.hosted.get_mut(&raft_id) {
                    hosted.log_is_kept |= !hosted.is_empty();
                }
                self.destroy(raft_id);
            }
            Ok(Err(error)) => self.stop(raft_id, &error.to_string(), is_of_the_disk(&error)),
            Err(_) => self.stop(raft_id, "a broken invariant", false),
        }
    }

    fn say(&mut self, messages: Vec<Envelope>) {
        for envelope in messages {
            if let Some(&to) = self.nodes.get(&envelope.to) {
                self.out.push(Outgoing {
                    to,
                    urgent: super::is_urgent(&envelope),
                    back: false,
                    bytes: encode_envelope(&envelope),
                });
            }
        }
    }

    fn tell(&mut self, to: NodeId, control: &Control) {
        self.out.push(Outgoing {
            to,
            urgent: true,
            back: false,
            bytes: control.encode(),
        });
    }

    fn answer(&mut self, to: NodeId, control: &Control) {
        self.out.push(Outgoing {
            to,
            urgent: true,
            back: true,
            bytes: control.encode(),
        });
    }
}
