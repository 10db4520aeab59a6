//! Runs of seeds: over ranges and threads, with and without mutations.
//!
//! Owns which seeds run and how a failure is told. Never: what a seed means.

use std::fmt::Write;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Mutex;
use std::time::Instant;

use crate::machine::install_panic_hook;
use crate::plan::Topology;
use crate::trace::Lines;
use crate::world::{Verdict, World};

/// How seeds are run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub threads: usize,
    /// Every line of the trace is printed as it comes.
    pub trace: bool,
    /// How many lines of its trace a failure tells.
    pub lines: usize,
    /// A rule that is broken in every run.
    pub mutation: Option<base::mutation::Mutation>,
}

/// Of seeds that are for all topologies those that this one runs: fewer where a run takes longer.
pub fn part_of(topology: Topology, seeds: &Range<u64>) -> Range<u64> {
    let percent = match topology {
        Topology::Alone | Topology::Shard | Topology::Cluster => 100,
        Topology::Moves => 20,
    };
    let count = seeds.end.saturating_sub(seeds.start);
    seeds.start..seeds.start + (count * percent).div_ceil(100)
}

pub fn run_seed(topology: Topology, seed: u64, lines: Lines) -> Verdict {
    install_panic_hook();
    World::new(topology, seed, lines).run()
}

/// Breaks it in this thread's runs from now on.
fn break_rule(mutation: Option<base::mutation::Mutation>) {
    #[cfg(feature = "mutations")]
    base::mutation::set(mutation);
    #[cfg(not(feature = "mutations"))]
    assert_eq!(mutation, None, "this build can break no rule");
}

/// Runs every seed; gives the failures in the order of their seeds, and all verdicts.
fn run_range(
    run: Topology,
    range: Range<u64>,
    options: &Options,
    stop_at_first: bool,
) -> Vec<(u64, Verdict)> {
    let next = AtomicU64::new(range.start);
    let failed = AtomicU64::new(u64::MAX);
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..options.threads {
            scope.spawn(|| loop {
                break_rule(options.mutation);
                let seed = next.fetch_add(1, Ordering::Relaxed);
                let enough = stop_at_first && failed.load(Ordering::Relaxed) < seed;
                if seed >= range.end || enough {
                    return;
                }
                let lines = if options.trace {
                    Lines::All
                } else {
                    Lines::None
                };
                let verdict = run_seed(run, seed, lines);
                if verdict.failure.is_some() {
                    failed.fetch_min(seed, Ordering::Relaxed);
                }
                results
                    .lock()
                    .expect("no thread panics with it")
                    .push((seed, verdict));
            });
        }
    });
    let mut results = results.into_inner().expect("no thread panicked with it");
    results.sort_by_key(|(seed, _)| *seed);
    results
}

/// Runs a range until a seed fails; what was run in a line, and the failure if there is one.
pub fn clean(run: Topology, range: Range<u64>, options: &Options) -> (String, Option<String>) {
    let begun = Instant::now();
    let results = run_range(run, range.clone(), options, true);
    let sum = |f: fn(&Verdict) -> u64| results.iter().map(|(_, v)| f(v)).sum::<u64>();
    let line = format!(
        "{run:?}, seeds {range:?}: {} runs in {:.1} s, {} operations ({} unknown, {} moved), {} turns, {} leaders",
        results.len(),
        begun.elapsed().as_secs_f64(),
        sum(|v| v.operations as u64),
        sum(|v| v.unknown),
        sum(|v| v.moved),
        sum(|v| v.turns),
        sum(|v| v.leaders as u64),
    );
    let failed = results.into_iter().find(|(_, v)| v.failure.is_some());
    let report = failed.map(|(seed, verdict)| report(run, seed, &verdict, options));
    (line, report)
}

/// A failure's report: the run is repeated with a trace.
fn report(run: Topology, seed: u64, verdict: &Verdict, options: &Options) -> String {
    break_rule(options.mutation);
    let again = run_seed(run, seed, Lines::Last);
    let same = if again.hash == verdict.hash {
        ""
    } else {
        " (NOT REPRODUCED: another hash)"
    };
    let skip = again.lines.len().saturating_sub(options.lines);
    format!(
        "{run:?}, seed {seed} ({}), mutation {:?}{same}:\n{}\nlast lines:\n{}",
        verdict.plan,
        options.mutation,
        again.failure.as_deref().unwrap_or("no failure"),
        again.lines[skip..].join("\n"),
    )
}

/// Every failure of a range in one line each, for looking at many at once.
pub fn survey(run: Topology, range: Range<u64>, options: &Options) -> String {
    let results = run_range(run, range, options, false);
    let mut told = String::new();
    let mut failures = 0;
    for (seed, verdict) in &results {
        if let Some(why) = &verdict.failure {
            failures += 1;
            let first = why.lines().take(3).collect::<Vec<_>>().join(" | ");
            let _ = writeln!(told, "{run:?} seed {seed} ({}): {first:.400}", verdict.plan);
        }
    }
    told + &format!("{run:?}: {failures} of {} seeds fail", results.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_reproduces_its_run() {
        for topology in Topology::ALL {
            for seed in [0, 3] {
                let (a, b) = (
                    run_seed(topology, seed, Lines::None),
                    run_seed(topology, seed, Lines::Last),
                );
                let what = format!("{topology:?}, seed {seed} ran differently the second time");
                assert_eq!(a.hash, b.hash, "{what}");
                assert_eq!(a.operations, b.operations, "{what}");
            }
        }
    }
}
