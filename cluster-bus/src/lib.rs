//! The Redis Cluster bus as a sans-I/O library.

pub mod slot;
