//! From arguments to an outcome: admission in Redis's order, then the handler.
//!
//! Owns: [`execute`], the only entry for clients' commands, and the order of its refusals (unknown
//! command, arity, authentication, transaction, slots and role, queueing). Never: touches a key
//! itself. Invariants: a command that is refused has no effect; one that must wait ([`Flow::Hold`])
//! leaves no trace at all; every reply's gate follows from what really happened (T3), not from the
//! command's flags.

use super::call::call;
use super::env::{Command, Env, Flow, Outcome, Serving};
use super::error::Error;
use super::key_spec::BadKeys;
use super::loading;
use super::motion;
use super::registry::Lookup;
use super::session::{Queued, ReplyMode};
use super::spec::{flags, Role, Spec};
use base::mutation::{self, Mutation};
use resp::args::Args;
use state::{Access, Footprint, GateKind, Ownership};
use topology::Route;

/// Executes one command of one client. `args` has at least one element.
pub fn execute(env: &mut Env<'_>, args: Args<'_>) -> Outcome {
    let start = env.out.len();
    let replies = env.session.reply_mode;
    env.data.begin_command(env.session.db, Access::Lead);
    let result = run(env, args);
    let footprint = env.data.end_command();
    let flow = match result {
        // T2, D5: what it did, or the deletion of an expired key that it met, can't be logged now; it
        // never happened.
        _ if footprint.hold => Flow::Hold,
        Ok(flow) => flow,
        Err(error) => {
            env.out.truncate(start);
            env.server.stats_mut().count_error(error.code());
            error.write(env.out);
            Flow::Done
        }
    };
    if flow.is_held() {
        env.session.unmuted.clear();
        assert!(
            !footprint.wrote,
            "D5: a command that is to run again has changed something"
        );
        env.out.truncate(start);
    } else if flow.waits_for_keys() {
        note_write(env, &footprint);
    } else {
        finish(
            env,
            start,
            replies,
            &footprint,
            matches!(flow, Flow::Block(_)),
        );
    }
    let gate = match footprint {
        _ if footprint.logged() => GateKind::Write,
        // A replica's own copy shows only what is committed: nothing to wait for.
        Footprint { read: true, .. } if env.data.access() == Access::Lead => GateKind::Read,
        _ => GateKind::Free,
    };
    Outcome {
        flow,
        footprint,
        gate,
        slot: footprint.slot,
    }
}

/// C2: what WAIT waits for.
fn note_write(env: &mut Env<'_>, footprint: &Footprint) {
    if footprint.logged() {
        env.session.last_write = footprint.depends;
    }
}

/// Accounts for a command that ran or was refused, and drops the reply if the client wants none. One
/// that blocks has its reply still to come.
fn finish(env: &mut Env<'_>, start: usize, before: ReplyMode, footprint: &Footprint, blocks: bool) {
    let session = &mut *env.session;
    session.commands += 1;
    session.last_command_at = env.now.mono;
    // ASKING holds for one command, or for one transaction.
    session.asking &= std::mem::take(&mut session.just_asked) || session.transaction.open;
    note_write(env, footprint);
    let session = &mut *env.session;
    if blocks {
        return;
    }
    match (before, session.reply_mode) {
        (_, ReplyMode::On) => return session.unmuted.clear(),
        (_, ReplyMode::Off) => env.out.truncate(start),
        (ReplyMode::SkipThis, ReplyMode::SkipThis) => {
            env.out.truncate(start);
            session.reply_mode = ReplyMode::On;
        }
        (_, ReplyMode::SkipNext | ReplyMode::SkipThis) => {
            env.out.truncate(start);
            session.reply_mode = ReplyMode::SkipThis;
        }
    }
    env.out.append(&mut session.unmuted);
}

