//! ZADD and ZINCRBY.

use crate::env::{Done, Env};
use crate::error::Error;
use crate::members::{add, Options};
use crate::words::Words;
use base::double;
use resp::args::Args;

pub fn zadd(env: &mut Env<'_>, args: Args<'_>) -> Done {
    run(env, args, Options::default())
}

/// It takes ZADD's options as well.
pub fn zincrby(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let incr = true;
    run(
        env,
        args,
        Options {
            incr,
            ..Options::default()
        },
    )
}

fn run(env: &mut Env<'_>, args: Args<'_>, mut options: Options) -> Done {
    let mut words = Words::new(args, 2);
    loop {
        let o = &mut options;
        let known = [
            ("nx", &mut o.nx),
            ("xx", &mut o.xx),
            ("ch", &mut o.ch),
            ("incr", &mut o.incr),
            ("gt", &mut o.gt),
            ("lt", &mut o.lt),
        ];
        let Some((_, option)) = known.into_iter().find(|(word, _)| words.word(word)) else {
            break;
        };
        *option = true;
    }
    let rest = words.rest();
    if rest.is_empty() || rest.len() % 2 != 0 {
        return Err(Error::SYNTAX);
    }
    check(options)?;
    if options.incr && rest.len() > 2 {
        return Err(Error::INCR_OF_ONE_PAIR);
    }
    let items = (0..rest.len()).step_by(2).map(|at| {
        let score = double::parse(rest.at(at)).ok_or(Error::NOT_A_FLOAT)?;
        Ok((rest.at(at + 1), score))
    });
    let items = items.collect::<Result<Vec<_>, Error>>()?;
    add(env, args.at(1), &items, options)
}

fn check(options: Options) -> Result<(), Error> {
    let Options { nx, xx, gt, lt, .. } = options;
    if nx && xx {
        return Err(Error::XX_AND_NX);
    }
    if (nx && (gt || lt)) || (gt && lt) {
        return Err(Error::GT_LT_AND_NX);
    }
    Ok(())
}
