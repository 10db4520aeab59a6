//! The hash family.

use crate::testing::{single, Fixture, START_MS};
use resp::encode::Proto;

const WRONG: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n";
const MISSING: &str = "-ERR Mandatory argument FIELDS is missing or not at the right position\r\n";

fn fixture() -> Fixture {
    Fixture::new(single())
}

#[test]
fn fields_are_set_read_and_deleted() {
    let mut f = fixture();
    f.expect(&[
        ("HSET h a 1 b two", ":2\r\n"),
        ("HSET h a 3 c 4", ":1\r\n"),
        ("TYPE h", "+hash\r\n"),
        ("OBJECT ENCODING h", "$8\r\nlistpack\r\n"),
        ("HGET h a", "$1\r\n3\r\n"),
        ("HGET h none", "$-1\r\n"),
        ("HGET none a", "$-1\r\n"),
        ("HLEN h", ":3\r\n"),
        ("HSTRLEN h b", ":3\r\n"),
        ("HSTRLEN h none", ":0\r\n"),
        ("HEXISTS h b", ":1\r\n"),
        ("HEXISTS h none", ":0\r\n"),
        ("HMGET h a none b", "*3\r\n$1\r\n3\r\n$-1\r\n$3\r\ntwo\r\n"),
        ("HMGET none a", "*1\r\n$-1\r\n"),
        (
            "HGETALL h",
            "*6\r\n$1\r\na\r\n$1\r\n3\r\n$1\r\nb\r\n$3\r\ntwo\r\n$1\r\nc\r\n$1\r\n4\r\n",
        ),
        ("HKEYS h", "*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n"),
        ("HVALS h", "*3\r\n$1\r\n3\r\n$3\r\ntwo\r\n$1\r\n4\r\n"),
        ("HGETALL none", "*0\r\n"),
        ("HMSET h d 5", "+OK\r\n"),
        ("HSETNX h d 6", ":0\r\n"),
        ("HSETNX h e 6", ":1\r\n"),
        ("HDEL h a b none a", ":2\r\n"),
        ("HDEL h c d e", ":3\r\n"),
        ("EXISTS h", ":0\r\n"),
        ("HDEL h c", ":0\r\n"),
        (
            "HSET h a",
            "-ERR wrong number of arguments for 'hset' command\r\n",
        ),
        (
            "HSET h a 1 b",
            "-ERR wrong number of arguments for 'hset' command\r\n",
        ),
        (
            "HMSET h a 1 b",
            "-ERR wrong number of arguments for 'hmset' command\r\n",
        ),
    ]);
}

#[test]
fn maps_are_maps_in_resp3() {
    let mut f = fixture();
    f.line("HSET h a 1");
    let mut session = crate::testing::session(9);
    session.proto = Proto::Resp3;
    assert_eq!(
        f.run_as(&mut session, &["HGETALL", "h"]),
        "%1\r\n$1\r\na\r\n$1\r\n1\r\n"
    );
    assert_eq!(f.run_as(&mut session, &["HGETALL", "no"]), "%0\r\n");
    assert_eq!(f.run_as(&mut session, &["HGET", "no", "a"]), "_\r\n");
    assert_eq!(
        f.run_as(&mut session, &["HRANDFIELD", "h", "-2", "WITHVALUES"]),
        "*2\r\n*2\r\n$1\r\na\r\n$1\r\n1\r\n*2\r\n$1\r\na\r\n$1\r\n1\r\n"
    );
}

#[test]
fn another_type_is_refused() {
    let mut f = fixture();
    f.line("SET s x");
    for line in [
        "HSET s a 1",
        "HSETNX s a 1",
        "HMSET s a 1",
        "HGET s a",
        "HMGET s a",
        "HDEL s a",
        "HLEN s",
        "HSTRLEN s a",
        "HEXISTS s a",
        "HGETALL s",
        "HKEYS s",
        "HVALS s",
        "HINCRBY s a 1",
        "HINCRBYFLOAT s a 1",
        "HRANDFIELD s",
        "HRANDFIELD s 1",
        "HSCAN s 0",
        "HEXPIRE s x FIELDS 1 a",
        "HTTL s FIELDS 1 a",
        "HPERSIST s FIELDS 1 a",
    ] {
        assert_eq!(f.line(line), WRONG, "{line}");
    }
    f.line("HSET h a 1");
    for line in [
        "GET h",
        "APPEND h x",
        "INCR h",
        "SETRANGE h 1 x",
        "STRLEN h",
        "GETEX h",
        "GETDEL h",
        "GETSET h x",
        "SET h x GET",
    ] {
        assert_eq!(f.line(line), WRONG, "{line}");
    }
    f.expect(&[
        ("MGET h", "*1\r\n$-1\r\n"),
        ("SET h x", "+OK\r\n"),
        ("GET h", "$1\r\nx\r\n"),
    ]);
}

