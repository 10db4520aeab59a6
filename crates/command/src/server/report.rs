//! The text of INFO, line by line.
//!
//! Owns: the form of sections and fields. Never: knows one.

use std::fmt::{Display, Write};

/// The text under construction.
#[derive(Default)]
pub struct Report(String);

impl Report {
    pub fn begin(&mut self, title: &str) {
        if !self.0.is_empty() {
            self.0.push_str("\r\n");
        }
        self.raw(format_args!("# {title}"));
    }

    pub fn text(&self) -> &str {
        &self.0
    }

    /// `name:value`
    pub fn line(&mut self, name: &str, value: impl Display) {
        self.raw(format_args!("{name}:{value}"));
    }

    /// `name:value` for a number of bytes, and `name_human` for people.
    pub fn bytes(&mut self, name: &str, value: u64) {
        self.line(name, value);
        self.raw(format_args!("{name}_human:{}", human(value)));
    }

    pub fn raw(&mut self, line: std::fmt::Arguments<'_>) {
        self.0
            .write_fmt(line)
            .expect("writing into memory does not fail");
        self.0.push_str("\r\n");
    }
}

/// 100B, 4.00K, 1.50G, as Redis writes sizes for people.
pub fn human(bytes: u64) -> String {
    const UNITS: &str = "KMGTP";
    let mut scale = 1024.0;
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    for unit in UNITS.chars() {
        if (bytes as f64) < scale * 1024.0 {
            return format!("{:.2}{unit}", bytes as f64 / scale);
        }
        scale *= 1024.0;
    }
    format!("{bytes}B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_for_people() {
        assert_eq!(human(0), "0B");
        assert_eq!(human(1023), "1023B");
        assert_eq!(human(1024), "1.00K");
        assert_eq!(human(916_512), "895.03K");
        assert_eq!(human(25_274_793_984), "23.54G");
        assert_eq!(human(u64::MAX), format!("{}B", u64::MAX));
    }
}
