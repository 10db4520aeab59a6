//! NODES, REPLICAS, SLOTS, SHARDS, LINKS, INFO and the ids.

use super::{fixture, id, master, replica, set, view};
use crate::env::Serving;
use crate::testing::Fixture;
use cluster_bus::wire::Flags;
use cluster_bus::{NodeId, ShardId};
use topology::{ClusterView, Health, LinkView, NodeView, PreferredEndpoint};

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

const A: &str = "76a504237117d6cfff41b2118cc1a5bc836bc702";
const B: &str = "e9f260c26119c62ce927020d6d9f9fe3fb667ef2";

fn at(id: &str, port: u16, slots: &[(u16, u16)]) -> NodeView {
    let id: NodeId = id.parse().expect("an id");
    NodeView {
        id,
        shard: Some(ShardId(id.0)),
        port,
        cport: port + 10000,
        config_epoch: 0,
        ..master(1, slots)
    }
}

/// The two masters whose replies were recorded.
fn recorded() -> ClusterView {
    let b = NodeView {
        pong_received: 1795246745111,
        ..at(B, 7812, &[(101, 199), (301, 16383)])
    };
    let a = NodeView {
        config_epoch: 5,
        connected: false,
        ..at(A, 7811, &[(0, 100), (200, 300)])
    };
    let link = |inbound, created, buffer_allocated| LinkView {
        inbound,
        node: b.id,
        created,
        reads: true,
        writes: false,
        buffer_allocated,
        buffer_used: 0,
    };
    let links = vec![
        link(false, 1795246742226, 5114),
        link(true, 1795246742252, 0),
    ];
    let mut view = view(vec![a, b]);
    view.nodes.swap(0, 1);
    view.links = links;
    view.ok = false;
    view.sent[..3].copy_from_slice(&[4, 5, 1]);
    view.received[..2].copy_from_slice(&[5, 5]);
    view
}

#[test]
fn nodes_as_recorded() {
    let text = format!(
        "{B} 127.0.0.1:7812@17812 master - 0 1795246745111 0 connected 101-199 301-16383\n\
         {A} 127.0.0.1:7811@17811 myself,master - 0 0 5 connected 0-100 200-300\n"
    );
    let mut f = fixture(recorded());
    assert_eq!(f.line("CLUSTER NODES"), bulk(&text));
    f.line("HELLO 3");
    let verbatim = format!("={}\r\ntxt:{text}\r\n", text.len() + 4);
    assert_eq!(f.line("CLUSTER NODES"), verbatim);
}

#[test]
fn slots_as_recorded() {
    let run = |first: u16, last: u16, port: u16, id: &str| {
        format!("*3\r\n:{first}\r\n:{last}\r\n*4\r\n$9\r\n127.0.0.1\r\n:{port}\r\n$40\r\n{id}\r\n*0\r\n")
    };
    let want = [
        "*4\r\n".to_owned(),
        run(0, 100, 7811, A),
        run(101, 199, 7812, B),
        run(200, 300, 7811, A),
        run(301, 16383, 7812, B),
    ];
    assert_eq!(fixture(recorded()).line("CLUSTER SLOTS"), want.concat());
}

#[test]
fn shards_as_recorded() {
    let shard = |slots: &str, id: &str, port: u16| {
        format!(
            "*4\r\n$5\r\nslots\r\n{slots}$5\r\nnodes\r\n*1\r\n*14\r\n$2\r\nid\r\n$40\r\n{id}\r\n\
             $4\r\nport\r\n:{port}\r\n$2\r\nip\r\n$9\r\n127.0.0.1\r\n$8\r\nendpoint\r\n$9\r\n127.0.0.1\r\n\
             $4\r\nrole\r\n$6\r\nmaster\r\n$18\r\nreplication-offset\r\n:0\r\n$6\r\nhealth\r\n$6\r\nonline\r\n"
        )
    };
    let want = [
        "*2\r\n".to_owned(),
        shard("*4\r\n:101\r\n:199\r\n:301\r\n:16383\r\n", B, 7812),
        shard("*4\r\n:0\r\n:100\r\n:200\r\n:300\r\n", A, 7811),
    ];
    assert_eq!(fixture(recorded()).line("CLUSTER SHARDS"), want.concat());
}

