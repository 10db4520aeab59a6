//! [`Output`] against a model that keeps every reply by itself, and what it does with memory.

use crate::{Flushed, Output};
use base::ids::{BatchSeq, ReadId};
use proptest::prelude::*;
use state::Gate;
use std::io::{self, ErrorKind, Write};
use std::ops::RangeInclusive;

/// A socket that takes `room` bytes.
#[derive(Default)]
struct Sink {
    got: Vec<u8>,
    room: usize,
    calls: usize,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.calls += 1;
        if self.room == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        let n = bytes.len().min(self.room);
        self.room -= n;
        self.got.extend_from_slice(&bytes[..n]);
        Ok(n)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn open_sink() -> Sink {
    Sink {
        room: usize::MAX,
        ..Sink::default()
    }
}

fn put(output: &mut Output, bytes: &[u8], gate: Gate) {
    output.buf().extend_from_slice(bytes);
    output.seal(gate, None);
}

fn batch(batch: u64) -> Gate {
    Gate::of_batch(BatchSeq(batch))
}

fn moved(slot: Option<u16>, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("M{slot:?};").as_bytes());
}

#[test]
fn unread_is_what_may_leave() {
    let mut output = Output::new();
    put(&mut output, b"abc", Gate::OPEN);
    put(&mut output, b"held", batch(1));
    assert_eq!((output.unread_bytes(), output.pending_bytes()), (3, 7));
    let mut sink = Sink {
        room: 2,
        ..Sink::default()
    };
    assert_eq!(output.write_to(&mut sink).expect("room"), Flushed::Short);
    assert_eq!((output.unread_bytes(), output.pending_bytes()), (1, 5));
    output.release(batch(1));
    assert_eq!((output.unread_bytes(), output.held_bytes()), (5, 0));
}

fn written(output: &mut Output) -> String {
    let mut sink = open_sink();
    assert_eq!(
        output.write_to(&mut sink).expect("a sink takes all"),
        Flushed::All
    );
    assert!(sink.calls <= 1, "one write");
    String::from_utf8(sink.got).expect("text")
}

#[test]
fn what_waits_for_nothing_leaves_at_once_but_in_order() {
    let mut output = Output::new();
    put(&mut output, b"a", Gate::OPEN);
    put(&mut output, b"b", batch(1));
    put(&mut output, b"c", Gate::OPEN);
    assert_eq!(
        (output.held_bytes(), output.pending_gate()),
        (2, Some(batch(1)))
    );
    assert_eq!(written(&mut output), "a");
    output.release(batch(1));
    assert_eq!((output.held_bytes(), output.pending_gate()), (0, None));
    assert_eq!(written(&mut output), "bc");
}

#[test]
fn only_the_failed_replies_are_replaced_and_pushes_are_dropped() {
    let mut output = Output::new();
    put(&mut output, b"a", Gate::OPEN);
    output.buf().extend_from_slice(b"set1");
    output.seal(batch(5), Some(77));
    output.buf().extend_from_slice(b"set2");
    output.seal(batch(5), None);
    output.buf().extend_from_slice(b"push");
    output.seal_push(batch(5));
    put(&mut output, b"ping", Gate::OPEN);
    put(&mut output, b"last", batch(6));
    output.fail(BatchSeq(5)..=BatchSeq(5), &mut moved);
    assert_eq!(written(&mut output), "aMSome(77);MNone;ping");
    output.release(batch(6));
    assert_eq!(written(&mut output), "last");
}

#[test]
fn a_suppressed_reply_holds_but_is_not_replaced() {
    let mut output = Output::new();
    put(&mut output, b"", batch(3));
    put(&mut output, b"ping", Gate::OPEN);
    assert_eq!((output.gate(), output.held_bytes()), (batch(3), 4));
    output.fail(BatchSeq(3)..=BatchSeq(9), &mut moved);
    assert_eq!(
        (written(&mut output).as_str(), output.gate()),
        ("ping", Gate::OPEN)
    );
}

#[test]
fn reads_that_nothing_can_confirm_fail_too() {
    let mut output = Output::new();
    put(&mut output, b"set", batch(1));
    put(
        &mut output,
        b"get",
        Gate {
            batch: BatchSeq(1),
            read: ReadId(4),
        },
    );
    output.release(batch(1));
    assert_eq!(written(&mut output), "set");
    output.fail_reads(ReadId(1)..=ReadId(4), &mut moved);
    assert_eq!(written(&mut output), "MNone;");
}