fn run(env: &mut Env<'_>, args: Args<'_>) -> Result<Flow, Error> {
    let command = match find(env, args) {
        Ok(command) => command,
        Err(_) if is_http(args.at(0)) => return Ok(close_http(env)),
        Err(error) => {
            env.session.last_command = None;
            env.session.transaction.aborted |= env.session.transaction.open;
            return Err(error);
        }
    };
    // CLIENT LIST shows what a client sent last, whether it ran, is queued or was refused.
    env.session.last_command = Some(command.id);
    match admit(env, command.spec, args) {
        Ok(Admitted::Run) => {
            let result = call(env, command, args);
            assert_owned(env, command.spec);
            result
        }
        Ok(Admitted::Queue) => {
            queue(env, command, args);
            Ok(Flow::Done)
        }
        Ok(Admitted::Hold) => Ok(Flow::Hold),
        Err(error) => Err(refuse(env, command, error)),
    }
}

/// S1: what is gained is served when its gain has committed; M15: or what is imported, to a client that asks.
fn assert_owned(env: &Env<'_>, spec: &Spec) {
    let footprint = env.data.footprint();
    let touched = footprint.read || footprint.wrote;
    let (Some(slot), true, Some(_)) = (footprint.slot, touched, env.routing) else {
        return;
    };
    if spec.has_keys() && env.data.access() == Access::Lead {
        let owned = env.data.committed_record().slots.contains(slot) || env.data.imports(slot);
        assert!(owned, "S1: slot {slot} is served before its gain committed");
    }
}

/// The row that the arguments name.
fn find(env: &Env<'_>, args: Args<'_>) -> Result<&'static Command, Error> {
    match env.commands.lookup(args.at(0), args.get(1)) {
        Lookup::Found(command) => Ok(command),
        Lookup::Unknown => Err(Error::unknown_command(args.at(0), &mut args.skip(1).iter())),
        Lookup::UnknownSubcommand(container) => {
            Err(Error::unknown_subcommand(container.spec.name, args.at(1)))
        }
    }
}

/// A browser that was tricked into talking to us sends one of these before anything it could choose.
fn is_http(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:")
}

/// Closes without an answer, as Redis does, and says so at most once a minute.
fn close_http(env: &mut Env<'_>) -> Flow {
    let now = env.now.mono;
    let last = &mut env.server.stats_mut().http_warned;
    if last.is_none_or(|last| now.since(last).as_secs() >= 60) {
        *last = Some(now);
        env.server.log(
            "Possible SECURITY ATTACK detected. It looks like somebody is sending POST or Host: \
             commands to Redis. This is likely due to an attacker attempting to use Cross Protocol \
             Scripting to compromise your Redis instance. Connection aborted.",
        );
    }
    Flow::Close
}

enum Admitted {
    Run,
    Queue,
    Hold,
}

/// Every reason not to run a command now, in Redis's order.
fn admit(env: &mut Env<'_>, spec: &Spec, args: Args<'_>) -> Result<Admitted, Error> {
    if !spec.accepts(args.len()) {
        return Err(Error::wrong_arity(spec.full_name));
    }
    let session = &*env.session;
    if !session.authenticated && !spec.flags.has(flags![NO_AUTH]) {
        return Err(Error::NO_AUTH);
    }
    let in_multi = session.transaction.open;
    if in_multi && spec.flags.has(flags![NO_MULTI]) {
        return Err(Error::NO_MULTI);
    }
    let is_exec = spec.role == Role::Exec;
    let wait;
    if is_exec && in_multi {
        wait = !serve_queue(env)?;
    } else if spec.is_data() {
        wait = !serve(env, spec, args, in_multi)?;
    } else {
        // Shard channels have slots as well.
        let mut slot = None;
        check_slots(env, spec, args, &mut slot)?;
        wait = match awaits_taker(env, slot) {
            true => motion::hold(env)? == motion::Admitted::Hold,
            false if publishes(spec) && is_followed(env, slot) => false,
            false => route(env, slot, false)?.unwrap_or(false),
        };
    }
    if env.session.only_listens() && !runs_while_listening(spec) {
        return Err(Error::only_listening(spec.full_name));
    }
    loading::check(env, spec)?;
    Ok(if wait {
        Admitted::Hold
    } else if in_multi && !is_exec && !spec.role.runs_inside_multi() {
        Admitted::Queue
    } else {
        Admitted::Run
    })
}

