//! The file of a snapshot, however its keys come.
//!
//! Owns what the file says of itself, the way from the last key to a name (P2), and what becomes of the file
//! then: its copy, the open one, the one that is not kept. Runs on the thread of snapshots. Never decides
//! whether the file counts.

use super::check::{self, Check};
use super::make::{CopyTo, SnapshotOrder, SnapshotProgress};
use base::ids::{EntryId, RaftId};
use base::mutation::{self, Mutation};
use state::save::{hex, Saved, Style};
use std::fmt::Display;
use std::io::ErrorKind;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use storage::snapshot::{self, SnapshotWriter};
use storage::{
    reserve, Base, Disk, MadeSnapshot, MemberIdentity, OpenState, SnapshotError, SnapshotMeta,
    StateFile, StorageError,
};

/// Which file is made, and what for.
pub(super) struct FileOrder<D: Disk> {
    pub disk: D,
    pub identity: MemberIdentity,
    pub at: EntryId,
    pub order: SnapshotOrder<D>,
    /// Else the file goes when it has been copied.
    pub keep: bool,
    pub progress: Arc<SnapshotProgress>,
}

/// A file without a name yet.
pub(super) struct NewFile<D: Disk> {
    pub meta: SnapshotMeta,
    pub writer: SnapshotWriter<D>,
}

/// What the base names is not what was written. Memory has all that it had: a start is what must not happen.
pub(super) fn damaged(file: &str, why: &dyn Display) -> SnapshotError {
    SnapshotError::State(
        format!(
            "{file}: {why}; a start would be refused: do not end this server before that is mended, or its \
             keys are elsewhere"
        )
        .into(),
    )
}

/// Whether it was the disk's business, or the file is not what was written.
pub(super) fn unreadable(file: &str, error: StorageError) -> SnapshotError {
    match &error {
        StorageError::Io { source, .. } if source.kind() == ErrorKind::NotFound => {
            damaged(file, &error)
        }
        _ => SnapshotError::State(error.into()),
    }
}

impl<D: Disk> FileOrder<D> {
    pub fn create(&self, meta: SnapshotMeta) -> Result<NewFile<D>, SnapshotError> {
        let writer = SnapshotWriter::create(self.disk.clone(), self.at)?;
        Ok(NewFile { meta, writer })
    }

    pub fn style(&self, meta: &SnapshotMeta) -> Style {
        Style {
            origin: self.order.origin.clone(),
            fields: self.fields(meta),
            compress: self.order.compress,
        }
    }

    /// Takes the file's bytes, as long as somebody wants them.
    pub fn sink<'f>(
        &'f self,
        writer: &'f mut SnapshotWriter<D>,
    ) -> impl FnMut(&[u8]) -> Result<(), SnapshotError> + 'f {
        |piece| {
            self.progress.go_on()?;
            writer.write(piece)?;
            let bytes = u64::try_from(piece.len()).expect("a usize fits");
            self.progress.bytes.fetch_add(bytes, Ordering::Relaxed);
            Ok(())
        }
    }

    /// P2: the file has its name when it is on disk and reads back as it was written.
    pub fn name(&self, file: NewFile<D>, saved: &Saved) -> Result<SnapshotMeta, SnapshotError> {
        let NewFile {
            mut meta,
            mut writer,
        } = file;
        writer.sync()?;
        if !mutation::is(Mutation::ValidBeforeCheck) {
            self.check(&writer, saved)?;
        }
        let sum = saved.end.checksum.unwrap_or_default();
        meta.file = Some(writer.finish(self.at, sum)?);
        Ok(meta)
    }

    fn check(&self, writer: &SnapshotWriter<D>, saved: &Saved) -> Result<(), SnapshotError> {
        let mut check = Check::new(writer.temporary());
        writer.read_back(|slice| {
            self.progress.go_on()?;
            check.feed(slice)
        })?;
        let (file, found) = (check.file.clone(), check.finish()?);
        let want = (saved.keys, saved.end);
        match found == want {
            true => Ok(()),
            false => Err(SnapshotError::Differs {
                file,
                what: format!("{found:?} where {want:?} was written"),
            }),
        }
    }

    /// The keys of the file that the base names, if that is sound.
    pub fn look_at(&self, file: &StateFile) -> Result<u64, SnapshotError> {
        let name = snapshot::name(self.at, file);
        let mut check = Check::new(&name);
        let looked = snapshot::read(&self.disk, &name, |slice| {
            self.progress.go_on()?;
            check.feed(slice)
        });
        match looked.and_then(|()| check.finish()) {
            Ok((keys, end)) if (end.length, end.checksum) == (file.bytes, Some(file.crc64)) => {
                Ok(keys)
            }
            Ok(_) => Err(damaged(&name, &"it is another file than base names")),
            Err(SnapshotError::Disk(error)) => Err(unreadable(&name, error)),
            Err(SnapshotError::Differs { what, .. }) => Err(damaged(&name, &what)),
            Err(error) => Err(error),
        }
    }

    /// What was asked for, of a file that has its name. `named`: the base names it already.
    pub fn deliver(&self, meta: SnapshotMeta, keys: u64, named: bool) -> Box<MadeSnapshot> {
        let copied = self.order.copy.as_ref().map(|to| self.copy(&meta, to));
        let opened = self.order.open.then(|| {
            let opened = OpenState::open(&self.disk, &meta);
            opened.map_err(SnapshotError::from)
        });
        let kept = self.keep || named;
        if !kept {
            snapshot::discard(&self.disk, self.at, meta.file.as_ref());
        }
        Box::new(MadeSnapshot {
            meta,
            keys,
            kept,
            copied,
            opened,
        })
    }

    fn copy(&self, meta: &SnapshotMeta, to: &CopyTo<D>) -> Result<(), SnapshotError> {
        let name = meta.file_name().expect("the file has just been made");
        // Nodes may share the folder, and what a crash has left goes with the next copy.
        let temp = format!("temp-{:016x}.rdb", self.identity.raft_id);
        let (from, to) = ((&self.disk, &name[..]), (&to.folder, &to.name[..]));
        snapshot::copy(from, to, &temp, |_| self.progress.go_on())
    }

    /// F23: nothing is left of a file that came to nothing.
    pub fn discard(&self, why: &SnapshotError) {
        snapshot::discard(&self.disk, self.at, None);
        if matches!(why, SnapshotError::Disk(error) if error.is_full()) {
            reserve::give_up(&self.disk); // D5: the next one has its room
        }
    }

    /// What the file says of itself. The base in it is without what differs from member to member.
    fn fields(&self, meta: &SnapshotMeta) -> Vec<(&'static str, String)> {
        let identity = &self.identity;
        let base = Base {
            identity: MemberIdentity {
                raft_id: RaftId::default(),
                ..*identity
            },
            snapshot: meta.clone(),
            start: None,
        };
        let mut fields = check::origin(meta.entry(), identity.group).to_vec();
        fields.extend([
            ("hf-incarnation", identity.incarnation.0.to_string()),
            ("hf-base", hex(&base.to_bytes())),
        ]);
        fields
    }
}
