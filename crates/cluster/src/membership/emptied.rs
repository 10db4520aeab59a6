//! M28: the nodes of a shard that has handed over its last slot become replicas of the shard that took it.
//!
//! Owns that decision, as a pure function, and since when its reasons stand. Never: leaves or joins by itself:
//! from the decision on it is the way of a REPLICATE (C1), with a JOINING mark on disk. Invariants: a shard
//! that owes another one a word does not end (I9); its replicas go first, the leader last, so there is always
//! a member that can serve what comes to the shard meanwhile.

use super::phase::Event;
use super::{Cluster, Mark};
use crate::ClusterOutput;
use base::clock::{Mono, Now};
use base::mutation::{self, Mutation};
use base::ShardId;
use cluster_bus::bus::{Action, Level};
use cluster_bus::NodeId;
use shard::Shard;
use std::time::Duration;
use storage::base::MemberKind;
use storage::Disk;

/// How long the old shard has to show slots before a node that waits for entry elsewhere comes back: what the
/// bus tells of slots that have just gone is older than what the log told.
const SLOTS_AGAIN: Duration = Duration::from_secs(5);

/// Where the node is on its way.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Way {
    /// It belongs to its shard, and nothing is under way.
    #[default]
    Member,
    /// It has left by itself, and asks the other shard for its base.
    Waits,
    /// Anything else: an operator's word counts, or there is no way back.
    Bound,
}

/// What decides.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Seen {
    /// `cluster-allow-replica-migration`.
    allowed: bool,
    way: Way,
    /// What follows has stood for a while. A member that catches up meets what was long ago.
    stands: bool,
    /// The shard has no slot, no key, nothing in its tail.
    empty: bool,
    /// A mark, a lend or a hand-over is open.
    owes: bool,
    leads: bool,
    /// There has been no other member for a while; there are others with the data.
    alone: bool,
    other_data: bool,
    /// Every other shard has said that it waits for no word of this one.
    heard: bool,
    /// The present master of the shard that took the last slot.
    taker: Option<NodeId>,
    /// The master of the shard that was left, which has had slots again for a while.
    left: Option<NodeId>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Stay,
    /// It goes, if no other shard waits for a word of this one.
    AskWhoWaits,
    /// It becomes a replica of this node.
    Follow(NodeId),
    /// The shard that it has left has slots again: it becomes a replica there.
    ComeBack(NodeId),
}

fn decide(seen: &Seen) -> Step {
    let owes = seen.owes && !mutation::is(Mutation::DissolveOwing);
    match seen.way {
        Way::Member => {
            let ends = seen.leads && seen.alone;
            let may = ends || !seen.leads && seen.other_data;
            let goes = seen.allowed && seen.stands && seen.empty && !owes && may;
            let heard = !ends || seen.heard || mutation::is(Mutation::EndsUnheard);
            match seen.taker.filter(|_| goes) {
                None => Step::Stay,
                Some(_) if !heard => Step::AskWhoWaits,
                Some(taker) => Step::Follow(taker),
            }
        }
        Way::Waits => seen.left.map_or(Step::Stay, Step::ComeBack),
        Way::Bound => Step::Stay,
    }
}

/// Since when the reasons stand.
#[derive(Debug, Default)]
pub(super) struct Emptied {
    /// The shard follows that one, and has nothing.
    follows: Option<(ShardId, Mono)>,
    /// There is no other member.
    alone: Option<Mono>,
    /// The shard that was left has slots.
    lives: Option<Mono>,
    /// The question whether other shards wait for a word of this one.
    question: Option<u64>,
}

impl Emptied {
    fn stands(&mut self, now: Mono, follows: Option<ShardId>, t: Duration) -> bool {
        let before = self.follows.filter(|(of, _)| Some(*of) == follows);
        self.follows = before.or(follows.map(|of| (of, now)));
        self.follows.is_some_and(|(_, since)| now.since(since) >= t)
    }

    /// Those that have left ask until they know it, and nobody could tell them afterwards.
    fn alone(&mut self, now: Mono, alone: bool, t: Duration) -> bool {
        self.alone = alone.then(|| self.alone.unwrap_or(now));
        self.alone.is_some_and(|since| now.since(since) >= 2 * t)
    }

    fn lives(&mut self, now: Mono, lives: bool) -> bool {
        self.lives = lives.then(|| self.lives.unwrap_or(now));
        self.lives
            .is_some_and(|since| now.since(since) >= SLOTS_AGAIN)
    }
}

