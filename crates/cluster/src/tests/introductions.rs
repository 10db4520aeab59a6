//! What nodes say of themselves (M9), and which words of other shards are heard (M7).

use super::*;
use crate::migration::word::{Word, Words};
use control::{encode_words, Frame};
use state::Access;
use topology::features::SLOTS_MOVE;

/// Of member 5's group, and of two others.
const OWN: ShardId = ShardId([9; 20]);
const B: ShardId = ShardId([0xb; 20]);
pub(super) const C: ShardId = ShardId([0xc; 20]);

/// Knows node 5, itself, and node 7, which the bus shows in shard C.
pub(crate) fn knowing() -> Cluster {
    knowing_master(7)
}

/// The same, where another node is shard C's master.
pub(super) fn knowing_master(of_c: u8) -> Cluster {
    knowing_as(of_c, "master")
}

/// The same, with these flags.
pub(crate) fn knowing_as(of_c: u8, flags: &str) -> Cluster {
    knowing_epochs(flags, &[(of_c, of_c)])
}

/// The same, where it has these slots.
pub(crate) fn knowing_slots(flags: &str, slots: &str) -> Cluster {
    knowing_all(flags, &[(7, 7)], slots)
}

/// Several nodes of shard C that have these flags, with their epochs.
pub(super) fn knowing_epochs(flags: &str, of_c: &[(u8, u8)]) -> Cluster {
    knowing_all(flags, of_c, "")
}

fn knowing_all(flags: &str, of_c: &[(u8, u8)], slots: &str) -> Cluster {
    let line = |(n, epoch): (u8, u8), shard: ShardId, flags: &str, slots: &str| {
        let (id, port) = (node(n), 7000 + u16::from(n));
        format!(
            "{id} 127.0.0.1:{port}@1{port},,tls-port=0,shard-id={shard} {flags} - 0 0 {epoch} connected {slots}\n"
        )
    };
    let mut text = line((5, 5), OWN, "myself,master", "");
    text.extend(of_c.iter().map(|of| line(*of, C, flags, slots)));
    text += "vars currentEpoch 9 lastVoteEpoch 0\n";
    let conf = cluster_bus::nodes_conf::parse(&text).expect("a nodes.conf");
    Cluster::new(
        config_of(topology::features::ALL),
        IDENTITY,
        node(5),
        Some(&conf),
        NOW,
    )
}

fn words(from: ShardId) -> Vec<u8> {
    let words = vec![Word::AskMark { slot: 1 }];
    encode_words(&Words {
        from,
        to: OWN,
        words,
    })
}

fn introduction(shard: ShardId, features: u32, of_all: u32) -> Control {
    Control::Introduce(Introduction {
        shard,
        features,
        of_all,
    })
}

/// The shards to which node 7 was answered that this node leads nothing: it was heard.
fn heard(cluster: &mut Cluster, proved: bool, bytes: &[u8]) -> Vec<ShardId> {
    let folder = tempfile::tempdir().expect("a folder");
    let mut shard = shard(folder.path(), &[1, 5, 6]);
    cluster.take_outputs();
    let taken = cluster.frame(NOW, node(7), proved, bytes, &mut shard);
    assert!(matches!(taken, Ok(Ok(()))), "{taken:?}");
    let frames = cluster.take_outputs().into_iter();
    let answers = frames.filter_map(|output| match output {
        ClusterOutput::Frame { bytes, .. } => match Frame::decode(&bytes) {
            Ok(Frame::Words(words)) => Some(words.to),
            _ => None,
        },
        _ => None,
    });
    answers.collect()
}

/// A packet of the bus in node 7's name, which anybody can send, has put it into shard C.
#[test]
fn a_forged_packet_silences_no_speaker() {
    let mut cluster = knowing();
    assert_eq!(cluster.bus.shard_of(node(7)), Some(C));
    assert_eq!(heard(&mut cluster, true, &words(B)), [B]);
    assert!(heard(&mut cluster, false, &words(B)).is_empty());
    assert!(heard(&mut cluster, true, &words(OWN)).is_empty());
}

#[cfg(feature = "mutations")]
#[test]
fn a_speaker_that_the_bus_names_is_noticed() {
    base::mutation::set(Some(base::mutation::Mutation::BusNamesTheSpeaker));
    let answered = heard(&mut knowing(), true, &words(B));
    base::mutation::set(None);
    assert!(answered.is_empty(), "the test above expects an answer");
}

