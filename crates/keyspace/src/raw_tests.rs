//! Every way of changing an entry, over every shape that an entry can have, against plain values.

use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::*;

/// A model of a value.
#[derive(Clone, Debug, PartialEq)]
enum Plain {
    Int(i64),
    Bytes(Vec<u8>),
    Object(Vec<u8>),
}

impl Plain {
    fn payload(&self) -> Payload<'_> {
        match self {
            Plain::Int(n) => Payload::Int(*n),
            Plain::Bytes(b) => Payload::Bytes(b),
            Plain::Object(b) => Payload::Object(Object::string(b)),
        }
    }

    fn of(entry: &EntryPtr) -> Plain {
        match entry.payload() {
            PayloadRef::Int(n) => Plain::Int(n),
            PayloadRef::Bytes(b) => Plain::Bytes(b.to_vec()),
            PayloadRef::Object(Object::String(b)) => Plain::Object(b.clone()),
            PayloadRef::Packed(..) | PayloadRef::Object(_) => panic!("only strings are made here"),
        }
    }
}

fn new_entry(tag: u16, key: &[u8], expiry: Option<i64>, payload: Payload<'_>) -> EntryPtr {
    EntryPtr::new(tag, Mark::default(), key, expiry, payload)
}

fn is(entry: &EntryPtr, tag: u16, key: &[u8], expiry: Option<i64>, value: &Plain) {
    assert_eq!(entry.tag(), tag);
    assert!(entry.key() == key);
    assert_eq!(entry.expiry(), expiry);
    assert!(Plain::of(entry) == *value);
}

fn keys() -> Vec<Vec<u8>> {
    let lengths = [0, 1, 7, 8, 9, 16, 100, 255, 256, 65535, 65536, 70000];
    lengths
        .iter()
        .map(|&n| (0..n).map(|i| (i * 7 + n) as u8).collect())
        .collect()
}

fn values() -> Vec<Plain> {
    let mut values = vec![
        Plain::Int(0),
        Plain::Int(-1),
        Plain::Int(i64::MIN),
        Plain::Int(i64::MAX),
    ];
    for n in [
        0,
        1,
        7,
        8,
        9,
        15,
        16,
        64,
        65,
        127,
        128,
        129,
        500,
        EMBED_MAX - 1,
        EMBED_MAX,
    ] {
        values.push(Plain::Bytes((0..n).map(|i| (i * 31 + n) as u8).collect()));
    }
    for n in [0, 10, 5000] {
        values.push(Plain::Object(vec![n as u8; n]));
    }
    values
}

const EXPIRIES: [Option<i64>; 4] = [None, Some(0), Some(1_700_000_000_000), Some(i64::MAX)];

#[test]
fn every_shape_reads_back() {
    for key in keys() {
        for value in values() {
            for (tag, expiry) in (0u16..).map(|i| i.wrapping_mul(21845)).zip(EXPIRIES) {
                let entry = new_entry(tag, &key, expiry, value.payload());
                is(&entry, tag, &key, expiry, &value);
            }
        }
    }
}

#[test]
fn every_value_overwrites_every_value() {
    for key in keys() {
        for old in values() {
            for new in values() {
                for (from, to) in [
                    (None, None),
                    (None, Some(5)),
                    (Some(5), None),
                    (Some(5), Some(6)),
                ] {
                    let mut entry = new_entry(0xFFFF, &key, from, old.payload());
                    let replaced = entry.store(new.payload(), to);
                    is(&entry, 0xFFFF, &key, to, &new);
                    match (replaced.and_then(Arc::into_inner), &old) {
                        (Some(Object::String(got)), Plain::Object(was)) => assert!(got == *was),
                        (got, _) => assert!(got.is_none()),
                    }
                }
            }
        }
    }
}

#[test]
fn expiry_and_key_change_leave_the_rest() {
    let keys = keys();
    for (i, key) in keys.iter().enumerate() {
        for value in values() {
            for expiry in EXPIRIES {
                let mut entry = new_entry(1, key, expiry, value.payload());
                for next in EXPIRIES {
                    entry.set_expiry(next);
                    is(&entry, 1, key, next, &value);
                }
                for step in [1, 5] {
                    let other = &keys[(i + step) % keys.len()];
                    entry = entry.with_key(0x8001, other);
                    is(&entry, 0x8001, other, EXPIRIES[3], &value);
                }
            }
        }
    }
}

#[test]
fn embedded_strings_resize() {
    let lengths = [0, 1, 8, 40, 41, 64, 200, EMBED_MAX];
    for key in keys() {
        for from in lengths {
            for to in lengths {
                let mut model = vec![0xAB; from];
                let mut entry = new_entry(9, &key, Some(3), Payload::Bytes(&model));
                model.resize(to, 0);
                assert!(entry.resize_embedded(to).unwrap() == &model[..]);
                is(&entry, 9, &key, Some(3), &Plain::Bytes(model));
            }
        }
    }
    let mut int = new_entry(9, b"k", None, Payload::Int(8));
    assert!(int.resize_embedded(3).is_none());
    let mut object = new_entry(9, b"k", None, Payload::Object(Object::string(b"x")));
    assert!(object.resize_embedded(3).is_none());
}

#[test]
fn objects_change_in_place_and_can_be_taken() {
    let mut entry = new_entry(0, b"key", Some(1), Payload::Object(Object::string(b"ab")));
    let Some(Object::String(string)) = entry.object_mut() else {
        panic!()
    };
    string.extend_from_slice(&[b'c'; 3000]);
    let PayloadRef::Object(Object::String(seen)) = entry.payload() else {
        panic!()
    };
    assert_eq!(seen.len(), 3002);
    assert!(entry.take_object().is_some());
    assert!(entry.take_object().is_none());
    is(&entry, 0, b"key", Some(1), &Plain::Int(0));
    assert!(new_entry(0, b"k", None, Payload::Int(1))
        .object_mut()
        .is_none());
}

