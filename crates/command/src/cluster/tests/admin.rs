//! MEET, FORGET, REPLICATE, FAILOVER, RESET, SAVECONFIG, HELP and the session's flags.

use super::{calls, fixture, id, master, replica, view};
use crate::env::{Flow, Serving};
use crate::testing::{single, Fixture};
use crate::Error;
use cluster_bus::wire::Flags;

fn of_master() -> Fixture {
    fixture(view(vec![
        master(1, &[]),
        master(2, &[(0, 5)]),
        replica(3, 2),
    ]))
}

fn of_replica() -> Fixture {
    fixture(view(vec![
        replica(3, 2),
        master(1, &[]),
        master(2, &[(0, 5)]),
    ]))
}

#[test]
fn without_cluster_mode_everything_is_refused() {
    let mut f = Fixture::new(single());
    let no = "-ERR This instance has cluster support disabled\r\n";
    for line in [
        "CLUSTER HELP",
        "CLUSTER INFO",
        "CLUSTER KEYSLOT a",
        "CLUSTER COUNTKEYSINSLOT x",
        "CLUSTER ADDSLOTS x",
        "CLUSTER SETSLOT x y",
        "CLUSTER RESET x",
        "CLUSTER FAILOVER x",
        "CLUSTER MEET a b",
        "CLUSTER FORGET a",
        "CLUSTER SAVECONFIG",
        "CLUSTER SET-CONFIG-EPOCH x",
        "CLUSTER BUMPEPOCH",
        "CLUSTER FLUSHSLOTS",
        "READONLY",
        "READWRITE",
        "ASKING",
    ] {
        assert_eq!(f.line(line), no, "{line}");
    }
}

#[test]
fn meet_hands_addresses_over() {
    let mut f = of_master();
    f.expect(&[
        ("CLUSTER MEET 10.0.0.1 7000", "+OK\r\n"),
        ("CLUSTER MEET ::1 7000 9000", "+OK\r\n"),
        (
            "CLUSTER MEET 10.0.0.1 7000 65536",
            "-ERR Invalid node address specified: 10.0.0.1:7000\r\n",
        ),
        (
            "CLUSTER MEET 10.0.0.1 9223372036854775807",
            "-ERR Invalid node address specified: 10.0.0.1:9223372036854775807\r\n",
        ),
    ]);
    assert_eq!(
        calls(&mut f),
        ["meet 10.0.0.1 7000 17000", "meet ::1 7000 9000"]
    );
}

#[test]
fn forget() {
    let mut f = of_replica();
    let forget = |digit| format!("CLUSTER FORGET {}", id(digit));
    f.host.cluster.as_mut().unwrap().forgotten = vec![id(9)];
    f.expect(&[
        (
            &forget(3),
            "-ERR I tried hard but I can't forget myself...\r\n",
        ),
        (&forget(2), "-ERR Can't forget my master!\r\n"),
        (&forget(8), &format!("-ERR Unknown node {}\r\n", id(8))),
    ]);
    assert_eq!(calls(&mut f), Vec::<String>::new());
    f.expect(&[(&forget(9), "+OK\r\n"), (&forget(1), "+OK\r\n")]);
    assert_eq!(calls(&mut f), [9, 1].map(|n| format!("forget {}", id(n))));
    f.host.cluster.as_mut().unwrap().refusal = Some(Error::text("ERR not now"));
    f.expect(&[(&forget(1), "-ERR not now\r\n")]);
}

#[test]
fn replicate() {
    let mut f = of_master();
    let replicate = |digit| format!("CLUSTER REPLICATE {}", id(digit));
    f.expect(&[
        (&replicate(1), "-ERR Can't replicate myself\r\n"),
        (
            &replicate(3),
            "-ERR I can only replicate a master, not a replica.\r\n",
        ),
        (&replicate(2), "+OK\r\n"),
    ]);
    assert_eq!(calls(&mut f), [format!("replicate {}", id(2))]);
    let full = "-ERR To set a master the node must be empty and without assigned slots.\r\n";
    f.expect(&[("CLUSTER ADDSLOTS 9", "+OK\r\n"), (&replicate(2), full)]);
    let mut keys = of_master();
    keys.expect(&[("CLUSTER ADDSLOTS 15495", "+OK\r\n")]);
    keys.data.set_committed_record(keys.data.record().clone());
    keys.expect(&[
        ("SET a 1", "+OK\r\n"),
        ("CLUSTER DELSLOTS 15495", "+OK\r\n"),
        (&replicate(2), full),
    ]);
    // A replica changes its master whatever it holds.
    let mut f = of_replica();
    f.serving = Serving::Redirect {
        addr: None,
        own_copy: true,
    };
    f.expect(&[(&replicate(1), "+OK\r\n")]);
}

