//! INFO's sections about the process: server, clients, memory, stats, cpu, commandstats,
//! latencystats, errorstats.
//!
//! Owns: field names and their formats (Redis's, where the field means something here). Never:
//! measures (the host hands over what it knows).

use super::super::api::IoView;
use super::super::env::Env;
use super::super::session::Session;
use super::super::stats::CommandStats;
use super::report::Report;
use config::REDIS_VERSION;
use pubsub::SubscriptionKind;

pub fn server(report: &mut Report, env: &Env<'_>) {
    let config = env.server.config();
    let process = env.server.process();
    let up = env.now.mono.since(process.started).as_secs();
    let micros = env.server.unix_micros();
    report.line("redis_version", REDIS_VERSION);
    report.line("holdfast_version", process.build.version);
    report.line("redis_git_sha1", process.build.git_sha1);
    report.line("redis_git_dirty", process.build.git_dirty);
    report.line("redis_build_id", process.build.id);
    report.line(
        "redis_mode",
        if config.cluster_enabled {
            "cluster"
        } else {
            "standalone"
        },
    );
    report.line("os", &process.os);
    report.line("arch_bits", usize::BITS);
    report.line("monotonic_clock", "POSIX clock_gettime");
    report.line("multiplexing_api", "epoll");
    // What Redis says where the compiler is another than GCC.
    report.line("atomicvar_api", "c11-builtin");
    report.line("gcc_version", "0.0.0");
    report.line("process_id", std::process::id());
    report.line("process_supervised", process.supervised);
    report.line("run_id", &process.run_id);
    report.line("tcp_port", config.port);
    report.line("server_time_usec", micros);
    report.line("uptime_in_seconds", up);
    report.line("uptime_in_days", up / 86_400);
    report.line("hz", config.hz);
    report.line("configured_hz", config.hz);
    // Redis's clock of key use: seconds in 24 bits.
    report.line("lru_clock", micros / 1_000_000 % (1 << 24));
    report.line("executable", &process.executable);
    let file = config
        .file
        .as_deref()
        .map(|path| path.display().to_string());
    report.line("config_file", file.unwrap_or_default());
    report.line("io_threads_active", 0);
    // A kind of listener has its number also where the others are none.
    if config.port != 0 {
        let binds: String = config.bind.iter().map(|a| format!(",bind={a}")).collect();
        report.raw(format_args!(
            "listener0:name=tcp{binds},port={}",
            config.port
        ));
    }
    if !config.unixsocket.is_empty() {
        report.raw(format_args!(
            "listener1:name=unix,bind={}",
            config.unixsocket
        ));
    }
}

/// Calls `see` for every client, the own one too.
fn each_client(env: &Env<'_>, see: &mut dyn FnMut(&Session, &IoView)) {
    see(env.session, &env.server.own_io());
    env.server
        .for_each_client(&mut |client| see(client.session, &client.io));
}

