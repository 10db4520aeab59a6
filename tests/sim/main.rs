//! The simulator: three members of the real code under one seeded scheduler, with a simulated
//! disk, network and clock, and checkers that look at every step.
//!
//! Reading order: [`rng`] chance, [`disk`] the faulty disk, [`lin`] the linearizability checker.

mod disk;
mod lin;
mod rng;
