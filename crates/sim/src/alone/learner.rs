//! A learner and its leader's silence (E2): it has no vote, and asks nobody for theirs; in a cluster
//! learners are rare and short-lived while witnesses can be had. A member that has lost log (D6): no
//! simulated disk loses what was synced.

use base::ids::{EntryId, GroupId, Incarnation, RaftId};
use raft::eraftpb::{ConfState, HardState, Message, MessageType};
use raft_group::{Group, GroupConfig, Membership, StepError, Window};
use std::time::Duration;
use storage::base::MemberKind;

use super::{at, envelope, quiet, T_MS};
use crate::machine::{guarded, install_panic_hook, Ended};

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
    let window = Window::new(
        EntryId { index: 1, term: 1 },
        hard_state,
        conf.clone(),
        Vec::new(),
        1,
        Vec::new(),
    );
    let config = GroupConfig {
        group: GroupId(7),
        incarnation: Incarnation(1),
        id: RaftId(4),
        kind: MemberKind::Data,
        membership: Membership::new(conf, Vec::new(), RaftId(4), 1),
        election_timeout: Duration::from_millis(T_MS),
        seed: 1,
        first: false,
        applied: 1,
        keep_bytes: 1 << 10,
    };
    Group::new(config, window, at(0), &quiet()).expect("a group over a sound window")
}

/// Whether it asks for a vote within ten T of silence.
pub fn asks_for_votes() -> bool {
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

/// What a heartbeat leads to whose commit index lies beyond the log's end: raft-rs would panic.
pub fn lost_log_is_noticed() -> bool {
    let heartbeat = Message {
        msg_type: MessageType::MsgHeartbeat,
        from: 1,
        to: 4,
        term: 3,
        commit: 9,
        ..Message::default()
    };
    install_panic_hook();
    let stepped = guarded(|| Ok::<_, String>(learner().step(at(1), envelope(7, heartbeat))));
    matches!(
        stepped,
        Ended::Fine(Err(StepError::LostLog {
            index: 9,
            last: 1,
            ..
        }))
    )
}

#[test]
fn who_has_lost_log_says_so() {
    assert!(lost_log_is_noticed());
}
