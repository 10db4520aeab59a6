//! A new node begins with the keys of an RDB file, once (P22).

use crate::common::server::{Options, Server};
use crate::common::skipped;
use crate::ours_only;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/crates/rdb/tests/golden");

fn golden(name: &str) -> PathBuf {
    Path::new(GOLDEN).join(name)
}

/// A folder with a file of a Redis on this machine that has so many keys, or of another one.
fn dumped(test: &str) -> (tempfile::TempDir, i64) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let loads = Command::new("redis-server").arg("--version").output();
    if loads.is_err() {
        skipped(
            test,
            "no redis-server here: files that one has made before do",
        );
        fs::copy(golden("plain.rdb"), folder.path().join("dump.rdb")).expect("a copy");
        return (folder, 0);
    }
    let redis = Options::new(&[("appendonly", "no")])
        .bin("redis-server")
        .dir(folder.path())
        .start();
    let mut client = redis.client();
    for n in 0..50 {
        client.cmd(&["SET", &format!("key:{n}"), "x"]);
    }
    client.cmd(&["SELECT", "3"]);
    client.cmd(&["SET", "mortal", "y", "PX", "86400000"]);
    assert!(client.cmd(&["SAVE"]).is_ok());
    drop(redis);
    (folder, 50)
}

fn start_in(folder: &Path, more: &[(&str, &str)]) -> Server {
    Options::new(more).dir(folder).start()
}

#[test]
fn flushed_keys_of_a_dump_stay_away() {
    const TEST: &str = "flushed_keys_of_a_dump_stay_away";
    if !ours_only(TEST) {
        return;
    }
    let (folder, keys) = dumped(TEST);
    let server = start_in(folder.path(), &[]);
    let mut client = server.client();
    if keys > 0 {
        assert_eq!(client.cmd(&["DBSIZE"]).int(), keys);
        assert_eq!(client.cmd(&["GET", "key:7"]).text(), "x");
        client.cmd(&["SELECT", "3"]);
        assert!(client.cmd(&["PTTL", "mortal"]).int() > 80_000_000);
    }
    client.cmd(&["SELECT", "0"]);
    client.cmd(&["SET", "since", "1"]);
    let server = server.restart();
    let mut client = server.client();
    assert_eq!(client.cmd(&["GET", "since"]).text(), "1", "it has both");
    assert!(client.cmd(&["DBSIZE"]).int() > 1);
    assert!(client.cmd(&["FLUSHALL"]).is_ok());
    let server = server.restart();
    assert_eq!(server.client().cmd(&["DBSIZE"]).int(), 0, "it is back");
}

#[test]
fn dump_with_unknown_types_refuses_the_start() {
    if !ours_only("dump_with_unknown_types_refuses_the_start") {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("dump.rdb");
    // It begins with a stream.
    fs::write(&path, b"REDIS0010\xfe\x00\x13\x01k\x00").expect("a file");
    let (status, said) = Server::start_refused(Options::new(&[]).dir(folder.path()));
    assert!(!status.success());
    for what in [
        "dump.rdb can't be imported: ",
        "values of this type are not known here",
    ] {
        assert!(said.contains(what), "{what}: {said}");
    }
    fs::remove_file(&path).expect("it is there");
    let server = start_in(folder.path(), &[]);
    assert_eq!(server.client().cmd(&["DBSIZE"]).int(), 0);
}

/// Opening a pipe waits until another process writes to it: the start stood there, and a signal did not end it.
#[test]
fn pipe_in_the_dumps_place_refuses_the_start() {
    if !ours_only("pipe_in_the_dumps_place_refuses_the_start") {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("dump.rdb");
    let made = Command::new("mkfifo").arg(&path).status();
    assert!(made.expect("mkfifo is everywhere").success());
    let (status, said) = Server::start_refused(Options::new(&[]).dir(folder.path()));
    assert!(!status.success());
    let want = "dump.rdb can't be imported: open dump.rdb: it is no regular file";
    assert!(said.contains(want), "{said}");
}

/// A group that a RESET has made has no keys in its log either.
#[test]
fn reset_node_does_not_import_again() {
    if !ours_only("reset_node_does_not_import_again") {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::copy(golden("idle.rdb"), folder.path().join("dump.rdb")).expect("a copy");
    let server = start_in(folder.path(), &[("cluster-enabled", "yes")]);
    let mut client = server.client();
    crate::common::wait_until(
        "they are loaded",
        std::time::Duration::from_secs(20),
        || !client.cmd(&["DBSIZE"]).is_error(),
    );
    let keys = client.cmd(&["DBSIZE"]).int();
    assert!(keys > 0, "they were imported");
    let info = client.cmd(&["CLUSTER", "INFO"]).text();
    assert!(!info.contains("cluster_slots_assigned:0"), "{info}");
    assert!(
        client.cmd(&["CLUSTER", "FLUSHSLOTS"]).is_error(),
        "with keys"
    );
    crate::common::wait_until(
        "the slots are served",
        std::time::Duration::from_secs(20),
        || !client.cmd(&["FLUSHALL"]).is_error(),
    );
    assert!(client.cmd(&["CLUSTER", "RESET", "HARD"]).is_ok());
    let server = server.restart();
    assert_eq!(server.client().cmd(&["DBSIZE"]).int(), 0, "it is back");
}
