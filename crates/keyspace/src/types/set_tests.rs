use super::super::combine::SetOp;
use super::*;
use crate::types::test_cut::read_cut;
use crate::{intersect, Key, Keyspace, Layout, Ttl};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::ops::ControlFlow;

type Model = BTreeSet<Vec<u8>>;

const NAMES: [&[u8]; 3] = [b"a", b"b", b"c"];

#[derive(Clone, Debug)]
enum Op {
    Add(usize, Vec<Vec<u8>>),
    Remove(usize, Vec<u8>),
    Store(SetOp, usize, Vec<usize>),
    Limits(usize, usize, usize),
    /// A cut begins, if none is under way; or what it has is read.
    Cut,
    Rename(usize, usize),
}

fn member() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (0..90i64).prop_map(|n| n.to_string().into_bytes()),
        2 => (-9..9i64).prop_map(|n| (n * 1_000_000_007_000).to_string().into_bytes()),
        2 => (0..60u8).prop_map(|n| format!("m{n}").into_bytes()),
        1 => (0..9usize).prop_map(|n| vec![b'x'; n * 40]),
        1 => Just(b"-0".to_vec()),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let name = || 0..NAMES.len();
    let how = prop_oneof![Just(SetOp::Inter), Just(SetOp::Union), Just(SetOp::Diff)];
    let few = prop::collection::vec(member(), 1..4);
    let many = prop::collection::vec(member(), 1..40);
    prop_oneof![
        6 => (name(), few).prop_map(|(at, members)| Op::Add(at, members)),
        2 => (name(), many).prop_map(|(at, members)| Op::Add(at, members)),
        3 => (name(), member()).prop_map(|(at, member)| Op::Remove(at, member)),
        2 => (how, name(), prop::collection::vec(name(), 1..4)).prop_map(|(op, to, from)| Op::Store(op, to, from)),
        1 => (1..64usize, 1..64usize, 1..100usize).prop_map(|(a, b, c)| Op::Limits(a, b, c)),
        1 => Just(Op::Cut),
        1 => (name(), name()).prop_map(|(from, to)| Op::Rename(from, to)),
    ]
}

fn model_of(set: SetRef<'_>) -> Model {
    let mut model = Model::new();
    set.for_each(|member| {
        assert!(model.insert(member.to_vec()), "a member is there once");
    });
    assert_eq!(model.len(), set.len());
    model
}

fn rng() -> rand::rngs::StdRng {
    rand::SeedableRng::seed_from_u64(1)
}

struct Bed {
    keyspace: Keyspace,
    models: [Model; NAMES.len()],
    /// The cut's other end, and what it has to read.
    cut: Option<(crate::CutReader, [Model; NAMES.len()])>,
}

impl Bed {
    fn new() -> Bed {
        Bed {
            keyspace: Keyspace::new(Layout::Single { databases: 1 }, 5),
            models: Default::default(),
            cut: None,
        }
    }

