//! The checker on histories whose verdict is known: it must pass what is right and catch each kind
//! of anomaly that the rules are there to prevent.

use super::*;
use crate::rng::Rng;

const LIMITS: Limits = Limits {
    steps: 200_000,
    skew: 0,
};

/// One operation: client, invocation, return (none: unknown), commands and answers.
fn e(client: u32, inv: Micros, ret: Micros, cmd: Cmd, answer: Ret) -> Entry {
    Entry {
        client,
        inv,
        ret: Some(ret),
        op: Op::one(cmd),
        answer: Some(Some(vec![answer])),
        after: None,
        hint: None,
    }
}

fn unknown(client: u32, inv: Micros, cmd: Cmd) -> Entry {
    Entry {
        client,
        inv,
        ret: None,
        op: Op::one(cmd),
        answer: None,
        after: None,
        hint: None,
    }
}

fn txn(client: u32, inv: Micros, ret: Micros, cmds: Vec<Cmd>, answer: Vec<Ret>) -> Entry {
    Entry {
        client,
        inv,
        ret: Some(ret),
        op: Op {
            guard: vec![],
            cmds,
        },
        answer: Some(Some(answer)),
        after: None,
        hint: None,
    }
}

fn set(key: u8, v: u64) -> Cmd {
    Cmd::Set {
        key,
        val: Val::Text(v),
        ttl_ms: None,
        when: When::Always,
    }
}

fn set_px(key: u8, v: u64, ms: i64) -> Cmd {
    Cmd::Set {
        key,
        val: Val::Text(v),
        ttl_ms: Some(ms),
        when: When::Always,
    }
}

fn get(key: u8) -> Cmd {
    Cmd::Get { key }
}

fn incr(key: u8) -> Cmd {
    Cmd::Incr { key, by: 1 }
}

fn text(v: u64) -> Ret {
    Ret::Val(Val::Text(v))
}

fn good(h: &[Entry]) {
    assert_eq!(check(h, 3, LIMITS), Verdict::Linearizable);
}

fn bad(h: &[Entry]) {
    let verdict = check(h, 3, LIMITS);
    assert!(matches!(verdict, Verdict::Violation(_)), "{verdict:?}");
}

#[test]
fn sequential_and_concurrent_histories_pass() {
    good(&[]);
    good(&[e(1, 0, 1, set(0, 1), Ret::Ok), e(1, 2, 3, get(0), text(1))]);
    // Two overlapping writes, read in either order.
    for seen in [1, 2] {
        good(&[
            e(1, 0, 10, set(0, 1), Ret::Ok),
            e(2, 0, 10, set(0, 2), Ret::Ok),
            e(3, 11, 12, get(0), text(seen)),
        ]);
    }
    // A read that overlaps the write may see either.
    for seen in [Ret::Nil, text(1)] {
        good(&[e(1, 0, 10, set(0, 1), Ret::Ok), e(2, 1, 9, get(0), seen)]);
    }
}

#[test]
fn a_lost_write_is_caught() {
    bad(&[e(1, 0, 1, set(0, 1), Ret::Ok), e(2, 2, 3, get(0), Ret::Nil)]);
    // Lost only after it had been seen.
    bad(&[
        e(1, 0, 1, set(0, 1), Ret::Ok),
        e(2, 2, 3, get(0), text(1)),
        e(2, 4, 5, get(0), Ret::Nil),
    ]);
    bad(&[
        e(1, 0, 1, incr(0), Ret::Int(1)),
        e(1, 2, 3, incr(0), Ret::Int(1)),
    ]);
}

#[test]
fn a_stale_read_is_caught() {
    let h = [
        e(1, 0, 1, set(0, 1), Ret::Ok),
        e(1, 2, 3, set(0, 2), Ret::Ok),
        e(2, 4, 5, get(0), text(1)),
    ];
    bad(&h);
    // Two readers may not see a value come and go.
    bad(&[
        e(1, 0, 1, set(0, 1), Ret::Ok),
        e(1, 2, 20, set(0, 2), Ret::Ok),
        e(2, 4, 5, get(0), text(2)),
        e(3, 6, 7, get(0), text(1)),
    ]);
    // A SETNX -> 0 is a read too.
    bad(&[
        e(1, 0, 1, set(0, 1), Ret::Ok),
        e(1, 2, 3, Cmd::Del { keys: vec![0] }, Ret::Int(1)),
        e(
            2,
            4,
            5,
            Cmd::SetNx {
                key: 0,
                val: Val::Text(9),
            },
            Ret::Int(0),
        ),
    ]);
}

