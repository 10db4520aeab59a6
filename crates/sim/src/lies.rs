//! A member that lies: what it sends over its proved links is not what its code has said.
//!
//! Owns how a frame becomes a lie. A lying voter can break its shard's promises, and no Raft group
//! says otherwise; what must hold all the same is D6: no process ends by what another one says.

use base::ids::{GroupId, RaftId};
use cluster::control::{encode_envelope, Frame};
use protobuf::ProtobufEnum;
use raft::eraftpb::{Entry, EntryType, MessageType};
use raft_group::Envelope;

use crate::rng::Rng;

/// How many of its frames are lies.
const LIE_P: f64 = 0.05;

/// The frame, or a lie in its place. `ids`: raft ids that it may speak of.
pub fn maybe(rng: &mut Rng, frame: &[u8], ids: &[u64]) -> Option<Vec<u8>> {
    if !rng.chance(LIE_P) {
        return None;
    }
    if let Ok(Frame::Raft(mut envelope)) = Frame::decode(frame) {
        for _ in 0..rng.range(1, 4) {
            of_raft(rng, &mut envelope, ids);
        }
        return Some(encode_envelope(&envelope));
    }
    let mut lie = frame.to_vec();
    let at = rng.below(lie.len() as u64) as usize;
    match rng.below(3) {
        0 => lie.truncate(at),
        1 => lie[0] = rng.range(0, 20) as u8,
        _ => lie[at] = rng.next() as u8,
    }
    Some(lie)
}

fn of_raft(rng: &mut Rng, e: &mut Envelope, ids: &[u64]) {
    let id = |rng: &mut Rng| *rng.pick(ids);
    let message = &mut e.message;
    match rng.below(20) {
        0 => message.term = number(rng, message.term),
        1 => message.index = number(rng, message.index),
        2 => message.log_term = number(rng, message.log_term),
        3 => message.commit = number(rng, message.commit),
        4 => message.commit_term = number(rng, message.commit_term),
        5 => message.reject = !message.reject,
        6 => message.reject_hint = number(rng, message.reject_hint),
        7 => {
            let kinds = MessageType::values();
            message.set_msg_type(*rng.pick(kinds));
        }
        8 => e.lease_epoch.term = number(rng, e.lease_epoch.term),
        9 => e.lease_epoch.transfers = number(rng, e.lease_epoch.transfers),
        10 => e.sent_ns = number(rng, e.sent_ns),
        11 => e.applied = number(rng, e.applied),
        12 => e.has_room = !e.has_room,
        13 => (e.from, message.from) = (RaftId(id(rng)), id(rng)),
        14 => e.to = RaftId(id(rng)),
        15 => message.to = id(rng),
        16 => e.group = GroupId(number(rng, e.group.0)),
        17 => message.request_snapshot = number(rng, message.request_snapshot),
        18 => message.context = vec![0; rng.below(20) as usize].into(),
        _ => of_entries(rng, message.mut_entries()),
    }
}

fn of_entries(rng: &mut Rng, entries: &mut protobuf::RepeatedField<Entry>) {
    if entries.is_empty() {
        return entries.push(Entry::default());
    }
    let at = rng.below(entries.len() as u64) as usize;
    match rng.below(7) {
        0 => drop(entries.remove(at)),
        1 => entries.push(entries[at].clone()),
        2 => entries[at].index = number(rng, entries[at].index),
        3 => entries[at].term = number(rng, entries[at].term),
        4 => {
            let kinds = EntryType::values();
            entries[at].set_entry_type(*rng.pick(kinds));
        }
        5 => {
            let mut data = entries[at].data.to_vec();
            data.truncate(rng.below(data.len() as u64 + 1) as usize);
            entries[at].data = data.into();
        }
        _ => {
            let mut data = entries[at].data.to_vec();
            if let Some(byte) = data.first_mut() {
                *byte = rng.next() as u8;
            }
            entries[at].data = data.into();
        }
    }
}

/// A number near the true one, or near an end.
fn number(rng: &mut Rng, n: u64) -> u64 {
    match rng.below(8) {
        0 => 0,
        1 => n.wrapping_sub(1),
        2 | 3 => n.wrapping_add(1),
        4 => n.wrapping_add(rng.below(1000)),
        5 => u64::MAX,
        6 => u64::MAX - rng.below(3),
        _ => rng.next(),
    }
}
