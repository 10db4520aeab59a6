//! The keyspace under an allocator that looks: every block is freed with the layout that it was
//! allocated with (jemalloc trusts the size that it is told), nothing is left behind, and a key
//! takes no more memory than the issue allows. One test only, so that the counts are its own.

use std::alloc::{GlobalAlloc, Layout as Block, System};
use std::cell::Cell;

use keyspace::{Keyspace, Layout, Ttl};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

struct Checking;

#[global_allocator]
static ALLOCATOR: Checking = Checking;

thread_local! {
    /// Bytes that this thread took and has not given back, each block rounded up as jemalloc would.
    /// Per thread: the test runner's own threads allocate whenever they like.
    static IN_USE: Cell<isize> = const { Cell::new(0) };
}

fn in_use() -> isize {
    IN_USE.with(Cell::get)
}

fn count(bytes: isize) {
    IN_USE.with(|used| used.set(used.get() + bytes));
}

fn rounded(size: usize) -> usize {
    match size {
        0..=8 => 8,
        9..=128 => size.next_multiple_of(16),
        _ => size.next_multiple_of(1 << ((size - 1).ilog2() - 2)),
    }
}

/// Room for the layout in front of each block.
fn widened(block: Block) -> (Block, usize) {
    let front = block.align().max(16);
    let wide = Block::from_size_align(block.size() + front, front).expect("a sane size");
    (wide, front)
}

impl Checking {
    /// # Safety
    /// `base` is null or a block of the widened layout.
    unsafe fn note(base: *mut u8, block: Block, front: usize) -> *mut u8 {
        if base.is_null() {
            return base;
        }
        count(rounded(block.size()) as isize);
        // SAFETY: there are at least 16 bytes in front of what the caller gets.
        unsafe {
            base.cast::<usize>().write(block.size());
            base.cast::<usize>().add(1).write(block.align());
            base.add(front)
        }
    }
}

// SAFETY: it hands on to `System`, with more room.
unsafe impl GlobalAlloc for Checking {
    unsafe fn alloc(&self, block: Block) -> *mut u8 {
        let (wide, front) = widened(block);
        // SAFETY: the layout is not empty.
        unsafe { Checking::note(System.alloc(wide), block, front) }
    }

    unsafe fn alloc_zeroed(&self, block: Block) -> *mut u8 {
        let (wide, front) = widened(block);
        // SAFETY: the layout is not empty.
        unsafe { Checking::note(System.alloc_zeroed(wide), block, front) }
    }

    unsafe fn dealloc(&self, at: *mut u8, block: Block) {
        let (wide, front) = widened(block);
        // SAFETY: `note` wrote the layout there; if the front differs, the check fails first.
        unsafe {
            let base = at.sub(front);
            let size = base.cast::<usize>().read();
            let align = base.cast::<usize>().add(1).read();
            if (size, align) != (block.size(), block.align()) {
                eprintln!("allocated with ({size}, {align}), freed with {block:?}");
                std::process::abort();
            }
            count(-(rounded(size) as isize));
            System.dealloc(base, wide);
        }
    }
}

fn random_operations(layout: Layout, seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut ks = Keyspace::new(layout, seed);
    let bytes = vec![7u8; 100_000];
    for _ in 0..30_000 {
        let name = |n: u32| match n % 50 {
            0 => format!("{}{n}", "k".repeat(70_000)),
            1..=5 => format!("{n:0300}"),
            _ => format!("{{{}}}{n}", n % 3),
        };
        let (a, b) = (name(rng.gen_range(0..3000)), name(rng.gen_range(0..3000)));
        let (a, b) = (ks.key(a.as_bytes()), ks.key(b.as_bytes()));
        let len = match rng.gen_range(0..40) {
            0 => rng.gen_range(0..bytes.len()),
            1..=5 => rng.gen_range(900..1200),
            _ => rng.gen_range(0..150),
        };
        let ttl = [Ttl::Keep, Ttl::Clear, Ttl::At(rng.gen_range(0..1000))][rng.gen_range(0..3)];
        match rng.gen_range(0..12) {
            0..=3 => ks.set_string(0, &a, &bytes[..len], ttl),
            4 => ks.set_int(0, &a, rng.gen(), ttl),
            5 => {
                let end = ks.string_len(0, &a).unwrap_or(0);
                ks.write_string(0, &a, end, &bytes[..len]);
            }
            6 => drop(
                ks.write_string(0, &a, rng.gen_range(0..1500), &bytes[..len])
                    .max(1),
            ),
            7 => drop(ks.rename(0, &a, &b)),
            8 => drop(ks.set_expiry(0, &a, Some(5).filter(|_| len % 2 == 0))),
            9..=10 => drop(ks.remove(0, &a)),
            _ if rng.gen_range(0..1000) == 0 => ks.flush(None),
            _ => drop(ks.take_garbage()),
        }
    }
}

#[test]
fn memory_is_given_back_as_it_was_taken_and_keys_are_small() {
    for layout in [Layout::Single { databases: 2 }, Layout::Cluster] {
        let start = in_use();
        for seed in 0..4 {
            random_operations(layout, seed);
            assert_eq!(in_use(), start, "{layout:?}, seed {seed}");
        }
        const KEYS: usize = 1_000_000;
        let mut ks = Keyspace::new(layout, 1);
        for n in 0..KEYS {
            let key = format!("key:{n:012}");
            ks.set_string(0, &ks.key(key.as_bytes()), &[b'v'; 64], Ttl::Clear);
        }
        while ks.maintain(1000) {}
        drop(ks.take_garbage());
        let each = (in_use() - start) as f64 / KEYS as f64;
        // A Redis 7.0 takes 168.5 for the same.
        assert!(each < 120.0, "{layout:?}: {each}");
        drop(ks);
        assert_eq!(in_use(), start, "{layout:?}");
        println!("{layout:?}: {each:.1} bytes per key"); // not earlier: it allocates
    }
}
