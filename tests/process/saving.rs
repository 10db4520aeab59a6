//! Snapshots by command, by rule and by the log's length: what is in them, what they free, what fails.

use crate::common::resp::Client;
use crate::common::server::{Options, Server};
use crate::common::{skipped, wait_until};
use crate::disk::SmallDisk;
use crate::load::{check, Load};
use crate::ours_only;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
const TWO_MINUTES: Duration = Duration::from_secs(120);

fn ours(pairs: &[(&str, &str)]) -> Server {
    let mut all = vec![("appendfsync", "no"), ("enable-debug-command", "yes")];
    all.extend(pairs);
    Options::new(&all).start()
}

fn set_many(client: &mut Client, prefix: &str, count: usize, value: &[u8]) {
    for first in (0..count).step_by(500) {
        let keys = first..count.min(first + 500);
        for n in keys.clone() {
            let key = format!("{prefix}:{n}").into_bytes();
            let set = [b"SET".to_vec(), key, value.to_vec()];
            client.send(&set).expect("the server reads");
        }
        for _ in keys {
            assert!(client.receive().expect("a reply").is_ok());
        }
    }
}

/// The files of the log's folder, with their lengths.
fn log_folder(server: &Server) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(server.dir().join("appendonlydir"))
        .expect("the log's folder")
        .flatten()
    {
        // A file may go meanwhile.
        if let Ok(meta) = entry.metadata() {
            found.push((entry.file_name().to_string_lossy().into_owned(), meta.len()));
        }
    }
    found.sort();
    found
}

fn bytes_of(server: &Server) -> u64 {
    log_folder(server).iter().map(|(_, len)| len).sum()
}

fn dump(server: &Server) -> PathBuf {
    server.dir().join("dump.rdb")
}

fn has_dump_with(server: &Server, text: &str) -> bool {
    let bytes = fs::read(dump(server)).unwrap_or_default();
    bytes.windows(text.len()).any(|w| w == text.as_bytes())
}

fn info(server: &Server, field: &str) -> String {
    let value = server.info(field);
    value.unwrap_or_else(|| panic!("INFO has no {field}"))
}

fn wait_for_info(server: &Server, field: &str, value: &str) {
    let what = format!("{field}:{value}");
    wait_until(&what, MINUTE, || info(server, field) == value);
}

/// Waits until the server has seen so many seconds more pass.
fn wait_for_seconds(server: &Server, seconds: u64) {
    let uptime = || -> u64 { info(server, "uptime_in_seconds").parse().expect("a number") };
    let end = uptime() + seconds;
    wait_until("time passes", MINUTE, || uptime() >= end);
}

fn digest(client: &mut Client) -> (String, i64) {
    let digest = client.cmd(&["DEBUG", "DIGEST"]).text();
    (digest, client.cmd(&["DBSIZE"]).int())
}

