//! Lends that come in: values are staged, and one entry decides (M3, M4).
//!
//! Owns the staged values of this reign. Never: takes a lend twice, or one that it has refused: the
//! record's ledger of the source's shard says which those are. Invariants: what is staged is bounded and
//! forgotten after 10 s without a word; a decision is answered when it has committed.

use super::word::{decode_cargo, Word};
use super::{Desk, Gate};
use base::clock::Mono;
use base::events::Classes;
use base::mutation::{self, Mutation};
use base::secret::same;
use base::ShardId;
use keyspace::Ttl;
use state::StateMachine;
use std::collections::BTreeMap;
use std::time::Duration;
use storage::Disk;
use topology::moves::{Cargo, Credentials, Decision};
use topology::{MoveId, MoveNumber};

/// M4: how long staged values are kept without a word of their lend.
const STAGED_FOR: Duration = Duration::from_secs(10);
/// How many lends of all sources are staged at most; more are asked for again.
const MOST_STAGED: usize = 1024;

/// M25: bytes of all of them; a source that sends more is not heard until some have been decided.
const MOST_STAGED_BYTES: u64 = 1 << 30;

#[derive(Debug)]
struct Staged {
    /// Of the cargo's bytes those that are here, and how many there will be.
    bytes: Vec<u8>,
    total: u64,
    heard: Mono,
}

#[derive(Debug, Default)]
pub(super) struct Target {
    staged: BTreeMap<MoveId, Staged>,
    /// Of a test build whose units are two entries (M1): receipts that are still to be logged.
    late: Vec<(MoveId, MoveNumber, Vec<u32>, Mono)>,
}

/// Why a lend is refused, as a client is told.
pub(super) enum Refused {
    /// No such mark stands here that the source lends under.
    NoMark(u16),
    Unclean(u16),
    Busy,
    /// What came for a key is no payload.
    Footer,
    Value,
    /// M24: as the port here would have answered.
    NoAuth,
    WrongPass,
    AuthWithoutPassword,
}

impl Refused {
    pub fn text(&self) -> Vec<u8> {
        match self {
            Refused::NoMark(slot) => format!("ERR slot {slot} is not importing from that shard"),
            Refused::Unclean(slot) => format!("ERR slot {slot} has keys of an earlier ownership"),
            Refused::Busy => "BUSYKEY Target key name already exists.".to_owned(),
            Refused::Footer => "ERR DUMP payload version or checksum are wrong".to_owned(),
            Refused::Value => "ERR Bad data format".to_owned(),
            Refused::NoAuth => "NOAUTH Authentication required.".to_owned(),
            Refused::WrongPass => {
                "WRONGPASS invalid username-password pair or user is disabled.".to_owned()
            }
            Refused::AuthWithoutPassword => "ERR AUTH <password> called without any password \
                configured for the default user. Are you sure your configuration is correct?"
                .to_owned(),
        }
        .into_bytes()
    }
}

impl Target {
    pub fn is_empty(&self) -> bool {
        self.staged.is_empty() && self.late.is_empty()
    }

    pub fn hear<D: Disk>(&mut self, desk: &mut Desk<'_, D>, from: ShardId, word: Word) {
        let (Word::Begin { id, floor, .. } | Word::Go { id, floor } | Word::Decide { id, floor }) =
            &word
        else {
            return;
        };
        let (id, floor) = (*id, *floor);
        // A shard speaks of its own lends only.
        if id.shard != from || floor >= id.number {
            return;
        }
        let moves = &desk.shard.data().record().moves;
        match (moves.decision(id), word) {
            (
                Decision::Open,
                Word::Begin {
                    total, at, bytes, ..
                },
            ) => {
                let heard = desk.now.mono;
                if let Some(bytes) = self.stage(heard, id, total, at, &bytes) {
                    desk.ask(from, Word::Have { id, bytes });
                }
            }
            (Decision::Open, Word::Go { .. }) => {
                let whole = |staged: &&Staged| staged.bytes.len() as u64 == staged.total;
                let staged = self.staged.get(&id).filter(whole);
                let Some(cargo) = staged.and_then(|staged| decode_cargo(&staged.bytes)) else {
                    return desk.ask(from, Word::Again { id });
                };
                if decide(desk, from, id, floor, &cargo, &mut self.late) {
                    self.staged.remove(&id);
                }
            }
            (Decision::Open, _) => {
                if mutation::is(Mutation::VoidNotLogged) {
                    let text = Vec::new();
                    return desk.ask(from, Word::Void { id, text });
                }
                if let Some(((), gate)) = desk.act(|data| data.void_lend(id, floor)) {
                    self.staged.remove(&id);
                    let text = b"ERR the lend was given up".to_vec();
                    desk.say(gate, from, Word::Void { id, text });
                }
            }
            (decided, _) => {
                let Some(((), gate)) = desk.act(StateMachine::depends_on_all) else {
                    return;
                };
                let gate = match mutation::is(Mutation::DoneFromTail) {
                    true => Gate::OPEN,
                    false => gate,
                };
                self.staged.remove(&id);
                let word = match decided {
                    Decision::Done(refused) => Word::Done { id, refused },
                    Decision::Void => Word::Void {
                        id,
                        text: b"ERR the lend was given up".to_vec(),
                    },
                    Decision::Closed | Decision::Open => Word::Closed { id },
                };
                desk.say(gate, from, word);
            }
        }
    }

