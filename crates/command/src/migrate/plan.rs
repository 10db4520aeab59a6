//! What MIGRATE is asked for, and what all its roads have in common (M24).
//!
//! Owns: the arguments, the keys as they travel, and what a lend takes. Never: lends.

use super::super::env::{Block, BlockKind, Env, Flow, Serving};
use super::super::error::Error;
use super::super::key_spec::{BadKeys, KeyFlags};
use base::{NodeId, ShardId};
use resp::args::Args;
use resp::number::parse_i64;
use state::Reader;
use std::time::Duration;
use topology::moves::{Cargo, Credentials};
use topology::MoveId;

/// M2: lends to one shard that are open at a time.
const MOST_LENDS: usize = 64;
/// M30: bytes and keys that go along with those that MIGRATE names.
const MOST_AHEAD: usize = 256 << 10;
const MOST_KEYS_AHEAD: usize = 1024;

/// What the arguments say.
pub struct Plan<'a> {
    pub host: &'a [u8],
    pub port: u16,
    pub db: i64,
    pub patience: Duration,
    pub credentials: Credentials,
    pub copy: bool,
    pub replace: bool,
    /// In the form with KEYS.
    pub listed: bool,
    pub keys: Vec<&'a [u8]>,
}

/// The key, or those behind KEYS where it is empty.
pub fn find_keys(args: Args<'_>, visit: &mut dyn FnMut(usize, KeyFlags)) -> Result<(), BadKeys> {
    let flags = KeyFlags(KeyFlags::RW.0 | KeyFlags::ACCESS.0 | KeyFlags::DELETE.0);
    if !args.at(3).is_empty() {
        visit(3, flags);
        return Ok(());
    }
    let mut at = 6;
    while at < args.len() {
        let word = args.at(at);
        if word.eq_ignore_ascii_case(b"keys") {
            (at + 1..args.len()).for_each(|at| visit(at, flags));
            return Ok(());
        }
        at += match word.to_ascii_lowercase().as_slice() {
            b"auth" => 2,
            b"auth2" => 3,
            _ => 1,
        };
    }
    // Without KEYS the empty string is a key like any other (M5: it may be lent).
    visit(3, flags);
    Ok(())
}

pub fn parse<'a>(args: Args<'a>) -> Result<Plan<'a>, Error> {
    let (mut copy, mut replace, mut listed) = (false, false, false);
    let mut keys = vec![args.at(3)];
    let (mut at, mut credentials) = (6, Credentials::None);
    while at < args.len() {
        let more = args.len() - at - 1;
        match args.at(at).to_ascii_lowercase().as_slice() {
            b"copy" => copy = true,
            b"replace" => replace = true,
            b"auth" if more >= 1 => {
                credentials = Credentials::Password(args.at(at + 1).to_vec());
                at += 1;
            }
            b"auth2" if more >= 2 => {
                let (user, password) = (args.at(at + 1), args.at(at + 2));
                credentials = Credentials::User(user.to_vec(), password.to_vec());
                at += 2;
            }
            b"keys" => {
                if !args.at(3).is_empty() {
                    return Err(Error::MIGRATE_KEYS);
                }
                listed = true;
                keys = args.skip(at + 1).iter().collect();
                break;
            }
            _ => return Err(Error::SYNTAX),
        }
        at += 1;
    }
    let timeout = parse_i64(args.at(5)).ok_or(Error::NOT_AN_INTEGER)?;
    let db = parse_i64(args.at(4)).ok_or(Error::NOT_AN_INTEGER)?;
    let port = parse_i64(args.at(2)).and_then(|port| u16::try_from(port).ok());
    let timeout = if timeout <= 0 { 1000 } else { timeout };
    Ok(Plan {
        host: args.at(1),
        port: port.unwrap_or(0),
        db,
        patience: Duration::from_millis(timeout.unsigned_abs()),
        credentials,
        copy,
        replace,
        listed,
        keys,
    })
}

