#!/usr/bin/env bash
# A Holdfast cluster on this machine, with one command on a fresh machine with Rust.
#
#   scripts/start_cluster.sh            build, start 3 masters + 3 replicas on 7000-7005, form the cluster
#   scripts/start_cluster.sh stop       end the nodes; what they hold stays
#   scripts/start_cluster.sh start      start them again
#   scripts/start_cluster.sh status     what each node is and whether its shard is fault tolerant
#   scripts/start_cluster.sh logs       the last lines of every log (logs --follow: and what comes)
#   scripts/start_cluster.sh clean      stop, then delete the folder
#
#   --nodes N      nodes in all (6)              --port P   the first port (7000)
#   --replicas R   replicas of each master (1)   --dir D    where it lives (holdfast-cluster, in the repository)
#
# Installs redis-tools (redis-cli) with apt when it is missing. HOLDFAST_BIN names a server binary
# to be used in place of building one. Signals only processes that it started itself.
set -euo pipefail

repo="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
dir="$repo/holdfast-cluster"
nodes=6 replicas=1 port=7000
given="" action="" follow=no server=""
boot="$(cat /proc/sys/kernel/random/boot_id 2>/dev/null || echo none)"

START_DEADLINE=60   # a node answers PING
FORM_DEADLINE=120   # redis-cli --cluster create ends
READY_DEADLINE=60   # cluster_state:ok and raft_ha:1 everywhere
STOP_DEADLINE=30    # a node ends after SIGTERM

say() { printf '%s\n' "$*"; }
die() {
    printf '\nerror: %s\n' "$1" >&2
    shift
    local line
    for line in "$@"; do printf '  %s\n' "$line" >&2; done
    exit 1
}
usage() { sed -n '2,16s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }

# --- the command line ---------------------------------------------------------------------------

number() { # NAME VALUE LOW HIGH
    if ! [[ "$2" =~ ^[0-9]{1,5}$ ]] || [ "$2" -lt "$3" ] || [ "$2" -gt "$4" ]; then
        die "--$1 must be a number from $3 to $4, not '$2'"
    fi
}

while [ $# -gt 0 ]; do
    case "$1" in
        start | stop | status | clean | logs)
            [ -z "$action" ] || die "one action at a time: '$action' or '$1'?"
            action="$1"; shift ;;
        --nodes | --replicas | --port | --dir)
            [ $# -ge 2 ] || die "$1 needs a value"
            case "$1" in
                --nodes) nodes="$2"; number nodes "$2" 1 200 ;;
                --replicas) replicas="$2"; number replicas "$2" 0 20 ;;
                --port) port="$2"; number port "$2" 1 55535 ;;
                --dir) dir="$2" ;;
            esac
            given="$given ${1#--}"; shift 2 ;;
        --follow | -f) follow=yes; shift ;;
        --help | -h | help) usage; exit 0 ;;
        *) usage >&2; die "unknown argument '$1'" ;;
    esac
done
action="${action:-start}"

# me ACTION: how to call this script again for the same cluster.
me() { printf '%s%s%s' "$0" "${1:+ $1}" "$([ "$dir" = "$repo/holdfast-cluster" ] || printf ' --dir %s' "$dir")"; }

# The folder remembers with what it was made, so that `stop --dir D` is enough.
settings="$dir/settings"
if [ -f "$settings" ]; then
    while IFS='=' read -r name value; do
        case "$name" in nodes | replicas | port) ;; *) continue ;; esac
        if [[ " $given " == *" $name "* ]] && [ "${!name}" != "$value" ]; then
            die "the cluster in $dir was made with --$name $value, not ${!name}" \
                "another --dir makes a second cluster; '$0 clean --dir $dir' deletes this one"
        fi
        printf -v "$name" '%s' "$value"
    done <"$settings"
elif [ "$action" != start ]; then
    [ "$action" = clean ] && { say "there is no cluster in $dir"; exit 0; }
    die "there is no cluster in $dir" "'$(me start)' makes one"
fi
last=$((port + nodes - 1))

# --- small things -------------------------------------------------------------------------------

