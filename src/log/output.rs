//! Where lines go: standard output, or a file that is opened for append.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often a file is looked at for having been moved away.
const LOOK: Duration = Duration::from_secs(1);

/// The sink of a log.
pub struct Output {
    to: To,
}

enum To {
    Stdout,
    File {
        path: PathBuf,
        file: File,
        looked: Instant,
    },
    #[cfg(test)]
    Other(Box<dyn Write + Send>),
}

impl Output {
    pub fn stdout() -> Output {
        Output { to: To::Stdout }
    }

    /// Opens (and creates) the file for append.
    pub fn file(path: &Path) -> io::Result<Output> {
        let file = open(path)?;
        Ok(Output {
            to: To::File {
                path: path.to_owned(),
                file,
                looked: Instant::now(),
            },
        })
    }

    #[cfg(test)]
    pub(super) fn other(writer: impl Write + Send + 'static) -> Output {
        Output {
            to: To::Other(Box::new(writer)),
        }
    }

    #[cfg(test)]
    pub(super) fn look_now(&mut self) {
        if let To::File { path, file, .. } = &mut self.to {
            reopen_if_moved(path, file);
        }
    }

    /// Writes one line with one system call, so that lines of several writers don't mix.
    pub(super) fn write(&mut self, line: &str) -> io::Result<()> {
        match &mut self.to {
            To::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(line.as_bytes())?;
                out.flush()
            }
            To::File { path, file, looked } => {
                if looked.elapsed() >= LOOK {
                    *looked = Instant::now();
                    reopen_if_moved(path, file);
                }
                file.write_all(line.as_bytes())
            }
            #[cfg(test)]
            To::Other(writer) => writer.write_all(line.as_bytes()),
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// Rotation by rename leaves us with the old file: go on in a new one under the name. If that
/// can't be opened, the old file is better than none.
fn reopen_if_moved(path: &Path, file: &mut File) {
    let identity = |m: &std::fs::Metadata| (m.dev(), m.ino());
    let ours = file.metadata().as_ref().map(identity).ok();
    let named = std::fs::metadata(path).as_ref().map(identity).ok();
    if ours != named {
        if let Ok(new) = open(path) {
            *file = new;
        }
    }
}
