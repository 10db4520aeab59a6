//! The table by itself: bounded steps, chains, the cursor's guarantee.

use std::collections::{HashMap, HashSet};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::super::raw::{Mark, Payload, PayloadRef};
use super::*;

fn upkeep() -> Upkeep {
    Upkeep {
        hasher: RandomState::with_seeds(1, 2, 3, 4),
        garbage: Garbage::default(),
        moved: 0,
        saver: Saver::default(),
    }
}

fn add(table: &mut Table, n: u64, up: &mut Upkeep) {
    let key = n.to_le_bytes();
    let hash = up.hash(&key);
    let entry = EntryPtr::new(
        tag_of(hash),
        Mark::default(),
        &key,
        None,
        Payload::Int(n as i64),
    );
    table.insert(hash, entry, up);
}

fn take(table: &mut Table, n: u64, up: &mut Upkeep) -> bool {
    let key = n.to_le_bytes();
    table.remove(up.hash(&key), &key, up).is_some()
}

fn has(table: &mut Table, n: u64, up: &Upkeep) -> bool {
    let key = n.to_le_bytes();
    let hash = up.hash(&key);
    let found = table.get(hash, &key).is_some();
    assert_eq!(found, table.get_mut(hash, &key).is_some());
    assert_eq!(found, table.find(hash, |e| e.key() == key).is_some());
    found
}

fn number(entry: &EntryPtr) -> u64 {
    let PayloadRef::Int(n) = entry.payload() else {
        panic!("only integers here")
    };
    n as u64
}

/// The invariants that the file's head states.
fn check(table: &Table, up: &Upkeep) {
    let mut len = 0;
    let arrays = [
        Some(&table.buckets),
        table.resize.as_deref().map(|r| &r.from),
    ];
    for array in arrays.into_iter().flatten() {
        assert!(array.is_empty() || array.len().is_power_of_two());
        for (at, head) in array.iter().enumerate() {
            let mut bucket = Some(head);
            while let Some(b) = bucket {
                let full = b.slots.iter().all(Option::is_some);
                assert!(full || b.child.is_none(), "only the last bucket has holes");
                let linked = !std::ptr::eq(b, head);
                assert!(
                    !linked || b.slots.iter().any(Option::is_some),
                    "no empty links"
                );
                bucket = b.child.as_deref();
            }
            for entry in chain_iter(head) {
                let hash = up.hash(entry.key());
                assert_eq!(index(hash, array.len()), at);
                assert_eq!(entry.tag(), tag_of(hash));
                len += 1;
            }
        }
    }
    if let Some(resize) = &table.resize {
        for head in &resize.from[..resize.next] {
            assert!(chain_iter(head).next().is_none() && head.child.is_none());
        }
    }
    assert_eq!(len, table.len());
}

#[test]
fn grows_and_shrinks_in_bounded_steps() {
    let (mut table, mut up) = (Table::default(), upkeep());
    let most = SMALL.max(BUCKETS_PER_OPERATION) as u64;
    const N: u64 = 50_000;
    for n in 0..N {
        let before = up.moved;
        add(&mut table, n, &mut up);
        assert!(up.moved - before <= most);
        if n % 4099 == 0 {
            check(&table, &up);
        }
    }
    assert!((0..N).all(|n| has(&mut table, n, &up)) && !has(&mut table, N, &up));
    let loaded = table.buckets.len();
    assert!(loaded * MAX_LOAD >= N as usize && loaded <= N as usize);
    for n in 0..N {
        let before = up.moved;
        assert!(take(&mut table, n, &mut up) && !take(&mut table, n, &mut up));
        assert!(up.moved - before <= most);
        // Never sparse: this bounds the empty buckets that iteration and random meet.
        let old = table.resize.as_deref().map_or(0, |r| r.from.len() - r.next);
        assert!(old + table.buckets.len() <= 4 * table.len() + 2 * SMALL);
        if n % 4099 == 0 {
            check(&table, &up);
        }
    }
    assert_eq!(table.len(), 0);
    assert!(table.buckets.len() <= 2);
}

#[test]
fn a_resize_ends_before_the_next_is_due() {
    // However insertions and removals alternate, chains stay short.
    let (mut table, mut up) = (Table::default(), upkeep());
    let mut rng = StdRng::seed_from_u64(7);
    let (mut low, mut high) = (0u64, 0u64);
    for round in 0..40 {
        let target = if round % 2 == 0 {
            rng.gen_range(0..30_000)
        } else {
            rng.gen_range(0..300)
        };
        while high - low != target {
            if high - low < target {
                add(&mut table, high, &mut up);
                high += 1;
            } else {
                assert!(take(&mut table, low, &mut up));
                low += 1;
            }
            let buckets = table.buckets.len().max(1);
            let old = table.resize.as_deref().map_or(0, |r| r.from.len());
            assert!(table.len() <= (MAX_LOAD + 2) * buckets.max(old));
        }
        check(&table, &up);
    }
}

