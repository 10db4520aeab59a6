#!/usr/bin/env python3
"""`scripts/bench.sh memory`: bytes for each element, by used_memory, beside Redis and, where it is given, another server.

Every row begins with an empty server: what is counted is what used_memory has grown by, for each element or key.
"""

import os
import shutil
import sys
import tempfile

from bench_server import Server, parser_of, say, strict

MANY = 1_000_000
CONTAINERS = 100_000


def text(n, size):
    return f"{n * 2654435761 % 2**32:08x}"[:size].ljust(size, "x") if size <= 8 else f"{n:08x}".ljust(size, "y")


def number(n):
    return str(n * 7919 % MANY)


def variadic(command, words, each):
    """One key of a million elements, a thousand with each command."""
    def fill(client):
        for first in range(0, MANY, 1000):
            flat = [word for n in range(first, first + 1000) for word in words(n)]
            client.cmd(command, "key", *flat)
    fill.count = MANY
    fill.each = each
    return fill


def containers(command, words, sizes, count=CONTAINERS):
    """Many keys of a few elements each."""
    def fill(client):
        for first in range(0, count, 500):
            client.pipeline([
                (command, f"key:{n:012d}", *[word for m in range(sizes[n % len(sizes)]) for word in words(m)])
                for n in range(first, first + 500)
            ])
    fill.count = count
    return fill


def strings(expire):
    def fill(client):
        for first in range(0, MANY, 2000):
            client.pipeline([
                ("SET", f"key:{n:012d}", "v" * 64, *(("PX", 10_000_000_000 + n) if expire else ())) for n in range(first, first + 2000)
            ])
    fill.count = MANY
    return fill


ROWS = [
    ("hash 8+8", variadic("HSET", lambda n: (text(n, 8), text(n, 8)), 2), 0.87),
    ("hash 16+32", variadic("HSET", lambda n: (text(n, 16), text(n, 32)), 2), 0.87),
    ("hash 16+100", variadic("HSET", lambda n: (text(n, 16), text(n, 100)), 2), 0.87),
    ("sorted set 8", variadic("ZADD", lambda n: (number(n), text(n, 8)), 2), 0.9),
    ("sorted set 16", variadic("ZADD", lambda n: (number(n), text(n, 16)), 2), 0.9),
    ("sorted set 32", variadic("ZADD", lambda n: (number(n), text(n, 32)), 2), 0.9),
    ("list 8", variadic("RPUSH", lambda n: (text(n, 8),), 1), 1.0),
    ("set 8", variadic("SADD", lambda n: (text(n, 8),), 1), 1.1),
    ("set 16", variadic("SADD", lambda n: (text(n, 16),), 1), 1.3),
    ("set 64", variadic("SADD", lambda n: (text(n, 64),), 1), 1.1),
    ("lists of 1-12", containers("RPUSH", lambda m: (text(m, 8),), range(1, 13)), 1.0),
    ("sets of 1-12", containers("SADD", lambda m: (text(m, 8),), range(1, 13)), 1.0),
    ("sorted sets of 1-12", containers("ZADD", lambda m: (m, text(m, 8)), range(1, 13)), 1.0),
    ("hashes of 1-12", containers("HSET", lambda m: (text(m, 8), text(m, 8)), range(1, 13)), 1.0),
    ("hashes of 50", containers("HSET", lambda m: (text(m, 8), text(m, 8)), [50], 20_000), 1.05),
    ("hashes of 100", containers("HSET", lambda m: (text(m, 8), text(m, 8)), [100], 10_000), 1.05),
    ("key with expiry", strings(True), 0.85),
    ("plain key", strings(False), 0.7),
]


def measure(binary, folder, fill):
    server = Server(binary, folder)
    try:
        before = int(server.info("used_memory"))
        fill(server.client())
        return (int(server.info("used_memory")) - before) / fill.count
    finally:
        server.remove()


def main():
    parser = parser_of("memory", __doc__)
    parser.add_argument("--beside", metavar="BINARY", help="a third server, printed beside the others")
    strict(parser)
    options = parser.parse_args()
    os.makedirs(options.out, exist_ok=True)
    base = tempfile.mkdtemp(prefix="memory-", dir=options.out)
    missed = []
    say(f"{'bytes each':20} {'reference':>10} {'ours':>8} {'of it':>6} {'goal':>5}")
    try:
        for name, fill, goal in ROWS:
            reference = measure(options.against, os.path.join(base, "reference"), fill)
            ours = measure(options.binary, os.path.join(base, "ours"), fill)
            beside = ""
            if options.beside:
                beside = f"  beside {measure(options.beside, os.path.join(base, 'beside'), fill):.1f}"
            met = ours / reference <= goal
            if not met:
                missed.append(name)
            say(f"{name:20} {reference:10.1f} {ours:8.1f} {ours / reference:6.2f} {goal:5.2f} {'' if met else 'MISSED'}{beside}")
    finally:
        shutil.rmtree(base, ignore_errors=True)
    say("every goal is met" if not missed else f"goals missed: {', '.join(missed)}")
    return 2 if missed and options.strict else 0


if __name__ == "__main__":
    sys.exit(main())
