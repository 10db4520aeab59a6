//! Reading files.
//!
//! Owns: [`Reader`]. Never: does I/O; it is given a file in slices of any size. Invariants: total. What it
//! keeps is the one item of which not all has come: at most three times its bytes (while they move to a
//! larger place), and what a compressed string stands for; no length is believed before its bytes have come.
//! Of a value with elements each piece is an item. A value that lies in one slice is not copied; a long one that came in several is handed over.

use super::error::Place;
use super::parse::{parse, shown, Element, Section, Stop, Whole};
use super::{opcode, Begin, End, Entry, Fault, FileError, Head, Item, CHECKSUM_SINCE, NEVER};
use crate::crc64::crc64;
use crate::decode::Raw;
use crate::{Type, PACE_BYTES};
use std::borrow::Cow;

/// Room for pieces of items that is kept from one to the next.
const KEPT_MAX: usize = 1 << 20;

/// Reads a file, slice by slice. After an error it is of no more use.
pub struct Reader {
    /// No string may be longer.
    limit: usize,
    state: State,
    /// Of what is behind: its length, its checksum, the version that it begins with.
    offset: u64,
    sum: u64,
    version: u16,
    /// What opcodes said of the key that follows.
    about: About,
    /// The key of the value with elements that is read, as an error shows it.
    shown: Option<Vec<u8>>,
    /// The bytes of an element of which not all have come.
    pending: Vec<u8>,
    /// They are an item that the caller has.
    lent: bool,
}

enum State {
    At(Section),
    /// In a long value.
    Large(Large),
    /// All has come; the end and its checksum are not told yet.
    Ending(Option<u64>),
    Ended,
}

#[derive(Clone, Copy, Default)]
struct About {
    expires_at_ms: Option<i64>,
    idle_seconds: Option<u64>,
    frequency: Option<u8>,
}

/// A long value while it comes.
struct Large {
    offset: u64,
    key: Vec<u8>,
    value: Vec<u8>,
    length: usize,
}

/// What came of looking for an element.
enum Step<'i> {
    /// All of the slice is used up.
    Wait,
    /// An element that is no item.
    Passed,
    /// An item that lies in the caller's slice.
    Here(Whole<'i>),
    /// An item that lies in `pending`.
    Pending,
    Large(Large),
    End(End),
}

impl Reader {
    /// No string may be longer than `limit`.
    pub fn new(limit: usize) -> Reader {
        Reader {
            limit,
            state: State::At(Section::Header),
            offset: 0,
            sum: 0,
            version: 0,
            about: About::default(),
            shown: None,
            pending: Vec::new(),
            lent: false,
        }
    }

    /// The next item; its bytes are taken off the front of `input`. None: all of `input` was taken, and more
    /// is needed unless the file has ended. Bytes behind the end are refused, and stay where they are.
    pub fn next<'r, 'i: 'r>(
        &'r mut self,
        input: &mut &'i [u8],
        pace: &mut dyn FnMut(),
    ) -> Result<Option<Item<'r>>, FileError> {
        if std::mem::take(&mut self.lent) {
            self.pending.clear();
            self.pending.shrink_to(KEPT_MAX);
        }
        let (step, section, offset) = loop {
            let (section, offset) = (self.section(), self.offset);
            match self.step(section, input, pace)? {
                Step::Passed => {}
                step => break (step, section, offset),
            }
        };
        let whole = match step {
            Step::Wait | Step::Passed => return Ok(None),
            Step::End(end) => return Ok(Some(Item::End(end))),
            Step::Large(large) => {
                let about = std::mem::take(&mut self.about);
                let (key, value) = (Cow::Owned(large.key), Cow::Owned(large.value));
                return Ok(Some(entry(key, value, about)));
            }
            Step::Here(whole) => whole,
            Step::Pending => {
                self.lent = true;
                match parse(section, &self.pending, self.limit) {
                    Ok((Element::Item(whole), _)) => whole,
                    _ => unreachable!("the same bytes are the same item"),
                }
            }
        };
        let about = match whole {
            Whole::String(..) | Whole::Begin(..) => std::mem::take(&mut self.about),
            _ => About::default(),
        };
        let item = item(whole, about, offset, pace);
        item.map(Some).map_err(|error| match section {
            Section::Parts(_) => FileError {
                place: Place {
                    offset,
                    ..self.place_in(section)
                },
                ..error
            },
            _ => error,
        })
    }

    /// No more bytes come: whether the file has ended.
    pub fn finish(&self) -> Result<(), FileError> {
        let pending = if self.lent { &[] } else { &self.pending[..] };
        let place = match &self.state {
            State::Ending(_) | State::Ended => return Ok(()),
            State::Large(large) => large.place(),
            State::At(section) => match parse(*section, pending, self.limit) {
                Err(stop) => self.error_of(stop).place,
                Ok(_) => Place::at(self.offset),
            },
        };
        Err(FileError {
            place,
            fault: Fault::Short,
        })
    }

    /// How many bytes of the file are behind, but for those of an item of which not all has come.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The checksum of the bytes up to [`Reader::offset`].
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// Where an element of this section stands, but for its offset.
    fn place_in(&self, section: Section) -> Place {
        match section {
            Section::Parts(parts) => Place {
                kind: Some(parts.kind().number()),
                key: self.shown.clone(),
                ..Place::default()
            },
            _ => Place::default(),
        }
    }

    fn error_of(&self, stop: Stop) -> FileError {
        let (place, fault) = match stop {
            Stop::Missing(_, place) => (place, Fault::Short),
            Stop::Wrong(place, fault) => (place, fault),
        };
        let key = place.key.or_else(|| self.place_in(self.section()).key);
        let offset = self.offset;
        let place = Place {
            offset,
            key,
            ..place
        };
        FileError { place, fault }
    }

    fn section(&self) -> Section {
        match self.state {
            State::At(section) => section,
            State::Large(_) | State::Ending(_) | State::Ended => Section::Items,
        }
    }
}

