//! What a third attack found, by eyes that did not write the code.

use crate::common::resp::Value;
use crate::harness::{check, wait_for, SOON};
use crate::real::{reply_within, Real, Stage};
use crate::shim::{Op, Rule, LOOP, STORAGE};
use crate::wire;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// No room for the log of a new member; the member that is there goes on.
fn no_room_for_a_member(real: &Real) -> Rule {
    real.shim
        .on(Op::Allocate)
        .thread(LOOP)
        .path("shard-")
        .fail(libc::ENOSPC)
}

/// D5, C1: a RESET that waits for room on the disk has looked for keys before. What is answered OK
/// while it waits must be there afterwards, or not be answered OK.
#[test]

fn write_while_reset_waits_for_room_stays() {
    let Some(mut stage) = Stage::open("write_while_reset_waits_for_room_stays") else {
        return;
    };
    let mut real = stage.alone(&[]);
    let before = real.node.info("raft", "raft_id").expect("its id");
    let full = no_room_for_a_member(&real);
    let mut operator = real.node.client();
    operator.send(&["CLUSTER", "RESET"]).expect("it is sent");
    full.wait_hits(1, SOON);
    let mut client = real.node.client();
    client.send(&["SET", "a", "1"]).expect("it is sent");
    let written = reply_within(&mut client, Duration::from_secs(3));
    drop(full);
    let reset = reply_within(&mut operator, SOON);
    wait_for("the reset happens", SOON, || {
        let now = real.node.info("raft", "raft_id");
        check(now.as_deref() != Some(&before), || format!("{reset:?}"))
    });
    real.assert_lives("RESET, and room again");
    let promised = written.as_ref().is_some_and(|reply| reply.is_ok());
    let found = real.node.cmd(&["GET", "a"]);
    assert!(
        !promised || found == Value::Bulk(b"1".to_vec()),
        "SET was answered {written:?}, RESET {reset:?}, and GET finds {found:?}"
    );
}

/// The lines of a node's nodes.conf, wherever it is.
fn conf_of(folder: &Path) -> Option<String> {
    let entries = fs::read_dir(folder).ok()?.flatten();
    entries.map(|e| e.path()).find_map(|path| {
        if path.is_dir() {
            return conf_of(&path);
        }
        let is_it = path.file_name().is_some_and(|name| name == "nodes.conf");
        is_it.then(|| fs::read_to_string(&path).ok())?
    })
}

/// C1: a replica's RESET that a crash cuts short, while it waits for room, can be asked for again. By
/// then its shard has let it go.
#[test]

fn reset_cut_short_on_full_disk_resumes() {
    let Some(mut stage) = Stage::open("reset_cut_short_on_full_disk_resumes") else {
        return;
    };
    let (leader, mut member) = (stage.alone(&[]), stage.real(&[]));
    member.joins(&leader);
    leader.wait_info("raft_members", "2");
    leader.wait_info("raft_voters", "1");
    let full = no_room_for_a_member(&member);
    let mut operator = member.node.client();
    operator.send(&["CLUSTER", "RESET", "HARD"]).expect("sent");
    full.wait_hits(1, SOON);
    wait_for("the reset waits for room", SOON, || {
        let log = member.node.log();
        check(log.contains("Can't begin"), || log.clone())
    });
    // What others are known by must outlive the crash: nothing else says where the shard is.
    let conf = conf_of(&member.node.dir).unwrap_or_default();
    assert!(conf.contains(&leader.id.to_string()), "{conf}");
    member.node.kill9();
    drop(full);
    member.node.start();
    wait_for("RESET is done", SOON, || {
        let reply = member.node.try_cmd(&["CLUSTER", "RESET", "HARD"]);
        let reply = reply.map_err(|e| e.to_string())?;
        check(reply.is_ok(), || {
            format!(
                "{}\n{}",
                reply.text(),
                member.node.cmd(&["INFO", "raft"]).text()
            )
        })
    });
    member.assert_lives("RESET after a crash");
}

/// C1: what became of an earlier RESET is no answer to a later one.
#[test]

