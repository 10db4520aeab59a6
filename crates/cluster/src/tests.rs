//! A node's way out of its shard, driven by hand.

mod introductions;
mod log_end;
mod shown;
mod states;
pub(crate) use introductions::{knowing, knowing_as, knowing_slots};

use super::*;
use crate::identity::{Joining, NodeIdentity};
use base::ids::{GroupId, RaftId};
use base::ShardId;
use shard::testing::{config, Played, OTHERS};
use shard::{Shard, ShardConfig, Sizes, SyncPolicy};
use storage::{Log, LogConfig, RealDisk, RealFolders};

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
        raft_id: RaftId(raft_id),
        node,
        kind,
    }
}

/// Member 5 of a group whose voters are these.
fn shard(folder: &std::path::Path, voters: &[u64]) -> Shard<RealDisk> {
    shard_with(folder, voters, &[])
}

fn shard_with(folder: &std::path::Path, voters: &[u64], learners: &[u64]) -> Shard<RealDisk> {
    let record = Record {
        epoch: 3,
        ..Record::founded(ShardId([9; 20]), node(1))
    };
    let mut base = bootstrap_base(GroupId(1), RaftId(5), record, 1000);
    base.snapshot.conf_state = ConfState {
        voters: voters.to_vec(),
        learners: learners.to_vec(),
        ..ConfState::default()
    };
    let ids = voters.iter().chain(learners);
    base.snapshot.members = ids.map(|id| member(*id, MemberKind::Data)).collect();
    open(folder, &base)
}

/// The member that is born of this base.
fn open(folder: &std::path::Path, base: &Base) -> Shard<RealDisk> {
    let config = ShardConfig {
        layout: keyspace::Layout::Cluster,
        limits: keyspace::Limits::default(),
        seed: 7,
        sync: SyncPolicy::Always,
        outcome_timeout: Duration::from_secs(5),
        tail_limit: 1 << 20,
        keep_bytes: 0,
        sizes: Sizes::default(),
        log: LogConfig {
            segment_size: 1 << 20,
            ..LogConfig::default()
        },
        first: true,
    };
    let disk = RealDisk::new(folder);
    Log::create(disk.clone(), config.log.clone(), base).expect("a log");
    let logger = slog::Logger::root(slog::Discard, slog::o!());
    Shard::open(disk, config, NOW, &logger).expect("a shard opens")
}

fn config_of(features: u32) -> ClusterConfig {
    ClusterConfig {
        options: ClusterOptions {
            bus: bus::Options::default(),
            witness: true,
            follows_slots: true,
            features,
            preferred: PreferredEndpoint::Ip,
            snapshot_rate: 0,
            requirepass: String::new(),
        },
        seed: 1,
        election_timeout_ms: 1000,
    }
}

pub(crate) fn cluster(identity: NodeIdentity) -> Cluster {
    let config = config_of(topology::features::ALL);
    Cluster::new(config, identity, node(5), None, NOW)
}

fn asks(cluster: &mut Cluster) -> Vec<(NodeId, Control)> {
    let frames = cluster
        .take_outputs()
        .into_iter()
        .filter_map(|output| match output {
            ClusterOutput::Frame { to, bytes, .. } => Some((to, bytes)),
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
        raft_id: RaftId(77),
    });
    let mut cluster = cluster(NodeIdentity {
        member: RaftId(5),
        joining,
        spare: None,
    });
    cluster.follow(NOW, &mut shard);
    let (group, raft_id) = (1, 5);
    let leave = Control::Leave {
        group: GroupId(group),
        raft_id: RaftId(raft_id),
    };
    assert_eq!(
        asks(&mut cluster),
        [(node(1), leave.clone()), (node(6), leave)]
    );
}

#[test]
fn who_has_begun_in_the_new_shard_does_not_leave_it_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut shard = shard(folder.path(), &[1]);
    let joining = Some(Joining {
        target: node(1),
        raft_id: RaftId(5),
    });
    let mut cluster = cluster(NodeIdentity {
        member: RaftId(5),
        joining,
        spare: None,
    });
    cluster.follow(NOW, &mut shard);
    let (group, raft_id) = (1, 5);
    assert_eq!(
        asks(&mut cluster),
        [(
            node(1),
            Control::Ready {
                group: GroupId(group),
                raft_id: RaftId(raft_id)
            }
        )]
    );
}

