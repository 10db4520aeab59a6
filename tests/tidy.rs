//! Style as a test: nobody has to remember these rules, and no review has to repeat them.
//!
//! It reads the sources as text. What it owns: sizes, headers, banned calls, who may know whom,
//! names of rules that exist, files nobody compiles, paths of somebody's machine.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a source file, tests not counted.
const FILE_LINES_MAX: usize = 800;
/// Lines of a function: a screen.
const FUNCTION_LINES_MAX: usize = 70;

/// Crates that decide: time and bytes are their arguments, wishes their results. clippy.toml bans clocks,
/// threads, sockets and files in them, and none of the crates below is at hand.
const SANS_IO: &[&str] = &[
    "crates/base",
    "crates/cluster",
    "crates/command",
    "crates/containers",
    "crates/effect",
    "crates/keyspace",
    "crates/net",
    "crates/outside",
    "crates/pubsub",
    "crates/raft-group",
    "crates/rdb",
    "crates/resp",
    "crates/server",
    "crates/shard",
    "crates/state",
    "crates/topology",
    "cluster-bus",
];
const SANS_IO_BANNED: &[&str] = &["libc", "memmap2", "mio", "signal-hook", "socket2", "tokio"];

/// Crates that a crate must not know, though no circle would forbid it. docs/ARCHITECTURE.md has the picture.
const STRANGERS: &[(&str, &[&str])] = &[
    ("base", &["*"]),
    ("resp", &["keyspace", "state", "effect", "topology"]),
    (
        "containers",
        &["effect", "keyspace", "rdb", "resp", "state"],
    ),
    ("keyspace", &["resp", "effect", "topology"]),
    ("rdb", &["effect", "keyspace", "resp", "state", "topology"]),
    ("effect", &["resp", "keyspace", "topology"]),
    ("topology", &["resp", "keyspace", "effect"]),
    ("state", &["resp", "config", "storage", "raft", "slog"]),
    ("storage", &["state", "keyspace", "effect", "raft-group"]),
    ("raft-group", &["state", "keyspace", "effect", "topology"]),
    ("transport", &["raft", "raft-group", "state", "storage"]),
    ("shard", &["command", "config", "net", "resp", "transport"]),
    (
        "command",
        &["net", "raft", "raft-group", "shard", "storage", "transport"],
    ),
    ("cluster", &["command", "config", "net", "resp"]),
    (
        "outside",
        &["cluster", "command", "config", "net", "resp", "transport"],
    ),
    ("sim", &["mio", "tokio"]),
    ("tool", &["server", "shard", "transport", "mio", "tokio"]),
];

/// The safety rules: letter and how many there are (docs/RAFT.md says what each is).
const RULES: &[(char, u32)] = &[
    ('G', 7),
    ('E', 6),
    ('T', 9),
    ('S', 4),
    ('D', 7),
    ('W', 3),
    ('C', 6),
    ('M', 30),
    ('P', 30),
];

struct Source {
    /// Relative to the repository, with forward slashes.
    path: String,
    text: String,
}

impl Source {
    fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs")
            || self.path.ends_with("/testing.rs")
            || self.path.ends_with("_tests.rs")
            || self.path.contains("/tests/")
            || self.path.starts_with("crates/sim/")
    }

    /// The lines before the tests at the end of the file, with their numbers.
    fn code(&self) -> Vec<(usize, &str)> {
        if self.is_test() {
            return Vec::new();
        }
        let lines: Vec<&str> = self.text.lines().collect();
        let is_tests = |at: &usize| {
            let next = lines.get(at + 1).copied().unwrap_or("");
            lines[*at] == "#[cfg(test)]" && next.starts_with("mod ") && next.ends_with('{')
        };
        let end = (0..lines.len()).find(is_tests).unwrap_or(lines.len());
        lines[..end]
            .iter()
            .enumerate()
            .map(|(at, line)| (at + 1, *line))
            .collect()
    }
}

fn root() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR")
        .unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into())
        .into()
}

