//! Pairs: all lengths of the head, edits, clones.

use proptest::prelude::*;

use super::*;
use crate::size_class;

#[test]
fn heads_of_all_lengths_read_as_written() {
    for len in [0, 1, 63, 64, 8191, 8192, 1 << 20, 1 << 21] {
        let field = vec![b'f'; len];
        for expiry in [None, Some(0), Some(-1), Some(i64::MAX), Some(i64::MIN)] {
            let pair = Pair::new(9, &field, b"value", expiry);
            assert_eq!(pair.parts(), (&field[..], &b"value"[..], expiry));
            assert_eq!((pair.field(), pair.value()), (&field[..], &b"value"[..]));
            assert_eq!((pair.tag(), pair.expiry()), (9, expiry));
        }
    }
}

#[test]
fn largest_head_fits() {
    let head = Written::new(u32::MAX as usize, Some(1));
    assert_eq!(head.len, VARINT_MAX + 8);
}

#[test]
fn pair_without_expiry_costs_nine_bytes() {
    for (field, value, class) in [(8, 8, 32), (16, 32, 64), (16, 100, 128)] {
        let pair = Pair::new(0, &vec![1; field], &vec![2; value], None);
        assert_eq!(pair.bytes(), class);
        assert_eq!(pair.bytes(), size_class(9 + field + value));
    }
}

proptest! {
    #[test]
    fn edits_keep_the_rest(
        field in prop::collection::vec(any::<u8>(), 0..200),
        edits in prop::collection::vec(
            (prop::option::of(any::<i64>()), prop::collection::vec(any::<u8>(), 0..300), any::<u8>()),
            0..20,
        ),
    ) {
        let mut pair = Pair::new(3, &field, b"", None);
        let (mut value, mut expiry) = (Vec::new(), None);
        let mut clones: Vec<(Pair, Vec<u8>, Option<i64>)> = Vec::new();
        for (new_expiry, new_value, what) in edits {
            if what & 1 == 0 {
                pair.set_value(&new_value);
                value = new_value;
            }
            if what & 2 == 0 {
                pair.set_expiry(new_expiry);
                expiry = new_expiry;
            }
            if what & 12 == 0 {
                clones.push((pair.clone(), value.clone(), expiry));
            }
            prop_assert_eq!(pair.parts(), (&field[..], &value[..], expiry));
            prop_assert_eq!(pair.tag(), 3);
            for (pair, value, expiry) in &clones {
                prop_assert_eq!(pair.parts(), (&field[..], &value[..], *expiry));
            }
        }
    }
}
