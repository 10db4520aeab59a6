//! Which folders of members a start opens, removes, or sets aside (S4).
//!
//! Owns the decision, as a function of names and of the identity. Invariant: what may be the only copy
//! of data is never removed: a folder goes only when the identity itself says that it may (the file is
//! replaced in one step and synced, so it is the tombstone of a member that has left, and the
//! permission for one that was never finished).

use super::identity::{folder, IdentityError, NodeIdentity};
use base::ids::RaftId;
use base::mutation::{self, Mutation};
use storage::base::FILE as BASE;
use storage::Disk;

/// A folder `shard-<raft id>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Folder {
    pub raft_id: RaftId,
    /// It has the base of a member; without one it was not finished, or is damaged.
    pub whole: bool,
}

/// What is in a node's folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub members: Vec<Folder>,
    /// Raft ids of what was set aside before.
    pub lost: Vec<RaftId>,
}

/// How the node begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// With the member that the identity names.
    Open,
    /// In a group that it founds: it has never been a member, or has given its identity up (D6).
    Found,
}

/// What a start does with the folders, before anything is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub begin: Begin,
    pub remove: Vec<RaftId>,
    pub set_aside: Vec<RaftId>,
}

/// Why a start is refused: somebody has to decide which data count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error(
        "the file identity is missing, but the folder shard-{0} beside it holds a member of a shard. Put \
         the file back from a copy. If the other members have the data, or nobody needs them, rename \
         the folder to lost-{0}: then the node starts anew and joins the shard that nodes.conf \
         names"
    )]
    NoIdentity(RaftId),
    #[error(
        "the file identity names the folder shard-{0}, which is missing. Put the folder back. If the \
         other members have its data, remove the file identity, and rename any other folder shard-* to \
         lost-*: then the node starts anew and joins the shard that nodes.conf names"
    )]
    NoFolder(RaftId),
    #[error("the folder shard-{0} is nobody's, and lost-{0} is there already: remove one of them")]
    Twice(RaftId),
}

impl Found {
    /// Looks through a node's folder.
    pub fn look<D: Disk>(
        root: &D,
        open: impl Fn(&str) -> std::io::Result<D>,
    ) -> Result<Found, IdentityError> {
        let mut found = Found::default();
        for name in root.list()? {
            let id = |prefix| {
                let id = u64::from_str_radix(name.strip_prefix(prefix)?, 16);
                id.ok().map(RaftId)
            };
            if let Some(raft_id) = id("shard-").filter(|id| folder(*id) == name) {
                let inside = open(&name)?.list()?;
                let whole = inside.iter().any(|file| file == BASE);
                found.members.push(Folder { raft_id, whole });
            } else if let Some(raft_id) = id("lost-") {
                found.lost.push(raft_id);
            }
        }
        Ok(found)
    }
}

/// S4: no folder of a member is deleted or passed over because no identity file names it.
pub fn decide(found: &Found, identity: Option<&NodeIdentity>) -> Result<Plan, Refused> {
    let member = identity.map_or(RaftId(0), |identity| identity.member);
    let spare = identity.and_then(|identity| identity.spare);
    let named = |f: &&Folder| member != RaftId(0) && f.raft_id == member;
    let others = || found.members.iter().filter(|f| !named(f));
    let is_spare = |f: &&Folder| spare == Some(f.raft_id) || mutation::is(Mutation::UnnamedIsSwept);
    let strange = || others().filter(|f| !is_spare(f));
    let begin = match found.members.iter().find(named) {
        Some(_) => Begin::Open,
        None if member == RaftId(0) => match strange().find(|f| f.whole) {
            Some(whole) => return Err(Refused::NoIdentity(whole.raft_id)),
            None => Begin::Found,
        },
        // D6: an identity that was being given up; its folder is set aside first.
        None if found.lost.contains(&member) => Begin::Found,
        None => return Err(Refused::NoFolder(member)),
    };
    if let Some(twice) = strange().find(|f| found.lost.contains(&f.raft_id)) {
        return Err(Refused::Twice(twice.raft_id));
    }
    let ids = |folders: &mut dyn Iterator<Item = &Folder>| folders.map(|f| f.raft_id).collect();
    Ok(Plan {
        begin,
        remove: ids(&mut others().filter(is_spare)),
        set_aside: ids(&mut strange()),
    })
}

