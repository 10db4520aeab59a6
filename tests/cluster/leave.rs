//! Members that leave their shard: RESET, FORGET, `redis-cli --cluster del-node` (C1, G3).

use crate::common::resp::Value;
use crate::harness::{check, report, rounds, summary, try_redis_cli, wait_for, Cluster, SOON};
use crate::load::Load;
use crate::node::Node;
use crate::restart::{forget_everywhere, join, wipe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// FORGET on all nodes, then RESET: redis-cli gives it up with the first error.
#[test]
fn del_node_of_a_replica_under_load() {
    let cluster = Cluster::formed(3, 1);
    let shards = cluster.shards();
    let load = Load::start(&cluster, &shards, 1);
    load.wait_acks_everywhere(20);
    let (mut times, mut failed) = (Vec::new(), Vec::new());
    for round in 0..rounds(2) {
        let shards = cluster.shards();
        let shard = &shards[round % shards.len()];
        let (master, replica) = (shard.master, shard.replicas[0]);
        let node = &cluster.nodes[replica];
        let (id, at) = (node.id(), format!("127.0.0.1:{}", node.port));
        let from = Instant::now();
        let (fine, text) = try_redis_cli(&["--cluster", "del-node", &at, &id]);
        times.push(from.elapsed());
        if !fine || text.contains("ERR") {
            println!("round {round}: {text}");
            failed.push(round);
        }
        let mine = node.view();
        let alone = mine.len() == 1 && mine[0].has("master") && mine[0].slots.is_empty();
        assert!(alone, "round {round}: {mine:?}\n{text}");
        assert_eq!(node.cmd(&["DBSIZE"]).int(), 0);
        // Redis keeps a forgotten node away for a minute, unless it has another name.
        node.ok(&["CLUSTER", "RESET", "HARD"]);
        join(&cluster, replica, master);
        cluster.wait_well();
    }
    report("del-node of a replica under load", &summary(&times));
    assert!(
        failed.is_empty(),
        "{} of {} failed",
        failed.len(),
        times.len()
    );
    load.verify();
}

/// The least number of voters of a shard, as its master says, while `run` runs.
fn fewest_voters(cluster: &Cluster, master: usize, run: impl FnOnce() + Send) -> usize {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut fewest = usize::MAX;
            while !over.load(Ordering::Relaxed) {
                if let Ok(members) = cluster.nodes[master].members() {
                    fewest = fewest.min(members.iter().filter(|m| m.voter).count());
                }
            }
            fewest
        });
        run();
        over.store(true, Ordering::Relaxed);
        watch.join().expect("it only looks")
    })
}

/// G3: an OK never rests on one disk while three are there.
#[test]
fn one_of_three_voters_is_exchanged_for_a_witness() {
    let mut cluster = Cluster::formed(3, 1);
    let third = cluster.add_node(&[]);
    let master = cluster.shards()[0].master;
    join(&cluster, third, master);
    cluster.wait_well();
    let shard = cluster.shard_of(master);
    let load = Load::start(&cluster, std::slice::from_ref(&shard), 1);
    load.wait_acks(0, 20);
    let (master, gone) = (shard.master, shard.replicas[0]);
    let old = cluster.nodes[gone].id();
    let witnessed = || {
        wait_for("a witness in its place", SOON, || {
            let members = cluster.nodes[master].members()?;
            let votes = members.iter().filter(|m| m.voter).count();
            let witnesses = members.iter().filter(|m| m.witness).count();
            check((votes, witnesses) == (3, 1), || format!("{members:?}"))
        });
    };
    let fewest = fewest_voters(&cluster, master, || {
        cluster.nodes[gone].ok(&["CLUSTER", "RESET", "HARD"]);
        witnessed();
    });
    assert!(fewest >= 3, "{fewest} when one has left");
    forget_everywhere(&cluster, &old, gone);
    join(&cluster, gone, master);
    cluster.wait_well();
    // And when one is wiped, and comes back as a node that nobody knows.
    let old = cluster.nodes[gone].id();
    // All are well before the joint change that lets the witness go, and while it is open.
    wait_for("three voters with the data", SOON, || {
        let members = cluster.nodes[master].members()?;
        let votes = members.iter().filter(|m| m.voter).count();
        let witnesses = members.iter().filter(|m| m.witness).count();
        check((votes, witnesses) == (3, 0), || format!("{members:?}"))
    });
    cluster.nodes[gone].kill9();
    let keep = ["nodes.conf"];
    wipe(&cluster.nodes[gone].dir, &keep);
    cluster.nodes[gone].start();
    let cluster = &cluster;
    let fewest = fewest_voters(cluster, master, || {
        cluster.wait_well();
    });
    assert!(fewest >= 3, "{fewest} when one was wiped");
    assert_eq!(cluster.nodes[gone].id(), old);
    load.verify();
}

