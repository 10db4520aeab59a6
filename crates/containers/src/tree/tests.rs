use std::collections::{BTreeSet, HashSet};

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::node::{node_bytes, INNER_MAX, LEAF_MAX};
use super::*;

/// An item for positions: its weight, and memory of its own that goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Weighed(u64, u32);

impl Item for Weighed {
    type Key = u32;

    fn key(&self) -> &u32 {
        &self.1
    }

    fn weight(&self) -> u64 {
        self.0
    }

    fn bytes(&self) -> usize {
        self.0 as usize * 3
    }
}

/// An item for order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Sorted(u64, u64);

impl Item for Sorted {
    type Key = Sorted;

    fn key(&self) -> &Sorted {
        self
    }
}

impl<T: Item> Tree<T>
where
    T::Key: PartialEq + std::fmt::Debug,
{
    fn check(&self) {
        if let Some(root) = &self.root {
            assert!(root.weight > 0 && (root.height() == 0 || root.len() > 1));
            check_node(root, true, true);
        }
    }
}

/// Recomputes all that a parent knows, and checks the fill.
fn check_node<T: Item>(child: &Child<T>, is_root: bool, is_edge: bool) -> usize
where
    T::Key: PartialEq + std::fmt::Debug,
{
    assert!(
        is_root || is_edge || !child.is_low(),
        "{} are too few",
        child.len()
    );
    assert!(&child.key == child.first().key());
    let (mut weight, mut bytes, mut height) = (0, 0, 0);
    match &child.node {
        Node::Leaf(items) => {
            assert!(!items.is_empty() && items.len() <= LEAF_MAX && items.capacity() <= LEAF_MAX);
            bytes += node_bytes(items);
            for item in items.iter() {
                weight += item.weight();
                bytes += item.bytes();
            }
        }
        Node::Inner(children) => {
            assert!(children.len() > 1 && children.len() <= INNER_MAX);
            assert!(children.capacity() <= INNER_MAX, "{}", children.capacity());
            bytes += node_bytes(children);
            let mut heights = BTreeSet::new();
            for (at, child) in children.iter().enumerate() {
                heights.insert(check_node(
                    child,
                    false,
                    is_edge && at + 1 == children.len(),
                ));
                weight += child.weight;
                bytes += child.bytes;
            }
            assert_eq!(heights.len(), 1, "all leaves are equally deep");
            height = 1 + heights.first().expect("one height");
        }
    }
    assert_eq!((child.weight, child.bytes), (weight, bytes));
    height
}

fn nodes<T: Item>(tree: &Tree<T>) -> HashSet<usize> {
    fn walk<T: Item>(child: &Child<T>, found: &mut HashSet<usize>) {
        match &child.node {
            Node::Leaf(items) => {
                found.insert(items.as_ptr() as usize);
            }
            Node::Inner(children) => {
                found.insert(children.as_ptr() as usize);
                children.iter().for_each(|child| walk(child, found));
            }
        }
    }
    let mut found = HashSet::new();
    tree.root.iter().for_each(|root| walk(root, &mut found));
    found
}

/// The item of a model that a position lies in, where it begins, and how far behind that.
fn locate(model: &[Weighed], pos: u64) -> (usize, u64) {
    let mut rest = pos;
    for (at, item) in model.iter().enumerate() {
        if rest < item.0 {
            return (at, rest);
        }
        rest -= item.0;
    }
    (model.len(), rest)
}

fn start_of(model: &[Weighed], at: usize) -> u64 {
    model[..at].iter().map(|item| item.0).sum()
}

fn assert_same(tree: &Tree<Weighed>, model: &[Weighed]) {
    tree.check();
    assert_eq!(tree.weight(), start_of(model, model.len()));
    assert!(tree.iter().eq(model.iter()));
    assert!(tree.iter_back_from(tree.weight()).eq(model.iter().rev()));
}

#[derive(Clone, Debug)]
enum Op {
    Insert(f64, u64),
    /// So many, one behind the other, at a place.
    Fill(f64, usize),
    Remove(f64),
    Drain(f64, usize),
    Update(f64, u64),
    Replace(f64, u64),
    Cut(f64, f64),
    Swap(f64),
    Build,
    Double,
    Clone,
}

