//! The Redis Cluster bus as a sans-I/O library.
//!
//! Bytes and time in, bytes and decisions out: no clock, socket, thread or unseeded random here.
//! `slot` and `slots` know hash slots, `wire` the packets, `nodes_conf` the file, `bus` the state
//! machine around the table of nodes.

pub mod id;
pub mod slot;
pub mod slots;
pub mod wire;

pub use id::NodeId;
pub use slots::SlotSet;
