//! CLIENT INFO, LIST and KILL: what is said of connections, and how they are chosen.
//!
//! Owns: the line format of CLIENT LIST. Never: closes a socket (the host does; the own connection
//! is closed after its reply).

use super::super::api::{ClientKind, IoView, KillFilter, Unblock};
use super::super::env::{Commands, Done, Env, Flow, DONE};
use super::super::error::Error;
use super::super::session::Session;
use super::super::words::Words;
use super::connection::DEFAULT_USER;
use base::clock::Now;
use resp::args::Args;
use resp::encode::Proto;
use resp::number::parse_i64;
use std::io::Write;

fn kind(word: &[u8]) -> Result<ClientKind, Error> {
    let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
    if is(b"normal") {
        Ok(ClientKind::Normal)
    } else if is(b"pubsub") {
        Ok(ClientKind::Pubsub)
    } else if is(b"slave") || is(b"replica") {
        Ok(ClientKind::Replica)
    } else if is(b"master") {
        Ok(ClientKind::Master)
    } else {
        Err(Error::client_type(word))
    }
}

/// Writes the line of one client, without line end.
fn describe(
    out: &mut Vec<u8>,
    commands: &Commands,
    (session, io): (&Session, &IoView),
    argv_bytes: usize,
    now: Now,
) {
    let s = session;
    let name = |id| commands.command(id).spec.full_name;
    let command = s.last_command.map_or("NULL", name);
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
        command,
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
        (session.downloads(), 'S'),
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
        env.commands,
        (env.session, &env.server.own_io()),
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

fn parse_choice(mut words: Words<'_>) -> Result<Choice, Error> {
    match words.len() {
        0 => Ok(Choice::All),
        2 if words.word("type") => Ok(Choice::Kind(kind(words.need()?)?)),
        2.. if words.word("id") => {
            let ids: Option<Vec<i64>> = words.rest().iter().map(parse_i64).collect();
            Ok(Choice::Ids(ids.ok_or(Error::INVALID_CLIENT_ID)?))
        }
        _ => Err(Error::SYNTAX),
    }
}

pub fn list(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let choice = parse_choice(Words::new(args, 2))?;
    let wanted = |session: &Session| match &choice {
        Choice::All => true,
        Choice::Kind(kind) => ClientKind::of(session) == *kind,
        Choice::Ids(ids) => ids.contains(&(session.id as i64)),
    };
    let mut lines = Vec::new();
    if wanted(env.session) {
        lines.push((env.session.id, describe_own(env, args)));
    }
    let (now, commands) = (env.now, env.commands);
    env.server.for_each_client(&mut |client| {
        if wanted(client.session) {
            let mut line = Vec::with_capacity(320);
            describe(&mut line, commands, (client.session, &client.io), 0, now);
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
fn parse_kill(mut words: Words<'_>) -> Result<(KillFilter, bool), Error> {
    let mut filter = KillFilter::default();
    let mut skip_me = true;
    while !words.is_empty() {
        if words.len() == 1 {
            return Err(Error::SYNTAX); // every option has a value
        }
        if words.word("id") {
            let id = parse_i64(words.need()?).filter(|id| *id > 0);
            filter.id = Some(id.ok_or(Error::CLIENT_ID_RANGE)?.unsigned_abs());
        } else if words.word("maxage") {
            let age = parse_i64(words.need()?).ok_or(Error::MAX_AGE_NOT_AN_INTEGER)?;
            if age <= 0 {
                return Err(Error::MAX_AGE_RANGE);
            }
            filter.min_age_secs = Some(age.unsigned_abs());
        } else if words.word("type") {
            filter.kind = Some(kind(words.need()?)?);
        } else if words.word("addr") {
            filter.addr = Some(text(words.need()?));
        } else if words.word("laddr") {
            filter.laddr = Some(text(words.need()?));
        } else if words.word("user") {
            let user = words.need()?;
            if user != DEFAULT_USER.as_bytes() {
                return Err(Error::no_such_user(user));
            }
            filter.user = Some(text(user));
        } else if words.word("skipme") {
            skip_me = words.word("yes");
            if !skip_me && !words.word("no") {
                return Err(Error::SYNTAX);
            }
        } else {
            return Err(Error::SYNTAX);
        }
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
    let ended = u64::try_from(id).is_ok_and(|id| env.server.unblock(id, how));
    env.reply().int(ended.into());
    DONE
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
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
        parse_kill(Words::new(args, 2))?
    };
    let kill_me = !skip_me && filter.matches(env.session, env.now);
    let killed = env.server.kill_clients(&filter) + usize::from(kill_me);
    if !old_form {
        env.reply().int(killed as i64);
    } else if killed == 0 {
        return Err(Error::NO_SUCH_CLIENT);
    } else {
        env.reply().ok();
    }
    Ok(if kill_me { Flow::Close } else { Flow::Done })
}
