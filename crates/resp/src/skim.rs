//! A look at commands before their turn: where the second word (mostly a key) of each stands.
//!
//! Owns nothing and decides nothing: what it finds is a hint for fetching memory early. Whether it
//! is a command at all, and within the limits, the parser says when its turn comes.

use super::parse::short_length;

/// Commands with more arguments than this are not worth walking through twice.
const MOST_ARGS: usize = 16;

/// The second words of the commands in `buf`, until one is incomplete or written in an uncommon way.
pub struct Skim<'a> {
    buf: &'a [u8],
}

impl<'a> Skim<'a> {
    pub fn new(buf: &'a [u8]) -> Skim<'a> {
        Skim { buf }
    }
}

impl<'a> Iterator for Skim<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        while self.buf.first() == Some(&b'*') {
            let (count, mut at) = short_length(self.buf, 0)?;
            if count > MOST_ARGS {
                return None;
            }
            let mut word = None;
            for i in 0..count {
                if self.buf.get(at) != Some(&b'$') {
                    return None;
                }
                let (len, start) = short_length(self.buf, at)?;
                if i == 1 {
                    word = Some(self.buf.get(start..start + len)?);
                }
                at = start + len + 2;
            }
            self.buf = self.buf.get(at..)?;
            if word.is_some() {
                return word;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(buf: &[u8]) -> Vec<&[u8]> {
        Skim::new(buf).collect()
    }

    #[test]
    fn second_words_of_whole_commands() {
        let get = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n";
        let set = b"*3\r\n$3\r\nSET\r\n$2\r\nbc\r\n$1\r\nv\r\n";
        let ping = b"*1\r\n$4\r\nPING\r\n";
        let all = [get.as_slice(), ping, set].concat();
        assert_eq!(words(&all), [b"a".as_slice(), b"bc"]);
        for cut in 0..all.len() {
            assert!(words(&all[..cut]).len() < 2, "cut at {cut}");
        }
    }

    #[test]
    fn what_is_not_plain_ends_it() {
        for odd in [
            "PING\r\n",
            "*2\r\n$3\r\nGET\r\n+1\r\n",
            "*99\r\n",
            "*-1\r\n",
            "*2\r\n$3\r\nGET\r\n$999999999\r\n",
        ] {
            assert!(words(odd.as_bytes()).is_empty(), "{odd}");
        }
    }
}
