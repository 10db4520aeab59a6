//! A cluster's backup by redis-cli: a file for each master, which Redis loads (P26).

use crate::common::resp::Value;
use crate::harness::{check, redis_cli, wait_for, Cluster, SOON};
use crate::node::Node;
use crate::routed::Routed;
use std::fs;
use std::path::Path;

const KEYS: usize = 900;

/// The keys that a real Redis finds in this file.
fn keys_in(file: &Path) -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::copy(file, folder.path().join("dump.rdb")).expect("a copy");
    let alone = ["--cluster-enabled", "no", "--appendonly", "no"];
    let mut redis = Node::new(folder.path()).bin("redis-server").args(&alone);
    redis.start();
    let keys = redis.cmd(&["KEYS", "*"]);
    let bytes = |key: &Value| match key {
        Value::Bulk(bytes) => bytes.clone(),
        other => panic!("{other:?}"),
    };
    let keys = keys.items().iter().map(bytes).collect();
    redis.kill9();
    keys
}

fn rdb_of(node: &Node, folder: &Path) -> Vec<Vec<u8>> {
    let file = folder.join("one.rdb");
    let (port, path) = (node.port.to_string(), file.to_string_lossy());
    let said = redis_cli(&["-p", &port, "--rdb", &path]);
    assert!(said.contains("Transfer finished with success."), "{said}");
    let keys = keys_in(&file);
    fs::remove_file(&file).expect("it is there");
    keys
}

#[test]
fn backup_has_a_file_of_each_master() {
    let cluster = Cluster::formed(3, 1);
    let mut client = Routed::new(&cluster.ports());
    for n in 0..KEYS {
        let key = format!("key:{n}");
        assert!(client.until(SOON, &key, &["SET", &key, "v"]).value.is_ok());
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let address = format!("127.0.0.1:{}", cluster.nodes[0].port);
    let path = folder.path().to_string_lossy();
    let said = redis_cli(&["--cluster", "backup", &address, &path]);
    assert!(said.contains("[OK] Backup created into: "), "{said}");

    let nodes = fs::read_to_string(folder.path().join("nodes.json")).expect("nodes.json");
    for node in &cluster.nodes {
        assert!(nodes.contains(&node.id()), "{nodes}");
    }
    let shards = cluster.shards();
    let mut all = Vec::new();
    for shard in &shards {
        let master = &cluster.nodes[shard.master];
        let name = format!("redis-node-127.0.0.1-{}-{}.rdb", master.port, master.id());
        let keys = keys_in(&folder.path().join(name));
        assert!(keys.len() > KEYS / 10, "{} keys of one shard", keys.len());
        all.extend(keys);
    }
    all.sort();
    all.dedup();
    assert_eq!(all.len(), KEYS);
    let files = fs::read_dir(folder.path()).expect("the folder").count();
    assert_eq!(files, 4, "replicas are not saved");
    // Nothing is left in the members' folders, where no base names a file.
    for node in &cluster.nodes {
        let saving = node.info("persistence", "rdb_bgsave_in_progress");
        assert_eq!(saving.as_deref(), Some("0"));
    }

    // A replica's file is its own.
    let replica = &cluster.nodes[shards[0].replicas[0]];
    let master = &cluster.nodes[shards[0].master];
    let size = || master.cmd(&["DBSIZE"]).int() as usize;
    wait_for("the replica has all", SOON, || {
        let keys = rdb_of(replica, folder.path());
        check(keys.len() == size(), || format!("it has {}", keys.len()))
    });
}
