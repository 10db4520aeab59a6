//! COMMAND: the command table told to clients.
//!
//! Owns: the shapes of COMMAND, COMMAND INFO, COUNT, LIST, GETKEYS and GETKEYSANDFLAGS. Never:
//! knows a command itself; all facts come from the table's rows.

use super::super::env::{Command, Commands, Done, Env, DONE};
use super::super::error::Error;
use super::super::help::write;
use super::super::key_spec::{Begin, Find, KeyFlags, KeySpec};
use super::super::registry::Lookup;
use super::super::rows::rows;
use super::super::spec::{Acl, CommandFlags, Spec};
use super::docs::docs;
use super::help;
use base::glob;
use resp::args::Args;
use resp::encode::Reply;

const ANY_ORDER: &[&str] = &["nondeterministic_output_order"];

rows! { pub static ROWS: Server [CONNECTION] {
    "command" -1 [LOADING STALE] "2.8.13" => command [SUBCOMMANDS]: "Describes every command." .tips(ANY_ORDER);
}}

rows! { static SUBCOMMANDS: Server [CONNECTION] {
    "command|count" 2 [LOADING STALE] "2.8.13" => count: "Counts the commands.";
    "command|docs" -2 [LOADING STALE] "7.0.0" => docs: "Documents commands." .tips(ANY_ORDER);
    "command|getkeys" -3 [LOADING STALE] "2.8.13" => getkeys: "Finds the keys in a full command.";
    "command|getkeysandflags" -3 [LOADING STALE] "7.0.0" => getkeysandflags: "Finds the keys in a full command and what happens to them.";
    "command|help" 2 [LOADING STALE] "5.0.0" => print_help: "Lists the subcommands.";
    "command|info" -2 [LOADING STALE] "2.8.13" => info: "Describes the named commands." .tips(ANY_ORDER);
    "command|list" -2 [LOADING STALE] "7.0.0" => list: "Lists the names of commands." .tips(ANY_ORDER);
}}

fn print_help(env: &mut Env<'_>, _: Args<'_>) -> Done {
    write(&mut env.reply(), "COMMAND", help::COMMAND);
    DONE
}

fn count(env: &mut Env<'_>, _: Args<'_>) -> Done {
    let count = env.commands.commands().len();
    env.reply().int(count as i64);
    DONE
}

fn command(env: &mut Env<'_>, _: Args<'_>) -> Done {
    let commands = env.commands;
    write_all(&mut env.reply(), commands);
    DONE
}

fn info(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let commands = env.commands;
    let mut reply = env.reply();
    if args.len() == 2 {
        write_all(&mut reply, commands);
        return DONE;
    }
    reply.array(args.len() - 2);
    for name in args.iter().skip(2) {
        match commands.by_full_name(name) {
            Some(command) => write_command(&mut reply, command),
            None => reply.null(),
        }
    }
    DONE
}

