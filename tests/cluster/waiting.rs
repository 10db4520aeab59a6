//! Clients that wait for keys in a cluster: of a slot that moves away, and at a leader that leads no longer.

use crate::common::resp::{Client, Value};
use crate::harness::{check, wait_for, Cluster, SOON};
use crate::view::slot_of;

struct Bed {
    cluster: Cluster,
    from: usize,
    to: usize,
    replica: usize,
    key: String,
    slot: String,
}

impl Bed {
    fn new() -> Bed {
        let cluster = Cluster::formed(3, 1);
        let shards = cluster.shards();
        let key = format!("{{{}}}list", shards[0].tag(1));
        Bed {
            from: shards[0].master,
            to: shards[1].master,
            replica: shards[0].replicas[0],
            slot: slot_of(&key).to_string(),
            key,
            cluster,
        }
    }

    /// A client that waits at a node, as its `nth` one.
    fn waits(&self, node: usize, asking: bool, nth: usize) -> Client {
        let node = &self.cluster.nodes[node];
        let mut client = node.client();
        if asking {
            assert!(client.cmd(&["ASKING"]).is_ok());
        }
        client.send(&["BLPOP", &self.key, "0"]).expect("sent");
        wait_for("the client waits", SOON, || {
            let blocked = node.info("clients", "blocked_clients");
            check(blocked == Some(nth.to_string()), || format!("{blocked:?}"))
        });
        client
    }

    fn set_slot(&self, node: usize, how: &str, of: usize) {
        let id = self.cluster.nodes[of].id();
        let words = ["CLUSTER", "SETSLOT", &self.slot, how, &id];
        wait_for("the slot is set", SOON, || {
            let reply = self.cluster.nodes[node].cmd(&words);
            check(reply.is_ok(), || format!("{words:?} -> {reply:?}"))
        });
    }

    fn got(&self, client: &mut Client, element: &str) {
        let reply = client.receive().expect("what it waited for");
        let texts: Vec<String> = reply.items().iter().map(Value::text).collect();
        assert_eq!(texts, [self.key.as_str(), element]);
    }
}

#[test]
fn waiters_are_sent_after_their_slot() {
    let bed = Bed::new();
    let (from, to) = (&bed.cluster.nodes[bed.from], &bed.cluster.nodes[bed.to]);
    let mut stays = bed.waits(bed.from, false, 1);
    bed.set_slot(bed.to, "IMPORTING", bed.from);
    bed.set_slot(bed.from, "MIGRATING", bed.to);
    let mut asks = bed.waits(bed.to, true, 1);
    let mut pushes = to.client();
    assert!(pushes.cmd(&["ASKING"]).is_ok());
    assert_eq!(pushes.cmd(&["RPUSH", &bed.key, "a", "b"]).int(), 2);
    bed.got(&mut asks, "a");
    assert_eq!(
        from.info("clients", "blocked_clients").as_deref(),
        Some("1"),
        "its slot is here still"
    );
    bed.set_slot(bed.to, "NODE", bed.to);
    bed.set_slot(bed.from, "NODE", bed.to);
    let reply = stays.receive().expect("where the slot is");
    let moved = format!("MOVED {} 127.0.0.1:{}", bed.slot, to.port);
    assert_eq!(reply.text(), moved);
    assert_eq!(to.cmd(&["LPOP", &bed.key]).text(), "b");
    assert_eq!(stays.cmd(&["PING"]).text(), "PONG");
}

