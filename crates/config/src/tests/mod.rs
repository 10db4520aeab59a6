//! Tests of the configuration: the table, the parser, CONFIG GET, SET and REWRITE, exact texts.

mod effects;
mod rewriting;

use super::directive::{Given, Keep};
use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs;
use std::io::Cursor;
use std::path::Path;

fn load_in(cwd: &Path, stdin: &str, args: &[&str]) -> Result<(Config, Loaded), ConfigError> {
    let args: Vec<Vec<u8>> = args.iter().map(|a| a.as_bytes().to_vec()).collect();
    let mut sources = Sources {
        cwd: cwd.to_owned(),
        stdin: Box::new(Cursor::new(stdin.to_owned())),
    };
    load::from_args(&args, &mut sources)
}

fn load(args: &[&str]) -> Result<Config, ConfigError> {
    load_in(Path::new("/"), "", args).map(|(config, _)| config)
}

fn fails(args: &[&str]) -> String {
    load(args).expect_err("must be refused").to_string()
}

fn set(config: &mut Config, pairs: &[(&str, &str)]) -> Result<Vec<Changed>, String> {
    let pairs: Vec<(&[u8], &[u8])> = pairs
        .iter()
        .map(|(n, v)| (n.as_bytes(), v.as_bytes()))
        .collect();
    config.set(&pairs, true).map_err(|e| e.to_string())
}

fn all(config: &Config) -> BTreeMap<&'static str, String> {
    table()
        .iter()
        .map(|row| (row.name, config.get_one(row.name).unwrap()))
        .collect()
}

// ---- the table

#[test]
fn names_and_aliases_are_unique_and_lower_case() {
    let mut names: Vec<&str> = table()
        .iter()
        .flat_map(|d| std::iter::once(d.name).chain(d.alias))
        .collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    assert!(names.iter().all(|n| *n == n.to_ascii_lowercase()));
    assert!(
        table().iter().all(|row| row.doc.len() > 5),
        "every row has a doc"
    );
}

#[test]
fn what_has_an_effect_has_a_field_and_nothing_else_has() {
    for row in table() {
        let field = matches!(row.keep, Keep::Field { .. });
        let effect = matches!(row.standing, Standing::Real | Standing::Own);
        assert_eq!(field, effect, "{}", row.name);
    }
}

#[test]
fn defaults_are_in_range_and_both_ends_of_a_range_fit_the_field() {
    let mut config = Config::default();
    for row in table() {
        let ends = match row.kind {
            Kind::Int { min, max } | Kind::Memory { min, max } | Kind::Octal { min, max } => {
                let Value::Int(default) = row.default_value() else {
                    panic!("{}", row.name)
                };
                assert!((min..=max).contains(&default), "{}", row.name);
                vec![min, max]
            }
            Kind::MemoryOrPercent { max } => vec![-100, 0, max],
            _ => continue,
        };
        for end in ends {
            config.put(row, Value::Int(end));
            assert_eq!(config.value(row), Value::Int(end), "{}", row.name);
        }
    }
}

#[test]
fn every_default_is_shown_as_a_line_that_gives_it_again() {
    let config = Config::default();
    for row in table() {
        let value = config.value(row);
        let mut again = row.default_value();
        for (i, line) in row.lines(&value).into_iter().enumerate() {
            let words = words::split(line.as_bytes()).unwrap();
            let words: Vec<String> = words
                .into_iter()
                .skip(1)
                .map(|w| String::from_utf8(w).unwrap())
                .collect();
            again = row
                .parse(&Given {
                    words: &words,
                    old: &again,
                    again: i > 0,
                })
                .unwrap();
        }
        assert_eq!(again, value, "{}", row.name);
    }
}

#[test]
fn the_documents_list_is_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/CONFIG.md");
    let written = fs::read_to_string(path).unwrap();
    assert!(
        written == markdown(),
        "run: cargo run --bin holdfast -- config --markdown"
    );
}

