//! A small cluster client that hides nothing: it follows MOVED and ASK, and tells a write that was not done
//! from one whose outcome nobody knows.

use crate::common::resp::{Client, Value};
use crate::view::slot_of;
use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

/// Why there is no reply.
pub enum Failure {
    /// The server said no (CLUSTERDOWN, LOADING, ...), or it was never reached.
    NotDone(String),
    /// The connection broke or stayed silent after the request was sent.
    Unknown(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::NotDone(why) => write!(f, "not done: {why}"),
            Failure::Unknown(why) => write!(f, "unknown outcome: {why}"),
        }
    }
}

/// A reply and who gave it when.
#[derive(Debug)]
pub struct Answer {
    pub value: Value,
    pub port: u16,
    pub sent: Instant,
}

pub struct Routed {
    seeds: Vec<u16>,
    slots: HashMap<u16, u16>, // slot to port, as learnt from MOVED and CLUSTER SLOTS
    connections: HashMap<u16, Client>,
    silence: Duration,
}

const REDIRECTS: usize = 8;

impl Routed {
    pub fn new(seeds: &[u16]) -> Routed {
        Routed {
            seeds: seeds.to_vec(),
            slots: HashMap::new(),
            connections: HashMap::new(),
            silence: Duration::from_secs(1),
        }
    }

    /// How long a node may be silent before it counts as gone.
    pub fn silence(mut self, limit: Duration) -> Routed {
        self.silence = limit;
        self
    }

    fn connection(&mut self, port: u16) -> std::io::Result<&mut Client> {
        // A connection of before that node's restart: nothing was sent on it, so nothing is lost.
        if self.connections.get(&port).is_some_and(is_closed) {
            self.connections.remove(&port);
        }
        if !self.connections.contains_key(&port) {
            let client = Client::connect(port)?;
            client.stream().set_read_timeout(Some(self.silence))?;
            self.connections.insert(port, client);
        }
        Ok(self.connections.get_mut(&port).expect("just put there"))
    }

    /// The port to ask for a slot: what is known, else whatever a node that answers says.
    fn port_of(&mut self, slot: u16) -> Result<u16, Failure> {
        if let Some(port) = self.slots.get(&slot) {
            return Ok(*port);
        }
        for seed in self.seeds.clone() {
            let Ok(client) = self.connection(seed) else {
                continue;
            };
            match client.try_cmd(&["CLUSTER", "SLOTS"]) {
                Ok(Value::Array(ranges)) => {
                    if let Some(port) = owner(&ranges, slot) {
                        self.slots.insert(slot, port);
                        return Ok(port);
                    }
                }
                _ => drop(self.connections.remove(&seed)),
            }
        }
        Err(Failure::NotDone(format!(
            "no node knows the owner of slot {slot}"
        )))
    }

    /// One attempt, redirects followed. After a failure the slot's owner is asked for anew, from
    /// another node first.
    pub fn once(&mut self, key: &str, words: &[&str]) -> Result<Answer, Failure> {
        let slot = slot_of(key);
        let outcome = self.attempt(slot, words);
        if outcome.is_err() {
            if let Some(port) = self.slots.remove(&slot) {
                self.seeds.sort_by_key(|seed| *seed == port);
            }
        }
        outcome
    }

    fn attempt(&mut self, slot: u16, words: &[&str]) -> Result<Answer, Failure> {
        let mut port = self.port_of(slot)?;
        let mut asking = false;
        for _ in 0..REDIRECTS {
            let client = match self.connection(port) {
                Ok(client) => client,
                Err(e) => return Err(Failure::NotDone(format!("{port}: {e}"))),
            };
            let sent = Instant::now();
            let asked = match std::mem::take(&mut asking) {
                true => client.try_cmd(&["ASKING"]).map(|_| ()),
                false => Ok(()),
            };
            let value = match asked.and_then(|()| client.try_cmd(words)) {
                Ok(value) => value,
                Err(e) => {
                    self.connections.remove(&port);
                    return Err(Failure::Unknown(format!("{port}: {e}")));
                }
            };
            let Value::Error(error) = &value else {
                return Ok(Answer { value, port, sent });
            };
            let error = String::from_utf8_lossy(error).into_owned();
            // For this command alone.
            if let Some((_, to)) = error.strip_prefix("ASK ").and_then(|e| e.rsplit_once(':')) {
                port = to.parse().expect("ASK names a port");
                asking = true;
                continue;
            }
            match error
                .strip_prefix("MOVED ")
                .and_then(|e| e.rsplit_once(':'))
            {
                Some((_, to)) => {
                    port = to.parse().expect("MOVED names a port");
                    self.slots.insert(slot, port);
                }
                None => return Err(Failure::NotDone(format!("{port}: {error}"))),
            }
        }
        Err(Failure::NotDone("too many redirects".into()))
    }

    /// Tries until there is a reply that is no refusal. Only for what may be done twice.
    pub fn until(&mut self, deadline: Duration, key: &str, words: &[&str]) -> Answer {
        let end = Instant::now() + deadline;
        loop {
            match self.once(key, words) {
                Ok(answer) => return answer,
                Err(why) if Instant::now() > end => panic!("{words:?}: {why} for {deadline:?}"),
                Err(_) => std::thread::sleep(Duration::from_millis(5)), // between two tries
            }
        }
    }

    /// Many commands on keys of one slot, answered in order by its owner.
    pub fn pipeline(&mut self, deadline: Duration, key: &str, all: &[Vec<String>]) -> Vec<Value> {
        let end = Instant::now() + deadline;
        loop {
            let port = self.until(deadline, key, &["EXISTS", key]).port;
            match self.try_pipeline(port, all) {
                Ok(replies) => return replies,
                Err(why) => assert!(Instant::now() < end, "a pipeline to {port}: {why}"),
            }
        }
    }

    fn try_pipeline(&mut self, port: u16, all: &[Vec<String>]) -> Result<Vec<Value>, String> {
        let client = self.connection(port).map_err(|e| e.to_string())?;
        let bytes: Vec<u8> = all
            .iter()
            .flat_map(|c| crate::common::resp::encode(c))
            .collect();
        let sent = client.send_raw(&bytes);
        let replies = sent.and_then(|()| all.iter().map(|_| client.receive()).collect());
        let replies: Vec<Value> = replies.map_err(|e| {
            self.connections.remove(&port);
            e.to_string()
        })?;
        match replies.iter().find(|r| r.is_error()) {
            Some(error) => Err(format!("{error:?}")),
            None => Ok(replies),
        }
    }
}

fn is_closed(client: &Client) -> bool {
    let stream = client.stream();
    let looked = stream
        .set_nonblocking(true)
        .and_then(|()| stream.peek(&mut [0]));
    stream.set_nonblocking(false).expect("a socket option");
    !matches!(looked, Err(e) if e.kind() == std::io::ErrorKind::WouldBlock)
}

/// The master's port for a slot in a reply to CLUSTER SLOTS.
fn owner(ranges: &[Value], slot: u16) -> Option<u16> {
    let range = ranges.iter().find(|range| {
        let range = range.items();
        (range[0].int()..=range[1].int()).contains(&i64::from(slot))
    })?;
    u16::try_from(range.items()[2].items()[1].int()).ok()
}
