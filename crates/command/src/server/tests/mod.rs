//! The replies of this family, compared byte for byte with a capture from Redis 7.4.1, and the
//! table's rows compared with what Redis 7.4.1 says of its own.

mod debug;
mod info;
mod rows;
mod saving;
mod sync;

use super::super::api::{
    ClientView, IoView, KillFilter, LoadingView, MemberKind, MemberStatus, MemoryView, OutsideApi,
    ProcessView, RaftRole, RaftStatus, SavingView, ServerApi, Shutdown, SnapshotKind,
    SnapshotUnderWay, Unblock,
};
use super::super::env::{Block, BlockKind, Command, Download, Env, Flow, Outcome, Serving};
use super::super::execute;
use super::super::session::{Endpoint, Session};
use super::super::stats::Stats;
use super::super::table::table;
use super::super::testing::FakeCluster;
use base::build::Build;
use base::clock::{Mono, Now};
use base::ids::BatchSeq;
use config::{words, Config, ConfigError, ProtectedAction};
use effect::PART_BYTES;
use keyspace::{Keyspace, Layout};
use pubsub::{Registry, Subscriber};
use resp::args::Args;
use resp::Proto;
use state::{GateKind, StateMachine};
use std::time::Duration;

/// A process with other clients, whose time passes only when somebody rests.
struct FakeServer {
    config: Config,
    stats: Stats,
    others: Vec<Session>,
    killed: Vec<u64>,
    unblocked: Vec<(u64, Unblock)>,
    raft: RaftStatus,
    acks: u64,
    now: Now,
    breaths: usize,
    outside: FakeCluster,
    pubsub: Registry,
    active_expire: bool,
    cron_paused: bool,
    logged: Vec<String>,
    shutdown: Option<Shutdown>,
    saving: SavingView,
    ordered: Vec<SnapshotKind>,
    /// Replicas that were admitted or turned away.
    replicas: Vec<String>,
    /// Of the running client.
    output_bytes: usize,
    reload: Option<bool>,
}

