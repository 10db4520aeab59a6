//! What must hold at every moment, looked at after every turn.
//!
//! Owns: leaders by term, digests, terms and members by applied index, of every group; the raft ids
//! that are dead and must never come back.

use base::ids::{GroupId, RaftId};
use std::collections::{BTreeMap, BTreeSet};

use base::mutation::{self, Mutation};
use cluster::identity::NodeIdentity;
use cluster_bus::NodeId;
use raft_group::Membership;
use shard::Shard;
use storage::base::{Member, MemberKind};
use storage::{Base, Log, LogConfig};

use crate::clock::{True, MS};
use crate::committed::Committed;
use crate::disk::SimDisk;
use crate::lin::{Cmd, Op};
use crate::machine::CAPACITY;
use crate::queue;
use crate::workload::{key_name, KEYS};
use crate::world::World;

#[derive(Default)]
pub struct Checks {
    /// (group, applied index) -> keyspace digest, the entry's term, members.
    digests: BTreeMap<(GroupId, u64), ([u8; 20], usize)>,
    terms: BTreeMap<(GroupId, u64), (u64, usize)>,
    members: BTreeMap<(GroupId, u64), (Membership, usize)>,
    /// (group, term) -> its leader's raft id.
    leaders: BTreeMap<(GroupId, u64), RaftId>,
    /// Raft id -> group, kind, node: none of them ever changes (G2).
    ids: BTreeMap<RaftId, (GroupId, MemberKind, NodeId)>,
    /// Where slots move: what the shards have committed.
    pub committed: Committed,
    /// Which group each machine's data member is of, and the groups that have none left.
    seats: BTreeMap<usize, GroupId>,
    ended: BTreeSet<GroupId>,
    /// Raft ids whose disk is gone.
    dead: BTreeSet<RaftId>,
}

impl Checks {
    pub fn leaders(&self) -> usize {
        self.leaders.len()
    }

    /// The digest of the keys, and the members, that a group was seen to have at an applied index.
    pub fn seen_at(&self, group: GroupId, index: u64) -> Option<([u8; 20], &Membership)> {
        let (digest, _) = self.digests.get(&(group, index))?;
        let (members, _) = self.members.get(&(group, index))?;
        Some((*digest, members))
    }

    /// Whether no machine has data of this group any more.
    pub fn has_ended(&self, group: GroupId) -> bool {
        self.ended.contains(&group)
    }

    /// I9: a machine's data member is of this group now. The group that it was of may have ended by that: then
    /// it owes nothing, and no other one waits for its word.
    fn take_seat(&mut self, m: usize, group: GroupId) -> Result<(), String> {
        let before = self.seats.insert(m, group).filter(|of| *of != group);
        let Some(left) = before.filter(|of| !self.seats.values().any(|g| g == of)) else {
            return Ok(());
        };
        self.ended.insert(left);
        match self.committed.record(left) {
            Some(record) if record.moves.owes() => Err(format!(
                "I9: group {:04x} has ended and owes: {:?}",
                left.0 & 0xffff,
                record.moves
            )),
            _ => {
                let others = self.seats.values().copied();
                let waits = self.committed.waits_for(left, others);
                waits.map_or(Ok(()), |what| {
                    let left = left.0 & 0xffff;
                    Err(format!("I9: group {left:04x} has ended, and {what}"))
                })
            }
        }
    }

    /// Up to where a group's committed entries have been looked at.
    #[cfg(test)]
    pub fn seen_committed(&self, group: GroupId) -> u64 {
        self.committed.seen(group)
    }

    /// Whether a member whose disk is gone still counts somewhere.
    pub fn dead_in_use(&self, w: &World) -> bool {
        let shards = w.machines.iter().filter_map(|m| m.node.as_ref());
        let mut lists = shards.flat_map(|n| &n.shard().group().membership().list);
        lists.any(|m| self.dead.contains(&m.raft_id))
    }
}

type View<'a> = (&'a Shard<SimDisk>, NodeId);

