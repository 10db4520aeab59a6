//! The group's members: ConfState and member list, which change in one apply (G5).
//!
//! Owns: the translation between a change's context and the member list, proposing a change,
//! applying one to the RawNode, and computing what an applied prefix of the log made of the bootstrap
//! ConfState (D2). Never: decides which change is wanted (that is [`super::plan`]).
//!
//! Invariant: the list names exactly the ids of the ConfState, in the order in which they joined.

use super::group::{Group, Role};
use base::clock::Now;
use base::ids::RaftId;
use base::mutation::{self, Mutation};
use protobuf::Message as _;
use raft::eraftpb::{
    ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState, Entry,
    EntryType, Message, MessageType,
};
use raft::storage::MemStorage;
use raft::{Config, RawNode};
use std::collections::BTreeSet;
use storage::base::{Member, MemberKind};

/// Members as of some index.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Membership {
    pub conf: ConfState,
    pub list: Vec<Member>,
    /// The index at which this member was added; the base's index if it was there from the start.
    pub joined_at: Option<u64>,
    /// The index of the newest change, or of the base (G6).
    pub changed_at: u64,
    /// This member was in it once and is no more (G2): also known after a restart.
    pub left: bool,
}

/// A change that is to be proposed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Change {
    /// What becomes of which member; empty: leave the joint state.
    pub steps: Vec<(ConfChangeType, RaftId)>,
    /// Members that are new to the group (G5: they travel in the context).
    pub added: Vec<Member>,
    /// G4: a change of voters goes through a joint state. One learner more or less touches no
    /// quorum and needs none.
    pub joint: bool,
}

/// What an applied change means for this member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    Member,
    /// This member was removed by it and has stopped leading.
    Removed,
}

/// Why a committed change can't be applied: the process ends (G1).
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    #[error("a change of members that can't be read: {0}")]
    Malformed(#[from] protobuf::ProtobufError),
    #[error("a change of members whose context is not a list of members")]
    Context,
    #[error("a change of members is refused: {0}")]
    Refused(#[from] raft::Error),
}

impl Membership {
    pub fn new(conf: ConfState, list: Vec<Member>, me: RaftId, index: u64) -> Membership {
        let mut membership = Membership {
            conf,
            list,
            joined_at: None,
            changed_at: index,
            left: false,
        };
        membership.joined_at = membership.contains(me).then_some(index);
        membership
    }

    /// Whether the ConfState names the id in any role.
    pub fn contains(&self, id: RaftId) -> bool {
        ids(&self.conf).any(|i| i == id.0)
    }

    pub fn member(&self, id: RaftId) -> Option<&Member> {
        self.list.iter().find(|m| m.raft_id == id)
    }

    pub fn is_joint(&self) -> bool {
        !self.conf.voters_outgoing.is_empty()
    }

    /// Whether it is a member with keys.
    pub fn is_data(&self, id: RaftId) -> bool {
        self.member(id).is_some_and(|m| m.kind == MemberKind::Data)
    }

    pub fn is_voter(&self, id: RaftId) -> bool {
        self.conf.voters.contains(&id.0) || self.conf.voters_outgoing.contains(&id.0)
    }

    /// Whether it votes now and after the joint state, if there is one: a member that only votes until then
    /// would have to hand leadership back (G4).
    pub fn votes_on(&self, id: RaftId) -> bool {
        self.conf.voters.contains(&id.0)
    }

    /// Whether the others could elect `id` if `lost` were gone: it has a vote, and without `lost` there
    /// is a majority, in both halves of a joint state.
    pub fn could_elect(&self, id: RaftId, lost: RaftId) -> bool {
        let without = |half: &[u64]| {
            let rest = half.iter().filter(|voter| **voter != lost.0).count();
            half.is_empty() || rest > half.len() / 2
        };
        let halves = without(&self.conf.voters) && without(&self.conf.voters_outgoing);
        id != lost && self.votes_on(id) && halves
    }

    /// Takes over what a change has made.
    fn take_over(&mut self, conf: ConfState, added: Vec<Member>, me: RaftId, index: u64) {
        for member in added {
            if self.member(member.raft_id).is_none() {
                self.list.push(member);
            }
        }
        self.conf = conf;
        self.changed_at = index;
        let conf = &self.conf;
        self.list.retain(|m| ids(conf).any(|id| id == m.raft_id.0));
        if !self.contains(me) {
            self.left |= self.joined_at.take().is_some();
        } else {
            self.left = false;
            self.joined_at.get_or_insert(index);
        }
    }

    /// D2: takes a committed change of the log into account, without a group.
    pub fn replay(&mut self, entry: &Entry, me: RaftId) -> Result<(), ChangeError> {
        let Some((change, added)) = read(entry)? else {
            return Ok(());
        };
        let storage = MemStorage::new_with_conf_state(self.conf.clone());
        let config = Config {
            id: me.0,
            ..Config::default()
        };
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let conf = RawNode::new(&config, storage, &logger)?.apply_conf_change(&change)?;
        self.take_over(conf, added, me, entry.index);
        Ok(())
    }
}

/// D6: whether raft-rs takes this ConfState from a base; some others it ends the process for. A learner has no
/// vote, one to come has one until the joint state ends, and no list names an id twice.
pub fn is_sound(conf: &ConfState) -> bool {
    let lists = [
        &conf.voters,
        &conf.learners,
        &conf.voters_outgoing,
        &conf.learners_next,
    ];
    let distinct = |list: &Vec<u64>| {
        let set: BTreeSet<u64> = list.iter().copied().collect();
        set.len() == list.len() && !set.contains(&raft::INVALID_ID)
    };
    let votes = |id: &u64| conf.voters.contains(id) || conf.voters_outgoing.contains(id);
    let joint = !conf.voters_outgoing.is_empty();
    let next = |id: &u64| {
        let stays = conf.voters.contains(id) || conf.learners.contains(id);
        conf.voters_outgoing.contains(id) && !stays
    };
    !conf.voters.is_empty()
        && lists.into_iter().all(distinct)
        && !conf.learners.iter().any(votes)
        && conf.learners_next.iter().all(next)
        && (joint || !conf.auto_leave)
}

/// Every id of a ConfState; some come twice.
fn ids(conf: &ConfState) -> impl Iterator<Item = u64> + '_ {
    conf.voters
        .iter()
        .chain(&conf.voters_outgoing)
        .chain(&conf.learners)
        .chain(&conf.learners_next)
        .copied()
}

