//! The stable numbers of effects. A number, once released, never changes its meaning.

/// An effect's command. Arguments are those of the Redis command of the same name, in the one
/// form given here; those of the shard's record have no such command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Op {
    /// `SELECT db`: the database of the effects that follow in this unit (0 without it).
    Select = 1,
    /// `SET key value [PXAT ms | KEEPTTL]`
    Set = 2,
    /// `DEL key [key ...]`
    Del = 3,
    /// `APPEND key value`
    Append = 4,
    /// `SETRANGE key offset value`
    SetRange = 5,
    /// `INCRBY key increment` (the increment may be negative)
    IncrBy = 6,
    /// `PEXPIREAT key ms`
    PExpireAt = 7,
    /// `PERSIST key`
    Persist = 8,
    /// `RENAME key newkey`
    Rename = 9,
    /// `MSET key value [key value ...]`
    MSet = 10,
    /// `FLUSHDB`
    FlushDb = 11,
    /// `FLUSHALL`
    FlushAll = 12,
    /// The shard gains slots: pairs of first and last (S1).
    AddSlots = 13,
    /// The shard gives up slots; their keys stay (`DELSLOTS`).
    DelSlots = 14,
    /// The shard loses slots and their keys (S3).
    LoseSlots = 15,
    /// The shard's epoch (8 bytes, little endian) and its master (20 bytes) (S2).
    Epoch = 16,
}

impl Op {
    /// Every opcode, in the order of their numbers.
    pub const ALL: [Op; 16] = [
        Op::Select,
        Op::Set,
        Op::Del,
        Op::Append,
        Op::SetRange,
        Op::IncrBy,
        Op::PExpireAt,
        Op::Persist,
        Op::Rename,
        Op::MSet,
        Op::FlushDb,
        Op::FlushAll,
        Op::AddSlots,
        Op::DelSlots,
        Op::LoseSlots,
        Op::Epoch,
    ];

    /// The opcode with this number, if this version knows it.
    pub fn from_number(number: u8) -> Option<Op> {
        Op::ALL.get(usize::from(number).wrapping_sub(1)).copied()
    }

    /// The number that is written to the log.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The Redis command that carries the effect out.
    pub fn command(self) -> &'static str {
        match self {
            Op::Select => "SELECT",
            Op::Set => "SET",
            Op::Del => "DEL",
            Op::Append => "APPEND",
            Op::SetRange => "SETRANGE",
            Op::IncrBy => "INCRBY",
            Op::PExpireAt => "PEXPIREAT",
            Op::Persist => "PERSIST",
            Op::Rename => "RENAME",
            Op::MSet => "MSET",
            Op::FlushDb => "FLUSHDB",
            Op::FlushAll => "FLUSHALL",
            Op::AddSlots => "CLUSTER ADDSLOTS",
            Op::DelSlots => "CLUSTER DELSLOTS",
            Op::LoseSlots => "the loss of slots",
            Op::Epoch => "the epoch",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_dense_and_round_trip() {
        for (i, op) in Op::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(op.number()), i + 1);
            assert_eq!(Op::from_number(op.number()), Some(op));
        }
        assert_eq!(Op::from_number(0), None);
        assert_eq!(Op::from_number(17), None);
    }
}
