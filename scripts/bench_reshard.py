#!/usr/bin/env python3
"""`scripts/bench.sh reshard`: slots move under load, in a cluster of ours and in one of Redis.

Three masters without replicas, all with the same command line; `redis-cli --cluster reshard` of the
packaged Redis moves slots from the first to the second, with its defaults; ours also with
`cluster-migrate-ahead yes`. First with a log that is
synced before each answer (`appendfsync always`), then with one that is synced every second. The masters
have core 0; the load and redis-cli have core 1.

The load is at a fixed rate: GET and SET by turns, on random keys, each at its own moment; what is late
counts from that moment. It follows MOVED and ASK and tries again on TRYAGAIN, as clients do; these are
counted. The same load runs first with no move: what is compared is the p99 of both.
"""

import binascii
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from bench_members import free_port
from bench_server import LOAD_CORE, VALUE_BYTES, Client, Server, parser_of, say, until

SLOTS = 16_384
# Ours to Redis's, moving with appendfsync always; the p99 during the move to the one without.
GOAL_TIME = {"ours": 1.0, "ahead": 0.5}
GOAL_P99 = 2.0
NAMES = ("reference", "ours", "ahead")
POLICIES = ("always", "everysec")


def slot_of(key):
    """CRC16, as the cluster has it; no key of this bench has a tag."""
    return binascii.crc_hqx(key, 0) % SLOTS


def key_of(number):
    return b"key:%012d" % number


class Masters:
    """Three nodes in one cluster."""

    def __init__(self, binary, folder, policy, extra):
        self.folder = folder
        self.nodes = [
            Server(
                binary, os.path.join(folder, str(n)), appendfsync=policy, port=free_port(),
                extra=["--cluster-enabled", "yes", "--cluster-node-timeout", "15000", *extra],
            )
            for n in range(3)
        ]
        try:
            self.form()
        except BaseException:
            self.remove()
            raise

    def form(self):
        addresses = [f"127.0.0.1:{node.port}" for node in self.nodes]
        self.cli("create", *addresses, "--cluster-yes")
        for node in self.nodes:
            until("cluster_state:ok", lambda: b"cluster_state:ok" in node.client().cmd("CLUSTER", "INFO"))
        self.ids = [node.client().cmd("CLUSTER", "MYID").decode() for node in self.nodes]

    def cli(self, *arguments):
        """redis-cli --cluster on the load's core; its time."""
        began = time.monotonic()
        command = ["taskset", "-c", LOAD_CORE, "redis-cli", "--cluster", *arguments]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"bench: {' '.join(command)} failed: {done.stdout[-2000:]}{done.stderr}")
        return time.monotonic() - began

    def reshard(self, source, target, slots):
        return self.cli(
            "reshard", f"127.0.0.1:{self.nodes[0].port}", "--cluster-from", self.ids[source],
            "--cluster-to", self.ids[target], "--cluster-slots", str(slots), "--cluster-yes",
        )

    def owners(self):
        """slot -> port."""
        owners = {}
        for first, last, master in (row[:3] for row in self.nodes[0].client().cmd("CLUSTER", "SLOTS")):
            owners.update((slot, master[1]) for slot in range(first, last + 1))
        return owners

    def fill(self, keys):
        owners = self.owners()
        clients = {node.port: node.client() for node in self.nodes}
        value = b"v" * VALUE_BYTES
        for first in range(0, keys, 6000):
            parts = {port: [] for port in clients}
            for number in range(first, min(first + 6000, keys)):
                key = key_of(number)
                parts[owners[slot_of(key)]].append(("SET", key, value))
            for port, commands in parts.items():
                clients[port].pipeline(commands)

    def sizes(self):
        return sum(node.client().cmd("DBSIZE") for node in self.nodes)

    def remove(self):
        for node in self.nodes:
            node.remove()
        shutil.rmtree(self.folder, ignore_errors=True)


