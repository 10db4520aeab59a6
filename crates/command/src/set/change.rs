//! Changing sets: SADD, SREM, SMOVE.

use crate::env::{Done, Env, Flow, DONE};
use crate::pace::Pace;
use crate::values::as_set;
use base::events::Classes;
use resp::args::Args;
use std::collections::HashSet;

pub fn sadd(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let key = env.data.key(args.at(1));
    let members = args.skip(2);
    let any_is_new = env.data.with(&key, |entry| match entry {
        None => Ok(true),
        Some(entry) => {
            let set = as_set(&entry)?;
            Ok(members.iter().any(|member| !set.contains(member)))
        }
    })?;
    let mut added = 0;
    if any_is_new {
        let members: Vec<&[u8]> = members.iter().collect();
        let mut pace = Pace::default();
        let Env { data, server, .. } = env;
        let breathe = &mut |bytes| pace.step(&mut **server, bytes); // T9
        added = data.set_add(&key, &members, breathe);
        env.data.event(Classes::SET, "sadd", &key);
    }
    env.reply().int(added as i64);
    DONE
}

pub fn srem(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let key = env.data.key(args.at(1));
    let found = env.data.with(&key, |entry| {
        let Some(entry) = entry else {
            return Ok(Vec::new());
        };
        let set = as_set(&entry)?;
        let mut found: Vec<&[u8]> = args.skip(2).iter().collect();
        if found.len() > 1 {
            let mut seen = HashSet::new();
            found.retain(|member| seen.insert(*member));
        }
        found.retain(|member| set.contains(member));
        Ok(found)
    })?;
    if !found.is_empty() {
        let mut pace = Pace::default();
        let Env { data, server, .. } = env;
        let breathe = &mut |bytes| pace.step(&mut **server, bytes); // T9
        data.set_remove(&key, &found, breathe);
        env.data.event(Classes::SET, "srem", &key);
    }
    env.reply().int(found.len() as i64);
    DONE
}

pub fn smove(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let (from, to, member) = (
        env.data.key(args.at(1)),
        env.data.key(args.at(2)),
        args.at(3),
    );
    let source = env.data.with(&from, |entry| {
        entry.map(|entry| as_set(&entry).map(|set| set.contains(member)))
    });
    let destination = env.data.with(&to, |entry| {
        entry.map(|entry| as_set(&entry).map(|_| ())).transpose()
    });
    // Without a source the destination's type does not matter.
    let is_there = match source {
        None => false,
        Some(is_there) => {
            let is_there = is_there?;
            destination?;
            is_there
        }
    };
    if env.data.footprint().hold {
        return Ok(Flow::Hold);
    }
    if is_there && from.bytes != to.bytes {
        env.data.set_move(&from, &to, member);
    }
    env.reply().int(is_there.into());
    DONE
}
