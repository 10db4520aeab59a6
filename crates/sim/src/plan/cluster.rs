//! Profiles of a whole cluster: what each leans on.

use super::{Fault, Plan};
use crate::net::Weather;

/// A whole cluster.
impl Plan {
    pub(super) fn rough(&mut self) {
        self.weather = Weather {
            drop_p: 0.01,
            double_p: 0.01,
            slow_p: 0.01,
            slow_us: 20_000,
            ..Weather::FAIR
        };
    }

    pub(super) fn mixed(&mut self) {
        self.name = "mixed";
        self.rough();
        self.fault_every = self.t() / 2;
        self.faults = vec![
            (Fault::Kill, 2),
            (Fault::Power, 2),
            (Fault::PowerAll, 1),
            (Fault::Fuse, 2),
            (Fault::Stop, 2),
            (Fault::StopInTurn, 1),
            (Fault::OneWay, 2),
            (Fault::Isolate, 2),
            (Fault::Part, 2),
            (Fault::Break, 1),
            (Fault::SlowDisk, 1),
            (Fault::FullDisk, 1),
            (Fault::SyncError, 1),
            (Fault::Clock, 1),
            (Fault::Replicate, 3),
            (Fault::Failover, 3),
            (Fault::ResetSoft, 1),
            (Fault::ResetHard, 1),
            (Fault::Forget, 1),
            (Fault::ForgetAway, 1),
            (Fault::Wipe, 1),
            (Fault::WipeLog, 1),
            (Fault::AddNode, 1),
            (Fault::Regain, 1),
        ];
    }

    pub(super) fn members(&mut self) {
        self.name = "members";
        self.fault_every = self.t();
        self.operator_every = self.t();
        self.safety = 24 * self.t();
        self.faults = vec![
            (Fault::Replicate, 6),
            (Fault::Failover, 3),
            (Fault::ResetSoft, 2),
            (Fault::ResetHard, 2),
            (Fault::Forget, 2),
            (Fault::ForgetAway, 2),
            (Fault::AddNode, 2),
            (Fault::Regain, 3),
            (Fault::FullDisk, 1),
            (Fault::Kill, 1),
        ];
    }

    pub(super) fn crashes_in_changes(&mut self) {
        self.name = "crashes in changes";
        self.fault_every = self.t();
        self.operator_every = self.t();
        self.safety = 24 * self.t();
        self.dies_again_p = 0.3;
        self.faults = vec![
            (Fault::CrashInChange, 8),
            (Fault::Replicate, 2),
            (Fault::Failover, 1),
            (Fault::AddNode, 1),
            (Fault::ResetHard, 1),
            (Fault::PowerAll, 1),
        ];
    }

    pub(super) fn partitions(&mut self) {
        self.name = "partitions";
        self.faults = vec![
            (Fault::Isolate, 4),
            (Fault::OneWay, 4),
            (Fault::Part, 4),
            (Fault::Break, 2),
            (Fault::Failover, 2),
            (Fault::Replicate, 3),
        ];
    }

    pub(super) fn disks(&mut self) {
        self.name = "disks";
        self.safety = 24 * self.t();
        self.fault_every = 3 * self.t() / 2;
        self.operator_every = self.t();
        self.faults = vec![
            (Fault::Wipe, 4),
            (Fault::WipeLog, 4),
            (Fault::SlowDisk, 2),
            (Fault::FullDisk, 4),
            (Fault::SyncError, 2),
            (Fault::Replicate, 2),
            (Fault::Failover, 1),
            (Fault::Power, 2),
            (Fault::Kill, 2),
            (Fault::Isolate, 1),
        ];
    }

    pub(super) fn transfers(&mut self) {
        self.name = "transfers";
        self.fault_every = self.t();
        self.safety = 24 * self.t();
        self.faults = vec![
            (Fault::LateTransfer, 6),
            (Fault::Failover, 4),
            (Fault::StopInTurn, 1),
            (Fault::Regain, 2),
            (Fault::ResetSoft, 1),
            (Fault::Replicate, 1),
        ];
    }

    pub(super) fn forming(&mut self) {
        self.name = "forming";
        self.rough();
        self.faults_while_forming = true;
        self.fault_every = self.t() / 2;
        self.operator_every = self.t();
        self.faults = vec![
            (Fault::Kill, 3),
            (Fault::Fuse, 4),
            (Fault::Power, 2),
            (Fault::Part, 2),
            (Fault::Isolate, 1),
            (Fault::Break, 1),
        ];
    }

    pub(super) fn lagging(&mut self) {
        self.name = "lagging";
        self.fault_every = 2 * self.t();
        self.operator_every = self.t();
        self.safety = 24 * self.t();
        self.manner.think_us = 20_000;
        self.faults = vec![
            (Fault::LaggingJoiner, 6),
            (Fault::Replicate, 3),
            (Fault::ResetSoft, 1),
            (Fault::Kill, 1),
        ];
    }

    pub(super) fn hung_disks_of_all(&mut self) {
        self.name = "hung disks of all";
        self.safety = 24 * self.t();
        self.fault_every = 2 * self.t();
        self.faults = vec![
            (Fault::HungDisk, 6),
            (Fault::FullDisks, 2),
            (Fault::FullDisk, 2),
            (Fault::Replicate, 2),
            (Fault::Failover, 2),
            (Fault::Shutdown, 2),
        ];
    }
}
