//! The simulator: three members of the real code under one seeded scheduler, with a simulated
//! disk, network and clock, and checkers that look at every step.
//!
//! Reading order: [`rng`] chance, [`clock`] time, [`net`] and [`disk`] what fails, [`workload`],
//! [`client`] and [`history`] what clients do and see, [`lin`] whether that is right.

mod client;
mod clock;
mod disk;
mod history;
mod lin;
mod net;
mod resp;
mod rng;
mod trace;
mod workload;
