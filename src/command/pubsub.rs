//! Publish and subscribe: the commands.
//!
//! Owns: the rows of this family, what confirms a subscription, PUBSUB's answers. Never: delivers a
//! message or keeps a subscription (the host does, with `crate::pubsub`). C4: none of this is data;
//! nothing is logged, and no reply waits for anything but what its connection already waits for.

use super::env::{Done, Env, DONE};
use super::error::Error;
use super::server::{help, no_subcommand};
use super::session::ReplyMode;
use super::spec::{flags, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::pubsub::{write_confirmation, Kind};
use crate::resp::args::Args;
use crate::resp::Reply;

const LISTEN: Flags = flags![PUBSUB, NOSCRIPT, LOADING, STALE];
const SEND: Flags = flags![PUBSUB, LOADING, STALE, FAST];
const ASK: Flags = flags![PUBSUB, LOADING, STALE];

/// Shard channels have slots, but are no keys.
const ALL_CHANNELS: &[KeySpec] = &[KeySpec::new(KeyFlags::NOT_KEY, 1, -1, 1)];
const ONE_CHANNEL: &[KeySpec] = &[KeySpec::new(KeyFlags::NOT_KEY, 1, 0, 1)];

const fn row(name: &'static str, arity: i16, flags: Flags, run: Run) -> Spec {
    Spec::new(name, arity, flags, Group::Pubsub, run).since("2.0.0")
}

pub static SPECS: &[Spec] = &[
    row("subscribe", -2, LISTEN, subscribe).summary("Listens to channels."),
    row("unsubscribe", -1, LISTEN, unsubscribe).summary("Ends listening to channels, or to all."),
    row("psubscribe", -2, LISTEN, psubscribe)
        .summary("Listens to all channels that match patterns."),
    row("punsubscribe", -1, LISTEN, punsubscribe).summary("Ends listening to patterns, or to all."),
    row("ssubscribe", -2, LISTEN, ssubscribe)
        .since("7.0.0")
        .keys(1, -1, 1, ALL_CHANNELS)
        .summary("Listens to shard channels."),
    row("sunsubscribe", -1, LISTEN, sunsubscribe)
        .since("7.0.0")
        .keys(1, -1, 1, ALL_CHANNELS)
        .summary("Ends listening to shard channels, or to all."),
    row("publish", 3, SEND, publish).summary("Sends a message to a channel."),
    row("spublish", 3, SEND, spublish)
        .since("7.0.0")
        .keys(1, 1, 1, ONE_CHANNEL)
        .summary("Sends a message to a shard channel."),
    Spec::new("pubsub", -2, Flags::NONE, Group::Pubsub, no_subcommand)
        .since("2.8.0")
        .summary("Groups the commands about who listens to what.")
        .subcommands(SUBCOMMANDS),
];

static SUBCOMMANDS: &[Spec] = &[
    sub("pubsub|channels", -2, ASK, channels)
        .since("2.8.0")
        .summary("Lists the channels that somebody listens to."),
    sub("pubsub|help", 2, flags![LOADING, STALE], help_text)
        .since("6.2.0")
        .summary("Explains the subcommands."),
    sub("pubsub|numpat", 2, ASK, numpat)
        .since("2.8.0")
        .summary("Counts the patterns that somebody listens to."),
    sub("pubsub|numsub", -2, ASK, numsub)
        .since("2.8.0")
        .summary("Counts who listens to channels."),
    sub("pubsub|shardchannels", -2, ASK, shardchannels)
        .since("7.0.0")
        .summary("Lists the shard channels that somebody listens to."),
    sub("pubsub|shardnumsub", -2, ASK, shardnumsub)
        .since("7.0.0")
        .summary("Counts who listens to shard channels."),
];

const fn sub(full: &'static str, arity: i16, flags: Flags, run: Run) -> Spec {
    Spec::sub(full, arity, flags, Group::Pubsub, run)
}

// ---- subscriptions ------------------------------------------------------------------------------

fn subscribe(env: &mut Env<'_>, args: Args<'_>) -> Done {
    begin(env, args, Kind::Channel)
}

fn psubscribe(env: &mut Env<'_>, args: Args<'_>) -> Done {
    begin(env, args, Kind::Pattern)
}

fn ssubscribe(env: &mut Env<'_>, args: Args<'_>) -> Done {
    // Redis lets the other two pass here.
    if env.session.deny_blocking {
        return Err(Error::SSUBSCRIBE_DENIED);
    }
    begin(env, args, Kind::Shard)
}

fn unsubscribe(env: &mut Env<'_>, args: Args<'_>) -> Done {
    end(env, args, Kind::Channel)
}

fn punsubscribe(env: &mut Env<'_>, args: Args<'_>) -> Done {
    end(env, args, Kind::Pattern)
}

fn sunsubscribe(env: &mut Env<'_>, args: Args<'_>) -> Done {
    end(env, args, Kind::Shard)
}

/// One confirmation for each name, also for one that was subscribed to before.
fn begin(env: &mut Env<'_>, args: Args<'_>, kind: Kind) -> Done {
    let own = env.host.own_subscriber();
    for name in args.skip(1).iter() {
        env.session.subscriptions = env.host.pubsub_mut().subscribe(own, kind, name);
        confirm(env, kind.subscribed(), kind, Some(name));
    }
    DONE
}

/// The same for the end of subscriptions; without names all end, and if there are none that is said.
fn end(env: &mut Env<'_>, args: Args<'_>, kind: Kind) -> Done {
    let own = env.host.own_subscriber();
    let stop = |env: &mut Env<'_>, name: &[u8]| {
        env.session.subscriptions = env.host.pubsub_mut().unsubscribe(own, kind, name);
        confirm(env, kind.unsubscribed(), kind, Some(name));
    };
    if args.len() > 1 {
        args.skip(1).iter().for_each(|name| stop(env, name));
        return DONE;
    }
    let all = env.host.pubsub().of(own, kind);
    all.iter().for_each(|name| stop(env, name));
    if all.is_empty() {
        confirm(env, kind.unsubscribed(), kind, None);
    }
    DONE
}

