//! Slots that move from shard to shard, as redis-cli moves them, under load: nothing acknowledged is lost,
//! no client is refused for long, and whatever interrupts a move can be mended.

use crate::common::resp::Value;
use crate::harness::{check, redis_cli, report, try_redis_cli, wait_for, Cluster, SOON};
use crate::load::Load;
use crate::node::Node;
use crate::view::slot_of;
use std::time::Instant;

fn address(cluster: &Cluster, node: usize) -> String {
    format!("127.0.0.1:{}", cluster.nodes[node].port)
}

fn id(node: &Node) -> String {
    node.cmd(&["CLUSTER", "MYID"]).text()
}

/// `redis-cli --cluster reshard` of so many slots; whether it went through, and what it said.
pub fn reshard(cluster: &Cluster, from: usize, to: usize, slots: usize) -> (bool, String) {
    try_redis_cli(&[
        "--cluster",
        "reshard",
        &address(cluster, 0),
        "--cluster-from",
        &id(&cluster.nodes[from]),
        "--cluster-to",
        &id(&cluster.nodes[to]),
        "--cluster-slots",
        &slots.to_string(),
        "--cluster-yes",
    ])
}

/// `redis-cli --cluster check` finds nothing to say.
fn is_whole(cluster: &Cluster) {
    wait_for("redis-cli finds every slot in its place", SOON, || {
        let (fine, said) = try_redis_cli(&["--cluster", "check", &address(cluster, 0)]);
        check(
            fine && !said.contains("[WARNING]") && !said.contains("[ERR]"),
            || said,
        )
    });
}

fn owned(node: &Node) -> usize {
    let me = id(node);
    let view = node.view();
    let line = view
        .iter()
        .find(|line| line.id == me)
        .expect("its own line");
    let ranges = line.slots.iter();
    ranges
        .map(|(first, last)| usize::from(last - first) + 1)
        .sum()
}

/// Keys of many slots of a node.
fn fill(cluster: &Cluster, keys: usize) {
    let mut client = crate::routed::Routed::new(&cluster.ports());
    for n in 0..keys {
        let key = format!("key:{n}");
        let answer = client.until(SOON, &key, &["SET", &key, &n.to_string()]);
        assert!(answer.value.is_ok());
    }
}

fn all_there(cluster: &Cluster, keys: usize) {
    let mut client = crate::routed::Routed::new(&cluster.ports());
    for n in 0..keys {
        let key = format!("key:{n}");
        let value = client.until(SOON, &key, &["GET", &key]).value;
        assert_eq!(value, Value::Bulk(n.to_string().into_bytes()), "{key}");
    }
    let total: i64 = cluster
        .shards()
        .iter()
        .map(|s| cluster.nodes[s.master].cmd(&["DBSIZE"]).int())
        .sum();
    assert!(total >= keys as i64, "{total} keys");
}

#[test]
fn slots_move_under_load_without_a_lost_write() {
    let cluster = Cluster::formed(3, 0);
    fill(&cluster, 3_000);
    let shards = cluster.shards();
    let load = Load::start(&cluster, &shards, 2);
    load.wait_acks_everywhere(20);
    let began = Instant::now();
    for (from, to) in [(0, 1), (1, 2), (2, 0)] {
        let (from, to) = (shards[from].master, shards[to].master);
        let before = owned(&cluster.nodes[to]);
        let (fine, said) = reshard(&cluster, from, to, 300);
        assert!(fine, "{said}");
        wait_for("the slots have arrived", SOON, || {
            let now = owned(&cluster.nodes[to]);
            check(now == before + 300, || format!("{before}, then {now}"))
        });
    }
    let took = began.elapsed();
    load.wait_acks_everywhere(20);
    for shard in 0..3 {
        let failures = load.failures(shard, began);
        assert!(failures.is_empty(), "{failures:?}");
    }
    is_whole(&cluster);
    all_there(&cluster, 3_000);
    let acks = load.verify();
    report(
        "900 slots move under load",
        &format!(
            "{} ms, {acks} acknowledged writes, none lost",
            took.as_millis()
        ),
    );
}

#[test]
fn a_drained_node_can_be_removed() {
    let cluster = Cluster::formed(3, 0);
    let shards = cluster.shards();
    let (last, first) = (shards[2].master, shards[0].master);
    leave_few(&cluster, last, first, 100);
    fill(&cluster, 2000);
    let count = owned(&cluster.nodes[last]);
    let (fine, said) = reshard(&cluster, last, first, count);
    assert!(fine, "{said}");
    // M29: the old owner's own line has the last slot until that is taken.
    wait_for("all of its slots are taken", SOON, || {
        let left = owned(&cluster.nodes[last]);
        check(left == 0, || format!("{left} are left"))
    });
    let gone = id(&cluster.nodes[last]);
    let said = redis_cli(&["--cluster", "del-node", &address(&cluster, first), &gone]);
    assert!(said.contains("CLUSTER RESET SOFT"), "{said}");
    let view = cluster.nodes[first].view();
    assert!(view.iter().all(|line| line.id != gone), "{view:?}");
}

