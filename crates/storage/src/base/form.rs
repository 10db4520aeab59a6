//! The bytes of a base, version 2 (docs/DATA_FORMATS.md).
//!
//! Owns encoding and decoding, nothing of the file. The layout has a place for all that later steps
//! will need. What this build does not use is written as absent; where it is present the decoder
//! refuses, by name, since a member that passed over it would begin with another state than its own.
//!
//! Invariants: decoding is total, and one base has one form, so no bit can change unnoticed.

use super::{
    bad, Base, LogStart, Member, MemberIdentity, MemberKind, SnapshotMeta, StateFile, FILE,
};
use crate::error::{Result, StorageError};
use crate::position::Position;
use crate::record::ALIGN;
use ::base::ids::{EntryId, GroupId, Incarnation, RaftId};
use raft::eraftpb::ConfState;

const MAGIC: &[u8; 8] = b"HFBASE\r\n";
const VERSION: u32 = 2;
/// Magic, version, length of the body: what the checksum covers beside the body.
const HEADER: usize = 16;
const ABSENT: u8 = 0;
const PRESENT: u8 = 1;

/// The state as of the snapshot's index.
mod state {
    /// There is none: it has to be fetched.
    pub const NONE: u8 = 0;
    /// The empty keyspace of a group's bootstrap; or the member is a witness, which never has one.
    pub const BOOTSTRAP: u8 = 1;
    /// A file, whose length and checksum follow.
    pub const SNAPSHOT: u8 = 2;
}

impl Base {
    /// The file's content.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(256 + self.snapshot.record.len());
        put_identity(&mut body, &self.identity);
        put_snapshot(&mut body, &self.snapshot);
        body.push(ABSENT); // a hard state
        put_start(&mut body, self.start.as_ref());
        body.push(ABSENT); // the fingerprint of an imported file

        let mut out = Vec::with_capacity(HEADER + 4 + body.len());
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        put_len(&mut out, body.len());
        let crc = checksum(&out, &body);
        out.extend_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(&body);
        out
    }

    /// Reads what [`Base::to_bytes`] made.
    pub fn from_bytes(bytes: &[u8]) -> Result<Base> {
        let mut f = Fields(bytes);
        let header = f.take(HEADER)?;
        let mut h = Fields(header);
        if h.take(MAGIC.len())? != MAGIC {
            return Err(bad("is not a member's base"));
        }
        let found = h.u32()?;
        if found != VERSION {
            return Err(StorageError::Version {
                file: FILE.into(),
                found,
                known: VERSION,
            });
        }
        let (len, crc) = (h.u32()? as usize, f.u32()?);
        let body = f.0;
        if body.len() != len || checksum(header, body) != crc {
            return Err(bad("does not match its checksum"));
        }
        let mut base = Base {
            identity: f.identity()?,
            snapshot: f.snapshot()?,
            start: None,
        };
        f.absent("a hard state")?;
        base.start = f.start(&base.snapshot)?;
        f.absent("an imported file")?;
        match f.0 {
            [] => Ok(base),
            _ => Err(bad("has bytes behind its end")),
        }
    }
}

fn put_identity(out: &mut Vec<u8>, identity: &MemberIdentity) {
    for v in [
        identity.group.0,
        identity.incarnation.0,
        identity.raft_id.0,
        identity.election_timeout_ms,
    ] {
        put_u64(out, v);
    }
    out.push(match identity.kind {
        MemberKind::Data => 0,
        MemberKind::Witness => 1,
    });
    put_len(out, 0); // the lineage
}

