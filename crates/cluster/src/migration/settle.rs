//! Slots that this shard has had since before it could ask any other get their first title (M21).
//!
//! Owns the shard's question to all others about its slots without a title. Never: gains a slot. Invariant: a slot gets its
//! first title when every other shard has said that it has no part in it, or, where there is no other, when a second
//! data member has the record. So no node that names a slot before it is met has the title of the shard that served it.

use super::{reign_of, Cluster};
use base::clock::Mono;
use base::mutation::{self, Mutation};
use base::{NodeId, SlotSet};
use shard::Shard;
use std::time::Duration;
use storage::base::MemberKind;
use storage::Disk;
use topology::features::SLOTS_MOVE;
use topology::moves::{Owners, Titles};

/// How often it is looked at.
const EVERY: Duration = Duration::from_secs(1);
/// How soon slots are asked for again that another shard has, or may get.
const BUSY: Duration = Duration::from_secs(10);

/// Where the question stands.
#[derive(Debug, Default)]
pub(super) struct Settling {
    next: Mono,
    question: Option<u64>,
    /// Slots in which another shard has a part.
    busy: SlotSet,
    /// The nodes that were known when it was looked at last, and since when they are the same.
    nodes: Vec<NodeId>,
    same_since: Mono,
}

impl Settling {
    /// A node that was met a moment ago has not told yet of all that it knows, and a claim of another may be on its
    /// way: how long the nodes that are known have been the same.
    fn quiet_for(&mut self, now: Mono, nodes: Vec<NodeId>, handshake: bool) -> Duration {
        if handshake || nodes != self.nodes {
            (self.nodes, self.same_since) = (nodes, now);
        }
        now.since(self.same_since)
    }
}

/// The titles that slots get when all others have answered; none: another shard has a part in some of them, or nobody
/// else bears this shard out. `members`: its data members.
fn first_titles(slots: &SlotSet, owners: &Owners, members: usize) -> Option<Titles> {
    let borne_out = owners.answered > 0 || members > 1;
    let free = owners.owned.is_empty() && owners.reserved.is_empty();
    if !borne_out || !free || owners.failed > 0 || mutation::is(Mutation::NoFirstTitle) {
        return None;
    }
    let mut titles = Titles::default();
    for slot in slots.iter() {
        titles.set(slot, owners.titles.of(slot).saturating_add(1));
    }
    Some(titles)
}

impl Cluster {
    /// Now and then, at a leader that may write.
    pub(super) fn settle_slots<D: Disk>(&mut self, shard: &mut Shard<D>) {
        let now = self.now.mono;
        let settling = &mut self.migration.settling;
        let waits = settling.question.is_none() && now < settling.next;
        if waits || reign_of(shard).is_none() {
            return;
        }
        settling.next = now + EVERY;
        let mut handshake = false;
        let nodes = self.bus.nodes().filter(|node| {
            handshake |= node.in_handshake();
            !node.in_handshake()
        });
        let nodes: Vec<NodeId> = nodes.map(|node| node.id).collect();
        let quiet = settling.quiet_for(now, nodes, handshake) >= self.config.node_timeout();
        let moves = &shard.data().record().moves;
        let can = moves.features & SLOTS_MOVE != 0;
        let untitled = shard.data().record().slots.iter();
        let untitled: SlotSet = untitled.filter(|s| moves.titles.of(*s) == 0).collect();
        let slots = untitled.without(&settling.busy);
        let mut question = settling.question.take();
        if !quiet || !can || slots.is_empty() {
            self.withdraw_question(&mut question);
            if !untitled.is_empty() && slots.is_empty() {
                let settling = &mut self.migration.settling;
                (settling.busy, settling.next) = (SlotSet::default(), now + BUSY);
            }
            return;
        }
        let owners = self.owners_unprobed(&mut question, &slots);
        self.migration.settling.question = question;
        let Some(owners) = owners else { return };
        let list = &shard.group().membership().list;
        let members = list.iter().filter(|m| m.kind == MemberKind::Data).count();
        match first_titles(&slots, &owners, members) {
            Some(titles) => self.log_titles(shard, &titles),
            None => {
                let busy = &mut self.migration.settling.busy;
                busy.unite(&owners.owned);
                busy.unite(&owners.reserved);
            }
        }
    }

