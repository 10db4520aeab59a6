//! Keys whatever their value: DEL, UNLINK, EXISTS, TOUCH, TYPE, RENAME, RENAMENX.

use super::env::{Done, Env, Flow, DONE};
use super::error::Error;
use super::room;
use super::spec::{flags, Acl, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::keyspace::{Entry, Kind};
use crate::resp::args::Args;

const ALL_REMOVED: &[KeySpec] = &[KeySpec::new(KeyFlags::RM.and(KeyFlags::DELETE), 1, -1, 1)];
const ALL_READ: &[KeySpec] = &[KeySpec::new(KeyFlags::RO, 1, -1, 1)];
const FROM: KeySpec = KeySpec::new(
    KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::DELETE),
    1,
    0,
    1,
);
const SPREAD_SUM: &[&str] = &["request_policy:multi_shard", "response_policy:agg_sum"];

const fn row(name: &'static str, arity: i16, flags: Flags, since: &'static str, run: Run) -> Spec {
    Spec::new(name, arity, flags, Group::Generic, run)
        .acl(Acl::KEYSPACE)
        .since(since)
}

pub static SPECS: &[Spec] = &[
    row("del", -2, flags![WRITE], "1.0.0", del)
        .keys(1, -1, 1, ALL_REMOVED)
        .tips(SPREAD_SUM)
        .summary("Deletes keys."),
    row("exists", -2, flags![READONLY, FAST], "1.0.0", exists)
        .keys(1, -1, 1, ALL_READ)
        .tips(SPREAD_SUM)
        .summary("How many of the keys exist."),
    row("rename", 3, flags![WRITE], "1.0.0", rename)
        .keys(
            1,
            2,
            1,
            &[
                FROM,
                KeySpec::new(KeyFlags::OW.and(KeyFlags::UPDATE), 2, 0, 1),
            ],
        )
        .summary("Renames a key; one that has the new name is overwritten."),
    row("renamenx", 3, flags![WRITE, FAST], "1.0.0", renamenx)
        .keys(
            1,
            2,
            1,
            &[
                FROM,
                KeySpec::new(KeyFlags::OW.and(KeyFlags::INSERT), 2, 0, 1),
            ],
        )
        .summary("Renames a key if none has the new name."),
    row("touch", -2, flags![READONLY, FAST], "3.2.1", exists)
        .keys(1, -1, 1, ALL_READ)
        .tips(SPREAD_SUM)
        .summary("How many of the keys exist; counts as a use of them."),
    row("type", 2, flags![READONLY, FAST], "1.0.0", kind)
        .keys(1, 1, 1, &[KeySpec::new(KeyFlags::RO, 1, 0, 1)])
        .summary("The type of a key's value."),
    row("unlink", -2, flags![WRITE, FAST], "4.0.0", del)
        .keys(1, -1, 1, ALL_REMOVED)
        .tips(SPREAD_SUM)
        .summary("Deletes keys; memory is freed later."),
];

/// Freeing large values never happens here, so DEL and UNLINK are the same.
fn del(env: &mut Env<'_>, args: Args<'_>) -> Done {
    // D5: all of them or none: they are one unit.
    let keys = args.skip(1);
    if keys.len() > 1 && !env.data.room_for(room::deletions(keys)) {
        return Ok(Flow::Hold);
    }
    let mut deleted = 0;
    for bytes in args.skip(1).iter() {
        let key = env.data.key(bytes);
        if env.data.exists(&key) {
            env.data.delete(&key);
            deleted += 1;
        }
    }
    env.reply().int(deleted);
    DONE
}

fn exists(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let mut count = 0;
    for bytes in args.skip(1).iter() {
        let key = env.data.key(bytes);
        count += i64::from(env.data.with_counted(&key, |entry| entry.is_some()));
    }
    env.reply().int(count);
    DONE
}

/// The name of a type, as TYPE says and SCAN's TYPE takes it.
pub(super) fn kind_name(entry: &Entry<'_>) -> &'static str {
    match entry.kind() {
        Kind::String => "string",
    }
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
    Ok(true)
}
