//! The decisions of [`super`] in tables.

use super::*;
use base::ids::RaftId;
use cluster_bus::NodeId;
use raft::eraftpb::ConfState;

fn member(raft_id: u64, kind: MemberKind) -> Member {
    Member {
        raft_id: RaftId(raft_id),
        node: NodeId([raft_id as u8; 20]),
        kind,
    }
}

fn data(id: u64) -> Member {
    member(id, MemberKind::Data)
}

fn witness(id: u64) -> Member {
    member(id, MemberKind::Witness)
}

fn group(voters: &[Member], learners: &[Member]) -> Membership {
    let ids = |list: &[Member]| list.iter().map(|m| m.raft_id.0).collect::<Vec<_>>();
    let conf = ConfState::from((ids(voters), ids(learners)));
    Membership::new(conf, [voters, learners].concat(), RaftId(1), 1)
}

fn near(_: RaftId) -> Option<Progress> {
    Some(Progress {
        matched: 10,
        behind: 0,
        heard: Some(Duration::ZERO),
        caught_up: true,
        syncs: true,
        has_room: true,
        loaded: true,
        failed: false,
    })
}

fn steps(plan: Plan) -> Vec<(raft::eraftpb::ConfChangeType, u64)> {
    match plan {
        Plan::Propose(change) => {
            let steps = change.steps.into_iter();
            steps.map(|(kind, id)| (kind, id.0)).collect()
        }
        other => panic!("{other:?}"),
    }
}

/// The leader 1 of the voters 1, 2, 3 and the witness 9, a minute ago sound: how it does, how
/// the others do, which of them takes over.
#[test]
fn a_leader_in_trouble_is_relieved_by_a_better_one() {
    let ms = |ms| Some(Duration::from_millis(ms));
    let sound = near(RaftId(0)).expect("some");
    let (hung, full) = (
        Condition {
            sync_for: ms(1_000),
            ..Condition::default()
        },
        Condition {
            full_for: ms(1_000),
            ..Condition::default()
        },
    );
    let soon = Condition {
        sync_for: ms(999),
        full_for: ms(999),
        loads: false,
    };
    let loads = Condition {
        loads: true,
        ..Condition::default()
    };
    let ahead = Progress {
        matched: 11,
        ..sound
    };
    let unfit = |change: fn(&mut Progress)| {
        let mut p = ahead;
        change(&mut p);
        p
    };
    let silent = unfit(|p| p.heard = Some(Duration::from_secs(2)));
    let table = [
        ("a sound disk", Condition::default(), sound, ahead, None),
        ("not for T yet", soon, sound, ahead, None),
        ("a hung disk", hung, sound, ahead, Some(3)),
        ("a full disk", full, sound, ahead, Some(3)),
        ("it is being loaded", loads, sound, ahead, Some(3)),
        (
            "3 is being loaded",
            hung,
            sound,
            unfit(|p| p.loaded = false),
            Some(2),
        ),
        ("3 is silent", hung, sound, silent, Some(2)),
        (
            "3 does not sync",
            hung,
            sound,
            unfit(|p| p.syncs = false),
            Some(2),
        ),
        (
            "3 has no room",
            full,
            sound,
            unfit(|p| p.has_room = false),
            Some(2),
        ),
        (
            "3 was asked in vain",
            hung,
            sound,
            unfit(|p| p.failed = true),
            Some(2),
        ),
        (
            "nobody is better off",
            hung,
            silent,
            unfit(|p| p.failed = true),
            None,
        ),
    ];
    let members = group(&[data(1), data(2), data(3), witness(9)], &[data(4)]);
    for (what, disk, second, third, expected) in table {
        let of = |id: RaftId| match id.0 {
            2 => Some(second),
            3 => Some(third),
            _ => near(id),
        };
        let t = Duration::from_secs(1);
        assert_eq!(
            relief(RaftId(1), t, disk, &members, &of),
            expected.map(RaftId),
            "{what}"
        );
    }
}

#[test]
fn a_joiner_becomes_a_learner_first() {
    let requests = MembershipRequests {
        joins: vec![data(2)],
        ..MembershipRequests::default()
    };
    let next = plan(
        RaftId(1),
        MemberKind::Data,
        &group(&[data(1)], &[]),
        &requests,
        &near,
    );
    assert_eq!(steps(next), [(AddLearnerNode, 2)]);
}

#[test]
fn an_even_number_waits_for_a_witness() {
    let members = group(&[data(1)], &[data(2)]);
    assert_eq!(
        plan(
            RaftId(1),
            MemberKind::Data,
            &members,
            &MembershipRequests::default(),
            &near
        ),
        Plan::Invite
    );
    let requests = MembershipRequests {
        witnesses: vec![witness(9)],
        ..MembershipRequests::default()
    };
    let next = plan(RaftId(1), MemberKind::Data, &members, &requests, &near);
    assert_eq!(steps(next), [(AddNode, 2), (AddNode, 9)]);
}

