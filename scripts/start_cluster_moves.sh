# shellcheck shell=bash
# Part of start_cluster.sh: grow and shrink, and what status says of slots on the move.
#
# A change is written down (settings: change) before its first step and forgotten after its last. Each
# step looks first at what is there, so that after an interruption, wherever it came, the same steps
# in the same order go on. Slots are moved by redis-cli --cluster rebalance alone.

JOIN_DEADLINE=60    # a new node is known everywhere, and follows its master
LEAVE_DEADLINE=60   # a node has left its shard
MEND_DEADLINE=60    # redis-cli --cluster check finds nothing, after fix
RETRIES=3           # of a rebalance that fails before it has moved a slot

# --- what there is ------------------------------------------------------------------------------

# Whether this port comes or goes by a change that has not ended.
changing() { # PORT
    [ -n "$change" ] && [[ " $(changed) " == *" $1 "* ]]
}

# The ports of the change: those of a shard are joined by commas there.
changed() {
    local list="${change#* * }"
    printf '%s' "${list//,/ }"
}

say_change() {
    [ -n "$change" ] || return 0
    local verb number
    read -r verb number _ <<<"$change"
    say "$verb $number has not ended: '$(me "$verb $number")' goes on, '$(me "$(reverse "$verb") $number")' goes back"
}

reverse() { if [ "$1" = grow ]; then echo shrink; else echo grow; fi; }

declare -A moves=([migrating]=0 [importing]=0 [lends]=0)
count_moves() { # the text of a master's CLUSTER INFO
    local name number
    for name in slots_migrating slots_importing open_lends; do
        number="$(field "cluster_$name" <<<"$1")"
        name="${name##*_}"
        moves[$name]=$((moves[$name] + ${number:-0}))
    done
}

say_moves() {
    if [ "${moves[migrating]}${moves[importing]}" = 00 ]; then
        say "slots on the move: none"
    else
        say "slots on the move: ${moves[migrating]} leave, ${moves[importing]} come; ${moves[lends]} lends open"
    fi
}

at() { printf '127.0.0.1:%s' "${ports[0]}"; }

own_id() { cli "$1" cluster myid; }             # PORT
knows() { cli "$1" cluster info | field cluster_known_nodes; } # PORT
alone() { [ "$(knows "$1")" = 1 ]; }            # PORT

# own_line PORT: of CLUSTER NODES, what a node says of itself.
own_line() { cli "$1" cluster nodes | tr -d '\r' | grep myself; }

is_master() { [[ "$(own_line "$1")" == *"myself,master"* ]]; } # PORT

# slots PORT: how many it has.
slots() {
    own_line "$1" | awk '{ for (i = 9; i <= NF; i++) if ($i !~ /^\[/) {
        split($i, a, "-"); n += (a[2] == "" ? a[1] : a[2]) - a[1] + 1 } } END { print n + 0 }'
}

# One line for each shard, those with the lowest ports first: the ports of its nodes, with commas.
shards() {
    cli "${ports[0]}" cluster nodes | tr -d '\r' | sort -t: -k2n | awk '{
        split($2, a, /[:@]/); master = $3 ~ /master/ ? $1 : $4
        nodes[master] = nodes[master] "," a[2]
        if (!(master in low) || a[2] + 0 < low[master]) low[master] = a[2] + 0
    } END { for (m in nodes) print low[m] nodes[m] }' | sort -n | cut -d, -f2-
}

# --- redis-cli at work --------------------------------------------------------------------------

# begin_job LOG COMMAND...: in a group of its own, so that a Ctrl-C ends it when we say so.
begin_job() {
    local log="$1"
    shift
    setsid "$@" </dev/null >"$log" 2>&1 9>&- &
    job=$!
}

end_of_job() { # its status
    local status=0
    wait "$job" || status=$?
    job=""
    return "$status"
}

whole() { timeout 30 redis-cli --cluster check "$(at)" >"$dir/check.log" 2>&1; }

