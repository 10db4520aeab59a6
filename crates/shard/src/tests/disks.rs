//! A leader, or a follower, whose own disk hangs or is full (T5, E4, D5).

use super::*;
use crate::testing::{base, config, envelope, Played, ME, OTHERS, T_MS};
use base::ids::RaftId;
use raft::eraftpb::{Entry, EntryType, Message, MessageType};
use raft_group::testing::answer;
use raft_group::Envelope;
use storage::{Done, StorageError};

/// The member that it has asked to take over since the last look.
fn asked_to_lead(sent: &[Envelope]) -> Vec<u64> {
    let timeout = |e: &&Envelope| e.message.get_msg_type() == MessageType::MsgTimeoutNow;
    sent.iter().filter(timeout).map(|e| e.to.0).collect()
}

/// Lets time pass with a hung disk; the members that it asked to take over, in order, each named once in a row.
fn hung(played: &mut Played, who: &[u64], ms: u64) -> Vec<u64> {
    let mut asked = Vec::new();
    for _ in 0..ms / 20 {
        played.pass(20);
        played.turn(|_| ());
        played.work_but(|job| matches!(job, Job::Sync(_)));
        asked.extend(asked_to_lead(&played.sent));
        played.answer(who);
        played.turn(|_| ());
        asked.extend(asked_to_lead(&played.sent));
    }
    asked.dedup();
    asked
}

/// T5: both others have the entry on disk.
#[test]
pub(super) fn a_quorum_of_followers_passes_the_own_disk() {
    let mut played = Played::leading(config());
    played.beats(&OTHERS, 200);
    let gate = played.set(b"k", b"v");
    assert!(!gate.is_released_by(played.released));
    hung(&mut played, &OTHERS, 100);
    assert!(
        gate.is_released_by(played.released),
        "it waits for its own disk"
    );
    assert_eq!(played.shard.tail_len(), 1, "it is not applied here");
    // C2: WAIT counts a member that has applied it.
    assert_eq!(played.shard.replica_acks(gate.batch), 0);
    let applied = Envelope {
        applied: played.shard.group().last_index(),
        ..played.ack_of_send_time(6, played.now().mono)
    };
    played.step(applied);
    assert_eq!(played.shard.replica_acks(gate.batch), 1);
    // The disk comes back before anybody noticed.
    played.beats(&OTHERS, 200);
    assert_eq!(played.shard.tail_len(), 0);
    assert!(played.leads());
}

/// The loop gives nothing to a disk that is slow, until a sync was over soon again.
#[test]
fn slow_sync_leaves_the_next_to_the_thread() {
    let mut played = Played::leading(config());
    played.beats(&OTHERS, 200);
    let mut quick = Vec::new();
    for ms in [0, 1, 5, 0] {
        played.set(b"k", b"v");
        played.pass(ms);
        played.work();
        quick.push(played.shard.disk_is_quick);
    }
    assert_eq!(quick, [true, true, false, true]);
}

/// T5: one of them is not enough.
#[test]
fn one_follower_does_not_pass_the_own_disk() {
    let mut played = Played::leading(config());
    played.beats(&OTHERS, 200);
    let gate = played.set(b"k", b"v");
    hung(&mut played, &[6], 100);
    assert!(!gate.is_released_by(played.released));
}

/// E4: its own sync has been pending for T.
#[test]
pub(super) fn a_leader_whose_disk_hangs_hands_over() {
    let mut played = Played::leading(config());
    played.beats(&OTHERS, 200);
    played.set(b"k", b"v");
    assert_eq!(hung(&mut played, &OTHERS, T_MS - 100), [0; 0]);
    let asked = hung(&mut played, &OTHERS, 400);
    assert_eq!(asked.len(), 1, "it keeps its shard");
    assert!(OTHERS.contains(&asked[0]));
}

/// E4: a member that does not take over is not asked again and again; nobody is served meanwhile.
#[test]
pub(super) fn a_failed_transfer_is_not_repeated() {
    let mut played = Played::leading(config());
    played.beats(&OTHERS, 200);
    played.set(b"k", b"v");
    let mut asked = hung(&mut played, &OTHERS, 4 * T_MS);
    asked.dedup();
    asked.sort_unstable();
    assert_eq!(asked, OTHERS, "each is asked once");
    assert!(played.leads(), "it serves on, with the disks of the others");
}

