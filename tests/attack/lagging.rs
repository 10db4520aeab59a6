//! A member that is behind, and entries that the leader itself has not written yet.

use crate::harness::{check, wait_for, SOON};
use crate::member::{Appends, Manner};
use crate::played::Seen;
use crate::real::Stage;
use crate::shim::{Op, STORAGE};
use raft::eraftpb::MessageType;
use std::time::Duration;

/// A read of old entries for the one that lags reaches into a value of 5 MiB which the leader's
/// storage thread has not written: that is no damage.
#[test]
fn lagging_member_and_large_value_end_no_leader() {
    let Some(mut stage) = Stage::open("lagging_member_and_large_value_end_no_leader") else {
        return;
    };
    let args = [
        "--cluster-raft-election-timeout",
        "10000",
        "--log-segment-size",
        "64mb",
    ];
    let (mut real, a, b) = stage.led_by_real(&args);
    b.set_manner(Manner::SILENT);
    for n in 0..3 {
        real.node.ok(&["SET", "a", &n.to_string()]);
    }
    let last = || real.number("raft_last");
    // An entry that is on the leader's disk and not committed yet.
    a.set_manner(Manner {
        appends: Appends::None,
        ..Manner::GOOD
    });
    let mut first = real.node.client();
    let synced = real.shim.on(Op::Sync).thread(STORAGE).delay(Duration::ZERO);
    first.send(&["SET", "a", "first"]).expect("it is sent");
    synced.wait_hits(1, SOON);
    drop(synced);
    // One whose sync hangs, and behind it the large one, for which no sync has been ordered.
    let mut second = real.node.client();
    let end = last();
    let hung = real.shim.on(Op::Sync).thread(STORAGE).hang();
    second.send(&["SET", "a", "second"]).expect("it is sent");
    hung.wait_hanging(SOON);
    let mut large = real.node.client();
    let value = "x".repeat(5 << 20);
    large.send(&["SET", "large", &value]).expect("it is sent");
    wait_for("the large value is in the log", SOON, || {
        check(last() > end + 2, || format!("{end}, then {}", last()))
    });
    // The first commits, and what is applied leaves the memory: it is above its limit.
    a.set_manner(Manner::GOOD);
    wait_for("the first one commits", SOON, || {
        let commit = real.number("raft_commit");
        check(commit >= end, || format!("{commit} of {end}"))
    });
    // The one that lags is heard again: it needs what is on disk only.
    let from = b.heard();
    b.set_manner(Manner::GOOD);
    let beats = |seen: &Seen| seen.raft(MessageType::MsgHeartbeat).map(drop);
    b.wait_seen("a heartbeat, to be answered", from, SOON, beats);
    std::thread::sleep(Duration::from_millis(300)); // the answer, and the order of the read
    drop(hung);
    wait_for("the member that lagged has all", SOON * 2, || {
        real.assert_lives("a lagging member, a large value");
        let has = b.member(|m| m.last().0);
        let all = real.try_number("raft_last").unwrap_or(u64::MAX);
        check(has >= all, || format!("{has} of {all}"))
    });
    for client in [&mut first, &mut second, &mut large] {
        let reply = client.receive().expect("a reply");
        assert!(reply.is_ok(), "{reply:?}");
    }
}