impl Cluster {
    /// Every turn: whether this node is to follow its shard's slots.
    pub(super) fn follow_slots<D: Disk>(&mut self, now: Now, shard: &mut Shard<D>) {
        let follows = shard.record().moves.follows;
        let waits = self.membership.machine.awaits_base();
        if follows.is_none() && waits.is_none() {
            self.withdraw_farewell();
            self.membership.emptied = Emptied::default();
            return;
        }
        let mut seen = self.look_at_slots(now.mono, shard);
        let mut step = decide(&seen);
        if step == Step::AskWhoWaits {
            seen.heard = self.is_heard();
            step = decide(&seen);
        } else {
            self.withdraw_farewell();
        }
        let (target, line) = match step {
            Step::Stay | Step::AskWhoWaits => return,
            Step::Follow(node) => (node, "This shard has handed over its last slot"),
            Step::ComeBack(node) => (node, "The shard that this node has left has slots again"),
        };
        let text = format!("{line}: this node becomes a replica of {target}");
        self.out
            .push(ClusterOutput::Bus(Action::Log(Level::Notice, text)));
        let mark = Mark {
            target,
            raft_id: self.ids.mint_member(),
        };
        let heard = seen.heard;
        self.take_step(now, Event::Follow { mark, heard }, shard);
    }

    /// M28: whether every other shard has said that it waits for no word of this one, since this was asked first.
    fn is_heard(&mut self) -> bool {
        let mut question = self.membership.emptied.question.take();
        let heard = self.nobody_waits(&mut question);
        self.membership.emptied.question = question;
        heard
    }

    /// What was said while something else stood in the way does not count.
    fn withdraw_farewell(&mut self) {
        let mut question = self.membership.emptied.question.take();
        self.withdraw_question(&mut question);
    }

    fn look_at_slots<D: Disk>(&mut self, now: Mono, shard: &Shard<D>) -> Seen {
        let (record, tail) = (shard.record(), shard.data().record());
        let (me, membership) = (shard.identity().raft_id, shard.group().membership());
        let machine = &self.membership.machine;
        let stays = machine.rests(shard.is_removed(), shard.awaits_confirmation());
        let elsewhere = |mark: Mark| self.bus.shard_of(mark.target) != Some(record.shard);
        let asks = machine.awaits_base().filter(|mark| elsewhere(*mark));
        let by_itself = asks.is_some_and(|mark| {
            let to = self.bus.shard_of(mark.target);
            machine.goes_by_itself() || to.is_some() && to == record.moves.follows
        });
        let way = match (stays, by_itself) {
            (true, _) => Way::Member,
            (false, true) => Way::Waits,
            (false, false) => Way::Bound,
        };
        let empty = record.slots.is_empty()
            && tail.slots.is_empty()
            && shard.tail_len() == 0
            && !shard.may_have_keys();
        let follows = record
            .moves
            .follows
            .filter(|of| empty && *of != record.shard);
        let taker = follows.and_then(|of| self.master_of(of));
        let left = self.master_of(record.shard);
        let owns = |node: &NodeId| self.bus.node(*node).is_some_and(|n| n.slot_count > 0);
        let left = left.filter(|node| way == Way::Waits && owns(node));
        let t = shard.group().election_timeout();
        let emptied = &mut self.membership.emptied;
        let lives = emptied.lives(now, left.is_some());
        let others = || membership.list.iter().filter(|m| m.raft_id != me);
        let alone = emptied.alone(now, others().next().is_none(), t);
        Seen {
            allowed: self.config.options.follows_slots,
            way,
            stands: emptied.stands(now, follows, t),
            empty,
            owes: record.moves.owes() || tail.moves.owes(),
            leads: shard.group().is_leader(),
            alone,
            other_data: others().any(|m| m.kind == MemberKind::Data),
            heard: false,
            taker,
            left: left.filter(|_| lives),
        }
    }

