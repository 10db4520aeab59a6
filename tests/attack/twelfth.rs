//! The twelfth attack: what members say about states and the log's end, forged by members that have proved who they
//! are, over the real port.

use crate::member::Manner;
use crate::real::{Real, Stage};
use base::ids::{GroupId, RaftId};
use cluster::control::Control;
use std::time::{Duration, Instant};
use storage::transfer::PIECE;
use storage::{Base, StateFile};

const FAR: u64 = u64::MAX / 2;
const EDGES: [u64; 9] = [0, 1, 2, 7, 1 << 20, 1 << 40, FAR, u64::MAX - 1, u64::MAX];
const T: Duration = Duration::from_secs(1);

/// Kind and numbers, as `cluster::transfer::message` has them.
fn frame(kind: u8, numbers: &[u64], rest: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    numbers
        .iter()
        .for_each(|n| out.extend_from_slice(&n.to_le_bytes()));
    out.extend_from_slice(rest);
    out
}

fn trim_to(group: u64, raft_id: u64, term: u64, index: u64) -> Vec<u8> {
    Control::TrimTo {
        group: GroupId(group),
        raft_id: RaftId(raft_id),
        term,
        index,
    }
    .encode()
}

/// Everything that the member could say of states, with numbers from the edges; `me`: the raft id that it speaks for.
fn of_states(group: u64, me: u64, term: u64) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for index in EDGES {
        for at_term in [0, term, u64::MAX] {
            for last in EDGES {
                out.push(frame(22, &[group, index, at_term, last, me, last], &[]));
                out.push(frame(25, &[group, me, index, at_term, last], &[]));
                let sum = u64::from(crc32c::crc32c(b"piece"));
                let piece = [group, index, at_term, last, me, last, sum];
                out.push(frame(23, &piece, b"piece"));
                out.push(frame(23, &piece, &vec![7; PIECE as usize]));
            }
            out.push(frame(24, &[group, index, at_term, 9, me], &[]));
            out.push(frame(26, &[group, me, index, at_term], &[]));
        }
        out.push(frame(28, &[group, me, index], &[]));
        out.push(trim_to(group, me, term, index));
    }
    out
}

fn size_of(dir: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(dir).expect("a folder").flatten();
    entries
        .map(|entry| match entry.path().is_dir() {
            true => size_of(&entry.path()),
            false => entry.metadata().map_or(0, |m| m.len()),
        })
        .sum()
}

fn memory(real: &Real) -> u64 {
    let used = real.node.info("memory", "used_memory");
    used.and_then(|n| n.parse().ok()).unwrap_or_default()
}

fn watch(real: &mut Real, for_so_long: Duration, after: &str) {
    let end = Instant::now() + for_so_long;
    while Instant::now() < end {
        real.assert_lives(after);
        std::thread::sleep(Duration::from_millis(50)); // between two looks
    }
}

/// D6, P15, P16: a leader hears everything about states from a member that it does not bring up.
#[test]
fn forged_words_about_states_change_no_leader() {
    let Some(mut stage) = Stage::open("forged_words_about_states_change_no_leader") else {
        return;
    };
    let (mut real, a, _b) = stage.led_by_real(&[]);
    real.node.ok(&["SET", "a", "kept"]);
    let begun = real.node.cmd(&["BGREWRITEAOF"]);
    assert!(!begun.is_error(), "{begun:?}");
    let (group, term, me) = (real.group(), real.number("raft_term"), a.raft_id());
    let (disk, used) = (size_of(&real.node.dir), memory(&real));
    let files = real.folders();
    for raft_id in [me, real.raft_id(), 99, u64::MAX] {
        for bytes in of_states(group, raft_id, term) {
            a.say_bytes(&real, &bytes);
        }
        watch(&mut real, Duration::from_millis(300), "words about states");
    }
    watch(&mut real, T, "words about states");
    real.node.ok(&["SET", "b", "goes on"]);
    assert_eq!(real.node.cmd(&["GET", "a"]).text(), "kept");
    assert_eq!(real.folders(), files);
    assert!(size_of(&real.node.dir) < disk + (64 << 20));
    assert!(memory(&real) < used + (64 << 20), "memory stays bounded");
}

/// The bytes of an offer of this base.
fn offer(term: u64, first: u64, base: &Base) -> Vec<u8> {
    frame(21, &[term, first], &base.to_bytes())
}

fn offers(base: &Base, terms: &[u64]) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for &term in terms {
        for index in EDGES {
            for bytes in [1, 5, PIECE, 1 << 40, FAR] {
                let mut base = base.clone();
                base.snapshot.index = index;
                base.snapshot.term = term;
                base.snapshot.file = Some(StateFile {
                    bytes,
                    crc64: index,
                });
                for first in [0, 1, index, index.saturating_add(1), u64::MAX] {
                    out.push(offer(term, first, &base));
                }
            }
        }
    }
    out
}

/// D6, P12, P15, P17: a follower hears everything from its leader, and from a member that leads nothing.
#[test]
fn forged_words_about_states_end_no_follower() {
    let Some(mut stage) = Stage::open("forged_words_about_states_end_no_follower") else {
        return;
    };
    let mut follower = stage.follows_played(T, &[]);
    let raft_id = follower.raft_id;
    let beats = follower
        .leader
        .heartbeats(&follower.real, raft_id, Duration::from_millis(100));
    follower.other.set_manner(Manner::GOOD);
    let real = &mut follower.real;
    watch(real, T, "heartbeats");
    let group = real.group();
    let base = crate::real::base_of(
        &[
            (&follower.leader, follower.leader.raft_id()),
            (&follower.other, follower.other.raft_id()),
        ],
        Some((real, raft_id)),
        T,
    );
    let (disk, used) = (size_of(&real.node.dir), memory(real));
    for (who, terms) in [
        (&follower.other, &[2, 1][..]),
        (&follower.leader, &[1, 3, u64::MAX]),
        (&follower.leader, &[2]),
    ] {
        for bytes in offers(&base, terms) {
            who.say_bytes(real, &bytes);
        }
        for term in [1, 2, 3, u64::MAX] {
            for index in EDGES {
                who.say_bytes(real, &trim_to(group, raft_id, term, index));
            }
        }
        for bytes in of_states(group, raft_id, 2) {
            who.say_bytes(real, &bytes);
        }
        watch(real, 2 * T, "words about states");
        assert_eq!(real.raft_id(), raft_id, "it is another member");
    }
    watch(real, 3 * T, "words about states");
    assert_eq!(real.raft_id(), raft_id, "it is another member");
    assert!(size_of(&real.node.dir) < disk + (64 << 20));
    assert!(memory(real) < used + (64 << 20), "memory stays bounded");
    drop(beats);
    // What it has it can begin with.
    real.node.kill9();
    real.node.spawn();
    assert!(real.node.came_up(), "{}", real.last_lines());
}