#[test]
fn our_defaults_are_the_promised_ones() {
    let config = Config::default();
    assert_eq!(config.cluster_raft_election_timeout, 1000);
    assert_eq!(config.cluster_outcome_timeout, 5000);
    assert_eq!(config.held_output_limit, 64 << 20);
    assert_eq!(config.uncommitted_tail_limit, 64 << 20);
    assert_eq!(config.log_segment_size, 16 << 20);
    assert_eq!(config.appendfsync, AppendFsync::Always);
    assert!(config.cluster_raft_witness);
    assert!(config.cluster_allow_replica_migration);
    assert_eq!((config.port, config.bus_port()), (6379, 16379));
    assert_eq!(config.get_one("save").unwrap(), "");
    assert_eq!(config.get_one("appendonly").unwrap(), "no");
}

// ---- the command line

#[test]
fn options_in_all_their_forms() {
    let config = load(&[
        "--port",
        "7000",
        "--maxmemory 700mb",
        "--save",
        "",
        "--BIND",
        "127.0.0.1",
        "::1",
        "--cluster-enabled",
        "yes",
        "--requirepass",
        "a \"b\" 'c' \\",
        "--proc-title-template",
        "--my--title--template",
    ])
    .unwrap();
    assert_eq!(config.port, 7000);
    assert_eq!(
        config.get_one("maxmemory").unwrap(),
        (700 << 20).to_string()
    );
    assert_eq!(config.get_one("save").unwrap(), "");
    assert_eq!(config.bind, ["127.0.0.1", "::1"]);
    assert_eq!(config.requirepass, "a \"b\" 'c' \\");
    assert_eq!(
        config.get_one("proc-title-template").unwrap(),
        "--my--title--template"
    );
    assert_eq!(config.databases, 1, "cluster mode has one database");
}

#[test]
fn save_without_a_value_means_none() {
    for args in [
        &["--save"][..],
        &["--save", "--loglevel", "verbose"],
        &["--save", ""],
    ] {
        let config = load(args).unwrap();
        assert_eq!(config.get_one("save").unwrap(), "", "{args:?}");
    }
    let config = load(&["--save", "60 100", "--save", "30", "5"]).unwrap();
    assert_eq!(config.get_one("save").unwrap(), "60 100 30 5");
    let rule = |(seconds, changes)| SaveRule { seconds, changes };
    assert_eq!(config.save, [(60, 100), (30, 5)].map(rule));
    let config = load(&["--save", "60 100", "--save", "", "--save 1 2"]).unwrap();
    assert_eq!(config.get_one("save").unwrap(), "1 2");
}

#[test]
fn the_file_comes_first_then_stdin_then_options() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(
        dir.path().join("r.conf"),
        "port 1\ntimeout 1\nhz 11\n# port 9\n",
    )
    .unwrap();
    let args = ["r.conf", "--port", "3", "-"];
    let (config, loaded) = load_in(dir.path(), "port 2\ntimeout 2", &args).unwrap();
    assert_eq!((config.port, config.timeout, config.hz), (3, 2, 11));
    assert_eq!(
        config.file.as_deref(),
        Some(dir.path().join("r.conf").as_path())
    );
    assert!(!loaded.all_defaults);
    let (config, _) = load_in(dir.path(), "port 2", &["-", "--timeout", "5"]).unwrap();
    assert_eq!((config.port, config.timeout), (2, 5));
    assert!(load_in(dir.path(), "", &[]).unwrap().1.all_defaults);
}

