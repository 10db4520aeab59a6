#!/usr/bin/env bash
# The long forms of the cluster tests: many rounds of kill -9, sleep, planned moves, restarts.
#
#   scripts/chaos.sh                    50 rounds of kill -9, fewer of what takes longer; about ten minutes
#   scripts/chaos.sh --rounds N         N rounds of kill -9
#   scripts/chaos.sh --only kill        one of: kill stall moves migrate restart witness partition away disks
#   scripts/chaos.sh --seed S           which nodes are killed when
#
# Builds in release mode, prints a table of what was measured; ends with an error when a write was
# lost, an answer stale, or a limit exceeded. The long output of each part is in
# target/chaos/*.log.
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=50 seed=1 only=""
say() { printf '%s\n' "$*"; }
usage() { sed -n '2,11s/^# \{0,1\}//p' "$0"; }

while [ $# -gt 0 ]; do
    case "$1" in
        --rounds) rounds="${2:?--rounds needs a number}"; shift 2 ;;
        --seed) seed="${2:?--seed needs a number}"; shift 2 ;;
        --only) only="${2:?--only needs a name}"; shift 2 ;;
        --help | -h) usage; exit 0 ;;
        *) say "unknown argument: $1"; usage; exit 64 ;;
    esac
done
[[ "$rounds" =~ ^[1-9][0-9]*$ ]] || { say "--rounds must be a number above 0, not '$rounds'"; exit 64; }
[[ "$seed" =~ ^[0-9]+$ ]] || { say "--seed must be a number, not '$seed'"; exit 64; }
case "$only" in
    "" | kill | stall | moves | migrate | restart | witness | partition | away | disks) ;;
    *) say "there is no part '$only'"; usage; exit 64 ;;
esac
command -v redis-cli >/dev/null || { say "there is no redis-cli: apt-get install redis-tools"; exit 1; }

out="${CARGO_TARGET_DIR:-target}/chaos"
mkdir -p "$out"
out="$(cd "$out" && pwd)"
table="$out/table"
: >"$table"
export HOLDFAST_TABLE="$table" HOLDFAST_SEED="$seed"

say "building (cargo test --release --test cluster --no-run)"
if ! cargo test --release --test cluster --no-run >"$out/build.log" 2>&1; then
    tail -n 20 "$out/build.log"
    say "FAILED: the build; all of it: $out/build.log"
    exit 1
fi

bad=()
# part NAME ROUNDS: the tests of one file of tests/cluster, with that many rounds.
part() {
    local from=$SECONDS
    [ -z "$only" ] || [ "$only" = "$1" ] || return 0
    say "$1: $2 rounds (log: $out/$1.log)"
    if HOLDFAST_ROUNDS="$2" cargo test --release --test cluster "$1::" -- --test-threads 1 --nocapture \
        >"$out/$1.log" 2>&1; then
        say "  ok, $((SECONDS - from)) s"
    else
        bad+=("$1")
        grep -hE -A 2 "panicked at|^test .*FAILED" "$out/$1.log" | cut -c 1-400 || true
        say "  FAILED, $((SECONDS - from)) s"
    fi
}

few() { echo $((($1 + $2 - 1) / $2)); }
part kill "$rounds"
part stall "$(few "$rounds" 5)"
part moves "$(few "$rounds" 5)"
part migrate "$(few "$rounds" 1)"
part restart "$(few "$rounds" 10)"
part witness "$(few "$rounds" 5)"
part partition "$(few "$rounds" 5)"
part away "$(few "$rounds" 10)"
part disks 1

say ""
say "commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown), seed $seed, $(nproc) cores"
while IFS='|' read -r name text; do
    printf '  %-50s %s\n' "$name" "$text"
done <"$table"
say ""
if [ "${#bad[@]}" -gt 0 ]; then
    say "FAILED: ${bad[*]}"
    exit 1
fi
say "ALL IS WELL: $SECONDS s."
