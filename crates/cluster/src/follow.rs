//! After every turn of the shard: what others see of this node, which nodes it reaches, where slots are.

use super::membership::Membership;
use super::{around, Cluster, ClusterOutput, ForWitnesses};
use base::clock::{Mono, Now};
use base::mutation::{self, Mutation};
use base::ShardId;
use cluster_bus::bus::{Bus, NodeRole, SelfState};
use cluster_bus::wire::Flags;
use cluster_bus::{NodeId, SlotSet};
use shard::Shard;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use storage::Disk;
use topology::Record;

/// How often a leader looks how its members are: they are heard in every tenth of T.
const MEMBERS_EVERY: Duration = Duration::from_millis(10);

/// What the bus shows of this node.
#[derive(Debug, Default)]
pub(super) struct Shown {
    /// None: to be shown anew.
    last: Option<Last>,
}

#[derive(Debug)]
struct Last {
    record: Arc<Record>,
    /// The node was on its way into a shard.
    joins: bool,
    names: Names,
}

/// The nodes that marks and departed slots are shown with: they change with the masters of other shards.
#[derive(Debug, PartialEq, Eq)]
struct Names {
    given: BTreeMap<u16, NodeId>,
    migrating: Vec<(u16, NodeId)>,
    importing: Vec<(u16, NodeId)>,
}

impl Names {
    fn of(bus: &Bus, record: &Record) -> Names {
        Names {
            given: given(bus, record),
            migrating: marks(bus, record, leaving(record)),
            importing: marks(bus, record, coming(record)),
        }
    }
}

impl Shown {
    /// The same record is to be shown in another light.
    pub fn forget(&mut self) {
        self.last = None;
    }

    /// S2: role, slots and epoch on the bus are those of the last applied record. True: they have changed.
    fn show<D: Disk>(
        &mut self,
        now: Now,
        bus: &mut Bus,
        membership: &Membership,
        shard: &Shard<D>,
    ) -> bool {
        let mut record = Arc::clone(shard.record());
        if mutation::is(Mutation::AnnounceBeforeEpoch) {
            record = Arc::clone(shard.data().record());
        }
        let joining = membership.mark();
        // P20: a replica without keys says so by this, as in Redis, and is sent no reads.
        let offset = match joining.is_some() || shard.is_loading() {
            true => 0,
            false => shard.group().applied(),
        };
        bus.set_offset(offset);
        let joins = joining.is_some();
        let same = |last: &Last| last.joins == joins && Arc::ptr_eq(&last.record, &record);
        if self.last.as_ref().is_some_and(same) {
            return false;
        }
        bus.set_needed(record.moves.others());
        let names = Names::of(bus, &record);
        let alike = |last: &Last| {
            last.joins == joins && last.names == names && look_alike(&last.record, &record)
        };
        if self.last.as_ref().is_some_and(alike) {
            self.last = Some(Last {
                record,
                joins,
                names,
            });
            return false;
        }
        let state = match joining {
            Some(joining) => SelfState {
                role: NodeRole::Slave(joining.target),
                shard: bus.shard_of(joining.target).unwrap_or(record.shard),
                ..SelfState::default()
            },
            None => SelfState {
                role: match record.master {
                    master if master == bus.myself() => NodeRole::Master,
                    master => NodeRole::Slave(master),
                },
                shard: record.shard,
                slots: named(&record),
                // M19: until the other shard claims what was handed over, this node's table knows already.
                given: names.given.clone(),
                migrating: names.migrating.clone(),
                importing: names.importing.clone(),
                config_epoch: record.epoch,
                offset,
            },
        };
        bus.set_self(super::bus_now(now), state);
        self.last = Some(Last {
            record,
            joins,
            names,
        });
        true
    }
}

/// Whether others see no difference: lends and ledgers change with every MIGRATE, and are shown nowhere.
fn look_alike(a: &Record, b: &Record) -> bool {
    (a.shard, a.master, a.epoch) == (b.shard, b.master, b.epoch) && a.slots == b.slots
}

/// The slots that the bus names as this shard's.
fn named(record: &Record) -> SlotSet {
    let mut slots = record.slots.clone();
    if mutation::is(Mutation::HandOffKeepsSlotInGossip) {
        record.moves.departed.keys().for_each(|slot| {
            slots.insert(*slot);
        });
    }
    slots
}

type Mark = (u16, ShardId, NodeId);

fn leaving(record: &Record) -> Vec<Mark> {
    let marks = record.moves.migrating.iter();
    marks.map(|(slot, m)| (*slot, m.shard, m.node)).collect()
}

fn coming(record: &Record) -> Vec<Mark> {
    let marks = record.moves.importing.iter();
    marks.map(|(slot, m)| (*slot, m.shard, m.node)).collect()
}

/// M29: on the master's own line a mark names the present master of its shard, or the node as it was named.
fn marks(bus: &Bus, record: &Record, marks: Vec<Mark>) -> Vec<(u16, NodeId)> {
    if record.master != bus.myself() {
        return Vec::new();
    }
    let named = |(slot, shard, node)| (slot, master_of(bus, shard).unwrap_or(node));
    marks.into_iter().map(named).collect()
}

