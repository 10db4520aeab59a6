//! What nodes say to each other about membership, beside Raft's own messages (C1, G2).
//!
//! Owns the frames of a Raft link: an envelope of Raft, or a control message. Never: decides what a
//! message leads to. Invariant: decoding is total.

use super::introduction::Introduction;
use super::migration::word::Words;
use super::transfer::message::{self, Message, Unreadable};
use base::ids::{GroupId, RaftId};
use base::ShardId;
use cluster_bus::NodeId;
use raft_group::{is_sound, Envelope, EnvelopeError};
use storage::Base;

const ENVELOPE: u8 = 0;
/// Words about slots in motion.
const WORDS: u8 = 19;
const INTRODUCE: u8 = 20;
const TRIM_TO: u8 = 27;
const BEGINS: u8 = 28;

/// What a node may be asked whether it has said it. The numbers are those of the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Said {
    Ready = 3,
    Leave = 5,
    Invite = 7,
    Failover = 12,
}

impl Said {
    fn read(number: u64) -> Option<Said> {
        [Said::Ready, Said::Leave, Said::Invite, Said::Failover]
            .into_iter()
            .find(|said| *said as u64 == number)
    }
}

/// A control message. `raft_id` is always that of the member it is about.
#[derive(Clone, Debug, PartialEq)]
pub enum Control {
    /// C1: the sender wants to be a data member of the receiver's shard under this id.
    Join { raft_id: RaftId },
    /// The base that a joiner starts from (G1).
    Accept { base: Box<Base> },
    /// The joiner has its base on disk: it may be added.
    Ready { group: GroupId, raft_id: RaftId },
    /// The receiver of the answer asked a node that does not lead; this one does, if known.
    NotLeader { leader: Option<NodeId> },
    /// C1: this member wants to be removed. Its leader asks `Really`: the removal begins with the
    /// `Confirm`, so a member that asked and gave up is not removed afterwards.
    Leave { group: GroupId, raft_id: RaftId },
    /// The removal is committed.
    Left { group: GroupId, raft_id: RaftId },
    /// G2: the receiver is asked to host a witness that starts from this base (G6).
    Invite { base: Box<Base> },
    /// The host has minted an id and has the base on disk.
    Invited { group: GroupId, raft_id: RaftId },
    /// The host has more than its share of witnesses (W3).
    Declined { group: GroupId },
    /// G2: no member of this id is here.
    Gone { group: GroupId, raft_id: RaftId },
    /// G2: `raft_id` sent a message and is not a member as of `applied`.
    NotAMember {
        group: GroupId,
        raft_id: RaftId,
        applied: u64,
    },
    /// E4: this replica wants to lead (CLUSTER FAILOVER).
    Failover { group: GroupId, raft_id: RaftId },
    /// G3: what the leader knows of its group: 1, it survives the loss of any member.
    Health { group: GroupId, ha: bool },
    /// G2: a member that nobody leads asks whether it is still one.
    CheckStalePeer { group: GroupId, raft_id: RaftId },
    /// Has the receiver said this? It came on a link that proves nothing, or is to be said twice.
    Really {
        said: Said,
        group: GroupId,
        raft_id: RaftId,
    },
    /// It has, and it still means it.
    Confirm {
        said: Said,
        group: GroupId,
        raft_id: RaftId,
    },
    /// D6: the leader's answer to a member's `CheckStalePeer`: it is one, and it has acknowledged the log
    /// up to here, which is committed.
    Stored {
        group: GroupId,
        raft_id: RaftId,
        index: u64,
    },
    /// P12: the leader says up to where the log is of use to no other member.
    TrimTo {
        group: GroupId,
        raft_id: RaftId,
        term: u64,
        index: u64,
    },
    /// P12: a witness's answer to that: the first index of its log.
    Begins {
        group: GroupId,
        raft_id: RaftId,
        first: u64,
    },
    /// C1: the leader's answer to a joiner whose node its bus does not know: it was forgotten, or was
    /// not told of yet.
    Unknown { raft_id: RaftId },
    /// M9: what the sender says of itself.
    Introduce(Introduction),
}

/// One frame of a Raft link.
#[derive(Debug)]
pub enum Frame {
    Raft(Box<Envelope>),
    Control(Control),
    Words(Words),
    /// About a state that one member has and another lacks.
    Transfer(Message),
}