# until_true SECONDS COMMAND...: polls until the command succeeds.
until_true() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.1 # between two looks
    done
}

cli() { # PORT COMMAND...; never waits long for a node that hangs
    local at="$1"
    shift
    timeout 5 redis-cli -h 127.0.0.1 -p "$at" "$@" 2>/dev/null
}

field() { # NAME, on standard input the text of INFO or CLUSTER INFO
    tr -d '\r' | sed -n "s/^$1://p"
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else return 1; fi
}

need() { # PROGRAM PACKAGE
    command -v "$1" >/dev/null && return
    command -v apt-get >/dev/null \
        || die "there is no $1, and no apt-get to install it with" "install $2 (or what holds $1 here) and try again"
    say "installing $2, for $1 (apt-get)"
    local log
    log="$(mktemp)"
    as_root apt-get update -qq >"$log" 2>&1 || true
    if ! as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "$2" >>"$log" 2>&1; then
        tail -n 15 "$log" >&2
        rm -f "$log"
        die "$2 can't be installed" "as root: apt-get install $2"
    fi
    rm -f "$log"
}

# --- processes: a pid alone is not enough, it may belong to somebody else by now -----------------

start_time() { # PID: the kernel's start time of that process, or nothing
    local stat
    stat="$(cat "/proc/$1/stat" 2>/dev/null)" || return 1
    stat="${stat##*) }" # the name before may hold spaces
    [ "${stat%% *}" != Z ] || return 1
    cut -d' ' -f20 <<<"$stat"
}

# The pid of the node on this port, if it still is the process that we started.
pid_of() {
    local pid began where
    read -r pid began where 2>/dev/null <"$dir/$1/process" || return 1
    [ "$where" = "$boot" ] && [ "$(start_time "$pid")" = "$began" ] && printf '%s\n' "$pid"
}

remember() { # PORT, once its pidfile is there
    local pid began
    pid="$(tr -dc 0-9 <"$dir/$1/node.pid" 2>/dev/null)" && [ -n "$pid" ] || return 1
    began="$(start_time "$pid")" || return 1
    printf '%s %s %s\n' "$pid" "$began" "$boot" >"$dir/$1/process"
}

taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

log_tail() { # PORT LINES
    tail -n "$2" "$dir/$1/node.log" 2>/dev/null | sed "s/^/  $1 | /" || true
}

# --- start --------------------------------------------------------------------------------------

check_size() {
    local masters=$((nodes / (replicas + 1)))
    if [ "$masters" -lt 3 ]; then
        die "a cluster has at least 3 masters; $nodes nodes with $replicas replicas each make $masters" \
            "at least --nodes $((3 * (replicas + 1))) with --replicas $replicas"
    fi
    [ "$last" -le 55535 ] || die "ports $port-$last: the bus is 10000 above and would end beyond 65535"
}

build() {
    if [ -n "${HOLDFAST_BIN:-}" ]; then
        server="$(command -v "$HOLDFAST_BIN")" || die "HOLDFAST_BIN: there is no program $HOLDFAST_BIN"
        return
    fi
    # Where rustup puts it; a shell that was open before does not know yet.
    command -v cargo >/dev/null || PATH="$PATH:$HOME/.cargo/bin"
    command -v cargo >/dev/null || die "there is no cargo" "install Rust: https://rustup.rs"
    need cc build-essential
    need make build-essential
    local log="$dir/build.log" from=$SECONDS status=0 working
    say "building (cargo build --release; the first time takes some minutes)"
    (cd "$repo" && exec cargo build --release --bin holdfast-server) >"$log" 2>&1 &
    working=$!
    while kill -0 "$working" 2>/dev/null; do
        # A line every ten seconds of what is being compiled: a silent minute looks like a hang.
        sleep 0.2
        if [ $((SECONDS - from)) -ge 10 ] && kill -0 "$working" 2>/dev/null; then
            from=$SECONDS
            say "  ... $(grep -c Compiling "$log" || true) crates, now:$(grep Compiling "$log" | tail -n 1)"
        fi
    done
    wait "$working" || status=$?
    if [ "$status" != 0 ]; then
        tail -n 20 "$log" >&2
        die "the build failed (cargo ended with $status)" "all of it: $log"
    fi
    server="${CARGO_TARGET_DIR:-$repo/target}/release/holdfast-server"
    [ -x "$server" ] || die "cargo made no $server"
}