#[test]
fn save_copies_a_file_that_redis_loads() {
    const TEST: &str = "save_copies_a_file_that_redis_loads";
    if !ours_only(TEST) {
        return;
    }
    let server = ours(&[]);
    let mut client = server.client();
    let started = client.cmd(&["LASTSAVE"]).int();
    set_many(&mut client, "key", 2_000, b"some value");
    client.cmd(&["SET", "mortal", "x", "PX", "86400000"]);
    client.cmd(&["SELECT", "3"]);
    client.cmd(&["SET", "elsewhere", &"z".repeat(5_000)]);
    assert_eq!(info(&server, "rdb_changes_since_last_save"), "2002");
    assert!(client.cmd(&["SAVE"]).is_ok());
    for (field, value) in [
        ("rdb_changes_since_last_save", "0"),
        ("rdb_last_bgsave_status", "ok"),
        ("rdb_saves", "1"),
        ("rdb_bgsave_in_progress", "0"),
        ("aof_rewrites", "0"),
    ] {
        assert_eq!(info(&server, field), value, "{field}");
    }
    assert!(client.cmd(&["LASTSAVE"]).int() >= started);
    // P2: a writer into the copy must not write into the member's own state.
    let copy = fs::metadata(dump(&server)).expect("the copy");
    assert_eq!(copy.nlink(), 1);
    let own = fs::read_dir(server.dir().join("appendonlydir")).expect("the log's folder");
    for entry in own.flatten() {
        let inode = entry.metadata().expect("a file").ino();
        assert_ne!(inode, copy.ino(), "{:?}", entry.file_name());
    }
    let loads = Command::new("redis-server").arg("--version").output();
    if loads.is_err() {
        return skipped(TEST, "no redis-server here: its load was not tried");
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::copy(dump(&server), folder.path().join("dump.rdb")).expect("a copy of the copy");
    let redis = Options::new(&[("appendonly", "no")])
        .bin("redis-server")
        .dir(folder.path())
        .start();
    let mut redis = redis.client();
    assert_eq!(redis.cmd(&["DBSIZE"]).int(), 2_001);
    assert_eq!(redis.cmd(&["GET", "key:1999"]).text(), "some value");
    assert!(redis.cmd(&["PTTL", "mortal"]).int() > 80_000_000);
    redis.cmd(&["SELECT", "3"]);
    assert_eq!(redis.cmd(&["STRLEN", "elsewhere"]).int(), 5_000);
}

/// The reply of what came before has not left yet, and the log has not been written.
#[test]
fn save_holds_what_its_client_sent_before() {
    if !ours_only("save_holds_what_its_client_sent_before") {
        return;
    }
    let server = Server::fresh();
    let mut client = server.client();
    for round in 0..20 {
        let key = format!("sent-before-{round}");
        client.send(&["SET", &key, "x"]).expect("the server reads");
        client.send(&["SAVE"]).expect("the server reads");
        client.send(&["PING"]).expect("the server reads");
        assert!(client.receive().expect("a reply").is_ok());
        assert!(client.receive().expect("a reply").is_ok());
        assert!(has_dump_with(&server, &key), "{key}");
        assert_eq!(client.receive().expect("a reply").text(), "PONG");
    }
}

#[test]
fn log_that_has_grown_is_trimmed() {
    if !ours_only("log_that_has_grown_is_trimmed") {
        return;
    }
    let server = ours(&[("auto-aof-rewrite-min-size", "20mb")]);
    let mut client = server.client();
    let value = vec![b'v'; 20_000];
    for _ in 0..80 {
        set_many(&mut client, "few", 100, &value); // 2 MB
    }
    let told = "Background AOF rewrite terminated with success";
    wait_until("a snapshot is made", MINUTE, || {
        server.output().contains(told)
    });
    // P11: 64 MiB stay, with what else is in their segments, and two that are prepared.
    let most = (64 + 20 + 4 * 16 + 8) << 20;
    let what = "the folder shrinks";
    wait_until(what, TWO_MINUTES, || {
        client.cmd(&["SET", "few:0", "x"]).is_ok() && bytes_of(&server) <= most
    });
    assert!(!dump(&server).exists(), "nobody asked for a copy");
    assert_ne!(info(&server, "aof_base_size"), "0");
    let kept: u64 = info(&server, "aof_current_size").parse().expect("a size");
    assert!(kept <= most, "{kept}");
    let before = digest(&mut client);
    let server = server.restart();
    assert_eq!(digest(&mut server.client()), before);
    assert_ne!(info(&server, "rdb_last_load_keys_loaded"), "0");
}

#[test]
fn bgsave_beside_writes_is_whole() {
    if !ours_only("bgsave_beside_writes_is_whole") {
        return;
    }
    let mut server = Server::fresh();
    let load = Load::start(&server, "beside", 4);
    wait_until("writes are acknowledged", MINUTE, || load.acked() >= 500);
    let mut client = server.client();
    for round in 1..=3 {
        let reply = client.cmd(&["BGSAVE"]);
        assert_eq!(reply.text(), "Background saving started");
        wait_for_info(&server, "rdb_bgsave_in_progress", "0");
        assert_eq!(info(&server, "rdb_last_bgsave_status"), "ok");
        assert_eq!(info(&server, "rdb_saves"), round.to_string());
    }
    assert!(dump(&server).exists());
    let writers = load.stop();
    server.kill9();
    let server = server.restart();
    check(&server, "beside", &writers);
}

/// What is in the way of the copy is no reason to lose the snapshot, or to stop writes.
#[test]
fn save_that_fails_says_so_and_harms_nothing() {
    if !ours_only("save_that_fails_says_so_and_harms_nothing") {
        return;
    }
    let server = ours(&[]);
    let mut client = server.client();
    set_many(&mut client, "key", 100, b"value");
    fs::create_dir(dump(&server)).expect("a folder in the way");
    assert_eq!(client.cmd(&["SAVE"]).text(), "ERR");
    assert_eq!(info(&server, "rdb_last_bgsave_status"), "err");
    assert_eq!(info(&server, "rdb_changes_since_last_save"), "100");
    let told = "Background saving error: ";
    assert!(server.output().contains(told), "{}", server.output());
    set_many(&mut client, "more", 10, b"value");
    fs::remove_dir(dump(&server)).expect("the way is free");
    assert!(client.cmd(&["SAVE"]).is_ok());
    assert_eq!(info(&server, "rdb_last_bgsave_status"), "ok");
    assert!(has_dump_with(&server, "more:9"));
    let left: Vec<PathBuf> = fs::read_dir(server.dir())
        .expect("a folder")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().contains("temp-"))
        .collect();
    assert_eq!(left, Vec::<PathBuf>::new());
}

