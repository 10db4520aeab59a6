//! Refusals in Redis's order, roles, the dirty index, reply modes.

use crate::env::{Flow, Serving};
use crate::session::ReplyMode;
use crate::testing::{session, single, Fixture};
use base::ids::BatchSeq;
use keyspace::Layout;
use state::GateKind;

#[test]
fn refusals() {
    let mut f = Fixture::new(single());
    f.expect(&[
        (
            "FOO a b",
            "-ERR unknown command 'FOO', with args beginning with: 'a' 'b' \r\n",
        ),
        (
            "GET",
            "-ERR wrong number of arguments for 'get' command\r\n",
        ),
        (
            "get a b",
            "-ERR wrong number of arguments for 'get' command\r\n",
        ),
    ]);
    f.session.authenticated = false;
    f.expect(&[
        (
            "FOO",
            "-ERR unknown command 'FOO', with args beginning with: \r\n",
        ),
        (
            "GET",
            "-ERR wrong number of arguments for 'get' command\r\n",
        ),
        ("GET k", "-NOAUTH Authentication required.\r\n"),
        ("MULTI", "-NOAUTH Authentication required.\r\n"),
    ]);
    assert_eq!(f.host.stats.errors[&b"NOAUTH"[..]], 2);
    assert_eq!(f.host.stats.errors[&b"ERR"[..]], 5);
}

#[test]
fn a_member_that_does_not_lead_redirects_holds_or_shows_its_copy() {
    let mut f = Fixture::new(Layout::Cluster);
    f.line("SET foo bar");
    f.serving = Serving::Hold;
    for line in ["GET foo", "SET foo x", "DBSIZE", "WATCH foo"] {
        let (_, outcome) = f.outcome(&line.split(' ').collect::<Vec<_>>());
        assert_eq!(outcome.flow, Flow::Hold, "{line}");
    }
    f.expect(&[
        ("SELECT 0", "+OK\r\n"),
        ("MULTI", "+OK\r\n"),
        ("DISCARD", "+OK\r\n"),
    ]);

    f.serving = Serving::Redirect {
        addr: Some("127.0.0.1:7001"),
        own_copy: true,
    };
    f.expect(&[
        ("GET foo", "-MOVED 12182 127.0.0.1:7001\r\n"),
        ("SET foo x", "-MOVED 12182 127.0.0.1:7001\r\n"),
        (
            "MGET foo b",
            "-CROSSSLOT Keys in request don't hash to the same slot\r\n",
        ),
        (
            "FLUSHALL",
            "-READONLY You can't write against a read only replica.\r\n",
        ),
        ("DBSIZE", ":1\r\n"),
        ("MULTI", "+OK\r\n"),
        ("GET foo", "-MOVED 12182 127.0.0.1:7001\r\n"),
        (
            "EXEC",
            "-EXECABORT Transaction discarded because of previous errors.\r\n",
        ),
    ]);
    f.session.readonly = true;
    f.expect(&[
        ("GET foo", "$3\r\nbar\r\n"),
        ("SET foo x", "-MOVED 12182 127.0.0.1:7001\r\n"),
        ("MULTI", "+OK\r\n"),
        ("GET foo", "+QUEUED\r\n"),
        ("EXEC", "*1\r\n$3\r\nbar\r\n"),
    ]);
    let (_, outcome) = f.outcome(&["GET", "foo"]);
    assert_eq!(
        outcome.gate,
        GateKind::Free,
        "a replica's copy shows only what is committed"
    );

    f.serving = Serving::Redirect {
        addr: None,
        own_copy: true,
    };
    f.expect(&[("SET foo x", "-CLUSTERDOWN The cluster is down\r\n")]);
}

