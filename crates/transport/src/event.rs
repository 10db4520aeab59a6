//! The desk where the links leave events for the loop.
//!
//! Owns the queue, the waking and the counters. Invariants: between two times that the loop finds
//! the queue empty it is woken at most once, and never not at all; bytes that the loop has not
//! taken are bounded, because readers wait at [`EventQueue::room`] above a limit.

use super::inlet::Inlet;
use super::message::{Event, Stats};
use super::seldom::Seldom;
use std::fmt::Display;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Above so many bytes not taken by the loop, links are not read.
const HIGH: usize = 128 << 20;
/// Urgent links have some more.
const HIGH_URGENT: usize = HIGH + (32 << 20);
/// Below so many they are read again.
const LOW: usize = 64 << 20;
/// Lines for the log in one [`TALK_PERIOD`]: strangers at the port must not fill the disk.
const TALK: u32 = 20;
const TALK_PERIOD: Duration = Duration::from_secs(1);

pub(super) struct EventQueue {
    queue: Sender<Item>,
    waker: Arc<mio::Waker>,
    /// The loop has been woken and has not yet found the queue empty.
    woken: AtomicBool,
    /// Bytes in the queue.
    waiting: AtomicUsize,
    /// Some reader waits at `room`.
    paused: AtomicBool,
    room: Notify,
    talk: Mutex<Talk>,
    pub counters: Counters,
}

/// What lies in the queue.
pub(super) enum Item {
    Event(Event),
    /// A link that the loop reads from now on: what it brought before lies in front.
    Inlet(Inlet),
}

struct Talk {
    begun: Instant,
    seldom: Seldom,
    since: Instant,
    lines: u32,
}

impl EventQueue {
    pub fn new(waker: Arc<mio::Waker>) -> (Arc<EventQueue>, Receiver<Item>) {
        let (queue, event) = channel();
        let event_queue = EventQueue {
            queue,
            waker,
            woken: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
            paused: AtomicBool::new(false),
            room: Notify::new(),
            talk: Mutex::new(Talk {
                begun: Instant::now(),
                seldom: Seldom::default(),
                since: Instant::now(),
                lines: 0,
            }),
            counters: Counters::default(),
        };
        (Arc::new(event_queue), event)
    }

    // ---- the side of the links ------------------------------------------------------------

    pub fn tell(&self, event: Event) {
        self.waiting.fetch_add(event.weight(), Ordering::SeqCst);
        self.put(Item::Event(event));
    }

    pub fn hand_over(&self, inlet: Inlet) {
        self.put(Item::Inlet(inlet));
    }

    fn put(&self, item: Item) {
        // Without a receiver the loop is gone, and we soon.
        let _ = self.queue.send(item);
        if !self.woken.swap(true, Ordering::SeqCst) {
            // It fails only when the loop's poller is gone.
            let _ = self.waker.wake();
        }
    }

    /// A line for the log about something of this kind with this peer, unless that was said within the
    /// last minute, or there were too many lines just now.
    pub fn say(&self, peer: impl Display, kind: impl Display, text: impl FnOnce() -> String) {
        let mut talk = self.talk.lock().unwrap_or_else(PoisonError::into_inner);
        if talk.since.elapsed() > TALK_PERIOD {
            talk.since = Instant::now();
            talk.lines = 0;
        }
        let now = talk.begun.elapsed();
        let full = talk.lines >= TALK;
        if full || !talk.seldom.admits(now, peer, kind) {
            Counters::add(&self.counters.muted, 1);
            return;
        }
        talk.lines += 1;
        drop(talk);
        self.tell(Event::Failed(text()));
    }

    /// Waits until the loop has taken enough of what lies here.
    pub async fn room(&self, urgent: bool) {
        let high = if urgent { HIGH_URGENT } else { HIGH };
        while self.waiting.load(Ordering::SeqCst) > high {
            let notified = self.room.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            self.paused.store(true, Ordering::SeqCst);
            // The loop looks at `paused` after it has subtracted: one of us sees the other.
            if self.waiting.load(Ordering::SeqCst) <= LOW {
                return;
            }
            notified.await;
        }
    }

    /// Bytes that the loop has not taken.
    #[cfg(test)]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    // ---- the side of the loop -------------------------------------------------------------

    /// The loop has found the queue empty; it looks once more after this.
    pub fn drained(&self) {
        self.woken.swap(false, Ordering::SeqCst);
    }

    pub fn taken(&self, event: &Event) {
        let weight = event.weight();
        let left = self.waiting.fetch_sub(weight, Ordering::SeqCst) - weight;
        if left <= LOW && self.paused.load(Ordering::SeqCst) {
            self.paused.store(false, Ordering::SeqCst);
            self.room.notify_waiters();
        }
    }
}

/// [`Stats`] as they are counted.
#[derive(Default)]
pub(super) struct Counters {
    pub accepted_now: AtomicU64,
    pub refused_full: AtomicU64,
    pub displaced: AtomicU64,
    pub unfinished_bytes: AtomicU64,
    pub refused_garbage: AtomicU64,
    pub refused_handshakes: AtomicU64,
    pub broken_frames: AtomicU64,
    pub dropped_frames: AtomicU64,
    pub queued_bytes: AtomicU64,
    pub muted: AtomicU64,
}

impl Counters {
    pub fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }

    pub fn sub(counter: &AtomicU64, n: u64) {
        counter.fetch_sub(n, Ordering::Relaxed);
    }

    pub fn read(&self) -> Stats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            accepted_now: get(&self.accepted_now),
            refused_full: get(&self.refused_full),
            displaced: get(&self.displaced),
            unfinished_bytes: get(&self.unfinished_bytes),
            refused_garbage: get(&self.refused_garbage),
            refused_handshakes: get(&self.refused_handshakes),
            broken_frames: get(&self.broken_frames),
            dropped_frames: get(&self.dropped_frames),
            queued_bytes: get(&self.queued_bytes),
            muted: get(&self.muted),
        }
    }
}