#[test]
fn includes_are_read_where_they_stand_and_patterns_may_match_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let sub = dir.path().join("conf.d");
    fs::create_dir(&sub).unwrap();
    fs::write(sub.join("b.conf"), "port 12").unwrap();
    fs::write(sub.join("a.conf"), "port 11\ntimeout 7").unwrap();
    fs::write(
        dir.path().join("r.conf"),
        "port 1\ninclude conf.d/*.conf\ninclude none/*.conf\ninclude conf.d/[a].conf\n",
    )
    .unwrap();
    let (config, _) = load_in(dir.path(), "", &["r.conf"]).unwrap();
    assert_eq!((config.port, config.timeout), (11, 7));
    let missing = load_in(dir.path(), "", &["--include", "gone.conf"]).unwrap_err();
    assert_eq!(
        missing.to_string(),
        format!(
            "Fatal error, can't open config file '{}': No such file or directory",
            dir.path().join("gone.conf").display()
        )
    );
    fs::write(dir.path().join("loop.conf"), "include loop.conf\n").unwrap();
    let looped = load_in(dir.path(), "", &["loop.conf"])
        .unwrap_err()
        .to_string();
    assert!(
        looped.ends_with("Too many nested include directives"),
        "{looped}"
    );
}

#[test]
fn dir_moves_later_relative_paths_and_is_absolute() {
    let dir = tempfile::tempdir().unwrap();
    let base = fs::canonicalize(dir.path()).unwrap();
    fs::create_dir(base.join("data")).unwrap();
    fs::write(base.join("data/x.conf"), "port 5").unwrap();
    fs::write(base.join("r.conf"), "dir data\ninclude x.conf\n").unwrap();
    let (config, _) = load_in(&base, "", &["r.conf"]).unwrap();
    assert_eq!(config.dir, base.join("data"));
    assert_eq!(config.port, 5);
    assert_eq!(config.log_dir(), base.join("data/appendonlydir"));
}

#[test]
fn the_log_folder_follows_the_cluster_file_unless_given() {
    let name = |args: &[&str]| load(args).unwrap().appenddirname;
    let cluster = ["--cluster-enabled", "yes", "--cluster-config-file"];
    assert_eq!(name(&[]), "appendonlydir");
    assert_eq!(name(&cluster[..2]), "appendonlydir-nodes");
    assert_eq!(
        name(&[&cluster[..], &["nodes-30001.conf"]].concat()),
        "appendonlydir-nodes-30001"
    );
    assert_eq!(
        name(&[&cluster[..], &["/x/n7"]].concat()),
        "appendonlydir-n7"
    );
    assert_eq!(
        name(&[&cluster[..], &["n7", "--appenddirname", "mine"]].concat()),
        "mine"
    );
}

// ---- exact texts

fn at_line(line: usize, text: &str, reason: &str) -> String {
    format!(
        "\n*** FATAL CONFIG FILE ERROR (Redis 7.4.1) ***\n\
         Reading the configuration file, at line {line}\n>>> '{text}'\n{reason}"
    )
}

#[test]
fn fatal_errors_have_redis_s_texts() {
    let bad = "Bad directive or wrong number of arguments";
    for (args, text, reason) in [
        (&["--foo", "bar"][..], "foo \"bar\"", bad),
        (&["--invalid"], "invalid", bad),
        (&["--include"], "include", bad),
        (&["--port"], "port", "wrong number of arguments"),
        (
            &["--port", "1", "2"],
            "port \"1\" \"2\"",
            "wrong number of arguments",
        ),
        (
            &["--port", "x"],
            "port \"x\"",
            "argument couldn't be parsed into an integer",
        ),
        (
            &["--port", "65536"],
            "port \"65536\"",
            "argument must be between 0 and 65535 inclusive",
        ),
        (
            &["--maxmemory", "1x"],
            "maxmemory \"1x\"",
            "argument must be a memory value",
        ),
        (
            &["--maxmemory-clients", "101%"],
            "maxmemory-clients \"101%\"",
            "percentage argument must be less or equal to 100",
        ),
        (
            &["--daemonize", "x"],
            "daemonize \"x\"",
            "argument must be 'yes' or 'no'",
        ),
        (
            &["--loglevel", "x"],
            "loglevel \"x\"",
            "argument(s) must be one of the following: debug, verbose, notice, warning, nothing",
        ),
        (
            &["--unixsocketperm", "9"],
            "unixsocketperm \"9\"",
            "argument couldn't be parsed as an octal number",
        ),
        (
            &["--unixsocketperm", "1000"],
            "unixsocketperm \"1000\"",
            "argument must be between 0 and 777 inclusive",
        ),
        (&["--save", "1"], "save \"1\"", "Invalid save parameters"),
        (
            &["--dir", "/no/such"],
            "dir \"/no/such\"",
            "No such file or directory",
        ),
        (
            &["--port '"],
            "port '",
            "Unbalanced quotes in configuration line",
        ),
    ] {
        assert_eq!(fails(args), at_line(2, text, reason));
    }
}

