//! kill -9 under load: no acknowledged write is lost, and writes go on soon.

use crate::harness::{median, report, rounds, seed, summary, wait_for, Cluster, Shard, SOON};
use crate::load::Load;
use crate::restart::replica_has_it_all;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::time::{Duration, Instant};

/// From the kill of a leader to the first acknowledged write on its shard.
const RESUME_MEDIAN: Duration = Duration::from_secs(2);

/// How long the clients of other shards may wait for one write: noise of a busy machine, no more.
const OTHERS: Duration = Duration::from_secs(1);

#[test]
fn kill_9_of_any_node_loses_nothing() {
    let seed = seed();
    let mut rng = StdRng::seed_from_u64(seed);
    let mut cluster = Cluster::formed_alone(3, 1);
    let shards = cluster.shards();
    let load = Load::start(&cluster, &shards, 2);
    let (mut resumed, mut back, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds(6) {
        cluster.wait_well();
        load.wait_acks_everywhere(10);
        let now: Vec<Shard> = cluster.shards();
        let victim = match round % 3 {
            2 => rng.gen_range(0..cluster.nodes.len()),
            _ => now[rng.gen_range(0..now.len())].master,
        };
        let led = now.iter().find(|s| s.master == victim).map(|s| {
            let same = shards.iter().position(|old| old.slots == s.slots);
            same.expect("the slots of a shard do not change")
        });
        let port = cluster.nodes[victim].port;
        let killed = Instant::now();
        cluster.nodes[victim].kill9();
        if let Some(shard) = led {
            let what = format!("round {round}: writes go on after the kill of {port}");
            let ack = wait_for(&what, SOON, || {
                let ack = load.first_ack(shard, killed, port);
                ack.ok_or_else(|| format!("{:?}", load.failures(shard, killed).last()))
            });
            resumed.push(ack.at - killed);
            println!(
                "round {round}: leader {port}, writes after {:?}",
                ack.at - killed
            );
        } else {
            println!("round {round}: replica {port}");
        }
        load.wait_acks_everywhere(10);
        let started = Instant::now();
        cluster.nodes[victim].start();
        cluster.wait_well();
        back.push(started.elapsed());
        for shard in (0..shards.len()).filter(|s| Some(*s) != led) {
            let failures = load.failures(shard, killed);
            assert!(
                failures.is_empty(),
                "round {round}, shard {shard} noticed: {failures:?}"
            );
            others.push(load.gap(shard, killed, started));
        }
    }
    let writes = load.verify();
    let rounds = back.len();
    report(
        "kill -9, rounds",
        &format!("{rounds} (seed {seed}), {writes} acknowledged writes, none lost"),
    );
    report("kill -9, leader to first write", &summary(&resumed));
    report("kill -9, restart to fault tolerant", &summary(&back));
    report("kill -9, longest wait on other shards", &summary(&others));
    assert!(median(&resumed) <= RESUME_MEDIAN, "{}", summary(&resumed));
    assert!(median(&others) <= OTHERS, "{}", summary(&others));
}

/// The replica that was down while much was written has all of it when it leads.
#[test]
fn a_node_that_was_away_catches_up_before_it_leads() {
    let mut cluster = Cluster::formed(3, 1);
    let shards = cluster.shards();
    let (master, replica) = (shards[0].master, shards[0].replicas[0]);
    let load = Load::start(&cluster, &shards[..1], 4);
    load.wait_acks(0, 5);
    cluster.nodes[replica].kill9();
    load.wait_acks(0, 300);
    cluster.nodes[replica].start();
    cluster.wait_well();
    replica_has_it_all(&mut cluster, load, master);
}
