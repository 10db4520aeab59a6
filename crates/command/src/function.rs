//! FUNCTION, as far as there are no libraries: nothing here runs functions yet.
//!
//! Owns: what tools ask of the libraries of a server (`redis-cli --cluster add-node` compares and copies them),
//! answered for none. Never: takes a library: one that was lost without a word would be worse than an error.

use super::env::{Done, Env, DONE};
use super::error::Error;
use super::help::write;
use super::rows::{no_subcommand, rows};
use super::words::Words;
use resp::args::Args;

const EVERY_SHARD: &[&str] = &["request_policy:all_shards", "response_policy:all_succeeded"];
const ONE_SHARD: &[&str] = &["request_policy:all_shards", "response_policy:one_succeeded"];
const UNORDERED: &[&str] = &["nondeterministic_output_order"];
const OWN_ANSWER: &[&str] = &[
    "nondeterministic_output",
    "request_policy:all_shards",
    "response_policy:special",
];

rows! { pub static ROWS: Scripting [] {
    "function" -2 [] "7.0.0" => no_subcommand [SUBCOMMANDS]: "Groups the commands about functions.";
}}

rows! { static SUBCOMMANDS: Scripting [SCRIPTING] {
    "function|delete" 3 [WRITE NOSCRIPT] "7.0.0" => delete: "Deletes a library." .tips(EVERY_SHARD);
    "function|dump" 2 [NOSCRIPT] "7.0.0" => dump: "All libraries in the form that `FUNCTION RESTORE` takes.";
    "function|flush" -2 [WRITE NOSCRIPT] "7.0.0" => flush: "Deletes all libraries." .tips(EVERY_SHARD);
    "function|help" 2 [LOADING STALE] "7.0.0" => help: "Lists the subcommands.";
    "function|kill" 2 [NOSCRIPT ALLOW_BUSY] "7.0.0" => kill: "Ends the function that is running." .tips(ONE_SHARD);
    "function|list" -2 [NOSCRIPT] "7.0.0" => list: "The libraries." .tips(UNORDERED);
    "function|restore" -3 [WRITE DENYOOM NOSCRIPT] "7.0.0" => restore: "Takes what `FUNCTION DUMP` returned; only that of no libraries, so far." .tips(EVERY_SHARD);
    "function|stats" 2 [NOSCRIPT ALLOW_BUSY] "7.0.0" => stats: "The function that is running, and the engines." .tips(OWN_ANSWER);
}}

const HELP: &[&str] = &[
    "DELETE <LIBRARY NAME>",
    "    Delete this library.",
    "DUMP",
    "    All libraries as one payload, for FUNCTION RESTORE.",
    "FLUSH [ASYNC|SYNC]",
    "    Delete all libraries. Memory is always freed later.",
    "KILL",
    "    End the function that is running.",
    "LIST [LIBRARYNAME PATTERN] [WITHCODE]",
    "    The libraries, or those whose names match.",
    "RESTORE <PAYLOAD> [FLUSH|APPEND|REPLACE]",
    "    Take the libraries of a payload. So far only that of none is taken.",
    "STATS",
    "    The function that is running, and what each engine has.",
];

fn help(env: &mut Env<'_>, _: Args<'_>) -> Done {
    write(&mut env.reply(), "FUNCTION", HELP);
    DONE
}

fn delete(_: &mut Env<'_>, _: Args<'_>) -> Done {
    Err(Error::NO_LIBRARY)
}

fn dump(env: &mut Env<'_>, _: Args<'_>) -> Done {
    env.reply().bulk(&rdb::payload::of_nothing());
    DONE
}

fn flush(env: &mut Env<'_>, args: Args<'_>) -> Done {
    if args.len() > 3 {
        return Err(Error::unknown_subcommand_or_arity("FUNCTION", args.at(1)));
    }
    let mut words = Words::new(args, 2);
    if !words.is_empty() && !words.word("sync") && !words.word("async") {
        return Err(Error::FUNCTION_FLUSH);
    }
    env.reply().ok();
    DONE
}

fn kill(_: &mut Env<'_>, _: Args<'_>) -> Done {
    Err(Error::NO_SCRIPT_RUNS)
}

fn list(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let mut words = Words::new(args, 2);
    let (mut code, mut named) = (false, false);
    while !words.is_empty() {
        if !code && words.word("withcode") {
            code = true;
        } else if !named && words.word("libraryname") {
            words.next().ok_or(Error::NO_LIBRARY_NAME)?;
            named = true;
        } else {
            let word = words.next().expect("there is one");
            return Err(Error::unknown_argument(word));
        }
    }
    env.reply().array(0);
    DONE
}

fn restore(env: &mut Env<'_>, args: Args<'_>) -> Done {
    if args.len() > 4 {
        return Err(Error::unknown_subcommand_or_arity("FUNCTION", args.at(1)));
    }
    let mut words = Words::new(args, 3);
    let policies = ["append", "replace", "flush"];
    if !words.is_empty() && !policies.into_iter().any(|policy| words.word(policy)) {
        return Err(Error::RESTORE_POLICY);
    }
    let breathe = &mut || env.server.breathe(); // T9
    let libraries = rdb::payload::body(args.at(2), breathe).map_err(|_| Error::DUMP_FOOTER)?;
    match libraries.first() {
        None => {}
        Some(&rdb::payload::LIBRARY) => return Err(Error::NO_FUNCTIONS_YET),
        Some(&rdb::payload::OLD_LIBRARY) => return Err(Error::OLD_FUNCTIONS),
        Some(_) => return Err(Error::NOT_A_FUNCTION),
    }
    env.reply().ok();
    DONE
}

fn stats(env: &mut Env<'_>, _: Args<'_>) -> Done {
    let mut reply = env.reply();
    reply.map(2);
    reply.bulk(b"running_script");
    reply.null();
    reply.bulk(b"engines");
    reply.map(1);
    reply.bulk(b"LUA");
    reply.map(2);
    for what in ["libraries_count", "functions_count"] {
        reply.bulk(what.as_bytes());
        reply.int(0);
    }
    DONE
}
