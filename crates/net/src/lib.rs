//! Bytes in, gated bytes out: everything of a connection that is not its meaning.
//!
//! [`Slab`] keeps clients under keys that die with them, [`Conn`] reads ([`Input`]) and writes ([`Output`])
//! through a [`Socket`], [`ReadyList`] remembers which client has more to do than a turn allows. Never: a
//! command, a session, Raft, a clock or a socket of its own.
//!
//! Invariants: no call blocks; readiness is edge-triggered and remembered until the socket says that it
//! would block; one read and one write per connection and visit.

mod conn;
mod input;
mod output;
mod ready;
mod slab;
mod socket;
#[cfg(test)]
mod tests;

pub use conn::{Conn, Filled};
pub use input::{Input, Next, ReadBuffer};
pub use output::{Flushed, Output};
pub use ready::{Readiness, ReadyList};
pub use slab::{ConnId, Slab};
pub use socket::{Accepted, BindFailure, Peer, Socket};
