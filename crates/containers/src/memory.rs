//! Owns the sum of what blocks of memory really take. Never asks the allocator.

/// The size that jemalloc rounds a request to: what a block of `size` bytes takes. Asking for it in full makes the
/// slack ours.
pub const fn size_class(size: usize) -> usize {
    match size {
        0..=8 => 8,
        9..=128 => size.next_multiple_of(16),
        _ => size.next_multiple_of(1 << ((size - 1).ilog2() - 2)),
    }
}

/// The size of the block of a `triomphe::Arc` of `T`: its count lies before it.
pub const fn arc_size<T>() -> usize {
    size_of::<usize>() + size_of::<T>()
}