#[test]
fn a_wrong_line_of_a_file_is_shown_with_its_number() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("r.conf"), "# c\n\n  foo bar\t\r\nport 1\n").unwrap();
    let error = load_in(dir.path(), "", &["r.conf"])
        .unwrap_err()
        .to_string();
    let reason = "Bad directive or wrong number of arguments";
    assert_eq!(error, at_line(3, "foo bar", reason));
    fs::write(dir.path().join("good.conf"), "port 1\n").unwrap();
    let error = load_in(dir.path(), "", &["good.conf", "--x"])
        .unwrap_err()
        .to_string();
    assert_eq!(error, at_line(3, "x", reason));
}

#[test]
fn what_would_be_unsafe_to_ignore_is_refused() {
    for args in [
        &["--aclfile", "users.acl"][..],
        &["--tls-port", "6380"],
        &["--tls-cluster", "yes"],
        &["--tls-replication", "yes"],
        &["--replicaof", "host", "6379"],
        &["--slaveof", "host 6379"],
        &["--rename-command", "FLUSHALL", ""],
        &["--user", "alice on nopass"],
        &["--loadmodule", "x.so"],
        &["--mod.option", "1"],
        &["--sentinel"],
        &["--sentinel", "monitor x"],
    ] {
        let error = fails(args);
        assert!(
            error.contains("Holdfast") || error.contains("sentinel"),
            "{args:?}: {error}"
        );
    }
    for args in [
        &["--aclfile", ""][..],
        &["--tls-port", "0"],
        &["--replicaof", "no one"],
    ] {
        load(args).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let ok = "user default on nopass sanitize-payload ~* &* +@all\n";
    load_in(dir.path(), ok, &["-"]).unwrap();
    load_in(
        dir.path(),
        "user default on nopass ~* &* +@all -flushall\n",
        &["-"],
    )
    .unwrap_err();
    load_in(dir.path(), "user default off nopass\n", &["-"]).unwrap_err();
    let mut config = Config::default();
    let error = set(&mut config, &[("tls-port", "1")]).unwrap_err();
    assert!(error.contains("(possibly related to argument 'tls-port') - Holdfast has no TLS"));
}

#[test]
fn cluster_mode_needs_a_bus_port_and_an_address() {
    let high = fails(&["--cluster-enabled", "yes", "--port", "60000"]);
    assert!(
        high.contains("Your Redis port number must be 55535 or less."),
        "{high}"
    );
    load(&[
        "--cluster-enabled",
        "yes",
        "--port",
        "60000",
        "--cluster-port",
        "7",
    ])
    .unwrap();
    let mute = fails(&["--cluster-enabled", "yes", "--bind", ""]);
    assert!(
        mute.ends_with("it is required for the Cluster bus."),
        "{mute}"
    );
}

#[test]
fn what_has_no_effect_is_said() {
    let (_, loaded) = load_in(
        Path::new("/"),
        "",
        &["--appendonly", "yes", "--io-threads", "1"],
    )
    .unwrap();
    assert_eq!(
        loaded.warnings,
        ["Accepted, but without effect here: appendonly"]
    );
}

// ---- CONFIG GET

#[test]
fn get_takes_names_patterns_and_aliases() {
    let config = Config::default();
    let names = |patterns: &[&[u8]]| -> Vec<String> {
        config
            .get(patterns)
            .into_iter()
            .map(|(name, _)| name.into_owned())
            .collect()
    };
    assert_eq!(names(&[b"PORT"]), ["PORT"], "as the client spelled it");
    assert_eq!(names(&[b"port", b"PORT", b"p?rt"]), ["port"]);
    assert_eq!(
        names(&[b"maxmemory-s*", b"nothing", b"\xff"]),
        ["maxmemory-samples"]
    );
    assert_eq!(names(&[b"slave-p*"]), ["slave-priority"]);
    assert_eq!(
        names(&[b"cluster-ping-interval"]),
        ["cluster-ping-interval"]
    );
    assert!(names(&[b"cluster-ping-*"]).is_empty(), "hidden");
    let everything = names(&[b"*"]);
    assert!(everything.len() > 190, "{}", everything.len());
    assert!(everything.contains(&"slave-priority".to_owned()));
}

#[test]
fn values_are_shown_as_redis_shows_them() {
    let config = load(&[
        "--maxmemory-clients",
        "5%",
        "--unixsocketperm",
        "700",
        "--notify-keyspace-events",
        "KEg$lshzxetd",
        "--shutdown-on-sigterm",
        "nosave now",
        "--oom-score-adj",
        "relative",
        "--client-output-buffer-limit",
        "replica 1mb 2k 3",
        "--latency-tracking-info-percentiles",
        "50.0 99.90",
    ])
    .unwrap();
    for (name, shown) in [
        ("maxmemory-clients", "5%"),
        ("unixsocketperm", "700"),
        ("notify-keyspace-events", "AKE"),
        ("shutdown-on-sigterm", "nosave now"),
        ("oom-score-adj", "yes"),
        (
            "client-output-buffer-limit",
            "normal 0 0 0 slave 1048576 2000 3 pubsub 33554432 8388608 60",
        ),
        ("latency-tracking-info-percentiles", "50 99.9"),
        ("bind", "* -::*"),
        ("proto-max-bulk-len", "536870912"),
    ] {
        assert_eq!(config.get_one(name).unwrap(), shown, "{name}");
    }
}

// ---- CONFIG SET

#[test]
fn set_changes_all_or_nothing() {
    let mut config = Config::default();
    let changed = set(&mut config, &[("timeout", "5"), ("maxclients", "10000")]).unwrap();
    assert_eq!(
        changed.iter().map(|c| c.name).collect::<Vec<_>>(),
        ["timeout"]
    );
    let before = all(&config);
    let error = set(&mut config, &[("timeout", "9"), ("tcp-keepalive", "x")]).unwrap_err();
    assert_eq!(
        error,
        "ERR CONFIG SET failed (possibly related to argument 'tcp-keepalive') - \
         argument couldn't be parsed into an integer"
    );
    assert_eq!(all(&config), before);
    config.restore(changed);
    assert_eq!(config.timeout, 0);
}

#[test]
fn set_errors_have_redis_s_texts() {
    let mut config = Config::default();
    let failed = |name: &str, reason: &str| {
        format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}")
    };
    for (pairs, error) in [
        (
            &[("nosuch", "1")][..],
            "ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'".to_owned(),
        ),
        (
            &[("Daemonize", "yes")],
            failed("Daemonize", "can't set immutable config"),
        ),
        (
            &[("dir", "/tmp")],
            failed("dir", "can't set protected config"),
        ),
        (
            &[("port", "1"), ("port", "2")],
            failed("port", "duplicate parameter"),
        ),
        (
            &[("slave-priority", "1"), ("replica-priority", "1")],
            failed("replica-priority", "duplicate parameter"),
        ),
        (
            &[("save", "1 2 3")],
            failed("save", "Invalid save parameters"),
        ),
        (
            &[("slave-priority", "-1")],
            failed(
                "replica-priority",
                "argument must be between 0 and 2147483647 inclusive",
            ),
        ),
        (&[("requirepass", "\u{0}")], String::new()),
    ] {
        match set(&mut config, pairs) {
            Ok(_) => assert_eq!(error, ""),
            Err(text) => assert_eq!(text, error),
        }
    }
    let not_text = config.set(&[(b"requirepass", b"\xff")], true).unwrap_err();
    assert_eq!(
        not_text.to_string(),
        failed("requirepass", "argument must be valid UTF-8")
    );
}

