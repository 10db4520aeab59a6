//! MIGRATE: its refusals in Redis's order, before anything is sent.

use crate::testing::{single, FakeCluster, Fixture};
use crate::Flow;
use keyspace::Layout;
use state::Access;
use topology::outside::{Server, Unreached};
use topology::view::NodeView;
use topology::ClusterView;

const SYNTAX: &str = "-ERR syntax error\r\n";
const NOT_INT: &str = "-ERR value is not an integer or out of range\r\n";
const KEYS: &str =
    "-ERR When using MIGRATE KEYS option, the key argument must be set to the empty string\r\n";
const NOKEY: &str = "+NOKEY\r\n";

#[test]
fn options_are_refused_before_numbers() {
    let mut f = Fixture::new(single());
    f.expect(&[("SET a 1", "+OK\r\n")]);
    let table = [
        (
            "MIGRATE h 1 a 0",
            "-ERR wrong number of arguments for 'migrate' command\r\n",
        ),
        ("MIGRATE h 1 a x y COPYY", SYNTAX),
        ("MIGRATE h 1 a x y COPY REPLACE AUTH", SYNTAX),
        ("MIGRATE h 1 a x y AUTH2 user", SYNTAX),
        ("MIGRATE h 1 a x y KEYS b", KEYS),
        ("MIGRATE h 1 a x y COPY KEYS b", KEYS),
        ("MIGRATE h 1 a 0 y", NOT_INT),
        ("MIGRATE h 1 a x 1", NOT_INT),
        ("MIGRATE h 1 a x 1 AUTH2 KEYS b", NOT_INT),
        ("MIGRATE h 1 none x y", NOT_INT),
    ];
    f.expect(&table);
}

#[test]
fn without_a_key_nothing_is_sent() {
    let mut f = Fixture::new(single());
    f.expect(&[
        ("MIGRATE h 1 none 0 0", NOKEY),
        (
            "MIGRATE h junk none 0 -1 COPY REPLACE AUTH x AUTH2 x y",
            NOKEY,
        ),
        ("MIGRATE h 1  0 1 KEYS", NOKEY),
        ("MIGRATE h 1  0 1 KEYS none other", NOKEY),
    ]);
}

/// The owner of all slots, with a key.
fn owner() -> Fixture {
    let mut f = Fixture::new(Layout::Cluster);
    let me = NodeView::default();
    f.host.cluster = Some(FakeCluster {
        view: ClusterView {
            nodes: vec![me],
            ..ClusterView::default()
        },
        ..FakeCluster::default()
    });
    f.expect(&[
        ("CLUSTER ADDSLOTSRANGE 0 16383", "+OK\r\n"),
        ("SET a 1", "+OK\r\n"),
    ]);
    f
}

fn cluster(f: &mut Fixture) -> &mut FakeCluster {
    f.host.cluster.as_mut().expect("a cluster")
}

#[test]
fn nothing_is_lent_before_a_server_greets() {
    let mut f = owner();
    let (_, outcome) = f.outcome(&["MIGRATE", "h", "1", "a", "0", "9"]);
    assert_eq!(outcome.flow, Flow::Hold);
    assert!(f.data.record().moves.lends.is_empty());
    let table = [
        (
            Unreached::Connecting,
            "-IOERR error or timeout connecting to the client\r\n",
        ),
        (
            Unreached::Lost,
            "-IOERR error or timeout reading to target instance\r\n",
        ),
        (
            Unreached::Refused(b"NOAUTH x".to_vec()),
            "-ERR Target instance replied with error: NOAUTH x\r\n",
        ),
    ];
    for (why, text) in table {
        cluster(&mut f).reached = Some(Err(why));
        f.expect(&[("MIGRATE h 1 a 0 9", text)]);
        assert!(f.data.record().moves.lends.is_empty());
    }
}

#[test]
fn what_is_lent_outside_is_frozen() {
    let mut f = owner();
    let server = Server {
        client: Some(9),
        run: b"abc".to_vec(),
        ..Server::default()
    };
    cluster(&mut f).reached = Some(Ok((4, server)));
    let (_, outcome) = f.outcome(&["MIGRATE", "h", "1", "a", "2", "9", "COPY"]);
    assert!(matches!(outcome.flow, Flow::Block(_)), "{outcome:?}");
    assert!(
        f.data.record().moves.lends.is_empty(),
        "a copy lends nothing"
    );
    let (_, outcome) = f.outcome(&["MIGRATE", "h", "1", "a", "2", "9"]);
    assert!(matches!(outcome.flow, Flow::Block(_)), "{outcome:?}");
    let lends = &f.data.record().moves.lends;
    let outside = lends.values().next().and_then(|lend| lend.outside.clone());
    let outside = outside.expect("it names the server");
    assert_eq!(
        (outside.db, outside.client, &*outside.run),
        (2, Some(9), &b"abc"[..])
    );
    assert!(f.data.frozen(b"a").is_some());
    let calls = &cluster(&mut f).calls;
    assert!(
        calls.contains(&"copy 1 on (4, false)".to_owned()),
        "{calls:?}"
    );
    assert!(
        calls.contains(&"lend 1 on (4, false)".to_owned()),
        "{calls:?}"
    );
}

