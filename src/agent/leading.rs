//! What the leader of a shard does for its members: accepts joiners, lets members go, looks for
//! hosts of witnesses (W3), and writes the record (S2, S3).

use super::{Agent, Claimed, Invitation, LEAVE_TIMEOUTS};
use crate::agent::control::{Control, Said};
use crate::clock::Now;
use crate::ids::{GroupId, RaftId};
use crate::mutation::{self, Mutation};
use crate::raft::Role;
use crate::shard::Shard;
use crate::state::{room, Access, StateMachine};
use crate::storage::base::{Member, MemberKind};
use crate::storage::Disk;
use cluster_bus::bus::{ForgetError, Node};
use cluster_bus::wire::Flags;
use cluster_bus::{NodeId, SlotSet};
use std::time::Duration;

/// W3: how long an invited host may take to answer.
const INVITATION: Duration = Duration::from_millis(500);
/// W3: how long a leader that finds only masters as hosts waits for nodes that may yet be replicas:
/// the bus tells of them when they have settled.
const SETTLING: Duration = Duration::from_secs(2);
/// How many that are not known may wait for an answer.
const UNKNOWN_LEAVERS: usize = 64;
/// S3: how long a claim is remembered at least; the bus tells one that stands with every packet.
const CLAIM_LASTS: Duration = Duration::from_secs(20);

/// A node that could host a witness.
struct Host {
    id: NodeId,
    /// On a machine of a data member of the shard.
    beside_data: bool,
    is_master: bool,
    /// A master with slots, or a replica of one that has heard it.
    is_settled: bool,
    weight: u64,
}

/// W3: replicas before masters, and on no machine of the shard's if there are others. `patient`:
/// nobody rather than a master, while somebody may yet settle.
fn best_first(mut hosts: Vec<Host>, patient: bool) -> Vec<NodeId> {
    let is_fit = |host: &Host| host.is_settled && !host.is_master;
    if patient && !hosts.iter().any(is_fit) && hosts.iter().any(|host| !host.is_settled) {
        return Vec::new();
    }
    hosts.retain(|host| host.is_settled);
    hosts.sort_by_key(|host| (host.beside_data, host.is_master, host.weight));
    hosts.into_iter().map(|host| host.id).collect()
}

impl Agent {
    // ---- members come and go --------------------------------------------------------------

    /// C1: a node asks for the group's base. Only the shard's master hands it out.
    pub(super) fn asked_to_accept<D: Disk>(
        &mut self,
        from: NodeId,
        raft_id: RaftId,
        shard: &Shard<D>,
    ) {
        let leads = shard.group().is_leader() && shard.group().kind() == MemberKind::Data;
        if !leads || !shard.group().own_term_applied() || self.is_joining() {
            let leader = self.leader_node(shard);
            return self.answer(from, &Control::NotLeader { leader });
        }
        // G1: from the birth of the group on, the log has everything.
        let mut base = shard.base().clone();
        base.identity.raft_id = raft_id;
        self.answer(
            from,
            &Control::Accept {
                base: Box::new(base),
            },
        );
    }

    /// C1: a member asks to be removed: the answer comes first, and the removal when it is confirmed.
    pub(super) fn asked_to_let_go<D: Disk>(
        &mut self,
        from: NodeId,
        raft_id: RaftId,
        shard: &mut Shard<D>,
    ) {
        let group = shard.identity().group;
        let Some(member) = shard.group().membership().member(raft_id) else {
            // A leader that has not applied everything, or was deposed and does not know it, may
            // never have heard of the member. This turn's clock was read before the question came,
            // so no lease that is tested against it says anything: a later turn answers (E3).
            if mutation::is(Mutation::LeftOnAStaleClock) && shard.group().holds_lease(self.now) {
                self.answer(from, &Control::Left { group, raft_id });
            }
            self.unknown_leavers.retain(|(_, id, _)| *id != raft_id);
            if shard.group().is_leader() && self.unknown_leavers.len() < UNKNOWN_LEAVERS {
                self.unknown_leavers.push((from, raft_id, self.now.mono));
                shard.split().1.group.ping();
            }
            return;
        };
        if member.node == from {
            self.really(from, Said::Leave, group, raft_id);
        }
    }