fn op() -> impl Strategy<Value = Op> {
    let place = || prop_oneof![0.0..=1.0f64, Just(0.0), Just(1.0)];
    let weight = 1..4u64;
    prop_oneof![
        4 => (place(), weight.clone()).prop_map(|(at, w)| Op::Insert(at, w)),
        3 => (place(), 1..400usize).prop_map(|(at, n)| Op::Fill(at, n)),
        4 => place().prop_map(Op::Remove),
        2 => (place(), 1..300usize).prop_map(|(at, n)| Op::Drain(at, n)),
        2 => (place(), weight.clone()).prop_map(|(at, w)| Op::Update(at, w)),
        1 => (place(), weight).prop_map(|(at, w)| Op::Replace(at, w)),
        2 => (place(), place()).prop_map(|(a, b)| Op::Cut(a, b)),
        2 => place().prop_map(Op::Swap),
        1 => Just(Op::Build),
        1 => Just(Op::Double),
        2 => Just(Op::Clone),
    ]
}

/// A tree, its model, and the next number to tell items apart.
struct Pair {
    tree: Tree<Weighed>,
    model: Vec<Weighed>,
    next: u32,
}

impl Pair {
    fn new_item(&mut self, weight: u64) -> Weighed {
        self.next += 1;
        Weighed(weight, self.next)
    }

    fn boundary(&self, at: f64) -> usize {
        (at * self.model.len() as f64) as usize
    }

    /// A position within an item.
    fn within(&self, at: f64) -> Option<u64> {
        let weight = self.tree.weight();
        (weight > 0).then(|| ((at * weight as f64) as u64).min(weight - 1))
    }

    fn insert(&mut self, at: usize, weight: u64) {
        let item = self.new_item(weight);
        self.tree.insert(start_of(&self.model, at), item.clone());
        self.model.insert(at, item);
    }

    fn remove(&mut self, pos: u64) {
        let (at, _) = locate(&self.model, pos);
        assert_eq!(self.tree.remove(pos), self.model.remove(at));
    }

