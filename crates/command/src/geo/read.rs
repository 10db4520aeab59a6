//! Places of members: GEOADD, GEOPOS, GEOHASH, GEODIST.

use super::cell::Place;
use super::shape::distance;
use crate::env::{Done, Env, DONE};
use crate::error::Error;
use crate::members::{add, see, Options};
use crate::pace::Pace;
use crate::words::Words;
use base::double;
use resp::args::Args;
use resp::encode::Reply;

/// A longitude and a latitude.
pub(super) fn place(longitude: &[u8], latitude: &[u8]) -> Result<Place, Error> {
    let number = |text| double::parse(text).ok_or(Error::NOT_A_FLOAT);
    let (longitude, latitude) = (number(longitude)?, number(latitude)?);
    let place = Place {
        longitude,
        latitude,
    };
    match place.is_valid() {
        true => Ok(place),
        false => Err(Error::not_on_earth(longitude, latitude)),
    }
}

/// Meters of a unit.
pub(super) fn unit(name: &[u8]) -> Result<f64, Error> {
    let units: [(&[u8], f64); 4] = [
        (b"m", 1.0),
        (b"km", 1000.0),
        (b"ft", 0.3048),
        (b"mi", 1609.34),
    ];
    let found = units.iter().find(|unit| unit.0.eq_ignore_ascii_case(name));
    found.map(|unit| unit.1).ok_or(Error::GEO_UNIT)
}

/// A distance has four places.
pub(super) fn reply_distance(reply: &mut Reply<'_>, distance: f64) {
    let scaled = (distance * 10_000.0).round_ties_even() as i64;
    let whole = scaled.unsigned_abs();
    let sign = if scaled < 0 { "-" } else { "" };
    reply.bulk_fmt(format_args!(
        "{sign}{}.{:04}",
        whole / 10_000,
        whole % 10_000
    ));
}

/// A coordinate has up to seventeen places.
pub(super) fn reply_place(reply: &mut Reply<'_>, place: Place) {
    reply.array(2);
    for degrees in [place.longitude, place.latitude] {
        let text = format!("{degrees:.17}");
        let text = match text.trim_end_matches('0').trim_end_matches('.') {
            "-0" => "0",
            text => text,
        };
        match reply.is_resp3() {
            true => reply.raw(format!(",{text}\r\n").as_bytes()),
            false => reply.bulk(text.as_bytes()),
        }
    }
}

pub fn geoadd(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let (mut options, mut words) = (Options::default(), Words::new(args, 2));
    loop {
        if words.word("nx") {
            options.nx = true;
        } else if words.word("xx") {
            options.xx = true;
        } else if words.word("ch") {
            options.ch = true;
        } else {
            break;
        }
    }
    let rest = words.rest();
    if rest.len() % 3 != 0 || (options.xx && options.nx) {
        return Err(Error::SYNTAX);
    }
    let items = (0..rest.len()).step_by(3).map(|at| {
        let place = place(rest.at(at), rest.at(at + 1))?;
        Ok((rest.at(at + 2), place.score()))
    });
    let items = items.collect::<Result<Vec<_>, Error>>()?;
    if items.is_empty() {
        return Err(Error::SYNTAX);
    }
    add(env, args.at(1), &items, options)
}

/// Replies of each member what `show` makes of its place.
fn each(
    env: &mut Env<'_>,
    args: Args<'_>,
    mut show: impl FnMut(&mut Reply<'_>, Option<Place>),
) -> Done {
    let (key, members) = (env.data.key(args.at(1)), args.skip(2));
    let mut pace = Pace::default();
    let Env {
        data,
        session,
        server,
        out,
        ..
    } = env;
    see(data, &key, |zset| {
        let mut reply = Reply::new(out, session.proto);
        reply.array(members.len());
        for member in members.iter() {
            let score = zset.and_then(|zset| zset.score(member));
            show(&mut reply, score.map(Place::of_score));
            pace.step(&mut **server, 0);
        }
    })?;
    DONE
}

pub fn geopos(env: &mut Env<'_>, args: Args<'_>) -> Done {
    each(env, args, |reply, place| match place {
        Some(place) => reply_place(reply, place),
        None => reply.null_array(),
    })
}

pub fn geohash(env: &mut Env<'_>, args: Args<'_>) -> Done {
    each(env, args, |reply, place| match place {
        Some(place) => reply.bulk(&place.geohash()),
        None => reply.null(),
    })
}

pub fn geodist(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let unit = match args.len() {
        4 => 1.0,
        5 => unit(args.at(4))?,
        _ => return Err(Error::SYNTAX),
    };
    let key = env.data.key(args.at(1));
    let places = see(env.data, &key, |zset| {
        let zset = zset?;
        let (a, b) = (zset.score(args.at(2))?, zset.score(args.at(3))?);
        Some((Place::of_score(a), Place::of_score(b)))
    })?;
    let mut reply = env.reply();
    match places {
        Some((a, b)) => reply_distance(&mut reply, distance(a, b) / unit),
        None => reply.null(),
    }
    DONE
}
