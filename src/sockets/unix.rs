//! The listening Unix socket and its file.
//!
//! Owns the file from [`UnixDoor::open`] to [`UnixDoor::remove_file`]. Never removes a file that is no
//! socket, nor, at the end, one that another server has put in its place.

use mio::event::Source;
use mio::net::{UnixListener, UnixStream};
use socket2::{Domain, SockAddr, Socket, Type};
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

pub(super) struct UnixDoor {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode of the file.
    file: (u64, u64),
}

impl UnixDoor {
    /// Listens at `path`. The file that a server which was killed has left there would make that fail
    /// for ever, so a socket at the path is removed first, as Redis does. A `mode` of 0 leaves the
    /// file's permissions to the umask. The error says which call failed.
    pub fn open(
        path: &Path,
        mode: u32,
        backlog: i32,
    ) -> Result<UnixDoor, (&'static str, io::Error)> {
        if fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket()) {
            // If that fails, so does bind, and says why.
            let _ = fs::remove_file(path);
        }
        let kind = Type::STREAM.nonblocking().cloexec();
        let socket = Socket::new(Domain::UNIX, kind, None).map_err(|e| ("socket", e))?;
        let address = SockAddr::unix(path).map_err(|e| ("bind", e))?;
        socket.bind(&address).map_err(|e| ("bind", e))?;
        if mode != 0 {
            fs::set_permissions(path, Permissions::from_mode(mode)).map_err(|e| ("chmod", e))?;
        }
        let file = id(path).map_err(|e| ("stat", e))?;
        socket.listen(backlog).map_err(|e| ("listen", e))?;
        Ok(UnixDoor {
            listener: UnixListener::from_std(socket.into()),
            path: path.to_owned(),
            file,
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn accept(&self) -> io::Result<UnixStream> {
        self.listener.accept().map(|(socket, _)| socket)
    }

    /// For the poller's registration.
    pub fn source(&mut self) -> &mut impl Source {
        &mut self.listener
    }

    /// Stops listening and removes the file.
    pub fn remove_file(self) -> io::Result<()> {
        match id(&self.path) {
            Ok(file) if file == self.file => fs::remove_file(&self.path),
            Ok(_) => Ok(()),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
            Err(e) => Err(e),
        }
    }
}

fn id(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}
