//! A node's way out of its shard, driven by hand.

use super::*;
use crate::agent::seat::Seat;
use crate::shard::tests::played::{config, Played, OTHERS};
use crate::shard::{Shard, ShardConfig, SyncPolicy};
use crate::storage::{Log, LogConfig, RealDisk};

const NOW: Now = Now {
    mono: Mono(1_000_000_000),
    unix_ms: 1,
    asleep_ms: 0,
};

fn node(n: u8) -> NodeId {
    NodeId([n; 20])
}

fn member(raft_id: u64, kind: MemberKind) -> Member {
    let node = node(raft_id as u8);
    Member {
        raft_id,
        node,
        kind,
    }
}

/// Member 5 of a group whose voters are these.
fn shard(folder: &std::path::Path, voters: &[u64]) -> Shard<RealDisk> {
    shard_with(folder, voters, &[])
}

fn shard_with(folder: &std::path::Path, voters: &[u64], learners: &[u64]) -> Shard<RealDisk> {
    let config = ShardConfig {
        layout: crate::keyspace::Layout::Cluster,
        seed: 7,
        sync: SyncPolicy::Always,
        outcome_timeout: Duration::from_secs(5),
        tail_limit: 1 << 20,
        keep_bytes: 0,
        log: LogConfig {
            segment_size: 1 << 20,
            ..LogConfig::default()
        },
        first: true,
    };
    let base = Base {
        conf_state: ConfState {
            voters: voters.to_vec(),
            learners: learners.to_vec(),
            ..ConfState::default()
        },
        members: voters
            .iter()
            .chain(learners)
            .map(|id| member(*id, MemberKind::Data))
            .collect(),
        ..birth(1, 5, Record::founded(node(9), node(1)), 1000)
    };
    let disk = RealDisk::new(folder);
    Log::create(disk.clone(), config.log.clone(), &base).expect("a log");
    let logger = slog::Logger::root(slog::Discard, slog::o!());
    Shard::open(disk, config, NOW, &logger).expect("a shard opens")
}

fn agent(seat: Seat) -> Agent {
    let config = AgentConfig {
        bus: bus::Options::default(),
        seed: 1,
        election_timeout_ms: 1000,
        witness: true,
    };
    Agent::new(config, seat, node(5), None, NOW)
}

fn asks(agent: &mut Agent) -> Vec<(NodeId, Control)> {
    let frames = agent.take_acts().into_iter().filter_map(|act| match act {
        Act::Frame { to, bytes, .. } => Some((to, bytes)),
        _ => None,
    });
    frames
        .map(|(to, bytes)| match control::Frame::decode(&bytes) {
            Ok(control::Frame::Control(control)) => (to, control),
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn a_restart_does_not_forget_that_the_old_shard_is_to_be_left() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut shard = shard(folder.path(), &[1, 5, 6]);
    let joining = Some(Joining {
        target: node(3),
        raft_id: 77,
    });
    let mut agent = agent(Seat {
        member: 5,
        joining,
        spare: None,
    });
    agent.follow(NOW, &mut shard);
    let (group, raft_id) = (1, 5);
    let leave = Control::Leave { group, raft_id };
    assert_eq!(
        asks(&mut agent),
        [(node(1), leave.clone()), (node(6), leave)]
    );
}

#[test]
fn who_has_begun_in_the_new_shard_does_not_leave_it_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut shard = shard(folder.path(), &[1]);
    let joining = Some(Joining {
        target: node(1),
        raft_id: 5,
    });
    let mut agent = agent(Seat {
        member: 5,
        joining,
        spare: None,
    });
    agent.follow(NOW, &mut shard);
    let (group, raft_id) = (1, 5);
    assert_eq!(
        asks(&mut agent),
        [(node(1), Control::Ready { group, raft_id })]
    );
}

/// E4: without a leader nothing can make a learner lead, not even FORCE.
#[test]
fn a_learner_without_a_leader_is_told_that_it_has_no_vote() {
    let folder = tempfile::tempdir().expect("a folder");
    let seat = Seat {
        member: 5,
        ..Seat::default()
    };
    let mut agent = agent(seat);
    agent.follow(NOW, &mut shard_with(folder.path(), &[1], &[5]));
    assert_eq!(agent.ask_to_lead(), Err(Refusal::Learner));
    let folder = tempfile::tempdir().expect("a folder");
    agent.follow(NOW, &mut shard(folder.path(), &[1, 5, 6]));
    assert_eq!(agent.ask_to_lead(), Ok(()));
}

#[test]
fn a_claim_that_was_given_up_long_ago_takes_nothing() {
    let mut agent = agent(Seat::default());
    agent.claims.push(Claimed {
        by: node(2),
        epoch: 10,
        slots: [5].into_iter().collect(),
        at: NOW.mono,
    });
    agent.forget_old_claims();
    assert_eq!(agent.claims.len(), 1);
    agent.now.mono = NOW.mono + Duration::from_secs(3600);
    agent.forget_old_claims();
    assert!(agent.claims.is_empty());
}

/// C1: whether *Left* is said to a member that this leader has never heard of; `echoes`: others
/// confirm meanwhile that it still leads. Five seconds lie between the turn's look at the clock and
/// the question.
fn says_left(echoes: bool) -> bool {
    let mut played = Played::leading(config());
    played.beats(&OTHERS, 100);
    let mut agent = agent(Seat {
        member: 5,
        joining: None,
    });
    let stale = played.now();
    agent.follow(stale, &mut played.shard);
    let left = Control::Left {
        group: 1,
        raft_id: 99,
    };
    let leave = Control::Leave {
        group: 1,
        raft_id: 99,
    };
    let taken = agent.frame(stale, node(1), &leave.encode(), &mut played.shard);
    assert!(matches!(taken, Ok(Ok(()))));
    agent.follow(stale, &mut played.shard);
    if echoes {
        played.beats(&OTHERS, 200);
    } else {
        played.pass(5_000);
    }
    let now = played.now();
    agent.follow(now, &mut played.shard);
    asks(&mut agent).contains(&(node(1), left))
}

#[test]
fn left_is_said_only_by_a_confirmed_leader() {
    assert!(says_left(true));
    assert!(!says_left(false));
}

#[cfg(feature = "mutations")]
#[test]
fn left_on_a_stale_clock_is_caught() {
    use crate::mutation::{self, Mutation};
    mutation::set(Some(Mutation::LeftOnAStaleClock));
    let said = says_left(false);
    mutation::set(None);
    assert!(said, "the mutation changes nothing");
}
