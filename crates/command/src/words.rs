//! The words of a command, taken one by one: how options are read.
//!
//! Owns: [`Words`]. Never: knows an option. Every refusal is a syntax error but for numbers, whose text
//! is not one; what has been taken is never looked at again.

use super::args::integer;
use super::error::Error;
use resp::args::Args;

/// The words that are left.
#[derive(Clone, Copy)]
pub struct Words<'a> {
    args: Args<'a>,
    at: usize,
}

impl<'a> Words<'a> {
    /// The arguments from `first` on.
    pub fn new(args: Args<'a>, first: usize) -> Words<'a> {
        Words { args, at: first }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.args.len().saturating_sub(self.at)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes the next one.
    pub fn next(&mut self) -> Option<&'a [u8]> {
        let word = self.args.get(self.at)?;
        self.at += 1;
        Some(word)
    }

    /// Takes the next one if it is this word, in any case.
    pub fn word(&mut self, word: &str) -> bool {
        let next = self.args.get(self.at);
        let is = next.is_some_and(|next| next.eq_ignore_ascii_case(word.as_bytes()));
        self.at += usize::from(is);
        is
    }

    /// Takes the next one, which has to be there.
    pub fn need(&mut self) -> Result<&'a [u8], Error> {
        self.next().ok_or(Error::SYNTAX)
    }

    /// Takes an integer.
    pub fn int(&mut self) -> Result<i64, Error> {
        integer(self.need()?)
    }

    /// Takes an integer above 0; another one is `otherwise`.
    pub fn count(&mut self, otherwise: Error) -> Result<usize, Error> {
        let count = usize::try_from(self.int()?).ok();
        count.filter(|count| *count > 0).ok_or(otherwise)
    }

    /// All that are left.
    pub fn rest(self) -> Args<'a> {
        self.args.skip(self.at)
    }

    /// None may be left.
    pub fn finish(self) -> Result<(), Error> {
        match self.is_empty() {
            true => Ok(()),
            false => Err(Error::SYNTAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_taken_in_order() {
        let args: [&[u8]; 7] = [b"cmd", b"Count", b"5", b"MATCH", b"p", b"-1", b"x"];
        let mut words = Words::new(Args::from(&args[..]), 1);
        assert!(!words.word("match") && words.word("count"));
        assert_eq!(words.count(Error::SYNTAX), Ok(5));
        assert!(words.word("match"));
        assert_eq!(words.need(), Ok(&b"p"[..]));
        assert_eq!(words.len(), 2);
        let left: Vec<&[u8]> = words.rest().iter().collect();
        assert_eq!(left, [b"-1", &b"x"[..]]);
        let mut again = words;
        assert_eq!(again.count(Error::NO_PROTO), Err(Error::NO_PROTO));
        assert_eq!(words.int(), Ok(-1));
        assert_eq!(words.finish(), Err(Error::SYNTAX));
        assert_eq!(words.int(), Err(Error::NOT_AN_INTEGER));
        assert_eq!(words.finish(), Ok(()));
        assert_eq!(words.next(), None);
        assert_eq!(words.need(), Err(Error::SYNTAX));
        assert_eq!(words.int(), Err(Error::SYNTAX));
        assert!(!words.word("x"));
    }

    #[test]
    fn beginning_behind_the_end_leaves_none() {
        let args: [&[u8]; 1] = [b"cmd"];
        let mut words = Words::new(Args::from(&args[..]), 3);
        assert!(words.is_empty() && words.rest().is_empty());
        assert_eq!(words.next(), None);
        assert_eq!(words.finish(), Ok(()));
    }
}
