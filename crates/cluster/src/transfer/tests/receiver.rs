//! The receiving machine: a row for each event, a column for each phase.

use super::*;
use crate::transfer::receive::{Event, Facts, Output, Phase, PATIENCE, WINDOW};

const A: u8 = b'A';
const B: u8 = b'B';
/// Two pieces.
const BYTES: u64 = PIECE + 10;

struct Bench {
    receiver: Receiver,
    now: Mono,
    leader: Option<NodeId>,
    commit: u64,
    /// An entry that the own log has.
    has: Option<EntryId>,
    is_installing: bool,
}

impl Bench {
    fn new() -> Bench {
        Bench {
            receiver: Receiver::default(),
            now: Mono(1_000_000_000),
            leader: Some(node(A)),
            commit: 5,
            has: None,
            is_installing: false,
        }
    }

    fn outputs(&mut self, event: Event) -> Vec<Output> {
        let (commit, has) = (self.commit, self.has);
        let facts = Facts {
            now: self.now,
            t: T,
            group: GROUP,
            me: ME,
            term: 7,
            leader: self.leader,
            commit: at(commit),
            lacks: &|at| at.index > commit && Some(at) != has,
            is_installing: self.is_installing,
        };
        self.receiver.step(event, &facts)
    }

    fn step(&mut self, event: Event) -> String {
        let outputs = self.outputs(event);
        let words: Vec<String> = outputs.iter().map(word).collect();
        words.join(", ")
    }

    fn turn_after(&mut self, time: Duration) -> String {
        self.now = self.now + time;
        self.step(Event::Turn)
    }

    fn phase(&self) -> &'static str {
        match self.receiver.phase() {
            Phase::Idle => "Idle",
            Phase::Resting { .. } => "Resting",
            Phase::Pulling(_) => "Pulling",
            Phase::Checking { .. } => "Checking",
            Phase::Whole { .. } => "Whole",
        }
    }

    /// Two pieces are asked for, and the first one is being written; or what comes of that.
    fn in_phase(phase: &str) -> Bench {
        let mut bench = Bench::new();
        if phase == "Idle" {
            return bench;
        }
        bench.step(offer());
        bench.step(piece(0));
        match phase {
            "Pulling" => {}
            "Resting" => {
                bench.step(written(0, bad()));
            }
            _ => {
                bench.step(piece(1));
                bench.step(written(0, Ok(())));
                bench.step(written(1, Ok(())));
            }
        }
        if phase == "Whole" {
            bench.step(checked(Ok(())));
        }
        assert_eq!(bench.phase(), phase);
        bench
    }
}

fn word(output: &Output) -> String {
    match output {
        Output::Tell { to, message } => said(*to, message),
        Output::Write { offset, .. } => format!("Write {}", offset / PIECE),
        Output::Check { .. } => "Check".to_owned(),
        Output::Abandon { .. } => "Abandon".to_owned(),
        Output::Install(snapshot) => format!("Install {}", snapshot.index),
        Output::Warn(_) => "Warn".to_owned(),
    }
}

fn offer_of(letter: u8, index: u64, first: u64) -> Event {
    Event::Offer {
        from: node(letter),
        term: 7,
        first,
        base: Box::new(base_at(index, index * 10, BYTES)),
    }
}

fn offer() -> Event {
    offer_of(A, 100, 101)
}

fn changed(change: impl Fn(&mut Base, &mut u64)) -> Event {
    let Event::Offer {
        from,
        mut term,
        first,
        mut base,
    } = offer()
    else {
        unreachable!()
    };
    change(&mut base, &mut term);
    Event::Offer {
        from,
        term,
        first,
        base,
    }
}

fn piece_of(letter: u8, n: u64, crc64: u64, bytes: Vec<u8>) -> Event {
    Event::Piece {
        from: node(letter),
        of: name(100, crc64),
        offset: n * PIECE,
        crc32c: crc32c::crc32c(&bytes),
        bytes,
    }
}

fn content(n: u64) -> Vec<u8> {
    let length = (BYTES - n * PIECE).min(PIECE);
    vec![n as u8; usize::try_from(length).unwrap()]
}

fn piece(n: u64) -> Event {
    piece_of(A, n, 1000, content(n))
}

fn broken(n: u64) -> Event {
    let Event::Piece {
        from,
        of,
        offset,
        crc32c,
        mut bytes,
    } = piece(n)
    else {
        unreachable!()
    };
    bytes[3] ^= 1;
    Event::Piece {
        from,
        of,
        offset,
        crc32c,
        bytes,
    }
}

fn written(n: u64, result: Result<(), Fault>) -> Event {
    Event::Written {
        pull: 1,
        offset: n * PIECE,
        result,
    }
}

