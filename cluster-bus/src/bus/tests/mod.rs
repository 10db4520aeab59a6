//! One bus and peers that are played by hand, packet by packet.

mod addresses;
mod claims;
mod meetings;

use super::*;
use crate::nodes_conf;
use crate::slot::SLOT_COUNT;
use crate::wire::{self, Body, Extension, Gossip, Header, Message, PingKind};
use crate::{ShardId, SlotSet};

const TIMEOUT: u64 = 1000;

fn id(n: u8) -> NodeId {
    NodeId([n; 20])
}

fn shard_id(n: u8) -> ShardId {
    ShardId([n; 20])
}

fn range(from: u16, to: u16) -> SlotSet {
    (from..to).collect()
}

/// The bus under test is node 50 of shard 150; peer n has the address 10.0.0.n.
struct Bench {
    bus: Bus,
    now: Now,
    /// The links that the bus has opened, by peer.
    out: BTreeMap<u8, LinkId>,
    actions: Vec<Action>,
    /// Peers that do not accept or answer.
    dead: Vec<u8>,
}

fn ip(n: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, n])
}

fn header(n: u8) -> Header {
    Header {
        sender: id(n),
        master: None,
        slots: SlotSet::default(),
        ip: String::new(),
        port: 6379,
        pport: 0,
        cport: 16379,
        flags: Flags::MASTER,
        state: 0,
        message_flags: [4, 0, 0],
        current_epoch: u64::from(n),
        config_epoch: u64::from(n),
        offset: 0,
    }
}

fn ping(kind: PingKind, gossip: Vec<Gossip>) -> Body {
    Body::Ping {
        kind,
        gossip,
        extensions: Vec::new(),
    }
}

fn entry(n: u8, flags: Flags) -> Gossip {
    Gossip {
        node: id(n),
        ping_sent: 0,
        pong_received: 0,
        ip: ip(n).to_string(),
        port: 6379,
        cport: 16379,
        flags,
        pport: 0,
    }
}

impl Bench {
    fn new() -> Bench {
        Bench::with(None)
    }

    fn with(conf: Option<&NodesConf>) -> Bench {
        let now = Now {
            mono_ms: 100_000,
            unix_ms: 1_700_000_000_000,
        };
        let options = Options {
            node_timeout_ms: TIMEOUT,
            ..Options::default()
        };
        let mut bench = Bench {
            bus: Bus::new(options, id(50), conf, now),
            now,
            out: BTreeMap::new(),
            actions: Vec::new(),
            dead: Vec::new(),
        };
        bench.become_(NodeRole::Master, range(0, 100), 50);
        bench
    }

    fn become_(&mut self, role: NodeRole, slots: SlotSet, config_epoch: u64) {
        let state = SelfState {
            role,
            shard: shard_id(150),
            slots,
            config_epoch,
            ..SelfState::default()
        };
        self.bus.set_self(self.now, state);
        self.collect();
    }

    /// Carries out what the bus wants: connections come up at once, unless the peer is dead.
    fn collect(&mut self) -> Vec<Action> {
        let mut seen = Vec::new();
        loop {
            let actions = self.bus.actions();
            if actions.is_empty() {
                self.actions.extend(seen.iter().cloned());
                return seen;
            }
            for action in actions {
                if let Action::Connect { link, ip, .. } = &action {
                    let IpAddr::V4(ip) = ip else { panic!("{ip}") };
                    let peer = ip.octets()[3];
                    self.out.insert(peer, *link);
                    match self.dead.contains(&peer) {
                        true => self.bus.closed(self.now, *link),
                        false => self.bus.connected(self.now, *link, super::tests::ip(50)),
                    }
                }
                seen.push(action);
            }
        }
    }

    fn hear(&mut self, link: LinkId, header: Header, body: Body) -> Vec<Action> {
        let mut bytes = Vec::new();
        Message { header, body }.encode(&mut bytes);
        self.bus.received(self.now, link, &bytes);
        self.collect()
    }

    /// A packet on the link that the peer has opened.
    fn from(&mut self, n: u8, body: Body) -> Vec<Action> {
        self.say(header(n), body)
    }

