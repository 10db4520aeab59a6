//! What commands may ask of this process: configuration, counters, clients, the group.

use super::alone::Alone;
use super::blocking::Blocking;
use super::clients::Client;
use super::clustered::Clustered;
use super::downloads::Downloads;
use super::platform::Platform;
use super::pubsub::PubSub;
use super::reload::Reload;
use super::shutdown::Asked;
use super::snapshots::Snapshots;
use super::start::{Machine, Tuning};
use ::base::clock::{Clock, Mono, Now};
use ::base::ids::BatchSeq;
use command::api::{
    ClientView, ClusterApi, IoView, KillFilter, LoadingView, MemberKind, MemberStatus, OutsideApi,
    ProcessView, RaftRole, RaftStatus, Rates, SavingView, Shutdown, SnapshotKind, Unblock,
};
use command::{Commands, ServerApi, Stats};
use config::{Config, ConfigError};
use net::{ConnId, Slab};
use pubsub::{Registry, Subscriber};
use raft_group::Role;
use rand::rngs::StdRng;
use rand::RngCore;
use resp::Proto;
use shard::{GroupHandle, LoadProgress};
use std::time::Duration;
use storage::base::{self, Member};

/// A replica that has not answered for so long is not connected, though its link stands: Redis's
/// `repl-timeout`.
const REPLICA_TIMEOUT: Duration = Duration::from_secs(60);

/// The server's state that commands can reach. A client whose command runs is out of the slab's
/// place for as long as it runs.
pub struct ServerState<P: Platform> {
    pub platform: P,
    pub clock: P::Clock,
    pub config: Config,
    pub tuning: Tuning,
    /// The command table.
    pub commands: &'static Commands,
    pub stats: Stats,
    pub about: About,
    pub logger: slog::Logger,
    /// What raft-rs writes to.
    pub raft_logger: slog::Logger,
    pub rng: StdRng,
    /// DEBUG SET-ACTIVE-EXPIRE.
    pub active_expire: bool,
    /// DEBUG PAUSE-CRON.
    pub cron_paused: bool,
    pub clients: Slab<Option<Box<Client<P::Socket>>>>,
    /// Clients that CLIENT KILL named, to be closed when the command is done.
    pub killed: Vec<ConnId>,
    pub shutdown: Option<Asked>,
    /// The settings that CONFIG SET has changed and the server still has to act upon.
    pub changed: Vec<&'static str>,
    pub pubsub: PubSub,
    pub blocking: Blocking,
    pub snapshots: Snapshots,
    pub downloads: Downloads,
    /// DEBUG RELOAD.
    pub reload: Option<Reload>,
    /// The cluster around this node; none with `cluster-enabled no`.
    pub cluster: Option<Box<Clustered<P>>>,
    /// What it sends to other servers without a cluster.
    pub alone: Alone,
}

/// What INFO tells of the process.
pub struct About {
    pub run_id: String,
    pub started: Mono,
    pub started_unix: i64,
    pub machine: Machine,
    pub rates: Rates,
    /// The counters a second ago: commands, bytes in, bytes out.
    counted: (u64, u64, u64),
}

impl About {
    pub fn new(rng: &mut StdRng, now: Now, machine: Machine) -> About {
        let mut id = [0u8; 20];
        rng.fill_bytes(&mut id);
        About {
            run_id: id.iter().map(|byte| format!("{byte:02x}")).collect(),
            started: now.mono,
            started_unix: now.unix_ms / 1000,
            machine,
            rates: Rates::default(),
            counted: (0, 0, 0),
        }
    }

    /// Once a second: what has happened since.
    pub fn count(&mut self, stats: &Stats) {
        let (commands, input, output) = self.counted;
        self.counted = (
            stats.commands_processed,
            stats.net_input_bytes,
            stats.net_output_bytes,
        );
        self.rates = Rates {
            commands: self.counted.0.saturating_sub(commands),
            input_bytes: self.counted.1.saturating_sub(input),
            output_bytes: self.counted.2.saturating_sub(output),
        };
    }
}

