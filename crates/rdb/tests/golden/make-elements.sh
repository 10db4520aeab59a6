#!/bin/sh
# Makes elements.rdb and elements.txt with a redis-server of 7.4 and its redis-cli, over a Unix socket in a folder of its
# own. crates/rdb/tests/elements.rs knows what is in them.
#
#     crates/rdb/tests/golden/make-elements.sh FOLDER-OF-REDIS
set -eu
here=$(cd "$(dirname "$0")" && pwd)
redis=${1:?the folder with redis-server and redis-cli of Redis 7.4}
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT

cli() { "$redis/redis-cli" -s "$work/socket" "$@"; }
quiet() { cli "$@" >/dev/null; }
setting() { quiet CONFIG SET "$@"; }

"$redis/redis-server" --port 0 --unixsocket "$work/socket" --dir "$work" --dbfilename elements.rdb --save '' \
    --daemonize no >"$work/log" 2>&1 &
server=$!
until cli PING 2>/dev/null | grep -q PONG; do sleep 0.05; done

# Texts that are packed in every way: strings of 6, 12 and 32 bits of length, integers of 7, 13, 16, 24, 32 and 64.
texts() {
    quiet EVAL "local all = {'', 'a', string.rep('b', 63), string.rep('c', 64), string.rep('d', 4095),
            string.rep('e', 4096), '0', '127', '128', '-1', '4095', '-4096', '4096', '32767', '-32768', '8388607',
            '-8388608', '2147483647', '-2147483648', '9223372036854775807', '-9223372036854775808', '007', '1.5'}
        for n, text in ipairs(all) do
            if ARGV[1] == 'HSET' then redis.call('HSET', KEYS[1], text, all[#all + 1 - n])
            elseif ARGV[1] == 'ZADD' then redis.call('ZADD', KEYS[1], n, text)
            else redis.call(ARGV[1], KEYS[1], text) end
        end" 1 "$1" "$2"
}
# Elements 'element N' for N from 1 on.
many() {
    quiet EVAL "for n = 1, tonumber(ARGV[2]) do
            local text = 'element ' .. n
            if ARGV[1] == 'HSET' then redis.call('HSET', KEYS[1], text, n)
            elseif ARGV[1] == 'ZADD' then redis.call('ZADD', KEYS[1], n / 4, text)
            else redis.call(ARGV[1], KEYS[1], text) end
        end" 1 "$1" "$2" "$3"
}
integers() {
    quiet EVAL "for n = 1, 5 do redis.call('SADD', KEYS[1], string.format('%.0f', (n - 3) * ARGV[1])) end" \
        1 "$1" "$2"
}
# Every third field expires in 2100, each a second later than the one before.
expire() {
    quiet EVAL "for n = 3, tonumber(ARGV[1]), 3 do
            redis.call('HPEXPIREAT', KEYS[1], string.format('%.0f', 4102444800000 + n * 1000), 'FIELDS', 1,
                'element ' .. n) end" 1 "$1" "$2"
}

texts list:texts RPUSH
setting list-max-listpack-size 16
many list:nodes RPUSH 100
setting list-max-listpack-size -2
quiet EVAL "for n = 1, 3 do redis.call('RPUSH', KEYS[1], 'short', string.rep('x', 20000 * n)) end" 1 list:plain

integers set:int16 1
integers set:int32 100000
integers set:int64 1000000000000
setting set-max-listpack-value 5000
texts set:listpack SADD
many set:listpack-many SADD 128
setting set-max-listpack-entries 0
texts set:table SADD
many set:table-many SADD 300

setting zset-max-listpack-value 5000
texts zset:listpack ZADD
for score in -inf inf 1.5 -0.1 1e300 5e-324 3 9007199254740993; do quiet ZADD zset:scores "$score" "at $score"; done
setting zset-max-listpack-entries 0
texts zset:table ZADD
many zset:table-many ZADD 300
for score in -inf inf 1.5 -0.1 1e300 5e-324 3 9007199254740993; do quiet ZADD zset:table-scores "$score" "at $score"; done

setting hash-max-listpack-value 5000
texts hash:listpack HSET
many hash:expiring HSET 10
expire hash:expiring 10
many hash:persisted HSET 3
expire hash:persisted 3
quiet HPERSIST hash:persisted FIELDS 1 'element 3'
setting hash-max-listpack-entries 0
texts hash:table HSET
many hash:table-many HSET 300
many hash:table-expiring HSET 100
expire hash:table-expiring 100
many hash:table-persisted HSET 3
expire hash:table-persisted 3
quiet HPERSIST hash:table-persisted FIELDS 1 'element 3'

# Each key, and the digits of its payload.
for key in $(cli --scan | sort); do
    printf '%s ' "$key"
    cli EVAL "return (redis.call('DUMP', KEYS[1]):gsub('.', function(c) return string.format('%02x', c:byte()) end))" \
        1 "$key"
done >"$here/elements.txt"
quiet SAVE
quiet SHUTDOWN NOSAVE || true
wait "$server" || true
mv "$work/elements.rdb" "$here/elements.rdb"
