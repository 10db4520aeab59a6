//! From a file to a keyspace.
//!
//! Owns what of an RDB file becomes which key, and what a file of ours proves beside its checksum: the
//! number of its keys. Never: opens the file, or looks at a clock; a key that has expired is kept, since
//! its deletion is an entry of the log, and a later one may give it more time.
//!
//! Total: any bytes are a keyspace or an error.

use super::breath::Pacer;
use super::payload::{add_piece, begin_value, elements_of};
use keyspace::{Detached, Keyspace, Ttl, Value};
use rdb::file::{Begin, End, Entry, Fault, FileError, Item, Place, Reader};
use rdb::Piece;

/// Fields of a file of ours that stand behind its keys: how many there are, and in hex what
/// [`Keyspace::digest_all`] says of them.
pub const KEYS: &[u8] = b"hf-keys";
pub const DIGEST: &[u8] = b"hf-digest";

/// The field of a state's file that names its group; at the file's head.
pub const GROUP: &str = "hf-group";

/// So many bytes of a key are shown.
const KEY_SHOWN: usize = 128;

/// Why a file can't be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("it has keys of database {0}, and this server has only {1} (directive `databases`; in cluster mode always one)")]
    Database(u64, u32),
    #[error("it has the key {0} twice")]
    Twice(String),
    #[error("it has a library of functions, and there are none here")]
    Function,
    #[error("it says that it has {told} keys, and has {found}")]
    Count { told: String, found: u64 },
    #[error("its keys are not those that were written")]
    Digest,
}

/// Builds a keyspace from a file that comes in slices of any size.
pub struct Loader {
    keyspace: Keyspace,
    reader: Reader,
    db: u32,
    keys: u64,
    /// What the file says of its keys.
    told: Option<Vec<u8>>,
    digest: Option<Vec<u8>>,
    group: Option<Vec<u8>>,
    end: Option<End>,
    /// The value whose pieces are coming.
    building: Option<Building>,
    pacer: Pacer,
}

impl Loader {
    /// Into this keyspace, which is empty.
    pub fn new(keyspace: Keyspace) -> Loader {
        Loader {
            keyspace,
            // No length is believed before its bytes have come, so none needs to be refused.
            reader: Reader::new(usize::MAX),
            db: 0,
            keys: 0,
            told: None,
            digest: None,
            group: None,
            end: None,
            building: None,
            pacer: Pacer::default(),
        }
    }

    /// The next bytes of the file.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
        self.feed_with(bytes, &mut || {})
    }

    /// The same; `breathe` is called now and then (T9).
    pub fn feed_with(
        &mut self,
        mut bytes: &[u8],
        breathe: &mut dyn FnMut(),
    ) -> Result<(), LoadError> {
        while let Some(item) = self.reader.next(&mut bytes, breathe)? {
            self.pacer.step(0, breathe);
            match item {
                Item::Version(_) | Item::Sizes { .. } | Item::Slot { .. } => {}
                Item::Aux { name, value } if *name == *KEYS => self.told = Some(value.into_owned()),
                Item::Aux { name, value } if *name == *DIGEST => {
                    self.digest = Some(value.into_owned());
                }
                Item::Aux { name, value } if *name == *GROUP.as_bytes() => {
                    self.group = Some(value.into_owned());
                }
                Item::Aux { .. } => {}
                Item::Db(db) => {
                    let here = self.keyspace.databases();
                    let known = u32::try_from(db).ok().filter(|db| *db < here);
                    self.db = known.ok_or(LoadError::Database(db, here))?;
                }
                Item::Function(_) => return Err(LoadError::Function),
                Item::Entry(entry) => {
                    put(&mut self.keyspace, self.db, &entry)?;
                    self.keys += 1;
                }
                Item::Begin(begin) => {
                    check_absent(&self.keyspace, self.db, &begin.head.key)?;
                    self.building = Some(Building::begin(&self.keyspace, self.db, begin));
                }
                Item::Piece(piece) => {
                    let building = self.building.as_mut();
                    building
                        .expect("pieces stand behind a beginning")
                        .add(&piece)?;
                }
                Item::Finish => {
                    let building = self.building.take();
                    let built = building.expect("an end stands behind a beginning");
                    self.keys += u64::from(built.finish(&mut self.keyspace));
                }
                Item::End(end) => self.end = Some(end),
            }
        }
        Ok(())
    }

    /// The group of which the file says that it is a state.
    pub fn group(&self) -> Option<&[u8]> {
        self.group.as_deref()
    }

    /// No more bytes come: the keyspace, and the file's end.
    pub fn finish(self) -> Result<(Keyspace, End), LoadError> {
        self.reader.finish()?;
        let (keyspace, found) = (self.keyspace, self.keys);
        if let Some(told) = self
            .told
            .filter(|told| *told != found.to_string().as_bytes())
        {
            let told = String::from_utf8_lossy(&told).into_owned();
            return Err(LoadError::Count { told, found });
        }
        // The checksum has shown that the bytes are those that were written; this looks at each key.
        if cfg!(debug_assertions) {
            let hex: String = keyspace
                .digest_all()
                .iter()
                .map(|b| format!("{b:02x}"))
                .collect();
            if self.digest.is_some_and(|digest| digest != hex.as_bytes()) {
                return Err(LoadError::Digest);
            }
        }
        let end = self.end.unwrap_or(End {
            length: self.reader.offset(),
            checksum: None,
        });
        Ok((keyspace, end))
    }
}

