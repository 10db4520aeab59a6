/* For scripts/bench_commands.py: one command again and again, over connections that each wait for a pipeline's answers
 * before they send the next one. Then one line of JSON.
 *
 *   bench_pipe PORT CONNECTIONS PIPELINE REQUESTS KEYS WORD...
 *
 * __rand_int__ within a word becomes twelve digits of a number below KEYS. It works as redis-benchmark does, which takes
 * longer to make something of an answer of a hundred elements than a server to give it; here answers are only passed over. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { DIGITS = 12, MOST_PLACES = 64, MOST_LINE = 64 };
#define PLACE "__rand_int__"

struct conn {
    int fd;
    size_t waiting; /* answers that have not come to their end */
    size_t parts;   /* of the answer that is read: what is still to come of it, itself and its elements */
    size_t skip;    /* bytes of a string, with its line end */
    char line[MOST_LINE];
    size_t line_len;
};

static char *one; /* a request */
static size_t one_len, places[MOST_PLACES], place_count;
static char *batch;
static size_t pipeline;
static uint64_t keys, left, answered, errors;

static void die(const char *what) { perror(what); exit(1); }

/* Other numbers in each run: what is added again is no addition. */
static uint64_t chance(void) {
    static uint64_t x;
    if (!x) x = 88172645463325252ull ^ (uint64_t)getpid() << 20;
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    return x;
}

static void encode(int count, char **words) {
    size_t room = 32;
    for (int i = 0; i < count; i++) room += strlen(words[i]) + 32;
    one = malloc(room);
    one_len = sprintf(one, "*%d\r\n", count);
    for (int i = 0; i < count; i++) one_len += sprintf(one + one_len, "$%zu\r\n%s\r\n", strlen(words[i]), words[i]);
    for (char *at = one; (at = strstr(at, PLACE)) && place_count < MOST_PLACES; at += DIGITS) places[place_count++] = at - one;
    batch = malloc(one_len * pipeline);
    for (size_t i = 0; i < pipeline; i++) memcpy(batch + i * one_len, one, one_len);
}

/* The next pipeline, if requests are left. */
static void ask(struct conn *c) {
    size_t count = left < pipeline ? left : pipeline;
    if (!count) return;
    left -= count;
    for (size_t i = 0; i < count && place_count; i++)
        for (size_t p = 0; p < place_count; p++) {
            uint64_t n = chance() % keys;
            char *at = batch + i * one_len + places[p];
            for (int d = DIGITS; d-- > 0; n /= 10) at[d] = '0' + n % 10;
        }
    for (size_t sent = 0; sent < count * one_len;) {
        ssize_t n = send(c->fd, batch + sent, count * one_len - sent, MSG_NOSIGNAL);
        if (n < 0) die("send");
        sent += n;
    }
    c->waiting = count;
    c->parts = 1;
}

/* A line has come: of how many parts and bytes it says that they follow. */
static void line(struct conn *c) {
    c->line[c->line_len] = 0;
    long long n = atoll(c->line + 1);
    c->parts--;
    switch (c->line[0]) {
    case '-': errors++; break;
    case '$': if (n >= 0) c->skip = n + 2; break;
    case '*': if (n > 0) c->parts += n; break;
    }
    c->line_len = 0;
}

static void pass_over(struct conn *c, const char *at, size_t len) {
    const char *end = at + len;
    while (at < end) {
        if (c->skip) {
            size_t n = c->skip < (size_t)(end - at) ? c->skip : (size_t)(end - at);
            at += n;
            c->skip -= n;
        } else {
            const char *stop = memchr(at, '\n', end - at);
            size_t n = (stop ? stop : end) - at;
            if (c->line_len + n >= MOST_LINE) n = MOST_LINE - 1 - c->line_len; /* of an error the rest does not matter */
            memcpy(c->line + c->line_len, at, n);
            c->line_len += n;
            if (!stop) return;
            at = stop + 1;
            line(c);
        }
        if (c->parts == 0 && c->skip == 0) {
            answered++;
            c->waiting--;
            c->parts = c->waiting > 0;
        }
    }
}

int main(int argc, char **argv) {
    if (argc < 7) return fprintf(stderr, "bench_pipe PORT CONNECTIONS PIPELINE REQUESTS KEYS WORD...\n"), 2;
    int connections = atoi(argv[2]), epoll = epoll_create1(0);
    pipeline = atoi(argv[3]), left = atoll(argv[4]), keys = atoll(argv[5]);
    encode(argc - 6, argv + 6);
    struct conn *all = calloc(connections, sizeof *all);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1])), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    for (int i = 0; i < connections; i++) {
        int yes = 1;
        all[i].fd = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(all[i].fd, (struct sockaddr *)&to, sizeof to)) die("connect");
        setsockopt(all[i].fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &all[i]};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, all[i].fd, &event)) die("epoll_ctl");
    }
    struct timespec begun, ended;
    uint64_t wanted = left;
    clock_gettime(CLOCK_MONOTONIC, &begun);
    for (int i = 0; i < connections; i++) ask(&all[i]);
    static char bytes[1 << 16];
    struct epoll_event events[64];
    while (answered < wanted) {
        int count = epoll_wait(epoll, events, 64, 60000);
        if (count == 0) return fprintf(stderr, "bench_pipe: no answer for a minute\n"), 1;
        if (count < 0 && errno != EINTR) die("epoll_wait");
        for (int i = 0; i < count; i++) {
            struct conn *c = events[i].data.ptr;
            ssize_t n = recv(c->fd, bytes, sizeof bytes, MSG_DONTWAIT);
            if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
            if (n <= 0) die("the server closed the connection");
            pass_over(c, bytes, n);
            if (!c->waiting) ask(c);
        }
    }
    clock_gettime(CLOCK_MONOTONIC, &ended);
    double took = ended.tv_sec - begun.tv_sec + (ended.tv_nsec - begun.tv_nsec) / 1e9;
    printf("{\"rps\": %.1f, \"errors\": %lu}\n", wanted / took, (unsigned long)errors);
}
