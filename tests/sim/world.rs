//! The whole of a run: members, network, clients and the order of everything that happens.
//!
//! Owns: the queue of events in true time, and the two phases. In the safety phase faults come as
//! the plan says; then everything is healed, and in the liveness phase the cluster must do what it
//! promises within a bound: elect, answer every client, agree. What must hold at every moment is
//! looked at after every turn ([`crate::checks`]).

use holdfast::effect::{parse_entry, Effect, Staged, Stager, Unit};
use holdfast::shard::Shard;
use holdfast::storage::{Job, StorageError};

use raft::eraftpb::{EntryType, MessageType};

use crate::agenda::{Agenda, Due};
use crate::checks::Checks;
use crate::client::{Client, Surroundings};
use crate::clock::{True, MS, SEC, US};
use crate::disk::{Loss, SimDisk};
use crate::history::{History, Logged};
use crate::lin::Val;
use crate::member::{Ended, Member, Running, Turned, CAPACITY, MEMBERS};
use crate::net::{Net, Packet, Payload, Weather};
use crate::plan::{liveness_bound, Plan};
use crate::process::{Input, TurnResult};
use crate::rng::Rng;
use crate::scenes::{self, Step};
use crate::trace::{Lines, Trace};
use crate::workload::{parse_value, Workload};

/// What is due at some time.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    Turn(usize),
    JobEnd {
        member: usize,
        boot: u64,
        job: u64,
    },
    Client(usize),
    Start(usize),
    Fault,
    /// A cut is healed.
    Heal(usize, usize),
    /// The disk has room again.
    Room(usize),
    /// A scene goes on.
    Step(Step),
    /// A process that was stopped in the middle of its turn goes on.
    Rest {
        member: usize,
        boot: u64,
    },
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Verdict {
    pub plan: &'static str,
    pub failure: Option<String>,
    pub hash: u64,
    pub operations: usize,
    pub unknown: u64,
    pub moved: u64,
    pub turns: u64,
    pub leaders: usize,
    pub lines: Vec<String>,
}

pub struct World {
    pub now: True,
    pub plan: Plan,
    pub rng: Rng,
    pub net: Net,
    pub members: Vec<Member>,
    pub clients: Vec<Client>,
    pub trace: Trace,
    pub(crate) checks: Checks,
    history: History,
    workload: Workload,
    voters: Vec<u64>,
    agenda: Agenda<Event>,
    next_job: u64,
    turns: u64,
    pub(crate) healed: bool,
    failure: Option<String>,
}

/// Adds the texts of clients that are in a member's log, as far as it is applied.
pub fn add_texts(shard: &Shard<SimDisk>, texts: &mut Logged) {
    let (first, last) = (shard.base().index + 1, shard.group().applied());
    let mut stager = Stager::default();
    let replayed = shard.log().replay(first, last, |entry| {
        if entry.get_entry_type() != EntryType::EntryNormal {
            return Ok(());
        }
        let body = parse_entry(&entry.data).expect("it was applied");
        match stager.take(entry.term, body).expect("it was applied") {
            Staged::Nothing => {}
            Staged::Units(units) => {
                for unit in units {
                    texts_of(unit.expect("it was applied"), texts);
                }
            }
            Staged::Whole(body) => texts_of(Unit::new(&body), texts),
        }
        Ok::<(), StorageError>(())
    });
    replayed.expect("a running member's log can be read");
}

fn texts_of(mut unit: Unit<'_>, texts: &mut Logged) {
    let mut effect = Effect::default();
    while unit.next_into(&mut effect).expect("it was applied") {
        for arg in &effect.args {
            if let Ok(Val::Text(id)) = parse_value(arg) {
                let place = texts.len() as u64;
                texts.entry(id).or_insert(place);
            }
        }
    }
}

