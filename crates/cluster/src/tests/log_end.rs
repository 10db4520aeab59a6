//! What is believed about a log's end (P12), and a witness that begins anew (P13).

use super::*;
use crate::control::Frame;
use crate::transfer::message::Message;
use crate::witnesses::Witnesses;
use base::ids::EntryId;
use raft::eraftpb::{Message as RaftMessage, MessageType};
use raft_group::Envelope;
use storage::StateFile;

pub(super) fn trim_to(term: u64, raft_id: u64) -> Control {
    Control::TrimTo {
        group: GroupId(1),
        raft_id: RaftId(raft_id),
        term,
        index: 1,
    }
}

/// Whether member 5, which follows member 1, takes a word about the log's end.
fn takes(from: u8, proved: bool, older: u64) -> bool {
    let mut played = Played::new(config());
    played.follows(1);
    let mut cluster = cluster(IDENTITY);
    let now = played.now();
    cluster.follow(now, &mut played.shard);
    let term = played.shard.group().term() - older;
    let bytes = trim_to(term, 5).encode();
    let taken = cluster.frame(now, node(from), proved, &bytes, &mut played.shard);
    assert!(matches!(taken, Ok(Ok(()))), "{taken:?}");
    played.shard.may_trim()
}

/// F9: it may not know of a member that needs more.
#[test]
fn only_its_present_leader_moves_a_log_end() {
    assert!(takes(1, true, 0));
    assert!(!takes(1, false, 0), "anybody can have said it");
    assert!(!takes(6, true, 0), "it does not lead");
    assert!(!takes(1, true, 1), "it was deposed");
}

#[cfg(feature = "mutations")]
#[test]
fn a_deposed_leader_that_is_believed_is_noticed() {
    base::mutation::set(Some(base::mutation::Mutation::TrimToOfDeposed));
    let took = takes(1, true, 1);
    base::mutation::set(None);
    assert!(took, "the test above expects that it is not taken");
}

fn heartbeat(term: u64, to: RaftId) -> Envelope {
    let mut message = RaftMessage {
        from: 1,
        to: to.0,
        term,
        ..RaftMessage::default()
    };
    message.set_msg_type(MessageType::MsgHeartbeat);
    shard::testing::envelope(message)
}

fn from_leader(frame: Frame) -> ForWitnesses {
    ForWitnesses::Frame {
        from: node(1),
        proved: true,
        frame,
    }
}

fn said(host: &mut Witnesses<RealFolders>) -> Vec<Frame> {
    let out = host.take_outgoing().into_iter();
    out.map(|o| Frame::decode(&o.bytes).expect("a frame"))
        .filter(|frame| !matches!(frame, Frame::Raft(_)))
        .collect()
}

fn only(host: &Witnesses<RealFolders>) -> &Shard<RealDisk> {
    host.shards().next().expect("there is one")
}

/// A host of one witness, which knows that member 1 leads term 4.
fn hosting() -> (tempfile::TempDir, Witnesses<RealFolders>, RaftId) {
    let folder = tempfile::tempdir().expect("a folder");
    let logger = slog::Logger::root(slog::Discard, slog::o!());
    let log = LogConfig {
        segment_size: 1 << 20,
        ..LogConfig::default()
    };
    let shelf = RealFolders::new(folder.path());
    let host = Witnesses::open(shelf, log, 1, NOW, logger);
    let mut host = host.expect("an empty folder");
    let mut base = shard::testing::base();
    (base.snapshot.index, base.snapshot.term) = (10, 2);
    base.snapshot.record = Record::founded(ShardId([9; 20]), node(1)).encode();
    invite(&mut host, true, base);
    let raft_id = only(&host).identity().raft_id;
    let envelope = Box::new(heartbeat(4, raft_id));
    hand(&mut host, from_leader(Frame::Raft(envelope)));
    host.take_outgoing();
    (folder, host, raft_id)
}

