//! Nodes that ask for a password (`requirepass`): clients have to know it, and other nodes
//! (`masterauth`) before a frame of a Raft link is taken or sent.

use crate::common::resp::Value;
use crate::harness::{check, wait_for, Cluster, SOON};

const WORD: &str = "open sesame";

/// A write on this node, and how many replicas have it in that time.
fn replicated(cluster: &Cluster, node: usize, key: &str, within_ms: &str) -> Value {
    let mut client = cluster.nodes[node].client();
    assert!(client.cmd(&["SET", key, "v"]).is_ok());
    client.cmd(&["WAIT", "1", within_ms])
}

#[test]
fn nodes_of_a_cluster_show_each_other_the_password() {
    let mut cluster = Cluster::with_args(6, &["--requirepass", WORD, "--masterauth", WORD]);
    cluster.create(1);
    cluster.wait_well();
    let shard = cluster.shards()[0].clone();
    let (master, replica) = (shard.master, shard.replicas[0]);
    let key = |n: usize| format!("{{{}}}{n}", shard.tag(0));
    assert_eq!(replicated(&cluster, master, &key(0), "4000"), Value::Int(1));

    // A replica that shows another one hears its leader, and nobody takes its answers.
    cluster.nodes[replica].kill9();
    cluster.nodes[replica].set_args(&["--requirepass", WORD, "--masterauth", "wrong"]);
    cluster.nodes[replica].start();
    let refused = [
        (replica, "as when masterauth is not"),
        (master, "was refused"),
    ];
    for (node, said) in refused {
        wait_for("its log says why", SOON, || {
            let log = cluster.nodes[node].log();
            check(log.contains(said), || log)
        });
    }
    assert_eq!(replicated(&cluster, master, &key(1), "500"), Value::Int(0));
    wait_for("the shard survives no loss", SOON, || {
        let ha = cluster.nodes[master].info("raft", "raft_ha");
        check(ha.as_deref() == Some("0"), || format!("raft_ha is {ha:?}"))
    });
    cluster.nodes[replica].ok(&["CONFIG", "SET", "masterauth", WORD]);
    cluster.wait_well();
    assert_eq!(replicated(&cluster, master, &key(2), "4000"), Value::Int(1));

    // Without `masterauth` the password that a node asks for is the one that it shows.
    for node in [replica, master] {
        cluster.nodes[node].kill9();
        cluster.nodes[node].set_args(&["--requirepass", WORD]);
        cluster.nodes[node].start();
        cluster.wait_well();
    }
    let master = cluster.shard_of(master).master;
    for n in 0..3 {
        let found = cluster.nodes[master].cmd(&["GET", &key(n)]);
        assert_eq!(found.text(), "v");
    }
}
