//! Orders and events of connections to servers outside, between [`outside`] and the thread that moves their
//! bytes.
//!
//! Owns the translation only.

use outside::pool::{self, LinkId, Order};
use transport::{Command, Event};

pub fn command_of(order: Order) -> Command {
    match order {
        Order::Connect {
            link,
            host,
            port,
            limit,
        } => Command::OutgoingConnect {
            link,
            host,
            port,
            limit,
        },
        Order::Send { link, bytes } => Command::OutgoingSend { link, bytes },
        Order::Close { link } => Command::OutgoingClose { link },
    }
}

/// Of another kind of link: the event as it was.
pub fn event_of(event: Event) -> Result<(LinkId, pool::Event), Event> {
    match event {
        Event::OutgoingUp { link } => Ok((link, pool::Event::Up)),
        Event::OutgoingBytes { link, bytes } => Ok((link, pool::Event::Bytes(bytes))),
        Event::OutgoingClosed { link } => Ok((link, pool::Event::Closed)),
        other => Err(other),
    }
}
