//! The text of nodes.conf: which one is to be written next, and which votes and met nodes are on disk (C5).
//!
//! Invariants: one text is written by the storage thread at a time, and only the newest that was asked
//! for; an older text never takes the place of a newer one ([`Versions`]).

use crate::platform::ClusterPlatform;
use base::clock::Mono;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

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

/// How long packets wait for the write of a node that was met: far below any node timeout in use.
const MET_WAITS: Duration = Duration::from_millis(500);

/// What a text holds that no packet may tell before.
#[derive(Clone, Copy, Debug)]
pub struct Spoken {
    /// The epoch of the last vote.
    pub vote: u64,
    /// How many nodes were met since the start.
    pub met: u64,
}

/// The writing side.
pub struct Conf {
    /// The text to write next.
    next: Option<(String, Spoken)>,
    /// The nodes met in the text that is being written.
    writing: Option<u64>,
    /// The highest vote epoch that is on disk.
    saved_vote: u64,
    /// The nodes met in the last text whose write has ended. A disk that is full, or hangs, must not silence the
    /// bus: then others would take this node for failed, which is worse than one that has to be met once more.
    tried_met: u64,
    /// The nodes met in the last text that was asked for.
    asked_met: u64,
    /// When packets go though that text was not tried.
    let_go: Mono,
    failed: bool,
}

impl Conf {
    pub fn new(saved_vote: u64) -> Conf {
        Conf {
            next: None,
            writing: None,
            saved_vote,
            tried_met: 0,
            asked_met: 0,
            let_go: Mono::default(),
            failed: false,
        }
    }

    /// A new text.
    pub fn put(&mut self, text: String, spoken: Spoken, now: Mono) {
        if self.tried_met >= self.asked_met && spoken.met > self.asked_met {
            self.let_go = now + MET_WAITS;
        }
        self.asked_met = self.asked_met.max(spoken.met);
        self.next = Some((text, spoken));
    }

    /// A text was saved on the spot: what was to be written next is older.
    pub fn saved(&mut self, spoken: Spoken) {
        self.next = None;
        self.saved_vote = self.saved_vote.max(spoken.vote);
        self.tried_met = self.tried_met.max(spoken.met);
    }

    /// Whether packets that rest on this may leave.
    pub fn may_tell(&self, spoken: Spoken, now: Mono) -> bool {
        let met = self.tried_met >= spoken.met || now >= self.let_go;
        self.saved_vote >= spoken.vote && met
    }

    /// The text to write now and its vote epoch, if the last one is done with.
    pub fn start(&mut self) -> Option<(String, u64)> {
        if self.writing.is_some() {
            return None;
        }
        let (text, spoken) = self.next.take()?;
        self.writing = Some(spoken.met);
        Some((text, spoken.vote))
    }

    /// Takes in what became of the last write. A full disk is no reason to end: the next change, or
    /// the next second, tries again.
    pub fn settle(&mut self, io: &mut impl ClusterPlatform, logger: &slog::Logger) {
        while let Some(result) = io.next_conf_saved() {
            let failed_before = self.failed;
            self.ended(result.as_ref().copied());
            match result {
                Ok(_) if failed_before => {
                    slog::warn!(logger, "{} is written again", io.conf_name());
                }
                Err(error) if !failed_before => {
                    slog::warn!(logger, "Can't write {}: {}", io.conf_name(), error);
                }
                Ok(_) | Err(_) => {}
            }
        }
    }

    fn ended(&mut self, result: Result<u64, &io::Error>) {
        self.tried_met = self.tried_met.max(self.writing.take().unwrap_or_default());
        self.failed = result.is_err();
        self.saved_vote = self.saved_vote.max(result.unwrap_or_default());
    }

    /// The last text did not reach the disk.
    pub fn has_failed(&self) -> bool {
        self.failed && self.writing.is_none() && self.next.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meeting_waits_for_a_write_that_ends() {
        let (mut conf, now) = (Conf::new(0), Mono::default());
        let (first, second) = (Spoken { vote: 0, met: 1 }, Spoken { vote: 7, met: 2 });
        conf.put("first".to_owned(), first, now);
        assert!(!conf.may_tell(first, now), "it is not begun");
        assert!(conf.start().is_some());
        conf.put("second".to_owned(), second, now);
        conf.ended(Ok(0));
        assert!(conf.may_tell(first, now) && !conf.may_tell(second, now));
        assert!(conf.start().is_some());
        conf.ended(Err(&io::Error::other("full")));
        let met = Spoken { vote: 0, met: 2 };
        assert!(conf.may_tell(met, now), "a full disk silences nobody");
        assert!(!conf.may_tell(second, now), "but a vote");
        conf.saved(second);
        assert!(conf.may_tell(second, now));
    }

    #[test]
    fn hung_disk_holds_a_meeting_for_a_while() {
        let (mut conf, now) = (Conf::new(0), Mono::default());
        let (one, two) = (Spoken { vote: 0, met: 1 }, Spoken { vote: 0, met: 2 });
        conf.put("one".to_owned(), one, now);
        assert!(conf.start().is_some() && !conf.may_tell(one, now));
        let late = now + MET_WAITS;
        assert!(conf.may_tell(one, late));
        conf.put("two".to_owned(), two, late);
        assert!(conf.may_tell(two, late), "not once more for each");
        conf.ended(Ok(0));
        assert!(conf.start().is_some());
        conf.ended(Ok(0));
        conf.put("three".to_owned(), Spoken { vote: 0, met: 3 }, late);
        assert!(!conf.may_tell(Spoken { vote: 0, met: 3 }, late));
    }

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
