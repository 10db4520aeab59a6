//! The giving machine.

use super::*;
use crate::transfer::receive::{PATIENCE, WINDOW};
use crate::transfer::send::{Event, Facts, Output, READS};
use storage::PieceRead;

const B: u8 = b'B';
const C: u8 = b'C';
const PIECES: u64 = 30;

struct Bench {
    sender: Sender,
    now: Mono,
    base: Base,
    behind: Vec<(RaftId, NodeId)>,
    rate: u64,
    /// What was ordered to be read.
    wants: Vec<Want>,
}

impl Bench {
    fn new() -> Bench {
        Bench {
            sender: Sender::default(),
            now: Mono(1_000_000_000),
            base: base_at(100, 1000, PIECES * PIECE),
            behind: vec![(ME, node(B))],
            rate: 0,
            wants: Vec::new(),
        }
    }

    fn step(&mut self, event: Event) -> String {
        let facts = Facts {
            now: self.now,
            t: T,
            group: GROUP,
            term: 7,
            base: &self.base,
            first: 90,
            behind: &self.behind,
            may_pull: &|id, node| (id.0 == 2 && node.0[0] == B) || (id.0 > 2 && node.0[0] == C),
            rate: self.rate,
        };
        let outputs = self.sender.step(event, &facts);
        let words: Vec<String> = outputs.iter().map(|o| self.word(o)).collect();
        words.join(", ")
    }

    fn word(&mut self, output: &Output) -> String {
        match output {
            Output::Tell { to, message } => said(*to, message),
            Output::Read { want, .. } => {
                self.wants.push(*want);
                format!("Read {}", want.offset / PIECE)
            }
            Output::Report { raft_id, has_it } => format!("Report {raft_id:?} {has_it}"),
            Output::Warn(_) => "Warn".to_owned(),
        }
    }

    fn turn_after(&mut self, time: Duration) -> String {
        self.now = self.now + time;
        self.step(Event::Turn)
    }

    fn read(&mut self, result: Result<PieceRead, Fault>) -> String {
        let want = self.wants.remove(0);
        self.step(Event::Read { want, result })
    }
}

fn pull(n: u64) -> Event {
    pull_of(B, 2, n, 1000)
}

fn pull_of(letter: u8, raft_id: u64, n: u64, crc64: u64) -> Event {
    Event::Pull {
        from: node(letter),
        of: name(100, crc64),
        raft_id: RaftId(raft_id),
        offset: n * PIECE,
    }
}

fn pulling(received: u64) -> Event {
    Event::Pulling {
        from: node(B),
        raft_id: ME,
        at: at(100),
        received,
    }
}

fn has_state(letter: u8, index: u64) -> Event {
    Event::HasState {
        from: node(letter),
        raft_id: ME,
        at: at(index),
    }
}

fn sound() -> Result<PieceRead, Fault> {
    let bytes = b"bytes".to_vec();
    let crc32c = crc32c::crc32c(&bytes);
    Ok(PieceRead { bytes, crc32c })
}

#[test]
fn a_member_behind_is_offered_the_state_every_t() {
    let mut bench = Bench::new();
    assert_eq!(bench.step(Event::Turn), "Offer 100 B");
    assert_eq!(bench.turn_after(T / 2), "");
    assert_eq!(bench.sender.deadline(), Some(bench.now + T / 2));
    assert_eq!(bench.turn_after(T / 2), "Offer 100 B");
    bench.behind.clear();
    assert_eq!(bench.turn_after(T), "");
    assert_eq!(bench.sender.deadline(), None);
}

#[test]
fn without_a_state_nothing_is_offered() {
    let mut bench = Bench::new();
    bench.base.snapshot.file = None;
    assert_eq!(bench.step(Event::Turn), "");
    assert_eq!(bench.sender.deadline(), None);
    assert_eq!(bench.step(pull(0)), "NoState B");
}

