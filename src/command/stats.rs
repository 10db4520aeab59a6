//! Counters of the process: INFO stats, commandstats, errorstats.
//!
//! Owns: plain numbers. Never: reads a clock. Hits, misses and expired keys are counted where they
//! happen, in [`super::data::Counters`].

use crate::clock::Mono;
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommandStats {
    pub calls: u64,
    /// Estimated from samples: see [`CommandStats::weight`].
    pub usec: u64,
    pub rejected: u64,
    pub failed: u64,
}

/// One call in this many is timed once a command has been called that often.
const SAMPLE_EVERY: u64 = 64;

impl CommandStats {
    /// Whether the coming call is to be timed, and for how many calls its time then counts.
    /// Reading the clock for every command costs as much as a GET.
    pub fn weight(&self) -> Option<u64> {
        if self.calls < SAMPLE_EVERY {
            Some(1)
        } else if self.calls % SAMPLE_EVERY == 0 {
            Some(SAMPLE_EVERY)
        } else {
            None
        }
    }
}

#[derive(Clone, Debug, Default)]
pub struct Stats {
    pub commands_processed: u64,
    pub connections_received: u64,
    pub connections_rejected: u64,
    /// Clients closed for output that they did not read.
    pub output_limit_disconnections: u64,
    pub net_input_bytes: u64,
    pub net_output_bytes: u64,
    pub error_replies: u64,
    /// By [`super::table::Command::id`].
    pub commands: Vec<CommandStats>,
    /// By the error's first word.
    pub errors: BTreeMap<Vec<u8>, u64>,
    /// When the log last told of HTTP on the clients' port.
    pub http_warned: Option<Mono>,
}

/// Distinct error codes that are counted; a client can't grow the map without end.
const MAX_ERROR_CODES: usize = 128;

impl Stats {
    pub fn new() -> Stats {
        let commands = vec![CommandStats::default(); super::table::table().len()];
        Stats {
            commands,
            ..Stats::default()
        }
    }

    /// CONFIG RESETSTAT.
    pub fn reset(&mut self) {
        *self = Stats::new();
    }

    pub fn count_error(&mut self, code: &[u8]) {
        self.error_replies += 1;
        if let Some(n) = self.errors.get_mut(code) {
            *n += 1;
        } else if self.errors.len() < MAX_ERROR_CODES {
            self.errors.insert(code.to_vec(), 1);
        }
    }
}