#[test]
fn waiters_hear_of_a_failover() {
    let mut bed = Bed::new();
    let mut waits = bed.waits(bed.from, false, 1);
    let replica = &bed.cluster.nodes[bed.replica];
    wait_for("the failover begins", SOON, || {
        let reply = replica.cmd(&["CLUSTER", "FAILOVER"]);
        check(reply.is_ok(), || format!("{reply:?}"))
    });
    let reply = waits.receive().expect("an error").text();
    assert!(reply.starts_with("UNBLOCKED force unblock"), "{reply}");
    assert!(waits.receive().is_err(), "the connection is closed");
    bed.cluster.wait_well();
    // The new leader serves those who come, and what they take is gone for good.
    let mut waits = bed.waits(bed.replica, false, 1);
    let leader = &bed.cluster.nodes[bed.replica];
    assert_eq!(leader.cmd(&["RPUSH", &bed.key, "a", "b"]).int(), 2);
    bed.got(&mut waits, "a");
    bed.cluster.nodes[bed.replica].kill9();
    bed.cluster.nodes[bed.replica].start();
    bed.cluster.wait_well();
    let now = bed.cluster.shard_of(bed.replica).master;
    let rest = bed.cluster.nodes[now].cmd(&["LRANGE", &bed.key, "0", "-1"]);
    let rest: Vec<String> = rest.items().iter().map(Value::text).collect();
    assert_eq!(rest, ["b"]);
}

/// A waiter whose command is held (its destination is lent to a shard that is silent) holds up no waiter of another key.
#[test]
fn a_held_waiter_holds_up_nobody_else() {
    let bed = Bed::new();
    let (from, to) = (&bed.cluster.nodes[bed.from], &bed.cluster.nodes[bed.to]);
    let tag = bed.cluster.shards()[0].tag(1);
    let [first, lent, source, made] =
        ["first", "lent", "source", "made"].map(|name| format!("{{{tag}}}{name}"));
    let other = format!("{{{}}}other", bed.cluster.shards()[0].tag(2));
    let mut client = from.client();
    for key in [&first, &lent, &source] {
        assert_eq!(client.cmd(&["RPUSH", key, "1"]).int(), 1);
    }
    let mut held = from.client();
    held.send(&["BLMOVE", &made, &lent, "LEFT", "RIGHT", "0"])
        .expect("sent");
    let mut waits = from.client();
    waits.send(&["BLPOP", &other, "0"]).expect("sent");
    wait_for("both wait", SOON, || {
        let blocked = from.info("clients", "blocked_clients");
        check(blocked.as_deref() == Some("2"), || format!("{blocked:?}"))
    });
    // There, so that it may be made anew while the slot moves; no list, so that its waiter waits.
    assert!(client.cmd(&["SET", &made, "text"]).is_ok());
    bed.set_slot(bed.to, "IMPORTING", bed.from);
    bed.set_slot(bed.from, "MIGRATING", bed.to);
    let port = to.port.to_string();
    let moved = client.cmd(&["MIGRATE", "127.0.0.1", &port, &first, "0", "5000"]);
    assert!(moved.is_ok(), "{moved:?}");
    to.signal(libc::SIGSTOP);
    let mut migrates = from.client();
    migrates
        .send(&["MIGRATE", "127.0.0.1", &port, &lent, "0", "1000"])
        .expect("sent");
    wait_for("the key is lent", SOON, || {
        let blocked = from.info("clients", "blocked_clients");
        check(blocked.as_deref() == Some("3"), || format!("{blocked:?}"))
    });
    // It is a list now, and its waiter's command waits for the end of the lend.
    assert_eq!(client.cmd(&["SORT", &source, "STORE", &made]).int(), 1);
    assert_eq!(client.cmd(&["RPUSH", &other, "a"]).int(), 1);
    let left = client.cmd(&["LLEN", &other]);
    to.signal(libc::SIGCONT);
    assert_eq!(left.int(), 0, "its waiter waits in vain");
    assert_eq!(waits.receive().expect("an element").items()[1].text(), "a");
}

/// T9: no one command of a client takes a shard its leader.
#[test]
fn a_command_of_many_keys_deposes_nobody() {
    let bed = Bed::new();
    let node = &bed.cluster.nodes[bed.from];
    let keys: Vec<String> = (0..1_000_000).map(|n| format!("{}{n}", bed.key)).collect();
    let with = |name: &'static str, count: usize| {
        let keys = keys[..count].iter().map(String::as_str);
        std::iter::once(name).chain(keys).collect::<Vec<&str>>()
    };
    assert!(node.client().cmd(&with("WATCH", 100_000)).is_ok());
    let mut waits = with("BLPOP", 1_000_000);
    waits.push("1");
    let reply = node.client().cmd(&waits);
    assert!(!reply.is_error(), "{reply:?}");
}
