//! Everything at once, wiped disks, and members that come and go.

use crate::harness::{check, report, rounds, summary, wait_for, Cluster, SOON};
use crate::load::Load;
use crate::node::Node;
use crate::view::Line;
use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

/// From the start of the last process to `cluster_state:ok` everywhere.
const ALL_BACK: Duration = Duration::from_secs(5);

/// Deletes what a node keeps in its folder, but its log file and what `keep` names.
pub fn wipe(dir: &Path, keep: &[&str]) {
    for entry in std::fs::read_dir(dir).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_name()
            .and_then(|n| n.to_str())
            .unwrap_or_default();
        if name.ends_with(".log") || keep.contains(&name) {
            continue;
        }
        let removed = if path.is_dir() {
            std::fs::remove_dir_all(&path)
        } else {
            std::fs::remove_file(&path)
        };
        removed.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
}

fn masters(view: &[Line]) -> HashMap<String, (u64, Vec<(u16, u16)>)> {
    let masters = view.iter().filter(|l| l.has("master"));
    masters
        .map(|l| (l.id.clone(), (l.epoch, l.slots.clone())))
        .collect()
}

#[test]
fn all_nodes_killed_at_once_come_back() {
    let mut cluster = Cluster::formed_alone(3, 1);
    let mut times = Vec::new();
    for round in 0..rounds(2) {
        let shards = cluster.shards();
        let load = Load::start(&cluster, &shards, 2);
        load.wait_acks_everywhere(50);
        let before = masters(&cluster.nodes[0].view());
        for node in &cluster.nodes {
            node.signal(libc::SIGKILL);
        }
        for node in &mut cluster.nodes {
            node.kill9(); // takes the child in
            node.spawn();
        }
        let started = Instant::now();
        wait_for("cluster_state:ok everywhere", SOON, || {
            let bad = cluster
                .nodes
                .iter()
                .find(|n| n.cluster_info("cluster_state").as_deref() != Some("ok"));
            check(bad.is_none(), || {
                format!("not {}", bad.map_or(0, |n| n.port))
            })
        });
        times.push(started.elapsed());
        cluster.wait_well();
        let after = masters(&cluster.nodes[0].view());
        for (id, was) in &before {
            if let Some(is) = after.get(id) {
                assert_eq!(is, was, "round {round}: epoch and slots of {id}");
            }
        }
        load.wait_acks_everywhere(5);
        load.verify();
    }
    report(
        "all six killed at once, to cluster_state:ok",
        &summary(&times),
    );
    assert!(times.iter().all(|t| *t <= ALL_BACK), "{}", summary(&times));
}

/// The log is gone, nodes.conf is not: the node must not act as the member that it was.
#[test]
fn a_wiped_replica_is_filled_again() {
    let mut cluster = Cluster::formed(3, 1);
    let shards = cluster.shards();
    let (master, replica) = (shards[0].master, shards[0].replicas[0]);
    let load = Load::start(&cluster, &shards[..1], 2);
    load.wait_acks(0, 100);
    cluster.nodes[replica].kill9();
    load.wait_acks(0, 20);
    wipe(&cluster.nodes[replica].dir, &["nodes.conf"]);
    cluster.nodes[replica].start();
    cluster.wait_well();
    replica_has_it_all(&mut cluster, load, master);
}

/// Kills the master under load: its replica serves, with every write that was acknowledged.
pub fn replica_has_it_all(cluster: &mut Cluster, load: Load, master: usize) {
    let port = cluster.nodes[master].port;
    let killed = Instant::now();
    cluster.nodes[master].kill9();
    wait_for("the replica serves", SOON, || {
        load.first_ack(0, killed, port)
            .ok_or("no write yet".to_string())
    });
    load.verify();
    cluster.nodes[master].start();
    cluster.wait_well();
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let to = to.join(path.file_name().expect("it has a name"));
        if path.is_dir() {
            copy(&path, &to);
        } else {
            std::fs::copy(&path, &to).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        }
    }
}

