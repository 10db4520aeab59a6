//! What a second attack found, by eyes that did not write the code.

use crate::common::resp::{encode, Client, Value};
use crate::harness::{check, wait_for, SOON};
use crate::member::{message, Appends, Manner};
use crate::played::Played;
use crate::real::{reply_within, Real, Stage};
use crate::shim::{Op, STORAGE};
use crate::wire;
use holdfast::agent::control::encode_envelope;
use holdfast::effect::{Batch, Op as Effect};
use holdfast::raft::Envelope;
use raft::eraftpb::{Entry, MessageType};
use std::time::Duration;

/// Writes until the disk is found full; the client's own connection hears it.
fn fill(client: &mut Client) {
    let value = vec![b'x'; 100_000];
    for n in 0..200 {
        let key = format!("{{t}}filler{n}");
        let set = encode(&[b"SET".as_slice(), key.as_bytes(), &value]);
        client.send_raw(&set).expect("it is sent");
        if client.receive().expect("a reply").is_error() {
            return;
        }
    }
    panic!("the disk never is full");
}

fn wait_writes(real: &Real, words: &[&str]) {
    wait_for("it writes", SOON, || {
        let reply = real.node.try_cmd(words).map_err(|e| e.to_string())?;
        check(reply.is_ok(), || reply.text())
    });
}

/// A write that a full disk refuses is no end of the client's watches: an EXEC after it would
/// overwrite what others have written since.
#[test]
fn write_refused_by_full_disk_keeps_watches() {
    let Some(mut stage) = Stage::open("write_refused_by_full_disk_keeps_watches") else {
        return;
    };
    let real = stage.alone(&["--log-segment-size", "1mb"]);
    real.node.ok(&["SET", "{t}a", "1"]);
    let mut client = real.node.client();
    assert!(client.cmd(&["WATCH", "{t}a"]).is_ok());
    let full = real
        .shim
        .on(Op::Allocate)
        .thread(STORAGE)
        .fail(libc::ENOSPC);
    fill(&mut client);
    drop(full);
    wait_writes(&real, &["SET", "{t}a", "of another"]);
    assert!(client.cmd(&["MULTI"]).is_ok());
    client.cmd(&["SET", "{t}a", "mine"]);
    let done = client.cmd(&["EXEC"]);
    let value = real.node.cmd(&["GET", "{t}a"]).text();
    assert_eq!(value, "of another", "EXEC was answered {done:?}");
}

/// C1: REPLICATE is answered OK, and done also after a crash. The mark is synced; the address of the
/// node that it names must be, too.
#[test]
fn replicate_before_nodes_conf_joins_after_crash() {
    let Some(mut stage) = Stage::open("replicate_before_nodes_conf_joins_after_crash") else {
        return;
    };
    let (leader, mut joiner) = (stage.alone(&[]), stage.real(&[]));
    let hung = joiner
        .shim
        .on(Op::Sync)
        .thread(STORAGE)
        .path("nodes.conf")
        .hang();
    meet(&joiner, &leader);
    hung.wait_hanging(SOON);
    let target = leader.id.to_string();
    joiner.node.ok(&["CLUSTER", "REPLICATE", &target]);
    joiner.node.kill9();
    drop(hung);
    joiner.node.start();
    joiner.wait_info("raft_members", "2");
}

/// Two real nodes know each other.
fn meet(one: &Real, other: &Real) {
    let port = other.node.port.to_string();
    one.node.ok(&["CLUSTER", "MEET", "127.0.0.1", &port]);
    for (node, known) in [(one, other), (other, one)] {
        let id = known.id.to_string();
        wait_for("the nodes know each other", SOON, || {
            let view = node.node.try_view().map_err(|e| e.to_string())?;
            let knows = view.iter().any(|l| l.id == id && !l.has("handshake"));
            check(knows, || format!("{view:?}"))
        });
    }
}

/// D5: a node that FORGET has removed from its shard makes a group of its own; on a full disk it
/// waits for room. It also hosts other shards' witnesses, which end with it.
#[test]
fn forget_on_full_disk_ends_no_node() {
    let Some(mut stage) = Stage::open("forget_on_full_disk_ends_no_node") else {
        return;
    };
    let (leader, mut member) = (stage.alone(&[]), stage.real(&[]));
    meet(&member, &leader);
    let target = leader.id.to_string();
    member.node.ok(&["CLUSTER", "REPLICATE", &target]);
    member.wait_info("raft_members", "2");
    let full = member.shim.on(Op::Write).path("seat").fail(libc::ENOSPC);
    leader
        .node
        .ok(&["CLUSTER", "FORGET", &member.id.to_string()]);
    full.wait_hits(1, SOON);
    std::thread::sleep(Duration::from_millis(500)); // it is to live on
    member.assert_lives("FORGET on a full disk");
    drop(full);
    member.wait_info("raft_members", "1");
    member.assert_lives("FORGET, and room again");
}