#[test]
fn a_partial_transaction_is_caught() {
    let both = vec![set(0, 1), set(1, 2)];
    let half = [
        txn(1, 0, 5, both.clone(), vec![Ret::Ok, Ret::Ok]),
        txn(2, 6, 7, vec![get(0), get(1)], vec![text(1), Ret::Nil]),
    ];
    bad(&half);
    // Even one whose outcome nobody knows happens whole or not at all.
    let mut open = half.to_vec();
    open[0].ret = None;
    open[0].answer = None;
    bad(&open);
    for seen in [vec![Ret::Nil, Ret::Nil], vec![text(1), text(2)]] {
        good(&[
            Entry {
                ret: None,
                answer: None,
                ..txn(1, 0, 5, both.clone(), vec![])
            },
            txn(2, 6, 7, vec![get(0), get(1)], seen),
        ]);
    }
}

#[test]
fn a_doubled_increment_is_caught() {
    good(&[
        e(1, 0, 1, incr(0), Ret::Int(1)),
        e(2, 2, 3, incr(0), Ret::Int(2)),
    ]);
    bad(&[
        e(1, 0, 1, incr(0), Ret::Int(1)),
        e(2, 2, 3, incr(0), Ret::Int(3)),
    ]);
    bad(&[
        e(1, 0, 1, incr(0), Ret::Int(1)),
        e(2, 2, 3, get(0), Ret::Val(Val::Int(2))),
    ]);
    // An unknown one explains one step, not two.
    let h = |n| [unknown(1, 0, incr(0)), e(2, 2, 3, incr(0), Ret::Int(n))];
    good(&h(1));
    good(&h(2));
    bad(&h(3));
}

#[test]
fn a_resurrected_value_is_caught() {
    bad(&[
        e(1, 0, 1, set(0, 1), Ret::Ok),
        e(1, 2, 3, Cmd::Del { keys: vec![0] }, Ret::Int(1)),
        e(2, 4, 5, get(0), text(1)),
    ]);
    // A write of unknown outcome may come late, but only once.
    let late = |tail: &[(Micros, Ret)]| {
        let mut h = vec![unknown(1, 0, set(0, 7)), e(2, 1, 2, set(0, 1), Ret::Ok)];
        h.extend(tail.iter().map(|(t, r)| e(2, *t, *t + 1, get(0), *r)));
        h
    };
    good(&late(&[(10, text(1)), (20, text(7)), (30, text(7))]));
    bad(&late(&[(10, text(7)), (20, text(1))]));
}

#[test]
fn deadlines_are_intervals() {
    // SET with 1 ms to live, taken between 0 and 100 us: the deadline lies in [1000, 1100].
    let h = |inv, ret, seen| {
        [
            e(1, 0, 100, set_px(0, 1, 1), Ret::Ok),
            e(2, inv, ret, get(0), seen),
        ]
    };
    good(&h(500, 600, text(1)));
    bad(&h(500, 600, Ret::Nil));
    good(&h(1050, 1060, text(1)));
    good(&h(1050, 1060, Ret::Nil));
    bad(&h(1200, 1300, text(1)));
    good(&h(1200, 1300, Ret::Nil));
    // Skew widens both ends.
    let wide = Limits {
        skew: 150,
        ..LIMITS
    };
    assert_eq!(
        check(&h(1200, 1300, text(1)), 1, wide),
        Verdict::Linearizable
    );
    // Once seen gone it stays gone.
    bad(&[
        e(1, 0, 100, set_px(0, 1, 1), Ret::Ok),
        e(2, 1020, 1030, get(0), Ret::Nil),
        e(2, 1040, 1050, get(0), text(1)),
    ]);
    // PEXPIRE and PERSIST move the deadline; INCR keeps it.
    let expire = Cmd::Expire { key: 0, ttl_ms: 1 };
    good(&[
        e(1, 0, 1, incr(0), Ret::Int(1)),
        e(1, 2, 3, expire.clone(), Ret::Int(1)),
        e(1, 4, 5, incr(0), Ret::Int(2)),
        e(1, 5000, 5001, incr(0), Ret::Int(1)),
    ]);
    bad(&[
        e(1, 0, 1, incr(0), Ret::Int(1)),
        e(1, 2, 3, expire.clone(), Ret::Int(1)),
        e(1, 4, 5, Cmd::Persist { key: 0 }, Ret::Int(1)),
        e(1, 5000, 5001, incr(0), Ret::Int(1)),
    ]);
}

#[test]
fn watched_transactions_compare_and_set() {
    let cas = |inv, old, new, answer: Answer| Entry {
        client: 1,
        inv,
        ret: Some(inv + 1),
        op: Op {
            guard: vec![(0, old)],
            cmds: vec![set(0, new)],
        },
        answer: Some(answer),
        after: None,
        hint: None,
    };
    let ok = || Some(vec![Ret::Ok]);
    good(&[
        cas(0, None, 1, ok()),
        cas(2, Some(Val::Text(1)), 2, ok()),
        e(2, 4, 5, get(0), text(2)),
    ]);
    good(&[
        cas(0, None, 1, ok()),
        cas(2, None, 2, None),
        e(2, 4, 5, get(0), text(1)),
    ]);
    bad(&[cas(0, None, 1, ok()), cas(2, None, 2, ok())]);
    bad(&[
        cas(0, None, 1, ok()),
        cas(2, None, 2, None),
        e(2, 4, 5, get(0), text(2)),
    ]);
}

