//! The operator who puts nodes where they belong: whoever is alone meets the others and becomes a
//! replica; names of nodes that are no more are forgotten; slots that a shard lacks are given to it.
//!
//! Never: changes anything but through the CLUSTER commands.

use cluster_bus::NodeId;

use crate::machine::{Machine, Node};
use crate::ops::Op;
use crate::world::World;

impl World {
    pub fn node(&self, m: usize) -> Option<&Node> {
        self.machines[m].node.as_ref()
    }

    /// The machine whose node leads the shard and is its master.
    pub fn master_of(&self, shard: usize) -> Option<usize> {
        (0..self.machines.len()).find(|m| {
            self.node(*m).is_some_and(|n| {
                n.shard().identity().group == self.groups[shard]
                    && n.shard().group().is_leader()
                    && n.cluster().is_master()
            })
        })
    }

    /// Machines whose data member is of the shard's group.
    pub fn members_of(&self, shard: usize) -> Vec<usize> {
        let group = self.groups[shard];
        let of = |m: &usize| {
            let node = self.node(*m);
            node.is_some_and(|n| n.shard().identity().group == group && !n.shard().is_removed())
        };
        (0..self.machines.len()).filter(of).collect()
    }

    pub fn shard_of(&self, m: usize) -> Option<usize> {
        let group = self.node(m)?.shard().identity().group;
        self.groups.iter().position(|g| *g == group)
    }

    /// Names of nodes that run, or will run again.
    pub fn names(&self) -> Vec<NodeId> {
        let of = |m: &Machine| m.node.as_ref().map_or(m.name, |n| Some(n.name()));
        self.machines.iter().filter_map(of).collect()
    }
}

pub fn look(w: &mut World) {
    for m in 0..w.machines.len() {
        if w.healed || w.rng.chance(0.5) {
            look_at(w, m);
        }
    }
    for shard in 0..w.plan.shards {
        give_slots(w, shard);
    }
    if w.healed || w.rng.chance(0.2) {
        forget_dead_names(w);
    }
    if w.healed {
        introduce(w);
    }
}

fn look_at(w: &mut World, m: usize) {
    let Some(node) = w.node(m) else { return };
    let lost = node.cluster().is_joining() && node.cluster().bus().nodes().count() == 1;
    if lost && w.machines[m].operator.is_idle() {
        if let Some(master) = (0..w.plan.shards).find_map(|s| w.master_of(s)) {
            w.op(m, Op::Meet(master));
        }
        return;
    }
    let busy = (node.cluster().is_joining() && !w.healed) || !w.machines[m].operator.is_idle();
    if busy || w.shard_of(m).is_some() && !node.shard().is_removed() {
        return;
    }
    let name = node.name();
    let masters: Vec<usize> = (0..w.plan.shards).filter_map(|s| w.master_of(s)).collect();
    if masters.is_empty() {
        return;
    }
    let met = |w: &World, a: usize, b: NodeId| {
        let bus = w.node(a).map(|n| n.cluster().bus());
        bus.and_then(|bus| bus.node(b))
            .is_some_and(|n| !n.in_handshake())
    };
    let stranger = masters.iter().copied().find(|master| {
        let other = w.node(*master).expect("it leads").name();
        !met(w, m, other) || !met(w, *master, name)
    });
    if let Some(master) = stranger {
        // Whoever was forgotten is not learned again for a minute, unless it comes under a new name.
        w.machines[m].meets += 1;
        if w.machines[m].meets % 8 == 0 {
            return w.op(m, Op::Reset { hard: true });
        }
        return w.op(m, Op::Meet(master));
    }
    // A node that was to join one which has been reset since waits for a name that nobody has any more:
    // a person sees that its master is gone, and names another.
    let target = w.node(m).and_then(|n| n.cluster().identity().joining);
    if target.is_some_and(|joining| w.names().contains(&joining.target)) {
        return;
    }
    let smallest = (0..w.plan.shards)
        .filter(|s| w.master_of(*s).is_some())
        .min_by_key(|s| w.members_of(*s).len());
    let target = smallest.and_then(|s| w.master_of(s));
    if let Some(master) = target {
        let master = w.node(master).expect("it leads").name();
        w.op(m, Op::Replicate(master));
    }
}

/// Slots that the shard should have and has not.
pub fn give_slots(w: &mut World, shard: usize) {
    if w.moves_slots() {
        return;
    }
    let Some(m) = w.master_of(shard) else { return };
    let node = w.node(m).expect("it leads");
    let has = &node.shard().data().record().slots;
    let lacks: cluster_bus::SlotSet = w.slots[shard]
        .iter()
        .filter(|s| !has.contains(*s))
        .collect();
    if !lacks.is_empty() && w.machines[m].operator.is_idle() {
        w.op(m, Op::AddSlots(lacks));
    }
}

fn forget_dead_names(w: &mut World) {
    let names = w.names();
    let mut dead = Vec::new();
    for m in 0..w.machines.len() {
        let Some(node) = w.node(m) else { continue };
        let gone = node.cluster().bus().nodes();
        let gone = gone.filter(|n| !n.in_handshake() && !names.contains(&n.id));
        dead.extend(gone.map(|n| n.id));
        if node.shard().group().is_leader() {
            let list = &node.shard().group().membership().list;
            let nodes = list.iter().map(|m| m.node);
            dead.extend(nodes.filter(|id| !names.contains(id)));
        }
    }
    dead.sort_unstable();
    dead.dedup();
    for id in dead {
        for m in 0..w.machines.len() {
            let knows = |n: &Node| {
                let list = &n.shard().group().membership().list;
                n.cluster().bus().node(id).is_some() || list.iter().any(|m| m.node == id)
            };
            if w.node(m).is_some_and(knows) {
                w.op(m, Op::Forget(id));
            }
        }
    }
}

/// Members of the cluster that do not know each other, after one was forgotten somewhere.
fn introduce(w: &mut World) {
    for a in 0..w.machines.len() {
        for b in 0..w.machines.len() {
            let (Some(one), Some(other)) = (w.node(a), w.node(b)) else {
                continue;
            };
            let belong = w.shard_of(a).is_some() && w.shard_of(b).is_some();
            if a != b && belong && one.cluster().bus().node(other.name()).is_none() {
                w.op(a, Op::Meet(b));
            }
        }
    }
}
