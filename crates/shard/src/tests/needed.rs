//! What of a log other members need (D7, P11, P12): three members, of which one lags.

use super::log_end::small;
use super::make::order_alone;
use super::trio::Trio;
use super::*;
use crate::members::LEAVE_TIMEOUTS;
use base::ids::RaftId;

fn trio() -> Trio {
    Trio::led_with(small(SyncPolicy::Always))
}

/// Writes of 4 KiB each to keys of these numbers, of which the last member hears nothing.
fn write_without_the_last(trio: &mut Trio, keys: impl Iterator<Item = usize>) {
    let without = |e: &Envelope| e.from != RaftId(3) && e.to != RaftId(3);
    for n in keys {
        trio.turn(0, Vec::new(), |shard| {
            set(shard, n.to_string().as_bytes(), &[n as u8; 4096]);
        });
        trio.until_through(without, |t| t.shards[0].tail_len() == 0);
    }
}

/// A member makes a snapshot; whether the base names it.
fn snapshot(trio: &mut Trio, of: usize) -> bool {
    let shard = &mut trio.shards[of];
    shard
        .order_snapshot(order_alone())
        .expect("none is under way");
    let mut made = None;
    trio.until(|t| {
        made = made.take().or(t.shards[of].take_snapshot());
        made.is_some()
    });
    let made = made.expect("it is made").expect("a sound disk");
    trio.until(|t| t.shards[of].new_state.is_none() || t.shards[of].is_base_held());
    trio.shards[of].snapshot_meta() == &made.meta
}

/// So many writes of a few keys: the log grows, and the state does not.
fn few(count: usize) -> impl Iterator<Item = usize> {
    (0..count).map(|n| n % 7)
}

fn first_index(trio: &Trio, of: usize) -> u64 {
    trio.shards[of].log().first_index()
}

fn matched(trio: &Trio) -> u64 {
    let members = trio.shards[0].group().members();
    let last = members.iter().find(|m| m.id == RaftId(3));
    last.expect("it is a member").matched
}

/// D7: a member of an older build could not be brought up.
#[test]
pub(super) fn a_base_stays_where_no_state_can_be_given() {
    let mut trio = trio();
    write_without_the_last(&mut trio, few(150));
    for of in 0..2 {
        assert_eq!(trio.shards[of].look_at_log_end(false), None);
        assert!(!snapshot(&mut trio, of), "its base is as it was");
        assert_eq!(first_index(&trio, of), 2);
    }
}

/// A leader that has a state, and the log that its last member lacks; up to where that one has it.
fn kept_for_a_slow_member() -> (Trio, u64) {
    let mut trio = trio();
    write_without_the_last(&mut trio, 0..120);
    trio.until(|t| matched(t) == t.shards[0].group().last_index());
    // More than is always kept, less than a state of all keys.
    write_without_the_last(&mut trio, 120..220);
    let lowest = matched(&trio);
    trio.shards[0].look_at_log_end(true);
    assert_eq!(trio.shards[0].needed, Some(lowest));
    assert!(snapshot(&mut trio, 0));
    let first = first_index(&trio, 0);
    assert!(first <= lowest + 1, "the log goes on from there");
    (trio, lowest)
}

#[test]
pub(super) fn a_leader_keeps_what_a_slow_member_lacks() {
    let (trio, _) = kept_for_a_slow_member();
    assert!(trio.shards[0].group().behind_the_log().is_empty());
}

/// P11: it is given a state, and the log has an end.
#[test]
fn a_member_that_needs_more_than_the_cap_is_not_waited_for() {
    let mut trio = trio();
    write_without_the_last(&mut trio, few(300));
    let commit = trio.shards[0].group().commit();
    assert!(trio.shards[0].look_at_log_end(true) > Some(matched(&trio)));
    assert!(snapshot(&mut trio, 0));
    assert!(first_index(&trio, 0) > matched(&trio) + 1);
    assert!(first_index(&trio, 0) < commit);
}

/// F9: what the others have it learns from their answers; until then they may lack little.
#[test]
fn a_new_leader_tells_nothing_of_unknown_members() {
    let mut trio = trio();
    write_without_the_last(&mut trio, few(300));
    trio.until(|t| matched(t) == t.shards[0].group().last_index());
    write_without_the_last(&mut trio, few(5));
    let slow = matched(&trio);
    assert_eq!(
        trio.shards[0].look_at_log_end(true),
        Some(slow),
        "it lacks little"
    );
    let now = trio.clock.now();
    trio.shards[0].hand_over_to(now, RaftId(2));
    let without = |e: &Envelope| e.from != RaftId(3) && e.to != RaftId(3);
    trio.until_through(without, |t| t.shards[1].group().own_term_applied());
    assert!(trio.shards[1].look_at_log_end(true) <= Some(slow));
    // One that never answers is away: the log has an end.
    let t = trio.shards[1].group().election_timeout();
    let end = trio.clock.now().mono + t * LEAVE_TIMEOUTS;
    trio.until_through(without, |t| t.clock.now().mono > end);
    assert!(trio.shards[1].look_at_log_end(true) > Some(slow));
}

