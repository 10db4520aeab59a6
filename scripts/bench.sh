#!/usr/bin/env bash
# Side by side: Redis and Holdfast in turn on the same work, then proof that nothing was forgotten.
# Builds ours in release mode and hands over to bench.py. docs/BENCHMARKS.md has the method.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '%s\n' "$*" >&2; }

wants_build=yes
for arg in "$@"; do
    case "$arg" in
        --help | -h | --binary | --binary=*) wants_build=no ;;
    esac
done

for tool in python3 taskset redis-benchmark; do
    if ! command -v "$tool" >/dev/null; then
        say "bench: $tool is missing. On Debian: apt-get install python3 util-linux redis-tools redis-server"
        exit 1
    fi
done

if [ "$wants_build" = yes ]; then
    say "bench: building holdfast-server (release)"
    cargo build --release --bin holdfast-server
    set -- --binary "${CARGO_TARGET_DIR:-target}/release/holdfast-server" "$@"
fi
exec python3 scripts/bench.py "$@"
