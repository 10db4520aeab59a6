//! The whole of a run: machines, network, clients, operators, and the order of what happens.
//!
//! Three phases: the topology comes to be; then faults and operations come as the plan says; then
//! everything is healed and must settle within a bound. What must hold at every moment is looked at
//! after every turn ([`crate::checks`]).

use base::ids::GroupId;
use cluster_bus::SlotSet;

use crate::agenda::{Agenda, Due};
use crate::checks::Checks;
use crate::client::{Client, Surroundings};
use crate::clock::{True, MS, US};
use crate::disk::Loss;
use crate::history::History;
use crate::machine::{Ended, Machine, CAPACITY, OPERATOR};
use crate::net::{Conn, Net, Packet, Payload, Weather};
use crate::plan::{bound, Plan, Topology};
use crate::rng::Rng;
use crate::scenes::{self, Step};
use crate::snapshots::{self, Dropped};
use crate::topology::slots;
use crate::trace::{Lines, Trace};
use crate::workload::{all_keys, Workload};

/// What is due at some time.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    Turn(usize),
    WitnessTurn(usize),
    JobEnd {
        m: usize,
        boot: u64,
        job: u64,
    },
    /// What waits on a new Raft link waits no longer.
    LetGo {
        m: usize,
        boot: u64,
        conn: Conn,
    },
    Client(usize),
    Start(usize),
    Fault,
    Operator,
    /// An operator takes a step of moving a slot.
    Mover,
    /// A cut is healed.
    Heal(usize, usize),
    /// The disk has room again.
    Room(usize),
    /// A machine's data member makes a snapshot.
    Snapshot(usize),
    /// A scene goes on.
    Step(Step),
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
    pub machines: Vec<Machine>,
    pub clients: Vec<Client>,
    pub trace: Trace,
    pub checks: Checks,
    pub history: History,
    workload: Workload,
    /// The slots that each shard is to have.
    pub slots: Vec<SlotSet>,
    /// The keys that clients use.
    pub keys: Vec<Vec<u8>>,
    /// A slot that operators move on at once, until then.
    pub hurried: Option<(u16, True)>,
    /// A shard that is to end while another one does not hear it.
    pub farewell: Option<crate::farewell::Farewell>,
    /// When which group's FLUSHALLs were asked for that are not known to have happened.
    pub flushes: Vec<(GroupId, True)>,
    /// The group that each shard's slots were given to.
    pub groups: Vec<GroupId>,
    /// What of the groups' logs snapshots may have dropped.
    pub dropped: Dropped,
    agenda: Agenda<Event>,
    pub next_job: u64,
    pub turns: u64,
    pub healed: bool,
    pub failure: Option<String>,
}

