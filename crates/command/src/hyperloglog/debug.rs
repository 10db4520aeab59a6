//! PFDEBUG, PFSELFTEST.

use super::change::{as_sketch, change};
use super::layout::{Corrupt, HEADER, REGISTERS};
use super::value::{Changing, Encoding};
use super::{dense, estimate, hash, sparse};
use crate::api::ServerApi;
use crate::env::{Done, Env, DONE};
use crate::error::Error;
use crate::pace::Pace;
use keyspace::Scratch;
use resp::args::Args;
use sparse::Mark;

pub fn pfdebug(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let key = env.data.key(args.at(2));
    let mut scratch = Scratch::default();
    let (encoding, runs) = env.data.with(&key, |entry| {
        let entry = entry.ok_or(Error::HLL_NO_KEY)?;
        let (value, encoding) = as_sketch(&entry, &mut scratch)?;
        let runs = match encoding {
            Encoding::Sparse => Some(sparse::describe(&value[HEADER..])),
            Encoding::Dense => None,
        };
        Ok((encoding, runs))
    })?;
    let is = |name: &str| args.at(1).eq_ignore_ascii_case(name.as_bytes());
    if is("getreg") {
        // It becomes dense by being looked at, as in Redis.
        let mut registers = Vec::new();
        change(env, &key, |sketch, _, _| {
            sketch.make_dense().map_err(Corrupt::error)?;
            let body = &sketch.value[HEADER..];
            registers.extend((0..REGISTERS).map(|index| dense::get(body, index)));
            Ok(encoding == Encoding::Sparse)
        })?;
        let mut reply = env.reply();
        reply.array(registers.len());
        registers
            .iter()
            .for_each(|register| reply.int((*register).into()));
    } else if is("decode") {
        let runs = runs.ok_or(Error::HLL_NOT_SPARSE)?;
        env.reply().bulk(runs.as_bytes());
    } else if is("encoding") {
        env.reply().simple(match encoding {
            Encoding::Dense => "dense",
            Encoding::Sparse => "sparse",
        });
    } else if is("todense") {
        let converted = change(env, &key, |sketch, _, _| {
            sketch.make_dense().map_err(Corrupt::error)?;
            Ok(encoding == Encoding::Sparse)
        })?;
        env.reply().int(i64::from(converted));
    } else {
        return Err(Error::unknown_pfdebug(args.at(1)));
    }
    DONE
}

/// How often every register is written and read.
const ROUNDS: usize = 100;
/// How many elements are added.
const ELEMENTS: u64 = 1_000_000;

/// What a test found to be wrong.
type Tested = Result<(), Error>;

pub fn pfselftest(env: &mut Env<'_>, _: Args<'_>) -> Done {
    let limit = env.server.config().hll_sparse_max_bytes;
    test_registers(env.server)?;
    test_estimates(env.server, limit)?;
    env.reply().ok();
    DONE
}

/// A number without a pattern.
fn drawn(n: u64) -> u64 {
    let (index, run) = hash::place(&n.to_le_bytes());
    index as u64 ^ u64::from(run)
}

/// Each register keeps what is written to it, and leaves its neighbours alone.
fn test_registers(server: &mut dyn ServerApi) -> Tested {
    let mut bytes = vec![0; dense::LEN - HEADER];
    let mut pace = Pace::default();
    for round in 0..ROUNDS {
        let register = |index: usize| (drawn((round * REGISTERS + index) as u64) & 63) as u8;
        for index in 0..REGISTERS {
            dense::set(&mut bytes, index, register(index));
        }
        for index in 0..REGISTERS {
            let (is, should) = (dense::get(&bytes, index), register(index));
            if is != should {
                return Err(Error::text(format!(
                    "TESTFAILED Register {index} should be {should} but is {is}"
                )));
            }
        }
        pace.step(server, 2 * REGISTERS);
    }
    Ok(())
}

/// Both encodings say the same, and are not far from the truth.
fn test_estimates(server: &mut dyn ServerApi, limit: usize) -> Tested {
    let mut sparse = Changing::of(None, limit);
    let mut dense = Changing::of(None, limit);
    dense.make_dense().map_err(Corrupt::error)?;
    let (mut checkpoint, mut pace) = (1, Pace::default());
    for n in 1..=ELEMENTS {
        let (index, run) = hash::place(&n.to_le_bytes());
        for sketch in [&mut sparse, &mut dense] {
            let mut mark = Mark::START;
            sketch
                .raise(index, run, &mut mark)
                .map_err(Corrupt::error)?;
        }
        pace.step(server, 0);
        if n == checkpoint {
            check(&sparse, &dense, n)?;
            checkpoint *= 10;
        }
    }
    Ok(())
}

fn check(sparse: &Changing<'_>, dense: &Changing<'_>, added: u64) -> Tested {
    if added < sparse.limit as u64 / 2 && sparse.encoding != Encoding::Sparse {
        return Err(Error::fixed("TESTFAILED sparse encoding not used"));
    }
    let count = |sketch: &Changing<'_>| {
        let count = estimate::of_value(&sketch.value, sketch.encoding);
        count.map_err(Corrupt::error)
    };
    let counted = count(dense)?;
    if count(sparse)? != counted {
        return Err(Error::fixed("TESTFAILED dense/sparse disagree"));
    }
    let sigma = 1.04 / (REGISTERS as f64).sqrt();
    let most = match added {
        10 => 1,
        _ => (sigma * 6.0 * added as f64).ceil() as u64,
    };
    let off = counted.abs_diff(added);
    match off <= most {
        true => Ok(()),
        false => Err(Error::text(format!(
            "TESTFAILED Too big error. card:{added} abserr:{off}"
        ))),
    }
}
