//! What destroyed a shard once: a file that is missing, frames that nobody has sent. The default
//! configuration: no password guards the links.

use crate::harness::{check, wait_for, Cluster, SOON};
use crate::node::Node;
use crate::raft_link::{frame, link, unhex, varint};
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A member of a group, as CLUSTER RAFT tells it to anybody.
struct Known {
    group: u64,
    raft_id: u64,
    term: u64,
}

fn hex(node: &Node, field: &str) -> u64 {
    let text = node.info("raft", field).expect("a member says who it is");
    u64::from_str_radix(&text, 16).expect("hex")
}

fn known(node: &Node) -> Known {
    Known {
        group: hex(node, "raft_group"),
        raft_id: hex(node, "raft_id"),
        term: node.raft_number("raft_term"),
    }
}

fn numbers(kind: u8, numbers: &[u64]) -> Vec<u8> {
    let mut bytes = vec![kind];
    numbers.iter().for_each(|n| bytes.extend(n.to_le_bytes()));
    bytes
}

/// A leader's heartbeat, of a term of its own choice.
fn heartbeat(to: &Known, from: u64, term: u64, commit: u64) -> Vec<u8> {
    let mut bytes = vec![0, 1];
    for value in [to.group, 1, from, to.raft_id, term, 0, 1, 0] {
        bytes.extend(value.to_le_bytes());
    }
    varint(&mut bytes, 1, 8);
    varint(&mut bytes, 2, to.raft_id);
    varint(&mut bytes, 3, from);
    varint(&mut bytes, 4, term);
    varint(&mut bytes, 8, commit);
    bytes
}

fn alone() -> Cluster {
    let cluster = Cluster::bare(1);
    cluster.nodes[0].ok(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    wait_for("it serves", SOON, || {
        let reply = cluster.nodes[0].cmd(&["SET", "k", "v"]);
        check(reply.is_ok(), || format!("{reply:?}"))
    });
    cluster
}

/// A master with all slots and one replica that has its data.
fn pair() -> Cluster {
    let mut cluster = alone();
    let replica = cluster.add_node(&[]);
    let (ports, master) = (cluster.ports(), cluster.nodes[0].id());
    let node = &cluster.nodes[replica];
    node.ok(&["CLUSTER", "MEET", "127.0.0.1", &ports[0].to_string()]);
    wait_for("it may follow", SOON, || {
        let reply = node.cmd(&["CLUSTER", "REPLICATE", &master]);
        check(reply.is_ok(), || format!("{reply:?}"))
    });
    wait_for("it has the data", SOON, || {
        let size = node.cmd(&["DBSIZE"]);
        check(size.int() == 1, || format!("{size:?}"))
    });
    cluster
}

fn folder(node: &Node) -> PathBuf {
    let path = std::fs::read_dir(&node.dir).expect("a folder");
    let found = path
        .map(|e| e.expect("an entry").path())
        .find(|p| p.join("identity").exists());
    found.unwrap_or_else(|| panic!("no identity under {}", node.dir.display()))
}

fn names(dir: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).expect("a folder");
    let name = |e: std::io::Result<std::fs::DirEntry>| e.expect("an entry").file_name();
    entries
        .map(|e| name(e).to_string_lossy().into_owned())
        .collect()
}

/// S4: the 60 bytes of the identity are not worth more than the data that they name.
#[test]
fn a_missing_identity_costs_no_data() {
    let mut cluster = alone();
    let node = &mut cluster.nodes[0];
    let dir = folder(node);
    node.kill9();
    let identity = std::fs::read(dir.join("identity")).expect("it was there");
    std::fs::remove_file(dir.join("identity")).expect("it goes");
    let before = names(&dir);
    node.spawn();
    let status = node.wait_exit(SOON);
    assert!(!status.success(), "{}", node.log());
    assert_eq!(names(&dir), before, "nothing was made, nothing removed");
    let said = node.log();
    assert!(
        said.contains("identity") && said.contains("lost-"),
        "{said}"
    );
    std::fs::write(dir.join("identity"), identity).expect("it comes back");
    node.start();
    wait_for("its data are back", SOON, || {
        let reply = node.cmd(&["GET", "k"]);
        check(reply.text() == "v", || format!("{reply:?}"))
    });
}

/// G2: an only voter can't have lost log to another leader.
#[test]
fn a_forged_heartbeat_ends_no_lone_master() {
    let mut cluster = alone();
    let node = &mut cluster.nodes[0];
    let (pid, me, to) = (node.pid(), known(node), node.id());
    for (from, term) in [
        (7, me.term),
        (7, me.term + 1),
        (me.raft_id ^ 1, me.term + 5),
    ] {
        let mut stream = link(node.port, 0, &[9; 20], &to);
        let bytes = heartbeat(&me, from, term, 1 << 40);
        stream.write_all(&frame(&bytes)).expect("it reads");
    }
    let end = Instant::now() + Duration::from_secs(3);
    while Instant::now() < end {
        assert!(node.is_running(), "{}", node.log());
        std::thread::sleep(Duration::from_millis(50)); // the forgery has that long to act
    }
    wait_for("it serves what it had", SOON, || {
        let reply = node.cmd(&["GET", "k"]);
        check(reply.text() == "v", || format!("{reply:?}"))
    });
    assert_eq!((node.pid(), known(node).raft_id), (pid, me.raft_id));
}

/// G2: nothing that a node says unproved, in another's name, ends a member.
#[test]
fn forged_words_end_no_member() {
    let mut cluster = pair();
    let (master, replica) = (known(&cluster.nodes[0]), known(&cluster.nodes[1]));
    let name = unhex(&cluster.nodes[0].id());
    let (group, raft_id) = (replica.group, replica.raft_id);
    let node = &cluster.nodes[1];
    for bytes in [
        numbers(6, &[group, raft_id]),                 // LEFT
        numbers(11, &[group, raft_id, u64::MAX >> 1]), // NOT-A-MEMBER
        heartbeat(&replica, master.raft_id, master.term, 1 << 40),
    ] {
        let mut stream = link(node.port, 0, &name, &node.id());
        stream.write_all(&frame(&bytes)).expect("it reads");
    }
    // In the replica's name, to its leader: it is gone, it wants to go; somebody wants to join.
    let other = unhex(&cluster.nodes[1].id());
    let node = &cluster.nodes[0];
    for bytes in [
        numbers(10, &[group, raft_id]),
        numbers(5, &[group, raft_id]),
        numbers(3, &[group, 4711]),
        numbers(8, &[group, 4712]),
    ] {
        let mut stream = link(node.port, 0, &other, &node.id());
        stream.write_all(&frame(&bytes)).expect("it reads");
    }
    let end = Instant::now() + Duration::from_secs(4);
    while Instant::now() < end {
        for node in &mut cluster.nodes {
            assert!(node.is_running(), "{}", node.log());
        }
        let members = cluster.nodes[0].members().expect("it answers");
        assert_eq!(members.len(), 2, "{members:?}");
        assert_eq!(
            hex(&cluster.nodes[1], "raft_id"),
            raft_id,
            "{}",
            cluster.nodes[1].log()
        );
        std::thread::sleep(Duration::from_millis(50)); // the forgery has that long to act
    }
    assert_eq!(cluster.nodes[1].cmd(&["DBSIZE"]).int(), 1);
}
