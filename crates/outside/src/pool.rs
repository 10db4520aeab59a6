//! Connections to servers outside: made, greeted, kept for the next use, ended (M26).
//!
//! Owns each connection's way from its making to its end, and the replies that have come. Never: touches a
//! socket (it says what is to be done), or knows what a command is for. Invariants: at most [`MOST`] at a
//! time; one command's use of a connection at a time; what has failed, or may still be answered, is never
//! used again.

use super::reply::{self, command, Reply};
use base::clock::Mono;
use base::NodeId;
use std::collections::BTreeMap;
use std::time::Duration;
use topology::moves::Credentials;
use topology::outside::{Place, Server, Unreached};

/// M26: connections at a time, and how long one without use is kept.
const MOST: usize = 64;
const KEPT_FOR: Duration = Duration::from_secs(10);
/// Bytes of what a server says of itself; one that sends more is not believed.
const MOST_GREETING: usize = 1 << 20;
/// Bytes of an answer to one command, beside a value.
pub const MOST_ANSWER: usize = 1 << 10;

pub type LinkId = u64;

/// What is to be done with a socket.
#[derive(Debug, PartialEq, Eq)]
pub enum Order {
    Connect {
        link: LinkId,
        host: String,
        port: u16,
        limit: Duration,
    },
    Send {
        link: LinkId,
        bytes: Vec<u8>,
    },
    Close {
        link: LinkId,
    },
}

/// What has happened to a socket.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    Up,
    Bytes(Vec<u8>),
    Closed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Connecting {
        until: Mono,
    },
    Greeting {
        until: Mono,
    },
    /// Nobody uses it; since when.
    Free(Mono),
    /// A command has it; since when nothing was asked on it.
    Taken(Mono),
    Busy,
    Failed(Unreached, Mono),
}

#[derive(Debug)]
struct Link {
    place: Place,
    state: State,
    server: Server,
    input: Vec<u8>,
    /// Bytes that may come still: a server that floods is no reason to fill the memory.
    room: usize,
    /// Replies that are still to come, and those that have.
    expects: usize,
    replies: Vec<Reply>,
}

#[derive(Debug, Default)]
pub struct Pool {
    links: BTreeMap<LinkId, Link>,
    last: LinkId,
    orders: Vec<Order>,
}

