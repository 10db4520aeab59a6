//! Where lines go: standard output, or a file that is opened for append.
//!
//! Invariant: a line never goes into a file that was renamed or removed before it (log rotation). Redis opens
//! its file for each line; we look at what the name stands for, and open it when that is another file.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The sink of a log.
pub struct Output {
    to: To,
}

enum To {
    Stdout,
    File {
        path: PathBuf,
        file: File,
        /// Which file it is: device and inode.
        id: (u64, u64),
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
        let (file, id) = open(path)?;
        Ok(Output {
            to: To::File {
                path: path.to_owned(),
                file,
                id,
            },
        })
    }

    #[cfg(test)]
    pub(super) fn other(writer: impl Write + Send + 'static) -> Output {
        Output {
            to: To::Other(Box::new(writer)),
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
            To::File { path, file, id } => {
                // If it can't be opened, the old file is better than none.
                if std::fs::metadata(&*path).map_or(true, |named| identity(&named) != *id) {
                    if let Ok(new) = open(path) {
                        (*file, *id) = new;
                    }
                }
                file.write_all(line.as_bytes())
            }
            #[cfg(test)]
            To::Other(writer) => writer.write_all(line.as_bytes()),
        }
    }
}

fn open(path: &Path) -> io::Result<(File, (u64, u64))> {
    let file = OpenOptions::new().append(true).create(true).open(path)?;
    let id = identity(&file.metadata()?);
    Ok((file, id))
}

fn identity(metadata: &std::fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}
