//! What a turn wants is done here: packets leave and arrive, jobs begin and end.

use cluster_bus::bus::Action;
use cluster_bus::NodeId;
use holdfast::agent::control::Frame;
use holdfast::storage::Job;
use raft::eraftpb::MessageType;

use super::machine::BusEnd;
use super::node::{ip_of, Input, Sending, TurnResult};
use super::start::save_conf;
use super::world::{Event, World, MACHINES};
use crate::clock::{True, TurnClock, MS, US};
use crate::disk::SimDisk;
use crate::member::{guarded, Ended, Running};
use crate::net::{BusNews, Conn, Packet, Payload};
use holdfast::clock::Clock;
use holdfast::storage::Done;

impl World {
    /// The node's turn; gives the true time of its end.
    pub(super) fn node_turn(&mut self, m: usize) -> (Ended<TurnResult>, True) {
        let machine = &mut self.machines[m];
        let inbox = std::mem::take(&mut machine.inbox);
        let stop = machine.stop_next.take();
        let rng = self.rng.fork();
        let clock = TurnClock::new(&machine.clock, self.now, stop, rng);
        let node = machine.node.as_mut().expect("a running process");
        let ended = guarded(|| node.turn(&clock, inbox));
        let end = clock.true_now();
        (self.machines[m].as_crash(ended), end)
    }

    pub(super) fn witness_turn(&mut self, m: usize) {
        let machine = &mut self.machines[m];
        if machine.next_witness_turn != Some(self.now) || machine.node.is_none() {
            return;
        }
        machine.next_witness_turn = None;
        if machine.busy_until > self.now {
            return self.want_witness_turn(m, self.now);
        }
        let rng = self.rng.fork();
        let clock = TurnClock::new(&machine.clock, self.now, None, rng);
        let time = clock.now();
        let node = machine.node.as_mut().expect("a running process");
        let ended = guarded(|| Ok::<_, String>(node.witness_turn(time)));
        let ended = machine.as_crash(ended);
        match ended {
            Ended::Fine((frames, deadline)) => {
                // W2: its syncs are done on the spot.
                let end = self.now + self.rng.around(self.plan.sync_us * US);
                self.send_frames(m, end, frames);
                if let Some(at) = deadline {
                    let at = self.machines[m].clock.when(at).max(end + 10 * US);
                    self.want_witness_turn(m, at);
                }
            }
            ended => self.ended(m, self.now, &ended, "a turn of its witnesses"),
        }
        self.look(m, self.now);
    }

    pub(super) fn send_all(&mut self, m: usize, end: True, result: TurnResult) {
        self.send_frames(m, end, result.frames);
        for action in result.bus {
            self.bus_action(m, end, action);
        }
        for (conn, to, bytes) in result.replies {
            self.trace.mix_bytes(&bytes);
            self.put(end, m, to, conn, Payload::Bytes(bytes));
        }
        for (conn, to) in result.closed {
            self.machines[m].conns.remove(&conn);
            self.put(end, m, to, conn, Payload::Close);
        }
        if let Some(conf) = result.conf {
            self.next_job += 1;
            let (job, boot) = (self.next_job, self.machines[m].boot);
            self.confs.insert(job, conf);
            let at = end + self.rng.around(2 * self.plan.sync_us * US);
            self.at(at, Event::ConfEnd { m, boot, job });
        }
        for (of, job) in result.jobs {
            self.begin_job(m, end, of, job);
            if self.machines[m].node.is_none() {
                return;
            }
        }
        if result.for_witnesses {
            self.want_witness_turn(m, end);
        }
        let wake = self.machines[m].clock.when(result.wake).max(end + 10 * US);
        self.want_turn(m, wake);
        if !self.machines[m].inbox.is_empty() {
            self.want_turn(m, end);
        }
    }

    fn put(&mut self, at: True, from: usize, to: usize, conn: Conn, payload: Payload) {
        let packet = Packet {
            from,
            to,
            conn,
            payload,
        };
        self.net.send(at, packet);
    }

    // ---- Raft links -----------------------------------------------------------------------------

    fn send_frames(&mut self, m: usize, end: True, frames: Vec<Sending>) {
        for (machine, to, from, back, frame) in frames {
            if machine >= MACHINES {
                continue;
            }
            if machine == m {
                // As the links do: what a node says to itself comes back.
                let input = Input::Frame {
                    from,
                    machine,
                    proved: true,
                    bytes: frame,
                };
                self.machines[m].inbox.push(input);
                self.want_turn(m, end);
                continue;
            }
            self.trace.mix_bytes(&frame);
            if self.trace.is_on() {
                let line = show(&frame);
                self.trace.say(end, || format!("m{m} -> m{machine} {line}"));
            }
            let mut bytes = Vec::with_capacity(frame.len() + 40);
            bytes.extend_from_slice(&to.0);
            bytes.extend_from_slice(&from.0);
            bytes.push(u8::from(back));
            bytes.extend_from_slice(&frame);
            if self.is_held_back(m, machine, end, &frame, &bytes) {
                continue;
            }
            self.net.send_raft(end, m, machine, bytes);
        }
    }

