//! What a step wants is done here: packets leave and arrive, jobs begin and end.

use std::net::SocketAddr;
use storage::{Done, Job};
use transport::{Command, Event as LinkEvent};

use crate::clock::{True, MS, US};
use crate::disk::SimDisk;
use crate::machine::{guarded, ip_of, machine_at, BusEnd, Ended, Running, OPERATOR};
use crate::net::{BusNews, Conn, Packet, Payload};
use crate::world::{Event, World};

/// Lanes of the storage thread: syncs, allocations, the rest; that of the thread of snapshots, and that of states
/// which travel.
const SYNCS: usize = 0;
const ALLOCATIONS: usize = 1;
const REST: usize = 2;
const SNAPSHOTS: usize = 3;
const TRANSFERS: usize = 4;
pub const LANES: usize = 5;

/// The end of the job of the rest that is the next in order; no job has this number.
const NEXT: u64 = 0;
/// The same of the thread that makes snapshots.
const NEXT_SNAPSHOT: u64 = u64::MAX;

impl World {
    /// Carries away what the server wants at this moment.
    pub fn carry(&mut self, m: usize, end: True) {
        let machine = &mut self.machines[m];
        let orders = std::mem::take(&mut machine.wires.borrow_mut().orders);
        let (written, closed) = machine.kernel.borrow_mut().take_output();
        let jobs = std::mem::take(&mut machine.kernel.borrow_mut().jobs);
        let for_witnesses = !machine.wires.borrow().for_witnesses.is_empty();
        for order in orders {
            self.order(m, end, order);
        }
        let outgoing = std::mem::take(&mut self.machines[m].kernel.borrow_mut().outgoing_orders);
        for order in outgoing {
            self.outgoing(m, end, &order);
        }
        for (conn, to, bytes) in written {
            if to == OPERATOR {
                self.told(m, &bytes, false);
                continue;
            }
            self.trace.mix_bytes(&bytes);
            self.put(end, m, to, conn, Payload::Bytes(bytes));
        }
        for (conn, to) in closed {
            match to {
                OPERATOR => self.told(m, &[], true),
                to => self.put(end, m, to, conn, Payload::Close),
            }
        }
        for (of, job) in jobs {
            self.begin_job(m, end, of, job);
            if self.machines[m].node.is_none() {
                return;
            }
        }
        if for_witnesses {
            self.want_witness_turn(m, end);
        }
    }

    fn order(&mut self, m: usize, end: True, order: Command) {
        match order {
            Command::BusConnect { link, addr } => {
                let peer = machine_at(addr.port());
                let conn = self.net.new_conn();
                self.machines[m].bus.insert(conn, BusEnd { link, peer });
                if peer < self.machines.len() {
                    self.put(end, m, peer, conn, Payload::Bus(BusNews::Open));
                }
            }
            Command::BusSend { link, bytes } => {
                if let Some((conn, peer)) = self.bus_end(m, link) {
                    self.trace.mix_bytes(&bytes);
                    self.put(end, m, peer, conn, Payload::Bus(BusNews::Packet(bytes)));
                }
            }
            Command::BusClose { link } => {
                if let Some((conn, peer)) = self.bus_end(m, link) {
                    self.machines[m].bus.remove(&conn);
                    self.put(end, m, peer, conn, Payload::Bus(BusNews::Closed));
                }
            }
            Command::Myself(name) => self.renamed(m, name),
            Command::Peer { node, addr } => {
                let peers = &mut self.machines[m].peers;
                match addr {
                    Some(addr) => peers.insert(node, machine_at(addr.port())),
                    None => peers.remove(&node),
                };
            }
            Command::Raft { to, bytes, .. } => self.send_frame(m, end, to, bytes),
            Command::Answer { to, bytes } => self.send_answer(m, end, to, bytes),
            // All nodes are of this program.
            Command::Probe { node, .. } => {
                let answer = transport::Probed::Known;
                self.event(m, end, LinkEvent::Probed { node, answer });
            }
            // No server is out there.
            Command::OutgoingConnect { link, .. } => {
                self.event(m, end, LinkEvent::OutgoingClosed { link });
            }
            Command::OutgoingSend { .. } | Command::OutgoingClose { .. } => {}
            Command::Passwords(_) | Command::Stop => {}
        }
    }

    /// No server is out there.
    fn outgoing(&mut self, m: usize, end: True, order: &Command) {
        if let Command::OutgoingConnect { link, .. } = order {
            let event = LinkEvent::OutgoingClosed { link: *link };
            let mut kernel = self.machines[m].kernel.borrow_mut();
            kernel.outgoing_events.push_back(event);
            drop(kernel);
            self.want_turn(m, end);
        }
    }