/// D6: a log that was set back (a restored backup) lacks what its member has acknowledged.
#[test]
fn a_replica_whose_log_was_set_back_is_a_new_member() {
    let mut cluster = Cluster::formed(3, 1);
    let shards = cluster.shards();
    let replica = shards[0].replicas[0];
    let load = Load::start(&cluster, &shards[..1], 2);
    load.wait_acks(0, 50);
    let was = cluster.nodes[replica].info("raft", "raft_id");
    let log = "appendonlydir-nodes";
    let (dir, backup) = (
        cluster.nodes[replica].dir.join(log),
        cluster.nodes[replica].dir.join("backup"),
    );
    cluster.nodes[replica].kill9();
    copy(&dir, &backup);
    cluster.nodes[replica].start();
    cluster.wait_well();
    load.wait_acks(0, 100);
    cluster.nodes[replica].kill9();
    std::fs::remove_dir_all(&dir).expect("the log's folder");
    copy(&backup, &dir);
    cluster.nodes[replica].spawn();
    let status = cluster.nodes[replica].wait_exit(SOON);
    assert!(!status.success(), "it has lost log, and ends: {status}");
    load.wait_acks(0, 20);
    cluster.nodes[replica].start();
    cluster.wait_well();
    let is = cluster.nodes[replica].info("raft", "raft_id");
    assert!(was.is_some() && is != was, "{is:?} after {was:?}");
    let kept = dir.join(format!("lost-{}", was.unwrap_or_default()));
    assert!(kept.is_dir(), "{} is kept", kept.display());
    replica_has_it_all(&mut cluster, load, shards[0].master);
}

pub fn forget_everywhere(cluster: &Cluster, id: &str, but: usize) {
    for (index, node) in cluster.nodes.iter().enumerate() {
        if index != but {
            node.ok(&["CLUSTER", "FORGET", id]);
        }
    }
    for (index, node) in cluster.nodes.iter().enumerate() {
        let known = index != but && node.view().iter().any(|l| l.id == id);
        assert!(!known, "{} still lists {id}", node.port);
    }
}

pub fn join(cluster: &Cluster, index: usize, master: usize) {
    let node = &cluster.nodes[index];
    let (port, id) = (
        cluster.nodes[master].port.to_string(),
        cluster.nodes[master].id(),
    );
    node.ok(&["CLUSTER", "MEET", "127.0.0.1", &port]);
    wait_for("the node knows its master", SOON, || {
        let known = node.view().iter().any(|l| l.id == id && l.connected);
        check(known, || node.cmd(&["CLUSTER", "NODES"]).text())
    });
    // A master that is killed before its nodes.conf has the newcomer would not know it afterwards,
    // here as in Redis: redis-cli waits for the same.
    let joining = node.id();
    wait_for("all know the node", SOON, || {
        for other in &cluster.nodes {
            let view = other.try_view().map_err(|e| e.to_string())?;
            let known = view.iter().any(|l| l.id == joining && !l.has("handshake"));
            check(known, || format!("{} does not know {joining}", other.port))?;
        }
        Ok(())
    });
    node.ok(&["CLUSTER", "REPLICATE", &id]);
}

/// A disk that is lost altogether: a new node under a new id takes the old one's place.
#[test]
fn a_lost_replica_is_forgotten_and_replaced() {
    let mut cluster = Cluster::formed(3, 1);
    let shards = cluster.shards();
    let (master, replica) = (shards[0].master, shards[0].replicas[0]);
    let load = Load::start(&cluster, &shards[..1], 2);
    load.wait_acks(0, 50);
    let old = cluster.nodes[replica].id();
    cluster.nodes[replica].kill9();
    wipe(&cluster.nodes[replica].dir, &[]);
    cluster.nodes[replica].start();
    assert_ne!(
        cluster.nodes[replica].id(),
        old,
        "a wiped node is a new one"
    );
    forget_everywhere(&cluster, &old, replica);
    join(&cluster, replica, master);
    cluster.wait_well();
    assert_eq!(cluster.nodes[0].view().len(), 6);
    cluster.nodes[replica].ok(&["CLUSTER", "FAILOVER"]);
    cluster.wait_role(replica, "master");
    cluster.wait_well();
    load.verify();
}