#[test]
fn a_nodename_may_have_spaces_as_in_redis() {
    let mut config = Config::default();
    let name = "cluster-announce-human-nodename";
    for good in ["rack 2", "rack,2", "a=b", "node_1/rack-2", "b\u{fc}ro", ""] {
        set(&mut config, &[(name, good)]).unwrap();
        assert_eq!(config.get_one(name).unwrap(), good);
    }
    for bad in ["a\nb", "rack#2", "rack:2", "<rack>", &"a".repeat(256)] {
        assert_eq!(
            set(&mut config, &[(name, bad)]).unwrap_err(),
            format!(
                "ERR CONFIG SET failed (possibly related to argument '{name}') - \
                 Announced human node name contained invalid character"
            ),
            "{bad:?}"
        );
    }
}

#[test]
fn percentiles_have_six_digits_at_most() {
    let mut config = Config::default();
    let name = "latency-tracking-info-percentiles";
    set(&mut config, &[(name, "0 50.0 99.12345678 100")]).unwrap();
    assert_eq!(config.get_one(name).unwrap(), "0 50 99.123457 100");
    let numbers: Vec<f64> = config.latency_percentiles().iter().map(|p| p.0).collect();
    assert_eq!(numbers, [0.0, 50.0, 99.123457, 100.0]);
    let failed = |reason: &str| {
        format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}")
    };
    let between = "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]";
    for (bad, why) in [
        (
            "nan",
            "Invalid latency-tracking-info-percentiles parameters",
        ),
        ("x", "Invalid latency-tracking-info-percentiles parameters"),
        ("-1", between),
        ("50 100.1", between),
    ] {
        assert_eq!(
            set(&mut config, &[(name, bad)]).unwrap_err(),
            failed(why),
            "{bad}"
        );
    }
    set(&mut config, &[(name, "")]).unwrap();
    assert!(config.latency_percentiles().is_empty());
}

