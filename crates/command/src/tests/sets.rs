//! The set family.

use crate::testing::{session, single, Fixture};
use resp::encode::Proto;

const WRONG: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n";
const SYNTAX: &str = "-ERR syntax error\r\n";

fn fixture() -> Fixture {
    Fixture::new(single())
}

#[test]
fn members_are_added_read_and_removed() {
    let mut f = fixture();
    f.expect(&[
        ("SADD s b a b", ":2\r\n"),
        ("SADD s a", ":0\r\n"),
        ("SADD s a c", ":1\r\n"),
        ("TYPE s", "+set\r\n"),
        ("OBJECT ENCODING s", "$8\r\nlistpack\r\n"),
        ("SCARD s", ":3\r\n"),
        ("SCARD none", ":0\r\n"),
        ("SISMEMBER s a", ":1\r\n"),
        ("SISMEMBER s x", ":0\r\n"),
        ("SISMEMBER none x", ":0\r\n"),
        ("SMISMEMBER s a x c", "*3\r\n:1\r\n:0\r\n:1\r\n"),
        ("SMISMEMBER none a x", "*2\r\n:0\r\n:0\r\n"),
        ("SMEMBERS s", "*3\r\n$1\r\nb\r\n$1\r\na\r\n$1\r\nc\r\n"),
        ("SMEMBERS none", "*0\r\n"),
        ("SREM s a x a", ":1\r\n"),
        ("SREM none a", ":0\r\n"),
        ("SREM s b c", ":2\r\n"),
        ("EXISTS s", ":0\r\n"),
        ("SADD n 3 1 -7 3", ":3\r\n"),
        ("OBJECT ENCODING n", "$6\r\nintset\r\n"),
        ("SMEMBERS n", "*3\r\n$2\r\n-7\r\n$1\r\n1\r\n$1\r\n3\r\n"),
        ("SADD n 01", ":1\r\n"),
        ("OBJECT ENCODING n", "$8\r\nlistpack\r\n"),
        (
            "SMEMBERS n",
            "*4\r\n$2\r\n-7\r\n$1\r\n1\r\n$1\r\n3\r\n$2\r\n01\r\n",
        ),
        (
            "SADD n",
            "-ERR wrong number of arguments for 'sadd' command\r\n",
        ),
        ("SCAN 0 TYPE set", "*2\r\n$1\r\n0\r\n*1\r\n$1\r\nn\r\n"),
    ]);
}

#[test]
fn sets_are_sets_in_resp3() {
    let mut f = fixture();
    f.line("SADD s a");
    f.line("SADD t a b");
    let mut resp3 = session(9);
    resp3.proto = Proto::Resp3;
    let one = "~1\r\n$1\r\na\r\n";
    for (line, want) in [
        ("SMEMBERS s", one),
        ("SMEMBERS none", "~0\r\n"),
        ("SINTER s t", one),
        ("SINTER s none", "~0\r\n"),
        ("SUNION s none", one),
        ("SUNION none", "~0\r\n"),
        ("SDIFF s none", one),
        ("SDIFF s t", "~0\r\n"),
        ("SRANDMEMBER s", "$1\r\na\r\n"),
        ("SRANDMEMBER none", "_\r\n"),
        ("SRANDMEMBER s 5", "*1\r\n$1\r\na\r\n"),
        ("SRANDMEMBER none 5", "*0\r\n"),
        ("SSCAN s 0", "*2\r\n$1\r\n0\r\n*1\r\n$1\r\na\r\n"),
        ("SPOP none", "_\r\n"),
        ("SPOP none 5", "~0\r\n"),
        ("SPOP s 0", "~0\r\n"),
        ("SPOP s 5", one),
        ("SPOP t 2", "~2\r\n$1\r\na\r\n$1\r\nb\r\n"),
        ("EXISTS s t", ":0\r\n"),
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(f.run_as(&mut resp3, &words), want, "{line}");
    }
}