refuse_taken_ports() {
    local p
    for ((p = port; p <= last; p++)); do
        pid_of "$p" >/dev/null && continue
        ! taken "$p" || die "port $p is in use by something else" \
            "see who: ss -ltnp 'sport = :$p'" "or take others: $0 --port 7100 --dir $dir-7100"
        ! taken "$((p + 10000))" || die "port $((p + 10000)), the bus of $p, is in use by something else"
    done
}

start_node() { # PORT
    local home="$dir/$1" out
    mkdir -p "$home"
    rm -f "$home/node.pid" "$home/process"
    if ! out="$(cd "$home" && "$server" --port "$1" --cluster-enabled yes \
        --cluster-config-file nodes.conf --dir "$home" --appendonly yes --save "" --daemonize yes \
        --pidfile "$home/node.pid" --logfile "$home/node.log" 2>&1)"; then
        printf '%s\n' "$out" | tail -n 10 >&2
        log_tail "$1" 10 >&2
        die "the node on port $1 did not start" "its log: $home/node.log"
    fi
}

answers() { # PORT
    remember "$1" || return 1
    [ "$(cli "$1" ping)" = PONG ]
}

start_nodes() {
    local p begun=()
    for ((p = port; p <= last; p++)); do
        if pid_of "$p" >/dev/null; then
            say "  $p runs already (pid $(pid_of "$p"))"
            continue
        fi
        start_node "$p"
        begun+=("$p")
    done
    for p in ${begun[@]+"${begun[@]}"}; do
        if ! until_true "$START_DEADLINE" answers "$p"; then
            log_tail "$p" 15 >&2
            die "the node on port $p gives no answer after $START_DEADLINE s" "its log: $dir/$p/node.log"
        fi
        say "  $p is up (pid $(pid_of "$p"))"
    done
}

# Whether no node knows another or owns a slot: only then may the cluster be made.
all_alone() {
    local p info
    for ((p = port; p <= last; p++)); do
        info="$(cli "$p" cluster info)" || return 1
        [ "$(field cluster_known_nodes <<<"$info")" = 1 ] || return 1
        [ "$(field cluster_slots_assigned <<<"$info")" = 0 ] || return 1
    done
}

form() {
    local p addresses=() log="$dir/create.log"
    if [ -e "$dir/formed" ]; then
        say "the cluster was formed before; the nodes find each other again"
        return
    fi
    all_alone || die "the nodes in $dir are part of a cluster that was never finished" \
        "'$(me clean)' deletes it, then start again"
    for ((p = port; p <= last; p++)); do addresses+=("127.0.0.1:$p"); done
    say "forming the cluster: redis-cli --cluster create, $((nodes / (replicas + 1))) masters, $replicas replica(s) each"
    if ! timeout "$FORM_DEADLINE" redis-cli --cluster create "${addresses[@]}" \
        --cluster-replicas "$replicas" --cluster-yes </dev/null >"$log" 2>&1; then
        tail -n 15 "$log" >&2
        die "redis-cli could not form the cluster (within $FORM_DEADLINE s)" \
            "all it said: $log" "the nodes still run: '$(me clean)' ends and deletes them"
    fi
    date -u +%FT%TZ >"$dir/formed"
}

# Says in `missing` what is not yet as it should be.
missing=""
ready() {
    local p info
    missing=""
    for ((p = port; p <= last; p++)); do
        info="$(cli "$p" cluster info)" || { missing="$p gives no answer"; return 1; }
        if [ "$(field cluster_state <<<"$info")" != ok ]; then
            missing="cluster_state of $p is '$(field cluster_state <<<"$info")'"
            return 1
        fi
        info="$(cli "$p" info)" || { missing="$p gives no answer"; return 1; }
        # Without replicas a shard is one node: there is nothing to wait for.
        if [ "$replicas" -gt 0 ] && [ "$(field role <<<"$info")" = master ] \
            && [ "$(field raft_ha <<<"$info")" != 1 ]; then
            missing="the shard of $p is not fault tolerant yet (raft_ha:$(field raft_ha <<<"$info"))"
            return 1
        fi
    done
}

