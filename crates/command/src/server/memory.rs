//! MEMORY: what the process and single keys take.
//!
//! Owns: the fields of MEMORY STATS, and what MEMORY DOCTOR finds worth saying. Never: measures (the host hands
//! over what it knows).

use super::super::api::MemoryView;
use super::super::env::{Done, Env, DONE};
use super::super::error::Error;
use super::super::help::write;
use super::super::rows::{no_subcommand, rows};
use super::super::words::Words;
use super::help;
use resp::args::Args;
use resp::encode::Reply;

const OWN_ANSWER: &[&str] = &[
    "nondeterministic_output",
    "request_policy:all_shards",
    "response_policy:special",
];
const EVERY_SHARD: &[&str] = &["request_policy:all_shards", "response_policy:all_succeeded"];

rows! { pub static ROWS: Server [] {
    "memory" -2 [] "4.0.0" => no_subcommand [SUBCOMMANDS]: "Groups the commands about memory.";
}}

rows! { static SUBCOMMANDS: Server [] {
    "memory|doctor" 2 [] "4.0.0" => doctor: "What is worth saying about the memory in use." .tips(OWN_ANSWER);
    "memory|help" 2 [LOADING STALE] "4.0.0" => memory_help: "Lists the subcommands.";
    "memory|malloc-stats" 2 [] "4.0.0" => malloc_stats: "What the allocator says of itself." .tips(OWN_ANSWER);
    "memory|purge" 2 [] "4.0.0" => purge: "Gives memory that is not used back to the system." .tips(EVERY_SHARD);
    "memory|stats" 2 [] "4.0.0" => stats: "How much memory is used, and for what." .tips(OWN_ANSWER);
    "memory|usage" -3 [READONLY] "4.0.0" key(2 RO) => usage: "Estimates the memory that a key takes.";
}}

fn memory_help(env: &mut Env<'_>, _: Args<'_>) -> Done {
    write(&mut env.reply(), "MEMORY", help::MEMORY);
    DONE
}

/// What an entry takes beside its key and value: header, bucket, allocator's rounding.
const ENTRY_OVERHEAD_BYTES: usize = 32;
/// What an entry takes in its table.
const BUCKET_SHARE_BYTES: usize = 16;
/// What a key with an expiry takes in the expiry order.
const EXPIRY_OVERHEAD_BYTES: usize = 32;

fn usage(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let mut words = Words::new(args, 3);
    while !words.is_empty() {
        if words.len() < 2 || !words.word("samples") || words.int()? < 0 {
            return Err(Error::SYNTAX);
        }
    }
    let key = env.data.key(&args[2]);
    let bytes = env.data.with(&key, |entry| {
        let entry = entry?;
        let expiry = match entry.expiry() {
            Some(_) => EXPIRY_OVERHEAD_BYTES,
            None => 0,
        };
        Some(entry.memory() + BUCKET_SHARE_BYTES + expiry)
    });
    match bytes {
        Some(bytes) => env.reply().int(bytes as i64),
        None => env.reply().null(),
    }
    DONE
}

fn malloc_stats(env: &mut Env<'_>, _: Args<'_>) -> Done {
    let report = env.server.allocator_report();
    env.reply().verbatim("txt", report.as_bytes());
    DONE
}

fn purge(env: &mut Env<'_>, _: Args<'_>) -> Done {
    match env.server.purge_memory() {
        true => env.reply().ok(),
        false => return Err(Error::NOT_PURGED),
    }
    DONE
}

/// What the keyspace's own structures take in one database, estimated as for single keys.
struct Database {
    number: u32,
    keys: u64,
    expires: u64,
}

impl Database {
    fn main(&self) -> u64 {
        self.keys * ENTRY_OVERHEAD_BYTES as u64
    }

    fn expires(&self) -> u64 {
        self.expires * EXPIRY_OVERHEAD_BYTES as u64
    }
}

fn databases(env: &Env<'_>) -> Vec<Database> {
    let keyspace = env.data.keyspace();
    let all = (0..keyspace.databases()).map(|number| Database {
        number,
        keys: keyspace.len(number),
        expires: keyspace.expires(number),
    });
    all.filter(|db| db.keys > 0).collect()
}

fn of_clients(env: &Env<'_>) -> u64 {
    let mut bytes = env.server.own_io().total_memory;
    env.server
        .for_each_client(&mut |client| bytes += client.io.total_memory);
    bytes as u64
}

fn percent(part: u64, of: u64) -> f64 {
    match of {
        0 => 0.0,
        _ => part as f64 * 100.0 / of as f64,
    }
}

fn ratio(more: u64, less: u64) -> f64 {
    match less {
        0 => 0.0,
        _ => more as f64 / less as f64,
    }
}

fn difference(more: u64, less: u64) -> i64 {
    more as i64 - less as i64
}

