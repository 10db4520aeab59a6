//! Logs of a cluster have an end: a member that was away for long, and one that is new, are given a state (D7, P15).

use crate::common::resp::{Client, Value};
use crate::harness::{check, wait_for, Cluster, Shard, SOON};
use crate::node::Node;
use std::path::Path;

const MIB: usize = 1 << 20;
/// As much log is always kept (P11), and as much again for members that lack it.
const FLOOR: u64 = 64 << 20;

fn number(node: &Node, field: &str) -> u64 {
    let text = node.info("raft", field);
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Writes 1 MiB values to ten keys, in turn.
fn write(client: &mut Client, tag: &str, count: usize) {
    let value = "x".repeat(MIB);
    for n in 0..count {
        let key = format!("{{{tag}}}{}", n % 10);
        let value = format!("{n} {value}");
        assert!(client.cmd(&["SET", &key, &value]).is_ok());
    }
}

/// What a node shows under the keys.
fn shown(node: &Node, tag: &str) -> Result<Vec<String>, String> {
    let mut client = node.try_client().map_err(|e| e.to_string())?;
    client.cmd(&["READONLY"]);
    (0..10)
        .map(|n| {
            let key = format!("{{{tag}}}{n}");
            match client.cmd(&["GETRANGE", &key, "0", "9"]) {
                Value::Bulk(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
                other => Err(format!("{other:?}")),
            }
        })
        .collect()
}

/// The leader makes a snapshot, and its log begins later.
fn trim(node: &Node) {
    let before = number(node, "raft_first_index");
    let said = node.cmd(&["BGREWRITEAOF"]).text();
    assert!(
        said.contains("started") || said.contains("scheduled"),
        "{said}"
    );
    wait_for("the log begins later", SOON, || {
        let first = number(node, "raft_first_index");
        check(first > before, || format!("it begins at {first}"))
    });
}

fn has_caught_up(cluster: &Cluster, leader: usize, node: usize, tag: &str) -> Result<(), String> {
    let node = &cluster.nodes[node];
    let loads = node.info("persistence", "loading");
    check(loads.as_deref() == Some("0"), || {
        format!("loading: {loads:?}")
    })?;
    let first = number(node, "raft_first_index");
    check(first > 2, || {
        "its log goes back to the beginning".to_string()
    })?;
    let (own, theirs) = (shown(&cluster.nodes[leader], tag)?, shown(node, tag)?);
    check(own == theirs, || format!("{theirs:?}, not {own:?}"))
}

fn bytes_below(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let length = |file: std::fs::DirEntry| file.metadata().map_or(0, |m| m.len());
    files.map(length).sum()
}

/// Bytes in the folders of the witnesses that nodes host.
fn witnesses(cluster: &Cluster) -> Vec<u64> {
    let mut all = Vec::new();
    for node in &cluster.nodes {
        let own = node.dir.join("appendonlydir-nodes");
        let folders = std::fs::read_dir(own)
            .expect("a node's own folder")
            .flatten();
        for folder in folders {
            if folder.file_name().to_string_lossy().starts_with("witness-") {
                all.push(bytes_below(&folder.path()));
            }
        }
    }
    all
}

fn wait_ha(node: &Node) {
    wait_for("the shard survives a loss", SOON, || {
        let ha = number(node, "raft_ha");
        check(ha == 1, || format!("raft_ha:{ha}\n{}", node.log()))
    });
}

#[test]
fn members_behind_the_log_are_given_a_state() {
    let mut cluster = Cluster::formed(3, 1);
    let Shard {
        master, replicas, ..
    } = cluster.shards()[0].clone();
    let (replica, tag) = (replicas[0], cluster.shards()[0].tag(1));
    let mut client = cluster.nodes[master].client();
    write(&mut client, &tag, 20);
    cluster.nodes[replica].kill9();
    write(&mut client, &tag, 150);
    trim(&cluster.nodes[master]);
    assert!(number(&cluster.nodes[master], "raft_log_bytes") < 2 * FLOOR);

    cluster.nodes[replica].start();
    wait_for("the replica has the state", SOON, || {
        has_caught_up(&cluster, master, replica, &tag)
    });
    wait_ha(&cluster.nodes[master]);
    // Now all have what a witness keeps (W1): it goes as well.
    write(&mut client, &tag, 150);
    wait_for("no witness keeps it all", SOON, || {
        let all = witnesses(&cluster);
        let one_a_shard = all.len() >= cluster.shards().len();
        let short = all.iter().all(|bytes| *bytes < 3 * FLOOR);
        check(one_a_shard && short, || format!("{all:?}"))
    });
    wait_ha(&cluster.nodes[master]);

    let joiner = cluster.add_node(&[]);
    let port = cluster.nodes[master].port.to_string();
    cluster.nodes[joiner].ok(&["CLUSTER", "MEET", "127.0.0.1", &port]);
    let id = cluster.nodes[master].id();
    wait_for("it knows the master", SOON, || {
        let said = cluster.nodes[joiner]
            .cmd(&["CLUSTER", "REPLICATE", &id])
            .text();
        check(said == "OK", || said)
    });
    wait_for("the joiner has the state", SOON, || {
        has_caught_up(&cluster, master, joiner, &tag)
    });
    wait_ha(&cluster.nodes[master]);

    // What either was given is what it serves.
    let want = shown(&cluster.nodes[master], &tag).expect("it leads");
    cluster.nodes[master].kill9();
    let next = wait_for("another one leads", SOON, || {
        let leads =
            |n: &&usize| cluster.nodes[**n].info("raft", "raft_role").as_deref() == Some("leader");
        [replica, joiner]
            .iter()
            .find(leads)
            .copied()
            .ok_or("none".to_string())
    });
    wait_for("it serves", SOON, || {
        let theirs = shown(&cluster.nodes[next], &tag)?;
        check(theirs == want, || format!("{theirs:?}, not {want:?}"))
    });
}

/// M9, D7: a node of an older build could be given no state, so nothing that it may lack goes.
#[test]
fn logs_have_no_end_before_all_nodes_are_upgraded() {
    let cluster = Cluster::with_args(6, &["--cluster-feature-bits", "1"]);
    cluster.create(1);
    cluster.wait_well();
    let Shard {
        master, replicas, ..
    } = cluster.shards()[0].clone();
    let node = &cluster.nodes[master];
    let rewrites = || node.info("persistence", "aof_rewrites");
    let rewrite = || {
        let before = rewrites();
        node.cmd(&["BGREWRITEAOF"]);
        wait_for("it is made", SOON, || {
            let under_way = node.info("persistence", "aof_rewrite_in_progress");
            let done = rewrites() != before && under_way.as_deref() == Some("0");
            check(done, || format!("{under_way:?}"))
        });
        number(node, "raft_snapshot_index")
    };
    node.ok(&["CONFIG", "SET", "cluster-feature-bits", "3"]);
    assert_eq!(rewrite(), 1, "the replica and the witness are left");
    for other in (0..6).filter(|other| *other != master && !replicas.contains(other)) {
        cluster.nodes[other].ok(&["CONFIG", "SET", "cluster-feature-bits", "3"]);
    }
    assert_eq!(rewrite(), 1, "the replica is left");
    for replica in replicas {
        cluster.nodes[replica].ok(&["CONFIG", "SET", "cluster-feature-bits", "3"]);
    }
    wait_for("a snapshot becomes the base's", SOON, || {
        let index = rewrite();
        check(index > 1, || format!("{index}"))
    });
    // The same nodes had strings alone: nothing of another type is written before all can read it.
    let key = format!("{{{}}}h", cluster.shards()[0].tag(0));
    let write = || format!("{:?}", node.cmd(&["HSET", &key, "f", "v"]));
    let first = write();
    assert!(first.starts_with("-ERR this type can"), "{first}");
    for other in 0..6 {
        cluster.nodes[other].ok(&["CONFIG", "SET", "cluster-feature-bits", "7"]);
    }
    wait_for("a hash is written", SOON, || {
        let said = write();
        check(!said.starts_with("-ERR"), || said)
    });
}

/// P20: a master that reloads hands over, and the shard serves on; a member that has reloaded has the same keys.
#[test]
fn each_member_reloads_and_the_shard_serves() {
    let cluster = Cluster::with_args(6, &["--enable-debug-command", "yes"]);
    cluster.create(1);
    cluster.wait_well();
    let shard = cluster.shards()[0].clone();
    let (members, tag) = ([shard.replicas[0], shard.master], shard.tag(1));
    write(&mut cluster.nodes[shard.master].client(), &tag, 30);
    let digests = || members.map(|n| cluster.nodes[n].cmd(&["DEBUG", "DIGEST"]).text());
    let equal = || {
        let [a, b] = digests();
        check(a == b && !a.contains(' '), || format!("{a}, {b}"))
    };
    wait_for("the replica has all keys", SOON, equal);
    let want = digests();
    for words in [
        &["DEBUG", "RELOAD", "NOSAVE"][..],
        &["DEBUG", "RELOAD"],
        &["DEBUG", "LOADAOF"],
    ] {
        for member in members {
            cluster.nodes[member].ok(words);
            wait_for("both have the same keys", SOON, equal);
            assert_eq!(digests(), want, "{words:?}");
            wait_for("one of them leads a whole shard", SOON, || {
                let ha = members.map(|n| number(&cluster.nodes[n], "raft_ha"));
                check(ha.contains(&1), || format!("{ha:?}"))
            });
        }
    }
    cluster.wait_well();
}
