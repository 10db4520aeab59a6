//! How a handler sees a hash.
//!
//! Owns: the one way to look at fields, by which those that are due go first. Never: changes a field otherwise.

use crate::error::Error;
use crate::values::as_hash;
use keyspace::{Entry, HashRef, Key};
use resp::args::Args;
use state::{ExpiryCount, StateMachine};

/// The fields that a command looks at.
#[derive(Clone, Copy)]
pub enum Fields<'a> {
    One(&'a [u8]),
    Named(Args<'a>),
    All,
    /// The same, for a draw: those that are due count as expired, as in Redis.
    Drawn,
    /// It deletes by itself those that it meets.
    Met,
}

/// Shows the hash to `see`, without fields that are due and that it looks at; what of them a replica's copy still has is told by
/// [`StateMachine::is_field_due`]. For commands that read: the look is counted as a hit or a miss.
pub fn see<R>(
    data: &mut StateMachine,
    key: &Key<'_>,
    fields: Fields<'_>,
    mut see: impl FnMut(Option<HashRef<'_>>) -> R,
) -> Result<R, Error> {
    let seen = data.with_counted(key, |entry| undue(entry, &mut see))?;
    seen.or_else(|first| without_due(data, key, fields, first, see))
}

/// The same for commands that write.
pub fn open<R>(
    data: &mut StateMachine,
    key: &Key<'_>,
    fields: Fields<'_>,
    mut see: impl FnMut(Option<HashRef<'_>>) -> R,
) -> Result<R, Error> {
    let seen = data.with(key, |entry| undue(entry, &mut see))?;
    seen.or_else(|first| without_due(data, key, fields, first, see))
}

/// What `see` makes of a hash of which no field expires; else when the first one does.
fn undue<R>(
    entry: Option<Entry<'_>>,
    see: impl FnOnce(Option<HashRef<'_>>) -> R,
) -> Result<Result<R, i64>, Error> {
    let hash = entry.map(|entry| as_hash(&entry)).transpose()?;
    Ok(match hash.and_then(HashRef::first_expiry) {
        None => Ok(see(hash)),
        Some(first) => Err(first),
    })
}

fn without_due<R>(
    data: &mut StateMachine,
    key: &Key<'_>,
    fields: Fields<'_>,
    first: i64,
    see: impl FnOnce(Option<HashRef<'_>>) -> R,
) -> Result<R, Error> {
    if data.is_field_due(Some(first)) {
        match fields {
            Fields::One(name) => {
                data.expire_fields(key, &mut [name].into_iter(), ExpiryCount::Counted)
            }
            Fields::Named(names) => {
                data.expire_fields(key, &mut names.iter(), ExpiryCount::Counted)
            }
            Fields::All => data.expire_all_fields(key, ExpiryCount::Uncounted),
            Fields::Drawn => data.expire_all_fields(key, ExpiryCount::Counted),
            Fields::Met => {}
        }
    }
    data.with(key, |entry| {
        entry.map(|entry| as_hash(&entry)).transpose().map(see)
    })
}
