//! What the disk can do to us: garbage at the log's end, damage in its middle, no room left.

use crate::common::resp::Value;
use crate::common::server::{Options, Server};
use crate::common::{skipped, wait_until};
use crate::load::{check, Acked, Load};
use crate::ours_only;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_secs(60);

/// All files below `dir` that hold log records: everything of a size that only a log has.
fn log_files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(log_files(&path));
        } else if entry.metadata().is_ok_and(|m| m.len() >= 64 * 1024) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The file with the last byte that is not zero, and that byte's offset. Segments are
/// preallocated with zeros, so this is the end of the log.
fn end_of_log(dir: &Path) -> (PathBuf, u64) {
    let mut best: Option<(PathBuf, u64)> = None;
    for path in log_files(dir) {
        let bytes = fs::read(&path).expect("a readable file");
        // A segment that only has its header is the next one, not yet written to.
        if let Some(at) = bytes.iter().rposition(|b| *b != 0).filter(|at| *at > 4096) {
            best = Some((path, at as u64));
        }
    }
    best.unwrap_or_else(|| panic!("no log file with records below {}", dir.display()))
}

/// A server that was killed after some writes: its folder and what it owes.
fn killed_server(writes: u64) -> (Server, Vec<Acked>) {
    let mut server = Server::fresh();
    let load = Load::start(&server, "disk", 4);
    wait_until("writes are acknowledged", MINUTE, || load.acked() >= writes);
    let writers = load.stop();
    server.kill9();
    (server, writers)
}

#[test]
fn garbage_at_the_end_of_the_log_is_cut() {
    if !ours_only("garbage_at_the_end_of_the_log_is_cut") {
        return;
    }
    for garbage in [
        vec![0xa5u8; 3],
        vec![0xffu8; 700],
        (0..5000u32).map(|n| (n * 31 % 251) as u8).collect(),
    ] {
        let (server, writers) = killed_server(300);
        let (path, last) = end_of_log(server.dir());
        let file = fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .expect("the log opens");
        // Up to eight bytes of a last record may be zeros: leave them alone.
        file.write_all_at(&garbage, last + 9)
            .expect("the log is writable");
        drop(file);
        let mut server = server.restart();
        check(&server, "disk", &writers);
        // What is written behind the cut must survive the next start too.
        assert!(server.client().cmd(&["SET", "after", "the cut"]).is_ok());
        server.kill9();
        let server = server.restart();
        assert_eq!(server.client().cmd(&["GET", "after"]).text(), "the cut");
        check(&server, "disk", &writers);
    }
}

#[test]
fn damage_in_the_middle_is_refused_with_file_and_offset() {
    if !ours_only("damage_in_the_middle_is_refused_with_file_and_offset") {
        return;
    }
    let (server, _) = killed_server(2000);
    let (path, last) = end_of_log(server.dir());
    let file = fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .expect("the log opens");
    // Records are padded with zeros; damage to the padding is no damage.
    let bytes = fs::read(&path).expect("a readable file");
    let half = (last / 2) as usize;
    let at = half
        + bytes[half..]
            .iter()
            .position(|b| *b != 0)
            .expect("more records");
    let (at, byte) = (at as u64, [bytes[at]]);
    file.write_all_at(&[byte[0] ^ 0x40], at)
        .expect("the log is writable");
    let options = Options::new(&[("appendfsync", "always")]).dir(server.dir());
    let (status, output) = Server::start_refused(options.clone());
    assert!(!status.success(), "it must refuse\n{output}");
    let name = path
        .file_name()
        .expect("a file")
        .to_string_lossy()
        .into_owned();
    let line = output.lines().find(|l| l.contains(&name));
    let line = line.unwrap_or_else(|| panic!("no line names {name}:\n{output}"));
    let number = |w: &str| {
        w.trim_matches(|c: char| !c.is_ascii_digit())
            .parse::<u64>()
            .ok()
    };
    // The offset is that of the record, which begins somewhat before the damaged byte.
    let near = line
        .split_whitespace()
        .filter_map(number)
        .any(|n| n <= at && at - n < 64 * 1024);
    assert!(near, "no offset just before {at} in: {line}");
    // Undone, it is the log that it was: refusing must not have changed anything.
    file.write_all_at(&byte, at).expect("the log is writable");
    let server = options.start();
    assert!(server.client().cmd(&["DBSIZE"]).int() > 1000);
}

