//! Which member this node is: the file `seat`.
//!
//! Owns the form of the file and its atomic replacement. It names the folder that holds the node's
//! shard, the JOINING mark (C1), and the one folder that may be removed: that of a member which has
//! left (its tombstone, G2), or of one that is being made. Never: knows what is in the folders.

use crate::mutation::{self, Mutation};
use crate::storage::disk::{Disk, DiskFile};
use cluster_bus::nodes_conf::{NodeLine, NodesConf};
use cluster_bus::wire::Flags;
use cluster_bus::NodeId;
use std::io;

pub const FILE: &str = "seat";
const TEMP: &str = "seat.tmp";
const TITLE: &str = "holdfast seat 2";
/// Without the line `spare`.
const TITLE_1: &str = "holdfast seat 1";
/// No seat comes near this.
const MAX_LEN: u64 = 4096;

/// C1: this node is on its way into another shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joining {
    /// The node whose shard it is.
    pub target: NodeId,
    /// Minted for this join (G2).
    pub raft_id: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seat {
    /// The raft id whose folder holds the node's shard; zero: none yet.
    pub member: u64,
    pub joining: Option<Joining>,
    /// S4: the raft id whose folder may be removed. The member has left, and this seat names its
    /// successor; or it is being made, and no seat has named it yet.
    pub spare: Option<u64>,
}

/// Why the file can't be used: somebody has to look at it.
#[derive(Debug, thiserror::Error)]
pub enum SeatError {
    #[error("can't read or write the file seat: {0}")]
    Io(#[from] io::Error),
    #[error("the file seat is damaged")]
    Damaged,
}

/// The folder of a data member.
pub fn folder(raft_id: u64) -> String {
    format!("shard-{raft_id:016x}")
}

/// Where the folder of a data member goes that nothing names any more: nothing reads it.
pub fn lost(raft_id: u64) -> String {
    format!("lost-{raft_id:016x}")
}

impl Seat {
    /// The seat of a node that has none on disk, in the group that it has just founded as `member`.
    /// S4: the shard that nodes.conf names is not made anew, its members have the data; the node
    /// comes up joining it, under an id from `mint`.
    pub fn first(member: u64, conf: Option<&NodesConf>, mint: impl FnOnce() -> u64) -> Seat {
        let target = conf.and_then(shard_mate);
        let target = target.filter(|_| !mutation::is(Mutation::FirstSeatForgets));
        let joining = target.map(|target| Joining {
            target,
            raft_id: mint(),
        });
        Seat {
            member,
            joining,
            spare: None,
        }
    }

    /// Reads the file; none where this node has never been a member.
    pub fn load<D: Disk>(disk: &D) -> Result<Option<Seat>, SeatError> {
        if !disk.list()?.iter().any(|name| name == FILE) {
            return Ok(None);
        }
        let file = disk.open(FILE)?;
        let len = file.len()?;
        if len > MAX_LEN {
            return Err(SeatError::Damaged);
        }
        let mut bytes = vec![0; len as usize];
        let n = file.read_at(&mut bytes, 0)?;
        bytes.truncate(n);
        let text = std::str::from_utf8(&bytes).map_err(|_| SeatError::Damaged)?;
        Seat::parse(text).map(Some).ok_or(SeatError::Damaged)
    }

    /// Replaces the file; durable when this returns.
    pub fn save<D: Disk>(&self, disk: &D) -> Result<(), SeatError> {
        let file = disk.create(TEMP)?;
        file.write_at(self.render().as_bytes(), 0)?;
        file.sync_data()?;
        disk.rename(TEMP, FILE)?;
        disk.sync_dir()?;
        Ok(())
    }

    fn render(&self) -> String {
        let mut text = format!("{TITLE}\nmember {:016x}\n", self.member);
        if let Some(Joining { target, raft_id }) = self.joining {
            text += &format!("joining {target} {raft_id:016x}\n");
        }
        if let Some(spare) = self.spare {
            text += &format!("spare {spare:016x}\n");
        }
        let sum = crc32c::crc32c(text.as_bytes());
        text + &format!("crc32c {sum:08x}\n")
    }

    fn parse(text: &str) -> Option<Seat> {
        let (body, sum) = text.split_at(text.rfind("crc32c ")?);
        let sum = sum.strip_prefix("crc32c ")?.strip_suffix('\n')?;
        if u32::from_str_radix(sum, 16).ok()? != crc32c::crc32c(body.as_bytes()) {
            return None;
        }
        let mut lines = body.lines().peekable();
        if ![TITLE, TITLE_1].contains(&lines.next()?) {
            return None;
        }
        let id = |text: &str| u64::from_str_radix(text, 16).ok();
        let mut seat = Seat {
            member: id(lines.next()?.strip_prefix("member ")?)?,
            ..Seat::default()
        };
        if let Some(line) = lines.next_if(|line| line.starts_with("joining ")) {
            let (target, raft_id) = line.strip_prefix("joining ")?.split_once(' ')?;
            seat.joining = Some(Joining {
                target: target.parse().ok()?,
                raft_id: id(raft_id)?,
            });
        }
        if let Some(line) = lines.next() {
            seat.spare = Some(id(line.strip_prefix("spare ")?)?);
        }
        lines.next().is_none().then_some(seat)
    }
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
    use super::*;

    #[test]
    fn a_seat_round_trips_and_damage_is_noticed() {
        let joining = Some(Joining {
            target: NodeId([3; 20]),
            raft_id: u64::MAX,
        });
        for (joining, spare) in [
            (None, None),
            (joining, None),
            (None, Some(9)),
            (joining, Some(9)),
        ] {
            let seat = Seat {
                member: 7,
                joining,
                spare,
            };
            let text = seat.render();
            assert_eq!(Seat::parse(&text), Some(seat));
            for at in 0..text.len() {
                assert_eq!(Seat::parse(&text[..at]), None, "cut at {at}");
                let mut other = text.clone().into_bytes();
                other[at] ^= 1;
                let other = String::from_utf8(other).expect("still ASCII");
                assert_ne!(Seat::parse(&other), Some(Seat::default()));
            }
        }
    }

    #[test]
    fn a_seat_of_an_earlier_version_is_read() {
        let body = "holdfast seat 1\nmember 0000000000000007\n";
        let text = format!("{body}crc32c {:08x}\n", crc32c::crc32c(body.as_bytes()));
        let seat = Seat {
            member: 7,
            ..Seat::default()
        };
        assert_eq!(Seat::parse(&text), Some(seat));
    }
}
