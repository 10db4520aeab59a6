//! A server by itself, on a simulated disk: its clock goes on by a millisecond with every turn, its
//! jobs are done at once, and the other members of its shard answer as the scene wants.

use ::base::ids::RaftId;
use ::topology::Record;
use cluster::control::{encode_envelope, Frame};
use cluster::identity::{self, NodeIdentity};
use cluster::Cluster;
use cluster_bus::{NodeId, ShardId, SlotSet};
use raft::eraftpb::ConfState;
use raft_group::Envelope;
use server::{ClusterSetup, Pause, Phase, Progress, Server, Setup, Tuning};
use shard::Shard;
use std::cell::RefCell;
use std::rc::Rc;
use storage::base::{Member, MemberKind};
use storage::{Folders, Log, SnapshotMeta};
use transport::{Command, Event as LinkEvent};

use super::{base, log_config, quiet, T_MS};
use crate::clock::{MemberClock, True, MS};
use crate::disk::SimDisk;
use crate::platform::{Kernel, SimClock, SimCluster, SimFolders, SimPlatform, Wires};
use crate::rng::Rng;

/// The client's connection.
const CONN: u64 = 1;
/// The member under test, and its node.
pub const ME: u64 = 5;

pub fn node(raft_id: u64) -> NodeId {
    NodeId([raft_id as u8; 20])
}

pub fn received(envelope: &Envelope) -> LinkEvent {
    LinkEvent::Raft {
        from: node(envelope.from.0),
        proved: true,
        bytes: encode_envelope(envelope),
    }
}

/// What the other members answer to a message.
pub type Answer = fn(&Envelope) -> Option<LinkEvent>;

pub fn silence(_: &Envelope) -> Option<LinkEvent> {
    None
}

pub struct Bed {
    server: Server<SimPlatform>,
    clock: SimClock,
    kernel: Rc<RefCell<Kernel>>,
    wires: Rc<RefCell<Wires>>,
    member: Rc<RefCell<MemberClock>>,
    now: True,
    answer: Answer,
    /// What it has said to the other members.
    pub said: Vec<Envelope>,
    /// What it knew at the end of its last turn of the next one.
    pub pause: Pause,
}

/// The record of a shard whose master is this node.
pub fn record(slots: SlotSet, epoch: u64) -> Record {
    Record {
        slots,
        epoch,
        ..Record::founded(ShardId([9; 20]), node(ME))
    }
}

/// What nodes.conf of the shard of 1, 5 and 6 says, whose master is this node.
pub fn conf() -> String {
    let (me, one, six) = (node(ME), node(1), node(6));
    format!(
        "{me} 127.0.0.1:7005@17005 myself,master - 0 0 1 connected 0-16383\n\
         {one} 127.0.0.1:7001@17001 slave {me} 0 0 1 connected\n\
         {six} 127.0.0.1:7006@17006 slave {me} 0 0 1 connected\n\
         vars currentEpoch 1 lastVoteEpoch 0\n"
    )
}

/// A disk with the member 5 of these voters.
pub fn disk(voters: &[u64], record: &Record) -> SimDisk {
    let member = |raft_id: &u64| Member {
        raft_id: RaftId(*raft_id),
        node: node(*raft_id),
        kind: MemberKind::Data,
    };
    let mut base = base();
    base.snapshot = SnapshotMeta {
        conf_state: ConfState::from((voters.to_vec(), vec![])),
        members: voters.iter().map(member).collect(),
        record: record.encode(),
        ..base.snapshot
    };
    let folders = SimFolders(SimDisk::new(1 << 30));
    let folder = folders
        .folder(&identity::folder(RaftId(ME)))
        .expect("an empty disk");
    Log::create(folder, log_config(), &base).expect("an empty disk");
    let identity = NodeIdentity {
        member: RaftId(ME),
        ..NodeIdentity::default()
    };
    identity.save(&folders.own()).expect("an empty disk");
    folders.own()
}

impl Bed {
    /// A node that starts on this disk, with this nodes.conf.
    pub fn start(disk: SimDisk, conf: &str, answer: Answer) -> Bed {
        Bed::begin(disk, Some(conf), answer)
    }

    /// A server in no cluster.
    pub fn in_no_cluster(disk: SimDisk) -> Bed {
        Bed::begin(disk, None, silence)
    }

    fn begin(disk: SimDisk, conf: Option<&str>, answer: Answer) -> Bed {
        let mut rng = Rng::new(1);
        let member = Rc::new(RefCell::new(MemberClock::new(&mut rng, false)));
        let clock = SimClock::new(Rc::clone(&member), disk.clone(), 0, rng.fork());
        let (kernel, wires): (Rc<RefCell<Kernel>>, Rc<RefCell<Wires>>) = Default::default();
        let mut config = ::config::Config::default();
        config.cluster_enabled = conf.is_some();
        config.cluster_raft_election_timeout = T_MS;
        config.log_segment_size = log_config().segment_size;
        let server = Server::start(Setup {
            config,
            platform: SimPlatform {
                kernel: Rc::clone(&kernel),
                clock: clock.clone(),
                disk: disk.clone(),
            },
            clock: clock.clone(),
            folders: SimFolders(disk.clone()),
            cluster: conf.map(|conf| ClusterSetup {
                io: SimCluster::new(Rc::clone(&wires), disk),
                conf: conf.as_bytes().to_vec(),
            }),
            seed: 7,
            memory_bytes: 1 << 30,
            about: Default::default(),
            tuning: Tuning::default(),
            logger: quiet(),
            raft_logger: quiet(),
        });
        kernel.borrow_mut().open(CONN, 0);
        Bed {
            server: server.expect("a sound disk"),
            clock,
            kernel,
            wires,
            member,
            now: 0,
            answer,
            said: Vec::new(),
            pause: Pause::default(),
        }
    }

