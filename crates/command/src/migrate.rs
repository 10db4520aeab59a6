//! MIGRATE: keys go to another shard, each of them once (M1, M24).
//!
//! Owns: the command's syntax and texts, which keys go, and what its client is told in the end. Never: sends
//! a value (the cluster core does), or decides whether the keys have come (the target's commit does).

mod outside;

use super::env::{Block, BlockKind, Done, Env, Flow, Serving, DONE};
use super::error::Error;
use super::key_spec::{BadKeys, KeyFlags};
use super::motion::{hold, Admitted};
use super::rows::rows;
use super::spec::Role;
use base::{NodeId, ShardId};
use resp::args::Args;
use resp::number::parse_i64;
use state::Reader;
use std::time::Duration;
use topology::moves::{Cargo, Credentials, Lend};
use topology::MoveId;

rows! { pub static ROWS: Generic [KEYSPACE DANGEROUS] {
    "migrate" -6 [WRITE] "2.6.0" key(3 RW ACCESS DELETE) keyword("KEYS" -2 -1 1 RW ACCESS DELETE INCOMPLETE) => migrate: "Moves keys to another server." .role(Role::Migrate).keys_by(find_keys).tips(&["nondeterministic_output"]);
}}

/// M2: lends to one shard that are open at a time.
const MOST_LENDS: usize = 64;
/// M30: bytes and keys that go along with those that MIGRATE names.
const MOST_AHEAD: usize = 256 << 10;
const MOST_KEYS_AHEAD: usize = 1024;
/// What a copy to another shard may be: it goes in one frame.
const MOST_COPIED: usize = 32 << 20;

/// What the arguments say.
struct Plan<'a> {
    host: &'a [u8],
    port: u16,
    db: i64,
    patience: Duration,
    credentials: Credentials,
    copy: bool,
    replace: bool,
    /// In the form with KEYS.
    listed: bool,
    keys: Vec<&'a [u8]>,
}

/// The key, or those behind KEYS where it is empty.
fn find_keys(args: Args<'_>, visit: &mut dyn FnMut(usize, KeyFlags)) -> Result<(), BadKeys> {
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

fn parse<'a>(args: Args<'a>) -> Result<Plan<'a>, Error> {
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

fn migrate(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let mut plan = parse(args)?;
    plan.keys.sort_unstable();
    plan.keys.dedup();
    if env.session.deny_blocking {
        return Err(Error::NO_MULTI);
    }
    plan.keys
        .retain(|bytes| env.data.exists(&env.data.key(bytes)));
    if env.data.footprint().hold {
        return Ok(Flow::Hold);
    }
    // M5: what is lent already is not lent again.
    let lent = plan.keys.iter().any(|key| env.data.frozen(key).is_some());
    if lent && hold(env)? == Admitted::Hold {
        return Ok(Flow::Hold);
    }
    let Some(first) = plan.keys.first() else {
        env.session.question = None;
        env.reply().simple("NOKEY");
        return DONE;
    };
    let slot = env.data.key(first).slot;
    match target(env, &plan)? {
        None => Ok(Flow::Hold),
        Some(Target::Shard(to)) => to_shard(env, &plan, slot, to),
        Some(Target::Outside) => outside::migrate(env, &plan, slot),
    }
}

/// To another shard of this cluster.
fn to_shard(env: &mut Env<'_>, plan: &Plan<'_>, slot: u16, to: ShardId) -> Done {
    if plan.db != 0 {
        let refused = Error::SELECT_IN_CLUSTER;
        return Err(Error::target_error(refused.as_bytes()));
    }
    if plan.copy {
        return copy(env, plan, (slot, to));
    }
    if !env.data.record().slots.contains(slot) {
        return lend(env, plan, (slot, to, None)); // M22: keys of before go to the slot's owner
    }
    match mark(env, slot, to)? {
        None => Ok(Flow::Hold),
        Some(mark) => lend(env, plan, (slot, to, Some(mark))),
    }
}