#[test]
fn full_disk_fails_a_save_alone() {
    const TEST: &str = "full_disk_fails_a_save_alone";
    if !ours_only(TEST) {
        return;
    }
    let Some(disk) = SmallDisk::mount(120) else {
        return skipped(TEST, "can't mount a tmpfs here (needs root)");
    };
    let beside = tempfile::tempdir().expect("a temporary folder");
    let mut options = Options::new(&[("appendfsync", "no")]).dir(disk.dir.path());
    options.output_in = Some(beside.path().to_path_buf());
    let server = options.start();
    let mut client = server.client();
    // What LZF makes nothing of.
    let mut seed = 1u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        seed = seed
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (seed >> 33) as u8
    })
    .take(20_000)
    .collect();
    set_many(&mut client, "key", 1_000, &noise); // 20 MB
    let ballast = disk.dir.path().join("ballast");
    fill(&ballast, 4 << 20);
    assert_eq!(client.cmd(&["SAVE"]).text(), "ERR");
    assert_eq!(info(&server, "rdb_last_bgsave_status"), "err");
    fs::remove_file(&ballast).expect("the ballast goes");
    assert!(client.cmd(&["SET", "after", "x"]).is_ok());
    assert!(client.cmd(&["SAVE"]).is_ok());
    assert!(has_dump_with(&server, "after"));
}

/// Fills the disk that a file is on, but for so many bytes.
fn fill(path: &Path, but: usize) {
    use std::io::Write;
    let mut file = fs::File::create(path).expect("a file");
    let piece = vec![1u8; 1 << 20];
    while file.write_all(&piece).is_ok() {}
    let len = file.metadata().expect("a file").len();
    file.set_len(len.saturating_sub(but as u64))
        .expect("a shorter file");
}

#[test]
fn kill_beside_a_bgsave_loses_nothing() {
    if !ours_only("kill_beside_a_bgsave_loses_nothing") {
        return;
    }
    let mut server = ours(&[]);
    let mut client = server.client();
    set_many(&mut client, "key", 20_000, &[b'v'; 100]);
    let before = digest(&mut client);
    for millis in [0u64, 5, 20, 60, 150, 400] {
        let mut client = server.client();
        assert!(!client.cmd(&["BGSAVE"]).is_error());
        std::thread::sleep(Duration::from_millis(millis)); // where it dies
        server.kill9();
        server = server.restart();
        let mut client = server.client();
        assert_eq!(digest(&mut client), before, "after {millis} ms");
        let unfinished = |name: &str| name.ends_with(".tmp") && name.starts_with("snapshot");
        let files = log_folder(&server);
        let left = files.iter().filter(|(name, _)| unfinished(name));
        assert_eq!(left.count(), 0, "{files:?}");
        let whole = files.iter().filter(|(name, _)| name.ends_with(".rdb"));
        assert!(whole.count() <= 1, "{files:?}");
    }
    let mut client = server.client();
    assert!(client.cmd(&["SAVE"]).is_ok());
    assert!(has_dump_with(&server, "key:19999"));
}

