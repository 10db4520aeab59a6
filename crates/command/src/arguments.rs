//! The arguments of every command, as COMMAND DOCS tells them: redis-cli's help and hints live on it.
//!
//! Owns: the trees of `arguments.txt`, which is compiled in and read once, and their form in a
//! reply. Never: reads a client's arguments; a handler knows its own, and a test compares the trees
//! with the arities of the table. The file has all of Redis's commands, also those not here yet.

use resp::encode::Reply;
use std::collections::HashMap;
use std::sync::LazyLock;

const FILE: &str = include_str!("arguments.txt");

/// One argument, or one group of them.
#[derive(Debug, Default)]
pub struct Argument {
    name: &'static str,
    kind: &'static str,
    /// What a person is shown in place of the name.
    display: Option<&'static str>,
    /// Which of the command's key specs finds it.
    key_spec: Option<i64>,
    /// The word that comes before it, or that it is.
    token: Option<&'static str>,
    since: Option<&'static str>,
    deprecated: Option<&'static str>,
    flags: Vec<&'static str>,
    /// Of a group: a block has all of them, a oneof one.
    parts: Vec<Argument>,
}

/// The arguments of the command with this full name; none for most containers.
pub fn arguments(full_name: &str) -> &'static [Argument] {
    static TREES: LazyLock<HashMap<&'static str, Vec<Argument>>> = LazyLock::new(|| parse(FILE));
    TREES.get(full_name).map_or(&[], Vec::as_slice)
}

fn parse(text: &'static str) -> HashMap<&'static str, Vec<Argument>> {
    let mut trees = HashMap::new();
    let mut command = "";
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let words = line.trim_start_matches(' ');
        match (line.len() - words.len()) / 2 {
            0 => command = words,
            depth => {
                let mut list: &mut Vec<Argument> = trees.entry(command).or_default();
                for _ in 1..depth {
                    let group = list.last_mut().expect("a part stands under its group");
                    list = &mut group.parts;
                }
                list.push(Argument::parse(words));
            }
        }
    }
    trees
}

impl Argument {
    fn parse(line: &'static str) -> Argument {
        let mut words = line.split(' ');
        let mut next = || words.next().expect("a line has a name and a type");
        let mut argument = Argument {
            name: next(),
            kind: next(),
            ..Argument::default()
        };
        for word in words {
            match word.split_once('=') {
                Some(("display", text)) => argument.display = Some(text),
                Some(("key", spec)) => {
                    argument.key_spec = Some(spec.parse().expect("a key spec has a number"));
                }
                Some(("token", text)) => argument.token = Some(text),
                Some(("since", text)) => argument.since = Some(text),
                Some(("deprecated", text)) => argument.deprecated = Some(text),
                Some((other, _)) => unreachable!("{other} is no property of an argument"),
                None => argument.flags.push(word),
            }
        }
        argument
    }

    fn is_group(&self) -> bool {
        matches!(self.kind, "oneof" | "block")
    }

    fn write(&self, reply: &mut Reply<'_>) {
        let display = self.display.unwrap_or(self.name);
        let before = [
            ("name", Some(self.name)),
            ("type", Some(self.kind)),
            ("display_text", (!self.is_group()).then_some(display)),
        ];
        let after = [
            ("token", self.token),
            ("since", self.since),
            ("deprecated_since", self.deprecated),
        ];
        let texts = before
            .iter()
            .chain(&after)
            .filter(|(_, text)| text.is_some());
        reply.map(
            texts.count()
                + usize::from(self.key_spec.is_some())
                + usize::from(!self.flags.is_empty())
                + usize::from(self.is_group()),
        );
        write_texts(reply, &before);
        if let Some(spec) = self.key_spec {
            reply.bulk(b"key_spec_index");
            reply.int(spec);
        }
        write_texts(reply, &after);
        if !self.flags.is_empty() {
            reply.bulk(b"flags");
            reply.set(self.flags.len());
            self.flags.iter().for_each(|flag| reply.simple(flag));
        }
        if self.is_group() {
            reply.bulk(b"arguments");
            write(reply, &self.parts);
        }
    }
}

fn write_texts(reply: &mut Reply<'_>, texts: &[(&str, Option<&str>)]) {
    for (name, text) in texts {
        if let Some(text) = text {
            reply.bulk(name.as_bytes());
            reply.bulk(text.as_bytes());
        }
    }
}

/// The value of a command's `arguments`.
pub fn write(reply: &mut Reply<'_>, arguments: &[Argument]) {
    reply.array(arguments.len());
    for argument in arguments {
        argument.write(reply);
    }
}

/// The arguments as a person writes them, each with a space before it: ` key [NX | XX]`.
pub fn syntax(arguments: &[Argument]) -> String {
    let all = arguments.iter();
    all.map(|argument| format!(" {}", argument.syntax()))
        .collect()
}

