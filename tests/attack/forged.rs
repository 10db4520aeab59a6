//! Frames that nobody of the group has sent (G2, D6): in the default configuration, without a
//! password, from a stranger that has only read CLUSTER RAFT STATUS.

use crate::member::message;
use crate::real::{played, Real, Stage};
use crate::wire;
use base::ids::{GroupId, Incarnation, RaftId};
use cluster::control::{encode_envelope, Control};
use cluster_bus::bus::SelfState;
use cluster_bus::NodeId;
use raft::eraftpb::{Entry, Message, MessageType};
use raft_group::{Envelope, LeaseEpoch};
use std::time::{Duration, Instant};

/// For how long an attack that is to have no effect is watched.
pub const WATCHED: Duration = Duration::from_millis(1500);

/// A node alone with all slots and a key.
fn victim(stage: &mut Stage) -> Real {
    let real = stage.alone(&[]);
    real.node.ok(&["SET", "a", "only copy"]);
    real
}

/// Sends frames over a link under a name that nobody has.
fn strike(real: &Real, frames: &[Vec<u8>]) {
    let line = wire::call(real.bus_port(), 0, NodeId(rand::random()), real.id, "");
    let (mut line, _) = line.expect("a stranger gets a link");
    for frame in frames {
        // It may hang up.
        let _ = wire::send(&mut line, frame);
    }
}

/// The node is what it was, for as long as it is watched.
fn assert_unharmed(real: &mut Real, raft_id: u64, term: u64, after: &str) {
    let end = Instant::now() + WATCHED;
    while Instant::now() < end {
        real.assert_lives(after);
        // One that ends just now does not answer: the next look says so.
        if let Some(now) = real.node.info("raft", "raft_id") {
            let is = format!("{raft_id:016x}");
            assert_eq!(now, is, "{after}: the member is another");
        }
        let now = real.try_number("raft_term").unwrap_or(term);
        assert!(now < term + (1 << 32), "{after}: term {term} became {now}");
        std::thread::sleep(Duration::from_millis(20)); // between two looks
    }
    real.wait_serving();
    let value = real.node.cmd(&["GET", "a"]).text();
    assert_eq!(value, "only copy", "{after}");
    real.node.ok(&["SET", "b", after]);
}

/// An envelope for the only member of a group.
fn forged(real: &Real, from: u64, mut message: Message) -> Vec<u8> {
    let to = real.raft_id();
    (message.from, message.to) = (from, to);
    let term = message.term;
    encode_envelope(&Envelope {
        group: GroupId(real.group()),
        incarnation: Incarnation(1),
        from: RaftId(from),
        to: RaftId(to),
        lease_epoch: LeaseEpoch { term, transfers: 0 },
        sent_ns: crate::played::mono_ns(),
        applied: 0,
        has_room: true,
        loaded: true,
        message,
    })
}

/// The frames of an attack on this node.
type Forgery<'a> = &'a dyn Fn(&Real) -> Vec<Vec<u8>>;

