//! What a command *is*, apart from what it does: the row of the command table.
//!
//! Owns: [`Spec`] and the small types of its columns (flags, ACL categories, group, role). Never: knows
//! a handler, looks anything up, executes anything. Rows are `const` and live in the family files
//! (`string`, `generic`, ...); `table` collects them. Names, flags and tips follow Redis 7.4, since
//! clients read them through `COMMAND`.

use super::key_spec::{BadKeys, Finder, KeyFlags, KeyRange, KeySpec};
use resp::args::Args;
use std::ops::BitOr;

/// Command flags, with Redis's names and meaning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommandFlags(pub u32);

impl CommandFlags {
    pub const NONE: CommandFlags = CommandFlags(0);
    pub const WRITE: CommandFlags = CommandFlags(1 << 0);
    pub const READONLY: CommandFlags = CommandFlags(1 << 1);
    pub const DENYOOM: CommandFlags = CommandFlags(1 << 2);
    pub const ADMIN: CommandFlags = CommandFlags(1 << 3);
    pub const PUBSUB: CommandFlags = CommandFlags(1 << 4);
    pub const NOSCRIPT: CommandFlags = CommandFlags(1 << 5);
    pub const BLOCKING: CommandFlags = CommandFlags(1 << 6);
    pub const LOADING: CommandFlags = CommandFlags(1 << 7);
    pub const STALE: CommandFlags = CommandFlags(1 << 8);
    pub const SKIP_MONITOR: CommandFlags = CommandFlags(1 << 9);
    pub const SKIP_SLOWLOG: CommandFlags = CommandFlags(1 << 10);
    pub const ASKING: CommandFlags = CommandFlags(1 << 11);
    pub const FAST: CommandFlags = CommandFlags(1 << 12);
    pub const NO_AUTH: CommandFlags = CommandFlags(1 << 13);
    pub const MAY_REPLICATE: CommandFlags = CommandFlags(1 << 14);
    pub const NO_MANDATORY_KEYS: CommandFlags = CommandFlags(1 << 15);
    pub const PROTECTED: CommandFlags = CommandFlags(1 << 16);
    pub const NO_ASYNC_LOADING: CommandFlags = CommandFlags(1 << 17);
    pub const NO_MULTI: CommandFlags = CommandFlags(1 << 18);
    pub const ALLOW_BUSY: CommandFlags = CommandFlags(1 << 19);
    pub const MOVABLE_KEYS: CommandFlags = CommandFlags(1 << 20);
    /// A note of Redis's own table; COMMAND does not print it.
    pub const TOUCHES_ARBITRARY_KEYS: CommandFlags = CommandFlags(1 << 21);
    /// Ours: shows data without keys and without READONLY (CLUSTER COUNTKEYSINSLOT).
    pub const READS_DATA: CommandFlags = CommandFlags(1 << 22);
    /// Ours: admitted like a write, as it changes the shard's record (CLUSTER ADDSLOTS).
    pub const CHANGES_RECORD: CommandFlags = CommandFlags(1 << 23);
    /// Ours: effects may be larger than the arguments, so what they take is worked out before (D5).
    pub const AMPLIFIES: CommandFlags = CommandFlags(1 << 24);

    /// Ours: deletes keys and does nothing else, so a full disk does not refuse it (D5).
    pub const FREES: CommandFlags = CommandFlags(1 << 25);

    /// Ours: its effects are of those that builds up to 0.3 can't read (M9).
    pub const NEW_EFFECTS: CommandFlags = CommandFlags(1 << 26);

    /// Flags that COMMAND prints, in Redis's order; the others are the server's own business.
    pub const PRINTED: &'static [(CommandFlags, &'static str)] = &[
        (CommandFlags::WRITE, "write"),
        (CommandFlags::READONLY, "readonly"),
        (CommandFlags::DENYOOM, "denyoom"),
        (CommandFlags::ADMIN, "admin"),
        (CommandFlags::PUBSUB, "pubsub"),
        (CommandFlags::NOSCRIPT, "noscript"),
        (CommandFlags::BLOCKING, "blocking"),
        (CommandFlags::LOADING, "loading"),
        (CommandFlags::STALE, "stale"),
        (CommandFlags::SKIP_MONITOR, "skip_monitor"),
        (CommandFlags::SKIP_SLOWLOG, "skip_slowlog"),
        (CommandFlags::ASKING, "asking"),
        (CommandFlags::FAST, "fast"),
        (CommandFlags::NO_AUTH, "no_auth"),
        (CommandFlags::NO_MANDATORY_KEYS, "no_mandatory_keys"),
        (CommandFlags::NO_ASYNC_LOADING, "no_async_loading"),
        (CommandFlags::NO_MULTI, "no_multi"),
        (CommandFlags::MOVABLE_KEYS, "movablekeys"),
        (CommandFlags::ALLOW_BUSY, "allow_busy"),
    ];

    pub const fn has(self, other: CommandFlags) -> bool {
        self.0 & other.0 != 0
    }

    pub const fn and(self, other: CommandFlags) -> CommandFlags {
        CommandFlags(self.0 | other.0)
    }
}