    fn say(&mut self, header: Header, body: Body) -> Vec<Action> {
        let n = header.sender.0[0];
        let link = INCOMING | u64::from(n);
        if !self.bus.links.contains_key(&link) {
            self.bus.accepted(self.now, link, ip(n), ip(50));
        }
        self.hear(link, header, body)
    }

    fn pong(&mut self, n: u8) -> Vec<Action> {
        let link = self.out[&n];
        self.hear(link, header(n), ping(PingKind::Pong, Vec::new()))
    }

    /// Meets a peer, which answers.
    fn join(&mut self, n: u8) {
        assert!(self.bus.meet(self.now, ip(n), 6379, 16379));
        self.wait(100);
        self.pong(n);
        assert!(self.bus.node(id(n)).is_some());
    }

    /// Joins a master with slots, which begin at 1000 times its number.
    fn join_master(&mut self, n: u8) {
        self.join(n);
        let from = u16::from(n) * 1000;
        let slots = range(from, from + 1000);
        let header = Header { slots, ..header(n) };
        self.say(header, ping(PingKind::Ping, Vec::new()));
        assert_eq!(self.bus.owner(from), Some(id(n)));
    }

    fn wait(&mut self, ms: u64) -> Vec<Action> {
        let mut seen = Vec::new();
        for _ in 0..ms / 100 {
            self.now.mono_ms += 100;
            self.now.unix_ms += 100;
            self.bus.tick(self.now);
            seen.extend(self.collect());
        }
        seen
    }

    fn flags(&self, n: u8) -> Flags {
        self.bus.node(id(n)).expect("a known node").flags
    }
}

/// The packets among actions, with their links.
fn sent(actions: &[Action]) -> Vec<(LinkId, Message)> {
    let sends = actions.iter().filter_map(|action| match action {
        Action::Send { link, bytes } => Some((*link, wire::decode(bytes).expect("our own"))),
        _ => None,
    });
    sends.collect()
}

fn sends(actions: &[Action], wanted: impl Fn(&Body) -> bool) -> bool {
    sent(actions)
        .iter()
        .any(|(_, message)| wanted(&message.body))
}

#[test]
fn a_handshake_gives_a_node_its_name() {
    let mut bench = Bench::new();
    assert!(bench.bus.meet(bench.now, ip(1), 6379, 16379));
    assert!(!bench.bus.meet(bench.now, ip(1), 6379, 16379), "under way");
    let actions = bench.wait(100);
    let packets = sent(&actions);
    let meet = |body: &Body| matches!(body, Body::Ping { kind, .. } if *kind == PingKind::Meet);
    assert!(packets.iter().any(|(_, m)| meet(&m.body)));
    assert!(bench.bus.nodes().any(Node::in_handshake));
    bench.pong(1);
    assert!(bench
        .bus
        .node(id(1))
        .is_some_and(|n| !n.in_handshake() && n.connected));
    assert_eq!(bench.bus.nodes().count(), 2);

    // Meeting it once more ends with the one node.
    assert!(bench.bus.meet(bench.now, ip(1), 6379, 16379));
    bench.wait(100);
    bench.pong(1);
    assert_eq!(bench.bus.nodes().count(), 2);
}

#[test]
fn a_handshake_without_an_answer_ends() {
    let mut bench = Bench::new();
    bench.dead.push(1);
    assert!(bench.bus.meet(bench.now, ip(1), 6379, 16379));
    bench.wait(1000);
    assert_eq!(bench.bus.nodes().count(), 2);
    bench.wait(300);
    assert_eq!(bench.bus.nodes().count(), 1);
}

#[test]
fn one_who_meets_us_is_met_back_and_a_stranger_is_only_answered() {
    let mut bench = Bench::new();
    let told = vec![entry(7, Flags::MASTER)];
    let actions = bench.from(1, ping(PingKind::Ping, told.clone()));
    assert_eq!(sent(&actions).len(), 1, "a pong");
    assert_eq!(bench.bus.nodes().count(), 1);
    bench.from(1, ping(PingKind::Meet, told.clone()));
    assert_eq!(bench.bus.myself_node().ip, "10.0.0.50");
    assert_eq!(
        bench.bus.nodes().count(),
        2,
        "nobody is learned from a stranger"
    );
    bench.wait(100);
    bench.pong(1);
    bench.from(1, ping(PingKind::Ping, told));
    assert!(bench.bus.node(id(7)).is_some(), "learned from a known node");
}

