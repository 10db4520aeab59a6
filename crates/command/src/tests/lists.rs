//! The list family.

use crate::testing::{session, single, Fixture};
use config::Config;
use keyspace::Limits;
use resp::encode::Proto;

const WRONG: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n";
const SYNTAX: &str = "-ERR syntax error\r\n";
const NOT_AN_INTEGER: &str = "-ERR value is not an integer or out of range\r\n";
const NOT_POSITIVE: &str = "-ERR value is out of range, must be positive\r\n";

fn fixture() -> Fixture {
    Fixture::new(single())
}

#[test]
fn elements_are_pushed_and_read_in_order() {
    let mut f = fixture();
    f.expect(&[
        ("RPUSH l b c", ":2\r\n"),
        ("LPUSH l a 1", ":4\r\n"),
        ("TYPE l", "+list\r\n"),
        ("OBJECT ENCODING l", "$8\r\nlistpack\r\n"),
        ("LLEN l", ":4\r\n"),
        ("LLEN none", ":0\r\n"),
        (
            "LRANGE l 0 -1",
            "*4\r\n$1\r\n1\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n",
        ),
        ("LRANGE l -2 100", "*2\r\n$1\r\nb\r\n$1\r\nc\r\n"),
        ("LRANGE l 2 1", "*0\r\n"),
        ("LRANGE l 4 9", "*0\r\n"),
        ("LRANGE none 0 -1", "*0\r\n"),
        ("LRANGE none x 1", NOT_AN_INTEGER),
        ("LRANGE l 0 1.5", NOT_AN_INTEGER),
        ("LINDEX l 0", "$1\r\n1\r\n"),
        ("LINDEX l -1", "$1\r\nc\r\n"),
        ("LINDEX l -4", "$1\r\n1\r\n"),
        ("LINDEX l 4", "$-1\r\n"),
        ("LINDEX l -5", "$-1\r\n"),
        ("LINDEX none 0", "$-1\r\n"),
        ("LINDEX none x", "$-1\r\n"),
        ("LINDEX l x", NOT_AN_INTEGER),
        ("LPUSHX none a", ":0\r\n"),
        ("RPUSHX none a b", ":0\r\n"),
        ("EXISTS none", ":0\r\n"),
        ("LPUSHX l y z", ":6\r\n"),
        ("RPUSHX l d", ":7\r\n"),
        (
            "LRANGE l 0 -1",
            "*7\r\n$1\r\nz\r\n$1\r\ny\r\n$1\r\n1\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n$1\r\nd\r\n",
        ),
        (
            "LPUSH l",
            "-ERR wrong number of arguments for 'lpush' command\r\n",
        ),
        ("SCAN 0 TYPE list", "*2\r\n$1\r\n0\r\n*1\r\n$1\r\nl\r\n"),
    ]);
}

#[test]
fn elements_are_popped_from_both_ends() {
    let mut f = fixture();
    f.line("RPUSH l a b c d e");
    f.expect(&[
        ("LPOP l", "$1\r\na\r\n"),
        ("RPOP l", "$1\r\ne\r\n"),
        ("RPOP l 2", "*2\r\n$1\r\nd\r\n$1\r\nc\r\n"),
        ("LPOP l 0", "*0\r\n"),
        ("LPOP l -1", NOT_POSITIVE),
        ("LPOP l x", NOT_POSITIVE),
        ("LPOP none -1", NOT_POSITIVE),
        (
            "LPOP l 1 2",
            "-ERR wrong number of arguments for 'lpop' command\r\n",
        ),
        (
            "RPOP none 1 2",
            "-ERR wrong number of arguments for 'rpop' command\r\n",
        ),
        ("LPOP none", "$-1\r\n"),
        ("LPOP none 0", "*-1\r\n"),
        ("LPOP none 5", "*-1\r\n"),
        ("LPOP l 9", "*1\r\n$1\r\nb\r\n"),
        ("EXISTS l", ":0\r\n"),
    ]);
}

