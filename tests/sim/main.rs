//! The simulator: three members of the real code under one seeded scheduler, with a simulated
//! disk, network and clock, and checkers that look at every step.
//!
//! Reading order: [`rng`] chance, [`clock`] time, [`net`] and [`disk`] what fails, [`workload`],
//! [`client`] and [`history`] what clients do and see, [`lin`] whether that is right; then
//! [`conn`] and [`process`] the real code's turn, [`member`] a machine around it, [`plan`] what a seed means,
//! [`faults`], [`agenda`] and [`world`] the run, [`checks`] what must hold, [`runs`] seeds by the hundred;
//! [`cluster`] the same for a whole cluster of six nodes.

mod agenda;
mod alone;
mod checks;
mod client;
mod clock;
mod cluster;
mod conn;
mod disk;
mod faults;
mod history;
mod host;
mod lin;
mod member;
mod net;
mod plan;
mod process;
mod resp;
mod rng;
mod runs;
mod scenes;
mod trace;
mod workload;
mod world;
