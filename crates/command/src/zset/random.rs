//! ZRANDMEMBER.

use crate::env::{Done, Env, DONE};
use crate::members::{head, see, show};
use crate::pace::Pace;
use crate::sample::{count_and_word, several};
use crate::values::bulk;
use rand::{rngs::StdRng, SeedableRng};
use resp::args::Args;
use resp::encode::Reply;

pub fn zrandmember(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let key = env.data.key(args.at(1));
    if args.len() == 2 {
        let mut rng = StdRng::seed_from_u64(env.data.draw());
        let (data, mut reply) = env.parts();
        see(data, &key, |zset| match zset {
            None => reply.null(),
            Some(zset) => bulk(&mut reply, zset.random(&mut rng).member),
        })?;
        return DONE;
    }
    let (count, with_scores) = count_and_word(args, b"withscores")?;
    let mut rng = StdRng::seed_from_u64(env.data.draw());
    let mut pace = Pace::default();
    let Env {
        data,
        session,
        server,
        out,
        ..
    } = env;
    see(data, &key, |zset| {
        let mut reply = Reply::new(out, session.proto);
        let Some(zset) = zset else {
            return reply.array(0);
        };
        let mut breathe = |bytes| pace.step(&mut **server, bytes);
        let drawn = several(zset, count, &mut rng, &mut breathe);
        head(&mut reply, drawn.left(), with_scores);
        for found in drawn {
            show(&mut reply, found, with_scores);
            breathe(found.member.text_len());
        }
    })?;
    DONE
}
