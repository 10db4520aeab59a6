//! T6: the outcome of a turn that has proposed several entries, of which only the first commit.

use super::trio::Trio;
use super::*;
use effect::PART_BYTES;
use keyspace::StringRef;

const LARGE: usize = PART_BYTES + PART_BYTES / 2;

/// What INCR has left in `n`.
fn counter(data: &StateMachine) -> i64 {
    let entry = data.keyspace().get(0, &data.keyspace().key(b"n"));
    match entry.and_then(|e| e.string()) {
        None => 0,
        Some(StringRef::Int(n)) => n,
        Some(_) => panic!("INCR makes an integer"),
    }
}

fn incr(shard: &mut Shard<RealDisk>) -> Gate {
    write(shard, |data| {
        let key = data.key(b"n");
        let old = counter(data);
        data.set_incremented(&key, 1, old + 1);
    })
}

fn write(shard: &mut Shard<RealDisk>, change: impl FnOnce(&mut StateMachine)) -> Gate {
    let data = shard.data_mut();
    data.begin_command(0, Access::Lead);
    change(data);
    let footprint = data.end_command();
    outcome_gate(shard, footprint, GateKind::Write)
}

fn read(shard: &mut Shard<RealDisk>, key: &[u8]) -> Gate {
    let data = shard.data_mut();
    data.begin_command(0, Access::Lead);
    let key = data.key(key);
    assert!(data.exists(&key));
    let footprint = data.end_command();
    outcome_gate(shard, footprint, GateKind::Read)
}

fn large(shard: &mut Shard<RealDisk>) -> Gate {
    set(shard, b"large", &[b'x'; LARGE])
}

/// INCR, a unit in two parts, INCR, of which `entries` entries reach a majority: what each reply was.
fn outcomes(entries: usize) -> ([bool; 3], Trio) {
    let mut trio = Trio::led();
    let mut gates = Vec::new();
    trio.lose_all_but(entries, |shard| {
        gates.extend([incr(shard), large(shard), incr(shard)]);
    });
    let outcomes = [0, 1, 2].map(|i| trio.is_ok(gates[i]));
    (outcomes, trio)
}

#[test]
fn committed_entries_of_a_lost_turn_are_answered() {
    for (entries, want, count) in [
        (1, [true, false, false], 1),
        (2, [true, false, false], 1),
        (3, [true, true, false], 1),
        (4, [true, true, true], 2),
    ] {
        let (outcomes, trio) = outcomes(entries);
        assert_eq!(outcomes, want, "T6: {entries} of four entries committed");
        let digest = trio.shards[1].data().keyspace().digest_all();
        for shard in &trio.shards {
            assert_eq!(counter(shard.data()), count);
            assert_eq!(shard.data().keyspace().digest_all(), digest);
        }
    }
}

#[test]
fn a_unit_that_grows_large_takes_its_changes_along() {
    let mut trio = Trio::led();
    let mut gates = Vec::new();
    trio.lose_all_but(1, |shard| {
        gates.push(incr(shard));
        gates.push(write(shard, |data| {
            data.set(&data.key(b"small"), b"v", Ttl::Clear);
            data.set(&data.key(b"large"), &[b'x'; LARGE], Ttl::Clear);
        }));
        gates.push(read(shard, b"small"));
    });
    assert!(trio.is_ok(gates[0]));
    assert!(!trio.is_ok(gates[1]));
    // T3: it has seen what the lost unit wrote before that grew large.
    assert!(!trio.is_ok(gates[2]));
}

#[test]
fn a_committed_record_outlives_the_lost_rest() {
    let slots = |range: RangeInclusive<u16>| range.collect::<cluster_bus::SlotSet>();
    let mut trio = Trio::led();
    trio.lose_all_but(1, |shard| {
        write(shard, |data| data.add_slots(&slots(0..=9)));
        write(shard, |data| {
            data.add_slots(&slots(10..=19)); // S1: it goes with the unit that grows large
            data.set(&data.key(b"large"), &[b'x'; LARGE], Ttl::Clear);
        });
        assert_eq!(shard.data().record().slots, slots(0..=19));
    });
    for shard in &trio.shards {
        assert_eq!(shard.record().slots, slots(0..=9));
        assert_eq!(shard.data().record().slots, slots(0..=9));
    }
}

#[test]
fn wait_counts_nobody_before_the_proposal() {
    let mut trio = Trio::led();
    let mut acks = None;
    trio.turn(0, Vec::new(), |shard| {
        let gate = incr(shard);
        acks = Some((shard.split().1.replica_acks(gate.batch), gate.batch));
    });
    let (in_turn, batch) = acks.expect("the turn ran");
    assert_eq!(in_turn, 0, "C2: nobody can have applied it");
    trio.until(|t| t.shards[0].replica_acks(batch) == 2);
}

#[test]
fn a_changed_outcome_timeout_holds_at_once() {
    let given_up_after = |timeout: Duration| {
        let mut trio = Trio::led();
        trio.turn(0, Vec::new(), |shard| {
            incr(shard);
        });
        trio.shards[0].set_outcome_timeout(timeout);
        let start = trio.clock.0.get();
        let apart = |e: &Envelope| e.from != RaftId(1) && e.to != RaftId(1);
        trio.until_through(apart, |t| t.shards[0].unknown_outcomes > 0);
        Duration::from_nanos(trio.clock.0.get() - start)
    };
    let soon = given_up_after(Duration::from_millis(100));
    let late = given_up_after(Duration::from_secs(5));
    assert!(soon + Duration::from_secs(4) < late, "{soon:?}, {late:?}");
}

#[cfg(feature = "mutations")]
mod mutations {
    use super::*;
    use base::mutation::{set, Mutation};

    /// The mutation's effect, seen without a panic: the switch is this thread's.
    fn with<R>(mutation: Mutation, run: impl FnOnce() -> R) -> R {
        set(Some(mutation));
        let result = run();
        set(None);
        result
    }

    #[test]
    fn a_tail_lost_by_turn_is_caught() {
        let (outcomes, trio) = with(Mutation::TailLostByTurn, || outcomes(1));
        assert_eq!(outcomes, [false; 3], "INCR is answered MOVED");
        assert_eq!(counter(trio.shards[1].data()), 1, "and yet it has happened");
    }

    #[test]
    fn a_wait_before_the_proposal_is_caught() {
        let mut trio = Trio::led();
        trio.turn(0, Vec::new(), |shard| {
            let gate = incr(shard);
            let acks = with(Mutation::WaitBeforeProposal, || {
                shard.replica_acks(gate.batch)
            });
            assert_eq!(acks, 2, "both count though nothing was sent");
        });
    }
}
