//! The number that says which effect it is. What each number does stands with the type that it
//! changes (`state::effects` has them all); a number, once released, never changes its meaning.

/// An effect's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Op(u8);

impl Op {
    /// `SELECT db`: the database of the effects that follow in this unit (0 without it). The only one
    /// that the codec itself writes.
    pub const SELECT: Op = Op(1);

    pub const fn numbered(number: u8) -> Op {
        Op(number)
    }

    /// The number that is written to the log.
    pub const fn number(self) -> u8 {
        self.0
    }
}
