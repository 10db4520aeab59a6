use super::*;
use crate::types::test_cut::read_cut;
use crate::{Key, Keyspace, Layout, LexBound, LexRange, ScoreBound, ScoreRange, Scored};
use proptest::prelude::*;
use std::collections::BTreeMap;

type Model = BTreeMap<Vec<u8>, f64>;

#[derive(Clone, Debug)]
enum Op {
    Set(Vec<u8>, f64),
    Remove(Vec<u8>),
    RemoveRange(usize, usize),
    Limits(usize, usize),
    Expect(usize),
    /// A cut begins, if none is under way; or what it has is read.
    Cut,
    Rename,
}

fn member() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (0..60u8).prop_map(|n| format!("m{n}").into_bytes()),
        1 => (0..60i64).prop_map(|n| (n * 1_000_003).to_string().into_bytes()),
        1 => (0..9usize).prop_map(|n| vec![b'x'; n * 40]),
    ]
}

fn score() -> impl Strategy<Value = f64> {
    prop_oneof![
        3 => (-5..5i32).prop_map(f64::from),
        1 => Just(-0.0),
        1 => Just(0.1),
        1 => Just(f64::INFINITY),
        1 => Just(f64::NEG_INFINITY),
        1 => Just(9.3e18),
        1 => any::<f64>().prop_filter("no score is a NaN", |score| !score.is_nan()),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        9 => (member(), score()).prop_map(|(m, s)| Op::Set(m, s)),
        3 => member().prop_map(Op::Remove),
        1 => (0..60usize, 0..9usize).prop_map(|(from, n)| Op::RemoveRange(from, n)),
        1 => (1..64usize, 8..100usize).prop_map(|(n, len)| Op::Limits(n, len)),
        1 => (0..70usize).prop_map(Op::Expect),
        1 => Just(Op::Cut),
        1 => Just(Op::Rename),
    ]
}

fn in_order_of(model: &Model) -> Vec<(Vec<u8>, f64)> {
    let mut all: Vec<_> = model.iter().map(|(m, s)| (m.clone(), *s)).collect();
    all.sort_by(|a, b| in_order((a.1, &a.0), (b.1, &b.0)));
    all
}

fn bits(all: impl IntoIterator<Item = (Vec<u8>, f64)>) -> Vec<(Vec<u8>, u64)> {
    all.into_iter().map(|(m, s)| (m, s.to_bits())).collect()
}

fn owned(found: Scored<'_>) -> (Vec<u8>, f64) {
    (found.member.to_vec(), found.score)
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

    fn edit<R>(&mut self, edit: impl FnOnce(&mut ZsetMut<'_>) -> R) -> R {
        let key = self.key();
        self.keyspace.edit_zset(0, &key, edit)
    }

    fn read_cut(&mut self) {
        let Some((reader, want)) = self.cut.take() else {
            return;
        };
        let mut read = Vec::new();
        read_cut(&mut self.keyspace, reader, |entry| {
            let zset = entry.value.sorted_set().unwrap();
            zset.for_each(|found| read.push(owned(found)));
        });
        assert_eq!(bits(read), bits(in_order_of(&want)));
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Set(member, score) => {
                let is_new = self.edit(|zset| zset.set(&member, score));
                let old = self.model.get(&member).copied();
                assert_eq!(is_new, old.is_none());
                if old != Some(score) {
                    self.model.insert(member, score);
                }
            }
            Op::Remove(member) if !self.model.is_empty() => {
                let removed = self.edit(|zset| zset.remove(&member));
                let wanted = self.model.remove(&member);
                assert_eq!(removed.map(f64::to_bits), wanted.map(f64::to_bits));
            }
            Op::RemoveRange(from, count) if !self.model.is_empty() => {
                let from = from.min(self.model.len());
                let to = (from + count).min(self.model.len());
                self.edit(|zset| zset.remove_range(from..to, &mut || {}));
                for (member, _) in &in_order_of(&self.model)[from..to] {
                    self.model.remove(member);
                }
            }
            Op::Limits(entries, value) => self.keyspace.set_limits(Limits {
                zset_entries: entries,
                zset_value: value,
                ..Limits::default()
            }),
            Op::Expect(members) if !self.model.is_empty() => {
                self.edit(|zset| zset.expect(members));
            }
            Op::Cut if self.cut.is_some() => self.read_cut(),
            Op::Cut if self.keyspace.may_cut() => {
                self.cut = Some((self.keyspace.begin_cut(), self.model.clone()));
            }
            Op::Rename => {
                let (from, to) = (self.key(), self.keyspace.key(self.names[1]));
                let renamed = self.keyspace.rename(0, &from, &to);
                assert_eq!(renamed, !self.model.is_empty());
                self.names.swap(0, 1);
            }
            _ => {}
        }
    }

    fn zset(&self) -> Option<ZsetRef<'_>> {
        let entry = self.keyspace.get(0, &self.key())?;
        Some(entry.value().sorted_set().unwrap())
    }

    fn check(&self) {
        let Some(zset) = self.zset() else {
            assert!(self.model.is_empty());
            return;
        };
        let want = in_order_of(&self.model);
        assert_eq!(zset.len(), want.len());
        let mut all = Vec::new();
        zset.for_each(|found| all.push(owned(found)));
        assert_eq!(bits(all), bits(want.clone()));
        for (rank, (member, score)) in want.iter().enumerate() {
            assert_eq!(zset.score(member).map(f64::to_bits), Some(score.to_bits()));
            assert_eq!(zset.rank(member), Some((rank, *score)));
        }
        assert_eq!((zset.score(b"absent"), zset.rank(b"absent")), (None, None));
        check_ranges(zset, &want);
        let (mut cursor, mut seen) = (0, Model::new());
        loop {
            cursor = zset.scan(cursor, 5, &mut |found| {
                seen.extend([owned(found)]);
            });
            if cursor == 0 {
                break;
            }
        }
        assert_eq!(seen, self.model);
        let drawn = owned(zset.random(&mut rng()));
        assert_eq!(self.model.get(&drawn.0), Some(&drawn.1));
    }
}

