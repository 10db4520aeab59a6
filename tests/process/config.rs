//! The configuration file: read, refused with file and line, changed at run time, written back.

use crate::common::resp::Value;
use crate::common::server::{Options, Server};
use crate::common::wait_until;
use crate::ours_only;
use std::fs;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

fn refused(conf: &str, args: &[(&str, &str)]) -> String {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("test.conf");
    fs::write(&path, conf).expect("a writable folder");
    let (status, output) = Server::start_refused(Options::new(args).dir(dir.path()).conf(&path));
    assert_eq!(status.code(), Some(1), "{output}");
    output
}

#[test]
fn bad_directives_are_refused_with_their_line() {
    let output = refused("# a comment\nnosuchdirective 1\n", &[]);
    for part in [
        "*** FATAL CONFIG FILE ERROR (Redis 7.",
        "Reading the configuration file, at line 2",
        ">>> 'nosuchdirective 1'",
        "Bad directive or wrong number of arguments",
    ] {
        assert!(output.contains(part), "{part} is not in:\n{output}");
    }
    let output = refused("\n\nappendfsync sometimes\n", &[]);
    assert!(output.contains("at line 3"), "{output}");
    assert!(output.contains(">>> 'appendfsync sometimes'"), "{output}");
    assert!(output.contains("must be one of the following"), "{output}");
    let output = refused("timeout abc\n", &[]);
    assert!(
        output.contains("argument couldn't be parsed into an integer"),
        "{output}"
    );
    let output = refused("dir \"unbalanced\n", &[]);
    assert!(
        output.contains("Unbalanced quotes in configuration line"),
        "{output}"
    );
    let output = refused("", &[("nosuchdirective", "1")]);
    assert!(output.contains(">>> 'nosuchdirective"), "{output}");
}

#[test]
fn a_file_with_quotes_comments_and_include() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (main, other) = (dir.path().join("main.conf"), dir.path().join("other.conf"));
    fs::write(&other, "timeout 33\nmaxclients 77\n").expect("a writable folder");
    let text = format!(
        "# first\n\n   hz   20\ninclude {}\ntimeout 44\nrequirepass \"pass\\x41 word\"\nproto-max-bulk-len 10mb\n",
        other.display()
    );
    fs::write(&main, text).expect("a writable folder");
    let mut options = Options::new(&[("tcp-keepalive", "55")]).conf(&main);
    options.password = Some("passA word".into());
    let server = options.start();
    let mut client = server.client();
    for (name, value) in [
        ("hz", "20"),
        ("timeout", "44"),
        ("maxclients", "77"),
        ("tcp-keepalive", "55"),
        ("proto-max-bulk-len", "10485760"),
    ] {
        assert_eq!(
            client.cmd(&["CONFIG", "GET", name]).items()[1].text(),
            value,
            "{name}"
        );
    }
}

#[test]
fn config_set_and_rewrite() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("test.conf");
    fs::write(&path, "# my comment\ntimeout 11\n\n# another\nhz 15\n").expect("a writable folder");
    let mut server = Options::new(&[("appendfsync", "always")])
        .dir(dir.path())
        .conf(&path)
        .start();
    let mut client = server.client();
    assert!(client
        .cmd(&["CONFIG", "SET", "timeout", "77", "tcp-keepalive", "66"])
        .is_ok());
    let rewrite = client.cmd(&["CONFIG", "REWRITE"]);
    assert!(rewrite.is_ok(), "{rewrite:?}");
    let text = fs::read_to_string(&path).expect("the file is there");
    for line in [
        "# my comment",
        "# another",
        "timeout 77",
        "hz 15",
        "tcp-keepalive 66",
    ] {
        assert!(
            text.lines().any(|l| l == line),
            "'{line}' is not in:\n{text}"
        );
    }
    server.kill9();
    let server = server.restart();
    let reply = server.client().cmd(&["CONFIG", "GET", "timeout"]);
    assert_eq!(reply.items()[1], Value::Bulk(b"77".to_vec()));
}

/// How often the log holds a text.
fn told(server: &Server, text: &str) -> usize {
    server.output().matches(text).count()
}

#[test]
fn what_has_no_effect_is_warned_of() {
    if !ours_only("what_has_no_effect_is_warned_of") {
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("test.conf");
    let text = "maxmemory 100mb\ntracking-table-max-keys 5\nmin-replicas-to-write 1\n";
    fs::write(&path, text).expect("a writable folder");
    let server = Options::new(&[]).dir(dir.path()).conf(&path).start();
    let at_start =
        "Accepted, but without effect here: appendonly, maxmemory, min-replicas-to-write, \
                    tracking-table-max-keys\n";
    wait_until("the start warns", MINUTE, || told(&server, at_start) == 1);
    let mut client = server.client();
    let set = "Accepted, but without effect here: tracking-table-max-keys\n";
    for (keys, warned) in [("7", 1), ("7", 1), ("1000000", 1), ("8", 2)] {
        let reply = client.cmd(&["CONFIG", "SET", "tracking-table-max-keys", keys]);
        assert!(reply.is_ok(), "{reply:?}");
        wait_until("it is warned of", MINUTE, || told(&server, set) >= warned);
        assert_eq!(told(&server, set), warned, "{keys}");
    }
    let refused = |client: &mut crate::common::resp::Client, name: &str, value: &str| {
        client.cmd(&["CONFIG", "SET", name, value]).text()
    };
    let limit = refused(&mut client, "maxmemory", "1gb");
    assert_eq!(
        limit,
        "ERR CONFIG SET failed (possibly related to argument 'maxmemory') - Holdfast does not limit \
         its memory yet and evicts nothing: the limit would not be kept"
    );
    let replicas = refused(&mut client, "min-slaves-to-write", "2");
    assert!(replicas.contains("Holdfast does not count replicas before a write yet"));
    // What is so already, and nothing, may be set.
    for value in ["100mb", "0"] {
        assert!(client.cmd(&["CONFIG", "SET", "maxmemory", value]).is_ok());
    }
    assert!(client
        .cmd(&["CONFIG", "SET", "min-replicas-to-write", "0"])
        .is_ok());
}

#[test]
fn everysec_is_warned_of_once() {
    if !ours_only("everysec_is_warned_of_once") {
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("test.conf");
    fs::write(&path, "appendfsync everysec\n").expect("a writable folder");
    let server = Options::new(&[]).dir(dir.path()).conf(&path).start();
    let text = "an OK is not yet on disk";
    wait_until("the start warns", MINUTE, || told(&server, text) == 1);
    let mut client = server.client();
    for (policy, warned) in [("always", 1), ("no", 2), ("no", 2), ("everysec", 3)] {
        assert!(client
            .cmd(&["CONFIG", "SET", "appendfsync", policy])
            .is_ok());
        wait_until("it is warned of", MINUTE, || told(&server, text) >= warned);
        assert_eq!(told(&server, text), warned, "{policy}");
    }
    let always = Options::new(&[("appendfsync", "always")]).start();
    wait_until("the start is over", MINUTE, || {
        told(&always, "Ready to") > 0
    });
    assert_eq!(told(&always, text), 0);
}
