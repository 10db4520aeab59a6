//! Nodes whose addresses change: announced and not, exchanged over a full restart.

use crate::common::resp::Value;
use crate::harness::{check, wait_for, Cluster, SOON};
use crate::node::Node;

/// The `ip:port` of a node in lines of CLUSTER NODES, or of nodes.conf.
fn address_in(text: &str, id: &str) -> Option<String> {
    let line = text.lines().find(|l| l.starts_with(id))?;
    let address = line.split(' ').nth(1)?.split('@').next()?;
    Some(address.to_owned())
}

/// Where `node` says that the node with this id is, in all replies that name it, and in its nodes.conf.
fn shown(node: &Node, id: &str) -> Result<String, String> {
    let nodes = node.try_cmd(&["CLUSTER", "NODES"]);
    let nodes = nodes.map_err(|e| e.to_string())?.text();
    let address = address_in(&nodes, id).ok_or("it is not known")?;
    let (ip, _) = address.rsplit_once(':').ok_or("no port")?;
    for what in ["SLOTS", "SHARDS"] {
        let reply = format!("{:?}", node.cmd(&["CLUSTER", what]));
        let bytes = format!("{:?}", ip.as_bytes());
        let says = reply.contains(ip) || reply.contains(&bytes);
        check(says, || format!("{what} lacks {ip}: {reply}"))?;
    }
    let conf = std::fs::read_to_string(node.dir.join("nodes.conf"));
    let saved = address_in(&conf.map_err(|e| e.to_string())?, id);
    check(saved.as_ref() == Some(&address), || {
        format!("nodes.conf has {saved:?}, not {address}")
    })?;
    Ok(address)
}

/// All nodes, it among them, show a node at one address.
fn agreed_on(cluster: &Cluster, id: &str) -> Result<String, String> {
    let mut one: Option<String> = None;
    for node in &cluster.nodes {
        let address = shown(node, id)?;
        let first = one.get_or_insert_with(|| address.clone());
        check(*first == address, || format!("{first} and {address}"))?;
    }
    one.ok_or("there are no nodes".to_owned())
}

fn wait_at(cluster: &Cluster, id: &str, wanted: &str) {
    wait_for(&format!("all show it at {wanted}"), SOON, || {
        let address = agreed_on(cluster, id)?;
        check(address == wanted, || format!("it is at {address}"))
    });
}

#[test]
fn an_announced_address_is_shown_and_given_up() {
    let cluster = Cluster::formed(3, 0);
    let node = &cluster.nodes[0];
    let (id, port) = (node.id(), node.port);
    node.ok(&["CONFIG", "SET", "cluster-announce-ip", "127.0.0.5"]);
    wait_at(&cluster, &id, &format!("127.0.0.5:{port}"));
    node.ok(&["CONFIG", "SET", "cluster-announce-ip", ""]);
    // The others go on where it answers; that is its address.
    wait_for("all show one address that answers", SOON, || {
        let address = agreed_on(&cluster, &id)?;
        check(address.starts_with("127.0.0."), || address.clone())
    });
    // One that nobody can reach, and back.
    node.ok(&["CONFIG", "SET", "cluster-announce-ip", "127.255.255.255"]);
    wait_for("it shows what it announces", SOON, || {
        let view = node.cmd(&["CLUSTER", "NODES"]).text();
        let at = address_in(&view, &id);
        check(at == Some(format!("127.255.255.255:{port}")), || view)
    });
    node.ok(&["CONFIG", "SET", "cluster-announce-ip", ""]);
    wait_for("all show where it answers", SOON, || {
        let address = agreed_on(&cluster, &id)?;
        check(!address.starts_with("127.255"), || address.clone())?;
        cluster.agreed().map(drop)
    });
}

#[test]
fn a_node_back_elsewhere_shows_what_others_use() {
    let mut cluster = Cluster::formed(3, 0);
    let (id, port) = (cluster.nodes[0].id(), cluster.nodes[0].port);
    cluster.nodes[0].kill9();
    cluster.nodes[0].set_args(&["--cluster-announce-ip", "127.0.0.4"]);
    cluster.nodes[0].start();
    wait_at(&cluster, &id, &format!("127.0.0.4:{port}"));
    // It can be reached at the first address alone, and nothing tells it so but the others.
    cluster.nodes[0].kill9();
    cluster.nodes[0].set_args(&["--bind", "127.0.0.1"]);
    cluster.nodes[0].start();
    wait_at(&cluster, &id, &format!("127.0.0.1:{port}"));
    cluster.wait_well();
}