fn walk(dir: &Path, extensions: &[&str], found: &mut Vec<Source>) {
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            walk(&path, extensions, found);
            continue;
        }
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or("");
        if !extensions.contains(&extension) {
            continue;
        }
        let relative = path.strip_prefix(root()).expect("below the root");
        let path_text = relative.to_string_lossy().replace('\\', "/");
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path_text}: {e}"));
        found.push(Source {
            path: path_text,
            text,
        });
    }
}

fn sources(folders: &[&str], extensions: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    for folder in folders {
        walk(&root().join(folder), extensions, &mut found);
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn rust_sources() -> Vec<Source> {
    let found = sources(&["src", "cluster-bus/src", "crates"], &["rs"]);
    assert!(found.len() > 10, "the sources were not found");
    found
}

/// A line without its comment. Good enough for this code base: no string here holds `//` and a
/// banned word both.
fn without_comment(line: &str) -> &str {
    line.split("//").next().unwrap_or("")
}

fn verdict(what: &str, wrong: Vec<String>) {
    assert!(wrong.is_empty(), "{what}:\n  {}\n", wrong.join("\n  "));
}

#[test]
fn every_file_says_what_it_owns() {
    let wrong = rust_sources()
        .into_iter()
        .filter(|s| !s.is_test() && !s.text.starts_with("//! "))
        .map(|s| s.path);
    verdict(
        "files must open with `//!`: what it owns, what it never does",
        wrong.collect(),
    );
}

#[test]
fn files_and_functions_are_small() {
    let mut wrong = Vec::new();
    for source in rust_sources() {
        let code = source.code();
        if code.len() > FILE_LINES_MAX {
            wrong.push(format!("{}: {} lines", source.path, code.len()));
        }
        let mut open: Option<(usize, String, &str)> = None;
        for (number, line) in code {
            let trimmed = line.trim_start();
            let indent = &line[..line.len() - trimmed.len()];
            if open.is_none() && is_function(trimmed) && !trimmed.ends_with(['}', ';']) {
                open = Some((number, format!("{indent}}}"), trimmed));
            } else if let Some((start, end, name)) = &open {
                let lines = number - start; // the closing brace is free
                let no_body = line.starts_with(&format!("{indent})")) && line.ends_with(';');
                if no_body && end.len() == indent.len() + 1 {
                    open = None; // a trait's, over several lines
                } else if line == end || line == format!("{};", &end[..end.len() - 1]) {
                    if lines > FUNCTION_LINES_MAX {
                        wrong.push(format!("{}:{start}: {lines} lines: {name}", source.path));
                    }
                    open = None;
                }
            }
        }
    }
    verdict("too long (files 800 lines, functions 70)", wrong);
}

/// Whether a trimmed line begins a function.
fn is_function(line: &str) -> bool {
    let words = [
        "pub",
        "pub(crate)",
        "pub(super)",
        "const",
        "async",
        "unsafe",
    ];
    line.split(' ').find(|w| !words.contains(w)) == Some("fn")
}

#[test]
fn no_stubs_and_no_unwrap() {
    let banned = [
        "todo!(",
        "unimplemented!(",
        ".unwrap()",
        "dbg!(",
        "FIXME",
        "XXX",
    ];
    let mut wrong = Vec::new();
    for source in rust_sources() {
        for (number, line) in source.code() {
            let code = without_comment(line);
            for word in banned {
                // Comments may not hold the last two either.
                let text = if word.ends_with(['F', 'X', 'E']) {
                    line
                } else {
                    code
                };
                if text.contains(word) {
                    wrong.push(format!("{}:{number}: {word}", source.path));
                }
            }
        }
    }
    verdict(
        "not outside tests (`expect(\"why it holds\")` in place of unwrap)",
        wrong,
    );
}

/// The names under `[dependencies]` of a crate.
fn dependencies(folder: &str) -> Vec<String> {
    let path = root().join(folder).join("Cargo.toml");
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{folder}: {e}"));
    let lines = text.lines().skip_while(|line| *line != "[dependencies]");
    let of_section = lines.skip(1).take_while(|line| !line.starts_with('['));
    let is_needed = |line: &&str| !line.is_empty() && !line.contains("optional = true");
    let end = |c: char| c == '.' || c == ' ';
    of_section
        .filter(is_needed)
        .map(|line| line.split(end).next().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn sans_io_crates_name_no_crate_of_io() {
    let mut wrong = Vec::new();
    for folder in SANS_IO {
        for known in dependencies(folder) {
            if SANS_IO_BANNED.contains(&known.as_str()) {
                wrong.push(format!("{folder} knows {known}"));
            }
        }
        let own = root().join(folder).join("clippy.toml");
        let above = root().join("crates/clippy.toml");
        let strict = fs::read_to_string(above).expect("the bans of the crates");
        // Clippy looks in the folder, then above it: only crates below `crates` need no file of their own.
        let own = fs::read_to_string(own).ok();
        let found = own.or_else(|| folder.starts_with("crates/").then(|| strict.clone()));
        if found.as_ref() != Some(&strict) {
            wrong.push(format!("{folder} is not held to the bans of the crates"));
        }
    }
    verdict(
        "time, randomness and I/O are arguments here, or no seed reproduces a run",
        wrong,
    );
}

#[test]
fn knowledge_goes_one_way() {
    let mut wrong = Vec::new();
    for (own, strangers) in STRANGERS {
        for known in dependencies(&format!("crates/{own}")) {
            let ours = root().join("crates").join(&known).is_dir();
            if strangers.contains(&"*") && ours || strangers.contains(&known.as_str()) {
                wrong.push(format!("{own} must not know {known}"));
            }
        }
    }
    verdict("an edge that STRANGERS in this file forbids", wrong);
}

/// What a file of the crate `command` uses of that folder, as module paths; by the file's own.
type Uses = BTreeMap<Vec<String>, BTreeSet<Vec<String>>>;

fn uses_within_command() -> Uses {
    let path_of = |path: &str| -> Option<Vec<String>> {
        let path = path
            .strip_prefix("crates/command/src/")?
            .strip_suffix(".rs")?;
        let path = path.strip_suffix("mod").unwrap_or(path);
        let path = if path == "lib" { "" } else { path };
        Some(
            path.split('/')
                .filter(|part| !part.is_empty())
                .map(str::to_owned)
                .collect(),
        )
    };
    let all = rust_sources();
    let for_tests = |source: &Source| {
        let name = Path::new(&source.path)
            .file_stem()
            .expect("a name")
            .to_string_lossy();
        let declared = format!("#[cfg(any(test, feature = \"testing\"))]\npub mod {name};");
        let private = format!("#[cfg(test)]\nmod {name};");
        let mut owners = all
            .iter()
            .filter(|owner| owner.path == "crates/command/src/lib.rs");
        owners.any(|owner| owner.text.contains(&declared) || owner.text.contains(&private))
    };
    let files: BTreeMap<Vec<String>, String> = all
        .iter()
        .filter(|source| !source.is_test() && !for_tests(source))
        .filter_map(|source| {
            let lines = source
                .code()
                .into_iter()
                .map(|(_, line)| without_comment(line));
            Some((path_of(&source.path)?, lines.collect::<Vec<_>>().join(" ")))
        })
        .collect();
    let file_of = |mut path: Vec<String>| {
        while !files.contains_key(&path) {
            path.pop();
        }
        path
    };
    let used = |own: &Vec<String>, text: &str| {
        let mut used: BTreeSet<_> = paths_in(own, text).into_iter().map(file_of).collect();
        used.remove(own);
        used
    };
    files
        .iter()
        .map(|(own, text)| (own.clone(), used(own, text)))
        .collect()
}

/// The paths in the crate `command` that the code of a module names: `super::a::b`, also with braces,
/// `crate::a`, and `a::b` where `a` is its own submodule.
fn paths_in(own: &[String], text: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let starts_word = |at: usize| {
        let before = text[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
    };
    for (at, _) in text
        .match_indices("crate::")
        .filter(|(at, _)| starts_word(*at))
    {
        paths_from(Vec::new(), &text[at + "crate::".len()..], &mut found);
    }
    for (at, _) in text
        .match_indices("super::")
        .filter(|(at, _)| starts_word(*at))
    {
        let (mut base, mut rest) = (own.to_vec(), &text[at..]);
        while let Some(after) = rest.strip_prefix("super::") {
            base.pop();
            rest = after;
        }
        paths_from(base, rest, &mut found);
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    for pair in words
        .windows(2)
        .filter(|pair| pair[0] == "mod" && pair[1].ends_with(';'))
    {
        let child = pair[1].trim_end_matches(';');
        let start = format!("{child}::");
        if text.match_indices(&start).any(|(at, _)| starts_word(at)) {
            found.push([own, &[child.to_owned()]].concat());
        }
    }
    found
}

/// All paths of `a::{b, c::{d, e}}`, each behind `base`; returns what follows.
fn paths_from<'t>(base: Vec<String>, text: &'t str, found: &mut Vec<Vec<String>>) -> &'t str {
    let text = text.trim_start();
    if let Some(mut list) = text.strip_prefix('{') {
        loop {
            list = paths_from(base.clone(), list, found).trim_start();
            match list.strip_prefix(',').map(str::trim_start) {
                // A comma may stand behind the last one too.
                Some(more) if !more.starts_with('}') => list = more,
                Some(end) => return &end[1..],
                None => return list.strip_prefix('}').unwrap_or(list),
            }
        }
    }
    let end = text
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let path = [base, vec![name.to_owned()]].concat();
    match rest.strip_prefix("::") {
        Some(rest) if !name.is_empty() => paths_from(path, rest, found),
        _ => {
            found.push(path);
            rest
        }
    }
}

#[test]
fn only_the_table_knows_the_families() {
    let table = fs::read_to_string(root().join("crates/command/src/table.rs")).expect("the table");
    let is_family = |name: &str| {
        ["ROWS", "TABLES"]
            .iter()
            .any(|of| table.contains(&format!("{name}::{of}")))
    };
    let uses = uses_within_command();
    let families = uses
        .keys()
        .filter(|path| path.len() == 1 && is_family(&path[0]))
        .count();
    assert!(families >= 8, "{families} families were found");
    let mut wrong = Vec::new();
    for (own, used) in &uses {
        let [first, ..] = own.as_slice() else {
            continue; // mod.rs lists them all
        };
        for other in used {
            let foreign =
                other.first() != Some(first) && other.first().is_some_and(|o| is_family(o));
            if foreign && first != "table" {
                wrong.push(format!("{} uses {}", own.join("/"), other.join("/")));
            }
            if other.is_empty() {
                wrong.push(format!(
                    "{} uses mod.rs, which lists the others",
                    own.join("/")
                ));
            }
        }
    }
    verdict(
        "families know the core, never each other; the core knows no family",
        wrong,
    );
}

#[test]
fn no_files_of_command_need_each_other() {
    let uses = uses_within_command();
    // Again and again: no circle has a file that needs, or is needed by, none of those that are left.
    let mut left: BTreeSet<_> = uses.keys().filter(|own| !own.is_empty()).collect();
    loop {
        let before = left.clone();
        let needed: BTreeSet<_> = before.iter().flat_map(|own| &uses[*own]).collect();
        let needs = |own: &Vec<String>| uses[own].iter().any(|other| before.contains(other));
        left.retain(|own| needed.contains(own) && needs(own));
        if left.len() == before.len() {
            break;
        }
    }
    let line = |own: &&Vec<String>| {
        let others = uses[*own].iter().filter(|other| left.contains(other));
        let others: Vec<String> = others.map(|other| other.join("/")).collect();
        (!others.is_empty()).then(|| format!("{} uses {}", own.join("/"), others.join(", ")))
    };
    verdict(
        "circles among these",
        left.iter().filter_map(line).collect(),
    );
}

#[test]
fn paths_are_read_as_the_compiler_reads_them() {
    let own: Vec<String> = ["server", "info"].map(str::to_owned).to_vec();
    let text =
        "mod part; use super::super::env::{Done, Env}; use super::{help, report::{Report, X,},}; \
                crate::table(); part::go(); not_super::x(); ::super::y();";
    let mut found: Vec<String> = paths_in(&own, text)
        .iter()
        .map(|path| path.join("/"))
        .collect();
    found.sort();
    let want = [
        "env/Done",
        "env/Env",
        "server/help",
        "server/info/part",
        "server/report/Report",
        "server/report/X",
        "table",
    ];
    assert_eq!(found, want);
}

#[test]
fn named_rules_exist() {
    let mut wrong = Vec::new();
    for source in rust_sources() {
        for (at, line) in source.text.lines().enumerate() {
            let Some((_, comment)) = line.split_once("//") else {
                continue;
            };
            for word in comment.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '+') {
                let mut chars = word.chars();
                let (Some(letter), number) = (chars.next(), chars.as_str()) else {
                    continue;
                };
                let Some((_, count)) = RULES.iter().find(|(l, _)| *l == letter) else {
                    continue;
                };
                let digits = !number.is_empty()
                    && number.len() <= 2
                    && number.bytes().all(|b| b.is_ascii_digit());
                if digits && !(1..=*count).contains(&number.parse().expect("digits")) {
                    wrong.push(format!(
                        "{}:{}: there is no rule {word}",
                        source.path,
                        at + 1
                    ));
                }
            }
        }
    }
    verdict("comments name rules of docs/RAFT.md", wrong);
}

#[test]
fn every_file_is_compiled() {
    let all = rust_sources();
    let mut wrong = Vec::new();
    for source in &all {
        let path = Path::new(&source.path);
        let (name, dir) = (
            path.file_stem().expect("a name"),
            path.parent().expect("a folder"),
        );
        let (name, dir) = (name.to_string_lossy(), dir.to_string_lossy());
        let is_root = ["src/main.rs", "src/lib.rs"]
            .iter()
            .any(|root| source.path.ends_with(root));
        let of_its_own = source.path.starts_with("crates/")
            && ["tests", "examples"].contains(&source.path.split('/').nth(2).unwrap_or(""));
        if is_root || of_its_own {
            continue;
        }
        let (name, dir) = match name.as_ref() {
            "mod" => (
                path.parent()
                    .and_then(Path::file_name)
                    .expect("a folder")
                    .to_string_lossy(),
                parent(&dir),
            ),
            _ => (name, dir.to_string()),
        };
        let owners = [
            format!("{dir}/mod.rs"),
            format!("{dir}/lib.rs"),
            format!("{dir}/main.rs"),
            format!("{dir}.rs"),
        ];
        let by_name = format!("mod {name};");
        let by_path = format!("#[path = \"{name}.rs\"]");
        let declares = |owner: &Source| {
            let declared = |l: &str| l.ends_with(&by_name) || l == by_path;
            owner.text.lines().map(str::trim).any(declared)
        };
        // A test file may hang on the file that it tests.
        let owns = |s: &&Source| owners.contains(&s.path) || source.is_test();
        if !all.iter().filter(owns).any(declares) {
            wrong.push(source.path.clone());
        }
    }
    verdict("no `mod` declares these files", wrong);
}

fn parent(dir: &str) -> String {
    dir.rsplit_once('/')
        .map_or(String::new(), |(parent, _)| parent.to_string())
}

#[test]
fn no_paths_of_somebodys_machine() {
    let mut all = sources(
        &[
            "src",
            "cluster-bus",
            "crates",
            "tests",
            "scripts",
            "docs",
            ".ci",
        ],
        &["rs", "md", "sh", "py", "toml", "conf", "txt", ""],
    );
    for name in ["README.md", "Cargo.toml", "nodes.conf.example"] {
        if let Ok(text) = fs::read_to_string(root().join(name)) {
            all.push(Source {
                path: name.into(),
                text,
            });
        }
    }
    // In pieces, or this file would find itself.
    let banned = ["work", "root", "home", "Users"].map(|dir| format!("/{dir}/"));
    let mut wrong = Vec::new();
    for source in all {
        for (at, line) in source.text.lines().enumerate() {
            if banned.iter().any(|b| line.contains(b.as_str())) {
                wrong.push(format!("{}:{}: {}", source.path, at + 1, line.trim()));
            }
        }
    }
    verdict("these lines name a folder of one machine", wrong);
}
