//! Values as payloads of RDB, and back: what DUMP shows, what keys travel as to another shard or another
//! server, and what files hold.
//!
//! Owns the way between a value of the keyspace and one of `rdb`: a new type adds a line to each function.
//! Never: knows a payload's bytes (that is `rdb`), compares a key's expiry.

use super::core::StateMachine;
use keyspace::{Entry, Key, Ttl, Value};
use rdb::Type;
use std::borrow::Cow;
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
    let kind = Type::String;
    let version = match reader {
        Reader::Newest => rdb::VERSION,
        Reader::Any => kind.lowest_version(),
    };
    let mut payload = Vec::new();
    rdb::dump(
        &mut payload,
        (kind, version),
        compress,
        pace,
        |to| match value {
            Value::Int(n) => to.string(itoa::Buffer::new().format(n).as_bytes()),
            Value::Bytes(bytes) => to.string(bytes),
        },
    );
    payload
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
    match entry.value() {
        Value::Int(_) => 8,
        Value::Bytes(bytes) => bytes.len(),
    }
}

/// About how many bytes the effect has that makes this value.
pub fn weight_of(value: &rdb::Value<'_>) -> usize {
    match value {
        rdb::Value::String(text) => text.len(),
        rdb::Value::Container(body) => body.bytes().len(),
    }
}

/// The text of a string.
pub(super) fn text_of(value: Value<'_>) -> Cow<'_, [u8]> {
    match value {
        Value::Int(n) => Cow::Owned(itoa::Buffer::new().format(n).as_bytes().to_vec()),
        Value::Bytes(bytes) => Cow::Borrowed(bytes),
    }
}

impl StateMachine {
    /// Any value becomes this one.
    pub fn put(&mut self, key: &Key<'_>, value: &rdb::Value<'_>, ttl: Ttl) {
        match value {
            rdb::Value::String(text) => self.set(key, text, ttl),
            // Refused where payloads come in, until such values are kept.
            rdb::Value::Container(_) => {}
        }
    }
}
