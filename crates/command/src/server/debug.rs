//! DEBUG: what tests need.
//!
//! Owns: SLEEP, DIGEST, DIGEST-VALUE, SET-ACTIVE-EXPIRE, PAUSE-CRON, POPULATE, ERROR, LOG, PROTOCOL,
//! DROP-CLUSTER-PACKET-FILTER; what RELOAD and LOADAOF refuse (the host does them). `debug_value` has what looks at one value.
//! Never: crashes the server on request. T9: what runs long here breathes.

use super::super::digest::{Digest, KeysDigest};
use super::super::env::{Block, BlockKind, Done, Env, Flow, Serving, DONE};
use super::super::error::Error;
use super::super::help::write;
use super::super::pace::Pace;
use super::super::room;
use super::super::rows::rows;
use super::debug_look::{held, may_look, serves};
use super::debug_value;
use super::help;
use keyspace::Ttl;
use resp::args::Args;
use resp::encode::Reply;
use resp::number::parse_i64;
use std::ops::ControlFlow;
use std::time::Duration;

rows! { pub static ROWS: Server [] {
    "debug" -2 [ADMIN NOSCRIPT LOADING STALE PROTECTED] "1.0.0" => debug: "For tests: sleeps, digests, fills, reloads." .amplifies(populated);
}}

/// T9: how long a command may run without answering heartbeats.
const BREATH: Duration = Duration::from_millis(5);
/// The longest DEBUG SLEEP, so that no arithmetic on times can overflow.
const MAX_SLEEP_SECS: f64 = 1e9;

fn debug(env: &mut Env<'_>, args: Args<'_>) -> Done {
    if !env
        .server
        .config()
        .enable_debug_command
        .allows(env.session.endpoint.loopback)
    {
        return Err(Error::DEBUG_NOT_ALLOWED);
    }
    let is = |name: &str| args[1].eq_ignore_ascii_case(name.as_bytes());
    match args.len() {
        2 if is("help") => write(&mut env.reply(), "DEBUG", help::DEBUG),
        2 if is("digest") => return digest(env),
        2.. if is("digest-value") => return digest_value(env, args),
        3 if is("sleep") => sleep(env, &args[2]),
        3 if is("set-active-expire") => {
            env.server
                .set_active_expire(leading_number(&args[2]) != 0.0);
            env.reply().ok();
        }
        3 if is("pause-cron") => {
            env.server
                .pause_cron(leading_number(&args[2]).trunc() != 0.0);
            env.reply().ok();
        }
        2.. if is("reload") => return reload(env, args),
        2 if is("loadaof") => return begin_reload(env, false),
        3..=5 if is("populate") => return populate(env, args),
        3 if is("object") => return debug_value::object(env, args),
        3 if is("listpack") => return debug_value::listpack(env, args),
        3 if is("quicklist-packed-threshold") => return debug_value::plain_elements(env, &args[2]),
        3 if is("error") => return Err(Error::bytes(args[2].to_vec())),
        3 if is("log") => {
            env.server
                .log(&format!("DEBUG LOG: {}", String::from_utf8_lossy(&args[2])));
            env.reply().ok();
        }
        3 if is("drop-cluster-packet-filter") => {
            let kind = leading_number(&args[2]);
            let kind = (kind >= 0.0).then_some(kind as usize);
            if let Some(cluster) = env.server.cluster() {
                cluster.drop_packets(kind);
            }
            env.reply().ok();
        }
        3 if is("protocol") => protocol(&mut env.reply(), &args[2])?,
        _ => return Err(Error::unknown_subcommand_or_arity("DEBUG", &args[1])),
    }
    DONE
}

/// The number that a text begins with, as C's strtod would see it; 0 if it begins with none.
fn leading_number(text: &[u8]) -> f64 {
    let text = String::from_utf8_lossy(text);
    let text = text.trim_start();
    let mut ends = text.char_indices().map(|(at, c)| at + c.len_utf8()).rev();
    ends.find_map(|end| text[..end].parse().ok())
        .filter(|n: &f64| !n.is_nan())
        .unwrap_or(0.0)
}

