//! The handshake and the frames of a Raft link, written down once more for both sides.
//!
//! What the frames say is encoded and read by the crate itself (`cluster::control`): an attack is what
//! a member says and when, not a misspelling of it. Never panics on what the other side does.

use cluster_bus::NodeId;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

pub const MAGIC: [u8; 4] = *b"HFL1";
/// Versions of the links that this can speak, the newest first; from [`BOTH_WAYS`] on frames may
/// come back on the link of who has asked, where they prove who says them.
const VERSIONS: [u8; 2] = [3, 2];
pub const BOTH_WAYS: u8 = 3;
/// Of answers.
const NONCE: [u8; 16] = [5; 16];
/// A frame of the links themselves: has the receiver made a link with the nonce that follows?
pub const ASK: u8 = 255;
/// It has.
pub const VOUCH: u8 = 254;

pub type Nonce = [u8; 16];

fn proof(password: &str, side: &[u8], said: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(password.as_bytes()).expect("any key will do");
    mac.update(side);
    mac.update(said);
    mac.finalize().into_bytes().into()
}

fn wrong(what: &str) -> io::Error {
    io::Error::other(what.to_owned())
}

/// Calls a node at its bus port; `class`: 0 urgent, 1 bulk. The link, and in which version.
pub fn call(
    bus_port: u16,
    class: u8,
    from: NodeId,
    to: NodeId,
    password: &str,
) -> io::Result<(TcpStream, u8)> {
    call_with(rand::random(), (bus_port, class), from, to, password)
}

/// The same with a nonce of the caller's: it can say later that it has made this link.
pub fn call_with(
    nonce: Nonce,
    (bus_port, class): (u16, u8),
    from: NodeId,
    to: NodeId,
    password: &str,
) -> io::Result<(TcpStream, u8)> {
    let mut last = wrong("no version");
    for version in VERSIONS {
        match call_in((version, nonce), (bus_port, class), from, to, password) {
            Ok(link) => return Ok((link, version)),
            Err(e) => last = e,
        }
        // A node hangs up on a version that it does not know.
        let hung_up = [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset];
        if !hung_up.contains(&last.kind()) {
            break;
        }
    }
    Err(last)
}

fn call_in(
    (version, nonce): (u8, Nonce),
    (bus_port, class): (u16, u8),
    from: NodeId,
    to: NodeId,
    password: &str,
) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", bus_port))?;
    let limit = Some(Duration::from_secs(10));
    stream.set_nodelay(true)?;
    stream.set_write_timeout(limit)?;
    stream.set_read_timeout(limit)?;
    let hello = [MAGIC.as_slice(), &[version, class], &from.0, &to.0, &nonce].concat();
    stream.write_all(&hello)?;
    let mut answer = [0; 40];
    stream.read_exact(&mut answer)?;
    if answer[..4] != MAGIC || answer[4..24] != to.0 {
        return Err(wrong("another node answers"));
    }
    let said = [hello.as_slice(), &answer].concat();
    stream.write_all(&proof(password, b"caller", &said))?;
    let mut theirs = [0; 32];
    stream.read_exact(&mut theirs)?;
    if theirs != proof(password, b"called", &said) {
        return Err(wrong("it does not know the password"));
    }
    stream.set_read_timeout(None)?;
    Ok(stream)
}

/// Answers a call whose magic has been read: who calls, and in which version.
pub fn answer(stream: &mut TcpStream, me: NodeId, password: &str) -> io::Result<(NodeId, u8)> {
    let mut rest = [0; 1 + 1 + 20 + 20 + 16];
    stream.read_exact(&mut rest)?;
    let answer = [MAGIC.as_slice(), &me.0, &NONCE].concat();
    stream.write_all(&answer)?;
    let said = [MAGIC.as_slice(), &rest, &answer].concat();
    let mut theirs = [0; 32];
    stream.read_exact(&mut theirs)?;
    if theirs != proof(password, b"caller", &said) {
        return Err(wrong("it does not know the password"));
    }
    stream.write_all(&proof(password, b"called", &said))?;
    let from = NodeId(rest[2..22].try_into().expect("twenty bytes"));
    Ok((from, rest[0]))
}

/// The bytes of one frame.
pub fn framed(bytes: &[u8]) -> Vec<u8> {
    let mut out = (bytes.len() as u32).to_le_bytes().to_vec();
    out.extend(crc32c::crc32c(bytes).to_le_bytes());
    out.extend(bytes);
    out
}

/// Sends one frame.
pub fn send(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(&framed(bytes))
}

/// The next frame.
pub fn receive(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = [0; 8];
    stream.read_exact(&mut head)?;
    let length = u32::from_le_bytes(head[..4].try_into().expect("four bytes"));
    let mut bytes = vec![0; length as usize];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}
