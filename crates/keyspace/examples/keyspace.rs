//! Measures the keyspace alone: bytes per key as the allocator counts them, and nanoseconds per
//! operation, for 16-byte keys with 64-byte values. `cargo run --release -p keyspace --example keyspace [keys]`.
//! Never part of a test: its numbers go into docs/BENCHMARKS.md.

// A program that measures.
#![allow(clippy::disallowed_methods)]

use std::hint::black_box;
use std::time::Instant;

use keyspace::{Keyspace, Layout, StringRef, Ttl};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn allocated() -> usize {
    tikv_jemalloc_ctl::epoch::advance().expect("jemalloc has an epoch");
    tikv_jemalloc_ctl::stats::allocated::read().expect("jemalloc counts")
}

fn key_text(n: u64) -> [u8; 16] {
    let mut text = *b"key:000000000000";
    let mut rest = n;
    for digit in text[4..].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    text
}

/// Runs `one` for each number of the order and prints the mean.
fn timed(name: &str, order: &[u64], mut one: impl FnMut(&[u8])) {
    let start = Instant::now();
    for &n in order {
        one(&key_text(n));
    }
    let mean = start.elapsed().as_nanos() as f64 / order.len() as f64;
    println!("  {name:<26} {mean:>7.1} ns");
}

fn measure(layout: Layout, keys: u64) {
    println!("{layout:?}, {keys} keys");
    let before = allocated();
    let mut ks = Keyspace::new(layout, 42);
    let value = [b'v'; 64];
    let mut rng = StdRng::seed_from_u64(1);
    let order: Vec<u64> = (0..2_000_000).map(|_| rng.gen_range(0..keys)).collect();
    let ascending: Vec<u64> = (0..keys).collect();

    let mut longest = 0;
    timed("insert", &ascending, |key| {
        let start = Instant::now();
        let key = ks.key(key);
        ks.set_string(0, &key, &value, Ttl::Clear);
        longest = longest.max(start.elapsed().as_nanos());
    });
    println!("  {:<26} {:>7} us", "longest insert", longest / 1000);
    while ks.maintain(64) {}
    drop(ks.take_garbage());
    let own = allocated() - before - (order.len() + ascending.len()) * 8;
    println!(
        "  {:<26} {:>7.1}",
        "bytes per key",
        own as f64 / keys as f64
    );

    timed("key (hash and slot)", &order, |key| {
        black_box(ks.key(key));
    });
    timed("get", &order, |key| {
        if let Some(StringRef::Bytes(bytes)) = ks.get(0, &ks.key(key)).and_then(|e| e.string()) {
            black_box(bytes[0]);
        }
    });
    timed("set in place", &order, |key| {
        let key = ks.key(key);
        ks.set_string(0, &key, &value, Ttl::Clear);
    });
    timed("set with expiry", &order, |key| {
        let key = ks.key(key);
        ks.set_string(0, &key, &value, Ttl::At(i64::from(key.slot) << 20));
    });
    let start = Instant::now();
    black_box(ks.digest_all());
    println!(
        "  {:<26} {:>7} ms",
        "digest of all",
        start.elapsed().as_millis()
    );
    let start = Instant::now();
    ks.flush(None);
    println!("  {:<26} {:>7} us", "flush", start.elapsed().as_micros());
    let garbage = ks.take_garbage();
    let start = Instant::now();
    drop(garbage);
    println!(
        "  {:<26} {:>7} ms",
        "drop of the garbage",
        start.elapsed().as_millis()
    );
}

fn main() {
    let keys = std::env::args()
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap_or(1_000_000);
    measure(Layout::Single { databases: 16 }, keys);
    measure(Layout::Cluster, keys);
}
