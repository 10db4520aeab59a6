//! kill -9 while slots move under load: no acknowledged write is lost or doubled, and what is left open is
//! mended as a person would, with `redis-cli --cluster fix`.

use crate::common::resp::Value;
use crate::harness::{check, report, rounds, try_redis_cli, wait_for, Cluster, SOON};
use crate::load::Load;
use crate::node::Node;
use crate::view::slot_of;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::HashMap;
use std::io;
use std::time::Duration;

/// What redis-cli does to move a slot, until something refuses or breaks.
fn move_slot(source: &Node, target: &Node, others: &[&Node], slot: u16) -> Result<(), String> {
    let name = slot.to_string();
    let (from, to) = (id(source)?, id(target)?);
    said(target.try_cmd(&["CLUSTER", "SETSLOT", &name, "IMPORTING", &from]))?;
    said(source.try_cmd(&["CLUSTER", "SETSLOT", &name, "MIGRATING", &to]))?;
    let port = target.port.to_string();
    loop {
        let keys = source.try_cmd(&["CLUSTER", "GETKEYSINSLOT", &name, "20"]);
        let keys = keys.map_err(|e| e.to_string())?;
        let Value::Array(keys) = keys else {
            return Err(format!("{keys:?}"));
        };
        if keys.is_empty() {
            break;
        }
        let keys: Vec<String> = keys.iter().map(Value::text).collect();
        let mut words = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "2000", "KEYS"];
        words.extend(keys.iter().map(String::as_str));
        said(source.try_cmd(&words))?;
    }
    for node in [target, source].iter().chain(others) {
        said(node.try_cmd(&["CLUSTER", "SETSLOT", &name, "NODE", &to]))?;
    }
    Ok(())
}

fn id(node: &Node) -> Result<String, String> {
    let id = node.try_cmd(&["CLUSTER", "MYID"]);
    id.map(|id| id.text()).map_err(|e| e.to_string())
}

fn said(reply: io::Result<Value>) -> Result<(), String> {
    match reply {
        Ok(reply) if reply.is_error() => Err(reply.text()),
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// Until `check` finds nothing, as often as `fix` is needed.
fn mend(cluster: &Cluster) {
    let address = format!("127.0.0.1:{}", cluster.nodes[0].port);
    wait_for("fix mends every slot", SOON * 2, || {
        let (fine, found) = try_redis_cli(&["--cluster", "check", &address]);
        if fine && !found.contains("[WARNING]") && !found.contains("[ERR]") {
            return Ok(());
        }
        let (_, fixed) = try_redis_cli(&["--cluster", "fix", &address]);
        Err(format!("{found}\n{fixed}"))
    });
}

/// Every key is at one master, which has its slot.
fn each_key_once(cluster: &Cluster) {
    let mut at: HashMap<String, u16> = HashMap::new();
    for shard in cluster.shards() {
        let node = &cluster.nodes[shard.master];
        let Value::Array(keys) = node.cmd(&["KEYS", "*"]) else {
            panic!("KEYS lists keys");
        };
        for key in keys.iter().map(Value::text) {
            let slot = slot_of(&key);
            let owned = shard.slots.iter().any(|(a, b)| (*a..=*b).contains(&slot));
            assert!(owned, "{key} is at {}, which has not its slot", node.port);
            if let Some(other) = at.insert(key.clone(), node.port) {
                panic!("{key} is at {other} and at {}", node.port);
            }
        }
    }
}

#[test]
fn kills_while_slots_move_lose_nothing() {
    let seed = std::env::var("HOLDFAST_SEED").map_or(1, |s| s.parse().expect("a seed is a number"));
    let mut rng = StdRng::seed_from_u64(seed);
    let mut cluster = Cluster::formed(3, 1);
    let shards = cluster.shards();
    let load = Load::start(&cluster, &shards, 2);
    let slots: Vec<u16> = load.tags().iter().map(|tag| slot_of(tag)).collect();
    let (mut whole, mut broken) = (0, 0);
    for round in 0..rounds(3) {
        cluster.wait_well();
        load.wait_acks_everywhere(10);
        let slot = slots[rng.gen_range(0..slots.len())];
        let shards = cluster.shards();
        let has =
            |s: &crate::harness::Shard| s.slots.iter().any(|(a, b)| (*a..=*b).contains(&slot));
        let source = shards
            .iter()
            .find(|s| has(s))
            .expect("every slot has an owner")
            .master;
        let others: Vec<usize> = shards
            .iter()
            .map(|s| s.master)
            .filter(|m| *m != source)
            .collect();
        let target = others[rng.gen_range(0..others.len())];
        let victim = match rng.gen_range(0..5) {
            0 | 1 => source,
            2 | 3 => target,
            _ => rng.gen_range(0..cluster.nodes.len()),
        };
        let after = Duration::from_micros(rng.gen_range(0..60_000));
        let (from, to) = (&cluster.nodes[source], &cluster.nodes[target]);
        let third = others.iter().filter(|m| **m != target);
        let third: Vec<&Node> = third.map(|m| &cluster.nodes[*m]).collect();
        let moved = std::thread::scope(|scope| {
            let moving = scope.spawn(|| move_slot(from, to, &third, slot));
            std::thread::sleep(after); // it may be killed anywhere in the move: that is the test
            cluster.nodes[victim].signal(libc::SIGKILL);
            moving.join().expect("the operator does not panic")
        });
        println!("round {round}: slot {slot}, {after:?}: {moved:?}");
        match moved {
            Ok(()) => whole += 1,
            Err(_) => broken += 1,
        }
        cluster.nodes[victim].kill9();
        cluster.nodes[victim].start();
        mend(&cluster);
    }
    cluster.wait_well();
    load.wait_acks_everywhere(10);
    let writes = load.verify();
    each_key_once(&cluster);
    let text = format!(
        "{whole} whole, {broken} broken off and mended (seed {seed}); {writes} acknowledged writes, none \
         lost or doubled"
    );
    report("kill -9 while a slot moves", &text);
    wait_for("nothing is left of a move", SOON, || {
        let left = cluster.nodes.iter().find_map(|node| {
            let info = node.cmd(&["INFO", "cluster"]).text();
            let fields = [
                "slots_migrating",
                "slots_importing",
                "open_lends",
                "leftover_keys",
            ];
            let clean = fields
                .iter()
                .all(|field| info.contains(&format!("cluster_{field}:0\r\n")));
            (!clean).then_some(info)
        });
        check(left.is_none(), || left.unwrap_or_default())
    });
}
