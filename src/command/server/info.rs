//! INFO: which sections, in which order.
//!
//! Owns: the choice of sections by INFO's arguments. Never: says what is in a section
//! (`info_process`, `info_shard`); waits for anything (T3: a report is not a read).

use super::super::env::{Done, Env, DONE};
use super::super::spec::{flags, Acl, Group, Spec};
use super::{info_process, info_shard};
use crate::resp::args::Args;
use std::fmt::{Display, Write};

pub const INFO: Spec = Spec::new("info", -1, flags![LOADING, STALE], Group::Server, info)
    .acl(Acl::DANGEROUS)
    .since("1.0.0")
    .summary("Reports on the server: version, load, memory, group.")
    .tips(&[
        "nondeterministic_output",
        "request_policy:all_shards",
        "response_policy:special",
    ]);

/// The text under construction.
#[derive(Default)]
pub struct Report(String);

impl Report {
    fn begin(&mut self, title: &str) {
        if !self.0.is_empty() {
            self.0.push_str("\r\n");
        }
        self.raw(format_args!("# {title}"));
    }

    /// `name:value`
    pub fn line(&mut self, name: &str, value: impl Display) {
        self.raw(format_args!("{name}:{value}"));
    }

    /// `name:value` for a number of bytes, and `name_human` for people.
    pub fn bytes(&mut self, name: &str, value: u64) {
        self.line(name, value);
        self.raw(format_args!("{name}_human:{}", human(value)));
    }

    pub fn raw(&mut self, line: std::fmt::Arguments<'_>) {
        self.0
            .write_fmt(line)
            .expect("writing into memory does not fail");
        self.0.push_str("\r\n");
    }
}

/// 100B, 4.00K, 1.50G, as Redis writes sizes for people.
pub fn human(bytes: u64) -> String {
    const UNITS: &str = "KMGTP";
    let mut scale = 1024.0;
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    for unit in UNITS.chars() {
        if (bytes as f64) < scale * 1024.0 {
            return format!("{:.2}{unit}", bytes as f64 / scale);
        }
        scale *= 1024.0;
    }
    format!("{bytes}B")
}

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
    env.reply().verbatim("txt", report.0.as_bytes());
    DONE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_for_people() {
        assert_eq!(human(0), "0B");
        assert_eq!(human(1023), "1023B");
        assert_eq!(human(1024), "1.00K");
        assert_eq!(human(916_512), "895.03K");
        assert_eq!(human(25_274_793_984), "23.54G");
        assert_eq!(human(u64::MAX), format!("{}B", u64::MAX));
    }
}
