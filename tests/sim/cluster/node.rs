//! One process: agent, shard, witness host and clients, driven in the order that `src/node` has.
//!
//! Owns: what a running node keeps in memory. Never does: pass time or touch the network by itself;
//! what a turn wants comes out as [`TurnResult`].

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use cluster_bus::bus::{self, Action, IpAddr, LinkId};
use cluster_bus::NodeId;
use holdfast::agent::seat::{self, Seat};
use holdfast::agent::witnesses::{Shelf, Witnesses};
use holdfast::agent::{Act, Agent, ForWitnesses};
use holdfast::clock::{Clock, Mono, Now};
use holdfast::command::Stats;
use holdfast::config::Config;
use holdfast::net::Gate;
use holdfast::shard::{Admission, Shard};
use holdfast::storage::{base, Base, Disk, Done, Job, LogConfig};

use super::ops::Op;
use super::start::{make_member, open_member};
use crate::clock::TurnClock;
use crate::conn::ServerConn;
use crate::disk::SimDisk;
use crate::net::Conn;
use crate::rng::Rng;

pub const CONF: &str = "nodes.conf";

/// What a node is made with.
#[derive(Clone, Debug)]
pub struct Setup {
    pub index: usize,
    pub t_ms: u64,
    pub node_timeout_ms: u64,
    pub log: LogConfig,
    pub full_coverage: bool,
    pub witness: bool,
}

/// Folders of witnesses on the simulated disk.
pub struct SimShelf(pub SimDisk);

impl Shelf for SimShelf {
    type D = SimDisk;

    fn folders(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }

    fn folder(&self, name: &str) -> io::Result<SimDisk> {
        self.0.make_folder(name)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        // As the real shelf: without its base a folder is nobody's.
        let folder = self.0.make_folder(name)?;
        if folder.list()?.iter().any(|file| file == base::FILE) {
            folder.remove(base::FILE)?;
            folder.sync_dir()?;
        }
        self.0.remove_folder(name)
    }
}

/// What has come since the last turn, in order.
pub enum Input {
    BusAccepted {
        link: LinkId,
        peer: IpAddr,
    },
    BusConnected {
        link: LinkId,
    },
    BusClosed {
        link: LinkId,
    },
    BusPacket {
        link: LinkId,
        bytes: Arc<[u8]>,
    },
    Frame {
        from: NodeId,
        machine: usize,
        proved: bool,
        bytes: Vec<u8>,
    },
    Done {
        of: u64,
        done: Done<SimDisk>,
    },
    ConfSaved {
        vote: u64,
    },
    ConfFailed,
    Open {
        conn: Conn,
        client: usize,
    },
    Bytes {
        conn: Conn,
        bytes: Vec<u8>,
    },
    Close {
        conn: Conn,
    },
    Op(Op),
}

/// A frame to send: (machine, the node that is meant, the sender's name, an answer on the connection
/// that the other has made, the bytes).
pub type Sending = (usize, NodeId, NodeId, bool, Vec<u8>);

/// What a turn wants to happen.
#[derive(Default)]
pub struct TurnResult {
    pub bus: Vec<Action>,
    pub frames: Vec<Sending>,
    /// Jobs of the shard that was the n-th of this process.
    pub jobs: Vec<(u64, Job<SimDisk>)>,
    pub conf: Option<(String, u64)>,
    pub replies: Vec<(Conn, usize, Vec<u8>)>,
    pub closed: Vec<(Conn, usize)>,
    pub for_witnesses: bool,
    pub wake: Mono,
}

pub fn ip_of(machine: usize) -> IpAddr {
    IpAddr::from([10, 0, 0, machine as u8 + 1])
}

pub struct Node {
    pub shard: Shard<SimDisk>,
    pub agent: Agent,
    pub witnesses: Witnesses<SimShelf>,
    pub orders: Vec<ForWitnesses>,
    pub hosted: usize,
    pub setup: Setup,
    /// Counts the shards of this process.
    pub shard_no: u64,
    pub(super) conns: BTreeMap<Conn, ServerConn>,
    pub(super) config: Config,
    pub(super) stats: Stats,
    pub(super) ops: Vec<Op>,
    pub(super) released: Gate,
    pub(super) disk: SimDisk,
    pub(super) rng: Rng,
    /// The name that this node's links give in their handshakes.
    pub(super) name: NodeId,
    pub(super) peers: BTreeMap<NodeId, (IpAddr, u16)>,
    /// Where the nodes are that have called.
    pub(super) callers: BTreeMap<NodeId, usize>,
    pub(super) conf_next: Option<(String, u64)>,
    pub(super) conf_writing: bool,
    pub(super) saved_vote: u64,
    pub(super) held: VecDeque<Action>,
    /// What happened, for the world to check: slots served, witnesses founded.
    pub(super) served: Vec<(u16, bool)>,
    /// Violations that the turn itself has seen.
    pub seen: Vec<String>,
    pub done_ops: Vec<String>,
}