    /// C1: a member is to go, and it is proved that it wants to.
    pub(super) fn let_go<D: Disk>(&mut self, from: NodeId, raft_id: RaftId, shard: &mut Shard<D>) {
        let member = shard.group().membership().member(raft_id).copied();
        // Nobody speaks for another node's member.
        match member.filter(|m| m.node == from).map(|m| m.kind) {
            None => {}
            Some(MemberKind::Data) => shard.wish_to_leave(raft_id),
            Some(MemberKind::Witness) => {
                let until = self.now.mono + shard.group().election_timeout() * LEAVE_TIMEOUTS;
                match self.leaving_witness {
                    Some((id, _)) if id == raft_id => {}
                    _ => self.leaving_witness = Some((raft_id, until)),
                }
                shard.replace_witness(raft_id);
            }
        }
    }

    /// C1: says *Left* to members that asked before a message was sent which a majority has echoed: a
    /// leader that had deposed this one by then had no majority.
    fn answer_leavers<D: Disk>(&mut self, now: Now, shard: &Shard<D>) {
        if self.unknown_leavers.is_empty() {
            return;
        }
        let shard_group = shard.group();
        let (group, t) = (shard.identity().group, shard_group.election_timeout());
        let knows = shard_group.own_term_applied();
        let confirmed = shard_group.quorum_echo(now.mono).filter(|_| knows);
        for (from, raft_id, at) in std::mem::take(&mut self.unknown_leavers) {
            if shard_group.membership().contains(raft_id) {
                continue; // it asks again, and is let go
            }
            if confirmed.is_some_and(|echo| echo > at) {
                self.answer(from, &Control::Left { group, raft_id });
            } else if shard_group.is_leader() && now.mono.since(at) < t {
                self.unknown_leavers.push((from, raft_id, at));
            }
        }
    }

    /// G2: `from` says that there is no such member: it has lost its disk, or has left.
    pub(super) fn member_is_gone<D: Disk>(
        &mut self,
        from: NodeId,
        raft_id: RaftId,
        shard: &mut Shard<D>,
    ) {
        let member = shard.group().membership().member(raft_id).copied();
        match member.filter(|m| m.node == from) {
            Some(m) if m.kind == MemberKind::Data => shard.note_lost(raft_id),
            Some(_) => shard.replace_witness(raft_id),
            None => {}
        }
    }

    /// FORGET: a member of the shard that this node leads is removed from it as well (C1).
    pub fn forget(&mut self, now: Now, node: NodeId) -> Result<(), ForgetError> {
        let forgotten = self.bus_mut().forget(super::bus_now(now), node);
        // A member whose node the bus has forgotten already can still be removed.
        let member = self.nodes.values().any(|of| *of == node);
        if forgotten != Err(ForgetError::Unknown) || !member {
            forgotten?;
        }
        self.forgotten.push(node);
        Ok(())
    }

    /// What commands have asked of the shard.
    pub(super) fn carry_out<D: Disk>(&mut self, now: Now, shard: &mut Shard<D>) {
        self.answer_leavers(now, shard);
        for node in std::mem::take(&mut self.forgotten) {
            self.forget_member(node, shard);
        }
        self.expel(shard);
        if std::mem::take(&mut self.wants_lead) {
            let (group, raft_id) = (shard.identity().group, shard.identity().raft_id);
            self.asked_to_lead = Some(self.now.mono);
            if let Some(leader) = self.leader_node(shard) {
                self.tell(leader, &Control::Failover { group, raft_id });
            }
        }
    }

    /// C1: the members of a forgotten node are to go, whoever leads by then: every node that was
    /// told to forget it remembers that.
    fn forget_member<D: Disk>(&mut self, node: NodeId, shard: &Shard<D>) {
        let me = shard.identity().raft_id;
        let list = &shard.group().membership().list;
        let of = list.iter().filter(|m| m.node == node && m.raft_id != me);
        self.expelled.extend(of.map(|m| m.raft_id));
    }