#[test]
fn numbers_are_added() {
    let mut f = fixture();
    f.expect(&[
        ("HINCRBY h n 5", ":5\r\n"),
        ("HINCRBY h n -7", ":-2\r\n"),
        ("HSET h t text m 9223372036854775807", ":2\r\n"),
        ("HINCRBY h t 1", "-ERR hash value is not an integer\r\n"),
        (
            "HINCRBY h m 1",
            "-ERR increment or decrement would overflow\r\n",
        ),
        (
            "HINCRBY h n x",
            "-ERR value is not an integer or out of range\r\n",
        ),
        ("HINCRBYFLOAT h f 1.5", "$3\r\n1.5\r\n"),
        ("HINCRBYFLOAT h f 1.5", "$1\r\n3\r\n"),
        ("HINCRBYFLOAT h t 1", "-ERR hash value is not a float\r\n"),
        ("HINCRBYFLOAT h f x", "-ERR value is not a valid float\r\n"),
        ("HINCRBYFLOAT h f inf", "-ERR value is NaN or Infinity\r\n"),
    ]);
}

#[test]
fn random_fields_are_counted() {
    let mut f = fixture();
    f.line("HSET h a 1 b 2 c 3");
    f.expect(&[
        ("HRANDFIELD none", "$-1\r\n"),
        ("HRANDFIELD none 3", "*0\r\n"),
        ("HRANDFIELD h 0", "*0\r\n"),
        ("HRANDFIELD h 9", "*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n"),
        ("HRANDFIELD h 9 withvalues", "*6\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nb\r\n$1\r\n2\r\n$1\r\nc\r\n$1\r\n3\r\n"),
        ("HRANDFIELD h x", "-ERR value is not an integer or out of range\r\n"),
        ("HRANDFIELD h 1 x", "-ERR syntax error\r\n"),
        ("HRANDFIELD h 1 withvalues x", "-ERR syntax error\r\n"),
        ("HRANDFIELD h -9223372036854775808", "-ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807\r\n"),
        ("HRANDFIELD h 9223372036854775807 withvalues", "-ERR value is out of range\r\n"),
    ]);
    assert!(f.line("HRANDFIELD h -5").starts_with("*5\r\n"));
    assert!(f.line("HRANDFIELD h 2").starts_with("*2\r\n"));
}

#[test]
fn scans_take_options() {
    let mut f = fixture();
    f.line("HSET h a 1 b 2");
    f.expect(&[
        (
            "HSCAN h 0",
            "*2\r\n$1\r\n0\r\n*4\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nb\r\n$1\r\n2\r\n",
        ),
        (
            "HSCAN h 0 MATCH b* COUNT 5",
            "*2\r\n$1\r\n0\r\n*2\r\n$1\r\nb\r\n$1\r\n2\r\n",
        ),
        (
            "HSCAN h 0 NOVALUES",
            "*2\r\n$1\r\n0\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n",
        ),
        ("HSCAN none 0", "*2\r\n$1\r\n0\r\n*0\r\n"),
        ("HSCAN h x", "-ERR invalid cursor\r\n"),
        ("HSCAN h 0 TYPE hash", "-ERR syntax error\r\n"),
        ("SCAN 0 TYPE hash", "*2\r\n$1\r\n0\r\n*1\r\n$1\r\nh\r\n"),
        ("SCAN 0 TYPE string", "*2\r\n$1\r\n0\r\n*0\r\n"),
    ]);
}