impl BitOr for CommandFlags {
    type Output = CommandFlags;
    fn bitor(self, other: CommandFlags) -> CommandFlags {
        CommandFlags(self.0 | other.0)
    }
}

/// Builds a set of flags in `const` context: `flags![WRITE, FAST]`.
macro_rules! flags {
    ($($name:ident),* $(,)?) => {
        $crate::spec::CommandFlags(0 $(| $crate::spec::CommandFlags::$name.0)*)
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

    /// The category of that name, in any case.
    pub fn named(name: &[u8]) -> Option<Acl> {
        let found = Acl::NAMES
            .iter()
            .find(|(_, known)| known.as_bytes().eq_ignore_ascii_case(name));
        found.map(|(acl, _)| *acl)
    }

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
    Bitmap,
    Cluster,
    Connection,
    Generic,
    Geo,
    Hash,
    HyperLogLog,
    List,
    Pubsub,
    Scripting,
    Server,
    Set,
    SortedSet,
    Stream,
    String,
    Transactions,
}

impl Group {
    pub const fn name(self) -> &'static str {
        match self {
            Group::Bitmap => "bitmap",
            Group::Cluster => "cluster",
            Group::Connection => "connection",
            Group::Generic => "generic",
            Group::Geo => "geo",
            Group::Hash => "hash",
            Group::HyperLogLog => "hyperloglog",
            Group::List => "list",
            Group::Pubsub => "pubsub",
            Group::Scripting => "scripting",
            Group::Server => "server",
            Group::Set => "set",
            Group::SortedSet => "sorted-set",
            Group::Stream => "stream",
            Group::String => "string",
            Group::Transactions => "transactions",
        }
    }
}

/// What a client does with a command beside having it executed, as far as admission asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    #[default]
    Plain,
    Multi,
    Exec,
    Discard,
    Watch,
    Ping,
    Quit,
    Reset,
    /// MIGRATE: keys that are not here are skipped.
    Migrate,
    /// CLUSTER RESET: behind it this node is another one (C1).
    ClusterReset,
    /// Goes through keys that it does not name, and deletes the expired ones that it meets (T2).
    Walk,
}

impl Role {
    /// Commands that are carried out at once between MULTI and EXEC.
    pub const fn runs_inside_multi(self) -> bool {
        matches!(
            self,
            Role::Multi | Role::Discard | Role::Watch | Role::Quit | Role::Reset
        )
    }
}

/// One row of the command table, without its handler.
#[derive(Debug)]
pub struct Spec {
    /// Lower case, without the container's name.
    pub name: &'static str,
    /// Lower case, with the container's name: `client|setname`.
    pub full_name: &'static str,
    /// Arguments including the name(s); negative: at least that many.
    pub arity: i16,
    pub flags: CommandFlags,
    /// Explicit categories; [`Spec::categories`] adds what the flags imply.
    pub acl: Acl,
    pub group: Group,
    pub role: Role,
    pub since: &'static str,
    pub summary: &'static str,
    /// All keys, unless the command has the flag MOVABLE_KEYS.
    pub range: KeyRange,
    pub key_specs: &'static [KeySpec],
    pub finder: Option<Finder>,
    pub tips: &'static [&'static str],
    /// (deprecated since, replaced by)
    pub deprecated: Option<(&'static str, &'static str)>,
    /// D5: bytes that its effects may have beyond those of its arguments.
    pub effects: Option<fn(Args<'_>) -> usize>,
}

impl Spec {
    /// The macro `rows!` is the usual way to make one. `full_name` is `container|name` for a
    /// subcommand.
    pub const fn new(
        full_name: &'static str,
        arity: i16,
        flags: CommandFlags,
        (group, acl): (Group, Acl),
        (since, summary): (&'static str, &'static str),
        key_specs: &'static [KeySpec],
    ) -> Spec {
        let (range, movable) = KeyRange::of(key_specs);
        let movable = if movable {
            CommandFlags::MOVABLE_KEYS
        } else {
            CommandFlags::NONE
        };
        Spec {
            name: name_of(full_name),
            full_name,
            arity,
            flags: flags.and(movable),
            acl,
            group,
            role: Role::Plain,
            since,
            summary,
            range,
            key_specs,
            finder: None,
            tips: &[],
            deprecated: None,
            effects: None,
        }
    }

