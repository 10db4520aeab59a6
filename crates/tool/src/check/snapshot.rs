//! An RDB file in words.
//!
//! Owns what is counted of it, and what is said where it ends too early or has what it should not. Reads with the
//! server's own decoder ([`rdb::file::Reader`]) and keeps no keys: the memory is that of the largest value.
//! Total: any bytes are a text and a verdict.
//!
//! A key that is in the file twice is not noticed: that would take the memory of all keys. A load refuses it.

use super::words::{bytes, count, moment, quoted, raw, KEY_SHOWN, RAW_SHOWN};
use super::{begin, Verdict};
use keyspace::{KeysDigest, Keyspace, Layout, StringRef, Value};
use rdb::crc64::crc64;
use rdb::file::{End, Fault, FileError, Item, Reader};
use state::load::{Building, DIGEST, KEYS};
use state::save::hex;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use storage::{Base, StateFile};

/// Bytes of one read.
const SLICE: usize = 1 << 20;
/// So many fields are kept, and so many bytes of all; `hf-base` is the longest.
const FIELDS_MAX: usize = 1000;
const FIELD_BYTES_MAX: usize = 4 << 20;
/// No string is longer. A few compressed bytes may claim to be many.
const STRING_MAX: usize = 4 << 30;
/// More databases than any server has.
const DATABASES_MAX: usize = 10_000;
/// Files end with their checksum, least significant byte first; it says what is before the file's last bytes.
const CHECKSUM_BYTES: u64 = 8;

/// What one database has.
#[derive(Clone, Copy, Debug, Default)]
struct Database {
    keys: u64,
    expire: u64,
    /// What the file says beforehand.
    told: Option<(u64, u64)>,
}

/// What a file holds.
#[derive(Default)]
pub struct Look {
    version: Option<u16>,
    fields: Vec<(Vec<u8>, Vec<u8>)>,
    field_bytes: usize,
    databases: BTreeMap<u64, Database>,
    db: u64,
    functions: u64,
    slots: u64,
    digest: KeysDigest,
    /// The same by Redis's formula.
    shown: command::digest::KeysDigest,
    last_key: Option<Vec<u8>>,
    end: Option<End>,
    wrong: Option<Wrong>,
    /// The value whose pieces are coming, and the keyspace like which it is kept.
    building: Option<Building>,
    like: Option<Keyspace>,
}

/// Why a file can't be loaded.
enum Wrong {
    File(FileError),
    Databases(u64),
    Said(String),
}

/// The bytes of a file at an offset; fewer at its end.
pub trait Source {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
}

impl Source for File {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            match FileExt::read_at(self, &mut buf[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }
}

impl Source for &[u8] {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        let there = self.get(at..).unwrap_or_default();
        let n = there.len().min(buf.len());
        buf[..n].copy_from_slice(&there[..n]);
        Ok(n)
    }
}

/// The file in words. `heard` hears how many bytes were read.
pub fn check(path: &Path, heard: &dyn Fn(u64)) -> io::Result<(String, Verdict)> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::Error::other("it is a folder: check-log looks at those"));
    }
    check_source(&path.display().to_string(), &file, heard)
}

/// The same for any bytes.
pub fn check_source(
    name: &str,
    source: &impl Source,
    heard: &dyn Fn(u64),
) -> io::Result<(String, Verdict)> {
    let mut look = Look::default();
    let mut reader = Reader::new(STRING_MAX);
    let length = look.read(source, &mut reader, heard)?;
    let mut lines = Vec::new();
    look.say_what_is_there(name, length, &mut lines);
    let verdict = match &look.wrong {
        None => {
            lines.push("Verdict: the file is whole, and this build can load it.".to_owned());
            Verdict::Whole
        }
        Some(wrong) => {
            look.say_what_is_wrong(name, wrong, source, &reader, heard, &mut lines)?;
            Verdict::Damaged
        }
    };
    Ok((lines.join("\n") + "\n", verdict))
}

