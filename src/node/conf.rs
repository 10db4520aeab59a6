//! The file nodes.conf: read at start, replaced by the storage thread or on the spot (C5).
//!
//! Owns its path. Invariant: the file is an old whole text or a new whole text. Never knows what is
//! in it.

use server::{Version, Versions};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::Arc;
use storage::{Job, RealDisk};

/// Reads the file; nothing where there is none.
pub fn load(path: &Path) -> io::Result<Vec<u8>> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read,
    }
}

/// Replaces the file by way of one with this ending; durable when this returns. Two threads may do so
/// at one time: neither may write into, or give its name to, what the other has not finished, and an
/// older text never takes the place of a newer one.
fn save(path: &Path, ending: &str, text: &str, version: &Version) -> io::Result<()> {
    let mut temp = path.as_os_str().to_owned();
    temp.push(ending);
    let mut file = File::create(&temp)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    version.replace(|| fs::rename(&temp, path))?;
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

/// The file, and what has become of the jobs that replace it.
pub struct ConfFile {
    path: PathBuf,
    results: Receiver<io::Result<u64>>,
    sender: Sender<io::Result<u64>>,
    wake: Arc<dyn Fn() + Send + Sync>,
    versions: Versions,
}

impl ConfFile {
    pub fn new(path: PathBuf, wake: Arc<dyn Fn() + Send + Sync>) -> ConfFile {
        let (sender, results) = channel();
        ConfFile {
            path,
            results,
            sender,
            wake,
            versions: Versions::default(),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn save(&self, text: &str) -> io::Result<()> {
        save(&self.path, ".now.tmp", text, &self.versions.next())
    }

    /// Replaces the file elsewhere; `vote` comes back when it is durable.
    pub fn job(&self, text: String, vote: u64) -> Job<RealDisk> {
        let (path, sender) = (self.path.clone(), self.sender.clone());
        let (wake, version) = (Arc::clone(&self.wake), self.versions.next());
        Job::Call(Box::new(move || {
            let result = save(&path, ".tmp", &text, &version).map(|()| vote);
            // Without a receiver the node is gone.
            let _ = sender.send(result);
            wake();
        }))
    }

    pub fn next_saved(&self) -> Option<io::Result<u64>> {
        self.results.try_recv().ok()
    }
}
