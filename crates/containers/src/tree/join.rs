//! Owns how trees are cut in two and put together, in time that grows with their height alone. Never looks at an item.

use super::node::{balance, find_item, own, reserve, take, Child, Node, INNER_MAX};
use super::Item;

/// The items of the right tree behind those of the left one.
pub(super) fn join_all<T: Item>(
    left: Option<Child<T>>,
    right: Option<Child<T>>,
) -> Option<Child<T>> {
    match (left, right) {
        (Some(mut left), Some(right)) => {
            if left.right_edge_is_low() {
                left.fill_right_edge();
                left.flatten();
            }
            Some(join(left, right))
        }
        (left, right) => left.or(right),
    }
}

/// Joins two trees, the left of which has no low node along its right edge but its root.
fn join<T: Item>(mut left: Child<T>, mut right: Child<T>) -> Child<T> {
    let (left_height, right_height) = (left.height(), right.height());
    let (mut joined, split) = if left_height > right_height {
        let split = left.graft(right, left_height - right_height, Side::Right);
        (left, split)
    } else if left_height < right_height {
        let split = right.graft(left, right_height - left_height, Side::Left);
        (right, split)
    } else {
        (left, Some(right))
    };
    let Some(split) = split else { return joined };
    let is_low = joined.is_low() || split.is_low();
    let mut pair = Vec::with_capacity(4);
    pair.extend([joined, split]);
    if is_low {
        balance(&mut pair, 1);
    }
    joined = Child::inner(pair);
    joined.flatten();
    joined
}

fn join_parts<T: Item>(left: Option<Child<T>>, right: Option<Child<T>>) -> Option<Child<T>> {
    match (left, right) {
        (Some(left), Some(right)) => Some(join(left, right)),
        (left, right) => left.or(right),
    }
}

/// A node of these, or the one itself.
fn part<T: Item>(children: Vec<Child<T>>) -> Option<Child<T>> {
    if children.is_empty() {
        return None;
    }
    let mut part = Child::inner(children);
    part.flatten();
    Some(part)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

impl<T: Item> Child<T> {
    /// What is before the item that begins at `pos`, and the rest.
    pub fn split_at(self, pos: u64) -> (Option<Child<T>>, Option<Child<T>>) {
        if pos == 0 {
            return (None, Some(self));
        }
        if pos == self.weight {
            return (Some(self), None);
        }
        match self.node {
            Node::Leaf(items) => {
                let (at, offset) = find_item(&items, pos);
                assert_eq!(offset, 0, "a tree is cut between two items");
                let mut left = take(items);
                let right = left.split_off(at);
                left.shrink_to_fit();
                (Some(Child::leaf(left)), Some(Child::leaf(right)))
            }
            Node::Inner(inner) => {
                let (mut at, mut rest) = (0, pos);
                while rest > inner[at].weight {
                    rest -= inner[at].weight;
                    at += 1;
                }
                let mut children = take(inner);
                let behind = children.split_off(at + 1);
                let torn = children.pop().expect("the child that was found");
                children.shrink_to_fit();
                let (left, right) = torn.split_at(rest);
                let left = join_parts(part(children), left);
                (left, join_parts(right, part(behind)))
            }
        }
    }

    /// Makes a lower tree the last or the first child of the node `depth - 1` levels below. Returns what no longer fits, to
    /// the right of the node.
    fn graft(&mut self, tree: Child<T>, depth: usize, side: Side) -> Option<Child<T>> {
        let Node::Inner(inner) = &mut self.node else {
            unreachable!("a higher tree's edge has inner nodes above its leaves");
        };
        let children = own(inner);
        reserve(children, 1, INNER_MAX);
        if depth == 1 {
            let at = if side == Side::Left {
                0
            } else {
                children.len()
            };
            children.insert(at, tree);
            if children[at].is_low() {
                balance(children, at);
            }
        } else {
            let at = if side == Side::Left {
                0
            } else {
                children.len() - 1
            };
            if let Some(split) = children[at].graft(tree, depth - 1, side) {
                children.insert(at + 1, split);
            }
        }
        let len = children.len();
        let split = (len > INNER_MAX).then(|| self.halve(len / 2));
        self.sum_up();
        self.take_key();
        split
    }

    fn right_edge_is_low(&self) -> bool {
        let Node::Inner(children) = &self.node else {
            return false;
        };
        let last = children.last().expect("a node has children");
        last.is_low() || last.right_edge_is_low()
    }

    /// Fills the nodes along the right edge that are low, from below.
    fn fill_right_edge(&mut self) {
        let Node::Inner(inner) = &mut self.node else {
            return;
        };
        let children = own(inner);
        let last = children.len() - 1;
        children[last].fill_right_edge();
        if children[last].is_low() && last > 0 {
            balance(children, last);
        }
        self.sum_up();
    }
}
