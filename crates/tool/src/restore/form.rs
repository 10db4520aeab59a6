//! What is to be done next, to make a cluster of nodes that have begun with the files of a backup.
//!
//! Owns the decision, as a function of the backup and of what the nodes say now; it remembers nothing, so it goes
//! on from wherever somebody has stopped. Invariants: no slot is given to a node that has not the keys of its file; a
//! node that has what is not the backup's is refused, and nothing is done.

use super::backup::{ranges, Backup, Master};
use super::node::Facts;
use base::slot::SLOT_COUNT;
use std::collections::BTreeSet;

/// A node, and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub address: String,
    pub role: Role,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// With the file of this master of the backup.
    Master(usize),
    /// Of the node at this place.
    ReplicaOf(usize),
}

/// A command for a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub node: usize,
    pub command: Vec<String>,
    pub text: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    Do(Vec<Step>),
    /// For what the nodes do by themselves.
    Wait(String),
    /// For as long as it takes.
    Loads(String),
    Refused(String),
    Done(String),
}

/// Masters in the order of the nodes; the remaining ones are replicas, spread evenly.
pub fn places(backup: &Backup, nodes: &[String]) -> Result<Vec<Place>, String> {
    let masters = backup.masters.len();
    if nodes.len() < masters {
        return Err(format!(
            "the backup has {masters} masters with slots, and --nodes names {}",
            nodes.len()
        ));
    }
    if nodes.iter().collect::<BTreeSet<_>>().len() < nodes.len() {
        return Err("--nodes names a node twice".to_owned());
    }
    let role = |n: usize| match n < masters {
        true => Role::Master(n),
        false => Role::ReplicaOf((n - masters) % masters),
    };
    let place = |(n, address): (usize, &String)| Place {
        address: address.clone(),
        role: role(n),
    };
    Ok(nodes.iter().enumerate().map(place).collect())
}

/// What a person has to do before.
pub fn plan(backup: &Backup, places: &[Place]) -> Vec<String> {
    let line = |place: &Place| match place.role {
        Role::Master(n) => format!(
            "{}: begins with a copy of {} as dump.rdb in its empty dir",
            place.address,
            backup.masters[n].path.display()
        ),
        Role::ReplicaOf(n) => format!(
            "{}: begins empty, and becomes a replica of {}",
            place.address, places[n].address
        ),
    };
    places.iter().map(line).collect()
}

fn step(node: usize, words: &[&str], more: Vec<String>, text: String) -> Step {
    let words = words.iter().map(|word| (*word).to_owned());
    Step {
        node,
        command: words.chain(more).collect(),
        text,
    }
}

pub fn next(backup: &Backup, places: &[Place], facts: &[Facts]) -> Next {
    if let Some(n) = facts.iter().position(|of| of.loading) {
        return Next::Loads(format!("{} loads its keys", places[n].address));
    }
    let ids: BTreeSet<&String> = facts.iter().map(|of| &of.id).collect();
    if ids.len() < facts.len() {
        return Next::Refused("--nodes names a node twice".to_owned());
    }
    for (place, of) in places.iter().zip(facts) {
        if let Some(strange) = of.others.iter().find(|id| !ids.contains(id)) {
            return Next::Refused(format!(
                "{} knows the node {strange}, which is not among --nodes: only new nodes are made a cluster. If that \
                 was one of an earlier try, and is gone for good: CLUSTER FORGET {strange} at every node",
                place.address
            ));
        }
    }
    let whole = Whole {
        backup,
        places,
        facts,
    };
    whole.next()
}

struct Whole<'a> {
    backup: &'a Backup,
    places: &'a [Place],
    facts: &'a [Facts],
}