/// E4: member 6 answers heartbeats and acknowledges nothing: its disk hangs as well. A transfer to it
/// would stop the shard for T and come to nothing, as the one to member 1 does.
#[test]
pub(super) fn who_cannot_sync_is_not_asked_to_lead() {
    let mut played = Played::leading(config());
    played.beats(&OTHERS, 200);
    let mut stopped_ms = 0;
    for i in 0..5 * T_MS / 20 {
        if !played.leads() {
            stopped_ms += 20;
        } else if i % 10 == 0 {
            played.set(format!("k{i}").as_bytes(), b"v");
        }
        played.pass(20);
        played.turn(|_| ());
        played.work_but(|job| matches!(job, Job::Sync(_)));
        let is_append = |e: &Envelope| e.message.get_msg_type() == MessageType::MsgAppend;
        played.sent.retain(|e| e.to != RaftId(6) || !is_append(e));
        played.answer(&OTHERS);
        played.turn(|_| ());
    }
    assert!(stopped_ms > 0, "it asked nobody");
    assert!(stopped_ms < T_MS * 3 / 2, "it asked one that can't sync");
}

/// Writes until there is no room; from then on the disk is full.
fn fill(played: &mut Played) {
    let value = vec![b'x'; 100 << 10];
    let full = |job: &Job<RealDisk>| matches!(job, Job::Alloc(_));
    for i in 0..2_000u32 {
        if !played.leads() {
            return;
        }
        played.set(format!("k{}", i % 50).as_bytes(), &value);
        played.pass(1);
        played.work_but(full);
        played.answer(&OTHERS);
        played.turn(|_| ());
        played.work_but(full);
    }
    panic!("the log never fills");
}

/// D5: a leader without room hands over, to a voter whose answers say that it has some.
fn asked_by_a_full_leader(with_room: &[u64]) -> Vec<u64> {
    let mut played = Played::leading(config());
    played.beats(&OTHERS, 200);
    fill(&mut played);
    assert!(!played.leads(), "it can't write");
    let mut asked = Vec::new();
    for _ in 0..2 * T_MS / 20 {
        played.pass(20);
        played.turn(|_| ());
        played.work_but(|job| matches!(job, Job::Alloc(_)));
        asked.extend(asked_to_lead(&played.sent));
        for sent in std::mem::take(&mut played.sent) {
            if let Some(mut answer) = answer(&sent) {
                answer.has_room = with_room.contains(&answer.from.0);
                played.step(answer);
            }
        }
    }
    asked.dedup();
    asked
}

#[test]
pub(super) fn a_leader_without_room_hands_over() {
    let asked = asked_by_a_full_leader(&OTHERS);
    assert!(!asked.is_empty(), "it keeps its shard");
}

#[test]
pub(super) fn nobody_without_room_is_asked_to_lead() {
    let asked = asked_by_a_full_leader(&[6]);
    assert_eq!(asked, [6], "only 6 has room");
    assert_eq!(asked_by_a_full_leader(&[]), [0; 0], "nobody has room");
}

fn no_op(index: u64, before: (u64, u64), term: u64, data: &[u8]) -> Envelope {
    let mut entry = Entry {
        index,
        term,
        data: data.to_vec().into(),
        ..Entry::default()
    };
    entry.set_entry_type(EntryType::EntryNormal);
    envelope(Message {
        msg_type: MessageType::MsgAppend,
        from: 1,
        to: ME,
        term,
        index: before.0,
        log_term: before.1,
        commit: before.0,
        entries: vec![entry].into(),
        ..Message::default()
    })
}

/// A follower whose log is full, and where it ends.
fn full_follower() -> (Played, (u64, u64)) {
    let mut played = Played::new(config());
    let mut before = (1, base().snapshot.term);
    for size in [64 << 10, 100] {
        // Parts of a unit that is never whole.
        let mut body = vec![2, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0];
        body.resize(size, b'x');
        for _ in 0..2_000 {
            let next = before.0 + 1;
            played.step(no_op(next, before, 7, &body));
            played.turn(|_| ());
            played.work_but(|job| matches!(job, Job::Alloc(_)));
            if played.shard.group().last_index() < next {
                break;
            }
            before = (next, 7);
        }
    }
    (played, before)
}

/// D5: a new leader's first entry, and a change of members, must not wait for room.
#[test]
pub(super) fn a_full_follower_takes_the_entry_of_a_new_term() {
    let (mut played, before) = full_follower();
    let next = before.0 + 1;
    played.step(no_op(next, before, 8, b""));
    played.turn(|_| ());
    assert_eq!(
        played.shard.group().last_index(),
        next,
        "the reserve is not for it"
    );
}

/// D5: the reserve ends as well, and the process must not.
#[test]
pub(super) fn a_spent_reserve_ends_no_process() {
    let (mut played, mut before) = full_follower();
    let full = |job: &Job<RealDisk>| matches!(job, Job::Alloc(_));
    for term in 8..6_000 {
        let next = before.0 + 1;
        played.step(no_op(next, before, term, b""));
        let turn = played.try_turn(|_| ());
        turn.expect("the reserve is never overdrawn");
        played.work_but(full);
        if played.shard.group().last_index() == next {
            before = (next, term);
        }
    }
    // Nor by its own candidacies.
    for _ in 0..200 {
        played.pass(100);
        played.try_turn(|_| ()).expect("it does not stand");
        played.work_but(full);
        let who = OTHERS;
        played.answer(&who);
    }
}

