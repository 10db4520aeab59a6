//! Which member may believe that it leads (E3).

use super::*;
use crate::testing::{config, Played, OTHERS};
use base::ids::RaftId;

/// E3: an acknowledgement of a time that has not come yet.
#[test]
pub(super) fn an_ack_of_the_future_makes_no_lease() {
    let mut played = Played::leading(config());
    let later = played.now().mono + Duration::from_secs(60);
    for other in OTHERS {
        let ack_of_send_time = played.ack_of_send_time(other, later);
        played.step(ack_of_send_time);
    }
    played.pass(5_000);
    let now = played.now();
    let held = played.shard.split().1.lease_valid(now);
    assert!(!held, "a lease of the future");
    assert!(!played.shard.is_ha(now), "nobody was heard lately");
}

/// E3: an acknowledgement of a time before this member led.
#[test]
fn an_echo_from_before_the_reign_is_ignored() {
    let mut played = Played::leading_with(config(), &[1]);
    let ack_of_send_time = played.ack_of_send_time(6, Mono(1));
    played.step(ack_of_send_time);
    let members = played.shard.group().members();
    let heard = members
        .iter()
        .find(|m| m.id == RaftId(6))
        .and_then(|m| m.heard);
    assert_eq!(heard, None);
}

/// E3: one function says whether the lease is held, for every caller.
#[test]
pub(super) fn a_machine_that_slept_has_no_lease() {
    let mut played = Played::leading(config());
    played.beats(&OTHERS, 100);
    let before = played.now();
    assert!(played.shard.split().1.lease_valid(before));
    played.sleep(5_000);
    let now = played.now();
    let held = played.shard.split().1.lease_valid(now);
    assert!(!held, "a lease of before the sleep");
    // What left before the sleep is acknowledged after it: the promise was taken long ago.
    for other in OTHERS {
        let ack_of_send_time = played.ack_of_send_time(other, before.mono);
        played.step(ack_of_send_time);
    }
    played.turn(|_| ());
    let now = played.now();
    assert!(!played.shard.split().1.lease_valid(now));
    for other in OTHERS {
        let ack_of_send_time = played.ack_of_send_time(other, now.mono);
        played.step(ack_of_send_time);
    }
    assert!(played.shard.split().1.lease_valid(now), "new acks count");
}
