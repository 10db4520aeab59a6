//! What members say to each other about a state that one has and another lacks (P15, P16).
//!
//! Owns the frames of kinds 21 to 26. Never decides what a message leads to. Invariants: decoding is total; a
//! piece is never longer than [`PIECE`], whatever the bytes say.

use base::ids::{EntryId, GroupId, RaftId};
use std::fmt;
use storage::base::{Base, MemberKind};
use storage::transfer::PIECE;
use storage::{SnapshotMeta, StateFile};

pub(crate) const KINDS: std::ops::RangeInclusive<u8> = 21..=26;

/// No log gets there, and what counts on from there would overflow.
const FAR: u64 = u64::MAX / 2;

/// Which file travels. Two members may have two files of one entry: the checksum tells them apart (F6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateName {
    pub group: GroupId,
    pub at: EntryId,
    pub crc64: u64,
}

/// `raft_id` is always that of the member that lacks the state.
#[derive(Clone, PartialEq)]
pub enum Message {
    /// P15: the leader of that term has this state for the receiver. `first`: its log's first index.
    Offer {
        term: u64,
        first: u64,
        base: Box<Base>,
    },
    /// P16: the sender wants the piece at this offset.
    Pull {
        of: StateName,
        raft_id: RaftId,
        offset: u64,
    },
    Piece {
        of: StateName,
        raft_id: RaftId,
        offset: u64,
        /// Of the bytes, as the disk gave them.
        crc32c: u32,
        bytes: Vec<u8>,
    },
    /// There is no such file here any more.
    NoState { of: StateName, raft_id: RaftId },
    /// Answer to an offer: the state of that entry is coming, and so much of it has come.
    Pulling {
        group: GroupId,
        raft_id: RaftId,
        at: EntryId,
        received: u64,
    },
    /// Answer to an offer: the state would bring nothing, since the log is committed here up to that entry.
    HasState {
        group: GroupId,
        raft_id: RaftId,
        at: EntryId,
    },
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Message::Offer { term, first, base } => {
                let (at, file) = (base.snapshot.entry(), base.snapshot.file);
                write!(f, "Offer(term {term}, first {first}, {at:?}, {file:?})")
            }
            Message::Pull { of, offset, .. } => write!(f, "Pull({of:?}, {offset})"),
            Message::Piece {
                of, offset, bytes, ..
            } => write!(f, "Piece({of:?}, {offset}, {} bytes)", bytes.len()),
            Message::NoState { of, .. } => write!(f, "NoState({of:?})"),
            Message::Pulling { at, received, .. } => write!(f, "Pulling({at:?}, {received})"),
            Message::HasState { at, .. } => write!(f, "HasState({at:?})"),
        }
    }
}

/// Why bytes are no such message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    Base(String),
    Cut,
}

impl Message {
    /// The member that it is for, where that is the one that lacks the state.
    pub fn to_member(&self) -> Option<RaftId> {
        match self {
            Message::Offer { base, .. } => Some(base.identity.raft_id),
            Message::Piece { raft_id, .. } | Message::NoState { raft_id, .. } => Some(*raft_id),
            Message::Pull { .. } | Message::Pulling { .. } | Message::HasState { .. } => None,
        }
    }

    /// Bulk data, which heartbeats never wait for.
    pub(crate) fn is_bulk(&self) -> bool {
        matches!(self, Message::Piece { .. })
    }

    /// The bytes of the frame: kind, then the fields (little endian).
    pub fn encode(&self) -> Vec<u8> {
        let (kind, numbers, rest): (u8, Vec<u64>, &[u8]) = match self {
            Message::Offer { term, first, .. } => (21, vec![*term, *first], &[]),
            Message::Pull {
                of,
                raft_id,
                offset,
            } => (22, of.with(&[raft_id.0, *offset]), &[]),
            Message::Piece {
                of,
                raft_id,
                offset,
                crc32c,
                bytes,
            } => (
                23,
                of.with(&[raft_id.0, *offset, u64::from(*crc32c)]),
                bytes,
            ),
            Message::NoState { of, raft_id } => (24, of.with(&[raft_id.0]), &[]),
            Message::Pulling {
                group,
                raft_id,
                at,
                received,
            } => (
                25,
                vec![group.0, raft_id.0, at.index, at.term, *received],
                &[],
            ),
            Message::HasState { group, raft_id, at } => {
                (26, vec![group.0, raft_id.0, at.index, at.term], &[])
            }
        };
        let mut out = Vec::with_capacity(1 + 8 * numbers.len() + rest.len());
        out.push(kind);
        for number in numbers {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(rest);
        if let Message::Offer { base, .. } = self {
            out.extend_from_slice(&base.to_bytes());
        }
        out
    }

    pub(crate) fn decode(kind: u8, rest: &[u8]) -> Result<Message, Unreadable> {
        match kind {
            21 => offer(rest),
            23 => piece(rest).ok_or(Unreadable::Cut),
            _ => short(kind, rest).ok_or(Unreadable::Cut),
        }
    }
}

impl StateName {
    /// The file that a snapshot names.
    pub fn of(group: GroupId, snapshot: &SnapshotMeta) -> Option<StateName> {
        let StateFile { crc64, .. } = snapshot.file?;
        let at = snapshot.entry();
        Some(StateName { group, at, crc64 })
    }