/// D6: whether an entry that changes members can be read; others are not looked at.
pub(super) fn is_readable(entry: &Entry) -> bool {
    let old_form = entry.get_entry_type() == EntryType::EntryConfChange;
    !old_form && read(entry).is_ok()
}

/// A change and the members that it adds; none if the entry is an empty one, which stands where
/// raft-rs has refused a change.
fn read(entry: &Entry) -> Result<Option<(ConfChangeV2, Vec<Member>)>, ChangeError> {
    if entry.get_entry_type() != EntryType::EntryConfChangeV2 {
        return Ok(None);
    }
    let mut change = ConfChangeV2::default();
    change.merge_from_bytes(&entry.data)?;
    let chunks = entry.context.chunks_exact(Member::LEN);
    if !chunks.remainder().is_empty() {
        return Err(ChangeError::Context);
    }
    let added = chunks.map(Member::decode).collect::<Option<Vec<_>>>();
    Ok(Some((change, added.ok_or(ChangeError::Context)?)))
}

impl Change {
    fn to_raft(&self) -> ConfChangeV2 {
        let mut change = ConfChangeV2::default();
        let voters = |&(kind, id): &(ConfChangeType, RaftId)| {
            let mut single = ConfChangeSingle::default();
            single.set_change_type(kind);
            single.node_id = id.0;
            single
        };
        let singles: Vec<ConfChangeSingle> = self.steps.iter().map(voters).collect();
        // G4: explicit, so that the leader decides when the joint state ends.
        // raft-rs takes an empty change for the end of a joint state only if it is not explicit.
        change.set_transition(if self.joint && !self.steps.is_empty() {
            ConfChangeTransition::Explicit
        } else {
            ConfChangeTransition::Auto
        });
        change.set_changes(singles.into());
        change
    }
}

impl Group {
    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    /// Whether a change is proposed and not applied yet.
    pub fn has_pending_change(&self) -> bool {
        self.node.raft.has_pending_conf()
    }

    /// Proposes a change; false if raft-rs has put an empty entry in its place.
    pub fn propose_change(&mut self, change: &Change) -> bool {
        assert!(self.is_leader(), "only a leader proposes a change");
        let mut entry = Entry::default();
        entry.set_entry_type(EntryType::EntryConfChangeV2);
        entry.data = change
            .to_raft()
            .write_to_bytes()
            .expect("writing to memory does not fail")
            .into();
        let mut context = Vec::new();
        change.added.iter().for_each(|m| m.encode(&mut context));
        entry.context = context.into();
        let mut message = Message {
            from: self.id().0,
            ..Message::default()
        };
        message.set_msg_type(MessageType::MsgPropose);
        message.set_entries(vec![entry].into());
        let before = self.last_index();
        self.node
            .step(message)
            .expect("T2: a leader's proposal is never dropped");
        assert_eq!(self.last_index(), before + 1, "one entry was appended");
        self.has_pending_change()
    }

