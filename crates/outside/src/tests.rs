//! Connections and lost answers, played by hand.

use super::pool::{Event, LinkId, Order, Pool};
use super::reply::Reply;
use super::settle::{Settle, Verdict};
use base::clock::Mono;
use base::ShardId;
use std::time::Duration;
use topology::moves::{Credentials, Lend};
use topology::outside::{Outside, Place, Server, Unreached};

const START: Mono = Mono(1_000_000_000);
const SECOND: Duration = Duration::from_secs(1);

fn place(db: i64) -> Place {
    Place {
        host: "there".to_owned(),
        port: 6379,
        db,
        credentials: Credentials::Password(b"word".to_vec()),
    }
}

const GREETED: &[u8] =
    b"+OK\r\n+OK\r\n:7\r\n$37\r\nrun_id:abc\r\nredis_mode:cluster\r\nx:y\r\n\r\n-ERR no\r\n";

fn sent(pool: &mut Pool) -> String {
    let orders = pool.take_orders();
    let bytes = orders.iter().filter_map(|order| match order {
        Order::Send { bytes, .. } => Some(bytes.as_slice()),
        _ => None,
    });
    String::from_utf8(bytes.collect::<Vec<_>>().concat()).expect("text")
}

/// A connection that has been greeted.
fn greeted(pool: &mut Pool, db: i64) -> LinkId {
    let link = pool.take(START, &place(db), SECOND).expect("there is room");
    pool.hear(START, link, Event::Up);
    let (first, rest) = GREETED.split_at(9);
    pool.hear(START, link, Event::Bytes(first.to_vec()));
    assert_eq!(pool.ready(START, link), None);
    pool.hear(START, link, Event::Bytes(rest.to_vec()));
    link
}

#[test]
fn a_greeting_tells_which_server_it_is() {
    let mut pool = Pool::default();
    let link = greeted(&mut pool, 3);
    let said = sent(&mut pool);
    assert!(said.contains("AUTH\r\n$4\r\nword"), "{said}");
    assert!(said.contains("SELECT\r\n$1\r\n3"), "{said}");
    let server = Server {
        client: Some(7),
        run: b"abc".to_vec(),
        is_cluster: true,
        node: None,
    };
    assert_eq!(pool.ready(START, link), Some(Ok(server)));
}

#[test]
fn a_server_that_refuses_says_why() {
    let refused = [
        (
            &b"-WRONGPASS no\r\n+OK\r\n:7\r\n$0\r\n\r\n$-1\r\n"[..],
            "WRONGPASS no",
        ),
        (
            b"+OK\r\n-ERR DB index is out of range\r\n:7\r\n$0\r\n\r\n$-1\r\n",
            "ERR DB index is out of range",
        ),
        (
            b"+OK\r\n+OK\r\n-NOAUTH first\r\n$0\r\n\r\n$-1\r\n",
            "NOAUTH first",
        ),
    ];
    for (bytes, why) in refused {
        let mut pool = Pool::default();
        let link = pool.take(START, &place(0), SECOND).expect("there is room");
        pool.hear(START, link, Event::Up);
        pool.hear(START, link, Event::Bytes(bytes.to_vec()));
        let why = Unreached::Refused(why.as_bytes().to_vec());
        assert_eq!(pool.ready(START, link), Some(Err(why)));
        assert_eq!(pool.len(), 0);
    }
}

#[test]
fn what_does_not_greet_in_time_is_not_reached() {
    let mut pool = Pool::default();
    let link = pool.take(START, &place(0), SECOND).expect("there is room");
    pool.hear(START, link, Event::Up);
    pool.proceed(START + SECOND);
    assert_eq!(pool.ready(START, link), Some(Err(Unreached::Lost)));
    let not_reached = Some(Err(Unreached::Connecting));
    let link = pool.take(START, &place(0), SECOND).expect("there is room");
    pool.proceed(START + SECOND);
    assert_eq!(pool.ready(START, link), not_reached);
    let link = pool.take(START, &place(0), SECOND).expect("there is room");
    pool.hear(START, link, Event::Closed);
    assert_eq!(pool.ready(START, link), not_reached);
}

#[test]
fn a_connection_is_used_again_by_its_place_alone() {
    let mut pool = Pool::default();
    let link = greeted(&mut pool, 0);
    assert_ne!(
        pool.take(START, &place(0), SECOND),
        Some(link),
        "it is taken"
    );
    pool.release(START, link);
    assert_ne!(pool.take(START, &place(1), SECOND), Some(link));
    // The password may have changed: nothing leaves before it has been taken again.
    pool.take_orders();
    assert_eq!(pool.take(START, &place(0), SECOND), Some(link));
    assert!(sent(&mut pool).starts_with("*2\r\n$4\r\nAUTH\r\n$4\r\nword"));
    assert_eq!(pool.ready(START, link), None);
    assert!(!pool.send(link, b"x".to_vec(), 2, 0));
    pool.hear(START, link, Event::Bytes(GREETED.to_vec()));
    assert!(pool.send(link, b"x".to_vec(), 2, 0));
    pool.hear(START, link, Event::Bytes(b"+OK\r\n-ER".to_vec()));
    assert_eq!(pool.answers(START, link), None);
    pool.hear(START, link, Event::Bytes(b"R\r\n".to_vec()));
    let replies = vec![Reply::Status(b"OK".to_vec()), Reply::Error(b"ERR".to_vec())];
    assert_eq!(pool.answers(START, link), Some(Ok(replies)));
    // Replies that nobody waits for: it is no use any more.
    pool.release(START, link);
    pool.hear(START, link, Event::Bytes(b"+OK\r\n".to_vec()));
    assert_ne!(pool.take(START, &place(0), SECOND), Some(link));
}