#[test]
fn a_rule_saves_by_itself() {
    if !ours_only("a_rule_saves_by_itself") {
        return;
    }
    let server = ours(&[("save", "1 10")]);
    let mut client = server.client();
    let save = client.cmd(&["CONFIG", "GET", "save"]);
    assert_eq!(save.items()[1].text(), "1 10");
    set_many(&mut client, "key", 9, b"value");
    wait_for_seconds(&server, 3); // nine changes are none
    assert_eq!(info(&server, "rdb_saves"), "0");
    client.cmd(&["SET", "tenth", "x"]);
    wait_for_info(&server, "rdb_changes_since_last_save", "0");
    assert!(has_dump_with(&server, "tenth"));
    let told = "Background saving started by 10 changes in 1 seconds";
    assert!(server.output().contains(told), "{}", server.output());
}

/// The end of a server that got SHUTDOWN with these words, or a signal.
fn ends(mut server: Server, words: Option<&[&str]>) -> (Server, bool) {
    match words {
        Some(words) => {
            let command = [&["SHUTDOWN"], words].concat();
            let mut client = server.client();
            client.send(&command).expect("the server reads");
            let _ = client.read_to_end();
        }
        None => server.signal(libc::SIGTERM),
    }
    let status = server.wait_exit(MINUTE);
    assert!(status.success(), "{words:?}: {status}");
    let saved = has_dump_with(&server, "a-key");
    (server, saved)
}

#[test]
fn shutdown_saves_where_redis_does() {
    if !ours_only("shutdown_saves_where_redis_does") {
        return;
    }
    let rule = ("save", "3600 1000000");
    let none = ("save", "");
    for (save, flags, words, want) in [
        (none, "default", Some(&["SAVE"][..]), true),
        (none, "default", Some(&[][..]), false),
        (none, "default", Some(&["NOSAVE"][..]), false),
        (rule, "default", Some(&[][..]), true),
        (rule, "default", Some(&["NOSAVE"][..]), false),
        (none, "default", None, false),
        (none, "save", None, true),
        (rule, "default", None, true),
        (rule, "nosave", None, false),
    ] {
        let server = ours(&[save, ("shutdown-on-sigterm", flags)]);
        assert!(server.client().cmd(&["SET", "a-key", "x"]).is_ok());
        let (server, saved) = ends(server, words);
        let what = format!("{save:?}, {flags}: {words:?}\n{}", server.output());
        assert_eq!(saved, want, "{what}");
        assert_eq!(server.output().contains("DB saved on disk"), want);
        let server = server.restart();
        assert_eq!(server.client().cmd(&["GET", "a-key"]).text(), "x");
    }
}

#[test]
fn shutdown_that_can_not_save_stays() {
    if !ours_only("shutdown_that_can_not_save_stays") {
        return;
    }
    let mut server = ours(&[("save", "3600 1000000")]);
    fs::create_dir(dump(&server)).expect("a folder in the way");
    let mut client = server.client();
    client.cmd(&["SET", "a-key", "x"]);
    let refused = "ERR Errors trying to SHUTDOWN. Check logs.";
    assert_eq!(client.cmd(&["SHUTDOWN", "SAVE"]).text(), refused);
    assert_eq!(client.cmd(&["GET", "a-key"]).text(), "x");
    let told = "Error trying to save the DB, can't exit.";
    for times in [2, 3] {
        server.signal(libc::SIGTERM);
        wait_until("the signal is refused too", MINUTE, || {
            server.output().matches(told).count() == times
        });
        assert!(client.cmd(&["SET", "b-key", "x"]).is_ok());
    }
    client
        .send(&["SHUTDOWN", "SAVE", "FORCE"])
        .expect("the server reads");
    assert!(server.wait_exit(MINUTE).success());
}

