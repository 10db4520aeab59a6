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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_those_of_jemalloc() {
        let classes = [
            8, 16, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768,
            896, 1024, 1280, 1536, 1792, 2048, 2560,
        ];
        for size in 1..=2560 {
            let expected = classes.iter().find(|&&class| class >= size);
            assert_eq!(Some(&size_class(size)), expected);
        }
        assert_eq!(size_class((512 << 20) + 1), 640 << 20);
    }
}
