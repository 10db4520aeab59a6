//! CLIENT INFO, LIST and KILL: what is said of connections, and how they are chosen.
//!
//! Owns: the line format of CLIENT LIST. Never: closes a socket (the host does; the own connection
//! is closed after its reply).

use super::super::env::{Done, Env, Flow, DONE};
use super::super::error::Error;
use super::super::host::{ClientKind, IoView, KillFilter, Unblock};
use super::super::session::Session;
use super::connection::DEFAULT_USER;
use crate::clock::Now;
use crate::resp::args::Args;
use crate::resp::encode::Proto;
use crate::resp::number::parse_i64;
use std::io::Write;

fn kind(word: &[u8]) -> Result<ClientKind, Error> {
    let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
    if is(b"normal") {
        Ok(ClientKind::Normal)
    } else if is(b"pubsub") {
        Ok(ClientKind::Pubsub)
    } else if is(b"slave") || is(b"replica") || is(b"master") {
        Ok(ClientKind::Other)
    } else {
        Err(Error::client_type(word))
    }
}

/// Writes the line of one client, without line end.
fn describe(out: &mut Vec<u8>, session: &Session, io: &IoView, argv_bytes: usize, now: Now) {
    let s = session;
    let mut text = |part: std::fmt::Arguments<'_>| {
        out.write_fmt(part)
            .expect("writing into memory does not fail");
    };
    text(format_args!(
        "id={} addr={} laddr={} fd={} name=",
        s.id, s.endpoint.addr, s.endpoint.laddr, s.endpoint.fd
    ));
    out.extend_from_slice(&s.name);
    let mut text = |part: std::fmt::Arguments<'_>| {
        out.write_fmt(part)
            .expect("writing into memory does not fail");
    };
    let multi = if s.transaction.open {
        s.transaction.queue.len() as i64
    } else {
        -1
    };
    text(format_args!(
        " age={} idle={} flags={} db={} sub={} psub={} ssub={} multi={multi} watch={}",
        now.mono.since(s.created).as_secs(),
        now.mono.since(s.last_command_at).as_secs(),
        flags(s, io),
        s.db,
        s.subscriptions.channels,
        s.subscriptions.patterns,
        s.subscriptions.shard,
        s.watches.len()
    ));
    text(format_args!(
        " qbuf={} qbuf-free={} argv-mem={argv_bytes} multi-mem={} rbs={} rbp={} obl={} oll=0 omem={} \
         tot-mem={} events={} cmd={} user={} redir=-1 resp={} lib-name=",
        io.query_buffer,
        io.query_buffer_free,
        s.transaction.queued_bytes,
        io.output_bytes,
        io.output_bytes,
        io.output_bytes,
        io.output_bytes,
        io.total_memory,
        if io.output_bytes > 0 { "rw" } else { "r" },
        s.last_command.map_or("NULL", |command| command.spec.full_name),
        s.user,
        if s.proto == Proto::Resp3 { 3 } else { 2 },
    ));
    out.extend_from_slice(&s.lib_name);
    out.extend_from_slice(b" lib-ver=");
    out.extend_from_slice(&s.lib_ver);
}

/// One letter for each state the client is in, in Redis's order; `N` for none.
fn flags(session: &Session, io: &IoView) -> String {
    let letters = [
        (session.subscriptions.any(), 'P'),
        (session.transaction.open, 'x'),
        (io.blocked, 'b'),
        (io.closing, 'c'),
        (session.endpoint.unix, 'U'),
        (session.readonly, 'r'),
        (session.no_evict, 'e'),
        (session.no_touch, 'T'),
    ];
    let set: String = letters
        .iter()
        .filter(|(on, _)| *on)
        .map(|(_, letter)| *letter)
        .collect();
    if set.is_empty() {
        "N".to_owned()
    } else {
        set
    }
}

/// The running client's line; INFO and LIST are what it is running.
fn describe_own(env: &Env<'_>, args: Args<'_>) -> Vec<u8> {
    let mut line = Vec::with_capacity(320);
    let argv_bytes = args.iter().map(<[u8]>::len).sum();
    describe(
        &mut line,
        env.session,
        &env.host.own_io(),
        argv_bytes,
        env.now,
    );
    line
}

pub fn info(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let mut line = describe_own(env, args);
    line.push(b'\n');
    env.reply().verbatim("txt", &line);
    DONE
}

/// What CLIENT LIST was asked for.
enum Choice {
    All,
    Kind(ClientKind),
    Ids(Vec<i64>),
}

fn parse_choice(args: Args<'_>) -> Result<Choice, Error> {
    match args.len() {
        2 => Ok(Choice::All),
        4 if args[2].eq_ignore_ascii_case(b"type") => Ok(Choice::Kind(kind(&args[3])?)),
        4.. if args[2].eq_ignore_ascii_case(b"id") => {
            let ids: Option<Vec<i64>> = args.iter().skip(3).map(parse_i64).collect();
            Ok(Choice::Ids(ids.ok_or(Error::INVALID_CLIENT_ID)?))
        }
        _ => Err(Error::SYNTAX),
    }
}