#[test]
fn a_joining_replica_publishes_and_redirects_the_rest() {
    let mut f = Fixture::new(Layout::Cluster);
    let slot = base::slot::key_slot(b"foo");
    f.data.set_committed_record(Default::default());
    let mut routing = topology::Routing::default();
    (routing.covered, routing.majority) = (true, true);
    routing.add("h:1".to_owned(), &[slot].into_iter().collect());
    routing.add("h:2".to_owned(), &[slot + 1].into_iter().collect());
    routing.follows = Some("h:1".to_owned());
    f.routing = Some(routing);
    f.serving = Serving::Redirect {
        addr: None,
        own_copy: true,
    };
    f.expect(&[
        ("SPUBLISH foo x", ":0\r\n"),
        ("MULTI", "+OK\r\n"),
        ("SPUBLISH foo x", "+QUEUED\r\n"),
        ("EXEC", "*1\r\n:0\r\n"),
        ("SSUBSCRIBE foo", "-MOVED 12182 h:1\r\n"),
        ("GET foo", "-MOVED 12182 h:1\r\n"),
    ]);
    f.routing.as_mut().expect("just set").follows = Some("h:2".to_owned());
    f.expect(&[("SPUBLISH foo x", "-MOVED 12182 h:1\r\n")]);
}

#[test]
fn a_transaction_that_lost_its_leader_is_redirected() {
    let mut f = Fixture::new(Layout::Cluster);
    f.expect(&[("MULTI", "+OK\r\n"), ("SET foo bar", "+QUEUED\r\n")]);
    f.serving = Serving::Redirect {
        addr: Some("127.0.0.1:7001"),
        own_copy: true,
    };
    f.expect(&[
        ("EXEC", "-MOVED 12182 127.0.0.1:7001\r\n"),
        ("EXEC", "-ERR EXEC without MULTI\r\n"),
    ]);
}

#[test]
fn a_replica_hides_what_has_expired_and_changes_nothing() {
    let mut f = Fixture::new(Layout::Cluster);
    f.line("SET foo bar PX 10");
    f.advance(11);
    f.serving = Serving::Redirect {
        addr: Some("h:1"),
        own_copy: true,
    };
    f.session.readonly = true;
    f.expect(&[
        ("GET foo", "$-1\r\n"),
        ("KEYS *", "*0\r\n"),
        ("DBSIZE", ":1\r\n"),
    ]);
}

#[test]
fn reads_depend_on_the_batch_that_left_what_they_show() {
    let mut f = Fixture::new(Layout::Cluster);
    let depends = |f: &mut Fixture, line: &str| {
        let (_, outcome) = f.outcome(&line.split(' ').collect::<Vec<_>>());
        outcome.footprint.depends.0
    };
    assert_eq!(depends(&mut f, "GET foo"), 0);
    f.line("SET foo 1"); // batch 1
    f.line("SET bar 1"); // batch 2
    assert_eq!(depends(&mut f, "GET foo"), 1);
    assert_eq!(depends(&mut f, "GET bar"), 2);
    assert_eq!(depends(&mut f, "DBSIZE"), 2);
    assert_eq!(depends(&mut f, "GET other"), 0);
    f.line("DEL foo"); // batch 3
    assert_eq!(depends(&mut f, "GET foo"), 3);
    f.line("FLUSHALL"); // batch 4: a floor under all slots
    assert_eq!(depends(&mut f, "GET other"), 4);
    let (_, outcome) = f.outcome(&["SET", "foo", "x"]);
    assert_eq!(outcome.slot, Some(12182));
    assert_eq!(f.session.last_write, BatchSeq(5));
}

#[test]
fn replies_can_be_switched_off() {
    let mut f = Fixture::new(single());
    f.session.reply_mode = ReplyMode::Off;
    f.expect(&[("SET k v", ""), ("NOPE", ""), ("GET k", "")]);
    f.session.reply_mode = ReplyMode::SkipThis;
    f.expect(&[("GET k", ""), ("GET k", "$1\r\nv\r\n")]);
}

#[test]
fn calls_are_counted_refusals_too() {
    let mut f = Fixture::new(single());
    f.line("SET k v");
    f.line("GET k");
    f.line("INCR k");
    f.run_as(&mut session(2), &["GET", "none"]);
    let of = |f: &Fixture, name: &[u8]| {
        let command = crate::table().get(name).unwrap();
        f.host.stats.commands[command.id.index()]
    };
    assert_eq!(of(&f, b"get").calls, 2);
    assert_eq!(of(&f, b"incr").failed, 1);
    assert_eq!((f.data.counters().hits, f.data.counters().misses), (1, 1));
    assert_eq!(f.host.stats.commands_processed, 4);
    f.session.authenticated = false;
    f.line("GET k");
    assert_eq!(of(&f, b"get").rejected, 1);
}