class Load:
    """Threads of this process that ask at a fixed rate, as one cluster client each."""

    def __init__(self, cluster, keys, rate, threads=4):
        self.owners, self.keys = cluster.owners(), keys
        self.ports = [node.port for node in cluster.nodes]
        self.stop = threading.Event()
        self.lock = threading.Lock()
        self.samples = []  # (when it was due, how long it took)
        self.counts = {"moved": 0, "ask": 0, "tryagain": 0, "errors": 0}
        self.first_errors = []
        self.threads = [threading.Thread(target=self.run, args=(n, rate / threads)) for n in range(threads)]
        for thread in self.threads:
            thread.start()

    def run(self, seed, rate):
        chance = random.Random(seed)
        clients = {port: Client(port) for port in self.ports}
        due, mine, n = time.monotonic() + chance.random() / rate, [], 0
        while not self.stop.is_set():
            wait = due - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            key = key_of(chance.randrange(self.keys))
            n += 1
            words = ("GET", key) if n % 2 else ("SET", key, b"w" * VALUE_BYTES)
            try:
                self.ask(clients, key, words)
            except (RuntimeError, OSError) as why:
                self.note("errors")
                self.first_errors.append(str(why))
            mine.append((due, time.monotonic() - due))
            due += 1 / rate
        with self.lock:
            self.samples += mine

    def note(self, what):
        with self.lock:
            self.counts[what] += 1

    def ask(self, clients, key, words):
        port, asking = self.owners[slot_of(key)], False
        for _ in range(16):
            client = clients[port]
            try:
                if asking:
                    client.cmd("ASKING")
                return client.cmd(*words)
            except RuntimeError as why:
                kind, _, rest = str(why).partition(" ")
                if kind not in ("MOVED", "ASK", "TRYAGAIN"):
                    raise
                self.note(kind.lower())
                asking = kind == "ASK"
                if kind == "TRYAGAIN":
                    time.sleep(0.01)
                    continue
                port = int(rest.rsplit(":", 1)[1])
                if kind == "MOVED":
                    self.owners[slot_of(key)] = port
        raise RuntimeError(f"sixteen redirects: {words[:2]}")

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join()

    def latency(self, since, until_then):
        """Milliseconds of what was due in between."""
        took = sorted(took * 1000 for due, took in self.samples if since <= due <= until_then)
        if not took:
            raise SystemExit("bench: the load did nothing in that time")
        at = lambda part: took[min(len(took) - 1, int(part * len(took)))]
        return {"requests": len(took), "p50": at(0.5), "p99": at(0.99), "p999": at(0.999), "max": took[-1]}


def measure(name, folder, policy, options):
    binary = options.against if name == "reference" else options.binary
    cluster = Masters(binary, folder, policy, ["--cluster-migrate-ahead", "yes"] if name == "ahead" else [])
    try:
        cluster.fill(options.keys)
        load = Load(cluster, options.keys, options.rate)
        time.sleep(1)  # the first requests open connections
        quiet_from = time.monotonic()
        time.sleep(options.quiet)
        moves_from = time.monotonic()
        seconds = cluster.reshard(0, 1, options.slots)
        ended = time.monotonic()
        load.end()
        if cluster.sizes() != options.keys:
            raise SystemExit(f"bench: {cluster.sizes()} keys after the move, not {options.keys}")
        moving, quiet = load.latency(moves_from, ended), load.latency(quiet_from, moves_from)
        return {"seconds": seconds, "quiet": quiet, "moving": moving, "errors_seen": load.first_errors[:5], **load.counts}
    finally:
        cluster.remove()