#[test]
fn another_type_is_refused() {
    let mut f = fixture();
    f.line("SET k x");
    f.line("SADD s a");
    for line in [
        "SADD k a",
        "SCARD k",
        "SDIFF k",
        "SDIFF s k",
        "SDIFFSTORE d s k",
        "SINTER none k",
        "SINTERCARD 2 none k",
        "SINTERSTORE d none k",
        "SISMEMBER k a",
        "SMEMBERS k",
        "SMISMEMBER k a",
        "SMOVE k s a",
        "SMOVE s k a",
        "SMOVE s k none",
        "SPOP k",
        "SPOP k 0",
        "SRANDMEMBER k",
        "SRANDMEMBER k 0",
        "SREM k a",
        "SSCAN k 0 BAD",
        "SUNION s k",
        "SUNIONSTORE k k",
        "GET s",
        "HSET s a 1",
        "HGETALL s",
        "APPEND s x",
        "INCR s",
    ] {
        assert_eq!(f.line(line), WRONG, "{line}");
    }
    f.line("HSET h a 1");
    assert_eq!(f.line("SADD h a"), WRONG);
    f.expect(&[
        ("SMOVE none k a", ":0\r\n"),
        ("SINTERSTORE k s", ":1\r\n"),
        ("TYPE k", "+set\r\n"),
        ("SET k x", "+OK\r\n"),
        ("SINTERSTORE k s none", ":0\r\n"),
        ("EXISTS k", ":0\r\n"),
        ("MGET s", "*1\r\n$-1\r\n"),
    ]);
}

#[test]
fn members_move() {
    let mut f = fixture();
    f.line("SADD a x y");
    f.line("SADD b y");
    f.expect(&[
        ("SMOVE a b none", ":0\r\n"),
        ("SMOVE a a x", ":1\r\n"),
        ("SMOVE a a none", ":0\r\n"),
        ("SMOVE a b y", ":1\r\n"),
        ("SCARD b", ":1\r\n"),
        ("SMOVE a c x", ":1\r\n"),
        ("EXISTS a", ":0\r\n"),
        ("SMEMBERS c", "*1\r\n$1\r\nx\r\n"),
        ("SMOVE a c x", ":0\r\n"),
    ]);
}

#[test]
fn sets_are_combined() {
    let mut f = fixture();
    f.line("SADD a x y z");
    f.line("SADD b z y 1");
    f.expect(&[
        ("SINTER a", "*3\r\n$1\r\nx\r\n$1\r\ny\r\n$1\r\nz\r\n"),
        ("SINTER a b", "*2\r\n$1\r\ny\r\n$1\r\nz\r\n"),
        ("SINTER a b none", "*0\r\n"),
        (
            "SUNION b a",
            "*4\r\n$1\r\nz\r\n$1\r\ny\r\n$1\r\n1\r\n$1\r\nx\r\n",
        ),
        ("SDIFF a b", "*1\r\n$1\r\nx\r\n"),
        ("SDIFF none b", "*0\r\n"),
        ("SDIFF a b a", "*0\r\n"),
        ("SDIFF a", "*3\r\n$1\r\nx\r\n$1\r\ny\r\n$1\r\nz\r\n"),
        ("SINTERCARD 2 a b", ":2\r\n"),
        ("SINTERCARD 2 a b LIMIT 1", ":1\r\n"),
        ("SINTERCARD 2 a b LIMIT 0", ":2\r\n"),
        ("SINTERCARD 2 a b limit 9 LIMIT 1", ":1\r\n"),
        ("SINTERCARD 2 a none", ":0\r\n"),
        ("SINTERCARD 1 a b", SYNTAX),
        ("SINTERCARD 2 a b LIMIT", SYNTAX),
        (
            "SINTERCARD 2 a b LIMIT -1",
            "-ERR LIMIT can't be negative\r\n",
        ),
        (
            "SINTERCARD 2 a b LIMIT x",
            "-ERR LIMIT can't be negative\r\n",
        ),
        (
            "SINTERCARD 0 a b",
            "-ERR numkeys should be greater than 0\r\n",
        ),
        (
            "SINTERCARD x a b",
            "-ERR numkeys should be greater than 0\r\n",
        ),
        (
            "SINTERCARD 3 a b",
            "-ERR Number of keys can't be greater than number of args\r\n",
        ),
    ]);
}

