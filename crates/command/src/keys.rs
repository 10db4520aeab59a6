//! The keyspace as a whole: KEYS, SCAN, RANDOMKEY, DBSIZE, FLUSHALL, FLUSHDB, SELECT.
//!
//! None of them names a key, so what they answer depends on everything that was written (T3).
//! Expired keys that they meet are deleted like any others (T2): leaving one out unlogged would
//! show its end before it is decided.

use super::args::integer;
use super::env::{Done, Env, DONE};
use super::error::Error;
use super::pace::Pace;
use super::room;
use super::rows::rows;
use super::scan::{parse_cursor, reply_scan, ScanOf, ScanOptions};
use super::spec::Role;
use super::words::Words;
use base::glob;
use keyspace::Entry;
use resp::args::Args;
use resp::encode::Reply;
use state::{Access, StateMachine};
use std::ops::ControlFlow;

const ALL_SUCCEEDED: &[&str] = &["request_policy:all_shards", "response_policy:all_succeeded"];
const SUM: &[&str] = &["request_policy:all_shards", "response_policy:agg_sum"];
const ANY_ORDER: &[&str] = &["request_policy:all_shards", "nondeterministic_output_order"];
const DRAWN: &[&str] = &[
    "request_policy:all_shards",
    "response_policy:special",
    "nondeterministic_output",
];
const SCANNED: &[&str] = &[
    "nondeterministic_output",
    "request_policy:special",
    "response_policy:special",
];

rows! { pub static ROWS:
    Server [KEYSPACE] {
        "dbsize" 1 [READONLY FAST] "1.0.0" => dbsize: "How many keys the database has." .tips(SUM);
        "flushall" -1 [WRITE] @DANGEROUS "1.0.0" => flushall: "Deletes all keys of all databases." .tips(ALL_SUCCEEDED).frees();
        "flushdb" -1 [WRITE] @DANGEROUS "1.0.0" => flushdb: "Deletes all keys of the database." .tips(ALL_SUCCEEDED).frees();
    }
    Generic [KEYSPACE] {
        "keys" 2 [READONLY] @DANGEROUS "1.0.0" => keys: "All keys that match a pattern." .tips(ANY_ORDER).role(Role::Walk);
        "randomkey" 1 [READONLY TOUCHES_ARBITRARY_KEYS] "1.0.0" => randomkey: "A key, drawn at random." .tips(DRAWN).role(Role::Walk);
        "scan" -2 [READONLY TOUCHES_ARBITRARY_KEYS] "2.8.0" => scan: "Walks through the keys, some at a time." .tips(SCANNED).role(Role::Walk);
    }
    Connection [CONNECTION] {
        "select" 2 [LOADING STALE FAST] "1.0.0" => select: "Changes the database.";
    }
}

fn dbsize(env: &mut Env<'_>, _args: Args<'_>) -> Done {
    env.data.depends_on_all();
    let len = env.data.keyspace().len(env.session.db);
    env.reply()
        .int(i64::try_from(len).expect("a count of keys fits an i64"));
    DONE
}

