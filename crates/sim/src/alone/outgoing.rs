//! A key of a server in no cluster goes to another one (M26), and the server is killed at every step: the other server is
//! played, and what was on its way to it arrives, arrives late, or never does.

use std::collections::BTreeMap;
use storage::Folders;
use transport::{Command, Event as LinkEvent, LinkId};

use super::bed::Bed;
use crate::disk::SimDisk;
use crate::platform::SimFolders;
use crate::resp::{take_reply, Reply};

/// A link, and which of the server's processes has made it.
type End = (usize, LinkId);

/// What becomes of what is on its way when the process is killed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Flight {
    Lost,
    Arrives,
    /// After the next process has been told what there is, but for what it has forbidden.
    ArrivesLate,
}

#[derive(Default)]
struct Target {
    values: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Connections that stand, by their CLIENT IDs.
    conns: BTreeMap<End, u64>,
    clients: u64,
    /// Values come, and the connection ends without an answer.
    loses_answers: bool,
}

impl Target {
    /// What it answers; none: the connection has ended.
    fn takes(&mut self, end: End, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut input = bytes.to_vec();
        let mut out = Vec::new();
        while let Some(request) = take_reply(&mut input).expect("a server speaks RESP") {
            let Reply::Array(Some(words)) = request else {
                panic!("no request: {request:?}");
            };
            let words: Vec<Vec<u8>> = words.into_iter().map(word).collect();
            let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            let client = *self.conns.get(&end)?;
            out.extend(self.carry_out(client, &words));
            if self.loses_answers && words[0] == b"RESTORE" {
                self.conns.remove(&end);
                return None;
            }
        }
        Some(out)
    }

    fn carry_out(&mut self, client: u64, words: &[&[u8]]) -> Vec<u8> {
        match words {
            [b"CLIENT", b"ID"] => format!(":{client}\r\n").into_bytes(),
            [b"CLIENT", b"KILL", b"ID", id] => {
                let id: u64 = String::from_utf8_lossy(id).parse().expect("a number");
                self.conns.retain(|_, of| *of != id);
                b":1\r\n".to_vec()
            }
            [b"INFO", b"server"] => b"$12\r\nrun_id:abc\r\n\r\n".to_vec(),
            [b"CLUSTER", ..] => b"-ERR no cluster\r\n".to_vec(),
            [b"RESTORE", key, ..] if self.values.contains_key(*key) => {
                b"-BUSYKEY Target key name already exists.\r\n".to_vec()
            }
            [b"RESTORE", key, _, payload] => {
                self.values.insert(key.to_vec(), payload.to_vec());
                b"+OK\r\n".to_vec()
            }
            [b"DUMP", key] => match self.values.get(*key) {
                None => b"$-1\r\n".to_vec(),
                Some(value) => {
                    let head = format!("${}\r\n", value.len());
                    [head.as_bytes(), value, b"\r\n"].concat()
                }
            },
            _ => b"+OK\r\n".to_vec(),
        }
    }
}

fn word(reply: Reply) -> Vec<u8> {
    match reply {
        Reply::Bulk(Some(word)) => word,
        other => panic!("no word: {other:?}"),
    }
}

struct Scene {
    disk: SimDisk,
    bed: Bed,
    boot: usize,
    target: Target,
    flying: Vec<(usize, Command)>,
    late: Vec<(usize, Command)>,
}

impl Scene {
    /// A server with the key `a`, which it begins to send away.
    fn begun(loses_answers: bool) -> Scene {
        let disk = SimFolders(SimDisk::new(1 << 30)).own();
        let mut bed = Bed::in_no_cluster(disk.clone());
        bed.wins();
        assert_eq!(bed.answers("SET a value\r\n"), "+OK\r\n");
        let mut scene = Scene {
            disk,
            bed,
            boot: 0,
            target: Target {
                loses_answers,
                ..Target::default()
            },
            flying: Vec::new(),
            late: Vec::new(),
        };
        scene.turn("MIGRATE there 6379 a 3 1000\r\n");
        scene
    }

