//! RESTORE of payloads that no server makes: every form of a length, claims without bytes, compressed
//! bytes that lie, all with a footer that is right. Both servers say the same but for [`DIFFERENT`].

use crate::common::resp::{show, Client, Value};
use crate::dump::{payload, REFERENCE_VERSION};
use crate::pair::Pair;

/// Bodies: the type and the value.
const SAME: &[&[u8]] = &[
    b"\0\0",
    b"\0\x05hello",
    b"\0\x01abcdef",
    b"\0",
    b"\xff",
    // Lengths in longer forms than needed, and forms that there are not.
    b"\0\x40\x01a",
    b"\0\x80\0\0\0\x01a",
    b"\0\x81\0\0\0\0\0\0\0\x01a",
    b"\0\x82\0\0\0\x01a",
    b"\0\xbf\0\0\0\x01a",
    // Claims that no bytes justify.
    b"\0\x81\x10\0\0\0\0\0\0\0abc",
    b"\0\x81\x80\0\0\0\0\0\0\0abc",
    b"\0\x81\xff\xff\xff\xff\xff\xff\xff\xffabc",
    b"\0\x80\xff\xff\xff\xffabc",
    b"\0\x80\x25\x80\0\0abc",
    // Integers, also in wider forms than needed; forms that there are not; texts of integers.
    b"\0\xc0\x05",
    b"\0\xc1\x05\0",
    b"\0\xc2\xff\xff\xff\xff",
    b"\0\xc4abc",
    b"\0\xffabc",
    b"\0\x0212",
    b"\0\x03007",
    b"\0\x02-0",
    b"\0\x139223372036854775807",
    b"\0\x139223372036854775808",
    b"\0\x2cxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    b"\0\x2dxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    // 265 bytes compressed: the truth, one fewer, one more, and what takes no memory.
    b"\0\xc3\x05\x41\x09\0a\xe0\xff\0",
    b"\0\xc3\x05\x41\x08\0a\xe0\xff\0",
    b"\0\xc3\x05\x41\x0a\0a\xe0\xff\0",
    b"\0\xc3\x05\x81\x10\0\0\0\0\0\0\0\0a\xe0\xff\0",
    b"\0\xc3\x05\x80\x19\0\0\0\0a\xe0\xff\0",
    b"\0\xc3\x81\x10\0\0\0\0\0\0\0\x05\0a\xe0\xff\0",
    b"\0\xc3\x81\xff\xff\xff\xff\xff\xff\xff\xff\x05\0a\xe0\xff\0",
    // Numbers of special forms in the place of lengths.
    b"\0\xc3\xc2\xc1\0a",
    b"\0\xc3\x02\x82\0a",
    // Runs and copies: an integer, a copy of itself, cut, from before the beginning, bytes behind.
    b"\0\xc3\x03\x02\x0112",
    b"\0\xc3\x04\x04\0a\x20\0",
    b"\0\xc3\x04\x04\0a\x20\x01",
    b"\0\xc3\x03\x04\0a\x20",
    b"\0\xc3\x04\x04\0a\xe0\x01",
    b"\0\xc3\x02\x04\x03a",
    b"\0\xc3\x04\x01\0a\0b",
    b"\0\xc3\x02\x01\0aXYZ",
];

/// Redis reads an integer that is cut out of the footer behind it, and takes compressed bytes that are
/// broken if they say that they are none (docs/DIFFERENCES.md).
const DIFFERENT: &[(&[u8], &str)] = &[
    (b"\0\xc1\x05", "2565"),
    (b"\0\xc2\x05\0\0", "167772165"),
    (b"\0\xc3\0\0", ""),
    (b"\0\xc3\x05\0\0a\xe0\xff\0", ""),
];

/// What RESTORE says, and what is there then.
fn restored(client: &mut Client, body: &[u8]) -> [Value; 3] {
    client.cmd(&["DEL", "k"]);
    let payload = payload(body, REFERENCE_VERSION);
    let reply = client.cmd(&[b"RESTORE", &b"k"[..], b"0", &payload]);
    [
        reply,
        client.cmd(&["GET", "k"]),
        client.cmd(&["OBJECT", "ENCODING", "k"]),
    ]
}

#[test]
fn odd_payloads_get_the_same_answers() {
    let Some(pair) = Pair::start("odd_payloads_get_the_same_answers", &[]) else {
        return;
    };
    let (mut reference, mut ours) = (pair.reference.client(), pair.ours.client());
    for body in SAME {
        let theirs = restored(&mut reference, body);
        assert_eq!(restored(&mut ours, body), theirs, "{}", show(body));
    }
    let refused = [
        Value::Error(b"ERR Bad data format".to_vec()),
        Value::Nil,
        Value::Nil,
    ];
    for (body, text) in DIFFERENT {
        let [reply, value, _] = restored(&mut reference, body);
        assert!(reply.is_ok(), "{}", show(body));
        assert_eq!(value, Value::Bulk(text.as_bytes().to_vec()));
        assert_eq!(restored(&mut ours, body), refused, "{}", show(body));
    }
}
