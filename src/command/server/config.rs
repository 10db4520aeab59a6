//! CONFIG: GET, SET, RESETSTAT, REWRITE.
//!
//! Owns: the replies. Never: knows a directive (the configuration's table does) or applies a
//! change (the host does). C4: node-local, never logged.

use super::super::env::{Done, Env, DONE};
use super::super::error::Error;
use super::super::spec::{flags, Flags, Group, Spec};
use super::{help, no_subcommand};
use crate::config::ConfigError;
use crate::resp::args::Args;

pub const CONFIG: Spec = Spec::new("config", -2, Flags::NONE, Group::Server, no_subcommand)
    .since("2.0.0")
    .summary("Groups the commands about the configuration.")
    .subcommands(SUBCOMMANDS);

const ADMIN: Flags = flags![ADMIN, NOSCRIPT, LOADING, STALE];
const TO_ALL_NODES: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];

static SUBCOMMANDS: &[Spec] = &[
    Spec::sub("config|get", -3, ADMIN, Group::Server, get)
        .since("2.0.0")
        .summary("Answers with the values of directives."),
    Spec::sub(
        "config|help",
        2,
        flags![LOADING, STALE],
        Group::Server,
        print_help,
    )
    .since("5.0.0")
    .summary("Lists the subcommands."),
    Spec::sub("config|resetstat", 2, ADMIN, Group::Server, resetstat)
        .since("2.0.0")
        .summary("Sets the statistics to zero.")
        .tips(TO_ALL_NODES),
    Spec::sub("config|rewrite", 2, ADMIN, Group::Server, rewrite)
        .since("2.8.0")
        .summary("Writes the running configuration into its file.")
        .tips(TO_ALL_NODES),
    Spec::sub("config|set", -4, ADMIN, Group::Server, set)
        .since("2.0.0")
        .summary("Changes directives while the server runs.")
        .tips(TO_ALL_NODES),
];

fn print_help(env: &mut Env<'_>, _: Args<'_>) -> Done {
    help::write(&mut env.reply(), "CONFIG", help::CONFIG);
    DONE
}

fn get(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let patterns: Vec<&[u8]> = args.iter().skip(2).collect();
    let found = env.host.config().get(&patterns);
    let mut reply = env.reply();
    reply.map(found.len());
    for (name, value) in found {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
    DONE
}

fn set(env: &mut Env<'_>, args: Args<'_>) -> Done {
    if args.len() % 2 == 1 {
        return Err(Error::SYNTAX);
    }
    let words: Vec<&[u8]> = args.iter().skip(2).collect();
    let pairs: Vec<(&[u8], &[u8])> = words.chunks_exact(2).map(|p| (p[0], p[1])).collect();
    let local = env.session.endpoint.loopback;
    env.host.config_set(&pairs, local).map_err(refused)?;
    env.reply().ok();
    DONE
}

/// The configuration's errors print as whole error lines.
fn refused(error: ConfigError) -> Error {
    Error::text(error.to_string())
}

fn resetstat(env: &mut Env<'_>, _: Args<'_>) -> Done {
    env.host.stats_mut().reset();
    env.data.reset_counters();
    env.reply().ok();
    DONE
}

fn rewrite(env: &mut Env<'_>, _: Args<'_>) -> Done {
    env.host.config_rewrite().map_err(refused)?;
    env.reply().ok();
    DONE
}
