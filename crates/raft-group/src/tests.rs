//! D6: whatever well-formed envelopes a member is handed, in whatever state, raft-rs never meets a
//! message that it panics at. Envelopes are drawn at random and bent: values around the ends of the
//! log, around the own term, and at the ends of their types.

use super::*;
use base::clock::{Mono, Now};
use base::ids::{EntryId, GroupId, Incarnation, RaftId};
use cluster_bus::NodeId;
use proptest::prelude::*;
use protobuf::Message as _;
use raft::eraftpb::{
    ConfChangeSingle, ConfChangeType, ConfChangeV2, ConfState, Entry, EntryType, HardState,
    Message, MessageType, Snapshot,
};
use std::collections::BTreeMap;
use std::time::Duration;
use storage::base::{Member, MemberKind};

const T: Duration = Duration::from_millis(1000);

/// An index, as seen from the member's log.
#[derive(Clone, Copy, Debug)]
enum Index {
    Last(i8),
    Commit(i8),
    Any(u64),
}

/// A term, as seen from the member's own.
#[derive(Clone, Copy, Debug)]
enum Term {
    Own(i8),
    /// That of the entry before those that are sent.
    Right,
    Any(u64),
}

#[derive(Clone, Debug)]
struct Drawn {
    kind: MessageType,
    from: u64,
    term: Term,
    index: Index,
    log_term: Term,
    commit: Index,
    commit_term: Term,
    entries: Vec<(Index, Term, u8)>,
    /// The entries follow the index and each other.
    sound: bool,
    reject: bool,
    hint: Index,
    request_snapshot: Index,
    context: u8,
    priority: i64,
    snapshot: Option<u64>,
    lease_epoch: (Term, u8),
    sent: u8,
}

#[derive(Clone, Debug)]
enum Op {
    Step(Box<Drawn>),
    /// Time passes; so many milliseconds.
    Pass(u16),
    /// What was handed to the disk is there.
    Persist,
    /// The others answer what they were asked, as sound members.
    Answer,
    Propose(u8),
    Transfer(u64),
    Ping,
}

fn index() -> impl Strategy<Value = Index> {
    prop_oneof![
        4 => (-3i8..=3).prop_map(Index::Last),
        3 => (-3i8..=3).prop_map(Index::Commit),
        1 => prop_oneof![Just(0), Just(1), Just(u64::MAX), Just(u64::MAX - 1), any::<u64>()]
            .prop_map(Index::Any),
    ]
}

fn term() -> impl Strategy<Value = Term> {
    prop_oneof![
        4 => (-1i8..=2).prop_map(Term::Own),
        4 => Just(Term::Right),
        1 => prop_oneof![
            Just(0), Just(1), Just(u64::MAX), Just(u64::MAX - 1), Just(1 << 32), any::<u64>()
        ]
        .prop_map(Term::Any),
    ]
}

fn kind() -> impl Strategy<Value = MessageType> {
    use MessageType::*;
    prop_oneof![
        4 => Just(MsgAppend),
        3 => Just(MsgAppendResponse),
        2 => prop_oneof![Just(MsgHeartbeat), Just(MsgHeartbeatResponse)],
        3 => prop_oneof![
            Just(MsgRequestVote), Just(MsgRequestVoteResponse),
            Just(MsgRequestPreVote), Just(MsgRequestPreVoteResponse), Just(MsgTimeoutNow)
        ],
        1 => prop_oneof![
            Just(MsgHup), Just(MsgBeat), Just(MsgPropose), Just(MsgSnapshot), Just(MsgUnreachable),
            Just(MsgSnapStatus), Just(MsgCheckQuorum), Just(MsgTransferLeader), Just(MsgReadIndex),
            Just(MsgReadIndexResp)
        ],
    ]
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let head = (kind(), 0u64..=6, term(), index(), term(), index(), term());
    let entries = prop::collection::vec((index(), term(), 0u8..8), 0..4);
    let body = (entries, prop::bool::weighted(0.8), any::<bool>(), index());
    let rest = (
        prop_oneof![5 => Just(Index::Any(0)), 1 => index()],
        0u8..4,
        prop_oneof![3 => Just(0), 1 => any::<i64>()],
        prop::option::weighted(0.1, any::<u64>()),
        (term(), 0u8..3),
        0u8..4,
    );
    (head, body, rest).prop_map(|(head, body, rest)| {
        let (kind, from, term, index, log_term, commit, commit_term) = head;
        let (entries, sound, reject, hint) = body;
        let (request_snapshot, context, priority, snapshot, lease_epoch, sent) = rest;
        Drawn {
            kind,
            from,
            term,
            index,
            log_term,
            commit,
            commit_term,
            entries,
            sound,
            reject,
            hint,
            request_snapshot,
            context,
            priority,
            snapshot,
            lease_epoch,
            sent,
        }
    })
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => drawn().prop_map(|d| Op::Step(Box::new(d))),
        2 => (0u16..1500).prop_map(Op::Pass),
        3 => Just(Op::Persist),
        3 => Just(Op::Answer),
        1 => (1u8..4).prop_map(Op::Propose),
        1 => (1u64..5).prop_map(Op::Transfer),
        1 => Just(Op::Ping),
    ]
}

