//! Tests of the pieces over real sockets, and of all of them together in a small server.

mod conn;
mod listen;
mod server;
