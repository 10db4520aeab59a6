#!/usr/bin/env bash
# The simulator: one group, or a whole cluster, of the real code under seeded chance.
#
#   scripts/sim.sh --seeds A..B     runs the seeds from A up to, not including, B
#   scripts/sim.sh --seed N         runs one seed and prints every line of its trace
#   scripts/sim.sh --cluster A..B   the same for the world of six nodes
#   scripts/sim.sh --cluster N      one seed of it, with its trace
#   scripts/sim.sh --mutations      breaks one rule after the other on purpose and prints the first
#                                   seed that notices
#
# A failure prints its seed; a seed and a commit reproduce a run exactly.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
    sed -n '2,11s/^# \{0,1\}//p' "$0"
    exit "${1:-2}"
}

case "${1:-}" in
    --seeds)
        [ $# -eq 2 ] || usage
        SIM_SEEDS="$2" exec cargo test --quiet --test sim runs::seeds_are_clean -- --exact --nocapture
        ;;
    --seed)
        [ $# -eq 2 ] || usage
        SIM_SEEDS="$2" SIM_TRACE=1 exec cargo test --quiet --test sim runs::seeds_are_clean -- --exact --nocapture
        ;;
    --cluster)
        [ $# -eq 2 ] || usage
        case "$2" in
            *..*) ;;
            *) export SIM_TRACE=1 ;;
        esac
        SIM_CLUSTER_SEEDS="$2" exec cargo test --quiet --test sim cluster_seeds_are_clean -- --nocapture
        ;;
    --mutations)
        exec cargo test --quiet --features mutations --test sim every_mutation -- --nocapture
        ;;
    -h | --help) usage 0 ;;
    *) usage ;;
esac
