//! HRANDFIELD.

use super::view::{see, Fields};
use crate::env::{Done, Env, DONE};
use crate::pace::Pace;
use crate::sample::{count_and_word, several};
use crate::values::bulk;
use rand::{rngs::StdRng, SeedableRng};
use resp::args::Args;
use resp::encode::Reply;

pub fn hrandfield(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let key = env.data.key(args.at(1));
    if args.len() == 2 {
        let mut rng = StdRng::seed_from_u64(env.data.draw());
        let (data, mut reply) = env.parts();
        see(data, &key, Fields::Drawn, |hash| match hash {
            None => reply.null(),
            Some(hash) => bulk(&mut reply, hash.random(&mut rng).field),
        })?;
        return DONE;
    }
    let (count, with_values) = count_and_word(args, b"withvalues")?;
    let mut rng = StdRng::seed_from_u64(env.data.draw());
    let mut pace = Pace::default();
    let Env {
        data,
        session,
        server,
        out,
        ..
    } = env;
    see(data, &key, Fields::Drawn, |hash| {
        let mut reply = Reply::new(out, session.proto);
        let Some(hash) = hash else {
            return reply.array(0);
        };
        let mut breathe = |bytes| pace.step(&mut **server, bytes);
        let drawn = several(hash, count, &mut rng, &mut breathe);
        let nested = with_values && reply.is_resp3();
        let width = if with_values && !nested { 2 } else { 1 };
        reply.array(drawn.left() * width);
        for found in drawn {
            if nested {
                reply.array(2);
            }
            bulk(&mut reply, found.field);
            if with_values {
                bulk(&mut reply, found.value);
            }
            breathe(found.field.text_len() + found.value.text_len());
        }
    })?;
    DONE
}
