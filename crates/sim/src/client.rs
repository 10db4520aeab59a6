//! A client: one connection at a time, requests in RESP, several outstanding, every outcome noted.
//!
//! Owns: what it has sent and not had answered, and what becomes of it: an answer goes into the
//! history; MOVED means that it did not happen (the history never hears of it); a dead connection
//! leaves outcomes unknown. Checks that replies come complete and in the order of the requests:
//! between its operations it sends ECHOs that are unlike any other.

use std::collections::{BTreeMap, VecDeque};

use crate::clock::{True, MS};
use crate::history::History;
use crate::lin::{Cmd, Op, Ret, Val};
use crate::net::{Conn, Net, Packet, Payload};
use crate::queue;
use crate::resp::{request, take_reply, Reply};
use crate::rng::Rng;
use crate::trace::Trace;
use crate::workload::{self, key_name, Workload};

/// What a client touches outside itself.
pub struct Surroundings<'a> {
    pub now: True,
    pub net: &'a mut Net,
    pub history: &'a mut History,
    pub workload: &'a mut Workload,
    pub trace: &'a mut Trace,
}

#[derive(Debug)]
enum What {
    /// `ECHO` of this text: nothing but the order is at stake.
    Marker(String),
    One {
        group: u8,
        cmd: Cmd,
    },
    Transaction {
        group: u8,
        op: Op,
    },
    Queue {
        group: u8,
        op: queue::Op,
    },
    /// WATCH and GET; a transaction follows when they are answered.
    Watch {
        group: u8,
        key: u8,
    },
}

#[derive(Debug)]
struct Outstanding {
    what: What,
    since: True,
    want: usize,
    /// How many replies belong to an ASKING: each stands before that of its command.
    askings: usize,
    got: Vec<Reply>,
}

/// The share of operations on queues.
const QUEUES: f64 = 0.12;
/// A client waits for no element for longer.
const LONGEST_AWAIT_MS: u64 = 200;

/// How patient and how busy a client is.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    pub think_us: u64,
    pub depth: u64,
    pub patience: u64,
}

pub struct Client {
    pub id: u32,
    endpoint: usize,
    members: usize,
    rng: Rng,
    manner: Manner,
    conn: Option<(Conn, usize)>,
    /// Where to connect next.
    next_server: usize,
    inbuf: Vec<u8>,
    outstanding: VecDeque<Outstanding>,
    /// A WATCH is open: nothing else may be sent between.
    watching: bool,
    /// A WATCH whose GET was refused may still be in force.
    left_watching: bool,
    /// Connections lost since the last answer.
    failures: u32,
    /// Something has been answered since it connected.
    answered: bool,
    /// A MOVED has come since it connected.
    led_away: bool,
    /// The entry recorded last for each group on this connection.
    last: BTreeMap<u8, usize>,
    pub next_at: True,
    /// No new operations.
    pub quiet: bool,
    /// Waits for replies for ever: the world says when that is too long.
    pub patient: bool,
    /// Operations answered with a result.
    pub done: u64,
    pub moved: u64,
    pub unknown: u64,
    markers: u64,
    /// An ASK led to this machine for this group of keys: until then every command there begins with ASKING.
    /// An ASK is for one command; a client that goes by an old one must do no harm (M15).
    asking: Option<(u8, usize, True)>,
    /// Touches this group of keys alone; none: all of them.
    pub only: Option<u8>,
}

impl Client {
    pub fn new(id: u32, members: usize, manner: Manner, mut rng: Rng) -> Client {
        let next_server = rng.below(members as u64) as usize;
        Client {
            id,
            endpoint: members + id as usize,
            members,
            rng,
            manner,
            conn: None,
            next_server,
            inbuf: Vec::new(),
            outstanding: VecDeque::new(),
            watching: false,
            left_watching: false,
            failures: 0,
            answered: false,
            led_away: false,
            last: BTreeMap::new(),
            next_at: 0,
            quiet: false,
            patient: false,
            done: 0,
            moved: 0,
            unknown: 0,
            markers: 0,
            asking: None,
            only: None,
        }
    }

    /// Nothing is outstanding.
    pub fn is_idle(&self) -> bool {
        self.outstanding.is_empty()
    }

    /// The connection and the member at its other end.
    pub fn connection(&self) -> Option<(Conn, usize)> {
        self.conn
    }

    pub fn connected_to(&self) -> Option<usize> {
        self.conn.map(|(_, server)| server)
    }

