//! Profiles of one shard, or of one node: what each leans on.

use super::{Fault, Plan};
use crate::net::Weather;
use crate::rng::Rng;
use ::config::AppendFsync;

/// One shard, or one node.
impl Plan {
    pub(super) fn shard_mixed(&mut self) {
        self.name = "mixed";
        self.stop_p = 0.001;
        self.fault_every = self.t() / 2;
        self.weather = Weather {
            drop_p: 0.01,
            double_p: 0.01,
            slow_p: 0.02,
            slow_us: 20_000,
            ..Weather::FAIR
        };
        self.faults = vec![
            (Fault::Kill, 2),
            (Fault::Power, 2),
            (Fault::PowerAll, 1),
            (Fault::Fuse, 2),
            (Fault::Stop, 2),
            (Fault::StopInTurn, 2),
            (Fault::OneWay, 2),
            (Fault::Isolate, 3),
            (Fault::IsolateClients, 1),
            (Fault::Break, 2),
            (Fault::SlowDisk, 2),
            (Fault::FullDisk, 1),
            (Fault::SyncError, 1),
            (Fault::Failover, 2),
            (Fault::Clock, 1),
        ];
    }

    pub(super) fn liars(&mut self) {
        self.name = "liars";
        self.liar = Some(0);
        self.fault_every = self.t() / 2;
        self.faults = vec![
            (Fault::Kill, 2),
            (Fault::Isolate, 2),
            (Fault::Break, 1),
            (Fault::Failover, 3),
            (Fault::SlowDisk, 1),
        ];
    }

    pub(super) fn shard_partitions(&mut self) {
        self.name = "partitions";
        self.faults = vec![
            (Fault::Isolate, 5),
            (Fault::OneWay, 4),
            (Fault::IsolateClients, 1),
            (Fault::Break, 2),
            (Fault::Failover, 1),
        ];
    }

    pub(super) fn stops(&mut self) {
        self.name = "stops";
        self.stop_p = 0.003;
        self.taste.reads = 0.7;
        self.fault_every = self.t() / 3;
        self.faults = vec![
            (Fault::Stop, 4),
            (Fault::StopInTurn, 10),
            (Fault::Isolate, 1),
            (Fault::Clock, 1),
        ];
    }

    pub(super) fn crashes(&mut self) {
        self.name = "crashes";
        self.fault_every = self.t() / 2;
        self.faults = vec![
            (Fault::Kill, 6),
            (Fault::Fuse, 6),
            (Fault::Isolate, 1),
            (Fault::Break, 1),
        ];
    }

    pub(super) fn power(&mut self, rng: &mut Rng) {
        self.name = "power";
        self.sync_us = 2000;
        if rng.chance(0.5) {
            // Records of one size, and power that fails again soon: what was written after a cut
            // then ends where an old record begins.
            self.taste.padding = 0;
            self.taste.transactions = 0.0;
            self.taste.expiry = 0.0;
            self.taste.reads = 0.1;
            // Most writes here are of unknown outcome: among more keys an order of them can be found.
            self.taste.groups = 8;
            self.dies_again_p = 0.6;
            self.fault_every = self.t() / 2;
        }
        self.faults = vec![
            (Fault::Power, 5),
            (Fault::PowerAll, 4),
            (Fault::Fuse, 3),
            (Fault::Isolate, 1),
        ];
    }

    pub(super) fn shard_disks(&mut self) {
        self.name = "disks";
        self.faults = vec![
            (Fault::SlowDisk, 5),
            (Fault::FullDisk, 3),
            (Fault::SyncError, 2),
            (Fault::Power, 2),
            (Fault::Fuse, 2),
        ];
    }