/// Whether a node is alone, in a group of its own and without data: it was this member of another one.
fn is_alone(node: &Node, was: &str) -> Result<(), String> {
    let members = node.members()?;
    let is = node.info("raft", "raft_id");
    let alone = members.len() == 1 && is.is_some() && is.as_deref() != Some(was);
    check(alone, || format!("{was} is {is:?} of {members:?}"))?;
    let role = node.info("replication", "role");
    check(role.as_deref() == Some("master"), || format!("{role:?}"))?;
    let keys = node.cmd(&["DBSIZE"]).int();
    check(keys == 0, || format!("{keys} keys"))
}

/// Waits until a removed member has left by itself; how long that took.
fn wait_alone(node: &Node, was: &str) -> Duration {
    let from = Instant::now();
    wait_for("the removed member has left", SOON * 5, || {
        is_alone(node, was)
    });
    from.elapsed()
}

fn raft_id(node: &Node) -> String {
    node.info("raft", "raft_id").expect("a member has one")
}

/// FORGET of a node everywhere, and its member is gone from the group that `master` leads.
fn forget_member(cluster: &Cluster, index: usize, master: usize, id: &str, was: &str) {
    forget_everywhere(cluster, id, index);
    wait_for("the removal", SOON, || {
        let members = cluster.nodes[master].members()?;
        check(members.iter().all(|m| m.id != was), || {
            format!("{members:?}")
        })
    });
}

/// G2: no operator has to tell a removed member that it is one. It has been forgotten while it ran, or
/// while it was away, and is killed once more when it comes back.
#[test]
fn forgotten_replicas_leave_by_themselves() {
    let mut cluster = Cluster::formed(3, 1);
    let load = Load::start(&cluster, &cluster.shards(), 1);
    load.wait_acks_everywhere(20);
    let mut times = Vec::new();
    for (round, starts) in [0, 1, 2].into_iter().enumerate() {
        let shards = cluster.shards();
        let (master, gone) = (shards[round].master, shards[round].replicas[0]);
        let (id, was) = (cluster.nodes[gone].id(), raft_id(&cluster.nodes[gone]));
        if starts > 0 {
            cluster.nodes[gone].kill9();
        }
        forget_member(&cluster, gone, master, &id, &was);
        for _ in 0..starts {
            cluster.nodes[gone].kill9();
            cluster.nodes[gone].start();
        }
        times.push(wait_alone(&cluster.nodes[gone], &was));
        let kept = cluster.nodes[gone].dir.join("appendonlydir-nodes");
        let kept = kept.join(format!("lost-{was}"));
        wait_for("its log is set aside", SOON, || {
            check(kept.is_dir(), || kept.display().to_string())
        });
        // Redis keeps a forgotten node away for a minute, unless it has another name.
        cluster.nodes[gone].ok(&["CLUSTER", "RESET", "HARD"]);
        join(&cluster, gone, master);
        cluster.wait_well();
    }
    report("a forgotten replica has left", &summary(&times));
    load.verify();
}