impl World {
    pub fn new(seed: u64, lines: Lines) -> World {
        let mut rng = Rng::new(seed);
        let plan = Plan::for_seed(seed, &mut rng);
        let members: Vec<Member> = (0..MEMBERS)
            .map(|id| Member::new(id, plan.drifting, &mut rng))
            .collect();
        let voters: Vec<u64> = members.iter().map(|m| m.raft_id).collect();
        members.iter().for_each(|m| m.found(&plan, &voters));
        let clients = (0..plan.clients)
            .map(|id| Client::new(id, MEMBERS, plan.manner, rng.fork()))
            .collect();
        World {
            now: 0,
            net: Net::new(rng.fork(), plan.weather),
            members,
            clients,
            trace: Trace::new(lines),
            checks: Checks::default(),
            history: History::new(plan.taste.groups),
            workload: Workload::new(plan.taste),
            voters,
            agenda: Agenda::new(),
            next_job: 0,
            turns: 0,
            healed: false,
            failure: None,
            rng,
            plan,
        }
    }

    /// Runs both phases and looks at the history.
    pub fn run(mut self) -> Verdict {
        let plan = format!("{:?}", self.plan);
        self.trace.say(0, || plan);
        for m in 0..MEMBERS {
            let at = self.rng.below(20 * MS);
            self.at(at, Event::Start(m));
        }
        for c in 0..self.clients.len() {
            let at = self.rng.below(20 * MS);
            self.at(at, Event::Client(c));
        }
        let first = self.rng.around(self.plan.fault_every);
        self.at(self.plan.t() + first, Event::Fault);
        let end = self.plan.safety;
        self.until(end, |_| false);
        if self.failure.is_none() {
            self.liveness();
        }
        if self.failure.is_none() {
            let logged = self.logged_texts();
            self.failure = self.history.check(&logged, self.trace.is_on()).err();
        }
        Verdict {
            plan: self.plan.name,
            failure: self.failure,
            hash: self.trace.hash(),
            operations: self.history.len(),
            unknown: self.clients.iter().map(|c| c.unknown).sum(),
            moved: self.clients.iter().map(|c| c.moved).sum(),
            turns: self.turns,
            leaders: self.checks.leaders(),
            lines: self.trace.last(150),
        }
    }

    /// The texts of clients in the log that the members have come to agree on.
    fn logged_texts(&self) -> Logged {
        let process = self.members[0].process.as_ref();
        let mut texts = Logged::new();
        let shard = &process.expect("all run when all have converged").shard;
        add_texts(shard, &mut texts);
        texts
    }

    pub fn at(&mut self, at: True, event: Event) {
        self.agenda.put(at.max(self.now), event);
    }

    pub fn fail(&mut self, why: String) {
        if self.failure.is_none() {
            self.trace.say(self.now, || format!("FAILURE: {why}"));
            self.failure = Some(why);
        }
    }

    /// Lets things happen until `end`, a failure, or until `done` says that it is enough; whether
    /// it did.
    fn until(&mut self, end: True, done: impl Fn(&World) -> bool) -> bool {
        loop {
            if self.failure.is_some() {
                return false;
            }
            if done(self) {
                return true;
            }
            let Some((at, due)) = self.agenda.next(&mut self.net, end) else {
                self.now = end;
                return done(self);
            };
            self.now = at;
            match due {
                Due::Packet(packet) => packet.into_iter().for_each(|p| self.arrive(p)),
                Due::Event(event) => self.happen(event),
            }
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Turn(m) => self.turn(m),
            Event::JobEnd { member, boot, job } => self.job_end(member, boot, job),
            Event::Client(c) => self.wake_client(c),
            Event::Start(m) => self.start(m),
            Event::Fault => {
                if !self.healed {
                    crate::faults::inject(self);
                    let next = self.rng.around(self.plan.fault_every);
                    self.at(self.now + next, Event::Fault);
                }
            }
            Event::Heal(a, b) => self.net.heal(self.now, a, b),
            Event::Room(m) => self.members[m].disk.set_capacity(CAPACITY),
            Event::Step(step) if !self.healed => scenes::step(self, step),
            Event::Step(_) => {}
            Event::Rest { member, boot } => self.rest_of_turn(member, boot),
        }
    }