fn sleep(env: &mut Env<'_>, seconds: &[u8]) {
    let seconds = leading_number(seconds).clamp(0.0, MAX_SLEEP_SECS);
    let end = env.server.now().mono + Duration::from_secs_f64(seconds);
    loop {
        let left = end.since(env.server.now().mono);
        if left.is_zero() {
            break;
        }
        env.server.rest(left.min(BREATH));
        env.server.breathe(); // T9
    }
    env.reply().ok();
}

fn reload(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let (mut saves, mut adds) = (true, false);
    for option in args.iter().skip(2) {
        let is = |name: &str| option.eq_ignore_ascii_case(name.as_bytes());
        if is("nosave") {
            saves = false;
        } else if is("merge") || is("noflush") {
            adds = true;
        } else {
            return Err(Error::RELOAD_OPTIONS);
        }
    }
    match adds {
        true => Err(Error::RELOAD_ADDS_NOTHING),
        false => begin_reload(env, saves),
    }
}

/// Redis stands still meanwhile; here the client alone does, until other clients are told LOADING.
fn begin_reload(env: &mut Env<'_>, saves: bool) -> Done {
    if matches!(env.serving, Serving::Loading { .. }) {
        return Err(Error::LOADING);
    }
    if env.session.deny_blocking {
        return Err(Error::RELOAD_IN_EXEC);
    }
    if !env.server.order_reload(saves) {
        return Err(Error::RELOAD_UNDER_WAY);
    }
    Ok(Flow::Block(Block {
        kind: BlockKind::Reload,
        timeout: None,
    }))
}

fn digest(env: &mut Env<'_>) -> Done {
    if !may_look(env)? {
        return held(env);
    }
    env.data.depends_on_all();
    let (data, server, mut pace) = (&*env.data, &mut *env.server, Pace::default()); // T9
    let mut keys = KeysDigest::default();
    for db in 0..data.keyspace().databases() {
        data.keyspace().for_each(db, &mut |entry| {
            let shown = (entry.value(), entry.expiry().is_some());
            let pace = &mut |bytes| pace.step(server, bytes);
            keys.add(db, entry.key(), shown, pace);
            ControlFlow::Continue(())
        });
    }
    env.reply().simple(&keys.all().hex());
    DONE
}

fn digest_value(env: &mut Env<'_>, args: Args<'_>) -> Done {
    if !may_look(env)? {
        return held(env);
    }
    env.data.depends_on_all();
    env.reply().array(args.len() - 2);
    for name in args.iter().skip(2) {
        let key = env.data.key(name);
        let (server, mut pace) = (&mut *env.server, Pace::default()); // T9
        let entry = env.data.keyspace().get(env.session.db, &key);
        let digest =
            entry.map(|entry| Digest::of_value(&entry, &mut |bytes| pace.step(server, bytes)));
        let digest = digest.unwrap_or_default();
        env.reply().simple(&digest.hex());
    }
    DONE
}

/// What POPULATE was asked for.
struct Filling<'a> {
    count: i64,
    prefix: &'a [u8],
    size: Option<usize>,
}

impl Filling<'_> {
    /// D5: what it may put into the log, with the deletion of keys of these names that have expired.
    fn effects(&self) -> usize {
        let digits = self.count.max(1).ilog10() as usize + 1;
        let key = self.prefix.len() + 1 + digits + room::DELETION;
        let value = self.size.unwrap_or(b"value:".len() + digits) + room::DELETION;
        let one = key.saturating_mul(2).saturating_add(value);
        let all = one.saturating_mul(usize::try_from(self.count).unwrap_or(usize::MAX));
        all.saturating_add(room::headers(all))
            .saturating_add(room::COMMAND)
    }
}

/// D5: what DEBUG POPULATE writes, of which its arguments say little.
fn populated(args: Args<'_>) -> usize {
    if !args
        .get(1)
        .is_some_and(|name| name.eq_ignore_ascii_case(b"populate"))
    {
        return 0;
    }
    parse_populate(args).map_or(0, |filling| filling.effects())
}

