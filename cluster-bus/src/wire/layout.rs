//! Owns where the fields of a packet stand: offsets, sizes and type numbers of Redis 7's
//! `clusterMsg`, version 1. Never reads or writes a packet. All numbers on the wire are big-endian.

pub const SIGNATURE: &[u8; 4] = b"RCmb";
pub const VERSION: u16 = 1;

// Offsets in the header.
pub const TOTAL_LENGTH: usize = 4;
pub const PROTOCOL_VERSION: usize = 8;
pub const PORT: usize = 10;
pub const TYPE: usize = 12;
pub const COUNT: usize = 14;
pub const CURRENT_EPOCH: usize = 16;
pub const CONFIG_EPOCH: usize = 24;
pub const OFFSET: usize = 32;
pub const SENDER: usize = 40;
pub const SLOTS: usize = 80;
pub const MASTER: usize = 2128;
pub const IP: usize = 2168;
pub const EXTENSIONS: usize = 2214;
pub const PPORT: usize = 2246;
pub const CPORT: usize = 2248;
pub const FLAGS: usize = 2250;
pub const STATE: usize = 2252;
pub const MESSAGE_FLAGS: usize = 2253;
/// Where the header ends.
pub const HEADER: usize = 2256;

// Sizes.
pub const ID: usize = 40;
pub const BITMAP: usize = 2048;
pub const IP_FIELD: usize = 46;
pub const GOSSIP: usize = 104;
/// Length, type and two unused bytes before an extension's data.
pub const EXTENSION_HEADER: usize = 8;
pub const FAIL: usize = HEADER + ID;
/// A PUBLISH without its texts.
pub const PUBLISH: usize = HEADER + 8;
pub const UPDATE: usize = HEADER + 8 + ID + BITMAP;
/// A MODULE packet without its data.
pub const MODULE: usize = HEADER + 13;

// Types.
pub const PING: u16 = 0;
pub const PONG: u16 = 1;
pub const MEET: u16 = 2;
pub const TYPE_FAIL: u16 = 3;
pub const TYPE_PUBLISH: u16 = 4;
pub const AUTH_REQUEST: u16 = 5;
pub const AUTH_ACK: u16 = 6;
pub const TYPE_UPDATE: u16 = 7;
pub const MFSTART: u16 = 8;
pub const TYPE_MODULE: u16 = 9;
pub const PUBLISH_SHARD: u16 = 10;

// Types of extensions.
pub const EXT_HOSTNAME: u16 = 0;
pub const EXT_HUMAN_NODENAME: u16 = 1;
pub const EXT_FORGOTTEN_NODE: u16 = 2;
pub const EXT_SHARD_ID: u16 = 3;

/// In the first byte of the message flags: extensions follow the gossip.
pub const EXT_DATA: u8 = 4;
