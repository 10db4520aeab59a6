//! Between databases: COPY, MOVE, SWAPDB.
//!
//! Owns: the check of a database's number. Never: looks at a value. Hazard: admission has looked for lent
//! keys in the client's own database only, so a key of another one is looked for here (M5).

use super::args::integer;
use super::env::{Done, Env, Flow, DONE};
use super::error::Error;
use super::motion;
use super::rows::rows;
use super::spec::Role;
use super::words::Words;
use base::events::Classes;
use keyspace::Key;
use resp::args::Args;

rows! { pub static ROWS:
    Generic [KEYSPACE] {
        "copy" -3 [WRITE DENYOOM] "6.2.0" key(1 RO ACCESS) key(2 OW UPDATE) => copy: "Copies a key's value to another key." .new_effects();
        "move" 3 [WRITE FAST] "1.0.0" key(1 RW ACCESS UPDATE) => move_key: "Moves a key to another database." .new_effects();
    }
    Server [KEYSPACE] {
        "swapdb" 3 [WRITE FAST] @DANGEROUS "4.0.0" => swapdb: "Swaps two databases." .role(Role::Walk).new_effects();
    }
}

/// The database of this number.
fn database(env: &Env<'_>, number: i64) -> Result<u32, Error> {
    let db = u32::try_from(number).ok();
    let db = db.filter(|db| *db < env.data.keyspace().databases());
    db.ok_or(Error::DB_OUT_OF_RANGE)
}

fn int32(text: &[u8]) -> Result<i64, Error> {
    let number = i32::try_from(integer(text)?).map_err(|_| Error::NOT_AN_INT32)?;
    Ok(number.into())
}

/// Whether the key exists in that database. One that has expired there is deleted; one that is lent is waited
/// for: the command is held then.
fn exists_in(env: &mut Env<'_>, db: u32, key: &Key<'_>) -> Result<bool, Error> {
    if env.data.frozen_in(db, key.bytes).is_some() {
        motion::hold(env)?;
        env.data.hold();
        return Ok(false);
    }
    let home = env.data.db();
    env.data.select(db);
    let exists = env.data.exists(key);
    env.data.select(home);
    Ok(exists)
}

fn copy(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let home = env.session.db;
    let (mut to_db, mut replace) = (home, false);
    let mut words = Words::new(args, 3);
    while !words.is_empty() {
        if words.word("replace") {
            replace = true;
        } else if words.len() > 1 && words.word("db") {
            to_db = database(env, int32(words.need()?)?)?;
        } else {
            return Err(Error::SYNTAX);
        }
    }
    if env.data.is_cluster() && (home, to_db) != (0, 0) {
        return Err(Error::COPY_IN_CLUSTER);
    }
    let (from, to) = (env.data.key(args.at(1)), env.data.key(args.at(2)));
    if home == to_db && from.bytes == to.bytes {
        return Err(Error::SAME_OBJECT);
    }
    let found = env.data.with_counted(&from, |entry| entry.is_some());
    let copies = found && (!exists_in(env, to_db, &to)? || replace);
    if env.data.footprint().hold {
        return Ok(Flow::Hold);
    }
    if copies {
        env.data.copy(&from, to_db, &to);
        env.data
            .event_in(to_db, Classes::GENERIC, "copy_to", to.bytes);
    }
    env.reply().int(i64::from(copies));
    DONE
}

fn move_key(env: &mut Env<'_>, args: Args<'_>) -> Done {
    if env.data.is_cluster() {
        return Err(Error::MOVE_IN_CLUSTER);
    }
    let to_db = database(env, int32(args.at(2))?)?;
    if to_db == env.session.db {
        return Err(Error::SAME_OBJECT);
    }
    let key = env.data.key(args.at(1));
    let moves = env.data.exists(&key) && !exists_in(env, to_db, &key)?;
    if env.data.footprint().hold {
        return Ok(Flow::Hold);
    }
    if moves {
        env.data.move_to(&key, to_db);
        env.data.event(Classes::GENERIC, "move_from", &key);
        env.data
            .event_in(to_db, Classes::GENERIC, "move_to", key.bytes);
    }
    env.reply().int(i64::from(moves));
    DONE
}

fn swapdb(env: &mut Env<'_>, args: Args<'_>) -> Done {
    if env.data.is_cluster() {
        return Err(Error::SWAPDB_IN_CLUSTER);
    }
    let first = int32(args.at(1)).map_err(|_| Error::FIRST_DB)?;
    let second = int32(args.at(2)).map_err(|_| Error::SECOND_DB)?;
    let (first, second) = (database(env, first)?, database(env, second)?);
    if first != second {
        env.data.expire_watched(&[first, second]);
        if env.data.footprint().hold {
            return Ok(Flow::Hold);
        }
        env.data.swap(first, second);
    }
    env.reply().ok();
    DONE
}
