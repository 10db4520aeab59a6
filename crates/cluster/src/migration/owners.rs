//! Slots that two shards want or claim: the shards ask each other, and titles decide (M12, M21).
//!
//! Owns the claims of other shards on slots of this one, and the answer to the question which slots are
//! this shard's. Never: believes an epoch of a shard that can be asked. Invariants: a shard that hands a
//! slot over, or may take it, says that it is not free; a slot is given up by one entry, and its keys stay
//! as leftovers.

use super::questions::Questions;
use super::word::Word;
use super::{Cluster, Desk};
use base::clock::Mono;
use base::mutation::{self, Mutation};
use base::{NodeId, ShardId, SlotSet};
use cluster_bus::bus::Bus;
use cluster_bus::wire::Flags;
use std::collections::BTreeMap;
use std::time::Duration;
use storage::Disk;
use topology::moves::{Owners, Titles};

/// How long a claim is remembered: the bus tells one that stands every second.
const CLAIM_LASTS: Duration = Duration::from_secs(10);

/// What becomes of a slot of ours that another shard claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is served here; the other shard hears of our claim.
    Keep,
    /// As `Keep`, but third nodes believe the other one: our epoch goes above its.
    Raise,
    Lose,
}

/// A claim on a slot: its title, the epoch of the master and the master.
pub(super) type Claim = (u32, u64, NodeId);

/// M21. `owned`: the other shard has said that the slot is its own.
pub(super) fn judge(owned: bool, theirs: Claim, ours: Claim) -> Verdict {
    let titles = match mutation::is(Mutation::ClaimByEpoch) {
        true => std::cmp::Ordering::Equal,
        false => theirs.0.cmp(&ours.0),
    };
    let higher = (theirs.1, theirs.2) > (ours.1, ours.2);
    match titles {
        std::cmp::Ordering::Greater if owned => Verdict::Lose,
        std::cmp::Ordering::Equal if owned && higher => Verdict::Lose,
        std::cmp::Ordering::Less if owned && higher => Verdict::Raise,
        _ => Verdict::Keep,
    }
}

#[derive(Debug)]
struct Told {
    shard: ShardId,
    epoch: u64,
    slots: SlotSet,
    at: Mono,
    question: Option<u64>,
}

/// Claims of other shards' masters that the bus has told.
#[derive(Debug, Default)]
pub(super) struct Claims(BTreeMap<NodeId, Told>);

impl Claims {
    pub fn told(&mut self, at: Mono, by: NodeId, shard: ShardId, epoch: u64, slots: SlotSet) {
        let question = self.0.get(&by).and_then(|told| told.question);
        let told = Told {
            shard,
            epoch,
            slots,
            at,
            question,
        };
        self.0.insert(by, told);
    }

    pub fn are_open(&self) -> bool {
        !self.0.is_empty()
    }

    /// Asks the claimants, and carries out what follows from their answers.
    pub fn proceed<D: Disk>(&mut self, desk: &mut Desk<'_, D>, questions: &mut Questions) {
        let now = desk.now.mono;
        for (by, mut told) in std::mem::take(&mut self.0) {
            let record = desk.shard.data().record();
            // A slot that keys are on their way from is lost when they have come or are back.
            let lent: SlotSet = record.moves.lends.values().map(|lend| lend.slot).collect();
            let ours = |slot: &u16| record.slots.contains(*slot) && !lent.contains(*slot);
            let slots: SlotSet = told.slots.iter().filter(ours).collect();
            if slots.is_empty() || now.since(told.at) > CLAIM_LASTS {
                questions.withdraw(&mut told.question);
                continue;
            }
            match questions.owners(now, &mut told.question, &[told.shard], &slots) {
                None => {
                    self.0.insert(by, told);
                }
                Some(owners) => settle(desk, (by, told.epoch), &owners),
            }
        }
    }
}

