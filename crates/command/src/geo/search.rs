//! GEOSEARCH, GEOSEARCHSTORE, and GEORADIUS with its relatives.

use super::cell::Place;
use super::read::{place, reply_distance, reply_place, unit};
use super::shape::{Form, Shape};
use crate::args::integer;
use crate::env::{Done, Env, DONE};
use crate::error::Error;
use crate::key_spec::{BadKeys, KeyFlags};
use crate::members::{see, waits};
use crate::pace::Pace;
use crate::room;
use crate::values::bulk;
use crate::words::Words;
use base::double;
use base::events::Classes;
use keyspace::{Element, ScoreBound, ScoreRange, ZsetRef};
use resp::args::Args;
use resp::encode::Reply;
use state::FoundBy;

/// Which of the commands it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    /// GEORADIUS
    Place,
    /// GEORADIUSBYMEMBER
    Member,
    Search,
    SearchStore,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Nearest,
    Farthest,
}

/// What is asked for.
#[derive(Default)]
struct Asked<'a> {
    center: Option<Place>,
    /// The center is a member, which is not there if the key is not.
    from_member: bool,
    form: Option<(Form, f64)>,
    with_distance: bool,
    with_hash: bool,
    with_place: bool,
    order: Option<Order>,
    any: bool,
    /// 0: all.
    count: usize,
    store: Option<&'a [u8]>,
    store_distance: bool,
}

/// A member within the shape.
struct Found<'a> {
    member: Element<'a>,
    score: f64,
    place: Place,
    /// In meters.
    distance: f64,
}

fn length(text: &[u8], otherwise: Error) -> Result<f64, Error> {
    double::parse(text).ok_or(otherwise)
}

fn circle(radius: &[u8], of: &[u8]) -> Result<(Form, f64), Error> {
    let radius = length(radius, Error::GEO_RADIUS)?;
    if radius < 0.0 {
        return Err(Error::GEO_NEGATIVE_RADIUS);
    }
    Ok((Form::Circle { radius }, unit(of)?))
}

fn rectangle(width: &[u8], height: &[u8], of: &[u8]) -> Result<(Form, f64), Error> {
    let width = length(width, Error::GEO_WIDTH)?;
    let height = length(height, Error::GEO_HEIGHT)?;
    if width < 0.0 || height < 0.0 {
        return Err(Error::GEO_NEGATIVE_BOX);
    }
    Ok((Form::Box { width, height }, unit(of)?))
}

fn place_of(zset: ZsetRef<'_>, member: &[u8]) -> Result<Place, Error> {
    let score = zset.score(member).ok_or(Error::GEO_NO_MEMBER)?;
    Ok(Place::of_score(score))
}

