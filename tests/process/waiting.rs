//! Clients that wait for keys, on real connections: what serves them, in which order, and what ends their waits. The same
//! tests hold for Redis.

use crate::common::resp::{encode, Client};
use crate::common::server::{Options, Server};
use crate::common::wait_until;
use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_secs(60);

fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

struct Bed {
    server: Server,
    other: Client,
}

impl Bed {
    fn new() -> Bed {
        let server = Options::new(&[("enable-debug-command", "yes")]).start();
        let other = server.client();
        Bed { server, other }
    }

    /// Runs a line on a connection of its own.
    fn run(&mut self, line: &str) -> String {
        self.other.send(&words(line)).expect("sent");
        raw(&mut self.other)
    }

    fn wait_for_blocked(&self, count: usize) {
        wait_until("so many clients wait", MINUTE, || {
            self.server.info("blocked_clients") == Some(count.to_string())
        });
    }

    /// A new client that has sent this and waits, as the `nth` one.
    fn waits(&self, line: &str, nth: usize) -> Client {
        let mut client = self.server.client();
        client.send(&words(line)).expect("sent");
        self.wait_for_blocked(nth);
        client
    }
}

fn raw(client: &mut Client) -> String {
    let (_, bytes) = client.receive_raw().expect("a reply");
    String::from_utf8(bytes).expect("text")
}

/// Bulk strings, as an array where there are several.
fn bulks(texts: &[&str]) -> String {
    String::from_utf8(encode(texts)).expect("text")
}

#[test]
fn what_makes_a_value_serves_its_waiter() {
    let mut bed = Bed::new();
    bed.run("RPUSH src a");
    let cases = [
        ("BLPOP k 0", "RPUSH k a b", bulks(&["k", "a"])),
        ("BRPOP no k 0", "RPUSH k a b", bulks(&["k", "b"])),
        ("BLMOVE k to LEFT LEFT 0", "LPUSH k a", "$1\r\na\r\n".into()),
        ("BRPOPLPUSH k k 0", "LPUSH k a", "$1\r\na\r\n".into()),
        (
            "BLMPOP 0 2 no k RIGHT COUNT 2",
            "RPUSH k a b c",
            "*2\r\n$1\r\nk\r\n*2\r\n$1\r\nc\r\n$1\r\nb\r\n".into(),
        ),
        ("BZPOPMIN k 0", "ZADD k 1 a 2 b", bulks(&["k", "a", "1"])),
        ("BZPOPMAX k 0", "ZADD k 1 a 2 b", bulks(&["k", "b", "2"])),
        (
            "BZMPOP 0 1 k MIN",
            "ZADD k 1.5 a",
            "*2\r\n$1\r\nk\r\n*1\r\n*2\r\n$1\r\na\r\n$3\r\n1.5\r\n".into(),
        ),
        ("BLPOP k 0", "COPY src k", bulks(&["k", "a"])),
        ("BLPOP k 0", "SORT src ALPHA STORE k", bulks(&["k", "a"])),
        ("BLPOP k 0", "LMOVE src k LEFT LEFT", bulks(&["k", "a"])),
        (
            "BZPOPMIN k 0",
            "GEOADD k 0 0 a",
            bulks(&["k", "a", "3377699720527872"]),
        ),
    ];
    for (waits, makes, reply) in cases {
        let mut client = bed.waits(waits, 1);
        let made = bed.run(makes);
        assert!(!made.starts_with('-'), "{makes}: {made}");
        assert_eq!(raw(&mut client), reply, "{waits}, {makes}");
        bed.run("DEL k to");
    }
    bed.run("RPUSH src a");
    let mut client = bed.waits("BLPOP k 0", 1);
    bed.run("RENAME src k");
    assert_eq!(raw(&mut client), bulks(&["k", "a"]), "RENAME");
    let mut client = bed.waits("BLPOP k 0", 1);
    bed.run("SELECT 1");
    bed.run("RPUSH k a");
    bed.run("SWAPDB 0 1");
    assert_eq!(raw(&mut client), bulks(&["k", "a"]), "SWAPDB");
}

#[test]
fn waiters_are_served_in_their_order() {
    let mut bed = Bed::new();
    let mut clients = [1, 2, 3].map(|nth| bed.waits("BLPOP other k 0", nth));
    bed.run("RPUSH k 1 2 3 4");
    for (client, element) in clients.iter_mut().zip(["1", "2", "3"]) {
        assert_eq!(raw(client), bulks(&["k", element]));
    }
    assert_eq!(bed.run("LRANGE k 0 -1"), bulks(&["4"]));
}

