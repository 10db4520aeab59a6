//! COMMAND: the command table told to clients.
//!
//! Owns: the shapes of COMMAND, COMMAND INFO, COUNT, LIST, GETKEYS and GETKEYSANDFLAGS. Never:
//! knows a command itself; all facts come from the table's rows.

use super::super::env::{Done, Env, DONE};
use super::super::error::Error;
use super::super::spec::{flags, Acl, Flags, Group, KeyFlags, KeyRange, KeySpec, Spec};
use super::super::table::{table, Command, Lookup};
use super::docs::docs;
use super::help;
use crate::config::glob;
use crate::resp::args::Args;
use crate::resp::encode::Reply;

const READ_ANY_TIME: Flags = flags![LOADING, STALE];

pub const COMMAND: Spec = Spec::new("command", -1, READ_ANY_TIME, Group::Server, command)
    .acl(Acl::CONNECTION)
    .since("2.8.13")
    .summary("Describes every command.")
    .tips(ANY_ORDER)
    .subcommands(SUBCOMMANDS);

const ANY_ORDER: &[&str] = &["nondeterministic_output_order"];

static SUBCOMMANDS: &[Spec] = &[
    Spec::sub("command|count", 2, READ_ANY_TIME, Group::Server, count)
        .acl(Acl::CONNECTION)
        .since("2.8.13")
        .summary("Counts the commands."),
    Spec::sub("command|docs", -2, READ_ANY_TIME, Group::Server, docs)
        .acl(Acl::CONNECTION)
        .since("7.0.0")
        .summary("Documents commands.")
        .tips(ANY_ORDER),
    Spec::sub("command|getkeys", -3, READ_ANY_TIME, Group::Server, getkeys)
        .acl(Acl::CONNECTION)
        .since("2.8.13")
        .summary("Finds the keys in a full command."),
    Spec::sub(
        "command|getkeysandflags",
        -3,
        READ_ANY_TIME,
        Group::Server,
        getkeysandflags,
    )
    .acl(Acl::CONNECTION)
    .since("7.0.0")
    .summary("Finds the keys in a full command and what happens to them."),
    Spec::sub("command|help", 2, READ_ANY_TIME, Group::Server, print_help)
        .acl(Acl::CONNECTION)
        .since("5.0.0")
        .summary("Lists the subcommands."),
    Spec::sub("command|info", -2, READ_ANY_TIME, Group::Server, info)
        .acl(Acl::CONNECTION)
        .since("2.8.13")
        .summary("Describes the named commands.")
        .tips(ANY_ORDER),
    Spec::sub("command|list", -2, READ_ANY_TIME, Group::Server, list)
        .acl(Acl::CONNECTION)
        .since("7.0.0")
        .summary("Lists the names of commands.")
        .tips(ANY_ORDER),
];

fn print_help(env: &mut Env<'_>, _: Args<'_>) -> Done {
    help::write(&mut env.reply(), "COMMAND", help::COMMAND);
    DONE
}

fn count(env: &mut Env<'_>, _: Args<'_>) -> Done {
    env.reply().int(table().commands().len() as i64);
    DONE
}

fn command(env: &mut Env<'_>, _: Args<'_>) -> Done {
    write_all(&mut env.reply());
    DONE
}

fn info(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let mut reply = env.reply();
    if args.len() == 2 {
        write_all(&mut reply);
        return DONE;
    }
    reply.array(args.len() - 2);
    for name in args.iter().skip(2) {
        match by_full_name(name) {
            Some(command) => write_command(&mut reply, command),
            None => reply.null(),
        }
    }
    DONE
}

/// The command called `name`, or the subcommand called `container|name`.
pub fn by_full_name(name: &[u8]) -> Option<&'static Command> {
    let mut parts = name.splitn(2, |byte| *byte == b'|');
    let command = table().get(parts.next()?)?;
    match parts.next() {
        None => Some(command),
        Some(sub) => command.subcommand(sub),
    }
}

fn write_all(reply: &mut Reply<'_>) {
    reply.array(table().commands().len());
    for command in table().commands() {
        write_command(reply, command);
    }
}

fn write_command(reply: &mut Reply<'_>, command: &Command) {
    let spec = command.spec;
    reply.array(10);
    reply.bulk(spec.full_name.as_bytes());
    reply.int(spec.arity.into());
    write_names(
        reply,
        "",
        Flags::PRINTED
            .iter()
            .filter(|f| spec.flags.has(f.0))
            .map(|f| f.1),
    );
    reply.int(spec.range.first.into());
    reply.int(spec.range.last.into());
    reply.int(spec.range.step.into());
    let categories = spec.categories();
    write_names(
        reply,
        "@",
        Acl::NAMES
            .iter()
            .filter(|a| categories.has(a.0))
            .map(|a| a.1),
    );
    reply.set(spec.tips.len());
    for tip in spec.tips {
        reply.bulk(tip.as_bytes());
    }
    reply.set(spec.key_specs.len());
    for key_spec in spec.key_specs {
        write_key_spec(reply, key_spec);
    }
    if command.subcommands.is_empty() {
        reply.set(0);
    } else {
        reply.array(command.subcommands.len());
        for sub in command.subcommands {
            write_command(reply, sub);
        }
    }
}

/// A set of status replies.
fn write_names<'n>(
    reply: &mut Reply<'_>,
    prefix: &str,
    names: impl Iterator<Item = &'n str> + Clone,
) {
    reply.set(names.clone().count());
    for name in names {
        reply.simple(&format!("{prefix}{name}"));
    }
}

fn write_key_flags(reply: &mut Reply<'_>, flags: KeyFlags) {
    write_names(
        reply,
        "",
        KeyFlags::NAMES
            .iter()
            .filter(|f| flags.has(f.0))
            .map(|f| f.1),
    );
}

