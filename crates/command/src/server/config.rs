//! CONFIG: GET, SET, RESETSTAT, REWRITE.
//!
//! Owns: the replies. Never: knows a directive (the configuration's table does) or applies a
//! change (the host does). C4: node-local, never logged.

use super::super::env::{Done, Env, DONE};
use super::super::error::Error;
use super::super::help::write;
use super::super::rows::{no_subcommand, rows};
use super::help;
use config::ConfigError;
use resp::args::Args;

const TO_ALL_NODES: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];

rows! { pub static ROWS: Server [] {
    "config" -2 [] "2.0.0" => no_subcommand [SUBCOMMANDS]: "Groups the commands about the configuration.";
}}

rows! { static SUBCOMMANDS: Server [] {
    "config|get" -3 [ADMIN NOSCRIPT LOADING STALE] "2.0.0" => get: "Answers with the values of directives.";
    "config|help" 2 [LOADING STALE] "5.0.0" => print_help: "Lists the subcommands.";
    "config|resetstat" 2 [ADMIN NOSCRIPT LOADING STALE] "2.0.0" => resetstat: "Sets the statistics to zero." .tips(TO_ALL_NODES);
    "config|rewrite" 2 [ADMIN NOSCRIPT LOADING STALE] "2.8.0" => rewrite: "Writes the running configuration into its file." .tips(TO_ALL_NODES);
    "config|set" -4 [ADMIN NOSCRIPT LOADING STALE] "2.0.0" => set: "Changes directives while the server runs." .tips(TO_ALL_NODES);
}}

fn print_help(env: &mut Env<'_>, _: Args<'_>) -> Done {
    write(&mut env.reply(), "CONFIG", help::CONFIG);
    DONE
}

fn get(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let patterns: Vec<&[u8]> = args.iter().skip(2).collect();
    let found = env.server.config().get(&patterns);
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
    env.server.config_set(&pairs, local).map_err(refused)?;
    env.reply().ok();
    DONE
}

/// The configuration's errors print as whole error lines.
fn refused(error: ConfigError) -> Error {
    Error::text(error.to_string())
}

fn resetstat(env: &mut Env<'_>, _: Args<'_>) -> Done {
    env.server.stats_mut().reset();
    env.data.reset_counters();
    env.reply().ok();
    DONE
}

fn rewrite(env: &mut Env<'_>, _: Args<'_>) -> Done {
    env.server.config_rewrite().map_err(refused)?;
    env.reply().ok();
    DONE
}
