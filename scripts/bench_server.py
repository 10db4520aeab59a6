"""What the benches share: a client, a server process, runs of redis-benchmark, the forgetting test."""

import argparse
import csv
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time

KEYS = 100_000
CLIENTS = 50
VALUE_BYTES = 64
SERVER_CORE, LOAD_CORE = "0", "1"
PATIENCE = 60


def say(text=""):
    print(text, flush=True)


def parser_of(word, doc, against="redis-server"):
    """A parser with the options that every bench has."""
    parser = argparse.ArgumentParser(
        prog=f"scripts/bench.sh {word}".strip(), description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--against", default=against, metavar="BINARY", help=f"the reference (default: {against})")
    parser.add_argument("--binary", default="target/dist/holdfast-server", help="ours; given, nothing is built")
    parser.add_argument(
        "--out", default=os.path.join(os.environ.get("CARGO_TARGET_DIR", "target"), "bench"), help="where it works, and its JSON goes"
    )
    return parser


def strict(parser):
    parser.add_argument("--strict", action="store_true", help="a missed goal makes the exit code 2")


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

    def __init__(self, binary, folder, appendfsync="everysec", core=SERVER_CORE, port=None, extra=()):
        """`port`: given, it stays the same over restarts."""
        self.binary, self.folder, self.appendfsync, self.core = binary, folder, appendfsync, core
        self.fixed_port, self.extra = port, list(extra)
        os.makedirs(folder, exist_ok=True)
        self.start()

    def start(self):
        self.port = self.fixed_port
        if self.port is None:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.port = probe.getsockname()[1]
        command = [
            "taskset", "-c", self.core, self.binary, "--port", str(self.port), "--dir", self.folder,
            "--appendonly", "yes", "--appendfsync", self.appendfsync, "--save", "",
            "--auto-aof-rewrite-percentage", "0", *self.extra,
        ]
        self.log = open(os.path.join(self.folder, "server.out"), "ab")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        deadline = time.monotonic() + 180
        while True:
            if self.process.poll() is not None:
                raise SystemExit(f"bench: {self.binary} ended at once; see {self.log.name}")
            try:
                # A member of a shard may have to wait for others; alone it is to be loaded first.
                Client(self.port).cmd(*(("PING",) if self.fixed_port else ("EXISTS", "ready")))
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


def is_holdfast(binary):
    return "holdfast" in subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout.lower()


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


def until(what, condition):
    """Polls; cores are busy, so nothing is expected at once."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            if condition():
                return
        except (OSError, RuntimeError):
            pass
        if time.monotonic() > deadline:
            raise SystemExit(f"bench: not within {PATIENCE} s: {what}")
        time.sleep(0.05)


def compiled(name, folder):
    """A program in C of this folder."""
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), f"{name}.c")
    program = os.path.join(folder, name)
    subprocess.run(["cc", "-O2", "-o", program, source], check=True)
    return program


class Load:
    """SETs, or PINGs if there are no keys, at a fixed rate (bench_load.c), until it is ended."""

    def __init__(self, program, server, rate, keys, clients=CLIENTS):
        command = ["taskset", "-c", LOAD_CORE, program, server.port, rate, clients, keys, VALUE_BYTES]
        self.process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, text=True)

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        out, _ = self.process.communicate(timeout=120)
        if self.process.returncode:
            raise SystemExit("bench: the load's connection was closed")
        found = json.loads(out)
        if found["errors"]:
            raise SystemExit(f"bench: the load met errors: {found}")
        return found


def settle(servers):
    """Until nobody works any more. A master answers before its replicas have the writes, and before
    its log is synced: what is still done when its turn is over must not be charged to the other."""
    pause, quiet = 0.1, 0.02  # seconds; of a core

    def at_rest():
        before = [server.cpu_ns() for server in servers]
        time.sleep(pause)
        return all(server.cpu_ns() - was < pause * quiet * 1e9 for server, was in zip(servers, before))

    until("the servers are at rest", at_rest)


def measure_pair(pair, loaded, servers, requests, quick, results):
    """Both live through a pair and are loaded in turn, point by point: on a machine with other work the
    two numbers of a ratio must not be a minute apart. The one that is not loaded is idle but for its
    heartbeats."""
    points = {name: {} for name in loaded}
    turn = pair
    for pipeline, (full, few) in requests.items():
        for operation in ("SET", "GET"):
            for name in ("reference", "ours") if turn % 2 == 0 else ("ours", "reference"):
                settle(servers)
                points[name][f"{operation} P{pipeline}"] = load(loaded[name], operation, pipeline, few if quick else full)
            turn += 1
    for name, found in points.items():
        results[name].append(found)
        say(f"  pair {pair + 1}, {name:9} " + "  ".join(f"{p} {v['rps'] / 1000:.0f}k" for p, v in found.items()))


def written_before(kill, server, enough_writes, writers=8):
    """Writes until `kill` ends the server in the middle of it; how many each writer was answered."""
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
                if sum(acked) >= enough_writes:
                    enough.set()
        except (OSError, ValueError):
            enough.set()

    threads = [threading.Thread(target=write, args=(n,)) for n in range(writers)]
    for thread in threads:
        thread.start()
    enough.wait(120)
    kill()
    for thread in threads:
        thread.join()
    return acked


def forgotten_by(server, acked):
    """How many of the answered writes it does not have."""
    client, forgotten = server.client(), 0
    for writer, count in enumerate(acked):
        for first in range(0, count, 1000):
            numbers = range(first, min(first + 1000, count))
            got = client.pipeline([("GET", f"w{writer}:{n}") for n in numbers])
            forgotten += sum(1 for n, found in zip(numbers, got) if found != str(n).encode())
    return forgotten