# What an interrupted move has left open. Without a leader of every shard nothing may be mended: a
# slot that is being handed over would seem to be nobody's.
mend() {
    until_true "$READY_DEADLINE" ready || die "not ready after $READY_DEADLINE s: $missing"
    # A change needs a moment until all nodes tell the same.
    until_true 3 whole && return
    if ! grep -q 'following slots are open\|covered by nodes' "$dir/check.log"; then
        until_true "$MEND_DEADLINE" whole && return
    fi
    say "mending what an interrupted move left (redis-cli --cluster fix)"
    begin_job "$dir/fix.log" redis-cli --cluster fix "$(at)" --cluster-yes
    end_of_job || true # check has the last word
    until_true "$MEND_DEADLINE" whole && return
    tail -n 15 "$dir/fix.log" >&2
    die "redis-cli --cluster fix could not mend it" "all it said: $dir/fix.log" "$(repair_hint)"
}

repair_hint() { printf 'what the states of a slot mean: docs/OPERATIONS.md, "Moving slots"'; }

# --- progress -----------------------------------------------------------------------------------

shown=-1
progress() { # DONE TOTAL
    local width=40 part
    if [ -t 1 ]; then
        part=$((width * $1 / $2))
        printf '\r  [%s%s] %s of %s slots' "$(printf '%*s' "$part" '' | tr ' ' '#')" \
            "$(printf '%*s' "$((width - part))" '' | tr ' ' .)" "$1" "$2"
        [ "$1" != "$2" ] || printf '\n'
        return
    fi
    # Into a file or a pipe: a line for each tenth.
    part=$((10 * $1 / $2))
    [ "$part" -gt "$shown" ] || return 0
    shown=$part
    say "  $1 of $2 slots"
}

# Says in `total` what rebalance would move.
total=0
to_move() { # ARGUMENTS of rebalance
    local said
    said="$(redis-cli --cluster rebalance "$(at)" --cluster-threshold 1 "$@" --cluster-simulate 2>&1)" || return 1
    total="$(sed -n 's/.*Moving \([0-9]*\) slots.*/\1/p' <<<"$said" | awk '{ n += $1 } END { print n + 0 }')"
}

moved_in() { tr -cd '#' <"$1" | wc -c; } # LOG: redis-cli prints one for each slot

# Rebalances until nothing is to be moved. A failover meanwhile may end redis-cli; it begins again.
rebalance() { # ARGUMENTS of rebalance
    local all before=0 moved=0 failed=0 log="$dir/rebalance.log"
    mend
    until_true "$MEND_DEADLINE" to_move "$@" || die "redis-cli can't say what to move" "$(repair_hint)"
    all="$total"
    if [ "$total" = 0 ]; then
        say "no slot is to be moved"
        return
    fi
    say "moving $total slots (redis-cli --cluster rebalance)"
    while :; do
        begin_job "$log" redis-cli --cluster rebalance "$(at)" --cluster-threshold 1 "$@"
        while kill -0 "$job" 2>/dev/null; do
            moved=$((before + $(moved_in "$log")))
            [ "$moved" -gt "$all" ] || progress "$moved" "$all"
            sleep 0.2 # between two looks
        done
        if end_of_job; then
            progress "$all" "$all"
            return
        fi
        [ "$(moved_in "$log")" = 0 ] || failed=0
        failed=$((failed + 1))
        if [ "$failed" -gt "$RETRIES" ]; then
            tail -n 15 "$log" >&2
            die "redis-cli could not move the slots" "all it said: $log" "$(repair_hint)"
        fi
        [ ! -t 1 ] || say ""
        say "redis-cli gave up: $(grep -a '' "$log" | tail -n 1 | tr -d '#')"
        mend
        until_true "$MEND_DEADLINE" to_move "$@" || die "redis-cli can't say what to move" "$(repair_hint)"
        before=$((all - total))
    done
}

# --- a change begins and ends -------------------------------------------------------------------

# What an end before the end leaves: nothing is undone, all nodes run on.
leave_change() {
    trap '' INT TERM HUP PIPE QUIT
    trap - EXIT
    set +e
    [ "$finished" = no ] || return
    end_job
    say_change >&2
}

