//! A process small enough for tests: one group of one, a clock that is set by hand.
//!
//! Owns: [`Fixture`], on which tests of every family run commands and look at the bytes.

mod fake_cluster;

pub use fake_cluster::FakeCluster;

use super::api::{
    ClientView, ClusterApi, IoView, KillFilter, OutsideApi, ProcessView, RaftStatus, SavingView,
    ServerApi, Shutdown, SnapshotKind, Unblock,
};
use super::env::{Env, Flow, Outcome, Serving};
use super::session::{Endpoint, Session};
use super::stats::Stats;
use super::table::table;
use base::clock::{Mono, Now};
use base::ids::BatchSeq;
use config::{Config, ConfigError};
use keyspace::{Keyspace, Layout};
use pubsub::{Registry, Subscriber};
use resp::args::Args;
use resp::Proto;
use state::GateKind;
use state::StateMachine;
use state::{begins_batch, PART_BYTES};

/// A moment with nothing special about it.
pub const START_MS: i64 = 1_700_000_000_000;

pub struct TestServer {
    pub config: Config,
    pub stats: Stats,
    pub now: Now,
    pub breaths: u64,
    pub cluster: Option<FakeCluster>,
    /// What is outside where there is no cluster.
    pub alone: FakeCluster,
    pub run_id: String,
    pub pubsub: Registry,
    pub saving: SavingView,
    pub ordered: Vec<SnapshotKind>,
    /// Whether a snapshot comes before the reload that was ordered.
    pub reload: Option<bool>,
}

impl TestServer {
    pub fn new(config: Config, now: Now) -> TestServer {
        TestServer {
            config,
            stats: Stats::new(table().all().len()),
            now,
            breaths: 0,
            cluster: None,
            alone: FakeCluster::default(),
            run_id: String::new(),
            pubsub: Registry::new(),
            saving: SavingView::default(),
            ordered: Vec::new(),
            reload: None,
        }
    }
}

