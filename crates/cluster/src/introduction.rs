//! What nodes say of themselves on their links (M9): the shard that each is a member of, and what its build can do.
//!
//! Owns what was heard, and when this node has introduced itself to which one. Never: believes what another
//! node says of a third; a bus packet can be anybody's. Invariants: only what is proved to come from the node
//! itself stands here; what a node can do counts for as long as it is said, since a node may come back with
//! an older build.

use super::control::Control;
use super::outbox::Outbox;
use super::Cluster;
use base::clock::Mono;
use base::ShardId;
use cluster_bus::bus::Bus;
use cluster_bus::NodeId;
use shard::Shard;
use std::collections::BTreeMap;
use std::time::Duration;
use storage::Disk;
use topology::features::{SLOTS_MOVE, STATES_TRAVEL, TYPES};
use topology::Record;

/// How often a node introduces itself, but for the first times: its link may not stand yet, and a client that
/// opens a slot right after the cluster was formed waits for it.
const EVERY: Duration = Duration::from_secs(1);
const AT_FIRST: (u32, Duration) = (10, Duration::from_millis(200));
/// How long what it can do counts.
const LASTS: Duration = Duration::from_secs(5);

/// How often the log says that a node's build is too old.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// What a node says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Introduction {
    pub shard: ShardId,
    /// What its build can do: bits of [`topology::features`].
    pub features: u32,
    /// Said by the leader of a shard: what the nodes of all its members can do.
    pub of_all: u32,
}

#[derive(Debug, Default)]
pub(super) struct Introductions {
    heard: BTreeMap<NodeId, (Introduction, Mono)>,
    /// When each was told last, and how often.
    told: BTreeMap<NodeId, (Mono, u32)>,
    /// What was told last.
    mine: Introduction,
    /// Nodes of builds that are too old, and when the log said so.
    too_old: BTreeMap<NodeId, Mono>,
}

/// Until the next introduction, after so many.
fn pause(times: u32) -> Duration {
    match times < AT_FIRST.0 {
        true => AT_FIRST.1,
        false => EVERY,
    }
}

impl Introductions {
    pub fn hear(&mut self, now: Mono, node: NodeId, said: Introduction) {
        self.heard.insert(node, (said, now));
    }

    /// What a node has said of itself last, however long ago.
    fn of(&self, node: NodeId) -> Option<&Introduction> {
        self.heard.get(&node).map(|(said, _)| said)
    }

    fn lately(&self, now: Mono, node: NodeId) -> Option<&Introduction> {
        let heard = self.heard.get(&node);
        let fresh = heard.filter(|(_, at)| now.since(*at) <= LASTS);
        fresh.map(|(said, _)| said)
    }

    /// Whether a node says that its build can do this.
    pub fn can(&self, now: Mono, node: NodeId, feature: u32) -> bool {
        feature == 0
            || self
                .lately(now, node)
                .is_some_and(|said| said.features & feature == feature)
    }

    /// The shard that a node says that it is a member of.
    pub fn said_shard(&self, node: NodeId) -> Option<ShardId> {
        self.of(node).map(|said| said.shard)
    }

    /// The shard of a node: as it has said itself; of one that never has, as the bus shows it.
    pub fn shard_of(&self, bus: &Bus, node: NodeId) -> Option<ShardId> {
        self.said_shard(node).or_else(|| bus.shard_of(node))
    }

    /// M9: whether the leader of another shard says that all its members can do this.
    pub fn all_can(&self, now: Mono, bus: &Bus, shard: ShardId, feature: u32) -> bool {
        bus.nodes().any(|node| {
            let said = self.lately(now, node.id);
            said.is_some_and(|said| said.shard == shard && said.of_all & feature == feature)
        })
    }

    /// Introduces this node to those that have not heard it lately.
    fn tell(&mut self, now: Mono, mine: Introduction, to: &[NodeId], out: &mut Outbox) {
        if std::mem::replace(&mut self.mine, mine) != mine {
            self.told.clear();
        }
        self.told.retain(|node, _| to.contains(node));
        for node in to {
            let before = self.told.get(node).copied();
            if before.is_none_or(|(at, times)| now.since(at) >= pause(times)) {
                let times = before.map_or(0, |(_, times)| times);
                self.told.insert(*node, (now, times.saturating_add(1)));
                out.tell(*node, &Control::Introduce(mine));
            }
        }
    }

    /// Of nodes that the bus knows no more nothing is kept.
    fn forget_strangers(&mut self, bus: &Bus) {
        self.heard.retain(|node, _| bus.node(*node).is_some());
        self.too_old.retain(|node, _| bus.node(*node).is_some());
    }

    /// Whether the log is to say that a node's build is too old.
    fn is_news(&mut self, now: Mono, node: NodeId) -> bool {
        let said = self.too_old.get(&node);
        let news = said.is_none_or(|at| now.since(*at) >= SAY_EVERY);
        if news {
            self.too_old.insert(node, now);
        }
        news
    }
}

impl Cluster {
    /// What this node's build can do, or is to show (a test plays an older one).
    pub(super) fn own_features(&self) -> u32 {
        self.config.options.features
    }

