#!/usr/bin/env python3
"""`scripts/bench.sh commands`: commands on every type, beside Redis.

Both servers live through all pairs, on core 0; the load has core 1 and loads them in turn, row by row, and who goes first
alternates. The load is bench_pipe.c, which does what redis-benchmark does, but passes over answers: redis-benchmark takes longer
to make something of one with a hundred elements than either server to give it, so it would measure itself. Each row runs at pipeline 16 and at pipeline 1. What is compared is the median of the pairs' ratios, of
throughput and of the server's CPU time for each request. Rows that take something away begin with enough of it.
"""

import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

from bench_server import CLIENTS, LOAD_CORE, Server, compiled, parser_of, say, settle, strict

GOALS = {16: 1.2, 1: 0.97}
GOAL_MEAN = 1.7
GOAL_CPU = 1.0
MANY = 1_000_000


def fill(server, head, items, each=1):
    """One variadic command for every thousand items, each of so many words."""
    client = server.client()
    items = list(items)
    for first in range(0, len(items), 1000 * each):
        client.cmd(*head, *items[first:first + 1000 * each])


def list_of(key, count):
    return lambda server: (server.client().cmd("DEL", key), fill(server, ("RPUSH", key), (f"element:{n:012d}" for n in range(count))))


def set_of(key, count):
    return lambda server: (server.client().cmd("DEL", key), fill(server, ("SADD", key), (f"element:{n:012d}" for n in range(count))))


def zset_of(key, count):
    def items():
        for n in range(count):
            yield str(n * 7919 % count)
            yield f"element:{n:012d}"
    return lambda server: (server.client().cmd("DEL", key), fill(server, ("ZADD", key), items(), 2))


def hash_of(key, count):
    def items():
        for n in range(count):
            yield f"field:{n:04d}"
            yield f"value:{n:04d}"
    return lambda server: fill(server, ("HSET", key), items(), 2)


def places(server):
    def items():
        for n in range(10_000):
            yield f"{(n * 7919 % 36000) / 100 - 180:.4f}"
            yield f"{(n * 104729 % 17000) / 100 - 85:.4f}"
            yield f"place:{n}"
    fill(server, ("GEOADD", "places"), items(), 3)


def strings(server):
    client = server.client()
    client.cmd("SET", "bits", b"\xa5" * (1 << 20))
    for n in range(10):
        client.cmd("SET", f"string:{n}", "v" * 64)
    fill(server, ("RPUSH", "numbers"), (str(n * 7919 % 1000) for n in range(1000)))


def standing(server):
    """What rows look at and leave as it is."""
    zset_of("big", MANY)(server)
    hash_of("fifty", 50)(server)
    hash_of("fivehundred", 500)(server)
    list_of("thousand", 1000)(server)
    fill(server, ("SADD", "left"), (f"m:{n}" for n in range(1000)))
    fill(server, ("SADD", "right"), (f"m:{n}" for n in range(500, 1500)))
    places(server)
    strings(server)


# name, requests at pipeline 16 and 1, what comes before, the command
ROWS = [
    ("LPUSH", 500_000, None, "LPUSH pushed element:__rand_int__"),
    ("RPUSH", 500_000, None, "RPUSH pushed2 element:__rand_int__"),
    ("LPOP", 300_000, lambda n: list_of("popped", n), "LPOP popped"),
    ("RPOP", 300_000, lambda n: list_of("popped", n), "RPOP popped"),
    ("SADD", 500_000, None, "SADD added element:__rand_int__"),
    ("HSET", 500_000, None, "HSET hashed element:__rand_int__ value"),
    ("SPOP", 300_000, lambda n: set_of("drawn", n), "SPOP drawn"),
    ("ZADD", 300_000, None, "ZADD scored 1 element:__rand_int__"),
    ("ZPOPMIN", 300_000, lambda n: zset_of("lowest", n), "ZPOPMIN lowest"),
    ("LRANGE_100", 100_000, None, "LRANGE thousand 0 99"),
    ("LRANGE_300", 50_000, None, "LRANGE thousand 0 299"),
    ("LRANGE_500", 40_000, None, "LRANGE thousand 0 449"),
    ("LRANGE_600", 30_000, None, "LRANGE thousand 0 599"),
    ("MSET", 100_000, None, "MSET " + " ".join(f"mset:{n}:__rand_int__ v" for n in range(10))),
    ("MGET of 10", 200_000, None, "MGET " + " ".join(f"string:{n}" for n in range(10))),
    ("ZADD into 1M", 200_000, None, "ZADD big __rand_int__ element:__rand_int__"),
    ("ZRANGE of 100", 100_000, None, "ZRANGE big 500000 500099"),
    ("ZRANK", 200_000, None, "ZRANK big element:__rand_int__"),
    ("ZRANGEBYSCORE", 100_000, None, "ZRANGEBYSCORE big 500000 500050"),
    ("HGETALL of 50", 100_000, None, "HGETALL fifty"),
    ("HGET in 500", 300_000, None, "HGET fivehundred field:0250"),
    ("SINTER 1000 x 1000", 5_000, None, "SINTER left right"),
    ("BITCOUNT of 1 MB", 10_000, None, "BITCOUNT bits"),
    ("GEOSEARCH", 10_000, None, "GEOSEARCH places FROMLONLAT 10 10 BYRADIUS 500 km"),
    ("SORT of 1000", 3_000, None, "SORT numbers LIMIT 0 10"),
]