fn checked(result: Result<(), Fault>) -> Event {
    Event::Checked { pull: 1, result }
}

fn no_state(letter: u8) -> Event {
    Event::NoState {
        from: node(letter),
        of: name(100, 1000),
    }
}

fn full() -> Result<(), Fault> {
    Err(Fault::Full("full".to_owned()))
}

fn bad() -> Result<(), Fault> {
    Err(Fault::Bad("bad".to_owned()))
}

const PHASES: [&str; 5] = ["Idle", "Resting", "Pulling", "Checking", "Whole"];
/// Nothing is said, and the phase stays.
const NOTHING: [&str; 5] = ["Idle", "Resting", "Pulling", "Checking", "Whole"];
const BEGINS: &str = "Pull 0 A, Pull 1 A, Pulling 100+0 A > Pulling";

/// Event; then for each phase what is put out, and the next phase.
fn table() -> Vec<(&'static str, Event, [&'static str; 5])> {
    let all = "Pulling 100+262154 A";
    let (checking, whole) = (
        "Pulling 100+262154 A > Checking",
        "Pulling 100+262154 A > Whole",
    );
    assert_eq!(all, format!("Pulling 100+{BYTES} A"));
    let only = |column: usize, then: &'static str| {
        let mut row = NOTHING;
        row[column] = then;
        row
    };
    vec![
        ("turn", Event::Turn, only(4, "Install 100 > Whole")),
        (
            "the same offer",
            offer(),
            [
                BEGINS,
                "Resting",
                "Pulling 100+0 A > Pulling",
                checking,
                whole,
            ],
        ),
        (
            "a newer state, and a log that reaches back",
            offer_of(A, 101, 100),
            [
                "Pull 0 A, Pull 1 A, Pulling 101+0 A > Pulling",
                "Resting",
                "Pulling 100+0 A > Pulling",
                checking,
                whole,
            ],
        ),
        (
            "a newer state that alone helps",
            offer_of(A, 200, 150),
            [
                "Pull 0 A, Pull 1 A, Pulling 200+0 A > Pulling",
                "Resting",
                "Abandon, Pull 0 A, Pull 1 A, Pulling 200+0 A > Pulling",
                checking,
                "Pull 0 A, Pull 1 A, Pulling 200+0 A > Pulling",
            ],
        ),
        (
            "an offer of a log that helps itself",
            offer_of(A, 100, 6),
            [
                "HasState 5 A > Idle",
                "HasState 5 A > Resting",
                "Abandon, HasState 5 A > Idle",
                "HasState 5 A > Checking",
                "HasState 5 A > Whole",
            ],
        ),
        ("another node's", offer_of(B, 100, 101), NOTHING),
        ("of an old term", changed(|_, term| *term = 6), NOTHING),
        (
            "for another member",
            changed(|base, _| base.identity.raft_id = RaftId(3)),
            NOTHING,
        ),
        (
            "of another group",
            changed(|base, _| base.identity.group = GroupId(1)),
            NOTHING,
        ),
        ("a piece", piece(1), only(2, "Write 1 > Pulling")),
        ("a broken piece", broken(1), only(2, "Warn > Pulling")),
        (
            "a short piece",
            piece_of(A, 1, 1000, vec![1; 9]),
            only(2, "Warn > Pulling"),
        ),
        ("a piece again", piece(0), NOTHING),
        ("of another file", piece_of(A, 1, 1001, content(1)), NOTHING),
        (
            "of a stranger",
            piece_of(b'C', 1, 1000, content(1)),
            NOTHING,
        ),
        ("no state", no_state(A), only(2, "Abandon > Idle")),
        ("no state there", no_state(B), NOTHING),
        ("written", written(0, Ok(())), NOTHING),
        ("not asked for", written(1, Ok(())), NOTHING),
        ("full", written(0, full()), only(2, "Warn > Pulling")),
        ("bad", written(0, bad()), only(2, "Warn, Abandon > Resting")),
        (
            "of an earlier pull",
            Event::Written {
                pull: 0,
                offset: 0,
                result: bad(),
            },
            NOTHING,
        ),
        ("sound", checked(Ok(())), only(3, "Install 100 > Whole")),
        ("full", checked(full()), only(3, "Warn > Checking")),
        ("rotten", checked(bad()), only(3, "Warn, Abandon > Resting")),
        (
            "opened anew",
            Event::Anew,
            ["Idle", "Idle", "Abandon > Idle", "Abandon > Idle", "Idle"],
        ),
    ]
}

