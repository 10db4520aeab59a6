//! D5: commands whose effects are larger than their arguments, in a log of small segments.

use super::super::turn::{grant, room_to_want};
use super::*;
use command::testing::{session, TestServer};
use command::{execute, Env, Flow, Serving, Session};
use config::Config;
use resp::args::Args;

struct Server {
    shard: Shard<RealDisk>,
    clock: Hand,
    session: Session,
    host: TestServer,
    folder: tempfile::TempDir,
}

/// What came of a command.
struct Answer {
    reply: Vec<u8>,
    /// In how many turns it was held.
    held: usize,
}

impl Server {
    fn new() -> Server {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Hand(Cell::new(1));
        let shard = open(folder.path(), SyncPolicy::Always, &clock);
        let (config, _) = Config::from_args(["--enable-debug-command", "yes"]).expect("a config");
        let mut server = Server {
            shard,
            host: TestServer::new(config, clock.now()),
            clock,
            session: session(1),
            folder,
        };
        settle(&mut server.shard, &server.clock);
        server
    }

    /// Keys that have expired long ago, and one that has not.
    fn with_expired(count: usize) -> Server {
        let mut server = Server::new();
        for chunk in (0..count).collect::<Vec<_>>().chunks(2_000) {
            server.turn(|shard| {
                for n in chunk {
                    let data = shard.data_mut();
                    data.begin_command(0, Access::Lead);
                    data.set(&data.key(&name(*n)), b"v", Ttl::At(0));
                    data.end_command();
                }
            });
            settle(&mut server.shard, &server.clock);
        }
        server.turn(|shard| {
            set(shard, b"alive", b"v");
        });
        settle(&mut server.shard, &server.clock);
        assert_eq!(server.len(), count as u64 + 1);
        server
    }

    fn turn<R>(&mut self, execute: impl FnOnce(&mut Shard<RealDisk>) -> R) -> R {
        self.shard.begin(self.clock.now()).expect("a turn begins");
        let result = execute(&mut self.shard);
        self.shard.finish(&self.clock).expect("a turn ends");
        let output = self.shard.take_output();
        for done in output.jobs.into_iter().filter_map(Job::run) {
            let taken = self.shard.job_done(self.clock.now(), done);
            taken.expect("a job is taken in");
        }
        result
    }

    /// Runs a command until it is no longer held, a turn each.
    fn run<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Answer {
        let args: Vec<&[u8]> = args.iter().map(AsRef::as_ref).collect();
        for held in 0..1_000 {
            let mut reply = Vec::new();
            let mut session = std::mem::replace(&mut self.session, session(0));
            let now = self.clock.now();
            let mut host =
                std::mem::replace(&mut self.host, TestServer::new(Config::default(), now));
            let outcome = self.turn(|shard| {
                let Admission::Lead { writable } = shard.admission() else {
                    panic!("it leads");
                };
                let (data, _) = shard.split();
                let mut env = Env {
                    data,
                    session: &mut session,
                    server: &mut host,
                    out: &mut reply,
                    serving: Serving::Lead { writable },
                    routing: None,
                    commands: command::table(),
                    now,
                    overdue: false,
                };
                execute(&mut env, Args::from(args.as_slice()))
            });
            (self.session, self.host) = (session, host);
            if outcome.flow != Flow::Hold {
                settle(&mut self.shard, &self.clock);
                return Answer { reply, held };
            }
        }
        panic!("it makes no progress");
    }

    fn line(&mut self, line: &str) -> Answer {
        self.run(&line.split(' ').collect::<Vec<_>>())
    }

    fn len(&self) -> u64 {
        self.shard.data().keyspace().len(0)
    }

    /// What a restart finds is what is here.
    fn restarts(mut self) {
        settle(&mut self.shard, &self.clock);
        let digest = self.shard.data().keyspace().digest_all();
        drop(self.shard);
        let mut shard = open(self.folder.path(), SyncPolicy::Always, &self.clock);
        settle(&mut shard, &self.clock);
        assert_eq!(shard.data().keyspace().digest_all(), digest);
    }
}

fn name(n: usize) -> Vec<u8> {
    format!("a key with a name of some length, number {n}").into_bytes()
}

/// More deletions than the log has room for: its segments have 1 MiB.
const MANY: usize = 60_000;

#[test]
fn walks_over_many_expired_keys_go_in_slices() {
    for (line, reply) in [
        ("KEYS *", &b"*1\r\n$5\r\nalive\r\n"[..]),
        (
            "SCAN 0 COUNT 1000000",
            b"*2\r\n$1\r\n0\r\n*1\r\n$5\r\nalive\r\n",
        ),
        ("RANDOMKEY", b"$5\r\nalive\r\n"),
    ] {
        let mut server = Server::with_expired(MANY);
        let answer = server.line(line);
        assert_eq!(answer.reply, reply, "{line}");
        assert!(answer.held > 3, "{line} was held {} times", answer.held);
        assert!(server.len() < MANY as u64 / 2, "{line} has deleted them");
        server.restarts();
    }
}

