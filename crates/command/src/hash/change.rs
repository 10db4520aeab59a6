//! Changing fields: HSET and its relatives, HDEL.

use super::view::{open, Fields};
use crate::env::{Done, Env, DONE};
use crate::error::Error;
use crate::pace::Pace;
use crate::values::as_hash;
use base::events::Classes;
use keyspace::FieldTtl;
use resp::args::Args;

/// How many fields are new.
fn set(env: &mut Env<'_>, args: Args<'_>, name: &str) -> Result<usize, Error> {
    if args.len() % 2 == 1 {
        return Err(Error::wrong_arity(name));
    }
    let key = env.data.key(args.at(1));
    env.data.with(&key, |entry| {
        entry.map(|entry| as_hash(&entry).map(|_| ())).transpose()
    })?;
    let pairs: Vec<&[u8]> = args.skip(2).iter().collect();
    let mut pace = Pace::default();
    let Env { data, server, .. } = env;
    let breathe = &mut |bytes| pace.step(&mut **server, bytes); // T9
    let added = data.hash_set(&key, &pairs, FieldTtl::Clear, breathe);
    data.event(Classes::HASH, "hset", &key);
    Ok(added)
}

pub fn hset(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let added = set(env, args, "hset")?;
    env.reply().int(added as i64);
    DONE
}

pub fn hmset(env: &mut Env<'_>, args: Args<'_>) -> Done {
    set(env, args, "hmset")?;
    env.reply().ok();
    DONE
}

pub fn hsetnx(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let now = env.data.now_ms();
    let (key, field) = (env.data.key(args.at(1)), args.at(2));
    let named = Fields::One(field);
    let is_there = open(env.data, &key, named, |hash| {
        hash.is_some_and(|hash| hash.get_alive(field, now).is_some())
    })?;
    if !is_there {
        let pair = [field, args.at(3)];
        env.data.hash_set(&key, &pair, FieldTtl::Clear, &mut |_| {});
        env.data.event(Classes::HASH, "hset", &key);
    }
    env.reply().int(i64::from(!is_there));
    DONE
}

/// Looks at no field's expiry.
pub fn hdel(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let key = env.data.key(args.at(1));
    let found = env.data.with(&key, |entry| {
        let Some(entry) = entry else {
            return Ok(Vec::new());
        };
        let hash = as_hash(&entry)?;
        let mut found: Vec<&[u8]> = args.skip(2).iter().collect();
        if found.len() > 1 {
            let mut seen = std::collections::HashSet::new();
            found.retain(|field| seen.insert(*field));
        }
        found.retain(|field| hash.get(field).is_some());
        Ok(found)
    })?;
    if !found.is_empty() {
        let mut pace = Pace::default();
        let Env { data, server, .. } = env;
        let breathe = &mut |bytes| pace.step(&mut **server, bytes); // T9
        data.hash_remove(&key, &found, breathe);
        env.data.event(Classes::HASH, "hdel", &key);
    }
    env.reply().int(found.len() as i64);
    DONE
}
