//! The conditions of EXPIRE, HEXPIRE and their relatives.
//!
//! Owns: [`Condition`], how it is read and when it holds. Never: looks at a key.

use super::error::Error;
use super::words::Words;

/// When an expiry may take the place of another one: NX, XX, GT, LT.
#[derive(Clone, Copy, Debug, Default)]
pub struct Condition {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
}

impl Condition {
    /// The condition that one word is.
    pub fn one(word: &[u8]) -> Option<Condition> {
        let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
        let condition = Condition {
            nx: is(b"nx"),
            xx: is(b"xx"),
            gt: is(b"gt"),
            lt: is(b"lt"),
        };
        (condition.nx || condition.xx || condition.gt || condition.lt).then_some(condition)
    }

    pub fn parse(mut words: Words<'_>) -> Result<Condition, Error> {
        let mut c = Condition::default();
        while !words.is_empty() {
            if words.word("nx") {
                c.nx = true;
            } else if words.word("xx") {
                c.xx = true;
            } else if words.word("gt") {
                c.gt = true;
            } else if words.word("lt") {
                c.lt = true;
            } else {
                return Err(Error::unsupported_option(words.need()?));
            }
        }
        if c.nx && (c.xx || c.gt || c.lt) {
            return Err(Error::NX_AND_XX_GT_LT);
        }
        if c.gt && c.lt {
            return Err(Error::GT_AND_LT);
        }
        Ok(c)
    }

    /// Whether `new` may replace `old`; a key or field without an expiry counts as one that lasts for ever.
    pub fn allows(self, old: Option<i64>, new: i64) -> bool {
        !(self.nx && old.is_some()
            || self.xx && old.is_none()
            || self.gt && old.is_none_or(|old| new <= old)
            || self.lt && old.is_some_and(|old| new >= old))
    }
}