    pub const fn tips(mut self, tips: &'static [&'static str]) -> Spec {
        self.tips = tips;
        self
    }

    pub const fn deprecated(mut self, since: &'static str, by: &'static str) -> Spec {
        self.deprecated = Some((since, by));
        self
    }

    pub const fn role(mut self, role: Role) -> Spec {
        self.role = role;
        self
    }

    /// The effects may be larger than the arguments, by so much.
    pub const fn amplifies(mut self, more: fn(Args<'_>) -> usize) -> Spec {
        self.flags = self.flags.and(CommandFlags::AMPLIFIES);
        self.effects = Some(more);
        self
    }

    /// Its effects are of those that older builds can't read, as are those of all types but strings (M9).
    pub const fn new_effects(mut self) -> Spec {
        self.flags = self.flags.and(CommandFlags::NEW_EFFECTS);
        self
    }

    /// M9: whether it may log what builds up to 0.3 can't read.
    pub const fn logs_new_effects(&self) -> bool {
        let of_type = matches!(
            self.group,
            Group::Bitmap
                | Group::Geo
                | Group::Hash
                | Group::HyperLogLog
                | Group::List
                | Group::Set
                | Group::SortedSet
        );
        self.flags.has(CommandFlags::WRITE)
            && (of_type || self.flags.has(CommandFlags::NEW_EFFECTS))
    }

    /// Its effects only free memory.
    pub const fn frees(mut self) -> Spec {
        self.flags = self.flags.and(CommandFlags::FREES);
        self
    }

    /// The key specs don't say all; this does.
    pub const fn keys_by(mut self, finder: Finder) -> Spec {
        self.finder = Some(finder);
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
        self.range.first != 0 || self.flags.has(CommandFlags::MOVABLE_KEYS)
    }

    /// Calls `visit` with the index of every key among the arguments. Shard channels count: they have
    /// slots as keys do.
    #[inline]
    pub fn keys(&self, args: Args<'_>, mut visit: impl FnMut(usize)) -> Result<(), BadKeys> {
        if self.flags.has(CommandFlags::MOVABLE_KEYS) {
            return self.keys_and_flags(args, &mut |index, _| visit(index));
        }
        self.range.indexes(args.len()).for_each(visit);
        Ok(())
    }

    /// The same with what happens to each key. When the arguments turn out to be bad some keys may
    /// have been visited.
    #[cold]
    pub fn keys_and_flags(
        &self,
        args: Args<'_>,
        visit: &mut dyn FnMut(usize, KeyFlags),
    ) -> Result<(), BadKeys> {
        if let Some(find) = self.finder {
            return find(args, visit);
        }
        for spec in self.key_specs {
            for index in spec.indexes(args)? {
                visit(index, spec.flags);
            }
        }
        Ok(())
    }

    /// Whether the command's reply or effect depends on the keyspace: it has keys, or works on
    /// data without naming keys (DBSIZE, KEYS, SCAN, RANDOMKEY, FLUSHALL), or on the record. Shard
    /// channels have a slot as keys do, and nothing else in common with them.
    pub const fn is_data(&self) -> bool {
        let keys = self.has_keys() && !self.flags.has(CommandFlags::PUBSUB);
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
        if f.has(CommandFlags::WRITE) {
            acl = acl.and(Acl::WRITE);
        }
        if f.has(CommandFlags::READONLY) && !acl.has(Acl::SCRIPTING) {
            acl = acl.and(Acl::READ);
        }
        if f.has(CommandFlags::ADMIN) {
            acl = acl.and(Acl::ADMIN).and(Acl::DANGEROUS);
        }
        if f.has(CommandFlags::PUBSUB) {
            acl = acl.and(Acl::PUBSUB);
        }
        if f.has(CommandFlags::BLOCKING) {
            acl = acl.and(Acl::BLOCKING);
        }
        acl.and(if f.has(CommandFlags::FAST) {
            Acl::FAST
        } else {
            Acl::SLOW
        })
    }
}

/// The part of `container|name` after the bar, or all of a name without one.
const fn name_of(full: &'static str) -> &'static str {
    let mut rest = full.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first == b'|' {
            break;
        }
    }
    match (rest, std::str::from_utf8(rest)) {
        ([], _) => full,
        (_, Ok(name)) => name,
        (_, Err(_)) => panic!("what follows a bar is text"),
    }
}