impl Plan<'_> {
    /// The keys as they travel, and those that go with them.
    pub fn cargo(
        &self,
        env: &mut Env<'_>,
        (slot, mark): (u16, Option<MoveId>),
        to: Reader,
        ahead: &[Box<[u8]>],
    ) -> Cargo {
        let mut parcels = Vec::new();
        let ahead = ahead.iter().map(|key| &**key);
        for bytes in self.keys.iter().copied().chain(ahead) {
            let key = env.data.key(bytes);
            let pace = &mut || env.server.breathe(); // T9
            let parcel = env.data.with(&key, |entry| {
                let entry = entry.as_ref()?;
                Some(state::parcel_of(entry, to, pace))
            });
            parcels.extend(parcel);
        }
        Cargo {
            slot,
            mark,
            replace: self.replace,
            credentials: self.credentials.clone(),
            parcels,
        }
    }

    /// M30: more keys of the slot, that go in the same lend. Where a key lives clients can't tell.
    pub fn ahead(&self, env: &Env<'_>, slot: u16) -> Vec<Box<[u8]>> {
        let (mut keys, mut bytes) = (Vec::new(), 0);
        if !self.listed || self.replace || !env.server.config().cluster_migrate_ahead {
            return keys;
        }
        let data = &*env.data;
        let mut visit = |entry: keyspace::Entry<'_>| {
            let key = entry.key();
            let named = self.keys.binary_search(&key).is_ok();
            let goes = !named && data.frozen(key).is_none() && !data.is_due(&entry);
            if goes && bytes < MOST_AHEAD {
                bytes += key.len() + state::size_of(&entry);
                keys.push(key.into());
            }
        };
        data.keyspace()
            .keys_in_slot(slot, MOST_KEYS_AHEAD, &mut visit);
        keys
    }

    /// What the entry of a lend takes of the log.
    pub fn weight(&self) -> usize {
        let bytes: usize = self.keys.iter().map(|key| key.len() + 8).sum();
        bytes + self.host.len() + 3 * state::room::COMMAND
    }
}

/// Where the keys go.
pub enum Target {
    Shard(ShardId),
    /// A server that is no node of this program in this cluster (M26).
    Outside,
}

/// M9: what is not known to be a real Redis is a node of this program, to which nothing goes but by the words
/// of shards.
pub fn shard_at(env: &mut Env<'_>, node: NodeId) -> Result<Option<Target>, Error> {
    let own = own_shard(env);
    let overdue = env.overdue;
    let cluster = env.server.cluster().ok_or(Error::CLUSTER_DISABLED)?;
    match cluster.is_redis(node) {
        Some(true) => return Ok(Some(Target::Outside)),
        None if !overdue => return Ok(None),
        _ => {}
    }
    let shard = cluster.view().node(node).and_then(|node| node.stands_for());
    match shard.filter(|id| *id != ShardId::default()) {
        // A Redis that migrates to itself waits for itself.
        Some(shard) if shard == own => Err(Error::MIGRATE_TIMEOUT),
        Some(shard) => Ok(Some(Target::Shard(shard))),
        None => Err(Error::MIGRATE_CONNECTING),
    }
}

pub fn wait_for(plan: &Plan<'_>, kind: BlockKind) -> Flow {
    Flow::Block(Block {
        kind,
        timeout: Some(plan.patience),
    })
}

pub fn own_shard(env: &Env<'_>) -> ShardId {
    env.data.record().shard
}

/// M2: whether one more lend may be begun, and the log has room for it. None: later.
pub fn may_lend(env: &mut Env<'_>, plan: &Plan<'_>, to: ShardId) -> Result<Option<()>, Error> {
    assert!(
        matches!(env.serving, Serving::Lead { writable: true }),
        "T2: MIGRATE is admitted as a write"
    );
    if env.data.open_lends(to) >= MOST_LENDS || env.data.is_all_wanted() {
        return match env.overdue {
            true => Err(Error::MIGRATE_TIMEOUT),
            false => Ok(None),
        };
    }
    Ok(env.data.room_for(plan.weight()).then_some(()))
}
