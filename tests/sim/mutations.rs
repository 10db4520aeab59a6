//! Every mutation must be caught: a run with a broken rule fails at some seed of a bounded range.
//!
//! `scripts/sim.sh --mutations` prints the table for `docs/TESTING.md`.

use std::time::Instant;

use holdfast::mutation::{self, Mutation};

use crate::runs::{report, run_seed, seeds, threads};
use crate::trace::Lines;

/// Seeds that are tried before a mutation counts as missed.
const BOUND: u64 = 400;

/// The first seed that catches `mutation`, and how.
fn first_catch(mutation: Mutation, bound: std::ops::Range<u64>) -> Option<(u64, String)> {
    mutation::set(Some(mutation));
    let found = bound.into_iter().find_map(|seed| {
        let verdict = run_seed(seed, Lines::None);
        verdict.failure.map(|why| (seed, why))
    });
    mutation::set(None);
    found
}

#[test]
fn every_mutation_is_caught() {
    let only = std::env::var("SIM_MUTATION").ok();
    let wanted: Vec<Mutation> = Mutation::ALL
        .into_iter()
        .filter(|m| only.as_ref().is_none_or(|o| *o == format!("{m:?}")))
        .collect();
    assert!(!wanted.is_empty(), "no mutation of that name");
    let range = seeds(0..BOUND);
    let next = std::sync::atomic::AtomicUsize::new(0);
    let rows = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads() {
            scope.spawn(|| loop {
                let at = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let Some(mutation) = wanted.get(at).copied() else { return };
                let begun = Instant::now();
                let found = first_catch(mutation, range.clone());
                if let (Some((seed, _)), true) = (&found, only.is_some()) {
                    mutation::set(Some(mutation));
                    let verdict = run_seed(*seed, Lines::None);
                    println!("{}", report(*seed, &verdict, Some(&format!("{mutation:?}"))));
                    mutation::set(None);
                }
                rows.lock().expect("no thread panics with it").push((at, mutation, found, begun.elapsed()));
            });
        }
    });
    let mut rows = rows.into_inner().expect("no thread panicked with it");
    rows.sort_by_key(|row| row.0);
    println!("| mutation | seed | how it shows |\n|---|---|---|");
    let mut missed = Vec::new();
    for (_, mutation, found, took) in rows {
        match found {
            Some((seed, why)) => {
                let why: String = why.lines().next().unwrap_or("").chars().take(110).collect();
                println!("| {mutation:?} | {seed} | {why} |");
            }
            None => {
                println!("| {mutation:?} | none in {range:?} ({:.0} s) | |", took.as_secs_f64());
                missed.push(mutation);
            }
        }
    }
    assert!(missed.is_empty(), "not caught: {missed:?}");
}
