use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn built(integers: &[i64]) -> Vec<u8> {
    let mut bytes = EMPTY.to_vec();
    for n in integers {
        assert!(add(&mut bytes, *n));
    }
    bytes
}

/// What DUMP of Redis 7.0.15 and 7.4.1 has of sets with these integers, added in this order.
#[test]
fn adding_makes_bytes_of_redis() {
    let mut bytes = built(&[1, -2, 300]);
    let two = [2, 0, 0, 0, 3, 0, 0, 0, 0xfe, 0xff, 1, 0, 0x2c, 1];
    assert_eq!(bytes, two);
    assert!(add(&mut bytes, 70000));
    let four = b"\x04\0\0\0\x04\0\0\0\xfe\xff\xff\xff\x01\0\0\0\x2c\x01\0\0\x70\x11\x01\0";
    assert_eq!(bytes, four);
    assert!(add(&mut bytes, -5_000_000_000));
    let mut eight = b"\x08\0\0\0\x05\0\0\0\x00\x0e\xfa\xd5\xfe\xff\xff\xff".to_vec();
    for n in [-2i64, 1, 300, 70000] {
        eight.extend_from_slice(&n.to_le_bytes());
    }
    assert_eq!(bytes, eight);
}

#[test]
fn removing_keeps_the_width() {
    let mut bytes = built(&[1, 70000]);
    assert!(remove(&mut bytes, 70000));
    assert_eq!(bytes, [4, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0]);
    assert_eq!(check(&bytes).unwrap().width(), Width::Four);
    assert!(remove(&mut bytes, 1));
    assert_eq!(Intset::trusted(&bytes).width(), Width::Four);
}

#[test]
fn bad_bytes_are_refused_with_the_reason() {
    let good = built(&[1, 2]);
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        check(&bytes).map(Intset::len)
    };
    assert_eq!(check(&good[..7]).map(Intset::len), Err(Bad::Short(7)));
    assert_eq!(with(0, 3), Err(Bad::Width(3)));
    assert_eq!(with(1, 1), Err(Bad::Width(258)));
    assert_eq!(with(4, 1), Err(Bad::Count(1)));
    assert_eq!(with(7, 0x80), Err(Bad::Count(0x8000_0002)));
    assert_eq!(with(10, 1), Err(Bad::Order));
    assert_eq!(with(11, 0x80), Err(Bad::Order));
    assert_eq!(with(10, 3), Ok(2));
    assert_eq!(check(&EMPTY).map(Intset::len), Ok(0));
}

#[test]
fn ends_of_each_width_find_theirs() {
    for (n, width) in [
        (i64::from(i16::MIN), Width::Two),
        (i64::from(i16::MAX), Width::Two),
        (i64::from(i16::MIN) - 1, Width::Four),
        (i64::from(i16::MAX) + 1, Width::Four),
        (i64::from(i32::MIN), Width::Four),
        (i64::from(i32::MAX), Width::Four),
        (i64::from(i32::MIN) - 1, Width::Eight),
        (i64::from(i32::MAX) + 1, Width::Eight),
        (i64::MIN, Width::Eight),
        (i64::MAX, Width::Eight),
    ] {
        let bytes = built(&[n]);
        let set = check(&bytes).unwrap();
        assert_eq!((set.width(), set.get(0)), (width, Some(n)));
        assert!(set.contains(n));
    }
}

#[test]
fn long_check_calls_pace() {
    let mut bytes = [2, 0, 0, 0, 0, 0, 1, 0].to_vec();
    bytes.extend((i16::MIN..=i16::MAX).flat_map(i16::to_le_bytes));
    let paces = |bytes: &[u8]| {
        let mut paces = 0;
        check_with(bytes, &mut || paces += 1).map(|set| (set.len(), paces))
    };
    assert_eq!(paces(&bytes), Ok((1 << 16, 0)));
    bytes[0] = 4;
    bytes.truncate(HEADER);
    bytes.extend((0..1i32 << 16).flat_map(i32::to_le_bytes));
    assert_eq!(paces(&bytes), Ok((1 << 16, 0)));
    bytes[4] = 1;
    bytes.extend_from_slice(&(1i32 << 16).to_le_bytes());
    assert_eq!(paces(&bytes), Ok(((1 << 16) + 1, 1)));
    bytes.truncate(bytes.len() - 4);
    bytes.extend_from_slice(&((1i32 << 16) - 1).to_le_bytes());
    assert_eq!(paces(&bytes), Err(Bad::Order), "equal across the pace");
}

fn integer() -> impl Strategy<Value = i64> {
    prop_oneof![
        4 => -20..20i64,
        1 => (i64::from(i16::MIN) - 3)..(i64::from(i16::MAX) + 3),
        1 => any::<i32>().prop_map(i64::from),
        1 => any::<i64>(),
    ]
}

/// Everything that an intset tells, against a set of the standard library.
fn assert_reads_as(bytes: &[u8], model: &BTreeSet<i64>) {
    let set = check(bytes).unwrap();
    assert_eq!(set, Intset::trusted(bytes));
    assert_eq!(set.len(), model.len());
    assert_eq!(set.is_empty(), model.is_empty());
    assert!(set.iter().eq(model.iter().copied()));
    assert!(set.iter().rev().eq(model.iter().rev().copied()));
    assert_eq!(set.first(), model.first().copied());
    assert_eq!(set.last(), model.last().copied());
    assert_eq!(set.get(model.len()), None);
    for (i, n) in model.iter().enumerate() {
        assert_eq!((set.find(*n), set.get(i)), (Ok(i), Some(*n)));
    }
}

proptest! {
    #[test]
    fn edits_follow_the_model(edits in prop::collection::vec((any::<bool>(), integer()), 0..80)) {
        let (mut bytes, mut model) = (EMPTY.to_vec(), BTreeSet::new());
        let mut widest = Width::Two;
        for (adds, n) in edits {
            let set = Intset::trusted(&bytes);
            prop_assert_eq!(set.contains(n), model.contains(&n));
            prop_assert_eq!(set.find(n).unwrap_or_else(|i| i), model.range(..n).count());
            let size = if model.contains(&n) { bytes.len() } else { set.size_with(n) };
            if adds {
                prop_assert_eq!(add(&mut bytes, n), model.insert(n));
                prop_assert_eq!(bytes.len(), size);
                widest = widest.max(Width::of(n));
            } else {
                prop_assert_eq!(remove(&mut bytes, n), model.remove(&n));
            }
            assert_reads_as(&bytes, &model);
            prop_assert_eq!(Intset::trusted(&bytes).width(), widest);
        }
    }

    #[test]
    fn any_bytes_are_refused_or_work(
        start in prop::option::of((0usize..3, 0u8..5)),
        mut bytes in prop::collection::vec(any::<u8>(), 0..60),
        n in integer(),
    ) {
        if let (Some((width, count)), true) = (start, bytes.len() >= HEADER) {
            bytes[..HEADER].copy_from_slice(&[2 << width, 0, 0, 0, count, 0, 0, 0]);
            bytes.truncate(HEADER + (usize::from(count) << (width + 1)));
        }
        if let Ok(set) = check(&bytes) {
            let mut model: BTreeSet<i64> = set.iter().collect();
            assert_reads_as(&bytes, &model);
            prop_assert_eq!(add(&mut bytes, n), model.insert(n));
            assert_reads_as(&bytes, &model);
            for n in model.clone() {
                prop_assert!(remove(&mut bytes, n) && model.remove(&n));
                assert_reads_as(&bytes, &model);
            }
        }
    }
}