/// Whether a member can begin with this file, in a few lines: it has to be the one that its base names.
pub fn check_state(
    path: &Path,
    wanted: &StateFile,
    heard: &dyn Fn(u64),
) -> io::Result<(Vec<String>, bool)> {
    let (mut look, mut reader) = (Look::default(), Reader::new(STRING_MAX));
    look.read(&File::open(path)?, &mut reader, heard)?;
    if let Some(wrong) = &look.wrong {
        let why = match wrong {
            Wrong::File(fault) => fault.to_string(),
            Wrong::Databases(db) => format!("it has keys of database {db}"),
            Wrong::Said(what) => what.clone(),
        };
        return Ok((vec![format!("DAMAGED: {why}")], false));
    }
    let found = look.end.map(|end| (end.length, end.checksum));
    if found != Some((wanted.bytes, Some(wanted.crc64))) {
        let why = "DAMAGED: it is a whole file, but another one than base names".to_owned();
        return Ok((vec![why], false));
    }
    let keys = count(look.keys(), "key", "keys");
    let digest = hex(&look.digest.all());
    Ok((vec![format!("whole, with {keys}; digest {digest}")], true))
}

impl Look {
    /// Reads all that can be read; how long the file is as far as it was read.
    fn read(
        &mut self,
        source: &impl Source,
        reader: &mut Reader,
        heard: &dyn Fn(u64),
    ) -> io::Result<u64> {
        let (mut slice, mut at) = (vec![0; SLICE], 0u64);
        loop {
            let n = source.read_at(&mut slice, at)?;
            heard(n as u64);
            at += n as u64;
            let mut rest = &slice[..n];
            loop {
                match reader.next(&mut rest, &mut || {}) {
                    Ok(Some(item)) => self.item(item),
                    Ok(None) => break,
                    Err(error) => self.wrong = Some(Wrong::File(error)),
                }
                if self.wrong.is_some() {
                    return Ok(at);
                }
            }
            if n < slice.len() {
                break;
            }
        }
        if let Err(error) = reader.finish() {
            self.wrong = Some(Wrong::File(error));
        } else {
            self.compare();
        }
        Ok(at)
    }

    fn item(&mut self, item: Item<'_>) {
        match item {
            Item::Version(version) => self.version = Some(version),
            Item::Aux { name, value } => {
                let bytes = name.len() + value.len();
                if self.fields.len() < FIELDS_MAX && self.field_bytes + bytes <= FIELD_BYTES_MAX {
                    self.field_bytes += bytes;
                    self.fields.push((name.into_owned(), value.into_owned()));
                }
            }
            Item::Db(db) => {
                if u32::try_from(db).is_err() || self.databases.len() >= DATABASES_MAX {
                    self.wrong = Some(Wrong::Databases(db));
                }
                self.db = db;
                self.databases.entry(db).or_default();
            }
            Item::Sizes { keys, expires } => {
                let database = self.databases.entry(self.db).or_default();
                database.told = Some((keys, expires));
            }
            Item::Slot { .. } => self.slots += 1,
            Item::Function(_) => self.functions += 1,
            Item::Entry(entry) => {
                let value = Value::String(StringRef::Bytes(&entry.value));
                self.key(&entry.key, value, entry.expires_at_ms);
            }
            Item::Begin(begin) => {
                let layout = Layout::Single { databases: 1 };
                let like = self.like.get_or_insert_with(|| Keyspace::new(layout, 0));
                self.building = Some(Building::begin(like, 0, begin));
            }
            Item::Piece(piece) => {
                let added = self.building.as_mut().map(|value| value.add(&piece));
                if let Some(Err(error)) = added {
                    self.wrong = Some(Wrong::File(error));
                }
            }
            Item::Finish => {
                if let Some(built) = self.building.take() {
                    if let Some(value) = built.value() {
                        self.key(built.key(), value, built.expiry());
                    }
                }
            }
            Item::End(end) => self.end = Some(end),
        }
    }