    pub fn describe(&self) -> String {
        let first = self.outstanding.front();
        format!(
            "client {} at member {:?}: {} outstanding, first {:?}",
            self.id,
            self.connected_to(),
            self.outstanding.len(),
            first.map(|o| (&o.what, o.since as f64 / 1e9, o.got.len())),
        )
    }

    /// The timer went off.
    pub fn wake(&mut self, s: &mut Surroundings<'_>) {
        let late = self
            .outstanding
            .front()
            .is_some_and(|o| s.now > o.since + self.manner.patience);
        if late && !self.patient {
            s.trace
                .say(s.now, || format!("c{} gives up waiting", self.id));
            self.leave(s);
        }
        if !self.quiet {
            if self.conn.is_none() {
                self.connect(s);
            }
            let free = !self.watching && (self.outstanding.len() as u64) < self.depth();
            if free && s.now >= self.next_at {
                self.send_some(s);
            }
        }
        self.next_at = s.now + self.rng.around(self.manner.think_us * 1000);
    }

    /// One request at a time until the server has shown that it answers: a dead connection makes
    /// everything outstanding unknown, and too much of that leaves nothing to check.
    fn depth(&self) -> u64 {
        if self.answered {
            self.manner.depth
        } else {
            1
        }
    }

    fn connect(&mut self, s: &mut Surroundings<'_>) {
        let conn = s.net.new_conn();
        self.conn = Some((conn, self.next_server));
        self.put(s, Payload::Open);
        self.next_server = (self.next_server + 1) % self.members;
    }

    fn put(&mut self, s: &mut Surroundings<'_>, payload: Payload) {
        let (conn, server) = self.conn.expect("connected");
        s.net.send(
            s.now,
            Packet {
                from: self.endpoint,
                to: server,
                conn,
                payload,
            },
        );
    }

    /// Sends bytes, at times in several pieces.
    fn put_bytes(&mut self, s: &mut Surroundings<'_>, mut bytes: Vec<u8>) {
        while bytes.len() > 1 && self.rng.chance(0.05) {
            let at = self.rng.range(1, bytes.len() as u64 - 1) as usize;
            let rest = bytes.split_off(at);
            self.put(s, Payload::Bytes(bytes));
            bytes = rest;
        }
        self.put(s, Payload::Bytes(bytes));
    }

    /// Reads every key of a group at once, to see at the end what is there.
    pub fn read_group(&mut self, s: &mut Surroundings<'_>, group: u8) {
        if self.conn.is_none() {
            self.connect(s);
        }
        let cmds = (0..workload::KEYS).map(|key| Cmd::Get { key }).collect();
        let mut bytes = Vec::new();
        self.push_transaction(
            s,
            group,
            Op {
                guard: vec![],
                cmds,
            },
            &mut bytes,
        );
        self.push_queue(s, group, queue::Op::All, &mut bytes);
        self.put_bytes(s, bytes);
    }

    fn send_some(&mut self, s: &mut Surroundings<'_>) {
        let room = self.depth() - self.outstanding.len() as u64;
        let mut bytes = Vec::new();
        for _ in 0..self.rng.range(1, room) {
            let any = s.workload.group(&mut self.rng);
            let group = self.only.unwrap_or(any);
            if self.rng.chance(0.15) {
                self.push_marker(s, &mut bytes);
            }
            if self.rng.chance(QUEUES) {
                let op = self.queue_op(s);
                self.push_queue(s, group, op, &mut bytes);
            } else if self.rng.chance(s.workload.taste.transactions) {
                if self.rng.chance(0.3) && self.outstanding.is_empty() {
                    self.push_watch(s, group, &mut bytes);
                    break;
                }
                let cmds = s.workload.transaction(&mut self.rng);
                self.push_transaction(
                    s,
                    group,
                    Op {
                        guard: vec![],
                        cmds,
                    },
                    &mut bytes,
                );
            } else {
                let cmd = s.workload.command(&mut self.rng);
                let padding = self.padding(s);
                let askings = self.ask(s, group, &mut bytes);
                workload::encode(&mut bytes, group, &cmd, padding);
                s.trace
                    .say(s.now, || format!("c{} sends g{group} {cmd:?}", self.id));
                self.push(s, What::One { group, cmd }, 1, askings);
            }
        }
        self.put_bytes(s, bytes);
    }

