//! When two replies are the same, and the known differences between the two versions.
//!
//! The rule is equal bytes. The exceptions are replies that depend on time, on identity or on the
//! order of a hash table, and the rows of [`VERSIONS`].

use crate::common::resp::Value;
use crate::dump::FOOTER;
use crate::pair::Answer;

/// Where the packaged redis-server (7.0) and the target (7.4) differ: command or field, what
/// differs, why. The tests take from here what they leave out.
pub const VERSIONS: &[(&str, &str, &str)] = &[
    (
        "HELLO",
        "version, id, modules",
        "the version is what it is; ids are per process",
    ),
    ("HELLO", "NOAUTH text", "7.4 says `HELLO <proto> AUTH`"),
    (
        "PUBLISH",
        "order of a message to oneself",
        "before the reply until 7.2, behind it since",
    ),
    (
        "SCAN",
        "negative cursors",
        "read as unsigned before 7.4, refused since",
    ),
    (
        "DUMP",
        "version and checksum",
        "the version is 12 since 7.4; the checksum covers it",
    ),
    (
        "COMMAND|GETKEYS",
        "arity",
        "a command without arguments is allowed since 7.2",
    ),
    ("CLIENT|SETINFO", "whole command", "new in 7.2"),
    ("CLIENT|NO-TOUCH", "whole command", "new in 7.2"),
    ("CLIENT|KILL", "MAXAGE", "new in 7.4"),
    ("CLIENT|LIST", "lib-name, lib-ver fields", "new in 7.2"),
    ("WAITAOF", "whole command", "new in 7.2"),
    (
        "SETBIT",
        "WATCH",
        "a bit that is so already was a change for WATCH until 7.0, and BITFIELD likewise",
    ),
    (
        "BITCOUNT",
        "bad range of a missing key",
        "0 until 7.0, an error since; BITPOS likewise",
    ),
    (
        "COMMAND|INFO",
        "flags of WAIT",
        "blocking, and allowed in scripts, since 7.2",
    ),
    (
        "COMMAND|DOCS",
        "names of arguments, display_text, what is deprecated",
        "7.2 tidied the trees up; docs.rs lists which",
    ),
    (
        "COMMAND|COUNT",
        "number",
        "7.4 has more commands, ours fewer",
    ),
    (
        "COMMAND|INFO",
        "tips",
        "7.4 gives some commands more tips; their order is a set's",
    ),
];

/// Whether the table of version differences leaves out all of `command`.
pub fn differs_by_version(command: &str) -> bool {
    let left_out = |row: &(&str, &str, &str)| row.1 == "whole command";
    VERSIONS
        .iter()
        .any(|row| row.0.eq_ignore_ascii_case(command) && left_out(row))
}

/// How far apart two clocks' readings of the same moment may be, in the unit of the command.
fn tolerance(name: &[u8]) -> Option<i64> {
    match name {
        b"TTL" | b"EXPIRETIME" => Some(1 + SLACK_S),
        b"PTTL" | b"PEXPIRETIME" => Some(1000 * SLACK_S),
        _ => None,
    }
}

/// A busy machine may stop one of the servers for a while between the two clocks.
const SLACK_S: i64 = 3;

pub fn same(args: &[Vec<u8>], reference: &Answer, ours: &Answer) -> bool {
    let (reference, ours) = match (reference, ours) {
        (Ok(a), Ok(b)) => (a, b),
        (Err(a), Err(b)) => return a == b,
        _ => return false,
    };
    if reference.1 == ours.1 {
        return true;
    }
    let name = args[0].to_ascii_uppercase();
    let (a, b) = (&reference.0, &ours.0);
    match name.as_slice() {
        b"KEYS" | b"SMEMBERS" | b"SINTER" | b"SUNION" | b"SDIFF" | b"HGETALL" | b"HKEYS"
        | b"HVALS" => sorted(a).is_some() && sorted(a) == sorted(b),
        b"HSCAN" | b"SSCAN" | b"ZSCAN" => match (a, b) {
            (Value::Array(a), Value::Array(b)) if a.len() == 2 && b.len() == 2 => {
                a[0] == b[0] && sorted(&a[1]).is_some() && sorted(&a[1]) == sorted(&b[1])
            }
            _ => false,
        },
        // Redis's strcoll ends at a zero byte: which of two members goes first that differ behind it is not defined.
        b"SORT" => has_zero_byte(a) && sorted(a).is_some() && sorted(a) == sorted(b),
        b"RANDOMKEY" | b"TIME" => shape(a) == shape(b),
        b"DUMP" => match (a, b) {
            (Value::Bulk(a), Value::Bulk(b)) => {
                let value = |payload: &[u8]| payload.len().checked_sub(FOOTER);
                value(a).is_some() && value(b).map(|n| &b[..n]) == value(a).map(|n| &a[..n])
            }
            _ => false,
        },
        b"ROLE" => shape(a) == shape(b) && a.items().first() == b.items().first(),
        b"CLIENT" => {
            let sub = args
                .get(1)
                .map(|s| s.to_ascii_uppercase())
                .unwrap_or_default();
            matches!(sub.as_slice(), b"ID" | b"LIST" | b"INFO") && shape(a) == shape(b)
        }
        b"HELLO" | b"EXEC" => masked(a) == masked(b),
        name => match (tolerance(name), a, b) {
            (Some(slack), Value::Int(a), Value::Int(b)) => {
                *a > 0 && *b > 0 && (a - b).abs() <= slack
            }
            _ => false,
        },
    }
}

/// A value in which HELLO's maps don't name the process: row HELLO of [`VERSIONS`].
fn masked(value: &Value) -> Value {
    let items = match value {
        Value::Array(items) | Value::Map(items) => items,
        other => return other.clone(),
    };
    let server = Value::Bulk(b"server".to_vec());
    let is_hello = items.first() == Some(&server);
    let mut all: Vec<Value> = items.iter().map(masked).collect();
    if is_hello {
        for pair in all.chunks_mut(2) {
            if ["version", "id", "modules"].contains(&pair[0].text().as_str()) {
                pair[1] = Value::Nil;
            }
        }
    }
    match value {
        Value::Map(_) => Value::Map(all),
        _ => Value::Array(all),
    }
}

/// Bytes of both versions alike where only a text of [`VERSIONS`] differs.
pub fn versionless(bytes: &[u8]) -> Vec<u8> {
    let (new, old) = (b"the HELLO <proto> AUTH", b"the HELLO AUTH");
    match bytes.windows(new.len()).position(|w| w == new) {
        Some(at) => [&bytes[..at], old, &bytes[at + new.len()..]].concat(),
        None => bytes.to_vec(),
    }
}

fn sorted(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Array(items) | Value::Set(items) | Value::Map(items) => {
            let mut all: Vec<String> = items.iter().map(|i| format!("{i:?}")).collect();
            all.sort();
            Some(all)
        }
        _ => None,
    }
}

fn has_zero_byte(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(has_zero_byte),
        Value::Bulk(bytes) => bytes.contains(&0),
        _ => false,
    }
}

/// The kinds of values without what they hold.
fn shape(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("*[{}]", items.iter().map(shape).collect::<String>()),
        Value::Error(text) => format!("-{}", String::from_utf8_lossy(text)),
        Value::Nil => "_".into(),
        Value::Int(_) => ":".into(),
        Value::Simple(_) => "+".into(),
        Value::Bulk(_) => "$".into(),
        _ => "?".into(),
    }
}
