//! MIGRATE COPY: keys that stay are restored at another shard as well (M24).
//!
//! Owns the copies whose answers have not come. Never: sends a copy twice (a lost answer is an error that
//! says so), lends a key. Invariants: a copy leaves when all that its command has seen is committed; the
//! other shard makes no key of a slot that is not its own but in place of one that has come under its
//! mark (M15).

use super::target::{admits, values_of, Refused};
use super::word::{decode_cargo, encode_cargo, Word};
use super::Desk;
use crate::routing::client_addr;
use base::clock::Mono;
use base::events::Classes;
use base::ShardId;
use keyspace::Ttl;
use state::{Ownership, StateMachine};
use std::collections::BTreeMap;
use storage::Disk;
use topology::moves::Cargo;
use topology::Finished;

#[derive(Debug)]
struct Copying {
    to: ShardId,
    /// What it brings, until it has left.
    cargo: Option<Vec<u8>>,
    until: Mono,
}

#[derive(Debug, Default)]
pub(super) struct Copies {
    open: BTreeMap<u64, Copying>,
    last: u64,
}

impl Copies {
    /// Numbers go on behind this one: an answer to another reign's copy finds nothing.
    pub fn numbered_from(last: u64) -> Copies {
        Copies {
            last,
            ..Copies::default()
        }
    }

    pub fn are_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// A command that runs in this turn; its number.
    pub fn begin(&mut self, to: ShardId, cargo: &Cargo, until: Mono) -> u64 {
        self.last += 1;
        let cargo = Some(encode_cargo(cargo));
        self.open.insert(self.last, Copying { to, cargo, until });
        self.last
    }

    /// Before the turn's proposal: what its commands have begun leaves when what they have seen is
    /// committed.
    pub fn send<D: Disk>(&mut self, desk: &mut Desk<'_, D>) {
        for (number, copying) in &mut self.open {
            let Some(cargo) = copying.cargo.take() else {
                continue;
            };
            if let Some(((), gate)) = desk.act(StateMachine::depends_on_all) {
                let question = *number;
                desk.say(gate, copying.to, Word::Copy { question, cargo });
            }
        }
    }

    pub fn hear<D: Disk>(&mut self, desk: &mut Desk<'_, D>, from: ShardId, word: Word) {
        let Word::Copied { question, text } = word else {
            return;
        };
        if self.open.get(&question).is_some_and(|c| c.to == from) {
            self.open.remove(&question);
            let error = Some(text).filter(|text| !text.is_empty());
            desk.finish(Finished::Copy {
                number: question,
                error,
            });
        }
    }

    /// The commands of those that are overdue have been answered.
    pub fn proceed(&mut self, now: Mono) {
        self.open.retain(|_, copying| now < copying.until);
    }
}

/// At the other shard.
enum Outcome {
    Ok,
    Refused(Refused),
    /// The slot is another shard's.
    Moved,
    /// Its own keys of the slot are on their way.
    TryAgain,
}

/// Restores what has come, for each key as RESTORE does.
pub(super) fn asked<D: Disk>(desk: &mut Desk<'_, D>, from: ShardId, question: u64, bytes: &[u8]) {
    let Some(cargo) = decode_cargo(bytes) else {
        return;
    };
    let values = admits(desk.requirepass, &cargo.credentials).and_then(|()| values_of(&cargo));
    let (outcome, gate) = match values {
        Err(refused) => (Outcome::Refused(refused), state::Gate::OPEN),
        Ok(values) => match desk.act(|data| restore(data, from, &cargo, &values)) {
            Some(done) => done,
            None => return, // it is lost: it must not come twice
        },
    };
    let text = match outcome {
        Outcome::Ok => Vec::new(),
        Outcome::Refused(refused) => refused.text(),
        Outcome::Moved => moved(desk, cargo.slot),
        Outcome::TryAgain => b"TRYAGAIN Multiple keys request during rehashing of slot".to_vec(),
    };
    desk.say(gate, from, Word::Copied { question, text });
}

/// Where the slot's owner is, as this node's table shows it.
fn moved<D: Disk>(desk: &Desk<'_, D>, slot: u16) -> Vec<u8> {
    let owner = desk.bus.owner(slot).and_then(|id| desk.bus.node(id));
    match owner {
        Some(node) => format!("MOVED {slot} {}", client_addr(node)).into_bytes(),
        None => b"CLUSTERDOWN Hash slot not served".to_vec(),
    }
}

/// The keys that may be made here are; the first refusal is the outcome.
fn restore(
    data: &mut StateMachine,
    from: ShardId,
    cargo: &Cargo,
    values: &[rdb::Value<'_>],
) -> Outcome {
    let slot = cargo.slot;
    let pairs = || cargo.parcels.iter().zip(values);
    if pairs().any(|(parcel, _)| data.keyspace().key(&parcel.key).slot != slot) {
        return Outcome::Moved;
    }
    let weights = pairs().map(|(p, value)| p.key.len() + state::weight_of(value) + 256);
    let bytes: usize = weights.sum();
    data.motion_of(slot);
    let owned = data.ownership(slot) == Ownership::Owned;
    let mark = data.record().moves.importing.get(&slot);
    let imported = mark.is_some_and(|m| m.shard == from && m.clean && !m.returning);
    if !owned && !imported {
        return Outcome::Moved;
    }
    let has_elements = |value: &rdb::Value<'_>| matches!(value, rdb::Value::Container(_));
    if values.iter().any(has_elements) && !data.types_are_read() {
        data.hold(); // M9: a member of an older build would stop at the effect
        return Outcome::Ok;
    }
    if !data.room_for(bytes + 4096) {
        return Outcome::Ok; // held
    }
    let rests = owned && !data.is_in_motion(slot);
    let (mut outcome, now) = (Outcome::Ok, data.now_ms());
    for (parcel, value) in pairs() {
        let key = data.key(&parcel.key);
        let here = data.exists(&key) && data.frozen(&parcel.key).is_none();
        let refused = match (rests, here) {
            // M15: the key that has been sent is the speaker's.
            (false, false) if imported => Some(Outcome::Moved),
            (false, false) => Some(Outcome::TryAgain),
            (_, true) if !cargo.replace => Some(Outcome::Refused(Refused::Busy)),
            _ => None,
        };
        match refused {
            None if parcel.expiry.is_some_and(|at| at < now) => {}
            None => {
                let ttl = parcel.expiry.map_or(Ttl::Clear, Ttl::At);
                data.put(&key, value, ttl);
                data.event(Classes::GENERIC, "restore", &key);
            }
            Some(refused) if matches!(outcome, Outcome::Ok) => outcome = refused,
            Some(_) => {}
        }
    }
    outcome
}