    fn expel<D: Disk>(&mut self, shard: &mut Shard<D>) {
        let list = &shard.group().membership().list;
        self.expelled
            .retain(|id| list.iter().any(|m| m.raft_id == *id));
        if self.expelled.is_empty() || !shard.group().is_leader() {
            return;
        }
        for raft_id in self.expelled.clone() {
            match shard.group().membership().member(raft_id).map(|m| m.kind) {
                Some(MemberKind::Data) => shard.wish_to_leave(raft_id),
                Some(MemberKind::Witness) => shard.replace_witness(raft_id),
                None => {}
            }
        }
    }

    // ---- witnesses ------------------------------------------------------------------------

    /// Looks after the group's witness; called in every turn. `looks`: also how it is.
    pub(super) fn look_after_witness<D: Disk>(
        &mut self,
        now: Now,
        shard: &mut Shard<D>,
        looks: bool,
    ) {
        if shard.group().role() != Role::Leader {
            (self.invitation, self.leaving_witness) = (None, None);
            self.hosts_wanted = None;
            self.watched.clear();
            return;
        }
        if looks {
            self.replace_silent_witness(now, shard);
        }
        if let Some((raft_id, until)) = self.leaving_witness {
            if !shard.group().membership().contains(raft_id) {
                self.leaving_witness = None;
            } else if now.mono >= until {
                shard.let_witness_go(raft_id);
            }
        }
        if looks {
            shard.set_no_hosts(!self.config.witness || !self.knows_strangers(shard));
        }
        if shard.take_fell() {
            self.warn(|| {
                "No witness was found for this shard: it has fewer voters than before, and may not \
                 survive the loss of one"
                    .to_owned()
            });
        }
        if !self.config.witness || !shard.wants_witness() {
            self.invitation = None;
            return;
        }
        let waits = self.invitation.as_ref().is_some_and(|i| now.mono < i.until);
        if !waits {
            self.invite(now, shard);
        }
    }

    /// W3: whether there is any node that is none of this shard's, so that it may host a witness.
    fn knows_strangers<D: Disk>(&self, shard: &Shard<D>) -> bool {
        let list = &shard.group().membership().list;
        let stays = |node: &Node| list.iter().any(|m| m.node == node.id);
        let mut others = self.bus.nodes().filter(|n| n.id != self.myself());
        others.any(|n| !n.in_handshake() && !stays(n))
    }

    /// G3: the leader knows whether the shard survives a loss, and tells the others.
    pub(super) fn tell_health<D: Disk>(&mut self, now: Now, shard: &Shard<D>) {
        if !shard.group().is_leader() {
            return;
        }
        let ha = shard.is_ha(now);
        let changed = self.health.map(|(was, _)| was) != Some(ha);
        self.health = Some((ha, now.mono));
        if !changed && now.mono < self.tell_health_at {
            return;
        }
        self.tell_health_at = now.mono + shard.group().election_timeout();
        let group = shard.identity().group;
        let (me, list) = (self.myself(), &shard.group().membership().list);
        let others = list.iter().filter(|m| m.kind == MemberKind::Data);
        let nodes: Vec<NodeId> = others.map(|m| m.node).filter(|n| *n != me).collect();
        for node in nodes {
            self.tell(node, &Control::Health { group, ha });
        }
    }

    /// W3: a witness that was not heard for cluster-node-timeout is replaced. One that is new, or
    /// whose echoes a transfer has dropped, has that long to be heard.
    fn replace_silent_witness<D: Disk>(&mut self, now: Now, shard: &mut Shard<D>) {
        let limit = Duration::from_millis(self.config.bus.node_timeout_ms);
        let list = &shard.group().membership().list;
        let witnesses = list.iter().filter(|m| m.kind == MemberKind::Witness);
        let ids: Vec<RaftId> = witnesses.map(|m| m.raft_id).collect();
        self.watched.retain(|id, _| ids.contains(id));
        if ids.is_empty() {
            return;
        }
        let members = shard.group().members();
        for id in ids {
            let heard = members.iter().find(|m| m.id == id).and_then(|m| m.heard);
            let last = self.watched.entry(id).or_insert(now.mono);
            *last = heard.map_or(*last, |at| at.max(*last));
            if now.mono.since(*last) > limit {
                shard.replace_witness(id);
            }
        }
    }