fn offer(raft_id: RaftId, term: u64, first: u64) -> ForWitnesses {
    let mut base = Box::new(shard::testing::base());
    base.identity.raft_id = raft_id;
    base.snapshot.members.push(Member {
        raft_id,
        node: node(5),
        kind: MemberKind::Witness,
    });
    base.snapshot.conf_state.voters.push(raft_id.0);
    (base.snapshot.index, base.snapshot.term) = (100, 3);
    base.snapshot.file = Some(StateFile { bytes: 9, crc64: 1 });
    from_leader(Frame::Transfer(Message::Offer { term, first, base }))
}

#[test]
fn a_witness_behind_the_log_begins_anew() {
    let (_folder, mut host, raft_id) = hosting();
    for (term, first) in [(3, 90), (4, 11)] {
        hand(&mut host, offer(raft_id, term, first));
        assert_eq!(only(&host).snapshot_meta().index, 10, "{term} {first}");
    }
    // Its log goes on from there.
    let has = Message::HasState {
        group: GroupId(1),
        raft_id,
        at: EntryId { index: 10, term: 2 },
    };
    let heard = said(&mut host);
    assert!(
        matches!(&heard[..], [Frame::Transfer(m)] if *m == has),
        "{heard:?}"
    );

    hand(&mut host, offer(raft_id, 4, 90));
    let witness = only(&host);
    assert_eq!(witness.identity().raft_id, raft_id, "the same member");
    assert_eq!(witness.snapshot_meta().index, 100);
    assert_eq!(witness.snapshot_meta().file, None, "it has no keys");
    assert_eq!(witness.log().first_index(), 101);
    assert_eq!(witness.group().term(), 4, "its term and vote stay");
    assert!(witness.group().membership().contains(raft_id));
    assert!(said(&mut host).is_empty());

    // It is told again, and has it.
    hand(
        &mut host,
        from_leader(Frame::Raft(Box::new(heartbeat(4, raft_id)))),
    );
    hand(&mut host, offer(raft_id, 4, 90));
    let heard = said(&mut host);
    let at = EntryId {
        index: 100,
        term: 3,
    };
    assert!(
        matches!(&heard[..], [Frame::Transfer(Message::HasState { at: of, .. })] if *of == at),
        "{heard:?}"
    );
}

#[test]
fn a_witness_says_where_its_log_begins() {
    let (_folder, mut host, raft_id) = hosting();
    for (term, answers) in [(3, 0), (4, 1)] {
        let word = trim_to(term, raft_id.0);
        hand(&mut host, from_leader(Frame::Control(word)));
        let heard = said(&mut host);
        assert_eq!(heard.len(), answers, "{heard:?}");
        for frame in heard {
            let Frame::Control(Control::Begins { first, .. }) = frame else {
                panic!("{frame:?}");
            };
            assert_eq!(first, 11);
        }
    }
}

/// So many seconds later.
struct Later(u64);

impl base::clock::Clock for Later {
    fn now(&self) -> Now {
        let by = std::time::Duration::from_secs(self.0);
        Now {
            mono: NOW.mono + by,
            ..NOW
        }
    }
}

/// G4: all other members of its group have left, and the last one is on its own node, which no link leads to.
#[test]
fn a_witness_hears_of_its_own_nodes_member() {
    let (_folder, mut host, raft_id) = hosting();
    hand(&mut host, offer(raft_id, 4, 90));
    let cases = [
        (vec![RaftId(1), raft_id], 200, "it is a member"),
        (vec![RaftId(1)], 50, "it was not one yet"),
        (vec![RaftId(1)], 200, ""),
    ];
    for (at, (members, applied, stays)) in (1..).zip(cases) {
        let mut order = Some(ForWitnesses::Own {
            group: GroupId(1),
            members,
            applied,
        });
        let clock = Later(1000 * at);
        while host.step(&clock, &mut || order.take()) {}
        while host.step(&Later(1000 * at + 500), &mut || None) {}
        let is_there = host.shards().next().is_some();
        assert_eq!(is_there, !stays.is_empty(), "{stays}");
    }
}
