//! Strings above a mebibyte: against plain bytes, beside a cut, and beside a copy.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::{CutBudget, CutPart, Layout, Scratch, StringRef, BLOB_CHUNK};

const ALL: CutBudget = CutBudget {
    bytes: usize::MAX,
    chains: usize::MAX,
};

fn keyspace(seed: u64) -> Keyspace {
    Keyspace::new(Layout::Single { databases: 1 }, seed)
}

fn string<'k>(ks: &'k Keyspace, key: &Key<'_>) -> StringRef<'k> {
    ks.get(0, key).unwrap().string().unwrap()
}

fn bytes(ks: &Keyspace, key: &Key<'_>) -> Vec<u8> {
    string(ks, key).text(&mut Scratch::default()).to_vec()
}

/// Where the chunks of a long string lie.
fn places(string: StringRef<'_>) -> HashSet<usize> {
    match string {
        StringRef::Chunks(blob) => blob.chunks().map(|c| c.as_ptr().addr()).collect(),
        _ => panic!("it is in chunks"),
    }
}

#[derive(Clone, Debug)]
enum Change {
    Set(usize),
    Write(usize, usize),
    Append(usize),
    Copy,
}

fn change() -> impl Strategy<Value = Change> {
    let len = || {
        prop_oneof![
            1..50usize,
            1..70_000usize,
            Just(BLOB_CHUNK),
            900_000..1_300_000usize
        ]
    };
    let at = prop_oneof![
        0..2_000_000usize,
        Just(WHOLE_MAX - 1),
        Just(16 * BLOB_CHUNK)
    ];
    prop_oneof![
        1 => len().prop_map(Change::Set),
        4 => (at, len()).prop_map(|(at, len)| Change::Write(at, len)),
        3 => len().prop_map(Change::Append),
        1 => Just(Change::Copy),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Whatever a string has been, what it is and how it is kept follow from its bytes, and copies stay as they were.
    #[test]
    fn long_strings_read_as_plain_bytes(changes in prop::collection::vec(change(), 1..14)) {
        let mut ks = keyspace(1);
        let (key, copy) = (ks.key(b"k"), ks.key(b"copy"));
        let (mut model, mut copied, mut byte) = (vec![9u8], None, 0u8);
        ks.set_string(0, &key, &model, Ttl::Clear);
        for change in changes {
            byte = byte % 250 + 1;
            let fill = |len: usize| vec![byte; len];
            match change {
                Change::Set(len) => {
                    model = fill(len);
                    ks.set_string(0, &key, &model, Ttl::Clear);
                }
                Change::Write(at, len) => {
                    model.resize(model.len().max(at + len), 0);
                    model[at..at + len].copy_from_slice(&fill(len));
                    prop_assert_eq!(ks.write_string(0, &key, at, &fill(len)), model.len());
                }
                Change::Append(len) => {
                    let at = model.len();
                    model.extend(fill(len));
                    prop_assert_eq!(ks.write_string(0, &key, at, &fill(len)), model.len());
                }
                Change::Copy => {
                    prop_assert!(ks.copy(0, &key, 0, &copy));
                    copied = Some(model.clone());
                }
            }
            let now = string(&ks, &key);
            prop_assert_eq!(matches!(now, StringRef::Chunks(_)), model.len() > WHOLE_MAX);
            prop_assert_eq!((now.len(), now.byte(model.len())), (model.len(), None));
            prop_assert_eq!(now.byte(model.len() / 2), Some(model[model.len() / 2]));
            prop_assert!(bytes(&ks, &key) == model);
            let (from, to) = (model.len() / 3, model.len() - model.len() / 5);
            let part = now.pieces(from..to, &mut itoa::Buffer::new()).collect::<Vec<_>>().concat();
            prop_assert!(part == model[from..to]);
        }
        if let Some(copied) = copied {
            prop_assert!(bytes(&ks, &copy) == copied);
        }
        // Another member that has set it at once has the same.
        let mut other = keyspace(2);
        let key = other.key(b"k");
        other.set_string(0, &key, &model, Ttl::Clear);
        ks.remove(0, &ks.key(b"copy"));
        prop_assert_eq!(ks.digest_all(), other.digest_all());
    }
}

/// P4: what a cut has taken stays as it was, and a change copies the chunk that it meets.
#[test]
fn cut_keeps_a_long_string_that_changes() {
    let mut ks = keyspace(1);
    let key = ks.key(b"k");
    let before = vec![7; 40 * BLOB_CHUNK];
    ks.set_string(0, &key, &before, Ttl::Clear);
    let shared = places(string(&ks, &key));
    let mut reader = ks.begin_cut();
    ks.write_string(0, &key, 5 * BLOB_CHUNK + 3, b"changed");
    let len = ks.string_len(0, &key).unwrap();
    ks.write_string(0, &key, len, b"longer");
    let now = places(string(&ks, &key));
    assert_eq!(now.difference(&shared).count(), 2, "one chunk each");
    assert!(!ks.walk(ALL));
    let mut keys = 0;
    while let Some(part) = ks.take_cut_part() {
        assert_eq!(
            CutPart::bytes(&part).touched / BLOB_CHUNK,
            0,
            "its entry alone"
        );
        let read = reader.read_part(&part, &mut |entry| {
            keys += 1;
            let was = entry.value.string().unwrap();
            match was.text(&mut Scratch::default()) == before {
                true => Ok(()),
                false => Err("it has changed"),
            }
        });
        assert_eq!(read, Ok(()));
    }
    assert_eq!((keys, reader.finish()), (1, Ok(1)));
    let mut after = before;
    after[5 * BLOB_CHUNK + 3..][..7].copy_from_slice(b"changed");
    after.extend_from_slice(b"longer");
    assert!(bytes(&ks, &key) == after);
}

/// A write far behind the end takes no memory for what lies between, and none for what a copy has as well.
#[test]
fn far_writes_take_one_chunk() {
    let mut ks = keyspace(1);
    let (key, copy) = (ks.key(b"k"), ks.key(b"copy"));
    assert_eq!(ks.write_string(0, &key, 536_870_911, b"x"), 512 << 20);
    let memory = |ks: &Keyspace, key: &Key<'_>| ks.get(0, key).unwrap().memory();
    assert!(memory(&ks, &key) < 400 << 10, "{}", memory(&ks, &key));
    assert!(ks.copy(0, &key, 0, &copy));
    ks.write_string(0, &copy, 0, b"y");
    assert_eq!(string(&ks, &key).byte(0), Some(0));
    assert_eq!(string(&ks, &copy).byte(0), Some(b'y'));
    let (one, other) = (places(string(&ks, &key)), places(string(&ks, &copy)));
    assert_eq!(one.symmetric_difference(&other).count(), 1);
}

#[test]
fn drafts_become_what_was_pushed() {
    let mut ks = keyspace(1);
    for (len, piece) in [
        (2, 1),
        (5000, 700),
        (WHOLE_MAX, 9999),
        (3 << 20, 2 * BLOB_CHUNK),
    ] {
        let key = ks.key(b"k");
        let all: Vec<u8> = (0..len).map(|n| b'0' + (n % 7) as u8).collect();
        let mut draft = StringDraft::with_len(len);
        all.chunks(piece).for_each(|piece| draft.push(piece));
        assert!(draft.to_vec() == all);
        ks.put_bits(0, &key, draft, Ttl::Clear);
        assert!(bytes(&ks, &key) == all);
    }
    let mut draft = StringDraft::with_len(2);
    draft.push(b"42");
    let key = ks.key(b"n");
    ks.put_bits(0, &key, draft, Ttl::Clear);
    // Bits stay bytes, as in Redis.
    assert_eq!(string(&ks, &key), StringRef::Bytes(b"42"));
}