    pub fn shard(&self) -> &Shard<SimDisk> {
        self.server.shard()
    }

    pub fn cluster(&self) -> &Cluster {
        self.server.cluster().expect("it is in a cluster")
    }

    pub fn leads(&self) -> bool {
        self.shard().group().own_term_applied()
    }

    /// Turns until it leads.
    pub fn wins(&mut self) {
        for _ in 0..4 * T_MS {
            if self.leads() {
                return;
            }
            self.turn("");
        }
        panic!("it was not elected");
    }

    /// One more client connects, under a number of its own.
    pub fn connects(&mut self, conn: u64) {
        assert!(conn != CONN, "it is there from the first");
        self.kernel.borrow_mut().open(conn, 0);
    }

    /// What another client has sent when the next turn begins.
    pub fn sends(&mut self, conn: u64, commands: &str) {
        let mut kernel = self.kernel.borrow_mut();
        kernel.receive(conn, commands.as_bytes(), false);
    }

    /// Another client hangs up.
    pub fn hangs_up(&mut self, conn: u64) {
        self.kernel.borrow_mut().receive(conn, b"", true);
    }

    /// What the next turn takes off the links.
    pub fn hears(&mut self, event: LinkEvent) {
        self.wires.borrow_mut().event.push_back(event);
    }

    /// What the server wants done with connections to other servers, where it is in no cluster.
    pub fn take_outgoing(&mut self) -> Vec<Command> {
        std::mem::take(&mut self.kernel.borrow_mut().outgoing_orders)
    }

    /// What has happened to such a connection.
    pub fn hears_outgoing(&mut self, event: LinkEvent) {
        self.kernel.borrow_mut().outgoing_events.push_back(event);
    }

    /// From now on the other members answer so.
    pub fn set_answer(&mut self, answer: Answer) {
        self.answer = answer;
    }

    /// Time goes by.
    pub fn pass(&mut self, ms: u64) {
        self.now += ms * MS;
    }

    /// A reading of the clock to come, after so many others, finds that so many ms have passed.
    pub fn stop_clock(&self, after: u32, ms: u64) {
        self.clock.stop(after, ms * MS);
    }

    /// The node's clock, in nanoseconds, as it is now.
    pub fn mono(&self) -> u64 {
        self.member.borrow().mono(self.now).0
    }

    /// A millisecond later: a turn in which the client has sent `commands`; what it is answered.
    pub fn turn(&mut self, commands: &str) -> String {
        self.turn_stopped(commands, None, |_| {})
    }

    /// The same, with a stop of so many ms behind a phase, at whose end something happens.
    pub fn turn_stopped(
        &mut self,
        commands: &str,
        stop: Option<(Phase, u64)>,
        meanwhile: impl FnOnce(&mut Bed),
    ) -> String {
        self.pass(1);
        self.clock.begin(self.now);
        let mut kernel = self.kernel.borrow_mut();
        if !commands.is_empty() {
            kernel.receive(CONN, commands.as_bytes(), false);
        }
        let notes = std::mem::take(&mut kernel.notes);
        drop(kernel);
        for (key, readiness) in notes {
            self.server.note(key, readiness);
        }
        let mut meanwhile = Some(meanwhile);
        loop {
            let phase = match self.server.step().expect("a sound node") {
                Progress::More(phase) => phase,
                Progress::Done(pause) => {
                    self.pause = pause;
                    break;
                }
                Progress::Ended => break,
            };
            let Some((_, ms)) = stop.filter(|(behind, _)| *behind == phase) else {
                continue;
            };
            self.pass(ms);
            self.clock.begin(self.now);
            if let Some(meanwhile) = meanwhile.take() {
                meanwhile(self);
            }
        }
        self.carry()
    }

    /// Does what the server wants; gives what the clients are answered.
    fn carry(&mut self) -> String {
        let mut kernel = self.kernel.borrow_mut();
        for (_, job) in std::mem::take(&mut kernel.jobs) {
            kernel.done.extend(job.run());
        }
        let mut wires = self.wires.borrow_mut();
        for order in std::mem::take(&mut wires.orders) {
            let Command::Raft { bytes, .. } = order else {
                continue;
            };
            if let Ok(Frame::Raft(asked)) = Frame::decode(&bytes) {
                wires.event.extend((self.answer)(&asked));
                self.said.push(*asked);
            }
        }
        let (written, _) = kernel.take_output();
        let replies = written.into_iter().flat_map(|(_, _, bytes)| bytes);
        String::from_utf8(replies.collect()).expect("short replies are text")
    }

    pub fn turns(&mut self, n: usize) {
        (0..n).for_each(|_| drop(self.turn("")));
    }

    /// What the client is answered to `commands` in the end.
    pub fn answers(&mut self, commands: &str) -> String {
        let mut replies = self.turn(commands);
        for _ in 0..5 {
            replies += &self.turn("");
        }
        replies
    }
}
