//! What a turn adds in a cluster: events of the links go in, outputs come out.
//!
//! Owns the order in which outputs are carried out. Never decides what a message leads to.

use super::{Clustered, PutOff, Spoken};
use crate::error::ServerError;
use crate::outgoing;
use crate::platform::{ClusterPlatform, Platform};
use crate::turn::Server;
use base::clock::{Clock, Mono, Now};
use base::ids::RaftId;
use cluster::control::Frame;
use cluster::{bus_now, ClusterOutput};
use cluster_bus::bus::{Action, Level};
use cluster_bus::NodeId;
use raft_group::{Envelope, Group};
use shard::{Admission, Shard};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use storage::base::{Member, MemberKind};
use transport::{kind_of, Command, Event, Passwords, Probed};

/// Lines in the log about frames that can't be read.
const COMPLAINTS_A_SECOND: u32 = 20;
/// T9: what is taken off the links in one turn.
const EVENTS_PER_TURN: usize = 1024;
const EVENT_BYTES_PER_TURN: usize = 4 << 20;
/// T9: bytes of events that may wait for a long command to end; the links keep the rest.
const BACKLOG: usize = 64 << 20;
/// T9: between two breaths.
const BREATH: Duration = Duration::from_millis(5);

impl<P: Platform> Clustered<P> {
    /// What has come on the links, a bounded part of it.
    pub(crate) fn take_batch(&mut self) -> Vec<Event> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        self.more = false;
        loop {
            if batch.len() >= EVENTS_PER_TURN || bytes >= EVENT_BYTES_PER_TURN {
                self.more = true;
                return batch;
            }
            let held = self.backlog.pop_front();
            self.backlog_bytes -= held.as_ref().map_or(0, Event::weight);
            let Some(event) = held.or_else(|| self.io.next_event()) else {
                return batch;
            };
            bytes += event.weight();
            batch.push(event);
        }
    }

    /// Whether there may be more on the links than the last turn took.
    pub(crate) fn has_more(&self) -> bool {
        self.more || !self.backlog.is_empty()
    }

    /// Steps what was taken off the links. E1: `now` was read after that.
    pub(crate) fn receive(
        &mut self,
        now: Now,
        batch: Vec<Event>,
        shard: &mut Shard<P::Disk>,
        logger: &slog::Logger,
    ) -> Result<(), ServerError> {
        self.breathed = now.mono;
        for event in batch {
            self.take(now, event, shard, logger)?;
        }
        self.conf.settle(&mut self.io, logger);
        let hosted = self.io.hosted_witnesses();
        self.core.set_hosted_witnesses(hosted);
        self.core.tick(now);
        Ok(())
    }

    fn take(
        &mut self,
        now: Now,
        event: Event,
        shard: &mut Shard<P::Disk>,
        logger: &slog::Logger,
    ) -> Result<(), ServerError> {
        let at = bus_now(now);
        match event {
            Event::BusAccepted { link, peer, local } => {
                let (peer, local) = (peer.ip().to_canonical(), local.ip().to_canonical());
                self.core.bus_mut().accepted(at, link, peer, local);
            }
            Event::BusConnected { link, local } => {
                let local = local.ip().to_canonical();
                self.core.bus_mut().connected(at, link, local);
            }
            Event::BusClosed { link } => self.core.bus_mut().closed(at, link),
            Event::BusPacket { link, bytes } => self.core.bus_mut().received(at, link, &bytes),
            Event::Raft {
                from,
                proved,
                bytes,
            } => {
                if let Err(error) = self.core.frame(now, from, proved, &bytes, shard)? {
                    if self.may_complain(now, from, kind_of(&error)) {
                        slog::warn!(logger, "A frame of node {} can't be read: {}", from, error);
                    }
                }
            }
            Event::RaftUp { node } => {
                self.cut_off.remove(&node);
                self.core.probed(now.mono, node, Some(false));
                slog::debug!(logger, "Raft link to {} is up", node);
            }
            Event::RaftDown { node } => {
                self.cut_off.insert(node);
                slog::debug!(logger, "Raft link to {} is down", node);
            }
            Event::Probed { node, answer } => {
                let refused = match answer {
                    Probed::Known => Some(false),
                    Probed::Refused => Some(true),
                    Probed::Unknown => None,
                };
                self.core.probed(now.mono, node, refused);
            }
            event @ (Event::OutgoingUp { .. }
            | Event::OutgoingBytes { .. }
            | Event::OutgoingClosed { .. }) => {
                if let Ok((link, event)) = outgoing::event_of(event) {
                    self.core.outgoing(now.mono, link, event);
                }
            }
            Event::Failed(what) => slog::warn!(logger, "Cluster links: {}", what),
        }
        Ok(())
    }

    /// Whether one more line may be said about a frame of this node: garbage must not fill the disk
    /// with the log.
    fn may_complain(&mut self, now: Now, from: NodeId, kind: String) -> bool {
        let (since, lines) = &mut self.unread;
        if now.mono.since(*since) >= Duration::from_secs(1) {
            (*since, *lines) = (now.mono, 0);
        }
        let may =
            *lines < COMPLAINTS_A_SECOND && self.said.admits(now.mono.since(Mono(0)), from, kind);
        *lines += u32::from(may);
        may
    }

    /// T9: while a command runs only answers of the own term are taken, while a large unit is applied
    /// only the own leader's heartbeats; all else waits, a bounded part of it.
    pub fn breathe(&mut self, group: &mut Group) {
        while self.backlog_bytes < BACKLOG {
            let Some(event) = self.io.next_event() else {
                break;
            };
            let taken = match &event {
                Event::Raft {
                    bytes,
                    proved: true,
                    ..
                } => match Frame::decode(bytes) {
                    Ok(Frame::Raft(e)) if takes_meanwhile(group, &e) => Some(e),
                    _ => None,
                },
                _ => None,
            };
            match taken {
                // E1: the clock is read after the message was taken off the queue.
                Some(envelope) => group.step_meanwhile(self.clock.now(), *envelope),
                None => {
                    self.backlog_bytes += event.weight();
                    self.backlog.push_back(event);
                }
            }
        }
        let now = self.clock.now();
        self.breathed = now.mono;
        group.breathe(now);
        self.core.send(group.take_messages());
        for output in self.core.take_outputs() {
            match output {
                ClusterOutput::Frame {
                    to,
                    urgent,
                    back,
                    bytes,
                } => self.frame(to, urgent, back, bytes),
                other => self.core.put_back(other),
            }
        }
    }

    /// T9: a breath while entries are applied, if the last one is long ago. Whether it was.
    pub(crate) fn breathe_applying(&mut self, group: &mut Group) -> bool {
        let is_due = self.clock.now().mono.since(self.breathed) >= BREATH;
        if is_due {
            self.breathe(group);
        }
        is_due
    }

    fn frame(&mut self, to: NodeId, urgent: bool, back: bool, bytes: Vec<u8>) {
        self.io.order(Command::frame(to, urgent, back, bytes));
    }

    /// For the Raft links that begin from now on.
    pub(crate) fn set_passwords(&mut self, passwords: Passwords) {
        self.io.order(Command::Passwords(passwords));
    }

    /// Whether bus actions have to wait: for a vote to be on disk, or a node that was met.
    fn awaits_conf(&self, now: Mono) -> bool {
        !self.conf.may_tell(self.spoken(), now)
    }

    /// What nodes.conf would hold now that no packet may tell before.
    pub(super) fn spoken(&self) -> Spoken {
        let bus = self.core.bus();
        Spoken {
            vote: bus.last_vote_epoch(),
            met: bus.meetings(),
        }
    }

    fn bus_action(&mut self, action: Action, logger: &slog::Logger) {
        match action {
            Action::Connect { link, ip, port } => self.io.order(Command::BusConnect {
                link,
                addr: SocketAddr::new(ip, port),
            }),
            Action::Send { link, bytes } => self.io.order(Command::BusSend { link, bytes }),
            Action::Close { link } => self.io.order(Command::BusClose { link }),
            Action::Log(Level::Debug | Level::Verbose, text) => slog::debug!(logger, "{}", text),
            Action::Log(Level::Notice, text) => slog::info!(logger, "{}", text),
            Action::Log(Level::Warning, text) => slog::warn!(logger, "{}", text),
            Action::Save(text) => {
                let now = self.clock.now().mono;
                self.conf.put(text, self.spoken(), now);
            }
            // The node's, or the cluster core's.
            Action::Publish { .. }
            | Action::SlotsClaimed { .. }
            | Action::EpochCollision { .. }
            | Action::EpochSeen(_) => {}
        }
    }
}

