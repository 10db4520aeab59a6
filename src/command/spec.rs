//! What a command *is*, apart from what it does: the row of the command table.
//!
//! Owns: [`Spec`] and the small types of its columns (flags, ACL categories, key specs, arity).
//! Never: looks anything up, executes anything. Rows are `const` and live in the family files
//! (`string`, `generic`, ...); `table` collects them. Names, flags and tips follow Redis 7.4, since
//! clients read them through `COMMAND`.

use super::env::{Env, Flow};
use super::error::Error;
use crate::resp::args::Args;
use std::ops::BitOr;

/// Executes a command whose arity has been checked. A returned error is written by the dispatcher.
pub type Run = fn(&mut Env<'_>, Args<'_>) -> Result<Flow, Error>;

/// Command flags, with Redis's names and meaning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u32);

impl Flags {
    pub const NONE: Flags = Flags(0);
    pub const WRITE: Flags = Flags(1 << 0);
    pub const READONLY: Flags = Flags(1 << 1);
    pub const DENYOOM: Flags = Flags(1 << 2);
    pub const ADMIN: Flags = Flags(1 << 3);
    pub const PUBSUB: Flags = Flags(1 << 4);
    pub const NOSCRIPT: Flags = Flags(1 << 5);
    pub const BLOCKING: Flags = Flags(1 << 6);
    pub const LOADING: Flags = Flags(1 << 7);
    pub const STALE: Flags = Flags(1 << 8);
    pub const SKIP_MONITOR: Flags = Flags(1 << 9);
    pub const SKIP_SLOWLOG: Flags = Flags(1 << 10);
    pub const ASKING: Flags = Flags(1 << 11);
    pub const FAST: Flags = Flags(1 << 12);
    pub const NO_AUTH: Flags = Flags(1 << 13);
    pub const MAY_REPLICATE: Flags = Flags(1 << 14);
    pub const NO_MANDATORY_KEYS: Flags = Flags(1 << 15);
    pub const PROTECTED: Flags = Flags(1 << 16);
    pub const NO_ASYNC_LOADING: Flags = Flags(1 << 17);
    pub const NO_MULTI: Flags = Flags(1 << 18);
    pub const ALLOW_BUSY: Flags = Flags(1 << 19);
    pub const MOVABLE_KEYS: Flags = Flags(1 << 20);
    /// A note of Redis's own table; COMMAND does not print it.
    pub const TOUCHES_ARBITRARY_KEYS: Flags = Flags(1 << 21);
    /// Ours: shows data without keys and without READONLY (CLUSTER COUNTKEYSINSLOT).
    pub const READS_DATA: Flags = Flags(1 << 22);
    /// Ours: admitted like a write, as it changes the shard's record (CLUSTER ADDSLOTS).
    pub const CHANGES_RECORD: Flags = Flags(1 << 23);

