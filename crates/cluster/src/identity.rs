//! Which member this node is: the file `identity`.
//!
//! Owns the form of the file and its atomic replacement. It names the folder that holds the node's
//! shard, the JOINING mark (C1), and the one folder that may be removed: that of a member which has
//! left (its tombstone, G2), or of one that is being made. Never: knows what is in the folders.
//!
//! Invariants: one identity has one text, so no bit of the file can change unnoticed; a file of
//! another version is refused, and nothing in its folder is touched.

use base::ids::RaftId;
use base::mutation::{self, Mutation};
use cluster_bus::nodes_conf::{NodeLine, NodesConf};
use cluster_bus::wire::Flags;
use cluster_bus::NodeId;
use std::io;
use storage::disk::{Disk, DiskFile};

pub const FILE: &str = "identity";
const TEMP: &str = "identity.tmp";
/// The first line, without its version.
const TITLE: &str = "holdfast identity ";
/// Versions 1 and 2 were in a file of another name.
const VERSION: u32 = 3;
const OLD_FILE: &str = "seat";
const OLD_TITLE: &str = "holdfast seat ";
/// No identity comes near this.
const MAX_LEN: u64 = 4096;

/// C1: this node is on its way into another shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joining {
    /// The node whose shard it is.
    pub target: NodeId,
    /// Minted for this join (G2).
    pub raft_id: RaftId,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeIdentity {
    /// The raft id whose folder holds the node's shard; zero: none yet.
    pub member: RaftId,
    pub joining: Option<Joining>,
    /// S4: the raft id whose folder may be removed. The member has left, and this identity names
    /// its successor; or it is being made, and no identity has named it yet.
    pub spare: Option<RaftId>,
}

/// Why the file can't be used: somebody has to look at it.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("can't read or write the file identity: {0}")]
    Io(#[from] io::Error),
    #[error("the file {0} is damaged")]
    Damaged(&'static str),
    #[error(
        "the file {file} has format version {found}, and this build reads version {VERSION}, in the \
         file identity. Nothing has been changed here: start the build that wrote it, or give this \
         node an empty folder"
    )]
    Version { file: &'static str, found: u32 },
}

/// The folder of a data member.
pub fn folder(raft_id: RaftId) -> String {
    format!("shard-{raft_id}")
}

/// Where the folder of a data member goes that nothing names any more: nothing reads it.
pub fn lost(raft_id: RaftId) -> String {
    format!("lost-{raft_id}")
}

impl NodeIdentity {
    /// The identity of a node that has none on disk, in the group that it has just founded as `member`.
    /// S4: the shard that nodes.conf names is not made anew, its members have the data; the node
    /// comes up joining it, under an id from `mint`.
    pub fn first(
        member: RaftId,
        conf: Option<&NodesConf>,
        mint: impl FnOnce() -> RaftId,
    ) -> NodeIdentity {
        let target = conf.and_then(shard_mate);
        let target = target.filter(|_| !mutation::is(Mutation::FirstIdentityForgets));
        let joining = target.map(|target| Joining {
            target,
            raft_id: mint(),
        });
        NodeIdentity {
            member,
            joining,
            spare: None,
        }
    }

    /// Reads the file; none where this node has never been a member.
    pub fn load<D: Disk>(disk: &D) -> Result<Option<NodeIdentity>, IdentityError> {
        refuse_older(disk)?;
        match read(disk, FILE)? {
            None => Ok(None),
            Some(bytes) => NodeIdentity::from_bytes(&bytes).map(Some),
        }
    }

    /// Replaces the file; durable when this returns. An error behind the rename is never one of room (D5):
    /// the next start may find either file.
    pub fn save<D: Disk>(&self, disk: &D) -> Result<(), IdentityError> {
        disk.hold_dir()?;
        let file = disk.create(TEMP)?;
        file.write_at(self.render().as_bytes(), 0)?;
        file.sync_data()?;
        disk.rename(TEMP, FILE)?;
        disk.sync_dir().map_err(io::Error::other)?;
        Ok(())
    }

    fn render(&self) -> String {
        let mut text = format!("{TITLE}{VERSION}\nmember {}\n", self.member);
        if let Some(Joining { target, raft_id }) = self.joining {
            text += &format!("joining {target} {raft_id}\n");
        }
        if let Some(spare) = self.spare {
            text += &format!("spare {spare}\n");
        }
        let sum = crc32c::crc32c(text.as_bytes());
        text + &format!("crc32c {sum:08x}\n")
    }

    /// Reads what [`NodeIdentity::render`] made; every other text is refused.
    fn from_bytes(bytes: &[u8]) -> Result<NodeIdentity, IdentityError> {
        let damaged = IdentityError::Damaged(FILE);
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Err(damaged);
        };
        let found = version(text, TITLE).ok_or(IdentityError::Damaged(FILE))?;
        if found != VERSION {
            return Err(IdentityError::Version { file: FILE, found });
        }
        let identity = NodeIdentity::parse(text).filter(|identity| identity.render() == text);
        identity.ok_or(damaged)
    }

    /// The fields of a file, whose checksum is not looked at here.
    fn parse(text: &str) -> Option<NodeIdentity> {
        let id = |text: &str| u64::from_str_radix(text, 16).ok().map(RaftId);
        let mut lines = text.lines().skip(1).peekable();
        let mut identity = NodeIdentity {
            member: id(lines.next()?.strip_prefix("member ")?)?,
            ..NodeIdentity::default()
        };
        if let Some(line) = lines.next_if(|line| line.starts_with("joining ")) {
            let (target, raft_id) = line.strip_prefix("joining ")?.split_once(' ')?;
            identity.joining = Some(Joining {
                target: target.parse().ok()?,
                raft_id: id(raft_id)?,
            });
        }
        if let Some(line) = lines.next_if(|line| line.starts_with("spare ")) {
            identity.spare = Some(id(line.strip_prefix("spare ")?)?);
        }
        Some(identity)
    }
}

