//! `appendfsync everysec` and `no`: what is answered before what (D4).

use crate::common::resp::Value;
use crate::harness::SOON;
use crate::real::{reply_within, Stage};
use crate::shim::{Op, STORAGE};
use std::time::Duration;

/// D4: "written" means that the write has returned.
#[test]
fn large_value_under_everysec_survives_kill() {
    let Some(mut stage) = Stage::open("large_value_under_everysec_survives_kill") else {
        return;
    };
    for policy in ["everysec", "no"] {
        let mut real = stage.alone(&["--appendfsync", policy]);
        real.node.ok(&["SET", "small", "v"]);
        let mut client = real.node.client();
        let hung = real
            .shim
            .on(Op::Write)
            .thread(STORAGE)
            .path("shard-")
            .hang();
        let value = "x".repeat(300 << 10);
        client.send(&["SET", "large", &value]).expect("it is sent");
        hung.wait_hanging(SOON);
        let reply = reply_within(&mut client, Duration::from_millis(1500));
        let acknowledged = reply.as_ref().is_some_and(Value::is_ok);
        real.node.kill9();
        drop(hung);
        real.node.start();
        real.wait_serving();
        let length = real.node.cmd(&["STRLEN", "large"]).int();
        assert!(
            !acknowledged || length == value.len() as i64,
            "{policy}: acknowledged, and after kill -9 it has {length} bytes"
        );
    }
}

/// D4: record changes are synced before they are acknowledged, in every mode.
#[test]
fn slots_under_everysec_wait_for_their_sync() {
    let Some(mut stage) = Stage::open("slots_under_everysec_wait_for_their_sync") else {
        return;
    };
    for policy in ["everysec", "no"] {
        let real = stage.real(&["--appendfsync", policy]);
        real.own(0, 100);
        let mut client = real.node.client();
        let hung = real.shim.on(Op::Sync).thread(STORAGE).path("shard-").hang();
        client
            .send(&["CLUSTER", "ADDSLOTS", "101"])
            .expect("it is sent");
        let reply = reply_within(&mut client, Duration::from_millis(1500));
        assert!(reply.is_none(), "{policy}: {reply:?} before any sync");
        let told = real.node.myself().slots;
        assert!(
            !told.contains(&(0, 101)),
            "{policy}: {told:?} before any sync"
        );
        drop(hung);
        let reply = reply_within(&mut client, SOON);
        assert!(reply.is_some_and(|r| r.is_ok()), "{policy}");
    }
}
