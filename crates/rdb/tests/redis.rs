//! A file of ours, loaded by the packaged `redis-server` 7.0.
//!
//! It listens on a Unix socket in a folder of its own, and is ended by its pid.

#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // a process and its folder

mod common;

use rdb::file::{Begin, Entry, Head, Item};
use rdb::{Body, Kind, Piece, Type, Value};
use std::borrow::Cow;
use std::convert::Infallible;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const YEAR_2100_MS: i64 = 4_102_444_800_123;
const WAIT_MAX: Duration = Duration::from_secs(60);

struct Server {
    process: Child,
    folder: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended = self.process.kill();
        let _status = self.process.wait();
        let _removed = std::fs::remove_dir_all(&self.folder);
    }
}

fn is_there(program: &str) -> bool {
    let output = Command::new(program).arg("--version").output();
    let there = output.is_ok_and(|o| String::from_utf8_lossy(&o.stdout).contains("v=7.0"));
    if !there {
        println!("*** SKIPPED: there is no {program} 7.0");
    }
    there
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("rdb-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// A server over this file; none if it doesn't load it.
fn server(name: &str, file: &[u8], policy: &str) -> Option<(Server, BufReader<UnixStream>)> {
    let folder = folder(name);
    std::fs::write(folder.join("dump.rdb"), file).unwrap();
    let socket = folder.join("socket");
    let process = Command::new("redis-server")
        .args(["--port", "0", "--save", "", "--unixsocket"])
        .arg(&socket)
        .arg("--dir")
        .arg(&folder)
        .args(["--maxmemory", "1gb", "--maxmemory-policy", policy])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut server = Server { process, folder };
    let client = connect(&mut server, &socket)?;
    Some((server, client))
}

/// When it answers that it has loaded; none if it ends before.
fn connect(server: &mut Server, socket: &Path) -> Option<BufReader<UnixStream>> {
    let deadline = Instant::now() + WAIT_MAX;
    while Instant::now() < deadline {
        if server.process.try_wait().unwrap().is_some() {
            return None;
        }
        if let Ok(stream) = UnixStream::connect(socket) {
            let mut client = BufReader::new(stream);
            // One that ends before it has loaded closes the connection.
            if try_ask(&mut client, &[b"PING"]).is_ok_and(|reply| reply == b"PONG") {
                return Some(client);
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("it does not answer");
}

/// One reply: the line of a status, an error or an integer, or a bulk's text.
fn ask_bytes(client: &mut BufReader<UnixStream>, words: &[&[u8]]) -> Vec<u8> {
    try_ask(client, words).expect("a reply")
}

fn try_ask(client: &mut BufReader<UnixStream>, words: &[&[u8]]) -> io::Result<Vec<u8>> {
    let mut request = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        request.extend_from_slice(word);
        request.extend_from_slice(b"\r\n");
    }
    client.get_mut().write_all(&request)?;
    let mut line = String::new();
    if client.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let (kind, rest) = line.trim_end().split_at(1);
    Ok(match (kind, rest) {
        ("$", "-1") => b"(nil)".to_vec(),
        ("$", length) => {
            let mut text = vec![0; length.parse::<usize>().unwrap() + 2];
            client.read_exact(&mut text)?;
            text.truncate(text.len() - 2);
            text
        }
        _ => rest.as_bytes().to_vec(),
    })
}

fn ask(client: &mut BufReader<UnixStream>, words: &[&[u8]]) -> String {
    String::from_utf8_lossy(&ask_bytes(client, words)).into_owned()
}

fn entry(key: &[u8], text: &[u8]) -> Entry<'static> {
    Entry {
        key: Cow::Owned(key.to_vec()),
        value: Cow::Owned(text.to_vec()),
        expires_at_ms: None,
        idle_seconds: None,
        frequency: None,
    }
}

fn texts() -> Vec<Vec<u8>> {
    let squares = |n: u32| {
        (0..n)
            .map(|n| (n.wrapping_mul(n) >> 7) as u8)
            .collect::<Vec<u8>>()
    };
    let mut texts = vec![Vec::new(), b"007".to_vec(), vec![b'a'; 20], vec![b'a'; 21]];
    texts.extend([squares(300), squares(70_000), squares(5 << 20)]);
    texts.extend([vec![b'z'; 100_000], vec![b'z'; 5 << 20]]);
    for n in [
        0,
        -1,
        127,
        128,
        -129,
        32_768,
        -32_769,
        i32::MAX.into(),
        1i64 << 31,
        i64::MIN,
    ] {
        texts.push(n.to_string().into_bytes());
    }
    texts
}

fn items() -> Vec<Item<'static>> {
    let aux = |name: &'static [u8], value: Vec<u8>| Item::Aux {
        name: name.into(),
        value: value.into(),
    };
    let mut items = vec![
        aux(b"redis-ver", b"7.4.1".to_vec()),
        aux(b"hf-base", vec![0xff; 300]),
        Item::Function(
            b"#!lua name=mine\nredis.register_function('one', function() return 1 end)"[..].into(),
        ),
        Item::Db(0),
        Item::Sizes {
            keys: 20,
            expires: 2,
        },
        // Left out in version 10.
        Item::Slot {
            slot: 7,
            keys: 20,
            expires: 2,
        },
    ];
    let texts = texts();
    let strings = texts.iter().enumerate();
    items.extend(strings.map(|(n, text)| Item::Entry(entry(format!("key {n}").as_bytes(), text))));
    items.push(Item::Entry(Entry {
        expires_at_ms: Some(YEAR_2100_MS),
        ..entry(b"12345", b"expires")
    }));
    items.push(Item::Entry(Entry {
        expires_at_ms: Some(1),
        ..entry(b"expired", b"long ago")
    }));
    items.push(Item::Db(3));
    items.push(Item::Entry(Entry {
        idle_seconds: Some(5000),
        frequency: Some(200),
        ..entry(&[b'k'; 100], b"in another database")
    }));
    // Pieces behind the keys, as long as they get.
    let piece = |seed: u8| {
        (0..256 << 10)
            .map(|n: u32| (n.wrapping_mul(n) >> 9) as u8 ^ seed)
            .collect()
    };
    items.extend([1, 2, 3].map(|seed| aux(b"hf-stage", piece(seed))));
    items
}

#[test]
fn file_of_ours_loads_in_redis() {
    if !is_there("redis-server") {
        return;
    }
    for (policy, compress) in [("allkeys-lru", false), ("allkeys-lfu", true)] {
        let (file, _) = common::write(10, compress, &items());
        let (_server, mut client) = server(policy, &file, policy).expect("it loads");
        for (n, text) in texts().into_iter().enumerate() {
            let key = format!("key {n}");
            let found = ask_bytes(&mut client, &[b"GET", key.as_bytes()]);
            assert!(found == text, "{key} of {} bytes", text.len());
        }
        let mut ask = |words: &[&[u8]]| ask(&mut client, words);
        let at = ask(&[b"PEXPIRETIME", b"12345"]);
        assert_eq!(at, YEAR_2100_MS.to_string());
        assert_eq!(ask(&[b"EXISTS", b"expired"]), "0");
        assert_eq!(ask(&[b"FCALL", b"one", b"0"]), "1");
        assert_eq!(ask(&[b"DBSIZE"]), (texts().len() + 1).to_string());
        assert_eq!(ask(&[b"SELECT", b"3"]), "OK");
        let other = [b'k'; 100];
        let (what, wanted) = match policy {
            // The clock of a server has seconds.
            "allkeys-lru" => (&b"IDLETIME"[..], 4990..=5060),
            _ => (&b"FREQ"[..], 200..=200),
        };
        let found = ask(&[b"OBJECT", what, &other]);
        assert!(wanted.contains(&found.parse::<u32>().unwrap()), "{found}");
        assert_eq!(ask(&[b"GET", &other]), "in another database");
    }
}

/// Why the lowest version that holds the content is the one to write.
#[test]
fn newer_version_is_refused_by_redis() {
    if !is_there("redis-server") {
        return;
    }
    let (file, _) = common::write(11, true, &[Item::Db(0), Item::Entry(entry(b"k", b"v"))]);
    assert!(server("newer", &file, "noeviction").is_none());
}

/// Values with elements, in every encoding that Redis 7.0 reads: names, types and pieces.
fn containers() -> Vec<(String, Type, Vec<Piece<'static>>)> {
    let lines = include_str!("golden/elements.txt").lines();
    let values = lines.filter_map(|line| {
        let (name, digits) = line.split_once(' ').unwrap();
        let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
        let payload: Vec<u8> = (0..digits.len()).step_by(2).map(byte).collect();
        let Ok(Value::Container(body)) = rdb::load(&payload, common::LIMIT, &mut || {}) else {
            panic!("{name} has elements");
        };
        let pieces = pieces_of(body);
        let known = body.encoding().lowest_version() <= 10;
        known.then(|| (name.to_owned(), body.encoding(), pieces))
    });
    let mut values: Vec<_> = values.collect();
    // What is written as it is not packed, from the same elements.
    for at in 0..values.len() {
        let (name, encoding, pieces) = &values[at];
        let encoding = match encoding.kind() {
            Kind::List => Type::List,
            _ => continue,
        };
        values.push((format!("{name}:plain"), encoding, common::elements(pieces)));
    }
    values
}

fn pieces_of(body: Body<'_>) -> Vec<Piece<'static>> {
    let mut pieces = Vec::new();
    let Ok(()) = body.visit(&mut || {}, &mut |piece| {
        pieces.push(piece.into_owned());
        Ok::<(), Infallible>(())
    });
    pieces
}

/// The same whatever the encoding: elements in their order but those of a list.
fn sorted(kind: Kind, pieces: &[Piece<'_>]) -> Vec<String> {
    let elements = common::elements(pieces);
    let mut texts: Vec<String> = elements.iter().map(|e| format!("{e:?}")).collect();
    if kind != Kind::List {
        texts.sort();
    }
    texts
}

#[test]
fn elements_of_ours_load_and_restore_in_redis() {
    if !is_there("redis-server") {
        return;
    }
    let mut items = vec![Item::Db(0)];
    for (name, encoding, pieces) in containers() {
        let head = Head {
            key: Cow::Owned(name.into_bytes()),
            encoding,
            expires_at_ms: None,
            idle_seconds: None,
            frequency: None,
        };
        items.push(Item::Begin(Begin {
            head,
            elements: None,
            offset: 0,
        }));
        items.extend(pieces.into_iter().map(Item::Piece));
        items.push(Item::Finish);
    }
    let (file, _) = common::write(10, true, &items);
    let (_server, mut client) = server("elements", &file, "noeviction").expect("it loads");
    for (name, encoding, pieces) in containers() {
        let want = sorted(encoding.kind(), &pieces);
        let mut payload = Vec::new();
        rdb::dump(&mut payload, (encoding, 10), false, &mut || {}, |to| {
            let Ok(()) = common::put(to, encoding, &pieces);
        });
        let restored = ask(
            &mut client,
            &[b"RESTORE", b"restored", b"0", &payload, b"REPLACE"],
        );
        assert_eq!(restored, "OK", "{name}");
        for key in [name.as_bytes(), b"restored"] {
            let theirs = ask_bytes(&mut client, &[b"DUMP", key]);
            let Ok(Value::Container(body)) = rdb::load(&theirs, common::LIMIT, &mut || {}) else {
                panic!("{name}");
            };
            let found = sorted(encoding.kind(), &pieces_of(body));
            assert!(found == want, "{name}: {found:?}");
        }
    }
}

/// What it saves of what it loaded is read here.
#[test]
fn file_of_ours_comes_back_from_redis() {
    if !is_there("redis-server") {
        return;
    }
    let (file, _) = common::write(10, true, &items());
    let (server, mut client) = server("back", &file, "noeviction").expect("it loads");
    assert_eq!(ask(&mut client, &[b"SAVE"]), "OK");
    let saved = std::fs::read(server.folder.join("dump.rdb")).unwrap();
    let found = common::read(&saved, 1 << 16).unwrap();
    let keys = |items: &[Item<'_>]| {
        let mut keys: Vec<_> = items
            .iter()
            .filter_map(|item| match item {
                Item::Entry(entry) if entry.expires_at_ms != Some(1) => Some((
                    entry.key.to_vec(),
                    entry.value.to_vec(),
                    entry.expires_at_ms,
                )),
                _ => None,
            })
            .collect();
        keys.sort();
        keys
    };
    assert!(keys(&found) == keys(&items()));
}