fn reset_after_failed_one_is_tried() {
    let Some(mut stage) = Stage::open("reset_after_failed_one_is_tried") else {
        return;
    };
    let real = stage.alone(&[]);
    let mut client = real.node.client();
    // Behind another command of an EXEC the reset is not waited for, and finds the key that comes after it.
    let queued = [&["PING"][..], &["CLUSTER", "RESET"], &["SET", "a", "1"]];
    client.cmd(&["MULTI"]);
    for words in queued {
        client.cmd(words);
    }
    let done = client.cmd(&["EXEC"]);
    real.wait_serving(); // turns have gone by: the reset has given up
    let flushed = client.cmd(&["FLUSHALL"]);
    let reset = client.cmd(&["CLUSTER", "RESET"]);
    assert!(reset.is_ok(), "{reset:?}, after {done:?} and {flushed:?}");
}

/// C1: RESET answers within a bound also while a join waits for room.
#[test]

fn reset_while_join_waits_is_answered() {
    let Some(mut stage) = Stage::open("reset_while_join_waits_is_answered") else {
        return;
    };
    let (leader, member) = (stage.alone(&[]), stage.real(&[]));
    member.meet(&leader);
    let full = no_room_for_a_member(&member);
    member
        .node
        .ok(&["CLUSTER", "REPLICATE", &leader.id.to_string()]);
    full.wait_hits(1, SOON);
    let mut operator = member.node.client();
    operator.send(&["CLUSTER", "RESET"]).expect("it is sent");
    let reply = reply_within(&mut operator, Duration::from_secs(20));
    assert!(reply.is_some(), "no answer in 20 s");
}

/// MiB of memory that a process has.
fn memory_of(pid: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let line = status.lines().find(|l| l.starts_with("VmRSS"));
    let number = line.and_then(|l| l.split_whitespace().nth(1)?.parse::<usize>().ok());
    number.expect("a number of KiB") / 1024
}

/// Whether the other side has ended it.
fn has_ended(mut link: &TcpStream) -> bool {
    link.set_nonblocking(true).expect("a socket option");
    let read = link.read(&mut [0]);
    !read.is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock)
}

/// T9: what a stranger sends and does not finish must not fill the memory.
#[test]
fn unfinished_packets_of_strangers_are_bounded() {
    let Some(mut stage) = Stage::open("unfinished_packets_of_strangers_are_bounded") else {
        return;
    };
    let mut real = stage.alone(&[]);
    let pid = real.node.info("server", "process_id").expect("a pid");
    let pid: u32 = pid.parse().expect("a number");
    let before = memory_of(pid);
    let most = vec![7_u8; 1 << 20];
    let mut links = Vec::new();
    for _ in 0..10 {
        let mut link = TcpStream::connect(("127.0.0.1", real.bus_port())).expect("a link");
        let limit = link.set_write_timeout(Some(Duration::from_secs(2)));
        limit.expect("a socket option");
        let begin = [b"RCmb".as_slice(), &(60_u32 << 20).to_be_bytes()].concat();
        let mut sent = link.write_all(&begin);
        for _ in 0..59 {
            sent = sent.and_then(|()| link.write_all(&most));
        }
        links.push((link, sent));
    }
    // Two of them fit; the others must not stay.
    wait_for("the node ends what does not fit", SOON, || {
        let ended = links
            .iter()
            .filter(|(link, sent)| sent.is_err() || has_ended(link));
        let ended = ended.count();
        check(ended >= links.len() - 3, || format!("{ended} have ended"))
    });
    let after = memory_of(pid);
    real.assert_lives("unfinished packets");
    assert!(after - before < 300, "{before} MiB before, {after} MiB now");
}

/// G2: a replica's links to its leader are made anew while a stranger calls in its name: one that is
/// not proved yet may lose its place, but it gets it in the end.
#[test]
fn calls_in_a_members_name_do_not_silence_it() {
    let Some(mut stage) = Stage::open("calls_in_a_members_name_do_not_silence_it") else {
        return;
    };
    let (leader, mut member) = (stage.alone(&[]), stage.real(&[]));
    member.joins(&leader);
    leader.node.ok(&["SET", "a", "1"]);
    let stop = AtomicBool::new(false);
    let took = std::thread::scope(|scope| {
        let flood = |class: u8| {
            let mut kept = std::collections::VecDeque::new();
            let mut calls = 0;
            while !stop.load(Ordering::SeqCst) {
                if let Ok((link, _)) =
                    wire::call(leader.bus_port(), class, member.id, leader.id, "")
                {
                    kept.push_back(link);
                    calls += 1;
                }
                if kept.len() > 8 {
                    kept.pop_front();
                }
            }
            calls
        };
        let floods = [0, 0, 1].map(|class| scope.spawn(move || flood(class)));
        member.node.kill9();
        member.node.start();
        let begun = Instant::now();
        let mut done = None;
        while done.is_none() && begun.elapsed() < Duration::from_secs(20) {
            let mut client = leader.node.client();
            client.cmd(&["SET", "a", "2"]);
            let reply = format!("{:?}", client.cmd(&["WAIT", "1", "500"]));
            if reply.contains('1') {
                done = Some(begun.elapsed());
            }
        }
        stop.store(true, Ordering::SeqCst);
        let calls: Vec<usize> = floods
            .into_iter()
            .map(|f| f.join().expect("ends"))
            .collect();
        println!("{calls:?} calls, {done:?}");
        done
    });
    assert!(took.is_some(), "20 s without an answer of the replica");
}

