#!/usr/bin/env python3
"""The bench behind scripts/bench.sh: two servers in turn on the same work.

The server runs on core 0, redis-benchmark on core 1. Pairs alternate which server goes first, so
that a machine that gets slower or faster meanwhile favours neither. Both servers get the same
command line, with a log that is synced every second; automatic rewriting of the log is off (the
reference would fork in the middle of a run). What is compared is the median over the pairs.

Then memory per key, and the forgetting test: writes that were answered are there after kill -9.
Only the standard library is used.
"""

import argparse
import csv
import io
import json
import os
import platform
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

KEYS = 100_000
CLIENTS = 50
VALUE_BYTES = 64
SERVER_CORE, LOAD_CORE = "0", "1"
# pipeline -> requests of one measurement, full and quick
REQUESTS = {1: (300_000, 50_000), 16: (1_500_000, 200_000), 64: (3_000_000, 400_000)}
# (operation, pipeline) -> the ratio of throughputs that is the goal
GOALS = {
    ("SET", 1): 0.97, ("GET", 1): 0.97,
    ("SET", 16): 1.5, ("GET", 16): 1.2,
    ("SET", 64): 1.5, ("GET", 64): 1.2,
}
CPU_GOAL_PIPELINE_1 = 1.0


def say(text=""):
    print(text, flush=True)


