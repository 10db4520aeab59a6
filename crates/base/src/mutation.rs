//! Deliberate breaches of the safety rules, for proving that the tests would catch them.
//!
//! Owns the list of mutations and the switch that a test turns. Never reaches a release build:
//! without the feature `mutations` [`is`] is the constant `false` and the mutated branches are
//! compiled out; with it, a build without debug assertions is refused.
//!
//! The switch is per thread, so that simulations with different mutations run side by side in one
//! test binary. Code that a test runs on another thread is therefore never mutated.

#[cfg(all(feature = "mutations", not(debug_assertions), not(test)))]
compile_error!(
    "the feature `mutations` breaks safety rules on purpose: tests only, never a release build"
);

/// Each variant names the rule that is broken where [`is`] is asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mutation {
    /// P17: a state takes the place of a log that has its entry.
    InstallDropsMatchingLog,
    /// P17: a member campaigns while its log is being replaced.
    CampaignDuringSwitch,
    /// P17: the vote of a term is forgotten with the log that goes.
    InstallForgetsVote,
    /// P22: a file is imported by a node that has, or had, keys.
    ImportRevives,
    /// P20: a member whose keyspace is being loaded counts as one that has caught up.
    LoadingCountsAsCaughtUp,
    /// P20: commands are served from a keyspace that is being loaded.
    ServeWhileLoading,
    /// M5: a lent key is written to.
    WriteToLentKey,
    /// M5: a lent key expires before its lend has ended.
    ExpireLentKey,
    /// M5: what is lent is frozen under the leader that has lent it, and under no later one.
    FrozenInMemoryOnly,
    /// M4: a lend that takes too long is returned, whatever its target has decided.
    ReturnOnTimeout,
    /// M15: ASKING makes a missing key without a look at the owner.
    AskingUnchecked,
    /// M10: the owner makes a missing key of a slot that migrates.
    CreateWhileMigrating,
    /// M10: a key that has expired is absent before that is logged.
    AbsentForUnloggedExpiry,
    /// M11: a mark ends while keys that came under it are left.
    CloseWithKeys,
    /// M19: a hand-over is taken again, after the slot has gone elsewhere.
    TakeTwice,
    /// M7: an answer counts for another question than the one that was asked.
    AnswerForOtherMark,
    /// M2: what ends in the tail counts as ended.
    FloorFromTail,
    /// M1: the keys of a lend are one entry, that it has come is another.
    UnitInTwoEntries,
    /// M5: FLUSHALL does not wait for what is lent.
    FlushIgnoresLent,
    /// M2: what has come is forgotten as soon as more comes, whatever the floor.
    DoneDroppedBeforeFloor,
    /// M2: what lies below the floor may begin again.
    FloorForgotten,
    /// M2: an id that the leader itself has used is given to the next command.
    IdGivenTwice,
    /// M7: a word leaves before what it rests on is on disk.
    WordUnsynced,
    /// M6: a mark is in the leader's memory alone.
    MarksNotLogged,
    /// M11: a key that is missing is made while the slot's keys go back.
    CreateWhileReturning,
    /// M11: keys go back while lends of the other end may be open.
    BackBeforeSettled,
    /// M13: a shard that owes another one a slot or an answer ends.
    DissolveOwing,
    /// M28: a shard ends while others wait for its word.
    EndsUnheard,
    /// M19: the bus goes on naming a slot that was handed over.
    HandOffKeepsSlotInGossip,
    /// M1: the target may take a lend before its entry has committed.
    GoBeforeLendCommits,
    /// M26: a lost answer of a server outside thaws the keys, and nobody asks what it has.
    ThawUnsettled,
    /// M5: a lent key is read after its target may have taken it.
    ReadAfterGo,
    /// M4: that a lend is refused is said and not logged.
    VoidNotLogged,
    /// M7: that a lend has come is said before it has committed.
    DoneFromTail,
    /// M7: that a key is absent is said before it is certain.
    AbsentFromTail,
    /// M8: keys of an earlier ownership count for keys that were moved.
    UncleanCountsAsClean,
    /// M18: a slot is handed over with keys, or while keys of it are lent.
    HandOffWithKeysOrLent,
    /// M18: a hand-over is told before it has committed.
    GoneFromTail,
    /// M19: a slot is taken without an epoch above its former owner's.
    EpochNotRaised,
    /// D4: a sync job reports success without `fdatasync`.
    SkipFsync,
    /// D2: the log is replayed without having been synced first.
    SkipRecoverySync,
    /// D3: the cut is not made durable, and records behind it are believed.
    ReviveBehindCut,
    /// D3: of a record in several pieces, recovery keeps the pieces that are there.
    KeepPartOfRecord,
    /// D1: a hard state in which only the commit changed is never written.
    SkipCommitOnlyHardState,
    /// E1: a member votes right after its start.
    VoteAfterRestart,
    /// E1: a promise is dated before its message was taken off the queue.
    PromiseBeforeMessage,
    /// E3: the lease is tested before the execution instead of after it.
    LeaseBeforeExecution,
    /// E3: an acknowledgement of another term or transfer count extends the lease.
    ForeignAck,
    /// E3: an acknowledgement of a time that has not come yet, or from before the lease epoch, extends the lease.
    AckOfAnyTime,
    /// E3: a lease outlives a sleep of the machine until the next tick.
    LeaseOfASleeper,
    /// E3: Left is said by a leader that may have been deposed since it was last confirmed.
    LeftOnAStaleClock,
    /// D4: what the storage thread has still to write counts as written.
    RelaxedSyncOfJobs,
    /// D4: a change of the record is not synced before it is answered.
    RelaxedSyncOfRecord,
    /// E4: a vote caused by an old transfer is exempt from the promise.
    StaleTransferVote,
    /// E6: append answers and votes leave before their sync.
    AckBeforeSync,
    /// T1: a message is stepped between the execution and the proposal.
    StepBeforeProposal,
    /// T3: a read leaves before the entry it depends on has committed.
    ReadIgnoresDirty,
    /// T3: a reply of a command that wrote nothing needs no lease.
    NoLeaseForNoWrite,
    /// T6: the tail's outcome is decided when the log is truncated.
    DecideAtTruncation,
    /// T6: all that a turn has proposed is lost when some of it is.
    TailLostByTurn,
    /// C2: WAIT takes what is not even proposed for applied everywhere.
    WaitBeforeProposal,
    /// T8: the effects of a unit are applied one by one, a broken unit in part.
    ApplyPartOfUnit,
    /// E5: a leader executes before its own term's first entry is applied.
    ServeBeforeOwnTerm,
    /// T6: the keyspace is not rebuilt after a lost tail.
    SkipRebuild,
    /// E4: a leader keeps its lease while it transfers.
    TransferKeepsLease,
    /// T2: an expired key answers nil without its deletion being logged.
    UnloggedExpiry,
    /// T4: a reply that waits for nothing takes along those before it that do.
    OvertakeHeldOutput,
    /// T5: a batch is released when it is proposed.
    ReleaseUncommitted,
    /// D5: an append is stepped that the log has no room for.
    AppendWithoutRoom,
    /// D5: effects are executed without asking whether the log has room for them.
    RoomByArguments,
    /// S1: a slot is served before its gain has committed.
    ServeBeforeGainCommits,
    /// G6: a witness starts above what a data voter has.
    WitnessBaseTooHigh,
    /// G1: a joiner starts from a base whose ConfState is itself.
    JoinWithoutConfState,
    /// G2: a message to an unknown id makes a member.
    ConjuredByMessage,
    /// E2: a learner campaigns.
    LearnerCampaigns,
    /// S2: a new leader is shown as master before its epoch entry has committed.
    AnnounceBeforeEpoch,
    /// G4: a leader proposes its own removal.
    OwnRemovalAsLeader,
    /// E4: a TimeoutNow of an old lease epoch is obeyed.
    StaleTimeoutNow,
    /// G2: a member that lost its disk comes back under its old raft id.
    AmnesiaUnderOldId,
    /// G3: a group gets an even number of voters.
    EvenVoters,
    /// G5: a follower does not learn of members from the log.
    MembersBesideTheLog,
    /// W1: a witness that leads goes on leading.
    WitnessLeadsOn,
    /// W3: a witness is put beside a data member of its group.
    WitnessBesideData,
    /// G3: a witness becomes a voter however long ago its host has answered.
    StaleWitness,
    /// C1: the last member with a shard's data leaves it.
    LastDataLeaves,
    /// D6: what proves that log was lost is stepped all the same.
    LostLogGoesOn,
    /// D6: a read that reaches what is not written yet is taken for damage.
    UnwrittenIsDamage,
    /// D6: messages reach raft-rs unchecked.
    NothingIsChecked,
    /// D6: an append is stepped whose entries can't be carried out.
    BodiesAreTrusted,
    /// T5: replies wait until the leader's own disk has what a quorum has.
    WaitForTheOwnDisk,
    /// D5: a leader goes on leading although no other log has room for its entries.
    StuckLeaderStays,
    /// E4, D5: a leader whose disk hangs or is full keeps its shard.
    LeadsOnABadDisk,
    /// E4: a member that did not take over is asked again at once.
    TransferAgainAndAgain,
    /// E4: a member that answers and can't sync is asked to take over.
    TransferToAHungDisk,
    /// D5: a member without room is asked to take over.
    TransferWithoutRoom,
    /// D5: a new leader's first entry needs more than the reserve.
    ReserveForNothing,
    /// T7: a former leader shows what is in its open tail.
    OpenTailIsShown,
    /// C4: a leader that steps down leaves its clients' WATCHes alone.
    WatchOutlivesEpoch,
    /// C6: a client whose time is over is told that there is nothing, and nobody looks.
    NilWithoutLook,
    /// C6: a client that has hung up is given an element.
    ServeTheGone,
    /// T3: what is told of a change does not wait for the change.
    EventsUngated,
    /// T2: a field that is due is hidden without its deletion being logged.
    UnloggedFieldExpiry,
    /// C5: entries leave memory before they are applied.
    WindowForgetsUnapplied,
    /// G2: a Raft link is taken for made by the node that it names, though nobody vouches for it.
    EveryCallIsProved,
    /// C2: WAIT counts the witness.
    WitnessCountsForWait,
    /// S4: a node whose group is gone from its disk founds a shard and forgets the one in nodes.conf.
    FirstIdentityForgets,
    /// T9: a follower draws breath between effects, and never within one.
    ApplyDoesNotBreathe,
    /// T9: everything that has committed is applied in one turn.
    ApplyAllAtOnce,
    /// M21: between shards that can be asked the epoch decides, not the title.
    ClaimByEpoch,
    /// M21: slots that a shard has had from its beginning never get a title.
    NoFirstTitle,
    /// M12: a shard says nothing of slots that its table shows at a third one.
    TableIsKept,
    /// M12: that a slot is free counts when all shards have said it once.
    AskedOnce,
    /// M12: a slot that moves between other shards counts as free.
    MovingIsFree,
    /// M12: a slot that nobody seems to have is gained without asking the other shards.
    GainUnasked,
    /// S3: a higher claim of another shard is not answered by a loss in the log.
    ClaimIsIgnored,
    /// C3: slots without a live owner do not stop a cluster that wants all of them.
    CoverageIsIgnored,
    /// W2: what breaks in one witness group ends the thread of all.
    OneWitnessEndsAll,
    /// G2: what ends a membership is believed, whichever node has said it.
    ForgedLeft,
    /// G2: an only voter believes that it was removed, or has lost log to another leader.
    OnlyVoterYields,
    /// G3: a healthy voter is demoted before anybody has looked for a witness.
    DemotionBeforeSearch,
    /// S4: folders of members that no identity names are deleted at the start.
    UnnamedIsSwept,
    /// M7: words of other shards are taken from the nodes that the bus shows there.
    BusNamesTheSpeaker,
    /// S2: a node that was started answers on the bus before it shows its record.
    SpeakBeforeRecord,
    /// P2: a snapshot gets its name before its bytes are on disk.
    NamedBeforeSync,
    /// P2: a snapshot gets its name before anybody has read what is on disk.
    ValidBeforeCheck,
    /// P1: a snapshot ends with a part of a unit.
    CutInsideUnit,
    /// P1: a snapshot is made of entries that the own disk may not have.
    SnapshotAheadOfDisk,
    /// D7: the base of a member that could not bring up others names a snapshot.
    SnapshotMovesAnyBase,
    /// P26: a client gets a file that was cut before it asked.
    DownloadOfEarlier,
    /// P10: the base names a state of which the own disk has no entry yet.
    StateAheadOfLog,
    /// P8: segments go before the base that begins behind them is durable.
    TrimBeforeBase,
    /// P10: entries are dropped that the state does not cover.
    TrimPastApplied,
    /// P11: the newest log is dropped as well.
    TrimBelowFloor,
    /// P11: entries are dropped that other members lack.
    TrimPastNeeded,
    /// D5: the log takes the room of the snapshot that would let it be trimmed.
    NothingKeptForSnapshot,
    /// D5: on a full disk not even what frees memory is taken.
    FreeingIsRefused,
    /// P11: a full disk changes nothing of what is kept for others.
    ShortageKeepsAll,
    /// P12: a deposed leader's word about the log's end is taken.
    TrimToOfDeposed,
    /// P12: where a witness's log begins says nothing of those that it could bring up.
    WitnessFloorIgnored,
    /// P11: the base moves on while a member is being given the state that it names.
    TrimPastPin,
    /// P10: the log begins with a record behind which a later one has cut below it.
    StartIgnoresTruncation,
    /// P14: the term of the entry before the first one is forgotten.
    ForgetTermBeforeFirst,
    /// P16: a piece is written though its checksum is another one.
    PieceUnchecked,
    /// P17: the file of another member's state gets its name before anybody has read it.
    NamedUnchecked,
    /// P15: a state is pulled that a deposed leader has offered.
    OfferOfDeposedLeader,
    /// P2: a snapshot gets its name before its last entry has committed.
    ValidBeforeCommit,
    /// P4: an entry that is not saved yet gets another expiry.
    TouchForgotten,
    /// P3: an entry that came after a cut counts as not saved.
    NewEntryUnmarked,
    /// P3: a cut begins among the marks of one that was given up.
    EpochFlipWithoutSweep,
    /// P5: what is flushed before it was saved is freed.
    FlushDropsUnsaved,
    /// P5: keys are saved under the number that their database has got since the cut.
    SwapdbByIndex,
}

