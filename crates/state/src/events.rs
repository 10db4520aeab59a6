//! Keyspace events: what commands did to which keys, for clients that listen to it.
//!
//! Owns: the events of what runs, in Redis's order: a new key before what made it, the deletion of an emptied one behind
//! what emptied it. Never: knows a listener. Events are not logged: they are told by the leader that ran the
//! command, once; a member that applies the log has none to tell (facts: C4).
//!
//! Invariants: without interest an event costs a comparison; of a command that is held only what it has made expire stands.

use super::core::{Access, StateMachine};
use base::events::Classes;
use keyspace::Key;

/// What happened to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub name: &'static str,
    pub db: u32,
    pub key: Box<[u8]>,
    /// It stands though the command that led to it is held.
    stands: bool,
}

type Place = (u32, Box<[u8]>);

#[derive(Default)]
pub(super) struct Events {
    interest: Classes,
    told: Vec<Event>,
    /// Emptied by what is told next of them.
    emptied: Vec<Place>,
    /// Not there before the effect.
    absent: Vec<Place>,
}

impl StateMachine {
    /// The classes that anybody could hear of.
    #[inline]
    pub fn set_interest(&mut self, interest: Classes) {
        self.events.interest = interest;
    }

    /// A command has done this to a key of its database.
    #[inline]
    pub fn event(&mut self, class: Classes, name: &'static str, key: &Key<'_>) {
        self.event_in(self.db, class, name, key.bytes);
    }

    #[inline]
    pub fn event_in(&mut self, db: u32, class: Classes, name: &'static str, key: &[u8]) {
        if self.events.interest != Classes::NONE {
            self.tell(class, Event::of(name, db, key));
        }
    }

    #[cold]
    fn tell(&mut self, class: Classes, event: Event) {
        if self.access != Access::Lead {
            return;
        }
        let place = (event.db, event.key.clone());
        let events = &mut self.events;
        let emptied = events.emptied.iter().position(|of| *of == place);
        let stands = event.stands;
        if events.interest.has(class) {
            events.told.push(event);
        }
        if let Some(at) = emptied {
            events.emptied.remove(at);
            let deleted = Event {
                stands,
                ..Event::of("del", place.0, &place.1)
            };
            self.tell(Classes::GENERIC, deleted);
        }
    }

    /// A key, or fields of it, have expired.
    pub(super) fn tell_expired(&mut self, class: Classes, name: &'static str, db: u32, key: &[u8]) {
        if self.events.interest != Classes::NONE {
            let event = Event {
                stands: true,
                ..Event::of(name, db, key)
            };
            self.tell(class, event);
        }
    }

    /// What takes the last element of a key takes the key.
    pub(super) fn note_emptied(&mut self, db: u32, key: &Key<'_>) {
        self.note_gone(key);
        self.mark_emptied(db, key);
    }

    /// The same for a key that is deleted as a whole.
    pub(super) fn mark_emptied(&mut self, db: u32, key: &Key<'_>) {
        if self.events.interest.has(Classes::GENERIC) && self.access == Access::Lead {
            self.events.emptied.push((db, key.bytes.into()));
        }
    }

    /// An effect comes that may make these keys; what the one before it could make is made, or was none of its keys.
    #[inline]
    pub(super) fn note_effect(&mut self, db: u32, keys: &[&[u8]]) {
        if self.events.interest.has(Classes::NEW) {
            self.events.absent.clear();
            self.look_for(db, keys);
        }
    }

    /// It may make these as well.
    #[inline]
    pub(super) fn note_absent(&mut self, db: u32, keys: &[&[u8]]) {
        if self.events.interest.has(Classes::NEW) {
            self.look_for(db, keys);
        }
    }

    #[cold]
    fn look_for(&mut self, db: u32, keys: &[&[u8]]) {
        for bytes in keys {
            let key = self.keyspace.key(bytes);
            if self.keyspace.get(db, &key).is_none() {
                self.events.absent.push((db, (*bytes).into()));
            }
        }
    }

    /// The key is made anew, whether one is there or not.
    pub(super) fn note_remade(&mut self, db: u32, key: &Key<'_>) {
        if self.events.interest.has(Classes::NEW) {
            self.events.absent.push((db, key.bytes.into()));
        }
    }

    /// A key has changed.
    #[inline]
    pub(super) fn note_made(&mut self, db: u32, key: &Key<'_>) {
        if !self.events.absent.is_empty() {
            self.tell_new(db, key);
        }
    }

    #[cold]
    fn tell_new(&mut self, db: u32, key: &Key<'_>) {
        let absent = &mut self.events.absent;
        let is_it = |(of, bytes): &Place| *of == db && **bytes == *key.bytes;
        let before = absent.len();
        absent.retain(|place| !is_it(place));
        if absent.len() < before && self.keyspace.get(db, key).is_some() {
            self.event_in(db, Classes::NEW, "new", key.bytes);
        }
    }

    /// Whether there is anything to tell.
    #[inline]
    pub fn has_events(&self) -> bool {
        self.events.interest != Classes::NONE
            && !(self.events.told.is_empty() && self.events.emptied.is_empty())
    }

    /// What is to be told; of a command that is held: what stands.
    pub fn take_events(&mut self, held: bool) -> Vec<Event> {
        let events = &mut self.events;
        events.absent.clear();
        let emptied = std::mem::take(&mut events.emptied).into_iter();
        let emptied = emptied.map(|(db, key)| Event::of("del", db, &key));
        let told = std::mem::take(&mut events.told).into_iter().chain(emptied);
        told.filter(|event| event.stands || !held).collect()
    }
}

impl Event {
    fn of(name: &'static str, db: u32, key: &[u8]) -> Event {
        Event {
            name,
            db,
            key: key.into(),
            stands: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::ids::BatchSeq;
    use keyspace::{Keyspace, Layout, Side};

    /// Not an argument that is no key, nor a key that is not made, is remembered for longer than its effect.
    #[test]
    fn effects_leave_no_absent_keys_behind() {
        let keyspace = Keyspace::new(Layout::Single { databases: 1 }, 7);
        let mut state = StateMachine::new(keyspace, 1 << 20);
        state.set_interest(Classes::NEW | Classes::KEYSPACE);
        state.begin_turn(BatchSeq(1), 0, true, usize::MAX);
        for _ in 0..100 {
            state.begin_command(0, Access::Lead);
            let key = state.key(b"list");
            state.list_push(&key, Side::Left, &[b"element"], &mut |_| {});
            state.end_command();
        }
        assert!(state.events.absent.len() <= 2, "of the last effect alone");
        let told = state.take_events(false);
        assert_eq!(told, [Event::of("new", 0, b"list")]);
    }
}
