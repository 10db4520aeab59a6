//! Real Redis masters and ours on one bus.

use crate::common::resp::{Client, Value};
use crate::harness::{check, wait_for, Cluster, SOON};
use crate::routed::Routed;
use crate::view::{Claim, Line};
use std::time::Duration;

/// What all nodes must say alike, epochs included.
type Claims = Vec<(Claim, u64)>;

fn claims(view: &[Line]) -> Claims {
    let mut all: Claims = view.iter().map(|l| (l.claim(), l.epoch)).collect();
    all.sort();
    all
}

struct Mixed {
    cluster: Cluster,
    ours: Vec<usize>,
    redis: Vec<usize>,
}

impl Mixed {
    /// Three of each, slots and epochs dealt out, introduced to each other in both directions.
    fn start() -> Mixed {
        let mut cluster = Cluster::bare(0);
        let ours: Vec<usize> = (0..3).map(|_| cluster.add_node(&[])).collect();
        let redis: Vec<usize> = (0..3).map(|_| cluster.add_redis()).collect();
        let all: Vec<usize> = ours
            .iter()
            .zip(&redis)
            .flat_map(|(a, b)| [*a, *b])
            .collect();
        for (n, index) in all.iter().enumerate() {
            let node = &cluster.nodes[*index];
            let (from, to) = (n * 16384 / all.len(), (n + 1) * 16384 / all.len() - 1);
            node.ok(&[
                "CLUSTER",
                "ADDSLOTSRANGE",
                &from.to_string(),
                &to.to_string(),
            ]);
            node.ok(&["CLUSTER", "SET-CONFIG-EPOCH", &(n + 1).to_string()]);
        }
        let meet = |a: usize, b: usize| {
            let port = cluster.nodes[b].port.to_string();
            cluster.nodes[a].ok(&["CLUSTER", "MEET", "127.0.0.1", &port]);
        };
        meet(ours[0], redis[0]);
        meet(redis[0], ours[1]);
        meet(ours[1], redis[1]);
        meet(redis[2], ours[2]);
        meet(redis[1], redis[2]);
        let mixed = Mixed {
            cluster,
            ours,
            redis,
        };
        mixed.wait_agreed();
        mixed
    }

    fn wait_agreed(&self) {
        let nodes = &self.cluster.nodes;
        wait_for("six nodes list each other alike", SOON, || {
            let view = self.cluster.agreed()?;
            check(view.len() == 6, || format!("{} of 6: {view:?}", view.len()))?;
            let first = claims(&view);
            for node in nodes {
                let view = node.try_view().map_err(|e| e.to_string())?;
                check(view.iter().all(|l| l.connected), || {
                    format!("{}: {view:?}", node.port)
                })?;
                let says = claims(&view);
                check(says == first, || {
                    format!("{}: {says:?}\n{first:?}", node.port)
                })?;
            }
            Ok(())
        });
    }

    /// Lines of the Redis logs that say more than what happens in any cluster.
    fn warnings(&self) -> Vec<String> {
        let usual = [
            "oO0OoO0OoO0Oo",
            "Redis version=",
            "Configuration loaded",
            "Server initialized",
            "WARNING Memory overcommit",
            "WARNING: The TCP backlog",
            "WARNING Your kernel has a bug",
            "WARNING you have Transparent Huge Pages",
            "configEpoch set to",
            "IP address for this node updated",
            "Cluster state changed",
            "FAIL message received from",
            "as failing (quorum reached)",
            "Clear FAIL state for node",
            "Failover auth denied",
        ];
        let is_warning = |line: &&str| {
            let level = line.split_whitespace().nth(5);
            level == Some("#") && !usual.iter().any(|u| line.contains(u))
        };
        let suspicious = |line: &&str| {
            let line = line.to_lowercase();
            let bad = [
                "inconsistent",
                "unknown node",
                "bad ",
                "invalid",
                "unrecognized",
                "corrupt",
            ];
            bad.iter().any(|b| line.contains(b))
        };
        let mut found = Vec::new();
        for index in &self.redis {
            let log = self.cluster.nodes[*index].log();
            let wrong = log.lines().filter(|l| is_warning(l) || suspicious(l));
            found.extend(wrong.map(String::from));
        }
        found
    }

