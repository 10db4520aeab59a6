//! Whether a file is a state's: read to its end, nothing of it kept (P2, P17).
//!
//! Owns what is looked for: that it parses, its length and checksum, its keys, and what it says of itself.
//! Never reads a disk.

use base::ids::{EntryId, GroupId};
use rdb::file::{End, Item, Reader};
use state::load::GROUP;
use std::collections::BTreeMap;
use storage::{FileCheck, SnapshotError, StateFile};

const INDEX: &str = "hf-index";
const TERM: &str = "hf-term";
/// No field that is looked at is longer.
const FIELD_MAX: usize = 64;

/// What a file says of the state that it holds.
pub(super) fn origin(at: EntryId, group: GroupId) -> [(&'static str, String); 3] {
    [
        (INDEX, at.index.to_string()),
        (TERM, at.term.to_string()),
        (GROUP, group.to_string()),
    ]
}

/// Reads a file to its end, and keeps nothing of it.
pub(super) struct Check {
    pub file: String,
    reader: Reader,
    keys: u64,
    end: Option<End>,
    /// The fields of [`origin`] that it has.
    origin: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Check {
    pub fn new(file: &str) -> Check {
        Check {
            file: file.to_owned(),
            // No length is believed before its bytes have come, so none needs to be refused.
            reader: Reader::new(usize::MAX),
            keys: 0,
            end: None,
            origin: BTreeMap::new(),
        }
    }

    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<(), SnapshotError> {
        loop {
            match self.reader.next(&mut bytes, &mut || {}) {
                Ok(None) => return Ok(()),
                Ok(Some(Item::Entry(_) | Item::Begin(_))) => self.keys += 1,
                Ok(Some(Item::End(end))) => self.end = Some(end),
                Ok(Some(Item::Aux { name, value })) => {
                    let wanted = [INDEX, TERM, GROUP].iter().any(|f| f.as_bytes() == &*name);
                    if wanted && value.len() <= FIELD_MAX {
                        self.origin.insert(name.into_owned(), value.into_owned());
                    }
                }
                Ok(Some(_)) => {}
                Err(error) => {
                    return Err(SnapshotError::Differs {
                        file: self.file.clone(),
                        what: error.to_string(),
                    })
                }
            }
        }
    }

    /// How many keys it has, and its end.
    pub fn finish(self) -> Result<(u64, End), SnapshotError> {
        let (file, end) = (self.file, self.end);
        let differs = |what: String| SnapshotError::Differs { file, what };
        match (self.reader.finish(), end) {
            (Ok(()), Some(end)) => Ok((self.keys, end)),
            (Ok(()), None) => Err(differs("it has no end".to_owned())),
            (Err(error), _) => Err(differs(error.to_string())),
        }
    }
}

/// P17: whether a file that has come from another member is the state that was offered.
pub struct OfferedCheck {
    check: Check,
    origin: [(&'static str, String); 3],
    wanted: StateFile,
}

impl OfferedCheck {
    pub fn new(group: GroupId, at: EntryId, wanted: StateFile) -> OfferedCheck {
        OfferedCheck {
            check: Check::new(&storage::snapshot::name(at, &wanted)),
            origin: origin(at, group),
            wanted,
        }
    }
}

impl FileCheck for OfferedCheck {
    fn feed(&mut self, slice: &[u8]) -> Result<(), SnapshotError> {
        self.check.feed(slice)
    }

    fn end(self: Box<Self>) -> Result<(), SnapshotError> {
        let OfferedCheck {
            check,
            origin,
            wanted,
        } = *self;
        let (file, fields) = (check.file.clone(), check.origin.clone());
        let (_, end) = check.finish()?;
        let differs = |what: String| Err(SnapshotError::Differs { file, what });
        if (end.length, end.checksum) != (wanted.bytes, Some(wanted.crc64)) {
            return differs(format!("{end:?} where {wanted:?} was offered"));
        }
        for (name, value) in origin {
            let found = fields.get(name.as_bytes());
            if found.is_none_or(|found| found != value.as_bytes()) {
                return differs(format!("{name} is not {value}"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdb::file::Writer;
    use std::convert::Infallible;

    const AT: EntryId = EntryId { index: 7, term: 3 };
    const GROUP: GroupId = GroupId(5);

    /// A file without keys that says so of itself.
    fn file(at: EntryId, group: GroupId) -> (Vec<u8>, StateFile) {
        let mut bytes = Vec::new();
        let mut sink = |piece: &[u8]| {
            bytes.extend_from_slice(piece);
            Ok::<(), Infallible>(())
        };
        let mut writer = Writer::new(12, false);
        for (name, value) in origin(at, group) {
            let (name, value) = (name.as_bytes(), value.as_bytes());
            writer.aux(name, value, &mut sink).expect("no disk");
        }
        let end = writer.end(&mut sink).expect("no disk");
        let file = StateFile {
            bytes: end.length,
            crc64: end.checksum.expect("it has one"),
        };
        (bytes, file)
    }

    fn verdict(bytes: &[u8], wanted: StateFile) -> Result<(), String> {
        let mut check = Box::new(OfferedCheck::new(GROUP, AT, wanted));
        for slice in bytes.chunks(10) {
            check.feed(slice).map_err(|e| e.to_string())?;
        }
        check.end().map_err(|e| e.to_string())
    }

    #[test]
    fn a_file_is_the_state_that_was_offered() {
        let (bytes, wanted) = file(AT, GROUP);
        assert_eq!(verdict(&bytes, wanted), Ok(()));
    }

    #[test]
    fn a_file_that_is_cut_or_changed_is_refused() {
        let (bytes, wanted) = file(AT, GROUP);
        for length in 0..bytes.len() {
            verdict(&bytes[..length], wanted).unwrap_err();
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            verdict(&changed, wanted).unwrap_err();
        }
    }

    #[test]
    fn a_sound_file_of_another_state_is_refused() {
        let (_, wanted) = file(AT, GROUP);
        let (other, of_other) = file(EntryId { index: 8, term: 3 }, GROUP);
        let why = verdict(&other, wanted).unwrap_err();
        assert!(why.contains("was offered"), "{why}");
        let why = verdict(&other, of_other).unwrap_err();
        assert!(why.contains("hf-index is not 7"), "{why}");
        let (other, of_other) = file(AT, GroupId(6));
        let why = verdict(&other, of_other).unwrap_err();
        assert!(why.contains("hf-group is not"), "{why}");
    }
}
