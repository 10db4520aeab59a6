//! Owns what several sets come to together: SINTER, SUNION, SDIFF. Never changes one of them.
//!
//! Invariants: which members come out depends on nothing but the sets' members; in which order and form they come
//! follows Redis where the sets are small. What is large is shared with its source where it can be.

use std::ops::ControlFlow;

use ahash::RandomState;
use containers::intset;
use containers::listpack::{self, Element};

use super::set::{Member, SetMut, SetObject, SetRef};
use super::Limits;

/// How sets are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetOp {
    Inter,
    Union,
    Diff,
}

/// A set that belongs to no key yet. It may be empty.
pub struct SetDraft(pub(super) SetObject);

impl SetDraft {
    pub fn set(&self) -> SetRef<'_> {
        self.0.as_ref()
    }

    pub(crate) fn into_object(self) -> SetObject {
        self.0
    }
}

/// Visits what all of the sets have, until `visit` breaks. `pace` is told the bytes of each member that is looked at.
pub fn intersect<'a>(
    sets: &[SetRef<'a>],
    pace: &mut dyn FnMut(usize),
    visit: &mut dyn FnMut(Element<'a>) -> ControlFlow<()>,
) {
    intersect_members(sets, pace, &mut |member| visit(member.element()));
}

fn intersect_members<'a>(
    sets: &[SetRef<'a>],
    pace: &mut dyn FnMut(usize),
    visit: &mut dyn FnMut(Member<'a>) -> ControlFlow<()>,
) {
    let mut sets = sets.to_vec();
    sets.sort_by_key(|set| set.len());
    let Some((smallest, others)) = sets.split_first() else {
        return;
    };
    for member in smallest.members() {
        let element = member.element();
        pace(element.text_len());
        if others.iter().all(|set| set.has(element)) && visit(member).is_break() {
            return;
        }
    }
}

/// Combines sets into a draft.
pub(crate) struct Combiner<'k, 'p> {
    pub limits: Limits,
    pub hasher: &'k RandomState,
    pub pace: &'p mut dyn FnMut(usize),
}

impl Combiner<'_, '_> {
    /// `sources`: none is an empty set. `repeats`: one of the others is the first one.
    pub fn combine(
        &mut self,
        op: SetOp,
        sources: &[Option<SetRef<'_>>],
        repeats: bool,
    ) -> SetDraft {
        SetDraft(match (op, sources) {
            (SetOp::Inter, _) => self.inter(sources),
            (SetOp::Union, _) => self.union(sources),
            (SetOp::Diff, [Some(first), others @ ..]) if !repeats => {
                let others: Vec<SetRef<'_>> = others.iter().flatten().copied().collect();
                self.diff(*first, others)
            }
            (SetOp::Diff, _) => no_ints(),
        })
    }

    fn edit<'s>(&'s self, draft: &'s mut SetObject) -> SetMut<'s> {
        SetMut::new(draft, self.limits, self.hasher)
    }

    fn inter(&mut self, sources: &[Option<SetRef<'_>>]) -> SetObject {
        let Some(sets) = sources.iter().copied().collect::<Option<Vec<_>>>() else {
            return no_ints();
        };
        let smallest = sets.iter().min_by_key(|set| set.len());
        let mut draft = match smallest.is_some_and(|set| set.is_ints()) {
            true => no_ints(),
            false => SetObject::Packed(listpack::EMPTY.to_vec()),
        };
        let mut only_ints = true;
        let mut to = SetMut::new(&mut draft, self.limits, self.hasher);
        intersect_members(&sets, self.pace, &mut |member| {
            only_ints = only_ints && member.element().int().is_some();
            to.insert(member);
            ControlFlow::Continue(())
        });
        if only_ints {
            to.become_ints();
        }
        draft
    }

    fn union(&mut self, sources: &[Option<SetRef<'_>>]) -> SetObject {
        let sets: Vec<SetRef<'_>> = sources.iter().flatten().copied().collect();
        let largest = (0..sets.len()).max_by_key(|at| sets[*at].len());
        let shared = largest.and_then(|at| Some((at, self.share(sets[at])?)));
        let (taken, mut draft) = match shared {
            Some((at, draft)) => (Some(at), draft),
            None => (None, no_ints()),
        };
        for (at, set) in sets.iter().enumerate() {
            if Some(at) != taken {
                self.add(&mut draft, *set);
            }
        }
        draft
    }

    /// A set that has so many members that it would be a table in any case is taken over as it is.
    fn share(&self, set: SetRef<'_>) -> Option<SetObject> {
        let may_be_packed = set.len() <= self.limits.set_ints.max(self.limits.set_entries);
        set.share().filter(|_| !may_be_packed)
    }

    fn add(&mut self, draft: &mut SetObject, set: SetRef<'_>) {
        let mut to = SetMut::new(draft, self.limits, self.hasher);
        for member in set.members() {
            (self.pace)(member.element().text_len());
            to.insert(member);
        }
    }

    fn diff(&mut self, first: SetRef<'_>, mut others: Vec<SetRef<'_>>) -> SetObject {
        // Either all others are asked for each member of the first, or all of their members are taken out of it. Redis
        // weighs it so; which it is shows in the form of what is left.
        let asking = first.len().saturating_mul(1 + others.len()) / 2;
        let taking = others.iter().fold(first.len(), |sum, set| sum + set.len());
        if others.is_empty() || asking > taking {
            return self.take_out(first, &others);
        }
        others.sort_by_key(|set| std::cmp::Reverse(set.len()));
        let mut draft = no_ints();
        let mut to = SetMut::new(&mut draft, self.limits, self.hasher);
        for member in first.members() {
            let element = member.element();
            (self.pace)(element.text_len());
            if !others.iter().any(|set| set.has(element)) {
                to.insert(member);
            }
        }
        draft
    }

    fn take_out(&mut self, first: SetRef<'_>, others: &[SetRef<'_>]) -> SetObject {
        let mut draft = self.union(&[Some(first)]);
        for set in others {
            for member in set.iter() {
                let mut to = self.edit(&mut draft);
                to.remove(member.text(&mut listpack::Digits::default()));
                let is_empty = to.as_ref().len() == 0;
                (self.pace)(member.text_len());
                if is_empty {
                    return draft;
                }
            }
        }
        draft
    }
}

fn no_ints() -> SetObject {
    SetObject::Ints(intset::EMPTY.to_vec())
}
