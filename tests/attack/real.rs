//! The real nodes of an attack, each with its shim, and the stage on which all stand.

use crate::common::resp::{Client, Value};
use crate::common::server::info_field;
use crate::harness::{check, wait_for, Turn, SOON};
use crate::node::Node;
use crate::played::Played;
use crate::shim::Shim;
use base::ids::{GroupId, Incarnation, RaftId};
use cluster_bus::bus::SelfState;
use cluster_bus::{NodeId, ShardId, SlotSet};
use raft::eraftpb::ConfState;
use std::path::PathBuf;
use std::time::Duration;
use storage::base::{Member, MemberKind};
use storage::{Base, MemberIdentity, SnapshotMeta};
use topology::Record;

/// A member as INFO raft lists it.
#[derive(Debug, PartialEq, Eq)]
pub struct Listed {
    pub raft_id: u64,
    pub voter: bool,
    pub data: bool,
}

pub struct Real {
    pub node: Node,
    pub shim: Shim,
    pub id: NodeId,
}

impl Real {
    pub fn bus_port(&self) -> u16 {
        self.node.port + 10_000
    }

    pub fn group(&self) -> u64 {
        self.hex("raft_group")
    }

    pub fn raft_id(&self) -> u64 {
        self.hex("raft_id")
    }

    fn hex(&self, field: &str) -> u64 {
        let text = self.node.info("raft", field).expect("the node answers");
        u64::from_str_radix(&text, 16).expect("hex")
    }

    pub fn number(&self, field: &str) -> u64 {
        let number = self.try_number(field);
        number.unwrap_or_else(|| panic!("no answer\n{}", self.last_lines()))
    }

    /// A number of INFO raft; none from a node that is down.
    pub fn try_number(&self, field: &str) -> Option<u64> {
        self.node.info("raft", field)?.parse().ok()
    }

    pub fn members(&self) -> Vec<Listed> {
        let text = self.node.cmd(&["INFO", "raft"]).text();
        let lines = text.lines().filter(|l| l.starts_with("raft_member"));
        let listed = |line: &str| {
            let (_, rest) = line.split_once(":id=")?;
            Some(Listed {
                raft_id: u64::from_str_radix(rest.get(..16)?, 16).ok()?,
                voter: rest.contains("voter=1"),
                data: rest.contains("kind=data"),
            })
        };
        lines.filter_map(listed).collect()
    }

    pub fn voters(&self) -> usize {
        self.members().iter().filter(|m| m.voter).count()
    }

    /// Waits until INFO raft says so.
    pub fn wait_info(&self, field: &str, value: &str) {
        wait_for(&format!("{field} is {value}"), SOON, || {
            let text = self.node.try_cmd(&["INFO", "raft"]);
            let text = text.map_err(|e| e.to_string())?.text();
            let is = info_field(&text, field);
            check(is.as_deref() == Some(value), || text.clone())
        });
    }

    /// The two nodes know each other.
    pub fn meet(&self, other: &Real) {
        let port = other.node.port.to_string();
        self.node.ok(&["CLUSTER", "MEET", "127.0.0.1", &port]);
        for (node, known) in [(self, other), (other, self)] {
            let id = known.id.to_string();
            wait_for("the nodes know each other", SOON, || {
                let view = node.node.try_view().map_err(|e| e.to_string())?;
                let knows = view.iter().any(|l| l.id == id && !l.has("handshake"));
                check(knows, || format!("{view:?}"))
            });
        }
    }

    /// It becomes a member of that node's shard, which has no other one.
    pub fn joins(&self, leader: &Real) {
        self.meet(leader);
        self.node
            .ok(&["CLUSTER", "REPLICATE", &leader.id.to_string()]);
        self.wait_info("raft_members", "2");
    }

    /// Takes these slots, and waits until the node serves.
    pub fn own(&self, first: u16, last: u16) {
        let (first, last) = (first.to_string(), last.to_string());
        self.node.ok(&["CLUSTER", "ADDSLOTSRANGE", &first, &last]);
    }

    pub fn wait_serving(&self) {
        wait_for("the node serves", SOON, || {
            let reply = self.node.try_cmd(&["EXISTS", "a"]);
            let reply = reply.map_err(|e| e.to_string())?;
            check(!reply.is_error(), || reply.text())
        });
    }

    /// Whether the process is there still; with its last lines when it is not.
    pub fn assert_lives(&mut self, after: &str) {
        let lives = self.node.is_running();
        assert!(lives, "{after}: the process ended\n{}", self.last_lines());
    }

    pub fn last_lines(&self) -> String {
        let log = self.node.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(8)..].join("\n")
    }

    /// Where the node's log and its identity are.
    pub fn log_dir(&self) -> PathBuf {
        let mut found = None;
        let mut folders = vec![self.node.dir.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).expect("its folder").flatten() {
                if entry.file_name() == "identity" {
                    found = Some(folder.clone());
                } else if entry.path().is_dir() {
                    folders.push(entry.path());
                }
            }
        }
        found.expect("an identity")
    }

    /// The names in the folder of identity and members.
    pub fn folders(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.log_dir()).expect("the folder");
        let mut names: Vec<String> = entries
            .flatten()
            .filter_map(|e| e.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }
}