    pub(super) fn shard_transfers(&mut self) {
        self.name = "transfers";
        self.fault_every = self.t() / 3;
        self.faults = vec![
            (Fault::Failover, 10),
            (Fault::OneWay, 2),
            (Fault::Break, 3),
            (Fault::Stop, 2),
            (Fault::StopInTurn, 2),
            (Fault::SlowDisk, 1),
        ];
        self.weather = Weather {
            double_p: 0.02,
            slow_p: 0.05,
            slow_us: 50_000,
            ..Weather::FAIR
        };
    }

    pub(super) fn network(&mut self) {
        self.name = "network";
        self.fault_every = self.t() / 2;
        self.weather = Weather {
            delay_us: 1000,
            drop_p: 0.05,
            double_p: 0.05,
            slow_p: 0.1,
            slow_us: 40_000,
        };
        self.faults = vec![
            (Fault::Break, 6),
            (Fault::OneWay, 3),
            (Fault::Isolate, 1),
            (Fault::Failover, 1),
        ];
    }

    pub(super) fn expiry(&mut self) {
        self.name = "expiry";
        self.taste.expiry = 0.6;
        self.taste.ttl_ms = self.t_ms / 2;
        self.faults = vec![
            (Fault::Stop, 1),
            (Fault::Isolate, 2),
            (Fault::Kill, 1),
            (Fault::FullDisk, 1),
            (Fault::Clock, 2),
        ];
    }

    pub(super) fn promises(&mut self, rng: &mut Rng) {
        self.name = "promises";
        if rng.chance(0.6) {
            // Hardly any writes: a member that missed one is not elected, whoever votes for it.
            self.taste.reads = 0.98;
            self.taste.transactions = 0.0;
            self.taste.expiry = 0.0;
            self.manner.think_us = 20_000;
        }
        self.safety = 24 * self.t();
        self.fault_every = 3 * self.t();
        self.faults = vec![(Fault::ForgetfulFollower, 2), (Fault::LateTransfer, 3)];
    }

    pub(super) fn catching_up(&mut self) {
        self.name = "catching up";
        self.taste.padding = 6000;
        self.taste.reads = 0.2;
        self.sync_us = 2000;
        self.fault_every = 3 * self.t();
        self.faults = vec![(Fault::PowerWhileCatchingUp, 4), (Fault::Power, 1)];
    }

    pub(super) fn calm(&mut self) {
        self.name = "calm";
        self.safety = 6 * self.t();
        self.fault_every = 2 * self.t();
        self.faults = vec![(Fault::Isolate, 1), (Fault::Kill, 1), (Fault::Power, 1)];
    }

    /// Disks that end nothing for longer than an election takes.
    pub(super) fn hung_disks(&mut self) {
        self.name = "hung disks";
        self.safety = 24 * self.t();
        self.fault_every = 2 * self.t();
        self.faults = vec![
            (Fault::HungDisk, 6),
            (Fault::SlowDisk, 2),
            (Fault::FullDisk, 3),
            (Fault::FullDisks, 1),
            (Fault::Kill, 1),
            (Fault::Failover, 2),
            (Fault::Isolate, 1),
        ];
    }

    /// Acknowledged before the sync: what a killed process has acknowledged is there all the same.
    pub(super) fn relaxed(&mut self, rng: &mut Rng) {
        self.name = "relaxed sync";
        self.appendfsync = Some(*rng.pick(&[AppendFsync::Everysec, AppendFsync::No]));
        self.fault_every = self.t() / 2;
        self.faults = vec![
            (Fault::Kill, 6),
            (Fault::SlowDisk, 3),
            (Fault::HungDisk, 1),
            (Fault::FullDisk, 1),
            (Fault::Stop, 1),
            (Fault::Shutdown, 2),
        ];
    }

    pub(super) fn shutdowns(&mut self) {
        self.name = "shutdowns";
        self.faults = vec![
            (Fault::Shutdown, 6),
            (Fault::Kill, 1),
            (Fault::SlowDisk, 2),
            (Fault::Isolate, 1),
            (Fault::Failover, 1),
        ];
    }
}