pub fn bus_now(now: Now) -> bus::Now {
    bus::Now {
        mono_ms: now.mono.0 / 1_000_000,
        unix_ms: now.unix_ms,
    }
}

impl Node {
    // ---- a turn -------------------------------------------------------------------------------

    /// A whole turn (T1). An error ends the process.
    pub fn turn(&mut self, clock: &TurnClock<'_>, inbox: Vec<Input>) -> Result<TurnResult, String> {
        let mut result = TurnResult::default();
        let now = clock.now();
        // (1)
        for input in inbox {
            self.take(now, input, &mut result)?;
        }
        self.agent.set_hosted_witnesses(self.hosted);
        self.agent.tick(now);
        self.shard.begin(now).map_err(|e| e.to_string())?;
        self.agent.follow(now, &mut self.shard);
        self.look_at_shown();
        self.act(now, &mut result)?;
        self.release(&mut result);
        // (2)
        let admission = self.admission();
        self.carry_out_ops(now, admission);
        self.execute_clients(clock, now, admission, &mut result);
        if matches!(admission, Admission::Lead { writable: true }) {
            self.shard.data_mut().expire_due(now.unix_ms, 20);
        }
        // (3)
        let ended = self.shard.finish(clock).map_err(|e| e.to_string())?;
        // (4)
        self.release(&mut result);
        self.act(now, &mut result)?;
        self.flush(&mut result);
        result.wake = self.patience(ended);
        Ok(result)
    }

    /// S2: what the bus shows of this node is the record as of what is applied.
    fn look_at_shown(&mut self) {
        let shown = self.agent.bus().self_state();
        let record = self.shard.record();
        if self.agent.is_joining() {
            if !shown.slots.is_empty() {
                self.seen.push("C1: a joining node shows slots".to_string());
            }
            return;
        }
        let role = match record.master {
            master if master == self.agent.myself() => bus::Role::Master,
            master => bus::Role::Slave(master),
        };
        let same = shown.role == role
            && shown.slots == record.slots
            && shown.config_epoch == record.epoch
            && shown.shard == record.shard;
        if !same {
            self.seen.push(format!(
                "S2: the bus shows {:?} epoch {} with {} slots; the applied record has {:?} epoch {} with {}",
                shown.role,
                shown.config_epoch,
                shown.slots.len(),
                role,
                record.epoch,
                record.slots.len()
            ));
        }
    }

    fn patience(&self, ended: Now) -> Mono {
        let mut next = self.shard.deadline().min(self.agent.deadline());
        let waits = self.conns.values().any(ServerConn::is_held) || !self.ops.is_empty();
        if waits {
            let limit = Duration::from_millis(self.setup.t_ms) * 3 / 20;
            next = next.min(ended.mono + limit.min(Duration::from_millis(20)));
        }
        next
    }

    fn take(&mut self, now: Now, input: Input, result: &mut TurnResult) -> Result<(), String> {
        let at = bus_now(now);
        let local = ip_of(self.setup.index);
        match input {
            Input::BusAccepted { link, peer } => {
                self.agent.bus_mut().accepted(at, link, peer, local);
            }
            Input::BusConnected { link } => self.agent.bus_mut().connected(at, link, local),
            Input::BusClosed { link } => self.agent.bus_mut().closed(at, link),
            Input::BusPacket { link, bytes } => self.agent.bus_mut().received(at, link, &bytes),
            Input::Frame {
                from,
                machine,
                proved,
                bytes,
            } => {
                if !proved {
                    self.callers.insert(from, machine);
                }
                let taken = self.agent.frame(now, from, proved, &bytes, &mut self.shard);
                let read = taken.map_err(|e| e.to_string())?;
                read.map_err(|e| format!("a frame of a node can't be read: {e}"))?;
            }
            Input::Done { of, done } if of == self.shard_no => {
                let taken = self.shard.job_done(now, done);
                taken.map_err(|e| e.to_string())?;
            }
            Input::Done { .. } => {}
            Input::ConfSaved { vote } => {
                self.conf_writing = false;
                self.saved_vote = self.saved_vote.max(vote);
            }
            Input::ConfFailed => {
                self.conf_writing = false;
                self.agent.bus_mut().save_config(at);
            }
            Input::Open { conn, client } => self.open_client(now, conn, client),
            Input::Bytes { conn, bytes } => {
                if let Some(c) = self.conns.get_mut(&conn) {
                    c.receive(&bytes);
                }
            }
            Input::Close { conn } => self.close_client(conn, result),
            Input::Op(op) => self.ops.push(op),
        }
        Ok(())
    }

