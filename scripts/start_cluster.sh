#!/usr/bin/env bash
# A Holdfast cluster on this machine, with one command on a fresh machine with Rust.
#
#   scripts/start_cluster.sh            build, start 3 masters + 3 replicas on 7000-7005, form the cluster
#   scripts/start_cluster.sh stop       end the nodes; what they hold stays
#   scripts/start_cluster.sh start      start them again
#   scripts/start_cluster.sh status     what each node is and whether its shard is fault tolerant
#   scripts/start_cluster.sh logs       the last lines of every log (logs --follow: and what comes)
#   scripts/start_cluster.sh clean      stop, then delete the folder
#   scripts/start_cluster.sh grow N     N masters more, each with its replicas, and slots for them
#   scripts/start_cluster.sh shrink N   take the slots of the last N masters, and remove these shards
#
#   --nodes N      nodes in all (6)              --port P   the first port (7000)
#   --replicas R   replicas of each master (1)   --dir D    where it lives (holdfast-cluster, in the repository)
#   --password P   what clients and nodes must know (requirepass and masterauth)
#   --config FILE  a redis.conf that every node reads first
#   --restore B    begin with the keys of B, a folder of redis-cli --cluster backup; as many masters as that has
#   -- OPTIONS     for holdfast-server, last of all: -- --loglevel verbose --maxclients 500
#
# What a cluster was made with is remembered: a later start needs none of it. --password, --config
# and -- at a later start replace what was remembered, and write each node's redis.conf anew.
#
# grow and shrink work while clients do. After an interruption the same command goes on, and the
# other one, with the same N, goes back.
#
# Installs redis-tools (redis-cli) with apt when it is missing. HOLDFAST_BIN names a server binary
# to be used in place of building one. Signals only processes that it started itself. A start that
# fails or is interrupted ends the nodes it began; of a cluster that never was, only logs are left.
set -euo pipefail

repo="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
dir="$repo/holdfast-cluster"
nodes=6 replicas=1 port=7000 password="" config="" restore="" options=()
given="" action="" follow=no server="" tool="" count=""
declare -A dump # of a node's port: the file that it begins with
ports=()   # of the nodes there are
change=""  # a grow or shrink that has not ended: its name, its N, the ports that come or go
boot="$(cat /proc/sys/kernel/random/boot_id 2>/dev/null || echo none)"

START_DEADLINE=60   # a node answers PING
LOAD_DEADLINE=3600  # a node has loaded its keys
FORM_DEADLINE=120   # redis-cli --cluster create ends
READY_DEADLINE=60   # cluster_state:ok and raft_ha:1 everywhere
STOP_DEADLINE=30    # a node ends after SIGTERM
CLI_DEADLINE=5      # redis-cli has an answer; in a start 1, so that the end of another node is seen

say() { printf '%s\n' "$*"; }
die() {
    printf '\nerror: %s\n' "$1" >&2
    shift
    local line
    for line in "$@"; do printf '  %s\n' "$line" >&2; done
    exit 1
}
usage() { sed -n '2,31s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }

# --- the command line ---------------------------------------------------------------------------

number() { # NAME VALUE LOW HIGH
    if ! [[ "$2" =~ ^[0-9]{1,5}$ ]] || [ "$2" -lt "$3" ] || [ "$2" -gt "$4" ]; then
        die "$1 must be a number from $3 to $4, not '$2'"
    fi
}

plain_password() {
    [ -n "$password" ] || die "--password must not be empty"
    ! [[ "$password" =~ [[:cntrl:]] ]] || die "--password must be one line of text"
}

readable_config() {
    [ -f "$config" ] && [ -r "$config" ] || die "--config: there is no file $config that can be read"
    config="$(cd "$(dirname "$config")" && pwd)/$(basename "$config")"
}

readable_backup() {
    [ -f "$restore/nodes.json" ] || die "--restore: there is no $restore/nodes.json" \
        "redis-cli --cluster backup HOST:PORT FOLDER makes such a folder"
    restore="$(cd "$restore" && pwd)"
}

own_options() { # what this script has to know of a node is not for others to say
    local word
    for word in ${options[@]+"${options[@]}"}; do
        case "$word" in
            --port | --dir | --daemonize | --pidfile | --logfile | --cluster-enabled | --cluster-config-file \
                | --requirepass | --masterauth | --unixsocket)
                die "$word is not for the options after --: this script gives it to each node" \
                    "--port, --dir and --password before the -- are what it asks for" ;;
        esac
    done
}

