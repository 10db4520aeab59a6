//! Values as payloads of RDB, and back: what DUMP shows, what keys travel as to another shard or another
//! server, and what files hold.
//!
//! Owns the way between a value of the keyspace and one of `rdb`, and RESTORE. Never: knows a payload's bytes (that is
//! `rdb`), compares a key's expiry. A new type adds a line to most functions.

use super::apply::ApplyError;
use super::core::StateMachine;
use super::effects::effects;
use base::number::parse_i64;
use keyspace::{
    Content, Detached, Digits, Entry, FieldTtl, HashLayout, HashRef, Key, Keyspace, Kind,
    ListLayout, ListRef, Scratch, SetLayout, SetRef, Side, StringRef, Ttl, Value, ZsetLayout,
    ZsetRef,
};
use rdb::{Body, Form, Piece, Pieces, Sink, Type};
use std::convert::Infallible;
use std::ops::ControlFlow;
use topology::moves::Parcel;

/// For which reader a payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// This program, or a Redis that is as new.
    Newest,
    /// Any Redis: it carries the lowest version that has the value.
    Any,
}

/// The payload of a value. `pace` is called as it grows (T9).
pub fn payload_of(
    value: Value<'_>,
    reader: Reader,
    compress: bool,
    pace: &mut dyn FnMut(),
) -> Vec<u8> {
    let most = match (reader, value) {
        (Reader::Any, Value::Set(_)) => Type::Set.lowest_version(),
        _ => rdb::VERSION,
    };
    let kind = encoding_of(value, most);
    let version = match reader {
        Reader::Newest => rdb::VERSION,
        Reader::Any => kind.lowest_version(),
    };
    let mut payload = Vec::new();
    rdb::dump(&mut payload, (kind, version), compress, pace, |to| {
        let Ok(()) = write_value(value, kind, to);
    });
    payload
}

/// How a value is encoded for a reader of this version of RDB.
pub(super) fn encoding_of(value: Value<'_>, version: u16) -> Type {
    let expiring = |hash: HashRef<'_>| hash.first_expiry().is_some();
    match value {
        Value::String(_) => Type::String,
        Value::Hash(hash) => match hash.layout() {
            HashLayout::Pairs(_) => Type::HashListpack,
            HashLayout::Triples(_) if version >= Type::HashExpiringListpack.lowest_version() => {
                Type::HashExpiringListpack
            }
            HashLayout::Table if expiring(hash) => Type::HashExpiring,
            HashLayout::Triples(_) | HashLayout::Table => Type::Hash,
        },
        Value::Set(set) => match set.layout() {
            SetLayout::Ints(_) => Type::SetIntset,
            SetLayout::Packed(_) if version >= Type::SetListpack.lowest_version() => {
                Type::SetListpack
            }
            SetLayout::Packed(_) | SetLayout::Table => Type::Set,
        },
        Value::List(_) => Type::ListNodes,
        Value::SortedSet(zset) => match zset.layout() {
            ZsetLayout::Packed(_) => Type::SortedSetListpack,
            ZsetLayout::Table => Type::SortedSet,
        },
    }
}

/// Writes a value as this encoding has it, which is one that [`encoding_of`] gave.
pub(super) fn write_value<S: Sink>(
    value: Value<'_>,
    kind: Type,
    to: &mut S,
) -> Result<(), S::Error> {
    match value {
        Value::String(StringRef::Chunks(blob)) => to.long_string(blob.len(), &mut blob.chunks()),
        Value::String(string) => to.string(string.text(&mut Scratch::default())),
        Value::Hash(hash) => write_hash(hash, kind, to),
        Value::Set(set) => write_set(set, kind, to),
        Value::List(list) => write_list(list, kind, to),
        Value::SortedSet(zset) => write_sorted_set(zset, kind, to),
    }
}

/// Nodes as Redis has them: listpacks, and long elements on their own.
fn write_list<S: Sink>(list: ListRef<'_>, kind: Type, to: &mut S) -> Result<(), S::Error> {
    match list.layout() {
        ListLayout::Packed(bytes) => {
            let mut out = Pieces::begin(to, kind, 1, 0)?;
            out.packed(Form::List, bytes)?;
            out.end();
        }
        ListLayout::Chunks(chunks) => {
            let pieces = chunks.chunks().count() as u64;
            let mut out = Pieces::begin(to, kind, pieces, 0)?;
            for chunk in chunks.chunks() {
                match chunk {
                    Content::Packed(packed) => out.packed(Form::List, packed.bytes())?,
                    Content::Plain(text) => out.member(text)?,
                }
            }
            out.end();
        }
    }
    Ok(())
}

fn write_sorted_set<S: Sink>(zset: ZsetRef<'_>, kind: Type, to: &mut S) -> Result<(), S::Error> {
    let pieces = match kind {
        Type::SortedSetListpack => 1,
        _ => zset.len() as u64,
    };
    let mut out = Pieces::begin(to, kind, pieces, 0)?;
    match zset.layout() {
        ZsetLayout::Packed(bytes) => out.packed(Form::SortedSet, bytes)?,
        ZsetLayout::Table => {
            let mut members = zset.iter_back(0..zset.len());
            members.try_for_each(|found| {
                out.scored(found.member.text(&mut Digits::default()), found.score)
            })?;
        }
    }
    out.end();
    Ok(())
}