    // ---- members ------------------------------------------------------------------------------

    fn start(&mut self, m: usize) {
        if self.members[m].process.is_some() {
            return;
        }
        if !self.healed && self.rng.chance(self.plan.dies_again_p) {
            self.members[m].disk.light_fuse(self.rng.around(4000));
        }
        let ended = self.members[m].start(self.now, &self.plan, &self.voters, &mut self.rng);
        self.trace.mix(m as u64);
        match ended {
            Ended::Fine(()) => {
                let group = self.members[m]
                    .process
                    .as_ref()
                    .expect("just started")
                    .shard
                    .group();
                let (applied, last, term) = (group.applied(), group.last_index(), group.term());
                self.trace.say(self.now, || {
                    format!("m{m} starts: term {term}, applied {applied}, last {last}")
                });
                let must = std::mem::take(&mut self.members[m].must_know);
                if applied < must {
                    self.fail(format!(
                        "D1: m{m} was idle with commit index {must} and starts with {applied}"
                    ));
                }
                self.want_turn(m, self.now);
            }
            ended => self.ended(m, self.now, &ended, "its start"),
        }
    }

    /// The process is gone; says whether it was allowed to.
    fn ended<R>(&mut self, m: usize, now: True, ended: &Ended<R>, doing: &str) {
        match ended {
            Ended::Fine(_) => {}
            Ended::Crashed => self.kill(m, now, self.members[m].power_on_crash),
            Ended::Stopped(text) => {
                let member = &self.members[m];
                if !member.excused {
                    return self.fail(format!("member {m} ended itself in {doing}: {text}"));
                }
                self.trace
                    .say(now, || format!("m{m} ends itself in {doing}: {text}"));
                self.kill(m, now, false);
            }
            Ended::Panicked(text) => self.fail(format!("member {m} panicked in {doing}: {text}")),
        }
    }

    /// Ends a process, now or in the middle of a turn that has just been simulated.
    pub fn kill(&mut self, m: usize, now: True, power: bool) {
        let loss = Loss::any(&mut self.rng);
        self.trace.say(now, || {
            if power {
                format!("m{m} loses power ({loss:?})")
            } else {
                format!("m{m} is killed")
            }
        });
        self.trace.mix(0xdead + m as u64);
        let member = &mut self.members[m];
        member.die(now, power, loss, &mut self.rng);
        member.power_on_crash = false;
        let conns = std::mem::take(&mut member.conns);
        let back = now + member.down_for.max(5 * MS);
        self.net.member_died(now, m, MEMBERS);
        for (conn, client) in conns {
            self.net.send(
                now,
                Packet {
                    from: m,
                    to: client,
                    conn,
                    payload: Payload::Close,
                },
            );
        }
        let back = if self.healed { now + 10 * MS } else { back };
        self.at(back, Event::Start(m));
    }

    pub fn want_turn(&mut self, m: usize, at: True) {
        let member = &mut self.members[m];
        if member.process.is_none() {
            return;
        }
        let at = at.max(member.busy_until).max(self.now);
        if member.next_turn.is_none_or(|t| at < t || t < self.now) {
            member.next_turn = Some(at);
            self.at(at, Event::Turn(m));
        }
    }

    fn turn(&mut self, m: usize) {
        let member = &mut self.members[m];
        // An event that an earlier one has overtaken, or a process that is stopped.
        if member.next_turn != Some(self.now) || member.process.is_none() {
            return;
        }
        if member.busy_until > self.now {
            member.next_turn = None;
            return self.want_turn(m, self.now);
        }
        member.next_turn = None;
        if self.rng.chance(self.plan.stop_p) && !self.healed {
            let length =
                crate::plan::length(crate::plan::Fault::Stop, self.plan.t(), &mut self.rng);
            member.stop_next = Some((self.rng.below(4) as u32, length));
        }
        let (ended, end) = member.turn(self.now, &mut self.rng);
        self.turned(m, ended, end);
    }