    pub fn put(&mut self, at: True, from: usize, to: usize, conn: Conn, payload: Payload) {
        if to >= self.machines.len() + self.clients.len() {
            return;
        }
        let packet = Packet {
            from,
            to,
            conn,
            payload,
        };
        self.net.send(at, packet);
    }

    pub fn event(&mut self, m: usize, at: True, event: LinkEvent) {
        self.machines[m].wires.borrow_mut().event.push_back(event);
        self.want_turn(m, at);
    }

    // ---- the bus ----------------------------------------------------------------------------

    fn bus_end(&self, m: usize, link: u64) -> Option<(Conn, usize)> {
        let ends = self.machines[m].bus.iter();
        ends.filter(|(_, end)| end.link == link)
            .map(|(conn, end)| (*conn, end.peer))
            .next()
    }

    /// The other ends of the bus's connections hear that the process is gone.
    pub fn close_bus(&mut self, m: usize, now: True) {
        for (conn, end) in std::mem::take(&mut self.machines[m].bus) {
            self.put(now, m, end.peer, conn, Payload::Bus(BusNews::Closed));
        }
    }

    /// A connection of the bus breaks, at both ends.
    pub fn break_bus(&mut self, a: usize, b: usize) {
        let conns: Vec<Conn> = self.machines[a]
            .bus
            .iter()
            .filter(|(_, end)| end.peer == b)
            .map(|(conn, _)| *conn)
            .collect();
        for conn in conns {
            for m in [a, b] {
                if let Some(end) = self.machines[m].bus.remove(&conn) {
                    let link = end.link;
                    self.event(m, self.now, LinkEvent::BusClosed { link });
                }
            }
        }
    }

    fn bus_arrives(&mut self, from: usize, m: usize, conn: Conn, event: BusNews) {
        let machine = &mut self.machines[m];
        let known = machine.bus.get(&conn).copied();
        let local = SocketAddr::new(ip_of(m), 17_000 + m as u16);
        let input = match (event, known) {
            (BusNews::Open, _) => {
                let link = machine.incoming();
                machine.bus.insert(conn, BusEnd { link, peer: from });
                self.put(self.now, m, from, conn, Payload::Bus(BusNews::Up));
                let peer = SocketAddr::new(ip_of(from), 40_000);
                LinkEvent::BusAccepted { link, peer, local }
            }
            (BusNews::Up, Some(end)) => LinkEvent::BusConnected {
                link: end.link,
                local,
            },
            (BusNews::Packet(bytes), Some(end)) => LinkEvent::BusPacket {
                link: end.link,
                bytes: bytes.to_vec(),
            },
            (BusNews::Closed, Some(end)) => {
                machine.bus.remove(&conn);
                LinkEvent::BusClosed { link: end.link }
            }
            (BusNews::Closed, None) => return,
            (BusNews::Up | BusNews::Packet(_), None) => {
                return self.put(self.now, m, from, conn, Payload::Bus(BusNews::Closed));
            }
        };
        let soon = self.now + self.rng.below(40 * US);
        self.event(m, soon, input);
    }

    // ---- packets ----------------------------------------------------------------------------

    pub fn arrive(&mut self, packet: Packet) {
        if packet.to >= self.machines.len() {
            let c = packet.to - self.machines.len();
            return self.with_client(c, |client, s| client.receive(s, packet));
        }
        let (m, from, conn) = (packet.to, packet.from, packet.conn);
        let machine = &mut self.machines[m];
        let runs = machine.node.is_some();
        let known = machine.kernel.borrow().conns.contains_key(&conn);
        let unknown = matches!(packet.payload, Payload::Bytes(_)) && !known;
        if !runs || unknown {
            let payload = match packet.payload {
                Payload::Raft(_) => return self.net.refused(conn),
                Payload::Open => Payload::Refused,
                Payload::Bytes(_) => Payload::Close,
                Payload::Bus(BusNews::Open | BusNews::Packet(_)) => Payload::Bus(BusNews::Closed),
                _ => return,
            };
            return self.put(self.now, m, from, conn, payload);
        }
        let soon = self.now + self.rng.below(40 * US);
        match packet.payload {
            Payload::Bus(event) => return self.bus_arrives(from, m, conn, event),
            Payload::Raft(piece) => return self.piece_arrives(m, soon, conn, piece),
            Payload::Ask(link) => return self.asked(m, from, conn, link),
            Payload::Vouch(link) => return self.vouched(m, soon, from, link),
            Payload::Open => machine.kernel.borrow_mut().open(conn, from),
            Payload::Bytes(bytes) => machine.kernel.borrow_mut().receive(conn, &bytes, false),
            Payload::Close | Payload::Refused => {
                machine.kernel.borrow_mut().receive(conn, &[], true);
            }
        }
        self.want_turn(m, soon);
    }