impl World {
    /// The machine's disk is replaced.
    pub fn wipe(&mut self, m: usize, lasts: u64, keep: &[&str]) {
        let Some(node) = &self.machines[m].node else {
            return;
        };
        let base = node.shard().base().clone();
        let mut ids: Vec<RaftId> = node
            .witnesses
            .shards()
            .map(|s| s.identity().raft_id)
            .collect();
        ids.push(base.identity.raft_id);
        self.checks.dead.extend(ids);
        self.machines[m].down_for = lasts;
        self.kill(m, self.now, false);
        self.machines[m].disk.wipe(keep);
        self.machines[m].disk.set_capacity(CAPACITY);
        if keep.is_empty() {
            self.machines[m].name = None;
        } else if mutation::is(Mutation::AmnesiaUnderOldId) {
            let disk = self.machines[m].disk.clone();
            let log = LogConfig {
                segment_size: self.plan.segment,
                spare_segments: self.plan.spares,
                reserve: 8 << 10,
                freeing: 8 << 10,
                kept: Default::default(),
                floor: 0,
            };
            remake(&disk, &log, &base);
        }
    }

    fn views(&self, m: usize) -> Vec<View<'_>> {
        let Some(node) = &self.machines[m].node else {
            return Vec::new();
        };
        let name = node.name();
        let witnesses = node.witnesses.shards().map(|s| (s, name));
        std::iter::once((node.shard(), name))
            .chain(witnesses)
            .collect()
    }

    /// Looks at machine `m` after a turn that ended at `end`.
    pub fn look(&mut self, m: usize, end: True) {
        if self.failure.is_some() {
            return;
        }
        self.trace.mix(self.now ^ (m as u64) << 56);
        if let Err(why) = self.examine(m, end) {
            let all = self.describe_all();
            self.fail(format!("{why}\n{all}"));
        }
    }

    fn examine(&mut self, m: usize, end: True) -> Result<(), String> {
        let mut checks = std::mem::take(&mut self.checks);
        let result = self.examine_with(&mut checks, m, end);
        self.checks = checks;
        result?;
        self.note_flushes();
        let machine = &mut self.machines[m];
        let said = std::mem::take(&mut *machine.said.lock().expect("nobody panics with it"));
        let lied = self.plan.liar.is_some();
        if let Some(said) = said.first().filter(|_| !machine.may_end() && !lied) {
            return Err(format!("W2: machine {m}: {said}"));
        }
        Ok(())
    }

    fn examine_with(&mut self, checks: &mut Checks, m: usize, end: True) -> Result<(), String> {
        if self.plan.liar.is_some() {
            return Ok(()); // a voter that lies can break every promise but that nobody ends
        }
        for (shard, name) in self.views(m) {
            look_at_ids(checks, shard, name)?;
            look_at_leader(checks, shard)?;
            look_at_voters(shard)?;
            if shard.group().kind() == MemberKind::Witness {
                self.look_at_base(shard)?;
            } else {
                look_at_wait(shard)?;
            }
        }
        for (shard, _) in self.views(m) {
            look_at_hosts(shard)?;
        }
        self.look_at_moves(checks, m)?;
        self.look_at_leases(m, end)?;
        self.look_at_applied(checks, m)
    }

    /// G6, P12: a witness starts where the log of every data voter reaches, now and later: it can bring
    /// each of them up. One that lost its beginning, for as long as the shard says that it survives a loss.
    fn look_at_base(&self, shard: &Shard<SimDisk>) -> Result<(), String> {
        let (base, group) = (shard.base(), shard.identity().group);
        if base.start.is_some() && !self.is_ha(group) {
            return Ok(());
        }
        let begins = base.log_before().index;
        let membership = shard.group().membership();
        let is_voter = |m: &&Member| m.kind == MemberKind::Data && membership.is_voter(m.raft_id);
        for member in membership.list.iter().filter(is_voter) {
            let nodes = self.machines.iter().filter_map(|m| m.node.as_ref());
            let of = nodes
                .map(|n| n.shard())
                .find(|s| s.identity().raft_id == member.raft_id);
            if let Some(short) = of.filter(|s| s.group().last_index() < begins) {
                return Err(format!(
                    "G6: witness {:04x} starts at {}, member {:04x} ends at {}",
                    base.identity.raft_id.0 & 0xffff,
                    begins,
                    member.raft_id.0 & 0xffff,
                    short.group().last_index()
                ));
            }
        }
        Ok(())
    }

    /// Whether the group's leader says that it survives the loss of any member.
    fn is_ha(&self, group: GroupId) -> bool {
        self.machines.iter().any(|machine| {
            let Some(node) = &machine.node else {
                return false;
            };
            let now = machine.clock.borrow().read(self.now);
            node.shard().identity().group == group && node.shard().is_ha(now)
        })
    }

    /// Whether the member would answer reads alone at this moment of true time.
    fn has_lease(&self, m: usize, shard: &Shard<SimDisk>, at: True) -> bool {
        let group = shard.group();
        if !group.is_leader() || group.is_transferring() {
            return false;
        }
        let now = self.machines[m].clock.borrow().mono(at);
        let length = group.lease_length();
        group
            .quorum_ack_time(now)
            .is_some_and(|ack_of_send_time| ack_of_send_time + length > now)
    }

    /// The member of a machine, where slots move.
    fn mover(&self, m: usize) -> Option<&Shard<SimDisk>> {
        let node = self.machines[m].node.as_ref();
        node.filter(|_| self.moves_slots()).map(|node| node.shard())
    }

    /// After a step, before what comes out of it is carried away: the process may die before its turn is over, or
    /// while that is done, and others have been told of what has committed.
    pub fn look_before_it_tells(&mut self, m: usize) -> Result<(), String> {
        let mut checks = std::mem::take(&mut self.checks);
        let shard = self.mover(m).filter(|_| self.plan.liar.is_none());
        let shard = shard.filter(|shard| self.groups.contains(&shard.identity().group));
        let followed = shard.map_or(Ok(()), |shard| {
            let disk = &self.machines[m].disk;
            disk.look(|| checks.committed.follow(shard, &self.keys))
        });
        self.checks = checks;
        followed
    }

    /// I1 to I4, I7, M2: what the shards have committed goes together.
    fn look_at_moves(&self, checks: &mut Checks, m: usize) -> Result<(), String> {
        let Some(shard) = self.mover(m) else {
            return Ok(());
        };
        checks.take_seat(m, shard.identity().group)?;
        if !self.groups.contains(&shard.identity().group) {
            return Ok(()); // it has no slots, and leaves for a shard that has
        }
        let disk = &self.machines[m].disk;
        disk.look(|| checks.committed.look(shard, &self.keys))
    }

    /// A FLUSHALL has deleted what its shard had: that happened at some time after it was asked for.
    fn note_flushes(&mut self) {
        for (group, gone) in std::mem::take(&mut self.checks.committed.flushed) {
            let asked = self.flushes.iter().position(|(of, _)| *of == group);
            let (_, asked) = self.flushes.remove(asked.expect("nobody else flushes"));
            for of in 0..self.plan.taste.groups {
                let is_gone = |key: &u8| gone.contains(&key_name(of, *key));
                let keys: Vec<u8> = (0..KEYS).filter(is_gone).collect();
                if !keys.is_empty() {
                    let op = Op::one(Cmd::Del { keys });
                    self.history.unknown(u32::MAX, of, op, asked);
                }
                if gone.contains(&queue::name(of)) {
                    self.history.queues.flushed(of, self.now);
                }
            }
        }
    }

    fn look_at_leases(&self, m: usize, end: True) -> Result<(), String> {
        for (shard, _) in self.views(m) {
            if !self.has_lease(m, shard, end) {
                continue;
            }
            let group = shard.identity().group;
            for other in 0..self.machines.len() {
                for (theirs, _) in self.views(other) {
                    let same = theirs.identity().raft_id == shard.identity().raft_id;
                    if theirs.identity().group == group
                        && !same
                        && self.has_lease(other, theirs, end)
                    {
                        return Err(format!(
                            "two valid leases in group {:04x} at {} ms of true time: machines {m} and {other}",
                            group.0 & 0xffff,
                            end / MS
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    fn look_at_applied(&mut self, checks: &mut Checks, m: usize) -> Result<(), String> {
        let Some(node) = &self.machines[m].node else {
            return Ok(());
        };
        let (shard, id) = (node.shard(), node.shard().identity().raft_id);
        let (group, applied) = (shard.identity().group, shard.group().applied());
        let seen = self.machines[m].seen_applied;
        let from = if seen.0 == id { seen.1 } else { 0 };
        // T7: a follower may show what it has to READONLY clients; a leader's tail is its own.
        let leads = shard.group().is_leader();
        let shows = shard.is_own_copy() && !(leads && shard.tail_len() > 0);
        if !shows || applied == from {
            return Ok(());
        }
        for index in from.max(1)..=applied {
            let Some(term) = shard.group().term_at(index) else {
                continue;
            };
            let (first, by) = *checks.terms.entry((group, index)).or_insert((term, m));
            if first != term {
                return Err(format!(
                    "applied prefixes differ at {index}: term {first} at machine {by}, {term} at {m}"
                ));
            }
        }
        let digest = shard.data().keyspace().digest_all();
        let key = (group, applied);
        let (first, by) = *checks.digests.entry(key).or_insert((digest, m));
        if first != digest {
            return Err(format!(
                "keyspaces differ at applied index {applied}: machines {by} and {m}"
            ));
        }
        let own = shard.group().membership();
        let (members, by) = checks.members.entry(key).or_insert((own.clone(), m));
        if !same_members(members, own) {
            return Err(format!(
                "G5: members differ at applied index {applied}: machine {by} has {members:?}, {m} has {own:?}"
            ));
        }
        self.trace.mix_bytes(&digest);
        self.machines[m].seen_applied = (id, applied);
        Ok(())
    }

    // ---- descriptions -----------------------------------------------------------------------

    pub fn describe_all(&self) -> String {
        let lines: Vec<String> = (0..self.machines.len()).map(|m| self.describe(m)).collect();
        lines.join("\n")
    }

    pub fn describe(&self, m: usize) -> String {
        let Some(node) = &self.machines[m].node else {
            return format!("  m{m}: down");
        };
        let mut lines = vec![format!(
            "  m{m}: {} {} joining {:?} nodes {} ha {} ops {}",
            &node.name().to_string()[..6],
            if node.cluster().is_master() {
                "master"
            } else {
                "slave"
            },
            node.cluster()
                .identity()
                .joining
                .map(|j| j.raft_id.0 & 0xffff),
            node.cluster().bus().nodes().count(),
            node.cluster().is_ha(),
            self.machines[m].operator.pending.len(),
        )];
        for (shard, _) in self.views(m) {
            lines.push(describe_shard(shard));
        }
        lines.join("\n")
    }
}

fn describe_shard(shard: &Shard<SimDisk>) -> String {
    let (base, group) = (shard.base(), shard.group());
    let short = |ids: &[u64]| -> Vec<String> {
        ids.iter()
            .map(|id| format!("{:04x}", id & 0xffff))
            .collect()
    };
    let conf = &group.membership().conf;
    format!(
        "    {:?} {:04x} of {:04x} base {} log from {} {:?} term {} leader {:?} commit {} applied {} last {} voters {:?} out {:?} learners {:?} removed {} tail {} epoch {} slots {} master {}",
        base.identity.kind,
        base.identity.raft_id.0 & 0xffff,
        base.identity.group.0 & 0xffff,
        base.snapshot.index,
        shard.log().first_index(),
        group.role(),
        group.term(),
        group.leader().map(|id| format!("{:04x}", id.0 & 0xffff)),
        group.commit(),
        group.applied(),
        group.last_index(),
        short(&conf.voters),
        short(&conf.voters_outgoing),
        short(&conf.learners),
        shard.is_removed(),
        shard.tail_len(),
        shard.record().epoch,
        shard.record().slots.len(),
        &shard.record().master.to_string()[..6],
    )
}

/// The same members in the same roles; in which order is no matter.
pub fn same_members(a: &Membership, b: &Membership) -> bool {
    let sorted = |m: &Membership| {
        let conf = &m.conf;
        let lists = [
            &conf.voters,
            &conf.voters_outgoing,
            &conf.learners,
            &conf.learners_next,
        ];
        lists.map(|ids| ids.iter().copied().collect::<BTreeSet<u64>>())
    };
    a.list == b.list && sorted(a) == sorted(b)
}

/// C2: WAIT never counts more than the other members with data.
fn look_at_wait(shard: &Shard<SimDisk>) -> Result<(), String> {
    let own = shard.identity().raft_id;
    let list = &shard.group().membership().list;
    let is_replica = |m: &&Member| m.kind == MemberKind::Data && m.raft_id != own;
    let replicas = list.iter().filter(is_replica).count() as u64;
    let counted = shard.replica_acks(shard.last_gate().batch);
    if shard.group().is_leader() && counted > replicas {
        return Err(format!(
            "C2: WAIT counts {counted} of {replicas} replicas in group {:04x}",
            shard.identity().group.0 & 0xffff
        ));
    }
    Ok(())
}

/// G2: a raft id is one member's, for ever.
fn look_at_ids(checks: &mut Checks, shard: &Shard<SimDisk>, name: NodeId) -> Result<(), String> {
    let base = shard.base();
    let id = base.identity.raft_id;
    if checks.dead.contains(&id) {
        return Err(format!(
            "G2: member {:04x} lost its disk and is back under its id",
            id.0 & 0xffff
        ));
    }
    let own = (base.identity.group, base.identity.kind, name);
    let first = *checks.ids.entry(id).or_insert(own);
    if (first.0, first.1) != (own.0, own.1) {
        return Err(format!(
            "G2: raft id {:04x} was {first:?}, is {own:?}",
            id.0 & 0xffff
        ));
    }
    Ok(())
}

fn look_at_leader(checks: &mut Checks, shard: &Shard<SimDisk>) -> Result<(), String> {
    let group = shard.group();
    if !group.is_leader() {
        return Ok(());
    }
    let key = (shard.identity().group, group.term());
    let first = *checks.leaders.entry(key).or_insert(group.id());
    if first != group.id() {
        return Err(format!(
            "two leaders of group {:04x} in term {}: {:04x} and {:04x}",
            key.0 .0 & 0xffff,
            key.1,
            first.0 & 0xffff,
            group.id().0 & 0xffff
        ));
    }
    if !group.membership().is_voter(group.id()) {
        return Err(format!(
            "E2: {:04x} leads and is no voter",
            group.id().0 & 0xffff
        ));
    }
    Ok(())
}

/// G3: voters are odd in number.
fn look_at_voters(shard: &Shard<SimDisk>) -> Result<(), String> {
    let conf = &shard.group().membership().conf;
    let even = |voters: &[u64]| voters.len() % 2 == 0;
    if even(&conf.voters) || (!conf.voters_outgoing.is_empty() && even(&conf.voters_outgoing)) {
        return Err(format!("G3: an even number of voters: {conf:?}"));
    }
    Ok(())
}

/// W3: a voting witness is not on the node of a voting data member of its group.
fn look_at_hosts(shard: &Shard<SimDisk>) -> Result<(), String> {
    let membership = shard.group().membership();
    let votes = |m: &&Member| membership.conf.voters.contains(&m.raft_id.0);
    let voters: Vec<&Member> = membership.list.iter().filter(votes).collect();
    let handle = |w: &&&Member| {
        let others = voters.iter().filter(|m| m.raft_id != w.raft_id);
        w.kind == MemberKind::Witness && others.into_iter().any(|m| m.node == w.node)
    };
    match voters.iter().find(handle) {
        Some(w) => Err(format!(
            "W3: witness {:04x} falls with another voter",
            w.raft_id.0 & 0xffff
        )),
        None => Ok(()),
    }
}

/// The mutation that G2 forbids: the member that lost its disk is made anew under its old id.
fn remake(disk: &SimDisk, log: &LogConfig, base: &Base) {
    let name = cluster::identity::folder(base.identity.raft_id);
    let folder = disk.make_folder(&name).expect("an empty disk");
    // The state is gone with the disk.
    let mut base = base.clone();
    if base.snapshot.file.take().is_some() {
        (base.snapshot.index, base.snapshot.term) = (0, 0);
    }
    base.start = None;
    Log::create(folder, log.clone(), &base).expect("an empty disk");
    let identity = NodeIdentity {
        member: base.identity.raft_id,
        ..NodeIdentity::default()
    };
    identity.save(disk).expect("an empty disk");
}
