//! A state from one node's folder to another's, through both cluster cores and both shards.

use super::*;
use crate::control::Frame;
use crate::transfer::message::Message;
use base::ids::EntryId;
use rdb::file::Writer;
use std::convert::Infallible;
use storage::{snapshot, Disk, DiskFile, Job, StateFile};

/// Three pieces.
const BYTES: usize = 600_000;
const AT: EntryId = EntryId { index: 50, term: 2 };

struct Node {
    core: Cluster,
    shard: Shard<RealDisk>,
    folder: tempfile::TempDir,
}

impl Node {
    fn of(raft_id: u64, snapshot: SnapshotMeta, file: &[u8]) -> Node {
        let folder = tempfile::tempdir().expect("a folder");
        if let Some(name) = snapshot.file_name() {
            let disk = RealDisk::new(folder.path());
            let made = disk.create(&name).expect("a file");
            made.write_at(file, 0).expect("room");
        }
        let mut base = bootstrap_base(GroupId(1), RaftId(raft_id), record(), 1000);
        base.snapshot = snapshot;
        let identity = NodeIdentity {
            member: RaftId(raft_id),
            joining: None,
            spare: None,
        };
        let config = config_of(topology::features::ALL);
        Node {
            core: Cluster::new(config, identity, node(raft_id as u8), None, NOW),
            shard: open(folder.path(), &base),
            folder,
        }
    }

    /// A turn; what it says about states, and to which node.
    fn turn(&mut self) -> Vec<(NodeId, Vec<u8>)> {
        self.shard.begin(NOW).expect("a sound disk");
        self.core.follow(NOW, &mut self.shard);
        let jobs = self.shard.take_output().jobs;
        for done in jobs.into_iter().filter_map(Job::run) {
            self.shard.job_done(NOW, done).expect("a sound disk");
        }
        let outputs = self.core.take_outputs();
        let frames = outputs.into_iter().filter_map(|output| match output {
            ClusterOutput::Frame { to, bytes, .. } => Some((to, bytes)),
            _ => None,
        });
        let is_transfer = |bytes: &Vec<u8>| matches!(Frame::decode(bytes), Ok(Frame::Transfer(_)));
        frames.filter(|(_, bytes)| is_transfer(bytes)).collect()
    }

    fn hear(&mut self, from: u8, proved: bool, bytes: &[u8]) {
        let heard = self
            .core
            .frame(NOW, node(from), proved, bytes, &mut self.shard);
        heard.expect("a sound shard").expect("a frame");
    }
}

fn record() -> Record {
    Record {
        epoch: 3,
        ..Record::founded(ShardId([9; 20]), node(1))
    }
}

/// As of entry `index` of term 2, or the one of a bootstrap.
fn snapshot_of(index: u64, file: Option<StateFile>) -> SnapshotMeta {
    SnapshotMeta {
        index,
        term: index.min(2),
        conf_state: ConfState {
            voters: vec![1, 5, 6],
            ..ConfState::default()
        },
        members: [1, 5, 6].map(|id| member(id, MemberKind::Data)).to_vec(),
        record: record().encode(),
        file,
    }
}

/// A file that says what it is, and is long.
fn state() -> (Vec<u8>, StateFile) {
    let mut bytes = Vec::new();
    let mut sink = |piece: &[u8]| {
        bytes.extend_from_slice(piece);
        Ok::<(), Infallible>(())
    };
    let mut writer = Writer::new(12, false);
    let fields = [
        ("hf-index", AT.index.to_string()),
        ("hf-term", AT.term.to_string()),
        ("hf-group", GroupId(1).to_string()),
        ("padding", "x".repeat(BYTES)),
    ];
    for (name, value) in fields {
        let (name, value) = (name.as_bytes(), value.as_bytes());
        writer.aux(name, value, &mut sink).expect("no disk");
    }
    let end = writer.end(&mut sink).expect("no disk");
    let file = StateFile {
        bytes: end.length,
        crc64: end.checksum.expect("it has one"),
    };
    (bytes, file)
}

fn offer(snapshot: SnapshotMeta) -> Vec<u8> {
    let mut base = bootstrap_base(GroupId(1), RaftId(5), record(), 1000);
    base.snapshot = snapshot;
    let message = Message::Offer {
        term: 3,
        first: AT.index + 1,
        base: Box::new(base),
    };
    message.encode()
}

#[test]
fn a_state_comes_from_another_folder_and_is_installed() {
    let (bytes, file) = state();
    let snapshot = snapshot_of(AT.index, Some(file));
    let mut holder = Node::of(1, snapshot.clone(), &bytes);
    let mut member = Node::of(5, snapshot_of(1, None), &[]);
    let heartbeat = control::encode_envelope(&heartbeat(1));
    member.hear(1, true, &heartbeat);
    member.turn();
    member.hear(1, false, &offer(snapshot.clone()));
    member.hear(6, true, &offer(snapshot.clone()));
    assert!(member.turn().is_empty(), "neither is the leader's");
    member.hear(1, true, &offer(snapshot.clone()));
    let (mut rounds, mut pieces) = (0, 0);
    while !member.shard.is_installed(NOW) {
        rounds += 1;
        assert!(rounds < 100, "{:?} has come", member.core.pulled());
        for (to, bytes) in member.turn() {
            assert_eq!(to, node(1));
            holder.hear(5, true, &bytes);
        }
        for (to, bytes) in holder.turn() {
            assert_eq!(to, node(5));
            pieces += 1;
            member.hear(1, true, &bytes);
        }
    }
    assert_eq!(pieces, 3);
    let disk = RealDisk::new(member.folder.path());
    let name = snapshot.file_name().expect("it has one");
    let mut found = vec![0; bytes.len()];
    disk.open(&name)
        .and_then(|file| file.read_at(&mut found, 0))
        .expect("it is there");
    assert!(found == bytes, "the same bytes");
    let names = disk.list().expect("a folder");
    assert!(names.iter().all(|n| !n.ends_with(".part")), "{names:?}");
    assert!(names.iter().any(|n| snapshot::is_snapshot(n)));
    let base = Base::load(&disk).expect("a base").expect("one is there");
    assert_eq!(base.snapshot, snapshot);
}

#[test]
fn a_stranger_is_given_nothing() {
    let (bytes, file) = state();
    let snapshot = snapshot_of(AT.index, Some(file));
    let mut holder = Node::of(1, snapshot.clone(), &bytes);
    let pull = |raft_id| {
        let message = Message::Pull {
            of: crate::transfer::message::StateName::of(GroupId(1), &snapshot).expect("a file"),
            raft_id: RaftId(raft_id),
            offset: 0,
        };
        message.encode()
    };
    holder.hear(7, true, &pull(5));
    holder.hear(7, true, &pull(7));
    holder.hear(5, false, &pull(5));
    for _ in 0..3 {
        assert!(holder.turn().is_empty());
    }
    holder.hear(5, true, &pull(5));
    holder.turn();
    assert_eq!(holder.turn().len(), 1);
}
