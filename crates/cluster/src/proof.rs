//! What counts only when it is proved (the rules' head; G2).
//!
//! A word is proved when it came on a connection that this node has opened to the address that its
//! table has for the speaker, or on one whose opener has proved a password that is not empty. So
//! answers go back on the connection that asked, and what comes unasked and ends, deletes or changes
//! a membership is asked for again: `Really` goes over a link of our own, `Confirm` comes back on it.
//! Owns that, and how often it is asked and warned. Never: decides what a proved word leads to.

use super::control::{Control, Said};
use super::{Cluster, ClusterOutput};
use base::clock::Mono;
use base::ids::{GroupId, RaftId};
use cluster_bus::bus::{Action, Level};
use cluster_bus::NodeId;
use shard::Shard;
use std::collections::BTreeMap;
use std::time::Duration;
use storage::Disk;

/// How soon the same is asked of the same node again: forged words must not make a flood.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// Of how many words at a time: of strangers' ids anybody can invent any number.
const MOST_ASKED: usize = 64;
/// How often such words are worth a line in the log.
const WARN_EVERY: Duration = Duration::from_secs(1);

/// What was asked again, and when.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    asked: BTreeMap<(NodeId, Option<(Said, RaftId)>), Mono>,
    warned: Option<Mono>,
}

impl Doubts {
    /// Whether it is time to ask `node`. None: whether this node belongs to its group.
    pub fn may_ask(&mut self, now: Mono, node: NodeId, said: Option<(Said, RaftId)>) -> bool {
        self.asked.retain(|_, at| now.since(*at) < ASK_AGAIN);
        let new = !self.asked.contains_key(&(node, said)) && self.asked.len() < MOST_ASKED;
        if new {
            self.asked.insert((node, said), now);
        }
        new
    }

    pub fn may_warn(&mut self, now: Mono) -> bool {
        let may = self.warned.is_none_or(|at| now.since(at) >= WARN_EVERY);
        if may {
            self.warned = Some(now);
        }
        may
    }
}

impl Cluster {
    /// Something was said in `node`'s name that only it may say: it is asked.
    pub(super) fn really(&mut self, node: NodeId, said: Said, group: GroupId, raft_id: RaftId) {
        let known = self.peers.reaches(node) || node == self.myself();
        let about = Some((said, raft_id));
        if known && self.doubts.may_ask(self.now.mono, node, about) {
            let control = Control::Really {
                said,
                group,
                raft_id,
            };
            self.out.tell(node, &control);
        }
    }

    /// G2: whether `node` can say, when it is proved, what this member is in its group: the list
    /// names it. A member that asked to leave, was not added yet, or is led by no node for long, knows
    /// only an old list, or none: the bus tells it of the nodes that are of its shard by now.
    pub(super) fn vouches<D: Disk>(&self, node: NodeId, shard: &Shard<D>) -> bool {
        let me = shard.identity().raft_id;
        let membership = shard.group().membership();
        let mut others = membership.list.iter().filter(|m| m.raft_id != me);
        if others.any(|m| m.node == node) {
            return true;
        }
        let (leaving, stale) = (self.membership.is_leaving(), self.membership.is_stale());
        let old_list = leaving || membership.joined_at.is_none() || stale;
        old_list && self.bus.shard_of(node) == Some(shard.record().shard)
    }

    /// A line for the log, not too often.
    pub(super) fn warn(&mut self, text: impl FnOnce() -> String) {
        if self.doubts.may_warn(self.now.mono) {
            let action = Action::Log(Level::Warning, text());
            self.out.push(ClusterOutput::Bus(action));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_asked_again_after_a_while() {
        let (mut doubts, node) = (Doubts::default(), NodeId([1; 20]));
        let at = |ms: u64| Mono(ms * 1_000_000);
        assert!(doubts.may_ask(at(0), node, None));
        assert!(!doubts.may_ask(at(49), node, None));
        assert!(doubts.may_ask(at(49), node, Some((Said::Leave, RaftId(1)))));
        assert!(doubts.may_ask(at(50), node, None));
        assert_eq!(doubts.asked.len(), 2);
        assert!(doubts.may_warn(at(0)) && !doubts.may_warn(at(999)) && doubts.may_warn(at(1000)));
    }
}
