//! The table by itself: against a model with clones, bounded steps, the cursor's guarantee, draws, bytes.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

/// Spread well enough over all bits (the finalizer of splitmix64).
fn mix(n: u64) -> u64 {
    let n = (n ^ n >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let n = (n ^ n >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    n ^ n >> 31
}

fn hash(key: &[u8]) -> u64 {
    key.chunks(8).fold(key.len() as u64, |h, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        mix(h.wrapping_add(0x9E37_79B9_7F4A_7C15) ^ u64::from_le_bytes(word))
    })
}

fn element(n: u64) -> SharedBytes {
    let key = n.to_le_bytes();
    SharedBytes::new(tag_of(hash(&key)), &key)
}

fn number(element: &SharedBytes) -> u64 {
    u64::from_le_bytes(element.key().try_into().unwrap())
}

fn add(table: &mut Table<SharedBytes>, n: u64) {
    table.insert(hash(&n.to_le_bytes()), element(n), hash);
}

fn take(table: &mut Table<SharedBytes>, n: u64) -> bool {
    let key = n.to_le_bytes();
    table.remove(hash(&key), &key).is_some()
}

fn has(table: &Table<SharedBytes>, n: u64) -> bool {
    let key = n.to_le_bytes();
    table.get(hash(&key), &key).is_some()
}

/// The invariants that the heads of the files state, and the bytes counted anew.
fn check<T: Element>(table: &Table<T>) {
    let mut bytes = directory_bytes(table.segments.capacity());
    let (mut len, mut buckets) = (0, 0);
    for (i, segment) in table.segments.iter().enumerate() {
        bytes += segment.bytes();
        let is_last = i + 1 == table.segments.len();
        let count = segment.buckets().len();
        assert!(count > 0 && (is_last || count == Segment::<T>::FULL));
        for bucket in segment.buckets() {
            let chained = bucket.len().div_ceil(SLOTS).saturating_sub(1);
            assert_eq!(bucket.children(), chained, "no holes");
            assert!((0..bucket.len()).all(|at| bucket.nth(at).is_some()));
            bytes += (bucket.children() * Bucket::<T>::BYTES) as u64;
            for element in bucket.iter() {
                let hash = hash(element.key());
                assert_eq!(table.home(hash), buckets);
                assert_eq!(element.tag(), tag_of(hash));
                bytes += element.bytes() as u64;
                len += 1;
            }
            buckets += 1;
        }
    }
    assert_eq!((table.len, table.buckets), (len, buckets));
    assert_eq!(table.bytes(), bytes);
    assert_eq!(table.iter().count(), len);
    assert!(
        buckets <= 1 || len + MIN_LOAD >= MIN_LOAD * buckets,
        "never sparse"
    );
    assert!(len <= (MAX_LOAD * buckets).max(SLOTS), "never crowded");
}

#[test]
fn grows_and_shrinks_one_bucket_at_a_time() {
    let mut table = Table::new();
    const N: u64 = 30_000;
    for n in 0..N {
        let before = table.buckets;
        add(&mut table, n);
        assert!(table.buckets <= before.max(1) + 1);
        if n % 4099 == 0 || n < 300 {
            check(&table);
        }
    }
    assert!((0..N).all(|n| has(&table, n)) && !has(&table, N));
    for n in 0..N {
        let before = table.buckets;
        assert!(take(&mut table, n) && !take(&mut table, n));
        assert!(table.buckets + 1 >= before);
        if n % 4099 == 0 || N - n < 300 {
            check(&table);
        }
    }
    assert_eq!((table.len(), table.buckets), (0, 1));
}

#[test]
fn equal_hashes_are_told_apart_by_key() {
    // One long chain, however many buckets there are.
    let one = |_: &[u8]| 0xABCD_0000_0000_0005;
    let mut table = Table::new();
    for n in 0..100u64 {
        table.insert(one(&[]), SharedBytes::new(0xABCD, &n.to_le_bytes()), one);
    }
    let mut left: Vec<u64> = (0..100).collect();
    let mut rng = StdRng::seed_from_u64(1);
    while !left.is_empty() {
        for n in 0..100u64 {
            let found = table.get(one(&[]), &n.to_le_bytes()).map(number);
            assert_eq!(found, left.contains(&n).then_some(n));
        }
        let drawn = table.random(&mut rng).map(number).unwrap();
        assert!(left.contains(&drawn));
        let n = left.swap_remove(rng.gen_range(0..left.len()));
        let removed = table.remove(one(&[]), &n.to_le_bytes());
        assert_eq!(removed.as_ref().map(number), Some(n));
        let home = table.bucket(table.home(one(&[])));
        assert_eq!(home.len(), left.len());
        assert_eq!(
            home.children(),
            left.len().div_ceil(SLOTS).saturating_sub(1)
        );
    }
    assert!(table.remove(one(&[]), b"none").is_none() && table.random(&mut rng).is_none());
}

/// Segments that two tables have in common.
fn shared<T>(a: &Table<T>, b: &Table<T>) -> usize {
    let pairs = a.segments.iter().zip(&b.segments);
    pairs.filter(|(a, b)| Arc::ptr_eq(a, b)).count()
}

#[test]
fn edit_after_clone_copies_few_segments() {
    let mut table = Table::new();
    (0..20_000).for_each(|n| add(&mut table, n));
    let all = table.segments.len();
    assert!(all >= 20);
    let copy = table.clone();
    assert_eq!((shared(&table, &copy), copy.bytes()), (all, table.bytes()));
    // What reads, and what finds nothing to edit, copies nothing.
    assert!(has(&table, 3) && !take(&mut table, 77_777));
    assert_eq!(shared(&table, &copy), all);
    let key = 3u64.to_le_bytes();
    drop(table.get_mut(hash(&key), &key).unwrap());
    assert_eq!(shared(&table, &copy), all - 1);
    for (n, kept) in [(20_000, all - 4), (20_001, all - 7)] {
        // The element's segment, and where a bucket splits its own and the last.
        add(&mut table, n);
        assert!(shared(&table, &copy) >= kept);
    }
    let before = shared(&table, &copy);
    assert!(take(&mut table, 3));
    assert!(shared(&table, &copy) + 3 >= before);
    check(&table);
    check(&copy);
    assert!((0..20_000).all(|n| has(&copy, n)) && copy.len() == 20_000);
    let element = copy.get(hash(&9u64.to_le_bytes()), &9u64.to_le_bytes());
    drop(table);
    assert!(element.unwrap().is_unique(), "counts come down");
}

#[test]
fn small_table_is_small() {
    let mut table = Table::new();
    let mut beside = Vec::new();
    for n in 0..1000 {
        add(&mut table, n);
        let own = table.bytes() - 16 * (n + 1);
        if n >= 100 {
            beside.push(own as f64 / (n + 1) as f64);
        }
    }
    let mean = beside.iter().sum::<f64>() / beside.len() as f64;
    assert!(mean < 16.5, "{mean}");
    let most = beside.iter().fold(0.0f64, |a, b| a.max(*b));
    assert!(most < 19.0, "{most}");
}

/// Scans while others write: what stays is seen, and nothing that was never there.
fn scan_while(seed: u64, start: u64, plan: impl Fn(u64, &mut StdRng) -> i64) {
    let mut table = Table::new();
    let mut rng = StdRng::seed_from_u64(seed);
    // Keys below 1 << 32 stay, those above come and go.
    let stay = start / 4;
    (0..stay).for_each(|n| add(&mut table, n));
    let mut guests: Vec<u64> = (0..start - stay).map(|n| 1 << 32 | n).collect();
    guests.iter().for_each(|n| add(&mut table, *n));
    let mut ever: HashSet<u64> = guests.iter().copied().collect();
    let mut next = start;
    let mut seen = HashSet::new();
    let (mut cursor, mut calls) = (0, 0);
    loop {
        cursor = table.scan(cursor, &mut |e| {
            seen.insert(number(e));
        });
        calls += 1;
        assert!(calls < 1_000_000, "the scan ends");
        if cursor == 0 {
            break;
        }
        let change = plan(calls, &mut rng);
        for _ in 0..change.max(0) {
            guests.push(1 << 32 | next);
            ever.insert(1 << 32 | next);
            add(&mut table, 1 << 32 | next);
            next += 1;
        }
        for _ in change.min(0)..0 {
            if !guests.is_empty() {
                let n = guests.swap_remove(rng.gen_range(0..guests.len()));
                assert!(take(&mut table, n));
            }
        }
    }
    let missed = (0..stay).find(|n| !seen.contains(n));
    assert_eq!(missed, None, "seed {seed}, start {start}");
    assert!(seen.iter().all(|n| *n < stay || ever.contains(n)));
}

#[test]
fn scan_sees_what_stays() {
    for seed in 0..30 {
        for start in [1, 8, 40, 300, 3000] {
            scan_while(seed, start, |_, _| 0);
            scan_while(seed, start, |calls, _| if calls < 3000 { 3 } else { 0 });
            scan_while(seed, start, |_, _| -7);
            scan_while(seed, start, |calls, rng| {
                if calls < 3000 {
                    rng.gen_range(-60..=60)
                } else {
                    0
                }
            });
        }
    }
}

#[test]
fn scan_without_changes_visits_each_element_once() {
    for count in [0u64, 1, 7, 8, 100, 1000, 1290, 5000] {
        let mut table = Table::new();
        (0..count).for_each(|n| add(&mut table, n));
        let mut seen = HashMap::new();
        let mut cursor = 0;
        loop {
            cursor = table.scan(cursor, &mut |e| *seen.entry(number(e)).or_insert(0) += 1);
            if cursor == 0 {
                break;
            }
        }
        assert_eq!(seen.len() as u64, count);
        assert!(seen.values().all(|&times| times == 1));
    }
}

#[test]
fn any_cursor_is_valid() {
    let mut table = Table::new();
    assert_eq!(table.scan(77, &mut |_| panic!("nothing is there")), 0);
    let mut rng = StdRng::seed_from_u64(3);
    for n in 0..5000 {
        add(&mut table, n);
        let next = table.scan(rng.gen(), &mut |_| {});
        assert!(next < table.buckets as u64);
        table.scan(u64::MAX, &mut |_| {});
    }
}

#[test]
fn random_is_even_at_all_stages_of_a_level() {
    assert!(Table::<SharedBytes>::new()
        .random(&mut StdRng::seed_from_u64(1))
        .is_none());
    let mut rng = StdRng::seed_from_u64(1);
    let mut table = Table::new();
    // 64 buckets hold 320 elements; 315 are just before the last split of the level.
    for count in [1u64, 7, 8, 10, 161, 200, 240, 315, 321] {
        for n in table.len() as u64..count {
            add(&mut table, n);
        }
        let mut drawn = vec![0u32; count as usize];
        for _ in 0..count * 1000 {
            drawn[number(table.random(&mut rng).unwrap()) as usize] += 1;
        }
        // A thousand each, give or take five standard deviations.
        assert!(drawn.iter().all(|n| (842..1158).contains(n)), "{drawn:?}");
        let squares = drawn.iter().map(|n| (f64::from(*n) - 1000.0).powi(2));
        let (chi_square, free) = (squares.sum::<f64>() / 1000.0, count as f64 - 1.0);
        assert!(
            chi_square <= free + 4.0 * (2.0 * free).sqrt(),
            "{count}: {chi_square}"
        );
    }
    for n in 1..200 {
        assert!(take(&mut table, n));
        assert!(has(&table, number(table.random(&mut rng).unwrap())));
    }
}

#[test]
fn table_goes_to_another_thread_to_be_freed() {
    let mut table = Table::new();
    (0..1000).for_each(|n| add(&mut table, n));
    let copy = table.clone();
    let count = std::thread::scope(|s| s.spawn(move || copy.iter().count()).join());
    assert_eq!(count.unwrap(), 1000);
    assert!(table.iter().all(SharedBytes::is_unique));
}

#[derive(Clone, Debug)]
enum Op {
    Put(u16, usize),
    Expire(u16, Option<i64>),
    Remove(u16),
    /// So many at once, so that levels begin and end.
    Fill(u16),
    Clear(u16),
    Clone,
    /// The oldest clone goes.
    Forget,
    /// The newest clone is edited from now on, and the table becomes a clone.
    Swap,
}

fn op() -> impl Strategy<Value = Op> {
    let key = || 0..700u16;
    prop_oneof![
        6 => (key(), 0..200usize).prop_map(|(n, len)| Op::Put(n, len)),
        2 => (key(), any::<Option<i64>>()).prop_map(|(n, at)| Op::Expire(n, at)),
        3 => key().prop_map(Op::Remove),
        1 => key().prop_map(Op::Fill),
        1 => key().prop_map(Op::Clear),
        1 => Just(Op::Clone),
        1 => Just(Op::Forget),
        1 => Just(Op::Swap),
    ]
}

type Model = HashMap<Vec<u8>, (Vec<u8>, Option<i64>)>;

/// A table of pairs beside its model.
#[derive(Clone, Default)]
struct Both {
    table: Table<Pair>,
    model: Model,
}

fn name(n: u16) -> Vec<u8> {
    format!("field:{n}").into_bytes()
}

impl Both {
    fn put(&mut self, n: u16, len: usize) {
        let (field, value) = (name(n), vec![n as u8; len]);
        let hash_of = hash(&field);
        if let Some(mut pair) = self.table.get_mut(hash_of, &field) {
            pair.set_value(&value);
            self.model.get_mut(&field).unwrap().0 = value;
            return;
        }
        let pair = Pair::new(tag_of(hash_of), &field, &value, None);
        self.table.insert(hash_of, pair, hash);
        assert!(self.model.insert(field, (value, None)).is_none());
    }

    fn remove(&mut self, n: u16) {
        let field = name(n);
        let removed = self.table.remove(hash(&field), &field);
        let model = self.model.remove(&field);
        assert_eq!(removed.is_some(), model.is_some());
        if let (Some(pair), Some((value, expiry))) = (removed, model) {
            assert_eq!(pair.parts(), (&field[..], &value[..], expiry));
        }
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Put(n, len) => self.put(n, len),
            Op::Remove(n) => self.remove(n),
            Op::Fill(count) => (0..count).for_each(|n| self.put(n, 5)),
            Op::Clear(count) => (0..count).for_each(|n| self.remove(n)),
            Op::Expire(n, at) => {
                let field = name(n);
                let pair = self.table.get_mut(hash(&field), &field);
                assert_eq!(pair.is_some(), self.model.contains_key(&field));
                if let Some(mut pair) = pair {
                    pair.set_expiry(at);
                    self.model.get_mut(&field).unwrap().1 = at;
                }
            }
            Op::Clone | Op::Forget | Op::Swap => {}
        }
    }

    fn check(&self) {
        check(&self.table);
        assert_eq!(self.table.len(), self.model.len());
        for pair in self.table.iter() {
            let (field, value, expiry) = pair.parts();
            assert_eq!(self.model.get(field), Some(&(value.to_vec(), expiry)));
        }
        for field in self.model.keys() {
            assert!(self.table.get(hash(field), field).is_some());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn table_and_all_clones_read_as_their_models(ops in prop::collection::vec(op(), 0..80)) {
        let mut both = Both::default();
        let mut clones: Vec<Both> = Vec::new();
        for op in ops {
            match op {
                Op::Clone => clones.push(both.clone()),
                Op::Forget if !clones.is_empty() => drop(clones.remove(0)),
                Op::Swap => {
                    if let Some(last) = clones.last_mut() {
                        std::mem::swap(&mut both, last);
                    }
                }
                op => both.apply(&op),
            }
            both.check();
        }
        clones.iter().for_each(Both::check);
    }
}