    fn key(&mut self, key: &[u8], value: Value<'_>, expires_at_ms: Option<i64>) {
        let database = self.databases.entry(self.db).or_default();
        database.keys += 1;
        database.expire += u64::from(expires_at_ms.is_some());
        let db = u32::try_from(self.db).unwrap_or(u32::MAX);
        self.digest.add(db, key, value, expires_at_ms);
        let shown = (value, expires_at_ms.is_some());
        self.shown.add(db, key, shown, &mut |_| {});
        let shown = &key[..key.len().min(KEY_SHOWN + 1)];
        self.last_key = Some(shown.to_vec());
    }

    fn keys(&self) -> u64 {
        self.databases.values().map(|db| db.keys).sum()
    }

    fn field(&self, name: &[u8]) -> Option<&[u8]> {
        let newest = self.fields.iter().rfind(|(field, _)| field == name);
        newest.map(|(_, value)| &value[..])
    }

    /// What a file of ours says of its keys, against what was found; as a load does it.
    fn compare(&mut self) {
        let (keys, digest) = (self.keys().to_string(), hex(&self.digest.all()));
        for (name, found) in [(KEYS, keys), (DIGEST, digest)] {
            let told = self.field(name).filter(|told| *told != found.as_bytes());
            if let Some(told) = told {
                let what = format!(
                    "the field {} says {}, and what was found is {found}",
                    name.escape_ascii(),
                    quoted(told, KEY_SHOWN)
                );
                self.wrong = Some(Wrong::Said(what));
            }
        }
        if self.functions > 0 {
            let what = "it has libraries of functions, and this build has none".to_owned();
            self.wrong = Some(Wrong::Said(what));
        }
    }
}

/// What is said.
impl Look {
    fn say_what_is_there(&self, name: &str, length: u64, lines: &mut Vec<String>) {
        let Some(version) = self.version else {
            lines.push(format!("{name}: {} or more were read", bytes(length)));
            return;
        };
        lines.push(format!(
            "{name}: an RDB file of version {version}{}",
            of_redis(version)
        ));
        if !self.fields.is_empty() {
            lines.push("Fields:".to_owned());
        }
        for (name, value) in &self.fields {
            say_field(name, value, lines);
        }
        let expire = self.databases.values().map(|db| db.expire).sum();
        let so_far = if self.end.is_some() {
            ""
        } else {
            " up to there"
        };
        lines.push(format!(
            "Keys{so_far}: {}, {} with an expiry",
            self.keys(),
            expire_count(expire)
        ));
        for (db, of) in &self.databases {
            let told = match of.told {
                Some(told) if told != (of.keys, of.expire) && self.end.is_some() => {
                    format!(
                        " (the file says {} and {}; nothing rests on that)",
                        told.0, told.1
                    )
                }
                _ => String::new(),
            };
            lines.push(format!(
                "  database {db}: {}, {} with an expiry{told}",
                count(of.keys, "key", "keys"),
                expire_count(of.expire)
            ));
        }
        if self.slots > 0 {
            lines.push(format!("Sizes of slots: {}", self.slots));
        }
        if self.functions > 0 {
            lines.push(format!("Libraries of functions: {}", self.functions));
        }
        if let Some(end) = &self.end {
            let sum = end.checksum.map_or(
                "none, so a changed byte can not be told".to_owned(),
                |sum| format!("{sum:016x}, that of its bytes"),
            );
            lines.push(format!("Bytes: {}, CRC64 {sum}", end.length));
            lines.push(format!(
                "Digest of the keys, as DEBUG DIGEST says it: {}",
                self.shown.all().hex()
            ));
        }
    }

