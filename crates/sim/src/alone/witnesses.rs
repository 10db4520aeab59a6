//! W2: of two witnesses on one host, one meets what breaks its group. In the cluster world disks
//! fail under witnesses, but there the process may end as well.

use base::clock::{Clock, Now};
use base::ids::{GroupId, Incarnation, RaftId};
use cluster::control::{Control, Frame};
use cluster::witnesses::Witnesses;
use cluster::ForWitnesses;
use cluster_bus::NodeId;
use raft::eraftpb::{ConfState, Entry, Message, MessageType};
use storage::base::{Base, Member, MemberIdentity, MemberKind, SnapshotMeta};

use super::{append, at, envelope, log_config, quiet, T_MS};
use crate::disk::SimDisk;
use crate::machine::{guarded, install_panic_hook, Ended};
use crate::platform::SimFolders;

/// The node of the leader, 1, of both groups.
const LEADER: NodeId = NodeId([1; 20]);

fn invitation(group: u64) -> ForWitnesses {
    let base = Base {
        identity: MemberIdentity {
            group: GroupId(group),
            incarnation: Incarnation(1),
            raft_id: RaftId(1),
            kind: MemberKind::Witness,
            election_timeout_ms: T_MS,
        },
        snapshot: SnapshotMeta {
            index: 10,
            term: 2,
            conf_state: ConfState::from((vec![1, 2], vec![])),
            members: [1, 2].map(member).to_vec(),
            ..SnapshotMeta::default()
        },
        start: None,
    };
    let invite = Control::Invite {
        base: Box::new(base),
    };
    ForWitnesses::Frame {
        proved: true,
        from: LEADER,
        frame: Frame::Control(invite),
    }
}

fn member(raft_id: u64) -> Member {
    Member {
        raft_id: RaftId(raft_id),
        node: NodeId([raft_id as u8; 20]),
        kind: MemberKind::Data,
    }
}

/// The leader's entry `index` of `term`, which is committed already.
fn appended(group: u64, to: u64, (index, term): (u64, u64)) -> ForWitnesses {
    let entry = Entry {
        index,
        term,
        ..Entry::default()
    };
    let behind = (index - 1, if index == 11 { 2 } else { 3 });
    let message = append(to, behind, vec![entry], index);
    ForWitnesses::Frame {
        proved: true,
        from: LEADER,
        frame: Frame::Raft(Box::new(envelope(group, message))),
    }
}

/// The leader knows that more is committed than this witness has: it has lost log (D6).
fn beyond_the_end(group: u64, to: u64) -> ForWitnesses {
    let message = Message {
        msg_type: MessageType::MsgHeartbeat,
        from: 1,
        to,
        term: 3,
        commit: 99,
        ..Message::default()
    };
    ForWitnesses::Frame {
        proved: true,
        from: LEADER,
        frame: Frame::Raft(Box::new(envelope(group, message))),
    }
}

/// A turn of the host at this time, which begins with this order.
fn take(host: &mut Witnesses<SimFolders>, ms: u64, mut order: Option<ForWitnesses>) {
    struct Still(u64);
    impl Clock for Still {
        fn now(&self) -> Now {
            at(self.0)
        }
    }
    while host.step(&Still(ms), &mut || order.take()) {}
}

/// One group's witness has lost log: it ends, and the other one goes on.
pub fn one_that_breaks_leaves_the_other() -> bool {
    let folders = SimFolders(SimDisk::new(1 << 30));
    let mut host =
        Witnesses::open(folders, log_config(), 1, at(0), quiet()).expect("an empty disk");
    let nodes = vec![LEADER];
    take(
        &mut host,
        1,
        Some(ForWitnesses::Cluster { share: 5, nodes }),
    );
    for group in [7, 8] {
        take(&mut host, 1, Some(invitation(group)));
    }
    let of = |host: &Witnesses<SimFolders>, group| {
        let mut shards = host.shards();
        shards.find(|s| s.identity().group == group).map(|s| {
            let group = s.group();
            (s.identity().raft_id, group.last_index(), group.term())
        })
    };
    let ids = [7, 8].map(|group| of(&host, GroupId(group)).expect("it was invited").0);
    let mut ms = 1;
    let mut run = |host: &mut Witnesses<SimFolders>, order| {
        take(host, ms, Some(order));
        for _ in 0..10 {
            ms += 1;
            take(host, ms, None);
        }
    };
    run(&mut host, appended(7, ids[0].0, (11, 3)));
    run(&mut host, appended(8, ids[1].0, (11, 3)));
    install_panic_hook();
    let end = guarded(|| {
        run(&mut host, beyond_the_end(7, ids[0].0));
        run(&mut host, appended(8, ids[1].0, (12, 3)));
        Ok::<_, String>(())
    });
    matches!(end, Ended::Fine(()))
        && of(&host, GroupId(7)).is_none()
        && of(&host, GroupId(8)) == Some((ids[1], 12, 3))
}

#[test]
fn a_witness_that_breaks_leaves_the_other_on_its_host() {
    assert!(one_that_breaks_leaves_the_other());
}