#[test]
fn combined_sets_are_stored() {
    let mut f = fixture();
    f.line("SADD a 1 2 3");
    f.line("SADD b 2 3 w");
    f.line("SET d text PX 100000");
    f.expect(&[
        ("SINTERSTORE d b a", ":2\r\n"),
        ("PTTL d", ":-1\r\n"),
        ("OBJECT ENCODING d", "$6\r\nintset\r\n"),
        ("SMEMBERS d", "*2\r\n$1\r\n2\r\n$1\r\n3\r\n"),
        ("SUNIONSTORE d a b", ":4\r\n"),
        ("OBJECT ENCODING d", "$8\r\nlistpack\r\n"),
        ("SDIFFSTORE d a b d", ":0\r\n"),
        ("EXISTS d", ":0\r\n"),
        ("SDIFFSTORE d none", ":0\r\n"),
        ("SUNIONSTORE a a b none", ":4\r\n"),
        ("SDIFFSTORE a a b", ":1\r\n"),
        ("SMEMBERS a", "*1\r\n$1\r\n1\r\n"),
    ]);
    f.line("PEXPIRE b 10");
    f.advance(20);
    f.expect(&[("SINTERSTORE a a b", ":0\r\n"), ("EXISTS a b", ":0\r\n")]);
}

#[test]
fn random_members_are_counted() {
    let mut f = fixture();
    f.line("SADD s a b c");
    f.expect(&[
        ("SRANDMEMBER none", "$-1\r\n"),
        ("SRANDMEMBER none 3", "*0\r\n"),
        ("SRANDMEMBER s 0", "*0\r\n"),
        ("SRANDMEMBER s 9", "*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n"),
        ("SRANDMEMBER s x", "-ERR value is not an integer or out of range\r\n"),
        ("SRANDMEMBER s 1 x", SYNTAX),
        ("SRANDMEMBER s -9223372036854775808", "-ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807\r\n"),
        ("SPOP none", "$-1\r\n"),
        ("SPOP none 3", "*0\r\n"),
        ("SPOP s 0", "*0\r\n"),
        ("SPOP s -1", "-ERR value is out of range, must be positive\r\n"),
        ("SPOP s x", "-ERR value is out of range, must be positive\r\n"),
        ("SPOP s 1 2", SYNTAX),
    ]);
    assert!(f.line("SRANDMEMBER s -5").starts_with("*5\r\n"));
    assert!(f.line("SRANDMEMBER s 2").starts_with("*2\r\n"));
    assert!(f.line("SPOP s 2").starts_with("*2\r\n"));
    assert!(f.line("SPOP s").starts_with("$1\r\n"));
    f.expect(&[("EXISTS s", ":0\r\n"), ("SPOP s 1", "*0\r\n")]);
}

/// D5: a transaction has room for what its commands say; what else a draw takes is logged as a number.
#[test]
fn large_draws_of_a_transaction_are_logged_as_numbers() {
    let mut f = fixture();
    let members: Vec<String> = (0..1000).map(|n| format!("member{n}")).collect();
    let mut words = vec!["SADD", "s"];
    words.extend(members.iter().map(|member| &**member));
    f.run(&words);
    f.line("MULTI");
    f.line("SPOP s 990");
    f.line("SPOP s 2");
    let before: usize = f.log.iter().map(Vec::len).sum();
    let reply = f.line("EXEC");
    assert!(reply.starts_with("*2\r\n*990\r\n"));
    let after: usize = f.log.iter().map(Vec::len).sum();
    assert!(after - before < 200);
    assert_eq!(f.line("SCARD s"), ":8\r\n");
    let left = f.line("SMEMBERS s");
    let shown = |text: &str| reply.contains(&format!("\r\n{text}\r\n"));
    for member in &members {
        assert_ne!(left.contains(&format!("\r\n{member}\r\n")), shown(member));
    }
}

#[test]
fn a_draw_waits_for_its_room() {
    let mut f = fixture();
    let members: Vec<String> = (0..30_000).map(|n| format!("member{n}")).collect();
    let mut words = vec!["SADD", "s"];
    words.extend(members.iter().map(|member| &**member));
    f.run(&words);
    f.grant = 1000;
    let before = f.data.keyspace().digest_all();
    let (_, outcome) = f.outcome(&["SPOP", "s", "20000"]);
    assert_eq!(outcome.flow, crate::Flow::Hold);
    assert_eq!(f.data.keyspace().digest_all(), before);
    f.grant = f.data.take_wanted().expect("it asks for room");
    assert!(f.line("SPOP s 20000").starts_with("*20000\r\n"));
    assert_eq!(f.line("SCARD s"), ":10000\r\n");
    f.grant = 1000;
    assert!(f.line("SPOP s 20000").starts_with("*10000\r\n"));
    assert_eq!(f.line("EXISTS s"), ":0\r\n");
}

