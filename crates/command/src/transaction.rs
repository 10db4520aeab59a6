//! MULTI, EXEC, DISCARD, WATCH, UNWATCH.
//!
//! Owns: what a transaction is to a client. Never: decides which command may be queued (that is
//! `dispatch`). Invariants: EXEC is one command, so one unit (T8); an EXEC that has to wait leaves
//! the queue, the watches and the database as they were.

use super::call::call;
use super::env::{Done, Env, Flow, Serving, DONE};
use super::error::Error;
use super::gains::{gained_by, owners};
use super::pace::Pace;
use super::room;
use super::rows::rows;
use super::session::Queued;
use super::spec::{flags, Role};
use base::SlotSet;
use resp::args::Args;
use std::collections::HashSet;
use topology::moves::Owners;

rows! { pub static ROWS: Transactions [TRANSACTION] {
    "multi" 1 [NOSCRIPT LOADING STALE FAST ALLOW_BUSY] "1.2.0" => multi: "Opens a transaction." .role(Role::Multi);
    "exec" 1 [NOSCRIPT LOADING STALE SKIP_SLOWLOG] "1.2.0" => exec: "Executes the queued commands as one." .role(Role::Exec);
    "discard" 1 [NOSCRIPT LOADING STALE FAST ALLOW_BUSY] "2.0.0" => discard: "Drops the queued commands." .role(Role::Discard);
    "watch" -2 [NOSCRIPT LOADING STALE FAST ALLOW_BUSY] "2.2.0" keys(1 -1 1 RO) => watch: "Lets EXEC fail if one of the keys changes first." .role(Role::Watch);
    "unwatch" 1 [NOSCRIPT LOADING STALE FAST ALLOW_BUSY] "2.2.0" => unwatch: "Forgets the watched keys.";
}}

fn multi(env: &mut Env<'_>, _args: Args<'_>) -> Done {
    if env.session.transaction.open {
        return Err(Error::NESTED_MULTI);
    }
    env.session.transaction.open = true;
    env.reply().ok();
    DONE
}

fn discard(env: &mut Env<'_>, _args: Args<'_>) -> Done {
    if !env.session.transaction.open {
        return Err(Error::DISCARD_WITHOUT_MULTI);
    }
    env.session.discard(env.data);
    env.reply().ok();
    DONE
}

fn watch(env: &mut Env<'_>, args: Args<'_>) -> Done {
    if env.session.transaction.open {
        return Err(Error::WATCH_IN_MULTI);
    }
    let (db, mut pace) = (env.session.db, Pace::default());
    let watched = env.session.watches.iter().filter(|watch| watch.db == db);
    let mut watched: HashSet<Box<[u8]>> = watched.map(|watch| watch.key.clone()).collect();
    for bytes in args.skip(1).iter() {
        pace.step(env.server, bytes.len());
        if !watched.insert(bytes.into()) {
            continue;
        }
        let key = env.data.key(bytes);
        let watch = env.data.watch(&key);
        if env.data.footprint().hold {
            // T2: it will run again; what it has registered so far is found then.
            env.data.unwatch(&watch);
            return Ok(Flow::Hold);
        }
        env.session.watches.push(watch);
    }
    env.reply().ok();
    DONE
}

fn unwatch(env: &mut Env<'_>, _args: Args<'_>) -> Done {
    env.session.unwatch(env.data);
    env.reply().ok();
    DONE
}

fn exec(env: &mut Env<'_>, _args: Args<'_>) -> Done {
    let done = run(env);
    env.session.gains = None;
    done
}

fn run(env: &mut Env<'_>) -> Done {
    if !env.session.transaction.open {
        return Err(Error::EXEC_WITHOUT_MULTI);
    }
    if env.session.transaction.aborted {
        env.session.discard(env.data);
        return Err(Error::EXEC_ABORT);
    }
    if !has_room(env)? || !knows_owners(env)? {
        return Ok(Flow::Hold);
    }
    let unchanged = watches_hold(env);
    if env.data.footprint().hold {
        return Ok(Flow::Hold);
    }
    if !unchanged {
        env.session.discard(env.data);
        env.reply().null_array();
        return DONE;
    }
    run_queue(env)
}

/// D5: a transaction that can't be put off half-way, because it changes something, needs room for all
/// its effects, which may be many times its arguments, and may meet no expired key that it does not
/// name. False: it is held.
fn has_room(env: &mut Env<'_>) -> Result<bool, Error> {
    if env.serving != (Serving::Lead { writable: true }) {
        return Ok(true); // it writes nothing, or is held anyway
    }
    let (mut bytes, mut writes, mut walks) = (0usize, false, false);
    let (mut data, mut other) = (false, false);
    for Queued { command, args } in &env.session.transaction.queue {
        let spec = env.commands.command(*command).spec;
        bytes = bytes.saturating_add(room::of(spec, Args::from(args.as_slice())));
        writes |= spec.writes() || spec.flags.has(flags![AMPLIFIES]);
        data |= spec.is_data();
        other |= !spec.is_data();
        walks |= spec.role == Role::Walk;
    }
    let stands = !writes && (!data || !other);
    if stands {
        return Ok(true); // nothing but deletions of expired keys: they stand, and it runs again
    }
    for watch in &env.session.watches {
        bytes = bytes.saturating_add(watch.key.len() + room::EFFECT);
    }
    if bytes > room::MOST {
        env.session.discard(env.data);
        return Err(Error::DISK_FULL);
    }
    Ok((!walks || env.data.purge_due()) && env.data.room_for(bytes))
}

