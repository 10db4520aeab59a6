//! Which members the group wants, and the next step towards them (G3, G4).
//!
//! Owns the decision alone: members, their progress and what nodes have asked for come in, one step
//! goes out. Never: proposes, sends, or remembers. Invariants: the voters that it leads to are odd
//! in number; a new voter has answered lately; a leader never takes itself out.

use super::members::{Change, Membership};
use base::ids::RaftId;
use base::mutation::{self, Mutation};
use raft::eraftpb::ConfChangeType::{AddLearnerNode, AddNode, RemoveNode};
use std::time::Duration;
use storage::base::{Member, MemberKind};

/// A member that is behind by no more than this has caught up (G3).
pub const NEAR_BYTES: u64 = 1 << 20;
/// A new voter must have answered within this time (G3).
pub const ANSWERED: Duration = Duration::from_secs(1);

/// A member as its leader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    pub matched: u64,
    /// Bytes of log that it has not answered.
    pub behind: u64,
    /// Since its last answer was asked for; none if it never answered this leader.
    pub heard: Option<Duration>,
    /// It has been near the end of the log once.
    pub caught_up: bool,
    /// Its disk does syncs: it has all entries, or has acknowledged some lately.
    pub syncs: bool,
    /// D5: its log has room for writes.
    pub has_room: bool,
    /// P20: its keyspace is that of its applied index.
    pub loaded: bool,
    /// E4: a transfer to it has failed lately.
    pub failed: bool,
}

/// How the leader itself does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// How long the sync that is under way has taken so far.
    pub sync_for: Option<Duration>,
    /// How long there has been no room for writes.
    pub full_for: Option<Duration>,
    /// P20: its keyspace is being loaded.
    pub loads: bool,
}

/// What nodes have asked of the leader.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MembershipRequests {
    /// Nodes that are ready to be learners (C1).
    pub joins: Vec<Member>,
    /// Raft ids that are to go (REPLICATE of another shard, RESET, FORGET).
    pub leaves: Vec<RaftId>,
    /// Raft ids whose disk is gone: their nodes may be members again, under another one.
    pub lost: Vec<RaftId>,
    /// No node could ever host a witness.
    pub no_hosts: bool,
    /// G3: what was waited for has not come.
    pub overdue: bool,
    /// Hosts that have accepted an invitation (G2) and are not members yet.
    pub witnesses: Vec<Member>,
    /// The member that is to lead: a learner instead of the only voter, or what has become of it since.
    pub transferee: Option<RaftId>,
}

/// The next step.
#[derive(Clone, Debug, PartialEq)]
pub enum Plan {
    /// Nothing is to be done.
    Rest,
    Propose(Change),
    /// Another member has to go on: it leads better or is wanted, or this one is to go (G4).
    Transfer(RaftId),
    /// An even number of data members is caught up: a witness is to be invited.
    Invite,
    /// G3: all votes stay as they are until there is a witness, or a new member in place of a lost
    /// one. `invite`: a witness is to be invited.
    Hold {
        invite: bool,
    },
}

impl MembershipRequests {
    pub fn goes(&self, id: RaftId) -> bool {
        self.leaves.contains(&id) || self.lost.contains(&id)
    }
}

/// The voters that are wanted (G3).
#[derive(Clone, Debug, PartialEq)]
struct Wanted {
    voters: Vec<Member>,
    /// A witness is missing among them.
    invite: bool,
    /// They are those of now, but for a leader that goes: the rest has to wait.
    held: bool,
}

