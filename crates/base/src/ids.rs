//! Numbers that must not be taken for each other: each has a type of its own.
//!
//! Owns the numbers that name a group, its members, batches and reads. Never: mints them, reads or writes them.
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

macro_rules! count {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// Below all that are given out.
            pub const NONE: $name = $name(0);

            #[inline]
            #[must_use]
            pub const fn next(self) -> $name {
                self.plus(1)
            }

            #[inline]
            #[must_use]
            pub const fn previous(self) -> $name {
                $name(self.0 - 1)
            }

            #[inline]
            #[must_use]
            pub const fn plus(self, n: u64) -> $name {
                $name(self.0 + n)
            }
        }
    };
}

count! {
    /// Numbers the batches that a process executes, upwards from 1; known before the entry is (T2).
    BatchSeq
}

count! {
    /// Numbers the read indexes, upwards from 1: one for all reads of a turn (T3).
    ReadId
}

/// An entry of a group's log: a term and an index are both numbers, and never stand in a pair unnamed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EntryId {
    pub index: u64,
    pub term: u64,
}
