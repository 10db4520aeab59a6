//! Counters of the process: INFO stats, commandstats, latencystats, errorstats.
//!
//! Owns: plain numbers. Never: reads a clock. Hits, misses and expired keys are counted where they
//! happen, in [`super::data::Counters`].

use super::latency::Histogram;
use super::registry::CommandId;
use base::clock::Mono;
use std::collections::BTreeMap;
use std::time::Duration;

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
    /// Snapshots that were begun: those that are copied to a file, and all others.
    pub saves: u64,
    pub rewrites: u64,
    /// Of those, SYNC and PSYNC that get a file, and PSYNC that asked for less and get the whole.
    pub downloads: u64,
    pub failed_continuations: u64,
    /// By [`super::registry::CommandId`].
    pub commands: Vec<CommandStats>,
    /// Of the timed calls, by the same id; with `latency-tracking` only.
    pub latencies: Vec<Histogram>,
    /// By the error's first word.
    pub errors: BTreeMap<Vec<u8>, u64>,
    /// M14: TRYAGAIN for a command with one key, which no client expects.
    pub tryagain_single_key: u64,
    /// CPU time of the loop's longest turn.
    pub turn_max_usec: u64,
    /// When the log last told of HTTP on the clients' port.
    pub http_warned: Option<Mono>,
}

/// Distinct error codes that are counted; a client can't grow the map without end.
const MAX_ERROR_CODES: usize = 128;

impl Stats {
    /// For so many commands.
    pub fn new(commands: usize) -> Stats {
        Stats {
            commands: vec![CommandStats::default(); commands],
            latencies: vec![Histogram::default(); commands],
            ..Stats::default()
        }
    }

    pub fn of(&mut self, command: CommandId) -> &mut CommandStats {
        &mut self.commands[command.index()]
    }

    /// CONFIG RESETSTAT.
    pub fn reset(&mut self) {
        *self = Stats::new(self.commands.len());
    }

    /// A call of this command was timed; it stands for `weight` calls. Out of the way of all the
    /// others.
    #[cold]
    pub fn timed(&mut self, id: CommandId, took: Duration, weight: u64, track: bool) {
        let usec = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let of = self.of(id);
        of.usec = of.usec.saturating_add(usec.saturating_mul(weight));
        if track {
            let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
            self.latencies[id.index()].record(nanos, weight);
        }
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
