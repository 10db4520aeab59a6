//! HyperLogLogs: what changes the strings that they are, on the leader and as effects of the log.
//!
//! Owns: the effects of PFADD, PFMERGE and PFDEBUG, which are the bytes that they have come to, and of PFCOUNT.
//! Never: reads a HyperLogLog: what becomes of one depends on a directive, and each member has its own.

use super::apply::ApplyError;
use super::core::{Access, StateMachine};
use super::effects::effects;
use super::room;
use base::number::parse_i64;
use effect::Batch;
use keyspace::{Key, Scratch, Ttl};
use std::ops::Range;

effects! {
    /// `PFADD key value`, or `PFADD key [at removed bytes ...]`: pieces are replaced one after the other; the expiry stays
    43 PFADD "PFADD": read_sketch => apply_sketch;
    /// `PFCOUNT key cardinality`: eight bytes, lowest first
    44 PFCOUNT "PFCOUNT": read_count => apply_count;
}

/// Where a HyperLogLog has its cardinality.
const CARDINALITY: Range<usize> = 8..16;

/// What a HyperLogLog has become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sketch<'a> {
    Whole(&'a [u8]),
    Pieces(Vec<Piece<'a>>),
}

/// Bytes in the place of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    pub at: usize,
    pub removed: usize,
    pub bytes: &'a [u8],
}

impl StateMachine {
    /// PFADD, PFMERGE, PFDEBUG, whose outcome the caller has worked out: pieces lie within the string.
    pub fn set_sketch(&mut self, key: &Key<'_>, sketch: &Sketch<'_>) {
        self.assert_owned(PFADD, key);
        let logged = match sketch {
            Sketch::Whole(value) => self.emit(self.db, PFADD, &[key.bytes, value]),
            Sketch::Pieces(pieces) => {
                let places = pieces.iter().flat_map(|piece| [piece.at, piece.removed]);
                let places: Vec<String> = places.map(|place| place.to_string()).collect();
                let mut args = vec![key.bytes];
                for (piece, place) in pieces.iter().zip(places.chunks_exact(2)) {
                    args.extend([place[0].as_bytes(), place[1].as_bytes(), piece.bytes]);
                }
                self.emit(self.db, PFADD, &args)
            }
        };
        if !logged {
            return;
        }
        match sketch {
            Sketch::Whole(value) => self.keyspace.set_bits(self.db, key, value, Ttl::Keep),
            Sketch::Pieces(pieces) => {
                let fits = self.replace(key, pieces);
                assert!(fits, "pieces lie within the string");
            }
        }
        self.changed(self.db, key);
    }

    /// False: there is no such string, or it is shorter.
    fn replace(&mut self, key: &Key<'_>, pieces: &[Piece<'_>]) -> bool {
        let Some(len) = self.keyspace.string_len(self.db, key) else {
            return false;
        };
        let stays = |piece: &Piece<'_>| piece.removed == piece.bytes.len();
        if pieces.iter().all(stays) {
            let fits = |piece: &Piece<'_>| piece.at.checked_add(piece.removed) <= Some(len);
            if !pieces.iter().all(|piece| piece.at <= len && fits(piece)) {
                return false;
            }
            for piece in pieces {
                self.keyspace
                    .write_string(self.db, key, piece.at, piece.bytes);
            }
            return true;
        }
        let mut scratch = Scratch::default();
        let entry = self.keyspace.get(self.db, key);
        let old = entry
            .and_then(|entry| entry.string())
            .map_or(&b""[..], |string| string.text(&mut scratch));
        let mut value = old.to_vec();
        for piece in pieces {
            let end = piece.at.checked_add(piece.removed);
            let Some(end) = end.filter(|end| *end <= value.len()) else {
                return false;
            };
            value.splice(piece.at..end, piece.bytes.iter().copied());
        }
        self.keyspace.set_bits(self.db, key, &value, Ttl::Keep);
        true
    }

    /// PFCOUNT's note of what it has counted, so that the next one need not: only where it can be made at once,
    /// and nobody waits for it.
    pub fn note_count(&mut self, key: &Key<'_>, count: u64) {
        let count = count.to_le_bytes();
        let args = [key.bytes, &count];
        let bytes = Batch::size(&args) + room::COMMAND;
        let may = self.access == Access::Lead && self.writable() && self.fits(bytes);
        // M5: a lent key is not changed.
        let moves = self.is_in_motion(key.slot) || self.has_lent();
        if may && !moves && !self.footprint.hold {
            self.count_noted(key, &count);
        }
    }

    fn count_noted(&mut self, key: &Key<'_>, count: &[u8]) {
        self.assert_owned(PFCOUNT, key);
        if self.emit(self.db, PFCOUNT, &[key.bytes, count]) {
            self.keyspace
                .write_string(self.db, key, CARDINALITY.start, count);
            self.changed(self.db, key);
        }
    }
}

fn read_sketch<'a>(args: &[&'a [u8]]) -> Option<(&'a [u8], Sketch<'a>)> {
    let number = |text| usize::try_from(parse_i64(text)?).ok();
    match args {
        [key, value] => Some((key, Sketch::Whole(value))),
        [key, pieces @ ..] if pieces.len() % 3 == 0 => {
            let pieces = pieces.chunks_exact(3).map(|piece| {
                Some(Piece {
                    at: number(piece[0])?,
                    removed: number(piece[1])?,
                    bytes: piece[2],
                })
            });
            Some((key, Sketch::Pieces(pieces.collect::<Option<_>>()?)))
        }
        _ => None,
    }
}

fn apply_sketch(
    state: &mut StateMachine,
    (key, sketch): (&[u8], Sketch<'_>),
) -> Result<(), ApplyError> {
    let key = state.key(key);
    match &sketch {
        Sketch::Whole(_) => state.set_sketch(&key, &sketch),
        Sketch::Pieces(pieces) => {
            state.assert_owned(PFADD, &key);
            if !state.replace(&key, pieces) {
                return Err(ApplyError::Mismatch(PFADD));
            }
            state.changed(state.db, &key);
        }
    }
    Ok(())
}

fn read_count<'a>(args: &[&'a [u8]]) -> Option<(&'a [u8], &'a [u8])> {
    match args {
        [key, count] if count.len() == CARDINALITY.len() => Some((key, count)),
        _ => None,
    }
}

fn apply_count(state: &mut StateMachine, (key, count): (&[u8], &[u8])) -> Result<(), ApplyError> {
    let key = state.key(key);
    let len = state.keyspace.string_len(state.db, &key);
    if len < Some(CARDINALITY.end) {
        return Err(ApplyError::Mismatch(PFCOUNT));
    }
    state.count_noted(&key, count);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effects_of_another_form_are_refused() {
        for args in [
            &[][..],
            &[&b"k"[..], b"1", b"x", b""],
            &[b"k", b"-1", b"0", b"v"],
            &[b"k", b"1", b"0", b"v", b"1"],
        ] {
            assert!(read_sketch(args).is_none());
        }
        assert_eq!(
            read_sketch(&[b"k"]),
            Some((&b"k"[..], Sketch::Pieces(vec![])))
        );
        assert!(read_count(&[b"k", b"1234567"]).is_none());
    }
}