/// E4: without a leader nothing can make a learner lead, not even FORCE.
#[test]
fn a_learner_without_a_leader_is_told_that_it_has_no_vote() {
    let folder = tempfile::tempdir().expect("a folder");
    let identity = NodeIdentity {
        member: RaftId(5),
        ..NodeIdentity::default()
    };
    let mut cluster = cluster(identity);
    cluster.follow(NOW, &mut shard_with(folder.path(), &[1], &[5]));
    assert_eq!(cluster.ask_to_lead(), Err(OperatorRefusal::Learner));
    let folder = tempfile::tempdir().expect("a folder");
    cluster.follow(NOW, &mut shard(folder.path(), &[1, 5, 6]));
    assert_eq!(cluster.ask_to_lead(), Ok(()));
}

/// C1: a node that the leader's bus does not know gets no base, and is told why.
#[test]
fn a_leader_takes_in_no_unknown_node() {
    let mut played = Played::leading(config());
    played.beats(&OTHERS, 100);
    let mut cluster = cluster(IDENTITY);
    let now = played.now();
    cluster.follow(now, &mut played.shard);
    cluster.take_outputs();
    let (group, raft_id) = (played.shard.identity().group, RaftId(99));
    for control in [Control::Join { raft_id }, Control::Ready { group, raft_id }] {
        for proved in [false, true] {
            let taken = cluster.frame(now, node(7), proved, &control.encode(), &mut played.shard);
            assert!(matches!(taken, Ok(Ok(()))), "{taken:?}");
            assert_eq!(
                asks(&mut cluster),
                [(node(7), Control::Unknown { raft_id })]
            );
        }
    }
}

/// C1: whether a joiner gives up when a node has told it for 100 s that it does not know it.
fn gives_up(from: u8, proved: bool, about: Option<RaftId>) -> bool {
    let folder = tempfile::tempdir().expect("a folder");
    let mut shard = shard(folder.path(), &[1]);
    let joining = Some(Joining {
        target: node(1),
        raft_id: RaftId(5),
    });
    let mut cluster = cluster(NodeIdentity {
        joining,
        ..IDENTITY
    });
    let begins = (0..100).any(|second| {
        let now = Now {
            mono: NOW.mono + Duration::from_secs(second),
            ..NOW
        };
        // It asks under another id now and then.
        let asks_under = cluster
            .identity()
            .joining
            .map_or(RaftId(0), |mark| mark.raft_id);
        let raft_id = about.unwrap_or(asks_under);
        let unknown = Control::Unknown { raft_id }.encode();
        let taken = cluster.frame(now, node(from), proved, &unknown, &mut shard);
        assert!(matches!(taken, Ok(Ok(()))), "{taken:?}");
        cluster.follow(now, &mut shard);
        let mut outputs = cluster.take_outputs().into_iter();
        outputs.any(|output| matches!(output, ClusterOutput::Begin { identity, .. } if identity.joining.is_none()))
    });
    assert_eq!(begins, cluster.is_beginning());
    begins
}

#[test]
fn only_its_shard_tells_a_joiner_of_forget() {
    assert!(gives_up(1, true, None));
    assert!(!gives_up(1, false, None), "it is not proved");
    assert!(!gives_up(9, true, None), "of a node of no shard");
    assert!(!gives_up(1, true, Some(RaftId(6))), "about another id");
}

// ---- G2: what counts only when it is proved ---------------------------------------------------

pub(crate) const IDENTITY: NodeIdentity = NodeIdentity {
    member: RaftId(5),
    joining: None,
    spare: None,
};

fn left() -> Control {
    let (group, raft_id) = (1, 5);
    Control::Left {
        group: GroupId(group),
        raft_id: RaftId(raft_id),
    }
}

fn not_a_member() -> Control {
    Control::NotAMember {
        group: GroupId(1),
        raft_id: RaftId(5),
        applied: 1 << 40,
    }
}

