//! A lend to a server outside, from its entry to its end: the shard is real, its members and the server are
//! played by hand.

use crate::tests::{cluster, IDENTITY};
use crate::{Cluster, ClusterOutput};
use base::ShardId;
use outside::pool::{Event, LinkId, Order};
use shard::testing::{config, Played, OTHERS};
use shard::Shard;
use state::{Access, Reader};
use std::time::Duration;
use storage::RealDisk;
use topology::moves::{Cargo, Credentials, Lend};
use topology::outside::{Outside as Server, Place};
use topology::{Finished, MoveId};

const SECOND: Duration = Duration::from_secs(1);
const GREETED: &[u8] = b"+OK\r\n:7\r\n$12\r\nrun_id:abc\r\n\r\n-ERR no\r\n";

struct Run {
    played: Played,
    core: Cluster,
    finished: Vec<Finished>,
    orders: Vec<Order>,
    link: LinkId,
    lend: MoveId,
}

fn place() -> Place {
    Place {
        host: "there".to_owned(),
        port: 6379,
        db: 0,
        credentials: Credentials::None,
    }
}

impl Run {
    /// A leader that has lent a key; the entry is not committed.
    fn lent() -> Run {
        let mut played = Played::leading(config());
        played.set(b"a", b"value");
        played.beats(&OTHERS, 200);
        let mut run = Run {
            played,
            core: cluster(IDENTITY),
            finished: Vec::new(),
            orders: Vec::new(),
            link: 0,
            lend: MoveId::default(),
        };
        run.turn(|_, _| ());
        let mut question = None;
        assert_eq!(run.core.reach(&mut question, &place(), SECOND), None);
        run.link = question.expect("it is being reached");
        run.greet(run.link);
        let reached = run.core.reach(&mut question, &place(), SECOND);
        let (link, server) = reached.expect("it has answered").expect("it greets");
        assert_eq!((link, server.client), (run.link, Some(7)));
        run.lend = run.turn(|core, shard| {
            let id = core.mint();
            let data = shard.data_mut();
            data.begin_command(0, Access::Lead);
            let slot = data.key(b"a").slot;
            let parcel = data.with(&data.key(b"a"), |entry| {
                state::parcel_of(&entry.expect("it is there"), Reader::Any, &mut || {})
            });
            let entry = Lend {
                slot,
                to: ShardId::default(),
                mark: None,
                keys: vec![b"a".as_slice().into()],
                db: 0,
                outside: Some(Server::of(&place(), &server)),
            };
            data.lend(id, entry);
            data.end_command();
            let cargo = Cargo {
                slot,
                mark: None,
                replace: false,
                credentials: Credentials::None,
                parcels: vec![parcel],
            };
            core.begin_outside(id, (link, false), cargo, SECOND);
            id
        });
        run
    }

    fn turn<R>(&mut self, act: impl FnOnce(&mut Cluster, &mut Shard<RealDisk>) -> R) -> R {
        let now = self.played.now();
        let (core, finished) = (&mut self.core, &mut self.finished);
        let result = self.played.turn(|shard| {
            core.migrate(now, true, shard);
            finished.extend(core.take_finished());
            let result = act(core, shard);
            core.send_copies(now, shard);
            result
        });
        core.speak(now, &mut self.played.shard);
        core.send_words(now, self.played.released, &mut self.played.shard);
        for output in core.take_outputs() {
            if let ClusterOutput::Outgoing(order) = output {
                self.orders.push(order);
            }
        }
        result
    }

    /// What was written is committed, and a turn has seen it.
    fn commit(&mut self) {
        self.played.beats(&OTHERS, 100);
        self.turn(|_, _| ());
    }

    fn hear(&mut self, link: LinkId, event: Event) {
        let now = self.played.now();
        self.core.outgoing(now.mono, link, event);
    }

    fn greet(&mut self, link: LinkId) {
        self.hear(link, Event::Up);
        self.hear(link, Event::Bytes(GREETED.to_vec()));
    }