/// To be called before the folder of a new member is made: should a crash come before the identity
/// names it, the next start removes it.
pub fn announce<D: Disk>(root: &D, raft_id: RaftId) -> Result<(), IdentityError> {
    let mut identity = NodeIdentity::load(root)?.unwrap_or_default();
    identity.spare = Some(raft_id);
    identity.save(root)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(members: &[(u64, bool)], lost: &[u64]) -> Found {
        let folder = |&(raft_id, whole): &(u64, bool)| Folder {
            raft_id: RaftId(raft_id),
            whole,
        };
        Found {
            members: members.iter().map(folder).collect(),
            lost: lost.iter().copied().map(RaftId).collect(),
        }
    }

    fn identity(member: u64, spare: Option<u64>) -> Option<NodeIdentity> {
        Some(NodeIdentity {
            member: RaftId(member),
            spare: spare.map(RaftId),
            ..NodeIdentity::default()
        })
    }

    fn plan(begin: Begin, remove: &[u64], set_aside: &[u64]) -> Result<Plan, Refused> {
        Ok(Plan {
            begin,
            remove: remove.iter().copied().map(RaftId).collect(),
            set_aside: set_aside.iter().copied().map(RaftId).collect(),
        })
    }

    #[test]
    fn folders_without_a_name_are_never_deleted() {
        use Begin::{Found as Anew, Open};
        let table = [
            ("a first start", found(&[], &[]), None, plan(Anew, &[], &[])),
            (
                "the identity is missing",
                found(&[(1, true)], &[]),
                None,
                Err(Refused::NoIdentity(RaftId(1))),
            ),
            (
                "two, no identity",
                found(&[(1, false), (2, true)], &[]),
                None,
                Err(Refused::NoIdentity(RaftId(2))),
            ),
            (
                "half made, no identity",
                found(&[(1, false)], &[]),
                None,
                plan(Anew, &[], &[1]),
            ),
            (
                "an identity of nobody",
                found(&[(1, true)], &[]),
                identity(0, None),
                Err(Refused::NoIdentity(RaftId(1))),
            ),
            (
                "a crash in a bootstrap_base",
                found(&[(1, true)], &[]),
                identity(0, Some(1)),
                plan(Anew, &[1], &[]),
            ),
            (
                "an earlier crash in it",
                found(&[], &[]),
                identity(0, Some(1)),
                plan(Anew, &[], &[]),
            ),
            (
                "all is well",
                found(&[(1, true)], &[]),
                identity(1, None),
                plan(Open, &[], &[]),
            ),
            (
                "half made, named",
                found(&[(1, false)], &[]),
                identity(1, None),
                plan(Open, &[], &[]),
            ),
            (
                "a stranger",
                found(&[(1, true), (2, true)], &[]),
                identity(1, None),
                plan(Open, &[], &[2]),
            ),
            (
                "a half stranger",
                found(&[(1, true), (2, false)], &[]),
                identity(1, None),
                plan(Open, &[], &[2]),
            ),
            (
                "one that has left",
                found(&[(1, true), (2, true)], &[]),
                identity(2, Some(1)),
                plan(Open, &[1], &[]),
            ),
            (
                "a crash in a join",
                found(&[(1, true), (2, true)], &[]),
                identity(1, Some(2)),
                plan(Open, &[2], &[]),
            ),
            (
                "two have left",
                found(&[(1, true), (2, true), (3, true)], &[]),
                identity(3, Some(2)),
                plan(Open, &[2], &[1]),
            ),
            (
                "the named one is gone",
                found(&[], &[]),
                identity(1, None),
                Err(Refused::NoFolder(RaftId(1))),
            ),
            (
                "another one is there",
                found(&[(2, true)], &[]),
                identity(1, None),
                Err(Refused::NoFolder(RaftId(1))),
            ),
            (
                "the identity was given up",
                found(&[], &[1]),
                identity(1, None),
                plan(Anew, &[], &[]),
            ),
            (
                "given up, then a crash",
                found(&[(2, true)], &[1]),
                identity(1, Some(2)),
                plan(Anew, &[2], &[]),
            ),
            (
                "set aside by hand",
                found(&[], &[1]),
                None,
                plan(Anew, &[], &[]),
            ),
            (
                "set aside twice",
                found(&[(1, true), (2, true)], &[2]),
                identity(1, None),
                Err(Refused::Twice(RaftId(2))),
            ),
        ];
        for (what, found, identity, wanted) in table {
            assert_eq!(decide(&found, identity.as_ref()), wanted, "{what}");
        }
    }

    #[cfg(feature = "mutations")]
    #[test]
    fn a_sweep_without_an_identity_is_caught() {
        mutation::set(Some(Mutation::UnnamedIsSwept));
        let swept = decide(&found(&[(1, true)], &[]), None);
        mutation::set(None);
        assert_eq!(
            swept,
            plan(Begin::Found, &[1], &[]),
            "S4: the only copy goes"
        );
        assert_eq!(
            decide(&found(&[(1, true)], &[]), None),
            Err(Refused::NoIdentity(RaftId(1)))
        );
    }
}