impl Whole<'_> {
    fn next(&self) -> Next {
        // Before anything is done: once it was met, its slots would be claims, and to replace it a dead end.
        if let Some(n) = (0..self.places.len()).find(|n| self.is_no_replica(*n)) {
            return Next::Refused(format!(
                "{}: it has keys or slots of its own, and was to be a replica: replicas begin empty",
                self.places[n].address
            ));
        }
        let mut steps = Vec::new();
        for (n, place) in self.places.iter().enumerate() {
            let Role::Master(m) = place.role else {
                continue;
            };
            match self.give_slots(n, &self.backup.masters[m]) {
                Ok(step) => steps.extend(step),
                Err(why) => return Next::Refused(format!("{}: {why}", place.address)),
            }
        }
        if !steps.is_empty() {
            return Next::Do(steps);
        }
        for steps in [self.set_epochs(), self.meet()] {
            if !steps.is_empty() {
                return Next::Do(steps);
            }
        }
        let all = self.facts.len() - 1;
        if let Some(n) = self.facts.iter().position(|of| of.others.len() < all) {
            return Next::Wait(format!(
                "waiting until {} knows all other nodes",
                self.places[n].address
            ));
        }
        match self.attach() {
            steps if steps.is_empty() => self.settle(),
            steps => Next::Do(steps),
        }
    }

    /// Whether a node that is to be a replica is none, nor was one before a failover, and has something of its own.
    fn is_no_replica(&self, n: usize) -> bool {
        let facts = &self.facts[n];
        let is_master = matches!(self.places[n].role, Role::Master(_)) || self.leads(n);
        let is_empty = facts.keys == 0 && facts.slots.is_empty();
        !is_master && facts.master.is_none() && !is_empty
    }

    /// Whether another node of these replicates it.
    fn leads(&self, n: usize) -> bool {
        let id = &self.facts[n].id;
        let mut others = self.facts.iter();
        others.any(|other| other.master.as_ref() == Some(id))
    }

    /// The node at the place that this one replicates.
    fn master_of(&self, n: usize) -> Option<usize> {
        let master = self.facts[n].master.as_ref()?;
        self.facts.iter().position(|of| of.id == *master)
    }

    /// A master gets the slots that its keys have not brought.
    fn give_slots(&self, n: usize, master: &Master) -> Result<Option<Step>, String> {
        let of = &self.facts[n];
        if of.master.is_some() {
            // A failover since an earlier run of this command.
            let now = self.master_of(n).map(|m| &self.facts[m].slots);
            return match now == Some(&master.slots) {
                true => Ok(None),
                false => Err("it is a replica, and was to be a master".to_owned()),
            };
        }
        let strange = of.slots.without(&master.slots);
        if let Some(first) = strange.iter().next() {
            return Err(format!(
                "it has {} slots (the first is {first}), which are not of its file {}",
                strange.len(),
                master.path.display()
            ));
        }
        let missing = master.slots.without(&of.slots);
        if missing.is_empty() {
            return Ok(None);
        }
        let kept = master.keys - master.mortal..=master.keys;
        if !master.used.without(&of.slots).is_empty() || !kept.contains(&of.keys) {
            return Err(format!(
                "it has {} keys, and {} has {}: end it, empty its dir, put the file there as dump.rdb, and start it",
                of.keys,
                master.path.display(),
                master.keys
            ));
        }
        let ends = missing.ranges().into_iter();
        let ends = ends.flat_map(|(first, last)| [first.to_string(), last.to_string()]);
        let text = format!(
            "{}: slots {}",
            self.places[n].address,
            ranges(&master.slots)
        );
        Ok(Some(step(
            n,
            &["CLUSTER", "ADDSLOTSRANGE"],
            ends.collect(),
            text,
        )))
    }

    /// As redis-cli does it, before the nodes meet: of two with one epoch one would have to find another.
    fn set_epochs(&self) -> Vec<Step> {
        let alone = |n: &usize| self.facts[*n].others.is_empty() && self.facts[*n].epoch == 0;
        let is_master = |n: &usize| matches!(self.places[*n].role, Role::Master(_));
        let set = |n: usize| {
            let epoch = (n + 1).to_string();
            let text = format!("{}: config epoch {epoch}", self.places[n].address);
            step(n, &["CLUSTER", "SET-CONFIG-EPOCH"], vec![epoch], text)
        };
        let places = 0..self.places.len();
        places.filter(is_master).filter(alone).map(set).collect()
    }

    /// The first node meets all that it does not know.
    fn meet(&self) -> Vec<Step> {
        let first = &self.facts[0];
        let unknown = (1..self.facts.len()).filter(|n| !first.others.contains(&self.facts[*n].id));
        let meet = |n: usize| {
            let of = &self.facts[n];
            let text = format!(
                "{}: meets {}",
                self.places[0].address, self.places[n].address
            );
            step(
                0,
                &["CLUSTER", "MEET"],
                vec![of.ip.clone(), of.port.to_string()],
                text,
            )
        };
        unknown.map(meet).collect()
    }

    fn attach(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for (n, place) in self.places.iter().enumerate() {
            let Role::ReplicaOf(of) = place.role else {
                continue;
            };
            // After a failover it may be the master, or another one's replica.
            if self.master_of(n).is_some() || self.leads(n) {
                continue;
            }
            let master = match &self.facts[of].master {
                Some(master) => master.clone(),
                None => self.facts[of].id.clone(),
            };
            let text = format!("{}: replica of {}", place.address, self.places[of].address);
            steps.push(step(n, &["CLUSTER", "REPLICATE"], vec![master], text));
        }
        steps
    }

    /// All is said; the cluster has to come to it.
    fn settle(&self) -> Next {
        let whole = self.backup.slots().len() == usize::from(SLOT_COUNT);
        for (place, of) in self.places.iter().zip(self.facts) {
            if of.master.is_some() && !of.link_up {
                return Next::Wait(format!("waiting until the replica {} is up", place.address));
            }
            if whole && !of.state_ok {
                return Next::Wait(format!("waiting for cluster_state:ok at {}", place.address));
            }
        }
        let keys: u64 = self
            .facts
            .iter()
            .filter(|of| of.master.is_none())
            .map(|of| of.keys)
            .sum();
        Next::Done(match whole {
            true => format!("The cluster is restored: cluster_state:ok, {keys} keys"),
            false => format!(
                "The nodes are a cluster with {keys} keys; slots that no master had are not served"
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::SlotSet;
    use std::path::PathBuf;

    fn backup() -> Backup {
        let master = |n: usize, slots: std::ops::RangeInclusive<u16>, used: u16| Master {
            path: PathBuf::from(format!("{n}.rdb")),
            slots: slots.collect(),
            keys: 10,
            mortal: 2,
            used: [used].into_iter().collect(),
        };
        Backup {
            masters: vec![master(0, 0..=7999, 7), master(1, 8000..=16383, 9000)],
            ..Backup::default()
        }
    }

    /// Two masters that have begun with their files, and two empty nodes.
    fn begun() -> Vec<Facts> {
        let node = |n: u16, keys: u64, slots: &[u16]| Facts {
            id: format!("id{n}"),
            ip: "10.0.0.1".to_owned(),
            port: 7000 + n,
            keys,
            slots: slots.iter().copied().collect(),
            ..Facts::default()
        };
        vec![
            node(0, 10, &[7]),
            node(1, 8, &[9000]),
            node(2, 0, &[]),
            node(3, 0, &[]),
        ]
    }

    fn nodes() -> Vec<Place> {
        let nodes: Vec<String> = (0..4).map(|n| format!("h:{}", 7000 + n)).collect();
        places(&backup(), &nodes).unwrap()
    }

    /// Plays nodes that do what they are told, until nothing is left.
    fn carry_out(facts: &mut [Facts]) -> Vec<String> {
        let mut said = Vec::new();
        for _ in 0..20 {
            match next(&backup(), &nodes(), facts) {
                Next::Done(_) => return said,
                Next::Do(steps) => {
                    for step in steps {
                        said.push(step.command.join(" "));
                        play(facts, &step);
                    }
                }
                Next::Wait(text) => {
                    said.push(text);
                    let ids: BTreeSet<String> = facts.iter().map(|of| of.id.clone()).collect();
                    for of in facts.iter_mut() {
                        of.others = ids.clone();
                        of.others.remove(&of.id);
                        (of.state_ok, of.link_up) = (true, true);
                    }
                }
                other => panic!("{other:?}"),
            }
        }
        panic!("it does not end: {said:?}");
    }

    fn play(facts: &mut [Facts], step: &Step) {
        let words: Vec<&str> = step.command.iter().map(String::as_str).collect();
        match words[1] {
            "ADDSLOTSRANGE" => {
                for ends in words[2..].chunks(2) {
                    let (a, b) = (ends[0].parse::<u16>().unwrap(), ends[1].parse().unwrap());
                    facts[step.node].slots.unite(&(a..=b).collect::<SlotSet>());
                }
            }
            "SET-CONFIG-EPOCH" => facts[step.node].epoch = words[2].parse().unwrap(),
            "MEET" => {
                let port: u16 = words[3].parse().unwrap();
                let id = facts.iter().find(|of| of.port == port).unwrap().id.clone();
                facts[0].others.insert(id);
            }
            "REPLICATE" => facts[step.node].master = Some(words[2].to_owned()),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn files_become_a_cluster_step_by_step() {
        let mut facts = begun();
        let said = carry_out(&mut facts);
        assert_eq!(
            said,
            [
                "CLUSTER ADDSLOTSRANGE 0 6 8 7999",
                "CLUSTER ADDSLOTSRANGE 8000 8999 9001 16383",
                "CLUSTER SET-CONFIG-EPOCH 1",
                "CLUSTER SET-CONFIG-EPOCH 2",
                "CLUSTER MEET 10.0.0.1 7001",
                "CLUSTER MEET 10.0.0.1 7002",
                "CLUSTER MEET 10.0.0.1 7003",
                "waiting until h:7001 knows all other nodes",
                "CLUSTER REPLICATE id0",
                "CLUSTER REPLICATE id1",
            ]
        );
        // A second run finds nothing to do, also after writes and a failover.
        facts[0].keys = 500;
        let (master, replica) = (facts[0].clone(), &mut facts[2]);
        (replica.master, replica.slots) = (None, master.slots.clone());
        (facts[0].master, facts[0].slots) = (Some("id2".to_owned()), SlotSet::default());
        assert_eq!(carry_out(&mut facts), Vec::<String>::new());
    }

    #[test]
    fn a_node_with_something_else_is_refused() {
        type Change = fn(&mut [Facts]);
        let table: [(Change, &str); 9] = [
            (|f| f[0].keys = 7, "it has 7 keys"),
            (|f| f[0].keys = 11, "it has 11 keys"),
            (
                |f| f[1].slots = SlotSet::default(),
                "put the file there as dump.rdb",
            ),
            (|f| f.swap(0, 1), "which are not of its file"),
            (
                |f| f[2].others = BTreeSet::from(["x".to_owned()]),
                "is not among --nodes",
            ),
            (|f| f[3].id = "id2".to_owned(), "names a node twice"),
            (|f| f[2].keys = 1, "replicas begin empty"),
            (
                |f| f[3].slots = [9000].into_iter().collect(),
                "replicas begin empty",
            ),
            (
                |f| f[0].master = Some("id1".to_owned()),
                "was to be a master",
            ),
        ];
        for (change, want) in table {
            let mut facts = begun();
            change(&mut facts);
            let Next::Refused(why) = next(&backup(), &nodes(), &facts) else {
                panic!("{want}");
            };
            assert!(why.contains(want), "{why}");
        }
    }

    #[test]
    fn what_loads_is_waited_for() {
        let mut facts = begun();
        facts[1] = Facts {
            loading: true,
            ..Facts::default()
        };
        let found = next(&backup(), &nodes(), &facts);
        assert_eq!(found, Next::Loads("h:7001 loads its keys".to_owned()));
    }

    #[test]
    fn replicas_are_spread_over_the_masters() {
        let nodes: Vec<String> = (0..7).map(|n| n.to_string()).collect();
        let roles: Vec<Role> = places(&backup(), &nodes)
            .unwrap()
            .iter()
            .map(|p| p.role)
            .collect();
        use Role::{Master, ReplicaOf};
        let of = [0, 1, 0, 1, 0].map(ReplicaOf);
        assert_eq!(roles[..2], [Master(0), Master(1)]);
        assert_eq!(roles[2..], of);
        places(&backup(), &nodes[..1]).unwrap_err();
        places(&backup(), &["a".to_owned(), "a".to_owned()]).unwrap_err();
    }
}