    /// A scene: the first TimeoutNow comes late, others do not come.
    fn is_held_back(&mut self, m: usize, to: usize, end: True, frame: &[u8], all: &[u8]) -> bool {
        let machine = &mut self.machines[m];
        if machine.hold_timeout_now.is_none() && machine.lose_timeout_now <= end {
            return false;
        }
        let is_timeout_now = matches!(Frame::decode(frame), Ok(Frame::Raft(e))
            if e.message.get_msg_type() == MessageType::MsgTimeoutNow);
        if !is_timeout_now {
            return false;
        }
        if let Some(late) = machine.hold_timeout_now.take() {
            machine.lose_timeout_now = end + late;
            self.trace.say(end, || {
                format!("m{m}'s TimeoutNow comes {} us late", late / US)
            });
            let conn = self.net.new_conn();
            let packet = Packet {
                from: m,
                to,
                conn,
                payload: Payload::Raft(all.to_vec()),
            };
            self.net.send(end + late, packet);
        }
        true
    }

    // ---- the bus --------------------------------------------------------------------------------

    fn bus_action(&mut self, m: usize, end: True, action: Action) {
        match action {
            Action::Connect { link, port, .. } => {
                let peer = usize::from(port).saturating_sub(17_000);
                let conn = self.net.new_conn();
                self.machines[m].bus.insert(conn, BusEnd { link, peer });
                if peer < MACHINES {
                    self.put(end, m, peer, conn, Payload::Bus(BusNews::Open));
                }
            }
            Action::Send { link, bytes } => {
                if let Some((conn, peer)) = self.bus_end(m, link) {
                    self.trace.mix_bytes(&bytes);
                    self.put(end, m, peer, conn, Payload::Bus(BusNews::Packet(bytes)));
                }
            }
            Action::Close { link } => {
                if let Some((conn, peer)) = self.bus_end(m, link) {
                    self.machines[m].bus.remove(&conn);
                    self.put(end, m, peer, conn, Payload::Bus(BusNews::Closed));
                }
            }
            Action::Log(_, text) => self.trace.say(end, || format!("m{m} bus: {text}")),
            _ => {}
        }
    }

    fn bus_end(&self, m: usize, link: u64) -> Option<(Conn, usize)> {
        let ends = self.machines[m].bus.iter();
        ends.filter(|(_, end)| end.link == link)
            .map(|(conn, end)| (*conn, end.peer))
            .next()
    }

    /// The other ends of the bus's connections hear that the process is gone.
    pub(super) fn close_bus(&mut self, m: usize, now: True) {
        for (conn, end) in std::mem::take(&mut self.machines[m].bus) {
            self.put(now, m, end.peer, conn, Payload::Bus(BusNews::Closed));
        }
    }

    /// A connection of the bus breaks, at both ends.
    pub(super) fn break_bus(&mut self, a: usize, b: usize) {
        let conns: Vec<Conn> = self.machines[a]
            .bus
            .iter()
            .filter(|(_, end)| end.peer == b)
            .map(|(conn, _)| *conn)
            .collect();
        for conn in conns {
            for m in [a, b] {
                if let Some(end) = self.machines[m].bus.remove(&conn) {
                    self.machines[m]
                        .inbox
                        .push(Input::BusClosed { link: end.link });
                    self.want_turn(m, self.now);
                }
            }
        }
    }

    fn bus_arrives(&mut self, from: usize, m: usize, conn: Conn, news: BusNews) {
        let machine = &mut self.machines[m];
        let known = machine.bus.get(&conn).copied();
        let input = match (news, known) {
            (BusNews::Open, _) => {
                let link = machine.incoming();
                machine.bus.insert(conn, BusEnd { link, peer: from });
                self.put(self.now, m, from, conn, Payload::Bus(BusNews::Up));
                let peer = ip_of(from);
                Input::BusAccepted { link, peer }
            }
            (BusNews::Up, Some(end)) => Input::BusConnected { link: end.link },
            (BusNews::Packet(bytes), Some(end)) => Input::BusPacket {
                link: end.link,
                bytes,
            },
            (BusNews::Closed, Some(end)) => {
                machine.bus.remove(&conn);
                Input::BusClosed { link: end.link }
            }
            (BusNews::Closed, None) => return,
            (BusNews::Up | BusNews::Packet(_), None) => {
                return self.put(self.now, m, from, conn, Payload::Bus(BusNews::Closed));
            }
        };
        self.machines[m].inbox.push(input);
        let soon = self.now + self.rng.below(40 * US);
        self.want_turn(m, soon);
    }

    // ---- packets --------------------------------------------------------------------------------

