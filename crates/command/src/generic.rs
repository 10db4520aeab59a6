//! Keys whatever their value: DEL, UNLINK, EXISTS, TOUCH, TYPE, RENAME, RENAMENX.

use super::env::{Done, Env, Flow, DONE};
use super::error::Error;
use super::pace::Pace;
use super::room;
use super::rows::rows;
use super::values::kind_name;
use base::events::Classes;
use resp::args::Args;

const SPREAD_SUM: &[&str] = &["request_policy:multi_shard", "response_policy:agg_sum"];

rows! { pub static ROWS: Generic [KEYSPACE] {
    "del" -2 [WRITE] "1.0.0" keys(1 -1 1 RM DELETE) => del: "Deletes keys." .tips(SPREAD_SUM).frees();
    "exists" -2 [READONLY FAST] "1.0.0" keys(1 -1 1 RO) => exists: "How many of the keys exist." .tips(SPREAD_SUM);
    "rename" 3 [WRITE] "1.0.0" key(1 RW ACCESS DELETE) key(2 OW UPDATE) => rename: "Renames a key; one that has the new name is overwritten.";
    "renamenx" 3 [WRITE FAST] "1.0.0" key(1 RW ACCESS DELETE) key(2 OW INSERT) => renamenx: "Renames a key if none has the new name.";
    "touch" -2 [READONLY FAST] "3.2.1" keys(1 -1 1 RO) => exists: "How many of the keys exist; counts as a use of them." .tips(SPREAD_SUM);
    "type" 2 [READONLY FAST] "1.0.0" key(1 RO) => kind: "The type of a key's value.";
    "unlink" -2 [WRITE FAST] "4.0.0" keys(1 -1 1 RM DELETE) => del: "Deletes keys; memory is freed later." .tips(SPREAD_SUM).frees();
}}

/// Freeing large values never happens here, so DEL and UNLINK are the same.
fn del(env: &mut Env<'_>, args: Args<'_>) -> Done {
    // D5: all of them or none: they are one unit.
    let keys = args.skip(1);
    if keys.len() > 1 && !env.data.room_for(room::deletions(keys)) {
        return Ok(Flow::Hold);
    }
    let (mut deleted, mut pace) = (0, Pace::default());
    for bytes in args.skip(1).iter() {
        let key = env.data.key(bytes);
        if env.data.exists(&key) {
            env.data.delete(&key);
            env.data.event(Classes::GENERIC, "del", &key);
            deleted += 1;
        }
        pace.step(&mut *env.server, bytes.len()); // T9
    }
    env.reply().int(deleted);
    DONE
}

fn exists(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let (mut count, mut pace) = (0, Pace::default());
    for bytes in args.skip(1).iter() {
        let key = env.data.key(bytes);
        count += i64::from(env.data.with_counted(&key, |entry| entry.is_some()));
        pace.step(&mut *env.server, bytes.len()); // T9
    }
    env.reply().int(count);
    DONE
}

fn kind(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let key = env.data.key(args.at(1));
    let name = env
        .data
        .with(&key, |entry| entry.map_or("none", |e| kind_name(&e)));
    env.reply().simple(name);
    DONE
}

fn rename(env: &mut Env<'_>, args: Args<'_>) -> Done {
    move_key(env, args, false)?;
    env.reply().ok();
    DONE
}

fn renamenx(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let moved = move_key(env, args, true)?;
    env.reply().int(i64::from(moved));
    DONE
}

/// Whether the key has a new name now; with `nx` only if that was free.
fn move_key(env: &mut Env<'_>, args: Args<'_>, nx: bool) -> Result<bool, Error> {
    let data = &mut *env.data;
    let (from, to) = (data.key(args.at(1)), data.key(args.at(2)));
    if !data.exists(&from) {
        return Err(Error::NO_SUCH_KEY);
    }
    if from.bytes == to.bytes || (nx && data.exists(&to)) {
        return Ok(false);
    }
    assert!(data.rename(&from, &to), "the key was just looked at");
    data.event(Classes::GENERIC, "rename_from", &from);
    data.event(Classes::GENERIC, "rename_to", &to);
    Ok(true)
}