/// Looking for elements.
impl Reader {
    fn step<'i>(
        &mut self,
        section: Section,
        input: &mut &'i [u8],
        pace: &mut dyn FnMut(),
    ) -> Result<Step<'i>, FileError> {
        match self.state {
            State::At(_) => {}
            State::Large(_) => return Ok(self.gather(input)),
            State::Ending(checksum) => {
                self.state = State::Ended;
                return Ok(Step::End(End {
                    length: self.offset,
                    checksum,
                }));
            }
            State::Ended if input.is_empty() => return Ok(Step::Wait),
            State::Ended => {
                let place = Place::at(self.offset);
                let fault = Fault::Behind;
                return Err(FileError { place, fault });
            }
        }
        if !self.pending.is_empty() {
            return self.step_pending(section, input, pace);
        }
        let (element, length) = match parse(section, input, self.limit) {
            Ok(found) => found,
            Err(Stop::Missing(..)) => {
                self.pending.extend_from_slice(std::mem::take(input));
                return Ok(Step::Wait);
            }
            Err(stop) => return Err(self.error_of(stop)),
        };
        let (bytes, rest) = input.split_at(length);
        *input = rest;
        let whole = self.passed(element, bytes, pace)?;
        Ok(whole.map_or(Step::Passed, Step::Here))
    }

    /// The element of which the first bytes are pending.
    fn step_pending<'i>(
        &mut self,
        section: Section,
        input: &mut &'i [u8],
        pace: &mut dyn FnMut(),
    ) -> Result<Step<'i>, FileError> {
        loop {
            let missing = match parse(section, &self.pending, self.limit) {
                Ok(_) => break,
                Err(Stop::Missing(missing, _)) => missing,
                Err(stop) => return Err(self.error_of(stop)),
            };
            // No more than belongs to the element.
            let (bytes, rest) = input.split_at(missing.min(input.len()));
            self.pending.extend_from_slice(bytes);
            *input = rest;
            if bytes.len() < missing {
                return Ok(Step::Wait);
            }
        }
        let pending = std::mem::take(&mut self.pending);
        let is_item = match parse(section, &pending, self.limit) {
            Ok((element, _)) => self
                .passed(element, &pending, pace)
                .map(|whole| whole.is_some()),
            Err(stop) => Err(self.error_of(stop)),
        };
        self.pending = pending;
        if is_item? {
            return Ok(Step::Pending);
        }
        self.pending.clear();
        Ok(Step::Passed)
    }

    /// An element has come whole; what it is, if it is an item.
    fn passed<'u>(
        &mut self,
        element: Element<'u>,
        bytes: &[u8],
        pace: &mut dyn FnMut(),
    ) -> Result<Option<Whole<'u>>, FileError> {
        let (offset, sum) = (self.offset, self.sum);
        self.pass(bytes, pace);
        match element {
            Element::ExpiresAtMs(at) => self.about.expires_at_ms = (at != NEVER).then_some(at),
            Element::IdleSeconds(seconds) => self.about.idle_seconds = Some(seconds),
            Element::Frequency(frequency) => self.about.frequency = Some(frequency),
            Element::Large(key, there, length) => {
                let place = Place::of_entry(offset, Type::String);
                let key = text(key, &place, pace)?.into_owned();
                let value = there.to_vec();
                self.state = State::Large(Large {
                    offset,
                    key,
                    value,
                    length,
                });
            }
            Element::End if self.version < CHECKSUM_SINCE => self.state = State::Ending(None),
            Element::End => self.state = State::At(Section::Checksum),
            Element::Checksum(found) => self.checksum(found, sum, offset)?,
            Element::Item(whole) => {
                self.pass_item(whole);
                return Ok(Some(whole));
            }
        }
        Ok(None)
    }

    fn pass_item(&mut self, whole: Whole<'_>) {
        let section = match (whole, self.section()) {
            (Whole::Version(version), _) => {
                self.version = version;
                Section::Items
            }
            (Whole::Begin(key, parts), _) => {
                self.shown = shown(key);
                Section::Parts(parts)
            }
            (Whole::Part(_), Section::Parts(parts)) => Section::Parts(parts.behind_one()),
            (Whole::Finish, _) => Section::Items,
            (_, section) => section,
        };
        self.state = State::At(section);
    }

    fn checksum(&mut self, found: u64, computed: u64, offset: u64) -> Result<(), FileError> {
        if found != 0 && found != computed {
            let mut place = Place::at(offset);
            place.opcode = Some(opcode::EOF);
            let fault = Fault::Checksum { found, computed };
            return Err(FileError { place, fault });
        }
        self.state = State::Ending((found != 0).then_some(found));
        Ok(())
    }

    /// More of a long value.
    fn gather<'i>(&mut self, input: &mut &'i [u8]) -> Step<'i> {
        let State::Large(large) = &mut self.state else {
            return Step::Passed;
        };
        let missing = large.length - large.value.len();
        let (bytes, rest) = input.split_at(missing.min(input.len()));
        *input = rest;
        large.push(bytes);
        self.pass(bytes, &mut || {});
        if bytes.len() < missing {
            return Step::Wait;
        }
        match std::mem::replace(&mut self.state, State::At(Section::Items)) {
            State::Large(large) => Step::Large(large),
            _ => Step::Passed,
        }
    }

    fn pass(&mut self, bytes: &[u8], pace: &mut dyn FnMut()) {
        self.offset += length(bytes);
        for part in bytes.chunks(PACE_BYTES) {
            self.sum = crc64(self.sum, part);
            if part.len() == PACE_BYTES {
                pace();
            }
        }
    }
}