#[test]
fn the_order_within_a_connection_counts() {
    let mut h = vec![
        e(1, 0, 10, set(0, 1), Ret::Ok),
        e(1, 0, 10, get(0), Ret::Nil),
    ];
    good(&h);
    h[1].after = Some(0);
    bad(&h);
}

#[test]
fn the_step_limit_is_not_a_pass() {
    let by = |i: u32| Cmd::Incr {
        key: 0,
        by: 1i64 << i,
    };
    let mut h: Vec<Entry> = (0..24).map(|i| unknown(i, 0, by(i))).collect();
    h.push(e(99, 1, 2, get(0), Ret::Val(Val::Int(-1))));
    assert_eq!(
        check(
            &h,
            3,
            Limits {
                steps: 100,
                skew: 0
            }
        ),
        Verdict::Undecided
    );
}

/// Runs random concurrent clients against a real register file, so that the history is right by
/// construction, with some outcomes forgotten; then breaks one reply.
#[test]
fn random_histories_pass_and_broken_ones_do_not() {
    let mut broken_caught = 0;
    let mut undecided = 0;
    for seed in 0..200 {
        let mut rng = Rng::new(seed);
        let mut regs = [0u64; 2];
        let mut h: Vec<Entry> = Vec::new();
        let mut free_at = [0i64; 6];
        let mut at = 0;
        for i in 0..400u64 {
            let client = rng.below(6) as usize;
            // The effect happens at `at`, which only moves forward; the operation spans it.
            let inv = free_at[client].max(at - rng.below(40) as i64).max(0);
            at = at.max(inv) + rng.below(8) as i64;
            let ret = at + rng.below(40) as i64;
            free_at[client] = ret + 1;
            let key = rng.below(2) as u8;
            let reg = &mut regs[key as usize];
            let (cmd, answer) = if rng.chance(0.5) {
                (get(key), if *reg == 0 { Ret::Nil } else { text(*reg) })
            } else {
                *reg = i + 1;
                (set(key, i + 1), Ret::Ok)
            };
            let mut entry = e(client as u32, inv, ret, cmd, answer);
            if rng.chance(0.03) {
                entry.ret = None;
                entry.answer = None;
            }
            h.push(entry);
        }
        good(&h);
        // A read that returns what was overwritten long ago.
        let Some(at) = h.iter().rposition(|e| e.ret.is_some() && e.op.is_read()) else {
            continue;
        };
        h[at].answer = Some(Some(vec![text(1)]));
        match check(&h, 3, LIMITS) {
            Verdict::Linearizable => {}
            Verdict::Violation(_) => broken_caught += 1,
            Verdict::Undecided => undecided += 1,
        }
    }
    assert!(undecided < 5, "{undecided} broken histories were undecided");
    assert!(
        broken_caught > 150,
        "only {broken_caught} of 200 broken histories were caught"
    );
}

#[test]
fn unknown_twins_may_happen_whatever_the_order_of_their_entries() {
    let incr = || Cmd::Incr { key: 0, by: 1 };
    // The entry that was invoked first stands last, as when its client noticed its loss later.
    let history = [
        unknown(1, 20, incr()),
        unknown(2, 10, incr()),
        unknown(
            3,
            5,
            Cmd::Set {
                key: 1,
                val: Val::Text(9),
                ttl_ms: None,
                when: When::Always,
            },
        ),
        e(4, 30, 40, incr(), Ret::Int(3)),
        e(4, 50, 60, Cmd::Get { key: 1 }, Ret::Val(Val::Text(9))),
    ];
    assert_eq!(check(&history, 2, LIMITS), Verdict::Linearizable);
}

#[test]
fn what_changes_nothing_here_may_change_something_elsewhere() {
    let del = || Cmd::Del { keys: vec![0] };
    // Set and deleted in one step: nothing where the key is absent, a deletion where it is not.
    let history = [
        txn(
            1,
            10,
            90,
            vec![Cmd::Get { key: 0 }, set(0, 7)],
            vec![Ret::Nil, Ret::Ok],
        ),
        txn(
            2,
            20,
            30,
            vec![set(0, 8), del()],
            vec![Ret::Ok, Ret::Int(1)],
        ),
        e(2, 100, 110, Cmd::Get { key: 0 }, Ret::Nil),
    ];
    assert_eq!(check(&history, 1, LIMITS), Verdict::Linearizable);
}
