//! The simulator: whole nodes of the real code under one seeded scheduler, with a simulated disk,
//! network and clock, and checkers that look at every step.
//!
//! It decides nothing that the product decides: the order of a turn is the server's, and what is
//! here notes what sockets report, calls `step`, and carries what comes out.
//!
//! Reading order: [`rng`] chance, [`clock`] time, [`net`] and [`disk`] what fails, [`workload`],
//! [`client`] and [`history`] what clients do and see, [`lin`] whether that is right; then
//! [`platform`] what a server runs on, [`machine`] what survives a process, [`plan`] what a seed
//! means, [`topology`] how that comes to be, [`agenda`] and [`world`] the run, [`turns`] steps and
//! time, [`wires`] packets and jobs, [`faults`] and [`scenes`] what goes wrong, [`ops`] and
//! [`operator`] what operators ask, [`checks`] what must hold at every moment, [`committed`] between
//! shards too, [`goal`] what must
//! hold in the end, [`runs`] seeds by the hundred; [`alone`] scenes of one member.

mod agenda;
#[cfg(any(test, feature = "mutations"))]
mod alone;
mod checks;
mod client;
mod clock;
mod committed;
mod disk;
mod farewell;
mod faults;
mod goal;
mod history;
mod lies;
mod lin;
mod links;
mod machine;
mod mover;
#[cfg(feature = "mutations")]
pub mod mutations;
mod net;
mod operator;
mod ops;
pub mod plan;
mod platform;
mod queue;
mod resp;
mod rng;
pub mod runs;
mod scenes;
mod snapshots;
mod topology;
mod trace;
mod turns;
mod wires;
mod workload;
mod world;