/// As in Redis: only keys keep a master from being reset.
#[test]
fn reset_of_a_master_without_keys_gives_up_its_slots() {
    let cluster = Cluster::bare(1);
    let node: &Node = &cluster.nodes[0];
    node.ok(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    node.ok(&["SET", "key", "value"]);
    let refused = node.cmd(&["CLUSTER", "RESET"]);
    assert!(refused.is_error(), "a master with keys: {refused:?}");
    node.ok(&["FLUSHALL"]);
    let old = node.id();
    for how in ["SOFT", "HARD"] {
        node.ok(&["CLUSTER", "RESET", how]);
        let mine = node.view();
        assert!(mine.len() == 1 && mine[0].slots.is_empty(), "{mine:?}");
        assert_eq!(node.id() == old, how == "SOFT", "{how}");
        node.ok(&["CLUSTER", "ADDSLOTS", "7"]);
    }
}

#[test]
fn reset_makes_a_replica_an_empty_master() {
    let cluster = Cluster::formed(3, 1);
    let shards = cluster.shards();
    let (master, replica) = (shards[1].master, shards[1].replicas[0]);
    let load = Load::start(&cluster, &shards[1..2], 2);
    load.wait_acks(0, 50);
    let node: &Node = &cluster.nodes[replica];
    let old = node.id();
    let refused = cluster.nodes[master].cmd(&["CLUSTER", "RESET"]);
    assert!(refused.is_error(), "a master with keys resets: {refused:?}");
    let from = Instant::now();
    node.ok(&["CLUSTER", "RESET", "HARD"]);
    assert_ne!(node.id(), old, "RESET HARD gives a new id");
    let mine = node.view();
    assert_eq!(mine.len(), 1, "{mine:?}");
    assert!(
        mine[0].has("master") && mine[0].slots.is_empty(),
        "{mine:?}"
    );
    assert_eq!(node.cmd(&["DBSIZE"]).int(), 0);
    forget_everywhere(&cluster, &old, replica);
    load.wait_acks(0, 20);
    join(&cluster, replica, master);
    cluster.wait_well();
    let failures = load.failures(0, from);
    assert!(
        failures.is_empty(),
        "the master's clients noticed: {failures:?}"
    );
    load.verify();
}

/// A master that dies while its first replica joins: afterwards there is one shard of two, and
/// nothing is lost.
#[test]
fn a_master_dies_while_its_replica_joins() {
    let mut cluster = Cluster::formed(3, 0);
    let shards = cluster.shards();
    let load = Load::start(&cluster, &shards[..1], 2);
    load.wait_acks(0, 50);
    let master = shards[0].master;
    let mut joined = Vec::new();
    for round in 0..rounds(2) as u64 {
        let index = cluster.add_node(&[]);
        join(&cluster, index, master);
        // Another moment of the join each round.
        std::thread::sleep(Duration::from_millis(round * 37 % 400));
        cluster.nodes[master].kill9();
        cluster.nodes[master].start();
        joined.push(index);
        let mut wanted = joined.clone();
        wanted.push(master);
        wanted.sort_unstable();
        // Until it is a member the newcomer names the master that it was told, who may not be it.
        let (shard, members) = wait_for(&format!("round {round}: one shard"), SOON * 2, || {
            cluster.well()?;
            let shard = cluster.shard_of(master);
            let mut members = shard.replicas.clone();
            members.push(shard.master);
            members.sort_unstable();
            check(members == wanted, || format!("{members:?}, not {wanted:?}"))?;
            Ok((shard, members))
        });
        same_group(&cluster, &members);
        // Back to the first master, which the next round kills.
        if shard.master != master {
            cluster.nodes[master].ok(&["CLUSTER", "FAILOVER"]);
            cluster.wait_role(master, "master");
            cluster.wait_well();
        }
        // Two replicas at most, or the shard would grow with every round.
        if joined.len() == 2 {
            let gone = joined.remove(0);
            let id = cluster.nodes[gone].id();
            cluster.nodes[gone].ok(&["CLUSTER", "RESET", "HARD"]);
            cluster.nodes.remove(gone);
            joined.iter_mut().for_each(|i| *i -= usize::from(*i > gone));
            forget_everywhere(&cluster, &id, usize::MAX);
            cluster.wait_well();
        }
    }
    load.verify();
}

/// All members of a group say the same term, leader and number of members.
fn same_group(cluster: &Cluster, members: &[usize]) {
    wait_for("one leader, one term, one list of members", SOON, || {
        let mut seen: Option<Vec<Option<String>>> = None;
        for index in members {
            let node = &cluster.nodes[*index];
            let fields = ["raft_group", "raft_term", "raft_leader", "raft_members"];
            let says: Vec<_> = fields.iter().map(|f| node.info("raft", f)).collect();
            check(says.iter().all(Option::is_some), || {
                format!("{}: {says:?}", node.port)
            })?;
            match &seen {
                None => seen = Some(says),
                Some(first) => check(*first == says, || format!("{first:?}, {says:?}"))?,
            }
        }
        Ok(())
    });
}