/// A member, its disk, and what it has sent.
struct World {
    group: Group,
    now: u64,
    /// All entries that a Ready has named.
    log: BTreeMap<u64, Entry>,
    open: Vec<u64>,
    to_apply: Vec<Entry>,
    sent: Vec<Envelope>,
}

fn change(what: u8, id: u64) -> (Vec<u8>, Vec<u8>) {
    let mut single = ConfChangeSingle {
        node_id: id,
        ..ConfChangeSingle::default()
    };
    single.set_change_type(match what % 3 {
        0 => ConfChangeType::AddNode,
        1 => ConfChangeType::AddLearnerNode,
        _ => ConfChangeType::RemoveNode,
    });
    let mut change = ConfChangeV2::default();
    change.set_changes(vec![single].into());
    let mut context = Vec::new();
    member(id).encode(&mut context);
    (change.write_to_bytes().expect("bytes"), context)
}

fn member(raft_id: u64) -> Member {
    Member {
        raft_id: RaftId(raft_id),
        node: NodeId([raft_id as u8; 20]),
        kind: MemberKind::Data,
    }
}

impl World {
    /// Member `me` of the voters 1, 2 and 3 with the learner 4, after a restart: eight entries, five
    /// of them committed.
    fn new(me: u64) -> World {
        let conf = ConfState {
            voters: vec![1, 2, 3],
            learners: vec![4],
            ..ConfState::default()
        };
        let hard_state = HardState {
            term: 4,
            commit: 6,
            ..HardState::default()
        };
        let log: BTreeMap<u64, Entry> = (2..=9)
            .map(|index| {
                let term = if index < 5 { 2 } else { 3 };
                let entry = Entry {
                    index,
                    term,
                    data: vec![0; 20].into(),
                    ..Entry::default()
                };
                (index, entry)
            })
            .collect();
        let terms = [(1, 1), (2, 2), (5, 3)].map(|(index, term)| EntryId { index, term });
        let tail = log.range(7..).map(|(_, e)| e.clone()).collect();
        let window = Window::new(terms[0], hard_state, conf.clone(), terms.to_vec(), 6, tail);
        let members = [1, 2, 3, 4].map(member).to_vec();
        let config = GroupConfig {
            group: GroupId(7),
            incarnation: Incarnation(1),
            id: RaftId(me),
            kind: MemberKind::Data,
            membership: Membership::new(conf, members, RaftId(me), 1),
            election_timeout: T,
            seed: 1,
            first: true,
            applied: 6,
            keep_bytes: 0,
        };
        let now = Now {
            mono: Mono(1_000_000),
            ..Now::default()
        };
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        World {
            group: Group::new(config, window, now, &logger).expect("a sound window"),
            now: 1_000_000,
            log,
            open: Vec::new(),
            to_apply: Vec::new(),
            sent: Vec::new(),
        }
    }

    /// Its log has lost what lies up to `index`.
    fn trim(&mut self, index: u64) {
        let term = self.group.term_at(index).expect("it is in the log");
        self.group.compact(EntryId { index, term });
        self.log = self.log.split_off(&(index + 1));
    }

    fn now(&self) -> Now {
        Now {
            mono: Mono(self.now),
            ..Now::default()
        }
    }

    fn index(&self, index: Index) -> u64 {
        let near = |at: u64, by: i8| at.saturating_add_signed(by.into());
        match index {
            Index::Last(by) => near(self.group.last_index(), by),
            Index::Commit(by) => near(self.group.commit(), by),
            Index::Any(any) => any,
        }
    }

    fn term(&self, term: Term, before: u64) -> u64 {
        match term {
            Term::Own(by) => self.group.term().saturating_add_signed(by.into()),
            Term::Right => self.group.term_at(before).unwrap_or(0),
            Term::Any(any) => any,
        }
    }

