//! Which node owns which slot: claims, UPDATE, epochs.

use super::*;

#[test]
fn the_higher_epoch_gets_a_slot_of_another_and_the_lower_one_an_update() {
    let mut bench = Bench::new();
    bench.join_master(1);
    bench.join_master(2);
    // 2 has the higher epoch.
    let claim = |n: u8, from, to| Header {
        slots: range(from, to),
        ..header(n)
    };
    bench.say(claim(2, 1500, 3000), ping(PingKind::Ping, Vec::new()));
    assert_eq!(bench.bus.owner(1499), Some(id(1)));
    assert_eq!(bench.bus.owner(1500), Some(id(2)));
    let actions = bench.say(claim(1, 1000, 2000), ping(PingKind::Ping, Vec::new()));
    assert_eq!(bench.bus.owner(1500), Some(id(2)));
    let updates = sent(&actions)
        .into_iter()
        .filter_map(|(link, message)| match message.body {
            Body::Update {
                node,
                config_epoch,
                slots,
            } => Some((link, node, config_epoch, slots)),
            _ => None,
        });
    let updates: Vec<_> = updates.collect();
    assert_eq!(updates, [(bench.out[&1], id(2), 2, range(1500, 3000))]);
    assert_eq!(bench.bus.node(id(1)).map(|n| n.slot_count), Some(500));

    // A slot that is no longer claimed stays where it is until another claims it, whatever its
    // epoch; no UPDATE names it.
    bench.say(claim(2, 1600, 3000), ping(PingKind::Ping, Vec::new()));
    assert_eq!(bench.bus.owner(1500), Some(id(2)));
    let actions = bench.say(claim(1, 1000, 2000), ping(PingKind::Ping, Vec::new()));
    assert!(sends(
        &actions,
        |body| matches!(body, Body::Update { slots, .. }
        if *slots == range(1600, 3000))
    ));
    assert_eq!(bench.bus.owner(1599), Some(id(1)));
    assert_eq!(bench.bus.owner(1600), Some(id(2)));
}

#[test]
fn an_update_is_believed_about_others_and_not_about_us() {
    let mut bench = Bench::new();
    bench.join_master(1);
    bench.join_master(2);
    let update = |n, epoch, from, to| Body::Update {
        config_epoch: epoch,
        node: id(n),
        slots: range(from, to),
    };
    bench.from(1, update(2, 2, 1000, 1100));
    assert_eq!(bench.bus.owner(1000), Some(id(1)), "no news");
    bench.from(1, update(2, 70, 1000, 1100));
    assert_eq!(bench.bus.owner(1000), Some(id(2)));
    assert_eq!(bench.bus.max_epoch(), 70);
    bench.from(1, update(50, 80, 1000, 1100));
    assert_eq!(bench.bus.owner(1000), Some(id(2)));
    assert_eq!(bench.bus.myself_node().config_epoch, 50);
    assert!(bench.actions.contains(&Action::EpochSeen(80)));
}

#[test]
fn a_claim_on_our_slots_is_told_and_not_obeyed() {
    let mut bench = Bench::new();
    bench.join(1);
    let claim = |epoch| Header {
        slots: range(50, 200),
        config_epoch: epoch,
        ..header(1)
    };
    let actions = bench.say(claim(49), ping(PingKind::Ping, Vec::new()));
    assert_eq!(bench.bus.owner(100), Some(id(1)), "nobody's slot");
    assert_eq!(bench.bus.owner(50), Some(id(50)));
    assert!(sends(
        &actions,
        |body| matches!(body, Body::Update { node, .. } if *node == id(50))
    ));

    bench.say(claim(50), ping(PingKind::Ping, Vec::new()));
    let claims = |a: &Action| matches!(a, Action::SlotsClaimed { .. });
    assert!(
        !bench.actions.iter().any(claims),
        "an equal epoch wins nothing"
    );
    // In its name anybody can say so: it is asked.
    let asked = bench.say(claim(51), ping(PingKind::Ping, Vec::new()));
    assert!(!bench.actions.iter().any(claims), "not proved");
    let link = bench.out[&1];
    let pinged = |(to, message): &(LinkId, Message)| {
        let is_ping = matches!(
            message.body,
            Body::Ping {
                kind: PingKind::Ping,
                ..
            }
        );
        *to == link && is_ping
    };
    assert!(sent(&asked).iter().any(pinged));
    let answers =
        |bench: &mut Bench, epoch| bench.hear(link, claim(epoch), ping(PingKind::Pong, Vec::new()));
    let actions = answers(&mut bench, 51);
    let told = Action::SlotsClaimed {
        by: id(1),
        epoch: 51,
        slots: range(50, 100),
    };
    assert!(actions.contains(&told));
    assert_eq!(bench.bus.owner(50), Some(id(50)), "S3: the log decides");
    let actions = answers(&mut bench, 51);
    assert!(!actions.contains(&told), "not with every packet");
    bench.wait(1000);
    let link = bench.out[&1];
    let actions = bench.hear(link, claim(51), ping(PingKind::Pong, Vec::new()));
    assert!(actions.contains(&told), "but again while it stands");

    bench.become_(NodeRole::Master, range(0, 50), 50);
    assert_eq!(bench.bus.owner(50), Some(id(1)), "at once to the claimant");
    assert_eq!(bench.bus.owner(49), Some(id(50)));
}

