//! The limits of output that clients do not read, by class (`client-output-buffer-limit`).
//!
//! Owns the typed value and its words, and those of the classes of keyspace events; which words are right is `special`'s.

use super::value::{Field, Value};
use base::events::Classes;

/// A limit of 0 bytes is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputLimit {
    pub hard: u64,
    pub soft: u64,
    /// How long the soft limit may be exceeded.
    pub seconds: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputLimits {
    pub normal: OutputLimit,
    /// No connection here is of this class.
    pub replica: OutputLimit,
    pub pubsub: OutputLimit,
}

impl OutputLimits {
    /// No limits at all.
    pub(super) const NONE: OutputLimits = {
        let none = OutputLimit {
            hard: 0,
            soft: 0,
            seconds: 0,
        };
        OutputLimits {
            normal: none,
            replica: none,
            pubsub: none,
        }
    };
}

impl Field for OutputLimits {
    fn to_value(&self) -> Value {
        let classes = [
            ("normal", self.normal),
            ("slave", self.replica),
            ("pubsub", self.pubsub),
        ];
        let words = classes.into_iter().flat_map(|(class, limit)| {
            let numbers = [limit.hard, limit.soft, limit.seconds];
            std::iter::once(class.to_owned()).chain(numbers.map(|n| n.to_string()))
        });
        Value::Words(words.collect())
    }

    fn from_value(value: Value) -> Self {
        let words = value.as_words();
        let number = |at: usize| {
            let number = words.get(at).and_then(|word| word.parse().ok());
            number.expect("the grammar gives three classes of a name and three numbers")
        };
        let class = |at: usize| OutputLimit {
            hard: number(at + 1),
            soft: number(at + 2),
            seconds: number(at + 3),
        };
        OutputLimits {
            normal: class(0),
            replica: class(4),
            pubsub: class(8),
        }
    }
}

impl Field for Classes {
    fn to_value(&self) -> Value {
        Value::Words(vec![self.letters()])
    }

    fn from_value(value: Value) -> Self {
        let letters = value.as_words().first().map(String::as_str);
        let classes = letters.and_then(Classes::parse);
        classes.expect("the grammar gives letters of classes")
    }
}