start() {
    check_size
    need redis-cli redis-tools
    mkdir -p "$dir"
    dir="$(cd "$dir" && pwd)" settings="$dir/settings"
    build
    refuse_taken_ports
    [ -f "$settings" ] || printf 'nodes=%s\nreplicas=%s\nport=%s\n' "$nodes" "$replicas" "$port" >"$settings"
    say "starting $nodes nodes on 127.0.0.1, ports $port-$last, in $dir"
    start_nodes
    form
    say "waiting for cluster_state:ok$([ "$replicas" = 0 ] || printf ' and raft_ha:1 of every master')"
    if ! until_true "$READY_DEADLINE" ready; then
        log_tail "$port" 10 >&2
        die "not ready after $READY_DEADLINE s: $missing" \
            "the nodes still run: '$(me status)', '$(me logs)', '$(me clean)'"
    fi
    say ""
    if [ "$replicas" -gt 0 ]; then
        say "The cluster is ready: any one node can die without a lost write."
    else
        say "The cluster is ready. Without replicas a node that dies takes its slots with it until it is back."
    fi
    say "  connect:  redis-cli -c -p $port            (any of $port-$last)"
    say "  look:     redis-cli --cluster check 127.0.0.1:$port"
    say "  then:     $(me "status | stop | start | logs | clean")"
}

# --- stop, status, logs, clean ------------------------------------------------------------------

gone() { ! pid_of "$1" >/dev/null; }

stop() {
    local p pid running=()
    for ((p = port; p <= last; p++)); do
        pid="$(pid_of "$p")" || continue
        running+=("$p")
        kill -TERM "$pid" 2>/dev/null || true
    done
    if [ "${#running[@]}" = 0 ]; then
        say "no node of $dir runs"
        return
    fi
    say "stopping the nodes on ports ${running[*]}"
    for p in "${running[@]}"; do
        until_true "$STOP_DEADLINE" gone "$p" && continue
        # What was acknowledged is on disk: this loses nothing.
        say "  $p does not end within $STOP_DEADLINE s after SIGTERM: kill -9"
        if pid="$(pid_of "$p")"; then kill -KILL "$pid" 2>/dev/null || true; fi
        until_true 10 gone "$p" || die "the node on port $p can't be ended"
    done
    say "stopped; '$(me start)' starts them again"
}

status() {
    local p info state bad=0 format='%-6s %-8s %-8s %-7s %-8s %-6s %s\n'
    need redis-cli redis-tools
    # shellcheck disable=SC2059 # the format is above
    printf "$format" PORT PID ROLE STATE RAFT_HA TERM KEYS
    for ((p = port; p <= last; p++)); do
        if gone "$p"; then
            # shellcheck disable=SC2059
            printf "$format" "$p" - down - - - -
            bad=1
            continue
        fi
        info="$(cli "$p" info | tr -d '\r')" || info=""
        state="$(cli "$p" cluster info | field cluster_state)" || state=""
        [ "$state" = ok ] || bad=1
        # shellcheck disable=SC2059
        printf "$format" "$p" "$(pid_of "$p")" "$(field role <<<"$info")" "${state:-silent}" \
            "$(field raft_ha <<<"$info")" "$(field raft_term <<<"$info")" \
            "$(sed -n 's/^db0:keys=\([0-9]*\).*/\1/p' <<<"$info" | grep . || echo 0)"
    done
    return "$bad"
}

logs() {
    local p files=()
    for ((p = port; p <= last; p++)); do
        [ ! -f "$dir/$p/node.log" ] || files+=("$dir/$p/node.log")
    done
    [ "${#files[@]}" -gt 0 ] || die "there are no logs in $dir"
    if [ "$follow" = yes ]; then
        exec tail -n 10 -F "${files[@]}"
    fi
    tail -n 20 "${files[@]}"
}

clean() {
    stop
    say "deleting $dir"
    rm -rf -- "$dir"
}

"$action"