    /// S2: a new leader first writes its epoch.
    fn admission(&mut self) -> Admission {
        let admission = self.shard.admission();
        let Admission::Lead { writable } = admission else {
            return admission;
        };
        if writable && self.agent.has_record_to_write(self.shard.data()) {
            if let Some(warning) = self.agent.write_record(self.shard.data_mut()) {
                self.seen.push(format!("S3: slots were lost: {warning}"));
            }
        }
        if self.agent.must_announce(&self.shard) && !self.agent.is_joining() {
            return Admission::Hold;
        }
        admission
    }

    /// Carries out what the agent asks for, in order.
    fn act(&mut self, now: Now, result: &mut TurnResult) -> Result<(), String> {
        for act in self.agent.take_acts() {
            match act {
                Act::Bus(Action::Save(text)) => {
                    self.conf_next = Some((text, self.agent.bus().last_vote_epoch()));
                }
                Act::Bus(action) => self.held.push_back(action),
                Act::Frame {
                    to, back, bytes, ..
                } => {
                    if let Some(machine) = self.machine_at(to, back) {
                        result.frames.push((machine, to, self.name, back, bytes));
                    }
                }
                Act::Peer { node, addr } => {
                    match addr {
                        Some(addr) => self.peers.insert(node, addr),
                        None => self.peers.remove(&node),
                    };
                }
                Act::Myself(node) => self.name = node,
                Act::Seat(seat) => seat.save(&self.disk).map_err(|e| e.to_string())?,
                Act::Begin { base, seat } => self.replace_shard(now, &base, &seat)?,
                Act::Witness(order) => self.orders.push(order),
            }
        }
        result.for_witnesses |= !self.orders.is_empty();
        if !self.conf_writing && self.conf_next.is_some() {
            self.conf_writing = true;
            result.conf = self.conf_next.take();
        }
        while self.saved_vote >= self.agent.bus().last_vote_epoch() {
            let Some(action) = self.held.pop_front() else {
                break;
            };
            result.bus.push(action);
        }
        Ok(())
    }

    pub fn machine_of(&self, node: NodeId) -> Option<usize> {
        if node == self.name {
            return Some(self.setup.index);
        }
        let (_, cport) = self.peers.get(&node)?;
        usize::from(*cport).checked_sub(17_000)
    }

    /// An answer goes where the call came from.
    fn machine_at(&self, node: NodeId, back: bool) -> Option<usize> {
        match back && node != self.name {
            true => self.callers.get(&node).copied(),
            false => self.machine_of(node),
        }
    }

    pub fn name(&self) -> NodeId {
        self.name
    }

    fn replace_shard(&mut self, now: Now, base: &Base, seat: &Seat) -> Result<(), String> {
        make_member(&self.disk, &self.setup.log, base)?;
        seat.save(&self.disk).map_err(|e| e.to_string())?;
        let opened = open_member(
            &self.disk,
            base.raft_id,
            &self.setup,
            false,
            now,
            &mut self.rng,
        );
        let mut shard = opened.map_err(|e| e.to_string())?;
        let last = self.shard.last_gate();
        self.forget_gates(last);
        shard.succeed(&mut self.shard);
        let old = std::mem::replace(&mut self.shard, shard);
        self.released = last;
        self.shard_no += 1;
        let name = seat::folder(old.base().raft_id);
        drop(old);
        self.disk.remove_folder(&name).map_err(|e| e.to_string())?;
        self.agent.begun(&self.shard);
        Ok(())
    }

    // ---- the thread of the witnesses -----------------------------------------------------------

    /// A turn of the witness host: frames to send, and when it wants the next turn.
    pub fn witness_turn(&mut self, now: Now) -> (Vec<Sending>, Option<Mono>) {
        for order in std::mem::take(&mut self.orders) {
            self.witnesses.take(now, order);
        }
        self.witnesses.turn(now);
        self.hosted = self.witnesses.len();
        let mut frames = Vec::new();
        for frame in self.witnesses.take_outgoing() {
            if let Some(machine) = self.machine_at(frame.to, frame.back) {
                frames.push((machine, frame.to, self.name, frame.back, frame.bytes));
            }
        }
        (frames, self.witnesses.deadline())
    }
}