/// Decides for the leader `me` of a group with no change pending.
pub fn plan(
    me: RaftId,
    kind: MemberKind,
    members: &Membership,
    requests: &MembershipRequests,
    progress: &dyn Fn(RaftId) -> Option<Progress>,
) -> Plan {
    if members.is_joint() {
        return end_joint(me, members, progress);
    }
    if kind == MemberKind::Witness {
        if mutation::is(Mutation::WitnessLeadsOn) {
            return Plan::Rest;
        }
        // W1: only long enough to bring a data member to the end of the log.
        let is_data = |m: &&Member| m.kind == MemberKind::Data;
        let data: Vec<Member> = members.list.iter().filter(is_data).copied().collect();
        return go_on(me, members, &data, progress).map_or(Plan::Rest, Plan::Transfer);
    }
    // E4: the learner has become a voter in the ordinary way meanwhile.
    let transferee = requests
        .transferee
        .and_then(|id| members.member(id))
        .copied();
    if let Some(to) = successor(me, members, transferee.as_slice(), progress) {
        if !requests.leaves.contains(&to) {
            return Plan::Transfer(to);
        }
    }
    let mut learners = members.conf.learners.iter().copied().map(RaftId);
    if let Some(gone) = learners.find(|id| requests.goes(*id)) {
        return Plan::Propose(Change {
            steps: vec![(RemoveNode, gone)],
            ..Change::default()
        });
    }
    let known = |m: &&Member| !members.contains(m.raft_id) && !requests.leaves.contains(&m.raft_id);
    if let Some(joiner) = requests.joins.iter().find(known) {
        return Plan::Propose(Change {
            steps: vec![(AddLearnerNode, joiner.raft_id)],
            added: vec![*joiner],
            joint: false,
        });
    }
    let wants = wanted_voters(me, members, requests, progress);
    let (wanted, invite) = (wants.voters, wants.invite);
    let stays = |m: &&Member| !requests.goes(m.raft_id);
    if wanted.iter().any(|m| m.raft_id == me) || mutation::is(Mutation::OwnRemovalAsLeader) {
        let change = change_to(members, requests, &wanted);
        if !change.steps.is_empty() {
            return Plan::Propose(change);
        }
    } else if let Some(to) = {
        let staying: Vec<Member> = wanted.iter().filter(stays).copied().collect();
        go_on(me, members, &staying, progress)
    } {
        return Plan::Transfer(to);
    } else if !wanted.is_empty() && !wanted.iter().any(|m| members.is_voter(m.raft_id)) {
        // Nobody that stays is a voter yet: the joint state makes one, and `end_joint` hands over.
        return Plan::Propose(change_to(members, requests, &wanted));
    }
    match (wants.held, invite) {
        (true, invite) => Plan::Hold { invite },
        (false, true) => Plan::Invite,
        (false, false) => Plan::Rest,
    }
}

/// G4: a member that stays proposes the end of a joint state.
fn end_joint(
    me: RaftId,
    members: &Membership,
    progress: &dyn Fn(RaftId) -> Option<Progress>,
) -> Plan {
    if members.conf.voters.contains(&me.0) || mutation::is(Mutation::OwnRemovalAsLeader) {
        return Plan::Propose(Change {
            joint: true,
            ..Change::default()
        });
    }
    let staying: Vec<Member> = members
        .list
        .iter()
        .filter(|m| members.conf.voters.contains(&m.raft_id.0))
        .copied()
        .collect();
    match go_on(me, members, &staying, progress) {
        Some(to) => Plan::Transfer(to),
        None => Plan::Rest,
    }
}

/// T5, D5, P20: the member that takes over from the leader `me`, whose own disk has failed it for T, or
/// whose keyspace is being loaded: a data voter that is better off. Nobody else: a leader that others carry serves better than none.
pub fn relief(
    me: RaftId,
    election_timeout: Duration,
    own: Condition,
    members: &Membership,
    progress: &dyn Fn(RaftId) -> Option<Progress>,
) -> Option<RaftId> {
    let lasts = |time: Option<Duration>| time.is_some_and(|time| time >= election_timeout);
    let bad_disk = lasts(own.sync_for) || lasts(own.full_for);
    let stays = mutation::is(Mutation::LeadsOnABadDisk);
    if !(bad_disk && !stays || own.loads) {
        return None;
    }
    let is_data = |m: &&Member| m.kind == MemberKind::Data;
    let data: Vec<Member> = members.list.iter().filter(is_data).copied().collect();
    successor(me, members, &data, progress)
}

/// Which of `wanted`, being a voter now and later, is nearest to the log's end; data before witnesses.
pub fn successor(
    me: RaftId,
    members: &Membership,
    wanted: &[Member],
    progress: &dyn Fn(RaftId) -> Option<Progress>,
) -> Option<RaftId> {
    nearest(me, members, wanted, progress, &is_fit)
}

