//! A follower that is busy for longer than T (T9): one effect of a few bytes. The simulator's time does not pass while code
//! runs, but a reading of the clock may find that it has: one within the effect does here.

use ::state::op;
use effect::{Batch, PART_BYTES};
use raft::eraftpb::{Entry, Message, MessageType};
use raft_group::{Envelope, LeaseEpoch};
use server::Phase;

use super::bed::{conf, disk, received, record, silence, Bed, ME};
use super::{append, envelope, T_MS};

/// The leader's term.
const TERM: u64 = 3;

/// Of each of the sets that are combined.
const MEMBERS: usize = 40_000;

/// In the turn of the effect the clock is read fewer times than this before it, and more often within it.
const LOOKS: u32 = 12;

/// The leader's entry with one unit of effects.
fn entry(index: u64, fill: impl FnOnce(&mut Batch)) -> Entry {
    let mut batch = Batch::new(PART_BYTES);
    batch.begin_unit();
    fill(&mut batch);
    batch.end_unit();
    Entry {
        index,
        term: TERM,
        data: batch.take().pop().expect("one unit").into(),
        ..Entry::default()
    }
}

fn filling(batch: &mut Batch) {
    for key in [b"{t}a", b"{t}b"] {
        let members: Vec<String> = (0..MEMBERS).map(|n| format!("{}{n}", key[3])).collect();
        let mut args: Vec<&[u8]> = vec![key];
        args.extend(members.iter().map(|member| member.as_bytes()));
        batch.push(0, op::SADD, &args);
    }
}

fn heartbeat(sent_ns: u64) -> Envelope {
    let heartbeat = Message {
        msg_type: MessageType::MsgHeartbeat,
        from: 1,
        to: ME,
        term: TERM,
        commit: 3,
        ..Message::default()
    };
    let lease_epoch = LeaseEpoch {
        term: TERM,
        transfers: 0,
    };
    Envelope {
        lease_epoch,
        sent_ns,
        ..envelope(1, heartbeat)
    }
}

/// A heartbeat that comes while the effect is carried out is answered in that turn.
pub fn a_heartbeat_within_a_long_effect_is_answered() -> bool {
    let all = (0..cluster_bus::slot::SLOT_COUNT).collect();
    let disk = disk(&[1, ME, 6], &record(all, 1));
    let mut bed = Bed::start(disk, &conf(), silence);
    bed.turns(2);
    let store = |batch: &mut Batch| {
        batch.push(0, op::SSTORE, &[b"UNION", b"{t}d", b"{t}a", b"{t}b"]);
    };
    for (behind, entry) in [((1, 1), entry(2, filling)), ((2, TERM), entry(3, store))] {
        let message = append(ME, behind, vec![entry], behind.0);
        bed.hears(received(&envelope(1, message)));
        bed.turns(10);
    }
    assert_eq!(bed.shard().group().applied(), 2, "it has the sets");
    // It commits the effect.
    let sent = bed.mono();
    bed.hears(received(&heartbeat(sent)));
    let mut during = 0;
    bed.turn_stopped("", Some((Phase::Receive, 1)), |bed| {
        during = bed.mono();
        bed.hears(received(&heartbeat(during)));
        bed.stop_clock(LOOKS, 3 * T_MS);
    });
    assert_eq!(
        bed.shard().group().applied(),
        3,
        "the effect is not applied"
    );
    let answers = |e: &Envelope| {
        e.message.get_msg_type() == MessageType::MsgHeartbeatResponse && e.sent_ns == during
    };
    bed.said.iter().any(answers)
}

#[test]
fn a_follower_answers_within_a_long_effect() {
    assert!(a_heartbeat_within_a_long_effect_is_answered());
}
