//! SUBSCRIBE, PUBLISH, PUBSUB and what a subscribed client may do. The replies are Redis's.

use crate::env::{Flow, Serving};
use crate::testing::{single, Fixture};
use keyspace::Layout;
use pubsub::{Subscriber, SubscriptionKind};
use resp::encode::Proto;
use state::GateKind;

/// One confirmation in RESP2.
fn told(verb: &str, name: &str, count: usize) -> String {
    format!(
        "*3\r\n${}\r\n{verb}\r\n${}\r\n{name}\r\n:{count}\r\n",
        verb.len(),
        name.len()
    )
}

#[test]
fn confirmations_count() {
    let mut f = Fixture::new(single());
    let all = [("a", 1), ("b", 2), ("a", 2)].map(|(name, n)| told("subscribe", name, n));
    assert_eq!(f.line("SUBSCRIBE a b a"), all.concat());
    assert_eq!(f.line("PSUBSCRIBE p*"), told("psubscribe", "p*", 3));
    assert_eq!(f.line("SSUBSCRIBE s"), told("ssubscribe", "s", 1));
    assert_eq!(f.line("UNSUBSCRIBE c"), told("unsubscribe", "c", 3));
    let all = [("a", 2), ("b", 1)].map(|(name, n)| told("unsubscribe", name, n));
    assert_eq!(f.line("UNSUBSCRIBE"), all.concat());
    let none = "*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:1\r\n";
    assert_eq!(f.line("UNSUBSCRIBE"), none);
    assert_eq!(f.line("SUNSUBSCRIBE"), told("sunsubscribe", "s", 0));
    assert_eq!(f.line("PUNSUBSCRIBE p*"), told("punsubscribe", "p*", 0));
    assert!(f.host.pubsub.is_empty() && !f.session.subscriptions.any());
    f.session.proto = Proto::Resp3;
    let push = told("subscribe", "a", 1).replacen('*', ">", 1);
    assert_eq!(f.line("SUBSCRIBE a"), push);
    let none = ">3\r\n$12\r\npunsubscribe\r\n_\r\n:1\r\n";
    assert_eq!(f.line("PUNSUBSCRIBE"), none);
}

#[test]
fn a_subscribed_resp2_client_can_only_listen() {
    let mut f = Fixture::new(single());
    f.line("SUBSCRIBE a");
    let refused = |name: &str| {
        format!(
            "-ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / \
             RESET are allowed in this context\r\n"
        )
    };
    for (line, name) in [
        ("GET x", "get"),
        ("CLIENT LIST", "client|list"),
        ("HELLO 3", "hello"),
        ("MULTI", "multi"),
        ("PUBLISH a x", "publish"),
        ("SPUBLISH a x", "spublish"),
        ("PUBSUB NUMPAT", "pubsub|numpat"),
    ] {
        assert_eq!(f.line(line), refused(name), "{line}");
    }
    f.serving = Serving::Hold;
    assert_eq!(f.line("GET x"), refused("get"), "nothing to wait for");
    f.serving = Serving::Lead { writable: true };
    f.expect(&[
        (
            "GET",
            "-ERR wrong number of arguments for 'get' command\r\n",
        ),
        ("PING", "*2\r\n$4\r\npong\r\n$0\r\n\r\n"),
        ("PING hi", "*2\r\n$4\r\npong\r\n$2\r\nhi\r\n"),
        ("RESET", "+RESET\r\n"),
        ("PING", "+PONG\r\n"),
        ("GET x", "$-1\r\n"),
    ]);
    assert!(f.host.pubsub.is_empty(), "RESET unsubscribes");
    f.session.proto = Proto::Resp3;
    f.line("SUBSCRIBE a");
    f.expect(&[("GET x", "_\r\n"), ("PING", "+PONG\r\n")]);
}

#[test]
fn in_a_transaction() {
    let mut f = Fixture::new(single());
    for line in [
        "MULTI",
        "SUBSCRIBE a",
        "SSUBSCRIBE s",
        "PUBLISH a x",
        "PING",
    ] {
        f.line(line);
    }
    let exec = [
        "*4\r\n",
        &told("subscribe", "a", 1),
        "-ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client\r\n",
        ":1\r\n",
        "*2\r\n$4\r\npong\r\n$0\r\n\r\n",
    ];
    assert_eq!(f.line("EXEC"), exec.concat());
    f.line("RESET");
    // What has been told can't be taken back: a transaction that may have to stop half-way waits.
    for line in ["SET k v PX 1", "MULTI", "PUBLISH a x", "GET k"] {
        f.line(line);
    }
    f.advance(10);
    f.serving = Serving::Lead { writable: false };
    assert_eq!(f.outcome(&["EXEC"]).1.flow, Flow::Hold);
    f.serving = Serving::Lead { writable: true };
    assert_eq!(f.line("EXEC"), "*2\r\n:0\r\n$-1\r\n");
}

