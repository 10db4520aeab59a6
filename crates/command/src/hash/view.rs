//! How a handler sees a hash.
//!
//! Owns: the one way to look at fields, by which those that are due go first. Never: changes a field otherwise.

use crate::error::Error;
use crate::values::as_hash;
use keyspace::{HashRef, Key};
use resp::args::Args;
use state::StateMachine;

/// The fields that a command looks at.
#[derive(Clone, Copy)]
pub enum Fields<'a> {
    One(&'a [u8]),
    Named(Args<'a>),
    All,
}

/// Shows the hash to `see`, without fields that are due and that it looks at; what of them a replica's copy still has is told by
/// [`StateMachine::is_field_due`].
pub fn see<R>(
    data: &mut StateMachine,
    key: &Key<'_>,
    fields: Fields<'_>,
    mut see: impl FnMut(Option<HashRef<'_>>) -> R,
) -> Result<R, Error> {
    let seen = data.with_counted(key, |entry| {
        let hash = entry.map(|entry| as_hash(&entry)).transpose()?;
        Ok(match hash.and_then(HashRef::first_expiry) {
            None => Ok(see(hash)),
            Some(first) => Err(first),
        })
    })?;
    let first = match seen {
        Ok(result) => return Ok(result),
        Err(first) => first,
    };
    if data.is_field_due(Some(first)) {
        match fields {
            Fields::One(name) => data.expire_fields(key, &mut [name].into_iter()),
            Fields::Named(names) => data.expire_fields(key, &mut names.iter()),
            Fields::All => data.expire_all_fields(key),
        }
    }
    data.with(key, |entry| {
        entry.map(|entry| as_hash(&entry)).transpose().map(&mut see)
    })
}
