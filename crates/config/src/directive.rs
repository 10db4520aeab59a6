//! One row of the table of directives: its type, range, default, which way changes it, its doc.
//!
//! Owns parsing a value according to a row's type with Redis's texts, and rendering it for
//! CONFIG GET and for a line of the file. Which rows exist is in `table` and `accepted`.

use super::value::{integer, memory, memory_text, octal, Value};
use super::{words, Config};

/// What a directive means in this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Redis's directive, with its effect.
    Real,
    /// A directive that only this server has.
    Own,
    /// Redis's directive: accepted, stored, answered by CONFIG GET, without any effect here.
    Accepted,
    /// Redis's directive whose silent loss would be unsafe: only its default is accepted.
    Refused,
}

/// The type of a directive's value.
pub enum Kind {
    Bool,
    Int {
        min: i128,
        max: i128,
    },
    Octal {
        min: i128,
        max: i128,
    },
    Memory {
        min: i128,
        max: i128,
    },
    /// A size, or `0%` to `100%` (kept as a negative number).
    MemoryOrPercent {
        max: i128,
    },
    Text,
    Enum(&'static [&'static str]),
    /// Several of the names together; the first one is the empty set.
    Flags(&'static [&'static str]),
    /// A grammar of its own.
    Special(&'static Special),
}

/// The grammar of a directive that takes more than one simple value.
pub struct Special {
    pub(super) parse: fn(&Given) -> Result<Value, String>,
    pub(super) show: fn(&Value) -> String,
    /// The lines of a configuration file that say this value.
    pub(super) lines: fn(&str, &Value) -> Vec<String>,
    pub(super) form: &'static str,
}

/// What a special grammar gets to see.
pub(super) struct Given<'a> {
    pub words: &'a [String],
    pub old: &'a Value,
    /// An earlier line of the same configuration has set this directive already.
    pub again: bool,
}

/// Where a directive's value lives.
pub(super) enum Keep {
    /// In a plain field of `Config`, for code that reads it often.
    Field {
        get: fn(&Config) -> Value,
        put: fn(&mut Config, Value),
    },
    /// In the side table of values that nothing reads.
    Aside,
}

/// What a value must fulfil beyond its type; the error is the text for the user.
pub(super) type Check = fn(&Value) -> Result<(), String>;

/// A row of the table.
pub struct Directive {
    pub name: &'static str,
    /// An older name that is accepted and answered too.
    pub alias: Option<&'static str>,
    pub kind: Kind,
    pub default: &'static str,
    pub standing: Standing,
    /// Only at start; CONFIG SET refuses.
    pub immutable: bool,
    /// CONFIG SET needs `enable-protected-configs`.
    pub protected: bool,
    /// Takes any number of words.
    pub many: bool,
    /// CONFIG GET shows it only when asked by its exact name.
    pub hidden: bool,
    /// Must not be logged or shown in a slow log.
    pub sensitive: bool,
    pub doc: &'static str,
    pub(super) keep: Keep,
    pub(super) check: Option<Check>,
    /// Why CONFIG SET takes nothing but the default: an operator relies on the effect, and must not get
    /// an OK. A file or an option is only warned of: it may be older than the server.
    pub(super) fixed: Option<&'static str>,
}

impl std::fmt::Debug for Directive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Directive").field(&self.name).finish()
    }
}

impl Directive {
    const fn row(
        name: &'static str,
        kind: Kind,
        default: &'static str,
        standing: Standing,
        keep: Keep,
        doc: &'static str,
    ) -> Directive {
        let many = matches!(kind, Kind::Flags(_));
        Directive {
            name,
            alias: None,
            kind,
            default,
            standing,
            immutable: false,
            protected: false,
            many,
            hidden: false,
            sensitive: false,
            doc,
            keep,
            check: None,
            fixed: None,
        }
    }

    pub(super) const fn real(
        name: &'static str,
        kind: Kind,
        default: &'static str,
        keep: Keep,
        doc: &'static str,
    ) -> Directive {
        Directive::row(name, kind, default, Standing::Real, keep, doc)
    }

    pub(super) const fn own(
        name: &'static str,
        kind: Kind,
        default: &'static str,
        keep: Keep,
        doc: &'static str,
    ) -> Directive {
        Directive::row(name, kind, default, Standing::Own, keep, doc)
    }

    pub(super) const fn accepted(
        name: &'static str,
        kind: Kind,
        default: &'static str,
        doc: &'static str,
    ) -> Directive {
        Directive::row(name, kind, default, Standing::Accepted, Keep::Aside, doc)
    }

    pub(super) const fn refused(
        name: &'static str,
        kind: Kind,
        default: &'static str,
        doc: &'static str,
    ) -> Directive {
        Directive::row(name, kind, default, Standing::Refused, Keep::Aside, doc)
    }

    pub(super) const fn alias(mut self, alias: &'static str) -> Directive {
        self.alias = Some(alias);
        self
    }
    pub(super) const fn immutable(mut self) -> Directive {
        self.immutable = true;
        self
    }
    pub(super) const fn protected(mut self) -> Directive {
        self.protected = true;
        self
    }
    pub(super) const fn many(mut self) -> Directive {
        self.many = true;
        self
    }
    pub(super) const fn hidden(mut self) -> Directive {
        self.hidden = true;
        self
    }
    pub(super) const fn sensitive(mut self) -> Directive {
        self.sensitive = true;
        self
    }
    pub(super) const fn check(mut self, check: Check) -> Directive {
        self.check = Some(check);
        self
    }

    pub(super) const fn fixed(mut self, why: &'static str) -> Directive {
        self.fixed = Some(why);
        self
    }