impl Frame {
    /// The raft id of the member that it is for, as far as it says.
    pub fn to_member(&self) -> Option<RaftId> {
        match self {
            Frame::Raft(envelope) => Some(envelope.to),
            Frame::Control(
                Control::Left { raft_id, .. }
                | Control::NotAMember { raft_id, .. }
                | Control::Stored { raft_id, .. }
                | Control::TrimTo { raft_id, .. }
                | Control::Really { raft_id, .. },
            ) => Some(*raft_id),
            Frame::Transfer(message) => message.to_member(),
            Frame::Control(_) | Frame::Words(_) => None,
        }
    }
}

/// Why bytes are not a frame.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    #[error("the base in a control message is not one: {0}")]
    Base(String),
    #[error("the control message is of an unknown kind, or cut")]
    Control,
    #[error(transparent)]
    Refused(#[from] raft_group::Refusal),
}

/// The bytes of an envelope's frame.
pub fn encode_envelope(envelope: &Envelope) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    out.push(ENVELOPE);
    envelope.encode(&mut out);
    out
}

/// The bytes of a frame of words.
pub fn encode_words(words: &Words) -> Vec<u8> {
    let mut out = vec![WORDS];
    words.encode(&mut out);
    out
}

impl Control {
    /// The bytes of the frame: kind, then the fields (little endian).
    pub fn encode(&self) -> Vec<u8> {
        let (kind, numbers): (u8, Vec<u64>) = match self {
            Control::Join { raft_id } => (1, vec![raft_id.0]),
            Control::Accept { .. } => (2, vec![]),
            Control::Ready { group, raft_id } => (3, vec![group.0, raft_id.0]),
            Control::NotLeader { .. } => (4, vec![]),
            Control::Leave { group, raft_id } => (5, vec![group.0, raft_id.0]),
            Control::Left { group, raft_id } => (6, vec![group.0, raft_id.0]),
            Control::Invite { .. } => (7, vec![]),
            Control::Invited { group, raft_id } => (8, vec![group.0, raft_id.0]),
            Control::Declined { group } => (9, vec![group.0]),
            Control::Gone { group, raft_id } => (10, vec![group.0, raft_id.0]),
            Control::NotAMember {
                group,
                raft_id,
                applied,
            } => (11, vec![group.0, raft_id.0, *applied]),
            Control::Failover { group, raft_id } => (12, vec![group.0, raft_id.0]),
            Control::Health { group, ha } => (13, vec![group.0, u64::from(*ha)]),
            Control::CheckStalePeer { group, raft_id } => (14, vec![group.0, raft_id.0]),
            Control::Really {
                said,
                group,
                raft_id,
            } => (15, vec![*said as u64, group.0, raft_id.0]),
            Control::Confirm {
                said,
                group,
                raft_id,
            } => (16, vec![*said as u64, group.0, raft_id.0]),
            Control::Stored {
                group,
                raft_id,
                index,
            } => (17, vec![group.0, raft_id.0, *index]),
            Control::Unknown { raft_id } => (18, vec![raft_id.0]),
            Control::TrimTo {
                group,
                raft_id,
                term,
                index,
            } => (TRIM_TO, vec![group.0, raft_id.0, *term, *index]),
            Control::Begins {
                group,
                raft_id,
                first,
            } => (BEGINS, vec![group.0, raft_id.0, *first]),
            Control::Introduce(said) => (INTRODUCE, vec![said.features.into(), said.of_all.into()]),
        };
        let mut out = vec![kind];
        numbers
            .iter()
            .for_each(|n| out.extend_from_slice(&n.to_le_bytes()));
        match self {
            Control::Accept { base } | Control::Invite { base } => {
                out.extend_from_slice(&base.to_bytes());
            }
            Control::NotLeader { leader: Some(node) } => out.extend_from_slice(&node.0),
            Control::Introduce(said) => out.extend_from_slice(&said.shard.0),
            _ => {}
        }
        out
    }
}

