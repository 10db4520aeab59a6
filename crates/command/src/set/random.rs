//! Members drawn at random: SPOP, SRANDMEMBER.

use super::read::look;
use crate::env::{Done, Env, Flow, DONE};
use crate::error::Error;
use crate::pace::Pace;
use crate::room;
use crate::sample;
use crate::values::{as_set, bulk};
use base::events::Classes;
use keyspace::{Element, Key};
use rand::{rngs::StdRng, SeedableRng};
use resp::args::Args;
use resp::encode::Reply;
use resp::number::parse_i64;
use state::{free, StateMachine};

pub fn spop(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let count = match args.len() {
        2 => None,
        3 => {
            let count = parse_i64(args.at(2)).and_then(|count| usize::try_from(count).ok());
            Some(count.ok_or(Error::NOT_POSITIVE)?)
        }
        _ => return Err(Error::SYNTAX),
    };
    let key = env.data.key(args.at(1));
    let drawn = draw(env, &key, count.unwrap_or(1))?;
    if env.data.footprint().hold || !take(env, &key, &drawn) {
        return Ok(Flow::Hold);
    }
    let mut pace = Pace::default();
    let Env {
        session,
        server,
        out,
        ..
    } = env;
    let mut reply = Reply::new(out, session.proto);
    match (count, drawn.members.first()) {
        (None, None) => reply.null(),
        (None, Some(member)) => reply.bulk(member),
        (Some(_), _) => {
            reply.set(drawn.members.len());
            for member in &drawn.members {
                reply.bulk(member);
                pace.step(&mut **server, member.len());
            }
        }
    }
    free(drawn.members, &mut |bytes| pace.step(&mut **server, bytes));
    DONE
}

/// What SPOP takes.
#[derive(Default)]
struct Drawn {
    members: Vec<Vec<u8>>,
    /// Nothing is left.
    all: bool,
    /// The number by which they were drawn, where that is what the log gets.
    seed: Option<u64>,
}

fn draw(env: &mut Env<'_>, key: &Key<'_>, count: usize) -> Result<Drawn, Error> {
    let (seed, mut pace) = (env.data.draw(), Pace::default());
    let mut rng = StdRng::seed_from_u64(seed);
    // D5: what runs within a transaction has asked for its room already.
    let is_bounded = env.session.transaction.open;
    let Env { data, server, .. } = env;
    data.with(key, |entry| {
        let Some(entry) = entry else {
            return Ok(Drawn::default());
        };
        let set = as_set(&entry)?;
        let texts = |members: Vec<Element<'_>>| members.into_iter().map(Element::to_vec).collect();
        let mut breathe = |bytes| pace.step(&mut **server, bytes);
        let mut drawn = Drawn {
            members: texts(sample::distinct(set, count, &mut rng, &mut breathe)),
            all: count >= set.len(),
            seed: None,
        };
        if is_bounded && !drawn.all && bytes_of(key, &drawn) > room::POPPED {
            drawn.seed = Some(seed);
            drawn.members = texts(set.drawn_by(seed, count, &mut breathe));
        }
        Ok(drawn)
    })
}

fn bytes_of(key: &Key<'_>, drawn: &Drawn) -> usize {
    let members: Vec<&[u8]> = drawn.members.iter().map(|member| &**member).collect();
    StateMachine::bytes_of_pop(key, &members)
}

/// False: there is no room for it now.
fn take(env: &mut Env<'_>, key: &Key<'_>, drawn: &Drawn) -> bool {
    if drawn.members.is_empty() {
        return true;
    }
    let mut pace = Pace::default();
    if let Some(seed) = drawn.seed {
        let Env { data, server, .. } = env;
        let breathe = &mut |bytes| pace.step(&mut **server, bytes);
        data.set_remove_drawn(key, seed, drawn.members.len(), breathe);
        env.data.event(Classes::SET, "spop", key);
        return true;
    }
    // D5: they are one unit.
    if !drawn.all && !env.data.room_for(bytes_of(key, drawn)) {
        return false;
    }
    let members: Vec<&[u8]> = drawn.members.iter().map(|member| &**member).collect();
    let Env { data, server, .. } = env;
    data.set_pop(key, &members, &mut |bytes| pace.step(&mut **server, bytes));
    data.event(Classes::SET, "spop", key);
    true
}

pub fn srandmember(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let mut rng = StdRng::seed_from_u64(env.data.draw());
    let count = match args.len() {
        2 => None,
        3 => Some(sample::count(args.at(2))?),
        _ => return Err(Error::SYNTAX),
    };
    let mut pace = Pace::default();
    let Env {
        data,
        session,
        server,
        out,
        ..
    } = env;
    look(data, args.at(1), |set| {
        let mut reply = Reply::new(out, session.proto);
        let mut breathe = |bytes| pace.step(&mut **server, bytes);
        match (set, count) {
            (None, None) => reply.null(),
            (None, Some(_)) => reply.array(0),
            (Some(set), None) => bulk(&mut reply, set.random(&mut rng)),
            (Some(set), Some(count)) => {
                let drawn = sample::several(set, count, &mut rng, &mut breathe);
                reply.array(drawn.left());
                for member in drawn {
                    bulk(&mut reply, member);
                    breathe(member.text_len());
                }
            }
        }
    })?;
    DONE
}
