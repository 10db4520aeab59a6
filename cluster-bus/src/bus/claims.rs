//! Which node owns which slot: claims by epoch, and the roles of other nodes.
//!
//! Owns the rule that the higher epoch wins. Never gives or takes a slot of our own: those follow
//! the record (`set_self`); a claim on them is told to the driver (S3). Invariant: the slots bound
//! to the own node are those of the last `set_self` if it is a master, else none.

use super::table::Claim;
use super::*;
use crate::slot::SLOT_COUNT;
use crate::wire::{Body, Header, Message, PingKind};
use crate::SlotSet;
use std::collections::BTreeMap;

/// Lines in the log about slots that have changed their owner.
const LOSSES_A_SECOND: u32 = 20;

/// How long the heir of a slot is remembered that has not been given up.
const HEIR_MS: u64 = 5000;

/// How soon all are told of slots alone. While slots move one by one each would cost every node a packet
/// for each of them.
const SLOTS_TOLD_MS: u64 = 10;

/// How soon a claimant is asked again.
const ASK_CLAIMANT_MS: u64 = 100;

impl Bus {
    /// What the record says of this node (S2, S4). All others are told if role, slots or epoch
    /// have changed: of slots alone a moment later.
    pub fn set_self(&mut self, now: Now, state: SelfState) {
        self.now = now;
        let old = std::mem::replace(&mut self.me, state);
        self.refresh_myself();
        let me = &self.me;
        let same = (old.role, old.shard, old.config_epoch) == (me.role, me.shard, me.config_epoch)
            && old.slots == me.slots;
        if same {
            self.slots_unsaved |= old.migrating != me.migrating || old.importing != me.importing;
            return;
        }
        if me.config_epoch > self.current_epoch {
            self.current_epoch = me.config_epoch;
        }
        match me.role {
            NodeRole::Master => self.own_slots(),
            NodeRole::Slave(master) => self.follow(master),
        }
        self.unsaved |= (old.role, old.shard) != (self.me.role, self.me.shard);
        self.slots_unsaved = true;
        self.state_stale = true;
        self.settle();
        let slots_alone = (&old.role, old.shard, old.config_epoch)
            == (&self.me.role, self.me.shard, self.me.config_epoch);
        match slots_alone {
            true => {
                let soon = self.now.mono_ms + SLOTS_TOLD_MS;
                self.pong_at.get_or_insert(soon);
            }
            false => self.broadcast_pong(),
        }
    }

    /// The replication offset alone: nobody is told before the next packet.
    pub fn set_offset(&mut self, offset: u64) {
        self.me.offset = offset;
        self.refresh_myself();
    }

    /// Binds exactly the record's slots to us. One that we have lost goes to the node that claimed it.
    fn own_slots(&mut self) {
        let me = self.table.me;
        let changed = self.me.slots.differences(&self.myself_node().slots);
        for slot in changed.iter() {
            let (has, wants) = (
                self.table.owner(slot) == Some(me),
                self.me.slots.contains(slot),
            );
            if wants && !has {
                self.table.bind(slot, Some(me));
            } else if has && !wants {
                let given = self.me.given.get(&slot).copied();
                let next = given.filter(|id| self.table.get(*id).is_some());
                let next = next.or_else(|| self.claimant(slot));
                self.table.bind(slot, next.or_else(|| self.heir(slot)));
            }
        }
    }

    fn heir(&self, slot: u16) -> Option<NodeId> {
        let (id, until) = self.heirs.get(&slot)?;
        let is_master = self.table.get(*id).is_some_and(Node::is_master);
        (is_master && self.now.mono_ms < *until).then_some(*id)
    }

    fn claimant(&self, slot: u16) -> Option<NodeId> {
        let claims = self.table.iter().filter_map(|node| {
            let claim = node.claimed.as_ref()?;
            let fits = claim.slots.contains(slot) && node.is_master();
            fits.then_some((claim.epoch, node.id))
        });
        claims.max().map(|(_, id)| id)
    }

    /// We are a replica: the record's slots are its master's, by the same rule as if it said so.
    fn follow(&mut self, master: NodeId) {
        let me = self.table.me;
        for slot in self.table.slots_of(me) {
            let next = self.claimant(slot);
            self.table.bind(slot, next);
        }
        let epoch = self.me.config_epoch;
        let Some(node) = self.table.get_mut(master).filter(|node| node.id != me) else {
            return;
        };
        if node.config_epoch < epoch {
            // The record is ahead of what the bus has heard of it.
            node.config_epoch = epoch;
            node.promote();
        }
        // On the way into a shard its slots are not known yet: they are not given up.
        if node.is_master() && !self.me.slots.is_empty() {
            let slots = self.me.slots.clone();
            self.claim(master, epoch, &slots);
        }
        // M19: else a slot that was handed over would be nobody's here until its taker's first packet.
        let given: Vec<_> = self
            .me
            .given
            .iter()
            .map(|(slot, to)| (*slot, *to))
            .collect();
        for (slot, to) in given {
            if self.table.owner(slot) == Some(master) && self.table.get(to).is_some() {
                self.table.bind(slot, Some(to));
            }
        }
    }