fn write_all(reply: &mut Reply<'_>, commands: &Commands) {
    reply.array(commands.commands().len());
    for command in commands.commands() {
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
        CommandFlags::PRINTED
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
    match spec.begin {
        Begin::Index(index) => write_search(reply, "index", &[("index", number(index))]),
        Begin::Keyword { word, from } => {
            let word = ("keyword", Fact::Word(word));
            write_search(reply, "keyword", &[word, ("startfrom", number(from))]);
        }
        Begin::Unknown => write_search(reply, "unknown", &[]),
    }
    reply.bulk(b"find_keys");
    match spec.find {
        Find::Range { last, step, limit } => {
            let last = ("lastkey", number(last));
            let rest = [("keystep", number(step)), ("limit", number(limit))];
            write_search(reply, "range", &[last, rest[0], rest[1]]);
        }
        Find::KeyNum { at, first, step } => {
            let at = ("keynumidx", number(at));
            let rest = [("firstkey", number(first)), ("keystep", number(step))];
            write_search(reply, "keynum", &[at, rest[0], rest[1]]);
        }
        Find::Unknown => write_search(reply, "unknown", &[]),
    }
}

/// What is told of a search.
#[derive(Clone, Copy)]
enum Fact {
    Number(i64),
    Word(&'static str),
}

fn number(number: impl Into<i64>) -> Fact {
    Fact::Number(number.into())
}

fn write_search(reply: &mut Reply<'_>, kind: &str, facts: &[(&str, Fact)]) {
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(kind.as_bytes());
    reply.bulk(b"spec");
    reply.map(facts.len());
    for (name, fact) in facts {
        reply.bulk(name.as_bytes());
        match fact {
            Fact::Number(number) => reply.int(*number),
            Fact::Word(word) => reply.bulk(word.as_bytes()),
        }
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
            Filter::Pattern(pattern) => glob::matches(pattern, spec.full_name.as_bytes(), true),
        }
    }
}

fn list(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let filter = match args.len() {
        2 => Filter::None,
        5 if args[2].eq_ignore_ascii_case(b"filterby") => {
            let (kind, value) = (&args[3], &args[4]);
            if kind.eq_ignore_ascii_case(b"module") {
                Filter::Module
            } else if kind.eq_ignore_ascii_case(b"aclcat") {
                Filter::Category(Acl::named(value).unwrap_or(Acl::NONE))
            } else if kind.eq_ignore_ascii_case(b"pattern") {
                Filter::Pattern(value)
            } else {
                return Err(Error::SYNTAX);
            }
        }
        _ => return Err(Error::SYNTAX),
    };
    let names = env.commands.full_names(|spec| filter.passes(spec));
    let mut reply = env.reply();
    reply.array(names.len());
    for name in names {
        reply.bulk(name.as_bytes());
    }
    DONE
}

// ---- GETKEYS -----------------------------------------------------------------------------------

/// The keys of the command in `args[2..]`: their indexes in `args`, and what happens to them.
fn keys_of(commands: &Commands, args: Args<'_>) -> Result<Vec<(usize, KeyFlags)>, Error> {
    let call = args.skip(2);
    let Lookup::Found(command) = commands.lookup(call.at(0), call.get(1)) else {
        return Err(Error::GETKEYS_NO_COMMAND);
    };
    let spec = command.spec;
    // Shard channels have slots, but are no keys.
    let channel = |k: &KeySpec| k.flags.has(KeyFlags::NOT_KEY);
    if spec.key_specs.iter().all(channel) {
        return Err(Error::GETKEYS_NO_KEYS);
    }
    if !spec.accepts(call.len()) {
        return Err(Error::GETKEYS_ARITY);
    }
    let mut keys = Vec::new();
    let found = spec.keys_and_flags(call, &mut |index, flags| keys.push((index + 2, flags)));
    if found.is_err() {
        keys.clear();
    }
    if keys.is_empty() && !spec.flags.has(CommandFlags::NO_MANDATORY_KEYS) {
        return Err(Error::GETKEYS_ARGUMENTS);
    }
    Ok(keys)
}

fn getkeys(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let keys = keys_of(env.commands, args)?;
    let mut reply = env.reply();
    reply.array(keys.len());
    for (index, _) in keys {
        reply.bulk(&args[index]);
    }
    DONE
}

fn getkeysandflags(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let keys = keys_of(env.commands, args)?;
    let mut reply = env.reply();
    reply.array(keys.len());
    for (index, flags) in keys {
        reply.array(2);
        reply.bulk(&args[index]);
        write_key_flags(&mut reply, flags);
    }
    DONE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::golden;
    use resp::Proto;

    /// What COMMAND INFO of redis-server says of the last key spec, behind its flags.
    #[test]
    fn key_specs_are_told_as_by_redis() {
        for (command, want) in [
            (
                "xread",
                "$12 begin_search *4 $4 type $7 keyword $4 spec *4 $7 keyword $7 STREAMS $9 startfrom :1 \
                 $9 find_keys *4 $4 type $5 range $4 spec *6 $7 lastkey :-1 $7 keystep :1 $5 limit :2 ",
            ),
            (
                "evalsha",
                "$12 begin_search *4 $4 type $5 index $4 spec *2 $5 index :2 \
                 $9 find_keys *4 $4 type $6 keynum $4 spec *6 $9 keynumidx :0 $8 firstkey :1 $7 keystep :1 ",
            ),
            (
                "sort",
                "$12 begin_search *4 $4 type $7 unknown $4 spec *0 \
                 $9 find_keys *4 $4 type $7 unknown $4 spec *0 ",
            ),
        ] {
            let spec = golden::spec(command);
            let mut out = Vec::new();
            let last = spec.key_specs.last().unwrap();
            write_key_spec(&mut Reply::new(&mut out, Proto::Resp2), last);
            let text = String::from_utf8(out).unwrap().replace("\r\n", " ");
            let at = text.find("$12 begin_search").unwrap();
            assert_eq!(&text[at..], want, "{command}");
        }
    }
}