fn put_snapshot(out: &mut Vec<u8>, snapshot: &SnapshotMeta) {
    match &snapshot.file {
        None => out.push(state::BOOTSTRAP),
        Some(file) => {
            out.push(state::SNAPSHOT);
            put_u64(out, file.bytes);
            put_u64(out, file.crc64);
        }
    }
    put_u64(out, snapshot.index);
    put_u64(out, snapshot.term);
    // The previous snapshot, and the index of the configuration where it is not the state's.
    out.extend_from_slice(&[ABSENT; 2]);
    let conf = &snapshot.conf_state;
    out.push(u8::from(conf.auto_leave));
    for list in [
        &conf.voters,
        &conf.learners,
        &conf.voters_outgoing,
        &conf.learners_next,
    ] {
        put_len(out, list.len());
        for id in list {
            put_u64(out, *id);
        }
    }
    put_len(out, snapshot.members.len());
    for member in &snapshot.members {
        member.encode(out);
    }
    // Where this member was added, and whether it has left.
    out.extend_from_slice(&[ABSENT; 2]);
    put_len(out, snapshot.record.len());
    out.extend_from_slice(&snapshot.record);
}

fn put_start(out: &mut Vec<u8>, start: Option<&LogStart>) {
    let Some(start) = start else {
        return out.push(ABSENT);
    };
    out.push(PRESENT);
    put_u64(out, start.position.0);
    out.extend_from_slice(&start.chain.to_le_bytes());
    put_u64(out, start.before.index);
    put_u64(out, start.before.term);
}

fn checksum(header: &[u8], body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(header), body)
}

fn put_u64(out: &mut Vec<u8>, v: u64) {
    out.extend_from_slice(&v.to_le_bytes());
}

fn put_len(out: &mut Vec<u8>, len: usize) {
    let len = u32::try_from(len).expect("a base's lists and record are far below 4 GiB");
    out.extend_from_slice(&len.to_le_bytes());
}