    fn queue_op(&mut self, s: &mut Surroundings<'_>) -> queue::Op {
        match self.rng.below(4) {
            0 | 1 => queue::Op::Push(s.history.queues.fresh()),
            2 => queue::Op::Take,
            _ => queue::Op::Await {
                ms: self.rng.range(1, LONGEST_AWAIT_MS),
            },
        }
    }

    fn push_queue(&mut self, s: &Surroundings<'_>, group: u8, op: queue::Op, bytes: &mut Vec<u8>) {
        let askings = self.ask(s, group, bytes);
        queue::encode(bytes, group, op);
        self.push(s, What::Queue { group, op }, 1, askings);
    }

    fn padding(&mut self, s: &Surroundings<'_>) -> usize {
        if self.rng.chance(0.3) {
            self.rng.below(s.workload.taste.padding + 1) as usize
        } else {
            0
        }
    }

    fn push(&mut self, s: &Surroundings<'_>, what: What, want: usize, askings: usize) {
        self.outstanding.push_back(Outstanding {
            what,
            since: s.now,
            want: want + askings,
            askings,
            got: Vec::new(),
        });
    }

    /// Begins a command with ASKING, if this client was sent here for its group; how many that adds.
    fn ask(&mut self, s: &Surroundings<'_>, group: u8, bytes: &mut Vec<u8>) -> usize {
        let here = self.connected_to();
        let stands =
            |&(of, at, until): &(u8, usize, True)| of == group && Some(at) == here && s.now < until;
        match self.asking.filter(stands) {
            Some(_) => {
                request(bytes, &[b"ASKING"]);
                1
            }
            None => 0,
        }
    }

    fn push_marker(&mut self, s: &Surroundings<'_>, bytes: &mut Vec<u8>) {
        self.markers += 1;
        let text = format!("marker {} of {}", self.markers, self.id);
        request(bytes, &[b"ECHO", text.as_bytes()]);
        self.push(s, What::Marker(text), 1, 0);
    }

    fn push_transaction(
        &mut self,
        s: &mut Surroundings<'_>,
        group: u8,
        op: Op,
        bytes: &mut Vec<u8>,
    ) {
        let padding = self.padding(s);
        let askings = self.ask(s, group, bytes);
        workload::encode_transaction(bytes, group, &op, padding);
        s.trace.say(s.now, || {
            format!("c{} sends g{group} MULTI {op:?}", self.id)
        });
        let want = op.cmds.len() + 2;
        self.push(s, What::Transaction { group, op }, want, askings);
    }

    fn push_watch(&mut self, s: &Surroundings<'_>, group: u8, bytes: &mut Vec<u8>) {
        let key = self.rng.below(u64::from(workload::KEYS)) as u8;
        let name = key_name(group, key);
        let mut askings = self.ask(s, group, bytes);
        request(bytes, &[b"WATCH", &name]);
        askings += self.ask(s, group, bytes);
        workload::encode(bytes, group, &Cmd::Get { key }, 0);
        self.watching = true;
        self.push(s, What::Watch { group, key }, 2, askings);
    }

    /// A packet of this client's connection has come, or of one that it has left.
    pub fn receive(&mut self, s: &mut Surroundings<'_>, packet: Packet) -> Result<(), String> {
        if self.conn.map(|(conn, _)| conn) != Some(packet.conn) {
            return Ok(());
        }
        match packet.payload {
            Payload::Close => {
                s.trace
                    .say(s.now, || format!("c{} is disconnected", self.id));
                self.forget(s);
                // Whoever is turned away again and again waits longer each time.
                self.failures = (self.failures + 1).min(6);
                self.next_at = s.now + self.rng.around((5 << self.failures) * MS);
                Ok(())
            }
            Payload::Refused => {
                self.outstanding.clear();
                self.forget(s);
                self.failures = (self.failures + 1).min(6);
                self.next_at = s.now + self.rng.around((5 << self.failures) * MS);
                Ok(())
            }
            Payload::Bytes(bytes) => {
                self.inbuf.extend_from_slice(&bytes);
                let mut buf = std::mem::take(&mut self.inbuf);
                while let Some(reply) = take_reply(&mut buf)? {
                    self.answer(s, reply)?;
                    if self.conn.is_none() {
                        return Ok(());
                    }
                }
                self.inbuf = buf;
                Ok(())
            }
            Payload::Open
            | Payload::Raft(_)
            | Payload::Ask(_)
            | Payload::Vouch(_)
            | Payload::Bus(_) => Err("a client got what no server sends".to_string()),
        }
    }

