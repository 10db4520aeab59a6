//! Owns the nodes of a tree: how an edit comes down to its leaf, how full nodes make room and how nodes that are
//! low are filled again. Never knows the tree as a whole.
//! Invariant: an edit leaves in each child on its path the key, the weight and the memory of what is below.

use triomphe::Arc;

use super::Item;
use crate::memory::arc_size;
use crate::size_class;

pub(super) const LEAF_MAX: usize = 64;
pub(super) const INNER_MAX: usize = 32;
/// Two low nodes fit one: less than half by some, lest a node that has just been made of two is split at once.
const LEAF_MIN: usize = 28;
const INNER_MIN: usize = 12;
/// A full leaf gives items to a neighbour with at least this much room, or is split: moving one or two at a time
/// would cost more than it saves.
const LEAF_ROOM: usize = LEAF_MAX / 8;
/// The children that go to the new node where the tree grows at its right edge: the old one stays full.
const EDGE_SHARE: usize = INNER_MAX / 10;
const CAPACITY_MIN: usize = 4;

#[derive(Clone)]
pub(super) enum Node<T: Item> {
    Leaf(Arc<Vec<T>>),
    Inner(Arc<Vec<Child<T>>>),
}

/// A node, and what its parent has of it.
#[derive(Clone)]
pub(super) struct Child<T: Item> {
    pub node: Node<T>,
    /// The first item's.
    pub key: T::Key,
    pub weight: u64,
    pub bytes: usize,
}

/// The memory of a node: the block with the count, and the block with the elements.
pub(super) fn node_bytes<E>(elements: &Vec<E>) -> usize {
    size_class(arc_size::<Vec<E>>()) + size_class(elements.capacity() * size_of::<E>())
}

/// The elements, to be edited: a copy of them if they are shared.
pub(super) fn own<E: Clone>(shared: &mut Arc<Vec<E>>) -> &mut Vec<E> {
    if !shared.is_unique() {
        let mut copy = Vec::with_capacity(shared.capacity());
        copy.extend_from_slice(shared);
        assert_eq!(copy.capacity(), shared.capacity(), "sums have counted it");
        *shared = Arc::new(copy);
    }
    Arc::get_mut(shared).expect("it is the only one")
}

/// The elements themselves.
pub(super) fn take<E: Clone>(shared: Arc<Vec<E>>) -> Vec<E> {
    Arc::unwrap_or_clone(shared)
}

/// Makes room for `more` elements: capacity doubles up to `max`.
pub(super) fn reserve<E>(elements: &mut Vec<E>, more: usize, max: usize) {
    let len = elements.len() + more;
    if len > elements.capacity() {
        let wanted = len.next_power_of_two().clamp(CAPACITY_MIN, max.max(len));
        elements.reserve_exact(wanted - elements.len());
    }
}

/// Gives room back that has not been needed for long.
fn trim<E>(elements: &mut Vec<E>) {
    let capacity = elements.capacity();
    if capacity > CAPACITY_MIN && elements.len() * 4 <= capacity {
        elements.shrink_to(capacity / 2);
    }
}

/// Moves elements over the border between two neighbours until `a` has `wanted`.
fn shift<E>(a: &mut Vec<E>, b: &mut Vec<E>, wanted: usize, max: usize) {
    if a.len() < wanted {
        let count = wanted - a.len();
        reserve(a, count, max);
        a.extend(b.drain(..count));
    } else {
        reserve(b, a.len() - wanted, max);
        b.splice(0..0, a.drain(wanted..));
    }
}

/// The child that `pos` lies in, and where within it.
fn find<T: Item>(children: &[Child<T>], mut pos: u64) -> (usize, u64) {
    let mut at = 0;
    while pos >= children[at].weight {
        pos -= children[at].weight;
        at += 1;
    }
    (at, pos)
}

/// The item that `pos` lies in, or the end, and how far behind its beginning.
pub(super) fn find_item<T: Item>(items: &[T], mut pos: u64) -> (usize, u64) {
    for (at, item) in items.iter().enumerate() {
        let weight = item.weight();
        if pos < weight {
            return (at, pos);
        }
        pos -= weight;
    }
    assert_eq!(pos, 0, "a position within the leaf");
    (items.len(), 0)
}

/// The child that an item at `pos` goes to, and where within it: between two children, the left one.
fn place<T: Item>(children: &[Child<T>], mut pos: u64) -> (usize, u64) {
    let mut at = 0;
    while pos > children[at].weight {
        pos -= children[at].weight;
        at += 1;
    }
    (at, pos)
}

impl<T: Item> Child<T> {
    /// A leaf of at least one item.
    pub fn leaf(items: Vec<T>) -> Child<T> {
        let mut child = Child {
            key: items[0].key().clone(),
            node: Node::Leaf(Arc::new(items)),
            weight: 0,
            bytes: 0,
        };
        child.sum_up();
        child
    }

    /// An inner node of at least one child.
    pub fn inner(children: Vec<Child<T>>) -> Child<T> {
        let mut child = Child {
            key: children[0].key.clone(),
            node: Node::Inner(Arc::new(children)),
            weight: 0,
            bytes: 0,
        };
        child.sum_up();
        child
    }