    /// Flags that COMMAND prints, in Redis's order; the others are the server's own business.
    pub const PRINTED: &'static [(Flags, &'static str)] = &[
        (Flags::WRITE, "write"),
        (Flags::READONLY, "readonly"),
        (Flags::DENYOOM, "denyoom"),
        (Flags::ADMIN, "admin"),
        (Flags::PUBSUB, "pubsub"),
        (Flags::NOSCRIPT, "noscript"),
        (Flags::BLOCKING, "blocking"),
        (Flags::LOADING, "loading"),
        (Flags::STALE, "stale"),
        (Flags::SKIP_MONITOR, "skip_monitor"),
        (Flags::SKIP_SLOWLOG, "skip_slowlog"),
        (Flags::ASKING, "asking"),
        (Flags::FAST, "fast"),
        (Flags::NO_AUTH, "no_auth"),
        (Flags::NO_MANDATORY_KEYS, "no_mandatory_keys"),
        (Flags::NO_ASYNC_LOADING, "no_async_loading"),
        (Flags::NO_MULTI, "no_multi"),
        (Flags::MOVABLE_KEYS, "movablekeys"),
        (Flags::ALLOW_BUSY, "allow_busy"),
    ];

    pub const fn has(self, other: Flags) -> bool {
        self.0 & other.0 != 0
    }

    pub const fn and(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

impl BitOr for Flags {
    type Output = Flags;
    fn bitor(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

/// Builds a set of flags in `const` context: `flags![WRITE, FAST]`.
macro_rules! flags {
    ($($name:ident),* $(,)?) => {
        $crate::command::spec::Flags(0 $(| $crate::command::spec::Flags::$name.0)*)
    };
}
pub(crate) use flags;

/// ACL categories.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Acl(pub u32);

impl Acl {
    pub const NONE: Acl = Acl(0);
    pub const KEYSPACE: Acl = Acl(1 << 0);
    pub const READ: Acl = Acl(1 << 1);
    pub const WRITE: Acl = Acl(1 << 2);
    pub const SET: Acl = Acl(1 << 3);
    pub const SORTEDSET: Acl = Acl(1 << 4);
    pub const LIST: Acl = Acl(1 << 5);
    pub const HASH: Acl = Acl(1 << 6);
    pub const STRING: Acl = Acl(1 << 7);
    pub const BITMAP: Acl = Acl(1 << 8);
    pub const HYPERLOGLOG: Acl = Acl(1 << 9);
    pub const GEO: Acl = Acl(1 << 10);
    pub const STREAM: Acl = Acl(1 << 11);
    pub const PUBSUB: Acl = Acl(1 << 12);
    pub const ADMIN: Acl = Acl(1 << 13);
    pub const FAST: Acl = Acl(1 << 14);
    pub const SLOW: Acl = Acl(1 << 15);
    pub const BLOCKING: Acl = Acl(1 << 16);
    pub const DANGEROUS: Acl = Acl(1 << 17);
    pub const CONNECTION: Acl = Acl(1 << 18);
    pub const TRANSACTION: Acl = Acl(1 << 19);
    pub const SCRIPTING: Acl = Acl(1 << 20);

    /// Every category with its name, in Redis's order (ACL CAT, COMMAND).
    pub const NAMES: &'static [(Acl, &'static str)] = &[
        (Acl::KEYSPACE, "keyspace"),
        (Acl::READ, "read"),
        (Acl::WRITE, "write"),
        (Acl::SET, "set"),
        (Acl::SORTEDSET, "sortedset"),
        (Acl::LIST, "list"),
        (Acl::HASH, "hash"),
        (Acl::STRING, "string"),
        (Acl::BITMAP, "bitmap"),
        (Acl::HYPERLOGLOG, "hyperloglog"),
        (Acl::GEO, "geo"),
        (Acl::STREAM, "stream"),
        (Acl::PUBSUB, "pubsub"),
        (Acl::ADMIN, "admin"),
        (Acl::FAST, "fast"),
        (Acl::SLOW, "slow"),
        (Acl::BLOCKING, "blocking"),
        (Acl::DANGEROUS, "dangerous"),
        (Acl::CONNECTION, "connection"),
        (Acl::TRANSACTION, "transaction"),
        (Acl::SCRIPTING, "scripting"),
    ];

    pub const fn has(self, other: Acl) -> bool {
        self.0 & other.0 != 0
    }

    pub const fn and(self, other: Acl) -> Acl {
        Acl(self.0 | other.0)
    }
}

/// COMMAND DOCS's group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    Cluster,
    Connection,
    Generic,
    Pubsub,
    Server,
    String,
    Transactions,
}

impl Group {
    pub const fn name(self) -> &'static str {
        match self {
            Group::Cluster => "cluster",
            Group::Connection => "connection",
            Group::Generic => "generic",
            Group::Pubsub => "pubsub",
            Group::Server => "server",
            Group::String => "string",
            Group::Transactions => "transactions",
        }
    }
}

/// What a command does to the keys of one key spec (Redis's key-spec flags).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyFlags(pub u16);

impl KeyFlags {
    pub const RO: KeyFlags = KeyFlags(1 << 0);
    pub const RW: KeyFlags = KeyFlags(1 << 1);
    pub const OW: KeyFlags = KeyFlags(1 << 2);
    pub const RM: KeyFlags = KeyFlags(1 << 3);
    pub const ACCESS: KeyFlags = KeyFlags(1 << 4);
    pub const UPDATE: KeyFlags = KeyFlags(1 << 5);
    pub const INSERT: KeyFlags = KeyFlags(1 << 6);
    pub const DELETE: KeyFlags = KeyFlags(1 << 7);
    pub const NOT_KEY: KeyFlags = KeyFlags(1 << 8);
    pub const INCOMPLETE: KeyFlags = KeyFlags(1 << 9);
    pub const VARIABLE_FLAGS: KeyFlags = KeyFlags(1 << 10);