fn write_set<S: Sink>(set: SetRef<'_>, kind: Type, to: &mut S) -> Result<(), S::Error> {
    let pieces = match kind {
        Type::SetIntset | Type::SetListpack => 1,
        _ => set.len() as u64,
    };
    let mut out = Pieces::begin(to, kind, pieces, 0)?;
    match (kind, set.layout()) {
        (Type::SetIntset, SetLayout::Ints(bytes)) => out.packed(Form::Intset, bytes)?,
        (Type::SetListpack, SetLayout::Packed(bytes)) => out.packed(Form::Set, bytes)?,
        _ => {
            let mut members = set.iter();
            members.try_for_each(|member| out.member(member.text(&mut Digits::default())))?;
        }
    }
    out.end();
    Ok(())
}

fn write_hash<S: Sink>(hash: HashRef<'_>, kind: Type, to: &mut S) -> Result<(), S::Error> {
    let soonest = hash.first_expiry().unwrap_or(0);
    let pieces = match kind {
        Type::HashListpack | Type::HashExpiringListpack => 1,
        _ => hash.len() as u64,
    };
    let mut out = Pieces::begin(to, kind, pieces, soonest)?;
    match (kind, hash.layout()) {
        (Type::HashListpack, HashLayout::Pairs(bytes)) => out.packed(Form::Hash, bytes)?,
        (Type::HashExpiringListpack, HashLayout::Triples(bytes)) => {
            out.packed(Form::HashExpiring, bytes)?;
        }
        _ => {
            let flow = hash.try_for_each(|found| {
                let mut digits = (Digits::default(), Digits::default());
                let (field, value) = (
                    found.field.text(&mut digits.0),
                    found.value.text(&mut digits.1),
                );
                match out.field(field, value, found.expiry) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(error) => ControlFlow::Break(error),
                }
            });
            if let ControlFlow::Break(error) = flow {
                return Err(error);
            }
        }
    }
    out.end();
    Ok(())
}

/// A value of this kind without elements, which [`add_piece`] fills. Never of a string, which has no pieces.
pub(super) fn begin_value(keyspace: &Keyspace, kind: rdb::Kind) -> Detached {
    match kind {
        rdb::Kind::Hash => keyspace.detached(Kind::Hash),
        rdb::Kind::Set => keyspace.detached(Kind::Set),
        rdb::Kind::List => keyspace.detached(Kind::List),
        rdb::Kind::SortedSet => keyspace.detached(Kind::SortedSet),
        rdb::Kind::String => unreachable!("a string comes whole"),
    }
}

/// Adds what was read. An element that is there already is written again.
pub(super) fn add_piece(value: &mut Detached, piece: &Piece<'_>) {
    match piece {
        Piece::Field {
            field,
            value: text,
            expiry,
        } => {
            let mut hash = value.hash();
            hash.set(field, text, FieldTtl::Clear);
            if expiry.is_some() {
                hash.set_expiry(field, *expiry);
            }
        }
        Piece::Packed(Form::Hash, bytes) => value.hash().set_packed(bytes, false),
        Piece::Packed(Form::HashExpiring, bytes) => value.hash().set_packed(bytes, true),
        Piece::Member(text) if value.kind() == Kind::List => {
            value.list().push(Side::Right, &[&**text]);
        }
        Piece::Packed(Form::List, bytes) => value.list().push_packed(bytes),
        Piece::Member(member) => {
            value.set().add(member);
        }
        Piece::Packed(Form::Intset, bytes) => value.set().set_packed(bytes, true),
        Piece::Packed(Form::Set, bytes) => value.set().set_packed(bytes, false),
        Piece::Scored(member, score) => {
            value.sorted_set().set(member, *score);
        }
        Piece::Packed(Form::SortedSet, bytes) => value.sorted_set().set_packed(bytes),
    }
}

/// What adding it takes time for.
fn bytes_of(piece: &Piece<'_>) -> usize {
    match piece {
        Piece::Field { field, value, .. } => field.len() + value.len(),
        Piece::Member(text) | Piece::Scored(text, _) => text.len(),
        // Some are taken over as they are, others element by element.
        Piece::Packed(_, bytes) => 16 * bytes.len(),
    }
}

/// How many elements a value has.
pub(super) fn elements_of(value: Value<'_>) -> u64 {
    match value {
        Value::String(_) => 1,
        Value::Hash(hash) => hash.len() as u64,
        Value::Set(set) => set.len() as u64,
        Value::List(list) => list.len(),
        Value::SortedSet(zset) => zset.len() as u64,
    }
}

