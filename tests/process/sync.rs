//! SYNC and PSYNC: the file that redis-cli and others get, beside writes, and to clients that read slowly or go.

use crate::common::resp::{encode, Client};
use crate::common::server::{Options, Server};
use crate::common::{skipped, wait_until};
use crate::ours_only;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_secs(60);
/// The most that a client has of its file in the server's memory: two pieces, and a line.
const IN_MEMORY: u64 = 2 * 256 * 1024 + 100;

fn ours() -> Server {
    let pairs = [("appendfsync", "no"), ("enable-debug-command", "yes")];
    Options::new(&pairs).start()
}

fn info(server: &Server, field: &str) -> String {
    let value = server.info(field);
    value.unwrap_or_else(|| panic!("INFO has no {field}"))
}

/// What redis-cli says; none: there is no redis-cli here.
fn redis_cli(server: &Server, args: &[&str]) -> Option<String> {
    let port = server.port.to_string();
    let mut cli = Command::new("redis-cli");
    let ran = cli.arg("-p").arg(port).args(args).output().ok()?;
    let said = String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned();
    assert!(ran.status.success(), "{said}");
    Some(said)
}

/// A real Redis that has loaded this file; none: there is no redis-server here.
fn redis_with(file: &[u8]) -> Option<(Server, tempfile::TempDir)> {
    Command::new("redis-server")
        .arg("--version")
        .output()
        .ok()?;
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("dump.rdb"), file).expect("the file is written");
    let redis = Options::new(&[("appendonly", "no"), ("save", "")])
        .bin("redis-server")
        .dir(folder.path())
        .start();
    Some((redis, folder))
}

/// The connection of a client that has said SYNC or PSYNC.
struct Played {
    stream: BufReader<TcpStream>,
    /// What stood before the file's length.
    before: Vec<String>,
    length: u64,
}

impl Played {
    /// Says these commands, the last of which is SYNC or PSYNC.
    fn say(server: &Server, lines: &[&[&str]]) -> Played {
        let mut played = Played::silent(server, lines);
        played.length = played.head();
        played
    }

    fn silent(server: &Server, lines: &[&[&str]]) -> Played {
        let stream = TcpStream::connect(("127.0.0.1", server.port)).expect("it accepts");
        stream.set_read_timeout(Some(MINUTE)).expect("a timeout");
        let mut played = Played {
            stream: BufReader::new(stream),
            before: Vec::new(),
            length: 0,
        };
        for (at, line) in lines.iter().enumerate() {
            let mut stream = played.stream.get_ref();
            stream.write_all(&encode(line)).expect("the server reads");
            if at + 1 < lines.len() {
                assert_eq!(played.line(), "+OK", "{line:?}");
            }
        }
        played
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("a line");
        assert!(line.ends_with('\n'), "the connection has ended: {line:?}");
        line.trim_end().to_owned()
    }

    /// Up to the file's length.
    fn head(&mut self) -> u64 {
        loop {
            let line = self.line();
            if let Some(length) = line.strip_prefix('$') {
                return length.parse().expect("a length");
            }
            self.before.push(line);
        }
    }

    /// The file; and nothing follows it but the connection's end.
    fn file(mut self) -> Vec<u8> {
        let mut file = vec![0; usize::try_from(self.length).expect("it fits")];
        self.stream.read_exact(&mut file).expect("the whole file");
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).expect("an orderly end");
        assert_eq!(rest, b"", "behind the file");
        file
    }
}

/// About so many megabytes that don't compress.
fn fill(client: &mut Client, megabytes: usize) {
    let mut state = 1u64;
    for n in 0..megabytes {
        let mut value = vec![0; 1 << 20];
        for byte in &mut value {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            *byte = (state >> 56) as u8;
        }
        let set = [b"SET".to_vec(), format!("big:{n}").into_bytes(), value];
        assert!(client.cmd(&set).is_ok());
    }
}

