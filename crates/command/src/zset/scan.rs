//! ZSCAN.

use crate::env::{Done, Env, DONE};
use crate::members::{open, see};
use crate::pace::Pace;
use crate::scan::{parse_cursor, reply_scan, ScanOf, ScanOptions};
use crate::values::bulk;
use crate::words::Words;
use base::double;
use keyspace::Digits;
use resp::args::Args;
use resp::encode::Reply;

pub fn zscan(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let cursor = parse_cursor(args.at(2))?;
    let key = env.data.key(args.at(1));
    let is_there = see(env.data, &key, |zset| zset.is_some())?;
    let (mut found, mut elements, mut next) = (Vec::new(), 0, 0);
    if is_there {
        let options = ScanOptions::parse(Words::new(args, 3), ScanOf::Members)?;
        let mut pace = Pace::default();
        let Env {
            data,
            session,
            server,
            ..
        } = env;
        open(data, &key, |zset| {
            let mut reply = Reply::new(&mut found, session.proto);
            let Some(zset) = zset else {
                return;
            };
            // Redis prints a score as the form has it.
            let print = match zset.encoding() {
                "listpack" => double::push,
                _ => double::push_g17,
            };
            let mut score = Vec::new();
            next = zset.scan(cursor, options.count, &mut |found| {
                let mut digits = Digits::default();
                let member = found.member.text(&mut digits);
                pace.step(&mut **server, member.len());
                if options.matches(member) {
                    score.clear();
                    print(&mut score, found.score);
                    bulk(&mut reply, found.member);
                    reply.bulk(&score);
                    elements += 2;
                }
            });
        })?;
    }
    reply_scan(env, next, elements, &found);
    DONE
}
