//! A voter and its promise (E1, E4): its leader's words bind it for T from the moment at which they
//! were sent, whatever stops its loop, and only a transfer of that very lease epoch is exempt.

use raft::eraftpb::{Message, MessageType};
use raft_group::{Envelope, LeaseEpoch};
use server::Phase;

use super::bed::{conf, disk, received, record, silence, Bed, ME};
use super::{envelope, T_MS};

/// The term of the leader, 1.
const TERM: u64 = 3;

fn follower() -> Bed {
    let all = (0..cluster_bus::slot::SLOT_COUNT).collect();
    let disk = disk(&[1, ME, 6], &record(all, 1));
    Bed::start(disk, &conf(), silence)
}

fn message(kind: MessageType, from: u64, term: u64) -> Message {
    Message {
        msg_type: kind,
        from,
        to: ME,
        term,
        ..Message::default()
    }
}

/// The leader's heartbeat, of its lease epoch after so many transfers.
fn heartbeat(transfers: u64, sent_ns: u64) -> Envelope {
    let of = message(MessageType::MsgHeartbeat, 1, TERM);
    Envelope {
        lease_epoch: LeaseEpoch {
            term: TERM,
            transfers,
        },
        sent_ns,
        ..envelope(1, of)
    }
}

/// 6, which has all that the voter has, asks for its vote.
fn candidacy() -> Message {
    Message {
        index: 1_000,
        log_term: TERM,
        ..message(MessageType::MsgRequestVote, 6, TERM + 1)
    }
}

fn has_voted(bed: &mut Bed) -> bool {
    bed.turns(3);
    let grants = |e: &Envelope| {
        e.message.get_msg_type() == MessageType::MsgRequestVoteResponse && !e.message.reject
    };
    bed.said.iter().any(grants)
}

/// The loop stands still before it takes a heartbeat off the link that is sent at the end of the
/// stop: the promise lasts T from there.
pub fn a_promise_begins_when_its_message_came() -> bool {
    let mut bed = follower();
    bed.turns(2 * T_MS as usize);
    let stop = Some((Phase::Results, 7 * T_MS / 10));
    bed.turn_stopped("", stop, |bed| {
        let sent = bed.mono();
        bed.hears(received(&heartbeat(0, sent)));
    });
    // The leader's lease lasts 0.9 T from the sending on.
    bed.pass(8 * T_MS / 10);
    bed.hears(received(&envelope(1, candidacy())));
    !has_voted(&mut bed)
}

/// A member that has just started may have promised something before.
pub fn a_restarted_voter_waits() -> bool {
    let mut bed = follower();
    bed.turns(2);
    bed.pass(T_MS / 2);
    bed.hears(received(&envelope(1, candidacy())));
    !has_voted(&mut bed)
}

/// E4: the vote of a transfer that was given up: the leader counts one transfer more by now.
pub fn a_vote_of_an_old_transfer_is_dropped() -> bool {
    let mut bed = follower();
    bed.turns(2 * T_MS as usize);
    let sent = bed.mono();
    bed.hears(received(&heartbeat(1, sent)));
    bed.turns(2);
    let candidacy = Message {
        context: b"CampaignTransfer"[..].into(),
        ..candidacy()
    };
    let old = LeaseEpoch {
        term: TERM,
        transfers: 0,
    };
    bed.hears(received(&Envelope {
        lease_epoch: old,
        ..envelope(1, candidacy)
    }));
    !has_voted(&mut bed)
}

#[test]
fn a_stop_before_a_heartbeat_shortens_no_promise() {
    assert!(a_promise_begins_when_its_message_came());
}

#[test]
fn a_voter_after_its_start_grants_nothing() {
    assert!(a_restarted_voter_waits());
}

#[test]
fn a_vote_of_a_transfer_given_up_is_not_granted() {
    assert!(a_vote_of_an_old_transfer_is_dropped());
}

/// Without its promise the voter would grant: otherwise the scenes above show nothing.
#[test]
fn a_voter_without_a_promise_grants() {
    let mut bed = follower();
    bed.turns(2 * T_MS as usize);
    bed.hears(received(&envelope(1, candidacy())));
    assert!(has_voted(&mut bed));
}
