//! Runs of seeds: over ranges and threads, with and without mutations.
//!
//! Environment (set by `scripts/sim.sh`): `SIM_SEEDS=A..B`, `SIM_TRACE=1` prints every line,
//! `SIM_THREADS`, `SIM_MUTATION=Name` (with the feature), `SIM_LINES` how many lines a failure prints.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Mutex;
use std::time::Instant;

use crate::member::install_panic_hook;
use crate::trace::Lines;
use crate::world::{Verdict, World};

pub fn run_seed(seed: u64, lines: Lines) -> Verdict {
    install_panic_hook();
    World::new(seed, lines).run()
}

/// Runs one seed of a world.
pub type Run = fn(u64, Lines) -> Verdict;

/// The range in `SIM_SEEDS`, or `default`.
pub fn seeds(default: Range<u64>) -> Range<u64> {
    seeds_of("SIM_SEEDS", default)
}

/// The range in a variable of the environment, or `default`.
pub fn seeds_of(variable: &str, default: Range<u64>) -> Range<u64> {
    let Ok(text) = std::env::var(variable) else {
        return default;
    };
    let parse = |t: &str| {
        t.trim()
            .parse::<u64>()
            .expect("SIM_SEEDS is A..B or one number")
    };
    match text.split_once("..") {
        Some((a, b)) => parse(a)..parse(b),
        None => parse(&text)..parse(&text) + 1,
    }
}

fn threads() -> usize {
    let given = std::env::var("SIM_THREADS")
        .ok()
        .and_then(|t| t.parse().ok());
    given.unwrap_or_else(|| std::thread::available_parallelism().map_or(2, usize::from))
}

/// Turns on what `SIM_MUTATION` names, for looking at one mutation with a trace.
fn mutate() {
    #[cfg(feature = "mutations")]
    if let Ok(name) = std::env::var("SIM_MUTATION") {
        use holdfast::mutation::Mutation;
        let all = Mutation::ALL.into_iter().chain(Mutation::CLUSTER);
        let named = all.into_iter().find(|m| format!("{m:?}") == name);
        holdfast::mutation::set(Some(named.expect("SIM_MUTATION names a mutation")));
    }
}

