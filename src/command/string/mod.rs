//! The string family: rows here, handlers in the files below.
//!
//! `set` writes whole values, `read` looks at them, `edit` changes them in place, `lcs` compares
//! two; `long_double` is the arithmetic of INCRBYFLOAT.

mod edit;
mod lcs;
mod long_double;
mod read;
mod set;

use super::error::Error;
use super::room;
use super::spec::{flags, Acl, Group, KeyFlags, KeySpec, Spec};
use crate::keyspace::{Entry, Kind, Value};
use crate::resp::number::parse_i64;

/// An integer argument.
pub(super) fn integer(text: &[u8]) -> Result<i64, Error> {
    parse_i64(text).ok_or(Error::NOT_AN_INTEGER)
}

/// The value of a key that has to be a string.
pub(super) fn as_string<'a>(entry: &Entry<'a>) -> Result<Value<'a>, Error> {
    match entry.kind() {
        Kind::String => Ok(entry.value()),
    }
}

const RO: KeyFlags = KeyFlags::RO.and(KeyFlags::ACCESS);
const OW: KeyFlags = KeyFlags::OW.and(KeyFlags::UPDATE);
const RW: KeyFlags = KeyFlags::RW.and(KeyFlags::UPDATE);
const RW_ACCESS: KeyFlags = RW.and(KeyFlags::ACCESS);

const ONE_RO: &[KeySpec] = &[KeySpec::new(RO, 1, 0, 1)];
const ONE_RO_BLIND: &[KeySpec] = &[KeySpec::new(KeyFlags::RO, 1, 0, 1)];
const ONE_OW: &[KeySpec] = &[KeySpec::new(OW, 1, 0, 1)];
const ONE_OW_INSERT: &[KeySpec] = &[KeySpec::new(KeyFlags::OW.and(KeyFlags::INSERT), 1, 0, 1)];
const ONE_RW: &[KeySpec] = &[KeySpec::new(RW, 1, 0, 1)];
const ONE_RW_ACCESS: &[KeySpec] = &[KeySpec::new(RW_ACCESS, 1, 0, 1)];
const ONE_RW_INSERT: &[KeySpec] = &[KeySpec::new(KeyFlags::RW.and(KeyFlags::INSERT), 1, 0, 1)];
const SET_NOTES: &str = "RW and ACCESS due to the optional `GET` argument";
const SET_KEY: &[KeySpec] = &[KeySpec {
    notes: SET_NOTES,
    ..KeySpec::new(RW_ACCESS.and(KeyFlags::VARIABLE_FLAGS), 1, 0, 1)
}];
const GETDEL_KEY: &[KeySpec] = &[KeySpec::new(
    KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::DELETE),
    1,
    0,
    1,
)];

const fn row(
    name: &'static str,
    arity: i16,
    flags: super::spec::Flags,
    since: &'static str,
    run: super::spec::Run,
) -> Spec {
    Spec::new(name, arity, flags, Group::String, run)
        .acl(Acl::STRING)
        .since(since)
}

