//! Owns [`Tree`]: a sequence of items of one size that is found, cut and joined by position, and, where it is
//! sorted, by order: a counted B+tree. Never knows what an item is, and never compares items by itself.
//!
//! Invariants:
//! - all leaves are equally deep, and no node but the root and those along the right edge is filled by much less than a half
//!   (`LEAF_MIN`, `INNER_MIN`), so that ascending inserts may leave full leaves behind;
//! - a parent has of each child the key of its first item, its weight and its memory, exactly;
//! - nodes are shared between clones. An edit copies those on its own path, and their neighbours where it moves items, if
//!   they are shared, and no others.

mod cursor;
mod join;
mod node;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;

pub use cursor::{Backward, Cursor, Forward};
use node::{Child, Node};

/// What a tree holds: small, and cheap to clone.
pub trait Item: Clone {
    /// What inner nodes have of the first item below each child, to find by order: `()` where only positions count.
    type Key: Clone;

    fn key(&self) -> &Self::Key;

    /// How many positions the item takes, at least one. It changes only within [`Tree::update`].
    fn weight(&self) -> u64 {
        1
    }

    /// Memory that the item alone has outside of the tree, to be counted with it. It changes only within [`Tree::update`].
    fn bytes(&self) -> usize {
        0
    }
}

/// A sequence of items. Clones share all nodes.
pub struct Tree<T: Item> {
    root: Option<Child<T>>,
}

impl<T: Item> Clone for Tree<T> {
    fn clone(&self) -> Self {
        Tree {
            root: self.root.clone(),
        }
    }
}

impl<T: Item> Default for Tree<T> {
    fn default() -> Self {
        Tree { root: None }
    }
}

/// Builds in time that is linear, with full leaves. The items come in the tree's order.
impl<T: Item> FromIterator<T> for Tree<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        Tree {
            root: Child::build(items.into_iter()),
        }
    }
}

impl<T: Item> Tree<T> {
    pub fn new() -> Self {
        Tree::default()
    }

    /// The sum of the weights: how many items there are where each weighs one.
    pub fn weight(&self) -> u64 {
        self.root.as_ref().map_or(0, |root| root.weight)
    }

    pub fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    /// The memory of all nodes, and what the items have beside them. Shared nodes count in full.
    pub fn bytes(&self) -> usize {
        self.root.as_ref().map_or(0, |root| root.bytes)
    }

    /// The item at a position, and how far behind the item's beginning the position is.
    pub fn get(&self, pos: u64) -> Option<(&T, u64)> {
        let root = self.root.as_ref().filter(|root| pos < root.weight)?;
        Some(root.get(pos))
    }

    pub fn first(&self) -> Option<&T> {
        self.get(0).map(|(item, _)| item)
    }

    pub fn last(&self) -> Option<&T> {
        let last = self.weight().checked_sub(1)?;
        self.get(last).map(|(item, _)| item)
    }

    /// Inserts before the item that begins at `pos`, or at the end.
    pub fn insert(&mut self, pos: u64, item: T) {
        assert!(pos <= self.weight(), "a position within the tree");
        match &mut self.root {
            None => self.root = Some(Child::leaf(vec![item])),
            Some(root) => {
                if root.is_full() {
                    root.deepen();
                }
                root.insert(pos, item, true);
            }
        }
    }

    pub fn push(&mut self, item: T) {
        self.insert(self.weight(), item);
    }

    /// Takes out the item that `pos` lies in.
    pub fn remove(&mut self, pos: u64) -> T {
        let root = self.root.as_mut().filter(|root| pos < root.weight);
        let root = root.expect("a position within the tree");
        let item = root.remove(pos);
        root.flatten();
        if root.weight == 0 {
            self.root = None;
        }
        item
    }

    pub fn pop_first(&mut self) -> Option<T> {
        (!self.is_empty()).then(|| self.remove(0))
    }

    pub fn pop_last(&mut self) -> Option<T> {
        let last = self.weight().checked_sub(1)?;
        Some(self.remove(last))
    }

