//! Files that Redis 7.0 made: they are read as what they are, and written again to the byte.
//!
//! `golden/make.sh` says what is in them.

mod common;

use common::{elements, read, write};
use rdb::file::{Entry, Fault, Item};
use rdb::{Piece, Type};
use std::collections::BTreeMap;

const STRINGS: &[u8] = include_bytes!("golden/strings.rdb");
const PLAIN: &[u8] = include_bytes!("golden/plain.rdb");
const NO_CHECKSUM: &[u8] = include_bytes!("golden/no-checksum.rdb");
const IDLE: &[u8] = include_bytes!("golden/idle.rdb");
const FREQUENT: &[u8] = include_bytes!("golden/frequent.rdb");
const LIBRARY: &[u8] = include_bytes!("golden/library.rdb");
const LIST: &[u8] = include_bytes!("golden/list.rdb");

const SLICES: [usize; 5] = [usize::MAX, 1, 7, 1000, 70_000];

/// Database, key, value, expiry.
type Keys = BTreeMap<(u64, Vec<u8>), (Vec<u8>, Option<i64>)>;

fn keys_of(items: &[Item<'_>]) -> Keys {
    let (mut keys, mut current) = (Keys::new(), 0);
    for item in items {
        match item {
            Item::Db(db) => current = *db,
            Item::Entry(entry) => {
                let value = (entry.value.to_vec(), entry.expires_at_ms);
                let before = keys.insert((current, entry.key.to_vec()), value);
                assert_eq!(before, None);
            }
            _ => {}
        }
    }
    keys
}

/// What `strings` in make.sh sets; the key that has expired is not among them.
fn strings() -> Keys {
    let mut keys = Keys::new();
    let mut set = |db, key: &str, value: &[u8]| {
        keys.insert((db, key.as_bytes().to_vec()), (value.to_vec(), None));
    };
    set(0, "empty", b"");
    for n in [
        "0",
        "-1",
        "127",
        "128",
        "-128",
        "-129",
        "32767",
        "32768",
        "-32768",
        "-32769",
        "2147483647",
        "2147483648",
        "-2147483648",
        "-2147483649",
        "007",
        "-0",
    ] {
        set(0, &format!("n:{n}"), n.as_bytes());
    }
    set(0, "12345", b"a key that is a number");
    set(0, &format!("{:060}", 7), b"a key that is compressed");
    set(0, "twenty", &[b'a'; 20]);
    set(0, "more", &[b'a'; 21]);
    set(0, "zeros", &[b'0'; 5000]);
    set(0, "long", b"hello world, hello world, hello");
    set(0, "bytes", &(0..=255).collect::<Vec<u8>>());
    let squares: Vec<String> = (1..=9000u32).map(|n| (n * n).to_string()).collect();
    set(0, "squares", squares.join(" ").as_bytes());
    set(1, "one", b"1");
    set(15, "fifteen", b"15");
    let soon = (b"soon".to_vec(), Some(4_102_444_800_123));
    keys.insert((0, b"future".to_vec()), soon);
    keys
}

#[test]
fn strings_of_redis_are_read() {
    for (file, has_checksum) in [(STRINGS, true), (PLAIN, true), (NO_CHECKSUM, false)] {
        for slice in SLICES {
            let items = read(file, slice).unwrap();
            assert_eq!(items.first(), Some(&Item::Version(10)));
            let mut keys = keys_of(&items);
            // Long expired, and kept.
            let gone = keys.remove(&(1, b"gone".to_vec())).unwrap();
            assert_eq!(gone.0, b"late");
            assert!(gone.1.is_some_and(|at| (1 << 40..1 << 42).contains(&at)));
            assert_eq!(keys, strings());
            let Some(Item::End(end)) = items.last() else {
                panic!("it has no end");
            };
            assert_eq!(end.length, file.len() as u64);
            assert_eq!(end.checksum.is_some(), has_checksum);
            let is_sizes = |item: &&Item<'_>| matches!(item, Item::Sizes { .. });
            let sizes: Vec<_> = items.iter().filter(is_sizes).collect();
            let want = [(26, 1), (2, 1), (1, 0)];
            let want = want.map(|(keys, expires)| Item::Sizes { keys, expires });
            assert_eq!(sizes, want.iter().collect::<Vec<_>>());
        }
    }
}

#[test]
fn files_of_redis_are_written_to_the_byte() {
    for (file, compress) in [
        (STRINGS, true),
        (PLAIN, false),
        (IDLE, true),
        (FREQUENT, true),
        (LIBRARY, true),
    ] {
        let items = read(file, usize::MAX).unwrap();
        assert!(write(10, compress, &items).0 == file, "{items:?}");
    }
    let (again, _) = write(10, true, &read(NO_CHECKSUM, usize::MAX).unwrap());
    let end = again.len() - 8;
    assert!(again[..end] == NO_CHECKSUM[..end]);
    assert_eq!(NO_CHECKSUM[end..], [0; 8]);
}

fn only_entry(file: &[u8]) -> Entry<'static> {
    let mut entries = read(file, 3)
        .unwrap()
        .into_iter()
        .filter_map(|item| match item {
            Item::Entry(entry) => Some(entry),
            _ => None,
        });
    let entry = entries.next().unwrap();
    assert_eq!(entries.next(), None);
    entry
}