#[test]
fn first_list_with_elements_is_popped() {
    let mut f = fixture();
    f.line("RPUSH l a b c d");
    f.line("SET k x");
    f.expect(&[
        ("LMPOP 1 none LEFT", "*-1\r\n"),
        ("LMPOP 2 none l left", "*2\r\n$1\r\nl\r\n*1\r\n$1\r\na\r\n"),
        (
            "LMPOP 2 l k RIGHT COUNT 2",
            "*2\r\n$1\r\nl\r\n*2\r\n$1\r\nd\r\n$1\r\nc\r\n",
        ),
        ("LMPOP 2 k l LEFT", WRONG),
        (
            "LMPOP 0 l LEFT",
            "-ERR numkeys should be greater than 0\r\n",
        ),
        (
            "LMPOP x l LEFT",
            "-ERR numkeys should be greater than 0\r\n",
        ),
        ("LMPOP 2 l LEFT", SYNTAX),
        ("LMPOP 1 l MIDDLE", SYNTAX),
        (
            "LMPOP 1 l LEFT COUNT 0",
            "-ERR count should be greater than 0\r\n",
        ),
        (
            "LMPOP 1 l LEFT COUNT x",
            "-ERR count should be greater than 0\r\n",
        ),
        ("LMPOP 1 l LEFT COUNT", SYNTAX),
        ("LMPOP 1 l LEFT COUNT 1 COUNT 1", SYNTAX),
        (
            "LMPOP 1 l LEFT COUNT 10",
            "*2\r\n$1\r\nl\r\n*1\r\n$1\r\nb\r\n",
        ),
        ("EXISTS l", ":0\r\n"),
        (
            "LMPOP 1 l",
            "-ERR wrong number of arguments for 'lmpop' command\r\n",
        ),
    ]);
}

#[test]
fn elements_move_between_lists() {
    let mut f = fixture();
    f.line("RPUSH l a b c");
    f.line("SET k x");
    f.expect(&[
        ("LMOVE l m LEFT RIGHT", "$1\r\na\r\n"),
        ("LMOVE l m right left", "$1\r\nc\r\n"),
        ("LRANGE m 0 -1", "*2\r\n$1\r\nc\r\n$1\r\na\r\n"),
        ("RPOPLPUSH l m", "$1\r\nb\r\n"),
        ("EXISTS l", ":0\r\n"),
        ("RPOPLPUSH l m", "$-1\r\n"),
        ("LMOVE l k LEFT LEFT", "$-1\r\n"),
        ("LMOVE m k LEFT LEFT", WRONG),
        ("LMOVE k m LEFT LEFT", WRONG),
        ("LMOVE m m UP LEFT", SYNTAX),
        ("LMOVE k m LEFT DOWN", SYNTAX),
        ("LRANGE m 0 -1", "*3\r\n$1\r\nb\r\n$1\r\nc\r\n$1\r\na\r\n"),
        ("RPOPLPUSH m m", "$1\r\na\r\n"),
        ("LMOVE m m LEFT LEFT", "$1\r\na\r\n"),
        ("LMOVE m m LEFT RIGHT", "$1\r\na\r\n"),
        ("LRANGE m 0 -1", "*3\r\n$1\r\nb\r\n$1\r\nc\r\n$1\r\na\r\n"),
        ("RPUSH one x", ":1\r\n"),
        ("PEXPIREAT one 9999999999999", ":1\r\n"),
        ("LMOVE one one LEFT RIGHT", "$1\r\nx\r\n"),
        ("PEXPIRETIME one", ":9999999999999\r\n"),
    ]);
}