    fn answer(&mut self, s: &mut Surroundings<'_>, reply: Reply) -> Result<(), String> {
        let Some(first) = self.outstanding.front_mut() else {
            return Err(format!(
                "client {} got a reply that it did not ask for: {reply:?}",
                self.id
            ));
        };
        first.got.push(reply);
        if first.got.len() < first.want {
            return Ok(());
        }
        let Outstanding {
            what,
            since,
            askings,
            mut got,
            ..
        } = self.outstanding.pop_front().expect("it was just seen");
        s.trace.mix(s.now);
        s.trace.say(s.now, || {
            format!("c{} had {what:?} answered {got:?}", self.id)
        });
        for at in 0..askings {
            // Each is gone when the next one is looked for, which stands one behind it.
            let fine = match got.remove(at) {
                Reply::Simple(ok) => ok == "OK",
                Reply::Error(why) => why.starts_with("LOADING "),
                _ => false,
            };
            if !fine {
                return Err("ASKING was not answered OK".to_string());
            }
        }
        self.note_ask(s.now, &what, &got);
        self.conclude(s, what, since, got)?;
        // What is still outstanding here will be answered; the next operation goes elsewhere.
        let elsewhere = self.connected_to().is_some_and(|at| at != self.next_server);
        if self.led_away && elsewhere && self.outstanding.is_empty() {
            self.leave(s);
        }
        Ok(())
    }

    /// ASK sends the client elsewhere with what it asks of this group.
    fn note_ask(&mut self, now: True, what: &What, got: &[Reply]) {
        let (What::One { group, .. }
        | What::Queue { group, .. }
        | What::Transaction { group, .. }
        | What::Watch { group, .. }) = what
        else {
            return;
        };
        for reply in got {
            let Reply::Error(text) = reply else { continue };
            // EXEC's refusal quotes the one that it is for.
            if text.starts_with("ASK ") {
                if let Some(server) = self.server_in(text) {
                    let long = if self.rng.chance(0.3) { 10_000 } else { 100 };
                    self.asking = Some((*group, server, now + long * MS));
                    self.next_server = server;
                    self.led_away = true;
                }
            } else if text.starts_with("MOVED ") && self.rng.chance(0.7) {
                self.asking = None;
            }
        }
    }

    /// The machine that a redirect names.
    fn server_in(&self, text: &str) -> Option<usize> {
        let port = text.rsplit(':').next()?.parse::<usize>().ok()?;
        port.checked_sub(7000).filter(|p| *p < self.members)
    }

    fn conclude(
        &mut self,
        s: &mut Surroundings<'_>,
        what: What,
        since: True,
        got: Vec<Reply>,
    ) -> Result<(), String> {
        match what {
            What::Marker(text) => match &got[0] {
                Reply::Bulk(Some(bytes)) if bytes == text.as_bytes() => Ok(()),
                other => Err(format!(
                    "ECHO {text:?} was answered {other:?}: replies out of order"
                )),
            },
            What::One { group, cmd } => self.one_answered(s, group, cmd, since, &got[0]),
            What::Queue { group, op } => self.queue_answered(s, group, op, since, &got[0]),
            What::Transaction { group, op } => self.transaction_answered(s, group, op, since, got),
            What::Watch { group, key } => self.watch_answered(s, group, key, since, got),
        }
    }

    fn one_answered(
        &mut self,
        s: &mut Surroundings<'_>,
        group: u8,
        cmd: Cmd,
        since: True,
        reply: &Reply,
    ) -> Result<(), String> {
        if self.refused(reply) {
            return Ok(());
        }
        let ret = workload::meaning(group, &cmd, reply)?;
        self.note(s, group, Op::one(cmd), since, Some(vec![ret]));
        Ok(())
    }

    fn queue_answered(
        &mut self,
        s: &mut Surroundings<'_>,
        group: u8,
        op: queue::Op,
        since: True,
        reply: &Reply,
    ) -> Result<(), String> {
        let was_waiting = matches!(op, queue::Op::Await { .. });
        let unblocked =
            matches!(reply, Reply::Error(text) if was_waiting && text.starts_with("UNBLOCKED "));
        if unblocked || self.refused(reply) {
            return Ok(());
        }
        let seen = queue::meaning(group, op, reply)?;
        s.history.queues.answered(group, op, since, s.now, seen);
        self.done += 1;
        self.failures = 0;
        self.answered = true;
        Ok(())
    }

