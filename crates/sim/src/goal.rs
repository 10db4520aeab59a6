//! What must hold in the end: everything works again, and within a bound the cluster is whole.

use std::collections::BTreeMap;

use effect::{parse_entry, Effect, Staged, Stager, Unit};
use raft::eraftpb::EntryType;
use shard::Shard;
use storage::base::MemberKind;
use storage::StorageError;

use crate::client::Client;
use crate::clock::{MS, SEC};
use crate::disk::SimDisk;
use crate::history::Logged;
use crate::lin::Val;
use crate::machine::CAPACITY;
use crate::net::{Packet, Payload, Weather};
use crate::workload::parse_value;
use crate::world::{Event, World};

impl World {
    /// Everything works again, and nothing breaks any more.
    fn heal(&mut self) {
        self.trace
            .say(self.now, || "all faults are healed".to_string());
        self.healed = true;
        self.net.heal_all(self.now);
        self.net.weather = Weather::FAIR;
        for m in 0..self.machines.len() {
            let machine = &mut self.machines[m];
            machine.disk.set_capacity(CAPACITY);
            machine.disk.put_out_fuse();
            machine.stop_next = None;
            machine.hold_timeout_now = None;
            machine.lose_timeout_now = 0;
            machine.slow_until = self.now;
            if machine.node.is_none() {
                self.at(self.now + 10 * MS, Event::Start(m));
            }
        }
        for c in 0..self.clients.len() {
            let Some((conn, m)) = self.clients[c].connection() else {
                continue;
            };
            if !self.machines[m].kernel.borrow().conns.contains_key(&conn) {
                let packet = Packet {
                    from: m,
                    to: self.machines.len() + c,
                    conn,
                    payload: Payload::Close,
                };
                self.net.send(self.now, packet);
            }
        }
        self.clients.iter_mut().for_each(|c| c.patient = true);
    }

    /// Waits until all is as it should be.
    pub fn wait_for(&mut self, what: &str) -> bool {
        let end = self.now + self.bound();
        let mut missing = String::new();
        while self.now < end && self.failure.is_none() {
            match self.lacks() {
                None => return true,
                Some(lack) => missing = lack,
            }
            let soon = self.now + 100 * MS;
            self.until(soon, |_| false);
        }
        let all = self.describe_all();
        let bound = self.bound() / MS;
        self.fail(format!(
            "not live: {what}, but not within {bound} ms: {missing}\n{all}"
        ));
        false
    }

    pub fn liveness(&mut self) {
        self.heal();
        let end = self.now + self.bound();
        let before: Vec<u64> = self.clients.iter().map(|c| c.done).collect();
        if !self.wait_for("the cluster is whole after healing") {
            return;
        }
        let all_served = |w: &World| {
            let both = w.clients.iter().zip(&before);
            both.into_iter().all(|(c, before)| c.done >= before + 5)
        };
        if !self.until(end.max(self.now + 100 * self.plan.t()), all_served) {
            return self.not_served("every client gets answers");
        }
        self.clients.iter_mut().for_each(|c| c.quiet = true);
        let end = self.now + self.bound();
        if !self.until(end, |w| w.clients.iter().all(Client::is_idle)) {
            return self.not_served("every request is answered");
        }
        for group in 0..self.plan.taste.groups {
            if !self.read_group(group) {
                return self.not_served("the final reads are answered");
            }
        }
        self.wait_for("the cluster is whole at the end");
    }

    /// D1: what an idle shard has committed is known to every disk, also where no entry came after
    /// the commit.
    pub fn restart_idle(&mut self) {
        self.until(self.now + self.plan.t() + SEC, |_| false);
        // A shard logs a little by itself (first titles, M21).
        let commits = |w: &World| -> Vec<Option<u64>> {
            let nodes = w.machines.iter().map(|m| m.node.as_ref());
            nodes
                .map(|node| node.map(|node| node.shard().group().commit()))
                .collect()
        };
        for _ in 0..10 {
            let before = commits(self);
            self.until(self.now + SEC, |_| false);
            if commits(self) == before {
                break;
            }
        }
        for m in 0..self.machines.len() {
            let Some(node) = &self.machines[m].node else {
                return self.fail(format!("m{m} died while nothing happened"));
            };
            self.machines[m].must_know = node.shard().group().commit();
            self.kill(m, self.now, false);
        }
        let all_run = |w: &World| w.machines.iter().all(|m| m.node.is_some());
        if !self.until(self.now + SEC, all_run) {
            self.not_served("all members start again");
        }
    }