    /// Every flag with its name, in Redis's order.
    pub const NAMES: &'static [(KeyFlags, &'static str)] = &[
        (KeyFlags::RO, "RO"),
        (KeyFlags::RW, "RW"),
        (KeyFlags::OW, "OW"),
        (KeyFlags::RM, "RM"),
        (KeyFlags::ACCESS, "access"),
        (KeyFlags::UPDATE, "update"),
        (KeyFlags::INSERT, "insert"),
        (KeyFlags::DELETE, "delete"),
        (KeyFlags::NOT_KEY, "not_key"),
        (KeyFlags::INCOMPLETE, "incomplete"),
        (KeyFlags::VARIABLE_FLAGS, "variable_flags"),
    ];

    pub const fn has(self, other: KeyFlags) -> bool {
        self.0 & other.0 != 0
    }

    pub const fn and(self, other: KeyFlags) -> KeyFlags {
        KeyFlags(self.0 | other.0)
    }
}

/// Where the keys of one spec begin: every command so far has them at a fixed place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySpec {
    pub flags: KeyFlags,
    /// Index of the first key in the arguments (the command's name is 0).
    pub begin: u16,
    /// Last key relative to `begin`; negative counts from the end of the arguments.
    pub last: i16,
    pub step: u16,
    pub limit: u16,
    pub notes: &'static str,
}

impl KeySpec {
    pub const fn new(flags: KeyFlags, begin: u16, last: i16, step: u16) -> KeySpec {
        KeySpec {
            flags,
            begin,
            last,
            step,
            limit: 0,
            notes: "",
        }
    }
}

/// First, last (negative: from the end) and step of the keys, as `COMMAND INFO` has them. `first`
/// is 0 when there are none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyRange {
    pub first: u16,
    pub last: i16,
    pub step: u16,
}

impl KeyRange {
    /// The indexes of the keys among `argc` arguments.
    pub fn indexes(self, argc: usize) -> impl Iterator<Item = usize> {
        let first = usize::from(self.first);
        let last = if self.last < 0 {
            argc.saturating_sub(usize::from(self.last.unsigned_abs()))
        } else {
            self.last.unsigned_abs().into()
        };
        // No keys: an empty range, written as one that ends before it begins.
        let end = if first == 0 { 0 } else { (last + 1).min(argc) };
        (first.min(end)..end).step_by(usize::from(self.step.max(1)))
    }
}

/// One row of the command table.
#[derive(Debug)]
pub struct Spec {
    /// Lower case, without the container's name.
    pub name: &'static str,
    /// Lower case, with the container's name: `client|setname`.
    pub full_name: &'static str,
    /// Arguments including the name(s); negative: at least that many.
    pub arity: i16,
    pub flags: Flags,
    /// Explicit categories; [`Spec::categories`] adds what the flags imply.
    pub acl: Acl,
    pub group: Group,
    pub since: &'static str,
    pub summary: &'static str,
    pub range: KeyRange,
    pub key_specs: &'static [KeySpec],
    pub tips: &'static [&'static str],
    /// (deprecated since, replaced by)
    pub deprecated: Option<(&'static str, &'static str)>,
    pub subcommands: &'static [Spec],
    /// D5: bytes that its effects may have beyond those of its arguments.
    pub effects: Option<fn(Args<'_>) -> usize>,
    pub run: Run,
}

impl Spec {
    /// A command without keys; the methods below add the rest.
    pub const fn new(name: &'static str, arity: i16, flags: Flags, group: Group, run: Run) -> Spec {
        Spec {
            name,
            full_name: name,
            arity,
            flags,
            acl: Acl::NONE,
            group,
            since: "1.0.0",
            summary: "",
            range: KeyRange {
                first: 0,
                last: 0,
                step: 0,
            },
            key_specs: &[],
            tips: &[],
            deprecated: None,
            subcommands: &[],
            effects: None,
            run,
        }
    }

    /// A subcommand: `full` is `container|name`.
    pub const fn sub(full: &'static str, arity: i16, flags: Flags, group: Group, run: Run) -> Spec {
        let mut spec = Spec::new(name_of(full), arity, flags, group, run);
        spec.full_name = full;
        spec
    }

