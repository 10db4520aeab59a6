//! Byte-exact replies of the data families, admission, transactions, and the proof that effects
//! rebuild what the leader has.

mod admission;
mod dump;
mod effects;
mod generic;
mod geo;
pub mod golden;
mod hashes;
mod keys;
mod loading;
mod migrate;
mod pubsub;
mod room;
mod strings;
mod transactions;
mod zsets;
