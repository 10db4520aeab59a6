//! One unit of a file: what stands behind one opcode, or one key with its value.
//!
//! Owns: [`parse`], which finds a unit at the beginning of bytes. Never: keeps anything, makes a string. A unit
//! of which not all bytes are there is looked for again when more have come: until then it costs a walk over
//! a few lengths.

use super::error::Place;
use super::names::{module_name, type_name, MODULE, MODULE_PRE_GA};
use super::{opcode, Fault, MAGIC, READ, VERSION_DIGITS};
use crate::decode::Raw;
use crate::{Decoder, Type, ValueError};

/// Strings of this length and longer are gathered on their own.
pub(super) const LARGE_MIN: usize = 1 << 16;
/// A compressed key is shown in an error if it is not longer.
const KEY_MAX: usize = 1 << 12;
const SLOTS: u64 = 1 << 14;

/// Where a reader is in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Header,
    Items,
    /// Behind the opcode of the end.
    Checksum,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Unit<'a> {
    Item(Whole<'a>),
    ExpiresAtMs(i64),
    IdleSeconds(u64),
    Frequency(u8),
    /// The key and the beginning of a long value, and the value's length.
    Large(Raw<'a>, &'a [u8], usize),
    End,
    Checksum(u64),
}

/// A unit that is an item.
#[derive(Clone, Copy, Debug)]
pub(super) enum Whole<'a> {
    Version(u16),
    Aux(Raw<'a>, Raw<'a>),
    Db(u64),
    Sizes(u64, u64),
    Slot(u16, u64, u64),
    Function(Raw<'a>),
    /// Key and value.
    String(Raw<'a>, Raw<'a>),
}

/// Why there is no unit.
#[derive(Debug)]
pub(super) enum Stop {
    /// So many bytes more belong to it at least; and where it stands.
    Missing(usize, Place),
    Wrong(Place, Fault),
}

/// The unit at the beginning of `bytes`, and its length. The place of a `Stop` has no offset.
pub(super) fn parse(part: Part, bytes: &[u8], limit: usize) -> Result<(Unit<'_>, usize), Stop> {
    let nothing = &mut || {};
    let mut parser = Parser {
        from: Decoder::new(bytes, limit, nothing),
        place: Place::default(),
    };
    let unit = match part {
        Part::Header => parser.header(),
        Part::Items => parser.item(),
        Part::Checksum => parser.checksum(),
    };
    match unit {
        Ok(unit) => Ok((unit, bytes.len() - parser.from.rest().len())),
        Err(Fault::Value(ValueError::Short)) => {
            Err(Stop::Missing(parser.from.missing(), parser.place))
        }
        Err(fault) => Err(Stop::Wrong(parser.place, fault)),
    }
}

struct Parser<'a, 'p> {
    from: Decoder<'a, 'p>,
    /// What is known of the unit so far.
    place: Place,
}

impl From<ValueError> for Fault {
    fn from(why: ValueError) -> Fault {
        Fault::Value(why)
    }
}