impl<'a> Asked<'a> {
    fn parse(
        args: Args<'a>,
        of: Of,
        may_store: bool,
        zset: Option<ZsetRef<'_>>,
    ) -> Result<Asked<'a>, Error> {
        let mut asked = Asked::default();
        let first = match (of, zset) {
            (Of::Place, _) => {
                asked.center = Some(place(args.at(2), args.at(3))?);
                asked.form = Some(circle(args.at(4), args.at(5))?);
                6
            }
            // Without a key nothing is looked at but the options.
            (Of::Member, None) => 5,
            (Of::Member, Some(zset)) => {
                asked.center = Some(place_of(zset, args.at(2))?);
                asked.form = Some(circle(args.at(3), args.at(4))?);
                5
            }
            (Of::Search, _) => 2,
            (Of::SearchStore, _) => {
                asked.store = Some(args.at(1));
                3
            }
        };
        let mut words = Words::new(args, first);
        while !words.is_empty() {
            asked.option(&mut words, of, may_store, zset)?;
        }
        asked.check(args.at(0), of)?;
        Ok(asked)
    }

    fn option(
        &mut self,
        words: &mut Words<'a>,
        of: Of,
        may_store: bool,
        zset: Option<ZsetRef<'_>>,
    ) -> Result<(), Error> {
        let searches = matches!(of, Of::Search | Of::SearchStore);
        let left = words.len() - 1;
        if words.word("withdist") {
            self.with_distance = true;
        } else if words.word("withhash") {
            self.with_hash = true;
        } else if words.word("withcoord") {
            self.with_place = true;
        } else if words.word("any") {
            self.any = true;
        } else if words.word("asc") {
            self.order = Some(Order::Nearest);
        } else if words.word("desc") {
            self.order = Some(Order::Farthest);
        } else if left >= 1 && words.word("count") {
            let count = usize::try_from(integer(words.need()?)?).ok();
            self.count = count.filter(|n| *n > 0).ok_or(Error::GEO_COUNT)?;
        } else if !searches && may_store && left >= 1 && words.word("store") {
            (self.store, self.store_distance) = (words.next(), false);
        } else if !searches && may_store && left >= 1 && words.word("storedist") {
            (self.store, self.store_distance) = (words.next(), true);
        } else if of == Of::SearchStore && words.word("storedist") {
            self.store_distance = true;
        } else if searches {
            return self.search_option(words, zset);
        } else {
            return Err(Error::SYNTAX);
        }
        Ok(())
    }

    fn search_option(
        &mut self,
        words: &mut Words<'a>,
        zset: Option<ZsetRef<'_>>,
    ) -> Result<(), Error> {
        let left = words.len() - 1;
        let from_place = self.center.is_some() && !self.from_member;
        let is_box = matches!(self.form, Some((Form::Box { .. }, _)));
        let is_circle = self.form.is_some() && !is_box;
        if left >= 1 && !from_place && words.word("frommember") {
            let member = words.need()?;
            self.from_member = true;
            self.center = zset.map(|zset| place_of(zset, member)).transpose()?;
        } else if left >= 2 && !self.from_member && words.word("fromlonlat") {
            self.center = Some(place(words.need()?, words.need()?)?);
        } else if left >= 2 && !is_box && words.word("byradius") {
            self.form = Some(circle(words.need()?, words.need()?)?);
        } else if left >= 3 && !is_circle && words.word("bybox") {
            self.form = Some(rectangle(words.need()?, words.need()?, words.need()?)?);
        } else {
            return Err(Error::SYNTAX);
        }
        Ok(())
    }

    fn check(&self, command: &[u8], of: Of) -> Result<(), Error> {
        let shows = self.with_distance || self.with_hash || self.with_place;
        if self.store.is_some() && shows {
            return Err(match of {
                Of::SearchStore => Error::GEO_STORES,
                _ => Error::GEORADIUS_STORES,
            });
        }
        if matches!(of, Of::Search | Of::SearchStore) {
            if self.center.is_none() && !self.from_member {
                return Err(Error::needs_one_of("FROMMEMBER or FROMLONLAT", command));
            }
            if self.form.is_none() {
                return Err(Error::needs_one_of("BYRADIUS and BYBOX", command));
            }
        }
        if self.any && self.count == 0 {
            return Err(Error::GEO_ANY);
        }
        Ok(())
    }

    fn shape(&self) -> Option<Shape> {
        let (form, unit) = self.form?;
        let center = self.center?;
        Some(Shape { center, form, unit })
    }

    /// The members that are found, as many as are wanted, in the order that is.
    fn find<'z>(
        &self,
        zset: ZsetRef<'z>,
        shape: &Shape,
        breathe: &mut dyn FnMut(usize),
    ) -> Vec<Found<'z>> {
        let mut all = Vec::new();
        let enough = if self.any { self.count } else { usize::MAX };
        for cell in shape.cells() {
            let (from, to) = cell.scores();
            let bound = |score, exclusive| ScoreBound { score, exclusive };
            let (min, max) = (bound(from, false), bound(to, true));
            for found in zset.iter_scores(ScoreRange { min, max }) {
                if all.len() >= enough {
                    break;
                }
                breathe(found.member.text_len());
                let place = Place::of_score(found.score);
                if let Some(distance) = shape.reaches(place) {
                    all.push(Found {
                        member: found.member,
                        score: found.score,
                        place,
                        distance,
                    });
                }
            }
        }
        // The first of all are the nearest, unless any will do.
        let nearest = (self.count > 0 && !self.any).then_some(Order::Nearest);
        if let Some(order) = self.order.or(nearest) {
            all.sort_by(|a, b| {
                breathe(0);
                match order {
                    Order::Nearest => a.distance.total_cmp(&b.distance),
                    Order::Farthest => b.distance.total_cmp(&a.distance),
                }
            });
        }
        if self.count > 0 {
            all.truncate(self.count);
        }
        all
    }

    fn show(&self, reply: &mut Reply<'_>, found: &Found<'_>, unit: f64) {
        let more = [self.with_distance, self.with_hash, self.with_place];
        let more = more.into_iter().filter(|wanted| *wanted).count();
        if more > 0 {
            reply.array(1 + more);
        }
        bulk(reply, found.member);
        if self.with_distance {
            reply_distance(reply, found.distance / unit);
        }
        if self.with_hash {
            reply.int(found.score as i64);
        }
        if self.with_place {
            reply_place(reply, found.place);
        }
    }
}