#[test]
fn silence_is_pfail_and_most_masters_make_it_fail() {
    let mut bench = Bench::new();
    for n in [1, 2, 3, 4] {
        bench.join_master(n);
    }
    bench.dead.push(4);
    let link = bench.out[&4];
    bench.bus.closed(bench.now, link);
    // Five masters: we and two more are most.
    for _ in 0..16 {
        bench.wait(100);
        (1..=3).for_each(|n| drop(bench.pong(n)));
    }
    assert!(bench.flags(4).has(Flags::PFAIL));
    assert!([1, 2, 3].iter().all(|n| !suspect(bench.flags(*n))));
    let gossips = bench.from(1, ping(PingKind::Ping, vec![entry(4, Flags::PFAIL)]));
    assert!(bench.flags(4).has(Flags::PFAIL), "two of five are not most");
    let names_it = |body: &Body| matches!(body, Body::Ping { gossip, .. } if gossip.iter().any(|g| g.node == id(4)));
    assert!(sends(&gossips, names_it), "PFAIL nodes are in every packet");

    let actions = bench.from(2, ping(PingKind::Ping, vec![entry(4, Flags::FAIL)]));
    assert!(bench.flags(4).has(Flags::FAIL) && !bench.flags(4).has(Flags::PFAIL));
    assert!(sends(&actions, |body| *body == Body::Fail(id(4))));
    assert_eq!(bench.bus.failure_reports(id(4)), 2);

    // It is back: with slots of its own it stays FAIL for twice the timeout.
    bench.dead.clear();
    bench.wait(100);
    bench.pong(4);
    assert!(bench.flags(4).has(Flags::FAIL));
    for _ in 0..25 {
        bench.wait(100);
        (1..=4).for_each(|n| drop(bench.pong(n)));
    }
    assert!(!suspect(bench.flags(4)));
    assert_eq!(bench.bus.failure_reports(id(4)), 0, "reports age");
}

fn suspect(flags: Flags) -> bool {
    super::table::suspect(flags)
}

#[test]
fn reports_of_those_without_slots_do_not_count() {
    let mut bench = Bench::new();
    (1..=3).for_each(|n| bench.join(n));
    bench.join_master(4);
    for n in [1, 2, 3] {
        bench.from(n, ping(PingKind::Ping, vec![entry(4, Flags::PFAIL)]));
    }
    assert_eq!(bench.bus.failure_reports(id(4)), 0);
}

#[test]
fn a_replica_that_failed_is_well_as_soon_as_it_answers() {
    let mut bench = Bench::new();
    bench.join_master(1);
    bench.join(2);
    bench.from(1, Body::Fail(id(2)));
    assert!(bench.flags(2).has(Flags::FAIL));
    bench.pong(2);
    assert!(!suspect(bench.flags(2)));
    bench.from(9, Body::Fail(id(2)));
    assert!(!suspect(bench.flags(2)), "a stranger's word");
    bench.from(1, Body::Fail(id(50)));
    assert!(!suspect(bench.flags(50)), "not of oneself");
}

