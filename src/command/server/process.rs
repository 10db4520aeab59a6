//! The process: SHUTDOWN, TIME, LOLWUT, ACL WHOAMI and CAT.
//!
//! Owns: reading their options. Never: ends the process (the host does), reads a clock.

use super::super::env::{Done, Env, Flow, Shutdown, DONE};
use super::super::error::Error;
use super::super::spec::{flags, Acl, Flags, Group, Spec};
use super::introspect::{category, full_names};
use super::{help, no_subcommand, REDIS_VERSION};
use crate::resp::args::Args;
use crate::resp::number::parse_i64;

pub const SHUTDOWN: Spec = Spec::new(
    "shutdown",
    -1,
    flags![ADMIN, NOSCRIPT, LOADING, STALE, NO_MULTI, ALLOW_BUSY],
    Group::Server,
    shutdown,
)
.since("1.0.0")
.summary("Ends the server.");

pub const TIME: Spec = Spec::new("time", 1, flags![LOADING, STALE, FAST], Group::Server, time)
    .since("2.6.0")
    .summary("Answers with the time of the server.")
    .tips(&["nondeterministic_output"]);

pub const LOLWUT: Spec = Spec::new("lolwut", -1, flags![READONLY, FAST], Group::Server, lolwut)
    .since("5.0.0")
    .summary("Shows the version.");

pub const ACL: Spec = Spec::new("acl", -2, Flags::NONE, Group::Server, no_subcommand)
    .since("6.0.0")
    .summary("Groups the commands about users.")
    .subcommands(ACL_SUBCOMMANDS);

static ACL_SUBCOMMANDS: &[Spec] = &[
    Spec::sub(
        "acl|cat",
        -2,
        flags![NOSCRIPT, LOADING, STALE],
        Group::Server,
        acl_cat,
    )
    .since("6.0.0")
    .summary("Lists the categories of commands, or the commands of one."),
    Spec::sub(
        "acl|help",
        2,
        flags![LOADING, STALE],
        Group::Server,
        acl_help,
    )
    .since("6.0.0")
    .summary("Lists the subcommands."),
    Spec::sub(
        "acl|whoami",
        2,
        flags![NOSCRIPT, LOADING, STALE],
        Group::Server,
        acl_whoami,
    )
    .since("6.0.0")
    .summary("Names the user of the connection."),
];

/// SHUTDOWN's options; `None` is ABORT.
fn parse_shutdown(args: Args<'_>) -> Result<Option<Shutdown>, Error> {
    let (mut save, mut nosave, mut abort) = (false, false, false);
    let mut options = Shutdown::default();
    for option in args.iter().skip(1) {
        let is = |name: &[u8]| option.eq_ignore_ascii_case(name);
        if is(b"nosave") {
            nosave = true;
        } else if is(b"save") {
            save = true;
        } else if is(b"now") {
            options.now = true;
        } else if is(b"force") {
            options.force = true;
        } else if is(b"abort") {
            abort = true;
        } else {
            return Err(Error::SYNTAX);
        }
    }
    let others = save || nosave || options.now || options.force;
    if (abort && others) || (save && nosave) {
        return Err(Error::SYNTAX);
    }
    if save || nosave {
        options.save = Some(save);
    }
    Ok((!abort).then_some(options))
}

fn shutdown(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let Some(options) = parse_shutdown(args)? else {
        if !env.host.abort_shutdown() {
            return Err(Error::NO_SHUTDOWN);
        }
        env.reply().ok();
        return DONE;
    };
    env.host
        .request_shutdown(options)
        .map_err(|why| Error::text(format!("ERR {why}")))?;
    Ok(Flow::Shutdown(options))
}

fn time(env: &mut Env<'_>, _: Args<'_>) -> Done {
    let micros = env.host.unix_micros();
    let mut reply = env.reply();
    reply.array(2);
    reply.bulk_int(micros / 1_000_000);
    reply.bulk_int(micros % 1_000_000);
    DONE
}

fn lolwut(env: &mut Env<'_>, args: Args<'_>) -> Done {
    if args.len() >= 3 && args[1].eq_ignore_ascii_case(b"version") {
        parse_i64(&args[2]).ok_or(Error::NOT_AN_INTEGER)?;
    }
    let text = format!("Redis ver. {REDIS_VERSION}\n");
    env.reply().verbatim("txt", text.as_bytes());
    DONE
}

fn acl_help(env: &mut Env<'_>, _: Args<'_>) -> Done {
    help::write(&mut env.reply(), "ACL", help::ACL);
    DONE
}

fn acl_whoami(env: &mut Env<'_>, _: Args<'_>) -> Done {
    let user = env.session.user.clone();
    env.reply().bulk(user.as_bytes());
    DONE
}

fn acl_cat(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let names = match args.len() {
        2 => Acl::NAMES.iter().map(|a| a.1).collect(),
        3 => {
            let wanted = category(&args[2]).ok_or_else(|| Error::acl_category(&args[2]))?;
            full_names(|spec| spec.categories().has(wanted))
        }
        _ => return Err(Error::unknown_subcommand_or_arity("ACL", &args[1])),
    };
    let mut reply = env.reply();
    reply.array(names.len());
    names.iter().for_each(|name| reply.bulk(name.as_bytes()));
    DONE
}
