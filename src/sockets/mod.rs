//! The kernel's side of clients' connections: the poller, the doors, the sockets, the limit of files.
//!
//! [`Poll`] waits for the kernel, [`Listeners`] take clients in, a [`Stream`] is the socket of one. Never:
//! keeps a client, or knows what its bytes mean.
//!
//! Invariant: no call blocks but [`Poll::wait`].

mod listen;
mod poll;
mod rlimit;
mod stream;
#[cfg(test)]
mod tests;
mod unix;

pub use listen::Listeners;
pub use poll::{Poll, PollEvent, Registrar};
pub use rlimit::{raise_open_files, OpenFiles, RESERVED_FILES};
pub use stream::Stream;

/// A client's connection.
#[cfg(test)]
type Conn = net::Conn<Stream>;
/// A client at the door.
pub type Accepted = net::Accepted<Stream>;
