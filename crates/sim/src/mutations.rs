//! Mutations: each rule broken on purpose, and what must notice it.
//!
//! Owns the table. A catch is the failure that the table names, in a run that is clean without the
//! mutation; any other failure of a mutated run counts for nothing.

use base::mutation::{self, Mutation};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Mutex;

use crate::alone::{
    breath, follower, full, leader, learner, log_end, node, voter, waiting, witnesses,
};
use crate::plan::Topology;
use crate::runs::run_seed;
use crate::trace::Lines;

/// What must notice a mutation.
#[derive(Clone, Copy)]
enum Notice {
    /// A run of this topology, which fails with this text.
    Seed(Topology, &'static str),
    /// A scene of one member or node, which holds without the mutation.
    Scene(fn() -> bool),
    /// A test in this file, beside the code: it turns the mutation on itself.
    Beside(&'static str),
}

/// How far a seed may have to be looked for.
const SEEDS: Range<u64> = 0..300;

#[rustfmt::skip]
const TABLE: &[(Mutation, Notice)] = {
    use Mutation as M;
    use Notice::{Beside, Scene, Seed};
    use Topology::{Cluster, Moves, Shard};
    &[
        (M::SkipFsync, Seed(Shard, "no valid record where one was known durable")),
        (M::SkipRecoverySync, Beside("crates/storage/src/tests.rs")),
        (M::ReviveBehindCut, Beside("crates/storage/src/tests.rs")),
        (M::KeepPartOfRecord, Beside("crates/storage/src/tests.rs")),
        (M::SkipCommitOnlyHardState, Seed(Shard, "D1: m")),
        (M::VoteAfterRestart, Scene(voter::a_restarted_voter_waits)),
        (M::PromiseBeforeMessage, Scene(voter::a_promise_begins_when_its_message_came)),
        (M::LeaseBeforeExecution, Scene(leader::a_read_before_a_long_stop_is_not_answered)),
        (M::ForeignAck, Scene(leader::a_foreign_ack_makes_no_lease)),
        (M::AckOfAnyTime, Beside("crates/shard/src/tests/mutations.rs")),
        (M::LeaseOfASleeper, Beside("crates/shard/src/tests/mutations.rs")),
        (M::LeftOnAStaleClock, Beside("crates/cluster/src/tests.rs")),
        (M::RelaxedSyncOfJobs, Beside("crates/shard/src/tests/mutations.rs")),
        (M::RelaxedSyncOfRecord, Beside("crates/shard/src/tests/mutations.rs")),
        (M::StaleTransferVote, Scene(voter::a_vote_of_an_old_transfer_is_dropped)),
        (M::AckBeforeSync, Seed(Shard, "is committed or stored, but the log ends")),
        (M::StepBeforeProposal, Scene(leader::what_is_executed_is_proposed_first)),
        (M::ReadIgnoresDirty, Seed(Shard, "is not linearizable")),
        (M::NoLeaseForNoWrite, Scene(leader::a_read_before_a_long_stop_is_not_answered)),
        (M::DecideAtTruncation, Seed(Shard, "is not linearizable")),
        (M::TailLostByTurn, Beside("crates/shard/src/tests/tail.rs")),
        (M::WaitBeforeProposal, Beside("crates/shard/src/tests/tail.rs")),
        (M::ApplyPartOfUnit, Seed(Shard, "keyspaces differ")),
        (M::ServeBeforeOwnTerm, Seed(Shard, "keyspaces differ")),
        (M::SkipRebuild, Seed(Shard, "keyspaces differ")),
        (M::TransferKeepsLease, Scene(leader::a_transferring_leader_serves_nobody)),
        (M::UnloggedExpiry, Scene(leader::an_expired_key_is_gone_by_the_log)),
        (M::OvertakeHeldOutput, Seed(Shard, "is not linearizable")),
        (M::ReleaseUncommitted, Seed(Shard, "is not linearizable")),
        (M::AppendWithoutRoom, Scene(follower::appends_of_one_turn_share_the_room)),
        (M::RoomByArguments, Beside("crates/shard/src/tests/room.rs")),
        (M::ServeBeforeGainCommits, Seed(Cluster, "is served before its gain committed")),
        (M::WitnessBaseTooHigh, Seed(Cluster, "G6: witness")),
        (M::JoinWithoutConfState, Seed(Cluster, "two valid leases")),
        (M::ConjuredByMessage, Seed(Cluster, "G2: raft id")),
        (M::LearnerCampaigns, Scene(|| !learner::asks_for_votes())),
        (M::AnnounceBeforeEpoch, Seed(Cluster, "S2: the bus shows")),
        (M::OwnRemovalAsLeader, Beside("crates/raft-group/src/plan/tests.rs")),
        (M::StaleTimeoutNow, Seed(Cluster, "two valid leases")),
        (M::AmnesiaUnderOldId, Seed(Cluster, "lost its disk and is back under its id")),
        (M::EvenVoters, Seed(Cluster, "G3: an even number of voters")),
        (M::MembersBesideTheLog, Seed(Cluster, "G5: members differ")),
        (M::WitnessLeadsOn, Beside("crates/raft-group/src/plan/tests.rs")),
        (M::WitnessBesideData, Seed(Cluster, "W3: witness")),
        (M::StaleWitness, Beside("crates/shard/src/tests/mutations.rs")),
        (M::LastDataLeaves, Scene(node::the_last_data_member_stays)),
        (M::LostLogGoesOn, Scene(learner::lost_log_is_noticed)),
        (M::UnwrittenIsDamage, Beside("crates/shard/src/tests/mutations.rs")),
        (M::NothingIsChecked, Beside("crates/raft-group/src/tests.rs")),
        (M::BodiesAreTrusted, Beside("crates/shard/src/tests/mutations.rs")),
        (M::OpenTailIsShown, Seed(Shard, "keyspaces differ")),
        (M::NilWithoutLook, Scene(waiting::an_end_before_a_long_stop_is_not_answered)),
        (M::ServeTheGone, Scene(waiting::an_element_is_left_by_a_client_that_hung_up)),
        (M::EventsUngated, Scene(leader::an_event_waits_for_its_change)),
        (M::UnloggedFieldExpiry, Scene(leader::a_due_field_is_gone_by_the_log)),
        (M::WatchOutlivesEpoch, Scene(leader::a_watch_ends_with_the_lease_epoch)),
        (M::WindowForgetsUnapplied, Seed(Shard, "C5: everything above applied stays in memory")),
        (M::EveryCallIsProved, Beside("crates/transport/src/vouch.rs")),
        (M::WitnessCountsForWait, Seed(Cluster, "C2: WAIT counts")),
        (M::FirstIdentityForgets, Scene(node::without_its_log_a_node_claims_nothing)),
        (M::ApplyAllAtOnce, Scene(follower::what_commits_at_once_is_applied_in_slices)),
        (M::ApplyDoesNotBreathe, Scene(breath::a_heartbeat_within_a_long_effect_is_answered)),
        (M::ClaimIsIgnored, Scene(node::a_higher_claim_is_a_loss_in_the_log)),
        (M::CoverageIsIgnored, Scene(node::a_missing_slot_stops_the_cluster)),
        (M::OneWitnessEndsAll, Scene(witnesses::one_that_breaks_leaves_the_other)),
        (M::ForgedLeft, Beside("crates/cluster/src/tests.rs")),
        (M::OnlyVoterYields, Beside("crates/cluster/src/tests.rs")),
        (M::DemotionBeforeSearch, Beside("crates/raft-group/src/plan/tests.rs")),
        (M::UnnamedIsSwept, Beside("crates/cluster/src/folders.rs")),
        (M::WaitForTheOwnDisk, Beside("crates/shard/src/tests/mutations.rs")),
        (M::StuckLeaderStays, Beside("crates/shard/src/tests/stuck.rs")),
        (M::LeadsOnABadDisk, Beside("crates/shard/src/tests/mutations.rs")),
        (M::TransferAgainAndAgain, Beside("crates/shard/src/tests/mutations.rs")),
        (M::TransferToAHungDisk, Beside("crates/shard/src/tests/mutations.rs")),
        (M::TransferWithoutRoom, Beside("crates/shard/src/tests/mutations.rs")),
        (M::ReserveForNothing, Beside("crates/shard/src/tests/mutations.rs")),
        (M::ClaimByEpoch, Beside("crates/cluster/src/migration/owners.rs")),
        (M::NoFirstTitle, Beside("crates/cluster/src/migration/settle.rs")),
        (M::TableIsKept, Beside("crates/cluster/src/migration/owners.rs")),
        (M::GainUnasked, Seed(Moves, "I1")),
        (M::AskedOnce, Beside("crates/cluster/src/migration/questions.rs")),
        (M::MovingIsFree, Seed(Moves, "I1")),
        (M::VoidNotLogged, Seed(Moves, "I3: the lend")),
        (M::GoBeforeLendCommits, Seed(Moves, "I2: the lend")),
        (M::DoneFromTail, Seed(Moves, "I3: the lend")),
        (M::TakeTwice, Seed(Moves, "I1: slot")),
        (M::AnswerForOtherMark, Seed(Moves, "is at two shards")),
        (M::ThawUnsettled, Beside("crates/cluster/src/migration/outside_tests.rs")),
        (M::HandOffWithKeysOrLent, Seed(Moves, "M18: a slot with keys")),
        (M::EpochNotRaised, Beside("crates/cluster/src/migration/faulty.rs")),
        (M::ImportRevives, Beside("crates/shard/src/tests/mutations.rs")),
        (M::InstallForgetsVote, Beside("crates/shard/src/tests/mutations.rs")),
        (M::InstallDropsMatchingLog, Beside("crates/shard/src/tests/mutations.rs")),
        (M::CampaignDuringSwitch, Beside("crates/shard/src/tests/mutations.rs")),
        (M::LoadingCountsAsCaughtUp, Beside("crates/shard/src/tests/mutations.rs")),
        (M::ServeWhileLoading, Beside("crates/shard/src/tests/mutations.rs")),
        (M::WriteToLentKey, Seed(Moves, "M5: a lent key is changed")),
        (M::ExpireLentKey, Beside("crates/command/src/cluster/tests/motion.rs")),
        (M::FrozenInMemoryOnly, Seed(Moves, "is lent, and not frozen")),
        (M::ReadAfterGo, Seed(Moves, "is shown, and has come elsewhere")),
        (M::ReturnOnTimeout, Seed(Moves, "is returned, and has come")),
        (M::UnitInTwoEntries, Seed(Moves, "is at two shards")),
        (M::AbsentFromTail, Beside("crates/cluster/src/migration/ahead_tests.rs")),
        (M::AbsentForUnloggedExpiry, Seed(Moves, "is at two shards")),
        (M::UncleanCountsAsClean, Seed(Moves, "is at two shards")),
        (M::GoneFromTail, Seed(Moves, "I1: slot")),
        (M::FlushIgnoresLent, Seed(Moves, "M5: a flush waits for what is lent")),
        (M::FloorFromTail, Beside("crates/cluster/src/migration/ahead_tests.rs")),
        (M::WordUnsynced, Beside("crates/cluster/src/migration/ahead_tests.rs")),
        (M::DoneDroppedBeforeFloor, Seed(Moves, "I3: the lend")),
        (M::FloorForgotten, Seed(Moves, "I1: slot")),
        (M::IdGivenTwice, Seed(Moves, "I3: the lend")),
        (M::MarksNotLogged, Seed(Moves, "I7: records differ")),
        (M::CreateWhileReturning, Seed(Moves, "M10")),
        (M::BackBeforeSettled, Seed(Moves, "is at two shards")),
        (M::SpeakBeforeRecord, Seed(Cluster, "S2: the bus speaks before")),
        (M::DissolveOwing, Beside("crates/cluster/src/membership/emptied.rs")),
        (M::EndsUnheard, Seed(Moves, "has ended, and")),
        (M::HandOffKeepsSlotInGossip, Seed(Moves, "S2: the bus shows")),
        (M::CreateWhileMigrating, Seed(Moves, "M10")),
        (M::CloseWithKeys, Seed(Moves, "is not linearizable")),
        (M::AskingUnchecked, Seed(Moves, "is at two shards")),
        (M::NamedBeforeSync, Scene(log_end::every_step_of_a_trim_may_be_the_last)),
        (M::ValidBeforeCheck, Beside("crates/shard/src/tests/mutations.rs")),
        (M::CutInsideUnit, Beside("crates/shard/src/tests/mutations.rs")),
        (M::SnapshotAheadOfDisk, Beside("crates/shard/src/tests/mutations.rs")),
        (M::SnapshotMovesAnyBase, Beside("crates/shard/src/tests/mutations.rs")),
        (M::DownloadOfEarlier, Beside("crates/server/src/downloads/tests.rs")),
        (M::TrimBeforeBase, Scene(log_end::every_step_of_a_trim_may_be_the_last)),
        (M::StateAheadOfLog, Scene(log_end::a_state_waits_for_its_entry)),
        (M::TrimPastNeeded, Beside("crates/shard/src/tests/mutations.rs")),
        (M::NothingKeptForSnapshot, Scene(full::a_small_disk_is_overwritten)),
        (M::FreeingIsRefused, Scene(full::a_disk_full_of_keys_is_emptied)),
        (M::ShortageKeepsAll, Beside("crates/shard/src/tests/mutations.rs")),
        (M::TrimPastPin, Beside("crates/shard/src/tests/mutations.rs")),
        (M::WitnessFloorIgnored, Beside("crates/shard/src/tests/mutations.rs")),
        (M::TrimToOfDeposed, Beside("crates/cluster/src/tests/log_end.rs")),
        (M::TrimPastApplied, Beside("crates/storage/src/tests/trim.rs")),
        (M::TrimBelowFloor, Beside("crates/storage/src/tests/trim.rs")),
        (M::StartIgnoresTruncation, Beside("crates/storage/src/tests.rs")),
        (M::ForgetTermBeforeFirst, Beside("crates/raft-group/src/window.rs")),
        (M::OfferOfDeposedLeader, Beside("crates/cluster/src/transfer/tests/receiver.rs")),
        (M::PieceUnchecked, Beside("crates/cluster/src/transfer/tests/receiver.rs")),
        (M::NamedUnchecked, Beside("crates/storage/src/tests/transfer.rs")),
        (M::BusNamesTheSpeaker, Beside("crates/cluster/src/tests/introductions.rs")),
        (M::ValidBeforeCommit, Beside("crates/shard/src/tests/mutations.rs")),
        (M::TouchForgotten, Beside("crates/keyspace/src/cut_tests.rs")),
        (M::NewEntryUnmarked, Beside("crates/keyspace/src/cut_tests.rs")),
        (M::EpochFlipWithoutSweep, Beside("crates/keyspace/src/cut_tests.rs")),
        (M::FlushDropsUnsaved, Beside("crates/keyspace/src/cut_tests.rs")),
        (M::SwapdbByIndex, Beside("crates/keyspace/src/cut_tests.rs")),
    ]
};

/// Whether the mutation is noticed, and by what; or why that is no catch.
fn noticed(mutation: Mutation, notice: Notice) -> Result<String, String> {
    match notice {
        Notice::Seed(topology, text) => by_seed(mutation, topology, text),
        Notice::Scene(holds) => {
            if !holds() {
                return Err("its scene does not hold anyway".to_string());
            }
            mutation::set(Some(mutation));
            let held = holds();
            mutation::set(None);
            match held {
                true => Err("its scene holds all the same".to_string()),
                false => Ok("its scene".to_string()),
            }
        }
        Notice::Beside(file) => {
            let text = std::fs::read_to_string(file).map_err(|e| e.to_string())?;
            // The library's tests run with this one; code that only asks for the mutation turns nothing on.
            let count = |what: String| text.matches(&what).count();
            let asked = count(format!("is(Mutation::{mutation:?})"));
            match count(format!("Mutation::{mutation:?}")) > asked {
                true => Ok(format!("a test in {file}")),
                false => Err(format!("{file} does not speak of it")),
            }
        }
    }
}

fn by_seed(mutation: Mutation, topology: Topology, text: &str) -> Result<String, String> {
    let mut others = Vec::new();
    for seed in SEEDS {
        mutation::set(Some(mutation));
        let verdict = run_seed(topology, seed, Lines::None);
        mutation::set(None);
        let Some(why) = verdict.failure else { continue };
        let first = why.lines().next().unwrap_or_default().to_string();
        if !why.contains(text) {
            others.push(format!("{seed}: {first:.100}"));
            continue;
        }
        if let Some(why) = run_seed(topology, seed, Lines::None).failure {
            return Err(format!("seed {seed} fails without it too: {why:.200}"));
        }
        return Ok(format!("{topology:?} {seed}: {first:.90}"));
    }
    others.truncate(3);
    Err(format!("no seed fails with {text:?}; others: {others:?}"))
}

/// Breaks one rule after the other, or those of these names: a line for each; the ones that nothing notices
/// come back.
pub fn unnoticed(only: &[String], threads: usize) -> Vec<String> {
    for mutation in Mutation::ALL {
        let rows = TABLE.iter().filter(|(m, _)| m == mutation).count();
        assert_eq!(rows, 1, "{mutation:?} has {rows} rows in the table");
    }
    let rows: Vec<_> = TABLE.iter().filter(|(m, _)| is_wanted(m, only)).collect();
    assert!(!rows.is_empty(), "no mutation has a name of {only:?}");
    let next = AtomicUsize::new(0);
    let missed = Mutex::new(Vec::new());
    crate::machine::install_panic_hook();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(&&(mutation, notice)) = rows.get(at) else {
                    return;
                };
                match noticed(mutation, notice) {
                    Ok(by) => println!("| {mutation:?} | {by} |"),
                    Err(why) => {
                        println!("| {mutation:?} | NOT NOTICED: {why} |");
                        let mut missed = missed.lock().expect("nobody panics with it");
                        missed.push(format!("{mutation:?}: {why}"));
                    }
                }
            });
        }
    });
    missed.into_inner().expect("nobody panicked with it")
}

fn is_wanted(mutation: &Mutation, only: &[String]) -> bool {
    only.is_empty() || only.contains(&format!("{mutation:?}"))
}

/// Every failure of a range in a line each, for every mutation: for making the table.
pub fn scan(only: &[String], topologies: &[Topology], seeds: &Range<u64>, threads: usize) {
    let wanted = Mutation::ALL.iter().filter(|m| is_wanted(m, only));
    let all: Vec<(Mutation, Topology)> = wanted
        .flat_map(|m| topologies.iter().map(|t| (*m, *t)))
        .collect();
    let next = AtomicUsize::new(0);
    let out = Mutex::new(());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(&(mutation, topology)) = all.get(at) else {
                    return;
                };
                let mut found = Vec::new();
                for seed in seeds.clone() {
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