/// A value of which not all pieces have come.
pub struct Building {
    db: u32,
    key: Box<[u8]>,
    expiry: Option<i64>,
    value: Detached,
    /// Pieces are added up, as an element that is there twice is one in the value.
    elements: u64,
    /// For errors that are found in what follows.
    place: Place,
}

impl Building {
    /// For the keyspace, which is only asked how it keeps values.
    pub fn begin(keyspace: &Keyspace, db: u32, begin: Begin<'_>) -> Building {
        let (place, head) = (begin.place(), begin.head);
        let value = begin_value(keyspace, head.encoding.kind());
        Building {
            db,
            key: head.key.into(),
            expiry: head.expires_at_ms,
            value,
            elements: 0,
            place,
        }
    }

    pub fn key(&self) -> &[u8] {
        &self.key
    }

    pub fn expiry(&self) -> Option<i64> {
        self.expiry
    }

    /// The value so far; none where it has no elements, and so there is no key.
    pub fn value(&self) -> Option<Value<'_>> {
        (self.elements > 0).then(|| self.value.value())
    }

    /// An error is an element that is there twice.
    pub fn add(&mut self, piece: &Piece<'_>) -> Result<(), FileError> {
        self.elements += match piece {
            Piece::Packed(form, bytes) => form.elements(bytes).count() as u64,
            _ => 1,
        };
        add_piece(&mut self.value, piece);
        if self.elements != elements_of(self.value.value()) {
            let (place, fault) = (self.place.clone(), Fault::Twice);
            return Err(FileError { place, fault });
        }
        Ok(())
    }

    /// False if there were no elements, and so there is no key.
    fn finish(self, keyspace: &mut Keyspace) -> bool {
        if self.elements == 0 {
            return false;
        }
        let key = keyspace.key(&self.key);
        keyspace.adopt(self.db, &key, self.value, self.expiry);
        true
    }
}

fn check_absent(keyspace: &Keyspace, db: u32, key: &[u8]) -> Result<(), LoadError> {
    match keyspace.get(db, &keyspace.key(key)) {
        None => Ok(()),
        Some(_) => {
            let shown = &key[..key.len().min(KEY_SHOWN)];
            let shown = String::from_utf8_lossy(shown).into_owned();
            Err(LoadError::Twice(shown))
        }
    }
}