    fn run(&mut self, op: Op) {
        match op {
            Op::Insert(at, weight) => self.insert(self.boundary(at), weight),
            Op::Fill(at, count) => {
                let at = self.boundary(at);
                (0..count).for_each(|i| self.insert(at + i, 1 + i as u64 % 3));
            }
            Op::Remove(at) => {
                if let Some(pos) = self.within(at) {
                    self.remove(pos);
                }
            }
            Op::Drain(at, count) => {
                for _ in 0..count {
                    let Some(pos) = self.within(at) else { break };
                    self.remove(pos);
                }
            }
            Op::Update(at, weight) => {
                let Some(pos) = self.within(at) else { return };
                let (i, offset) = locate(&self.model, pos);
                assert_eq!(self.tree.get(pos), Some((&self.model[i], offset)));
                self.tree.update(pos, |item, within| {
                    assert_eq!(within, offset);
                    item.0 = weight;
                });
                self.model[i].0 = weight;
            }
            Op::Replace(at, weight) => {
                let Some(pos) = self.within(at) else { return };
                let item = self.new_item(weight);
                let (i, _) = locate(&self.model, pos);
                let old = std::mem::replace(&mut self.model[i], item.clone());
                assert_eq!(self.tree.replace(pos, item), old);
            }
            Op::Cut(a, b) => {
                let (a, b) = (self.boundary(a.min(b)), self.boundary(a.max(b)));
                let from = start_of(&self.model, a);
                let to = start_of(&self.model, b);
                let cut = self.tree.remove_range(from, to);
                assert_same(&cut, &self.model.drain(a..b).collect::<Vec<_>>());
            }
            Op::Swap(at) => {
                let at = self.boundary(at);
                let mut back = self.tree.split_off(start_of(&self.model, at));
                assert_same(&back, &self.model[at..]);
                assert_same(&self.tree, &self.model[..at]);
                back.append(std::mem::take(&mut self.tree));
                self.tree = back;
                self.model.rotate_left(at);
            }
            Op::Build => self.tree = self.model.iter().cloned().collect(),
            Op::Double if self.model.len() < 20_000 => {
                self.tree.append(self.tree.clone());
                self.model.extend_from_within(..);
            }
            Op::Double | Op::Clone => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn tree_reads_as_a_vec_and_clones_stay(ops in proptest::collection::vec(op(), 1..60)) {
        let mut pair = Pair { tree: Tree::new(), model: Vec::new(), next: 0 };
        let mut clones = Vec::new();
        for op in ops {
            if matches!(op, Op::Clone) {
                clones.push((pair.tree.clone(), pair.model.clone()));
            }
            pair.run(op);
            assert_same(&pair.tree, &pair.model);
        }
        for (tree, model) in &clones {
            assert_same(tree, model);
        }
    }

    #[test]
    fn walks_start_anywhere(weights in proptest::collection::vec(1..4u64, 0..3000), at in 0.0..=1.0f64) {
        let model: Vec<_> = weights.iter().enumerate().map(|(i, w)| Weighed(*w, i as u32)).collect();
        let mut tree = Tree::new();
        model.iter().for_each(|item| tree.push(item.clone()));
        let pos = (at * tree.weight() as f64) as u64;
        let (i, offset) = locate(&model, pos);
        prop_assert!(tree.iter_from(pos).eq(model[i..].iter()));
        let before = i + usize::from(offset > 0);
        prop_assert!(tree.iter_back_from(pos).eq(model[..before].iter().rev()));
        let (mut cursor, found) = tree.cursor(pos);
        prop_assert_eq!(found, offset);
        for _ in 0..3 {
            prop_assert_eq!(cursor.next(), model.get(i));
            if i < model.len() {
                prop_assert_eq!(cursor.prev(), model.get(i));
            }
        }
    }

    #[test]
    fn order_finds_as_a_set_does(
        ops in proptest::collection::vec((any::<bool>(), 0..2000u64), 1..3000),
        probes in proptest::collection::vec(0..2000u64, 20),
    ) {
        let mut tree = Tree::new();
        let mut model = BTreeSet::new();
        for (insert, key) in ops {
            let item = Sorted(key / 4, key);
            match (tree.position(|other: &Sorted| other.cmp(&item)), insert) {
                (Err(pos), true) => {
                    prop_assert!(model.insert(item.clone()));
                    tree.insert(pos, item);
                }
                (Ok(pos), false) => {
                    prop_assert!(model.remove(&item));
                    prop_assert_eq!(tree.remove(pos), item);
                }
                (found, _) => prop_assert_eq!(found.is_ok(), model.contains(&item)),
            }
        }
        tree.check();
        prop_assert!(tree.iter().eq(model.iter()));
        for key in probes {
            let lower = model.range(..Sorted(key, 0)).count() as u64;
            prop_assert_eq!(tree.partition_point(|item| item.0 < key), lower);
            let upper = model.range(..Sorted(key + 1, 0)).count() as u64;
            prop_assert_eq!(tree.partition_point(|item| item.0 <= key), upper);
        }
    }
}

fn large() -> Tree<Sorted> {
    (0..1_000_000).map(|n| Sorted(n, n)).collect()
}

#[test]
fn edit_after_clone_copies_its_path() {
    let mut tree = large();
    let mut rng = StdRng::seed_from_u64(1);
    for step in 0..300 {
        let before = tree.clone();
        let pos = rng.gen_range(0..tree.weight());
        match step % 3 {
            0 => tree.insert(pos, Sorted(pos, pos)),
            1 => {
                tree.remove(pos);
            }
            _ => {
                tree.replace(pos, Sorted(pos, pos));
            }
        }
        let copied = nodes(&tree).difference(&nodes(&before)).count();
        // One for each of four or five levels, a neighbour for some.
        assert!(copied <= 8, "{copied} nodes for step {step}");
        if step % 100 == 0 {
            tree.check();
        }
    }
}

#[test]
fn cut_and_join_copy_few_nodes() {
    let mut tree = large();
    let before = tree.clone();
    let cut = tree.remove_range(300_000, 700_001);
    assert_eq!((tree.weight(), cut.weight()), (599_999, 400_001));
    tree.check();
    cut.check();
    let known = nodes(&before);
    let copied = nodes(&tree).difference(&known).count() + nodes(&cut).difference(&known).count();
    assert!(copied <= 40, "{copied}");
}

#[test]
fn ascending_inserts_leave_full_leaves() {
    let mut tree = Tree::new();
    (0..100_000).for_each(|n| tree.push(Sorted(n, n)));
    tree.check();
    assert!(tree.bytes() < 100_000 * 18, "{}", tree.bytes());
    let built: Tree<Sorted> = (0..100_000).map(|n| Sorted(n, n)).collect();
    built.check();
    assert!(built.bytes() < 100_000 * 18, "{}", built.bytes());
}

#[test]
fn random_inserts_take_24_bytes_an_item() {
    let mut rng = StdRng::seed_from_u64(2);
    let mut tree = Tree::new();
    for n in 0..200_000u64 {
        tree.insert(rng.gen_range(0..=n), Sorted(n, n));
    }
    tree.check();
    assert!(tree.bytes() < 200_000 * 24, "{}", tree.bytes());
    while tree.weight() > 60_000 {
        let pos = rng.gen_range(0..tree.weight());
        tree.remove(pos);
    }
    tree.check();
    assert!(tree.bytes() < 60_000 * 40, "{}", tree.bytes());
}
