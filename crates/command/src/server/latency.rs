//! LATENCY HISTOGRAM: how long the calls of commands took.
//!
//! Owns: the shape of its reply. Never: measures (`call` times calls, and
//! [`crate::latency`] keeps them). LATENCY's other subcommands are about events, which
//! nothing here watches yet.

use super::super::env::{Command, Commands, Done, Env, DONE};
use super::super::help::write as write_help;
use super::super::latency::Histogram;
use super::super::rows::{no_subcommand, rows};
use super::help;
use resp::args::Args;
use resp::encode::Reply;

const TIPS: &[&str] = &[
    "nondeterministic_output",
    "request_policy:all_nodes",
    "response_policy:special",
];

rows! { pub static ROWS: Server [] {
    "latency" -2 [] "2.8.13" => no_subcommand [SUBCOMMANDS]: "Groups the commands about latency.";
}}

rows! { static SUBCOMMANDS: Server [] {
    "latency|help" 2 [LOADING STALE] "2.8.13" => print_help: "Lists the subcommands.";
    "latency|histogram" -2 [ADMIN NOSCRIPT LOADING STALE] "7.0.0" => histogram: "Answers how many calls of commands took how long." .tips(TIPS);
}}

fn print_help(env: &mut Env<'_>, _: Args<'_>) -> Done {
    write_help(&mut env.reply(), "LATENCY", help::LATENCY);
    DONE
}

/// The rows that are asked for: all, or the named ones, a container with its subcommands. A name
/// that no command has is passed over.
fn asked_for(commands: &Commands, args: Args<'_>) -> Vec<&'static Command> {
    if args.len() == 2 {
        return commands.all().to_vec();
    }
    let named = args.iter().skip(2);
    let named = named.filter_map(|name| commands.by_full_name(name));
    named
        .flat_map(|command| std::iter::once(command).chain(command.subcommands))
        .collect()
}

fn histogram(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let stats = env.server.stats();
    let called: Vec<(&str, Histogram)> = asked_for(env.commands, args)
        .into_iter()
        .map(|command| (command.spec.full_name, &stats.latencies[command.id.index()]))
        .filter(|(_, histogram)| !histogram.is_empty())
        .map(|(name, histogram)| (name, histogram.clone()))
        .collect();
    let mut reply = env.reply();
    reply.map(called.len());
    for (name, histogram) in &called {
        reply.bulk(name.as_bytes());
        write(&mut reply, histogram);
    }
    DONE
}

fn write(reply: &mut Reply<'_>, histogram: &Histogram) {
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    reply.map(2);
    reply.bulk(b"calls");
    reply.int(number(histogram.total()));
    reply.bulk(b"histogram_usec");
    let steps = histogram.cumulative();
    reply.map(steps.len());
    for (usec, calls) in steps {
        reply.int(number(usec));
        reply.int(number(calls));
    }
}
