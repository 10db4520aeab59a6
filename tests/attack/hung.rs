//! Disks that hang: what is answered meanwhile, by whom, and for how long it is waited for (T5).

use crate::common::resp::Value;
use crate::harness::SOON;
use crate::real::{reply_within, Stage};
use crate::shim::{Op, STORAGE};
use raft::eraftpb::MessageType;
use std::time::{Duration, Instant};

/// T5: two followers have it, so it is committed, whatever the leader's own disk does.
#[test]
#[ignore = "issue 8 A10: fails until mended"]
fn leader_with_hung_sync_answers_by_its_followers() {
    let Some(mut stage) = Stage::open("leader_with_hung_sync_answers_by_its_followers") else {
        return;
    };
    let (real, a, b) = stage.led_by_real(&["--cluster-raft-election-timeout", "3000"]);
    real.node.ok(&["SET", "a", "1"]);
    let (ours, theirs) = (a.member(|m| m.last()), b.member(|m| m.last()));
    let mut client = real.node.client();
    let hung = real.shim.on(Op::Sync).thread(STORAGE).hang();
    client.send(&["SET", "a", "2"]).expect("it is sent");
    hung.wait_hanging(SOON);
    let asked = Instant::now();
    let reply = reply_within(&mut client, Duration::from_millis(2500));
    let followers = [a.member(|m| m.last()), b.member(|m| m.last())];
    assert!(
        reply.as_ref().is_some_and(Value::is_ok),
        "{reply:?} after {:?}, though the followers had {ours:?} and {theirs:?} and have \
         {followers:?}",
        asked.elapsed()
    );
}

/// T5: a sync that has been pending for T is reason to hand over.
#[test]
#[ignore = "issue 8 A10: fails until mended"]
fn leader_with_hung_sync_hands_over() {
    let Some(mut stage) = Stage::open("leader_with_hung_sync_hands_over") else {
        return;
    };
    let (real, a, b) = stage.led_by_real(&[]);
    let (from_a, from_b) = (a.heard(), b.heard());
    let mut client = real.node.client();
    let hung = real.shim.on(Op::Sync).thread(STORAGE).hang();
    client.send(&["SET", "a", "2"]).expect("it is sent");
    hung.wait_hanging(SOON);
    let asked = Instant::now();
    while asked.elapsed() < Duration::from_secs(4) {
        let order = |from, p: &crate::played::Played| {
            p.find(from, |seen| seen.raft(MessageType::MsgTimeoutNow).map(drop))
        };
        if order(from_a, &a).or(order(from_b, &b)).is_some() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10)); // between two looks
    }
    let role = real.node.info("raft", "raft_role");
    panic!("after 4 T nobody was asked to take over; the node is {role:?}");
}

/// SIGTERM waits for no disk for ever.
#[test]
#[ignore = "issue 8 A12: fails until mended"]
fn sigterm_with_hung_sync_ends_in_time() {
    let Some(mut stage) = Stage::open("sigterm_with_hung_sync_ends_in_time") else {
        return;
    };
    let mut real = stage.alone(&["--shutdown-timeout", "1"]);
    let mut client = real.node.client();
    let hung = real.shim.on(Op::Sync).thread(STORAGE).hang();
    client.send(&["SET", "a", "1"]).expect("it is sent");
    hung.wait_hanging(SOON);
    real.node.signal(libc::SIGTERM);
    let end = Instant::now() + Duration::from_secs(15);
    while real.node.is_running() {
        assert!(
            Instant::now() < end,
            "15 s after SIGTERM: {}",
            real.last_lines()
        );
        std::thread::sleep(Duration::from_millis(10)); // between two looks
    }
}
