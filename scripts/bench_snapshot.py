#!/usr/bin/env python3
"""`scripts/bench.sh snapshot`: what snapshots cost, and what a start and a new replica take, beside Redis.

Each figure is a function below, and stands in one line or a few of what is printed:

  bgsave    BGSAVE of all keys while SETs come at half of the maximum: its time, the load's p99 with and without it, our
            longest turn (Redis's fork), the memory that it takes beside the keys (Redis: what fork copied)
  start     from exec to the first answer, of the same file for both
  tail      kill -9 with a log of 1 GB behind the last snapshot: from exec to the first answer
  replica   a new replica of all keys at a master under load, `repl-snapshot-rate 64mb` (Redis: as fast as it can): until it
            has them, and the load's p99 meanwhile
  one-key   3,000,000 SETs of one key of 200 bytes with automatic rewriting: the folder 5 s later

All of a server's threads and children have core 0; the load, and the replica, core 1. The replica's disk is memory. Numbers are medians of the rounds.
"""

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from bench_members import free_port
from bench_server import (
    CLIENTS, LOAD_CORE, VALUE_BYTES, Load, Server, compiled, is_holdfast, parser_of, say, settle, until,
)

FULL = 5_000_000
ONE_KEY_FOLDER = 260_000_000
SLOTS = 16_384
NEAR = 200  # entries
NOISE = os.urandom(1 << 20)
FIGURES = ("bgsave", "start", "tail", "replica", "one-key")
# A replica is another machine: where its disk is the master's, each of that one's syncs waits for what the replica writes.
OTHER_DISK = "/dev/shm"
# Seconds: a snapshot of millions of keys, and a replica that gets it.
PATIENCE = 600


def value_of(number):
    """Values that LZF makes nothing of."""
    start = number * 64 % (len(NOISE) - VALUE_BYTES)
    return NOISE[start:start + VALUE_BYTES]


def set_all(server, numbers, value=value_of):
    """SETs of these keys, in pipelines; Python's cost for each is a microsecond."""
    client = server.client()
    head = b"*3\r\n$3\r\nSET\r\n$16\r\nkey:%012d\r\n$%d\r\n"
    for first in range(0, len(numbers), 5000):
        part = numbers[first:first + 5000]
        parts = []
        for n in part:
            body = value(n)
            parts += (head % (n, len(body)), body, b"\r\n")
        client.socket.sendall(b"".join(parts))
        left = 5 * len(part)
        while left:
            got = client.file.read(min(left, 1 << 16))
            if not got or b"-" in got:
                raise SystemExit(f"bench: a SET was answered {got[:100]}")
            left -= len(got)


def benchmark(server, *arguments):
    """What redis-benchmark says of SETs."""
    command = ["taskset", "-c", LOAD_CORE, "redis-benchmark", "-p", server.port, "-t", "set", "-c", CLIENTS, *arguments]
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=True).stdout


def most(server, options):
    """SETs a second of redis-benchmark, without pipelines."""
    out = benchmark(server, "-n", options.requests, "-d", VALUE_BYTES, "-r", options.keys, "--csv")
    rows = [line for line in out.splitlines() if line.startswith('"SET"')]
    return float(rows[0].split(",")[1].strip('"'))


class Peak:
    """The most memory that a process has while this lives."""

    def __init__(self, server):
        self.server, self.before = server, server.rss()
        self.most, self.ends = self.before, threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()

    def watch(self):
        while not self.ends.wait(0.05):
            self.most = max(self.most, self.server.rss())

    def extra(self):
        self.ends.set()
        self.thread.join()
        return self.most - self.before


def quiet(options, server, rate):
    load = Load(options.load, server, rate, options.keys)
    time.sleep(options.quiet)
    return load.end()