#[test]
fn what_is_not_used_ends_and_makes_room() {
    let mut pool = Pool::default();
    let link = greeted(&mut pool, 0);
    pool.release(START, link);
    for db in 1..64 {
        assert!(pool.take(START, &place(db), SECOND).is_some());
    }
    assert!(
        pool.take(START, &place(64), SECOND).is_some(),
        "for the free one"
    );
    assert!(pool.take(START, &place(65), SECOND).is_none());
    pool.close_all();
    let link = greeted(&mut pool, 0);
    pool.release(START, link);
    pool.take_orders();
    pool.proceed(START + 10 * SECOND);
    assert_eq!(pool.len(), 0);
    assert_eq!(pool.take_orders(), [Order::Close { link }]);
}

/// A lend of two keys, settled by what the server says; the connection was 5 of run abc.
fn settled(client: Option<u64>, run: &str, answers: &[u8]) -> Option<Verdict> {
    let mut pool = Pool::default();
    let outside = Outside {
        host: b"there".as_slice().into(),
        port: 6379,
        db: 0,
        client,
        run: run.as_bytes().into(),
    };
    let lend = Lend {
        slot: 1,
        to: ShardId::default(),
        mark: None,
        keys: vec![b"a".as_slice().into(), b"b".as_slice().into()],
        db: 0,
        outside: Some(outside.clone()),
    };
    let link = greeted(&mut pool, 0);
    pool.release(START, link);
    let credentials = place(0).credentials;
    let mut settle = Settle::begin(START, credentials);
    let is_same = |at: usize, payload: &[u8]| payload == [b"a", b"b"][at];
    let mut step = |pool: &mut Pool, now| {
        settle.step(now, (5 * SECOND, 100), pool, (&lend, &outside), is_same)
    };
    let mut verdict = step(&mut pool, START);
    if verdict.is_none() {
        let now = START + SECOND;
        // The password is shown again.
        assert!(sent(&mut pool).contains("AUTH"));
        pool.hear(now, link, Event::Bytes(GREETED.to_vec()));
        verdict = step(&mut pool, now);
        if verdict.is_none() {
            assert!(sent(&mut pool).contains("KILL\r\n$2\r\nID\r\n$1\r\n5"));
            pool.hear(now, link, Event::Bytes(answers.to_vec()));
            verdict = step(&mut pool, now);
        }
    }
    let late = START + 5 * SECOND;
    verdict.or_else(|| step(&mut pool, late))
}

#[test]
fn a_lost_answer_is_found_out() {
    let has = |missing: &[u32]| Some(Verdict::Has(missing.to_vec()));
    let table = [
        (&b":1\r\n+OK\r\n$1\r\na\r\n+OK\r\n$1\r\nb\r\n"[..], has(&[])),
        (b":0\r\n+OK\r\n$1\r\na\r\n+OK\r\n$-1\r\n", has(&[1])),
        (b":1\r\n+OK\r\n$1\r\nx\r\n+OK\r\n$-1\r\n", has(&[0, 1])),
    ];
    for (answers, verdict) in table {
        assert_eq!(settled(Some(5), "abc", answers), verdict);
    }
}

#[test]
fn what_can_not_be_known_is_said() {
    let late = b":1\r\n+OK\r\n$1\r\na\r\n+OK\r\n-CLUSTERDOWN\r\n";
    let refuses = b"-NOPERM\r\n+OK\r\n$1\r\na\r\n+OK\r\n$1\r\nb\r\n";
    for (client, run, answers) in [
        (None, "abc", &refuses[..]),
        (Some(5), "other", refuses),
        (Some(5), "abc", refuses),
        (Some(5), "abc", late),
        (Some(5), "abc", b""),
    ] {
        let verdict = settled(client, run, answers);
        assert!(matches!(verdict, Some(Verdict::Unknown(_))), "{verdict:?}");
    }
}

/// Bytes that were taken in until the connection was ended.
fn floods(pool: &mut Pool, link: LinkId, announced: &[u8]) -> usize {
    pool.take_orders();
    pool.hear(START, link, Event::Bytes(announced.to_vec()));
    for bytes in (0..64 << 20).step_by(64 << 10) {
        if pool.take_orders() == [Order::Close { link }] {
            return bytes;
        }
        let piece = vec![b'x'; 64 << 10];
        pool.hear(START, link, Event::Bytes(piece));
    }
    panic!("64 MiB were taken in")
}

#[test]
fn a_server_that_floods_is_left() {
    let mut pool = Pool::default();
    let link = pool.take(START, &place(0), SECOND).expect("there is room");
    pool.hear(START, link, Event::Up);
    let taken = floods(&mut pool, link, b"+OK\r\n+OK\r\n:7\r\n$1000000000\r\n");
    assert!(taken <= 2 << 20, "{taken} bytes of a greeting");
    assert_eq!(pool.ready(START, link), Some(Err(Unreached::Lost)));
    let link = greeted(&mut pool, 0);
    assert!(pool.send(link, b"x".to_vec(), 3, 1 << 20));
    let taken = floods(&mut pool, link, b"$1000000000\r\n");
    assert!(
        (1 << 20..2 << 20).contains(&taken),
        "{taken} bytes of an answer"
    );
    assert_eq!(pool.answers(START, link), Some(Err(Unreached::Lost)));
}