impl Mutation {
    /// Every one; the tests have a table that says which scene or seeds must notice it, and by what.
    pub const ALL: &[Mutation] = &[
        Mutation::SkipFsync,
        Mutation::SkipRecoverySync,
        Mutation::ReviveBehindCut,
        Mutation::KeepPartOfRecord,
        Mutation::SkipCommitOnlyHardState,
        Mutation::VoteAfterRestart,
        Mutation::PromiseBeforeMessage,
        Mutation::LeaseBeforeExecution,
        Mutation::ForeignAck,
        Mutation::AckOfAnyTime,
        Mutation::LeaseOfASleeper,
        Mutation::LeftOnAStaleClock,
        Mutation::RelaxedSyncOfJobs,
        Mutation::RelaxedSyncOfRecord,
        Mutation::StaleTransferVote,
        Mutation::AckBeforeSync,
        Mutation::StepBeforeProposal,
        Mutation::ReadIgnoresDirty,
        Mutation::NoLeaseForNoWrite,
        Mutation::DecideAtTruncation,
        Mutation::TailLostByTurn,
        Mutation::WaitBeforeProposal,
        Mutation::ApplyPartOfUnit,
        Mutation::ServeBeforeOwnTerm,
        Mutation::SkipRebuild,
        Mutation::TransferKeepsLease,
        Mutation::UnloggedExpiry,
        Mutation::OvertakeHeldOutput,
        Mutation::ReleaseUncommitted,
        Mutation::AppendWithoutRoom,
        Mutation::RoomByArguments,
        Mutation::ServeBeforeGainCommits,
        Mutation::WitnessBaseTooHigh,
        Mutation::JoinWithoutConfState,
        Mutation::ConjuredByMessage,
        Mutation::LearnerCampaigns,
        Mutation::AnnounceBeforeEpoch,
        Mutation::OwnRemovalAsLeader,
        Mutation::StaleTimeoutNow,
        Mutation::AmnesiaUnderOldId,
        Mutation::EvenVoters,
        Mutation::MembersBesideTheLog,
        Mutation::WitnessLeadsOn,
        Mutation::WitnessBesideData,
        Mutation::StaleWitness,
        Mutation::LastDataLeaves,
        Mutation::LostLogGoesOn,
        Mutation::UnwrittenIsDamage,
        Mutation::NothingIsChecked,
        Mutation::BodiesAreTrusted,
        Mutation::WaitForTheOwnDisk,
        Mutation::LeadsOnABadDisk,
        Mutation::TransferAgainAndAgain,
        Mutation::TransferToAHungDisk,
        Mutation::TransferWithoutRoom,
        Mutation::ReserveForNothing,
        Mutation::OpenTailIsShown,
        Mutation::WatchOutlivesEpoch,
        Mutation::NilWithoutLook,
        Mutation::ServeTheGone,
        Mutation::EventsUngated,
        Mutation::UnloggedFieldExpiry,
        Mutation::WindowForgetsUnapplied,
        Mutation::EveryCallIsProved,
        Mutation::WitnessCountsForWait,
        Mutation::FirstIdentityForgets,
        Mutation::ApplyAllAtOnce,
        Mutation::ClaimByEpoch,
        Mutation::MovingIsFree,
        Mutation::AskedOnce,
        Mutation::GainUnasked,
        Mutation::ClaimIsIgnored,
        Mutation::CoverageIsIgnored,
        Mutation::OneWitnessEndsAll,
        Mutation::ForgedLeft,
        Mutation::OnlyVoterYields,
        Mutation::DemotionBeforeSearch,
        Mutation::UnnamedIsSwept,
        Mutation::GoBeforeLendCommits,
        Mutation::ThawUnsettled,
        Mutation::ReadAfterGo,
        Mutation::VoidNotLogged,
        Mutation::DoneFromTail,
        Mutation::AbsentFromTail,
        Mutation::UncleanCountsAsClean,
        Mutation::HandOffWithKeysOrLent,
        Mutation::GoneFromTail,
        Mutation::EpochNotRaised,
        Mutation::InstallDropsMatchingLog,
        Mutation::CampaignDuringSwitch,
        Mutation::InstallForgetsVote,
        Mutation::ImportRevives,
        Mutation::LoadingCountsAsCaughtUp,
        Mutation::ServeWhileLoading,
        Mutation::WriteToLentKey,
        Mutation::ExpireLentKey,
        Mutation::FrozenInMemoryOnly,
        Mutation::ReturnOnTimeout,
        Mutation::AskingUnchecked,
        Mutation::CreateWhileMigrating,
        Mutation::AbsentForUnloggedExpiry,
        Mutation::CloseWithKeys,
        Mutation::TakeTwice,
        Mutation::AnswerForOtherMark,
        Mutation::FloorFromTail,
        Mutation::UnitInTwoEntries,
        Mutation::FlushIgnoresLent,
        Mutation::DoneDroppedBeforeFloor,
        Mutation::FloorForgotten,
        Mutation::IdGivenTwice,
        Mutation::WordUnsynced,
        Mutation::MarksNotLogged,
        Mutation::CreateWhileReturning,
        Mutation::BackBeforeSettled,
        Mutation::HandOffKeepsSlotInGossip,
        Mutation::DissolveOwing,
        Mutation::EndsUnheard,
        Mutation::BusNamesTheSpeaker,
        Mutation::SpeakBeforeRecord,
        Mutation::NamedBeforeSync,
        Mutation::ValidBeforeCheck,
        Mutation::CutInsideUnit,
        Mutation::SnapshotAheadOfDisk,
        Mutation::SnapshotMovesAnyBase,
        Mutation::DownloadOfEarlier,
        Mutation::StateAheadOfLog,
        Mutation::TrimBeforeBase,
        Mutation::TrimPastApplied,
        Mutation::TrimBelowFloor,
        Mutation::TrimPastNeeded,
        Mutation::TrimPastPin,
        Mutation::NothingKeptForSnapshot,
        Mutation::FreeingIsRefused,
        Mutation::ShortageKeepsAll,
        Mutation::WitnessFloorIgnored,
        Mutation::TrimToOfDeposed,
        Mutation::StartIgnoresTruncation,
        Mutation::ForgetTermBeforeFirst,
        Mutation::PieceUnchecked,
        Mutation::NamedUnchecked,
        Mutation::OfferOfDeposedLeader,
        Mutation::ValidBeforeCommit,
        Mutation::TouchForgotten,
        Mutation::NewEntryUnmarked,
        Mutation::EpochFlipWithoutSweep,
        Mutation::FlushDropsUnsaved,
        Mutation::SwapdbByIndex,
        Mutation::ApplyDoesNotBreathe,
    ];
}

#[cfg(feature = "mutations")]
mod switch {
    use super::Mutation;
    use std::cell::Cell;

    thread_local! {
        static ACTIVE: Cell<Option<Mutation>> = const { Cell::new(None) };
    }

    /// Whether this thread runs with `m`.
    pub fn is(m: Mutation) -> bool {
        ACTIVE.with(|a| a.get() == Some(m))
    }

    /// Turns one mutation (or none) on for the rest of this thread's life.
    pub fn set(m: Option<Mutation>) {
        ACTIVE.with(|a| a.set(m));
    }
}

#[cfg(feature = "mutations")]
pub use switch::{is, set};

/// Whether this thread runs with `_m`: never, in a build without the feature `mutations`.
#[cfg(not(feature = "mutations"))]
#[inline(always)]
pub const fn is(_m: Mutation) -> bool {
    false
}
