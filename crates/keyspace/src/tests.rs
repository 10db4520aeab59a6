//! The keyspace as its users see it, against a `HashMap`, in both layouts.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

const LAYOUTS: [Layout; 2] = [Layout::Single { databases: 3 }, Layout::Cluster];

fn text(entry: &Entry<'_>) -> Vec<u8> {
    let string = entry.string().unwrap();
    string.text(&mut Scratch::default()).to_vec()
}

fn set(ks: &mut Keyspace, db: u32, key: &str, value: &str) {
    let key = ks.key(key.as_bytes());
    ks.set_string(db, &key, value.as_bytes(), Ttl::Clear);
}

fn get(ks: &Keyspace, db: u32, key: &str) -> Option<Vec<u8>> {
    ks.get(db, &ks.key(key.as_bytes())).map(|e| text(&e))
}

fn all(ks: &Keyspace, db: u32) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    ks.for_each(db, &mut |e| {
        keys.push(e.key().to_vec());
        ControlFlow::Continue(())
    });
    keys
}

/// All keys of a whole scan.
fn scanned(ks: &Keyspace, db: u32, count: usize) -> Vec<Vec<u8>> {
    let (mut keys, mut cursor) = (Vec::new(), 0);
    loop {
        cursor = ks.scan(db, cursor, count, &mut |e| keys.push(e.key().to_vec()));
        if cursor == 0 {
            return keys;
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    Set(u8, Vec<u8>, Option<Option<i64>>),
    SetInt(u8, i64, bool),
    Append(u8, Vec<u8>),
    SetRange(u8, usize, Vec<u8>),
    Remove(u8),
    Rename(u8, u8),
    Expire(u8, Option<i64>),
    ExpireDue(i64),
    Flush(bool),
    Maintain(usize),
    /// Many keys at once, so that tables are resized.
    Fill(u16),
    Drain(u16),
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..100),
        2 => any::<i64>().prop_map(|n| n.to_string().into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 900..1200),
        1 => (1000usize..100_000).prop_map(|n| vec![n as u8; n]),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let key = || 0u8..20;
    let at = || 0i64..50;
    prop_oneof![
        6 => (key(), value(), prop::option::of(prop::option::of(at())))
            .prop_map(|(k, v, t)| Op::Set(k, v, t)),
        2 => (key(), any::<i64>(), any::<bool>()).prop_map(|(k, n, t)| Op::SetInt(k, n, t)),
        4 => (key(), value()).prop_map(|(k, v)| Op::Append(k, v)),
        4 => (key(), 0usize..1500, value()).prop_map(|(k, o, v)| Op::SetRange(k, o, v)),
        3 => key().prop_map(Op::Remove),
        3 => (key(), key()).prop_map(|(a, b)| Op::Rename(a, b)),
        4 => (key(), prop::option::of(at())).prop_map(|(k, t)| Op::Expire(k, t)),
        1 => at().prop_map(Op::ExpireDue),
        1 => prop::bool::weighted(0.3).prop_map(Op::Flush),
        1 => (0usize..50).prop_map(Op::Maintain),
        1 => (0u16..2000).prop_map(Op::Fill),
        1 => (0u16..2000).prop_map(Op::Drain),
    ]
}

type Model = HashMap<Vec<u8>, (Vec<u8>, Option<i64>)>;

struct Pair {
    ks: Keyspace,
    dbs: Vec<Model>,
}

fn name(key: u8) -> Vec<u8> {
    match key % 4 {
        0 => format!("{{same}}{key}").into_bytes(),
        1 => vec![key; 300],
        _ => format!("key:{key}").into_bytes(),
    }
}

impl Pair {
    fn new(layout: Layout, seed: u64) -> Pair {
        let ks = Keyspace::new(layout, seed);
        let dbs = (0..ks.databases()).map(|_| Model::new()).collect();
        Pair { ks, dbs }
    }

    fn apply(&mut self, db: u32, op: Op) {
        let (ks, model) = (&mut self.ks, &mut self.dbs[db as usize]);
        match op {
            Op::Set(k, v, ttl) => {
                let k = name(k);
                let was = model.get(&k).and_then(|(_, at)| *at);
                let (ttl, at) = match ttl {
                    None => (Ttl::Keep, was),
                    Some(None) => (Ttl::Clear, None),
                    Some(Some(at)) => (Ttl::At(at), Some(at)),
                };
                ks.set_string(db, &ks.key(&k), &v, ttl);
                model.insert(k, (v, at));
            }
            Op::SetInt(k, n, keep) => {
                let k = name(k);
                let at = model.get(&k).and_then(|(_, at)| *at).filter(|_| keep);
                ks.set_int(
                    db,
                    &ks.key(&k),
                    n,
                    if keep { Ttl::Keep } else { Ttl::Clear },
                );
                model.insert(k, (n.to_string().into_bytes(), at));
            }
            Op::Append(k, v) => {
                let k = name(k);
                let len = append(ks, db, &ks.key(&k), &v);
                let (string, _) = model.entry(k).or_default();
                string.extend_from_slice(&v);
                assert_eq!(len, string.len());
            }
            Op::SetRange(k, offset, v) => {
                let k = name(k);
                let len = ks.write_string(db, &ks.key(&k), offset, &v);
                if v.is_empty() {
                    assert_eq!(len, model.get(&k).map_or(0, |(s, _)| s.len()));
                    return;
                }
                let (string, _) = model.entry(k).or_default();
                string.resize(string.len().max(offset + v.len()), 0);
                string[offset..offset + v.len()].copy_from_slice(&v);
                assert_eq!(len, string.len());
            }
            Op::Remove(k) => {
                let k = name(k);
                assert_eq!(ks.remove(db, &ks.key(&k)), model.remove(&k).is_some());
            }
            Op::Rename(a, b) => {
                let (a, b) = (name(a), name(b));
                let done = ks.rename(db, &ks.key(&a), &ks.key(&b));
                let value = model.remove(&a);
                assert_eq!(done, value.is_some());
                value
                    .into_iter()
                    .for_each(|v| drop(model.insert(b.clone(), v)));
            }
            Op::Expire(k, at) => {
                let k = name(k);
                let entry = model.get_mut(&k);
                assert_eq!(ks.set_expiry(db, &ks.key(&k), at), entry.is_some());
                entry.into_iter().for_each(|e| e.1 = at);
            }
            Op::ExpireDue(now) => self.expire(now),
            Op::Flush(everything) => {
                ks.flush((!everything).then_some(db));
                model.clear();
                if everything {
                    self.dbs.iter_mut().for_each(HashMap::clear);
                }
                drop(ks.take_garbage());
            }
            Op::Maintain(steps) => {
                ks.maintain(steps);
            }
            Op::Fill(count) => {
                for n in 0..count {
                    let k = format!("fill{n}").into_bytes();
                    ks.set_int(db, &ks.key(&k), n.into(), Ttl::Clear);
                    model.insert(k, (n.to_string().into_bytes(), None));
                }
            }
            Op::Drain(count) => {
                for n in 0..count {
                    let k = format!("fill{n}").into_bytes();
                    assert_eq!(ks.remove(db, &ks.key(&k)), model.remove(&k).is_some());
                }
            }
        }
    }

    /// Removes what is due, as active expiry does, and looks at the order.
    fn expire(&mut self, now: i64) {
        let mut last = i64::MIN;
        while let Some((db, key)) = self.ks.next_expired(now) {
            let (_, at) = self.dbs[db as usize].remove(&key[..]).unwrap();
            assert!(at.unwrap() >= last && at.unwrap() < now);
            last = at.unwrap();
            assert!(self.ks.remove(db, &self.ks.key(&key)));
        }
        let due = |(_, at): &(Vec<u8>, Option<i64>)| at.is_some_and(|at| at < now);
        assert!(!self.dbs.iter().any(|m| m.values().any(due)));
    }

    fn check(&self) {
        for (db, model) in (0..).zip(&self.dbs) {
            let ks = &self.ks;
            assert_eq!(ks.len(db), model.len() as u64);
            let expires: Vec<i64> = model.values().filter_map(|(_, at)| *at).collect();
            assert_eq!(ks.expires(db), expires.len() as u64);
            let mean = expires
                .iter()
                .sum::<i64>()
                .checked_div(expires.len() as i64);
            assert_eq!(ks.mean_expiry(db), mean);
            for (key, (value, at)) in model {
                let entry = ks.get(db, &ks.key(key)).expect("a key of the model");
                assert!(text(&entry) == *value && entry.key() == key);
                assert_eq!((entry.expiry(), entry.kind()), (*at, Kind::String));
                assert_eq!(entry.string().unwrap().len(), value.len());
            }
            let seen: HashSet<Vec<u8>> = all(ks, db).into_iter().collect();
            assert!(seen.len() == model.len() && seen.iter().all(|k| model.contains_key(k)));
            let scan: HashSet<Vec<u8>> = scanned(ks, db, 10).into_iter().collect();
            assert!(scan == seen);
        }
    }

    /// A digest is that of another keyspace, with another seed, filled in another order.
    fn check_digest(&self, layout: Layout) {
        let mut other = Keyspace::new(layout, 99);
        let mut one_by_one = KeysDigest::default();
        for (db, model) in (0..).zip(&self.dbs) {
            for (k, (v, at)) in model {
                one_by_one.add(db, k, Value::String(StringRef::Bytes(v)), *at);
                // Through the other road to each value: by bytes and by parts.
                let key = other.key(k);
                let (head, tail) = v.split_at(v.len() / 2);
                append(&mut other, db, &key, head);
                append(&mut other, db, &key, tail);
                other.set_expiry(db, &key, *at);
            }
            assert_eq!(other.digest(db), self.ks.digest(db));
        }
        assert_eq!(other.digest_all(), self.ks.digest_all());
        assert_eq!(one_by_one.all(), self.ks.digest_all());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn behaves_as_a_map(
        cluster: bool,
        seed: u64,
        ops in prop::collection::vec((0u32..3, op()), 1..80),
    ) {
        let layout = LAYOUTS[usize::from(cluster)];
        let mut pair = Pair::new(layout, seed);
        for (db, op) in ops {
            pair.apply(db % pair.ks.databases(), op);
        }
        pair.check();
        pair.check_digest(layout);
        pair.expire(i64::MAX);
        pair.check();
    }

    #[test]
    fn the_same_history_gives_the_same_order(
        cluster: bool,
        seed: u64,
        ops in prop::collection::vec(op(), 1..30),
    ) {
        let layout = LAYOUTS[usize::from(cluster)];
        let [mut a, mut b] = [(); 2].map(|()| Pair::new(layout, seed));
        for op in ops {
            a.apply(0, op.clone());
            b.apply(0, op);
        }
        prop_assert!(all(&a.ks, 0) == all(&b.ks, 0));
        prop_assert!(scanned(&a.ks, 0, 7) == scanned(&b.ks, 0, 7));
        let [x, y] = [&a, &b].map(|p| {
            let mut rng = StdRng::seed_from_u64(seed);
            p.ks.random_key(0, &mut rng).map(|e| e.key().to_vec())
        });
        prop_assert_eq!(x, y);
        loop {
            let [x, y] = [&a, &b].map(|p| p.ks.next_expired(i64::MAX));
            prop_assert_eq!(&x, &y);
            let Some((db, key)) = x else { break };
            for p in [&mut a, &mut b] {
                p.ks.remove(db, &p.ks.key(&key));
            }
        }
    }

    #[test]
    fn a_scan_sees_what_stays(
        cluster: bool,
        seed: u64,
        stay in 1u32..400,
        count in 1usize..40,
        tagged: bool,
        changes in prop::collection::vec(-300i32..300, 0..60),
    ) {
        let mut ks = Keyspace::new(LAYOUTS[usize::from(cluster)], seed);
        let tag = if tagged { "{t}" } else { "" };
        for n in 0..stay {
            set(&mut ks, 0, &format!("{tag}stay{n}"), "v");
        }
        let (mut guests, mut next) = (Vec::new(), 0);
        let (mut seen, mut cursor) = (HashSet::new(), 0);
        let mut changes = changes.into_iter();
        loop {
            cursor = ks.scan(0, cursor, count, &mut |e| {
                seen.insert(e.key().to_vec());
            });
            if cursor == 0 {
                break;
            }
            let change = changes.next().unwrap_or(0);
            for _ in 0..change {
                let key = format!("{tag}guest{next}");
                set(&mut ks, 0, &key, "1");
                guests.push(key);
                next += 1;
            }
            for _ in change..0 {
                if let Some(key) = guests.pop() {
                    prop_assert!(ks.remove(0, &ks.key(key.as_bytes())));
                }
            }
        }
        for n in 0..stay {
            let key = format!("{tag}stay{n}");
            prop_assert!(seen.contains(key.as_bytes()), "{}", key);
        }
    }
}

#[test]
fn strings_keep_their_encoding() {
    let mut ks = Keyspace::new(LAYOUTS[0], 1);
    let key = ks.key(b"k");
    for (value, int) in [
        ("12", true),
        ("-5", true),
        ("012", false),
        ("+1", false),
        ("", false),
    ] {
        ks.set_string(0, &key, value.as_bytes(), Ttl::Clear);
        let entry = ks.get(0, &key).unwrap();
        assert_eq!(
            matches!(entry.string().unwrap(), StringRef::Int(_)),
            int,
            "{value}"
        );
        assert_eq!(text(&entry), value.as_bytes());
    }
    ks.set_int(0, &key, 41, Ttl::At(7));
    assert_eq!(append(&mut ks, 0, &key, b"9"), 3);
    let entry = ks.get(0, &key).unwrap();
    assert_eq!(
        (entry.string().unwrap(), entry.expiry()),
        (StringRef::Bytes(b"419"), Some(7))
    );
    let new = ks.key(b"new");
    assert_eq!(append(&mut ks, 0, &new, b"100"), 3);
    assert_eq!(
        ks.get(0, &ks.key(b"new")).unwrap().string().unwrap(),
        StringRef::Int(100)
    );
}

#[test]
fn large_strings_are_overwritten_in_place_and_go_to_garbage() {
    let mut ks = Keyspace::new(LAYOUTS[0], 1);
    let key = ks.key(b"k");
    let place = |ks: &Keyspace| match ks.get(0, &key).unwrap().string().unwrap() {
        StringRef::Bytes(bytes) => bytes.as_ptr().addr(),
        _ => panic!("bytes that lie together were written"),
    };
    ks.set_string(0, &key, &[1; 1 << 20], Ttl::At(5));
    let before = place(&ks);
    ks.set_string(0, &key, &[2; 1_000_000], Ttl::Keep);
    assert_eq!(
        (place(&ks), ks.get(0, &key).unwrap().expiry()),
        (before, Some(5))
    );
    ks.set_string(0, &key, &[3; 900_000], Ttl::Clear);
    assert_eq!(
        (ks.get(0, &key).unwrap().expiry(), ks.expires(0)),
        (None, 0)
    );
    ks.set_string(0, &key, &[3; 900_000], Ttl::At(8));
    assert_eq!((place(&ks), ks.expires(0)), (before, 1));
    assert!(ks.take_garbage().is_none());
    // Much smaller: the memory is given back.
    ks.set_string(0, &key, &[3; 2000], Ttl::Clear);
    assert!(ks.take_garbage().is_some() && ks.take_garbage().is_none());
    assert!(ks.remove(0, &key) && ks.take_garbage().is_none());
    ks.set_string(0, &key, &[3; 1 << 20], Ttl::Clear);
    assert!(ks.remove(0, &key) && ks.take_garbage().is_some());
    // What a rename overwrites, too.
    ks.set_string(0, &key, &[3; 1 << 20], Ttl::Clear);
    set(&mut ks, 0, "other", "v");
    assert!(ks.rename(0, &ks.key(b"other"), &key) && ks.take_garbage().is_some());
    assert_eq!((get(&ks, 0, "k"), ks.len(0)), (Some(b"v".to_vec()), 1));
    assert!(ks.rename(0, &key, &key) && !ks.rename(0, &ks.key(b"other"), &key));
}

#[test]
fn slots_are_counted_and_listed() {
    let mut ks = Keyspace::new(Layout::Cluster, 5);
    assert_eq!(ks.databases(), 1);
    for n in 0..500 {
        set(&mut ks, 0, &format!("{{foo}}{n}"), "v");
        set(&mut ks, 0, &format!("{{bar}}{n}"), "v");
    }
    let foo = ks.key(b"foo").slot;
    assert_eq!((foo, ks.key(b"{foo}7").slot), (12182, 12182));
    assert_eq!(
        (
            ks.count_in_slot(foo),
            ks.count_in_slot(5061),
            ks.count_in_slot(0)
        ),
        (500, 500, 0)
    );
    for limit in [0, 1, 10, 500, 1000] {
        let mut keys = HashSet::new();
        ks.keys_in_slot(foo, limit, &mut |e| assert!(keys.insert(e.key().to_vec())));
        assert_eq!(keys.len(), limit.min(500));
        assert!(keys.iter().all(|k| k.starts_with(b"{foo}")));
    }
    // A scan's cursor names the slot in its low 14 bits, in ascending order.
    let (mut cursor, mut slots) = (0, Vec::new());
    loop {
        cursor = ks.scan(0, cursor, 10, &mut |_| {});
        if cursor == 0 {
            break;
        }
        slots.push(cursor & 16383);
    }
    assert!(slots.is_sorted() && slots.contains(&5061) && slots.contains(&12182));
    // Keys may move between slots.
    assert!(ks.rename(0, &ks.key(b"{foo}1"), &ks.key(b"{bar}x")));
    assert_eq!((ks.count_in_slot(foo), ks.count_in_slot(5061)), (499, 501));
    let mut single = Keyspace::new(LAYOUTS[0], 5);
    set(&mut single, 0, "foo", "v");
    single.keys_in_slot(foo, 10, &mut |_| panic!("no slots here"));
    assert!((0..16384).all(|slot| single.count_in_slot(slot) == 0));
}

#[test]
fn any_cursor_is_valid() {
    let mut rng = StdRng::seed_from_u64(2);
    for layout in LAYOUTS {
        let mut ks = Keyspace::new(layout, 5);
        assert_eq!(
            ks.scan(0, u64::MAX, usize::MAX, &mut |_| panic!("nothing is there")),
            0
        );
        for n in 0..3000 {
            set(&mut ks, 0, &n.to_string(), "v");
            ks.scan(0, rng.gen(), 3, &mut |_| {});
        }
        for cursor in [u64::MAX, 1 << 63, 16383, 16384] {
            ks.scan(0, cursor, 0, &mut |_| {});
        }
        assert_eq!(ks.scan(0, 0, usize::MAX, &mut |_| {}), 0);
    }
}

#[test]
fn random_keys_are_drawn_evenly() {
    for layout in LAYOUTS {
        let mut ks = Keyspace::new(layout, 5);
        let mut rng = StdRng::seed_from_u64(11);
        assert!(ks.random_key(0, &mut rng).is_none());
        // Half of the keys in one slot, half spread.
        for n in 0..50 {
            set(&mut ks, 0, &format!("{{one}}{n}"), "v");
            set(&mut ks, 0, &format!("spread{n}"), "v");
        }
        let mut drawn: HashMap<Vec<u8>, u32> = HashMap::new();
        for _ in 0..100_000 {
            *drawn
                .entry(ks.random_key(0, &mut rng).unwrap().key().to_vec())
                .or_default() += 1;
        }
        assert_eq!(drawn.len(), 100);
        assert!(drawn.values().all(|n| (842..1158).contains(n)), "{drawn:?}");
    }
}

#[test]
fn flush_detaches() {
    for layout in LAYOUTS {
        let mut ks = Keyspace::new(layout, 5);
        ks.flush(None);
        assert!(ks.take_garbage().is_none(), "nothing to free");
        for db in 0..ks.databases() {
            for n in 0..1300 {
                let key = n.to_string();
                ks.set_int(db, &ks.key(key.as_bytes()), n, Ttl::At(n));
            }
        }
        ks.flush(Some(0));
        assert_eq!((ks.len(0), ks.expires(0), ks.digest(0)), (0, 0, [0; 20]));
        let garbage = ks.take_garbage().unwrap();
        std::thread::scope(|scope| scope.spawn(move || drop(garbage)).join().unwrap());
        while ks.maintain(100) {}
        if ks.databases() > 1 {
            assert_eq!(ks.len(1), 1300);
            assert_eq!(ks.next_expired(i64::MAX).unwrap().0, 1);
        }
        ks.flush(None);
        assert!(ks.next_expired(i64::MAX).is_none());
        assert_eq!(ks.digest_all(), [0; 20]);
        assert!(!ks.maintain(1));
    }
}

#[test]
fn digests_tell_differences() {
    let base = |ks: &mut Keyspace| {
        set(ks, 0, "a", "1");
        set(ks, 0, "b", "two");
    };
    let changes: [fn(&mut Keyspace); 7] = [
        |_| {},
        |ks| set(ks, 0, "a", "2"),
        |ks| set(ks, 0, "c", "1"),
        |ks| assert!(ks.remove(0, &ks.key(b"b"))),
        |ks| assert!(ks.rename(0, &ks.key(b"a"), &ks.key(b"b"))),
        |ks| assert!(ks.set_expiry(0, &ks.key(b"a"), Some(0))),
        |ks| assert!(ks.set_expiry(0, &ks.key(b"b"), Some(0))),
    ];
    let mut digests = HashSet::new();
    for change in changes {
        let mut ks = Keyspace::new(LAYOUTS[0], 1);
        base(&mut ks);
        change(&mut ks);
        assert!(digests.insert(ks.digest_all()));
    }
    // Both layouts agree on one database; which database it is matters.
    let mut cluster = Keyspace::new(Layout::Cluster, 2);
    base(&mut cluster);
    assert!(digests.contains(&cluster.digest_all()));
    let mut ks = Keyspace::new(LAYOUTS[0], 1);
    set(&mut ks, 1, "a", "1");
    set(&mut ks, 1, "b", "two");
    assert_eq!(ks.digest(1), cluster.digest(0));
    assert!(digests.insert(ks.digest_all()));
}

#[test]
fn no_operation_does_unbounded_work() {
    for layout in LAYOUTS {
        let mut ks = Keyspace::new(layout, 3);
        let mut most = 0;
        let mut step = |ks: &mut Keyspace, run: &mut dyn FnMut(&mut Keyspace)| {
            let before = ks.buckets_moved();
            run(ks);
            most = most.max(ks.buckets_moved() - before);
        };
        let keys: Vec<String> = (0..60_000).map(|n| format!("{{t}}{n}")).collect();
        for key in &keys {
            step(&mut ks, &mut |ks| set(ks, 0, key, "v"));
        }
        for key in &keys[..30_000] {
            step(&mut ks, &mut |ks| {
                assert!(ks.remove(0, &ks.key(key.as_bytes())))
            });
        }
        for key in &keys[30_000..] {
            let to = format!("{key}x");
            step(&mut ks, &mut |ks| {
                assert!(ks.rename(0, &ks.key(key.as_bytes()), &ks.key(to.as_bytes())));
            });
        }
        // Two tables' steps or one small table as a whole, for each of a rename's two halves.
        assert!(most <= 16, "{most}");
        assert!(ks.buckets_moved() > 10_000, "the test does resize");
    }
}

#[test]
fn maintenance_is_bounded_and_ends() {
    for layout in LAYOUTS {
        let mut ks = Keyspace::new(layout, 3);
        for n in 0..41_000 {
            set(&mut ks, 0, &format!("{{t}}{n}"), "v");
        }
        let mut calls = 0;
        loop {
            let before = ks.buckets_moved();
            let more = ks.maintain(16);
            assert!(ks.buckets_moved() - before <= 16);
            if !more {
                break;
            }
            calls += 1;
        }
        assert!(calls > 100, "{calls}");
        assert!(!ks.maintain(16));
        assert_eq!(ks.len(0), 41_000);
    }
}

/// As APPEND: a string that is there grows, one that is not is made.
fn append(ks: &mut Keyspace, db: u32, key: &Key<'_>, tail: &[u8]) -> usize {
    match ks.string_len(db, key) {
        Some(len) => ks.write_string(db, key, len, tail),
        None => {
            ks.set_string(db, key, tail, Ttl::Clear);
            tail.len()
        }
    }
}