/// One attack at a time: times are asserted.
pub struct Stage {
    temp: tempfile::TempDir,
    added: usize,
    _turn: Turn,
}

impl Stage {
    /// `None`, loudly, where there is no C compiler.
    pub fn open(test: &str) -> Option<Stage> {
        let turn = Turn::alone();
        let temp = tempfile::tempdir().expect("a temporary folder");
        if Shim::new(temp.path()).is_none() {
            crate::common::skipped(test, "no C compiler (cc) for the shim");
            return None;
        }
        Some(Stage {
            temp,
            added: 0,
            _turn: turn,
        })
    }

    /// A real node of a cluster, alone, with these arguments.
    pub fn real(&mut self, args: &[&str]) -> Real {
        let dir = self.temp.path().join(format!("n{}", self.added));
        self.added += 1;
        std::fs::create_dir_all(&dir).expect("a folder for the node");
        let shim = Shim::new(&dir).expect("a compiler is there");
        for _ in 0..5 {
            let mut node = Node::new(&dir).args(args).envs(&shim.environment());
            node.spawn();
            if node.came_up() {
                let id = node.id().parse().expect("an id");
                return Real { node, shim, id };
            }
        }
        panic!("five ports in a row were taken");
    }

    /// A real node alone that owns all slots and serves.
    pub fn alone(&mut self, args: &[&str]) -> Real {
        let real = self.real(args);
        real.own(0, 16383);
        real.wait_serving();
        real
    }

    /// A real node that leads a group in which two played members vote, and owns all slots.
    pub fn led_by_real(&mut self, args: &[&str]) -> (Real, Played, Played) {
        let real = self.alone(args);
        let played = [played(), played()];
        for member in &played {
            member.meet(&real);
            member.join(&real);
        }
        real.wait_info("raft_voters", "3");
        real.wait_serving();
        let [a, b] = played;
        (real, a, b)
    }

    /// A real node that follows: a group of which two played members vote with it, T as given, its
    /// log empty. The first of them leads term 2 and has been heard.
    pub fn follows_played(&mut self, t: Duration, args: &[&str]) -> Follower {
        let real = self.real(args);
        let (leader, other) = (played(), played());
        leader.meet(&real);
        other.meet(&real);
        let (a, b) = (rand::random::<u64>() | 1, rand::random::<u64>() | 1);
        let base = |c: u64| base_of(&[(&leader, a), (&other, b)], Some((&real, c)), t);
        let raft_id = leader.take_in(&real, base);
        for (played, id) in [(&leader, a), (&other, b)] {
            let mut member = crate::member::Member::new(&base(raft_id), id);
            member.term = 2;
            played.play(member);
        }
        Follower {
            real,
            leader,
            other,
            raft_id,
        }
    }
}

/// The next reply, if one comes in time.
pub fn reply_within(client: &mut Client, time: Duration) -> Option<Value> {
    let set = client.stream().set_read_timeout(Some(time));
    set.expect("a socket option");
    client.receive().ok()
}

/// A real follower and the two that it follows.
pub struct Follower {
    pub real: Real,
    pub leader: Played,
    pub other: Played,
    /// Of the real node.
    pub raft_id: u64,
}

/// A played node whose shard has no slots.
pub fn played() -> Played {
    played_with(SlotSet::default())
}

/// A played node, a master with these slots.
pub fn played_with(slots: SlotSet) -> Played {
    let config_epoch = u64::from(!slots.is_empty()) * 100;
    let state = SelfState {
        shard: ShardId(rand::random()),
        slots,
        config_epoch,
        ..SelfState::default()
    };
    Played::start(state, "")
}

/// The base of a group whose voters are these, for `real` if it is given.
pub fn base_of(played: &[(&Played, u64)], real: Option<(&Real, u64)>, t: Duration) -> Base {
    let member = |node, raft_id| Member {
        raft_id,
        node,
        kind: MemberKind::Data,
    };
    let mut members: Vec<Member> = played
        .iter()
        .map(|(p, id)| member(p.id, RaftId(*id)))
        .collect();
    members.extend(real.map(|(r, id)| member(r.id, RaftId(id))));
    Base {
        identity: MemberIdentity {
            group: GroupId(played[0].1 ^ 0x5a5a),
            incarnation: Incarnation(1),
            raft_id: RaftId(real.map_or(0, |(_, id)| id)),
            kind: MemberKind::Data,
            election_timeout_ms: t.as_millis() as u64,
        },
        snapshot: SnapshotMeta {
            index: 1,
            term: 1,
            conf_state: ConfState {
                voters: members.iter().map(|m| m.raft_id.0).collect(),
                ..ConfState::default()
            },
            members,
            record: Record {
                slots: (0..16384).collect(),
                ..Record::founded(played[0].0.shard, played[0].0.id)
            }
            .encode(),
            file: None,
        },
        start: None,
    }
}
