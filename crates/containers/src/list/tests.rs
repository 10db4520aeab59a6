use std::collections::{HashSet, VecDeque};

use proptest::prelude::*;

use super::*;
use crate::listpack::check;

type Model = VecDeque<Vec<u8>>;

impl List {
    /// Recomputes what is counted, and checks each chunk.
    fn check(&self, fill: Fill) {
        let ends = self.front.iter().chain(self.back.iter());
        let chunks: Vec<&Chunk> = ends.chain(self.middle.iter()).collect();
        let (mut len, mut bytes) = (0, 0);
        for chunk in chunks {
            let (count, content_len) = match chunk.content() {
                Content::Plain(text) => (1, text.len()),
                Content::Packed(listpack) => {
                    let checked = check(listpack.bytes()).expect("edits keep it whole");
                    (checked.iter().count() as u64, listpack.bytes().len())
                }
            };
            assert!(count > 0 && count == chunk.count());
            let most = content_len.next_power_of_two().max(2 * content_len + 1);
            assert!(chunk.capacity() <= most.max(128), "{}", chunk.capacity());
            if let Content::Packed(listpack) = chunk.content() {
                assert!(fill.takes(listpack), "{}", listpack.bytes().len());
            }
            len += count;
            bytes += 48 + crate::size_class(chunk.capacity());
        }
        assert_eq!(self.len(), len);
        let of_chunks: usize = self.middle.iter().map(Item::bytes).sum();
        let of_tree = self.middle.bytes() - of_chunks;
        assert_eq!(self.bytes(), bytes + of_tree);
        assert_eq!(self.is_empty(), len == 0);
    }

    fn blocks(&self) -> HashSet<usize> {
        let chunks = self.front.iter().chain(self.middle.iter());
        chunks.chain(self.back.iter()).map(Chunk::address).collect()
    }
}

fn assert_same(list: &List, model: &Model, fill: Fill) {
    list.check(fill);
    assert_eq!(list.len(), model.len() as u64);
    assert!(list.iter().map(Element::to_vec).eq(model.iter().cloned()));
    let back = list.iter_back_from(list.len().saturating_sub(1));
    assert!(back.map(Element::to_vec).eq(model.iter().rev().cloned()));
}

#[derive(Clone, Debug)]
enum Op {
    PushFront(Vec<u8>),
    PushBack(Vec<u8>),
    PushMany(bool, usize),
    Pop(bool),
    PopMany(bool, usize),
    Set(f64, Vec<u8>),
    Insert(f64, Vec<u8>),
    InsertBeside(Vec<u8>, bool, Vec<u8>),
    RemoveRange(f64, f64),
    RemoveFew(f64, u64),
    RemoveValue(Vec<u8>, i64),
    Walk(f64),
    Reload,
    Append,
    Clone,
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (0..6u8).prop_map(|n| n.to_string().into_bytes()),
        2 => any::<i64>().prop_map(|n| n.to_string().into_bytes()),
        4 => proptest::collection::vec(any::<u8>(), 0..40),
        2 => proptest::collection::vec(any::<u8>(), 100..1500),
        1 => (4000..20_000usize, any::<u8>()).prop_map(|(len, byte)| vec![byte; len]),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let place = || prop_oneof![0.0..=1.0f64, Just(0.0), Just(1.0)];
    let many = || 1..600usize;
    prop_oneof![
        3 => text().prop_map(Op::PushFront),
        3 => text().prop_map(Op::PushBack),
        3 => (any::<bool>(), many()).prop_map(|(front, n)| Op::PushMany(front, n)),
        2 => any::<bool>().prop_map(Op::Pop),
        1 => (any::<bool>(), many()).prop_map(|(front, n)| Op::PopMany(front, n)),
        4 => (place(), text()).prop_map(|(at, text)| Op::Set(at, text)),
        4 => (place(), text()).prop_map(|(at, text)| Op::Insert(at, text)),
        2 => (text(), any::<bool>(), text()).prop_map(|(p, b, t)| Op::InsertBeside(p, b, t)),
        1 => (place(), place()).prop_map(|(a, b)| Op::RemoveRange(a, b)),
        3 => (place(), 0..5u64).prop_map(|(at, n)| Op::RemoveFew(at, n)),
        3 => (text(), -5..5i64).prop_map(|(text, n)| Op::RemoveValue(text, n)),
        2 => place().prop_map(Op::Walk),
        1 => Just(Op::Reload),
        1 => Just(Op::Append),
        2 => Just(Op::Clone),
    ]
}

