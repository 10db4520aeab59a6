//! Measures the table alone beside the standard library's: nanoseconds for each operation, for members of 16
//! bytes. `cargo run --release -p containers --example table [elements]`. Never part of a test.

// A program that measures.
#![allow(clippy::disallowed_methods)]

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::hint::black_box;
use std::time::Instant;

use containers::{tag_of, SharedBytes, Table};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// One function for both tables.
fn hash(key: &[u8]) -> u64 {
    let word = |h: u64, chunk: &[u8]| {
        let bytes = chunk.try_into().map_or(0, u64::from_le_bytes);
        let wide = u128::from(h ^ bytes) * 0x9E37_79B9_7F4A_7C15;
        (wide as u64) ^ (wide >> 64) as u64
    };
    key.chunks_exact(8).fold(0x2545_F491_4F6C_DD1D, word)
}

#[derive(Default)]
struct SameHasher(u64);

impl Hasher for SameHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        self.0 = hash(bytes);
    }
    fn write_usize(&mut self, _length: usize) {}
}

fn key(n: u64) -> [u8; 16] {
    let mut key = [b'k'; 16];
    key[..8].copy_from_slice(&n.to_le_bytes());
    key
}

/// Runs `one` for each number of the order and prints the mean.
fn timed(name: &str, order: &[u64], mut one: impl FnMut(&[u8])) {
    let start = Instant::now();
    for &n in order {
        one(&key(n));
    }
    let mean = start.elapsed().as_nanos() as f64 / order.len() as f64;
    println!("  {name:<26} {mean:>7.1} ns");
}

fn ours(count: u64, order: &[u64], rng: &mut StdRng) {
    let mut table = Table::new();
    timed("insert, new", order, |k| {
        let hash_of = hash(k);
        if table.get(hash_of, k).is_none() {
            table.insert(hash_of, SharedBytes::new(tag_of(hash_of), k), hash);
        }
    });
    timed("get", order, |k| assert!(table.get(hash(k), k).is_some()));
    let absent: Vec<u64> = order.iter().map(|n| n + count).collect();
    timed("get, absent", &absent, |k| {
        assert!(table.get(hash(k), k).is_none())
    });
    timed("random", order, |_| {
        black_box(table.random(rng));
    });
    let start = Instant::now();
    black_box(table.iter().map(|e| e.len()).sum::<usize>());
    println!(
        "  iter, each {:>22.1} ns",
        start.elapsed().as_nanos() as f64 / count as f64
    );
    let start = Instant::now();
    let copy = table.clone();
    println!(
        "  clone {:>27.1} us",
        start.elapsed().as_nanos() as f64 / 1e3
    );
    let mut slowest = 0;
    timed("remove and add, cloned", &order[..order.len() / 4], |k| {
        let start = Instant::now();
        let hash_of = hash(k);
        let element = table.remove(hash_of, k);
        table.insert(hash_of, element.expect("it is there"), hash);
        slowest = slowest.max(start.elapsed().as_nanos());
    });
    println!("  slowest of them {slowest:>17} ns");
    drop(copy);
    timed("remove", order, |k| drop(table.remove(hash(k), k)));
}

fn standard(count: u64, order: &[u64]) {
    let mut table: HashMap<Box<[u8]>, (), BuildHasherDefault<SameHasher>> = HashMap::default();
    timed("insert, new", order, |k| {
        if !table.contains_key(k) {
            table.insert(k.into(), ());
        }
    });
    timed("get", order, |k| assert!(table.contains_key(k)));
    let absent: Vec<u64> = order.iter().map(|n| n + count).collect();
    timed("get, absent", &absent, |k| assert!(!table.contains_key(k)));
    let start = Instant::now();
    black_box(table.keys().map(|e| e.len()).sum::<usize>());
    println!(
        "  iter, each {:>22.1} ns",
        start.elapsed().as_nanos() as f64 / count as f64
    );
    timed("remove", order, |k| assert!(table.remove(k).is_some()));
}

fn main() {
    let argument = std::env::args().nth(1).and_then(|n| n.parse().ok());
    let count: u64 = argument.unwrap_or(1_000_000);
    let mut rng = StdRng::seed_from_u64(1);
    let first = rng.gen_range(0..1 << 40) * 4;
    let mut order: Vec<u64> = (first..first + count).collect();
    order.shuffle(&mut rng);
    println!("table, {count} members of 16 bytes");
    ours(count, &order, &mut rng);
    println!("std HashMap of Box<[u8]>");
    standard(count, &order);
}
