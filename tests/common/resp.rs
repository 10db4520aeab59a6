//! A RESP2/RESP3 client over a blocking socket: whole replies as raw bytes or as values.
//!
//! It never interprets a command. A reply that is not RESP is an `InvalidData` error, so a test
//! that meets one fails with the bytes in its hand.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

#[derive(Clone, PartialEq, PartialOrd)]
pub enum Value {
    Simple(Vec<u8>),
    Error(Vec<u8>),
    Int(i64),
    Bulk(Vec<u8>),
    Nil,
    Array(Vec<Value>),
    Map(Vec<Value>), // keys and values in turn
    Set(Vec<Value>),
    Push(Vec<Value>),
    Other(Vec<u8>), // doubles, booleans, big numbers, verbatim strings: their raw bytes
}

impl Value {
    pub fn int(&self) -> i64 {
        match self {
            Value::Int(n) => *n,
            other => panic!("an integer was expected, not {other:?}"),
        }
    }

    pub fn text(&self) -> String {
        match self {
            Value::Simple(b) | Value::Error(b) | Value::Bulk(b) => {
                String::from_utf8_lossy(b).into_owned()
            }
            Value::Other(raw) if raw.first() == Some(&b'=') => {
                let start = raw.iter().position(|b| *b == b'\n').expect("a header line") + 5;
                String::from_utf8_lossy(&raw[start..raw.len() - 2]).into_owned()
            }
            other => panic!("a string was expected, not {other:?}"),
        }
    }

    pub fn items(&self) -> &[Value] {
        match self {
            Value::Array(v) | Value::Set(v) | Value::Map(v) | Value::Push(v) => v,
            other => panic!("an array was expected, not {other:?}"),
        }
    }

    pub fn is_ok(&self) -> bool {
        matches!(self, Value::Simple(s) if s == b"OK")
    }

    pub fn is_error(&self) -> bool {
        matches!(self, Value::Error(_))
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Simple(b) => write!(f, "+{}", show(b)),
            Value::Error(b) => write!(f, "-{}", show(b)),
            Value::Int(n) => write!(f, ":{n}"),
            Value::Bulk(b) => write!(f, "\"{}\"", show(b)),
            Value::Nil => write!(f, "nil"),
            Value::Array(v) => f.debug_list().entries(v).finish(),
            Value::Map(v) => write!(f, "map{v:?}"),
            Value::Set(v) => write!(f, "set{v:?}"),
            Value::Push(v) => write!(f, "push{v:?}"),
            Value::Other(b) => write!(f, "{}", show(b)),
        }
    }
}

/// Bytes as a person reads them, shortened when long.
pub fn show(bytes: &[u8]) -> String {
    if bytes.len() > 300 {
        return format!("{}... ({} bytes)", bytes[..200].escape_ascii(), bytes.len());
    }
    bytes.escape_ascii().to_string()
}

