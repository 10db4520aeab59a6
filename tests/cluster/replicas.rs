//! What the clients of a replica see: writes soon after their OK, and the end of shard channels that
//! are no longer served here.

use crate::common::resp::{Client, Value};
use crate::harness::{check, median, report, summary, wait_for, Cluster, Turn, SOON};
use crate::limits::pair;
use crate::view::slot_of;
use std::time::{Duration, Instant};

const WRITES: usize = 100;
/// A commit that waits for entries to ride with is told a millisecond later.
const STALE: Duration = Duration::from_millis(1);

/// How long after its OK a write shows at a replica, for each of some writes one after the other.
fn staleness(master: &mut Client, replica: &mut Client) -> Vec<Duration> {
    let mut times = Vec::with_capacity(WRITES);
    for n in 0..WRITES {
        let value = n.to_string();
        assert!(master.cmd(&["SET", "key", &value]).is_ok());
        let ok = Instant::now();
        // Before the first of all writes shows there the key is missing.
        let shown = Value::Bulk(value.into_bytes());
        while replica.cmd(&["GET", "key"]) != shown {
            assert!(ok.elapsed() < SOON, "write {n} never shows");
        }
        times.push(ok.elapsed());
    }
    times
}

/// On a machine that is busy with something else a round may be slow; one must be quick.
#[test]
fn an_idle_replica_shows_a_write_at_once() {
    let cluster = pair(Turn::alone());
    let mut master = cluster.nodes[0].client();
    let mut replica = cluster.nodes[1].client();
    assert!(replica.cmd(&["READONLY"]).is_ok());
    let times = wait_for("a replica shows writes soon after their OK", SOON, || {
        assert!(master.cmd(&["SET", "key", "none"]).is_ok());
        let times = staleness(&mut master, &mut replica);
        check(median(&times) < STALE, || summary(&times))?;
        Ok(times)
    });
    let us: Vec<u128> = times.iter().map(Duration::as_micros).collect();
    report(
        "a write shows at an idle replica after its OK",
        &format!("median {} us of {WRITES}", median_of(us)),
    );
}

fn median_of(mut numbers: Vec<u128>) -> u128 {
    numbers.sort_unstable();
    numbers[numbers.len() / 2]
}

fn texts(value: &Value) -> Vec<String> {
    let text = |item: &Value| match item {
        Value::Int(n) => n.to_string(),
        other => other.text(),
    };
    value.items().iter().map(text).collect()
}

/// A client that waits for as long as joining or leaving a shard may take: there are files to be made.
fn patient(cluster: &Cluster, node: usize) -> Client {
    let client = cluster.nodes[node].client();
    let patience = client.stream().set_read_timeout(Some(SOON));
    patience.expect("a socket option");
    client
}

/// A client of this node that listens to shard channels, which are all of one slot.
fn listener(cluster: &Cluster, node: usize, channels: &[&str]) -> Client {
    let mut client = patient(cluster, node);
    let mut command = vec!["SSUBSCRIBE"];
    command.extend_from_slice(channels);
    client.send(&command).expect("sent");
    for (n, channel) in channels.iter().enumerate() {
        let told = texts(&client.receive().expect("a confirmation"));
        assert_eq!(told, ["ssubscribe", channel, &(n + 1).to_string()]);
    }
    client
}

/// It is told that its subscriptions have ended, and nobody counts them any more.
fn is_told(cluster: &Cluster, node: usize, client: &mut Client, channels: &[&str]) {
    for (n, channel) in channels.iter().enumerate() {
        let told = texts(&client.receive().expect("the end of a subscription"));
        let left = (channels.len() - n - 1).to_string();
        assert_eq!(told, ["sunsubscribe", channel, &left]);
    }
    let node = &cluster.nodes[node];
    assert_eq!(node.cmd(&["PUBSUB", "SHARDCHANNELS"]).items().len(), 0);
    let counts = node.cmd(&["PUBSUB", "SHARDNUMSUB", channels[0]]);
    assert_eq!(texts(&counts), [channels[0], "0"]);
    // In RESP2 a client that still listened could say no such thing.
    assert_eq!(client.cmd(&["ECHO", "hello"]).text(), "hello");
}

#[test]
fn a_lost_slot_ends_shard_subscriptions() {
    let cluster = pair(Turn::shared());
    let channels = ["a{one}", "b{one}"];
    let slot = slot_of("{one}").to_string();
    let mut listeners = [0, 1].map(|node| listener(&cluster, node, &channels));
    let _other = listener(&cluster, 0, &["c{two}"]);
    cluster.nodes[0].ok(&["CLUSTER", "DELSLOTS", &slot]);
    let told = [0, 1].map(|node| {
        let client = &mut listeners[node];
        for (n, channel) in channels.iter().enumerate() {
            let told = texts(&client.receive().expect("the end of a subscription"));
            assert_eq!(told, ["sunsubscribe", *channel, &(1 - n).to_string()]);
        }
        texts(&cluster.nodes[node].cmd(&["PUBSUB", "SHARDCHANNELS"]))
    });
    assert_eq!(told, [vec!["c{two}".to_owned()], vec![]]);
}

#[test]
fn reset_ends_shard_subscriptions() {
    let cluster = pair(Turn::shared());
    let channels = ["a{one}", "b{one}"];
    let mut client = listener(&cluster, 1, &channels);
    assert!(patient(&cluster, 1).cmd(&["CLUSTER", "RESET"]).is_ok());
    is_told(&cluster, 1, &mut client, &channels);
}

#[test]
fn another_shard_ends_shard_subscriptions() {
    let mut cluster = pair(Turn::shared());
    let third = cluster.add_node(&[]);
    join_as_master(&cluster, third);
    let channels = ["a{one}", "b{one}"];
    let mut client = listener(&cluster, 1, &channels);
    let id = cluster.nodes[third].id();
    cluster.nodes[1].ok(&["CLUSTER", "REPLICATE", &id]);
    is_told(&cluster, 1, &mut client, &channels);
}

/// A master without slots, which all know.
fn join_as_master(cluster: &Cluster, node: usize) {
    let first = cluster.nodes[0].port.to_string();
    cluster.nodes[node].ok(&["CLUSTER", "MEET", "127.0.0.1", &first]);
    wait_for("all know the new master", SOON, || {
        let view = cluster.agreed()?;
        check(view.len() == cluster.nodes.len(), || format!("{view:?}"))
    });
}

/// The shard's own nodes, and one of another shard.
#[test]
fn a_failover_is_told_in_the_logs() {
    let mut cluster = pair(Turn::shared());
    let third = cluster.add_node(&[]);
    join_as_master(&cluster, third);
    let (old, new) = (cluster.nodes[0].id(), cluster.nodes[1].id());
    let at = format!("{new} at 127.0.0.1:{}", cluster.nodes[1].port);
    wait_for("the failover begins", SOON, || {
        let reply = cluster.nodes[1].cmd(&["CLUSTER", "FAILOVER"]);
        check(reply.is_ok(), || format!("{reply:?}"))
    });
    let said = [
        (1, "Failover election won: I'm the new master.".to_owned()),
        (1, format!("I ({at}) take over the slots 0-16383")),
        (0, format!("Reconfiguring myself as a replica of {new}")),
        (
            third,
            format!(
                "{old} (127.0.0.1:{}) lost 16384 slot(s) to node {new}",
                cluster.nodes[0].port
            ),
        ),
    ];
    for (node, text) in said {
        wait_for("the log tells of it", SOON, || {
            let log = cluster.nodes[node].log();
            check(log.contains(&text), || format!("no {text:?} in {log}"))
        });
    }
}