#[test]
fn maintenance_alone_finishes_a_resize() {
    let (mut table, mut up) = (Table::default(), upkeep());
    let mut n = 0;
    while table.resize.as_deref().is_none_or(|r| r.from.len() < 1024) {
        add(&mut table, n, &mut up);
        n += 1;
    }
    let mut steps = 0;
    while table.step(1, &mut up) {
        steps += 1;
        assert!(steps <= 1024);
    }
    assert!(!table.resizing() && steps > 1000);
    check(&table, &up);
    assert!(!table.step(1, &mut up));
}

#[test]
fn equal_tags_and_homes_are_told_apart_by_key() {
    // All of one hash: one long chain.
    let (mut table, mut up) = (Table::default(), upkeep());
    let hash = 0xABCD_0000_0000_0001;
    for n in 0..100u64 {
        let entry = EntryPtr::new(
            tag_of(hash),
            Mark::default(),
            &n.to_le_bytes(),
            None,
            Payload::Int(n as i64),
        );
        put_into_chain(&mut table, hash, entry);
    }
    let mut left: Vec<u64> = (0..100).collect();
    let mut rng = StdRng::seed_from_u64(1);
    while !left.is_empty() {
        for n in 0..100u64 {
            let found = table.get(hash, &n.to_le_bytes()).map(number);
            assert_eq!(found, left.contains(&n).then_some(n));
        }
        let n = left.swap_remove(rng.gen_range(0..left.len()));
        let entry = chain_remove(&mut table.buckets[0], tag_of(hash), &n.to_le_bytes());
        assert_eq!(entry.as_ref().map(number), Some(n));
        table.len -= 1;
        let mut bucket = &table.buckets[0];
        while let Some(child) = bucket.child.as_deref() {
            assert!(bucket.slots.iter().all(Option::is_some));
            assert!(child.slots.iter().any(Option::is_some));
            bucket = child;
        }
    }
    assert!(table.remove(hash, b"none", &mut up).is_none());
}

fn put_into_chain(table: &mut Table, hash: u64, entry: EntryPtr) {
    if table.buckets.is_empty() {
        table.buckets = empty_buckets(1);
    }
    let at = index(hash, table.buckets.len());
    chain_insert(&mut table.buckets[at], entry);
    table.len += 1;
}

/// Scans while others write: what stays is seen, and nothing that was never there.
fn scan_while(seed: u64, start: u64, plan: impl Fn(u64, &mut StdRng) -> i64) {
    let (mut table, mut up) = (Table::default(), upkeep());
    let mut rng = StdRng::seed_from_u64(seed);
    // Keys below 1 << 32 stay, those above come and go.
    let stay = start / 4;
    (0..stay).for_each(|n| add(&mut table, n, &mut up));
    let mut guests: Vec<u64> = (0..start - stay).map(|n| 1 << 32 | n).collect();
    guests.iter().for_each(|n| add(&mut table, *n, &mut up));
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
            add(&mut table, 1 << 32 | next, &mut up);
            next += 1;
        }
        for _ in change.min(0)..0 {
            if !guests.is_empty() {
                let n = guests.swap_remove(rng.gen_range(0..guests.len()));
                assert!(take(&mut table, n, &mut up));
            }
        }
    }
    assert!(
        (0..stay).all(|n| seen.contains(&n)),
        "seed {seed}, start {start}"
    );
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
fn scan_without_changes_visits_each_entry_once() {
    for count in [0u64, 1, 7, 8, 100, 1000, 1290, 5000] {
        let (mut table, mut up) = (Table::default(), upkeep());
        (0..count).for_each(|n| add(&mut table, n, &mut up));
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
    let (mut table, mut up) = (Table::default(), upkeep());
    assert_eq!(table.scan(77, &mut |_| panic!("nothing is there")), 0);
    let mut rng = StdRng::seed_from_u64(3);
    for n in 0..5000 {
        add(&mut table, n, &mut up);
        let next = table.scan(rng.gen(), &mut |_| {});
        let largest = table
            .buckets
            .len()
            .max(table.resize.as_deref().map_or(0, |r| r.from.len()));
        assert!(next < largest as u64);
        table.scan(u64::MAX, &mut |_| {});
    }
}

#[test]
fn random_is_even() {
    let (mut table, mut up) = (Table::default(), upkeep());
    assert!(table.random(&mut StdRng::seed_from_u64(1)).is_none());
    let mut rng = StdRng::seed_from_u64(1);
    for count in [1u64, 10, 200] {
        for n in table.len() as u64..count {
            add(&mut table, n, &mut up);
        }
        let mut drawn = vec![0u32; count as usize];
        for _ in 0..count * 1000 {
            drawn[number(table.random(&mut rng).unwrap()) as usize] += 1;
        }
        // A thousand each, give or take five standard deviations.
        assert!(drawn.iter().all(|n| (842..1158).contains(n)), "{drawn:?}");
    }
    for n in 1..200 {
        assert!(take(&mut table, n, &mut up));
        let drawn = number(table.random(&mut rng).unwrap());
        assert!(has(&mut table, drawn, &up));
    }
}