impl ServerApi for FakeServer {
    fn outside(&mut self) -> &mut dyn OutsideApi {
        &mut self.outside
    }
    fn config(&self) -> &Config {
        &self.config
    }
    fn config_set(&mut self, pairs: &[(&[u8], &[u8])], local: bool) -> Result<(), ConfigError> {
        self.config.set(pairs, local).map(drop)
    }
    fn config_rewrite(&mut self) -> Result<(), ConfigError> {
        config::rewrite::rewrite(&self.config)
    }
    fn stats(&self) -> &Stats {
        &self.stats
    }
    fn stats_mut(&mut self) -> &mut Stats {
        &mut self.stats
    }
    fn for_each_client(&self, visit: &mut dyn FnMut(&ClientView<'_>)) {
        for session in &self.others {
            visit(&ClientView {
                session,
                io: IoView {
                    blocked: true,
                    ..IoView::default()
                },
            });
        }
    }
    fn own_io(&self) -> IoView {
        IoView {
            query_buffer: 13,
            query_buffer_free: 100,
            total_memory: 1000,
            output_bytes: self.output_bytes,
            ..IoView::default()
        }
    }
    fn kill_clients(&mut self, filter: &KillFilter) -> usize {
        let now = self.now;
        let matching = self
            .others
            .iter()
            .filter(|s| filter.matches(s, now))
            .map(|s| s.id);
        let ids: Vec<u64> = matching.collect();
        self.others.retain(|s| !ids.contains(&s.id));
        self.killed.extend(&ids);
        ids.len()
    }
    fn unblock(&mut self, client: u64, how: Unblock) -> bool {
        self.unblocked.push((client, how));
        self.others.iter().any(|s| s.id == client)
    }
    fn pubsub(&self) -> &Registry {
        &self.pubsub
    }
    fn pubsub_mut(&mut self) -> &mut Registry {
        &mut self.pubsub
    }
    fn own_subscriber(&self) -> Subscriber {
        Subscriber(3)
    }
    fn publish(&mut self, _sharded: bool, _channel: &[u8], _message: &[u8], _own: Proto) -> usize {
        0
    }
    fn raft_status(&self) -> RaftStatus {
        self.raft.clone()
    }
    fn saving(&self) -> SavingView {
        self.saving
    }
    fn order_snapshot(&mut self, kind: SnapshotKind, _by: &'static str, _at_once: bool) -> u64 {
        self.ordered.push(kind);
        self.ordered.len() as u64
    }
    fn order_reload(&mut self, save: bool) -> bool {
        self.reload.replace(save).is_none()
    }

    fn order_download(&mut self) -> u64 {
        self.ordered.push(SnapshotKind::Download);
        self.ordered.len() as u64
    }
    fn admit_replica(&mut self, replica: &str) -> bool {
        let comes_first = !self.replicas.iter().any(|seen| seen == replica);
        self.replicas.push(replica.to_owned());
        comes_first
    }
    fn synced_acks(&self, _batch: BatchSeq) -> (bool, u64) {
        (true, 1)
    }
    fn replica_acks(&self, _batch: BatchSeq) -> u64 {
        self.acks
    }
    fn request_shutdown(&mut self, options: Shutdown) -> Result<(), String> {
        self.shutdown = Some(options);
        Ok(())
    }
    fn process(&self) -> ProcessView {
        let memory = MemoryView {
            used: 2048,
            peak: 4096,
            startup: 1024,
            rss: 8192,
            active: 3072,
            resident: 4096,
            system: 1 << 30,
        };
        let run_id = "0123456789abcdef0123456789abcdef01234567".to_owned();
        ProcessView {
            run_id,
            os: "Linux 6.1 x86_64".to_owned(),
            supervised: "systemd",
            build: Build {
                version: "0.2.0",
                git_sha1: "0123abcd",
                git_dirty: "1",
                id: "89ef",
            },
            started_unix: 1_699_999_910,
            memory,
            ..ProcessView::default()
        }
    }
    fn set_active_expire(&mut self, on: bool) {
        self.active_expire = on;
    }
    fn pause_cron(&mut self, paused: bool) {
        self.cron_paused = paused;
    }
    fn log(&mut self, text: &str) {
        self.logged.push(text.to_owned());
    }
    fn rest(&mut self, time: Duration) {
        self.now.mono = self.now.mono + time;
    }
    fn allocator_report(&self) -> String {
        "a report".to_owned()
    }
    fn purge_memory(&mut self) -> bool {
        true
    }
    fn breathe(&mut self) {
        self.breaths += 1;
    }
    fn now(&self) -> Now {
        self.now
    }
}

struct Client {
    data: StateMachine,
    session: Session,
    host: FakeServer,
    serving: Serving<'static>,
}

fn endpoint(port: u16) -> Endpoint {
    Endpoint {
        addr: format!("127.0.0.1:{port}"),
        laddr: "127.0.0.1:6379".to_owned(),
        fd: 8,
        loopback: true,
        unix: false,
    }
}

impl Client {
    fn new() -> Client {
        let mut data = StateMachine::new(
            Keyspace::new(Layout::Single { databases: 16 }, 1),
            PART_BYTES,
        );
        data.begin_turn(BatchSeq(1), 1_000_000, true, usize::MAX);
        let (config, _) =
            Config::from_args(["--enable-debug-command", "yes"]).expect("a valid command line");
        let host = FakeServer {
            config,
            stats: Stats::new(table().all().len()),
            others: Vec::new(),
            killed: Vec::new(),
            unblocked: Vec::new(),
            raft: RaftStatus {
                role: RaftRole::Leader,
                ..RaftStatus::default()
            },
            acks: 0,
            now: Now {
                mono: Mono(90_000_000_000),
                unix_ms: 1_700_000_000_123,
                ..Now::default()
            },
            breaths: 0,
            outside: FakeCluster::default(),
            pubsub: Registry::new(),
            active_expire: true,
            cron_paused: false,
            logged: Vec::new(),
            shutdown: None,
            saving: SavingView {
                last_save_unix_s: 1_699_999_910,
                ..SavingView::default()
            },
            ordered: Vec::new(),
            reload: None,
            replicas: Vec::new(),
            output_bytes: 0,
        };
        Client {
            data,
            session: Session::new(3, endpoint(1000), Mono(0), true),
            host,
            serving: Serving::Lead { writable: true },
        }
    }

    /// Adds another client; its address ends in its id.
    fn join(&mut self, id: u16) {
        self.host.others.push(Session::new(
            id.into(),
            endpoint(id),
            Mono(60_000_000_000),
            true,
        ));
    }

