//! Redis 7.4.1's own command table, as tests read it.
//!
//! Owns: [`TABLE`], a line for each command with columns between tabs, and how key specs stand there:
//! `RW,access|index:1|range:0:1:0|notes`, several between semicolons.

use crate::key_spec::{Begin, Find, KeyFlags, KeySpec};
use crate::spec::{flags, Acl, CommandFlags, Group, Spec};

pub const TABLE: &str = include_str!("../../golden/redis-7.4.1-commands.tsv");

/// The column of a command's line; the columns are named by the first line.
pub fn column(command: &str, column: &str) -> &'static str {
    let at = TABLE
        .lines()
        .next()
        .and_then(|head| head.split('\t').position(|c| c == column));
    let mut lines = TABLE.lines().map(|line| line.split('\t'));
    let mut line = lines.find(|line| line.clone().next() == Some(command));
    let found = line.as_mut().and_then(|line| line.nth(at.unwrap()));
    found.unwrap_or_else(|| panic!("no {column} of {command}"))
}

pub fn commands() -> impl Iterator<Item = &'static str> {
    TABLE
        .lines()
        .skip(1)
        .map(|line| line.split('\t').next().unwrap())
}

/// The row of a command that need not exist here, as far as keys are concerned.
pub fn spec(command: &str) -> Spec {
    let name = Box::leak(command.to_owned().into_boxed_str());
    let specs: Vec<KeySpec> = match column(command, "key_specs") {
        "" => Vec::new(),
        all => all.split(';').map(parse).collect(),
    };
    let optional = column(command, "flags").contains("no_mandatory_keys");
    let flags = if optional {
        flags![NO_MANDATORY_KEYS]
    } else {
        CommandFlags::NONE
    };
    let arity = column(command, "arity").parse().unwrap();
    Spec::new(
        name,
        arity,
        flags,
        (Group::Generic, Acl::NONE),
        ("", ""),
        specs.leak(),
    )
}

fn parse(text: &'static str) -> KeySpec {
    let mut parts = text.splitn(4, '|');
    let mut part = || parts.next().unwrap_or("");
    let named = |name: &str| KeyFlags::NAMES.iter().find(|f| f.1 == name).unwrap().0;
    let flags = part()
        .split(',')
        .map(named)
        .fold(KeyFlags::default(), KeyFlags::and);
    let numbers =
        |text: &str| -> Vec<i16> { text.split(':').map(|n| n.parse().unwrap()).collect() };
    let begin = match part().split_once(':') {
        None => Begin::Unknown,
        Some(("index", index)) => Begin::Index(index.parse().unwrap()),
        Some((_, keyword)) => {
            let (word, from) = keyword.split_once(':').unwrap();
            let from = from.parse().unwrap();
            Begin::Keyword { word, from }
        }
    };
    let unsigned = |n: i16| u16::try_from(n).unwrap();
    let find = match part().split_once(':') {
        None => Find::Unknown,
        Some(("range", range)) => {
            let n = numbers(range);
            let (last, step, limit) = (n[0], unsigned(n[1]), unsigned(n[2]));
            Find::Range { last, step, limit }
        }
        Some((_, keynum)) => {
            let n = numbers(keynum);
            let (at, first, step) = (unsigned(n[0]), unsigned(n[1]), unsigned(n[2]));
            Find::KeyNum { at, first, step }
        }
    };
    KeySpec::new(flags, begin, find).notes(part())
}

/// A key spec as it stands in the table.
pub fn key_spec(spec: &KeySpec) -> String {
    let flags = KeyFlags::NAMES
        .iter()
        .filter(|f| spec.flags.has(f.0))
        .map(|f| f.1);
    let begin = match spec.begin {
        Begin::Index(index) => format!("index:{index}"),
        Begin::Keyword { word, from } => format!("keyword:{word}:{from}"),
        Begin::Unknown => "unknown".to_owned(),
    };
    let find = match spec.find {
        Find::Range { last, step, limit } => format!("range:{last}:{step}:{limit}"),
        Find::KeyNum { at, first, step } => format!("keynum:{at}:{first}:{step}"),
        Find::Unknown => "unknown".to_owned(),
    };
    let mut text = format!("{}|{begin}|{find}", flags.collect::<Vec<_>>().join(","));
    if !spec.notes.is_empty() {
        text = format!("{text}|{}", spec.notes);
    }
    text
}