/// A mounted tmpfs, unmounted when dropped.
pub struct SmallDisk {
    pub dir: tempfile::TempDir,
}

impl SmallDisk {
    pub fn mount(megabytes: u32) -> Option<SmallDisk> {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let size = format!("size={megabytes}m");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(dir.path())
            .output();
        mount
            .is_ok_and(|o| o.status.success())
            .then_some(SmallDisk { dir })
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the server may still be ending when a test fails.
        let _ = Command::new("umount")
            .arg("-l")
            .arg(self.dir.path())
            .output();
    }
}

#[test]
fn full_disk_refuses_writes_and_resumes() {
    const TEST: &str = "full_disk_refuses_writes_and_resumes";
    if !ours_only(TEST) {
        return;
    }
    let Some(disk) = SmallDisk::mount(120) else {
        return skipped(TEST, "can't mount a tmpfs here (needs root)");
    };
    let ballast = disk.dir.path().join("ballast");
    fs::write(&ballast, vec![1u8; 50 << 20]).expect("room for the ballast");
    // A full disk takes no line of the log either.
    let beside = tempfile::tempdir().expect("a temporary folder");
    let mut options = Options::new(&[("appendfsync", "always")]).dir(disk.dir.path());
    options.output_in = Some(beside.path().to_path_buf());
    let mut server = options.start();
    let mut client = server.client();
    let payload = vec![b'p'; 20_000];
    let set = |n: u64| {
        vec![
            b"SET".to_vec(),
            format!("full:{n}").into_bytes(),
            payload.clone(),
        ]
    };
    let mut acked = 0u64;
    let refused = loop {
        let reply = client.cmd(&set(acked));
        if reply.is_error() {
            break reply.text();
        }
        acked += 1;
        assert!(
            acked < 20_000,
            "400 MB were acknowledged on a disk of 120 MB"
        );
    };
    println!("refused after {acked} writes of 20 kB: {refused}");
    let status = |server: &Server| server.info("aof_last_write_status");
    assert_eq!(status(&server).as_deref(), Some("err"));
    let told = "The disk is full: writes are refused until there is room";
    wait_until("the log says so", MINUTE, || server.output().contains(told));
    assert!(server.is_running(), "a full disk must not end the server");
    // Reads and what needs no room go on.
    let mut other = server.client();
    assert_eq!(other.cmd(&["PING"]).text(), "PONG");
    assert_eq!(other.cmd(&["STRLEN", "full:0"]), Value::Int(20_000));
    assert!(
        client.cmd(&["INCR", "counter"]).is_error()
            || client.cmd(&["GET", "counter"]) == Value::Bulk(b"1".to_vec())
    );
    // A crash now must lose nothing either.
    server.kill9();
    let mut server = server.restart();
    let mut client = server.client();
    assert_eq!(
        client.cmd(&["STRLEN", &format!("full:{}", acked - 1)]),
        Value::Int(20_000)
    );
    fs::remove_file(&ballast).expect("the ballast goes");
    let end = Instant::now() + MINUTE;
    while client.cmd(&set(acked)).is_error() {
        assert!(
            Instant::now() < end,
            "still refused a minute after room was made"
        );
        std::thread::sleep(Duration::from_millis(50)); // the pause between two tries
    }
    acked += 1;
    assert_eq!(status(&server).as_deref(), Some("ok"));
    let told = "There is room on the disk again";
    wait_until("the log says so", MINUTE, || server.output().contains(told));
    server.kill9();
    let server = server.restart();
    let mut client = server.client();
    for n in 0..acked {
        let reply = client.cmd(&["STRLEN".to_string(), format!("full:{n}")]);
        assert_eq!(reply, Value::Int(20_000), "acknowledged write full:{n}");
    }
}