    /// Puts an item in place of the one that `pos` lies in, which is returned. Its order is the caller's matter.
    pub fn replace(&mut self, pos: u64, item: T) -> T {
        self.update(pos, |old, _| std::mem::replace(old, item))
    }

    /// Lets `edit` change the item that `pos` lies in, and hears how far behind its beginning. Its weight may become another
    /// one, not 0; its key may as long as the order stays.
    pub fn update<R>(&mut self, pos: u64, edit: impl FnOnce(&mut T, u64) -> R) -> R {
        let root = self.root.as_mut().filter(|root| pos < root.weight);
        root.expect("a position within the tree").update(pos, edit)
    }

    /// The first position at which `before` no longer holds, in a tree where it holds for the keys up to some item.
    pub fn partition_point(&self, mut before: impl FnMut(&T::Key) -> bool) -> u64 {
        self.search(&mut before).0
    }

    /// The position of the first item that is not less than what `compare` compares with: `Ok` where it is equal.
    pub fn position(&self, mut compare: impl FnMut(&T::Key) -> Ordering) -> Result<u64, u64> {
        let (pos, item) = self.search(&mut |key| compare(key).is_lt());
        match item.is_some_and(|item| compare(item.key()).is_eq()) {
            true => Ok(pos),
            false => Err(pos),
        }
    }

    fn search(&self, before: &mut impl FnMut(&T::Key) -> bool) -> (u64, Option<&T>) {
        let Some(mut child) = self.root.as_ref() else {
            return (0, None);
        };
        // Where a child's last item is the one in question, the first item of the next child is the answer.
        let (mut pos, mut next) = (0, None);
        loop {
            match &child.node {
                Node::Inner(children) => {
                    let at = children.partition_point(|child| before(&child.key));
                    let at = at.saturating_sub(1);
                    pos += children[..at].iter().map(|child| child.weight).sum::<u64>();
                    next = children.get(at + 1).or(next);
                    child = &children[at];
                }
                Node::Leaf(items) => {
                    let at = items.partition_point(|item| before(item.key()));
                    pos += items[..at].iter().map(Item::weight).sum::<u64>();
                    return (pos, items.get(at).or_else(|| next.map(Child::first)));
                }
            }
        }
    }

    /// Cuts the tree before the item that begins at `pos`; returns what is behind.
    #[must_use]
    pub fn split_off(&mut self, pos: u64) -> Tree<T> {
        assert!(pos <= self.weight(), "a position within the tree");
        let Some(root) = self.root.take() else {
            return Tree::new();
        };
        let (left, right) = root.split_at(pos);
        self.root = left;
        Tree { root: right }
    }

    /// Puts all items of another tree behind those of this one.
    pub fn append(&mut self, other: Tree<T>) {
        self.root = join::join_all(self.root.take(), other.root);
    }

    /// Cuts out all items between two positions, at each of which an item begins or the tree ends.
    #[must_use]
    pub fn remove_range(&mut self, from: u64, to: u64) -> Tree<T> {
        let tail = self.split_off(to);
        let cut = self.split_off(from);
        self.append(tail);
        cut
    }

    /// All items, in order.
    pub fn iter(&self) -> Forward<'_, T> {
        self.iter_from(0)
    }

    /// The items from the one that `pos` lies in.
    pub fn iter_from(&self, pos: u64) -> Forward<'_, T> {
        Forward::from(self.cursor(pos).0)
    }

    /// The items that begin before `pos`, the last one first.
    pub fn iter_back_from(&self, pos: u64) -> Backward<'_, T> {
        let (mut cursor, offset) = self.cursor(pos);
        if offset > 0 {
            cursor.next();
        }
        Backward::from(cursor)
    }

    /// A cursor before the item that `pos` lies in, or at the end; and how far behind the item's beginning `pos` is.
    pub fn cursor(&self, pos: u64) -> (Cursor<'_, T>, u64) {
        assert!(pos <= self.weight(), "a position within the tree");
        Cursor::new(self.root.as_ref(), pos)
    }
}