impl Frame {
    /// Reads a frame that fills `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Frame, FrameError> {
        let (&kind, rest) = bytes.split_first().ok_or(FrameError::Control)?;
        if kind == ENVELOPE {
            return Ok(Frame::Raft(Box::new(Envelope::decode(rest)?)));
        }
        if kind == WORDS {
            let words = Words::decode(rest).ok_or(FrameError::Control)?;
            return Ok(Frame::Words(words));
        }
        if message::KINDS.contains(&kind) {
            return match Message::decode(kind, rest) {
                Ok(message) => Ok(Frame::Transfer(message)),
                Err(Unreadable::Base(why)) => Err(FrameError::Base(why)),
                Err(Unreadable::Cut) => Err(FrameError::Control),
            };
        }
        let base = || -> Result<Box<Base>, FrameError> {
            let base = Base::from_bytes(rest).map_err(|e| FrameError::Base(e.to_string()))?;
            // No log gets there, and what counts on from there would overflow.
            if base.snapshot.index.max(base.snapshot.term) > u64::MAX / 2 {
                return Err(FrameError::Base(
                    "it begins behind the end of any log".into(),
                ));
            }
            if !is_sound(&base.snapshot.conf_state) {
                return Err(FrameError::Base("no group has such members".into()));
            }
            if base.snapshot.file.is_some() || base.start.is_some() {
                return Err(FrameError::Base("it names files of another disk".into()));
            }
            Ok(Box::new(base))
        };
        let control = match kind {
            2 => Control::Accept { base: base()? },
            7 => Control::Invite { base: base()? },
            4 if rest.is_empty() => Control::NotLeader { leader: None },
            4 => {
                let node: [u8; 20] = rest.try_into().map_err(|_| FrameError::Control)?;
                Control::NotLeader {
                    leader: Some(NodeId(node)),
                }
            }
            INTRODUCE => introduction(rest).ok_or(FrameError::Control)?,
            _ => numbers(kind, rest).ok_or(FrameError::Control)?,
        };
        Ok(Frame::Control(control))
    }
}

fn introduction(rest: &[u8]) -> Option<Control> {
    let (features, rest) = rest.split_first_chunk::<8>()?;
    let (of_all, shard) = rest.split_first_chunk::<8>()?;
    let bits = |bytes: &[u8; 8]| u32::try_from(u64::from_le_bytes(*bytes)).ok();
    Some(Control::Introduce(Introduction {
        shard: ShardId(shard.try_into().ok()?),
        features: bits(features)?,
        of_all: bits(of_all)?,
    }))
}

/// The messages that are numbers only.
fn numbers(kind: u8, rest: &[u8]) -> Option<Control> {
    let chunks = rest.chunks_exact(8);
    if !chunks.remainder().is_empty() {
        return None;
    }
    let fields: Vec<u64> = chunks
        .map(|c| u64::from_le_bytes(c.try_into().expect("eight bytes")))
        .collect();
    Some(match (kind, fields.as_slice()) {
        (1, &[raft_id]) => Control::Join {
            raft_id: RaftId(raft_id),
        },
        (9, &[group]) => Control::Declined {
            group: GroupId(group),
        },
        (13, &[group, ha]) => Control::Health {
            group: GroupId(group),
            ha: ha == 1,
        },
        (18, &[raft_id]) => Control::Unknown {
            raft_id: RaftId(raft_id),
        },
        (kind, &[group, raft_id]) => of_member(kind, GroupId(group), RaftId(raft_id))?,
        (TRIM_TO, &[group, raft_id, term, index]) => Control::TrimTo {
            group: GroupId(group),
            raft_id: RaftId(raft_id),
            term,
            index,
        },
        (BEGINS, &[group, raft_id, first]) => Control::Begins {
            group: GroupId(group),
            raft_id: RaftId(raft_id),
            first,
        },
        (11 | 17, &[group, raft_id, at]) => at_index(kind, GroupId(group), RaftId(raft_id), at)?,
        (15 | 16, &[said, group, raft_id]) => {
            doubted(kind, Said::read(said)?, GroupId(group), RaftId(raft_id))?
        }
        _ => return None,
    })
}

fn of_member(kind: u8, group: GroupId, raft_id: RaftId) -> Option<Control> {
    Some(match kind {
        3 => Control::Ready { group, raft_id },
        5 => Control::Leave { group, raft_id },
        6 => Control::Left { group, raft_id },
        8 => Control::Invited { group, raft_id },
        10 => Control::Gone { group, raft_id },
        12 => Control::Failover { group, raft_id },
        14 => Control::CheckStalePeer { group, raft_id },
        _ => return None,
    })
}

fn at_index(kind: u8, group: GroupId, raft_id: RaftId, index: u64) -> Option<Control> {
    Some(match kind {
        11 => Control::NotAMember {
            group,
            raft_id,
            applied: index,
        },
        17 => Control::Stored {
            group,
            raft_id,
            index,
        },
        _ => return None,
    })
}