#[test]
fn confirmations_come_though_replies_are_off() {
    let mut f = Fixture::new(single());
    f.line("CLIENT REPLY OFF");
    assert_eq!(f.line("SUBSCRIBE a"), told("subscribe", "a", 1));
    assert_eq!(f.line("GET x"), "");
    assert_eq!(f.line("UNSUBSCRIBE"), told("unsubscribe", "a", 0));
    f.line("CLIENT REPLY ON");
    f.line("CLIENT REPLY SKIP");
    assert_eq!(f.line("SUBSCRIBE b"), told("subscribe", "b", 1));
    assert_eq!(f.line("PING"), "*2\r\n$4\r\npong\r\n$0\r\n\r\n");
}

#[test]
fn pubsub_tells_who_listens() {
    let mut f = Fixture::new(single());
    for (who, kind, name) in [
        (7, SubscriptionKind::Channel, "news"),
        (8, SubscriptionKind::Channel, "news"),
        (8, SubscriptionKind::Pattern, "n*"),
        (9, SubscriptionKind::Pattern, "n*"),
        (9, SubscriptionKind::Shard, "part"),
    ] {
        f.host
            .pubsub
            .subscribe(Subscriber(who), kind, name.as_bytes());
    }
    let unknown = |name: &str| {
        let text = "-ERR unknown subcommand or wrong number of arguments for";
        format!("{text} '{name}'. Try PUBSUB HELP.\r\n")
    };
    f.expect(&[
        ("PUBSUB CHANNELS", "*1\r\n$4\r\nnews\r\n"),
        ("PUBSUB CHANNELS n?ws", "*1\r\n$4\r\nnews\r\n"),
        ("PUBSUB CHANNELS x*", "*0\r\n"),
        ("PUBSUB CHANNELS a b", &unknown("CHANNELS")),
        ("PUBSUB NUMSUB", "*0\r\n"),
        (
            "PUBSUB NUMSUB news x",
            "*4\r\n$4\r\nnews\r\n:2\r\n$1\r\nx\r\n:0\r\n",
        ),
        ("PUBSUB NUMPAT", ":1\r\n"),
        ("PUBSUB SHARDCHANNELS", "*1\r\n$4\r\npart\r\n"),
        ("PUBSUB SHARDNUMSUB part", "*2\r\n$4\r\npart\r\n:1\r\n"),
        ("PUBSUB shardchannels a b", &unknown("shardchannels")),
        (
            "PUBSUB NOPE",
            "-ERR unknown subcommand 'NOPE'. Try PUBSUB HELP.\r\n",
        ),
        ("PUBLISH news x", ":4\r\n"),
        ("SPUBLISH news x", ":0\r\n"),
        ("SPUBLISH part x", ":1\r\n"),
        (
            "COMMAND GETKEYS SPUBLISH a b",
            "-ERR The command has no key arguments\r\n",
        ),
    ]);
    let info = f.line("INFO stats");
    assert!(info.contains("pubsub_channels:1\r\npubsub_patterns:1\r\npubsubshard_channels:1\r\n"));
}

#[test]
fn shard_channels_have_slots() {
    let mut f = Fixture::new(Layout::Cluster);
    f.host.config.cluster_enabled = true;
    let crossed = "-CROSSSLOT Keys in request don't hash to the same slot\r\n";
    f.expect(&[
        ("SSUBSCRIBE a b", crossed),
        (
            "SUBSCRIBE a b",
            &(told("subscribe", "a", 1) + &told("subscribe", "b", 2)),
        ),
        ("RESET", "+RESET\r\n"),
        (
            "SSUBSCRIBE {a}1 {a}2",
            &(told("ssubscribe", "{a}1", 1) + &told("ssubscribe", "{a}2", 2)),
        ),
    ]);
    f.line("RESET");
    // No leader is known: that holds up data, not messages.
    f.serving = Serving::Hold;
    let (out, outcome) = f.outcome(&["SPUBLISH", "a", "x"]);
    assert_eq!((out, outcome.gate), (b":0\r\n".to_vec(), GateKind::Free));
}
