//! How a Raft link begins: who calls whom, and of which class.
//!
//! The caller says the magic, a version, the class, its own id and the id that it wants; the other
//! side answers with the magic and its id, and closes when it is not the one that was wanted.
//! Owns the bytes only. Invariant: total.

use super::frame;
use cluster_bus::NodeId;

pub(super) const MAGIC: [u8; 4] = *b"HFL1";
const VERSION: u8 = 1;
/// A hello without its magic.
pub(super) const HELLO_REST: usize = 2 + 20 + 20;
pub(super) const ANSWER: usize = 4 + 20;

const _: () = assert!(MAGIC.len() == frame::BUS_MAGIC.len());

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Class {
    /// Votes, heartbeats, their answers, control.
    Urgent,
    /// Log entries and all else that may be long.
    Bulk,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hello {
    pub class: Class,
    pub from: NodeId,
    pub to: NodeId,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum HelloError {
    #[error("version {0} of the Raft links is not known")]
    Version(u8),
    #[error("class {0} of the Raft links is not known")]
    Class(u8),
    #[error("the answer is not one of a Raft link")]
    Magic,
    #[error("node {0} answers there")]
    Other(NodeId),
}

impl Hello {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(MAGIC.len() + HELLO_REST);
        out.extend_from_slice(&MAGIC);
        let class = match self.class {
            Class::Urgent => 0,
            Class::Bulk => 1,
        };
        out.extend_from_slice(&[VERSION, class]);
        out.extend_from_slice(&self.from.0);
        out.extend_from_slice(&self.to.0);
        out
    }

    /// Reads what follows the magic.
    pub fn decode(rest: &[u8; HELLO_REST]) -> Result<Hello, HelloError> {
        let class = match rest[..2] {
            [VERSION, 0] => Class::Urgent,
            [VERSION, 1] => Class::Bulk,
            [VERSION, other] => return Err(HelloError::Class(other)),
            [version, ..] => return Err(HelloError::Version(version)),
            [] => return Err(HelloError::Magic),
        };
        Ok(Hello {
            class,
            from: id(&rest[2..22]),
            to: id(&rest[22..]),
        })
    }
}

pub(super) fn answer(myself: NodeId) -> [u8; ANSWER] {
    let mut out = [0; ANSWER];
    out[..4].copy_from_slice(&MAGIC);
    out[4..].copy_from_slice(&myself.0);
    out
}

/// Whether this is the answer of the node that was wanted.
pub(super) fn check_answer(bytes: &[u8; ANSWER], wanted: NodeId) -> Result<(), HelloError> {
    if bytes[..4] != MAGIC {
        return Err(HelloError::Magic);
    }
    match id(&bytes[4..]) {
        node if node == wanted => Ok(()),
        other => Err(HelloError::Other(other)),
    }
}

fn id(bytes: &[u8]) -> NodeId {
    NodeId(bytes.try_into().expect("a slice of twenty bytes"))
}
