//! The text of nodes.conf: which one is to be written next, and which votes are on disk (C5).
//!
//! Invariants: one text is written by the storage thread at a time, and only the newest that was asked
//! for; an older text never takes the place of a newer one ([`Versions`]).

use crate::platform::ClusterPlatform;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Numbers the texts in the order in which they were made: the loop may save one on the spot
/// (REPLICATE, SAVECONFIG) while the storage thread still writes an older one.
#[derive(Default)]
pub struct Versions {
    last: AtomicU64,
    /// The newest that has the file's name.
    named: Arc<Mutex<u64>>,
}

/// One text's.
pub struct Version {
    number: u64,
    named: Arc<Mutex<u64>>,
}

impl Versions {
    pub fn next(&self) -> Version {
        Version {
            number: self.last.fetch_add(1, Ordering::Relaxed) + 1,
            named: Arc::clone(&self.named),
        }
    }
}

impl Version {
    /// Gives the text the file's name, unless a newer one has it.
    pub fn replace(&self, rename: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        if *named < self.number {
            rename()?;
            *named = self.number;
        }
        Ok(())
    }
}

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

    /// A text was saved on the spot: what was to be written next is older; `vote` is on disk.
    pub fn saved(&mut self, vote: u64) {
        self.next = None;
        self.saved_vote = self.saved_vote.max(vote);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_text_replaces_no_newer() {
        let versions = Versions::default();
        let (older, newer) = (versions.next(), versions.next());
        let mut file = "";
        let mut put = |version: &Version, text| {
            let put = version.replace(|| {
                file = text;
                Ok(())
            });
            put.expect("it is told as done");
            file
        };
        assert_eq!(put(&newer, "newer"), "newer");
        assert_eq!(put(&older, "older"), "newer");
        assert_eq!(put(&versions.next(), "newest"), "newest");
    }

    #[test]
    fn a_failed_rename_leaves_the_place() {
        let versions = Versions::default();
        let (older, newer) = (versions.next(), versions.next());
        assert!(newer.replace(|| Err(io::Error::other("no"))).is_err());
        let mut put = false;
        let placed = older.replace(|| {
            put = true;
            Ok(())
        });
        assert!(placed.is_ok() && put);
    }
}