#[test]
fn what_a_waiter_makes_serves_the_next() {
    let mut bed = Bed::new();
    let mut last = bed.waits("BLPOP c 0", 1);
    let mut second = bed.waits("BLMOVE b c LEFT LEFT 0", 2);
    let mut first = bed.waits("BLMOVE a b LEFT LEFT 0", 3);
    bed.run("LPUSH a v");
    for client in [&mut first, &mut second] {
        assert_eq!(raw(client), "$1\r\nv\r\n");
    }
    assert_eq!(raw(&mut last), bulks(&["c", "v"]));
    assert_eq!(bed.run("EXISTS a b c"), ":0\r\n");
}

#[test]
fn a_pipelined_command_sees_what_waiters_left() {
    let mut bed = Bed::new();
    let mut client = bed.waits("BLPOP k 0", 1);
    let lines = ["RPUSH k a b", "LLEN k"].map(|line| encode(&words(line)));
    bed.other.send_raw(&lines.concat()).expect("sent");
    assert_eq!(raw(&mut bed.other), ":2\r\n");
    assert_eq!(raw(&mut bed.other), ":1\r\n");
    assert_eq!(raw(&mut client), bulks(&["k", "a"]));
}

#[test]
fn a_transaction_serves_waiters_at_its_end() {
    let mut bed = Bed::new();
    let mut client = bed.waits("BLPOP k 0", 1);
    bed.run("MULTI");
    for line in ["RPUSH k a", "DEL k", "RPUSH k b"] {
        bed.run(line);
    }
    assert_eq!(bed.run("EXEC"), "*3\r\n:1\r\n:1\r\n:1\r\n");
    assert_eq!(raw(&mut client), bulks(&["k", "b"]));
}

#[test]
fn nothing_waits_within_a_transaction() {
    let mut bed = Bed::new();
    bed.run("MULTI");
    for line in [
        "BLPOP k 0",
        "BLMOVE k k LEFT LEFT 0",
        "BRPOPLPUSH k k 0",
        "BLMPOP 0 1 k LEFT",
        "BZPOPMIN k 0",
        "BZMPOP 0 1 k MIN",
    ] {
        assert_eq!(bed.run(line), "+QUEUED\r\n");
    }
    let nothing = "*6\r\n*-1\r\n$-1\r\n$-1\r\n*-1\r\n*-1\r\n*-1\r\n";
    assert_eq!(bed.run("EXEC"), nothing);
}

#[test]
fn another_type_leaves_waiters_waiting() {
    let mut bed = Bed::new();
    let mut client = bed.waits("BLPOP k 0", 1);
    bed.run("ZADD k 1 a");
    bed.run("SET k v");
    bed.wait_for_blocked(1);
    bed.run("DEL k");
    bed.run("RPUSH k v");
    assert_eq!(raw(&mut client), bulks(&["k", "v"]));
    bed.run("SET k v");
    let error = bed.run("BLPOP no k 0");
    assert!(error.starts_with("-WRONGTYPE "), "{error}");
}

#[test]
fn a_waiter_in_vain_gets_a_null_array() {
    let mut bed = Bed::new();
    for line in [
        "BLPOP k 0.05",
        "BLMOVE k k LEFT LEFT 0.05",
        "BLMPOP 0.05 1 k LEFT",
        "BZPOPMAX k 0.05",
        "BZMPOP 0.05 1 k MIN",
    ] {
        let begun = Instant::now();
        assert_eq!(bed.run(line), "*-1\r\n", "{line}");
        assert!(begun.elapsed() >= Duration::from_millis(50), "{line}");
    }
    assert_eq!(bed.run("EXISTS k"), ":0\r\n");
}

#[test]
fn a_time_that_is_none_is_refused() {
    let mut bed = Bed::new();
    for (time, error) in [
        ("-1", "timeout is negative"),
        ("-inf", "timeout is negative"),
        ("-0.0001", "OK"),
        ("x", "timeout is not a float or out of range"),
        ("nan", "timeout is not a float or out of range"),
        ("inf", "timeout is out of range"),
        ("1e400", "timeout is out of range"),
        ("9223372036854775807", "timeout is out of range"),
        ("9223372036854775", "timeout is out of range"),
    ] {
        if error != "OK" {
            assert_eq!(
                bed.run(&format!("BLPOP k {time}")),
                format!("-ERR {error}\r\n")
            );
        }
    }
    // Less than a millisecond before now is no time at all: it waits for ever.
    let client = bed.waits("BLPOP k -0.0001", 1);
    drop(client);
    bed.wait_for_blocked(0);
}