    fn say_what_is_wrong(
        &self,
        name: &str,
        wrong: &Wrong,
        source: &impl Source,
        reader: &Reader,
        heard: &dyn Fn(u64),
        lines: &mut Vec<String>,
    ) -> io::Result<()> {
        let fault = match wrong {
            Wrong::Databases(db) => {
                lines.push(format!(
                    "Verdict: it has keys of database {db}: no server has so many databases."
                ));
                return Ok(());
            }
            Wrong::Said(what) => {
                lines.push(format!(
                    "Verdict: every byte is as it was written, but {what}."
                ));
                lines.push("What helps: a load refuses such a file; take another copy.".to_owned());
                return Ok(());
            }
            Wrong::File(fault) => fault,
        };
        let offset = fault.place.offset;
        let mut there = [0; RAW_SHOWN];
        let n = source.read_at(&mut there, offset)?;
        lines.push(format!("Stopped: {name}, {fault}"));
        lines.push(format!("  there stands: {}", raw(&there[..n])));
        match &self.last_key {
            Some(key) => lines.push(format!("  the key before it: {}", quoted(key, KEY_SHOWN))),
            None => lines.push("  no key stands before it".to_owned()),
        }
        if !is_unknown_here(&fault.fault) {
            lines.push(format!("Verdict: {}", verdict(&fault.fault)));
            lines.push(format!("What helps: {}", help(&fault.fault, &there[..n])));
            return Ok(());
        }
        // The checksum tells whether it is damage that looks like something unknown.
        let whole = ends_with_its_checksum(source, reader, heard)?;
        lines.push(match whole {
            true => "Verdict: the file is whole by its checksum, but this build can't load it: it \
                     has what is not built yet."
                .to_owned(),
            false => "Verdict: this build does not know what stands there, and the checksum at the end is \
                      not that of the file: it is damaged, or was changed."
                .to_owned(),
        });
        lines.push(match whole {
            true => {
                "What helps: load it with a Redis, and save there without such keys (strings alone \
                     are loaded here yet)."
                    .to_owned()
            }
            false => format!("What helps: {ANOTHER_COPY}"),
        });
        Ok(())
    }
}

const ANOTHER_COPY: &str =
    "another copy of the file. What stands before the offset was read without an \
                            error; what stands behind it can't be found without what stands there.";

fn expire_count(n: u64) -> String {
    match n {
        0 => "none".to_owned(),
        n => n.to_string(),
    }
}

/// Which Redis writes files of the version.
fn of_redis(version: u16) -> &'static str {
    match version {
        9 => " (Redis 5 and 6)",
        10 => " (Redis 7.0, and Holdfast)",
        11 => " (Redis 7.2)",
        12 => " (Redis 7.4)",
        _ => "",
    }
}

fn say_field(name: &[u8], value: &[u8], lines: &mut Vec<String>) {
    let text = std::str::from_utf8(value).unwrap_or_default();
    let number = text.parse::<u64>().ok();
    let said = match (name, number) {
        (b"redis-ver", _) => "the version of Redis that its program speaks as",
        (b"redis-bits", _) => "bits of a word of the program",
        (b"ctime", Some(_)) => "when it was made",
        (b"used-mem", Some(_)) => "bytes of memory that were in use",
        (b"aof-base" | b"aof-preamble", _) => "whether an append-only file begins with it (1)",
        (b"repl-stream-db" | b"repl-id" | b"repl-offset", _) => "of Redis's replication",
        (b"hf-index", Some(_)) => "the entry of the log as of which it is",
        (b"hf-term", Some(_)) => "that entry's term",
        (b"hf-group", _) => "the group whose state it is",
        (b"hf-incarnation", _) => "the group's incarnation",
        (b"hf-keys", Some(_)) => "how many keys it has",
        (b"hf-digest", _) => "the digest of its keys",
        (b"hf-base", _) => return say_base(text, lines),
        _ => "unknown here; a load passes over it",
    };
    let of_time = match (name, number) {
        (b"ctime", Some(seconds)) => {
            format!(" ({})", moment(i64::try_from(seconds).unwrap_or(i64::MAX)))
        }
        _ => String::new(),
    };
    lines.push(format!(
        "  {} {}{of_time}: {said}",
        name[..name.len().min(KEY_SHOWN)].escape_ascii(),
        quoted(value, KEY_SHOWN)
    ));
}