fn write_key_spec(reply: &mut Reply<'_>, spec: &KeySpec) {
    if spec.notes.is_empty() {
        reply.map(3);
    } else {
        reply.map(4);
        reply.bulk(b"notes");
        reply.bulk(spec.notes.as_bytes());
    }
    reply.bulk(b"flags");
    write_key_flags(reply, spec.flags);
    reply.bulk(b"begin_search");
    write_search(reply, "index", &[("index", spec.begin.into())]);
    reply.bulk(b"find_keys");
    let range = [
        ("lastkey", spec.last.into()),
        ("keystep", spec.step.into()),
        ("limit", spec.limit.into()),
    ];
    write_search(reply, "range", &range);
}

fn write_search(reply: &mut Reply<'_>, kind: &str, numbers: &[(&str, i64)]) {
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(kind.as_bytes());
    reply.bulk(b"spec");
    reply.map(numbers.len());
    for (name, number) in numbers {
        reply.bulk(name.as_bytes());
        reply.int(*number);
    }
}

// ---- LIST --------------------------------------------------------------------------------------

enum Filter<'a> {
    None,
    /// There are no modules, so nothing is of one.
    Module,
    Category(Acl),
    Pattern(&'a [u8]),
}

impl Filter<'_> {
    fn passes(&self, spec: &Spec) -> bool {
        match self {
            Filter::None => true,
            Filter::Module => false,
            Filter::Category(category) => spec.categories().has(*category),
            Filter::Pattern(pattern) => glob::matches(pattern, spec.full_name.as_bytes()),
        }
    }
}

/// The category of that name, in any case; none is in an unknown one.
pub fn category(name: &[u8]) -> Option<Acl> {
    Acl::NAMES
        .iter()
        .find(|a| a.1.as_bytes().eq_ignore_ascii_case(name))
        .map(|a| a.0)
}

/// The full names of all commands and subcommands that `passes` lets through.
pub fn full_names(passes: impl Fn(&Spec) -> bool) -> Vec<&'static str> {
    table()
        .rows()
        .filter(|c| passes(c.spec))
        .map(|c| c.spec.full_name)
        .collect()
}

fn list(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let filter = match args.len() {
        2 => Filter::None,
        5 if args[2].eq_ignore_ascii_case(b"filterby") => {
            let (kind, value) = (&args[3], &args[4]);
            if kind.eq_ignore_ascii_case(b"module") {
                Filter::Module
            } else if kind.eq_ignore_ascii_case(b"aclcat") {
                Filter::Category(category(value).unwrap_or(Acl::NONE))
            } else if kind.eq_ignore_ascii_case(b"pattern") {
                Filter::Pattern(value)
            } else {
                return Err(Error::SYNTAX);
            }
        }
        _ => return Err(Error::SYNTAX),
    };
    let names = full_names(|spec| filter.passes(spec));
    let mut reply = env.reply();
    reply.array(names.len());
    for name in names {
        reply.bulk(name.as_bytes());
    }
    DONE
}

// ---- GETKEYS -----------------------------------------------------------------------------------

/// The keys of the command in `args[2..]`: their indexes in `args`, and what happens to them.
fn keys_of(args: Args<'_>) -> Result<Vec<(usize, KeyFlags)>, Error> {
    let argc = args.len() - 2;
    let Lookup::Found(command) = table().lookup(&args[2], args.get(3)) else {
        return Err(Error::GETKEYS_NO_COMMAND);
    };
    let spec = command.spec;
    // Shard channels have slots, but are no keys.
    let channel = |k: &KeySpec| k.flags.has(KeyFlags::NOT_KEY);
    if !spec.has_keys() || spec.key_specs.iter().all(channel) {
        return Err(Error::GETKEYS_NO_KEYS);
    }
    if !spec.accepts(argc) {
        return Err(Error::GETKEYS_ARITY);
    }
    let mut keys = Vec::new();
    for key_spec in spec.key_specs {
        let last = if key_spec.last < 0 {
            key_spec.last
        } else {
            key_spec.begin as i16 + key_spec.last
        };
        let range = KeyRange {
            first: key_spec.begin,
            last,
            step: key_spec.step,
        };
        let flags = effective_flags(spec, key_spec, args);
        keys.extend(range.indexes(argc).map(|index| (index + 2, flags)));
    }
    if keys.is_empty() && !spec.flags.has(Flags::NO_MANDATORY_KEYS) {
        return Err(Error::GETKEYS_ARGUMENTS);
    }
    Ok(keys)
}

/// The flags of a key where they depend on the options: only SET's do so far (GET makes it read).
fn effective_flags(spec: &Spec, key_spec: &KeySpec, args: Args<'_>) -> KeyFlags {
    if !key_spec.flags.has(KeyFlags::VARIABLE_FLAGS) {
        return key_spec.flags;
    }
    assert_eq!(
        spec.full_name, "set",
        "the only command whose key flags vary"
    );
    if args
        .iter()
        .skip(5)
        .any(|arg| arg.eq_ignore_ascii_case(b"get"))
    {
        KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE)
    } else {
        KeyFlags::OW.and(KeyFlags::UPDATE)
    }
}

fn getkeys(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let keys = keys_of(args)?;
    let mut reply = env.reply();
    reply.array(keys.len());
    for (index, _) in keys {
        reply.bulk(&args[index]);
    }
    DONE
}

fn getkeysandflags(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let keys = keys_of(args)?;
    let mut reply = env.reply();
    reply.array(keys.len());
    for (index, flags) in keys {
        reply.array(2);
        reply.bulk(&args[index]);
        write_key_flags(&mut reply, flags);
    }
    DONE
}