impl Large {
    /// Its place grows by doubling, and never beyond what it needs.
    fn push(&mut self, bytes: &[u8]) {
        let needed = self.value.len() + bytes.len();
        if needed > self.value.capacity() {
            let room = needed.max(2 * self.value.capacity()).min(self.length);
            self.value.reserve_exact(room - self.value.len());
        }
        self.value.extend_from_slice(bytes);
    }

    fn place(&self) -> Place {
        Place::of_entry(self.offset, Type::String).with_key(&self.key)
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).expect("a usize fits")
}

fn text<'a>(
    raw: Raw<'a>,
    place: &Place,
    pace: &mut dyn FnMut(),
) -> Result<Cow<'a, [u8]>, FileError> {
    raw.text(pace).map_err(|why| FileError {
        place: place.clone(),
        fault: why.into(),
    })
}

/// The item; its strings are made only now.
fn item<'a>(
    whole: Whole<'a>,
    about: About,
    offset: u64,
    pace: &mut dyn FnMut(),
) -> Result<Item<'a>, FileError> {
    let mut place = Place::at(offset);
    Ok(match whole {
        Whole::Version(version) => Item::Version(version),
        Whole::Aux(name, value) => {
            place.opcode = Some(opcode::AUX);
            let name = text(name, &place, pace)?;
            let value = text(value, &place, pace)?;
            Item::Aux { name, value }
        }
        Whole::Db(db) => Item::Db(db),
        Whole::Sizes(keys, expires) => Item::Sizes { keys, expires },
        Whole::Slot(slot, keys, expires) => Item::Slot {
            slot,
            keys,
            expires,
        },
        Whole::Function(source) => {
            place.opcode = Some(opcode::FUNCTION2);
            Item::Function(text(source, &place, pace)?)
        }
        Whole::String(key, value) => {
            let place = Place::of_entry(offset, Type::String);
            let key = text(key, &place, pace)?;
            let value = value.text(pace).map_err(|why| FileError {
                place: place.with_key(&key),
                fault: why.into(),
            })?;
            entry(key, value, about)
        }
        Whole::Begin(key, parts) => {
            let encoding = parts.kind();
            let head = Head {
                key: text(key, &Place::of_entry(offset, encoding), pace)?,
                encoding,
                expires_at_ms: about.expires_at_ms,
                idle_seconds: about.idle_seconds,
                frequency: about.frequency,
            };
            Item::Begin(Begin {
                head,
                elements: parts.elements(),
                offset,
            })
        }
        Whole::Part(part) => {
            let piece = part.piece(pace).map_err(|why| FileError {
                place, // with the key, where that is known
                fault: why.into(),
            });
            Item::Piece(piece?)
        }
        Whole::Finish => Item::Finish,
    })
}

fn entry<'a>(key: Cow<'a, [u8]>, value: Cow<'a, [u8]>, about: About) -> Item<'a> {
    Item::Entry(Entry {
        key,
        value,
        expires_at_ms: about.expires_at_ms,
        idle_seconds: about.idle_seconds,
        frequency: about.frequency,
    })
}