def measure(load, server, row, pipeline, share):
    _, requests, before, command = row
    requests = max(int(requests * share) // (1 if pipeline > 1 else 4), 500)
    if before:
        before(requests + 100)(server)
    settle([server])
    cpu = server.cpu_ns()
    numbers = (server.port, CLIENTS, pipeline, requests, MANY)
    out = subprocess.run(
        ["taskset", "-c", LOAD_CORE, load, *map(str, numbers), *command.split()], capture_output=True, text=True, check=True
    )
    cpu_us = (server.cpu_ns() - cpu) / 1000 / requests
    found = json.loads(out.stdout)
    if found["errors"]:
        raise SystemExit(f"bench: {found['errors']} of {requests} times {command.split()[0]} was answered with an error")
    return {"rps": found["rps"], "cpu_us": cpu_us}


def median(runs, name, field):
    return statistics.median(run[name][field] for run in runs)


def ratio(runs, field):
    return statistics.median(run["ours"][field] / run["reference"][field] for run in runs)


def arguments():
    parser = parser_of("commands", __doc__)
    parser.add_argument("--pairs", type=int, default=9, help="alternating pairs (default: 9)")
    parser.add_argument("--rows", default="", help="only rows whose names have one of these, with commas between")
    parser.add_argument("--quick", action="store_true", help="a tenth of the requests: to try the bench, not to quote")
    strict(parser)
    return parser.parse_args()


def show(rows, found):
    """The table; the names of the rows that miss their goals."""
    missed = []
    for pipeline in (16, 1):
        say(f"\n{f'pipeline {pipeline}':20} {'Redis/s':>10} {'ours/s':>10} {'ratio':>6} {'CPU us, Redis':>14} {'ours':>7} {'ratio':>6}")
        ratios = []
        for row in rows:
            runs = found[row[0], pipeline]
            speed, cpu = ratio(runs, "rps"), ratio(runs, "cpu_us")
            ratios.append(speed)
            met = speed >= GOALS[pipeline] or (pipeline == 1 and cpu <= GOAL_CPU)
            if not met:
                missed.append(f"{row[0]} at pipeline {pipeline}")
            say(
                f"{row[0]:20} {median(runs, 'reference', 'rps'):10,.0f} {median(runs, 'ours', 'rps'):10,.0f} {speed:6.2f} "
                f"{median(runs, 'reference', 'cpu_us'):14.2f} {median(runs, 'ours', 'cpu_us'):7.2f} {cpu:6.2f} {'' if met else 'MISSED'}"
            )
        mean = math.exp(statistics.fmean(math.log(r) for r in ratios))
        say(f"{'geometric mean':20} {mean:28.2f}")
        if pipeline == 16 and mean < GOAL_MEAN:
            missed.append("the geometric mean")
    return missed


def main():
    options = arguments()
    wanted = [word.lower() for word in options.rows.split(",") if word]
    rows = [row for row in ROWS if not wanted or any(word in row[0].lower() for word in wanted)]
    os.makedirs(options.out, exist_ok=True)
    base = tempfile.mkdtemp(prefix="commands-", dir=options.out)
    load = compiled("bench_pipe", base)
    binaries = {"reference": options.against, "ours": options.binary}
    servers = {}
    try:
        for name, binary in binaries.items():
            servers[name] = Server(binary, os.path.join(base, name))
            standing(servers[name])
        found, turn = {}, 0
        for pair in range(options.pairs):
            for row in rows:
                for pipeline in (16, 1):
                    order = ("reference", "ours") if turn % 2 == 0 else ("ours", "reference")
                    run = {name: measure(load, servers[name], row, pipeline, 0.1 if options.quick else 1.0) for name in order}
                    found.setdefault((row[0], pipeline), []).append(run)
                    turn += 1
            say(f"pair {pair + 1} of {options.pairs} is done")
        missed = show(rows, found)
    finally:
        for server in servers.values():
            server.remove()
        shutil.rmtree(base, ignore_errors=True)
    with open(os.path.join(options.out, "latest-commands.json"), "w") as file:
        json.dump({f"{name} P{pipeline}": runs for (name, pipeline), runs in found.items()}, file, indent=1)
    say("\nevery goal is met" if not missed else f"\ngoals missed: {', '.join(missed)}")
    return 2 if missed and options.strict else 0


if __name__ == "__main__":
    sys.exit(main())
