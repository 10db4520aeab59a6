//! What `holdfast config --check` says of a configuration: the directives that were given, which of
//! them have no effect here and why, and a verdict.
//!
//! Owns what is said, and its text. Never: reads or changes anything.

use super::directive::{Directive, Standing};
use super::{table, Config, ConfigError, Loaded};
use std::fmt::Write;

/// A directive that was given, as CONFIG GET would show it.
pub struct Line {
    pub name: &'static str,
    pub value: String,
    /// What it would do.
    pub doc: &'static str,
}

/// A configuration that loads.
pub struct Report {
    /// Given, and they have their effect.
    pub given: Vec<Line>,
    /// Given, and they have none here.
    pub without_effect: Vec<Line>,
    /// Given with their defaults; they have no effect, which changes nothing.
    pub at_default: Vec<&'static str>,
    /// What else the start would warn of.
    pub warnings: Vec<String>,
}

pub fn report(config: &Config, loaded: &Loaded) -> Report {
    let given = |standing: fn(Standing) -> bool| {
        let rows = table().iter().copied();
        rows.filter(move |row| standing(row.standing) && loaded.given.contains(&row.name))
    };
    let line = |row: &'static Directive| Line {
        name: row.name,
        value: shown(config, row),
        doc: row.doc,
    };
    let (plain, idle): (Vec<_>, Vec<_>) =
        given(|s| s == Standing::Accepted).partition(|row| config.has_default(row));
    // What has no effect is named above, with its reasons.
    let warnings = loaded.warnings.iter().filter(|w| !super::is_idle_line(w));
    Report {
        given: given(|s| s != Standing::Accepted).map(line).collect(),
        without_effect: idle.into_iter().map(line).collect(),
        at_default: plain.iter().map(|row| row.name).collect(),
        warnings: warnings.cloned().collect(),
    }
}

impl Report {
    /// For people.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let mut line = |text: &str| {
            out.push_str(text);
            out.push('\n');
        };
        if !self.given.is_empty() {
            line("Given:");
            for Line { name, value, .. } in &self.given {
                line(&format!("  {name} {value}"));
            }
        }
        if !self.without_effect.is_empty() {
            line("Given, but without effect here:");
            for Line { name, value, doc } in &self.without_effect {
                line(&format!("  {name} {value}: {doc}"));
            }
        }
        if !self.at_default.is_empty() {
            line("Given with their defaults, and without effect here:");
            line(&format!("  {}", self.at_default.join(", ")));
        }
        for warning in &self.warnings {
            line(warning);
        }
        let _ = write!(out, "Verdict: holdfast-server takes this configuration");
        let _ = match self.without_effect.len() {
            0 => writeln!(out, "."),
            1 => writeln!(out, "; 1 directive has no effect."),
            n => writeln!(out, "; {n} directives have no effect."),
        };
        out
    }
}

/// The report on a configuration that does not load.
pub fn refusal(error: &ConfigError) -> String {
    let text = error.to_string();
    let text = text.trim_start();
    format!("{text}\nVerdict: holdfast-server refuses this configuration.\n")
}

fn shown(config: &Config, row: &Directive) -> String {
    let value = config.shown(row);
    match (row.sensitive, value.as_str()) {
        (_, "") => "\"\"".to_owned(),
        (true, _) => "(hidden)".to_owned(),
        (false, _) => value,
    }
}
