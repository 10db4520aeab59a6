//! The registry of subscriptions.

use super::{Counts, Subscriber, SubscriptionKind};
use base::glob;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// A channel or a pattern; shared by the lists that hold it.
type Name = Arc<[u8]>;

/// The subscribers of each name of one kind. Sets: a subscriber that leaves a channel of many costs a step down a
/// tree, not a walk.
type Names = HashMap<Name, BTreeSet<Subscriber>>;

#[derive(Debug, Default)]
struct Own {
    names: [BTreeSet<Name>; 3],
}

impl Own {
    fn counts(&self) -> Counts {
        let [channels, patterns, shard] = &self.names;
        Counts {
            channels: channels.len(),
            patterns: patterns.len(),
            shard: shard.len(),
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Registry {
    names: [Names; 3],
    subscribers: HashMap<Subscriber, Own>,
}

impl Registry {
    pub fn new() -> Registry {
        Registry::default()
    }

    /// What `who` is subscribed to afterwards.
    pub fn subscribe(&mut self, who: Subscriber, kind: SubscriptionKind, name: &[u8]) -> Counts {
        let own = self.subscribers.entry(who).or_default();
        if !own.names[kind as usize].contains(name) {
            let names = &mut self.names[kind as usize];
            let name = match names.get_key_value(name) {
                Some((name, _)) => name.clone(),
                None => Name::from(name),
            };
            own.names[kind as usize].insert(name.clone());
            names.entry(name).or_default().insert(who);
        }
        own.counts()
    }

    /// What `who` is subscribed to afterwards; nothing changes if it was not subscribed to `name`.
    pub fn unsubscribe(&mut self, who: Subscriber, kind: SubscriptionKind, name: &[u8]) -> Counts {
        let Some(own) = self.subscribers.get_mut(&who) else {
            return Counts::default();
        };
        if own.names[kind as usize].remove(name) {
            leave(&mut self.names[kind as usize], name, who);
        }
        let counts = own.counts();
        if !counts.any() {
            self.subscribers.remove(&who);
        }
        counts
    }

    /// Forgets `who` (its client is gone, or RESET).
    pub fn remove(&mut self, who: Subscriber) {
        let Some(own) = self.subscribers.remove(&who) else {
            return;
        };
        for (names, own) in self.names.iter_mut().zip(own.names) {
            for name in own {
                leave(names, &name, who);
            }
        }
    }

    /// Ends the subscriptions to all shard channels that `gone` names (their slots have left this
    /// shard): which client was subscribed to what, and what is left to each.
    pub fn remove_shard_channels(
        &mut self,
        gone: impl Fn(&[u8]) -> bool,
    ) -> Vec<(Subscriber, Arc<[u8]>, Counts)> {
        let shard = &self.names[SubscriptionKind::Shard as usize];
        let mut names: Vec<Name> = shard.keys().filter(|n| gone(n)).cloned().collect();
        names.sort_unstable();
        let mut told = Vec::new();
        for name in names {
            let all = self.names[SubscriptionKind::Shard as usize].get(&name);
            let all: Vec<Subscriber> =
                all.map_or_else(Vec::new, |all| all.iter().copied().collect());
            for who in all {
                let counts = self.unsubscribe(who, SubscriptionKind::Shard, &name);
                told.push((who, name.clone(), counts));
            }
        }
        told
    }

    /// Calls `each` for every subscriber that gets a message on `channel`, with the pattern that matched if
    /// it was one: first the channel's own subscribers, then those of patterns (a shard channel has
    /// none). A subscriber of both is called twice.
    pub fn for_each_receiver<'a>(
        &'a self,
        sharded: bool,
        channel: &[u8],
        each: &mut dyn FnMut(Subscriber, Option<&'a [u8]>),
    ) {
        let kind = if sharded {
            SubscriptionKind::Shard
        } else {
            SubscriptionKind::Channel
        };
        for who in self.names[kind as usize].get(channel).into_iter().flatten() {
            each(*who, None);
        }
        if sharded {
            return;
        }
        for (pattern, all) in &self.names[SubscriptionKind::Pattern as usize] {
            if glob::matches(pattern, channel, false) {
                all.iter().for_each(|who| each(*who, Some(pattern)));
            }
        }
    }

    /// The names of one kind that `who` is subscribed to.
    pub fn of(&self, who: Subscriber, kind: SubscriptionKind) -> Vec<Arc<[u8]>> {
        self.subscribers.get(&who).map_or_else(Vec::new, |own| {
            own.names[kind as usize].iter().cloned().collect()
        })
    }

    pub fn counts(&self, who: Subscriber) -> Counts {
        self.subscribers
            .get(&who)
            .map_or_else(Counts::default, Own::counts)
    }

    /// How many different names of that kind somebody listens to.
    pub fn len(&self, kind: SubscriptionKind) -> usize {
        self.names[kind as usize].len()
    }

    pub fn is_empty(&self) -> bool {
        self.subscribers.is_empty()
    }

    /// How many listen to that name.
    pub fn listeners(&self, kind: SubscriptionKind, name: &[u8]) -> usize {
        self.names[kind as usize].get(name).map_or(0, BTreeSet::len)
    }

    /// The names of that kind that somebody listens to and that match `pattern`, in no order.
    pub fn active<'a>(
        &'a self,
        kind: SubscriptionKind,
        pattern: Option<&'a [u8]>,
    ) -> impl Iterator<Item = &'a [u8]> {
        let matching = move |name: &&[u8]| pattern.is_none_or(|p| glob::matches(p, name, false));
        self.names[kind as usize]
            .keys()
            .map(|name| &**name)
            .filter(matching)
    }
}

fn leave(names: &mut Names, name: &[u8], who: Subscriber) {
    if let Some(all) = names.get_mut(name) {
        all.remove(&who);
        if all.is_empty() {
            names.remove(name);
        }
    }
}
