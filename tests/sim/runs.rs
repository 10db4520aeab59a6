//! Runs of seeds: over ranges and threads, with and without mutations.
//!
//! Environment (set by `scripts/sim.sh`): `SIM_SEEDS=A..B`, `SIM_TRACE=1` prints every line,
//! `SIM_THREADS`, `SIM_MUTATION=Name` (with the feature), `SIM_LINES` how many lines a failure prints.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Mutex;
use std::time::Instant;

use crate::machine::install_panic_hook;
use crate::plan::Topology;
use crate::trace::Lines;
use crate::world::{Verdict, World};

pub fn run_seed(topology: Topology, seed: u64, lines: Lines) -> Verdict {
    install_panic_hook();
    World::new(topology, seed, lines).run()
}

/// The range in `SIM_SEEDS`, or `default`.
pub fn seeds(default: Range<u64>) -> Range<u64> {
    let Ok(text) = std::env::var("SIM_SEEDS") else {
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

pub fn threads() -> usize {
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
        let named = Mutation::ALL.iter().find(|m| format!("{m:?}") == name);
        holdfast::mutation::set(Some(*named.expect("SIM_MUTATION names a mutation")));
    }
}

/// Runs every seed; gives the failures in the order of their seeds, and all verdicts.
pub fn run_range(run: Topology, range: Range<u64>, stop_at_first: bool) -> Vec<(u64, Verdict)> {
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

/// Runs a range and panics with a report if a seed fails.
fn must_be_clean(run: Topology, range: Range<u64>) {
    let begun = Instant::now();
    let results = run_range(run, range.clone(), true);
    let sum = |f: fn(&Verdict) -> u64| results.iter().map(|(_, v)| f(v)).sum::<u64>();
    println!(
        "{run:?}, seeds {range:?}: {} runs in {:.1} s, {} operations ({} unknown, {} moved), {} turns, {} leaders",
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
pub fn report(run: Topology, seed: u64, verdict: &Verdict, mutation: Option<&str>) -> String {
    let again = run_seed(run, seed, Lines::Last);
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
        "{run:?}, seed {seed} ({}), mutation {}{same}:\n{}\nlast lines:\n{}",
        verdict.plan,
        mutation.unwrap_or("none"),
        again.failure.as_deref().unwrap_or("no failure"),
        again.lines[skip..].join("\n"),
    )
}

#[test]
fn seeds_of_one_node_are_clean() {
    must_be_clean(Topology::Alone, seeds(0..100));
}

#[test]
fn seeds_of_a_shard_are_clean() {
    must_be_clean(Topology::Shard, seeds(0..100));
}

#[test]
fn seeds_of_a_cluster_are_clean() {
    must_be_clean(Topology::Cluster, seeds(0..50));
}

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

/// Every failure of a range in one line each, for looking at many at once.
#[test]
#[ignore = "a tool: SIM_SEEDS=A..B SIM_TOPOLOGY=T cargo test --test sim survey -- --ignored --nocapture"]
fn survey() {
    for topology in Topology::ALL {
        let wanted = std::env::var("SIM_TOPOLOGY").ok();
        let name = format!("{topology:?}").to_lowercase();
        if wanted.is_none_or(|wanted| wanted == name) {
            survey_of(topology, seeds(0..100));
        }
    }
}

fn survey_of(topology: Topology, range: Range<u64>) {
    let results = run_range(topology, range, false);
    let mut failures = 0;
    for (seed, verdict) in &results {
        if let Some(why) = &verdict.failure {
            failures += 1;
            let first = why.lines().take(3).collect::<Vec<_>>().join(" | ");
            println!("{topology:?} seed {seed} ({}): {first:.400}", verdict.plan);
        }
    }
    println!("{topology:?}: {failures} of {} seeds fail", results.len());
}
