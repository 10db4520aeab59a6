//! W3: the search for a host for a shard's witness, as a pure machine.
//!
//! Owns which host was asked, which ones before it, and how long an answer is waited for. Never: a shard,
//! the bus, a clock, or which hosts there are: events and [`Facts`] go in, an [`Output`] comes out.
//!
//! Making a witness takes a host the sync of a whole segment, and an invitation undoes what an earlier one has
//! made there. On slow disks a host that is asked again too soon is never done, and fills its disk with trying.
//! Invariants: no host is asked twice in one round, nor again before it has answered or [`UNANSWERED`] is over;
//! an acceptance of one that was not asked in this round, and owes no answer, counts for nothing.

use base::clock::Mono;
use cluster_bus::NodeId;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a host that has not answered is not asked again.
const UNANSWERED: Duration = Duration::from_secs(5);
/// How long an invited host may take until another one is asked, and how long a round that found none is
/// rested from.
const INVITATION: Duration = Duration::from_millis(500);
/// How long a leader that finds only masters as hosts waits for nodes that may yet be replicas: the bus
/// tells of them when they have settled.
const SETTLING: Duration = Duration::from_secs(2);

/// Where the search is.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum WitnessSearch {
    /// No host is looked for, or none was asked yet.
    #[default]
    Idle,
    /// `host` was asked; those in `tried` before it, and they declined or were silent.
    Invited {
        host: NodeId,
        until: Mono,
        tried: Vec<NodeId>,
    },
    /// There is no other host to ask; then all are asked anew. One of `tried` may accept late.
    Pausing { until: Mono, tried: Vec<NodeId> },
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Event {
    /// This node leads no more.
    NotLeading,
    /// No witness is wanted now.
    NotWanted,
    /// [`Search::is_due`], and there is a base to invite with.
    Due,
    Declined(NodeId),
    /// `fits`: a witness is still wanted, for this group, and no member is on that node.
    Accepted {
        host: NodeId,
        fits: bool,
    },
}

/// What the machine is told of the world.
pub(super) struct Facts<'a> {
    pub now: Mono,
    /// A witness that wants to go waits for its successor: no time to be choosy.
    pub hurry: bool,
    /// The hosts, best first; for `true` none rather than a master while a replica may yet settle.
    pub hosts: &'a dyn Fn(bool) -> Vec<NodeId>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Output {
    Invite(NodeId),
    /// This host's witness is to be a member.
    Offer(NodeId),
}

/// The search, and since when there is one.
#[derive(Debug, Default)]
pub(super) struct Search {
    state: WitnessSearch,
    /// Since when this leader has looked for a host; a host that accepts ends it.
    since: Option<Mono>,
    /// Hosts that were asked and have not answered, and until when they are not asked again.
    unanswered: BTreeMap<NodeId, Mono>,
}

impl Search {
    /// Whether it is time to ask a host.
    pub fn is_due(&self, now: Mono) -> bool {
        match &self.state {
            WitnessSearch::Idle => true,
            WitnessSearch::Invited { until, .. } | WitnessSearch::Pausing { until, .. } => {
                now >= *until
            }
        }
    }

    /// Whether this is the host that was asked last, or one that owes an answer.
    pub fn has_invited(&self, node: NodeId) -> bool {
        let last = matches!(&self.state, WitnessSearch::Invited { host, .. } if *host == node);
        last || self.unanswered.contains_key(&node)
    }

    /// Takes a step.
    pub fn step(&mut self, event: Event, facts: &Facts) -> Option<Output> {
        match event {
            Event::NotLeading => *self = Search::default(),
            Event::NotWanted => self.state = WitnessSearch::Idle,
            Event::Due => return self.ask_next(facts),
            Event::Declined(node) => {
                self.unanswered.remove(&node);
                match &mut self.state {
                    WitnessSearch::Invited { host, until, .. } if *host == node => {
                        *until = facts.now;
                    }
                    _ => {}
                }
            }
            Event::Accepted { host, fits } => {
                let owed = self.unanswered.remove(&host).is_some();
                if fits && (owed || self.has_asked(host)) {
                    (self.state, self.since) = (WitnessSearch::Idle, None);
                    return Some(Output::Offer(host));
                }
            }
        }
        None
    }

