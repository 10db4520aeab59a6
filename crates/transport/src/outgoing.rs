//! Connections to servers that are no nodes of this cluster (M26): bytes in, bytes out.
//!
//! Owns the life of one; what its bytes mean is not known here. Invariant: every one ends with exactly one
//! [`Event::OutgoingClosed`], unless the loop has closed it.

use super::links::Transport;
use super::message::{Event, LinkId};
use super::outbox::{Bytes, Outbox};
use super::socket;
use std::io::{self, ErrorKind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;

/// Bytes given to the loop at a time.
const READ_BYTES: usize = 64 << 10;

pub(super) struct Outgoing {
    pub outbox: Outbox,
    /// The caller has taken it out of the table.
    pub stop: Notify,
}

/// `host`: an address or a name, which is looked up.
pub(super) fn connect(
    transport: &Rc<Transport>,
    link: LinkId,
    host: String,
    port: u16,
    limit: Duration,
) {
    let outgoing = Rc::new(Outgoing {
        outbox: Outbox::new(&transport.event_queue, &transport.config),
        stop: Notify::new(),
    });
    let mut table = transport.outgoing.borrow_mut();
    if let Some(old) = table.insert(link, Rc::clone(&outgoing)) {
        old.stop.notify_one(); // The loop's mistake; the newer order counts.
    }
    drop(table);
    let transport = Rc::clone(transport);
    tokio::task::spawn_local(async move {
        tokio::select! {
            () = outgoing.stop.notified() => {}
            _ended = live(&transport, link, &outgoing, (host, port), limit) => {
                let mut table = transport.outgoing.borrow_mut();
                if table.get(&link).is_some_and(|found| Rc::ptr_eq(found, &outgoing)) {
                    table.remove(&link);
                    transport.event_queue.tell(Event::OutgoingClosed { link });
                }
            }
        }
    });
}

async fn live(
    transport: &Transport,
    link: LinkId,
    outgoing: &Outgoing,
    (host, port): (String, u16),
    limit: Duration,
) -> io::Result<()> {
    let stream = timeout(limit, TcpStream::connect((host, port))).await??;
    socket::prepare(&stream)?;
    let stream = Arc::new(stream);
    transport.event_queue.tell(Event::OutgoingUp { link });
    tokio::select! {
        error = outgoing.outbox.write(stream.clone()) => Err(error),
        error = read(transport, link, &stream) => Err(error),
    }
}

/// Reads for as long as it can.
async fn read(transport: &Transport, link: LinkId, stream: &TcpStream) -> io::Error {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        transport.event_queue.room(false).await;
        if let Err(error) = stream.readable().await {
            return error;
        }
        match stream.try_read(&mut buffer) {
            Ok(0) => return ErrorKind::UnexpectedEof.into(),
            Ok(n) => {
                let bytes = buffer[..n].to_vec();
                transport
                    .event_queue
                    .tell(Event::OutgoingBytes { link, bytes });
                // Somebody else may have something urgent.
                tokio::task::yield_now().await;
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => return error,
        }
    }
}

/// Sends on a connection; before it stands the bytes wait. Without such a connection: nothing.
pub(super) fn send(transport: &Transport, link: LinkId, bytes: Vec<u8>) {
    if let Some(outgoing) = transport.outgoing.borrow().get(&link) {
        outgoing.outbox.push(None, Bytes::Own(bytes));
    }
}

/// Ends a connection; nothing is told of it any more.
pub(super) fn close(transport: &Transport, link: LinkId) {
    if let Some(outgoing) = transport.outgoing.borrow_mut().remove(&link) {
        outgoing.stop.notify_one();
    }
}
