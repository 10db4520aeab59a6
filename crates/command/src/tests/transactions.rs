//! MULTI, EXEC, WATCH.

use crate::env::{Flow, Serving};
use crate::testing::{session, single, Fixture};
use effect::{parse_entry, Body};
use keyspace::Layout;
use resp::encode::Proto;
use state::GateKind;

const QUEUED: &str = "+QUEUED\r\n";

#[test]
fn queued_commands_run_as_one_unit() {
    let mut f = Fixture::new(single());
    f.expect(&[
        ("EXEC", "-ERR EXEC without MULTI\r\n"),
        ("DISCARD", "-ERR DISCARD without MULTI\r\n"),
        ("MULTI", "+OK\r\n"),
        ("SET a 1", QUEUED),
        ("INCR a", QUEUED),
        (
            "INCR nope x",
            "-ERR wrong number of arguments for 'incr' command\r\n",
        ),
        ("GET a", QUEUED),
        (
            "EXEC",
            "-EXECABORT Transaction discarded because of previous errors.\r\n",
        ),
        ("GET a", "$-1\r\n"),
        ("MULTI", "+OK\r\n"),
        ("MULTI", "-ERR MULTI calls can not be nested\r\n"),
        ("WATCH a", "-ERR WATCH inside MULTI is not allowed\r\n"),
        ("SET a 1", QUEUED),
        ("INCR a", QUEUED),
        ("SET s x", QUEUED),
        ("INCR s", QUEUED),
        ("SELECT 3", QUEUED),
        ("SET in3 1", QUEUED),
    ]);
    let before = f.log.len();
    assert_eq!(
        f.line("EXEC"),
        "*6\r\n+OK\r\n:2\r\n+OK\r\n-ERR value is not an integer or out of range\r\n+OK\r\n+OK\r\n"
    );
    assert_eq!(f.log.len(), before + 1);
    let Body::Units(units) = parse_entry(&f.log[before]).unwrap() else {
        panic!("units")
    };
    assert_eq!(units.count(), 1, "T8: a transaction is one unit");
    f.expect(&[
        ("GET in3", "$1\r\n1\r\n"),
        ("SELECT 0", "+OK\r\n"),
        ("GET a", "$1\r\n2\r\n"),
        ("MULTI", "+OK\r\n"),
        ("EXEC", "*0\r\n"),
        ("MULTI", "+OK\r\n"),
        ("SET a 9", QUEUED),
        ("DISCARD", "+OK\r\n"),
        ("GET a", "$1\r\n2\r\n"),
        ("MULTI", "+OK\r\n"),
        (
            "NOPE",
            "-ERR unknown command 'NOPE', with args beginning with: \r\n",
        ),
        (
            "EXEC",
            "-EXECABORT Transaction discarded because of previous errors.\r\n",
        ),
        ("EXEC", "-ERR EXEC without MULTI\r\n"),
        ("MULTI", "+OK\r\n"),
        (
            "EXEC now",
            "-EXECABORT Transaction discarded because of: \
             wrong number of arguments for 'exec' command\r\n",
        ),
        ("EXEC", "-ERR EXEC without MULTI\r\n"),
    ]);
}

#[test]
fn any_touch_of_a_watched_key_fails_exec() {
    for (touch, fails) in [
        ("SET k 2", true),
        ("DEL k", true),
        ("APPEND k x", true),
        ("EXPIRE k 100", true),
        ("RENAME k other", true),
        ("RENAME other k", true),
        ("FLUSHALL", true),
        ("FLUSHDB", true),
        ("MSET x 1 k 1", true),
        ("SET j 2", false),
        ("GET k", false),
        ("SETNX k 1", false),
        ("DEL none", false),
    ] {
        let mut f = Fixture::new(single());
        f.expect(&[
            ("MSET k 1 other 1", "+OK\r\n"),
            ("WATCH k none", "+OK\r\n"),
            ("MULTI", "+OK\r\n"),
            ("SET k done", QUEUED),
        ]);
        let mut other = session(2);
        f.run_as(&mut other, &touch.split(' ').collect::<Vec<_>>());
        let want = if fails { "*-1\r\n" } else { "*1\r\n+OK\r\n" };
        let (out, outcome) = f.outcome(&["EXEC"]);
        assert_eq!(String::from_utf8_lossy(&out), want, "{touch}");
        let gate = if fails {
            GateKind::Read
        } else {
            GateKind::Write
        };
        assert_eq!(
            outcome.gate, gate,
            "T3: EXEC to nil shows another client's write"
        );
        assert!(f.session.watches.is_empty());
        // The watch is gone: the next transaction goes through.
        f.expect(&[
            ("MULTI", "+OK\r\n"),
            ("SET k 1", QUEUED),
            ("EXEC", "*1\r\n+OK\r\n"),
        ]);
    }
}

#[test]
fn watches_end_with_unwatch_discard_and_the_session() {
    let mut f = Fixture::new(single());
    for end in ["UNWATCH", "DISCARD"] {
        f.line("WATCH k");
        if end == "DISCARD" {
            f.line("MULTI");
        }
        assert_eq!(f.line(end), "+OK\r\n");
        f.run_as(&mut session(2), &["SET", "k", end]);
        f.expect(&[
            ("MULTI", "+OK\r\n"),
            ("GET x", QUEUED),
            ("EXEC", "*1\r\n$-1\r\n"),
        ]);
    }
    f.expect(&[("WATCH a b a", "+OK\r\n"), ("WATCH a", "+OK\r\n")]);
    assert_eq!(f.session.watches.len(), 2);
    f.session.end(&mut f.data);
    assert!(f.data.watched_keys() == 0);
}