fn keys(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let pattern = args.at(1);
    env.data.depends_on_all();
    let Env {
        data,
        session,
        server,
        out,
        ..
    } = env;
    let mut reply = Reply::new(out, session.proto);
    let header = reply.deferred();
    let mut count = 0;
    let mut due = Due::new(data);
    let mut pace = Pace::default();
    data.keyspace().for_each(session.db, &mut |entry| {
        pace.step(&mut **server, entry.key().len());
        if pattern == b"*" || glob::matches(pattern, entry.key(), false) {
            if !data.is_due(&entry) {
                reply.bulk(entry.key());
                count += 1;
            } else if !due.take(&entry) {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    });
    reply.set_array(header, count);
    due.delete(env);
    DONE
}

/// The expired keys that a walk has met. Only those of a slice are deleted at once: with more of
/// them the command is held and goes on in the next turn, where it meets fewer (T2, D5).
struct Due {
    keys: Vec<Box<[u8]>>,
    /// Bytes of deletions that still belong to the slice.
    left: usize,
    more: bool,
    /// Only a leader deletes; others just don't show them.
    leads: bool,
}

impl Due {
    fn new(data: &StateMachine) -> Due {
        Due {
            keys: Vec::new(),
            left: data.slice_left(),
            more: false,
            leads: data.access() == Access::Lead,
        }
    }

    /// False: the slice is full, and the command will be held.
    fn take(&mut self, entry: &Entry<'_>) -> bool {
        if self.leads && self.left > 0 {
            // A key that is larger than the slice is deleted all the same: it must go some time.
            let bytes = entry.key().len() + room::DELETION;
            self.left = self.left.saturating_sub(bytes);
            self.keys.push(entry.key().into());
        } else {
            self.more |= self.leads;
        }
        !self.more
    }

    fn delete(self, env: &mut Env<'_>) {
        let mut pace = Pace::default();
        for bytes in &self.keys {
            pace.step(&mut *env.server, bytes.len());
            let key = env.data.key(bytes);
            env.data.exists(&key);
        }
        if self.more {
            env.data.hold();
        }
    }
}

fn scan(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let cursor = parse_cursor(args.at(1))?;
    let options = ScanOptions::parse(Words::new(args, 2), ScanOf::Keys)?;
    env.data.depends_on_all();
    let mut found: Vec<u8> = Vec::new();
    let mut keys = 0;
    let mut due = Due::new(env.data);
    let Env {
        data,
        session,
        server,
        ..
    } = env;
    let mut elements = Reply::new(&mut found, session.proto);
    let mut pace = Pace::default();
    let next = data
        .keyspace()
        .scan(session.db, cursor, options.count, &mut |entry| {
            pace.step(&mut **server, entry.key().len());
            if data.is_due(&entry) {
                due.take(&entry);
            } else if options.shows(&entry) {
                elements.bulk(entry.key());
                keys += 1;
            }
        });
    due.delete(env);
    reply_scan(env, next, keys, &found);
    DONE
}

/// Draws before RANDOMKEY shows an expired key of a replica's copy, which it can't delete.
const RANDOM_TRIES: u32 = 100;

fn randomkey(env: &mut Env<'_>, _args: Args<'_>) -> Done {
    env.data.depends_on_all();
    let mut tries = 0;
    let drawn = loop {
        let Some(bytes) = env.data.random_key() else {
            break None;
        };
        let key = env.data.key(&bytes);
        if env.data.exists(&key) {
            break Some(bytes);
        }
        match env.data.access() {
            Access::Lead if env.data.slice_left() == 0 => env.data.hold(),
            Access::Lead => {}
            Access::Replica | Access::Apply | Access::Record => tries += 1,
        }
        if env.data.footprint().hold || tries >= RANDOM_TRIES {
            break Some(bytes);
        }
    };
    match drawn {
        None => env.reply().null(),
        Some(bytes) => env.reply().bulk(&bytes),
    }
    DONE
}

/// SYNC and ASYNC make no difference: what is flushed is freed later in any case.
fn check_flush_mode(args: Args<'_>) -> Result<(), Error> {
    let mut words = Words::new(args, 1);
    let _either = words.word("sync") || words.word("async");
    words.finish()
}

fn flushall(env: &mut Env<'_>, args: Args<'_>) -> Done {
    check_flush_mode(args)?;
    flush(env, None);
    DONE
}

fn flushdb(env: &mut Env<'_>, args: Args<'_>) -> Done {
    check_flush_mode(args)?;
    let db = env.session.db;
    flush(env, Some(db));
    DONE
}

fn flush(env: &mut Env<'_>, db: Option<u32>) {
    env.data.depends_on_all();
    let keyspace = env.data.keyspace();
    let mut dbs = db.map_or(0..keyspace.databases(), |db| db..db + 1);
    // Where nothing is, nothing is written: OK then is a read like any other (T3).
    if dbs.any(|db| keyspace.len(db) > 0) {
        env.data.flush(db);
    }
    env.reply().ok();
}

fn select(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let db = i32::try_from(integer(args.at(1))?).map_err(|_| Error::NOT_AN_INT32)?;
    if env.data.is_cluster() && db != 0 {
        return Err(Error::SELECT_IN_CLUSTER);
    }
    let db = u32::try_from(db)
        .ok()
        .filter(|db| *db < env.data.keyspace().databases())
        .ok_or(Error::DB_OUT_OF_RANGE)?;
    env.session.db = db;
    env.data.select(db);
    env.reply().ok();
    DONE
}
