"""`scripts/bench.sh instructions`: instructions per GET and SET, counted by callgrind.

Times differ with what else a machine does; this count does not, so it shows a change of half a percent.
One connection sends a burst (of 1, or of 16 commands), reads the replies, and waits until the server's
loop sleeps before it sends the next: each burst is one wake-up and the same turns, however fast anything is.
While it is counted the server's clock stands (bench_clock.c), so no timer comes between. The count begins after
the start, the filling and a warm-up. All threads count.

Everything is done twice, in two processes, which must agree within 0.3 %. Only the standard library is used,
and a C compiler.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from bench_server import Client, parser_of, say

KEYS = 10_000
VALUE = b"v" * 64
BURST_OF_FILLING = 500
# (operation, pipeline) -> bursts. What a turn of a single SET takes varies by some percent: it needs many.
ROWS = {("SET", 16): 500, ("GET", 16): 500, ("SET", 1): 8000, ("GET", 1): 2000}
MAY_DIFFER = 0.003
EPOLL_WAITS = {"x86_64": ("232", "281"), "aarch64": ("22",)}
START, ANSWER = 120, 60  # seconds


def key(n):
    """Every key once in any KEYS numbers in a row, in an order without a pattern: 7919 is prime."""
    return b"key:%012d" % (n * 7919 % KEYS)


def command(operation, n):
    return Client.encode("SET", key(n), VALUE) if operation == "SET" else Client.encode("GET", key(n))


class Counted:
    """A server under callgrind, in a folder of its own."""

    def __init__(self, binary, folder, clock):
        os.makedirs(folder)
        self.counts = os.path.join(folder, "callgrind.out")
        self.log = os.path.join(folder, "server.out")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [
                    "valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={self.counts}", binary,
                    "--port", str(self.port), "--bind", "127.0.0.1", "--dir", folder,
                    "--appendfsync", "no",
                ],
                # The allocator's own thread goes by time as well.
                env={**os.environ, "LD_PRELOAD": clock, "_RJEM_MALLOC_CONF": "background_thread:false"},
                stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            )
        self.waits = EPOLL_WAITS.get(os.uname().machine, ())
        self.dumps = 0
        self.client = self.connect()

    def connect(self):
        deadline = time.monotonic() + START
        while True:
            if self.process.poll() is not None or time.monotonic() > deadline:
                with open(self.log, errors="replace") as log:
                    say("".join(log.readlines()[-15:]))
                raise SystemExit("bench: the server under valgrind ended, or does not answer; its last lines are above")
            try:
                client = Client(self.port)
                client.cmd("EXISTS", "ready")
                return client
            except (OSError, RuntimeError):
                time.sleep(0.1)

    def sleeps(self):
        """Whether the loop sleeps in epoll_wait: with a timeout, or it would only have a look."""
        try:
            with open(f"/proc/{self.process.pid}/syscall") as file:
                words = file.read().split()
            return words[0] in self.waits and int(words[4], 16) != 0
        except (OSError, IndexError, ValueError):
            raise SystemExit("bench: can't see when the server sleeps: /proc/PID/syscall of an own process must be readable")

    def until_it_sleeps(self):
        deadline = time.monotonic() + ANSWER
        while not self.sleeps():
            if time.monotonic() > deadline:
                raise SystemExit("bench: the server does not come to rest")

    def burst(self, commands):
        self.until_it_sleeps()
        self.client.socket.sendall(b"".join(commands))
        for _ in commands:
            if self.client.reply() is None:
                raise SystemExit("bench: a key is missing")

    def fill(self):
        for first in range(0, KEYS, BURST_OF_FILLING):
            self.burst([command("SET", n) for n in range(first, min(first + BURST_OF_FILLING, KEYS))])
        self.until_it_sleeps()
        self.process.send_signal(signal.SIGUSR2)
        self.ask("instrumentation", "on")

    def ask(self, *words):
        """Says something to callgrind."""
        told = subprocess.run(["vgdb", f"--pid={self.process.pid}", *words], capture_output=True, text=True)
        if told.returncode != 0:
            raise SystemExit(f"bench: vgdb {' '.join(words)}: {told.stdout}{told.stderr}")

    def counted(self, bursts):
        """Instructions of these bursts, and of what was done since the last dump, which sets the count to zero."""
        for commands in bursts:
            self.burst(commands)
        self.until_it_sleeps()
        self.ask("dump")
        self.dumps += 1
        with open(f"{self.counts}.{self.dumps}") as file:
            found = re.search(r"^(?:totals|summary): (\d+)", file.read(), re.MULTILINE)
        os.remove(f"{self.counts}.{self.dumps}")
        return int(found.group(1))

    def per_request(self, operation, pipeline, bursts):
        def made(count):
            return [[command(operation, burst * pipeline + n) for n in range(pipeline)] for burst in range(count)]

        self.counted(made(bursts // 5))
        return self.counted(made(bursts)) / (bursts * pipeline)


def measure(name, binary, base):
    """All rows, in one process."""
    say(f"counting: {name} ({binary})")
    folder = tempfile.mkdtemp(prefix="counted-", dir=base)
    server = Counted(binary, os.path.join(folder, "d"), os.path.join(base, "clock.so"))
    try:
        server.fill()
        return {row: server.per_request(*row, bursts) for row, bursts in ROWS.items()}
    finally:
        server.process.kill()
        server.process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def main():
    parser = parser_of("instructions", __doc__, against=None)
    options = parser.parse_args()
    builds = {"ours": options.binary}
    if options.against:
        builds = {"reference": options.against, **builds}
    for binary in builds.values():
        if shutil.which(binary) is None:
            raise SystemExit(f"bench: {binary} is missing")
    os.makedirs(options.out, exist_ok=True)
    base = tempfile.mkdtemp(prefix="instructions-", dir=options.out)
    clock = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bench_clock.c")
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", os.path.join(base, "clock.so"), clock], check=True)
    try:
        found = {name: [measure(name, binary, base) for _ in range(2)] for name, binary in builds.items()}
    finally:
        shutil.rmtree(base, ignore_errors=True)

    say(f"instructions per request, callgrind, one connection, {KEYS:,} keys, values of {len(VALUE)} bytes")
    say(f"{'':10} {'':10} {'first':>10} {'second':>10} {'differ by':>10}" + (f" {'to reference':>13}" if options.against else ""))
    worst = 0.0
    for row in ROWS:
        means = {}
        for name, (first, second) in found.items():
            means[name] = (first[row] + second[row]) / 2
            differ = abs(first[row] - second[row]) / means[name]
            worst = max(worst, differ)
            compared = f" {means['ours'] / means['reference'] - 1:+13.2%}" if options.against and name == "ours" else ""
            say(f"{row[0] + ' P' + str(row[1]):10} {name:10} {first[row]:10,.0f} {second[row]:10,.0f} {differ:10.2%}{compared}")
    if worst > MAY_DIFFER:
        say(f"FAILED: two runs differ by {worst:.2%}, more than {MAY_DIFFER:.1%}: nothing can be said")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
