//! Cells of the earth: places as numbers whose bits are, from the top, the halves of the earth that a place lies in, by turns of
//! longitude and latitude.

/// How many halvings each of a place's coordinates has as a score.
pub const STEPS: u8 = 26;

pub const LONGITUDE_MAX: f64 = 180.0;
/// Mercator's projection ends here.
pub const LATITUDE_MAX: f64 = 85.05112878;

const LATITUDE_BITS: u64 = 0x5555_5555_5555_5555;
const LONGITUDE_BITS: u64 = !LATITUDE_BITS;

/// A place, in degrees.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Place {
    pub longitude: f64,
    pub latitude: f64,
}

impl Place {
    /// Whether it can be a score.
    pub fn is_valid(self) -> bool {
        self.longitude.abs() <= LONGITUDE_MAX && self.latitude.abs() <= LATITUDE_MAX
    }

    /// The place that a score stands for.
    pub fn of_score(score: f64) -> Place {
        // As a CPU converts it: what is below 0 wraps around.
        let bits = match score < (1u64 << 63) as f64 {
            true => score as i64 as u64,
            false => score as u64,
        };
        let area = Cell { bits, steps: STEPS }.area();
        let middle = |(min, max): (f64, f64), most: f64| ((min + max) / 2.0).clamp(-most, most);
        Place {
            longitude: middle(area.longitude, LONGITUDE_MAX),
            latitude: middle(area.latitude, LATITUDE_MAX),
        }
    }

    pub fn score(self) -> f64 {
        Cell::around(self, STEPS).bits as f64
    }

    /// The eleven letters that the world calls the place.
    pub fn geohash(self) -> [u8; 11] {
        const LETTERS: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
        // There latitudes go up to the poles.
        let bits = cell_bits(self, STEPS, 90.0);
        let mut text = [LETTERS[0]; 11];
        for (at, letter) in text[..10].iter_mut().enumerate() {
            *letter = LETTERS[(bits >> (52 - (at + 1) * 5)) as usize & 31];
        }
        text
    }
}

/// The part of the earth that a number of halvings leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    pub bits: u64,
    pub steps: u8,
}

/// The edges of a cell: from, to.
#[derive(Clone, Copy, Debug)]
pub struct Area {
    pub longitude: (f64, f64),
    pub latitude: (f64, f64),
}

fn cell_bits(place: Place, steps: u8, latitude_max: f64) -> u64 {
    let part = |value: f64, most: f64| {
        let share = (value + most) / (2.0 * most);
        spread((share * (1u64 << steps) as f64) as u32)
    };
    part(place.latitude, latitude_max) | part(place.longitude, LONGITUDE_MAX) << 1
}

/// Groups of 16, 8, 4, 2 and 1 bits, each with as many zeros before it: a number's bits on their way apart.
const GROUPS: [(u32, u64); 5] = [
    (16, 0x0000_ffff_0000_ffff),
    (8, 0x00ff_00ff_00ff_00ff),
    (4, 0x0f0f_0f0f_0f0f_0f0f),
    (2, 0x3333_3333_3333_3333),
    (1, 0x5555_5555_5555_5555),
];

/// Puts a 0 before each bit.
fn spread(bits: u32) -> u64 {
    let apart = |all: u64, (width, group): (u32, u64)| (all | all << width) & group;
    GROUPS.into_iter().fold(bits.into(), apart)
}

/// Every second bit, from the lowest on.
fn gather(bits: u64) -> u32 {
    let together = |all: u64, at: usize| (all | all >> GROUPS[at + 1].0) & GROUPS[at].1;
    let pairs = [3, 2, 1, 0].into_iter().fold(bits & GROUPS[4].1, together);
    (pairs | pairs >> 16) as u32
}

impl Cell {
    /// The cell that a place lies in.
    pub fn around(place: Place, steps: u8) -> Cell {
        let bits = cell_bits(place, steps, LATITUDE_MAX);
        Cell { bits, steps }
    }

    pub fn area(self) -> Area {
        let edges = |part: u32, most: f64| {
            let edge = |n: u32| -most + f64::from(n) / (1u64 << self.steps) as f64 * (most - -most);
            (edge(part), edge(part.wrapping_add(1)))
        };
        Area {
            longitude: edges(gather(self.bits >> 1), LONGITUDE_MAX),
            latitude: edges(gather(self.bits), LATITUDE_MAX),
        }
    }

    /// The cell so many cells to the east and to the north, each of which is -1, 0 or 1; behind the edge it goes on at the other one.
    pub fn beside(self, east: i8, north: i8) -> Cell {
        let mask = u64::MAX >> (64 - 2 * u32::from(self.steps));
        let step = |own: u64, by: i8| {
            let (other, own) = (!own & mask, own & mask);
            let part = self.bits & own;
            own & match by {
                0 => part,
                1.. => part.wrapping_add(other.wrapping_add(1)),
                _ => (part | other).wrapping_sub(other.wrapping_add(1)),
            }
        };
        // Of the other coordinate all bits are 1, so that a carry passes them.
        let bits = step(LONGITUDE_BITS, east) | step(LATITUDE_BITS, north);
        Cell { bits, ..self }
    }

    /// The scores of the places in it: from the first up to, without it, the second.
    pub fn scores(self) -> (f64, f64) {
        let shift = 52 - 2 * u32::from(self.steps);
        (
            (self.bits << shift) as f64,
            ((self.bits + 1) << shift) as f64,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn places_are_in_their_cells(longitude in -180.0..180.0f64, latitude in -85.0..85.0f64, steps in 1..27u8) {
            let place = Place { longitude, latitude };
            let area = Cell::around(place, steps).area();
            prop_assert!(area.longitude.0 <= longitude && longitude <= area.longitude.1);
            prop_assert!(area.latitude.0 <= latitude && latitude <= area.latitude.1);
            let score = place.score();
            let (from, to) = Cell::around(place, steps).scores();
            prop_assert!(from <= score && score < to);
            prop_assert_eq!(Place::of_score(score).score(), score);
        }

        #[test]
        fn every_second_bit_is_gathered(bits: u32, others: u32) {
            let mut wanted = 0;
            for at in 0..32 {
                wanted |= u64::from(bits >> at & 1) << (2 * at);
            }
            prop_assert_eq!(spread(bits), wanted);
            prop_assert_eq!(gather(wanted | spread(others) << 1), bits);
        }

        #[test]
        fn neighbours_are_beside(bits: u64, steps in 1..27u8) {
            let cell = Cell { bits: bits & (u64::MAX >> (64 - 2 * u32::from(steps))), steps };
            for (east, north) in [(1, 0), (0, 1), (1, 1), (-1, 1)] {
                prop_assert_eq!(cell.beside(east, north).beside(-east, -north), cell);
            }
            let (own, next) = (cell.area().longitude, cell.beside(1, 0).area().longitude);
            prop_assert!(own.1 == next.0 || next.0 == -180.0);
        }
    }
}
