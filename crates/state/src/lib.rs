//! The replicated state machine: what the log drives, on the leader and on every other member alike.
//!
//! Owns: the one door to the keyspace ([`StateMachine`]), the effects of each type, watched keys, and
//! what a reply depends on ([`Footprint`], [`Gate`]). Never: writes replies, parses commands, reads a
//! clock, knows Raft or sockets. `command` and `shard` are siblings above it.
//!
//! Reading order: `core` (turns, commands, keys, the dirty index), then a file for each type (`string`, with `bitmap` and `hyperloglog` beside it;
//! `key` and `expire` for all types; `record` for the shard's own), whose mutators make an effect and
//! carry it out, and whose `EFFECTS` are the rows by which the log does the same; `effects` (the table),
//! `apply` (the way through an entry), `payload` (values on their way), [`load`] (from a file to a keyspace), [`save`] (and back), `watch`, `awaited`, `events`, `gate`, `room`,
//! `breath` (how long work lets its caller breathe).
//!
//! A new type is a file here, a file in `keyspace`, a folder in `command`, and a line in each table.

mod apply;
mod awaited;
mod bitmap;
mod breath;
mod core;
pub mod effects;
mod events;
mod expire;
mod gate;
mod hash;
mod hyperloglog;
mod key;
mod lend;
mod list;
pub mod load;
mod marks;
mod moving;
mod payload;
mod record;
pub mod room;
pub mod save;
mod set;
pub mod sort;
mod string;
mod titles;
mod watch;
mod zset;
mod zset_combine;

pub use self::core::{Access, Counters, StateMachine};
pub use apply::{
    apply_record, apply_unit, check_entry, check_unit, has_key_effects, only_frees, ApplyError,
};
pub use awaited::{ReadyKey, Waiter};
pub use bitmap::{BitOperation, Patches};
pub use breath::{free, Pacer};
pub use effect::{begins_batch, PART_BYTES};
pub use events::Event;
pub use gate::{Footprint, Gate, GateKind};
pub use hash::ExpiryCount;
pub use hyperloglog::{Piece, Sketch};
pub use moving::{Frozen, SlotMotion};
pub use payload::{is_value_of, parcel_of, payload_of, size_of, weight_of, BadValue, Reader};
pub use record::Ownership;
pub use string::number;
pub use watch::Watch;
pub use zset::{End, FoundBy, RangeBy};
pub use zset_combine::{combine, intersection_size, Aggregate, Combination, Operation, Source};

/// The numbers of effects, by their names.
pub mod op {
    pub use super::bitmap::{BITFIELD, BITOP, SETBIT};
    pub use super::expire::{PERSIST, PEXPIREAT};
    pub use super::hyperloglog::{PFADD, PFCOUNT};
    pub use super::key::{COPY, DEL, FLUSHALL, FLUSHDB, MOVE, RENAME, SWAPDB};
    pub use super::lend::{LEND, LEND_DONE, LEND_RECEIVED, LEND_RETURN, LEND_VOID};
    pub use super::marks::{
        BIND, HAND_OFF, HAND_OFF_FORGET, IMPORTING, MARK_CLOSE, MARK_CLOSING, MARK_END,
        MARK_RETURNING, MIGRATING, TAKE,
    };
    pub use super::record::{ADD_SLOTS, DEL_SLOTS, EPOCH, LOSE_SLOTS};
    pub use super::set::{SADD, SSTORE};
    pub use super::string::{APPEND, INCRBY, MSET, SET, SETRANGE};
    pub use effect::Op;
}
