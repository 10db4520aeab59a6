//! `holdfast check-log` and `check-snapshot` on what real servers leave, against what a server makes of it.
//!
//! The tool is `HOLDFAST_TOOL`, or is built here.

use crate::common::server::{tool, Options, Server};
use crate::common::skipped;
use crate::ours_only;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// What it says, and its exit code.
fn said(args: &[&str], answer: &str) -> (String, i32) {
    let mut child = Command::new(tool())
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the tool runs");
    // It may end without having asked.
    let _ = child
        .stdin
        .take()
        .expect("a pipe")
        .write_all(answer.as_bytes());
    let Output {
        status,
        stdout,
        stderr,
    } = child.wait_with_output().expect("it ends");
    let text = [stdout, stderr].concat();
    let code = status.code().expect("it ends by itself");
    (String::from_utf8_lossy(&text).into_owned(), code)
}

fn check_log(folder: &Path) -> (String, i32) {
    said(&["check-log", folder.to_str().expect("a path")], "")
}

fn fix(folder: &Path, more: &[&str], answer: &str) -> (String, i32) {
    let folder = folder.to_str().expect("a path");
    said(&[&["check-log", folder, "--fix"], more].concat(), answer)
}

fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

/// The log's folder of a server with some keys that was killed, and its options for the next start.
fn killed(keys: usize) -> (tempfile::TempDir, PathBuf, Options) {
    let dir = tempfile::tempdir().expect("a folder");
    let options = Options::new(&[("appendfsync", "always"), ("log-segment-size", "1mb")]);
    let options = options.dir(dir.path());
    let mut server = options.clone().start();
    let mut client = server.client();
    let value = "v".repeat(3000);
    for n in 0..keys {
        assert!(client.cmd(&["SET", &format!("k{n}"), &value]).is_ok());
    }
    server.kill9();
    let log = dir.path().join("appendonlydir");
    (dir, log, options)
}

fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let there = fs::read_dir(folder).expect("a folder").flatten();
    let mut files: Vec<_> = there
        .map(|file| {
            let name = file.file_name().to_string_lossy().into_owned();
            (name, fs::read(file.path()).expect("a file"))
        })
        .collect();
    files.sort();
    files
}

fn flip(path: &Path, offset: usize) {
    let mut bytes = fs::read(path).expect("a file");
    bytes[offset] ^= 0x10;
    fs::write(path, bytes).expect("it is written");
}

fn keys_of(server: &Server) -> i64 {
    server.client().cmd(&["DBSIZE"]).int()
}

#[test]
fn check_log_tells_what_a_killed_server_left() {
    if !ours_only("check_log_tells_what_a_killed_server_left") {
        return;
    }
    let (dir, log, options) = killed(20);
    let before = files(&log);
    let (text, code) = check_log(dir.path());
    assert_eq!(code, 0, "{text}");
    has(
        &text,
        &[
            "appendonlydir: a member's folder\nbase: member ",
            "entries 2 to ",
            "\nVerdict: whole",
        ],
    );
    let (text, code) = said(
        &[
            "check-log",
            log.join("base").to_str().expect("a path"),
            "--effects",
        ],
        "",
    );
    assert_eq!(code, 0, "{text}");
    has(
        &text,
        &[
            "- SET \"k0\" \"vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv\"... (3000 bytes)\n",
            "\"k19\"",
        ],
    );
    assert!(files(&log) == before, "a check changes nothing");
    let server = options.start();
    let (text, code) = check_log(dir.path());
    assert_eq!(code, 2, "{text}");
    has(&text, &["is in use by a server"]);
    drop(server);
    let (text, code) = check_log(Path::new("/no/such/folder"));
    assert_eq!(code, 2, "{text}");
}

