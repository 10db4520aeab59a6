//! Each rule that the tests beside this one uphold, broken on purpose: the scene fails, and by the
//! text that belongs to the rule.

use super::{
    cut, disks, faulty, import, install, lease, leaving, loading, make, needed, policy, reads,
};
use base::mutation::{self, Mutation};
use std::panic::catch_unwind;

#[test]
fn every_breach_is_caught_by_its_text() {
    let table: [(Mutation, fn(), &str); 28] = [
        (
            Mutation::ImportRevives,
            import::deleted_keys_are_not_imported_again,
            "what was deleted is back",
        ),
        (
            Mutation::InstallForgetsVote,
            install::a_member_behind_the_log_is_brought_up_by_a_state,
            "the vote",
        ),
        (
            Mutation::InstallDropsMatchingLog,
            install::a_state_that_the_own_log_has_is_not_installed,
            "its own log is dropped",
        ),
        (
            Mutation::CampaignDuringSwitch,
            install::nothing_is_said_while_the_log_is_replaced,
            "it speaks while its log is replaced",
        ),
        (
            Mutation::LoadingCountsAsCaughtUp,
            loading::a_member_that_loads_says_so_and_is_not_counted,
            "one that loads is counted",
        ),
        (
            Mutation::ServeWhileLoading,
            loading::reads_wait_until_a_lost_tail_is_made_anew,
            "an empty keyspace is shown",
        ),
        (
            Mutation::UnwrittenIsDamage,
            reads::a_read_before_an_unwritten_value_returns_what_it_has,
            "no valid record where entries must be",
        ),
        (
            Mutation::AckOfAnyTime,
            lease::an_ack_of_the_future_makes_no_lease,
            "a lease of the future",
        ),
        (
            Mutation::LeaseOfASleeper,
            lease::a_machine_that_slept_has_no_lease,
            "a lease of before the sleep",
        ),
        (
            Mutation::RelaxedSyncOfJobs,
            policy::a_large_value_is_answered_only_when_written,
            "it is not written yet",
        ),
        (
            Mutation::RelaxedSyncOfRecord,
            policy::a_record_change_is_synced_under_every_policy,
            "it is not synced yet",
        ),
        (
            Mutation::BodiesAreTrusted,
            faulty::an_entry_that_cannot_be_read_is_refused,
            "UnknownKind(99)",
        ),
        (
            Mutation::WaitForTheOwnDisk,
            disks::a_quorum_of_followers_passes_the_own_disk,
            "it waits for its own disk",
        ),
        (
            Mutation::LeadsOnABadDisk,
            disks::a_leader_whose_disk_hangs_hands_over,
            "it keeps its shard",
        ),
        (
            Mutation::TransferAgainAndAgain,
            disks::a_failed_transfer_is_not_repeated,
            "each is asked once",
        ),
        (
            Mutation::TransferToAHungDisk,
            disks::who_cannot_sync_is_not_asked_to_lead,
            "it asked one that can't sync",
        ),
        (
            Mutation::TransferWithoutRoom,
            disks::nobody_without_room_is_asked_to_lead,
            "nobody has room",
        ),
        (
            Mutation::ReserveForNothing,
            disks::a_full_follower_takes_the_entry_of_a_new_term,
            "the reserve is not for it",
        ),
        (
            Mutation::StaleWitness,
            leaving::a_witness_of_old_is_looked_for_anew,
            "its host may have let it go",
        ),
        (
            Mutation::ValidBeforeCheck,
            make::a_file_that_reads_back_otherwise_gets_no_name,
            "it comes to nothing",
        ),
        (
            Mutation::ValidBeforeCommit,
            cut::a_leaders_cut_waits_for_its_open_tail,
            "P2: it may be lost",
        ),
        (
            Mutation::CutInsideUnit,
            make::a_unit_in_parts_is_waited_for,
            "it ends inside a unit",
        ),
        (
            Mutation::SnapshotAheadOfDisk,
            make::a_snapshot_waits_for_the_own_disk,
            "its entry is not on disk yet",
        ),
        (
            Mutation::SnapshotMovesAnyBase,
            needed::a_base_stays_where_no_state_can_be_given,
            "its base is as it was",
        ),
        (
            Mutation::TrimPastNeeded,
            needed::a_leader_keeps_what_a_slow_member_lacks,
            "the log goes on from there",
        ),
        (
            Mutation::WitnessFloorIgnored,
            needed::a_member_that_no_witness_could_feed_is_not_counted,
            "the witness could not feed it",
        ),
        (
            Mutation::TrimPastPin,
            needed::a_state_that_is_given_stays_the_base,
            "it is being given",
        ),
        (
            Mutation::ShortageKeepsAll,
            needed::a_full_disk_keeps_the_floor_alone,
            "it is full",
        ),
    ];
    for (mutation, scene, text) in table {
        scene();
        mutation::set(Some(mutation));
        let outcome = catch_unwind(scene);
        mutation::set(None);
        let Err(panic) = outcome else {
            panic!("{mutation:?} is not noticed");
        };
        let said = panic.downcast_ref::<String>().cloned();
        let said = said.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        let said = said.unwrap_or_default();
        assert!(said.contains(text), "{mutation:?}: {said}");
    }
}