#[test]
fn a_third_data_member_replaces_the_witness() {
    let members = group(&[data(1), data(2), witness(9)], &[data(3)]);
    let next = plan(
        RaftId(1),
        MemberKind::Data,
        &members,
        &MembershipRequests::default(),
        &near,
    );
    assert_eq!(steps(next), [(AddNode, 3), (RemoveNode, 9)]);
}

#[test]
fn a_witness_beside_a_data_member_does_not_count() {
    let mut beside = witness(9);
    beside.node = data(2).node;
    let members = group(&[data(1), data(2), beside], &[]);
    let next = |requests: &MembershipRequests| {
        plan(RaftId(1), MemberKind::Data, &members, requests, &near)
    };
    assert_eq!(
        next(&MembershipRequests::default()),
        Plan::Hold { invite: true }
    );
    let requests = MembershipRequests {
        witnesses: vec![witness(10)],
        ..MembershipRequests::default()
    };
    assert_eq!(steps(next(&requests)), [(AddNode, 10), (RemoveNode, 9)]);
    assert_eq!(
        steps(next(&overdue(&[], &[]))),
        [(AddLearnerNode, 2), (RemoveNode, 9)]
    );
}

fn overdue(leaves: &[u64], lost: &[u64]) -> MembershipRequests {
    MembershipRequests {
        overdue: true,
        ..going(leaves, lost)
    }
}

fn going(leaves: &[u64], lost: &[u64]) -> MembershipRequests {
    MembershipRequests {
        leaves: leaves.iter().copied().map(RaftId).collect(),
        lost: lost.iter().copied().map(RaftId).collect(),
        ..MembershipRequests::default()
    }
}

fn with_host(requests: MembershipRequests) -> MembershipRequests {
    MembershipRequests {
        witnesses: vec![witness(10)],
        ..requests
    }
}

/// The plan of member 1, as steps or as a word.
fn next(members: &Membership, requests: &MembershipRequests) -> String {
    match plan(RaftId(1), MemberKind::Data, members, requests, &near) {
        Plan::Propose(change) => {
            let step = |(kind, RaftId(id)): &(raft::eraftpb::ConfChangeType, RaftId)| match kind {
                AddNode => format!("+{id}"),
                AddLearnerNode => format!("~{id}"),
                RemoveNode => format!("-{id}"),
            };
            let steps: Vec<String> = change.steps.iter().map(step).collect();
            steps.join(" ")
        }
        Plan::Hold { invite: true } => "hold, invite".to_owned(),
        Plan::Hold { invite: false } => "hold".to_owned(),
        other => format!("{other:?}"),
    }
}

/// G3: a member that leaves, or has lost its disk, is exchanged for a witness in one change; no healthy
/// voter loses its vote before the search for one has failed.
#[test]
fn votes_stay_until_a_witness_is_found() {
    let three = group(&[data(1), data(2), data(3)], &[]);
    let two = group(&[data(1), data(2), witness(9)], &[]);
    let five = group(&[data(1), data(2), data(3), data(4), data(5)], &[]);
    let near_four = group(&[data(1), data(2), data(3)], &[data(4)]);
    let no_hosts = |requests: MembershipRequests| MembershipRequests {
        no_hosts: true,
        ..requests
    };
    for (what, members, requests, wanted) in [
        (
            "one of three leaves",
            &three,
            going(&[3], &[]),
            "hold, invite",
        ),
        (
            "a host accepts",
            &three,
            with_host(going(&[3], &[])),
            "+10 -3",
        ),
        ("no host accepts", &three, overdue(&[3], &[]), "~2 -3"),
        (
            "there is no host",
            &three,
            no_hosts(going(&[3], &[])),
            "~2 -3",
        ),
        (
            "one of three is wiped",
            &three,
            going(&[], &[3]),
            "hold, invite",
        ),
        (
            "a host for its witness",
            &three,
            with_host(going(&[], &[3])),
            "+10 -3",
        ),
        ("neither it nor a host", &three, overdue(&[], &[3]), "~2 -3"),
        (
            "wiped, and no host",
            &three,
            no_hosts(going(&[], &[3])),
            "hold, invite",
        ),
        ("two of three leave", &three, going(&[2, 3], &[]), "-2 -3"),
        (
            "one leaves, one is wiped",
            &three,
            going(&[2], &[3]),
            "hold",
        ),
        ("one of two leaves", &two, going(&[2], &[]), "-2 -9"),
        ("one of two is wiped", &two, going(&[], &[2]), "hold"),
        ("it does not come back", &two, overdue(&[], &[2]), "-2 -9"),
        ("the witness leaves", &two, going(&[9], &[]), "hold, invite"),
        (
            "its successor accepts",
            &two,
            with_host(going(&[9], &[])),
            "+10 -9",
        ),
        ("it has no successor", &two, overdue(&[9], &[]), "~2 -9"),
        (
            "one of five leaves",
            &five,
            going(&[5], &[]),
            "hold, invite",
        ),
        ("no host for five", &five, overdue(&[5], &[]), "~4 -5"),
        ("two of five leave", &five, going(&[4, 5], &[]), "-4 -5"),
        ("a fourth waits", &near_four, going(&[], &[]), "Invite"),
        (
            "a fourth in place of one",
            &near_four,
            going(&[3], &[]),
            "+4 -3",
        ),
        (
            "a fourth in place of a wiped",
            &near_four,
            going(&[], &[2]),
            "+4 -2",
        ),
        (
            "the leader goes",
            &three,
            going(&[1], &[]),
            "Transfer(RaftId(3))",
        ),
        (
            "the leader and one more go",
            &three,
            going(&[1, 3], &[]),
            "Transfer(RaftId(2))",
        ),
    ] {
        assert_eq!(next(members, &requests), wanted, "{what}");
    }
}