# take_up VERB: continues a change of the same N that has not ended, forwards or backwards. Fails
# if there is none.
take_up() {
    [ -n "$change" ] || return 1
    local verb number list
    read -r verb number list <<<"$change"
    if [ "$number" != "$count" ]; then
        say_change
        die "one change at a time"
    fi
    [ "$verb" = "$1" ] || say "going back on $verb $number"
    change="$1 $number $list"
    remember_settings
}

begin_change() { # VERB SHARDS...
    local verb="$1"
    shift
    change="$verb $count $*"
    remember_settings
}

end_change() { # PORTS of the nodes that stay
    ports=("$@")
    change=""
    remember_settings
    until_true "$READY_DEADLINE" ready || die_of_patience "not ready after $READY_DEADLINE s: $missing"
    finished=yes
}

prepare() {
    need redis-cli redis-tools
    dir="$(cd "$dir" && pwd)" settings="$dir/settings"
    [ -e "$dir/formed" ] || die "the cluster in $dir was never formed" "'$(me start)' makes it"
    work_alone leave_change
    CLI_DEADLINE=5
    local p
    for p in "${ports[@]}"; do
        changing "$p" || alive "$p" || die "the node on port $p does not run" "'$(me start)' starts it"
    done
}

# --- grow ---------------------------------------------------------------------------------------

# Ports for new nodes: those that are free in between, then those above.
new_ports() { # HOW MANY
    local p="$port" found=()
    while [ "${#found[@]}" -lt "$1" ]; do
        [ "$p" -le 55535 ] || die "the bus of port $p, 10000 above, would be beyond 65535"
        [[ " ${ports[*]} " == *" $p "* ]] || found+=("$p")
        p=$((p + 1))
    done
    say "${found[*]}"
}

known_to_all() { # PORT
    local id p
    id="$(own_id "$1")" || return 1
    for p in "${ports[@]}"; do
        changing "$p" || [[ "$(cli "$p" cluster nodes)" == *"$id"* ]] || return 1
    done
    [[ "$(cli "$1" cluster nodes)" == *"$(own_id "${ports[0]}")"* ]]
}

replicates() { # PORT MASTER-PORT
    local id
    id="$(own_id "$2")" || return 1
    [[ "$(own_line "$1")" == *"slave $id"* ]] && return
    cli "$1" cluster replicate "$id" >/dev/null
    return 1
}

# join MASTER-PORT REPLICA-PORT...: a shard of the new nodes, without slots as yet.
join() {
    local p masters=()
    for p in "$@"; do
        # Of a shrink on which we go back: drained, and given to another shard as a replica.
        if ! alone "$p" && ! is_master "$p" && ! follows_one_of "$p" "$@"; then
            cli "$p" cluster reset soft >/dev/null
            until_true "$LEAVE_DEADLINE" alone "$p" || die "the node on port $p does not leave its shard"
        fi
        ! alone "$p" || cli "$p" cluster meet 127.0.0.1 "${ports[0]}" >/dev/null
        until_true "$JOIN_DEADLINE" known_to_all "$p" || die "the node on port $p is not known everywhere"
        ! is_master "$p" || masters+=("$p")
    done
    # After a failover another one than the first may be its master: the one with slots.
    local master="${masters[0]}"
    for p in "${masters[@]}"; do [ "$(slots "$p")" = 0 ] || master="$p"; done
    for p in "${masters[@]}"; do
        [ "$p" != "$master" ] || continue
        until_true "$JOIN_DEADLINE" replicates "$p" "$master" \
            || die "the node on port $p does not become a replica of $master"
    done
}

follows_one_of() { # PORT PORTS...
    local line p
    line="$(own_line "$1")"
    shift
    for p in "$@"; do [[ "$line" != *"slave $(own_id "$p") "* ]] || return 0; done
    return 1
}