#[test]
fn an_offer_without_progress_has_failed() {
    let mut bench = Bench::new();
    // What is said in the last of so many seconds.
    let turns = |bench: &mut Bench, seconds: u64| {
        let said = (0..seconds).map(|_| bench.turn_after(T));
        said.last().expect("a second at least")
    };
    assert_eq!(turns(&mut bench, 10), "Offer 100 B");
    assert_eq!(turns(&mut bench, 1), format!("Report {ME:?} false"));
    assert_eq!(turns(&mut bench, 1), "Offer 100 B");
    // A word without progress is none.
    bench.step(pulling(5));
    turns(&mut bench, 9);
    bench.step(pulling(5));
    assert_eq!(turns(&mut bench, 1), format!("Report {ME:?} false"));
    // More bytes, a piece that was not asked for before, or all of it.
    turns(&mut bench, 9);
    bench.step(pulling(6));
    assert_eq!(turns(&mut bench, 9), "Offer 100 B");
    bench.step(pull(0));
    assert_eq!(turns(&mut bench, 9), "Offer 100 B");
    for _ in 0..3 {
        bench.step(pulling(PIECES * PIECE));
        assert_eq!(turns(&mut bench, 9), "Offer 100 B");
    }
    assert_eq!(PATIENCE, T * 10);
}

#[test]
fn only_what_reaches_the_log_ends_an_offer() {
    let mut bench = Bench::new();
    bench.step(Event::Turn);
    assert_eq!(bench.step(has_state(B, 88)), "");
    assert_eq!(bench.step(has_state(C, 100)), "", "of another node");
    assert_eq!(
        bench.step(has_state(C, u64::MAX)),
        "",
        "there is no next one"
    );
    assert_eq!(bench.step(has_state(B, 89)), format!("Report {ME:?} true"));
    assert_eq!(bench.step(has_state(B, 89)), "", "once");
}

/// P11: without the log behind it a state is of no use, and would have to be given again, for ever.
#[test]
fn a_member_is_given_the_log_behind_its_state() {
    let mut bench = Bench::new();
    let gives = |bench: &mut Bench, matched: Option<u64>| {
        let now = bench.now;
        bench.sender.gives(now, &|_| matched).is_some()
    };
    bench.step(Event::Turn);
    assert!(!gives(&mut bench, Some(0)), "it has asked for nothing");
    bench.step(pull(0));
    assert!(gives(&mut bench, Some(0)));
    bench.step(has_state(B, 100));
    bench.behind.clear();
    bench.turn_after(T);
    assert!(gives(&mut bench, Some(100)), "it has the state");
    bench.turn_after(PATIENCE - T);
    assert!(gives(&mut bench, Some(101)), "it has got more of the log");
    bench.turn_after(PATIENCE);
    assert!(!gives(&mut bench, Some(101)), "nothing comes there");

    // Raft may learn first that it has it.
    bench.behind = vec![(ME, node(B))];
    bench.step(Event::Turn);
    bench.step(pull(1));
    bench.behind.clear();
    bench.turn_after(T);
    assert!(gives(&mut bench, Some(100)));
    assert!(!gives(&mut bench, None), "the log brings it up");
    assert!(!gives(&mut bench, Some(100)), "that is over");
}

/// P11: under writes that outrun a transfer it would be given one state after the other, for ever.
#[test]
fn a_state_in_vain_is_counted_until_the_member_is_up() {
    let mut bench = Bench::new();
    let gives = |bench: &mut Bench| {
        let now = bench.now;
        bench.sender.gives(now, &|_| Some(0))
    };
    let pulls = |bench: &mut Bench, index: u64| {
        bench.base = base_at(index, 1000, PIECES * PIECE);
        bench.step(Event::Turn);
        let of = name(index, 1000);
        bench.step(Event::Pull {
            from: node(B),
            of,
            raft_id: ME,
            offset: 0,
        });
    };
    for (index, again) in [(100, 0), (101, 1), (102, 2), (102, 2)] {
        pulls(&mut bench, index);
        assert_eq!(gives(&mut bench), Some(again));
    }
    bench.step(has_state(B, 102));
    bench.behind.clear();
    bench.turn_after(T);
    assert_eq!(gives(&mut bench), Some(2), "the log behind it is to come");
    let now = bench.now;
    assert_eq!(bench.sender.gives(now, &|_| None), None);
    bench.behind = vec![(ME, node(B))];
    pulls(&mut bench, 103);
    assert_eq!(gives(&mut bench), Some(0), "it was up");
}

