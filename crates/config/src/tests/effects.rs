//! What is said and refused of directives that have no effect, or that leave nobody to serve.

use super::*;

#[test]
fn effects_that_matter_are_not_promised() {
    let mut config = load(&["--maxmemory", "1gb", "--min-slaves-to-write", "1"]).unwrap();
    for (name, value) in [("maxmemory", "2gb"), ("min-replicas-to-write", "2")] {
        let error = set(&mut config, &[("timeout", "9"), (name, value)]).unwrap_err();
        assert!(
            error.contains(&format!("'{name}') - Holdfast does not")),
            "{error}"
        );
    }
    assert_eq!(config.timeout, 0);
    // What is so already, and the default, may be set.
    set(&mut config, &[("maxmemory", "1gb")]).unwrap();
    set(
        &mut config,
        &[("maxmemory", "0"), ("min-replicas-to-write", "0")],
    )
    .unwrap();
    assert_eq!(config.get_one("maxmemory").unwrap(), "0");
}

#[test]
fn output_limits_are_kept_by_class() {
    let limits = |config: &Config| config.client_output_buffer_limit;
    let limit = |hard, soft, seconds| OutputLimit {
        hard,
        soft,
        seconds,
    };
    let mut config = load(&["--client-output-buffer-limit", "normal 1mb 2kb 3"]).unwrap();
    assert_eq!(limits(&config).normal, limit(1 << 20, 2 << 10, 3));
    assert_eq!(limits(&config).pubsub, limit(32 << 20, 8 << 20, 60));
    set(
        &mut config,
        &[("client-output-buffer-limit", "pubsub 5 0 0 replica 6 7 8")],
    )
    .unwrap();
    assert_eq!(limits(&config).pubsub, limit(5, 0, 0));
    assert_eq!(limits(&config).replica, limit(6, 7, 8));
    assert_eq!(limits(&config).normal, limit(1 << 20, 2 << 10, 3));
}

#[test]
fn a_server_that_listens_nowhere_is_refused() {
    for args in [&["--port", "0"][..], &["--bind", ""]] {
        let error = fails(args);
        assert!(
            error.contains("Configured to not listen anywhere, exiting."),
            "{error}"
        );
        load(&[args, &["--unixsocket", "s"]].concat()).unwrap();
    }
    let long = "s".repeat(108);
    let error = fails(&["--unixsocket", &long]);
    assert!(
        error.ends_with("unix socket path too long (108), must be under 108"),
        "{error}"
    );
    load(&["--unixsocket", &long[1..]]).unwrap();
}
