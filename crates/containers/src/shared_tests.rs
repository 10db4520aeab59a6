//! Shared bytes against `Vec<u8>`: edits, owners, classes.

use proptest::prelude::*;

use super::*;

#[test]
fn size_classes_are_those_of_the_allocator() {
    let classes = [
        (0, 8),
        (8, 8),
        (9, 16),
        (17, 32),
        (128, 128),
        (129, 160),
        (161, 192),
        (257, 320),
        (1024, 1024),
        (1025, 1280),
        (8192, 8192),
        (8193, 10240),
        (1 << 20, 1 << 20),
        ((1 << 20) + 1, (1 << 20) + (1 << 18)),
    ];
    for (size, class) in classes {
        assert_eq!(size_class(size), class, "{size}");
    }
}

#[test]
fn tag_stays_through_clone_and_splice() {
    for tag in [0, 1, 0xABCD, u16::MAX] {
        let mut bytes = SharedBytes::new(tag, b"one");
        let other = bytes.clone();
        assert!(bytes.is_same_block(&other) && !bytes.is_unique() && bytes.get_mut().is_none());
        bytes.splice(3, 0, &[b" and ", b"two"]);
        assert_eq!((&bytes[..], bytes.tag()), (&b"one and two"[..], tag));
        assert_eq!((&other[..], other.tag()), (&b"one"[..], tag));
        assert!(bytes.is_unique() && other.is_unique() && !bytes.is_same_block(&other));
    }
}

#[test]
fn edit_within_class_stays_in_place() {
    let mut bytes = SharedBytes::new(7, &[1; 10]);
    let before = bytes.block();
    bytes.splice(10, 0, &[&[2; 14]]);
    assert_eq!((bytes.block(), bytes.bytes()), (before, 32));
    bytes.splice(0, 0, &[&[3]]);
    assert_eq!(bytes.bytes(), 48);
    bytes.get_mut().unwrap()[0] = 4;
    assert_eq!(bytes[..2], [4, 1]);
}

#[test]
#[should_panic(expected = "within the bytes")]
fn splice_beyond_the_end_panics() {
    SharedBytes::new(0, b"abc").splice(2, usize::MAX, &[]);
}

#[test]
fn owners_on_many_threads_free_once() {
    let bytes = SharedBytes::new(1, &[9; 100]);
    std::thread::scope(|scope| {
        for n in 0..4u8 {
            let mut mine = bytes.clone();
            scope.spawn(move || {
                for _ in 0..10_000 {
                    drop(mine.clone());
                }
                mine.splice(0, 1, &[&[n]]);
                assert!(mine.is_unique() && mine[0] == n && mine[99] == 9);
            });
        }
    });
    assert!(bytes.is_unique());
}

#[derive(Clone, Debug)]
enum Edit {
    Splice(prop::sample::Index, prop::sample::Index, Vec<Vec<u8>>),
    Write(prop::sample::Index, u8),
    Clone,
    Forget(prop::sample::Index),
}

fn edit() -> impl Strategy<Value = Edit> {
    let index = any::<prop::sample::Index>;
    let part = prop::collection::vec(any::<u8>(), 0..40);
    let parts = prop::collection::vec(part, 0..4);
    prop_oneof![
        4 => (index(), index(), parts).prop_map(|(a, b, p)| Edit::Splice(a, b, p)),
        2 => (index(), any::<u8>()).prop_map(|(at, b)| Edit::Write(at, b)),
        1 => Just(Edit::Clone),
        1 => index().prop_map(Edit::Forget),
    ]
}

proptest! {
    #[test]
    fn edits_are_those_of_a_vec(edits in prop::collection::vec(edit(), 0..60)) {
        let mut bytes = SharedBytes::new(5, b"");
        let mut model = Vec::new();
        let mut clones: Vec<(SharedBytes, Vec<u8>)> = Vec::new();
        for edit in edits {
            match edit {
                Edit::Splice(a, b, parts) => {
                    let at = a.index(model.len() + 1);
                    let remove = b.index(model.len() - at + 1);
                    let parts: Vec<&[u8]> = parts.iter().map(|p| &p[..]).collect();
                    bytes.splice(at, remove, &parts);
                    model.splice(at..at + remove, parts.concat());
                }
                Edit::Write(at, byte) if !model.is_empty() => {
                    let at = at.index(model.len());
                    let alone = clones.iter().all(|(c, _)| !c.is_same_block(&bytes));
                    let there = bytes.get_mut();
                    prop_assert_eq!(there.is_some(), alone);
                    if let Some(there) = there {
                        there[at] = byte;
                        model[at] = byte;
                    }
                }
                Edit::Clone => clones.push((bytes.clone(), model.clone())),
                Edit::Forget(at) if !clones.is_empty() => {
                    clones.swap_remove(at.index(clones.len()));
                }
                Edit::Write(..) | Edit::Forget(_) => {}
            }
            prop_assert_eq!(&bytes[..], &model[..]);
            prop_assert_eq!(bytes.bytes(), size_class(8 + model.len()));
            prop_assert!(clones.iter().all(|(c, m)| c[..] == m[..]));
        }
    }
}
