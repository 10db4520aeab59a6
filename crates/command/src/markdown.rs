//! The command table as Markdown: the whole of docs/COMMANDS.md, which a test compares.
//!
//! Owns the page's form. Never: knows of its own what works: that is what the table has. What Redis
//! 7.4 has beside it is in the list that the rows are tested against.

use super::arguments::{arguments, syntax};
use super::env::Command;
use super::table::table;
use std::fmt::Write;

/// Every command and subcommand of Redis 7.4: name, group, since and more, divided by tabs.
const REDIS: &str = include_str!("../golden/redis-7.4.1-commands.tsv");

const GROUPS: &[(&str, &str)] = &[
    ("generic", "Keys"),
    ("string", "Strings"),
    ("bitmap", "Bitmaps"),
    ("hash", "Hashes"),
    ("list", "Lists"),
    ("set", "Sets"),
    ("sorted-set", "Sorted sets"),
    ("stream", "Streams"),
    ("geo", "Geospatial"),
    ("hyperloglog", "HyperLogLog"),
    ("transactions", "Transactions"),
    ("scripting", "Scripts and functions"),
    ("pubsub", "Publish and subscribe"),
    ("connection", "Connections"),
    ("server", "Server"),
    ("cluster", "Cluster"),
];

/// A command of Redis's, or of ours.
struct Row {
    name: &'static str,
    group: &'static str,
    since: &'static str,
    /// None: later.
    ours: Option<&'static Command>,
}

fn rows() -> Vec<Row> {
    let ours = |name: &str| table().by_full_name(name.as_bytes());
    let redis = REDIS.lines().skip(1).map(|line| {
        let mut columns = line.split('\t');
        let mut next = |skip: usize| columns.nth(skip).unwrap_or_default();
        let name = next(0);
        Row {
            name,
            group: next(6),
            since: next(0),
            ours: ours(name),
        }
    });
    let mut rows: Vec<Row> = redis.collect();
    let own = |c: &&&Command| rows.iter().all(|row| row.name != c.spec.full_name);
    let own: Vec<&Command> = table().all().iter().filter(own).copied().collect();
    rows.extend(own.into_iter().map(|command| Row {
        name: command.spec.full_name,
        group: command.spec.group.name(),
        since: "",
        ours: Some(command),
    }));
    // A container does nothing without a subcommand, which has a row of its own; but COMMAND does.
    let names: Vec<&str> = rows.iter().map(|row| row.name).collect();
    let holds = |name: &str| {
        let begins = |other: &&str| other.split_once('|').is_some_and(|(c, _)| c == name);
        name != "command" && names.iter().any(begins)
    };
    rows.retain(|row| !holds(row.name));
    rows.sort_by_key(|row| row.name);
    rows
}

/// docs/COMMANDS.md.
pub fn markdown() -> String {
    let rows = rows();
    let here = rows.iter().filter(|row| row.ours.is_some()).count();
    let mut out = String::from(
        "# Commands\n\n\
         Made from the command table by `holdfast commands --markdown`; a test compares. What works\n\
         answers as Redis 7.4 does, to the byte, unless [DIFFERENCES.md](DIFFERENCES.md) says\n\
         otherwise; what comes *later* is answered as an unknown command.\n",
    );
    let all = rows.len();
    line(
        &mut out,
        format_args!("\n{here} of {all} commands and subcommands work."),
    );
    for (group, title) in GROUPS {
        section(
            &mut out,
            title,
            rows.iter().filter(|row| row.group == *group),
        );
    }
    out
}

fn section<'a>(out: &mut String, title: &str, rows: impl Iterator<Item = &'a Row>) {
    let rows: Vec<&Row> = rows.collect();
    let here = rows.iter().filter(|row| row.ours.is_some()).count();
    line(
        out,
        format_args!("\n## {title}\n\n{here} of {} work.\n", rows.len()),
    );
    line(
        out,
        format_args!("| command | since | what it does |\n|---|---|---|"),
    );
    for row in rows {
        let words = row.name.replace('|', " ").to_uppercase();
        let usage = format!("{words}{}", syntax(arguments(row.name)));
        // A bar would end the cell, in code too.
        let usage = usage.replace('|', "\\|");
        let since = match row.since {
            "" => "only here",
            since => since,
        };
        let text = meaning(row);
        line(out, format_args!("| `{usage}` | {since} | {text} |"));
    }
}

fn meaning(row: &Row) -> String {
    let Some(command) = row.ours else {
        return "*later*".to_owned();
    };
    let mut text = command.spec.summary.to_owned();
    if let Some((_, by)) = command.spec.deprecated {
        write!(text, " Better: {by}.").expect("writing to a string");
    }
    text
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to a string");
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn the_page_is_up_to_date() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/COMMANDS.md");
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            written == markdown(),
            "run: cargo run --bin holdfast -- commands --markdown > docs/COMMANDS.md"
        );
    }

    #[test]
    fn every_command_has_one_row() {
        let page = markdown();
        let in_table =
            |row: &Row| page.contains(&format!("| `{}", row.name.replace('|', " ").to_uppercase()));
        assert!(rows().iter().all(in_table), "a group is missing in GROUPS");
        let lines = page.lines().filter(|l| l.starts_with("| `")).count();
        assert_eq!(lines, rows().len());
        let later = page.matches("| *later* |").count();
        let ours = rows().iter().filter(|row| row.ours.is_some()).count();
        assert_eq!(later + ours, lines);
    }

    #[test]
    fn rows_tell_the_syntax() {
        let page = markdown();
        for row in [
            "| `SET key value [NX \\| XX] [GET] [EX seconds \\| PX milliseconds \\| EXAT unix-time-seconds \\| PXAT unix-time-milliseconds \\| KEEPTTL]` | 1.0.0 |",
            "| `MSET key value [key value ...]` | 1.0.1 |",
            "| `CLUSTER SETSLOT slot <IMPORTING node-id \\| MIGRATING node-id \\| NODE node-id \\| STABLE>` | 3.0.0 |",
            "| `SORT key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC \\| DESC] [ALPHA] [STORE destination]` | 1.0.0 |",
            "| `BLPOP key [key ...] timeout` | 2.0.0 |",
            "| `XLEN key` | 5.0.0 | *later* |",
            "| `CLUSTER RAFT <STATUS \\| MEMBERS \\| HELP>` | only here |",
        ] {
            assert!(page.contains(row), "{row} is not in {page}");
        }
    }
}