#[test]
fn scans_take_options() {
    let mut f = fixture();
    f.line("SADD s a 1");
    f.expect(&[
        ("SSCAN s 0", "*2\r\n$1\r\n0\r\n*2\r\n$1\r\na\r\n$1\r\n1\r\n"),
        (
            "SSCAN s 0 MATCH 1* COUNT 5",
            "*2\r\n$1\r\n0\r\n*1\r\n$1\r\n1\r\n",
        ),
        ("SSCAN none 0", "*2\r\n$1\r\n0\r\n*0\r\n"),
        ("SSCAN none 0 BAD", "*2\r\n$1\r\n0\r\n*0\r\n"),
        ("HSCAN none 0 BAD", "*2\r\n$1\r\n0\r\n*0\r\n"),
        ("SSCAN none x", "-ERR invalid cursor\r\n"),
        ("SSCAN s 0 TYPE set", SYNTAX),
        ("SSCAN s 0 COUNT 0", SYNTAX),
        (
            "SSCAN s 0 NOVALUES",
            "-ERR NOVALUES option can only be used in HSCAN\r\n",
        ),
    ]);
}

/// T9: what looks at many members lets the server breathe.
#[test]
fn long_set_algebra_breathes() {
    let mut f = fixture();
    for key in ["a", "b"] {
        let members: Vec<String> = (0..20_000).map(|n| format!("{key}{n}")).collect();
        let mut words = vec!["SADD", key];
        words.extend(members.iter().map(|member| &**member));
        f.run(&words);
    }
    for line in [
        "SINTER a b",
        "SINTERCARD 2 a b",
        "SUNION a b",
        "SDIFF a b",
        "SUNIONSTORE d a b",
        "SDIFFSTORE d a b",
        "SINTERSTORE d a b",
        "SMEMBERS a",
        "SRANDMEMBER a 19000",
        "SPOP a 19000",
    ] {
        let before = f.host.breaths;
        f.line(line);
        assert!(f.host.breaths > before, "{line}");
    }
}

#[test]
fn keys_of_sintercard_are_found() {
    let mut f = fixture();
    f.expect(&[
        (
            "COMMAND GETKEYS SINTERCARD 2 a b LIMIT 3",
            "*2\r\n$1\r\na\r\n$1\r\nb\r\n",
        ),
        (
            "COMMAND GETKEYS SUNIONSTORE d a b",
            "*3\r\n$1\r\nd\r\n$1\r\na\r\n$1\r\nb\r\n",
        ),
        (
            "COMMAND GETKEYS SINTERCARD 3 a b",
            "-ERR Invalid arguments specified for command\r\n",
        ),
    ]);
}

#[test]
fn restored_sets_are_the_same() {
    let mut f = fixture();
    let options = ["--enable-debug-command", "yes"];
    f.host.config = config::Config::from_args(options).expect("a config").0;
    let table: Vec<String> = (0..200).map(|n| format!("member{n}")).collect();
    for members in [
        vec!["1", "-70000"],
        vec!["a", "b", "7"],
        table.iter().map(|m| &**m).collect(),
    ] {
        f.run(&[&["SADD", "s"], &members[..]].concat());
        let (reply, _) = f.outcome(&["DUMP", "s"]);
        let begins = reply.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        let payload = &reply[begins..reply.len() - 2];
        let digest = f.line("DEBUG DIGEST-VALUE s");
        assert!(digest.starts_with("*1\r\n"), "{digest}");
        let encoding = f.line("OBJECT ENCODING s");
        assert_eq!(f.run(&[&b"RESTORE"[..], b"t", b"0", payload]), "+OK\r\n");
        assert_eq!(f.line("DEBUG DIGEST-VALUE t"), digest);
        assert_eq!(f.line("OBJECT ENCODING t"), encoding);
        assert_eq!(f.line("SDIFF s t"), "*0\r\n");
        f.line("DEL s t");
    }
}
