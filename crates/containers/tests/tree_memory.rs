//! Trees, lists and blobs under the real allocator: what they say that they take is what it has given, after edits
//! and clones as well, and nothing stays behind. One test only, so that the counts are its own.

use containers::blob::Blob;
use containers::list::{Fill, List};
use containers::tree::{Item, Tree};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tikv_jemalloc_ctl::thread::{allocatedp, deallocatedp};

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

/// Bytes that this thread has and has not given back.
fn in_use() -> u64 {
    let allocated = allocatedp::read().expect("jemalloc counts");
    let deallocated = deallocatedp::read().expect("jemalloc counts");
    allocated.get().wrapping_sub(deallocated.get())
}

/// What `make` makes, and the memory that it has.
fn measure<T>(make: impl FnOnce() -> T) -> (T, usize) {
    let before = in_use();
    let made = make();
    (made, in_use().wrapping_sub(before) as usize)
}

fn row(name: &str, bytes: usize, elements: u64) {
    println!("{name:<44} {:>8.2} B each", bytes as f64 / elements as f64);
}

fn random_tree(count: u64) -> Tree<Scored> {
    let mut rng = StdRng::seed_from_u64(1);
    let mut tree = Tree::new();
    for n in 0..count {
        let score: f64 = rng.gen();
        let pos = tree.partition_point(|key: &Scored| (key.0, key.1) < (score, n));
        tree.insert(pos, Scored(score, n));
    }
    tree
}

fn trees() {
    let count = 300_000;
    let (mut tree, bytes) = measure(|| random_tree(count));
    row("tree, 16 B, random inserts", bytes, count);
    assert_eq!(tree.bytes(), bytes);
    assert!(bytes as u64 <= 24 * count);
    let clone = tree.clone();
    let mut rng = StdRng::seed_from_u64(2);
    let (half, _) = measure(|| {
        while tree.weight() > count / 2 {
            tree.remove(rng.gen_range(0..tree.weight()));
        }
        tree
    });
    drop(clone);
    let alone = half.bytes();
    let (_, freed) = measure(|| drop(half));
    row("tree, 16 B, half of it removed at random", alone, count / 2);
    assert_eq!(freed.wrapping_neg(), alone);

    let ascending = |n: u64| Scored(n as f64, n);
    let (tree, bytes) = measure(|| {
        let mut tree = Tree::new();
        (0..count).for_each(|n| tree.push(ascending(n)));
        tree
    });
    row("tree, 16 B, ascending inserts", bytes, count);
    assert_eq!(tree.bytes(), bytes);
    assert!(bytes as u64 <= 18 * count);
    let (tree, bytes) = measure(|| {
        let mut tree = Tree::new();
        (0..count).for_each(|n| tree.insert(0, ascending(n)));
        tree
    });
    row("tree, 16 B, descending inserts", bytes, count);
    assert_eq!(tree.bytes(), bytes);
    let (tree, bytes) = measure(|| (0..count).map(ascending).collect::<Tree<_>>());
    row("tree, 16 B, built at once", bytes, count);
    assert_eq!(tree.bytes(), bytes);
    for count in [10, 130, 1000] {
        let (tree, bytes) = measure(|| random_tree(count));
        row(&format!("tree, 16 B, random, {count} items"), bytes, count);
        assert_eq!(tree.bytes(), bytes);
    }
}

fn lists() {
    let fill = Fill::new(-2);
    for (count, len) in [
        (200u64, 8),
        (1000, 8),
        (300_000, 8),
        (100_000, 64),
        (20_000, 1000),
    ] {
        let (mut list, bytes) = measure(|| {
            let mut list = List::new();
            let mut text = vec![b'x'; len];
            for n in 0..count {
                text[..8].copy_from_slice(format!("{n:08}").as_bytes());
                if n % 2 == 0 {
                    list.push_back(&text, fill);
                } else {
                    list.push_front(&text, fill);
                }
            }
            list
        });
        row(
            &format!("list, {count} of {len} B, both ends"),
            bytes,
            count,
        );
        assert_eq!(list.bytes(), bytes);
        let (clone, shared) = measure(|| list.clone());
        assert!(shared < 1024, "{shared}");
        let (cut, _) = measure(|| list.remove_range(count / 4, count / 2));
        drop((clone, cut));
        let alone = list.bytes();
        let (_, freed) = measure(|| drop(list));
        assert_eq!(freed.wrapping_neg(), alone);
    }
}

fn blobs() {
    drop({
        let mut warm = Blob::new();
        warm.write(1 << 20, b"the hole that all share");
        warm
    });
    for len in [(1 << 20) + 1, 3_000_000, 100 << 20] {
        let text = vec![1; len];
        let (blob, bytes) = measure(|| Blob::from(&text[..]));
        println!(
            "{:<44} {:>8.4} of its length",
            format!("blob, {len} B"),
            bytes as f64 / len as f64
        );
        assert_eq!(blob.bytes(), bytes);
    }
    let (blob, bytes) = measure(|| {
        let mut blob = Blob::new();
        blob.write(512 << 20, b"x");
        blob
    });
    println!("{:<44} {bytes:>8} B", "blob, one byte at 512 MiB");
    assert_eq!(blob.bytes(), bytes);
}

#[test]
fn bytes_are_those_of_the_allocator() {
    let (_, left) = measure(|| {
        trees();
        lists();
        blobs();
    });
    assert!(left < 70_000, "{left}: more than the shared hole");
}