def bgsave_once(options, server, rate):
    """One BGSAVE under load; what it took, and what it did to the load."""
    before = quiet(options, server, rate)
    client = server.client()
    client.cmd("CONFIG", "RESETSTAT")
    peak = Peak(server)
    load = Load(options.load, server, rate, options.keys)
    time.sleep(0.2)
    began = time.monotonic()
    client.cmd("BGSAVE")
    while server.info("rdb_bgsave_in_progress") != "0":
        time.sleep(0.02)
    seconds = time.monotonic() - began
    during = load.end()
    if server.info("rdb_last_bgsave_status") != "ok":
        raise SystemExit("bench: BGSAVE failed")
    found = {
        "seconds": seconds, "quiet": before, "during": during, "extra_bytes": peak.extra(),
        "file_bytes": os.path.getsize(os.path.join(server.folder, "dump.rdb")),
    }
    if server.is_ours:
        found["turn_max_usec"] = int(server.info("raft_turn_max_usec"))
    else:
        found["fork_usec"] = int(server.info("latest_fork_usec"))
        found["cow_bytes"] = int(server.info("rdb_last_cow_size"))
    settle([server])
    return found


def started(options, name, folder, *extra, **more):
    binary = options.binary if name == "ours" else options.against
    server = Server(binary, folder, extra=extra, **more)
    server.is_ours = is_holdfast(binary)
    return server


def bgsave(options, base):
    servers = {}
    for name in ("reference", "ours"):
        servers[name] = started(options, name, os.path.join(base, f"bgsave-{name}"))
        set_all(servers[name], range(options.keys))
    settle(servers.values())
    rate = options.rate or int(min(most(server, options) for server in servers.values()) / 2)
    settle(servers.values())
    say(f"bgsave: {options.keys:,} keys, {rate:,} SETs a second")
    runs = {name: [] for name in servers}
    for round in range(options.rounds):
        for name in servers if round % 2 == 0 else reversed(servers):
            runs[name].append(bgsave_once(options, servers[name], rate))
    for server in servers.values():
        server.remove()
    for name, found in runs.items():
        middle = lambda read: statistics.median(read(run) for run in found)
        pause = "turn_max_usec" if "turn_max_usec" in found[0] else "fork_usec"
        cow = f"   fork copied {middle(lambda r: r['cow_bytes']) / 1e6:,.0f} MB" if pause == "fork_usec" else ""
        say(
            f"  {name:9} {middle(lambda r: r['seconds']):6.2f} s for {found[0]['file_bytes'] / 1e6:,.0f} MB   "
            f"p99 {middle(lambda r: r['quiet']['p99']):.2f} -> {middle(lambda r: r['during']['p99']):.2f} ms   "
            f"p99.9 {middle(lambda r: r['quiet']['p999']):.2f} -> {middle(lambda r: r['during']['p999']):.2f}   "
            f"max {middle(lambda r: r['during']['max']):.1f}   {'longest turn' if pause[0] == 't' else 'fork'} "
            f"{middle(lambda r: r[pause]) / 1000:.2f} ms   memory +{middle(lambda r: r['extra_bytes']) / 1e6:,.0f} MB{cow}"
        )
    return {"rate": rate, **runs}


def restarted(server):
    """kill -9, and the time from exec to the first answer."""
    server.kill()
    began = time.monotonic()
    server.start()
    return time.monotonic() - began


def start(options, base):
    ours = started(options, "ours", os.path.join(base, "start-ours"))
    set_all(ours, range(options.keys))
    ours.client().cmd("SAVE")
    folder = os.path.join(base, "start-reference")
    os.makedirs(folder)
    shutil.copy(os.path.join(ours.folder, "dump.rdb"), folder)
    size = os.path.getsize(os.path.join(folder, "dump.rdb"))
    reference = started(options, "reference", folder, "--appendonly", "no")
    runs = {"reference": [], "ours": []}
    for round in range(options.rounds):
        for name in runs if round % 2 == 0 else reversed(runs):
            server = ours if name == "ours" else reference
            runs[name].append(restarted(server))
            if server.client().cmd("DBSIZE") != options.keys:
                raise SystemExit(f"bench: {name} does not have all keys")
    ours.remove()
    reference.remove()
    times = {name: statistics.median(found) for name, found in runs.items()}
    ratio = times["ours"] / times["reference"]
    say(f"start: {options.keys:,} keys, {size / 1e6:,.0f} MB   reference {times['reference']:.2f} s   ours {times['ours']:.2f} s   ratio {ratio:.2f}")
    return runs


