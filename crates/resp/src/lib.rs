//! RESP, the protocol of the client port: [`parse`] turns bytes into commands, [`encode`] turns
//! replies into bytes (RESP2 and RESP3), [`args`] is how a command's arguments are looked at.
//!
//! Never: a socket, a command name, a session. Invariants: any bytes give commands or a typed
//! error, never a panic; arguments are ranges into the caller's buffer, never copies; no byte is
//! looked at twice however the input is cut; no memory is taken because a length was announced.

pub mod args;
pub mod encode;
mod inline;
pub mod number;
pub mod parse;
mod skim;
#[cfg(test)]
mod tests;

pub use args::{Args, Argv};
pub use encode::{Deferred, Proto, Reply};
pub use parse::{Limits, Parsed, Parser, ProtocolError};
pub use skim::Skim;
