//! The table of directives as Markdown: the whole of docs/CONFIG.md, which a test compares.

use super::directive::{Directive, Kind, Standing};
use super::table;
use super::value::memory_text;
use std::fmt::Write;

/// docs/CONFIG.md.
pub fn markdown() -> String {
    let mut out = String::from(
        "# Directives\n\n\
         Made from the table in `crates/config/` by `holdfast config --markdown`; a test compares.\n\
         The file's syntax, units and command line are Redis's. Unless a row says otherwise, a\n\
         directive can be changed while the server runs (CONFIG SET).\n",
    );
    let sections = [
        (
            Standing::Own,
            "Our own directives",
            "Redis does not have these.",
        ),
        (
            Standing::Real,
            "Redis's directives that have their effect",
            "",
        ),
        (
            Standing::Refused,
            "Redis's directives that are refused",
            "To ignore them would be unsafe, so anything but their default ends the start. So do \
             the lines `rename-command`, `loadmodule`, `sentinel` and `user` (except the `user default` \
             that Redis writes when it restricts nothing).",
        ),
        (
            Standing::Accepted,
            "Redis's directives that are accepted without effect",
            "They are stored, CONFIG GET answers what was set, and the log warns of those that are given \
             another value than their default. In a file or on the command line they are never an \
             error; `holdfast config --check` lists them.",
        ),
    ];
    for (standing, title, text) in sections {
        section(&mut out, standing, title, text);
    }
    out
}

fn section(out: &mut String, standing: Standing, title: &str, text: &str) {
    let mut line = |text: String| {
        out.push_str(&text);
        out.push('\n');
    };
    line(format!("\n## {title}\n"));
    if !text.is_empty() {
        line(format!("{text}\n"));
    }
    line("| directive | values | default | what it means here |\n|---|---|---|---|".to_owned());
    for row in table().iter().filter(|row| row.standing == standing) {
        let default = match row.default {
            "" => "empty".to_owned(),
            text => format!("`{text}`"),
        };
        line(format!(
            "| `{}` | {} | {default} | {} |",
            row.name,
            values(row),
            meaning(row)
        ));
    }
}

fn values(row: &Directive) -> String {
    match &row.kind {
        Kind::Bool => "yes, no".to_owned(),
        Kind::Int { min, max } => range(*min, *max, |n| n.to_string()),
        Kind::Octal { min, max } => format!("{min:o} to {max:o} (octal)"),
        Kind::Memory { min, max } => format!("size, {}", range(*min, *max, memory_text)),
        Kind::MemoryOrPercent { .. } => "size, or 0% to 100%".to_owned(),
        Kind::Text => "text".to_owned(),
        Kind::Enum(names) | Kind::Flags(names) => names.join(", "),
        Kind::Special(special) => special.form.to_owned(),
    }
}

/// Bounds that are only those of the integer type say nothing to a reader.
fn range(min: i128, max: i128, show: impl Fn(i128) -> String) -> String {
    let unbounded = max >= i128::from(i32::MAX);
    match (min, unbounded) {
        (min, true) if min <= i128::from(i32::MIN) => "any number".to_owned(),
        (min, true) => format!("{} or more", show(min)),
        (min, false) => format!("{} to {}", show(min), show(max)),
    }
}

fn meaning(row: &Directive) -> String {
    let mut text = row.doc.to_owned();
    if !text.ends_with('.') {
        text.push('.');
    }
    for (flag, note) in [
        (row.immutable, "Only at start."),
        (row.protected, "Protected."),
        (row.hidden, "Hidden from patterns."),
    ] {
        if flag {
            write!(text, " {note}").expect("writing to a string");
        }
    }
    if row.fixed.is_some() {
        text.push_str(" CONFIG SET refuses anything but the default.");
    }
    if let Some(alias) = row.alias {
        write!(text, " Also `{alias}`.").expect("writing to a string");
    }
    text
}
