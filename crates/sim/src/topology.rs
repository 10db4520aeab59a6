//! How what a plan names comes to be: a cluster is formed by operators; a shard, or a node alone, is
//! written to the disks as a formed one would have left them.

use ::topology::Record;
use base::ids::{GroupId, Incarnation, RaftId};
use cluster::identity::{self, NodeIdentity};
use cluster_bus::nodes_conf;
use cluster_bus::slot::key_slot;
use cluster_bus::{NodeId, ShardId, SlotSet};
use raft::eraftpb::ConfState;
use storage::base::{Base, Member, MemberIdentity, MemberKind, SnapshotMeta};
use storage::{Disk, DiskFile, Log, LogConfig};

use crate::clock::{MS, SEC};
use crate::machine::{ip_of, Node};
use crate::ops::Op;
use crate::plan::{Plan, Topology};
use crate::platform::{load_conf, CONF};
use crate::workload::key_name;
use crate::world::{Event, World};

/// Which shard has which slots: all of them, or those that clients use.
pub fn slots(plan: &Plan) -> Vec<SlotSet> {
    let shards = plan.shards;
    if plan.full_coverage {
        let end = |shard: usize| (16384 * shard / shards) as u16;
        return (0..shards)
            .map(|s| (end(s)..end(s + 1)).collect())
            .collect();
    }
    let mut slots = vec![SlotSet::default(); shards];
    for group in 0..plan.taste.groups {
        let slot = key_slot(&key_name(group, 0));
        slots[usize::from(group) % shards].insert(slot);
    }
    slots
}

impl World {
    pub fn form(&mut self) {
        match self.plan.topology {
            Topology::Cluster | Topology::Moves => self.form_cluster(),
            Topology::Alone | Topology::Shard => self.form_shard(),
        }
    }

    // ---- one shard --------------------------------------------------------------------------

    fn form_shard(&mut self) {
        let count = self.plan.machines;
        let name = |m: usize| NodeId([m as u8 + 1; 20]);
        let members: Vec<Member> = (0..count)
            .map(|m| Member {
                raft_id: RaftId(1000 + self.rng.below(1 << 40) * 10 + m as u64),
                node: name(m),
                kind: MemberKind::Data,
            })
            .collect();
        let mut record = Record {
            slots: self.slots[0].clone(),
            epoch: 1,
            ..Record::founded(ShardId([0x77; 20]), name(0))
        };
        record.moves.features = topology::features::ALL;
        let base = Base {
            identity: MemberIdentity {
                group: GroupId(77),
                incarnation: Incarnation(1),
                raft_id: RaftId(0),
                kind: MemberKind::Data,
                election_timeout_ms: self.plan.t_ms,
            },
            snapshot: SnapshotMeta {
                index: 1,
                term: 1,
                conf_state: ConfState {
                    voters: members.iter().map(|m| m.raft_id.0).collect(),
                    ..ConfState::default()
                },
                members: members.clone(),
                record: record.encode(),
                file: None,
            },
            start: None,
        };
        self.groups.push(base.identity.group);
        for (m, member) in members.iter().enumerate() {
            let mut base = base.clone();
            base.identity.raft_id = member.raft_id;
            self.write_member(m, &base, &members, &record);
            self.machines[m].name = Some(member.node);
            let at = self.rng.below(20 * MS);
            self.at(at, Event::Start(m));
        }
        for c in 0..self.clients.len() {
            let at = self.now + self.rng.below(20 * MS);
            self.at(at, Event::Client(c));
        }
        self.net.weather = self.plan.weather;
        let first = self.plan.t() + self.rng.around(self.plan.fault_every);
        self.at(first, Event::Fault);
        self.begin_snapshots();
    }

    fn begin_snapshots(&mut self) {
        if self.plan.snapshot_every > 0 {
            for m in 0..self.machines.len() {
                self.at(self.now + self.plan.snapshot_every, Event::Snapshot(m));
            }
        }
    }

    fn write_member(&self, m: usize, base: &Base, members: &[Member], record: &Record) {
        let disk = &self.machines[m].disk;
        let log = LogConfig {
            segment_size: self.plan.segment,
            spare_segments: self.plan.spares,
            reserve: 8 << 10,
            freeing: 8 << 10,
            kept: Default::default(),
            floor: 0,
        };
        let folder = disk.make_folder(&identity::folder(base.identity.raft_id));
        Log::create(folder.expect("an empty disk"), log, base).expect("an empty disk");
        let identity = NodeIdentity {
            member: base.identity.raft_id,
            ..NodeIdentity::default()
        };
        identity.save(disk).expect("an empty disk");
        let mut text = String::new();
        for (other, member) in members.iter().enumerate() {
            let (ip, port, cport) = (ip_of(other), 7000 + other, 17_000 + other);
            let myself = if other == m { "myself," } else { "" };
            let (role, master) = match member.node == record.master {
                true => ("master", "-".to_string()),
                false => ("slave", record.master.to_string()),
            };
            text += &format!(
                "{} {ip}:{port}@{cport},,tls-port=0,shard-id={} {myself}{role} {master} 0 0 {} connected",
                member.node, record.shard, record.epoch
            );
            if role == "master" {
                for (first, last) in record.slots.ranges() {
                    text += &format!(" {first}-{last}");
                }
            }
            text += "\n";
        }
        text += &format!("vars currentEpoch {} lastVoteEpoch 0\n", record.epoch);
        let file = disk.create(CONF).expect("an empty disk");
        file.write_at(text.as_bytes(), 0).expect("an empty disk");
        file.sync_data().expect("an empty disk");
        disk.sync_dir().expect("an empty disk");
    }

