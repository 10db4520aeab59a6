//! The payload of DUMP and RESTORE.
//!
//! Owns: its form: the byte of the type, the value, the version (two bytes), the checksum of all that
//! stands before it (eight bytes), both least significant byte first. Never: knows how a value is made.
//!
//! The checksum of a payload is always compared; only in files a checksum of 0 means that there is none.

use super::crc64::crc64;
use super::parts::Parts;
use super::{Decoder, Encoder, Type, Value, ValueError, PACE_BYTES, VERSION};

const VERSION_BYTES: usize = 2;
const CHECKSUM_BYTES: usize = 8;

/// Why bytes are no payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FooterError {
    #[error("it is shorter than what stands at its end")]
    Short,
    #[error("its version is {0}: it comes from a newer Redis")]
    Version(u16),
    #[error("its checksum is another one")]
    Checksum,
}

/// Why a payload gives no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    #[error("{0}")]
    Footer(#[from] FooterError),
    #[error("{0}")]
    Value(#[from] ValueError),
}

/// Adds the payload of a value to `out`, with this version at its end: an older reader refuses a newer
/// version. `value` writes the value.
pub fn dump(
    out: &mut Vec<u8>,
    (kind, version): (Type, u16),
    compress: bool,
    pace: &mut dyn FnMut(),
    value: impl FnOnce(&mut Encoder<'_>),
) {
    let start = out.len();
    out.push(kind.number());
    value(&mut Encoder::new(out, compress, &mut *pace));
    seal(out, start, version, pace);
}

/// Adds what stands at the end of the payload that begins at `start`.
fn seal(out: &mut Vec<u8>, start: usize, version: u16, pace: &mut dyn FnMut()) {
    out.extend_from_slice(&version.to_le_bytes());
    let checksum = checksum(&out[start..], pace);
    out.extend_from_slice(&checksum.to_le_bytes());
}

/// What stands before a library in the payload of FUNCTION DUMP; and before one of a candidate of Redis 7.
pub const LIBRARY: u8 = 245;
pub const OLD_LIBRARY: u8 = 246;

/// The payload of FUNCTION DUMP where there are no libraries.
pub fn of_nothing() -> Vec<u8> {
    let mut payload = Vec::new();
    seal(&mut payload, 0, VERSION, &mut || {});
    payload
}

/// The value of a payload; no string in it may be longer than `limit`. What follows the value is not
/// looked at, as in Redis.
pub fn load<'a>(
    payload: &'a [u8],
    limit: usize,
    pace: &mut dyn FnMut(),
) -> Result<Value<'a>, PayloadError> {
    let body = body(payload, pace)?;
    Ok(value(body, limit, pace)?)
}

/// What a payload carries (the type and the value, or libraries), after its version and checksum were compared.
pub fn body<'a>(payload: &'a [u8], pace: &mut dyn FnMut()) -> Result<&'a [u8], FooterError> {
    let (before, sum) = payload
        .split_last_chunk::<CHECKSUM_BYTES>()
        .ok_or(FooterError::Short)?;
    let (body, version) = before
        .split_last_chunk::<VERSION_BYTES>()
        .ok_or(FooterError::Short)?;
    let version = u16::from_le_bytes(*version);
    if version > VERSION {
        return Err(FooterError::Version(version));
    }
    if checksum(before, pace) != u64::from_le_bytes(*sum) {
        return Err(FooterError::Checksum);
    }
    Ok(body)
}

/// The value of a payload without what stands behind it.
pub fn value<'a>(
    body: &'a [u8],
    limit: usize,
    pace: &mut dyn FnMut(),
) -> Result<Value<'a>, ValueError> {
    let mut decoder = Decoder::new(body, limit, pace);
    let kind = decoder.kind()?;
    decoder.value(kind)
}

/// The most bytes that the strings of a payload can have together, before anything is checked or made.
pub fn longest_string(payload: &[u8]) -> usize {
    let pace = &mut || {};
    let mut decoder = Decoder::new(payload, usize::MAX, pace);
    match decoder.kind() {
        Ok(Type::String) => decoder.longest_string(),
        Ok(kind) => longest_strings(kind, &mut decoder),
        Err(_) => 0,
    }
}

/// Those of a value with elements, as far as it can be read.
fn longest_strings(kind: Type, decoder: &mut Decoder<'_, '_>) -> usize {
    let Ok(mut parts) = Parts::begin(kind, decoder) else {
        return 0;
    };
    let mut longest = 0usize;
    while !parts.is_over() {
        let Ok(part) = parts.part(decoder) else {
            break;
        };
        longest = longest.saturating_add(part.longest());
        parts = parts.behind_one();
    }
    longest
}

fn checksum(bytes: &[u8], pace: &mut dyn FnMut()) -> u64 {
    let mut sum = 0;
    for part in bytes.chunks(PACE_BYTES) {
        sum = crc64(sum, part);
        if part.len() == PACE_BYTES {
            pace();
        }
    }
    sum
}
