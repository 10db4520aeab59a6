//! A follower that lags while the leader's log is not all written (D6).

use super::*;
use crate::testing::{config, Played, OTHERS};

/// D6: the large value is not written yet when the read reaches it.
#[test]
pub(super) fn a_read_before_an_unwritten_value_returns_what_it_has() {
    let mut played = Played::leading_with(config(), &[1]);
    for key in [b"a", b"b", b"c"] {
        played.set(key, b"small");
        played.beats(&[1], 60);
    }
    played.set(b"large", &vec![b'x'; 5 << 20]);
    // Member 6 comes back: what it lacks lies before the value that waits for the storage thread.
    let behind = played.matched(6);
    let sent = played.now().mono;
    let ack_of_send_time = played.ack_of_send_time(6, sent);
    played.step(ack_of_send_time);
    played.turn(|_| ());
    assert!(played.jobs.iter().any(|job| matches!(job, Job::Read(_))));
    played.work();
    played.turn(|_| ());
    played.beats(&OTHERS, 2_000);
    assert!(played.matched(6) > behind);
    assert_eq!(played.matched(6), played.shard.group().last_index());
}
