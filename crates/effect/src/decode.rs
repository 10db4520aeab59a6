//! The reading side: from an entry's body back to units and effects.
//!
//! Decoding is total: any bytes give effects or a typed error, and nothing is trusted before it
//! has been measured against what is left.

use super::{Op, KIND_BATCH, KIND_PART};

/// Why an entry's body can't be read. A member that meets one stops (it never skips an entry).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    #[error("the entry's kind {0} is not known to this version")]
    UnknownKind(u8),
    #[error("the entry ends in the middle of a field")]
    Truncated,
    #[error("a number in the entry does not fit its field")]
    Overflow,
    #[error("part {k} of {n} does not follow what came before it")]
    PartOutOfOrder { k: u32, n: u32 },
}

/// What a normal entry holds.
#[derive(Debug)]
pub enum Body<'a> {
    /// Raft's own empty entry of a new term.
    Empty,
    Units(Units<'a>),
    Part(Part<'a>),
}

/// One part of a large unit (T8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    pub unit: u32,
    pub k: u32,
    pub n: u32,
    pub bytes: &'a [u8],
}

/// Reads the body of a normal entry.
pub fn parse_entry(data: &[u8]) -> Result<Body<'_>, CodecError> {
    let Some((&kind, rest)) = data.split_first() else {
        return Ok(Body::Empty);
    };
    match kind {
        KIND_BATCH => Ok(Body::Units(Units { rest })),
        KIND_PART => {
            let mut at = rest;
            let (unit, k, n) = (take_u32(&mut at)?, take_u32(&mut at)?, take_u32(&mut at)?);
            Ok(Body::Part(Part {
                unit,
                k,
                n,
                bytes: at,
            }))
        }
        other => Err(CodecError::UnknownKind(other)),
    }
}

/// The units of a batch, in order.
#[derive(Clone, Debug)]
pub struct Units<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Units<'a> {
    type Item = Result<Unit<'a>, CodecError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let unit = take_u32(&mut self.rest).and_then(|len| take(&mut self.rest, len as usize));
        if unit.is_err() {
            self.rest = &[];
        }
        Some(unit.map(Unit::new))
    }
}

/// One unit: its effects, in order.
#[derive(Clone, Debug)]
pub struct Unit<'a> {
    rest: &'a [u8],
}

impl<'a> Unit<'a> {
    /// A unit from its body (as staged from parts, or as found in a batch).
    pub fn new(body: &'a [u8]) -> Unit<'a> {
        Unit { rest: body }
    }

    /// The first argument of the first effect: a key, where the effect changes one.
    pub fn first_argument(&self) -> Option<&'a [u8]> {
        let (_, mut rest) = self.rest.split_first()?;
        let argc = take_varint(&mut rest).ok()?;
        let len = take_varint(&mut rest).ok().filter(|_| argc > 0)?;
        take(&mut rest, usize::try_from(len).ok()?).ok()
    }

    /// Reads the next effect into `effect`, whose memory is used again; false at the end.
    pub fn next_into(&mut self, effect: &mut Effect<'a>) -> Result<bool, CodecError> {
        effect.args.clear();
        let Some((&number, rest)) = self.rest.split_first() else {
            return Ok(false);
        };
        self.rest = rest;
        effect.op = Op::numbered(number);
        let argc = take_varint(&mut self.rest)?;
        for _ in 0..argc {
            let len =
                usize::try_from(take_varint(&mut self.rest)?).map_err(|_| CodecError::Overflow)?;
            effect.args.push(take(&mut self.rest, len)?);
        }
        Ok(true)
    }
}

/// One effect: a command and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect<'a> {
    pub op: Op,
    pub args: Vec<&'a [u8]>,
}

impl Default for Effect<'_> {
    fn default() -> Self {
        Effect {
            op: Op::SELECT,
            args: Vec::new(),
        }
    }
}

fn take<'a>(from: &mut &'a [u8], len: usize) -> Result<&'a [u8], CodecError> {
    if from.len() < len {
        return Err(CodecError::Truncated);
    }
    let (head, tail) = from.split_at(len);
    *from = tail;
    Ok(head)
}

fn take_u32(from: &mut &[u8]) -> Result<u32, CodecError> {
    let bytes = take(from, 4)?;
    Ok(u32::from_le_bytes(
        bytes.try_into().expect("four bytes were taken"),
    ))
}

fn take_varint(from: &mut &[u8]) -> Result<u64, CodecError> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = take(from, 1)?[0];
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return Err(CodecError::Overflow);
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(CodecError::Overflow)
}

#[cfg(test)]
mod tests {
    use super::super::{Batch, PART_BYTES};
    use super::*;
    use proptest::prelude::*;

    type Plain = Vec<(Op, Vec<Vec<u8>>)>;

    fn plain(body: &[u8]) -> Result<Plain, CodecError> {
        let (mut unit, mut effect) = (Unit::new(body), Effect::default());
        let mut out = Vec::new();
        while unit.next_into(&mut effect)? {
            out.push((effect.op, effect.args.iter().map(|a| a.to_vec()).collect()));
        }
        Ok(out)
    }

