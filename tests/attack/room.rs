//! Effects larger than their arguments, and logs without room (D5, T2).

use crate::common::resp::{encode, Client};
use crate::harness::{check, wait_for, SOON};
use crate::member::{Manner, Member};
use crate::played::{Played, Seen};
use crate::real::{reply_within, Real, Stage};
use crate::shim::{Op, STORAGE};
use effect::{Batch, PART_BYTES};
use raft::eraftpb::MessageType;
use state::op;
use std::time::{Duration, Instant};

/// Room for about two megabytes.
const SMALL: &[&str] = &["--log-segment-size", "1mb", "--enable-debug-command", "yes"];

/// Many commands as one pipeline; none may fail.
fn pipeline(client: &mut Client, commands: impl Iterator<Item = Vec<String>>) {
    let commands: Vec<Vec<u8>> = commands.map(|c| encode(&c)).collect();
    for chunk in commands.chunks(10_000) {
        client.send_raw(&chunk.concat()).expect("it is read");
        for _ in chunk {
            let reply = client.receive().expect("a reply");
            assert!(!reply.is_error(), "{reply:?}");
        }
    }
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(String::from).collect()
}

/// Many keys whose time is over and that nobody has deleted.
fn expired(real: &Real) {
    real.node.ok(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
    let mut client = real.node.client();
    let key = |n| words(&format!("SET some-key-of-a-certain-length:{n} v PX 1"));
    pipeline(&mut client, (0..150_000).map(key));
}

/// The command is answered somehow, or held; the node lives, and serves when there is room.
fn survives(test: &str, prepare: impl Fn(&Real), commands: &[Vec<String>]) {
    let Some(mut stage) = Stage::open(test) else {
        return;
    };
    let mut broken = Vec::new();
    for full in [false, true] {
        let mut real = stage.alone(SMALL);
        prepare(&real);
        let no_room = full.then(|| {
            let order = real.shim.on(Op::Allocate).thread(STORAGE);
            order.fail(libc::ENOSPC)
        });
        let mut client = real.node.client();
        let bytes: Vec<u8> = commands.iter().flat_map(|c| encode(c)).collect();
        client.send_raw(&bytes).expect("it is sent");
        let mut replies = Vec::new();
        let end = Instant::now() + Duration::from_secs(if full { 3 } else { 20 });
        while replies.len() < commands.len() && Instant::now() < end && real.node.is_running() {
            replies.extend(reply_within(&mut client, Duration::from_millis(200)));
        }
        if !real.node.is_running() {
            eprintln!("disk full: {full}: it ended\n{}", real.last_lines());
            broken.push(full);
            continue;
        }
        drop(no_room);
        if !full {
            assert_eq!(replies.len(), commands.len(), "not all were answered");
        }
        wait_for("it writes", SOON, || {
            let reply = real.node.try_cmd(&["SET", "a", "v"]);
            let reply = reply.map_err(|e| e.to_string())?;
            check(reply.is_ok(), || format!("{reply:.100?}"))
        });
    }
    assert!(broken.is_empty(), "it ended; was the disk full: {broken:?}");
}

#[test]
fn keys_over_expired_keys_ends_no_node() {
    let test = "keys_over_expired_keys_ends_no_node";
    survives(test, expired, &[words("KEYS *")]);
}

#[test]
fn scan_over_expired_keys_ends_no_node() {
    let test = "scan_over_expired_keys_ends_no_node";
    survives(test, expired, &[words("SCAN 0 COUNT 1000000")]);
}

#[test]
fn growing_effects_of_a_transaction_end_no_node() {
    let test = "growing_effects_of_a_transaction_end_no_node";
    let mut commands = vec![words("MULTI")];
    commands.extend((0..2000).map(|n| words(&format!("INCRBYFLOAT {{t}}{n} 1e4900"))));
    commands.push(words("EXEC"));
    survives(test, |_| (), &commands);
}

#[test]
fn debug_populate_ends_no_node() {
    let test = "debug_populate_ends_no_node";
    survives(test, |_| (), &[words("DEBUG POPULATE 200000")]);
}

/// A body that sets a key to so many bytes.
fn body(n: u64, bytes: usize) -> Vec<u8> {
    let mut batch = Batch::new(PART_BYTES);
    batch.begin_unit();
    let key = format!("k{n}");
    batch.push(0, op::SET, &[key.as_bytes(), &vec![b'x'; bytes]]);
    batch.end_unit();
    batch.take().pop().expect("one body")
}

/// Sends entries until the follower takes no more: its last index.
fn fill(leader: &Played, other: &Played, real: &Real, to: u64) -> u64 {
    let mut stored = 1;
    loop {
        let entry = vec![body(stored, 30_000)];
        for played in [leader, other] {
            played.member(|m| m.write(entry.clone()));
        }
        let from = leader.heard();
        let append = leader.member(|m| m.append(stored));
        leader.say(real, to, append);
        let answers = |seen: &Seen| {
            let answer = seen.raft(MessageType::MsgAppendResponse)?;
            (answer.message.index > stored && !answer.message.reject).then_some(())
        };
        let end = Instant::now() + Duration::from_millis(700);
        while leader.find(from, answers).is_none() {
            if Instant::now() > end {
                return stored;
            }
            std::thread::sleep(Duration::from_millis(2)); // between two looks
        }
        stored += 1;
    }
}

/// D5: a leader that can't write its epoch entry hands over within 2 T to a voter that has room.
#[test]
fn elected_replica_without_room_hands_over() {
    let Some(mut stage) = Stage::open("elected_replica_without_room_hands_over") else {
        return;
    };
    let t = Duration::from_millis(2000);
    let f = stage.follows_played(t, &["--log-segment-size", "1mb"]);
    let _full = f
        .real
        .shim
        .on(Op::Allocate)
        .thread(STORAGE)
        .fail(libc::ENOSPC);
    let beats = f.leader.heartbeats(&f.real, f.raft_id, t / 10);
    let stored = fill(&f.leader, &f.other, &f.real, f.raft_id);
    println!("the follower has {stored} entries and no room");
    // The other voter has exactly these; the leader is gone.
    f.other.member(|m: &mut Member| m.cut(stored));
    f.other.set_manner(Manner::GOOD);
    f.leader.set_manner(Manner::SILENT);
    let from = f.other.heard();
    drop(beats);
    f.real.wait_info("raft_role", "leader");
    let led = Instant::now();
    let ordered = |seen: &Seen| seen.raft(MessageType::MsgTimeoutNow).map(drop);
    while f.other.find(from, ordered).is_none() {
        let reply = f.real.node.try_cmd(&["SET", "a", "v"]);
        assert!(
            led.elapsed() < t * 4,
            "it has led for 4 T, hands over to nobody, and answers {reply:?}"
        );
    }
}