    // ---- jobs -------------------------------------------------------------------------------

    /// The storage thread does its syncs, its allocations and the rest each in order; a job of the
    /// rest comes behind the syncs that were handed over before it.
    fn begin_job(&mut self, m: usize, now: True, of: u64, job: Job<SimDisk>) {
        let lane = match job {
            Job::Sync(_) => SYNCS,
            Job::Alloc(_) => ALLOCATIONS,
            Job::Snapshot(_) => SNAPSHOTS,
            Job::Transfer(_) => TRANSFERS,
            _ => REST,
        };
        let mean = match lane {
            SYNCS => self.plan.sync_us,
            SNAPSHOTS => 30_000,
            _ => 300,
        };
        let mut length = self.rng.around(mean * US);
        let machine = &mut self.machines[m];
        let mut begin = now.max(machine.lanes[lane]);
        if lane == REST {
            begin = begin.max(machine.lanes[SYNCS]);
        }
        if machine.slow_until > begin {
            length += machine.slow_until - begin;
        }
        let end = begin + length;
        machine.lanes[lane] = end;
        let running = match job {
            Job::Sync(job) => {
                let disk = machine.disk.clone();
                let ended = guarded(|| -> Result<Running, String> {
                    let (result, ticket) = disk.deferred(|| job.run());
                    Ok(Running::Sync(Done::Synced(result), ticket))
                });
                machine.as_crash(ended)
            }
            other => Ended::Fine(Running::Other(other)),
        };
        match running {
            Ended::Fine(running) => {
                self.next_job += 1;
                let job = self.next_job;
                let boot = self.machines[m].boot;
                self.machines[m].jobs.insert(job, (of, running));
                let job = match lane {
                    REST => {
                        self.machines[m].in_order.push_back(job);
                        NEXT
                    }
                    SNAPSHOTS => {
                        self.machines[m].snapshots_in_order.push_back(job);
                        NEXT_SNAPSHOT
                    }
                    _ => job,
                };
                self.at(end, Event::JobEnd { m, boot, job });
            }
            ended => self.ended(m, now, &ended, "a job"),
        }
    }

    pub fn job_end(&mut self, m: usize, boot: u64, job: u64) {
        let machine = &mut self.machines[m];
        if machine.boot != boot {
            return;
        }
        // A stopped process has no running threads; what the disk does by itself is done.
        let stopped = machine.busy_until > self.now + MS;
        let of_thread = [NEXT, NEXT_SNAPSHOT].contains(&job)
            || matches!(machine.jobs.get(&job), Some((_, Running::Other(_))));
        if stopped && of_thread {
            let later = machine.busy_until + 10 * US;
            return self.at(later, Event::JobEnd { m, boot, job });
        }
        // The thread takes its jobs in order, whichever of them was put off (shard seeds 182 and 7862).
        let next = match job {
            NEXT => machine.in_order.pop_front(),
            NEXT_SNAPSHOT => machine.snapshots_in_order.pop_front(),
            job => Some(job),
        };
        let Some(job) = next else {
            return; // the process has ended
        };
        let Some((of, running)) = machine.jobs.remove(&job) else {
            return;
        };
        if matches!(running, Running::Other(Job::Snapshot(_))) {
            crate::snapshots::begins(self, m);
        }
        if let Running::Other(Job::Switch(job)) = &running {
            crate::snapshots::before_switch(self, m, job.base().snapshot.index);
        }
        let machine = &mut self.machines[m];
        let current = machine.kernel.borrow().shard_no == of;
        let ended = match running {
            Running::Sync(done, ticket) => {
                machine.disk.complete(ticket);
                Ended::Fine(Some(done))
            }
            Running::Other(job) => {
                let is_call = matches!(job, Job::Call(_) | Job::Garbage(_));
                if !current && !is_call {
                    return; // the folder is gone
                }
                guarded(|| -> Result<_, String> { Ok(job.run()) })
            }
        };
        match machine.as_crash(ended) {
            Ended::Fine(Some(done)) if current => {
                machine.kernel.borrow_mut().done.push_back(done);
                self.want_turn(m, self.now);
            }
            Ended::Fine(_) => self.want_turn(m, self.now),
            ended => self.ended(m, self.now, &ended, "a job"),
        }
    }
}