#[test]
fn damage_is_cut_only_by_an_explicit_word() {
    if !ours_only("damage_is_cut_only_by_an_explicit_word") {
        return;
    }
    let (_dir, log, options) = killed(60);
    flip(&log.join("00000000000000000001.seg"), 100_000);
    let before = files(&log);
    let (text, code) = check_log(&log);
    assert_eq!(code, 1, "{text}");
    has(
        &text,
        &[
            "00000000000000000001.seg is damaged at offset ",
            "What helps: a copy of the whole folder.",
        ],
    );
    let (_, refusal) = Server::start_refused(options.clone());
    has(
        &refusal,
        &["00000000000000000001.seg is damaged at offset "],
    );
    let (text, code) = fix(&log, &["--yes"], "");
    assert_eq!(code, 1, "{text}");
    has(
        &text,
        &[
            "COMMITTED entries are lost",
            "Refused, and nothing was changed.",
        ],
    );
    let (text, code) = fix(&log, &["--yes-lose-committed"], "no\n");
    assert_eq!(code, 1, "{text}");
    has(&text, &["Do that? (yes/no) Nothing was changed."]);
    assert!(files(&log) == before, "nothing is changed without a yes");
    let (text, code) = fix(&log, &["--yes-lose-committed"], "yes\n");
    assert_eq!(code, 0, "{text}");
    let kept = files(&log)
        .into_iter()
        .find(|(name, _)| name.ends_with(".cut"));
    let (name, cut) = kept.expect("what was cut is kept");
    let offset: usize = name
        .split('.')
        .nth(2)
        .expect("an offset")
        .parse()
        .expect("a number");
    let (_, whole) = &before[0];
    assert!(
        cut == whole[offset..offset + cut.len()],
        "{name} has the bytes that were cut"
    );
    let (text, code) = check_log(&log);
    assert_eq!(code, 0, "{text}");
    has(
        &text,
        &["cut off by hand; nothing reads: ", "\nVerdict: whole. "],
    );
    let server = options.start();
    let keys = keys_of(&server);
    assert!(keys > 10 && keys < 60, "{keys}");
    assert!(server.client().cmd(&["SET", "more", "v"]).is_ok());
}

#[test]
fn spare_segment_is_put_right_without_loss() {
    if !ours_only("spare_segment_is_put_right_without_loss") {
        return;
    }
    type Hurt = fn(&Path);
    let hurts: [(Hurt, &str); 2] = [
        (|path| flip(path, 20), "has a damaged header"),
        (
            |path| fs::write(path, &fs::read(path).expect("a file")[..500_000]).expect("written"),
            "is shorter than its header says",
        ),
    ];
    for (hurt, why) in hurts {
        let (_dir, log, options) = killed(20);
        let spare = log.join("00000000000000000002.seg");
        hurt(&spare);
        let (text, code) = check_log(&log);
        assert_eq!(code, 1, "{text}");
        has(
            &text,
            &[why, "What helps: a copy of 00000000000000000002.seg"],
        );
        Server::start_refused(options.clone());
        let (text, code) = fix(&log, &[], "yes\n");
        assert_eq!(code, 0, "{text}");
        has(
            &text,
            &["nothing that was known to be on disk, and nothing that is known to be committed"],
        );
        assert_eq!(keys_of(&options.start()), 20);
    }
}

/// One changed byte in each kind of file: the check says no where a start does, and names the file.
#[test]
fn check_log_refuses_what_a_start_refuses() {
    if !ours_only("check_log_refuses_what_a_start_refuses") {
        return;
    }
    let (_dir, log, options) = killed(20);
    let mut server = options.clone().start();
    assert!(server.client().cmd(&["SAVE"]).is_ok());
    assert!(server.client().cmd(&["SET", "behind", "v"]).is_ok());
    server.kill9();
    let whole = files(&log);
    let (mut refused, mut taken) = (0, 0);
    for (name, bytes) in &whole {
        for offset in [9, 20, 70, 3000, 5000, 40_000] {
            if offset >= bytes.len() {
                continue;
            }
            flip(&log.join(name), offset);
            let (text, code) = check_log(&log);
            match code {
                1 => {
                    refused += 1;
                    has(&text, &[name]);
                    Server::start_refused(options.clone());
                }
                _ => {
                    taken += 1;
                    assert_eq!(
                        keys_of(&options.clone().start()),
                        21,
                        "{name} {offset}:\n{text}"
                    );
                }
            }
            fs::remove_dir_all(&log).expect("it goes");
            fs::create_dir(&log).expect("it is made");
            for (name, bytes) in &whole {
                fs::write(log.join(name), bytes).expect("it is written");
            }
        }
    }
    assert!(refused > 8 && taken > 2, "{refused} {taken}");
}