    /// Takes in a piece, if it is the next one; how much is here then.
    fn stage(&mut self, heard: Mono, id: MoveId, total: u64, at: u64, piece: &[u8]) -> Option<u64> {
        let promised: u64 = self.staged.values().map(|staged| staged.total).sum();
        let full =
            self.staged.len() >= MOST_STAGED || promised.saturating_add(total) > MOST_STAGED_BYTES;
        if full && !self.staged.contains_key(&id) {
            return None;
        }
        let staged = self.staged.entry(id).or_insert(Staged {
            bytes: Vec::new(),
            total,
            heard,
        });
        staged.heard = heard;
        let fits = at.saturating_add(piece.len() as u64) <= staged.total && total == staged.total;
        if fits && at == staged.bytes.len() as u64 {
            staged.bytes.extend_from_slice(piece);
        }
        Some(staged.bytes.len() as u64)
    }

    /// What no word has come of for long is forgotten.
    pub fn proceed<D: Disk>(&mut self, desk: &mut Desk<'_, D>) {
        let now = desk.now.mono;
        if mutation::is(Mutation::UnitInTwoEntries) {
            self.late.retain(|(id, floor, refused, taken)| {
                let late = now > *taken;
                if late {
                    desk.act(|data| data.receive_lend(*id, *floor, refused));
                }
                !late
            });
        }
        self.staged
            .retain(|_, staged| now.since(staged.heard) < STAGED_FOR);
    }
}

/// M3: the lend is taken whole, in one entry, or refused for ever. False: not now.
fn decide<D: Disk>(
    desk: &mut Desk<'_, D>,
    from: ShardId,
    id: MoveId,
    floor: MoveNumber,
    cargo: &Cargo,
    late: &mut Vec<(MoveId, MoveNumber, Vec<u32>, Mono)>,
) -> bool {
    // M5: what is lent from here, to a server outside say, is not replaced before that lend has ended.
    let lent = |key: &[u8]| desk.shard.data().frozen(key).is_some();
    if cargo.replace && cargo.parcels.iter().any(|p| lent(&p.key)) {
        return false;
    }
    let values = admits(desk.requirepass, &cargo.credentials)
        .and_then(|()| may_take(desk.shard.data(), from, cargo))
        .and_then(|()| values_of(cargo));
    let decided = match values {
        Err(refused) => Err(refused),
        Ok(values) => {
            let taken = desk.act(|data| take(data, id, floor, cargo, &values));
            match taken {
                None => return false,
                Some((None, _)) => Err(Refused::Busy),
                Some((Some(refused), gate)) => {
                    if mutation::is(Mutation::UnitInTwoEntries) {
                        late.push((id, floor, refused, desk.now.mono));
                        return true;
                    }
                    Ok((refused, gate))
                }
            }
        }
    };
    match decided {
        Ok((refused, gate)) => desk.say(gate, from, Word::Done { id, refused }),
        Err(refused) => {
            let Some(((), gate)) = desk.act(|data| data.void_lend(id, floor)) else {
                return false;
            };
            let text = refused.text();
            desk.say(gate, from, Word::Void { id, text });
        }
    }
    true
}

