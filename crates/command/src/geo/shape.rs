//! Distances on earth, and the cells that a search has to look at.

use super::cell::{Cell, Place, STEPS};

/// Of the sphere that stands for the earth, in meters.
const RADIUS: f64 = 6372797.560856;
/// Half of the equator in Mercator's projection, in meters.
const MERCATOR_MAX: f64 = 20037726.37;
const DEGREE: f64 = std::f64::consts::PI / 180.0;

/// The distance between two places, in meters.
pub fn distance(a: Place, b: Place) -> f64 {
    let across = ((b.longitude * DEGREE - a.longitude * DEGREE) / 2.0).sin();
    if across == 0.0 {
        return latitude_distance(a.latitude, b.latitude);
    }
    let (lat_a, lat_b) = (a.latitude * DEGREE, b.latitude * DEGREE);
    let along = ((lat_b - lat_a) / 2.0).sin();
    let chord = along * along + lat_a.cos() * lat_b.cos() * across * across;
    2.0 * RADIUS * chord.sqrt().asin()
}

fn latitude_distance(a: f64, b: f64) -> f64 {
    RADIUS * (b * DEGREE - a * DEGREE).abs()
}

/// What is searched: around a place, with lengths in a unit.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub center: Place,
    pub form: Form,
    /// Meters of the unit.
    pub unit: f64,
}

#[derive(Clone, Copy, Debug)]
pub enum Form {
    Circle { radius: f64 },
    Box { width: f64, height: f64 },
}

impl Shape {
    /// How far a place is from the center, in meters, if it lies within.
    pub fn reaches(&self, place: Place) -> Option<f64> {
        let center = self.center;
        let far = match self.form {
            Form::Circle { radius } => {
                let most = radius * self.unit;
                // No way is shorter than its part to the north or south, but for what rounding takes.
                if latitude_distance(place.latitude, center.latitude) > most * (1.0 + 1e-9) {
                    return None;
                }
                let distance = distance(center, place);
                return (distance <= most).then_some(distance);
            }
            Form::Box { width, height } => {
                let level = Place {
                    longitude: center.longitude,
                    ..place
                };
                latitude_distance(place.latitude, center.latitude) > height * self.unit / 2.0
                    || distance(place, level) > width * self.unit / 2.0
            }
        };
        (!far).then(|| distance(center, place))
    }

    /// The longitudes and the latitudes that surround it: from, to.
    fn bounds(&self) -> [(f64, f64); 2] {
        let Place {
            longitude,
            latitude,
        } = self.center;
        let (width, height) = match self.form {
            Form::Circle { radius } => (radius, radius),
            Form::Box { width, height } => (width / 2.0, height / 2.0),
        };
        let (width, height) = (self.unit * width, self.unit * height);
        let up = height / RADIUS / DEGREE;
        // Where the pole is nearer the arc is longer.
        let edge = match latitude < 0.0 {
            true => latitude - up,
            false => latitude + up,
        };
        let aside = width / RADIUS / (edge * DEGREE).cos() / DEGREE;
        [
            (longitude - aside, longitude + aside),
            (latitude - up, latitude + up),
        ]
    }

    /// From the center to the farthest point, in meters.
    fn reach(&self) -> f64 {
        let reach = match self.form {
            Form::Circle { radius } => radius,
            Form::Box { width, height } => {
                (width / 2.0 * (width / 2.0) + height / 2.0 * (height / 2.0)).sqrt()
            }
        };
        reach * self.unit
    }

    /// The cells that cover it, in the order in which they are searched.
    pub fn cells(&self) -> Vec<Cell> {
        let [(min_lon, max_lon), (min_lat, max_lat)] = self.bounds();
        let mut steps = steps_for(self.reach(), self.center.latitude);
        let mut cell = Cell::around(self.center, steps);
        let area = |east, north| cell.beside(east, north).area();
        let small = area(0, 1).latitude.1 < max_lat
            || area(0, -1).latitude.0 > min_lat
            || area(1, 0).longitude.1 < max_lon
            || area(-1, 0).longitude.0 > min_lon;
        if steps > 1 && small {
            steps -= 1;
            cell = Cell::around(self.center, steps);
        }
        let area = cell.area();
        let useless = |east: i8, north: i8| {
            steps >= 2
                && ((north < 0 && area.latitude.0 < min_lat)
                    || (north > 0 && area.latitude.1 > max_lat)
                    || (east < 0 && area.longitude.0 < min_lon)
                    || (east > 0 && area.longitude.1 > max_lon))
        };
        let around = [
            (0, 1),
            (0, -1),
            (1, 0),
            (-1, 0),
            (1, 1),
            (-1, 1),
            (1, -1),
            (-1, -1),
        ];
        let wanted = around.into_iter().filter(|(e, n)| !useless(*e, *n));
        // Of a huge area two neighbours may be the same cell.
        let mut cells: Vec<Cell> = wanted.map(|(e, n)| cell.beside(e, n)).collect();
        cells.dedup();
        cells.insert(0, cell);
        cells
    }
}

/// How small cells may be of which nine cover so many meters around a place.
fn steps_for(mut meters: f64, latitude: f64) -> u8 {
    if meters == 0.0 {
        return STEPS;
    }
    let mut steps = 1i32;
    while meters < MERCATOR_MAX {
        meters *= 2.0;
        steps += 1;
    }
    // Most searches reach into a neighbour; towards the poles cells get narrow.
    steps -= 2;
    steps -= i32::from(latitude.abs() > 66.0) + i32::from(latitude.abs() > 80.0);
    steps.clamp(1, STEPS.into()) as u8
}