fn check_ranges(zset: ZsetRef<'_>, want: &[(Vec<u8>, f64)]) {
    for (from, to) in [(0, 0), (0, want.len()), (want.len() / 3, want.len() / 2)] {
        let forward: Vec<_> = zset.iter(from..to).map(owned).collect();
        assert_eq!(forward, want[from..to]);
        let mut back: Vec<_> = zset.iter_back(from..to).map(owned).collect();
        back.reverse();
        assert_eq!(back, want[from..to]);
    }
    let bounds = [f64::NEG_INFINITY, -1.0, 0.0, 0.1, 3.0, f64::INFINITY];
    for (min, max) in bounds.iter().flat_map(|a| bounds.map(|b| (*a, b))) {
        for exclusive in [false, true] {
            let bound = |score| ScoreBound { score, exclusive };
            let (min, max) = (bound(min), bound(max));
            let range = ScoreRange { min, max };
            let found: Vec<_> = zset.iter(zset.within_scores(&range)).map(owned).collect();
            assert_eq!(
                zset.iter_scores(range).map(owned).collect::<Vec<_>>(),
                found
            );
            let lies = |score: &f64| !range.is_behind(*score) && range.reaches(*score);
            let within: Vec<_> = want
                .iter()
                .filter(|(_, score)| lies(score))
                .cloned()
                .collect();
            assert_eq!(found, within, "{range:?}");
        }
    }
}

fn rng() -> rand::rngs::StdRng {
    rand::SeedableRng::seed_from_u64(1)
}

proptest! {
    #[test]
    fn sorted_sets_are_what_the_model_is(ops in prop::collection::vec(op(), 0..120)) {
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

    #[test]
    fn members_are_found_by_lex_ranges(
        members in prop::collection::btree_set("[a-c]{0,3}", 1..40),
        (min, max) in ("[a-c]{0,3}", "[a-c]{0,3}"),
        (from, to) in (0..4u8, 0..4u8),
        entries in prop::sample::select(vec![0usize, 128]),
    ) {
        fn bound(kind: u8, text: &str) -> LexBound<'_> {
            match kind {
                0 => LexBound::Lowest,
                1 => LexBound::Highest,
                2 => LexBound::Including(text.as_bytes()),
                _ => LexBound::Excluding(text.as_bytes()),
            }
        }
        let mut keyspace = Keyspace::new(Layout::Single { databases: 1 }, 5);
        keyspace.set_limits(Limits { zset_entries: entries, ..Limits::default() });
        let key = keyspace.key(b"k");
        keyspace.edit_zset(0, &key, |zset| {
            for member in &members {
                zset.set(member.as_bytes(), 1.0);
            }
        });
        let range = LexRange { min: bound(from, &min), max: bound(to, &max) };
        let lies = |member: &&String| {
            !range.is_behind(member.as_bytes()) && range.reaches(member.as_bytes())
        };
        let want: Vec<_> = members.iter().filter(lies).map(|m| m.clone().into_bytes()).collect();
        let zset = keyspace.get(0, &key).unwrap().value().sorted_set().unwrap();
        let found: Vec<_> = zset.iter(zset.within_members(&range, false)).map(|s| s.member.to_vec()).collect();
        prop_assert_eq!(&found, &want);
        let back = zset.iter(zset.within_members(&range, true)).map(|s| s.member.to_vec());
        prop_assert_eq!(back.collect::<Vec<_>>(), found);
    }
}