/// Confirmations are pushes: a client that wants no replies gets them all the same.
fn confirm(env: &mut Env<'_>, verb: &str, kind: Kind, name: Option<&[u8]>) {
    let session = &mut *env.session;
    let start = env.out.len();
    let count = session.subscriptions.told(kind);
    write_confirmation(env.out, session.proto, verb, name, count);
    if session.reply_mode != ReplyMode::On {
        session.unmuted.extend_from_slice(&env.out[start..]);
    }
}

// ---- messages -----------------------------------------------------------------------------------

fn publish(env: &mut Env<'_>, args: Args<'_>) -> Done {
    send(env, args, false)
}

fn spublish(env: &mut Env<'_>, args: Args<'_>) -> Done {
    send(env, args, true)
}

fn send(env: &mut Env<'_>, args: Args<'_>, sharded: bool) -> Done {
    let own = env.session.proto;
    let receivers = env.host.publish(sharded, &args[1], &args[2], own);
    env.reply().int(receivers as i64);
    DONE
}

// ---- PUBSUB -------------------------------------------------------------------------------------

fn channels(env: &mut Env<'_>, args: Args<'_>) -> Done {
    active(env, args, Kind::Channel)
}

fn shardchannels(env: &mut Env<'_>, args: Args<'_>) -> Done {
    active(env, args, Kind::Shard)
}

fn active(env: &mut Env<'_>, args: Args<'_>, kind: Kind) -> Done {
    if args.len() > 3 {
        return Err(Error::unknown_subcommand_or_arity("PUBSUB", &args[1]));
    }
    let Env {
        host, out, session, ..
    } = env;
    let names: Vec<&[u8]> = host.pubsub().active(kind, args.get(2)).collect();
    let mut reply = Reply::new(out, session.proto);
    reply.array(names.len());
    names.iter().for_each(|name| reply.bulk(name));
    DONE
}

fn numsub(env: &mut Env<'_>, args: Args<'_>) -> Done {
    listeners(env, args, Kind::Channel)
}

fn shardnumsub(env: &mut Env<'_>, args: Args<'_>) -> Done {
    listeners(env, args, Kind::Shard)
}

fn listeners(env: &mut Env<'_>, args: Args<'_>, kind: Kind) -> Done {
    let names = args.skip(2);
    env.reply().array(names.len() * 2);
    for name in names.iter() {
        let count = env.host.pubsub().listeners(kind, name);
        env.reply().bulk(name);
        env.reply().int(count as i64);
    }
    DONE
}

fn numpat(env: &mut Env<'_>, _: Args<'_>) -> Done {
    let count = env.host.pubsub().len(Kind::Pattern);
    env.reply().int(count as i64);
    DONE
}

fn help_text(env: &mut Env<'_>, _: Args<'_>) -> Done {
    help::write(&mut env.reply(), "PUBSUB", help::PUBSUB);
    DONE
}
