use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

impl Blob {
    fn check(&self) {
        assert_eq!(self.chunks.len(), self.len.div_ceil(CHUNK));
        for (i, chunk) in self.chunks.iter().enumerate() {
            assert!(chunk.len() == CHUNK || i + 1 == self.chunks.len());
            let used = (self.len - i * CHUNK).min(CHUNK);
            assert!(chunk[used..].iter().all(|byte| *byte == 0));
        }
        let walked: usize = self.chunks.iter().map(block_bytes).sum();
        let list = size_class(self.chunks.capacity() * 16);
        assert_eq!(self.bytes(), walked + list);
    }

    fn addresses(&self) -> HashSet<*const u8> {
        self.chunks.iter().map(|chunk| chunk[..].as_ptr()).collect()
    }
}

#[derive(Clone, Debug)]
enum Op {
    Write(usize, usize, u8),
    Append(usize, u8),
    Clone,
}

fn op() -> impl Strategy<Value = Op> {
    let len = || prop_oneof![0..200usize, 0..200_000usize, Just(CHUNK), Just(2 * CHUNK)];
    let at = prop_oneof![
        0..500_000usize,
        0..2_000_000usize,
        Just(CHUNK),
        Just(3 * CHUNK)
    ];
    prop_oneof![
        3 => (at, len(), 1u8..).prop_map(|(at, len, byte)| Op::Write(at, len, byte)),
        3 => (len(), 1u8..).prop_map(|(len, byte)| Op::Append(len, byte)),
        1 => Just(Op::Clone),
    ]
}

fn model_write(model: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if !bytes.is_empty() {
        model.resize(model.len().max(at + bytes.len()), 0);
        model[at..at + bytes.len()].copy_from_slice(bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn blob_reads_as_a_vec_and_clones_stay(
        start in 0..300_000usize,
        ops in proptest::collection::vec(op(), 1..20),
        cut in (0..2_000_000usize, 0..2_000_000usize),
    ) {
        let mut model = vec![7; start];
        let mut blob = Blob::from(&model[..]);
        let mut clones: Vec<(Blob, Vec<u8>)> = Vec::new();
        for op in ops {
            match op {
                Op::Write(at, len, byte) => {
                    blob.write(at, &vec![byte; len]);
                    model_write(&mut model, at, &vec![byte; len]);
                }
                Op::Append(len, byte) => {
                    blob.append(&vec![byte; len]);
                    model.resize(model.len() + len, byte);
                }
                Op::Clone => clones.push((blob.clone(), model.clone())),
            }
            blob.check();
            prop_assert_eq!(blob.len(), model.len());
        }
        clones.push((blob, model));
        for (blob, model) in clones {
            blob.check();
            prop_assert!(blob.to_vec() == model);
            let part = blob.range(cut.0, cut.1).collect::<Vec<_>>().concat();
            let from = cut.0.min(cut.1).min(model.len());
            let to = cut.1.min(model.len());
            prop_assert!(part == model[from.min(to)..to]);
            prop_assert_eq!(blob.byte(cut.0), model.get(cut.0).copied());
        }
    }
}

#[test]
fn write_after_clone_copies_one_chunk() {
    let mut blob = Blob::from(&vec![1; 20 * CHUNK][..]);
    let clone = blob.clone();
    blob.write(5 * CHUNK + 3, b"abc");
    let copied = blob.addresses().difference(&clone.addresses()).count();
    assert_eq!(copied, 1);
    blob.write(6 * CHUNK - 1, b"ab");
    let copied = blob.addresses().difference(&clone.addresses()).count();
    assert_eq!(copied, 2);
}

#[test]
fn hole_takes_no_memory() {
    let mut blob = Blob::new();
    blob.write(512 << 20, b"x");
    blob.check();
    assert!(blob.bytes() < 200 << 10, "{}", blob.bytes());
    assert_eq!(blob.byte(1 << 20), Some(0));
    blob.write(1 << 20, b"y");
    assert_eq!(blob.byte(1 << 20), Some(b'y'));
    assert_eq!(blob.byte((1 << 20) + CHUNK), Some(0));
    blob.check();
}

#[test]
fn small_appends_copy_little() {
    let mut blob = Blob::from(&vec![1; 1 << 20][..]);
    let (mut moves, mut last) = (0, std::ptr::null());
    while blob.len() < 2 << 20 {
        blob.append(&[2; 64]);
        let at = blob.chunks.last().expect("it has chunks")[..].as_ptr();
        moves += usize::from(at != last);
        last = at;
    }
    blob.check();
    // Some 25 blocks for each chunk of a thousand appends.
    assert!(moves < 17 * 40, "{moves}");
    assert!(blob.bytes() < (2 << 20) + (64 << 10));
}