    fn log_titles<D: Disk>(&mut self, shard: &mut Shard<D>, titles: &Titles) {
        let runs = titles.runs();
        let bytes = state::room::RECORD + state::room::COMMAND + 8 * runs.len();
        let done = shard.act(|data| {
            let room = data.room_for(bytes);
            if room {
                data.set_titles(&runs);
            }
            room
        });
        if done.is_none_or(|(done, _)| !done) {
            self.migration.settling.next = self.now.mono + EVERY;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::owners::{judge, Verdict};
    use super::*;

    fn slots(of: &[u16]) -> SlotSet {
        of.iter().copied().collect()
    }

    fn owners(answered: usize, failed: usize, owned: &[u16], reserved: &[u16]) -> Owners {
        let mut titles = Titles::default();
        titles.set(6, 3);
        Owners {
            asked: slots(&[5, 6]),
            owned: slots(owned),
            reserved: slots(reserved),
            titles,
            answered,
            failed,
        }
    }

    #[test]
    fn slots_get_a_title_when_all_agree() {
        let table = [
            (owners(2, 0, &[], &[]), 1, true),
            (owners(0, 0, &[], &[]), 1, false),
            (owners(0, 0, &[], &[]), 2, true),
            (owners(2, 1, &[], &[]), 3, false),
            (owners(0, 1, &[], &[]), 3, false),
            (owners(2, 0, &[5], &[]), 3, false),
            (owners(2, 0, &[], &[6]), 3, false),
        ];
        for (owners, members, settled) in table {
            let titles = first_titles(&slots(&[5, 6]), &owners, members);
            let said = titles.map(|titles| (titles.of(5), titles.of(6)));
            assert_eq!(said, settled.then_some((1, 4)), "{owners:?} {members}");
        }
    }

    #[test]
    fn nodes_that_come_begin_the_wait_anew() {
        let mut settling = Settling::default();
        let at = |s: u64| Mono(s * 1_000_000_000);
        let (one, two) = (
            vec![NodeId([1; 20])],
            vec![NodeId([1; 20]), NodeId([2; 20])],
        );
        let mut quiet = |s, nodes: &Vec<NodeId>, handshake| {
            settling
                .quiet_for(at(s), nodes.clone(), handshake)
                .as_secs()
        };
        assert_eq!(quiet(100, &one, false), 0);
        assert_eq!(quiet(110, &one, false), 10);
        assert_eq!(quiet(120, &one, true), 0);
        assert_eq!(quiet(125, &one, false), 5);
        assert_eq!(quiet(130, &two, false), 0);
        assert_eq!(quiet(140, &two, false), 10);
    }

    /// What becomes of a slot that all others have said to be this shard's, and of a stray's claim to it.
    fn met_by_a_stray(epoch: u64) -> (Verdict, Verdict) {
        let (stray, served) = (NodeId([2; 20]), NodeId([1; 20]));
        let titles = first_titles(&slots(&[5]), &owners(1, 0, &[], &[]), 1);
        let title = titles.map_or(0, |titles| titles.of(5));
        let (theirs, ours) = ((0, epoch, stray), (title, 1, served));
        (judge(true, theirs, ours), judge(true, ours, theirs))
    }

    /// M21: whatever epoch its operator has given it.
    #[test]
    fn stray_takes_no_slot_that_has_a_title() {
        assert_eq!(met_by_a_stray(0), (Verdict::Keep, Verdict::Lose));
        for epoch in [1, 50] {
            assert_eq!(met_by_a_stray(epoch), (Verdict::Raise, Verdict::Lose));
        }
    }

    /// M21: acknowledged writes would be out of reach.
    #[cfg(feature = "mutations")]
    #[test]
    fn without_first_titles_a_stray_takes_the_slot() {
        mutation::set(Some(Mutation::NoFirstTitle));
        let broken = met_by_a_stray(50);
        mutation::set(None);
        assert_eq!(broken.0, Verdict::Lose);
    }
}