fn probe(node: NodeId, addr: (IpAddr, u16)) -> Command {
    let addr = addr.into();
    Command::Probe { node, addr }
}

/// For the log: what a lost quorum means, and which voters are silent.
fn no_quorum(silent: &[Member]) -> String {
    let name = |member: &Member| {
        let kind = match member.kind {
            MemberKind::Data => "node",
            MemberKind::Witness => "the witness on node",
        };
        format!("{kind} {} (member {:016x})", member.node, member.raft_id)
    };
    let silent: Vec<String> = silent.iter().map(name).collect();
    let silent = match silent.is_empty() {
        true => "every voter answers, and none is elected".to_owned(),
        false => format!("not heard: {}", silent.join(", ")),
    };
    format!("This shard has NO QUORUM and serves nothing: {silent}")
}

fn takes_meanwhile(group: &Group, envelope: &Envelope) -> bool {
    envelope.to == group.id() && group.takes_meanwhile(envelope)
}

impl<P: Platform> Server<P> {
    /// After the shard's timers and Readies: the cluster core follows, its outputs are carried out.
    pub(crate) fn follow_cluster(&mut self, now: Now) {
        let Some(cluster) = &mut self.state.cluster else {
            return;
        };
        cluster.core.follow(now, &mut self.shard);
        if cluster.told_no_quorum == self.shard.has_quorum() {
            cluster.told_no_quorum = !cluster.told_no_quorum;
            match cluster.told_no_quorum {
                true => slog::warn!(self.logger, "{}", no_quorum(&self.shard.silent_voters())),
                false => slog::warn!(self.logger, "This shard has a quorum again"),
            }
        }
        cluster.tell_master(&self.shard, &self.logger);
        let group = self.shard.group();
        let led = (group.term(), group.leader());
        if cluster.led != led {
            cluster.led = led;
            let role = if group.is_leader() {
                "leads"
            } else {
                "follows"
            };
            let whom = group.leader().map(|id| format!("{id:016x}"));
            slog::info!(
                self.logger,
                "This node {} in term {}; leader: {}",
                role,
                led.0,
                whom.as_deref().unwrap_or("none")
            );
        }
    }

