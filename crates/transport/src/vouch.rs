//! Whether what a link brings is proved to come from the node that it names.
//!
//! Without a password a link that was made to here proves nothing: anybody can call in a node's name.
//! So that node is asked, over a link of our own to its address, whether it has made a link with this
//! nonce; when it says so, what the link brings is proved from then on. An election's first message is
//! often the first on its link, and a frame that is not proved is as good as lost: what a new link
//! brings waits a little for the answer.
//!
//! Owns that decision, and the frames that wait for it. Never sends, and never reads a clock.
//! Invariants: frames leave in the order in which they came; what waits is bounded in time
//! ([`HELD_FOR`]) and bytes; nothing becomes proved but by a password or by its node.

use base::mutation::{self, Mutation};
use std::time::Duration;

/// How long what a new link brings waits at most.
pub const HELD_FOR: Duration = Duration::from_millis(100);
/// How much of it waits at most.
const HELD_BYTES: usize = 1 << 20;
/// How soon the same is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// What is known of the node that has made a link, and what waits until it is known.
pub struct Vouch {
    proved: bool,
    /// How old the link was when its node was asked last.
    asked: Option<Duration>,
    /// Frames that wait, unless nothing waits any more.
    held: Option<Vec<Vec<u8>>>,
    bytes: usize,
}

impl Vouch {
    /// `proved`: the link's handshake has proved its node. `asks`: the node's address is known, so it
    /// can be asked; else nothing waits for its answer.
    pub fn new(proved: bool, asks: bool) -> Vouch {
        let proved = proved || mutation::is(Mutation::EveryCallIsProved);
        Vouch {
            proved,
            asked: None,
            held: (!proved && asks).then(Vec::new),
            bytes: 0,
        }
    }

    pub fn is_proved(&self) -> bool {
        self.proved
    }

    /// Whether the node is to be asked now, when its link is so old; true once in a while.
    pub fn asks(&mut self, age: Duration) -> bool {
        let lately = |at: Duration| age.saturating_sub(at) < ASK_AGAIN;
        if self.proved || self.asked.is_some_and(lately) {
            return false;
        }
        self.asked = Some(age);
        true
    }

    /// A frame has come. `give` takes, with whether it is proved, each that the loop is to get now.
    pub fn bring(&mut self, frame: Vec<u8>, mut give: impl FnMut(bool, Vec<u8>)) {
        let Some(held) = &mut self.held else {
            return give(self.proved, frame);
        };
        self.bytes += frame.len();
        held.push(frame);
        if self.bytes > HELD_BYTES {
            self.let_go(give);
        }
    }

    /// The node has said that the link is its own.
    pub fn vouched(&mut self, give: impl FnMut(bool, Vec<u8>)) {
        self.proved = true;
        self.let_go(give);
    }

    /// Nothing waits from now on: the link is as old as [`HELD_FOR`].
    pub fn let_go(&mut self, mut give: impl FnMut(bool, Vec<u8>)) {
        for frame in self.held.take().unwrap_or_default() {
            give(self.proved, frame);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is given, as text, those that are proved with a mark.
    fn given(act: impl FnOnce(&mut dyn FnMut(bool, Vec<u8>))) -> Vec<String> {
        let mut given = Vec::new();
        act(&mut |proved, frame| {
            let mark = if proved { "!" } else { "" };
            given.push(format!("{}{mark}", String::from_utf8_lossy(&frame)));
        });
        given
    }

    fn bring(vouch: &mut Vouch, frame: &str) -> Vec<String> {
        given(|give| vouch.bring(frame.into(), give))
    }

    #[test]
    fn frames_wait_until_their_node_vouches() {
        let mut vouch = Vouch::new(false, true);
        assert!(bring(&mut vouch, "a").is_empty() && bring(&mut vouch, "b").is_empty());
        assert_eq!(given(|give| vouch.vouched(give)), ["a!", "b!"]);
        assert_eq!(bring(&mut vouch, "c"), ["c!"]);
        assert!(given(|give| vouch.let_go(give)).is_empty());
    }

    #[test]
    fn frames_nobody_vouches_for_stay_unproved() {
        let mut vouch = Vouch::new(false, true);
        assert!(bring(&mut vouch, "a").is_empty());
        assert_eq!(given(|give| vouch.let_go(give)), ["a"]);
        assert_eq!(bring(&mut vouch, "b"), ["b"]);
        vouch.vouched(|_, _| {});
        assert_eq!(bring(&mut vouch, "c"), ["c!"]);
    }

    #[test]
    fn nothing_waits_where_nobody_can_answer() {
        for (proved, asks, want) in [(false, false, "a"), (true, false, "a!"), (true, true, "a!")] {
            assert_eq!(bring(&mut Vouch::new(proved, asks), "a"), [want]);
        }
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut vouch = Vouch::new(false, true);
        let large = "x".repeat(HELD_BYTES);
        assert!(bring(&mut vouch, &large).is_empty());
        assert_eq!(bring(&mut vouch, "y").len(), 2);
        assert_eq!(bring(&mut vouch, "z"), ["z"]);
    }

    #[test]
    fn a_node_is_asked_now_and_then() {
        let ms = Duration::from_millis;
        let mut vouch = Vouch::new(false, true);
        let asked: Vec<u64> = (0..120).filter(|at| vouch.asks(ms(*at))).collect();
        assert_eq!(asked, [0, 50, 100]);
        vouch.vouched(|_, _| {});
        assert!(!vouch.asks(ms(1000)));
    }

    #[cfg(feature = "mutations")]
    #[test]
    fn a_link_proved_by_nobody_is_noticed() {
        mutation::set(Some(Mutation::EveryCallIsProved));
        let mut vouch = Vouch::new(false, true);
        let given = bring(&mut vouch, "a");
        mutation::set(None);
        assert_eq!(given, ["a!"], "the tests above expect nothing here");
    }
}