#[test]
fn elements_are_changed_in_place() {
    let mut f = fixture();
    f.line("RPUSH l a b a c a");
    f.expect(&[
        ("LSET l 1 12", "+OK\r\n"),
        ("LSET l -1 z", "+OK\r\n"),
        ("LSET l 5 z", "-ERR index out of range\r\n"),
        ("LSET l -6 z", "-ERR index out of range\r\n"),
        ("LSET l x z", NOT_AN_INTEGER),
        ("LSET none x z", "-ERR no such key\r\n"),
        ("LINSERT l BEFORE 12 p", ":6\r\n"),
        ("LINSERT l after z q", ":7\r\n"),
        ("LINSERT l AFTER none q", ":-1\r\n"),
        ("LINSERT none AFTER a q", ":0\r\n"),
        ("LINSERT none BESIDE a q", SYNTAX),
        (
            "LRANGE l 0 -1",
            "*7\r\n$1\r\na\r\n$1\r\np\r\n$2\r\n12\r\n$1\r\na\r\n$1\r\nc\r\n$1\r\nz\r\n$1\r\nq\r\n",
        ),
        ("LREM l -1 a", ":1\r\n"),
        ("LREM l 0 x", ":0\r\n"),
        ("LREM none 0 x", ":0\r\n"),
        ("LREM none x x", NOT_AN_INTEGER),
        (
            "LREM l -9223372036854775808 x",
            "-ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807\r\n",
        ),
        ("LREM l 5 012", ":0\r\n"),
        ("LREM l 5 12", ":1\r\n"),
        ("LTRIM l 1 -2", "+OK\r\n"),
        ("LRANGE l 0 -1", "*3\r\n$1\r\np\r\n$1\r\nc\r\n$1\r\nz\r\n"),
        ("LTRIM l 0 -1", "+OK\r\n"),
        ("LTRIM l x 1", NOT_AN_INTEGER),
        ("LTRIM none 1 x", NOT_AN_INTEGER),
        ("LTRIM none 1 2", "+OK\r\n"),
        ("LTRIM l 3 9", "+OK\r\n"),
        ("EXISTS l", ":0\r\n"),
        ("RPUSH l a a", ":2\r\n"),
        ("LREM l 0 a", ":2\r\n"),
        ("EXISTS l", ":0\r\n"),
    ]);
}

#[test]
fn positions_are_found() {
    let mut f = fixture();
    f.line("RPUSH l a b c 1 2 3 c c");
    let zero = "-ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the end of the list\r\n";
    f.expect(&[
        ("LPOS l c", ":2\r\n"),
        ("LPOS l 2", ":4\r\n"),
        ("LPOS l x", "$-1\r\n"),
        ("LPOS none x", "$-1\r\n"),
        ("LPOS none x COUNT 1", "*0\r\n"),
        ("LPOS l x COUNT 0", "*0\r\n"),
        ("LPOS l c RANK 2", ":6\r\n"),
        ("LPOS l c RANK -1", ":7\r\n"),
        ("LPOS l c RANK 4", "$-1\r\n"),
        ("LPOS l c COUNT 0", "*3\r\n:2\r\n:6\r\n:7\r\n"),
        ("LPOS l c count 2 rank -1", "*2\r\n:7\r\n:6\r\n"),
        ("LPOS l c COUNT 5 RANK 2", "*2\r\n:6\r\n:7\r\n"),
        ("LPOS l c MAXLEN 2", "$-1\r\n"),
        ("LPOS l c COUNT 0 MAXLEN 7", "*2\r\n:2\r\n:6\r\n"),
        ("LPOS l c COUNT 0 MAXLEN 3 RANK -1", "*2\r\n:7\r\n:6\r\n"),
        ("LPOS l c MAXLEN 0", ":2\r\n"),
        ("LPOS l c RANK 0", zero),
        ("LPOS l c RANK x", NOT_AN_INTEGER),
        ("LPOS l c COUNT -1", "-ERR COUNT can't be negative\r\n"),
        ("LPOS l c COUNT x", "-ERR COUNT can't be negative\r\n"),
        ("LPOS l c MAXLEN -1", "-ERR MAXLEN can't be negative\r\n"),
        (
            "LPOS l c RANK -9223372036854775808",
            "-ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807\r\n",
        ),
        ("LPOS l c RANK", SYNTAX),
        ("LPOS l c FIRST 1", SYNTAX),
        ("LPOS none c FIRST 1", SYNTAX),
    ]);
}

#[test]
fn nothing_is_null_in_resp3() {
    let mut f = fixture();
    let mut resp3 = session(9);
    resp3.proto = Proto::Resp3;
    for line in [
        "LPOP none",
        "LPOP none 5",
        "LMPOP 1 none LEFT",
        "LINDEX none 0",
        "LPOS none x",
        "LMOVE none l LEFT LEFT",
        "RPOPLPUSH none l",
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(f.run_as(&mut resp3, &words), "_\r\n", "{line}");
    }
}

