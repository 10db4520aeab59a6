//! The birth record of a member: the file `base`.
//!
//! Owns the form of the file and its atomic replacement. A member's RawNode is made from this
//! record and the log behind it, never from nothing (G1). The record bytes are the shard's own and
//! opaque here.
//!
//! Invariant: the file is either absent (nobody was born here) or whole; a crash leaves the old
//! file or the new one.

use super::disk::{Disk, DiskFile};
use super::error::{Result, StorageError};
use cluster_bus::NodeId;
use raft::eraftpb::ConfState;

pub const FILE: &str = "base";
const TEMP: &str = "base.tmp";
const MAGIC: &[u8; 8] = b"HFBASE\r\n";
const VERSION: u32 = 1;
const HEADER: usize = 20;
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
    pub raft_id: u64,
    pub node: NodeId,
    pub kind: MemberKind,
}

impl Member {
    /// Bytes of an encoded member: raft id (little endian), node id, kind.
    pub const LEN: usize = 8 + 20 + 1;

    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.raft_id.to_le_bytes());
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
            raft_id: u64::from_le_bytes(*id),
            node: NodeId(*node),
            kind,
        })
    }
}

/// Where a member's log begins, and as whom.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Base {
    pub group: u64,
    /// Counts takeovers (G7).
    pub incarnation: u64,
    /// This member's id, minted at its join.
    pub raft_id: u64,
    pub kind: MemberKind,
    /// The synthetic snapshot: the first index of the log is the next one.
    pub index: u64,
    pub term: u64,
    /// As of `index`; never empty (G1).
    pub conf_state: ConfState,
    /// As of `index`, like the ConfState (G5).
    pub members: Vec<Member>,
    /// T, fixed for the life of the group.
    pub election_timeout_ms: u64,
    /// The shard record as of `index`.
    pub record: Vec<u8>,
}

impl Base {
    /// Reads the file; `None` where no member was ever born.
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
        let file = disk
            .create(TEMP)
            .map_err(StorageError::io("create", TEMP))?;
        file.write_at(&self.to_bytes(), 0)
            .map_err(StorageError::io("write", TEMP))?;
        file.sync_data().map_err(StorageError::io("sync", TEMP))?;
        disk.rename(TEMP, FILE)
            .map_err(StorageError::io("rename", TEMP))?;
        disk.sync_dir()
            .map_err(StorageError::io("sync the folder of", FILE))
    }

    /// The file's content.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(128 + self.record.len());
        for v in [
            self.group,
            self.incarnation,
            self.raft_id,
            self.index,
            self.term,
        ] {
            put_u64(&mut body, v);
        }
        put_u64(&mut body, self.election_timeout_ms);
        body.push(match self.kind {
            MemberKind::Data => 0,
            MemberKind::Witness => 1,
        });
        body.push(u8::from(self.conf_state.auto_leave));
        let conf = &self.conf_state;
        for list in [
            &conf.voters,
            &conf.learners,
            &conf.voters_outgoing,
            &conf.learners_next,
        ] {
            put_u32(&mut body, list.len());
            for id in list {
                put_u64(&mut body, *id);
            }
        }
        put_u32(&mut body, self.members.len());
        for member in &self.members {
            member.encode(&mut body);
        }
        put_u32(&mut body, self.record.len());
        body.extend_from_slice(&self.record);

        let mut out = Vec::with_capacity(HEADER + body.len());
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        put_u32(&mut out, body.len());
        out.extend_from_slice(&checksum(&body).to_le_bytes());
        out.extend_from_slice(&body);
        out
    }

    /// Reads what [`Base::to_bytes`] made.
    pub fn from_bytes(bytes: &[u8]) -> Result<Base> {
        let mut header = Fields(bytes);
        if header.take(8)? != MAGIC {
            return Err(bad("is not a birth record"));
        }
        let found = header.u32()?;
        if found != VERSION {
            return Err(StorageError::Version {
                file: FILE.into(),
                found,
                known: VERSION,
            });
        }
        let (len, crc) = (header.u32()? as usize, header.u32()?);
        let body = header.0;
        if body.len() != len || checksum(body) != crc {
            return Err(bad("does not match its checksum"));
        }
        Base::decode_body(Fields(body))
    }

    fn decode_body(mut f: Fields<'_>) -> Result<Base> {
        let (group, incarnation, raft_id) = (f.u64()?, f.u64()?, f.u64()?);
        let (index, term, election_timeout_ms) = (f.u64()?, f.u64()?, f.u64()?);
        let kind = match f.take(1)?[0] {
            0 => MemberKind::Data,
            1 => MemberKind::Witness,
            _ => return Err(bad("names an unknown kind of member")),
        };
        let auto_leave = f.take(1)?[0] != 0;
        let (voters, learners, voters_outgoing, learners_next) =
            (f.ids()?, f.ids()?, f.ids()?, f.ids()?);
        let conf_state = ConfState {
            voters,
            learners,
            voters_outgoing,
            learners_next,
            auto_leave,
            ..ConfState::default()
        };
        let count = f.u32()? as usize;
        let members = f
            .take(count.saturating_mul(Member::LEN))?
            .chunks_exact(Member::LEN)
            .map(|bytes| {
                Member::decode(bytes).ok_or_else(|| bad("names an unknown kind of member"))
            })
            .collect::<Result<Vec<Member>>>()?;
        let len = f.u32()? as usize;
        let record = f.take(len)?.to_vec();
        if !f.0.is_empty() {
            return Err(bad("has bytes behind its end"));
        }
        if conf_state.voters.is_empty() {
            return Err(bad("names no voter")); // G1
        }
        Ok(Base {
            group,
            incarnation,
            raft_id,
            kind,
            index,
            term,
            conf_state,
            members,
            election_timeout_ms,
            record,
        })
    }
}

