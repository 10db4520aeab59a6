//! A leader that is to leave its shard (C1, E4).

use super::played::{config, Played, OTHERS};
use crate::ids::RaftId;

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