    /// A process that was stopped between its messages and its commands goes on.
    fn rest_of_turn(&mut self, m: usize, boot: u64) {
        let member = &mut self.members[m];
        if member.boot != boot || member.half.is_none() {
            return;
        }
        let (ended, end) = member.rest_of_turn(self.now, &mut self.rng);
        self.turned(m, ended, end);
    }

    fn turned(&mut self, m: usize, ended: Ended<Turned>, end: True) {
        self.turns += 1;
        self.trace.mix(self.now ^ (m as u64) << 56);
        let member = &mut self.members[m];
        match ended {
            Ended::Fine(Turned::Half(result, length)) => {
                let (end, boot) = (end + length, member.boot);
                member.half = Some(result);
                member.busy_until = end + 2 * US;
                member.in_turn_until = end;
                self.trace.say(self.now, || {
                    format!(
                        "m{m} is stopped before its turn's commands for {} ms",
                        length / MS
                    )
                });
                self.at(end, Event::Rest { member: m, boot });
            }
            Ended::Fine(Turned::Whole(result)) => {
                member.busy_until = end + 2 * US;
                member.in_turn_until = end;
                self.turn_result(m, end, result);
                if let Err(why) = self.look(m, end) {
                    self.fail(why);
                }
            }
            ended => self.ended(m, end, &ended, "a turn"),
        }
    }

    fn turn_result(&mut self, m: usize, end: True, result: TurnResult) {
        if end > self.now + MS {
            let ms = (end - self.now) / MS;
            self.trace.say(self.now, || {
                format!("m{m} is stopped in its turn for {ms} ms")
            });
        }
        for envelope in result.raft {
            let Some(to) = self.voters.iter().position(|id| *id == envelope.to) else {
                continue;
            };
            let mut bytes = Vec::new();
            envelope.encode(&mut bytes);
            self.trace.mix_bytes(&bytes);
            if envelope.message.get_msg_type() == MessageType::MsgTimeoutNow {
                if let Some(late) = self.members[m].hold_timeout_now.take() {
                    scenes::hold_candidacy(self, m, to, late);
                }
            }
            self.trace.say(end, || {
                let e = &envelope.message;
                format!(
                    "m{m} -> m{to} {:?} term {} index {} logterm {} commit {} entries {} reject {} reign {:?} sent {}",
                    e.msg_type, e.term, e.index, e.log_term, e.commit, e.entries.len(), e.reject,
                    envelope.reign, envelope.sent_ns
                )
            });
            self.net.send_raft(end, m, to, bytes);
        }
        for (conn, to, bytes) in result.replies {
            self.trace.mix_bytes(&bytes);
            self.net.send(
                end,
                Packet {
                    from: m,
                    to,
                    conn,
                    payload: Payload::Bytes(bytes),
                },
            );
        }
        for (conn, to) in result.closed {
            self.members[m].conns.remove(&conn);
            self.net.send(
                end,
                Packet {
                    from: m,
                    to,
                    conn,
                    payload: Payload::Close,
                },
            );
        }
        for job in result.jobs {
            self.begin_job(m, end, job);
            if self.members[m].process.is_none() {
                return;
            }
        }
        let wake = self.members[m].clock.when(result.wake).max(end + 10 * US);
        self.want_turn(m, wake);
        if !self.members[m].inbox.is_empty() {
            self.want_turn(m, end);
        }
    }

    fn begin_job(&mut self, m: usize, now: True, job: Job<crate::disk::SimDisk>) {
        let is_sync = matches!(job, Job::Sync(_));
        let mut length = self.rng.around(self.plan.sync_us * US);
        if !is_sync {
            length = self.rng.around(300 * US);
        }
        let member = &mut self.members[m];
        let begin = now.max(member.disk_free_at);
        if member.slow_until > begin {
            length += member.slow_until - begin;
        }
        let end = begin + length;
        member.disk_free_at = end;
        match member.begin_job(job) {
            Ended::Fine(running) => {
                self.next_job += 1;
                let job = self.next_job;
                member.jobs.insert(job, running);
                let boot = member.boot;
                self.at(
                    end,
                    Event::JobEnd {
                        member: m,
                        boot,
                        job,
                    },
                );
            }
            ended => self.ended(m, now, &ended, "a job"),
        }
    }