#[test]
fn use_of_keys_is_read() {
    let idle = only_entry(IDLE);
    assert_eq!((idle.idle_seconds, idle.frequency), (Some(0), None));
    let frequent = only_entry(FREQUENT);
    assert_eq!(frequent.idle_seconds, None);
    assert!(frequent.frequency.is_some_and(|n| (5..=11).contains(&n)));
}

#[test]
fn aux_fields_and_functions_are_read() {
    let items = read(LIBRARY, 5).unwrap();
    let aux = |wanted: &[u8]| {
        items.iter().find_map(|item| match item {
            Item::Aux { name, value } if **name == *wanted => Some(value.to_vec()),
            _ => None,
        })
    };
    assert_eq!(aux(b"redis-ver"), Some(b"7.0.15".to_vec()));
    assert_eq!(aux(b"redis-bits"), Some(b"64".to_vec()));
    assert_eq!(aux(b"aof-base"), Some(b"0".to_vec()));
    let source = "#!lua name=mine\nredis.register_function('one', function() return 1 end)";
    let source = Item::Function(source.as_bytes().into());
    assert_eq!(items.iter().filter(|item| **item == source).count(), 1);
}

#[test]
fn list_of_redis_is_read() {
    for slice in SLICES {
        let items = read(LIST, slice).unwrap();
        let at = items.iter().position(|item| matches!(item, Item::Begin(_)));
        let Some([Item::Begin(begin), Item::Piece(node), Item::Finish]) =
            at.map(|at| &items[at..at + 3])
        else {
            panic!("{items:?}");
        };
        let offset = usize::try_from(begin.offset).unwrap();
        assert_eq!(LIST[offset..offset + 8], *b"\x12\x06a list");
        assert_eq!(begin.head.encoding, Type::ListNodes);
        let want = [&b"one"[..], b"two"].map(|text| Piece::Member(text.into()));
        assert_eq!(elements(std::slice::from_ref(node)), want);
    }
}

/// A list's type made into that of a stream.
#[test]
fn type_that_is_unknown_is_refused_by_name() {
    let mut file = LIST.to_vec();
    let at = file.windows(8).position(|w| w == b"\x12\x06a list");
    file[at.unwrap()] = 15;
    for slice in SLICES {
        let error = read(&file, slice).unwrap_err();
        assert_eq!(error.fault, Fault::Type);
        assert_eq!(error.place.kind, Some(15));
        assert_eq!(error.place.key.as_deref(), Some(&b"a list"[..]));
        let offset = usize::try_from(error.place.offset).unwrap();
        assert_eq!(file[offset..offset + 8], *b"\x0f\x06a list");
    }
}