    fn key(&self, at: usize) -> Key<'static> {
        self.keyspace.key(NAMES[at])
    }

    fn set(&self, at: usize) -> Option<SetRef<'_>> {
        Some(self.keyspace.get(0, &self.key(at))?.value().set().unwrap())
    }

    fn read_cut(&mut self) {
        let Some((reader, want)) = self.cut.take() else {
            return;
        };
        let mut read: [Model; NAMES.len()] = Default::default();
        read_cut(&mut self.keyspace, reader, |entry| {
            let at = NAMES.iter().position(|name| *name == entry.key).unwrap();
            read[at] = model_of(entry.value.set().unwrap());
        });
        assert_eq!(read, want);
    }

    fn store(&mut self, op: SetOp, to: usize, from: &[usize]) {
        let sources: Vec<Option<Key>> = from.iter().map(|at| Some(self.key(*at))).collect();
        let mut want = self.models[from[0]].clone();
        for at in &from[1..] {
            let other = &self.models[*at];
            want = match op {
                SetOp::Inter => want.intersection(other).cloned().collect(),
                SetOp::Union => want.union(other).cloned().collect(),
                SetOp::Diff => want.difference(other).cloned().collect(),
            };
        }
        let draft = self
            .keyspace
            .combine_sets(0, op, &sources, &mut |bytes| assert!(bytes <= 320));
        assert_eq!(model_of(draft.set()), want);
        if op == SetOp::Inter {
            let sets: Option<Vec<_>> = from.iter().map(|at| self.set(*at)).collect();
            let mut common = Model::new();
            intersect(&sets.unwrap_or_default(), &mut |_| {}, &mut |member| {
                common.insert(member.to_vec());
                ControlFlow::Continue(())
            });
            assert_eq!(common, want);
        }
        let key = self.key(to);
        match want.is_empty() {
            true => {
                self.keyspace.remove(0, &key);
            }
            false => self.keyspace.put_set(0, &key, draft, Ttl::Clear),
        }
        self.models[to] = want;
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Add(at, members) => {
                let key = self.key(at);
                let texts: Vec<&[u8]> = members.iter().map(|m| &**m).collect();
                let added = self
                    .keyspace
                    .edit_set(0, &key, |set| set.add_all(&texts, &mut |_| {}));
                let before = self.models[at].len();
                self.models[at].extend(members);
                assert_eq!(added, self.models[at].len() - before);
            }
            Op::Remove(at, member) if !self.models[at].is_empty() => {
                let key = self.key(at);
                let removed = self.keyspace.edit_set(0, &key, |set| set.remove(&member));
                assert_eq!(removed, self.models[at].remove(&member));
            }
            Op::Store(op, to, from) => self.store(op, to, &from),
            Op::Limits(set_ints, set_entries, set_value) => self.keyspace.set_limits(Limits {
                set_ints,
                set_entries,
                set_value,
                ..Limits::default()
            }),
            Op::Cut if self.cut.is_some() => self.read_cut(),
            Op::Cut if self.keyspace.may_cut() => {
                self.cut = Some((self.keyspace.begin_cut(), self.models.clone()));
            }
            Op::Rename(from, to) if from != to => {
                let keys = [self.key(from), self.key(to)];
                let renamed = self.keyspace.rename(0, &keys[0], &keys[1]);
                assert_eq!(renamed, !self.models[from].is_empty());
                if renamed {
                    self.models[to] = std::mem::take(&mut self.models[from]);
                }
            }
            _ => {}
        }
    }

    fn check(&self, at: usize) {
        let model = &self.models[at];
        let Some(set) = self.set(at) else {
            assert!(model.is_empty());
            return;
        };
        assert_eq!(&model_of(set), model);
        assert!(model.iter().all(|member| set.contains(member)));
        assert!(model.iter().all(|member| set.has(Element::of(member))));
        assert!(!set.contains(b"absent") && !set.contains(b"12345678"));
        let (mut cursor, mut seen) = (0, Model::new());
        loop {
            cursor = set.scan(cursor, 5, &mut |member| {
                seen.insert(member.to_vec());
            });
            if cursor == 0 {
                break;
            }
        }
        assert_eq!(&seen, model);
        assert!(model.contains(&set.random(&mut rng()).to_vec()));
        let count = model.len() / 2;
        let drawn: Model = set
            .drawn_by(7, count, &mut |_| {})
            .into_iter()
            .map(Element::to_vec)
            .collect();
        assert!(drawn.len() == count && drawn.is_subset(model));
    }
}

proptest! {
    #[test]
    fn sets_are_what_the_model_is(ops in prop::collection::vec(op(), 0..120)) {
        let mut bed = Bed::new();
        for op in ops {
            bed.apply(op);
            for at in 0..NAMES.len() {
                bed.check(at);
            }
        }
        bed.read_cut();
    }
}

fn encoding_of(
    bed: &mut Bed,
    members: impl Iterator<Item = String>,
    at_once: bool,
) -> &'static str {
    let key = bed.key(0);
    bed.keyspace.remove(0, &key);
    let members: Vec<String> = members.collect();
    let texts: Vec<&[u8]> = members.iter().map(|m| m.as_bytes()).collect();
    bed.keyspace.edit_set(0, &key, |set| match at_once {
        true => set.add_all(&texts, &mut |_| {}),
        false => texts
            .iter()
            .map(|text| set.add_all(&[text], &mut |_| {}))
            .sum(),
    });
    bed.set(0).unwrap().encoding()
}

#[test]
fn forms_follow_redis() {
    let mut bed = Bed::new();
    let ints = |n: usize| (0..n).map(|n| n.to_string());
    let words = |n: usize| (0..n).map(|n| format!("w{n}"));
    let one = |text: &str| std::iter::once(text.to_owned());
    for at_once in [false, true] {
        let mut of = |members: Vec<String>| encoding_of(&mut bed, members.into_iter(), at_once);
        assert_eq!(of(ints(512).collect()), "intset");
        assert_eq!(of(ints(513).collect()), "hashtable");
        assert_eq!(of(words(128).collect()), "listpack");
        assert_eq!(of(words(129).collect()), "hashtable");
        assert_eq!(of(ints(127).chain(one("w")).collect()), "listpack");
        assert_eq!(of(ints(128).chain(one("w")).collect()), "hashtable");
        assert_eq!(of(one("w").chain(ints(127)).collect()), "listpack");
        assert_eq!(of(one("w").chain(ints(128)).collect()), "hashtable");
        assert_eq!(of(one(&"x".repeat(64)).collect()), "listpack");
        assert_eq!(of(one(&"x".repeat(65)).collect()), "hashtable");
        assert_eq!(
            of(ints(3).chain(one(&"x".repeat(65))).collect()),
            "hashtable"
        );
    }
    // The number of arguments decides, also if they say one thing.
    assert_eq!(
        encoding_of(&mut bed, (0..200).map(|_| "w".to_owned()), true),
        "hashtable"
    );
    assert_eq!(
        encoding_of(&mut bed, (0..600).map(|_| "1".to_owned()), true),
        "hashtable"
    );
}