impl Argument {
    fn syntax(&self) -> String {
        let parts = |between: &str| {
            let all: Vec<String> = self.parts.iter().map(Argument::syntax).collect();
            all.join(between)
        };
        let is = |flag: &str| self.flags.contains(&flag);
        let value = match self.kind {
            "pure-token" => match self.token {
                Some("") | None => "\"\"".to_owned(),
                Some(token) => token.to_owned(),
            },
            // Brackets around it show where the choice ends.
            "oneof" if is("optional") && self.token.is_none() => parts(" | "),
            "oneof" => format!("<{}>", parts(" | ")),
            "block" => parts(" "),
            _ => self.display.unwrap_or(self.name).to_owned(),
        };
        let whole = match self.token {
            Some(token) if self.kind != "pure-token" => format!("{token} {value}"),
            _ => value.clone(),
        };
        let whole = match (is("multiple"), is("multiple_token")) {
            (false, _) => whole,
            (true, true) => format!("{whole} [{whole} ...]"),
            (true, false) => format!("{whole} [{value} ...]"),
        };
        if is("optional") {
            format!("[{whole}]")
        } else {
            whole
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::table;
    use std::collections::BTreeSet;

    const REDIS: &str = include_str!("../golden/redis-7.4.1-commands.tsv");

    /// More words than any command has without an argument that repeats.
    const ENDLESS: usize = 1_000;

    /// The fewest and the most words that some arguments take.
    fn words(arguments: &[Argument]) -> (usize, usize) {
        let (mut fewest, mut most) = (0, 0);
        for argument in arguments {
            let token = usize::from(argument.token.is_some());
            let parts = || argument.parts.iter();
            let one = |part: &Argument| words(std::slice::from_ref(part));
            let (least, greatest) = match argument.kind {
                "pure-token" => (1, 1),
                "block" => {
                    let (least, greatest) = words(&argument.parts);
                    (token + least, token + greatest)
                }
                "oneof" => (
                    token + parts().map(|p| one(p).0).min().expect("two or more"),
                    token + parts().map(|p| one(p).1).max().expect("two or more"),
                ),
                _ => (token + 1, token + 1),
            };
            let is = |flag: &str| argument.flags.contains(&flag);
            fewest += if is("optional") { 0 } else { least };
            most += if is("multiple") { ENDLESS } else { greatest };
        }
        (fewest, most)
    }

    #[test]
    fn arguments_agree_with_the_arity() {
        let mut wrong = Vec::new();
        for command in table().all() {
            let spec = command.spec;
            let arguments = arguments(spec.full_name);
            let names = 1 + usize::from(command.container.is_some());
            let (fewest, most) = words(arguments);
            let (fewest, most) = (fewest + names, most + names);
            let arity = usize::from(spec.arity.unsigned_abs());
            let agrees = match spec.full_name {
                // All of its filters are optional for Redis's table, though one is needed.
                "client|kill" => (fewest, arity) == (2, 3) && most > ENDLESS,
                // A container's second word is its subcommand's name, which no argument is.
                _ if spec.arity == -2 && arguments.is_empty() && names == 1 => true,
                _ if spec.arity < 0 => fewest == arity,
                _ => fewest == arity && most == arity,
            };
            if !agrees {
                wrong.push(format!(
                    "{}: arity {}, {fewest} to {most} words",
                    spec.full_name, spec.arity
                ));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn containers_alone_have_no_second_word() {
        for command in table().all() {
            let spec = command.spec;
            let silent = spec.arity == -2 && arguments(spec.full_name).is_empty();
            let container = !command.subcommands.is_empty() || spec.full_name == "debug";
            assert!(!silent || container, "{} has no arguments", spec.full_name);
        }
    }

    #[test]
    fn trees_are_of_redis_commands_and_ours() {
        let redis: BTreeSet<&str> = REDIS
            .lines()
            .skip(1)
            .filter_map(|line| line.split('\t').next())
            .collect();
        let trees = parse(FILE);
        for name in trees.keys() {
            let own = ["cluster|flushslot", "cluster|raft"].contains(name);
            assert!(redis.contains(name) || own, "{name}");
        }
        assert!(trees.len() > 250, "{} commands", trees.len());
    }

    #[test]
    fn every_word_of_the_file_means_something() {
        fn check(arguments: &[Argument]) {
            for a in arguments {
                let simple = [
                    "string",
                    "integer",
                    "double",
                    "key",
                    "pattern",
                    "unix-time",
                    "pure-token",
                ];
                assert!(a.is_group() || simple.contains(&a.kind), "{a:?}");
                assert_eq!(a.is_group(), !a.parts.is_empty(), "{a:?}");
                assert!(a.parts.len() != 1, "a group of one: {a:?}");
                assert!(!a.is_group() || a.display.is_none(), "{a:?}");
                let known = ["optional", "multiple", "multiple_token"];
                assert!(a.flags.iter().all(|flag| known.contains(flag)), "{a:?}");
                check(&a.parts);
            }
        }
        for (name, arguments) in parse(FILE) {
            assert!(!arguments.is_empty(), "{name}");
            check(&arguments);
        }
    }

    #[test]
    fn a_key_names_one_of_the_specs() {
        fn keys(arguments: &[Argument], found: &mut Vec<i64>) {
            for argument in arguments {
                found.extend(argument.key_spec);
                keys(&argument.parts, found);
            }
        }
        for command in table().all() {
            let mut named = Vec::new();
            keys(arguments(command.spec.full_name), &mut named);
            let specs = command.spec.key_specs.len() as i64;
            assert!(
                named.iter().all(|spec| (0..specs).contains(spec)),
                "{}: {named:?} of {specs}",
                command.spec.full_name
            );
        }
    }
}
