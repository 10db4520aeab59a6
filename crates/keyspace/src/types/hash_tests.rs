use super::*;
use crate::types::test_cut::read_cut;
use crate::{Key, Keyspace, Layout, Ttl};
use proptest::prelude::*;
use std::collections::BTreeMap;

type Model = BTreeMap<Vec<u8>, (Vec<u8>, Option<i64>)>;

#[derive(Clone, Debug)]
enum Op {
    Set(Vec<u8>, Vec<u8>, FieldTtl),
    Remove(Vec<u8>),
    Expire(Vec<u8>, Option<i64>),
    Due(i64, usize),
    Limits(usize, usize),
    /// A cut begins, if none is under way; or what it has is read.
    Cut,
    Rename,
}

fn field() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (0..60u8).prop_map(|n| format!("f{n}").into_bytes()),
        1 => (0..60i64).prop_map(|n| (n * 1_000_003).to_string().into_bytes()),
        1 => (0..9usize).prop_map(|n| vec![b'x'; n * 40]),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let value = prop_oneof![
        3 => prop::collection::vec(any::<u8>(), 0..12),
        1 => any::<i64>().prop_map(|n| n.to_string().into_bytes()),
        1 => (0..300usize).prop_map(|n| vec![7; n]),
    ];
    let ttl = prop_oneof![Just(FieldTtl::Keep), Just(FieldTtl::Clear)];
    prop_oneof![
        8 => (field(), value, ttl).prop_map(|(f, v, t)| Op::Set(f, v, t)),
        3 => field().prop_map(Op::Remove),
        3 => (field(), prop::option::of(1..50i64)).prop_map(|(f, at)| Op::Expire(f, at)),
        1 => (1..60i64, 1..9usize).prop_map(|(at, n)| Op::Due(at, n)),
        1 => (1..64usize, 8..100usize).prop_map(|(n, len)| Op::Limits(n, len)),
        1 => Just(Op::Cut),
        1 => Just(Op::Rename),
    ]
}

fn model_of(hash: HashRef<'_>) -> Model {
    let mut model = Model::new();
    hash.for_each(|found| {
        let old = model.insert(found.field.to_vec(), (found.value.to_vec(), found.expiry));
        assert!(old.is_none(), "a field is there once");
    });
    assert_eq!(model.len(), hash.len());
    assert_eq!(
        hash.first_expiry(),
        model.values().filter_map(|(_, at)| *at).min()
    );
    model
}

struct Bed {
    keyspace: Keyspace,
    names: [&'static [u8]; 2],
    model: Model,
    /// The cut's other end, and what it has to read.
    cut: Option<(crate::CutReader, Model)>,
}

impl Bed {
    fn key(&self) -> Key<'static> {
        self.keyspace.key(self.names[0])
    }

    fn read_cut(&mut self) {
        let Some((reader, want)) = self.cut.take() else {
            return;
        };
        let mut read = Model::new();
        read_cut(&mut self.keyspace, reader, |entry| {
            read = model_of(entry.value.hash().unwrap());
        });
        assert_eq!(read, want);
    }

    fn apply(&mut self, op: Op) {
        let key = self.key();
        match op {
            Op::Set(field, value, ttl) => {
                let is_new = self
                    .keyspace
                    .edit_hash(0, &key, |hash| hash.set(&field, &value, ttl));
                let expiry = self.model.get(&field).and_then(|(_, at)| *at);
                let expiry = expiry.filter(|_| ttl == FieldTtl::Keep);
                assert_eq!(is_new, self.model.insert(field, (value, expiry)).is_none());
            }
            Op::Remove(field) if !self.model.is_empty() => {
                let removed = self.keyspace.edit_hash(0, &key, |hash| hash.remove(&field));
                assert_eq!(removed, self.model.remove(&field).is_some());
            }
            Op::Expire(field, at) if !self.model.is_empty() => {
                let found = self
                    .keyspace
                    .edit_hash(0, &key, |hash| hash.set_expiry(&field, at));
                let entry = self.model.get_mut(&field);
                assert_eq!(found, entry.is_some());
                if let Some(entry) = entry {
                    entry.1 = at;
                }
            }
            Op::Due(before, limit) if !self.model.is_empty() => {
                let due = self.hash().unwrap().due(before, limit);
                let is_due = |at: &Option<i64>| at.is_some_and(|at| at < before);
                let all = self.model.values().filter(|(_, at)| is_due(at)).count();
                assert_eq!(due.len(), all.min(limit));
                assert!(due.iter().all(|field| is_due(&self.model[&**field].1)));
            }
            Op::Limits(entries, value) => self.keyspace.set_limits(Limits {
                hash_entries: entries,
                hash_value: value,
                ..Limits::default()
            }),
            Op::Cut if self.cut.is_some() => self.read_cut(),
            Op::Cut if self.keyspace.may_cut() => {
                self.cut = Some((self.keyspace.begin_cut(), self.model.clone()));
            }
            Op::Rename => {
                let to = self.keyspace.key(self.names[1]);
                let renamed = self.keyspace.rename(0, &key, &to);
                assert_eq!(renamed, !self.model.is_empty());
                self.names.swap(0, 1);
            }
            _ => {}
        }
    }