#[test]
fn forms_do_not_change_digest_or_draw() {
    let found: Vec<([u8; 20], Vec<Vec<u8>>)> = [512, 50, 1]
        .into_iter()
        .map(|entries| {
            let mut keyspace = Keyspace::new(Layout::Single { databases: 1 }, entries as u64);
            keyspace.set_limits(Limits {
                set_ints: entries,
                set_entries: entries,
                ..Limits::default()
            });
            let key = keyspace.key(b"k");
            keyspace.edit_set(0, &key, |set| {
                for n in 0..40 {
                    set.add((n * 77_777 % 40).to_string().as_bytes());
                }
            });
            let set = keyspace.get(0, &key).unwrap().value().set().unwrap();
            let mut drawn: Vec<Vec<u8>> = set
                .drawn_by(9, 7, &mut |_| {})
                .into_iter()
                .map(Element::to_vec)
                .collect();
            drawn.sort();
            (keyspace.digest_all(), drawn)
        })
        .collect();
    assert_eq!(found[0], found[1]);
    assert_eq!(found[0], found[2]);
}

#[test]
fn combined_forms_follow_redis() {
    let mut bed = Bed::new();
    let add = |bed: &mut Bed, at: usize, members: &mut dyn Iterator<Item = String>| {
        let key = bed.key(at);
        bed.keyspace.edit_set(0, &key, |set| {
            for member in members {
                set.add(member.as_bytes());
            }
        });
    };
    // A table of integers and one word, without the word.
    add(
        &mut bed,
        0,
        &mut (0..300).map(|n| n.to_string()).chain(["w".to_owned()]),
    );
    add(&mut bed, 1, &mut (0..300).map(|n| n.to_string()));
    assert_eq!(bed.set(0).unwrap().encoding(), "hashtable");
    let form = |bed: &Bed, op, from: &[usize]| {
        let keys: Vec<Option<Key>> = from.iter().map(|at| Some(bed.key(*at))).collect();
        let draft = bed.keyspace.combine_sets(0, op, &keys, &mut |_| {});
        let of = (draft.set().encoding(), draft.set().len());
        of
    };
    assert_eq!(form(&bed, SetOp::Inter, &[0, 1]), ("intset", 300));
    assert_eq!(form(&bed, SetOp::Inter, &[1]), ("intset", 300));
    assert_eq!(form(&bed, SetOp::Union, &[1]), ("intset", 300));
    assert_eq!(form(&bed, SetOp::Union, &[0]), ("hashtable", 301));
    assert_eq!(form(&bed, SetOp::Union, &[1, 0]), ("hashtable", 301));
    assert_eq!(form(&bed, SetOp::Diff, &[0, 1]), ("listpack", 1));
    assert_eq!(form(&bed, SetOp::Diff, &[0, 0]), ("intset", 0));
    assert_eq!(form(&bed, SetOp::Inter, &[0, 2]), ("intset", 0));
    add(&mut bed, 2, &mut (0..2000).map(|n| n.to_string()));
    assert_eq!(form(&bed, SetOp::Union, &[2]), ("hashtable", 2000));
    assert_eq!(form(&bed, SetOp::Diff, &[2, 0]), ("hashtable", 1700));
    assert_eq!(form(&bed, SetOp::Inter, &[2, 0]), ("intset", 300));
}

#[test]
fn union_of_one_large_set_shares_it() {
    let mut bed = Bed::new();
    let key = bed.key(0);
    bed.keyspace.edit_set(0, &key, |set| {
        for n in 0..100_000 {
            set.add(format!("member{n}").as_bytes());
        }
    });
    let mut looked_at = 0;
    let draft = bed
        .keyspace
        .combine_sets(0, SetOp::Union, &[Some(key)], &mut |_| looked_at += 1);
    assert_eq!((draft.set().len(), looked_at), (100_000, 0));
    let to = bed.key(1);
    bed.keyspace.put_set(0, &to, draft, Ttl::Clear);
    bed.keyspace
        .edit_set(0, &to, |set| assert!(set.remove(b"member7")));
    assert!(bed.set(0).unwrap().contains(b"member7"));
    assert_eq!(bed.set(1).unwrap().len(), 99_999);
}