/// Gives all slots of a master but the last ones to another one, without a move: nobody has keys yet.
fn leave_few(cluster: &Cluster, from: usize, to: usize, few: u16) {
    let shard = cluster.shard_of(from);
    let (first, last) = shard.slots[0];
    let (first, last) = (first.to_string(), (last - few).to_string());
    for (node, command) in [
        (from, "DELSLOTSRANGE"),
        (to, "DELSLOTSRANGE"), // in its own table they are nobody's then
        (to, "ADDSLOTSRANGE"),
    ] {
        cluster.nodes[node].ok(&["CLUSTER", command, &first, &last]);
    }
    cluster.wait_well();
}

/// M28: with its slots gone a shard ends, and its nodes are replicas of the shard that has them. A killed one
/// goes on where it was.
#[test]
fn an_emptied_shard_follows_its_slots() {
    let mut cluster = Cluster::formed(3, 1);
    let shards = cluster.shards();
    let (from, to) = (shards[2].clone(), shards[0].master);
    leave_few(&cluster, from.master, to, 100);
    fill(&cluster, 2000);
    let count = owned(&cluster.nodes[from.master]);
    let (fine, said) = reshard(&cluster, from.master, to, count);
    assert!(fine, "{said}");
    let gone = from.replicas[0];
    cluster.nodes[gone].kill9();
    cluster.nodes[gone].start();
    let owner = id(&cluster.nodes[to]);
    wait_for("both are replicas of the new owner", SOON, || {
        let view = cluster.nodes[to].try_view().map_err(|e| e.to_string())?;
        for node in [from.master, gone] {
            let port = cluster.nodes[node].port;
            let line = view.iter().find(|line| line.port == port);
            let follows = line.is_some_and(|l| l.has("slave") && l.master == Some(owner.clone()));
            check(follows, || format!("{port}: {line:?}"))?;
        }
        Ok(())
    });
    cluster.wait_well();
    assert_eq!(cluster.shards().len(), 2);
    is_whole(&cluster);
    all_there(&cluster, 2000);
    // What they have is the new shard's: each could lead it.
    let keys = cluster.nodes[to].cmd(&["DBSIZE"]).int();
    for node in [from.master, gone] {
        wait_for("it has the shard's keys", SOON, || {
            let has = cluster.nodes[node].cmd(&["DBSIZE"]).int();
            check(has == keys, || format!("{has} of {keys}"))
        });
    }
}

#[test]
fn stable_sends_the_keys_back() {
    let cluster = Cluster::formed(3, 0);
    let shards = cluster.shards();
    let (a, b) = (
        &cluster.nodes[shards[0].master],
        &cluster.nodes[shards[1].master],
    );
    let tag = shards[0].tag(1);
    let keys: Vec<String> = (0..50).map(|n| format!("{{{tag}}}:{n}")).collect();
    for key in &keys {
        assert!(a.cmd(&["SET", key, key]).is_ok());
    }
    let slot = slot_of(&keys[0]).to_string();
    b.ok(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &id(a)]);
    a.ok(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &id(b)]);
    let port = b.port.to_string();
    let mut migrate = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
    migrate.extend(keys[..30].iter().map(String::as_str));
    a.ok(&migrate);
    assert_eq!(b.cmd(&["DBSIZE"]).int(), 30);
    let ask = a.cmd(&["GET", &keys[0]]);
    assert_eq!(ask.text(), format!("ASK {slot} 127.0.0.1:{port}"));
    a.ok(&["CLUSTER", "SETSLOT", &slot, "STABLE"]);
    wait_for("all keys are back", SOON, || {
        let (here, there) = (a.cmd(&["DBSIZE"]).int(), b.cmd(&["DBSIZE"]).int());
        check((here, there) == (50, 0), || format!("{here} and {there}"))
    });
    for key in &keys {
        assert_eq!(a.cmd(&["GET", key]).text(), *key);
    }
    is_whole(&cluster);
}