fn stored() -> Control {
    Control::Stored {
        group: GroupId(1),
        raft_id: RaftId(5),
        index: 1 << 40,
    }
}

/// Whether a control message ends member 5: it is removed, or has lost its log.
fn ends(
    cluster: &mut Cluster,
    shard: &mut Shard<RealDisk>,
    from: u8,
    proved: bool,
    control: &Control,
) -> bool {
    let taken = cluster.frame(NOW, node(from), proved, &control.encode(), shard);
    taken.is_err() || shard.is_removed()
}

#[test]
fn what_is_not_proved_ends_no_member() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut shard = shard(folder.path(), &[1, 5, 6]);
    let mut cluster = cluster(IDENTITY);
    cluster.follow(NOW, &mut shard);
    for control in [left(), not_a_member(), stored()] {
        assert!(!ends(&mut cluster, &mut shard, 1, false, &control));
        // Of a node that the list does not name.
        assert!(!ends(&mut cluster, &mut shard, 9, true, &control));
    }
    // It has not asked to leave.
    assert!(!ends(&mut cluster, &mut shard, 1, true, &left()));
    // It has acknowledged nothing beyond its log's end.
    let fine = Control::Stored {
        group: GroupId(1),
        raft_id: RaftId(5),
        index: 1,
    };
    assert!(!ends(&mut cluster, &mut shard, 1, true, &fine));
    assert!(ends(&mut cluster, &mut shard, 1, true, &stored()), "D6");
    assert!(ends(&mut cluster, &mut shard, 1, true, &not_a_member()));
}

#[test]
fn who_asked_to_leave_believes_its_leader() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut shard = shard(folder.path(), &[1, 5, 6]);
    let mut cluster = cluster(IDENTITY);
    cluster.follow(NOW, &mut shard);
    assert_eq!(cluster.reset(NOW, false, None), Ok(Some(1)));
    assert!(!ends(&mut cluster, &mut shard, 1, false, &left()));
    assert!(ends(&mut cluster, &mut shard, 1, true, &left()));
}

#[test]
fn an_only_voter_yields_to_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut shard = shard_with(folder.path(), &[5], &[1]);
    let mut cluster = cluster(IDENTITY);
    cluster.follow(NOW, &mut shard);
    assert_eq!(cluster.reset(NOW, false, None), Ok(Some(1)));
    for control in [left(), not_a_member(), stored()] {
        assert!(!ends(&mut cluster, &mut shard, 1, true, &control));
    }
    let beat = control::encode_envelope(&heartbeat(1000));
    let taken = cluster.frame(NOW, node(1), true, &beat, &mut shard);
    assert!(taken.is_ok(), "D6: {taken:?}");
}

fn heartbeat(commit: u64) -> Envelope {
    let mut message = raft::eraftpb::Message {
        from: 1,
        to: 5,
        term: 3,
        commit,
        ..Default::default()
    };
    message.set_msg_type(raft::eraftpb::MessageType::MsgHeartbeat);
    Envelope {
        group: GroupId(1),
        incarnation: Incarnation(1),
        from: RaftId(1),
        to: RaftId(5),
        lease_epoch: raft_group::LeaseEpoch {
            term: 3,
            transfers: 0,
        },
        sent_ns: 1,
        applied: 1,
        has_room: true,
        loaded: true,
        message,
    }
}

/// D6: a Raft message that proves nothing of its sender is not stepped.
#[test]
fn a_heartbeat_beyond_the_log_counts_only_proved() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut shard = shard(folder.path(), &[1, 5, 6]);
    let mut cluster = cluster(IDENTITY);
    cluster.follow(NOW, &mut shard);
    cluster.take_outputs();
    let beat = control::encode_envelope(&heartbeat(1000));
    for _ in 0..2 {
        let taken = cluster.frame(NOW, node(1), false, &beat, &mut shard);
        assert!(taken.is_ok(), "{taken:?}");
    }
    let taken = cluster.frame(NOW, node(1), true, &beat, &mut shard);
    assert!(taken.is_err(), "{taken:?}");
}

