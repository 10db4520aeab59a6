//! CLIENT: the table rows, and the subcommands about the own connection.
//!
//! Owns: names, library, reply mode and the two eviction switches of a session. Never: touches
//! another connection (`client_list` describes and kills).

use super::super::env::{Done, Env, DONE};
use super::super::error::Error;
use super::super::help::write;
use super::super::rows::{no_subcommand, rows};
use super::super::session::ReplyMode;
use super::client_list::{info, kill, list, unblock};
use super::{attribute, help};
use resp::args::Args;

const VARIES: &[&str] = &["nondeterministic_output"];
const TO_ALL_NODES: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];

rows! { pub static ROWS: Connection [] {
    "client" -2 [] "2.4.0" => no_subcommand [SUBCOMMANDS]: "Groups the commands about client connections.";
}}

rows! { static SUBCOMMANDS: Connection [CONNECTION] {
    "client|getname" 2 [NOSCRIPT LOADING STALE] "2.6.9" => getname: "Names the connection, if it has a name.";
    "client|help" 2 [LOADING STALE] "5.0.0" => print_help: "Lists the subcommands.";
    "client|id" 2 [NOSCRIPT LOADING STALE] "5.0.0" => id: "Answers with the id of the connection.";
    "client|info" 2 [NOSCRIPT LOADING STALE] "6.2.0" => info: "Describes the connection." .tips(VARIES);
    "client|kill" -3 [ADMIN NOSCRIPT LOADING STALE] "2.4.0" => kill: "Closes connections.";
    "client|list" -2 [ADMIN NOSCRIPT LOADING STALE] "2.4.0" => list: "Describes the open connections." .tips(VARIES);
    "client|no-evict" 3 [ADMIN NOSCRIPT LOADING STALE] "7.0.0" => no_evict: "Protects the connection from client eviction.";
    "client|no-touch" 3 [NOSCRIPT LOADING STALE] "7.2.0" => no_touch: "Keeps the connection's commands from counting as use of their keys.";
    "client|reply" 3 [NOSCRIPT LOADING STALE] "3.2.0" => reply_mode: "Chooses whether the connection gets replies.";
    "client|setinfo" 4 [NOSCRIPT LOADING STALE] "7.2.0" => setinfo: "Tells the server what library the client uses." .tips(TO_ALL_NODES);
    "client|setname" 3 [NOSCRIPT LOADING STALE] "2.6.9" => setname: "Names the connection." .tips(TO_ALL_NODES);
    "client|unblock" -3 [ADMIN NOSCRIPT LOADING STALE] "5.0.0" => unblock: "Ends the blocking command of another connection.";
}}

fn print_help(env: &mut Env<'_>, _: Args<'_>) -> Done {
    write(&mut env.reply(), "CLIENT", help::CLIENT);
    DONE
}

fn id(env: &mut Env<'_>, _: Args<'_>) -> Done {
    let id = env.session.id;
    env.reply().int(id as i64);
    DONE
}

fn getname(env: &mut Env<'_>, _: Args<'_>) -> Done {
    let name = env.session.name.clone();
    if name.is_empty() {
        env.reply().null();
    } else {
        env.reply().bulk(&name);
    }
    DONE
}

fn setname(env: &mut Env<'_>, args: Args<'_>) -> Done {
    if !attribute::is_valid(&args[2]) {
        return Err(Error::CLIENT_NAME);
    }
    env.session.name = args[2].to_vec();
    env.reply().ok();
    DONE
}

fn setinfo(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let (attribute, value) = (&args[2], &args[3]);
    let place = if attribute.eq_ignore_ascii_case(b"lib-name") {
        &mut env.session.lib_name
    } else if attribute.eq_ignore_ascii_case(b"lib-ver") {
        &mut env.session.lib_ver
    } else {
        return Err(Error::client_attribute_unknown(attribute));
    };
    if !attribute::is_valid(value) {
        return Err(Error::client_attribute_value(attribute));
    }
    *place = value.to_vec();
    env.reply().ok();
    DONE
}

/// OFF and SKIP have no reply; the dispatcher drops those of the commands that follow.
fn reply_mode(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let mode = &args[2];
    if mode.eq_ignore_ascii_case(b"on") {
        env.session.reply_mode = ReplyMode::On;
        env.reply().ok();
    } else if mode.eq_ignore_ascii_case(b"off") {
        env.session.reply_mode = ReplyMode::Off;
    } else if !mode.eq_ignore_ascii_case(b"skip") {
        return Err(Error::SYNTAX);
    } else if env.session.reply_mode != ReplyMode::Off {
        env.session.reply_mode = ReplyMode::SkipNext;
    }
    DONE
}

fn on_off(word: &[u8]) -> Result<bool, Error> {
    if word.eq_ignore_ascii_case(b"on") {
        Ok(true)
    } else if word.eq_ignore_ascii_case(b"off") {
        Ok(false)
    } else {
        Err(Error::SYNTAX)
    }
}

fn no_evict(env: &mut Env<'_>, args: Args<'_>) -> Done {
    env.session.no_evict = on_off(&args[2])?;
    env.reply().ok();
    DONE
}

fn no_touch(env: &mut Env<'_>, args: Args<'_>) -> Done {
    env.session.no_touch = on_off(&args[2])?;
    env.reply().ok();
    DONE
}