    pub(super) fn arrive(&mut self, packet: Packet) {
        if packet.to >= MACHINES {
            let c = packet.to - MACHINES;
            return self.with_client(c, |client, s| client.receive(s, packet));
        }
        let (m, from, conn) = (packet.to, packet.from, packet.conn);
        let machine = &mut self.machines[m];
        let runs = machine.node.is_some();
        let unknown =
            matches!(packet.payload, Payload::Bytes(_)) && !machine.conns.contains_key(&conn);
        if !runs || unknown {
            let payload = match packet.payload {
                Payload::Open => Payload::Refused,
                Payload::Bytes(_) => Payload::Close,
                Payload::Bus(BusNews::Open | BusNews::Packet(_)) => Payload::Bus(BusNews::Closed),
                _ => return,
            };
            return self.put(self.now, m, from, conn, payload);
        }
        let input = match packet.payload {
            Payload::Bus(news) => return self.bus_arrives(from, m, conn, news),
            Payload::Raft(bytes) => {
                let id = |at: usize| NodeId(bytes[at..at + 20].try_into().expect("20 bytes"));
                // The handshake of a Raft link names both nodes (G2).
                if machine.node.as_ref().map(super::node::Node::name) != Some(id(0)) {
                    return;
                }
                Input::Frame {
                    from: id(20),
                    machine: from,
                    // Without passwords an answer proves who speaks, a call does not.
                    proved: bytes[40] == 1,
                    bytes: bytes[41..].to_vec(),
                }
            }
            Payload::Open => {
                machine.conns.insert(conn, from);
                Input::Open { conn, client: from }
            }
            Payload::Bytes(bytes) => Input::Bytes { conn, bytes },
            Payload::Close | Payload::Refused => Input::Close { conn },
        };
        machine.inbox.push(input);
        let soon = self.now + self.rng.below(40 * US);
        self.want_turn(m, soon);
    }

    // ---- jobs -----------------------------------------------------------------------------------

    fn begin_job(&mut self, m: usize, now: True, of: u64, job: Job<SimDisk>) {
        let is_sync = matches!(job, Job::Sync(_));
        let mean = if is_sync { self.plan.sync_us } else { 300 };
        let mut length = self.rng.around(mean * US);
        let machine = &mut self.machines[m];
        let begin = now.max(machine.disk_free_at);
        if machine.slow_until > begin {
            length += machine.slow_until - begin;
        }
        let end = begin + length;
        machine.disk_free_at = end;
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
                self.at(end, Event::JobEnd { m, boot, job });
            }
            ended => self.ended(m, now, &ended, "a job"),
        }
    }

    pub(super) fn job_end(&mut self, m: usize, boot: u64, job: u64) {
        let machine = &mut self.machines[m];
        if machine.boot != boot {
            return;
        }
        let Some((of, running)) = machine.jobs.remove(&job) else {
            return;
        };
        let current = machine.node.as_ref().map(|n| n.shard_no);
        let ended = match running {
            Running::Sync(done, ticket) => {
                machine.disk.complete(ticket);
                Ended::Fine(Some(done))
            }
            // The folder is gone, and with it whoever waits for this.
            Running::Other(_) if current != Some(of) => return,
            Running::Other(job) => guarded(|| -> Result<_, String> { Ok(job.run()) }),
        };
        match machine.as_crash(ended) {
            Ended::Fine(Some(done)) => {
                machine.inbox.push(Input::Done { of, done });
                self.want_turn(m, self.now);
            }
            Ended::Fine(None) => {}
            ended => self.ended(m, self.now, &ended, "a job"),
        }
    }

    pub(super) fn conf_end(&mut self, m: usize, boot: u64, job: u64) {
        let Some((text, vote)) = self.confs.remove(&job) else {
            return;
        };
        let machine = &mut self.machines[m];
        if machine.boot != boot || machine.node.is_none() {
            return;
        }
        let disk = machine.disk.clone();
        let ended = guarded(|| save_conf(&disk, &text));
        match machine.as_crash(ended) {
            Ended::Fine(()) => {
                machine.inbox.push(Input::ConfSaved { vote });
                self.want_turn(m, self.now);
            }
            // A full disk, or one that fails: it is tried again, as the real node does.
            Ended::Stopped(_) if machine.may_end() => {
                self.at(self.now + 100 * MS, Event::ConfFailed { m, boot });
            }
            ended => self.ended(m, self.now, &ended, "writing nodes.conf"),
        }
    }
}

fn show(frame: &[u8]) -> String {
    match Frame::decode(frame) {
        Ok(Frame::Raft(e)) => {
            let m = &e.message;
            format!(
                "{:04x}:{:04x}>{:04x} {:?} term {} index {} logterm {} commit {} entries {} reject {} reign {:?}",
                e.group & 0xffff, e.from & 0xffff, e.to & 0xffff,
                m.msg_type, m.term, m.index, m.log_term, m.commit, m.entries.len(), m.reject, e.reign
            )
        }
        Ok(Frame::Control(control)) => format!("{control:.200?}"),
        Err(error) => format!("? {error}"),
    }
}