#[test]
fn the_forgotten_stay_away_for_a_minute() {
    let mut bench = Bench::new();
    bench.join(1);
    bench.join(2);
    assert_eq!(
        bench.bus.forget(bench.now, id(9)),
        Err(ForgetError::Unknown)
    );
    assert_eq!(
        bench.bus.forget(bench.now, id(50)),
        Err(ForgetError::Myself)
    );
    assert_eq!(bench.bus.forget(bench.now, id(2)), Ok(()));
    let actions = bench.from(1, ping(PingKind::Ping, vec![entry(2, Flags::MASTER)]));
    assert!(bench.bus.node(id(2)).is_none());
    let forgotten = Extension::ForgottenNode {
        node: id(2),
        ttl_seconds: 60,
    };
    assert!(sends(
        &actions,
        |body| matches!(body, Body::Ping { extensions, .. }
        if extensions.contains(&forgotten))
    ));
    bench.wait(59_900);
    bench.from(1, ping(PingKind::Ping, vec![entry(2, Flags::MASTER)]));
    assert!(bench.bus.node(id(2)).is_none());
    bench.wait(200);
    bench.from(1, ping(PingKind::Ping, vec![entry(2, Flags::MASTER)]));
    assert!(bench.bus.node(id(2)).is_some());

    // Another forgets: we too, but never ourselves.
    let body = Body::Ping {
        kind: PingKind::Pong,
        gossip: vec![entry(2, Flags::MASTER)],
        extensions: [2, 50]
            .map(|n| Extension::ForgottenNode {
                node: id(n),
                ttl_seconds: 60,
            })
            .to_vec(),
    };
    bench.from(1, body.clone());
    assert!(
        bench.bus.node(id(2)).is_some(),
        "anybody can say it in its name"
    );
    let link = bench.out[&1];
    // M13: slots move to its shard, and no other node could speak for that.
    let shard = ShardId([2; 20]);
    let said = Body::Ping {
        kind: PingKind::Pong,
        gossip: Vec::new(),
        extensions: vec![Extension::ShardId(shard)],
    };
    bench.from(2, said);
    assert_eq!(bench.bus.shard_of(id(2)), Some(shard));
    bench.bus.set_needed([shard].into());
    bench.hear(link, header(1), body.clone());
    assert!(bench.bus.node(id(2)).is_some());
    bench.bus.set_needed([].into());
    bench.hear(link, header(1), body);
    assert!(bench.bus.node(id(2)).is_none());
    let again = bench.bus.forget(bench.now, id(2));
    assert_eq!(again, Ok(()), "an operator tells all nodes, one by one");
    bench.become_(NodeRole::Slave(id(1)), SlotSet::default(), 0);
    assert_eq!(
        bench.bus.forget(bench.now, id(1)),
        Err(ForgetError::MyMaster)
    );
}

#[test]
fn a_vote_is_saved_before_it_is_sent_and_given_once() {
    let mut bench = Bench::new();
    bench.join_master(1);
    bench.join(2);
    let request = |epoch| Header {
        master: Some(id(1)),
        flags: Flags::SLAVE,
        slots: range(1000, 2000),
        current_epoch: epoch,
        config_epoch: 1,
        ..header(2)
    };
    bench.say(request(50), ping(PingKind::Ping, Vec::new()));
    let granted = |actions: &[Action]| sends(actions, |body| *body == Body::AuthAck);
    assert!(
        !granted(&bench.say(request(51), Body::AuthRequest)),
        "its master is up"
    );
    bench.from(1, Body::Fail(id(1)));
    assert!(
        !granted(&bench.say(request(50), Body::AuthRequest)),
        "an old epoch"
    );
    let actions = bench.say(request(51), Body::AuthRequest);
    assert!(granted(&actions));
    let save = actions
        .iter()
        .position(|a| matches!(a, Action::Save(text) if text.contains("lastVoteEpoch 51")));
    let send = actions
        .iter()
        .position(|a| matches!(a, Action::Send { .. }));
    assert!(save.is_some() && save < send);
    assert!(!granted(&bench.say(request(51), Body::AuthRequest)), "once");
    assert!(
        !granted(&bench.say(request(52), Body::AuthRequest)),
        "too soon"
    );
    bench.wait(2 * TIMEOUT);
    assert!(granted(&bench.say(request(53), Body::AuthRequest)));
    bench.become_(NodeRole::Master, SlotSet::default(), 50);
    bench.wait(2 * TIMEOUT);
    assert!(
        !granted(&bench.say(request(54), Body::AuthRequest)),
        "no slots, no vote"
    );
}

#[test]
fn the_state_needs_all_slots_and_most_masters() {
    let mut bench = Bench::new();
    assert!(!bench.bus.state_ok());
    bench.become_(NodeRole::Master, range(0, SLOT_COUNT), 50);
    assert!(bench.bus.state_ok());
    bench.join(1);
    bench.become_(NodeRole::Master, range(0, SLOT_COUNT - 1), 51);
    assert!(!bench.bus.state_ok());
    let mut options = bench.bus.options().clone();
    options.require_full_coverage = false;
    bench.bus.set_options(bench.now, options);
    assert!(bench.bus.state_ok());
}

