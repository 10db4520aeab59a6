//! Tests of the pieces; those with the kernel's sockets are the node's.

mod output;

use crate::slab::Slab;

#[test]
fn a_key_dies_with_its_value() {
    let mut slab = Slab::new();
    let a = slab.insert("a");
    let b = slab.insert("b");
    assert_eq!(
        (slab.get(a), slab.get(b), slab.len()),
        (Some(&"a"), Some(&"b"), 2)
    );
    assert_eq!(slab.remove(a), Some("a"));
    assert_eq!((slab.remove(a), slab.get(a)), (None, None));
    let c = slab.insert("c");
    assert_ne!(a.bits(), c.bits());
    assert_eq!(slab.get_mut(c), Some(&mut "c"));
    assert_eq!(slab.get(a), None);
    assert_eq!(slab.keys(), [c, b]);
}