fn bad(what: &'static str) -> StorageError {
    StorageError::BadFile {
        file: FILE.into(),
        what,
    }
}

fn checksum(body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&(body.len() as u64).to_le_bytes()), body)
}

fn put_u64(out: &mut Vec<u8>, v: u64) {
    out.extend_from_slice(&v.to_le_bytes());
}

fn put_u32(out: &mut Vec<u8>, len: usize) {
    let len = u32::try_from(len).expect("a base's lists and record are far below 4 GiB");
    out.extend_from_slice(&len.to_le_bytes());
}

/// What is left to be decoded.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8]> {
        let (head, tail) = self
            .0
            .split_at_checked(n)
            .ok_or_else(|| bad("ends too early"))?;
        self.0 = tail;
        Ok(head)
    }

    fn u32(&mut self) -> Result<u32> {
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes(
            bytes.try_into().expect("four bytes were taken"),
        ))
    }

    fn u64(&mut self) -> Result<u64> {
        let bytes = self.take(8)?;
        Ok(u64::from_le_bytes(
            bytes.try_into().expect("eight bytes were taken"),
        ))
    }

    fn ids(&mut self) -> Result<Vec<u64>> {
        let n = self.u32()? as usize;
        // Taken as bytes first: a wild count ends here, before any memory is reserved for it.
        let bytes = self.take(n.saturating_mul(8))?;
        Ok(bytes
            .chunks_exact(8)
            .map(|b| u64::from_le_bytes(b.try_into().expect("chunks of eight bytes")))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Base {
        Base {
            group: 7,
            incarnation: 1,
            raft_id: 0xabcd,
            kind: MemberKind::Witness,
            index: 1,
            term: 1,
            conf_state: ConfState {
                voters: vec![1, 2, 3],
                learners: vec![4],
                voters_outgoing: vec![1],
                learners_next: vec![5],
                auto_leave: true,
                ..ConfState::default()
            },
            members: vec![Member {
                raft_id: 3,
                node: NodeId([7; 20]),
                kind: MemberKind::Witness,
            }],
            election_timeout_ms: 1000,
            record: b"record".to_vec(),
        }
    }

    #[test]
    fn a_base_survives_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let disk = super::super::RealDisk::new(dir.path());
        assert!(Base::load(&disk).unwrap().is_none());
        sample().save(&disk).unwrap();
        assert_eq!(Base::load(&disk).unwrap(), Some(sample()));
    }

    #[test]
    fn the_format_is_as_documented() {
        let base = Base {
            conf_state: (vec![3], vec![]).into(),
            members: Vec::new(),
            record: vec![9],
            ..sample()
        };
        let bytes = base.to_bytes();
        assert_eq!(&bytes[..8], MAGIC);
        assert_eq!(&bytes[8..16], &[1, 0, 0, 0, 83, 0, 0, 0]);
        assert_eq!(&bytes[20..28], &7u64.to_le_bytes());
        assert_eq!(bytes[68], 1);
        assert_eq!(bytes.len(), 103);
    }

    proptest! {
        #[test]
        fn any_damage_is_an_error(at in 0usize..300, bit in 0u8..8, cut in 0usize..300) {
            let good = sample().to_bytes();
            let mut bytes = good.clone();
            let i = at % bytes.len();
            bytes[i] ^= 1 << bit;
            prop_assert!(Base::from_bytes(&bytes).is_err());
            prop_assert!(Base::from_bytes(&good[..cut % good.len()]).is_err());
        }
    }
}
