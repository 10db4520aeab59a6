//! Guests: connections that other nodes, or strangers, have made to here. They need places, and memory
//! for what they do not finish.
//!
//! Strangers that take all places and say nothing would keep members out for good; strangers that begin
//! long packets and do not finish them would fill the memory. So both are bounded, and when they run
//! short the guest that has brought nothing whole for longest is displaced: members speak every few
//! seconds, and make a link again that they have lost. A stranger that speaks all the time keeps its place.
//!
//! Owns the places and the count of unfinished bytes. Never closes: a displaced guest is told, and its task
//! ends it, so for a moment there is one more, with its bytes. Invariants: no more places than are
//! allowed; a proved guest is not displaced, and its bytes do not count; what a guest has had is given
//! back when it goes, its place when its file is closed.

use super::event::{Counters, EventQueue};
use super::frame::FIRST_BYTES;
use super::message::TransportConfig;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Since when a guest has said nothing; the second makes it unique.
type Rank = (Instant, u64);

pub(super) struct Guests {
    event_queue: Arc<EventQueue>,
    max_accepted: usize,
    max_unfinished: usize,
    silence: Duration,
    came: Cell<u64>,
    /// Guests that can be displaced. A rank may be out of date: it is put right when it comes first, so that
    /// a packet costs nothing here, and to find the oldest among thousands next to nothing.
    ranks: RefCell<BTreeMap<Rank, Weak<Guest>>>,
}

/// A place that is taken. Its last holder gives it back, on either thread.
pub(super) struct Seat {
    event_queue: Arc<EventQueue>,
    given_back: AtomicBool,
}

/// One connection's place.
pub(super) struct Guest {
    guests: Rc<Guests>,
    seat: Arc<Seat>,
    rank: Cell<Rank>,
    /// When its last packet or frame was whole; before, when it came.
    spoke: Cell<Instant>,
    unfinished: Cell<usize>,
    proved: Cell<bool>,
    is_displaced: Cell<bool>,
    displaced: Notify,
}

impl Guests {
    pub fn new(event_queue: &Arc<EventQueue>, config: &TransportConfig) -> Rc<Guests> {
        Rc::new(Guests {
            event_queue: Arc::clone(event_queue),
            max_accepted: config.max_accepted,
            max_unfinished: config.unfinished_bytes,
            silence: config.silence,
            came: Cell::new(0),
            ranks: RefCell::default(),
        })
    }

    /// A place for one that has just come, if need be that of another.
    pub fn seat(self: &Rc<Self>) -> Option<Rc<Guest>> {
        let taken = &self.event_queue.counters.accepted_now;
        if taken.load(Ordering::Relaxed) >= self.max_accepted as u64 {
            let oldest = self.oldest().filter(|guest| guest.is_silent())?;
            oldest.displace();
        }
        let seat = Seat::take(&self.event_queue);
        let (now, id) = (Instant::now(), self.came.get() + 1);
        self.came.set(id);
        let guest = Rc::new(Guest {
            guests: Rc::clone(self),
            seat,
            rank: Cell::new((now, id)),
            spoke: Cell::new(now),
            unfinished: Cell::new(0),
            proved: Cell::new(false),
            is_displaced: Cell::new(false),
            displaced: Notify::new(),
        });
        let mut ranks = self.ranks.borrow_mut();
        ranks.insert((now, id), Rc::downgrade(&guest));
        Some(guest)
    }

    /// The guest that has been silent for longest. An old rank is put right and
    /// comes no more: under a flood of silent ones the first is the one, and a packet pays for a step.
    fn oldest(&self) -> Option<Rc<Guest>> {
        let mut ranks = self.ranks.borrow_mut();
        loop {
            let (rank, first) = ranks.pop_first()?;
            let Some(guest) = first.upgrade() else {
                continue; // It is gone, and takes itself out.
            };
            let (spoke, (filed, id)) = (guest.spoke.get(), rank);
            guest.rank.set((spoke, id));
            ranks.insert((spoke, id), first);
            if spoke == filed {
                return Some(guest);
            }
        }
    }

    /// The same among those that keep bytes. It looks at all: each time a link is closed for it.
    fn oldest_that_keeps(&self) -> Option<Rc<Guest>> {
        let ranks = self.ranks.borrow();
        let guests = ranks.values().filter_map(Weak::upgrade);
        guests
            .filter(|guest| guest.unfinished.get() > 0)
            .min_by_key(|guest| guest.spoke.get())
    }
}

impl Seat {
    fn take(event_queue: &Arc<EventQueue>) -> Arc<Seat> {
        Counters::add(&event_queue.counters.accepted_now, 1);
        Arc::new(Seat {
            event_queue: Arc::clone(event_queue),
            given_back: AtomicBool::new(false),
        })
    }

    fn give_back(&self) {
        if !self.given_back.swap(true, Ordering::Relaxed) {
            Counters::sub(&self.event_queue.counters.accepted_now, 1);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.give_back();
    }
}

impl Guest {
    /// A packet or frame of it is whole.
    pub fn has_spoken(&self) {
        self.spoke.set(Instant::now());
    }

    /// So much memory is taken by what it has begun; whether it may stay. Little counts for nothing:
    /// members' packets, which are short, come through whatever strangers do.
    pub fn keeps(&self, bytes: usize) -> bool {
        let counts = bytes > FIRST_BYTES && !self.proved.get() && !self.is_displaced.get();
        self.count(if counts { bytes } else { 0 });
        let guests = &self.guests;
        let total = &guests.event_queue.counters.unfinished_bytes;
        while counts && total.load(Ordering::Relaxed) > guests.max_unfinished as u64 {
            match guests.oldest_that_keeps().filter(|guest| guest.is_silent()) {
                Some(other) if !std::ptr::eq(Rc::as_ptr(&other), self) => other.displace(),
                _ => return false,
            }
        }
        true
    }

    /// It comes from the member that it names: nothing is taken from it any more.
    pub fn prove(&self) {
        self.proved.set(true);
        self.leave();
    }

    /// For the one that keeps the connection's file when this guest has gone.
    pub fn seat(&self) -> Arc<Seat> {
        Arc::clone(&self.seat)
    }

    /// Waits until another has its place. Its memory is there until its task has its turn.
    pub async fn displaced(&self) {
        self.displaced.notified().await;
    }

    fn is_silent(&self) -> bool {
        self.spoke.get().elapsed() >= self.guests.silence
    }

    fn displace(&self) {
        self.leave();
        self.is_displaced.set(true);
        self.seat.give_back();
        Counters::add(&self.guests.event_queue.counters.displaced, 1);
        self.displaced.notify_one();
    }

    /// Takes it out of those that can be displaced.
    fn leave(&self) {
        self.count(0);
        self.guests.ranks.borrow_mut().remove(&self.rank.get());
    }

    fn count(&self, bytes: usize) {
        let total = &self.guests.event_queue.counters.unfinished_bytes;
        Counters::add(total, bytes as u64);
        Counters::sub(total, self.unfinished.replace(bytes) as u64);
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.leave();
    }
}