impl ServerApi for TestServer {
    fn config(&self) -> &Config {
        &self.config
    }
    fn config_set(&mut self, pairs: &[(&[u8], &[u8])], local: bool) -> Result<(), ConfigError> {
        let _ = (pairs, local);
        Ok(())
    }
    fn config_rewrite(&mut self) -> Result<(), ConfigError> {
        Ok(())
    }
    fn process(&self) -> ProcessView {
        ProcessView {
            run_id: self.run_id.clone(),
            ..ProcessView::default()
        }
    }
    fn set_active_expire(&mut self, _on: bool) {}
    fn pause_cron(&mut self, _paused: bool) {}
    fn log(&mut self, _text: &str) {}
    fn stats(&self) -> &Stats {
        &self.stats
    }
    fn stats_mut(&mut self) -> &mut Stats {
        &mut self.stats
    }
    fn for_each_client(&self, _visit: &mut dyn FnMut(&ClientView<'_>)) {}
    fn own_io(&self) -> IoView {
        IoView::default()
    }
    fn kill_clients(&mut self, _filter: &KillFilter) -> usize {
        0
    }
    fn unblock(&mut self, _client: u64, _how: Unblock) -> bool {
        false
    }
    fn pubsub(&self) -> &Registry {
        &self.pubsub
    }
    fn pubsub_mut(&mut self) -> &mut Registry {
        &mut self.pubsub
    }
    fn own_subscriber(&self) -> Subscriber {
        Subscriber(1)
    }
    fn publish(&mut self, sharded: bool, channel: &[u8], _message: &[u8], _own: Proto) -> usize {
        let mut count = 0;
        let mut each = |_: Subscriber, _: Option<&[u8]>| count += 1;
        self.pubsub.for_each_receiver(sharded, channel, &mut each);
        count
    }
    fn raft_status(&self) -> RaftStatus {
        RaftStatus::default()
    }
    fn cluster(&mut self) -> Option<&mut dyn ClusterApi> {
        Some(self.cluster.as_mut()?)
    }
    fn outside(&mut self) -> &mut dyn OutsideApi {
        match &mut self.cluster {
            Some(cluster) => cluster,
            None => &mut self.alone,
        }
    }
    fn saving(&self) -> SavingView {
        self.saving
    }
    fn order_snapshot(&mut self, kind: SnapshotKind, _by: &'static str, _at_once: bool) -> u64 {
        self.ordered.push(kind);
        self.ordered.len() as u64
    }
    fn order_download(&mut self) -> u64 {
        self.ordered.push(SnapshotKind::Download);
        self.ordered.len() as u64
    }
    fn order_reload(&mut self, save: bool) -> bool {
        self.reload.replace(save).is_none()
    }
    fn admit_replica(&mut self, _replica: &str) -> bool {
        true
    }
    fn synced_acks(&self, _batch: BatchSeq) -> (bool, u64) {
        (true, 0)
    }
    fn replica_acks(&self, _batch: BatchSeq) -> u64 {
        0
    }
    fn request_shutdown(&mut self, _options: Shutdown) -> Result<(), String> {
        Ok(())
    }
    fn rest(&mut self, _time: std::time::Duration) {}
    fn allocator_report(&self) -> String {
        String::new()
    }
    fn purge_memory(&mut self) -> bool {
        true
    }

    fn breathe(&mut self) {
        self.breaths += 1;
    }
    fn now(&self) -> Now {
        self.now
    }
}

pub struct Fixture {
    pub data: StateMachine,
    pub session: Session,
    pub host: TestServer,
    pub serving: Serving<'static>,
    /// None: every slot is for this node.
    pub routing: Option<topology::Routing>,
    /// The batch of the next command: each runs in a turn of its own.
    pub next_batch: BatchSeq,
    /// D5: the bytes of effects that a turn may have.
    pub grant: usize,
    /// Bodies of all entries so far.
    pub log: Vec<Vec<u8>>,
    /// Commands have been held for as long as they may be.
    pub overdue: bool,
}

pub fn single() -> Layout {
    Layout::Single { databases: 16 }
}

impl Fixture {
    pub fn new(layout: Layout) -> Fixture {
        let now = Now {
            mono: Mono(1),
            unix_ms: START_MS,
            ..Now::default()
        };
        Fixture {
            data: StateMachine::new(Keyspace::new(layout, 1), PART_BYTES),
            session: session(1),
            host: TestServer::new(Config::default(), now),
            grant: usize::MAX,
            routing: None,
            serving: Serving::Lead { writable: true },
            next_batch: BatchSeq(1),
            log: Vec::new(),
            overdue: false,
        }
    }

    /// Runs a command in a turn of its own.
    pub fn outcome<A: AsRef<[u8]>>(&mut self, args: &[A]) -> (Vec<u8>, Outcome) {
        let mut session = std::mem::replace(&mut self.session, session(0));
        let result = self.outcome_as(&mut session, args);
        self.session = session;
        result
    }

    pub fn outcome_as<A: AsRef<[u8]>>(
        &mut self,
        session: &mut Session,
        args: &[A],
    ) -> (Vec<u8>, Outcome) {
        let args: Vec<&[u8]> = args.iter().map(AsRef::as_ref).collect();
        let writable = self.serving == Serving::Lead { writable: true };
        let now = self.host.now;
        self.data
            .begin_turn(self.next_batch, now.unix_ms, writable, self.grant);
        let mut out = Vec::new();
        let mut env = Env {
            data: &mut self.data,
            session,
            server: &mut self.host,
            out: &mut out,
            serving: self.serving,
            routing: self.routing.as_ref(),
            commands: table(),
            now,
            overdue: self.overdue,
        };
        let outcome = super::execute(&mut env, Args::from(args.as_slice()));
        let batch = self.data.take_batch();
        assert_eq!(
            batch.is_some(),
            outcome.gate == GateKind::Write,
            "T3: {outcome:?}"
        );
        if let Some(bodies) = batch {
            let begun = bodies.iter().filter(|body| begins_batch(body)).count();
            self.next_batch = self.next_batch.plus(begun as u64);
            self.log.extend(bodies);
        }
        if outcome.flow == Flow::Hold {
            assert!(out.is_empty(), "a command that waits has replied");
        }
        (out, outcome)
    }

    /// The reply's bytes, as text.
    pub fn run<A: AsRef<[u8]>>(&mut self, args: &[A]) -> String {
        let (out, _) = self.outcome(args);
        String::from_utf8_lossy(&out).into_owned()
    }

    pub fn run_as<A: AsRef<[u8]>>(&mut self, session: &mut Session, args: &[A]) -> String {
        let (out, _) = self.outcome_as(session, args);
        String::from_utf8_lossy(&out).into_owned()
    }

    /// Runs a line whose words are separated by spaces.
    pub fn line(&mut self, line: &str) -> String {
        self.run(&line.split(' ').collect::<Vec<_>>())
    }

    /// Runs each line and compares each reply.
    pub fn expect(&mut self, lines: &[(&str, &str)]) {
        for (line, want) in lines {
            assert_eq!(self.line(line), *want, "reply to {line}");
        }
    }

    pub fn advance(&mut self, ms: i64) {
        self.host.now.unix_ms += ms;
        let ns = u64::try_from(ms).expect("time goes forwards") * 1_000_000;
        self.host.now.mono = Mono(self.host.now.mono.0 + ns);
    }
}

pub fn session(id: u64) -> Session {
    Session::new(id, Endpoint::default(), Mono(1), true)
}