    fn invite<D: Disk>(&mut self, now: Now, shard: &mut Shard<D>) {
        let Some(base) = shard.witness_base() else {
            return;
        };
        // After a pause without a host everybody is asked anew.
        let before = self.invitation.take().filter(|i| i.host.is_some());
        let tried = before.map_or_else(Vec::new, |mut i| {
            i.tried.extend(i.host);
            i.tried
        });
        let since = *self.hosts_wanted.get_or_insert(now.mono);
        let patient = self.leaving_witness.is_none() && now.mono.since(since) < SETTLING;
        let hosts = self.hosts(shard, patient);
        let host = hosts.into_iter().find(|host| !tried.contains(host));
        self.invitation = Some(Invitation {
            host,
            until: now.mono + INVITATION,
            tried,
        });
        if let Some(host) = host {
            let base = Box::new(base);
            self.tell(host, &Control::Invite { base });
        }
    }

    /// A host asks whether this node has invited it.
    pub(super) fn invite_again<D: Disk>(&mut self, host: NodeId, shard: &mut Shard<D>) {
        let invitation = self.invitation.as_ref();
        let invited = invitation.is_some_and(|i| i.host == Some(host));
        if !(invited && shard.wants_witness()) {
            return;
        }
        if let Some(base) = shard.witness_base() {
            let base = Box::new(base);
            self.answer(host, &Control::Invite { base });
        }
    }

    /// W3: who may host a witness of this shard, best first. `patient`: nobody rather than a master,
    /// while a replica may still settle.
    fn hosts<D: Disk>(&self, shard: &Shard<D>, patient: bool) -> Vec<NodeId> {
        let record = shard.record();
        if !self.bus.state_ok() {
            return Vec::new(); // gossip has not settled
        }
        let list = &shard.group().membership().list;
        let is_data_host = |node: &Node| {
            let ids = list.iter().filter(|m| m.kind == MemberKind::Data);
            ids.filter_map(|m| self.bus.node(m.node))
                .any(|other| other.ip == node.ip)
        };
        let fits = |node: &&Node| {
            let anywhere = mutation::is(Mutation::WitnessBesideData);
            let busy = list.iter().any(|m| m.node == node.id) && !anywhere;
            let elsewhere = self.bus.shard_of(node.id) != Some(record.shard) || anywhere;
            !busy && elsewhere && node.connected && !node.suspect() && !node.ip.is_empty()
        };
        let hosts = self.bus.nodes().filter(fits).map(|node| Host {
            id: node.id,
            beside_data: is_data_host(node),
            is_master: node.is_master(),
            is_settled: node.slot_count > 0
                || (node.flags.has(Flags::SLAVE) && node.offset > 0 && node.master.is_some()),
            weight: rendezvous(record.shard, node.id),
        });
        best_first(hosts.collect(), patient)
    }

    /// A host has accepted.
    pub(super) fn invited<D: Disk>(
        &mut self,
        from: NodeId,
        group: GroupId,
        raft_id: RaftId,
        shard: &mut Shard<D>,
    ) {
        let expected = self
            .invitation
            .as_ref()
            .is_some_and(|i| i.host == Some(from) || i.tried.contains(&from));
        let fits = expected
            && group == shard.identity().group
            && shard.wants_witness()
            && !shard
                .group()
                .membership()
                .list
                .iter()
                .any(|m| m.node == from);
        if fits {
            (self.invitation, self.hosts_wanted) = (None, None);
            shard.offer_witness(Member {
                raft_id,
                node: from,
                kind: MemberKind::Witness,
            });
        }
    }

    pub(super) fn declined(&mut self, from: NodeId) {
        if let Some(invitation) = self.invitation.as_mut().filter(|i| i.host == Some(from)) {
            invitation.until = self.now.mono;
        }
    }

    // ---- the record -----------------------------------------------------------------------