grow() {
    local groups=() new p i size=$((replicas + 1))
    prepare
    if take_up grow; then
        read -ra groups <<<"${change#* * }"
    else
        read -ra new < <(new_ports $((count * size)))
        for p in "${new[@]}"; do
            ! taken "$p" && ! taken $((p + 10000)) || die "port $p, or its bus port, is in use by something else"
        done
        build
        for ((i = 0; i < ${#new[@]}; i += size)); do groups+=("$(IFS=,; printf '%s' "${new[*]:i:size}")"); done
        mapfile -t ports < <(printf '%s\n' "${ports[@]}" "${new[@]}" | sort -n)
        begin_change grow "${groups[@]}"
    fi
    read -ra new <<<"$(changed)"
    [ -n "$server" ] || build
    say "growing by $count master(s), $replicas replica(s) each: ports ${new[*]}"
    for p in "${new[@]}"; do alive "$p" || start_node "$p"; done
    for p in "${new[@]}"; do
        until_true "$START_DEADLINE" answers "$p" || die "the node on port $p gives no answer after $START_DEADLINE s"
    done
    mend
    for i in "${groups[@]}"; do
        # shellcheck disable=SC2086 # its ports
        join ${i//,/ }
    done
    changed_too=yes # they must be well before they have slots
    rebalance --cluster-use-empty-masters
    end_change "${ports[@]}"
    say "the cluster has $(shards | wc -l) masters now, ports $(all_ports)"
}

# --- shrink -------------------------------------------------------------------------------------

last_shards() {
    local all
    mapfile -t all < <(shards)
    if [ $((${#all[@]} - count)) -lt 3 ]; then
        die "a cluster has at least 3 masters; of ${#all[@]} shrink $count would leave $((${#all[@]} - count))"
    fi
    say "${all[@]: -count}"
}

# Everybody forgets it, then it forgets everybody.
remove_node() { # PORT
    local p id home="$dir/$1"
    if alive "$1"; then
        if ! alone "$1"; then
            id="$(own_id "$1")" || die "the node on port $1 gives no answer"
            for p in "${ports[@]}"; do
                [ "$p" = "$1" ] || gone "$p" || until_true "$LEAVE_DEADLINE" forgets "$p" "$id" \
                    || die "the node on port $p does not forget $1"
            done
            cli "$1" cluster reset hard >/dev/null || true
            until_true "$LEAVE_DEADLINE" alone "$1" || die "the node on port $1 does not leave its shard"
        fi
        end_nodes TERM "$STOP_DEADLINE" "$1"
    fi
    [ -d "$home" ] || return 0
    # It holds nothing but its log.
    mkdir -p "$dir/removed"
    cat "$home/node.log" >>"$dir/removed/$1.log" 2>/dev/null || true
    rm -rf -- "$home"
    say "  $1 is removed"
}

forgets() { # PORT ID
    case "$(cli "$1" cluster forget "$2")" in OK | *"Unknown node"*) return 0 ;; esac
    return 1
}

shrink() {
    local groups old p stay=() weights=() masters=()
    prepare
    if ! take_up shrink; then
        mend
        read -ra groups < <(last_shards)
        # shellcheck disable=SC2048 # ports
        for p in ${groups[*]//,/ }; do
            [[ " ${ports[*]} " == *" $p "* ]] || die "the node on port $p, a replica of them, is not of this script"
        done
        begin_change shrink "${groups[@]}"
    fi
    read -ra old <<<"$(changed)"
    for p in "${ports[@]}"; do changing "$p" || stay+=("$p"); done
    say "shrinking by $count master(s): ports ${old[*]}"
    for p in "${old[@]}"; do
        alive "$p" || [ ! -d "$dir/$p" ] || die "the node on port $p does not run" "'$(me start)' starts it"
        if alive "$p" && ! alone "$p" && is_master "$p"; then
            masters+=("$p")
            [ "$(slots "$p")" = 0 ] || weights+=("$(own_id "$p")=0")
        fi
    done
    [ "${#weights[@]}" = 0 ] || rebalance --cluster-weight "${weights[@]}"
    for p in ${masters[@]+"${masters[@]}"}; do
        [ "$(slots "$p")" = 0 ] || die "the node on port $p still has slots"
    done
    # Replicas first: none is left without its master.
    for p in "${old[@]}"; do ! alive "$p" || is_master "$p" || remove_node "$p"; done
    for p in "${old[@]}"; do remove_node "$p"; done
    end_change "${stay[@]}"
    say "the cluster has $(shards | wc -l) masters now, ports $(all_ports)"
}