#[test]
fn an_expired_element_serves_nobody() {
    let mut bed = Bed::new();
    bed.run("DEBUG SET-ACTIVE-EXPIRE 0");
    let begun = Instant::now();
    let mut client = bed.waits("BLPOP k 1", 1);
    bed.run("MULTI");
    for line in ["RPUSH k a", "PEXPIRE k 100", "DEBUG SLEEP 0.2"] {
        bed.run(line);
    }
    bed.run("EXEC");
    assert_eq!(raw(&mut client), "*-1\r\n");
    let waited = begun.elapsed();
    assert!(
        waited >= Duration::from_secs(1),
        "its first deadline: {waited:?}"
    );
    assert!(
        waited < Duration::from_millis(1_150),
        "not a new one: {waited:?}"
    );
}

#[test]
fn unblocked_waiters_go_on() {
    let mut bed = Bed::new();
    for (how, end) in [
        ("TIMEOUT", "*-1\r\n"),
        (
            "ERROR",
            "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n",
        ),
    ] {
        let mut client = bed.server.client();
        let id = client.cmd(&["CLIENT", "ID"]).int();
        client.send(&words("BLPOP k 0")).expect("sent");
        client.send(&["PING"]).expect("sent");
        bed.wait_for_blocked(1);
        assert_eq!(bed.run(&format!("CLIENT UNBLOCK {id} {how}")), ":1\r\n");
        assert_eq!(raw(&mut client), end);
        assert_eq!(raw(&mut client), "+PONG\r\n");
        assert_eq!(bed.run(&format!("CLIENT UNBLOCK {id} {how}")), ":0\r\n");
    }
    bed.run("RPUSH k a");
    assert_eq!(bed.run("LLEN k"), ":1\r\n", "nobody waits for it any more");
}

#[test]
fn nothing_is_taken_for_a_killed_waiter() {
    let mut bed = Bed::new();
    let mut client = bed.server.client();
    let id = client.cmd(&["CLIENT", "ID"]).int();
    client.send(&words("BLPOP k 0")).expect("sent");
    bed.wait_for_blocked(1);
    let lines = [
        format!("CLIENT KILL ID {id}"),
        "RPUSH k a".into(),
        "LLEN k".into(),
    ];
    let bytes = lines.map(|line| encode(&words(&line))).concat();
    bed.other.send_raw(&bytes).expect("sent");
    for _ in 0..3 {
        assert_eq!(raw(&mut bed.other), ":1\r\n");
    }
    let gone = bed.waits("BLPOP gone 0", 1);
    drop(gone);
    bed.wait_for_blocked(0);
    bed.run("RPUSH gone a");
    assert_eq!(bed.run("LLEN gone"), ":1\r\n");
}

#[test]
fn a_wait_and_its_end_are_one_call() {
    let mut bed = Bed::new();
    bed.run("BLPOP k 0.01");
    let mut client = bed.waits("BLPOP k 0", 1);
    bed.run("RPUSH k a");
    raw(&mut client);
    let info = bed.run("INFO commandstats");
    let line = info.split("\r\n").find(|l| l.starts_with("cmdstat_blpop:"));
    let line = line.expect("it was called");
    assert!(line.starts_with("cmdstat_blpop:calls=2,"), "{line}");
}

#[test]
fn thousands_of_waiters_get_one_element_each() {
    let mut bed = Bed::new();
    const MANY: usize = 2_000;
    let mut clients = Vec::new();
    for _ in 0..MANY {
        let mut client = bed.server.client();
        client.send(&words("BLPOP k other 0")).expect("sent");
        clients.push(client);
    }
    bed.wait_for_blocked(MANY);
    let elements: Vec<String> = (0..MANY).map(|n| format!("{n:04}")).collect();
    bed.run(&format!("RPUSH k {}", elements.join(" ")));
    let mut got: Vec<String> = clients.iter_mut().map(raw).collect();
    got.sort();
    let wanted: Vec<String> = elements.iter().map(|e| bulks(&["k", e])).collect();
    assert_eq!(got.len(), wanted.len());
    assert!(got == wanted, "each element goes to one client");
}

/// How a client's connection ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Closed,
    HalfClosed,
}

/// A waiter that has sent more, which is not read while it waits, is known to be gone like any other.
#[test]
fn a_gone_waiter_that_sent_more_gets_nothing() {
    let mut bed = Bed::new();
    for how in [End::Closed, End::HalfClosed] {
        let mut gone = bed.waits("BLPOP gone 0", 1);
        gone.send(&["PING"]).expect("sent");
        // Loopback: what was sent first is there first.
        match how {
            End::Closed => drop(gone),
            End::HalfClosed => {
                let end = gone.stream().shutdown(std::net::Shutdown::Write);
                end.expect("shut down");
            }
        }
        bed.wait_for_blocked(0);
        bed.run("RPUSH gone a");
        assert_eq!(bed.run("LLEN gone"), ":1\r\n", "{how:?}");
        bed.run("DEL gone");
    }
}