/// D5: the log is trimmed before it takes the whole disk, so no write is refused for it; a disk that is full of keys is
/// emptied by deleting them.
#[test]
fn small_disk_outlives_its_log_and_its_keys() {
    const TEST: &str = "small_disk_outlives_its_log_and_its_keys";
    if !ours_only(TEST) {
        return;
    }
    let Some(disk) = SmallDisk::mount(160) else {
        return skipped(TEST, "can't mount a tmpfs here (needs root)");
    };
    let beside = tempfile::tempdir().expect("a temporary folder");
    let mut options = Options::new(&[
        ("appendfsync", "everysec"),
        ("log-segment-size", "4mb"),
        ("rdbcompression", "no"),
    ])
    .dir(disk.dir.path());
    options.output_in = Some(beside.path().to_path_buf());
    let server = options.start();
    let mut client = server.client();
    let payload = vec![b'p'; 50_000];
    let set = |key: String| vec![b"SET".to_vec(), key.into_bytes(), payload.clone()];
    for n in 0..8_000 {
        let reply = client.cmd(&set(format!("over:{}", n % 100)));
        assert!(reply.is_ok(), "write {n} of 50 kB: {reply:?}");
    }
    let refused = (0..4_000).find(|n| client.cmd(&set(format!("key:{n}"))).is_error());
    let refused = refused.expect("200 MB of keys are no state on a disk of 160 MB");
    let text = server.output();
    let told = text.lines().rfind(|line| line.contains("The disk is full"));
    assert!(told.is_some_and(|line| line.contains("FLUSHALL")), "{text}");
    assert_eq!(client.cmd(&["DEL", "key:0", "none"]), Value::Int(1));
    assert_eq!(client.cmd(&["UNLINK", "key:1"]), Value::Int(1));
    assert_eq!(client.cmd(&["STRLEN", "key:2"]), Value::Int(50_000));
    let exec = ["MULTI", "DEL", "EXEC"];
    assert!(client.cmd(&[exec[0]]).is_ok());
    client.cmd(&["DEL", "key:2"]);
    assert!(
        client.cmd(&["EXEC"]).is_error(),
        "a transaction is no deletion"
    );
    for n in 2..refused - 100 {
        let deleted = client.cmd(&["DEL".to_owned(), format!("key:{n}")]);
        assert_eq!(deleted, Value::Int(1), "key:{n}");
    }
    let end = Instant::now() + MINUTE;
    while client.cmd(&set("after".to_owned())).is_error() {
        assert!(Instant::now() < end, "still refused after a minute");
        std::thread::sleep(Duration::from_millis(50)); // the pause between two tries
    }
    assert!(client.cmd(&["FLUSHALL"]).is_ok());
    // A snapshot that found no room before is made again seconds later: until then a write may be refused.
    for n in 0..2_000 {
        while client.cmd(&set(format!("over:{}", n % 100))).is_error() {
            assert!(Instant::now() < end, "write {n} after the flush is refused");
            std::thread::sleep(Duration::from_millis(50)); // the pause between two tries
        }
    }
}

/// Every file below `dir`, with its bytes.
fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("a folder").flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => found.extend(contents(&path)),
            false => found.push((path.clone(), fs::read(path).expect("a readable file"))),
        }
    }
    found.sort();
    found
}

/// The formats of folders that an earlier build has made: the start names both versions, and touches
/// nothing.
#[test]
fn older_folder_is_refused_and_kept() {
    if !ours_only("older_folder_is_refused_and_kept") {
        return;
    }
    let base = [b"HFBASE\r\n".as_slice(), &1u32.to_le_bytes(), &[7; 60]].concat();
    let seat = b"holdfast seat 2\nmember 0000000000000007\ncrc32c 00000000\n".as_slice();
    let (shard, lost) = ("shard-0000000000000007/base", "lost-0000000000000009/base");
    for (cluster, files, versions) in [
        ("no", vec![("base", &base[..])], ["version 1", "version 2"]),
        (
            "yes",
            vec![("seat", seat), (shard, &base), (lost, &base)],
            ["version 2", "version 3"],
        ),
        ("no", vec![("seat", seat)], ["version 2", "version 3"]),
    ] {
        let temp = tempfile::tempdir().expect("a temporary folder");
        let folder = temp.path().join("appendonlydir");
        for (name, bytes) in files {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().expect("its folder")).expect("a folder");
            fs::write(path, bytes).expect("a file");
        }
        let before = contents(&folder);
        let mode = [
            ("cluster-enabled", cluster),
            ("appenddirname", "appendonlydir"),
        ];
        let options = Options::new(&mode).dir(temp.path());
        let (status, output) = Server::start_refused(options);
        assert!(!status.success(), "it must refuse\n{output}");
        for version in versions {
            assert!(output.contains(version), "{version}:\n{output}");
        }
        assert_eq!(contents(&folder), before, "cluster-enabled {cluster}");
    }
}
