//! A leader that hears of another one. T1: that comes before the clients of its turn. T7, C4: with
//! its reign end the watches. Chance shows little of either: it took more than a thousand seeds to
//! meet the first, and what the next leader writes marks watched keys as well.

use holdfast::links::News;
use holdfast::raft::Envelope;
use raft::eraftpb::{Message, MessageType};

use super::bed::{disk, node, received, record, Bed, ME};
use super::envelope;
use crate::machine::{guarded, install_panic_hook, Ended};

/// What a willing follower answers.
fn willing(asked: &Envelope) -> Option<News> {
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

/// A node whose member leads; the two others answer yes to everything, at once.
fn reigning() -> Bed {
    let all = (0..cluster_bus::slot::SLOT_COUNT).collect();
    let (me, one, six) = (node(ME), node(1), node(6));
    let conf = format!(
        "{me} 127.0.0.1:7005@17005 myself,master - 0 0 1 connected 0-16383\n\
         {one} 127.0.0.1:7001@17001 slave {me} 0 0 1 connected\n\
         {six} 127.0.0.1:7006@17006 slave {me} 0 0 1 connected\n\
         vars currentEpoch 1 lastVoteEpoch 0\n"
    );
    let disk = disk(&[1, ME, 6], &record(all, 1));
    let mut bed = Bed::start(disk, &conf, willing);
    bed.wins();
    bed
}

/// Another member leads a later term: that is heard at the beginning of the next turn.
fn is_deposed(bed: &mut Bed) {
    let heartbeat = Message {
        msg_type: MessageType::MsgHeartbeat,
        from: 6,
        to: ME,
        term: bed.shard().group().term() + 1,
        ..Message::default()
    };
    bed.hears(received(&envelope(1, heartbeat)));
}

pub fn a_watch_ends_with_the_reign() -> bool {
    let mut bed = reigning();
    let transaction = "MULTI\r\nGET k\r\nEXEC\r\n";
    assert_eq!(bed.answers("WATCH k\r\n"), "+OK\r\n");
    let unchanged = bed.answers(transaction);
    assert_eq!(unchanged, "+OK\r\n+QUEUED\r\n*1\r\n$-1\r\n");
    assert_eq!(bed.answers("WATCH k\r\n"), "+OK\r\n");
    is_deposed(&mut bed);
    bed.turn("");
    assert!(!bed.leads(), "it is deposed");
    bed.wins();
    bed.answers(transaction) == "+OK\r\n+QUEUED\r\n*-1\r\n"
}

/// In one turn a client writes and another leader is heard of: nothing is executed that could not be
/// proposed.
pub fn what_is_executed_is_proposed_first() -> bool {
    let mut bed = reigning();
    assert_eq!(bed.answers("SET k v\r\n"), "+OK\r\n");
    is_deposed(&mut bed);
    install_panic_hook();
    let end = guarded(|| Ok::<_, String>(bed.turn("SET k w\r\n")));
    matches!(end, Ended::Fine(_)) && !bed.leads()
}

#[test]
fn a_message_of_another_leader_comes_before_the_clients() {
    assert!(what_is_executed_is_proposed_first());
}

#[test]
fn a_leader_that_steps_down_fails_all_watches() {
    assert!(a_watch_ends_with_the_reign());
}
