#!/usr/bin/env python3
"""`scripts/bench.sh pauses`: how long a PING waits while commands hit values of ten million elements or 512 MB.

A client sends a PING every millisecond, each at its own moment, and an answer's time counts from that moment. Meanwhile
another one runs the row's command on a value that is there. p99.9 of the PINGs of three seconds around it, and the
longest, for both servers; ours are medians of the rounds, of which the reference has one. The server has core 0 and the PINGs core 1. The first row has no command: it says what
the machine does by itself. Rows of the second part work on all elements, as Redis does: they have no goal.

With `--follower` the PINGs go to a follower (a replica) in a shard of three, which applies what the command does. It has
core 0; the leader, the other follower and the PINGs share core 1.
"""

import os
import shutil
import statistics
import sys
import tempfile
import time

from bench_members import Shard
from bench_server import (
    LOAD_CORE, SERVER_CORE, Client, Load, Server, compiled, parser_of, say, settle, strict, until,
)

GOAL_MS = 2.0
PINGS = 1000  # a second
BEFORE, BEHIND = 1, 2  # seconds of PINGs around the command


def text(n):
    return b"%012d" % n


def variadic(command, key, count, words):
    """Requests that make a value of so many elements, and how many answers each has."""
    return [
        (Client.encode(command, key, *(word for n in range(first, min(first + 10_000, count)) for word in words(n))), 1)
        for first in range(0, count, 10_000)
    ]


def maker(kind, count):
    """The same for the large value of a type."""
    makers = {
        "nothing": lambda: [],
        "set": lambda: variadic("SADD", "big", count, lambda n: (text(n),)),
        "hash": lambda: variadic("HSET", "big", count, lambda n: (text(n), b"v")),
        "list": lambda: variadic("RPUSH", "big", count, lambda n: (text(n),)),
        "zset": lambda: variadic("ZADD", "big", count, lambda n: (n, text(n))),
        "string": lambda: [(Client.encode("SETRANGE", "big", count * 51, "x"), 1)],
        "keys": lambda: [
            (b"".join(Client.encode("SET", text(n), b"v") for n in range(first, first + 1000)), 1000)
            for first in range(0, count // 10, 1000)
        ],
    }
    return makers[kind]()


BOUNDED = [
    ("no command", "nothing", ("EXISTS", "big")),
    ("DEL", "set", ("DEL", "big")), ("DEL", "hash", ("DEL", "big")), ("DEL", "list", ("DEL", "big")), ("DEL", "zset", ("DEL", "big")),
    ("UNLINK", "set", ("UNLINK", "big")), ("EXPIRE", "hash", ("PEXPIRE", "big", 100)), ("RENAME", "zset", ("RENAME", "big", "other")),
    ("APPEND", "string", ("APPEND", "big", "tail")), ("SETRANGE", "string", ("SETRANGE", "big", 1000, "x")),
    ("LTRIM", "list", ("LTRIM", "big", 0, 9)), ("FLUSHALL", "keys", ("FLUSHALL",)),
]
WHOLE = [
    ("SUNIONSTORE", "set", ("SUNIONSTORE", "other", "big", "none")), ("COPY", "zset", ("COPY", "big", "other")),
    ("SORT", "list", ("SORT", "big", "LIMIT", 0, 10)), ("HGETALL", "hash", ("HGETALL", "big")),
]


class Followed(Shard):
    """The last follower has a core."""

    def __init__(self, binary, folder):
        super().__init__(binary, folder, cores=(LOAD_CORE, LOAD_CORE, SERVER_CORE))


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


def measure(load, kind, binary, folder, fill, command):
    shard = kind(binary, folder)
    server, pinged = shard.leader, shard.members[-1]
    try:
        client = server.client()
        for request, answers in fill:
            client.socket.sendall(request)
            for _ in range(answers):
                client.reply()
        until_same(shard)
        pings = Load(load, pinged, PINGS, 0, 1)
        time.sleep(BEFORE)
        begun = time.monotonic()
        server.client().cmd(*command)
        took = time.monotonic() - begun
        time.sleep(BEHIND)
        found = pings.end()
        return found["p999"], found["max"], 1000 * took
    finally:
        shard.remove()


def main():
    parser = parser_of("pauses", __doc__)
    parser.add_argument("--rounds", type=int, default=3, help="of each row (default: 3)")
    parser.add_argument("--elements", type=int, default=10_000_000)
    parser.add_argument("--follower", action="store_true", help="the PINGs go to a follower")
    parser.add_argument("--rows", default="", help="only rows whose names have one of these, with commas between")
    strict(parser)
    options = parser.parse_args()
    os.makedirs(options.out, exist_ok=True)
    base = tempfile.mkdtemp(prefix="pauses-", dir=options.out)
    load = compiled("bench_load", base)
    os.sched_setaffinity(0, {int(LOAD_CORE)})
    missed = []
    kind_of_shard = Followed if options.follower else Alone
    wanted = [word.upper() for word in options.rows.split(",") if word]
    say(f"{'':22} {'Redis p99.9':>12} {'longest':>9} {'took':>8}   {'ours p99.9':>11} {'longest':>9} {'took':>8}   (ms)")
    try:
        for rows, goal in ((BOUNDED, GOAL_MS), (WHOLE, None)):
            for name, kind, command in rows:
                if wanted and name.upper() not in wanted:
                    continue
                fill = maker(kind, options.elements)
                found = []
                for who, binary, count in (("reference", options.against, 1), ("ours", options.binary, options.rounds)):
                    rounds = [measure(load, kind_of_shard, binary, os.path.join(base, who), fill, command) for _ in range(count)]
                    found.append([statistics.median(figures) for figures in zip(*rounds)])
                met = goal is None or kind == "nothing" or found[1][0] < goal
                if not met:
                    missed.append(f"{name} of a {kind}")
                cells = "   ".join(f"{p:12.2f} {worst:9.1f} {took:8.1f}" for p, worst, took in found)
                say(f"{name + ' ' + kind:22} {cells} {'' if met else 'MISSED'}")
    finally:
        shutil.rmtree(base, ignore_errors=True)
    say("every goal is met" if not missed else f"goals missed: {', '.join(missed)}")
    return 2 if missed and options.strict else 0


if __name__ == "__main__":
    sys.exit(main())