/// A folder of an earlier version is refused before anything in it is read, made or removed.
pub fn refuse_older<D: Disk>(disk: &D) -> Result<(), IdentityError> {
    let Some(bytes) = read(disk, OLD_FILE)? else {
        return Ok(());
    };
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    let found = version(text, OLD_TITLE).ok_or(IdentityError::Damaged(OLD_FILE))?;
    let file = OLD_FILE;
    Err(IdentityError::Version { file, found })
}

/// The version in a file's first line.
fn version(text: &str, title: &str) -> Option<u32> {
    text.lines().next()?.strip_prefix(title)?.parse().ok()
}

/// A file's content; none where there is no such file.
fn read<D: Disk>(disk: &D, name: &'static str) -> Result<Option<Vec<u8>>, IdentityError> {
    if !disk.list()?.iter().any(|file| file == name) {
        return Ok(None);
    }
    let file = disk.open(name)?;
    let len = file.len()?;
    if len > MAX_LEN {
        return Err(IdentityError::Damaged(name));
    }
    let mut bytes = vec![0; len as usize];
    let n = file.read_at(&mut bytes, 0)?;
    bytes.truncate(n);
    Ok(Some(bytes))
}

/// Another node of the shard that nodes.conf says this node belongs to.
fn shard_mate(conf: &NodesConf) -> Option<NodeId> {
    let me = conf.myself()?;
    if me.flags.has(Flags::SLAVE) {
        return me.master;
    }
    let of_shard = |line: &&NodeLine| {
        let same = line.shard.is_some() && line.shard == me.shard;
        line.id != me.id && (same || line.master == Some(me.id))
    };
    conf.nodes.iter().find(of_shard).map(|line| line.id)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods)] // older folders are written by hand

    use super::*;
    use proptest::prelude::*;
    use storage::RealDisk;

    const GOLDEN: &str = "\
holdfast identity 3
member 0000000000000007
joining 0303030303030303030303030303030303030303 ffffffffffffffff
spare 0000000000000009
crc32c 0c8757f6
";

    fn golden() -> NodeIdentity {
        NodeIdentity {
            member: RaftId(7),
            joining: Some(Joining {
                target: NodeId([3; 20]),
                raft_id: RaftId(u64::MAX),
            }),
            spare: Some(RaftId(9)),
        }
    }

    fn any_identity() -> impl Strategy<Value = NodeIdentity> {
        let joining = prop::option::of((any::<[u8; 20]>(), any::<u64>()));
        let parts = (any::<u64>(), joining, prop::option::of(any::<u64>()));
        parts.prop_map(|(member, joining, spare)| NodeIdentity {
            member: RaftId(member),
            joining: joining.map(|(target, raft_id)| Joining {
                target: NodeId(target),
                raft_id: RaftId(raft_id),
            }),
            spare: spare.map(RaftId),
        })
    }

    #[test]
    fn bytes_are_those_of_version_3() {
        assert_eq!(golden().render(), GOLDEN);
        let read = NodeIdentity::from_bytes(GOLDEN.as_bytes());
        assert_eq!(read.unwrap(), golden());
    }

    proptest! {
        #[test]
        fn identity_round_trips_and_a_flipped_bit_is_refused(
            identity in any_identity(),
            at in any::<prop::sample::Index>(),
            bit in 0u8..8,
        ) {
            let good = identity.render().into_bytes();
            prop_assert_eq!(NodeIdentity::from_bytes(&good).unwrap(), identity);
            let mut bytes = good.clone();
            bytes[at.index(good.len())] ^= 1 << bit;
            prop_assert!(NodeIdentity::from_bytes(&bytes).is_err());
            prop_assert!(NodeIdentity::from_bytes(&good[..at.index(good.len())]).is_err());
        }

        #[test]
        fn any_bytes_are_an_error(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            text in "[a-f0-9 \n]{0,80}",
        ) {
            prop_assert!(NodeIdentity::from_bytes(&bytes).is_err());
            let near = format!("{TITLE}{VERSION}\nmember 1\n{text}crc32c 0\n");
            prop_assert!(NodeIdentity::from_bytes(near.as_bytes()).is_err());
        }
    }

    #[test]
    fn another_version_is_refused_and_named() {
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk::new(dir.path());
        for (file, text, found) in [
            (FILE, "holdfast identity 4\n", 4),
            (OLD_FILE, "holdfast seat 2\nmember 07\n", 2),
            (OLD_FILE, "holdfast seat 1\n", 1),
        ] {
            std::fs::write(dir.path().join(file), text).unwrap();
            let error = NodeIdentity::load(&disk).unwrap_err().to_string();
            let names = format!("the file {file} has format version {found}, ");
            assert!(error.starts_with(&names), "{error}");
            assert!(error.contains("this build reads version 3"), "{error}");
        }
        std::fs::write(dir.path().join(OLD_FILE), [0xff; 9]).unwrap();
        let error = NodeIdentity::load(&disk).unwrap_err();
        assert!(matches!(error, IdentityError::Damaged(OLD_FILE)), "{error}");
    }
}
