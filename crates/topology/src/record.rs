//! The shard's record: the metadata that is replicated like the keyspace (S1, S2).
//!
//! Owns the record's fields and their codec. Slots and epoch change only through effects of the
//! shard's log; gossip, nodes.conf and redirects follow what has been committed. Never: decides a
//! change, or knows the leader. The members are beside it, in the group's ConfState (G5).

use super::bytes::{Reader, Writer};
use super::moves::Moves;
use cluster_bus::{NodeId, ShardId, SlotSet};

/// Of a record without any slot in motion, and without a memory of one.
const PLAIN: u8 = 1;
/// Of all others: as the plain one, then [`Moves`].
const WITH_MOVES: u8 = 2;

/// What the shard's log says of the shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The shard's id; the same on all its nodes.
    pub shard: ShardId,
    /// The config epoch of the shard's master on the bus.
    pub epoch: u64,
    /// The node of the last epoch entry: the master, whichever member leads the group (S2).
    pub master: NodeId,
    pub slots: SlotSet,
    pub moves: Moves,
}

impl Record {
    /// Bytes of an encoded plain record: version, shard, master, epoch (little endian), slots as a bitmap.
    pub const LEN: usize = 1 + 20 + 20 + 8 + 2048;

    /// A new shard's record: epoch 0, no slots (G1).
    pub fn founded(shard: ShardId, master: NodeId) -> Record {
        Record {
            shard,
            master,
            ..Record::default()
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer(Vec::with_capacity(Record::LEN));
        let plain = self.moves.is_empty();
        out.u8(if plain { PLAIN } else { WITH_MOVES });
        out.raw(&self.shard.0);
        out.raw(&self.master.0);
        out.u64(self.epoch);
        out.raw(self.slots.bitmap());
        if !plain {
            self.moves.encode(&mut out);
        }
        out.0
    }

    /// Reads a record that fills `bytes`; none if it is not one.
    pub fn decode(bytes: &[u8]) -> Option<Record> {
        let mut from = Reader(bytes);
        let version = from.u8()?;
        let record = Record {
            shard: from.array().map(ShardId)?,
            master: from.array().map(NodeId)?,
            epoch: from.u64()?,
            slots: SlotSet::from_bitmap(&from.array::<2048>()?),
            moves: match version {
                PLAIN => Moves::default(),
                WITH_MOVES => Moves::decode(&mut from)?,
                _ => return None,
            },
        };
        from.end()?;
        Some(record)
    }
}

/// Slots as effects carry them: pairs of first and last (little endian), in order.
pub fn encode_ranges(slots: &SlotSet) -> Vec<u8> {
    let ranges = slots.ranges().into_iter();
    ranges
        .flat_map(|(first, last)| [first.to_le_bytes(), last.to_le_bytes()])
        .flatten()
        .collect()
}

/// Reads what [`encode_ranges`] wrote; none for anything else.
pub fn decode_ranges(bytes: &[u8]) -> Option<SlotSet> {
    let chunks = bytes.chunks_exact(4);
    if !chunks.remainder().is_empty() {
        return None;
    }
    let mut slots = SlotSet::default();
    let mut next = 0; // in order: a few bytes may not cost thousands of steps each
    for pair in chunks {
        let first = u16::from_le_bytes([pair[0], pair[1]]);
        let last = u16::from_le_bytes([pair[2], pair[3]]);
        if first < next || first > last || last >= cluster_bus::slot::SLOT_COUNT {
            return None;
        }
        next = last + 1;
        (first..=last).for_each(|slot| {
            slots.insert(slot);
        });
    }
    Some(slots)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_record_round_trips() {
        let record = Record {
            shard: ShardId([1; 20]),
            epoch: 7,
            master: NodeId([2; 20]),
            slots: [0, 5, 6, 16383].into_iter().collect(),
            moves: Moves::default(),
        };
        let bytes = record.encode();
        assert_eq!(bytes.len(), Record::LEN);
        assert_eq!(Record::decode(&bytes), Some(record));
        assert_eq!(Record::decode(&bytes[1..]), None);
    }

    #[test]
    fn ranges_out_of_order_are_refused() {
        for ranges in [[5, 9, 9, 10], [5, 9, 0, 1], [7, 6, 8, 8]] {
            let bytes: Vec<u8> = ranges.iter().flat_map(|n: &u16| n.to_le_bytes()).collect();
            assert_eq!(decode_ranges(&bytes), None, "{ranges:?}");
        }
    }

    proptest! {
        #[test]
        fn ranges_round_trip(slots in proptest::collection::vec(0u16..16384, 0..50)) {
            let set: SlotSet = slots.into_iter().collect();
            prop_assert_eq!(decode_ranges(&encode_ranges(&set)), Some(set));
        }

        #[test]
        fn any_bytes_give_slots_or_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = decode_ranges(&bytes);
            let _ = Record::decode(&bytes);
        }
    }
}