/// C1: RESET without a leader's answer changes nothing; with it there is time for the removal.
#[test]
fn a_reset_waits_for_the_leaders_answer_first() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut shard = shard(folder.path(), &[1, 5, 6]);
    let mut cluster = cluster(IDENTITY);
    let at = |ms: u64| Now {
        mono: NOW.mono + Duration::from_millis(ms),
        ..NOW
    };
    cluster.follow(NOW, &mut shard);
    assert_eq!(cluster.reset(NOW, false, None), Ok(Some(1)));
    cluster.follow(at(1000), &mut shard);
    let waits = Some(1);
    assert_eq!(
        cluster.reset(at(1000), false, waits),
        Err(OperatorRefusal::NoAnswer)
    );
    assert!(!cluster.membership.is_leaving());
    // What became of it is no answer to another one.
    assert_eq!(cluster.reset(at(1001), false, None), Ok(Some(2)));
    cluster.follow(at(1001), &mut shard);
    cluster.take_outputs();
    let (group, raft_id, said) = (1, 5, control::Said::Leave);
    let really = Control::Really {
        said,
        group: GroupId(group),
        raft_id: RaftId(raft_id),
    };
    let taken = cluster.frame(at(1002), node(1), false, &really.encode(), &mut shard);
    assert!(taken.is_ok());
    let outputs = cluster.take_outputs();
    let confirm = Control::Confirm {
        said,
        group: GroupId(group),
        raft_id: RaftId(raft_id),
    };
    let answered = |output: &ClusterOutput| {
        matches!(output, ClusterOutput::Frame { to, back: true, bytes, .. }
            if *to == node(1) && *bytes == confirm.encode())
    };
    assert!(outputs.iter().any(answered), "{outputs:?}");
    cluster.follow(at(11_000), &mut shard);
    let waits = Some(2);
    assert_eq!(cluster.reset(at(11_000), false, waits), Ok(waits));
    cluster.follow(at(12_001), &mut shard);
    let removed = cluster.reset(at(12_001), false, waits);
    assert_eq!(removed, Err(OperatorRefusal::NotRemoved));
}

/// W3: the reset waits until all witnesses have left: with those that come meanwhile it would wait for ever.
#[test]
fn reset_on_its_way_declines_witnesses() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut shard = shard(folder.path(), &[1, 5, 6]);
    let mut cluster = cluster(IDENTITY);
    cluster.follow(NOW, &mut shard);
    let mut base = shard.base().clone();
    base.identity.group = GroupId(2);
    let invite = Control::Invite {
        base: Box::new(base),
    };
    let mut hosts = |cluster: &mut Cluster| {
        cluster.take_outputs();
        let taken = cluster.frame(NOW, node(6), true, &invite.encode(), &mut shard);
        assert!(matches!(taken, Ok(Ok(()))), "{taken:?}");
        let outputs = cluster.take_outputs();
        let declined = Control::Declined { group: GroupId(2) }.encode();
        let declines = |output: &ClusterOutput| {
            matches!(output, ClusterOutput::Frame { to, back: true, bytes, .. }
                if *to == node(6) && *bytes == declined)
        };
        let asks = |output: &ClusterOutput| matches!(output, ClusterOutput::Witness(_));
        let (asks, declines) = (outputs.iter().any(asks), outputs.iter().any(declines));
        assert!(asks != declines, "{outputs:?}");
        asks
    };
    assert!(hosts(&mut cluster));
    assert_eq!(cluster.reset(NOW, false, None), Ok(Some(1)));
    assert!(!hosts(&mut cluster));
}

/// C1: a REPLICATE that was answered OK is not undone by the reset that it has replaced: the command
/// that waits for that one asks again.
#[test]
fn a_replaced_reset_begins_no_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut shard = shard(folder.path(), &[1, 5, 6]);
    let mut cluster = cluster(IDENTITY);
    cluster.follow(NOW, &mut shard);
    assert_eq!(cluster.reset(NOW, false, None), Ok(Some(1)));
    let identity = cluster.identity_to_replicate(node(8)).expect("it may");
    cluster.replicate(identity.expect("another shard"));
    let again = cluster.reset(NOW, false, Some(1));
    assert_eq!(again, Err(OperatorRefusal::Replaced));
    assert_eq!(cluster.identity(), identity.expect("another shard"));
}

