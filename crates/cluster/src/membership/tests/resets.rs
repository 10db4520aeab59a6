//! CLUSTER RESET: a member leaves, and begins anew.

use super::*;

#[test]
fn a_reset_begins_anew_when_it_has_left() {
    let with = |change: fn(&mut Reset), mark| {
        let mut reset = reset_of(false);
        change(&mut reset);
        Phase::Leaving(Then::Reset { reset, mark })
    };
    let told: fn(&mut Reset) = |r| (r.answered, r.told_witnesses) = (true, true);
    let removed = Facts {
        removed: true,
        ..facts()
    };
    let hosts = Facts {
        hosts_witnesses: true,
        ..removed
    };
    let leads = Facts {
        leads: true,
        ..facts()
    };
    let go = Output::LetWitnessesGo;
    let found = Output::Found { renamed: false };
    let hard = with(|r| r.hard = true, None);
    let hard_told = with(
        |r| (r.hard, r.answered, r.told_witnesses) = (true, true, true),
        None,
    );
    let slots = Facts {
        slots: true,
        ..alone()
    };
    let of_master = with(|r| r.of_master = true, None);
    let master_told = with(
        |r| (r.of_master, r.answered, r.told_witnesses) = (true, true, true),
        None,
    );
    let answered = with(|r| r.answered = true, None);
    turns(vec![
        (
            "asked",
            then_reset(None),
            facts(),
            then_reset(None),
            vec![LEAVE],
        ),
        (
            "its leader knows",
            answered,
            facts(),
            with(told, None),
            vec![go, LEAVE],
        ),
        (
            "a leader knows",
            then_reset(None),
            leads,
            answered,
            vec![Output::HandOver],
        ),
        (
            "removed",
            then_reset(None),
            removed,
            with(told, None),
            vec![go, found],
        ),
        (
            "W3: it hosts",
            then_reset(None),
            hosts,
            with(told, None),
            vec![go],
        ),
        (
            "hard",
            hard,
            removed,
            hard_told,
            vec![go, Output::Found { renamed: true }],
        ),
        (
            "of a replica",
            then_reset(None),
            slots,
            Phase::Member,
            vec![],
        ),
        (
            "of a master",
            of_master,
            slots,
            master_told,
            vec![go, found],
        ),
    ]);
}

#[test]
fn a_reset_that_takes_too_long_fails() {
    let answered = |answered, mark| {
        let reset = Reset {
            answered,
            told_witnesses: answered,
            ..reset_of(false)
        };
        Phase::Leaving(Then::Reset { reset, mark })
    };
    let none = LEAVE_PATIENCE.as_millis() as u64;
    let all = (T * LEAVE_TIMEOUTS + LEAVE_PATIENCE).as_millis() as u64;
    for (known, mark, late, fails) in [
        (false, None, none - 1, None),
        (false, None, none, Some(OperatorRefusal::NoAnswer)),
        (
            false,
            Some(mark(FRESH)),
            none,
            Some(OperatorRefusal::NoAnswer),
        ),
        (true, None, all - 1, None),
        (true, None, all, Some(OperatorRefusal::NotRemoved)),
        (
            true,
            Some(mark(FRESH)),
            all,
            Some(OperatorRefusal::NotRemoved),
        ),
    ] {
        let before = answered(known, mark);
        let mut machine = Machine::in_phase(before, ME, None);
        let facts = Facts {
            now: at(1000 + late),
            ..facts()
        };
        machine.step(Event::Turn, &facts);
        let after = match (fails, mark) {
            (None, _) => before,
            (_, None) => Phase::Member,
            // The join that it has interrupted goes on.
            (_, Some(mark)) => Phase::Leaving(Then::Join(mark)),
        };
        assert_eq!(machine.phase(), after, "{known} {mark:?} {late}");
        let request = ResetWish {
            hard: false,
            waits_for: Some(1),
            fresh: false,
            of_master: false,
        };
        let told = machine.reset(facts.now, request);
        assert_eq!(told.err(), fails, "{known} {mark:?} {late}");
    }
}

#[test]
fn a_reset_is_answered_by_its_own_number() {
    let request = |hard, waits_for, fresh| ResetWish {
        hard,
        waits_for,
        fresh,
        of_master: false,
    };
    for (phase, request, answer) in [
        (Phase::Member, request(false, None, false), Ok(Some(2))),
        (Phase::Member, request(false, None, true), Ok(None)),
        (Phase::Member, request(false, Some(1), true), Ok(None)),
        (
            Phase::Member,
            request(false, Some(1), false),
            Err(OperatorRefusal::Replaced),
        ),
        (then_reset(None), request(true, None, false), Ok(Some(1))),
        (
            then_reset(None),
            request(false, Some(1), false),
            Ok(Some(1)),
        ),
        (
            then_reset(None),
            request(false, Some(9), false),
            Err(OperatorRefusal::Replaced),
        ),
        // A join that is under way is reset, too: nothing is fresh about it.
        (ask_base(), request(false, None, true), Ok(Some(2))),
        (
            then_join(),
            request(false, Some(1), false),
            Err(OperatorRefusal::Replaced),
        ),
    ] {
        let mut machine = Machine::in_phase(phase, ME, None);
        assert_eq!(
            machine.reset(at(1000), request),
            answer,
            "{phase:?} {request:?}"
        );
        if answer == Ok(Some(1)) {
            let hard = Phase::Leaving(Then::Reset {
                reset: reset_of(request.hard),
                mark: None,
            });
            assert_eq!(machine.phase(), hard, "the harder one counts");
        }
    }
}