#[test]
fn an_unknown_outcome_ends_the_output_before_it() {
    let mut output = Output::new();
    put(&mut output, b"a", batch(1));
    put(&mut output, b"b", batch(2));
    put(&mut output, b"c", Gate::OPEN);
    assert!(!output.poison(BatchSeq(3)..=BatchSeq(9)));
    assert!(output.poison(BatchSeq(2)..=BatchSeq(2)));
    put(&mut output, b"d", Gate::OPEN);
    assert!(!output.is_finished());
    output.release(batch(1));
    assert!(!output.is_finished());
    assert_eq!(written(&mut output), "a");
    assert!(output.is_finished());
}

#[test]
fn closing_lets_out_what_was_sealed() {
    let mut output = Output::new();
    put(&mut output, b"+OK", batch(1));
    output.buf().extend_from_slice(b"half");
    output.close_after();
    put(&mut output, b"more", Gate::OPEN);
    output.release(batch(1));
    assert!(!output.is_finished());
    assert_eq!(written(&mut output), "+OK");
    assert!(output.is_finished());
}

#[test]
fn memory_goes_back_after_a_burst() {
    let mut output = Output::new();
    let megabyte = vec![b'x'; 1 << 20];
    for n in 1..=20_000 {
        put(
            &mut output,
            if n % 4000 == 0 { &megabyte } else { b"+OK" },
            batch(n),
        );
    }
    output.release(batch(20_000));
    let mut sink = Sink::default();
    let mut total = 0;
    while output.pending_bytes() > 0 {
        sink.room = 100_000;
        output
            .write_to(&mut sink)
            .expect("no error but a full socket");
        total += std::mem::take(&mut sink.got).len();
        assert!(output.memory_bytes() < 16 << 20);
    }
    assert_eq!(total, 5 * megabyte.len() + (20_000 - 5) * 3);
    assert!(
        output.memory_bytes() < 100 << 10,
        "{}",
        output.memory_bytes()
    );
    output.trim();
    assert_eq!(output.memory_bytes(), 0);
}

#[test]
fn a_turn_of_pipelined_writes_is_one_segment() {
    let mut output = Output::new();
    for slot in 0..64 {
        output.buf().extend_from_slice(b"+OK\r\n");
        output.seal(batch(9), Some(slot));
    }
    assert!(output.memory_bytes() < 1500, "{}", output.memory_bytes());
}

#[derive(Clone, Debug)]
enum Op {
    Reply {
        len: usize,
        gate: Gate,
        slot: Option<u16>,
    },
    Push {
        len: usize,
        gate: Gate,
    },
    Release(Gate),
    Fail(RangeInclusive<BatchSeq>),
    FailReads(RangeInclusive<ReadId>),
    Poison(RangeInclusive<BatchSeq>),
    Write(usize),
    Close,
}

/// Each reply by itself: bytes, its own gate, slot, whether it is a push.
#[derive(Default)]
struct Model {
    queue: Vec<(Vec<u8>, Gate, Option<u16>, bool)>,
    out: Vec<u8>,
    released: Gate,
    closing: bool,
}

impl Model {
    fn add(&mut self, bytes: &[u8], gate: Gate, slot: Option<u16>, push: bool) {
        if !self.closing {
            self.queue.push((bytes.to_vec(), gate, slot, push));
            self.drain();
        }
    }

    fn needs<N: Ord>(own: N, released: N, range: &RangeInclusive<N>) -> bool {
        own > released && range.contains(&own)
    }

    fn drain(&mut self) {
        while let Some(front) = self.queue.first() {
            if !front.1.is_released_by(self.released) {
                break;
            }
            let (bytes, ..) = self.queue.remove(0);
            self.out.extend_from_slice(&bytes);
        }
    }

    fn fail(&mut self, hit: impl Fn(&Gate) -> bool) {
        self.queue
            .retain(|(_, gate, _, push)| !(*push && hit(gate)));
        for (bytes, gate, slot, _) in &mut self.queue {
            if hit(gate) && bytes.is_empty() {
                *gate = Gate::OPEN;
            } else if hit(gate) {
                bytes.clear();
                moved(*slot, bytes);
                *gate = Gate::OPEN;
            }
        }
        self.drain();
    }

