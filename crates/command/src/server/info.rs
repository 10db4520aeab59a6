//! INFO: which sections, in which order.
//!
//! Owns: the choice of sections by INFO's arguments. Never: says what is in a section
//! (`info_process`, `info_shard`); waits for anything (T3: a report is not a read).

use super::super::env::{Done, Env, DONE};
use super::super::rows::rows;
use super::report::Report;
use super::{info_process, info_shard};
use resp::args::Args;

const TIPS: &[&str] = &[
    "nondeterministic_output",
    "request_policy:all_shards",
    "response_policy:special",
];

rows! { pub static ROWS: Server [] {
    "info" -1 [LOADING STALE] @DANGEROUS "1.0.0" => info: "Reports on the server: version, load, memory, group." .tips(TIPS);
}}

struct Section {
    /// What a client asks for; lower case.
    name: &'static str,
    title: &'static str,
    /// Part of INFO without arguments.
    default: bool,
    write: fn(&mut Report, &Env<'_>),
}

const fn section(
    name: &'static str,
    title: &'static str,
    default: bool,
    write: fn(&mut Report, &Env<'_>),
) -> Section {
    Section {
        name,
        title,
        default,
        write,
    }
}

/// In the order of the report.
static SECTIONS: &[Section] = &[
    section("server", "Server", true, info_process::server),
    section("clients", "Clients", true, info_process::clients),
    section("memory", "Memory", true, info_process::memory),
    section("persistence", "Persistence", true, info_shard::persistence),
    section("stats", "Stats", true, info_process::stats),
    section("replication", "Replication", true, info_shard::replication),
    section("cpu", "CPU", true, info_process::cpu),
    section("modules", "Modules", true, nothing),
    section(
        "commandstats",
        "Commandstats",
        false,
        info_process::commandstats,
    ),
    section("errorstats", "Errorstats", true, info_process::errorstats),
    section(
        "latencystats",
        "Latencystats",
        false,
        info_process::latencystats,
    ),
    section("cluster", "Cluster", true, info_shard::cluster),
    section("raft", "Raft", true, info_shard::raft),
    section("keyspace", "Keyspace", true, info_shard::keyspace),
];

fn nothing(_: &mut Report, _: &Env<'_>) {}

/// Whether INFO's arguments ask for a section. Unknown names ask for nothing.
fn wanted(section: &Section, args: Args<'_>) -> bool {
    let mut names = args.iter().skip(1);
    if args.len() == 1 {
        return section.default;
    }
    names.any(|name| {
        let is = |word: &str| name.eq_ignore_ascii_case(word.as_bytes());
        is(section.name)
            || (is("default") && section.default)
            || (is("all") && section.name != "modules")
            || is("everything")
            || (is("module_list") && section.name == "modules")
    })
}

fn info(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let mut report = Report::default();
    for section in SECTIONS.iter().filter(|section| wanted(section, args)) {
        report.begin(section.title);
        (section.write)(&mut report, env);
    }
    env.reply().verbatim("txt", report.text().as_bytes());
    DONE
}
