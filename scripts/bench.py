#!/usr/bin/env python3
"""The bench behind scripts/bench.sh: two servers in turn on the same work.

The servers run on core 0, redis-benchmark on core 1. Both live through a pair and are loaded in turn,
point by point, and who goes first alternates, so that a machine that gets slower or faster meanwhile
favours neither. Both servers get the same command line, with a log that is synced every second;
automatic rewriting of the log is off (the reference would fork in the middle of a run). What is
compared is the median over the pairs. Against another Holdfast each row is to have 0.97 of it.

Then memory per key, and the forgetting test: writes that were answered are there after kill -9.
Only the standard library is used.
"""

import json
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import bench_members
from bench_server import (
    CLIENTS, KEYS, VALUE_BYTES, Server, fill, forgotten_by, is_holdfast, measure_pair, parser_of, say, strict, written_before,
)

# pipeline -> requests of one measurement, full and quick
REQUESTS = {1: (300_000, 50_000), 16: (1_500_000, 200_000), 64: (3_000_000, 400_000)}
# (operation, pipeline) -> the ratio of throughputs that is the goal
GOALS = {
    ("SET", 1): 0.97, ("GET", 1): 0.97,
    ("SET", 16): 1.5, ("GET", 16): 1.2,
    ("SET", 64): 1.5, ("GET", 64): 1.2,
}
CPU_GOAL_PIPELINE_1 = 1.0
# Against an older Holdfast: no row may have lost more than a run's noise.
GOAL_AGAINST_OURSELVES = 0.97


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


def forgetting_always(binary, folder):
    """appendfsync always: kill -9 in the middle of the load; every answer must be kept."""
    server = Server(binary, folder, appendfsync="always")
    acked = written_before(server.kill, server, 20_000)
    server.start()
    forgotten = forgotten_by(server, acked)
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
    parser = parser_of("", __doc__)
    parser.add_argument("--pairs", type=int, help="alternating pairs (default: 5; with --members 9)")
    parser.add_argument("--members", type=int, choices=(1, 3), default=1, help="3: a shard of three against a master with two replicas")
    parser.add_argument("--quick", action="store_true", help="fewer requests and keys: to try the bench, not to quote")
    strict(parser)
    options = parser.parse_args()
    options.pairs = options.pairs or (5 if options.members == 1 else 9)
    return options


def median(values):
    return statistics.median(values)


def summary(reference, ours, goals, cpu_goal):
    """Per point: medians, the median of the pairs' ratios, the spread of ours, the goals."""
    rows = []
    for pipeline in REQUESTS:
        for operation in ("SET", "GET"):
            point = f"{operation} P{pipeline}"
            column = lambda runs, field: [run[point][field] for run in runs]
            row = {"point": point, "goal": goals.get((operation, pipeline))}
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
            row["met"] = row["goal"] is None or row["ratio"] >= row["goal"]
            if pipeline == 1 and cpu_goal:
                row["met"] = row["met"] and row["cpu_ratio"] <= cpu_goal
            rows.append(row)
    return rows


def goals_against(options, goals):
    """`goals` are against Redis."""
    if not is_holdfast(options.against):
        return goals
    return {(operation, pipeline): GOAL_AGAINST_OURSELVES for operation in ("SET", "GET") for pipeline in REQUESTS}


def table(rows):
    say(f"{'':8} {'reference/s':>12} {'ours/s':>12} {'ratio':>6} {'goal':>5}        {'CPU us/request':>16} {'ratio':>6} {'spread':>7}")
    for row in rows:
        goal = "    -       " if row["goal"] is None else f"{row['goal']:5.2f} {'met   ' if row['met'] else 'MISSED'}"
        say(
            f"{row['point']:8} {row['reference_rps']:12,.0f} {row['ours_rps']:12,.0f} {row['ratio']:6.2f} {goal} "
            f"{row['reference_cpu_us']:7.2f} {row['ours_cpu_us']:8.2f} "
            f"{row['cpu_ratio']:6.2f} {row['ours_spread']:6.0%}"
        )


