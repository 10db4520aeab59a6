#!/usr/bin/env bash
# The simulator: whole nodes of the real code under seeded chance.
#
#   scripts/sim.sh --seeds A..B     runs the seeds from A up to, not including, B: of moves, which is slower,
#                                   the first part, of the others all
#   scripts/sim.sh --seed N         runs one seed and prints every line of its trace
#   scripts/sim.sh ... --topology T all of these seeds of one topology: alone (one node), shard (three or
#                                   five members), cluster (six nodes, three shards), moves (slots move)
#   scripts/sim.sh ... --survey     does not stop at a failure: each in a line
#   scripts/sim.sh --mutations      breaks one rule after the other on purpose: each must be noticed
#                                   by what crates/sim/src/mutations.rs names
#   scripts/sim.sh ... --mutation NAME   that rule alone (several with --mutations); with --seed: its trace
#   scripts/sim.sh ... --threads N  how many seeds run at once
#
# A failure prints its seed; a seed, a topology and a commit reproduce a run exactly.
set -euo pipefail
cd "$(dirname "$0")/.."

case " $* " in
    "  ") sed -n '2,17s/^# \{0,1\}//p' "$0"; exit 64 ;;
    *" -h "* | *" --help "*) sed -n '2,17s/^# \{0,1\}//p' "$0"; exit 0 ;;
esac
breaks=()
case " $* " in *" --mutation"*) breaks=(--features mutations) ;; esac
case " $* " in
    # Some are noticed by tests beside the code, which turn them on themselves.
    *" --mutations "*) cargo test --quiet --workspace --features mutations --lib ;;
esac
# Built for the whole workspace: alone it would have other features, and be compiled once more.
cargo build --quiet --workspace "${breaks[@]}" --bin sim
exec "${CARGO_TARGET_DIR:-target}/debug/sim" "$@"
