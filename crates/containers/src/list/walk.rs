//! Owns walks over a list's elements, both ways. A step allocates nothing.

use super::chunk::{Chunk, Elements};
use super::{List, Spot};
use crate::listpack::Element;
use crate::tree;

/// Elements from an index on.
pub struct Forward<'a> {
    current: Elements<'a>,
    middle: tree::Forward<'a, Chunk>,
    back: Option<&'a Chunk>,
}

impl<'a> Forward<'a> {
    pub(super) fn new(list: &'a List, index: u64) -> Forward<'a> {
        let (from, back) = (list.middle.iter_from(0), list.back.as_ref());
        let none = Elements::Plain(None);
        let (current, middle, back) = match list.spot(index) {
            Spot::Front(at) => {
                let front = list.front.as_ref();
                (
                    front.map_or(none, |front| front.elements_from(at)),
                    from,
                    back,
                )
            }
            Spot::Middle(pos) => {
                let (mut cursor, at) = list.middle.cursor(pos);
                let chunk = cursor.next();
                let current = chunk.map_or(none, |chunk| chunk.elements_from(at));
                (current, tree::Forward::from(cursor), back)
            }
            Spot::Back(at) => {
                let end = list.middle.iter_from(list.middle.weight());
                let back = back.filter(|back| at < back.count());
                (back.map_or(none, |back| back.elements_from(at)), end, None)
            }
        };
        Forward {
            current,
            middle,
            back,
        }
    }
}

impl<'a> Iterator for Forward<'a> {
    type Item = Element<'a>;

    #[inline]
    fn next(&mut self) -> Option<Element<'a>> {
        loop {
            if let Some(element) = self.current.next() {
                return Some(element);
            }
            let chunk = self.middle.next().or_else(|| self.back.take())?;
            self.current = chunk.elements();
        }
    }
}

/// The element at an index and those before it.
pub struct Backward<'a> {
    current: Elements<'a>,
    middle: tree::Backward<'a, Chunk>,
    front: Option<&'a Chunk>,
}

impl<'a> Backward<'a> {
    pub(super) fn new(list: &'a List, index: u64) -> Backward<'a> {
        let none = Elements::Plain(None);
        let (start, front) = (list.middle.iter_back_from(0), list.front.as_ref());
        let end = || list.middle.iter_back_from(list.middle.weight());
        let (current, middle, front) = match list.spot(index) {
            Spot::Front(at) => {
                let current = front.map_or(none, |front| front.elements_up_to(at + 1));
                (current, start, None)
            }
            Spot::Middle(pos) => {
                let (cursor, at) = list.middle.cursor(pos);
                let mut ahead = cursor;
                let chunk = ahead.next();
                let current = chunk.map_or(none, |chunk| chunk.elements_up_to(at + 1));
                (current, tree::Backward::from(cursor), front)
            }
            Spot::Back(at) => {
                let up_to = |back: &'a Chunk| back.elements_up_to(back.count().min(at + 1));
                (list.back.as_ref().map_or(none, up_to), end(), front)
            }
        };
        Backward {
            current,
            middle,
            front,
        }
    }
}

impl<'a> Iterator for Backward<'a> {
    type Item = Element<'a>;

    #[inline]
    fn next(&mut self) -> Option<Element<'a>> {
        loop {
            if let Some(element) = self.current.next_back() {
                return Some(element);
            }
            let chunk = self.middle.next().or_else(|| self.front.take())?;
            self.current = chunk.elements();
        }
    }
}