/// C1: the bus forgets the others, and the old epoch, when the new member is on disk and not before: a
/// crash in between leaves a node that knows its shard. Then it is fresh, and not reset once more.
#[test]
fn a_reset_shows_nothing_of_the_old_shard() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut shard = shard(folder.path(), &[1, 5, 6]);
    let mut cluster = cluster(IDENTITY);
    cluster.follow(NOW, &mut shard);
    let (old, epoch) = (cluster.myself(), cluster.bus.current_epoch());
    assert_ne!(epoch, 0);
    assert_eq!(cluster.reset(NOW, true, None), Ok(Some(1)));
    assert!(ends(&mut cluster, &mut shard, 1, true, &left()));
    cluster.take_outputs();
    cluster.follow(NOW, &mut shard);
    let base = cluster
        .take_outputs()
        .into_iter()
        .find_map(|output| match output {
            ClusterOutput::Begin { base, .. } => Some(base),
            _ => None,
        });
    let base = base.expect("it begins");
    cluster.follow(NOW, &mut shard);
    assert_eq!(
        (cluster.myself(), cluster.bus.current_epoch()),
        (old, epoch)
    );
    let waits = Some(1);
    assert_eq!(
        cluster.reset(NOW, true, waits),
        Err(OperatorRefusal::Begins)
    );

    let folder = tempfile::tempdir().expect("a folder");
    let mut fresh = open(folder.path(), &base);
    cluster.begun(&fresh);
    cluster.follow(NOW, &mut fresh);
    assert_eq!(cluster.bus.current_epoch(), 0);
    let me = cluster.bus.node(cluster.myself()).expect("itself");
    assert!(
        me.flags.has(cluster_bus::wire::Flags::MASTER) && me.id == base.snapshot.members[0].node
    );
    assert_eq!(cluster.reset(NOW, true, waits), Ok(None));
}

#[cfg(feature = "mutations")]
mod mutated {
    use super::*;
    use base::mutation::{self, Mutation};

    fn ended(mutation: Option<Mutation>, voters: &[u64], learners: &[u64], proved: bool) -> bool {
        let folder = tempfile::tempdir().expect("a folder");
        let mut shard = shard_with(folder.path(), voters, learners);
        let mut cluster = cluster(IDENTITY);
        cluster.follow(NOW, &mut shard);
        mutation::set(mutation);
        let ended = ends(&mut cluster, &mut shard, 1, proved, &not_a_member());
        mutation::set(None);
        ended
    }

    #[test]
    fn a_forged_word_that_is_believed_is_caught() {
        assert!(ended(Some(Mutation::ForgedLeft), &[1, 5, 6], &[], false));
        assert!(!ended(None, &[1, 5, 6], &[], false));
    }

    #[test]
    fn an_only_voter_that_yields_is_caught() {
        assert!(ended(Some(Mutation::OnlyVoterYields), &[5], &[1], true));
        assert!(!ended(None, &[5], &[1], true));
    }
}

// ---- the host of witnesses --------------------------------------------------------------------

fn invite(host: &mut witnesses::Witnesses<RealFolders>, proved: bool, base: Base) {
    let control = Control::Invite {
        base: Box::new(base),
    };
    let order = ForWitnesses::Frame {
        from: node(1),
        proved,
        frame: control::Frame::Control(control),
    };
    hand(host, order);
}

struct Still;

impl base::clock::Clock for Still {
    fn now(&self) -> Now {
        NOW
    }
}

fn hand(host: &mut witnesses::Witnesses<RealFolders>, order: ForWitnesses) {
    let mut order = Some(order);
    while host.step(&Still, &mut || order.take()) {}
}