while [ $# -gt 0 ]; do
    case "$1" in
        start | stop | status | clean | logs)
            [ -z "$action" ] || die "one action at a time: '$action' or '$1'?"
            action="$1"; shift ;;
        grow | shrink)
            [ -z "$action" ] || die "one action at a time: '$action' or '$1'?"
            [ $# -ge 2 ] || die "$1 needs a number of masters"
            number "$1" "$2" 1 100
            action="$1" count=$((10#$2)); shift 2 ;;
        --nodes | --replicas | --port | --dir | --password | --config | --restore)
            [ $# -ge 2 ] || die "$1 needs a value"
            case "$1" in
                --password) password="$2"; plain_password ;;
                --config) config="$2"; readable_config ;;
                --restore) restore="$2"; readable_backup ;;
                --nodes) number --nodes "$2" 1 200; nodes=$((10#$2)) ;;
                --replicas) number --replicas "$2" 0 20; replicas=$((10#$2)) ;;
                --port) number --port "$2" 1 55535; port=$((10#$2)) ;;
                --dir) dir="$2" ;;
            esac
            given="$given ${1#--}"; shift 2 ;;
        --) shift; options=("$@"); own_options; given="$given options"; break ;;
        --follow | -f) follow=yes; shift ;;
        --help | -h | help) usage; exit 0 ;;
        *) usage >&2; die "unknown argument '$1'" ;;
    esac
done
action="${action:-start}"
[ -z "$restore" ] || [ "$action" = start ] || die "--restore is for a first start"

# 7000-7005, or 7000-7005 7007 where some are missing in between.
all_ports() {
    local p from="${ports[0]}" before="${ports[0]}" text=""
    for p in "${ports[@]:1}" end; do
        if [ "$p" != $((before + 1)) ]; then
            text="$text $from$([ "$from" = "$before" ] || printf -- '-%s' "$before")"
            from="$p"
        fi
        before="$p"
    done
    printf '%s' "${text# }"
}

# me ACTION: how to call this script again for the same cluster.
me() { printf '%s%s%s' "$0" "${1:+ $1}" "$([ "$dir" = "$repo/holdfast-cluster" ] || printf ' --dir %s' "$dir")"; }

# given NAME: whether it was said on the command line.
given() { [[ " $given " == *" $1 "* ]]; }

# Whether nodes have folders here. Without any, what the settings say binds nobody.
has_nodes() {
    local home
    for home in "$dir"/[0-9]*; do [ ! -d "$home" ] || return 0; done
    return 1
}

# The folder remembers with what it was made, so that `stop --dir D` is enough.
settings="$dir/settings"
if [ -f "$settings" ]; then
    while IFS='=' read -r name value; do
        case "$name" in
            nodes | replicas | port)
                if given "$name" && [ "${!name}" != "$value" ]; then
                    has_nodes || continue
                    die "the cluster in $dir was made with --$name $value, not ${!name}" \
                        "another --dir makes a second cluster; '$0 clean --dir $dir' deletes this one"
                fi ;;
            config) ! given config || continue ;;
            change) ;;
            ports) ! has_nodes || read -ra ports <<<"$value"; continue ;;
            *) continue ;;
        esac
        printf -v "$name" '%s' "$value"
    done <"$settings"
    given password || [ ! -f "$dir/password" ] || password="$(cat "$dir/password")"
    given options || [ ! -f "$dir/options" ] || mapfile -d '' -t options <"$dir/options"
elif [ "$action" != start ]; then
    [ "$action" = clean ] && { say "there is no cluster in $dir"; exit 0; }
    die "there is no cluster in $dir" "'$(me start)' makes one"
fi
[ "${#ports[@]}" -gt 0 ] || mapfile -t ports < <(seq "$port" $((port + nodes - 1)))
# Of the environment, where no list of processes shows it.
[ -z "$password" ] || export REDISCLI_AUTH="$password"

# --- small things -------------------------------------------------------------------------------

# until_true SECONDS COMMAND...: polls until the command succeeds. A node of this start that has ended
# meanwhile ends it.
until_true() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        all_live
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.1 # between two looks
    done
}

