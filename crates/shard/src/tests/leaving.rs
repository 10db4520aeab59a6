//! A leader that is to leave its shard (C1, E4).

use crate::testing::{config, member, Played, OTHERS};
use base::ids::RaftId;
use storage::base::{Member, MemberKind};

/// Whether it hands over when these are to leave as well; the record's master is none of them.
fn hands_over(leave: &[u64]) -> bool {
    let mut played = Played::leading(config());
    played.beat(&OTHERS);
    let now = played.now();
    played.turn(|shard| {
        leave.iter().for_each(|id| shard.request_leave(RaftId(*id)));
        shard.hand_over(now);
    });
    played.shard.group().is_transferring()
}

#[test]
fn a_leader_hands_over_to_a_member_that_stays() {
    assert!(hands_over(&[]) && hands_over(&[1]) && hands_over(&[6]));
}

#[test]
fn a_leader_whose_others_all_leave_goes_on() {
    assert!(!hands_over(&OTHERS));
}

/// A shard: a host has accepted so many milliseconds before a member leaves, and that was a while ago.
fn left_after(ms: u64) -> Played {
    let mut played = Played::leading(config());
    played.beats(&OTHERS, 100);
    let witness = Member {
        kind: MemberKind::Witness,
        ..member(9)
    };
    played.turn(|shard| shard.offer_witness(witness));
    played.beats(&OTHERS, ms);
    played.turn(|shard| shard.request_leave(RaftId(6)));
    played.beats(&OTHERS, 500);
    played
}

#[test]
fn a_witness_just_found_takes_the_place() {
    let played = left_after(500);
    assert!(played.shard.group().membership().is_voter(RaftId(9)));
}

/// Cluster seed 7753: found for two members, not needed for three, it was gone when one of these left.
#[test]
pub(super) fn a_witness_of_old_is_looked_for_anew() {
    let played = left_after(1500);
    let voters = played.shard.group().membership().is_voter(RaftId(9));
    assert!(!voters, "its host may have let it go");
    assert!(played.shard.wants_witness());
}
