//! What the poller said of a connection, and which ones have more to do than one turn allowed.
//!
//! Readiness is edge-triggered: a socket says once that it became readable or writable. So [`Conn`]
//! remembers it until a read or a write proves the contrary, and a connection that still has work stands
//! in the [`ReadyList`]; while that list is not empty, the wait for events has a timeout of zero.

use crate::conn::Conn;
use crate::slab::ConnId;
use std::collections::VecDeque;

/// What became true of a socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    pub readable: bool,
    pub writable: bool,
    /// The peer will send nothing more, or the connection is broken: reading will tell.
    pub read_closed: bool,
}

/// Connections with work left, each once, in turn.
#[derive(Debug, Default)]
pub struct ReadyList {
    keys: VecDeque<ConnId>,
}

impl ReadyList {
    pub fn new() -> ReadyList {
        ReadyList::default()
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Puts a connection at the end, unless it is listed.
    #[inline]
    pub fn add<S>(&mut self, key: ConnId, conn: &mut Conn<S>) {
        if !conn.listed {
            conn.listed = true;
            self.keys.push_back(key);
        }
    }

    /// The next in turn: the caller looks it up (it may have died) and calls
    /// [`Conn::unlisted`] before it visits. To be fair, take `len()` of them per turn.
    #[inline]
    pub fn take(&mut self) -> Option<ConnId> {
        self.keys.pop_front()
    }
}
