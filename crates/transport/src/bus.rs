//! Bus links: whole packets in, bytes out.
//!
//! Owns the life of one link; what packets mean is not known here. Invariant: every link ends with
//! exactly one [`Event::BusClosed`], unless the loop has closed it.

use super::event::Counters;
use super::frame::{Assembler, Kind, BUS_MAGIC};
use super::guests::Guest;
use super::links::Transport;
use super::message::{Event, LinkId};
use super::outbox::Outbox;
use super::seldom::kind_of;
use super::socket::{self, ReadError};
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::sync::Notify;

pub(super) struct BusLink {
    id: LinkId,
    pub outbox: Outbox,
    /// The caller has taken the link out of the table, and says so if it has to be said.
    pub stop: Notify,
}

fn open(transport: &Transport, id: LinkId) -> Rc<BusLink> {
    let link = Rc::new(BusLink {
        id,
        outbox: Outbox::new(&transport.event_queue, &transport.config),
        stop: Notify::new(),
    });
    if let Some(old) = transport.bus.borrow_mut().insert(id, Rc::clone(&link)) {
        old.stop.notify_one(); // The loop's mistake; the newer order counts.
    }
    link
}

pub(super) fn connect(transport: &Rc<Transport>, id: LinkId, addr: SocketAddr) {
    let (transport, link) = (Rc::clone(transport), open(transport, id));
    tokio::task::spawn_local(async move {
        let carried = async {
            let stream = Arc::new(socket::connect(addr, transport.config.bus_connect).await?);
            let local = stream.local_addr()?;
            transport
                .event_queue
                .tell(Event::BusConnected { link: id, local });
            carry(&transport, &link, &stream, Assembler::new(Kind::Bus), None).await
        };
        until_stopped(&transport, &link, addr, carried).await;
    });
}

/// The life of a link of which the magic has been read. It may be dropped at any time.
pub(super) async fn accepted(
    transport: &Transport,
    guest: &Guest,
    stream: TcpStream,
    peer: SocketAddr,
) {
    let Ok(local) = stream.local_addr() else {
        return;
    };
    let stream = Arc::new(stream);
    let link = open(transport, transport.incoming_link());
    let id = link.id;
    transport.event_queue.tell(Event::BusAccepted {
        link: id,
        peer,
        local,
    });
    let carried = async {
        let mut assembler = Assembler::new(Kind::Bus);
        assembler.next(&mut &BUS_MAGIC[..])?;
        carry(transport, &link, &stream, assembler, Some(guest)).await
    };
    until_stopped(transport, &link, peer, carried).await;
}

/// A link that is in the table, until it is dropped.
struct InTable<'a> {
    transport: &'a Transport,
    link: &'a BusLink,
}

impl Drop for InTable<'_> {
    fn drop(&mut self) {
        let link = self.link.id;
        // Only if nobody has stopped it in the meantime.
        let ours = |found: &Rc<BusLink>| std::ptr::eq(Rc::as_ptr(found), self.link);
        let mut table = self.transport.bus.borrow_mut();
        if table.get(&link).is_some_and(ours) {
            table.remove(&link);
            self.transport.event_queue.tell(Event::BusClosed { link });
        }
    }
}

async fn until_stopped(
    transport: &Transport,
    link: &BusLink,
    peer: SocketAddr,
    carried: impl Future<Output = Result<(), ReadError>>,
) {
    let _place = InTable { transport, link };
    let end = tokio::select! {
        () = link.stop.notified() => return,
        end = carried => end,
    };
    if let Err(ReadError::Frame(e)) = end {
        Counters::add(&transport.event_queue.counters.broken_frames, 1);
        transport.event_queue.say(peer.ip(), kind_of(&e), || {
            format!("the bus link with {peer} was closed: {e}")
        });
    }
}

/// Reads and writes until one of the two can't.
async fn carry(
    transport: &Transport,
    link: &BusLink,
    stream: &Arc<TcpStream>,
    mut assembler: Assembler,
    guest: Option<&Guest>,
) -> Result<(), ReadError> {
    let id = link.id;
    let reading = async {
        loop {
            transport.event_queue.room(false).await;
            let give = |bytes| {
                transport
                    .event_queue
                    .tell(Event::BusPacket { link: id, bytes })
            };
            if let Err(e) = socket::read(stream, &mut assembler, guest, give).await {
                return e;
            }
        }
    };
    tokio::select! {
        e = link.outbox.write(stream.clone()) => Err(e.into()),
        e = reading => Err(e),
    }
}
