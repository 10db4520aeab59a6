//! CLIENT: the table rows, and the subcommands about the own connection.
//!
//! Owns: names, library, reply mode and the two eviction switches of a session. Never: touches
//! another connection (`client_list` describes and kills).

use super::super::env::{Done, Env, DONE};
use super::super::error::Error;
use super::super::session::ReplyMode;
use super::super::spec::{flags, Acl, Flags, Group, Spec};
use super::client_list::{info, kill, list, unblock};
use super::{attribute, help, no_subcommand};
use crate::resp::args::Args;

pub const CLIENT: Spec = Spec::new("client", -2, Flags::NONE, Group::Connection, no_subcommand)
    .since("2.4.0")
    .summary("Groups the commands about client connections.")
    .subcommands(SUBCOMMANDS);

const PLAIN: Flags = flags![NOSCRIPT, LOADING, STALE];
const ADMIN: Flags = flags![ADMIN, NOSCRIPT, LOADING, STALE];
const TO_ALL_NODES: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];

static SUBCOMMANDS: &[Spec] = &[
    Spec::sub("client|getname", 2, PLAIN, Group::Connection, getname)
        .acl(Acl::CONNECTION)
        .since("2.6.9")
        .summary("Names the connection, if it has a name."),
    Spec::sub(
        "client|help",
        2,
        flags![LOADING, STALE],
        Group::Connection,
        print_help,
    )
    .acl(Acl::CONNECTION)
    .since("5.0.0")
    .summary("Lists the subcommands."),
    Spec::sub("client|id", 2, PLAIN, Group::Connection, id)
        .acl(Acl::CONNECTION)
        .since("5.0.0")
        .summary("Answers with the id of the connection."),
    Spec::sub("client|info", 2, PLAIN, Group::Connection, info)
        .acl(Acl::CONNECTION)
        .since("6.2.0")
        .summary("Describes the connection.")
        .tips(&["nondeterministic_output"]),
    Spec::sub("client|kill", -3, ADMIN, Group::Connection, kill)
        .acl(Acl::CONNECTION)
        .since("2.4.0")
        .summary("Closes connections."),
    Spec::sub("client|list", -2, ADMIN, Group::Connection, list)
        .acl(Acl::CONNECTION)
        .since("2.4.0")
        .summary("Describes the open connections.")
        .tips(&["nondeterministic_output"]),
    Spec::sub("client|no-evict", 3, ADMIN, Group::Connection, no_evict)
        .acl(Acl::CONNECTION)
        .since("7.0.0")
        .summary("Protects the connection from client eviction."),
    Spec::sub("client|no-touch", 3, PLAIN, Group::Connection, no_touch)
        .acl(Acl::CONNECTION)
        .since("7.2.0")
        .summary("Keeps the connection's commands from counting as use of their keys."),
    Spec::sub("client|reply", 3, PLAIN, Group::Connection, reply_mode)
        .acl(Acl::CONNECTION)
        .since("3.2.0")
        .summary("Chooses whether the connection gets replies."),
    Spec::sub("client|setinfo", 4, PLAIN, Group::Connection, setinfo)
        .acl(Acl::CONNECTION)
        .since("7.2.0")
        .summary("Tells the server what library the client uses.")
        .tips(TO_ALL_NODES),
    Spec::sub("client|setname", 3, PLAIN, Group::Connection, setname)
        .acl(Acl::CONNECTION)
        .since("2.6.9")
        .summary("Names the connection.")
        .tips(TO_ALL_NODES),
    Spec::sub("client|unblock", -3, ADMIN, Group::Connection, unblock)
        .acl(Acl::CONNECTION)
        .since("5.0.0")
        .summary("Ends the blocking command of another connection."),
];

fn print_help(env: &mut Env<'_>, _: Args<'_>) -> Done {
    help::write(&mut env.reply(), "CLIENT", help::CLIENT);
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
