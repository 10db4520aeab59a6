//! Measures lists and trees alone: nanoseconds per operation. `cargo run --release -p containers --example list`.
//! Never part of a test.

// A program that measures.
#![allow(clippy::disallowed_methods)]

use std::hint::black_box;
use std::time::Instant;

use containers::list::{Fill, List};
use containers::tree::{Item, Tree};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[derive(Clone)]
struct Scored(f64, u64);

impl Item for Scored {
    type Key = Scored;

    fn key(&self) -> &Scored {
        self
    }
}

/// Runs `one` so many times and prints the mean.
fn timed(name: &str, count: u64, mut one: impl FnMut(u64)) {
    let start = Instant::now();
    (0..count).for_each(&mut one);
    let mean = start.elapsed().as_nanos() as f64 / count as f64;
    println!("  {name:<44} {mean:>8.1} ns");
}

fn lists(len: usize) {
    let (fill, count) = (Fill::new(-2), 2_000_000);
    let text = vec![b'x'; len];
    println!("list, elements of {len} bytes");
    let mut list = List::new();
    timed("push at the front", count, |_| list.push_front(&text, fill));
    timed("push at the back", count, |_| list.push_back(&text, fill));
    let mut rng = StdRng::seed_from_u64(1);
    timed("get anywhere", 200_000, |_| {
        black_box(list.get(rng.gen_range(0..2 * count)));
    });
    timed("set anywhere", 200_000, |_| {
        black_box(list.set(rng.gen_range(0..2 * count), &text, fill));
    });
    timed("insert anywhere", 200_000, |_| {
        list.insert(rng.gen_range(0..2 * count), &text, fill)
    });
    timed("clone, then push at the front", 20_000, |_| {
        let clone = list.clone();
        list.push_front(&text, fill);
        black_box(clone);
    });
    let start = Instant::now();
    let sum = list.iter().map(|element| element.text_len()).sum::<usize>();
    black_box(sum);
    let each = start.elapsed().as_nanos() as f64 / list.len() as f64;
    println!("  {:<44} {each:>8.1} ns", "walk, each element");
    timed("pop at the front", count, |_| {
        black_box(list.pop_front_with(|element| element.text_len()));
    });
    timed("pop at the back", count, |_| {
        black_box(list.pop_back_with(|element| element.text_len()));
    });
    for kept in [10, 800] {
        let mut list = List::new();
        (0..kept).for_each(|_| list.push_back(&text, fill));
        timed(
            &format!("queue of {kept}: push, pop on the other side"),
            count,
            |_| {
                list.push_front(&text, fill);
                black_box(list.pop_back_with(|element| element.text_len()));
            },
        );
        timed(&format!("push, trim to {kept}"), count, |_| {
            list.push_front(&text, fill);
            drop(black_box(list.remove_range(kept, list.len())));
        });
    }
}

fn trees() {
    let count = 1_000_000;
    println!("tree of {count} items");
    let mut rng = StdRng::seed_from_u64(1);
    let mut tree = Tree::new();
    timed("find by order and insert", count, |n| {
        let score: f64 = rng.gen();
        let pos = tree.partition_point(|key: &Scored| (key.0, key.1) < (score, n));
        tree.insert(pos, Scored(score, n));
    });
    timed("find by order", count, |n| {
        let score: f64 = rng.gen();
        black_box(tree.partition_point(|key: &Scored| (key.0, key.1) < (score, n)));
    });
    timed("get by position", count, |_| {
        black_box(tree.get(rng.gen_range(0..count)));
    });
    timed("walk 100 from a position", 100_000, |_| {
        tree.iter_from(rng.gen_range(0..count))
            .take(100)
            .for_each(|item| {
                black_box(item);
            });
    });
    timed("remove and insert by position", count, |_| {
        let item = tree.remove(rng.gen_range(0..count));
        tree.insert(rng.gen_range(0..count), item);
    });
    timed("push", count, |n| tree.push(Scored(2.0, n)));
}

fn main() {
    lists(8);
    lists(100);
    trees();
}
