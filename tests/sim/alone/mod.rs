//! One member, or one node, alone: for what chance hardly ever shows.
//!
//! Each file has a function that plays a scene with the real code and says whether a rule held, a
//! test of it, and the mutation that breaks the rule is listed here.

mod leader;
mod learner;
mod node;
mod slices;
mod witnesses;

use holdfast::clock::{Clock, Mono, Now};
use holdfast::shard::{Shard, ShardConfig, SyncPolicy};
use holdfast::storage::{Base, Log, LogConfig};
use std::cell::Cell;
use std::time::Duration;

use crate::disk::SimDisk;

/// T of all groups here.
const T_MS: u64 = 1000;

fn at(ms: u64) -> Now {
    Now {
        mono: Mono((ms + 1) * 1_000_000),
        unix_ms: ms as i64,
        ..Now::default()
    }
}

fn quiet() -> slog::Logger {
    slog::Logger::root(slog::Discard, slog::o!())
}

/// A clock that goes on by a millisecond with every look.
#[derive(Default)]
struct Ticking(Cell<u64>);

impl Clock for Ticking {
    fn now(&self) -> Now {
        self.0.set(self.0.get() + 1);
        at(self.0.get())
    }
}

fn log_config() -> LogConfig {
    LogConfig {
        segment_size: 4 << 20,
        ..LogConfig::default()
    }
}

/// A member that was born of `base`, on a disk of its own.
fn shard(base: &Base) -> Shard<SimDisk> {
    let disk = SimDisk::new(1 << 30);
    Log::create(disk.clone(), log_config(), base).expect("an empty disk");
    let config = ShardConfig {
        layout: holdfast::keyspace::Layout::Cluster,
        seed: 7,
        sync: SyncPolicy::Always,
        outcome_timeout: Duration::from_secs(5),
        tail_limit: 1 << 20,
        keep_bytes: 1 << 20,
        log: log_config(),
        first: true,
    };
    Shard::open(disk, config, at(0), &quiet()).expect("a sound log")
}

#[cfg(feature = "mutations")]
#[test]
fn every_mutation_of_one_member_is_caught() {
    use holdfast::mutation::{self, Mutation};
    for mutation in Mutation::ALONE {
        let holds = match mutation {
            Mutation::LearnerCampaigns => || !learner::asks_for_votes(),
            Mutation::LostLogGoesOn => learner::lost_log_is_noticed,
            Mutation::ApplyAllAtOnce => slices::what_commits_at_once_is_applied_in_slices,
            Mutation::ClaimIsIgnored => node::a_higher_claim_is_a_loss_in_the_log,
            Mutation::CoverageIsIgnored => node::a_missing_slot_stops_the_cluster,
            Mutation::StepBeforeProposal => leader::what_is_executed_is_proposed_first,
            Mutation::WatchOutlivesReign => leader::a_watch_ends_with_the_reign,
            Mutation::FirstSeatForgets => node::without_its_log_a_node_claims_nothing,
            Mutation::OneWitnessEndsAll => witnesses::one_that_breaks_leaves_the_other,
            other => panic!("{other:?} has no scene"),
        };
        assert!(
            holds(),
            "{mutation:?} has a scene that does not hold anyway"
        );
        mutation::set(Some(mutation));
        let held = holds();
        mutation::set(None);
        assert!(!held, "{mutation:?} is not noticed");
    }
}