impl Plan<'_> {
    /// The keys as they travel, and those that go with them.
    fn cargo(
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
    fn ahead(&self, env: &Env<'_>, slot: u16) -> Vec<Box<[u8]>> {
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
    fn weight(&self) -> usize {
        let bytes: usize = self.keys.iter().map(|key| key.len() + 8).sum();
        bytes + self.host.len() + 3 * state::room::COMMAND
    }
}

/// Where the keys go.
enum Target {
    Shard(ShardId),
    /// A server that is no node of this program in this cluster (M26).
    Outside,
}

/// None: it is not known yet.
fn target(env: &mut Env<'_>, plan: &Plan<'_>) -> Result<Option<Target>, Error> {
    let host = String::from_utf8_lossy(plan.host).into_owned();
    let cluster = env.server.cluster().ok_or(Error::MIGRATE_ALONE)?;
    let view = cluster.view();
    let at = |node: &&topology::NodeView| {
        node.port == plan.port && (node.ip == host || node.hostname == host)
    };
    let Some(node) = view.nodes.iter().find(at).map(|node| node.id) else {
        return Ok(Some(Target::Outside));
    };
    shard_at(env, node)
}

/// M9: what is not known to be a real Redis is a node of this program, to which nothing goes but by the words
/// of shards.
fn shard_at(env: &mut Env<'_>, node: NodeId) -> Result<Option<Target>, Error> {
    let own = own_shard(env);
    let overdue = env.overdue;
    let cluster = env.server.cluster().ok_or(Error::MIGRATE_ALONE)?;
    match cluster.is_redis(node) {
        Some(true) => return Ok(Some(Target::Outside)),
        None if !overdue => return Ok(None),
        _ => {}
    }
    let shard = cluster.view().node(node).and_then(|node| node.shard);
    match shard.filter(|id| *id != ShardId::default()) {
        // A Redis that migrates to itself waits for itself.
        Some(shard) if shard == own => Err(Error::MIGRATE_TIMEOUT),
        Some(shard) => Ok(Some(Target::Shard(shard))),
        None => Err(Error::MIGRATE_CONNECTING),
    }
}

/// M8: the mark under which the keys are lent; none: it is asked for, and the command is held.
fn mark(env: &mut Env<'_>, slot: u16, target: ShardId) -> Result<Option<MoveId>, Error> {
    let leaving = env.data.record().moves.migrating.get(&slot);
    let Some(leaving) = leaving.filter(|mark| mark.shard == target && !mark.closing) else {
        return Err(Error::not_migrating_there(slot));
    };
    if let Some(mark) = leaving.mark {
        return Ok(Some(mark));
    }
    let question = &mut env.session.question;
    let cluster = env.server.cluster().ok_or(Error::CLUSTER_DISABLED)?;
    match cluster.mark_elsewhere(question, target, slot) {
        Some(Some(mark)) => Ok(Some(mark)),
        Some(None) => {
            let addr = env
                .routing
                .and_then(|r| r.masters.get(&own_shard(env)).cloned());
            let moved = format!("MOVED {slot} {}", addr.unwrap_or_default());
            Err(Error::target_error(moved.as_bytes()))
        }
        None if env.overdue => {
            env.session.question = None;
            Err(Error::MIGRATE_TIMEOUT)
        }
        None => Ok(None),
    }
}

/// M24: the keys stay, and the target restores them as well.
fn copy(env: &mut Env<'_>, plan: &Plan<'_>, (slot, to): (u16, ShardId)) -> Done {
    let cargo = plan.cargo(env, (slot, None), Reader::Newest, &[]);
    let bytes = cargo.parcels.iter().map(|p| p.key.len() + p.payload.len());
    if bytes.sum::<usize>() > MOST_COPIED {
        return Err(Error::MIGRATE_WRITING);
    }
    let cluster = env.server.cluster().ok_or(Error::CLUSTER_DISABLED)?;
    let number = cluster.begin_copy(to, cargo, plan.patience);
    Ok(wait_for(plan, BlockKind::Copy { number }))
}

fn wait_for(plan: &Plan<'_>, kind: BlockKind) -> Flow {
    Flow::Block(Block {
        kind,
        timeout: Some(plan.patience),
    })
}

fn own_shard(env: &Env<'_>) -> ShardId {
    env.data.record().shard
}

/// M2: whether one more lend may be begun, and the log has room for it. None: later.
fn may_lend(env: &mut Env<'_>, plan: &Plan<'_>, to: ShardId) -> Result<Option<()>, Error> {
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

/// Under this mark; without one the keys are leftovers (M22).
fn lend(
    env: &mut Env<'_>,
    plan: &Plan<'_>,
    (slot, to, mark): (u16, ShardId, Option<MoveId>),
) -> Done {
    let ahead = plan.ahead(env, slot);
    let bytes: usize = ahead.iter().map(|key| key.len() + 8).sum();
    // Both entries, or neither.
    if may_lend(env, plan, to)?.is_none() || !env.data.room_for(plan.weight() + bytes) {
        return Ok(Flow::Hold);
    }
    let cargo = plan.cargo(env, (slot, mark), Reader::Newest, &ahead);
    let entry = Lend {
        slot,
        to,
        mark,
        keys: cargo.parcels.iter().map(|p| p.key.clone()).collect(),
        outside: None,
    };
    let cluster = env.server.cluster().ok_or(Error::CLUSTER_DISABLED)?;
    let id = cluster.mint();
    if let Some(mark) = mark {
        env.data.bind(slot, mark);
    }
    env.data.lend(id, entry);
    if env.data.footprint().hold {
        return Ok(Flow::Hold);
    }
    let named = cargo.parcels.len() - ahead.len();
    let cluster = env.server.cluster().ok_or(Error::CLUSTER_DISABLED)?;
    cluster.begin_lend(id, (cargo, named), plan.patience);
    Ok(wait_for(plan, BlockKind::Lend { id }))
}
