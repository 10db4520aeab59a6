//! Linearizability: histories of client operations and the check that some order explains them.
//!
//! [`model`] says what commands do, [`checker`] searches for an order.

pub mod checker;
pub mod model;

#[cfg(test)]
mod tests;

pub use checker::{check, Entry, Limits, Verdict};
pub use model::{Answer, Cmd, Micros, Op, Ret, Val, When};