/// Files of states that the process holds open.
fn open_states(server: &Server) -> usize {
    let folder = format!("/proc/{}/fd", server.pid);
    let links = fs::read_dir(folder).expect("the process is there");
    let is_state = |path: &Path| path.to_string_lossy().contains("/snapshot-");
    let targets = links
        .flatten()
        .filter_map(|link| fs::read_link(link.path()).ok());
    targets.filter(|path| is_state(path)).count()
}

#[test]
fn redis_cli_gets_a_file_that_redis_loads() {
    const TEST: &str = "redis_cli_gets_a_file_that_redis_loads";
    if !ours_only(TEST) {
        return;
    }
    let server = ours();
    let mut client = server.client();
    assert!(client
        .cmd(&["DEBUG", "POPULATE", "3000", "key", "50"])
        .is_ok());
    client.cmd(&["SET", "mortal", "x", "PX", "86400000"]);
    client.cmd(&["SELECT", "3"]);
    client.cmd(&["SET", "elsewhere", &"z".repeat(5_000)]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (all, functions) = (folder.path().join("all"), folder.path().join("functions"));
    for (option, file) in [("--rdb", &all), ("--functions-rdb", &functions)] {
        let said = redis_cli(&server, &[option, &file.to_string_lossy()]);
        let Some(said) = said else {
            return skipped(TEST, "no redis-cli here");
        };
        assert!(said.contains("Transfer finished with success."), "{said}");
    }
    assert_eq!(info(&server, "sync_full"), "2");
    wait_until("the file is closed", MINUTE, || open_states(&server) == 0);
    let load = |file: &Path| redis_with(&fs::read(file).expect("redis-cli has written it"));
    let Some((redis, _folder)) = load(&all) else {
        return skipped(TEST, "no redis-server here: its load was not tried");
    };
    let mut redis = redis.client();
    assert_eq!(redis.cmd(&["DBSIZE"]).int(), 3_001);
    assert_eq!(redis.cmd(&["STRLEN", "key:2999"]).int(), 50);
    assert!(redis.cmd(&["PTTL", "mortal"]).int() > 80_000_000);
    redis.cmd(&["SELECT", "3"]);
    assert_eq!(redis.cmd(&["STRLEN", "elsewhere"]).int(), 5_000);
    let (redis, _folder) = load(&functions).expect("it was there a moment ago");
    let mut redis = redis.client();
    assert_eq!(redis.cmd(&["DBSIZE"]).int(), 0);
    let list = redis.cmd(&["FUNCTION", "LIST"]);
    assert_eq!(list.items().len(), 0);
}

/// The first step of redis-shake, and what its second one would be.
#[test]
fn psync_tells_where_its_file_ends() {
    if !ours_only("psync_tells_where_its_file_ends") {
        return;
    }
    let server = ours();
    let mut client = server.client();
    assert!(client.cmd(&["SET", "k", "v"]).is_ok());
    let history = info(&server, "master_replid");
    let shake: &[&[&str]] = &[
        &["REPLCONF", "listening-port", "10007"],
        &["PSYNC", "?", "-1"],
    ];
    let played = Played::say(&server, shake);
    let before: Vec<&String> = played.before.iter().filter(|l| !l.is_empty()).collect();
    let [line] = before[..] else {
        panic!("{before:?}");
    };
    let place = line.strip_prefix(&format!("+FULLRESYNC {history} "));
    let place: u64 = place
        .unwrap_or_else(|| panic!("{line}"))
        .parse()
        .expect("a place");
    let log: u64 = info(&server, "master_repl_offset")
        .parse()
        .expect("a number");
    assert!(place > 0 && place <= log, "{place} of {log}");
    let began = Instant::now();
    let file = played.file();
    assert!(file.starts_with(b"REDIS00"));
    // The end comes a moment after the file.
    assert!(began.elapsed() >= Duration::from_millis(500));

    // A replica that is streamed nothing comes again at once.
    let again = &["PSYNC", &history, &(place + 1).to_string()];
    let mut refused = Played::silent(&server, &[shake[0], again]);
    let line = refused.line();
    assert!(line.starts_with("-NOMASTERLINK Can't SYNC while"), "{line}");
    let alone = &["REPLCONF", "rdb-only", "1"][..];
    let file = Played::say(&server, &[shake[0], alone, again]).file();
    assert!(file.starts_with(b"REDIS00"));
    assert_eq!(info(&server, "sync_full"), "2");
    assert_eq!(info(&server, "sync_partial_err"), "1");
}

/// A replica would take one file after another, as fast as it can.
#[test]
fn real_replica_copies_once_a_minute() {
    const TEST: &str = "real_replica_copies_once_a_minute";
    if !ours_only(TEST) {
        return;
    }
    let server = ours();
    let mut client = server.client();
    assert!(client.cmd(&["DEBUG", "POPULATE", "1000"]).is_ok());
    if Command::new("redis-server")
        .arg("--version")
        .output()
        .is_err()
    {
        return skipped(TEST, "no redis-server here");
    }
    let master = format!("127.0.0.1 {}", server.port);
    let redis = Options::new(&[("save", ""), ("replicaof", &master)])
        .bin("redis-server")
        .start();
    let mut replica = redis.client();
    let refused = |server: &Server| {
        let said = server.info("errorstat_NOMASTERLINK");
        said.is_some_and(|said| said != "count=1")
    };
    wait_until("it was turned away twice", MINUTE, || refused(&server));
    assert_eq!(replica.cmd(&["DBSIZE"]).int(), 1000);
    assert_eq!(info(&server, "sync_full"), "1");
}

#[test]
fn client_that_stops_reading_costs_two_pieces() {
    if !ours_only("client_that_stops_reading_costs_two_pieces") {
        return;
    }
    let server = ours();
    let mut client = server.client();
    fill(&mut client, 60);
    let slow = Played::say(&server, &[&["SYNC"]]);
    assert!(slow.length > 60 << 20);
    let line = |client: &mut Client| client.cmd(&["CLIENT", "LIST", "TYPE", "replica"]).text();
    let field = |line: &str, name: &str| -> u64 {
        let found = line
            .split(' ')
            .find_map(|f| f.strip_prefix(name)?.strip_prefix('='));
        found
            .and_then(|n| n.parse().ok())
            .unwrap_or_else(|| panic!("{name} in {line}"))
    };
    let (mut before, mut looks) = (u64::MAX, 0);
    wait_until("the socket is full", MINUTE, || {
        let said = line(&mut client);
        assert!(said.contains(" flags=S "), "{said}");
        assert!(field(&said, "omem") <= IN_MEMORY, "{said}");
        let sent = info(&server, "total_net_output_bytes")
            .parse()
            .expect("a number");
        // What others were told between two looks is short.
        let stands = before != u64::MAX && sent < before + 20_000;
        (before, looks) = (sent, if stands { looks + 1 } else { 0 });
        looks == 20
    });
    assert!(before < slow.length, "{before} bytes have left");
    assert!(client.cmd(&["SET", "still", "served"]).is_ok());
    let length = slow.length;
    assert_eq!(slow.file().len() as u64, length);
    wait_until("the file is closed", MINUTE, || open_states(&server) == 0);
}

#[test]
fn killed_client_leaves_nothing_open() {
    if !ours_only("killed_client_leaves_nothing_open") {
        return;
    }
    let server = ours();
    let mut client = server.client();
    fill(&mut client, 30);
    for kill in [
        &["CLIENT", "KILL", "TYPE", "replica"][..],
        &["CLIENT", "KILL", "TYPE", "slave"][..],
    ] {
        let mut played = Played::say(&server, &[&["SYNC"]]);
        assert_eq!(open_states(&server), 1);
        assert_eq!(client.cmd(&["CLIENT", "KILL", "TYPE", "master"]).int(), 0);
        assert_eq!(client.cmd(kill).int(), 1);
        let mut got = Vec::new();
        // Reset or ended: the file is not whole.
        let _ = played.stream.read_to_end(&mut got);
        assert!((got.len() as u64) < played.length);
        wait_until("the file is closed", MINUTE, || open_states(&server) == 0);
    }
    // One goes by itself, before its file is there or while it gets it.
    for _ in 0..5 {
        drop(Played::silent(&server, &[&["SYNC"]]));
    }
    drop(Played::say(&server, &[&["SYNC"]]));
    wait_until("they are gone", MINUTE, || {
        let said = client.cmd(&["CLIENT", "LIST", "TYPE", "replica"]).text();
        said.trim().is_empty() && open_states(&server) == 0
    });
    wait_until("nothing is made for nobody", MINUTE, || {
        info(&server, "rdb_bgsave_in_progress") == "0"
    });
    assert!(client.cmd(&["SAVE"]).is_ok());
}

/// What was acknowledged before the command is in its file, whatever is written meanwhile.
#[test]
fn sync_beside_writes_holds_all_acknowledged_before() {
    const TEST: &str = "sync_beside_writes_holds_all_acknowledged_before";
    if !ours_only(TEST) {
        return;
    }
    let server = ours();
    let (done, acknowledged) = (AtomicBool::new(false), AtomicU64::new(0));
    let files: Vec<(u64, Vec<u8>)> = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = server.client();
            for n in 1..=200_000u64 {
                let key = format!("n:{n}");
                assert!(client.cmd(&["SET", &key, "x"]).is_ok());
                acknowledged.store(n, Ordering::SeqCst);
                if done.load(Ordering::SeqCst) {
                    break;
                }
            }
        });
        let get = || {
            wait_until("some are written", MINUTE, || {
                acknowledged.load(Ordering::SeqCst) > 1000
            });
            let before = acknowledged.load(Ordering::SeqCst);
            (before, Played::say(&server, &[&["SYNC"]]).file())
        };
        // Two at once, two times: the second of them comes before or after the moment of the first.
        let all = (0..2).flat_map(|_| {
            let two = std::thread::scope(|both| {
                let two = [both.spawn(get), both.spawn(get)];
                two.map(|one| one.join().expect("it gets its file"))
            });
            two
        });
        let all = all.collect();
        done.store(true, Ordering::SeqCst);
        all
    });
    for (before, file) in &files {
        let Some((redis, _folder)) = redis_with(file) else {
            return skipped(TEST, "no redis-server here: its load was not tried");
        };
        let mut redis = redis.client();
        let keys = redis.cmd(&["DBSIZE"]).int();
        assert!(
            keys >= *before as i64,
            "{keys} keys where {before} were acknowledged"
        );
        // A moment of the log: the last one, and none behind it.
        assert_eq!(redis.cmd(&["EXISTS", &format!("n:{keys}")]).int(), 1);
    }
}

#[test]
fn clients_that_come_together_share_a_file() {
    if !ours_only("clients_that_come_together_share_a_file") {
        return;
    }
    let server = ours();
    let mut client = server.client();
    // Its snapshot is under way when they come: they wait for the next one, together.
    assert!(client.cmd(&["DEBUG", "POPULATE", "300000"]).is_ok());
    assert!(client.cmd(&["BGREWRITEAOF"]).text().contains("started"));
    let waiting: Vec<Played> = (0..3)
        .map(|_| Played::silent(&server, &[&["SYNC"]]))
        .collect();
    let files = waiting.into_iter().map(|mut played| {
        played.length = played.head();
        played.file()
    });
    let files: Vec<Vec<u8>> = files.collect();
    assert!(files.windows(2).all(|two| two[0] == two[1]));
    assert_eq!(info(&server, "sync_full"), "3");
    assert_eq!(info(&server, "rdb_saves"), "1");
}
