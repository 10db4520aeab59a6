//! From a keyspace to a file.
//!
//! Owns which key becomes what of an RDB file, and the fields beside the keys: Redis's own in its order, and
//! ours, of which [`load`](super::load) compares those that stand behind the keys. Never: opens a file, or
//! looks at a clock; a key that has expired is written, since its deletion is an entry of the log.

use super::load::{DIGEST, KEYS};
use super::payload::{encoding_of, write_value};
use keyspace::{CutEntry, DbSize, KeysDigest, Keyspace};
use rdb::file::{End, Head, Writer, WRITTEN};
use rdb::Type;
use std::borrow::Cow;
use std::convert::Infallible;
use std::ops::ControlFlow;

/// So many keys are written before anybody hears of it.
const TOLD_EVERY: u64 = 1024;

/// What a file says of the program that has written it, as Redis's do.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// The version of Redis that this program speaks as.
    pub redis_version: String,
    pub unix_seconds: u64,
    pub used_memory: u64,
}

/// How a file is written.
#[derive(Clone, Debug, Default)]
pub struct Style {
    pub origin: Origin,
    /// Fields of our own, which stand behind Redis's: names and values.
    pub fields: Vec<(&'static str, String)>,
    /// `rdbcompression`.
    pub compress: bool,
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Saved {
    pub end: End,
    pub keys: u64,
}

/// A file whose keys come one by one, in any order.
pub struct KeysWriter {
    writer: Writer,
    /// The database of which the last key was.
    db: Option<u32>,
    keys: u64,
    digest: KeysDigest,
}

impl KeysWriter {
    /// Begins a file with its fields. `fields_expire`: there is a hash of which fields expire.
    pub fn begin<E>(
        style: &Style,
        fields_expire: bool,
        sink: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<KeysWriter, E> {
        // The lowest version that holds all there is: a Redis refuses a file above its own.
        let version = match fields_expire {
            true => Type::HashExpiring.lowest_version(),
            false => *WRITTEN.start(),
        };
        let mut writer = Writer::new(version, style.compress);
        put_fields(&mut writer, style, sink)?;
        Ok(KeysWriter {
            writer,
            db: None,
            keys: 0,
            digest: KeysDigest::default(),
        })
    }

    /// How many keys a database will have; before its first one.
    pub fn size<E>(
        &mut self,
        size: DbSize,
        sink: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.select(size.db, sink)?;
        self.writer.sizes(size.keys, size.expires, sink)
    }

    fn select<E>(
        &mut self,
        db: u32,
        sink: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.db == Some(db) {
            return Ok(());
        }
        self.db = Some(db);
        self.writer.db(db.into(), sink)
    }

    pub fn key<E>(
        &mut self,
        entry: CutEntry<'_>,
        sink: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.select(entry.db, sink)?;
        self.keys += 1;
        // As long as all the rest: the checksum and the count are what a start relies on.
        if cfg!(debug_assertions) {
            let (db, key, expiry) = (entry.db, entry.key, entry.expiry);
            self.digest.add(db, key, entry.value, expiry);
        }
        let encoding = encoding_of(entry.value, self.writer.version());
        let head = Head {
            key: Cow::Borrowed(entry.key),
            encoding,
            expires_at_ms: entry.expiry,
            idle_seconds: None,
            frequency: None,
        };
        let mut to = self.writer.begin_entry(&head, sink)?;
        write_value(entry.value, encoding, &mut to)
    }

    /// Keys so far.
    pub fn keys(&self) -> u64 {
        self.keys
    }

    pub fn end<E>(mut self, sink: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<Saved, E> {
        let keys = self.keys;
        self.writer.aux(KEYS, keys.to_string().as_bytes(), sink)?;
        if cfg!(debug_assertions) {
            let digest = hex(&self.digest.all());
            self.writer.aux(DIGEST, digest.as_bytes(), sink)?;
        }
        let end = self.writer.end(sink)?;
        Ok(Saved { end, keys })
    }
}

/// Writes the file of a keyspace. `told` hears now and then how many keys are written.
pub fn save<E>(
    keyspace: &Keyspace,
    style: &Style,
    sink: &mut impl FnMut(&[u8]) -> Result<(), E>,
    told: &mut dyn FnMut(u64),
) -> Result<Saved, E> {
    let mut writer = KeysWriter::begin(style, keyspace.fields_expire(), sink)?;
    for db in (0..keyspace.databases()).filter(|db| keyspace.len(*db) > 0) {
        let size = DbSize {
            db,
            keys: keyspace.len(db),
            expires: keyspace.expires(db),
        };
        writer.size(size, sink)?;
        let mut written = Ok(());
        keyspace.for_each(db, &mut |entry| {
            let entry = CutEntry {
                db,
                key: entry.key(),
                expiry: entry.expiry(),
                value: entry.value(),
            };
            written = writer.key(entry, sink);
            if writer.keys() % TOLD_EVERY == 0 {
                told(writer.keys());
            }
            match written {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        });
        written?;
    }
    told(writer.keys());
    writer.end(sink)
}

/// A file that has the fields of Redis's and nothing else.
pub fn without_keys(origin: Origin) -> Vec<u8> {
    let style = Style {
        origin,
        ..Style::default()
    };
    let mut file = Vec::new();
    let mut sink = |piece: &[u8]| {
        file.extend_from_slice(piece);
        Ok::<(), Infallible>(())
    };
    let mut writer = Writer::new(*WRITTEN.start(), style.compress);
    let written = put_fields(&mut writer, &style, &mut sink).and_then(|()| writer.end(&mut sink));
    match written {
        Ok(_) => file,
        Err(never) => match never {},
    }
}

fn put_fields<E>(
    writer: &mut Writer,
    style: &Style,
    sink: &mut impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let origin = &style.origin;
    let (seconds, memory) = (
        origin.unix_seconds.to_string(),
        origin.used_memory.to_string(),
    );
    let of_redis = [
        ("redis-ver", origin.redis_version.as_str()),
        ("redis-bits", "64"),
        ("ctime", &seconds),
        ("used-mem", &memory),
        ("aof-base", "0"),
    ];
    let ours = style.fields.iter().map(|(name, value)| (*name, &**value));
    for (name, value) in of_redis.into_iter().chain(ours) {
        writer.aux(name.as_bytes(), value.as_bytes(), sink)?;
    }
    Ok(())
}

/// Bytes as text, as the fields have them.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Loader;
    use keyspace::{Layout, Ttl};
    use rdb::file::{Item, Reader};

    fn keyspace() -> Keyspace {
        let mut keyspace = Keyspace::new(Layout::Single { databases: 4 }, 9);
        let mut put = |db, key: &[u8], value: &[u8], ttl| {
            let key = keyspace.key(key);
            keyspace.set_string(db, &key, value, ttl);
        };
        put(0, b"n", b"12", Ttl::Clear);
        put(0, b"gone", b"long ago", Ttl::At(5));
        put(0, b"", &[b'x'; 200_000], Ttl::Clear);
        put(3, b"text", b"not a number", Ttl::At(1 << 50));
        keyspace
    }

    #[test]
    fn a_file_without_keys_has_fields_and_an_end() {
        let bytes = without_keys(Origin::default());
        let (mut reader, mut rest) = (Reader::new(usize::MAX), &bytes[..]);
        let mut fields = 0;
        while let Some(item) = reader.next(&mut rest, &mut || {}).unwrap() {
            match item {
                Item::Version(_) | Item::End(_) => {}
                Item::Aux { .. } => fields += 1,
                other => panic!("{other:?}"),
            }
        }
        reader.finish().expect("it is whole");
        assert_eq!(fields, 5);
    }

    fn file(keyspace: &Keyspace, style: &Style) -> (Vec<u8>, Saved, u64) {
        let (mut bytes, mut last) = (Vec::new(), 0);
        let Ok(saved) = save(
            keyspace,
            style,
            &mut |piece: &[u8]| -> Result<(), Infallible> {
                bytes.extend_from_slice(piece);
                Ok(())
            },
            &mut |keys| last = keys,
        );
        (bytes, saved, last)
    }

    #[test]
    fn a_keyspace_comes_back_from_its_file() {
        let keyspace = keyspace();
        for compress in [false, true] {
            let style = Style {
                compress,
                ..Style::default()
            };
            let (bytes, saved, told) = file(&keyspace, &style);
            assert_eq!((saved.keys, told), (4, 4));
            let mut loader = Loader::new(Keyspace::new(Layout::Single { databases: 4 }, 1));
            loader.feed(&bytes).unwrap();
            let (loaded, end) = loader.finish().unwrap();
            assert_eq!(end, saved.end);
            assert_eq!(loaded.digest_all(), keyspace.digest_all());
        }
    }

    #[test]
    fn fields_and_sizes_stand_where_redis_has_them() {
        let style = Style {
            origin: Origin {
                redis_version: "7.4.1".to_owned(),
                unix_seconds: 1_700_000_000,
                used_memory: 4096,
            },
            fields: vec![("hf-index", "17".to_owned())],
            compress: true,
        };
        let (bytes, ..) = file(&keyspace(), &style);
        let (mut reader, mut rest, mut seen) =
            (Reader::new(usize::MAX), &bytes[..], Vec::<String>::new());
        while let Some(item) = reader.next(&mut rest, &mut || {}).unwrap() {
            seen.push(match item {
                Item::Aux { name, value } => format!(
                    "{} {}",
                    String::from_utf8_lossy(&name),
                    String::from_utf8_lossy(&value[..value.len().min(10)])
                ),
                Item::Version(version) => format!("version {version}"),
                Item::Db(db) => format!("db {db}"),
                Item::Sizes { keys, expires } => format!("sizes {keys} {expires}"),
                _ => continue,
            });
        }
        let digest = hex(&keyspace().digest_all());
        let want = [
            "version 10",
            "redis-ver 7.4.1",
            "redis-bits 64",
            "ctime 1700000000",
            "used-mem 4096",
            "aof-base 0",
            "hf-index 17",
            "db 0",
            "sizes 3 1",
            "db 3",
            "sizes 1 1",
            "hf-keys 4",
            &format!("hf-digest {}", &digest[..10]),
        ];
        assert_eq!(seen, want);
    }

    #[test]
    fn a_sink_that_fails_ends_it() {
        let mut left = 2;
        let saved = save(
            &keyspace(),
            &Style::default(),
            &mut |_| {
                left -= 1;
                if left == 0 {
                    Err("full")
                } else {
                    Ok(())
                }
            },
            &mut |_| (),
        );
        assert_eq!(saved, Err("full"));
    }
}
