//! Replies as bytes, in the protocol version that the client speaks.
//!
//! Owns nothing: [`Reply`] writes into a buffer of the caller. Never decides what is answered.
//! Where RESP3 has a type that RESP2 lacks, RESP2 gets what Redis sends there.

use super::number::push_double;

/// The version a client chose with HELLO.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Proto {
    #[default]
    Resp2,
    Resp3,
}

/// Writes replies to `out`.
pub struct Reply<'a> {
    pub out: &'a mut Vec<u8>,
    pub proto: Proto,
}

/// The place of a header whose count is known only later.
#[derive(Clone, Copy, Debug)]
#[must_use = "the header is missing until it is set"]
pub struct Deferred(usize);

/// A type byte, the digits of an i64, CRLF.
const MAX_HEADER_BYTES: usize = 1 + 20 + 2;

/// Calls `write` with the bytes of a line such as `$12\r\n`.
#[inline]
fn header<R>(kind: u8, n: i64, write: impl FnOnce(&[u8]) -> R) -> R {
    let mut line = [0u8; MAX_HEADER_BYTES];
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(n).as_bytes();
    line[0] = kind;
    line[1..1 + digits.len()].copy_from_slice(digits);
    line[1 + digits.len()] = b'\r';
    line[2 + digits.len()] = b'\n';
    write(&line[..digits.len() + 3])
}

impl<'a> Reply<'a> {
    pub fn new(out: &'a mut Vec<u8>, proto: Proto) -> Reply<'a> {
        Reply { out, proto }
    }

    pub fn is_resp3(&self) -> bool {
        self.proto == Proto::Resp3
    }

    #[inline]
    fn header(&mut self, kind: u8, n: i64) {
        header(kind, n, |line| self.out.extend_from_slice(line));
    }

    fn count(&mut self, kind: u8, n: usize) {
        self.header(
            kind,
            i64::try_from(n).expect("a count of things in memory fits an i64"),
        );
    }

    fn by_proto(&mut self, resp2: u8, resp3: u8, n: usize) {
        self.count(if self.is_resp3() { resp3 } else { resp2 }, n);
    }

    #[inline]
    pub fn ok(&mut self) {
        self.out.extend_from_slice(b"+OK\r\n");
    }

    pub fn simple(&mut self, text: &str) {
        self.out.push(b'+');
        self.out.extend_from_slice(text.as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }

    /// An error: `text` is the code and the words, without dash and line end. What would break the
    /// line is replaced by spaces (errors quote clients' bytes); line ends at the end are dropped.
    #[cold]
    pub fn error(&mut self, text: impl AsRef<[u8]>) {
        let mut text = text.as_ref();
        while let [rest @ .., b'\r' | b'\n'] = text {
            text = rest;
        }
        self.out.push(b'-');
        self.out.extend(text.iter().map(|c| match c {
            b'\r' | b'\n' => b' ',
            other => *other,
        }));
        self.out.extend_from_slice(b"\r\n");
    }

    #[inline]
    pub fn int(&mut self, n: i64) {
        if (0..=9).contains(&n) {
            self.out
                .extend_from_slice(&[b':', b'0' + n as u8, b'\r', b'\n']);
        } else {
            self.header(b':', n);
        }
    }

    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.out.reserve(bytes.len() + MAX_HEADER_BYTES + 2);
        // Most are short: what is put then has a length that the compiler knows.
        let digit = |n: usize| b'0' + (n % 10) as u8;
        let (len, out) = (bytes.len(), &mut self.out);
        match len {
            0..10 => out.extend_from_slice(&[b'$', digit(len), b'\r', b'\n']),
            10..100 => {
                out.extend_from_slice(&[b'$', digit(len / 10), digit(len), b'\r', b'\n']);
            }
            _ => self.header(b'$', len as i64),
        }
        self.out.extend_from_slice(bytes);
        self.out.extend_from_slice(b"\r\n");
    }

    /// A bulk string of so many bytes, which come in pieces.
    pub fn bulk_of<'p>(&mut self, len: usize, pieces: impl Iterator<Item = &'p [u8]>) {
        self.count(b'$', len);
        self.out.reserve(len + 2);
        let begin = self.out.len();
        pieces.for_each(|piece| self.out.extend_from_slice(piece));
        assert_eq!(self.out.len() - begin, len, "all pieces are the string");
        self.out.extend_from_slice(b"\r\n");
    }

