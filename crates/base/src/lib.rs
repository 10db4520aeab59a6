//! The ground that everything stands on: values without behaviour of their own.
//!
//! Owns: ids of nodes, shards, groups and members, hash slots and sets of them, time as values, glob patterns, integers in text,
//! classes of keyspace events, the comparing of secrets, the switch of mutations.
//! Never: does I/O, knows anything above it.

pub mod build;
pub mod clock;
pub mod double;
pub mod events;
pub mod glob;
mod grisu;
pub mod id;
pub mod ids;
pub mod mutation;
pub mod number;
pub mod secret;
pub mod slot;
pub mod slots;

pub use id::{NodeId, ShardId};
pub use slots::SlotSet;