    /// Whether clients' commands on data can be executed; a new leader first writes its epoch (S2).
    pub(crate) fn admission(&mut self) -> Admission {
        let admission = self.shard.admission();
        let Some(cluster) = &mut self.state.cluster else {
            self.hear_outside(admission);
            return admission;
        };
        let Admission::Lead { writable } = admission else {
            return admission;
        };
        if cluster.core.is_joining() || cluster.core.is_beginning() {
            // C1: what a node took now would go with the group that it leaves.
            return Admission::Redirect {
                leader: self.shard.group().id(),
                own_copy: self.shard.tail_len() == 0,
            };
        }
        let writes = writable && self.ending.is_none();
        if writes && cluster.core.has_record_to_write(self.shard.data()) {
            let told = cluster.core.write_record(self.shard.data_mut());
            if let Some(warning) = told {
                slog::warn!(self.logger, "{}", warning);
            }
        }
        let unannounced = cluster.core.must_announce(&self.shard);
        if unannounced {
            return Admission::Hold;
        }
        cluster
            .core
            .migrate(self.turn_started, writes, &mut self.shard);
        for warning in cluster.core.take_warnings() {
            slog::warn!(self.logger, "{}", warning);
        }
        for finished in cluster.core.take_finished() {
            self.state.end_move(&finished);
        }
        admission
    }

