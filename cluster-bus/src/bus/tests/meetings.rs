//! Two nodes have met when each knows the other one, also where a handshake has ended too early on one side.

use super::*;

const MEET: fn(&Body) -> bool =
    |body| matches!(body, Body::Ping { kind, .. } if *kind == PingKind::Meet);

impl Bench {
    /// Waits while this peer answers. Whether it was met.
    fn was_met(&mut self, n: u8, ms: u64) -> bool {
        let mut met = false;
        for _ in 0..ms / 100 {
            let actions = self.wait(100);
            let link = self.out[&n];
            met |= sent(&actions)
                .iter()
                .any(|(to, packet)| *to == link && MEET(&packet.body));
            self.pong(n);
        }
        met
    }

    /// The peer's own link is gone.
    fn hang_up(&mut self, n: u8) {
        self.bus.closed(self.now, INCOMING | u64::from(n));
    }
}

fn plain() -> Body {
    ping(PingKind::Ping, Vec::new())
}

#[test]
fn node_that_stays_a_stranger_is_met_again() {
    let mut bench = Bench::new();
    bench.join(1);
    assert!(!bench.was_met(1, 1000), "its handshake may be under way");
    assert!(bench.was_met(1, 200));
    assert!(!bench.was_met(1, 900));
    assert!(bench.was_met(1, 200), "again and again");
    bench.from(1, plain());
    bench.from(1, plain());
    assert!(!bench.was_met(1, 5000), "it knows us now");
}

#[test]
fn link_that_ends_with_its_handshake_shows_nothing() {
    let mut bench = Bench::new();
    bench.join(1);
    bench.from(1, plain());
    bench.hang_up(1);
    assert!(bench.was_met(1, 1200));
}

#[test]
fn node_that_met_us_and_forgot_is_met() {
    let mut bench = Bench::new();
    bench.from(1, ping(PingKind::Meet, Vec::new()));
    bench.hang_up(1);
    bench.wait(100);
    bench.pong(1);
    assert!(bench.bus.node(id(1)).is_some());
    assert!(bench.was_met(1, 1200));
}

#[test]
fn met_by_command_again_is_met_until_it_knows() {
    let mut bench = Bench::new();
    bench.join(1);
    bench.from(1, plain());
    bench.from(1, plain());
    bench.hang_up(1);
    assert!(!bench.was_met(1, 3000), "it was reset, or has forgotten us");
    let old = bench.out[&1];
    assert!(bench.bus.meet(bench.now, ip(1), 6379, 16379));
    bench.wait(100);
    bench.pong(1);
    assert_eq!(bench.bus.nodes().count(), 2);
    bench.out.insert(1, old);
    assert!(bench.was_met(1, 1200));
}

#[test]
fn node_learned_by_gossip_is_not_met() {
    let mut bench = Bench::new();
    bench.join(1);
    bench.from(1, ping(PingKind::Ping, vec![entry(2, Flags::MASTER)]));
    bench.wait(100);
    assert!(bench.flags(2).has(Flags::MASTER));
    assert!(!bench.was_met(2, 3000));
}

#[test]
fn handshake_does_not_age_while_the_process_is_stopped() {
    let mut bench = Bench::new();
    assert!(bench.bus.meet(bench.now, ip(1), 6379, 16379));
    bench.now.mono_ms += 5000;
    bench.wait(100);
    bench.now.mono_ms += 5000;
    bench.wait(100);
    bench.pong(1);
    assert!(bench.bus.node(id(1)).is_some());
}

impl Bench {
    /// Whether this act sends a pong that nobody has asked for.
    fn tells(&mut self, n: u8, act: impl FnOnce(&mut Bench) -> Vec<Action>) -> bool {
        self.actions.clear();
        act(self);
        let link = self.out[&n];
        sent(&self.actions).iter().any(|(to, packet)| {
            *to == link
                && matches!(
                    packet.body,
                    Body::Ping {
                        kind: PingKind::Pong,
                        ..
                    }
                )
        })
    }
}

/// A node that was killed before would come back as a stranger, and nobody would meet it again.
#[test]
fn met_node_is_saved_before_it_is_told() {
    let mut bench = Bench::new();
    bench.wait(100);
    assert!(bench.bus.meet(bench.now, ip(1), 6379, 16379));
    bench.wait(100);
    let before = bench.bus.meetings();
    assert!(bench.tells(1, |bench| bench.pong(1)));
    let name = id(1).to_string();
    let at = |is: &dyn Fn(&Action) -> bool| bench.actions.iter().position(is);
    let saved = at(&|a| matches!(a, Action::Save(text) if text.contains(&name)));
    let told = at(&|a| matches!(a, Action::Send { .. }));
    assert!(saved.is_some() && saved < told);
    assert_eq!(bench.bus.meetings(), before + 1, "what follows waits");
}

/// FORGET or RESET may follow at once: a node that waits for the next ping would meet us again.
#[test]
fn node_is_told_at_once_that_we_know_it() {
    let mut bench = Bench::new();
    assert!(bench.bus.meet(bench.now, ip(1), 6379, 16379));
    bench.wait(100);
    assert!(bench.tells(1, |bench| bench.pong(1)));
    assert!(!bench.tells(1, |bench| bench.from(1, plain())));
    assert!(
        bench.tells(1, |bench| bench.from(1, plain())),
        "it knows us"
    );
    assert!(!bench.tells(1, |bench| bench.from(1, plain())), "no end");
}