#[test]
fn a_member_that_has_all_of_it_is_asked_soon() {
    let mut bench = Bench::new();
    bench.step(Event::Turn);
    bench.step(pulling(PIECES * PIECE));
    assert_eq!(bench.sender.deadline(), Some(bench.now + T / 10));
    assert_eq!(bench.turn_after(T / 10), "Offer 100 B");
    assert_eq!(bench.sender.deadline(), Some(bench.now + T));
}

#[test]
fn a_piece_is_read_and_sent() {
    let mut bench = Bench::new();
    assert_eq!(bench.step(pull(0)), "Read 0");
    assert_eq!(bench.step(pull(0)), "", "it is being read");
    assert_eq!(bench.read(sound()), "Piece 0 B");
    assert_eq!(bench.step(pull(0)), "Read 0", "it was lost");
    assert_eq!(bench.read(Err(Fault::Full("f".into()))), "Warn");
    assert_eq!(bench.step(pull(0)), "Read 0");
    assert_eq!(bench.read(Err(Fault::Bad("b".into()))), "Warn, NoState B");
}

#[test]
fn only_members_are_given_pieces() {
    let mut bench = Bench::new();
    assert_eq!(bench.step(pull_of(C, 2, 0, 1000)), "");
    assert_eq!(bench.step(pull_of(B, 4, 0, 1000)), "");
    assert_eq!(bench.step(pull_of(C, 4, 0, 1000)), "Read 0");
    assert_eq!(bench.step(pull_of(B, 2, 0, 1001)), "NoState B");
    assert_eq!(bench.step(pull_of(B, 2, PIECES, 1000)), "", "none is there");
    let odd = Event::Pull {
        from: node(B),
        of: name(100, 1000),
        raft_id: ME,
        offset: 1,
    };
    assert_eq!(bench.step(odd), "");
}

#[test]
fn reads_are_bounded_for_one_and_for_all() {
    let mut bench = Bench::new();
    for n in 0..10 {
        let want = match n < WINDOW as u64 {
            true => format!("Read {n}"),
            false => String::new(),
        };
        assert_eq!(bench.step(pull(n)), want);
    }
    for id in 3..20 {
        for n in 0..10 {
            bench.step(pull_of(C, id, n, 1000));
        }
    }
    assert_eq!(bench.wants.len(), READS);
    assert_eq!(bench.read(sound()), "Piece 0 B, Read 0");
    assert_eq!(bench.wants.len(), READS);
    // What was under way in a folder that is gone is no bound.
    bench.wants.clear();
    bench.step(Event::Anew);
    assert_eq!(bench.wants.len(), READS);
}

#[test]
fn a_state_that_is_gone_ends_what_waits() {
    let mut bench = Bench::new();
    bench.rate = 1;
    assert_eq!(bench.step(pull(0)), "Read 0");
    assert_eq!(bench.step(pull(1)), "");
    bench.base = base_at(200, 2000, PIECE);
    bench.rate = 0;
    assert_eq!(bench.step(Event::Turn), "Offer 200 B, NoState B");
}

#[test]
fn the_rate_is_kept_and_used() {
    let mut bench = Bench::new();
    bench.rate = 4 * PIECE;
    let (start, mut n, mut sent) = (bench.now, 0, 0_u64);
    while bench.now.since(start) < Duration::from_secs(7) {
        for _ in 0..WINDOW {
            bench.step(pull(n % PIECES));
            n += 1;
        }
        while !bench.wants.is_empty() {
            sent += 1;
            bench.read(sound());
        }
        // A loop that is late by some milliseconds at every turn.
        let due = bench.sender.deadline().unwrap();
        bench.now = bench.now.max(due) + Duration::from_millis(3);
        bench.step(Event::Turn);
    }
    assert!(
        (27..=30).contains(&sent),
        "{sent} pieces in 7 s, 4 a second"
    );
}
