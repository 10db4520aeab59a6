//! What a member answers while its keyspace is being loaded.

use crate::env::{Flow, Serving};
use crate::spec::{flags, Spec};
use crate::table;
use crate::testing::{single, Fixture};
use keyspace::Layout;
use state::GateKind;
use topology::{Record, Routing};

const ALONE: Serving<'static> = Serving::Loading { addr: None };
const LED: Serving<'static> = Serving::Loading { addr: Some("h:1") };
const LOADING: &str = "-LOADING Redis is loading the dataset in memory\r\n";
const ABORTED: &str = "-EXECABORT Transaction discarded because of previous errors.\r\n";
const READ_ONLY: &str = "-READONLY You can't write against a read only replica.\r\n";
const QUEUED: &str = "+QUEUED\r\n";

fn loading(layout: Layout, serving: Serving<'static>) -> Fixture {
    let mut f = Fixture::new(layout);
    f.serving = serving;
    f
}

/// A cluster in which the slot of `foo` is this shard's, or that of `h:2`.
fn routed(serving: Serving<'static>, own: bool) -> Fixture {
    let mut f = loading(Layout::Cluster, serving);
    let mut routing = Routing::default();
    (routing.covered, routing.majority) = (true, true);
    let slots = [base::slot::key_slot(b"foo")].into_iter().collect();
    let mut record = Record::clone(f.data.record());
    if own {
        record.slots = slots;
    } else {
        routing.add("h:2".to_owned(), &slots);
    }
    f.data.begin_record(record);
    f.routing = Some(routing);
    f
}

/// A call of each row that can be called, with as few arguments as it takes.
pub(super) fn calls() -> impl Iterator<Item = (&'static Spec, Vec<String>)> {
    let rows = table().all().iter().map(|command| command.spec);
    rows.filter_map(|spec| {
        let mut args: Vec<String> = spec.full_name.split('|').map(str::to_owned).collect();
        args.resize(spec.arity.unsigned_abs().into(), "1".to_owned());
        let found = match table().lookup(args[0].as_bytes(), args.get(1).map(|a| a.as_bytes())) {
            crate::registry::Lookup::Found(command) => command.spec.full_name == spec.full_name,
            _ => false, // a container
        };
        found.then_some((spec, args))
    })
}

#[test]
fn rows_without_the_flag_are_refused() {
    let mut seen = 0;
    for (spec, args) in calls() {
        for layout in [single(), Layout::Cluster] {
            let (reply, outcome) = loading(layout, ALONE).outcome(&args);
            let refused = reply == LOADING.as_bytes();
            let name = spec.full_name;
            assert_eq!(refused, !spec.flags.has(flags![LOADING]), "{name}");
            assert_eq!(outcome.gate, GateKind::Free, "{name}");
            assert_ne!(outcome.flow, Flow::Hold, "{name}");
            seen += 1;
        }
    }
    assert!(seen > 200, "only {seen} calls");
}

#[test]
fn rows_follow_a_leader_that_is_known() {
    for (spec, args) in calls() {
        for readonly in [false, true] {
            let mut f = loading(Layout::Cluster, LED);
            f.session.readonly = readonly;
            let (reply, outcome) = f.outcome(&args);
            let reply = String::from_utf8_lossy(&reply).into_owned();
            let keyed = spec.is_data() && spec.has_keys();
            let (moved, name) = (reply.starts_with("-MOVED "), spec.full_name);
            assert_eq!(moved, keyed, "{name}: {reply}");
            assert!(!moved || reply.ends_with(" h:1\r\n"), "{name}: {reply}");
            let keyless_write = !moved && spec.flags.has(flags![WRITE]);
            assert_eq!(reply == READ_ONLY, keyless_write, "{name}: {reply}");
            let refused = !moved && !keyless_write && !spec.flags.has(flags![LOADING]);
            assert_eq!(reply == LOADING, refused, "{name}: {reply}");
            assert_ne!(outcome.flow, Flow::Hold, "{name}");
        }
    }
}

#[test]
fn outside_a_cluster_nothing_is_redirected() {
    let mut f = loading(single(), LED);
    f.expect(&[("GET foo", LOADING), ("SET foo x", READ_ONLY)]);
    assert_eq!(f.line("WATCH foo"), "+OK\r\n");
}

#[test]
fn other_refusals_come_before_loading() {
    let mut f = loading(Layout::Cluster, ALONE);
    f.session.authenticated = false;
    f.expect(&[
        (
            "GET",
            "-ERR wrong number of arguments for 'get' command\r\n",
        ),
        ("PING", "-NOAUTH Authentication required.\r\n"),
    ]);
    f.session.authenticated = true;
    f.expect(&[
        (
            "MGET foo b",
            "-CROSSSLOT Keys in request don't hash to the same slot\r\n",
        ),
        ("MULTI", "+OK\r\n"),
        (
            "SHUTDOWN",
            "-ERR Command not allowed inside a transaction\r\n",
        ),
        ("DISCARD", "+OK\r\n"),
    ]);
    f.line("SUBSCRIBE news");
    f.expect(&[
        (
            "GET foo",
            "-ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / \
             RESET are allowed in this context\r\n",
        ),
        ("PING", LOADING),
    ]);
    assert_eq!(f.host.stats.errors[&b"LOADING"[..]], 1);
}

