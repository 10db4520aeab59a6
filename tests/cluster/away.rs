//! A replica that misses many writes, with its disk or without: it is given a state and the log behind that while
//! clients write, and has everything when its master is gone (P15, P11).

use crate::harness::{report, rounds, seed, summary, Cluster};
use crate::load::Load;
use crate::restart::wipe;
use crate::routed::Routed;
use std::time::{Duration, Instant};

/// Bytes of a value of the writes that it misses, and keys that they are of.
const VALUE: usize = 200;
const KEYS: usize = 50_000;
/// Writes that it misses in the short form, and in the long one: 280 MB of log, of which 128 MB may be kept for it.
const FEW: usize = 20_000;
const MANY: usize = 1_000_000;
const BATCH: usize = 1_000;
const PATIENCE: Duration = Duration::from_secs(30);

fn write_past(client: &mut Routed, tag: &str, count: usize) {
    for first in (0..count).step_by(BATCH) {
        let set = |n: usize| {
            let value = format!("{n}-{}", "x".repeat(VALUE));
            vec!["SET".to_owned(), format!("{{{tag}}}{}", n % KEYS), value]
        };
        let batch: Vec<Vec<String>> = (first..first + BATCH).map(set).collect();
        client.pipeline(PATIENCE, &format!("{{{tag}}}0"), &batch);
    }
}

#[test]
fn a_replica_behind_or_wiped_comes_back_under_load() {
    let mut cluster = Cluster::formed_alone(3, 1);
    let rounds = rounds(2);
    let writes = if rounds > 2 { MANY } else { FEW };
    let tag = cluster.shards()[0].tag(3);
    let mut client = Routed::new(&cluster.ports());
    let load = Load::start(&cluster, &cluster.shards()[..1], 2);
    let mut back = Vec::new();
    for round in 0..rounds {
        let shard = cluster.shards()[0].clone();
        let (master, replica) = (shard.master, shard.replicas[0]);
        cluster.nodes[replica].kill9();
        write_past(&mut client, &tag, writes);
        let is_wiped = round % 2 == 1;
        if is_wiped {
            wipe(&cluster.nodes[replica].dir, &["nodes.conf"]);
        }
        let started = Instant::now();
        cluster.nodes[replica].start();
        load.wait_acks(0, 10);
        cluster.wait_well();
        back.push(started.elapsed());
        println!(
            "round {round}: wiped {is_wiped}, whole again after {:?}",
            started.elapsed()
        );
        // What it was given is what the shard goes on with.
        cluster.nodes[master].kill9();
        load.wait_acks(0, 10);
        cluster.nodes[master].start();
        cluster.wait_well();
    }
    let kept = load.verify();
    let last = (0..writes).rev().take(KEYS.min(writes)).step_by(997);
    for n in last {
        let key = format!("{{{tag}}}{}", n % KEYS);
        let value = client
            .until(PATIENCE, &key, &["GETRANGE", &key, "0", "9"])
            .value;
        let want = format!("{n}-{}", "x".repeat(10));
        assert_eq!(value.text(), want[..10], "{key}");
    }
    report(
        "away or wiped, to whole again",
        &format!(
            "{} (each {writes} writes behind, seed {})",
            summary(&back),
            seed()
        ),
    );
    report(
        "away or wiped, acknowledged writes",
        &format!("{kept}, none lost"),
    );
}