fn parse_populate(args: Args<'_>) -> Result<Filling<'_>, Error> {
    let number = |at: usize| match args.get(at) {
        Some(text) => parse_i64(text)
            .filter(|n| *n >= 0)
            .ok_or(Error::NOT_POSITIVE)
            .map(Some),
        None => Ok(None),
    };
    let count = number(2)?.expect("the dispatch on the number of arguments saw it");
    let prefix = args.get(3).unwrap_or(b"key");
    // 0 means: as long as the text is.
    let size = number(4)?
        .filter(|size| *size > 0)
        .map(|size| size as usize);
    Ok(Filling {
        count,
        prefix,
        size,
    })
}

/// Unlike Redis's, these writes are logged like all others, or members would differ.
fn populate(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let filling = parse_populate(args)?;
    if filling
        .size
        .is_some_and(|size| size > env.server.config().proto_max_bulk_len)
    {
        return Err(Error::STRING_TOO_LONG);
    }
    match env.serving {
        Serving::Lead { writable: true } => {}
        Serving::Lead { writable: false } | Serving::Hold => return held(env),
        Serving::Redirect { .. } | Serving::Down => return Err(Error::READ_ONLY_REPLICA),
        Serving::Loading { .. } => return Err(Error::LOADING),
    }
    // D5: they are one unit.
    let bytes = filling.effects();
    if bytes > room::MOST {
        return Err(Error::DISK_FULL);
    }
    if !env.data.room_for(bytes) {
        return Ok(Flow::Hold);
    }
    let mut pace = Pace::default(); // T9
    let mut name = Vec::new();
    for n in 0..filling.count {
        name.clear();
        name.extend_from_slice(filling.prefix);
        name.push(b':');
        name.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
        let key = env.data.key(&name);
        // S1: DEBUG names no keys, so no check of slots has stood before it.
        // M10: nor does it make keys in a migrating slot, or in the place of one that is lent.
        let moves = env.data.is_in_motion(key.slot) || env.data.frozen(&name).is_some();
        if moves || !serves(env, key.slot) || env.data.exists(&key) {
            continue;
        }
        let mut value = format!("value:{n}").into_bytes();
        if let Some(size) = filling.size {
            value.resize(size, 0);
        }
        env.data.set(&key, &value, Ttl::Clear);
        pace.step(env.server, name.len() + value.len());
    }
    env.reply().ok();
    DONE
}

/// What Redis sends: 3.141, which is not meant to be pi.
const SAMPLE_DOUBLE: f64 = 3141.0 / 1000.0;

/// One value of each type of the protocol, for the tests of client libraries.
fn protocol(reply: &mut Reply<'_>, kind: &[u8]) -> Result<(), Error> {
    match kind.to_ascii_lowercase().as_slice() {
        b"string" => reply.bulk(b"Hello World"),
        b"integer" => reply.int(12_345),
        b"double" => reply.double(SAMPLE_DOUBLE),
        b"null" => reply.null(),
        b"array" => {
            reply.array(3);
            (0..3).for_each(|n| reply.int(n));
        }
        b"set" => {
            reply.set(3);
            (0..3).for_each(|n| reply.int(n));
        }
        b"map" => {
            reply.map(3);
            for n in 0..3 {
                reply.int(n);
                reply.boolean(n == 1);
            }
        }
        b"attrib" => attribute(reply),
        b"push" => push(reply)?,
        b"bignum" => reply.big_number("1234567999999999999999999999999999999"),
        b"true" => reply.boolean(true),
        b"false" => reply.boolean(false),
        b"verbatim" => reply.verbatim("txt", b"This is a verbatim\nstring"),
        _ => return Err(Error::PROTOCOL_TYPE),
    }
    Ok(())
}

/// RESP2 has no attributes: only the reply itself is left.
fn attribute(reply: &mut Reply<'_>) {
    if reply.is_resp3() {
        reply.raw(b"|1\r\n");
        reply.bulk(b"key-popularity");
        reply.array(2);
        reply.bulk(b"key:123");
        reply.int(90);
    }
    reply.bulk(b"Some real reply following the attribute");
}

fn push(reply: &mut Reply<'_>) -> Result<(), Error> {
    if !reply.is_resp3() {
        return Err(Error::RESP2_NOT_SUPPORTED);
    }
    reply.bulk(b"Some real reply following the push reply");
    reply.push(2);
    reply.bulk(b"server-cpu-usage");
    reply.int(42);
    Ok(())
}