/// A field of the reply.
enum Field {
    Bytes(&'static str, u64),
    Difference(&'static str, i64),
    Share(&'static str, f64),
    Db(Database),
}

impl Field {
    fn write(&self, reply: &mut Reply<'_>) {
        match self {
            Field::Bytes(name, n) => {
                reply.bulk(name.as_bytes());
                reply.int(*n as i64);
            }
            Field::Difference(name, n) => {
                reply.bulk(name.as_bytes());
                reply.int(*n);
            }
            Field::Share(name, n) => {
                reply.bulk(name.as_bytes());
                reply.double(*n);
            }
            Field::Db(db) => {
                reply.bulk_fmt(format_args!("db.{}", db.number));
                reply.map(2);
                Field::Bytes("overhead.hashtable.main", db.main()).write(reply);
                Field::Bytes("overhead.hashtable.expires", db.expires()).write(reply);
            }
        }
    }
}

/// The fields of Redis, in its order; what there is nothing of here is 0.
fn stats(env: &mut Env<'_>, _: Args<'_>) -> Done {
    env.data.depends_on_all();
    let m = env.server.process().memory;
    let (clients, dbs) = (of_clients(env), databases(env));
    let keys: u64 = dbs.iter().map(|db| db.keys).sum();
    let of_tables: u64 = dbs.iter().map(|db| db.main() + db.expires()).sum();
    let overhead = m.startup + clients + of_tables;
    let dataset = m.used.saturating_sub(overhead);
    let net = m.used.saturating_sub(m.startup);
    use Field::{Bytes, Share};
    let mut fields = vec![
        Bytes("peak.allocated", m.peak),
        Bytes("total.allocated", m.used),
        Bytes("startup.allocated", m.startup),
        Bytes("replication.backlog", 0),
        Bytes("clients.slaves", 0),
        Bytes("clients.normal", clients),
        Bytes("cluster.links", 0),
        Bytes("aof.buffer", 0),
        Bytes("lua.caches", 0),
        Bytes("functions.caches", 0),
    ];
    fields.extend(dbs.into_iter().map(Field::Db));
    fields.extend([
        Bytes("overhead.db.hashtable.lut", 0),
        Bytes("overhead.db.hashtable.rehashing", 0),
        Bytes("overhead.total", overhead),
        Bytes("db.dict.rehashing.count", 0),
        Bytes("keys.count", keys),
        Bytes("keys.bytes-per-key", net.checked_div(keys).unwrap_or(0)),
        Bytes("dataset.bytes", dataset),
        Share("dataset.percentage", percent(dataset, net)),
        Share("peak.percentage", percent(m.used, m.peak)),
    ]);
    fields.extend(of_allocator(&m));
    let mut reply = env.reply();
    reply.map(fields.len());
    fields.iter().for_each(|field| field.write(&mut reply));
    DONE
}

fn of_allocator(m: &MemoryView) -> [Field; 12] {
    use Field::{Bytes, Difference, Share};
    [
        Bytes("allocator.allocated", m.used),
        Bytes("allocator.active", m.active),
        Bytes("allocator.resident", m.resident),
        Bytes("allocator.muzzy", 0),
        Share("allocator-fragmentation.ratio", ratio(m.active, m.used)),
        Difference(
            "allocator-fragmentation.bytes",
            difference(m.active, m.used),
        ),
        Share("allocator-rss.ratio", ratio(m.resident, m.active)),
        Difference("allocator-rss.bytes", difference(m.resident, m.active)),
        Share("rss-overhead.ratio", ratio(m.rss, m.resident)),
        Difference("rss-overhead.bytes", difference(m.rss, m.resident)),
        Share("fragmentation", ratio(m.rss, m.used)),
        Difference("fragmentation.bytes", difference(m.rss, m.used)),
    ]
}

/// Below this a few pages look like a lot.
const LITTLE: u64 = 5 << 20;
/// A peak so much above what is used now, and memory so much more than was asked for, are worth a word.
const MUCH_PEAK: f64 = 1.5;
const MUCH_AIR: f64 = 1.4;
const MUCH_BYTES: u64 = 10 << 20;

fn doctor(env: &mut Env<'_>, _: Args<'_>) -> Done {
    let m = env.server.process().memory;
    env.reply().verbatim("txt", found(&m).as_bytes());
    DONE
}

fn found(m: &MemoryView) -> String {
    if m.used < LITTLE {
        return "This server uses so little memory that nothing can be said of it yet.\n"
            .to_owned();
    }
    let much = |more: u64, less: u64| {
        ratio(more, less) > MUCH_AIR && more.saturating_sub(less) > MUCH_BYTES
    };
    let mut text = String::new();
    if ratio(m.peak, m.used) > MUCH_PEAK {
        text +=
            " * Peak: at its peak this server used more than one and a half times as much as now. \
                 Memory that was freed since may still be counted as its own (MEMORY PURGE).\n";
    }
    if much(m.active, m.used) {
        text +=
            " * Fragmentation: values of many sizes came and went, and left gaps. They are used \
                 again by values of those sizes; a restart closes them.\n";
    }
    if much(m.resident, m.active) {
        text += " * Allocator: it keeps memory that it does not use. MEMORY PURGE gives it back.\n";
    }
    if much(m.rss, m.resident) {
        text +=
            " * Process: it has more memory than its allocator knows of: code, stacks, files.\n";
    }
    match text.is_empty() {
        true => "Nothing is wrong with the memory of this server.\n".to_owned(),
        false => format!("Found:\n{text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_finding_has_its_word() {
        let well = MemoryView {
            used: 100 << 20,
            peak: 110 << 20,
            active: 105 << 20,
            resident: 110 << 20,
            rss: 120 << 20,
            ..MemoryView::default()
        };
        assert!(found(&MemoryView::default()).contains("little"));
        assert!(found(&well).contains("Nothing is wrong"));
        let big = 1 << 30;
        for (view, word) in [
            (MemoryView { peak: big, ..well }, "Peak"),
            (
                MemoryView {
                    active: big,
                    ..well
                },
                "Fragmentation",
            ),
            (
                MemoryView {
                    resident: big,
                    ..well
                },
                "Allocator",
            ),
            (MemoryView { rss: big, ..well }, "Process"),
        ] {
            let text = found(&view);
            assert!(
                text.starts_with("Found:\n") && text.contains(word),
                "{text}"
            );
        }
    }
}
