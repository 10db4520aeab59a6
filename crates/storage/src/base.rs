//! With what a member begins: the file `base`.
//!
//! Owns two things in one file, because they change by one rename: the member's identity, which never
//! changes under one raft id (G2), and the metadata of the snapshot behind which its log begins,
//! which a later snapshot replaces. Owns the atomic replacement; [`form`] has the bytes. A member's
//! RawNode is made from this file and the log behind it, never from nothing (G1). The record's
//! bytes are the shard's own and opaque here.
//!
//! Invariant: the file is either absent (no member began here) or whole; a crash leaves the old
//! file or the new one.

mod form;

use super::disk::{Disk, DiskFile};
use super::error::{Result, StorageError};
use super::position::Position;
use super::reserve;
use ::base::ids::{EntryId, GroupId, Incarnation, RaftId};
use ::base::NodeId;
use raft::eraftpb::ConfState;

pub const FILE: &str = "base";
const TEMP: &str = "base.tmp";
/// No base comes near this; a longer file is foreign.
const MAX_LEN: u64 = 64 << 20;

/// What a member keeps; never changes under one raft id (G2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MemberKind {
    #[default]
    Data,
    Witness,
}

/// One entry of a group's member list (G5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    pub raft_id: RaftId,
    pub node: NodeId,
    pub kind: MemberKind,
}

impl Member {
    /// Bytes of an encoded member: raft id (little endian), node id, kind.
    pub const LEN: usize = 8 + 20 + 1;

    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.raft_id.0.to_le_bytes());
        out.extend_from_slice(&self.node.0);
        out.push(match self.kind {
            MemberKind::Data => 0,
            MemberKind::Witness => 1,
        });
    }

    /// Reads a member that fills `bytes`; none if it is not one.
    pub fn decode(bytes: &[u8]) -> Option<Member> {
        let (id, rest) = bytes.split_first_chunk::<8>()?;
        let (node, rest) = rest.split_first_chunk::<20>()?;
        let kind = match rest {
            [0] => MemberKind::Data,
            [1] => MemberKind::Witness,
            _ => return None,
        };
        Some(Member {
            raft_id: RaftId(u64::from_le_bytes(*id)),
            node: NodeId(*node),
            kind,
        })
    }
}

/// A member's identity: fixed when it joins, and the same in every base that it ever has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemberIdentity {
    pub group: GroupId,
    /// Counts takeovers (G7).
    pub incarnation: Incarnation,
    /// This member's id, minted at its join.
    pub raft_id: RaftId,
    pub kind: MemberKind,
    /// T, fixed for the life of the group.
    pub election_timeout_ms: u64,
}

/// The snapshot behind which a member's log begins: at a bootstrap a synthetic one (G1). A later
/// snapshot moves all of it at once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SnapshotMeta {
    /// The log reaches back to it, or further (P9).
    pub index: u64,
    pub term: u64,
    /// As of `index`; never empty (G1).
    pub conf_state: ConfState,
    /// As of `index`, like the ConfState (G5).
    pub members: Vec<Member>,
    /// The shard record as of `index`.
    pub record: Vec<u8>,
    /// The state as of `index`. None: the empty keyspace of a bootstrap, or the member is a witness.
    pub file: Option<StateFile>,
}

/// The file that holds a state. Its name follows from what it is (`snapshot::name`), so that two
/// files of one index never share one (P8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateFile {
    pub bytes: u64,
    /// The checksum with which the file ends.
    pub crc64: u64,
}

/// Where a log begins: a record that is durable, and the entry before it (P10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogStart {
    pub position: Position,
    /// The checksum that the record names as that of the piece before it.
    pub chain: u32,
    /// The entry before the log's first one; at most the snapshot's (P9).
    pub before: EntryId,
}

impl SnapshotMeta {
    /// The entry as of which it is.
    pub fn entry(&self) -> EntryId {
        EntryId {
            index: self.index,
            term: self.term,
        }
    }
}

/// What the file `base` says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Base {
    pub identity: MemberIdentity,
    pub snapshot: SnapshotMeta,
    /// None: at position 0, behind the snapshot.
    pub start: Option<LogStart>,
}

impl Base {
    /// The entry before the log's first one.
    pub fn log_before(&self) -> EntryId {
        self.start
            .map_or(self.snapshot.entry(), |start| start.before)
    }

    /// Reads the file; `None` where no member ever began.
    pub fn load<D: Disk>(disk: &D) -> Result<Option<Base>> {
        let names = disk
            .list()
            .map_err(StorageError::io("list the folder of", FILE))?;
        if !names.iter().any(|n| n == FILE) {
            return Ok(None);
        }
        let file = disk.open(FILE).map_err(StorageError::io("open", FILE))?;
        let len = file.len().map_err(StorageError::io("read", FILE))?;
        if len > MAX_LEN {
            return Err(bad("is too long"));
        }
        let mut bytes = vec![0; len as usize];
        let n = file
            .read_at(&mut bytes, 0)
            .map_err(StorageError::io("read", FILE))?;
        bytes.truncate(n);
        Base::from_bytes(&bytes).map(Some)
    }

    /// Replaces the file; durable when this returns.
    pub fn save<D: Disk>(&self, disk: &D) -> Result<()> {
        self.write(disk)?;
        Base::replace(disk)
    }

    /// Makes what is to become the file. An error changes nothing: the old file stands (P8).
    pub(super) fn write<D: Disk>(&self, disk: &D) -> Result<()> {
        match self.try_to_write(disk) {
            Err(error) if error.is_full() && reserve::give_up(disk) => self.try_to_write(disk),
            written => written,
        }
    }

    fn try_to_write<D: Disk>(&self, disk: &D) -> Result<()> {
        // Behind the rename an error ends the process: nothing that may be short is asked for there (D5).
        disk.hold_dir()
            .map_err(StorageError::io("open the folder of", FILE))?;
        let file = disk
            .create(TEMP)
            .map_err(StorageError::io("create", TEMP))?;
        file.write_at(&self.to_bytes(), 0)
            .map_err(StorageError::io("write", TEMP))?;
        file.sync_data().map_err(StorageError::io("sync", TEMP))
    }

    /// Makes it the file. After an error nobody knows which of the two stands: the process ends (D5).
    pub(super) fn replace<D: Disk>(disk: &D) -> Result<()> {
        disk.rename(TEMP, FILE)
            .map_err(StorageError::io("rename", TEMP))?;
        disk.sync_dir()
            .map_err(StorageError::io("sync the folder of", FILE))
    }
}

fn bad(what: &'static str) -> StorageError {
    StorageError::BadFile {
        file: FILE.into(),
        what,
    }
}