    /// Applies a committed change of members. The commit index that covers it must be durable (D1).
    pub fn apply_change(&mut self, now: Now, entry: &Entry) -> Result<Applied, ChangeError> {
        let Some((change, mut added)) = read(entry)? else {
            return Ok(Applied::Member);
        };
        if mutation::is(Mutation::MembersBesideTheLog) && !self.is_leader() {
            added.clear();
        }
        let conf = self.node.apply_conf_change(&change)?;
        self.node.mut_store().set_conf_state(conf.clone());
        let me = self.id();
        let was_in = self.membership.contains(me);
        self.membership.take_over(conf, added, me, entry.index);
        let removed = was_in && !self.membership.contains(me);
        let demoted = !self.membership.is_voter(me) && self.role() != Role::Follower;
        if removed || demoted {
            // G4: raft-rs would go on leading, and panic at its next commit if it was removed. (Who
            // inherits the end of a joint state that drops it commits that as leader.)
            let term = self.term();
            self.node.raft.become_follower(term, raft::INVALID_ID);
            self.note_role(now);
        }
        Ok(match removed {
            true => Applied::Removed,
            false => Applied::Member,
        })
    }

    /// This member's kind; data before it is known.
    pub fn kind(&self) -> MemberKind {
        self.config.kind
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conf(lists: &[Vec<u64>; 4], auto_leave: bool) -> ConfState {
        let [voters, learners, voters_outgoing, learners_next] = lists.clone();
        ConfState {
            voters,
            learners,
            voters_outgoing,
            learners_next,
            auto_leave,
            ..ConfState::default()
        }
    }

    /// Whether raft-rs begins with it; it may panic.
    fn begins(conf: &ConfState) -> bool {
        let config = Config {
            id: 1,
            ..Config::default()
        };
        let (conf, logger) = (conf.clone(), slog::Logger::root(slog::Discard, slog::o!()));
        let new = || {
            let storage = MemStorage::new_with_conf_state(conf);
            RawNode::new(&config, storage, &logger).is_ok()
        };
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(new)).unwrap_or(false)
    }

    /// Every ConfState of three ids: what is called sound raft-rs takes, and all that a group comes to is.
    #[test]
    fn sound_members_are_those_raft_begins_with() {
        let subsets: Vec<Vec<u64>> = (0..8u64)
            .map(|bits| (1..=3).filter(|id| bits & (1 << (id - 1)) != 0).collect())
            .collect();
        let mut found = [0, 0];
        for case in 0..8usize.pow(4) * 2 {
            let at = |n: u32| subsets[case / 2 / 8usize.pow(n) % 8].clone();
            let conf = conf(&[at(0), at(1), at(2), at(3)], case % 2 == 1);
            // Without a voter raft-rs begins, and no group can have been that way (G1).
            let takes = !conf.voters.is_empty() && begins(&conf);
            assert_eq!(is_sound(&conf), takes, "{conf:?}");
            found[usize::from(takes)] += 1;
        }
        assert!(found.iter().all(|n| *n > 50), "{found:?}");
        for twice in [vec![1, 1], vec![0, 1]] {
            assert!(!is_sound(&conf(&[twice, vec![], vec![], vec![]], false)));
        }
    }

    #[test]
    fn votes_without_a_majority_elect_nobody() {
        // incoming, outgoing, whether 2 could be elected without 1
        let table: [(&[u64], &[u64], bool); 9] = [
            (&[1, 2, 3], &[], true),
            (&[2, 3, 4], &[], true),
            (&[1, 2], &[], false),
            (&[1], &[], false),
            (&[1, 3, 4], &[], false),
            // The old half has one voter, the one that is gone.
            (&[1, 2, 3], &[1], false),
            (&[1, 2, 3], &[1, 2, 4], true),
            (&[1, 3, 4], &[1, 2, 4], false),
            (&[2, 3, 4, 5, 6], &[1, 2, 3], true),
        ];
        for (incoming, outgoing, can) in table {
            let mut conf = ConfState::from((incoming.to_vec(), vec![]));
            conf.voters_outgoing = outgoing.to_vec();
            let membership = Membership::new(conf, Vec::new(), RaftId(2), 1);
            assert_eq!(
                membership.could_elect(RaftId(2), RaftId(1)),
                can,
                "{incoming:?} {outgoing:?}"
            );
        }
        let three = Membership::new(
            ConfState::from((vec![1, 2, 3], vec![])),
            vec![],
            RaftId(2),
            1,
        );
        assert!(!three.could_elect(RaftId(2), RaftId(2)));
    }
}