    fn flags(&self, of: u16, as_seen_by: usize) -> Vec<String> {
        let view = self.cluster.nodes[as_seen_by].view();
        let line = view.into_iter().find(|l| l.port == of);
        line.map(|l| l.flags).unwrap_or_default()
    }

    /// Kills a node, waits until all others list it as failed, starts it, waits until that is over.
    fn fail_and_return(&mut self, victim: usize) {
        let port = self.cluster.nodes[victim].port;
        self.cluster.nodes[victim].kill9();
        let others: Vec<usize> = (0..6).filter(|i| *i != victim).collect();
        wait_for(&format!("FAIL of {port} is seen by all"), SOON, || {
            for index in &others {
                let flags = self.flags(port, *index);
                let asked = self.cluster.nodes[*index].port;
                check(flags.iter().any(|f| f == "fail"), || {
                    format!("{asked} says {flags:?}")
                })?;
            }
            Ok(())
        });
        self.cluster.nodes[victim].start();
        self.wait_agreed();
    }
}

#[test]
fn redis_and_holdfast_list_each_other_and_redirect() {
    let mixed = Mixed::start();
    let mut client = Routed::new(&mixed.cluster.ports());
    let mut by_port = std::collections::HashMap::new();
    for n in 0..600 {
        let key = format!("key:{n}");
        let answer = client.until(SOON, &key, &["SET", &key, "v"]);
        *by_port.entry(answer.port).or_insert(0) += 1;
    }
    assert_eq!(by_port.len(), 6, "every node serves its slots: {by_port:?}");
    // Each sends to the other kind.
    let (ours, redis) = (
        &mixed.cluster.nodes[mixed.ours[0]],
        &mixed.cluster.nodes[mixed.redis[0]],
    );
    for (asked, owner) in [(ours, redis), (redis, ours)] {
        let slots = owner.myself().slots;
        let key = crate::view::tag_in(&slots, 1);
        let text = format!(
            "MOVED {} 127.0.0.1:{}",
            crate::view::slot_of(&key),
            owner.port
        );
        assert_eq!(asked.cmd(&["GET", &key]).text(), text);
    }
    // The packaged redis-cli finds nothing to complain about.
    for node in [ours, redis] {
        let said =
            crate::harness::redis_cli(&["--cluster", "check", &format!("127.0.0.1:{}", node.port)]);
        assert!(
            said.contains("[OK] All nodes agree about slots configuration."),
            "{said}"
        );
        assert!(said.contains("[OK] All 16384 slots covered."), "{said}");
    }
    assert_eq!(mixed.warnings(), Vec::<String>::new());
}

#[test]
fn failures_are_seen_both_ways() {
    let mut mixed = Mixed::start();
    let (ours, redis) = (mixed.ours[1], mixed.redis[1]);
    mixed.fail_and_return(ours);
    mixed.fail_and_return(redis);
    assert_eq!(mixed.warnings(), Vec::<String>::new());
}

/// Reads messages until `count` have come; whatever else comes is a failure.
fn messages(client: &mut Client, count: usize) -> Vec<String> {
    client
        .stream()
        .set_read_timeout(Some(SOON))
        .expect("a socket option");
    let mut got: Vec<String> = (0..count)
        .map(|_| {
            let message = client.receive().expect("a message comes");
            let items: Vec<String> = message.items().iter().map(Value::text).collect();
            assert_eq!((items[0].as_str(), items[1].as_str()), ("message", "news"));
            items[2].clone()
        })
        .collect();
    got.sort();
    got
}

