//! Witnesses: who hosts them is seen; a lost, reset or taken host is replaced; one that alone has
//! what was acknowledged hands it to the replica and serves nobody (W1, W3).

use crate::common::resp::Value;
use crate::harness::{check, report, rounds, summary, wait_for, Cluster, Shard, SOON};
use crate::load::Load;
use crate::members::{names, Member, FIELDS};
use crate::restart::{forget_everywhere, join, wipe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// RESET waits for its removal so long at most (C1), and the machine may be busy.
const RESET: Duration = Duration::from_millis(1500);

#[test]
fn who_hosts_what_is_seen() {
    let cluster = Cluster::formed(3, 1);
    for shard in cluster.shards() {
        let all: Vec<usize> = [vec![shard.master], shard.replicas.clone()].concat();
        let reply = cluster.nodes[shard.master].cmd(&["CLUSTER", "RAFT", "MEMBERS"]);
        for one in reply.items() {
            assert_eq!(names(one), FIELDS);
        }
        let status = cluster.nodes[shard.master].cmd(&["CLUSTER", "RAFT", "STATUS"]);
        let wanted = [
            "group",
            "incarnation",
            "id",
            "role",
            "leader",
            "term",
            "commit",
            "applied",
            "last",
            "lease",
            "tail-entries",
            "tail-bytes",
            "ha",
            "first",
            "snapshot",
            "members",
        ];
        assert_eq!(names(&status), wanted);
        // Every member says the same; what it last heard only the leader knows of all.
        for index in &all {
            let members = cluster.nodes[*index].members().expect("it answers");
            let witnesses: Vec<&Member> = members.iter().filter(|m| m.witness).collect();
            assert_eq!((members.len(), witnesses.len()), (3, 1), "{members:?}");
            assert!(members.iter().all(|m| m.voter), "{members:?}");
            let host = cluster.index_of(witnesses[0].port);
            assert!(
                !all.contains(&host),
                "the host is of the shard: {members:?}"
            );
            for member in &members {
                let node = &cluster.nodes[cluster.index_of(member.port)];
                assert_eq!(node.id(), member.node, "{member:?}");
            }
            let data = members.iter().filter(|m| !m.witness).map(|m| m.port);
            let mut data: Vec<usize> = data.map(|p| cluster.index_of(p)).collect();
            data.sort_unstable();
            let mut wanted = all.clone();
            wanted.sort_unstable();
            assert_eq!(data, wanted);
        }
        wait_for("the leader has heard all, who have all", SOON, || {
            let members = cluster.nodes[shard.master].members()?;
            let heard = |m: &Member| (0..1000).contains(&m.heard_ms) && m.matched > 0;
            let same = members.iter().all(|m| m.matched == members[0].matched);
            check(members.iter().all(heard) && same, || format!("{members:?}"))
        });
    }
}

/// A shard, the member that is its witness, and that one's host: a replica of another shard.
fn witnessed(cluster: &Cluster) -> (Shard, Member, usize) {
    let shard = cluster.shards()[0].clone();
    let host = cluster.witness_host(&shard);
    let witness = cluster.witness(&shard).expect("it has one");
    let role = cluster.nodes[host].info("replication", "role");
    assert_eq!(
        role.as_deref(),
        Some("slave"),
        "replicas before masters (W3)"
    );
    (shard, witness, host)
}

#[test]
fn a_wiped_witness_host_is_replaced() {
    let mut cluster = Cluster::formed(3, 1);
    let (shard, witness, host) = witnessed(&cluster);
    let home = cluster.shard_of(host);
    let load = Load::start(&cluster, &[shard.clone(), home.clone()], 1);
    load.wait_acks_everywhere(20);
    let old = cluster.nodes[host].id();
    cluster.nodes[host].kill9();
    let from = Instant::now();
    wipe(&cluster.nodes[host].dir, &[]);
    cluster.nodes[host].start();
    assert_ne!(cluster.nodes[host].id(), old, "a wiped node is a new one");
    let port = cluster.nodes[shard.master].port.to_string();
    cluster.nodes[host].ok(&["CLUSTER", "MEET", "127.0.0.1", &port]);
    let new = cluster.wait_other_witness(&shard, &witness);
    report(
        "a wiped witness host, to another witness",
        &format!("{} ms", from.elapsed().as_millis()),
    );
    assert_ne!(new.node, old);
    let failures = load.failures(0, from);
    assert!(failures.is_empty(), "its clients noticed: {failures:?}");
    // Back into its own shard under its new id: all is as before.
    forget_everywhere(&cluster, &old, host);
    join(&cluster, host, home.master);
    cluster.wait_well();
    load.verify();
}

#[test]
fn reset_of_a_witness_host_replaces_it_first() {
    let cluster = Cluster::formed_alone(3, 1);
    let (shard, witness, host) = witnessed(&cluster);
    let home = cluster.shard_of(host);
    let load = Load::start(&cluster, &[shard.clone(), home.clone()], 1);
    load.wait_acks_everywhere(20);
    let id = cluster.nodes[host].id();
    let from = Instant::now();
    cluster.nodes[host].ok(&["CLUSTER", "RESET"]);
    let took = from.elapsed();
    report(
        "RESET of a witness host",
        &format!("{} ms", took.as_millis()),
    );
    assert!(took <= RESET, "{took:?}");
    let mine = cluster.nodes[host].view();
    assert_eq!(mine.len(), 1, "{mine:?}");
    assert_eq!(mine[0].id, id, "a soft reset keeps the id");
    assert!(
        mine[0].has("master") && mine[0].slots.is_empty(),
        "{mine:?}"
    );
    let new = cluster.wait_other_witness(&shard, &witness);
    assert_ne!(new.node, id);
    let noticed = [load.failures(0, from), load.failures(1, from)].concat();
    assert!(noticed.is_empty(), "clients noticed: {noticed:?}");
    // Without FORGET, which would keep an id that stays the same away for a minute, as in Redis.
    join(&cluster, host, home.master);
    cluster.wait_well();
    load.verify();
}

#[test]
fn replicate_onto_the_shard_that_it_witnesses() {
    let cluster = Cluster::formed(3, 1);
    let (shard, _, host) = witnessed(&cluster);
    let home = cluster.shard_of(host);
    let load = Load::start(&cluster, &[shard.clone(), home.clone()], 1);
    load.wait_acks_everywhere(20);
    let from = Instant::now();
    let master = cluster.nodes[shard.master].id();
    cluster.nodes[host].ok(&["CLUSTER", "REPLICATE", &master]);
    wait_for("three data voters and no witness", SOON, || {
        let members = cluster.nodes[shard.master].members()?;
        let voters = members.iter().filter(|m| m.voter && !m.witness).count();
        check((members.len(), voters) == (3, 3), || format!("{members:?}"))?;
        let ports: Vec<u16> = members.iter().map(|m| m.port).collect();
        let is_in = ports.contains(&cluster.nodes[host].port);
        check(is_in, || format!("{members:?}"))?;
        let left = cluster.nodes[home.master].members()?;
        check(left.len() == 1 && left[0].voter, || {
            format!("the shard that it left: {left:?}")
        })
    });
    cluster.wait_well();
    assert_eq!(cluster.shard_of(host).master, shard.master);
    let noticed = [load.failures(0, from), load.failures(1, from)].concat();
    assert!(noticed.is_empty(), "clients noticed: {noticed:?}");
    load.verify();
}

/// Asks a node for a key of another shard, over and over, until told to stop; how often.
fn never_served(port: u16, key: String, stop: Arc<AtomicBool>) -> JoinHandle<usize> {
    std::thread::spawn(move || {
        let connect = || crate::common::resp::Client::connect(port).expect("the host is up");
        let (mut plain, mut readonly) = (connect(), connect());
        assert!(readonly.cmd(&["READONLY"]).is_ok());
        let mut asked = 0;
        while !stop.load(Ordering::Relaxed) {
            for client in [&mut plain, &mut readonly] {
                for words in [vec!["GET", &key], vec!["SET", &key, "by the witness"]] {
                    let reply = client.cmd(&words);
                    let refused = matches!(&reply, Value::Error(e)
                        if e.starts_with(b"MOVED ") || e.starts_with(b"CLUSTERDOWN "));
                    assert!(
                        refused,
                        "the witness's host answers {words:?} with {reply:?}"
                    );
                    asked += 1;
                }
            }
        }
        asked
    })
}

/// What was acknowledged is on the leader and the witness only, and the leader dies. Here because
/// the replica was down; because of its link in `partition.rs`.
#[test]
fn entries_on_leader_and_witness_only() {
    let mut cluster = Cluster::formed(3, 1);
    let mut times = Vec::new();
    for round in 0..rounds(2) {
        cluster.wait_well();
        let shard = cluster.shards()[round % 3].clone();
        let (master, replica) = (shard.master, shard.replicas[0]);
        let host = cluster.witness_host(&shard);
        let witness = cluster.witness(&shard).expect("it has one");
        let load = Load::start(&cluster, std::slice::from_ref(&shard), 2);
        load.wait_acks(0, 20);
        let stop = Arc::new(AtomicBool::new(false));
        let asked = cluster.nodes[host].port;
        let asking = never_served(asked, format!("{{{}}}:1", shard.tag(7)), stop.clone());
        let term = cluster.nodes[replica].raft_number("raft_term");
        // Not SIGSTOP: what lies in its sockets would reach it when it goes on.
        cluster.nodes[replica].kill9();
        load.wait_acks(0, 50);
        let port = cluster.nodes[master].port;
        let killed = Instant::now();
        cluster.nodes[master].kill9();
        cluster.nodes[replica].start();
        let mut witness_led = false;
        let ack = wait_for("the replica has all and serves", SOON, || {
            let leader = cluster.nodes[replica].info("raft", "raft_leader");
            witness_led |= leader.as_ref() == Some(&witness.id);
            load.first_ack(0, killed, port)
                .ok_or_else(|| format!("{:?}", load.failures(0, killed).last()))
        });
        times.push(ack.at - killed);
        assert_eq!(ack.port, cluster.nodes[replica].port);
        // The replica lacked what was acknowledged: it can't have been elected by the witness.
        let now = cluster.nodes[replica].raft_number("raft_term");
        assert!(
            now >= term + 2,
            "term {term}, then {now}: nobody led between"
        );
        stop.store(true, Ordering::Relaxed);
        let asked = asking.join().expect("nobody was served by the witness");
        println!(
            "round {round}: {:?}, term {term} to {now}, the witness seen to lead: {witness_led}, \
             its host refused {asked} requests",
            ack.at - killed
        );
        load.verify();
        cluster.nodes[master].start();
    }
    cluster.wait_well();
    report(
        "entries on leader and witness only, the replica starts",
        &summary(&times),
    );
}