    /// Whether this leader has to write its epoch entry before it serves (S2).
    pub fn must_announce<D: Disk>(&self, shard: &Shard<D>) -> bool {
        shard.record().master != self.myself()
    }

    /// What the shard's log has to say of epoch and slots, as effects of this turn: to be called
    /// when the shard admits writes. What it gives is a warning for the log.
    pub fn write_record(&mut self, data: &mut StateMachine) -> Option<String> {
        if self.is_joining() {
            return None;
        }
        // D5: what has no room now is said in a later turn.
        data.begin_command(0, Access::Lead);
        if !data.room_for((1 + self.claims.len()) * room::RECORD) {
            return None;
        }
        let me = self.myself();
        let record = data.record();
        let before = record.epoch;
        let next = self.bus.max_epoch().max(before).saturating_add(1);
        if record.master != me || std::mem::take(&mut self.collision) {
            data.begin_command(0, Access::Lead);
            data.set_epoch(next, me); // S2
            data.end_command();
        }
        let mut told = None;
        for Claimed {
            by, epoch, slots, ..
        } in std::mem::take(&mut self.claims)
        {
            let record = data.record();
            // S3: of another shard, and higher: what was said before this node came here is void.
            if self.bus.shard_of(by) == Some(record.shard) || epoch <= before {
                continue;
            }
            let lost: SlotSet = slots.iter().filter(|s| record.slots.contains(*s)).collect();
            if lost.is_empty() || mutation::is(Mutation::ClaimIsIgnored) {
                continue;
            }
            data.begin_command(0, Access::Lead);
            let keys = data.lose_slots(&lost); // S3
            data.end_command();
            told = Some(format!(
                "Lost {} slots to node {by}, which claims them under a higher epoch: {keys} keys \
                 were deleted",
                lost.len()
            ));
        }
        told
    }

    /// S3: a claim that stands is told again and again. One that has not been for long was given up,
    /// and a member that leads much later must not lose slots to it.
    pub(super) fn forget_old_claims(&mut self) {
        let limit = Duration::from_millis(2 * self.config.bus.node_timeout_ms) + CLAIM_LASTS;
        let now = self.now.mono;
        self.claims.retain(|claim| now.since(claim.at) <= limit);
    }

    /// Whether [`Agent::write_record`] has anything to write.
    pub fn has_record_to_write(&self, data: &StateMachine) -> bool {
        !self.is_joining()
            && (data.record().master != self.myself() || self.collision || !self.claims.is_empty())
    }
}

/// Rendezvous hashing: a stable order of hosts that differs from shard to shard (FNV-1a).
fn rendezvous(shard: NodeId, node: NodeId) -> u64 {
    let bytes = shard.0.iter().chain(&node.0);
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(n: u8, is_master: bool, is_settled: bool) -> Host {
        Host {
            id: NodeId([n; 20]),
            beside_data: false,
            is_master,
            is_settled,
            weight: u64::from(n),
        }
    }

    fn order(hosts: Vec<Host>, patient: bool) -> Vec<u8> {
        let ids = best_first(hosts, patient).into_iter();
        ids.map(|id| id.0[0]).collect()
    }

    #[test]
    fn witnesses_go_to_replicas_before_masters() {
        let all = || {
            vec![
                host(1, true, true),
                host(3, false, true),
                host(2, false, true),
            ]
        };
        assert_eq!(order(all(), false), [2, 3, 1]);
        let mut beside = all();
        beside[2].beside_data = true;
        assert_eq!(order(beside, false), [3, 1, 2]);
    }

    #[test]
    fn a_leader_waits_for_those_that_may_yet_be_replicas() {
        let master = || host(1, true, true);
        for young in [host(2, false, false), host(2, true, false)] {
            assert_eq!(order(vec![master(), young], true), [0; 0]);
        }
        assert_eq!(order(vec![master(), host(2, false, false)], false), [1]);
        // There is nobody to wait for, or no need to.
        assert_eq!(order(vec![master()], true), [1]);
        let settled = vec![master(), host(2, false, false), host(3, false, true)];
        assert_eq!(order(settled, true), [3, 1]);
    }
}