    fn hash(&self) -> Option<HashRef<'_>> {
        Some(self.keyspace.get(0, &self.key())?.value().hash().unwrap())
    }

    fn check(&self) {
        let Some(hash) = self.hash() else {
            assert!(self.model.is_empty());
            assert_eq!(self.keyspace.with_field_expiry(0), 0);
            return;
        };
        assert_eq!(model_of(hash), self.model);
        for (field, (value, at)) in &self.model {
            let (found, expiry) = hash.get(field).unwrap();
            assert_eq!((found.to_vec(), expiry), (value.clone(), *at));
        }
        assert!(hash.get(b"absent").is_none());
        let first = hash.first_expiry();
        assert_eq!(
            self.keyspace.with_field_expiry(0),
            u64::from(first.is_some())
        );
        if let Some(at) = first {
            let found = self.keyspace.next_due_hash(at + 1, &|_, _| false);
            assert_eq!(found.unwrap().1[..], *self.names[0]);
            assert!(self.keyspace.next_due_hash(at, &|_, _| false).is_none());
        }
        let (mut cursor, mut seen) = (0, Model::new());
        loop {
            cursor = hash.scan(cursor, 5, &mut |found| {
                seen.insert(found.field.to_vec(), (found.value.to_vec(), found.expiry));
            });
            if cursor == 0 {
                break;
            }
        }
        assert_eq!(seen, self.model);
        assert!(self
            .model
            .contains_key(&hash.random(&mut rng()).field.to_vec()));
    }
}

fn rng() -> rand::rngs::StdRng {
    rand::SeedableRng::seed_from_u64(1)
}

proptest! {
    #[test]
    fn hashes_are_what_the_model_is(ops in prop::collection::vec(op(), 0..150)) {
        let mut bed = Bed {
            keyspace: Keyspace::new(Layout::Single { databases: 1 }, 5),
            names: [b"a", b"b"],
            model: Model::new(),
            cut: None,
        };
        for op in ops {
            bed.apply(op);
            bed.check();
        }
        bed.read_cut();
    }
}

#[test]
fn forms_do_not_change_the_digest() {
    let digests: Vec<[u8; 20]> = [512, 4, 0]
        .into_iter()
        .map(|entries| {
            let mut keyspace = Keyspace::new(Layout::Single { databases: 1 }, entries as u64);
            keyspace.set_limits(Limits {
                hash_entries: entries,
                ..Limits::default()
            });
            let key = keyspace.key(b"k");
            keyspace.edit_hash(0, &key, |hash| {
                for n in 0..40 {
                    let text = n.to_string();
                    hash.set(text.as_bytes(), b"v", FieldTtl::Clear);
                }
                hash.set_expiry(b"7", Some(99));
            });
            keyspace.digest_all()
        })
        .collect();
    assert_eq!(digests[0], digests[1]);
    assert_eq!(digests[0], digests[2]);
}

#[test]
fn removed_fields_leave_no_index() {
    let mut keyspace = Keyspace::new(Layout::Cluster, 5);
    for n in 1..=300 {
        let name = format!("key{n}");
        let key = keyspace.key(name.as_bytes());
        keyspace.edit_hash(0, &key, |hash| {
            hash.set(b"f", b"v", FieldTtl::Clear);
            hash.set_expiry(b"f", Some(n));
        });
        keyspace.set_expiry(0, &key, Some(n));
    }
    assert_eq!(keyspace.with_field_expiry(0), 300);
    let string = keyspace.key(b"key3");
    keyspace.set_string(0, &string, b"another value", Ttl::Clear);
    let gone = keyspace.key(b"key1");
    keyspace.remove(0, &gone);
    let slot = keyspace.key(b"key2").slot;
    let keys = keyspace.flush_slot(slot);
    assert_eq!(keyspace.with_field_expiry(0), 298 - keys);
    keyspace.flush(None);
    assert_eq!(keyspace.with_field_expiry(0), 0);
}
