//! Publish and subscribe: the commands.
//!
//! Owns: the rows of this family (shard channels have slots, but are no keys), what confirms a
//! subscription, PUBSUB's answers. Never: delivers a message or keeps a subscription (the host does, with `pubsub`). C4: none of this is data;
//! nothing is logged, and no reply waits for anything but what its connection already waits for.

use super::env::{Done, Env, DONE};
use super::error::Error;
use super::help;
use super::rows::{no_subcommand, rows};
use super::session::ReplyMode;
use pubsub::{write_confirmation, SubscriptionKind};
use resp::args::Args;
use resp::Reply;

rows! { pub static ROWS: Pubsub [] {
    "subscribe" -2 [PUBSUB NOSCRIPT LOADING STALE] "2.0.0" => subscribe: "Listens to channels.";
    "unsubscribe" -1 [PUBSUB NOSCRIPT LOADING STALE] "2.0.0" => unsubscribe: "Ends listening to channels, or to all.";
    "psubscribe" -2 [PUBSUB NOSCRIPT LOADING STALE] "2.0.0" => psubscribe: "Listens to all channels that match patterns.";
    "punsubscribe" -1 [PUBSUB NOSCRIPT LOADING STALE] "2.0.0" => punsubscribe: "Ends listening to patterns, or to all.";
    "ssubscribe" -2 [PUBSUB NOSCRIPT LOADING STALE] "7.0.0" keys(1 -1 1 NOT_KEY) => ssubscribe: "Listens to shard channels.";
    "sunsubscribe" -1 [PUBSUB NOSCRIPT LOADING STALE] "7.0.0" keys(1 -1 1 NOT_KEY) => sunsubscribe: "Ends listening to shard channels, or to all.";
    "publish" 3 [PUBSUB LOADING STALE FAST] "2.0.0" => publish: "Sends a message to a channel.";
    "spublish" 3 [PUBSUB LOADING STALE FAST] "7.0.0" key(1 NOT_KEY) => spublish: "Sends a message to a shard channel.";
    "pubsub" -2 [] "2.8.0" => no_subcommand [SUBCOMMANDS]: "Groups the commands about who listens to what.";
}}

rows! { static SUBCOMMANDS: Pubsub [] {
    "pubsub|channels" -2 [PUBSUB LOADING STALE] "2.8.0" => channels: "Lists the channels that somebody listens to.";
    "pubsub|help" 2 [LOADING STALE] "6.2.0" => help_text: "Explains the subcommands.";
    "pubsub|numpat" 2 [PUBSUB LOADING STALE] "2.8.0" => numpat: "Counts the patterns that somebody listens to.";
    "pubsub|numsub" -2 [PUBSUB LOADING STALE] "2.8.0" => numsub: "Counts who listens to channels.";
    "pubsub|shardchannels" -2 [PUBSUB LOADING STALE] "7.0.0" => shardchannels: "Lists the shard channels that somebody listens to.";
    "pubsub|shardnumsub" -2 [PUBSUB LOADING STALE] "7.0.0" => shardnumsub: "Counts who listens to shard channels.";
}}

const HELP: &[&str] = &[
    "CHANNELS [<pattern>]",
    "    The channels that somebody listens to and that match <pattern>, or all.",
    "NUMPAT",
    "    How many patterns somebody listens to.",
    "NUMSUB [<channel> ...]",
    "    How many listen to each <channel>, not counting patterns.",
    "SHARDCHANNELS [<pattern>]",
    "    The same as CHANNELS, of shard channels.",
    "SHARDNUMSUB [<shardchannel> ...]",
    "    The same as NUMSUB, of shard channels.",
];

// ---- subscriptions ------------------------------------------------------------------------------

fn subscribe(env: &mut Env<'_>, args: Args<'_>) -> Done {
    begin(env, args, SubscriptionKind::Channel)
}

fn psubscribe(env: &mut Env<'_>, args: Args<'_>) -> Done {
    begin(env, args, SubscriptionKind::Pattern)
}

