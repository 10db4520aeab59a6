//! Keys that go to a Redis outside the cluster, and come from one.

use crate::common::resp::Value;
use crate::harness::{check, redis_cli, wait_for, Cluster, SOON};
use crate::node::Node;

/// One node with all slots, and a Redis that is in no cluster.
fn beside(args: &[&str]) -> Cluster {
    let mut cluster = Cluster::bare(1);
    cluster.nodes[0].ok(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    wait_for("it serves", SOON, || {
        let state = cluster.nodes[0].cluster_info("cluster_state");
        check(state.as_deref() == Some("ok"), || format!("{state:?}"))
    });
    let mut all = vec!["--cluster-enabled", "no"];
    all.extend(args);
    cluster.add_redis_with(&all);
    cluster
}

/// MIGRATE of one key, or of those behind KEYS; what it says.
fn migrate(from: &Node, to: &Node, key: &str, db: &str, options: &[&str]) -> String {
    let port = to.port.to_string();
    let mut words = vec!["MIGRATE", "127.0.0.1", &port, key, db, "5000"];
    words.extend(options);
    from.cmd(&words).text()
}

fn set(node: &Node, key: &str) {
    assert!(node.cmd(&["SET", key, key]).is_ok());
}

fn has(node: &Node, key: &str) -> bool {
    node.cmd(&["GET", key]) == Value::Bulk(key.as_bytes().to_vec())
}

#[test]
fn keys_go_to_a_redis_outside() {
    let cluster = beside(&[]);
    let (ours, redis) = (&cluster.nodes[0], &cluster.nodes[1]);
    for key in ["{s}a", "{s}b", "{s}c", "{s}d", "{s}e"] {
        set(ours, key);
    }
    assert_eq!(ours.cmd(&["PEXPIRE", "{s}a", "100000"]).int(), 1);
    assert_eq!(migrate(ours, redis, "{s}a", "0", &[]), "OK");
    assert!(has(redis, "{s}a") && !has(ours, "{s}a"));
    let left = redis.cmd(&["PTTL", "{s}a"]).int();
    assert!((1..=100_000).contains(&left), "{left}");
    assert_eq!(migrate(ours, redis, "{s}a", "0", &[]), "NOKEY");
    // What is copied stays; what is there is not replaced unasked.
    let busy = "ERR Target instance replied with error: BUSYKEY Target key name already exists.";
    assert_eq!(migrate(ours, redis, "{s}b", "0", &["COPY"]), "OK");
    assert!(has(redis, "{s}b") && has(ours, "{s}b"));
    assert_eq!(migrate(ours, redis, "{s}b", "0", &["COPY"]), busy);
    assert_eq!(
        migrate(ours, redis, "{s}b", "0", &["COPY", "REPLACE"]),
        "OK"
    );
    let some = ["KEYS", "{s}none", "{s}b", "{s}c"];
    assert_eq!(migrate(ours, redis, "", "0", &some), busy);
    assert!(has(ours, "{s}b") && !has(ours, "{s}c") && has(redis, "{s}c"));
    assert_eq!(migrate(ours, redis, "{s}b", "0", &["REPLACE"]), "OK");
    // Another database; numbers as well.
    assert!(ours.cmd(&["SET", "{s}d", "-129"]).is_ok());
    assert_eq!(
        migrate(ours, redis, "", "3", &["KEYS", "{s}d", "{s}e"]),
        "OK"
    );
    assert_eq!(ours.cmd(&["DBSIZE"]).int(), 0);
    let mut client = redis.client();
    assert!(client.cmd(&["SELECT", "3"]).is_ok());
    assert_eq!(client.cmd(&["GET", "{s}d"]).text(), "-129");
    let none = migrate(ours, redis, "{s}d", "99", &[]);
    assert_eq!(none, "NOKEY");
    set(ours, "{s}d");
    let range = migrate(ours, redis, "{s}d", "99", &[]);
    let text = "ERR Target instance replied with error: ERR DB index is out of range";
    assert_eq!(range, text);
    assert!(has(ours, "{s}d"));
}

#[test]
fn keys_come_from_a_redis_outside() {
    let cluster = beside(&[]);
    let (ours, redis) = (&cluster.nodes[0], &cluster.nodes[1]);
    for key in ["a", "b"] {
        set(redis, key);
    }
    assert_eq!(redis.cmd(&["PEXPIRE", "a", "100000"]).int(), 1);
    assert_eq!(migrate(redis, ours, "", "0", &["KEYS", "a", "b"]), "OK");
    assert!(has(ours, "a") && has(ours, "b"));
    assert!(ours.cmd(&["PTTL", "a"]).int() > 0);
    assert_eq!(redis.cmd(&["DBSIZE"]).int(), 0);
    // As redis-cli imports a whole server.
    for n in 0..50 {
        set(redis, &format!("key:{n}"));
    }
    let address = |node: &Node| format!("127.0.0.1:{}", node.port);
    let (to, from) = (address(ours), address(redis));
    let said = redis_cli(&["--cluster", "import", &to, "--cluster-from", &from]);
    assert_eq!(ours.cmd(&["DBSIZE"]).int(), 52, "{said}");
    assert_eq!(redis.cmd(&["DBSIZE"]).int(), 0, "{said}");
}

#[test]
fn a_password_of_the_target_is_shown() {
    let cluster = beside(&["--requirepass", "sesame"]);
    let (ours, redis) = (&cluster.nodes[0], &cluster.nodes[1]);
    for key in ["{s}a", "{s}b"] {
        set(ours, key);
    }
    let refused = |options: &[&str]| {
        let said = migrate(ours, redis, "{s}a", "0", options);
        let error = said.strip_prefix("ERR Target instance replied with error: ");
        error.unwrap_or(&said).to_owned()
    };
    let wrong = "WRONGPASS invalid username-password pair or user is disabled.";
    assert_eq!(refused(&[]), "NOAUTH Authentication required.");
    assert_eq!(refused(&["AUTH", "other"]), wrong);
    assert_eq!(refused(&["AUTH2", "somebody", "sesame"]), wrong);
    assert!(has(ours, "{s}a"));
    assert_eq!(migrate(ours, redis, "{s}a", "0", &["AUTH", "sesame"]), "OK");
    let both = ["AUTH2", "default", "sesame"];
    assert_eq!(migrate(ours, redis, "{s}b", "0", &both), "OK");
    assert_eq!(redis.cmd(&["DBSIZE"]).int(), 2);
}

/// A MIGRATE whose answer does not come: the connection stands from another one, and the target has stopped.
fn lose_an_answer(ours: &Node, redis: &Node, key: &str) {
    let first = format!("{key}:first");
    set(ours, &first);
    assert_eq!(migrate(ours, redis, &first, "0", &["REPLACE"]), "OK");
    set(ours, key);
    redis.signal(libc::SIGSTOP);
    let port = redis.port.to_string();
    let said = ours.cmd(&["MIGRATE", "127.0.0.1", &port, key, "0", "2000"]);
    assert_eq!(
        said.text(),
        "IOERR error or timeout reading to target instance"
    );
}

#[test]
fn a_lost_answer_is_settled_behind_its_error() {
    let mut cluster = beside(&[]);
    let free = crate::node::free_port().to_string();
    let ours = &cluster.nodes[0];
    set(ours, "x");
    let said = ours.cmd(&["MIGRATE", "127.0.0.1", &free, "x", "0", "1000"]);
    assert_eq!(
        said.text(),
        "IOERR error or timeout connecting to the client"
    );
    assert!(has(ours, "x"), "nothing was lent");
    let patience = |ms: &str| ours.ok(&["CONFIG", "SET", "cluster-node-timeout", ms]);
    patience("30000");
    lose_an_answer(ours, &cluster.nodes[1], "y");
    cluster.nodes[1].signal(libc::SIGCONT);
    wait_for("the key is on one side", SOON, || {
        let here = ours.cmd(&["GET", "y"]);
        check(!matches!(here, Value::Error(_)), || format!("{here:?}"))?;
        let sides = (has(ours, "y"), has(&cluster.nodes[1], "y"));
        check(sides.0 != sides.1, || format!("{sides:?}"))
    });
    // Gone for good: the keys stay here, after the node timeout.
    patience("1000");
    lose_an_answer(ours, &cluster.nodes[1], "z");
    cluster.nodes[1].kill9();
    let ours = &cluster.nodes[0];
    wait_for("the key is back", SOON, || {
        check(has(ours, "z"), || "it is not served".to_owned())
    });
    assert!(ours.cmd(&["SET", "z", "new"]).is_ok());
    wait_for("its log says so", SOON, || {
        let log = ours.log();
        check(log.contains("is not known"), || log)
    });
    assert_eq!(ours.cluster_info("cluster_open_lends"), None);
}

#[test]
fn a_later_leader_settles_a_lost_answer() {
    let mut cluster = Cluster::formed(3, 1);
    let redis = cluster.add_redis_with(&["--cluster-enabled", "no"]);
    let shard = cluster.shards()[0].clone();
    let (master, replica) = (shard.master, shard.replicas[0]);
    for node in [master, replica] {
        cluster.nodes[node].ok(&["CONFIG", "SET", "cluster-node-timeout", "30000"]);
    }
    let key = format!("{{{}}}", shard.tag(6));
    lose_an_answer(&cluster.nodes[master], &cluster.nodes[redis], &key);
    cluster.nodes[master].kill9();
    cluster.wait_role(replica, "master");
    let (ours, redis) = (&cluster.nodes[replica], &cluster.nodes[redis]);
    wait_for("the key waits", SOON, || {
        let open = ours.cluster_info("cluster_open_lends");
        check(open.as_deref() == Some("1"), || format!("{open:?}"))
    });
    redis.signal(libc::SIGCONT);
    wait_for("the key is on one side", SOON, || {
        let here = ours.cmd(&["GET", &key]);
        check(!matches!(here, Value::Error(_)), || format!("{here:?}"))?;
        let sides = (has(ours, &key), has(redis, &key));
        check(sides.0 != sides.1, || format!("{sides:?}"))
    });
}
