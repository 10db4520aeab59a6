//! When to ping which node: ten ticks a second, as Redis has them.
//!
//! Owns the schedule and the reconnects. Never judges an answer. Invariant: a node that answers
//! nothing is pinged within half the node timeout, and its link is opened anew within the timeout.

use super::*;
use crate::wire::{Body, Message, PingKind};

impl Bus {
    /// When `tick` wants to be called next (monotonic).
    pub fn deadline(&self) -> u64 {
        let pong = self.pong_at.unwrap_or(u64::MAX);
        self.next_tick.min(pong)
    }

    /// Does what time demands. A call before the deadline does nothing; missed ticks are not made
    /// up for (E6).
    pub fn tick(&mut self, now: Now) {
        self.now = now;
        if self.pong_at.is_some_and(|at| now.mono_ms >= at) {
            self.broadcast_pong();
        }
        if now.mono_ms < self.next_tick {
            return;
        }
        self.next_tick = now.mono_ms + TICK_MS;
        self.ticks += 1;
        self.blacklist.retain(|_, until| now.mono_ms < *until);
        let ids = self.table.ids();
        ids.iter().for_each(|id| self.keep_link(*id));
        if self.ticks % (1000 / TICK_MS) == 0 {
            self.ping_somebody();
        }
        ids.iter().for_each(|id| self.check(*id));
        self.settle();
        // Last, so that nothing of this tick waits for the disk.
        let slots = self.slots_unsaved && now.mono_ms >= self.slots_saved_again;
        if self.unsaved || slots {
            self.save_now();
        }
    }

    /// How long a handshake may take.
    pub(super) fn handshake_ms(&self) -> u64 {
        self.options.node_timeout_ms.max(1000)
    }

    /// Ends a handshake that takes too long; opens a link that is missing. A process that is stopped would find
    /// its handshakes too old before it has read the answers: their age is counted in ticks.
    fn keep_link(&mut self, id: NodeId) {
        let Some(node) = self.table.get(id) else {
            return;
        };
        if id == self.table.me || node.flags.has(Flags::NOADDR) {
            return;
        }
        let age_ms = (self.ticks - node.first_tick) * TICK_MS;
        if node.in_handshake() && age_ms > self.handshake_ms() {
            self.remove_node(id);
        } else if node.link.is_none() {
            self.connect(id);
        } else {
            self.meet_again(id);
        }
    }

    /// A handshake may end too early on one side: then that node takes the other one for a stranger, which
    /// takes it for a node of its cluster, and no ping changes that. A MEET does, so it is said again until
    /// the other node has shown that it knows us. Never later: it may have been told to forget us.
    fn meet_again(&mut self, id: NodeId) {
        let (now, pause) = (self.now.mono_ms, self.handshake_ms());
        let node = self.table.get_mut(id).filter(|node| node.connected);
        let Some(node) = node.filter(|node| node.meet_at.is_some_and(|at| now > at)) else {
            return;
        };
        node.meet_at = Some(now + pause);
        if let Some(link) = node.link {
            self.send_ping(link, PingKind::Meet);
        }
    }

    /// This node and another one have met: it is met again unless it shows that it knows us.
    pub(super) fn has_met(&mut self, id: NodeId) {
        let at = self.now.mono_ms + self.handshake_ms();
        if let Some(node) = self.table.get_mut(id) {
            node.meet_at = Some(at);
        }
    }

    /// Once a second: of five random nodes the one whose last pong is the oldest.
    fn ping_somebody(&mut self) {
        let mut oldest: Option<(Option<u64>, LinkId)> = None;
        for _ in 0..5 {
            let id = self.table.pick(self.random.next());
            let Some(node) = self.table.get(id) else {
                continue;
            };
            let Some(link) = node.link.filter(|_| node.connected) else {
                continue;
            };
            if node.ping_sent.is_some() || node.in_handshake() {
                continue;
            }
            if oldest.is_none_or(|(pong, _)| node.pong_received < pong) {
                oldest = Some((node.pong_received, link));
            }
        }
        if let Some((_, link)) = oldest {
            self.send_ping(link, PingKind::Ping);
        }
    }