    /// CLUSTER SETSLOT NODE, ADDSLOTS and DELSLOTS about slots of others: this table only. False if
    /// the slot or the node is our own: the record decides that. The heir of a slot of our own is remembered for a
    /// while: when the record gives the slot up, it would be nobody's until that node's next packet.
    pub fn set_owner(&mut self, now: Now, slot: u16, to: Option<NodeId>) -> bool {
        self.now = now;
        let me = Some(self.table.me);
        if let Some(heir) = to.filter(|to| self.table.owner(slot) == me && Some(*to) != me) {
            let now = now.mono_ms;
            self.heirs.retain(|_, (_, until)| now < *until);
            self.heirs.insert(slot, (heir, now + HEIR_MS));
        }
        let unknown = to.is_some_and(|id| self.table.get(id).is_none());
        if unknown || to == me || self.table.owner(slot) == me || slot >= SLOT_COUNT {
            return false;
        }
        self.table.bind(slot, to);
        self.slots_unsaved = true;
        self.state_stale = true;
        self.settle();
        true
    }

    /// What a node says of its own role.
    pub(super) fn update_role(&mut self, id: NodeId, header: &Header) {
        let Some(node) = self.table.get_mut(id) else {
            return;
        };
        let Some(master) = header.master else {
            if node.promote() {
                self.unsaved = true;
                self.state_stale = true;
            }
            return;
        };
        let was_master = node.is_master();
        if was_master || !node.flags.has(Flags::SLAVE) {
            node.flags.set(Flags::MASTER, false);
            node.flags.set(Flags::MIGRATE_TO, false);
            node.flags.set(Flags::SLAVE, true);
        }
        let moved = node.master != Some(master);
        node.master = Some(master);
        if moved {
            let shard = self.table.get(master).and_then(|master| master.shard);
            if let (Some(shard), Some(node)) = (shard, self.table.get_mut(id)) {
                node.shard = Some(shard);
            }
        }
        if was_master {
            self.hand_over(id, master, header);
        }
        if moved || was_master {
            self.unsaved = true;
            self.state_stale = true;
        }
    }

    /// A master has become a replica. Its packet carries the slots and the epoch of its master: they
    /// count as that one's claim, so that no slot is without an owner between the two packets. One that is
    /// still on its way into the shard names none: that is no claim.
    fn hand_over(&mut self, id: NodeId, master: NodeId, header: &Header) {
        let me = self.table.me;
        let node = self.table.get_mut(master);
        if let Some(node) = node.filter(|node| node.id != me && !node.in_handshake()) {
            if node.config_epoch < header.config_epoch {
                node.config_epoch = header.config_epoch;
                node.promote();
            }
            if node.is_master() && !header.slots.is_empty() {
                self.claim(master, header.config_epoch, &header.slots);
            }
        }
        for slot in self.table.slots_of(id) {
            self.table.bind(slot, None);
        }
    }

    /// Compares the slots in a packet with the table: the sender may know better, or we.
    pub(super) fn compare_slots(&mut self, id: NodeId, header: &Header) {
        let Some(node) = self.table.get(id) else {
            return;
        };
        let master = match header.master {
            None => Some(node),
            Some(master) => self.table.get(master),
        };
        if !master.is_some_and(|master| master.slots != header.slots) {
            if header.master.is_none() && !self.table.unclaimed.is_empty() {
                // It claims again what it had stopped to claim.
                self.table.reclaim(&header.slots);
            }
            return;
        }
        if header.master.is_none() {
            self.claim(id, header.config_epoch, &header.slots);
        }
        let speaks_for = header.master.unwrap_or(id);
        // All others are bound to it already.
        let bound = self.table.get(speaks_for).map(|node| &node.slots);
        let others = bound.map_or_else(|| header.slots.clone(), |own| header.slots.without(own));
        let newer = others.iter().find_map(|slot| {
            let owner = self.table.owner(slot)?;
            let epoch = self.epoch_of(owner)?;
            (owner != id && epoch > header.config_epoch).then_some(owner)
        });
        if let Some(owner) = newer {
            self.send_update(id, owner);
        }
    }

    /// Tells a node that another one has slots under a higher epoch.
    fn send_update(&mut self, to: NodeId, about: NodeId) {
        let (Some(to), Some(node)) = (self.table.get(to), self.table.get(about)) else {
            return;
        };
        let Some(link) = to.link.filter(|_| to.connected) else {
            return;
        };
        let mut slots = node.slots.clone();
        if node.slot_count > 0 {
            self.table.unclaimed.iter().for_each(|slot| {
                slots.remove(slot);
            });
        }
        let body = Body::Update {
            config_epoch: node.config_epoch,
            node: about,
            slots,
        };
        let header = self.header();
        self.send(link, &Message { header, body });
    }