#[test]
fn check_snapshot_agrees_with_the_server() {
    if !ours_only("check_snapshot_agrees_with_the_server") {
        return;
    }
    let server = Options::new(&[("enable-debug-command", "yes")]).start();
    let mut client = server.client();
    for n in 0..50 {
        let set = ["SET", &format!("k{n}"), &n.to_string(), "PX", "10000000"];
        assert!(client.cmd(&set).is_ok());
    }
    assert!(client.cmd(&["SELECT", "3"]).is_ok() && client.cmd(&["SET", "n", "x"]).is_ok());
    assert!(client.cmd(&["SAVE"]).is_ok());
    let digest = client.cmd(&["DEBUG", "DIGEST"]).text();
    let dump = server.dir().join("dump.rdb");
    let check = || said(&["check-snapshot", dump.to_str().expect("a path")], "");
    let (text, code) = check();
    assert_eq!(code, 0, "{text}");
    has(
        &text,
        &[
            &digest,
            "database 0: 50 keys, 50 with an expiry\n  database 3: 1 key, none with an expiry\n",
        ],
    );
    flip(&dump, 300);
    let (text, code) = check();
    assert_eq!(code, 1, "{text}");
    has(&text, &["What helps: "]);
    let (_, code) = said(&["check-snapshot", "/no/such/file"], "");
    assert_eq!(code, 2);
    let (_, code) = said(&["check-snapshot"], "");
    assert_eq!(code, 2);
}

/// A dump of the other program: its strings and lists are read, and its stream is named.
#[test]
fn check_snapshot_reads_dumps_of_redis() {
    let test = "check_snapshot_reads_dumps_of_redis";
    let is_there = Command::new("redis-server").arg("--version").output();
    if is_there.is_err() {
        return skipped(test, "there is no redis-server");
    }
    let dir = tempfile::tempdir().expect("a folder");
    let server = Options::default()
        .bin("redis-server")
        .dir(dir.path())
        .start();
    let mut client = server.client();
    assert!(client.cmd(&["SET", "text", "v"]).is_ok());
    assert!(client.cmd(&["SAVE"]).is_ok());
    let dump = dir.path().join("dump.rdb");
    let check = || said(&["check-snapshot", dump.to_str().expect("a path")], "");
    let (text, code) = check();
    assert_eq!(code, 0, "{text}");
    has(
        &text,
        &["Keys: 1, none with an expiry\n", "this build can load it"],
    );
    assert!(!client.cmd(&["RPUSH", "list", "a"]).is_error());
    assert!(client.cmd(&["SAVE"]).is_ok());
    let (text, code) = check();
    assert_eq!(code, 0, "{text}");
    has(&text, &["Keys: 2, none with an expiry\n"]);
    assert!(!client.cmd(&["XADD", "stream", "1-1", "f", "v"]).is_error());
    assert!(client.cmd(&["SAVE"]).is_ok());
    let (text, code) = check();
    assert_eq!(code, 1, "{text}");
    has(
        &text,
        &[
            "key \"stream\"",
            "(stream",
            "whole by its checksum, but this build can't load it",
        ],
    );
}

/// The folder of a cluster's node: what names the members is looked at as well.
#[test]
fn damaged_identity_of_a_node_is_told() {
    if !ours_only("damaged_identity_of_a_node_is_told") {
        return;
    }
    let dir = tempfile::tempdir().expect("a folder");
    let options = Options::new(&[("cluster-enabled", "yes")]).dir(dir.path());
    options.clone().start().kill9();
    let (text, code) = check_log(dir.path());
    assert_eq!(code, 0, "{text}");
    has(
        &text,
        &[
            "appendonlydir-nodes: the logs of a cluster's node\nidentity: the member in shard-",
            ": a member's folder\nbase: member ",
            "record then: shard ",
            "\nVerdict: whole",
        ],
    );
    let log = dir.path().join("appendonlydir-nodes");
    let name = folder_in(&log);
    fs::create_dir(log.join("shard-0000000000000001")).expect("it is made");
    let (text, _) = check_log(&log);
    has(
        &text,
        &["A start renames shard-0000000000000001 to lost-0000000000000001: nothing names it."],
    );
    fs::remove_dir(log.join("shard-0000000000000001")).expect("it goes");
    flip(&log.join("identity"), 30);
    let (text, code) = check_log(&log);
    assert_eq!(code, 1, "{text}");
    has(
        &text,
        &[
            "identity: a start refuses it: the file identity is damaged.",
            "rename each folder shard-ID",
        ],
    );
    Server::start_refused(options.clone());
    // As the text says.
    let lost = name.replace("shard-", "lost-");
    fs::rename(log.join(&name), log.join(lost)).expect("it is renamed");
    fs::remove_file(log.join("identity")).expect("it goes");
    drop(options.start());
}

/// The one folder there.
fn folder_in(folder: &Path) -> String {
    let mut there = fs::read_dir(folder).expect("a folder").flatten();
    let one = there.find(|entry| entry.path().is_dir());
    let name = one.expect("a folder of a member").file_name();
    name.into_string().expect("a name of ours")
}
