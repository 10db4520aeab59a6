#!/usr/bin/env bash
# Everything that CI runs, in one command, on a fresh machine with Rust.
#
#   scripts/test.sh                 all of it
#   scripts/test.sh --only STAGE    one stage: format lint unit sim mutations process attack
#                                   differential cluster
#   SIM_SEEDS=0..2000 scripts/test.sh   more of the simulator
#
# Installs by package name what is missing (redis-server and redis-tools, the reference of the
# differential tests), says what it does, ends with one line that says whether all is well.
# The first stage that fails ends the run with what to do about it.
set -euo pipefail
cd "$(dirname "$0")/.."

SIM_SEEDS="${SIM_SEEDS:-0..500}"
target="${CARGO_TARGET_DIR:-target}"
started=$SECONDS
only=""

say() { printf '%s\n' "$*"; }

usage() {
    sed -n '2,13s/^# \{0,1\}//p' "$0"
}

while [ $# -gt 0 ]; do
    case "$1" in
        --only) only="${2:?--only needs a stage}"; shift 2 ;;
        --help | -h) usage; exit 0 ;;
        *) say "unknown argument: $1"; usage; exit 64 ;;
    esac
done
case "$only" in
    "" | format | lint | unit | sim | mutations | process | attack | differential | cluster) ;;
    *) say "there is no stage '$only'"; usage; exit 64 ;;
esac

fail() {
    say ""
    say "FAILED after $((SECONDS - started)) s: $1"
    say "  $2"
    exit 1
}

# stage NAME MINUTES HINT COMMAND...: runs it unless another stage was asked for. The minutes are what
# it may take on two cores from a clean clone; all together are 40.
stage() {
    local name="$1" budget="$2" hint="$3" from=$SECONDS took
    shift 3
    if [ -n "$only" ] && [ "$only" != "$name" ]; then
        return
    fi
    say ""
    say "== $name: $*"
    "$@" || fail "$name" "$hint"
    took=$((SECONDS - from))
    say "== $name: ok, $took s of $((budget * 60)) s"
    if [ "$took" -gt $((budget * 60)) ]; then
        say "   (over its budget: on a machine that is not idle, or the stage has grown)"
    fi
}

# --- what is needed -----------------------------------------------------------------------------

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

# Debian starts a packaged service when it is installed; a policy of "no" keeps it from that.
install_redis() {
    local policy=/usr/sbin/policy-rc.d made=no
    say "installing redis-server and redis-tools (apt-get)"
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod +x "$policy"
        made=yes
    fi
    local status=0
    as_root apt-get update -qq || true
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends redis-server redis-tools || status=$?
    if [ "$made" = yes ]; then as_root rm -f "$policy"; fi
    return "$status"
}

command -v cargo >/dev/null || fail "no cargo" "install Rust: https://rustup.rs"
for component in fmt clippy; do
    cargo "$component" --version >/dev/null 2>&1 \
        || fail "no cargo $component" "rustup component add rustfmt clippy"
done
if ! command -v redis-server >/dev/null || ! command -v redis-cli >/dev/null; then
    command -v apt-get >/dev/null \
        || fail "no redis-server" "install redis-server and redis-cli by hand: this is not a Debian"
    install_redis || fail "redis-server can't be installed" \
        "run as root (or with sudo): apt-get install redis-server redis-tools"
fi

# redis-py comes by name and version (tests/cluster/clients.rs) into the target folder.
if ! python3 -m pip --version >/dev/null 2>&1; then
    command -v apt-get >/dev/null \
        || fail "no python3 with pip" "install both by hand: this is not a Debian"
    say "installing python3 and python3-pip (apt-get)"
    as_root apt-get update -qq || true
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends python3 python3-pip \
        || fail "python3-pip can't be installed" "run as root (or with sudo): apt-get install python3-pip"
fi

# Tests that can't run here say so in this file; its lines are repeated at the end.
mkdir -p "$target"
HOLDFAST_SKIPPED="$(cd "$target" && pwd)/skipped.txt"
export HOLDFAST_SKIPPED
rm -f "$HOLDFAST_SKIPPED"

say "$(rustc --version), $(redis-server --version | cut -d' ' -f1-3), $(nproc) cores"

# --- the stages ---------------------------------------------------------------------------------

# run_tests FILTER CARGO-ARGUMENTS...: with nextest where it is there, else with cargo's own runner.
if cargo nextest --version >/dev/null 2>&1; then
    run_tests() { cargo nextest run --no-fail-fast --status-level fail --final-status-level fail "$@"; }
else
    run_tests() { cargo test --no-fail-fast "$@"; }
fi

# Libraries, binaries and every test target that has no stage of its own.
unit_tests() {
    local targets=(--workspace --lib --bins) path name
    for path in tests/*.rs tests/*/main.rs cluster-bus/tests/*.rs crates/*/tests/*.rs; do
        [ -e "$path" ] || continue
        name="${path##*tests/}"
        name="${name%/main.rs}"
        name="${name%.rs}"
        case "$name" in
            process | attack | differential | cluster) ;;
            *) targets+=(--test "$name") ;;
        esac
    done
    run_tests "${targets[@]}"
}

# Two clusters run at once, or one that is measured (Turn in tests/cluster/harness.rs), beside one test that waits
# for minutes to pass: more threads would only wait for their turn, fewer would leave the machine idle.
cluster_tests() {
    NEXTEST_TEST_THREADS=3 RUST_TEST_THREADS=3 run_tests --workspace --test cluster
}

stage format 1 "cargo fmt --all" \
    cargo fmt --all --check
stage lint 6 "the messages above say what to change; nothing is allowed away without a reason beside it" \
    cargo clippy --workspace --all-targets --quiet -- -D warnings
stage unit 7 "cargo test NAME runs one test alone" \
    unit_tests
stage sim 5 "the seed above reproduces the run: scripts/sim.sh --seed N --topology T (docs/TESTING.md)" \
    scripts/sim.sh --seeds "$SIM_SEEDS"
stage mutations 7 "a broken rule that nothing notices: the tests have become blind to it" \
    scripts/sim.sh --mutations
stage process 1 "cargo test --test process NAME -- --nocapture runs one test alone" \
    run_tests --workspace --test process
stage attack 4 "cargo test --test attack NAME -- --nocapture runs one attack alone" \
    run_tests --workspace --test attack
stage differential 1 "the story above is the shortest found; compare.rs holds the known differences" \
    run_tests --workspace --test differential
stage cluster 8 "cargo test --test cluster NAME -- --nocapture runs one test alone" \
    cluster_tests

say ""
if [ -s "$HOLDFAST_SKIPPED" ]; then
    say "SKIPPED on this machine:"
    sed 's/^/  /' "$HOLDFAST_SKIPPED"
fi
say "ALL IS WELL${only:+ with $only}: $((SECONDS - started)) s."