#[test]
fn large_values_move_in_pieces() {
    let cluster = Cluster::formed(3, 0);
    let shards = cluster.shards();
    let (a, b) = (
        &cluster.nodes[shards[0].master],
        &cluster.nodes[shards[1].master],
    );
    let key = format!("{{{}}}", shards[0].tag(2));
    let value = "x".repeat(20 << 20);
    assert!(a.cmd(&["SET", &key, &value]).is_ok());
    let slot = slot_of(&key).to_string();
    b.ok(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &id(a)]);
    a.ok(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &id(b)]);
    let port = b.port.to_string();
    a.ok(&["MIGRATE", "127.0.0.1", &port, &key, "0", "20000"]);
    b.ok(&["CLUSTER", "SETSLOT", &slot, "NODE", &id(b)]);
    assert_eq!(b.cmd(&["STRLEN", &key]).int(), value.len() as i64);
    assert_eq!(a.cmd(&["DBSIZE"]).int(), 0);
}

/// Keys of one slot at a shard, and the slot, which goes to another shard.
fn begin_move(a: &Node, b: &Node, tag: &str, count: usize) -> (Vec<String>, String) {
    let keys: Vec<String> = (0..count).map(|n| format!("{{{tag}}}:{n}")).collect();
    for key in &keys {
        assert!(a.cmd(&["SET", key, key]).is_ok());
    }
    let slot = slot_of(&keys[0]).to_string();
    b.ok(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &id(a)]);
    a.ok(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &id(b)]);
    (keys, slot)
}

#[test]
fn a_copy_between_shards_is_moved_back() {
    let cluster = Cluster::formed(3, 0);
    let shards = cluster.shards();
    let (a, b) = (
        &cluster.nodes[shards[0].master],
        &cluster.nodes[shards[1].master],
    );
    let (keys, slot) = begin_move(a, b, &shards[0].tag(3), 2);
    let port = b.port.to_string();
    let copy = |key: &str, db: &str| {
        let said = a.cmd(&["MIGRATE", "127.0.0.1", &port, key, db, "5000", "COPY"]);
        said.text()
    };
    let moved = format!(
        "ERR Target instance replied with error: MOVED {slot} 127.0.0.1:{}",
        a.port
    );
    assert_eq!(copy(&keys[0], "0"), moved);
    let select =
        "ERR Target instance replied with error: ERR SELECT is not allowed in cluster mode";
    assert_eq!(copy(&keys[0], "1"), select);
    let none = keys[0].replace(":0", ":none");
    assert_eq!(copy(&none, "0"), "NOKEY");
    assert_eq!((a.cmd(&["DBSIZE"]).int(), b.cmd(&["DBSIZE"]).int()), (2, 0));
}

#[test]
fn migrate_shows_the_target_its_password() {
    const WORD: &str = "open sesame";
    let cluster = Cluster::with_args(3, &["--requirepass", WORD]);
    cluster.create(0);
    cluster.wait_well();
    let shards = cluster.shards();
    let (a, b) = (
        &cluster.nodes[shards[0].master],
        &cluster.nodes[shards[1].master],
    );
    let (keys, _) = begin_move(a, b, &shards[0].tag(4), 4);
    let port = b.port.to_string();
    let migrate = |key: &str, options: &[&str]| {
        let mut words = vec!["MIGRATE", "127.0.0.1", &port, key, "0", "5000"];
        words.extend(options);
        a.cmd(&words).text()
    };
    let wrong = "WRONGPASS invalid username-password pair or user is disabled.";
    let refused: [(&[&str], &str); 4] = [
        (&[], "NOAUTH Authentication required."),
        (&["AUTH", "other"], wrong),
        (&["AUTH2", "somebody", WORD], wrong),
        (&["COPY", "AUTH", "other"], wrong),
    ];
    for (options, why) in refused {
        let text = format!("ERR Target instance replied with error: {why}");
        assert_eq!(migrate(&keys[0], options), text, "{options:?}");
    }
    assert_eq!(migrate(&keys[0], &["AUTH", WORD]), "OK");
    assert_eq!(migrate(&keys[1], &["AUTH2", "default", WORD]), "OK");
    b.ok(&["CONFIG", "SET", "requirepass", ""]);
    let text = migrate(&keys[2], &["AUTH", WORD]);
    assert!(
        text.contains("ERR AUTH <password> called without"),
        "{text}"
    );
    assert_eq!(migrate(&keys[2], &[]), "OK");
    assert_eq!(a.cmd(&["DBSIZE"]).int(), 1);
}

