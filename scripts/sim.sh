#!/usr/bin/env bash
# The simulator: whole groups of the real code under a seeded scheduler, disk, network and clock.
#
#   scripts/sim.sh --seeds A..B     runs the seeds from A up to, not including, B
#   scripts/sim.sh --seed N         runs one seed and prints every line of its trace
#   scripts/sim.sh --mutations      breaks one rule after the other on purpose and prints the first
#                                   seed that notices
#
# A failure prints its seed; a seed and a commit reproduce a run exactly.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
    sed -n '2,9s/^# \{0,1\}//p' "$0"
    exit "${1:-2}"
}

case "${1:-}" in
    --seeds)
        [ $# -eq 2 ] || usage
        SIM_SEEDS="$2" exec cargo test --quiet --test sim seeds_are_clean -- --nocapture
        ;;
    --seed)
        [ $# -eq 2 ] || usage
        SIM_SEEDS="$2" SIM_TRACE=1 exec cargo test --quiet --test sim seeds_are_clean -- --nocapture
        ;;
    --mutations)
        exec cargo test --quiet --features mutations --test sim every_mutation_is_caught -- --nocapture
        ;;
    -h | --help) usage 0 ;;
    *) usage ;;
esac