impl World {
    pub fn new(topology: Topology, seed: u64, lines: Lines) -> World {
        let mut rng = Rng::new(seed ^ (topology as u64 + 1) << 40);
        let plan = Plan::for_seed(topology, seed, &mut rng);
        let count = plan.machines + plan.spare_machines;
        let machines = (0..count)
            .map(|m| Machine::new(m, plan.drifting, &mut rng))
            .collect();
        let clients = (0..plan.clients)
            .map(|id| {
                let mut client = Client::new(id, count, plan.manner, rng.fork());
                if matches!(topology, Topology::Cluster | Topology::Moves) {
                    client.only = Some((id % u32::from(plan.taste.groups)) as u8);
                }
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
            keys: all_keys(&plan.taste).collect(),
            hurried: None,
            farewell: None,
            flushes: Vec::new(),
            groups: Vec::new(),
            dropped: Dropped::default(),
            agenda: Agenda::new(),
            next_job: 0,
            turns: 0,
            healed: false,
            failure: None,
            rng,
            plan,
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
        if self.plan.liar.is_none() {
            self.look_back();
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

    /// Everything heals and is served, and what was answered has happened.
    fn look_back(&mut self) {
        if self.failure.is_none() {
            self.liveness();
        }
        if self.failure.is_none() {
            let logged = self.logged_texts();
            self.failure = self.history.check(&logged, self.trace.is_on()).err();
        }
        let formed = matches!(self.plan.topology, Topology::Cluster | Topology::Moves);
        if self.failure.is_none() && !formed {
            self.restart_idle();
        }
    }

    // ---- events -----------------------------------------------------------------------------

    pub fn at(&mut self, at: True, event: Event) {
        self.agenda.put(at.max(self.now), event);
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
            Event::LetGo { m, boot, conn } => self.let_go(m, boot, conn),
            Event::Client(c) => self.wake_client(c),
            Event::Start(m) => self.start(m),
            Event::Fault if !self.healed => {
                crate::faults::inject(self);
                let next = self.rng.around(self.plan.fault_every);
                self.at(self.now + next, Event::Fault);
            }
            Event::Fault => {}
            Event::Operator => {
                crate::operator::look(self);
                let next = self.rng.around(self.plan.operator_every);
                self.at(self.now + next, Event::Operator);
            }
            Event::Mover => {
                crate::mover::look(self);
                let soon = self.plan.t() / 20;
                let next = match self.hurried.filter(|(_, until)| self.now < *until) {
                    Some(_) => soon.min(self.plan.moves_every),
                    None => self.plan.moves_every,
                };
                let next = self.rng.around(next);
                self.at(self.now + next, Event::Mover);
            }
            Event::Heal(a, b) => self.net.heal(self.now, a, b),
            Event::Room(m) => self.machines[m].disk.set_capacity(CAPACITY),
            Event::Snapshot(m) => {
                if !self.healed {
                    snapshots::take(self, m);
                }
                let next = self.rng.around(self.plan.snapshot_every);
                self.at(self.now + next, Event::Snapshot(m));
            }
            Event::Step(step) if !self.healed => scenes::step(self, step),
            Event::Step(_) => {}
        }
    }

    // ---- processes --------------------------------------------------------------------------

    fn start(&mut self, m: usize) {
        if self.machines[m].node.is_some() || self.machines[m].spare {
            return;
        }
        let formed = !self.groups.is_empty();
        if !self.healed && formed && self.rng.chance(self.plan.dies_again_p) {
            let work = self.rng.around(3000);
            self.machines[m].disk.light_fuse(work);
        }
        let machine = &mut self.machines[m];
        machine.disk.set_sync_time(0);
        let ended = machine.start(self.now, &self.plan, &mut self.rng);
        self.trace.mix(m as u64);
        match ended {
            Ended::Fine(()) => {
                self.trace.say(self.now, || format!("m{m} starts"));
                let line = self.describe(m);
                self.trace.say(self.now, || line);
                self.carry(m, self.now);
                let node = self.machines[m].node.as_ref().expect("just started");
                let applied = node.shard().group().applied();
                let must = std::mem::take(&mut self.machines[m].must_know);
                if applied < must {
                    self.fail(format!(
                        "D1: m{m} was idle with commit index {must} and starts with {applied}"
                    ));
                }
                self.want_turn(m, self.now);
                self.want_witness_turn(m, self.now);
            }
            ended => self.ended(m, self.now, &ended, "its start"),
        }
    }

    pub fn ended<R>(&mut self, m: usize, now: True, ended: &Ended<R>, doing: &str) {
        match ended {
            Ended::Fine(_) => {}
            Ended::Crashed => self.kill(m, now, self.machines[m].power_on_crash),
            // What proves a lost log can be a lie as well; the member comes back as another one.
            Ended::Stopped(text)
                if self.machines[m].may_end()
                    || self.plan.liar.is_some() && text.contains("has lost log") =>
            {
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

    /// Ends a process, at whatever point of its turn it is.
    pub fn kill(&mut self, m: usize, now: True, power: bool) {
        let loss = Loss::any(&mut self.rng);
        self.trace.say(now, || match power {
            true => format!("m{m} loses power ({loss:?})"),
            false => format!("m{m} is killed"),
        });
        self.trace.mix(0xdead + m as u64);
        let machine = &mut self.machines[m];
        let conns = machine.die(now, power, loss, &mut self.rng);
        machine.power_on_crash = false;
        let back = match self.healed {
            true => now + 10 * MS,
            false => now + machine.down_for.max(5 * MS),
        };
        let count = self.machines.len();
        self.net.member_died(now, m, count);
        for (conn, to) in conns.into_iter().filter(|(_, to)| *to != OPERATOR) {
            let packet = Packet {
                from: m,
                to,
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
        let next = machine.next_witness_turn;
        if next.is_none_or(|t| at < t || t < self.now) {
            machine.next_witness_turn = Some(at);
            self.at(at, Event::WitnessTurn(m));
        }
    }

    // ---- clients ----------------------------------------------------------------------------

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
        output: impl FnOnce(&mut Client, &mut Surroundings<'_>) -> Result<(), String>,
    ) {
        let mut s = Surroundings {
            now: self.now,
            net: &mut self.net,
            history: &mut self.history,
            workload: &mut self.workload,
            trace: &mut self.trace,
        };
        let ended = output(&mut self.clients[c], &mut s);
        if let Some(why) = ended.err().filter(|_| self.plan.liar.is_none()) {
            self.fail(why);
        }
    }

    pub fn bound(&self) -> u64 {
        bound(&self.plan)
    }
}