    // ---- a cluster --------------------------------------------------------------------------

    fn form_cluster(&mut self) {
        let (first, shards) = (self.plan.machines, self.plan.shards);
        for m in first..self.machines.len() {
            self.machines[m].spare = true;
        }
        for m in 0..first {
            let at = self.rng.below(20 * MS);
            self.at(at, Event::Start(m));
        }
        let alone = |w: &World| {
            let leads = |n: &Node| n.shard().group().own_term_applied();
            (0..first).all(|m| w.machines[m].node.as_ref().is_some_and(leads))
        };
        if !self.until(5 * SEC, alone) {
            return self.fail("not formed: every node leads its own group".to_string());
        }
        if self.moves_slots() && self.rng.chance(self.plan.leftovers_p) {
            self.leave_keys();
        }
        for shard in 0..shards {
            let node = self.machines[shard].node.as_ref().expect("it runs");
            self.groups.push(node.shard().identity().group);
            let op = Op::AddSlots(self.slots[shard].clone());
            self.op(shard, op);
        }
        for m in 0..first {
            self.op(m, Op::SetEpoch(m as u64 + 1));
            if m > 0 {
                self.op(m, Op::Meet(0));
            }
        }
        for c in 0..self.clients.len() {
            let at = self.now + self.rng.below(20 * MS);
            self.at(at, Event::Client(c));
        }
        let all_met = |w: &World| (0..first).all(|m| w.knows_all(m));
        if !self.until(self.now + 15 * SEC, all_met) {
            return self.fail(format!("not formed: all have met\n{}", self.describe_all()));
        }
        let fault = self.rng.around(self.plan.fault_every);
        if self.plan.faults_while_forming {
            self.net.weather = self.plan.weather;
            self.at(self.now + fault, Event::Fault);
        }
        for shard in 0..first - shards {
            let name = self.machines[shard].name.expect("it runs");
            self.op(shards + shard, Op::Replicate(name));
        }
        if !self.plan.faults_while_forming {
            self.wait_for("the first forming");
            self.net.weather = self.plan.weather;
            self.at(self.now + fault, Event::Fault);
        }
        self.begin_snapshots();
        self.at(self.now + self.plan.operator_every, Event::Operator);
        if self.moves_slots() {
            let all = self.slots.iter().flat_map(SlotSet::iter).collect();
            self.checks.committed.formed(all);
            self.at(self.now, Event::Mover);
        }
    }

    /// M22: a shard had a slot, gave it up, and has kept keys of it; another shard is to have that slot.
    fn leave_keys(&mut self) {
        let group = self.rng.below(u64::from(self.plan.taste.groups)) as u8;
        let m = (usize::from(group) + 1) % self.plan.shards;
        let slots: SlotSet = [key_slot(&key_name(group, 0))].into_iter().collect();
        self.op(m, Op::AddSlots(slots.clone()));
        // A node that has just got slots refuses clients for a moment.
        self.until(self.now + 3 * SEC, |_| false);
        for key in 0..2 {
            let value = format!("v{}", u64::from(key)).into_bytes();
            self.op(m, Op::Set(key_name(group, key), value));
        }
        self.op(m, Op::DelSlots(slots));
        let done = |w: &World| w.machines[m].operator.is_idle();
        if !self.until(self.now + 5 * SEC, done) {
            self.fail("not formed: a node gives a slot up".to_string());
        }
    }

    fn knows_all(&self, m: usize) -> bool {
        let Some(node) = &self.machines[m].node else {
            return false;
        };
        let bus = node.cluster().bus();
        let owners = (0..self.plan.shards).all(|s| {
            let slot = self.slots[s].iter().next().expect("every shard has slots");
            bus.owner(slot) == self.machines[s].name
        });
        let all = bus.nodes().count() == self.plan.machines;
        owners && all && bus.nodes().all(|n| !n.in_handshake()) && self.has_saved_all(m)
    }

    /// What a node has learned by gossip is in its nodes.conf a moment later. Killed before, it knows fewer shards
    /// than there are, and asks only those for a slot (M12): the cluster is not formed yet.
    fn has_saved_all(&self, m: usize) -> bool {
        let disk = &self.machines[m].disk;
        let bytes = disk.look(|| load_conf(disk)).unwrap_or_default();
        let conf = nodes_conf::parse(&String::from_utf8_lossy(&bytes));
        conf.is_ok_and(|conf| conf.nodes.len() == self.plan.machines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Lines;

    /// Killed in the next moment, a node of this seed came back without the others.
    #[test]
    fn formed_cluster_is_in_every_file() {
        let mut w = World::new(Topology::Moves, 3269, Lines::None);
        w.form();
        assert!(w.failure.is_none());
        assert!((0..w.plan.machines).all(|m| w.has_saved_all(m)));
    }
}