/// G2: an invitation that fails leaves no folder, and none that is not proved makes one.
#[test]
fn a_failed_invitation_leaves_nothing_behind() {
    use storage::Disk;
    let folder = tempfile::tempdir().expect("a folder");
    let shelf = RealFolders::new(folder.path());
    let logger = slog::Logger::root(slog::Discard, slog::o!());
    let log = LogConfig {
        segment_size: 1 << 20,
        ..LogConfig::default()
    };
    let host = witnesses::Witnesses::open(shelf, log, 1, NOW, logger);
    let mut host = host.expect("an empty folder");
    let nodes = vec![node(1)];
    hand(&mut host, ForWitnesses::Cluster { share: 9, nodes });
    let good = |group| {
        let mut base = bootstrap_base(
            group,
            RaftId(1),
            Record::founded(ShardId([9; 20]), node(1)),
            1000,
        );
        base.identity.kind = MemberKind::Witness;
        (base.snapshot.index, base.snapshot.term) = (10, 2);
        base
    };
    let folders = || RealDisk::new(folder.path()).list().expect("a folder").len();
    invite(&mut host, false, good(GroupId(2)));
    assert_eq!((host.len(), folders()), (0, 0), "not proved");
    let breaks: [fn(&mut Base); 5] = [
        |base| base.identity.election_timeout_ms = u64::MAX,
        |base| base.identity.election_timeout_ms = 0,
        |base| base.snapshot.conf_state = ConfState::default(),
        |base| base.snapshot.index = u64::MAX,
        |base| base.snapshot.record = vec![1, 2, 3],
    ];
    for (change, group) in breaks.into_iter().zip(3..) {
        let mut base = good(GroupId(group));
        change(&mut base);
        invite(&mut host, true, base);
        assert_eq!(host.len(), folders(), "group {group}");
    }
    let before = host.len();
    invite(&mut host, true, good(GroupId(8)));
    assert_eq!((host.len(), folders()), (before + 1, before + 1));
}

/// C1: whether *Left* is said to a member that this leader has never heard of; `acks`: others
/// confirm meanwhile that it still leads. Five seconds lie between the turn's look at the clock and
/// the question.
fn says_left(acks: bool) -> bool {
    let mut played = Played::leading(config());
    played.beats(&OTHERS, 100);
    let mut cluster = cluster(IDENTITY);
    let stale = played.now();
    cluster.follow(stale, &mut played.shard);
    let left = Control::Left {
        group: GroupId(1),
        raft_id: RaftId(99),
    };
    let leave = Control::Leave {
        group: GroupId(1),
        raft_id: RaftId(99),
    };
    let taken = cluster.frame(stale, node(1), false, &leave.encode(), &mut played.shard);
    assert!(matches!(taken, Ok(Ok(()))));
    cluster.follow(stale, &mut played.shard);
    if acks {
        played.beats(&OTHERS, 200);
    } else {
        played.pass(5_000);
    }
    let now = played.now();
    cluster.follow(now, &mut played.shard);
    asks(&mut cluster).contains(&(node(1), left))
}

#[test]
fn left_is_said_only_by_a_confirmed_leader() {
    assert!(says_left(true));
    assert!(!says_left(false));
}

/// Whether a node that has asked to be a member is added, when it is forgotten before its turn has come.
fn adds_a_joiner(forgotten: bool) -> bool {
    let mut played = Played::leading(config());
    played.beats(&OTHERS, 100);
    let mut cluster = cluster(IDENTITY);
    cluster.follow(played.now(), &mut played.shard);
    played.shard.request_join(member(99, MemberKind::Data));
    if forgotten {
        cluster.removals.forget(node(99));
    }
    cluster.follow(played.now(), &mut played.shard);
    played.beats(&OTHERS, 200);
    let group = played.shard.group();
    group.has_pending_change() || group.membership().contains(RaftId(99))
}

#[test]
fn forget_withdraws_a_join_that_waits() {
    assert!(adds_a_joiner(false));
    assert!(!adds_a_joiner(true));
}

#[cfg(feature = "mutations")]
#[test]
fn left_on_a_stale_clock_is_caught() {
    use base::mutation::{self, Mutation};
    mutation::set(Some(Mutation::LeftOnAStaleClock));
    let said = says_left(false);
    mutation::set(None);
    assert!(said, "the mutation changes nothing");
}
