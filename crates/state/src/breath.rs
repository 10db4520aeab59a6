//! T9: how work that may take long lets its caller breathe.
//!
//! Owns the count of what was done since the last breath, and what a step counts for. Never: reads a clock (the
//! caller does, when it is asked), or knows what a breath is.

/// Bytes of work between two breaths: a fraction of a millisecond.
const BREATH: usize = 256 << 10;

/// What a step counts for beside its bytes.
pub(super) const STEP: usize = 256;

/// Counts what carrying out the log does, over effects, units and entries: many short ones take as long as a long one.
#[derive(Default)]
pub struct Pacer {
    done: usize,
}

impl Pacer {
    /// A step is done, which has read or written so many bytes.
    #[inline]
    pub fn step(&mut self, bytes: usize, breathe: &mut dyn FnMut()) {
        self.done += STEP + bytes;
        if self.done >= BREATH {
            self.done = 0;
            breathe();
        }
    }
}

/// Frees what takes long to be freed, as it has memory of its own for each element.
pub fn free<T>(all: Vec<T>, pace: &mut dyn FnMut(usize)) {
    for one in all {
        drop(one);
        pace(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_short_steps_breathe_like_a_long_one() {
        let (mut pacer, mut breaths) = (Pacer::default(), 0);
        for _ in 0..10 * BREATH / STEP {
            pacer.step(0, &mut || breaths += 1);
        }
        assert_eq!(breaths, 10);
        pacer.step(BREATH, &mut || breaths += 1);
        assert_eq!(breaths, 11);
    }
}
