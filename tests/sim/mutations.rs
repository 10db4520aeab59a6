//! Mutations: each rule broken on purpose, and what must notice it.
//!
//! Owns the table. A catch is the failure that the table names, in a run that is clean without the
//! mutation; any other failure of a mutated run counts for nothing.

use holdfast::mutation::{self, Mutation};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Mutex;

use crate::plan::Topology;
use crate::runs::{run_seed, seeds, threads};
use crate::trace::Lines;

/// Every failure of a range in a line each, for every mutation: for making the table.
#[test]
#[ignore = "a tool: SIM_SEEDS=A..B cargo test --features mutations --test sim scan -- --ignored --nocapture"]
fn scan() {
    let only = std::env::var("SIM_MUTATION").ok();
    let topology = std::env::var("SIM_TOPOLOGY").unwrap_or_default();
    let of = |t: &Topology| topology.is_empty() || format!("{t:?}").to_lowercase() == topology;
    let all: Vec<(Mutation, Topology)> = Mutation::ALL
        .iter()
        .filter(|m| {
            only.as_ref()
                .is_none_or(|only| only.split(',').any(|o| o == format!("{m:?}")))
        })
        .flat_map(|m| Topology::ALL.into_iter().filter(of).map(|t| (*m, t)))
        .collect();
    let next = AtomicUsize::new(0);
    let out = Mutex::new(());
    std::thread::scope(|scope| {
        for _ in 0..threads() {
            scope.spawn(|| loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(&(mutation, topology)) = all.get(at) else {
                    return;
                };
                let mut found = Vec::new();
                for seed in seeds(0..150) {
                    mutation::set(Some(mutation));
                    let verdict = run_seed(topology, seed, Lines::None);
                    mutation::set(None);
                    if let Some(why) = verdict.failure {
                        let first = why.lines().next().unwrap_or_default();
                        found.push(format!("{seed}: {first:.130}"));
                    }
                    if found.len() >= 2 {
                        break;
                    }
                }
                let _out = out.lock().expect("nobody panics with it");
                println!("{mutation:?} {topology:?}: {}", found.len());
                found.iter().for_each(|f| println!("    {f}"));
            });
        }
    });
}