#[test]
fn links_as_recorded() {
    let link = |direction: &str, created: &str, allocated: u32| {
        format!(
            "*12\r\n$9\r\ndirection\r\n{}$4\r\nnode\r\n$40\r\n{B}\r\n$11\r\ncreate-time\r\n:{created}\r\n\
             $6\r\nevents\r\n$1\r\nr\r\n$21\r\nsend-buffer-allocated\r\n:{allocated}\r\n\
             $16\r\nsend-buffer-used\r\n:0\r\n",
            bulk(direction)
        )
    };
    let want = [
        "*2\r\n".to_owned(),
        link("to", "1795246742226", 5114),
        link("from", "1795246742252", 0),
    ];
    assert_eq!(fixture(recorded()).line("CLUSTER LINKS"), want.concat());
}

#[test]
fn info_as_recorded() {
    let want = "$504\r\ncluster_state:fail\r\ncluster_slots_assigned:16384\r\n\
        cluster_slots_ok:16384\r\ncluster_slots_pfail:0\r\ncluster_slots_fail:0\r\n\
        cluster_known_nodes:2\r\ncluster_size:2\r\ncluster_current_epoch:5\r\ncluster_my_epoch:5\r\n\
        cluster_stats_messages_ping_sent:4\r\ncluster_stats_messages_pong_sent:5\r\n\
        cluster_stats_messages_meet_sent:1\r\ncluster_stats_messages_sent:10\r\n\
        cluster_stats_messages_ping_received:5\r\ncluster_stats_messages_pong_received:5\r\n\
        cluster_stats_messages_received:10\r\ntotal_cluster_links_buffer_limit_exceeded:0\r\n\r\n";
    assert_eq!(fixture(recorded()).line("CLUSTER INFO"), want);
}

/// Two shards, seen by the first one's replica: one replica has failed, one has no data yet.
fn shards() -> ClusterView {
    let failed = NodeView {
        flags: Flags(Flags::SLAVE.0 | Flags::FAIL.0),
        health: Health::Failed,
        ..replica(4, 1)
    };
    let loading = NodeView {
        health: Health::Loading,
        offset: 0,
        hostname: "five".to_owned(),
        ..replica(5, 2)
    };
    let shaking = NodeView {
        flags: Flags(Flags::HANDSHAKE.0),
        shard: None,
        connected: false,
        ..master(6, &[])
    };
    let first = master(1, &[(0, 9), (11, 11)]);
    let second = NodeView {
        flags: Flags(Flags::MASTER.0 | Flags::PFAIL.0),
        hostname: "two".to_owned(),
        ..master(2, &[(12, 20)])
    };
    view(vec![replica(3, 1), first, failed, second, loading, shaking])
}

#[test]
fn lines_show_flags_masters_and_single_slots() {
    let mut view = shards();
    view.nodes[0].ip = String::new();
    let reply = fixture(view).line("CLUSTER NODES");
    let lines: Vec<&str> = reply.trim_end().split('\n').skip(1).collect();
    let n = |digit: u8| id(digit).to_string();
    let want = [
        format!("{} :7003@17003 myself,slave {} 0 0 1 connected", n(3), n(1)),
        format!(
            "{} 127.0.0.1:7001@17001 master - 0 0 1 connected 0-9 11",
            n(1)
        ),
        format!(
            "{} 127.0.0.1:7004@17004 slave,fail {} 0 0 1 connected",
            n(4),
            n(1)
        ),
        format!(
            "{} 127.0.0.1:7002@17002,two master,fail? - 0 0 2 connected 12-20",
            n(2)
        ),
        format!(
            "{} 127.0.0.1:7005@17005,five slave {} 0 0 2 connected",
            n(5),
            n(2)
        ),
        format!(
            "{} 127.0.0.1:7006@17006 handshake - 0 0 6 disconnected",
            n(6)
        ),
    ];
    assert_eq!(lines, want);
}

#[test]
fn a_node_without_flags_says_so_and_marks_are_mine_only() {
    let mut nodes = view(vec![master(1, &[(1, 2)]), master(2, &[(3, 3)])]);
    nodes.nodes[1].flags = Flags(0);
    nodes.migrating = vec![(2, id(2))];
    nodes.importing = vec![(0, id(3)), (3, id(2))];
    let reply = fixture(nodes).line("CLUSTER NODES");
    assert!(reply.contains(" noflags - 0 0 2 connected 3\n"), "{reply}");
    let marks = format!(
        " connected 1-2 [0-<-{}] [2->-{}] [3-<-{}]\n",
        id(3),
        id(2),
        id(2)
    );
    assert!(reply.contains(&marks), "{reply}");
}

