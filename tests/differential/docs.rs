//! COMMAND DOCS of every command that both servers have: the same fields in the same order and of
//! the same types, the same argument trees. Summaries and complexities are our own words.

use crate::common::resp::{Client, Value};
use crate::pair::Pair;
use std::collections::BTreeMap;

/// 7.2 gave some arguments other names (`key_value` became `data`), with the same tree.
const RENAMED: &[&str] = &[
    "acl|cat",
    "client|reply",
    "client|unblock",
    "cluster|addslotsrange",
    "cluster|delslotsrange",
    "cluster|meet",
    "cluster|reset",
    "cluster|setslot",
    "config|set",
    "flushall",
    "flushdb",
    "hello",
    "lcs",
    "mset",
    "msetnx",
    "shutdown",
];

/// Deprecated since 7.2.
const DEPRECATED: &[&str] = &["psetex", "quit", "setex", "setnx"];

/// What tells of it.
const DEPRECATION: &[&str] = &["doc_flags", "deprecated_since", "replaced_by"];

/// The trees themselves have changed, and how.
const CHANGED: &[(&str, &str)] = &[
    (
        "client|kill",
        "SKIPME is a choice since 7.2; MAXAGE is new in 7.4",
    ),
    ("client|list", "ID is one argument, not a block of one"),
    ("command|getkeys", "the command and its arguments"),
    ("command|getkeysandflags", "the command and its arguments"),
    ("config|get", "one argument, not a block of one"),
    ("psubscribe", "one argument, not a block of one"),
];

/// Ours, and what 7.2 and 7.4 have added beside the trees.
const LEFT_OUT: &[&str] = &[
    "summary",
    "complexity",
    "history",
    "arguments",
    "subcommands",
];

type Docs = BTreeMap<String, Vec<(String, Value)>>;

fn pairs(map: &Value) -> Vec<(String, Value)> {
    let pair = |pair: &[Value]| (pair[0].text(), pair[1].clone());
    map.items().chunks(2).map(pair).collect()
}

/// Every command and subcommand with its fields.
fn collect(map: &Value, found: &mut Docs) {
    for (name, docs) in pairs(map) {
        let fields = pairs(&docs);
        if let Some((_, subcommands)) = fields.iter().find(|(name, _)| name == "subcommands") {
            collect(subcommands, found);
        }
        found.insert(name, fields);
    }
}

/// The arguments without what 7.2 added to each; without their names if those have changed.
fn tree(arguments: &Value, named: bool) -> Value {
    let one = |argument: &Value| {
        let kept = pairs(argument)
            .into_iter()
            .filter(|(name, _)| name != "display_text" && (named || name != "name"));
        let fields = kept.flat_map(|(name, value)| {
            let value = match name.as_str() {
                "arguments" => tree(&value, named),
                _ => value,
            };
            [Value::Bulk(name.into_bytes()), value]
        });
        match argument {
            Value::Map(_) => Value::Map(fields.collect()),
            _ => Value::Array(fields.collect()),
        }
    };
    Value::Array(arguments.items().iter().map(one).collect())
}

fn arguments(fields: &[(String, Value)], named: bool) -> Option<Value> {
    let found = fields.iter().find(|(name, _)| name == "arguments");
    found.map(|(_, value)| tree(value, named))
}

fn compare(name: &str, redis: &[(String, Value)], ours: &[(String, Value)]) -> Option<String> {
    let newly = DEPRECATED.contains(&name);
    let deprecation = |field: &str| newly && DEPRECATION.contains(&field);
    if redis.iter().any(|(field, _)| deprecation(field)) {
        return Some(format!("{name} was deprecated before"));
    }
    let facts = |fields: &[(String, Value)]| -> Vec<(String, Value)> {
        let told = |(field, _): &&(String, Value)| {
            !LEFT_OUT.contains(&field.as_str()) && !deprecation(field)
        };
        fields.iter().filter(told).cloned().collect()
    };
    if facts(redis) != facts(ours) {
        return Some(format!("{name}: {:?}, not {:?}", facts(ours), facts(redis)));
    }
    let named = !RENAMED.contains(&name);
    let (a, b) = (arguments(redis, named), arguments(ours, named));
    let same = a == b;
    let changed = CHANGED.iter().find(|(other, _)| *other == name);
    match changed {
        None if !same => Some(format!("{name}: {b:?}, not {a:?}")),
        Some((_, how)) if same => Some(format!("{name} is the same, though: {how}")),
        // A name stands in RENAMED only while it needs to.
        None if !named && arguments(redis, true) == arguments(ours, true) => {
            Some(format!("{name} has the old names"))
        }
        _ => None,
    }
}

#[test]
fn command_docs() {
    let Some(pair) = Pair::start("command_docs", &[]) else {
        return;
    };
    for hello in ["2", "3"] {
        let ask = |mut client: Client| {
            client.cmd(&["HELLO", hello]);
            let mut found = Docs::new();
            collect(&client.cmd(&["COMMAND", "DOCS"]), &mut found);
            found
        };
        let (redis, ours) = (ask(pair.reference.client()), ask(pair.ours.client()));
        let both: Vec<&String> = ours
            .keys()
            .filter(|name| redis.contains_key(*name))
            .collect();
        assert!(both.len() > 120, "only {} commands in both", both.len());
        let wrong: Vec<String> = both
            .iter()
            .filter_map(|name| compare(name, &redis[*name], &ours[*name]))
            .collect();
        assert!(wrong.is_empty(), "RESP{hello}\n{}", wrong.join("\n"));
    }
}
