//! Owns the writing of packets, byte for byte as Redis 7 writes them: unused bytes are zero. Never
//! sends. Invariant: what is written decodes to the same message, given texts that `crate::names`
//! allows and at most 65535 gossip entries and extensions each.

use super::{layout as at, Body, Extension, Gossip, Message, PingKind};
use crate::NodeId;

impl Message {
    /// How many bytes `encode` adds. More than `FRAME_BYTES_MAX` must not be sent: the peer would
    /// close the link.
    pub fn encoded_len(&self) -> usize {
        match &self.body {
            Body::Ping {
                gossip, extensions, ..
            } => {
                let extensions = extensions.iter().map(extension_len).sum::<usize>();
                at::HEADER + gossip.len() * at::GOSSIP + extensions
            }
            Body::Fail(_) => at::FAIL,
            Body::Publish {
                channel, message, ..
            } => at::PUBLISH + channel.len() + message.len(),
            Body::AuthRequest | Body::AuthAck | Body::MfStart => at::HEADER,
            Body::Update { .. } => at::UPDATE,
            Body::Module { data, .. } => at::MODULE + data.len(),
        }
    }

    /// Appends the packet to `out`. Extensions bring their flag (`EXT_DATA`) with them; without
    /// any, the flag stands as `message_flags` has it: alone it says that this node knows them.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let length = self.encoded_len();
        out.reserve(length);
        let start = out.len();
        self.encode_header(length, out);
        match &self.body {
            Body::Ping {
                gossip, extensions, ..
            } => {
                gossip.iter().for_each(|entry| encode_gossip(entry, out));
                extensions.iter().for_each(|e| encode_extension(e, out));
            }
            Body::Fail(node) => out.extend_from_slice(&node.to_hex()),
            Body::Publish {
                channel, message, ..
            } => {
                put_u32(out, channel.len());
                put_u32(out, message.len());
                out.extend_from_slice(channel);
                out.extend_from_slice(message);
            }
            Body::AuthRequest | Body::AuthAck | Body::MfStart => (),
            Body::Update {
                config_epoch,
                node,
                slots,
            } => {
                out.extend_from_slice(&config_epoch.to_be_bytes());
                out.extend_from_slice(&node.to_hex());
                out.extend_from_slice(slots.bitmap());
            }
            Body::Module { id, kind, data } => {
                out.extend_from_slice(&id.to_be_bytes());
                put_u32(out, data.len());
                out.push(*kind);
                out.extend_from_slice(data);
            }
        }
        debug_assert_eq!(out.len() - start, length);
    }

    fn encode_header(&self, length: usize, out: &mut Vec<u8>) {
        let header = &self.header;
        let (gossip, extensions) = match &self.body {
            Body::Ping {
                gossip, extensions, ..
            } => (gossip.len(), extensions.len()),
            _ => (0, 0),
        };
        let mut message_flags = header.message_flags;
        if extensions > 0 {
            message_flags[0] |= at::EXT_DATA;
        }
        let start = out.len();
        out.extend_from_slice(at::SIGNATURE);
        put_u32(out, length);
        put_u16(out, at::VERSION);
        put_u16(out, header.port);
        put_u16(out, self.body.type_number());
        put_u16(out, gossip as u16);
        out.extend_from_slice(&header.current_epoch.to_be_bytes());
        out.extend_from_slice(&header.config_epoch.to_be_bytes());
        out.extend_from_slice(&header.offset.to_be_bytes());
        out.extend_from_slice(&header.sender.to_hex());
        out.extend_from_slice(header.slots.bitmap());
        let master = header.master.map_or([0; at::ID], NodeId::to_hex);
        out.extend_from_slice(&master);
        put_ip(out, &header.ip);
        put_u16(out, extensions as u16);
        out.resize(start + at::PPORT, 0);
        put_u16(out, header.pport);
        put_u16(out, header.cport);
        put_u16(out, header.flags.0);
        out.push(header.state);
        out.extend_from_slice(&message_flags);
    }
}

impl Body {
    /// The packet's type as a number: `CLUSTERMSG_TYPE_*`.
    pub fn type_number(&self) -> u16 {
        match self {
            Body::Ping { kind, .. } => match kind {
                PingKind::Ping => at::PING,
                PingKind::Pong => at::PONG,
                PingKind::Meet => at::MEET,
            },
            Body::Fail(_) => at::TYPE_FAIL,
            Body::Publish { sharded: false, .. } => at::TYPE_PUBLISH,
            Body::Publish { sharded: true, .. } => at::PUBLISH_SHARD,
            Body::AuthRequest => at::AUTH_REQUEST,
            Body::AuthAck => at::AUTH_ACK,
            Body::Update { .. } => at::TYPE_UPDATE,
            Body::MfStart => at::MFSTART,
            Body::Module { .. } => at::TYPE_MODULE,
        }
    }
}

fn encode_gossip(entry: &Gossip, out: &mut Vec<u8>) {
    out.extend_from_slice(&entry.node.to_hex());
    out.extend_from_slice(&entry.ping_sent.to_be_bytes());
    out.extend_from_slice(&entry.pong_received.to_be_bytes());
    put_ip(out, &entry.ip);
    put_u16(out, entry.port);
    put_u16(out, entry.cport);
    put_u16(out, entry.flags.0);
    put_u16(out, entry.pport);
    put_u16(out, 0);
}

fn extension_len(extension: &Extension) -> usize {
    let data = match extension {
        // A text and the zero byte that ends it.
        Extension::Hostname(text) | Extension::HumanNodename(text) => text.len() + 1,
        Extension::ForgottenNode { .. } => at::ID + 8,
        Extension::ShardId(_) => at::ID,
    };
    at::EXTENSION_HEADER + data.next_multiple_of(8)
}

fn encode_extension(extension: &Extension, out: &mut Vec<u8>) {
    let length = extension_len(extension);
    let end = out.len() + length;
    let kind = match extension {
        Extension::Hostname(_) => at::EXT_HOSTNAME,
        Extension::HumanNodename(_) => at::EXT_HUMAN_NODENAME,
        Extension::ForgottenNode { .. } => at::EXT_FORGOTTEN_NODE,
        Extension::ShardId(_) => at::EXT_SHARD_ID,
    };
    put_u32(out, length);
    put_u16(out, kind);
    put_u16(out, 0);
    match extension {
        Extension::Hostname(text) | Extension::HumanNodename(text) => {
            out.extend_from_slice(text.as_bytes());
        }
        Extension::ForgottenNode { node, ttl_seconds } => {
            out.extend_from_slice(&node.to_hex());
            out.extend_from_slice(&ttl_seconds.to_be_bytes());
        }
        Extension::ShardId(shard) => out.extend_from_slice(&shard.to_hex()),
    }
    out.resize(end, 0);
}

fn put_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn put_u32(out: &mut Vec<u8>, value: usize) {
    out.extend_from_slice(&(value as u32).to_be_bytes());
}

/// An address in its fixed field, cut to what fits with the zero byte that ends it.
fn put_ip(out: &mut Vec<u8>, ip: &str) {
    let end = out.len() + at::IP_FIELD;
    let fits = ip.len().min(at::IP_FIELD - 1);
    out.extend_from_slice(&ip.as_bytes()[..fits]);
    out.resize(end, 0);
}
