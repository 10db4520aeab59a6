//! When a snapshot is due for changes (`save`).
//!
//! Owns the typed value and its words; which words are right is `special`'s.

use super::value::{Field, Value};

/// A snapshot is due when the last one is older than `seconds` and there were `changes` since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SaveRule {
    pub seconds: u64,
    pub changes: u64,
}

impl Field for Vec<SaveRule> {
    fn to_value(&self) -> Value {
        let words = |rule: &SaveRule| [rule.seconds, rule.changes].map(|n| n.to_string());
        Value::Words(self.iter().flat_map(words).collect())
    }

    fn from_value(value: Value) -> Self {
        let number = |word: &String| {
            let number = word.parse();
            number.expect("the grammar gives pairs of numbers that are not negative")
        };
        let rule = |words: &[String]| SaveRule {
            seconds: number(&words[0]),
            changes: number(&words[1]),
        };
        value.as_words().chunks_exact(2).map(rule).collect()
    }
}

/// What a signal's end is to be like (`shutdown-on-sigint`, `shutdown-on-sigterm`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndFlags(Vec<String>);

impl EndFlags {
    /// Whether a snapshot comes first; none: if there are `save` rules.
    pub fn save(&self) -> Option<bool> {
        match (self.has("save"), self.has("nosave")) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        }
    }

    /// One that can't be made stops no end.
    pub fn force(&self) -> bool {
        self.has("force")
    }

    pub fn now(&self) -> bool {
        self.has("now")
    }

    fn has(&self, flag: &str) -> bool {
        self.0.iter().any(|word| word == flag)
    }
}

impl Field for EndFlags {
    fn to_value(&self) -> Value {
        Value::Words(self.0.clone())
    }

    fn from_value(value: Value) -> Self {
        EndFlags(value.as_words().to_vec())
    }
}
