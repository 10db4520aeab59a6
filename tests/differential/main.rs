//! The differential proof: the same commands to the packaged `redis-server` and to ours, replies
//! compared byte for byte, in RESP2 and RESP3.
//!
//! A random sequence that differs is cut at the first differing reply, then commands are taken
//! out while a difference remains; what is printed is the shortest story found and its seed.
//! `HOLDFAST_DIFF_SEED` and `HOLDFAST_DIFF_SEQUENCES` choose the sequences, `HOLDFAST_REFERENCE`
//! another reference binary. Where 7.0 (packaged) and 7.4 (the target) differ, `compare.rs` says
//! so in one table.

mod bits;
#[path = "../common/mod.rs"]
mod common;
mod compare;
mod docs;
mod dump;
mod elements;
mod generate;
mod pair;
mod payloads;
mod raw;
mod scripted;

use generate::{Generator, Op};
use pair::{Difference, Pair};

fn env_number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name} must be a number: {text}")),
        Err(_) => default,
    }
}

/// Runs random sequences on one pair of servers and panics on the first that differs.
fn random_sequences(test: &str, salt: u64, resp3: bool, pipelined: bool) {
    let Some(mut pair) = Pair::start(test, &[]) else {
        return;
    };
    let first = env_number("HOLDFAST_DIFF_SEED", 1);
    let count = env_number("HOLDFAST_DIFF_SEQUENCES", 250);
    let mut commands = 0;
    for seed in first..first + count {
        let mut generator = Generator::new(seed ^ (salt << 32));
        let ops = generator.sequence(80, resp3, pipelined);
        commands += ops.len();
        let result = if pipelined {
            pair.run_pipelined(&ops)
        } else {
            pair.run(&ops)
        };
        if let Some(difference) = result {
            let seed_hint = format!("HOLDFAST_DIFF_SEED={seed} HOLDFAST_DIFF_SEQUENCES=1");
            report(&mut pair, &ops, difference, &seed_hint);
        }
    }
    println!("{test}: {count} sequences, {commands} commands, no difference");
}

fn report(pair: &mut Pair, ops: &[Op], difference: Difference, seed: &str) -> ! {
    // Shortening may take long, and is lost if the run is ended.
    println!("{seed}: the two servers differ, a shorter story is looked for");
    println!("{}{}", told(&ops[difference.at]), difference.outcomes());
    let (story, last) = shrink(pair, ops, difference);
    let mut text = String::from("\nthe two servers differ; the shortest story found:\n");
    for op in &story {
        text.push_str(&told(op));
    }
    text.push_str(&last.outcomes());
    panic!("{text}again with: {seed}");
}

fn told(op: &Op) -> String {
    format!("  conn {}> {}\n", op.conn, op.line())
}

/// Cuts at the first difference, then removes what is not needed for it, larger pieces first.
fn shrink(pair: &mut Pair, ops: &[Op], difference: Difference) -> (Vec<Op>, Difference) {
    let mut story: Vec<Op> = ops[..=difference.at].to_vec();
    let Some(mut last) = pair.run(&story) else {
        return (story, difference); // only pipelining shows it
    };
    story.truncate(last.at + 1);
    let mut piece = story.len() / 2;
    let mut replays = 0;
    while piece >= 1 {
        let mut at = 0;
        while at + piece < story.len() && replays < 600 {
            let mut shorter = story.clone();
            shorter.drain(at..at + piece);
            replays += 1;
            match pair.run(&shorter) {
                Some(difference) => {
                    shorter.truncate(difference.at + 1);
                    story = shorter;
                    last = difference;
                }
                None => at += piece,
            }
        }
        piece /= 2;
    }
    (story, last)
}

#[test]
fn random_commands_resp2() {
    random_sequences("random_commands_resp2", 0, false, false);
}

#[test]
fn random_commands_resp3() {
    random_sequences("random_commands_resp3", 1, true, false);
}

#[test]
fn random_pipelines() {
    random_sequences("random_pipelines", 2, false, true);
}