/// M18: as Redis's own tests do it, at the owner first.
#[test]
fn an_empty_slot_is_given_away_without_marks() {
    let cluster = Cluster::formed(3, 0);
    let shards = cluster.shards();
    let (a, b) = (
        &cluster.nodes[shards[0].master],
        &cluster.nodes[shards[1].master],
    );
    let key = format!("{{{}}}", shards[0].tag(3));
    let slot = slot_of(&key).to_string();
    let give = ["CLUSTER", "SETSLOT", &slot, "NODE", &id(b)];
    a.ok(&["SET", &key, "v"]);
    let refused = format!("ERR Can't assign hashslot {slot} to a different node while I still hold keys for this hash slot.");
    assert_eq!(a.cmd(&give).text(), refused);
    assert!(!b.cmd(&["CLUSTER", "NODES"]).text().contains("-<-"));
    assert_eq!(a.cmd(&["DEL", &key]).int(), 1);
    a.ok(&give);
    b.ok(&give);
    b.ok(&["SET", &key, "v"]);
    is_whole(&cluster);
}

/// M21: a shard that serves keeps its slot, whatever epoch a stray brings, and no key is deleted. M12: a third node can't
/// take it, even if its table is made to show it at nobody.
#[test]
fn stray_that_is_met_gives_the_slot_up() {
    let mut cluster = Cluster::formed(3, 0);
    let d = cluster.add_node(&[]);
    let shards = cluster.shards();
    let (a, b, d) = (
        &cluster.nodes[shards[0].master],
        &cluster.nodes[shards[1].master],
        &cluster.nodes[d],
    );
    let key = format!("{{{}}}", shards[0].tag(3));
    let slot = slot_of(&key).to_string();
    d.ok(&["CLUSTER", "ADDSLOTS", &slot]);
    d.ok(&["CLUSTER", "SET-CONFIG-EPOCH", "50"]);
    let second = format!("{key}:2");
    wait_for("the lone node serves its slot", SOON, || {
        let config = d.cmd(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]);
        let set = d.cmd(&["MSET", &key, "theirs", &second, "theirs"]);
        check(config.is_ok() && set.is_ok(), || format!("{set:?}"))
    });
    assert!(a.cmd(&["SET", &key, "ours"]).is_ok());
    wait_for("all slots of the shard have a title", SOON, || {
        let info = a.cmd(&["INFO", "cluster"]).text();
        check(info.contains("cluster_slots_without_title:0\r\n"), || info)
    });
    d.ok(&["CLUSTER", "MEET", "127.0.0.1", &a.port.to_string()]);
    let moved = format!("MOVED {slot} 127.0.0.1:{}", a.port);
    for node in [d, b] {
        wait_for("the stray has given the slot up", SOON, || {
            let answer = node.cmd(&["GET", &key]).text();
            check(answer == moved, || answer)
        });
    }
    assert_eq!(a.cmd(&["GET", &key]).text(), "ours");
    let leftover = |count: usize| {
        let line = format!("cluster_leftover_keys:{count}\r\n");
        let info = d.cmd(&["INFO", "cluster"]).text();
        check(info.contains(&line), || info)
    };
    assert_eq!(leftover(2), Ok(()));
    // M22: what the owner does not have may be sent there.
    d.ok(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &id(a)]);
    let port = a.port.to_string();
    let migrate = ["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
    let busy = d.cmd(&[&migrate[..], &[&key, &second]].concat()).text();
    assert!(busy.contains("BUSYKEY"), "{busy}");
    assert_eq!(leftover(1), Ok(()));
    assert_eq!(a.cmd(&["GET", &second]).text(), "theirs");
    assert_eq!(a.cmd(&["GET", &key]).text(), "ours");
    d.ok(&["CLUSTER", "SETSLOT", &slot, "STABLE"]);
    d.ok(&["CLUSTER", "FLUSHSLOT", &slot]);
    assert_eq!(leftover(0), Ok(()));
    let mut third = b.client();
    assert!(third.cmd(&["MULTI"]).is_ok());
    for command in ["DELSLOTS", "ADDSLOTS"] {
        let queued = third.cmd(&["CLUSTER", command, &slot]).text();
        assert_eq!(queued, "QUEUED");
    }
    let replies = third.cmd(&["EXEC"]);
    assert!(replies.items()[0].is_ok(), "{replies:?}");
    let busy = format!("ERR Slot {slot} is already busy");
    assert_eq!(replies.items()[1].text(), busy);
}