/// F7: it may lead next, and feed the others.
#[test]
fn a_follower_keeps_what_it_was_not_told_to_drop() {
    let mut trio = trio();
    write_without_the_last(&mut trio, 0..100);
    assert!(!snapshot(&mut trio, 1), "nobody has told it anything");
    trio.shards[1].trim_to(20);
    assert!(snapshot(&mut trio, 1));
    assert!(first_index(&trio, 1) <= 21, "others may need the rest");
    let commit = trio.shards[1].group().commit();
    trio.shards[1].trim_to(u64::MAX);
    assert_eq!(trio.shards[1].needed, Some(commit));
    trio.shards[1].trim_to(30);
    assert_eq!(
        trio.shards[1].needed,
        Some(commit),
        "what others have they keep"
    );
    write_without_the_last(&mut trio, few(1));
    assert!(snapshot(&mut trio, 1));
    assert!(first_index(&trio, 1) > 2);
}

/// P11: the member would have to begin anew, and never end.
#[test]
pub(super) fn a_state_that_is_given_stays_the_base() {
    let mut trio = trio();
    write_without_the_last(&mut trio, few(100));
    trio.shards[0].look_at_log_end(true);
    assert!(snapshot(&mut trio, 0));
    let given = trio.shards[0].base().clone();
    trio.shards[0].hold_base(Some(0));
    for _ in 0..3 {
        write_without_the_last(&mut trio, few(10));
        assert!(!snapshot(&mut trio, 0), "it is being given");
        assert_eq!(trio.shards[0].base(), &given);
    }
    assert_eq!(
        trio.states(0).len(),
        2,
        "of those that wait the newest counts"
    );
    trio.shards[0].hold_base(None);
    trio.until(|t| t.shards[0].new_state.is_none());
    assert_ne!(trio.shards[0].base(), &given);
    trio.until(|t| t.states(0).len() == 1);
}

/// It is given up when the log has become much longer than a state costs.
#[test]
fn a_state_that_takes_too_long_to_give_is_replaced() {
    let mut trio = trio();
    write_without_the_last(&mut trio, few(100));
    trio.shards[0].look_at_log_end(true);
    assert!(snapshot(&mut trio, 0));
    let given = trio.shards[0].base().clone();
    trio.shards[0].hold_base(Some(1));
    write_without_the_last(&mut trio, few(150));
    assert!(!snapshot(&mut trio, 0), "the last one was in vain");
    assert_eq!(trio.shards[0].base(), &given);
    trio.shards[0].hold_base(Some(0));
    assert!(snapshot(&mut trio, 0));
}

/// P12: what a witness's log has lost it brings no member up with; F9: a new leader knows nothing of it.
#[test]
pub(super) fn a_member_that_no_witness_could_feed_is_not_counted() {
    use crate::testing::{self, Played, OTHERS};
    let mut base = testing::base();
    base.snapshot.members[2].kind = MemberKind::Witness;
    let mut played = Played::of(testing::config(), &base).led(&OTHERS);
    played.beats(&OTHERS, 100);
    let is_ha = |played: &Played| played.shard.is_ha(played.now());
    assert!(is_ha(&played), "no log has lost anything");
    assert_eq!(played.shard.look_at_log_end(true), Some(played.matched(1)));
    assert!(!is_ha(&played), "nothing is known of the witness");
    let last = played.shard.group().last_index();
    played.shard.witness_begins(RaftId(1), last + 2);
    assert!(!is_ha(&played), "that is none");
    for (first, ha) in [(2, true), (last + 1, true), (last + 2, false), (2, false)] {
        played.shard.witness_begins(RaftId(6), first);
        assert_eq!(is_ha(&played), ha, "the witness could not feed it: {first}");
    }
}

/// F10: what is kept for a slow member is what writes need on a full disk.
#[test]
pub(super) fn a_full_disk_keeps_the_floor_alone() {
    let (mut trio, lowest) = kept_for_a_slow_member();
    let (state, floor) = (trio.shards[0].snapshot_meta().clone(), 4 * (60 << 10));
    trio.shards[0].no_space = Some("no room".to_owned());
    for _ in 0..10 {
        trio.turn(0, Vec::new(), |_| ());
    }
    let shard = &trio.shards[0];
    assert!(shard.log().first_index() > lowest + 1, "it is full");
    assert!(shard.log().kept_bytes() >= floor, "F7");
    assert_eq!(shard.snapshot_meta(), &state, "the state stays");
    assert_eq!(trio.states(0).len(), 1, "with its file");
}