impl<P: Platform> TurnApi<'_, P> {
    fn raft_role(&self) -> RaftRole {
        let group = &self.handle.group;
        match group.role() {
            Role::Leader => RaftRole::Leader,
            Role::Follower if !group.membership().is_voter(group.id()) => RaftRole::Learner,
            Role::Follower => RaftRole::Follower,
            Role::PreCandidate | Role::Candidate => RaftRole::Candidate,
        }
    }

    /// Every member; what only the leader knows of it is there on the leader alone.
    fn member_statuses(&self) -> Vec<MemberStatus> {
        let group = &self.handle.group;
        let core = self.state.cluster.as_ref().map(|c| &c.core);
        let now = self.now().mono;
        let seen = group.members();
        let status = |member: &Member| {
            let view = seen.iter().find(|m| m.id == member.raft_id);
            MemberStatus {
                raft_id: member.raft_id,
                node: member.node,
                kind: match member.kind {
                    base::MemberKind::Data => MemberKind::Data,
                    base::MemberKind::Witness => MemberKind::Witness,
                },
                voter: group.membership().is_voter(member.raft_id),
                addr: core.and_then(|a| a.client_addr_of(member.raft_id)),
                matched: view.map_or(0, |m| m.matched),
                applied: view.map_or(0, |m| m.applied),
                heard_ms: view
                    .and_then(|m| m.heard)
                    .map(|at| now.since(at).as_millis() as u64),
                connected: view.and_then(|m| m.heard).is_some_and(|at| {
                    let cluster = self.state.cluster.as_ref();
                    let cut = cluster.is_some_and(|c| c.is_cut_off(member.node));
                    !cut && now.since(at) < REPLICA_TIMEOUT
                }),
            }
        };
        group.membership().list.iter().map(status).collect()
    }
}

/// The host of one execution: the state, and the group beside the data.
pub struct TurnApi<'a, P: Platform> {
    pub state: &'a mut ServerState<P>,
    pub handle: GroupHandle<'a, P::Disk>,
    pub own_io: IoView,
    pub own_key: ConnId,
}

