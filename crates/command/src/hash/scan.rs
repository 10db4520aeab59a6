//! HSCAN.
//!
//! T2: of the fields that are due it deletes those that it meets, so a walk through many of them takes many small steps.

use super::view::{see, Fields};
use crate::env::{Done, Env, Flow, DONE};
use crate::error::Error;
use crate::pace::Pace;
use crate::scan::{parse_cursor, reply_scan, ScanOf, ScanOptions};
use crate::values::bulk;
use crate::words::Words;
use keyspace::Digits;
use resp::args::Args;
use resp::encode::Reply;
use state::ExpiryCount;

pub fn hscan(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let now = env.data.now_ms();
    let cursor = parse_cursor(args.at(2))?;
    let key = env.data.key(args.at(1));
    // What is wrong with them shows only where there is a hash.
    let options = ScanOptions::parse(Words::new(args, 3), ScanOf::Hash);
    let (mut found, mut elements, mut next) = (Vec::new(), 0, 0);
    let mut due: Vec<Box<[u8]>> = Vec::new();
    let mut pace = Pace::default();
    let Env {
        data,
        session,
        server,
        ..
    } = env;
    see(data, &key, Fields::Met, |hash| {
        let mut reply = Reply::new(&mut found, session.proto);
        let Some(hash) = hash else {
            return Ok(());
        };
        let options = options.as_ref().map_err(Error::clone)?;
        next = hash.scan(cursor, options.count, &mut |field| {
            let mut digits = Digits::default();
            pace.step(&mut **server, field.value.text_len());
            let name = field.field.text(&mut digits);
            if field.is_due(now) {
                due.push(name.into());
                return;
            }
            if !options.matches(name) {
                return;
            }
            bulk(&mut reply, field.field);
            if !options.no_values {
                bulk(&mut reply, field.value);
            }
            elements += 1 + usize::from(!options.no_values);
        });
        Ok(())
    })??;
    let mut due = due.iter().map(|name| &**name);
    data.expire_fields(&key, &mut due, ExpiryCount::Uncounted);
    if data.footprint().hold {
        return Ok(Flow::Hold);
    }
    reply_scan(env, next, elements, &found);
    DONE
}