/// M3: whether this shard takes keys of the slot from that one, by the tail's record.
fn may_take(data: &StateMachine, from: ShardId, cargo: &Cargo) -> Result<(), Refused> {
    let slot = cargo.slot;
    let record = data.record();
    let keys = cargo.parcels.iter();
    if keys
        .clone()
        .any(|p| data.keyspace().key(&p.key).slot != slot)
    {
        return Err(Refused::NoMark(slot));
    }
    // M11: what was lent from here comes back.
    let back = record.moves.migrating.get(&slot);
    // M22: leftovers of an earlier ownership, to the owner, unless the slot is on its way.
    if record.slots.contains(slot) && back.is_none() && cargo.mark.is_none() {
        return Ok(());
    }
    if record.slots.contains(slot) {
        let back = back.is_some_and(|m| m.closing && m.shard == from && m.mark == cargo.mark);
        return back.then_some(()).ok_or(Refused::NoMark(slot));
    }
    match record.moves.importing.get(&slot) {
        Some(mark) if mark.shard != from || Some(mark.mark) != cargo.mark || mark.returning => {
            Err(Refused::NoMark(slot))
        }
        Some(mark) if !mark.clean => Err(Refused::Unclean(slot)),
        Some(_) => Ok(()),
        None => Err(Refused::NoMark(slot)),
    }
}

/// M24: what the client has given for this node's port is checked as there.
pub(super) fn admits(requirepass: &[u8], given: &Credentials) -> Result<(), Refused> {
    let (user, password): (&[u8], &[u8]) = match given {
        Credentials::Shard => return Ok(()),
        Credentials::None if requirepass.is_empty() => return Ok(()),
        Credentials::None => return Err(Refused::NoAuth),
        Credentials::Password(_) if requirepass.is_empty() => {
            return Err(Refused::AuthWithoutPassword)
        }
        Credentials::Password(password) => (b"default", password),
        Credentials::User(user, password) => (user, password),
    };
    let right = requirepass.is_empty() || same(requirepass, password);
    let admitted = user == b"default" && right;
    admitted.then_some(()).ok_or(Refused::WrongPass)
}

/// The values of the parcels, in their order.
pub(super) fn values_of(cargo: &Cargo) -> Result<Vec<rdb::Value<'_>>, Refused> {
    let parcels = cargo.parcels.iter();
    let values = parcels.map(|parcel| {
        // A shard does not compress what it sends: no string is longer than its payload, but the text of a
        // number may be.
        let limit = parcel.payload.len().max(32);
        match rdb::load(&parcel.payload, limit, &mut || {}) {
            Ok(value) => Ok(value),
            Err(rdb::PayloadError::Footer(_)) => Err(Refused::Footer),
            Err(rdb::PayloadError::Value(_)) => Err(Refused::Value),
        }
    });
    values.collect()
}

/// The unit: the keys, and that the lend has come. None: every key is busy, and nothing was done but that
/// expired keys have left.
fn take(
    data: &mut StateMachine,
    id: MoveId,
    floor: MoveNumber,
    cargo: &Cargo,
    values: &[rdb::Value<'_>],
) -> Option<Vec<u32>> {
    let pairs = cargo.parcels.iter().zip(values);
    let weights = pairs.map(|(p, value)| p.key.len() + state::weight_of(value) + 256);
    let bytes: usize = weights.sum();
    if !data.room_for(bytes + 4096) {
        return Some(Vec::new()); // held
    }
    let mut refused = Vec::new();
    for (at, parcel) in (0u32..).zip(&cargo.parcels) {
        let key = data.key(&parcel.key);
        if data.exists(&key) && !cargo.replace {
            refused.push(at);
        }
    }
    let has_elements = |value: &rdb::Value<'_>| matches!(value, rdb::Value::Container(_));
    if values.iter().any(has_elements) && !data.types_are_read() {
        data.hold(); // M9: a member of an older build would stop at the effect
    }
    if data.footprint().hold {
        return Some(Vec::new());
    }
    if refused.len() == cargo.parcels.len() && !refused.is_empty() {
        return None;
    }
    let now = data.now_ms();
    for ((at, parcel), value) in (0u32..).zip(&cargo.parcels).zip(values) {
        let dead = parcel.expiry.is_some_and(|at| at < now);
        if refused.contains(&at) || dead {
            continue; // M23: what has expired on its way arrives as absent
        }
        let ttl = parcel.expiry.map_or(Ttl::Clear, Ttl::At);
        let key = data.key(&parcel.key);
        data.put(&key, value, ttl);
        data.event(Classes::GENERIC, "restore", &key);
    }
    if mutation::is(Mutation::UnitInTwoEntries) {
        return Some(refused);
    }
    data.receive_lend(id, floor, &refused);
    Some(refused)
}
