//! What has changed of a string, in few bytes.
//!
//! Owns: the choice between the pieces that have changed and all of it. Invariant: the pieces, put in the
//! place of others one after the other, make the new string of the old one.

use state::{Piece, Sketch};
use std::ops::Range;

use super::layout::HEADER;

/// What a piece takes in the log beside its bytes, and with those that it has for one register.
const PIECE_COST: usize = 24;
pub const PIECE_BYTES: usize = 64;

/// A change, on its own.
#[derive(Debug)]
pub enum Patch {
    Whole(Vec<u8>),
    Pieces(Vec<(usize, usize, Vec<u8>)>),
}

impl Patch {
    pub fn sketch(&self) -> Sketch<'_> {
        match self {
            Patch::Whole(value) => Sketch::Whole(value),
            Patch::Pieces(pieces) => {
                let pieces = pieces.iter().map(|(at, removed, bytes)| Piece {
                    at: *at,
                    removed: *removed,
                    bytes,
                });
                Sketch::Pieces(pieces.collect())
            }
        }
    }
}

/// From `old`, if there was a string, to `new`.
pub fn between(old: Option<&[u8]>, new: &[u8]) -> Patch {
    let Some(old) = old else {
        return Patch::Whole(new.to_vec());
    };
    let mut pieces = Vec::new();
    let mut same_length = |old: &[u8], new: &[u8]| {
        for run in runs(old, new) {
            pieces.push((run.start, run.len(), new[run].to_vec()));
        }
    };
    if old.len() == new.len() {
        same_length(old, new);
    } else {
        let header = HEADER.min(old.len()).min(new.len());
        same_length(&old[..header], &new[..header]);
        let common = common(&old[header..], &new[header..]);
        let (old, new) = (&old[header..][common..], &new[header..][common..]);
        let behind = self::common_end(old, new);
        let (removed, bytes) = (old.len() - behind, &new[..new.len() - behind]);
        pieces.push((header + common, removed, bytes.to_vec()));
    }
    let cost = pieces.iter().map(|(_, _, bytes)| PIECE_COST + bytes.len());
    match cost.sum::<usize>() < new.len() {
        true => Patch::Pieces(pieces),
        false => Patch::Whole(new.to_vec()),
    }
}

/// How many bytes at the beginning are the same.
fn common(old: &[u8], new: &[u8]) -> usize {
    old.iter().zip(new).take_while(|(a, b)| a == b).count()
}

fn common_end(old: &[u8], new: &[u8]) -> usize {
    let pairs = old.iter().rev().zip(new.iter().rev());
    pairs.take_while(|(a, b)| a == b).count()
}

/// Where strings of one length differ; what is less than a piece apart is one run.
fn runs(old: &[u8], new: &[u8]) -> Vec<Range<usize>> {
    const STEP: usize = 64;
    let mut runs: Vec<Range<usize>> = Vec::new();
    let steps = old.chunks(STEP).zip(new.chunks(STEP));
    for (start, (old, new)) in (0..).step_by(STEP).zip(steps) {
        if old == new {
            continue;
        }
        for at in (0..old.len()).filter(|at| old[*at] != new[*at]) {
            let at = start + at;
            match runs.last_mut() {
                Some(run) if at - run.end < PIECE_COST => run.end = at + 1,
                _ => runs.push(at..at + 1),
            }
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn applied(old: &[u8], patch: &Patch) -> Vec<u8> {
        match patch {
            Patch::Whole(value) => value.clone(),
            Patch::Pieces(pieces) => {
                let mut value = old.to_vec();
                for (at, removed, bytes) in pieces {
                    value.splice(*at..at + removed, bytes.iter().copied());
                }
                value
            }
        }
    }

    proptest! {
        #[test]
        fn pieces_make_the_new_string(
            old in prop::collection::vec(0u8..3, 0..300),
            edits in prop::collection::vec((0usize..300, 0usize..4, prop::collection::vec(0u8..3, 0..4)), 0..5),
        ) {
            let mut new = old.clone();
            for (at, removed, bytes) in edits {
                let at = at.min(new.len());
                let end = (at + removed).min(new.len());
                new.splice(at..end, bytes);
            }
            let patch = between(Some(&old), &new);
            prop_assert_eq!(applied(&old, &patch), new);
        }
    }

    #[test]
    fn one_register_is_few_bytes() {
        let old = vec![0; 12_304];
        let mut new = old.clone();
        (new[15], new[5000], new[5001]) = (0x80, 1, 2);
        let Patch::Pieces(pieces) = between(Some(&old), &new) else {
            panic!("it is short");
        };
        assert_eq!(pieces, [(15, 1, vec![0x80]), (5000, 2, vec![1, 2])]);
        assert!(matches!(between(None, &new), Patch::Whole(_)));
        let Patch::Pieces(pieces) = between(Some(&new), &new) else {
            panic!("nothing has changed");
        };
        assert!(pieces.is_empty());
    }
}
