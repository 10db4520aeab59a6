//! Bytes in, gated bytes out: everything of a connection that is not its meaning.
//!
//! [`Poll`] waits for the kernel, [`Listeners`] take clients in, [`Slab`] keeps them under keys that
//! die with them, [`Conn`] reads ([`Input`]) and writes ([`Output`]), [`ReadyList`] remembers which client
//! has more to do than a turn allows. Never: a command, a session, Raft, a clock of its own.
//!
//! Invariants: no call blocks but [`Poll::wait`]; readiness is edge-triggered and remembered until
//! the socket says that it would block; one read and one write per connection and visit.

mod conn;
mod input;
mod listen;
mod output;
mod poll;
mod rlimit;
mod slab;
mod socket;
#[cfg(test)]
mod tests;
mod unix;

pub use conn::{Conn, Filled};
pub use input::{Input, Next, ReadBuffer};
pub use listen::{Accepted, BindFailure, Bound, Listeners, Peer};
pub use output::{Flushed, Output};
pub use poll::{Event, Poll, Readiness, ReadyList, Registrar};
pub use rlimit::{raise_open_files, OpenFiles, RESERVED_FILES};
pub use slab::{Key, Slab};
pub use socket::{Socket, Stream};