#[test]
fn publish_crosses_the_bus() {
    let mixed = Mixed::start();
    let nodes = &mixed.cluster.nodes;
    let mut listeners: Vec<Client> = Vec::new();
    for node in nodes {
        let mut client = node.client();
        let reply = client.cmd(&["SUBSCRIBE", "news"]);
        assert_eq!(reply.items()[0].text(), "subscribe");
        listeners.push(client);
    }
    let long = "x".repeat(100_000);
    let mut wanted = Vec::new();
    for node in nodes {
        let text = format!(
            "from {}{}",
            node.port,
            if node.port % 2 == 0 { &long } else { "" }
        );
        assert_eq!(
            node.cmd(&["PUBLISH", "news", &text]).int(),
            1,
            "only its own listener"
        );
        wanted.push(text);
    }
    wanted.sort();
    for (node, listener) in nodes.iter().zip(&mut listeners) {
        assert_eq!(messages(listener, nodes.len()), wanted, "{}", node.port);
        // Each came once.
        let wait = Some(Duration::from_millis(200));
        listener
            .stream()
            .set_read_timeout(wait)
            .expect("a socket option");
        assert!(
            listener.receive().is_err(),
            "{}: one more than was published",
            node.port
        );
    }
    assert_eq!(mixed.warnings(), Vec::<String>::new());
}

/// Keys of one slot of a node, the slot's number, and how a client that follows redirects sees them.
fn fill_slot(mixed: &Mixed, at: usize, count: usize) -> (Vec<String>, String) {
    let node = &mixed.cluster.nodes[at];
    let tag = crate::view::tag_in(&node.myself().slots, 5);
    let keys: Vec<String> = (0..count).map(|n| format!("{{{tag}}}:{n}")).collect();
    for key in &keys {
        assert!(node.cmd(&["SET", key, key]).is_ok(), "{key}");
    }
    let slot = crate::view::slot_of(&keys[0]).to_string();
    (keys, slot)
}

fn all_there(mixed: &Mixed, keys: &[String]) {
    let mut client = Routed::new(&mixed.cluster.ports());
    for key in keys {
        let value = client.until(SOON, key, &["GET", key]).value;
        assert_eq!(value, Value::Bulk(key.as_bytes().to_vec()), "{key}");
    }
}

/// A slot goes from one node to the other, by the commands that redis-cli gives.
fn move_slot(mixed: &Mixed, from: usize, to: usize, slot: &str, keys: &[String]) {
    let nodes = &mixed.cluster.nodes;
    let (a, b) = (&nodes[from], &nodes[to]);
    b.ok(&["CLUSTER", "SETSLOT", slot, "IMPORTING", &a.id()]);
    a.ok(&["CLUSTER", "SETSLOT", slot, "MIGRATING", &b.id()]);
    let port = b.port.to_string();
    let (half, rest) = keys.split_at(keys.len() / 2);
    let send = |keys: &[String]| {
        let mut words = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
        words.extend(keys.iter().map(String::as_str));
        a.ok(&words);
    };
    send(half);
    let ask = format!("ASK {slot} 127.0.0.1:{port}");
    assert_eq!(a.cmd(&["GET", &keys[0]]).text(), ask);
    assert_eq!(a.cmd(&["GET", &rest[0]]).text(), rest[0]);
    // A client that follows the ASK makes a key of its own.
    let made = keys[0].replace(":0", ":made");
    assert_eq!(a.cmd(&["SET", &made, "1"]).text(), ask);
    let mut client = b.client();
    assert!(client.cmd(&["ASKING"]).is_ok());
    assert!(client.cmd(&["SET", &made, "1"]).is_ok());
    assert!(client.cmd(&["ASKING"]).is_ok());
    assert_eq!(client.cmd(&["DEL", &made]).int(), 1);
    send(rest);
    for node in [b, a] {
        node.ok(&["CLUSTER", "SETSLOT", slot, "NODE", &b.id()]);
    }
    wait_for("all nodes know the new owner", SOON, || {
        let number: u16 = slot.parse().expect("a number");
        for node in nodes {
            let view = node.try_view().map_err(|e| e.to_string())?;
            let owner = view.iter().find(|line| {
                let ranges = line.slots.iter();
                ranges
                    .clone()
                    .any(|(first, last)| (*first..=*last).contains(&number))
            });
            check(owner.map(|line| line.port) == Some(b.port), || {
                format!("{} says {owner:?}", node.port)
            })?;
        }
        Ok(())
    });
}