fn given(bus: &Bus, record: &Record) -> BTreeMap<u16, NodeId> {
    let departed = record.moves.departed.iter();
    let to = departed.map(|(slot, d)| (*slot, master_of(bus, d.to).unwrap_or(d.node)));
    to.collect()
}

/// A former master that is down, or still loads its keys, has not heard of its successor: the newest one counts (S2).
fn master_of(bus: &Bus, shard: ShardId) -> Option<NodeId> {
    let masters = bus.nodes().filter(|node| node.flags.has(Flags::MASTER));
    let of = masters.filter(|node| bus.shard_of(node.id).is_some_and(|id| id == shard));
    of.max_by_key(|node| node.config_epoch).map(|node| node.id)
}

/// When a leader looks at its members.
#[derive(Debug)]
pub(super) struct Looks {
    next: Mono,
}

impl Looks {
    pub fn new(now: Mono) -> Looks {
        Looks { next: now }
    }

    fn is_due(&mut self, now: Mono) -> bool {
        let due = now >= self.next;
        if due {
            self.next = now + MEMBERS_EVERY;
        }
        due
    }
}

impl Cluster {
    /// Follows what the shard has become in this turn.
    pub fn follow<D: Disk>(&mut self, now: Now, shard: &mut Shard<D>) {
        self.now = now;
        if self.peers.learn(&shard.group().membership().list) {
            self.table.touch();
        }
        self.removals.answer_leavers(now, shard, &mut self.out);
        self.removals.expel(shard);
        self.tell_lead_wish(shard);
        self.look_at_builds(shard);
        self.proceed(now, shard);
        let looks = self.looks.is_due(now.mono);
        self.look_after_witness(now, shard, looks);
        if looks {
            let me = self.myself();
            self.health.tell(now, shard, me, &mut self.out);
            self.introduce(shard);
            self.check_if_stale(now, shard);
            self.look_at_log_end(shard);
        }
        self.take_bus_actions();
        let node_timeout = self.config.node_timeout();
        self.record.forget_old_claims(now.mono, node_timeout);
        if self.shown.show(now, &mut self.bus, &self.membership, shard) {
            self.table.touch_now(now.mono);
            self.view.touch();
        }
        self.refresh_table(now, shard);
        self.follow_transfers(shard, looks);
        self.membership.look(now, shard);
    }

    /// S2: before the first packet. A node that answered one as a master without slots would seem to have
    /// given them up, and they would be free for every claim, also at a Redis.
    pub fn show_first<D: Disk>(&mut self, shard: &Shard<D>) {
        if mutation::is(Mutation::SpeakBeforeRecord) {
            return;
        }
        self.shown
            .show(self.now, &mut self.bus, &self.membership, shard);
    }

    /// The shard was replaced (a join, a reset): everything about it is looked at anew.
    pub fn begun<D: Disk>(&mut self, shard: &Shard<D>) {
        self.member_begun(shard);
        self.shown.forget();
        self.table.touch_now(self.now.mono);
        self.placement.begun();
        self.record.begin_anew();
        self.transfers.begin_anew();
    }

    fn look_after_witness<D: Disk>(&mut self, now: Now, shard: &mut Shard<D>, looks: bool) {
        let around = around(now.mono, &self.bus, &self.introductions, &self.config);
        let fell = self
            .placement
            .look_after(around, shard, looks, &mut self.out);
        if fell {
            self.warn(|| {
                "No witness was found for this shard: it has fewer voters than before, and may not \
                 survive the loss of one"
                    .to_owned()
            });
        }
    }

    fn refresh_table<D: Disk>(&mut self, now: Now, shard: &Shard<D>) {
        let sources = super::routing::Sources {
            bus: &self.bus,
            joining: self.membership.mark().is_some(),
            require_full_coverage: self.config.options.bus.require_full_coverage,
            preferred: self.config.options.preferred,
        };
        let list = &shard.group().membership().list;
        let (peers, out) = (&mut self.peers, &mut self.out);
        let refresh_peers = || peers.refresh(sources.bus, list, out);
        self.table.refresh(now.mono, sources, shard, refresh_peers);
        self.tell_own_members(shard);
    }

    /// G4: the witnesses that this node hosts hear which members its own group has.
    fn tell_own_members<D: Disk>(&mut self, shard: &Shard<D>) {
        let (group, membership) = (shard.identity().group, shard.group().membership());
        let told = Some((group, membership.changed_at, self.hosted_witnesses));
        if self.hosted_witnesses == 0 || self.told_own == told {
            return;
        }
        self.told_own = told;
        self.out.push(ClusterOutput::Witness(ForWitnesses::Own {
            group,
            members: membership.list.iter().map(|m| m.raft_id).collect(),
            applied: shard.group().applied(),
        }));
    }

    /// SETSLOT NODE of another shard's slot: that node's, until its owner says otherwise.
    pub fn set_owner(&mut self, slot: u16, node: NodeId) {
        self.bus
            .set_owner(super::bus_now(self.now), slot, Some(node));
        self.table.touch();
        self.view.touch();
    }

    /// DELSLOTS of other shards' slots: unassigned, until their owners say otherwise.
    pub fn unassign(&mut self, slots: &SlotSet) {
        slots.iter().for_each(|slot| {
            self.bus.set_owner(super::bus_now(self.now), slot, None);
        });
        self.table.touch();
        self.view.touch();
    }
}