/// D5, C1: a removed member that a crash ends while it waits for room makes its group after it.
#[test]
fn forgotten_member_on_full_disk_survives_crash() {
    let Some(mut stage) = Stage::open("forgotten_member_on_full_disk_survives_crash") else {
        return;
    };
    let (leader, mut member) = (stage.alone(&[]), stage.real(&[]));
    member.joins(&leader);
    let full = no_room_for_a_member(&member);
    leader
        .node
        .ok(&["CLUSTER", "FORGET", &member.id.to_string()]);
    full.wait_hits(1, SOON);
    member.node.kill9();
    drop(full);
    member.node.start();
    member.wait_info("raft_voters", "1");
    member.wait_info("raft_role", "leader");
}

/// D5, C1: a join that a crash ends while it waits for room goes on after it.
#[test]
fn join_on_full_disk_survives_crash() {
    let Some(mut stage) = Stage::open("join_on_full_disk_survives_crash") else {
        return;
    };
    let (leader, mut member) = (stage.alone(&[]), stage.real(&[]));
    member.meet(&leader);
    let full = no_room_for_a_member(&member);
    member
        .node
        .ok(&["CLUSTER", "REPLICATE", &leader.id.to_string()]);
    full.wait_hits(2, SOON);
    member.node.kill9();
    drop(full);
    member.node.start();
    member.wait_info("raft_members", "2");
}

/// C1: a REPLICATE replaces a RESET that waits, and is answered OK: the RESET that it has replaced
/// does not undo it.
#[test]

fn replicate_after_waiting_reset_joins() {
    let Some(mut stage) = Stage::open("replicate_after_waiting_reset_joins") else {
        return;
    };
    let (leader, member, other) = (stage.alone(&[]), stage.real(&[]), stage.real(&[]));
    member.meet(&leader);
    member.meet(&other);
    member
        .node
        .ok(&["CLUSTER", "REPLICATE", &leader.id.to_string()]);
    member.wait_info("raft_members", "2");
    member.wait_info("raft_role", "learner");
    leader.node.signal(libc::SIGSTOP);
    let mut operator = member.node.client();
    operator.send(&["CLUSTER", "RESET"]).expect("it is sent");
    let early = reply_within(&mut operator, Duration::from_millis(200));
    assert_eq!(early, None, "RESET waits for the leader");
    member
        .node
        .ok(&["CLUSTER", "REPLICATE", &other.id.to_string()]);
    leader.node.signal(libc::SIGCONT);
    let reset = reply_within(&mut operator, SOON);
    wait_for("it joins the other node", SOON, || {
        let text = member.node.cmd(&["INFO", "replication"]).text();
        let view = member.node.try_view().map_err(|e| e.to_string())?;
        let joined = member.group() == other.group() && text.contains("role:slave");
        check(joined, || format!("RESET was answered {reset:?}\n{view:?}"))
    });
}

/// C1: a REPLICATE that was answered OK is done also after a crash. An older text of nodes.conf that
/// the storage thread was writing meanwhile must not take the place of the one that names the target.
#[test]

