//! Tables under jemalloc, which counts what this thread takes and gives back: the bytes that a table claims are those that the
//! allocator gave, nothing is left behind, and an element takes no more than the rows below allow. jemalloc
//! trusts the size that it is told when a block is freed, so a wrong one shows as bytes that stay.

use containers::{tag_of, Element, Pair, SharedBytes, Table};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tikv_jemalloc_ctl::thread::{allocatedp, deallocatedp};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Bytes that this thread took and has not given back, as the allocator rounds them.
fn in_use() -> u64 {
    let taken = allocatedp::read().expect("jemalloc counts").get();
    let given = deallocatedp::read().expect("jemalloc counts").get();
    taken.wrapping_sub(given)
}

fn hash(key: &[u8]) -> u64 {
    let word = |h: u64, chunk: &[u8]| {
        let bytes = chunk.iter().rev().fold(0, |w, b| w << 8 | u64::from(*b));
        let n = (h ^ bytes).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (n ^ n >> 32).wrapping_mul(0xD6E8_FEB8_6659_FD93)
    };
    let n = key.chunks(8).fold(key.len() as u64, word);
    n ^ n >> 32
}

/// A key of this length that says `n`.
fn key(n: u64, len: usize) -> Vec<u8> {
    let mut key = vec![b'k'; len];
    key[..8].copy_from_slice(&n.to_le_bytes());
    key
}

fn put<T: Element>(table: &mut Table<T>, make: impl Fn(u16) -> T) {
    let zero = make(0);
    let hash_of = hash(zero.key());
    table.insert(hash_of, make(tag_of(hash_of)), hash);
}

fn random_operations(seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let start = in_use();
    let mut table: Table<Pair> = Table::new();
    let mut clones: Vec<Table<Pair>> = Vec::with_capacity(8);
    let value = vec![7u8; 2000];
    for step in 0..30_000 {
        // Grows for a while, then shrinks for a while.
        let removes = if step / 5000 % 2 == 0 { 2 } else { 6 };
        let key = key(rng.gen_range(0..8000), 8 + rng.gen_range(0..2) * 92);
        let hash_of = hash(&key);
        let len = [rng.gen_range(0..100), rng.gen_range(0..2000)][usize::from(step % 20 == 0)];
        let expiry = (len % 3 == 0).then_some(len as i64);
        if rng.gen_range(0..8) < removes {
            table.remove(hash_of, &key);
        } else if table.get(hash_of, &key).is_none() {
            put(&mut table, |tag| {
                Pair::new(tag, &key, &value[..len], expiry)
            });
        } else if let Some(mut pair) = table.get_mut(hash_of, &key) {
            pair.set_value(&value[..len]);
            pair.set_expiry(expiry);
        }
        match rng.gen_range(0..2000) {
            0 if clones.len() < 8 => clones.push(table.clone()),
            1 => clones.clear(),
            _ => {}
        }
        if step % 100 == 99 && clones.is_empty() {
            let outside = 2000 + 8 * size_of::<Table<Pair>>() as u64;
            drop(key);
            let claimed = in_use() - start;
            assert!(claimed >= table.bytes() + outside);
            assert!(
                claimed <= table.bytes() + outside + outside / 4,
                "seed {seed}"
            );
        }
    }
    drop((table, clones, value));
    assert_eq!(in_use(), start, "seed {seed}");
}

/// Bytes for each element of a table of `count`, all counted by the allocator; the table's claim must be the same.
fn each<T: Element>(count: u64, make: impl Fn(u16, u64) -> T) -> f64 {
    let start = in_use();
    let mut table = Table::new();
    for n in 0..count {
        put(&mut table, |tag| make(tag, n));
    }
    let used = in_use() - start;
    assert_eq!(used, table.bytes(), "the claim of a table of {count}");
    let copy = table.clone();
    drop(table);
    assert_eq!(copy.bytes(), used);
    drop(copy);
    assert_eq!(in_use(), start, "what is left of a table of {count}");
    used as f64 / count as f64
}

/// A row for a large table and for small ones, whose mean is taken over a doubling.
fn row<T: Element>(name: &str, target: f64, make: impl Fn(u16, u64) -> T) {
    let large = each(1_000_000, &make);
    let thousand = each(1000, &make);
    let counts = (0..36).map(|i| 700 + 20 * i);
    let small = counts.map(|count| each(count, &make)).sum::<f64>() / 36.0;
    let smallest = each(130, &make);
    println!("{name:<24} {large:>6.1} {thousand:>6.1} {small:>6.1} {smallest:>6.1}");
    assert!(
        large <= target && thousand <= target && small <= target,
        "{name}"
    );
}

#[test]
fn bytes_are_those_of_the_allocator_and_elements_are_small() {
    (0..4).for_each(random_operations);
    println!("bytes for each element of  1,000,000  1,000  700-1,400  130");
    let set = |len: usize| move |tag, n| SharedBytes::new(tag, &key(n, len));
    let hash = |field: usize, value: usize| {
        move |tag, n| Pair::new(tag, &key(n, field), &vec![b'v'; value], None)
    };
    row("set 8", 33.0, set(8));
    row("set 16", 49.0, set(16));
    row("set 64", 99.0, set(64));
    row("hash 8+8", 51.0, hash(8, 8));
    row("hash 16+32", 83.0, hash(16, 32));
    row("hash 16+100", 147.0, hash(16, 100));
    row("member 8 and score", 50.0, |tag, n| {
        (SharedBytes::new(tag, &key(n, 8)), n as f64)
    });
}
