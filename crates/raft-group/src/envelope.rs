//! What travels between the members of a group: a Raft message and our own header around it.
//!
//! Owns the header's fields and their codec. Invariant: decoding is total (any bytes give an
//! envelope or a typed error), and nothing in a header is trusted before [`super::Group::step`]
//! has checked it.

use base::ids::{GroupId, Incarnation, RaftId};
use protobuf::{CodedOutputStream, Message as _};
use raft::eraftpb::Message;

/// How a leader's term and transfers are told apart: an acknowledgement, a vote under a transfer and a
/// TimeoutNow count only for exactly one of these (E3, E4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseEpoch {
    pub term: u64,
    /// Transfers that this leader has given up in this term.
    pub transfers: u64,
}

/// A message between members.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    pub group: GroupId,
    pub incarnation: Incarnation,
    pub from: RaftId,
    pub to: RaftId,
    /// From a leader: its lease epoch. In an answer: the lease epoch that is acknowledged. In a vote request under a
    /// transfer: the lease epoch of the leader that asked for it.
    pub lease_epoch: LeaseEpoch,
    /// From a leader: its monotonic clock when the message was made. In an answer: the newest such
    /// time of `lease_epoch` whose promise has been taken. Zero: none.
    pub sent_ns: u64,
    /// The sender's applied index.
    pub applied: u64,
    /// Whether the sender's log has room for writes (D5).
    pub has_room: bool,
    /// Whether the sender's keyspace is that of its applied index (P20).
    pub loaded: bool,
    pub message: Message,
}

/// Why bytes are not an envelope.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    #[error("the envelope ends inside its header")]
    Truncated,
    #[error("the envelope's version {0} is not known")]
    Version(u8),
    #[error("the Raft message is malformed: {0}")]
    Message(#[from] protobuf::ProtobufError),
}

const VERSION: u8 = 2;
const HEADER: usize = 1 + 8 * 8 + 1;
/// A flag: the sender's log has room.
const HAS_ROOM: u8 = 1;
/// A flag: the sender's keyspace is being loaded. Builds before 0.4 never say so.
const LOADS: u8 = 2;

impl Envelope {
    /// Appends the envelope's bytes: version, the eight header numbers (little endian), the flags,
    /// the Raft message as protobuf.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        for field in [
            self.group.0,
            self.incarnation.0,
            self.from.0,
            self.to.0,
            self.lease_epoch.term,
            self.lease_epoch.transfers,
            self.sent_ns,
            self.applied,
        ] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        let room = if self.has_room { HAS_ROOM } else { 0 };
        let loads = if self.loaded { 0 } else { LOADS };
        out.push(room | loads);
        // Once: the sizes that this caches are what the writing goes by.
        let size = self.message.compute_size() as usize;
        // And a byte: the stream's flush grows a buffer that is full, which copies it all.
        out.reserve(size + 1);
        let mut stream = CodedOutputStream::vec(out);
        self.message
            .write_to_with_cached_sizes(&mut stream)
            .and_then(|()| stream.flush())
            .expect("writing to memory does not fail");
    }

    /// Reads an envelope that fills `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Envelope, EnvelopeError> {
        let (&version, rest) = bytes.split_first().ok_or(EnvelopeError::Truncated)?;
        if version != VERSION {
            return Err(EnvelopeError::Version(version));
        }
        if bytes.len() < HEADER {
            return Err(EnvelopeError::Truncated);
        }
        let field = |i: usize| {
            let at = i * 8;
            u64::from_le_bytes(rest[at..at + 8].try_into().expect("eight bytes"))
        };
        let mut message = Message::default();
        message.merge_from_bytes(&bytes[HEADER..])?;
        Ok(Envelope {
            group: GroupId(field(0)),
            incarnation: Incarnation(field(1)),
            from: RaftId(field(2)),
            to: RaftId(field(3)),
            lease_epoch: LeaseEpoch {
                term: field(4),
                transfers: field(5),
            },
            sent_ns: field(6),
            applied: field(7),
            has_room: bytes[HEADER - 1] & HAS_ROOM != 0,
            loaded: bytes[HEADER - 1] & LOADS == 0,
            message,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_envelope_round_trips() {
        let message = Message {
            term: 7,
            from: 3,
            ..Message::default()
        };
        let envelope = Envelope {
            group: GroupId(1),
            incarnation: Incarnation(2),
            from: RaftId(3),
            to: RaftId(4),
            lease_epoch: LeaseEpoch {
                term: 5,
                transfers: 6,
            },
            sent_ns: 7,
            applied: 8,
            has_room: true,
            loaded: false,
            message,
        };
        let mut bytes = Vec::new();
        envelope.encode(&mut bytes);
        assert_eq!(Envelope::decode(&bytes).expect("decodes"), envelope);
    }

    proptest! {
        #[test]
        fn any_bytes_give_an_envelope_or_an_error(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Envelope::decode(&bytes);
            if let Some(first) = bytes.first_mut() { *first = VERSION; }
            let _ = Envelope::decode(&bytes);
        }
    }
}