impl<P: Platform> ServerApi for TurnApi<'_, P> {
    fn config(&self) -> &Config {
        &self.state.config
    }

    fn config_set(&mut self, pairs: &[(&[u8], &[u8])], local: bool) -> Result<(), ConfigError> {
        super::settings::set(self.state, pairs, local)
    }

    fn config_rewrite(&mut self) -> Result<(), ConfigError> {
        self.state.platform.rewrite_config(&self.state.config)
    }

    fn process(&self) -> ProcessView {
        let about = &self.state.about;
        ProcessView {
            run_id: about.run_id.clone(),
            started: about.started,
            started_unix: about.started_unix,
            build: about.machine.build,
            supervised: about.machine.supervised,
            os: about.machine.os.clone(),
            executable: about.machine.executable.clone(),
            memory: self.state.platform.memory(),
            cpu: self.state.platform.cpu(),
            rates: about.rates,
        }
    }

    fn set_active_expire(&mut self, on: bool) {
        self.state.active_expire = on;
    }

    fn pause_cron(&mut self, paused: bool) {
        self.state.cron_paused = paused;
    }

    fn log(&mut self, text: &str) {
        slog::warn!(self.state.logger, "{}", text);
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
                visit(&ClientView {
                    session: &client.session,
                    io: client.io(),
                });
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

    fn unblock(&mut self, client: u64, how: Unblock) -> bool {
        let handle = &self.handle;
        let acks = |batch| handle.acks(batch);
        self.state.unblock(client, how, acks)
    }

    fn pubsub(&self) -> &Registry {
        &self.state.pubsub.registry
    }

    fn pubsub_mut(&mut self) -> &mut Registry {
        &mut self.state.pubsub.registry
    }

    fn own_subscriber(&self) -> Subscriber {
        Subscriber(self.own_key.bits())
    }

    fn publish(&mut self, sharded: bool, channel: &[u8], message: &[u8], own: Proto) -> usize {
        let own = (self.own_key, own);
        self.state.publish(sharded, channel, message, own)
    }

    fn raft_status(&self) -> RaftStatus {
        let handle = &self.handle;
        let group = &handle.group;
        let core = self.state.cluster.as_ref().map(|c| &c.core);
        let now = self.now();
        // A learner never forgets its leader of itself.
        let leader = group.leader().filter(|_| group.is_led(now));
        let addr_of = |raft_id| core.and_then(|a| a.client_addr_of(raft_id));
        RaftStatus {
            group: handle.log.identity().group,
            incarnation: handle.log.identity().incarnation,
            raft_id: group.id(),
            role: self.raft_role(),
            master: core.map(|a| a.is_master()),
            leader,
            leader_addr: leader.and_then(addr_of),
            master_addr: core.and_then(|a| a.master_addr()),
            leader_heard_ms: group
                .leader_silent_for(now)
                .map(|silent| silent.as_millis() as u64),
            electable: leader.is_some_and(|id| group.membership().could_elect(group.id(), id)),
            syncing_from: core.and_then(|a| a.joins_at()),
            term: group.term(),
            commit: group.commit(),
            applied: group.applied(),
            last: group.last_index(),
            lease_valid: handle.lease_valid(now),
            quorum: handle.has_quorum,
            disk_full: handle.is_disk_full,
            disk_kept: handle.log.kept(),
            tail_entries: handle.tail_entries(),
            tail_bytes: handle.tail_bytes as u64,
            members: self.member_statuses(),
            ha: match core {
                Some(core) => core.is_ha(),
                None => false,
            },
            unknown_outcomes: handle.unknown_outcomes,
            log_bytes: handle.log.kept_bytes(),
            log_unsynced: handle.log.durable() != handle.log.end(),
            log_segments: handle.log.segment_count() as u64,
            log_first: handle.log.first_index(),
            snapshot: handle.log.base().snapshot.index,
            pulled: core.and_then(|core| core.pulled()),
            loading: handle.loading.map(|load| loading_view(&load, now)),
        }
    }

    fn cluster(&mut self) -> Option<&mut dyn ClusterApi> {
        let cluster = self.state.cluster.as_deref_mut()?;
        Some(cluster)
    }

    fn outside(&mut self) -> &mut dyn OutsideApi {
        match &mut self.state.cluster {
            Some(cluster) => &mut **cluster,
            None => &mut self.state.alone,
        }
    }

    fn outside_connections(&self) -> usize {
        match &self.state.cluster {
            Some(cluster) => cluster.core.outside_connections(),
            None => self.state.alone.connections(),
        }
    }

    fn synced_acks(&self, batch: BatchSeq) -> (bool, u64) {
        let acks = self.handle.acks(batch);
        (acks.own, acks.synced)
    }

    fn replica_acks(&self, batch: BatchSeq) -> u64 {
        self.handle.replica_acks(batch)
    }

    fn saving(&self) -> SavingView {
        let file = &self.handle.log.base().snapshot.file;
        let view = self.state.snapshots.view(self.now().mono);
        SavingView {
            base_bytes: file.as_ref().map_or(0, |file| file.bytes),
            loaded_keys: self.handle.loaded_keys,
            rewrite_failed: view.rewrite_failed || self.handle.can_not_switch,
            ..view
        }
    }

    fn order_snapshot(&mut self, kind: SnapshotKind, by: &'static str, at_once: bool) -> u64 {
        self.state.order_snapshot(kind, by, at_once)
    }

    fn order_reload(&mut self, save: bool) -> bool {
        self.state.order_reload(save)
    }

    fn order_download(&mut self) -> u64 {
        self.state.order_download_snapshot()
    }

    fn admit_replica(&mut self, replica: &str) -> bool {
        let now = self.now().mono;
        self.state.downloads.admit(replica, now)
    }

    fn request_shutdown(&mut self, options: Shutdown) -> Result<(), String> {
        self.state.shutdown = Some(Asked {
            options,
            client: Some(self.own_key),
        });
        Ok(())
    }

    fn rest(&mut self, time: Duration) {
        self.state.platform.rest(time);
    }

    fn allocator_report(&self) -> String {
        self.state.platform.allocator_report()
    }

    fn purge_memory(&mut self) -> bool {
        self.state.platform.purge_memory()
    }

    /// T9: only a leader with followers must keep heartbeating during a long command.
    fn breathe(&mut self) {
        let group = &mut *self.handle.group;
        if let Some(cluster) = &mut self.state.cluster {
            if group.is_leader() && !group.is_alone() {
                cluster.breathe(group);
            }
        }
    }

    fn now(&self) -> Now {
        self.state.clock.now()
    }

    fn unix_micros(&self) -> i64 {
        self.state.clock.unix_micros()
    }
}

/// P20, as INFO tells it.
fn loading_view(load: &LoadProgress, now: Now) -> LoadingView {
    LoadingView {
        started_unix_s: u64::try_from(load.since.unix_ms / 1000).unwrap_or(0),
        total_bytes: load.total_bytes,
        loaded_bytes: load.loaded_bytes,
        elapsed: now.mono.since(load.since.mono),
        rdb_used_mem: 0,
    }
}