pub static SPECS: &[Spec] = &[
    row(
        "append",
        3,
        flags![WRITE, DENYOOM, FAST],
        "2.0.0",
        edit::append,
    )
    .keys(1, 1, 1, ONE_RW_INSERT)
    .summary("Adds bytes to the end of a string."),
    row("decr", 2, flags![WRITE, DENYOOM, FAST], "1.0.0", edit::decr)
        .keys(1, 1, 1, ONE_RW_ACCESS)
        .summary("Takes one from an integer."),
    row(
        "decrby",
        3,
        flags![WRITE, DENYOOM, FAST],
        "1.0.0",
        edit::decrby,
    )
    .keys(1, 1, 1, ONE_RW_ACCESS)
    .summary("Takes a number from an integer."),
    row("get", 2, flags![READONLY, FAST], "1.0.0", read::get)
        .keys(1, 1, 1, ONE_RO)
        .summary("A string's value."),
    row("getdel", 2, flags![WRITE, FAST], "6.2.0", set::getdel)
        .keys(1, 1, 1, GETDEL_KEY)
        .summary("A string's value; deletes the key."),
    row("getex", -2, flags![WRITE, FAST], "6.2.0", set::getex)
        .keys(
            1,
            1,
            1,
            &[KeySpec {
                notes: GETEX_NOTES,
                ..KeySpec::new(RW_ACCESS, 1, 0, 1)
            }],
        )
        .summary("A string's value; sets or removes the key's expiry."),
    row("getrange", 4, flags![READONLY], "2.4.0", read::getrange)
        .keys(1, 1, 1, ONE_RO)
        .summary("A part of a string."),
    row(
        "getset",
        3,
        flags![WRITE, DENYOOM, FAST],
        "1.0.0",
        set::getset,
    )
    .keys(1, 1, 1, ONE_RW_ACCESS)
    .deprecated("6.2.0", "`SET` with the `!GET` argument")
    .summary("Sets a string and returns the value it had."),
    row("incr", 2, flags![WRITE, DENYOOM, FAST], "1.0.0", edit::incr)
        .keys(1, 1, 1, ONE_RW_ACCESS)
        .summary("Adds one to an integer."),
    row(
        "incrby",
        3,
        flags![WRITE, DENYOOM, FAST],
        "1.0.0",
        edit::incrby,
    )
    .keys(1, 1, 1, ONE_RW_ACCESS)
    .summary("Adds a number to an integer."),
    row(
        "incrbyfloat",
        3,
        flags![WRITE, DENYOOM, FAST],
        "2.6.0",
        edit::incrbyfloat,
    )
    .effects(room::float)
    .keys(1, 1, 1, ONE_RW_ACCESS)
    .summary("Adds a number to a floating-point value."),
    row("lcs", -3, flags![READONLY], "7.0.0", lcs::lcs)
        .keys(1, 2, 1, &[KeySpec::new(RO, 1, 1, 1)])
        .summary("The longest common subsequence of two strings."),
    row("mget", -2, flags![READONLY, FAST], "1.0.0", read::mget)
        .keys(1, -1, 1, &[KeySpec::new(RO, 1, -1, 1)])
        .tips(&["request_policy:multi_shard"])
        .summary("The values of several strings."),
    row("mset", -3, flags![WRITE, DENYOOM], "1.0.1", set::mset)
        .keys(1, -1, 2, &[KeySpec::new(OW, 1, -1, 2)])
        .tips(&[
            "request_policy:multi_shard",
            "response_policy:all_succeeded",
        ])
        .summary("Sets several strings at once."),
    row("msetnx", -3, flags![WRITE, DENYOOM], "1.0.1", set::msetnx)
        .keys(
            1,
            -1,
            2,
            &[KeySpec::new(KeyFlags::OW.and(KeyFlags::INSERT), 1, -1, 2)],
        )
        .summary("Sets several strings at once if none of the keys exists."),
    row("psetex", 4, flags![WRITE, DENYOOM], "2.6.0", set::psetex)
        .keys(1, 1, 1, ONE_OW)
        .deprecated("2.6.12", "`SET` with the `PX` argument")
        .summary("Sets a string that expires, in milliseconds."),
    row("set", -3, flags![WRITE, DENYOOM], "1.0.0", set::set)
        .keys(1, 1, 1, SET_KEY)
        .summary("Sets a string."),
    row("setex", 4, flags![WRITE, DENYOOM], "2.0.0", set::setex)
        .keys(1, 1, 1, ONE_OW)
        .deprecated("2.6.12", "`SET` with the `EX` argument")
        .summary("Sets a string that expires, in seconds."),
    row(
        "setnx",
        3,
        flags![WRITE, DENYOOM, FAST],
        "1.0.0",
        set::setnx,
    )
    .keys(1, 1, 1, ONE_OW_INSERT)
    .deprecated("2.6.12", "`SET` with the `NX` argument")
    .summary("Sets a string if the key does not exist."),
    row(
        "setrange",
        4,
        flags![WRITE, DENYOOM],
        "2.2.0",
        edit::setrange,
    )
    .keys(1, 1, 1, ONE_RW)
    .summary("Overwrites a part of a string."),
    row("strlen", 2, flags![READONLY, FAST], "2.2.0", read::strlen)
        .keys(1, 1, 1, ONE_RO_BLIND)
        .summary("The length of a string."),
    row("substr", 4, flags![READONLY], "1.0.0", read::getrange)
        .keys(1, 1, 1, ONE_RO)
        .deprecated("2.0.0", "`GETRANGE`")
        .summary("A part of a string."),
];

const GETEX_NOTES: &str = "RW and UPDATE because it changes the TTL";