/// A command as the array of bulk strings that clients send.
pub fn encode<A: AsRef<[u8]>>(args: &[A]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        let arg = arg.as_ref();
        out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// The value at the start of `buf` and its length in bytes; `None` while it is incomplete.
pub fn decode(buf: &[u8]) -> Result<Option<(Value, usize)>, String> {
    let Some(eol) = buf.windows(2).position(|w| w == b"\r\n") else {
        return match buf.first() {
            Some(kind) if !b"+-:$*%~>_,#=(".contains(kind) => {
                Err(format!("not RESP: {}", show(buf)))
            }
            _ => Ok(None),
        };
    };
    let (line, body) = (&buf[1..eol], eol + 2);
    let number = || {
        let text = std::str::from_utf8(line).map_err(|e| e.to_string())?;
        text.parse::<i64>()
            .map_err(|_| format!("not a number in {}", show(&buf[..eol])))
    };
    let value = match buf[0] {
        b'+' => Value::Simple(line.to_vec()),
        b'-' => Value::Error(line.to_vec()),
        b':' => Value::Int(number()?),
        b'_' => Value::Nil,
        b',' | b'#' | b'(' => Value::Other(buf[..body].to_vec()),
        b'$' | b'=' => {
            let len = number()?;
            if len < 0 {
                return Ok(Some((Value::Nil, body)));
            }
            let end = body + len as usize;
            if buf.len() < end + 2 {
                return Ok(None);
            }
            if &buf[end..end + 2] != b"\r\n" {
                return Err(format!("no CRLF after a bulk string: {}", show(buf)));
            }
            let value = if buf[0] == b'$' {
                Value::Bulk(buf[body..end].to_vec())
            } else {
                Value::Other(buf[..end + 2].to_vec())
            };
            return Ok(Some((value, end + 2)));
        }
        kind @ (b'*' | b'%' | b'~' | b'>') => {
            let count = number()?;
            if count < 0 {
                return Ok(Some((Value::Nil, body)));
            }
            return decode_items(kind, count as usize, buf, body);
        }
        _ => return Err(format!("not RESP: {}", show(buf))),
    };
    Ok(Some((value, body)))
}

fn decode_items(
    kind: u8,
    count: usize,
    buf: &[u8],
    mut at: usize,
) -> Result<Option<(Value, usize)>, String> {
    let count = if kind == b'%' { count * 2 } else { count };
    let mut items = Vec::new();
    for _ in 0..count {
        match decode(&buf[at..])? {
            Some((item, len)) => {
                items.push(item);
                at += len;
            }
            None => return Ok(None),
        }
    }
    let value = match kind {
        b'*' => Value::Array(items),
        b'%' => Value::Map(items),
        b'~' => Value::Set(items),
        _ => Value::Push(items),
    };
    Ok(Some((value, at)))
}

pub struct Client {
    stream: TcpStream,
    buf: Vec<u8>,
    start: usize,
}

impl Client {
    pub fn connect(port: u16) -> io::Result<Client> {
        let minute = Duration::from_secs(60);
        Client::over(TcpStream::connect(("127.0.0.1", port))?, minute)
    }

    /// Elsewhere than on this host's loopback; `silence` is for the connection and each answer.
    pub fn connect_to(address: SocketAddr, silence: Duration) -> io::Result<Client> {
        Client::over(TcpStream::connect_timeout(&address, silence)?, silence)
    }

    fn over(stream: TcpStream, silence: Duration) -> io::Result<Client> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(silence))?;
        stream.set_write_timeout(Some(silence))?;
        Ok(Client {
            stream,
            buf: Vec::new(),
            start: 0,
        })
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    pub fn send<A: AsRef<[u8]>>(&mut self, args: &[A]) -> io::Result<()> {
        self.send_raw(&encode(args))
    }

    /// The next whole reply: its value and its bytes.
    pub fn receive_raw(&mut self) -> io::Result<(Value, Vec<u8>)> {
        loop {
            let pending = &self.buf[self.start..];
            if !pending.is_empty() {
                if let Some((value, len)) =
                    decode(pending).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?
                {
                    let raw = pending[..len].to_vec();
                    self.start += len;
                    return Ok((value, raw));
                }
            }
            self.buf.drain(..self.start);
            self.start = 0;
            let mut chunk = [0u8; 65536];
            let n = self.stream.read(&mut chunk)?;
            if n == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.buf.extend_from_slice(&chunk[..n]);
        }
    }

    pub fn receive(&mut self) -> io::Result<Value> {
        self.receive_raw().map(|(value, _)| value)
    }

    pub fn try_cmd<A: AsRef<[u8]>>(&mut self, args: &[A]) -> io::Result<Value> {
        self.send(args)?;
        self.receive()
    }

    /// One command and its reply; a broken connection fails the test.
    pub fn cmd<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Value {
        self.try_cmd(args).unwrap_or_else(|e| {
            let words: Vec<String> = args.iter().map(|a| show(a.as_ref())).collect();
            panic!("no reply ({e}) to {}", words.join(" "))
        })
    }

    /// All bytes until the peer closes.
    pub fn read_to_end(&mut self) -> Vec<u8> {
        let mut rest = self.buf.split_off(self.start);
        let mut tail = Vec::new();
        // A reset after the last byte is as good a close as an orderly one.
        let _ = self.stream.read_to_end(&mut tail);
        rest.extend_from_slice(&tail);
        rest
    }
}