#[test]
fn what_is_saved_comes_back_but_for_our_own_part() {
    let mut bench = Bench::new();
    bench.join_master(1);
    bench.join_master(2);
    bench.from(1, Body::Fail(id(2)));
    let saved = bench.wait(100).into_iter().find_map(|action| match action {
        Action::Save(text) => Some(text),
        _ => None,
    });
    let conf = nodes_conf::parse(&saved.expect("saved")).expect("good");
    let bus = Bus::new(Options::default(), id(50), Some(&conf), bench.now);
    assert_eq!(bus.owner(1000), Some(id(1)));
    assert!(bus
        .node(id(2))
        .is_some_and(|n| n.flags.has(Flags::FAIL) && n.slot_count == 1000));
    assert_eq!(bus.owner(0), None, "S4: the record says what is ours");
    assert_eq!(bus.current_epoch(), 50);
    assert!(
        bench
            .wait(100)
            .iter()
            .all(|a| !matches!(a, Action::Save(_))),
        "no news, no file"
    );
}

#[test]
fn slots_are_saved_once_a_second_nodes_at_once() {
    let mut bench = Bench::new();
    bench.join_master(1);
    bench.wait(2000);
    let is_save = |a: &Action| matches!(a, Action::Save(_));
    let mut saves = 0;
    for n in 0..20 {
        bench.become_(NodeRole::Master, range(0, 100 - n), 50);
        saves += bench.wait(100).iter().filter(|a| is_save(a)).count();
    }
    assert_eq!(saves, 2, "within two seconds");
    bench.become_(NodeRole::Master, range(0, 50), 50);
    assert!(!bench.wait(100).iter().any(is_save), "slots wait");
    bench.join_master(2);
    bench.wait(100);
    bench.from(1, Body::Fail(id(2)));
    assert!(bench.wait(100).iter().any(is_save), "a node does not");
}

#[test]
fn another_node_at_an_address_is_no_address() {
    let mut bench = Bench::new();
    bench.join(1);
    let link = bench.out[&1];
    let actions = bench.hear(link, header(2), ping(PingKind::Pong, Vec::new()));
    assert!(actions.contains(&Action::Close { link }));
    assert!(bench.flags(1).has(Flags::NOADDR));
    let from_elsewhere = bench.from(1, ping(PingKind::Ping, Vec::new()));
    assert!(
        !bench.flags(1).has(Flags::NOADDR),
        "it says where it is: {from_elsewhere:?}"
    );
}

/// A stranger at the address of another node would get our words for it, and speak in its name.
#[test]
fn a_node_that_answers_is_not_moved_by_others() {
    let mut bench = Bench::new();
    bench.join(2);
    let moved = |cport| Header { cport, ..header(2) };
    // On a link that somebody has opened in its name, while its own link stands.
    bench.say(moved(9), ping(PingKind::Ping, Vec::new()));
    assert_eq!(bench.bus.node(id(2)).map(|n| n.cport), Some(16379));
    // A handshake with a stranger that then takes its name.
    bench.say(header(3), ping(PingKind::Meet, Vec::new()));
    bench.wait(100);
    let link = bench.out[&3];
    bench.hear(link, moved(9), ping(PingKind::Pong, Vec::new()));
    assert_eq!(bench.bus.node(id(2)).map(|n| n.cport), Some(16379));
    // Where it answers it may say that it is to be reached elsewhere.
    let link = bench.out[&2];
    bench.hear(link, moved(7), ping(PingKind::Pong, Vec::new()));
    assert_eq!(bench.bus.node(id(2)).map(|n| n.cport), Some(7));
    // One that answers no more can be anywhere.
    bench.dead.push(2);
    let link = bench.out[&2];
    bench.bus.closed(bench.now, link);
    bench.collect();
    bench.say(moved(8), ping(PingKind::Ping, Vec::new()));
    assert_eq!(bench.bus.node(id(2)).map(|n| n.cport), Some(8));
}

