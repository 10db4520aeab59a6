//! Each rule that the tests beside this one uphold, broken on purpose: the scene fails, and by the
//! text that belongs to the rule.

use super::{faulty, lease, policy, reads};
use crate::mutation::{self, Mutation};
use std::panic::catch_unwind;

#[test]
fn every_breach_is_caught_by_its_text() {
    let table: [(Mutation, fn(), &str); 6] = [
        (
            Mutation::UnwrittenIsDamage,
            reads::a_read_before_an_unwritten_value_returns_what_it_has,
            "no valid record where entries must be",
        ),
        (
            Mutation::EchoOfAnyTime,
            lease::an_echo_of_the_future_makes_no_lease,
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
