//! LATENCY HISTOGRAM: how long the calls of commands took.
//!
//! Owns: the shape of its reply. Never: measures (`dispatch` times calls, and
//! [`crate::command::latency`] keeps them). LATENCY's other subcommands are about events, which
//! nothing here watches yet.

use super::super::env::{Done, Env, DONE};
use super::super::latency::Histogram;
use super::super::spec::{flags, Flags, Group, Spec};
use super::super::table::{table, Command};
use super::introspect::by_full_name;
use super::{help, no_subcommand};
use crate::resp::args::Args;
use crate::resp::encode::Reply;

pub const LATENCY: Spec = Spec::new("latency", -2, Flags::NONE, Group::Server, no_subcommand)
    .since("2.8.13")
    .summary("Groups the commands about latency.")
    .subcommands(SUBCOMMANDS);

static SUBCOMMANDS: &[Spec] = &[
    Spec::sub(
        "latency|help",
        2,
        flags![LOADING, STALE],
        Group::Server,
        print_help,
    )
    .since("2.8.13")
    .summary("Lists the subcommands."),
    Spec::sub(
        "latency|histogram",
        -2,
        flags![ADMIN, NOSCRIPT, LOADING, STALE],
        Group::Server,
        histogram,
    )
    .since("7.0.0")
    .summary("Answers how many calls of commands took how long.")
    .tips(&[
        "nondeterministic_output",
        "request_policy:all_nodes",
        "response_policy:special",
    ]),
];

fn print_help(env: &mut Env<'_>, _: Args<'_>) -> Done {
    help::write(&mut env.reply(), "LATENCY", help::LATENCY);
    DONE
}

/// The rows that are asked for: all, or the named ones, a container with its subcommands. A name
/// that no command has is passed over.
fn asked_for(args: Args<'_>) -> Vec<&'static Command> {
    if args.len() == 2 {
        return table().rows().collect();
    }
    let named = args.iter().skip(2).filter_map(by_full_name);
    named
        .flat_map(|command| std::iter::once(command).chain(command.subcommands))
        .collect()
}

fn histogram(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let stats = env.host.stats();
    let called: Vec<(&str, Histogram)> = asked_for(args)
        .into_iter()
        .map(|command| (command.spec.full_name, &stats.latencies[command.id]))
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
