//! The tool's command line as a process: what it prints, and its exit codes.

use std::fs;
use std::process::Command;

const TOOL: &str = env!("CARGO_BIN_EXE_holdfast");

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_tool_prints_the_table_and_checks_files() {
    let out = Command::new(TOOL)
        .args(["config", "--markdown"])
        .output()
        .unwrap();
    assert!(out.status.success() && text(&out.stdout).contains("| `appendfsync` |"));
    let out = Command::new(TOOL)
        .args(["commands", "--markdown"])
        .output()
        .unwrap();
    assert!(out.status.success() && text(&out.stdout).contains("| `GETDEL key` |"));
    let out = Command::new(TOOL)
        .args(["config", "--check", "--port", "x"])
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(1));
    assert!(
        text(&out.stderr).ends_with("refuses this configuration.\n"),
        "{out:?}"
    );
}

#[test]
fn a_check_names_what_has_no_effect() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("redis.conf");
    fs::write(
        &path,
        "port 7\nmaxmemory 1gb\nappendonly no\nappendfsync everysec\n",
    )
    .unwrap();
    let check = |args: &[&str]| {
        let out = Command::new(TOOL)
            .args(["config", "--check"])
            .args(args)
            .output()
            .unwrap();
        (out.status.code(), text(&out.stdout), text(&out.stderr))
    };
    let file = path.to_str().unwrap();
    let (code, shown, _) = check(&[file, "--requirepass", "secret", "--io-threads", "4"]);
    assert_eq!(code, Some(0), "{shown}");
    assert!(!shown.contains("secret"), "{shown}");
    let parts = [
        "Given:\n  appendfsync everysec\n  port 7\n  requirepass (hidden)\n",
        "Given, but without effect here:\n  io-threads 4: The event loop has its own bounds.\n  \
         maxmemory 1073741824: There is no eviction and no memory limit yet.\n",
        "Given with their defaults, and without effect here:\n  appendonly\n",
        "an OK is not yet on disk",
    ];
    for part in parts {
        assert!(shown.contains(part), "{part} is not in:\n{shown}");
    }
    let verdict =
        "\nVerdict: holdfast-server takes this configuration; 2 directives have no effect.\n";
    assert!(shown.ends_with(verdict), "{shown}");
    let (code, shown, _) = check(&["--port", "7"]);
    assert_eq!(
        (code, shown.as_str()),
        (
            Some(0),
            "Given:\n  port 7\nVerdict: holdfast-server takes this configuration.\n"
        )
    );
    // The same for programs; what stands behind --check belongs to the server.
    let json = |args: &[&str]| -> serde_json::Value {
        let out = Command::new(TOOL)
            .args(["config", "--json", "--check"])
            .args(args)
            .output()
            .unwrap();
        serde_json::from_slice(&out.stdout).expect("JSON")
    };
    let said = json(&[file, "--requirepass", "secret"]);
    assert_eq!(said["taken"], true, "{said}");
    assert_eq!(said["without_effect"][0]["name"], "maxmemory", "{said}");
    assert_eq!(said["given"][2]["value"], "(hidden)", "{said}");
    assert_eq!(json(&["--port", "x"])["taken"], false);
    // What a start would refuse, a check does.
    for args in [
        &["--port", "0"][..],
        &["no-such-file"],
        &[file, "--tls-port", "1"],
    ] {
        let (code, _, told) = check(args);
        assert_eq!(code, Some(1), "{args:?}");
        assert!(told.ends_with("\nVerdict: holdfast-server refuses this configuration.\n"));
    }
}

/// A backup whose only master had these slots.
fn backup(folder: &std::path::Path, slots: &str, file: &[u8]) {
    let nodes = format!(
        r#"[{{"name":"aa","host":"h","port":7,"replicate":null,"slots":[{slots}],"flags":"master"}}]"#
    );
    fs::write(folder.join("nodes.json"), nodes).unwrap();
    fs::write(folder.join("redis-node-h-7-aa.rdb"), file).unwrap();
}

/// A file that begins with a stream.
const STREAM: &[u8] = b"REDIS0010\xfe\x00\x13\x01k\x00";

#[test]
fn a_backup_is_looked_through_before_anything_else() {
    let golden = |name: &str| {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../rdb/tests/golden");
        fs::read(std::path::Path::new(path).join(name)).unwrap()
    };
    let sound = golden("idle.rdb");
    let mut damaged = sound.clone();
    *damaged.last_mut().unwrap() ^= 1;
    let dir = tempfile::tempdir().unwrap();
    let said = |args: &[&str]| {
        let mut command = Command::new(TOOL);
        let out = command
            .arg("restore")
            .arg(dir.path())
            .args(args)
            .output()
            .unwrap();
        (out.status.code(), text(&out.stdout) + &text(&out.stderr))
    };
    let (code, shown) = said(&[]);
    assert!(code == Some(2) && shown.contains("nodes.json"), "{shown}");
    for (slots, file, want) in [
        ("[0,16383]", damaged, "its checksum is"),
        ("[0,0]", sound.clone(), "which its master did not have"),
        (
            "[0,16383]",
            STREAM.to_vec(),
            "values of this type are not known here",
        ),
        ("[0,16383]", golden("plain.rdb"), "keys of database 1"),
    ] {
        backup(dir.path(), slots, &file);
        let (code, shown) = said(&[]);
        assert!(code == Some(1) && shown.contains(want), "{shown}");
        assert!(shown.contains("redis-node-h-7-aa.rdb"), "{shown}");
    }
    backup(dir.path(), "[0,16383]", &sound);
    let (code, shown) = said(&[]);
    assert!(
        code == Some(0) && shown.contains("slots 0-16383"),
        "{shown}"
    );
    let (code, shown) = said(&["--files"]);
    assert!(
        code == Some(0) && shown.ends_with("/redis-node-h-7-aa.rdb\n"),
        "{shown}"
    );
    // Nobody listens at port 1: what is to be done before is said.
    let (code, shown) = said(&["--nodes", "127.0.0.1:1,127.0.0.1:2"]);
    assert_eq!(code, Some(2), "{shown}");
    for want in [
        "127.0.0.1:1: begins with a copy of ",
        "127.0.0.1:2: begins empty, and becomes a replica of 127.0.0.1:1",
        "127.0.0.1:1 can't be reached",
    ] {
        assert!(shown.contains(want), "{shown}");
    }
}