    /// A third node tells us of newer slots of a node that we know.
    pub(super) fn receive_update(&mut self, about: NodeId, epoch: u64, slots: &SlotSet) {
        if about == self.table.me {
            // Our slots and our epoch are the record's (S2); but epochs only ever go up.
            self.see_epoch(epoch);
            return;
        }
        let Some(node) = self.table.get_mut(about) else {
            return;
        };
        if node.in_handshake() || node.config_epoch >= epoch {
            return;
        }
        node.promote();
        node.config_epoch = epoch;
        self.slots_unsaved = true;
        self.state_stale = true;
        self.see_epoch(epoch);
        self.claim(about, epoch, slots);
    }

    /// A master claims slots: it gets those that nobody has or that their owner has stopped to claim,
    /// and those of masters with a lower epoch. For ours it does not get them here (S3).
    pub(super) fn claim(&mut self, by: NodeId, epoch: u64, slots: &SlotSet) {
        let me = self.table.me;
        let mut ours = SlotSet::default();
        let mut bound = false;
        let mut last: Option<(NodeId, u64)> = None;
        let mut lost: BTreeMap<NodeId, usize> = BTreeMap::new();
        // All others are neither claimed nor this node's, or as they were.
        let bound_to = self.table.get(by).map(|node| node.slots.clone());
        let mut changed = slots.differences(&bound_to.unwrap_or_default());
        changed.unite(&self.table.unclaimed);
        for slot in changed.iter() {
            let owner = self.table.owner(slot);
            if !slots.contains(slot) {
                if owner == Some(by) {
                    self.table.unclaimed.insert(slot);
                }
                continue;
            }
            if owner == Some(by) {
                self.table.unclaimed.remove(slot);
                continue;
            }
            if let Some(owner) = owner {
                let of_owner = match last {
                    Some((id, epoch)) if id == owner => epoch,
                    _ => self.epoch_of(owner).unwrap_or(0),
                };
                last = Some((owner, of_owner));
                if of_owner >= epoch && !self.table.unclaimed.contains(slot) {
                    continue;
                }
                if owner == me {
                    ours.insert(slot);
                    continue;
                }
            }
            self.table.bind(slot, Some(by));
            bound = true;
            if let Some(owner) = owner {
                *lost.entry(owner).or_default() += 1;
            }
        }
        for (owner, count) in lost {
            self.tell_loss(owner, count, by, epoch);
        }
        if bound {
            self.slots_unsaved = true;
            self.state_stale = true;
        }
        self.claimed(by, epoch, ours);
    }

    /// What the log says of slots that have changed their owner: a failover, if both are of one shard.
    fn tell_loss(&mut self, owner: NodeId, count: usize, by: NodeId, epoch: u64) {
        let second = self.now.mono_ms / 1000;
        if self.losses_told.0 != second {
            self.losses_told = (second, 0);
        }
        self.losses_told.1 += 1;
        if self.losses_told.1 > LOSSES_A_SECOND {
            return; // anybody may claim in any name
        }
        let addr = |id| {
            let node = self.table.get(id);
            node.map_or_else(String::new, |node| format!("{}:{}", node.ip, node.port))
        };
        let shard = self.table.shard_of(by);
        let failover = match shard.filter(|shard| self.table.shard_of(owner) == Some(*shard)) {
            Some(shard) => format!("A failover occurred in shard {shard}; node"),
            None => "Node".to_owned(),
        };
        let (of_owner, of_by) = (addr(owner), addr(by));
        let text = format!(
            "{failover} {owner} ({of_owner}) lost {count} slot(s) to node {by} ({of_by}) with a \
             config epoch of {epoch}"
        );
        self.log(Level::Notice, text);
    }

    /// Keys are deleted for a claim, so it must be the claimant's own: on a link that it, or somebody
    /// in its name, has opened, it proves nothing. Its answer to a ping of ours does.
    fn ask_claimant(&mut self, by: NodeId) {
        let now = self.now.mono_ms;
        let link = self
            .table
            .get(by)
            .filter(|n| n.connected)
            .and_then(|n| n.link);
        let lately = |at: u64| now < at + ASK_CLAIMANT_MS;
        if let Some(link) = link.filter(|_| !self.claimant_asked.is_some_and(lately)) {
            self.claimant_asked = Some(now);
            self.send_ping(link, PingKind::Ping);
        }
    }

    /// S3: the shard's log decides. Within the shard it has decided already, and our copy of the
    /// record will follow.
    fn claimed(&mut self, by: NodeId, epoch: u64, slots: SlotSet) {
        let now = self.now.mono_ms;
        let shard = self.table.shard_of(by);
        let proved = self.proved == Some(by) || shard == Some(self.me.shard);
        if !slots.is_empty() && !proved {
            return self.ask_claimant(by);
        }
        let Some(node) = self.table.get_mut(by) else {
            return;
        };
        if slots.is_empty() {
            node.claimed = None;
            return;
        }
        let told = node.claimed.take().filter(|claim| {
            let same = claim.epoch == epoch && claim.slots == slots;
            same && now < claim.told + REPEAT_MS
        });
        let say = told.is_none() && shard != Some(self.me.shard);
        node.claimed = Some(Claim {
            epoch,
            slots: slots.clone(),
            told: told.map_or(now, |claim| claim.told),
        });
        if say {
            self.out.push(Action::SlotsClaimed { by, epoch, slots });
        }
    }
}
