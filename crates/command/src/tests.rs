//! Byte-exact replies of the data families, admission, transactions, and the proof that effects
//! rebuild what the leader has.

mod admission;
mod bitmaps;
mod breath;
mod databases;
mod dump;
mod effects;
mod functions;
mod generic;
mod geo;
pub mod golden;
mod hashes;
mod hyperloglogs;
mod keys;
mod lists;
mod loading;
mod long_strings;
mod migrate;
mod pubsub;
mod room;
mod sets;
mod sort;
mod strings;
mod transactions;
mod upgrade;
mod zsets;