    fn poison(&mut self, range: &RangeInclusive<BatchSeq>) {
        let released = self.released;
        let hit = |(bytes, g, ..): &(Vec<u8>, Gate, Option<u16>, bool)| {
            !bytes.is_empty() && Self::needs(g.batch, released.batch, range)
        };
        if let Some(at) = self.queue.iter().position(hit) {
            self.queue.truncate(at);
            self.closing = true;
        }
    }
}

fn a_gate() -> impl Strategy<Value = Gate> {
    (0u64..8, 0u64..4).prop_map(|(batch, read)| Gate {
        batch: BatchSeq(batch),
        read: ReadId(read),
    })
}

fn a_range<N: std::fmt::Debug>(number: fn(u64) -> N) -> impl Strategy<Value = RangeInclusive<N>> {
    (1u64..8, 0u64..4).prop_map(move |(from, more)| number(from)..=number(from + more))
}

fn an_op() -> impl Strategy<Value = Op> {
    let slot = prop::option::of(0u16..16384);
    prop_oneof![
        8 => (1usize..9, a_gate(), slot).prop_map(|(len, gate, slot)| Op::Reply { len, gate, slot }),
        2 => (1usize..9, a_gate()).prop_map(|(len, gate)| Op::Push { len, gate }),
        3 => a_gate().prop_map(Op::Release),
        2 => a_range(BatchSeq).prop_map(Op::Fail),
        1 => a_range(ReadId).prop_map(Op::FailReads),
        1 => a_range(BatchSeq).prop_map(Op::Poison),
        3 => (0usize..30).prop_map(Op::Write),
        1 => Just(Op::Close),
    ]
}

fn run(ops: &[Op], big: usize) {
    let (mut output, mut model, mut sink) = (Output::new(), Model::default(), Sink::default());
    let mut next = b'a';
    for op in ops {
        match op.clone() {
            Op::Reply { len, gate, slot } => {
                next = if next == b'z' { b'a' } else { next + 1 };
                let bytes = vec![next; len * big];
                output.buf().extend_from_slice(&bytes);
                output.seal(gate, slot);
                model.add(&bytes, gate, slot, false);
            }
            Op::Push { len, gate } => {
                let bytes = vec![b'P'; len * big];
                output.buf().extend_from_slice(&bytes);
                output.seal_push(gate);
                model.add(&bytes, gate, None, true);
            }
            Op::Release(gate) => {
                output.release(gate);
                model.released = model.released.join(gate);
                model.drain();
            }
            Op::Fail(range) => {
                output.fail(range.clone(), &mut moved);
                let released = model.released.batch;
                model.fail(|g| Model::needs(g.batch, released, &range));
            }
            Op::FailReads(range) => {
                output.fail_reads(range.clone(), &mut moved);
                let released = model.released.read;
                model.fail(|g| Model::needs(g.read, released, &range));
            }
            Op::Poison(range) => {
                output.poison(range.clone());
                model.poison(&range);
            }
            Op::Write(room) => {
                sink.room = room * big;
                output
                    .write_to(&mut sink)
                    .expect("no error but a full socket");
            }
            Op::Close => {
                output.close_after();
                model.closing = true;
            }
        }
        let held: usize = model.queue.iter().map(|q| q.0.len()).sum();
        assert_eq!(output.held_bytes(), held);
        assert_eq!(
            output.pending_bytes(),
            model.out.len() + held - sink.got.len()
        );
        assert!(model.out.starts_with(&sink.got));
        assert_eq!(output.is_closing(), model.closing);
        let done = model.closing && held == 0 && sink.got.len() == model.out.len();
        assert_eq!(output.is_finished(), done);
    }
    sink.room = usize::MAX;
    output.write_to(&mut sink).expect("a sink takes all");
    assert_eq!(sink.got, model.out);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn behaves_as_the_model(ops in prop::collection::vec(an_op(), 0..40)) {
        run(&ops, 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn behaves_as_the_model_when_it_must_move_bytes(ops in prop::collection::vec(an_op(), 0..60)) {
        run(&ops, 20_000);
    }
}