/// What the file says of a member that begins with it.
fn say_base(text: &str, lines: &mut Vec<String>) {
    let pair = |pair: &[u8]| {
        let digit = |c: u8| char::from(c).to_digit(16);
        let [high, low] = pair else { return None };
        u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
    };
    let decoded: Option<Vec<u8>> = text.as_bytes().chunks(2).map(pair).collect();
    let base = decoded.ok_or_else(|| "it is not in hex".to_owned());
    let base = base.and_then(|of| Base::from_bytes(&of).map_err(|e| e.to_string()));
    match base {
        Err(why) => lines.push(format!(
            "  hf-base: can't be read ({why}); a load passes over it"
        )),
        Ok(base) => {
            lines.push(
                "  hf-base: with what a member would begin that begins with this file".to_owned(),
            );
            lines.push(format!("    {}", begin::identity(&base.identity)));
            lines.push(format!(
                "    as of entry {} of term {}; members:",
                base.snapshot.index, base.snapshot.term
            ));
            let members = begin::members(&base.snapshot.conf_state, &base.snapshot.members);
            lines.extend(members.into_iter().map(|line| format!("      {line}")));
            let record = begin::record(&base.snapshot.record);
            lines.extend(record.into_iter().map(|line| format!("    record: {line}")));
        }
    }
}

/// Whether it may be no damage, but something that comes with a later build.
fn is_unknown_here(fault: &Fault) -> bool {
    matches!(
        fault,
        Fault::Type | Fault::Module(_) | Fault::FunctionOfCandidate
    )
}

fn verdict(fault: &Fault) -> &'static str {
    match fault {
        Fault::Magic => "this is no RDB file.",
        Fault::Version(_) => "a later Redis has written the file, or its beginning is damaged.",
        Fault::Short => "the file's end is missing.",
        Fault::Behind => "the file is whole, but something was written behind its end.",
        Fault::Checksum { .. } => "all of it can be read, but some byte is not as it was written.",
        _ => "the file is damaged there.",
    }
}

/// What an operator can do.
fn help(fault: &Fault, there: &[u8]) -> String {
    match fault {
        Fault::Magic if there.starts_with(b"HFBASE") || there.starts_with(b"HFLOG") => {
            "it is a file of a member's log: give its folder to check-log.".to_owned()
        }
        Fault::Magic => "look whether it is the right file; a compressed copy has to be unpacked \
                         first."
            .to_owned(),
        Fault::Version(_) => "save the data with Redis 7.4 or an older one.".to_owned(),
        Fault::Short => {
            "copy it again: the copy was broken off, or the disk was full. What stands \
                         before the offset was read without an error."
                .to_owned()
        }
        Fault::Behind => {
            "cut the file at the offset, in a copy of it; or take another copy.".to_owned()
        }
        Fault::Checksum { .. } => "another copy. Which byte it is can't be told: any key may have \
                                   another value than it had."
            .to_owned(),
        _ => ANOTHER_COPY.to_owned(),
    }
}

/// Whether the last bytes of the file are the checksum of those before, from where the reader has stopped.
fn ends_with_its_checksum(
    source: &impl Source,
    reader: &Reader,
    heard: &dyn Fn(u64),
) -> io::Result<bool> {
    let (mut sum, mut at) = (reader.sum(), reader.offset());
    let (mut slice, mut held) = (vec![0; SLICE], Vec::new());
    loop {
        let n = source.read_at(&mut slice, at)?;
        heard(n as u64);
        at += n as u64;
        held.extend_from_slice(&slice[..n]);
        let keep = CHECKSUM_BYTES as usize;
        let before = held.len().saturating_sub(keep);
        sum = crc64(sum, &held[..before]);
        held.drain(..before);
        if n < slice.len() {
            break;
        }
    }
    let told: Option<[u8; 8]> = held.try_into().ok();
    Ok(told.is_some_and(|told| u64::from_le_bytes(told) == sum))
}

#[cfg(test)]
#[path = "snapshot_tests.rs"]
mod tests;