/// It was the last that led, as far as its own log knows.
#[test]
fn forgotten_master_leaves_by_itself() {
    let mut cluster = Cluster::formed(3, 1);
    let load = Load::start(&cluster, &cluster.shards()[..1], 1);
    load.wait_acks_everywhere(20);
    let shard = cluster.shards()[0].clone();
    let (master, replica) = (shard.master, shard.replicas[0]);
    let (id, was) = (cluster.nodes[master].id(), raft_id(&cluster.nodes[master]));
    cluster.nodes[master].kill9();
    cluster.wait_role(replica, "master");
    forget_member(&cluster, master, replica, &id, &was);
    cluster.nodes[master].start();
    wait_alone(&cluster.nodes[master], &was);
    load.verify();
}

/// A learner has no vote to ask for, and so no answer by which it would learn of its removal.
#[test]
fn forgotten_learner_leaves_by_itself() {
    let mut cluster = Cluster::with_args(6, &["--cluster-raft-witness", "no"]);
    cluster.create(1);
    let shard = cluster.shards()[0].clone();
    let (master, replica) = (shard.master, shard.replicas[0]);
    wait_for("it is a learner, and knows it", SOON, || {
        let members = cluster.nodes[replica].members()?;
        check(members.len() == 2, || format!("{members:?}"))
    });
    let (id, was) = (
        cluster.nodes[replica].id(),
        raft_id(&cluster.nodes[replica]),
    );
    cluster.nodes[replica].kill9();
    forget_member(&cluster, replica, master, &id, &was);
    cluster.nodes[replica].start();
    wait_alone(&cluster.nodes[replica], &was);
}

/// C1: a node on its way into the shard, added already or not, would ask for entry for ever: the cluster
/// does not know it any more.
#[test]
fn forgotten_joiner_gives_up() {
    let mut cluster = Cluster::with_args(7, &["--cluster-raft-election-timeout", "200"]);
    let joiner = cluster.nodes.pop().expect("seven nodes");
    cluster.create(1);
    cluster.nodes.push(joiner);
    let (joiner, master) = (6, cluster.shards()[0].master);
    let (id, was) = (cluster.nodes[joiner].id(), raft_id(&cluster.nodes[joiner]));
    join(&cluster, joiner, master);
    cluster.nodes[joiner].kill9();
    forget_member(&cluster, joiner, master, &id, &was);
    cluster.nodes[joiner].start();
    cluster.let_others_run(); // for 90 s it may be that it was met again a moment ago
    wait_alone(&cluster.nodes[joiner], &was);
}

/// Redis's own cluster tests begin in this way with every node.
#[test]
fn exec_of_reset_and_epoch_waits_for_reset() {
    let mut cluster = Cluster::formed(3, 1);
    let empty = cluster.add_node(&[]);
    let shard = cluster.shards()[0].clone();
    let port = cluster.nodes[shard.master].port.to_string();
    cluster.nodes[empty].ok(&["CLUSTER", "MEET", "127.0.0.1", &port]);
    wait_for("it knows the others", SOON, || {
        let known = cluster.nodes[empty].view().len();
        check(known == 7, || format!("{known} nodes"))
    });
    reset_with_epoch(&cluster.nodes[shard.replicas[0]], "8");
    join(&cluster, shard.replicas[0], shard.master);
    cluster.wait_role(shard.replicas[0], "slave");
    reset_with_epoch(&cluster.nodes[empty], "9");
}

fn reset_with_epoch(node: &Node, epoch: &str) {
    let id = node.id();
    let mut client = node.client();
    let queue: [&[&str]; 3] = [
        &["MULTI"],
        &["CLUSTER", "RESET", "HARD"],
        &["CLUSTER", "SET-CONFIG-EPOCH", epoch],
    ];
    for words in queue {
        let reply = client.cmd(words);
        assert!(!reply.is_error(), "{words:?}: {reply:?}");
    }
    let replies = client.cmd(&["EXEC"]);
    let done = replies.items().iter().all(Value::is_ok);
    assert!(done, "{replies:?}");
    assert_eq!(
        node.cluster_info("cluster_my_epoch").as_deref(),
        Some(epoch)
    );
    let view = node.view();
    assert!(view.len() == 1 && view[0].has("master"), "{view:?}");
    assert_ne!(view[0].id, id, "a hard reset");
}