#[test]
fn replicas_are_listed_for_masters_only() {
    let mut f = fixture(shards());
    for name in ["REPLICAS", "slaves"] {
        let reply = f.line(&format!("CLUSTER {name} {}", id(1)));
        assert!(reply.starts_with("*2\r\n$"), "{reply}");
        assert!(reply.contains(&format!("\r\n{} 127.0.0.1:7004", id(4))));
        assert!(!reply.contains('\n'.to_string().repeat(2).as_str()));
    }
    let of_replica = f.line(&format!("CLUSTER REPLICAS {}", id(4)));
    assert_eq!(of_replica, "-ERR The specified node is not a master\r\n");
    let upper = "A".repeat(40);
    let mut with_a = view(vec![master(10, &[])]);
    with_a.nodes[0].shard = None;
    assert_eq!(
        fixture(with_a).line(&format!("CLUSTER REPLICAS {upper}")),
        format!("-ERR Unknown node {upper}\r\n"),
        "ids are written in lower case"
    );
}

fn ports(reply: &str) -> Vec<u16> {
    let numbers = reply
        .split("\r\n")
        .filter_map(|line| line.strip_prefix(':'));
    let numbers = numbers.filter_map(|text| text.parse().ok());
    numbers.filter(|n| (7000..8000).contains(n)).collect()
}

#[test]
fn slots_leave_out_replicas_that_cannot_serve() {
    let reply = fixture(shards()).line("CLUSTER SLOTS");
    assert_eq!(ports(&reply), [7001, 7003, 7001, 7003, 7002], "{reply}");
}

#[test]
fn shards_list_the_master_first_and_every_settled_node() {
    let reply = fixture(shards()).line("CLUSTER SHARDS");
    assert_eq!(ports(&reply), [7001, 7003, 7004, 7002, 7005], "{reply}");
    assert!(reply.contains("$4\r\nfail\r\n") && reply.contains("$7\r\nloading\r\n"));
    assert!(reply.contains("$8\r\nhostname\r\n$4\r\nfive\r\n$4\r\nrole\r\n$7\r\nreplica\r\n"));
}

/// Each field of SHARDS about a node's health, in the order of nodes.
fn healths(reply: &str) -> Vec<&str> {
    let after = reply.split("health\r\n").skip(1);
    after.filter_map(|rest| rest.split("\r\n").nth(1)).collect()
}

#[test]
fn node_that_loads_says_so_of_itself() {
    let mut f = fixture(shards());
    let before = ["online", "online", "fail", "online", "loading"];
    assert_eq!(healths(&f.line("CLUSTER SHARDS")), before);
    f.serving = Serving::Loading { addr: None };
    let while_loading = ["online", "loading", "fail", "online", "loading"];
    assert_eq!(healths(&f.line("CLUSTER SHARDS")), while_loading);
    assert_eq!(ports(&f.line("CLUSTER SLOTS")), [7001, 7001, 7002]);
    let mut failed = shards();
    failed.nodes[0].health = Health::Failed;
    f.host.cluster.as_mut().expect("a cluster").view = failed;
    assert_eq!(healths(&f.line("CLUSTER SHARDS"))[1], "fail");
}

#[test]
fn a_replica_that_has_not_said_its_shard_is_in_its_masters() {
    let mut view = view(vec![master(1, &[]), replica(2, 1)]);
    view.nodes[1].shard = None;
    assert_eq!(view.shards().len(), 1);
    view.nodes[0].shard = None;
    assert_eq!(view.shards().len(), 1);
}

