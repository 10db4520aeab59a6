//! Runs of seeds of the cluster world: `SIM_CLUSTER_SEEDS=A..B`, and what `super::super::runs` reads.

use std::ops::Range;

use super::world::World;
use crate::member::install_panic_hook;
use crate::runs::{must_be_clean_with, seeds_of, survey_with};
use crate::trace::Lines;
use crate::world::Verdict;

pub fn run_seed(seed: u64, lines: Lines) -> Verdict {
    install_panic_hook();
    World::new(seed, lines).run()
}

fn seeds(default: Range<u64>) -> Range<u64> {
    seeds_of("SIM_CLUSTER_SEEDS", default)
}

#[test]
fn cluster_seeds_are_clean() {
    must_be_clean_with(run_seed, seeds(0..100));
}

#[test]
fn a_cluster_seed_reproduces_its_run() {
    for seed in [0, 3] {
        let (a, b) = (run_seed(seed, Lines::None), run_seed(seed, Lines::Last));
        assert_eq!(
            a.hash, b.hash,
            "seed {seed} ran differently the second time"
        );
    }
}

/// Every failure of a range in a few words, for looking at many at once.
#[test]
#[ignore = "a tool: SIM_CLUSTER_SEEDS=A..B cargo test --test sim cluster_survey -- --ignored --nocapture"]
fn cluster_survey() {
    survey_with(run_seed, seeds(0..100));
}