/// D5: a try that is under way says nothing yet; told by turns, the log would have two lines a second.
#[test]
fn a_disk_is_full_until_space_was_made() {
    let mut played = Played::leading(config());
    played.beats(&OTHERS, 200);
    fill(&mut played);
    assert!(!played.shard.is_disk_full(), "it is not known yet");
    let now = played.now();
    let is_alloc = |job: &Job<RealDisk>| matches!(job, Job::Alloc(_));
    let fails = |played: &mut Played, now| {
        let at = played.jobs.iter().position(is_alloc);
        played.jobs.remove(at.expect("it tries to make space"));
        let source = std::io::Error::from(std::io::ErrorKind::StorageFull);
        let error = StorageError::Io {
            action: "make",
            file: "a segment".to_owned(),
            source,
        };
        let taken = played.shard.job_done(now, Done::Allocated(Err(error)));
        taken.expect("a full disk ends nothing");
    };
    fails(&mut played, now);
    for _ in 0..3 {
        assert!(played.shard.is_disk_full());
        for _ in 0..60 {
            played.pass(20);
            played.turn(|_| ());
            played.work_but(is_alloc);
            played.answer(&OTHERS);
            assert!(played.shard.is_disk_full());
        }
        let now = played.now();
        fails(&mut played, now);
    }
    played.beats(&OTHERS, 2 * T_MS);
    assert!(!played.shard.is_disk_full(), "there is room");
}

/// The body of an entry of one unit with these effects on the key `k`.
fn body_of(effects: &[u8]) -> Vec<u8> {
    let mut batch = effect::Batch::new(1 << 20);
    batch.begin_unit();
    for &number in effects {
        let args: &[&[u8]] = match number {
            2 => &[b"k", b"v"],
            3 => &[b"k"],
            _ => &[],
        };
        batch.push(0, effect::Op::numbered(number), args);
    }
    batch.end_unit();
    batch.take().remove(0)
}

/// D5: a follower without room for writes has some for what frees memory, or its leader could commit none of it.
#[test]
fn a_full_follower_takes_deletions_alone() {
    let (mut played, mut before) = full_follower();
    let (set, del, flush_all) = (2, 3, 12);
    for (effects, taken) in [
        (&[set][..], false),
        (&[del], true),
        (&[del, set], false),
        (&[flush_all], true),
    ] {
        let next = before.0 + 1;
        played.step(no_op(next, before, 7, &body_of(effects)));
        played.turn(|_| ());
        let last = played.shard.group().last_index();
        assert_eq!(last == next, taken, "{effects:?}");
        if taken {
            before = (next, 7);
        }
    }
}

/// D5, E4: room for small writes is none for a large one, which the disk refuses while another member has it.
#[test]
fn a_leader_that_refuses_a_large_write_hands_over() {
    let mut played = Played::leading(config());
    played.beats(&OTHERS, 200);
    played.shard.log.want_room(64 << 20);
    let is_alloc = |job: &Job<RealDisk>| matches!(job, Job::Alloc(_));
    let mut asked = Vec::new();
    for n in 0..2 * T_MS / 20 {
        if n == 1 {
            played.shard.no_space = Some("no room".to_owned());
        }
        played.pass(20);
        played.turn(|_| ());
        played.work_but(is_alloc);
        asked.extend(asked_to_lead(&played.sent));
        played.answer(&OTHERS);
    }
    assert!(!asked.is_empty(), "it keeps its shard");
}

/// D5: what a leader with room writes while the others have none is never committed, nor is anything behind it.
#[test]
fn a_leader_whose_majority_is_full_takes_deletions_alone() {
    for (with_room, writes) in [(&OTHERS[..], true), (&[6], true), (&[], false)] {
        let mut played = Played::leading(config());
        for _ in 0..20 {
            played.pass(20);
            played.turn(|_| ());
            played.work_but(|_| false);
            for sent in std::mem::take(&mut played.sent) {
                if let Some(mut answer) = answer(&sent) {
                    answer.has_room = with_room.contains(&answer.from.0);
                    played.step(answer);
                }
            }
        }
        let what = format!("{with_room:?} have room");
        assert_eq!(played.shard.lacks_room(), !writes, "{what}");
        assert!(!played.shard.is_disk_full(), "{what}");
        let mut seen = (false, false);
        played.turn(|shard| seen = (shard.data().writable(), shard.data().only_frees()));
        assert_eq!(seen, (writes, !writes), "{what}");
    }
}
