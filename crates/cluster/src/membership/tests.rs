//! The machine of phases, as tables: every phase under every event that it may meet.

mod resets;

use super::machine::{Machine, LEAVE_PATIENCE, RESEND, UNKNOWN_PATIENCE, UNKNOWN_SILENCE};
use super::phase::{Beginning, Event, Facts, Output, Phase, Reset, ResetWish, Step, Then};
use super::OperatorRefusal;
use crate::identity::{Joining as Mark, NodeIdentity};
use base::clock::Mono;
use base::ids::RaftId;
use cluster_bus::NodeId;
use shard::LEAVE_TIMEOUTS;
use std::time::Duration;

/// The raft id of the member that is open.
const ME: RaftId = RaftId(5);
/// Minted for the join.
const FRESH: RaftId = RaftId(77);
const T: Duration = Duration::from_secs(1);
const TARGET: NodeId = NodeId([3; 20]);
const HINT: NodeId = NodeId([8; 20]);

fn at(ms: u64) -> Mono {
    Mono(ms * 1_000_000)
}

const fn mark(raft_id: RaftId) -> Mark {
    Mark {
        target: TARGET,
        raft_id,
    }
}

fn reset_of(hard: bool) -> Reset {
    Reset {
        number: 1,
        hard,
        begun: at(1000),
        answered: false,
        told_witnesses: false,
        of_master: false,
    }
}

fn then_reset(mark: Option<Mark>) -> Phase {
    let reset = reset_of(false);
    Phase::Leaving(Then::Reset { reset, mark })
}

fn then_join() -> Phase {
    Phase::Leaving(Then::Join(mark(FRESH)))
}

fn ask_base() -> Phase {
    Phase::joining(mark(FRESH), ME)
}

fn have_base(since: Option<Mono>) -> Phase {
    Phase::Joining {
        mark: mark(ME),
        step: Step::HaveBase { since },
        unknown: None,
    }
}

/// A member of three, at one second.
fn facts() -> Facts {
    Facts {
        now: at(1000),
        t: T,
        listed: true,
        others: true,
        other_data: true,
        keys: true,
        slots: true,
        led: true,
        leader_known: true,
        ..Facts::default()
    }
}

/// Alone in its group, without anything.
fn alone() -> Facts {
    Facts {
        listed: true,
        now: at(1000),
        t: T,
        leads: true,
        led: true,
        leader_known: true,
        ..Facts::default()
    }
}

/// Has its base on disk, and no word of a leader.
fn unheard(now: u64) -> Facts {
    Facts {
        now: at(now),
        listed: false,
        perhaps_added: true,
        led: false,
        leader_known: false,
        ..facts()
    }
}

fn identity(member: RaftId, joining: Option<Mark>, spare: Option<RaftId>) -> NodeIdentity {
    NodeIdentity {
        member,
        joining,
        spare,
    }
}

/// What a phase becomes by an event, and what is to be done.
fn step(phase: Phase, event: Event, facts: &Facts) -> (Phase, Vec<Output>) {
    let mut machine = Machine::in_phase(phase, ME, Some(HINT));
    let outputs = machine.step(event, facts);
    (machine.phase(), outputs)
}

