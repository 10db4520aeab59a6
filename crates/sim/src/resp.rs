//! The clients' side of RESP2: requests out, replies in. Written apart from the server's own code,
//! so that a mistake there is not shared here.

/// A reply as a client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Simple(String),
    Error(String),
    Int(i64),
    Bulk(Option<Vec<u8>>),
    Array(Option<Vec<Reply>>),
}

pub fn request(out: &mut Vec<u8>, args: &[&[u8]]) {
    out.extend_from_slice(format!("*{}\r\n", args.len()).as_bytes());
    for arg in args {
        out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
}

/// Takes one reply off the front of `buf`; `None` while it is incomplete, an error if it is not
/// RESP at all.
pub fn take_reply(buf: &mut Vec<u8>) -> Result<Option<Reply>, String> {
    let mut at = 0;
    match parse(buf, &mut at)? {
        Some(reply) => {
            buf.drain(..at);
            Ok(Some(reply))
        }
        None => Ok(None),
    }
}

fn parse(buf: &[u8], at: &mut usize) -> Result<Option<Reply>, String> {
    let Some(len) = buf[*at..].windows(2).position(|w| w == b"\r\n") else {
        return Ok(None);
    };
    let line = String::from_utf8_lossy(&buf[*at..*at + len]).into_owned();
    *at += len + 2;
    let Some(kind) = line.chars().next() else {
        return Err("an empty line".to_string());
    };
    let rest = &line[kind.len_utf8()..];
    let number = || {
        rest.parse::<i64>()
            .map_err(|_| format!("bad number in {line:?}"))
    };
    match kind {
        '+' => Ok(Some(Reply::Simple(rest.to_string()))),
        '-' => Ok(Some(Reply::Error(rest.to_string()))),
        ':' => Ok(Some(Reply::Int(number()?))),
        '$' => {
            let n = number()?;
            if n < 0 {
                return Ok(Some(Reply::Bulk(None)));
            }
            let n = n as usize;
            if buf.len() < *at + n + 2 {
                return Ok(None);
            }
            let bytes = buf[*at..*at + n].to_vec();
            if &buf[*at + n..*at + n + 2] != b"\r\n" {
                return Err("a bulk string without its end".to_string());
            }
            *at += n + 2;
            Ok(Some(Reply::Bulk(Some(bytes))))
        }
        '*' => {
            let n = number()?;
            if n < 0 {
                return Ok(Some(Reply::Array(None)));
            }
            let mut items = Vec::new();
            for _ in 0..n {
                match parse(buf, at)? {
                    Some(item) => items.push(item),
                    None => return Ok(None),
                }
            }
            Ok(Some(Reply::Array(Some(items))))
        }
        _ => Err(format!("a reply that begins with {kind:?}: {line:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_come_in_any_pieces() {
        let all = b"+OK\r\n:12\r\n$3\r\na\r\n\r\n$-1\r\n*2\r\n:1\r\n*-1\r\n-ERR no\r\n";
        let want = vec![
            Reply::Simple("OK".into()),
            Reply::Int(12),
            Reply::Bulk(Some(b"a\r\n".to_vec())),
            Reply::Bulk(None),
            Reply::Array(Some(vec![Reply::Int(1), Reply::Array(None)])),
            Reply::Error("ERR no".into()),
        ];
        for piece in 1..all.len() {
            let (mut buf, mut got) = (Vec::new(), Vec::new());
            for chunk in all.chunks(piece) {
                buf.extend_from_slice(chunk);
                while let Some(reply) = take_reply(&mut buf).expect("RESP") {
                    got.push(reply);
                }
            }
            assert_eq!(got, want);
            assert!(buf.is_empty());
        }
    }
}
