//! What `holdfast config --check` says of a configuration: the directives that were given, which of
//! them have no effect here and why, and a verdict.
//!
//! Owns the text. Never: reads or changes anything.

use super::directive::{Directive, Standing};
use super::{table, Config, ConfigError, Loaded};
use std::fmt::Write;

/// The report on a configuration that loads.
pub fn report(config: &Config, loaded: &Loaded) -> String {
    let given = |standing: fn(Standing) -> bool| {
        let rows = table().iter().copied();
        rows.filter(move |row| standing(row.standing) && loaded.given.contains(&row.name))
    };
    let effective: Vec<_> = given(|s| s != Standing::Accepted).collect();
    let (plain, idle): (Vec<_>, Vec<_>) =
        given(|s| s == Standing::Accepted).partition(|row| config.has_default(row));
    let mut out = String::new();
    let mut line = |text: &str| {
        out.push_str(text);
        out.push('\n');
    };
    if !effective.is_empty() {
        line("Given:");
        for row in effective {
            line(&format!("  {}", shown(config, row)));
        }
    }
    if !idle.is_empty() {
        line("Given, but without effect here:");
        for row in &idle {
            line(&format!("  {}: {}", shown(config, row), row.doc));
        }
    }
    if !plain.is_empty() {
        let names: Vec<&str> = plain.iter().map(|row| row.name).collect();
        line("Given with their defaults, and without effect here:");
        line(&format!("  {}", names.join(", ")));
    }
    // What has no effect stands above, with its reasons.
    for warning in loaded.warnings.iter().filter(|w| !super::is_idle_line(w)) {
        line(warning);
    }
    let _ = write!(out, "Verdict: holdfast-server takes this configuration");
    let _ = match idle.len() {
        0 => writeln!(out, "."),
        1 => writeln!(out, "; 1 directive has no effect."),
        n => writeln!(out, "; {n} directives have no effect."),
    };
    out
}

/// The report on a configuration that does not load.
pub fn refusal(error: &ConfigError) -> String {
    let text = error.to_string();
    let text = text.trim_start();
    format!("{text}\nVerdict: holdfast-server refuses this configuration.\n")
}

fn shown(config: &Config, row: &Directive) -> String {
    let value = config.shown(row);
    let value = match (row.sensitive, value.as_str()) {
        (_, "") => "\"\"",
        (true, _) => "(hidden)",
        (false, value) => value,
    };
    format!("{} {value}", row.name)
}
