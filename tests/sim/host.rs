//! The process around a command, as far as the simulator's clients can ask for it.

use holdfast::clock::{Clock, Now};
use holdfast::command::env::Shutdown;
use holdfast::command::host::{ClientView, IoView, KillFilter, ProcessView, RaftStatus};
use holdfast::command::{Host, Stats};
use holdfast::config::{Config, ConfigError};
use holdfast::pubsub::{Registry, Subscriber};
use holdfast::resp::Proto;

use crate::clock::TurnClock;

pub struct SimHost<'a> {
    pub config: &'a Config,
    pub stats: &'a mut Stats,
    pub clock: &'a TurnClock<'a>,
    /// Nobody subscribes in a simulation; commands may ask all the same.
    pub pubsub: Registry,
}

impl Host for SimHost<'_> {
    fn config(&self) -> &Config {
        self.config
    }

    fn config_set(&mut self, _: &[(&[u8], &[u8])], _local: bool) -> Result<(), ConfigError> {
        Err(ConfigError::NoConfigFile)
    }

    fn config_rewrite(&mut self) -> Result<(), ConfigError> {
        Err(ConfigError::NoConfigFile)
    }

    fn process(&self) -> ProcessView {
        ProcessView::default()
    }

    fn set_active_expire(&mut self, _on: bool) {}

    fn log(&mut self, _text: &str) {}

    fn stats(&self) -> &Stats {
        self.stats
    }

    fn stats_mut(&mut self) -> &mut Stats {
        self.stats
    }

    fn for_each_client(&self, _visit: &mut dyn FnMut(&ClientView<'_>)) {}

    fn own_io(&self) -> IoView {
        IoView::default()
    }

    fn kill_clients(&mut self, _filter: &KillFilter) -> usize {
        0
    }

    fn pubsub(&self) -> &Registry {
        &self.pubsub
    }

    fn pubsub_mut(&mut self) -> &mut Registry {
        &mut self.pubsub
    }

    fn own_subscriber(&self) -> Subscriber {
        Subscriber::default()
    }

    fn publish(&mut self, _sharded: bool, _channel: &[u8], _message: &[u8], _own: Proto) -> usize {
        0
    }

    fn raft_status(&self) -> RaftStatus {
        RaftStatus::default()
    }

    fn replica_acks(&self, _batch: u64) -> u64 {
        0
    }

    fn request_shutdown(&mut self, _options: Shutdown) -> Result<(), String> {
        Err("not in a simulation".to_string())
    }

    fn breathe(&mut self) {}

    fn now(&self) -> Now {
        self.clock.now()
    }
}