impl Pool {
    /// Whether nothing is there, and nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.links.is_empty() && self.orders.is_empty()
    }

    /// Connections that stand, or are being made.
    pub fn len(&self) -> usize {
        self.links.len()
    }

    pub fn take_orders(&mut self) -> Vec<Order> {
        std::mem::take(&mut self.orders)
    }

    /// A connection to this place, for one use: one that is there, or a new one. None: there are too many.
    pub fn take(&mut self, now: Mono, place: &Place, limit: Duration) -> Option<LinkId> {
        let is_free = |link: &Link| matches!(link.state, State::Free(_));
        let mut free = self.links.iter_mut().filter(|(_, link)| is_free(link));
        if let Some((id, link)) = free.find(|(_, link)| link.place == *place) {
            let id = *id;
            link.state = State::Taken(now);
            // The password may be another one by now: it is shown again, as Redis does for each MIGRATE.
            if place.has_password() {
                self.greet(id, now + limit);
            }
            return Some(id);
        }
        if self.links.len() >= MOST {
            let unused = self.links.iter().find(|(_, link)| is_free(link));
            let unused = *unused?.0;
            self.close(unused);
        }
        self.last += 1;
        let link = Link {
            place: place.clone(),
            state: State::Connecting { until: now + limit },
            server: Server::default(),
            input: Vec::new(),
            room: MOST_GREETING,
            expects: 0,
            replies: Vec::new(),
        };
        self.links.insert(self.last, link);
        self.orders.push(Order::Connect {
            link: self.last,
            host: place.host.clone(),
            port: place.port,
            limit,
        });
        Some(self.last)
    }

    /// Whether a connection that was taken stands; none: not yet. One that has failed is gone with this answer.
    pub fn ready(&mut self, now: Mono, id: LinkId) -> Option<Result<Server, Unreached>> {
        let Some(link) = self.links.get_mut(&id) else {
            return Some(Err(Unreached::Lost));
        };
        match &mut link.state {
            State::Taken(since) => {
                *since = now;
                Some(Ok(link.server.clone()))
            }
            State::Failed(failure, _) => {
                let failure = failure.clone();
                self.links.remove(&id);
                Some(Err(failure))
            }
            _ => None,
        }
    }

    /// A server, for one use; none: not reached yet. `question`: the session's, by which it asks again.
    pub fn reach(
        &mut self,
        now: Mono,
        question: &mut Option<LinkId>,
        place: &Place,
        limit: Duration,
    ) -> Option<Result<(LinkId, Server), Unreached>> {
        let known = question.filter(|link| self.leads_to(*link, place));
        let link = match known {
            Some(link) => link,
            None => self.take(now, place, limit)?,
        };
        *question = Some(link);
        let ready = self.ready(now, link)?;
        *question = None;
        Some(ready.map(|server| (link, server)))
    }

    /// Whether a connection is taken, and nothing is on its way on it.
    pub fn stands(&self, id: LinkId) -> bool {
        let link = self.links.get(&id);
        link.is_some_and(|link| matches!(link.state, State::Taken(_)))
    }

    /// Whether this connection was taken for that place.
    fn leads_to(&self, id: LinkId, place: &Place) -> bool {
        self.links.get(&id).is_some_and(|link| link.place == *place)
    }

    /// Commands that are answered by so many replies, of no more than `most` bytes beside a little for each.
    /// False: the connection is gone, and nothing has left.
    pub fn send(&mut self, id: LinkId, bytes: Vec<u8>, expects: usize, most: usize) -> bool {
        let taken = |link: &&mut Link| matches!(link.state, State::Taken(_));
        let Some(link) = self.links.get_mut(&id).filter(taken) else {
            return false;
        };
        link.state = State::Busy;
        link.expects = expects;
        link.room = most.saturating_add(expects.saturating_mul(MOST_ANSWER));
        self.orders.push(Order::Send { link: id, bytes });
        true
    }

    /// The replies, when all have come; the connection is still taken then. After a failure it is gone.
    pub fn answers(&mut self, now: Mono, id: LinkId) -> Option<Result<Vec<Reply>, Unreached>> {
        let Some(link) = self.links.get_mut(&id) else {
            return Some(Err(Unreached::Lost));
        };
        match &link.state {
            State::Busy if link.expects == 0 => {
                link.state = State::Taken(now);
                Some(Ok(std::mem::take(&mut link.replies)))
            }
            State::Failed(failure, _) => {
                let failure = failure.clone();
                self.links.remove(&id);
                Some(Err(failure))
            }
            _ => None,
        }
    }

    fn greet(&mut self, id: LinkId, until: Mono) {
        if let Some(link) = self.links.get_mut(&id) {
            let (bytes, expects) = greeting(&link.place);
            (link.state, link.expects) = (State::Greeting { until }, expects);
            link.room = MOST_GREETING;
            self.orders.push(Order::Send { link: id, bytes });
        }
    }

    /// It may be used by others.
    pub fn release(&mut self, now: Mono, id: LinkId) {
        if let Some(link) = self.links.get_mut(&id) {
            match link.state {
                State::Taken(_) => link.state = State::Free(now),
                _ => self.close(id),
            }
        }
    }

    /// What is on its way on it is not waited for.
    pub fn close(&mut self, id: LinkId) {
        if let Some(link) = self.links.remove(&id) {
            if !matches!(link.state, State::Failed(..)) {
                self.orders.push(Order::Close { link: id });
            }
        }
    }

    pub fn close_all(&mut self) {
        for id in self.links.keys().copied().collect::<Vec<_>>() {
            self.close(id);
        }
    }

    /// What has become of a socket.
    pub fn hear(&mut self, now: Mono, id: LinkId, event: Event) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        match event {
            Event::Up => {
                if let State::Connecting { until } = link.state {
                    self.greet(id, until);
                }
            }
            Event::Bytes(bytes) => {
                let floods = bytes.len() > link.room;
                link.room = link.room.saturating_sub(bytes.len());
                if !floods {
                    link.input.extend_from_slice(&bytes);
                }
                if floods || !link.read() {
                    self.orders.push(Order::Close { link: id });
                    link.fail(now, Unreached::Lost);
                }
                let greeted = matches!(link.state, State::Greeting { .. }) && link.expects == 0;
                if greeted {
                    let replies = std::mem::take(&mut link.replies);
                    match server_of(&link.place, replies) {
                        Ok(server) => (link.server, link.state) = (server, State::Taken(now)),
                        Err(text) => {
                            self.orders.push(Order::Close { link: id });
                            link.fail(now, Unreached::Refused(text));
                        }
                    }
                }
            }
            Event::Closed if matches!(link.state, State::Free(_)) => {
                self.links.remove(&id);
            }
            Event::Closed => {
                let failure = match link.state {
                    State::Connecting { .. } => Unreached::Connecting,
                    _ => Unreached::Lost,
                };
                link.fail(now, failure);
            }
        }
    }

    /// Connections without use end, and those that are not greeted in time.
    pub fn proceed(&mut self, now: Mono) {
        let mut unused = Vec::new();
        for (id, link) in &mut self.links {
            match link.state {
                State::Connecting { until } if now >= until => {
                    self.orders.push(Order::Close { link: *id });
                    link.fail(now, Unreached::Connecting);
                }
                State::Greeting { until } if now >= until => {
                    self.orders.push(Order::Close { link: *id });
                    link.fail(now, Unreached::Lost);
                }
                State::Free(since) | State::Taken(since) | State::Failed(_, since)
                    if now.since(since) >= KEPT_FOR =>
                {
                    unused.push(*id);
                }
                _ => {}
            }
        }
        for id in unused {
            self.close(id);
        }
    }
}