/// A stranger's frame in a member's name, over a link of the stranger's own.
fn in_the_name_of(played: &Played, real: &Real, envelope: &Envelope) {
    let line = wire::call(real.bus_port(), 1, played.id, real.id, "");
    let (mut line, _) = line.expect("a stranger gets a link in any name");
    let _ = wire::send(&mut line, &encode_envelope(envelope));
    std::thread::sleep(Duration::from_millis(300)); // before the link ends
}

/// An OK says that a majority has it on disk: nobody else can say so in the members' names.
#[test]
fn forged_append_answers_acknowledge_nothing() {
    let Some(mut stage) = Stage::open("forged_append_answers_acknowledge_nothing") else {
        return;
    };
    let (real, a, b) = stage.led_by_real(&[]);
    real.node.ok(&["SET", "a", "1"]);
    for member in [&a, &b] {
        let manner = Manner {
            appends: Appends::None,
            ..Manner::GOOD
        };
        member.set_manner(manner);
    }
    let mut client = real.node.client();
    client.send(&["SET", "a", "2"]).expect("it is sent");
    std::thread::sleep(Duration::from_millis(100)); // it is proposed
    let mut answer = message(MessageType::MsgAppendResponse, real.number("raft_term"));
    answer.index = real.number("raft_last");
    let forged = a.member(|m| m.envelope(real.raft_id(), answer));
    in_the_name_of(&a, &real, &forged);
    let reply = reply_within(&mut client, Duration::from_millis(1000));
    let has = [a.member(|m| m.last()), b.member(|m| m.last())];
    let last = real.number("raft_last");
    assert!(
        reply.is_none(),
        "{reply:?} for index {last}, of which the followers have {has:?}"
    );
}

/// What a follower has is what its leader has sent.
#[test]
fn forged_append_changes_no_data() {
    let Some(mut stage) = Stage::open("forged_append_changes_no_data") else {
        return;
    };
    let t = Duration::from_millis(2000);
    let f = stage.follows_played(t, &[]);
    let _beats = f.leader.heartbeats(&f.real, f.raft_id, t / 10);
    let mut batch = Batch::new();
    batch.begin_unit();
    batch.push(0, Effect::Set, &[b"a", b"forged"]);
    batch.end_unit();
    let mut append = message(MessageType::MsgAppend, 2);
    (append.index, append.log_term, append.commit) = (1, 1, 2);
    let entry = Entry {
        index: 2,
        term: 2,
        data: batch.take().pop().expect("one body").into(),
        ..Entry::default()
    };
    append.entries = vec![entry].into();
    let forged = f.leader.member(|m| m.envelope(f.raft_id, append));
    std::thread::sleep(Duration::from_millis(500)); // it follows
    in_the_name_of(&f.leader, &f.real, &forged);
    let mut client = f.real.node.client();
    client.cmd(&["READONLY"]);
    let value = client.cmd(&["GET", "a"]);
    assert!(
        value != Value::Bulk(b"forged".to_vec()),
        "{value:?}, which its leader never sent"
    );
}

/// C1: a joiner sees that it was added when it has applied the log up to there, which may take any
/// time. While the group's leader feeds it, it was added.
#[test]
fn joiner_of_a_long_log_is_not_begun_again() {
    let Some(mut stage) = Stage::open("joiner_of_a_long_log_is_not_begun_again") else {
        return;
    };
    let t = ["--cluster-raft-election-timeout", "200"];
    let (leader, joiner) = (stage.alone(&t), stage.real(&t));
    let mut client = leader.node.client();
    let value = "x".repeat(600 << 10);
    for n in 0..40 {
        let reply = client.cmd(&["SET", &format!("k{}", n % 5), &value]);
        assert!(reply.is_ok(), "{reply:?}");
    }
    meet(&joiner, &leader);
    let _slow = joiner
        .shim
        .on(Op::Sync)
        .thread(STORAGE)
        .path("shard-")
        .delay(Duration::from_millis(400));
    let target = leader.id.to_string();
    joiner.node.ok(&["CLUSTER", "REPLICATE", &target]);
    joiner.wait_info("raft_members", "2");
}