fn model_remove(model: &mut Model, text: &[u8], count: i64) -> u64 {
    let mut found: Vec<usize> = (0..model.len()).filter(|at| model[*at] == text).collect();
    let wanted = if count == 0 {
        usize::MAX
    } else {
        count.unsigned_abs() as usize
    };
    if count < 0 {
        found.drain(..found.len().saturating_sub(wanted));
    }
    found.truncate(wanted);
    found.iter().rev().for_each(|at| drop(model.remove(*at)));
    found.len() as u64
}

fn push_many(list: &mut List, model: &mut Model, (front, count): (bool, usize), fill: Fill) {
    for n in 0..count {
        let text = format!("element {}", n * 37).into_bytes();
        if front {
            list.push_front(&text, fill);
            model.push_front(text);
        } else {
            list.push_back(&text, fill);
            model.push_back(text);
        }
    }
}

fn pop(list: &mut List, model: &mut Model, front: bool) {
    let (ours, theirs) = match front {
        true => (list.pop_front(), model.pop_front()),
        false => (list.pop_back(), model.pop_back()),
    };
    assert_eq!(ours, theirs);
}

fn remove_range(list: &mut List, model: &mut Model, (from, to): (usize, usize), fill: Fill) {
    let removed = list.remove_range(from as u64, to as u64);
    let expected: Model = model.drain(from..to).collect();
    // What lies within one chunk is gone at once.
    if !removed.is_empty() {
        assert_same(&removed, &expected, fill);
    }
}

fn reload(list: &List, fill: Fill) -> List {
    let mut loaded = List::new();
    for content in list.chunks() {
        match content {
            Content::Packed(listpack) => loaded.push_listpack(listpack, fill),
            Content::Plain(text) => loaded.push_back(text, fill),
        }
    }
    loaded
}

