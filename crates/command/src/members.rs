//! How the handlers of sorted sets, and of what is kept in them, see one, show members, and give them scores.
//!
//! Owns: what of the members an addition changes: only that is written. Never: parses an option.

use super::env::{Done, Env, DONE};
use super::error::Error;
use super::pace::Pace;
use super::values::{as_sorted_set, bulk};
use base::events::Classes;
use keyspace::{Key, Scored, ZsetRef};
use resp::encode::Reply;
use state::StateMachine;
use std::collections::HashMap;

/// Shows the sorted set to `see`: for commands that read.
pub fn see<R>(
    data: &mut StateMachine,
    key: &Key<'_>,
    see: impl FnOnce(Option<ZsetRef<'_>>) -> R,
) -> Result<R, Error> {
    data.with_counted(key, |entry| {
        let zset = entry.map(|entry| as_sorted_set(&entry)).transpose();
        zset.map(see)
    })
}

/// The same for commands that write.
pub fn open<R>(
    data: &mut StateMachine,
    key: &Key<'_>,
    see: impl FnOnce(Option<ZsetRef<'_>>) -> R,
) -> Result<R, Error> {
    data.with(key, |entry| {
        let zset = entry.map(|entry| as_sorted_set(&entry)).transpose();
        zset.map(see)
    })
}

/// The head of `count` members, which have their scores beside them in RESP2 and are pairs in RESP3.
pub fn head(reply: &mut Reply<'_>, count: usize, with_scores: bool) {
    let flat = with_scores && !reply.is_resp3();
    reply.array(if flat { 2 * count } else { count });
}

/// One of them.
pub fn show(reply: &mut Reply<'_>, found: Scored<'_>, with_scores: bool) {
    if with_scores && reply.is_resp3() {
        reply.array(2);
    }
    bulk(reply, found.member);
    if with_scores {
        reply.double(found.score);
    }
}

/// Whether a key that has expired could not be deleted now: the command will run again (T2).
pub fn waits(env: &Env<'_>) -> bool {
    env.data.footprint().hold
}

/// ZADD's options.
#[derive(Clone, Copy, Default)]
pub struct Options {
    pub nx: bool,
    pub xx: bool,
    pub gt: bool,
    pub lt: bool,
    pub ch: bool,
    pub incr: bool,
}

/// What adding comes to.
#[derive(Default)]
struct Added<'a> {
    added: usize,
    updated: usize,
    /// The score of the last member that no option has left out.
    score: Option<f64>,
    changes: Vec<(&'a [u8], f64)>,
}

/// Gives members their scores, and replies.
pub fn add(env: &mut Env<'_>, key: &[u8], items: &[(&[u8], f64)], options: Options) -> Done {
    let key = env.data.key(key);
    let outcome = open(env.data, &key, |zset| work_out(zset, items, options))??;
    match outcome.changes.as_slice() {
        [] => {}
        [(member, score)] if options.incr => env.data.zset_increment(&key, member, *score),
        changes => {
            let mut pace = Pace::default();
            let Env { data, server, .. } = env;
            let breathe = &mut |bytes| pace.step(&mut **server, bytes); // T9
            data.zset_add(&key, changes, breathe);
        }
    }
    if !outcome.changes.is_empty() {
        let name = if options.incr { "zincr" } else { "zadd" };
        env.data.event(Classes::ZSET, name, &key);
    }
    let mut reply = env.reply();
    match (options.incr, outcome.score) {
        (true, Some(score)) => reply.double(score),
        (true, None) => reply.null(),
        (false, _) => {
            let updated = if options.ch { outcome.updated } else { 0 };
            reply.int((outcome.added + updated) as i64);
        }
    }
    DONE
}

fn work_out<'a>(
    zset: Option<ZsetRef<'_>>,
    items: &[(&'a [u8], f64)],
    options: Options,
) -> Result<Added<'a>, Error> {
    let mut outcome = Added::default();
    // What the command itself has given a member before; looked at only where it names several.
    let mut given: HashMap<&[u8], f64> = HashMap::new();
    for (member, score) in items {
        let old = match given.get(member) {
            Some(score) => Some(*score),
            None => zset.and_then(|zset| zset.score(member)),
        };
        let new = match old {
            None if options.xx => continue,
            Some(_) if options.nx => continue,
            Some(old) if options.incr => old + score,
            _ => *score,
        };
        if new.is_nan() {
            return Err(Error::SCORE_NAN);
        }
        if old.is_some_and(|old| (options.lt && new >= old) || (options.gt && new <= old)) {
            continue;
        }
        outcome.score = Some(new);
        if old == Some(new) {
            continue;
        }
        outcome.added += usize::from(old.is_none());
        outcome.updated += usize::from(old.is_some());
        outcome.changes.push((member, new));
        if items.len() > 1 {
            given.insert(member, new);
        }
    }
    Ok(outcome)
}