    /// Every turn: what all members can do.
    pub(super) fn look_at_builds<D: Disk>(&mut self, shard: &Shard<D>) {
        let said = shard.data().record().moves.features;
        let can = |feature| said & feature != 0 || self.members_can(feature, shard);
        (self.upgraded, self.states_travel, self.types_are_read) =
            (can(SLOTS_MOVE), can(STATES_TRAVEL), can(TYPES));
    }

    /// M9, D7: what all members can do, which the record does not say yet: from then on no older build becomes a
    /// member.
    pub(super) fn news_of_builds(&self, record: &Record) -> Option<u32> {
        if !self.states_travel || !self.upgraded {
            return None;
        }
        let types = if self.types_are_read { TYPES } else { 0 };
        let all = SLOTS_MOVE | STATES_TRAVEL | types;
        (all & !record.moves.features != 0).then_some(all)
    }

    /// M9: whether all nodes of this shard can move slots, and those of the other one; a real Redis has none
    /// of its duties.
    pub fn can_move(&self, with: Option<ShardId>) -> bool {
        let (now, said) = (self.now.mono, &self.introductions);
        let able = |shard| said.all_can(now, &self.bus, shard, SLOTS_MOVE);
        self.upgraded && with.is_none_or(able)
    }

    /// Now and then: introduces this node.
    pub(super) fn introduce<D: Disk>(&mut self, shard: &Shard<D>) {
        let features = self.own_features();
        if features == 0 {
            return; // as a build that knows nothing of it
        }
        let leads = shard.group().is_leader();
        let all = [
            (self.upgraded, SLOTS_MOVE),
            (self.states_travel, STATES_TRAVEL),
            (self.types_are_read, TYPES),
        ];
        let all = all.into_iter().filter(|(can, _)| *can).map(|(_, bit)| bit);
        let mine = Introduction {
            shard: shard.record().shard,
            features,
            of_all: match leads {
                true => features & all.sum::<u32>(),
                false => 0,
            },
        };
        self.introductions.forget_strangers(&self.bus);
        // A Redis would complain of the frame in its log.
        let ours = |node: &NodeId| self.bus.node(*node).is_some_and(|node| node.ours);
        let to: Vec<NodeId> = self.peers.reached().into_iter().filter(ours).collect();
        self.introductions
            .tell(self.now.mono, mine, &to, &mut self.out);
    }

    /// M9: whether the nodes of all members, and of those that are about to be, can do this. A witness
    /// refuses entries that its build can't read, as a data member does.
    fn members_can<D: Disk>(&self, feature: u32, shard: &Shard<D>) -> bool {
        if !shard.group().is_leader() || shard.group().has_pending_change() {
            return false;
        }
        let list = shard.group().membership().list.iter();
        let mut all = list.chain(shard.joiners()).map(|member| member.node);
        all.all(|node| self.node_can(node, feature))
    }

    fn node_can(&self, node: NodeId, feature: u32) -> bool {
        match node == self.myself() {
            true => self.own_features() & feature == feature,
            false => self.introductions.can(self.now.mono, node, feature),
        }
    }

    /// M9: whether a node may become a member. A group whose log says what an older build can't read takes
    /// none in; what a new leader's log says is known when its own term has been applied.
    pub(super) fn may_be_member<D: Disk>(&mut self, node: NodeId, shard: &Shard<D>) -> bool {
        let needs = match shard.group().own_term_applied() {
            true => needed_features(shard.data().record()),
            false => topology::features::ALL & self.own_features(),
        };
        let may = self.node_can(node, needs);
        let now = self.now.mono.0 / 1_000_000;
        let known_long = |n: &cluster_bus::bus::Node| {
            let age = Duration::from_millis(now.saturating_sub(n.created));
            age > LASTS
        };
        let refused = !may && self.bus.node(node).is_some_and(known_long);
        if refused && self.introductions.is_news(self.now.mono, node) {
            self.warn(|| {
                format!("Node {node} has to be upgraded before it can be a member of this shard")
            });
        }
        may
    }
}

/// M9: what a build must be able to do to read a log that says this.
pub(super) fn needed_features(record: &Record) -> u32 {
    match record.moves.is_empty() {
        true => 0,
        false => record.moves.features | SLOTS_MOVE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_hear_the_first_introductions_soon() {
        let (mut introductions, mut out) = (Introductions::default(), Outbox::default());
        let to = [NodeId([1; 20])];
        let mut told = |from: u64, until: u64| {
            for ms in (from..until).step_by(10) {
                let now = Mono(ms * 1_000_000);
                introductions.tell(now, Introduction::default(), &to, &mut out);
            }
            out.take().len()
        };
        assert_eq!(told(0, 1000), 5);
        assert_eq!(told(1000, 2000), 5);
        assert_eq!(told(2000, 7000), 5);
    }

    #[test]
    fn an_old_build_is_told_once_a_minute() {
        let mut introductions = Introductions::default();
        let (a, b, start) = (NodeId([1; 20]), NodeId([2; 20]), Mono(7_000_000_000));
        let said = [
            (a, 0, true),
            (a, 59, false),
            (b, 59, true),
            (a, 60, true),
            (a, 61, false),
        ];
        for (node, second, news) in said {
            let now = start + Duration::from_secs(second);
            assert_eq!(introductions.is_news(now, node), news, "at {second} s");
        }
    }
}