#[test]
fn expiry_fails_exec_but_a_key_that_was_gone_before_does_not() {
    let mut f = Fixture::new(single());
    f.expect(&[
        ("SET k v PX 10", "+OK\r\n"),
        ("WATCH k", "+OK\r\n"),
        ("MULTI", "+OK\r\n"),
    ]);
    f.advance(11);
    f.expect(&[("EXEC", "*-1\r\n"), ("SET k v PX 10", "+OK\r\n")]);
    f.advance(11);
    f.expect(&[
        ("WATCH k", "+OK\r\n"),
        ("MULTI", "+OK\r\n"),
        ("EXEC", "*0\r\n"),
    ]);
}

#[test]
fn stepping_down_fails_all_watches() {
    let mut f = Fixture::new(single());
    f.expect(&[("WATCH k", "+OK\r\n"), ("MULTI", "+OK\r\n")]);
    f.data.fail_all_watches();
    f.session.proto = Proto::Resp3;
    f.expect(&[
        ("EXEC", "_\r\n"),
        ("WATCH k", "+OK\r\n"),
        ("MULTI", "+OK\r\n"),
        ("EXEC", "*0\r\n"),
    ]);
}

#[test]
fn an_exec_that_waits_leaves_everything_as_it_was() {
    let mut f = Fixture::new(single());
    f.line("SET k v PX 10");
    f.expect(&[
        ("MULTI", "+OK\r\n"),
        ("SELECT 4", QUEUED),
        ("SELECT 0", QUEUED),
        ("GET k", QUEUED),
    ]);
    f.advance(11);
    f.serving = Serving::Lead { writable: false };
    for _ in 0..2 {
        let (_, outcome) = f.outcome(&["EXEC"]);
        assert_eq!(outcome.flow, Flow::Hold);
        assert_eq!(f.session.db, 0);
    }
    f.serving = Serving::Lead { writable: true };
    assert_eq!(f.line("EXEC"), "*3\r\n+OK\r\n+OK\r\n$-1\r\n");

    f.expect(&[("MULTI", "+OK\r\n"), ("SET k 1", QUEUED)]);
    f.serving = Serving::Lead { writable: false };
    let (_, outcome) = f.outcome(&["EXEC"]);
    assert_eq!(
        outcome.flow,
        Flow::Hold,
        "a write in the queue waits for room"
    );
    f.serving = Serving::Lead { writable: true };
    assert_eq!(f.line("EXEC"), "*1\r\n+OK\r\n");
}

/// A full disk refuses it when it may not wait any longer.
#[test]
fn a_refusal_aborts_a_queue_and_ends_an_exec() {
    let mut f = Fixture::new(single());
    f.expect(&[("WATCH k", "+OK\r\n"), ("MULTI", "+OK\r\n")]);
    f.session.refuse(false, &mut f.data);
    assert!(f.session.transaction.open, "what follows is queued");
    assert_eq!(f.line("SET k 1"), QUEUED);
    assert!(f.line("EXEC").starts_with("-EXECABORT"));

    f.expect(&[("MULTI", "+OK\r\n"), ("SET k 1", QUEUED)]);
    f.session.refuse(true, &mut f.data);
    assert_eq!(f.line("GET k"), "$-1\r\n", "MULTI is over");

    f.line("WATCH k");
    f.session.refuse(false, &mut f.data);
    assert_eq!(f.session.watches.len(), 1, "a write alone forgets none");
}

#[test]
fn in_a_cluster_a_transaction_has_one_slot() {
    let mut f = Fixture::new(Layout::Cluster);
    let cross = "-CROSSSLOT Keys in request don't hash to the same slot\r\n";
    f.expect(&[
        ("MULTI", "+OK\r\n"),
        ("SET {a}1 x", QUEUED),
        ("SET b x", QUEUED),
        ("EXEC", cross),
        ("EXEC", "-ERR EXEC without MULTI\r\n"),
        ("MULTI", "+OK\r\n"),
        ("MGET a b", cross),
        (
            "EXEC",
            "-EXECABORT Transaction discarded because of previous errors.\r\n",
        ),
        ("MULTI", "+OK\r\n"),
        ("SET {a}1 x", QUEUED),
        ("MGET {a}1 {a}2", QUEUED),
        ("EXEC", "*2\r\n+OK\r\n*2\r\n$1\r\nx\r\n$-1\r\n"),
    ]);
}

/// T9: what was asked for in few bytes can be long to answer.
#[test]
fn long_replies_breathe() {
    let mut f = Fixture::new(single());
    f.line(&format!("SET k {}", "x".repeat(100_000)));
    for command in ["GET k", "MGET k"] {
        assert_eq!(f.host.breaths, 0, "{command}: one value is no long reply");
        f.line(command);
    }
    f.line("MGET k k");
    assert_eq!(f.host.breaths, 1, "MGET");
    for command in ["MULTI", "GET k", "GET k", "EXEC"] {
        f.line(command);
    }
    assert_eq!(f.host.breaths, 2, "EXEC");
}