    fn job_end(&mut self, m: usize, boot: u64, job: u64) {
        let member = &mut self.members[m];
        if member.boot != boot {
            return;
        }
        let Some(running) = member.jobs.remove(&job) else {
            return;
        };
        if member.in_turn_until > self.now {
            // A stopped process has no running threads; what the disk does is done.
            if let Running::Other(_) = running {
                member.jobs.insert(job, running);
                let later = member.in_turn_until + 10 * US;
                return self.at(
                    later,
                    Event::JobEnd {
                        member: m,
                        boot,
                        job,
                    },
                );
            }
        }
        match member.end_job(running) {
            Ended::Fine(Some(done)) => {
                member.inbox.push(Input::Done(done));
                self.want_turn(m, self.now);
            }
            Ended::Fine(None) => {}
            ended => self.ended(m, self.now, &ended, "a job"),
        }
    }

    // ---- packets ------------------------------------------------------------------------------

    fn arrive(&mut self, packet: Packet) {
        if packet.to >= MEMBERS {
            let c = packet.to - MEMBERS;
            return self.with_client(c, |client, s| client.receive(s, packet));
        }
        let m = packet.to;
        let (conn, client) = (packet.conn, packet.from);
        let unknown = matches!(packet.payload, Payload::Bytes(_))
            && !self.members[m].conns.contains_key(&conn);
        if self.members[m].process.is_none() || unknown {
            // Nobody listens, or whoever knew the connection has died.
            let payload = match packet.payload {
                Payload::Open => Payload::Refused,
                Payload::Bytes(_) => Payload::Close,
                _ => return,
            };
            let answer = Packet {
                from: m,
                to: client,
                conn,
                payload,
            };
            self.net.send(self.now, answer);
            return;
        }
        let member = &mut self.members[m];
        let input = match packet.payload {
            Payload::Raft(bytes) => Input::Raft(bytes),
            Payload::Open => {
                member.conns.insert(conn, client);
                Input::Open { conn, client }
            }
            Payload::Bytes(bytes) => Input::Bytes { conn, bytes },
            Payload::Close | Payload::Refused => Input::Close { conn },
            Payload::Bus(_) => unreachable!("one group has no bus"),
        };
        member.inbox.push(input);
        let soon = self.now + self.rng.below(40 * US);
        self.want_turn(m, soon);
    }

