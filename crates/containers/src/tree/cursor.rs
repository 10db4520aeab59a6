//! Owns walks over a tree, both ways, from any position. A step allocates nothing.

use super::node::{find_item, Child, Node};
use super::Item;

/// Levels above the leaves: more than any memory has room for, for a node has ten children and more but at the right edge.
const HEIGHT_MAX: usize = 12;

/// A place between two items.
pub struct Cursor<'a, T: Item> {
    /// From the root down: the node's children, and the one that the path takes.
    path: [(&'a [Child<T>], usize); HEIGHT_MAX],
    height: usize,
    leaf: &'a [T],
    at: usize,
}

impl<T: Item> Clone for Cursor<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Item> Copy for Cursor<'_, T> {}

impl<'a, T: Item> Cursor<'a, T> {
    /// A cursor before the item that `pos` lies in, and how far behind its beginning that is.
    pub(super) fn new(root: Option<&'a Child<T>>, mut pos: u64) -> (Self, u64) {
        let mut cursor = Cursor {
            path: [(&[], 0); HEIGHT_MAX],
            height: 0,
            leaf: &[],
            at: 0,
        };
        let Some(mut child) = root else {
            return (cursor, 0);
        };
        loop {
            match &child.node {
                Node::Inner(children) => {
                    let mut at = 0;
                    while pos >= children[at].weight && at + 1 < children.len() {
                        pos -= children[at].weight;
                        at += 1;
                    }
                    child = cursor.enter(children, at);
                }
                Node::Leaf(items) => {
                    let (at, offset) = find_item(items, pos);
                    (cursor.leaf, cursor.at) = (items, at);
                    return (cursor, offset);
                }
            }
        }
    }

    fn enter(&mut self, children: &'a [Child<T>], at: usize) -> &'a Child<T> {
        self.path[self.height] = (children, at);
        self.height += 1;
        &children[at]
    }

    /// The item behind the cursor, which passes it.
    #[allow(clippy::should_implement_trait, reason = "a cursor goes both ways")]
    pub fn next(&mut self) -> Option<&'a T> {
        if self.at == self.leaf.len() {
            self.enter_next_leaf()?;
        }
        let item = &self.leaf[self.at];
        self.at += 1;
        Some(item)
    }

    /// The item before the cursor, which passes it.
    pub fn prev(&mut self) -> Option<&'a T> {
        if self.at == 0 {
            self.enter_previous_leaf()?;
        }
        self.at -= 1;
        Some(&self.leaf[self.at])
    }

    fn enter_next_leaf(&mut self) -> Option<()> {
        let path = &self.path[..self.height];
        let level = path.iter().rposition(|(of, at)| at + 1 < of.len())?;
        self.height = level;
        let (children, at) = self.path[level];
        let mut child = self.enter(children, at + 1);
        loop {
            match &child.node {
                Node::Inner(children) => child = self.enter(children, 0),
                Node::Leaf(items) => {
                    (self.leaf, self.at) = (items, 0);
                    return Some(());
                }
            }
        }
    }

    fn enter_previous_leaf(&mut self) -> Option<()> {
        let path = &self.path[..self.height];
        let level = path.iter().rposition(|(_, at)| *at > 0)?;
        self.height = level;
        let (children, at) = self.path[level];
        let mut child = self.enter(children, at - 1);
        loop {
            match &child.node {
                Node::Inner(children) => child = self.enter(children, children.len() - 1),
                Node::Leaf(items) => {
                    (self.leaf, self.at) = (items, items.len());
                    return Some(());
                }
            }
        }
    }
}

/// The items behind a cursor.
pub struct Forward<'a, T: Item>(Cursor<'a, T>);

impl<'a, T: Item> Iterator for Forward<'a, T> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        self.0.next()
    }
}

/// The items before a cursor, the nearest first.
pub struct Backward<'a, T: Item>(Cursor<'a, T>);

impl<'a, T: Item> Iterator for Backward<'a, T> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        self.0.prev()
    }
}

impl<'a, T: Item> From<Cursor<'a, T>> for Forward<'a, T> {
    fn from(cursor: Cursor<'a, T>) -> Self {
        Forward(cursor)
    }
}

impl<'a, T: Item> From<Cursor<'a, T>> for Backward<'a, T> {
    fn from(cursor: Cursor<'a, T>) -> Self {
        Backward(cursor)
    }
}