    /// All of `items` in full nodes, level by level.
    pub fn build(mut items: impl Iterator<Item = T>) -> Option<Child<T>> {
        let mut level = Vec::new();
        loop {
            let mut leaf: Vec<T> = Vec::new();
            while leaf.len() < LEAF_MAX {
                let Some(item) = items.next() else { break };
                reserve(&mut leaf, 1, LEAF_MAX);
                leaf.push(item);
            }
            if leaf.is_empty() {
                break;
            }
            level.push(Child::leaf(leaf));
        }
        while level.len() > 1 {
            // A node needs two children: the last two share what a node of one would have to do with.
            let lone = level.len() % INNER_MAX == 1;
            let mut left = level.len();
            let mut children = level.into_iter();
            level = Vec::with_capacity(left / INNER_MAX + 1);
            while left > 0 {
                let last_but_one = lone && left == INNER_MAX + 1;
                let count = left.min(INNER_MAX - usize::from(last_but_one));
                level.push(Child::inner(children.by_ref().take(count).collect()));
                left -= count;
            }
        }
        level.pop()
    }

    /// How many items or children the node has.
    pub fn len(&self) -> usize {
        match &self.node {
            Node::Leaf(items) => items.len(),
            Node::Inner(children) => children.len(),
        }
    }

    fn max(&self) -> usize {
        match &self.node {
            Node::Leaf(_) => LEAF_MAX,
            Node::Inner(_) => INNER_MAX,
        }
    }

    pub fn is_full(&self) -> bool {
        self.len() >= self.max()
    }

    /// Whether it needs more, unless it is the root or at the right edge.
    pub fn is_low(&self) -> bool {
        match &self.node {
            Node::Leaf(items) => items.len() < LEAF_MIN,
            Node::Inner(children) => children.len() < INNER_MIN,
        }
    }

    pub fn height(&self) -> usize {
        match &self.node {
            Node::Leaf(_) => 0,
            Node::Inner(children) => 1 + children[0].height(),
        }
    }

    pub fn first(&self) -> &T {
        match &self.node {
            Node::Leaf(items) => &items[0],
            Node::Inner(children) => children[0].first(),
        }
    }

    pub fn get(&self, mut pos: u64) -> (&T, u64) {
        let mut child = self;
        loop {
            match &child.node {
                Node::Leaf(items) => {
                    let (at, offset) = find_item(items, pos);
                    return (&items[at], offset);
                }
                Node::Inner(children) => {
                    let (at, rest) = find(children, pos);
                    (child, pos) = (&children[at], rest);
                }
            }
        }
    }

    /// Weight and memory anew, of what the node holds.
    pub fn sum_up(&mut self) {
        (self.weight, self.bytes) = match &self.node {
            Node::Leaf(items) => items.iter().fold((0, node_bytes(items)), |sum, item| {
                (sum.0 + item.weight(), sum.1 + item.bytes())
            }),
            Node::Inner(children) => children
                .iter()
                .fold((0, node_bytes(children)), |sum, child| {
                    (sum.0 + child.weight, sum.1 + child.bytes)
                }),
        };
    }

    pub fn take_key(&mut self) {
        self.key = match &self.node {
            Node::Leaf(items) => items[0].key().clone(),
            Node::Inner(children) => children[0].key.clone(),
        };
    }

    /// A further level above a root that is full.
    pub fn deepen(&mut self) {
        let mut children = Vec::with_capacity(CAPACITY_MIN);
        children.push(self.clone());
        *self = Child::inner(children);
    }

    /// Takes levels away that hold one child only: a root's.
    pub fn flatten(&mut self) {
        while let Node::Inner(children) = &self.node {
            let [only] = children.as_slice() else { return };
            *self = only.clone();
        }
    }

    /// Inserts where an item begins, or at the end. The node is not full. `edge`: it is at the tree's right edge.
    pub fn insert(&mut self, pos: u64, item: T, edge: bool) {
        let at_end = edge && pos == self.weight;
        self.weight += item.weight();
        if pos == 0 {
            self.key = item.key().clone();
        }
        match &mut self.node {
            Node::Leaf(items) => {
                let before = node_bytes(items);
                self.bytes += item.bytes();
                let (at, offset) = find_item(items, pos);
                assert_eq!(offset, 0, "an item begins where another one is inserted");
                let items = own(items);
                reserve(items, 1, LEAF_MAX);
                items.insert(at, item);
                self.bytes = self.bytes - before + node_bytes(items);
            }
            Node::Inner(inner) => {
                let children = own(inner);
                let (mut at, mut rest) = place(children, pos);
                if children[at].is_full() {
                    if at_end && children[at].max() == LEAF_MAX {
                        reserve(children, 1, INNER_MAX);
                        let mut items = Vec::with_capacity(CAPACITY_MIN);
                        items.push(item);
                        children.push(Child::leaf(items));
                        return self.sum_up();
                    }
                    make_room(children, at, at_end);
                    (at, rest) = place(children, pos);
                    let edge = edge && at + 1 == children.len();
                    children[at].insert(rest, item, edge);
                    return self.sum_up();
                }
                let edge = edge && at + 1 == children.len();
                let before = children[at].bytes;
                children[at].insert(rest, item, edge);
                self.bytes = self.bytes - before + children[at].bytes;
            }
        }
    }