    fn envelope(&self, d: &Drawn) -> Envelope {
        let index = self.index(d.index);
        let term = match d.term {
            Term::Right => self.group.term(),
            other => self.term(other, index),
        };
        let mut message = Message {
            msg_type: d.kind,
            from: d.from,
            to: self.group.id().0,
            term,
            index,
            log_term: self.term(d.log_term, index),
            commit: self.index(d.commit),
            commit_term: self.term(d.commit_term, index),
            reject: d.reject,
            reject_hint: self.index(d.hint),
            request_snapshot: self.index(d.request_snapshot),
            priority: d.priority,
            ..Message::default()
        };
        message.context = match d.context {
            1 => b"CampaignTransfer".to_vec().into(),
            2 => vec![9; 3].into(),
            _ => Vec::new().into(),
        };
        if let Some(at) = d.snapshot {
            let mut snapshot = Snapshot::default();
            snapshot.mut_metadata().index = at;
            snapshot.mut_metadata().term = at;
            message.set_snapshot(snapshot);
        }
        let mut before = (index, message.log_term);
        let mut entries = Vec::new();
        for &(at, entry_term, what) in &d.entries {
            let mut entry = Entry::default();
            if d.sound {
                entry.index = before.0.wrapping_add(1);
                entry.term = self
                    .term(entry_term, entry.index)
                    .clamp(before.1, term.max(before.1));
            } else {
                entry.index = self.index(at);
                entry.term = self.term(entry_term, entry.index);
            }
            match what {
                0 => {}
                1 => entry.set_entry_type(EntryType::EntryConfChange),
                2 => {
                    entry.set_entry_type(EntryType::EntryConfChangeV2);
                    entry.data = vec![0xff; 7].into();
                }
                3 => {
                    entry.set_entry_type(EntryType::EntryConfChangeV2);
                    entry.context = vec![1; 5].into();
                }
                4 | 5 => {
                    let (data, context) = change(what, 1 + entry.index % 5);
                    entry.set_entry_type(EntryType::EntryConfChangeV2);
                    (entry.data, entry.context) = (data.into(), context.into());
                }
                _ => entry.data = vec![what; 30].into(),
            }
            before = (entry.index, entry.term);
            entries.push(entry);
        }
        message.set_entries(entries.into());
        let lease_epoch = match d.lease_epoch {
            (_, 0) => LeaseEpoch { term, transfers: 0 },
            (_, 1) => self.group.lease_epoch(),
            (of, n) => LeaseEpoch {
                term: self.term(of, index),
                transfers: n.into(),
            },
        };
        Envelope {
            group: GroupId(7),
            incarnation: Incarnation(1),
            from: RaftId(d.from),
            to: self.group.id(),
            lease_epoch,
            sent_ns: [0, 1, self.now, u64::MAX][usize::from(d.sent)],
            applied: self.index(d.commit),
            has_room: d.reject,
            loaded: d.sent != 2,
            message,
        }
    }

    /// Readies until there are none; false when the member's process would end.
    fn settle(&mut self) -> bool {
        while let Some(ready) = self.group.ready(self.now()) {
            if let Some(first) = ready.entries.first() {
                self.log.split_off(&first.index);
            }
            self.log
                .extend(ready.entries.into_iter().map(|e| (e.index, e)));
            self.open.push(ready.number);
            self.to_apply.extend(ready.committed);
        }
        for entry in std::mem::take(&mut self.to_apply) {
            // G1: a change that can't be applied ends the process.
            if self.group.apply_change(self.now(), &entry).is_err() {
                return false;
            }
            self.group.advance_applied(entry.index);
        }
        for wanted in self.group.take_wanted() {
            let entries: Vec<Entry> = self
                .log
                .range(wanted.low..wanted.high)
                .map(|(_, e)| e.clone())
                .collect();
            match entries.is_empty() {
                true => self.group.not_fetched(&wanted),
                false => self.group.fetched(wanted, entries),
            }
        }
        self.sent.extend(self.group.take_messages());
        true
    }

