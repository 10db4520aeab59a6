//! What a leader sends at once to a follower that was behind. T9: what commits at once is not
//! applied at once; the simulator's time does not pass while code runs, so a turn that takes long
//! shows nothing there. D5: appends of one turn share the log's room; the worlds' entries are small.

use ::state::op;
use effect::{Batch, PART_BYTES};
use raft::eraftpb::Entry;

use crate::machine::{guarded, install_panic_hook, Ended};

use super::{append, at, base, envelope, settle, shard};

const ENTRIES: u64 = 5_000;

/// The follower gets many entries and their commit in one message.
pub fn what_commits_at_once_is_applied_in_slices() -> bool {
    let mut shard = shard(&base(), at(0));
    let entry = |index| Entry {
        index,
        term: 2,
        ..Entry::default()
    };
    let entries = (2..=ENTRIES).map(entry).collect();
    let message = append(5, (1, 1), entries, ENTRIES);
    let stepped = shard.step(at(1), envelope(1, message));
    stepped.expect("a leader's append");
    let (mut slices, mut before) = (0, shard.group().applied());
    for ms in 2..100 {
        shard.begin(at(ms)).expect("a turn begins");
        settle(&mut shard, at(ms));
        let applied = shard.group().applied();
        slices += u32::from(applied > before);
        before = applied;
    }
    assert_eq!(before, ENTRIES, "it has not applied everything");
    slices > 1
}

#[test]
fn a_follower_far_behind_applies_in_slices() {
    assert!(what_commits_at_once_is_applied_in_slices());
}

/// How many turns a follower takes for entries of 300 KB, where a breath was due in each, or in none.
#[cfg(test)]
fn turns_of(is_long: bool) -> u64 {
    let mut shard = shard(&base(), at(0));
    let entries = (2..=9).map(|index| large(index, 300_000)).collect();
    let message = append(5, (1, 1), entries, 9);
    let stepped = shard.step(at(1), envelope(1, message));
    stepped.expect("a leader's append");
    let mut turns = 0;
    while shard.group().applied() < 9 {
        turns += 1;
        let begun = shard.begin_with(at(1 + turns), &mut |_| is_long);
        begun.expect("a turn begins");
        settle(&mut shard, at(1 + turns));
    }
    turns
}

/// T9: an entry takes no time by its bytes alone.
#[test]
fn a_slice_ends_behind_a_long_entry() {
    let (long, short) = (turns_of(true), turns_of(false));
    assert!(long >= 4 && long > short, "{long} turns, {short} without");
}

/// An entry with a value of so many bytes.
fn large(index: u64, bytes: usize) -> Entry {
    let mut batch = Batch::new(PART_BYTES);
    batch.begin_unit();
    batch.push(0, op::SET, &[b"k", &vec![b'x'; bytes]]);
    batch.end_unit();
    Entry {
        index,
        term: 2,
        data: batch.take().pop().expect("one unit").into(),
        ..Entry::default()
    }
}

/// D5: each fits what the log has; all together do not.
pub fn appends_of_one_turn_share_the_room() -> bool {
    install_panic_hook();
    let end = guarded(|| Ok::<_, String>(sends_many()));
    match end {
        Ended::Fine(turns) => {
            assert!(turns > 1, "all fitted at once: nothing was tested");
            true
        }
        _ => false,
    }
}

/// How many turns it takes until the follower has all.
fn sends_many() -> u64 {
    const LAST: u64 = 25;
    let mut shard = shard(&base(), at(0));
    let mut turns = 0;
    while shard.log().last_index() < LAST {
        turns += 1;
        assert!(turns < 100, "it does not take what is sent again");
        for index in shard.log().last_index() + 1..=LAST {
            let behind = (index - 1, if index == 2 { 1 } else { 2 });
            let message = append(5, behind, vec![large(index, 900_000)], 1);
            let stepped = shard.step(at(turns), envelope(1, message));
            stepped.expect("a leader's append");
        }
        shard.begin(at(turns)).expect("a turn begins");
        settle(&mut shard, at(turns));
    }
    turns
}

#[test]
fn appends_of_one_turn_share_the_room_of_the_log() {
    assert!(appends_of_one_turn_share_the_room());
}
