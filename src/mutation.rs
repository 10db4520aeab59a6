//! Deliberate breakages of single safety rules, to prove that the simulator catches them.
//!
//! Without the cargo feature `mutations` every question here is answered `false` at compile time;
//! the feature refuses to build without debug assertions, so no release can carry it.

/// A rule that can be broken on purpose. The comment names the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mutation {
    /// D4: a sync job says that it is done without syncing.
    SkipFsync,
    /// E1: no promise after a start.
    VoteAfterRestart,
    /// E3: the lease is tested against a clock that was read before execution.
    LeaseBeforeExecution,
    /// T3: a read does not wait for the write it saw.
    ReadBeforeDirtyCommit,
    /// T3: a reply without effects needs no lease (`SETNX` -> 0).
    ReadWithoutLease,
    /// T6: the tail is given up when the log is truncated, not when another entry commits.
    TailAtTruncation,
    /// T1: peers are stepped between execution and proposal.
    StepBeforeProposal,
    /// E6: a follower acknowledges entries before its sync.
    AckBeforeSync,
    /// D1: a hard state in which only the commit changed is never written.
    SkipCommitOnly,
    /// D2: recovery does not sync the log it found.
    SkipRecoverySync,
    /// D3: records behind a recovery cut come back.
    ReviveBehindCut,
    /// T8: a unit is applied in part.
    PartialUnit,
    /// E3: an echo of another reign is counted.
    ForeignEcho,
    /// E4: a vote under a transfer that was given up is still exempt from the promise.
    LateTransferVote,
    /// E5: a leader executes before its own term's first entry is applied.
    ServeBeforeOwnTerm,
    /// T6: the keyspace is not rebuilt after a lost tail.
    SkipRebuild,
    /// E4: a leader keeps its lease while it transfers.
    TransferKeepsLease,
    /// T2: an expired key answers nil without its deletion being logged.
    UnloggedExpiry,
}

impl Mutation {
    pub const ALL: [Mutation; 18] = [
        Mutation::SkipFsync,
        Mutation::VoteAfterRestart,
        Mutation::LeaseBeforeExecution,
        Mutation::ReadBeforeDirtyCommit,
        Mutation::ReadWithoutLease,
        Mutation::TailAtTruncation,
        Mutation::StepBeforeProposal,
        Mutation::AckBeforeSync,
        Mutation::SkipCommitOnly,
        Mutation::SkipRecoverySync,
        Mutation::ReviveBehindCut,
        Mutation::PartialUnit,
        Mutation::ForeignEcho,
        Mutation::LateTransferVote,
        Mutation::ServeBeforeOwnTerm,
        Mutation::SkipRebuild,
        Mutation::TransferKeepsLease,
        Mutation::UnloggedExpiry,
    ];
}

#[cfg(feature = "mutations")]
mod active {
    use super::Mutation;
    use std::cell::Cell;

    #[cfg(not(debug_assertions))]
    compile_error!("mutations break safety rules on purpose and are for tests only");

    thread_local!(static ACTIVE: Cell<Option<Mutation>> = const { Cell::new(None) });

    /// Whether this thread breaks that rule.
    pub fn is(mutation: Mutation) -> bool {
        ACTIVE.get() == Some(mutation)
    }

    /// Breaks one rule on this thread, or none.
    pub fn set(mutation: Option<Mutation>) {
        ACTIVE.set(mutation);
    }
}

#[cfg(feature = "mutations")]
pub use active::{is, set};

/// Whether this thread breaks that rule: never, without the feature.
#[cfg(not(feature = "mutations"))]
#[inline(always)]
pub const fn is(_: Mutation) -> bool {
    false
}
