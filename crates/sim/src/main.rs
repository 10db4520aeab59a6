//! `sim`: seeds of the simulator, and the rules broken one by one; `scripts/sim.sh` runs it.
//!
//! Owns its command line only; what it does is in the library.

use base::mutation::Mutation;
use clap::Parser;
use sim::plan::Topology;
use sim::runs::{self, Options};
use std::ops::Range;
use std::process::ExitCode;

#[derive(Parser)]
#[command(about = "Whole nodes of the real code under seeded chance")]
struct Cli {
    /// A..B: the seeds from A up to, not including, B
    #[arg(long, value_parser = seeds)]
    seeds: Option<Range<u64>>,
    /// One seed, with every line of its trace
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// alone (one node), shard (three or five members), cluster (six nodes, three shards); else all
    #[arg(long, value_parser = topology)]
    topology: Option<Topology>,
    /// Breaks rules, all or those of --mutation, one by one: each must be noticed as the table says
    #[arg(long)]
    mutations: bool,
    /// A rule to break, by its name; with --mutations it may be given several times
    #[arg(long, value_name = "NAME", value_parser = mutation)]
    mutation: Vec<String>,
    /// Goes on after a failure, and tells each in a line; with --mutations for every topology
    #[arg(long, requires = "seeds")]
    survey: bool,
    /// How many seeds run at once
    #[arg(long)]
    threads: Option<usize>,
    /// How many lines of its trace a failure tells
    #[arg(long, default_value_t = 60)]
    lines: usize,
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let parse = |t: &str| t.parse::<u64>().map_err(|e| format!("{t:?}: {e}"));
    let (from, to) = text.split_once("..").ok_or("not of the form A..B")?;
    Ok(parse(from)?..parse(to)?)
}

fn topology(text: &str) -> Result<Topology, String> {
    let named = Topology::ALL.into_iter().find(|t| t.name() == text);
    named.ok_or_else(|| "alone, shard, cluster or moves".to_owned())
}

fn mutation(text: &str) -> Result<String, String> {
    match find(text) {
        Some(_) => Ok(text.to_owned()),
        None => Err("no rule has this name: see docs/TESTING.md".to_owned()),
    }
}

fn find(name: &str) -> Option<Mutation> {
    let mut all = Mutation::ALL.iter();
    all.find(|m| format!("{m:?}") == name).copied()
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if cfg!(not(feature = "mutations")) && (cli.mutations || !cli.mutation.is_empty()) {
        eprintln!("no rule can be broken in this build: it lacks the feature \"mutations\"");
        return ExitCode::FAILURE;
    }
    if !cli.mutations && cli.mutation.len() > 1 {
        eprintln!("a run breaks one rule: give one --mutation, or --mutations");
        return ExitCode::FAILURE;
    }
    let cores = || std::thread::available_parallelism().map_or(2, usize::from);
    let options = Options {
        threads: cli.threads.unwrap_or_else(cores),
        trace: cli.seed.is_some(),
        lines: cli.lines,
        mutation: cli.mutation.first().and_then(|name| find(name)),
    };
    let topologies = match cli.topology {
        Some(topology) => vec![topology],
        None => Topology::ALL.to_vec(),
    };
    if cli.mutations {
        return mutations(&cli, &topologies, &options);
    }
    let Some(seeds) = cli.seeds.or_else(|| cli.seed.map(|seed| seed..seed + 1)) else {
        eprintln!("nothing to run: give --seeds A..B, --seed N or --mutations");
        return ExitCode::FAILURE;
    };
    let all = cli.topology.is_none();
    for topology in topologies {
        let seeds = match all {
            true => runs::part_of(topology, &seeds),
            false => seeds.clone(),
        };
        if cli.survey {
            println!("{}", runs::survey(topology, seeds.clone(), &options));
            continue;
        }
        let (line, failure) = runs::clean(topology, seeds.clone(), &options);
        println!("{line}");
        if let Some(report) = failure {
            println!("{report}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

#[cfg(feature = "mutations")]
fn mutations(cli: &Cli, topologies: &[Topology], options: &Options) -> ExitCode {
    if let (true, Some(seeds)) = (cli.survey, &cli.seeds) {
        sim::mutations::scan(&cli.mutation, topologies, seeds, options.threads);
        return ExitCode::SUCCESS;
    }
    let missed = sim::mutations::unnoticed(&cli.mutation, options.threads);
    if missed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("not noticed:\n  {}", missed.join("\n  "));
    ExitCode::FAILURE
}

#[cfg(not(feature = "mutations"))]
fn mutations(_: &Cli, _: &[Topology], _: &Options) -> ExitCode {
    unreachable!("main has refused it")
}