/// The member that goes on instead of a leader that may not: the successor or, where nobody is fit,
/// one that was not asked in vain. Without room it can serve reads and change members (D5).
fn go_on(
    me: RaftId,
    members: &Membership,
    wanted: &[Member],
    progress: &dyn Fn(RaftId) -> Option<Progress>,
) -> Option<RaftId> {
    let any = || nearest(me, members, wanted, progress, &|p| !p.failed);
    successor(me, members, wanted, progress).or_else(any)
}

fn nearest(
    me: RaftId,
    members: &Membership,
    wanted: &[Member],
    progress: &dyn Fn(RaftId) -> Option<Progress>,
    fits: &dyn Fn(&Progress) -> bool,
) -> Option<RaftId> {
    wanted
        .iter()
        .filter(|m| m.raft_id != me && members.votes_on(m.raft_id))
        .filter_map(|m| Some((m, progress(m.raft_id)?)))
        .filter(|(_, p)| is_near(p) && fits(p))
        .max_by_key(|(m, p)| (m.kind == MemberKind::Data, p.matched))
        .map(|(m, _)| m.raft_id)
}

/// Whether `me` is the only voter with data, once a joint state has ended.
fn votes_alone(me: RaftId, members: &Membership) -> bool {
    let mut others = members.list.iter().filter(|m| m.raft_id != me);
    !others.any(|m| m.kind == MemberKind::Data && members.votes_on(m.raft_id))
}

/// How a member of its own choice can take over from the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferKind {
    /// It is a voter and stays one.
    Transfer,
    /// It is no voter, or not for long, and `me` is the only one: they have to change places.
    Swap,
    /// It is a witness, or a learner beside voters, or unknown.
    None,
}

/// How `to` can take over from the leader `me`.
pub fn transfer_kind(me: RaftId, to: RaftId, members: &Membership) -> TransferKind {
    match members.member(to) {
        _ if to == me => TransferKind::None,
        Some(m) if m.kind == MemberKind::Witness => TransferKind::None,
        _ if members.votes_on(to) => TransferKind::Transfer,
        Some(_) if votes_alone(me, members) => TransferKind::Swap,
        _ => TransferKind::None,
    }
}

/// The learners that can take over from `me`, the only voter with data; the best comes last.
pub fn transferees(
    me: RaftId,
    members: &Membership,
    progress: &dyn Fn(RaftId) -> Option<Progress>,
) -> Vec<RaftId> {
    if !votes_alone(me, members) {
        return Vec::new();
    }
    let data = members.list.iter().filter(|m| m.kind == MemberKind::Data);
    let mut transferees: Vec<(u64, RaftId)> = data
        .filter_map(|m| Some((m.raft_id, progress(m.raft_id)?)))
        .filter(|(id, p)| *id != me && p.caught_up && is_near(p))
        .map(|(id, p)| (p.matched, id))
        .collect();
    transferees.sort_unstable();
    transferees.into_iter().map(|(_, id)| id).collect()
}

/// E4, D5: it can write its vote and its first entries, and has not just been asked in vain.
fn is_fit(p: &Progress) -> bool {
    let in_vain = p.failed && !mutation::is(Mutation::TransferAgainAndAgain);
    let syncs = p.syncs || mutation::is(Mutation::TransferToAHungDisk);
    let has_room = p.has_room || mutation::is(Mutation::TransferWithoutRoom);
    syncs && has_room && p.loaded && !in_vain
}

fn is_near(p: &Progress) -> bool {
    p.behind <= NEAR_BYTES && p.heard.is_some_and(|ago| ago <= ANSWERED)
}