fn run(list: &mut List, model: &mut Model, op: Op, fill: Fill) {
    let boundary = |at: f64, model: &Model| (at * model.len() as f64) as usize;
    match op {
        Op::PushFront(text) => {
            list.push_front(&text, fill);
            model.push_front(text);
        }
        Op::PushBack(text) => {
            list.push_back(&text, fill);
            model.push_back(text);
        }
        Op::PushMany(front, count) => push_many(list, model, (front, count), fill),
        Op::Pop(front) => pop(list, model, front),
        Op::PopMany(front, count) => (0..count).for_each(|_| pop(list, model, front)),
        Op::Set(at, text) => {
            let at = boundary(at, model);
            assert_eq!(list.set(at as u64, &text, fill), at < model.len());
            if let Some(old) = model.get_mut(at) {
                *old = text;
            }
        }
        Op::Insert(at, text) => {
            let at = boundary(at, model);
            list.insert(at as u64, &text, fill);
            model.insert(at, text);
        }
        Op::InsertBeside(pivot, before, text) => {
            let found = model.iter().position(|other| *other == pivot);
            assert_eq!(list.find(&pivot, &mut |_| {}), found.map(|at| at as u64));
            assert_eq!(
                list.insert_beside(&pivot, before, &text, fill),
                found.is_some()
            );
            if let Some(at) = found {
                model.insert(at + usize::from(!before), text);
            }
        }
        Op::RemoveRange(a, b) => {
            let (from, to) = (boundary(a.min(b), model), boundary(a.max(b), model));
            remove_range(list, model, (from, to), fill);
        }
        Op::RemoveFew(at, count) => {
            let from = boundary(at, model);
            let to = model.len().min(from + count as usize);
            remove_range(list, model, (from, to), fill);
        }
        Op::RemoveValue(text, count) => {
            assert_eq!(
                list.remove_value(&text, count, &mut |_| {}),
                model_remove(model, &text, count)
            );
        }
        Op::Walk(at) => {
            let at = boundary(at, model);
            assert_eq!(
                list.get(at as u64).map(Element::to_vec),
                model.get(at).cloned()
            );
            let ours = list.iter_from(at as u64).map(Element::to_vec);
            assert!(ours.eq(model.range(at..).cloned()));
            let ours = list.iter_back_from(at as u64).map(Element::to_vec);
            assert!(ours.eq(model.range(..model.len().min(at + 1)).rev().cloned()));
        }
        Op::Reload => *list = reload(list, fill),
        Op::Append => {
            list.append(reload(list, fill));
            model.extend(model.clone());
        }
        Op::Clone => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn list_reads_as_a_deque_and_clones_stay(
        ops in proptest::collection::vec(op(), 1..60),
        fill in prop_oneof![Just(-2), -5..0i32, 0..200i32],
        plain_from in prop_oneof![3 => Just(usize::MAX), 1 => 1..30usize],
    ) {
        let fill = Fill::new(fill).plain_from(plain_from);
        let (mut list, mut model) = (List::new(), Model::new());
        let mut clones = Vec::new();
        for op in ops {
            if matches!(op, Op::Clone) {
                clones.push((list.clone(), model.clone()));
            }
            if model.len() < 20_000 || !matches!(op, Op::Append) {
                run(&mut list, &mut model, op, fill);
            }
            assert_same(&list, &model, fill);
        }
        for (list, model) in &clones {
            assert_same(list, model, fill);
        }
    }
}

const FILL: i32 = -2;

fn large(fill: Fill) -> List {
    let mut list = List::new();
    (0..400_000).for_each(|n: u32| list.push_back(format!("{n:08}").as_bytes(), fill));
    list
}

#[test]
fn edit_after_clone_copies_one_chunk() {
    let fill = Fill::new(FILL);
    let mut list = large(fill);
    let edits: [fn(&mut List, Fill); 6] = [
        |list, fill| list.push_front(b"first", fill),
        |list, fill| list.push_back(b"last", fill),
        |list, fill| assert!(list.set(200_000, b"12345678", fill)),
        |list, _| drop(list.pop_front()),
        |list, _| drop(list.remove_range(100_000, 100_002)),
        |list, fill| list.insert(300_000, b"between", fill),
    ];
    for edit in edits {
        let before = list.clone();
        edit(&mut list, fill);
        let copied = list.blocks().difference(&before.blocks()).count();
        // An insertion into a full chunk makes two of it.
        assert!(copied <= 2, "{copied}");
    }
}

#[test]
fn eight_byte_elements_take_ten_and_a_half() {
    let fill = Fill::new(FILL);
    let list = large(fill);
    assert!(list.bytes() < 400_000 * 21 / 2, "{}", list.bytes());
    let mut list = List::new();
    (0..400_000).for_each(|n: u32| list.push_front(format!("{n:08}").as_bytes(), fill));
    list.check(fill);
    assert!(list.bytes() < 400_000 * 21 / 2, "{}", list.bytes());
}

#[test]
fn trim_returns_what_it_cuts() {
    let fill = Fill::new(FILL);
    let mut list = large(fill);
    let removed = list.remove_range(100, 399_900);
    assert_eq!((list.len(), removed.len()), (200, 399_800));
    list.check(fill);
    removed.check(fill);
    assert!(list.bytes() < 8 << 10, "{}", list.bytes());
}

#[test]
fn foreign_listpack_above_limit_is_cut() {
    let fill = Fill::new(FILL);
    let mut builder = crate::listpack::Builder::default();
    (0..5000).for_each(|n| builder.push(Element::Int(n * 1000)));
    let bytes = builder.finish();
    let mut list = List::new();
    list.push_listpack(check(&bytes).expect("a listpack"), fill);
    list.check(fill);
    assert_eq!(list.len(), 5000);
    assert_eq!(list.get(4999), Some(Element::Int(4_999_000)));
    assert!(list.as_listpack().is_none());
}