#[test]
fn slots_of_other_shards_are_redirected_as_ever() {
    let moved = "-MOVED 12182 h:2\r\n";
    for serving in [ALONE, LED] {
        let mut f = routed(serving, false);
        f.expect(&[("GET foo", moved), ("WATCH foo", moved)]);
        f.expect(&[("GET bar", "-CLUSTERDOWN Hash slot not served\r\n")]);
    }
    let mut f = routed(LED, true);
    f.expect(&[("GET foo", "-MOVED 12182 h:1\r\n"), ("PING", LOADING)]);
    let mut f = routed(ALONE, true);
    f.expect(&[
        ("GET foo", LOADING),
        (
            "SSUBSCRIBE foo",
            "*3\r\n$10\r\nssubscribe\r\n$3\r\nfoo\r\n:1\r\n",
        ),
    ]);
    f.routing.as_mut().expect("just set").covered = false;
    f.expect(&[("GET foo", "-CLUSTERDOWN The cluster is down\r\n")]);
}

#[test]
fn a_refused_command_aborts_its_transaction() {
    for line in ["GET foo", "PING", "CLUSTER NODES", "DBSIZE"] {
        let mut f = loading(Layout::Cluster, ALONE);
        f.expect(&[
            ("MULTI", "+OK\r\n"),
            ("ECHO a", QUEUED),
            (line, LOADING),
            ("EXEC", ABORTED),
            ("EXEC", "-ERR EXEC without MULTI\r\n"),
        ]);
    }
}

#[test]
fn a_transaction_of_flagged_commands_runs() {
    for serving in [ALONE, LED] {
        loading(single(), serving).expect(&[
            ("WATCH foo", "+OK\r\n"),
            ("MULTI", "+OK\r\n"),
            ("ECHO a", QUEUED),
            ("SELECT 1", QUEUED),
            ("EXEC", "*2\r\n$1\r\na\r\n+OK\r\n"),
            ("MULTI", "+OK\r\n"),
            ("EXEC", "*0\r\n"),
            ("UNWATCH", "+OK\r\n"),
        ]);
    }
}

#[test]
fn exec_of_a_queue_from_before_is_refused() {
    let because = "-EXECABORT Transaction discarded because of: \
                   LOADING Redis is loading the dataset in memory\r\n";
    let read_only = "-EXECABORT Transaction discarded because of: \
                     READONLY You can't write against a read only replica.\r\n";
    for (line, serving, want) in [
        ("GET foo", ALONE, because),
        ("SET foo x", ALONE, because),
        ("PING", ALONE, because),
        ("CLUSTER RESET", ALONE, because),
        ("GET foo", LED, "-MOVED 12182 h:1\r\n"),
        ("DBSIZE", LED, because),
        ("FLUSHALL", LED, read_only),
        ("ECHO a", LED, "*1\r\n$1\r\na\r\n"),
    ] {
        let mut f = Fixture::new(Layout::Cluster);
        f.expect(&[("MULTI", "+OK\r\n"), (line, QUEUED)]);
        f.serving = serving;
        f.expect(&[("EXEC", want), ("EXEC", "-ERR EXEC without MULTI\r\n")]);
    }
    // What is queued counts, though the transaction is aborted.
    let mut f = Fixture::new(single());
    f.expect(&[("MULTI", "+OK\r\n"), ("GET foo", QUEUED)]);
    f.line("NOPE");
    f.serving = ALONE;
    f.expect(&[("EXEC", because)]);
}

#[test]
fn debug_shows_no_half_keyspace() {
    let mut f = loading(single(), ALONE);
    f.host.config = config::Config::from_args(["--enable-debug-command", "yes"])
        .expect("a valid command line")
        .0;
    for line in [
        "DEBUG DIGEST",
        "DEBUG DIGEST-VALUE k",
        "DEBUG OBJECT k",
        "DEBUG POPULATE 1",
    ] {
        assert_eq!(f.line(line), LOADING, "{line}");
    }
    f.expect(&[("DEBUG SLEEP 0", "+OK\r\n")]);
}

#[test]
fn loading_waits_for_no_gain_of_slots() {
    let mut f = routed(ALONE, true);
    f.data.set_committed_record(Default::default());
    f.expect(&[
        ("GET foo", LOADING),
        ("MULTI", "+OK\r\n"),
        ("SET foo x", LOADING),
        ("EXEC", ABORTED),
    ]);
}
