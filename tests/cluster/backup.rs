//! A cluster's backup by redis-cli: a file for each master, which Redis loads (P26), and new nodes of ours (P22).

use crate::common::resp::Value;
use crate::common::server::tool;
use crate::harness::{check, redis_cli, wait_for, Cluster, SOON};
use crate::node::Node;
use crate::routed::Routed;
use crate::script::{ok, text, Script};
use std::fs;
use std::path::Path;
use std::process::Command;

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

fn restored(folder: &Path, nodes: &str) -> (String, Option<i32>) {
    let mut command = Command::new(tool());
    command.arg("restore").arg(folder).args(["--nodes", nodes]);
    let out = command.output().expect("the tool runs");
    (text(&out.stdout) + &text(&out.stderr), out.status.code())
}

/// The cluster of the backup is gone when another one is made of it.
#[test]
fn backup_is_restored_by_one_command() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().to_string_lossy();
    {
        let cluster = Cluster::formed(3, 0);
        let mut client = Routed::new(&cluster.ports());
        for n in 0..KEYS {
            let key = format!("key:{n}");
            let set = ["SET", &key, &key, "PX", "86400000"];
            assert!(client.until(SOON, &key, &set).value.is_ok());
        }
        let address = format!("127.0.0.1:{}", cluster.nodes[0].port);
        redis_cli(&["--cluster", "backup", &address, &path]);
    }
    let script = Script::with_ports(6);
    let first = script.port;
    let port = first.to_string();
    let restore = ["--port", &port, "--restore", &path];
    ok(&script.act(&restore));
    let has_all = |seed: u16| {
        let mut client = Routed::new(&[seed]);
        for n in 0..KEYS {
            let key = format!("key:{n}");
            let value = client.until(SOON, &key, &["GET", &key]).value;
            assert_eq!(value, Value::Bulk(key.clone().into_bytes()), "{key}");
        }
        assert!(client.until(SOON, "key:1", &["PTTL", "key:1"]).value.int() > 80_000_000);
    };
    has_all(first + 3);
    // Again: the command finds nothing to do, the script refuses.
    let nodes: Vec<String> = (first..first + 6)
        .map(|port| format!("127.0.0.1:{port}"))
        .collect();
    let (said, code) = restored(folder.path(), &nodes.join(","));
    assert!(
        code == Some(0) && said.contains("The cluster is restored"),
        "{said}"
    );
    let again = script.act(&restore);
    assert!(!again.status.success());
    assert!(
        text(&again.stderr).contains("there is data in"),
        "{}",
        text(&again.stderr)
    );
    let (said, code) = restored(folder.path(), &nodes[..2].join(","));
    assert!(code == Some(1) && said.contains("has 3 masters"), "{said}");

    // A replica was given the state, which no log of its own ever had.
    let process = fs::read_to_string(script.dir.join(&port).join("process"));
    let process = process.expect("the script has written it");
    let pid = process.split(' ').next().and_then(|pid| pid.parse().ok());
    // SAFETY: the process was started by our script.
    assert_eq!(unsafe { libc::kill(pid.expect("a pid"), libc::SIGKILL) }, 0);
    has_all(first + 3);
}