fn every_event_in_every_phase() {
    for (what, event, row) in table() {
        for (phase, want) in PHASES.into_iter().zip(row) {
            let mut bench = Bench::in_phase(phase);
            let words = bench.step(event.clone());
            let found = match words.is_empty() {
                true => bench.phase().to_owned(),
                false => format!("{words} > {}", bench.phase()),
            };
            assert_eq!(found, want, "{what}, while {phase}");
        }
    }
}

#[test]
fn each_event_has_its_answer_in_each_phase() {
    every_event_in_every_phase();
}

#[test]
#[cfg(feature = "mutations")]
fn each_breach_is_caught_by_its_row() {
    use base::mutation::{self, Mutation};
    let rows = [
        (Mutation::PieceUnchecked, "a broken piece, while Pulling"),
        (Mutation::OfferOfDeposedLeader, "another node's, while Idle"),
    ];
    for (mutation, want) in rows {
        mutation::set(Some(mutation));
        let panic = std::panic::catch_unwind(every_event_in_every_phase);
        mutation::set(None);
        let panic = panic.expect_err("nobody noticed");
        let text = panic.downcast_ref::<String>().unwrap();
        assert!(text.contains(want), "{mutation:?}: {text}");
    }
}

#[test]
fn a_state_that_the_log_has_is_told_as_such() {
    let mut bench = Bench::new();
    bench.has = Some(at(100));
    assert_eq!(bench.step(offer()), "HasState 100 A");
    let mut bench = Bench::in_phase("Pulling");
    bench.commit = 100;
    assert_eq!(bench.step(Event::Turn), "Abandon");
    assert_eq!(bench.phase(), "Idle");
}

#[test]
fn silence_asks_again_more_and_more_seldom() {
    let mut bench = Bench::new();
    bench.step(offer());
    let mut asked = Vec::new();
    for tenth in 1..100_u64 {
        let words = bench.turn_after(T / 10);
        if !words.is_empty() {
            asked.push((tenth, words));
        }
    }
    // One at a time, each in its turn.
    let want = [(10, "Pull 0 A"), (30, "Pull 1 A"), (70, "Pull 0 A")];
    let asked: Vec<_> = asked.iter().map(|(at, w)| (*at, w.as_str())).collect();
    assert_eq!(asked, want);
    assert_eq!(bench.turn_after(T / 10), "Warn, Abandon");
    assert_eq!(bench.phase(), "Idle");
    assert_eq!(bench.step(piece(0)), "");
}

#[test]
fn a_deadline_is_named_for_whatever_comes_by_time() {
    let mut bench = Bench::new();
    assert_eq!(bench.receiver.deadline(), None);
    bench.step(offer());
    for _ in 0..4 {
        let due = bench.receiver.deadline().expect("a pull is under way");
        assert!(due > bench.now);
        bench.now = due;
        assert!(!bench.step(Event::Turn).is_empty());
    }
    assert_eq!(bench.phase(), "Idle", "given up");
}

/// A link keeps its order: no time has to pass.
#[test]
fn a_later_piece_shows_that_earlier_ones_are_lost() {
    let mut bench = Bench::new();
    bench.step(offer());
    assert_eq!(bench.step(piece(1)), "Pull 0 A, Write 1");
    // The answer to a piece that was asked for twice shows nothing.
    assert_eq!(bench.step(piece(0)), "Write 0");
}

#[test]
fn a_node_with_the_same_file_takes_over() {
    let mut bench = Bench::in_phase("Pulling");
    bench.leader = Some(node(B));
    assert_eq!(bench.step(offer_of(B, 100, 101)), "Pulling 100+0 B");
    assert_eq!(bench.step(no_state(A)), "Pull 1 B");
    assert_eq!(bench.step(piece_of(B, 1, 1000, content(1))), "Write 1");
    assert_eq!(bench.step(no_state(B)), "Abandon");
    // Without a word of the first one it takes T.
    let mut bench = Bench::in_phase("Pulling");
    bench.leader = Some(node(B));
    bench.step(offer_of(B, 100, 101));
    assert_eq!(bench.turn_after(T), "Pull 1 B");
    assert_eq!(bench.step(piece(1)), "Write 1", "it came after all");
}

#[test]
fn a_piece_that_found_no_room_comes_again() {
    let mut bench = Bench::in_phase("Pulling");
    bench.step(written(0, full()));
    assert_eq!(bench.step(piece(1)), "Pull 0 A, Write 1");
    assert_eq!(bench.step(piece(0)), "Write 0");
    bench.step(written(0, Ok(())));
    assert_eq!(bench.step(written(1, Ok(()))), "Check");
}