impl<'a> Parser<'a, '_> {
    fn header(&mut self) -> Result<Unit<'a>, Fault> {
        // A file of another kind is known by its first bytes, however short it is.
        let there = self.from.rest();
        let same = there.iter().zip(MAGIC).all(|(byte, want)| byte == want);
        if !same {
            return Err(Fault::Magic);
        }
        self.from.bytes(MAGIC.len())?;
        let digits: [u8; VERSION_DIGITS] = self.from.array()?;
        let mut version = 0;
        for digit in digits {
            if !digit.is_ascii_digit() {
                return Err(Fault::Magic);
            }
            version = version * 10 + u16::from(digit - b'0');
        }
        if !READ.contains(&version) {
            return Err(Fault::Version(version));
        }
        Ok(Unit::Item(Whole::Version(version)))
    }

    fn checksum(&mut self) -> Result<Unit<'a>, Fault> {
        self.place.opcode = Some(opcode::EOF);
        Ok(Unit::Checksum(u64::from_le_bytes(self.from.array()?)))
    }

    fn item(&mut self) -> Result<Unit<'a>, Fault> {
        let first = self.from.byte()?;
        if type_name(first).is_some() {
            self.place.kind = Some(first);
            return self.entry(first);
        }
        self.place.opcode = Some(first);
        Ok(match first {
            opcode::AUX => Unit::Item(Whole::Aux(self.from.raw()?, self.from.raw()?)),
            opcode::SELECTDB => Unit::Item(Whole::Db(self.from.length()?)),
            opcode::RESIZEDB => Unit::Item(Whole::Sizes(self.from.length()?, self.from.length()?)),
            opcode::SLOT_INFO => self.slot()?,
            opcode::FUNCTION2 => Unit::Item(Whole::Function(self.from.raw()?)),
            opcode::EXPIRETIME_MS => Unit::ExpiresAtMs(i64::from_le_bytes(self.from.array()?)),
            opcode::EXPIRETIME => {
                let seconds = i32::from_le_bytes(self.from.array()?);
                Unit::ExpiresAtMs(i64::from(seconds) * 1000)
            }
            opcode::IDLE => Unit::IdleSeconds(self.from.length()?),
            opcode::FREQ => Unit::Frequency(self.from.byte()?),
            opcode::EOF => Unit::End,
            opcode::FUNCTION_PRE_GA => return Err(Fault::FunctionOfCandidate),
            opcode::MODULE_AUX => return Err(self.module()?),
            _ => return Err(Fault::Opcode(first)),
        })
    }

    fn slot(&mut self) -> Result<Unit<'a>, Fault> {
        let slot = self.from.length()?;
        let known = u16::try_from(slot).ok().filter(|_| slot < SLOTS);
        let known = known.ok_or(Fault::Slot(slot))?;
        Ok(Unit::Item(Whole::Slot(
            known,
            self.from.length()?,
            self.from.length()?,
        )))
    }

    fn module(&mut self) -> Result<Fault, Fault> {
        Ok(Fault::Module(module_name(self.from.length()?)))
    }

    fn entry(&mut self, kind: u8) -> Result<Unit<'a>, Fault> {
        let key = self.from.raw()?;
        let value = match Type::numbered(kind) {
            Some(Type::String) => self.string(key),
            None if [MODULE, MODULE_PRE_GA].contains(&kind) => Err(match self.module() {
                Ok(fault) | Err(fault) => fault,
            }),
            None => Err(Fault::Type),
        };
        if value.is_err() {
            self.name(key);
        }
        value
    }

    /// A string's value. The place of a long one of which not all has come would be in memory twice: here,
    /// and where it goes. It is gathered there at once.
    fn string(&mut self, key: Raw<'a>) -> Result<Unit<'a>, Fault> {
        let at_value = self.from.rest();
        let why = match self.from.raw() {
            Ok(value) => return Ok(Unit::Item(Whole::String(key, value))),
            Err(why) => why,
        };
        if why == ValueError::Short {
            if let Some(length) = self.plain_length(at_value) {
                if length >= LARGE_MIN {
                    let there = self.from.rest();
                    self.from.bytes(there.len())?;
                    return Ok(Unit::Large(key, there, length));
                }
            }
        }
        Err(why.into())
    }

    /// The length of a plain string whose form and length are there, but not all of its bytes.
    fn plain_length(&mut self, at: &'a [u8]) -> Option<usize> {
        let head = at.len() - self.from.rest().len();
        let nothing = &mut || {};
        // What was read of it is its head.
        let head = at.get(..head).filter(|head| !head.is_empty())?;
        Decoder::new(head, usize::MAX, nothing).plain_length()
    }

    fn name(&mut self, key: Raw<'a>) {
        if matches!(key, Raw::Compressed(_, length) if length > KEY_MAX) {
            return;
        }
        if let Ok(key) = key.text(&mut || {}) {
            self.place = std::mem::take(&mut self.place).with_key(&key);
        }
    }
}