class Client:
    """A RESP2 client that can pipeline; enough for filling and checking."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=120)
        self.file = self.socket.makefile("rb", 1 << 20)

    @staticmethod
    def encode(*words):
        parts = [b"*%d\r\n" % len(words)]
        for word in words:
            word = word if isinstance(word, bytes) else str(word).encode()
            parts.append(b"$%d\r\n%s\r\n" % (len(word), word))
        return b"".join(parts)

    def reply(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the server closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise RuntimeError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            size = int(rest)
            return None if size < 0 else self.file.read(size + 2)[:-2]
        if kind == b"*":
            return [self.reply() for _ in range(int(rest))]
        return rest

    def cmd(self, *words):
        self.socket.sendall(self.encode(*words))
        return self.reply()

    def pipeline(self, commands):
        self.socket.sendall(b"".join(self.encode(*words) for words in commands))
        return [self.reply() for _ in commands]


class Server:
    """One server process, pinned to its core, in a folder of its own."""

    def __init__(self, binary, folder, appendfsync="everysec", core=SERVER_CORE):
        self.binary, self.folder, self.appendfsync, self.core = binary, folder, appendfsync, core
        os.makedirs(folder, exist_ok=True)
        self.start()

    def start(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        command = [
            "taskset", "-c", self.core, self.binary, "--port", str(self.port), "--dir", self.folder,
            "--appendonly", "yes", "--appendfsync", self.appendfsync, "--save", "",
            "--auto-aof-rewrite-percentage", "0",
        ]
        self.log = open(os.path.join(self.folder, "server.out"), "ab")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        deadline = time.monotonic() + 180
        while True:
            if self.process.poll() is not None:
                raise SystemExit(f"bench: {self.binary} ended at once; see {self.log.name}")
            try:
                Client(self.port).cmd("EXISTS", "ready")
                return
            except (OSError, RuntimeError) as why:
                if time.monotonic() > deadline:
                    raise SystemExit(f"bench: {self.binary} does not answer: {why}")
                time.sleep(0.02)

    def client(self):
        return Client(self.port)

    def info(self, field):
        for line in self.client().cmd("INFO").decode().splitlines():
            if line.startswith(field + ":"):
                return line.split(":", 1)[1].strip()
        return None

    def cpu_ns(self):
        """Time on a CPU of all its threads."""
        total = 0
        folder = f"/proc/{self.process.pid}/task"
        for task in os.listdir(folder):
            with open(f"{folder}/{task}/schedstat") as file:
                total += int(file.read().split()[0])
        return total

    def rss(self):
        with open(f"/proc/{self.process.pid}/status") as file:
            for line in file:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) * 1024
        return 0

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.log.close()

    def remove(self):
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def fill(server, keys, value_bytes=VALUE_BYTES):
    """Every key once: redis-benchmark alone would leave gaps, and a GET of nothing is cheap."""
    client = server.client()
    value = b"v" * value_bytes
    for first in range(0, keys, 2000):
        client.pipeline([("SET", b"key:%012d" % n, value) for n in range(first, min(first + 2000, keys))])


def load(server, operation, pipeline, requests):
    """One run of redis-benchmark: requests per second and server CPU microseconds per request."""
    command = [
        "taskset", "-c", LOAD_CORE, "redis-benchmark", "-p", str(server.port), "-t", operation.lower(),
        "-n", str(requests), "-c", str(CLIENTS), "-d", str(VALUE_BYTES), "-r", str(KEYS),
        "-P", str(pipeline), "--csv",
    ]
    before = server.cpu_ns()
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    cpu_us = (server.cpu_ns() - before) / 1000 / requests
    rows = [row for row in csv.reader(io.StringIO(result.stdout)) if row and row[0] == operation]
    if not rows:
        raise SystemExit(f"bench: redis-benchmark said: {result.stdout}{result.stderr}")
    return {"rps": float(rows[0][1]), "cpu_us": cpu_us}


def measure(binary, folder, quick, check):
    """All points on a fresh server; with `check`, kill -9 at the end and count."""
    server = Server(binary, folder)
    fill(server, KEYS)
    points = {}
    for pipeline, (full, few) in REQUESTS.items():
        for operation in ("SET", "GET"):
            points[f"{operation} P{pipeline}"] = load(server, operation, pipeline, few if quick else full)
    forgotten = count_after_kill(server) if check else 0
    server.remove()
    return points, forgotten


def count_after_kill(server):
    """A log synced every second may lose the last second and nothing else: after two seconds of
    quiet everything that was answered must be there."""
    client = server.client()
    stamp = [("SET", f"check:{n}", f"{n}:{random.random()}") for n in range(20_000)]
    for first in range(0, len(stamp), 1000):
        client.pipeline(stamp[first:first + 1000])
    keys = client.cmd("DBSIZE")
    time.sleep(2.2)
    server.kill()
    server.start()
    client = server.client()
    forgotten = abs(keys - client.cmd("DBSIZE"))
    for first in range(0, len(stamp), 1000):
        part = stamp[first:first + 1000]
        got = client.cmd("MGET", *[key for _, key, _ in part])
        forgotten += sum(1 for (_, _, value), found in zip(part, got) if found != value.encode())
    return forgotten


def forgetting_always(binary, folder, writers=8):
    """appendfsync always: kill -9 in the middle of the load; every answer must be kept."""
    server = Server(binary, folder, appendfsync="always")
    acked = [0] * writers
    enough = threading.Event()

    def write(writer):
        client = server.client()
        try:
            while True:
                first = acked[writer]
                batch = [("SET", f"w{writer}:{n}", n) for n in range(first, first + 16)]
                client.socket.sendall(b"".join(Client.encode(*words) for words in batch))
                for _ in batch:
                    client.reply()
                    acked[writer] += 1
                if sum(acked) >= 20_000:
                    enough.set()
        except (OSError, ValueError):
            enough.set()

    threads = [threading.Thread(target=write, args=(n,)) for n in range(writers)]
    for thread in threads:
        thread.start()
    enough.wait(120)
    server.kill()
    for thread in threads:
        thread.join()
    server.start()
    client = server.client()
    forgotten = 0
    for writer, count in enumerate(acked):
        for first in range(0, count, 1000):
            numbers = range(first, min(first + 1000, count))
            got = client.cmd("MGET", *[f"w{writer}:{n}" for n in numbers])
            forgotten += sum(1 for n, found in zip(numbers, got) if found != str(n).encode())
    server.remove()
    return sum(acked), forgotten


def memory(binary, folder, keys):
    """Bytes per key of 16 bytes with a value of 64: as the server counts, and as the kernel does."""
    server = Server(binary, folder)
    used, rss = server.info("used_memory"), server.rss()
    fill(server, keys)
    used_after, rss_after = server.info("used_memory"), server.rss()
    server.remove()
    per_key = {"rss": (rss_after - rss) / keys}
    if used and used_after:
        per_key["used_memory"] = (int(used_after) - int(used)) / keys
    return per_key


def version(binary):
    out = subprocess.run([binary, "--version"], capture_output=True, text=True)
    return (out.stdout or out.stderr).strip().splitlines()[0]


def machine():
    cpu = "unknown"
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                cpu = line.split(":", 1)[1].strip()
                break
    return {"cpu": cpu, "cores": os.cpu_count(), "kernel": platform.release()}


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/bench.sh", description=__doc__.split("\n\n")[0])
    parser.add_argument("--against", default="redis-server", metavar="BINARY", help="the reference (default: redis-server)")
    parser.add_argument("--binary", default="target/release/holdfast-server", help="ours; given, nothing is built")
    parser.add_argument("--pairs", type=int, default=5, help="alternating pairs (default: 5)")
    parser.add_argument("--quick", action="store_true", help="fewer requests and keys: to try the bench, not to quote")
    parser.add_argument("--strict", action="store_true", help="a missed goal makes the exit code 2")
    parser.add_argument("--out", default=os.path.join(os.environ.get("CARGO_TARGET_DIR", "target"), "bench"), help="where the JSON goes")
    return parser.parse_args()


def median(values):
    return statistics.median(values)


def summary(reference, ours):
    """Per point: medians, the median of the pairs' ratios, the spread of ours, the goals."""
    rows = []
    for pipeline in REQUESTS:
        for operation in ("SET", "GET"):
            point = f"{operation} P{pipeline}"
            column = lambda runs, field: [run[point][field] for run in runs]
            row = {"point": point, "goal": GOALS[operation, pipeline]}
            for name, runs in (("reference", reference), ("ours", ours)):
                row[f"{name}_rps"] = median(column(runs, "rps"))
                row[f"{name}_cpu_us"] = median(column(runs, "cpu_us"))
            rps = column(ours, "rps")
            row["ours_spread"] = (max(rps) - min(rps)) / median(rps)
            # The median of the pairs' ratios: a machine that changes its speed from pair to pair
            # moves both runs of a pair, but not their ratio.
            for ratio, field in (("ratio", "rps"), ("cpu_ratio", "cpu_us")):
                pairs = zip(column(ours, field), column(reference, field))
                row[ratio] = median([a / b for a, b in pairs])
            row["met"] = row["ratio"] >= row["goal"]
            if pipeline == 1:
                row["met"] = row["met"] and row["cpu_ratio"] <= CPU_GOAL_PIPELINE_1
            rows.append(row)
    return rows


