//! The second world: a whole cluster of the real code. Six nodes, three shards, their witnesses,
//! the bus, and an operator who changes all of it while things break.
//!
//! Reading order: [`node`] the process (what `src/node` does around agent, shard and witnesses),
//! [`start`] how it begins, [`serve`] its clients, [`machine`] what survives a process, [`ops`] what operators ask,
//! [`world`] the run, [`wires`] packets and jobs, [`plan`] what a seed means, [`faults`] what goes
//! wrong, [`operator`] who puts nodes where they belong, [`checks`] what must hold at every moment,
//! [`goal`] what must hold in the end, [`runs`] seeds by the hundred.

mod checks;
mod faults;
mod goal;
mod machine;
pub mod node;
mod operator;
mod ops;
mod plan;
pub mod runs;
mod serve;
mod start;
mod wires;
mod world;