cli() { # PORT COMMAND...; never waits long for a node that hangs
    local at="$1"
    shift
    timeout --foreground "$CLI_DEADLINE" redis-cli -h 127.0.0.1 -p "$at" "$@" 2>/dev/null
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

start_time() { # PID: sets `began` to the kernel's start time of that process; fails without one
    local stat
    read -r stat 2>/dev/null <"/proc/$1/stat" || return 1
    # The name before may hold spaces. A process that nobody has waited for is none.
    read -ra stat <<<"${stat##*) }"
    [ "${stat[0]}" != Z ] || return 1
    began="${stat[19]}"
}

# Whether the node on this port still is the process that we started; sets `pid`.
alive() {
    local then where began
    read -r pid then where 2>/dev/null <"$dir/$1/process" || return 1
    [ "$where" = "$boot" ] && start_time "$pid" && [ "$began" = "$then" ]
}
gone() { ! alive "$1"; }

taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# --- a start that does not end well --------------------------------------------------------------

begun=()        # ports of the nodes that this start began
made=()         # those of them that had no folder before
declare -A size # how long a node's log was before
job=""          # a build, or redis-cli at work: the leader of a process group
finished=no pending=""

on_signals() { # FUNCTION LAST-LINE: what a signal does
    local signal
    for signal in INT:130 TERM:143 HUP:129 QUIT:131 PIPE:141; do
        # shellcheck disable=SC2064 # the function's name, now
        trap "$1 ${signal/:/ }$2" "${signal%:*}"
    done
}

remember_signal() { pending="$*"; } # NAME STATUS

interrupted() { # NAME STATUS
    printf '\ninterrupted (SIG%s)\n' "$1" >&2
    exit "$2"
}

# Bash 5.2 may run a trap while it reads a command substitution: the trap's text ends at a ")" then, and
# without one it is a syntax error. In all other places the ")" is never reached: the line before it exits.
signals_interrupt() { on_signals interrupted $'\n)'; }

end_job() { [ -z "$job" ] || kill -TERM -- "-$job" 2>/dev/null || true; }

# Ends what this start began. A cluster that was never formed holds nothing: its folders go, so that
# the next start finds none of it, and the logs stay.
clean_up() {
    local p home
    # From here on nothing may stop it: neither an impatient second Ctrl-C nor a closed terminal.
    trap '' INT TERM HUP PIPE QUIT
    trap - EXIT
    set +e
    [ "$finished" = no ] || return
    end_job
    [ "${#begun[@]}" -gt 0 ] || return
    say "ending what this start began (ports ${begun[*]})" >&2
    ended=yes
    if [ -e "$dir/formed" ]; then
        end_nodes TERM "$STOP_DEADLINE" "${begun[@]}" >&2
        return
    fi
    end_nodes KILL 10 "${begun[@]}" >&2
    mkdir -p "$dir/failed"
    for p in ${made[@]+"${made[@]}"}; do
        home="$dir/$p"
        alive "$p" && continue
        cat "$home/node.out" "$home/node.log" >"$dir/failed/$p.log" 2>/dev/null
        rm -rf -- "$home"
    done
}

# What a node has said since this start, most of it in its log; before there is one, on stderr.
last_words() { # PORT
    local home="$dir/$1" text
    text="$({ cat "$home/node.out"; tail -c "+$((${size[$1]:-0} + 1))" "$home/node.log"; } 2>/dev/null)" || true
    [ -z "$text" ] || tail -n 12 <<<"$text" | sed "s/^/  $1 | /" >&2
}

# The one error about one node, with its last words.
die_of_node() { # PORT TEXT
    printf '\nerror: the node on port %s %s\n' "$1" "$2" >&2
    last_words "$1"
    local log="$dir/$1/node.log"
    # Where it will be when this start has been cleaned up.
    if [ ! -e "$dir/formed" ] && [[ " ${made[*]-} " == *" $1 "* ]]; then log="$dir/failed/$1.log"; fi
    printf '  all of it: %s\n' "$log" >&2
    exit 1
}

# Whether every node that this start began still runs; the first that does not ends the start.
ended=no
all_live() {
    local p pid
    [ "$ended" = no ] || return 0
    for p in ${begun[@]+"${begun[@]}"}; do
        alive "$p" || die_of_node "$p" "has ended"
    done
}

# A node that is slow to answer is no reason to end a cluster that has data: it may be reading its log.
die_of_patience() { # TEXT
    if [ -e "$dir/formed" ]; then
        finished=yes
        die "$1" "the nodes still run: '$(me status)', '$(me logs)', '$(me stop)'"
    fi
    die "$1"
}

# --- start --------------------------------------------------------------------------------------

# What the backup has decides how many masters there are; its files are looked through before anything begins.
take_backup() {
    local files n
    ! has_nodes && [ ! -e "$dir/formed" ] || die "there is data in $dir, and --restore is for a new cluster" \
        "'$(me clean)' deletes it; another --dir makes a second cluster"
    say "looking through $restore"
    files="$("$tool" restore "$restore" --files)" || die "the backup in $restore can't be restored"
    mapfile -t files <<<"$files"
    if given nodes; then
        [ $((nodes / (replicas + 1))) = "${#files[@]}" ] || die "the backup has ${#files[@]} masters with slots" \
            "with --replicas $replicas that is --nodes $((${#files[@]} * (replicas + 1)))"
    fi
    nodes=$((${#files[@]} * (replicas + 1)))
    mapfile -t ports < <(seq "$port" $((port + nodes - 1)))
    for n in "${!files[@]}"; do dump[${ports[$n]}]="${files[$n]}"; done
}

check_size() {
    local masters=$((nodes / (replicas + 1)))
    if [ ! -e "$dir/formed" ] && [ "$masters" -lt 3 ] && [ -z "$restore" ]; then
        die "a cluster has at least 3 masters; $nodes nodes with $replicas replicas each make $masters" \
            "at least --nodes $((3 * (replicas + 1))) with --replicas $replicas"
    fi
    [ "${ports[-1]}" -le 55535 ] || die "ports $(all_ports): the bus is 10000 above and would end beyond 65535"
}

build() {
    if [ -n "${HOLDFAST_BIN:-}" ]; then
        server="$(command -v "$HOLDFAST_BIN")" || die "HOLDFAST_BIN: there is no program $HOLDFAST_BIN"
        tool="${HOLDFAST_TOOL:-$(dirname "$server")/holdfast}"
        [ -z "$restore" ] || [ -x "$tool" ] || die "--restore needs the program holdfast beside $server, or HOLDFAST_TOOL"
        return
    fi
    # Where rustup puts it; a shell that was open before does not know yet.
    command -v cargo >/dev/null || PATH="$PATH:$HOME/.cargo/bin"
    command -v cargo >/dev/null || die "there is no cargo" "install Rust: https://rustup.rs"
    need cc build-essential
    need make build-essential
    local log="$dir/build.log" from=$SECONDS status=0 working programs=(--bin holdfast-server)
    [ -z "$restore" ] || programs+=(--bin holdfast)
    say "building (cargo build --release; the first time takes some minutes)"
    (cd "$repo" && exec setsid cargo build --release "${programs[@]}") >"$log" 2>&1 9>&- &
    working=$! job=$!
    while kill -0 "$working" 2>/dev/null; do
        # A line every ten seconds of what is being compiled: a silent minute looks like a hang.
        sleep 0.2
        if [ $((SECONDS - from)) -ge 10 ] && kill -0 "$working" 2>/dev/null; then
            from=$SECONDS
            say "  ... $(grep -c Compiling "$log" || true) crates, now:$(grep Compiling "$log" | tail -n 1)"
        fi
    done
    wait "$working" || status=$?
    job=""
    if [ "$status" != 0 ]; then
        tail -n 20 "$log" >&2
        die "the build failed (cargo ended with $status)" "all of it: $log"
    fi
    server="${CARGO_TARGET_DIR:-$repo/target}/release/holdfast-server"
    tool="${server%-server}"
    [ -x "$server" ] || die "cargo made no $server"
}

refuse_taken_ports() {
    local p
    for p in "${ports[@]}"; do
        gone "$p" || continue
        ! taken "$p" || die "port $p is in use by something else" \
            "see who: ss -ltnp 'sport = :$p'" "or take others: $0 --port 7100 --dir $dir-7100"
        ! taken "$((p + 10000))" || die "port $((p + 10000)), the bus of $p, is in use by something else"
    done
}

# The kernel gives outgoing connections ports of a range of their own, also ours while a node is down.
warn_of_outgoing_ports() {
    local low high from
    read -r low high 2>/dev/null </proc/sys/net/ipv4/ip_local_port_range || return 0
    for from in "$port" $((port + 10000)); do
        [ "$from" -le "$high" ] && [ $((from - port + ports[-1])) -ge "$low" ] || continue
        say "note: ports $from-$((from - port + ports[-1])) are in the range $low-$high from which this machine's outgoing"
        say "  connections take theirs: while a node is down any program may get its port, and the node can't start."
        [ $((low - 10000 - nodes)) -lt 1 ] || say "  With --port $((low - 10000 - nodes)) or less, ports and bus ports are below it."
        return 0
    done
}

quoted() { # TEXT, as redis.conf has it
    local text="${1//\\/\\\\}"
    printf '"%s"' "${text//\"/\\\"}"
}

# What the nodes are started with, for the next start.
remember_settings() {
    (
        umask 077
        printf 'nodes=%s\nreplicas=%s\nport=%s\nports=%s\nconfig=%s\nchange=%s\n' \
            "${#ports[@]}" "$replicas" "$port" "${ports[*]}" "$config" "$change" >"$settings.new"
        mv "$settings.new" "$settings"
        [ -z "$password" ] || printf '%s' "$password" >"$dir/password"
        ! given options || printf '%s\0' ${options[@]+"${options[@]}"} >"$dir/options"
        [ "${#options[@]}" -gt 0 ] || rm -f "$dir/options"
    )
}

# A file for each node: CONFIG REWRITE writes into it, and a password stands in no list of processes.
write_conf() { # PORT
    local file="$dir/$1/redis.conf"
    [ ! -f "$file" ] || given config || given password || return 0
    (
        umask 077
        {
            say "# Written by start_cluster.sh, which gives port, folders and the rest on the command line."
            # For this machine alone, unless the file says more.
            say "bind 127.0.0.1 -::1"
            [ -z "$config" ] || say "include $(quoted "$config")"
            [ -z "$password" ] || say "requirepass $(quoted "$password")"
            [ -z "$password" ] || say "masterauth $(quoted "$password")"
        } >"$file"
    )
}

# The node is remembered before it is one: the process that becomes the server by exec writes its own
# id down first. Signals wait until that is done.
start_node() { # PORT
    local home="$dir/$1"
    on_signals remember_signal ""
    begun+=("$1")
    [ -d "$home" ] || made+=("$1")
    mkdir -p "$home"
    rm -f "$home/process"
    write_conf "$1"
    local begins=()
    if [ -n "${dump[$1]-}" ]; then
        cp -- "${dump[$1]}" "$home/dump.rdb" || die "${dump[$1]} can't be copied to $home"
        begins=(--dbfilename dump.rdb)
    fi
    size[$1]="$(stat -c %s "$home/node.log" 2>/dev/null || echo 0)"
    (
        trap - INT TERM HUP PIPE QUIT EXIT
        exec 9>&- </dev/null >"$home/node.out" 2>&1
        unset REDISCLI_AUTH
        cd "$home"
        start_time "$BASHPID"
        printf '%s %s %s\n' "$BASHPID" "$began" "$boot" >"$home/process.new"
        mv "$home/process.new" "$home/process"
        exec setsid "$server" "$home/redis.conf" --port "$1" --cluster-enabled yes \
            --cluster-config-file nodes.conf --dir "$home" --daemonize no \
            --pidfile "$home/node.pid" --logfile "$home/node.log" ${options[@]+"${options[@]}"} \
            ${begins[@]+"${begins[@]}"}
    ) &
    disown # its end is ours to tell, not the shell's
    local end=$((SECONDS + 10))
    until [ -s "$home/process" ] || [ "$SECONDS" -ge "$end" ]; do
        sleep 0.01 || true # a signal may end it
    done
    signals_interrupt
    # shellcheck disable=SC2086 # a name and a number
    [ -z "$pending" ] || interrupted $pending
}

answers() { # PORT
    case "$(cli "$1" ping)" in
        PONG | LOADING*) return 0 ;;
        NOAUTH*) die "the node on port $1 wants another password than this script knows" "--password P" ;;
    esac
    return 1
}

loaded() { # PORT
    [ "$(cli "$1" ping)" = PONG ]
}

start_nodes() {
    local p pid patience
    for p in "${ports[@]}"; do
        if alive "$p"; then
            say "  $p runs already (pid $pid)"
            continue
        fi
        # Of a shrink that was interrupted: it has been removed.
        if changing "$p" && [ ! -d "$dir/$p" ]; then continue; fi
        start_node "$p"
    done
    for p in ${begun[@]+"${begun[@]}"}; do
        # What it begins with is imported before its first answer.
        patience="$([ -n "${dump[$p]-}" ] && echo "$LOAD_DEADLINE" || echo "$START_DEADLINE")"
        until_true "$patience" answers "$p" \
            || die_of_patience "the node on port $p gives no answer after $patience s"
        loaded "$p" || say "  $p loads its keys"
        until_true "$LOAD_DEADLINE" loaded "$p" \
            || die_of_patience "the node on port $p still loads after $LOAD_DEADLINE s"
        alive "$p" || die_of_node "$p" "has ended"
        say "  $p is up (pid $pid)"
    done
}

# Whether no node knows another or owns a slot: only then may the cluster be made.
all_alone() {
    local p info
    for p in "${ports[@]}"; do
        info="$(cli "$p" cluster info)" || return 1
        [ "$(field cluster_known_nodes <<<"$info")" = 1 ] || return 1
        [ "$(field cluster_slots_assigned <<<"$info")" = 0 ] || return 1
    done
}

form() {
    local p addresses=() log="$dir/create.log" status=0 maker="redis-cli --cluster create"
    if [ -e "$dir/formed" ]; then
        say "the cluster was formed before; the nodes find each other again"
        return
    fi
    [ -n "$restore" ] || until_true 10 all_alone || die "the nodes in $dir are part of a cluster that was never finished" \
        "'$(me clean)' deletes it, then start again"
    for p in "${ports[@]}"; do addresses+=("127.0.0.1:$p"); done
    if [ -n "$restore" ]; then
        maker="holdfast restore"
        say "forming the cluster: $maker, ${#dump[@]} masters, $replicas replica(s) each"
        setsid timeout "$LOAD_DEADLINE" "$tool" restore "$restore" --nodes "$(IFS=,; echo "${addresses[*]}")" \
            </dev/null >"$log" 2>&1 9>&- &
    else
        say "forming the cluster: $maker, $((nodes / (replicas + 1))) masters, $replicas replica(s) each"
        setsid timeout "$FORM_DEADLINE" redis-cli --cluster create "${addresses[@]}" \
            --cluster-replicas "$replicas" --cluster-yes </dev/null >"$log" 2>&1 9>&- &
    fi
    job=$!
    while kill -0 "$job" 2>/dev/null; do
        all_live
        sleep 0.1 # between two looks
    done
    wait "$job" || status=$?
    job=""
    if [ "$status" != 0 ]; then
        all_live
        tail -n 15 "$log" >&2
        die "$maker could not form the cluster" "all it said: $log"
    fi
    # They would be named in the log of every later start.
    for p in "${!dump[@]}"; do rm -f -- "$dir/$p/dump.rdb"; done
    date -u +%FT%TZ >"$dir/formed"
}

# Says in `missing` what is not yet as it should be.
missing=""
changed_too=no # also of nodes that come or go
ready() {
    local p info
    missing=""
    for p in "${ports[@]}"; do
        [ "$changed_too" = yes ] || ! changing "$p" || continue
        all_live
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

# Nothing else of this script may change the cluster meanwhile, and no signal ends it in silence.
work_alone() { # WHAT TO DO AT THE END
    exec 9>"$dir/lock"
    flock -n 9 || die "another start, grow or shrink is at work in $dir"
    CLI_DEADLINE=1
    # shellcheck disable=SC2064 # the function's name, now
    trap "$1" EXIT
    signals_interrupt
}

start() {
    [ -n "$restore" ] || check_size
    need redis-cli redis-tools
    mkdir -p "$dir"
    dir="$(cd "$dir" && pwd)" settings="$dir/settings"
    work_alone clean_up
    [ -z "$config" ] || readable_config
    if [ -n "$restore" ]; then
        build
        take_backup
        check_size
    fi
    refuse_taken_ports
    warn_of_outgoing_ports
    [ -n "$server" ] || build
    rm -rf -- "$dir/failed"
    remember_settings
    say "starting ${#ports[@]} nodes on 127.0.0.1, ports $(all_ports), in $dir"
    start_nodes
    form
    say "waiting for cluster_state:ok$([ "$replicas" = 0 ] || printf ' and raft_ha:1 of every master')"
    until_true "$READY_DEADLINE" ready || die_of_patience "not ready after $READY_DEADLINE s: $missing"
    all_live
    finished=yes
    say ""
    if [ "$replicas" -gt 0 ]; then
        say "The cluster is ready: any one node can die without a lost write."
    else
        say "The cluster is ready. Without replicas a node that dies takes its slots with it until it is back."
    fi
    local auth=""
    [ -z "$password" ] || auth=" --askpass"
    say "  connect:  redis-cli -c -p $port$auth            (any of $(all_ports))"
    say "  look:     redis-cli$auth --cluster check 127.0.0.1:$port"
    say "  then:     $(me "status | stop | start | logs | clean | grow N | shrink N")"
    say_change
}

# --- stop, status, logs, clean ------------------------------------------------------------------

# end_nodes SIGNAL SECONDS PORTS...: sends it to those that run, waits for all, and makes an end of them.
end_nodes() {
    local signal="$1" patience="$2" p pid
    shift 2
    for p in "$@"; do
        alive "$p" && kill "-$signal" "$pid" 2>/dev/null || true
    done
    for p in "$@"; do
        until_true "$patience" gone "$p" && continue
        # What was acknowledged is on disk: this loses nothing.
        say "  $p does not end within $patience s after SIG$signal: kill -9"
        if alive "$p"; then kill -KILL "$pid" 2>/dev/null || true; fi
        until_true 10 gone "$p" || die "the node on port $p can't be ended"
    done
}

stop() {
    local p running=()
    for p in "${ports[@]}"; do
        gone "$p" || running+=("$p")
    done
    if [ "${#running[@]}" = 0 ]; then
        say "no node of $dir runs"
        return
    fi
    say "stopping the nodes on ports ${running[*]}"
    end_nodes TERM "$STOP_DEADLINE" "${running[@]}"
    say "stopped; '$(me start)' starts them again"
}

status() {
    local p pid info mine state locked=no bad=0 format='%-6s %-8s %-8s %-7s %-8s %-6s %s\n'
    need redis-cli redis-tools
    # shellcheck disable=SC2059 # the format is above
    printf "$format" PORT PID ROLE STATE RAFT_HA TERM KEYS
    for p in "${ports[@]}"; do
        if gone "$p"; then
            # shellcheck disable=SC2059
            printf "$format" "$p" - down - - - -
            bad=1
            continue
        fi
        info="$(cli "$p" info | tr -d '\r')" || info=""
        if [[ "$info" == NOAUTH* ]]; then
            # shellcheck disable=SC2059
            printf "$format" "$p" "$pid" - locked - - -
            bad=1 locked=yes
            continue
        fi
        mine="$(cli "$p" cluster info)" || mine=""
        state="$(field cluster_state <<<"$mine")"
        [ "$(field role <<<"$info")" != master ] || count_moves "$mine"
        [ "$state" = ok ] || bad=1
        # shellcheck disable=SC2059
        printf "$format" "$p" "$pid" "$(field role <<<"$info")" "${state:-silent}" \
            "$(field raft_ha <<<"$info")" "$(field raft_term <<<"$info")" \
            "$(sed -n 's/^db0:keys=\([0-9]*\).*/\1/p' <<<"$info" | grep . || echo 0)"
    done
    say_moves
    say_change
    [ "$locked" = no ] || say "locked: the node wants another password; '$(me status) --password P'"
    return "$bad"
}

logs() {
    local p files=()
    for p in "${ports[@]}"; do
        [ ! -f "$dir/$p/node.log" ] || files+=("$dir/$p/node.log")
        [ ! -f "$dir/failed/$p.log" ] || files+=("$dir/failed/$p.log")
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

# shellcheck source=scripts/start_cluster_moves.sh
. "$repo/scripts/start_cluster_moves.sh"

"$action"