#[test]
fn absurd_epochs_are_not_believed() {
    let mut bench = Bench::new();
    bench.join(2);
    let (known, near) = (bench.bus.max_epoch(), bench.bus.max_epoch() + (1 << 32));
    for epoch in [u64::MAX, u64::MAX - 1, near + 1] {
        let none = || ping(PingKind::Ping, Vec::new());
        let update = |config_epoch| Body::Update {
            config_epoch,
            node: id(2),
            slots: SlotSet::default(),
        };
        let current = Header {
            current_epoch: epoch,
            ..header(2)
        };
        let config = Header {
            config_epoch: epoch,
            ..header(2)
        };
        bench.say(current, none());
        bench.say(config, none());
        bench.from(2, update(epoch));
        assert_eq!(bench.bus.max_epoch(), known, "{epoch}");
    }
    let header = Header {
        current_epoch: near,
        ..header(2)
    };
    bench.say(header, ping(PingKind::Ping, Vec::new()));
    assert_eq!(bench.bus.max_epoch(), near);
}

#[test]
fn meeting_oneself_comes_to_nothing() {
    let mut bench = Bench::new();
    assert!(bench.bus.meet(bench.now, ip(49), 6379, 16379));
    bench.wait(100);
    let link = bench.out[&49];
    bench.hear(link, header(50), ping(PingKind::Pong, Vec::new()));
    assert_eq!(bench.bus.nodes().count(), 1);
    assert_eq!(bench.bus.links().count(), 0);
}

#[test]
fn a_reset_forgets_all() {
    let mut bench = Bench::new();
    bench.join_master(1);
    bench.bus.reset(bench.now, Some(id(51)));
    assert_eq!(
        (bench.bus.nodes().count(), bench.bus.links().count()),
        (1, 0)
    );
    assert_eq!((bench.bus.myself(), bench.bus.current_epoch()), (id(51), 0));
    assert_eq!(bench.bus.owner(0), None);
}

#[test]
fn any_bytes_are_survived() {
    let mut bench = Bench::new();
    bench.join_master(1);
    let link = INCOMING | 1;
    let mut good = Vec::new();
    let body = ping(PingKind::Ping, vec![entry(2, Flags::MASTER)]);
    let header = header(1);
    Message { header, body }.encode(&mut good);
    let mut random = Random::new(3);
    for _ in 0..20_000 {
        let mut bytes = good.clone();
        for _ in 0..1 + random.next() % 4 {
            let at = (random.next() % bytes.len() as u64) as usize;
            bytes[at] = random.next() as u8;
        }
        bytes.truncate((random.next() % (2 * good.len() as u64)) as usize);
        if !bench.bus.links.contains_key(&link) {
            bench.bus.accepted(bench.now, link, ip(1), ip(50));
        }
        bench.bus.received(bench.now, link, &bytes);
        bench.bus.actions();
    }
    assert_eq!(bench.bus.owner(0), Some(id(50)));
    nodes_conf::parse(&bench.bus.conf().render()).expect("still a good file");
}

#[test]
fn all_hear_of_a_change_of_ours_and_of_nothing_else() {
    let mut bench = Bench::new();
    bench.join(1);
    bench.join(2);
    bench.actions.clear();
    bench.become_(NodeRole::Master, range(0, 100), 50);
    assert!(sent(&bench.actions).is_empty(), "nothing new");
    // Of slots alone a moment later: of several that move one by one once.
    bench.become_(NodeRole::Master, range(0, 102), 50);
    bench.become_(NodeRole::Master, range(0, 101), 50);
    assert!(sent(&bench.actions).is_empty(), "too soon");
    let due = bench.bus.deadline();
    assert!(due <= bench.now.mono_ms + 10, "due in {due}");
    bench.now.mono_ms = due;
    bench.bus.tick(bench.now);
    bench.collect();
    let told = sent(&bench.actions);
    assert_eq!(told.len(), 2);
    for (_, message) in told {
        assert!(matches!(message.body, Body::Ping { kind, .. } if kind == PingKind::Pong));
        assert_eq!(message.header.slots, range(0, 101));
    }
    // A replica speaks for its master's slots.
    bench.actions.clear();
    bench.become_(NodeRole::Slave(id(1)), range(0, 101), 51);
    let told = sent(&bench.actions);
    let header = &told.first().expect("a pong").1.header;
    assert_eq!((header.master, header.config_epoch), (Some(id(1)), 51));
    assert!(header.flags.has(Flags::SLAVE) && !header.flags.has(Flags::MASTER));
    assert_eq!(header.slots, range(0, 101));
}