#[test]
fn another_type_is_refused() {
    let mut f = fixture();
    f.line("SET k x");
    f.line("RPUSH l a");
    for line in [
        "LINDEX k x",
        "LINSERT k BEFORE a b",
        "LLEN k",
        "LMOVE k l LEFT LEFT",
        "LMPOP 1 k LEFT",
        "LPOP k",
        "LPOP k 0",
        "LPOS k a",
        "LPUSH k a",
        "LPUSHX k a",
        "LRANGE k 0 1",
        "LREM k 0 a",
        "LSET k x a",
        "LTRIM k 0 1",
        "RPOP k",
        "RPOPLPUSH k l",
        "RPOPLPUSH l k",
        "RPUSH k a",
        "RPUSHX k a",
        "GET l",
        "SADD l a",
        "HGET l a",
        "APPEND l x",
        "INCR l",
    ] {
        assert_eq!(f.line(line), WRONG, "{line}");
    }
    assert_eq!(f.line("SET l x"), "+OK\r\n");
}

#[test]
fn encodings_follow_the_limit() {
    let mut f = fixture();
    f.data.keyspace_mut().set_limits(Limits {
        list_size: 4,
        ..Limits::default()
    });
    let (listpack, quicklist) = ("$8\r\nlistpack\r\n", "$9\r\nquicklist\r\n");
    f.expect(&[
        ("RPUSH l 1 2 3 4", ":4\r\n"),
        ("OBJECT ENCODING l", listpack),
        ("RPUSH l 5", ":5\r\n"),
        ("OBJECT ENCODING l", quicklist),
        ("COPY l m", ":1\r\n"),
        ("OBJECT ENCODING m", quicklist),
        ("LPOP l 2", "*2\r\n$1\r\n1\r\n$1\r\n2\r\n"),
        ("OBJECT ENCODING l", quicklist),
        ("RPOP l", "$1\r\n5\r\n"),
        ("OBJECT ENCODING l", listpack),
        ("LTRIM m 3 -1", "+OK\r\n"),
        ("LRANGE m 0 -1", "*2\r\n$1\r\n4\r\n$1\r\n5\r\n"),
        ("LRANGE l 0 -1", "*2\r\n$1\r\n3\r\n$1\r\n4\r\n"),
    ]);
}

/// Digests and payloads are what Redis 7.4.1 said.
#[test]
fn lists_come_back_from_their_payloads() {
    let mut f = fixture();
    let (config, _) = Config::from_args(["--enable-debug-command", "yes"]).expect("a config");
    f.host.config = config;
    let long = "x".repeat(9_000);
    f.line("RPUSH small a 12 c");
    f.line(&format!("RPUSH large a {long} b"));
    let small = "1201020f0f00000003008161020c01816302ff0c005a0c0ee825675953";
    let large = "1203020a0a0000000100816102ff01c3";
    for (key, payload_begins, digest) in [
        ("small", small, "c2106b6b60445c1d77bf238d7b20effec63108e5"),
        ("large", large, "c2f7d8eb018b8fd9ac0f652ff2f3439eec38a562"),
    ] {
        let (reply, _) = f.outcome(&["DUMP", key]);
        let at = reply.windows(2).position(|two| two == b"\r\n").unwrap();
        let payload = reply[at + 2..reply.len() - 2].to_vec();
        let hex: String = payload.iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(hex.starts_with(payload_begins), "{hex}");
        let restore = [b"RESTORE", &b"copy"[..], b"0", &payload, b"REPLACE"];
        assert_eq!(f.run(&restore), "+OK\r\n");
        let mut same = |command: &str| {
            let replies =
                [key, "copy"].map(|key| f.line(&command.replace(" K", &format!(" {key}"))));
            assert_eq!(replies[0], replies[1], "{command}");
            replies[0].clone()
        };
        same("LRANGE K 0 -1");
        same("OBJECT ENCODING K");
        let shown = same("DEBUG DIGEST-VALUE K");
        assert_eq!(shown, format!("*1\r\n+{digest}\r\n"));
    }
}
