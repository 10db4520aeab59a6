//! Both ends of a transfer: every event in every state, and the two of them over a bad network.

mod lossy;
mod receiver;
mod sender;

use super::message::{Message, StateName};
use super::*;
use base::ids::EntryId;
use raft::eraftpb::ConfState;
use std::time::Duration;
use storage::transfer::PIECE;
use storage::{Base, MemberIdentity, SnapshotMeta, StateFile};

const T: Duration = Duration::from_secs(1);
const GROUP: GroupId = GroupId(9);
const ME: RaftId = RaftId(2);

fn node(letter: u8) -> NodeId {
    NodeId([letter; 20])
}

fn at(index: u64) -> EntryId {
    EntryId { index, term: 3 }
}

/// The base of a leader whose state is as of `index`; two files of one entry differ by the checksum.
fn base_at(index: u64, crc64: u64, bytes: u64) -> Base {
    Base {
        identity: MemberIdentity {
            group: GROUP,
            raft_id: ME,
            ..MemberIdentity::default()
        },
        snapshot: SnapshotMeta {
            index,
            term: 3,
            conf_state: ConfState {
                voters: vec![2],
                ..ConfState::default()
            },
            file: Some(StateFile { bytes, crc64 }),
            ..SnapshotMeta::default()
        },
        start: None,
    }
}

fn name(index: u64, crc64: u64) -> StateName {
    StateName {
        group: GROUP,
        at: at(index),
        crc64,
    }
}

/// What a message says, in a word.
fn said(to: NodeId, message: &Message) -> String {
    let to = char::from(to.0[0]);
    match message {
        Message::Offer { base, .. } => format!("Offer {} {to}", base.snapshot.index),
        Message::Pull { offset, .. } => format!("Pull {} {to}", offset / PIECE),
        Message::Piece { offset, .. } => format!("Piece {} {to}", offset / PIECE),
        Message::NoState { .. } => format!("NoState {to}"),
        Message::Pulling { at, received, .. } => format!("Pulling {}+{received} {to}", at.index),
        Message::HasState { at, .. } => format!("HasState {} {to}", at.index),
    }
}
