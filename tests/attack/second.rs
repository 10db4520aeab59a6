//! What a second attack found, by eyes that did not write the code.

use crate::common::resp::{encode, Client, Value};
use crate::common::server::info_field;
use crate::harness::{check, wait_for, SOON};
use crate::member::{message, Appends, Manner, Member};
use crate::played::{Played, Seen};
use crate::real::{base_of, played, reply_within, Follower, Real, Stage};
use crate::shim::{Op, STORAGE, WITNESS};
use crate::wire;
use cluster::control::{encode_envelope, Control};
use effect::{Batch, PART_BYTES};
use raft::eraftpb::{Entry, MessageType};
use raft_group::Envelope;
use state::op;
use std::time::{Duration, Instant};

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
    joiner.meet(&leader);
    hung.wait_hanging(SOON);
    let target = leader.id.to_string();
    joiner.node.ok(&["CLUSTER", "REPLICATE", &target]);
    joiner.node.kill9();
    drop(hung);
    joiner.node.start();
    joiner.wait_info("raft_members", "2");
}

/// D5: a node that FORGET has removed from its shard makes a group of its own; on a full disk it
/// waits for room. It also hosts other shards' witnesses, which end with it.
#[test]
fn forget_on_full_disk_ends_no_node() {
    let Some(mut stage) = Stage::open("forget_on_full_disk_ends_no_node") else {
        return;
    };
    let (leader, mut member) = (stage.alone(&[]), stage.real(&[]));
    member.joins(&leader);
    let full = member
        .shim
        .on(Op::Write)
        .path("identity")
        .fail(libc::ENOSPC);
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
    let mut batch = Batch::new(PART_BYTES);
    batch.begin_unit();
    batch.push(0, op::SET, &[b"a", b"forged"]);
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
    joiner.meet(&leader);
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

/// D6, T8: the same in parts, which come one by one, so that the door sees no whole unit.
#[test]
fn undecodable_large_unit_is_no_crash_loop() {
    let Some(mut stage) = Stage::open("undecodable_large_unit_is_no_crash_loop") else {
        return;
    };
    let t = Duration::from_secs(2);
    let mut f = stage.follows_played(t, &[]);
    let _beats = f.leader.heartbeats(&f.real, f.raft_id, t / 10);
    // A node of a cluster has one database.
    let parts = bodies(5, op::SET, &[b"a", &vec![b'x'; 1_500_000]]);
    assert!(parts.len() > 1);
    lead(&f, parts);
    assert_starts(&mut f.real, "a large unit");
}

/// D6: an effect that can be read and does not fit what this member has proves that two keyspaces of a
/// shard differ, or that its leader lies. To skip it could lose an acknowledged write: the member ends,
/// says which entry it was, and keeps every byte for the operator, also when it is started again.
#[test]
fn unfitting_effect_ends_member_keeps_its_log() {
    let Some(mut stage) = Stage::open("unfitting_effect_ends_member_keeps_its_log") else {
        return;
    };
    let t = Duration::from_secs(2);
    let text = bodies(0, op::SET, &[b"{a}text", b"no number"]);
    let lies = [
        ("INCRBY", bodies(0, op::INCRBY, &[b"{a}text", b"1"])),
        ("RENAME", bodies(0, op::RENAME, &[b"{a}none", b"{a}b"])),
    ];
    for (what, lie) in lies {
        let mut f = stage.follows_played(t, &[]);
        let _beats = f.leader.heartbeats(&f.real, f.raft_id, t / 10);
        lead(&f, [text.clone(), lie].concat());
        f.real.node.wait_exit(SOON);
        let kept = f.real.folders();
        for start in 0..2 {
            let said = f.real.last_lines();
            let why = format!("the keyspace is not what the effect {what} expects");
            assert!(said.contains(&why), "{what}, start {start}:\n{said}");
            assert_eq!(f.real.folders(), kept, "{what}, start {start}");
            f.real.node.spawn();
            f.real.node.wait_exit(SOON);
        }
    }
}

/// The bodies of the entries that hold one effect.
fn bodies(db: u32, effect: op::Op, args: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut batch = Batch::new(PART_BYTES);
    batch.begin_unit();
    batch.push(db, effect, args);
    batch.end_unit();
    batch.take()
}

/// The played leader sends entries with these bodies, one by one, and commits them.
fn lead(f: &Follower, bodies: Vec<Vec<u8>>) {
    for body in bodies.into_iter().map(Some).chain([None]) {
        let (after, append) = f.leader.member(|m| {
            let after = m.last().0;
            m.write(vec![body.unwrap_or_default()]);
            m.commit = after;
            (after, m.append(after))
        });
        f.leader.say(&f.real, f.raft_id, append);
        let stored = |seen: &Seen| {
            let answer = seen.raft(MessageType::MsgAppendResponse)?;
            (answer.message.index > after && !answer.message.reject).then_some(())
        };
        let end = Instant::now() + Duration::from_secs(2);
        while f.leader.soon(0, stored).is_err() && Instant::now() < end {}
    }
    std::thread::sleep(Duration::from_secs(1)); // for its apply, or its end
}

/// It starts, also once more.
fn assert_starts(real: &mut Real, after: &str) {
    for start in 0..2 {
        if real.node.is_running() {
            real.node.kill9();
        }
        real.node.spawn();
        let mut answers = false;
        let end = Instant::now() + SOON;
        while !answers && real.node.is_running() && Instant::now() < end {
            answers = real.node.info("server", "process_id").is_some();
        }
        let said = real.last_lines();
        assert!(answers, "{after}, start {start}: it ended\n{said}");
    }
}

/// G2, D6: a node that lies makes no other one delete a log: what it ends is set aside, a witness's
/// log like a data member's.
#[test]
fn witness_told_of_lost_log_keeps_it() {
    let Some(mut stage) = Stage::open("witness_told_of_lost_log_keeps_it") else {
        return;
    };
    let real = stage.real(&[]);
    real.own(0, 100); // a share of witnesses is counted from masters with slots
    let leader = played();
    leader.meet(&real);
    let base = base_of(&[(&leader, 7)], None, Duration::from_secs(2));
    let group = base.identity.group;
    let mut member = Member::new(&base, 7);
    member.term = 2;
    member.write(vec![Vec::new()]);
    let append = member.append(1);
    leader.play(member);
    // An invitation that crosses the answer to the one before undoes it: each answer is tried.
    let raft_id = wait_for("the witness stores an entry", SOON, || {
        let from = leader.heard();
        let base = Box::new(base.clone());
        leader.tell(&real, &Control::Invite { base });
        let invited = |seen: &Seen| match seen.control() {
            Some(Control::Invited { raft_id, .. }) => Some(*raft_id),
            _ => None,
        };
        let raft_id = leader.soon(from, invited)?;
        leader.say(&real, raft_id.0, append.clone());
        let stored = |seen: &Seen| {
            let answer = seen.raft(MessageType::MsgAppendResponse)?;
            let of_it = answer.from == raft_id && answer.message.index == 2;
            (of_it && !answer.message.reject).then_some(raft_id)
        };
        leader.soon(from, stored)
    });
    let index = 1000;
    leader.tell(
        &real,
        &Control::Stored {
            group,
            raft_id,
            index,
        },
    );
    let name = |prefix| format!("{prefix}-{raft_id:016x}");
    wait_for("the witness ends", SOON, || {
        let folders = real.folders();
        check(!folders.contains(&name("witness")), || {
            format!("{folders:?}")
        })
    });
    let folders = real.folders();
    assert!(
        folders.contains(&name("lost")),
        "its log is gone: {folders:?}"
    );
}

/// SIGTERM waits for no disk for ever, for that of the hosted witnesses neither.
#[test]
fn sigterm_with_hung_witness_ends_in_time() {
    let Some(mut stage) = Stage::open("sigterm_with_hung_witness_ends_in_time") else {
        return;
    };
    let mut real = stage.real(&["--shutdown-timeout", "1"]);
    real.own(0, 100); // a share of witnesses is counted from masters with slots
    let inviter = played();
    inviter.meet(&real);
    let hung = real.shim.on(Op::Sync).thread(WITNESS).hang();
    let base = Box::new(base_of(&[(&inviter, 7)], None, Duration::from_secs(1)));
    inviter.tell(&real, &Control::Invite { base });
    hung.wait_hanging(SOON);
    real.node.signal(libc::SIGTERM);
    let end = Instant::now() + Duration::from_secs(15);
    while real.node.is_running() {
        let said = real.last_lines();
        assert!(Instant::now() < end, "15 s after SIGTERM: {said}");
        std::thread::sleep(Duration::from_millis(10)); // between two looks
    }
}

/// A password that is set while the node runs keeps out who came before it.
#[test]
fn link_from_before_password_acknowledges_nothing() {
    let Some(mut stage) = Stage::open("link_from_before_password_acknowledges_nothing") else {
        return;
    };
    let (real, a, b) = stage.led_by_real(&[]);
    let line = wire::call(real.bus_port(), 1, a.id, real.id, "");
    let (mut line, _) = line.expect("a stranger gets a link in any name");
    let mut client = real.node.client();
    for directive in ["masterauth", "requirepass"] {
        let set = client.cmd(&["CONFIG", "SET", directive, "secret"]);
        assert!(set.is_ok(), "{set:?}");
    }
    let (term, to) = {
        let text = client.cmd(&["INFO", "raft"]).text();
        let field = |name| info_field(&text, name).expect("a field");
        let id = u64::from_str_radix(&field("raft_id"), 16).expect("hex");
        (field("raft_term").parse().expect("a number"), id)
    };
    for member in [&a, &b] {
        let manner = Manner {
            appends: Appends::None,
            ..Manner::GOOD
        };
        member.set_manner(manner);
    }
    client.send(&["SET", "a", "2"]).expect("it is sent");
    std::thread::sleep(Duration::from_millis(100)); // it is proposed
    for index in a.member(|m| m.last().0)..a.member(|m| m.last().0) + 4 {
        let mut answer = message(MessageType::MsgAppendResponse, term);
        answer.index = index;
        let forged = a.member(|m| m.envelope(to, answer));
        let _ = wire::send(&mut line, &encode_envelope(&forged));
        std::thread::sleep(Duration::from_millis(20));
        if let Some(reply) = reply_within(&mut client, Duration::from_millis(200)) {
            panic!("{reply:?}, by a link that knows no password");
        }
    }
}