#[test]
fn the_data_folder_stays_where_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["--enable-protected-configs", "local"];
    let (mut config, _) = load_in(dir.path(), "", &args).unwrap();
    let here = dir.path().to_str().unwrap().to_owned();
    assert_eq!(set(&mut config, &[("dir", &here)]).unwrap(), []);
    assert!(set(&mut config, &[("dir", "/")])
        .unwrap_err()
        .contains("can't change while"));
    assert_eq!(config.dir, dir.path());
    let far = config.set(&[(b"dbfilename", b"x.rdb")], false).unwrap_err();
    assert!(far.to_string().ends_with("can't set protected config"));
    config.set(&[(b"dbfilename", b"x.rdb")], true).unwrap();
}

#[test]
fn what_get_answers_set_accepts() {
    // Redis's test suite saves CONFIG GET * and sets it again around every test.
    let mut config = load(&["--enable-protected-configs", "yes"]).unwrap();
    let before = all(&config);
    for (name, value) in config.get(&[b"*"]) {
        let row = table()[table::find(&name).unwrap()];
        let result = config.set(&[(name.as_bytes(), value.as_bytes())], true);
        assert_eq!(result.is_err(), row.immutable, "{name}: {result:?}");
    }
    assert_eq!(all(&config), before);
}

#[test]
fn hz_is_held_to_its_range() {
    let mut config = load(&["--hz", "0"]).unwrap();
    assert_eq!(config.hz, 1);
    set(&mut config, &[("hz", "100000")]).unwrap();
    assert_eq!(config.hz, 500);
}

fn rewritten_text(config: &Config, old: &str) -> String {
    String::from_utf8(rewrite::rewritten(config, old.as_bytes())).unwrap()
}

// ---- properties