#[test]
fn fields_expire() {
    let mut f = fixture();
    f.line("HSET h a 1 b 2 c 3");
    f.expect(&[
        ("HEXPIRE h 10 FIELDS 2 a none", "*2\r\n:1\r\n:-2\r\n"),
        ("OBJECT ENCODING h", "$10\r\nlistpackex\r\n"),
        ("HTTL h FIELDS 3 a b none", "*3\r\n:10\r\n:-1\r\n:-2\r\n"),
        ("HPTTL h FIELDS 1 a", "*1\r\n:10000\r\n"),
        (
            "HPEXPIRETIME h FIELDS 1 a",
            &format!("*1\r\n:{}\r\n", START_MS + 10_000),
        ),
        (
            "HEXPIRETIME h FIELDS 1 a",
            &format!("*1\r\n:{}\r\n", START_MS / 1000 + 10),
        ),
        ("HPEXPIRE h 5000 GT FIELDS 1 a", "*1\r\n:0\r\n"),
        ("HPEXPIRE h 5000 LT FIELDS 1 a", "*1\r\n:1\r\n"),
        ("HPEXPIRE h 5000 NX FIELDS 2 a b", "*2\r\n:0\r\n:1\r\n"),
        ("HPEXPIRE h 9000 XX FIELDS 2 a c", "*2\r\n:1\r\n:0\r\n"),
        ("HPERSIST h FIELDS 3 a a none", "*3\r\n:1\r\n:-1\r\n:-2\r\n"),
        ("HPEXPIREAT h 1 FIELDS 2 c c", "*2\r\n:2\r\n:-2\r\n"),
        ("HLEN h", ":2\r\n"),
        ("HEXPIRE none 10 FIELDS 1 a", "*1\r\n:-2\r\n"),
        ("HTTL none FIELDS 1 a", "*1\r\n:-2\r\n"),
        (
            "HEXPIRE h -1 FIELDS 1 a",
            "-ERR invalid expire time, must be >= 0\r\n",
        ),
        (
            "HEXPIRE h 9223372036854775807 FIELDS 1 a",
            "-ERR invalid expire time in 'hexpire' command\r\n",
        ),
        ("HEXPIRE h 10 FIELD 1 a", MISSING),
        ("HEXPIRE h 10 NX FIELD 1 a", MISSING),
        (
            "HEXPIRE h 10 FIELDS 0 a",
            "-ERR Parameter `numFields` should be greater than 0\r\n",
        ),
        (
            "HEXPIRE h 10 FIELDS x a",
            "-ERR Parameter `numFields` should be greater than 0\r\n",
        ),
        (
            "HTTL h FIELDS 0 a",
            "-ERR Number of fields must be a positive integer\r\n",
        ),
        (
            "HPERSIST h FIELDS x a",
            "-ERR Number of fields must be a positive integer\r\n",
        ),
        (
            "HEXPIRE h 10 FIELDS 2 a",
            "-ERR The `numfields` parameter must match the number of arguments\r\n",
        ),
    ]);
}

/// F11: named fields and those before a draw; HLEN and the like look at none, HKEYS and the like hide theirs in Redis.
#[test]
fn info_counts_the_fields_that_expired() {
    let mut f = fixture();
    f.line("HSET h a 1 b 2 c 3 d 4 e 5 f 6");
    f.line("HPEXPIRE h 10 FIELDS 5 a b c d e");
    f.advance(20);
    for (line, want) in [
        ("HLEN h", 0),
        ("HGET h a", 1),
        ("HMGET h a b", 2),
        ("HDEL h c", 2),
        ("HRANDFIELD h", 4),
    ] {
        f.line(line);
        assert_eq!(f.data.counters().expired_fields, want, "{line}");
    }
    for line in ["HGETALL h", "HKEYS h", "HVALS h", "HSCAN h 0"] {
        f.line("HSET h a 1");
        f.line("HPEXPIRE h 10 FIELDS 1 a");
        f.advance(20);
        f.line(line);
        assert_eq!(f.data.counters().expired_fields, 4, "{line}");
        f.expect(&[("HLEN h", ":1\r\n")]);
    }
}

/// Each step deletes what it has met, and no more.
#[test]
fn hscan_deletes_due_fields_step_by_step() {
    let mut f = fixture();
    for n in 0..1000 {
        f.line(&format!("HSET h f{n} v"));
        if n > 0 {
            f.line(&format!("HPEXPIRE h 10 FIELDS 1 f{n}"));
        }
    }
    f.advance(20);
    let (mut cursor, mut empty, mut seen) = ("0".to_owned(), 0, 0);
    loop {
        let reply = f.line(&format!("HSCAN h {cursor}"));
        let mut lines = reply.split("\r\n").skip(2);
        cursor = lines.next().unwrap().to_owned();
        match lines.next().unwrap() {
            "*0" => empty += 1,
            elements => {
                assert_eq!(elements, "*2");
                seen += 1;
            }
        }
        if cursor == "0" {
            break;
        }
    }
    assert!(empty > 10, "{empty}");
    assert_eq!(seen, 1);
    f.expect(&[("HLEN h", ":1\r\n")]);
}

/// F11: which commands look at what is due.
#[test]
fn due_fields_go_when_they_are_looked_at() {
    let mut f = fixture();
    f.line("HSET h a 1 b 2 c 3");
    f.line("HPEXPIRE h 10 FIELDS 3 a b c");
    f.advance(20);
    f.expect(&[
        ("EXISTS h", ":1\r\n"),
        ("HLEN h", ":3\r\n"),
        ("HEXISTS h a", ":0\r\n"),
        ("HLEN h", ":2\r\n"),
        ("HDEL h b", ":1\r\n"),
        ("HGETALL h", "*0\r\n"),
        ("EXISTS h", ":0\r\n"),
    ]);
    f.line("HSET h a 1 b 2");
    f.line("HPEXPIRE h 10 FIELDS 1 a");
    f.line("HSET h a 2");
    f.advance(20);
    f.expect(&[("HGET h a", "$1\r\n2\r\n")]);
    f.line("HPEXPIRE h 10 FIELDS 1 a");
    f.line("HINCRBY h a 1");
    f.advance(20);
    f.expect(&[
        ("HINCRBY h a 5", ":5\r\n"),
        ("HPTTL h FIELDS 1 a", "*1\r\n:-1\r\n"),
    ]);
}