/// Each finds itself where the other one was.
#[test]
fn two_that_exchanged_addresses_meet_again() {
    let mut cluster = Cluster::formed(3, 1);
    let shards = cluster.shards();
    // Members of one shard: their Raft links have to find each other, too.
    let (a, b) = (shards[0].master, shards[0].replicas[0]);
    let ids: Vec<String> = cluster.nodes.iter().map(Node::id).collect();
    for node in &mut cluster.nodes {
        node.kill9();
    }
    let (at_a, at_b) = (cluster.nodes[a].port, cluster.nodes[b].port);
    (cluster.nodes[a].port, cluster.nodes[b].port) = (at_b, at_a);
    for node in &mut cluster.nodes {
        node.spawn();
    }
    for node in &mut cluster.nodes {
        assert!(node.came_up(), "the port of {} was taken", node.port);
    }
    for (index, id) in ids.iter().enumerate() {
        let wanted = format!("127.0.0.1:{}", cluster.nodes[index].port);
        wait_at(&cluster, id, &wanted);
    }
    cluster.wait_well();
    let key = format!("{{{}}}", shards[0].tag(1));
    let master = cluster.shard_of(a).master;
    cluster.nodes[master].ok(&["SET", &key, "found again"]);
}

/// Redirects are made from a table that follows the bus a little later; an operator's OK is not followed later.
#[test]
fn changed_endpoint_type_shows_in_next_redirect() {
    let cluster = Cluster::formed(3, 0);
    let shards = cluster.shards();
    let (node, key) = (&cluster.nodes[shards[0].master], shards[1].tag(1));
    let mut client = node.client();
    for round in 0..20 {
        for (kind, shown) in [("unknown-endpoint", ""), ("ip", "127.0.0.1")] {
            let words = ["CONFIG", "SET", "cluster-preferred-endpoint-type", kind];
            assert!(client.cmd(&words).is_ok());
            let text = client.cmd(&["GET", &key]).text();
            let at = text.split(' ').nth(2).and_then(|at| at.rsplit_once(':'));
            assert_eq!(at.map(|(host, _)| host), Some(shown), "{round}: {text}");
        }
    }
}

/// The bus stays where it was: its port must not be announced anew.
#[test]
fn a_changed_port_is_shown_by_all() {
    let cluster = Cluster::formed(3, 0);
    let node = &cluster.nodes[0];
    let (id, bus) = (node.id(), node.port + 10_000);
    let port = crate::node::free_port();
    let mut client = node.client();
    let reply = client.cmd(&["CONFIG", "SET", "port", &port.to_string()]);
    assert!(reply.is_ok(), "{reply:?}");
    let wanted = format!("127.0.0.1:{port}@{bus}");
    wait_for(&format!("the others show {wanted}"), SOON, || {
        for other in &cluster.nodes[1..] {
            let view = other.cmd(&["CLUSTER", "NODES"]).text();
            let line = view.lines().find(|l| l.starts_with(&id)).unwrap_or("");
            let well = line.contains(&wanted) && line.contains(" connected");
            check(well, || view.clone())?;
        }
        Ok(())
    });
    let own = client.cmd(&["CLUSTER", "NODES"]).text();
    assert!(own.contains(&wanted), "{own}");
}

/// A key of another node's slots: what `node` answers for it, and what CLUSTER SLOTS and SHARDS say.
fn told_of_others(cluster: &Cluster, port: u16) -> (String, String, String) {
    let node = &cluster.nodes[0];
    let asked = (0..1000).map(|n| node.cmd(&["GET", &format!("k{n}")]));
    let moved = asked.filter(|reply| matches!(reply, Value::Error(_)));
    let ends = format!(":{port}");
    let mut moved = moved.map(|reply| reply.text());
    let moved = moved.find(|text| text.ends_with(&ends));
    let shown = |what| format!("{:?}", node.cmd(&["CLUSTER", what]));
    let moved = moved.expect("one key in a thousand is on that node");
    let words = moved.split(' ').nth(2).map(str::to_owned);
    (words.unwrap_or_default(), shown("SLOTS"), shown("SHARDS"))
}

#[test]
fn clients_are_told_the_preferred_endpoint() {
    let cluster = Cluster::formed(3, 0);
    let (node, other) = (&cluster.nodes[0], &cluster.nodes[1]);
    let port = other.port;
    let prefer = |kind| node.ok(&["CONFIG", "SET", "cluster-preferred-endpoint-type", kind]);
    let moved = |wanted: &str| {
        wait_for(&format!("a redirect to {wanted}"), SOON, || {
            let (moved, ..) = told_of_others(&cluster, port);
            check(moved == format!("{wanted}:{port}"), || moved)
        });
    };
    moved("127.0.0.1");
    prefer("hostname");
    moved("?");
    other.ok(&[
        "CONFIG",
        "SET",
        "cluster-announce-hostname",
        "other.example",
    ]);
    moved("other.example");
    let (_, slots, shards) = told_of_others(&cluster, port);
    let name = "other.example";
    assert!(
        slots.contains(name) && shards.contains(name),
        "{slots} {shards}"
    );
    prefer("unknown-endpoint");
    moved("");
    prefer("ip");
    moved("127.0.0.1");
}
