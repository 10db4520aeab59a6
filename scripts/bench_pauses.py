#!/usr/bin/env python3
"""`scripts/bench.sh pauses`: how long a PING waits while commands hit values of ten million elements or 512 MB.

A client sends a PING every millisecond, each at its own moment, and an answer's time counts from that moment. Meanwhile
another one runs the row's command on a value that is there. p99.9 of the PINGs of three seconds around it, and the
longest, for both servers. Rows of the second part work on all elements, as Redis does: they have no goal.

With `--follower` the PINGs go to a follower (a replica) in a shard of three, which applies what the command does. It has
core 1, which it shares with the PINGs; the leader and the other follower have core 0.
"""

import os
import select
import shutil
import sys
import tempfile
import threading
import time

from bench_members import Shard
from bench_server import Client, Server, parser_of, say, settle, strict, until

GOAL_MS = 2.0


def text(n):
    return b"%012d" % n


def variadic(command, key, count, words):
    def fill(client):
        for first in range(0, count, 10_000):
            flat = [word for n in range(first, min(first + 10_000, count)) for word in words(n)]
            client.cmd(command, key, *flat)
    return fill


def values(count):
    """Makers of the large values, by the names of their types."""
    return {
        "set": variadic("SADD", "big", count, lambda n: (text(n),)),
        "hash": variadic("HSET", "big", count, lambda n: (text(n), b"v")),
        "list": variadic("RPUSH", "big", count, lambda n: (text(n),)),
        "zset": variadic("ZADD", "big", count, lambda n: (n, text(n))),
        "string": lambda client: client.cmd("SETRANGE", "big", count * 51, "x"),
        "keys": lambda client: [
            client.pipeline([("SET", text(n), b"v") for n in range(first, first + 10_000)]) for first in range(0, count // 10, 10_000)
        ],
    }


BOUNDED = [
    ("DEL", "set", ("DEL", "big")), ("DEL", "hash", ("DEL", "big")), ("DEL", "list", ("DEL", "big")), ("DEL", "zset", ("DEL", "big")),
    ("UNLINK", "set", ("UNLINK", "big")), ("EXPIRE", "hash", ("PEXPIRE", "big", 100)), ("RENAME", "zset", ("RENAME", "big", "other")),
    ("APPEND", "string", ("APPEND", "big", "tail")), ("SETRANGE", "string", ("SETRANGE", "big", 1000, "x")),
    ("LTRIM", "list", ("LTRIM", "big", 0, 9)), ("FLUSHALL", "keys", ("FLUSHALL",)),
]
WHOLE = [
    ("SUNIONSTORE", "set", ("SUNIONSTORE", "other", "big", "none")), ("COPY", "zset", ("COPY", "big", "other")),
    ("SORT", "list", ("SORT", "big", "LIMIT", 0, 10)), ("HGETALL", "hash", ("HGETALL", "big")),
]


class Pings(threading.Thread):
    """A PING every millisecond until it is ended."""

    def __init__(self, port):
        super().__init__()
        self.client, self.took, self.ends = Client(port), [], threading.Event()

    def run(self):
        ping, sock = Client.encode("PING"), self.client.socket
        sock.setblocking(False)
        due, waiting, left = time.monotonic(), [], 0
        while not self.ends.is_set() or waiting:
            now = time.monotonic()
            while due <= now and not self.ends.is_set():
                sock.send(ping)
                waiting.append(due)
                due += 0.001
            readable, _, _ = select.select([sock], [], [], max(min(due - time.monotonic(), 0.001), 0))
            if readable:
                left += len(sock.recv(1 << 16))
                now = time.monotonic()
                while left >= 7:  # +PONG\r\n
                    self.took.append(now - waiting.pop(0))
                    left -= 7


def percentile(took, share):
    took = sorted(took)
    return 1000 * took[min(int(len(took) * share), len(took) - 1)]


class Followed(Shard):
    """The last follower has a core, but for the PINGs."""

    def __init__(self, binary, folder):
        super().__init__(binary, folder, cores=("0", "0", "1"))


class Alone:
    """One server, in the form of a shard."""

    def __init__(self, binary, folder):
        self.leader = Server(binary, folder)
        self.members = [self.leader]

    def remove(self):
        self.leader.remove()


def until_same(shard):
    """The replicas have all that the leader has."""
    if len(shard.members) > 1:
        until("the replicas have it all", lambda: len({member.client().cmd("DBSIZE") for member in shard.members}) == 1)
    settle(shard.members)


def measure(kind, binary, folder, fill, command):
    shard = kind(binary, folder)
    server, pinged = shard.leader, shard.members[-1]
    try:
        fill(server.client())
        until_same(shard)
        pings = Pings(pinged.port)
        pings.start()
        time.sleep(1)
        begun = time.monotonic()
        server.client().cmd(*command)
        took = time.monotonic() - begun
        time.sleep(2)
        pings.ends.set()
        pings.join()
        return percentile(pings.took, 0.999), percentile(pings.took, 1.0), took
    finally:
        shard.remove()


def main():
    parser = parser_of("pauses", __doc__)
    parser.add_argument("--elements", type=int, default=10_000_000)
    parser.add_argument("--follower", action="store_true", help="the PINGs go to a follower")
    parser.add_argument("--rows", default="", help="only rows whose names have one of these, with commas between")
    strict(parser)
    options = parser.parse_args()
    os.makedirs(options.out, exist_ok=True)
    base = tempfile.mkdtemp(prefix="pauses-", dir=options.out)
    fills, missed = values(options.elements), []
    kind_of_shard = Followed if options.follower else Alone
    wanted = [word.upper() for word in options.rows.split(",") if word]
    say(f"{'':22} {'Redis p99.9':>12} {'longest':>9} {'took':>8}   {'ours p99.9':>11} {'longest':>9} {'took':>8}   (ms)")
    try:
        for rows, goal in ((BOUNDED, GOAL_MS), (WHOLE, None)):
            for name, kind, command in rows:
                if wanted and name not in wanted:
                    continue
                found = [
                    measure(kind_of_shard, binary, os.path.join(base, who), fills[kind], command)
                    for who, binary in (("reference", options.against), ("ours", options.binary))
                ]
                met = goal is None or found[1][0] < goal
                if not met:
                    missed.append(f"{name} of a {kind}")
                cells = "   ".join(f"{p:12.2f} {worst:9.1f} {1000 * took:8.1f}" for p, worst, took in found)
                say(f"{name + ' ' + kind:22} {cells} {'' if met else 'MISSED'}")
    finally:
        shutil.rmtree(base, ignore_errors=True)
    say("every goal is met" if not missed else f"goals missed: {', '.join(missed)}")
    return 2 if missed and options.strict else 0


if __name__ == "__main__":
    sys.exit(main())
