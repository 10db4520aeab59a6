//! Ranges of sorted sets: where they begin and end, by score or by member. Never knows how a sorted set is kept, or the texts
//! of bounds.

/// An end of a range of scores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreBound {
    /// Never a NaN.
    pub score: f64,
    pub exclusive: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreRange {
    pub min: ScoreBound,
    pub max: ScoreBound,
}

impl ScoreRange {
    /// Whether a score lies below the range.
    pub fn is_behind(&self, score: f64) -> bool {
        match self.min.exclusive {
            true => score <= self.min.score,
            false => score < self.min.score,
        }
    }

    /// Whether a score does not lie above the range.
    pub fn reaches(&self, score: f64) -> bool {
        match self.max.exclusive {
            true => score < self.max.score,
            false => score <= self.max.score,
        }
    }
}

/// An end of a range of members whose scores are all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LexBound<'a> {
    /// Below all members.
    Lowest,
    /// Above all members.
    Highest,
    Including(&'a [u8]),
    Excluding(&'a [u8]),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LexRange<'a> {
    pub min: LexBound<'a>,
    pub max: LexBound<'a>,
}

impl LexRange<'_> {
    /// Whether a member lies below the range.
    pub fn is_behind(&self, member: &[u8]) -> bool {
        match self.min {
            LexBound::Lowest => false,
            LexBound::Highest => true,
            LexBound::Including(min) => member < min,
            LexBound::Excluding(min) => member <= min,
        }
    }

    /// Whether a member does not lie above the range.
    pub fn reaches(&self, member: &[u8]) -> bool {
        match self.max {
            LexBound::Lowest => false,
            LexBound::Highest => true,
            LexBound::Including(max) => member <= max,
            LexBound::Excluding(max) => member < max,
        }
    }
}