/// A learner that was demoted once must not push out a voter that joined later.
#[test]
fn a_learner_takes_no_healthy_voters_place() {
    let mut members = group(&[data(1), data(3), data(4)], &[data(2)]);
    members.list.sort_by_key(|m| m.raft_id);
    assert_eq!(next(&members, &MembershipRequests::default()), "Invite");
}

#[test]
fn a_new_disk_in_place_of_a_lost_one() {
    let members = group(&[data(1), data(2), witness(9)], &[data(3)]);
    assert_eq!(next(&members, &going(&[], &[2])), "+3 -2");
}

#[cfg(feature = "mutations")]
#[test]
fn a_demotion_before_the_search_is_caught() {
    let three = group(&[data(1), data(2), data(3)], &[]);
    mutation::set(Some(Mutation::DemotionBeforeSearch));
    let mutated = next(&three, &going(&[3], &[]));
    mutation::set(None);
    assert_eq!(mutated, "~2 -3", "G3: an OK would rest on one disk");
    assert_eq!(next(&three, &going(&[3], &[])), "hold, invite");
}

#[test]
fn who_is_behind_stays_a_learner() {
    let members = group(&[data(1)], &[data(2)]);
    let far = |_| {
        Some(Progress {
            behind: 2 << 20,
            caught_up: false,
            ..near(RaftId(0)).expect("some")
        })
    };
    assert_eq!(
        plan(
            RaftId(1),
            MemberKind::Data,
            &members,
            &MembershipRequests::default(),
            &far
        ),
        Plan::Rest
    );
}

#[test]
fn a_leaving_voter_takes_the_witness_along() {
    let members = group(&[data(1), data(2), witness(9)], &[]);
    let requests = MembershipRequests {
        leaves: vec![RaftId(2)],
        ..MembershipRequests::default()
    };
    let next = plan(RaftId(1), MemberKind::Data, &members, &requests, &near);
    assert_eq!(steps(next), [(RemoveNode, 2), (RemoveNode, 9)]);
}

/// As `me` sees it: 2 becomes the only voter instead of 1.
fn swap(me: u64) -> Membership {
    let conf = ConfState {
        voters: vec![2],
        voters_outgoing: vec![1],
        learners_next: vec![1],
        ..ConfState::default()
    };
    Membership::new(conf, vec![data(1), data(2)], RaftId(me), 1)
}

#[test]
fn an_transferee_that_votes_by_now_is_handed_over_to() {
    let members = group(&[data(1), data(2), witness(9)], &[]);
    let requests = MembershipRequests {
        transferee: Some(RaftId(2)),
        ..MembershipRequests::default()
    };
    let next = |requests: &MembershipRequests, progress: &dyn Fn(RaftId) -> Option<Progress>| {
        plan(RaftId(1), MemberKind::Data, &members, requests, progress)
    };
    assert_eq!(next(&requests, &near), Plan::Transfer(RaftId(2)));
    // Not while it would stop the shard, and not when it is to go.
    assert_eq!(next(&requests, &|_| None), Plan::Rest);
    let leaves = MembershipRequests {
        leaves: vec![RaftId(2)],
        ..requests.clone()
    };
    assert_ne!(next(&leaves, &near), Plan::Transfer(RaftId(2)));
    // A learner beside voters has to wait until it is one.
    let members = group(&[data(1), data(3), data(4)], &[data(2)]);
    let next = plan(RaftId(1), MemberKind::Data, &members, &requests, &near);
    assert_eq!(next, Plan::Invite);
}