pub fn georadius(env: &mut Env<'_>, args: Args<'_>) -> Done {
    search(env, args, Of::Place, true)
}

pub fn georadius_ro(env: &mut Env<'_>, args: Args<'_>) -> Done {
    search(env, args, Of::Place, false)
}

pub fn georadiusbymember(env: &mut Env<'_>, args: Args<'_>) -> Done {
    search(env, args, Of::Member, true)
}

pub fn georadiusbymember_ro(env: &mut Env<'_>, args: Args<'_>) -> Done {
    search(env, args, Of::Member, false)
}

pub fn geosearch(env: &mut Env<'_>, args: Args<'_>) -> Done {
    search(env, args, Of::Search, false)
}

pub fn geosearchstore(env: &mut Env<'_>, args: Args<'_>) -> Done {
    search(env, args, Of::SearchStore, true)
}

/// What a search has come to.
enum Outcome<'a> {
    Replied,
    Stores(&'a [u8], Vec<(Vec<u8>, f64)>),
}

fn search(env: &mut Env<'_>, args: Args<'_>, of: Of, may_store: bool) -> Done {
    let source = if of == Of::SearchStore { 2 } else { 1 };
    let key = env.data.key(args.at(source));
    let mut pace = Pace::default();
    let Env {
        data,
        session,
        server,
        out,
        ..
    } = env;
    let outcome = see(data, &key, |zset| -> Result<Outcome<'_>, Error> {
        let asked = Asked::parse(args, of, may_store, zset)?;
        let mut breathe = |bytes| pace.step(&mut **server, bytes);
        let shape = asked.shape();
        let unit = shape.map_or(1.0, |shape| shape.unit);
        let found = match zset.zip(shape) {
            Some((zset, shape)) => asked.find(zset, &shape, &mut breathe),
            None => Vec::new(),
        };
        let Some(store) = asked.store else {
            let mut reply = Reply::new(out, session.proto);
            reply.array(found.len());
            for found in &found {
                asked.show(&mut reply, found, unit);
                breathe(found.member.text_len());
            }
            return Ok(Outcome::Replied);
        };
        let members = found.iter().map(|found| {
            let score = match asked.store_distance {
                true => found.distance / unit,
                false => found.score,
            };
            (found.member.to_vec(), score)
        });
        Ok(Outcome::Stores(store, members.collect()))
    })??;
    match outcome {
        Outcome::Replied => DONE,
        Outcome::Stores(key, members) => {
            let found = match of {
                Of::Search | Of::SearchStore => FoundBy::GeoSearch,
                Of::Place | Of::Member => FoundBy::GeoRadius,
            };
            store(env, key, found, members)
        }
    }
}

fn store(env: &mut Env<'_>, key: &[u8], found: FoundBy, members: Vec<(Vec<u8>, f64)>) -> Done {
    if waits(env) {
        return DONE;
    }
    let bytes = members.iter().map(|(member, _)| member.len() + 24);
    // D5: a transaction can't be put off half-way.
    if env.session.deny_blocking && bytes.sum::<usize>() > room::FOUND {
        return Err(Error::DISK_FULL);
    }
    let mut pace = Pace::default();
    let (key, server) = (env.data.key(key), &mut *env.server);
    let count = env.data.zset_replace(&key, found, members, &mut |bytes| {
        pace.step(server, bytes);
    });
    if count > 0 {
        let name = match found {
            FoundBy::GeoSearch => "geosearchstore",
            FoundBy::GeoRadius => "georadiusstore",
        };
        env.data.event(Classes::ZSET, name, &key);
    }
    env.reply().int(count as i64);
    DONE
}

/// Hazard: of several STOREs the last counts, and a key spec finds the first.
pub fn radius_keys(args: Args<'_>, visit: &mut dyn FnMut(usize, KeyFlags)) -> Result<(), BadKeys> {
    keys(args, 6, visit);
    Ok(())
}

pub fn member_keys(args: Args<'_>, visit: &mut dyn FnMut(usize, KeyFlags)) -> Result<(), BadKeys> {
    keys(args, 5, visit);
    Ok(())
}

fn keys(args: Args<'_>, mut at: usize, visit: &mut dyn FnMut(usize, KeyFlags)) {
    visit(1, KeyFlags::RO.and(KeyFlags::ACCESS));
    while at + 1 < args.len() {
        let words: [&[u8]; 2] = [b"store", b"storedist"];
        if words.iter().any(|w| w.eq_ignore_ascii_case(args.at(at))) {
            at += 1;
            visit(at, KeyFlags::OW.and(KeyFlags::UPDATE));
        }
        at += 1;
    }
}
