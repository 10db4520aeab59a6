//! Which nodes are real Redis servers (M9).
//!
//! Owns what is known of each node that was asked for, and when it is asked again. Never: decides what
//! follows. Invariant: a node counts as a Redis only while its bus link stands and its port has refused our
//! magic a moment ago; what is not known counts as a node of this program.

use super::outbox::Outbox;
use super::{Cluster, ClusterOutput};
use base::clock::Mono;
use cluster_bus::bus::Bus;
use cluster_bus::NodeId;
use std::collections::BTreeMap;
use std::time::Duration;

/// A node that refuses may be another program's a moment later.
const REFUSAL_LASTS: Duration = Duration::from_secs(10);
/// How soon an answer that tells nothing is asked for again.
const AGAIN: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Holdfast,
    Refused(Mono),
    Asked(Mono),
}

#[derive(Debug, Default)]
pub(super) struct Kinds(BTreeMap<NodeId, Known>);

impl Kinds {
    /// None: not known yet, and asked for.
    fn is_redis(&mut self, now: Mono, bus: &Bus, out: &mut Outbox, id: NodeId) -> Option<bool> {
        let node = bus.node(id)?;
        match self.0.get(&id) {
            Some(Known::Holdfast) => return Some(false),
            Some(Known::Refused(at)) if now.since(*at) < REFUSAL_LASTS => {
                return node.connected.then_some(true);
            }
            Some(Known::Asked(at)) if now.since(*at) < AGAIN => return None,
            _ => {}
        }
        self.0.retain(|id, _| bus.node(*id).is_some());
        self.0.insert(id, Known::Asked(now));
        let ip = node.ip.parse().ok()?;
        let addr = (ip, node.cport);
        out.push(ClusterOutput::Probe { node: id, addr });
        None
    }

    fn heard(&mut self, now: Mono, id: NodeId, refused: Option<bool>) {
        let known = match refused {
            Some(false) => Known::Holdfast,
            Some(true) => Known::Refused(now),
            None => return,
        };
        // Nobody but this program can prove that it is one.
        if self.0.get(&id) != Some(&Known::Holdfast) {
            self.0.insert(id, known);
        }
    }
}

impl Cluster {
    /// Whether a node is a real Redis; none: not known yet (M9).
    pub fn is_redis(&mut self, node: NodeId) -> Option<bool> {
        let (now, bus, out) = (self.now.mono, &self.bus, &mut self.out);
        self.kinds.is_redis(now, bus, out, node)
    }

    /// What a node's bus port has done with our magic; none: nothing that tells.
    pub fn probed(&mut self, now: Mono, node: NodeId, refused: Option<bool>) {
        self.kinds.heard(now, node, refused);
    }
}