/// A server in no cluster, beside one that greets.
fn alone() -> Fixture {
    let mut f = Fixture::new(single());
    let server = Server {
        client: Some(9),
        run: b"abc".to_vec(),
        ..Server::default()
    };
    f.host.alone.reached = Some(Ok((4, server)));
    f.expect(&[
        ("SET a 0", "+OK\r\n"),
        ("SELECT 5", "+OK\r\n"),
        ("SET a 5", "+OK\r\n"),
        ("SET b 5", "+OK\r\n"),
    ]);
    f
}

fn flow(f: &mut Fixture, line: &str) -> Flow {
    f.outcome(&line.split(' ').collect::<Vec<_>>()).1.flow
}

#[test]
fn outside_a_cluster_a_lent_key_waits_alone() {
    let mut f = alone();
    assert!(matches!(flow(&mut f, "MIGRATE h 1 a 2 9"), Flow::Block(_)));
    let lends = &f.data.record().moves.lends;
    let (id, lend) = lends.iter().next().expect("it is lent");
    let (id, to) = (*id, lend.outside.as_ref().map(|outside| outside.db));
    assert_eq!((lend.db, to), (5, Some(2)));
    // Nothing has left: it is shown, and not changed.
    f.expect(&[("GET a", "$1\r\n5\r\n"), ("SET b 6", "+OK\r\n")]);
    let changes = [
        "SET a 1",
        "WATCH a",
        "RENAME b a",
        "FLUSHDB",
        "MIGRATE h 1 a 0 9",
    ];
    for line in changes {
        assert_eq!(flow(&mut f, line), Flow::Hold, "{line}");
    }
    f.data.hide_lent(id);
    assert_eq!(flow(&mut f, "GET a"), Flow::Hold);
    f.expect(&[("SELECT 0", "+OK\r\n"), ("GET a", "$1\r\n0\r\n")]);
    // A transaction may select on its way.
    f.expect(&[
        ("MULTI", "+OK\r\n"),
        ("SELECT 5", "+QUEUED\r\n"),
        ("GET a", "+QUEUED\r\n"),
    ]);
    assert_eq!(flow(&mut f, "EXEC"), Flow::Hold);
    f.data.begin_turn(f.next_batch, 0, true, usize::MAX);
    f.data.begin_command(0, Access::Lead);
    assert!(f.data.end_lend(id, &[]));
    f.data.end_command();
    assert!(f.data.take_batch().is_some());
    f.next_batch = f.next_batch.next();
    assert!(f.line("EXEC").ends_with("$-1\r\n"), "it has gone");
    f.expect(&[
        ("SELECT 0", "+OK\r\n"),
        ("GET a", "$1\r\n0\r\n"),
        ("FLUSHALL", "+OK\r\n"),
    ]);
}

#[test]
fn a_server_is_not_its_own_target() {
    let mut f = alone();
    f.host.run_id = "abc".to_owned();
    let text = "-IOERR error or timeout reading to target instance\r\n";
    f.expect(&[("MIGRATE h 1 a 0 9", text)]);
    assert!(f.data.record().moves.lends.is_empty());
    assert!(f.host.alone.calls.contains(&"leave 4".to_owned()));
}

/// A server in no cluster has lent a key that has expired since.
fn with_an_expired_lent_key() -> Fixture {
    let mut f = alone();
    f.host.config.enable_debug_command = config::ProtectedAction::Yes;
    f.expect(&[("SET key:1 5 PX 100", "+OK\r\n")]);
    let flow = flow(&mut f, "MIGRATE h 1 key:1 2 9");
    assert!(matches!(flow, Flow::Block(_)));
    f.advance(200);
    f
}

#[test]
fn populate_leaves_out_an_expired_lent_key() {
    let mut f = with_an_expired_lent_key();
    f.expect(&[
        ("DEBUG POPULATE 3", "+OK\r\n"),
        ("GET key:2", "$7\r\nvalue:2\r\n"),
    ]);
    assert_eq!(flow(&mut f, "GET key:1"), Flow::Hold);
}

#[test]
fn object_in_exec_shows_an_expired_lent_key() {
    let mut f = with_an_expired_lent_key();
    f.expect(&[
        ("MULTI", "+OK\r\n"),
        ("SET b 7", "+QUEUED\r\n"),
        ("DEBUG OBJECT key:1", "+QUEUED\r\n"),
    ]);
    let reply = f.line("EXEC");
    assert!(reply.starts_with("*2\r\n+OK\r\n+Value at"), "{reply}");
}