/// The value that a payload's body is. `pace` is told the bytes of each piece (T9).
fn build(keyspace: &Keyspace, body: Body<'_>, pace: &mut dyn FnMut(usize)) -> Detached {
    let mut value = begin_value(keyspace, body.encoding().kind());
    let Ok(()) = body.visit::<Infallible>(&mut || {}, &mut |piece| {
        add_piece(&mut value, &piece);
        pace(bytes_of(&piece));
        Ok(())
    });
    value
}

/// Whether a value that was read is that of the key, however both are kept.
pub fn is_value_of(keyspace: &Keyspace, entry: &Entry<'_>, value: &rdb::Value<'_>) -> bool {
    match value {
        rdb::Value::String(text) => {
            let string = Value::String(StringRef::Bytes(text));
            entry.value().is_same(string)
        }
        rdb::Value::Container(body) => {
            let built = build(keyspace, *body, &mut |_| {});
            entry.value().is_same(built.value())
        }
    }
}

/// A key as it travels to another shard.
pub fn parcel_of(entry: &Entry<'_>, reader: Reader, pace: &mut dyn FnMut()) -> Parcel {
    Parcel {
        key: entry.key().into(),
        expiry: entry.expiry(),
        payload: payload_of(entry.value(), reader, false, pace),
    }
}

/// About how many bytes the value has.
pub fn size_of(entry: &Entry<'_>) -> usize {
    entry.value().weight()
}

/// About how many bytes the effect has that makes this value.
pub fn weight_of(value: &rdb::Value<'_>) -> usize {
    match value {
        rdb::Value::String(text) => text.len(),
        rdb::Value::Container(body) => body.bytes().len(),
    }
}

effects! {
    /// `RESTORE key type-and-value [PXAT ms]`: as in a payload, without what stands behind the value
    37 RESTORE "RESTORE": read_restore, reading apply_restore;
}

/// An element is there twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadValue;

impl StateMachine {
    /// Any value becomes this one. Of an element that is there more than once the last
    /// stays.
    pub fn put(&mut self, key: &Key<'_>, value: &rdb::Value<'_>, ttl: Ttl) {
        match value {
            rdb::Value::String(text) => self.set(key, text, ttl),
            rdb::Value::Container(body) => {
                let built = build(&self.keyspace, *body, &mut |_| {});
                self.put_built(key, *body, built, ttl);
            }
        }
    }

    /// RESTORE: the same for a value that anybody may have made. An error has changed nothing. `pace` is told the
    /// bytes of each of its pieces (T9).
    pub fn restore(
        &mut self,
        key: &Key<'_>,
        value: &rdb::Value<'_>,
        ttl: Ttl,
        pace: &mut dyn FnMut(usize),
    ) -> Result<(), BadValue> {
        let rdb::Value::Container(body) = value else {
            self.put(key, value, ttl);
            return Ok(());
        };
        let built = build(&self.keyspace, *body, pace);
        if elements_of(built.value()) != body.elements() {
            return Err(BadValue);
        }
        self.put_built(key, *body, built, ttl);
        Ok(())
    }

    fn put_built(&mut self, key: &Key<'_>, body: Body<'_>, built: Detached, ttl: Ttl) {
        self.assert_owned(RESTORE, key);
        let kind = [body.encoding().number()];
        let value = [&kind, body.bytes()].concat();
        let mut text = itoa::Buffer::new();
        let expiry = match ttl {
            Ttl::At(at) => Some(at),
            Ttl::Clear | Ttl::Keep => None,
        };
        let logged = match expiry {
            None => self.emit(self.db, RESTORE, &[key.bytes, &value]),
            Some(at) => {
                let at = text.format(at).as_bytes();
                self.emit(self.db, RESTORE, &[key.bytes, &value, b"PXAT", at])
            }
        };
        if logged {
            self.keyspace.adopt(self.db, key, built, expiry);
            self.changed(self.db, key);
        }
    }
}

type Restored<'a> = (&'a [u8], Body<'a>, Ttl);

fn read_restore<'a>(args: &[&'a [u8]]) -> Option<Restored<'a>> {
    read_restore_with(args, &mut || {})
}

fn read_restore_with<'a>(args: &[&'a [u8]], pace: &mut dyn FnMut()) -> Option<Restored<'a>> {
    let (key, value, ttl) = match args {
        [key, value] => (key, value, Ttl::Clear),
        [key, value, b"PXAT", at] => (key, value, Ttl::At(parse_i64(at)?)),
        _ => return None,
    };
    match rdb::value_of_body(value, usize::MAX, pace) {
        Ok(rdb::Value::Container(body)) => Some((key, body, ttl)),
        _ => None,
    }
}

fn apply_restore(
    state: &mut StateMachine,
    args: &[&[u8]],
    pace: &mut dyn FnMut(usize),
) -> Option<Result<(), ApplyError>> {
    let (key, body, ttl) = read_restore_with(args, &mut || pace(rdb::PACE_BYTES))?;
    let key = state.key(key);
    let built = build(&state.keyspace, body, pace);
    state.put_built(&key, body, built, ttl);
    Some(Ok(()))
}