/// A node on its way into a shard can say something to that shard; to listen it must be there.
fn publishes(spec: &Spec) -> bool {
    spec.flags.has(flags![PUBSUB]) && !spec.flags.has(flags![NOSCRIPT])
}

/// What a subscribed RESP2 client may still say.
fn runs_while_listening(spec: &Spec) -> bool {
    let listening = spec.flags.has(flags![PUBSUB]) && spec.flags.has(flags![NOSCRIPT]);
    listening || matches!(spec.role, Role::Ping | Role::Quit | Role::Reset)
}

/// Whether this process may run a data command now; sets the right by which it touches the data.
/// False: it has to wait.
fn serve(env: &mut Env<'_>, spec: &Spec, args: Args<'_>, in_multi: bool) -> Result<bool, Error> {
    let write = spec.writes();
    let mut slot = None;
    check_slots(env, spec, args, &mut slot)?;
    if waits_for_lends(env, spec) && !in_multi {
        return Ok(motion::hold(env)? != motion::Admitted::Hold);
    }
    if !in_multi && waits_for_named(env, spec, args) {
        return Ok(motion::hold(env)? != motion::Admitted::Hold);
    }
    let moves = slot.filter(|slot| env.data.is_in_motion(*slot));
    if let Some(slot) = moves {
        let mut keys: Vec<&[u8]> = Vec::new();
        // It names no keys that could be told: the handler refuses it.
        let _named = spec.keys(args, |index| keys.push(args.at(index)));
        let changes = write || spec.role == Role::Watch;
        let migrates = spec.role == Role::Migrate;
        let asking = env.session.asking || spec.flags.has(flags![ASKING]);
        match in_motion(env, slot, (changes, migrates, asking), keys)? {
            Moving::Usual => {}
            Moving::Serve(writable) => return Ok(enters(env, spec, writable) || in_multi),
            Moving::Wait => return Ok(false),
        }
    }
    if let Some(waits) = route(env, slot, write)? {
        return Ok(!waits);
    }
    if let Serving::Lead { writable } = env.serving {
        if spec.logs_new_effects() && !types_are_read(env) {
            return wait_for_builds(env, in_multi);
        }
        // A write that is only queued enters no batch yet.
        return Ok(enters(env, spec, writable) || in_multi);
    }
    if in_multi && slot.is_none() && env.begins_anew() {
        return Ok(true); // C1
    }
    elsewhere(env, write, slot)
}

/// M9: outside a cluster there is no other member.
pub(super) fn types_are_read(env: &Env<'_>) -> bool {
    env.routing.is_none() || env.data.types_are_read()
}

/// M9: a member of an older build would stop at the effect. The command waits for what the members say that they can do.
fn wait_for_builds(env: &Env<'_>, in_multi: bool) -> Result<bool, Error> {
    match in_multi || env.overdue {
        true => Err(Error::TYPES_NOT_UPGRADED),
        false => Ok(false),
    }
}

/// T2, D5: whether what the command puts into the batch, if anything, may enter it.
fn enters(env: &Env<'_>, spec: &Spec, writable: bool) -> bool {
    let frees = spec.flags.has(flags![FREES]) && env.data.only_frees();
    writable || !spec.writes() || frees
}

/// M5: what changes keys that it does not name (FLUSHALL) waits for all that is lent.
fn waits_for_lends(env: &mut Env<'_>, spec: &Spec) -> bool {
    let unnamed = spec.flags.has(flags![WRITE]) && !spec.has_keys();
    let waits = unnamed && !mutation::is(Mutation::FlushIgnoresLent);
    let waits = waits && env.data.has_lent() && matches!(env.serving, Serving::Lead { .. });
    if waits {
        env.data.want_all();
    }
    waits
}

