//! The process: SHUTDOWN, TIME, LOLWUT, ACL WHOAMI and CAT.
//!
//! Owns: reading their options. Never: ends the process (the host does), reads a clock.

use super::super::api::Shutdown;
use super::super::env::{Done, Env, Flow, DONE};
use super::super::error::Error;
use super::super::help::write;
use super::super::rows::{no_subcommand, rows};
use super::super::spec::Acl;
use super::super::words::Words;
use super::help;
use config::REDIS_VERSION;
use resp::args::Args;
use resp::number::parse_i64;

rows! { pub static ROWS: Server [] {
    "acl" -2 [] "6.0.0" => no_subcommand [ACL_SUBCOMMANDS]: "Groups the commands about users.";
    "lolwut" -1 [READONLY FAST] "5.0.0" => lolwut: "Shows the version.";
    "shutdown" -1 [ADMIN NOSCRIPT LOADING STALE NO_MULTI ALLOW_BUSY] "1.0.0" => shutdown: "Ends the server.";
    "time" 1 [LOADING STALE FAST] "2.6.0" => time: "Answers with the time of the server." .tips(&["nondeterministic_output"]);
}}

rows! { static ACL_SUBCOMMANDS: Server [] {
    "acl|cat" -2 [NOSCRIPT LOADING STALE] "6.0.0" => acl_cat: "Lists the categories of commands, or the commands of one.";
    "acl|help" 2 [LOADING STALE] "6.0.0" => acl_help: "Lists the subcommands.";
    "acl|whoami" 2 [NOSCRIPT LOADING STALE] "6.0.0" => acl_whoami: "Names the user of the connection.";
}}

/// SHUTDOWN's options; `None` is ABORT.
fn parse_shutdown(mut words: Words<'_>) -> Result<Option<Shutdown>, Error> {
    let (mut save, mut nosave, mut abort) = (false, false, false);
    let mut options = Shutdown::default();
    while !words.is_empty() {
        if words.word("nosave") {
            nosave = true;
        } else if words.word("save") {
            save = true;
        } else if words.word("now") {
            options.now = true;
        } else if words.word("force") {
            options.force = true;
        } else if words.word("abort") {
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
    let Some(options) = parse_shutdown(Words::new(args, 1))? else {
        if !env.server.abort_shutdown() {
            return Err(Error::NO_SHUTDOWN);
        }
        env.reply().ok();
        return DONE;
    };
    env.server
        .request_shutdown(options)
        .map_err(|why| Error::text(format!("ERR {why}")))?;
    Ok(Flow::Shutdown(options))
}

fn time(env: &mut Env<'_>, _: Args<'_>) -> Done {
    let micros = env.server.unix_micros();
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
    write(&mut env.reply(), "ACL", help::ACL);
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
            let wanted = Acl::named(&args[2]).ok_or_else(|| Error::acl_category(&args[2]))?;
            env.commands
                .full_names(|spec| spec.categories().has(wanted))
        }
        _ => return Err(Error::unknown_subcommand_or_arity("ACL", &args[1])),
    };
    let mut reply = env.reply();
    reply.array(names.len());
    names.iter().for_each(|name| reply.bulk(name.as_bytes()));
    DONE
}
