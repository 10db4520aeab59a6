//! SYNC, PSYNC, REPLCONF.

use super::*;
use base::ids::RaftId;

const HISTORY: &str = "0000000000000abc000000000000000000000007";

fn client() -> Client {
    let mut c = Client::new();
    c.host.raft.group = base::ids::GroupId(0xabc);
    c.host.raft.incarnation = base::ids::Incarnation(7);
    c
}

fn downloads(c: &mut Client, line: &str) -> Download {
    let (outcome, out) = c.outcome(line);
    assert_eq!(escape(&out), "", "{line} has no reply of its own");
    assert!(c.session.downloads());
    match outcome.flow {
        Flow::Block(Block {
            kind: BlockKind::Download(download),
            timeout: None,
        }) => download,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn replconf_answers_as_redis_does() {
    let long = format!("REPLCONF ip-address {}", "x".repeat(256));
    let fits = format!("REPLCONF ip-address {}", "x".repeat(255));
    for (line, want) in [
        ("REPLCONF", "+OK"),
        ("REPLCONF capa", "-ERR syntax error"),
        ("replconf CAPA eof capa psync2 capa what", "+OK"),
        ("REPLCONF listening-port 6379 version 8.0.0", "+OK"),
        (
            "REPLCONF listening-port x",
            "-ERR value is not an integer or out of range",
        ),
        (&fits, "+OK"),
        (
            &long,
            "-ERR REPLCONF ip-address provided by replica instance is too long: 256 bytes",
        ),
        ("REPLCONF rdb-only 1 rdb-only 0", "+OK"),
        (
            "REPLCONF rdb-only yes",
            "-ERR value is not an integer or out of range",
        ),
        (
            "REPLCONF rdb-only 2",
            "-ERR value is out of range, value must between 0 and 1",
        ),
        ("REPLCONF rdb-filter-only functions", "+OK"),
        ("REPLCONF rdb-filter-only \"\"", "+OK"),
        (
            "REPLCONF rdb-filter-only \"functions keys\"",
            "-ERR Unsupported rdb-filter-only option: keys",
        ),
        (
            "REPLCONF rdb-filter-only \"'open\"",
            "-ERR Missing rdb-filter-only values",
        ),
        (
            "REPLCONF capa eof nosuch 1",
            "-ERR Unrecognized REPLCONF option: nosuch",
        ),
    ] {
        assert_eq!(client().reply(line), format!("{want}\\r\\n"), "{line}");
    }
    for line in [
        "REPLCONF ACK 1",
        "REPLCONF GETACK *",
        "REPLCONF capa eof ack x nosuch 1",
    ] {
        assert_eq!(client().reply(line), "", "{line} is never answered");
    }
}

#[test]
fn sync_waits_for_a_snapshot_of_its_own() {
    let mut c = client();
    let got = downloads(&mut c, "SYNC");
    let want = Download {
        number: Some(1),
        history: None,
        replica: None,
    };
    assert_eq!(got, want);
    assert_eq!(c.host.ordered, [SnapshotKind::Download]);
    assert_eq!(c.host.stats.downloads, 1);
    assert!(c.raw("CLIENT INFO").contains(" flags=S "));
}

#[test]
fn psync_tells_the_history_and_never_continues() {
    for (line, failed) in [
        ("PSYNC ? -1".to_owned(), 0),
        (format!("PSYNC {HISTORY} 12"), 1),
        ("psync ? -1 later".to_owned(), 0),
    ] {
        let mut c = client();
        let got = downloads(&mut c, &line);
        assert_eq!(
            (got.number, got.history.as_deref()),
            (Some(1), Some(HISTORY))
        );
        let stats = &c.host.stats;
        assert_eq!((stats.downloads, stats.failed_continuations), (1, failed));
    }
}

#[test]
fn a_file_without_keys_needs_no_snapshot() {
    let mut c = client();
    c.reply("REPLCONF rdb-filter-only functions");
    let refused = "-ERR Filtered replica requires EOF capability\\r\\n";
    assert_eq!(c.reply("SYNC"), refused);
    c.reply("REPLCONF capa eof");
    assert_eq!(downloads(&mut c, "SYNC").number, None);
    assert_eq!(c.host.ordered, []);
}

#[test]
fn a_replica_that_comes_again_is_turned_away() {
    let again = "-NOMASTERLINK Can't SYNC while";
    let mut c = client();
    for (before, want, named) in [
        ("REPLCONF rdb-only 1", true, None),
        ("REPLCONF rdb-only 1 listening-port 7001", true, None),
        ("REPLCONF listening-port 7001", true, Some("127.0.0.1:7001")),
        ("REPLCONF listening-port 7001 rdb-only 0", false, None),
        (
            "REPLCONF listening-port 7001 ip-address there",
            true,
            Some("there:7001"),
        ),
        (
            "REPLCONF listening-port 7001 capa eof rdb-filter-only functions",
            true,
            None,
        ),
    ] {
        c.session = Session::new(3, endpoint(1000), Mono(0), true);
        c.reply(before);
        match want {
            true => assert_eq!(downloads(&mut c, "PSYNC ? -1").replica.as_deref(), named),
            false => assert!(c.reply("PSYNC ? -1").starts_with(again), "{before}"),
        }
    }
}

#[test]
fn what_can_not_be_is_refused_in_redis_words() {
    let no_integer = "-ERR value is not an integer or out of range\\r\\n";
    let mut c = client();
    for (line, want) in [
        ("PSYNC ? x", no_integer),
        (
            "PSYNC ? -1 FAILOVER",
            "-ERR PSYNC FAILOVER can't be sent to a master.\\r\\n",
        ),
        (
            "PSYNC ?",
            "-ERR wrong number of arguments for 'psync' command\\r\\n",
        ),
    ] {
        assert_eq!(c.reply(line), want);
    }
    c.host.output_bytes = 1;
    let pending = "-ERR SYNC and PSYNC are invalid with pending output\\r\\n";
    assert_eq!(c.reply("SYNC"), pending);
    c.host.output_bytes = 0;
    c.reply("MULTI");
    let multi = "-ERR Command not allowed inside a transaction\\r\\n";
    assert_eq!(c.reply("SYNC"), multi);
    assert!(!c.session.downloads());
}

#[test]
fn replica_without_its_master_gives_no_file() {
    let apart = "-NOMASTERLINK Can't SYNC while not connected with my master\\r\\n";
    let mut c = client();
    c.host.raft.master = Some(false);
    c.host.raft.role = RaftRole::Follower;
    assert_eq!(c.reply("SYNC"), apart);
    let failover = "-ERR PSYNC FAILOVER replid must match my replid.\\r\\n";
    assert_eq!(c.reply("PSYNC ? -1 failover"), failover);
    c.host.raft.leader = Some(RaftId(9));
    c.host.raft.syncing_from = Some("10.0.0.1:7000".to_owned());
    assert_eq!(c.reply("SYNC"), apart);
    c.host.raft.syncing_from = None;
    assert_eq!(downloads(&mut c, "SYNC").number, Some(1));
}

/// A leader that is not confirmed may lack what clients were told of.
#[test]
fn sync_is_held_as_commands_with_keys_are() {
    let mut c = client();
    c.serving = Serving::Hold;
    assert_eq!(c.outcome("SYNC").0.flow, Flow::Hold);
    assert!(!c.session.downloads());
    c.serving = Serving::Down;
    assert_eq!(downloads(&mut c, "SYNC").number, Some(1));
}
