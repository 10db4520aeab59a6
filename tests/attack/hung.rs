//! Disks that hang: what is answered meanwhile, by whom, and for how long it is waited for (T5).

use crate::common::resp::Value;
use crate::harness::SOON;
use crate::member::{message, Member};
use crate::real::{base_of, played, reply_within, Stage};
use crate::shim::{Op, STORAGE, WITNESS};
use crate::wire;
use cluster::control::{encode_envelope, Control};
use cluster_bus::NodeId;
use raft::eraftpb::{Entry, MessageType};
use std::time::{Duration, Instant};

/// T5: two followers have it, so it is committed, whatever the leader's own disk does.
#[test]
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

/// C5: what waits for the witnesses' thread has a limit in bytes.
#[test]
fn flood_for_a_hung_witness_thread_is_bounded() {
    let Some(mut stage) = Stage::open("flood_for_a_hung_witness_thread_is_bounded") else {
        return;
    };
    let real = stage.real(&[]);
    real.own(0, 100); // a share of witnesses is counted from masters with slots
    let inviter = played();
    inviter.meet(&real);
    let base = base_of(&[(&inviter, 7)], None, Duration::from_secs(1));
    let hung = real.shim.on(Op::Sync).thread(WITNESS).hang();
    let base = Box::new(base);
    inviter.tell(&real, &Control::Invite { base });
    hung.wait_hanging(SOON);
    let before = real.node.rss();
    // A stranger; what it says is for a member that is not here, so the thread is to say GONE.
    let from = NodeId(rand::random());
    let link = wire::call(real.bus_port(), 1, from, real.id, "");
    let (mut line, _) = link.expect("a stranger gets a link");
    let limit = line.set_write_timeout(Some(Duration::from_secs(2)));
    limit.expect("a socket option");
    let mut m = message(MessageType::MsgAppend, 2);
    let entry = Entry {
        index: 1,
        term: 1,
        data: vec![0; 8 << 20].into(),
        ..Entry::default()
    };
    m.entries = vec![entry].into();
    let base = base_of(&[(&inviter, 7)], None, Duration::from_secs(1));
    let bytes = encode_envelope(&Member::new(&base, 7).envelope(99, m));
    let mut grown = 0;
    for _ in 0..75 {
        if wire::send(&mut line, &bytes).is_err() {
            break; // it is not read any more, or the node has hung up: both will do
        }
        grown = real.node.rss().saturating_sub(before) >> 20;
        assert!(grown < 400, "{grown} MB wait for the witnesses' thread");
    }
    println!("{grown} MB");
    assert_eq!(real.node.cmd(&["PING"]).text(), "PONG");
}