/// G3: the wanted voters.
fn wanted_voters(
    me: RaftId,
    members: &Membership,
    requests: &MembershipRequests,
    progress: &dyn Fn(RaftId) -> Option<Progress>,
) -> Wanted {
    let stays = |m: &&Member| !requests.goes(m.raft_id);
    let is_ready = |m: &Member| {
        let lately = progress(m.raft_id).is_some_and(|p| p.caught_up && is_near(&p));
        m.raft_id == me || members.is_voter(m.raft_id) || lately
    };
    let mut data: Vec<Member> = members
        .list
        .iter()
        .filter(|m| m.kind == MemberKind::Data)
        .filter(stays)
        .filter(|m| is_ready(m))
        .copied()
        .collect();
    if data.len() % 2 == 1 || data.is_empty() || mutation::is(Mutation::EvenVoters) {
        // A member that lost its disk may be back soon, and two copies are better than one.
        let alone = data.len() == 1 && has_lost_voter(members, requests);
        if alone && !requests.overdue {
            return hold(me, members, requests, false);
        }
        return now(data, false);
    }
    // W3: not beside a data member that it would fall with.
    let anywhere = mutation::is(Mutation::WitnessBesideData);
    let fits = |m: &&Member| stays(m) && (anywhere || data.iter().all(|d| d.node != m.node));
    let is_witness = |m: &&Member| m.kind == MemberKind::Witness;
    let witness = members.list.iter().filter(is_witness).find(fits);
    let witness = witness.or_else(|| requests.witnesses.iter().find(fits));
    if let Some(witness) = witness.copied() {
        data.push(witness);
        return now(data, false);
    }
    without_witness(me, data, members, requests)
}

fn now(voters: Vec<Member>, invite: bool) -> Wanted {
    Wanted {
        voters,
        invite,
        held: false,
    }
}

/// The votes of now, but for a leader that is to go: it hands over (G4).
fn hold(me: RaftId, members: &Membership, requests: &MembershipRequests, invite: bool) -> Wanted {
    let votes = |m: &&Member| members.conf.voters.contains(&m.raft_id.0);
    let leads_on = |m: &&Member| m.raft_id != me || !requests.goes(me);
    let list = members.list.iter();
    Wanted {
        voters: list.filter(votes).filter(leads_on).copied().collect(),
        invite,
        held: true,
    }
}

fn has_lost_voter(members: &Membership, requests: &MembershipRequests) -> bool {
    requests.lost.iter().any(|id| members.is_voter(*id))
}

/// G3: an even number of data members, and no witness for them: one of them has no vote. It is one
/// that has none now; a healthy voter loses it only when the search for a witness has failed.
fn without_witness(
    me: RaftId,
    mut data: Vec<Member>,
    members: &Membership,
    requests: &MembershipRequests,
) -> Wanted {
    let has = |id| data.iter().any(|m| Some(m.raft_id) == id);
    let swaps = |id| transfer_kind(me, id, members) == TransferKind::Swap;
    if requests.transferee.is_some_and(swaps) && has(requests.transferee) && has(Some(me)) {
        // E4: the leader becomes the learner.
        data.retain(|m| m.raft_id != me);
        return now(data, true);
    }
    let no_host = requests.no_hosts && !has_lost_voter(members, requests);
    let failed = requests.overdue || no_host || mutation::is(Mutation::DemotionBeforeSearch);
    let learner = data.iter().rposition(|m| !members.is_voter(m.raft_id));
    let last = learner.or_else(|| data.iter().rposition(|m| m.raft_id != me));
    let shrinks = data.len() - 1 < members.conf.voters.len();
    if shrinks && !failed {
        return hold(me, members, requests, true);
    }
    data.remove(last.expect("two data members or more, one of them not me"));
    now(data, true)
}

/// The one joint change from the voters of now to `wanted`.
fn change_to(members: &Membership, requests: &MembershipRequests, wanted: &[Member]) -> Change {
    let mut change = Change {
        joint: true,
        ..Change::default()
    };
    for member in wanted {
        if !members.conf.voters.contains(&member.raft_id.0) {
            change.steps.push((AddNode, member.raft_id));
            if !members.contains(member.raft_id) {
                change.added.push(*member);
            }
        }
    }
    for member in &members.list {
        let id = member.raft_id;
        let stays = wanted.iter().any(|m| m.raft_id == id);
        if !members.conf.voters.contains(&id.0) || stays {
            continue;
        }
        let goes = member.kind == MemberKind::Witness || requests.goes(id);
        let step = if goes { RemoveNode } else { AddLearnerNode };
        change.steps.push((step, id));
    }
    change
}

#[cfg(test)]
mod tests;