    /// Takes out the item that `pos` lies in. The node may be low afterwards, and empty if it is the root.
    pub fn remove(&mut self, pos: u64) -> T {
        let (item, is_first) = match &mut self.node {
            Node::Leaf(items) => {
                let (at, _) = find_item(items, pos);
                let items = own(items);
                let item = items.remove(at);
                trim(items);
                (item, at == 0)
            }
            Node::Inner(inner) => {
                let children = own(inner);
                let (at, rest) = find(children, pos);
                let item = children[at].remove(rest);
                if children[at].is_low() && children.len() > 1 {
                    balance(children, at);
                }
                trim(children);
                (item, at == 0)
            }
        };
        self.sum_up();
        if is_first && self.weight > 0 {
            self.take_key();
        }
        item
    }

    pub fn update<R>(&mut self, pos: u64, edit: impl FnOnce(&mut T, u64) -> R) -> R {
        match &mut self.node {
            Node::Leaf(items) => {
                let (at, offset) = find_item(items, pos);
                let item = &mut own(items)[at];
                let before = (item.weight(), item.bytes());
                let result = edit(item, offset);
                assert_ne!(item.weight(), 0, "an item has a position");
                self.weight = self.weight - before.0 + item.weight();
                self.bytes = self.bytes - before.1 + item.bytes();
                if at == 0 {
                    self.key = item.key().clone();
                }
                result
            }
            Node::Inner(inner) => {
                let (at, rest) = find(inner, pos);
                let child = &mut own(inner)[at];
                let before = (child.weight, child.bytes);
                let result = child.update(rest, edit);
                self.weight = self.weight - before.0 + child.weight;
                self.bytes = self.bytes - before.1 + child.bytes;
                if at == 0 {
                    self.key = child.key.clone();
                }
                result
            }
        }
    }

    /// Leaves the node its first `keep` elements; the others are in the new one to its right.
    pub fn halve(&mut self, keep: usize) -> Child<T> {
        let right = match &mut self.node {
            Node::Leaf(items) => {
                let mut right = Vec::with_capacity(LEAF_MAX);
                right.extend(own(items).drain(keep..));
                Child::leaf(right)
            }
            Node::Inner(inner) => {
                let children = own(inner);
                let mut right = Vec::with_capacity(INNER_MAX);
                right.extend(children.drain(keep..));
                children.shrink_to(INNER_MAX);
                Child::inner(right)
            }
        };
        self.sum_up();
        right
    }
}

/// Makes room in the child `at`, which is full: a leaf by a neighbour that has room, others by a split.
fn make_room<T: Item>(children: &mut Vec<Child<T>>, at: usize, at_end: bool) {
    if children[at].max() == LEAF_MAX {
        let has_room = |i: usize| {
            children
                .get(i)
                .is_some_and(|child| child.len() + LEAF_ROOM <= LEAF_MAX)
        };
        if has_room(at + 1) {
            return even_out(children, at);
        }
        if at > 0 && has_room(at - 1) {
            return even_out(children, at - 1);
        }
    }
    let len = children[at].len();
    let keep = if at_end { len - EDGE_SHARE } else { len / 2 };
    let right = children[at].halve(keep);
    reserve(children, 1, INNER_MAX);
    children.insert(at + 1, right);
}

/// Fills the child `at`, which is low, from a neighbour, or makes one of both.
pub(super) fn balance<T: Item>(children: &mut Vec<Child<T>>, at: usize) {
    let left = at.saturating_sub(1);
    let total = children[left].len() + children[left + 1].len();
    if total > children[left].max() {
        return even_out(children, left);
    }
    let mut right = children.remove(left + 1);
    let left = &mut children[left];
    shift_to(left, &mut right, total);
    left.sum_up();
    left.take_key();
}

/// Two neighbours, the left one of which is at `left`, have equally many elements afterwards.
fn even_out<T: Item>(children: &mut [Child<T>], left: usize) {
    let (a, b) = children.split_at_mut(left + 1);
    let (a, b) = (&mut a[left], &mut b[0]);
    shift_to(a, b, (a.len() + b.len()) / 2);
    a.sum_up();
    b.sum_up();
    b.take_key();
}

fn shift_to<T: Item>(a: &mut Child<T>, b: &mut Child<T>, wanted: usize) {
    match (&mut a.node, &mut b.node) {
        (Node::Leaf(a), Node::Leaf(b)) => shift(own(a), own(b), wanted, LEAF_MAX),
        (Node::Inner(a), Node::Inner(b)) => shift(own(a), own(b), wanted, INNER_MAX),
        _ => unreachable!("neighbours are equally deep"),
    }
}