    fn has_asked(&self, node: NodeId) -> bool {
        match &self.state {
            WitnessSearch::Idle => false,
            WitnessSearch::Invited { host, tried, .. } => *host == node || tried.contains(&node),
            WitnessSearch::Pausing { tried, .. } => tried.contains(&node),
        }
    }

    fn ask_next(&mut self, facts: &Facts) -> Option<Output> {
        let tried = match std::mem::take(&mut self.state) {
            WitnessSearch::Invited {
                host, mut tried, ..
            } => {
                tried.push(host);
                tried
            }
            // After a pause all hosts are asked anew.
            WitnessSearch::Idle | WitnessSearch::Pausing { .. } => Vec::new(),
        };
        let since = *self.since.get_or_insert(facts.now);
        let patient = !facts.hurry && facts.now.since(since) < SETTLING;
        let hosts = (facts.hosts)(patient);
        self.unanswered.retain(|_, until| *until > facts.now);
        let next = hosts
            .into_iter()
            .find(|host| !tried.contains(host) && !self.unanswered.contains_key(host));
        let until = facts.now + INVITATION;
        if let Some(host) = next {
            self.unanswered.insert(host, facts.now + UNANSWERED);
        }
        self.state = match next {
            Some(host) => WitnessSearch::Invited { host, until, tried },
            None => WitnessSearch::Pausing { until, tried },
        };
        next.map(Output::Invite)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(n: u8) -> NodeId {
        NodeId([n; 20])
    }

    fn at(ms: u64) -> Mono {
        Mono(ms * 1_000_000)
    }

    fn invited(host: u8, until: u64, tried: &[u8]) -> WitnessSearch {
        WitnessSearch::Invited {
            host: node(host),
            until: at(until),
            tried: tried.iter().map(|n| node(*n)).collect(),
        }
    }

    fn pausing(until: u64, tried: &[u8]) -> WitnessSearch {
        WitnessSearch::Pausing {
            until: at(until),
            tried: tried.iter().map(|n| node(*n)).collect(),
        }
    }

    /// Every state under every event, at 1,000 ms, with the hosts 1 and 2.
    #[test]
    fn each_state_takes_each_event() {
        use Event::{Accepted, Declined, Due, NotLeading, NotWanted};
        use Output::{Invite, Offer};
        use WitnessSearch::Idle;
        let accepted = |n, fits| Accepted {
            host: node(n),
            fits,
        };
        let (first, second) = (invited(1, 1500, &[]), invited(2, 1500, &[1]));
        let rows = [
            (
                "the first is asked",
                Idle,
                Due,
                first.clone(),
                Some(Invite(node(1))),
            ),
            (
                "the next is asked",
                invited(1, 900, &[]),
                Due,
                second.clone(),
                Some(Invite(node(2))),
            ),
            (
                "all were asked",
                invited(2, 900, &[1]),
                Due,
                pausing(1500, &[1, 2]),
                None,
            ),
            (
                "all anew",
                pausing(900, &[1, 2]),
                Due,
                first.clone(),
                Some(Invite(node(1))),
            ),
            (
                "no time is lost",
                first.clone(),
                Declined(node(1)),
                invited(1, 1000, &[]),
                None,
            ),
            (
                "it was asked before",
                second.clone(),
                Declined(node(1)),
                second.clone(),
                None,
            ),
            ("it was not asked", Idle, Declined(node(1)), Idle, None),
            (
                "in a pause",
                pausing(1500, &[1]),
                Declined(node(1)),
                pausing(1500, &[1]),
                None,
            ),
            (
                "it accepts",
                first.clone(),
                accepted(1, true),
                Idle,
                Some(Offer(node(1))),
            ),
            (
                "late",
                second.clone(),
                accepted(1, true),
                Idle,
                Some(Offer(node(1))),
            ),
            (
                "later",
                pausing(1500, &[1, 2]),
                accepted(1, true),
                Idle,
                Some(Offer(node(1))),
            ),
            (
                "too late",
                first.clone(),
                accepted(1, false),
                first.clone(),
                None,
            ),
            (
                "another one",
                first.clone(),
                accepted(2, true),
                first.clone(),
                None,
            ),
            ("of an old round", Idle, accepted(1, true), Idle, None),
            ("not wanted", first.clone(), NotWanted, Idle, None),
            (
                "not wanted in a pause",
                pausing(1500, &[1]),
                NotWanted,
                Idle,
                None,
            ),
            ("deposed", second.clone(), NotLeading, Idle, None),
        ];
        for (what, state, event, then, output) in rows {
            let mut search = Search {
                state,
                since: Some(at(0)),
                ..Search::default()
            };
            let facts = Facts {
                now: at(1000),
                hurry: false,
                hosts: &|_| vec![node(1), node(2)],
            };
            assert_eq!(search.step(event, &facts), output, "{what}");
            assert_eq!(search.state, then, "{what}");
        }
    }

    /// For each question: when, in a hurry or not, and whether the search is still patient.
    #[test]
    fn patience_with_masters_ends_after_two_seconds() {
        let mut search = Search::default();
        for (now, hurry, patient) in [
            (1000, false, true),
            (2999, false, true),
            (2999, true, false),
            (3000, false, false),
        ] {
            let asked = std::cell::Cell::new(None);
            let hosts = |patient| {
                asked.set(Some(patient));
                Vec::new()
            };
            let facts = Facts {
                now: at(now),
                hurry,
                hosts: &hosts,
            };
            assert_eq!(search.step(Event::Due, &facts), None);
            assert_eq!(asked.get(), Some(patient), "at {now}, hurry: {hurry}");
        }
    }

    /// Its answer takes longer than a round: another invitation would undo what the first has made.
    #[test]
    fn slow_hosts_are_asked_once() {
        let mut search = Search::default();
        let hosts = |_| vec![node(1), node(2)];
        let mut step = |ms, event| {
            let (now, hurry, hosts) = (at(ms), false, &hosts);
            search.step(event, &Facts { now, hurry, hosts })
        };
        for (ms, asked) in [
            (1000, Some(1)),
            (1500, Some(2)),
            (2000, None),
            (2500, None),
            (3000, None),
        ] {
            let invited = asked.map(|n| Output::Invite(node(n)));
            assert_eq!(step(ms, Event::Due), invited, "at {ms}");
        }
        let accepted = |n| Event::Accepted {
            host: node(n),
            fits: true,
        };
        assert_eq!(step(3100, Event::Declined(node(2))), None);
        assert_eq!(step(3200, accepted(1)), Some(Output::Offer(node(1))));
        assert_eq!(step(3300, accepted(1)), None, "it owes no answer any more");
        assert_eq!(step(4000, Event::Due), Some(Output::Invite(node(1))));
        assert_eq!(step(4500, Event::Due), Some(Output::Invite(node(2))));
        assert_eq!(step(8900, Event::Due), None);
        assert_eq!(
            step(9400, Event::Due),
            Some(Output::Invite(node(1))),
            "five seconds later"
        );
    }

    #[test]
    fn an_answer_is_waited_for_half_a_second() {
        for (state, now, due) in [
            (WitnessSearch::Idle, 0, true),
            (invited(1, 500, &[]), 499, false),
            (invited(1, 500, &[]), 500, true),
            (pausing(500, &[]), 499, false),
            (pausing(500, &[]), 500, true),
        ] {
            let search = Search {
                state,
                ..Search::default()
            };
            assert_eq!(search.is_due(at(now)), due, "{search:?}");
        }
    }
}
