//! DEBUG RELOAD and LOADAOF: what is on the disk is what is in memory.

use crate::common::resp::{Client, Value};
use crate::common::server::{Options, Server};
use crate::common::wait_until;
use crate::load::{check, Load};
use crate::ours_only;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

fn ours() -> Server {
    Options::new(&[("enable-debug-command", "yes")]).start()
}

fn info(server: &Server, field: &str) -> String {
    let value = server.info(field);
    value.unwrap_or_else(|| panic!("INFO has no {field}"))
}

fn digest(client: &mut Client) -> String {
    client.cmd(&["DEBUG", "DIGEST"]).text()
}

#[test]
fn reload_ends_with_the_same_keys() {
    if !ours_only("reload_ends_with_the_same_keys") {
        return;
    }
    let server = ours();
    let (mut client, mut other) = (server.client(), server.client());
    client.cmd(&["DEBUG", "POPULATE", "50000", "key", "100"]);
    client.cmd(&["SET", "mortal", "x", "PX", "86400000"]);
    client.cmd(&["SELECT", "3"]);
    client.cmd(&["SET", "elsewhere", &"z".repeat(5_000)]);
    let before = digest(&mut client);
    for (words, saves) in [
        (vec!["DEBUG", "RELOAD", "NOSAVE"], "0"),
        (vec!["DEBUG", "RELOAD"], "1"),
        (vec!["DEBUG", "LOADAOF"], "1"),
        (vec!["DEBUG", "RELOAD"], "2"),
    ] {
        let (last, first) = (
            info(&server, "raft_last"),
            info(&server, "raft_snapshot_index"),
        );
        other.cmd(&["WATCH", "key:1"]);
        assert!(client.cmd(&words).is_ok(), "{words:?}");
        assert_eq!(digest(&mut client), before, "{words:?}");
        assert_eq!(info(&server, "raft_last"), last, "{words:?} is logged");
        assert_eq!(info(&server, "rdb_saves"), saves);
        assert_eq!(info(&server, "loading"), "0");
        if saves == "1" {
            assert_ne!(info(&server, "raft_snapshot_index"), "1", "after {first}");
        }
        other.cmd(&["MULTI"]);
        other.cmd(&["PING"]);
        let exec = other.cmd(&["EXEC"]);
        assert!(
            matches!(exec, Value::Nil),
            "{exec:?}: its keys were made anew"
        );
    }
    assert!(server.dir().join("dump.rdb").exists());
    assert!(client.cmd(&["PTTL", "mortal"]).int() < 86_400_000);
    assert!(other.cmd(&["DEBUG", "RELOAD", "MERGE"]).is_error());
}

/// Writers are told LOADING meanwhile, and what they were told OK for is there.
#[test]
fn reload_beside_writes_loses_none() {
    if !ours_only("reload_beside_writes_loses_none") {
        return;
    }
    let mut server = ours();
    let mut client = server.client();
    client.cmd(&["DEBUG", "POPULATE", "20000"]);
    let mut all = Vec::new();
    for round in 0..3 {
        let prefix = format!("beside-{round}");
        let load = Load::start(&server, &prefix, 4);
        let what = "writes are acknowledged";
        wait_until(what, MINUTE, || load.acked() >= 200);
        assert!(client.cmd(&["DEBUG", "RELOAD"]).is_ok());
        all.push((prefix, load.stop()));
    }
    for (prefix, writers) in &all {
        check(&server, prefix, writers);
    }
    server.kill9();
    let server = server.restart();
    for (prefix, writers) in &all {
        check(&server, prefix, writers);
    }
}

/// Whose client has gone is done for nobody, and nobody waits for it.
#[test]
fn reload_of_a_client_that_has_gone_is_dropped() {
    if !ours_only("reload_of_a_client_that_has_gone_is_dropped") {
        return;
    }
    let server = ours();
    let mut client = server.client();
    client.cmd(&["DEBUG", "POPULATE", "300000"]);
    let mut gone = server.client();
    gone.send(&["DEBUG", "RELOAD"]).expect("the server reads");
    wait_until("it is under way", MINUTE, || {
        info(&server, "rdb_bgsave_in_progress") == "1"
    });
    assert!(client.cmd(&["DEBUG", "LOADAOF"]).is_error());
    drop(gone);
    wait_until("another one may", MINUTE, || {
        client.cmd(&["DEBUG", "LOADAOF"]).is_ok()
    });
    assert_eq!(client.cmd(&["DBSIZE"]).int(), 300_000);
}

/// Nothing is dropped before a snapshot is whole.
#[test]
fn reload_that_can_not_save_changes_nothing() {
    if !ours_only("reload_that_can_not_save_changes_nothing") {
        return;
    }
    let server = ours();
    let mut client = server.client();
    client.cmd(&["DEBUG", "POPULATE", "1000"]);
    let dump = server.dir().join("dump.rdb");
    std::fs::create_dir(&dump).expect("a folder in the way");
    assert_eq!(client.cmd(&["DEBUG", "RELOAD"]).text(), "ERR");
    assert_eq!(info(&server, "rdb_last_bgsave_status"), "err");
    assert_eq!(client.cmd(&["DBSIZE"]).int(), 1000);
    assert!(client.cmd(&["DEBUG", "RELOAD", "NOSAVE"]).is_ok());
    std::fs::remove_dir(&dump).expect("the folder goes");
    assert!(client.cmd(&["DEBUG", "RELOAD"]).is_ok());
    assert_eq!(client.cmd(&["DBSIZE"]).int(), 1000);
}
