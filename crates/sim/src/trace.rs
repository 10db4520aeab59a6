//! What happened in a run: a hash of everything, and, if asked for, lines to read.
//!
//! Lines cost time, so a run makes none; a run that failed is run again with them, which gives the
//! same run because a seed reproduces it. The hash is how a test knows that it does.

use std::collections::VecDeque;

use crate::clock::True;

/// Lines kept for a failure's report.
const KEEP: usize = 400;
/// Characters of a kept line: an invitation carries a record of 2 KiB, which hides the other lines.
const KEEP_CHARS: usize = 400;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lines {
    None,
    Last,
    /// Every line, to standard output, at once.
    All,
}

pub struct Trace {
    lines: Lines,
    ring: VecDeque<String>,
    hash: u64,
    events: u64,
}

impl Trace {
    pub fn new(lines: Lines) -> Trace {
        Trace {
            lines,
            ring: VecDeque::new(),
            hash: 0xcbf2_9ce4_8422_2325,
            events: 0,
        }
    }

    /// Adds to the hash.
    pub fn mix(&mut self, word: u64) {
        self.hash = (self.hash ^ word)
            .wrapping_mul(0x0000_0100_0000_01b3)
            .rotate_left(29);
        self.events += 1;
    }

    pub fn mix_bytes(&mut self, bytes: &[u8]) {
        self.mix(bytes.len() as u64);
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(word));
        }
    }

    pub fn say(&mut self, now: True, line: impl FnOnce() -> String) {
        if self.lines == Lines::None {
            return;
        }
        let line = format!("{:>12.6} {}", now as f64 / 1e9, line());
        if self.lines == Lines::All {
            println!("{line}");
        }
        if self.ring.len() == KEEP {
            self.ring.pop_front();
        }
        let kept = match line.char_indices().nth(KEEP_CHARS) {
            Some((at, _)) => format!("{} ...", &line[..at]),
            None => line,
        };
        self.ring.push_back(kept);
    }

    /// Whether somebody will read the lines.
    pub fn is_on(&self) -> bool {
        self.lines != Lines::None
    }

    pub fn hash(&self) -> u64 {
        self.hash ^ self.events
    }

    pub fn last(&self, n: usize) -> Vec<String> {
        self.ring.iter().rev().take(n).rev().cloned().collect()
    }
}
