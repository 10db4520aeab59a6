//! COMMAND DOCS.
//!
//! Owns: the shape of the reply, and the complexities, which no other part needs. Summaries are
//! our own words; the arguments are `arguments`'. Never: tells a command's history.

use super::super::arguments::{self, arguments};
use super::super::env::{Command, Done, Env, DONE};
use resp::args::Args;
use resp::encode::Reply;

pub fn docs(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let commands: Vec<&Command> = if args.len() == 2 {
        env.commands.commands().iter().collect()
    } else {
        let named = args.iter().skip(2);
        named
            .filter_map(|name| env.commands.by_full_name(name))
            .collect()
    };
    let mut reply = env.reply();
    reply.map(commands.len());
    for command in commands {
        write(&mut reply, command);
    }
    DONE
}

fn write(reply: &mut Reply<'_>, command: &Command) {
    let spec = command.spec;
    let complexity = complexity(command);
    let doc_flags: &[&str] = match spec.deprecated {
        Some(_) => &["deprecated"],
        None if SYSTEM.contains(&spec.full_name) => &["syscmd"],
        None => &[],
    };
    let mut texts = vec![
        ("summary", spec.summary),
        ("since", spec.since),
        ("group", spec.group.name()),
        ("complexity", complexity),
    ];
    texts.retain(|(_, text)| !text.is_empty());
    let arguments = arguments(spec.full_name);
    let parts = texts.len()
        + usize::from(!doc_flags.is_empty())
        + 2 * usize::from(spec.deprecated.is_some())
        + usize::from(!arguments.is_empty())
        + usize::from(!command.subcommands.is_empty());
    reply.bulk(spec.full_name.as_bytes());
    reply.map(parts);
    let mut pair = |name: &str, text: &str| {
        reply.bulk(name.as_bytes());
        reply.bulk(text.as_bytes());
    };
    texts.iter().for_each(|(name, text)| pair(name, text));
    if !doc_flags.is_empty() {
        reply.bulk(b"doc_flags");
        reply.set(doc_flags.len());
        doc_flags.iter().for_each(|flag| reply.simple(flag));
    }
    if let Some((since, replaced_by)) = spec.deprecated {
        for (name, text) in [("deprecated_since", since), ("replaced_by", replaced_by)] {
            reply.bulk(name.as_bytes());
            reply.bulk(text.as_bytes());
        }
    }
    if !arguments.is_empty() {
        reply.bulk(b"arguments");
        arguments::write(reply, arguments);
    }
    if !command.subcommands.is_empty() {
        reply.bulk(b"subcommands");
        reply.map(command.subcommands.len());
        command.subcommands.iter().for_each(|sub| write(reply, sub));
    }
}

/// Commands for the system's own use.
const SYSTEM: &[&str] = &[
    "debug",
    "pfdebug",
    "pfselftest",
    "replconf",
    "restore-asking",
];

/// Linear in what they are given, return or go through; the others are constant.
const LINEAR: &[&str] = &[
    "bitcount",
    "bitop",
    "bitpos",
    "client|kill",
    "client|list",
    "cluster|addslots",
    "cluster|addslotsrange",
    "cluster|count-failure-reports",
    "cluster|delslots",
    "cluster|delslotsrange",
    "cluster|getkeysinslot",
    "cluster|keyslot",
    "cluster|links",
    "cluster|nodes",
    "cluster|replicas",
    "cluster|reset",
    "cluster|shards",
    "cluster|slaves",
    "cluster|slots",
    "command",
    "command|docs",
    "command|getkeys",
    "command|getkeysandflags",
    "command|info",
    "command|list",
    "config|get",
    "config|set",
    "copy",
    "del",
    "discard",
    "dump",
    "exists",
    "getrange",
    "keys",
    "memory|usage",
    "mget",
    "mset",
    "msetnx",
    "pfcount",
    "pfmerge",
    "restore",
    "restore-asking",
    "substr",
    "touch",
    "unlink",
    "watch",
];

fn complexity(command: &Command) -> &'static str {
    match command.spec.full_name {
        "debug" | "exec" => "Depends on what it runs",
        "lolwut" => "",
        "lcs" => "O(N*M)",
        "scan" => "O(1) a call, O(N) for a whole iteration",
        _ if !command.subcommands.is_empty() && command.spec.full_name != "command" => {
            "Depends on the subcommand"
        }
        name if LINEAR.contains(&name) => "O(N)",
        _ => "O(1)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table;

    #[test]
    fn special_cases_name_commands_that_exist() {
        for name in LINEAR.iter().chain(SYSTEM) {
            assert!(table().by_full_name(name.as_bytes()).is_some(), "{name}");
        }
    }
}