fn doubted(kind: u8, said: Said, group: GroupId, raft_id: RaftId) -> Option<Control> {
    Some(match kind {
        15 => Control::Really {
            said,
            group,
            raft_id,
        },
        16 => Control::Confirm {
            said,
            group,
            raft_id,
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use raft::eraftpb::ConfState;
    use storage::{LogStart, MemberIdentity, Position, SnapshotMeta, StateFile};

    /// D6: raft-rs would end the process that opens such a base, and again at every start.
    #[test]
    fn a_given_base_with_impossible_members_is_refused() {
        let mut base = Base::default();
        base.snapshot.conf_state.voters = vec![2];
        base.snapshot.conf_state.learners = vec![2];
        let base = Box::new(base);
        let frames = [
            Control::Accept { base: base.clone() },
            Control::Invite { base },
        ];
        for control in frames {
            let error = Frame::decode(&control.encode()).expect_err("2 can't be both");
            assert!(error.to_string().contains("such members"), "{error}");
        }
    }

    /// D7: such a base names what lies on another node's disk.
    #[test]
    fn a_given_base_with_files_is_refused() {
        let base = || {
            let mut base = Base::default();
            base.snapshot.conf_state.voters = vec![2];
            base
        };
        let decoded = |base: Base| {
            let base = Box::new(base);
            let frames = [
                Control::Accept { base: base.clone() },
                Control::Invite { base },
            ];
            frames.map(|control| Frame::decode(&control.encode()).is_ok())
        };
        assert_eq!(decoded(base()), [true, true]);
        let mut with_file = base();
        with_file.snapshot.file = Some(StateFile { bytes: 1, crc64: 2 });
        assert_eq!(decoded(with_file), [false, false]);
        let mut with_start = base();
        with_start.start = Some(LogStart {
            position: Position(0),
            chain: 0,
            before: with_start.snapshot.entry(),
        });
        assert_eq!(decoded(with_start), [false, false]);
    }

    #[test]
    fn control_messages_round_trip() {
        let base = Box::new(Base {
            identity: MemberIdentity {
                group: GroupId(1),
                raft_id: RaftId(2),
                ..MemberIdentity::default()
            },
            snapshot: SnapshotMeta {
                index: 1,
                term: 1,
                conf_state: ConfState {
                    voters: vec![2],
                    ..ConfState::default()
                },
                ..SnapshotMeta::default()
            },
            start: None,
        });
        let (group, raft_id) = (3, 4);
        for control in [
            Control::Join {
                raft_id: RaftId(raft_id),
            },
            Control::Accept { base: base.clone() },
            Control::Ready {
                group: GroupId(group),
                raft_id: RaftId(raft_id),
            },
            Control::NotLeader { leader: None },
            Control::NotLeader {
                leader: Some(NodeId([7; 20])),
            },
            Control::Leave {
                group: GroupId(group),
                raft_id: RaftId(raft_id),
            },
            Control::Left {
                group: GroupId(group),
                raft_id: RaftId(raft_id),
            },
            Control::Invite { base },
            Control::Invited {
                group: GroupId(group),
                raft_id: RaftId(raft_id),
            },
            Control::Declined {
                group: GroupId(group),
            },
            Control::Gone {
                group: GroupId(group),
                raft_id: RaftId(raft_id),
            },
            Control::NotAMember {
                group: GroupId(group),
                raft_id: RaftId(raft_id),
                applied: 9,
            },
            Control::Failover {
                group: GroupId(group),
                raft_id: RaftId(raft_id),
            },
            Control::Health {
                group: GroupId(group),
                ha: true,
            },
            Control::CheckStalePeer {
                group: GroupId(group),
                raft_id: RaftId(raft_id),
            },
            Control::Really {
                said: Said::Invite,
                group: GroupId(group),
                raft_id: RaftId(raft_id),
            },
            Control::Confirm {
                said: Said::Failover,
                group: GroupId(group),
                raft_id: RaftId(raft_id),
            },
            Control::Stored {
                group: GroupId(group),
                raft_id: RaftId(raft_id),
                index: 9,
            },
            Control::Unknown {
                raft_id: RaftId(raft_id),
            },
            Control::TrimTo {
                group: GroupId(group),
                raft_id: RaftId(raft_id),
                term: 5,
                index: 6,
            },
            Control::Begins {
                group: GroupId(group),
                raft_id: RaftId(raft_id),
                first: 7,
            },
            Control::Introduce(Introduction {
                shard: ShardId([7; 20]),
                features: 1,
                of_all: u32::MAX,
            }),
        ] {
            let Ok(Frame::Control(read)) = Frame::decode(&control.encode()) else {
                panic!("{control:?}");
            };
            assert_eq!(read, control);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_frame_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = Frame::decode(&bytes);
        }
    }
}