#[test]
fn a_check_without_room_is_made_again() {
    let mut bench = Bench::in_phase("Checking");
    bench.step(checked(full()));
    assert_eq!(bench.turn_after(T / 2), "");
    assert_eq!(bench.turn_after(T / 2), "Check");
    assert_eq!(bench.turn_after(T * 5), "", "one at a time");
    assert_eq!(bench.step(checked(Ok(()))), "Install 100");
}

#[test]
fn a_rest_ends_by_time() {
    let mut bench = Bench::in_phase("Resting");
    assert_eq!(bench.step(offer()), "");
    bench.turn_after(PATIENCE);
    assert_eq!(bench.phase(), "Idle");
    assert_eq!(bench.step(offer()), "Pull 0 A, Pull 1 A, Pulling 100+0 A");
}

/// All of it comes, and it is none.
fn pull_in_vain(bench: &mut Bench, pull: u64) {
    assert!(bench.step(offer()).contains("Pull 0 A"), "{pull}");
    for n in [0, 1] {
        let (offset, result) = (n * PIECE, Ok(()));
        bench.step(piece(n));
        bench.step(Event::Written {
            pull,
            offset,
            result,
        });
    }
    let result = bad();
    let words = bench.step(Event::Checked { pull, result });
    assert_eq!(words, "Warn, Abandon");
}

/// It is damaged where it comes from, and nothing there knows that.
#[test]
fn a_file_that_is_none_is_pulled_ever_more_seldom() {
    let (mut bench, second) = (Bench::new(), Duration::from_secs(1));
    for (pull, rest) in (1..).zip([10, 20, 40, 80, 160, 320, 640, 640]) {
        pull_in_vain(&mut bench, pull);
        bench.turn_after(second * (rest - 1));
        assert_eq!(bench.step(offer()), "", "{pull}");
        bench.turn_after(second);
    }
    pull_in_vain(&mut bench, 9);
    bench.turn_after(second * 10);
    assert_eq!(bench.step(offer()), "");
    let other = bench.step(offer_of(A, 500, 501));
    assert!(other.contains("Pull 0 A"), "another one waits: {other}");
}

/// F12: the file does not depend on the member's id.
#[test]
fn a_whole_file_is_handed_over_until_it_is_installed() {
    let mut bench = Bench::in_phase("Whole");
    assert_eq!(bench.step(Event::Turn), "Install 100");
    bench.is_installing = true;
    assert_eq!(bench.step(Event::Turn), "");
    assert_eq!(bench.step(offer_of(A, 500, 501)), "Pulling 100+262154 A");
    (bench.is_installing, bench.commit) = (false, 100);
    assert_eq!(bench.step(Event::Turn), "");
    assert_eq!(bench.phase(), "Idle");
    assert_eq!(bench.step(offer()), "HasState 100 A");
}

#[test]
fn no_more_than_the_window_is_asked_for() {
    let mut bench = Bench::new();
    let pieces = 20;
    let length = pieces * PIECE;
    bench.step(Event::Offer {
        from: node(A),
        term: 7,
        first: 101,
        base: Box::new(base_at(100, 1000, length)),
    });
    let (mut asked, mut done) = (WINDOW as u64, 0);
    while done < pieces {
        let bytes = vec![0; usize::try_from(PIECE).unwrap()];
        assert_eq!(
            bench.step(piece_of(A, done, 1000, bytes)),
            format!("Write {done}")
        );
        let words = bench.step(written(done, Ok(())));
        done += 1;
        let want = match (asked < pieces, done < pieces) {
            (true, _) => format!("Pull {asked} A"),
            (false, true) => String::new(),
            (false, false) => "Check".to_owned(),
        };
        assert_eq!(words, want);
        asked += 1;
    }
    assert_eq!(bench.receiver.progress(), Some((length, length)));
}

/// D5: its part would fill the disk anew, again and again, and logs on it never get room.
#[test]
fn a_state_without_room_is_left_alone_for_long() {
    let mut bench = Bench::new();
    bench.step(offer());
    bench.step(piece(0));
    assert_eq!(bench.step(written(0, full())), "Warn");
    assert_eq!(bench.turn_after(PATIENCE), "Warn, Abandon");
    for _ in 0..5 {
        bench.turn_after(PATIENCE);
        assert_eq!(bench.step(offer()), "", "the disk is left alone");
    }
    bench.turn_after(PATIENCE);
    assert_eq!(bench.step(offer()), "Pull 0 A, Pull 1 A, Pulling 100+0 A");
    // Room that came meanwhile counts.
    bench.step(piece(0));
    let written = |result| Event::Written {
        pull: 2,
        offset: 0,
        result,
    };
    bench.step(written(full()));
    bench.turn_after(T);
    bench.step(piece(0));
    bench.step(written(Ok(())));
    bench.turn_after(PATIENCE);
    assert_eq!(bench.phase(), "Idle");
}