    /// Carries out `op`; false when the member's process would end.
    fn run(&mut self, op: &Op) -> bool {
        let mut lost = false;
        match op {
            Op::Step(drawn) => {
                let envelope = self.envelope(drawn);
                let mut bytes = Vec::new();
                envelope.encode(&mut bytes);
                let decoded = Envelope::decode(&bytes).expect("it was just encoded");
                let stepped = self.group.step(self.now(), decoded);
                lost |= matches!(stepped, Err(StepError::LostLog { .. }));
            }
            Op::Pass(ms) => {
                self.now += u64::from(*ms) * 1_000_000;
                self.group.tick(self.now());
            }
            Op::Persist => {
                if let Some(number) = self.open.pop() {
                    self.open.clear();
                    self.group.persisted(number);
                }
            }
            Op::Answer => {
                for sent in std::mem::take(&mut self.sent) {
                    if let Some(answer) = super::testing::answer(&sent) {
                        let stepped = self.group.step(self.now(), answer);
                        lost |= matches!(stepped, Err(StepError::LostLog { .. }));
                    }
                }
            }
            Op::Propose(n) if self.group.is_leader() => {
                self.group.propose(vec![vec![1; 40]; usize::from(*n)]);
            }
            Op::Transfer(to) if self.group.is_leader() && *to != self.group.id().0 => {
                self.group.transfer(self.now(), RaftId(*to));
            }
            Op::Ping => self.group.ping(),
            _ => {}
        }
        !lost && self.settle()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: std::env::var("RAFT_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(1500), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_envelope_makes_raft_panic(me in 1u64..=4, elected in any::<bool>(), trimmed in 1u64..=6,
        ops in prop::collection::vec(op(), 1..40)) {
        let mut world = World::new(me);
        world.trim(trimmed);
        if elected {
            for _ in 0..30 {
                for op in [Op::Pass(100), Op::Persist, Op::Answer] {
                    prop_assert!(world.run(&op));
                }
            }
        }
        let _ = ops.iter().all(|op| world.run(op));
    }
}

/// P14: raft-rs says 0 of what is gone, and an append behind that would seem to fit.
#[test]
fn what_is_gone_has_no_term() {
    let mut world = World::new(1);
    world.trim(4);
    let terms = [0, 1, 3, 4, 5, 9].map(|index| world.group.term_at(index));
    assert_eq!(terms, [None, None, None, Some(2), Some(3), Some(3)]);
}

#[test]
#[should_panic(expected = "P10")]
fn raft_never_begins_behind_what_is_applied() {
    World::new(1).trim(7);
}

/// The shortest way into raft-rs: an append behind the end of the log, after an entry of no term.
fn an_append_beyond_the_end() {
    let mut world = World::new(1);
    let drawn = Drawn {
        kind: MessageType::MsgAppend,
        from: 2,
        term: Term::Own(0),
        index: Index::Last(3),
        log_term: Term::Any(0),
        commit: Index::Last(3),
        commit_term: Term::Any(0),
        entries: Vec::new(),
        sound: true,
        reject: false,
        hint: Index::Any(0),
        request_snapshot: Index::Any(0),
        context: 0,
        priority: 0,
        snapshot: None,
        lease_epoch: (Term::Own(0), 0),
        sent: 2,
    };
    assert!(world.run(&Op::Step(Box::new(drawn))));
}

#[test]
fn an_append_beyond_the_end_changes_nothing() {
    an_append_beyond_the_end();
}

#[cfg(feature = "mutations")]
#[test]
fn unchecked_messages_reach_a_panic_of_raft() {
    use base::mutation::{self, Mutation};
    mutation::set(Some(Mutation::NothingIsChecked));
    let outcome = std::panic::catch_unwind(an_append_beyond_the_end);
    mutation::set(None);
    let panic = outcome.expect_err("the mutation changes nothing");
    let said = panic.downcast_ref::<String>().cloned().unwrap_or_default();
    assert!(said.contains("to_commit 12 is out of range"), "{said}");
}

/// raft-rs puts entries into a waiting append that was empty, wherever they begin.
/// D6, E3: what a leader had not sent yet when it stepped down is of no lease epoch.
#[test]
fn a_former_leaders_messages_do_not_leave() {
    let mut world = World::new(1);
    let of = |msg_type| Message {
        msg_type,
        from: 1,
        to: 2,
        term: 4,
        ..Message::default()
    };
    let kinds = [
        MessageType::MsgAppend,
        MessageType::MsgHeartbeat,
        MessageType::MsgTimeoutNow,
        MessageType::MsgAppendResponse,
    ];
    let now = world.now();
    let held = world.group.hold_back(now, kinds.map(of).to_vec());
    let left = world.group.take_messages();
    let kinds = |all: &[Envelope]| -> Vec<MessageType> {
        all.iter().map(|e| e.message.get_msg_type()).collect()
    };
    assert_eq!(kinds(&left), []);
    assert_eq!(kinds(&held), [MessageType::MsgAppendResponse]);
}

#[test]
fn an_append_names_what_its_entries_follow() {
    let mut world = World::new(1);
    let message = Message {
        msg_type: MessageType::MsgAppend,
        from: 1,
        to: 2,
        term: 4,
        index: 9,
        log_term: 3,
        entries: vec![world.log[&5].clone()].into(),
        ..Message::default()
    };
    world.group.post(world.now(), vec![message]);
    let sent = world.group.take_messages();
    let of = &sent[0].message;
    assert_eq!((of.index, of.log_term), (4, 2));
}