/// M21: neither of the two has a title, for neither has ever been asked: one of them gives the slot up, with no key
/// deleted.
#[test]
fn lone_nodes_that_meet_keep_each_slot_once() {
    let mut cluster = Cluster::bare(0);
    let nodes: Vec<usize> = (0..2).map(|_| cluster.add_node(&[])).collect();
    let [a, b] = [0, 1].map(|n| &cluster.nodes[nodes[n]]);
    let key = "k";
    let slot = slot_of(key).to_string();
    for (node, epoch) in [(a, "1"), (b, "50")] {
        node.ok(&["CLUSTER", "ADDSLOTS", &slot]);
        node.ok(&["CLUSTER", "SET-CONFIG-EPOCH", epoch]);
        node.ok(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]);
        wait_for("the lone node serves its slot", SOON, || {
            let set = node.cmd(&["SET", key, epoch]);
            check(set.is_ok(), || format!("{set:?}"))
        });
    }
    a.ok(&["CLUSTER", "MEET", "127.0.0.1", &b.port.to_string()]);
    let moved = format!("MOVED {slot} 127.0.0.1:{}", b.port);
    wait_for("one of the two has given the slot up", SOON, || {
        let answer = a.cmd(&["GET", key]).text();
        check(answer == moved, || answer)
    });
    assert_eq!(b.cmd(&["GET", key]).text(), "50");
    let info = a.cmd(&["INFO", "cluster"]).text();
    assert!(info.contains("cluster_leftover_keys:1\r\n"), "{info}");
}

/// M9: an older build can't read what a shard says of slots in motion. Nothing is said before all have said that
/// they can, and none is let in afterwards.
#[test]
fn slots_wait_until_every_node_is_upgraded() {
    let mut cluster = Cluster::with_args(6, &["--cluster-feature-bits", "0"]);
    cluster.create(1);
    cluster.wait_well();
    let shards = cluster.shards();
    let (from, to) = (shards[0].clone(), shards[1].master);
    let slot = from.slots[0].0.to_string();
    let owner = id(&cluster.nodes[from.master]);
    let import = |cluster: &Cluster| {
        let args = ["CLUSTER", "SETSLOT", &slot, "IMPORTING", &owner];
        cluster.nodes[to].cmd(&args).text()
    };
    let refused = "ERR slots can't move before every node of both shards is upgraded";
    let late = from.replicas[0];
    for node in (0..6).filter(|node| *node != late) {
        assert_eq!(import(&cluster), refused);
        cluster.nodes[node].ok(&["CONFIG", "SET", "cluster-feature-bits", "1"]);
    }
    assert_eq!(import(&cluster), refused, "a replica of the source is left");
    cluster.nodes[late].ok(&["CONFIG", "SET", "cluster-feature-bits", "1"]);
    wait_for("the slot may move", SOON, || {
        let said = import(&cluster);
        check(said == "OK", || said)
    });
    // A node of an older build is not let in; upgraded it is.
    let node = cluster.add_node(&["--cluster-feature-bits", "0"]);
    let meet = cluster.nodes[to].port.to_string();
    cluster.nodes[node].ok(&["CLUSTER", "MEET", "127.0.0.1", &meet]);
    let master = id(&cluster.nodes[to]);
    wait_for("it knows the master", SOON, || {
        let said = cluster.nodes[node]
            .cmd(&["CLUSTER", "REPLICATE", &master])
            .text();
        check(said == "OK", || said)
    });
    let is_member = |cluster: &Cluster| {
        let members = cluster.nodes[to].members().expect("it answers");
        members.iter().filter(|m| !m.witness).count() == 3
    };
    wait_for("the master tells of it", SOON, || {
        let log = cluster.nodes[to].log();
        check(log.contains("has to be upgraded before"), || log)
    });
    assert!(!is_member(&cluster));
    cluster.nodes[node].ok(&["CONFIG", "SET", "cluster-feature-bits", "1"]);
    wait_for("it is a member", SOON, || {
        check(is_member(&cluster), || "not yet".to_string())
    });
}

/// M13: the last node of the other shard is forgotten when the moves with that shard have ended.
#[test]
fn forgetting_a_shard_turns_its_moves_back() {
    let cluster = Cluster::formed(4, 0);
    let shards = cluster.shards();
    let a = &cluster.nodes[shards[0].master];
    let slot = shards[0].slots[0].0.to_string();
    // A shard without slots, which can be forgotten.
    let last = shards[3].master;
    let count = owned(&cluster.nodes[last]);
    cluster.nodes[last].ok(&["CONFIG", "SET", "cluster-allow-replica-migration", "no"]);
    let (fine, said) = reshard(&cluster, last, shards[1].master, count);
    assert!(fine, "{said}");
    let b = &cluster.nodes[last];
    b.ok(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &id(a)]);
    a.ok(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &id(b)]);
    a.ok(&["CLUSTER", "FORGET", &id(b)]);
    let view = a.view();
    assert!(view.iter().all(|line| line.id != id(b)), "{view:?}");
    let own = a.cmd(&["CLUSTER", "NODES"]).text();
    assert!(!own.contains("->-"), "{own}");
}
