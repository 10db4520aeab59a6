//! A disk that is full, under the leader, the replica, or the witness of a shard: nothing that was
//! acknowledged is lost, the shard goes on as long as a majority can write, and the rest follows
//! when there is room again (D5).

use crate::common::skipped;
use crate::harness::{check, report, wait_for, Cluster, Turn, SOON};
use crate::load::Load;
use crate::members::Member;
use crate::routed::Routed;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Room for the log, two states of all that is written, and a witness: with 64 MB a node of 20 MB of log keeps 46 MB for
/// its snapshots, and is rightly full.
const DISK_MB: usize = 128;
/// Bytes per write: the node's segments, which are allocated already, are soon used up.
const PAYLOAD: usize = 50_000;

/// Small disks under the folders of nodes that do not run yet; unmounted when dropped.
struct Disks(Vec<PathBuf>);

impl Disks {
    fn mount(at: &Path, count: usize) -> Option<Disks> {
        let mut disks = Disks(Vec::new());
        for n in 0..count {
            let dir = at.join(format!("n{n}"));
            std::fs::create_dir_all(&dir).expect("a folder");
            let size = format!("size={DISK_MB}m");
            let mount = Command::new("mount")
                .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
                .arg(&dir)
                .output();
            if !mount.is_ok_and(|o| o.status.success()) {
                return None;
            }
            disks.0.push(dir);
        }
        Some(disks)
    }
}

impl Drop for Disks {
    fn drop(&mut self) {
        for dir in &self.0 {
            // Lazily: its node may still be ending when a test fails.
            let _ = Command::new("umount").arg("-l").arg(dir).output();
        }
    }
}

/// Takes all the room that is left.
fn fill(dir: &Path) -> PathBuf {
    let path = dir.join("ballast");
    let mut file = File::create(&path).expect("a file takes no room");
    let chunk = vec![1u8; 4096];
    while file.write_all(&chunk).is_ok() {}
    path
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Whose {
    Leader,
    Replica,
    Witness,
}

/// Writes values one after the other; how many were acknowledged by `until`, and whether the shard
/// still took writes when that was over.
fn write_on(
    client: &mut Routed,
    tag: &str,
    acked: &mut Vec<u64>,
    n: &mut u64,
    bytes: usize,
) -> bool {
    let end = Instant::now() + Duration::from_secs(8);
    let (mut done, mut last) = (0, false);
    while done < bytes && Instant::now() < end {
        *n += 1;
        let key = format!("{{{tag}}}:{n}");
        let value = format!("{n}").repeat(PAYLOAD / n.to_string().len());
        last = client.once(&key, &["SET", &key, &value]).is_ok();
        if last {
            acked.push(*n);
            done += value.len();
        }
    }
    last
}

fn full_disk(whose: Whose) {
    const NAME: &str = "full_disk";
    let mut cluster = Cluster::in_turn(Turn::alone(), 0, &[]);
    let Some(_disks) = Disks::mount(cluster.temp.path(), 6) else {
        return skipped(NAME, "can't mount a tmpfs here (needs root)");
    };
    for _ in 0..6 {
        cluster.add_node(&["--log-segment-size", "2mb"]);
    }
    cluster.create(1);
    cluster.wait_well();
    let shard = cluster.shards()[0].clone();
    let host = cluster.witness_host(&shard);
    let index = match whose {
        Whose::Leader => shard.master,
        Whose::Replica => shard.replicas[0],
        Whose::Witness => host,
    };
    let load = Load::start(&cluster, std::slice::from_ref(&shard), 1);
    load.wait_acks(0, 20);
    let tag = shard.tag(500);
    let mut client = Routed::new(&cluster.ports()).silence(Duration::from_secs(2));
    let (mut acked, mut n) = (Vec::new(), 0);
    write_on(&mut client, &tag, &mut acked, &mut n, 1 << 20);
    let ballast = fill(&cluster.nodes[index].dir);
    let full = Instant::now();
    let went_on = write_on(&mut client, &tag, &mut acked, &mut n, 12 << 20);
    let before = acked.len();
    let gap = load.gap(0, full, Instant::now());
    for node in &mut cluster.nodes {
        assert!(node.is_running(), "{} ended\n{}", node.port, node.log());
    }
    assert_eq!(cluster.nodes[index].cmd(&["PING"]).text(), "PONG");
    if whose != Whose::Leader {
        let members = cluster.nodes[shard.master].members().expect("it answers");
        let member = |m: &&Member| m.port == cluster.nodes[index].port;
        let matched = members.iter().find(member).expect("a member").matched;
        let last = cluster.nodes[shard.master].raft_number("raft_last");
        assert!((matched as u64) < last, "it has room: {matched} of {last}");
    }
    // A crash on a full disk loses nothing either.
    cluster.nodes[index].kill9();
    cluster.nodes[index].start();
    std::fs::remove_file(&ballast).expect("the ballast goes");
    let freed = Instant::now();
    wait_for("writes go on when there is room", SOON, || {
        write_on(&mut client, &tag, &mut acked, &mut n, 1);
        check(acked.len() > before, || "not yet".into())
    });
    let resumed = freed.elapsed();
    cluster.wait_well();
    if whose != Whose::Leader {
        assert!(went_on, "a majority had room");
        let master = cluster.shard_of(shard.master).master;
        println!("led by {master}, before by {}", shard.master);
    }
    for n in &acked {
        let key = format!("{{{tag}}}:{n}");
        let length = (PAYLOAD / n.to_string().len()) * n.to_string().len();
        let reply = client.until(SOON, &key, &["STRLEN", &key]).value;
        assert_eq!(reply.int(), length as i64, "acknowledged write {n}");
    }
    load.verify();
    report(
        &format!("a full disk, the {whose:?}'s").to_lowercase(),
        &format!(
            "{} writes of 50 kB kept; went on while full: {went_on}; longest wait {} ms; {} ms to \
             the next write when freed",
            acked.len(),
            gap.as_millis(),
            resumed.as_millis()
        ),
    );
}

#[test]
fn full_disk_of_a_leader() {
    full_disk(Whose::Leader);
}

#[test]
fn full_disk_of_a_replica() {
    full_disk(Whose::Replica);
}

#[test]
fn full_disk_of_a_witness() {
    full_disk(Whose::Witness);
}
