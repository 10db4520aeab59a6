//! The witness of the shard that this node leads: when one is wanted, kept, let go or replaced (W3, G3).
//!
//! Owns the search for a host ([`search`]), the witness that wants to go, and when each was heard. Never:
//! hosts a witness (that is [`super::witnesses`]), or decides how many voters there are (`raft::plan`).

mod hosts;
mod search;

use super::control::Control;
use super::introduction::{needed_features, Introductions};
use super::outbox::Outbox;
use super::LEAVE_TIMEOUTS;
use base::clock::Mono;
use base::ids::{GroupId, RaftId};
use cluster_bus::bus::Bus;
use cluster_bus::NodeId;
use raft_group::Role;
use search::{Event, Facts, Output, Search};
use shard::Shard;
use std::collections::BTreeMap;
use std::time::Duration;
use storage::base::{Base, Member, MemberKind};
use storage::Disk;

/// What the placement is told of the world.
#[derive(Clone, Copy)]
pub(super) struct Around<'a> {
    pub now: Mono,
    pub bus: &'a Bus,
    pub introductions: &'a Introductions,
    /// `cluster-raft-witness`.
    pub enabled: bool,
    pub node_timeout: Duration,
}

#[derive(Debug, Default)]
pub(super) struct WitnessPlacement {
    search: Search,
    /// A witness that wants to go, and until when a successor for it is looked for.
    leaving: Option<(RaftId, Mono)>,
    /// Witnesses of the shard that this node leads: when each was heard last, or first seen.
    watched: BTreeMap<RaftId, Mono>,
}

impl WitnessPlacement {
    /// Another shard has taken the place of this one.
    pub fn begun(&mut self) {
        self.search = Search::default();
    }

    /// Looks after the group's witness; called in every turn. `looks`: also how it is. True: the voters
    /// have become fewer for want of a host.
    pub fn look_after<D: Disk>(
        &mut self,
        around: Around,
        shard: &mut Shard<D>,
        looks: bool,
        out: &mut Outbox,
    ) -> bool {
        let now = around.now;
        if shard.group().role() != Role::Leader {
            self.step(Event::NotLeading, around, shard);
            self.leaving = None;
            self.watched.clear();
            return false;
        }
        if looks {
            self.replace_silent(around, shard);
        }
        if let Some((raft_id, until)) = self.leaving {
            if !shard.group().membership().contains(raft_id) {
                self.leaving = None;
            } else if now >= until {
                shard.let_witness_go(raft_id);
            }
        }
        if looks {
            let list = &shard.group().membership().list;
            let hosts = around.enabled && hosts::knows_strangers(around.bus, list);
            shard.set_no_hosts(!hosts);
        }
        let fell = shard.take_fell();
        if !around.enabled || !shard.wants_witness() {
            self.step(Event::NotWanted, around, shard);
        } else if self.search.is_due(now) {
            self.invite(around, shard, out);
        }
        fell
    }

    fn invite<D: Disk>(&mut self, around: Around, shard: &mut Shard<D>, out: &mut Outbox) {
        let Some(base) = shard.witness_base() else {
            return;
        };
        if let Some(Output::Invite(host)) = self.step(Event::Due, around, shard) {
            let base = Box::new(base);
            out.tell(host, &Control::Invite { base });
        }
    }

    fn step<D: Disk>(&mut self, event: Event, around: Around, shard: &Shard<D>) -> Option<Output> {
        let list = &shard.group().membership().list;
        // M9: what the log says that an older build can't read, a witness refuses as well.
        let needs = needed_features(shard.data().record());
        let reads = |node: &NodeId| around.introductions.can(around.now, *node, needs);
        let hosts = |patient| {
            let mut hosts = hosts::hosts(around.bus, shard.record(), list, patient);
            hosts.retain(reads);
            hosts
        };
        let facts = Facts {
            now: around.now,
            hurry: self.leaving.is_some(),
            hosts: &hosts,
        };
        self.search.step(event, &facts)
    }

    /// W3: a witness that was not heard for cluster-node-timeout is replaced. One that is new, or
    /// whose acknowledgements a transfer has dropped, has that long to be heard.
    fn replace_silent<D: Disk>(&mut self, around: Around, shard: &mut Shard<D>) {
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
            let last = self.watched.entry(id).or_insert(around.now);
            *last = heard.map_or(*last, |at| at.max(*last));
            if around.now.since(*last) > around.node_timeout {
                shard.replace_witness(id);
            }
        }
    }

    /// C1: a witness wants to go, and it is proved that it does.
    pub fn let_go<D: Disk>(&mut self, now: Mono, raft_id: RaftId, shard: &mut Shard<D>) {
        let until = now + shard.group().election_timeout() * LEAVE_TIMEOUTS;
        match self.leaving {
            Some((id, _)) if id == raft_id => {}
            _ => self.leaving = Some((raft_id, until)),
        }
        shard.replace_witness(raft_id);
    }

    /// A host asks whether this node has invited it: the base for it, if so.
    pub fn invites<D: Disk>(&self, host: NodeId, shard: &mut Shard<D>) -> Option<Base> {
        let invited = self.search.has_invited(host) && shard.wants_witness();
        invited.then(|| shard.witness_base()).flatten()
    }

    /// A host has accepted.
    pub fn accepted<D: Disk>(
        &mut self,
        around: Around,
        host: NodeId,
        (group, raft_id): (GroupId, RaftId),
        shard: &mut Shard<D>,
    ) {
        let mut list = shard.group().membership().list.iter();
        let free = !list.any(|m| m.node == host);
        let fits = group == shard.identity().group && shard.wants_witness() && free;
        let accepted = Event::Accepted { host, fits };
        if let Some(Output::Offer(node)) = self.step(accepted, around, shard) {
            shard.offer_witness(Member {
                raft_id,
                node,
                kind: MemberKind::Witness,
            });
        }
    }

    pub fn declined<D: Disk>(&mut self, around: Around, host: NodeId, shard: &Shard<D>) {
        self.step(Event::Declined(host), around, shard);
    }
}