    pub const fn acl(mut self, acl: Acl) -> Spec {
        self.acl = acl;
        self
    }

    pub const fn since(mut self, since: &'static str) -> Spec {
        self.since = since;
        self
    }

    pub const fn summary(mut self, summary: &'static str) -> Spec {
        self.summary = summary;
        self
    }

    /// The legacy key range and the key specs.
    pub const fn keys(
        mut self,
        first: u16,
        last: i16,
        step: u16,
        specs: &'static [KeySpec],
    ) -> Spec {
        self.range = KeyRange { first, last, step };
        self.key_specs = specs;
        self
    }

    pub const fn tips(mut self, tips: &'static [&'static str]) -> Spec {
        self.tips = tips;
        self
    }

    pub const fn deprecated(mut self, since: &'static str, by: &'static str) -> Spec {
        self.deprecated = Some((since, by));
        self
    }

    pub const fn subcommands(mut self, subcommands: &'static [Spec]) -> Spec {
        self.subcommands = subcommands;
        self
    }

    /// The effects may be larger than the arguments, by so much.
    pub const fn effects(mut self, more: fn(Args<'_>) -> usize) -> Spec {
        self.effects = Some(more);
        self
    }

    /// Whether `argc` arguments satisfy the arity.
    pub const fn accepts(&self, argc: usize) -> bool {
        let want = self.arity.unsigned_abs() as usize;
        if self.arity < 0 {
            argc >= want
        } else {
            argc == want
        }
    }

    pub const fn has_keys(&self) -> bool {
        self.range.first != 0
    }

    /// Whether the command's reply or effect depends on the keyspace: it has keys, or works on
    /// data without naming keys (DBSIZE, KEYS, SCAN, RANDOMKEY, FLUSHALL), or on the record. Shard
    /// channels have a slot as keys do, and nothing else in common with them.
    pub const fn is_data(&self) -> bool {
        let keys = self.has_keys() && !self.flags.has(Flags::PUBSUB);
        keys || self
            .flags
            .has(flags![WRITE, READONLY, READS_DATA, CHANGES_RECORD])
    }

    /// Whether the command may put effects into the batch.
    pub const fn writes(&self) -> bool {
        self.flags.has(flags![WRITE, CHANGES_RECORD])
    }

    /// All ACL categories: the explicit ones and those that the flags imply.
    pub const fn categories(&self) -> Acl {
        let mut acl = self.acl;
        let f = self.flags;
        if f.has(Flags::WRITE) {
            acl = acl.and(Acl::WRITE);
        }
        if f.has(Flags::READONLY) && !acl.has(Acl::SCRIPTING) {
            acl = acl.and(Acl::READ);
        }
        if f.has(Flags::ADMIN) {
            acl = acl.and(Acl::ADMIN).and(Acl::DANGEROUS);
        }
        if f.has(Flags::PUBSUB) {
            acl = acl.and(Acl::PUBSUB);
        }
        if f.has(Flags::BLOCKING) {
            acl = acl.and(Acl::BLOCKING);
        }
        acl.and(if f.has(Flags::FAST) {
            Acl::FAST
        } else {
            Acl::SLOW
        })
    }
}

/// The part of `container|name` after the bar.
const fn name_of(full: &'static str) -> &'static str {
    let mut rest = full.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first == b'|' {
            break;
        }
    }
    match std::str::from_utf8(rest) {
        Ok(name) => name,
        Err(_) => panic!("what follows a bar is text"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_ranges_follow_the_arguments() {
        let all = |first, last, step, argc| {
            KeyRange { first, last, step }
                .indexes(argc)
                .collect::<Vec<_>>()
        };
        assert_eq!(all(0, 0, 0, 3), Vec::<usize>::new());
        assert_eq!(all(1, 1, 1, 3), vec![1]);
        assert_eq!(all(1, -1, 1, 4), vec![1, 2, 3]);
        assert_eq!(all(1, -1, 2, 5), vec![1, 3]);
        assert_eq!(all(1, 2, 1, 3), vec![1, 2]);
        assert_eq!(
            all(1, 2, 1, 2),
            vec![1],
            "a short command names only the keys it has"
        );
        assert_eq!(all(1, -1, 1, 1), Vec::<usize>::new());
    }
}