#[test]
fn a_node_stands_for_the_shard_it_names_itself() {
    let mut cluster = knowing();
    let said = |cluster: &mut Cluster| {
        let view = cluster.view();
        view.node(node(7)).and_then(|n| n.stands_for())
    };
    assert_eq!(said(&mut cluster), Some(C));
    let bytes = introduction(B, SLOTS_MOVE, 0).encode();
    heard(&mut cluster, false, &bytes);
    cluster.touch_view();
    assert_eq!(said(&mut cluster), Some(C), "nobody has proved it");
    heard(&mut cluster, true, &bytes);
    cluster.touch_view();
    assert_eq!(said(&mut cluster), Some(B));
}

#[test]
fn what_a_node_can_do_counts_while_it_says_it() {
    let mut cluster = knowing();
    let able = |cluster: &Cluster, shard| {
        let introductions = &cluster.introductions;
        introductions.all_can(cluster.now.mono, &cluster.bus, shard, SLOTS_MOVE)
    };
    assert!(!able(&cluster, C), "its leader has not said it");
    for (shard, of_all, wanted) in [(C, 0, false), (C, SLOTS_MOVE, true), (B, SLOTS_MOVE, false)] {
        let bytes = introduction(shard, SLOTS_MOVE, of_all).encode();
        heard(&mut cluster, true, &bytes);
        assert_eq!(able(&cluster, C), wanted, "{shard} {of_all}");
    }
    let can = |cluster: &Cluster, ms: u64| {
        let at = NOW.mono + Duration::from_millis(ms);
        cluster.introductions.can(at, node(7), SLOTS_MOVE)
    };
    assert!(can(&cluster, 5000) && !can(&cluster, 5001));
}

/// M9: a group whose log says what an older build can't read takes none in.
#[test]
fn a_joiner_of_an_older_build_is_not_taken_in() {
    let mut played = Played::leading(config());
    played.beats(&OTHERS, 100);
    let mut cluster = knowing();
    let now = played.now();
    cluster.follow(now, &mut played.shard);
    let raft_id = RaftId(99);
    let join = Control::Join { raft_id }.encode();
    let asked = |cluster: &mut Cluster, played: &mut Played| {
        cluster.take_outputs();
        let taken = cluster.frame(now, node(7), true, &join, &mut played.shard);
        assert!(matches!(taken, Ok(Ok(()))), "{taken:?}");
        let answers = asks(cluster);
        answers
            .iter()
            .any(|(_, c)| matches!(c, Control::Accept { .. }))
    };
    assert!(asked(&mut cluster, &mut played), "the log says nothing new");
    let data = played.shard.data_mut();
    data.begin_command(0, Access::Lead);
    data.set_features(SLOTS_MOVE);
    assert!(data.end_command().wrote);
    assert!(!asked(&mut cluster, &mut played), "it has not said it");
    let bytes = introduction(C, SLOTS_MOVE, 0).encode();
    let taken = cluster.frame(now, node(7), true, &bytes, &mut played.shard);
    assert!(matches!(taken, Ok(Ok(()))), "{taken:?}");
    assert!(asked(&mut cluster, &mut played));
}

/// A node that plays an older build reads neither words nor introductions.
#[test]
fn an_older_build_is_played_by_its_feature_bits() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut shard = shard(folder.path(), &[1, 5, 6]);
    let mut cluster = Cluster::new(config_of(0), IDENTITY, node(5), None, NOW);
    for bytes in [words(B), introduction(B, SLOTS_MOVE, 0).encode()] {
        let taken = cluster.frame(NOW, node(7), true, &bytes, &mut shard);
        assert!(matches!(taken, Ok(Err(control::FrameError::Control))));
    }
    // One that moves slots, and can be given no state.
    let mut cluster = Cluster::new(config_of(SLOTS_MOVE), IDENTITY, node(5), None, NOW);
    let trim_to = super::log_end::trim_to(1, 5).encode();
    for (bytes, reads) in [(words(B), true), (trim_to, false)] {
        let taken = cluster.frame(NOW, node(7), true, &bytes, &mut shard);
        assert_eq!(matches!(taken, Ok(Ok(()))), reads, "{taken:?}");
    }
}