#[test]
fn a_claim_within_the_shard_waits_for_the_record() {
    let mut bench = Bench::new();
    bench.join(1);
    let header = Header {
        slots: range(0, 100),
        config_epoch: 60,
        ..header(1)
    };
    let body = Body::Ping {
        kind: PingKind::Ping,
        gossip: Vec::new(),
        extensions: vec![Extension::ShardId(shard_id(150))],
    };
    bench.say(
        Header::clone(&Header {
            slots: SlotSet::default(),
            ..header.clone()
        }),
        body,
    );
    let actions = bench.say(header, ping(PingKind::Ping, Vec::new()));
    assert!(!actions
        .iter()
        .any(|a| matches!(a, Action::SlotsClaimed { .. })));
    assert_eq!(bench.bus.owner(0), Some(id(50)));
    bench.become_(NodeRole::Slave(id(1)), range(0, 100), 60);
    assert_eq!(bench.bus.owner(0), Some(id(1)));
    assert!(bench.bus.myself_node().slots.is_empty());
}

#[test]
fn an_heir_gets_the_slot_unless_it_is_late() {
    for (ms, owner) in [(0, Some(id(1))), (6000, None)] {
        let mut bench = Bench::new();
        bench.join_master(1);
        bench.bus.set_owner(bench.now, 99, Some(id(1)));
        assert_eq!(bench.bus.owner(99), Some(id(50)), "the record has it");
        bench.wait(ms);
        bench.become_(NodeRole::Master, range(0, 99), 50);
        assert_eq!(bench.bus.owner(99), owner, "given up after {ms} ms");
    }
}

/// It does not know the shard's slots yet, and names none.
#[test]
fn a_node_that_joins_takes_no_slot_from_its_master() {
    let mut bench = Bench::new();
    bench.join_master(1);
    bench.join_master(2);
    assert_eq!(bench.bus.owner(1000), Some(id(1)));
    let joins = Header {
        master: Some(id(1)),
        flags: Flags::SLAVE,
        config_epoch: 0,
        slots: SlotSet::default(),
        ..header(2)
    };
    bench.say(joins, ping(PingKind::Ping, Vec::new()));
    bench.become_(NodeRole::Slave(id(1)), SlotSet::default(), 0);
    // Under a lower epoch another node gets only what its owner has given up.
    bench.join(3);
    let claim = Header {
        slots: range(1000, 1001),
        config_epoch: 0,
        ..header(3)
    };
    bench.say(claim, ping(PingKind::Ping, Vec::new()));
    assert_eq!(bench.bus.owner(1000), Some(id(1)));
}

#[test]
fn a_replica_knows_the_taker_at_the_hand_over() {
    let mut bench = Bench::new();
    bench.join(1);
    bench.join_master(2);
    bench.become_(NodeRole::Slave(id(1)), range(0, 100), 60);
    assert_eq!(bench.bus.owner(99), Some(id(1)));
    let handed_over = SelfState {
        slots: range(0, 99),
        given: BTreeMap::from([(99, id(2))]),
        ..bench.bus.self_state().clone()
    };
    bench.bus.set_self(bench.now, handed_over);
    assert_eq!(bench.bus.owner(98), Some(id(1)));
    assert_eq!(bench.bus.owner(99), Some(id(2)));
}

