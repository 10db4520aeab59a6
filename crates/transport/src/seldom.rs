//! What is said once a minute at most.
//!
//! Owns the memory of what was said about which peer. Never: reads a clock, says anything itself.
//! Invariant: strangers can't make it grow without end; when its memory is full of what was said
//! lately, nothing new is said.

use std::collections::HashMap;
use std::fmt::{Debug, Display};
use std::time::Duration;

/// How long the same is not said again.
const MINUTE: Duration = Duration::from_secs(60);
/// Subjects that are remembered.
const SUBJECTS: usize = 1024;

#[derive(Debug, Default)]
pub struct Seldom {
    /// When each was last said.
    said: HashMap<String, Duration>,
}

impl Seldom {
    /// Whether something of this kind may be said about this peer at `now`, a time since any beginning.
    pub fn admits(&mut self, now: Duration, peer: impl Display, kind: impl Display) -> bool {
        let subject = format!("{peer} {kind}");
        if let Some(said) = self.said.get_mut(&subject) {
            let again = now.saturating_sub(*said) >= MINUTE;
            if again {
                *said = now;
            }
            return again;
        }
        if self.said.len() >= SUBJECTS {
            self.said
                .retain(|_, said| now.saturating_sub(*said) < MINUTE);
        }
        let room = self.said.len() < SUBJECTS;
        if room {
            self.said.insert(subject, now);
        }
        room
    }
}

/// Which of its kinds an error is, without what it says of the case at hand.
pub fn kind_of(error: &impl Debug) -> String {
    let text = format!("{error:?}");
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
    text[..end.unwrap_or(text.len())].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_said_once_a_minute() {
        let mut seldom = Seldom::default();
        let s = Duration::from_secs;
        assert!(seldom.admits(s(0), "a", "refused"));
        assert!(!seldom.admits(s(59), "a", "refused"));
        assert!(seldom.admits(s(59), "a", "reset"), "another kind");
        assert!(seldom.admits(s(59), "b", "refused"), "another peer");
        assert!(seldom.admits(s(60), "a", "refused"));
        assert!(!seldom.admits(s(119), "a", "refused"));
    }

    #[test]
    fn strangers_do_not_fill_the_memory() {
        let mut seldom = Seldom::default();
        let s = Duration::from_secs;
        let said = (0..3000).filter(|n| seldom.admits(s(1), n, "x")).count();
        assert_eq!((said, seldom.said.len()), (SUBJECTS, SUBJECTS));
        assert!(seldom.admits(s(61), "new", "x"));
        assert_eq!(seldom.said.len(), 1);
    }

    #[test]
    fn a_kind_is_the_name_of_a_variant() {
        assert_eq!(kind_of(&Some(3)), "Some");
        let refused = std::io::ErrorKind::ConnectionRefused;
        assert_eq!(kind_of(&refused), "ConnectionRefused");
    }
}