/// What a claimant has said of slots of ours.
fn settle<D: Disk>(desk: &mut Desk<'_, D>, (by, epoch): (NodeId, u64), owners: &Owners) {
    let record = desk.shard.data().record().clone();
    let verdict = |slot: u16| {
        let theirs = (owners.titles.of(slot), epoch, by);
        let ours = (record.moves.titles.of(slot), record.epoch, record.master);
        judge(owners.owned.contains(slot), theirs, ours)
    };
    let of = |wanted: Verdict| -> SlotSet {
        let slots = owners
            .asked
            .iter()
            .filter(|slot| record.slots.contains(*slot));
        slots.filter(|slot| verdict(*slot) == wanted).collect()
    };
    let (lost, raise) = (of(Verdict::Lose), of(Verdict::Raise));
    if !raise.is_empty() {
        let next = desk.bus.max_epoch().max(epoch).max(record.epoch) + 1;
        desk.act(|data| {
            if data.room_for(state::room::RECORD) {
                data.set_epoch(next, record.master);
            }
        });
        desk.warn(format!(
            "Node {by} claims {} slots that have come to this shard since: they stay here",
            raise.len()
        ));
    }
    if !lost.is_empty() {
        lose(desk, by, &lost);
    }
}

/// The slots are the other shard's. Their keys stay: acknowledged writes are not deleted.
fn lose<D: Disk>(desk: &mut Desk<'_, D>, by: NodeId, lost: &SlotSet) {
    let done = desk.act(|data| {
        let marks = &data.record().moves.migrating;
        let marked: Vec<u16> = lost
            .iter()
            .filter(|slot| marks.contains_key(slot))
            .collect();
        if !data.room_for(state::room::RECORD + marked.len() * state::room::COMMAND) {
            return None;
        }
        let keys = lost.iter().map(|slot| data.keyspace().count_in_slot(slot));
        let keys: u64 = keys.sum();
        for slot in marked {
            data.end_migrating(slot);
        }
        data.del_slots(lost);
        Some(keys)
    });
    if let Some((Some(keys), _)) = done {
        desk.warn(format!(
            "Lost {} slots to node {by}, whose shard has had them later: {keys} keys of them stay here \
             as leftovers",
            lost.len()
        ));
    }
}

/// M12: whether a shard other than these two is shown with the slot, and lives. The one that asks may have been met a
/// moment ago, and not have heard of it yet: it is not answered.
fn is_elsewhere(bus: &Bus, slot: u16, but: [ShardId; 2]) -> bool {
    let at = bus.claimed_by(slot);
    let shard = at.map(|at| bus.shard_of(at));
    let is_third = shard.is_some_and(|shard| !shard.is_some_and(|shard| but.contains(&shard)));
    is_third && !mutation::is(Mutation::TableIsKept)
}

/// M7: which of the slots are this shard's, by the tail's record or the committed one, or may come to be
/// a third shard's through it, or its own.
pub(super) fn asked<D: Disk>(
    desk: &mut Desk<'_, D>,
    questions: &Questions,
    from: ShardId,
    (question, slots): (u64, SlotSet),
) {
    let records = [
        desk.shard.data().record().clone(),
        desk.shard.record().clone(),
    ];
    let comes = |slot: u16| {
        let mut marks = records.iter().filter_map(|r| r.moves.importing.get(&slot));
        // From the asker itself it comes only when that one has handed it over.
        marks.any(|mark| mark.shard != from)
    };
    let goes = |slot: u16| records.iter().any(|r| r.moves.departed.contains_key(&slot));
    let moves = |slot: u16| (goes(slot) || comes(slot)) && !mutation::is(Mutation::MovingIsFree);
    let has = |slot: u16| records.iter().any(|r| r.slots.contains(slot));
    let owned: SlotSet = slots.iter().filter(|slot| has(*slot)).collect();
    // It is asked for again: what was given up a moment ago is still shown.
    let shown = |slot| is_elsewhere(desk.bus, slot, [desk.own, from]);
    if owned.is_empty() && slots.iter().any(shown) {
        return;
    }
    let reserved = |slot: &u16| moves(*slot) || questions.want(*slot);
    let reserved = slots.iter().filter(reserved).collect();
    let mut titles = Titles::default();
    for slot in slots.iter() {
        titles.set(slot, records[0].moves.titles.of(slot));
    }
    if let Some(((), gate)) = desk.act(state::StateMachine::depends_on_all) {
        let word = Word::OwnIs {
            question,
            owned,
            reserved,
            titles,
        };
        desk.say(gate, from, word);
    }
}

/// The other shards of the cluster.
pub(super) struct Others {
    /// Those that can be asked, in order.
    pub asked: Vec<ShardId>,
    /// Those of which every node has failed, and none has spoken for a while.
    pub failed: Vec<ShardId>,
}