    /// The other node that is the master of a shard, as the bus shows it: the newest of several (S2).
    fn master_of(&self, shard: ShardId) -> Option<NodeId> {
        let masters = self.bus.nodes().filter(|node| {
            let other = node.id != self.myself() && !node.in_handshake();
            other && node.is_master() && self.bus.shard_of(node.id) == Some(shard)
        });
        let newest = masters.max_by_key(|node| node.config_epoch);
        newest.map(|node| node.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAKER: NodeId = NodeId([3; 20]);
    const LEFT: NodeId = NodeId([4; 20]);

    /// A replica whose shard has handed over its last slot a while ago.
    fn seen() -> Seen {
        Seen {
            allowed: true,
            stands: true,
            empty: true,
            other_data: true,
            taker: Some(TAKER),
            ..Seen::default()
        }
    }

    #[test]
    fn a_node_follows_its_slots_when_nothing_is_owed() {
        let with = |change: fn(&mut Seen)| {
            let mut seen = seen();
            change(&mut seen);
            decide(&seen)
        };
        let follow = Step::Follow(TAKER);
        let table = [
            ("a replica", with(|_| {}), follow),
            ("not allowed", with(|s| s.allowed = false), Step::Stay),
            ("it catches up", with(|s| s.stands = false), Step::Stay),
            ("a slot or a key", with(|s| s.empty = false), Step::Stay),
            ("I9: it owes", with(|s| s.owes = true), Step::Stay),
            ("nobody has them", with(|s| s.taker = None), Step::Stay),
            ("the leader of others", with(|s| s.leads = true), Step::Stay),
            (
                "the last",
                with(|s| (s.leads, s.alone, s.heard) = (true, true, true)),
                follow,
            ),
            (
                "the last, and others may wait for its word",
                with(|s| (s.leads, s.alone) = (true, true)),
                Step::AskWhoWaits,
            ),
            (
                "the last, and the witness leads",
                with(|s| s.other_data = false),
                Step::Stay,
            ),
            (
                "the last, and it owes",
                with(|s| (s.leads, s.alone, s.owes) = (true, true, true)),
                Step::Stay,
            ),
            ("on its way", with(|s| s.way = Way::Bound), Step::Stay),
            ("it waits", with(|s| s.way = Way::Waits), Step::Stay),
            (
                "it waits, and its shard has slots again",
                with(|s| (s.way, s.left) = (Way::Waits, Some(LEFT))),
                Step::ComeBack(LEFT),
            ),
            (
                "an operator has sent it",
                with(|s| (s.way, s.left) = (Way::Bound, Some(LEFT))),
                Step::Stay,
            ),
        ];
        for (what, is, wanted) in table {
            assert_eq!(is, wanted, "{what}");
        }
    }

    #[cfg(feature = "mutations")]
    #[test]
    fn unheard_the_last_node_goes_all_the_same() {
        let last = Seen {
            leads: true,
            alone: true,
            ..seen()
        };
        mutation::set(Some(Mutation::EndsUnheard));
        let step = decide(&last);
        mutation::set(None);
        assert_eq!(step, Step::Follow(TAKER));
    }

    #[cfg(feature = "mutations")]
    #[test]
    fn debts_forgotten_a_shard_that_owes_dissolves() {
        let facts = super::super::phase::Facts {
            listed: true,
            owes: true,
            ..Default::default()
        };
        let owes = Seen {
            owes: true,
            ..seen()
        };
        assert!(facts.is_last_with_data(true));
        mutation::set(Some(Mutation::DissolveOwing));
        let (goes, last) = (decide(&owes), facts.is_last_with_data(true));
        mutation::set(None);
        assert_eq!((goes, last), (Step::Follow(TAKER), false));
    }

    #[test]
    fn what_a_member_meets_in_passing_does_not_count() {
        let t = Duration::from_secs(1);
        let at = |ms: u64| Mono(ms * 1_000_000);
        let (one, other) = (Some(ShardId([1; 20])), Some(ShardId([2; 20])));
        let mut emptied = Emptied::default();
        let table = [
            (0, one, false),
            (900, one, false),
            (1000, other, false),
            (1900, None, false),
            (2000, one, false),
            (2999, one, false),
            (3000, one, true),
        ];
        for (ms, follows, stands) in table {
            assert_eq!(emptied.stands(at(ms), follows, t), stands, "{ms}");
        }
        let alone = [(0, true, false), (1999, true, false), (2000, true, true)];
        for (ms, is, long) in alone {
            assert_eq!(emptied.alone(at(ms), is, t), long, "{ms}");
        }
        let lives = [(0, true, false), (4999, true, false), (5000, true, true)];
        for (ms, shows, long) in lives {
            assert_eq!(emptied.lives(at(ms), shows), long, "{ms}");
        }
        assert!(!emptied.lives(at(6000), false) && !emptied.lives(at(6001), true));
    }
}