    fn sent(&mut self) -> String {
        let orders = std::mem::take(&mut self.orders);
        let bytes = orders.into_iter().filter_map(|order| match order {
            Order::Send { bytes, .. } => Some(bytes),
            _ => None,
        });
        let bytes: Vec<u8> = bytes.flatten().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn is_frozen(&self) -> bool {
        self.played.shard.data().frozen(b"a").is_some()
    }

    fn has_key(&self) -> bool {
        let keyspace = self.played.shard.data().keyspace();
        keyspace.get(0, &keyspace.key(b"a")).is_some()
    }

    /// RESTORE has left, and its answer is lost.
    fn lost() -> Run {
        let mut run = Run::lent();
        run.commit();
        assert!(run.sent().contains("RESTORE"));
        run.hear(run.link, Event::Closed);
        run.turn(|_, _| ());
        run.turn(|_, _| ());
        let id = run.lend;
        assert_eq!(run.finished, [Finished::LendLost { id }]);
        run
    }

    /// The server is asked, and answers about the key.
    fn settle(&mut self, dump: &[u8]) {
        let connect = self.orders.drain(..).find_map(|order| match order {
            Order::Connect { link, .. } => Some(link),
            _ => None,
        });
        let link = connect.expect("it connects again");
        self.greet(link);
        self.played.pass(200);
        self.turn(|_, _| ());
        let asked = self.sent();
        assert!(asked.contains("KILL\r\n$2\r\nID\r\n$1\r\n7"), "{asked}");
        assert!(asked.contains("DUMP\r\n$1\r\na"), "{asked}");
        self.hear(link, Event::Bytes([b":1\r\n", dump].concat()));
        self.turn(|_, _| ());
    }
}

#[test]
fn restore_leaves_when_its_lend_has_committed() {
    let mut run = Run::lent();
    run.turn(|_, _| ());
    assert!(!run.sent().contains("RESTORE"), "it is not committed");
    run.commit();
    let sent = run.sent();
    assert_eq!(sent.matches("RESTORE").count(), 1, "{sent}");
    let id = run.lend;
    run.hear(run.link, Event::Bytes(b"+OK\r\n".to_vec()));
    run.turn(|_, _| ());
    assert!(
        !run.has_key() && run.finished.is_empty(),
        "its end is not committed"
    );
    run.commit();
    assert_eq!(run.finished, [Finished::Lend { id, error: None }]);
    assert!(run.sent().is_empty(), "it leaves once");
}

#[test]
fn a_refused_restore_returns_the_key() {
    let mut run = Run::lent();
    run.commit();
    run.hear(run.link, Event::Bytes(b"-BUSYKEY x\r\n".to_vec()));
    run.turn(|_, _| ());
    run.commit();
    let (id, error) = (run.lend, Some(b"BUSYKEY x".to_vec()));
    assert_eq!(run.finished, [Finished::Lend { id, error }]);
    assert!(run.has_key() && !run.is_frozen());
}

#[test]
fn a_lost_answer_freezes_until_it_is_settled() {
    let mut run = Run::lost();
    assert!(run.is_frozen());
    run.settle(b"$-1\r\n");
    assert!(run.has_key() && !run.is_frozen(), "it has not come");
    let mut run = Run::lost();
    let mine = {
        let keyspace = run.played.shard.data().keyspace();
        let entry = keyspace.get(0, &keyspace.key(b"a")).expect("it is there");
        state::payload_of(entry.value(), Reader::Any, true, &mut || {})
    };
    let dump = [format!("${}\r\n", mine.len()).as_bytes(), &mine, b"\r\n"].concat();
    run.settle(&dump);
    assert!(!run.has_key() && !run.is_frozen(), "it has come");
}

#[test]
fn a_connection_lost_before_the_commit_returns_the_key() {
    let mut run = Run::lent();
    run.hear(run.link, Event::Closed);
    run.turn(|_, _| ());
    run.commit();
    let id = run.lend;
    assert_eq!(run.finished, [Finished::LendLost { id }]);
    assert!(run.has_key() && !run.is_frozen());
    assert!(!run.sent().contains("RESTORE"));
}

#[test]
fn a_server_out_of_reach_returns_the_key() {
    let mut run = Run::lost();
    run.played.pass(16_000);
    run.played.beats(&OTHERS, 2_000);
    run.turn(|_, _| ());
    run.commit();
    assert!(run.has_key() && !run.is_frozen());
    let warnings = run.core.take_warnings();
    assert!(
        warnings.iter().any(|line| line.contains("is not known")),
        "{warnings:?}"
    );
}

#[cfg(feature = "mutations")]
#[test]
fn a_key_thawed_unsettled_is_caught() {
    use base::mutation::{self, Mutation};
    mutation::set(Some(Mutation::ThawUnsettled));
    let run = Run::lost();
    let frozen = run.is_frozen();
    mutation::set(None);
    assert!(!frozen, "the mutation changes nothing");
}
