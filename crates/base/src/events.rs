//! Classes of keyspace events, by the letters of `notify-keyspace-events`.
//!
//! Owns: the letters and what sets of them mean. Never: knows an event. Source:
//! <https://redis.io/docs/latest/develop/use/keyspace-notifications/>.

use std::ops::BitOr;

/// A set of classes, and of the two kinds of channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Classes(u16);

impl Classes {
    pub const NONE: Classes = Classes(0);
    /// Channels by key: `__keyspace@db__:key`.
    pub const KEYSPACE: Classes = Classes(1 << 0);
    /// Channels by event: `__keyevent@db__:event`.
    pub const KEYEVENT: Classes = Classes(1 << 1);
    pub const GENERIC: Classes = Classes(1 << 2);
    pub const STRING: Classes = Classes(1 << 3);
    pub const LIST: Classes = Classes(1 << 4);
    pub const SET: Classes = Classes(1 << 5);
    pub const HASH: Classes = Classes(1 << 6);
    pub const ZSET: Classes = Classes(1 << 7);
    pub const EXPIRED: Classes = Classes(1 << 8);
    pub const EVICTED: Classes = Classes(1 << 9);
    pub const STREAM: Classes = Classes(1 << 10);
    pub const MODULE: Classes = Classes(1 << 11);
    /// A key is there that was not.
    pub const NEW: Classes = Classes(1 << 12);
    /// A key was looked for that is not there.
    pub const MISS: Classes = Classes(1 << 13);

    /// In the order in which CONFIG GET shows them.
    const LETTERS: [(char, Classes); 14] = [
        ('g', Classes::GENERIC),
        ('$', Classes::STRING),
        ('l', Classes::LIST),
        ('s', Classes::SET),
        ('h', Classes::HASH),
        ('z', Classes::ZSET),
        ('x', Classes::EXPIRED),
        ('e', Classes::EVICTED),
        ('t', Classes::STREAM),
        ('d', Classes::MODULE),
        ('n', Classes::NEW),
        ('K', Classes::KEYSPACE),
        ('E', Classes::KEYEVENT),
        ('m', Classes::MISS),
    ];

    /// What the letter `A` stands for.
    const ALL: Classes = Classes(0b1111_1111_1100);

    pub const fn has(self, other: Classes) -> bool {
        self.0 & other.0 != 0
    }

    /// The set that the letters name; none: one of them is no class.
    pub fn parse(letters: &str) -> Option<Classes> {
        letters.chars().try_fold(Classes::NONE, |set, letter| {
            let known = Classes::LETTERS.iter().find(|(of, _)| *of == letter);
            match letter {
                'A' => Some(set | Classes::ALL),
                _ => known.map(|(_, class)| set | *class),
            }
        })
    }

    /// The letters, with `A` for all that it stands for.
    pub fn letters(self) -> String {
        let every = self.0 & Classes::ALL.0 == Classes::ALL.0;
        let shown = Classes::LETTERS.iter().filter(|(_, class)| {
            // With `A`, Redis does not show `n`: it loses it in this form only, so it is kept visible here.
            self.has(*class) && !(every && Classes::ALL.has(*class))
        });
        let first = every.then_some('A');
        first.into_iter().chain(shown.map(|(of, _)| *of)).collect()
    }

    /// What anybody could hear of: nothing without a kind of channel.
    #[must_use]
    pub fn heard(self) -> Classes {
        match self.has(Classes::KEYSPACE | Classes::KEYEVENT) {
            true => self,
            false => Classes::NONE,
        }
    }
}

impl BitOr for Classes {
    type Output = Classes;
    fn bitor(self, other: Classes) -> Classes {
        Classes(self.0 | other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_shown_in_redis_order() {
        for (given, shown) in [
            ("", Some("")),
            ("KEA", Some("AKE")),
            ("g$lshzxetd", Some("A")),
            ("AnmKE", Some("AnKEm")),
            ("xKg", Some("gxK")),
            ("gg", Some("g")),
            ("Kq", None),
        ] {
            let classes = Classes::parse(given).map(Classes::letters);
            assert_eq!(classes.as_deref(), shown, "{given}");
        }
    }

    #[test]
    fn nothing_is_heard_without_a_channel() {
        let classes = |letters: &str| Classes::parse(letters).expect("letters");
        assert_eq!(classes("Anm").heard(), Classes::NONE);
        assert_eq!(classes("gK").heard(), classes("gK"));
        assert!(classes("A").has(Classes::EVICTED) && !classes("A").has(Classes::NEW));
    }
}