    /// M30: what the turn's commands have made sayable leaves in the same turn.
    pub(crate) fn speak(&mut self) {
        if let Some(cluster) = &mut self.state.cluster {
            cluster.core.speak(self.turn_started, &mut self.shard);
        }
    }

    /// Carries out what the cluster core asks for, in order; whether another shard has taken the place of the
    /// present one.
    pub(crate) fn execute_outputs(&mut self, now: Now) -> Result<bool, ServerError> {
        let Some(mut cluster) = self.state.cluster.take() else {
            return Ok(false);
        };
        if let Some(error) = cluster.identity_lost.take() {
            return Err(error);
        }
        let mut replaced = false;
        match cluster.put_off.take_if(|(at, _)| now.mono >= *at) {
            None => {}
            Some((_, PutOff::Identity(identity))) => {
                self.write_identity(now, &mut cluster, identity)?
            }
            Some((_, PutOff::Member(base, identity))) => {
                replaced |= self.begin_member(now, &mut cluster, base, identity)?;
            }
        }
        let outputs = cluster.core.take_outputs();
        let mut deliver = Vec::new();
        for output in outputs {
            match output {
                ClusterOutput::Bus(Action::Publish {
                    sharded,
                    channel,
                    message,
                }) => deliver.push((sharded, channel, message)),
                ClusterOutput::Bus(action @ Action::Save(_)) => {
                    cluster.bus_action(action, &self.logger)
                }
                ClusterOutput::Bus(action) => cluster.held.push_back(action),
                ClusterOutput::Frame {
                    to,
                    urgent,
                    back,
                    bytes,
                } => cluster.frame(to, urgent, back, bytes),
                ClusterOutput::Peer { node, addr } => {
                    let addr = addr.map(SocketAddr::from);
                    cluster.io.order(Command::Peer { node, addr });
                }
                ClusterOutput::Probe { node, addr } => cluster.io.order(probe(node, addr)),
                ClusterOutput::Outgoing(order) => cluster.io.order(outgoing::command_of(order)),
                ClusterOutput::Myself(node) => cluster.io.order(Command::Myself(node)),
                ClusterOutput::Identity(identity) => {
                    self.write_identity(now, &mut cluster, identity)?
                }
                ClusterOutput::Begin { base, identity } => {
                    replaced |= self.begin_member(now, &mut cluster, base, identity)?;
                }
                ClusterOutput::Witness(order) => cluster.io.tell_witnesses(order),
            }
        }
        if let Some((text, vote)) = cluster.conf.start() {
            let job = cluster.io.conf_job(text, vote);
            self.state.platform.submit(job);
        }
        while !cluster.awaits_conf(now.mono) {
            let Some(action) = cluster.held.pop_front() else {
                break;
            };
            cluster.bus_action(action, &self.logger);
        }
        self.state.cluster = Some(cluster);
        for (sharded, channel, message) in deliver {
            self.deliver_from_bus(sharded, &channel, &message);
        }
        Ok(replaced)
    }

    /// What the shard's group has to say to other members, and to nodes that are none.
    pub(crate) fn send(&mut self, messages: Vec<Envelope>, strangers: Vec<RaftId>) {
        match &mut self.state.cluster {
            Some(cluster) => {
                cluster.core.send(messages);
                cluster.core.tell_strangers(strangers, &self.shard);
            }
            None => assert!(
                messages.is_empty(),
                "a group of one member writes to nobody"
            ),
        }
    }

    /// Once a second: a text that did not reach a full disk is tried again.
    pub(crate) fn retry_conf(&mut self, now: Now) {
        if let Some(cluster) = &mut self.state.cluster {
            if cluster.conf.has_failed() {
                cluster.core.bus_mut().save_config(bus_now(now));
            }
        }
    }

    /// A message of a client here for the clients of other nodes.
    pub(crate) fn publish_to_nodes(&mut self, sharded: bool, channel: Vec<u8>, message: Vec<u8>) {
        let now = self.state.clock.now();
        if let Some(cluster) = &mut self.state.cluster {
            cluster
                .core
                .bus_mut()
                .publish(bus_now(now), sharded, channel, message);
        }
    }
}