def log_bytes(server):
    return int(server.info("aof_current_size"))


def tail(options, base):
    """The log is that of keys written again and again: values of 200 bytes."""
    runs, sizes = {}, {}
    goal = int(1e9 * options.keys / FULL)
    keys = options.keys // 5
    value = lambda n: (value_of(n) * 4)[:200]
    for name in ("reference", "ours"):
        server = started(options, name, os.path.join(base, f"tail-{name}"))
        while log_bytes(server) < goal:
            set_all(server, range(keys), value)
        sizes[name] = log_bytes(server)
        time.sleep(2.2)  # the log is synced every second
        runs[name] = [restarted(server) for _ in range(options.rounds)]
        if server.client().cmd("DBSIZE") != keys:
            raise SystemExit(f"bench: {name} does not have all keys")
        server.remove()
    took = lambda name: f"{name} {sizes[name] / 1e6:,.0f} MB of log in {statistics.median(runs[name]):.2f} s"
    say(f"tail: {keys:,} keys   " + "   ".join(map(took, runs)))
    return {**runs, "log_bytes": sizes}


def attached(replica, master, keys):
    """Whether it has all keys, and is as far as replicas under load are."""
    if replica.info("loading") != "0" or not (replica.info("db0") or "").startswith(f"keys={keys},"):
        return False
    if not master.is_ours:
        return replica.info("master_link_status") == "up"
    return int(replica.info("raft_applied")) + NEAR > int(master.info("raft_commit"))


def replica_once(options, base, name):
    extra = ["--repl-diskless-sync-delay", "0"]
    if name == "ours":
        extra = ["--cluster-enabled", "yes", "--repl-snapshot-rate", "64mb"]
    master = started(options, name, os.path.join(base, f"replica-{name}-0"), *extra, port=free_port())
    own_disk = tempfile.mkdtemp(dir=OTHER_DISK)
    replica = started(options, name, own_disk, *extra, port=free_port(), core=LOAD_CORE)
    client = master.client()
    if master.is_ours:
        client.cmd("CLUSTER", "ADDSLOTSRANGE", 0, SLOTS - 1)
        client.cmd("CLUSTER", "MEET", "127.0.0.1", replica.port)
        for node in (master, replica):
            until("cluster_state:ok", lambda: b"cluster_state:ok" in node.client().cmd("CLUSTER", "INFO"))
    set_all(master, range(options.keys))
    if master.is_ours:
        # What the log has a replica would get from the log.
        client.cmd("BGREWRITEAOF")
        wait_for("a snapshot", lambda: master.info("aof_rewrite_in_progress") == "0" and master.info("raft_snapshot_index") != "1")
    settle([master])
    before = quiet(options, master, options.replica_rate)
    load = Load(options.load, master, options.replica_rate, options.keys)
    began = time.monotonic()
    if master.is_ours:
        replica.client().cmd("CLUSTER", "REPLICATE", client.cmd("CLUSTER", "MYID"))
    else:
        replica.client().cmd("REPLICAOF", "127.0.0.1", master.port)
    wait_for("the replica has all keys", lambda: attached(replica, master, options.keys))
    seconds = time.monotonic() - began
    during = load.end()
    master.remove()
    replica.remove()
    return {"seconds": seconds, "quiet": before, "during": during}


def replica(options, base):
    runs = {}
    say(f"replica: {options.keys:,} keys, {options.replica_rate:,} SETs a second")
    for name in ("reference", "ours"):
        runs[name] = found = replica_once(options, base, name)
        say(
            f"  {name:9} {found['seconds']:6.2f} s   p99 {found['quiet']['p99']:.2f} -> {found['during']['p99']:.2f} ms   "
            f"p99.9 {found['quiet']['p999']:.2f} -> {found['during']['p999']:.2f}   max {found['during']['max']:.1f}"
        )
    return runs


