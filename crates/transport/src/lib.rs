//! The connections to other nodes: bus links and Raft links, on a thread that only moves bytes (C5).
//!
//! The loop gives [`Command`]s and takes [`Event`]; what packets and frames mean is not known here.
//! Both kinds of link arrive at the same port and say with their first four bytes which they are:
//! `bus` has the one kind, `peer` the other, `handshake` and `frame` what travels, `vouch` whether a
//! frame is proved to come from the node that it names. Frames do not wake the thread: `routes` lets the sender
//! write them, `inlet` lets the loop read them. Connections to other servers are `outgoing`, and `probe`
//! tells which nodes are of another program.
//!
//! Invariants: nothing waits without a limit in bytes (frames for a slow peer are dropped, oldest
//! first, since Raft repeats; a slow bus link is closed; a slow loop makes the readers pause; what
//! strangers don't finish is bounded for all of them together); no bytes from the network panic; a
//! frame is given only on a link with a handshake that named this node and proved its password.

mod accept;
mod bus;
mod event;
pub mod frame;
mod guests;
mod handshake;
mod inlet;
mod links;
mod message;
mod outbox;
mod outgoing;
mod peer;
mod probe;
mod routes;
mod seldom;
mod socket;
#[cfg(test)]
mod tests;
pub mod vouch;

pub use frame::MAX_FRAME;
pub use message::{
    Command, Event, LinkId, Password, Passwords, Probed, Stats, TransportConfig, INCOMING,
};
pub use seldom::{kind_of, Seldom};

use event::{EventQueue, Item};
use inlet::Inlets;
use links::{Order, Transport};
use mio::unix::SourceFd;
use routes::Routes;
use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::Receiver;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::mpsc::UnboundedSender;

/// The loop's end of the links. Dropping it closes every connection and ends the thread.
pub struct Links {
    orders: Orders,
    event: Receiver<Item>,
    inlets: Inlets,
    /// Which of the two is asked first: by turns, so that no flood on one hides the other.
    inlets_first: bool,
    event_queue: Arc<EventQueue>,
    addresses: Vec<SocketAddr>,
    thread: Option<JoinHandle<()>>,
}

/// Listens as `config` says and starts the thread; `waker` ends the loop's wait when there is events.
pub fn start(waker: Arc<mio::Waker>, config: TransportConfig) -> io::Result<Links> {
    let mut listeners = Vec::with_capacity(config.listen.len());
    for &address in &config.listen {
        listeners.push(socket::listen(address, config.backlog)?);
    }
    let addresses = listeners
        .iter()
        .map(std::net::TcpListener::local_addr)
        .collect::<io::Result<_>>()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    let inlets = Inlets::new(Arc::clone(&waker))?;
    let (event_queue, event) = EventQueue::new(waker);
    let (orders, queue) = tokio::sync::mpsc::unbounded_channel();
    let routes = Arc::new(Routes::new(&event_queue, &config));
    let transport = (Arc::clone(&event_queue), Arc::clone(&routes), config);
    let thread = std::thread::Builder::new()
        .name("holdfast-links".to_owned())
        .spawn(move || {
            let tasks = tokio::task::LocalSet::new();
            let (event_queue, routes, config) = transport;
            let transport = Transport::new(event_queue, routes, config);
            tasks.block_on(&runtime, transport.run(queue, listeners));
        })?;
    Ok(Links {
        orders: Orders { orders, routes },
        event,
        inlets,
        inlets_first: false,
        event_queue,
        addresses,
        thread: Some(thread),
    })
}

/// Any thread's way to give orders.
#[derive(Clone)]
pub struct Orders {
    orders: UnboundedSender<Order>,
    routes: Arc<Routes>,
}

impl Orders {
    /// Never waits. A frame goes out from here; other orders are carried out by the links' thread, in the order
    /// in which they were given.
    pub fn send(&self, order: Command) {
        let for_thread = match order {
            Command::Raft { to, urgent, bytes } => return self.routes.send_raft(to, urgent, bytes),
            Command::Answer { to, bytes } => return self.routes.send_answer(to, bytes),
            Command::Myself(node) => self.routes.set_myself(node),
            Command::Peer { node, addr } => self.routes.set_peer(node, addr),
            _ => true,
        };
        if for_thread {
            // A thread that is gone has been told to stop, or has panicked and said why.
            let _ = self.orders.send(Order::Command(order));
        }
    }
}

impl Links {
    /// For other threads than the one that takes the events.
    pub fn orders(&self) -> Orders {
        self.orders.clone()
    }

    /// As [`Orders::send`].
    pub fn send(&self, order: Command) {
        self.orders.send(order);
    }

    /// Lets `registry`'s poller, which is the loop's, wake up for the frames that the loop reads itself. Without
    /// it they wait for another reason to wake.
    pub fn watch(&self, registry: &mio::Registry, token: mio::Token) -> io::Result<()> {
        let fd = self.inlets.fd();
        registry.register(&mut SourceFd(&fd), token, mio::Interest::READABLE)
    }

    /// The next events. The waker is called once for all the events since this last gave `None`, and so is the
    /// poller of [`Links::watch`]: a caller that stops before has to come back unasked.
    pub fn try_recv(&mut self) -> Option<Event> {
        self.inlets_first = !self.inlets_first;
        let event = match self.inlets_first {
            true => self.read().or_else(|| self.queued()),
            false => self.queued().or_else(|| self.read()),
        };
        match event {
            Some(_) => self.inlets.go_on(),
            None => self.inlets.rest(),
        }
        event
    }

    fn read(&mut self) -> Option<Event> {
        let orders = &self.orders.orders;
        self.inlets.next(&mut |frame| {
            // As in `Orders::send`.
            let _ = orders.send(Order::Between(frame));
        })
    }

    fn queued(&mut self) -> Option<Event> {
        loop {
            let item = self.event.try_recv().ok().or_else(|| {
                self.event_queue.drained();
                // What was put there before `drained` woke nobody.
                self.event.try_recv().ok()
            })?;
            match item {
                Item::Event(event) => {
                    self.event_queue.taken(&event);
                    return Some(event);
                }
                Item::Inlet(inlet) => self.inlets.add(inlet),
            }
        }
    }

    /// The addresses that [`start`] in fact listens on (a port of 0 has become a real one).
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    pub fn stats(&self) -> Stats {
        self.event_queue.counters.read()
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        self.send(Command::Stop);
        if let Some(thread) = self.thread.take() {
            // Only a panic makes this fail, and it has been printed.
            let _ = thread.join();
        }
    }
}
