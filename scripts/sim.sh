#!/usr/bin/env bash
# The simulator: whole nodes of the real code under seeded chance.
#
#   scripts/sim.sh --seeds A..B     runs the seeds from A up to, not including, B, of all topologies
#   scripts/sim.sh --seed N         runs one seed and prints every line of its trace
#   scripts/sim.sh ... --topology T one topology alone: alone (one node), shard (three or five
#                                   members), cluster (six nodes, three shards)
#   scripts/sim.sh --mutations      breaks one rule after the other on purpose: each must be noticed
#                                   by what tests/sim/mutations.rs names
#
# A failure prints its seed; a seed, a topology and a commit reproduce a run exactly.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
    sed -n '2,13s/^# \{0,1\}//p' "$0"
    exit "${1:-2}"
}

seeds="" topology="" mutations=""
while [ $# -gt 0 ]; do
    case "$1" in
        --seeds | --seed)
            [ $# -ge 2 ] || usage
            seeds="$2"
            [ "$1" = --seeds ] || export SIM_TRACE=1
            shift 2
            ;;
        --topology)
            [ $# -ge 2 ] || usage
            topology="$2"
            shift 2
            ;;
        --mutations) mutations=1; shift ;;
        -h | --help) usage 0 ;;
        *) usage ;;
    esac
done

if [ -n "$mutations" ]; then
    # Some are noticed by tests beside the code, which turn them on themselves.
    cargo test --quiet --workspace --features mutations --lib
    exec cargo test --quiet --features mutations --test sim every_mutation -- --nocapture
fi
[ -n "$seeds" ] || usage
case "$topology" in
    "") test="runs::seeds_of" ;;
    alone) test="runs::seeds_of_one_node_are_clean" ;;
    shard) test="runs::seeds_of_a_shard_are_clean" ;;
    cluster) test="runs::seeds_of_a_cluster_are_clean" ;;
    *) usage ;;
esac
SIM_SEEDS="$seeds" exec cargo test --quiet --test sim "$test" -- --nocapture --test-threads=1