    fn transaction_answered(
        &mut self,
        s: &mut Surroundings<'_>,
        group: u8,
        op: Op,
        since: True,
        got: Vec<Reply>,
    ) -> Result<(), String> {
        if got[0] != Reply::Simple("OK".to_string()) {
            return Err(format!("MULTI was answered {:?}", got[0]));
        }
        let (queued, exec) = got[1..].split_at(op.cmds.len());
        for reply in queued {
            let fine = *reply == Reply::Simple("QUEUED".to_string()) || self.refused(reply);
            if !fine {
                return Err(format!("a command in MULTI was answered {reply:?}"));
            }
        }
        match &exec[0] {
            Reply::Array(Some(replies)) if replies.len() == op.cmds.len() => {
                let rets: Result<Vec<Ret>, String> = op
                    .cmds
                    .iter()
                    .zip(replies)
                    .map(|(cmd, reply)| workload::meaning(group, cmd, reply))
                    .collect();
                self.note(s, group, op, since, Some(rets?));
                Ok(())
            }
            Reply::Array(None) if !op.guard.is_empty() || self.left_watching => {
                self.left_watching = false;
                self.note(s, group, op, since, None);
                Ok(())
            }
            Reply::Error(e) if e.starts_with("EXECABORT") => Ok(()),
            other if self.refused(other) => Ok(()),
            other => Err(format!("EXEC was answered {other:?}")),
        }
    }

    fn watch_answered(
        &mut self,
        s: &mut Surroundings<'_>,
        group: u8,
        key: u8,
        since: True,
        got: Vec<Reply>,
    ) -> Result<(), String> {
        self.watching = false;
        if got.iter().any(|reply| self.refused(reply)) {
            // The WATCH may stand: then it fails the next EXEC of this connection.
            self.left_watching = self.conn.is_some();
            return Ok(());
        }
        let get = Cmd::Get { key };
        let seen = match workload::meaning(group, &get, &got[1])? {
            Ret::Val(val) => Some(val),
            _ => None,
        };
        self.note(
            s,
            group,
            Op::one(get),
            since,
            Some(vec![seen.map_or(Ret::Nil, Ret::Val)]),
        );
        if self.conn.is_none() {
            return Ok(());
        }
        let cmds = s.workload.transaction(&mut self.rng);
        let guard: Vec<(u8, Option<Val>)> = vec![(key, seen)];
        let mut bytes = Vec::new();
        self.push_transaction(s, group, Op { guard, cmds }, &mut bytes);
        self.put_bytes(s, bytes);
        Ok(())
    }

    /// True for replies that say that nothing happened; MOVED makes the client follow.
    fn refused(&mut self, reply: &Reply) -> bool {
        let Reply::Error(text) = reply else {
            return false;
        };
        if text.starts_with("MOVED ") {
            self.moved += 1;
            if let Some(server) = self.server_in(text) {
                self.next_server = server;
            }
            self.led_away = true;
            return true;
        }
        text.starts_with("ASK ")
            || text.starts_with("TRYAGAIN")
            || text.starts_with("CLUSTERDOWN")
            || text.starts_with("LOADING ")
            || text.starts_with("MISCONF Errors writing")
    }

    fn note(
        &mut self,
        s: &mut Surroundings<'_>,
        group: u8,
        op: Op,
        since: True,
        answer: crate::lin::Answer,
    ) {
        self.done += 1;
        self.failures = 0;
        self.answered = true;
        let after = self.last.get(&group).copied();
        let at = s
            .history
            .answered(self.id, group, op, since, s.now, answer, after);
        self.last.insert(group, at);
    }

    /// Closes the connection; what is outstanding may still happen.
    fn leave(&mut self, s: &mut Surroundings<'_>) {
        self.put(s, Payload::Close);
        self.forget(s);
    }

    fn forget(&mut self, s: &mut Surroundings<'_>) {
        self.conn = None;
        self.inbuf.clear();
        self.watching = false;
        self.left_watching = false;
        self.led_away = false;
        self.answered = false;
        self.last.clear();
        for o in std::mem::take(&mut self.outstanding) {
            let (group, op) = match o.what {
                What::One { group, cmd } => (group, Op::one(cmd)),
                What::Transaction { group, op } => (group, op),
                What::Queue { group, op } => {
                    s.history.queues.unknown(group, op, o.since);
                    continue;
                }
                What::Marker(_) | What::Watch { .. } => continue,
            };
            self.unknown += 1;
            s.history.unknown(self.id, group, op, o.since);
        }
    }
}
