//! Connections by key. A key dies with its connection: an event or an answer that comes late finds
//! nothing, never the next connection in the same place.

/// Names one connection for ever (a place is reused 2^32 times before a key could come back).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId {
    index: u32,
    /// Never 0: bits of generation 0 are names for the poller's own.
    generation: u32,
}

impl ConnId {
    /// The key as a number, for a poller, or a registry that has names of clients and knows no connections.
    pub fn bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// The key with these bits; none if no key has them.
    pub fn of_bits(bits: u64) -> Option<ConnId> {
        let generation = (bits >> 32) as u32;
        let index = bits as u32;
        (generation != 0).then_some(ConnId { index, generation })
    }
}

#[derive(Debug)]
struct Place<T> {
    generation: u32,
    value: Option<T>,
}

#[derive(Debug)]
pub struct Slab<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Slab<T> {
        Slab::new()
    }
}

impl<T> Slab<T> {
    pub fn new() -> Slab<T> {
        Slab {
            places: Vec::new(),
            free: Vec::new(),
        }
    }

    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn insert(&mut self, value: T) -> ConnId {
        if let Some(index) = self.free.pop() {
            let place = &mut self.places[index as usize];
            place.value = Some(value);
            return ConnId {
                index,
                generation: place.generation,
            };
        }
        let index = u32::try_from(self.places.len()).expect("fewer connections than 2^32");
        self.places.push(Place {
            generation: 1,
            value: Some(value),
        });
        ConnId {
            index,
            generation: 1,
        }
    }

    pub fn remove(&mut self, key: ConnId) -> Option<T> {
        let place = self.place_mut(key)?;
        let value = place.value.take()?;
        place.generation = place.generation.checked_add(1).unwrap_or(1);
        self.free.push(key.index);
        Some(value)
    }

    fn place_mut(&mut self, key: ConnId) -> Option<&mut Place<T>> {
        self.places
            .get_mut(key.index as usize)
            .filter(|p| p.generation == key.generation)
    }

    #[inline]
    pub fn get(&self, key: ConnId) -> Option<&T> {
        let place = self.places.get(key.index as usize)?;
        if place.generation != key.generation {
            return None;
        }
        place.value.as_ref()
    }

    #[inline]
    pub fn get_mut(&mut self, key: ConnId) -> Option<&mut T> {
        self.place_mut(key)?.value.as_mut()
    }

    pub fn iter(&self) -> impl Iterator<Item = (ConnId, &T)> {
        self.places.iter().zip(0u32..).filter_map(|(place, index)| {
            let key = ConnId {
                index,
                generation: place.generation,
            };
            place.value.as_ref().map(|value| (key, value))
        })
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (ConnId, &mut T)> {
        self.places
            .iter_mut()
            .zip(0u32..)
            .filter_map(|(place, index)| {
                let key = ConnId {
                    index,
                    generation: place.generation,
                };
                place.value.as_mut().map(|value| (key, value))
            })
    }

    /// All keys, for loops that remove while they go.
    pub fn keys(&self) -> Vec<ConnId> {
        self.iter().map(|(key, _)| key).collect()
    }
}