#[test]
fn an_transferee_becomes_the_only_voter_instead_of_its_leader() {
    let members = group(&[data(1)], &[data(2)]);
    assert_eq!(transferees(RaftId(1), &members, &near), [RaftId(2)]);
    let requests = MembershipRequests {
        transferee: Some(RaftId(2)),
        ..MembershipRequests::default()
    };
    let next = plan(RaftId(1), MemberKind::Data, &members, &requests, &near);
    assert_eq!(steps(next), [(AddNode, 2), (AddLearnerNode, 1)]);
    // In the joint state the leader of the outgoing half hands over to the incoming one.
    let joint = swap(1);
    let next = plan(RaftId(1), MemberKind::Data, &joint, &requests, &near);
    assert_eq!(next, Plan::Transfer(RaftId(2)));
    // The transferee of old is a learner now, and stays one.
    let swapped = group(&[data(2)], &[data(1)]);
    let next = plan(
        RaftId(2),
        MemberKind::Data,
        &swapped,
        &MembershipRequests::default(),
        &near,
    );
    assert_eq!(next, Plan::Invite);
}

/// A member that voted before the swap that is just ending would hand leadership back at once.
#[test]
fn the_leader_of_old_leads_again_only_after_another_swap() {
    let joint = swap(2);
    assert_eq!(
        transfer_kind(RaftId(2), RaftId(1), &joint),
        TransferKind::Swap
    );
    assert_eq!(
        successor(RaftId(2), &joint, &[data(1), data(2)], &near),
        None
    );
    let swapped = group(&[data(2)], &[data(1)]);
    assert_eq!(
        transfer_kind(RaftId(2), RaftId(1), &swapped),
        TransferKind::Swap
    );
    let whole = group(&[data(1), data(2), witness(9)], &[data(3)]);
    let ways = [1, 2, 3, 9, 7].map(|to| transfer_kind(RaftId(2), RaftId(to), &whole));
    assert_eq!(
        ways,
        [
            TransferKind::Transfer,
            TransferKind::None,
            TransferKind::None,
            TransferKind::None,
            TransferKind::None
        ]
    );
}

#[test]
fn a_group_with_another_voter_needs_no_transferee() {
    let members = group(&[data(1), data(2), witness(9)], &[data(3)]);
    assert_eq!(transferees(RaftId(1), &members, &near), []);
}

#[test]
fn a_leader_that_is_to_go_hands_over() {
    let members = group(&[data(1), data(2), witness(9)], &[]);
    let requests = MembershipRequests {
        leaves: vec![RaftId(1)],
        ..MembershipRequests::default()
    };
    assert_eq!(
        plan(RaftId(1), MemberKind::Data, &members, &requests, &near),
        Plan::Transfer(RaftId(2))
    );
}

#[test]
fn who_stays_ends_a_joint_state() {
    let mut members = group(&[data(1), data(2), data(3)], &[]);
    members.conf.voters_outgoing = vec![1];
    assert_eq!(
        steps(plan(
            RaftId(1),
            MemberKind::Data,
            &members,
            &MembershipRequests::default(),
            &near
        )),
        []
    );
    members.conf.voters = vec![2, 3];
    assert!(matches!(
        plan(
            RaftId(1),
            MemberKind::Data,
            &members,
            &MembershipRequests::default(),
            &near
        ),
        Plan::Transfer(_)
    ));
}

/// G4: the leader is not among the voters to come; a voter that stays ends the joint state.
#[cfg(feature = "mutations")]
#[test]
fn a_removal_proposed_by_oneself_is_caught() {
    let mut members = group(&[data(1), data(2), data(3)], &[]);
    members.conf.voters = vec![2, 3];
    members.conf.voters_outgoing = vec![1, 2, 3];
    let next = || {
        plan(
            RaftId(1),
            MemberKind::Data,
            &members,
            &going(&[], &[]),
            &near,
        )
    };
    mutation::set(Some(Mutation::OwnRemovalAsLeader));
    let mutated = next();
    mutation::set(None);
    assert!(matches!(mutated, Plan::Propose(_)), "{mutated:?}");
    assert!(
        matches!(next(), Plan::Transfer(RaftId(2 | 3))),
        "{:?}",
        next()
    );
}

/// W1: a witness leads only until a data member has all that it has.
#[test]
fn a_witness_that_leads_hands_over() {
    let members = group(&[data(1), data(2), witness(9)], &[]);
    let next = || {
        plan(
            RaftId(9),
            MemberKind::Witness,
            &members,
            &going(&[], &[]),
            &near,
        )
    };
    assert!(
        matches!(next(), Plan::Transfer(RaftId(1) | RaftId(2))),
        "{:?}",
        next()
    );
    #[cfg(feature = "mutations")]
    {
        mutation::set(Some(Mutation::WitnessLeadsOn));
        let mutated = next();
        mutation::set(None);
        assert_eq!(mutated, Plan::Rest);
    }
}