    fn read_group(&mut self, group: u8) -> bool {
        let end = self.now + self.bound();
        while self.now < end && self.failure.is_none() {
            let before = self.clients[0].done;
            self.with_client(0, |client, s| {
                client.read_group(s, group);
                Ok(())
            });
            if !self.until(end, |w| w.clients[0].is_idle()) {
                return false;
            }
            // The registers, and the queue.
            if self.clients[0].done > before + 1 {
                return true;
            }
            let pause = self.now + 10 * MS;
            self.until(pause, |_| false);
        }
        false
    }

    fn not_served(&mut self, what: &str) {
        let all = self.describe_all();
        let clients: Vec<String> = self.clients.iter().map(Client::describe).collect();
        self.fail(format!("not live: {what}\n{all}\n{}", clients.join("\n")));
    }

    /// What is missing of a whole cluster; none: nothing is.
    fn lacks(&self) -> Option<String> {
        let mut leads = Vec::new();
        for shard in self.shards() {
            match self.master_of(shard) {
                Some(m) => leads.push((shard, m)),
                None => return Some(format!("shard {shard} has a master that leads")),
            }
        }
        for m in 0..self.machines.len() {
            if let Some(lack) = self.node_lacks(m) {
                return Some(format!("machine {m}: {lack}"));
            }
        }
        if let Some(lack) = self.moves_slots().then(|| self.moves_lack()).flatten() {
            return Some(lack);
        }
        let mut wanted_witnesses = BTreeMap::new();
        for (shard, leads) in leads {
            if let Some(lack) = self.shard_lacks(shard, leads) {
                return Some(format!("shard {shard}: {lack}"));
            }
            let list = &self.node(leads)?.shard().group().membership().list;
            for member in list.iter().filter(|m| m.kind == MemberKind::Witness) {
                wanted_witnesses.insert(member.raft_id, member.node);
            }
        }
        let nodes = (0..self.machines.len()).filter_map(|m| self.node(m));
        let mut hosted = BTreeMap::new();
        for node in nodes {
            for shard in node.witnesses.shards() {
                hosted.insert(shard.identity().raft_id, node.name());
            }
        }
        (hosted != wanted_witnesses).then(|| {
            format!("witnesses: the groups have {wanted_witnesses:x?}, hosted are {hosted:x?}")
        })
    }

    fn node_lacks(&self, m: usize) -> Option<String> {
        if self.machines[m].spare {
            return None;
        }
        let Some(node) = self.node(m) else {
            return Some("it runs".to_string());
        };
        if node.cluster().is_joining() || !self.machines[m].operator.is_idle() {
            return Some("nothing is under way".to_string());
        }
        let Some(shard) = self.shard_of(m) else {
            return Some("it belongs to a shard".to_string());
        };
        let names = self.names();
        let bus = node.cluster().bus();
        let known: Vec<_> = bus.nodes().map(|n| n.id).collect();
        if known.len() != names.len() || !names.iter().all(|n| known.contains(n)) {
            return Some(format!("it knows {} nodes of {}", known.len(), names.len()));
        }
        if let Some(other) = bus.nodes().find(|n| n.in_handshake() || n.suspect()) {
            return Some(format!("{} is well: {:?}", other.id, other.flags));
        }
        if !bus.state_ok() {
            return Some("cluster_state is ok".to_string());
        }
        for of in self.shards() {
            let slots = self.expected_slots(of);
            let master = self.master_of(of).and_then(|m| self.node(m))?.name();
            for slot in slots.iter().take(3) {
                let owner = bus.owner(slot);
                let mine = of == shard && node.shard().record().slots.contains(slot);
                if owner != Some(master) && !mine {
                    let epoch = |of| bus.node(of).map(|n| n.config_epoch);
                    let (theirs, known) = (epoch(master), owner.map(epoch));
                    return Some(format!(
                        "slot {slot} is {master}'s ({theirs:?}), not {owner:?}'s ({known:?})"
                    ));
                }
            }
        }
        None
    }