def table(rows):
    say(f"{'':8} {'reference/s':>12} {'ours/s':>12} {'ratio':>6} {'goal':>5}        {'CPU us/request':>16} {'ratio':>6} {'spread':>7}")
    for row in rows:
        say(
            f"{row['point']:8} {row['reference_rps']:12,.0f} {row['ours_rps']:12,.0f} {row['ratio']:6.2f} {row['goal']:5.2f} "
            f"{'met   ' if row['met'] else 'MISSED'} {row['reference_cpu_us']:7.2f} {row['ours_cpu_us']:8.2f} "
            f"{row['cpu_ratio']:6.2f} {row['ours_spread']:6.0%}"
        )


def main():
    options = arguments()
    if os.cpu_count() < 2:
        raise SystemExit("bench: two cores are needed, one for the server and one for the load")
    if shutil.which(options.against) is None:
        raise SystemExit(f"bench: {options.against} is missing. On Debian: apt-get install redis-server")
    if shutil.which(options.binary) is None:
        raise SystemExit(f"bench: {options.binary} is missing; cargo build --release makes it")
    os.makedirs(options.out, exist_ok=True)
    base = tempfile.mkdtemp(prefix="run-", dir=options.out)
    memory_keys = 100_000 if options.quick else 1_000_000

    say(f"reference: {version(options.against)}")
    say(f"ours:      {version(options.binary)}")
    say(f"{options.pairs} pairs, {CLIENTS} clients, {KEYS:,} keys, values of {VALUE_BYTES} bytes, log synced every second")
    busy = os.getloadavg()[0]
    if busy > 0.5:
        say(f"bench: the load average is {busy:.1f}: others use this machine, so trust the ratios and CPU per request only")
    results = {"reference": [], "ours": []}
    forgotten = 0
    try:
        for pair in range(options.pairs):
            order = ["reference", "ours"] if pair % 2 == 0 else ["ours", "reference"]
            for name in order:
                binary = options.against if name == "reference" else options.binary
                points, lost = measure(binary, os.path.join(base, f"{name}-{pair}"), options.quick, name == "ours")
                forgotten += lost
                results[name].append(points)
                say(f"  pair {pair + 1}, {name:9} " + "  ".join(f"{p} {v['rps'] / 1000:.0f}k" for p, v in points.items()))
        rows = summary(results["reference"], results["ours"])
        say()
        table(rows)

        say(f"\nbytes per key, {memory_keys:,} keys of 16 bytes with values of {VALUE_BYTES}:")
        per_key = {
            "reference": memory(options.against, os.path.join(base, "memory-reference"), memory_keys),
            "ours": memory(options.binary, os.path.join(base, "memory-ours"), memory_keys),
        }
        for name, sizes in per_key.items():
            say(f"  {name:9} " + ", ".join(f"{what} {size:.1f}" for what, size in sizes.items()))

        say("\nforgetting:")
        say(f"  everysec, kill -9 after two quiet seconds, after each of {options.pairs} runs: {forgotten} answered writes lost")
        acked, lost = forgetting_always(options.binary, os.path.join(base, "forgetting"))
        say(f"  always, kill -9 under load: {acked:,} answered writes, {lost} lost")
        forgotten += lost
    finally:
        shutil.rmtree(base, ignore_errors=True)

    report = {
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "quick": options.quick, "machine": machine(), "load_before": busy,
        "reference": version(options.against), "ours": version(options.binary), "pairs": options.pairs,
        "points": rows, "runs": results, "bytes_per_key": per_key,
        "forgetting": {"lost": forgotten, "always_answered": acked},
    }
    for name in (time.strftime("%Y%m%d-%H%M%S"), "latest"):
        with open(os.path.join(options.out, f"{name}.json"), "w") as file:
            json.dump(report, file, indent=1)
    say(f"\nJSON: {os.path.join(options.out, 'latest.json')}")
    if forgotten:
        say(f"FAILED: {forgotten} answered writes were forgotten")
        return 1
    missed = [row["point"] for row in rows if not row["met"]]
    if missed:
        say(f"nothing was forgotten; goals missed: {', '.join(missed)}")
        return 2 if options.strict else 0
    say("nothing was forgotten; every goal is met")
    return 0


if __name__ == "__main__":
    sys.exit(main())
