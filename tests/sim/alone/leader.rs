//! A leader that hears of another one. T1: that comes before the clients of its turn. T7, C4: with
//! its reign end the watches. Chance shows little of either: it took more than a thousand seeds to
//! meet the first, and what the next leader writes marks watched keys as well.

use cluster_bus::NodeId;
use holdfast::agent::control::{encode_envelope, Frame};
use holdfast::agent::seat::{self, Seat};
use holdfast::cluster::Record;
use holdfast::links::{News, Order};
use holdfast::raft::Envelope;
use holdfast::server::{ClusterSetup, Progress, Server, Setup, Tuning};
use holdfast::storage::base::{Member, MemberKind};
use holdfast::storage::{Base, Folders, Log};
use raft::eraftpb::{Message, MessageType};
use std::cell::RefCell;
use std::rc::Rc;

use super::{base, envelope, log_config, quiet, T_MS};
use crate::clock::{MemberClock, True, MS};
use crate::disk::SimDisk;
use crate::machine::{guarded, install_panic_hook, Ended};
use crate::platform::{Kernel, SimClock, SimCluster, SimFolders, SimPlatform, Wires};
use crate::rng::Rng;

/// The client's connection.
const CONN: u64 = 1;

/// A node whose member, 5, leads; the two others answer yes to everything, at once.
struct Reigning {
    server: Server<SimPlatform>,
    clock: SimClock,
    kernel: Rc<RefCell<Kernel>>,
    wires: Rc<RefCell<Wires>>,
    now: True,
}

fn node(raft_id: u64) -> NodeId {
    NodeId([raft_id as u8; 20])
}

/// What a willing follower answers.
fn answer(asked: &Envelope) -> Option<News> {
    let of = &asked.message;
    let (kind, index) = match of.get_msg_type() {
        MessageType::MsgRequestPreVote => (MessageType::MsgRequestPreVoteResponse, 0),
        MessageType::MsgRequestVote => (MessageType::MsgRequestVoteResponse, 0),
        MessageType::MsgHeartbeat => (MessageType::MsgHeartbeatResponse, 0),
        MessageType::MsgAppend => (
            MessageType::MsgAppendResponse,
            of.index + of.entries.len() as u64,
        ),
        _ => return None,
    };
    let message = Message {
        msg_type: kind,
        from: asked.to,
        to: asked.from,
        term: of.term,
        index,
        ..Message::default()
    };
    Some(received(&Envelope {
        reign: asked.reign,
        sent_ns: asked.sent_ns,
        ..envelope(1, message)
    }))
}

fn received(envelope: &Envelope) -> News {
    News::Raft {
        from: node(envelope.from),
        bytes: encode_envelope(envelope),
    }
}

/// A disk with the member 5, which is its shard's master and has all slots.
fn disk() -> SimDisk {
    let record = Record {
        slots: (0..cluster_bus::slot::SLOT_COUNT).collect(),
        epoch: 1,
        ..Record::founded(NodeId([9; 20]), node(5))
    };
    let member = |raft_id| Member {
        raft_id,
        node: node(raft_id),
        kind: MemberKind::Data,
    };
    let base = Base {
        members: [1, 5, 6].map(member).to_vec(),
        record: record.encode(),
        ..base()
    };
    let folders = SimFolders(SimDisk::new(1 << 30));
    let folder = folders.folder(&seat::folder(5)).expect("an empty disk");
    Log::create(folder, log_config(), &base).expect("an empty disk");
    let seat = Seat {
        member: 5,
        joining: None,
    };
    seat.save(&folders.own()).expect("an empty disk");
    folders.own()
}

fn conf() -> Vec<u8> {
    let (me, one, six) = (node(5), node(1), node(6));
    let text = format!(
        "{me} 127.0.0.1:7005@17005 myself,master - 0 0 1 connected 0-16383\n\
         {one} 127.0.0.1:7001@17001 slave {me} 0 0 1 connected\n\
         {six} 127.0.0.1:7006@17006 slave {me} 0 0 1 connected\n\
         vars currentEpoch 1 lastVoteEpoch 0\n"
    );
    text.into_bytes()
}