#[test]
fn a_slot_moves_to_a_redis_and_back() {
    let mixed = Mixed::start();
    let (ours, redis) = (mixed.ours[0], mixed.redis[1]);
    let (keys, slot) = fill_slot(&mixed, ours, 20);
    move_slot(&mixed, ours, redis, &slot, &keys);
    all_there(&mixed, &keys);
    let left = mixed.cluster.nodes[ours].cmd(&["DBSIZE"]).int();
    assert_eq!(left, 0, "no key is on both sides");
    move_slot(&mixed, redis, ours, &slot, &keys);
    all_there(&mixed, &keys);
    // What was Redis's comes as well, and a mark that is called off just goes.
    let (keys, slot) = fill_slot(&mixed, redis, 10);
    move_slot(&mixed, redis, ours, &slot, &keys);
    all_there(&mixed, &keys);
    let (_, slot) = fill_slot(&mixed, redis, 1);
    let nodes = &mixed.cluster.nodes;
    nodes[ours].ok(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &nodes[redis].id()]);
    nodes[ours].ok(&["CLUSTER", "SETSLOT", &slot, "STABLE"]);
    let line = nodes[ours].cmd(&["CLUSTER", "NODES"]).text();
    assert!(!line.contains("-<-"), "{line}");
}

#[test]
fn redis_cli_reshards_between_both_kinds() {
    let mixed = Mixed::start();
    let nodes = &mixed.cluster.nodes;
    let (ours, redis) = (&nodes[mixed.ours[1]], &nodes[mixed.redis[0]]);
    let mut client = Routed::new(&mixed.cluster.ports());
    let keys: Vec<String> = (0..3_000).map(|n| format!("key:{n}")).collect();
    for key in &keys {
        assert!(client.until(SOON, key, &["SET", key, key]).value.is_ok());
    }
    let owned = |node: &crate::node::Node| -> usize {
        let ranges = node.myself().slots;
        let lengths = ranges
            .iter()
            .map(|(first, last)| usize::from(last - first) + 1);
        lengths.sum()
    };
    for (from, to) in [(redis, ours), (ours, redis)] {
        let (before, address) = (owned(to), format!("127.0.0.1:{}", ours.port));
        let said = crate::harness::redis_cli(&[
            "--cluster",
            "reshard",
            &address,
            "--cluster-from",
            &from.id(),
            "--cluster-to",
            &to.id(),
            "--cluster-slots",
            "10",
            "--cluster-yes",
        ]);
        assert_eq!(owned(to), before + 10, "{said}");
        wait_for("redis-cli finds every slot in its place", SOON, || {
            let (fine, said) = crate::harness::try_redis_cli(&["--cluster", "check", &address]);
            let well = fine && !said.contains("[ERR]") && !said.contains("[WARNING]");
            check(well, || said)
        });
    }
    all_there(&mixed, &keys);
}

/// A move from a Redis that was broken off on both sides: some keys are here. `fix` finds them when a mark says
/// that the slot is open.
#[test]
fn fix_brings_leftovers_back_to_a_redis() {
    let mixed = Mixed::start();
    let nodes = &mixed.cluster.nodes;
    let (ours, redis) = (&nodes[mixed.ours[0]], &nodes[mixed.redis[1]]);
    let (keys, slot) = fill_slot(&mixed, mixed.redis[1], 20);
    ours.ok(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &redis.id()]);
    redis.ok(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &ours.id()]);
    let port = ours.port.to_string();
    let mut words = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
    words.extend(keys[..5].iter().map(String::as_str));
    redis.ok(&words);
    for node in [ours, redis] {
        node.ok(&["CLUSTER", "SETSLOT", &slot, "STABLE"]);
    }
    assert_eq!(
        ours.info("cluster", "cluster_leftover_keys").as_deref(),
        Some("5")
    );
    ours.ok(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &redis.id()]);
    let address = format!("127.0.0.1:{}", ours.port);
    wait_for("fix finds and returns them", SOON, || {
        let (_, fixed) = crate::harness::try_redis_cli(&["--cluster", "fix", &address]);
        let left = ours.cmd(&["DBSIZE"]).int();
        let (fine, found) = crate::harness::try_redis_cli(&["--cluster", "check", &address]);
        let well = fine && left == 0 && !found.contains("[WARNING]");
        check(well, || format!("{left} left: {fixed}\n{found}"))
    });
    all_there(&mixed, &keys);
    assert_eq!(redis.cmd(&["DBSIZE"]).int(), 20);
}