/// One forgery after the other, each against a node of its own.
fn each(test: &str, attacks: &[(&str, Forgery<'_>)]) {
    let Some(mut stage) = Stage::open(test) else {
        return;
    };
    let mut broken = Vec::new();
    for (name, frames) in attacks {
        let mut real = victim(&mut stage);
        let (raft_id, term) = (real.raft_id(), real.number("raft_term"));
        strike(&real, &frames(&real));
        let check = std::panic::AssertUnwindSafe(|| {
            assert_unharmed(&mut real, raft_id, term, name);
        });
        if std::panic::catch_unwind(check).is_err() {
            broken.push(*name);
        }
    }
    assert!(broken.is_empty(), "these did harm: {broken:?}");
}

/// G2: an only voter can't have been removed.
#[test]
fn forged_removal_deletes_nothing() {
    let left = |real: &Real| {
        let (group, raft_id) = (real.group(), real.raft_id());
        vec![Control::Left {
            group: GroupId(group),
            raft_id: RaftId(raft_id),
        }
        .encode()]
    };
    let no_member = |real: &Real| {
        let control = Control::NotAMember {
            group: GroupId(real.group()),
            raft_id: RaftId(real.raft_id()),
            applied: u64::MAX,
        };
        vec![control.encode()]
    };
    each(
        "forged_removal_deletes_nothing",
        &[("Left", &left), ("NotAMember", &no_member)],
    );
}

/// D6: one that leads alone can't have lost log to another leader.
#[test]
fn forged_heartbeat_ends_no_lone_master() {
    let heartbeat = |real: &Real| {
        let mut m = message(MessageType::MsgHeartbeat, real.number("raft_term") + 1);
        m.commit = real.number("raft_last") + 100;
        vec![forged(real, 77, m)]
    };
    let answer = |real: &Real| {
        let mut m = message(MessageType::MsgAppendResponse, real.number("raft_term"));
        m.index = real.number("raft_last") + 100;
        vec![forged(real, 77, m)]
    };
    each(
        "forged_heartbeat_ends_no_lone_master",
        &[("heartbeat", &heartbeat), ("append answer", &answer)],
    );
}

/// An append whose previous entry lies beyond the end, "of term 0", which is what raft-rs has there.
pub fn beyond(last: u64, term: u64) -> Message {
    let mut m = message(MessageType::MsgAppend, term);
    (m.index, m.log_term) = (last + 10, 0);
    let entry = Entry {
        index: last + 11,
        term,
        ..Entry::default()
    };
    (m.entries, m.commit) = (vec![entry].into(), last + 11);
    m
}

/// D6: no peer can reach a `fatal!` of raft-rs.
#[test]
fn forged_append_beyond_end_is_dropped() {
    let append = |real: &Real| {
        vec![forged(
            real,
            77,
            beyond(real.number("raft_last"), real.number("raft_term") + 1),
        )]
    };
    each(
        "forged_append_beyond_end_is_dropped",
        &[("append beyond the end", &append)],
    );
}

/// D6: a term far above the own one is refused.
#[test]
fn forged_last_term_is_refused() {
    let of = |kind: MessageType| {
        move |real: &Real| {
            let mut m = message(kind, u64::MAX);
            (m.index, m.log_term) = (1, 1);
            vec![forged(real, 77, m)]
        }
    };
    each(
        "forged_last_term_is_refused",
        &[
            ("append", &of(MessageType::MsgAppend)),
            ("heartbeat", &of(MessageType::MsgHeartbeat)),
            ("heartbeat answer", &of(MessageType::MsgHeartbeatResponse)),
            ("vote", &of(MessageType::MsgRequestVote)),
            ("append answer", &of(MessageType::MsgAppendResponse)),
        ],
    );
}

/// D6: an epoch of the bus far above the own one is refused, the current one and that of a master.
#[test]
fn last_epoch_on_the_bus_is_refused() {
    let Some(mut stage) = Stage::open("last_epoch_on_the_bus_is_refused") else {
        return;
    };
    let mut broken = Vec::new();
    for of_master in [false, true] {
        let mut real = victim(&mut stage);
        let other = played();
        other.meet(&real);
        let shard = other.shard;
        other.bus.with(move |bus, now| match of_master {
            false => bus.set_current_epoch(now, u64::MAX),
            true => bus.set_self(
                now,
                SelfState {
                    shard,
                    config_epoch: u64::MAX,
                    ..SelfState::default()
                },
            ),
        });
        let end = Instant::now() + 2 * WATCHED;
        while Instant::now() < end {
            real.assert_lives("an epoch of 2^64 - 1");
            let of = ["cluster_current_epoch", "cluster_my_epoch"].map(|field| {
                let is = real.node.cluster_info(field);
                is.and_then(|n| n.parse::<u64>().ok()).unwrap_or_default()
            });
            if of.iter().any(|epoch| *epoch >= 1 << 33) {
                broken.push((of_master, of));
                break;
            }
            std::thread::sleep(Duration::from_millis(20)); // between two looks
        }
    }
    assert!(broken.is_empty(), "of a master, epochs: {broken:?}");
}

/// G2: what a stranger says in the name of a member changes no membership.
#[test]
fn requests_in_a_members_name_change_nothing() {
    let Some(mut stage) = Stage::open("requests_in_a_members_name_change_nothing") else {
        return;
    };
    let mut broken = Vec::new();
    for name in ["Leave", "Gone", "Left", "NotAMember", "Ready", "Failover"] {
        let (mut real, a, _b) = stage.led_by_real(&[]);
        real.node.ok(&["SET", "a", "v"]);
        let (group, raft_id, me) = (real.group(), a.raft_id(), real.raft_id());
        let control = match name {
            "Leave" => Control::Leave {
                group: GroupId(group),
                raft_id: RaftId(raft_id),
            },
            "Gone" => Control::Gone {
                group: GroupId(group),
                raft_id: RaftId(raft_id),
            },
            "Left" => Control::Left {
                group: GroupId(group),
                raft_id: RaftId(me),
            },
            "NotAMember" => Control::NotAMember {
                group: GroupId(group),
                raft_id: RaftId(me),
                applied: u64::MAX,
            },
            "Ready" => Control::Ready {
                group: GroupId(group),
                raft_id: RaftId(99),
            },
            _ => Control::Failover {
                group: GroupId(group),
                raft_id: RaftId(raft_id),
            },
        };
        let before = real.members();
        let line = wire::call(real.bus_port(), 1, a.id, real.id, "");
        let (mut line, _) = line.expect("a stranger gets a link in any name");
        let end = Instant::now() + WATCHED;
        while Instant::now() < end {
            real.assert_lives(name);
            let _ = wire::send(&mut line, &control.encode());
            let leads = real.node.info("raft", "raft_role").as_deref() == Some("leader");
            if real.members() != before || !leads {
                broken.push(name);
                break;
            }
            std::thread::sleep(Duration::from_millis(50)); // between two tries
        }
    }
    assert!(broken.is_empty(), "these changed the group: {broken:?}");
}
