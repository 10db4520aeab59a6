//! What a second attack found, by eyes that did not write the code.

use crate::common::resp::{encode, Client};
use crate::harness::{check, wait_for, SOON};
use crate::real::{Real, Stage};
use crate::shim::{Op, STORAGE};

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
