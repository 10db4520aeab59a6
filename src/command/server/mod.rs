//! Connection and server commands: everything that is about the process rather than about keys.
//!
//! Owns: the rows of this family and what they share. One file for each group: `connection`
//! (PING, HELLO, AUTH, ...), `client` and `client_list`, `config`, `introspect`, `docs` and
//! `arguments` (COMMAND), `info` with its two files of sections, `latency`, `replication` (ROLE, WAIT), `process`
//! (SHUTDOWN, TIME, ...), `debug`, `object` (OBJECT, MEMORY), `help`.
//! C4: nothing here but DEBUG POPULATE is ever logged.

pub(super) mod arguments;
mod attribute;
mod client;
mod client_list;
mod config;
mod connection;
mod debug;
mod docs;
pub(super) mod help;
mod info;
mod info_process;
mod info_shard;
mod introspect;
mod latency;
mod object;
mod process;
mod replication;

#[cfg(test)]
mod tests;

use super::env::{Done, Env};
use super::error::Error;
use super::spec::Spec;
pub use crate::config::REDIS_VERSION;
use crate::resp::args::Args;

pub use crate::version::HOLDFAST as HOLDFAST_VERSION;

pub static SPECS: &[Spec] = &[
    process::ACL,
    connection::AUTH,
    client::CLIENT,
    introspect::COMMAND,
    config::CONFIG,
    debug::DEBUG,
    connection::ECHO,
    connection::HELLO,
    info::INFO,
    latency::LATENCY,
    process::LOLWUT,
    object::MEMORY,
    object::OBJECT,
    connection::PING,
    connection::QUIT,
    connection::RESET,
    replication::ROLE,
    process::SHUTDOWN,
    process::TIME,
    replication::WAIT,
];

/// The handler of containers: only their subcommands run, and the table's lookup refuses a name
/// that is none of them.
pub(super) fn no_subcommand(_: &mut Env<'_>, args: Args<'_>) -> Done {
    let container = String::from_utf8_lossy(&args[0]).into_owned();
    Err(match args.get(1) {
        Some(name) => Error::unknown_subcommand(&container, name),
        None => Error::wrong_arity(&container.to_ascii_lowercase()),
    })
}