    fn shard_lacks(&self, shard: usize, leads: usize) -> Option<String> {
        let leader = self.node(leads)?;
        let (group, now) = (
            leader.shard().group(),
            self.machines[leads].clock.borrow().read(self.now),
        );
        let membership = group.membership();
        if membership.is_joint() {
            return Some("it is not joint".to_string());
        }
        if leader.shard().record().slots != self.expected_slots(shard) {
            return Some("it has its slots".to_string());
        }
        let members = self.members_of(shard);
        let is_data = |m: &&storage::base::Member| m.kind == MemberKind::Data;
        let data = membership.list.iter().filter(is_data).count();
        if data != members.len() || data == 0 {
            return Some(format!("{data} data members, {} machines", members.len()));
        }
        // W3: an emptied master that goes nowhere hosts no witness, so two members alone stay as they are.
        let hosted = data > 2
            || self.shards().any(|of| {
                let record = self.leaders_record(of);
                of != shard && record.is_some_and(|record| !record.slots.is_empty())
            });
        if data > 1 && hosted && self.plan.witness && !leader.shard().is_ha(now) {
            return Some("it survives a loss".to_string());
        }
        // While clients write, followers are behind and there is a tail.
        let quiet = self.clients.iter().all(|c| c.quiet && c.is_idle());
        for m in members {
            let theirs = self.node(m)?.shard();
            let same = theirs.group().applied() == group.applied();
            if theirs.group().membership().list != membership.list || quiet && !same {
                return Some(format!("machine {m} has applied the same"));
            }
            if quiet && theirs.record() != leader.shard().record() {
                return Some(format!("machine {m} has the same record"));
            }
            if quiet && theirs.tail_len() > 0 || theirs.is_loading() {
                return Some(format!("machine {m} has no tail"));
            }
        }
        None
    }

    /// The texts of clients in the logs that the members have come to agree on.
    pub fn logged_texts(&self) -> Logged {
        let mut texts = Logged::new();
        for group in &self.groups {
            let (from, dropped) = self.dropped.of(*group);
            texts.extend(dropped);
            if self.checks.has_ended(*group) {
                continue; // its log is gone; the values that mattered are in another one
            }
            let nodes = self.machines.iter().filter_map(|m| m.node.as_ref());
            let of = nodes
                .map(|n| n.shard())
                .find(|s| s.identity().group == *group);
            let shard = of.expect("every shard has a member when all has settled");
            let applied = shard.group().applied();
            add_texts(shard, from, applied, &mut texts);
        }
        texts
    }
}

/// Adds the texts of clients that are in these entries of a member's log, as far as it has them.
pub fn add_texts(shard: &Shard<SimDisk>, from: u64, last: u64, texts: &mut Logged) {
    let first = from.max(shard.log().first_index());
    if first > last {
        return;
    }
    let mut stager = Stager::default();
    let replayed = shard.log().replay(first, last, |entry| {
        if entry.get_entry_type() != EntryType::EntryNormal {
            return Ok(());
        }
        let body = parse_entry(&entry.data).expect("it was applied");
        match stager.take(entry.term, body).expect("it was applied") {
            Staged::Nothing => {}
            Staged::Units(units) => {
                for unit in units {
                    texts_of(unit.expect("it was applied"), texts);
                }
            }
            Staged::Whole(body) => texts_of(Unit::new(&body), texts),
        }
        Ok::<(), StorageError>(())
    });
    replayed.expect("a running member's log can be read");
}

fn texts_of(mut unit: Unit<'_>, texts: &mut Logged) {
    let mut effect = Effect::default();
    while unit.next_into(&mut effect).expect("it was applied") {
        for arg in &effect.args {
            if let Ok(Val::Text(id)) = parse_value(arg) {
                let place = texts.len() as u64;
                texts.entry(id).or_insert(place);
            }
        }
    }
}
