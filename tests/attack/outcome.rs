//! What a turn's replies become when its entries do not share one fate (T6).

use crate::harness::{check, wait_for, SOON};
use crate::member::{Appends, Manner};
use crate::real::{reply_within, Stage};
use std::time::Duration;

/// A turn with an INCR and a unit above 1 MiB makes several entries. The first commits, then another
/// leader overwrites the rest: the INCR happened.
#[test]
fn increment_beside_a_lost_large_unit_is_answered() {
    let Some(mut stage) = Stage::open("increment_beside_a_lost_large_unit_is_answered") else {
        return;
    };
    let (real, a, b) = stage.led_by_real(&["--cluster-raft-election-timeout", "5000"]);
    real.node.ok(&["SET", "n", "0"]);
    let (mut small, mut large) = (real.node.client(), real.node.client());
    let value = "x".repeat(3 << 19);
    let bytes = crate::common::resp::encode(&["SET", "large", value.as_str()]);
    let (most, rest) = bytes.split_at(bytes.len() - 2);
    large.send_raw(most).expect("it is read");
    wait_for("the node has all but two bytes", SOON, || {
        let list = real.node.cmd(&["CLIENT", "LIST"]).text();
        let buffers = list
            .split_whitespace()
            .filter_map(|w| w.strip_prefix("qbuf="));
        let longest = buffers.filter_map(|n| n.parse::<usize>().ok()).max();
        check(longest >= Some(most.len() - 64), || list.clone())
    });
    let last = real.number("raft_last");
    a.set_manner(Manner {
        appends: Appends::UpTo(last + 1),
        ..Manner::GOOD
    });
    b.set_manner(Manner {
        appends: Appends::None,
        ..Manner::GOOD
    });
    // Both in one turn: the loop stands while they come.
    let stopped = real.shim.stop_loop_behind_clock();
    stopped.wait_hanging(SOON);
    small.send(&["INCR", "n"]).expect("it is sent");
    std::thread::sleep(Duration::from_millis(50)); // the order in which sockets became readable
    large.send_raw(rest).expect("it is sent");
    std::thread::sleep(Duration::from_millis(50));
    stopped.release();
    wait_for("the first entry alone commits", SOON, || {
        let (commit, end) = (real.number("raft_commit"), real.number("raft_last"));
        let as_wanted = commit == last + 1 && end > commit;
        check(as_wanted, || {
            format!("from {last}: commit {commit}, end {end}")
        })
    });
    // Another leader, elected by the two of us, whose log ends there.
    let to = real.raft_id();
    a.set_manner(Manner::SILENT);
    b.set_manner(Manner::SILENT);
    let append = a.member(|m| {
        m.term += 1;
        m.write(vec![Vec::new()]);
        m.commit = m.last().0;
        m.append(last + 1)
    });
    a.say(&real, to, append);
    let reply = reply_within(&mut small, SOON).expect("the INCR is answered");
    let lost = reply_within(&mut large, SOON).expect("the SET is answered");
    let mut reader = real.node.client();
    assert!(reader.cmd(&["READONLY"]).is_ok());
    let value = wait_for("the new leader's node shows its copy", SOON, || {
        let value = reader.cmd(&["GET", "n"]);
        check(!value.is_error(), || value.text())?;
        Ok(value.text())
    });
    assert_eq!(value, "1", "the first entry was committed");
    assert!(
        lost.is_error(),
        "the SET did not happen, and was answered {lost:?}"
    );
    assert!(
        !reply.is_error(),
        "n is {value}, and its INCR was answered {reply:?}"
    );
}