#[test]
fn failover() {
    let mut f = of_replica();
    f.expect(&[
        ("CLUSTER FAILOVER", "+OK\r\n"),
        ("CLUSTER FAILOVER force", "+OK\r\n"),
        ("CLUSTER FAILOVER TAKEOVER", "+OK\r\n"),
    ]);
    let asked = ["failover Planned", "failover Force", "failover Takeover"];
    assert_eq!(calls(&mut f), asked);
    let down = "-ERR Master is down or failed, please use CLUSTER FAILOVER FORCE\r\n";
    let cluster = f.host.cluster.as_mut().unwrap();
    cluster.view.nodes[2].flags.set(Flags::FAIL, true);
    f.expect(&[
        ("CLUSTER FAILOVER", down),
        ("CLUSTER FAILOVER FORCE", "+OK\r\n"),
    ]);
    f.host.cluster.as_mut().unwrap().view.nodes.pop();
    f.expect(&[(
        "CLUSTER FAILOVER FORCE",
        "-ERR I'm a replica but my master is unknown to me\r\n",
    )]);
}

#[test]
fn reset() {
    let mut f = of_master();
    f.expect(&[
        ("CLUSTER RESET", "+OK\r\n"),
        ("CLUSTER RESET soft", "+OK\r\n"),
        ("CLUSTER RESET HARD", "+OK\r\n"),
    ]);
    let first = ["reset false None", "reset false None", "reset true None"];
    assert_eq!(calls(&mut f), first);
    f.host.cluster.as_mut().unwrap().later = true;
    for _ in 0..2 {
        let (_, outcome) = f.outcome(&["CLUSTER", "RESET"]);
        assert_eq!(outcome.flow, Flow::Hold);
    }
    assert_eq!(calls(&mut f), ["reset false None", "reset false Some(3)"]);
    f.session.waits_for_reset = None;
    f.expect(&[("CLUSTER ADDSLOTS 15495", "+OK\r\n")]);
    f.data.set_committed_record(f.data.record().clone());
    f.expect(&[
        ("SET a 1", "+OK\r\n"),
        (
            "CLUSTER RESET HARD",
            "-ERR CLUSTER RESET can't be called with master nodes containing keys\r\n",
        ),
    ]);
}

/// Queues these, each of which is taken.
fn in_multi(f: &mut Fixture, lines: &[&str]) {
    f.expect(&[("MULTI", "+OK\r\n")]);
    for line in lines {
        f.expect(&[(line, "+QUEUED\r\n")]);
    }
}

fn exec_is_held(f: &mut Fixture) {
    let (_, outcome) = f.outcome(&["EXEC"]);
    assert_eq!(outcome.flow, Flow::Hold);
}

/// The reset that was waited for has happened.
fn has_begun_anew(f: &mut Fixture) {
    let cluster = f.host.cluster.as_mut().unwrap();
    cluster.view = view(vec![master(3, &[])]);
    cluster.later = false;
}

const BEGIN_ANEW: [&str; 2] = ["CLUSTER RESET HARD", "CLUSTER SET-CONFIG-EPOCH 5"];

#[test]
fn exec_waits_for_its_first_reset() {
    let mut f = of_master();
    f.host.cluster.as_mut().unwrap().later = true;
    in_multi(&mut f, &BEGIN_ANEW);
    exec_is_held(&mut f);
    exec_is_held(&mut f);
    assert_eq!(calls(&mut f), ["reset true None", "reset true Some(3)"]);
    has_begun_anew(&mut f);
    f.expect(&[("EXEC", "*2\r\n+OK\r\n+OK\r\n")]);
    assert_eq!(calls(&mut f), ["reset true Some(3)"]);
    assert_eq!(f.data.record().epoch, 5);
}

#[test]
fn reset_behind_another_command_is_not_waited_for() {
    let mut f = of_master();
    f.host.cluster.as_mut().unwrap().later = true;
    in_multi(&mut f, &["PING", "CLUSTER RESET"]);
    f.expect(&[("EXEC", "*2\r\n+PONG\r\n+OK\r\n")]);
    assert_eq!(f.session.waits_for_reset, None);
}

#[test]
fn replica_queues_behind_reset_what_masters_do() {
    let mut f = of_replica();
    let addr = Some("127.0.0.1:7002");
    f.serving = Serving::Redirect {
        addr,
        own_copy: true,
    };
    let read_only = "-READONLY You can't write against a read only replica.\r\n";
    f.expect(&[
        ("MULTI", "+OK\r\n"),
        ("CLUSTER SET-CONFIG-EPOCH 5", read_only),
        ("DISCARD", "+OK\r\n"),
    ]);
    f.host.cluster.as_mut().unwrap().later = true;
    in_multi(&mut f, &BEGIN_ANEW);
    exec_is_held(&mut f);
    // It is alone, and does not lead yet: for longer than a command of a shard without a leader may wait.
    has_begun_anew(&mut f);
    for (serving, overdue) in [(Serving::Hold, false), (Serving::Down, true)] {
        (f.serving, f.overdue) = (serving, overdue);
        exec_is_held(&mut f);
    }
    (f.serving, f.overdue) = (Serving::Lead { writable: true }, false);
    f.expect(&[("EXEC", "*2\r\n+OK\r\n+OK\r\n")]);
    assert_eq!(f.data.record().epoch, 5);
}

