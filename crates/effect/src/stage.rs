//! Putting large units together again from their parts (T8).

use super::decode::{Body, CodecError, Part};

/// Parts of a unit that is not complete yet. Parts that are not followed by their next part are
/// void everywhere: the same entries are applied in the same order by every member, so each of
/// them voids the same parts.
#[derive(Default)]
pub struct Stager {
    open: Option<Open>,
}

struct Open {
    term: u64,
    unit: u32,
    next: u32,
    n: u32,
    bytes: Vec<u8>,
}

/// What an entry adds.
pub enum Staged<'a> {
    /// Nothing to apply now.
    Nothing,
    /// Whole units, to be applied in order.
    Units(super::Units<'a>),
    /// A large unit is complete: its body.
    Whole(Vec<u8>),
}

impl Stager {
    /// Takes in the entry of `term` with this body.
    pub fn take<'a>(&mut self, term: u64, body: Body<'a>) -> Result<Staged<'a>, CodecError> {
        match body {
            Body::Empty => {
                self.open = None;
                Ok(Staged::Nothing)
            }
            Body::Units(units) => {
                self.open = None;
                Ok(Staged::Units(units))
            }
            Body::Part(part) => self.take_part(term, part),
        }
    }

    fn take_part<'a>(&mut self, term: u64, part: Part<'a>) -> Result<Staged<'a>, CodecError> {
        let Part { unit, k, n, bytes } = part;
        if k == 0 {
            self.open = Some(Open {
                term,
                unit,
                next: 0,
                n,
                bytes: Vec::new(),
            });
        }
        let follows = self
            .open
            .as_ref()
            .is_some_and(|o| (o.term, o.unit, o.next, o.n) == (term, unit, k, n) && k < n);
        if !follows {
            // All parts of a unit are proposed in one message, so in one term they are adjacent:
            // a part without its predecessor can't be met in an intact log.
            self.open = None;
            return Err(CodecError::PartOutOfOrder { k, n });
        }
        let open = self.open.as_mut().expect("it was just compared");
        open.bytes.extend_from_slice(bytes);
        open.next += 1;
        if open.next < n {
            return Ok(Staged::Nothing);
        }
        Ok(Staged::Whole(
            self.open.take().expect("it was just extended").bytes,
        ))
    }

    /// Whether the last entry taken left a unit incomplete.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }
}
