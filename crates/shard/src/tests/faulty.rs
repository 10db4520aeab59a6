//! D6: a member that knows the password and lies. It may stop its shard; it ends no process.

use super::*;
use crate::testing::{base, config, envelope, Played, ME};
use proptest::prelude::*;
use raft::eraftpb::{Entry, EntryType, Message, MessageType};
use raft_group::{Fault, Refusal};

/// The faulty leader 1 of term 7 sends this, and says that it is committed.
fn append(index: u64, log_term: u64, bodies: &[Vec<u8>]) -> Message {
    let entry = |(i, body): (u64, &Vec<u8>)| Entry {
        index: index + 1 + i,
        term: 7,
        data: body.clone().into(),
        ..Entry::default()
    };
    Message {
        msg_type: MessageType::MsgAppend,
        from: 1,
        to: ME,
        term: 7,
        index,
        log_term,
        commit: index + bodies.len() as u64,
        entries: (0..).zip(bodies).map(entry).collect::<Vec<_>>().into(),
        ..Message::default()
    }
}

/// Steps it; the member goes on with its turns, whatever it was.
fn send(played: &mut Played, message: Message) -> Option<Refusal> {
    let stepped = played.shard.step(played.now(), envelope(message));
    let refused = stepped.expect("no message ends a process");
    for _ in 0..3 {
        played.turn(|_| ());
        played.work();
    }
    refused
}

#[test]
pub(super) fn an_entry_that_cannot_be_read_is_refused() {
    let mut played = Played::new(config());
    let bodies = [
        vec![99],
        vec![1, 1, 0, 0, 0, 200],
        vec![1, 9, 0, 0, 0, 2],
        vec![2, 0, 0, 0, 0, 3, 0, 0, 0, 3, 0, 0, 0],
        b"\x01\x04\0\0\0\x01\x01\x01x".to_vec(),
    ];
    for body in bodies {
        let refused = send(&mut played, append(1, 1, &[Vec::new(), body.clone()]));
        let why = refused.map(|r| r.why);
        let unreadable = matches!(why, Some(Fault::Unreadable { index: 3, .. }));
        assert!(unreadable, "{body:?}: {why:?}");
    }
    // It is as good as new.
    assert_eq!(send(&mut played, append(1, 1, &[Vec::new()])), None);
    assert_eq!(played.shard.group().applied(), 2);
}

#[test]
fn an_old_change_of_members_is_refused() {
    let mut played = Played::new(config());
    let mut message = append(1, 1, &[vec![0xff; 9]]);
    for kind in [EntryType::EntryConfChange, EntryType::EntryConfChangeV2] {
        message.entries[0].set_entry_type(kind);
        assert!(send(&mut played, message.clone()).is_some());
    }
}

#[test]
fn a_conflict_below_the_commit_is_refused() {
    let mut played = Played::new(config());
    assert_eq!(send(&mut played, append(1, 1, &[Vec::new()])), None);
    let mut other = append(1, 1, &[Vec::new()]);
    other.term = 8;
    other.entries[0].term = 8;
    let refused = send(&mut played, other).map(|r| r.why);
    let why = Fault::ConflictBelowCommit { term: 8, index: 2 };
    assert_eq!(refused, Some(why));
}

#[test]
fn terms_cannot_be_used_up() {
    let mut played = Played::new(config());
    for term in [u64::MAX, u64::MAX - 1, 2 << 32] {
        let heartbeat = Message {
            msg_type: MessageType::MsgHeartbeat,
            term,
            ..append(1, 1, &[])
        };
        let refused = send(&mut played, heartbeat).map(|r| r.why);
        let too_far = matches!(refused, Some(Fault::TermTooFar { .. }));
        assert!(too_far, "{term}: {refused:?}");
    }
    assert!(played.shard.group().term() < 1 << 32);
}

/// The same process on a disk of its own, with this member as its only voter.
#[test]
fn the_only_voter_loses_no_log_to_another_leader() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Hand(Cell::new(1));
    let mut shard = open(folder.path(), SyncPolicy::Always, &clock);
    settle(&mut shard, &clock);
    let heartbeat = Message {
        msg_type: MessageType::MsgHeartbeat,
        term: 9,
        commit: 1 << 20,
        ..append(1, 1, &[])
    };
    let refused = shard.step(clock.now(), envelope(heartbeat));
    let refused = refused.expect("it goes on").map(|r| r.why);
    assert_eq!(refused, Some(Fault::LeadsOnlyVoter));
    settle(&mut shard, &clock);
    assert_eq!(shard.admission(), Admission::Lead { writable: true });
}

/// T8: the door sees the parts one by one.
#[test]
fn a_large_unit_that_cannot_be_read_is_void() {
    let mut played = Played::new(config());
    let part = |k: u8, bytes: &[u8]| [&[2, 0, 0, 0, 0, k, 0, 0, 0, 2, 0, 0, 0], bytes].concat();
    let bodies = [
        part(0, &[3, 1, 100]),
        part(1, b"x"),
        part(1, b"x"),
        Vec::new(),
    ];
    let mut at = (1, base().snapshot.term);
    for body in bodies {
        assert_eq!(send(&mut played, append(at.0, at.1, &[body])), None);
        at = (at.0 + 1, 7);
    }
    assert_eq!(played.shard.group().applied(), 5);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// Bodies of every sort, sound ones cut or bent, committed at once.
    #[test]
    fn no_entry_ends_a_member(bodies in prop::collection::vec(body(), 1..6)) {
        let mut played = Played::new(config());
        let mut at = (1, base().snapshot.term);
        for body in bodies {
            if send(&mut played, append(at.0, at.1, &[body])).is_none() {
                at = (at.0 + 1, 7);
            }
        }
    }
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let effects = prop::collection::vec(
        (
            1u8..=17,
            prop::collection::vec(prop::collection::vec(any::<u8>(), 0..6), 0..4),
        ),
        0..4,
    );
    let bent = (effects, prop::option::of((any::<u16>(), any::<u8>())));
    let sound = bent.prop_map(|(effects, bend)| {
        let mut unit = Vec::new();
        for (op, args) in effects {
            // Keys in slots that the shard does not have end it by another rule (S1).
            if (2..=10).contains(&op) {
                continue;
            }
            unit.extend([op, args.len() as u8]);
            for arg in args {
                unit.push(arg.len() as u8);
                unit.extend(arg);
            }
        }
        let mut body = vec![1];
        body.extend((unit.len() as u32).to_le_bytes());
        body.extend(unit);
        if let Some((at, by)) = bend {
            let at = usize::from(at) % body.len();
            body[at] = by;
        }
        body
    });
    prop_oneof![
        3 => sound,
        1 => prop::collection::vec(any::<u8>(), 0..40),
        1 => (0u8..3, 0u8..4, part()).prop_map(|(k, n, bytes)| {
            [&[2, 0, 0, 0, 0, k, 0, 0, 0, n, 0, 0, 0], bytes.as_slice()].concat()
        }),
    ]
}

/// Bytes of a part of a large unit: whole effects, or a piece of one. (An effect that only another
/// version knows ends a member where it comes in parts: the door can't look into them.)
fn part() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(vec![12, 0]),
        Just(vec![11, 0, 12]),
        Just(vec![13, 1, 200]),
        Just(Vec::new())
    ]
}