fn put(keyspace: &mut Keyspace, db: u32, entry: &Entry<'_>) -> Result<(), LoadError> {
    check_absent(keyspace, db, &entry.key)?;
    let key = keyspace.key(&entry.key);
    let ttl = entry.expires_at_ms.map_or(Ttl::Clear, Ttl::At);
    keyspace.set_string(db, &key, &entry.value, ttl);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyspace::Layout;
    use proptest::prelude::*;
    use rdb::file::Writer;
    use std::borrow::Cow;
    use std::convert::Infallible;

    fn empty() -> Keyspace {
        Keyspace::new(Layout::Single { databases: 4 }, 3)
    }

    type Sink<'s> = dyn FnMut(&[u8]) -> Result<(), Infallible> + 's;

    /// A file with keys of databases 0 and 3, and what is written behind them.
    fn file(more: impl FnOnce(&mut Writer, &mut Vec<u8>)) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(10, true);
        let mut add = |writer: &mut Writer, db: u64, key: &[u8], value: &[u8], at: Option<i64>| {
            let entry = Entry {
                key: Cow::Borrowed(key),
                value: Cow::Borrowed(value),
                expires_at_ms: at,
                idle_seconds: None,
                frequency: None,
            };
            let mut sink = |piece: &[u8]| -> Result<(), Infallible> {
                bytes.extend_from_slice(piece);
                Ok(())
            };
            let Ok(()) = writer.db(db, &mut sink);
            let Ok(()) = writer.entry(&entry, &mut sink);
        };
        add(&mut writer, 0, b"n", b"12", None);
        add(&mut writer, 0, b"gone", b"long ago", Some(5));
        add(&mut writer, 3, b"text", &[b'x'; 5000], Some(1 << 50));
        more(&mut writer, &mut bytes);
        let Ok(_) = writer.end(&mut |piece: &[u8]| -> Result<(), Infallible> {
            bytes.extend_from_slice(piece);
            Ok(())
        });
        bytes
    }

    fn aux(writer: &mut Writer, bytes: &mut Vec<u8>, name: &[u8], value: &[u8]) {
        let Ok(()) = writer.aux(name, value, &mut |piece: &[u8]| -> Result<(), Infallible> {
            bytes.extend_from_slice(piece);
            Ok(())
        });
    }

    fn load(bytes: &[u8], slice: usize) -> Result<(Keyspace, End), LoadError> {
        let mut loader = Loader::new(empty());
        for slice in bytes.chunks(slice) {
            loader.feed(slice)?;
        }
        loader.finish()
    }

    #[test]
    fn a_file_becomes_its_keys_expired_ones_too() {
        let mut want = empty();
        let put = |ks: &mut Keyspace, db, key: &[u8], value: &[u8], ttl| {
            let key = ks.key(key);
            ks.set_string(db, &key, value, ttl);
        };
        put(&mut want, 0, b"n", b"12", Ttl::Clear);
        put(&mut want, 0, b"gone", b"long ago", Ttl::At(5));
        put(&mut want, 3, b"text", &[b'x'; 5000], Ttl::At(1 << 50));
        let bytes = file(|writer, bytes| aux(writer, bytes, KEYS, b"3"));
        for slice in [1, 7, 4096, 1 << 20] {
            let (keyspace, end) = load(&bytes, slice).unwrap();
            assert_eq!(keyspace.digest_all(), want.digest_all());
            assert_eq!(end.length, bytes.len() as u64);
            let sum = u64::from_le_bytes(*bytes.last_chunk().unwrap());
            assert_eq!(end.checksum, Some(sum));
        }
    }

    #[test]
    fn what_a_file_says_of_its_keys_must_be_so() {
        let told =
            |name: &[u8], value: &[u8]| load(&file(|w, b| aux(w, b, name, value)), 100).err();
        assert!(matches!(
            told(KEYS, b"4"),
            Some(LoadError::Count { found: 3, .. })
        ));
        assert!(matches!(told(KEYS, b"?"), Some(LoadError::Count { .. })));
        assert!(matches!(told(DIGEST, b"00"), Some(LoadError::Digest)));
        assert!(told(b"other", b"4").is_none());
    }

    #[test]
    fn what_has_no_place_here_is_refused() {
        let with = |run: &dyn Fn(&mut Writer, &mut Sink<'_>)| {
            let bytes = file(|writer, bytes| {
                run(writer, &mut |piece| {
                    bytes.extend_from_slice(piece);
                    Ok(())
                });
            });
            load(&bytes, 64).err()
        };
        let db = with(&|writer, mut sink| {
            let Ok(()) = writer.db(4, &mut sink);
        });
        assert!(matches!(db, Some(LoadError::Database(4, 4))));
        let function = with(&|writer, mut sink| {
            let Ok(()) = writer.function(b"#!lua name=f", &mut sink);
        });
        assert!(matches!(function, Some(LoadError::Function)));
        let twice = with(&|writer, mut sink| {
            let entry = Entry {
                key: Cow::Borrowed(b"text"),
                value: Cow::Borrowed(b"again"),
                expires_at_ms: None,
                idle_seconds: None,
                frequency: None,
            };
            let Ok(()) = writer.entry(&entry, &mut sink);
        });
        assert!(matches!(twice, Some(LoadError::Twice(key)) if key == "text"));
    }

    proptest! {
        /// A file cut short, or with a changed byte, is an error: its checksum knows.
        #[test]
        fn a_damaged_file_is_an_error(
            at in any::<prop::sample::Index>(),
            bit in 0u8..8,
            slice in 1usize..600,
        ) {
            let good = file(|writer, bytes| aux(writer, bytes, KEYS, b"3"));
            let at = at.index(good.len());
            prop_assert!(load(&good[..at], slice).is_err());
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            prop_assert!(load(&bad, slice).is_err());
        }
    }
}