def check_tools(options):
    if os.cpu_count() < 2:
        raise SystemExit("bench: two cores are needed, one for the server and one for the load")
    if shutil.which(options.against) is None:
        raise SystemExit(f"bench: {options.against} is missing. On Debian: apt-get install redis-server")
    if shutil.which(options.binary) is None:
        raise SystemExit(f"bench: {options.binary} is missing; cargo build --profile dist makes it")


def run_single(options, base, results):
    """The pairs of one server each, memory per key, and the forgetting test."""
    forgotten = 0
    binaries = {"reference": options.against, "ours": options.binary}
    for pair in range(options.pairs):
        servers = {name: Server(binary, os.path.join(base, f"{name}-{pair}")) for name, binary in binaries.items()}
        for server in servers.values():
            fill(server, KEYS)
        measure_pair(pair, servers, servers.values(), REQUESTS, options.quick, results)
        forgotten += count_after_kill(servers["ours"])
        for server in servers.values():
            server.remove()
    cpu_goal = None if is_holdfast(options.against) else CPU_GOAL_PIPELINE_1
    rows = summary(results["reference"], results["ours"], goals_against(options, GOALS), cpu_goal)
    say()
    table(rows)

    memory_keys = 100_000 if options.quick else 1_000_000
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
    forgetting = {"lost": forgotten + lost, "always_answered": acked}
    return {"points": rows, "bytes_per_key": per_key, "forgetting": forgetting}


def run_members(options, base, results):
    """The pairs of three servers each, each run of ours with its forgetting test."""
    answered, lost = bench_members.run(options, base, results)
    rows = summary(results["reference"], results["ours"], goals_against(options, bench_members.GOALS), None)
    say()
    table(rows)
    say(f"\nforgetting: kill -9 of all three under load, {options.pairs} times: {answered:,} answered writes, {lost} lost")
    return {"points": rows, "forgetting": {"lost": lost, "answered": answered}}


def main():
    options = arguments()
    check_tools(options)
    os.makedirs(options.out, exist_ok=True)
    base = tempfile.mkdtemp(prefix="run-", dir=options.out)

    say(f"reference: {version(options.against)}")
    say(f"ours:      {version(options.binary)}")
    synced = "every second" if options.members == 1 else "always"
    say(f"{options.members} member(s), {options.pairs} pairs, {CLIENTS} clients, {KEYS:,} keys, values of {VALUE_BYTES} bytes, log synced {synced}")
    busy = os.getloadavg()[0]
    if busy > 0.5:
        say(f"bench: the load average is {busy:.1f}: others use this machine, so trust the ratios and CPU per request only")
    results = {"reference": [], "ours": []}
    try:
        found = (run_single if options.members == 1 else run_members)(options, base, results)
    finally:
        shutil.rmtree(base, ignore_errors=True)

    report = {
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "quick": options.quick, "machine": machine(), "load_before": busy,
        "reference": version(options.against), "ours": version(options.binary), "members": options.members,
        "pairs": options.pairs, "runs": results, **found,
    }
    latest = "latest" if options.members == 1 else f"latest-members-{options.members}"
    for name in (time.strftime("%Y%m%d-%H%M%S"), latest):
        with open(os.path.join(options.out, f"{name}.json"), "w") as file:
            json.dump(report, file, indent=1)
    say(f"\nJSON: {os.path.join(options.out, latest + '.json')}")
    forgotten = found["forgetting"]["lost"]
    if forgotten:
        say(f"FAILED: {forgotten} answered writes were forgotten")
        return 1
    missed = [row["point"] for row in found["points"] if not row["met"]]
    if missed:
        say(f"nothing was forgotten; goals missed: {', '.join(missed)}")
        return 2 if options.strict else 0
    say("nothing was forgotten; every goal is met")
    return 0


if __name__ == "__main__":
    sys.exit(main())
