//! Values of directives and the small grammars they are written in: integers, sizes, octals.
//!
//! Knows nothing of the table. Parsing is total: any text gives a value or one of Redis's texts.

/// A directive's value after parsing. Which variant a directive uses follows from its `Kind`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Bool(bool),
    /// Wide enough for every numeric type of Redis, signed and unsigned.
    Int(i128),
    Text(String),
    Words(Vec<String>),
}

impl Value {
    pub(super) fn as_bool(&self) -> bool {
        match self {
            Value::Bool(b) => *b,
            other => unreachable!("a boolean directive holds {other:?}"),
        }
    }

    pub(super) fn as_int(&self) -> i128 {
        match self {
            Value::Int(n) => *n,
            other => unreachable!("a numeric directive holds {other:?}"),
        }
    }

    pub(super) fn as_text(&self) -> &str {
        match self {
            Value::Text(t) => t,
            other => unreachable!("a text directive holds {other:?}"),
        }
    }

    pub(super) fn as_words(&self) -> &[String] {
        match self {
            Value::Words(w) => w,
            other => unreachable!("a list directive holds {other:?}"),
        }
    }
}

/// A field of `Config` that a directive can be kept in.
///
/// The conversions can't fail: the table's ranges are at most those of the field's type, which the
/// table test checks at both ends of every range.
pub(super) trait Field {
    fn to_value(&self) -> Value;
    fn from_value(value: Value) -> Self;
}

impl Field for bool {
    fn to_value(&self) -> Value {
        Value::Bool(*self)
    }
    fn from_value(value: Value) -> Self {
        value.as_bool()
    }
}

impl Field for String {
    fn to_value(&self) -> Value {
        Value::Text(self.clone())
    }
    fn from_value(value: Value) -> Self {
        value.as_text().to_owned()
    }
}

impl Field for Vec<String> {
    fn to_value(&self) -> Value {
        Value::Words(self.clone())
    }
    fn from_value(value: Value) -> Self {
        value.as_words().to_vec()
    }
}

impl Field for std::path::PathBuf {
    fn to_value(&self) -> Value {
        Value::Text(self.to_string_lossy().into_owned())
    }
    fn from_value(value: Value) -> Self {
        value.as_text().into()
    }
}

macro_rules! integer_field {
    ($($t:ty),*) => { $(impl Field for $t {
        fn to_value(&self) -> Value {
            Value::Int(i128::from(*self))
        }
        fn from_value(value: Value) -> Self {
            <$t>::try_from(value.as_int()).expect("the directive's range fits its field")
        }
    })* };
}
integer_field!(u16, u32, u64, i32, i64);

impl Field for usize {
    fn to_value(&self) -> Value {
        Value::Int(i128::try_from(*self).expect("usize has at most 64 bits"))
    }
    fn from_value(value: Value) -> Self {
        usize::try_from(value.as_int()).expect("the directive's range fits its field")
    }
}

/// A decimal integer as Redis's `string2ll` takes it: no plus sign, no leading zeros, no blanks.
pub(super) fn integer(text: &str) -> Option<i128> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let canonical = match digits.as_bytes() {
        [b'0'] => !text.starts_with('-'),
        [first, rest @ ..] => (b'1'..=b'9').contains(first) && rest.iter().all(u8::is_ascii_digit),
        [] => false,
    };
    if !canonical {
        return None;
    }
    // Beyond 64 bits Redis's parser refuses too.
    text.parse::<i64>().ok().map(i128::from)
}

/// A size: digits and an optional unit (`b k kb m mb g gb`, in any case; `k` is 1000, `kb` 1024).
///
/// Redis lets the multiplication overflow; a limit that silently becomes small is worse than a
/// refusal, so that is an error here.
pub fn memory(text: &str) -> Option<i128> {
    let split = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    // Redis's C parser reads no digits at all as zero ("mb" is 0); that is a slip, not a value.
    let number: u64 = digits.parse().ok()?;
    number.checked_mul(factor).map(i128::from)
}

/// The shortest exact way to write a size with a unit, as CONFIG REWRITE does.
pub(super) fn memory_text(bytes: i128) -> String {
    for (unit, name) in [(1i128 << 30, "gb"), (1 << 20, "mb"), (1 << 10, "kb")] {
        if bytes != 0 && bytes % unit == 0 {
            return format!("{}{name}", bytes / unit);
        }
    }
    bytes.to_string()
}

/// File permissions and the like.
pub(super) fn octal(text: &str) -> Option<i128> {
    i64::from_str_radix(text, 8).ok().map(i128::from)
}