/// One row: what it is, the phase before, the facts, the phase after, the outputs.
type Row = (&'static str, Phase, Facts, Phase, Vec<Output>);

fn turns(rows: Vec<Row>) {
    for (what, before, facts, after, outputs) in rows {
        let is = step(before, Event::Turn, &facts);
        assert_eq!(is, (after, outputs), "{what}");
    }
}

const LEAVE: Output = Output::AskToLeave { hint: Some(HINT) };

#[test]
fn a_member_goes_only_when_it_was_removed() {
    let unconfirmed = Facts {
        listed: false,
        unconfirmed: true,
        ..facts()
    };
    let removed = Facts {
        removed: true,
        ..facts()
    };
    let found = vec![Output::Found { renamed: false }];
    turns(vec![
        ("all is well", Phase::Member, facts(), Phase::Member, vec![]),
        ("alone", Phase::Member, alone(), Phase::Member, vec![]),
        (
            "G2: it keeps its vote",
            Phase::Member,
            unconfirmed,
            Phase::Member,
            vec![LEAVE],
        ),
        ("G2: removed", Phase::Member, removed, Phase::Member, found),
    ]);
}

#[test]
fn a_member_that_leaves_asks_until_it_has_left() {
    let removed = Facts {
        removed: true,
        ..facts()
    };
    let leads = Facts {
        leads: true,
        ..facts()
    };
    let last = Facts {
        keys: true,
        ..alone()
    };
    let owes = Facts {
        owes: true,
        ..alone()
    };
    let stays = || vec![Output::Save(identity(ME, None, None)), Output::Changed];
    let not_listed = Facts {
        listed: false,
        ..facts()
    };
    let abandoned = Facts {
        abandoned: true,
        keys: false,
        slots: false,
        ..facts()
    };
    let perhaps = Facts {
        perhaps_added: true,
        ..not_listed
    };
    turns(vec![
        ("asked", then_join(), facts(), then_join(), vec![LEAVE]),
        (
            "G4: a leader",
            then_join(),
            leads,
            then_join(),
            vec![Output::HandOver],
        ),
        ("removed", then_join(), removed, ask_base(), vec![]),
        ("alone, empty", then_join(), alone(), ask_base(), vec![]),
        (
            "C1: the last with keys",
            then_join(),
            last,
            Phase::Member,
            stays(),
        ),
        (
            "I9: the last that owes",
            then_join(),
            owes,
            Phase::Member,
            stays(),
        ),
        ("no member", then_join(), not_listed, ask_base(), vec![]),
        (
            "M28: its group has ended",
            then_join(),
            abandoned,
            ask_base(),
            vec![],
        ),
        (
            "the same, with keys",
            then_join(),
            Facts {
                keys: true,
                ..abandoned
            },
            then_join(),
            vec![LEAVE],
        ),
        (
            "perhaps one",
            then_join(),
            perhaps,
            then_join(),
            vec![LEAVE],
        ),
    ]);
}

/// M28: both nodes of a shard may have decided to follow while the other one led; the last of them asks.
#[test]
fn last_one_that_goes_unheard_stays() {
    let follows = Facts {
        follows: true,
        ..alone()
    };
    for (event, stays) in [
        (None, true), // it has started again meanwhile
        (Some(Event::Replicate(mark(FRESH))), false),
        (Some(follow(false)), true),
        (Some(follow(true)), false),
    ] {
        let mut machine = Machine::in_phase(then_join(), ME, None);
        event.map(|event| machine.step(event, &facts()));
        machine.step(Event::Turn, &follows);
        assert_eq!(machine.phase() == Phase::Member, stays, "{event:?}");
    }
    let with_other = Facts {
        follows: true,
        ..facts()
    };
    let mut machine = Machine::in_phase(Phase::Member, ME, None);
    machine.step(follow(false), &facts());
    machine.step(Event::Turn, &with_other);
    assert!(machine.is_leaving(), "a member stays that can ask");
}

fn follow(heard: bool) -> Event {
    let mark = mark(FRESH);
    Event::Follow { mark, heard }
}

#[test]
fn a_joiner_asks_for_a_base_first() {
    let (mark, hint) = (mark(FRESH), Some(HINT));
    let base = Output::AskForBase { mark, hint };
    let ready = |hint| Output::AskToBeAdded {
        mark: super::tests::mark(ME),
        hint,
    };
    let led = Facts {
        led: true,
        leader_known: true,
        ..unheard(50_000)
    };
    let removed = Facts {
        removed: true,
        ..unheard(1000)
    };
    let unconfirmed = Facts {
        unconfirmed: true,
        perhaps_added: false,
        ..unheard(1000)
    };
    let added = vec![Output::Save(identity(ME, None, None)), Output::Changed];
    let since = |ms| have_base(Some(at(ms)));
    turns(vec![
        ("no base yet", ask_base(), facts(), ask_base(), vec![base]),
        (
            "the old member",
            ask_base(),
            removed,
            ask_base(),
            vec![base],
        ),
        (
            "unheard",
            have_base(None),
            unheard(1000),
            since(1000),
            vec![ready(hint)],
        ),
        (
            "still",
            since(1000),
            unheard(21_000),
            since(1000),
            vec![ready(hint)],
        ),
        (
            "for too long",
            since(1000),
            unheard(21_001),
            since(1000),
            vec![Output::Mint],
        ),
        (
            "it is written to",
            since(1000),
            led,
            since(50_000),
            vec![ready(None)],
        ),
        ("added", since(1000), facts(), Phase::Member, added),
        (
            "G2: spent",
            since(1000),
            removed,
            since(1000),
            vec![Output::Mint],
        ),
        (
            "G2: unconfirmed",
            since(1000),
            unconfirmed,
            since(1000),
            vec![LEAVE],
        ),
    ]);
}

/// C1: the leader answers each question at these seconds with *Unknown*; whether the joiner has given up
/// by then.
#[test]
fn a_joiner_that_was_forgotten_gives_up() {
    let patience = UNKNOWN_PATIENCE.as_secs();
    let silence = UNKNOWN_SILENCE.as_secs();
    let all = |until: u64| (1..=until).collect::<Vec<_>>();
    let but = |gap: std::ops::Range<u64>| {
        let mut seconds = all(patience + 1);
        seconds.retain(|s| !gap.contains(s));
        seconds
    };
    let found = [Output::Found { renamed: false }];
    for (what, answers, gives_up) in [
        ("at once", vec![1], false),
        ("long", all(patience), false),
        ("for good", all(patience + 1), true),
        ("with a short silence", but(9..9 + silence - 1), true),
        ("with a long silence", but(9..9 + silence + 1), false),
    ] {
        for phase in [ask_base(), have_base(None)] {
            let mut machine = Machine::in_phase(phase, ME, None);
            for second in &answers {
                let asked = machine.step(Event::Turn, &unheard(second * 1000));
                assert_ne!(asked, found, "{what}: before the last answer");
                machine.step(Event::Unknown, &unheard(second * 1000));
            }
            let last = answers.last().expect("one at least") * 1000;
            let given_up = machine.step(Event::Turn, &unheard(last + 1)) == found;
            assert_eq!(given_up, gives_up, "{what}: {phase:?}");
            // What was said long ago says nothing of now.
            let late = last + silence * 1000 + 1;
            assert_ne!(machine.step(Event::Turn, &unheard(late)), found, "{what}");
        }
    }
    // A leader writes to the member that is open: that of the join, or the one before.
    for (phase, gives_up) in [(have_base(None), false), (ask_base(), true)] {
        let mut machine = Machine::in_phase(phase, ME, None);
        let mut outputs = Vec::new();
        for second in 1..=patience + 2 {
            let led = Facts {
                led: true,
                ..unheard(second * 1000)
            };
            outputs = machine.step(Event::Turn, &led);
            machine.step(Event::Unknown, &led);
        }
        assert_eq!(outputs == found, gives_up, "{phase:?}");
    }
    for phase in [Phase::Member, then_join(), then_reset(None)] {
        let is = step(phase, Event::Unknown, &facts());
        assert_eq!(is, (phase, vec![]), "it does not ask");
    }
}

#[test]
fn nothing_is_asked_while_a_member_is_made() {
    let removed = Facts {
        removed: true,
        ..facts()
    };
    for beginning in [
        Beginning::Joined(mark(FRESH)),
        Beginning::Alone,
        Beginning::Reset { name: None },
    ] {
        let phase = Phase::Beginning(beginning);
        turns(vec![(
            "it waits for the disk",
            phase,
            removed,
            phase,
            vec![],
        )]);
        let mut machine = Machine::in_phase(phase, ME, None);
        assert_eq!(machine.deadline(false), None, "no turn helps the disk");
        let request = ResetWish {
            hard: true,
            waits_for: None,
            fresh: false,
            of_master: false,
        };
        assert_eq!(
            machine.reset(at(1000), request),
            Err(OperatorRefusal::Begins)
        );
    }
}

#[test]
fn a_question_is_asked_again_after_a_while() {
    for (phase, facts) in [
        (then_join(), facts()),
        (then_reset(None), facts()),
        (ask_base(), facts()),
        (have_base(None), unheard(1000)),
    ] {
        let mut machine = Machine::in_phase(phase, ME, None);
        assert_eq!(machine.step(Event::Turn, &facts).len(), 1, "{phase:?}");
        let later = |ms| Facts {
            now: facts.now + Duration::from_millis(ms),
            ..facts
        };
        let soon = RESEND.as_millis() as u64;
        assert_eq!(machine.step(Event::Turn, &later(soon - 1)), []);
        assert_eq!(machine.deadline(false), Some(facts.now + RESEND));
        assert_eq!(machine.step(Event::Turn, &later(soon)).len(), 1);
    }
}

/// What commands and answers do to each phase, but for a reset.
#[test]
fn each_phase_takes_each_event() {
    let other = Mark {
        target: HINT,
        raft_id: RaftId(99),
    };
    let accepted = |raft_id| Event::Accepted { raft_id };
    let minted = Event::Minted {
        raft_id: RaftId(99),
    };
    let founded = |name| Event::Founded {
        raft_id: RaftId(6),
        name,
    };
    let beginning = Phase::Beginning;
    let joined = beginning(Beginning::Joined(mark(FRESH)));
    let named = Some(HINT);
    let begin = Output::Begin;
    let again = mark(RaftId(99));
    let asks = Output::AskForBase {
        mark: again,
        hint: named,
    };
    let joining_again = Phase::joining(again, ME);
    let follows = || {
        vec![
            Output::Save(identity(ME, Some(other), None)),
            Output::Changed,
        ]
    };
    let rows = [
        (
            Phase::Member,
            Event::Replicate(other),
            Phase::Leaving(Then::Join(other)),
            vec![Output::Changed],
        ),
        (
            then_join(),
            Event::Replicate(other),
            Phase::Leaving(Then::Join(other)),
            vec![Output::Changed],
        ),
        (
            then_reset(None),
            Event::Replicate(other),
            Phase::Leaving(Then::Join(other)),
            vec![Output::Changed],
        ),
        (
            ask_base(),
            Event::Replicate(other),
            Phase::Leaving(Then::Join(other)),
            vec![Output::Changed],
        ),
        // M28: by itself, from where it is or on its way.
        (
            Phase::Member,
            Event::Follow {
                mark: other,
                heard: true,
            },
            Phase::Leaving(Then::Join(other)),
            follows(),
        ),
        (
            ask_base(),
            Event::Follow {
                mark: other,
                heard: true,
            },
            Phase::Leaving(Then::Join(other)),
            follows(),
        ),
        (
            ask_base(),
            accepted(FRESH),
            joined,
            vec![begin(identity(FRESH, Some(mark(FRESH)), Some(ME)))],
        ),
        (ask_base(), accepted(RaftId(98)), ask_base(), vec![]),
        (then_join(), accepted(FRESH), then_join(), vec![]),
        (have_base(None), accepted(ME), have_base(None), vec![]),
        (joined, accepted(FRESH), joined, vec![]),
        (Phase::Member, accepted(FRESH), Phase::Member, vec![]),
        (
            have_base(None),
            minted,
            joining_again,
            vec![Output::Save(identity(ME, Some(again), None)), asks],
        ),
        (
            Phase::Member,
            founded(None),
            beginning(Beginning::Alone),
            vec![begin(identity(RaftId(6), None, None)), Output::Changed],
        ),
        (
            ask_base(),
            founded(None),
            beginning(Beginning::Alone),
            vec![begin(identity(RaftId(6), None, None)), Output::Changed],
        ),
        (
            then_reset(Some(mark(FRESH))),
            founded(named),
            beginning(Beginning::Reset { name: named }),
            vec![begin(identity(RaftId(6), None, Some(ME))), Output::Changed],
        ),
        (
            beginning(Beginning::Joined(mark(ME))),
            Event::Begun,
            have_base(None),
            vec![],
        ),
        (
            beginning(Beginning::Alone),
            Event::Begun,
            Phase::Member,
            vec![],
        ),
        (
            beginning(Beginning::Reset { name: named }),
            Event::Begun,
            Phase::Member,
            vec![Output::Renew { name: named }],
        ),
    ];
    for (before, event, after, outputs) in rows {
        let is = step(before, event, &unheard(1000));
        assert_eq!(is, (after, outputs), "{before:?} {event:?}");
    }
}

#[test]
fn a_start_goes_on_where_the_seat_says() {
    for (identity, phase) in [
        (identity(ME, None, None), Phase::Member),
        (identity(ME, Some(mark(FRESH)), None), then_join()),
        (
            identity(ME, Some(mark(ME)), Some(RaftId(4))),
            have_base(None),
        ),
    ] {
        let machine = Machine::new(identity, at(0));
        assert_eq!(machine.phase(), phase);
        assert_eq!(machine.identity(), identity, "it says the same again");
    }
}