/// M5, outside a cluster, where keys have no slots: whether the command waits for a key that is lent. What is
/// queued may SELECT before: its keys are looked for in every database.
fn waits_for_named(env: &Env<'_>, spec: &Spec, args: Args<'_>) -> bool {
    let leads = matches!(env.serving, Serving::Lead { .. });
    if !leads || env.data.is_cluster() || !env.data.has_lent() {
        return false;
    }
    let changes = spec.writes() || spec.role == Role::Watch;
    let queued = env.session.transaction.open;
    let mut waits = false;
    // It names no keys that could be told: the handler refuses it.
    let _named = spec.keys(args, |index| {
        let key = args.at(index);
        let blocks = |lent: state::Frozen| changes || !lent.readable;
        waits |= match queued {
            true => env.data.frozen_anywhere(key).any(blocks),
            false => env.data.frozen(key).is_some_and(blocks),
        };
    });
    waits
}

/// What a slot in motion does to a command.
enum Moving {
    /// Nothing: it goes where all commands of the slot go.
    Usual,
    /// It is served here; whether anything may be written now.
    Serve(bool),
    Wait,
}

/// A command on a slot that has a mark, a lend or an open hand-over (M11, M14-M17).
fn in_motion(
    env: &mut Env<'_>,
    slot: u16,
    (write, migrates, asking): (bool, bool, bool),
    mut keys: Vec<&[u8]>,
) -> Result<Moving, Error> {
    let (Some(routing), false) = (env.routing, keys.is_empty()) else {
        return Ok(Moving::Usual);
    };
    match env.serving {
        Serving::Lead { writable } => {
            let ownership = env.data.ownership(slot);
            if ownership == Ownership::Gaining {
                return Ok(Moving::Usual);
            }
            keys.sort_unstable();
            keys.dedup();
            let asked = motion::Asked {
                slot,
                owned: ownership == Ownership::Owned,
                asking,
                write,
                migrates,
                keys: &keys,
            };
            match motion::admit(env, &asked)? {
                motion::Admitted::Hold => Ok(Moving::Wait),
                motion::Admitted::Moved => Ok(Moving::Usual),
                motion::Admitted::Serve => match refused(env, routing.covered, write) {
                    Some(error) => Err(error),
                    None => Ok(Moving::Serve(writable)),
                },
            }
        }
        // MOVED would drop the flag.
        Serving::Redirect {
            addr: Some(addr), ..
        }
        | Serving::Loading { addr: Some(addr) }
            if asking && env.data.imports(slot) =>
        {
            Err(Error::ask(slot, addr))
        }
        // The other shard would say ASK again.
        Serving::Loading { addr: None } if asking && env.data.imports(slot) => {
            Ok(Moving::Serve(true))
        }
        // M17: what this replica does not have may be at the other shard.
        Serving::Redirect {
            addr: Some(addr),
            own_copy,
        } => {
            let reads = own_copy && !write && env.session.readonly;
            if reads && env.data.migrates(slot) {
                env.data.set_access(Access::Replica);
                let all = keys.iter().all(|key| env.data.exists(&env.data.key(key)));
                if !all {
                    return Err(Error::moved(slot, addr));
                }
            }
            Ok(Moving::Usual)
        }
        _ => Ok(Moving::Usual),
    }
}

/// M17: the slot's shard channels are nobody's until the other shard has taken the slot.
fn awaits_taker(env: &mut Env<'_>, slot: Option<u16>) -> bool {
    let Some(slot) = slot.filter(|slot| env.data.is_in_motion(*slot)) else {
        return false;
    };
    let leads = matches!(env.serving, Serving::Lead { .. });
    leads && env.routing.is_some() && env.data.has_departed(slot)
}

