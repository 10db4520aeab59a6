"""`scripts/bench.sh --members 3`: a shard of three data members against a master with two replicas.

The leader (or master), all its threads, has core 0; both followers and redis-benchmark share core 1.
Ours is one shard that owns all slots, the load goes straight to its leader. The reference is a
master with two replicas, all with a log synced before the answer; it acknowledges before any replica
has the write, ours after a majority has it on disk.

With `--against` an older Holdfast the reference is a shard of three as well.

At the end of each run of ours all three are killed under load, started again, and every write that
was answered must be there.
"""

import os
import random
import shutil
import socket

from bench_server import KEYS, Server, fill, forgotten_by, is_holdfast, measure_pair, until, written_before

LEADER_CORE, FOLLOWER_CORE = "0", "1"
# pipeline -> requests of one measurement, full and quick
REQUESTS = {1: (60_000, 20_000), 16: (400_000, 100_000), 64: (600_000, 200_000)}
GOALS = {("SET", 1): 0.8, ("GET", 1): 1.0, ("SET", 16): 1.0, ("GET", 16): 1.0}


def free_port():
    """A port whose bus port, 10000 above, is free too."""
    while True:
        port = random.randrange(20_000, 45_000)
        try:
            with socket.socket() as client, socket.socket() as bus:
                client.bind(("127.0.0.1", port))
                bus.bind(("127.0.0.1", port + 10_000))
            return port
        except OSError:
            continue


class Shard:
    """Three processes: a leader or master, and two that follow it."""

    def __init__(self, binary, folder, cores=(LEADER_CORE, FOLLOWER_CORE, FOLLOWER_CORE)):
        self.is_group, self.folder = is_holdfast(binary), folder
        extra = ["--cluster-enabled", "yes"] if self.is_group else []
        self.members = [
            Server(
                binary, os.path.join(folder, str(n)), appendfsync="always", port=free_port(), extra=extra,
                core=core,
            )
            for n, core in enumerate(cores)
        ]
        self.leader = self.members[0]
        if self.is_group:
            self.form()
        else:
            for replica in self.members[1:]:
                replica.client().cmd("REPLICAOF", "127.0.0.1", self.leader.port)
            until("both replicas are online", self.replicas_online)

    def replicas_online(self):
        lines = [self.leader.info(f"slave{n}") or "" for n in range(2)]
        return all("state=online" in line for line in lines)

    def form(self):
        client = self.leader.client()
        myself = client.cmd("CLUSTER", "MYID")
        client.cmd("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        for member in self.members[1:]:
            client.cmd("CLUSTER", "MEET", "127.0.0.1", member.port)
        for member in self.members[1:]:
            until("a follower knows the leader's slots", lambda: b"cluster_state:ok" in member.client().cmd("CLUSTER", "INFO"))
            until("CLUSTER REPLICATE", lambda: member.client().cmd("CLUSTER", "REPLICATE", myself) == b"OK")
        self.until_whole(self.leader)

    def until_whole(self, member):
        def whole():
            return member.info("raft_voters") == "3" and member.info("raft_ha") == "1"
        until("raft_voters:3 and raft_ha:1", whole)

    def kill(self):
        for member in self.members:
            member.process.kill()
        for member in self.members:
            member.kill()

    def remove(self):
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def restart(self):
        """Starts all three and returns whoever leads now."""
        for member in self.members:
            member.start()
        found = []

        def leads():
            found[:] = [m for m in self.members if m.info("raft_role") == "leader" and m.client().cmd("DBSIZE") is not None]
            return bool(found)

        until("somebody leads again", leads)
        self.until_whole(found[0])
        return found[0]


def start(binary, folder):
    shard = Shard(binary, folder)
    fill(shard.leader, KEYS)
    if shard.is_group:
        shard.until_whole(shard.leader)
    return shard


def forgetting(shard):
    """kill -9 of all three in the middle of the load; every answer must be kept."""
    acked = written_before(shard.kill, shard.leader, 10_000)
    leader = shard.restart()
    lost = max(0, KEYS + sum(acked) - leader.client().cmd("DBSIZE"))
    return sum(acked), lost + forgotten_by(leader, acked)


def run(options, base, results):
    """The pairs. Returns answered and lost writes of all forgetting tests."""
    answered = lost = 0
    binaries = {"reference": options.against, "ours": options.binary}
    for pair in range(options.pairs):
        shards = {name: start(binary, os.path.join(base, f"{name}-{pair}")) for name, binary in binaries.items()}
        members = [member for shard in shards.values() for member in shard.members]
        leaders = {name: shard.leader for name, shard in shards.items()}
        measure_pair(pair, leaders, members, REQUESTS, options.quick, results)
        shards["reference"].remove()
        kept = forgetting(shards["ours"])
        shards["ours"].remove()
        answered, lost = answered + kept[0], lost + kept[1]
    return answered, lost