    /// What was sent before arrives, and is answered; then the server takes a turn.
    fn turn(&mut self, commands: &str) -> String {
        for (boot, command) in std::mem::take(&mut self.flying) {
            self.arrive(boot, command);
        }
        let reply = self.bed.turn(commands);
        let orders = self.bed.take_outgoing();
        let boot = self.boot;
        self.flying.extend(orders.into_iter().map(|o| (boot, o)));
        reply
    }

    fn arrive(&mut self, boot: usize, command: Command) {
        let event = match command {
            Command::OutgoingConnect { link, .. } => {
                self.target.clients += 1;
                self.target.conns.insert((boot, link), self.target.clients);
                LinkEvent::OutgoingUp { link }
            }
            Command::OutgoingSend { link, bytes } => {
                match self.target.takes((boot, link), &bytes) {
                    Some(bytes) => LinkEvent::OutgoingBytes { link, bytes },
                    None => LinkEvent::OutgoingClosed { link },
                }
            }
            Command::OutgoingClose { link } => {
                self.target.conns.remove(&(boot, link));
                return;
            }
            _ => return,
        };
        if boot == self.boot {
            self.bed.hears_outgoing(event);
        }
    }

    fn kill(&mut self, flight: Flight) {
        let flying = std::mem::take(&mut self.flying);
        match flight {
            Flight::Lost => {}
            Flight::Arrives => self.flying = flying,
            Flight::ArrivesLate => self.late = flying,
        }
        self.boot += 1;
        self.bed = Bed::in_no_cluster(self.disk.clone());
    }

    /// Whether the key is at one side, once nothing is lent any more.
    fn ends_well(&mut self) -> Result<(), String> {
        self.bed.wins();
        let rests = |bed: &Bed| {
            let (tail, committed) = (bed.shard().data().record(), bed.shard().record());
            tail.moves.lends.is_empty() && committed.moves.lends.is_empty()
        };
        for _ in 0..5000 {
            if rests(&self.bed) && self.flying.is_empty() {
                break;
            }
            self.turn("");
        }
        if !rests(&self.bed) {
            return Err("it is still lent".to_owned());
        }
        for (boot, command) in std::mem::take(&mut self.late) {
            self.arrive(boot, command);
        }
        let here = self.bed.answers("GET a\r\n") == "$5\r\nvalue\r\n";
        let there = self.target.values.contains_key(b"a".as_slice());
        match here != there {
            true => Ok(()),
            false => Err(format!("here: {here}, there: {there}")),
        }
    }
}

/// M26: the key is at one side, whenever the process is killed; how far it came with so many turns before.
pub fn killed_after(turns: usize, flight: Flight) -> Result<bool, String> {
    let mut scene = Scene::begun(false);
    let mut answered = false;
    for _ in 0..turns {
        answered |= scene.turn("") == "+OK\r\n";
    }
    scene.kill(flight);
    scene.ends_well().map(|()| answered)
}

/// M26: the key is at one side when the answer is lost.
pub fn a_lost_answer_is_settled() -> Result<(), String> {
    let mut scene = Scene::begun(true);
    let mut told = String::new();
    for _ in 0..20 {
        told += &scene.turn("");
    }
    if !told.starts_with("-IOERR") {
        return Err(format!("MIGRATE says {told:?}"));
    }
    scene.target.loses_answers = false;
    scene.ends_well()
}

#[test]
fn a_key_sent_away_is_at_one_side() {
    for flight in [Flight::Lost, Flight::Arrives, Flight::ArrivesLate] {
        let mut ends = 0;
        for turns in 0..20 {
            match killed_after(turns, flight) {
                Ok(answered) => ends += usize::from(answered),
                Err(why) => panic!("killed after {turns} turns, {flight:?}: {why}"),
            }
        }
        assert!((1..20).contains(&ends), "{ends} of 20 had ended before");
    }
}

#[test]
fn a_lost_answer_leaves_the_key_at_one_side() {
    assert_eq!(a_lost_answer_is_settled(), Ok(()));
}

#[cfg(feature = "mutations")]
#[test]
fn a_key_thawed_unsettled_is_seen_in_the_scene() {
    use ::base::mutation::{self, Mutation};
    mutation::set(Some(Mutation::ThawUnsettled));
    let seen = a_lost_answer_is_settled();
    mutation::set(None);
    assert!(seen.is_err(), "the mutation changes nothing");
}