    /// The default as a value.
    pub(super) fn default_value(&self) -> Value {
        let words = match self.kind {
            Kind::Special(_) | Kind::Flags(_) => {
                self.default.split_whitespace().map(str::to_owned).collect()
            }
            _ => vec![self.default.to_owned()],
        };
        let nothing = Value::Words(Vec::new());
        let given = Given {
            words: &words,
            old: &nothing,
            again: false,
        };
        self.parse_words(&given)
            .expect("the table's defaults parse")
    }

    /// Parses and checks what a line, an option or CONFIG SET gives.
    pub(super) fn parse(&self, given: &Given) -> Result<Value, String> {
        let value = self.parse_words(given)?;
        if let Some(check) = self.check {
            check(&value)?;
        }
        if self.standing == Standing::Refused && value != self.default_value() {
            return Err(self.doc.to_owned());
        }
        Ok(value)
    }

    fn parse_words(&self, given: &Given) -> Result<Value, String> {
        if let Kind::Special(special) = &self.kind {
            return (special.parse)(given);
        }
        if let Kind::Flags(names) = self.kind {
            return flags(names, given.words);
        }
        match given.words {
            [one] => self.parse_one(one),
            _ => Err("wrong number of arguments".to_owned()),
        }
    }

    fn parse_one(&self, text: &str) -> Result<Value, String> {
        match &self.kind {
            Kind::Bool => match text.to_ascii_lowercase().as_str() {
                "yes" => Ok(Value::Bool(true)),
                "no" => Ok(Value::Bool(false)),
                _ => Err("argument must be 'yes' or 'no'".to_owned()),
            },
            Kind::Int { min, max } => {
                let n = integer(text).ok_or("argument couldn't be parsed into an integer")?;
                between(n, *min, *max)
            }
            Kind::Octal { min, max } => {
                let n = octal(text).ok_or("argument couldn't be parsed as an octal number")?;
                if n < *min || n > *max {
                    return Err(format!(
                        "argument must be between {min:o} and {max:o} inclusive"
                    ));
                }
                Ok(Value::Int(n))
            }
            Kind::Memory { min, max } => {
                let n = memory(text).ok_or("argument must be a memory value")?;
                between(n, *min, *max)
            }
            Kind::MemoryOrPercent { max } => memory_or_percent(text, *max),
            Kind::Text => Ok(Value::Text(text.to_owned())),
            Kind::Enum(names) => match names.iter().find(|n| n.eq_ignore_ascii_case(text)) {
                Some(name) => Ok(Value::Text((*name).to_owned())),
                None => Err(one_of(names)),
            },
            Kind::Flags(_) | Kind::Special(_) => unreachable!("these take any number of words"),
        }
    }

    /// The value as CONFIG GET answers it.
    pub(super) fn show(&self, value: &Value) -> String {
        match (&self.kind, value) {
            (Kind::Special(special), value) => (special.show)(value),
            (Kind::Octal { .. }, Value::Int(n)) => format!("{n:o}"),
            (Kind::MemoryOrPercent { .. }, Value::Int(n)) if *n < 0 => format!("{}%", -n),
            (_, Value::Bool(b)) => if *b { "yes" } else { "no" }.to_owned(),
            (_, Value::Int(n)) => n.to_string(),
            (_, Value::Text(t)) => t.clone(),
            (_, Value::Words(w)) => w.join(" "),
        }
    }

    /// The lines of a configuration file that set the value.
    pub(super) fn lines(&self, value: &Value) -> Vec<String> {
        match (&self.kind, value) {
            (Kind::Special(special), value) => (special.lines)(self.name, value),
            (Kind::Text, Value::Text(t)) => {
                vec![format!("{} {}", self.name, words::quote(t.as_bytes()))]
            }
            (Kind::Memory { .. } | Kind::MemoryOrPercent { .. }, Value::Int(n)) if *n >= 0 => {
                vec![format!("{} {}", self.name, memory_text(*n))]
            }
            (_, value) => vec![format!("{} {}", self.name, self.show(value))],
        }
    }
}

fn between(n: i128, min: i128, max: i128) -> Result<Value, String> {
    if n < min || n > max {
        return Err(format!(
            "argument must be between {min} and {max} inclusive"
        ));
    }
    Ok(Value::Int(n))
}

fn memory_or_percent(text: &str, max: i128) -> Result<Value, String> {
    if let Some(bytes) = memory(text) {
        return between(bytes, 0, max);
    }
    let percent = text.strip_suffix('%').and_then(integer).filter(|n| *n >= 0);
    match percent.ok_or("argument must be a memory or percent value")? {
        n if n > 100 => Err("percentage argument must be less or equal to 100".to_owned()),
        n => Ok(Value::Int(-n)),
    }
}

fn one_of(names: &[&str]) -> String {
    format!(
        "argument(s) must be one of the following: {}",
        names.join(", ")
    )
}

/// The empty set is written as the first name; the rest in the table's order from the last.
fn flags(names: &'static [&'static str], given: &[String]) -> Result<Value, String> {
    let known = |word: &String| names.iter().any(|n| n.eq_ignore_ascii_case(word));
    if given.is_empty() || !given.iter().all(known) {
        return Err(one_of(names));
    }
    let is_given = |name: &&str| given.iter().any(|word| word.eq_ignore_ascii_case(name));
    let mut set: Vec<String> = names[1..]
        .iter()
        .copied()
        .filter(is_given)
        .map(str::to_owned)
        .collect();
    if set.is_empty() {
        set.push(names[0].to_owned());
    }
    Ok(Value::Words(set))
}