def wait_for(what, condition):
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            if condition():
                return
        except (OSError, RuntimeError, ValueError, TypeError):
            pass  # it loads
        if time.monotonic() > deadline:
            raise SystemExit(f"bench: not within {PATIENCE} s: {what}")
        time.sleep(0.05)


def bytes_of(folder):
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.path.getsize(os.path.join(path, name))
            except FileNotFoundError:
                pass
    return total


def one_key(options, base):
    sizes = {}
    for name in ("reference", "ours"):
        server = started(options, name, os.path.join(base, f"one-key-{name}"), "--auto-aof-rewrite-percentage", "100")
        benchmark(server, "-n", options.sets, "-d", 200, "-P", 16, "-q")
        time.sleep(5)
        sizes[name] = bytes_of(os.path.join(server.folder, "appendonlydir"))
        server.remove()
    found = "   ".join(f"{name} {size / 1e6:,.0f} MB" for name, size in sizes.items())
    say(f"one-key: {options.sets:,} SETs   {found}   goal {ONE_KEY_FOLDER / 1e6:,.0f}")
    return sizes


def arguments():
    parser = parser_of("snapshot", __doc__)
    parser.add_argument("--keys", type=int, default=FULL, help=f"of 16 bytes with values of 64 (default: {FULL:,}); the tail's log is in proportion")
    parser.add_argument("--sets", type=int, default=3_000_000, help="of the one key (default: 3,000,000)")
    parser.add_argument("--rate", type=int, help="SETs a second beside BGSAVE (default: half of what the slower of the two can do)")
    parser.add_argument("--replica-rate", type=int, default=5_000, help="SETs a second beside a new replica, which has the load's core (default: 5,000)")
    parser.add_argument("--requests", type=int, default=500_000, help="of the run that finds the maximum (default: 500,000)")
    parser.add_argument("--quiet", type=float, default=10, help="seconds of the load alone (default: 10)")
    parser.add_argument("--rounds", type=int, default=3, help="of BGSAVE and of each start (default: 3)")
    parser.add_argument("--only", metavar="FIGURE[,FIGURE]", default=",".join(FIGURES), help="these alone: " + ", ".join(FIGURES))
    parser.add_argument("--quick", action="store_true", help="200,000 keys, 200,000 SETs, short: to try it, not to quote")
    options = parser.parse_args()
    if options.quick:
        options.keys, options.sets, options.requests, options.quiet = 200_000, 200_000, 50_000, 2
    options.only = options.only.split(",")
    if unknown := set(options.only) - set(FIGURES):
        parser.error(f"no such figure: {', '.join(unknown)}")
    return options


def main():
    options = arguments()
    if shutil.which(options.against) is None or shutil.which(options.binary) is None:
        raise SystemExit(f"bench: {options.against} or {options.binary} is missing")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.makedirs(options.out, exist_ok=True)
    base = tempfile.mkdtemp(prefix="run-", dir=options.out)
    options.load = compiled("bench_load", base)
    functions = dict(zip(FIGURES, (bgsave, start, tail, replica, one_key)))
    results = {}
    try:
        for name in options.only:
            results[name] = functions[name](options, base)
    finally:
        shutil.rmtree(base, ignore_errors=True)
    path = os.path.join(options.out, "latest-snapshot.json")
    with open(path, "w") as file:
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        json.dump({"when": when, "options": vars(options), "figures": results}, file, indent=1)
    say(f"JSON: {path}")
    full = options.sets >= 3_000_000 and "one-key" in results
    if full and results["one-key"]["ours"] > ONE_KEY_FOLDER:
        say("goals missed: the folder of one key")
    return 0


if __name__ == "__main__":
    sys.exit(main())