#[test]
fn a_walk_in_a_transaction_waits_for_expired_keys() {
    let mut server = Server::with_expired(MANY);
    for line in [
        "MULTI",
        "SET other v",
        "KEYS *",
        "SCAN 0",
        "DEL alive other",
    ] {
        server.line(line);
    }
    let answer = server.line("EXEC");
    let reply = String::from_utf8_lossy(&answer.reply);
    assert!(reply.starts_with("*4\r\n+OK\r\n*2\r\n"), "{reply}");
    assert!(answer.held > 3);
    assert_eq!(server.len(), 0);
    server.restarts();
}

#[test]
fn many_expired_keys_of_one_command_are_deleted() {
    let mut server = Server::with_expired(MANY);
    let mut args = vec![b"MGET".to_vec()];
    args.extend((0..MANY).map(name));
    let answer = server.run(&args);
    assert_eq!(answer.reply.len(), format!("*{MANY}\r\n").len() + 5 * MANY);
    assert!(answer.held > 0);
    assert_eq!(server.len(), 1);
    server.restarts();
}

#[test]
fn watched_keys_that_have_expired_fail_exec() {
    let mut server = Server::with_expired(MANY);
    for n in 0..MANY {
        let key = name(n);
        let data = server.shard.data_mut();
        // As WATCH has left it before the key expired.
        data.begin_command(0, Access::Replica);
        let watch = data.watch(&data.key(&key));
        server.session.watches.push(watch);
    }
    server.line("MULTI");
    server.line("SET k v");
    let answer = server.line("EXEC");
    assert_eq!(answer.reply, b"*-1\r\n");
    assert!(answer.held > 0);
    assert_eq!(server.len(), 1);
    server.restarts();
}

#[test]
fn a_transaction_of_long_sums_waits_for_room() {
    let mut server = Server::new();
    server.line("MULTI");
    for n in 0..1_000 {
        server.line(&format!("INCRBYFLOAT k{n} 1e4930"));
    }
    let answer = server.line("EXEC");
    assert!(answer.reply.starts_with(b"*1000\r\n$4931\r\n"));
    assert!(answer.held > 0, "5 MB were granted by a log of 2");
    assert_eq!(server.len(), 1_000);
    server.restarts();
}

#[test]
fn what_can_never_fit_is_refused() {
    let mut server = Server::new();
    let reply = server.line("DEBUG POPULATE 9223372036854775807").reply;
    assert!(reply.starts_with(b"-MISCONF"));
    for line in ["MULTI", "DEBUG POPULATE 9223372036854775807 key 1"] {
        server.line(line);
    }
    assert!(server.line("EXEC").reply.starts_with(b"-MISCONF"));
    assert_eq!(server.line("SET k v").reply, b"+OK\r\n");
    assert_eq!(server.len(), 1);
}

#[test]
fn a_large_filling_waits_for_room() {
    let mut server = Server::new();
    let answer = server.line("DEBUG POPULATE 100000");
    assert_eq!(answer.reply, b"+OK\r\n");
    assert!(answer.held > 0);
    assert_eq!(server.len(), 100_000);
    server.restarts();
}

#[test]
fn keys_deleted_together_are_one_unit() {
    let mut server = Server::new();
    server.line("DEBUG POPULATE 100000");
    let mut args = vec!["DEL".to_owned()];
    args.extend((0..100_000).map(|n| format!("key:{n}")));
    assert_eq!(server.run(&args).reply, b":100000\r\n");
    assert_eq!(server.len(), 0);
    server.restarts();
}

#[test]
fn active_expiry_keeps_to_the_grant() {
    let mut server = Server::with_expired(MANY);
    let mut turns = 0;
    while server.len() > 1 {
        server.turn(|shard| shard.data_mut().expire_due(1, usize::MAX));
        turns += 1;
        assert!(turns < 100, "it makes no progress");
    }
    assert!(turns > 1);
    server.restarts();
}

#[test]
fn a_grant_is_less_than_the_room() {
    for segment_size in [4 << 10, 16 << 10, 64 << 10, 1 << 20, 16 << 20] {
        let folder = tempfile::tempdir().expect("a folder");
        let config = LogConfig {
            segment_size,
            ..LogConfig::default()
        };
        let disk = RealDisk::new(folder.path());
        let (mut log, _) = Log::create(disk, config, &base()).expect("a log");
        for wanted in (0..400).map(|n| 1_000 + n * n * 20) {
            log.want_room(room_to_want(wanted));
            while let Some(job) = log.alloc_job() {
                match Job::Alloc(job).run() {
                    Some(storage::Done::Allocated(result)) => {
                        log.allocated(result).expect("room");
                    }
                    _ => panic!("an allocation"),
                }
            }
            let grant = grant(log.room());
            assert!(grant >= wanted, "{wanted} were asked for");
            let entries = 2 + grant as u64 / (1 << 19);
            assert!(log.has_room(grant as u64 + entries * 64));
        }
    }
}

#[cfg(feature = "mutations")]
mod mutations {
    use super::*;
    use base::mutation::{set, Mutation};

    #[test]
    #[should_panic(expected = "D5: a turn's effects fit the room that it was granted")]
    fn room_by_arguments_is_caught_by_sums() {
        set(Some(Mutation::RoomByArguments));
        a_transaction_of_long_sums_waits_for_room();
    }

    #[test]
    #[should_panic(expected = "D5: a turn's effects fit the room that it was granted")]
    fn room_by_arguments_is_caught_by_expired_keys() {
        set(Some(Mutation::RoomByArguments));
        many_expired_keys_of_one_command_are_deleted();
    }
}
