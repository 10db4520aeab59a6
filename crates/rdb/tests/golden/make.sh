#!/bin/sh
# Makes the files of this folder with the packaged redis-server (7.0) and its redis-cli, over a Unix socket in a
# folder of its own. crates/rdb/tests/golden.rs knows what is in them.
#
#     crates/rdb/tests/golden/make.sh
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT

cli() { redis-cli -s "$work/socket" "$@" >/dev/null; }

# Starts a server with these options, runs the function `fill`, keeps what SAVE writes under this name.
make() {
    name=$1
    shift
    redis-server --port 0 --unixsocket "$work/socket" --dir "$work" --dbfilename "$name" --save '' \
        --enable-debug-command yes --daemonize no "$@" >"$work/log" 2>&1 &
    server=$!
    until redis-cli -s "$work/socket" PING 2>/dev/null | grep -q PONG; do sleep 0.05; done
    fill
    cli SAVE
    cli SHUTDOWN NOSAVE || true
    wait "$server" || true
    mv "$work/$name" "$here/$name"
}

# Strings of every form, in three databases; keys that expire in 2100, and one that has expired.
strings() {
    cli SET empty ''
    for n in 0 -1 127 128 -128 -129 32767 32768 -32768 -32769 2147483647 2147483648 -2147483648 -2147483649 007 -0; do
        cli SET "n:$n" "$n"
    done
    cli SET 12345 'a key that is a number'
    cli SET "$(printf '%060d' 7)" 'a key that is compressed'
    cli SET twenty aaaaaaaaaaaaaaaaaaaa
    cli SET more aaaaaaaaaaaaaaaaaaaaa
    cli SET zeros "$(printf '%05000d' 0)"
    cli SET long 'hello world, hello world, hello'
    cli EVAL "local s = {} for n = 0, 255 do s[n + 1] = string.char(n) end
        redis.call('SET', 'bytes', table.concat(s))" 0
    cli EVAL "local s = {} for n = 1, 9000 do s[n] = n * n end
        redis.call('SET', 'squares', table.concat(s, ' '))" 0
    cli SET future soon PXAT 4102444800123
    cli -n 1 SET one 1
    cli -n 15 SET fifteen 15
    cli DEBUG SET-ACTIVE-EXPIRE 0
    cli -n 1 SET gone late PX 1
    sleep 0.01
}

idle() { cli SET key value; }
frequent() { cli SET key value; for n in 1 2 3 4 5; do cli GET key; done; }
library() {
    cli FUNCTION LOAD "#!lua name=mine
redis.register_function('one', function() return 1 end)"
    cli SET key value
}
list() { cli SET before 1; cli RPUSH 'a list' one two; }

fill() { strings; }
make strings.rdb
make plain.rdb --rdbcompression no
make no-checksum.rdb --rdbchecksum no
fill() { idle; }
make idle.rdb --maxmemory-policy allkeys-lru --maxmemory 100mb
fill() { frequent; }
make frequent.rdb --maxmemory-policy allkeys-lfu --maxmemory 100mb
fill() { library; }
make library.rdb
fill() { list; }
make list.rdb