pub fn clients(report: &mut Report, env: &Env<'_>) {
    let (mut all, mut blocked, mut watching, mut watched) = (0, 0, 0, 0);
    let mut listening = 0;
    let (mut input, mut output) = (0, 0);
    each_client(env, &mut |session, io| {
        all += usize::from(!session.downloads());
        blocked += usize::from(io.blocked);
        listening += usize::from(session.subscriptions.any());
        watching += usize::from(!session.watches.is_empty());
        watched += session.watches.len();
        input = input.max(io.query_buffer);
        output = output.max(io.output_bytes);
    });
    report.line("connected_clients", all);
    report.line("cluster_connections", 0);
    report.line("maxclients", env.server.config().maxclients);
    report.line("client_recent_max_input_buffer", input);
    report.line("client_recent_max_output_buffer", output);
    report.line("blocked_clients", blocked);
    report.line("tracking_clients", 0);
    report.line("pubsub_clients", listening);
    report.line("watching_clients", watching);
    report.line("clients_in_timeout_table", 0);
    report.line("total_watched_keys", watched);
    report.line("total_blocking_keys", env.data.awaited_keys());
    report.line("total_blocking_keys_on_nokey", 0);
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

pub fn memory(report: &mut Report, env: &Env<'_>) {
    let m = env.server.process().memory;
    let percent = |part, whole| format!("{:.2}%", ratio(part, whole) * 100.0);
    let dataset = m.used.saturating_sub(m.startup);
    let mut of_clients = 0;
    each_client(env, &mut |_, io| of_clients += io.total_memory);
    report.bytes("used_memory", m.used);
    report.bytes("used_memory_rss", m.rss);
    report.bytes("used_memory_peak", m.peak);
    report.line("used_memory_peak_perc", percent(m.used, m.peak));
    report.line("used_memory_startup", m.startup);
    report.line("used_memory_dataset", dataset);
    report.line("used_memory_dataset_perc", percent(dataset, m.used));
    report.line("allocator_allocated", m.used);
    report.line("allocator_active", m.active);
    report.line("allocator_resident", m.resident);
    report.bytes("total_system_memory", m.system);
    let config = env.server.config();
    let limit = config
        .get_one("maxmemory")
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    report.bytes("maxmemory", limit);
    report.line(
        "maxmemory_policy",
        config.get_one("maxmemory-policy").unwrap_or_default(),
    );
    // Each pair: how much more memory one layer holds than the layer above it asked for.
    let mut overhead = |ratio_name: &str, bytes_name: &str, above: u64, below: u64| {
        report.line(ratio_name, format_args!("{:.2}", ratio(below, above)));
        report.line(bytes_name, i128::from(below) - i128::from(above));
    };
    overhead(
        "allocator_frag_ratio",
        "allocator_frag_bytes",
        m.used,
        m.active,
    );
    overhead(
        "allocator_rss_ratio",
        "allocator_rss_bytes",
        m.active,
        m.resident,
    );
    overhead(
        "rss_overhead_ratio",
        "rss_overhead_bytes",
        m.resident,
        m.rss,
    );
    overhead(
        "mem_fragmentation_ratio",
        "mem_fragmentation_bytes",
        m.used,
        m.rss,
    );
    report.line("mem_clients_normal", of_clients);
    report.line("mem_allocator", "jemalloc");
    report.line("active_defrag_running", 0);
    report.line("lazyfree_pending_objects", 0);
    report.line("lazyfreed_objects", 0);
}

pub fn stats(report: &mut Report, env: &Env<'_>) {
    let stats = env.server.stats();
    let data = env.data.counters();
    let rates = env.server.process().rates;
    let kilobytes = |per_second: u64| format!("{:.2}", per_second as f64 / 1024.0);
    report.line("total_connections_received", stats.connections_received);
    report.line("total_commands_processed", stats.commands_processed);
    report.line("instantaneous_ops_per_sec", rates.commands);
    report.line("total_net_input_bytes", stats.net_input_bytes);
    report.line("total_net_output_bytes", stats.net_output_bytes);
    report.line("instantaneous_input_kbps", kilobytes(rates.input_bytes));
    report.line("instantaneous_output_kbps", kilobytes(rates.output_bytes));
    report.line("rejected_connections", stats.connections_rejected);
    report.line("sync_full", stats.downloads);
    report.line("sync_partial_ok", 0);
    report.line("sync_partial_err", stats.failed_continuations);
    report.line("expired_subkeys", data.expired_fields);
    report.line("expired_keys", data.expired);
    report.line("evicted_keys", 0);
    report.line("evicted_clients", 0);
    report.line("keyspace_hits", data.hits);
    report.line("keyspace_misses", data.misses);
    let pubsub = env.server.pubsub();
    report.line("pubsub_channels", pubsub.len(SubscriptionKind::Channel));
    report.line("pubsub_patterns", pubsub.len(SubscriptionKind::Pattern));
    report.line("pubsubshard_channels", pubsub.len(SubscriptionKind::Shard));
    report.line("latest_fork_usec", 0);
    report.line("total_forks", 0);
    report.line("migrate_cached_sockets", env.server.outside_connections());
    report.line("unexpected_error_replies", 0);
    report.line("total_error_replies", stats.error_replies);
    report.line(
        "client_output_buffer_limit_disconnections",
        stats.output_limit_disconnections,
    );
}

pub fn cpu(report: &mut Report, env: &Env<'_>) {
    let cpu = env.server.process().cpu;
    let mut seconds = |name: &str, micros: u64| {
        report.line(
            name,
            format_args!("{}.{:06}", micros / 1_000_000, micros % 1_000_000),
        );
    };
    seconds("used_cpu_sys", cpu.system_us);
    seconds("used_cpu_user", cpu.user_us);
    seconds("used_cpu_sys_children", 0);
    seconds("used_cpu_user_children", 0);
    seconds("used_cpu_sys_main_thread", cpu.loop_system_us);
    seconds("used_cpu_user_main_thread", cpu.loop_user_us);
}

pub fn commandstats(report: &mut Report, env: &Env<'_>) {
    let stats = env.server.stats();
    for command in env.commands.all() {
        let of = stats.commands[command.id.index()];
        let CommandStats {
            calls,
            usec,
            rejected,
            failed,
        } = of;
        if calls + rejected + failed > 0 {
            report.raw(format_args!(
                "cmdstat_{}:calls={calls},usec={usec},usec_per_call={:.2},\
                 rejected_calls={rejected},failed_calls={failed}",
                command.spec.full_name,
                ratio(usec, calls)
            ));
        }
    }
}

pub fn latencystats(report: &mut Report, env: &Env<'_>) {
    let config = env.server.config();
    if !config.latency_tracking {
        return;
    }
    let percents = config.latency_percentiles();
    for command in env.commands.all() {
        let histogram = &env.server.stats().latencies[command.id.index()];
        if histogram.is_empty() {
            continue;
        }
        let of = |(percent, name): &(f64, String)| {
            let usec = histogram.percentile(*percent) as f64 / 1000.0;
            format!("p{name}={usec:.3}")
        };
        let all: Vec<String> = percents.iter().map(of).collect();
        report.raw(format_args!(
            "latency_percentiles_usec_{}:{}",
            command.spec.full_name,
            all.join(",")
        ));
    }
}

pub fn errorstats(report: &mut Report, env: &Env<'_>) {
    for (code, count) in &env.server.stats().errors {
        // DEBUG ERROR can make up any code; what would break the report's lines is replaced.
        let code: String = String::from_utf8_lossy(code)
            .chars()
            .map(|c| {
                if matches!(c, '#' | ':' | '\n' | '\r') {
                    '_'
                } else {
                    c
                }
            })
            .collect();
        report.raw(format_args!("errorstat_{code}:count={count}"));
    }
}