/// The same for EXEC: one slot for all that is queued.
fn serve_queue(env: &mut Env<'_>) -> Result<bool, Error> {
    let queue = std::mem::take(&mut env.session.transaction.queue);
    let mut slot = None;
    let mut data = false;
    let mut write = false;
    let mut told = false;
    let mut publishes_alone = true;
    let mut checked = Ok(());
    let (mut moving, mut lends) = (Moving::Usual, false);
    for Queued { command, args } in &queue {
        let spec = env.commands.command(*command).spec;
        data |= spec.is_data();
        write |= spec.writes();
        told |= spec.flags.has(flags![PUBSUB, ADMIN]);
        publishes_alone &= publishes(spec) || !(spec.has_keys() || spec.is_data());
        let args = Args::from(args.as_slice());
        lends |= waits_for_lends(env, spec) || waits_for_named(env, spec, args);
        checked = check_slots(env, spec, args, &mut slot);
        if checked.is_err() {
            break;
        }
    }
    let cluster = env.data.is_cluster();
    let mut watched = env.session.watches.iter();
    lends |= !cluster && watched.any(|w| env.data.frozen_in(w.db, &w.key).is_some());
    if checked.is_ok() {
        if let Some(slot) = slot.filter(|slot| env.data.is_in_motion(*slot)) {
            match exec_in_motion(env, slot, write, &queue) {
                Ok(found) => moving = found,
                Err(error) => checked = Err(error),
            }
        }
    }
    env.session.transaction.queue = queue;
    checked?;
    if lends {
        return Ok(motion::hold(env)? != motion::Admitted::Hold);
    }
    match moving {
        Moving::Usual => {}
        Moving::Wait => return Ok(false),
        Moving::Serve(writable) => {
            let whole = write || (told && data);
            return Ok(writable || !whole || env.session.transaction.aborted);
        }
    }
    if publishes_alone && is_followed(env, slot) {
        return Ok(true);
    }
    if let Some(waits) = route(env, slot, write)? {
        return Ok(!waits);
    }
    match env.serving {
        // An EXEC that is going to be refused anyway has nothing to wait for. One that reads may
        // have to be put off half-way (T2), which messages, subscriptions and what is done to other
        // clients can't be.
        Serving::Lead { writable } => {
            let whole = write || (told && data);
            Ok(writable || !whole || env.session.transaction.aborted)
        }
        // C1: the reset, and what it leads to, decides.
        _ if slot.is_none() && env.begins_anew() => Ok(true),
        _ if data => elsewhere(env, write, slot),
        _ => Ok(true),
    }
}

/// EXEC on a slot in motion: all keys of all commands that are queued, and those that are watched.
fn exec_in_motion(
    env: &mut Env<'_>,
    slot: u16,
    write: bool,
    queue: &[Queued],
) -> Result<Moving, Error> {
    let watches = env.session.watches.clone();
    let watched: Vec<&[u8]> = watches.iter().map(|watch| &*watch.key).collect();
    // M5: whether a watched key is as it was is known when its lend has ended.
    if watched.iter().any(|key| env.data.frozen(key).is_some()) {
        return Ok(match motion::hold(env)? {
            motion::Admitted::Hold => Moving::Wait,
            _ => Moving::Usual,
        });
    }
    // A watched key that is missing here may have been made at the other shard.
    let mut keys = watched;
    for Queued { command, args } in queue {
        let spec = env.commands.command(*command).spec;
        let named = Args::from(args.as_slice());
        let _named = spec.keys(named, |index| keys.push(named.at(index)));
    }
    let asking = env.session.asking;
    in_motion(env, slot, (write, false, asking), keys)
}

/// C3: why a slot that this shard serves is not served now.
fn refused(env: &Env<'_>, up: bool, write: bool) -> Option<Error> {
    match (up, env.server.config().cluster_allow_reads_when_down) {
        (true, _) => None,
        (false, true) if !write => None,
        (false, true) => Some(Error::CLUSTER_READS_ONLY),
        (false, false) => Some(Error::CLUSTER_DOWN),
    }
}

/// In a cluster: whether the slot is for this shard at all. `None`: it is, or there is no slot;
/// `Some(true)`: the command waits.
fn route(env: &Env<'_>, slot: Option<u16>, write: bool) -> Result<Option<bool>, Error> {
    let (Some(routing), Some(slot)) = (env.routing, slot) else {
        return Ok(None);
    };
    let refused = |up: bool| refused(env, up, write);
    match env.data.ownership(slot) {
        // C3: a leader that holds its shard's lease serves, also among a minority of the masters.
        Ownership::Owned => refused(routing.covered).map_or(Ok(None), Err),
        Ownership::Gaining => match env.serving {
            Serving::Down => Err(Error::CLUSTER_DOWN), // S2: it was held for long enough
            _ => Ok(Some(true)),
        },
        Ownership::Foreign => match routing.route(slot) {
            Route::Nobody => Err(Error::SLOT_NOT_SERVED),
            Route::Elsewhere(addr) => {
                Err(refused(routing.is_ok()).unwrap_or_else(|| Error::moved(slot, addr)))
            }
        },
    }
}

