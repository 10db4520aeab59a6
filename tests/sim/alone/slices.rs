//! T9: what commits at once is not applied at once. The simulator's time does not pass while code
//! runs, so a turn that takes long shows nothing there.

use holdfast::raft::{Envelope, Reign};
use holdfast::storage::{base, Base};
use raft::eraftpb::{ConfState, Entry, Message, MessageType};

use super::{at, shard, T_MS};

const ENTRIES: u64 = 5_000;

/// The follower 5 of the leader 1 gets many entries and their commit in one message.
pub fn what_commits_at_once_is_applied_in_slices() -> bool {
    let base = Base {
        group: 1,
        incarnation: 1,
        raft_id: 5,
        kind: base::MemberKind::Data,
        index: 1,
        term: 1,
        conf_state: ConfState::from((vec![1, 5, 6], vec![])),
        election_timeout_ms: T_MS,
        ..Base::default()
    };
    let mut shard = shard(&base);
    let entry = |index| Entry {
        index,
        term: 2,
        ..Entry::default()
    };
    let message = Message {
        msg_type: MessageType::MsgAppend,
        from: 1,
        to: 5,
        term: 2,
        index: 1,
        log_term: 1,
        commit: ENTRIES,
        entries: (2..=ENTRIES).map(entry).collect::<Vec<_>>().into(),
        ..Message::default()
    };
    let envelope = Envelope {
        group: 1,
        incarnation: 1,
        from: 1,
        to: 5,
        message,
        reign: Reign {
            term: 2,
            transfers: 0,
        },
        sent_ns: 1,
        applied: 1,
    };
    shard.step(at(1), envelope).expect("a leader's append");
    let (mut slices, mut before) = (0, shard.group().applied());
    for ms in 2..100 {
        shard.begin(at(ms)).expect("a turn begins");
        for job in shard.take_output().jobs {
            if let Some(done) = job.run() {
                shard.job_done(at(ms), done).expect("a sound disk");
            }
        }
        let applied = shard.group().applied();
        slices += u32::from(applied > before);
        before = applied;
    }
    assert_eq!(before, ENTRIES, "it has not applied everything");
    slices > 1
}

#[test]
fn a_follower_far_behind_applies_in_slices() {
    assert!(what_commits_at_once_is_applied_in_slices());
}
