//! What commands may ask of this process: configuration, counters, clients, the group.

use super::client::Client;
use super::clock::SystemClock;
use crate::clock::{Clock, Now};
use crate::command::env::Shutdown;
use crate::command::host::{
    ClientView, IoView, KillFilter, MemberKind, MemberStatus, RaftRole, RaftStatus,
};
use crate::command::{Host, Stats};
use crate::config::Config;
use crate::net::{Key, Slab};
use crate::raft::Role;
use crate::shard::Beside;
use crate::storage::RealDisk;

/// The node's state that commands can reach. A client whose command runs is out of the slab's
/// place for as long as it runs.
pub struct HostState {
    pub config: Config,
    pub stats: Stats,
    pub clients: Slab<Option<Box<Client>>>,
    pub clock: SystemClock,
    /// Clients that CLIENT KILL named, to be closed when the command is done.
    pub killed: Vec<Key>,
    pub shutdown: Option<Shutdown>,
    /// The settings that CONFIG SET has changed and the node still has to act upon.
    pub changed: Vec<&'static str>,
}

/// The host of one execution: the state, and the group beside the data.
pub struct TurnHost<'a> {
    pub state: &'a mut HostState,
    pub beside: Beside<'a, RealDisk>,
    pub own_io: IoView,
    /// The client is on this machine (protected settings ask).
    pub local: bool,
}

impl Host for TurnHost<'_> {
    fn config(&self) -> &Config {
        &self.state.config
    }

    fn config_set(&mut self, pairs: &[(&[u8], &[u8])]) -> Result<(), String> {
        super::settings::set(self.state, pairs, self.local)
    }

    fn stats(&self) -> &Stats {
        &self.state.stats
    }

    fn stats_mut(&mut self) -> &mut Stats {
        &mut self.state.stats
    }

    fn for_each_client(&self, visit: &mut dyn FnMut(&ClientView<'_>)) {
        for (_, client) in self.state.clients.iter() {
            if let Some(client) = client {
                visit(&ClientView { session: &client.session, io: client.io() });
            }
        }
    }

    fn own_io(&self) -> IoView {
        self.own_io
    }

    fn kill_clients(&mut self, filter: &KillFilter) -> usize {
        let now = self.now();
        let mut count = 0;
        for (key, client) in self.state.clients.iter_mut() {
            let Some(client) = client else { continue };
            if !client.doomed && filter.matches(&client.session, now) {
                client.doomed = true;
                self.state.killed.push(key);
                count += 1;
            }
        }
        count
    }

    fn raft_status(&self) -> RaftStatus {
        let group = &self.beside.group;
        let now = self.now().mono;
        let t = group.election_timeout();
        let last = group.last_index();
        let members: Vec<MemberStatus> = group
            .members()
            .into_iter()
            .map(|m| MemberStatus {
                raft_id: m.id,
                kind: MemberKind::Data,
                voter: m.voter,
                addr: None,
                matched: m.matched,
                applied: m.applied,
                heard_ms: m.heard.map(|at| now.since(at).as_millis() as u64),
            })
            .collect();
        let near = |m: &MemberStatus| {
            m.raft_id == group.id()
                || m.heard_ms.is_some_and(|ms| u128::from(ms) <= t.as_millis()) && m.matched == last
        };
        let ha = members.iter().filter(|m| m.voter).count() >= 3 && members.iter().all(near);
        RaftStatus {
            group: self.beside.log.base().group,
            incarnation: self.beside.log.base().incarnation,
            raft_id: group.id(),
            role: match group.role() {
                Role::Leader => RaftRole::Leader,
                Role::Follower => RaftRole::Follower,
                Role::PreCandidate | Role::Candidate => RaftRole::Candidate,
            },
            leader: group.leader(),
            leader_addr: None,
            term: group.term(),
            commit: group.commit(),
            applied: group.applied(),
            last,
            lease_valid: group.is_leader() && !group.is_transferring(),
            tail_entries: self.beside.tail_entries(),
            tail_bytes: self.beside.tail_bytes as u64,
            members,
            ha,
            unknown_outcomes: self.beside.unknown_outcomes,
            log_bytes: self.beside.log.end().0,
            log_segments: self.beside.log.segment_count() as u64,
        }
    }

    fn replica_acks(&self, batch: u64) -> u64 {
        self.beside.replica_acks(batch)
    }

    fn request_shutdown(&mut self, options: Shutdown) -> Result<(), String> {
        self.state.shutdown = Some(options);
        Ok(())
    }

    /// T9. A group of one member has nobody to keep awake.
    fn breathe(&mut self) {
        assert!(self.beside.group.is_alone(), "links to other members come with the cluster");
    }

    fn now(&self) -> Now {
        self.state.clock.now()
    }
}
