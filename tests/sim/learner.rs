//! A learner and its leader's silence (E2): it has no vote, and asks nobody for theirs.
//!
//! Played with one member alone: in a cluster learners are rare and short-lived while witnesses can
//! be had, so seeds hardly ever show what happens when one campaigns.

use holdfast::clock::{Mono, Now};
use holdfast::raft::{Group, GroupConfig, Membership, Window};
use holdfast::storage::base::MemberKind;
use raft::eraftpb::{ConfState, HardState, MessageType};
use std::time::Duration;

const T: Duration = Duration::from_millis(1000);

/// The learner 4 of the voters 1, 2 and 3, after its start.
fn learner() -> Group {
    let conf = ConfState {
        voters: vec![1, 2, 3],
        learners: vec![4],
        ..ConfState::default()
    };
    let hard_state = HardState {
        term: 3,
        commit: 1,
        ..HardState::default()
    };
    let window = Window::new((1, 1), hard_state, conf.clone(), Vec::new(), 1, Vec::new());
    let config = GroupConfig {
        group: 7,
        incarnation: 1,
        id: 4,
        kind: MemberKind::Data,
        membership: Membership::new(conf, Vec::new(), 4, 1),
        election_timeout: T,
        seed: 1,
        first: false,
        applied: 1,
        keep_bytes: 1 << 10,
    };
    let logger = slog::Logger::root(slog::Discard, slog::o!());
    Group::new(config, window, at(0), &logger).expect("a group over a sound window")
}

fn at(ms: u64) -> Now {
    Now {
        mono: Mono((ms + 1) * 1_000_000),
        ..Now::default()
    }
}

/// Whether it asks for a vote within ten T of silence.
fn asks_for_votes() -> bool {
    let mut group = learner();
    for ms in (0..10_000).step_by(20) {
        group.tick(at(ms));
        while let Some(ready) = group.ready(at(ms)) {
            group.persisted(ready.number);
        }
        let asks = |kind| {
            matches!(
                kind,
                MessageType::MsgRequestVote | MessageType::MsgRequestPreVote
            )
        };
        let messages = group.take_messages();
        if messages.iter().any(|e| asks(e.message.get_msg_type())) {
            return true;
        }
    }
    false
}

#[test]
fn a_learner_never_asks_for_votes() {
    assert!(!asks_for_votes());
}

#[cfg(feature = "mutations")]
#[test]
fn every_mutation_of_one_member_is_caught() {
    for mutation in holdfast::mutation::Mutation::ALONE {
        holdfast::mutation::set(Some(mutation));
        assert!(asks_for_votes(), "{mutation:?} is not noticed");
    }
    holdfast::mutation::set(None);
}