/// The bytes that are left to be decoded.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn identity(&mut self) -> Result<MemberIdentity> {
        let identity = MemberIdentity {
            group: GroupId(self.u64()?),
            incarnation: Incarnation(self.u64()?),
            raft_id: RaftId(self.u64()?),
            election_timeout_ms: self.u64()?,
            kind: match self.u8()? {
                0 => MemberKind::Data,
                1 => MemberKind::Witness,
                _ => return Err(bad("names an unknown kind of member")),
            },
        };
        match self.u32()? {
            0 => Ok(identity),
            _ => Err(unread("a lineage")),
        }
    }

    fn snapshot(&mut self) -> Result<SnapshotMeta> {
        let file = match self.u8()? {
            state::BOOTSTRAP => None,
            state::NONE => return Err(unread("no state")),
            state::SNAPSHOT => Some(StateFile {
                bytes: self.u64()?,
                crc64: self.u64()?,
            }),
            _ => return Err(bad("names an unknown kind of state")),
        };
        let (index, term) = (self.u64()?, self.u64()?);
        self.absent("a previous snapshot")?;
        self.absent("an index of its configuration")?;
        let auto_leave = match self.u8()? {
            0 => false,
            1 => true,
            _ => return Err(bad("has an unknown kind of configuration")),
        };
        let (voters, learners, voters_outgoing, learners_next) =
            (self.ids()?, self.ids()?, self.ids()?, self.ids()?);
        if voters.is_empty() {
            return Err(bad("names no voter")); // G1
        }
        let members = self.members()?;
        self.absent("the index of its own join")?;
        self.absent("the mark of a member that has left")?;
        let len = self.u32()? as usize;
        Ok(SnapshotMeta {
            index,
            term,
            conf_state: ConfState {
                voters,
                learners,
                voters_outgoing,
                learners_next,
                auto_leave,
                ..ConfState::default()
            },
            members,
            record: self.take(len)?.to_vec(),
            file,
        })
    }

    fn start(&mut self, snapshot: &SnapshotMeta) -> Result<Option<LogStart>> {
        match self.u8()? {
            ABSENT => return Ok(None),
            PRESENT => {}
            _ => return Err(bad("has an unreadable start of the log")),
        }
        let start = LogStart {
            position: Position(self.u64()?),
            chain: self.u32()?,
            before: EntryId {
                index: self.u64()?,
                term: self.u64()?,
            },
        };
        let (before, at) = (start.before, snapshot.entry());
        // P9: the log reaches back to the state, or further.
        let follows = before == at || before.index < at.index && before.term <= at.term;
        let position = start.position.0;
        if !follows || position % ALIGN != 0 || position > u64::MAX / 2 {
            return Err(bad("has a start of the log that makes no sense"));
        }
        Ok(Some(start))
    }

    fn members(&mut self) -> Result<Vec<Member>> {
        let count = self.u32()? as usize;
        let one = |bytes| Member::decode(bytes).ok_or_else(|| bad("has an unreadable member"));
        self.take(count.saturating_mul(Member::LEN))?
            .chunks_exact(Member::LEN)
            .map(one)
            .collect()
    }

    /// A field that this build never writes.
    fn absent(&mut self, what: &'static str) -> Result<()> {
        match self.u8()? {
            ABSENT => Ok(()),
            _ => Err(unread(what)),
        }
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8]> {
        let (head, tail) = self
            .0
            .split_at_checked(n)
            .ok_or_else(|| bad("ends too early"))?;
        self.0 = tail;
        Ok(head)
    }

    fn u8(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
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

fn unread(what: &'static str) -> StorageError {
    StorageError::Unread {
        file: FILE.into(),
        what,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RealDisk;
    use ::base::NodeId;
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    fn any_base() -> impl Strategy<Value = Base> {
        let ids = || vec(any::<u64>(), 0..4);
        let kind =
            || any::<bool>().prop_map(|w| [MemberKind::Data, MemberKind::Witness][usize::from(w)]);
        let member =
            (any::<u64>(), any::<[u8; 20]>(), kind()).prop_map(|(raft_id, node, kind)| Member {
                raft_id: RaftId(raft_id),
                node: NodeId(node),
                kind,
            });
        let identity = (any::<[u64; 4]>(), kind()).prop_map(|(n, kind)| MemberIdentity {
            group: GroupId(n[0]),
            incarnation: Incarnation(n[1]),
            raft_id: RaftId(n[2]),
            kind,
            election_timeout_ms: n[3],
        });
        let conf = (vec(any::<u64>(), 1..4), ids(), ids(), ids(), any::<bool>());
        let rest = (
            any::<u64>(),
            any::<u64>(),
            vec(member, 0..4),
            vec(any::<u8>(), 0..60),
        );
        let file = option::of((any::<u64>(), any::<u64>()));
        let start = option::of((0..u64::MAX / 16, any::<u32>(), any::<u64>(), any::<u64>()));
        (identity, conf, rest, file, start).prop_map(
            |(identity, conf, (index, term, members, record), file, start)| Base {
                identity,
                snapshot: SnapshotMeta {
                    index,
                    term,
                    conf_state: ConfState {
                        voters: conf.0,
                        learners: conf.1,
                        voters_outgoing: conf.2,
                        learners_next: conf.3,
                        auto_leave: conf.4,
                        ..ConfState::default()
                    },
                    members,
                    record,
                    file: file.map(|(bytes, crc64)| StateFile { bytes, crc64 }),
                },
                start: start.map(|(at, chain, below, earlier)| LogStart {
                    position: Position(at * ALIGN),
                    chain,
                    before: match index {
                        0 => EntryId { index, term },
                        _ => EntryId {
                            index: below % index,
                            term: earlier.min(term),
                        },
                    },
                }),
            },
        )
    }

    fn sample() -> Base {
        Base {
            identity: MemberIdentity {
                group: GroupId(7),
                ..MemberIdentity::default()
            },
            snapshot: SnapshotMeta {
                index: 1,
                term: 1,
                conf_state: (vec![3], vec![]).into(),
                ..SnapshotMeta::default()
            },
            start: None,
        }
    }

    /// The sample with a snapshot at index 9 and a log that begins behind this entry, at this position.
    fn with_start(position: u64, index: u64, term: u64) -> Base {
        let mut base = sample();
        (base.snapshot.index, base.snapshot.term) = (9, 4);
        base.start = Some(LogStart {
            position: Position(position),
            chain: 7,
            before: EntryId { index, term },
        });
        base
    }

    /// The sample with one byte of its body changed and the right checksum.
    fn with_byte(at: usize, byte: u8) -> Result<Base> {
        let mut bytes = sample().to_bytes();
        let (header, body) = (bytes[..HEADER].to_vec(), HEADER + 4);
        bytes[body + at] = byte;
        let crc = checksum(&header, &bytes[body..]);
        bytes[HEADER..body].copy_from_slice(&crc.to_le_bytes());
        Base::from_bytes(&bytes)
    }

    #[test]
    fn a_base_survives_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk::new(dir.path());
        assert!(Base::load(&disk).unwrap().is_none());
        sample().save(&disk).unwrap();
        assert_eq!(Base::load(&disk).unwrap(), Some(sample()));
    }

    #[test]
    fn fields_of_later_builds_are_refused_by_name() {
        let len = sample().to_bytes().len() - HEADER - 4;
        for (at, byte, what) in [
            (33, 1, "a lineage"),
            (37, state::NONE, "no state"),
            (54, 1, "a previous snapshot"),
            (55, 1, "an index of its configuration"),
            (len - 9, 1, "the index of its own join"),
            (len - 8, 1, "the mark of a member that has left"),
            (len - 3, 1, "a hard state"),
            (len - 1, 1, "an imported file"),
        ] {
            let error = with_byte(at, byte).unwrap_err();
            let named = matches!(error, StorageError::Unread { what: w, .. } if w == what);
            assert!(named, "{what}: {error}");
        }
        for (at, byte) in [(32, 2), (37, 3), (56, 2), (len - 2, 2)] {
            let error = with_byte(at, byte).unwrap_err();
            assert!(matches!(error, StorageError::BadFile { .. }), "{error}");
        }
    }

    #[test]
    fn log_starts_at_or_before_its_state() {
        for (position, index, term, whole) in [
            (4096, 8, 4, true),
            (4096, 9, 4, true),
            (0, 1, 1, true),
            (4096, 9, 3, false),
            (4096, 10, 4, false),
            (4096, 8, 5, false),
            (4100, 8, 4, false),
            (u64::MAX - 7, 8, 4, false),
        ] {
            let base = with_start(position, index, term);
            let read = Base::from_bytes(&base.to_bytes());
            assert_eq!(read.is_ok(), whole, "{position} {index} {term}");
            assert!(read.is_err() || read.unwrap() == base);
        }
    }

    #[test]
    fn version_1_is_refused_and_named() {
        let mut bytes = sample().to_bytes();
        bytes[8] = 1;
        let error = Base::from_bytes(&bytes).unwrap_err().to_string();
        assert!(error.starts_with("base has format version 1, "), "{error}");
        assert!(error.contains("this build reads version 2"), "{error}");
    }

    proptest! {
        #[test]
        fn base_round_trips_and_a_flipped_bit_is_refused(
            base in any_base(),
            at in any::<prop::sample::Index>(),
            bit in 0u8..8,
        ) {
            let good = base.to_bytes();
            prop_assert_eq!(Base::from_bytes(&good).unwrap(), base);
            let mut bytes = good.clone();
            bytes[at.index(good.len())] ^= 1 << bit;
            prop_assert!(Base::from_bytes(&bytes).is_err());
            prop_assert!(Base::from_bytes(&good[..at.index(good.len())]).is_err());
        }

        /// Any bytes are a base or an error, also behind a right checksum; a base is what it encodes.
        #[test]
        fn any_bytes_are_a_base_or_an_error(body in vec(any::<u8>(), 0..300), near in any_base(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            prop_assert!(Base::from_bytes(&body).is_err());
            let mut other = near.to_bytes().split_off(HEADER + 4);
            let i = at.index(other.len());
            other[i] = byte;
            for body in [body, other] {
                let mut bytes = [MAGIC.as_slice(), &VERSION.to_le_bytes()].concat();
                put_len(&mut bytes, body.len());
                let crc = checksum(&bytes, &body);
                bytes.extend_from_slice(&crc.to_le_bytes());
                bytes.extend_from_slice(&body);
                if let Ok(base) = Base::from_bytes(&bytes) {
                    prop_assert_eq!(base.to_bytes(), bytes);
                }
            }
        }
    }
}