def arguments():
    parser = parser_of("reshard", __doc__)
    parser.add_argument("--keys", type=int, default=1_000_000, help="of 16 bytes with values of 64 (default: 1,000,000)")
    parser.add_argument("--slots", type=int, default=1000, help="that move (default: 1000)")
    parser.add_argument("--rate", type=int, default=500, help="requests per second of the load (default: 500)")
    parser.add_argument("--quiet", type=float, default=20, help="seconds of the load without a move (default: 20)")
    parser.add_argument("--pairs", type=int, default=3, help="runs of each, in turn (default: 3)")
    parser.add_argument("--policy", choices=POLICIES, help="this appendfsync alone")
    parser.add_argument("--quick", action="store_true", help="30,000 keys, 100 slots, one pair: to try it, not to quote")
    options = parser.parse_args()
    if options.quick:
        options.keys, options.slots, options.pairs, options.quiet = 30_000, 100, 1, 3
    return options


def line(name, run):
    quiet, moving = run["quiet"], run["moving"]
    say(
        f"  {name:9} {run['seconds']:8.2f} s   p50 {quiet['p50']:6.2f} -> {moving['p50']:6.2f}   p99 {quiet['p99']:6.2f} -> {moving['p99']:7.2f} "
        f"({moving['p99'] / quiet['p99']:5.2f}x)   max {moving['max']:7.1f} ms   errors {run['errors']} tryagain {run['tryagain']} "
        f"ask {run['ask']} moved {run['moved']}"
    )


def main():
    options = arguments()
    if shutil.which(options.against) is None or shutil.which(options.binary) is None:
        raise SystemExit(f"bench: {options.against} or {options.binary} is missing")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.makedirs(options.out, exist_ok=True)
    base = tempfile.mkdtemp(prefix="run-", dir=options.out)
    say(f"{options.slots:,} of 16,384 slots move, {options.keys:,} keys, {options.rate} requests/s; latency without and with the move, in ms")
    policies = [options.policy] if options.policy else POLICIES
    results = {policy: {name: [] for name in NAMES} for policy in policies}
    try:
        for policy in policies:
            say(f"appendfsync {policy}")
            for pair in range(options.pairs):
                for name in NAMES if pair % 2 == 0 else reversed(NAMES):
                    run = measure(name, os.path.join(base, f"{name}-{policy}-{pair}"), policy, options)
                    results[policy][name].append(run)
                    line(name, run)
    finally:
        shutil.rmtree(base, ignore_errors=True)
    return verdict(options, results)


def verdict(options, results):
    missed = []
    middle = lambda runs, read: statistics.median(read(run) for run in runs)
    say()
    for policy, runs in results.items():
        seconds = {name: middle(found, lambda run: run["seconds"]) for name, found in runs.items()}
        worse = {name: middle(found, lambda run: run["moving"]["p99"] / run["quiet"]["p99"]) for name, found in runs.items()}
        for name in ("ours", "ahead"):
            ratio = seconds[name] / seconds["reference"]
            say(
                f"{policy:9} {name:6} time {seconds[name]:.2f} s, reference {seconds['reference']:.2f} s: {ratio:.2f}"
                f"   p99 {worse[name]:.2f}x, reference {worse['reference']:.2f}x"
            )
            if policy == "always" and ratio > GOAL_TIME[name]:
                missed.append(f"{name}: time {ratio:.2f} (goal {GOAL_TIME[name]})")
            if worse[name] > GOAL_P99:
                missed.append(f"{name}: p99 {worse[name]:.2f}x with {policy} (goal {GOAL_P99})")
    failed = [run["errors_seen"] for policy in results.values() for name in ("ours", "ahead") for run in policy[name] if run["errors"] or run["tryagain"]]
    path = os.path.join(options.out, "latest-reshard.json")
    with open(path, "w") as file:
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        json.dump({"when": when, "options": vars(options), "runs": results}, file, indent=1)
    say(f"JSON: {path}")
    if failed:
        say(f"FAILED: errors or TRYAGAIN for single keys: {failed}")
        return 1
    say("goals missed: " + ", ".join(missed) if missed else "every goal is met")
    return 0


if __name__ == "__main__":
    sys.exit(main())