fn older_nodes_conf_replaces_none_of_replicate() {
    let Some(mut stage) = Stage::open("older_nodes_conf_replaces_none_of_replicate") else {
        return;
    };
    let (leader, mut joiner, mut third) = (stage.alone(&[]), stage.real(&[]), stage.real(&[]));
    let hang = |joiner: &Real| {
        let order = joiner.shim.on(Op::Sync).thread(STORAGE);
        order.path("nodes.conf").hang()
    };
    // A call that hangs in one order meets those behind it, not the one that takes this place.
    let place = joiner.shim.on(Op::Allocate).path("nothing").fail(0);
    let older = hang(&joiner);
    drop(place);
    joiner.meet(&third);
    older.wait_hanging(SOON);
    third.node.kill9(); // it could tell of the target
    joiner.meet(&leader);
    let target = leader.id.to_string();
    leader.node.signal(libc::SIGSTOP); // it would take the node in at once
    joiner.node.ok(&["CLUSTER", "REPLICATE", &target]);
    let saved = conf_of(&joiner.node.dir).unwrap_or_default();
    assert!(saved.contains(&target), "REPLICATE saves it: {saved}");
    let next = hang(&joiner);
    drop(older);
    next.wait_hanging(SOON);
    joiner.node.kill9();
    let kept = conf_of(&joiner.node.dir).unwrap_or_default();
    drop(next);
    joiner.node.start();
    leader.node.signal(libc::SIGCONT);
    wait_for("it joins", SOON, || {
        let members = joiner.try_number("raft_members");
        check(members == Some(2), || format!("after the crash: {kept}"))
    });
}

/// T9: strangers that reach the port take places there and say no more; a node that speaks must get one
/// all the same, or a restarted member never comes back.
#[test]
fn idle_strangers_keep_no_node_out() {
    let Some(mut stage) = Stage::open("idle_strangers_keep_no_node_out") else {
        return;
    };
    let (leader, node) = (stage.alone(&[]), stage.real(&[]));
    let mut idle = Vec::new();
    for _ in 0..10_020 {
        let Ok(mut link) = TcpStream::connect(("127.0.0.1", leader.bus_port())) else {
            return crate::common::skipped("idle_strangers_keep_no_node_out", "too few open files");
        };
        let _ = link.write_all(b"RCmb");
        idle.push(link);
    }
    wait_for("they have all the places", SOON, || {
        let log = leader.node.log();
        let told = ["there are too many", "others need its place"];
        check(told.iter().any(|told| log.contains(told)), || {
            leader.last_lines()
        })
    });
    // Within many times as long as a greeting may take; and they are still there, but for a few.
    node.meet(&leader);
    let gone = |link: &&TcpStream| {
        link.set_nonblocking(true).expect("a socket option");
        (&mut &**link).read(&mut [0]).is_ok_and(|n| n == 0)
    };
    let gone = idle.iter().filter(gone).count();
    assert!(gone < 1_000, "{gone} of the strangers have left");
}

/// D5: what strangers say must not fill the disk with the log.
#[test]
fn refused_calls_fill_no_log() {
    let Some(mut stage) = Stage::open("refused_calls_fill_no_log") else {
        return;
    };
    let real = stage.alone(&[]);
    let before = real.node.log().len();
    let begun = Instant::now();
    for _ in 0..3_000 {
        let link = TcpStream::connect(("127.0.0.1", real.bus_port()));
        let mut link = link.expect("a link");
        let call = [wire::MAGIC.as_slice(), &[99]].concat(); // a version that there is not
        link.write_all(&call).expect("it is sent");
        let _ = link.read(&mut [0]); // it hangs up
    }
    let took = begun.elapsed();
    real.wait_serving();
    let log = real.node.log();
    let lines = log[before..].lines().count();
    let most = 100 * (1 + took.as_secs() as usize);
    assert!(
        lines < most,
        "{lines} lines in {took:?}, the last: {}",
        real.last_lines()
    );
}

/// D5: the sync of the identity fails. Its name may be on disk already, so an error would tell the client
/// that nothing has happened while the next start may do it: the process ends.
#[test]
fn failed_sync_of_identity_ends_process() {
    let Some(mut stage) = Stage::open("failed_sync_of_identity_ends_process") else {
        return;
    };
    let (leader, mut member) = (stage.alone(&[]), stage.real(&[]));
    member.meet(&leader);
    let _failing = member.shim.on(Op::Sync).path("identity").fail(libc::EIO);
    let mut client = member.node.client();
    let sent = client.send(&["CLUSTER", "REPLICATE", &leader.id.to_string()]);
    sent.expect("it is sent");
    member.node.wait_exit(SOON);
    let reply = reply_within(&mut client, SOON);
    assert!(!reply.is_some_and(|r| r.is_ok()), "OK before the sync");
}