    /// A bulk string with the digits of `n`.
    #[inline]
    pub fn bulk_int(&mut self, n: i64) {
        self.bulk(itoa::Buffer::new().format(n).as_bytes());
    }

    /// A bulk string made by `write!`-style arguments: `reply.bulk_fmt(format_args!("{a}:{b}"))`.
    pub fn bulk_fmt(&mut self, text: std::fmt::Arguments<'_>) {
        match text.as_str() {
            Some(text) => self.bulk(text.as_bytes()),
            None => self.bulk(text.to_string().as_bytes()),
        }
    }

    #[inline]
    pub fn null(&mut self) {
        let bytes: &[u8] = if self.is_resp3() {
            b"_\r\n"
        } else {
            b"$-1\r\n"
        };
        self.out.extend_from_slice(bytes);
    }

    pub fn null_array(&mut self) {
        let bytes: &[u8] = if self.is_resp3() {
            b"_\r\n"
        } else {
            b"*-1\r\n"
        };
        self.out.extend_from_slice(bytes);
    }

    #[inline]
    pub fn array(&mut self, n: usize) {
        self.count(b'*', n);
    }

    /// `n` pairs follow.
    pub fn map(&mut self, n: usize) {
        if self.is_resp3() {
            self.count(b'%', n);
        } else {
            self.count(b'*', n * 2);
        }
    }

    pub fn set(&mut self, n: usize) {
        self.by_proto(b'*', b'~', n);
    }

    pub fn push(&mut self, n: usize) {
        self.by_proto(b'*', b'>', n);
    }

    pub fn boolean(&mut self, value: bool) {
        let bytes: &[u8] = match (self.proto, value) {
            (Proto::Resp3, true) => b"#t\r\n",
            (Proto::Resp3, false) => b"#f\r\n",
            (Proto::Resp2, true) => b":1\r\n",
            (Proto::Resp2, false) => b":0\r\n",
        };
        self.out.extend_from_slice(bytes);
    }

    pub fn double(&mut self, value: f64) {
        let mut text = Vec::with_capacity(32);
        push_double(&mut text, value);
        if self.is_resp3() {
            self.out.push(b',');
            self.out.extend_from_slice(&text);
            self.out.extend_from_slice(b"\r\n");
        } else {
            self.bulk(&text);
        }
    }

    /// A number beyond an i64, as its digits.
    pub fn big_number(&mut self, digits: &str) {
        if self.is_resp3() {
            self.out.push(b'(');
            self.out.extend_from_slice(digits.as_bytes());
            self.out.extend_from_slice(b"\r\n");
        } else {
            self.bulk(digits.as_bytes());
        }
    }

    /// Text for people; `ext` is its kind in three letters (`txt`, `mkd`).
    pub fn verbatim(&mut self, ext: &str, bytes: &[u8]) {
        assert_eq!(ext.len(), 3, "a verbatim string's kind has three letters");
        if self.is_resp3() {
            self.count(b'=', bytes.len() + 4);
            self.out.extend_from_slice(ext.as_bytes());
            self.out.push(b':');
            self.out.extend_from_slice(bytes);
            self.out.extend_from_slice(b"\r\n");
        } else {
            self.bulk(bytes);
        }
    }

    /// Bytes that are RESP already.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Begins an aggregate whose length is known only after its elements have been written.
    pub fn deferred(&mut self) -> Deferred {
        Deferred(self.out.len())
    }

    pub fn set_array(&mut self, at: Deferred, n: usize) {
        self.insert(at, b'*', n);
    }

    pub fn set_set(&mut self, at: Deferred, n: usize) {
        let kind = if self.is_resp3() { b'~' } else { b'*' };
        self.insert(at, kind, n);
    }

    pub fn set_map(&mut self, at: Deferred, n: usize) {
        let (kind, n) = if self.is_resp3() {
            (b'%', n)
        } else {
            (b'*', n * 2)
        };
        self.insert(at, kind, n);
    }

    /// One move of the elements behind the header.
    fn insert(&mut self, at: Deferred, kind: u8, n: usize) {
        let n = i64::try_from(n).expect("a count of things in memory fits an i64");
        header(kind, n, |line| {
            self.out.splice(at.0..at.0, line.iter().copied());
        });
    }
}