pub fn list(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let choice = parse_choice(args)?;
    let wanted = |session: &Session| match &choice {
        Choice::All => true,
        Choice::Kind(kind) => ClientKind::of(session) == *kind,
        Choice::Ids(ids) => ids.contains(&(session.id as i64)),
    };
    let mut lines = Vec::new();
    if wanted(env.session) {
        lines.push((env.session.id, describe_own(env, args)));
    }
    let now = env.now;
    env.host.for_each_client(&mut |client| {
        if wanted(client.session) {
            let mut line = Vec::with_capacity(320);
            describe(&mut line, client.session, &client.io, 0, now);
            lines.push((client.session.id, line));
        }
    });
    lines.sort_unstable_by_key(|(id, _)| *id);
    let mut text = Vec::with_capacity(lines.len() * 320);
    let mut add = |line: &[u8]| {
        text.extend_from_slice(line);
        text.push(b'\n');
    };
    match &choice {
        // In the order asked for, repetitions included.
        Choice::Ids(ids) => {
            for id in ids {
                if let Ok(at) = lines.binary_search_by_key(&(*id as u64), |(id, _)| *id) {
                    add(&lines[at].1);
                }
            }
        }
        Choice::All | Choice::Kind(_) => lines.iter().for_each(|(_, line)| add(line)),
    }
    env.reply().verbatim("txt", &text);
    DONE
}

/// The filters of the new form, and whether the own connection is spared.
fn parse_kill(args: Args<'_>) -> Result<(KillFilter, bool), Error> {
    let mut filter = KillFilter::default();
    let mut skip_me = true;
    let mut i = 2;
    while i < args.len() {
        let (option, value) = (&args[i], args.get(i + 1).ok_or(Error::SYNTAX)?);
        let is = |name: &[u8]| option.eq_ignore_ascii_case(name);
        let text = || String::from_utf8_lossy(value).into_owned();
        if is(b"id") {
            let id = parse_i64(value)
                .filter(|id| *id > 0)
                .ok_or(Error::CLIENT_ID_RANGE)?;
            filter.id = Some(id.unsigned_abs());
        } else if is(b"maxage") {
            let age = parse_i64(value).ok_or(Error::MAX_AGE_NOT_AN_INTEGER)?;
            if age <= 0 {
                return Err(Error::MAX_AGE_RANGE);
            }
            filter.min_age_secs = Some(age.unsigned_abs());
        } else if is(b"type") {
            filter.kind = Some(kind(value)?);
        } else if is(b"addr") {
            filter.addr = Some(text());
        } else if is(b"laddr") {
            filter.laddr = Some(text());
        } else if is(b"user") {
            if value != DEFAULT_USER.as_bytes() {
                return Err(Error::no_such_user(value));
            }
            filter.user = Some(text());
        } else if is(b"skipme") && value.eq_ignore_ascii_case(b"yes") {
            skip_me = true;
        } else if is(b"skipme") && value.eq_ignore_ascii_case(b"no") {
            skip_me = false;
        } else {
            return Err(Error::SYNTAX);
        }
        i += 2;
    }
    Ok((filter, skip_me))
}

pub fn unblock(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let how = match args.get(3) {
        _ if args.len() > 4 => {
            return Err(Error::unknown_subcommand_or_arity("CLIENT", &args[1]));
        }
        None => Unblock::Timeout,
        Some(how) if how.eq_ignore_ascii_case(b"timeout") => Unblock::Timeout,
        Some(how) if how.eq_ignore_ascii_case(b"error") => Unblock::Error,
        Some(_) => return Err(Error::UNBLOCK_REASON),
    };
    let id = parse_i64(&args[2]).ok_or(Error::NOT_AN_INTEGER)?;
    let ended = u64::try_from(id).is_ok_and(|id| env.host.unblock(id, how));
    env.reply().int(ended.into());
    DONE
}

pub fn kill(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let old_form = args.len() == 3;
    let (filter, skip_me) = if old_form {
        let addr = Some(String::from_utf8_lossy(&args[2]).into_owned());
        // The old form may kill the client that sends it.
        (
            KillFilter {
                addr,
                ..KillFilter::default()
            },
            false,
        )
    } else {
        parse_kill(args)?
    };
    let kill_me = !skip_me && filter.matches(env.session, env.now);
    let killed = env.host.kill_clients(&filter) + usize::from(kill_me);
    if !old_form {
        env.reply().int(killed as i64);
    } else if killed == 0 {
        return Err(Error::NO_SUCH_CLIENT);
    } else {
        env.reply().ok();
    }
    Ok(if kill_me { Flow::Close } else { Flow::Done })
}