impl Cluster {
    /// None: not known yet, what a node is or which shard it belongs to. A real Redis has no say: it claims
    /// (S3).
    pub(super) fn others(&mut self) -> Option<Others> {
        self.others_by(Cluster::is_redis)
    }

    /// M21: the same where no client waits: a Redis that is asked what it is complains in its log, so what a node's own
    /// packets say has to do.
    fn others_unprobed(&mut self) -> Option<Others> {
        self.others_by(|cluster, node| {
            let node = cluster.bus.node(node)?;
            node.ours
                .then_some(false)
                .or(node.data_received.map(|_| true))
        })
    }

    /// `is_redis`: what a node is; none: not known yet.
    fn others_by(
        &mut self,
        is_redis: impl Fn(&mut Cluster, NodeId) -> Option<bool>,
    ) -> Option<Others> {
        let mut shards: BTreeMap<ShardId, bool> = BTreeMap::new();
        let own = self.migration.own;
        let nodes = self.bus.nodes().filter(|node| !node.in_handshake());
        let nodes: Vec<(NodeId, bool)> = nodes
            .map(|node| (node.id, !node.flags.has(Flags::FAIL)))
            .collect();
        for (node, alive) in nodes {
            let told = |shard: &ShardId| *shard != ShardId::default();
            let shard = self.introductions.shard_of(&self.bus, node).filter(told);
            if shard == Some(own) || node == self.bus.myself() {
                continue;
            }
            let known = shard.and_then(|shard| shards.get(&shard));
            if alive && known != Some(&true) && is_redis(self, node)? {
                continue;
            }
            match shard {
                Some(shard) => *shards.entry(shard).or_default() |= alive,
                None if alive => return None,
                None => {}
            }
        }
        // The bus may call a node failed that has been back for a while: what such a shard took meanwhile it would
        // lose again to a forced title.
        let (now, within) = (self.now.mono, self.config.node_timeout());
        // Nor is a flag that has come from nodes.conf a reason: it is as old as that, and the node may be back since.
        let is_young = now.since(self.started_at) < within;
        for (shard, lives) in &mut shards {
            *lives |= is_young || self.migration.contacts.has_spoken(now, *shard, within);
        }
        let of = |alive: bool| -> Vec<ShardId> {
            let of = shards.iter().filter(|(_, lives)| **lives == alive);
            of.map(|(shard, _)| *shard).collect()
        };
        Some(Others {
            asked: of(true),
            failed: of(false),
        })
    }

    /// M12: which of these slots another shard has, or may get; none: not known yet. All shards are asked,
    /// not only the one that the table shows: it may be out of date, and then that one has handed the
    /// slot to a third.
    pub fn owners_elsewhere(
        &mut self,
        question: &mut Option<u64>,
        slots: &SlotSet,
    ) -> Option<Owners> {
        let others = self.others()?;
        self.owners_of(others, question, slots)
    }

    /// M21: the same for slots that no client asks about.
    pub(super) fn owners_unprobed(
        &mut self,
        question: &mut Option<u64>,
        slots: &SlotSet,
    ) -> Option<Owners> {
        let others = self.others_unprobed()?;
        self.owners_of(others, question, slots)
    }

    fn owners_of(
        &mut self,
        Others { asked, failed }: Others,
        question: &mut Option<u64>,
        slots: &SlotSet,
    ) -> Option<Owners> {
        let failed = failed.len();
        let questions = &mut self.migration.questions;
        if asked.is_empty() {
            questions.withdraw(question);
            return Some(Owners {
                asked: slots.clone(),
                failed,
                ..Owners::default()
            });
        }
        let owners = questions.owners(self.now.mono, question, &asked, slots)?;
        Some(Owners { failed, ..owners })
    }

    /// The client that asked waits no longer.
    pub fn withdraw_question(&mut self, question: &mut Option<u64>) {
        self.migration.questions.withdraw(question);
    }