#[test]
fn a_master_that_follows_another_leaves_no_slot_without_owner() {
    let mut bench = Bench::new();
    bench.join_master(1);
    bench.join(2);
    let header = Header {
        master: Some(id(2)),
        slots: range(1000, 2000),
        config_epoch: 60,
        flags: Flags::SLAVE,
        ..header(1)
    };
    bench.say(header, ping(PingKind::Ping, Vec::new()));
    assert_eq!(bench.bus.owner(1000), Some(id(2)));
    assert!(bench.flags(1).has(Flags::SLAVE) && !bench.flags(1).has(Flags::MASTER));
    assert_eq!(bench.bus.size(), 2);
}

#[test]
fn the_lower_id_is_told_of_a_collision() {
    let mut bench = Bench::new();
    bench.join(1);
    bench.join(60);
    for n in [1, 60] {
        let header = Header {
            config_epoch: 50,
            ..header(n)
        };
        bench.say(header, ping(PingKind::Ping, Vec::new()));
    }
    let told: Vec<_> = bench
        .actions
        .iter()
        .filter(|a| matches!(a, Action::EpochCollision { .. }))
        .collect();
    assert_eq!(
        told,
        [&Action::EpochCollision {
            with: id(60),
            epoch: 50
        }]
    );
    assert_eq!(bench.bus.myself_node().config_epoch, 50, "the log decides");
}

/// What the log is told of owners that change.
fn losses(actions: &[Action]) -> Vec<&str> {
    let texts = actions.iter().filter_map(|action| match action {
        Action::Log(Level::Notice, text) if text.contains("slot(s)") => Some(text.as_str()),
        _ => None,
    });
    texts.collect()
}

#[test]
fn a_failover_elsewhere_is_told_once() {
    let mut bench = Bench::new();
    bench.join_master(1);
    bench.join_master(2);
    let claim = |epoch| Header {
        slots: range(1000, 2000),
        config_epoch: epoch,
        ..header(2)
    };
    let actions = bench.say(claim(9), ping(PingKind::Ping, Vec::new()));
    let told = losses(&actions);
    assert_eq!(told.len(), 1, "{told:?}");
    let node = |n| bench.bus.node(id(n)).expect("it is known");
    let at = |n| format!("{} ({}:{})", id(n), node(n).ip, node(n).port);
    let end = format!(
        "{} lost 1000 slot(s) to node {} with a config epoch of 9",
        at(1),
        at(2)
    );
    assert_eq!(told, [format!("Node {end}")], "of two shards");
    let again = bench.say(claim(9), ping(PingKind::Ping, Vec::new()));
    assert_eq!(losses(&again), [""; 0]);

    // The same of two nodes that say that they are of one shard.
    let of_shard = || Body::Ping {
        kind: PingKind::Ping,
        gossip: Vec::new(),
        extensions: vec![Extension::ShardId(shard_id(70))],
    };
    for n in [1, 2] {
        bench.say(header(n), of_shard());
    }
    let back = Header {
        slots: range(1000, 2000),
        config_epoch: 10,
        ..header(1)
    };
    let actions = bench.say(back, of_shard());
    let told = losses(&actions);
    let begin = format!(
        "A failover occurred in shard {}; node {}",
        shard_id(70),
        id(2)
    );
    assert!(told.len() == 1 && told[0].starts_with(&begin), "{told:?}");
}

/// Redis's own tests look for these lines.
#[test]
fn failing_nodes_are_logged_by_name() {
    let mut bench = Bench::new();
    bench.join_master(1);
    bench.join_master(2);
    for n in [1, 2] {
        let body = Body::Ping {
            kind: PingKind::Ping,
            gossip: Vec::new(),
            extensions: vec![Extension::HumanNodename(format!("name-{n}"))],
        };
        bench.say(header(n), body);
    }
    let mut flags = Flags::MASTER;
    flags.set(Flags::PFAIL, true);
    let gossip = vec![entry(1, flags)];
    let master = Header {
        slots: range(200, 300),
        ..header(2)
    };
    bench.say(master, ping(PingKind::Ping, gossip));
    let want = format!(
        "Node {} (name-2) reported node {} (name-1) as not reachable.",
        id(2),
        id(1)
    );
    let is_it =
        |action: &Action| matches!(action, Action::Log(Level::Verbose, text) if *text == want);
    assert!(bench.actions.iter().any(is_it));
}