/// Some value of a row, as CONFIG SET would be given it.
fn some_value(row: &'static Directive) -> BoxedStrategy<String> {
    match &row.kind {
        Kind::Bool => prop_oneof![Just("yes".to_owned()), Just("no".to_owned())].boxed(),
        Kind::Int { min, max } | Kind::Memory { min, max } => {
            let max = (*max).min(i128::from(i64::MAX));
            (*min..=max).prop_map(|n| n.to_string()).boxed()
        }
        Kind::Octal { min, max } => (*min..=*max).prop_map(|n| format!("{n:o}")).boxed(),
        Kind::MemoryOrPercent { .. } => prop_oneof![
            (0..=100u8).prop_map(|n| format!("{n}%")),
            "[0-9]{1,6}(mb|kb|k|)"
        ]
        .boxed(),
        Kind::Enum(names) | Kind::Flags(names) => prop::sample::select(names.to_vec())
            .prop_map(str::to_owned)
            .boxed(),
        Kind::Special(_) => Just(row.default.to_owned()).boxed(),
        Kind::Text if row.name == "cluster-announce-ip" => Just("::1".to_owned()).boxed(),
        Kind::Text if row.check.is_some() => Just("name-1".to_owned()).boxed(),
        Kind::Text => ".{0,20}".boxed(),
    }
}

proptest! {
    #[test]
    fn quoted_words_split_into_themselves(words in prop::collection::vec(
        prop::collection::vec(any::<u8>(), 0..12), 0..6)) {
        let line: String = words.iter().map(|w| words::quote(w) + " ").collect();
        prop_assert_eq!(words::split(line.as_bytes()), Some(words));
    }

    #[test]
    fn splitting_any_bytes_never_panics(line in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = words::split(&line);
    }

    #[test]
    fn plain_words_split_at_blanks(words in prop::collection::vec("[a-z0-9.:*-]{1,8}", 0..6),
        blank in "[ \t]{1,3}") {
        let line = words.join(&blank);
        let expected: Vec<Vec<u8>> = words.iter().map(|w| w.as_bytes().to_vec()).collect();
        prop_assert_eq!(words::split(line.as_bytes()), Some(expected));
    }

    #[test]
    fn loading_any_text_gives_a_configuration_or_an_error(text in "(?s).{0,200}") {
        // `include` and `dir` may only meet paths that are not there.
        let _ = load_in(Path::new("/no/such/folder"), &text, &["-"]);
    }

    #[test]
    fn sizes_written_by_rewrite_are_read_back(n in 0..=u64::MAX) {
        let n = i128::from(n);
        prop_assert_eq!(value::memory(&value::memory_text(n)), Some(n));
        let even = n >> 30 << 30;
        prop_assert_eq!(value::memory(&value::memory_text(even)), Some(even));
    }

    #[test]
    fn integers_are_read_as_redis_reads_them(text in "-?[0-9+ ]{0,22}") {
        let canonical = text.parse::<i64>().ok().filter(|n| n.to_string() == text);
        prop_assert_eq!(value::integer(&text), canonical.map(i128::from));
    }

    /// What CONFIG SET took, CONFIG GET answers, REWRITE writes and the next start reads.
    #[test]
    fn a_set_value_survives_get_rewrite_and_load(
        (row, text) in prop::sample::select(table().to_vec())
            .prop_filter("settable", |d| !d.immutable && d.standing != Standing::Refused && d.fixed.is_none())
            .prop_filter("not the folder", |d| d.name != "dir")
            .prop_flat_map(|row| (Just(row), some_value(row)))
    ) {
        // With a port of 0 it has to listen somewhere else.
        let mut config = load(&["--enable-protected-configs", "yes", "--unixsocket", "s"]).unwrap();
        set(&mut config, &[(row.name, &text)]).unwrap();
        let file = rewritten_text(&config, "# head\n");
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("r.conf"), &file).unwrap();
        let (again, _) = load_in(dir.path(), "", &["r.conf"]).unwrap();
        prop_assert_eq!(all(&again), all(&config));
    }
}