/// M12: what the other shards say of the slots that the queue gains, before anything of it runs. Nothing
/// changes there, so an EXEC that fails has done nothing. False: it is held.
fn knows_owners(env: &mut Env<'_>) -> Result<bool, Error> {
    let changes = |queued: &Queued| {
        let spec = env.commands.command(queued.command).spec;
        spec.flags.has(flags![CHANGES_RECORD])
    };
    let queue = &env.session.transaction.queue;
    if env.serving != (Serving::Lead { writable: true }) || !queue.iter().any(changes) {
        return Ok(true);
    }
    let gained = gained_by(env, queue);
    let record = env.data.record();
    // M12: one that has departed is refused, and is not asked for either: the others say that it is free until it is
    // taken, and such an answer would outlive the hand-over.
    let departed = &record.moves.departed;
    let foreign = |slot: &u16| !record.slots.contains(*slot) && !departed.contains_key(slot);
    let foreign: SlotSet = gained.iter().filter(foreign).collect();
    let owners = match foreign.is_empty() {
        true => Some(Owners::default()),
        false => match owners(env, &foreign) {
            Ok(owners) => owners,
            Err(error) => {
                env.session.discard(env.data);
                return Err(error);
            }
        },
    };
    env.session.gains = owners.map(|owners| Owners {
        asked: gained,
        ..owners
    });
    Ok(env.session.gains.is_some())
}

/// Whether every watched key is as it was.
fn watches_hold(env: &mut Env<'_>) -> bool {
    let (data, watches) = (&mut *env.data, &env.session.watches);
    let mut all = true;
    for watch in watches {
        // No short cut: the answer depends on all of them (T3).
        all &= data.is_unchanged(watch);
    }
    all
}

/// C1: why a command that follows a reset can't run yet: the shard of its own is not led, or there is none
/// since the reset has failed.
fn unserved(env: &Env<'_>, queued: &Queued) -> Option<Error> {
    let data = env.commands.command(queued.command).spec.is_data();
    match env.serving {
        _ if !data => None,
        Serving::Lead { .. } => None,
        Serving::Down => Some(Error::CLUSTER_DOWN),
        Serving::Loading { .. } => Some(Error::LOADING),
        Serving::Redirect { .. } | Serving::Hold => Some(Error::READ_ONLY_REPLICA),
    }
}

fn run_queue(env: &mut Env<'_>) -> Done {
    let anew = env.begins_anew();
    let queue = std::mem::take(&mut env.session.transaction.queue);
    let (db, proto) = (env.session.db, env.session.proto);
    env.reply().array(queue.len());
    let mut end = Flow::Done;
    let mut pace = Pace::default();
    let overdue = env.overdue;
    for (at, queued) in queue.iter().enumerate() {
        let start = env.out.len();
        // M12: what has run can't be taken back: only the first one may wait for another shard.
        env.overdue = overdue || at > 0;
        // C1: a reset may wait for its end as well, and as the first one only.
        env.session.deny_blocking = at > 0 || !anew;
        let command = env.commands.command(queued.command);
        let refused = unserved(env, queued).filter(|_| anew && at > 0);
        let called = match refused {
            Some(error) => Err(error),
            None => call(env, command, Args::from(queued.args.as_slice())),
        };
        let flow = match called {
            Ok(Flow::Hold) if at > 0 && !env.data.footprint().hold => Err(Error::SLOT_NOT_SERVED),
            // C1: the rest waits until this node leads the shard that the reset has made.
            Ok(Flow::Done)
                if anew && at == 0 && queue.iter().any(|q| unserved(env, q).is_some()) =>
            {
                env.session.has_reset = true;
                Ok(Flow::Hold)
            }
            called => called,
        };
        let flow = flow.unwrap_or_else(|error| {
            env.out.truncate(start);
            env.server.stats_mut().count_error(error.code());
            error.write(env.out);
            Flow::Done
        });
        env.overdue = overdue;
        if env.data.footprint().hold || flow.is_held() {
            // T2: nothing was written (no write is in a queue that runs while none may be, and D5:
            // all of it has room) but deletions of expired keys: as if EXEC had not been called.
            env.session.deny_blocking = false;
            env.session.db = db;
            env.session.proto = proto;
            env.session.transaction.queue = queue;
            return Ok(Flow::Hold);
        }
        if flow != Flow::Done {
            end = flow;
        }
        pace.step(env.server, env.out.len() - start);
    }
    env.session.deny_blocking = false;
    env.session.discard(env.data);
    Ok(end)
}
