//! Owns the reading of packets. Never judges what a message means. Invariants: any bytes give a
//! message or an error; what is allocated is no larger than a small multiple of the packet; texts
//! of a decoded message can be written into nodes.conf as they are (`crate::names`).

use super::{layout as at, Body, Extension, Flags, Gossip, Header, Message, PingKind};
use crate::names;
use crate::{NodeId, ShardId, SlotSet};

/// The longest packet that is taken: 64 MiB and a header.
pub const FRAME_BYTES_MAX: usize = (64 << 20) + at::HEADER;

/// Why bytes are not a message. After `Signature` or `FrameLength` the stream is lost and the link
/// must be closed; after anything else the packet can be skipped, as Redis does.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    #[error("no bus packet: the signature is missing")]
    Signature,
    #[error("a packet of {0} bytes is out of bounds")]
    FrameLength(u32),
    #[error("a packet of {got} bytes should have {wanted}")]
    Length { wanted: usize, got: usize },
    #[error("bus protocol version {0} is not known")]
    Version(u16),
    /// Maybe of a newer release; Redis looks at the header only.
    #[error("packet type {0} is not known")]
    UnknownType(u16),
    #[error("{0} is not an id of 40 hex digits")]
    Id(&'static str),
    #[error("{0}")]
    Text(&'static str),
    #[error("extension {number} of type {kind} has a length of {length} bytes")]
    Extension {
        number: usize,
        kind: u16,
        length: u32,
    },
}

type Result<T> = std::result::Result<T, WireError>;

/// How long the packet is whose beginning is given; `None` until 8 bytes are there.
pub fn frame_len(bytes: &[u8]) -> Result<Option<usize>> {
    let Some(start) = bytes.first_chunk::<8>() else {
        return Ok(None);
    };
    if start[..4] != at::SIGNATURE[..] {
        return Err(WireError::Signature);
    }
    let length = u32_at(start, at::TOTAL_LENGTH);
    if !(at::HEADER..=FRAME_BYTES_MAX).contains(&(length as usize)) {
        return Err(WireError::FrameLength(length));
    }
    Ok(Some(length as usize))
}

/// Reads one whole packet.
pub fn decode(packet: &[u8]) -> Result<Message> {
    let wanted = frame_len(packet)?.unwrap_or(at::HEADER);
    expect_length(packet, wanted)?;
    match u16_at(packet, at::PROTOCOL_VERSION) {
        at::VERSION => (),
        other => return Err(WireError::Version(other)),
    }
    let body = body(packet)?;
    Ok(Message {
        header: header(packet)?,
        body,
    })
}

/// Past this check the fixed offsets below `wanted` are there.
fn expect_length(packet: &[u8], wanted: usize) -> Result<()> {
    let got = packet.len();
    if got == wanted {
        return Ok(());
    }
    Err(WireError::Length { wanted, got })
}

fn header(packet: &[u8]) -> Result<Header> {
    let master = &packet[at::MASTER..at::MASTER + at::ID];
    let no_master = master.iter().all(|b| *b == 0);
    Ok(Header {
        sender: id_at(packet, at::SENDER, "the sender")?,
        master: match no_master {
            true => None,
            false => Some(id_at(packet, at::MASTER, "the sender's master")?),
        },
        slots: slots_at(packet, at::SLOTS),
        ip: ip_at(packet, at::IP)?,
        port: u16_at(packet, at::PORT),
        pport: u16_at(packet, at::PPORT),
        cport: u16_at(packet, at::CPORT),
        flags: Flags(u16_at(packet, at::FLAGS)),
        state: packet[at::STATE],
        message_flags: array_at(packet, at::MESSAGE_FLAGS),
        current_epoch: u64_at(packet, at::CURRENT_EPOCH),
        config_epoch: u64_at(packet, at::CONFIG_EPOCH),
        offset: u64_at(packet, at::OFFSET),
    })
}

fn body(packet: &[u8]) -> Result<Body> {
    match u16_at(packet, at::TYPE) {
        at::PING => ping(packet, PingKind::Ping),
        at::PONG => ping(packet, PingKind::Pong),
        at::MEET => ping(packet, PingKind::Meet),
        at::TYPE_FAIL => {
            expect_length(packet, at::FAIL)?;
            Ok(Body::Fail(id_at(packet, at::HEADER, "the failed node")?))
        }
        at::TYPE_PUBLISH => publish(packet, false),
        at::PUBLISH_SHARD => publish(packet, true),
        at::AUTH_REQUEST => bare(packet, Body::AuthRequest),
        at::AUTH_ACK => bare(packet, Body::AuthAck),
        at::MFSTART => bare(packet, Body::MfStart),
        at::TYPE_UPDATE => {
            expect_length(packet, at::UPDATE)?;
            Ok(Body::Update {
                config_epoch: u64_at(packet, at::HEADER),
                node: id_at(packet, at::HEADER + 8, "the updated node")?,
                slots: slots_at(packet, at::HEADER + 8 + at::ID),
            })
        }
        at::TYPE_MODULE => module(packet),
        other => Err(WireError::UnknownType(other)),
    }
}

fn bare(packet: &[u8], body: Body) -> Result<Body> {
    expect_length(packet, at::HEADER)?;
    Ok(body)
}

fn publish(packet: &[u8], sharded: bool) -> Result<Body> {
    expect_at_least(packet, at::PUBLISH)?;
    let channel = u32_at(packet, at::HEADER) as usize;
    let message = u32_at(packet, at::HEADER + 4) as usize;
    let wanted = at::PUBLISH.saturating_add(channel).saturating_add(message);
    expect_length(packet, wanted)?;
    let (channel, message) = packet[at::PUBLISH..].split_at(channel);
    Ok(Body::Publish {
        sharded,
        channel: channel.to_vec(),
        message: message.to_vec(),
    })
}

fn module(packet: &[u8]) -> Result<Body> {
    expect_at_least(packet, at::MODULE)?;
    let length = u32_at(packet, at::HEADER + 8) as usize;
    expect_length(packet, at::MODULE.saturating_add(length))?;
    Ok(Body::Module {
        id: u64_at(packet, at::HEADER),
        kind: packet[at::HEADER + 12],
        data: packet[at::MODULE..].to_vec(),
    })
}

fn ping(packet: &[u8], kind: PingKind) -> Result<Body> {
    let count = usize::from(u16_at(packet, at::COUNT));
    let gossip_end = at::HEADER + count * at::GOSSIP;
    // Redis counts extensions only where the flag says that there are any.
    let extensions = match packet[at::MESSAGE_FLAGS] & at::EXT_DATA {
        0 => {
            expect_length(packet, gossip_end)?;
            Vec::new()
        }
        _ => {
            expect_at_least(packet, gossip_end)?;
            extensions(packet, gossip_end)?
        }
    };
    let gossip = packet[at::HEADER..gossip_end].chunks_exact(at::GOSSIP);
    Ok(Body::Ping {
        kind,
        gossip: gossip.map(gossip_entry).collect::<Result<_>>()?,
        extensions,
    })
}

fn expect_at_least(packet: &[u8], wanted: usize) -> Result<()> {
    match packet.len() < wanted {
        true => expect_length(packet, wanted),
        false => Ok(()),
    }
}

fn gossip_entry(entry: &[u8]) -> Result<Gossip> {
    Ok(Gossip {
        node: id_at(entry, 0, "a node in gossip")?,
        ping_sent: u32_at(entry, 40),
        pong_received: u32_at(entry, 44),
        ip: ip_at(entry, 48)?,
        port: u16_at(entry, 94),
        cport: u16_at(entry, 96),
        flags: Flags(u16_at(entry, 98)),
        pport: u16_at(entry, 100),
    })
}

/// The extensions from `from` to the end of the packet, where they must end.
fn extensions(packet: &[u8], from: usize) -> Result<Vec<Extension>> {
    let mut rest = &packet[from..];
    let mut found = Vec::new();
    for number in 0..usize::from(u16_at(packet, at::EXTENSIONS)) {
        expect_at_least(packet, packet.len() - rest.len() + at::EXTENSION_HEADER)?;
        let (length, kind) = (u32_at(rest, 0), u16_at(rest, 4));
        let wrong = WireError::Extension {
            number,
            kind,
            length,
        };
        let size = length as usize;
        if size < at::EXTENSION_HEADER || size % 8 != 0 || size > rest.len() {
            return Err(wrong);
        }
        let (this, after) = rest.split_at(size);
        found.extend(extension(kind, &this[at::EXTENSION_HEADER..], wrong)?);
        rest = after;
    }
    expect_length(packet, packet.len() - rest.len())?;
    Ok(found)
}

/// `None` for an extension that is not known (newer servers have more of them) and for a name that
/// is not taken over: Redis lets a human nodename hold a line end, but the node itself is as good as
/// any.
fn extension(kind: u16, data: &[u8], wrong: WireError) -> Result<Option<Extension>> {
    let needs = |bytes: usize| match data.len() < bytes {
        true => Err(wrong),
        false => Ok(()),
    };
    Ok(match kind {
        at::EXT_HOSTNAME => text(data, "a hostname without an end")?
            .filter(|name| names::is_hostname(name))
            .map(|name| Extension::Hostname(name.to_owned())),
        at::EXT_HUMAN_NODENAME => text(data, "a human nodename without an end")?
            .filter(|name| names::is_human_nodename(name))
            .map(|name| Extension::HumanNodename(name.to_owned())),
        at::EXT_FORGOTTEN_NODE => {
            needs(at::ID + 8)?;
            Some(Extension::ForgottenNode {
                node: id_at(data, 0, "a forgotten node")?,
                ttl_seconds: u64_at(data, at::ID),
            })
        }
        at::EXT_SHARD_ID => {
            needs(at::ID)?;
            let shard = ShardId::from_hex(&data[..at::ID]);
            let shard = shard.map_err(|_| WireError::Id("a shard id"))?;
            Some(Extension::ShardId(shard))
        }
        _ => None,
    })
}

/// A text that a zero byte ends; `None` if it is not UTF-8.
fn text<'a>(field: &'a [u8], unended: &'static str) -> Result<Option<&'a str>> {
    let end = field.iter().position(|b| *b == 0);
    let end = end.ok_or(WireError::Text(unended))?;
    Ok(std::str::from_utf8(&field[..end]).ok())
}

fn ip_at(bytes: &[u8], at: usize) -> Result<String> {
    text(&bytes[at..at + at::IP_FIELD], "an address without an end")?
        .filter(|ip| names::is_ip_text(ip))
        .map(str::to_owned)
        .ok_or(WireError::Text("no text of an address"))
}

fn id_at(bytes: &[u8], at: usize, what: &'static str) -> Result<NodeId> {
    NodeId::from_hex(&bytes[at..at + at::ID]).map_err(|_| WireError::Id(what))
}

fn slots_at(bytes: &[u8], at: usize) -> SlotSet {
    SlotSet::from_bitmap(&array_at(bytes, at))
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(array_at(bytes, at))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(array_at(bytes, at))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(array_at(bytes, at))
}

/// The callers have checked the length before.
fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[at..at + N]);
    field
}
