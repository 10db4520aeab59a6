//! Replies of a Redis server (RESP2), as far as the commands that are sent to one have them.
//!
//! Owns the reading. Invariant: total; a length is believed only as far as bytes have come.

/// A longer string is nothing that was asked for.
const MOST_BYTES: i64 = 1 << 30;
/// Nor is a longer line.
const MOST_LINE: usize = 64 << 10;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Status(Vec<u8>),
    Error(Vec<u8>),
    Int(i64),
    Bulk(Option<Vec<u8>>),
}

/// What is no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nonsense;

/// Takes a reply off the front; none: it is not whole yet.
pub fn take(input: &mut Vec<u8>) -> Result<Option<Reply>, Nonsense> {
    let Some(end) = input.windows(2).take(MOST_LINE).position(|w| w == b"\r\n") else {
        return match input.len() > MOST_LINE {
            true => Err(Nonsense),
            false => Ok(None),
        };
    };
    let (kind, line) = input[..end].split_first().ok_or(Nonsense)?;
    let (reply, used) = match kind {
        b'+' => (Reply::Status(line.to_vec()), end + 2),
        b'-' => (Reply::Error(line.to_vec()), end + 2),
        b':' => (Reply::Int(number(line)?), end + 2),
        b'$' => match number(line)? {
            -1 => (Reply::Bulk(None), end + 2),
            len @ 0..=MOST_BYTES => {
                let len = usize::try_from(len).map_err(|_| Nonsense)?;
                let (start, whole) = (end + 2, end + 2 + len + 2);
                if input.len() < whole {
                    return Ok(None);
                }
                if input[start + len..whole] != *b"\r\n" {
                    return Err(Nonsense);
                }
                (Reply::Bulk(Some(input[start..start + len].to_vec())), whole)
            }
            _ => return Err(Nonsense),
        },
        _ => return Err(Nonsense),
    };
    input.drain(..used);
    Ok(Some(reply))
}

fn number(line: &[u8]) -> Result<i64, Nonsense> {
    base::number::parse_i64(line).ok_or(Nonsense)
}

/// A command, as it is sent.
pub fn command(out: &mut Vec<u8>, words: &[&[u8]]) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn replies_are_taken_one_by_one() {
        let mut input =
            b"+OK\r\n-ERR no\r\n:-7\r\n$-1\r\n$3\r\na\r\n\r\n$0\r\n\r\n$5\r\nab".to_vec();
        let want = [
            Reply::Status(b"OK".to_vec()),
            Reply::Error(b"ERR no".to_vec()),
            Reply::Int(-7),
            Reply::Bulk(None),
            Reply::Bulk(Some(b"a\r\n".to_vec())),
            Reply::Bulk(Some(Vec::new())),
        ];
        for reply in want {
            assert_eq!(take(&mut input), Ok(Some(reply)));
        }
        assert_eq!(take(&mut input), Ok(None));
        assert_eq!(input, b"$5\r\nab");
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        for text in [
            "\r\n",
            "*1\r\n",
            ":x\r\n",
            "$-2\r\n",
            "$1\r\nabc",
            "HTTP/1.1\r\n",
        ] {
            assert_eq!(take(&mut text.as_bytes().to_vec()), Err(Nonsense), "{text}");
        }
        assert_eq!(take(&mut vec![b'+'; MOST_LINE + 2]), Err(Nonsense));
    }

    proptest! {
        #[test]
        fn any_bytes_give_replies_or_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let mut input = bytes;
            while let Ok(Some(_)) = take(&mut input) {}
        }
    }
}
