//! The connection itself: PING, ECHO, HELLO, AUTH, QUIT, RESET.
//!
//! Owns: greeting and authentication by `requirepass` (the only user is `default`). Never: touches
//! data, so none of these replies waits for anything (T3); they leave in order like all others.

use super::super::env::{Done, Env, Flow, DONE};
use super::super::error::Error;
use super::super::rows::rows;
use super::super::spec::Role;
use super::super::words::Words;
use super::attribute;
use super::replication::is_master;
use base::secret::same;
use config::REDIS_VERSION;
use pubsub::Counts;
use resp::args::Args;
use resp::encode::Proto;
use resp::number::parse_i64;

rows! { pub static ROWS: Connection [CONNECTION] {
    "auth" -2 [NOSCRIPT LOADING STALE FAST NO_AUTH ALLOW_BUSY] "1.0.0" => auth: "Authenticates the connection.";
    "echo" 2 [LOADING STALE FAST] "1.0.0" => echo: "Answers with its argument.";
    "hello" -1 [NOSCRIPT LOADING STALE FAST NO_AUTH ALLOW_BUSY] "6.0.0" => hello: "Greets the server and chooses the protocol version.";
    "ping" -1 [FAST] "1.0.0" => ping: "Tells whether the server answers." .tips(&["request_policy:all_shards", "response_policy:all_succeeded"]).role(Role::Ping);
    "quit" -1 [ALLOW_BUSY NOSCRIPT LOADING STALE FAST NO_AUTH] "1.0.0" => quit: "Closes the connection." .deprecated("7.2.0", "just closing the connection").role(Role::Quit);
    "reset" 1 [NOSCRIPT LOADING STALE FAST NO_AUTH ALLOW_BUSY] "6.2.0" => reset: "Brings the connection back to how it began." .role(Role::Reset);
}}

/// The only user there is.
pub const DEFAULT_USER: &str = "default";

fn ping(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let listens = env.session.only_listens();
    match args.len() {
        1 | 2 if listens => {
            env.reply().array(2);
            env.reply().bulk(b"pong");
            env.reply().bulk(args.get(1).unwrap_or_default());
        }
        1 => env.reply().raw(b"+PONG\r\n"),
        2 => env.reply().bulk(&args[1]),
        _ => return Err(Error::wrong_arity("ping")),
    }
    DONE
}

fn echo(env: &mut Env<'_>, args: Args<'_>) -> Done {
    env.reply().bulk(&args[1]);
    DONE
}

fn quit(env: &mut Env<'_>, _: Args<'_>) -> Done {
    env.reply().ok();
    Ok(Flow::Close)
}

fn reset(env: &mut Env<'_>, _: Args<'_>) -> Done {
    env.session.reset(env.data);
    let own = env.server.own_subscriber();
    env.server.pubsub_mut().remove(own);
    env.session.subscriptions = Counts::default();
    env.session.authenticated = password(env).is_empty();
    env.reply().simple("RESET");
    DONE
}

fn auth(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let (user, given) = match args.len() {
        2 if password(env).is_empty() => return Err(Error::AUTH_WITHOUT_PASSWORD),
        2 => (DEFAULT_USER.as_bytes(), &args[1]),
        3 => (&args[1], &args[2]),
        _ => return Err(Error::SYNTAX),
    };
    authenticate(env, user, given)?;
    env.reply().ok();
    DONE
}

/// The password of the only user; empty: any will do.
fn password<'a>(env: &'a Env<'_>) -> &'a [u8] {
    env.server.config().requirepass.as_bytes()
}

/// A failed attempt leaves the connection as authenticated as it was.
fn authenticate(env: &mut Env<'_>, user: &[u8], given: &[u8]) -> Result<(), Error> {
    let wanted = password(env);
    if user != DEFAULT_USER.as_bytes() || !(wanted.is_empty() || same(wanted, given)) {
        return Err(Error::WRONG_PASS);
    }
    env.session.authenticated = true;
    env.session.user = DEFAULT_USER.to_owned();
    Ok(())
}

/// What HELLO's arguments ask for.
#[derive(Default)]
struct Greeting<'a> {
    proto: Option<Proto>,
    credentials: Option<(&'a [u8], &'a [u8])>,
    name: Option<&'a [u8]>,
}

fn parse_hello(args: Args<'_>) -> Result<Greeting<'_>, Error> {
    let mut greeting = Greeting::default();
    let mut words = Words::new(args, 1);
    if let Some(version) = words.next() {
        greeting.proto = match parse_i64(version).ok_or(Error::PROTOCOL_NOT_AN_INTEGER)? {
            2 => Some(Proto::Resp2),
            3 => Some(Proto::Resp3),
            _ => return Err(Error::NO_PROTO),
        };
    }
    while !words.is_empty() {
        if words.len() > 2 && words.word("auth") {
            greeting.credentials = Some((words.need()?, words.need()?));
        } else if words.len() > 1 && words.word("setname") {
            let name = words.need()?;
            if !attribute::is_valid(name) {
                return Err(Error::CLIENT_NAME);
            }
            greeting.name = Some(name);
        } else {
            return Err(Error::hello_option(words.need()?));
        }
    }
    Ok(greeting)
}

fn hello(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let greeting = parse_hello(args)?;
    if let Some((user, given)) = greeting.credentials {
        authenticate(env, user, given)?;
    }
    if !env.session.authenticated {
        return Err(Error::HELLO_NO_AUTH);
    }
    if let Some(name) = greeting.name {
        env.session.name = name.to_vec();
    }
    if let Some(proto) = greeting.proto {
        env.session.proto = proto;
    }
    let mode: &[u8] = if env.server.config().cluster_enabled {
        b"cluster"
    } else {
        b"standalone"
    };
    let role: &[u8] = if is_master(&env.server.raft_status()) {
        b"master"
    } else {
        b"replica"
    };
    let id = env.session.id;
    let proto = if env.session.proto == Proto::Resp3 {
        3
    } else {
        2
    };
    let mut reply = env.reply();
    reply.map(7);
    let mut pair = |name: &[u8], value: &[u8]| {
        reply.bulk(name);
        reply.bulk(value);
    };
    pair(b"server", b"redis");
    pair(b"version", REDIS_VERSION.as_bytes());
    reply.bulk(b"proto");
    reply.int(proto);
    reply.bulk(b"id");
    reply.int(id as i64);
    let mut pair = |name: &[u8], value: &[u8]| {
        reply.bulk(name);
        reply.bulk(value);
    };
    pair(b"mode", mode);
    pair(b"role", role);
    reply.bulk(b"modules");
    reply.array(0);
    DONE
}
