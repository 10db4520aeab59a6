//! Packets and frames out of a stream of bytes, and a frame's header.
//!
//! A bus packet is "RCmb", its whole length (u32, big endian), the rest. A Raft frame is the length
//! of its bytes (u32, little endian), their crc32c, the bytes.
//!
//! Invariants: total (any bytes give pieces or a [`FrameError`]); memory follows the bytes that have
//! arrived, never the length that was claimed; of a link that is proved the address space alone follows the length.

/// The greatest frame, and the greatest packet: a log entry's worth and its envelope.
pub const MAX_FRAME: usize = (64 << 20) + (1 << 20);

/// What a bus link begins with, and each of its packets.
pub(super) const BUS_MAGIC: [u8; 4] = *b"RCmb";

const HEAD: usize = 8;
/// A packet has at least its signature, its length, and something to say.
const MIN_PACKET: usize = 16;
/// Memory taken at once for a piece that has only begun to arrive.
pub(super) const FIRST_BYTES: usize = 16 << 10;

/// A piece of a proved link that has come so far gets all its address space.
const FEW_BYTES: usize = 1 << 20;

/// Why a link can't go on.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("a length of {0} bytes")]
    Length(usize),
    #[error("a packet without its signature")]
    Signature,
    #[error("a frame whose checksum is wrong")]
    Checksum,
    #[error("{0} bytes that are not whole yet, and too many such on all links")]
    Unfinished(usize),
}

/// The header of a frame of these bytes, or nothing when they are too many.
pub fn header(bytes: &[u8]) -> Option<[u8; HEAD]> {
    let length = u32::try_from(bytes.len()).ok()?;
    if bytes.len() > MAX_FRAME {
        return None;
    }
    let mut head = [0; HEAD];
    head[..4].copy_from_slice(&length.to_le_bytes());
    head[4..].copy_from_slice(&crc32c::crc32c(bytes).to_le_bytes());
    Some(head)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Bus,
    Raft,
}

/// Puts the pieces of one link together.
pub struct Assembler {
    kind: Kind,
    head: [u8; HEAD],
    head_len: usize,
    /// The piece as far as it has come (a bus packet with its head), and how long it will be.
    piece: Vec<u8>,
    length: usize,
    /// Of a Raft frame: what its head claims, and what has come so far amounts to. A checksum of a whole frame at
    /// its end would hold up the loop.
    claimed: u32,
    crc: u32,
    /// The loop reads the link, which is proved.
    is_proved: bool,
}

impl Assembler {
    pub fn new(kind: Kind) -> Assembler {
        Assembler {
            kind,
            head: [0; HEAD],
            head_len: 0,
            piece: Vec::new(),
            length: 0,
            claimed: 0,
            crc: 0,
            is_proved: false,
        }
    }

    /// From now on no piece of several megabytes is copied as it grows: on eight links in step that was a turn of 143 ms
    /// (T9). The pages of what has not come are not touched.
    pub fn of_proved(self) -> Assembler {
        Assembler {
            is_proved: true,
            ..self
        }
    }

    /// Takes bytes off `input` until a piece is whole; `None` when `input` is used up before.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Vec<u8>>, FrameError> {
        if self.head_len < HEAD {
            let part = take(input, HEAD - self.head_len);
            self.head[self.head_len..self.head_len + part.len()].copy_from_slice(part);
            self.head_len += part.len();
            if self.head_len < HEAD {
                return Ok(None);
            }
            self.begin()?;
        }
        let part = take(input, self.length - self.piece.len());
        self.reserve(part.len());
        self.piece.extend_from_slice(part);
        if self.kind == Kind::Raft {
            self.crc = crc32c::crc32c_append(self.crc, part);
        }
        if self.piece.len() < self.length {
            return Ok(None);
        }
        let piece = std::mem::take(&mut self.piece);
        self.head_len = 0;
        if self.kind == Kind::Raft && self.crc != self.claimed {
            return Err(FrameError::Checksum);
        }
        Ok(Some(piece))
    }

    /// What the piece that is not whole takes.
    pub fn memory(&self) -> usize {
        self.piece.capacity()
    }

    /// The head is there.
    fn begin(&mut self) -> Result<(), FrameError> {
        let [a, b, c, d, rest @ ..] = self.head;
        match self.kind {
            Kind::Bus => {
                if [a, b, c, d] != BUS_MAGIC {
                    return Err(FrameError::Signature);
                }
                self.length = u32::from_be_bytes(rest) as usize;
                if self.length < MIN_PACKET {
                    return Err(FrameError::Length(self.length));
                }
            }
            Kind::Raft => {
                self.length = u32::from_le_bytes([a, b, c, d]) as usize;
                self.claimed = u32::from_le_bytes(rest);
                self.crc = 0;
            }
        }
        if self.length > MAX_FRAME {
            return Err(FrameError::Length(self.length));
        }
        self.piece.reserve_exact(self.length.min(FIRST_BYTES));
        if self.kind == Kind::Bus {
            self.piece.extend_from_slice(&self.head);
        }
        Ok(())
    }

    /// Room for `more` bytes: doubled, but never beyond the piece's length.
    fn reserve(&mut self, more: usize) {
        let have = self.piece.len();
        if self.piece.capacity() < have + more {
            let doubled = (2 * have).max(have + more).min(self.length);
            let wanted = match self.is_proved && doubled > FEW_BYTES {
                true => self.length,
                false => doubled,
            };
            self.piece.reserve_exact(wanted - have);
        }
    }
}

fn take<'a>(input: &mut &'a [u8], at_most: usize) -> &'a [u8] {
    let (part, rest) = input.split_at(at_most.min(input.len()));
    *input = rest;
    part
}
