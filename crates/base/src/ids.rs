//! Numbers that must not be taken for each other: each has a type of its own.
//!
//! Owns the numbers that name a group and its members. Never: mints them, reads or writes them.
//! raft-rs takes bare numbers; a value is unwrapped where it is handed over.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        /// As in the log, in names of folders and in CLUSTER RAFT.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:016x}", self.0)
            }
        }

        impl fmt::LowerHex for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::LowerHex::fmt(&self.0, f)
            }
        }
    };
}

id! {
    /// Names a group: random, and the same for all its members.
    GroupId
}

id! {
    /// Names a member: random, minted for one join and never used twice (G2). Zero: none.
    RaftId
}

/// Counts the takeovers of a group (G7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);

/// An entry of a group's log: a term and an index are both numbers, and never stand in a pair unnamed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EntryId {
    pub index: u64,
    pub term: u64,
}
