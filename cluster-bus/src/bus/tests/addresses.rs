//! Where a node is: the own address, and those of others.

use super::*;

const HOME: u8 = 50;

impl Bench {
    /// A ping of a peer that has reached this node at the address with this number.
    fn reached(&mut self, n: u8, at: u8, kind: PingKind) {
        let link = INCOMING | (u64::from(at) << 8) | u64::from(n);
        if !self.bus.links.contains_key(&link) {
            self.bus.accepted(self.now, link, ip(n), ip(at));
        }
        self.hear(link, header(n), ping(kind, Vec::new()));
    }

    fn own_ip(&self) -> String {
        self.bus.myself_node().ip.clone()
    }

    /// CONFIG SET cluster-announce-ip.
    fn announce(&mut self, at: Option<u8>) {
        let options = Options {
            announce_ip: at.map(|n| ip(n).to_string()),
            ..self.bus.options().clone()
        };
        self.bus.set_options(self.now, options);
        self.collect();
    }

    fn saved_ip(&mut self) -> String {
        self.actions.clear();
        self.wait(200);
        let saved = self.actions.iter().rev().find_map(|action| match action {
            Action::Save(text) => Some(nodes_conf::parse(text).expect("our own text")),
            _ => None,
        });
        let conf = saved.expect("nodes.conf is written");
        conf.myself().expect("it has the own line").ip.clone()
    }
}

#[test]
fn an_announced_address_is_shown_and_saved() {
    let mut bench = Bench::new();
    bench.join(1);
    bench.reached(1, HOME, PingKind::Ping);
    assert_eq!(bench.own_ip(), ip(HOME).to_string());
    bench.announce(Some(60));
    assert_eq!(bench.own_ip(), ip(60).to_string());
    assert_eq!(bench.saved_ip(), ip(60).to_string());
}

/// Where nobody has reached it under any address it has none until somebody does.
#[test]
fn a_cleared_announcement_gives_the_address_in_use() {
    let mut bench = Bench::new();
    bench.join(1);
    bench.reached(1, HOME, PingKind::Ping);
    bench.announce(Some(60));
    bench.announce(None);
    assert_eq!(bench.own_ip(), ip(HOME).to_string());
    assert_eq!(bench.saved_ip(), ip(HOME).to_string());
    let mut alone = Bench::new();
    alone.announce(Some(60));
    alone.announce(None);
    assert_eq!(alone.own_ip(), "");
    alone.join(1);
    alone.reached(1, HOME, PingKind::Ping);
    assert_eq!(alone.own_ip(), ip(HOME).to_string());
    assert_eq!(alone.saved_ip(), ip(HOME).to_string());
}

/// nodes.conf has the address that it had before.
#[test]
fn a_restart_elsewhere_shows_the_new_address() {
    let mut before = Bench::new();
    before.join(1);
    before.join(2);
    before.reached(1, HOME, PingKind::Ping);
    let mut bench = Bench::with(Some(&before.bus.conf()));
    assert_eq!(bench.own_ip(), ip(HOME).to_string());
    bench.wait(100);
    bench.reached(9, 62, PingKind::Ping);
    assert_eq!(bench.own_ip(), ip(HOME).to_string(), "a stranger says so");
    bench.reached(1, 61, PingKind::Ping);
    assert_eq!(bench.own_ip(), ip(61).to_string());
    assert_eq!(bench.saved_ip(), ip(61).to_string());
}

/// It would be shown under one address and the other by turns.
#[test]
fn an_address_in_use_is_kept() {
    let mut bench = Bench::new();
    bench.join(1);
    bench.join(2);
    bench.reached(1, HOME, PingKind::Ping);
    bench.reached(2, 61, PingKind::Ping);
    bench.reached(3, 62, PingKind::Meet);
    assert_eq!(bench.own_ip(), ip(HOME).to_string());
    // Node 1 comes over the other one from now on.
    bench.reached(1, 61, PingKind::Ping);
    assert_eq!(bench.own_ip(), ip(61).to_string());
}

/// What others say of where it was lost is not believed: a rumour would go round for ever.
#[test]
fn a_node_without_address_is_found_by_gossip() {
    let mut bench = Bench::new();
    bench.join(1);
    bench.join(2);
    let link = bench.out[&1];
    bench.hear(link, header(3), ping(PingKind::Pong, Vec::new()));
    assert!(bench.flags(1).has(Flags::NOADDR));
    let at = |n: u8| Gossip {
        ip: ip(n).to_string(),
        ..entry(1, Flags::MASTER)
    };
    let link = bench.out[&2];
    let say = |at| ping(PingKind::Pong, vec![at]);
    bench.hear(link, header(2), say(at(1)));
    assert!(bench.flags(1).has(Flags::NOADDR), "another node is there");
    bench.from(2, ping(PingKind::Ping, vec![at(4)]));
    assert!(
        bench.flags(1).has(Flags::NOADDR),
        "anybody can say it in its name"
    );
    bench.hear(link, header(2), say(at(4)));
    assert!(!bench.flags(1).has(Flags::NOADDR));
    assert_eq!(
        bench.bus.node(id(1)).map(|n| n.ip.clone()),
        Some(ip(4).to_string())
    );
    bench.out.remove(&4);
    bench.wait(100);
    let link = bench.out[&4];
    bench.hear(link, header(1), ping(PingKind::Pong, Vec::new()));
    assert!(bench.bus.node(id(1)).is_some_and(|n| n.connected));
}

/// The node that has taken its address is where it was found, if it is nowhere else.
#[test]
fn a_node_found_in_anothers_place_is_there() {
    let mut bench = Bench::new();
    bench.join(1);
    bench.join(2);
    let old = bench.out[&2];
    bench.dead.push(2);
    bench.bus.closed(bench.now, old);
    bench.collect();
    let link = bench.out[&1];
    bench.hear(link, header(2), ping(PingKind::Pong, Vec::new()));
    assert!(bench.flags(1).has(Flags::NOADDR));
    assert_eq!(
        bench.bus.node(id(2)).map(|n| n.ip.clone()),
        Some(ip(1).to_string())
    );
}

/// FAIL and gossip, both forged: a node that answers us stays where it is.
#[test]
fn a_connected_node_is_not_moved_by_gossip() {
    let mut bench = Bench::new();
    bench.join_master(1);
    bench.join_master(2);
    bench.from(2, Body::Fail(id(1)));
    assert!(bench.flags(1).has(Flags::FAIL));
    let elsewhere = Gossip {
        ip: ip(4).to_string(),
        ..entry(1, Flags::MASTER)
    };
    let link = bench.out[&2];
    bench.hear(link, header(2), ping(PingKind::Pong, vec![elsewhere]));
    let node = bench.bus.node(id(1)).expect("it is known");
    assert!(node.connected);
    assert_eq!(node.ip, ip(1).to_string());
}