#[test]
fn an_expiry_at_the_beginning_of_time_is_one() {
    let entry = new_entry(0, b"k", Some(i64::MIN), Payload::Int(1));
    assert_eq!(entry.expiry(), Some(i64::MIN + 1));
}

#[test]
#[should_panic(expected = "EMBED_MAX")]
fn a_long_string_is_not_embedded() {
    let _ = new_entry(0, b"k", None, Payload::Bytes(&[0; EMBED_MAX + 1]));
}

#[test]
fn equal_classes_change_in_place() {
    let address = |e: &EntryPtr| e.block().0;
    let mut entry = new_entry(3, &[b'k'; 16], None, Payload::Bytes(&[1; 60]));
    let before = address(&entry);
    assert!(entry.store(Payload::Bytes(&[2; 72]), None).is_none());
    assert_eq!(address(&entry), before);
    assert!(entry.store(Payload::Bytes(&[2; 73]), None).is_none());
    assert_ne!(address(&entry), before);
    let mut counter = new_entry(3, &[b'k'; 16], Some(4), Payload::Int(1));
    let before = address(&counter);
    for n in 0..10 {
        assert!(counter
            .store(Payload::Int(n), Some(n).filter(|n| n % 2 == 0))
            .is_none());
    }
    assert_eq!(address(&counter), before);
}

#[test]
fn buckets_are_lines_and_start_empty() {
    for count in [1, 2, 1000] {
        let mut buckets = empty_buckets(count);
        assert_eq!(buckets.len(), count);
        for bucket in &mut buckets {
            assert_eq!(std::ptr::from_ref(bucket).addr() % 64, 0);
            assert!(bucket.slots.iter().all(Option::is_none) && bucket.child.is_none());
            bucket.slots[3] = Some(new_entry(0, b"k", None, Payload::Int(1)));
            bucket.child = Some(Box::default());
        }
        for bucket in &mut buckets {
            *bucket = Bucket::default();
        }
        free_empty_buckets(buckets);
    }
    // The dropping of full ones frees their entries (a leak checker's business).
    let mut buckets = empty_buckets(4);
    buckets[1].slots[0] = Some(new_entry(
        0,
        b"k",
        None,
        Payload::Object(Object::string(b"")),
    ));
    drop(buckets);
}

#[test]
fn a_huge_table_costs_nothing_until_it_is_used() {
    // 1 GiB, of which one page is touched.
    let buckets = empty_buckets(1 << 24);
    assert!(buckets[12345].child.is_none());
    free_empty_buckets(buckets);
}

#[test]
fn entries_go_to_other_threads() {
    let entry = new_entry(7, b"k", None, Payload::Object(Object::string(b"v")));
    let done = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            is(&entry, 7, b"k", None, &Plain::Object(b"v".to_vec()));
            done.fetch_add(1, Ordering::Relaxed);
        });
    });
    std::thread::scope(|scope| scope.spawn(move || drop(entry)).join().unwrap());
    assert_eq!(done.load(Ordering::Relaxed), 1);
}

fn plain() -> impl Strategy<Value = Plain> {
    prop_oneof![
        any::<i64>().prop_map(Plain::Int),
        prop::collection::vec(any::<u8>(), 0..200).prop_map(Plain::Bytes),
        prop::collection::vec(any::<u8>(), 0..50).prop_map(Plain::Object),
    ]
}

#[derive(Clone, Debug)]
enum Change {
    Store(Plain, Option<i64>),
    Expiry(Option<i64>),
    Key(Vec<u8>),
    Resize(usize),
    Take,
}

fn change() -> impl Strategy<Value = Change> {
    let expiry = || prop::option::of(0..i64::MAX);
    prop_oneof![
        (plain(), expiry()).prop_map(|(v, e)| Change::Store(v, e)),
        expiry().prop_map(Change::Expiry),
        prop::collection::vec(any::<u8>(), 0..60).prop_map(Change::Key),
        (0usize..=EMBED_MAX).prop_map(Change::Resize),
        Just(Change::Take),
    ]
}

proptest! {
    #[test]
    fn any_sequence_of_changes(
        first in plain(),
        changes in prop::collection::vec(change(), 0..40),
    ) {
        let (mut key, mut expiry, mut value) = (b"first".to_vec(), None, first);
        let mut entry = new_entry(5, &key, expiry, value.payload());
        for change in changes {
            match change {
                Change::Store(v, e) => {
                    drop(entry.store(v.payload(), e));
                    (value, expiry) = (v, e);
                }
                Change::Expiry(e) => {
                    entry.set_expiry(e);
                    expiry = e;
                }
                Change::Key(k) => {
                    entry = entry.with_key(5, &k);
                    key = k;
                }
                Change::Resize(n) => {
                    let resized = entry.resize_embedded(n).is_some();
                    prop_assert_eq!(resized, matches!(value, Plain::Bytes(_)));
                    if let Plain::Bytes(b) = &mut value {
                        b.resize(n, 0);
                    }
                }
                Change::Take => {
                    let taken = entry.take_object().is_some();
                    prop_assert_eq!(taken, matches!(value, Plain::Object(_)));
                    if taken {
                        value = Plain::Int(0);
                    }
                }
            }
            is(&entry, 5, &key, expiry, &value);
        }
    }
}
