//! Planned moves under load: no client sees a failed write, and the gap is short.

use crate::clients::Clients;
use crate::harness::{median, report, rounds, summary, wait_for, Cluster, Shard, Turn, SOON};
use crate::limits::{follows, pair, wait_in_sync};
use crate::load::Load;
use std::time::{Duration, Instant};

const GAP_MEDIAN: Duration = Duration::from_millis(200);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Move {
    Failover,
    Force,
    Shutdown,
    Sigterm,
}

fn start_move(cluster: &Cluster, master: usize, replica: usize, how: Move) {
    match how {
        Move::Failover => cluster.nodes[replica].ok(&["CLUSTER", "FAILOVER"]),
        Move::Force => cluster.nodes[replica].ok(&["CLUSTER", "FAILOVER", "FORCE"]),
        Move::Shutdown => {
            let reply = cluster.nodes[master].try_cmd(&["SHUTDOWN"]);
            assert!(reply.is_err(), "SHUTDOWN -> {reply:?}");
        }
        Move::Sigterm => cluster.nodes[master].signal(libc::SIGTERM),
    }
}

/// Moves one shard's leader away; returns the gap its writers saw and what they were refused.
fn move_leader(
    cluster: &mut Cluster,
    load: &Load,
    at: usize,
    slots: &[(u16, u16)],
    how: Move,
) -> (Duration, Vec<String>) {
    let now = cluster.shards();
    let shard: &Shard = now
        .iter()
        .find(|s| s.slots == slots)
        .expect("its slots stay");
    let (master, replica) = (shard.master, shard.replicas[0]);
    let port = cluster.nodes[master].port;
    let from = Instant::now();
    start_move(cluster, master, replica, how);
    wait_for(
        &format!("{how:?} of {port}: the replica serves"),
        SOON,
        || {
            let ack = load.first_ack(at, from, port);
            ack.ok_or_else(|| format!("{:?}", load.failures(at, from).last()))
        },
    );
    load.wait_acks(at, 10);
    let (gap, refused) = (load.gap(at, from, Instant::now()), load.failures(at, from));
    if matches!(how, Move::Shutdown | Move::Sigterm) {
        let status = cluster.nodes[master].wait_exit(SOON);
        assert!(status.success(), "{how:?} of {port} ended with {status}");
        cluster.nodes[master].start();
    }
    cluster.wait_well();
    let now = cluster.shard_of(replica);
    assert_eq!(
        (now.master, now.replicas),
        (replica, vec![master]),
        "{how:?}"
    );
    (gap, refused)
}

#[test]
fn planned_moves_are_not_noticed() {
    let mut cluster = Cluster::formed_alone(3, 1);
    let shards = cluster.shards();
    let load = Load::start(&cluster, &shards, 1);
    let clients = Clients::start(&cluster);
    let mut all = Vec::new();
    for round in 0..rounds(2) {
        for how in [Move::Failover, Move::Force, Move::Shutdown, Move::Sigterm] {
            let at = (round + all.len()) % shards.len();
            load.wait_acks_everywhere(5);
            let (gap, refused) = move_leader(&mut cluster, &load, at, &shards[at].slots, how);
            println!("round {round}: {how:?} of shard {at}: {gap:?}, refused: {refused:?}");
            // Nobody's connection has to close for a failover that both sides are there for.
            assert!(
                how != Move::Failover || refused.is_empty(),
                "{how:?}: {refused:?}"
            );
            all.push((how, gap));
        }
    }
    for how in [Move::Failover, Move::Force, Move::Shutdown, Move::Sigterm] {
        let gaps: Vec<Duration> = all
            .iter()
            .filter(|(h, _)| *h == how)
            .map(|(_, g)| *g)
            .collect();
        report(&format!("planned moves, gap of {how:?}"), &summary(&gaps));
    }
    clients.finish(&cluster);
    load.verify();
    let gaps: Vec<Duration> = all.iter().map(|(_, gap)| *gap).collect();
    assert!(median(&gaps) <= GAP_MEDIAN, "{}", summary(&gaps));
}

/// E4: the master is the only voter, so its replica has to become that first.
#[test]
fn a_pair_without_a_witness_moves_as_well() {
    let cluster = pair(Turn::alone());
    let load = Load::start(&cluster, &cluster.shards(), 2);
    let mut gaps = Vec::new();
    for (round, how) in [Move::Failover, Move::Force, Move::Failover, Move::Force]
        .into_iter()
        .enumerate()
    {
        let (master, replica) = (round % 2, 1 - round % 2);
        load.wait_acks(0, 20);
        wait_for("the replica follows", SOON, || {
            follows(&cluster.nodes[master], &cluster.nodes[replica], 1000)
        });
        let from = Instant::now();
        start_move(&cluster, master, replica, how);
        let port = cluster.nodes[master].port;
        wait_for(&format!("{how:?}: the replica serves"), SOON, || {
            let ack = load.first_ack(0, from, port);
            ack.ok_or_else(|| format!("{:?}", load.failures(0, from).last()))
        });
        load.wait_acks(0, 10);
        gaps.push(load.gap(0, from, Instant::now()));
        assert!(load.failures(0, from).is_empty(), "{how:?}");
        cluster.wait_role(replica, "master");
        cluster.wait_role(master, "slave");
    }
    load.verify();
    wait_in_sync(&cluster, 0);
    report("1 + 1, planned moves, gap", &summary(&gaps));
    assert!(median(&gaps) <= GAP_MEDIAN, "{}", summary(&gaps));
}

#[test]
fn a_rolling_restart_is_not_noticed() {
    let mut cluster = Cluster::formed_alone(3, 1);
    let shards = cluster.shards();
    let load = Load::start(&cluster, &shards, 1);
    let clients = Clients::start(&cluster);
    let mut gaps = Vec::new();
    for _ in 0..rounds(6).div_ceil(6) {
        for index in 0..cluster.nodes.len() {
            load.wait_acks_everywhere(5);
            let now = cluster.shard_of(index);
            let at = shards
                .iter()
                .position(|s| s.slots == now.slots)
                .expect("its slots stay");
            let from = Instant::now();
            cluster.nodes[index].signal(libc::SIGTERM);
            let status = cluster.nodes[index].wait_exit(SOON);
            assert!(status.success(), "SIGTERM ended with {status}");
            load.wait_acks_everywhere(5);
            if now.master == index {
                gaps.push(load.gap(at, from, Instant::now()));
            }
            cluster.nodes[index].start();
            cluster.wait_well();
        }
    }
    clients.finish(&cluster);
    load.verify();
    report(
        "rolling restart, gap of a shard whose leader went",
        &summary(&gaps),
    );
    assert!(median(&gaps) <= GAP_MEDIAN, "{}", summary(&gaps));
}