    /// Pings a node that was silent for half the timeout, resets its link, marks it PFAIL.
    fn check(&mut self, id: NodeId) {
        let timeout = self.options.node_timeout_ms;
        let Some(node) = self.table.get(id) else {
            return;
        };
        if id == self.table.me || node.flags.has(Flags::NOADDR) || node.in_handshake() {
            return;
        }
        let data_delay = node.data_received.map_or(u64::MAX, |at| self.since(at));
        let ping_delay = node.ping_sent.map_or(0, |at| self.since(at));
        let mut link = node.link.and_then(|link| self.links.get(&link));
        if let Some(open) = link {
            let late = ping_delay > timeout / 2 && data_delay > timeout / 2;
            if late && self.since(open.created_ms) > timeout {
                link = None;
            }
        }
        let (has_link, was_linked) = (link.is_some(), node.link.is_some());
        let pong_delay = node.pong_received.map_or(u64::MAX, |at| self.since(at));
        let quiet = node.ping_sent.is_none();
        if was_linked && !has_link {
            self.close_outgoing(id);
        }
        if has_link && quiet && pong_delay > timeout / 2 {
            self.ping_or_wait(id);
            return;
        }
        // Any data is a sign of life: under a flood of messages pongs may be late.
        if !quiet && ping_delay.min(data_delay) > timeout {
            self.suspect(id);
        }
    }

    /// Pings a node. While its link is not up yet the clock of the ping runs all the same: a
    /// connection that never comes about must count as silence.
    fn ping_or_wait(&mut self, id: NodeId) {
        let now = self.now.mono_ms;
        if let Some(node) = self.table.get_mut(id) {
            match node.link.filter(|_| node.connected) {
                Some(link) => self.send_ping(link, PingKind::Ping),
                None => node.ping_sent = Some(now),
            }
        }
    }

    /// Sends a PING, PONG or MEET with gossip and, for nodes that know them, extensions.
    pub(super) fn send_ping(&mut self, link: LinkId, kind: PingKind) {
        let Some(open) = self.links.get(&link).filter(|open| open.up) else {
            return;
        };
        let (to, incoming) = (open.node, open.incoming());
        let gossip = self.gossip_for(to);
        let mut extensions = Vec::new();
        if let Some(node) = to.and_then(|id| self.table.get_mut(id)) {
            if kind == PingKind::Ping && !incoming {
                node.ping_sent = Some(self.now.mono_ms);
            }
            if node.flags.has(Flags::EXTENSIONS) {
                extensions = self.extensions();
            }
        }
        let mut header = self.header();
        // Always set: it says that we understand extensions, even where none follow.
        header.message_flags[0] |= MESSAGE_HAS_EXTENSIONS;
        let body = Body::Ping {
            kind,
            gossip,
            extensions,
        };
        self.send(link, &Message { header, body });
    }

    /// Tells all how things are with us.
    pub(super) fn broadcast_pong(&mut self) {
        self.pong_at = None;
        for link in self.outgoing(|_| true) {
            self.send_ping(link, PingKind::Pong);
        }
    }

    /// Milliseconds since a monotonic time.
    pub(super) fn since(&self, at: u64) -> u64 {
        self.now.mono_ms.saturating_sub(at)
    }
}

/// `CLUSTERMSG_FLAG0_EXT_DATA`.
pub(super) const MESSAGE_HAS_EXTENSIONS: u8 = 4;

/// In the third byte of message flags, which Redis neither sets nor reads: the sender is this program. A hint: it proves
/// nothing, and decides only where a frame is sent that a Redis would complain of in its log.
pub(super) const MESSAGE_IS_OURS: u8 = 1;
/// `CLUSTERMSG_FLAG0_FORCEACK`.
pub(super) const MESSAGE_FORCES_ACK: u8 = 2;
