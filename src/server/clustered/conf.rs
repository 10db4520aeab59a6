//! The text of nodes.conf: which one is to be written next, and which votes are on disk (C5).
//!
//! Invariant: one text is written at a time, and only the newest that was asked for.

use crate::server::platform::ClusterPlatform;

/// The writing side.
pub struct Conf {
    /// The text to write next, and the vote epoch in it.
    next: Option<(String, u64)>,
    writing: bool,
    /// The highest vote epoch that is on disk.
    saved_vote: u64,
    failed: bool,
}

impl Conf {
    pub fn new(saved_vote: u64) -> Conf {
        Conf {
            next: None,
            writing: false,
            saved_vote,
            failed: false,
        }
    }

    /// A new text; `vote` is the vote epoch in it.
    pub fn put(&mut self, text: String, vote: u64) {
        self.next = Some((text, vote));
    }

    /// Whether a vote of this epoch may be told.
    pub fn has_saved(&self, vote: u64) -> bool {
        self.saved_vote >= vote
    }

    /// The text to write now, if the last one is done with.
    pub fn start(&mut self) -> Option<(String, u64)> {
        if self.writing {
            return None;
        }
        let next = self.next.take()?;
        self.writing = true;
        Some(next)
    }

    /// Takes in what became of the last write. A full disk is no reason to end: the next change, or
    /// the next second, tries again.
    pub fn settle(&mut self, io: &mut impl ClusterPlatform, logger: &slog::Logger) {
        while let Some(result) = io.next_conf_saved() {
            self.writing = false;
            match result {
                Ok(vote) => {
                    self.saved_vote = self.saved_vote.max(vote);
                    if std::mem::take(&mut self.failed) {
                        slog::warn!(logger, "{} is written again", io.conf_name());
                    }
                }
                Err(error) => {
                    if !self.failed {
                        slog::warn!(logger, "Can't write {}: {}", io.conf_name(), error);
                    }
                    self.failed = true;
                }
            }
        }
    }

    /// The last text did not reach the disk.
    pub fn has_failed(&self) -> bool {
        self.failed && !self.writing && self.next.is_none()
    }
}