#[test]
fn forms_do_not_change_the_digest() {
    let digests: Vec<[u8; 20]> = [512, 4, 0]
        .into_iter()
        .map(|entries| {
            let mut keyspace = Keyspace::new(Layout::Single { databases: 1 }, entries as u64);
            keyspace.set_limits(Limits {
                zset_entries: entries,
                ..Limits::default()
            });
            let key = keyspace.key(b"k");
            keyspace.edit_zset(0, &key, |zset| {
                for n in 0..40 {
                    zset.set(n.to_string().as_bytes(), f64::from(n) / 3.0);
                }
                zset.set(b"zero", -0.0);
            });
            keyspace.digest_all()
        })
        .collect();
    assert_eq!(digests[0], digests[1]);
    assert_eq!(digests[0], digests[2]);
}

#[test]
fn the_zeros_have_digests_of_their_own() {
    let digests = [0.0, -0.0].map(|score| {
        let mut keyspace = Keyspace::new(Layout::Single { databases: 1 }, 1);
        let key = keyspace.key(b"k");
        keyspace.edit_zset(0, &key, |zset| zset.set(b"m", score));
        keyspace.digest_all()
    });
    assert_ne!(digests[0], digests[1]);
}

#[test]
fn forms_change_where_redis_changes_them() {
    let mut keyspace = Keyspace::new(Layout::Single { databases: 1 }, 1);
    let key = keyspace.key(b"k");
    let encoding = |keyspace: &Keyspace| {
        let value = keyspace.get(0, &key).unwrap().value();
        value.sorted_set().unwrap().encoding()
    };
    for n in 0..128 {
        keyspace.edit_zset(0, &key, |zset| zset.set(n.to_string().as_bytes(), 1.0));
    }
    keyspace.edit_zset(0, &key, |zset| zset.set(b"7", 2.0));
    assert_eq!(encoding(&keyspace), "listpack");
    keyspace.edit_zset(0, &key, |zset| zset.set(b"one more", 1.0));
    assert_eq!(encoding(&keyspace), "skiplist");
    keyspace.remove(0, &key);
    keyspace.edit_zset(0, &key, |zset| zset.set(&[b'x'; 64], 1.0));
    assert_eq!(encoding(&keyspace), "listpack");
    keyspace.edit_zset(0, &key, |zset| zset.set(&[b'x'; 65], 1.0));
    assert_eq!(encoding(&keyspace), "skiplist");
}

#[test]
fn foreign_listpacks_are_put_in_order() {
    let pack = |pairs: &[(&str, &str)]| {
        let mut pack = listpack::Builder::default();
        for (member, score) in pairs {
            pack.push(Element::of(member.as_bytes()));
            pack.push(Element::of(score.as_bytes()));
        }
        pack.finish()
    };
    let ordered = [("b", "-0.5"), ("a", "1"), ("7", "inf")];
    let twice = [("b", "2"), ("a", "1"), ("b", "-0.5"), ("7", "inf")];
    let other = [("7", "inf"), ("a", "1"), ("b", "-0.5")];
    for pairs in [&ordered[..], &twice, &other] {
        for entries in [0, 128] {
            let mut keyspace = Keyspace::new(Layout::Single { databases: 1 }, 1);
            keyspace.set_limits(Limits {
                zset_entries: entries,
                ..Limits::default()
            });
            let mut value = keyspace.detached(crate::Kind::SortedSet);
            value.sorted_set().set_packed(&pack(pairs));
            let key = keyspace.key(b"k");
            keyspace.adopt(0, &key, value, None);
            let zset = keyspace.get(0, &key).unwrap().value().sorted_set().unwrap();
            let found: Vec<_> = zset.iter(0..zset.len()).map(owned).collect();
            let want = [(&b"b"[..], -0.5), (b"a", 1.0), (b"7", f64::INFINITY)];
            assert_eq!(found, want.map(|(m, s)| (m.to_vec(), s)));
            assert_eq!(zset.encoding() == "listpack", entries > 0);
        }
    }
}