#[test]
fn a_sharded_message_stays_in_the_shard() {
    let mut bench = Bench::new();
    bench.join(1);
    bench.join(2);
    let body = Body::Ping {
        kind: PingKind::Ping,
        gossip: Vec::new(),
        extensions: vec![Extension::ShardId(shard_id(150))],
    };
    bench.from(2, body);
    for (sharded, wanted) in [
        (false, vec![bench.out[&1], bench.out[&2]]),
        (true, vec![bench.out[&2]]),
    ] {
        let (channel, message) = (b"c".to_vec(), b"m".to_vec());
        bench.bus.publish(bench.now, sharded, channel, message);
        let actions = bench.collect();
        let links: Vec<LinkId> = sent(&actions).iter().map(|(link, _)| *link).collect();
        assert_eq!(links, wanted);
    }
    assert_eq!(bench.bus.stats().sent[4], 2);
    assert_eq!(bench.bus.stats().sent[10], 1);
}

#[test]
fn extensions_go_only_to_those_that_know_them() {
    let mut bench = Bench::new();
    bench.join(1);
    let old = Header {
        message_flags: [0; 3],
        ..header(2)
    };
    bench.say(old.clone(), ping(PingKind::Meet, Vec::new()));
    bench.wait(100);
    let link = bench.out[&2];
    bench.hear(link, old, ping(PingKind::Pong, Vec::new()));
    bench.actions.clear();
    bench.become_(NodeRole::Master, SlotSet::default(), 50);
    for (link, message) in sent(&bench.actions) {
        let Body::Ping { extensions, .. } = message.body else {
            panic!("{message:?}");
        };
        assert_eq!(extensions.is_empty(), link == bench.out[&2]);
        assert_eq!(
            message.header.message_flags[0], 4,
            "we always say that we do"
        );
    }
}

#[test]
fn a_link_without_answers_is_opened_anew_within_the_timeout() {
    let mut bench = Bench::new();
    bench.join(1);
    bench.wait(TIMEOUT);
    bench.pong(1);
    let link = bench.out[&1];
    let mut waited = 0;
    while bench.out[&1] == link {
        bench.wait(100);
        waited += 100;
        assert!(waited <= 2 * TIMEOUT, "the link is never reset");
        assert!(!suspect(bench.flags(1)));
    }
    // Half a timeout until the ping, half a timeout without a pong.
    assert!(waited > TIMEOUT, "{waited} ms");
    bench.wait(TIMEOUT);
    assert!(suspect(bench.flags(1)), "the new link is no sign of life");
}

#[test]
fn a_pong_that_another_had_saves_a_ping() {
    let mut bench = Bench::new();
    bench.join(1);
    bench.join(2);
    let heard = |bench: &Bench, ahead: i64| Gossip {
        pong_received: ((bench.now.unix_ms + ahead) / 1000) as u32,
        ..entry(2, Flags::MASTER)
    };
    for _ in 0..30 {
        bench.wait(100);
        bench.pong(1);
        bench.pong(2);
    }
    let before = bench.bus.node(id(2)).and_then(|n| n.pong_received);
    bench.now.mono_ms += 2000;
    bench.now.unix_ms += 2000;
    let future = heard(&bench, 5000);
    bench.from(1, ping(PingKind::Ping, vec![future]));
    assert_eq!(bench.bus.node(id(2)).and_then(|n| n.pong_received), before);
    let past = heard(&bench, 0);
    bench.from(1, ping(PingKind::Ping, vec![past]));
    assert!(bench.bus.node(id(2)).and_then(|n| n.pong_received) > before);
}
