//! The whole of a run: machines, network, clients, operators, and the order of what happens.
//!
//! Three phases: the cluster is formed as `redis-cli --cluster create` does it; then faults and
//! operations come as the plan says; then everything is healed and must settle within a bound.

use std::collections::BTreeMap;

use cluster_bus::slot::key_slot;
use cluster_bus::SlotSet;
use holdfast::storage::LogConfig;

use super::checks::Checks;
use super::machine::Machine;
use super::node::{Input, Node, Setup};
use super::ops::Op;
use super::plan::{bound, Plan};
use crate::agenda::{Agenda, Due};
use crate::client::{Client, Surroundings};
use crate::clock::{True, MS, SEC, US};
use crate::disk::Loss;
use crate::history::History;
use crate::member::{Ended, CAPACITY};
use crate::net::{Net, Packet, Payload, Weather};
use crate::rng::Rng;
use crate::trace::{Lines, Trace};
use crate::workload::{key_name, Workload};
use crate::world::Verdict;

/// Six form the cluster, one may come later.
pub const MACHINES: usize = 7;
pub const FIRST: usize = 6;
pub const SHARDS: usize = 3;

#[derive(Clone, Copy, Debug)]
pub enum Event {
    Turn(usize),
    WitnessTurn(usize),
    JobEnd {
        m: usize,
        boot: u64,
        job: u64,
    },
    ConfEnd {
        m: usize,
        boot: u64,
        job: u64,
    },
    /// nodes.conf could not be written.
    ConfFailed {
        m: usize,
        boot: u64,
    },
    Client(usize),
    Start(usize),
    Fault,
    Operator,
    Cut(usize, usize, u64),
    Heal(usize, usize),
    Fuse(usize, u64),
    /// The disk has room again.
    Room(usize),
    /// A shard takes slots again that it has given up.
    Gain(usize),
}

pub struct World {
    pub now: True,
    pub plan: Plan,
    pub rng: Rng,
    pub net: Net,
    pub machines: Vec<Machine>,
    pub clients: Vec<Client>,
    pub trace: Trace,
    pub(super) checks: Checks,
    pub(super) history: History,
    pub(super) workload: Workload,
    /// The slots that each shard is to have.
    pub slots: Vec<SlotSet>,
    /// The group that each shard's slots were given to.
    pub groups: Vec<u64>,
    pub(super) confs: BTreeMap<u64, (String, u64)>,
    agenda: Agenda<Event>,
    pub(super) next_job: u64,
    turns: u64,
    pub healed: bool,
    pub failure: Option<String>,
}

impl World {
    pub fn new(seed: u64, lines: Lines) -> World {
        let mut rng = Rng::new(seed ^ 0xc1_05_7e_12);
        let plan = Plan::for_seed(seed, &mut rng);
        let machines = (0..MACHINES)
            .map(|_| Machine::new(plan.drifting, &mut rng))
            .collect();
        let clients = (0..plan.clients)
            .map(|id| {
                let mut client = Client::new(id, MACHINES, plan.manner, rng.fork());
                client.only = Some((id % u32::from(plan.taste.groups)) as u8);
                client
            })
            .collect();
        World {
            now: 0,
            net: Net::new(rng.fork(), Weather::FAIR),
            machines,
            clients,
            trace: Trace::new(lines),
            checks: Checks::default(),
            history: History::new(plan.taste.groups),
            workload: Workload::new(plan.taste),
            slots: slots(&plan),
            groups: Vec::new(),
            confs: BTreeMap::new(),
            agenda: Agenda::new(),
            next_job: 0,
            turns: 0,
            healed: false,
            failure: None,
            rng,
            plan,
        }
    }

    pub fn setup(&self, m: usize) -> Setup {
        Setup {
            index: m,
            t_ms: self.plan.t_ms,
            node_timeout_ms: self.plan.node_timeout_ms,
            log: LogConfig {
                segment_size: self.plan.segment,
                spare_segments: 4,
                reserve: 8 << 10,
            },
            full_coverage: self.plan.full_coverage,
            witness: self.plan.witness,
        }
    }

