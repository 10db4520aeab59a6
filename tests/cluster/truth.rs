//! What nodes say of themselves while something is broken: no quorum, a dead replica, a replica that
//! could not take over yet.

use crate::harness::{check, wait_for, Cluster, SOON};

/// Of three voters two are gone: those who are left must not look well.
#[test]
fn a_shard_without_quorum_says_so() {
    let mut cluster = Cluster::formed(3, 1);
    let shard = cluster.shards()[0].clone();
    let host = cluster.witness_host(&shard);
    let (master, replica) = (shard.master, shard.replicas[0]);
    let gone = [cluster.nodes[replica].id(), cluster.nodes[host].id()];
    assert_eq!(cluster.nodes[master].raft_number("raft_quorum"), 1);
    let told = |cluster: &Cluster| {
        let log = cluster.nodes[master].log();
        let lines = log.lines().filter(|l| l.contains("NO QUORUM"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let before = told(&cluster).len();
    cluster.nodes[replica].kill9();
    cluster.nodes[host].kill9();
    let says = |cluster: &Cluster, state: &str, quorum: &str| {
        let node = &cluster.nodes[master];
        let is = node.cluster_info("cluster_state");
        check(is.as_deref() == Some(state), || format!("state {is:?}"))?;
        let is = node.info("raft", "raft_quorum");
        check(is.as_deref() == Some(quorum), || format!("quorum {is:?}"))
    };
    wait_for("the master says that it has no quorum", SOON, || {
        says(&cluster, "fail", "0")
    });
    let lines = told(&cluster);
    assert_eq!(lines.len(), before + 1, "{lines:?}");
    for id in &gone {
        assert!(lines[before].contains(id), "{id} is not in: {lines:?}");
    }
    cluster.nodes[replica].start();
    cluster.nodes[host].start();
    wait_for("the shard has a quorum again", SOON, || {
        says(&cluster, "ok", "1")
    });
    wait_for("the log says so", SOON, || {
        let log = cluster.nodes[master].log();
        check(log.contains("This shard has a quorum again"), || log)
    });
}

/// Its link is lost when it is killed; while it only stands still it lags.
#[test]
fn a_dead_replica_is_no_connected_slave() {
    let mut cluster = Cluster::formed(3, 1);
    let shard = cluster.shards()[0].clone();
    let (master, replica) = (shard.master, shard.replicas[0]);
    let slaves = |cluster: &Cluster, wanted: usize| {
        let node = &cluster.nodes[master];
        let count = node.info("replication", "connected_slaves");
        check(count == Some(wanted.to_string()), || format!("{count:?}"))?;
        let role = node.cmd(&["ROLE"]);
        let listed = role.items()[2].items().len();
        check(listed == wanted, || format!("ROLE: {role:?}"))
    };
    wait_for("the replica is connected", SOON, || slaves(&cluster, 1));
    cluster.nodes[replica].signal(libc::SIGSTOP);
    wait_for("it lags", SOON, || {
        let slave = cluster.nodes[master].info("replication", "slave0");
        let lag = slave.as_ref().and_then(|s| s.rsplit_once("lag="));
        let lag = lag.and_then(|(_, lag)| lag.parse::<u64>().ok());
        check(lag.is_some_and(|lag| lag >= 2), || format!("{slave:?}"))
    });
    cluster.nodes[replica].signal(libc::SIGCONT);
    cluster.wait_well();
    let port = cluster.nodes[replica].port;
    cluster.nodes[replica].kill9();
    wait_for("it is dropped", SOON, || slaves(&cluster, 0));
    cluster.nodes[replica].start();
    wait_for("it is connected again", SOON, || slaves(&cluster, 1));
    let slave = cluster.nodes[master].info("replication", "slave0");
    let names = slave
        .as_ref()
        .is_some_and(|s| s.contains(&port.to_string()));
    assert!(names, "{slave:?}");
}

/// A master that is killed as soon as its replica says `up`: the replica has to take over.
#[test]
fn a_replica_that_is_up_takes_over() {
    let mut cluster = Cluster::bare(6);
    cluster.create(1);
    for shard in cluster.shards() {
        let replica = &cluster.nodes[shard.replicas[0]];
        wait_for("the replica's link is up", SOON, || {
            let link = replica.info("replication", "master_link_status");
            check(link.as_deref() == Some("up"), || format!("{link:?}"))
        });
        cluster.nodes[shard.master].kill9();
        cluster.wait_role(shard.replicas[0], "master");
        cluster.nodes[shard.master].start();
        cluster.wait_well();
    }
}

/// As in Redis's log, the letter behind the process id.
#[test]
fn lines_of_the_log_name_the_role() {
    let cluster = Cluster::formed(3, 1);
    let shard = &cluster.shards()[0];
    for (at, letter) in [(shard.master, ":M "), (shard.replicas[0], ":S ")] {
        let node = &cluster.nodes[at];
        node.ok(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
        wait_for("the line about it", SOON, || {
            let log = node.log();
            let line = log.lines().find(|l| l.contains("maxmemory-policy"));
            let line = line.ok_or("it is not there")?;
            check(line.contains(letter), || line.to_owned())
        });
    }
}