/// Runs every seed; gives the failures in the order of their seeds, and all verdicts.
pub fn run_range(run: Run, range: Range<u64>, stop_at_first: bool) -> Vec<(u64, Verdict)> {
    let next = AtomicU64::new(range.start);
    let failed = AtomicU64::new(u64::MAX);
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads() {
            scope.spawn(|| loop {
                mutate();
                let seed = next.fetch_add(1, Ordering::Relaxed);
                let enough = stop_at_first && failed.load(Ordering::Relaxed) < seed;
                if seed >= range.end || enough {
                    return;
                }
                let lines = if std::env::var_os("SIM_TRACE").is_some() {
                    Lines::All
                } else {
                    Lines::None
                };
                let verdict = run(seed, lines);
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

/// Runs a range and panics with a report if a seed fails.
pub fn must_be_clean(range: Range<u64>) {
    must_be_clean_with(run_seed, range);
}

pub fn must_be_clean_with(run: Run, range: Range<u64>) {
    let begun = Instant::now();
    let results = run_range(run, range.clone(), true);
    let sum = |f: fn(&Verdict) -> u64| results.iter().map(|(_, v)| f(v)).sum::<u64>();
    println!(
        "seeds {range:?}: {} runs in {:.1} s, {} operations ({} unknown, {} moved), {} turns, {} leaders",
        results.len(),
        begun.elapsed().as_secs_f64(),
        sum(|v| v.operations as u64),
        sum(|v| v.unknown),
        sum(|v| v.moved),
        sum(|v| v.turns),
        sum(|v| v.leaders as u64),
    );
    if let Some((seed, verdict)) = results.into_iter().find(|(_, v)| v.failure.is_some()) {
        panic!("{}", report(run, seed, &verdict, None));
    }
}

/// A failure's report: the run is repeated with a trace.
pub fn report(run: Run, seed: u64, verdict: &Verdict, mutation: Option<&str>) -> String {
    let again = run(seed, Lines::Last);
    let same = if again.hash == verdict.hash {
        ""
    } else {
        " (NOT REPRODUCED: another hash)"
    };
    let keep = std::env::var("SIM_LINES")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(60);
    let skip = again.lines.len().saturating_sub(keep);
    format!(
        "seed {seed} ({}), mutation {}{same}:\n{}\nlast lines:\n{}",
        verdict.plan,
        mutation.unwrap_or("none"),
        again.failure.as_deref().unwrap_or("no failure"),
        again.lines[skip..].join("\n"),
    )
}

#[test]
fn seeds_are_clean() {
    must_be_clean(seeds(0..200));
}

#[test]
fn a_seed_reproduces_its_run() {
    for seed in [0, 3, 7] {
        let (a, b) = (run_seed(seed, Lines::None), run_seed(seed, Lines::Last));
        assert_eq!(
            a.hash, b.hash,
            "seed {seed} ran differently the second time"
        );
        assert_eq!(a.operations, b.operations);
    }
}

/// Every failure of a range in one line each, for looking at many at once.
#[test]
#[ignore = "a tool: SIM_SEEDS=A..B cargo test --test sim survey -- --ignored --nocapture"]
fn survey() {
    survey_with(run_seed, seeds(0..200));
}

pub fn survey_with(run: Run, range: Range<u64>) {
    let results = run_range(run, range, false);
    let mut failures = 0;
    for (seed, verdict) in &results {
        if let Some(why) = &verdict.failure {
            failures += 1;
            let first = why.lines().take(3).collect::<Vec<_>>().join(" | ");
            println!("seed {seed} ({}): {first:.400}", verdict.plan);
        }
    }
    println!("{failures} of {} seeds fail", results.len());
}

/// For every mutation: the first seed of `SIM_SEEDS` that catches it, as rows of a table.
#[cfg(feature = "mutations")]
mod mutations {
    use super::*;
    use holdfast::mutation::{self, Mutation};

    /// How far each mutation may have to be looked for.
    const SEEDS: Range<u64> = 0..1500;

    fn first_catch(run: Run, mutation: Mutation, range: Range<u64>) -> Option<(u64, Verdict)> {
        mutation::set(Some(mutation));
        let caught = range
            .map(|seed| (seed, run(seed, Lines::None)))
            .find(|(_, verdict)| verdict.failure.is_some());
        mutation::set(None);
        caught
    }

    /// The mutations still to be looked at, taken by the threads in turn.
    fn table(
        run: Run,
        all: &[Mutation],
        range: &Range<u64>,
    ) -> Vec<(Mutation, Option<(u64, Verdict)>)> {
        let next = AtomicU64::new(0);
        let rows = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..threads() {
                scope.spawn(|| loop {
                    let at = next.fetch_add(1, Ordering::Relaxed) as usize;
                    let Some(&mutation) = all.get(at) else {
                        return;
                    };
                    let caught = first_catch(run, mutation, range.clone());
                    rows.lock()
                        .expect("no thread panics with it")
                        .push((at, mutation, caught));
                });
            }
        });
        let mut rows = rows.into_inner().expect("no thread panicked with it");
        rows.sort_by_key(|(at, ..)| *at);
        rows.into_iter().map(|(_, m, caught)| (m, caught)).collect()
    }

    fn must_all_be_caught(run: Run, all: &[Mutation], range: &Range<u64>) {
        let mut missed = Vec::new();
        for (mutation, caught) in table(run, all, range) {
            match caught {
                Some((seed, verdict)) => {
                    let why = verdict.failure.unwrap_or_default();
                    let why = why.lines().next().unwrap_or_default();
                    println!("| {mutation:?} | {seed} ({}) | {why:.110} |", verdict.plan);
                }
                None => {
                    println!("| {mutation:?} | - | not caught |");
                    missed.push(mutation);
                }
            }
        }
        assert!(missed.is_empty(), "not caught: {missed:?}");
    }

    #[test]
    fn every_mutation_is_caught() {
        must_all_be_caught(run_seed, &Mutation::ALL, &seeds(SEEDS));
    }

    #[test]
    fn every_mutation_of_the_cluster_is_caught() {
        let range = seeds_of("SIM_CLUSTER_SEEDS", SEEDS);
        let run = crate::cluster::runs::run_seed;
        must_all_be_caught(run, &Mutation::CLUSTER, &range);
    }
}
