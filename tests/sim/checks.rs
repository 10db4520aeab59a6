//! What must hold at every moment, looked at after every turn.
//!
//! Owns: digests and terms by applied index, for the comparison between members and with the past.
//! Lease: at no moment of true time do two members hold a valid one (E3).

use std::collections::{BTreeMap, BTreeSet};

use holdfast::mutation::{self, Mutation};

use crate::clock::{True, MS};
use crate::member::MEMBERS;
use crate::world::World;

#[derive(Default)]
pub struct Checks {
    /// Applied index -> keyspace digest, and who had it first.
    digests: BTreeMap<u64, ([u8; 20], usize)>,
    /// Applied index -> the entry's term.
    terms: BTreeMap<u64, (u64, usize)>,
    /// Term -> its leader.
    leaders: BTreeMap<u64, usize>,
}

impl Checks {
    pub fn leaders(&self) -> usize {
        self.leaders.len()
    }

    /// All run, none has a tail, all have applied the same.
    pub fn have_converged(w: &World) -> bool {
        let mut applied = BTreeSet::new();
        for member in &w.members {
            let Some(process) = &member.process else {
                return false;
            };
            let shard = &process.shard;
            if shard.tail_len() > 0 || shard.is_rebuilding() {
                return false;
            }
            applied.insert((
                shard.group().applied(),
                shard.data().keyspace().digest_all(),
            ));
        }
        applied.len() == 1
    }
}

impl World {
    /// Looks at member `m` after its turn, which ended at `end`.
    pub(crate) fn look(&mut self, m: usize, end: True) -> Result<(), String> {
        self.look_at_leader(m)?;
        self.look_at_leases(end)?;
        self.look_at_applied(m)
    }

    fn look_at_leader(&mut self, m: usize) -> Result<(), String> {
        let Some(process) = &self.members[m].process else {
            return Ok(());
        };
        let group = process.shard.group();
        if !group.is_leader() {
            return Ok(());
        }
        let (term, now) = (group.term(), self.now);
        let before = *self.checks.leaders.entry(term).or_insert_with(|| {
            self.trace.say(now, || format!("m{m} leads term {term}"));
            m
        });
        if before != m {
            return Err(format!(
                "two leaders in term {term}: members {before} and {m}"
            ));
        }
        Ok(())
    }

    /// Whether the member would answer reads alone at this moment of true time.
    fn has_lease(&self, m: usize, at: True) -> bool {
        let member = &self.members[m];
        let Some(process) = &member.process else {
            return false;
        };
        let group = process.shard.group();
        let transferring = group.is_transferring() && !mutation::is(Mutation::TransferKeepsLease);
        if !group.is_leader() || transferring {
            return false;
        }
        let now = member.clock.mono(at);
        let length = group.election_timeout() * 9 / 10;
        group
            .quorum_echo(now)
            .is_some_and(|echo| echo + length > now)
    }

    fn look_at_leases(&self, end: True) -> Result<(), String> {
        let holders: Vec<usize> = (0..MEMBERS).filter(|m| self.has_lease(*m, end)).collect();
        if holders.len() > 1 {
            let all: Vec<String> = holders.iter().map(|m| self.describe(*m)).collect();
            return Err(format!(
                "two valid leases at {} ms of true time:\n  {}",
                end / MS,
                all.join("\n  ")
            ));
        }
        Ok(())
    }

    fn look_at_applied(&mut self, m: usize) -> Result<(), String> {
        let member = &mut self.members[m];
        let Some(process) = &member.process else {
            return Ok(());
        };
        let (shard, group) = (&process.shard, process.shard.group());
        let applied = group.applied();
        let from = member.seen_applied;
        // T7: a follower may show what it has to READONLY clients; a leader's tail is its own.
        let leads = shard.group().is_leader();
        let shows = shard.is_own_copy() && !(leads && shard.tail_len() > 0);
        if !shows || applied == from {
            return Ok(());
        }
        member.seen_applied = applied;
        for index in from.max(1)..=applied {
            let Some(term) = group.term_at(index) else {
                continue;
            };
            let (first, by) = *self.checks.terms.entry(index).or_insert((term, m));
            if first != term {
                return Err(format!(
                    "applied prefixes differ at {index}: term {first} at member {by}, {term} at {m}"
                ));
            }
        }
        let digest = shard.data().keyspace().digest_all();
        self.trace.mix_bytes(&digest);
        let (first, by) = *self.checks.digests.entry(applied).or_insert((digest, m));
        if first != digest {
            return Err(format!(
                "keyspaces differ at applied index {applied}: members {by} and {m}"
            ));
        }
        Ok(())
    }
}
