//! The Redis Cluster bus as a sans-I/O library.
//!
//! Bytes and time in, bytes and decisions out: no clock, socket, thread or unseeded random here.
//! `wire` knows the packets, `nodes_conf` the file, `bus` the state
//! machine around the table of nodes.

pub mod bus;
pub mod names;
pub mod nodes_conf;
pub mod wire;

pub use base::{id, slot, slots, NodeId, ShardId, SlotSet};