    fn with(&self, more: &[u64]) -> Vec<u64> {
        let mut numbers = vec![self.group.0, self.at.index, self.at.term, self.crc64];
        numbers.extend_from_slice(more);
        numbers
    }

    fn read([group, index, term, crc64]: [u64; 4]) -> StateName {
        StateName {
            group: GroupId(group),
            at: EntryId { index, term },
            crc64,
        }
    }
}

/// The numbers at the beginning, and what is behind them.
fn numbers<const N: usize>(mut bytes: &[u8]) -> Option<([u64; N], &[u8])> {
    let mut found = [0; N];
    for number in &mut found {
        let (first, rest) = bytes.split_first_chunk::<8>()?;
        *number = u64::from_le_bytes(*first);
        bytes = rest;
    }
    Some((found, bytes))
}

fn all<const N: usize>(bytes: &[u8]) -> Option<[u64; N]> {
    let (found, rest) = numbers(bytes)?;
    rest.is_empty().then_some(found)
}

fn short(kind: u8, rest: &[u8]) -> Option<Message> {
    let of_member = |group, raft_id, index, term| {
        let at = EntryId { index, term };
        (GroupId(group), RaftId(raft_id), at)
    };
    Some(match kind {
        22 => {
            let [a, b, c, d, raft_id, offset] = all(rest)?;
            Message::Pull {
                of: StateName::read([a, b, c, d]),
                raft_id: RaftId(raft_id),
                offset,
            }
        }
        24 => {
            let [a, b, c, d, raft_id] = all(rest)?;
            Message::NoState {
                of: StateName::read([a, b, c, d]),
                raft_id: RaftId(raft_id),
            }
        }
        25 => {
            let [group, raft_id, index, term, received] = all(rest)?;
            let (group, raft_id, at) = of_member(group, raft_id, index, term);
            Message::Pulling {
                group,
                raft_id,
                at,
                received,
            }
        }
        26 => {
            let [group, raft_id, index, term] = all(rest)?;
            let (group, raft_id, at) = of_member(group, raft_id, index, term);
            Message::HasState { group, raft_id, at }
        }
        _ => return None,
    })
}

fn piece(rest: &[u8]) -> Option<Message> {
    let ([a, b, c, d, raft_id, offset, crc32c], bytes) = numbers(rest)?;
    let length = bytes.len() as u64;
    let fits = (1..=PIECE).contains(&length) && offset.checked_add(length)? <= FAR;
    fits.then_some(Message::Piece {
        of: StateName::read([a, b, c, d]),
        raft_id: RaftId(raft_id),
        offset,
        crc32c: u32::try_from(crc32c).ok()?,
        bytes: bytes.to_vec(),
    })
}

fn offer(rest: &[u8]) -> Result<Message, Unreadable> {
    let ([term, first], rest) = numbers(rest).ok_or(Unreadable::Cut)?;
    let base = Base::from_bytes(rest).map_err(|e| Unreadable::Base(e.to_string()))?;
    let wrong = |what: &str| Err(Unreadable::Base(what.to_owned()));
    let at = base.snapshot.entry();
    match base.snapshot.file {
        None => return wrong("it names no state"),
        Some(file) if file.bytes == 0 || file.bytes > FAR => return wrong("no file is so long"),
        Some(_) => {}
    }
    if base.start.is_some() || base.identity.kind != MemberKind::Data {
        return wrong("it is none of a member that is to be brought up");
    }
    if !raft_group::is_sound(&base.snapshot.conf_state) {
        return wrong("no group has such members");
    }
    if at.index.max(term) > FAR || at.term > term {
        return wrong("it lies behind the end of any log, or its term above its leader's");
    }
    if first == 0 || first > at.index + 1 {
        return wrong("the log begins behind the state");
    }
    let base = Box::new(base);
    Ok(Message::Offer { term, first, base })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{Frame, FrameError};
    use proptest::prelude::*;
    use raft::eraftpb::ConfState;
    use storage::{LogStart, MemberIdentity, Position};

    fn name() -> StateName {
        StateName {
            group: GroupId(1),
            at: EntryId { index: 9, term: 3 },
            crc64: 0x0102_0304_0506_0708,
        }
    }

    fn base() -> Base {
        Base {
            identity: MemberIdentity {
                group: GroupId(1),
                raft_id: RaftId(2),
                ..MemberIdentity::default()
            },
            snapshot: SnapshotMeta {
                index: 9,
                term: 3,
                conf_state: ConfState {
                    voters: vec![2],
                    ..ConfState::default()
                },
                record: b"record".to_vec(),
                file: Some(StateFile { bytes: 7, crc64: 8 }),
                ..SnapshotMeta::default()
            },
            start: None,
        }
    }

    fn offer(base: Base) -> Message {
        Message::Offer {
            term: 4,
            first: 10,
            base: Box::new(base),
        }
    }

    fn messages() -> Vec<Message> {
        let (group, raft_id, of) = (GroupId(1), RaftId(2), name());
        let at = of.at;
        vec![
            offer(base()),
            Message::Pull {
                of,
                raft_id,
                offset: 5,
            },
            Message::Piece {
                of,
                raft_id,
                offset: 5,
                crc32c: 0xA0B0_C0D0,
                bytes: b"xyz".to_vec(),
            },
            Message::NoState { of, raft_id },
            Message::Pulling {
                group,
                raft_id,
                at,
                received: 6,
            },
            Message::HasState { group, raft_id, at },
        ]
    }

    fn decoded(bytes: &[u8]) -> Result<Message, FrameError> {
        match Frame::decode(bytes)? {
            Frame::Transfer(message) => Ok(message),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn messages_round_trip() {
        for message in messages() {
            assert_eq!(decoded(&message.encode()).unwrap(), message);
        }
    }

    /// What travels has a form that later builds must read.
    #[test]
    fn the_bytes_are_those_of_the_page() {
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let number = |n: u64| hex(&n.to_le_bytes());
        let name = number(1) + &number(9) + &number(3) + "0807060504030201";
        let want = [
            format!("15{}{}{}", number(4), number(10), hex(&base().to_bytes())),
            format!("16{name}{}{}", number(2), number(5)),
            format!("17{name}{}{}d0c0b0a00000000078797a", number(2), number(5)),
            format!("18{name}{}", number(2)),
            format!(
                "19{}{}{}{}{}",
                number(1),
                number(2),
                number(9),
                number(3),
                number(6)
            ),
            format!("1a{}{}{}{}", number(1), number(2), number(9), number(3)),
        ];
        for (message, want) in messages().iter().zip(want) {
            assert_eq!(hex(&message.encode()), want, "{message:?}");
        }
    }

    #[test]
    fn a_base_that_is_no_offer_is_refused() {
        let refused = |change: fn(&mut Base)| {
            let mut base = base();
            change(&mut base);
            decoded(&offer(base).encode()).is_err()
        };
        assert!(!refused(|_| {}));
        assert!(refused(|b| b.snapshot.file = None));
        assert!(refused(
            |b| b.snapshot.file = Some(StateFile { bytes: 0, crc64: 1 })
        ));
        assert!(refused(|b| b.snapshot.term = 5));
        assert!(refused(|b| b.snapshot.conf_state.learners = vec![2]));
        assert!(refused(|b| b.snapshot.index = 8), "it begins behind it");
        assert!(refused(|b| b.snapshot.index = u64::MAX - 1));
        assert!(refused(|b| b.identity.kind = MemberKind::Witness));
        assert!(refused(|b| {
            b.start = Some(LogStart {
                position: Position(0),
                chain: 0,
                before: b.snapshot.entry(),
            });
        }));
    }

    #[test]
    fn a_piece_that_no_file_has_is_refused() {
        let piece = |offset, length| Message::Piece {
            of: name(),
            raft_id: RaftId(2),
            offset,
            crc32c: 0,
            bytes: vec![0; length],
        };
        let most = usize::try_from(PIECE).unwrap();
        assert!(decoded(&piece(0, most).encode()).is_ok());
        assert!(decoded(&piece(0, most + 1).encode()).is_err());
        assert!(decoded(&piece(0, 0).encode()).is_err());
        assert!(decoded(&piece(u64::MAX, 1).encode()).is_err());
    }

    #[test]
    fn a_cut_message_is_refused() {
        for message in messages() {
            let bytes = message.encode();
            for length in 1..bytes.len() {
                let cut = decoded(&bytes[..length]);
                let is_piece = matches!(message, Message::Piece { .. });
                assert!(cut.is_err() || is_piece, "{message:?} at {length}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_message_or_an_error(
            kind in KINDS,
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let _ = Message::decode(kind, &bytes);
        }
    }
}