    fn outcome(&mut self, line: &str) -> (Outcome, Vec<u8>) {
        let args = words::split(line.as_bytes()).expect("balanced quotes");
        let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        let mut out = Vec::new();
        let now = self.host.now;
        let outcome = execute(
            &mut Env {
                data: &mut self.data,
                session: &mut self.session,
                server: &mut self.host,
                out: &mut out,
                serving: self.serving,
                routing: None,
                commands: table(),
                now,
                overdue: false,
            },
            Args::from(args.as_slice()),
        );
        (outcome, out)
    }

    fn reply(&mut self, line: &str) -> String {
        let (outcome, out) = self.outcome(line);
        assert_ne!(outcome.flow, Flow::Hold, "{line}");
        escape(&out)
    }

    fn raw(&mut self, line: &str) -> String {
        String::from_utf8(self.outcome(line).1).unwrap()
    }

    fn flow(&mut self, line: &str) -> Flow {
        self.outcome(line).0.flow
    }
}

fn escape(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        match byte {
            b'\r' => text.push_str("\\r"),
            b'\n' => text.push_str("\\n"),
            b'\\' => text.push_str("\\\\"),
            b' '..=b'~' => text.push(char::from(*byte)),
            other => text.push_str(&format!("\\x{other:02x}")),
        }
    }
    text
}

const CAPTURE: &str = include_str!("../../../golden/redis-7.4.1-server-replies.txt");

