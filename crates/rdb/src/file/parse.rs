//! One element of a file: an opcode and what belongs to it, or a key with its value.
//!
//! Owns: [`parse`], which finds an element at the beginning of bytes. Never: keeps anything, makes a string.
//!
//! Bytes of a file come in slices that end anywhere, so that an element is looked for again and again until all of
//! it has come: to look costs no more than a walk over a few lengths.

use super::error::Place;
use super::names::{module_name, type_name, MODULE, MODULE_PRE_GA};
use super::{opcode, Fault, MAGIC, READ, VERSION_DIGITS};
use crate::decode::Raw;
use crate::parts::{Part, Parts};
use crate::{Decoder, Type, ValueError};

/// Strings of this length and longer are gathered on their own.
pub(super) const LARGE_MIN: usize = 1 << 16;
/// A compressed key is shown in an error if it is not longer.
const KEY_MAX: usize = 1 << 12;
const SLOTS: u64 = 1 << 14;

/// Where a reader is in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Header,
    Items,
    /// In a value with elements.
    Parts(Parts),
    /// Behind the opcode of the end.
    Checksum,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Element<'a> {
    Item(Whole<'a>),
    ExpiresAtMs(i64),
    IdleSeconds(u64),
    Frequency(u8),
    /// The key and the beginning of a long value, and the value's length.
    Large(Raw<'a>, &'a [u8], usize),
    End,
    Checksum(u64),
}

/// An element that is an item.
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
    /// The key of a value with elements.
    Begin(Raw<'a>, Parts),
    Part(Part<'a>),
    /// No part is left.
    Finish,
}

/// Why there is no element.
#[derive(Debug)]
pub(super) enum Stop {
    /// So many bytes more belong to it at least; and where it stands.
    Missing(usize, Place),
    Wrong(Place, Fault),
}

/// The element at the beginning of `bytes`, and its length. The place of a `Stop` has no offset.
pub(super) fn parse(
    section: Section,
    bytes: &[u8],
    limit: usize,
) -> Result<(Element<'_>, usize), Stop> {
    let nothing = &mut || {};
    let mut parser = Parser {
        from: Decoder::new(bytes, limit, nothing),
        place: Place::default(),
    };
    let element = match section {
        Section::Header => parser.header(),
        Section::Items => parser.item(),
        Section::Parts(parts) => parser.part(parts),
        Section::Checksum => parser.checksum(),
    };
    match element {
        Ok(element) => Ok((element, bytes.len() - parser.from.rest().len())),
        Err(Fault::Value(ValueError::Short)) => {
            Err(Stop::Missing(parser.from.missing(), parser.place))
        }
        Err(fault) => Err(Stop::Wrong(parser.place, fault)),
    }
}

struct Parser<'a, 'p> {
    from: Decoder<'a, 'p>,
    /// What is known of the element so far.
    place: Place,
}

impl From<ValueError> for Fault {
    fn from(why: ValueError) -> Fault {
        Fault::Value(why)
    }
}

impl<'a> Parser<'a, '_> {
    fn header(&mut self) -> Result<Element<'a>, Fault> {
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
        Ok(Element::Item(Whole::Version(version)))
    }

    fn checksum(&mut self) -> Result<Element<'a>, Fault> {
        self.place.opcode = Some(opcode::EOF);
        Ok(Element::Checksum(u64::from_le_bytes(self.from.array()?)))
    }

    fn item(&mut self) -> Result<Element<'a>, Fault> {
        let first = self.from.byte()?;
        if type_name(first).is_some() {
            self.place.kind = Some(first);
            return self.entry(first);
        }
        self.place.opcode = Some(first);
        Ok(match first {
            opcode::AUX => Element::Item(Whole::Aux(self.from.raw()?, self.from.raw()?)),
            opcode::SELECTDB => Element::Item(Whole::Db(self.from.length()?)),
            opcode::RESIZEDB => {
                Element::Item(Whole::Sizes(self.from.length()?, self.from.length()?))
            }
            opcode::SLOT_INFO => self.slot()?,
            opcode::FUNCTION2 => Element::Item(Whole::Function(self.from.raw()?)),
            opcode::EXPIRETIME_MS => Element::ExpiresAtMs(i64::from_le_bytes(self.from.array()?)),
            opcode::EXPIRETIME => {
                let seconds = i32::from_le_bytes(self.from.array()?);
                Element::ExpiresAtMs(i64::from(seconds) * 1000)
            }
            opcode::IDLE => Element::IdleSeconds(self.from.length()?),
            opcode::FREQ => Element::Frequency(self.from.byte()?),
            opcode::EOF => Element::End,
            opcode::FUNCTION_PRE_GA => return Err(Fault::FunctionOfCandidate),
            opcode::MODULE_AUX => return Err(self.module()?),
            _ => return Err(Fault::Opcode(first)),
        })
    }

    fn slot(&mut self) -> Result<Element<'a>, Fault> {
        let slot = self.from.length()?;
        let known = u16::try_from(slot).ok().filter(|_| slot < SLOTS);
        let known = known.ok_or(Fault::Slot(slot))?;
        Ok(Element::Item(Whole::Slot(
            known,
            self.from.length()?,
            self.from.length()?,
        )))
    }

    fn module(&mut self) -> Result<Fault, Fault> {
        Ok(Fault::Module(module_name(self.from.length()?)))
    }

    fn entry(&mut self, kind: u8) -> Result<Element<'a>, Fault> {
        let key = self.from.raw()?;
        let value = match Type::numbered(kind) {
            Some(Type::String) => self.string(key),
            Some(kind) => match Parts::begin(kind, &mut self.from) {
                Ok(parts) => Ok(Element::Item(Whole::Begin(key, parts))),
                Err(why) => Err(why.into()),
            },
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

    fn part(&mut self, parts: Parts) -> Result<Element<'a>, Fault> {
        self.place.kind = Some(parts.kind().number());
        Ok(Element::Item(match parts.is_over() {
            true => Whole::Finish,
            false => Whole::Part(parts.part(&mut self.from)?),
        }))
    }

    /// A string's value. Gathered among the bytes of its element, a long value would be copied as a whole when
    /// its last byte has come: it is gathered on its own from the first one on.
    fn string(&mut self, key: Raw<'a>) -> Result<Element<'a>, Fault> {
        let at_value = self.from.rest();
        let why = match self.from.raw() {
            Ok(value) => return Ok(Element::Item(Whole::String(key, value))),
            Err(why) => why,
        };
        if why == ValueError::Short {
            if let Some(length) = self.plain_length(at_value) {
                if length >= LARGE_MIN {
                    let there = self.from.rest();
                    self.from.bytes(there.len())?;
                    return Ok(Element::Large(key, there, length));
                }
            }
        }
        Err(why.into())
    }

    /// The length of a plain string of which form and length are there, but not all bytes.
    fn plain_length(&mut self, at: &'a [u8]) -> Option<usize> {
        let head = at.len() - self.from.rest().len();
        let nothing = &mut || {};
        // What was read of it is its head.
        let head = at.get(..head).filter(|head| !head.is_empty())?;
        Decoder::new(head, usize::MAX, nothing).plain_length()
    }

    fn name(&mut self, key: Raw<'a>) {
        self.place.key = shown(key);
    }
}

/// As much of a key as an error shows; none if it is too long to be made for that.
pub(super) fn shown(key: Raw<'_>) -> Option<Vec<u8>> {
    if matches!(key, Raw::Compressed(_, length) if length > KEY_MAX) {
        return None;
    }
    let key = key.text(&mut || {}).ok()?;
    Place::default().with_key(&key).key
}