fn is_followed(env: &Env<'_>, slot: Option<u16>) -> bool {
    let (Some(routing), Some(slot)) = (env.routing, slot) else {
        return false;
    };
    env.data.ownership(slot) == Ownership::Foreign && routing.is_followed(slot)
}

/// A data command on a member that does not lead.
fn elsewhere(env: &mut Env<'_>, write: bool, slot: Option<u16>) -> Result<bool, Error> {
    let (addr, whole) = match env.serving {
        Serving::Redirect { addr, own_copy } => (addr, own_copy),
        Serving::Down => return Err(Error::CLUSTER_DOWN),
        // S2, T7: no leader is known yet, or a tail is open
        Serving::Lead { .. } | Serving::Hold => return Ok(false),
        Serving::Loading { addr } => {
            let moved = slot.zip(addr).filter(|_| env.data.is_cluster());
            // Without one the end of admission decides.
            return moved.map_or(Ok(true), |(slot, addr)| Err(Error::moved(slot, addr)));
        }
    };
    let own_copy = !write && (slot.is_none() || env.session.readonly);
    if own_copy && !whole {
        return Ok(false); // T7: a tail is open
    }
    match (slot, addr) {
        _ if own_copy => {
            env.data.set_access(Access::Replica);
            Ok(true)
        }
        (None, _) => Err(Error::READ_ONLY_REPLICA),
        (Some(slot), Some(addr)) => Err(Error::moved(slot, addr)),
        // S2: the leader is known by its raft id and not yet by an address.
        (Some(_), None) if env.routing.is_some() => Ok(false),
        (Some(_), None) => Err(Error::CLUSTER_DOWN),
    }
}

/// In cluster mode all keys of a command (of a transaction: `slot` carries on) have one slot.
fn check_slots(
    env: &mut Env<'_>,
    spec: &Spec,
    args: Args<'_>,
    slot: &mut Option<u16>,
) -> Result<(), Error> {
    if !spec.has_keys() {
        return Ok(());
    }
    let cluster = env.data.is_cluster();
    if !cluster && matches!(env.serving, Serving::Lead { .. }) {
        return Ok(());
    }
    let (mut common, mut crossing) = (*slot, false);
    let named = spec.keys(args, |index| {
        let of = env.data.admit_key(args.at(index));
        match common {
            None => common = Some(of),
            Some(slot) => crossing |= slot != of,
        }
    });
    match named {
        // It names no keys that could be told: the handler refuses it.
        Err(BadKeys) => {}
        Ok(()) if crossing && cluster => return Err(Error::CROSS_SLOT),
        Ok(()) => *slot = common,
    }
    Ok(())
}

fn queue(env: &mut Env<'_>, command: &Command, args: Args<'_>) {
    let transaction = &mut env.session.transaction;
    // Once a command was refused the rest can't be executed: remembering it would cost memory.
    if !transaction.aborted {
        transaction.queued_bytes += args.iter().map(<[u8]>::len).sum::<usize>();
        transaction.queue.push(Queued {
            command: command.id,
            args: args.to_vecs(),
        });
    }
    env.reply().simple("QUEUED");
}

/// What a refusal does to a transaction, and the text that the client gets.
fn refuse(env: &mut Env<'_>, command: &Command, error: Error) -> Error {
    env.server.stats_mut().of(command.id).rejected += 1;
    let runs_queue = command.spec.role == Role::Exec;
    env.session.refuse(runs_queue, env.data);
    if !runs_queue {
        return error;
    }
    // Redirections reach the client as they are; other refusals say that EXEC was aborted.
    match error.code() {
        b"MOVED" | b"CROSSSLOT" | b"CLUSTERDOWN" => error,
        _ => Error::exec_aborted(&error),
    }
}
