//! C1, G2: the phases of a node's way between shards, and what the machine of them is told and says.
//!
//! Owns the words; [`super::machine`] owns the transitions. Invariant: each phase carries what belongs to it
//! and nothing else, so what can't be together can't be written down.

use crate::identity::{Joining as Mark, NodeIdentity};
use base::clock::Mono;
use base::ids::RaftId;
use base::mutation::{self, Mutation};
use cluster_bus::NodeId;
use std::time::Duration;

/// Where this node is on its way between shards.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Phase {
    /// It belongs to its shard, alone or with others.
    Member,
    /// C1: it asks to be removed from its group. The removal commits before anything else happens.
    Leaving(Then),
    /// C1: there is nothing to leave any more; it wants to be a member of its target's shard.
    Joining {
        mark: Mark,
        step: Step,
        unknown: Option<Unknown>,
    },
    /// The member that takes the present one's place is being made, or waits for room on the disk (D5).
    Beginning(Beginning),
}

/// What follows a leave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Then {
    /// REPLICATE of a node of another shard.
    Join(Mark),
    /// RESET; `mark`: of a join that it has interrupted, and that goes on should the reset fail.
    Reset { reset: Reset, mark: Option<Mark> },
}

/// How far a join is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Step {
    /// It asks the shard's leader for the group's base.
    AskBase,
    /// The member is on disk and open, and asks to be added. `since`: without a leader's word.
    HaveBase { since: Option<Mono> },
}

/// C1: the leader of the target's shard says that its bus does not know this node. That is so for a moment
/// after MEET, and for good after FORGET.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Unknown {
    /// When it has said so first, and last, without a long silence in between.
    pub since: Mono,
    pub last: Mono,
}

/// What takes the place of the present member.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Beginning {
    /// A member of the group that this node joins.
    Joined(Mark),
    /// A group of its own under the same name: the node was removed from its shard, or forgotten on its
    /// way into one.
    Alone,
    /// The same after a RESET, under another name if it is a hard one.
    Reset { name: Option<NodeId> },
}

/// RESET under way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Reset {
    pub number: u64,
    pub hard: bool,
    pub begun: Mono,
    /// C1: the leader has answered, so the removal may begin; until then nothing has changed.
    pub answered: bool,
    /// The witnesses that this node hosts were told to find others.
    pub told_witnesses: bool,
    /// It was asked of a master (without keys): its slots are given up, as in Redis.
    pub of_master: bool,
}

/// CLUSTER RESET, as a client asks for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct ResetWish {
    pub hard: bool,
    /// The number of the reset that the client waits for.
    pub waits_for: Option<u64>,
    /// There is nothing to reset.
    pub fresh: bool,
    pub of_master: bool,
}

/// What the machine is told of the shard that is open, and of the world.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Facts {
    pub now: Mono,
    /// T of the group.
    pub t: Duration,
    /// G2: its removal is proved.
    pub removed: bool,
    /// G2: it has applied its own removal, and no member that stays has confirmed it.
    pub unconfirmed: bool,
    /// The applied configuration names it.
    pub listed: bool,
    /// It has not seen itself added, and may have been all the same.
    pub perhaps_added: bool,
    /// M28: the shard has gone over to another one, all its other nodes say that they are members no more, and
    /// no node has led for long: nobody is left who could let this one go.
    pub abandoned: bool,
    /// There are other members; other data members.
    pub others: bool,
    pub other_data: bool,
    /// What its shard has.
    pub keys: bool,
    pub slots: bool,
    /// I9: a mark, a lend or a hand-over is open.
    pub owes: bool,
    /// M28: the shard has gone over to another one, and its nodes go by themselves.
    pub follows: bool,
    pub leads: bool,
    /// A leader was heard within its promise.
    pub led: bool,
    /// The leader's node is known.
    pub leader_known: bool,
    /// This node hosts witnesses of other shards.
    pub hosts_witnesses: bool,
}

impl Facts {
    /// C1: whether this member is the last of its shard that has the shard's data: keys, or slots that
    /// it was not asked to give up. I9: or that owes another shard a word.
    pub fn is_last_with_data(&self, gives_up_slots: bool) -> bool {
        let owes = self.owes && !mutation::is(Mutation::DissolveOwing);
        let data = self.keys || (self.slots && !gives_up_slots) || owes;
        self.is_last() && data
    }

    /// M28: whether its leaving ends the shard.
    pub fn is_last(&self) -> bool {
        !self.removed && self.listed && !self.other_data
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Event {
    /// A turn has passed: what is due?
    Turn,
    /// REPLICATE: this mark is on disk.
    Replicate(Mark),
    /// M28: this node's shard has gone over to another one, or has slots again: it goes by itself. `heard`: every
    /// other shard has said that it waits for no word of this one.
    Follow { mark: Mark, heard: bool },
    /// C1: the leader asks whether this member means to leave.
    AskedIfLeaving,
    /// A node that does not lead says which one does.
    Told(Option<NodeId>),
    /// The leader of the target's shard does not know this node.
    Unknown,
    /// The leader of the target's shard has given the base of the group, for this id.
    Accepted { raft_id: RaftId },
    /// The id that [`Output::Mint`] has asked for.
    Minted { raft_id: RaftId },
    /// The group that [`Output::Found`] has asked for: its member, and the node's new name.
    Founded {
        raft_id: RaftId,
        name: Option<NodeId>,
    },
    /// The member is on disk and open.
    Begun,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Output {
    /// Another id for the join (G2).
    Mint,
    /// A group of its own, under a new name if `renamed`.
    Found { renamed: bool },
    /// Replace the identity on disk.
    Save(NodeIdentity),
    /// Make the member, then replace the identity, then open it.
    Begin(NodeIdentity),
    /// What others see of this node has changed.
    Changed,
    /// C1: ask all that may lead the group to let this member go.
    AskToLeave { hint: Option<NodeId> },
    /// C1: ask all that may lead the target's shard for the group's base.
    AskForBase { mark: Mark, hint: Option<NodeId> },
    /// C1: ask the leader to be added, or all that may be it.
    AskToBeAdded { mark: Mark, hint: Option<NodeId> },
    /// G4: a leader hands over before it goes.
    HandOver,
    /// The mutation that G4 forbids.
    ProposeOwnRemoval,
    /// RESET: the witnesses of other shards on this node go, too.
    LetWitnessesGo,
    /// RESET: the bus forgets the other nodes, and the old name.
    Renew { name: Option<NodeId> },
}

impl Phase {
    /// A join of this mark, by a node whose member is `member`.
    pub fn joining(mark: Mark, member: RaftId) -> Phase {
        let step = match mark.raft_id == member {
            true => Step::HaveBase { since: None },
            false => Step::AskBase,
        };
        let unknown = None;
        Phase::Joining {
            mark,
            step,
            unknown,
        }
    }
}
