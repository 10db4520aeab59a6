//! Bus links: whole packets in, bytes out.
//!
//! Owns the life of one link; what packets mean is not known here. Invariant: every link ends with
//! exactly one [`News::BusClosed`], unless the loop has closed it.

use super::frame::{Assembler, Kind, BUS_MAGIC};
use super::guests::Guest;
use super::hub::Hub;
use super::message::{LinkId, News};
use super::news::Counters;
use super::outbox::Outbox;
use super::seldom::kind_of;
use super::socket::{self, ReadError};
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::net::TcpStream;
use tokio::sync::Notify;

pub(super) struct BusLink {
    id: LinkId,
    pub outbox: Outbox,
    /// Whoever calls it has taken the link out of the table, and says so if it has to be said.
    pub stop: Notify,
}

fn open(hub: &Hub, id: LinkId) -> Rc<BusLink> {
    let link = Rc::new(BusLink {
        id,
        outbox: Outbox::new(&hub.desk, &hub.config),
        stop: Notify::new(),
    });
    if let Some(old) = hub.bus.borrow_mut().insert(id, Rc::clone(&link)) {
        old.stop.notify_one(); // The loop's mistake; the newer order counts.
    }
    link
}

pub(super) fn connect(hub: &Rc<Hub>, id: LinkId, addr: SocketAddr) {
    let (hub, link) = (Rc::clone(hub), open(hub, id));
    tokio::task::spawn_local(async move {
        let carried = async {
            let stream = socket::connect(addr, hub.config.bus_connect).await?;
            let local = stream.local_addr()?;
            hub.desk.tell(News::BusConnected { link: id, local });
            carry(&hub, &link, &stream, Assembler::new(Kind::Bus), None).await
        };
        until_stopped(&hub, &link, addr, carried).await;
    });
}

/// The life of a link of which the magic has been read. It may be dropped at any time.
pub(super) async fn accepted(hub: &Hub, guest: &Guest, stream: TcpStream, peer: SocketAddr) {
    let Ok(local) = stream.local_addr() else {
        return;
    };
    let link = open(hub, hub.incoming_link());
    let id = link.id;
    hub.desk.tell(News::BusAccepted {
        link: id,
        peer,
        local,
    });
    let carried = async {
        let mut assembler = Assembler::new(Kind::Bus);
        assembler.next(&mut &BUS_MAGIC[..])?;
        carry(hub, &link, &stream, assembler, Some(guest)).await
    };
    until_stopped(hub, &link, peer, carried).await;
}

/// A link that is in the table, until it is dropped.
struct InTable<'a> {
    hub: &'a Hub,
    link: &'a BusLink,
}

impl Drop for InTable<'_> {
    fn drop(&mut self) {
        let link = self.link.id;
        // Only if nobody has stopped it in the meantime.
        let ours = |found: &Rc<BusLink>| std::ptr::eq(Rc::as_ptr(found), self.link);
        let mut table = self.hub.bus.borrow_mut();
        if table.get(&link).is_some_and(ours) {
            table.remove(&link);
            self.hub.desk.tell(News::BusClosed { link });
        }
    }
}

async fn until_stopped(
    hub: &Hub,
    link: &BusLink,
    peer: SocketAddr,
    carried: impl Future<Output = Result<(), ReadError>>,
) {
    let _place = InTable { hub, link };
    let end = tokio::select! {
        () = link.stop.notified() => return,
        end = carried => end,
    };
    if let Err(ReadError::Frame(e)) = end {
        Counters::add(&hub.desk.counters.broken_frames, 1);
        hub.desk.say(peer.ip(), kind_of(&e), || {
            format!("the bus link with {peer} was closed: {e}")
        });
    }
}

/// Reads and writes until one of the two can't.
async fn carry(
    hub: &Hub,
    link: &BusLink,
    stream: &TcpStream,
    mut assembler: Assembler,
    guest: Option<&Guest>,
) -> Result<(), ReadError> {
    let id = link.id;
    let reading = async {
        loop {
            hub.desk.room(false).await;
            let give = |bytes| hub.desk.tell(News::BusPacket { link: id, bytes });
            if let Err(e) = socket::read(stream, &mut assembler, guest, give).await {
                return e;
            }
        }
    };
    tokio::select! {
        e = link.outbox.write(stream) => Err(e.into()),
        e = reading => Err(e),
    }
}