impl Reigning {
    fn new() -> Reigning {
        let mut rng = Rng::new(1);
        let member = Rc::new(RefCell::new(MemberClock::new(&mut rng, false)));
        let disk = disk();
        let clock = SimClock::new(member, disk.clone(), 0, rng.fork());
        let (kernel, wires): (Rc<RefCell<Kernel>>, Rc<RefCell<Wires>>) = Default::default();
        let mut config = holdfast::config::Config::default();
        config.cluster_enabled = true;
        config.cluster_raft_election_timeout = T_MS;
        config.log_segment_size = log_config().segment_size;
        let server = Server::start(Setup {
            config,
            platform: SimPlatform {
                kernel: Rc::clone(&kernel),
                clock: clock.clone(),
            },
            clock: clock.clone(),
            folders: SimFolders(disk.clone()),
            cluster: Some(ClusterSetup {
                io: SimCluster::new(Rc::clone(&wires), disk),
                conf: conf(),
            }),
            seed: 7,
            memory_bytes: 1 << 30,
            about: Default::default(),
            tuning: Tuning::default(),
            logger: quiet(),
        });
        let mut reigning = Reigning {
            server: server.expect("a sound disk"),
            clock,
            kernel,
            wires,
            now: 0,
        };
        reigning.kernel.borrow_mut().open(CONN, 0);
        reigning.wins();
        reigning
    }

    fn leads(&self) -> bool {
        self.server.shard().group().own_term_applied()
    }

    /// Turns until it leads.
    fn wins(&mut self) {
        for _ in 0..4 * T_MS {
            if self.leads() {
                return;
            }
            self.turn("");
        }
        panic!("it was not elected");
    }

    /// Another member leads a later term: that is heard at the beginning of the next turn.
    fn is_deposed(&mut self) {
        let heartbeat = Message {
            msg_type: MessageType::MsgHeartbeat,
            from: 6,
            to: 5,
            term: self.server.shard().group().term() + 1,
            ..Message::default()
        };
        let news = received(&envelope(1, heartbeat));
        self.wires.borrow_mut().news.push_back(news);
    }

    /// A millisecond later: a turn in which the client has sent `commands`; what it is answered.
    fn turn(&mut self, commands: &str) -> String {
        self.now += MS;
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
        while let Progress::More(_) = self.server.step().expect("a sound node") {}
        let mut kernel = self.kernel.borrow_mut();
        for (_, job) in std::mem::take(&mut kernel.jobs) {
            kernel.done.extend(job.run());
        }
        let mut wires = self.wires.borrow_mut();
        for order in std::mem::take(&mut wires.orders) {
            let Order::Raft { bytes, .. } = order else {
                continue;
            };
            if let Ok(Frame::Raft(asked)) = Frame::decode(&bytes) {
                wires.news.extend(answer(&asked));
            }
        }
        let (written, _) = kernel.take_output();
        let replies = written.into_iter().flat_map(|(_, _, bytes)| bytes);
        String::from_utf8(replies.collect()).expect("short replies are text")
    }

    /// What the client is answered to `commands` in the end.
    fn answers(&mut self, commands: &str) -> String {
        let mut replies = self.turn(commands);
        for _ in 0..5 {
            replies += &self.turn("");
        }
        replies
    }
}

pub fn a_watch_ends_with_the_reign() -> bool {
    let mut reigning = Reigning::new();
    let transaction = "MULTI\r\nGET k\r\nEXEC\r\n";
    assert_eq!(reigning.answers("WATCH k\r\n"), "+OK\r\n");
    let unchanged = reigning.answers(transaction);
    assert_eq!(unchanged, "+OK\r\n+QUEUED\r\n*1\r\n$-1\r\n");
    assert_eq!(reigning.answers("WATCH k\r\n"), "+OK\r\n");
    reigning.is_deposed();
    reigning.turn("");
    assert!(!reigning.leads(), "it is deposed");
    reigning.wins();
    reigning.answers(transaction) == "+OK\r\n+QUEUED\r\n*-1\r\n"
}

/// In one turn a client writes and another leader is heard of: nothing is executed that could not be
/// proposed.
pub fn what_is_executed_is_proposed_first() -> bool {
    let mut reigning = Reigning::new();
    assert_eq!(reigning.answers("SET k v\r\n"), "+OK\r\n");
    reigning.is_deposed();
    install_panic_hook();
    let end = guarded(|| Ok::<_, String>(reigning.turn("SET k w\r\n")));
    matches!(end, Ended::Fine(_)) && !reigning.leads()
}

#[test]
fn a_message_of_another_leader_comes_before_the_clients() {
    assert!(what_is_executed_is_proposed_first());
}

#[test]
fn a_leader_that_steps_down_fails_all_watches() {
    assert!(a_watch_ends_with_the_reign());
}
