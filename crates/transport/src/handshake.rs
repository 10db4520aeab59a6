//! How a Raft link begins: which node calls which, of which class, and that both know the password.
//!
//! The caller says the magic, a version, the class, its own id, the id that it wants and a nonce; the
//! other side answers with the magic, its id and a nonce of its own. Then the caller proves that its
//! `masterauth` is the other side's `requirepass`, and only after that the other side proves the same.
//! A proof is the HMAC-SHA256 (RFC 2104) of all that was said, so it can't be used again, and the
//! password never travels. Without passwords both prove the empty one: then the caller still knows
//! which node it has reached (the answer holds its nonce), the other side knows nothing. What it can't do, without TLS:
//! stop an attacker that sits between the two and passes on what they prove, or hide what follows.
//! Owns the bytes only. Invariant: total.

use super::frame;
use super::message::Password;
use cluster_bus::NodeId;
use hmac::{Hmac, Mac};
use sha2::Sha256;

pub(super) const MAGIC: [u8; 4] = *b"HFL1";
const VERSION: u8 = 3;
pub(super) const NONCE: usize = 16;
/// A hello without its magic and its version.
pub(super) const HELLO_REST: usize = 1 + 20 + 20 + NONCE;
pub(super) const ANSWER: usize = 4 + 20 + NONCE;
pub(super) const PROOF: usize = 32;

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
    pub nonce: [u8; NONCE],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub node: NodeId,
    pub nonce: [u8; NONCE],
}

/// The side that proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Caller,
    Called,
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
    #[error("the masterauth of the one is not the requirepass of the other")]
    Password,
    #[error("it was closed before the proof, as when masterauth is not the requirepass there")]
    Closed,
}

impl Hello {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(MAGIC.len() + 1 + HELLO_REST);
        out.extend_from_slice(&MAGIC);
        let class = match self.class {
            Class::Urgent => 0,
            Class::Bulk => 1,
        };
        out.extend_from_slice(&[VERSION, class]);
        out.extend_from_slice(&self.from.0);
        out.extend_from_slice(&self.to.0);
        out.extend_from_slice(&self.nonce);
        out
    }

    /// Reads what follows magic and version.
    pub fn decode(rest: &[u8; HELLO_REST]) -> Result<Hello, HelloError> {
        let class = match rest[0] {
            0 => Class::Urgent,
            1 => Class::Bulk,
            other => return Err(HelloError::Class(other)),
        };
        Ok(Hello {
            class,
            from: id(&rest[1..21]),
            to: id(&rest[21..41]),
            nonce: nonce(&rest[41..]),
        })
    }
}

/// To be asked before more is read: another version may have another length.
pub(super) fn check_version(version: u8) -> Result<(), HelloError> {
    match version {
        VERSION => Ok(()),
        other => Err(HelloError::Version(other)),
    }
}

impl Answer {
    pub fn encode(&self) -> Vec<u8> {
        [MAGIC.as_slice(), &self.node.0, &self.nonce].concat()
    }

    /// Reads the answer of the node that was wanted.
    pub fn decode(bytes: &[u8; ANSWER], wanted: NodeId) -> Result<Answer, HelloError> {
        if bytes[..4] != MAGIC {
            return Err(HelloError::Magic);
        }
        match id(&bytes[4..24]) {
            node if node == wanted => Ok(Answer {
                node,
                nonce: nonce(&bytes[24..]),
            }),
            other => Err(HelloError::Other(other)),
        }
    }
}

fn mac(password: &Password, side: Side, hello: &Hello, answer: &Answer) -> Hmac<Sha256> {
    let mut mac = Hmac::new_from_slice(password.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(match side {
        Side::Caller => b"caller",
        Side::Called => b"called",
    });
    mac.update(&hello.encode());
    mac.update(&answer.encode());
    mac
}

/// What shows to the other side that this one knows the password.
pub(super) fn prove(
    password: &Password,
    side: Side,
    hello: &Hello,
    answer: &Answer,
) -> [u8; PROOF] {
    let proof = mac(password, side, hello, answer).finalize();
    proof.into_bytes().into()
}

/// Whether `side` knows the password. Takes as long for any wrong proof.
pub(super) fn check(
    password: &Password,
    side: Side,
    hello: &Hello,
    answer: &Answer,
    proof: &[u8; PROOF],
) -> Result<(), HelloError> {
    let mac = mac(password, side, hello, answer);
    mac.verify_slice(proof).map_err(|_| HelloError::Password)
}

fn id(bytes: &[u8]) -> NodeId {
    NodeId(bytes.try_into().expect("a slice of twenty bytes"))
}

fn nonce(bytes: &[u8]) -> [u8; NONCE] {
    bytes.try_into().expect("a slice of sixteen bytes")
}
