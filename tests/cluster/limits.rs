//! What is too much or takes too long: a replica that does not answer, a value of 100 MB, a command
//! of five seconds, a thousand readers of what is not committed. No election, bounded memory.

use crate::common::raise_open_files;
use crate::common::resp::{encode, Client, Value};
use crate::harness::{check, report, wait_for, Cluster, Turn, SOON};
use crate::load::Load;
use crate::node::Node;
use crate::restart::join;
use std::time::{Duration, Instant};

const MB: usize = 1 << 20;
const STOPPED: Duration = Duration::from_secs(3);

/// A cluster of one master, node 0, and one replica: there is nobody to host a witness.
pub fn pair(turn: Turn) -> Cluster {
    let cluster = Cluster::in_turn(turn, 2, &[]);
    cluster.nodes[0].ok(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    join(&cluster, 1, 0);
    wait_in_sync(&cluster, 0);
    cluster
}

/// The master of a pair hears its replica, which is at most so many entries behind. Without a witness
/// the replica has no vote, so its link is never `up`.
pub fn follows(master: &Node, replica: &Node, behind: u64) -> Result<(), String> {
    let members = master.members()?;
    let found = members.iter().find(|m| m.port == replica.port);
    let member = found.ok_or_else(|| format!("no member: {members:?}"))?;
    let last = master.raft_number("raft_last");
    let near = member.matched as u64 + behind >= last && (0..1000).contains(&member.heard_ms);
    check(near, || format!("{member:?} of {last}"))
}

/// Waits until the other node of a pair has all that its master has.
pub fn wait_in_sync(cluster: &Cluster, master: usize) {
    let (master, replica) = (&cluster.nodes[master], &cluster.nodes[1 - master]);
    wait_for("the replica is in sync", SOON, || {
        cluster.agreed()?;
        follows(master, replica, 0)?;
        let (ours, theirs) = (master.cmd(&["DBSIZE"]), replica.cmd(&["DBSIZE"]));
        check(ours == theirs, || format!("{ours:?} keys, {theirs:?}"))
    });
}

/// The replica must never be needed for a commit.
#[test]
fn a_master_alone_with_its_paused_replica_writes_on() {
    let cluster = pair(Turn::alone());
    let (master, replica) = (&cluster.nodes[0], &cluster.nodes[1]);
    let load = Load::start(&cluster, &cluster.shards(), 2);
    load.wait_acks(0, 50);
    let term = master.raft_number("raft_term");
    replica.signal(libc::SIGSTOP);
    let from = Instant::now();
    std::thread::sleep(STOPPED); // it is the time asleep that is tested
    let gap = load.gap(0, from, Instant::now());
    let ha = master.info("raft", "raft_ha");
    replica.signal(libc::SIGCONT);
    load.wait_acks(0, 20);
    assert!(gap < Duration::from_secs(1), "writes stood still: {gap:?}");
    assert_eq!(ha.as_deref(), Some("0"), "it can't survive its master");
    let failures = load.failures(0, from);
    assert!(failures.is_empty(), "{failures:?}");
    assert_eq!(master.raft_number("raft_term"), term);
    report(
        "1 + 1, the replica paused: longest wait for a write",
        &format!("{} ms", gap.as_millis()),
    );
    load.verify();
    wait_in_sync(&cluster, 0);
}

fn terms(cluster: &Cluster) -> Vec<(u64, Option<String>)> {
    let term = |n: &crate::node::Node| (n.raft_number("raft_term"), n.info("raft", "raft_leader"));
    cluster.nodes.iter().map(term).collect()
}

/// T8, T9: neither stalls the leader's heartbeats.
#[test]
fn a_value_of_100_mb_and_a_sleep_cause_no_election() {
    // The bus does not breathe: a node that sleeps for longer than its timeout counts as failed, in
    // Redis too.
    let args = [
        "--enable-debug-command",
        "yes",
        "--cluster-node-timeout",
        "15000",
    ];
    let cluster = Cluster::in_turn(Turn::alone(), 6, &args);
    cluster.create(1);
    cluster.wait_well();
    let shards = cluster.shards();
    let load = Load::start(&cluster, &shards[1..], 1);
    load.wait_acks_everywhere(5);
    let before = terms(&cluster);
    let from = Instant::now();
    let (master, replica) = (shards[0].master, shards[0].replicas[0]);
    let mut client = cluster.nodes[master].client();
    let stream = client.stream();
    stream
        .set_read_timeout(Some(SOON))
        .expect("a socket option");

    let tag = shards[0].tag(1);
    let value: Vec<u8> = (0..100 * MB).map(|n| ((n * 31) >> 7) as u8).collect();
    let set = client.cmd(&[b"SET".as_slice(), tag.as_bytes(), &value]);
    assert!(set.is_ok(), "{set:?}");
    let wrote = from.elapsed();
    let slept = Instant::now();
    assert!(client.cmd(&["DEBUG", "SLEEP", "5"]).is_ok());
    assert!(slept.elapsed() >= Duration::from_secs(5));
    report(
        "a SET of 100 MB on three members",
        &format!("{} ms", wrote.as_millis()),
    );
    assert!(client
        .cmd(&["SET", &format!("{{{tag}}}after"), "v"])
        .is_ok());
    wait_for("the replica has the value", SOON, || {
        let mut reader = cluster.nodes[replica].client();
        let asked = reader.cmd(&["READONLY"]);
        assert!(asked.is_ok());
        let length = reader.cmd(&["STRLEN", &tag]);
        check(length == Value::Int(value.len() as i64), || {
            format!("{length:?}")
        })
    });
    assert_eq!(terms(&cluster), before, "an election");
    for shard in 0..2 {
        let failures = load.failures(shard, from);
        assert!(failures.is_empty(), "{failures:?}");
    }
    load.verify();
    let read = client.cmd(&["GET", &tag]);
    assert!(read == Value::Bulk(value), "it is another value");
    cluster.wait_well();
}

/// T4: replies that wait for a commit that does not come. With a long election timeout, so that the
/// lease is still valid when the readers come: without it nothing would be executed
/// at all. Not much longer either: followers are heard once in a tenth of it.
#[test]
fn a_thousand_readers_of_what_is_not_committed() {
    const READERS: usize = 1000;
    const EACH: usize = 6;
    if raise_open_files() < 4096 {
        return crate::common::skipped("a_thousand_readers", "too few open files");
    }
    let args = [
        "--held-output-limit",
        "1mb",
        "--cluster-raft-election-timeout",
        "6000",
    ];
    let cluster = Cluster::in_turn(Turn::alone(), 6, &args);
    cluster.create(1);
    cluster.wait_well();
    let shard = cluster.shards()[0].clone();
    let host = cluster.witness_host(&shard);
    let (master, replica) = (
        &cluster.nodes[shard.master],
        &cluster.nodes[shard.replicas[0]],
    );
    let key = format!("{{{}}}big", shard.tag(3));
    let value = vec![b'v'; MB];
    let get = encode(&["GET", &key]).repeat(EACH);
    let mut readers: Vec<Client> = (0..READERS).map(|_| master.client()).collect();
    let before = master.rss();
    replica.signal(libc::SIGSTOP);
    cluster.nodes[host].signal(libc::SIGSTOP);
    let from = Instant::now();
    let mut writer = master.client();
    let set = [b"SET".as_slice(), key.as_bytes(), &value];
    writer.send(&set).expect("its socket takes it");
    wait_for("it is executed", SOON, || {
        let tail = master.raft_number("raft_tail_entries");
        check(tail > 0, || "nothing in the tail".into())
    });
    for reader in &mut readers {
        reader.send_raw(&get).expect("its socket takes it");
    }
    let sent = from.elapsed();
    let (mut most, mut slowest) = (0, Duration::ZERO);
    while from.elapsed() < Duration::from_secs(4) {
        let asked = Instant::now();
        assert_eq!(master.cmd(&["PING"]).text(), "PONG");
        slowest = slowest.max(asked.elapsed());
        most = most.max(master.rss().saturating_sub(before));
        std::thread::sleep(Duration::from_millis(20)); // between two looks
    }
    replica.signal(libc::SIGCONT);
    cluster.nodes[host].signal(libc::SIGCONT);
    let mut answered = 0;
    for reader in &mut readers {
        let limit = Some(SOON);
        reader.stream().set_read_timeout(limit).expect("an option");
        for _ in 0..EACH {
            match reader.receive() {
                Ok(Value::Bulk(bytes)) if bytes == value => answered += 1,
                Ok(other) => panic!(
                    "{}",
                    format!("{other:?}").chars().take(200).collect::<String>()
                ),
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => panic!("silence: {e}"),
                Err(_) => break, // closed: the outcome was unknown
            }
            most = most.max(master.rss().saturating_sub(before));
        }
    }
    report(
        "1,000 readers of 1 MB that is not committed",
        &format!(
            "{} MB more at most; {answered} of {} answered; sent within {} ms; slowest PING {} ms",
            most / MB as u64,
            READERS * EACH,
            sent.as_millis(),
            slowest.as_millis()
        ),
    );
    assert!(answered > 0, "nobody waited for the commit");
    // Each may hold its limit and the reply that passes it, in a buffer that grows by doubling.
    assert!(
        most < (READERS * 3 + 256) as u64 * MB as u64,
        "{} MB",
        most / MB as u64
    );
    drop(readers);
    wait_for("its memory comes back", SOON, || {
        let more = master.rss().saturating_sub(before);
        check(more < 256 * MB as u64, || {
            format!("{} MB more", more / MB as u64)
        })
    });
    cluster.wait_well();
}
