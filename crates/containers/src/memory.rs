//! Owns the sum of what blocks of memory really take. Never asks the allocator.

/// The size that jemalloc rounds a request to: what a block of `size` bytes takes.
pub fn size_class(size: usize) -> usize {
    let spacing = match size {
        0..=128 => 16,
        _ => 1usize << ((size - 1).ilog2() - 2),
    };
    size.next_multiple_of(spacing)
}

/// The size of the block of a `triomphe::Arc` of `T`: its count lies before it.
pub const fn arc_size<T>() -> usize {
    size_of::<usize>() + size_of::<T>()
}
