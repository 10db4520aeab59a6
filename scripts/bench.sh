#!/usr/bin/env bash
# Side by side: Redis and Holdfast in turn on the same work, then proof that nothing was forgotten.
#
#   scripts/bench.sh [OPTIONS]                 times, against redis-server; --help has the options
#   scripts/bench.sh instructions [OPTIONS]    instructions per GET and SET, counted by callgrind; installs
#                                              valgrind with apt when it is missing
#   scripts/bench.sh reshard [OPTIONS]         slots move under load, against a cluster of Redis
#   scripts/bench.sh snapshot [OPTIONS]        BGSAVE under load, starts, a new replica, against redis-server
#   scripts/bench.sh commands [OPTIONS]        commands on every type, against redis-server
#   scripts/bench.sh memory [OPTIONS]          bytes for each element of every type, against redis-server
#   scripts/bench.sh pauses [OPTIONS]          what a PING waits while commands hit huge values, against redis-server
#
# Builds ours as it is installed (the profile dist) and hands over to bench.py, or to bench_ and the word.
# docs/BENCHMARKS.md has the method.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '%s\n' "$*" >&2; }

what=bench.py
case "${1:-}" in
    instructions | reshard | snapshot | commands | memory | pauses)
        what=bench_$1.py
        shift
        ;;
esac

wants_build=yes
for arg in "$@"; do
    case "$arg" in
        --help | -h | --binary | --binary=*) wants_build=no ;;
    esac
done

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

need() { # TOOL PACKAGES...
    ! command -v "$1" >/dev/null || return 0
    say "bench: $1 is missing. On Debian: apt-get install ${*:2}"
    exit 1
}

need python3 python3
if [ "$what" = bench_instructions.py ]; then
    if ! command -v valgrind >/dev/null && command -v apt-get >/dev/null; then
        say "bench: installing valgrind (apt-get)"
        as_root apt-get update -qq || true
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends valgrind >&2 || true
    fi
    need valgrind valgrind
    need vgdb valgrind
    need cc build-essential
else
    need taskset util-linux
    case "$what" in
        bench_snapshot.py | bench_commands.py | bench_pauses.py) need cc build-essential ;;
    esac
    need redis-benchmark redis-tools redis-server
fi

if [ "$wants_build" = yes ]; then
    say "bench: building holdfast-server (cargo build --profile dist)"
    cargo build --profile dist --bin holdfast-server
    set -- --binary "${CARGO_TARGET_DIR:-target}/dist/holdfast-server" "$@"
fi
exec python3 "scripts/$what" "$@"