fn ssubscribe(env: &mut Env<'_>, args: Args<'_>) -> Done {
    // Redis lets the other two pass here.
    if env.session.deny_blocking {
        return Err(Error::SSUBSCRIBE_DENIED);
    }
    begin(env, args, SubscriptionKind::Shard)
}

fn unsubscribe(env: &mut Env<'_>, args: Args<'_>) -> Done {
    end(env, args, SubscriptionKind::Channel)
}

fn punsubscribe(env: &mut Env<'_>, args: Args<'_>) -> Done {
    end(env, args, SubscriptionKind::Pattern)
}

fn sunsubscribe(env: &mut Env<'_>, args: Args<'_>) -> Done {
    end(env, args, SubscriptionKind::Shard)
}

/// One confirmation for each name, also for one that was subscribed to before.
fn begin(env: &mut Env<'_>, args: Args<'_>, kind: SubscriptionKind) -> Done {
    let own = env.server.own_subscriber();
    for name in args.skip(1).iter() {
        env.session.subscriptions = env.server.pubsub_mut().subscribe(own, kind, name);
        confirm(env, kind.subscribed(), kind, Some(name));
    }
    DONE
}

/// The same for the end of subscriptions; without names all end, and if there are none that is said.
fn end(env: &mut Env<'_>, args: Args<'_>, kind: SubscriptionKind) -> Done {
    let own = env.server.own_subscriber();
    let stop = |env: &mut Env<'_>, name: &[u8]| {
        env.session.subscriptions = env.server.pubsub_mut().unsubscribe(own, kind, name);
        confirm(env, kind.unsubscribed(), kind, Some(name));
    };
    if args.len() > 1 {
        args.skip(1).iter().for_each(|name| stop(env, name));
        return DONE;
    }
    let all = env.server.pubsub().of(own, kind);
    all.iter().for_each(|name| stop(env, name));
    if all.is_empty() {
        confirm(env, kind.unsubscribed(), kind, None);
    }
    DONE
}

/// Confirmations are pushes: a client that wants no replies gets them all the same.
fn confirm(env: &mut Env<'_>, verb: &str, kind: SubscriptionKind, name: Option<&[u8]>) {
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
    let receivers = env.server.publish(sharded, &args[1], &args[2], own);
    env.reply().int(receivers as i64);
    DONE
}

// ---- PUBSUB -------------------------------------------------------------------------------------

fn channels(env: &mut Env<'_>, args: Args<'_>) -> Done {
    active(env, args, SubscriptionKind::Channel)
}

fn shardchannels(env: &mut Env<'_>, args: Args<'_>) -> Done {
    active(env, args, SubscriptionKind::Shard)
}

fn active(env: &mut Env<'_>, args: Args<'_>, kind: SubscriptionKind) -> Done {
    if args.len() > 3 {
        return Err(Error::unknown_subcommand_or_arity("PUBSUB", &args[1]));
    }
    let Env {
        server,
        out,
        session,
        ..
    } = env;
    let names: Vec<&[u8]> = server.pubsub().active(kind, args.get(2)).collect();
    let mut reply = Reply::new(out, session.proto);
    reply.array(names.len());
    names.iter().for_each(|name| reply.bulk(name));
    DONE
}

fn numsub(env: &mut Env<'_>, args: Args<'_>) -> Done {
    listeners(env, args, SubscriptionKind::Channel)
}

fn shardnumsub(env: &mut Env<'_>, args: Args<'_>) -> Done {
    listeners(env, args, SubscriptionKind::Shard)
}

fn listeners(env: &mut Env<'_>, args: Args<'_>, kind: SubscriptionKind) -> Done {
    let names = args.skip(2);
    env.reply().array(names.len() * 2);
    for name in names.iter() {
        let count = env.server.pubsub().listeners(kind, name);
        env.reply().bulk(name);
        env.reply().int(count as i64);
    }
    DONE
}

fn numpat(env: &mut Env<'_>, _: Args<'_>) -> Done {
    let count = env.server.pubsub().len(SubscriptionKind::Pattern);
    env.reply().int(count as i64);
    DONE
}

fn help_text(env: &mut Env<'_>, _: Args<'_>) -> Done {
    help::write(&mut env.reply(), "PUBSUB", HELP);
    DONE
}