    /// Runs all phases and looks at the history.
    pub fn run(mut self) -> Verdict {
        let plan = format!("{:?}", self.plan);
        self.trace.say(0, || plan);
        self.form();
        if self.failure.is_none() {
            let end = self.now + self.plan.safety;
            self.until(end, |_| false);
        }
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
            lines: self.trace.last(300),
        }
    }

    // ---- the first phase ------------------------------------------------------------------------

    fn form(&mut self) {
        self.machines[FIRST].spare = true;
        for m in 0..FIRST {
            let at = self.rng.below(20 * MS);
            self.at(at, Event::Start(m));
        }
        let alone = |w: &World| {
            let leads = |n: &Node| n.shard.group().own_term_applied();
            (0..FIRST).all(|m| w.machines[m].node.as_ref().is_some_and(leads))
        };
        if !self.until(5 * SEC, alone) {
            return self.fail("not formed: every node leads its own group".to_string());
        }
        for shard in 0..SHARDS {
            let node = self.machines[shard].node.as_ref().expect("it runs");
            self.groups.push(node.shard.base().group);
            let op = Op::AddSlots(self.slots[shard].clone());
            self.op(shard, op);
        }
        for m in 0..FIRST {
            self.op(m, Op::SetEpoch(m as u64 + 1));
            if m > 0 {
                self.op(m, Op::Meet(0));
            }
        }
        for c in 0..self.clients.len() {
            let at = self.now + self.rng.below(20 * MS);
            self.at(at, Event::Client(c));
        }
        let all_met = |w: &World| (0..FIRST).all(|m| w.knows_all(m));
        if !self.until(self.now + 15 * SEC, all_met) {
            return self.fail(format!("not formed: all have met\n{}", self.describe_all()));
        }
        let first = self.rng.around(self.plan.fault_every);
        if self.plan.faults_while_forming {
            self.net.weather = self.plan.weather;
            self.at(self.now + first, Event::Fault);
        }
        for shard in 0..SHARDS {
            let name = self.machines[shard].name.expect("it runs");
            self.op(SHARDS + shard, Op::Replicate(name));
        }
        if !self.plan.faults_while_forming {
            self.wait_for("the first forming");
            self.net.weather = self.plan.weather;
            self.at(self.now + first, Event::Fault);
        }
        self.at(self.now + self.plan.operator_every, Event::Operator);
    }

    fn knows_all(&self, m: usize) -> bool {
        let Some(node) = &self.machines[m].node else {
            return false;
        };
        let bus = node.agent.bus();
        let owners = (0..SHARDS).all(|s| {
            let slot = self.slots[s].iter().next().expect("every shard has slots");
            bus.owner(slot) == self.machines[s].name
        });
        owners && bus.nodes().count() == FIRST && bus.nodes().all(|n| !n.in_handshake())
    }

    pub fn op(&mut self, m: usize, op: Op) {
        if self.machines[m].node.is_some() {
            self.trace
                .say(self.now, || format!("m{m} is asked {op:.120?}"));
            self.machines[m].inbox.push(Input::Op(op));
            self.want_turn(m, self.now);
        }
    }

    // ---- events ---------------------------------------------------------------------------------

    pub fn at(&mut self, at: True, event: Event) {
        self.agenda.put(at.max(self.now), event);
    }

    /// One direction is cut later on.
    pub fn at_cut(&mut self, at: True, from: usize, to: usize, lasts: u64) {
        self.at(at, Event::Cut(from, to, lasts));
    }

    pub fn fail(&mut self, why: String) {
        if self.failure.is_none() {
            self.trace.say(self.now, || format!("FAILURE: {why}"));
            self.failure = Some(why);
        }
    }

    /// Lets things happen until `end`, a failure, or until `done`; whether it was.
    pub fn until(&mut self, end: True, done: impl Fn(&World) -> bool) -> bool {
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
            Event::WitnessTurn(m) => self.witness_turn(m),
            Event::JobEnd { m, boot, job } => self.job_end(m, boot, job),
            Event::ConfEnd { m, boot, job } => self.conf_end(m, boot, job),
            Event::Client(c) => self.wake_client(c),
            Event::Start(m) => self.start(m),
            Event::Fault if !self.healed => {
                super::faults::inject(self);
                let next = self.rng.around(self.plan.fault_every);
                self.at(self.now + next, Event::Fault);
            }
            Event::Fault => {}
            Event::Operator => {
                super::operator::look(self);
                let next = self.rng.around(self.plan.operator_every);
                self.at(self.now + next, Event::Operator);
            }
            Event::Cut(a, b, lasts) if !self.healed => super::faults::cut(self, a, b, lasts),
            Event::Cut(..) => {}
            Event::Heal(a, b) => self.net.heal(self.now, a, b),
            Event::Fuse(m, work) if !self.healed => self.machines[m].disk.light_fuse(work),
            Event::Fuse(..) => {}
            Event::ConfFailed { m, boot } => {
                if self.machines[m].boot == boot && self.machines[m].node.is_some() {
                    self.machines[m].inbox.push(Input::ConfFailed);
                    self.want_turn(m, self.now);
                }
            }
            Event::Room(m) => self.machines[m].disk.set_capacity(CAPACITY),
            Event::Gain(shard) => super::faults::gain(self, shard),
        }
    }

    // ---- processes ------------------------------------------------------------------------------

    fn start(&mut self, m: usize) {
        if self.machines[m].node.is_some() || self.machines[m].spare {
            return;
        }
        let formed = !self.groups.is_empty();
        if !self.healed && formed && self.rng.chance(self.plan.dies_again_p) {
            let work = self.rng.around(3000);
            self.machines[m].disk.light_fuse(work);
        }
        let setup = self.setup(m);
        let ended = self.machines[m].start(self.now, setup, &mut self.rng);
        self.trace.mix(m as u64);
        match ended {
            Ended::Fine(()) => {
                self.trace.say(self.now, || format!("m{m} starts"));
                let line = self.describe(m);
                self.trace.say(self.now, || line);
                self.want_turn(m, self.now);
                self.want_witness_turn(m, self.now);
            }
            ended => self.ended(m, self.now, &ended, "its start"),
        }
    }

    pub(super) fn ended<R>(&mut self, m: usize, now: True, ended: &Ended<R>, doing: &str) {
        match ended {
            Ended::Fine(_) => {}
            Ended::Crashed => self.kill(m, now, self.machines[m].power_on_crash),
            Ended::Stopped(text) if self.machines[m].may_end() => {
                self.trace
                    .say(now, || format!("m{m} ends itself in {doing}: {text}"));
                self.kill(m, now, false);
            }
            Ended::Stopped(text) => {
                self.fail(format!("machine {m} ended itself in {doing}: {text}"));
            }
            Ended::Panicked(text) => self.fail(format!("machine {m} panicked in {doing}: {text}")),
        }
    }

    /// Ends a process, now or at the end of a turn that has just been simulated.
    pub fn kill(&mut self, m: usize, now: True, power: bool) {
        let loss = Loss::any(&mut self.rng);
        self.trace.say(now, || match power {
            true => format!("m{m} loses power ({loss:?})"),
            false => format!("m{m} is killed"),
        });
        self.trace.mix(0xdead + m as u64);
        let machine = &mut self.machines[m];
        machine.die(now, power, loss, &mut self.rng);
        machine.power_on_crash = false;
        let conns = std::mem::take(&mut machine.conns);
        let back = match self.healed {
            true => now + 10 * MS,
            false => now + machine.down_for.max(5 * MS),
        };
        self.net.member_died(now, m, MACHINES);
        for (conn, client) in conns {
            let packet = Packet {
                from: m,
                to: client,
                conn,
                payload: Payload::Close,
            };
            self.net.send(now, packet);
        }
        self.close_bus(m, now);
        self.at(back, Event::Start(m));
    }

    pub fn want_turn(&mut self, m: usize, at: True) {
        let machine = &mut self.machines[m];
        if machine.node.is_none() {
            return;
        }
        let at = at.max(machine.busy_until).max(self.now);
        if machine.next_turn.is_none_or(|t| at < t || t < self.now) {
            machine.next_turn = Some(at);
            self.at(at, Event::Turn(m));
        }
    }

    pub fn want_witness_turn(&mut self, m: usize, at: True) {
        let machine = &mut self.machines[m];
        if machine.node.is_none() {
            return;
        }
        let at = at.max(machine.busy_until).max(self.now);
        if machine
            .next_witness_turn
            .is_none_or(|t| at < t || t < self.now)
        {
            machine.next_witness_turn = Some(at);
            self.at(at, Event::WitnessTurn(m));
        }
    }

    fn turn(&mut self, m: usize) {
        let machine = &mut self.machines[m];
        if machine.next_turn != Some(self.now) || machine.node.is_none() {
            return;
        }
        machine.next_turn = None;
        if machine.busy_until > self.now {
            return self.want_turn(m, self.now);
        }
        self.turns += 1;
        let (ended, end) = self.node_turn(m);
        match ended {
            Ended::Fine(result) => {
                let machine = &mut self.machines[m];
                machine.busy_until = end + 2 * US;
                self.send_all(m, end, result);
            }
            ended => self.ended(m, end, &ended, "a turn"),
        }
        self.look(m, end);
    }

    fn wake_client(&mut self, c: usize) {
        self.with_client(c, |client, s| {
            client.wake(s);
            Ok(())
        });
        let next = self.clients[c].next_at.max(self.now + 10 * US);
        self.at(next, Event::Client(c));
    }

    pub fn with_client(
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

    pub fn bound(&self) -> u64 {
        bound(&self.plan)
    }
}

/// Which shard has which slots: all of them, or those that clients use.
fn slots(plan: &Plan) -> Vec<SlotSet> {
    if plan.full_coverage {
        let end = |shard: usize| (16384 * shard / SHARDS) as u16;
        return (0..SHARDS)
            .map(|s| (end(s)..end(s + 1)).collect())
            .collect();
    }
    let mut slots = vec![SlotSet::default(); SHARDS];
    for group in 0..plan.taste.groups {
        let slot = key_slot(&key_name(group, 0));
        slots[usize::from(group) % SHARDS].insert(slot);
    }
    slots
}
