"""redis-py's RedisCluster with its default retries, for tests/cluster/clients.rs.

redis_py.py keys PORT COUNT   writes and reads COUNT keys, alone and in pipelines
redis_py.py load PORT         writes until a line comes on standard input, then reads all back;
                              ends at the first write that fails

Says WRITING when it has begun, and ALL THERE as the last line when all is well.
"""

import sys
import threading
import time

from redis.cluster import RedisCluster


def value(n):
    return f"value:{n}:" + "x" * (n % 64)


def chunks(first, last, size):
    for start in range(first, last, size):
        yield range(start, min(start + size, last))


def keys(port, count):
    client = RedisCluster(host="127.0.0.1", port=port, decode_responses=True)
    alone = min(count, 3000)
    for n in range(alone):
        assert client.set(f"py:{n}", value(n)) is True
    for chunk in chunks(alone, count, 1000):
        pipe = client.pipeline()
        for n in chunk:
            pipe.set(f"py:{n}", value(n))
        assert all(pipe.execute()), "a SET in a pipeline was not done"
    for chunk in chunks(0, count, 1000):
        pipe = client.pipeline()
        for n in chunk:
            pipe.get(f"py:{n}")
        for n, got in zip(chunk, pipe.execute()):
            assert got == value(n), f"py:{n} is {got!r}"
    for n in range(0, count, 97):
        assert client.get(f"py:{n}") == value(n)
    print("ALL THERE")


def load(port):
    client = RedisCluster(host="127.0.0.1", port=port, decode_responses=True)
    stop = threading.Event()

    def listen():
        sys.stdin.readline()
        stop.set()

    threading.Thread(target=listen, daemon=True).start()
    print("WRITING", flush=True)
    n, worst = 0, 0.0
    while not stop.is_set():
        began = time.monotonic()
        try:
            assert client.set(f"pyload:{n}", value(n)) is True
        except Exception as error:  # whatever it is, the write failed
            print(f"FAILED write {n} after {time.monotonic() - began:.3f} s: {error!r}", flush=True)
            return 1
        worst = max(worst, time.monotonic() - began)
        n += 1
    for i in range(n):
        got = client.get(f"pyload:{i}")
        if got != value(i):
            print(f"LOST pyload:{i} is {got!r}", flush=True)
            return 1
    print(f"ALL THERE: {n} writes, none failed, slowest {worst * 1000:.0f} ms", flush=True)
    return 0


if __name__ == "__main__":
    if sys.argv[1] == "keys":
        keys(int(sys.argv[2]), int(sys.argv[3]))
    else:
        sys.exit(load(int(sys.argv[2])))
