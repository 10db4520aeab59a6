//! Connection and server commands: everything that is about the process rather than about keys.
//!
//! Owns: the rows of this family and what they share. One file for each group: `connection`
//! (PING, HELLO, AUTH, ...), `client` and `client_list`, `config`, `introspect`, `docs` and
//! `arguments` (COMMAND), `info` with its two files of sections, `latency`, `replication` (ROLE, WAIT), `process`
//! (SHUTDOWN, TIME, ...), `saving` (SAVE, BGSAVE, ...), `sync` (SYNC, PSYNC, REPLCONF), `debug` with `debug_look` and `debug_value`, `object`, `memory`, `help`.
//! C4: nothing here but DEBUG POPULATE is ever logged.

mod attribute;
mod client;
mod client_list;
mod config;
mod connection;
mod debug;
mod debug_look;
mod debug_value;
mod docs;
mod help;
mod info;
mod info_process;
mod info_shard;
mod introspect;
mod latency;
mod memory;
mod object;
mod process;
mod replication;
mod report;
mod saving;
mod sync;

#[cfg(test)]
mod tests;

use super::env::Row;

pub static TABLES: &[&[Row]] = &[
    client::ROWS,
    config::ROWS,
    connection::ROWS,
    debug::ROWS,
    info::ROWS,
    introspect::ROWS,
    latency::ROWS,
    memory::ROWS,
    object::ROWS,
    process::ROWS,
    replication::ROWS,
    saving::ROWS,
    sync::ROWS,
];
