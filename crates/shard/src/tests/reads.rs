//! A follower that lags while the leader's log is not all written (D6).

use super::*;
use crate::testing::{config, Played, OTHERS};
use storage::{Done, StorageError};

/// Member 6 comes back: what it lacks lies before a large value that waits for the storage thread, and a
/// read of it is ordered. Also what the member has.
fn asked_for_old_entries() -> (Played, u64) {
    let mut played = Played::leading_with(config(), &[1]);
    for key in [b"a", b"b", b"c"] {
        played.set(key, b"small");
        played.beats(&[1], 60);
    }
    played.set(b"large", &vec![b'x'; 5 << 20]);
    let behind = played.matched(6);
    let sent = played.now().mono;
    let ack_of_send_time = played.ack_of_send_time(6, sent);
    played.step(ack_of_send_time);
    played.turn(|_| ());
    (played, behind)
}

/// The member has all that there is.
fn catches_up(mut played: Played, behind: u64) {
    played.work();
    played.turn(|_| ());
    played.beats(&OTHERS, 2_000);
    assert!(played.matched(6) > behind);
    assert_eq!(played.matched(6), played.shard.group().last_index());
}

/// D6: the large value is not written yet when the read reaches it.
#[test]
pub(super) fn a_read_before_an_unwritten_value_returns_what_it_has() {
    let (played, behind) = asked_for_old_entries();
    assert!(played.jobs.iter().any(|job| matches!(job, Job::Read(_))));
    catches_up(played, behind);
}

/// D5: a read for which no file could be opened ends nothing, and is made again: as often as it is refused, or
/// the reads that may begin at one index would all count as under way.
#[test]
fn a_read_without_a_file_is_made_again() {
    let (mut played, behind) = asked_for_old_entries();
    for _ in 0..5 {
        let jobs = std::mem::take(&mut played.jobs);
        let is_read = |job: &Job<RealDisk>| matches!(job, Job::Read(_));
        let (reads, others): (Vec<_>, Vec<_>) = jobs.into_iter().partition(is_read);
        played.jobs = others;
        assert!(!reads.is_empty());
        for _ in reads {
            let source = std::io::Error::from(std::io::ErrorKind::QuotaExceeded);
            let refused = Done::Read(Err(StorageError::io("open", "a segment")(source)));
            let taken = played.shard.job_done(played.now(), refused);
            taken.expect("no file is no reason to end");
        }
        played.turn(|_| ());
        let sent = played.now().mono;
        let ack_of_send_time = played.ack_of_send_time(6, sent);
        played.step(ack_of_send_time);
        played.turn(|_| ());
    }
    catches_up(played, behind);
}