    /// M21: a master of another shard claims slots of this one under a higher epoch. What is neither known to
    /// be a real Redis nor to belong to a shard is told again.
    pub(crate) fn slots_claimed(&mut self, by: NodeId, epoch: u64, slots: SlotSet) {
        let now = self.now.mono;
        let told = |shard: &ShardId| *shard != ShardId::default();
        let shard = self.introductions.shard_of(&self.bus, by).filter(told);
        match (self.is_redis(by), shard) {
            (Some(true), _) => self.record.claimed(now, by, epoch, slots),
            (_, Some(shard)) => self.migration.claims.told(now, by, shard, epoch, slots),
            (_, None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{knowing_as, knowing_slots};
    use std::time::Duration;

    /// M12: it may have taken the slot since.
    #[test]
    fn failed_shard_that_speaks_is_asked() {
        const OTHER: ShardId = ShardId([0xc; 20]);
        let mut cluster = knowing_as(7, "master,fail");
        let slots: SlotSet = [5].into_iter().collect();
        let limit = cluster.config.node_timeout();
        cluster.now.mono = cluster.started_at + limit;
        let heard_at = cluster.now.mono;
        let failed = |cluster: &mut Cluster| {
            let owners = cluster.owners_elsewhere(&mut None, &slots);
            owners.map(|owners| owners.failed)
        };
        assert_eq!(failed(&mut cluster), Some(1));
        let contacts = &mut cluster.migration.contacts;
        contacts.heard(heard_at, OTHER, NodeId([7; 20]));
        assert_eq!(failed(&mut cluster), None, "it is asked");
        cluster.now.mono = heard_at + limit;
        assert_eq!(failed(&mut cluster), Some(1));
    }

    /// M12: nodes.conf is as old as the last end of this process.
    #[test]
    fn shard_that_nodes_conf_flags_is_asked_at_first() {
        let mut cluster = knowing_as(7, "master,fail");
        let limit = cluster.config.node_timeout();
        for (age, failed) in [(Duration::ZERO, 0), (limit, 1)] {
            cluster.now.mono = cluster.started_at + age;
            let others = cluster.others().expect("all shards are known");
            assert_eq!(
                (others.failed.len(), others.asked.len()),
                (failed, 1 - failed),
                "{age:?}"
            );
        }
    }

    /// Whether a shard that asks for slot 5 is told that it is that of a third one, which has these flags and slots.
    fn is_told(flags: &str, slots: &str, from: u8) -> bool {
        let cluster = knowing_slots(flags, slots);
        let own = cluster.bus.shard_of(cluster.bus.myself());
        let from = ShardId([from; 20]);
        is_elsewhere(&cluster.bus, 5, [own.expect("a shard"), from])
    }

    /// M12: the one that asks was met a moment ago.
    #[test]
    fn asker_is_told_of_a_third_owner() {
        assert!(is_told("master", "5", 0xb));
        assert!(!is_told("master", "5", 0xc), "it is the asker's own");
        assert!(!is_told("master,fail", "5", 0xb));
        assert!(!is_told("master", "6", 0xb), "nobody's");
    }

    /// M12: a stray that knows one node alone would gain what a third shard has.
    #[cfg(feature = "mutations")]
    #[test]
    fn untold_asker_gains_a_third_shards_slot() {
        mutation::set(Some(Mutation::TableIsKept));
        let told = is_told("master", "5", 0xb);
        mutation::set(None);
        assert!(!told);
    }

    #[test]
    fn the_title_decides_then_epoch_and_node() {
        let (a, b) = (NodeId([1; 20]), NodeId([2; 20]));
        let table = [
            (true, (3, 1, a), (2, 9, b), Verdict::Lose),
            (true, (2, 9, b), (3, 1, a), Verdict::Raise),
            (true, (2, 1, b), (3, 9, a), Verdict::Keep),
            (true, (2, 9, a), (2, 8, b), Verdict::Lose),
            (true, (2, 9, b), (2, 9, a), Verdict::Lose),
            (true, (2, 9, a), (2, 9, b), Verdict::Keep),
            (true, (2, 8, b), (2, 9, a), Verdict::Keep),
            (false, (3, 9, b), (2, 1, a), Verdict::Keep),
        ];
        for (owned, theirs, ours, verdict) in table {
            assert_eq!(judge(owned, theirs, ours), verdict, "{theirs:?} {ours:?}");
        }
    }

    /// M21: a node whose slot went on would take it back from the later owner.
    #[cfg(feature = "mutations")]
    #[test]
    fn by_the_epoch_alone_the_later_owner_loses() {
        let (theirs, ours) = ((2, 9, NodeId([2; 20])), (3, 1, NodeId([1; 20])));
        mutation::set(Some(Mutation::ClaimByEpoch));
        let broken = judge(true, theirs, ours);
        mutation::set(None);
        assert_eq!(broken, Verdict::Lose);
        assert_ne!(judge(true, theirs, ours), broken);
    }
}
