//! The file nodes.conf: read at start, replaced by the storage thread (C5).
//!
//! Invariant: the file is an old whole text or a new whole text, and only the newest text that was
//! asked for is written.

use crate::storage::{Job, RealDisk};
use cluster_bus::nodes_conf::{self, ConfError, NodesConf};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::Arc;

/// Why nodes.conf can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfFileError {
    #[error("can't read the cluster configuration {path}: {source}")]
    Io { path: String, source: io::Error },
    #[error(
        "Unrecoverable error: corrupted cluster config file \"{path}\", line {}: {}",
        .source.line,
        .source.what
    )]
    Corrupted { path: String, source: ConfError },
}

/// Reads the file; none where there is none, or an empty one.
pub fn load(path: &Path) -> Result<Option<NodesConf>, ConfFileError> {
    let name = || path.display().to_string();
    let text = match fs::read(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(ConfFileError::Io {
                path: name(),
                source,
            })
        }
    };
    if text.is_empty() {
        return Ok(None);
    }
    let parsed = nodes_conf::parse(&text).map_err(|source| ConfFileError::Corrupted {
        path: name(),
        source,
    })?;
    Ok(Some(parsed))
}

/// Replaces the file; durable when this returns.
pub fn save(path: &Path, text: &str) -> io::Result<()> {
    let mut temp = path.as_os_str().to_owned();
    temp.push(".tmp");
    let mut file = File::create(&temp)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temp, path)?;
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

/// The writing side.
pub struct Conf {
    path: PathBuf,
    results: Receiver<io::Result<u64>>,
    sender: Sender<io::Result<u64>>,
    wake: Arc<dyn Fn() + Send + Sync>,
    /// The text to write next, and the vote epoch in it.
    next: Option<(String, u64)>,
    writing: bool,
    /// The highest vote epoch that is on disk.
    saved_vote: u64,
    failed: bool,
}

impl Conf {
    pub fn new(path: PathBuf, saved_vote: u64, wake: Arc<dyn Fn() + Send + Sync>) -> Conf {
        let (sender, results) = channel();
        Conf {
            path,
            results,
            sender,
            wake,
            next: None,
            writing: false,
            saved_vote,
            failed: false,
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A new text; `vote` is the vote epoch in it.
    pub fn put(&mut self, text: String, vote: u64) {
        self.next = Some((text, vote));
    }

    /// Whether a vote of this epoch may be told.
    pub fn has_saved(&self, vote: u64) -> bool {
        self.saved_vote >= vote
    }

    /// The next job for the storage thread.
    pub fn job(&mut self) -> Option<Job<RealDisk>> {
        if self.writing {
            return None;
        }
        let (text, vote) = self.next.take()?;
        self.writing = true;
        let (path, sender, wake) = (
            self.path.clone(),
            self.sender.clone(),
            Arc::clone(&self.wake),
        );
        Some(Job::Call(Box::new(move || {
            let result = save(&path, &text).map(|()| vote);
            // Without a receiver the node is gone.
            let _ = sender.send(result);
            wake();
        })))
    }

    /// Takes in what became of the last job. A full disk is no reason to end: the next change, or
    /// the next second, tries again.
    pub fn settle(&mut self, logger: &slog::Logger) {
        while let Ok(result) = self.results.try_recv() {
            self.writing = false;
            match result {
                Ok(vote) => {
                    self.saved_vote = self.saved_vote.max(vote);
                    if std::mem::take(&mut self.failed) {
                        slog::warn!(logger, "{} is written again", self.path.display());
                    }
                }
                Err(error) => {
                    if !self.failed {
                        let path = self.path.display();
                        slog::warn!(logger, "Can't write {}: {}", path, error);
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