/// An error would say that nothing was reset.
#[test]
fn reset_under_way_is_finished_while_loading() {
    let loading = Serving::Loading { addr: None };
    let refused = "-LOADING Redis is loading the dataset in memory\r\n";
    let mut f = of_master();
    f.host.cluster.as_mut().unwrap().later = true;
    for serving in [f.serving, loading] {
        f.serving = serving;
        let (_, outcome) = f.outcome(&["CLUSTER", "RESET"]);
        assert_eq!(outcome.flow, Flow::Hold);
    }
    f.host.cluster.as_mut().unwrap().later = false;
    f.expect(&[("CLUSTER RESET", "+OK\r\n"), ("CLUSTER RESET", refused)]);

    f = of_master();
    f.host.cluster.as_mut().unwrap().later = true;
    in_multi(&mut f, &BEGIN_ANEW);
    exec_is_held(&mut f);
    f.serving = loading;
    exec_is_held(&mut f);
    // It has happened, and the new shard is not loaded yet.
    has_begun_anew(&mut f);
    exec_is_held(&mut f);
    exec_is_held(&mut f);
    f.serving = Serving::Lead { writable: true };
    f.expect(&[("EXEC", "*2\r\n+OK\r\n+OK\r\n")]);
    assert!(!f.session.has_reset);
}

#[test]
fn reset_that_fails_leaves_replica_read_only() {
    let mut f = of_replica();
    let addr = Some("127.0.0.1:7002");
    f.serving = Serving::Redirect {
        addr,
        own_copy: true,
    };
    let why = Error::text("ERR no answer".to_owned());
    f.host.cluster.as_mut().unwrap().refusal = Some(why);
    in_multi(&mut f, &BEGIN_ANEW);
    f.expect(&[(
        "EXEC",
        "*2\r\n-ERR no answer\r\n-READONLY You can't write against a read only replica.\r\n",
    )]);
    assert_eq!(f.data.record().epoch, 0);
}

#[test]
fn saveconfig_tells_why_not() {
    let mut f = of_master();
    let why = Error::save_config("No space left on device");
    f.host.cluster.as_mut().unwrap().refusal = Some(why);
    f.expect(&[(
        "CLUSTER SAVECONFIG",
        "-ERR error saving the cluster node config: No space left on device\r\n",
    )]);
}

#[test]
fn help_has_the_usual_frame() {
    let reply = of_master().line("CLUSTER HELP");
    let lines: Vec<&str> = reply.split("\r\n").collect();
    assert_eq!(lines[0], format!("*{}", lines.len() - 2));
    assert!(lines[1].starts_with("+CLUSTER <subcommand> "));
    assert!(lines.contains(&"+LINKS") && lines.contains(&"+HELP"));
    let reply = of_master().line("CLUSTER RAFT help");
    let lines: Vec<&str> = reply.split("\r\n").collect();
    assert_eq!(lines[0], format!("*{}", lines.len() - 2));
    assert!(lines[1].starts_with("+CLUSTER RAFT <subcommand> "));
    assert!(lines.contains(&"+MEMBERS") && lines.contains(&"+STATUS"));
}

#[test]
fn readonly_and_readwrite_are_the_connections() {
    let mut f = of_master();
    f.expect(&[("READONLY", "+OK\r\n")]);
    assert!(f.session.readonly);
    f.expect(&[("READWRITE", "+OK\r\n")]);
    assert!(!f.session.readonly);
}

#[test]
fn asking_holds_for_one_command_or_one_transaction() {
    let mut f = of_master();
    for next in ["PING", "no-such-command", "GET"] {
        f.line("ASKING");
        assert!(f.session.asking, "{next}");
        f.line(next);
        assert!(!f.session.asking, "{next}");
    }
    f.line("ASKING");
    f.line("ASKING");
    assert!(f.session.asking);
    for line in ["MULTI", "PING", "PING"] {
        f.line(line);
        assert!(f.session.asking, "{line}");
    }
    f.line("EXEC");
    assert!(!f.session.asking);
    f.expect(&[
        ("MULTI", "+OK\r\n"),
        ("ASKING", "+QUEUED\r\n"),
        ("EXEC", "*1\r\n+OK\r\n"),
    ]);
    assert!(!f.session.asking);
}