    fn with_client(
        &mut self,
        c: usize,
        act: impl FnOnce(&mut Client, &mut Surroundings<'_>) -> Result<(), String>,
    ) {
        let mut s = Surroundings {
            now: self.now,
            net: &mut self.net,
            history: &mut self.history,
            workload: &mut self.workload,
            trace: &mut self.trace,
        };
        if let Err(why) = act(&mut self.clients[c], &mut s) {
            self.fail(why);
        }
    }

    fn wake_client(&mut self, c: usize) {
        self.with_client(c, |client, s| {
            client.wake(s);
            Ok(())
        });
        let next = self.clients[c].next_at.max(self.now + 10 * US);
        self.at(next, Event::Client(c));
    }

    // ---- the liveness phase -------------------------------------------------------------------

    /// Everything works again, and nothing breaks any more.
    fn heal(&mut self) {
        self.trace
            .say(self.now, || "all faults are healed".to_string());
        self.healed = true;
        self.net.heal_all(self.now);
        self.net.weather = Weather::FAIR;
        for m in 0..MEMBERS {
            let member = &mut self.members[m];
            member.disk.set_capacity(CAPACITY);
            member.disk.put_out_fuse();
            member.stop_next = None;
            member.slow_until = self.now;
            if member.process.is_none() {
                self.at(self.now + 10 * MS, Event::Start(m));
            }
        }
        self.reset_dead_connections();
        self.clients.iter_mut().for_each(|c| c.patient = true);
    }

    /// A client whose server died while the network was down never heard of it; from now on the
    /// network works, and the next probe of its connection is answered.
    fn reset_dead_connections(&mut self) {
        for c in 0..self.clients.len() {
            let Some((conn, m)) = self.clients[c].connection() else {
                continue;
            };
            if !self.members[m].conns.contains_key(&conn) {
                let packet = Packet {
                    from: m,
                    to: MEMBERS + c,
                    conn,
                    payload: Payload::Close,
                };
                self.net.send(self.now, packet);
            }
        }
    }

    fn liveness(&mut self) {
        self.heal();
        let bound = liveness_bound(self.plan.t());
        let before: Vec<u64> = self.clients.iter().map(|c| c.done).collect();
        let all_served = |w: &World| {
            w.clients
                .iter()
                .zip(&before)
                .all(|(c, before)| c.done >= before + 10)
        };
        if !self.until(self.now + bound, all_served) {
            return self.not_live("every client gets ten answers");
        }
        self.clients.iter_mut().for_each(|c| c.quiet = true);
        if !self.until(self.now + bound, |w| w.clients.iter().all(Client::is_idle)) {
            return self.not_live("every request is answered");
        }
        for group in 0..self.plan.taste.groups {
            if !self.read_group(group, bound) {
                return self.not_live("the final reads are answered");
            }
        }
        if !self.until(self.now + bound, Checks::have_converged) {
            return self.not_live("all members have applied the same");
        }
        self.restart_idle();
    }

    /// D1: what an idle cluster has committed is known to every disk, also where no entry came
    /// after the commit.
    fn restart_idle(&mut self) {
        self.until(self.now + self.plan.t() + SEC, |_| false);
        for m in 0..MEMBERS {
            let Some(process) = &self.members[m].process else {
                return self.fail(format!("m{m} died while nothing happened"));
            };
            self.members[m].must_know = process.shard.group().commit();
            if self.members[m].in_turn_until <= self.now {
                self.kill(m, self.now, false);
            }
        }
        let all_run = |w: &World| w.members.iter().all(|m| m.process.is_some());
        if !self.until(self.now + SEC, all_run) {
            self.not_live("all members start again");
        }
    }

    fn read_group(&mut self, group: u8, bound: u64) -> bool {
        let end = self.now + bound;
        while self.now < end && self.failure.is_none() {
            let before = self.clients[0].done;
            self.with_client(0, |client, s| {
                client.read_group(s, group);
                Ok(())
            });
            if !self.until(end, |w| w.clients[0].is_idle()) {
                return false;
            }
            if self.clients[0].done > before {
                return true;
            }
            let pause = self.now + 10 * MS;
            self.until(pause, |_| false);
        }
        false
    }

    fn not_live(&mut self, what: &str) {
        let members: Vec<String> = (0..MEMBERS).map(|m| self.describe(m)).collect();
        let waiting: Vec<String> = self
            .clients
            .iter()
            .filter(|c| !c.is_idle())
            .map(Client::describe)
            .collect();
        let bound = liveness_bound(self.plan.t()) / MS;
        self.fail(format!(
            "not live: {what}, but not within {bound} ms after healing\n  {}\n  {}",
            members.join("\n  "),
            waiting.join("\n  ")
        ));
    }

    pub fn describe(&self, m: usize) -> String {
        let member = &self.members[m];
        let Some(process) = &member.process else {
            return format!("m{m}: down");
        };
        let (shard, group) = (&process.shard, process.shard.group());
        format!(
            "m{m}: {:?} term {} leader {:?} commit {} applied {} last {} tail {} rebuilding {} room {} durable {} of {}",
            group.role(),
            group.term(),
            group.leader().and_then(|id| self.voters.iter().position(|v| *v == id)),
            group.commit(),
            group.applied(),
            group.last_index(),
            shard.tail_len(),
            shard.is_rebuilding(),
            shard.log().room(),
            shard.log().durable(),
            shard.log().end(),
        )
    }
}