#[test]
fn the_preferred_endpoint_is_what_clients_are_told() {
    let mut f = fixture(view(vec![master(1, &[(5, 5)])]));
    let slots = |f: &mut Fixture, preferred, hostname: &str| {
        let view = &mut f.host.cluster.as_mut().unwrap().view;
        view.preferred = preferred;
        view.nodes[0].hostname = hostname.to_owned();
        let reply = f.line("CLUSTER SLOTS");
        reply.replace(&format!(":7001\r\n{}", bulk(&id(1).to_string())), "@")
    };
    let head = "*1\r\n*3\r\n:5\r\n:5\r\n*4\r\n";
    let ip = "$9\r\n127.0.0.1\r\n";
    let cases = [
        (PreferredEndpoint::Ip, "", format!("{ip}@*0\r\n")),
        (
            PreferredEndpoint::Ip,
            "h",
            format!("{ip}@*2\r\n$8\r\nhostname\r\n$1\r\nh\r\n"),
        ),
        (
            PreferredEndpoint::Hostname,
            "",
            format!("$1\r\n?\r\n@*2\r\n$2\r\nip\r\n{ip}"),
        ),
        (
            PreferredEndpoint::Hostname,
            "h",
            format!("$1\r\nh\r\n@*2\r\n$2\r\nip\r\n{ip}"),
        ),
        (
            PreferredEndpoint::Unknown,
            "h",
            format!("$-1\r\n@*4\r\n$2\r\nip\r\n{ip}$8\r\nhostname\r\n$1\r\nh\r\n"),
        ),
    ];
    for (preferred, hostname, want) in cases {
        let reply = slots(&mut f, preferred, hostname);
        assert_eq!(reply, format!("{head}{want}"), "{preferred:?} {hostname}");
    }
    let reply = f.line("CLUSTER SHARDS");
    assert!(reply.contains("$8\r\nendpoint\r\n$0\r\n\r\n"), "{reply}");
}

#[test]
fn maps_and_nulls_in_resp3() {
    let mut nodes = shards();
    nodes.preferred = PreferredEndpoint::Unknown;
    let mut f = fixture(nodes);
    f.line("HELLO 3");
    let slots = f.line("CLUSTER SLOTS");
    assert!(
        slots.starts_with("*3\r\n*4\r\n:0\r\n:9\r\n*4\r\n_\r\n:7001\r\n"),
        "{slots}"
    );
    assert!(slots.contains("%1\r\n$2\r\nip\r\n"), "{slots}");
    let shards = f.line("CLUSTER SHARDS");
    assert!(
        shards.starts_with("*2\r\n%2\r\n$5\r\nslots\r\n*4\r\n"),
        "{shards}"
    );
    assert!(shards.contains("*3\r\n%7\r\n$2\r\nid\r\n"), "{shards}");
    assert!(shards.contains("%8\r\n$2\r\nid\r\n"), "{shards}");
}

#[test]
fn info_counts_slots_by_their_owners_state() {
    let failed = NodeView {
        flags: Flags(Flags::MASTER.0 | Flags::FAIL.0),
        ..master(7, &[(100, 100)])
    };
    let mut nodes = shards();
    nodes.nodes.push(failed);
    let reply = fixture(nodes).line("CLUSTER INFO");
    for line in [
        "cluster_state:ok",
        "cluster_slots_assigned:21",
        "cluster_slots_ok:11",
        "cluster_slots_pfail:9",
        "cluster_slots_fail:1",
        "cluster_known_nodes:7",
        "cluster_current_epoch:6",
        "cluster_my_epoch:1",
    ] {
        assert!(reply.contains(&format!("{line}\r\n")), "{line} in {reply}");
    }
}

#[test]
fn ids_and_failure_reports() {
    let mut nodes = shards();
    nodes.nodes[3].failure_reports = 2;
    let mut f = fixture(nodes);
    assert_eq!(f.line("CLUSTER MYID"), bulk(&id(3).to_string()));
    assert_eq!(f.line("CLUSTER MYSHARDID"), bulk(&id(9).to_string()));
    let of = |digit| format!("CLUSTER COUNT-FAILURE-REPORTS {}", id(digit));
    assert_eq!(f.line(&of(2)), ":2\r\n");
    assert_eq!(f.line(&of(1)), ":0\r\n");
}

#[test]
fn owners_and_epochs_of_a_view() {
    let view = shards();
    let owners = view.owners();
    assert_eq!(owners[9].map(|n| n.id), Some(id(1)));
    assert!(owners[10].is_none());
    assert_eq!(owners[20].map(|n| n.id), Some(id(2)));
    assert_eq!(view.max_epoch(), 6);
    assert_eq!(set(&[(1, 2)]).len(), 2);
}
