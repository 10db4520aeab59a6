//! A leader that hears of another one. T1: that comes before the clients of its turn. T7, C4: with
//! its lease epoch end the watches. Chance shows little of either: it took more than a thousand seeds to
//! meet the first, and what the next leader writes marks watched keys as well.

use base::ids::{GroupId, RaftId};
use cluster::control::Control;
use raft::eraftpb::{Message, MessageType};
use raft_group::testing::answer;
use raft_group::{Envelope, LeaseEpoch};
use transport::Event as LinkEvent;

use super::bed::{conf, disk, node, received, record, silence, Bed, ME};
use super::{envelope, T_MS};
use crate::machine::{guarded, install_panic_hook, Ended};
use server::Phase;

/// What a willing follower answers.
fn willing(asked: &Envelope) -> Option<LinkEvent> {
    answer(asked).map(|envelope| received(&envelope))
}

/// A node whose member leads; the two others answer yes to everything, at once.
pub(super) fn reigning() -> Bed {
    let all = (0..cluster_bus::slot::SLOT_COUNT).collect();
    let mut record = record(all, 1);
    record.moves.features = topology::features::ALL;
    let disk = disk(&[1, ME, 6], &record);
    let mut bed = Bed::start(disk, &conf(), willing);
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

pub fn a_watch_ends_with_the_lease_epoch() -> bool {
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

/// E3, T3: the process stands still between the execution of a read and the look at the lease, for
/// longer than that lasts, and nobody answers any more: the read is answered by nobody.
pub fn a_read_before_a_long_stop_is_not_answered() -> bool {
    let mut bed = reigning();
    assert_eq!(bed.answers("SET k v\r\n"), "+OK\r\n");
    bed.set_answer(silence);
    let mut replies = bed.turn_stopped("GET k\r\n", Some((Phase::Serve, 2 * T_MS)), |_| {});
    for _ in 0..5 {
        replies += &bed.turn("");
    }
    replies.is_empty()
}

/// T2: the deadline of a key has passed, and nobody stores what would delete it: that it is gone is
/// not answered, though the lease lasts.
pub fn an_expired_key_is_gone_by_the_log() -> bool {
    let mut bed = reigning();
    assert_eq!(bed.answers("SET k v PX 5\r\n"), "+OK\r\n");
    is_gone_by_the_log(bed, "GET k\r\n")
}

/// T2: the same of a field of a hash.
pub fn a_due_field_is_gone_by_the_log() -> bool {
    let mut bed = reigning();
    assert_eq!(bed.answers("HSET h f v g w\r\n"), ":2\r\n");
    assert_eq!(bed.answers("HPEXPIRE h 5 FIELDS 1 f\r\n"), "*1\r\n:1\r\n");
    is_gone_by_the_log(bed, "HGET h f\r\n")
}

/// Whether `read`, of what is due in 5 ms, is answered only when others store that.
fn is_gone_by_the_log(mut bed: Bed, read: &str) -> bool {
    bed.set_answer(silence);
    bed.turns(10);
    let mut replies = bed.turn(read);
    replies += &bed.turn("");
    let waits = replies.is_empty();
    bed.set_answer(willing);
    (0..2 * T_MS).for_each(|_| replies += &bed.turn(""));
    waits && replies == "$-1\r\n"
}

/// T3: an event is told when its change has committed, and not before.
pub fn an_event_waits_for_its_change() -> bool {
    const OTHER: u64 = 2;
    let told = |replies: &str| replies.contains("__keyspace@0__:k");
    let mut bed = reigning();
    assert_eq!(
        bed.answers("CONFIG SET notify-keyspace-events KA\r\n"),
        "+OK\r\n"
    );
    bed.connects(OTHER);
    bed.sends(OTHER, "SUBSCRIBE __keyspace@0__:k\r\n");
    let subscribed: String = (0..10).map(|_| bed.turn("")).collect();
    assert!(told(&subscribed));
    bed.set_answer(silence);
    let mut replies = bed.turn("SET k v\r\n");
    (0..10).for_each(|_| replies += &bed.turn(""));
    let waits = !told(&replies);
    bed.set_answer(willing);
    (0..2 * T_MS).for_each(|_| replies += &bed.turn(""));
    waits && told(&replies)
}

/// What a follower answers that acknowledgements another transfer count than the leader's own.
fn of_another_epoch(asked: &Envelope) -> Option<LinkEvent> {
    let foreign = Envelope {
        lease_epoch: LeaseEpoch {
            transfers: asked.lease_epoch.transfers + 1,
            ..asked.lease_epoch
        },
        ..asked.clone()
    };
    willing(&foreign)
}

/// E3: answers that acknowledgement another lease epoch come all the time; when the lease of the own one has run out,
/// no read is answered.
pub fn a_foreign_ack_makes_no_lease() -> bool {
    let mut bed = reigning();
    assert_eq!(bed.answers("GET k\r\n"), "$-1\r\n");
    bed.set_answer(of_another_epoch);
    bed.turns(usize::try_from(T_MS).expect("a small number"));
    bed.answers("GET k\r\n").is_empty()
}

/// E4: the leadership is being handed to 6, which does not answer: nothing is executed meanwhile.
pub fn a_transferring_leader_serves_nobody() -> bool {
    let mut bed = reigning();
    bed.turns(50);
    let request = Control::Failover {
        group: GroupId(1),
        raft_id: RaftId(6),
    };
    bed.hears(LinkEvent::Raft {
        from: node(6),
        proved: true,
        bytes: request.encode(),
    });
    bed.turns(3);
    assert!(bed.shard().group().is_transferring(), "it hands over");
    bed.answers("SET k v\r\n").is_empty()
}

#[test]
fn a_deletion_without_a_quorum_is_not_answered() {
    assert!(an_expired_key_is_gone_by_the_log());
}

#[test]
fn a_due_field_waits_for_its_deletion() {
    assert!(a_due_field_is_gone_by_the_log());
}

#[test]
fn an_event_before_its_commit_waits() {
    assert!(an_event_waits_for_its_change());
}

#[test]
fn a_long_stop_before_the_lease_test_holds_a_read() {
    assert!(a_read_before_a_long_stop_is_not_answered());
}

#[test]
fn an_echo_of_another_reign_makes_no_lease() {
    assert!(a_foreign_ack_makes_no_lease());
}

#[test]
fn a_leader_that_hands_over_executes_nothing() {
    assert!(a_transferring_leader_serves_nobody());
}

#[test]
fn a_message_of_another_leader_comes_before_the_clients() {
    assert!(what_is_executed_is_proposed_first());
}

#[test]
fn a_leader_that_steps_down_fails_all_watches() {
    assert!(a_watch_ends_with_the_lease_epoch());
}
