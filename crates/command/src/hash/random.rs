//! HRANDFIELD.

use super::view::{see, Fields};
use crate::args::integer;
use crate::env::{Done, Env, DONE};
use crate::error::Error;
use crate::pace::Pace;
use crate::sample::distinct;
use crate::values::bulk;
use keyspace::FieldRef;
use rand::{rngs::StdRng, SeedableRng};
use resp::args::Args;
use resp::encode::Reply;

pub fn hrandfield(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let key = env.data.key(args.at(1));
    if args.len() == 2 {
        let mut rng = StdRng::seed_from_u64(env.data.draw());
        let (data, mut reply) = env.parts();
        see(data, &key, Fields::All, |hash| match hash {
            None => reply.null(),
            Some(hash) => bulk(&mut reply, hash.random(&mut rng).field),
        })?;
        return DONE;
    }
    let count = integer(args.at(2))?;
    if count == i64::MIN {
        return Err(Error::out_of_range(-i64::MAX, i64::MAX));
    }
    let with_values = match args.len() {
        3 => false,
        4 if args.at(3).eq_ignore_ascii_case(b"withvalues") => true,
        _ => return Err(Error::SYNTAX),
    };
    if with_values && count.unsigned_abs() > (i64::MAX / 2) as u64 {
        return Err(Error::OUT_OF_RANGE);
    }
    let mut rng = StdRng::seed_from_u64(env.data.draw());
    let mut pace = Pace::default();
    let Env {
        data,
        session,
        server,
        out,
        ..
    } = env;
    see(data, &key, Fields::All, |hash| {
        let mut reply = Reply::new(out, session.proto);
        let Some(hash) = hash else {
            return reply.array(0);
        };
        let mut breathe = |bytes| pace.step(&mut **server, bytes);
        let show = |reply: &mut Reply<'_>, found: FieldRef<'_>, breathe: &mut dyn FnMut(usize)| {
            let nested = with_values && reply.is_resp3();
            if nested {
                reply.array(2);
            }
            bulk(reply, found.field);
            if with_values {
                bulk(reply, found.value);
            }
            breathe(found.field.text_len() + found.value.text_len());
        };
        let width = if with_values && !reply.is_resp3() {
            2
        } else {
            1
        };
        let wanted = usize::try_from(count.unsigned_abs()).expect("64 bits");
        if count < 0 {
            reply.array(wanted * width);
            for _ in 0..wanted {
                show(&mut reply, hash.random(&mut rng), &mut breathe);
            }
            return;
        }
        let drawn = distinct(hash, wanted, &mut rng, &mut breathe);
        reply.array(drawn.len() * width);
        for found in drawn {
            show(&mut reply, found, &mut breathe);
        }
    })?;
    DONE
}