impl Link {
    fn fail(&mut self, now: Mono, failure: Unreached) {
        if !matches!(self.state, State::Failed(..)) {
            self.state = State::Failed(failure, now);
        }
    }

    /// False: what came is nothing that was asked for.
    fn read(&mut self) -> bool {
        while !self.input.is_empty() {
            match reply::take(&mut self.input) {
                Ok(Some(_)) if self.expects == 0 => return false,
                Ok(Some(reply)) => {
                    self.expects -= 1;
                    self.replies.push(reply);
                }
                Ok(None) => return self.expects > 0,
                Err(reply::Nonsense) => return false,
            }
        }
        true
    }
}

/// What is asked first, and how many replies it has.
fn greeting(place: &Place) -> (Vec<u8>, usize) {
    let mut out = Vec::new();
    let mut count = 4;
    match &place.credentials {
        Credentials::None | Credentials::Shard => {}
        Credentials::Password(password) => command(&mut out, &[b"AUTH", password]),
        Credentials::User(user, password) => command(&mut out, &[b"AUTH", user, password]),
    }
    count += usize::from(!out.is_empty());
    command(&mut out, &[b"SELECT", place.db.to_string().as_bytes()]);
    command(&mut out, &[b"CLIENT", b"ID"]);
    command(&mut out, &[b"INFO", b"server"]);
    command(&mut out, &[b"CLUSTER", b"MYID"]);
    (out, count)
}

/// What the answers say; an error as MIGRATE's client is told.
fn server_of(place: &Place, replies: Vec<Reply>) -> Result<Server, Vec<u8>> {
    let mut replies = replies.into_iter();
    for _ in 0..1 + usize::from(place.has_password()) {
        if let Some(Reply::Error(text)) = replies.next() {
            return Err(text);
        }
    }
    let mut server = Server::default();
    match replies.next() {
        Some(Reply::Int(id)) => server.client = u64::try_from(id).ok(),
        Some(Reply::Error(text)) if text.starts_with(b"NOAUTH") => return Err(text),
        _ => {}
    }
    if let Some(Reply::Bulk(Some(info))) = replies.next() {
        let info = String::from_utf8_lossy(&info).into_owned();
        let field = |name: &str| {
            let mut lines = info.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        };
        server.run = field("run_id").unwrap_or_default().as_bytes().to_vec();
        server.is_cluster = field("redis_mode") == Some("cluster");
    }
    if let Some(Reply::Bulk(Some(id))) = replies.next() {
        server.node = NodeId::from_hex(&id).ok();
    }
    Ok(server)
}