    #[test]
    fn an_empty_unit_leaves_no_trace() {
        let mut batch = Batch::new(PART_BYTES);
        batch.begin_unit();
        assert!(batch.unit_is_empty());
        assert!(!batch.end_unit());
        assert!(batch.is_empty());
        assert!(batch.take().is_empty());
    }

    #[test]
    fn another_database_is_selected_inside_the_unit() {
        let mut batch = Batch::new(PART_BYTES);
        batch.begin_unit();
        batch.push(3, Op::numbered(3), &[b"k"]);
        batch.push(3, Op::numbered(3), &[b"l"]);
        assert!(batch.end_unit());
        let bodies = batch.take();
        let Ok(Body::Units(mut units)) = parse_entry(&bodies[0]) else {
            panic!("a batch")
        };
        let unit = units.next().expect("one unit").expect("readable");
        let effects = plain(unit.rest).expect("readable");
        assert_eq!(effects[0], (Op::SELECT, vec![b"3".to_vec()]));
        assert_eq!(effects.len(), 3);
    }

    #[test]
    fn a_large_unit_becomes_parts_between_the_units_around_it() {
        let mut batch = Batch::new(PART_BYTES);
        let big = vec![7u8; 2 * PART_BYTES + 5];
        for value in [&b"small"[..], &big, b"after"] {
            batch.begin_unit();
            batch.push(0, Op::numbered(2), &[b"k", value]);
            assert!(batch.end_unit());
        }
        let bodies = batch.take();
        assert_eq!(bodies.len(), 5);
        let mut whole = Vec::new();
        for (i, body) in bodies[1..4].iter().enumerate() {
            let Ok(Body::Part(part)) = parse_entry(body) else {
                panic!("a part")
            };
            assert_eq!((part.unit, part.k as usize, part.n), (0, i, 3));
            whole.extend_from_slice(part.bytes);
        }
        let effects = plain(&whole).expect("readable");
        assert_eq!(effects, vec![(Op::numbered(2), vec![b"k".to_vec(), big])]);
        assert!(batch.is_empty());
    }

    /// Around the limit, and with it reached inside and between effects.
    #[test]
    fn a_unit_is_cut_where_it_passes_the_limit() {
        for size in PART_BYTES - 24..PART_BYTES + 4 {
            let value = vec![7u8; size];
            let mut batch = Batch::new(PART_BYTES);
            batch.begin_unit();
            batch.push(0, Op::numbered(3), &[b"first"]);
            batch.push(0, Op::numbered(2), &[b"k", &value]);
            batch.push(0, Op::numbered(3), &[b"last"]);
            let unit = 2 + 6 + (2 + 2 + 3 + size) + 2 + 5;
            assert!(!batch.unit_is_empty());
            assert!(batch.end_unit());
            let len = batch.len();
            let bodies = batch.take();
            assert_eq!(len, bodies.iter().map(Vec::len).sum::<usize>());
            let whole = if unit <= PART_BYTES {
                let Ok(Body::Units(mut units)) = parse_entry(&bodies[0]) else {
                    panic!("{unit} bytes are no large unit")
                };
                units
                    .next()
                    .expect("one unit")
                    .expect("readable")
                    .rest
                    .to_vec()
            } else {
                assert_eq!(bodies.len(), 2);
                let parts = bodies.iter().map(|body| match parse_entry(body) {
                    Ok(Body::Part(part)) => part.bytes,
                    _ => panic!("{unit} bytes are a large unit"),
                });
                parts.collect::<Vec<_>>().concat()
            };
            assert_eq!(whole.len(), unit);
            let effects = plain(&whole).expect("readable");
            assert_eq!(effects.len(), 3);
            assert_eq!(effects[1].1[1], value);
        }
    }

    proptest! {
        #[test]
        fn units_round_trip(units in proptest::collection::vec(
            proptest::collection::vec(
                (any::<u8>(), proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..4)),
                1..5),
            1..8)) {
            let mut batch = Batch::new(PART_BYTES);
            for unit in &units {
                batch.begin_unit();
                for (op, args) in unit {
                    let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
                    batch.push(0, Op::numbered(*op), &args);
                }
                batch.end_unit();
            }
            let bodies = batch.take();
            prop_assert_eq!(bodies.len(), 1);
            let Ok(Body::Units(read)) = parse_entry(&bodies[0]) else { panic!("a batch") };
            let read: Vec<Plain> =
                read.map(|u| plain(u.expect("a unit").rest).expect("effects")).collect();
            let wanted: Vec<Plain> = units.into_iter().map(|u| u.into_iter()
                .map(|(op, args)| (Op::numbered(op), args)).collect()).collect();
            prop_assert_eq!(read, wanted);
        }

        #[test]
        fn any_bytes_give_effects_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(Body::Units(units)) = parse_entry(&bytes) {
                for unit in units.flatten() {
                    let _ = plain(unit.rest);
                }
            }
        }
    }
}