/// A base that can't be replaced for long made SAVE and SHUTDOWN SAVE wait without an end, and nothing said why.
#[test]
fn save_does_not_wait_for_a_stuck_base() {
    if !ours_only("save_does_not_wait_for_a_stuck_base") {
        return;
    }
    let mut server = ours(&[]);
    let mut client = server.client();
    client.cmd(&["SET", "a-key", "x"]);
    let temp = server.dir().join("appendonlydir/base.tmp");
    fs::create_dir(&temp).expect("a folder in the way");
    assert!(!client.cmd(&["BGREWRITEAOF"]).is_error());
    wait_for_info(&server, "aof_last_bgrewrite_status", "err");
    let told = "The log can't be trimmed";
    assert!(server.output().contains(told), "{}", server.output());
    client.cmd(&["SET", "b-key", "x"]);
    assert!(client.cmd(&["SAVE"]).is_ok());
    assert!(has_dump_with(&server, "b-key"));
    fs::remove_dir(&temp).expect("it is empty");
    wait_for_info(&server, "aof_last_bgrewrite_status", "ok");
    assert_ne!(info(&server, "aof_base_size"), "0");
    fs::create_dir(&temp).expect("a folder in the way");
    client.cmd(&["SET", "c-key", "x"]);
    client.cmd(&["BGREWRITEAOF"]);
    wait_for_info(&server, "aof_last_bgrewrite_status", "err");
    client.cmd(&["SET", "d-key", "x"]);
    client
        .send(&["SHUTDOWN", "SAVE"])
        .expect("the server reads");
    assert!(server.wait_exit(MINUTE).success());
    assert!(has_dump_with(&server, "d-key"));
}

/// What only trims the log fails in the turn in which it is ordered then: that ended the process.
#[test]
fn rewrites_beside_a_stuck_base_end_nothing() {
    if !ours_only("rewrites_beside_a_stuck_base_end_nothing") {
        return;
    }
    let server = ours(&[]);
    let mut client = server.client();
    let temp = server.dir().join("appendonlydir/base.tmp");
    fs::create_dir(&temp).expect("a folder in the way");
    assert!(client.cmd(&["SET", "a-key", "0"]).is_ok());
    assert!(!client.cmd(&["BGREWRITEAOF"]).is_error());
    wait_for_info(&server, "aof_last_bgrewrite_status", "err");
    for failures in ["1", "2", "3"] {
        assert!(client.cmd(&["SET", "a-key", failures]).is_ok());
        assert!(!client.cmd(&["BGREWRITEAOF"]).is_error());
        wait_for_info(&server, "aof_rewrites_consecutive_failures", failures);
    }
    fs::remove_dir(&temp).expect("it is empty");
    wait_until("the base names the state", MINUTE, || {
        info(&server, "aof_base_size") != "0"
    });
    assert!(!client.cmd(&["BGREWRITEAOF"]).is_error());
    wait_for_info(&server, "aof_last_bgrewrite_status", "ok");
}

/// D7: a node that joins it later is given a state.
#[test]
fn a_node_of_a_cluster_makes_snapshots_by_itself() {
    if !ours_only("a_node_of_a_cluster_makes_snapshots_by_itself") {
        return;
    }
    let server = ours(&[
        ("bind", "127.0.0.1"),
        ("cluster-enabled", "yes"),
        ("appenddirname", "appendonlydir"),
        ("auto-aof-rewrite-min-size", "1mb"),
    ]);
    let mut client = server.client();
    let slots = ["CLUSTER", "ADDSLOTSRANGE", "0", "16383"];
    assert!(client.cmd(&slots).is_ok());
    wait_until("the cluster is up", MINUTE, || {
        client.cmd(&["SET", "a-key", "x"]).is_ok()
    });
    set_many(&mut client, "{a}", 200, &[b'v'; 20_000]); // 4 MB
    wait_until("the base names a state", MINUTE, || {
        info(&server, "aof_base_size") != "0"
    });
    assert!(client.cmd(&["SAVE"]).is_ok());
    assert!(has_dump_with(&server, "a-key"));
}
