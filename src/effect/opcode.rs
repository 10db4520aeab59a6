//! The stable numbers of effects. A number, once released, never changes its meaning.

/// An effect's command. Arguments are those of the Redis command of the same name, in the one
/// form given here.
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
}

impl Op {
    /// Every opcode, in the order of their numbers.
    pub const ALL: [Op; 12] = [
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
        assert_eq!(Op::from_number(13), None);
    }
}