#[test]
fn replies_are_those_of_redis() {
    let mut client = Client::new();
    let mut sent = None;
    let mut compared = 0;
    let mut wrong = Vec::new();
    for line in CAPTURE.lines() {
        if let Some(command) = line.strip_prefix("> ") {
            sent = Some(command);
        } else if let Some(expected) = line.strip_prefix('<') {
            let command = sent.take().expect("a reply follows a command");
            let expected = expected.strip_prefix(' ').unwrap_or("");
            let reply = client.reply(command);
            compared += 1;
            if reply != expected {
                wrong.push(format!("{command}\n  redis: {expected}\n  ours:  {reply}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(compared > 200, "only {compared} replies in the capture");
}

#[test]
fn a_password_must_be_given_once() {
    let mut c = Client::new();
    c.host.config.requirepass = "secret".to_owned();
    c.session.authenticated = false;
    let no_auth = "-NOAUTH Authentication required.\\r\\n";
    assert_eq!(c.reply("PING"), no_auth);
    assert_eq!(
        c.reply("HELLO 3"),
        "-NOAUTH HELLO must be called with the client already authenticated, otherwise the \
         HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and \
         select the RESP protocol version at the same time\\r\\n"
    );
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.\\r\\n";
    for attempt in ["secre", "secret1", "", "SECRET"] {
        assert_eq!(c.reply(&format!("AUTH \"{attempt}\"")), wrong);
        assert_eq!(
            c.reply(&format!("HELLO 2 AUTH default \"{attempt}\"")),
            wrong
        );
    }
    assert_eq!(c.reply("AUTH other secret"), wrong);
    assert_eq!(c.reply("PING"), no_auth);
    assert_eq!(c.reply("AUTH secret"), "+OK\\r\\n");
    assert_eq!(c.reply("PING"), "+PONG\\r\\n");
    assert_eq!(c.reply("AUTH wrong"), wrong);
    assert_eq!(
        c.reply("PING"),
        "+PONG\\r\\n",
        "a failed attempt takes nothing away"
    );
    assert_eq!(c.reply("RESET"), "+RESET\\r\\n");
    assert_eq!(c.reply("PING"), no_auth);
    assert!(c
        .reply("HELLO 3 AUTH default secret")
        .starts_with("%7\\r\\n"));
    assert_eq!(c.reply("PING"), "+PONG\\r\\n");
}

#[test]
fn a_greeting_tells_mode_and_role() {
    let mut c = Client::new();
    c.host.config.cluster_enabled = true;
    c.host.raft.role = RaftRole::Follower;
    c.host.raft.members = vec![MemberStatus::default(); 2];
    let hello = c.reply("HELLO");
    assert!(hello.contains(
        "$4\\r\\nmode\\r\\n$7\\r\\ncluster\\r\\n$4\\r\\nrole\\r\\n$7\\r\\nreplica\\r\\n"
    ));
}

#[test]
fn clients_are_listed_one_a_line() {
    let mut c = Client::new();
    c.join(20);
    c.join(10);
    c.session.name = b"me".to_vec();
    c.session.last_command_at = Mono(80_000_000_000);
    let info = c.raw("CLIENT INFO");
    assert_eq!(
        info.split_once("\r\n").unwrap().1,
        "id=3 addr=127.0.0.1:1000 laddr=127.0.0.1:6379 fd=8 name=me age=90 idle=10 flags=N db=0 \
         sub=0 psub=0 ssub=0 multi=-1 watch=0 qbuf=13 qbuf-free=100 argv-mem=10 multi-mem=0 rbs=0 \
         rbp=0 obl=0 oll=0 omem=0 tot-mem=1000 events=r cmd=client|info user=default redir=-1 \
         resp=2 lib-name= lib-ver=\n\r\n"
    );
    let ids = |list: String| -> Vec<String> {
        let lines = list.lines().filter_map(|l| l.strip_prefix("id="));
        lines
            .map(|l| l.split(' ').next().unwrap().to_owned())
            .collect()
    };
    assert_eq!(ids(c.raw("CLIENT LIST")), ["3", "10", "20"]);
    assert_eq!(ids(c.raw("CLIENT LIST TYPE normal")), ["3", "10", "20"]);
    assert_eq!(ids(c.raw("CLIENT LIST ID 20 3 7 20")), ["20", "3", "20"]);
    c.host.others[0].subscriptions.patterns = 2;
    assert_eq!(ids(c.raw("CLIENT LIST TYPE normal")), ["3", "10"]);
    assert_eq!(ids(c.raw("CLIENT LIST TYPE pubsub")), ["20"]);
    let list = c.raw("CLIENT LIST ID 20");
    assert!(
        list.contains(" flags=Pb db=0 sub=0 psub=2 ssub=0 "),
        "{list}"
    );
    assert!(c.raw("INFO clients").contains("\r\npubsub_clients:1\r\n"));
    c.reply("CLIENT NO-EVICT on");
    c.reply("MULTI");
    c.reply("PING");
    c.reply("CLIENT LIST");
    let exec = c.raw("EXEC");
    assert!(exec.contains(" flags=xe db=0 "), "{exec}");
    assert!(exec.contains(" flags=b db=0 "), "{exec}");
}

#[test]
fn clients_are_killed_by_all_filters_together() {
    let mut c = Client::new();
    (10..16).for_each(|id| c.join(id));
    assert_eq!(c.reply("CLIENT KILL 127.0.0.1:10"), "+OK\\r\\n");
    assert_eq!(c.host.killed, [10]);
    assert_eq!(c.reply("CLIENT KILL ADDR 127.0.0.1:11 ID 12"), ":0\\r\\n");
    assert_eq!(
        c.reply("CLIENT KILL ADDR 127.0.0.1:11 ID 11 USER default"),
        ":1\\r\\n"
    );
    assert_eq!(c.reply("CLIENT KILL TYPE replica"), ":0\\r\\n");
    assert_eq!(
        c.reply("CLIENT KILL MAXAGE 31"),
        ":0\\r\\n",
        "they are 30 s old"
    );
    assert_eq!(c.reply("CLIENT KILL MAXAGE 30 ID 12"), ":1\\r\\n");
    assert_eq!(
        c.flow("CLIENT KILL ID 3"),
        Flow::Done,
        "the own connection is spared"
    );
    let (outcome, out) = c.outcome("CLIENT KILL LADDR 127.0.0.1:6379 SKIPME no");
    assert_eq!(
        (outcome.flow, escape(&out)),
        (Flow::Close, ":4\\r\\n".to_owned())
    );
    assert_eq!(c.host.killed, [10, 11, 12, 13, 14, 15]);
    let (outcome, out) = c.outcome("CLIENT KILL 127.0.0.1:1000");
    assert_eq!(
        (outcome.flow, escape(&out)),
        (Flow::Close, "+OK\\r\\n".to_owned())
    );
}

#[test]
fn quit_answers_and_closes() {
    let mut c = Client::new();
    let (outcome, out) = c.outcome("QUIT now");
    assert_eq!(
        (outcome.flow, escape(&out)),
        (Flow::Close, "+OK\\r\\n".to_owned())
    );
}

#[test]
fn config_sets_all_or_nothing() {
    let mut c = Client::new();
    assert_eq!(c.reply("CONFIG SET timeout 7 maxclients 77"), "+OK\\r\\n");
    assert_eq!(
        c.reply("CONFIG SET timeout 8 maxclients x"),
        "-ERR CONFIG SET failed (possibly related to argument 'maxclients') - argument couldn't \
         be parsed into an integer\\r\\n"
    );
    assert_eq!((c.host.config.timeout, c.host.config.maxclients), (7, 77));
    assert_eq!(
        c.reply("CONFIG GET timeout MAXCLIENTS maxcl* nosuch"),
        "*4\\r\\n$7\\r\\ntimeout\\r\\n$1\\r\\n7\\r\\n$10\\r\\nMAXCLIENTS\\r\\n$2\\r\\n77\\r\\n"
    );
    c.reply("FOO");
    c.reply("GET nokey");
    assert!(c.host.stats.error_replies > 0 && c.data.counters().misses > 0);
    assert_eq!(c.reply("CONFIG RESETSTAT"), "+OK\\r\\n");
    assert_eq!(
        (c.host.stats.error_replies, c.data.counters().misses),
        (0, 0)
    );
}

/// T3: these never wait for a commit.
#[test]
fn replies_about_the_process_wait_for_nothing() {
    let mut c = Client::new();
    c.reply("SET a 1");
    let free = [
        "PING",
        "ECHO a",
        "HELLO 2",
        "AUTH default x",
        "INFO",
        "INFO keyspace",
        "CONFIG GET *",
        "CLIENT LIST",
        "CLIENT ID",
        "COMMAND",
        "COMMAND DOCS get",
        "TIME",
        "ROLE",
        "ACL WHOAMI",
        "OBJECT HELP",
        "CONFIG RESETSTAT",
        "RESET",
    ];
    for serving in [
        Serving::Lead { writable: true },
        Serving::Lead { writable: false },
        Serving::Hold,
        Serving::Redirect {
            addr: None,
            own_copy: true,
        },
    ] {
        c.serving = serving;
        for line in free {
            let (outcome, _) = c.outcome(line);
            assert_eq!(
                (outcome.flow, outcome.gate),
                (Flow::Done, GateKind::Free),
                "{line}"
            );
        }
    }
    c.serving = Serving::Lead { writable: true };
    assert_eq!(c.outcome("OBJECT ENCODING a").0.gate, GateKind::Read);
}

#[test]
fn wait_blocks_until_enough_have_answered() {
    let mut c = Client::new();
    assert_eq!(
        c.flow("WAIT 1 0"),
        Flow::Block(Block {
            kind: BlockKind::Wait { replicas: 1 },
            timeout: None
        })
    );
    assert_eq!(
        c.flow("WAIT 2 150"),
        Flow::Block(Block {
            kind: BlockKind::Wait { replicas: 2 },
            timeout: Some(Duration::from_millis(150))
        })
    );
    c.host.acks = 2;
    assert_eq!(c.reply("WAIT 2 150"), ":2\\r\\n");
    c.host.raft.role = RaftRole::Follower;
    c.host.raft.members = vec![MemberStatus::default(); 3];
    assert!(c
        .reply("WAIT 0 0")
        .starts_with("-ERR WAIT cannot be used with replica instances."));
}

#[test]
fn waitaof_blocks_until_disks_have_it() {
    let mut c = Client::new();
    assert_eq!(c.reply("WAITAOF 1 1 0"), "*2\\r\\n:1\\r\\n:1\\r\\n");
    let kind = BlockKind::WaitAof {
        own: true,
        replicas: 2,
    };
    let timeout = Some(Duration::from_millis(150));
    assert_eq!(
        c.flow("WAITAOF 1 2 150"),
        Flow::Block(Block { kind, timeout })
    );
    for (line, text) in [
        (
            "WAITAOF 2 0 0",
            "-ERR value is out of range, value must between 0 and 1",
        ),
        (
            "WAITAOF x 0 0",
            "-ERR value is not an integer or out of range",
        ),
        (
            "WAITAOF 1 -1 0",
            "-ERR value is out of range, must be positive",
        ),
        (
            "WAITAOF 1 0 x",
            "-ERR timeout is not an integer or out of range",
        ),
        ("WAITAOF 1 0 -1", "-ERR timeout is negative"),
    ] {
        assert!(c.reply(line).starts_with(text), "{line}");
    }
    c.host.raft.role = RaftRole::Follower;
    c.host.raft.members = vec![MemberStatus::default(); 3];
    assert!(c
        .reply("WAITAOF 0 0 0")
        .starts_with("-ERR WAITAOF cannot be used with replica instances."));
}

#[test]
fn unblock_names_a_client_and_a_reason() {
    let mut c = Client::new();
    c.join(10);
    for (line, want) in [
        ("CLIENT UNBLOCK 10", ":1\\r\\n"),
        ("CLIENT UNBLOCK 10 timeout", ":1\\r\\n"),
        ("CLIENT UNBLOCK 10 ERROR", ":1\\r\\n"),
        ("CLIENT UNBLOCK 11", ":0\\r\\n"),
        ("CLIENT UNBLOCK -10", ":0\\r\\n"),
        (
            "CLIENT UNBLOCK 10 now",
            "-ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR\\r\\n",
        ),
        (
            "CLIENT UNBLOCK x",
            "-ERR value is not an integer or out of range\\r\\n",
        ),
        (
            "CLIENT UNBLOCK 10 ERROR 1",
            "-ERR unknown subcommand or wrong number of arguments for 'UNBLOCK'. Try CLIENT HELP.\\r\\n",
        ),
    ] {
        assert_eq!(c.reply(line), want, "{line}");
    }
    let asked = [Unblock::Timeout, Unblock::Timeout, Unblock::Error];
    let told: Vec<(u64, Unblock)> = asked.iter().map(|how| (10, *how)).collect();
    assert_eq!(c.host.unblocked[..3], told[..]);
}

#[test]
fn shutdown_hands_its_options_over() {
    let mut c = Client::new();
    let now = Shutdown {
        save: Some(false),
        now: true,
        force: false,
    };
    assert_eq!(c.flow("SHUTDOWN NOSAVE now"), Flow::Shutdown(now));
    assert_eq!(c.host.shutdown, Some(now));
    let (outcome, out) = c.outcome("SHUTDOWN SAVE FORCE");
    let save = Shutdown {
        save: Some(true),
        now: false,
        force: true,
    };
    assert_eq!((outcome.flow, out.len()), (Flow::Shutdown(save), 0));
}

#[test]
fn time_is_the_hosts() {
    let mut c = Client::new();
    assert_eq!(
        c.reply("TIME"),
        "*2\\r\\n$10\\r\\n1700000000\\r\\n$6\\r\\n123000\\r\\n"
    );
}

#[test]
fn switches_reach_the_host() {
    let mut c = Client::new();
    c.reply("DEBUG SET-ACTIVE-EXPIRE 0");
    assert!(!c.host.active_expire);
    c.reply("DEBUG LOG \"hello there\"");
    assert_eq!(c.host.logged, ["DEBUG LOG: hello there"]);
    c.reply("CLIENT NO-TOUCH on");
    assert!(c.session.no_touch);
    assert_eq!(c.reply("CLIENT SETINFO LIB-NAME jedis"), "+OK\\r\\n");
    assert_eq!(c.session.lib_name, b"jedis");
}

/// Arguments are clients' bytes: whatever they are, there is a reply and no panic.
#[test]
fn odd_arguments_do_no_harm() {
    let mut c = Client::new();
    let odd = [
        "\"\"",
        "\"\\xff\\x00\\r\\n\"",
        "-9223372036854775808",
        "99999999999999999999",
        "1",
    ];
    for command in table().all() {
        let name = command.spec.full_name.replace('|', " ");
        for a in odd {
            for line in [
                name.clone(),
                format!("{name} {a}"),
                format!("{name} {a} {a}"),
                format!("{name} id {a} type {a}"),
                format!("{name} {a} {a} {a} {a} {a}"),
            ] {
                // Only POPULATE of so many keys and a long sleep are what they look like.
                c.reply("RESET");
                let (outcome, out) = c.outcome(&line);
                assert!(
                    outcome.flow != Flow::Done || !out.is_empty() || line.contains("reply"),
                    "{line}"
                );
            }
        }
    }
}
